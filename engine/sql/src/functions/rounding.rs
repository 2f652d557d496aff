//! `round`, `bround`, and `ceil` and `floor` to a number of digits, with Spark's types: a decimal has as
//! many digits behind the point as are left.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::ScalarUDF,
};

use super::{
    misfit::failed,
    simple::{Call, Gives, Simple, Want},
};
use crate::{SqlError, types::spark_name};

/// What `ceil(x, n)` is rewritten to.
pub(crate) const CEIL: &str = "__ceil";
/// What `floor(x, n)` is rewritten to.
pub(crate) const FLOOR: &str = "__floor";

/// Which neighbour a value goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    HalfUp,
    HalfEven,
    Up,
    Down,
}

const VALUE_AND_DIGITS: &[Want] = &[Want::Any, Want::Int];
const DECIMAL_AND_DIGITS: &[Want] = &[Want::Decimal, Want::Int];
const GIVES: Gives = Gives::Of(|types, literals| result_type(&types[0], digits(literals)?));

/// Those that users call.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        Simple::new("round", VALUE_AND_DIGITS, GIVES, |call| {
            run(call, Mode::HalfUp)
        })
        .optional(1),
        Simple::new("bround", VALUE_AND_DIGITS, GIVES, |call| {
            run(call, Mode::HalfEven)
        })
        .optional(1),
    ]
    .map(Simple::udf)
    .to_vec()
}

/// The others.
pub(super) fn hidden() -> Vec<Arc<ScalarUDF>> {
    [
        Simple::new(CEIL, DECIMAL_AND_DIGITS, GIVES, |call| run(call, Mode::Up)),
        Simple::new(FLOOR, DECIMAL_AND_DIGITS, GIVES, |call| {
            run(call, Mode::Down)
        }),
    ]
    .map(Simple::udf)
    .to_vec()
}

/// The second argument; while a query is planned it may still be an expression.
fn digits(literals: &[Option<&ScalarValue>]) -> Result<i32, SqlError> {
    let Some(literal) = literals.get(1).copied().flatten() else {
        return Ok(0);
    };
    match literal {
        ScalarValue::Int32(Some(digits)) => Ok(*digits),
        ScalarValue::Int64(Some(digits)) => Ok(i32::try_from(*digits).unwrap_or(0)),
        ScalarValue::Int32(None) | ScalarValue::Null => Ok(0),
        other => Err(SqlError::Types {
            message: format!("the number of digits must be a literal, not {other}"),
        }),
    }
}

fn result_type(value: &DataType, digits: i32) -> Result<DataType, SqlError> {
    match value {
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (i32::from(*precision), i32::from(*scale));
            let whole = precision - scale + 1;
            let kept = scale.min(digits).max(0);
            let precision = (whole + kept).max(1 - digits).clamp(1, 38);
            let clamp = |value: i32| u8::try_from(value).unwrap_or(38);
            let kept = i8::try_from(kept).unwrap_or(0);
            Ok(DataType::Decimal128(clamp(precision), kept))
        }
        DataType::Utf8 | DataType::Null => Ok(DataType::Float64),
        other if other.is_numeric() => Ok(other.clone()),
        other => Err(SqlError::Types {
            message: format!("{} has no digits to round", spark_name(other)),
        }),
    }
}

fn run(call: &Call<'_>, mode: Mode) -> Result<ArrayRef> {
    let value = &call.arguments[0];
    let digits = match call.arguments.get(1) {
        None => 0,
        Some(digits) => {
            let digits = cast(digits, &DataType::Int32)?;
            let digits = digits.as_primitive::<arrow::datatypes::Int32Type>();
            if digits.iter().any(|digits| digits.is_none()) {
                return Ok(arrow::array::new_null_array(call.gives, call.rows));
            }
            digits.iter().flatten().next().unwrap_or(0)
        }
    };
    match (value.data_type(), call.gives) {
        (DataType::Decimal128(_, scale), DataType::Decimal128(precision, kept)) => {
            let to = (*precision, *kept);
            decimals(value.as_primitive(), i32::from(*scale), digits, to, mode)
        }
        (from, _) if from.is_integer() => {
            let rounded = integers(&cast(value, &DataType::Int64)?, digits, mode)?;
            let narrow = cast(&rounded, call.gives)?;
            if narrow.null_count() != rounded.null_count() {
                return Err(overflow());
            }
            Ok(narrow)
        }
        _ => {
            let values = cast(value, &DataType::Float64)?;
            let single = value.data_type() == &DataType::Float32;
            let rounded: Float64Array = values
                .as_primitive::<Float64Type>()
                .iter()
                .map(|value| value.map(|value| round_double(value, digits, mode, single)))
                .collect();
            let rounded: ArrayRef = Arc::new(rounded);
            Ok(cast(&rounded, call.gives)?)
        }
    }
}

fn power(exponent: i32) -> Option<i128> {
    u32::try_from(exponent)
        .ok()
        .and_then(|exponent| 10i128.checked_pow(exponent))
}

fn decimals(
    values: &Decimal128Array,
    scale: i32,
    digits: i32,
    (precision, kept): (u8, i8),
    mode: Mode,
) -> Result<ArrayRef> {
    // Back from so many digits to those of the type.
    let up = power(i32::from(kept) - digits.min(scale)).ok_or_else(overflow)?;
    let round = |value: i128| {
        round_digits(value, scale - digits, mode)
            .and_then(|value| value.checked_mul(up))
            .ok_or_else(overflow)
    };
    let rounded = values
        .iter()
        .map(|value| value.map(round).transpose())
        .collect::<Result<Decimal128Array>>()?
        .with_precision_and_scale(precision, kept)?;
    rounded
        .validate_decimal_precision(precision)
        .map_err(|_| overflow())?;
    Ok(Arc::new(rounded))
}

fn integers(values: &ArrayRef, digits: i32, mode: Mode) -> Result<ArrayRef> {
    if digits >= 0 {
        return Ok(Arc::clone(values));
    }
    let unit = power(-digits);
    let round = |value: i64| {
        let Some(unit) = unit else { return Ok(0) };
        round_digits(i128::from(value), -digits, mode)
            .and_then(|value| value.checked_mul(unit))
            .and_then(|value| i64::try_from(value).ok())
            .ok_or_else(overflow)
    };
    let rounded = values
        .as_primitive::<Int64Type>()
        .iter()
        .map(|value| value.map(round).transpose())
        .collect::<Result<Int64Array>>()?;
    Ok(Arc::new(rounded))
}

fn overflow() -> datafusion::common::DataFusionError {
    failed("[ARITHMETIC_OVERFLOW] a rounded number is too large for its type")
}

/// A whole number without its last digits.
fn round_digits(value: i128, digits: i32, mode: Mode) -> Option<i128> {
    let Ok(digits) = u32::try_from(digits) else {
        return Some(value);
    };
    let Some(unit) = 10i128.checked_pow(digits) else {
        return Some(0);
    };
    let (quotient, rest) = (value.div_euclid(unit), value.rem_euclid(unit));
    let twice = rest.checked_mul(2)?;
    let up = match mode {
        Mode::Up => rest > 0,
        Mode::Down => false,
        // Away from zero: of a negative number's two neighbours the lower one.
        Mode::HalfUp if value < 0 => twice > unit,
        Mode::HalfUp => twice >= unit,
        Mode::HalfEven => twice > unit || (twice == unit && quotient % 2 != 0),
    };
    Some(quotient + i128::from(up))
}

/// Rounds the decimal digits that a double is written with, as Spark does.
fn round_double(value: f64, digits: i32, mode: Mode, single: bool) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it was single before")]
    let written = if single {
        format!("{:e}", value as f32)
    } else {
        format!("{value:e}")
    };
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let fraction = mantissa
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    let Ok(whole) = mantissa.replace('.', "").parse::<i128>() else {
        return value;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // The value is `whole` × 10^-behind.
    let behind = i32::try_from(fraction).unwrap_or(0) - exponent;
    if behind <= digits {
        return value;
    }
    let Some(rounded) = round_digits(whole, behind - digits, mode) else {
        return value;
    };
    format!("{rounded}e{}", -digits).parse().unwrap_or(value)
}
