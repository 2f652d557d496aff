//! Each operation of a sink's life fails in its turn: afterwards every row is there once.

use std::{cell::Cell, io, path::Path};

use millstream_connectors_api::{ConnectorError, Sink};
use millstream_types::{Coded, Epoch};

use super::tests::{context, names, read_back, rows, unopened};
use crate::{
    file::tests::dir,
    files::fault::{self, Effect, Faults},
};

/// Beyond two compact entries and the removal of what they make superfluous.
const EPOCHS: u64 = 21;
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
    let first = i64::try_from(epoch).expect("small") * 10;
    // Some epochs have no rows, some more than one write takes.
    (first..first + (first / 10) % 4).collect()
}

/// A query from its start to its end or an error; two epochs are open at a time.
fn live(dir: &Path, committed: &Cell<Option<u64>>) -> Result<(), ConnectorError> {
    let mut sink = unopened(dir, &[("format", "json")]);
    patient(|| sink.open(&context("q")))?;
    let last = patient(|| sink.last_committed())?;
    assert!(last >= committed.get().map(Epoch), "forgot an epoch");
    let first = last.map_or(0, |Epoch(last)| last + 1);
    let stage = |sink: &mut dyn Sink, epoch: u64| {
        for value in values(epoch) {
            let write = rows(sink, epoch, &[value]);
            patient(|| sink.write(&write))?;
        }
        patient(|| sink.stage(Epoch(epoch)))
    };
    for epoch in first..EPOCHS {
        if epoch == first {
            stage(sink.as_mut(), epoch)?;
        }
        if epoch + 1 < EPOCHS {
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

/// The rows of epochs up to one, as they are read back.
fn expected(epochs: u64) -> Vec<i64> {
    (0..epochs).flat_map(values).collect()
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
    let known = committed.get().map_or(0, |epoch| epoch + 1);
    if place.join("_spark_metadata").is_dir() {
        // The epoch that failed may be visible or not, but only as a whole.
        let now = visible(&place);
        let whole = [known, known + 1].map(expected);
        assert!(whole.contains(&now), "{case}: {now:?} after {known} epochs");
    }
    let (again, _) = fault::with(no_faults(), || live(&place, &committed));
    again.unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(visible(&place), expected(EPOCHS), "{case}");
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
    assert!(count > 300, "{count} operations");
    for number in 0..count {
        let (result, _) = check(faults(number));
        if let Err(error) = result {
            ended(&error);
        }
    }
}

// INV-04
#[test]
fn an_operation_that_fails_ends_the_sink_and_loses_nothing() {
    for effect in [Effect::Nothing, Effect::Done] {
        let mut ends = 0;
        check_all(
            |number| Faults {
                at: number..number + 1,
                kind: io::ErrorKind::Other,
                effect,
            },
            |error| {
                assert_eq!(error.code().0, "CON-006", "{error}");
                ends += 1;
            },
        );
        assert!(ends > 200, "{ends}");
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
