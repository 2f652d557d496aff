//! Functions that are short for an expression: `nullifzero(x)` is `nullif(x, 0)`.
//!
//! [`DEFINITIONS`] is written in SQL; a call's arguments take the places of the parameters.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "enums of another crate, with many variants and more to come"
)]

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        BinaryOperator, CaseWhen, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg,
        FunctionArgExpr, FunctionArguments, TimezoneInfo, UnaryOperator, VisitMut, VisitorMut,
        helpers::attached_token::AttachedToken,
    },
    parser::Parser,
};

use crate::{SqlError, error::from_parser, text::SparkSql};

/// Name, parameters, meaning.
pub(crate) const DEFINITIONS: &[(&str, &[&str], &str)] = &[
    (
        "approx_count_distinct",
        &["x"],
        "CAST(approx_distinct(x) AS BIGINT)",
    ),
    (
        "approx_count_distinct",
        &["x", "r"],
        "CAST(approx_distinct(x) AS BIGINT)",
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
    ("current_timezone", &[], "'UTC'"),
    ("decode", &["x", "c"], "__decode(x, c)"),
    ("e", &[], "CAST('2.718281828459045' AS DOUBLE)"),
    ("equal_null", &["a", "b"], "(a <=> b)"),
    ("floor", &["x", "n"], "__floor(x, n)"),
    ("forall", &["a", "f"], "(NOT array_any_match(a, __not(f)))"),
    ("ifnull", &["a", "b"], "coalesce(a, b)"),
    ("listagg", &["x"], "string_agg(x, '')"),
    (
        "map_contains_key",
        &["m", "k"],
        "array_contains(map_keys(m), k)",
    ),
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
        "try_make_timestamp",
        &["a", "b", "c", "d", "f", "g"],
        "__try(true, __row -> make_timestamp(a, b, c, d, f, g))",
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
    ("zeroifnull", &["x"], "coalesce(x, 0)"),
];

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
    let _ = body.visit(&mut Fill {
        parameters,
        arguments: &arguments,
    });
    let inner = match &mut body {
        Expr::Cast { expr, .. } => expr.as_mut(),
        other => other,
    };
    if let (Some(filter), Expr::Function(inner)) = (&call.filter, inner) {
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

struct Fill<'a> {
    parameters: &'a [&'a str],
    arguments: &'a [Expr],
}

impl VisitorMut for Fill<'_> {
    type Break = ();

    // After its parts: what was put in has names of its own.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
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
