//! From a plan to one timely dataflow, the same on every worker.

use std::{cell::Cell, collections::BTreeMap, rc::Rc, sync::Arc};

use millstream_connectors_api::{Decoder, SinkEncoder};
use millstream_operators::{
    aggregate::{
        AggregateSpec, ChangingSessions, CountedAggregate, KeyRows, PartialAggregate, Seed,
        SessionAggregate, SlidingAggregate, TimeKey, TotalAggregate,
    },
    board::EpochBoard,
    chain::{Chain, operator::chain_operator},
    draw::DrawSource,
    driver::{
        DeltaStream, EpochOperator, MarkStream, OperatorEnvironment, OperatorEvent, Routing,
        epoch_operator,
    },
    error::OperatorError,
    join::{ChangingJoin, Dedup, DedupSpec, Join, JoinSpec, Lookup, Over, OverSpec, StaticRows},
    late::LateRows,
    sort::{Limit, Sort},
    state::{Ownership, Snapshots},
    top::Top,
    watermark::{MarkRules, MarkState, StatisticsStream, watermark},
};
use millstream_types::{Epoch, OperatorId, SourceId, Watermark};
use timely::{
    dataflow::{
        Scope,
        operators::{Concatenate, vec::Map},
    },
    worker::Worker,
};

use crate::{
    ends::{self, Closing, Input, Output},
    intake::Intake,
    message::Said,
    plan::{MarkPolicy, Node, NodeId, StreamPlan, columns_of, mark_delay, retracts},
    restore::Seeds,
    shared::Shared,
    sinks::{Encoders, Port},
    speaker::Speaker,
};

/// Everything a worker needs to build its part of the query.
#[derive(Clone)]
pub(crate) struct Blueprint {
    pub(crate) plan: Arc<StreamPlan>,
    pub(crate) start: Epoch,
    pub(crate) board: Arc<EpochBoard>,
    pub(crate) intakes: Vec<Arc<Intake>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) marks: MarkState,
    /// Whether the sink only counts rows.
    pub(crate) only_counts: bool,
    /// What its random values are made from; the same at each start.
    pub(crate) query_seed: u64,
    /// Whether state will be asked for.
    pub(crate) snapshots: Snapshots,
    /// Tables that stand still, by the place of the node that joins them.
    pub(crate) statics: BTreeMap<usize, Arc<dyn StaticRows>>,
}

/// What a worker is built with and does not keep: decoders, one a source, encoders, one a sink, and
/// the state of a snapshot, which would otherwise stand in memory twice for the life of the query.
#[derive(Default)]
pub(crate) struct Tools {
    pub(crate) decoders: Vec<Box<dyn Decoder>>,
    pub(crate) encoders: Encoders,
    /// State of each operator.
    pub(crate) seeds: Seeds,
}

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
    speaker: Rc<Speaker>,
    closing: Rc<Closing>,
    environment: OperatorEnvironment,
    scope: Scope<'s, u64>,
    ownership: Ownership,
    seeds: Seeds,
}

/// Builds the dataflow of a plan on this worker.
///
/// # Errors
/// When an operator cannot be made from its spec or seed.
pub(crate) fn build(
    worker: &mut Worker,
    blueprint: &Blueprint,
    tools: Tools,
    speaker: &Rc<Speaker>,
) -> Result<(), OperatorError> {
    let (index, peers) = (worker.index(), worker.peers());
    let start = blueprint.start;
    let ports = 1 + usize::from(blueprint.plan.late.is_some());
    let drivers = Rc::<Cell<u32>>::default();
    let unfolding = Rc::<Cell<usize>>::default();
    worker.dataflow::<u64, _, _>(|scope| {
        let builder = Builder {
            environment: OperatorEnvironment {
                start,
                board: blueprint.board.clone(),
                drivers: drivers.clone(),
                pressure: blueprint.shared.pressure(),
                unfolding: unfolding.clone(),
                reporter: reporter(start, speaker.clone()),
            },
            blueprint: blueprint.clone(),
            seeds: tools.seeds.clone(),
            closing: Closing::new(start, ports, speaker.clone()),
            speaker: speaker.clone(),
            scope,
            ownership: Ownership {
                worker: index,
                workers: peers,
            },
        };
        builder.query(tools)
    })?;
    let givers = u64::from(drivers.get());
    speaker.say(start, Said::Built { givers });
    Ok(())
}

fn reporter(start: Epoch, speaker: Rc<Speaker>) -> Rc<dyn Fn(OperatorEvent)> {
    Rc::new(move |event| match event {
        OperatorEvent::Failed(fault) => speaker.say(start, Said::Failed(fault)),
        OperatorEvent::Closed {
            operator,
            epoch,
            report,
        } => speaker.say(epoch, Said::Operator { operator, report }),
        OperatorEvent::Tapped {
            operator,
            epoch,
            changes,
        } => speaker.say(epoch, Said::Tapped { operator, changes }),
    })
}

impl<'s> Builder<'s> {
    fn query(self, tools: Tools) -> Result<(), OperatorError> {
        let Tools {
            decoders, encoders, ..
        } = tools;
        let plan = self.blueprint.plan.clone();
        let mut parts = Parts {
            streams: vec![None; plan.nodes.len()],
            decoders: decoders.into_iter().map(Some).collect(),
            statistics: Vec::new(),
        };
        // All definitions make one mark, which stateful operators need: everything below them is
        // built first, whatever branch it is in.
        for (index, node) in plan.nodes.iter().enumerate() {
            parts.streams[index] = self.stateless((index, node), &mut parts)?;
        }
        let marks = (!parts.statistics.is_empty())
            .then(|| self.marks(std::mem::take(&mut parts.statistics)));
        for (index, node) in plan.nodes.iter().enumerate() {
            if parts.streams[index].is_none() {
                parts.streams[index] = self.stateful((index, node), &mut parts, marks.as_ref())?;
            }
        }
        if !parts.statistics.is_empty() {
            return Err(OperatorError::contract(
                "a watermark is defined above a stateful operator",
            ));
        }
        self.sink(Port::Result, encoders.result, parts.stream(plan.output)?);
        if let Some(late) = &plan.late {
            self.sink(Port::Late, encoders.late, parts.stream(late.node)?);
        }
        Ok(())
    }

    /// Builds a node whose inputs are all there.
    fn stateful(
        &self,
        (index, node): (usize, &Node),
        parts: &mut Parts<'s>,
        marks: Option<&MarkStream<'s>>,
    ) -> Result<Option<DeltaStream<'s>>, OperatorError> {
        let (seed, owned) = (|operator| self.seeds.get(operator), self.ownership);
        let marks = || self.marks_of(node, marks);
        Ok(Some(match node {
            Node::Aggregate {
                input,
                operator,
                spec,
            } => {
                let input = parts.stream(*input)?;
                self.aggregate(*operator, spec, input, marks())?
            }
            Node::Join {
                inputs: [left, right],
                operator,
                spec,
            } => {
                let inputs = [parts.stream(*left)?, parts.stream(*right)?];
                self.join(*operator, spec, inputs, marks())?
            }
            Node::Over {
                input,
                operator,
                spec,
            } => self.over(*operator, spec, parts.stream(*input)?)?,
            Node::Dedup {
                input,
                operator,
                spec,
            } => self.dedup(*operator, spec, parts.stream(*input)?, marks())?,
            Node::Sort {
                input,
                order,
                limit,
            } => {
                // It holds nothing between epochs, so its name is of no account.
                let id = (OperatorId(u32::MAX), "Sort");
                let sort = Sort::new(order.clone(), *limit);
                self.on_first_worker(id, parts.stream(*input)?, sort)
            }
            Node::Limit {
                input,
                operator,
                rows,
                ..
            } => {
                let limit = Limit::new(*rows, seed(operator), owned)?;
                self.on_first_worker((*operator, "Limit"), parts.stream(*input)?, limit)
            }
            Node::Top {
                input,
                operator,
                spec,
            } => {
                let top = Top::new(spec.clone(), seed(operator), owned)?;
                self.on_first_worker((*operator, "Top"), parts.stream(*input)?, top)
            }
            Node::Late { input, time } => self.late(*time, parts.stream(*input)?, marks()),
            Node::Source(_) | Node::Chain { .. } | Node::Union { .. } | Node::Lookup { .. } => {
                return self.stateless((index, node), parts);
            }
        }))
    }

    /// Builds a node without state, if all its inputs are there.
    fn stateless(
        &self,
        (index, node): (usize, &Node),
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
            Node::Lookup { input, spec, .. } => {
                let rows = self.blueprint.statics.get(&index).cloned();
                let rows =
                    rows.ok_or_else(|| OperatorError::contract("a join has no static table"))?;
                parts.streams[input.0].clone().map(|input| {
                    let lookup = Lookup::new(spec.clone(), rows);
                    // It holds nothing between epochs, so its name is of no account.
                    let id = (OperatorId(u32::MAX), "Lookup");
                    let inputs = vec![(input, Routing::Local)];
                    epoch_operator(id, self.scope, inputs, None, &self.environment, lookup)
                })
            }
            Node::Aggregate { .. }
            | Node::Join { .. }
            | Node::Dedup { .. }
            | Node::Over { .. }
            | Node::Sort { .. }
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

    fn source(&self, source: SourceId, decoder: Box<dyn Decoder>) -> DeltaStream<'s> {
        let at = source.0 as usize;
        let name = format!("Source {}", self.blueprint.plan.sources[at].table);
        let input = Input {
            source,
            decoder,
            intake: self.blueprint.intakes[at].clone(),
            shared: self.blueprint.shared.clone(),
            unfolding: self.environment.unfolding.clone(),
            speaker: self.speaker.clone(),
            is_ordered: self.blueprint.plan.wants_origins(),
        };
        ends::source(self.scope, name, self.blueprint.start, input)
    }

    fn marks(&self, statistics: Vec<StatisticsStream<'s>>) -> MarkStream<'s> {
        let plan = &self.blueprint.plan;
        let all = self.scope.concatenate(statistics);
        let rules = MarkRules {
            delays_ms: plan.marks.iter().map(|mark| mark.delay_ms).collect(),
            fastest: plan.mark_policy == MarkPolicy::Max,
            idle_ms: plan.mark_idle_ms,
        };
        let speaker = self.speaker.clone();
        let from = (self.blueprint.start, self.blueprint.marks.clone());
        let board = self.blueprint.board.clone();
        let clock = move |epoch| board.facts(epoch).map_or(0, |facts| facts.clock_ms);
        watermark(all, rules, from, clock, move |report| {
            speaker.say(report.epoch, Said::Marked(report))
        })
    }

    fn aggregate(
        &self,
        id: OperatorId,
        spec: &AggregateSpec,
        input: DeltaStream<'s>,
        marks: Option<MarkStream<'s>>,
    ) -> Result<DeltaStream<'s>, OperatorError> {
        let seed = self.seeds.get(&id);
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
            KeyRows::new(&spec.keys),
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

    /// The marks that an operator goes by: those of the query, less what joins below it keep back.
    fn marks_of(&self, node: &Node, marks: Option<&MarkStream<'s>>) -> Option<MarkStream<'s>> {
        let nodes = &self.blueprint.plan.nodes;
        let delays = node.inputs().iter().map(|input| mark_delay(nodes, *input));
        let delay = delays.max().unwrap_or(0);
        let marks = marks.cloned()?;
        if delay == 0 {
            return Some(marks);
        }
        let behind = move |ms: i64| Watermark::from_ms(ms.saturating_sub(delay)).ms();
        Some(marks.map(move |(evict, late)| (behind(evict), behind(late))))
    }

    fn join(
        &self,
        id: OperatorId,
        spec: &JoinSpec,
        inputs: [DeltaStream<'s>; 2],
        marks: Option<MarkStream<'s>>,
    ) -> Result<DeltaStream<'s>, OperatorError> {
        let environment = &self.environment;
        let keyed = inputs
            .into_iter()
            .zip(&spec.sides)
            .map(|(input, side)| (self.keyed(id, &side.keys, input), Routing::ByKey));
        let inputs: Vec<_> = keyed.collect();
        let (seed, owned) = (self.seeds.get(&id), self.ownership);
        let snapshots = self.blueprint.snapshots;
        Ok(if spec.takes_back() {
            let join = ChangingJoin::new(spec.clone(), seed, owned, snapshots)?;
            let id = (id, "ChangingJoin");
            epoch_operator(id, self.scope, inputs, marks, environment, join)
        } else {
            let join = Join::new(spec.clone(), seed, owned, snapshots)?;
            epoch_operator((id, "Join"), self.scope, inputs, marks, environment, join)
        })
    }

    /// The rows that an aggregation beside drops.
    fn late(
        &self,
        time: TimeKey,
        input: DeltaStream<'s>,
        marks: Option<MarkStream<'s>>,
    ) -> DeltaStream<'s> {
        let inputs = vec![(input, Routing::Local)];
        let id = (OperatorId(u32::MAX), "LateRows");
        let (environment, late) = (&self.environment, LateRows::new(time));
        epoch_operator(id, self.scope, inputs, marks, environment, late)
    }

    /// Rows by a key, for an operator that wants all of a key on one worker.
    fn keyed(&self, id: OperatorId, keys: &[usize], input: DeltaStream<'s>) -> DeltaStream<'s> {
        let inputs = vec![(input, Routing::Local)];
        let (name, keys) = ((id, "KeyRows"), KeyRows::new(keys));
        epoch_operator(name, self.scope, inputs, None, &self.environment, keys)
    }

    fn over(
        &self,
        id: OperatorId,
        spec: &OverSpec,
        input: DeltaStream<'s>,
    ) -> Result<DeltaStream<'s>, OperatorError> {
        let rows = self.keyed(id, &spec.partition, input);
        let (owned, snapshots) = (self.ownership, self.blueprint.snapshots);
        let over = Over::new(spec.clone(), self.seeds.get(&id), owned, snapshots)?;
        let (id, inputs) = ((id, "Over"), vec![(rows, Routing::ByKey)]);
        let environment = &self.environment;
        Ok(epoch_operator(
            id,
            self.scope,
            inputs,
            None,
            environment,
            over,
        ))
    }

    fn dedup(
        &self,
        id: OperatorId,
        spec: &DedupSpec,
        input: DeltaStream<'s>,
        marks: Option<MarkStream<'s>>,
    ) -> Result<DeltaStream<'s>, OperatorError> {
        let (environment, seed) = (&self.environment, self.seeds.get(&id));
        let rows = self.keyed(id, &spec.keys, input);
        let (owned, snapshots) = (self.ownership, self.blueprint.snapshots);
        let dedup = Dedup::new(spec.clone(), seed, owned, snapshots)?;
        let inputs = vec![(rows, Routing::ByKey)];
        let id = (id, "Dedup");
        Ok(epoch_operator(
            id,
            self.scope,
            inputs,
            marks,
            environment,
            dedup,
        ))
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

    /// Rows go to the committer, for the sink at `port`.
    fn sink(&self, port: Port, encoder: Option<Box<dyn SinkEncoder>>, rows: DeltaStream<'s>) {
        let output = Output {
            port,
            encoder,
            only_counts: self.blueprint.only_counts && port == Port::Result,
            shared: self.blueprint.shared.clone(),
            speaker: self.speaker.clone(),
            closing: self.closing.clone(),
        };
        ends::sink(self.scope, rows, self.blueprint.start, output);
    }
}
