//! The two ends of a worker's dataflow: chunks become rows, rows become words to the committer.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use arrow::array::UInt64Array;
use millstream_connectors_api::{Decoder, SinkEncoder, SinkRows, WriteBody};
use millstream_operators::{
    delta::Delta,
    driver::{DeltaStream, epoch_of},
};
use millstream_types::{Coded, Epoch, SourceId};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Scope,
        channels::pact::Pipeline,
        operators::generic::{OutputBuilder, builder_rc::OperatorBuilder},
    },
};

use crate::{
    intake::{Intake, PlacedChunk},
    message::Said,
    shared::Shared,
    sinks::Port,
    speaker::Speaker,
};

/// What a source operator works with.
pub(crate) struct Input {
    pub(crate) source: SourceId,
    pub(crate) decoder: Box<dyn Decoder>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) shared: Arc<Shared>,
    /// How many chains of the worker have rows left to make of what they were given.
    pub(crate) unfolding: Rc<Cell<usize>>,
    pub(crate) speaker: Rc<Speaker>,
    /// Whether an operator asks where in the input its rows stood.
    pub(crate) is_ordered: bool,
}

/// The operator that decodes chunks, one a turn, so that others get theirs.
pub(crate) fn source<'s>(
    scope: Scope<'s, u64>,
    name: String,
    start: Epoch,
    mut input: Input,
) -> DeltaStream<'s> {
    let mut builder = OperatorBuilder::new(name, scope);
    let address = builder.operator_info().address;
    let activator = scope.activator_for(address.clone());
    let waker = scope.worker().sync_activator_for(address.to_vec());
    let (output, stream) = builder.new_output::<Delta>();
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Delta>>::from(output);
    input.shared.register(waker);
    activator.activate();
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        if let Some(capability) = &mut capability {
            capability.downgrade(&start.0);
        }
        let mut failed = false;
        move |_frontiers| {
            let Some(held) = capability.as_mut().filter(|_| !failed) else {
                return;
            };
            if input.shared.is_backlogged() {
                return;
            }
            if input.unfolding.get() > 0 {
                // They are at work in each turn until they are done.
                activator.activate();
                return;
            }
            let polled = input.intake.poll();
            if let Some(placed) = polled.chunk {
                // A reader may be ahead of another, so the chunk's epoch may be later than the
                // one that is open. The capability is let down after its rows are out.
                let at = held.delayed(&placed.epoch.0);
                let mut output = output.activate();
                let mut session = output.session(&at);
                failed = !input.decode(placed, |mut delta| session.give_container(&mut delta));
                drop(session);
                activator.activate();
            }
            if !failed {
                held.downgrade(&polled.open.0);
            }
        }
    });
    stream
}

impl Input {
    /// Decodes a chunk and says what was in it; says whether it went well.
    fn decode(&mut self, placed: PlacedChunk, mut give: impl FnMut(Delta)) -> bool {
        let PlacedChunk {
            epoch,
            position,
            chunk,
        } = placed;
        let mut places = self.is_ordered.then(|| Places::new(self.source, position));
        let decoded = self.decoder.decode(chunk, &mut |batch| {
            let origin = places.as_mut().map(|at| at.next(batch.num_rows()));
            give(Delta::insertions(batch).with_origin(origin));
        });
        let said = match &decoded {
            Ok(report) => Said::Read {
                source: self.source,
                rows: report.rows,
                malformed: report.malformed,
            },
            Err(error) => Said::Failed(error.fault()),
        };
        self.speaker.say(epoch, said);
        decoded.is_ok()
    }
}

/// Places of rows in the input of their epoch: source by source, position by position. They follow
/// from the plan alone, so that every reader and every worker gives a row the same place. [INV-02]
struct Places {
    next: u64,
}

impl Places {
    fn new(source: SourceId, position: u64) -> Places {
        // Positions take 56 bits, sources 8: sources beyond share their places, and rows in one
        // place are told apart by their values.
        let source = u64::from(source.0.min(0xFF));
        Places {
            next: source << 56 | (position & ((1 << 56) - 1)),
        }
    }

    fn next(&mut self, rows: usize) -> UInt64Array {
        let first = self.next;
        self.next += rows as u64;
        UInt64Array::from_iter_values(first..self.next)
    }
}

/// What a sink operator works with.
pub(crate) struct Output {
    pub(crate) port: Port,
    pub(crate) encoder: Option<Box<dyn SinkEncoder>>,
    pub(crate) only_counts: bool,
    pub(crate) shared: Arc<Shared>,
    pub(crate) speaker: Rc<Speaker>,
    pub(crate) closing: Rc<Closing>,
}

/// The operator that hands rows to the committer.
pub(crate) fn sink<'s>(
    scope: Scope<'s, u64>,
    rows: DeltaStream<'s>,
    start: Epoch,
    mut output: Output,
) {
    let mut builder = OperatorBuilder::new("Sink".to_owned(), scope);
    let mut input = builder.new_input(rows, Pipeline);
    builder.build(move |_capabilities| {
        let mut next = start;
        move |frontiers| {
            input.for_each(|time, delta| {
                let (rows, signs) = std::mem::take(delta).into_parts();
                output.give(epoch_of(&time), SinkRows { rows, signs });
            });
            // An empty frontier means that the query is stopping: nothing more is closed.
            while frontiers[0]
                .frontier()
                .first()
                .is_some_and(|open| *open > next.0)
            {
                output.closing.passed(output.port, next);
                next = next.next();
            }
        }
    });
}

impl Output {
    fn give(&mut self, epoch: Epoch, rows: SinkRows) {
        if self.only_counts {
            let rows = rows.rows.num_rows() as u64;
            self.speaker.say(epoch, Said::Counted { rows });
            return;
        }
        let body = match &mut self.encoder {
            None => WriteBody::Rows(rows),
            Some(encoder) => match encoder.encode(&rows) {
                Ok(encoded) => WriteBody::Encoded(encoded),
                Err(error) => {
                    self.speaker.say(epoch, Said::Failed(error.fault()));
                    return;
                }
            },
        };
        let (port, held) = (self.port, body.size());
        self.shared.add_backlog(held);
        self.speaker.say(epoch, Said::Rows { port, body, held });
    }
}

/// Says the last word of an epoch, once all sinks of the worker are behind it.
pub(crate) struct Closing {
    speaker: Rc<Speaker>,
    state: RefCell<Passed>,
}

struct Passed {
    /// The least epoch that is not closed.
    next: Epoch,
    /// For each sink the least epoch that it is not behind.
    of: Vec<Epoch>,
}

impl Closing {
    pub(crate) fn new(start: Epoch, ports: usize, speaker: Rc<Speaker>) -> Rc<Closing> {
        let state = RefCell::new(Passed {
            next: start,
            of: vec![start; ports],
        });
        Rc::new(Closing { speaker, state })
    }

    fn passed(&self, port: Port, epoch: Epoch) {
        let mut state = self.state.borrow_mut();
        let at = match port {
            Port::Result => 0,
            Port::Late => 1,
        };
        if let Some(passed) = state.of.get_mut(at) {
            *passed = epoch.next();
        }
        let all = state.of.iter().copied().min().unwrap_or(state.next);
        while state.next < all {
            self.speaker.close(state.next);
            state.next = state.next.next();
        }
    }
}
