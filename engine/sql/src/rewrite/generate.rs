//! `explode` and its kin, and LATERAL VIEW, as `unnest`.
//!
//! `explode_outer` and `posexplode` change the list first, so that only one way of unnesting is left for
//! the planner. What a generator makes depends on the type of its argument.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::{
    ast::{
        Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinOperator, LateralView,
        Query, Select, SetExpr, Statement, TableFactor, Value,
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
            let tuple = crate::calls::called("json_tuple", arguments);
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
        crate::calls::called("named_struct", parts.collect())
    };
    Some(Generated::Structs {
        list: crate::calls::called("array", (0..rows).map(row).collect()),
        fields,
        outer: false,
    })
}

/// The generator that an expression calls.
fn generator_of(expr: &Expr) -> Option<Generated> {
    let Expr::Function(call) = expr else {
        return None;
    };
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    generator(&call.name.to_string().to_lowercase(), plain(&list.args)?)
}

/// Whether an expression calls a generator, and which arguments it has.
pub(crate) fn is_generator(expr: &Expr) -> bool {
    const NAMES: [&str; 8] = [
        "explode",
        "posexplode",
        "unnest",
        "inline",
        "stack",
        "json_tuple",
        "explode_outer",
        "posexplode_outer",
    ];
    let Expr::Function(call) = expr else {
        return false;
    };
    let name = call.name.to_string().to_lowercase();
    NAMES.contains(&name.as_str()) || name == "inline_outer"
}

/// What a generator unfolds, if it unfolds its only argument.
pub(crate) fn list_of(call: &Expr) -> Option<&Expr> {
    let Expr::Function(function) = call else {
        return None;
    };
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let name = function.name.to_string().to_lowercase();
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] if name != "unnest" => {
            Some(argument)
        }
        _ => None,
    }
}

/// The columns that a call of a generator makes, of which every argument is resolved. `type_of` knows the
/// types of its arguments. Nothing if it cannot be called so.
pub(crate) fn generated(
    mut call: Expr,
    names: &[Ident],
    outer: bool,
    type_of: &dyn Fn(&Expr) -> Option<DataType>,
) -> Option<Vec<(Expr, String)>> {
    with_type(&mut call, type_of);
    let mut generated = generator_of(&call)?;
    if outer {
        generated.outer();
    }
    Some(columns(generated, names))
}

/// Writes the type of its argument into a generator's name.
fn with_type(expr: &mut Expr, type_of: &dyn Fn(&Expr) -> Option<DataType>) {
    let Expr::Function(call) = &*expr else { return };
    let FunctionArguments::List(list) = &call.args else {
        return;
    };
    let name = call.name.to_string().to_lowercase();
    let (base, outer) = match name.strip_suffix("_outer") {
        Some(base) => (base, "_outer"),
        None => (name.as_str(), ""),
    };
    let of_map = match base {
        "explode" => MAP_ROWS,
        "posexplode" => MAP_POSITIONS,
        "inline" => STRUCT_ROWS,
        _ => return,
    };
    let Some(mut arguments) = plain(&list.args).filter(|all| all.len() == 1) else {
        return;
    };
    let Some(data_type) = type_of(&arguments[0]) else {
        return;
    };
    match (base, data_type) {
        ("inline", DataType::List(item) | DataType::LargeList(item)) => {
            let DataType::Struct(fields) = item.data_type() else {
                return;
            };
            let name = |name: &str| Value::SingleQuotedString(name.to_owned()).with_empty_span();
            let names = fields.iter().map(|field| Expr::Value(name(field.name())));
            arguments.splice(0..0, names);
        }
        ("explode" | "posexplode", DataType::Map(..)) => {}
        _ => return,
    }
    *expr = crate::calls::called(&format!("{of_map}{outer}"), arguments);
}

fn call(name: &str, argument: Expr) -> Expr {
    crate::calls::called(name, vec![argument])
}

fn field_of(value: Expr, name: &str) -> Expr {
    let name = Value::SingleQuotedString(name.to_owned()).with_empty_span();
    crate::calls::called("get_field", vec![value, Expr::Value(name)])
}

/// The columns that a generator makes, by these names if there are any.
fn columns(generated: Generated, names: &[Ident]) -> Vec<(Expr, String)> {
    let name = |idx: usize, default: &str| {
        let given = names.get(idx).map(|name| name.value.clone());
        given.unwrap_or_else(|| default.to_owned())
    };
    let unnested = |list: Expr, outer: bool| {
        let list = if outer { call(OUTER, list) } else { list };
        call("unnest", list)
    };
    let of_parts = |row: &Expr, parts: &[&str]| {
        let column = |(idx, part): (usize, &&str)| {
            let value = part.split('.').fold(row.clone(), field_of);
            let default = part.rsplit('.').next().unwrap_or(part);
            (value, name(idx, default))
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
            vec![(unnested(list, outer), name(0, "col"))]
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
            let column =
                |(idx, field): (usize, &String)| (field_of(row.clone(), field), name(idx, field));
            fields.iter().enumerate().map(column).collect()
        }
        Generated::Columns(columns) => {
            let column = |(idx, expr)| (expr, name(idx, &format!("c{idx}")));
            columns.into_iter().enumerate().map(column).collect()
        }
    }
}

/// Generated columns that stand beside what is in FROM.
pub(crate) struct View {
    /// The name by which the columns may be qualified.
    pub(crate) name: Ident,
    /// The call that makes them.
    pub(crate) generator: Expr,
    /// Their names; those that the generator gives, without.
    pub(crate) columns: Vec<Ident>,
    /// Whether a row without elements stays.
    pub(crate) outer: bool,
}

/// The LATERAL VIEWs of a SELECT, taken out of it.
///
/// # Errors
/// When one is no generator.
pub(crate) fn lateral_views(select: &mut Select) -> Result<Vec<View>, SqlError> {
    let views = std::mem::take(&mut select.lateral_views).into_iter();
    let view = |view: LateralView| {
        if !is_generator(&view.lateral_view) {
            return Err(SqlError::unsupported(format!(
                "LATERAL VIEW of {}",
                view.lateral_view
            )));
        }
        Ok(View {
            name: Ident::new(view.lateral_view_name.to_string()),
            generator: view.lateral_view,
            columns: view.lateral_col_alias,
            outer: view.outer,
        })
    };
    views.map(view).collect()
}

/// Takes lists out of FROM: `FROM t, UNNEST(t.list) AS u(x)` and `t CROSS JOIN UNNEST(…)`. A list that
/// stands alone is beside nothing: one row.
///
/// # Errors
/// UNNEST of several lists.
pub(crate) fn lists_in_from(select: &mut Select) -> Result<Vec<View>, SqlError> {
    let mut views = Vec::new();
    let mut rest = Vec::new();
    for mut item in std::mem::take(&mut select.from) {
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
        match list_view(&item.relation) {
            Some(view) if item.joins.is_empty() => views.insert(0, view),
            _ => rest.push(item),
        }
    }
    select.from = rest;
    Ok(views)
}

fn list_view(factor: &TableFactor) -> Option<View> {
    let (generator, alias) = match factor {
        TableFactor::UNNEST {
            alias, array_exprs, ..
        } => {
            let [list] = array_exprs.as_slice() else {
                return None;
            };
            (call("unnest", list.clone()), alias)
        }
        TableFactor::Function {
            name, args, alias, ..
        } => (crate::calls::called(&name.to_string(), plain(args)?), alias),
        TableFactor::Table {
            name,
            args: Some(args),
            alias,
            ..
        } => (
            crate::calls::called(&name.to_string(), plain(&args.args)?),
            alias,
        ),
        _ => return None,
    };
    if !is_generator(&generator) {
        return None;
    }
    let names = alias.iter().flat_map(|alias| &alias.columns);
    let name = alias
        .as_ref()
        .map_or_else(|| Ident::new("col"), |alias| alias.name.clone());
    Some(View {
        name,
        generator,
        columns: names.map(|column| column.name.clone()).collect(),
        outer: false,
    })
}

/// `SELECT *`, to be filled in.
///
/// # Errors
/// Never: the text is one of ours.
pub(crate) fn star() -> Result<Box<Query>, SqlError> {
    let mut statements = Parser::parse_sql(&SparkSql, "SELECT *").map_err(from_parser)?;
    match statements.pop() {
        Some(Statement::Query(query)) => Ok(query),
        _ => Err(SqlError::internal("SELECT * is a query")),
    }
}

/// The SELECT of a query that is one.
///
/// # Errors
/// When it is none.
pub(crate) fn select_of(query: &mut Query) -> Result<&mut Select, SqlError> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Ok(select),
        _ => Err(SqlError::internal("a SELECT was expected")),
    }
}
