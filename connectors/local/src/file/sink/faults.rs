//! Each operation of a sink's life fails in its turn: afterwards every row is there once.

use std::{cell::Cell, io, path::Path};

use expect_test::expect;
use millstream_connectors_api::{ConnectorError, Sink};
use millstream_types::{Coded, Epoch};

use super::tests::{context, names, put_epoch, read_back, rows, unopened};
use crate::{
    file::tests::dir,
    files::fault::{self, Effect, Faults},
};

/// A log that begins late has many compact entries at first: plain ones, compact ones and the removal
/// of both come in few epochs.
const FIRST: u64 = 57;
const END: u64 = FIRST + 8;
/// A disk that stays full for longer than any case here.
const REPEATS_MAX: u32 = 50;

/// The engine's part: calls again while the disk is full.
fn patient<T>(mut call: impl FnMut() -> Result<T, ConnectorError>) -> Result<T, ConnectorError> {
    let mut repeats = 0;
    loop {
        match call() {
            Err(error) if error.is_disk_full() && repeats < REPEATS_MAX => repeats += 1,
            result => return result,
        }
    }
}

fn values(epoch: u64) -> Vec<i64> {
    let epoch = i64::try_from(epoch).expect("small");
    // Some epochs have no rows, some more than one write takes.
    (0..epoch % 4).map(|idx| epoch * 10 + idx).collect()
}

/// A query from its start to its end or an error; two epochs are open at a time.
fn live(dir: &Path, committed: &Cell<Option<u64>>) -> Result<(), ConnectorError> {
    let mut sink = unopened(dir, &[("format", "json")]);
    patient(|| sink.open(&context("q")))?;
    let last = patient(|| sink.last_committed())?;
    assert!(last >= committed.get().map(Epoch), "forgot an epoch");
    let first = last.map_or(FIRST, |Epoch(last)| last + 1);
    patient(|| sink.begin(Epoch(first)))?;
    let stage = |sink: &mut dyn Sink, epoch: u64| {
        for value in values(epoch) {
            let write = rows(sink, epoch, &[value]);
            patient(|| sink.write(&write))?;
        }
        patient(|| sink.stage(Epoch(epoch)))
    };
    for epoch in first..END {
        if epoch == first {
            stage(sink.as_mut(), epoch)?;
        }
        if epoch + 1 < END {
            stage(sink.as_mut(), epoch + 1)?;
        }
        let receipt = patient(|| sink.commit(Epoch(epoch)))?;
        assert_eq!(receipt.rows, values(epoch).len() as u64);
        committed.set(Some(epoch));
    }
    Ok(())
}

fn no_faults() -> Faults {
    Faults {
        at: 0..0,
        kind: io::ErrorKind::Other,
        effect: Effect::Nothing,
    }
}

/// The rows of the epochs before one.
fn expected(end: u64) -> Vec<i64> {
    (FIRST..end).flat_map(values).collect()
}

fn visible(dir: &Path) -> Vec<i64> {
    let text = read_back(dir);
    let mut values: Vec<i64> = text
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
            row["a"].as_i64().expect("a number")
        })
        .collect();
    values.sort_unstable();
    values
}

/// How a life ended in which some operations failed; after the next life everything is there.
fn check(faults: Faults) -> (Result<(), ConnectorError>, u64) {
    let dir = dir();
    // Directories that are missing belong to the sink's life, too.
    let place = dir.path().join("new/out");
    let case = format!("{faults:?}");
    let committed = Cell::new(None);
    let (result, count) = fault::with(faults, || live(&place, &committed));
    let known = committed.get().map_or(FIRST, |epoch| epoch + 1);
    if place.join("_spark_metadata").is_dir() {
        // The epoch that failed may be visible or not, but only as a whole.
        let now = visible(&place);
        let whole = [known, known + 1].map(expected);
        assert!(
            whole.contains(&now),
            "{case}: {now:?} after the epochs before {known}"
        );
    }
    let (again, _) = fault::with(no_faults(), || live(&place, &committed));
    again.unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(visible(&place), expected(END), "{case}");
    let left = names(&place);
    assert!(
        left.iter().all(|name| !name.starts_with('.')),
        "{case}: {left:?}"
    );
    (result, count)
}

/// Tries faults at every operation.
fn check_all(mut faults: impl FnMut(u64) -> Faults, mut ended: impl FnMut(&ConnectorError)) {
    let (result, count) = check(no_faults());
    result.expect("no fault");
    assert!(count > 130, "{count} operations");
    for number in 0..count {
        let (result, _) = check(faults(number));
        if let Err(error) = result {
            ended(&error);
        }
    }
}

/// What a sink does to the disk in its first epoch: nothing is named before it is durable, and nothing
/// is spoken of before its name is.
#[test]
fn names_are_durable_before_they_are_spoken_of() {
    let dir = dir();
    let root = dir.path().join("new/out");
    let operations = fault::trace(|| {
        let mut sink = unopened(&root, &[("format", "json")]);
        sink.open(&context("q")).expect("opens");
        sink.last_committed().expect("asks");
        sink.begin(Epoch(0)).expect("begins");
        put_epoch(sink.as_mut(), 0, &[1]);
    });
    let inside = dir.path().display().to_string();
    let shown: Vec<String> = operations
        .iter()
        .filter(|operation| operation.contains(&inside))
        .map(|operation| operation.replace(&inside, "DIR") + "\n")
        .collect();
    expect![[r#"
        mkdir DIR/new
        sync DIR
        mkdir DIR/new/out
        sync DIR/new
        mkdir DIR/new/out/_spark_metadata
        sync DIR/new/out
        lock DIR/new/out/_spark_metadata/_owner
        sync DIR/new/out/_spark_metadata
        remove DIR/new/out/.part-00000-e0000000000.c000.json
        create DIR/new/out/.part-00000-e0000000000.c000.json
        write DIR/new/out/.part-00000-e0000000000.c000.json
        sync DIR/new/out/.part-00000-e0000000000.c000.json
        empty DIR/new/out/_spark_metadata/_owner
        write DIR/new/out/_spark_metadata/_owner
        sync DIR/new/out/_spark_metadata/_owner
        sync DIR/new/out/_spark_metadata
        rename DIR/new/out/part-00000-e0000000000.c000.json
        sync DIR/new/out
        remove DIR/new/out/_spark_metadata/.0.tmp
        create DIR/new/out/_spark_metadata/.0.tmp
        write DIR/new/out/_spark_metadata/.0.tmp
        write DIR/new/out/_spark_metadata/.0.tmp
        sync DIR/new/out/_spark_metadata/.0.tmp
        link DIR/new/out/_spark_metadata/0
        sync DIR/new/out/_spark_metadata
        remove DIR/new/out/_spark_metadata/.0.tmp
    "#]]
    .assert_eq(&shown.concat());
}

// INV-04
#[test]
fn an_operation_that_fails_ends_the_sink_and_loses_nothing() {
    for (kind, effect) in [
        (io::ErrorKind::Other, Effect::Nothing),
        (io::ErrorKind::Other, Effect::Done),
        // Also what a disk without second names says of one.
        (io::ErrorKind::PermissionDenied, Effect::Nothing),
    ] {
        let mut ends = 0;
        check_all(
            |number| Faults {
                at: number..number + 1,
                kind,
                effect,
            },
            |error| {
                assert_eq!(error.code().0, "CON-006", "{error}");
                ends += 1;
            },
        );
        assert!(ends > 60, "{ends}");
    }
}

#[test]
fn a_full_disk_is_waited_for() {
    for (effect, len) in [
        (Effect::Nothing, 1),
        (Effect::Nothing, 4),
        (Effect::Done, 1),
    ] {
        let mut ends = 0;
        check_all(
            |number| Faults {
                at: number..number + len,
                kind: io::ErrorKind::StorageFull,
                effect,
            },
            |error| {
                // What a sync could not write is lost, so the sink must not go on. A rename that was
                // made and denied cannot be repeated.
                let text = error.to_string();
                let renamed = effect == Effect::Done && text.starts_with("cannot rename");
                assert!(text.starts_with("cannot sync") || renamed, "{text}");
                ends += 1;
            },
        );
        assert!(ends > 0, "no sync failed");
    }
}
