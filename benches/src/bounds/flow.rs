//! The dataflows of the bounds: read → sink; read → pre-aggregate → exchange → groups; and the same with
//! a second exchange, for queries that aggregate what they aggregated.
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

/// The half of a query before the exchange: groups of one block with the worker that owns them.
pub(crate) trait Scan: 'static {
    /// Some groups of one owner.
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
}

/// The half behind an exchange whose groups are rows of the result when they close.
pub(crate) trait Groups: Default + 'static {
    /// Some groups.
    type Part: Clone + Send + Serialize + DeserializeOwned + 'static;

    /// Adds groups of some worker.
    fn merge(&mut self, part: Self::Part);

    /// Emits and forgets what ends at or before the watermark.
    fn close(&mut self, watermark_ms: i64, outcome: &mut Outcome);
}

/// The half between two exchanges: groups that are parts of other groups when they close.
pub(crate) trait Inner: Default + 'static {
    /// Some groups.
    type Part: Clone + Send + Serialize + DeserializeOwned + 'static;
    /// What comes behind the second exchange.
    type Outer: Groups;

    /// Adds groups of some worker.
    fn merge(&mut self, part: Self::Part);

    /// Gives and forgets what ends at or before the watermark.
    fn close(
        &mut self,
        watermark_ms: i64,
        workers: usize,
        give: &mut dyn FnMut(usize, <Self::Outer as Groups>::Part),
    );
}

/// What a query sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Message<P> {
    Part(u64, P),
    /// The newest event time of a worker that is done.
    End(u64, i64),
}

impl<P> Message<P> {
    fn to(&self) -> u64 {
        match self {
            Message::Part(to, _) | Message::End(to, _) => *to,
        }
    }

    /// The last messages of a worker: one to each.
    fn ends(workers: usize, newest_ms: i64) -> Vec<Message<P>> {
        let all = (0u64..).take(workers);
        all.map(|to| Message::End(to, newest_ms)).collect()
    }
}

/// Runs a query with one exchange.
pub(crate) fn grouped<S, G>(folder: PathBuf, workers: usize, parser: Parser) -> Result<Outcome>
where
    S: Scan,
    G: Groups<Part = S::Part>,
{
    run(workers, move |worker, shared| {
        worker.dataflow::<u64, _, _>(|scope| {
            let parts = scan::<S>(scope, &folder, &shared, workers, parser);
            close(parts, &shared, G::default());
        });
    })
}

/// Runs a query with two exchanges.
pub(crate) fn nested<S, I>(folder: PathBuf, workers: usize, parser: Parser) -> Result<Outcome>
where
    S: Scan,
    I: Inner<Part = S::Part>,
{
    run(workers, move |worker, shared| {
        worker.dataflow::<u64, _, _>(|scope| {
            let parts = scan::<S>(scope, &folder, &shared, workers, parser);
            let parts = close_inner(parts, workers, I::default());
            close(parts, &shared, I::Outer::default());
        });
    })
}

fn scan<'s, S: Scan>(
    scope: Scope<'s, u64>,
    folder: &Path,
    shared: &Arc<Shared>,
    workers: usize,
    parser: Parser,
) -> Stream<'s, u64, Vec<Message<S::Part>>> {
    let mut query = S::new(parser);
    let mut newest_ms = 0;
    read(scope, folder, shared, move |block, out: &mut Vec<_>| {
        let mut messages = Vec::new();
        let Some(block) = block else {
            query.finish(workers, &mut |to, part| {
                messages.push(Message::Part(to as u64, part));
            });
            out.push(messages);
            out.push(Message::ends(workers, newest_ms));
            return Ok(Seen { rows: 0, newest_ms });
        };
        let seen = query.read(block, workers, &mut |to, part| {
            messages.push(Message::Part(to as u64, part));
        })?;
        newest_ms = seen.newest_ms;
        out.push(messages);
        Ok(seen)
    })
}

/// What a half behind an exchange knows of time.
#[derive(Debug, Default)]
struct Passed {
    newest_ms: i64,
    closed_s: u64,
    is_done: bool,
}

impl Passed {
    /// The watermark to close with, if there is a new one.
    fn watermark_ms(&mut self, frontier: Option<&u64>) -> Option<i64> {
        match frontier {
            Some(passed_s) if *passed_s > self.closed_s => {
                self.closed_s = *passed_s;
                Some(i64::try_from(self.closed_s * 1000).unwrap_or(i64::MAX))
            }
            Some(_) => None,
            None if self.is_done => None,
            None => {
                // What the last watermark does not close stays open, as it does in a query that
                // might be started again with more files.
                self.is_done = true;
                Some(self.newest_ms.saturating_sub(DELAY_MS))
            }
        }
    }
}

/// The half of a query behind its last exchange.
fn close<G: Groups>(
    parts: Stream<'_, u64, Vec<Message<G::Part>>>,
    shared: &Arc<Shared>,
    mut groups: G,
) {
    let shared = shared.clone();
    let mut outcome = Outcome::default();
    let mut passed = Passed::default();
    let by_owner = Exchange::new(Message::to);
    parts.sink(by_owner, "Groups", move |(input, frontier)| {
        input.for_each(|_, messages| {
            for message in messages.drain(..) {
                match message {
                    Message::Part(_, part) => groups.merge(part),
                    Message::End(_, ms) => passed.newest_ms = passed.newest_ms.max(ms),
                }
            }
        });
        if let Some(watermark_ms) = passed.watermark_ms(frontier.frontier().first()) {
            groups.close(watermark_ms, &mut outcome);
            if passed.is_done {
                shared.add(&outcome);
            }
        }
    });
}

/// The half of a query between its exchanges. What closes is sent before time moves on, so that the
/// frontier behind the second exchange speaks for all workers.
fn close_inner<'s, I: Inner>(
    parts: Stream<'s, u64, Vec<Message<I::Part>>>,
    workers: usize,
    mut groups: I,
) -> Stream<'s, u64, Vec<Message<<I::Outer as Groups>::Part>>> {
    let by_owner = Exchange::new(Message::to);
    let mut passed = Passed::default();
    parts.unary_frontier::<CapacityContainerBuilder<_>, _, _, _>(
        by_owner,
        "Inner groups",
        |capability, _| {
            let mut held = Some(capability);
            move |(input, frontier), output| {
                input.for_each(|_, messages| {
                    for message in messages.drain(..) {
                        match message {
                            Message::Part(_, part) => groups.merge(part),
                            Message::End(_, ms) => passed.newest_ms = passed.newest_ms.max(ms),
                        }
                    }
                });
                let Some(watermark_ms) = passed.watermark_ms(frontier.frontier().first()) else {
                    return;
                };
                let Some(capability) = held.as_mut() else {
                    return;
                };
                let mut session = output.session(&*capability);
                groups.close(watermark_ms, workers, &mut |to, part| {
                    session.give(Message::Part(to as u64, part));
                });
                if passed.is_done {
                    for end in Message::ends(workers, i64::MAX) {
                        session.give(end);
                    }
                    drop(session);
                    held = None;
                } else {
                    drop(session);
                    capability.downgrade(&passed.closed_s);
                }
            }
        },
    )
}
