//! Aggregates with clauses of their own: WITHIN GROUP, and `grouping_id`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, GroupByWithModifier, OrderByExpr, Select, Value, VisitMut,
    VisitorMut,
};

use crate::calls::called;
use crate::{
    SqlError,
    functions::{ordered::ORDERED, percentile::DISC_DESC, statistics::GREATEST_MODE},
};

/// `percentile_cont(p) WITHIN GROUP (ORDER BY x)`, and its kin.
pub(super) fn within_group(expr: &mut Expr) -> Result<(), SqlError> {
    let Expr::Function(call) = expr else {
        return Ok(());
    };
    if call.within_group.is_empty() {
        return Ok(());
    }
    let name = call.name.to_string().to_lowercase();
    let order = std::mem::take(&mut call.within_group);
    let lists = name == "listagg" || name == "string_agg";
    let distinct = lists && take_distinct(call);
    let arguments = arguments(call)?;
    let filter = call.filter.take();
    if lists {
        *expr = list(arguments, &order, filter, distinct)?;
        return Ok(());
    }
    let [
        OrderByExpr {
            expr: value,
            options,
            ..
        },
    ] = order.as_slice()
    else {
        return Err(SqlError::unsupported(format!(
            "{name} over several columns"
        )));
    };
    let (value, descends) = (value.clone(), options.asc == Some(false));
    let one = || Expr::Value(Value::Number("1".to_owned(), false).with_empty_span());
    let mut replacement = match (name.as_str(), arguments.as_slice(), descends) {
        ("mode", [], false) => called("mode", vec![value]),
        ("mode", [], true) => called(GREATEST_MODE, vec![value]),
        ("percentile_cont", [share], false) => called("percentile", vec![value, share.clone()]),
        ("percentile_cont", [share], true) => {
            let rest = Expr::BinaryOp {
                left: Box::new(one()),
                op: datafusion::sql::sqlparser::ast::BinaryOperator::Minus,
                right: Box::new(Expr::Nested(Box::new(share.clone()))),
            };
            called("percentile", vec![value, rest])
        }
        ("percentile_disc", [share], false) => {
            called("percentile_disc", vec![value, share.clone()])
        }
        ("percentile_disc", [share], true) => called(DISC_DESC, vec![value, share.clone()]),
        _ => return Err(SqlError::unsupported(format!("{name} WITHIN GROUP"))),
    };
    if let Expr::Function(call) = &mut replacement {
        call.filter = filter;
    }
    *expr = replacement;
    Ok(())
}

/// Whether the call says DISTINCT, which it no longer does afterwards.
fn take_distinct(call: &mut Function) -> bool {
    let FunctionArguments::List(list) = &mut call.args else {
        return false;
    };
    list.duplicate_treatment.take() == Some(DuplicateTreatment::Distinct)
}

fn arguments(call: &Function) -> Result<Vec<Expr>, SqlError> {
    let FunctionArguments::List(list) = &call.args else {
        return Ok(Vec::new());
    };
    if list.duplicate_treatment.is_some() {
        return Err(SqlError::unsupported("DISTINCT with WITHIN GROUP"));
    }
    list.args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr.clone()),
            other => Err(SqlError::unsupported(format!("the argument {other}"))),
        })
        .collect()
}

fn text(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).with_empty_span())
}

/// Texts in an order: pairs of keys and texts are collected, then put in order, then joined.
fn list(
    arguments: Vec<Expr>,
    order: &[OrderByExpr],
    filter: Option<Box<Expr>>,
    distinct: bool,
) -> Result<Expr, SqlError> {
    let mut arguments = arguments.into_iter();
    let Some(value) = arguments.next() else {
        return Err(SqlError::plan("listagg needs a text"));
    };
    let between = arguments.next().unwrap_or_else(|| text(""));
    let mut directions = String::new();
    let mut parts = vec![text("value"), value];
    for (nth, key) in order.iter().enumerate() {
        let descends = key.options.asc == Some(false);
        // Nulls are the least unless the clause says otherwise.
        let nulls_first = key.options.nulls_first.unwrap_or(!descends);
        directions.push(match (descends, nulls_first) {
            (false, true) => 'a',
            (false, false) => 'A',
            (true, false) => 'd',
            (true, true) => 'D',
        });
        parts.extend([text(&format!("k{nth}")), key.expr.clone()]);
    }
    let collect = if distinct {
        "collect_set"
    } else {
        "collect_list"
    };
    let mut collected = called(collect, vec![called("named_struct", parts)]);
    if let Expr::Function(call) = &mut collected {
        call.filter = filter;
    }
    let ordered = called(ORDERED, vec![collected, text(&directions)]);
    Ok(called("array_join", vec![ordered, between]))
}

/// `grouping_id()` and the types of `grouping` in SELECT and HAVING.
pub(crate) fn grouping_ids(select: &mut Select) {
    let GroupByExpr::Expressions(groups, modifiers) = &select.group_by else {
        return;
    };
    let in_sets = groups.iter().any(|group| {
        matches!(
            group,
            Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_)
        )
    });
    let modified = modifiers.iter().any(|modifier| {
        matches!(
            modifier,
            GroupByWithModifier::Rollup | GroupByWithModifier::Cube
        )
    });
    if !in_sets && !modified {
        return;
    }
    let mut all: Vec<Expr> = Vec::new();
    for group in groups {
        match group {
            Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => {
                for expr in sets.iter().flatten() {
                    if !all.contains(expr) {
                        all.push(expr.clone());
                    }
                }
            }
            other => all.push(other.clone()),
        }
    }
    let mut numbers = Numbers { all };
    for item in &mut select.projection {
        let _ = item.visit(&mut numbers);
    }
    if let Some(having) = &mut select.having {
        let _ = having.visit(&mut numbers);
    }
}

struct Numbers {
    all: Vec<Expr>,
}

impl VisitorMut for Numbers {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(call) = &*expr else {
            return ControlFlow::Continue(());
        };
        let Ok(arguments) = arguments(call) else {
            return ControlFlow::Continue(());
        };
        let name = call.name.to_string().to_lowercase();
        let (arguments, data_type) = match name.as_str() {
            "grouping" => (arguments, DataType::TinyInt(None)),
            "grouping_id" if arguments.is_empty() => (self.all.clone(), DataType::BigInt(None)),
            "grouping_id" => (arguments, DataType::BigInt(None)),
            _ => return ControlFlow::Continue(()),
        };
        *expr = Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(called("grouping", arguments)),
            data_type,
            array: false,
            format: None,
        };
        ControlFlow::Continue(())
    }
}
