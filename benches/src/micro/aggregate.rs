//! `sum` and `count` by a 24-byte key, results of all touched groups in every epoch.
//!
//! The engine's two operators run under their driver in a real dataflow; differential's run as
//! anybody would write them. One worker: what is measured is work, not waiting.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_functions_aggregate::{count::count_udaf, sum::sum_udaf};
use datafusion_physical_expr::{aggregate::AggregateExprBuilder, expressions::Column};
use differential_dataflow::{input::Input, operators::CountTotal};
use millstream_operators::{
    aggregate::{AggregateCall, AggregateSpec, PartialAggregate, TimeKey, TotalAggregate},
    board::{EpochBoard, EpochFacts},
    delta::{BATCH_ROWS_MAX, Delta},
    driver::{OperatorEnvironment, OperatorEvent, Routing, epoch_operator},
    state::{Ownership, Snapshots},
};
use millstream_types::{Epoch, OperatorId, OutputMode};
use timely::dataflow::operators::{
    Input as _,
    probe::{Handle, Probe},
};

use super::{key, keyed_batch, line, million_per_s, seconds};
use crate::{
    error::{BenchError, Result},
    numbers::Numbers,
};

const ROWS: u64 = 1_000_000;

/// Keys, rows an epoch, and what was measured before: `reduce`, `count_total`, a table with its
/// changes appended to an arrangement.
const CASES: [(u64, u64, &str, &str, &str); 4] = [
    (10_000, 10_000, "1.30", "3.6", "4.1"),
    (1_000_000, 10_000, "0.16", "0.39", "0.96"),
    (100_000, 1_000, "0.18", "0.84", "1.28"),
    (1_000_000, 100_000, "0.36", "0.87", "0.91"),
];

pub(super) fn run(print: &mut dyn FnMut(String)) -> Result<()> {
    for (keys, epoch_rows, reduce_before, total_before, ours_before) in CASES {
        let name = |what: &str| format!("{what}, {keys} keys, epochs of {epoch_rows}");
        print(line(
            &name("reduce"),
            reduce(keys, epoch_rows),
            reduce_before,
        ));
        let rate = count_total(keys, epoch_rows);
        print(line(&name("count_total"), rate, total_before));
        for (what, taps) in [("partial + total", false), ("with a tap an epoch", true)] {
            let rate = ours(keys, epoch_rows, taps)?;
            print(line(&name(what), rate, ours_before));
        }
    }
    Ok(())
}

/// Keys and amounts of all epochs: uniform keys, amounts that hardly repeat, the same for all.
fn epochs(keys: u64, epoch_rows: u64) -> impl Iterator<Item = Vec<(u64, i64)>> {
    let mut numbers = Numbers::new(3);
    let mut amounts = 0..;
    (0..ROWS / epoch_rows).map(move |_| {
        (0..epoch_rows)
            .map(|_| (numbers.below(keys), amounts.next().unwrap_or(0)))
            .collect()
    })
}

/// Differential's `reduce` over values.
fn reduce(keys: u64, epoch_rows: u64) -> f64 {
    timely::execute_directly(move |worker| {
        let probe = Handle::new();
        let mut input = worker.dataflow::<u64, _, _>(|scope| {
            let (input, rows) = scope.new_collection::<(Vec<u8>, i64), isize>();
            rows.reduce(|_, values, output| {
                let mut total = (0, 0);
                for (value, times) in values {
                    let times = i64::try_from(*times).unwrap_or(0);
                    total = (total.0 + **value * times, total.1 + times);
                }
                output.push((total, 1));
            })
            .probe_with(&probe);
            input
        });
        let mut cpu = 0.0;
        for (epoch, rows) in (1..).zip(epochs(keys, epoch_rows)) {
            let rows: Vec<_> = rows
                .iter()
                .map(|(number, amount)| (key(*number).into_bytes(), *amount))
                .collect();
            cpu += seconds(|| {
                rows.into_iter().for_each(|row| input.insert(row));
                input.advance_to(epoch);
                input.flush();
                worker.step_while(|| probe.less_than(&epoch));
            })
            .0;
        }
        million_per_s(ROWS, cpu)
    })
}

/// Differential's `count_total` with the sums in the difference.
fn count_total(keys: u64, epoch_rows: u64) -> f64 {
    timely::execute_directly(move |worker| {
        let probe = Handle::new();
        let mut input = worker.dataflow::<u64, _, _>(|scope| {
            let (input, rows) = scope.new_collection::<Vec<u8>, (i64, i64)>();
            rows.count_total().probe_with(&probe);
            input
        });
        let mut cpu = 0.0;
        for (epoch, rows) in (1..).zip(epochs(keys, epoch_rows)) {
            let rows: Vec<_> = rows
                .iter()
                .map(|(number, amount)| (key(*number).into_bytes(), (*amount, 1)))
                .collect();
            cpu += seconds(|| {
                rows.into_iter()
                    .for_each(|(key, change)| input.update(key, change));
                input.advance_to(epoch);
                input.flush();
                worker.step_while(|| probe.less_than(&epoch));
            })
            .0;
        }
        million_per_s(ROWS, cpu)
    })
}

/// SELECT key, sum(number), count(number) GROUP BY key, update mode.
fn spec() -> Result<AggregateSpec> {
    let input = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("number", DataType::Int64, true),
    ]));
    let calls = [("sum", sum_udaf()), ("count", count_udaf())]
        .into_iter()
        .map(|(name, function)| {
            let argument = Arc::new(Column::new("number", 1));
            let function = AggregateExprBuilder::new(function, vec![argument])
                .schema(input.clone())
                .alias(name)
                .build()
                .map_err(|error| BenchError::Flow(error.to_string()))?;
            Ok(AggregateCall {
                function: Arc::new(function),
                arguments: vec![1],
                argument_types: vec![DataType::Int64],
                distinct: false,
                filter: None,
                retracting: false,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let output = Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("sum", DataType::Int64, true),
        Field::new("count", DataType::Int64, true),
    ]);
    Ok(AggregateSpec {
        input,
        time: TimeKey::None,
        marked: false,
        time_position: 0,
        keys: vec![0],
        calls,
        retracting: false,
        mode: OutputMode::Update,
        output: Arc::new(output),
    })
}

/// The engine's operators; `taps` hands the state over after each epoch.
fn ours(keys: u64, epoch_rows: u64, taps: bool) -> Result<f64> {
    timely::execute_directly(move |worker| {
        let failed = Rc::new(RefCell::new(None));
        let theirs = failed.clone();
        let environment = OperatorEnvironment {
            drivers: std::rc::Rc::default(),
            start: Epoch::FIRST,
            board: Arc::new(EpochBoard::default()),
            pressure: Arc::default(),
            unfolding: Rc::default(),
            reporter: Rc::new(move |event| {
                if let OperatorEvent::Failed(fault) = event {
                    *theirs.borrow_mut() = Some(format!("{fault:?}"));
                }
            }),
        };
        let partial = PartialAggregate::new(spec()?)?;
        let alone = Ownership {
            worker: 0,
            workers: 1,
        };
        let total = TotalAggregate::new(spec()?, None, alone, Snapshots::Taken)?;
        let probe = Handle::new();
        let mut input = worker.dataflow::<u64, _, _>(|scope| {
            let (input, rows) = scope.new_input::<Delta>();
            let here = vec![(rows, Routing::Local)];
            let first = (OperatorId(0), "partial");
            let parts = epoch_operator(first, scope, here, None, &environment, partial);
            let by_key = vec![(parts, Routing::ByKey)];
            let second = (OperatorId(1), "total");
            epoch_operator(second, scope, by_key, None, &environment, total).probe_with(&probe);
            input
        });
        let mut cpu = 0.0;
        for (epoch, rows) in (0..).zip(epochs(keys, epoch_rows)) {
            let batches = rows
                .chunks(BATCH_ROWS_MAX)
                .map(keyed_batch)
                .collect::<Result<Vec<_>>>()?;
            let facts = EpochFacts {
                snapshot_after: taps,
                ..EpochFacts::default()
            };
            cpu += seconds(|| {
                environment.board.publish(Epoch(epoch), facts);
                for batch in batches {
                    input.send_batch(&mut Delta::insertions(batch));
                }
                input.advance_to(epoch + 1);
                worker.step_while(|| probe.less_than(&(epoch + 1)) && failed.borrow().is_none());
            })
            .0;
        }
        match failed.take() {
            Some(fault) => Err(BenchError::Flow(fault)),
            None => Ok(million_per_s(ROWS, cpu)),
        }
    })
}
