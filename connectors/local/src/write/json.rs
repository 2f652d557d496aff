//! JSON lines as Spark writes them: nulls left out, instants in UTC with milliseconds.

use super::cell::{Cell, Kind, display, double, single, span};
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
        Kind::Integer(values) => display(out, values.value(row)),
        Kind::Single(values) => number(values.value(row).is_finite(), out, |out| {
            single(values.value(row), out);
        }),
        Kind::Double(values) => number(values.value(row).is_finite(), out, |out| {
            double(values.value(row), out);
        }),
        Kind::Text(values) => quoted(values.value(row), out),
        Kind::Binary(values) => number(false, out, |out| base64_encode(values.value(row), out)),
        Kind::Date(_) => number(false, out, |out| cell.show(row, out)),
        Kind::Timestamp(values, zoned) => number(false, out, |out| {
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
                let mut name = Vec::new();
                keys.show(entry, &mut name);
                quoted(&String::from_utf8_lossy(&name), out);
                out.push(b':');
                value(values, entry, out);
            }
            out.push(b'}');
        }
    }
}

/// Appends what `write` writes, in quotes unless it is a finite number.
fn number(bare: bool, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
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
    let zone = if zoned { "Z" } else { "" };
    display(out, format_args!(".{:03}{zone}", rest / 1_000));
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|b| *b < 0x20 || *b == b'"' || *b == b'\\')
    {
        let (plain, tail) = rest.split_at(at);
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
            other => display(out, format_args!("\\u{other:04X}")),
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
