//! `TUMBLE`, `HOP` and `SESSION` in FROM, as the functions `window` and `session_window`.
//!
//! The table stays and its columns `window_start`, `window_end` and `window_time` become fields of
//! the function's result; grouping by both ends is grouping by the window.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident,
    ObjectName, Select, SelectItem, TableFactor, VisitMut, VisitorMut,
};

use crate::calls::called;
use crate::{SqlError, text::SparkSql};

/// Takes the functions out of FROM.
pub(crate) fn in_from(select: &mut Select) -> Result<(), SqlError> {
    let mut window = None;
    for item in &mut select.from {
        let joined = item.joins.iter_mut().map(|join| &mut join.relation);
        for factor in std::iter::once(&mut item.relation).chain(joined) {
            let Some((call, table)) = windowed(factor)? else {
                continue;
            };
            if window.replace(call).is_some() {
                return Err(SqlError::unsupported("two window functions in one FROM"));
            }
            *factor = table;
        }
    }
    let Some(window) = window else {
        return Ok(());
    };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item
            && field(&ident.value).is_some()
        {
            *item = SelectItem::ExprWithAlias {
                expr: Expr::Identifier(ident.clone()),
                alias: ident.clone(),
            };
        }
    }
    if let GroupByExpr::Expressions(groups, _) = &mut select.group_by {
        let before = groups.len();
        groups.retain(
            |group| !matches!(group, Expr::Identifier(ident) if field(&ident.value).is_some()),
        );
        if groups.len() < before {
            groups.insert(0, window.clone());
        }
    }
    let _ = select.visit(&mut Fields { window: &window });
    Ok(())
}

/// The field of a window that a column stands for.
fn field(column: &str) -> Option<&'static str> {
    match column.to_ascii_lowercase().as_str() {
        "window_start" => Some("start"),
        "window_end" => Some("end"),
        "window_time" => Some("window_time"),
        _ => None,
    }
}

struct Fields<'a> {
    window: &'a Expr,
}

impl VisitorMut for Fields<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = &*expr
            && let Some(field) = field(&ident.value)
        {
            *expr = match field {
                "window_time" => called("window_time", vec![self.window.clone()]),
                field => Expr::CompoundFieldAccess {
                    root: Box::new(self.window.clone()),
                    access_chain: vec![AccessExpr::Dot(Expr::Identifier(Ident::new(field)))],
                },
            };
        }
        ControlFlow::Continue(())
    }
}

/// The window's call and the table, if a factor is one of the functions.
fn windowed(factor: &TableFactor) -> Result<Option<(Expr, TableFactor)>, SqlError> {
    let (name, args, alias) = match factor {
        TableFactor::Table {
            name,
            args: Some(args),
            alias,
            ..
        } => (name, args.args.as_slice(), alias),
        TableFactor::Function {
            name, args, alias, ..
        } => (name, args.as_slice(), alias),
        TableFactor::TableFunction {
            expr: Expr::Function(call),
            alias,
        } => {
            let FunctionArguments::List(list) = &call.args else {
                return Ok(None);
            };
            (&call.name, list.args.as_slice(), alias)
        }
        _ => return Ok(None),
    };
    let function = name.to_string().to_ascii_lowercase();
    if !["tumble", "hop", "session"].contains(&function.as_str()) {
        return Ok(None);
    }
    let arguments: Option<Vec<&Expr>> = args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect();
    let wrong = || SqlError::Window {
        reason: format!(
            "{function} takes TABLE name, DESCRIPTOR(time) and {}",
            if function == "hop" {
                "slide, size [, offset]"
            } else {
                "a duration"
            }
        ),
    };
    let arguments = arguments.ok_or_else(wrong)?;
    let [table, descriptor, durations @ ..] = arguments.as_slice() else {
        return Err(wrong());
    };
    let time = super::single_argument(descriptor, "descriptor").ok_or_else(wrong)?;
    let call = window_call(&function, time, durations).ok_or_else(wrong)?;
    let mut plain = table_named(table).ok_or_else(wrong)?;
    if let (TableFactor::Table { alias: place, .. }, Some(alias)) = (&mut plain, alias) {
        *place = Some(alias.clone());
    }
    Ok(Some((call, plain)))
}

/// The call of `window` or `session_window` that a function with these durations means.
fn window_call(function: &str, time: Expr, durations: &[&Expr]) -> Option<Expr> {
    let (name, order): (_, &[usize]) = match (function, durations.len()) {
        ("tumble", 1) => ("window", &[0]),
        ("tumble", 2) => ("window", &[0, 0, 1]),
        ("hop", 2) => ("window", &[1, 0]),
        ("hop", 3) => ("window", &[1, 0, 2]),
        ("session", 1) => ("session_window", &[0]),
        _ => return None,
    };
    let durations = order.iter().map(|at| durations[*at].clone());
    Some(called(
        name,
        std::iter::once(time).chain(durations).collect(),
    ))
}

/// A plain table of FROM.
fn table_named(expr: &Expr) -> Option<TableFactor> {
    table(match expr {
        Expr::Identifier(ident) => vec![ident.clone()],
        Expr::CompoundIdentifier(parts) => parts.clone(),
        _ => return None,
    })
}

/// A table of this name, as it stands in FROM.
pub(crate) fn table(name: Vec<Ident>) -> Option<TableFactor> {
    let mut parser = datafusion::sql::sqlparser::parser::Parser::new(&SparkSql)
        .try_with_sql("t")
        .ok()?;
    let mut factor = parser.parse_table_factor().ok()?;
    if let TableFactor::Table { name: place, .. } = &mut factor {
        *place = ObjectName::from(name);
    }
    Some(factor)
}
