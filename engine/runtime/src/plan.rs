//! A query as the runtime sees it: sources, fused chains, epoch operators, one sink.
//!
//! Made by the planner, built into a dataflow by the `lower` module. No SQL in here: whatever
//! depends on names, dialects or output-mode rules was decided before.

use std::{fmt, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use millstream_connectors_api::{ConnectorFactory, SourceRequest};
use millstream_operators::{
    aggregate::{AggregateSpec, TimeKey},
    chain::ChainSpec,
    join::{DedupSpec, JoinSpec, KeyLife, OverSpec},
    sort::SortColumn,
    top::TopSpec,
};
use millstream_types::{OperatorId, OutputMode, SourceId};

/// Index of a node in [`StreamPlan::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// One reading of a table. A table that is named twice is read twice.
#[derive(Clone)]
pub struct SourceNode {
    /// Name of the table.
    pub table: String,
    /// Opens the source at each start.
    pub factory: Arc<dyn ConnectorFactory>,
    /// What to open.
    pub request: SourceRequest,
    /// Which columns of the source the query needs, in this order.
    pub projection: Vec<usize>,
    /// The columns at `projection`.
    pub schema: SchemaRef,
}

impl fmt::Debug for SourceNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceNode")
            .field("table", &self.table)
            .field("projection", &self.projection)
            .finish_non_exhaustive()
    }
}

/// How several watermark definitions make one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MarkPolicy {
    /// The slowest counts.
    #[default]
    Min,
    /// The fastest counts.
    Max,
}

/// A watermark definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkDefinition {
    /// Which column of which table, for people: `clicks.at`.
    pub name: String,
    /// How far the mark stays behind the newest row, in milliseconds.
    pub delay_ms: i64,
}

/// A step of the dataflow. Inputs come before their users in [`StreamPlan::nodes`].
#[derive(Clone, Debug)]
pub enum Node {
    /// Rows of a source.
    Source(SourceId),
    /// Stateless steps in one operator.
    Chain {
        /// Where its rows come from.
        input: NodeId,
        /// The steps.
        spec: ChainSpec,
    },
    /// All rows of all inputs, which have the same columns.
    Union {
        /// Where its rows come from.
        inputs: Vec<NodeId>,
    },
    /// The whole rows of each epoch in order, or the first of them: ORDER BY and LIMIT above an
    /// aggregation in complete mode. Only chains, which keep the order, stand between it and the
    /// sink.
    Sort {
        /// Where its rows come from.
        input: NodeId,
        /// By what, most significant first; empty for a LIMIT alone.
        order: Vec<SortColumn>,
        /// How many rows of an epoch leave.
        limit: Option<usize>,
    },
    /// The first rows over the life of the query: LIMIT in append mode.
    Limit {
        /// Where its rows come from.
        input: NodeId,
        /// Name of its state in checkpoints and progress.
        operator: OperatorId,
        /// Its columns.
        schema: SchemaRef,
        /// How many rows leave.
        rows: u64,
    },
    /// The first rows of a result that changes: ORDER BY and LIMIT in mode `changes`.
    Top {
        /// Where its rows come from.
        input: NodeId,
        /// Name of its state in checkpoints and progress.
        operator: OperatorId,
        /// Which rows leave.
        spec: TopSpec,
    },
    /// The rows that an aggregation beside it drops as late.
    Late {
        /// Where its rows come from.
        input: NodeId,
        /// The aggregation's time key, over the columns of this input.
        time: TimeKey,
    },
    /// Rows of two streams that belong together.
    Join {
        /// Where the rows of the left and the right side come from.
        inputs: [NodeId; 2],
        /// Name of its state in checkpoints and progress.
        operator: OperatorId,
        /// Which rows, and what leaves.
        spec: JoinSpec,
    },
    /// The first row of each key.
    Dedup {
        /// Where its rows come from.
        input: NodeId,
        /// Name of its state in checkpoints and progress.
        operator: OperatorId,
        /// What makes rows the same.
        spec: DedupSpec,
    },
    /// Values that rows get from the rows of their partitions: OVER in mode `changes`.
    Over {
        /// Where its rows come from.
        input: NodeId,
        /// Name of its state in checkpoints and progress.
        operator: OperatorId,
        /// Which partitions, and which functions.
        spec: OverSpec,
    },
    /// Rows of a stream with those of a table that stands still: read at the start of the query, and again
    /// in each epoch that finds it changed.
    Lookup {
        /// Where the rows of the stream come from: the left side of the join.
        input: NodeId,
        /// Which rows, and what leaves.
        spec: JoinSpec,
        /// What gives the right side, in one epoch.
        table: Box<StreamPlan>,
    },
    /// Groups and functions: partial aggregation, exchange, final aggregation.
    Aggregate {
        /// Where its rows come from.
        input: NodeId,
        /// Name of its state in checkpoints and progress.
        operator: OperatorId,
        /// What to compute.
        spec: AggregateSpec,
    },
}

/// Where late rows leave a query.
#[derive(Clone, Debug)]
pub struct LateOutput {
    /// The step that feeds their sink.
    pub node: NodeId,
    /// Their columns.
    pub schema: SchemaRef,
}

/// A whole query, ready to run but for its sink.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// What is read.
    pub sources: Vec<SourceNode>,
    /// The watermark definitions that [`Step::Mark`](millstream_operators::chain::Step) feeds.
    pub marks: Vec<MarkDefinition>,
    /// How they make one mark.
    pub mark_policy: MarkPolicy,
    /// After how many milliseconds without a row, by the clock of the plans, a definition no longer
    /// holds the others back.
    pub mark_idle_ms: Option<i64>,
    /// The steps.
    pub nodes: Vec<Node>,
    /// The step that feeds the sink.
    pub output: NodeId,
    /// Late rows, if somebody wants them.
    pub late: Option<LateOutput>,
    /// Columns of the result.
    pub schema: SchemaRef,
    /// What reaches the sink in each epoch.
    pub mode: OutputMode,
    /// One line a node, in a stable form: what is compared when a checkpoint is opened again. It
    /// holds what state depends on (keys, functions, types, sources), not file limits or modes.
    pub identity: String,
}

impl StreamPlan {
    /// Whether an operator asks where in the input its rows stood.
    #[must_use]
    pub fn wants_origins(&self) -> bool {
        self.nodes.iter().any(|node| match node {
            Node::Aggregate { spec, .. } => spec.wants_origins(),
            Node::Limit { .. } | Node::Dedup { .. } => true,
            Node::Chain { spec, .. } => spec.draws(),
            Node::Source(_)
            | Node::Union { .. }
            | Node::Sort { .. }
            | Node::Late { .. }
            | Node::Join { .. }
            | Node::Over { .. }
            | Node::Lookup { .. }
            | Node::Top { .. } => false,
        })
    }

    /// Whether an epoch needs anything of those before it: groups, rows that were counted, watermarks.
    #[must_use]
    pub fn has_state(&self) -> bool {
        !self.marks.is_empty()
            || self.nodes.iter().any(|node| match node {
                Node::Aggregate { .. }
                | Node::Dedup { .. }
                | Node::Join { .. }
                | Node::Lookup { .. }
                | Node::Over { .. }
                | Node::Limit { .. }
                | Node::Top { .. } => true,
                Node::Source(_)
                | Node::Chain { .. }
                | Node::Union { .. }
                | Node::Sort { .. }
                | Node::Late { .. } => false,
            })
    }

    /// Whether a moved watermark may close something, so that an epoch without data is worthwhile.
    #[must_use]
    pub fn wants_no_data_epochs(&self) -> bool {
        self.nodes.iter().any(|node| match node {
            Node::Aggregate { spec, .. } => {
                spec.marked && spec.time.closes(true) && spec.mode != OutputMode::Complete
            }
            Node::Dedup { spec, .. } => spec.life != KeyLife::Forever,
            Node::Join { spec, .. } => spec.sides.iter().any(|side| side.expiry.is_some()),
            Node::Source(_)
            | Node::Chain { .. }
            | Node::Union { .. }
            | Node::Sort { .. }
            | Node::Limit { .. }
            | Node::Late { .. }
            | Node::Lookup { .. }
            | Node::Over { .. }
            | Node::Top { .. } => false,
        })
    }
}

/// The columns that leave a node.
#[must_use]
pub fn columns_of(sources: &[SourceNode], nodes: &[Node], node: NodeId) -> SchemaRef {
    match &nodes[node.0] {
        Node::Source(source) => sources[source.0 as usize].schema.clone(),
        Node::Chain { spec, .. } => spec.output.clone(),
        Node::Aggregate { spec, .. } => spec.output.clone(),
        Node::Top { spec, .. } => spec.schema.clone(),
        Node::Dedup { spec, .. } => spec.output(),
        Node::Over { spec, .. } => spec.output.clone(),
        Node::Join { spec, .. } | Node::Lookup { spec, .. } => spec.output.clone(),
        Node::Limit { schema, .. } => schema.clone(),
        Node::Sort { input, .. } | Node::Late { input, .. } => columns_of(sources, nodes, *input),
        Node::Union { inputs } => inputs.first().map_or_else(
            || Arc::new(Schema::empty()),
            |first| columns_of(sources, nodes, *first),
        ),
    }
}

/// Whether a node takes rows back that it gave.
#[must_use]
pub fn retracts(nodes: &[Node], node: NodeId) -> bool {
    match &nodes[node.0] {
        Node::Source(_) | Node::Late { .. } => false,
        Node::Chain { input, .. }
        | Node::Sort { input, .. }
        | Node::Limit { input, .. }
        | Node::Dedup { input, .. }
        | Node::Lookup { input, .. } => retracts(nodes, *input),
        Node::Union { inputs } => inputs.iter().any(|input| retracts(nodes, *input)),
        Node::Top { .. } | Node::Over { .. } => true,
        Node::Join { spec, .. } => spec.takes_back(),
        Node::Aggregate { spec, .. } => spec.mode == OutputMode::Changes,
    }
}

/// How many milliseconds the watermark of a node's rows is behind that of the query: rows of a join may
/// be as old as it keeps them.
#[must_use]
pub fn mark_delay(nodes: &[Node], node: NodeId) -> i64 {
    let node = &nodes[node.0];
    let below = node.inputs().iter().map(|input| mark_delay(nodes, *input));
    let own = match node {
        Node::Join { spec, .. } => spec.mark_delay_ms(),
        Node::Source(_)
        | Node::Chain { .. }
        | Node::Union { .. }
        | Node::Sort { .. }
        | Node::Limit { .. }
        | Node::Top { .. }
        | Node::Late { .. }
        | Node::Dedup { .. }
        | Node::Over { .. }
        | Node::Lookup { .. }
        | Node::Aggregate { .. } => 0,
    };
    below.max().unwrap_or(0).saturating_add(own)
}

impl Node {
    /// The nodes that it reads, in the order of its ports.
    #[must_use]
    pub fn inputs(&self) -> &[NodeId] {
        match self {
            Node::Source(_) => &[],
            Node::Union { inputs } => inputs,
            Node::Join { inputs, .. } => inputs,
            Node::Chain { input, .. }
            | Node::Sort { input, .. }
            | Node::Limit { input, .. }
            | Node::Top { input, .. }
            | Node::Late { input, .. }
            | Node::Dedup { input, .. }
            | Node::Over { input, .. }
            | Node::Lookup { input, .. }
            | Node::Aggregate { input, .. } => std::slice::from_ref(input),
        }
    }
}
