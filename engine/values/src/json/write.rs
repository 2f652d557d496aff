//! Values as JSON, as Spark writes them: nulls left out of objects, instants with milliseconds, special
//! numbers as texts.

use arrow::{array::ArrayRef, error::ArrowError};

use crate::{
    base64,
    cell::{Cell, Kind, span},
    forms::Forms,
    number,
};

/// How values are written.
#[derive(Clone, Debug, Default)]
pub struct Style {
    /// The forms of dates and times.
    pub forms: Forms,
    /// What becomes of null fields.
    pub nulls: Nulls,
    /// What becomes of letters beyond ASCII.
    pub letters: Letters,
}

/// What becomes of null fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nulls {
    /// They are left out.
    #[default]
    LeftOut,
    /// They are written.
    Written,
}

/// What becomes of letters beyond ASCII.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Letters {
    /// They stand for themselves.
    #[default]
    AsTheyAre,
    /// They are escaped.
    Escaped,
}

/// Writes rows of columns as JSON.
#[derive(Debug)]
pub struct Writer {
    style: Style,
    /// The names of the columns as they are written, with colons.
    keys: Vec<Vec<u8>>,
}

impl Writer {
    /// A writer of objects with these names.
    #[must_use]
    pub fn new<'a>(names: impl Iterator<Item = &'a str>, style: Style) -> Writer {
        let keys = names.map(|name| {
            let mut out = Vec::with_capacity(name.len() + 3);
            style.text(name.as_bytes(), &mut out);
            out.push(b':');
            out
        });
        Writer {
            keys: keys.collect(),
            style,
        }
    }

    /// Appends one object a row, each on a line.
    ///
    /// # Errors
    /// Arrow cannot cast a column of a type that Spark does not have.
    pub fn lines(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ArrowError> {
        let cells = columns
            .iter()
            .map(|column| Cell::new(column, &self.style.forms.zone));
        let cells = cells.collect::<Result<Vec<Cell>, ArrowError>>()?;
        for row in 0..rows {
            self.object(&cells, row, out);
            out.push(b'\n');
        }
        Ok(())
    }

    fn object(&self, cells: &[Cell], row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        for (name, cell) in self.keys.iter().zip(cells) {
            if cell.is_null(row) && self.style.nulls == Nulls::LeftOut {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(name);
            self.style.value(cell, row, out);
        }
        out.push(b'}');
    }
}

impl Style {
    fn text(&self, text: &[u8], out: &mut Vec<u8>) {
        if self.letters == Letters::Escaped && !text.is_ascii() {
            escaped(&String::from_utf8_lossy(text), out);
        } else {
            quoted(text, out);
        }
    }

    /// Appends the value of a row.
    pub(crate) fn value(&self, cell: &Cell, row: usize, out: &mut Vec<u8>) {
        if cell.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match &cell.kind {
            Kind::Nothing => out.extend_from_slice(b"null"),
            Kind::Boolean(_) => cell.show(row, out),
            Kind::Integer(values) => number::integer(values.value(row), out),
            Kind::Decimal(values) => number::scientific(values.value(row), values.scale(), out),
            Kind::Single(values) => bare_if(values.value(row).is_finite(), out, |out| {
                number::single(values.value(row), out);
            }),
            Kind::Double(values) => bare_if(values.value(row).is_finite(), out, |out| {
                number::double(values.value(row), out);
            }),
            Kind::Text(values) | Kind::Interval(values, _) => {
                self.text(values.value(row).as_bytes(), out);
            }
            Kind::Binary(values) => bare_if(false, out, |out| {
                base64::encode(values.value(row), out);
            }),
            Kind::Date(values) => bare_if(false, out, |out| {
                self.forms.write_date(i64::from(values.value(row)), out);
            }),
            Kind::Timestamp(values, zone) => bare_if(false, out, |out| {
                self.forms
                    .write_timestamp(values.value(row), zone.is_some(), out);
            }),
            Kind::Struct(fields) => self.fields(fields, row, out),
            Kind::List(offsets, items) => {
                out.push(b'[');
                for (idx, item) in span(offsets, row).enumerate() {
                    if idx > 0 {
                        out.push(b',');
                    }
                    self.value(items, item, out);
                }
                out.push(b']');
            }
            Kind::Map(offsets, keys, values) => {
                out.push(b'{');
                for (idx, entry) in span(offsets, row).enumerate() {
                    if idx > 0 {
                        out.push(b',');
                    }
                    self.map_key(keys, entry, out);
                    out.push(b':');
                    self.value(values, entry, out);
                }
                out.push(b'}');
            }
        }
    }

    fn fields(&self, fields: &[(String, Cell)], row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        for (name, cell) in fields {
            if cell.is_null(row) && self.nulls == Nulls::LeftOut {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            self.text(name.as_bytes(), out);
            out.push(b':');
            self.value(cell, row, out);
        }
        out.push(b'}');
    }

    /// Appends a key as text: dates and timestamps as the counts that they are, as Spark does. Only
    /// texts, and values that contain some, may have something to escape.
    fn map_key(&self, keys: &Cell, entry: usize, out: &mut Vec<u8>) {
        match &keys.kind {
            Kind::Text(values) => self.text(values.value(entry).as_bytes(), out),
            Kind::Struct(_) | Kind::List(..) | Kind::Map(..) => {
                let mut shown = Vec::new();
                keys.show(entry, &mut shown);
                self.text(&shown, out);
            }
            Kind::Interval(_, counts) => bare_if(false, out, |out| {
                number::integer(counts.value(entry), out);
            }),
            Kind::Date(values) => bare_if(false, out, |out| {
                number::integer(i64::from(values.value(entry)), out);
            }),
            Kind::Timestamp(values, _) => bare_if(false, out, |out| {
                number::integer(values.value(entry), out);
            }),
            Kind::Nothing
            | Kind::Boolean(_)
            | Kind::Integer(_)
            | Kind::Single(_)
            | Kind::Double(_)
            | Kind::Decimal(_)
            | Kind::Binary(_) => bare_if(false, out, |out| keys.show(entry, out)),
        }
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

/// Appends text in quotes, with letters beyond ASCII as escapes.
fn escaped(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    quoted(text.as_bytes(), out);
    let quoted = String::from_utf8_lossy(out.get(start..).unwrap_or(&[])).into_owned();
    out.truncate(start);
    for letter in quoted.chars() {
        if letter.is_ascii() {
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            out.extend_from_slice(b"\\u");
            for byte in unit.to_be_bytes() {
                number::hex(byte, out);
            }
        }
    }
}

/// Appends JSON without blanks with a line for each member of an object, as Jackson prints it.
pub(crate) fn pretty(compact: &[u8], out: &mut Vec<u8>) {
    let mut open: Vec<u8> = Vec::new();
    let line = |open: &[u8], out: &mut Vec<u8>| {
        let depth = open.iter().filter(|kind| **kind == b'{').count();
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 2 * depth));
    };
    let (mut in_text, mut after_slash) = (false, false);
    let mut bytes = compact.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if in_text {
            out.push(byte);
            in_text = byte != b'"' || after_slash;
            after_slash = byte == b'\\' && !after_slash;
            continue;
        }
        match byte {
            b'"' => {
                in_text = true;
                out.push(byte);
            }
            b'{' | b'[' => {
                out.push(byte);
                if matches!(bytes.peek(), Some(b'}' | b']')) {
                    out.push(b' ');
                    out.extend(bytes.next());
                    continue;
                }
                open.push(byte);
                match byte {
                    b'{' => line(&open, out),
                    _ => out.push(b' '),
                }
            }
            b'}' | b']' => {
                open.pop();
                match byte {
                    b'}' => line(&open, out),
                    _ => out.push(b' '),
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                match open.last() {
                    Some(b'{') => line(&open, out),
                    _ => out.push(b' '),
                }
            }
            b':' => out.extend_from_slice(b" : "),
            other => out.push(other),
        }
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

/// Appends text in quotes, with escapes where JSON needs them.
pub(crate) fn quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
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
