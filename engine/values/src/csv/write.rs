//! CSV as Spark writes it: fields are quoted where they must be, empty text is `""`, null is
//! `nullValue`.

use arrow::{array::ArrayRef, error::ArrowError};

use super::Dialect;
use crate::{
    cell::{Cell, Kind},
    forms::Forms,
};

/// Appends a line with names.
pub fn header<'a>(names: impl Iterator<Item = &'a str>, dialect: &Dialect, out: &mut Vec<u8>) {
    for (idx, name) in names.enumerate() {
        if idx > 0 {
            out.push(dialect.separator);
        }
        text(name.as_bytes(), dialect, out);
    }
    out.push(b'\n');
}

/// Appends one line a row.
///
/// # Errors
/// Arrow cannot cast a column of a type that Spark does not have.
pub fn lines(
    columns: &[ArrayRef],
    rows: usize,
    (dialect, forms): (&Dialect, &Forms),
    out: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    let cells = columns.iter().map(|column| Cell::new(column, &forms.zone));
    let cells = cells.collect::<Result<Vec<Cell>, ArrowError>>()?;
    let mut shown = Vec::new();
    for row in 0..rows {
        record(&cells, row, (dialect, forms), &mut shown, out);
        out.push(b'\n');
    }
    Ok(())
}

/// Appends one record without a line end; `shown` is memory to use.
pub(crate) fn record(
    cells: &[Cell],
    row: usize,
    (dialect, forms): (&Dialect, &Forms),
    shown: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
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
            Kind::Timestamp(values, zone) => {
                forms.write_timestamp(values.value(row), zone.is_some(), shown);
            }
            Kind::Date(values) => forms.write_date(i64::from(values.value(row)), shown),
            Kind::Binary(values) => shown.extend_from_slice(values.value(row)),
            Kind::Nothing
            | Kind::Boolean(_)
            | Kind::Integer(_)
            | Kind::Single(_)
            | Kind::Double(_)
            | Kind::Decimal(_)
            | Kind::Text(_)
            | Kind::Struct(_)
            | Kind::List(..)
            | Kind::Map(..) => cell.show(row, shown),
        }
        text(shown, dialect, out);
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
