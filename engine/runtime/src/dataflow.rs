//! From a plan to one timely dataflow, the same on every worker.

use std::{
    rc::Rc,
    sync::{Arc, mpsc::Sender},
};

use arrow::array::UInt64Array;
use millstream_connectors_api::{ConnectorError, Decoder};
use millstream_operators::{
    aggregate::{
        AggregateSpec, ChangingSessions, CountedAggregate, KeyRows, PartialAggregate, Seed,
        SessionAggregate, SlidingAggregate, TimeKey, TotalAggregate,
    },
    arrange::{Arrange, Limit},
    board::EpochBoard,
    chain::{Chain, chain_operator},
    delta::Delta,
    draw::DrawSource,
    driver::{
        DeltaStream, EpochOperator, MarkStream, OperatorEnvironment, OperatorEvent, Routing,
        epoch_of, epoch_operator,
    },
    error::OperatorError,
    late::LateRows,
    state::{Ownership, Snapshots},
    top::Top,
    watermark::{MarkRules, MarkState, StatisticsStream, watermark},
};
use millstream_types::{Coded, Epoch, Fault, OperatorId, SourceId};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Scope,
        channels::pact::Pipeline,
        operators::{
            Concatenate,
            generic::{OutputBuilder, builder_rc::OperatorBuilder},
        },
    },
    worker::Worker,
};

use crate::{
    feed::{Feed, Polled},
    message::{Message, Shared, batch_bytes},
    plan::{MarkPolicy, Node, NodeId, StreamPlan, columns_of, retracts},
    sinks::Port,
};

/// Chunks that a source operator decodes before others get a turn.
const CHUNKS_A_TURN: usize = 1;

/// Everything a worker needs to build its part of the query.
#[derive(Clone)]
pub(crate) struct Blueprint {
    pub(crate) plan: Arc<StreamPlan>,
    pub(crate) start: Epoch,
    pub(crate) board: Arc<EpochBoard>,
    pub(crate) feeds: Vec<Arc<Feed>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) marks: MarkState,
    /// State of each operator, in the order of operator ids.
    pub(crate) seeds: Arc<std::collections::BTreeMap<OperatorId, Seed>>,
    /// Whether the sink only counts rows.
    pub(crate) only_counts: bool,
    /// What its random values are made from; the same at each start.
    pub(crate) query_seed: u64,
    /// Whether state will be asked for.
    pub(crate) snapshots: Snapshots,
}

/// Decoders of one worker, one a source.
pub(crate) type Decoders = Vec<Box<dyn Decoder>>;

/// What of a worker's part is built.
struct Parts<'s> {
    streams: Vec<Option<DeltaStream<'s>>>,
    decoders: Vec<Option<Box<dyn Decoder>>>,
    statistics: Vec<StatisticsStream<'s>>,
}

impl<'s> Parts<'s> {
    fn stream(&self, node: NodeId) -> Result<DeltaStream<'s>, OperatorError> {
        self.streams
            .get(node.0)
            .cloned()
            .flatten()
            .ok_or_else(|| OperatorError::contract("a plan lists a node before its input"))
    }
}

/// A worker's part under construction.
struct Builder<'s> {
    blueprint: Blueprint,
    messages: Sender<Message>,
    environment: OperatorEnvironment,
    scope: Scope<'s, u64>,
    ownership: Ownership,
}

/// Builds the dataflow of a plan on this worker.
///
/// # Errors
/// When an operator cannot be made from its spec or seed.
pub(crate) fn build(
    worker: &mut Worker,
    blueprint: &Blueprint,
    decoders: Decoders,
    messages: Sender<Message>,
) -> Result<(), OperatorError> {
    let (index, peers) = (worker.index(), worker.peers());
    let reporter = reporter(index, messages.clone());
    worker.dataflow::<u64, _, _>(|scope| {
        let builder = Builder {
            environment: OperatorEnvironment {
                start: blueprint.start,
                board: blueprint.board.clone(),
                reporter,
            },
            blueprint: blueprint.clone(),
            messages,
            scope,
            ownership: Ownership {
                worker: index,
                workers: peers,
            },
        };
        builder.query(decoders)
    })
}

fn reporter(worker: usize, messages: Sender<Message>) -> Rc<dyn Fn(OperatorEvent)> {
    Rc::new(move |event| {
        let message = match event {
            OperatorEvent::Failed(fault) => Message::Failed(fault),
            OperatorEvent::Closed {
                operator,
                epoch,
                report,
            } => Message::Operator {
                operator,
                epoch,
                report,
            },
            OperatorEvent::Tapped {
                operator,
                epoch,
                changes,
            } => Message::Tapped {
                worker,
                operator,
                epoch,
                changes,
            },
        };
        // A coordinator that is gone has told everybody to stop.
        let _gone = messages.send(message);
    })
}

impl<'s> Builder<'s> {
    fn query(self, decoders: Decoders) -> Result<(), OperatorError> {
        let plan = self.blueprint.plan.clone();
        let mut parts = Parts {
            streams: vec![None; plan.nodes.len()],
            decoders: decoders.into_iter().map(Some).collect(),
            statistics: Vec::new(),
        };
        // All definitions make one mark, which stateful operators need: everything below them is
        // built first, whatever branch it is in.
        for (index, node) in plan.nodes.iter().enumerate() {
            parts.streams[index] = self.stateless(node, &mut parts)?;
        }
        let marks = (!parts.statistics.is_empty())
            .then(|| self.marks(std::mem::take(&mut parts.statistics)));
        for (index, node) in plan.nodes.iter().enumerate() {
            if parts.streams[index].is_none() {
                parts.streams[index] = self.stateful(node, &mut parts, marks.as_ref())?;
            }
        }
        if !parts.statistics.is_empty() {
            return Err(OperatorError::contract(
                "a watermark is defined above a stateful operator",
            ));
        }
        self.sink(Port::Result, parts.stream(plan.output)?);
        if let Some(late) = &plan.late {
            self.sink(Port::Late, parts.stream(late.node)?);
        }
        Ok(())
    }

    /// Builds a node whose inputs are all there.
    fn stateful(
        &self,
        node: &Node,
        parts: &mut Parts<'s>,
        marks: Option<&MarkStream<'s>>,
    ) -> Result<Option<DeltaStream<'s>>, OperatorError> {
        let seed = |operator| self.blueprint.seeds.get(operator);
        Ok(Some(match node {
            Node::Aggregate {
                input,
                operator,
                spec,
            } => {
                let input = parts.stream(*input)?;
                self.aggregate(*operator, spec, input, marks.cloned())?
            }
            Node::Arrange {
                input,
                order,
                limit,
            } => {
                let arrange = Arrange::new(order.clone(), *limit);
                // It holds nothing between epochs, so its name is of no account.
                let id = (OperatorId(u32::MAX), "Arrange");
                self.on_first_worker(id, parts.stream(*input)?, arrange)
            }
            Node::Limit {
                input,
                operator,
                rows,
                ..
            } => {
                let limit = Limit::new(*rows, seed(operator), self.ownership)?;
                self.on_first_worker((*operator, "Limit"), parts.stream(*input)?, limit)
            }
            Node::Top {
                input,
                operator,
                spec,
            } => {
                let top = Top::new(spec.clone(), seed(operator), self.ownership)?;
                self.on_first_worker((*operator, "Top"), parts.stream(*input)?, top)
            }
            Node::Late { input, time } => {
                let inputs = vec![(parts.stream(*input)?, Routing::Local)];
                let id = (OperatorId(u32::MAX), "LateRows");
                let environment = &self.environment;
                let late = LateRows::new(*time);
                epoch_operator(id, self.scope, inputs, marks.cloned(), environment, late)
            }
            Node::Source(_) | Node::Chain { .. } | Node::Union { .. } => {
                return self.stateless(node, parts);
            }
        }))
    }

    /// Builds a node without state, if all its inputs are there.
    fn stateless(
        &self,
        node: &Node,
        parts: &mut Parts<'s>,
    ) -> Result<Option<DeltaStream<'s>>, OperatorError> {
        Ok(match node {
            Node::Source(source) => {
                let decoder = parts
                    .decoders
                    .get_mut(source.0 as usize)
                    .and_then(Option::take)
                    .ok_or_else(|| OperatorError::contract("a source has no decoder"))?;
                Some(self.source(*source, decoder))
            }
            Node::Chain { input: from, spec } => match &parts.streams[from.0] {
                Some(input) => {
                    let chain = Chain::new(spec, self.draw_source(*from))?;
                    let (rows, noted) = chain_operator(input.clone(), chain, &self.environment);
                    if spec.marks() {
                        parts.statistics.push(noted);
                    }
                    Some(rows)
                }
                None => None,
            },
            Node::Union { inputs } => {
                let inputs: Option<Vec<_>> = inputs
                    .iter()
                    .map(|input| parts.streams[input.0].clone())
                    .collect();
                inputs.map(|inputs| self.scope.concatenate(inputs))
            }
            Node::Aggregate { .. }
            | Node::Arrange { .. }
            | Node::Limit { .. }
            | Node::Late { .. }
            | Node::Top { .. } => None,
        })
    }

    /// What random values in a chain over a node's rows are made from.
    fn draw_source(&self, input: NodeId) -> DrawSource {
        let plan = &self.blueprint.plan;
        DrawSource {
            query_seed: self.blueprint.query_seed,
            columns: columns_of(&plan.sources, &plan.nodes, input).fields().len(),
            changing: retracts(&plan.nodes, input),
        }
    }

    fn source(&self, source: SourceId, mut decoder: Box<dyn Decoder>) -> DeltaStream<'s> {
        let name = format!(
            "Source {}",
            self.blueprint.plan.sources[source.0 as usize].table
        );
        let mut builder = OperatorBuilder::new(name, self.scope);
        let address = builder.operator_info().address;
        let activator = self.scope.activator_for(address.clone());
        let waker = self.scope.worker().sync_activator_for(address.to_vec());
        let (output, stream) = builder.new_output::<Delta>();
        let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Delta>>::from(output);
        let feed = self.blueprint.feeds[source.0 as usize].clone();
        let (shared, start) = (self.blueprint.shared.clone(), self.blueprint.start);
        let (messages, ordered) = (self.messages.clone(), self.blueprint.plan.wants_origins());
        shared.register(waker);
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
                for _ in 0..CHUNKS_A_TURN {
                    if shared.is_backlogged() {
                        return;
                    }
                    match feed.poll() {
                        Polled::Empty(open) => {
                            held.downgrade(&open.0);
                            return;
                        }
                        Polled::Chunk(epoch, number, chunk) => {
                            held.downgrade(&epoch.0);
                            let mut output = output.activate();
                            let mut session = output.session(held);
                            let mut places = ordered.then(|| Places::new(source, number));
                            let decoded = decoder.decode(chunk, &mut |batch| {
                                let origin = places.as_mut().map(|at| at.next(batch.num_rows()));
                                let delta = Delta::insertions(batch).with_origin(origin);
                                session.give_container(&mut { delta });
                            });
                            drop(session);
                            match decoded {
                                Ok(report) => tell(
                                    &messages,
                                    Message::Read {
                                        epoch,
                                        source,
                                        rows: report.rows,
                                        malformed: report.malformed,
                                    },
                                ),
                                Err(error) => {
                                    failed = true;
                                    tell(&messages, Message::Failed(fault_of(&error)));
                                    return;
                                }
                            }
                        }
                    }
                }
                activator.activate();
            }
        });
        stream
    }

    fn marks(&self, statistics: Vec<StatisticsStream<'s>>) -> MarkStream<'s> {
        let plan = &self.blueprint.plan;
        let all = self.scope.concatenate(statistics);
        let rules = MarkRules {
            delays_ms: plan.marks.iter().map(|mark| mark.delay_ms).collect(),
            fastest: plan.mark_policy == MarkPolicy::Max,
            idle_ms: plan.mark_idle_ms,
        };
        let messages = self.messages.clone();
        let from = (self.blueprint.start, self.blueprint.marks.clone());
        let board = self.blueprint.board.clone();
        let clock = move |epoch| board.facts(epoch).map_or(0, |facts| facts.clock_ms);
        watermark(all, rules, from, clock, move |report| {
            tell(&messages, Message::Marked(report))
        })
    }

    fn aggregate(
        &self,
        id: OperatorId,
        spec: &AggregateSpec,
        input: DeltaStream<'s>,
        marks: Option<MarkStream<'s>>,
    ) -> Result<DeltaStream<'s>, OperatorError> {
        let seed = self.blueprint.seeds.get(&id);
        if matches!(spec.time, TimeKey::Session { .. } | TimeKey::Counted { .. }) {
            return self.by_key(id, spec, seed, input, marks);
        }
        let partial = PartialAggregate::new(spec.clone())?;
        let environment = &self.environment;
        let groups = epoch_operator(
            (id, "PartialAggregate"),
            self.scope,
            vec![(input, Routing::Local)],
            None,
            environment,
            partial,
        );
        let inputs = vec![(groups, Routing::ByKey)];
        Ok(match spec.time {
            TimeKey::Window { spec: window, .. } if !window.is_tumbling() => {
                let sliding = SlidingAggregate::new(spec.clone(), seed, self.ownership)?;
                let id = (id, "SlidingAggregate");
                epoch_operator(id, self.scope, inputs, marks, environment, sliding)
            }
            TimeKey::None
            | TimeKey::Instant { .. }
            | TimeKey::Window { .. }
            | TimeKey::Windowed { .. }
            | TimeKey::Session { .. }
            | TimeKey::Counted { .. } => {
                let total = TotalAggregate::new(spec.clone(), seed, self.ownership)?;
                let id = (id, "TotalAggregate");
                epoch_operator(id, self.scope, inputs, marks, environment, total)
            }
        })
    }

    /// Aggregations that need the rows of a key in one place.
    fn by_key(
        &self,
        id: OperatorId,
        spec: &AggregateSpec,
        seed: Option<&Seed>,
        input: DeltaStream<'s>,
        marks: Option<MarkStream<'s>>,
    ) -> Result<DeltaStream<'s>, OperatorError> {
        let environment = &self.environment;
        let rows = epoch_operator(
            (id, "KeyRows"),
            self.scope,
            vec![(input, Routing::Local)],
            None,
            environment,
            KeyRows::new(spec),
        );
        let (inputs, spec) = (vec![(rows, Routing::ByKey)], spec.clone());
        let (owned, snapshots) = (self.ownership, self.blueprint.snapshots);
        Ok(if matches!(spec.time, TimeKey::Counted { .. }) {
            let counted = CountedAggregate::new(spec, seed, owned, snapshots)?;
            let id = (id, "CountedAggregate");
            epoch_operator(id, self.scope, inputs, None, environment, counted)
        } else if spec.retracting {
            let sessions = ChangingSessions::new(spec, seed, owned, snapshots)?;
            let id = (id, "ChangingSessions");
            epoch_operator(id, self.scope, inputs, marks, environment, sessions)
        } else {
            let sessions = SessionAggregate::new(spec, seed, owned, snapshots)?;
            let id = (id, "SessionAggregate");
            epoch_operator(id, self.scope, inputs, marks, environment, sessions)
        })
    }

    /// An operator to which all rows of all workers go.
    fn on_first_worker<O: EpochOperator>(
        &self,
        id: (OperatorId, &str),
        input: DeltaStream<'s>,
        operator: O,
    ) -> DeltaStream<'s> {
        // Rows without a key hash are routed to the first worker.
        let inputs = vec![(input, Routing::ByKey)];
        epoch_operator(id, self.scope, inputs, None, &self.environment, operator)
    }

    /// An end of the dataflow: rows go to the coordinator, closed epochs are reported.
    fn sink(&self, port: Port, rows: DeltaStream<'s>) {
        let mut builder = OperatorBuilder::new("Sink".to_owned(), self.scope);
        let mut input = builder.new_input(rows, Pipeline);
        let messages = self.messages.clone();
        let only_counts = self.blueprint.only_counts && port == Port::Result;
        let shared = self.blueprint.shared.clone();
        let (mut next, worker) = (self.blueprint.start, self.ownership.worker);
        builder.build(move |_capabilities| {
            move |frontiers| {
                input.for_each(|time, delta| {
                    let epoch = epoch_of(&time);
                    let (rows, signs) = std::mem::take(delta).into_parts();
                    if only_counts {
                        let signed = signs.map_or(rows.num_rows(), |signs| signs.len());
                        tell(
                            &messages,
                            Message::Counted {
                                epoch,
                                worker,
                                rows: signed as u64,
                            },
                        );
                    } else {
                        shared.add_backlog(batch_bytes(&rows));
                        tell(
                            &messages,
                            Message::Rows {
                                port,
                                epoch,
                                worker,
                                rows,
                                signs,
                            },
                        );
                    }
                });
                // An empty frontier means that the query is stopping: nothing more is closed.
                while frontiers[0]
                    .frontier()
                    .first()
                    .is_some_and(|open| *open > next.0)
                {
                    tell(
                        &messages,
                        Message::Closed {
                            epoch: next,
                            worker,
                        },
                    );
                    next = next.next();
                }
            }
        });
    }
}

/// Places of rows in the input of their epoch: chunk by chunk, then source by source, row by row.
struct Places {
    next: u64,
}

impl Places {
    fn new(source: SourceId, chunk: u32) -> Places {
        // Rows of a chunk take 32 bits, sources 8: sources beyond share a place, and rows in one
        // place are told apart by their values.
        let source = u64::from(source.0.min(0xFF));
        Places {
            next: (u64::from(chunk) & 0xFF_FFFF) << 40 | source << 32,
        }
    }

    fn next(&mut self, rows: usize) -> UInt64Array {
        let first = self.next;
        self.next += rows as u64;
        UInt64Array::from_iter_values(first..self.next)
    }
}

fn tell(messages: &Sender<Message>, message: Message) {
    // A coordinator that is gone has told everybody to stop.
    let _gone = messages.send(message);
}

fn fault_of(error: &ConnectorError) -> Fault {
    error.fault()
}
