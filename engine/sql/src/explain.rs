//! A stream plan for people (tree), for drawings (dot) and for programs (json).
//!
//! Beside the operators it says what each keeps and when that goes, which watermarks there are,
//! and in which output modes the query could run.

use std::{fmt::Write, str::FromStr};

use arrow::datatypes::{Schema, SchemaRef};
use millstream_operators::{
    aggregate::{AggregateSpec, TimeKey},
    chain::{ChainSpec, Step},
    join::{DedupSpec, JoinSpec, KeyLife, OverSpec},
    sort::SortColumn,
    top::TopSpec,
};
use millstream_runtime::plan::{MarkPolicy, Node, NodeId, SourceNode, StreamPlan, columns_of};
use millstream_types::{Interval, OutputMode};
use serde_json::{Value, json};

use crate::{SqlError, error::join_modes, modes::allowed_modes, types::spark_name};

/// The form of an explanation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExplainFormat {
    /// Indented lines.
    #[default]
    Tree,
    /// Graphviz.
    Dot,
    /// One object.
    Json,
}

impl FromStr for ExplainFormat {
    type Err = SqlError;

    fn from_str(word: &str) -> Result<ExplainFormat, SqlError> {
        match word.to_ascii_lowercase().as_str() {
            "tree" => Ok(ExplainFormat::Tree),
            "dot" => Ok(ExplainFormat::Dot),
            "json" => Ok(ExplainFormat::Json),
            _ => Err(SqlError::UnknownWord {
                kind: "explain format",
                word: word.to_owned(),
                known: &["tree", "dot", "json"],
            }),
        }
    }
}

/// Explains a plan.
#[must_use]
pub fn explain(plan: &StreamPlan, format: ExplainFormat) -> String {
    match format {
        ExplainFormat::Tree => tree(plan),
        ExplainFormat::Dot => dot(plan),
        ExplainFormat::Json => format!("{:#}\n", object(plan)),
    }
}

/// One operator in words.
struct Description {
    title: String,
    /// Lines of detail: steps of a chain, or key and value pairs.
    details: Vec<String>,
    inputs: Vec<NodeId>,
}

fn describe(plan: &StreamPlan, node: NodeId) -> Description {
    let node = &plan.nodes[node.0];
    let (title, details) = match node {
        Node::Source(id) => source(&plan.sources[id.0 as usize]),
        Node::Chain { spec, .. } => ("Chain".to_owned(), steps(plan, spec)),
        Node::Union { .. } => ("Union".to_owned(), Vec::new()),
        Node::Sort {
            input,
            order,
            limit,
        } => {
            let details = sorting(&columns(plan, *input), order, *limit);
            ("Sort".to_owned(), details)
        }
        Node::Late { .. } => {
            let detail = "rows from which the aggregation drops something";
            ("LateRows".to_owned(), vec![detail.to_owned()])
        }
        Node::Limit { operator, rows, .. } => {
            let state = "state: how many rows have left".to_owned();
            let details = vec![format!("rows: {rows}"), state];
            (format!("Limit #{}", operator.0), details)
        }
        Node::Top { operator, spec, .. } => {
            (format!("Top #{} emits=changes", operator.0), top(spec))
        }
        Node::Join { operator, spec, .. } => {
            (format!("{:?}Join #{}", spec.kind, operator.0), join(spec))
        }
        Node::Dedup { operator, spec, .. } => (format!("Dedup #{}", operator.0), dedup(spec)),
        Node::Over { operator, spec, .. } => {
            (format!("Over #{} emits=changes", operator.0), over(spec))
        }
        Node::Lookup { spec, table, .. } => {
            let title = format!("{:?}Join with a static table", spec.kind);
            (title, lookup(spec, table))
        }
        Node::Aggregate { operator, spec, .. } => {
            let title = format!("Aggregate #{} emits={}", operator.0, spec.mode);
            (title, aggregate(spec))
        }
    };
    Description {
        title,
        details,
        inputs: node.inputs().to_vec(),
    }
}

fn source(source: &SourceNode) -> (String, Vec<String>) {
    let columns: Vec<String> = source
        .schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), spark_name(field.data_type())))
        .collect();
    let title = format!(
        "Source {} connector={}",
        source.table,
        source.factory.name()
    );
    (title, vec![format!("columns: {}", columns.join(", "))])
}

fn top(spec: &TopSpec) -> Vec<String> {
    let mut details = sorting(&spec.schema, &spec.order, Some(spec.rows));
    if spec.skip > 0 {
        details.push(format!("offset: {}", spec.skip));
    }
    let held = if spec.retracting {
        "state: all rows, in order"
    } else {
        "state: the first rows, in order"
    };
    details.push(held.to_owned());
    details
}

/// What must hold of the rows of a pair.
fn pairing(spec: &JoinSpec) -> Vec<String> {
    let name = |side: usize, column: usize| spec.sides[side].schema.field(column).name().clone();
    let [left, right] = &spec.sides;
    let keys: Vec<String> = left
        .keys
        .iter()
        .zip(&right.keys)
        .map(|(l, r)| format!("{} = {}", name(0, *l), name(1, *r)))
        .collect();
    let mut details = Vec::new();
    if keys.is_empty() {
        details.push("keys: none, so every row is compared with every other".to_owned());
    } else {
        details.push(format!("keys: {}", keys.join(", ")));
    }
    if let Some(residual) = &spec.residual {
        details.push(format!("condition: {}", residual.predicate));
    }
    for (side, of) in spec.sides.iter().zip(["left", "right"]) {
        if let Some(alone) = &side.alone {
            details.push(format!("condition on the {of} side: {alone}"));
        }
    }
    details
}

fn over(spec: &OverSpec) -> Vec<String> {
    let mut details = Vec::new();
    if !spec.partition.is_empty() {
        let keys: Vec<String> = spec.partition.iter().map(|key| format!("#{key}")).collect();
        details.push(format!("partition: {}", keys.join(", ")));
    }
    let names = spec.output.fields()[spec.given..].iter();
    let names: Vec<&str> = names.map(|field| field.name().as_str()).collect();
    details.push(format!("calls: {}", names.join(", ")));
    details.push("state: all rows by partition, never removed".to_owned());
    details
}

fn dedup(spec: &DedupSpec) -> Vec<String> {
    let name = |idx: usize| spec.schema.field(idx).name().clone();
    let keys: Vec<String> = spec.keys.iter().map(|key| name(*key)).collect();
    let until = match spec.life {
        KeyLife::Forever => "never removed".to_owned(),
        KeyLife::Time { column } => format!("removed when the watermark reaches {}", name(column)),
        KeyLife::Within { column, delay } => format!(
            "removed when the watermark reaches {} + {}",
            name(column),
            Interval::from_micros(delay)
        ),
    };
    vec![
        format!("keys: {}", keys.join(", ")),
        format!("state: the keys that were seen, {until}"),
    ]
}

fn lookup(spec: &JoinSpec, table: &StreamPlan) -> Vec<String> {
    let mut details = pairing(spec);
    let tables: Vec<&str> = table
        .sources
        .iter()
        .map(|source| source.table.as_str())
        .collect();
    details.push(format!(
        "static: {}, read again in an epoch that finds it changed",
        tables.join(", ")
    ));
    details
}

fn join(spec: &JoinSpec) -> Vec<String> {
    let name = |side: usize, column: usize| spec.sides[side].schema.field(column).name().clone();
    let mut details = pairing(spec);
    if spec.sides[0].keys.is_empty() {
        details.push("state: all of it on one worker".to_owned());
    }
    for (number, (side, of)) in spec.sides.iter().zip(["left", "right"]).enumerate() {
        let until = match &side.expiry {
            _ if spec.is_once => "until the end".to_owned(),
            None => "never removed".to_owned(),
            Some(expiry) => {
                let time = name(number, expiry.column);
                match expiry.shift_ms {
                    0 => format!("removed when {time} <= watermark"),
                    ms if ms < 0 => {
                        format!("removed when {time} <= watermark - {}", delay(-ms))
                    }
                    ms => format!("removed when {time} <= watermark + {}", delay(ms)),
                }
            }
        };
        details.push(format!("state: rows of the {of} side, {until}"));
    }
    details
}

/// The columns that leave a node.
fn columns(plan: &StreamPlan, node: NodeId) -> SchemaRef {
    columns_of(&plan.sources, &plan.nodes, node)
}

fn sorting(schema: &Schema, order: &[SortColumn], limit: Option<usize>) -> Vec<String> {
    let mut details = Vec::new();
    if !order.is_empty() {
        let columns: Vec<String> = order
            .iter()
            .map(|sort| {
                let direction = if sort.descending { "DESC" } else { "ASC" };
                let nulls = if sort.nulls_first { "FIRST" } else { "LAST" };
                let name = schema.field(sort.column).name();
                format!("{name} {direction} NULLS {nulls}")
            })
            .collect();
        details.push(format!("order: {}", columns.join(", ")));
    }
    details.extend(limit.map(|limit| format!("limit: {limit}")));
    details
}

fn steps(plan: &StreamPlan, chain: &ChainSpec) -> Vec<String> {
    chain
        .steps
        .iter()
        .map(|step| match step {
            Step::Filter(predicate) => format!("filter: {predicate}"),
            Step::Project {
                expressions,
                schema,
            } => {
                let columns: Vec<String> = expressions
                    .iter()
                    .zip(schema.fields())
                    .map(|(expr, field)| {
                        let expr = expr.to_string();
                        let name = field.name();
                        // A column that keeps its name prints as `name@index`.
                        if expr
                            .rsplit_once('@')
                            .is_some_and(|(column, _)| column == name)
                        {
                            name.clone()
                        } else {
                            format!("{expr} AS {name}")
                        }
                    })
                    .collect();
                format!("project: {}", columns.join(", "))
            }
            Step::Unnest(unnest) => {
                let list = |column: &usize| *column == unnest.column;
                let place = unnest.columns.iter().position(list);
                let name = place.map_or("", |place| unnest.schema.field(place).name());
                format!("unnest: {name}")
            }
            Step::Mark { definition, .. } => format!("mark: {}", mark(plan, *definition)),
        })
        .collect()
}

fn mark(plan: &StreamPlan, definition: u32) -> String {
    plan.marks
        .get(definition as usize)
        .map(|mark| format!("{} delay {}", mark.name, delay(mark.delay_ms)))
        .unwrap_or_default()
}

fn delay(ms: i64) -> String {
    Interval::from_micros(ms.saturating_mul(1000)).to_string()
}

fn aggregate(spec: &AggregateSpec) -> Vec<String> {
    let name = |idx: usize| spec.input.field(idx).name().clone();
    let micros = |value: i64| Interval::from_micros(value).to_string();
    let mut details = Vec::new();
    match spec.time {
        TimeKey::None => {}
        TimeKey::Instant { column } => details.push(format!("time: {}", name(column))),
        TimeKey::Windowed { column } => details.push(format!("time: window {}", name(column))),
        TimeKey::Window {
            column,
            spec: window,
        } => {
            let mut text = format!(
                "time: window of {} over {}",
                micros(window.size),
                name(column)
            );
            if !window.is_tumbling() {
                let _ = write!(text, " every {}", micros(window.slide));
            }
            if window.start != 0 {
                let _ = write!(text, " from {}", micros(window.start));
            }
            details.push(text);
        }
        TimeKey::Counted { rows } => details.push(format!("window: every {rows} rows of a key")),
        TimeKey::Session { column, gap } => {
            details.push(format!(
                "time: sessions over {} gap {}",
                name(column),
                name(gap)
            ));
        }
    }
    if !spec.keys.is_empty() {
        let keys: Vec<String> = spec.keys.iter().map(|idx| name(*idx)).collect();
        details.push(format!("keys: {}", keys.join(", ")));
    }
    if !spec.calls.is_empty() {
        let calls: Vec<String> = spec
            .calls
            .iter()
            .zip(spec.output.fields().iter().skip(spec.group_columns()))
            .map(|(call, field)| {
                // DataFusion counts a literal for `count(*)`, and its name shows it.
                let name = call.function.name().replace("(Int64(1))", "(*)");
                format!("{name} {}", spark_name(field.data_type()))
            })
            .collect();
        details.push(format!("calls: {}", calls.join(", ")));
    }
    details.push(format!("state: {}", state(spec)));
    details
}

/// What an aggregation keeps, and when that goes.
fn state(spec: &AggregateSpec) -> String {
    let what = match spec.time {
        TimeKey::None => "one row a key",
        TimeKey::Instant { .. } => "one row a key and instant",
        TimeKey::Window { .. } | TimeKey::Windowed { .. } => "one row a key and window",
        TimeKey::Session { .. } => "one row a key and session",
        TimeKey::Counted { .. } => "one row a key, its open window",
    };
    let until = if spec.mode == OutputMode::Complete {
        "never removed (complete mode keeps all)"
    } else if matches!(spec.time, TimeKey::Counted { .. }) {
        "a window is removed when it is full"
    } else if !spec.marked {
        "never removed"
    } else if matches!(spec.time, TimeKey::Instant { .. }) {
        "removed when the watermark reaches the instant"
    } else {
        "removed when the watermark reaches the window's end"
    };
    format!("{what}, {until}")
}

fn policy(plan: &StreamPlan) -> &'static str {
    match plan.mark_policy {
        MarkPolicy::Min => "min",
        MarkPolicy::Max => "max",
    }
}

fn marks_line(plan: &StreamPlan) -> String {
    let definitions: Vec<String> = (0u32..)
        .zip(&plan.marks)
        .map(|(idx, _)| mark(plan, idx))
        .collect();
    match definitions.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        all => format!("{} of {}", policy(plan), all.join("; ")),
    }
}

fn tree(plan: &StreamPlan) -> String {
    let mut text = format!("Sink mode={}\n", plan.mode);
    branch(plan, plan.output, 1, &mut text);
    if let Some(late) = &plan.late {
        text.push_str("Sink of late rows\n");
        branch(plan, late.node, 1, &mut text);
    }
    let _ = writeln!(text, "watermark: {}", marks_line(plan));
    let _ = writeln!(text, "modes: {}", join_modes(&allowed_modes(plan)));
    text
}

fn branch(plan: &StreamPlan, node: NodeId, depth: usize, text: &mut String) {
    let description = describe(plan, node);
    let indent = "  ".repeat(depth);
    let _ = writeln!(text, "{indent}{}", description.title);
    for detail in &description.details {
        let _ = writeln!(text, "{indent}  | {detail}");
    }
    for input in description.inputs {
        branch(plan, input, depth + 1, text);
    }
}

fn dot(plan: &StreamPlan) -> String {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut text = "digraph plan {\n  node [shape=box];\n".to_owned();
    for idx in 0..plan.nodes.len() {
        let description = describe(plan, NodeId(idx));
        let mut label = escape(&description.title);
        for detail in &description.details {
            label.push_str("\\l");
            label.push_str(&escape(detail));
        }
        let _ = writeln!(text, "  n{idx} [label=\"{label}\\l\"];");
        for input in description.inputs {
            let _ = writeln!(text, "  n{} -> n{idx};", input.0);
        }
    }
    let _ = writeln!(text, "  sink [label=\"Sink mode={}\"];", plan.mode);
    let _ = writeln!(text, "  n{} -> sink;", plan.output.0);
    if let Some(late) = &plan.late {
        text.push_str("  late [label=\"Sink of late rows\"];\n");
        let _ = writeln!(text, "  n{} -> late;", late.node.0);
    }
    text.push_str("}\n");
    text
}

fn object(plan: &StreamPlan) -> Value {
    let nodes: Vec<Value> = (0..plan.nodes.len())
        .map(|idx| {
            let description = describe(plan, NodeId(idx));
            let inputs: Vec<usize> = description.inputs.iter().map(|input| input.0).collect();
            json!({
                "id": idx,
                "operator": description.title,
                "details": description.details,
                "inputs": inputs,
            })
        })
        .collect();
    let marks: Vec<Value> = plan
        .marks
        .iter()
        .map(|mark| json!({ "name": mark.name, "delayMs": mark.delay_ms }))
        .collect();
    let columns: Vec<Value> = plan
        .schema
        .fields()
        .iter()
        .map(|field| json!({ "name": field.name(), "type": spark_name(field.data_type()) }))
        .collect();
    let modes: Vec<String> = allowed_modes(plan)
        .iter()
        .map(OutputMode::to_string)
        .collect();
    json!({
        "mode": plan.mode.to_string(),
        "modes": modes,
        "watermarkPolicy": policy(plan),
        "watermarks": marks,
        "columns": columns,
        "nodes": nodes,
    })
}
