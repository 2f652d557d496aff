//! `explode` and its kin, and LATERAL VIEW, as `unnest`.
//!
//! A view beside a table becomes a subquery in the table's place that has the table's columns and
//! the elements. `explode_outer` and `posexplode` change the list first, so that only one way of
//! unnesting is left for the planner.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinOperator, LateralView,
        ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement,
        TableAlias, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
    },
    parser::Parser,
};

use crate::{
    SqlError,
    error::from_parser,
    functions::lists::{ENTRIES, OUTER, POSITIONS},
    text::SparkSql,
};

/// `explode` of a map.
pub(super) const MAP_ROWS: &str = "__explode_map";
/// `posexplode` of a map.
pub(super) const MAP_POSITIONS: &str = "__posexplode_map";
/// `inline`, with the names of the fields first.
pub(super) const STRUCT_ROWS: &str = "__inline";

/// A call that makes columns, and mostly rows.
#[derive(Clone)]
enum Generated {
    /// A row for each element.
    Elements {
        list: Expr,
        positions: bool,
        outer: bool,
    },
    /// A row for each entry.
    Entries {
        map: Expr,
        positions: bool,
        outer: bool,
    },
    /// A row for each struct, whose fields become columns.
    Structs {
        list: Expr,
        fields: Vec<String>,
        outer: bool,
    },
    /// Columns of the row that is there.
    Columns(Vec<Expr>),
}

impl Generated {
    /// LATERAL VIEW OUTER.
    fn outer(&mut self) {
        match self {
            Generated::Elements { outer, .. }
            | Generated::Entries { outer, .. }
            | Generated::Structs { outer, .. } => *outer = true,
            Generated::Columns(_) => {}
        }
    }
}

/// The arguments of a call by their places.
pub(super) fn plain(args: &[FunctionArg]) -> Option<Vec<Expr>> {
    args.iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect()
}

fn generator(name: &str, mut arguments: Vec<Expr>) -> Option<Generated> {
    let outer = name.ends_with("_outer");
    let name = name.trim_end_matches("_outer");
    let positions = name.contains("posexplode");
    match name {
        "explode" | "unnest" | "posexplode" => Some(Generated::Elements {
            list: single(arguments)?,
            positions,
            outer,
        }),
        MAP_ROWS | MAP_POSITIONS => Some(Generated::Entries {
            map: single(arguments)?,
            positions,
            outer,
        }),
        STRUCT_ROWS => {
            let list = arguments.pop()?;
            let fields = arguments.iter().map(text).collect::<Option<_>>()?;
            Some(Generated::Structs {
                list,
                fields,
                outer,
            })
        }
        "stack" => stack(&arguments),
        "json_tuple" => {
            let fields = 0..arguments.len().checked_sub(1)?;
            let tuple = super::called("json_tuple", arguments);
            let field = |nth: usize| field_of(tuple.clone(), &format!("c{nth}"));
            Some(Generated::Columns(fields.map(field).collect()))
        }
        _ => None,
    }
}

fn single(mut arguments: Vec<Expr>) -> Option<Expr> {
    let last = arguments.pop()?;
    arguments.is_empty().then_some(last)
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// `stack(2, a, b, c, d)` is a list of two structs.
fn stack(arguments: &[Expr]) -> Option<Generated> {
    let (Expr::Value(count), values) = arguments.split_first()? else {
        return None;
    };
    let Value::Number(count, _) = &count.value else {
        return None;
    };
    let rows: usize = count.parse().ok().filter(|rows| *rows > 0)?;
    let width = values.len().div_ceil(rows).max(1);
    let fields: Vec<String> = (0..width).map(|nth| format!("col{nth}")).collect();
    let null = || Expr::Value(Value::Null.with_empty_span());
    let row = |nth: usize| {
        let parts = fields.iter().enumerate().flat_map(|(column, name)| {
            let value = values.get(nth * width + column).cloned();
            let name = Value::SingleQuotedString(name.clone()).with_empty_span();
            [Expr::Value(name), value.unwrap_or_else(null)]
        });
        super::called("named_struct", parts.collect())
    };
    Some(Generated::Structs {
        list: super::called("array", (0..rows).map(row).collect()),
        fields,
        outer: false,
    })
}

/// The generator that an expression calls.
fn called(expr: &Expr) -> Option<Generated> {
    let Expr::Function(call) = expr else {
        return None;
    };
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    generator(&call.name.to_string().to_lowercase(), plain(&list.args)?)
}

fn call(name: &str, argument: Expr) -> Expr {
    super::called(name, vec![argument])
}

fn aliased(expr: Expr, alias: Ident) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias }
}

fn field_of(value: Expr, name: &str) -> Expr {
    let name = Value::SingleQuotedString(name.to_owned()).with_empty_span();
    super::called("get_field", vec![value, Expr::Value(name)])
}

/// The columns that a generator makes, by these names if there are any.
fn columns(generated: Generated, names: &[Ident]) -> Vec<SelectItem> {
    let name = |idx: usize, default: &str| {
        names
            .get(idx)
            .cloned()
            .unwrap_or_else(|| Ident::with_quote('`', default))
    };
    let unnested = |list: Expr, outer: bool| {
        let list = if outer { call(OUTER, list) } else { list };
        call("unnest", list)
    };
    let of_parts = |row: &Expr, parts: &[&str]| {
        let column = |(idx, part): (usize, &&str)| {
            let value = part.split('.').fold(row.clone(), field_of);
            let default = part.rsplit('.').next().unwrap_or(part);
            aliased(value, name(idx, default))
        };
        parts.iter().enumerate().map(column).collect()
    };
    match generated {
        Generated::Elements {
            list,
            positions: true,
            outer,
        } => of_parts(&unnested(call(POSITIONS, list), outer), &["pos", "col"]),
        // Two names for one column: the list is a map.
        Generated::Elements { list, outer, .. } if names.len() == 2 => {
            of_parts(&unnested(call(ENTRIES, list), outer), &["key", "value"])
        }
        Generated::Elements { list, outer, .. } => {
            vec![aliased(unnested(list, outer), name(0, "col"))]
        }
        Generated::Entries {
            map,
            positions: true,
            outer,
        } => of_parts(
            &unnested(call(POSITIONS, map), outer),
            &["pos", "col.key", "col.value"],
        ),
        Generated::Entries { map, outer, .. } => {
            of_parts(&unnested(call(ENTRIES, map), outer), &["key", "value"])
        }
        Generated::Structs {
            list,
            fields,
            outer,
        } => {
            let row = unnested(list, outer);
            let column = |(idx, field): (usize, &String)| {
                aliased(field_of(row.clone(), field), name(idx, field))
            };
            fields.iter().enumerate().map(column).collect()
        }
        Generated::Columns(columns) => {
            let column = |(idx, expr)| aliased(expr, name(idx, &format!("c{idx}")));
            columns.into_iter().enumerate().map(column).collect()
        }
    }
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
            Some(generated) => select.projection.extend(columns(generated, &names)),
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
        let Some(mut generated) = called(&lateral_view) else {
            return Err(SqlError::unsupported(format!(
                "LATERAL VIEW of {lateral_view}"
            )));
        };
        if outer {
            generated.outer();
        }
        views.push(View {
            name: Ident::new(lateral_view_name.to_string()),
            columns: columns(generated, &lateral_col_alias),
        });
    }
    for view in views {
        expand_star(select, &view);
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
    let (generated, alias) = match factor {
        TableFactor::UNNEST {
            alias, array_exprs, ..
        } => {
            let [list] = array_exprs.as_slice() else {
                return None;
            };
            (generator("unnest", vec![list.clone()])?, alias)
        }
        TableFactor::Function {
            name, args, alias, ..
        } => (of_table(name, args)?, alias),
        TableFactor::Table {
            name,
            args: Some(args),
            alias,
            ..
        } => (of_table(name, &args.args)?, alias),
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
        columns: columns(generated, &names),
    })
}

fn of_table(name: &ObjectName, args: &[FunctionArg]) -> Option<Generated> {
    generator(&name.to_string().to_lowercase(), plain(args)?)
}

/// `view.*` is the view's columns.
fn expand_star(select: &mut Select, view: &View) {
    let items = std::mem::take(&mut select.projection);
    for item in items {
        match &item {
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _)
                if name.to_string().eq_ignore_ascii_case(&view.name.value) =>
            {
                let names = view.columns.iter().filter_map(|column| match column {
                    SelectItem::ExprWithAlias { alias, .. } => Some(alias.clone()),
                    _ => None,
                });
                let column = |name: Ident| SelectItem::UnnamedExpr(Expr::Identifier(name));
                select.projection.extend(names.map(column));
            }
            _ => select.projection.push(item),
        }
    }
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
