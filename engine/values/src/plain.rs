//! One piece of plain text (a CSV field, a value in a directory name) into a column.

use std::borrow::Cow;

use crate::{
    column::{Column, Values},
    forms::Forms,
    interval::{self, CALENDAR, DAY_TIME, Read, YEAR_MONTH},
    scalar,
};

/// Appends `value` if there is one.
pub(crate) fn store<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let found = value.is_some();
    values.extend(value);
    found
}

/// An integer that fits `T`.
pub(crate) fn narrow<T: TryFrom<i64>>(text: &[u8]) -> Option<T> {
    T::try_from(scalar::integer(text)?).ok()
}

/// A single-precision number, rounded once.
pub(crate) fn single(text: &[u8]) -> Option<f32> {
    match scalar::special(text) {
        Some(value) if value.is_nan() => Some(f32::NAN),
        Some(value) if value < 0.0 => Some(f32::NEG_INFINITY),
        Some(_) => Some(f32::INFINITY),
        None => {
            scalar::double(text)?;
            std::str::from_utf8(text).ok()?.parse().ok()
        }
    }
}

/// A decimal, in which commas count for nothing.
pub(crate) fn decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let text = if text.contains(&b',') {
        Cow::Owned(text.iter().copied().filter(|b| *b != b',').collect())
    } else {
        Cow::Borrowed(text)
    };
    scalar::decimal(&text, precision, scale)
}

/// An interval into a column of intervals; `false` for another column.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is read is of the kind that was asked for, or nothing"
)]
pub(crate) fn interval(column: &mut Values, text: &[u8]) -> bool {
    let read = |kind| interval::read(std::str::from_utf8(text).ok()?, kind);
    match column {
        Values::Months(values) => match read(&YEAR_MONTH) {
            Some(Read::Months(months)) => store(values, Some(months)),
            _ => false,
        },
        Values::Micros(values) => match read(&DAY_TIME) {
            Some(Read::Micros(micros)) => store(values, Some(micros)),
            _ => false,
        },
        Values::Calendar(values) => match read(&CALENDAR) {
            Some(Read::All(all)) => store(values, Some(all)),
            _ => false,
        },
        _ => false,
    }
}

/// Appends exactly one row: the value of `text`, or null and `false` if the type has no such value.
pub fn push(column: &mut Column, text: &[u8], forms: &Forms) -> bool {
    let stored = match &mut column.values {
        Values::Utf8(bytes) | Values::Binary(bytes) => {
            bytes.data.extend_from_slice(text);
            bytes.close();
            true
        }
        Values::Boolean(values) => match scalar::boolean(text) {
            Some(value) => {
                values.append(value);
                true
            }
            None => false,
        },
        Values::Int8(values) => store(values, narrow(text)),
        Values::Int16(values) => store(values, narrow(text)),
        Values::Int32(values) => store(values, narrow(text)),
        Values::Int64(values) => store(values, scalar::integer(text)),
        Values::Float32(values) => store(values, single(text.trim_ascii())),
        Values::Float64(values) => store(values, scalar::double(text.trim_ascii())),
        Values::Decimal {
            values,
            precision,
            scale,
        } => store(values, decimal(text, *precision, *scale)),
        Values::Date(values) => store(values, forms.date(text)),
        Values::Months(_) | Values::Micros(_) | Values::Calendar(_) => {
            interval(&mut column.values, text)
        }
        Values::Timestamp { values, zone } => store(values, forms.timestamp(text, zone.is_some())),
        Values::Struct(..) | Values::List { .. } | Values::Map { .. } => false,
    };
    if stored {
        column.mark_valid();
    } else {
        column.push_null();
    }
    stored
}
