//! Which output modes a query allows: Spark's matrix, and `changes`, which allows everything.

use datafusion::{common::tree_node::TreeNode, logical_expr::LogicalPlan};
use millstream_operators::{
    aggregate::{AggregateSpec, TimeKey},
    join::{JoinKind, JoinSpec, KeyLife},
};
use millstream_runtime::plan::{Node, NodeId, StreamPlan};
use millstream_types::OutputMode;

use crate::SqlError;

/// All modes, in the order in which hints name them.
pub const ALL: [OutputMode; 4] = [
    OutputMode::Append,
    OutputMode::Update,
    OutputMode::Complete,
    OutputMode::Changes,
];

/// Why a plan is not allowed in a mode.
enum Refusal {
    Mode(&'static str),
    /// The lowering has refused it already with its own words.
    Lowered,
    Chained,
}

/// The modes in which a plan can run, whatever mode it was made for.
#[must_use]
pub fn allowed_modes(plan: &StreamPlan) -> Vec<OutputMode> {
    allowed(plan, true)
}

fn allowed(plan: &StreamPlan, check_chains: bool) -> Vec<OutputMode> {
    ALL.into_iter()
        .filter(|mode| refusal(plan, *mode, check_chains).is_none())
        .collect()
}

/// Checks a plan against the mode that it was made for.
pub(crate) fn check(plan: &StreamPlan, check_chains: bool) -> Result<(), SqlError> {
    let mode = plan.mode;
    match refusal(plan, mode, check_chains) {
        None | Some(Refusal::Lowered) => Ok(()),
        Some(Refusal::Mode(what)) => Err(SqlError::Mode {
            mode,
            what,
            allowed: allowed(plan, check_chains),
        }),
        Some(Refusal::Chained) => Err(SqlError::Chained {
            mode,
            allowed: allowed(plan, check_chains),
        }),
    }
}

/// Checks what can be told before nodes are built: complete mode needs an aggregation. The other
/// modes are tried only for the hint.
pub(crate) fn check_shape(
    plan: &LogicalPlan,
    mode: OutputMode,
    runs_in: impl Fn(OutputMode) -> bool,
) -> Result<(), SqlError> {
    let aggregates = plan
        .exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(_))))
        .unwrap_or(true);
    if mode != OutputMode::Complete || aggregates {
        return Ok(());
    }
    let others = ALL.into_iter().filter(|other| *other != mode);
    Err(SqlError::Mode {
        mode,
        what: NO_AGGREGATION,
        allowed: others.filter(|other| runs_in(*other)).collect(),
    })
}

const NO_AGGREGATION: &str = "a query with no streaming aggregations";

fn refusal(plan: &StreamPlan, mode: OutputMode, check_chains: bool) -> Option<Refusal> {
    let aggregates: Vec<&AggregateSpec> = plan
        .nodes
        .iter()
        .filter_map(|node| match node {
            Node::Aggregate { spec, .. } => Some(spec),
            Node::Source(_)
            | Node::Chain { .. }
            | Node::Union { .. }
            | Node::Sort { .. }
            | Node::Limit { .. }
            | Node::Late { .. }
            | Node::Join { .. }
            | Node::Lookup { .. }
            | Node::Dedup { .. }
            | Node::Over { .. }
            | Node::Top { .. } => None,
        })
        .collect();
    if mode != plan.mode && is_refused_below(plan, mode) {
        return Some(Refusal::Lowered);
    }
    let is_session = |spec: &&AggregateSpec| matches!(spec.time, TimeKey::Session { .. });
    let reason = if let Some(what) = outer_join(plan, mode) {
        Some(what)
    } else if mode == OutputMode::Append && aggregates.iter().any(|spec| !closes(spec)) {
        Some("streaming aggregations without watermark")
    } else if mode == OutputMode::Update && aggregates.iter().any(is_session) {
        Some("session window streaming aggregations")
    } else if mode == OutputMode::Complete && aggregates.is_empty() {
        Some(NO_AGGREGATION)
    } else if mode == OutputMode::Changes && reads_clock_above_changes(plan) {
        Some("the clock above rows that are taken back")
    } else {
        None
    };
    if let Some(what) = reason {
        return Some(Refusal::Mode(what));
    }
    if mode == OutputMode::Changes {
        return None;
    }
    if aggregates
        .iter()
        .any(|spec| is_session(spec) && spec.keys.is_empty())
    {
        return Some(Refusal::Mode(
            "a session window without another grouping key",
        ));
    }
    (mode != OutputMode::Append && check_chains && is_chained(plan)).then_some(Refusal::Chained)
}

/// Whether ORDER BY, LIMIT or DISTINCT inside a function forbids a mode.
fn is_refused_below(plan: &StreamPlan, mode: OutputMode) -> bool {
    plan.nodes.iter().any(|node| match node {
        Node::Sort { order, .. } if !order.is_empty() => {
            !matches!(mode, OutputMode::Complete | OutputMode::Changes)
        }
        Node::Sort { .. } | Node::Limit { .. } => mode == OutputMode::Update,
        // Made for `changes` only; this is what other modes make of it.
        Node::Top { input, spec, .. } => match mode {
            OutputMode::Append => !spec.order.is_empty() || spec.skip > 0,
            OutputMode::Update => true,
            OutputMode::Complete => spec.skip > 0 || !reaches_state(plan, *input),
            OutputMode::Changes | _ => false,
        },
        Node::Over { .. } => mode != OutputMode::Changes,
        Node::Aggregate { spec, .. } => {
            mode != OutputMode::Changes && spec.calls.iter().any(|call| call.distinct)
        }
        // Made for `changes`: what is not final there may never be elsewhere.
        Node::Join { spec, .. } => mode != OutputMode::Changes && !is_final(spec),
        // In `changes` a table that stands still has nothing above rows that are taken back.
        Node::Lookup { input, .. } | Node::Dedup { input, .. } => {
            mode == OutputMode::Changes && may_change(plan, *input)
        }
        Node::Source(_) | Node::Chain { .. } | Node::Union { .. } | Node::Late { .. } => false,
    })
}

/// Whether rows without a partner are final at some time.
fn is_final(spec: &JoinSpec) -> bool {
    [0, 1]
        .into_iter()
        .all(|side| !spec.kind.keeps_unmatched(side) || spec.sides[side].expiry.is_some())
}

/// Rows without a partner are final in append, and may change in `changes`; there is no third way.
fn outer_join(plan: &StreamPlan, mode: OutputMode) -> Option<&'static str> {
    let is_outer = plan.nodes.iter().any(|node| match node {
        Node::Join { spec, .. } => {
            !spec.is_once && (spec.kind.keeps_unmatched(0) || spec.kind.keeps_unmatched(1))
        }
        Node::Source(_)
        | Node::Chain { .. }
        | Node::Union { .. }
        | Node::Sort { .. }
        | Node::Limit { .. }
        | Node::Late { .. }
        | Node::Lookup { .. }
        | Node::Dedup { .. }
        | Node::Over { .. }
        | Node::Aggregate { .. }
        | Node::Top { .. } => false,
    });
    (is_outer && matches!(mode, OutputMode::Update | OutputMode::Complete))
        .then_some("outer joins of two streams")
}

/// Whether the groups of an aggregation are final at some time.
fn closes(spec: &AggregateSpec) -> bool {
    spec.time.closes(spec.marked)
}

fn is_chained(plan: &StreamPlan) -> bool {
    plan.nodes.iter().any(|node| match node {
        Node::Aggregate { input, .. } => reaches_state(plan, *input),
        Node::Join { inputs, .. } => inputs.iter().any(|input| reaches_state(plan, *input)),
        Node::Dedup { input, spec, .. } => {
            spec.life != KeyLife::Forever && reaches_state(plan, *input)
        }
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

/// Whether the clock is read where rows may be taken back in a later epoch. That epoch has another
/// clock, so that a row would be taken back that was never given. Random values have no such trouble:
/// there they come from the values of the row.
fn reads_clock_above_changes(plan: &StreamPlan) -> bool {
    plan.nodes.iter().any(|node| match node {
        Node::Chain { input, spec } => spec.reads_clock() && may_change(plan, *input),
        Node::Aggregate { .. }
        | Node::Source(_)
        | Node::Union { .. }
        | Node::Sort { .. }
        | Node::Limit { .. }
        | Node::Late { .. }
        | Node::Join { .. }
        | Node::Lookup { .. }
        | Node::Dedup { .. }
        | Node::Over { .. }
        | Node::Top { .. } => false,
    })
}

/// Whether rows of a node are taken back in mode `changes`.
fn may_change(plan: &StreamPlan, node: NodeId) -> bool {
    match &plan.nodes[node.0] {
        Node::Aggregate { .. } | Node::Top { .. } | Node::Over { .. } => true,
        Node::Join { inputs, spec, .. } => {
            spec.kind != JoinKind::Inner || inputs.iter().any(|input| may_change(plan, *input))
        }
        Node::Source(_) | Node::Late { .. } => false,
        Node::Chain { input, .. }
        | Node::Sort { input, .. }
        | Node::Limit { input, .. }
        | Node::Dedup { input, .. }
        | Node::Lookup { input, .. } => may_change(plan, *input),
        Node::Union { inputs } => inputs.iter().any(|input| may_change(plan, *input)),
    }
}

fn reaches_state(plan: &StreamPlan, node: NodeId) -> bool {
    match &plan.nodes[node.0] {
        Node::Aggregate { .. } => true,
        Node::Source(_) => false,
        Node::Chain { input, .. }
        | Node::Sort { input, .. }
        | Node::Limit { input, .. }
        | Node::Late { input, .. }
        | Node::Lookup { input, .. }
        | Node::Dedup { input, .. }
        | Node::Over { input, .. }
        | Node::Top { input, .. } => reaches_state(plan, *input),
        Node::Union { inputs } => inputs.iter().any(|input| reaches_state(plan, *input)),
        Node::Join { inputs, .. } => inputs.iter().any(|input| reaches_state(plan, *input)),
    }
}
