//! Each code of the protocol, provoked.

use millstream_epoch::{
    EpochError, KEY_HASH_NAME, Metadata, RelPath, Replays, SinkPosition, resume,
    sim::{SimDisk, Survival},
};
use millstream_types::{Class, Coded, Epoch};

use crate::{
    store::{chosen, open, pass, snapshot, try_open},
    toy::metadata,
};

/// Five epochs, a snapshot after the third and the fourth.
fn checkpoint() -> SimDisk {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    for epoch in 0..5 {
        pass(&store, epoch).expect("a good disk");
        if epoch == 2 || epoch == 3 {
            snapshot(&store, epoch).expect("a good disk");
        }
    }
    disk.survivor(Survival::Synced)
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a good path")
}

fn expect_code(disk: &SimDisk, metadata: Metadata, code: &str, class: Class) -> EpochError {
    let error = try_open(disk, metadata).expect_err(code);
    assert_eq!(error.code().0, code, "{error}");
    assert_eq!(error.code().entry().class, class);
    error
}

#[test]
fn ckp_001_a_damaged_log_names_its_file() {
    for first in [0, 4] {
        let disk = checkpoint();
        let file = path(&format!("log/{first:020}.log"));
        let mut bytes = disk.peek(&file).expect("there");
        // In the first of two frames: also in the newest segment no crash does that.
        bytes[100] ^= 1;
        disk.tamper(&file, Some(bytes));
        let error = expect_code(&disk, metadata(), "CKP-001", Class::Corrupt);
        assert!(error.to_string().contains(file.as_str()), "{error}");
    }
}

#[test]
fn ckp_001_is_avoided_by_an_older_snapshot() {
    let disk = checkpoint();
    disk.tamper(&path("state/pack-1-0-1"), Some(vec![0; 8]));
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.snapshot.map(|m| m.epoch), Some(Epoch(2)));
    assert_eq!(recovered.plans.len(), 2);
    let damaged = recovered.damaged.first().expect("noticed");
    assert_eq!(damaged.file, path("state/pack-1-0-1"));
}

#[test]
fn ckp_002_shows_both_plans() {
    let other = Metadata {
        plan_fingerprint: 1,
        plan_text: "count(rows)".to_owned(),
        ..metadata()
    };
    let error = expect_code(&checkpoint(), other, "CKP-002", Class::User);
    let hint = error.hint().expect("it explains");
    assert!(hint.contains("sum(rows)") && hint.contains("count(rows)"));
}

#[test]
fn ckp_003_only_one_process_holds_a_checkpoint() {
    let disk = checkpoint();
    let _held = open(&disk);
    expect_code(&disk, metadata(), "CKP-003", Class::Fenced);
}

#[test]
fn ckp_004_a_newer_format_is_refused_by_name() {
    let disk = checkpoint();
    let file = path("metadata");
    let mut bytes = disk.peek(&file).expect("there");
    let end = bytes.len() - 4;
    bytes[4] = 2;
    let crc = millstream_epoch::checksum(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    disk.tamper(&file, Some(bytes));
    let error = expect_code(&disk, metadata(), "CKP-004", Class::User);
    assert!(error.to_string().contains("found=2 newest=1"), "{error}");
}

#[test]
fn ckp_004_another_key_hash_is_refused() {
    let disk = checkpoint();
    let file = path("metadata");
    let mut bytes = disk.peek(&file).expect("there");
    let name = KEY_HASH_NAME.as_bytes();
    let at = bytes.windows(name.len()).position(|part| part == name);
    bytes[at.expect("it is recorded") + name.len() - 1] = b'9';
    let end = bytes.len() - 4;
    let crc = millstream_epoch::checksum(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    disk.tamper(&file, Some(bytes));
    let error = expect_code(&disk, metadata(), "CKP-004", Class::User);
    assert!(error.to_string().contains("xxh3-64/9"), "{error}");
}

#[test]
fn ckp_005_a_disk_that_refuses_is_named() {
    let disk = checkpoint();
    disk.fail_read_at(2);
    let error = expect_code(&disk, metadata(), "CKP-005", Class::External);
    assert!(
        error
            .fault()
            .message
            .contains("simulated input/output error")
    );
}

#[test]
fn ckp_006_a_sink_ahead_of_the_checkpoint() {
    let (_, recovered) = open(&checkpoint());
    let refusal = resume(recovered.facts(SinkPosition::Committed(Epoch(5)), Replays::Everything));
    let error = EpochError::from(refusal.expect_err("never planned"));
    assert_eq!(error.code().0, "CKP-006");
    assert_eq!(error.code().entry().class, Class::User);
}

#[test]
fn ckp_007_logs_without_metadata() {
    let disk = checkpoint();
    disk.tamper(&path("metadata"), None);
    expect_code(&disk, metadata(), "CKP-007", Class::Corrupt);
}

#[test]
fn ckp_008_a_segment_is_missing() {
    let disk = checkpoint();
    disk.tamper(&path("log/00000000000000000003.log"), None);
    expect_code(&disk, metadata(), "CKP-008", Class::Corrupt);
}

#[test]
fn ckp_008_a_sink_behind_the_snapshot() {
    let (_, recovered) = open(&checkpoint());
    let refusal = resume(recovered.facts(SinkPosition::Nothing, Replays::Everything));
    let refusal = refusal.expect_err("it cannot be filled any more");
    assert_eq!(refusal.code().0, "CKP-008");
}

#[test]
fn exe_003_a_broken_contract() {
    let (store, _) = open(&SimDisk::new());
    let error = store.advance(&mut vec![], &mut vec![chosen(4)]);
    assert_eq!(error.expect_err("the first is 0").code().0, "EXE-003");
}
