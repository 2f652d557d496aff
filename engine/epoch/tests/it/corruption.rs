//! proves P7: a damaged checkpoint is noticed. Every file of a checkpoint that a power cut left is
//! cut at every byte, changed in every byte, emptied, removed, exchanged and raised in version;
//! what may follow is the right answer or a refusal with a code. Never a wrong row.

use std::collections::BTreeMap;

use millstream_epoch::{
    RelPath, checksum,
    sim::{SimDisk, Survival},
};

use crate::toy::{Sink, metadata_of, run, run_as};

/// A checkpoint in the middle of its life: two snapshots, several segments, open plans.
fn checkpoint() -> (SimDisk, Sink) {
    checkpoint_of(QUERY, OPS, 0)
}

/// Operations until then, and until a time before.
const OPS: u64 = 83;
const EARLIER: u64 = 60;
const QUERY: &str = "11111111-1111-4111-8111-111111111111";
const OTHER: &str = "22222222-2222-4222-8222-222222222222";

/// What a query leaves after so many operations; attempts choose different inputs.
fn checkpoint_of(query_id: &str, ops: u64, attempt: u64) -> (SimDisk, Sink) {
    let (disk, sink) = (SimDisk::new(), Sink::new(true));
    disk.crash_after(ops);
    run_as(metadata_of(query_id), &disk, &sink, attempt).expect_err("it dies before the end");
    (disk.survivor(Survival::Everything), sink)
}

/// Counts outcomes: `ok`, or the code of the refusal.
#[derive(Default)]
struct Outcomes(BTreeMap<&'static str, u64>);

impl Outcomes {
    /// Damages one file and goes on; the query finishes with the right rows, or refuses by code.
    fn damage(
        &mut self,
        (disk, sink): &(SimDisk, Sink),
        file: &RelPath,
        bytes: Option<Vec<u8>>,
        what: &str,
    ) {
        let disk = disk.survivor(Survival::Everything);
        let sink = sink.fork();
        disk.tamper(file, bytes);
        let outcome = match run(&disk, &sink, 1) {
            Ok(()) => {
                sink.check(&format!("{file} {what}"));
                "ok"
            }
            Err(fault) => fault.code.0,
        };
        let allowed = [
            "ok", "CKP-001", "CKP-002", "CKP-004", "CKP-006", "CKP-007", "CKP-008",
        ];
        assert!(allowed.contains(&outcome), "{file} {what}: {outcome}");
        *self.0.entry(outcome).or_default() += 1;
    }

    fn refused(&self) -> u64 {
        self.0
            .iter()
            .filter(|(code, _)| **code != "ok")
            .map(|(_, n)| n)
            .sum()
    }
}

fn files(disk: &SimDisk) -> Vec<(RelPath, Vec<u8>)> {
    let read = |file: RelPath| disk.peek(&file).map(|bytes| (file, bytes));
    disk.files().into_iter().filter_map(read).collect()
}

/// Manifest or pack: an older snapshot may heal it. The rest of the log and the metadata cannot.
fn of_a_snapshot(file: &RelPath) -> bool {
    file.as_str().starts_with("state/")
}

#[test]
fn the_checkpoint_under_test_has_every_kind_of_file() {
    let (disk, _) = checkpoint();
    let names: Vec<String> = disk.files().iter().map(ToString::to_string).collect();
    expect_test::expect![[r#"
        generations/00000000000000000001
        lock
        log/00000000000000000003.log
        log/00000000000000000005.log
        metadata
        sources/0/rows-00000000000000000000.journal
        state/manifest-00000000000000000003
        state/manifest-00000000000000000005
        state/pack-1-0-1
        state/pack-1-0-2"#]]
    .assert_eq(&names.join("\n"));
}

#[test]
fn cut_at_every_byte() {
    let whole = checkpoint();
    let mut outcomes = Outcomes::default();
    for (file, bytes) in files(&whole.0) {
        for len in 0..bytes.len() {
            outcomes.damage(&whole, &file, Some(bytes[..len].to_vec()), "cut");
        }
    }
    assert!(outcomes.refused() > 500, "{:?}", outcomes.0);
}

#[test]
fn every_byte_changed() {
    let whole = checkpoint();
    let mut outcomes = Outcomes::default();
    for (file, bytes) in files(&whole.0) {
        for at in 0..bytes.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= mask;
                outcomes.damage(
                    &whole,
                    &file,
                    Some(changed),
                    &format!("byte {at} ^ {mask:#x}"),
                );
            }
        }
    }
    assert!(outcomes.refused() > 1000, "{:?}", outcomes.0);
}

#[test]
fn zeros_or_more_bytes_at_the_end() {
    let whole = checkpoint();
    let mut outcomes = Outcomes::default();
    for (file, bytes) in files(&whole.0) {
        for zeros in [1, 16, 511] {
            let mut longer = bytes.clone();
            longer.extend(vec![0; zeros]);
            outcomes.damage(&whole, &file, Some(longer), "zeros added");
            let mut zeroed = bytes.clone();
            let from = zeroed.len().saturating_sub(zeros);
            zeroed[from..].fill(0);
            outcomes.damage(&whole, &file, Some(zeroed), "zeroed");
        }
        let mut twice = bytes.clone();
        twice.extend_from_slice(&bytes);
        outcomes.damage(&whole, &file, Some(twice), "twice");
    }
}

#[test]
fn removed() {
    let whole = checkpoint();
    let mut outcomes = Outcomes::default();
    let files = files(&whole.0);
    for (file, _) in &files {
        outcomes.damage(&whole, file, None, "removed");
    }
    // Two at a time: there is no order in which files may be lost.
    for (first, _) in &files {
        let disk = whole.0.survivor(Survival::Everything);
        disk.tamper(first, None);
        for (second, _) in &files {
            outcomes.damage(
                &(disk.clone(), whole.1.fork()),
                second,
                None,
                "both removed",
            );
        }
    }
    assert!(outcomes.0.contains_key("CKP-007"), "{:?}", outcomes.0);
    assert!(outcomes.0.contains_key("CKP-008"), "{:?}", outcomes.0);
}

/// Every file in the place of every other: of another epoch, of another kind, of another query,
/// and of the same query at an earlier time.
#[test]
fn exchanged() {
    let whole = checkpoint();
    let mut outcomes = Outcomes::default();
    let others = [
        checkpoint_of(OTHER, OPS, 0).0,
        checkpoint_of(OTHER, OPS, 1).0,
        checkpoint_of(QUERY, EARLIER, 0).0,
        checkpoint_of(QUERY, OPS, 1).0,
        whole.0.clone(),
    ];
    for (file, bytes) in files(&whole.0) {
        for other in &others {
            for (donor, donated) in files(other) {
                if donated != bytes {
                    let what = format!("exchanged for {donor}");
                    outcomes.damage(&whole, &file, Some(donated), &what);
                }
            }
        }
    }
    assert!(outcomes.0.contains_key("CKP-001"), "{:?}", outcomes.0);
}

/// A directory is exchanged as a whole: each of its files agrees with all the others.
#[test]
fn a_directory_exchanged() {
    let codes = |dir: &str, donor: &SimDisk| {
        let (disk, sink) = checkpoint();
        for file in disk.files().iter().chain(&donor.files()) {
            if file.as_str().starts_with(dir) {
                disk.tamper(file, donor.peek(file));
            }
        }
        match run(&disk, &sink, 1) {
            Ok(()) => sink.check("exchanged"),
            Err(fault) => return fault.code.0,
        }
        "ok"
    };
    for attempt in [0, 1] {
        let other = checkpoint_of(OTHER, OPS, attempt).0;
        assert_eq!(codes("log/", &other), "CKP-001", "another query's log");
        let refusal = codes("state/", &other);
        assert_eq!(refusal, "CKP-001", "another query's state");
        assert_eq!(codes("metadata", &other), "CKP-001", "another query");
    }
    // A copy of an earlier time: the log has gone on, or the sink has.
    let earlier = checkpoint_of(QUERY, EARLIER, 0).0;
    assert_eq!(codes("", &earlier), "CKP-006", "rolled back under the sink");
    assert_eq!(codes("log/", &earlier), "CKP-008", "the log rolled back");
    assert_eq!(codes("state/", &earlier), "ok", "an older snapshot will do");
}

/// The log of one past under the state of another.
#[test]
fn a_segment_of_another_past() {
    let (disk, sink) = checkpoint();
    let other = checkpoint_of(QUERY, OPS, 1).0;
    let oldest = |disk: &SimDisk| {
        let mut files = disk.files().into_iter();
        files.find(|file| file.as_str().starts_with("log/"))
    };
    let (file, donor) = (oldest(&disk), oldest(&other));
    let (file, donor) = (file.expect("a log"), donor.expect("a log"));
    assert_eq!(file, donor, "the same epochs, other inputs");
    disk.tamper(&file, other.peek(&donor));
    let fault = run(&disk, &sink, 1).expect_err("the next segment follows another one");
    assert_eq!(fault.code.0, "CKP-001");
}

/// Raises the version of every envelope in a file and makes its checksum right again.
fn raised(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let mut at = 0;
    while at < bytes.len() {
        let len = bytes.get(at + 8..at + 12)?.try_into().ok()?;
        let end = at + 12 + usize::try_from(u32::from_le_bytes(len)).ok()?;
        bytes[at + 4] = 9;
        let crc = checksum(bytes.get(at..end)?);
        bytes
            .get_mut(end..end + 4)?
            .copy_from_slice(&crc.to_le_bytes());
        at = end + 4;
    }
    Some(bytes)
}

#[test]
fn raised_in_version() {
    let whole = checkpoint();
    for (file, bytes) in files(&whole.0) {
        let is_ours = bytes.starts_with(b"MS");
        if let Some(newer) = raised(bytes).filter(|_| is_ours) {
            let mut outcomes = Outcomes::default();
            outcomes.damage(&whole, &file, Some(newer), "raised");
            assert!(
                outcomes.0.contains_key("CKP-004"),
                "{file} {:?}",
                outcomes.0
            );
        }
    }
}

/// Damage to the newest snapshot alone is always healed by the one before.
#[test]
fn a_damaged_snapshot_falls_back_to_the_one_before() {
    let whole = checkpoint();
    let newest = files(&whole.0)
        .into_iter()
        .filter(|(file, _)| of_a_snapshot(file));
    for (file, mut bytes) in newest {
        bytes[3] ^= 1;
        let mut outcomes = Outcomes::default();
        outcomes.damage(&whole, &file, Some(bytes), "damaged");
        assert!(outcomes.0.contains_key("ok"), "{file} {:?}", outcomes.0);
    }
}
