//! One JSON value into one column, and one object into one row of columns, by Spark's rules: a value
//! of another type becomes null and the record counts as malformed; a string column takes any value
//! as its text. Values go straight into their columns; what a record does not have costs nothing.
#![deny(clippy::indexing_slicing)]

use super::scan::{Quoted, Scan, Syntax, deeper, unescape};
use crate::format::{
    Rules,
    cell::{narrow, single, store},
    column::{Column, Record, Values},
    scalar,
};

/// Whether every value had the type of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// They had.
    Well,
    /// Some did not, and are null now.
    Wrong,
}

impl Typed {
    pub(crate) fn and(self, other: Typed) -> Typed {
        if self == Typed::Well { other } else { self }
    }
}

/// Reads an object as row number `row`. On an error the caller cuts back to `row`.
pub(crate) fn object(
    record: &mut Record,
    scan: &mut Scan<'_>,
    row: usize,
    depth: u8,
    rules: &Rules,
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
                typed = typed.and(read(column, scan, depth, rules)?);
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
    rules: &Rules,
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
        _ => other(column, scan, depth, rules),
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
    rules: &Rules,
) -> Result<Typed, Syntax> {
    let start = scan.at();
    let row = column.len();
    let stored = match (&mut column.values, scan.peek()) {
        (Values::Struct(_, record), b'{') => {
            let typed = object(record, scan, row, depth, rules)?;
            column.mark_valid();
            return Ok(typed);
        }
        (Values::List { items, .. }, b'[') => {
            let typed = list(items, scan, depth, rules)?;
            column.close_items();
            return Ok(typed);
        }
        (Values::Map { keys, values, .. }, b'{') => {
            let typed = map(keys, values, scan, depth, rules)?;
            column.close_items();
            return Ok(typed);
        }
        (Values::Utf8(bytes), _) => {
            scan.skip_value(depth)?;
            bytes.data.extend_from_slice(scan.since(start));
            bytes.close();
            true
        }
        (values, b'"') => {
            scan.bump();
            let Quoted { raw, escaped } = scan.quoted()?;
            if escaped {
                let mut text = Vec::with_capacity(raw.len());
                unescape(raw, &mut text);
                text_into(values, &text, rules)
            } else {
                text_into(values, raw, rules)
            }
        }
        (values, _) => {
            scan.skip_value(depth)?;
            token_into(values, scan.since(start))
        }
    };
    if stored {
        column.mark_valid();
        return Ok(Typed::Well);
    }
    column.push_null();
    Ok(Typed::Wrong)
}

/// The inside of a string literal into a column that holds no text.
fn text_into(values: &mut Values, text: &[u8], rules: &Rules) -> bool {
    match values {
        Values::Float32(_) | Values::Float64(_) => {
            scalar::special(text).is_some() && token_into(values, text)
        }
        Values::Decimal { .. } => token_into(values, text),
        Values::Date(values) => store(values, rules.date(text)),
        Values::Timestamp { values, zone } => store(values, rules.timestamp(text, zone.is_some())),
        Values::Binary(bytes) => {
            let decoded = scalar::base64_decode(text, &mut bytes.data).is_some();
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
        Values::Float64(values) => store(values, scalar::double(token)),
        Values::Decimal {
            values,
            precision,
            scale,
        } => store(values, scalar::decimal(token, *precision, *scale)),
        Values::Timestamp { values, .. } => {
            let seconds = scalar::integer(token);
            store(values, seconds.and_then(|s| s.checked_mul(1_000_000)))
        }
        Values::Date(_)
        | Values::Utf8(_)
        | Values::Binary(_)
        | Values::Struct(..)
        | Values::List { .. }
        | Values::Map { .. } => false,
    }
}

fn list(
    items: &mut Column,
    scan: &mut Scan<'_>,
    depth: u8,
    rules: &Rules,
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
        typed = typed.and(read(items, scan, depth, rules)?);
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
    rules: &Rules,
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
        if scan.peek() != b'"' {
            return Err(Syntax("object key is no string"));
        }
        scan.unfold(keys.width() + values.width())?;
        read(keys, scan, depth, rules)?;
        scan.skip_blanks();
        scan.expect(b':', "no colon after an object key")?;
        scan.skip_blanks();
        typed = typed.and(read(values, scan, depth, rules)?);
        if !scan.more(b'}')? {
            return Ok(typed);
        }
    }
}
