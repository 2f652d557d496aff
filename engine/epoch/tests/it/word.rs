//! The user's word: plans that are given up, changed input that is accepted.

use std::sync::Arc;

use millstream_epoch::{
    Accepted, CheckpointStore, Chosen, Commit, Disk, EpochError, Output, Plan, PlanKind, Planned,
    RealDisk, Recovered, RelPath, Replays, SinkPosition, SourceRange, accept_input, drop_plans,
    inspect, resume,
    sim::{Failure, SimDisk, Survival},
};
use millstream_types::{Class, Coded, Epoch};

use crate::store::{chosen, open, pass, snapshot, sunk};

fn shared(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn drop_from(disk: &SimDisk, from: u64) -> Result<Vec<Plan>, EpochError> {
    drop_plans(shared(disk), Epoch(from), "a bad row")
}

fn plan(store: &CheckpointStore, epochs: std::ops::Range<u64>) -> Vec<Planned> {
    let mut plans = epochs.map(chosen).collect();
    store
        .advance(&mut vec![], &mut plans)
        .expect("a good disk")
        .1
}

/// Plans 0.. and commits the first of them.
fn checkpoint(plans: u64, commits: u64) -> SimDisk {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    let planned = plan(&store, 0..plans).into_iter();
    let commits = usize::try_from(commits).expect("small");
    let mut done = planned.take(commits).map(sunk).collect();
    store.advance(&mut done, &mut vec![]).expect("a good disk");
    drop(store);
    disk.survivor(Survival::Synced)
}

/// Another plan for a number.
fn another(epoch: u64, clock_ms: i64) -> Chosen {
    Chosen::new(Plan {
        epoch: Epoch(epoch),
        clock_ms,
        kind: PlanKind::NoData,
        snapshot_after: false,
        sources: vec![],
    })
}

fn numbers(plans: &[Plan]) -> Vec<u64> {
    plans.iter().map(|plan| plan.epoch.0).collect()
}

fn count(last: Option<Epoch>) -> u64 {
    last.map_or(0, |epoch| epoch.0 + 1)
}

/// Every number of plans and commits, everything that can be given up, every answer of the sink:
/// no epoch is given to the sink twice, none is left out, and what the sink has is what was planned.
/// [INV-04]
#[test]
fn every_combination_of_plans_commits_words_and_sinks() {
    let (mut given_up, mut refused, mut taken_back) = (0, 0, 0);
    for plans in 0..5 {
        for commits in 0..=plans {
            for from in 0..6 {
                let disk = checkpoint(plans, commits);
                let is_open = (commits..plans).contains(&from);
                match drop_from(&disk, from) {
                    Ok(gone) => {
                        assert!(is_open);
                        assert_eq!(numbers(&gone), (from..plans).collect::<Vec<_>>());
                        given_up += 1;
                    }
                    Err(error) => {
                        assert!(!is_open, "{error}");
                        assert_eq!(error.code().0, "CKP-010");
                        assert_eq!(error.code().entry().class, Class::User);
                        refused += 1;
                        continue;
                    }
                }
                // A sink has at least what the log says was committed, at most what was planned.
                for sink in commits..=plans {
                    let disk = disk.survivor(Survival::Synced);
                    taken_back += u64::from(go_on(&disk, [plans, commits, from, sink]));
                }
            }
        }
    }
    assert_eq!((given_up, refused, taken_back), (20, 70, 35));
}

/// Starts after plans from `from` on were given up, with a sink that has `sink` epochs; whether the
/// word was taken back.
fn go_on(disk: &SimDisk, [plans, commits, from, sink]: [u64; 4]) -> bool {
    let context = format!("plans={plans} commits={commits} from={from} sink={sink}");
    let (store, mut recovered) = open(disk);
    assert_eq!(count(recovered.plan_last), from, "{context}");
    assert_eq!(
        numbers(&recovered.given_up),
        (from..plans).collect::<Vec<_>>()
    );
    let position = match sink.checked_sub(1) {
        None => SinkPosition::Nothing,
        Some(last) => SinkPosition::Committed(Epoch(last)),
    };
    store
        .reinstate(&mut recovered, position)
        .expect("a good disk");
    let decision =
        resume(recovered.facts(position, Replays::Everything)).expect("consistent facts");
    let next = from.max(sink);
    assert_eq!(decision.next, Epoch(next), "{context}");
    assert_eq!(numbers(&recovered.plans), (0..next).collect::<Vec<_>>());
    assert_eq!(recovered.planned().len(), decision.replay.len());
    for replay in &decision.replay {
        let is_due = replay.epoch.0 >= sink;
        assert_eq!(replay.output == Output::Emit, is_due, "{context}");
    }
    // The number is planned anew, and the next start knows nothing else.
    let mut plans = vec![another(next, -1)];
    store.advance(&mut vec![], &mut plans).expect("a good disk");
    drop(store);
    let (_, recovered) = open(&disk.survivor(Survival::Synced));
    assert_eq!(count(recovered.plan_last), next + 1, "{context}");
    assert!(recovered.given_up.is_empty(), "{context}");
    sink > from
}

#[test]
fn a_number_that_was_given_up_is_planned_anew_and_may_be_given_up_again() {
    let mut disk = checkpoint(3, 1);
    for round in 0..4 {
        drop_from(&disk, 1).expect("open");
        let (store, recovered) = open(&disk);
        assert_eq!(recovered.commit_last, Some(Epoch(0)));
        assert_eq!(recovered.plan_last, Some(Epoch(0)));
        let chosen = another(1, round);
        let other = chosen.plan().clone();
        store
            .advance(&mut vec![], &mut vec![chosen])
            .expect("a good disk");
        drop(store);
        disk = disk.survivor(Survival::Synced);
        let report = inspect(&disk).expect("readable");
        assert!(report.is_whole());
        assert_eq!(report.plans.last(), Some(&other));
        assert_eq!(report.given_up, []);
        assert_eq!(i64::try_from(report.dropped.len()), Ok(round + 1));
        let reasons = report.dropped.iter().map(|dropped| dropped.reason.as_str());
        assert!(reasons.eq(std::iter::repeat_n("a bad row", report.dropped.len())));
    }
}

/// The word is there as a whole or not at all, whenever the power fails; a failure leaves the
/// checkpoint as it was, or with the word. proves P6
#[test]
fn a_crash_or_an_error_at_any_operation_of_a_word() {
    let before = checkpoint(4, 2);
    let undisturbed = before.survivor(Survival::Synced);
    drop_from(&undisturbed, 3).expect("open");
    let ops = undisturbed.ops();
    assert_eq!(ops, 6, "{:#?}", undisturbed.history());
    let check = |disk: &SimDisk| {
        let (_, recovered) = open(disk);
        assert!(matches!(count(recovered.plan_last), 3 | 4));
        let open_plans = count(recovered.plan_last) + recovered.given_up.len() as u64;
        assert_eq!(open_plans, 4, "it is known or given up");
        count(recovered.plan_last)
    };
    for k in 0..=ops {
        for survival in [
            Survival::Synced,
            Survival::Everything,
            Survival::Prefix { seed: k },
            Survival::Scattered { seed: k },
        ] {
            let disk = before.survivor(Survival::Synced);
            disk.crash_after(k);
            let said = drop_from(&disk, 3).is_ok();
            let last = check(&disk.survivor(survival));
            assert!(!said || last == 3, "what was said is durable");
        }
        for failure in [Failure::Eio, Failure::Enospc, Failure::ShortWrite] {
            let disk = before.survivor(Survival::Synced);
            disk.fail_at(k, failure);
            if k > 0 {
                drop_from(&disk, 3).expect_err("it fails");
            }
            check(&disk.restarted());
        }
    }
}

#[test]
fn a_word_needs_a_checkpoint_that_nobody_runs() {
    let disk = checkpoint(2, 1);
    let running = open(&disk);
    let error = drop_from(&disk, 1).expect_err("it runs");
    assert_eq!(error.code().0, "CKP-003");
    disk.disable_locks();
    drop_from(&disk, 1).expect("without locks it takes over");
    let error = pass(&running.0, 2).expect_err("fenced");
    assert_eq!(error.code().0, "CKP-003");
    let empty = SimDisk::new();
    let error = drop_from(&empty, 0).expect_err("no checkpoint");
    assert_eq!(error.code().0, "CKP-007");
    assert_eq!(empty.files(), [], "nothing was made");
    let long = "x".repeat(5000);
    let error = drop_plans(shared(&checkpoint(2, 1)), Epoch(1), &long);
    assert_eq!(error.expect_err("too long").code().0, "EXE-003");
}

/// A log whose end was lost says nothing about what was committed.
#[test]
fn ckp_010_what_a_snapshot_contains_is_not_given_up() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    pass(&store, 0).expect("a good disk");
    plan(&store, 1..3);
    let lost = disk.survivor(Survival::Synced);
    drop(store);
    let (store, recovered) = open(&disk);
    let mut done = recovered.planned().into_iter().skip(1).map(sunk).collect();
    store.advance(&mut done, &mut vec![]).expect("a good disk");
    snapshot(&store, 2).expect("a good disk");
    drop(store);
    for file in disk.files() {
        if file.as_str().starts_with("state/") {
            lost.tamper(&file, disk.peek(&file));
        }
    }
    let error = drop_from(&lost, 2).expect_err("a snapshot contains it");
    assert_eq!(error.code().0, "CKP-010", "{error}");
    let error = accept(&lost, 2, 0).expect_err("a snapshot contains it");
    assert_eq!(error.code().0, "CKP-010", "{error}");
}

/// The records of the word live on when the segments around them are collected.
#[test]
fn collection_goes_on_after_a_word() {
    let mut disk = SimDisk::new();
    let mut next = 0;
    for round in 0..12 {
        let (store, recovered) = open(&disk);
        assert_eq!(recovered.damaged, []);
        assert_eq!(recovered.commit_last.map_or(0, |e| e.0 + 1), next);
        pass(&store, next).expect("a good disk");
        if round % 3 != 1 {
            snapshot(&store, next).expect("a good disk");
        }
        // The first plan after a snapshot begins a segment; what is dropped may begin before it.
        plan(&store, next + 1..next + 3);
        store.collect_garbage().expect("a good disk");
        drop(store);
        let from = next + 1 + u64::from(round % 2 == 0);
        drop_from(&disk, from).expect("open");
        let (store, recovered) = open(&disk);
        let mut done: Vec<_> = recovered
            .planned()
            .into_iter()
            .filter(|planned| planned.epoch().0 > next)
            .map(sunk)
            .collect();
        next = from;
        store.advance(&mut done, &mut vec![]).expect("a good disk");
        drop(store);
        disk = disk.survivor(Survival::Synced);
        assert!(inspect(&disk).expect("readable").is_whole());
    }
    let files = disk.files();
    let segments = files.iter().filter(|f| f.as_str().starts_with("log/"));
    assert!(segments.count() <= 6, "{files:#?}");
}

/// Plans with an input each, the first of them committed, a snapshot after the first.
fn with_input() -> SimDisk {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    for epoch in 0..4 {
        let range = SourceRange {
            start: None,
            end: "1".to_owned(),
            detail: vec![],
        };
        let mut plans = vec![Chosen::new(Plan {
            epoch: Epoch(epoch),
            clock_ms: 0,
            kind: PlanKind::Data,
            snapshot_after: false,
            sources: vec![None, Some(range)],
        })];
        let (_, planned) = store.advance(&mut vec![], &mut plans).expect("a good disk");
        if epoch < 2 {
            let mut done = planned.into_iter().map(sunk).collect();
            store.advance(&mut done, &mut vec![]).expect("a good disk");
        }
        if epoch == 0 {
            snapshot(&store, 0).expect("a good disk");
        }
    }
    drop(store);
    disk.survivor(Survival::Synced)
}

fn accept(disk: &SimDisk, epoch: u64, source: u32) -> Result<(), EpochError> {
    let accepted = Accepted {
        epoch: Epoch(epoch),
        source,
        what: "a.json was rewritten".to_owned(),
    };
    accept_input(shared(disk), &[accepted])
}

fn accepted(recovered: &Recovered) -> Vec<(u64, u32)> {
    let accepted = recovered.accepted.iter();
    accepted.map(|a| (a.epoch.0, a.source)).collect()
}

/// A restart hears which input may differ, of every epoch that it will run again.
#[test]
fn accepted_input_is_handed_to_the_next_start() {
    let disk = with_input();
    for (epoch, source, is_fine) in [
        (0, 1, false), // in the snapshot
        (1, 1, true),  // committed, and still run again for its state
        (2, 1, true),
        (2, 0, false), // no input
        (2, 2, false), // no such source
        (3, 1, true),
        (4, 1, false), // never planned
    ] {
        match accept(&disk, epoch, source) {
            Ok(()) => assert!(is_fine),
            Err(error) => {
                assert!(!is_fine, "{error}");
                assert_eq!(error.code().0, "CKP-010");
            }
        }
    }
    let (store, recovered) = open(&disk);
    assert_eq!(accepted(&recovered), [(1, 1), (2, 1), (3, 1)]);
    let whats: Vec<&str> = recovered.accepted.iter().map(|a| a.what.as_str()).collect();
    assert_eq!(whats, ["a.json was rewritten"; 3]);
    drop(store);
    assert_eq!(inspect(&disk).expect("readable").accepted.len(), 3);
    // What was accepted for a plan goes with it.
    drop_from(&disk, 3).expect("open");
    let (store, recovered) = open(&disk);
    assert_eq!(accepted(&recovered), [(1, 1), (2, 1)]);
    snapshot(&store, 1).expect("committed");
    drop(store);
    let (_held, recovered) = open(&disk);
    assert_eq!(
        accepted(&recovered),
        [(2, 1)],
        "a snapshot contains the rest"
    );
    accept_input(shared(&disk), &[]).expect_err("it is held");
}

/// What a replayed epoch gives can be compared with what it gave before.
#[test]
fn the_commits_of_replayed_epochs_are_handed_out() {
    let (_, recovered) = open(&with_input());
    let commit = |epoch| Commit {
        epoch: Epoch(epoch),
        rows_in: 3,
        rows_out: 2,
        watermark_next_ms: 10,
    };
    assert_eq!(recovered.commits, [commit(0), commit(1)]);
    assert_eq!(numbers(&recovered.plans), [1, 2, 3]);
}

#[test]
fn words_on_a_real_disk() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let real = RealDisk::new(dir.path());
    let from = checkpoint(3, 1);
    for file in from.files() {
        let parent = file.parent();
        real.create_dir_all(&parent).expect("a directory");
        let bytes = from.peek(&file).expect("there");
        real.create_new(&file, &bytes).expect("a file");
    }
    real.create_dir_all(&RelPath::new("state").expect("a good path"))
        .expect("a directory");
    let real: Arc<dyn Disk> = Arc::new(real);
    let gone = drop_plans(Arc::clone(&real), Epoch(1), "no more").expect("open");
    assert_eq!(numbers(&gone), [1, 2]);
    let report = inspect(&*real).expect("readable");
    assert!(report.is_whole());
    assert_eq!((report.plans.len(), report.given_up.len()), (1, 2));
}
