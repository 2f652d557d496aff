//! Exchange of deltas between two workers, by the key hash that rows carry.

use std::{cell::Cell, rc::Rc};

use arrow::array::{ArrayRef, UInt64Array};
use millstream_operators::{
    delta::{BATCH_ROWS_MAX, Delta},
    keyhash::hash_keys,
    route::by_key,
};
use timely::{
    CommunicationConfig, Config, WorkerConfig,
    dataflow::operators::{
        Input,
        generic::operator::Operator,
        probe::{Handle, Probe},
    },
};

use super::{keyed_batch, line, million_per_s};
use crate::{
    error::{BenchError, Result},
    measure::thread_cpu_s,
    numbers::Numbers,
};

const WORKERS: usize = 2;
const EPOCHS: u64 = 200;
const BATCHES: u64 = 8;

pub(super) fn run(print: &mut dyn FnMut(String)) -> Result<()> {
    let threads = CommunicationConfig::Process(WORKERS);
    let bytes = CommunicationConfig::ProcessBinary(WORKERS);
    for (what, communication, before) in [
        ("between threads, as pointers", threads, "47-91"),
        ("between threads, as frames", bytes, "44-57"),
    ] {
        print(line(what, exchange(communication)?, before));
    }
    print("  rates are a worker's; a batch has 8 192 rows of a 24-byte key and a number".into());
    Ok(())
}

/// One batch with its hashes.
fn delta(seed: u64) -> Result<Delta> {
    let mut numbers = Numbers::new(seed);
    let rows: Vec<(u64, i64)> = (0..BATCH_ROWS_MAX)
        .map(|_| (numbers.below(100_000), 1))
        .collect();
    let batch = keyed_batch(&rows)?;
    let key: ArrayRef = batch.column(0).clone();
    let hashes = hash_keys(0, &[key], BATCH_ROWS_MAX)?;
    Ok(Delta::insertions(batch).with_hash(UInt64Array::from(hashes)))
}

/// Million rows a second that a worker sends and receives.
fn exchange(communication: CommunicationConfig) -> Result<f64> {
    let config = Config {
        communication,
        worker: WorkerConfig::default(),
    };
    let guards = timely::execute(config, |worker| {
        let received = Rc::new(Cell::new(0u64));
        let counted = received.clone();
        let probe = Handle::new();
        let mut input = worker.dataflow::<u64, _, _>(|scope| {
            let (input, rows) = scope.new_input::<Delta>();
            rows.unary::<timely::container::CapacityContainerBuilder<Delta>, _, _, _>(
                by_key(),
                "Count",
                move |_, _| {
                    move |input, output| {
                        input.for_each(|time, delta| {
                            counted.set(counted.get() + delta.rows() as u64);
                            output.session(&time).give_container(delta);
                        });
                    }
                },
            )
            .probe_with(&probe);
            input
        });
        let first = worker.index() as u64 * BATCHES;
        let deltas = (first..first + BATCHES)
            .map(delta)
            .collect::<Result<Vec<_>>>()?;
        let before = thread_cpu_s();
        for epoch in 0..EPOCHS {
            for delta in &deltas {
                input.send_batch(&mut delta.clone());
            }
            input.advance_to(epoch + 1);
            while probe.less_than(input.time()) {
                worker.step_or_park(None);
            }
        }
        let cpu = thread_cpu_s() - before;
        Ok::<_, BenchError>((received.get(), cpu))
    })
    .map_err(BenchError::Flow)?;
    let (mut rows, mut cpu) = (0, 0.0);
    for result in guards.join() {
        let (received, seconds) = result.map_err(BenchError::Flow)??;
        rows += received;
        cpu += seconds;
    }
    Ok(million_per_s(rows, cpu))
}
