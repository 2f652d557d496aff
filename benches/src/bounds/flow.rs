//! The two dataflows of the bounds: read → sink, and read → pre-aggregate → exchange → windows.
//!
//! Each worker reads its share of the files block by block and gives way to the others after each.
//! The timely timestamp is the watermark of a worker's own input in whole seconds: the frontier
//! behind the exchange is then the least over all workers, and a window closes when it has passed.
//! So no row is ever late, however far one worker runs ahead.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use timely::{
    Accountable,
    container::CapacityContainerBuilder,
    dataflow::{
        Scope, Stream,
        channels::pact::{Exchange, Pipeline},
        operators::generic::operator::{Operator, source},
    },
    worker::Worker,
};

use super::{bid::Parser, blocks::Blocks};
use crate::{
    checksum::Outcome,
    error::{BenchError, Result},
};

/// How long windows wait for rows that come later than they happened.
pub(crate) const DELAY_MS: i64 = 10_000;

/// What a worker learned from a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) rows: u64,
    /// The newest event time so far.
    pub(crate) newest_ms: i64,
}

/// What all workers report to.
#[derive(Debug, Default)]
struct Shared {
    outcome: Mutex<Outcome>,
    fault: Mutex<Option<BenchError>>,
}

impl Shared {
    fn add(&self, outcome: &Outcome) {
        let mut whole = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        whole.add(outcome);
    }

    fn fail(&self, error: BenchError) {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.get_or_insert(error);
    }

    fn finish(&self) -> Result<Outcome> {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match fault.take() {
            Some(error) => Err(error),
            None => Ok(*self.outcome.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// Runs a dataflow on some worker threads until its input is used up.
fn run(
    workers: usize,
    build: impl Fn(&mut Worker, Arc<Shared>) + Send + Sync + 'static,
) -> Result<Outcome> {
    let shared = Arc::new(Shared::default());
    let theirs = shared.clone();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        build(worker, theirs.clone());
        while worker.step_or_park(None) {}
    })
    .map_err(BenchError::Flow)?;
    for result in guards.join() {
        result.map_err(BenchError::Flow)?;
    }
    shared.finish()
}

/// Reads a worker's files. `on_block` turns lines into containers and says what it saw; at the end
/// it is called once more without lines.
fn read<'s, C, F>(
    scope: Scope<'s, u64>,
    folder: &Path,
    shared: &Arc<Shared>,
    mut on_block: F,
) -> Stream<'s, u64, C>
where
    C: Accountable + Default + Clone + 'static,
    F: FnMut(Option<&[u8]>, &mut Vec<C>) -> Result<Seen> + 'static,
{
    let blocks = Blocks::new(folder, scope.index(), scope.peers());
    let shared = shared.clone();
    let mut blocks = match blocks {
        Ok(blocks) => Some(blocks),
        Err(error) => {
            shared.fail(error);
            None
        }
    };
    source::<_, CapacityContainerBuilder<C>, _, _>(scope, "Read", |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut capability = Some(capability);
        let mut events = 0;
        let mut containers = Vec::new();
        move |output| {
            let Some(held) = capability.as_mut() else {
                return;
            };
            let Some(reader) = &mut blocks else {
                capability = None;
                return;
            };
            let step = reader.next().and_then(|block| {
                let seen = on_block(block, &mut containers)?;
                Ok((block.is_none(), seen))
            });
            let (is_end, seen) = match step {
                Ok(step) => step,
                Err(error) => {
                    shared.fail(error);
                    capability = None;
                    return;
                }
            };
            let mut session = output.session(&*held);
            for mut container in containers.drain(..) {
                session.give_container(&mut container);
            }
            drop(session);
            events += seen.rows;
            if is_end {
                shared.add(&Outcome {
                    events,
                    ..Outcome::default()
                });
                capability = None;
                return;
            }
            let watermark_s = u64::try_from((seen.newest_ms - DELAY_MS) / 1000).unwrap_or(0);
            if watermark_s > *held.time() {
                held.downgrade(&watermark_s);
            }
            activator.activate();
        }
    })
}

/// Rows on their way to the sink of a query without state.
pub(crate) trait Rows: Accountable + Default + Clone + 'static {
    /// Counts the rows as the sink that drops them does.
    fn drop_into(&self, outcome: &mut Outcome);
}

/// A query without state: each worker turns its own blocks into rows. `make` gives the scan.
pub(crate) fn stateless<R, M, F>(folder: PathBuf, workers: usize, make: M) -> Result<Outcome>
where
    R: Rows,
    M: Fn() -> F + Send + Sync + 'static,
    F: FnMut(&[u8], &mut R) -> Result<u64> + 'static,
{
    run(workers, move |worker, shared| {
        let mut scan = make();
        worker.dataflow::<u64, _, _>(|scope| {
            let rows = read(scope, &folder, &shared, move |block, out: &mut Vec<R>| {
                let mut rows = 0;
                if let Some(block) = block {
                    let mut container = R::default();
                    rows = scan(block, &mut container)?;
                    out.push(container);
                }
                Ok(Seen { rows, newest_ms: 0 })
            });
            let shared = shared.clone();
            let mut outcome = Outcome::default();
            rows.sink(Pipeline, "Drop", move |(input, frontier)| {
                input.for_each(|_, rows| rows.drop_into(&mut outcome));
                if frontier.is_empty() {
                    shared.add(&std::mem::take(&mut outcome));
                }
            });
        });
    })
}

/// A query over windows: pre-aggregation of blocks, an exchange, groups that close.
pub(crate) trait Windowed: 'static {
    /// Groups of one block with the worker that owns them.
    type Part: Clone + Send + Serialize + DeserializeOwned + 'static;

    /// A query that has seen nothing.
    fn new(parser: Parser) -> Self;

    /// Pre-aggregates lines; gives parts to their owners.
    fn read(
        &mut self,
        lines: &[u8],
        workers: usize,
        give: &mut dyn FnMut(usize, Self::Part),
    ) -> Result<Seen>;

    /// Gives what it kept of all its lines.
    fn finish(&mut self, _workers: usize, _give: &mut dyn FnMut(usize, Self::Part)) {}

    /// Adds groups of some worker's block.
    fn merge(&mut self, part: Self::Part);

    /// Emits and forgets what ends at or before the watermark.
    fn close(&mut self, watermark_ms: i64, outcome: &mut Outcome);
}

/// What a windowed query sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Message<P> {
    Part(u64, P),
    /// The newest event time of a worker that is done.
    End(u64, i64),
}

/// Runs a windowed query.
pub(crate) fn windowed<Q: Windowed>(
    folder: PathBuf,
    workers: usize,
    parser: Parser,
) -> Result<Outcome> {
    run(workers, move |worker, shared| {
        worker.dataflow::<u64, _, _>(|scope| {
            let mut query = Q::new(parser);
            let mut newest_ms = 0;
            let parts = read(scope, &folder, &shared, move |block, out: &mut Vec<_>| {
                let mut messages = Vec::new();
                let Some(block) = block else {
                    query.finish(workers, &mut |to, part| {
                        messages.push(Message::Part(to as u64, part));
                    });
                    out.push(messages);
                    let ends = (0u64..).take(workers).map(|to| Message::End(to, newest_ms));
                    out.push(ends.collect());
                    return Ok(Seen { rows: 0, newest_ms });
                };
                let seen = query.read(block, workers, &mut |to, part| {
                    messages.push(Message::Part(to as u64, part));
                })?;
                newest_ms = seen.newest_ms;
                out.push(messages);
                Ok(seen)
            });
            close(parts, &shared, Q::new(parser));
        });
    })
}

/// The half of a windowed query behind the exchange.
fn close<Q: Windowed>(
    parts: Stream<'_, u64, Vec<Message<Q::Part>>>,
    shared: &Arc<Shared>,
    mut query: Q,
) {
    let shared = shared.clone();
    let mut outcome = Outcome::default();
    let mut newest_ms = 0;
    let mut closed_s = 0;
    let mut is_done = false;
    let by_owner = Exchange::new(|message: &Message<Q::Part>| match message {
        Message::Part(to, _) | Message::End(to, _) => *to,
    });
    parts.sink(by_owner, "Windows", move |(input, frontier)| {
        input.for_each(|_, messages| {
            for message in messages.drain(..) {
                match message {
                    Message::Part(_, part) => query.merge(part),
                    Message::End(_, ms) => newest_ms = newest_ms.max(ms),
                }
            }
        });
        match frontier.frontier().first() {
            Some(passed_s) if *passed_s > closed_s => {
                closed_s = *passed_s;
                let watermark_ms = i64::try_from(closed_s * 1000).unwrap_or(i64::MAX);
                query.close(watermark_ms, &mut outcome);
            }
            Some(_) => {}
            None if is_done => {}
            None => {
                // What the last watermark does not close stays open, as it does in a query that
                // might be started again with more files.
                is_done = true;
                query.close(newest_ms - DELAY_MS, &mut outcome);
                shared.add(&outcome);
            }
        }
    });
}
