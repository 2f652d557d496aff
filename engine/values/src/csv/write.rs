//! CSV as Spark writes it: fields are quoted where they must be, empty text is `""`, null is
//! `nullValue`.

use arrow::{array::ArrayRef, error::ArrowError};

use super::{Dialect, options::Blanks};
use crate::{
    cell::{Cell, Kind},
    forms::Forms,
    number,
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

/// How values are written.
pub(super) struct Style<'a> {
    pub(super) dialect: &'a Dialect,
    pub(super) forms: &'a Forms,
    pub(super) blanks: Blanks,
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
    let style = Style {
        dialect,
        forms,
        blanks: Blanks {
            leading: false,
            trailing: false,
        },
    };
    let mut shown = Vec::new();
    for row in 0..rows {
        style.record(&cells, row, &mut shown, out);
        out.push(b'\n');
    }
    Ok(())
}

impl Style<'_> {
    /// Appends one record without a line end; `shown` is memory to use.
    pub(super) fn record(
        &self,
        cells: &[Cell],
        row: usize,
        shown: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) {
        for (idx, cell) in cells.iter().enumerate() {
            if idx > 0 {
                out.push(self.dialect.separator);
            }
            if cell.is_null(row) {
                self.null(out);
                continue;
            }
            shown.clear();
            match &cell.kind {
                Kind::Timestamp(values, zone) => {
                    let at = values.value(row);
                    self.forms.write_timestamp(at, zone.is_some(), shown);
                }
                Kind::Date(values) => {
                    self.forms.write_date(i64::from(values.value(row)), shown);
                }
                Kind::Decimal(values) => {
                    number::scientific(values.value(row), values.scale(), shown);
                }
                Kind::Nothing
                | Kind::Boolean(_)
                | Kind::Integer(_)
                | Kind::Single(_)
                | Kind::Double(_)
                | Kind::Text(_)
                | Kind::Binary(_)
                | Kind::Interval(..)
                | Kind::Struct(_)
                | Kind::List(..)
                | Kind::Map(..) => cell.show(row, shown),
            }
            text(self.blanks.drop_from(shown), self.dialect, out);
        }
    }

    fn null(&self, out: &mut Vec<u8>) {
        let value = self.dialect.null_value.as_bytes();
        if self.dialect.quotes_all {
            return text(value, self.dialect, out);
        }
        out.extend_from_slice(value);
    }
}

fn text(text: &[u8], dialect: &Dialect, out: &mut Vec<u8>) {
    let Some(quote) = dialect.quote else {
        out.extend_from_slice(text);
        return;
    };
    let special = |byte: &u8| {
        (*byte == quote && dialect.quotes_quotes)
            || *byte == dialect.separator
            || matches!(byte, b'\n' | b'\r')
    };
    if let (true, Some(empty)) = (text.is_empty(), &dialect.empty_value) {
        out.extend_from_slice(empty.as_bytes());
        return;
    }
    if !text.is_empty() && !dialect.quotes_all && !text.iter().any(special) {
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
