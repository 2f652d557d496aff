//! Casts where arrow has none or another answer than Spark: structs, maps and arrays as texts, doubles
//! as Java writes them, dates and times of which a text has only parts.
//!
//! A cast to one of the types of [`is_special`] is a call from the syntax tree on, because DataFusion's
//! planner refuses what arrow cannot do. Once types are known, a call that arrow would answer alike is
//! a cast again, which the optimizer knows more of.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "enums of other crates, with many variants and more to come"
)]

use std::{fmt::Write, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Date32Array, ListArray, MapArray, StringArray,
        StringBuilder, StructArray, TimestampMicrosecondArray,
    },
    compute::{CastOptions, cast_with_options},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, TimeUnit,
        TimestampMicrosecondType,
    },
};
use chrono::{NaiveDate, NaiveTime};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{Expr, ScalarUDF, expr::ScalarFunction},
};

use super::{
    datetime,
    lists::as_list,
    simple::{Gives, Simple, Want, failed},
};
use crate::{
    SqlError,
    types::{parse_type, spark_name},
};

/// What `CAST(x AS t)` becomes: the value, and the type as a text.
pub(crate) const CAST: &str = "__cast";
/// What `TRY_CAST(x AS t)` becomes.
pub(crate) const TRY_CAST: &str = "__try_cast";

const VALUE_AND_TYPE: &[Want] = &[Want::Any, Want::Text];
const TARGET: Gives = Gives::Of(|_, literals| {
    let name = literals.get(1).copied().flatten();
    match name.and_then(|name| name.try_as_str().flatten()) {
        Some(name) => parse_type(name),
        None => Err(SqlError::internal("a cast to no type")),
    }
});

/// What happens to a value that cannot be cast.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Misfit {
    Fails,
    IsNull,
}

const TABLE: &[Simple] = &[
    Simple::new(CAST, VALUE_AND_TYPE, TARGET, |call| {
        cast(&call.arguments[0], call.gives, Misfit::Fails)
    }),
    Simple::new(TRY_CAST, VALUE_AND_TYPE, TARGET, |call| {
        cast(&call.arguments[0], call.gives, Misfit::IsNull)
    }),
];

/// All of them; no user sees these.
pub(super) fn hidden() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

/// The call that casts an expression.
pub(crate) fn cast_call(name: &str, expr: Expr, to: &DataType) -> Expr {
    let simple = TABLE.iter().find(|simple| simple.name == name);
    let to = Expr::Literal(ScalarValue::Utf8(Some(spark_name(to))), None);
    match simple {
        Some(simple) => Expr::ScalarFunction(ScalarFunction::new_udf(simple.udf(), vec![expr, to])),
        None => expr,
    }
}

fn is_nested(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Struct(_) | DataType::Map(..) | DataType::List(_) | DataType::LargeList(_)
    )
}

/// Whether Spark's answer is not arrow's.
pub(crate) fn is_special(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (from, DataType::Utf8) => {
            from.is_floating() || is_nested(from) || *from == DataType::Binary
        }
        (DataType::Utf8, DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, _))
        | (DataType::Decimal128(..), DataType::Boolean)
        | (DataType::Boolean | DataType::Float32 | DataType::Float64, DataType::Decimal128(..)) => {
            true
        }
        (from, to) => is_nested(from) && is_nested(to),
    }
}

/// As `try_cast`.
pub(super) fn cast_or_null(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    cast(values, to, Misfit::IsNull)
}

fn cast(values: &ArrayRef, to: &DataType, misfit: Misfit) -> Result<ArrayRef> {
    let from = values.data_type();
    if from == to {
        return Ok(Arc::clone(values));
    }
    match (from, to) {
        (_, DataType::Utf8) => texts(values),
        (DataType::Utf8, DataType::Date32) => dates(values, misfit),
        (DataType::Utf8, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            times(values, to, misfit)
        }
        (DataType::Decimal128(..), DataType::Boolean) => {
            let values = values.as_primitive::<Decimal128Type>().iter();
            let truths = values.map(|value| value.map(|value| value != 0));
            Ok(Arc::new(truths.collect::<BooleanArray>()))
        }
        (DataType::Boolean, DataType::Decimal128(..)) => {
            let numbers = arrow::compute::cast(values, &DataType::Int8)?;
            cast(&numbers, to, misfit)
        }
        (DataType::Float32 | DataType::Float64, DataType::Decimal128(..)) => {
            let digits = digits_of_doubles(&arrow::compute::cast(values, &DataType::Float64)?);
            plain(&digits, to, misfit)
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = as_list(values)?;
            let inner = cast(list.values(), item.data_type(), misfit)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(
                Arc::clone(item),
                offsets,
                inner,
                nulls,
            )?))
        }
        (DataType::Struct(had), DataType::Struct(fields)) if had.len() == fields.len() => {
            let columns = values.as_struct().columns().iter().zip(fields);
            let columns = columns
                .map(|(column, field)| cast(column, field.data_type(), misfit))
                .collect::<Result<Vec<_>>>()?;
            let nulls = values.nulls().cloned();
            let length = values.len();
            let structs = StructArray::try_new_with_length(fields.clone(), columns, nulls, length)?;
            Ok(Arc::new(structs))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let map = values.as_map();
            let structs: ArrayRef = Arc::new(map.entries().clone());
            let structs = cast(&structs, entries.data_type(), misfit)?
                .as_struct()
                .clone();
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let map = MapArray::try_new(Arc::clone(entries), offsets, structs, nulls, *sorted)?;
            Ok(Arc::new(map))
        }
        _ => plain(values, to, misfit),
    }
}

/// The digits that doubles are written with, which a decimal rounds and not their bits: 1.005 goes
/// up. What is no number is null, whatever the cast.
fn digits_of_doubles(doubles: &ArrayRef) -> ArrayRef {
    let mut digits = StringBuilder::new();
    for value in doubles.as_primitive::<Float64Type>() {
        match value.filter(|value| value.is_finite()) {
            Some(value) => {
                let _ = write!(digits, "{value}");
                digits.append_value("");
            }
            None => digits.append_null(),
        }
    }
    Arc::new(digits.finish())
}

/// A cast that arrow answers as Spark does.
fn plain(values: &ArrayRef, to: &DataType, misfit: Misfit) -> Result<ArrayRef> {
    let options = CastOptions {
        safe: misfit == Misfit::IsNull,
        ..CastOptions::default()
    };
    Ok(cast_with_options(values, to, &options)?)
}

/// Bytes as texts; where they are none, with a mark for each piece that is no character.
fn lossy(values: &ArrayRef) -> StringArray {
    let values = values.as_binary::<i32>();
    let texts = values
        .iter()
        .map(|value| value.map(String::from_utf8_lossy));
    texts.collect()
}

/// Values as Spark writes them.
pub(super) fn texts(values: &ArrayRef) -> Result<ArrayRef> {
    let part = |values: &ArrayRef| -> Result<StringArray> {
        Ok(texts(values)?.as_string::<i32>().clone())
    };
    let of = |texts: &StringArray, row: usize| {
        if texts.is_null(row) {
            "null".to_owned()
        } else {
            texts.value(row).to_owned()
        }
    };
    let bounds = |offsets: &[i32], row: usize| {
        let at = |at: i32| usize::try_from(at).unwrap_or(0);
        at(offsets[row])..at(offsets[row + 1])
    };
    let rows = 0..values.len();
    let written: StringArray = match values.data_type() {
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>().iter();
            values.map(|value| value.map(java_double)).collect()
        }
        DataType::Float32 => {
            let values = values.as_primitive::<Float32Type>().iter();
            values.map(|value| value.map(java_float)).collect()
        }
        DataType::Timestamp(..) => return datetime::time_texts(values),
        DataType::Binary => lossy(values),
        DataType::List(_) | DataType::LargeList(_) => {
            let list = as_list(values)?;
            let items = part(list.values())?;
            rows.map(|row| {
                let all = bounds(list.value_offsets(), row).map(|at| of(&items, at));
                list.is_valid(row)
                    .then(|| format!("[{}]", all.collect::<Vec<_>>().join(", ")))
            })
            .collect()
        }
        DataType::Map(..) => {
            let map = values.as_map();
            let (keys, items) = (part(map.keys())?, part(map.values())?);
            rows.map(|row| {
                let entry = |at: usize| format!("{} -> {}", of(&keys, at), of(&items, at));
                let all = bounds(map.value_offsets(), row).map(entry);
                map.is_valid(row)
                    .then(|| format!("{{{}}}", all.collect::<Vec<_>>().join(", ")))
            })
            .collect()
        }
        DataType::Struct(_) => {
            let columns = values.as_struct().columns().iter().map(part);
            let columns = columns.collect::<Result<Vec<_>>>()?;
            rows.map(|row| {
                let all: Vec<String> = columns.iter().map(|column| of(column, row)).collect();
                values
                    .is_valid(row)
                    .then(|| format!("{{{}}}", all.join(", ")))
            })
            .collect()
        }
        _ => return Ok(arrow::compute::cast(values, &DataType::Utf8)?),
    };
    Ok(Arc::new(written))
}

fn java_double(value: f64) -> String {
    let plain = value == 0.0 || (1e-3..1e7).contains(&value.abs());
    java(plain, &format!("{value}"), &format!("{value:e}"))
}

fn java_float(value: f32) -> String {
    let plain = value == 0.0 || (1e-3..1e7).contains(&value.abs());
    java(plain, &format!("{value}"), &format!("{value:e}"))
}

/// Java's way of writing: at least one decimal, and an exponent for the small and the large.
fn java(plain: bool, decimal: &str, scientific: &str) -> String {
    match decimal {
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        "NaN" => "NaN".to_owned(),
        decimal if plain && decimal.contains('.') => decimal.to_owned(),
        decimal if plain => format!("{decimal}.0"),
        _ => {
            let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
            let point = if digits.contains('.') { "" } else { ".0" };
            format!("{digits}{point}E{exponent}")
        }
    }
}

fn misfits(text: &str, what: &str) -> datafusion::common::DataFusionError {
    let shown: String = text.chars().take(40).collect();
    failed(format!(
        "[CAST_INVALID_INPUT] a text is no {what} text={shown:?}"
    ))
}

fn dates(values: &ArrayRef, misfit: Misfit) -> Result<ArrayRef> {
    let read = arrow::compute::cast(values, &DataType::Date32)?;
    let read = read.as_primitive::<Date32Type>();
    let epoch = NaiveDate::default();
    let dates = values
        .as_string::<i32>()
        .iter()
        .enumerate()
        .map(|(row, text)| {
            let Some(text) = text else { return Ok(None) };
            if read.is_valid(row) {
                return Ok(Some(read.value(row)));
            }
            let trimmed = text.trim();
            let date = trimmed.split([' ', 'T']).next().and_then(date);
            let days = date.map(|date| date.signed_duration_since(epoch).num_days());
            match days.and_then(|days| i32::try_from(days).ok()) {
                None if misfit == Misfit::Fails => Err(misfits(text, "date")),
                days => Ok(days),
            }
        });
    Ok(Arc::new(dates.collect::<Result<Date32Array>>()?))
}

fn times(values: &ArrayRef, to: &DataType, misfit: Misfit) -> Result<ArrayRef> {
    let read = arrow::compute::cast(values, to)?;
    let read = read.as_primitive::<TimestampMicrosecondType>();
    // A local time is what is written, whatever zone is written behind it.
    let naive = matches!(to, DataType::Timestamp(_, None));
    let times = values
        .as_string::<i32>()
        .iter()
        .enumerate()
        .map(|(row, text)| {
            let Some(text) = text else { return Ok(None) };
            let local = if naive { without_zone(text) } else { text };
            if read.is_valid(row) && local.len() == text.len() {
                return Ok(Some(read.value(row)));
            }
            match instant(local.trim()) {
                None if misfit == Misfit::Fails => Err(misfits(text, "timestamp")),
                micros => Ok(micros),
            }
        });
    let times = times.collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(Arc::new(times.with_data_type(to.clone())))
}

/// A date and a time without the zone behind them.
fn without_zone(text: &str) -> &str {
    let text = text.trim();
    let Some(begin) = text.find([' ', 'T']).map(|at| at + 1) else {
        return text;
    };
    let clock = |letter: char| letter.is_ascii_digit() || ":. ".contains(letter);
    let rest = text.get(begin..).unwrap_or_default();
    let zone = rest.trim_start_matches(clock);
    let named = zone.contains('/') || ["Z", "UTC", "GMT"].contains(&zone);
    let offset = zone.starts_with(['+', '-'])
        && zone.get(1..).is_some_and(|zone| {
            zone.starts_with(|letter: char| letter.is_ascii_digit()) && zone.chars().all(clock)
        });
    if named || offset {
        return text.strip_suffix(zone).unwrap_or(text).trim_end();
    }
    text
}

/// `2024`, `2024-2`, `2024-2-9`.
fn date(text: &str) -> Option<NaiveDate> {
    let (text, sign) = match text.strip_prefix('-') {
        Some(text) => (text, -1),
        None => (text.strip_prefix('+').unwrap_or(text), 1),
    };
    let mut parts = text.split('-');
    let year = parts.next().filter(|year| (4..=6).contains(&year.len()))?;
    let mut next = || match parts.next() {
        None => Some(1),
        Some(part) => digits(part, 2),
    };
    let (month, day) = (next()?, next()?);
    let year: i32 = year.parse().ok()?;
    let date = NaiveDate::from_ymd_opt(year * sign, month, day)?;
    parts.next().is_none().then_some(date)
}

fn digits(text: &str, most: usize) -> Option<u32> {
    let fits = !text.is_empty() && text.len() <= most;
    let all = text.bytes().all(|digit| digit.is_ascii_digit());
    (fits && all).then(|| text.parse().ok()).flatten()
}

/// Microseconds of a date with a time, of which minutes, seconds and a zone may lack.
fn instant(text: &str) -> Option<i64> {
    let (day, time) = match text.split_once([' ', 'T']) {
        Some((day, time)) => (day, time.trim_end()),
        None => (text, ""),
    };
    let day = date(day)?;
    let (time, offset) = match time.strip_suffix('Z').or_else(|| time.strip_suffix("UTC")) {
        Some(time) => (time.trim_end(), 0),
        None => match time.rfind(['+', '-']) {
            Some(at) => {
                let (hours, minutes) = time[at + 1..]
                    .split_once(':')
                    .unwrap_or((&time[at + 1..], "0"));
                let seconds = digits(hours, 2)? * 3600 + digits(minutes, 2)? * 60;
                let sign = if time[at..].starts_with('-') { -1 } else { 1 };
                (time[..at].trim_end(), sign * i64::from(seconds))
            }
            None => (time, 0),
        },
    };
    let clock = if time.is_empty() {
        NaiveTime::MIN
    } else {
        let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
        let mut parts = whole.split(':');
        let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
        let second = parts.next().map_or(Some(0), |second| digits(second, 2))?;
        if parts.next().is_some() || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let micros: u32 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
        NaiveTime::from_hms_micro_opt(hour, minute, second, micros)?
    };
    let local = day.and_time(clock).and_utc().timestamp_micros();
    local.checked_sub(offset * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_java_does() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.5, "1.5"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (123_456_789.123, "1.23456789123E8"),
            (0.001, "0.001"),
            (0.000_1, "1.0E-4"),
            (1e300, "1.0E300"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in cases {
            assert_eq!(java_double(value), text);
        }
        assert_eq!(java_float(0.1), "0.1");
    }

    #[test]
    fn parts_of_a_time_may_lack() {
        let day = 86_400_000_000;
        let cases = [
            ("1970-01-02", Some(day)),
            ("1970-1-2 1:2:3.5", Some(day + 3_723_500_000)),
            ("1970-1-2T01:02", Some(day + 3_720_000_000)),
            ("1970-1-2 01:02+1", Some(day + 120_000_000)),
            ("1970", Some(0)),
            ("1970-13", None),
            ("1970-1-2 25:00", None),
            ("abc", None),
        ];
        for (text, micros) in cases {
            assert_eq!(instant(text), micros, "{text}");
        }
    }
}
