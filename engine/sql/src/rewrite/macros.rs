//! Functions that are short for an expression: `nullifzero(x)` is `nullif(x, 0)`.
//!
//! [`DEFINITIONS`] is written in SQL; a call's arguments take the places of the parameters.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        BinaryOperator, CaseWhen, CastKind, DataType, DuplicateTreatment, ExactNumberInfo, Expr,
        Function, FunctionArg, FunctionArgExpr, FunctionArguments, TimezoneInfo, UnaryOperator,
        VisitMut, VisitorMut, helpers::attached_token::AttachedToken,
    },
    parser::Parser,
};

use crate::{SqlError, error::from_parser, text::SparkSql};

/// Name, parameters, meaning.
pub(crate) const DEFINITIONS: &[(&str, &[&str], &str)] = &[
    (
        "approx_count_distinct",
        &["x"],
        "CAST(approx_distinct(__bits(x)) AS BIGINT)",
    ),
    (
        "approx_count_distinct",
        &["x", "r"],
        "CAST(approx_distinct(__bits(x)) AS BIGINT)",
    ),
    ("ceil", &["x", "n"], "__ceil(x, n)"),
    ("ceiling", &["x", "n"], "__ceil(x, n)"),
    ("cardinality", &["x"], "size(x)"),
    ("char_length", &["x"], "length(x)"),
    ("character_length", &["x"], "length(x)"),
    ("collation", &["x"], "'SYSTEM.BUILTIN.UTF8_BINARY'"),
    ("current_catalog", &[], "'spark_catalog'"),
    ("current_database", &[], "'default'"),
    ("current_schema", &[], "'default'"),
    ("decode", &["x", "c"], "__decode(x, c)"),
    ("e", &[], "CAST('2.718281828459045' AS DOUBLE)"),
    ("equal_null", &["a", "b"], "(a <=> b)"),
    ("floor", &["x", "n"], "__floor(x, n)"),
    ("forall", &["a", "f"], "(NOT array_any_match(a, __not(f)))"),
    ("listagg", &["x"], "string_agg(x, '')"),
    (
        "map_contains_key",
        &["m", "k"],
        "array_contains(map_keys(m), k)",
    ),
    (
        "distinct listagg",
        &["x"],
        "CASE WHEN count(x) > 0 THEN array_join(sort_array(collect_set(x)), '') END",
    ),
    (
        "distinct listagg",
        &["x", "d"],
        "CASE WHEN count(x) > 0 THEN array_join(sort_array(collect_set(x)), d) END",
    ),
    (
        "distinct string_agg",
        &["x"],
        "CASE WHEN count(x) > 0 THEN array_join(sort_array(collect_set(x)), '') END",
    ),
    (
        "distinct string_agg",
        &["x", "d"],
        "CASE WHEN count(x) > 0 THEN array_join(sort_array(collect_set(x)), d) END",
    ),
    (
        "max_by",
        &["x", "y", "n"],
        "CASE WHEN count(y) > 0 THEN transform(slice(sort_array(\
         collect_list(named_struct('by', y, 'value', x)) FILTER (WHERE y IS NOT NULL), false), 1, n), \
         __pair -> get_field(__pair, 'value')) END",
    ),
    (
        "min_by",
        &["x", "y", "n"],
        "CASE WHEN count(y) > 0 THEN transform(slice(sort_array(\
         collect_list(named_struct('by', y, 'value', x)) FILTER (WHERE y IS NOT NULL), true), 1, n), \
         __pair -> get_field(__pair, 'value')) END",
    ),
    ("ifnull", &["a", "b"], "coalesce(a, b)"),
    ("ltrim", &["t", "s"], "__ltrim(s, t)"),
    ("mod", &["a", "b"], "(a % b)"),
    ("negative", &["x"], "(- x)"),
    ("nvl", &["a", "b"], "coalesce(a, b)"),
    (
        "nvl2",
        &["a", "b", "c"],
        "(CASE WHEN a IS NOT NULL THEN b ELSE c END)",
    ),
    ("nullifzero", &["x"], "nullif(x, 0)"),
    (
        "regr_count",
        &["y", "x"],
        "CAST(__regr_count(y, x) AS BIGINT)",
    ),
    ("replace", &["s", "a"], "replace(s, a, '')"),
    ("rtrim", &["t", "s"], "__rtrim(s, t)"),
    ("string_agg", &["x"], "string_agg(x, '')"),
    ("try_add", &["a", "b"], "__try(true, __row -> (a + b))"),
    ("try_divide", &["a", "b"], "__try(true, __row -> (a / b))"),
    (
        "try_element_at",
        &["a", "b"],
        "__try(true, __row -> element_at(a, b))",
    ),
    (
        "try_make_interval",
        &["a"],
        "__try(true, __row -> make_interval(a))",
    ),
    (
        "try_make_interval",
        &["a", "b"],
        "__try(true, __row -> make_interval(a, b))",
    ),
    (
        "try_make_interval",
        &["a", "b", "c"],
        "__try(true, __row -> make_interval(a, b, c))",
    ),
    (
        "try_make_interval",
        &["a", "b", "c", "d"],
        "__try(true, __row -> make_interval(a, b, c, d))",
    ),
    (
        "try_make_interval",
        &["a", "b", "c", "d", "f"],
        "__try(true, __row -> make_interval(a, b, c, d, f))",
    ),
    (
        "try_make_interval",
        &["a", "b", "c", "d", "f", "g"],
        "__try(true, __row -> make_interval(a, b, c, d, f, g))",
    ),
    (
        "try_make_interval",
        &["a", "b", "c", "d", "f", "g", "h"],
        "__try(true, __row -> make_interval(a, b, c, d, f, g, h))",
    ),
    (
        "try_make_timestamp",
        &["a"],
        "__try(true, __row -> make_timestamp(a))",
    ),
    (
        "try_make_timestamp",
        &["a", "b", "c", "d", "f", "g"],
        "__try(true, __row -> make_timestamp(a, b, c, d, f, g))",
    ),
    (
        "try_make_timestamp",
        &["a", "b", "c", "d", "f", "g", "z"],
        "__try(true, __row -> make_timestamp(a, b, c, d, f, g, z))",
    ),
    (
        "try_make_timestamp_ltz",
        &["a", "b", "c", "d", "f", "g"],
        "__try(true, __row -> make_timestamp(a, b, c, d, f, g))",
    ),
    (
        "try_make_timestamp_ltz",
        &["a", "b", "c", "d", "f", "g", "z"],
        "__try(true, __row -> make_timestamp(a, b, c, d, f, g, z))",
    ),
    (
        "try_make_timestamp_ntz",
        &["a", "b", "c", "d", "f", "g"],
        "__try(true, __row -> make_timestamp_ntz(a, b, c, d, f, g))",
    ),
    ("try_mod", &["a", "b"], "__try(true, __row -> (a % b))"),
    ("try_multiply", &["a", "b"], "__try(true, __row -> (a * b))"),
    ("try_subtract", &["a", "b"], "__try(true, __row -> (a - b))"),
    ("try_to_date", &["a"], "__try(true, __row -> to_date(a))"),
    (
        "try_to_date",
        &["a", "b"],
        "__try(true, __row -> to_date(a, b))",
    ),
    (
        "try_to_binary",
        &["a"],
        "__try(true, __row -> to_binary(a))",
    ),
    (
        "try_to_binary",
        &["a", "b"],
        "__try(true, __row -> to_binary(a, b))",
    ),
    (
        "try_to_number",
        &["a", "b"],
        "__try(true, __row -> to_number(a, b))",
    ),
    (
        "try_validate_utf8",
        &["x"],
        "__try(true, __row -> validate_utf8(x))",
    ),
    (
        "make_timestamp_ltz",
        &["a", "b", "c", "d", "f", "g"],
        "make_timestamp(a, b, c, d, f, g)",
    ),
    ("array_sort", &["a", "f"], "__array_sort_by(a, f)"),
    (
        "collect_union",
        &["x"],
        "array_distinct(flatten(collect_list(x)))",
    ),
    (
        "convert_timezone",
        &["z", "t"],
        "convert_timezone(current_timezone(), z, t)",
    ),
    (
        "make_timestamp",
        &["d"],
        "CAST(CAST(d AS DATE) AS TIMESTAMP)",
    ),
    (
        "make_timestamp",
        &["a", "b", "c", "d", "f", "g", "z"],
        "__instant(make_timestamp_ntz(a, b, c, d, f, g), z)",
    ),
    (
        "make_timestamp_ltz",
        &["a", "b", "c", "d", "f", "g", "z"],
        "__instant(make_timestamp_ntz(a, b, c, d, f, g), z)",
    ),
    (
        "unix_nanos",
        &["t"],
        "CAST(CAST(unix_micros(t) AS DECIMAL(20, 0)) * 1000 AS DECIMAL(21, 0))",
    ),
    ("zeroifnull", &["x"], "coalesce(x, 0)"),
];

/// Aggregates that meanings are written with.
const GROUPED: &[&str] = &[
    "approx_distinct(",
    "collect_list(",
    "regr_count(",
    "string_agg(",
];

/// Whether a meaning is of a group of rows.
pub(crate) fn is_grouped(body: &str) -> bool {
    GROUPED.iter().any(|aggregate| body.contains(aggregate))
}

/// Types whose names are functions, too.
pub(crate) const CASTS: &[&str] = &[
    "bigint",
    "binary",
    "boolean",
    "date",
    "decimal",
    "double",
    "float",
    "int",
    "smallint",
    "string",
    "timestamp",
    "tinyint",
];

/// Replaces a call by what it is short for.
pub(super) fn expand(expr: &mut Expr) -> Result<(), SqlError> {
    let Expr::Function(call) = &*expr else {
        return Ok(());
    };
    let Some(arguments) = plain_arguments(call) else {
        return Ok(());
    };
    let name = call.name.to_string().to_lowercase();
    if let ("__not", [lambda]) = (name.as_str(), arguments.as_slice()) {
        *expr = negated(lambda.clone());
        return Ok(());
    }
    if name == "decode" && arguments.len() > 2 {
        *expr = first_equal(&arguments);
        return Ok(());
    }
    if let ([argument], true) = (arguments.as_slice(), CASTS.contains(&name.as_str())) {
        *expr = Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(argument.clone()),
            data_type: type_of(&name),
            array: false,
            format: None,
        };
        return Ok(());
    }
    let name = if is_distinct(call) {
        format!("distinct {name}")
    } else {
        name
    };
    let definition = DEFINITIONS
        .iter()
        .find(|(known, parameters, _)| *known == name && parameters.len() == arguments.len());
    let Some((_, parameters, body)) = definition else {
        return Ok(());
    };
    let mut body = Parser::new(&SparkSql)
        .try_with_sql(body)
        .and_then(|mut parser| parser.parse_expr())
        .map_err(from_parser)?;
    let mut fill = Fill {
        parameters,
        arguments: &arguments,
        filter: call.filter.as_deref(),
        filtered: false,
    };
    let _ = body.visit(&mut fill);
    let filtered = fill.filtered;
    let inner = match &mut body {
        Expr::Cast { expr, .. } => expr.as_mut(),
        other => other,
    };
    if let (Some(filter), Expr::Function(inner), false) = (&call.filter, inner, filtered) {
        inner.filter = Some(filter.clone());
    }
    *expr = body;
    Ok(())
}

fn type_of(name: &str) -> DataType {
    match name {
        "bigint" => DataType::BigInt(None),
        "binary" => DataType::Binary(None),
        "boolean" => DataType::Boolean,
        "date" => DataType::Date,
        "decimal" => DataType::Decimal(ExactNumberInfo::None),
        "double" => DataType::Double(ExactNumberInfo::None),
        "float" => DataType::Real,
        "int" => DataType::Int(None),
        "smallint" => DataType::SmallInt(None),
        "timestamp" => DataType::Timestamp(None, TimezoneInfo::None),
        "tinyint" => DataType::TinyInt(None),
        _ => DataType::String(None),
    }
}

fn is_distinct(call: &Function) -> bool {
    matches!(
        &call.args,
        FunctionArguments::List(list)
            if list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
    )
}

fn plain_arguments(call: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    list.args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect()
}

/// The opposite of a lambda.
fn negated(lambda: Expr) -> Expr {
    match lambda {
        Expr::Lambda(mut lambda) => {
            lambda.body = Box::new(Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr: Box::new(Expr::Nested(lambda.body)),
            });
            Expr::Lambda(lambda)
        }
        other => other,
    }
}

/// `decode(x, a, 1, b, 2, 3)`: a CASE in which nulls are equal.
fn first_equal(arguments: &[Expr]) -> Expr {
    let (value, pairs) = (&arguments[0], &arguments[1..]);
    let when = |pair: &[Expr]| CaseWhen {
        condition: Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(value.clone()))),
            op: BinaryOperator::Spaceship,
            right: Box::new(Expr::Nested(Box::new(pair[0].clone()))),
        },
        result: pair[1].clone(),
    };
    let default = (pairs.len() % 2 == 1)
        .then(|| pairs.last().cloned())
        .flatten();
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: pairs.chunks_exact(2).map(when).collect(),
        else_result: default.map(Box::new),
    }
}

/// Aggregates inside a meaning, which the filter of the call is for.
const AGGREGATES: &[&str] = &["collect_list", "collect_set", "count"];

struct Fill<'a> {
    parameters: &'a [&'a str],
    arguments: &'a [Expr],
    filter: Option<&'a Expr>,
    /// Whether an aggregate of the meaning got the filter.
    filtered: bool,
}

impl VisitorMut for Fill<'_> {
    type Break = ();

    // After its parts: what was put in has names of its own.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let (Expr::Function(inner), Some(filter)) = (&mut *expr, self.filter)
            && AGGREGATES.contains(&inner.name.to_string().as_str())
        {
            let nested = |expr: Expr| Box::new(Expr::Nested(Box::new(expr)));
            inner.filter = Some(match inner.filter.take() {
                None => Box::new(filter.clone()),
                Some(own) => Box::new(Expr::BinaryOp {
                    left: nested(*own),
                    op: BinaryOperator::And,
                    right: nested(filter.clone()),
                }),
            });
            self.filtered = true;
        }
        if let Expr::Identifier(name) = &*expr
            && let Some(idx) = self.parameters.iter().position(|p| *p == name.value)
            && let Some(argument) = self.arguments.get(idx)
        {
            *expr = match argument {
                Expr::Lambda(_) => argument.clone(),
                other => Expr::Nested(Box::new(other.clone())),
            };
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_expressions() {
        for (name, _, body) in DEFINITIONS {
            let parsed = Parser::new(&SparkSql)
                .try_with_sql(body)
                .and_then(|mut parser| parser.parse_expr());
            assert!(parsed.is_ok(), "{name}: {body}");
        }
    }
}
