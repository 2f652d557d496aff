//! A chain in the dataflow: batches pass in their turn, one after the other.
//!
//! After some of the rows that lists become it gives way to others. Until the rest is out, it counts in
//! [`OperatorEnvironment::unfolding`], so that no more comes in meanwhile. [INV-07]
//! It keeps the capabilities of rows that wait, and of those that failed, so that their epoch stays open.
//! [INV-09]

use std::collections::VecDeque;

use millstream_types::Coded;
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        channels::pact::Pipeline,
        operators::{
            Capability, InputCapability,
            generic::{OutputBuilder, builder_rc::OperatorBuilder},
        },
    },
};

use super::{
    Chain,
    pass::{ChainContext, Pass},
};
use crate::{
    delta::Delta,
    driver::{DeltaStream, Emitter, OperatorEnvironment, OperatorEvent, epoch_of},
    error::OperatorError,
    watermark::{EventStatistics, StatisticsStream},
};

/// Puts a chain into the dataflow; the second stream carries its event-time statistics.
pub fn chain_operator<'s>(
    input: DeltaStream<'s>,
    chain: Chain,
    environment: &OperatorEnvironment,
) -> (DeltaStream<'s>, StatisticsStream<'s>) {
    let scope = input.scope();
    let mut builder = OperatorBuilder::new("Chain".to_owned(), scope);
    let address = builder.operator_info().address;
    let activator = scope.activator_for(address.clone());
    let bell = scope.worker().sync_activator_for(address.to_vec());
    environment.pressure.on_release(move || {
        // A worker that is gone needs no ringing.
        let _gone = bell.activate();
    });
    let (rows, row_stream) = builder.new_output::<Delta>();
    let (marks, mark_stream) = builder.new_output::<Vec<EventStatistics>>();
    let mut rows = OutputBuilder::<u64, CapacityContainerBuilder<Delta>>::from(rows);
    let mut marks =
        OutputBuilder::<u64, CapacityContainerBuilder<Vec<EventStatistics>>>::from(marks);
    let mut input = builder.new_input(input, Pipeline);
    let mut queue = Queue {
        chain,
        environment: environment.clone(),
        waiting: VecDeque::new(),
        failed: false,
        unfolds: false,
    };
    builder.build(move |capabilities| {
        drop(capabilities);
        move |_frontiers| {
            let (mut rows, mut marks) = (rows.activate(), marks.activate());
            input.for_each(|time, delta| queue.arrived(&time, std::mem::take(delta)));
            queue.turn(
                |at, mut delta| rows.session(at).give_container(&mut delta),
                |at, mut noted| marks.session(at).give_container(&mut noted),
            );
            // Whoever is held back is woken when there is room again.
            if queue.unfolds && !queue.environment.pressure.is_high() {
                activator.activate();
            }
        }
    });
    (row_stream, mark_stream)
}

/// Rows that wait for their turn, with what lets them and their marks go out.
struct Waiting {
    pass: Pass,
    rows: Capability<u64>,
    marks: Capability<u64>,
}

/// Batches of a chain, the first in the middle of its pass.
struct Queue {
    chain: Chain,
    environment: OperatorEnvironment,
    waiting: VecDeque<Waiting>,
    /// After an error what waits stays, and with it the capabilities: the epoch never closes.
    failed: bool,
    /// Whether this is one of the chains that the environment counts.
    unfolds: bool,
}

impl Queue {
    fn arrived(&mut self, time: &InputCapability<u64>, delta: Delta) {
        if self.failed {
            return;
        }
        let epoch = epoch_of(time);
        let facts = self.environment.board.facts(epoch);
        let context = ChainContext {
            epoch,
            clock_ms: facts.map_or(0, |facts| facts.clock_ms),
        };
        let pass = match delta.is_damaged() {
            true => Err(OperatorError::Frame { epoch }),
            false => self.chain.pass(delta, context),
        };
        let pass = pass.unwrap_or_else(|error| {
            self.fail(&error);
            Pass::spent(context)
        });
        self.waiting.push_back(Waiting {
            pass,
            rows: time.delayed(&epoch.0, 0),
            marks: time.delayed(&epoch.0, 1),
        });
    }

    /// Takes rows through the steps: all that only pass, and of what lists become as much as a turn may
    /// give.
    fn turn(
        &mut self,
        mut give_rows: impl FnMut(&Capability<u64>, Delta),
        mut give_marks: impl FnMut(&Capability<u64>, Vec<EventStatistics>),
    ) {
        let mut given = Emitter::default();
        while let Some(first) = self.waiting.front_mut().filter(|_| !self.failed) {
            let unfolds = first.pass.unfolds();
            if unfolds && (given.is_full() || self.environment.pressure.is_high()) {
                break;
            }
            let mut noted = Vec::new();
            let result = self.chain.next(&mut first.pass, |one| noted.push(one));
            if !noted.is_empty() {
                give_marks(&first.marks, noted);
            }
            match result {
                Ok(Some(delta)) => {
                    if first.pass.unfolds() {
                        given.count(&delta);
                    }
                    if delta.rows() > 0 {
                        give_rows(&first.rows, delta);
                    }
                }
                Ok(None) => drop(self.waiting.pop_front()),
                Err(error) => self.fail(&error),
            }
        }
        let unfolds = !self.waiting.is_empty() && !self.failed;
        let before = std::mem::replace(&mut self.unfolds, unfolds);
        let count = &self.environment.unfolding;
        count.set(count.get() + usize::from(unfolds) - usize::from(before));
    }

    fn fail(&mut self, error: &OperatorError) {
        self.failed = true;
        (self.environment.reporter)(OperatorEvent::Failed(error.fault()));
    }
}
