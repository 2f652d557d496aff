//! One JSON value into one column, and one object into one row of columns, by Spark's rules: a value
//! of another type becomes null and the record counts as malformed; so does a list or map that holds
//! one; a string column takes any value as its text: from lines as it stands there, from a text on its
//! own in the form that Spark gives it. Values go straight into their columns; what a
//! record does not have costs nothing.
#![deny(clippy::indexing_slicing)]

use super::{
    copy,
    scan::{Quoted, Scan, Syntax, deeper, special, unescape},
};
use crate::{
    base64,
    column::{Column, Record, Values},
    forms::Forms,
    plain::{self, decimal, narrow, store},
    scalar,
};

/// Whether every value had the type of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// They had.
    Well,
    /// Some inside did not, and are null now.
    Partly,
    /// The value itself has not, and is null now.
    Wrong,
}

impl Typed {
    /// Of a value that has both inside.
    #[must_use]
    #[inline]
    pub fn and(self, other: Typed) -> Typed {
        if self == Typed::Well && other == Typed::Well {
            Typed::Well
        } else {
            Typed::Partly
        }
    }
}

/// Reads an object as row number `row`; it stands `depth` levels deep. On an error the caller cuts the
/// record back to `row`.
///
/// # Errors
/// What follows is no object, or not JSON, or too deep, or its items need too much memory.
pub fn object(
    record: &mut Record,
    scan: &mut Scan<'_>,
    row: usize,
    depth: u8,
    forms: &Forms,
) -> Result<Typed, Syntax> {
    let depth = deeper(depth)?;
    let mut typed = Typed::Well;
    scan.expect(b'{', "record is no object")?;
    scan.skip_blanks();
    if scan.peek() == b'}' {
        scan.bump();
        return Ok(typed);
    }
    let mut place = record.keys.begin();
    loop {
        let target = record.keys.read(scan, &mut place)?;
        scan.skip_blanks();
        match target.and_then(|idx| record.columns.get_mut(idx)) {
            None => scan.skip_value(depth)?,
            Some(column) => {
                if column.len() != row {
                    // Earlier records did not have the key, or this one has it twice: then the
                    // last one wins.
                    column.settle(row);
                }
                typed = typed.and(read(column, scan, depth, forms)?);
            }
        }
        if !scan.more(b'}')? {
            return Ok(typed);
        }
    }
}

/// Reads the next value into `column` and appends exactly one row to it, unless it fails.
#[inline(always)]
pub(crate) fn read(
    column: &mut Column,
    scan: &mut Scan<'_>,
    depth: u8,
    forms: &Forms,
) -> Result<Typed, Syntax> {
    match (&mut column.values, scan.peek()) {
        (Values::Int64(values), b'0'..=b'9' | b'-') => {
            if let Some(value) = integer(scan)? {
                values.push(value);
                column.mark_valid();
                return Ok(Typed::Well);
            }
            column.push_null();
            Ok(Typed::Wrong)
        }
        (Values::Utf8(bytes), b'"') => {
            scan.bump();
            let Quoted { raw, escaped } = scan.quoted()?;
            if escaped {
                unescape(raw, &mut bytes.data);
            } else {
                bytes.data.extend_from_slice(raw);
            }
            bytes.close();
            column.mark_valid();
            Ok(Typed::Well)
        }
        (_, b'n') => {
            scan.word().and_then(|word| {
                if word == b"null" {
                    Ok(())
                } else {
                    Err(Syntax("unexpected token"))
                }
            })?;
            column.push_null();
            Ok(Typed::Well)
        }
        _ => other(column, scan, depth, forms),
    }
}

/// An integer; `None` for fractions and what does not fit.
#[inline(always)]
fn integer(scan: &mut Scan<'_>) -> Result<Option<i64>, Syntax> {
    let start = scan.at();
    let whole = scan.signed()?;
    Ok(if whole {
        scalar::integer(scan.since(start))
    } else {
        None
    })
}

fn other(
    column: &mut Column,
    scan: &mut Scan<'_>,
    depth: u8,
    forms: &Forms,
) -> Result<Typed, Syntax> {
    let start = scan.at();
    let row = column.len();
    let stored = match (&mut column.values, scan.peek()) {
        (Values::Struct(_, record), b'{') => {
            let typed = object(record, scan, row, depth, forms)?;
            column.mark_valid();
            return Ok(typed);
        }
        (Values::List { items, .. }, b'[') => {
            let before = items.len();
            let typed = list(items, scan, depth, forms)?;
            if typed != Typed::Wrong {
                column.close_items();
                return Ok(typed);
            }
            items.truncate(before);
            false
        }
        (Values::Map { keys, values, .. }, b'{') => {
            let before = keys.len();
            let typed = map(keys, values, scan, depth, forms)?;
            if typed != Typed::Wrong {
                column.close_items();
                return Ok(typed);
            }
            keys.truncate(before);
            values.truncate(before);
            false
        }
        (Values::Utf8(bytes), _) => {
            any_text(scan, depth, &mut bytes.data)?;
            bytes.close();
            true
        }
        (values, _) => match scan.string()? {
            Some(Quoted { raw, escaped: true }) => {
                let mut text = Vec::with_capacity(raw.len());
                unescape(raw, &mut text);
                text_into(values, &text, scan, forms)
            }
            Some(Quoted { raw, .. }) => text_into(values, raw, scan, forms),
            None => {
                scan.skip_value(depth)?;
                token_into(values, scan.since(start))
            }
        },
    };
    if stored {
        column.mark_valid();
        return Ok(Typed::Well);
    }
    column.push_null();
    Ok(Typed::Wrong)
}

/// A value that is not in double quotes, into a column of texts.
fn any_text(scan: &mut Scan<'_>, depth: u8, out: &mut Vec<u8>) -> Result<(), Syntax> {
    if !scan.keeps_texts() {
        return copy::text(scan, depth, out);
    }
    let start = scan.at();
    match scan.string()? {
        Some(Quoted { raw, escaped: true }) => unescape(raw, out),
        Some(Quoted { raw, .. }) => out.extend_from_slice(raw),
        None => {
            scan.skip_value(depth)?;
            out.extend_from_slice(scan.since(start));
        }
    }
    Ok(())
}

/// The inside of a string literal into a column that holds no text.
fn text_into(values: &mut Values, text: &[u8], scan: &Scan<'_>, forms: &Forms) -> bool {
    match values {
        Values::Float32(_) | Values::Float64(_) => {
            scan.grammar().special_numbers && special(text).is_some() && token_into(values, text)
        }
        Values::Decimal {
            values,
            precision,
            scale,
        } => store(values, decimal(text, *precision, *scale)),
        Values::Date(values) => store(values, forms.date(text)),
        Values::Timestamp { values, zone } => store(values, forms.timestamp(text, zone.is_some())),
        Values::Months(_) | Values::Micros(_) | Values::Calendar(_) => {
            plain::interval(values, text)
        }
        Values::Binary(bytes) => {
            let decoded = base64::decode(text, &mut bytes.data).is_some();
            if decoded {
                bytes.close();
            }
            decoded
        }
        Values::Boolean(_)
        | Values::Int8(_)
        | Values::Int16(_)
        | Values::Int32(_)
        | Values::Int64(_)
        | Values::Utf8(_)
        | Values::Struct(..)
        | Values::List { .. }
        | Values::Map { .. } => false,
    }
}

/// A number or a bare word into a column; whole numbers are seconds for a timestamp.
fn token_into(values: &mut Values, token: &[u8]) -> bool {
    match values {
        Values::Boolean(values) => {
            let value = match token {
                b"true" => true,
                b"false" => false,
                _ => return false,
            };
            values.append(value);
            true
        }
        Values::Int8(values) => store(values, narrow(token)),
        Values::Int16(values) => store(values, narrow(token)),
        Values::Int32(values) => store(values, narrow(token)),
        Values::Int64(values) => store(values, narrow(token)),
        Values::Float32(values) => store(values, single(token)),
        Values::Float64(values) => store(values, special(token).or_else(|| number(token))),
        Values::Decimal {
            values,
            precision,
            scale,
        } => store(values, scalar::decimal(token, *precision, *scale)),
        Values::Timestamp {
            values,
            zone: Some(_),
        } => {
            let seconds = scalar::integer(token);
            store(values, seconds.and_then(|s| s.checked_mul(1_000_000)))
        }
        Values::Timestamp { zone: None, .. }
        | Values::Date(_)
        | Values::Months(_)
        | Values::Micros(_)
        | Values::Calendar(_)
        | Values::Utf8(_)
        | Values::Binary(_)
        | Values::Struct(..)
        | Values::List { .. }
        | Values::Map { .. } => false,
    }
}

/// A finite double; words were looked at before.
fn number(token: &[u8]) -> Option<f64> {
    std::str::from_utf8(token).ok()?.parse().ok()
}

/// A single-precision number, rounded once.
fn single(token: &[u8]) -> Option<f32> {
    match special(token) {
        Some(value) if value.is_nan() => Some(f32::NAN),
        Some(value) if value < 0.0 => Some(f32::NEG_INFINITY),
        Some(_) => Some(f32::INFINITY),
        None => std::str::from_utf8(token).ok()?.parse().ok(),
    }
}

/// What becomes of a list or map: with an item that is wrong it is wrong as a whole.
fn with_item(typed: Typed, item: Typed) -> Typed {
    match (typed, item) {
        (Typed::Wrong, _) | (_, Typed::Wrong) => Typed::Wrong,
        (Typed::Partly, _) | (_, Typed::Partly) => Typed::Partly,
        (Typed::Well, Typed::Well) => Typed::Well,
    }
}

fn list(
    items: &mut Column,
    scan: &mut Scan<'_>,
    depth: u8,
    forms: &Forms,
) -> Result<Typed, Syntax> {
    let depth = deeper(depth)?;
    let mut typed = Typed::Well;
    scan.bump();
    scan.skip_blanks();
    if scan.peek() == b']' {
        scan.bump();
        return Ok(typed);
    }
    loop {
        scan.unfold(items.width())?;
        typed = with_item(typed, read(items, scan, depth, forms)?);
        if !scan.more(b']')? {
            return Ok(typed);
        }
    }
}

fn map(
    keys: &mut Column,
    values: &mut Column,
    scan: &mut Scan<'_>,
    depth: u8,
    forms: &Forms,
) -> Result<Typed, Syntax> {
    let depth = deeper(depth)?;
    let mut typed = Typed::Well;
    scan.bump();
    scan.skip_blanks();
    if scan.peek() == b'}' {
        scan.bump();
        return Ok(typed);
    }
    loop {
        scan.unfold(keys.width() + values.width())?;
        let Quoted { raw, escaped } = scan.key()?;
        if escaped {
            let mut key = Vec::with_capacity(raw.len());
            unescape(raw, &mut key);
            keys.push_text(&key);
        } else {
            keys.push_text(raw);
        }
        scan.skip_blanks();
        scan.expect(b':', "no colon after an object key")?;
        scan.skip_blanks();
        typed = with_item(typed, read(values, scan, depth, forms)?);
        if !scan.more(b'}')? {
            return Ok(typed);
        }
    }
}
