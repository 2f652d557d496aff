//! One spelling for an expression, ours: the same from release to release of the planner's library.
//!
//! A checkpoint is compared by the text of its query's keys. The library's own text of an expression has
//! the places of columns in it, which move with what else a query selects, and changes as it likes. Here
//! a column is spelled by what it is made of, down to columns of tables:
//!
//! - `clicks.at` a column of a table; `#0.2` the third column of stateful operator 0;
//! - `(a + b)`, `(NOT a)`, `(a IS NULL)`, `f(a, b)`, `CAST(a AS INT)`, `CASE a WHEN b THEN c ELSE d END`;
//! - `7`, `'it''s'`, `2.50`, `NULL` literals; others with their type before them: `DATE 19723`;
//! - `~0123456789abcdef` the hash of a spelling of more than a thousand bytes.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use datafusion::{
    common::ScalarValue,
    physical_expr::{
        HigherOrderFunctionExpr, PhysicalExpr, ScalarFunctionExpr,
        expressions::{
            BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr,
            LambdaExpr, LambdaVariable, LikeExpr, Literal, NegativeExpr, NotExpr, TryCastExpr,
        },
    },
};
use millstream_operators::{
    chain::Step,
    draw::{Draw, DrawSeed},
    join::SideColumn,
};
use millstream_runtime::plan::{Node, NodeId, SourceNode};
use xxhash_rust::xxh3::xxh3_64;

use crate::types::spark_name;

/// Bytes of a spelling at most: an expression that names a column twice, above one that does so, and
/// so on, would double with every step.
const BYTES_MAX: usize = 1000;

type Expression = Arc<dyn PhysicalExpr>;

/// Spells the expressions of one plan.
pub(crate) struct Speller<'a> {
    sources: &'a [SourceNode],
    nodes: &'a [Node],
    /// Columns by node, step before which they are seen, and place.
    known: RefCell<HashMap<(usize, usize, usize), String>>,
}

impl<'a> Speller<'a> {
    pub(crate) fn new(sources: &'a [SourceNode], nodes: &'a [Node]) -> Speller<'a> {
        Speller {
            sources,
            nodes,
            known: RefCell::default(),
        }
    }

    /// A column that leaves a node.
    pub(crate) fn column(&self, node: NodeId, idx: usize) -> String {
        match self.nodes.get(node.0) {
            Some(Node::Source(source)) => match self.sources.get(source.0 as usize) {
                Some(source) => format!("{}.{}", source.table, source.schema.field(idx).name()),
                None => format!("?.{idx}"),
            },
            Some(Node::Chain { spec, .. }) => self.before(node, spec.steps.len(), idx),
            Some(
                Node::Aggregate { operator, .. }
                | Node::Join { operator, .. }
                | Node::Over { operator, .. },
            ) => {
                format!("#{}.{idx}", operator.0)
            }
            Some(
                Node::Sort { input, .. }
                | Node::Limit { input, .. }
                | Node::Late { input, .. }
                | Node::Dedup { input, .. }
                | Node::Top { input, .. },
            ) => self.column(*input, idx),
            Some(Node::Union { inputs }) => {
                let all: Vec<String> = inputs
                    .iter()
                    .map(|input| self.column(*input, idx))
                    .collect();
                short(format!("union({})", all.join(", ")))
            }
            Some(Node::Lookup { input, spec, table }) => match spec.columns.get(idx) {
                Some(SideColumn { side: 0, column }) => self.column(*input, *column),
                Some(SideColumn { column, .. }) => {
                    let of = Speller::new(&table.sources, &table.nodes);
                    format!("static.{}", of.column(table.output, *column))
                }
                None => format!("?.{idx}"),
            },
            None => format!("?.{idx}"),
        }
    }

    /// A column of a chain as the step at this place sees it.
    fn before(&self, node: NodeId, step: usize, idx: usize) -> String {
        let place = (node.0, step, idx);
        if let Some(known) = self.known.borrow().get(&place) {
            return known.clone();
        }
        let Some(Node::Chain { input, spec }) = self.nodes.get(node.0) else {
            return format!("?.{idx}");
        };
        let last = step.checked_sub(1);
        let text = match last.and_then(|last| spec.steps.get(last).map(|step| (last, step))) {
            None => self.column(*input, idx),
            Some((last, Step::Project { expressions, .. })) => match expressions.get(idx) {
                Some(expression) => self.expression(expression, node, last),
                None => format!("?.{idx}"),
            },
            Some((last, Step::Unnest(unnest))) => match unnest.columns.get(idx) {
                Some(column) if *column == unnest.column => {
                    format!("explode({})", self.before(node, last, *column))
                }
                Some(column) => self.before(node, last, *column),
                None => format!("?.{idx}"),
            },
            Some((last, Step::Filter(_) | Step::Mark { .. })) => self.before(node, last, idx),
        };
        let text = short(text);
        self.known.borrow_mut().insert(place, text.clone());
        text
    }

    /// The conditions of the chains between a node and the operator with state below it.
    pub(crate) fn conditions(&self, node: NodeId) -> Vec<String> {
        match self.nodes.get(node.0) {
            Some(Node::Chain { input, spec }) => {
                let mut all = self.conditions(*input);
                for (at, step) in spec.steps.iter().enumerate() {
                    if let Step::Filter(condition) = step {
                        all.push(self.expression(condition, node, at));
                    }
                }
                all
            }
            Some(
                Node::Sort { input, .. } | Node::Limit { input, .. } | Node::Lookup { input, .. },
            ) => self.conditions(*input),
            Some(Node::Union { inputs }) => inputs
                .iter()
                .flat_map(|input| self.conditions(*input))
                .collect(),
            Some(
                Node::Source(_)
                | Node::Late { .. }
                | Node::Top { .. }
                | Node::Join { .. }
                | Node::Dedup { .. }
                | Node::Over { .. }
                | Node::Aggregate { .. },
            )
            | None => Vec::new(),
        }
    }

    /// The value of a column of a chain's end, if it is a literal.
    pub(crate) fn literal(&self, node: NodeId, idx: usize) -> Option<String> {
        let Some(Node::Chain { spec, .. }) = self.nodes.get(node.0) else {
            return None;
        };
        match spec.steps.last() {
            Some(Step::Project { expressions, .. }) => {
                let literal = expressions.get(idx)?.downcast_ref::<Literal>()?;
                Some(value(literal.value()))
            }
            _ => None,
        }
    }

    fn expression(&self, expr: &Expression, node: NodeId, step: usize) -> String {
        let spell = |part: &Expression| self.expression(part, node, step);
        let list = |parts: &[Expression]| {
            let texts: Vec<String> = parts.iter().map(&spell).collect();
            texts.join(", ")
        };
        if let Some(column) = expr.downcast_ref::<Column>() {
            return self.before(node, step, column.index());
        }
        if let Some(literal) = expr.downcast_ref::<Literal>() {
            return value(literal.value());
        }
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            let (left, right) = (spell(binary.left()), spell(binary.right()));
            return short(format!("({left} {} {right})", binary.op()));
        }
        if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
            return short(format!("{}({})", call.fun().name(), list(call.args())));
        }
        if let Some(call) = expr.downcast_ref::<HigherOrderFunctionExpr>() {
            return short(format!("{}({})", call.fun().name(), list(call.args())));
        }
        if let Some(lambda) = expr.downcast_ref::<LambdaExpr>() {
            let parameters = lambda.params().join(", ");
            return format!("({parameters}) -> {}", spell(lambda.body()));
        }
        if let Some(parameter) = expr.downcast_ref::<LambdaVariable>() {
            return parameter.name().to_owned();
        }
        if let Some(case) = expr.downcast_ref::<CaseExpr>() {
            let of = case.expr().map(|of| format!(" {}", spell(of)));
            let mut text = format!("CASE{}", of.unwrap_or_default());
            for (when, then) in case.when_then_expr() {
                text.push_str(&format!(" WHEN {} THEN {}", spell(when), spell(then)));
            }
            if let Some(other) = case.else_expr() {
                text.push_str(&format!(" ELSE {}", spell(other)));
            }
            return short(text + " END");
        }
        self.small(expr, &spell, &list)
    }

    /// Casts, tests and draws. What is none of them, our clock among it, spells itself.
    fn small(
        &self,
        expr: &Expression,
        spell: &dyn Fn(&Expression) -> String,
        list: &dyn Fn(&[Expression]) -> String,
    ) -> String {
        let not = |is: bool| if is { "NOT " } else { "" };
        if let Some(cast) = expr.downcast_ref::<CastExpr>() {
            format!(
                "CAST({} AS {})",
                spell(cast.expr()),
                spark_name(cast.cast_type())
            )
        } else if let Some(cast) = expr.downcast_ref::<TryCastExpr>() {
            format!(
                "TRY_CAST({} AS {})",
                spell(cast.expr()),
                spark_name(cast.cast_type())
            )
        } else if let Some(test) = expr.downcast_ref::<IsNullExpr>() {
            format!("({} IS NULL)", spell(test.arg()))
        } else if let Some(test) = expr.downcast_ref::<IsNotNullExpr>() {
            format!("({} IS NOT NULL)", spell(test.arg()))
        } else if let Some(test) = expr.downcast_ref::<NotExpr>() {
            format!("(NOT {})", spell(test.arg()))
        } else if let Some(number) = expr.downcast_ref::<NegativeExpr>() {
            format!("(- {})", spell(number.arg()))
        } else if let Some(test) = expr.downcast_ref::<InListExpr>() {
            let (not, all) = (not(test.negated()), list(test.list()));
            short(format!("({} {not}IN ({all}))", spell(test.expr())))
        } else if let Some(test) = expr.downcast_ref::<LikeExpr>() {
            let like = if test.case_insensitive() {
                "ILIKE"
            } else {
                "LIKE"
            };
            let (text, pattern) = (spell(test.expr()), spell(test.pattern()));
            format!("({text} {}{like} {pattern})", not(test.negated()))
        } else if let Some(draw) = expr.downcast_ref::<Draw>() {
            let (name, arguments) = draw.call();
            let seed = match draw.seed() {
                DrawSeed::Given(seed) => format!(" seed={seed}"),
                DrawSeed::Site(_) => String::new(),
            };
            format!("{name}({}{seed})", list(arguments))
        } else {
            expr.to_string()
        }
    }
}

fn short(text: String) -> String {
    if text.len() > BYTES_MAX {
        format!("~{:016x}", xxh3_64(text.as_bytes()))
    } else {
        text
    }
}

fn value(value: &ScalarValue) -> String {
    let data_type = spark_name(&value.data_type());
    if value.is_null() {
        return "NULL".to_owned();
    }
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => format!("'{}'", text.replace('\'', "''")),
        ScalarValue::Boolean(Some(is)) => is.to_string(),
        ScalarValue::Int8(Some(number)) => number.to_string(),
        ScalarValue::Int16(Some(number)) => number.to_string(),
        ScalarValue::Int32(Some(number)) => number.to_string(),
        ScalarValue::Int64(Some(number)) => number.to_string(),
        ScalarValue::Float32(Some(number)) => format!("{data_type} {number:?}"),
        ScalarValue::Float64(Some(number)) => format!("{data_type} {number:?}"),
        ScalarValue::Decimal128(Some(digits), _, scale) => format!("DECIMAL {digits}e-{scale}"),
        ScalarValue::Date32(Some(days)) => format!("{data_type} {days}"),
        ScalarValue::TimestampMicrosecond(Some(micros), _) => format!("{data_type} {micros}"),
        other => format!("{data_type} {other}"),
    }
}
