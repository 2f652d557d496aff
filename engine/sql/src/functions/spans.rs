//! Spans between times, and the beginnings of months and years: `timestampdiff`, `trunc`.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Date32Array, Int64Array},
    datatypes::{Date32Type, TimestampMicrosecondType},
};
use chrono::{DateTime, Datelike, Duration, NaiveDate};
use datafusion::{common::Result, logical_expr::ScalarUDF};
use millstream_values::civil::{DAY, SECOND};

use super::{
    misfit::failed,
    simple::{Call, Gives, Simple, Want},
};

/// What `timestampdiff(UNIT, a, b)` becomes.
pub(crate) const DIFFERENCE: &str = "__timestampdiff";

/// Those that users call.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let wants = &[Want::Date, Want::Text];
    vec![Simple::new("trunc", wants, Gives::Date, trunc).udf()]
}

/// The others.
pub(super) fn hidden() -> Vec<Arc<ScalarUDF>> {
    let wants = &[Want::Text, Want::Timestamp, Want::Timestamp];
    vec![Simple::new(DIFFERENCE, wants, Gives::Long, difference).udf()]
}

/// The first day of a date's week, month, quarter or year; null for another unit.
fn trunc(call: &Call<'_>) -> Result<ArrayRef> {
    let dates = call.arguments[0].as_primitive::<Date32Type>();
    let units = call.arguments[1].as_string::<i32>();
    let epoch = NaiveDate::default();
    let first = |(days, unit): (Option<i32>, Option<&str>)| {
        let date = epoch.checked_add_signed(Duration::days(i64::from(days?)))?;
        let month = match unit?.to_ascii_lowercase().as_str() {
            "week" => {
                let back = Duration::days(i64::from(date.weekday().num_days_from_monday()));
                let monday = date.checked_sub_signed(back)?;
                return i32::try_from(monday.signed_duration_since(epoch).num_days()).ok();
            }
            "month" | "mon" | "mm" => date.month(),
            "quarter" => date.month0() / 3 * 3 + 1,
            "year" | "yyyy" | "yy" => 1,
            _ => return None,
        };
        let first = NaiveDate::from_ymd_opt(date.year(), month, 1)?;
        i32::try_from(first.signed_duration_since(epoch).num_days()).ok()
    };
    Ok(Arc::new(
        dates.iter().zip(units).map(first).collect::<Date32Array>(),
    ))
}

/// How many whole units lie between two times.
fn difference(call: &Call<'_>) -> Result<ArrayRef> {
    let units = call.arguments[0].as_string::<i32>();
    let from = call.arguments[1].as_primitive::<TimestampMicrosecondType>();
    let to = call.arguments[2].as_primitive::<TimestampMicrosecondType>();
    let between = |row: usize| {
        if units.is_null(row) || from.is_null(row) || to.is_null(row) {
            return Ok(None);
        }
        let (from, to) = (from.value(row), to.value(row));
        let unit = units.value(row).to_ascii_uppercase();
        let micros = match unit.as_str() {
            "MICROSECOND" => 1,
            "MILLISECOND" => SECOND / 1000,
            "SECOND" => SECOND,
            "MINUTE" => 60 * SECOND,
            "HOUR" => 3600 * SECOND,
            "DAY" => DAY,
            "WEEK" => 7 * DAY,
            "MONTH" => return Ok(months(from, to)),
            "QUARTER" => return Ok(months(from, to).map(|months| months / 3)),
            "YEAR" => return Ok(months(from, to).map(|months| months / 12)),
            _ => {
                return Err(failed(format!(
                    "[INVALID_PARAMETER_VALUE.DATETIME_UNIT] no unit of time unit={unit}"
                )));
            }
        };
        Ok(to.checked_sub(from).map(|span| span / micros))
    };
    Ok(Arc::new(
        (0..call.rows)
            .map(between)
            .collect::<Result<Int64Array>>()?,
    ))
}

/// Whole months: one less where the later day and time come earlier in their month.
fn months(from: i64, to: i64) -> Option<i64> {
    let (start, end) = (from.min(to), from.max(to));
    let (first, last) = (
        DateTime::from_timestamp_micros(start)?.naive_utc(),
        DateTime::from_timestamp_micros(end)?.naive_utc(),
    );
    let number = |date: NaiveDate| i64::from(date.year()) * 12 + i64::from(date.month0());
    let whole = number(last.date()) - number(first.date());
    let short = (last.day(), last.time()) < (first.day(), first.time());
    let months = whole - i64::from(short);
    Some(if from <= to { months } else { -months })
}
