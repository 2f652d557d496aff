//! The user's word about a checkpoint, given on the command line.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use millstream_epoch::{
    CheckpointStore, Chosen, Metadata, Outcome, Plan, PlanKind, RealDisk, Recovered, SourceRange,
};
use millstream_types::Epoch;

fn open(dir: &Path) -> (CheckpointStore, Recovered) {
    let metadata = Metadata {
        query_id: "an-id".to_owned(),
        plan_fingerprint: 7,
        plan_text: "a plan".to_owned(),
        settings: Vec::new(),
    };
    CheckpointStore::open(Arc::new(RealDisk::new(dir)), metadata).expect("the build folder is ours")
}

/// A checkpoint of three planned epochs, the first of them committed, with input of source 1.
fn checkpoint(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).expect("the build folder is ours");
    }
    let (store, _) = open(&dir);
    let mut plans = (0..3)
        .map(|epoch| {
            let range = SourceRange {
                start: None,
                end: "4".to_owned(),
                detail: vec![],
            };
            Chosen::new(Plan {
                epoch: Epoch(epoch),
                clock_ms: 0,
                kind: PlanKind::Data,
                snapshot_after: false,
                sources: vec![None, Some(range)],
            })
        })
        .collect();
    let (_, mut planned) = store.advance(&mut vec![], &mut plans).expect("a good disk");
    let staged = planned.remove(0).stage(Outcome {
        rows_in: 1,
        rows_out: 1,
        watermark_next_ms: 0,
    });
    let sunk = staged.sunk(Epoch(0)).expect("the same epoch");
    store
        .advance(&mut vec![sunk], &mut vec![])
        .expect("a good disk");
    let journal = store.journal(1, "files").expect("a good disk");
    journal
        .append(&mut [b"a.json".to_vec()].into_iter())
        .expect("a good disk");
    dir
}

/// What `millstream checkpoint` answers: its exit code, its lines, its complaints.
fn answer(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let [command, flags @ ..] = arguments else {
        unreachable!("a command is given");
    };
    let output = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["checkpoint", command])
        .arg(dir)
        .args(flags)
        .output()
        .expect("the command starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn plans_are_given_up_and_shown() {
    let dir = checkpoint("checkpoint-drop-plan");
    let (code, out, _) = answer(&dir, &["drop-plan", "--reason", "a bad row"]);
    assert_eq!(code, Some(0));
    let gone = |epoch| format!("epoch {epoch} is given up; its input is planned anew\n");
    assert_eq!(out, gone(1) + &gone(2));
    let (code, out, _) = answer(&dir, &["show"]);
    assert_eq!(code, Some(0), "{out}");
    for line in [
        "plans       1 (epochs 0 to 0)",
        "gave up     from epoch 1 on: \"a bad row\"",
        "journal     source 1, files: 1 entries from 0 on",
    ] {
        assert!(out.lines().any(|shown| shown == line), "{line}\n{out}");
    }
    let (code, _, err) = answer(&dir, &["drop-plan", "--from", "0"]);
    assert_eq!(code, Some(78), "{err}");
    assert!(err.contains("CKP-010"), "{err}");
    assert_eq!(open(&dir).1.plan_last, Some(Epoch(0)));
}

#[test]
fn changed_input_is_accepted_and_shown() {
    let dir = checkpoint("checkpoint-accept");
    let (code, out, err) = answer(&dir, &["accept", "--epoch", "1", "--reason", "a.json"]);
    let line = "input of source 1 in epoch 1 is taken as it is now\n";
    assert_eq!((code, out.as_str()), (Some(0), line), "{err}");
    let (_, out, _) = answer(&dir, &["show"]);
    let line = "accepted    epoch 1, source 1: \"a.json\"";
    assert!(out.lines().any(|shown| shown == line), "{out}");
    for flag in ["--epoch", "--source"] {
        let (code, _, err) = answer(&dir, &["accept", flag, "9"]);
        assert_eq!(code, Some(2), "{err}");
    }
    let (_store, recovered) = open(&dir);
    let accepted = recovered
        .accepted
        .first()
        .expect("handed to the next start");
    assert_eq!((accepted.epoch, accepted.source), (Epoch(1), 1));
    let (code, _, err) = answer(&dir, &["accept", "--epoch", "1"]);
    assert!(err.contains("CKP-003"), "{code:?} {err}");
}

#[test]
fn a_directory_that_is_no_checkpoint_is_refused() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("checkpoint-none");
    fs::create_dir_all(&dir).expect("the build folder is ours");
    let (code, _, err) = answer(&dir, &["drop-plan", "--from", "0"]);
    assert!(err.contains("CKP-007"), "{code:?} {err}");
    let (code, _, _) = answer(&dir.join("nowhere"), &["drop-plan"]);
    assert_eq!(code, Some(2));
}
