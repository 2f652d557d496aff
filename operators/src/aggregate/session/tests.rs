//! Sessions do not depend on when waiting rows are gathered.

use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::TimeUnit;
use proptest::prelude::*;

use super::*;

const GAP: i64 = 10;

/// Sessions without functions: what is compared are their bounds and rows.
fn spec() -> AggregateSpec {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let bounds = vec![
        Field::new("start", time.clone(), true),
        Field::new("end", time.clone(), true),
    ];
    AggregateSpec {
        input: Arc::new(Schema::new(vec![
            Field::new("key", DataType::Int64, true),
            Field::new("at", time, true),
            Field::new("gap", DataType::Int64, true),
        ])),
        time: TimeKey::Session { column: 1, gap: 2 },
        marked: false,
        retracting: false,
        time_position: 0,
        keys: vec![0],
        calls: Vec::new(),
        mode: OutputMode::Append,
        output: Arc::new(Schema::new(vec![
            Field::new("session", DataType::Struct(bounds.into()), true),
            Field::new("key", DataType::Int64, true),
        ])),
    }
}

fn delta(spec: &AggregateSpec, rows: &[(i64, i64)]) -> Delta {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|(key, _)| *key),
        )),
        Arc::new(TimestampMicrosecondArray::from_iter_values(
            rows.iter().map(|(_, at)| *at),
        )),
        Arc::new(Int64Array::from_value(GAP, rows.len())),
    ];
    let batch = RecordBatch::try_new(spec.input.clone(), columns).expect("columns fit");
    Delta::insertions(batch)
}

/// Key, start, end and rows of all sessions after some epochs, gathered after so many rows.
fn sessions(epochs: &[Vec<(i64, i64)>], gather_after: usize) -> Vec<(i64, i64, i64, i64)> {
    let spec = spec();
    let alone = Ownership {
        worker: 0,
        workers: 1,
    };
    let mut operator =
        SessionAggregate::new(spec.clone(), None, alone, Snapshots::Taken).expect("is a spec");
    for (epoch, rows) in (0..).map(Epoch).zip(epochs) {
        for some in rows.chunks(gather_after) {
            operator.pending.push(delta(&spec, some));
            operator.gather(epoch).expect("gathers");
        }
        operator.absorb(epoch).expect("absorbs");
    }
    let all = operator.all();
    let ids: Vec<u32> = all.iter().map(|(key, _)| *key).collect();
    let keys = operator.keys.columns(Some(&ids)).expect("are keys");
    let keys = keys[0].as_primitive::<Int64Type>();
    let rows = |session: &Session| operator.groups.rows_of(session.group);
    let mut found: Vec<_> = all
        .iter()
        .enumerate()
        .map(|(row, (_, session))| (keys.value(row), session.start, session.end, rows(session)))
        .collect();
    found.sort_unstable();
    found
}

/// The same by the definition: rows in order of time, a new session where the gap has passed.
fn expected(epochs: &[Vec<(i64, i64)>]) -> Vec<(i64, i64, i64, i64)> {
    let mut rows: Vec<(i64, i64)> = epochs.iter().flatten().copied().collect();
    rows.sort_unstable();
    let mut found: Vec<(i64, i64, i64, i64)> = Vec::new();
    for (key, at) in rows {
        match found.last_mut() {
            Some((of, _, end, rows)) if *of == key && at <= *end => {
                *end = at + GAP;
                *rows += 1;
            }
            _ => found.push((key, at, at + GAP, 1)),
        }
    }
    found
}

proptest! {
    #[test]
    fn sessions_are_those_of_the_definition(
        epochs in prop::collection::vec(prop::collection::vec((0..3i64, 0..200i64), 0..40), 1..4),
        gather_after in 1..50usize,
    ) {
        prop_assert_eq!(sessions(&epochs, gather_after), expected(&epochs));
    }
}
