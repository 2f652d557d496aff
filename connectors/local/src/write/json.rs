//! JSON lines as Spark writes them: nulls left out, instants in UTC with milliseconds.

use super::{
    cell::{Cell, Kind, span},
    number,
};
use crate::format::{base64_encode, time};

/// The name of a field with quotes and colon.
pub(super) fn key(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 3);
    quoted(name, &mut out);
    out.push(b':');
    out
}

/// Appends one line a row.
pub(super) fn rows(names: &[Vec<u8>], cells: &[Cell], rows: usize, out: &mut Vec<u8>) {
    for row in 0..rows {
        out.push(b'{');
        let mut first = true;
        for (name, cell) in names.iter().zip(cells) {
            if cell.is_null(row) {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(name);
            value(cell, row, out);
        }
        out.extend_from_slice(b"}\n");
    }
}

fn value(cell: &Cell, row: usize, out: &mut Vec<u8>) {
    if cell.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match &cell.kind {
        Kind::Nothing => out.extend_from_slice(b"null"),
        Kind::Boolean(_) | Kind::Decimal(_) => cell.show(row, out),
        Kind::Integer(values) => number::integer(values.value(row), out),
        Kind::Single(values) => bare_if(values.value(row).is_finite(), out, |out| {
            number::single(values.value(row), out);
        }),
        Kind::Double(values) => bare_if(values.value(row).is_finite(), out, |out| {
            number::double(values.value(row), out);
        }),
        Kind::Text(values) => quoted(values.value(row), out),
        Kind::Binary(values) => bare_if(false, out, |out| base64_encode(values.value(row), out)),
        Kind::Date(_) => bare_if(false, out, |out| cell.show(row, out)),
        Kind::Timestamp(values, zoned) => bare_if(false, out, |out| {
            instant(values.value(row), *zoned, out);
        }),
        Kind::Struct(fields) => {
            out.push(b'{');
            let mut first = true;
            for (name, cell) in fields.iter().filter(|(_, cell)| !cell.is_null(row)) {
                if !first {
                    out.push(b',');
                }
                first = false;
                quoted(name, out);
                out.push(b':');
                value(cell, row, out);
            }
            out.push(b'}');
        }
        Kind::List(offsets, items) => {
            out.push(b'[');
            for (idx, item) in span(offsets, row).enumerate() {
                if idx > 0 {
                    out.push(b',');
                }
                value(items, item, out);
            }
            out.push(b']');
        }
        Kind::Map(offsets, keys, values) => {
            out.push(b'{');
            for (idx, entry) in span(offsets, row).enumerate() {
                if idx > 0 {
                    out.push(b',');
                }
                map_key(keys, entry, out);
                out.push(b':');
                value(values, entry, out);
            }
            out.push(b'}');
        }
    }
}

/// Appends a key as text. Only texts, and values that contain some, may have something to escape.
fn map_key(keys: &Cell, entry: usize, out: &mut Vec<u8>) {
    match &keys.kind {
        Kind::Text(values) => quoted(values.value(entry), out),
        Kind::Struct(_) | Kind::List(..) | Kind::Map(..) => {
            let mut shown = Vec::new();
            keys.show(entry, &mut shown);
            quoted(&String::from_utf8_lossy(&shown), out);
        }
        Kind::Nothing
        | Kind::Boolean(_)
        | Kind::Integer(_)
        | Kind::Single(_)
        | Kind::Double(_)
        | Kind::Decimal(_)
        | Kind::Binary(_)
        | Kind::Date(_)
        | Kind::Timestamp(..) => bare_if(false, out, |out| keys.show(entry, out)),
    }
}

/// Appends what `write` writes, in quotes unless it is a finite number.
fn bare_if(bare: bool, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if bare {
        write(out);
        return;
    }
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// `2024-01-01T00:00:00.000Z`; without `Z` where the type has no zone.
pub(super) fn instant(micros: i64, zoned: bool, out: &mut Vec<u8>) {
    let rest = time::write_seconds(micros, 'T', out);
    out.push(b'.');
    number::padded::<3>(rest.unsigned_abs() / 1_000, out);
    if zoned {
        out.push(b'Z');
    }
}

/// Bytes that are looked at together: as many as a register holds.
const TOGETHER: usize = 16;

/// How many bytes at the beginning of `text` stand for themselves.
fn plain_len(text: &[u8]) -> usize {
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let (groups, _) = text.as_chunks::<TOGETHER>();
    let free = groups
        .iter()
        .take_while(|group| {
            !group
                .iter()
                .fold(false, |any, byte| any | is_special(*byte))
        })
        .count();
    let start = free * TOGETHER;
    let tail = text.get(start..).unwrap_or(&[]);
    let plain = tail.iter().position(|byte| is_special(*byte));
    start + plain.unwrap_or(tail.len())
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, tail) = rest.split_at(plain_len(rest));
        out.extend_from_slice(plain);
        let Some((special, tail)) = tail.split_first() else {
            break;
        };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            other => {
                out.extend_from_slice(b"\\u00");
                number::hex(*other, out);
            }
        }
        rest = tail;
    }
    out.push(b'"');
}
