//! Joins against a model that compares every row with every other.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt64Array},
    datatypes::{
        DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
    },
};
use datafusion_expr::Operator;
use datafusion_physical_expr::{
    PhysicalExpr,
    expressions::{BinaryExpr, Column, Literal},
};
use millstream_types::{Epoch, Marks, Watermark};
use proptest::prelude::*;

use super::{
    ChangingJoin, Dedup, DedupSpec, Expiry, Join, JoinKind, JoinSpec, KeyLife, Residual,
    SideColumn, SideSpec,
};
use crate::{
    aggregate::Seed,
    board::EpochKind,
    delta::Delta,
    driver::{Emitter, EpochContext, EpochOperator, Progress},
    state::{Bucket, Ownership, Snapshots},
};

/// A row: key, time in seconds, and a number.
type Row = (Option<i64>, Option<i64>, i64);

/// What leaves: columns of both sides, of which those of one may be null.
type Out = Vec<Option<i64>>;

const KINDS: [JoinKind; 6] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::LeftSemi,
    JoinKind::LeftAnti,
];

const ALL: Ownership = Ownership {
    worker: 0,
    workers: 1,
};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("n", DataType::Int64, true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let keys: Int64Array = rows.iter().map(|row| row.0).collect();
    let times: TimestampMicrosecondArray = rows
        .iter()
        .map(|row| row.1.map(|s| s * 1_000_000))
        .collect();
    let numbers: Int64Array = rows.iter().map(|row| Some(row.2)).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(times), Arc::new(numbers)];
    RecordBatch::try_new(schema(), columns).expect("columns of the schema")
}

/// Right times are within `0 ..= 5` seconds after left ones.
fn in_range(left: Option<i64>, right: Option<i64>) -> bool {
    matches!((left, right), (Some(l), Some(r)) if r >= l && r <= l + 5)
}

fn side(expiry: Option<(i64, i64)>, retracting: bool) -> SideSpec {
    SideSpec {
        schema: schema(),
        keys: vec![0],
        alone: None,
        late: expiry.map(|_| 1),
        expiry: expiry.map(|(shift_ms, bucket)| Expiry {
            column: 1,
            shift_ms,
            bucket,
            is_compared: true,
        }),
        retracting,
    }
}

fn spec(kind: JoinKind, marked: bool, changes: bool, retracting: bool) -> JoinSpec {
    let five = Literal::new(datafusion_common::ScalarValue::DurationMicrosecond(Some(
        5_000_000,
    )));
    let time = |place: usize| Arc::new(Column::new("t", place)) as Arc<dyn PhysicalExpr>;
    let binary =
        |left, op, right| Arc::new(BinaryExpr::new(left, op, right)) as Arc<dyn PhysicalExpr>;
    let latest = binary(time(0), Operator::Plus, Arc::new(five));
    let predicate = binary(
        binary(time(1), Operator::GtEq, time(0)),
        Operator::And,
        binary(time(1), Operator::LtEq, latest),
    );
    let both: &[usize] = if kind.gives_pairs() { &[0, 1] } else { &[0] };
    let field = |side: usize, column: usize| {
        let name = format!("{}{column}", ["l", "r"][side]);
        schema().field(column).clone().with_name(name)
    };
    let columns: Vec<SideColumn> = both
        .iter()
        .flat_map(|side| {
            (0..3).map(|column| SideColumn {
                side: *side,
                column,
            })
        })
        .collect();
    let output: Vec<Field> = columns.iter().map(|c| field(c.side, c.column)).collect();
    let times = [0, 1].map(|side| SideColumn { side, column: 1 });
    JoinSpec {
        kind,
        sides: [
            side(marked.then_some((-5001, 3_000_000)), retracting),
            side(marked.then_some((-1, 3_000_000)), retracting),
        ],
        nulls_match: false,
        residual: Some(Residual {
            columns: times.to_vec(),
            schema: Arc::new(Schema::new(vec![field(0, 1), field(1, 1)])),
            predicate,
        }),
        columns,
        output: Arc::new(Schema::new(output)),
        changes,
        is_once: false,
    }
}

fn context(epoch: u64, evict: i64, late: i64) -> EpochContext {
    EpochContext {
        epoch: Epoch(epoch),
        marks: Marks {
            evict: Watermark::from_ms(evict * 1000),
            late: Watermark::from_ms(late * 1000),
            clock_ms: 0,
        },
        kind: EpochKind::Data,
    }
}

fn values(deltas: Vec<Delta>) -> BTreeMap<Out, i64> {
    let mut all = BTreeMap::new();
    for delta in deltas {
        let columns: Vec<Vec<Option<i64>>> = delta
            .batch()
            .columns()
            .iter()
            .map(|column| match column.as_primitive_opt::<Int64Type>() {
                Some(numbers) => numbers.iter().collect(),
                None => column
                    .as_primitive::<TimestampMicrosecondType>()
                    .iter()
                    .map(|time| time.map(|time| time / 1_000_000))
                    .collect(),
            })
            .collect();
        for row in 0..delta.rows() {
            let out: Out = columns.iter().map(|column| column[row]).collect();
            *all.entry(out).or_insert(0) += delta.diff().map_or(1, |diff| diff.value(row));
        }
    }
    all.retain(|_, count| *count != 0);
    all
}

fn close(operator: &mut dyn EpochOperator, context: &EpochContext) -> Vec<Delta> {
    let mut emitter = Emitter::default();
    let mut all = Vec::new();
    loop {
        let progress = operator.on_close(context, &mut emitter).expect("a close");
        all.append(&mut emitter.take());
        if progress == Progress::Done {
            return all;
        }
    }
}

/// A snapshot as the next start reads it: pieces that are kept, and those that are added.
#[derive(Default)]
struct Store {
    pieces: BTreeMap<(u32, Bucket), Vec<RecordBatch>>,
}

impl Store {
    fn tap(&mut self, operator: &mut dyn EpochOperator, epoch: u64) {
        let mut now = BTreeMap::new();
        for change in operator.tap(Epoch(epoch)).expect("a tap") {
            let at = (change.table, change.bucket);
            let mut pieces = match change.replaces {
                true => Vec::new(),
                false => self.pieces.get(&at).cloned().unwrap_or_default(),
            };
            pieces.extend(change.rows);
            now.insert(at, pieces);
        }
        self.pieces = now;
    }

    fn seed(&self, epoch: u64) -> Seed {
        Seed {
            epoch: Epoch(epoch),
            pieces: self.pieces.clone(),
        }
    }
}

fn matches(left: &Row, right: &Row) -> bool {
    left.0.is_some() && left.0 == right.0 && in_range(left.1, right.1)
}

fn pair(left: &Row, right: Option<&Row>) -> Out {
    let mut out = vec![left.0, left.1, Some(left.2)];
    out.extend(right.map_or([None; 3], |right| [right.0, right.1, Some(right.2)]));
    out
}

/// The join of all rows, by comparing each with each.
fn joined(kind: JoinKind, left: &[Row], right: &[Row]) -> BTreeMap<Out, i64> {
    let mut all = BTreeMap::new();
    let mut add = |out: Out| *all.entry(out).or_insert(0) += 1;
    for l in left {
        let of: Vec<&Row> = right.iter().filter(|r| matches(l, r)).collect();
        match kind {
            JoinKind::LeftSemi if !of.is_empty() => add(vec![l.0, l.1, Some(l.2)]),
            JoinKind::LeftAnti if of.is_empty() => add(vec![l.0, l.1, Some(l.2)]),
            JoinKind::LeftSemi | JoinKind::LeftAnti => {}
            JoinKind::Left | JoinKind::Full if of.is_empty() => add(pair(l, None)),
            JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {
                of.iter().for_each(|r| add(pair(l, Some(r))))
            }
        }
    }
    if kind.keeps_unmatched(1) {
        for r in right {
            if !left.iter().any(|l| matches(l, r)) {
                add(vec![None, None, None, r.0, r.1, Some(r.2)]);
            }
        }
    }
    all
}

fn row() -> impl Strategy<Value = Row> {
    let key = prop_oneof![8 => (0_i64..4).prop_map(Some), 1 => Just(None)];
    let time = prop_oneof![12 => (1_i64..30).prop_map(Some), 1 => Just(None)];
    (key, time, 0_i64..3)
}

/// Rows of both sides and the watermark's step.
fn epochs() -> impl Strategy<Value = Vec<(Vec<Row>, Vec<Row>, i64, bool)>> {
    let rows = || proptest::collection::vec(row(), 0..12);
    proptest::collection::vec((rows(), rows(), 0_i64..8, any::<bool>()), 1..8)
}

fn add(all: &mut BTreeMap<Out, i64>, more: BTreeMap<Out, i64>) {
    for (out, count) in more {
        *all.entry(out).or_insert(0) += count;
    }
    all.retain(|_, count| *count != 0);
}

proptest! {
    /// With a watermark: all pairs leave, rows without a partner leave once they cannot get one, and
    /// nothing of it depends on when the query was started again.
    #[test]
    fn rows_that_only_come(epochs in epochs(), which in 0..KINDS.len()) {
        let kind = KINDS[which];
        let mut store = Store::default();
        let new = |seed: Option<&Seed>| {
            Join::new(spec(kind, true, false, false), seed, ALL, Snapshots::Taken).expect("a join")
        };
        let mut join = new(None);
        let (mut left, mut right): (Vec<Row>, Vec<Row>) = (Vec::new(), Vec::new());
        let mut given = BTreeMap::new();
        let (mut evict, mut late) = (0, 0);
        for (number, (l, r, step, restarts)) in (0u64..).zip(epochs) {
            let context = context(number, evict, late);
            let mut emitter = Emitter::default();
            for (port, rows, all) in [(0, &l, &mut left), (1, &r, &mut right)] {
                let taken = rows.iter().filter(|row| row.1.is_none_or(|time| time > late));
                all.extend(taken);
                for some in rows.chunks(5) {
                    let delta = Delta::insertions(batch(some));
                    join.on_delta(&context, port, delta, &mut emitter).expect("rows");
                }
            }
            let mut deltas = emitter.take();
            deltas.extend(close(&mut join, &context));
            add(&mut given, values(deltas));
            // What is closed is final: unmatched rows are among it only then.
            let is_gone = |out: &Out| {
                if kind == JoinKind::LeftSemi || kind == JoinKind::Inner {
                    return true;
                }
                let (l, r) = (out.get(1).copied().flatten(), out.get(4).copied().flatten());
                match (out[2].is_some(), out.get(5).copied().flatten().is_some()) {
                    (true, true) => true,
                    // A row without a key waits for its time, one without a time for nothing.
                    (true, false) => l.is_none_or(|time| time * 1000 <= evict * 1000 - 5001),
                    (false, _) => r.is_none_or(|time| time * 1000 < evict * 1000),
                }
            };
            let mut expected = joined(kind, &left, &right);
            expected.retain(|out, _| is_gone(out));
            prop_assert_eq!(&given, &expected, "epoch {}", number);
            store.tap(&mut join, number);
            if restarts {
                join = new(Some(&store.seed(number)));
            }
            late = evict;
            evict += step;
        }
        let _last = close(&mut join, &context(99, 1000, evict));
        let timeless = left.iter().chain(&right).filter(|row| row.1.is_none()).count();
        let held = join.report().expect("a report").rows_total;
        prop_assert!(held <= timeless as u64, "{held} rows are left for ever");
    }

    /// Where rows are taken back, what has left is at all times the join of what is there.
    #[test]
    fn rows_that_are_taken_back(epochs in epochs(), which in 0..KINDS.len(), seed in any::<u64>()) {
        let kind = KINDS[which];
        let mut store = Store::default();
        let new = |seed: Option<&Seed>| {
            let spec = spec(kind, false, true, true);
            ChangingJoin::new(spec, seed, ALL, Snapshots::Taken).expect("a join")
        };
        let mut join = new(None);
        let mut held: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
        let mut given = BTreeMap::new();
        let mut dice = seed;
        for (number, (l, r, _, restarts)) in (0u64..).zip(epochs) {
            let context = context(number, 0, 0);
            let mut emitter = Emitter::default();
            for (port, rows) in [(0, &l), (1, &r)] {
                let mut back = Vec::new();
                for _ in 0..rows.len() / 2 {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let count = held[port].len();
                    if count > 0 {
                        back.push(held[port].swap_remove(usize::try_from(dice >> 33).unwrap_or(0) % count));
                    }
                }
                held[port].extend(rows);
                let all: Vec<Row> = back.iter().chain(rows).copied().collect();
                let signs = (0..all.len()).map(|at| if at < back.len() { -1 } else { 1 });
                let signs = Int64Array::from_iter_values(signs);
                let delta = Delta::signed(batch(&all), Some(signs));
                join.on_delta(&context, port, delta, &mut emitter).expect("rows");
            }
            let deltas = close(&mut join, &context);
            for delta in &deltas {
                prop_assert!(delta.diff().is_none_or(|diff| diff.values().iter().all(|sign| sign.abs() == 1)));
            }
            add(&mut given, values(deltas));
            prop_assert_eq!(&given, &joined(kind, &held[0], &held[1]), "epoch {}", number);
            store.tap(&mut join, number);
            if restarts {
                join = new(Some(&store.seed(number)));
            }
        }
    }

    /// The rows of a snapshot are shared out among other workers: each is somewhere, once.
    #[test]
    fn other_workers(rows in proptest::collection::vec(row(), 0..40), workers in 1_usize..4) {
        let mut join = Join::new(spec(JoinKind::Full, true, false, false), None, ALL, Snapshots::Taken)
            .expect("a join");
        let context = context(0, 0, 0);
        let mut emitter = Emitter::default();
        join.on_delta(&context, 0, Delta::insertions(batch(&rows)), &mut emitter).expect("rows");
        close(&mut join, &context);
        let held = join.report().expect("a report").rows_total;
        let mut store = Store::default();
        store.tap(&mut join, 0);
        let seed = store.seed(0);
        let mut sum = 0;
        for worker in 0..workers {
            let mine = Ownership { worker, workers };
            let mut part = Join::new(spec(JoinKind::Full, true, false, false), Some(&seed), mine, Snapshots::Taken)
                .expect("a join");
            sum += part.report().expect("a report").rows_total;
        }
        prop_assert_eq!(sum, held);
    }
}

fn dedup_spec(life: KeyLife) -> DedupSpec {
    DedupSpec {
        schema: schema(),
        given: 3,
        keys: match life {
            KeyLife::Time { .. } => vec![0, 1],
            KeyLife::Forever | KeyLife::Within { .. } => vec![0],
        },
        life,
        bucket: 3_000_000,
    }
}

proptest! {
    /// The first row of each key by its place in the input, whatever the order of batches, as long as the
    /// key is kept.
    #[test]
    fn first_rows(epochs in epochs(), which in 0_usize..3) {
        let life = [
            KeyLife::Forever,
            KeyLife::Time { column: 1 },
            KeyLife::Within { column: 1, delay: 4_000_000 },
        ][which];
        let mut store = Store::default();
        let new = |seed: Option<&Seed>| {
            Dedup::new(dedup_spec(life), seed, ALL, Snapshots::Taken).expect("an operator")
        };
        let mut dedup = new(None);
        let mut ends: BTreeMap<(Option<i64>, Option<i64>), i64> = BTreeMap::new();
        let (mut evict, mut late) = (0, 0);
        for (number, (mut rows, more, step, restarts)) in (0u64..).zip(epochs) {
            rows.extend(more);
            let context = context(number, evict, late);
            let is_timed = life != KeyLife::Forever;
            let mut expected = BTreeMap::new();
            for row in &rows {
                if is_timed && row.1.is_some_and(|time| time <= late) {
                    continue;
                }
                let (key, end) = match life {
                    KeyLife::Forever => ((row.0, None), i64::MAX),
                    KeyLife::Time { .. } => ((row.0, row.1), row.1.unwrap_or(0)),
                    KeyLife::Within { .. } => ((row.0, None), row.1.unwrap_or(0) + 4),
                };
                if let Entry::Vacant(place) = ends.entry(key) {
                    place.insert(end);
                    *expected.entry(vec![row.0, row.1, Some(row.2)]).or_insert(0) += 1;
                }
            }
            let mut emitter = Emitter::default();
            let parts: Vec<(usize, &[Row])> = rows.chunks(5).enumerate().collect();
            for (part, some) in parts.into_iter().rev() {
                let first = part as u64 * 5;
                let places = UInt64Array::from_iter_values(first..first + some.len() as u64);
                let delta = Delta::insertions(batch(some)).with_origin(Some(places));
                dedup.on_delta(&context, 0, delta, &mut emitter).expect("rows");
            }
            prop_assert_eq!(values(close(&mut dedup, &context)), expected, "epoch {}", number);
            ends.retain(|_, end| *end > evict);
            prop_assert_eq!(dedup.report().expect("a report").rows_total, ends.len() as u64);
            store.tap(&mut dedup, number);
            if restarts {
                dedup = new(Some(&store.seed(number)));
            }
            late = evict;
            evict += step;
        }
    }
}
