//! Intervals: of months, of microseconds, and of months, days and microseconds together.
//!
//! Spark's year-month interval is a count of months, its day-time interval one of microseconds, and the
//! interval of `make_interval` has both and days between. Spark's types also say which fields were
//! written; here each is written with all of its fields.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, DurationMicrosecondArray, IntervalYearMonthArray},
    compute::cast,
    datatypes::{
        DataType, Decimal128Type, DurationMicrosecondType, Float64Type, Int32Type, Int64Type,
        IntervalUnit, IntervalYearMonthType,
    },
};
use datafusion::{common::Result, logical_expr::ScalarUDF};
use millstream_values::{
    civil::SECOND,
    interval::{DAY_TIME, YEAR_MONTH},
};

use super::{
    misfit::failed,
    simple::{Call, Gives, Simple, Want},
};
use crate::SqlError;

/// What a literal of months becomes: how many.
pub(crate) const MONTHS: &str = "__interval_months";
/// What a literal of days and times becomes: how many microseconds, and its least field.
pub(crate) const MICROS: &str = "__interval_micros";
/// What `interval * number` becomes.
pub(crate) const TIMES: &str = "__interval_times";
/// What `interval / number` becomes.
pub(crate) const OVER: &str = "__interval_over";

const MONTH: i64 = 1;
const YEAR: i64 = 12 * MONTH;

const MONTHS_TYPE: Gives = Gives::Of(|_, _| Ok(YEAR_MONTH));
const MICROS_TYPE: Gives = Gives::Of(|_, _| Ok(DAY_TIME));
const SAME_TYPE: Gives = Gives::Of(|types, _| match types.first() {
    Some(found) if *found == YEAR_MONTH || *found == DAY_TIME => Ok(found.clone()),
    _ => Err(SqlError::Types {
        message: "an interval of months or of times is multiplied, no other".to_owned(),
    }),
});

const TWO_INTS: &[Want] = &[Want::Int, Want::Int];

/// Those that users call.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let make = Simple::new("make_ym_interval", TWO_INTS, MONTHS_TYPE, make_months);
    vec![make.optional(2).udf()]
}

const HIDDEN: &[Simple] = &[
    Simple::new(MONTHS, &[Want::Int], MONTHS_TYPE, |call| {
        let months = call.arguments[0].as_primitive::<Int32Type>();
        Ok(Arc::new(months.reinterpret_cast::<IntervalYearMonthType>()))
    }),
    Simple::new(MICROS, &[Want::Long, Want::Text], MICROS_TYPE, |call| {
        let micros = call.arguments[0].as_primitive::<Int64Type>();
        Ok(Arc::new(
            micros.reinterpret_cast::<DurationMicrosecondType>(),
        ))
    }),
    Simple::new(TIMES, &[Want::Any, Want::Any], SAME_TYPE, |call| {
        scaled(call, false)
    }),
    Simple::new(OVER, &[Want::Any, Want::Any], SAME_TYPE, |call| {
        scaled(call, true)
    }),
];

/// The others.
pub(super) fn hidden() -> Vec<Arc<ScalarUDF>> {
    HIDDEN.iter().map(|simple| simple.udf()).collect()
}

/// One of the hidden ones.
pub(crate) fn hidden_function(name: &str) -> Option<Arc<ScalarUDF>> {
    let found = HIDDEN.iter().find(|simple| simple.name == name);
    found.map(|simple| simple.udf())
}

fn overflow() -> datafusion::common::DataFusionError {
    failed("[INTERVAL_ARITHMETIC_OVERFLOW] an interval has no place in its type")
}

fn make_months(call: &Call<'_>) -> Result<ArrayRef> {
    let part = |at: usize, row: usize| match call.arguments.get(at) {
        None => Some(0),
        Some(column) => {
            let column = column.as_primitive::<Int32Type>();
            column.is_valid(row).then(|| i64::from(column.value(row)))
        }
    };
    let months = (0..call.rows)
        .map(|row| match (part(0, row), part(1, row)) {
            (Some(years), Some(months)) => i32::try_from(years * YEAR + months)
                .map(Some)
                .map_err(|_| overflow()),
            _ => Ok(None),
        })
        .collect::<Result<IntervalYearMonthArray>>()?;
    Ok(Arc::new(months))
}

/// A factor, exact where it is: a decimal as digits and what one is, or a double.
enum Factor {
    Exact(i128, i128),
    Double(f64),
}

/// An interval times or over a number, rounded half up.
fn scaled(call: &Call<'_>, divides: bool) -> Result<ArrayRef> {
    let (of_months, counts) = match call.arguments[0].data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => {
            let months = call.arguments[0].as_primitive::<IntervalYearMonthType>();
            let counts = months.iter().map(|months| months.map(i64::from));
            (true, counts.collect::<Vec<Option<i64>>>())
        }
        _ => {
            let micros = call.arguments[0].as_primitive::<DurationMicrosecondType>();
            (false, micros.iter().collect())
        }
    };
    let factors = factors(&call.arguments[1])?;
    let limit = if of_months {
        i128::from(i32::MAX)
    } else {
        i128::from(i64::MAX)
    };
    let one = |(count, factor): (Option<i64>, Option<Factor>)| {
        let (Some(count), Some(factor)) = (count, factor) else {
            return Ok(None);
        };
        let count = i128::from(count);
        let product = match factor {
            Factor::Exact(0, _) if divides => return Err(zero()),
            Factor::Exact(digits, one) if divides => {
                count.checked_mul(one).map(|scaled| half_up(scaled, digits))
            }
            Factor::Exact(digits, one) => {
                count.checked_mul(digits).map(|scaled| half_up(scaled, one))
            }
            Factor::Double(number) if divides && number == 0.0 => return Err(zero()),
            Factor::Double(number) => of_double(count, number, divides),
        };
        let fits = product.filter(|product| (-limit - 1..=limit).contains(product));
        let count = fits.and_then(|product| i64::try_from(product).ok());
        count.map(Some).ok_or_else(overflow)
    };
    let counts = counts.into_iter().zip(factors).map(one);
    if !of_months {
        return Ok(Arc::new(
            counts.collect::<Result<DurationMicrosecondArray>>()?,
        ));
    }
    let months = counts.map(|count| Ok(count?.and_then(|count| i32::try_from(count).ok())));
    Ok(Arc::new(
        months.collect::<Result<IntervalYearMonthArray>>()?,
    ))
}

fn zero() -> datafusion::common::DataFusionError {
    failed("[INTERVAL_DIVIDED_BY_ZERO] an interval is divided by zero; try_divide gives null")
}

fn factors(numbers: &ArrayRef) -> Result<Vec<Option<Factor>>> {
    Ok(match numbers.data_type() {
        DataType::Decimal128(_, scale) => {
            let one = 10_i128.pow(u32::from(scale.unsigned_abs()));
            let numbers = numbers.as_primitive::<Decimal128Type>().iter();
            numbers
                .map(|digits| digits.map(|digits| Factor::Exact(digits, one)))
                .collect()
        }
        found if found.is_integer() => {
            let numbers = cast(numbers, &DataType::Int64)?;
            let numbers = numbers.as_primitive::<Int64Type>().iter();
            numbers
                .map(|number| number.map(|number| Factor::Exact(i128::from(number), 1)))
                .collect()
        }
        _ => {
            let numbers = cast(numbers, &DataType::Float64)?;
            let numbers = numbers.as_primitive::<Float64Type>().iter();
            numbers.map(|number| number.map(Factor::Double)).collect()
        }
    })
}

/// The quotient, halves away from zero.
fn half_up(number: i128, by: i128) -> i128 {
    let quotient = number / by;
    let rest = (number % by).unsigned_abs();
    if rest >= by.unsigned_abs() - rest {
        return quotient + if (number < 0) == (by < 0) { 1 } else { -1 };
    }
    quotient
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "Spark computes it in doubles, too; what saturates is beyond the limit"
)]
fn of_double(count: i128, number: f64, divides: bool) -> Option<i128> {
    let exact = if divides {
        count as f64 / number
    } else {
        count as f64 * number
    };
    exact.is_finite().then(|| exact.round() as i128)
}

/// Intervals of months or times as numbers of these; anything else as it is.
pub(super) fn as_counts(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        found if *found == YEAR_MONTH => {
            let months = values.as_primitive::<IntervalYearMonthType>();
            Arc::new(months.reinterpret_cast::<Int32Type>())
        }
        found if *found == DAY_TIME => {
            let micros = values.as_primitive::<DurationMicrosecondType>();
            Arc::new(micros.reinterpret_cast::<Int64Type>())
        }
        _ => Arc::clone(values),
    }
}

/// The type of [`as_counts`].
pub(super) fn count_type(data_type: &DataType) -> DataType {
    match data_type {
        found if *found == YEAR_MONTH => DataType::Int32,
        found if *found == DAY_TIME => DataType::Int64,
        other => other.clone(),
    }
}

/// Numbers as the intervals that they count, without their fractions; as they are for another type.
pub(super) fn of_counts(counts: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(match to {
        found if *found == YEAR_MONTH => {
            let months = cast(counts, &DataType::Int32)?;
            let months = months.as_primitive::<Int32Type>();
            Arc::new(months.reinterpret_cast::<IntervalYearMonthType>())
        }
        found if *found == DAY_TIME => {
            let micros = cast(counts, &DataType::Int64)?;
            let micros = micros.as_primitive::<Int64Type>();
            Arc::new(micros.reinterpret_cast::<DurationMicrosecondType>())
        }
        _ => Arc::clone(counts),
    })
}

/// Intervals of months, or whole seconds of one of times, as numbers of another type.
pub(super) fn numbers(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let counts = as_counts(values);
    if *values.data_type() != DAY_TIME {
        return Ok(cast(&counts, to)?);
    }
    let micros = counts.as_primitive::<Int64Type>();
    let seconds: ArrayRef = Arc::new(micros.unary::<_, Int64Type>(|micros| micros / SECOND));
    Ok(cast(&seconds, to)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_rounded_half_up() {
        for (number, by, rounded) in [
            (5, 2, 3),
            (-5, 2, -3),
            (5, -2, -3),
            (4, 3, 1),
            (-4, 3, -1),
            (0, 7, 0),
        ] {
            assert_eq!(half_up(number, by), rounded, "{number} / {by}");
        }
    }
}
