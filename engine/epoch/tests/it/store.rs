//! The store's own promises, one at a time.

use std::sync::Arc;

use millstream_epoch::{
    CheckpointStore, Chosen, Commit, Disk, EpochError, Manifest, Metadata, OPEN_PLANS_MAX, Outcome,
    PackWriter, Plan, PlanKind, Planned, RealDisk, Recovered, RelPath, Replays, SinkPosition, Sunk,
    read_piece, resume,
    sim::{Failure, SimDisk, Survival},
};
use millstream_types::{Coded, Epoch};

use crate::toy::{PLAN, Sink, metadata, piece, run, run_on};

pub(crate) fn open(disk: &SimDisk) -> (CheckpointStore, Recovered) {
    try_open(disk, metadata()).expect("a good checkpoint")
}

pub(crate) fn try_open(
    disk: &SimDisk,
    metadata: Metadata,
) -> Result<(CheckpointStore, Recovered), EpochError> {
    CheckpointStore::open(Arc::new(disk.clone()), metadata)
}

pub(crate) fn chosen(epoch: u64) -> Chosen {
    Chosen::new(Plan {
        epoch: Epoch(epoch),
        clock_ms: 5,
        kind: PlanKind::NoData,
        snapshot_after: false,
        sources: vec![None],
    })
}

pub(crate) fn sunk(planned: Planned) -> Sunk {
    let epoch = planned.epoch();
    let staged = planned.stage(Outcome {
        rows_in: 3,
        rows_out: 2,
        watermark_next_ms: 10,
    });
    staged.sunk(epoch).expect("the same epoch")
}

/// Plans an epoch and commits it.
pub(crate) fn pass(store: &CheckpointStore, epoch: u64) -> Result<(), EpochError> {
    let (_, planned) = store.advance(&mut vec![], &mut vec![chosen(epoch)])?;
    let mut done: Vec<Sunk> = planned.into_iter().map(sunk).collect();
    store.advance(&mut done, &mut vec![])?;
    Ok(())
}

pub(crate) fn manifest(store: &CheckpointStore, epoch: u64, pack: &str, bytes: &[u8]) -> Manifest {
    Manifest {
        epoch: Epoch(epoch),
        generation: store.generation(),
        workers: 2,
        plan_fingerprint: PLAN,
        pieces: vec![piece(pack, bytes)],
        source_states: vec![vec![1]],
        control: vec![],
    }
}

pub(crate) fn snapshot(store: &CheckpointStore, epoch: u64) -> Result<(), EpochError> {
    let bytes = epoch.to_le_bytes();
    let pack = store.pack_writer().write(&bytes)?;
    store.write_manifest(&manifest(store, epoch, pack.as_str(), &bytes))
}

#[test]
fn one_append_and_one_sync_carry_a_commit_and_the_next_plan() {
    let disk = SimDisk::new();
    let (store, recovered) = open(&disk);
    assert!(recovered.is_new);
    let (_, planned) = store
        .advance(&mut vec![], &mut vec![chosen(0)])
        .expect("a good disk");
    let before = disk.history().len();
    let mut done: Vec<Sunk> = planned.into_iter().map(sunk).collect();
    let (committed, planned) = store
        .advance(&mut done, &mut vec![chosen(1), chosen(2)])
        .expect("a good disk");
    assert_eq!(committed.len(), 1);
    assert_eq!(planned.len(), 2);
    assert_eq!(
        disk.history()[before..],
        [
            "append log/00000000000000000000.log",
            "sync log/00000000000000000000.log"
        ]
    );
    drop(store);
    let (_, recovered) = open(&disk.survivor(Survival::Synced));
    assert!(!recovered.is_new);
    assert_eq!(recovered.generation, 2);
    assert_eq!(recovered.plan_last, Some(Epoch(2)));
    assert_eq!(
        recovered.commits,
        [Commit {
            epoch: Epoch(0),
            rows_in: 3,
            rows_out: 2,
            watermark_next_ms: 10
        }]
    );
    let decision = resume(recovered.facts(SinkPosition::Committed(Epoch(1)), Replays::Everything));
    let decision = decision.expect("consistent facts");
    assert_eq!(decision.replay.len(), 3);
    assert_eq!(decision.next, Epoch(3));
}

/// [INV-01] A plan exists for the next process before anybody can hold a `Planned`.
#[test]
fn a_plan_is_durable_before_its_epoch_can_run() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    for epoch in 0..3 {
        let (_, planned) = store
            .advance(&mut vec![], &mut vec![chosen(epoch)])
            .expect("a good disk");
        let (_, found) = open(&disk.survivor(Survival::Synced));
        let last = found.plans.last().map(|plan| plan.epoch);
        assert_eq!(last, planned.first().map(Planned::epoch));
    }
}

/// [INV-04] Out of order is refused before anything is written.
#[test]
fn epochs_are_planned_and_committed_in_order() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    let refuse = |sunk: &mut Vec<Sunk>, chosen: &mut Vec<Chosen>| {
        let before = disk.ops();
        let counts = (sunk.len(), chosen.len());
        let error = store.advance(sunk, chosen).expect_err("out of order");
        assert_eq!(error.code().0, "EXE-003", "{error}");
        assert_eq!((sunk.len(), chosen.len()), counts, "handed back");
        assert_eq!(disk.ops(), before);
    };
    refuse(&mut vec![], &mut vec![chosen(1)]);
    let (_, mut planned) = store
        .advance(&mut vec![], &mut vec![chosen(0), chosen(1)])
        .expect("in order");
    refuse(&mut vec![], &mut vec![chosen(1)]);
    refuse(&mut vec![], &mut vec![chosen(3)]);
    let second = planned.pop().expect("two were planned");
    refuse(&mut vec![sunk(second)], &mut vec![]);
    let staged = planned.pop().expect("one is left").stage(Outcome {
        rows_in: 0,
        rows_out: 0,
        watermark_next_ms: 0,
    });
    let error = staged.sunk(Epoch(1)).expect_err("another epoch");
    assert_eq!(error.code().0, "EXE-003");
}

#[test]
fn open_plans_have_a_bound() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    let mut most = (0..OPEN_PLANS_MAX).map(chosen).collect();
    store.advance(&mut vec![], &mut most).expect("within");
    let error = store.advance(&mut vec![], &mut vec![chosen(OPEN_PLANS_MAX)]);
    assert_eq!(error.expect_err("one too many").code().0, "EXE-003");
}

/// A full disk pauses: the same call succeeds once there is space. proves P9
#[test]
fn a_full_disk_is_waited_out() {
    for failure in [Failure::Enospc, Failure::ShortWrite] {
        let disk = SimDisk::new();
        let (store, _) = open(&disk);
        pass(&store, 0).expect("a good disk");
        disk.fail_at(disk.ops() + 1, failure);
        let mut plans = vec![chosen(1)];
        let error = store.advance(&mut vec![], &mut plans);
        assert_eq!(error.expect_err("full").code().0, "CKP-005");
        store.advance(&mut vec![], &mut plans).expect("space again");
        let (_, recovered) = open(&disk.survivor(Survival::Synced));
        assert_eq!(recovered.plan_last, Some(Epoch(1)));
        assert_eq!(recovered.torn_bytes, 0);
    }
}

#[test]
fn a_full_disk_at_a_new_segment_is_waited_out() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    pass(&store, 0).expect("a good disk");
    snapshot(&store, 0).expect("a good disk");
    disk.fail_at(disk.ops() + 1, Failure::ShortWrite);
    pass(&store, 1).expect_err("full");
    pass(&store, 1).expect("space again");
    let (_, recovered) = open(&disk.survivor(Survival::Synced));
    assert_eq!(recovered.commit_last, Some(Epoch(1)));
}

#[test]
fn a_failed_sync_closes_the_store_for_good() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    pass(&store, 0).expect("a good disk");
    disk.fail_at(disk.ops() + 2, Failure::Eio);
    let error = store.advance(&mut vec![], &mut vec![chosen(1)]);
    assert_eq!(error.expect_err("the sync fails").code().0, "CKP-005");
    let ops = disk.ops();
    let closed = |error: EpochError| assert!(matches!(error, EpochError::Poisoned { .. }));
    closed(pass(&store, 1).expect_err("closed"));
    closed(snapshot(&store, 0).expect_err("closed"));
    closed(store.collect_garbage().expect_err("closed"));
    assert_eq!(disk.ops(), ops, "the disk is left alone");
}

/// proves P11: of two drivers on one checkpoint one makes progress, with locks and without.
#[test]
fn the_later_of_two_processes_owns_the_checkpoint() {
    let disk = SimDisk::new();
    let (older, _) = open(&disk);
    pass(&older, 0).expect("alone");
    let error = try_open(&disk, metadata()).expect_err("locked");
    assert_eq!(error.code().0, "CKP-003");

    disk.disable_locks();
    let (newer, _) = open(&disk);
    let fenced = |error: EpochError| assert_eq!(error.code().0, "CKP-003", "{error}");
    fenced(pass(&older, 1).expect_err("fenced"));
    fenced(snapshot(&older, 0).expect_err("fenced"));
    fenced(older.collect_garbage().expect_err("fenced"));
    pass(&newer, 1).expect("it owns the checkpoint");
    fenced(pass(&older, 1).expect_err("fenced still"));
    pass(&newer, 2).expect("what the older wrote went nowhere");
    drop((older, newer));
    let (_, recovered) = open(&disk.survivor(Survival::Everything));
    assert_eq!(recovered.commit_last, Some(Epoch(2)));
}

/// [INV-05] What is not whole, or not there, is not named.
#[test]
fn a_manifest_names_only_what_is_whole() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    pass(&store, 0).expect("a good disk");
    let refuse = |manifest: &Manifest| {
        let error = store.write_manifest(manifest).expect_err("must not be");
        assert_eq!(error.code().0, "EXE-003", "{error}");
    };
    refuse(&manifest(&store, 0, "state/pack-1-0-0", b"x"));
    refuse(&manifest(&store, 0, "state/../lock", b""));
    let pack = store.pack_writer().write(b"abc").expect("written");
    let good = manifest(&store, 0, pack.as_str(), b"abc");
    refuse(&manifest(&store, 0, pack.as_str(), b"abcd"));
    refuse(&manifest(&store, 1, pack.as_str(), b"abc"));
    refuse(&Manifest {
        generation: 9,
        ..good.clone()
    });
    refuse(&Manifest {
        plan_fingerprint: 9,
        ..good.clone()
    });
    store.write_manifest(&good).expect("whole");
    refuse(&good);
    let other = store.pack_writer().write(b"other").expect("written");
    assert_ne!(other, pack, "a name is never used twice");
    let piece = good.pieces.first().expect("one piece");
    assert_eq!(read_piece(&disk, piece).expect("whole"), b"abc");
}

/// A process that does not hold the store writes packs too.
#[test]
fn packs_of_other_processes_are_named_and_collected() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    let elsewhere = PackWriter::new(Arc::new(disk.clone()), store.generation(), 1);
    for epoch in 0..4 {
        pass(&store, epoch).expect("a good disk");
        let bytes = [9; 3];
        let pack = elsewhere.write(&bytes).expect("written");
        let named = manifest(&store, epoch, pack.as_str(), &bytes);
        store.write_manifest(&named).expect("whole");
        elsewhere.write(b"pending").expect("written");
        store.collect_garbage().expect("a good disk");
    }
    let names: Vec<String> = disk.files().iter().map(ToString::to_string).collect();
    expect_test::expect![[r#"
        generations/00000000000000000001
        lock
        log/00000000000000000002.log
        log/00000000000000000003.log
        metadata
        state/manifest-00000000000000000002
        state/manifest-00000000000000000003
        state/pack-1-1-1
        state/pack-1-1-3
        state/pack-1-1-4
        state/pack-1-1-5
        state/pack-1-1-6
        state/pack-1-1-7"#]]
    .assert_eq(&names.join("\n"));
}

/// The number of files does not grow with the life of a query. proves P9
#[test]
fn what_no_restart_needs_is_removed() {
    let disk = SimDisk::new();
    let mut most = 0;
    let mut store = open(&disk).0;
    for epoch in 0..200 {
        pass(&store, epoch).expect("a good disk");
        if epoch % 3 == 0 {
            snapshot(&store, epoch).expect("a good disk");
            store.collect_garbage().expect("a good disk");
        }
        if epoch % 17 == 0 {
            drop(store);
            store = open(&disk).0;
        }
        most = most.max(disk.files().len());
    }
    assert!(most <= 12, "{most}");
    drop(store);
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.snapshot.map(|m| m.epoch), Some(Epoch(198)));
    assert_eq!(recovered.plan_last, Some(Epoch(199)));
}

/// Removals that reach the disk in another order leave no hole. proves P6
#[test]
fn a_crash_while_much_is_collected() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    for epoch in 0..10 {
        pass(&store, epoch).expect("a good disk");
        snapshot(&store, epoch).expect("a good disk");
    }
    let before = disk.survivor(Survival::Synced);
    for op in 0.. {
        let disk = before.survivor(Survival::Synced);
        let (store, _) = open(&disk);
        disk.crash_after(disk.ops() + op);
        let collected = store.collect_garbage();
        for seed in 0..20 {
            let survivor = disk.survivor(Survival::Scattered { seed });
            let (_, recovered) = open(&survivor);
            assert_eq!(recovered.snapshot.map(|m| m.epoch), Some(Epoch(9)));
            let older = RelPath::new("state/manifest-00000000000000000009");
            survivor.tamper(&older.expect("a good path"), None);
            let (_, recovered) = open(&survivor);
            assert_eq!(recovered.snapshot.map(|m| m.epoch), Some(Epoch(8)));
        }
        if let Ok(collected) = collected {
            assert_eq!((collected.manifests, collected.packs), (8, 8));
            assert_eq!(collected.segments, 8);
            break;
        }
    }
}

#[test]
fn the_same_on_a_real_disk() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let base = dir.path().join("nested/checkpoint");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&base));
    let sink = Sink::new(true);
    run_on(&disk, &sink).expect("nothing disturbs it");
    sink.check("real");
    let (held, recovered) = CheckpointStore::open(Arc::clone(&disk), metadata()).expect("whole");
    assert_eq!(recovered.generation, 2);
    assert_eq!(recovered.commit_last, Some(Epoch(6)));
    let second = CheckpointStore::open(Arc::new(RealDisk::new(&base)), metadata());
    assert_eq!(second.expect_err("held").code().0, "CKP-003");
    drop(held);
    let report = millstream_epoch::verify(&*disk).expect("readable");
    assert!(report.is_whole(), "{report:#?}");

    let simulated = SimDisk::new();
    run(&simulated, &Sink::new(true), 0).expect("nothing disturbs it");
    for path in simulated.files() {
        if !path.as_str().starts_with("generations/") {
            let same = disk.read(&path).ok() == simulated.peek(&path);
            assert!(same || path.as_str().starts_with("log/"), "{path}");
        }
    }
}

#[test]
fn a_real_disk_does_what_the_simulated_one_does() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let real: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
    for disk in [real, Arc::new(SimDisk::new())] {
        let path = |text: &str| RelPath::new(text).expect("a good path");
        let (a, b) = (path("d/a"), path("d/b"));
        let kind = |result: std::io::Result<()>| result.err().map(|error| error.kind());
        assert_eq!(
            kind(disk.create_new(&a, b"x")),
            Some(std::io::ErrorKind::NotFound)
        );
        disk.create_dir_all(&path("d")).expect("created");
        disk.create_new(&a, b"hello").expect("created");
        assert_eq!(
            kind(disk.create_new(&a, b"x")),
            Some(std::io::ErrorKind::AlreadyExists)
        );
        let mut file = disk.open_append(&a).expect("opened");
        file.append(b" world").expect("appended");
        file.sync().expect("synced");
        disk.rename(&a, &b).expect("renamed");
        file.append(b"!").expect("a handle follows its file");
        disk.truncate(&b, 11).expect("cut");
        file.append(b"?").expect("appended at the new end");
        disk.sync(&b).expect("synced");
        disk.sync_dir(&path("d")).expect("synced");
        assert_eq!(disk.read(&b).expect("read"), b"hello world?");
        assert_eq!(disk.read_range(&b, 6, 5).expect("read"), b"world");
        let beyond = disk.read_range(&b, 6, 7).map(drop);
        assert_eq!(kind(beyond), Some(std::io::ErrorKind::UnexpectedEof));
        let huge = disk.read_range(&b, u64::MAX, u64::MAX).map(drop);
        assert_eq!(kind(huge), Some(std::io::ErrorKind::UnexpectedEof));
        assert_eq!(disk.size(&b).expect("there"), 12);
        assert_eq!(
            kind(disk.size(&a).map(drop)),
            Some(std::io::ErrorKind::NotFound)
        );
        let names = disk.list(&RelPath::root()).expect("listed");
        assert_eq!(names.len(), 1);
        assert!(
            names
                .first()
                .is_some_and(|entry| entry.is_dir && entry.name == "d")
        );
        let held = disk.try_lock(&path("lock")).expect("locked");
        assert!(held.is_some());
        assert!(disk.try_lock(&path("lock")).expect("asked").is_none());
        drop(held);
        assert!(disk.try_lock(&path("lock")).expect("asked").is_some());
        disk.remove(&b).expect("removed");
        assert_eq!(kind(disk.remove(&b)), Some(std::io::ErrorKind::NotFound));
    }
}

/// What ends in `.tmp` and is not ours stays, in a checkpoint and in a directory that becomes one.
#[test]
fn only_our_own_unfinished_files_are_removed() {
    let disk = SimDisk::new();
    let path = |name: &str| RelPath::new(name).expect("a path");
    let others = ["notes.tmp", "lock.tmp", "x.log.tmp"].map(path);
    for file in &others {
        disk.tamper(file, Some(b"theirs".to_vec()));
    }
    let (store, _) = open(&disk);
    pass(&store, 0).expect("commits");
    drop(store);
    let theirs = path("log/mine.tmp");
    let ours = [
        "metadata.tmp",
        "log/00000000000000000007.log.tmp",
        "state/manifest-00000000000000000007.tmp",
    ]
    .map(path);
    for file in ours.iter().chain([&theirs]) {
        disk.tamper(file, Some(b"torn".to_vec()));
    }
    let (_store, _) = open(&disk);
    let files = disk.files();
    assert!(
        others
            .iter()
            .chain([&theirs])
            .all(|file| files.contains(file)),
        "{files:?}"
    );
    assert!(ours.iter().all(|file| !files.contains(file)), "{files:?}");
}
