//! Sessions against their definition, to the microsecond: rows at, one before and one after the marks.

use std::collections::BTreeMap;

use arrow::{
    array::{AsArray, Int64Array, StructArray},
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use millstream_operators::{
    aggregate::{ChangingSessions, SessionAggregate, TimeKey},
    board::EpochKind,
    delta::Delta,
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    late::LateRows,
    state::Snapshots,
};
use millstream_types::{Epoch, Marks, OutputMode, Watermark};
use proptest::prelude::*;

use crate::harness::{ALONE, Call, Row, Shape, deltas, spec};

const MS: i64 = 1000;
const GAP: i64 = 10 * MS;

/// A session: key, start, end, rows, sum.
type Session = (i64, i64, i64, i64, i64);

/// Rows with their signs, and the mark at which the epoch closes.
type Input = (Vec<(Row, i64)>, i64);

/// Times beside full milliseconds, where marks are; each epoch takes some rows of earlier ones back.
fn inputs(takes_back: bool) -> impl Strategy<Value = Vec<Input>> {
    let row = (0..60i64, -1..2i64, 0..2i64, 0..9i64);
    let row = row.prop_map(|(ms, by, key, value)| (ms * MS + by, key, value));
    let back = prop::collection::vec(any::<usize>(), 0..if takes_back { 8 } else { 1 });
    let epoch = (prop::collection::vec(row, 0..14), back, 0..25i64);
    prop::collection::vec(epoch, 1..7).prop_map(move |epochs| {
        let (mut there, mut mark) = (Vec::<Row>::new(), 0);
        let mut inputs = Vec::new();
        for (rows, back, by) in epochs {
            mark += by;
            let mut signed: Vec<(Row, i64)> = rows.iter().map(|row| (*row, 1)).collect();
            there.extend(rows);
            for which in back {
                if takes_back && !there.is_empty() {
                    signed.push((there.swap_remove(which % there.len()), -1));
                }
            }
            inputs.push((signed, mark));
        }
        inputs
    })
}

fn read(delta: &Delta, sign: i64, into: &mut BTreeMap<Session, i64>) {
    let batch = delta.batch();
    let window: &StructArray = batch.column(0).as_struct();
    let bound = |at: usize| window.column(at).as_primitive::<TimestampMicrosecondType>();
    let number = |column: usize| batch.column(column).as_primitive::<Int64Type>();
    for row in 0..batch.num_rows() {
        let session = (
            number(1).value(row),
            bound(0).value(row),
            bound(1).value(row),
            number(2).value(row),
            number(3).value(row),
        );
        let own = delta.diff().map_or(1, |diff| diff.value(row));
        *into.entry(session).or_insert(0) += sign * own;
    }
}

/// Sessions of rows by their definition.
fn by_definition(rows: &BTreeMap<Row, i64>) -> BTreeMap<Session, i64> {
    let mut by_key: Vec<(i64, i64, i64, i64)> = rows
        .iter()
        .map(|((at, key, value), count)| (*key, *at, *value, *count))
        .collect();
    by_key.sort_unstable();
    let mut sessions: Vec<Session> = Vec::new();
    for (key, at, value, count) in by_key {
        match sessions.last_mut() {
            Some(last) if last.0 == key && at <= last.2 => {
                last.2 = at + GAP;
                last.3 += count;
                last.4 += value * count;
            }
            _ => sessions.push((key, at, at + GAP, count, value * count)),
        }
    }
    sessions.into_iter().map(|session| (session, 1)).collect()
}

struct Run {
    changes: BTreeMap<Session, i64>,
    report: OperatorReport,
    late_rows: usize,
}

fn epoch(
    operator: &mut dyn EpochOperator,
    keeper: &mut LateRows,
    number: u64,
    (rows, mark_ms): &Input,
    late_ms: i64,
) -> Run {
    let context = EpochContext {
        epoch: Epoch(number),
        marks: Marks {
            evict: Watermark::from_ms(*mark_ms),
            late: Watermark::from_ms(late_ms),
            clock_ms: 0,
        },
        kind: EpochKind::Data,
    };
    let (mut out, mut late) = (Emitter::default(), Emitter::default());
    let plain: Vec<Row> = rows.iter().map(|(row, _)| *row).collect();
    let signs = Int64Array::from_iter_values(rows.iter().map(|(_, sign)| *sign));
    for delta in deltas(false, &plain, GAP) {
        let delta = Delta::signed(delta.batch().clone(), Some(signs.clone()));
        keeper
            .on_delta(&context, 0, delta.clone(), &mut late)
            .expect("takes rows");
        operator
            .on_delta(&context, 0, delta, &mut out)
            .expect("takes rows");
    }
    while operator.on_close(&context, &mut out).expect("closes") == Progress::More {}
    let mut changes = BTreeMap::new();
    out.take()
        .iter()
        .for_each(|delta| read(delta, 1, &mut changes));
    changes.retain(|_, count| *count != 0);
    Run {
        changes,
        report: operator.report().expect("reports"),
        late_rows: late.take().iter().map(Delta::rows).sum(),
    }
}

fn check(mode: OutputMode, inputs: &[Input]) -> Result<(), TestCaseError> {
    let time = TimeKey::Session { column: 0, gap: 4 };
    let shape = Shape {
        time,
        calls: vec![Call::Count, Call::Sum],
        text_keys: false,
        mode,
    };
    let mut spec = spec(&shape);
    spec.retracting = mode == OutputMode::Changes;
    let never = Snapshots::Never;
    let mut operator: Box<dyn EpochOperator> = if mode == OutputMode::Changes {
        Box::new(ChangingSessions::new(spec, None, ALONE, never).expect("is about sessions"))
    } else {
        Box::new(SessionAggregate::new(spec, None, ALONE, never).expect("is about sessions"))
    };
    let mut keeper = LateRows::new(time);
    let mut rows: BTreeMap<Row, i64> = BTreeMap::new();
    let mut late_ms = 0;
    for (number, input) in (0..).zip(inputs) {
        let before = by_definition(&rows);
        let (mut late, mut late_rows) = (0, 0);
        for (row, sign) in &input.0 {
            // A session that is over when its mark was reached takes no more rows.
            if row.0 + GAP <= late_ms * MS {
                late += 1;
                late_rows += usize::from(*sign > 0);
            } else {
                *rows.entry(*row).or_insert(0) += sign;
            }
        }
        rows.retain(|_, count| *count != 0);
        let after = by_definition(&rows);
        let is_over = |session: &Session| session.2 <= input.1 * MS;
        let mut expected = BTreeMap::new();
        if mode == OutputMode::Changes {
            before
                .keys()
                .for_each(|session| *expected.entry(*session).or_insert(0) -= 1);
            after
                .keys()
                .for_each(|session| *expected.entry(*session).or_insert(0) += 1);
            expected.retain(|_, count| *count != 0);
        } else {
            let over = after.keys().filter(|session| is_over(session));
            expected.extend(over.map(|session| (*session, 1)));
        }
        for (key, start, end, ..) in after.keys().filter(|session| is_over(session)) {
            rows.retain(|(at, of, _), _| !(of == key && start <= at && at < end));
        }
        let run = epoch(operator.as_mut(), &mut keeper, number, input, late_ms);
        prop_assert_eq!(run.changes, expected, "epoch {}", number);
        prop_assert_eq!(run.report.rows_late, late, "late rows of epoch {}", number);
        prop_assert_eq!(
            run.late_rows,
            late_rows,
            "kept late rows of epoch {}",
            number
        );
        let open = after.keys().filter(|session| !is_over(session)).count() as u64;
        prop_assert_eq!(
            run.report.rows_total,
            open,
            "sessions after epoch {}",
            number
        );
        late_ms = input.1;
    }
    Ok(())
}

proptest! {
    #[test]
    fn sessions_over_rows_that_change_hold_their_rows_to_the_microsecond(inputs in inputs(true)) {
        let _not_alone = crate::QUIET.read().expect("no test that counts bytes failed");
        check(OutputMode::Changes, &inputs)?;
    }

    #[test]
    fn sessions_close_and_refuse_rows_to_the_microsecond(inputs in inputs(false)) {
        let _not_alone = crate::QUIET.read().expect("no test that counts bytes failed");
        check(OutputMode::Append, &inputs)?;
    }
}
