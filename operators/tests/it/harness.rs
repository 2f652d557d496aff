//! Operators as a worker sees them, without one: rows in, closes, taps, reports.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use datafusion_expr::AggregateUDF;
use datafusion_functions_aggregate::{
    array_agg::array_agg_udaf, count::count_udaf, min_max::max_udaf, sum::sum_udaf,
};
use datafusion_physical_expr::{aggregate::AggregateExprBuilder, expressions::Column};
use millstream_operators::{
    aggregate::{
        AggregateCall, AggregateSpec, CountedAggregate, PartialAggregate, SessionAggregate,
        SlidingAggregate, TimeKey, TotalAggregate,
    },
    board::EpochKind,
    delta::{BATCH_ROWS_MAX, Delta},
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::Result,
    state::{Bucket, BucketChange, Ownership, Seed, Snapshots, StoredPiece},
};
use millstream_types::{Epoch, Marks, OutputMode, Watermark};

/// The whole key space.
pub(crate) const ALONE: Ownership = Ownership {
    worker: 0,
    workers: 1,
};

/// A function of the aggregation under test.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Count,
    Sum,
    MaxText,
    CountDistinct,
    List,
}

/// What an aggregation under test is like.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) time: TimeKey,
    pub(crate) calls: Vec<Call>,
    pub(crate) text_keys: bool,
    pub(crate) mode: OutputMode,
}

/// A row: event time in microseconds, key, value.
pub(crate) type Row = (i64, i64, i64);

/// Columns of the input: time, key, value, value as text, gap.
fn input(text_keys: bool) -> Arc<Schema> {
    let key = if text_keys {
        DataType::Utf8
    } else {
        DataType::Int64
    };
    Arc::new(Schema::new(vec![
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("key", key, true),
        Field::new("value", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("gap", DataType::Int64, true),
    ]))
}

fn call(call: Call, input: &Schema) -> AggregateCall {
    let (function, column, distinct): (Arc<AggregateUDF>, usize, bool) = match call {
        Call::Count => (count_udaf(), 2, false),
        Call::Sum => (sum_udaf(), 2, false),
        Call::MaxText => (max_udaf(), 3, false),
        Call::CountDistinct => (count_udaf(), 2, true),
        Call::List => (array_agg_udaf(), 2, false),
    };
    let field = input.field(column);
    let mut builder =
        AggregateExprBuilder::new(function, vec![Arc::new(Column::new(field.name(), column))])
            .schema(Arc::new(input.clone()))
            .alias("call");
    if distinct {
        builder = builder.distinct();
    }
    AggregateCall {
        function: Arc::new(builder.build().expect("is a function")),
        arguments: vec![column],
        argument_types: vec![field.data_type().clone()],
        filter: None,
        distinct,
        retracting: false,
    }
}

/// The specification of a shape.
pub(crate) fn spec(shape: &Shape) -> AggregateSpec {
    let input = input(shape.text_keys);
    let calls: Vec<AggregateCall> = shape.calls.iter().map(|one| call(*one, &input)).collect();
    let time = input.field(0).data_type().clone();
    let mut output = Vec::new();
    match shape.time {
        TimeKey::None => {}
        TimeKey::Instant { .. } => output.push(Field::new("at", time, true)),
        TimeKey::Counted { .. } => output.push(Field::new("window", DataType::Int64, true)),
        TimeKey::Window { .. } | TimeKey::Windowed { .. } | TimeKey::Session { .. } => {
            let bounds = vec![
                Field::new("start", time.clone(), true),
                Field::new("end", time, true),
            ];
            output.push(Field::new("window", DataType::Struct(bounds.into()), true));
        }
    }
    output.push(input.field(1).clone());
    for (at, call) in calls.iter().enumerate() {
        let result = call.function.field().data_type().clone();
        output.push(Field::new(format!("call{at}"), result, true));
    }
    AggregateSpec {
        input,
        time: shape.time,
        marked: true,
        time_position: 0,
        keys: vec![1],
        calls,
        retracting: false,
        mode: shape.mode,
        output: Arc::new(Schema::new(output)),
    }
}

/// Rows as batches of the input.
pub(crate) fn deltas(text_keys: bool, rows: &[Row], gap: i64) -> Vec<Delta> {
    let schema = input(text_keys);
    let batch = |rows: &[Row]| {
        let keys: ArrayRef = if text_keys {
            let texts = rows.iter().map(|(_, key, _)| format!("user-{key:08}"));
            Arc::new(StringArray::from_iter_values(texts))
        } else {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)))
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                rows.iter().map(|row| row.0),
            )),
            keys,
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| format!("value {:08}", row.2)),
            )),
            Arc::new(Int64Array::from_value(gap, rows.len())),
        ];
        RecordBatch::try_new(schema.clone(), columns).expect("columns fit")
    };
    rows.chunks(BATCH_ROWS_MAX)
        .map(|rows| Delta::insertions(batch(rows)))
        .collect()
}

/// An aggregation as it runs on one worker.
pub(crate) struct Flow {
    partial: Option<PartialAggregate>,
    total: Box<dyn EpochOperator>,
    text_keys: bool,
    gap: i64,
    epoch: Epoch,
    late: Watermark,
    place: u64,
    /// Pieces of earlier snapshots.
    pieces: BTreeMap<(u32, Bucket), Vec<Arc<dyn StoredPiece>>>,
}

/// A piece that was handed over.
#[derive(Debug)]
struct InMemory {
    run: u64,
    rows: Vec<RecordBatch>,
}

impl StoredPiece for InMemory {
    fn run(&self) -> u64 {
        self.run
    }
    fn read(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.rows.clone())
    }
}

fn total(shape: &Shape, seed: Option<&Seed>) -> Box<dyn EpochOperator> {
    let (spec, snapshots) = (spec(shape), Snapshots::Taken);
    match shape.time {
        TimeKey::Session { .. } => Box::new(
            SessionAggregate::new(spec, seed, ALONE, snapshots).expect("is about sessions"),
        ),
        TimeKey::Counted { .. } => {
            Box::new(CountedAggregate::new(spec, seed, ALONE, snapshots).expect("counts rows"))
        }
        TimeKey::Window { spec: window, .. } if !window.is_tumbling() => {
            Box::new(SlidingAggregate::new(spec, seed, ALONE, snapshots).expect("is about windows"))
        }
        TimeKey::None
        | TimeKey::Instant { .. }
        | TimeKey::Window { .. }
        | TimeKey::Windowed { .. } => {
            Box::new(TotalAggregate::new(spec, seed, ALONE, snapshots).expect("is an aggregation"))
        }
    }
}

/// What an epoch did.
pub(crate) struct Done {
    /// Rows of the result.
    pub(crate) rows: usize,
    /// The most rows that left in one turn.
    pub(crate) rows_a_turn: usize,
    /// What the operator says.
    pub(crate) report: OperatorReport,
}

impl Flow {
    /// The operators of a shape; sessions have this gap.
    pub(crate) fn new(shape: &Shape, gap: i64) -> Flow {
        let partial = match shape.time {
            TimeKey::Session { .. } | TimeKey::Counted { .. } => None,
            TimeKey::None
            | TimeKey::Instant { .. }
            | TimeKey::Window { .. }
            | TimeKey::Windowed { .. } => {
                Some(PartialAggregate::new(spec(shape)).expect("has a form"))
            }
        };
        Flow {
            partial,
            total: total(shape, None),
            text_keys: shape.text_keys,
            gap,
            epoch: Epoch::FIRST,
            late: Watermark::START,
            place: 0,
            pieces: BTreeMap::new(),
        }
    }

    /// Runs an epoch whose windows up to `mark_ms` close; `each` sees what leaves.
    pub(crate) fn epoch(&mut self, rows: &[Row], mark_ms: i64, each: impl FnMut(&Delta)) -> Done {
        self.try_epoch(rows, mark_ms, each).expect("runs an epoch")
    }

    /// The same with rows that may be refused.
    pub(crate) fn try_epoch(
        &mut self,
        rows: &[Row],
        mark_ms: i64,
        mut each: impl FnMut(&Delta),
    ) -> Result<Done> {
        let evict = Watermark::from_ms(mark_ms).max(self.late);
        let context = EpochContext {
            epoch: self.epoch,
            marks: Marks {
                evict,
                late: self.late,
                clock_ms: 0,
            },
            kind: if rows.is_empty() {
                EpochKind::NoData
            } else {
                EpochKind::Data
            },
        };
        let mut parts = Emitter::default();
        let mut out = Emitter::default();
        for rows in rows.chunks(BATCH_ROWS_MAX) {
            for delta in deltas(self.text_keys, rows, self.gap) {
                let count = delta.rows() as u64;
                let places = (self.place..self.place + count).collect::<Vec<_>>();
                self.place += count;
                let delta = delta.with_origin(Some(places.into()));
                match &mut self.partial {
                    Some(partial) => partial.on_delta(&context, 0, delta, &mut parts)?,
                    None => self.total.on_delta(&context, 0, delta, &mut out)?,
                }
            }
            self.pass_on(&context, &mut parts, &mut out)?;
        }
        if let Some(partial) = &mut self.partial {
            while partial.on_close(&context, &mut parts)? == Progress::More {}
            self.pass_on(&context, &mut parts, &mut out)?;
        }
        let (mut count, mut rows_a_turn) = (0, 0);
        loop {
            let progress = self.total.on_close(&context, &mut out)?;
            let turn = out.take();
            rows_a_turn = rows_a_turn.max(turn.iter().map(Delta::rows).sum());
            for delta in &turn {
                count += delta.rows();
                each(delta);
            }
            if progress == Progress::Done {
                break;
            }
        }
        self.epoch = self.epoch.next();
        self.late = evict;
        Ok(Done {
            rows: count,
            rows_a_turn,
            report: self.total.report().unwrap_or_default(),
        })
    }

    fn pass_on(
        &mut self,
        context: &EpochContext,
        parts: &mut Emitter,
        out: &mut Emitter,
    ) -> Result<()> {
        for part in parts.take() {
            self.total.on_delta(context, 0, part, out)?;
        }
        Ok(())
    }

    /// Ends the operator and starts another from a snapshot of the last epoch.
    pub(crate) fn restart(&mut self, shape: &Shape) {
        let epoch = Epoch(self.epoch.0 - 1);
        let mut kept = std::mem::take(&mut self.pieces);
        for change in self.tapped() {
            let place = (change.table, change.bucket);
            let pieces = self.pieces.entry(place).or_default();
            pieces.append(&mut kept.remove(&place).unwrap_or_default());
            let (run, rows) = (epoch.0 + 1, change.rows);
            pieces.push(Arc::new(InMemory { run, rows }));
        }
        self.start_from(shape, self.pieces.clone());
    }

    /// Starts the operator anew, from the pieces of a snapshot of the last epoch.
    pub(crate) fn start_from(
        &mut self,
        shape: &Shape,
        pieces: BTreeMap<(u32, Bucket), Vec<Arc<dyn StoredPiece>>>,
    ) {
        let epoch = Epoch(self.epoch.0.saturating_sub(1));
        self.total = total(shape, Some(&Seed { epoch, pieces }));
    }

    /// Takes a snapshot of the last epoch and gives what it writes.
    pub(crate) fn tapped(&mut self) -> Vec<BucketChange> {
        self.total.tap(Epoch(self.epoch.0 - 1)).expect("taps")
    }

    /// Takes a snapshot of the last epoch, which nobody keeps.
    pub(crate) fn tap(&mut self) {
        drop(self.total.tap(Epoch(self.epoch.0 - 1)).expect("taps"));
    }

    /// What the operator says it holds.
    pub(crate) fn report(&mut self) -> OperatorReport {
        self.total.report().unwrap_or_default()
    }
}

/// The most that an epoch may emit in a turn, about.
pub(crate) const ROWS_A_TURN_MAX: usize = 64 * 1024 + BATCH_ROWS_MAX;
