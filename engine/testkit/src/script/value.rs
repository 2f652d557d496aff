//! A cell with its type: reading it from text, printing it, comparing it.
//!
//! Numbers of one kind share a variant whatever their width, times share nanoseconds: the width is the
//! column's business (`arrays`). Tests: `tests/it/cells.rs`.

use super::{
    calendar,
    cells::{Cell, quote_if_needed, quoted},
    json::{self, Json},
};
use arrow::datatypes::{DataType, Field, i256};
use millstream_types::Interval;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// No value.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number of any width.
    Int(i128),
    /// A double.
    Float(f64),
    /// A single-precision number (and half precision); compared exactly.
    Single(f32),
    /// Unscaled digits and their scale.
    Decimal(i256, i8),
    /// Text of any encoding.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i64),
    /// Nanoseconds since midnight.
    Time(i128),
    /// Nanoseconds since the epoch, UTC.
    Timestamp(i128),
    /// Months, days and nanoseconds, kept apart because neither months nor days have one length.
    Interval {
        /// Months.
        months: i32,
        /// Days.
        days: i32,
        /// Nanoseconds.
        nanos: i128,
    },
    /// An array.
    List(Vec<Value>),
    /// A struct: fields in the type's order.
    Struct(Vec<(String, Value)>),
    /// A map: entries in stored order.
    Map(Vec<(Value, Value)>),
}

/// How strictly a cell is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As a row that goes in: `1` is a fine double or decimal.
    Input,
    /// As an answer: a double needs its point and a decimal its scale, because the type is part of it.
    Answer,
}

/// Doubles are equal within this share of the larger one: sums may be added in another order.
const TOLERANCE: f64 = 1e-9;

impl Value {
    /// Reads a cell as a value of a type; on failure says what was wanted.
    ///
    /// # Errors
    /// The text is no value of the type.
    pub fn read(cell: &Cell, data_type: &DataType, reading: Reading) -> Result<Value, String> {
        if cell.is_null() {
            return Ok(Value::Null);
        }
        if nested(data_type) {
            return json::read(&cell.text)
                .and_then(|tree| from_json(&tree, data_type, reading))
                .ok_or_else(|| format!("no JSON of type {data_type}"));
        }
        scalar(&cell.text, data_type, reading)
            .ok_or_else(|| format!("no value of type {data_type}"))
    }

    /// The value as a cell of a script.
    #[must_use]
    pub fn cell(&self) -> String {
        match self {
            Value::Text(text) => quote_if_needed(text),
            Value::List(_) | Value::Struct(_) | Value::Map(_) => self.json(),
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Single(_)
            | Value::Decimal(..)
            | Value::Binary(_)
            | Value::Date(_)
            | Value::Time(_)
            | Value::Timestamp(_)
            | Value::Interval { .. } => self.plain(),
        }
    }

    /// Whether two values of one column are the same answer: doubles with tolerance, all else exactly.
    #[must_use]
    pub fn matches(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Float(a), Value::Float(b)) => {
                let near = (a - b).abs() <= TOLERANCE * a.abs().max(b.abs());
                a == b || (a.is_nan() && b.is_nan()) || (near && a.is_finite() && b.is_finite())
            }
            (Value::Single(a), Value::Single(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.matches(b))
            }
            (Value::Struct(a), Value::Struct(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .zip(b)
                        .all(|(a, b)| a.0 == b.0 && a.1.matches(&b.1))
            }
            // A map has no order of its own.
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, value)| {
                        b.iter().any(|(k, v)| key.matches(k) && value.matches(v))
                    })
            }
            (a, b) => a == b,
        }
    }

    fn plain(&self) -> String {
        match self {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => {
                print_float(*value, &format!("{value:?}"), &format!("{value:e}"))
            }
            Value::Single(value) => print_float(
                f64::from(*value),
                &format!("{value:?}"),
                &format!("{value:e}"),
            ),
            Value::Decimal(digits, scale) => print_decimal(*digits, *scale),
            Value::Text(text) => text.clone(),
            Value::Binary(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                format!("X'{hex}'")
            }
            Value::Date(days) => calendar::print_date(*days),
            Value::Time(nanos) => calendar::print_time_of_day(*nanos),
            Value::Timestamp(nanos) => calendar::print_timestamp(*nanos),
            Value::Interval {
                months,
                days,
                nanos,
            } => print_interval(*months, *days, *nanos),
            Value::List(_) | Value::Struct(_) | Value::Map(_) => self.json(),
        }
    }

    fn json(&self) -> String {
        match self {
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Decimal(..) => self.plain(),
            Value::Float(value) if value.is_finite() => self.plain(),
            Value::Single(value) if value.is_finite() => self.plain(),
            Value::List(items) => {
                let items: Vec<_> = items.iter().map(Value::json).collect();
                format!("[{}]", items.join(","))
            }
            Value::Struct(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, v)| format!("{}:{}", quoted(name), v.json()))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }
            Value::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, v)| format!("{}:{}", quoted(&key.plain()), v.json()))
                    .collect();
                format!("{{{}}}", entries.join(","))
            }
            Value::Float(_)
            | Value::Single(_)
            | Value::Text(_)
            | Value::Binary(_)
            | Value::Date(_)
            | Value::Time(_)
            | Value::Timestamp(_)
            | Value::Interval { .. } => quoted(&self.plain()),
        }
    }
}

/// Whether the type is written as JSON.
fn nested(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::Struct(_)
            | DataType::Map(..)
    ) || matches!(data_type, DataType::Dictionary(_, value) if nested(value))
}

fn scalar(text: &str, data_type: &DataType, reading: Reading) -> Option<Value> {
    if let Some(range) = whole_range(data_type) {
        // `parse` takes `+5`; nobody prints it.
        let number = text.parse().ok().filter(|number| range.contains(number));
        return number.map(Value::Int);
    }
    match data_type {
        DataType::Null => (text == "null").then_some(Value::Null),
        DataType::Boolean => text.parse().ok().map(Value::Bool),
        DataType::Float64 => read_float(text, reading).map(Value::Float),
        DataType::Float16 | DataType::Float32 => {
            let value = read_float(text, reading)?;
            // Read again at its own width: going through a double would round twice.
            let single = if value.is_finite() {
                text.parse().ok()?
            } else {
                narrow_special(value)
            };
            Some(Value::Single(single))
        }
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => read_decimal(text, *precision, *scale, reading),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Some(Value::Text(text.to_owned()))
        }
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => read_hex(text).map(Value::Binary),
        DataType::Date32 | DataType::Date64 => calendar::read_date(text).map(Value::Date),
        DataType::Time32(_) | DataType::Time64(_) => {
            calendar::read_time_of_day(text).map(Value::Time)
        }
        DataType::Timestamp(..) => calendar::read_timestamp(text).map(Value::Timestamp),
        DataType::Interval(_) => read_interval(text),
        DataType::Duration(_) => read_interval(text).as_ref().and_then(as_length),
        DataType::Dictionary(_, value) => scalar(text, value, reading),
        DataType::RunEndEncoded(_, values) => scalar(text, values.data_type(), reading),
        // Unions cannot go in; what comes out of them is printed as text and compared so. Whole numbers
        // and nested types were handled by the callers.
        DataType::Union(..)
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Struct(_)
        | DataType::Map(..) => Some(Value::Text(text.to_owned())),
    }
}

/// The range of a whole-number type, `None` for the other types.
fn whole_range(data_type: &DataType) -> Option<std::ops::RangeInclusive<i128>> {
    let bits = data_type
        .primitive_width()
        .filter(|_| data_type.is_integer())?
        * 8;
    Some(if data_type.is_signed_integer() {
        let half = 1i128 << (bits - 1);
        -half..=half - 1
    } else {
        0..=(1i128 << bits) - 1
    })
}

fn from_json(tree: &Json, data_type: &DataType, reading: Reading) -> Option<Value> {
    if *tree == Json::Null {
        return Some(Value::Null);
    }
    match (data_type, tree) {
        (DataType::Dictionary(_, value), tree) => from_json(tree, value, reading),
        (
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item),
            Json::Array(items),
        ) => {
            let items = items
                .iter()
                .map(|item_tree| from_json(item_tree, item.data_type(), reading));
            items.collect::<Option<Vec<_>>>().map(Value::List)
        }
        (DataType::Struct(fields), Json::Object(members)) => {
            // A field that the type has not is a typo; a field that is missing is null, as in Spark.
            let known = |name: &str| fields.iter().any(|field| field.name() == name);
            if !members.iter().all(|(name, _)| known(name)) {
                return None;
            }
            let read = |field: &Field| {
                let member = members.iter().find(|(name, _)| name == field.name());
                let value = match member {
                    Some((_, tree)) => from_json(tree, field.data_type(), reading)?,
                    None => Value::Null,
                };
                Some((field.name().clone(), value))
            };
            let fields = fields.iter().map(|field| read(field));
            fields.collect::<Option<Vec<_>>>().map(Value::Struct)
        }
        (DataType::Map(entries, _), Json::Object(members)) => {
            let DataType::Struct(pair) = entries.data_type() else {
                return None;
            };
            let [key, value] = &pair[..] else { return None };
            let read = |(name, tree): &(String, Json)| {
                let key = scalar(name, key.data_type(), reading)?;
                Some((key, from_json(tree, value.data_type(), reading)?))
            };
            members
                .iter()
                .map(read)
                .collect::<Option<Vec<_>>>()
                .map(Value::Map)
        }
        (leaf, _) if nested(leaf) => None,
        (leaf, Json::Text(text) | Json::Number(text)) => scalar(text, leaf, reading),
        (leaf, Json::Bool(value)) => scalar(&value.to_string(), leaf, reading),
        (_, Json::Null | Json::Array(_) | Json::Object(_)) => None,
    }
}

fn read_float(text: &str, reading: Reading) -> Option<f64> {
    match text {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(f64::INFINITY),
        "-Infinity" => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    // Rust would also take `inf`, `nan` and `infinity` in any case.
    let numeric = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    let has_point = text.contains(['.', 'e', 'E']);
    if !numeric || (reading == Reading::Answer && !has_point) {
        return None;
    }
    text.parse().ok()
}

fn narrow_special(value: f64) -> f32 {
    if value.is_nan() {
        f32::NAN
    } else if value > 0.0 {
        f32::INFINITY
    } else {
        f32::NEG_INFINITY
    }
}

/// Rust's shortest digits with Spark's words and exponent; at least one decimal.
fn print_float(value: f64, plain: &str, scientific: &str) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 {
            "Infinity".to_owned()
        } else {
            "-Infinity".to_owned()
        }
    } else if plain.contains('e') {
        match scientific.split_once('e') {
            Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
            Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
            None => plain.to_owned(),
        }
    } else {
        plain.to_owned()
    }
}

fn read_decimal(text: &str, precision: u8, scale: i8, reading: Reading) -> Option<Value> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits_only = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits_only(whole) || !digits_only(fraction) {
        return None;
    }
    let wanted = usize::try_from(scale).unwrap_or(0);
    // Zeros behind the last digit of the scale change nothing.
    let fraction = match reading {
        Reading::Input => fraction.trim_end_matches('0'),
        Reading::Answer => fraction,
    };
    let right_length = match reading {
        Reading::Input => fraction.len() <= wanted,
        Reading::Answer => fraction.len() == wanted,
    };
    if !right_length || (scale < 0 && reading == Reading::Input) {
        return None;
    }
    let significant = format!("{whole}{fraction:0<wanted$}");
    if significant.trim_start_matches('0').len() > usize::from(precision) {
        return None;
    }
    let digits = i256::from_string(&significant)?;
    let digits = if text.starts_with('-') {
        digits.wrapping_neg()
    } else {
        digits
    };
    Some(Value::Decimal(digits, scale.max(0)))
}

fn print_decimal(digits: i256, scale: i8) -> String {
    let text = digits.to_string();
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or(("", text.as_str()), |rest| ("-", rest));
    match usize::try_from(scale) {
        Ok(0) => text,
        Ok(scale) => {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            format!("{sign}{whole}.{fraction}")
        }
        // A negative scale leaves out zeros.
        Err(_) => format!(
            "{sign}{digits}{}",
            "0".repeat(usize::from(scale.unsigned_abs()))
        ),
    }
}

/// `X'0AFF'`, or the digits alone.
fn read_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .strip_prefix("X'")
        .and_then(|t| t.strip_suffix('\''))
        .unwrap_or(text);
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}

/// `1 months 2 days 3 hours 4.5 seconds`: number and unit, any units that Spark knows.
fn read_interval(text: &str) -> Option<Value> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (mut months, mut days, mut nanos) = (0i32, 0i32, 0i128);
    if words.is_empty() {
        return None;
    }
    for pair in words.chunks(2) {
        let [number, unit] = pair else { return None };
        if let Some(count) = number
            .parse::<i128>()
            .ok()
            .filter(|_| unit.starts_with("nano"))
        {
            nanos += count;
            continue;
        }
        let part: Interval = format!("{number} {unit}").parse().ok()?;
        months = months.checked_add(part.months())?;
        if unit.starts_with("day") || unit.starts_with("week") {
            days = days.checked_add(i32::try_from(part.micros() / 86_400_000_000).ok()?)?;
        } else {
            nanos += i128::from(part.micros()) * 1000;
        }
    }
    Some(Value::Interval {
        months,
        days,
        nanos,
    })
}

/// A duration has no days of its own: they count 24 hours.
fn as_length(interval: &Value) -> Option<Value> {
    let Value::Interval {
        months: 0,
        days,
        nanos,
    } = interval
    else {
        return None;
    };
    let nanos = i128::from(*days) * calendar::DAY_NANOS + nanos;
    Some(Value::Interval {
        months: 0,
        days: 0,
        nanos,
    })
}

fn print_interval(months: i32, days: i32, nanos: i128) -> String {
    let mut parts = Vec::new();
    let (hours, minutes) = (nanos / 3_600_000_000_000, nanos / 60_000_000_000 % 60);
    for (count, unit) in [
        (i128::from(months), "months"),
        (i128::from(days), "days"),
        (hours, "hours"),
        (minutes, "minutes"),
    ] {
        if count != 0 {
            parts.push(format!("{count} {unit}"));
        }
    }
    let rest = nanos % 60_000_000_000;
    let sign = if rest < 0 { "-" } else { "" };
    let (seconds, micros) = (rest.abs() / 1_000_000_000, rest.abs() / 1000 % 1_000_000);
    if micros != 0 {
        let fraction = format!("{micros:06}");
        parts.push(format!(
            "{sign}{seconds}.{} seconds",
            fraction.trim_end_matches('0')
        ));
    } else if seconds != 0 || (parts.is_empty() && rest % 1000 == 0) {
        parts.push(format!("{sign}{seconds} seconds"));
    }
    if rest % 1000 != 0 {
        parts.push(format!("{} nanoseconds", rest % 1000));
    }
    parts.join(" ")
}
