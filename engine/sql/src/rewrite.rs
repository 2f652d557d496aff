//! What Spark means by a syntax tree, written so that DataFusion means it too.
//!
//! A bare `window` in SELECT, HAVING and ORDER BY is the grouping expression; columns without a
//! name get Spark's; `first(x, true)` ignores nulls; `1e3` is a double.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "enums of other crates, with many variants and more to come"
)]

use std::{collections::HashMap, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, NullTreatment, ObjectName, OrderByKind, Query, Select,
    SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};

use crate::{SqlError, functions::arrays::ZIP, literals::split_suffix};

mod clauses;
mod generate;
mod groups;
mod intervals;
pub(crate) mod macros;
pub(crate) mod typed;
mod units;
mod values;
mod windows;

/// Names that stand for the grouping expression of the same name.
const WINDOWS: [&str; 2] = ["window", "session_window"];

/// Rewrites a whole query.
///
/// # Errors
/// Clauses that DataFusion would pass over in silence.
pub(crate) fn rewrite(query: &mut Query) -> Result<(), SqlError> {
    match query.visit(&mut Rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Rewrites an expression that stands alone.
///
/// # Errors
/// As [`rewrite`].
pub(crate) fn rewrite_expr(expr: &mut Expr) -> Result<(), SqlError> {
    match expr.visit(&mut Rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        if let Err(error) = clauses::of_query(query) {
            return ControlFlow::Break(error);
        }
        let windows = match query.body.as_ref() {
            SetExpr::Select(select) => grouping_windows(select),
            _ => HashMap::new(),
        };
        if let Some(order_by) = &mut query.order_by
            && let OrderByKind::Expressions(items) = &mut order_by.kind
        {
            for item in items {
                resolve(&mut item.expr, &windows);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        let clauses = clauses::of_select(select)
            .and_then(|()| windows::in_from(select))
            .and_then(|()| generate::in_from(select));
        if let Err(error) = clauses {
            return ControlFlow::Break(error);
        }
        generate::in_projection(select);
        let windows = grouping_windows(select);
        for item in &mut select.projection {
            name_item(item, &windows);
            if let SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) = item {
                resolve(expr, &windows);
            }
        }
        if let Some(having) = &mut select.having {
            resolve(having, &windows);
        }
        groups::grouping_ids(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        match factor {
            TableFactor::Table {
                sample: Some(_), ..
            } => ControlFlow::Break(SqlError::NotOnStream {
                what: "Sampling is not supported on streaming DataFrames/Datasets".to_owned(),
                hint: "filter with rand() < fraction",
            }),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        if let Err(error) = values::rewrite(expr)
            .and_then(|()| groups::within_group(expr))
            .and_then(|()| macros::expand(expr))
        {
            return ControlFlow::Break(error);
        }
        intervals::rewrite(expr);
        units::rewrite(expr);
        values::cast(expr);
        ignore_nulls(expr);
        field_access(expr);
        matches_pattern(expr);
        count_if(expr);
        by_another(expr);
        now_in_seconds(expr);
        null_tests(expr);
        named_fields(expr);
        zipped_names(expr);
        ControlFlow::Continue(())
    }
}

/// The calls of `window` and `session_window` in GROUP BY, by name.
fn grouping_windows(select: &Select) -> HashMap<&'static str, Expr> {
    let GroupByExpr::Expressions(groups, _) = &select.group_by else {
        return HashMap::new();
    };
    let call = |name: &&'static str| {
        groups
            .iter()
            .find(|group| is_call(group, name))
            .map(|group| (*name, group.clone()))
    };
    WINDOWS.iter().filter_map(call).collect()
}

fn is_call(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case(name))
}

/// Replaces bare windows, but not those inside a call of the same function.
fn resolve(expr: &mut Expr, windows: &HashMap<&'static str, Expr>) {
    if windows.is_empty() {
        return;
    }
    let _ = expr.visit(&mut Resolver {
        windows,
        inside_call: 0,
    });
}

struct Resolver<'a> {
    windows: &'a HashMap<&'static str, Expr>,
    inside_call: usize,
}

impl Resolver<'_> {
    fn window(&self, ident: &Ident) -> Option<&Expr> {
        self.windows.get(ident.value.as_str())
    }
}

impl VisitorMut for Resolver<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.inside_call += usize::from(WINDOWS.iter().any(|name| is_call(expr, name)));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if WINDOWS.iter().any(|name| is_call(expr, name)) {
            self.inside_call = self.inside_call.saturating_sub(1);
            return ControlFlow::Continue(());
        }
        if self.inside_call > 0 {
            return ControlFlow::Continue(());
        }
        let replacement = match &*expr {
            Expr::Identifier(ident) => self.window(ident).cloned(),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [root, fields @ ..] => self.window(root).map(|call| Expr::CompoundFieldAccess {
                    root: Box::new(call.clone()),
                    access_chain: fields
                        .iter()
                        .map(|field| AccessExpr::Dot(Expr::Identifier(field.clone())))
                        .collect(),
                }),
                [] => None,
            },
            _ => None,
        };
        if let Some(replacement) = replacement {
            *expr = replacement;
        }
        ControlFlow::Continue(())
    }
}

/// Gives a column without a name the one that Spark gives it.
fn name_item(item: &mut SelectItem, windows: &HashMap<&'static str, Expr>) {
    let SelectItem::UnnamedExpr(expr) = item else {
        return;
    };
    let name = match &*expr {
        Expr::Identifier(ident) if windows.contains_key(ident.value.as_str()) => {
            ident.value.clone()
        }
        Expr::Identifier(_) => return,
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [root, .., last] if WINDOWS.contains(&root.value.as_str()) => last.value.clone(),
            _ => return,
        },
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Identifier(field))) => field.value.clone(),
            _ => return,
        },
        other => spark_name(other),
    };
    *item = SelectItem::ExprWithAlias {
        expr: expr.clone(),
        alias: Ident::with_quote('`', name),
    };
}

fn spark_name(expr: &Expr) -> String {
    match expr {
        Expr::Function(call) => {
            let name = call.name.to_string().to_lowercase();
            if WINDOWS.contains(&name.as_str()) {
                return name;
            }
            let FunctionArguments::List(list) = &call.args else {
                return name;
            };
            let args: Vec<String> = list
                .args
                .iter()
                .map(|arg| match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => "1".to_owned(),
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => spark_name(expr),
                    other => other.to_string(),
                })
                .collect();
            let distinct = list
                .duplicate_treatment
                .map(|_| "DISTINCT ")
                .unwrap_or_default();
            format!("{name}({distinct}{})", args.join(", "))
        }
        Expr::BinaryOp { left, op, right } => {
            format!("({} {op} {})", spark_name(left), spark_name(right))
        }
        Expr::Nested(inner) => spark_name(inner),
        Expr::Struct { values, .. } => {
            let values: Vec<String> = values.iter().map(spark_name).collect();
            format!("struct({})", values.join(", "))
        }
        Expr::Named { expr, name } => format!("{} AS {}", spark_name(expr), name.value),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            Value::Number(digits, _) => match split_suffix(digits) {
                Some((digits, _)) => digits.to_owned(),
                None => digits.clone(),
            },
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

/// `first(x, true)`, `last(x, true)`, `any_value(x, true)`.
fn ignore_nulls(expr: &mut Expr) {
    let Expr::Function(call) = expr else { return };
    let name = call.name.to_string().to_lowercase();
    if !["first", "last", "any_value", "first_value", "last_value"].contains(&name.as_str()) {
        return;
    }
    let FunctionArguments::List(list) = &mut call.args else {
        return;
    };
    if list.args.len() != 2 {
        return;
    }
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(flag))) = &list.args[1] else {
        return;
    };
    if let Value::Boolean(flag) = flag.value {
        list.args.truncate(1);
        if flag {
            call.null_treatment = Some(NullTreatment::IgnoreNulls);
        }
    }
}

/// `call(…).field`: DataFusion wants the field's name as a string.
fn field_access(expr: &mut Expr) {
    let Expr::CompoundFieldAccess { access_chain, .. } = expr else {
        return;
    };
    for access in access_chain {
        if let AccessExpr::Dot(Expr::Identifier(field)) = access {
            let name = Value::SingleQuotedString(field.value.clone()).with_span(field.span);
            *access = AccessExpr::Dot(Expr::Value(name));
        }
    }
}

/// `a RLIKE b`.
fn matches_pattern(expr: &mut Expr) {
    let Expr::RLike {
        negated,
        expr: text,
        pattern,
        ..
    } = expr
    else {
        return;
    };
    *expr = Expr::BinaryOp {
        left: text.clone(),
        op: if *negated {
            BinaryOperator::PGRegexNotMatch
        } else {
            BinaryOperator::PGRegexMatch
        },
        right: pattern.clone(),
    };
}

/// `count_if(x)` is `count(*) FILTER (WHERE x)`, besides a filter of its own.
fn count_if(expr: &mut Expr) {
    let Expr::Function(call) = expr else { return };
    if !call.name.to_string().eq_ignore_ascii_case("count_if") {
        return;
    }
    let FunctionArguments::List(list) = &mut call.args else {
        return;
    };
    let [argument] = list.args.as_mut_slice() else {
        return;
    };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(condition)) = argument.clone() else {
        return;
    };
    *argument = FunctionArg::Unnamed(FunctionArgExpr::Wildcard);
    let nested = |expr: Expr| Box::new(Expr::Nested(Box::new(expr)));
    call.filter = Some(match call.filter.take() {
        None => Box::new(condition),
        Some(filter) => Box::new(Expr::BinaryOp {
            left: nested(*filter),
            op: BinaryOperator::And,
            right: nested(condition),
        }),
    });
    call.name = ObjectName::from(vec![Ident::new("count")]);
}

/// `max_by(x, y)` is the `x` of the greatest pair of `y` and `x`, of those whose `y` is there.
fn by_another(expr: &mut Expr) {
    let Expr::Function(call) = expr else { return };
    let function = match call.name.to_string().to_lowercase().as_str() {
        "max_by" => "max",
        "min_by" => "min",
        _ => return,
    };
    let FunctionArguments::List(list) = &call.args else {
        return;
    };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(by)),
    ] = list.args.as_slice()
    else {
        return;
    };
    let text =
        |text: &str| Expr::Value(Value::SingleQuotedString(text.to_owned()).with_empty_span());
    let pair = called(
        "named_struct",
        vec![text("by"), by.clone(), text("value"), value.clone()],
    );
    let mut greatest = called(function, vec![pair]);
    if let Expr::Function(greatest) = &mut greatest {
        let there = Expr::IsNotNull(Box::new(by.clone()));
        greatest.filter = Some(Box::new(match call.filter.take() {
            Some(filter) => Expr::BinaryOp {
                left: filter,
                op: BinaryOperator::And,
                right: Box::new(there),
            },
            None => there,
        }));
    }
    *expr = called("get_field", vec![greatest, text("value")]);
}

/// `unix_timestamp()` is the clock.
fn now_in_seconds(expr: &mut Expr) {
    let Expr::Function(call) = &*expr else { return };
    let FunctionArguments::List(list) = &call.args else {
        return;
    };
    let name = call.name.to_string().to_lowercase();
    if list.args.is_empty() && name == "unix_timestamp" {
        let now = called("current_timestamp", Vec::new());
        *expr = called("unix_timestamp", vec![now]);
    }
}

/// The only argument of a call of this name.
fn single_argument(expr: &Expr, name: &str) -> Option<Expr> {
    let Expr::Function(call) = expr else {
        return None;
    };
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))]
            if call.name.to_string().eq_ignore_ascii_case(name) =>
        {
            Some(argument.clone())
        }
        _ => None,
    }
}

/// `isnull(x)`, `isnotnull(x)`.
fn null_tests(expr: &mut Expr) {
    if let Some(argument) = single_argument(expr, "isnull") {
        *expr = Expr::IsNull(Box::new(argument));
    } else if let Some(argument) = single_argument(expr, "isnotnull") {
        *expr = Expr::IsNotNull(Box::new(argument));
    }
}

/// `struct(x, y AS z)` has fields named `x` and `z`; a field without a name has its number.
fn named_fields(expr: &mut Expr) {
    let values = match &*expr {
        Expr::Struct { values, fields } if fields.is_empty() => values,
        Expr::Tuple(values) => values,
        _ => return,
    };
    let mut parts = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let (name, value) = match value {
            Expr::Identifier(ident) => (ident.value.clone(), value.clone()),
            Expr::CompoundIdentifier(path) => (
                path.last()
                    .map_or_else(String::new, |last| last.value.clone()),
                value.clone(),
            ),
            Expr::Named { expr, name } => (name.value.clone(), expr.as_ref().clone()),
            other => (format!("col{}", number + 1), other.clone()),
        };
        let name = Value::SingleQuotedString(name).with_empty_span();
        parts.extend([Expr::Value(name), value]);
    }
    *expr = called("named_struct", parts);
}

/// `arrays_zip(x, t.y)` has fields named `x` and `y`; an array without a name has its number.
fn zipped_names(expr: &mut Expr) {
    let Expr::Function(call) = &*expr else { return };
    let FunctionArguments::List(list) = &call.args else {
        return;
    };
    if !call.name.to_string().eq_ignore_ascii_case("arrays_zip") {
        return;
    }
    let mut parts = Vec::new();
    for (number, argument) in list.args.iter().enumerate() {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = argument else {
            return;
        };
        let name = match value {
            Expr::Identifier(ident) => ident.value.clone(),
            Expr::CompoundIdentifier(path) => path
                .last()
                .map_or_else(String::new, |last| last.value.clone()),
            _ => number.to_string(),
        };
        let name = Value::SingleQuotedString(name).with_empty_span();
        parts.extend([Expr::Value(name), value.clone()]);
    }
    *expr = called(ZIP, parts);
}

/// A call.
pub(crate) fn called(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments
        .into_iter()
        .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
        .collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
