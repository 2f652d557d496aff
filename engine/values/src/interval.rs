//! Intervals: of months, of microseconds, and of months, days and microseconds together; their texts.
//!
//! Spark's types also say which fields were written; here each is written with all of its fields.

use std::{
    fmt::{Result, Write},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, DurationMicrosecondArray, Int64Array, IntervalMonthDayNanoArray,
        IntervalYearMonthArray, StringArray, StringBuilder,
    },
    datatypes::{
        DataType, DurationMicrosecondType, Int64Type, IntervalMonthDayNano,
        IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, TimeUnit,
    },
};

use crate::civil::{DAY, SECOND};

const YEAR: i64 = 12;

/// Spark's year-month interval.
pub const YEAR_MONTH: DataType = DataType::Interval(IntervalUnit::YearMonth);
/// Spark's day-time interval.
pub const DAY_TIME: DataType = DataType::Duration(TimeUnit::Microsecond);
/// Spark's interval of all fields.
pub const CALENDAR: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// Intervals as Spark writes them; `None` for another type.
pub fn texts(values: &ArrayRef) -> Option<StringArray> {
    Some(match values.data_type() {
        found if *found == YEAR_MONTH => written(
            values.as_primitive::<IntervalYearMonthType>().iter(),
            year_month,
        ),
        found if *found == DAY_TIME => written(
            values.as_primitive::<DurationMicrosecondType>().iter(),
            day_time,
        ),
        found if *found == CALENDAR => written(
            values.as_primitive::<IntervalMonthDayNanoType>().iter(),
            calendar,
        ),
        _ => return None,
    })
}

/// The counts of months or of microseconds; `None` for another type.
pub fn counts(values: &ArrayRef) -> Option<Int64Array> {
    match values.data_type() {
        found if *found == YEAR_MONTH => {
            let months = values.as_primitive::<IntervalYearMonthType>();
            Some(months.unary(i64::from))
        }
        found if *found == DAY_TIME => {
            let micros = values.as_primitive::<DurationMicrosecondType>();
            Some(micros.reinterpret_cast::<Int64Type>())
        }
        _ => None,
    }
}

fn written<T>(
    values: impl Iterator<Item = Option<T>>,
    write: fn(T, &mut StringBuilder) -> Result,
) -> StringArray {
    let mut out = StringBuilder::new();
    for value in values {
        match value.map(|value| write(value, &mut out)) {
            Some(_) => out.append_value(""),
            None => out.append_null(),
        }
    }
    out.finish()
}

fn year_month(months: i32, out: &mut impl Write) -> Result {
    let sign = if months < 0 { "-" } else { "" };
    let months = months.unsigned_abs();
    let (years, months) = (months / 12, months % 12);
    write!(out, "INTERVAL '{sign}{years}-{months}' YEAR TO MONTH")
}

/// `4.5` for four seconds and a half, `4` for four.
fn seconds_of(micros: u64, width: usize, out: &mut impl Write) -> Result {
    let second = SECOND.unsigned_abs();
    write!(out, "{:0width$}", micros / second)?;
    let (mut fraction, mut digits) = (micros % second, 6);
    if fraction == 0 {
        return Ok(());
    }
    while fraction.is_multiple_of(10) {
        (fraction, digits) = (fraction / 10, digits - 1);
    }
    write!(out, ".{fraction:0digits$}")
}

fn day_time(micros: i64, out: &mut impl Write) -> Result {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let (second, day) = (SECOND.unsigned_abs(), DAY.unsigned_abs());
    let minutes = micros % day / second / 60;
    write!(
        out,
        "INTERVAL '{sign}{} {:02}:{:02}:",
        micros / day,
        minutes / 60,
        minutes % 60
    )?;
    seconds_of(micros % (60 * second), 2, out)?;
    out.write_str("' DAY TO SECOND")
}

/// The parts that are not zero.
fn calendar(all: IntervalMonthDayNano, out: &mut impl Write) -> Result {
    let micros = all.nanoseconds / 1000;
    let minutes = micros / SECOND / 60;
    let mut blank = "";
    for (count, unit) in [
        (i64::from(all.months / 12), "years"),
        (i64::from(all.months % 12), "months"),
        (i64::from(all.days), "days"),
        (minutes / 60, "hours"),
        (minutes % 60, "minutes"),
    ] {
        if count != 0 {
            write!(out, "{blank}{count} {unit}")?;
            blank = " ";
        }
    }
    let rest = micros % (60 * SECOND);
    if rest == 0 && !blank.is_empty() {
        return Ok(());
    }
    out.write_str(blank)?;
    if rest < 0 {
        out.write_char('-')?;
    }
    seconds_of(rest.unsigned_abs(), 1, out)?;
    out.write_str(" seconds")
}

/// Texts as intervals of a type; what is none gives `None` for a text that is there.
pub fn read(text: &str, to: &DataType) -> Option<Read> {
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
pub enum Read {
    /// Months.
    Months(i32),
    /// Microseconds.
    Micros(i64),
    /// Months, days and nanoseconds.
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
pub fn array(values: Vec<Option<Read>>, to: &DataType) -> ArrayRef {
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
pub fn is_counted(data_type: &DataType) -> bool {
    *data_type == YEAR_MONTH || *data_type == DAY_TIME
}

/// Whether it is one of the three types.
pub fn is_interval(data_type: &DataType) -> bool {
    *data_type == YEAR_MONTH || *data_type == DAY_TIME || *data_type == CALENDAR
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T>(value: T, write: fn(T, &mut String) -> Result) -> String {
        let mut out = String::new();
        write(value, &mut out).expect("a string takes it");
        out
    }

    #[test]
    fn parts_that_are_zero_are_left_out() {
        let shown = |months, days, micros: i64| {
            let all = IntervalMonthDayNano::new(months, days, micros * 1_000);
            text(all, calendar)
        };
        assert_eq!(
            shown(14, 25, 18_367_500_000),
            "1 years 2 months 25 days 5 hours 6 minutes 7.5 seconds"
        );
        assert_eq!(shown(0, 0, 0), "0 seconds");
        assert_eq!(shown(0, -1, -500_000), "-1 days -0.5 seconds");
    }

    #[test]
    fn intervals_are_written_and_read_back() {
        for months in [0, 1, 14, -14, i32::MAX, -i32::MAX] {
            let text = text(months, year_month);
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
            let text = text(micros, day_time);
            assert_eq!(read(&text, &DAY_TIME), Some(Read::Micros(micros)), "{text}");
        }
        let all = IntervalMonthDayNano::new(-14, 3, -3_723_500_000_000);
        let text = text(all, calendar);
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
}
