//! Looking at a checkpoint without touching it.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use millstream_epoch::{
    CheckpointReport, FileState, RelPath, inspect,
    sim::{SimDisk, Survival},
    verify,
};

use crate::store::{open, pass, snapshot};

fn checkpoint() -> SimDisk {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    for epoch in 0..3 {
        pass(&store, epoch).expect("a good disk");
        if epoch == 1 {
            snapshot(&store, epoch).expect("a good disk");
        }
    }
    store.pack_writer().write(b"pending").expect("written");
    disk.survivor(Survival::Synced)
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a good path")
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "an expectation stands at the call"
)]
fn check(report: &CheckpointReport, expected: Expect) {
    let mut text = String::new();
    for file in &report.files {
        let state = if let FileState::Damaged { reason } = &file.state {
            format!("damaged: {reason}")
        } else {
            format!("{:?}", file.state)
        };
        writeln!(text, "{:4} {} {state}", file.bytes, file.file).expect("a string");
    }
    writeln!(
        text,
        "plans={} commits={}",
        report.plans.len(),
        report.commits.len()
    )
    .expect("a string");
    writeln!(text, "whole={}", report.is_whole()).expect("a string");
    expected.assert_eq(&text);
}

#[test]
fn a_whole_checkpoint() {
    let disk = checkpoint();
    let (ops, files) = (disk.ops(), disk.files());
    let report = verify(&disk).expect("readable");
    check(
        &report,
        expect![[r#"
               0 lock Whole
             119 metadata Whole
               0 generations/00000000000000000001 Whole
             358 log/00000000000000000000.log Whole
             211 log/00000000000000000002.log Whole
             181 state/manifest-00000000000000000001 Whole
               8 state/pack-1-0-0 Whole
               7 state/pack-1-0-1 Unneeded
            plans=3 commits=3
            whole=true
        "#]],
    );
    assert_eq!((disk.ops(), disk.files()), (ops, files), "read only");
    assert_eq!(report.generation, Some(1));
    assert_eq!(report.snapshots.len(), 1);
}

#[test]
fn a_damaged_one() {
    let disk = checkpoint();
    disk.tamper(&path("state/pack-1-0-0"), Some(vec![7; 8]));
    let newest = path("log/00000000000000000002.log");
    let mut bytes = disk.peek(&newest).expect("there");
    bytes.truncate(bytes.len() - 1);
    disk.tamper(&newest, Some(bytes));
    disk.tamper(
        &path("state/manifest-00000000000000000002.tmp"),
        Some(vec![]),
    );
    disk.tamper(&path("notes.txt"), Some(vec![1]));
    assert!(
        inspect(&disk).expect("readable").is_whole(),
        "packs by name"
    );
    check(
        &verify(&disk).expect("readable"),
        expect![[r#"
               0 lock Whole
             119 metadata Whole
               1 notes.txt Foreign
               0 generations/00000000000000000001 Whole
             358 log/00000000000000000000.log Whole
             210 log/00000000000000000002.log TornTail { bytes: 77 }
             181 state/manifest-00000000000000000001 damaged: it names state/pack-1-0-0, which is damaged
               0 state/manifest-00000000000000000002.tmp Unneeded
               8 state/pack-1-0-0 damaged: checksum differs want=c514cfad got=86fc84e3 offset=0
               7 state/pack-1-0-1 Unneeded
            plans=3 commits=2
            whole=false
        "#]],
    );
}

#[test]
fn what_no_query_could_use() {
    let problem = |disk: &SimDisk| {
        let problem = verify(disk).expect("readable").problem;
        problem.map(|fault| fault.code.0)
    };
    let disk = checkpoint();
    disk.tamper(&path("log/00000000000000000000.log"), None);
    assert_eq!(problem(&disk), None, "the snapshot contains those plans");
    disk.tamper(&path("state/manifest-00000000000000000001"), None);
    assert_eq!(problem(&disk), Some("CKP-008"));
    disk.tamper(&path("metadata"), None);
    assert_eq!(problem(&disk), Some("CKP-007"));
}
