//! A plan in lines that stay the same as long as its state can be read.
//!
//! Sources by table and connector; stateful operators by keys, functions and types. Filters, file
//! limits, delays of watermarks and output modes may change between runs and are left out. How several
//! watermarks make one may not: the mark would jump.

use std::fmt::Write;

use millstream_operators::{
    aggregate::{AggregateSpec, TimeKey},
    chain::{ChainSpec, Step},
};
use millstream_runtime::plan::{MarkPolicy, Node, NodeId, SourceNode};

use crate::types::spark_name;

/// The identity of a plan with so many watermarks.
pub(crate) fn identity(
    sources: &[SourceNode],
    nodes: &[Node],
    marks: usize,
    policy: MarkPolicy,
) -> String {
    let mut text = String::new();
    if marks > 1 && policy == MarkPolicy::Max {
        let _ = writeln!(text, "watermarks policy=max");
    }
    for (idx, source) in sources.iter().enumerate() {
        let name = source.factory.name();
        let _ = writeln!(text, "source {idx} {} connector={name}", source.table);
    }
    for node in nodes {
        match node {
            Node::Aggregate {
                input,
                operator,
                spec,
            } => {
                let state = state(spec, nodes, *input);
                let _ = writeln!(text, "aggregate {} {state}", operator.0);
            }
            Node::Limit { operator, rows, .. } => {
                let _ = writeln!(text, "limit {} rows={rows}", operator.0);
            }
            Node::Top { operator, spec, .. } => {
                let (order, skip, rows) = (&spec.order, spec.skip, spec.rows);
                let _ = writeln!(text, "top {} {order:?} {skip} {rows}", operator.0);
            }
            Node::Source(_)
            | Node::Chain { .. }
            | Node::Union { .. }
            | Node::Late { .. }
            | Node::Arrange { .. } => {}
        }
    }
    text
}

fn state(spec: &AggregateSpec, nodes: &[Node], input: NodeId) -> String {
    let column = |idx: usize| {
        let data_type = spark_name(spec.input.field(idx).data_type());
        match nodes.get(input.0) {
            Some(Node::Chain { spec, .. }) => format!("{}:{data_type}", computed(spec, idx)),
            _ => format!("{}:{data_type}", spec.input.field(idx).name()),
        }
    };
    let list = |columns: &[usize]| {
        let texts: Vec<String> = columns.iter().map(|idx| column(*idx)).collect();
        texts.join(", ")
    };
    let time = match spec.time {
        TimeKey::None => "none".to_owned(),
        TimeKey::Instant { column: idx } => format!("instant({})", column(idx)),
        TimeKey::Windowed { column: idx } => format!("windowed({})", column(idx)),
        TimeKey::Window { column: idx, spec } => format!(
            "window({}, {}, {}, {})",
            column(idx),
            spec.size,
            spec.slide,
            spec.start
        ),
        TimeKey::Counted { rows } => format!("counted({rows})"),
        TimeKey::Session { column: idx, gap } => {
            format!("session({}, {})", column(idx), column(gap))
        }
    };
    let calls: Vec<String> = spec
        .calls
        .iter()
        .map(|call| {
            let filter = call
                .filter
                .map(|idx| format!(" filter {}", column(idx)))
                .unwrap_or_default();
            let name = call.function.fun().name();
            let arguments = list(&call.arguments);
            let of = [
                (call.distinct, "distinct "),
                (call.function.ignore_nulls(), "not null "),
                (call.retracting, "changing "),
            ];
            let of: String = of
                .into_iter()
                .filter_map(|(is, word)| is.then_some(word))
                .collect();
            format!("{name}({of}{arguments}){filter}")
        })
        .collect();
    format!(
        "time={time} keys=[{}] calls=[{}]",
        list(&spec.keys),
        calls.join(", ")
    )
}

/// The expression of a column after the last projection of a chain.
pub(crate) fn computed(chain: &ChainSpec, idx: usize) -> String {
    let project = chain.steps.iter().rev().find_map(|step| match step {
        Step::Project { expressions, .. } => expressions.get(idx),
        Step::Filter(_) | Step::Mark { .. } | Step::Unnest { .. } => None,
    });
    project.map_or_else(
        || chain.output.field(idx).name().clone(),
        std::string::ToString::to_string,
    )
}
