//! A journal against a list in memory: crashed at every operation, failed at every operation,
//! damaged at every byte, and counted.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use std::{ops::ControlFlow, sync::Arc};

use millstream_types::Coded;
use proptest::prelude::*;

use super::Journal;
use crate::{
    CheckpointStore, EpochError, Metadata, RelPath,
    sim::{Failure, SimDisk, Survival},
    verify,
};

/// So small that a handful of entries is several segments.
const SEGMENT_BYTES: u64 = 300;

fn metadata() -> Metadata {
    Metadata {
        query_id: "id".to_owned(),
        plan_fingerprint: 1,
        plan_text: String::new(),
        settings: Vec::new(),
    }
}

fn store(disk: &SimDisk) -> Result<CheckpointStore, EpochError> {
    CheckpointStore::open(Arc::new(disk.clone()), metadata()).map(|(store, _)| store)
}

fn open(disk: &SimDisk) -> Result<Journal, EpochError> {
    store(disk)?.journal_of(0, "files", SEGMENT_BYTES)
}

fn read(journal: &Journal, range: std::ops::Range<u64>) -> Result<Vec<Vec<u8>>, EpochError> {
    let (mut found, mut next) = (Vec::new(), range.start);
    journal.read(range, &mut |number, entry| {
        assert_eq!(number, next, "in order");
        next += 1;
        found.push(entry.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn append(journal: &Journal, entries: &[Vec<u8>]) -> Result<std::ops::Range<u64>, EpochError> {
    journal.append(&mut entries.iter().cloned())
}

fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).expect("small")
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("small")
}

/// An entry whose bytes say which one it is.
fn entry(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = format!("entry {number} ").into_bytes();
    bytes.resize(len, b'.');
    bytes
}

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<Vec<u8>>),
    Truncate(u64),
    Forget(u64),
}

/// What a journal must hold.
#[derive(Clone, Debug, Default)]
struct Model {
    entries: Vec<Vec<u8>>,
    forgotten: u64,
    done: usize,
    in_flight: Option<Op>,
}

impl Model {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Append(group) => self.entries.extend(group),
            Op::Truncate(end) => self.entries.truncate(index(end)),
            Op::Forget(start) => self.forgotten = self.forgotten.max(start),
        }
    }

    /// What was promised is there, and of what was under way a first part.
    fn check(&self, journal: &Journal) -> Result<(), EpochError> {
        let kept = journal.entries();
        let (mut most, mut least) = (self.entries.clone(), count(&self.entries));
        let mut forgotten = self.forgotten;
        match &self.in_flight {
            Some(Op::Append(group)) => most.extend(group.iter().cloned()),
            Some(Op::Truncate(end)) => least = *end,
            Some(Op::Forget(start)) => forgotten = forgotten.max(*start),
            None => {}
        }
        assert!(
            least <= kept.end && kept.end <= count(&most),
            "{kept:?} {least}"
        );
        assert!(kept.start <= forgotten, "{kept:?} {forgotten}");
        // From the front, and from the places that are remembered.
        for start in [
            kept.start,
            kept.start.midpoint(kept.end),
            kept.end.saturating_sub(1),
        ] {
            let start = start.max(kept.start);
            let found = read(journal, start..kept.end)?;
            assert_eq!(found, most[index(start)..index(kept.end)]);
        }
        Ok(())
    }
}

fn script() -> Vec<Op> {
    let mut next = 0;
    let mut group = |entries: u64, len: usize| {
        let group = (next..next + entries).map(|n| entry(n, len)).collect();
        next += entries;
        Op::Append(group)
    };
    vec![
        group(1, 20),
        group(3, 40),
        group(20, 100), // several segments at once
        Op::Truncate(20),
        group(2, 10),
        Op::Truncate(19), // between the frames of two appends, or within one
        group(1, 0),
        Op::Forget(9),
        group(5, 130),
        Op::Truncate(10), // segments go
        group(9, 60),
        Op::Forget(14),
    ]
}

fn apply(journal: &Journal, op: &Op) -> Result<(), EpochError> {
    match op {
        Op::Append(group) => append(journal, group).map(drop),
        Op::Truncate(end) => journal.truncate(*end),
        Op::Forget(start) => journal.forget(*start),
    }
}

fn play(disk: &SimDisk, model: &mut Model) -> Result<(), EpochError> {
    play_all(disk, model, &script())
}

/// Plays what is left of a script as one process. A call that fails is repeated once.
fn play_all(disk: &SimDisk, model: &mut Model, script: &[Op]) -> Result<(), EpochError> {
    let journal = open(disk)?;
    model.check(&journal)?;
    if let Some(Op::Append(_)) = &model.in_flight {
        journal.truncate(count(&model.entries))?;
    }
    for op in script.iter().skip(model.done) {
        let kept = journal.entries();
        let op = match op {
            Op::Append(_) => op.clone(),
            Op::Truncate(end) => Op::Truncate(*end.max(&kept.start).min(&kept.end)),
            Op::Forget(start) => Op::Forget(*start.min(&kept.end)),
        };
        model.in_flight = Some(op.clone());
        if let Err(error) = apply(&journal, &op) {
            if error.is_disk_full() && matches!(op, Op::Append(_)) {
                assert_eq!(journal.entries().end, count(&model.entries), "none of them");
            }
            let again = apply(&journal, &op);
            assert!(again.is_ok() || !error.is_disk_full(), "{error} {again:?}");
            again?;
        }
        model.in_flight = None;
        model.done += 1;
        model.apply(op);
        model.check(&journal)?;
    }
    Ok(())
}

fn undisturbed() -> (SimDisk, Model) {
    let (disk, mut model) = (SimDisk::new(), Model::default());
    play(&disk, &mut model).expect("nothing disturbs it");
    (disk, model)
}

fn survivals(seed: u64) -> [Survival; 4] {
    [
        Survival::Synced,
        Survival::Everything,
        Survival::Prefix { seed },
        Survival::Scattered { seed },
    ]
}

#[test]
fn the_bytes_of_a_segment() {
    let disk = SimDisk::new();
    let journal = open(&disk).expect("new");
    append(&journal, &[b"one".to_vec(), vec![]]).expect("a good disk");
    append(&journal, &[b"three".to_vec()]).expect("a good disk");
    let (file, bytes) = journal_files(&disk).remove(0);
    assert_eq!(
        file.as_str(),
        "sources/0/files-00000000000000000000.journal"
    );
    crate::tests::check(
        &bytes,
        expect_test::expect![[r#"
        4d 53 6a 73 01 00 00 00 1b 00 00 00 02 00 00 00  MSjs............
        69 64 00 00 00 00 05 00 00 00 66 69 6c 65 73 00  id........files.
        00 00 00 00 00 00 00 6e 65 a3 e4 4d 53 6a 66 01  .......ne..MSjf.
        00 00 00 23 00 00 00 00 00 00 00 00 00 00 00 2b  ...#...........+
        00 00 00 00 00 00 00 6e 65 a3 e4 02 00 00 00 03  .......ne.......
        00 00 00 6f 6e 65 00 00 00 00 86 87 3b 6d 4d 53  ...one......;mMS
        6a 66 01 00 00 00 21 00 00 00 02 00 00 00 00 00  jf....!.........
        00 00 5e 00 00 00 00 00 00 00 86 87 3b 6d 01 00  ..^.........;m..
        00 00 05 00 00 00 74 68 72 65 65 eb ed 9c 33     ......three...3
    "#]],
    );
}

#[test]
fn the_script_has_what_it_should() {
    let (disk, model) = undisturbed();
    assert_eq!(model.entries.len(), 19);
    let names: Vec<String> = disk.files().iter().map(ToString::to_string).collect();
    let names: Vec<&String> = names.iter().filter(|n| n.starts_with("sources/")).collect();
    expect_test::expect![[r#"
        [
            "sources/0/files-00000000000000000014.journal",
            "sources/0/files-00000000000000000018.journal",
        ]
    "#]]
    .assert_debug_eq(&names);
    assert!(verify(&disk).expect("readable").is_whole());
}

/// proves P6: a power cut at any operation, and another one at any operation of the restart.
#[test]
fn a_crash_at_any_operation_and_in_the_recovery() {
    let ops = undisturbed().0.ops();
    assert!(ops >= 70, "the script shrank to {ops} operations");
    for k in 0..ops {
        let (disk, mut first) = (SimDisk::new(), Model::default());
        disk.crash_after(k);
        play(&disk, &mut first).expect_err("k is before the end");
        for (turn, survival) in (0..).zip(survivals(k)) {
            // The restart writes the newest segment anew and repeats one call or two.
            for j in (0..30).filter(|j| j % 4 == turn).chain([u64::MAX]) {
                let (second, mut model) = (disk.survivor(survival), first.clone());
                second.crash_after(j);
                let is_finished = play(&second, &mut model).is_ok();
                let third =
                    second.survivor(survivals((k * 1000).wrapping_add(j))[index((j / 4 + k) % 4)]);
                if let Err(error) = play(&third, &mut model) {
                    unreachable!("k={k} j={j} {survival:?}: {error}\n{:#?}", disk.history());
                }
                if is_finished {
                    break;
                }
            }
        }
    }
}

/// Any operation fails; a full disk is waited out by the same call, after anything else the next
/// process goes on, also if the power is cut after that. proves P9
#[test]
fn an_error_at_any_operation_is_survived() {
    let ops = undisturbed().0.ops();
    let mut repeated = 0;
    for k in 1..=ops {
        for failure in [Failure::Eio, Failure::Enospc, Failure::ShortWrite] {
            let (disk, mut model) = (SimDisk::new(), Model::default());
            disk.fail_at(k, failure);
            let ended = play(&disk, &mut model);
            if let Err(error) = &ended {
                assert_eq!(error.code().0, "CKP-005", "{error}");
            } else if failure != Failure::Eio {
                repeated += 1;
            }
            let second = disk.restarted();
            play(&second, &mut model).expect("a restart needs no hand");
            let third = second.survivor(Survival::Synced);
            play(&third, &mut model).expect("what was read was made durable");
        }
    }
    assert!(repeated >= 20, "{repeated}");
}

/// After a failed sync nothing more is done to the disk.
#[test]
fn a_failed_sync_is_the_last_thing_a_process_does() {
    let whole = undisturbed().0;
    for (k, line) in (1..).zip(whole.history()) {
        if line.starts_with("sync") {
            let disk = SimDisk::new();
            disk.fail_at(k, Failure::Enospc);
            let error = play(&disk, &mut Model::default()).expect_err("the sync failed");
            assert!(!error.is_disk_full(), "{line}: {error}");
            assert_eq!(disk.ops(), k, "{line}");
        }
    }
}

#[test]
fn an_error_at_any_read_is_survived() {
    for read in 1.. {
        let (disk, mut model) = (SimDisk::new(), Model::default());
        disk.fail_read_at(read);
        let ended = play(&disk, &mut model);
        let is_finished = disk.reads() < read;
        play(&disk.restarted(), &mut model).expect("a restart needs no hand");
        if is_finished {
            ended.expect("nothing failed");
            break;
        }
    }
}

fn journal_files(disk: &SimDisk) -> Vec<(RelPath, Vec<u8>)> {
    let files = disk.files().into_iter();
    let files = files.filter(|file| file.as_str().starts_with("sources/"));
    files
        .filter_map(|file| disk.peek(&file).map(|bytes| (file, bytes)))
        .collect()
}

/// A journal of four segments, and what it holds.
fn sample() -> (SimDisk, Vec<Vec<u8>>) {
    let disk = SimDisk::new();
    let journal = open(&disk).expect("a good disk");
    let entries: Vec<Vec<u8>> = (0..14).map(|n| entry(n, 50)).collect();
    for group in entries.chunks(2) {
        append(&journal, group).expect("a good disk");
    }
    drop(journal);
    (disk.survivor(Survival::Synced), entries)
}

/// What was damaged is noticed where it is read, or the newest segment lost its end.
fn damage(disk: &SimDisk, entries: &[Vec<u8>], file: &RelPath, bytes: Option<Vec<u8>>) -> bool {
    let disk = disk.survivor(Survival::Synced);
    disk.tamper(file, bytes);
    let report = verify(&disk).expect("readable");
    let outcome = open(&disk).and_then(|journal| {
        let kept = journal.entries();
        let found = read(&journal, kept.clone())?;
        assert_eq!(found, entries[index(kept.start)..index(kept.end)], "{file}");
        Ok(found.len() < entries.len())
    });
    let is_noticed = !report.is_whole();
    match outcome {
        Err(error) => {
            let code = error.code().0;
            assert!(
                ["CKP-001", "CKP-004", "CKP-008"].contains(&code),
                "{file} {error}"
            );
            assert!(is_noticed, "{file}: {error}");
            true
        }
        // A source that knows of more entries is told when it cuts or reads.
        Ok(is_shorter) => is_shorter,
    }
}

/// proves P7: for journals.
#[test]
fn every_byte_changed_or_cut_off() {
    let (disk, entries) = sample();
    let files = journal_files(&disk);
    assert_eq!(files.len(), 4);
    for (file, bytes) in &files {
        for at in 0..bytes.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= mask;
                assert!(
                    damage(&disk, &entries, file, Some(changed)),
                    "{file} {at} {mask:x}"
                );
            }
            let cut = bytes[..at].to_vec();
            assert!(damage(&disk, &entries, file, Some(cut)), "{file} cut {at}");
        }
        let longer = [bytes.as_slice(), &[0; 40]].concat();
        damage(&disk, &entries, file, Some(longer));
        let twice = [bytes.as_slice(), bytes].concat();
        damage(&disk, &entries, file, Some(twice));
        assert!(damage(&disk, &entries, file, None), "{file} removed");
        for (other, donated) in &files {
            if other != file {
                let donated = Some(donated.clone());
                assert!(
                    damage(&disk, &entries, file, donated),
                    "{file} is now {other}"
                );
            }
        }
    }
}

/// The same journal of another query, another source, another name: nothing of it is taken.
#[test]
fn a_segment_of_another_journal() {
    let (disk, _) = sample();
    let (_, bytes) = journal_files(&disk).remove(0);
    for (source, name) in [(1, "files"), (0, "other")] {
        let file = super::layout::journal(source, name, 0);
        disk.tamper(&file, Some(bytes.clone()));
    }
    let store = store(&disk).expect("a good store");
    for (source, name) in [(1, "files"), (0, "other")] {
        let error = store
            .journal(source, name)
            .expect_err("another one's header");
        assert_eq!(error.code().0, "CKP-001", "{error}");
    }
    let report = verify(&disk).expect("readable");
    assert_eq!(report.journals.len(), 3);
    assert!(!report.is_whole());
}

/// What a plan names and a journal lost is an error, when it is cut and when it is read.
#[test]
fn what_is_not_kept_is_said() {
    let (disk, entries) = sample();
    let journal = open(&disk).expect("whole");
    journal.forget(9).expect("a good disk");
    let kept = journal.entries();
    assert!(0 < kept.start && kept.start <= 9, "{kept:?}");
    let end = count(&entries);
    for range in [0..1, kept.start - 1..end, end - 1..end + 1, end..end + 1] {
        let error = read(&journal, range).expect_err("not kept");
        assert_eq!(error.code().0, "CKP-008", "{error}");
    }
    for cut in [kept.start - 1, end + 1] {
        let error = journal.truncate(cut).expect_err("not kept");
        assert_eq!(error.code().0, "CKP-008", "{error}");
    }
    assert_eq!(read(&journal, 3..3).expect("nothing is asked for").len(), 0);
    journal
        .truncate(kept.start)
        .expect("all that is kept may go");
    assert_eq!(journal.entries(), kept.start..kept.start);
    assert_eq!(
        append(&journal, &[vec![1]]).expect("a good disk").start,
        kept.start
    );
    assert_eq!(
        append(&journal, &[]).expect("nothing").start,
        kept.start + 1
    );
    drop(journal);
    let journal = open(&disk).expect("whole");
    assert_eq!(journal.entries(), kept.start..kept.start + 1);
}

#[test]
fn names_and_second_openings_and_long_entries() {
    let disk = SimDisk::new();
    let store = store(&disk).expect("a good disk");
    let long = "x".repeat(33);
    for name in ["", "A", "a/b", "..", "a.b", &long] {
        let error = store.journal(0, name).expect_err("no name");
        assert_eq!(error.code().0, "EXE-003");
    }
    let journal = store.journal(0, &long[1..]).expect("a name");
    let error = store.journal(0, &long[1..]).expect_err("twice");
    assert_eq!(error.code().0, "EXE-003");
    store.journal(1, &long[1..]).expect("of another source");
    let most = super::segment::ENTRY_BYTES_MAX;
    append(&journal, &[vec![7; most]]).expect("just fits");
    let ops = disk.ops();
    let error = append(&journal, &[vec![1], vec![7; most + 1]]).expect_err("too long");
    assert_eq!(error.code().0, "EXE-003");
    assert_eq!((journal.entries(), disk.ops()), (0..1, ops));
    let found = read(&journal, 0..1).expect("whole");
    assert_eq!(found, [vec![7; most]]);
}

/// proves P11: for journals. A journal keeps the lock; without locks the fence stops it.
#[test]
fn the_later_of_two_processes_owns_the_journals() {
    let disk = SimDisk::new();
    let older = open(&disk).expect("its store is gone, its lock is not");
    append(&older, &[vec![1]]).expect("alone");
    assert_eq!(store(&disk).expect_err("locked").code().0, "CKP-003");
    disk.disable_locks();
    let newer = open(&disk).expect("no locks");
    append(&newer, &[vec![2]]).expect("it owns the checkpoint");
    let fenced = |error: EpochError| assert_eq!(error.code().0, "CKP-003", "{error}");
    fenced(append(&older, &[vec![3]]).expect_err("fenced"));
    fenced(append(&older, &[vec![3; 500], vec![3; 500]]).expect_err("fenced"));
    fenced(older.truncate(0).expect_err("fenced"));
    let found = read(&newer, 0..2).expect("the older one wrote nowhere");
    assert_eq!(found, [vec![1], vec![2]]);
    drop((older, newer));
    let journal = open(&disk.survivor(Survival::Everything)).expect("whole");
    assert_eq!(journal.entries(), 0..2);
}

/// Every entry is found from every place, also after a cut within a frame.
#[test]
fn every_entry_is_found_after_a_cut() {
    for cut in 0..14 {
        let (disk, mut entries) = sample();
        let journal = open(&disk).expect("whole");
        journal.truncate(cut).expect("a good disk");
        entries.truncate(index(cut));
        for number in cut..20 {
            let more = entry(100 + number, 30);
            append(&journal, std::slice::from_ref(&more)).expect("a good disk");
            entries.push(more);
            // Now, as only the newest segment remembers places.
            for (at, entry) in (0..).zip(&entries) {
                let found = read(&journal, at..at + 1).expect("whole");
                assert_eq!(found, std::slice::from_ref(entry), "{cut} {at}");
            }
        }
    }
}

/// A reader may stop, and may append while it reads.
#[test]
fn a_read_stops_when_it_is_told_to() {
    let (disk, _) = sample();
    let journal = open(&disk).expect("whole");
    let mut seen = Vec::new();
    journal
        .read(3..14, &mut |number, _| {
            seen.push(number);
            append(&journal, &[vec![9]]).expect("a good disk");
            if number == 8 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .expect("whole");
    assert_eq!(seen, [3, 4, 5, 6, 7, 8]);
    assert_eq!(journal.entries(), 0..20);
}

/// What one call costs: operations, bytes written, bytes read.
fn cost(disk: &SimDisk, call: impl FnOnce()) -> (u64, u64, u64) {
    let before = (disk.ops(), disk.bytes_written(), disk.bytes_read());
    call();
    (
        disk.ops() - before.0,
        disk.bytes_written() - before.1,
        disk.bytes_read() - before.2,
    )
}

/// Work and bytes of a call do not depend on how many entries there are.
#[test]
fn costs_are_flat() {
    let costs: Vec<_> = [10, 1_000, 100_000]
        .into_iter()
        .map(|known: u64| {
            let disk = SimDisk::new();
            let all: Vec<Vec<u8>> = (0..known).map(|n| entry(n, 100)).collect();
            let journal = store(&disk).expect("new").journal(0, "files");
            let journal = journal.expect("new");
            for group in all.chunks(10_000) {
                append(&journal, group).expect("a good disk");
            }
            let more: Vec<Vec<u8>> = (0..10).map(|n| entry(n, 100)).collect();
            let appended = cost(&disk, || drop(append(&journal, &more)));
            let read = cost(&disk, || {
                read(&journal, known..known + 10).expect("whole");
            });
            let middle = cost(&disk, || {
                let at = known / 2;
                super::tests::read(&journal, at..at + 5).expect("whole");
            });
            drop(journal);
            let opened = cost(&disk, || {
                store(&disk)
                    .and_then(|store| store.journal(0, "files"))
                    .expect("whole");
            });
            (appended, read, middle, opened)
        })
        .collect();
    for ((appended, read, middle, opened), known) in costs.iter().zip([10, 1_000, 100_000]) {
        assert_eq!(appended, &costs[0].0, "{known}: one append and one sync");
        assert_eq!(appended.0, 2);
        assert!(appended.1 < 1_200, "{known}: {appended:?}");
        assert!(
            read.2 <= 2 * super::SEGMENT_BYTES / super::MARKS,
            "{known}: {read:?}"
        );
        assert!(middle.2 <= 5 << 20, "{known}: {middle:?}");
        assert!(opened.1 <= 5 << 20 && opened.2 <= 5 << 20, "{opened:?}");
        assert!(opened.0 <= 20, "{opened:?}");
    }
}

fn any_op() -> impl Strategy<Value = Option<Op>> {
    let group = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..150), 0..9);
    prop_oneof![
        4 => group.prop_map(|group| Some(Op::Append(group))),
        1 => (0..30_u64).prop_map(|end| Some(Op::Truncate(end))),
        1 => (0..30_u64).prop_map(|start| Some(Op::Forget(start))),
        1 => Just(None),
    ]
}

proptest! {
    /// Any calls, with two crashes or a failure and a crash, anywhere.
    #[test]
    fn any_calls_survive_any_crash(
        ops in proptest::collection::vec(any_op(), 1..14),
        [first, second] in any::<[prop::sample::Index; 2]>(),
        survivals in any::<[u64; 2]>(),
        failure in prop::sample::select(vec![None, Some(Failure::Eio), Some(Failure::ShortWrite)]),
    ) {
        let ops: Vec<Op> = ops.into_iter().flatten().collect();
        let survival = |seed: u64| super::tests::survivals(seed)[index(seed % 4)];
        let whole = SimDisk::new();
        play_all(&whole, &mut Model::default(), &ops).expect("nothing disturbs it");
        let most = index(whole.ops()) + 1;
        let (disk, mut model) = (SimDisk::new(), Model::default());
        let at = u64::try_from(first.index(most)).expect("small");
        let next = if let Some(failure) = failure {
            disk.fail_at(at, failure);
            drop(play_all(&disk, &mut model, &ops));
            disk.restarted()
        } else {
            disk.crash_after(at);
            drop(play_all(&disk, &mut model, &ops));
            disk.survivor(survival(survivals[0]))
        };
        next.crash_after(u64::try_from(second.index(most)).expect("small"));
        drop(play_all(&next, &mut model, &ops));
        let last = next.survivor(survival(survivals[1]));
        play_all(&last, &mut model, &ops).expect("a restart needs no hand");
        prop_assert!(verify(&last).expect("readable").is_whole());
    }

    /// Any calls and restarts leave what a list would hold.
    #[test]
    fn a_journal_is_a_list(ops in proptest::collection::vec(any_op(), 0..30), at in any::<[u64; 2]>()) {
        let (disk, mut model) = (SimDisk::new(), Model::default());
        let mut journal = open(&disk).expect("new");
        for op in ops {
            let Some(op) = op else {
                drop(journal);
                journal = open(&disk).expect("whole");
                continue;
            };
            let kept = journal.entries();
            let is_fine = match &op {
                Op::Append(_) => true,
                Op::Truncate(end) => kept.start <= *end && *end <= kept.end,
                Op::Forget(start) => *start <= kept.end,
            };
            match apply(&journal, &op) {
                Ok(()) if is_fine => model.apply(op),
                Ok(()) => prop_assert!(matches!(op, Op::Forget(_))),
                Err(error) => prop_assert!(!is_fine, "{error}"),
            }
            let kept = journal.entries();
            prop_assert_eq!(kept.end, count(&model.entries));
            let mut ends = at.map(|at| kept.start + at % (kept.end - kept.start + 1));
            ends.sort_unstable();
            let found = read(&journal, ends[0]..ends[1]).expect("whole");
            prop_assert_eq!(&found, &model.entries[index(ends[0])..index(ends[1])]);
        }
        prop_assert!(verify(&disk).expect("readable").is_whole());
    }
}
