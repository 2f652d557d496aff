//! `explode` and its kin, and LATERAL VIEW, as `unnest`.
//!
//! A view beside a table becomes a subquery in the table's place that has the table's columns and
//! the elements. `explode_outer` and `posexplode` change the list first, so that only one way of
//! unnesting is left for the planner.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinOperator, LateralView,
        ObjectName, Query, Select, SelectItem, SetExpr, Statement, TableAlias, TableFactor,
        TableWithJoins, Value, VisitMut, VisitorMut,
    },
    parser::Parser,
};

use crate::{
    SqlError,
    error::from_parser,
    functions::lists::{ENTRIES, OUTER, POSITIONS},
    text::SparkSql,
};

/// A call that makes rows.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Generator {
    positions: bool,
    outer: bool,
}

fn generator(name: &str) -> Option<Generator> {
    let (positions, outer) = match name {
        "explode" | "unnest" => (false, false),
        "explode_outer" => (false, true),
        "posexplode" => (true, false),
        "posexplode_outer" => (true, true),
        _ => return None,
    };
    Some(Generator { positions, outer })
}

/// The generator that an expression calls, and what it is called with.
fn called(expr: &Expr) -> Option<(Generator, Expr)> {
    let Expr::Function(call) = expr else {
        return None;
    };
    let generator = generator(&call.name.to_string().to_lowercase())?;
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(list))] => Some((generator, list.clone())),
        _ => None,
    }
}

fn call(name: &str, argument: Expr) -> Expr {
    super::called(name, vec![argument])
}

fn aliased(expr: Expr, alias: Ident) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias }
}

/// A field of the elements of a list of structs.
fn field(list: &Expr, name: &str) -> Expr {
    let name = Value::SingleQuotedString(name.to_owned()).with_empty_span();
    let unnested = call("unnest", list.clone());
    super::called("get_field", vec![unnested, Expr::Value(name)])
}

/// The columns that a generator makes, by these names if there are any.
fn columns(generator: Generator, list: Expr, names: &[Ident]) -> Vec<SelectItem> {
    let name = |idx: usize, default: &str| {
        names
            .get(idx)
            .cloned()
            .unwrap_or_else(|| Ident::new(default))
    };
    let two = |function: &str, parts: [&str; 2]| {
        let list = call(function, list.clone());
        let list = if generator.outer {
            call(OUTER, list)
        } else {
            list
        };
        parts
            .iter()
            .enumerate()
            .map(|(idx, part)| aliased(field(&list, part), name(idx, part)))
            .collect()
    };
    if generator.positions {
        return two(POSITIONS, ["pos", "col"]);
    }
    // Two names for one column: the list is a map.
    if names.len() == 2 {
        return two(ENTRIES, ["key", "value"]);
    }
    let list = if generator.outer {
        call(OUTER, list)
    } else {
        list
    };
    vec![aliased(call("unnest", list), name(0, "col"))]
}

/// Generators in SELECT.
pub(super) fn in_projection(select: &mut Select) {
    let items = std::mem::take(&mut select.projection);
    for item in items {
        let (expr, names) = match &item {
            SelectItem::UnnamedExpr(expr) => (expr, Vec::new()),
            SelectItem::ExprWithAlias { expr, alias } => (expr, vec![alias.clone()]),
            SelectItem::ExprWithAliases { expr, aliases } => (expr, aliases.clone()),
            SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => {
                select.projection.push(item);
                continue;
            }
        };
        match called(expr) {
            Some((generator, list)) => {
                select.projection.extend(columns(generator, list, &names));
            }
            None => select.projection.push(item),
        }
    }
}

/// LATERAL VIEW, and lists in FROM.
pub(super) fn in_from(select: &mut Select) -> Result<(), SqlError> {
    let mut views = lists_in_from(select);
    for view in std::mem::take(&mut select.lateral_views) {
        let LateralView {
            lateral_view,
            lateral_view_name,
            lateral_col_alias,
            outer,
        } = view;
        let Some((mut generator, list)) = called(&lateral_view) else {
            return Err(SqlError::unsupported(format!(
                "LATERAL VIEW of {lateral_view}"
            )));
        };
        generator.outer |= outer;
        views.push(View {
            name: Ident::new(lateral_view_name.to_string()),
            columns: columns(generator, list, &lateral_col_alias),
        });
    }
    for view in views {
        attach(select, view)?;
    }
    Ok(())
}

/// Generated columns that stand beside a table under a name.
struct View {
    name: Ident,
    columns: Vec<SelectItem>,
}

/// Takes lists out of FROM: `FROM t, UNNEST(t.list) AS u(x)` and `t CROSS JOIN UNNEST(…)`.
fn lists_in_from(select: &mut Select) -> Vec<View> {
    let mut views = Vec::new();
    if select.from.is_empty() {
        return views;
    }
    let mut rest = select.from.split_off(1);
    rest.retain(|item| match list_view(&item.relation) {
        Some(view) if item.joins.is_empty() => {
            views.push(view);
            false
        }
        _ => true,
    });
    select.from.append(&mut rest);
    for item in &mut select.from {
        item.joins.retain(|join| {
            let crosses = matches!(
                join.join_operator,
                JoinOperator::CrossJoin(_) | JoinOperator::Join(_) | JoinOperator::Inner(_)
            );
            match list_view(&join.relation) {
                Some(view) if crosses => {
                    views.push(view);
                    false
                }
                _ => true,
            }
        });
    }
    views
}

fn list_view(factor: &TableFactor) -> Option<View> {
    let (generator, list, alias) = match factor {
        TableFactor::UNNEST {
            alias, array_exprs, ..
        } => {
            let [list] = array_exprs.as_slice() else {
                return None;
            };
            (generator("unnest")?, list.clone(), alias)
        }
        TableFactor::Function {
            name, args, alias, ..
        } => {
            let (generator, list) = of_table(name, args)?;
            (generator, list, alias)
        }
        TableFactor::Table {
            name,
            args: Some(args),
            alias,
            ..
        } => {
            let (generator, list) = of_table(name, &args.args)?;
            (generator, list, alias)
        }
        _ => return None,
    };
    let names: Vec<Ident> = alias
        .iter()
        .flat_map(|alias| &alias.columns)
        .map(|column| column.name.clone())
        .collect();
    let name = alias
        .as_ref()
        .map_or_else(|| Ident::new("col"), |alias| alias.name.clone());
    Some(View {
        name,
        columns: columns(generator, list, &names),
    })
}

fn of_table(name: &ObjectName, args: &[FunctionArg]) -> Option<(Generator, Expr)> {
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(list))] = args else {
        return None;
    };
    Some((generator(&name.to_string().to_lowercase())?, list.clone()))
}

/// Puts a subquery with the view's columns in the place of the only table.
fn attach(select: &mut Select, view: View) -> Result<(), SqlError> {
    let [
        TableWithJoins {
            relation, joins, ..
        },
    ] = select.from.as_mut_slice()
    else {
        return Err(SqlError::unsupported("LATERAL VIEW over several tables"));
    };
    if !joins.is_empty() {
        return Err(SqlError::unsupported("LATERAL VIEW over a join"));
    }
    let alias = match relation {
        TableFactor::Table { name, alias, .. } => alias.clone().or_else(|| {
            let last = name.0.last()?.as_ident()?.clone();
            Some(TableAlias {
                explicit: true,
                name: last,
                columns: Vec::new(),
                at: None,
            })
        }),
        TableFactor::Derived { alias, .. } => alias.clone(),
        _ => None,
    };
    let mut subquery = star()?;
    if let SetExpr::Select(inner) = subquery.body.as_mut() {
        inner.projection.extend(view.columns);
        inner.from = vec![TableWithJoins {
            relation: relation.clone(),
            joins: Vec::new(),
        }];
    }
    *relation = TableFactor::Derived {
        lateral: false,
        subquery,
        alias,
        sample: None,
    };
    let _ = select.visit(&mut Unqualify { view: view.name });
    Ok(())
}

/// `SELECT *`, to be filled in.
fn star() -> Result<Box<Query>, SqlError> {
    let mut statements = Parser::parse_sql(&SparkSql, "SELECT *").map_err(from_parser)?;
    match statements.pop() {
        Some(Statement::Query(query)) => Ok(query),
        _ => Err(SqlError::internal("SELECT * is a query")),
    }
}

/// `view.column` is `column` now.
struct Unqualify {
    view: Ident,
}

impl VisitorMut for Unqualify {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && parts.len() > 1
            && parts[0].value.eq_ignore_ascii_case(&self.view.value)
        {
            parts.remove(0);
            if let [single] = parts.as_slice() {
                *expr = Expr::Identifier(single.clone());
            }
        }
        ControlFlow::Continue(())
    }
}
