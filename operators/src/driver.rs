//! The epoch driver: the one generic timely operator under every stateful operator.
//!
//! It owns the capability, so that operators cannot get progress wrong [INV-09]: it shows an
//! operator one epoch at a time, in order, with its marks known; closes an epoch when all inputs
//! have passed it; taps state when the plan says so; and turns errors into reports. What it does
//! *not* do: decide anything about rows.
//!
//! Scenario: rows of epoch 8 arrive while epoch 7 is open. They wait here, in order of arrival,
//! which no operator may depend on; when 7 closes and the marks of 8 are known they are handed on.
//! Scenario: an operator fails in epoch 7. The driver reports the fault and keeps its capability
//! at 7 for ever, so nothing downstream sees 7 close and nothing of it is committed.

use std::{cell::Cell, collections::BTreeMap, rc::Rc, sync::Arc};

use millstream_types::{Coded, Epoch, Fault, Marks, OperatorId, Watermark};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Scope, Stream,
        channels::pact::Pipeline,
        operators::{
            Capability, InputCapability,
            generic::{OutputBuilder, builder_rc::OperatorBuilder},
        },
    },
};

use crate::{
    board::{EpochBoard, EpochFacts, EpochKind},
    delta::Delta,
    error::{OperatorError, Result},
    pressure::Pressure,
    route::by_key,
    state::BucketChange,
};

/// Rows between operators.
pub type DeltaStream<'s> = Stream<'s, u64, Delta>;

/// Per epoch one message: eviction mark and late mark in milliseconds.
pub type MarkStream<'s> = Stream<'s, u64, Vec<(i64, i64)>>;

/// How rows get to an operator's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// They stay on their worker.
    Local,
    /// They go to the owner of their key hash; rows without one to the first worker.
    ByKey,
}

/// The epoch an operator is in.
#[derive(Clone, Copy, Debug)]
pub struct EpochContext {
    /// The epoch.
    pub epoch: Epoch,
    /// Its marks and clock.
    pub marks: Marks,
    /// Whether it has input ranges.
    pub kind: EpochKind,
}

/// Whether an operator is done with its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The epoch is closed.
    Done,
    /// Call again: there is more to emit, and others should get a turn.
    More,
}

/// What an operator counted since it last said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorReport {
    /// Logical rows held: what Spark's `numRowsTotal` counts.
    pub rows_total: u64,
    /// Groups touched.
    pub rows_updated: u64,
    /// Groups removed.
    pub rows_removed: u64,
    /// (row, window) pairs dropped as late.
    pub rows_late: u64,
    /// Bytes held, about.
    pub bytes: u64,
    /// End of the oldest window that is open, microseconds.
    pub oldest_end: Option<i64>,
}

/// What operators tell the coordinator.
#[derive(Clone, Debug)]
pub enum OperatorEvent {
    /// The query must stop.
    Failed(Fault),
    /// An epoch is closed on this worker.
    Closed {
        /// Who.
        operator: OperatorId,
        /// Which epoch.
        epoch: Epoch,
        /// What was counted in it.
        report: OperatorReport,
    },
    /// State after an epoch whose plan asked for it, or for which it was asked afterwards.
    Tapped {
        /// Who.
        operator: OperatorId,
        /// After which epoch.
        epoch: Epoch,
        /// All buckets that are alive.
        changes: Vec<BucketChange>,
    },
}

/// Takes events of one worker; must not block.
pub type Reporter = Rc<dyn Fn(OperatorEvent)>;

/// Rows that leave an operator in one turn, about.
const ROWS_A_TURN: usize = 64 * 1024;

/// Bytes that leave an operator in one turn, about.
const BYTES_A_TURN: usize = 4 << 20;

/// Rows on their way out of an operator.
#[derive(Debug, Default)]
pub struct Emitter {
    deltas: Vec<Delta>,
    rows: usize,
    bytes: usize,
}

impl Emitter {
    /// Emits rows in the current epoch.
    pub fn give(&mut self, delta: Delta) {
        if delta.rows() > 0 {
            self.count(&delta);
            self.deltas.push(delta);
        }
    }

    /// Counts rows that left in another way.
    pub(crate) fn count(&mut self, delta: &Delta) {
        self.rows += delta.rows();
        self.bytes += delta.bytes();
    }

    /// Whether so much was emitted that the operator should say [`Progress::More`] and let others have
    /// a turn: what leaves waits in memory until the sink has taken it. [INV-07]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows >= ROWS_A_TURN || self.bytes >= BYTES_A_TURN
    }

    /// Takes what was emitted.
    pub fn take(&mut self) -> Vec<Delta> {
        (self.rows, self.bytes) = (0, 0);
        std::mem::take(&mut self.deltas)
    }
}

/// An operator over whole epochs. Everything it may depend on is in its arguments; it reads no
/// clock, sees no arrival order, and never learns of two epochs at once.
///
/// The driver calls, for each epoch in order of their numbers and without a hole:
///
/// 1. [`on_delta`](EpochOperator::on_delta), once for each batch of rows, of all ports in any order, and
///    not at all if there are none;
/// 2. [`on_close`](EpochOperator::on_close) until it says [`Progress::Done`];
/// 3. [`tap`](EpochOperator::tap), only if state is wanted after this epoch; it may also be wanted later,
///    before any row of the next epoch was given;
/// 4. [`report`](EpochOperator::report), once.
///
/// After an error none of them is called again: the query ends, and what the operator holds is lost with
/// it. So an operator need not undo what it did before it failed.
pub trait EpochOperator: 'static {
    /// Takes rows of the current epoch. May emit at once what does not depend on the rows to come; the
    /// order of calls is chance, so what is emitted in all calls together must not depend on it. [INV-02]
    ///
    /// `port` is the number of the input in the order in which inputs were declared. `delta` has the
    /// columns of that input; an operator that was planned over rows that stay may refuse signs.
    ///
    /// # Errors
    /// Rows that the expressions or functions of the operator fail on, with the user's code; columns or
    /// signs that the plan excludes, as a fault of ours. Either ends the query.
    fn on_delta(
        &mut self,
        context: &EpochContext,
        port: usize,
        delta: Delta,
        out: &mut Emitter,
    ) -> Result<()>;

    /// All rows of the epoch were given: publish, a bounded portion at a time. Called again while it says
    /// [`Progress::More`], which it says when the emitter [is full](Emitter::is_full); no rows come in between.
    ///
    /// # Errors
    /// As of [`on_delta`](EpochOperator::on_delta).
    fn on_close(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<Progress>;

    /// All of the state as of the end of `epoch`: the epoch that was closed last. The buckets of a tap
    /// replace those of every earlier one; from them alone, for any number of workers, an operator can be
    /// seeded that goes on as this one does. Changes nothing that a later call could notice.
    ///
    /// # Errors
    /// State that cannot be encoded, as a fault of ours.
    fn tap(&mut self, epoch: Epoch) -> Result<Vec<BucketChange>>;

    /// What was counted since the last call; `None` for operators that hold nothing.
    fn report(&mut self) -> Option<OperatorReport>;
}

/// What every operator of a worker's dataflow shares.
#[derive(Clone)]
pub struct OperatorEnvironment {
    /// The first epoch that runs.
    pub start: Epoch,
    /// Facts of planned epochs.
    pub board: Arc<EpochBoard>,
    /// How many operators under a driver this worker has: each of them answers when state is asked
    /// for.
    pub drivers: Rc<Cell<u32>>,
    /// Whether the sink is behind.
    pub pressure: Arc<Pressure>,
    /// How many chains of this worker have lists that did not become rows yet. While there are any,
    /// sources and closing operators of the worker wait: what they give would pile up there. [INV-07]
    pub unfolding: Rc<Cell<usize>>,
    /// Where events go.
    pub reporter: Reporter,
}

impl std::fmt::Debug for OperatorEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperatorEnvironment")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// Something that hands the deltas of an input to a driver; inputs differ in how they are routed.
type Receive<O> = Box<dyn FnMut(&mut Driver<O>)>;

/// Declares an input, whose deltas go to `port` of the operator.
fn receive<'s, O: EpochOperator>(
    builder: &mut OperatorBuilder<'s, u64>,
    port: usize,
    (input, routing): (DeltaStream<'s>, Routing),
) -> Receive<O> {
    let same_epoch = [(0, timely::progress::Antichain::from_elem(0))];
    match routing {
        Routing::Local => {
            let mut input = builder.new_input_connection(input, Pipeline, same_epoch);
            Box::new(move |driver| {
                input.for_each(|time, delta| {
                    driver.arrived(epoch_of(&time), port, std::mem::take(delta));
                });
            })
        }
        Routing::ByKey => {
            let mut input = builder.new_input_connection(input, by_key(), same_epoch);
            Box::new(move |driver| {
                input.for_each(|time, delta| {
                    driver.arrived(epoch_of(&time), port, std::mem::take(delta));
                });
            })
        }
    }
}

/// The epoch of a message. Every message of ours is sent under one capability, so it has one.
///
/// # Panics
/// On a message that was sent under none: it would not be counted as open, and its epoch could
/// close without it.
#[must_use]
pub fn epoch_of(message: &InputCapability<u64>) -> Epoch {
    Epoch(
        *message
            .least()
            .expect("messages are sent under a capability"),
    )
}

/// Puts an operator into the dataflow.
pub fn epoch_operator<'s, O: EpochOperator>(
    (id, name): (OperatorId, &str),
    scope: Scope<'s, u64>,
    inputs: Vec<(DeltaStream<'s>, Routing)>,
    marks: Option<MarkStream<'s>>,
    environment: &OperatorEnvironment,
    operator: O,
) -> DeltaStream<'s> {
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let address = builder.operator_info().address;
    let activator = scope.activator_for(address.clone());
    let bell = scope.worker().sync_activator_for(address.to_vec());
    environment.board.on_news(move || {
        // A worker that is gone needs no ringing.
        let _gone = bell.activate();
    });
    let bell = scope.worker().sync_activator_for(address.to_vec());
    environment.pressure.on_release(move || {
        let _gone = bell.activate();
    });
    environment.drivers.set(environment.drivers.get() + 1);
    let (output, stream) = builder.new_output::<Delta>();
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Delta>>::from(output);
    let ports = inputs.len();
    let mut inputs: Vec<Receive<O>> = inputs
        .into_iter()
        .enumerate()
        .map(|(port, input)| receive(&mut builder, port, input))
        .collect();
    let has_marks = marks.is_some();
    let same_epoch = || [(0, timely::progress::Antichain::from_elem(0))];
    let mut mark_input =
        marks.map(|marks| builder.new_input_connection(marks, Pipeline, same_epoch()));
    let environment = environment.clone();
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        if let Some(capability) = &mut capability {
            capability.downgrade(&environment.start.0);
        }
        let mut driver = Driver::new(id, environment, has_marks, ports, operator);
        move |frontiers| {
            inputs.iter_mut().for_each(|input| input(&mut driver));
            if let Some(input) = &mut mark_input {
                input.for_each(|time, marks| driver.marked(epoch_of(&time), marks));
            }
            let open = frontiers
                .iter()
                .filter_map(|f| f.frontier().first().copied())
                .min();
            let mut output = output.activate();
            driver.advance(open.map(Epoch), &mut capability, |capability, emitter| {
                let mut session = output.session(capability);
                for mut delta in emitter.take() {
                    session.give_container(&mut delta);
                }
            });
            if driver.wants_a_turn {
                activator.activate();
            }
        }
    });
    stream
}

struct Driver<O> {
    id: OperatorId,
    environment: OperatorEnvironment,
    operator: O,
    current: Epoch,
    /// Marks of epochs that are known and not closed yet.
    marks: BTreeMap<Epoch, (Watermark, Watermark)>,
    has_marks: bool,
    waiting: BTreeMap<Epoch, Vec<(usize, Delta)>>,
    emitter: Emitter,
    failed: bool,
    wants_a_turn: bool,
    /// Whether a close waits until the sink has room.
    held_back: bool,
    /// The epoch after which state was given last.
    tapped: Option<Epoch>,
    ports: usize,
}

impl<O: EpochOperator> Driver<O> {
    fn new(
        id: OperatorId,
        environment: OperatorEnvironment,
        has_marks: bool,
        ports: usize,
        operator: O,
    ) -> Driver<O> {
        Driver {
            id,
            current: environment.start,
            environment,
            operator,
            marks: BTreeMap::new(),
            has_marks,
            waiting: BTreeMap::new(),
            emitter: Emitter::default(),
            failed: false,
            wants_a_turn: false,
            held_back: false,
            tapped: None,
            ports,
        }
    }

    fn arrived(&mut self, epoch: Epoch, port: usize, delta: Delta) {
        assert!(
            port < self.ports && epoch >= self.current,
            "rows come before their epoch closes"
        );
        if !self.failed {
            self.waiting.entry(epoch).or_default().push((port, delta));
        }
    }

    fn marked(&mut self, epoch: Epoch, marks: &[(i64, i64)]) {
        for (evict, late) in marks {
            let marks = (Watermark::from_ms(*evict), Watermark::from_ms(*late));
            let before = self.marks.insert(epoch, marks);
            assert!(before.is_none(), "an epoch has one pair of marks");
        }
    }

    /// Works on what has arrived; `passed` is the least epoch that may still bring rows, `None`
    /// when no input will ever bring any (the query is stopping).
    fn advance(
        &mut self,
        passed: Option<Epoch>,
        capability: &mut Option<Capability<u64>>,
        mut send: impl FnMut(&Capability<u64>, &mut Emitter),
    ) {
        self.wants_a_turn = false;
        while !self.failed {
            let Some(held) = capability.as_mut() else {
                return;
            };
            // Before the next epoch changes it: state is as of the end of the one before.
            if let Err(error) = self.tap_late() {
                self.fail(&error);
                return;
            }
            let Some(context) = self.context() else { break };
            let closing = passed.is_none_or(|passed| passed > self.current);
            let result = self.work(&context, closing);
            if !self.emitter.deltas.is_empty() {
                send(held, &mut self.emitter);
            }
            match result {
                Err(error) => self.fail(&error),
                Ok(Progress::More) => {
                    // Whoever holds back is woken when there is room again.
                    self.wants_a_turn = closing && !self.held_back;
                    return;
                }
                Ok(Progress::Done) => {
                    self.current = self.current.next();
                    held.downgrade(&self.current.0);
                }
            }
        }
        if passed.is_none() && !self.failed {
            *capability = None;
        }
    }

    /// The current epoch's context, once everything in it is known.
    fn context(&self) -> Option<EpochContext> {
        let epoch = self.current;
        let EpochFacts { clock_ms, kind, .. } = self.environment.board.facts(epoch)?;
        let (evict, late) = if self.has_marks {
            *self.marks.get(&epoch)?
        } else {
            (Watermark::START, Watermark::START)
        };
        Some(EpochContext {
            epoch,
            marks: Marks {
                evict,
                late,
                clock_ms,
            },
            kind,
        })
    }

    /// Hands over rows of the current epoch and closes it if it can be closed.
    fn work(&mut self, context: &EpochContext, closing: bool) -> Result<Progress> {
        for (port, delta) in self.waiting.remove(&context.epoch).unwrap_or_default() {
            if delta.is_damaged() {
                return Err(OperatorError::Frame {
                    epoch: context.epoch,
                });
            }
            self.operator
                .on_delta(context, port, delta, &mut self.emitter)?;
        }
        self.held_back = closing && self.environment.pressure.is_high();
        if !closing
            || self.held_back
            || self.environment.unfolding.get() > 0
            || self.operator.on_close(context, &mut self.emitter)? == Progress::More
        {
            return Ok(Progress::More);
        }
        self.marks.remove(&context.epoch);
        if let Some(report) = self.operator.report() {
            self.tell(OperatorEvent::Closed {
                operator: self.id,
                epoch: context.epoch,
                report,
            });
        }
        let facts = self
            .environment
            .board
            .facts(context.epoch)
            .unwrap_or_default();
        if facts.snapshot_after {
            self.tap(context.epoch)?;
        }
        Ok(Progress::Done)
    }

    /// Gives state after an epoch that is closed already, if that was asked for.
    fn tap_late(&mut self) -> Result<()> {
        match self.environment.board.captured_after() {
            Some(after) if after.next() == self.current && self.tapped != Some(after) => {
                self.tap(after)
            }
            _ => Ok(()),
        }
    }

    fn tap(&mut self, epoch: Epoch) -> Result<()> {
        let changes = self.operator.tap(epoch)?;
        self.tapped = Some(epoch);
        self.tell(OperatorEvent::Tapped {
            operator: self.id,
            epoch,
            changes,
        });
        Ok(())
    }

    fn fail(&mut self, error: &OperatorError) {
        self.failed = true;
        self.waiting.clear();
        self.tell(OperatorEvent::Failed(error.fault()));
    }

    fn tell(&self, event: OperatorEvent) {
        (self.environment.reporter)(event);
    }
}
