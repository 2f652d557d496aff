//! What Spark means by a call or an operator, written so that DataFusion means it too.
//!
//! [`expression`] is one step of the resolver's visit: it looks at one expression whose parts are still
//! as the user wrote them. `first(x, true)` ignores nulls; `1e3` is a double.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    NullTreatment, ObjectName, Value,
};

use crate::{SqlError, calls::called, functions::arrays::ZIP};

pub(crate) mod bare_windows;
pub(crate) mod clauses;
pub(crate) mod frames;
pub(crate) mod generate;
pub(crate) mod groups;
mod intervals;
pub(crate) mod macros;
pub(crate) mod naming;
mod units;
mod values;
pub(crate) mod windows;

/// Rewrites one expression; its parts come later.
///
/// # Errors
/// Calls that have no meaning.
pub(crate) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    frames::name(expr);
    values::rewrite(expr)?;
    groups::within_group(expr)?;
    macros::expand(expr)?;
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
    Ok(())
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
    let of_call;
    let values = match &*expr {
        Expr::Struct { values, fields } if fields.is_empty() => values,
        Expr::Tuple(values) => values,
        // As programs call it; for the parser it is a word of its own.
        Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("struct") => {
            let FunctionArguments::List(list) = &call.args else {
                return;
            };
            let Some(values) = generate::plain(&list.args) else {
                return;
            };
            of_call = values;
            &of_call
        }
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
