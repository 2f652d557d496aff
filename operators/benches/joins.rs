//! How many rows a second go through a join, and what the rows that are kept take.
//!
//! `cargo bench -p millstream-operators --bench joins`. One thread, whose own time counts (Linux); both sides
//! get as many rows.

use std::{
    fs,
    io::{self, Write},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::{
    PhysicalExpr,
    expressions::{BinaryExpr, Column, Literal},
};
use millstream_operators::{
    board::EpochKind,
    delta::Delta,
    driver::{Emitter, EpochContext, EpochOperator, Progress},
    join::{ChangingJoin, Expiry, Join, JoinKind, JoinSpec, Residual, SideColumn, SideSpec},
    state::{Ownership, Snapshots},
};
use millstream_types::{Epoch, Marks, Watermark};

/// A join to be measured.
struct Case {
    name: &'static str,
    kind: JoinKind,
    keys: i64,
    /// Rows of each side in an epoch.
    rows: i64,
    epochs: i64,
    /// Seconds of event time that an epoch takes, and for which a row may match; none without bound.
    horizon: Option<i64>,
    changes: bool,
}

/// Seconds that this thread has run: other processes do not count.
fn spent() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text
        .split(' ')
        .next()
        .and_then(|word| word.parse::<f64>().ok());
    nanos.unwrap_or_default() / 1e9
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("s", DataType::Utf8, true),
    ]))
}

fn batch(case: &Case, epoch: i64, side: i64) -> RecordBatch {
    let row = |at: i64| {
        let mixed = (epoch * case.rows + at).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed());
        mixed.wrapping_add(side).unsigned_abs() >> 20
    };
    let keys: Int64Array = (0..case.rows)
        .map(|at| Some(row(at).cast_signed() % case.keys))
        .collect();
    let times: TimestampMicrosecondArray = (0..case.rows)
        .map(|at| Some(epoch * 1_000_000 + at * 1_000_000 / case.rows))
        .collect();
    let texts: StringArray = (0..case.rows)
        .map(|at| Some(format!("row {:08}", row(at) % 1_000_000)))
        .collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(times), Arc::new(texts)];
    RecordBatch::try_new(schema(), columns).expect("columns of the schema")
}

fn spec(case: &Case) -> JoinSpec {
    let side = |shift: i64| SideSpec {
        schema: schema(),
        keys: vec![0],
        alone: None,
        late: None,
        expiry: case.horizon.map(|horizon| Expiry {
            column: 1,
            shift_ms: shift * 1000 - 1,
            bucket: (horizon * 1_000_000 / 8).max(1_000_000),
            is_compared: true,
        }),
        retracting: false,
    };
    let time = |place: usize| Arc::new(Column::new("t", place)) as Arc<dyn PhysicalExpr>;
    let residual = case.horizon.map(|horizon| {
        let length = Literal::new(ScalarValue::DurationMicrosecond(Some(horizon * 1_000_000)));
        let binary =
            |left, op, right| Arc::new(BinaryExpr::new(left, op, right)) as Arc<dyn PhysicalExpr>;
        let latest = binary(time(0), Operator::Plus, Arc::new(length));
        Residual {
            columns: vec![
                SideColumn { side: 0, column: 1 },
                SideColumn { side: 1, column: 1 },
            ],
            schema: Arc::new(Schema::new(vec![
                schema().field(1).clone(),
                schema().field(1).clone(),
            ])),
            predicate: binary(
                binary(time(1), Operator::GtEq, time(0)),
                Operator::And,
                binary(time(1), Operator::LtEq, latest),
            ),
        }
    });
    let columns: Vec<SideColumn> = [(0, 0), (0, 2), (1, 1), (1, 2)]
        .into_iter()
        .map(|(side, column)| SideColumn { side, column })
        .collect();
    let output: Vec<Field> = columns
        .iter()
        .map(|c| schema().field(c.column).clone())
        .collect();
    JoinSpec {
        kind: case.kind,
        sides: [side(-case.horizon.unwrap_or(0)), side(0)],
        nulls_match: false,
        residual,
        columns,
        output: Arc::new(Schema::new(output)),
        changes: case.changes,
        is_once: false,
    }
}

fn run(case: &Case) {
    let all = Ownership {
        worker: 0,
        workers: 1,
    };
    let mut operator: Box<dyn EpochOperator> = if case.changes {
        Box::new(ChangingJoin::new(spec(case), None, all, Snapshots::Taken).expect("a join"))
    } else {
        Box::new(Join::new(spec(case), None, all, Snapshots::Taken).expect("a join"))
    };
    let (mut given, mut joining, mut taps) = (0, 0.0, 0.0);
    let (mut bytes, mut held) = (0, 0);
    for epoch in 0..case.epochs {
        let batches = [batch(case, epoch, 0), batch(case, epoch, 1)];
        let mark = |epoch: i64| Watermark::from_ms((epoch - 1).max(0) * 1000);
        let context = EpochContext {
            epoch: Epoch(epoch.unsigned_abs()),
            marks: Marks {
                evict: mark(epoch),
                late: mark(epoch - 1),
                clock_ms: 0,
            },
            kind: EpochKind::Data,
        };
        let mut out = Emitter::default();
        let start = spent();
        for (port, batch) in batches.into_iter().enumerate() {
            let mut at = 0;
            while at < batch.num_rows() {
                let len = 8192.min(batch.num_rows() - at);
                operator
                    .on_delta(
                        &context,
                        port,
                        Delta::insertions(batch.slice(at, len)),
                        &mut out,
                    )
                    .expect("rows");
                at += len;
                given += out.take().iter().map(Delta::rows).sum::<usize>();
            }
        }
        while operator.on_close(&context, &mut out).expect("a close") == Progress::More {
            given += out.take().iter().map(Delta::rows).sum::<usize>();
        }
        given += out.take().iter().map(Delta::rows).sum::<usize>();
        joining += spent() - start;
        if epoch % 10 == 9 {
            let start = spent();
            operator.tap(context.epoch).expect("a tap");
            taps += spent() - start;
        }
        let report = operator.report().expect("a report");
        (bytes, held) = (report.bytes, report.rows_total);
    }
    let rows = 2 * case.rows * case.epochs;
    let _closed = writeln!(
        io::stdout(),
        "{:<28} {:>6.2} M rows/s in, {:>6.2} M/s out, snapshots {:>5.2} s, {held} rows kept in {} B each",
        case.name,
        rows as f64 / joining / 1e6,
        given as f64 / joining / 1e6,
        taps,
        bytes.checked_div(held).unwrap_or(0),
    );
}

fn main() {
    let case = |name, kind, keys, (rows, epochs), horizon, changes| Case {
        name,
        kind,
        keys,
        rows,
        epochs,
        horizon,
        changes,
    };
    for case in [
        case(
            "inner, 1 M keys",
            JoinKind::Inner,
            1_000_000,
            (10_000, 100),
            None,
            false,
        ),
        case(
            "inner, short epochs",
            JoinKind::Inner,
            1_000_000,
            (500, 2000),
            None,
            false,
        ),
        case(
            "inner, range of 10 s",
            JoinKind::Inner,
            100_000,
            (100_000, 40),
            Some(10),
            false,
        ),
        case(
            "left, range of 10 s",
            JoinKind::Left,
            100_000,
            (100_000, 40),
            Some(10),
            false,
        ),
        case(
            "semi, range of 10 s",
            JoinKind::LeftSemi,
            100_000,
            (100_000, 40),
            Some(10),
            false,
        ),
        case(
            "left in changes",
            JoinKind::Left,
            1_000_000,
            (10_000, 100),
            None,
            true,
        ),
    ] {
        run(&case);
    }
}
