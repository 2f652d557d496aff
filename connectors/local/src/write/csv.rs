//! CSV as Spark writes it: fields are quoted where they must be, empty text is `""`, null is
//! `nullValue`.

use arrow::datatypes::Schema;

use super::{
    cell::{Cell, Kind},
    json,
};
use crate::format::Dialect;

/// Appends the line with the names.
pub(super) fn header(schema: &Schema, dialect: &Dialect, out: &mut Vec<u8>) {
    for (idx, field) in schema.fields().iter().enumerate() {
        if idx > 0 {
            out.push(dialect.separator);
        }
        text(field.name().as_bytes(), dialect, out);
    }
    out.push(b'\n');
}

/// Appends one line a row.
pub(super) fn rows(cells: &[Cell], rows: usize, dialect: &Dialect, out: &mut Vec<u8>) {
    let mut shown = Vec::new();
    for row in 0..rows {
        for (idx, cell) in cells.iter().enumerate() {
            if idx > 0 {
                out.push(dialect.separator);
            }
            if cell.is_null(row) {
                out.extend_from_slice(dialect.null_value.as_bytes());
                continue;
            }
            shown.clear();
            match &cell.kind {
                Kind::Timestamp(values, zoned) => {
                    json::instant(values.value(row), *zoned, &mut shown);
                }
                Kind::Binary(values) => shown.extend_from_slice(values.value(row)),
                Kind::Nothing
                | Kind::Boolean(_)
                | Kind::Integer(_)
                | Kind::Single(_)
                | Kind::Double(_)
                | Kind::Decimal(_)
                | Kind::Text(_)
                | Kind::Date(_)
                | Kind::Struct(_)
                | Kind::List(..)
                | Kind::Map(..) => cell.show(row, &mut shown),
            }
            text(&shown, dialect, out);
        }
        out.push(b'\n');
    }
}

fn text(text: &[u8], dialect: &Dialect, out: &mut Vec<u8>) {
    let Some(quote) = dialect.quote else {
        out.extend_from_slice(text);
        return;
    };
    let special =
        |byte: &u8| *byte == quote || *byte == dialect.separator || matches!(byte, b'\n' | b'\r');
    if !text.is_empty() && !text.iter().any(special) {
        out.extend_from_slice(text);
        return;
    }
    let escape = dialect.escape.unwrap_or(quote);
    out.push(quote);
    for byte in text {
        if *byte == quote || *byte == escape {
            out.push(escape);
        }
        out.push(*byte);
    }
    out.push(quote);
}
