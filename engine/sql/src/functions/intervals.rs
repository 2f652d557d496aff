//! Intervals: of months, of microseconds, and of months, days and microseconds together.
//!
//! Spark's year-month interval is a count of months, its day-time interval one of microseconds, and the
//! interval of `make_interval` has both and days between. Spark's types also say which fields were
//! written; here each is written with all of its fields.

use std::{fmt::Write as _, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, DurationMicrosecondArray, IntervalMonthDayNanoArray,
        IntervalYearMonthArray, StringArray,
    },
    compute::cast,
    datatypes::{
        DataType, Decimal128Type, DurationMicrosecondType, Float64Type, Int32Type, Int64Type,
        IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType,
        TimeUnit,
    },
};
use datafusion::{common::Result, logical_expr::ScalarUDF};
use millstream_values::civil::{DAY, SECOND};

use super::simple::{Call, Gives, Simple, Want, failed};
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

/// Spark's year-month interval.
pub(crate) const YEAR_MONTH: DataType = DataType::Interval(IntervalUnit::YearMonth);
/// Spark's day-time interval.
pub(crate) const DAY_TIME: DataType = DataType::Duration(TimeUnit::Microsecond);
/// Spark's interval of all fields.
pub(crate) const CALENDAR: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

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

/// Intervals as Spark writes them; `None` for another type.
pub(super) fn texts(values: &ArrayRef) -> Option<StringArray> {
    Some(match values.data_type() {
        found if *found == YEAR_MONTH => {
            let values = values.as_primitive::<IntervalYearMonthType>().iter();
            values.map(|months| months.map(year_month)).collect()
        }
        found if *found == DAY_TIME => {
            let values = values.as_primitive::<DurationMicrosecondType>().iter();
            values.map(|micros| micros.map(day_time)).collect()
        }
        found if *found == CALENDAR => {
            let values = values.as_primitive::<IntervalMonthDayNanoType>().iter();
            values.map(|all| all.map(calendar)).collect()
        }
        _ => return None,
    })
}

fn year_month(months: i32) -> String {
    let sign = if months < 0 { "-" } else { "" };
    let months = months.unsigned_abs();
    format!(
        "INTERVAL '{sign}{}-{}' YEAR TO MONTH",
        months / 12,
        months % 12
    )
}

/// `.5` for half a second, nothing for none.
fn fraction(micros: u64) -> String {
    if micros == 0 {
        return String::new();
    }
    let digits = format!("{micros:06}");
    format!(".{}", digits.trim_end_matches('0'))
}

fn day_time(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let (second, day) = (SECOND.unsigned_abs(), DAY.unsigned_abs());
    let seconds = micros % day / second;
    format!(
        "INTERVAL '{sign}{} {:02}:{:02}:{:02}{}' DAY TO SECOND",
        micros / day,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        fraction(micros % second)
    )
}

fn calendar(all: IntervalMonthDayNano) -> String {
    let micros = all.nanoseconds / 1000;
    let minutes = micros / SECOND / 60;
    let mut out = String::new();
    for (count, unit) in [
        (i64::from(all.months / 12), "years"),
        (i64::from(all.months % 12), "months"),
        (i64::from(all.days), "days"),
        (minutes / 60, "hours"),
        (minutes % 60, "minutes"),
    ] {
        if count != 0 {
            // Writing to a String cannot fail.
            let _ = write!(out, "{count} {unit} ");
        }
    }
    let rest = micros % (60 * SECOND);
    if rest != 0 {
        let sign = if rest < 0 { "-" } else { "" };
        let rest = rest.unsigned_abs();
        let second = SECOND.unsigned_abs();
        let _ = write!(
            out,
            "{sign}{}{} seconds",
            rest / second,
            fraction(rest % second)
        );
    }
    let out = out.trim_end();
    if out.is_empty() {
        "0 seconds".to_owned()
    } else {
        out.to_owned()
    }
}

/// Texts as intervals of a type; what is none gives `None` for a text that is there.
pub(super) fn read(text: &str, to: &DataType) -> Option<Read> {
    let text = text.trim();
    match to {
        found if *found == YEAR_MONTH => {
            let (sign, body) = literal_body(text, "YEAR TO MONTH")?;
            let (years, months) = body.split_once('-')?;
            let (years, months) = (number(years)?, number(months).filter(|all| *all < 12)?);
            let months = sign.checked_mul(years.checked_mul(YEAR)?.checked_add(months)?)?;
            Some(Read::Months(i32::try_from(months).ok()?))
        }
        found if *found == DAY_TIME => {
            let (sign, body) = literal_body(text, "DAY TO SECOND")?;
            let (days, clock) = body.split_once(' ')?;
            let micros = number(days)?
                .checked_mul(DAY)?
                .checked_add(clock_of(clock)?)?;
            Some(Read::Micros(sign.checked_mul(micros)?))
        }
        _ => units(text).map(Read::All),
    }
}

/// An interval that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Months(i32),
    Micros(i64),
    All(IntervalMonthDayNano),
}

/// The sign and the digits of `1-2`, `-1-2` or `INTERVAL '-1-2' YEAR TO MONTH`.
fn literal_body<'a>(text: &'a str, fields: &str) -> Option<(i64, &'a str)> {
    let mut body = text;
    let mut sign = 1;
    let upper = text.to_ascii_uppercase();
    if upper.starts_with("INTERVAL") {
        let inner = upper.strip_suffix(fields)?.trim_end();
        body = text.get("INTERVAL".len()..inner.len())?.trim_start();
        if let Some(rest) = body.strip_prefix('-') {
            (sign, body) = (-1, rest.trim_start());
        }
        body = body.strip_prefix('\'')?.strip_suffix('\'')?;
    }
    if let Some(rest) = body.strip_prefix('-') {
        return Some((-sign, rest));
    }
    Some((sign, body.strip_prefix('+').unwrap_or(body)))
}

fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Microseconds of `02:03:04.5`.
fn clock_of(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = whole.split(':');
    let mut next = |most: i64| number(parts.next()?).filter(|part| *part <= most);
    let (hours, minutes, seconds) = (next(23)?, next(59)?, next(59)?);
    let places = number(fraction).filter(|_| fraction.len() <= 9)?;
    let nanos = places * 10_i64.pow(9 - u32::try_from(fraction.len()).ok()?);
    let whole = (hours * 60 + minutes) * 60 + seconds;
    parts
        .next()
        .is_none()
        .then(|| whole * SECOND + nanos / 1000)
}

/// `1 year 2 days -3 hours`, with or without `interval` before it.
fn units(text: &str) -> Option<IntervalMonthDayNano> {
    let lower = text.to_lowercase();
    let body = lower.strip_prefix("interval ").unwrap_or(&lower);
    let words: Vec<&str> = body.split_whitespace().collect();
    if words.is_empty() || words.len() % 2 == 1 {
        return None;
    }
    let (mut months, mut days, mut micros) = (0_i64, 0_i64, 0_i64);
    for pair in words.chunks_exact(2) {
        let unit = pair[1].strip_suffix('s').unwrap_or(pair[1]);
        let one = match unit {
            "hour" => 3600 * SECOND,
            "minute" => 60 * SECOND,
            "second" => SECOND,
            "millisecond" => SECOND / 1000,
            "microsecond" => 1,
            _ => 0,
        };
        if unit == "second" {
            micros = micros.checked_add(seconds(pair[0])?)?;
            continue;
        }
        let count: i64 = pair[0].parse().ok()?;
        match unit {
            "year" => months = months.checked_add(count.checked_mul(YEAR)?)?,
            "month" => months = months.checked_add(count)?,
            "week" => days = days.checked_add(count.checked_mul(7)?)?,
            "day" => days = days.checked_add(count)?,
            _ if one > 0 => micros = micros.checked_add(count.checked_mul(one)?)?,
            _ => return None,
        }
    }
    Some(IntervalMonthDayNano {
        months: i32::try_from(months).ok()?,
        days: i32::try_from(days).ok()?,
        nanoseconds: micros.checked_mul(1000)?,
    })
}

/// Microseconds of `-1.5`.
fn seconds(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let fraction: String = format!("{fraction:0<6}").chars().take(6).collect();
    let micros = number(whole)?
        .checked_mul(SECOND)?
        .checked_add(number(&fraction)?)?;
    Some(sign * micros)
}

/// Intervals that were read as an array; the type is one of the three.
pub(super) fn array(values: Vec<Option<Read>>, to: &DataType) -> ArrayRef {
    let months = |read: Option<Read>| match read {
        Some(Read::Months(months)) => Some(months),
        _ => None,
    };
    let micros = |read: Option<Read>| match read {
        Some(Read::Micros(micros)) => Some(micros),
        _ => None,
    };
    let all = |read: Option<Read>| match read {
        Some(Read::All(all)) => Some(all),
        _ => None,
    };
    let values = values.into_iter();
    match to {
        found if *found == YEAR_MONTH => {
            Arc::new(values.map(months).collect::<IntervalYearMonthArray>())
        }
        found if *found == DAY_TIME => {
            Arc::new(values.map(micros).collect::<DurationMicrosecondArray>())
        }
        _ => Arc::new(values.map(all).collect::<IntervalMonthDayNanoArray>()),
    }
}

/// Whether it is an interval of months or of times.
pub(crate) fn is_counted(data_type: &DataType) -> bool {
    *data_type == YEAR_MONTH || *data_type == DAY_TIME
}

/// Whether it is one of the three types.
pub(crate) fn is_interval(data_type: &DataType) -> bool {
    *data_type == YEAR_MONTH || *data_type == DAY_TIME || *data_type == CALENDAR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_written_and_read_back() {
        for months in [0, 1, 14, -14, i32::MAX, -i32::MAX] {
            let text = year_month(months);
            assert_eq!(
                read(&text, &YEAR_MONTH),
                Some(Read::Months(months)),
                "{text}"
            );
        }
        for micros in [
            0,
            1,
            -1,
            86_400_000_000,
            -93_784_500_000,
            i64::MAX,
            -i64::MAX,
        ] {
            let text = day_time(micros);
            assert_eq!(read(&text, &DAY_TIME), Some(Read::Micros(micros)), "{text}");
        }
        let all = IntervalMonthDayNano::new(-14, 3, -3_723_500_000_000);
        let text = calendar(all);
        assert_eq!(
            text,
            "-1 years -2 months 3 days -1 hours -2 minutes -3.5 seconds"
        );
        assert_eq!(read(&text, &CALENDAR), Some(Read::All(all)));
    }

    #[test]
    fn what_is_no_interval_is_not_read() {
        for text in [
            "",
            "1",
            "1-12",
            "x",
            "1 02:03",
            "1 24:00:00",
            "INTERVAL '1-2' DAY TO SECOND",
        ] {
            assert_eq!(read(text, &YEAR_MONTH), None, "{text}");
            assert_eq!(read(text, &DAY_TIME), None, "{text}");
            assert_eq!(read(text, &CALENDAR), None, "{text}");
        }
    }

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
