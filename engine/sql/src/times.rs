//! Spark's rules for times, where DataFusion's differ.
//!
//! A time as a number counts seconds, not the microseconds that it is stored in; a time as a text has
//! a blank in its middle and no zone; beside an instant a date or a local time is the instant of it in
//! UTC. DataFusion would make a time in nanoseconds without a zone of the two, and those end in 2262.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::{Column, DFSchema, Result, ScalarValue, tree_node::Transformed},
    logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, Projection, lit},
};

use crate::functions::datetime::{time_call, time_text};

/// The digits of microseconds since 1970, and those behind the point of seconds.
const MICROS_DIGITS: u8 = 20;
const SECOND_DIGITS: u8 = 6;

/// A cast to or from a time by Spark's rules.
pub(crate) fn cast(cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let to = cast.field.data_type();
    let from = cast.expr.get_type(schema);
    let from_time = matches!(from, Ok(DataType::Timestamp(..)));
    let from_instant = matches!(from, Ok(DataType::Timestamp(_, Some(_))));
    let from_number = from.is_ok_and(|from| from.is_numeric());
    let is_text = matches!(
        to,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    );
    Ok(Transformed::yes(match to {
        _ if from_time && is_text => time_text(*cast.expr),
        to if from_instant && to.is_integer() => {
            let seconds = time_call("unix_seconds", *cast.expr);
            Expr::Cast(Cast::new(Box::new(seconds), to.clone()))
        }
        to if from_instant && to.is_floating() => {
            let micros = time_call("unix_micros", *cast.expr);
            let micros = Expr::Cast(Cast::new(Box::new(micros), DataType::Float64));
            Expr::Cast(Cast::new(Box::new(micros / lit(1e6)), to.clone()))
        }
        DataType::Decimal128(..) if from_instant => {
            let digits = DataType::Decimal128(MICROS_DIGITS, 0);
            let micros = time_call("unix_micros", *cast.expr);
            let micros = Expr::Cast(Cast::new(Box::new(micros), digits));
            let places = i8::try_from(SECOND_DIGITS).unwrap_or_default();
            let micro = lit(ScalarValue::Decimal128(Some(1), SECOND_DIGITS, places));
            let seconds = BinaryExpr::new(Box::new(micros), Operator::Multiply, Box::new(micro));
            let seconds = Expr::BinaryExpr(seconds);
            Expr::Cast(Cast::new(Box::new(seconds), to.clone()))
        }
        DataType::Timestamp(_, Some(_)) if from_number => {
            time_call("timestamp_seconds", *cast.expr)
        }
        _ => return Ok(Transformed::no(Expr::Cast(cast))),
    }))
}

/// The type that both have beside each other, where they differ: a date follows any time, a local time
/// follows an instant.
fn common(one: &DataType, other: &DataType) -> Option<DataType> {
    match (one, other) {
        (DataType::Timestamp(_, Some(_)), DataType::Date32 | DataType::Timestamp(_, None))
        | (DataType::Timestamp(_, None), DataType::Date32) => Some(one.clone()),
        (DataType::Date32 | DataType::Timestamp(_, None), DataType::Timestamp(_, Some(_)))
        | (DataType::Date32, DataType::Timestamp(_, None)) => Some(other.clone()),
        _ => None,
    }
}

/// The type of a decimal beside a double: the library would make a decimal of both.
pub(crate) fn beside_double(one: &DataType, other: &DataType) -> Option<DataType> {
    let is_double = |found: &DataType| matches!(found, DataType::Float32 | DataType::Float64);
    let is_decimal = |found: &DataType| matches!(found, DataType::Decimal128(..));
    let is_both = (is_double(one) && is_decimal(other)) || (is_decimal(one) && is_double(other));
    is_both.then_some(DataType::Float64)
}

/// The type of a time beside a text, which is read as one.
fn beside_text(one: &DataType, other: &DataType) -> Option<DataType> {
    let is_time = |found: &DataType| {
        matches!(
            found,
            DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, _)
        )
    };
    match (one, other) {
        (time, DataType::Utf8) | (DataType::Utf8, time) if is_time(time) => Some(time.clone()),
        _ => None,
    }
}

fn cast_to(expr: Expr, from: &DataType, to: &DataType) -> Expr {
    if from == to {
        return expr;
    }
    Expr::Cast(Cast::new(Box::new(expr), to.clone()))
}

/// Whether an operator compares two values.
pub(crate) fn compares(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// A comparison of a time with a date or a local time, as one of two times of one type.
pub(crate) fn same_in_comparison(
    mut binary: BinaryExpr,
    schema: &DFSchema,
) -> Result<Transformed<Expr>> {
    let left = binary.left.get_type(schema).ok();
    let right = binary.right.get_type(schema).ok();
    let Some((left, right)) = left.zip(right) else {
        return Ok(Transformed::no(Expr::BinaryExpr(binary)));
    };
    let Some(to) = common(&left, &right).or_else(|| beside_text(&left, &right)) else {
        return Ok(Transformed::no(Expr::BinaryExpr(binary)));
    };
    binary.left = Box::new(cast_to(*binary.left, &left, &to));
    binary.right = Box::new(cast_to(*binary.right, &right, &to));
    Ok(Transformed::yes(Expr::BinaryExpr(binary)))
}

/// Functions whose arguments, as far as they are times, have one type.
const ALIKE: &[&str] = &[
    "coalesce",
    "nvl2",
    "if",
    "greatest",
    "least",
    "make_array",
    "array",
];

/// Dates and local times beside instants in CASE, IN, BETWEEN and functions of like values, as instants.
pub(crate) fn same_in_values(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let values: Vec<&mut Expr> = match &mut expr {
        Expr::Case(case) => {
            let results = case.when_then_expr.iter_mut().map(|(_, then)| then);
            results
                .chain(&mut case.else_expr)
                .map(AsMut::as_mut)
                .collect()
        }
        Expr::InList(list) => std::iter::once(list.expr.as_mut())
            .chain(&mut list.list)
            .collect(),
        Expr::Between(between) => vec![
            between.expr.as_mut(),
            between.low.as_mut(),
            between.high.as_mut(),
        ],
        Expr::ScalarFunction(call) if ALIKE.contains(&call.func.name()) => {
            call.args.iter_mut().collect()
        }
        _ => return Ok(Transformed::no(expr)),
    };
    let mut times = Vec::new();
    for value in values {
        let found = value.get_type(schema)?;
        if matches!(found, DataType::Date32 | DataType::Timestamp(..)) {
            times.push((value, found));
        }
    }
    let Some((_, first)) = times.first() else {
        return Ok(Transformed::no(expr));
    };
    let to = times.iter().fold(first.clone(), |so_far, (_, next)| {
        common(&so_far, next).unwrap_or(so_far)
    });
    let mut changed = false;
    for (value, found) in times {
        if found != to {
            changed = true;
            let plain = std::mem::take(value);
            *value = cast_to(plain, &found, &to);
        }
    }
    Ok(if changed {
        Transformed::yes(expr)
    } else {
        Transformed::no(expr)
    })
}

/// The inputs of a union, with dates and local times cast to the times of other inputs.
pub(crate) fn same_in_union(inputs: Vec<Arc<LogicalPlan>>) -> Result<Vec<Arc<LogicalPlan>>> {
    let columns = inputs.iter().map(|input| input.schema().fields().len());
    let times: Vec<Option<DataType>> = (0..columns.max().unwrap_or(0))
        .map(|idx| {
            let mut types = inputs
                .iter()
                .filter_map(|input| input.schema().fields().get(idx))
                .map(|field| field.data_type().clone());
            let first = types.next()?;
            types.try_fold(first, |so_far, next| {
                let wide = common(&so_far, &next).or_else(|| beside_double(&so_far, &next));
                wide.or_else(|| (so_far == next).then_some(so_far))
            })
        })
        .collect();
    inputs
        .into_iter()
        .map(|input| with_times(input, &times))
        .collect()
}

fn with_times(input: Arc<LogicalPlan>, times: &[Option<DataType>]) -> Result<Arc<LogicalPlan>> {
    let mut differs = false;
    let mut expressions = Vec::new();
    for ((qualifier, field), time) in input.schema().iter().zip(times) {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        expressions.push(match time {
            Some(time) if time != field.data_type() => {
                differs = true;
                cast_to(column, field.data_type(), time)
                    .alias_qualified(qualifier.cloned(), field.name())
            }
            _ => column,
        });
    }
    if !differs {
        return Ok(input);
    }
    Projection::try_new(expressions, input)
        .map(|projection| Arc::new(LogicalPlan::Projection(projection)))
}
