//! A plan in lines that stay the same as long as its state can be read.
//!
//! Sources by table and connector. Stateful operators by what their state consists of: keys and event
//! time with what they are made of, functions with the *types* of their arguments. How an argument is
//! computed may change, and so may filters, projections and FILTER clauses, file limits, delays of
//! watermarks and output modes: after an error in an expression a query can be mended and go on. Two
//! things may not. Over rows that are taken back the state holds values of the arguments, so these and
//! the conditions on the way are spelled out: with others, a row would be taken back that was never
//! given. And how several watermarks make one: the mark would jump.

use std::fmt::Write;

use millstream_operators::{
    aggregate::{AggregateCall, AggregateSpec, TimeKey},
    join::{DedupSpec, JoinSpec, KeyLife, OverSpec},
    sort::SortColumn,
    top::TopSpec,
};
use millstream_runtime::plan::{MarkPolicy, Node, NodeId, SourceNode};

use crate::{spelling::Speller, types::spark_name};

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
    let speller = Speller::new(sources, nodes);
    for node in nodes {
        match node {
            Node::Aggregate {
                input,
                operator,
                spec,
            } => {
                let state = aggregate(spec, &speller, *input);
                let _ = writeln!(text, "aggregate {} {state}", operator.0);
            }
            Node::Limit { operator, rows, .. } => {
                let _ = writeln!(text, "limit {} rows={rows}", operator.0);
            }
            Node::Top {
                input,
                operator,
                spec,
            } => {
                let state = top(spec, &speller, *input);
                let _ = writeln!(text, "top {} {state}", operator.0);
            }
            Node::Join {
                inputs,
                operator,
                spec,
            } => {
                let state = join(spec, &speller, inputs);
                let _ = writeln!(text, "join {} {state}", operator.0);
            }
            Node::Over {
                input,
                operator,
                spec,
            } => {
                let state = partitions(spec, &speller, *input);
                let _ = writeln!(text, "over {} {state}", operator.0);
            }
            Node::Dedup {
                input,
                operator,
                spec,
            } => {
                let state = dedup(spec, &speller, *input);
                let _ = writeln!(text, "dedup {} {state}", operator.0);
            }
            Node::Source(_)
            | Node::Chain { .. }
            | Node::Union { .. }
            | Node::Late { .. }
            | Node::Lookup { .. }
            | Node::Sort { .. } => {}
        }
    }
    text
}

fn aggregate(spec: &AggregateSpec, speller: &Speller<'_>, input: NodeId) -> String {
    let data_type = |idx: usize| spark_name(spec.input.field(idx).data_type());
    let column = |idx: usize| format!("{}:{}", speller.column(input, idx), data_type(idx));
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
    let keys: Vec<String> = spec.keys.iter().map(|idx| column(*idx)).collect();
    let calls: Vec<String> = spec
        .calls
        .iter()
        .map(|call| {
            let argument = |idx: &usize| match speller.literal(input, *idx) {
                // Some functions keep by what a literal says, such as the size of a sketch.
                Some(literal) => format!("{literal}:{}", data_type(*idx)),
                None if call.retracting => column(*idx),
                None => data_type(*idx),
            };
            let arguments: Vec<String> = call.arguments.iter().map(argument).collect();
            function(call, &arguments.join(", "), &column)
        })
        .collect();
    let over = over(spec.retracting, speller, input);
    let (keys, calls) = (keys.join(", "), calls.join(", "));
    format!("time={time} keys=[{keys}] calls=[{calls}]{over}")
}

fn function(call: &AggregateCall, arguments: &str, column: &dyn Fn(usize) -> String) -> String {
    let filter = call
        .filter
        .filter(|_| call.retracting)
        .map(|idx| format!(" filter {}", column(idx)))
        .unwrap_or_default();
    let of = [
        (call.distinct, "distinct "),
        (call.function.ignore_nulls(), "not null "),
        (call.retracting, "changing "),
    ];
    let of: String = of
        .into_iter()
        .filter_map(|(is, word)| is.then_some(word))
        .collect();
    let name = call.function.fun().name();
    let form = call.state_form();
    format!("{name}({of}{arguments}){filter} as {form}")
}

/// Which rows reach state that must be able to take them back.
fn over(retracting: bool, speller: &Speller<'_>, input: NodeId) -> String {
    if !retracting {
        return String::new();
    }
    match speller.conditions(input).as_slice() {
        [] => String::new(),
        conditions => format!(" over=[{}]", conditions.join(" AND ")),
    }
}

/// Whole rows by partition; the functions are computed of them anew.
fn partitions(spec: &OverSpec, speller: &Speller<'_>, input: NodeId) -> String {
    let data_type = |idx: usize| spark_name(spec.schema.field(idx).data_type());
    let keys = spec.partition.iter();
    let keys = keys.map(|idx| format!("{}:{}", speller.column(input, *idx), data_type(*idx)));
    let columns = (0..spec.schema.fields().len()).map(|idx| match spec.retracting {
        true => format!("{}:{}", speller.column(input, idx), data_type(idx)),
        false => data_type(idx),
    });
    let (keys, columns): (Vec<String>, Vec<String>) = (keys.collect(), columns.collect());
    let over = over(spec.retracting, speller, input);
    format!(
        "partition=[{}] of [{}]{over}",
        keys.join(", "),
        columns.join(", ")
    )
}

/// Keys that were seen, and when they go.
fn dedup(spec: &DedupSpec, speller: &Speller<'_>, input: NodeId) -> String {
    let column = |idx: &usize| {
        let data_type = spark_name(spec.schema.field(*idx).data_type());
        format!("{}:{data_type}", speller.column(input, *idx))
    };
    let keys: Vec<String> = spec.keys.iter().map(column).collect();
    let life = match &spec.life {
        KeyLife::Forever => "forever".to_owned(),
        KeyLife::Time { column: idx } => format!("time({})", column(idx)),
        KeyLife::Within { column: idx, .. } => format!("within({})", column(idx)),
    };
    format!("keys=[{}] life={life}", keys.join(", "))
}

/// A join holds whole rows of both sides under their keys. Which of them match may change, and for how
/// long they are kept; what they are may not.
fn join(spec: &JoinSpec, speller: &Speller<'_>, inputs: &[NodeId; 2]) -> String {
    let mut text = format!("kind={:?}", spec.kind);
    for ((side, input), name) in spec.sides.iter().zip(inputs).zip(["left", "right"]) {
        let data_type = |idx: usize| spark_name(side.schema.field(idx).data_type());
        let keys: Vec<String> = side
            .keys
            .iter()
            .map(|idx| format!("{}:{}", speller.column(*input, *idx), data_type(*idx)))
            .collect();
        let columns: Vec<String> = (0..side.schema.fields().len())
            .map(|idx| match side.retracting {
                true => format!("{}:{}", speller.column(*input, idx), data_type(idx)),
                false => data_type(idx),
            })
            .collect();
        let over = over(side.retracting, speller, *input);
        let (keys, columns) = (keys.join(", "), columns.join(", "));
        let _ = write!(text, " {name}=[{keys}] of [{columns}]{over}");
    }
    text
}

/// The first rows hold whole rows: their types, and what they are made of where they may change.
fn top(spec: &TopSpec, speller: &Speller<'_>, input: NodeId) -> String {
    let fields = spec.schema.fields().iter().enumerate();
    let columns: Vec<String> = fields
        .map(|(idx, field)| {
            let data_type = spark_name(field.data_type());
            match spec.retracting {
                true => format!("{}:{data_type}", speller.column(input, idx)),
                false => data_type,
            }
        })
        .collect();
    let order: Vec<String> = spec.order.iter().map(sorted).collect();
    let over = over(spec.retracting, speller, input);
    let (columns, order) = (columns.join(", "), order.join(", "));
    let (skip, rows) = (spec.skip, spec.rows);
    format!("columns=[{columns}] order=[{order}] skip={skip} rows={rows}{over}")
}

fn sorted(by: &SortColumn) -> String {
    let direction = if by.descending { " desc" } else { "" };
    let nulls = if by.nulls_first { "first" } else { "last" };
    format!("{}{direction} nulls {nulls}", by.column)
}
