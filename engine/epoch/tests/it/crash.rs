//! Power cuts, kills and errors at every single operation.

use millstream_epoch::sim::{Failure, SimDisk, Survival};

use crate::toy::{Sink, run};

/// What survives, four ways for each place of the crash.
fn survivals(seed: u64) -> [Survival; 4] {
    [
        Survival::Synced,
        Survival::Everything,
        Survival::Prefix { seed },
        Survival::Scattered { seed },
    ]
}

fn undisturbed() -> SimDisk {
    let disk = SimDisk::new();
    let sink = Sink::new(true);
    run(&disk, &sink, 0).expect("nothing disturbs it");
    sink.check("undisturbed");
    assert_eq!(sink.entries().len(), 7);
    disk
}

/// Runs until the process dies after operation `k`; `None` if it finishes before.
fn die_after(k: u64, sink: &Sink) -> Option<SimDisk> {
    let disk = SimDisk::new();
    disk.crash_after(k);
    run(&disk, sink, 0).is_err().then_some(disk)
}

/// proves P6: after a power cut at any operation a restart needs no hand.
#[test]
fn a_crash_after_any_operation_needs_no_hand() {
    let ops = undisturbed().ops();
    assert!(ops > 60, "the workload shrank to {ops} operations");
    for can_tell in [true, false] {
        for k in 0..ops {
            for survival in survivals(k) {
                let context = format!("can_tell={can_tell} k={k} {survival:?}");
                let sink = Sink::new(can_tell);
                let dead = die_after(k, &sink).expect("k is before the end");
                let next = dead.survivor(survival);
                if let Err(fault) = run(&next, &sink, 1) {
                    unreachable!("{context}: {fault}\n{:#?}", dead.journal());
                }
                sink.check(&context);
            }
        }
    }
}

/// proves P6: also when the recovery itself is killed, at any operation of it.
#[test]
fn a_crash_during_the_recovery_needs_no_hand() {
    let ops = undisturbed().ops();
    for k in 0..ops {
        for survival in survivals(k) {
            let first_sink = Sink::new(true);
            let dead = die_after(k, &first_sink).expect("k is before the end");
            // Neighbours differ in a sync or a rename at most: every second place, in turn.
            for j in (0..).filter(|j| (j + k) % 2 == 0) {
                let context = format!("k={k} j={j} {survival:?}");
                let sink = first_sink.fork();
                let second = dead.survivor(survival);
                second.crash_after(j);
                if run(&second, &sink, 1).is_ok() {
                    break;
                }
                let [_, _, _, scattered] = survivals(k * 1000 + j);
                for survival in [survival, scattered] {
                    let sink = sink.fork();
                    let third = second.survivor(survival);
                    if let Err(fault) = run(&third, &sink, 2) {
                        unreachable!("{context} {survival:?}: {fault}\n{:#?}", second.journal());
                    }
                    sink.check(&context);
                }
            }
        }
    }
}

/// An operation fails, the process ends, the next one finds what the operating system remembers,
/// and is then cut off as well: what a failed sync left in memory must not be built upon.
#[test]
fn an_error_at_any_operation_is_survived() {
    let ops = undisturbed().ops();
    for k in 1..=ops {
        for failure in [Failure::Eio, Failure::Enospc, Failure::ShortWrite] {
            let first_sink = Sink::new(true);
            let disk = SimDisk::new();
            disk.fail_at(k, failure);
            let ended = run(&disk, &first_sink, 0);
            if let Err(fault) = &ended {
                assert!(["CKP-005", "CON-006"].contains(&fault.code.0), "{fault}");
            }
            for j in (0..).filter(|j| (j + k) % 2 == 0) {
                let context = format!("k={k} {failure:?} j={j}");
                let sink = first_sink.fork();
                let second = disk.restarted();
                second.crash_after(j);
                let is_finished = run(&second, &sink, 1).is_ok();
                let third = second.survivor(Survival::Synced);
                if let Err(fault) = run(&third, &sink, 2) {
                    unreachable!("{context}: {fault}\n{:#?}", second.journal());
                }
                sink.check(&context);
                if is_finished {
                    break;
                }
            }
        }
    }
}

/// A failed sync is never repeated: the operation after it belongs to the next process.
#[test]
fn a_failed_sync_is_the_last_thing_a_process_does() {
    let whole = undisturbed();
    let mut syncs = 0;
    for (k, line) in (1..).zip(whole.journal()) {
        if !line.starts_with("sync") {
            continue;
        }
        syncs += 1;
        let disk = SimDisk::new();
        disk.fail_at(k, Failure::Eio);
        let fault = run(&disk, &Sink::new(true), 0).expect_err("the sync failed");
        assert_eq!(fault.code.0, "CKP-005");
        assert_eq!(disk.ops(), k, "{line}");
    }
    assert!(syncs >= 20, "{syncs}");
}

/// A read error stops the query and changes nothing.
#[test]
fn an_error_at_any_read_is_survived() {
    let first_sink = Sink::new(true);
    let dead = die_after(60, &first_sink).expect("60 is before the end");
    for read in 1.. {
        let disk = dead.survivor(Survival::Synced);
        let sink = first_sink.fork();
        disk.fail_read_at(read);
        match run(&disk, &sink, 1) {
            Ok(()) => break,
            Err(fault) => assert_eq!(fault.code.0, "CKP-005", "read={read}"),
        }
        let next = disk.survivor(Survival::Synced);
        run(&next, &sink, 2).expect("a restart needs no hand");
        sink.check(&format!("read={read}"));
    }
}
