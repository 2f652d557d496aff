//! One JSON object into one row of columns: the keys are predicted, the values go straight into
//! their columns.
#![deny(clippy::indexing_slicing)]

use arrow::{array::ArrayRef, datatypes::Fields, error::ArrowError};

use super::{
    scan::{Quoted, Scan, Syntax, deeper, unescape},
    value,
};
use crate::format::{Rules, column::Column};

/// Keys remembered for one object; when there are more, memory starts anew.
const PREDICTED_MAX: usize = 512;
/// How far ahead a key is looked for before it is parsed.
const AHEAD_MAX: usize = 16;
/// Longest key that is predicted, in bytes.
const PREDICTED_KEY_BYTES_MAX: usize = 256;

/// A key that occurred in an earlier record. Data of one producer has its keys in one order, some
/// of them left out at times: so the next key is nearly always the next remembered one, or one of
/// those right behind it, and a comparison of bytes replaces parsing and hashing.
#[derive(Debug)]
struct Expected {
    /// From the opening quote to the colon.
    text: Box<[u8]>,
    target: Option<usize>,
}

/// The columns of an object.
#[derive(Debug)]
pub(crate) struct Record {
    names: Vec<String>,
    columns: Vec<Column>,
    expected: Vec<Expected>,
    corrupt: Option<usize>,
    scratch: Vec<u8>,
}

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

impl Record {
    /// Columns for `fields`; `corrupt` is the one that takes the text of malformed records.
    pub(crate) fn new(fields: &Fields, corrupt: Option<usize>, rows: usize) -> Option<Record> {
        let columns = fields
            .iter()
            .map(|field| Column::new(field.data_type(), rows))
            .collect::<Option<Vec<Column>>>()?;
        let names = fields.iter().map(|field| field.name().clone()).collect();
        Some(Record {
            names,
            columns,
            expected: Vec::new(),
            corrupt,
            scratch: Vec::new(),
        })
    }

    /// Reads an object as row number `row`. On an error the caller cuts back to `row`.
    pub(crate) fn object(
        &mut self,
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
        } else {
            let mut place = 0;
            loop {
                let target = self.key(scan, &mut place)?;
                scan.skip_blanks();
                match target.and_then(|idx| self.columns.get_mut(idx)) {
                    None => scan.skip_value(depth)?,
                    Some(column) => {
                        if column.len() > row {
                            // The key occurs twice: the last one wins.
                            column.truncate(row);
                        }
                        typed = typed.and(value::read(column, scan, depth, rules)?);
                    }
                }
                if !scan.more(b'}')? {
                    break;
                }
            }
        }
        self.fill(row);
        Ok(typed)
    }

    /// Nulls for what the record did not have.
    fn fill(&mut self, row: usize) {
        for column in &mut self.columns {
            if column.len() == row {
                column.push_null();
            }
        }
    }

    /// Goes over a key and its colon and says which column it belongs to. `place` is where among
    /// the remembered keys the next one is expected.
    #[inline(always)]
    fn key(&mut self, scan: &mut Scan<'_>, place: &mut usize) -> Result<Option<usize>, Syntax> {
        match self.expected.get(*place) {
            Some(expected) if scan.take(&expected.text) => {
                *place += 1;
                Ok(expected.target)
            }
            _ => self.other_key(scan, place),
        }
    }

    #[inline(never)]
    fn other_key(
        &mut self,
        scan: &mut Scan<'_>,
        place: &mut usize,
    ) -> Result<Option<usize>, Syntax> {
        let behind = self.expected.iter().enumerate().skip(*place + 1);
        for (idx, expected) in behind.take(AHEAD_MAX) {
            if scan.take(&expected.text) {
                *place = idx + 1;
                return Ok(expected.target);
            }
        }
        let before = self.expected.iter().enumerate().take(*place);
        for (idx, expected) in before.take(AHEAD_MAX) {
            if scan.take(&expected.text) {
                *place = idx + 1;
                return Ok(expected.target);
            }
        }
        self.new_key(scan, place)
    }

    #[cold]
    fn new_key(&mut self, scan: &mut Scan<'_>, place: &mut usize) -> Result<Option<usize>, Syntax> {
        let start = scan.at();
        scan.expect(b'"', "object key is no string")?;
        let Quoted { raw, escaped } = scan.quoted()?;
        scan.skip_blanks();
        scan.expect(b':', "no colon after an object key")?;
        let name = if escaped {
            self.scratch.clear();
            unescape(raw, &mut self.scratch);
            self.scratch.as_slice()
        } else {
            raw
        };
        let target = self
            .names
            .iter()
            .position(|known| known.as_bytes() == name)
            .filter(|idx| Some(*idx) != self.corrupt);
        let text = scan.since(start);
        if text.len() <= PREDICTED_KEY_BYTES_MAX {
            if self.expected.len() >= PREDICTED_MAX {
                self.expected.clear();
            }
            let text: Box<[u8]> = text.into();
            *place = (*place).min(self.expected.len());
            self.expected.insert(*place, Expected { text, target });
            *place += 1;
        }
        Ok(target)
    }

    /// A row of nulls.
    pub(crate) fn push_null(&mut self, row: usize) {
        self.truncate(row);
        self.fill(row);
    }

    /// Cuts all columns back to `rows`.
    pub(crate) fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
    }

    /// Replaces the last value of the corrupt-record column, if there is one, by `text`.
    pub(crate) fn keep_corrupt(&mut self, row: usize, text: &[u8]) {
        if let Some(column) = self.corrupt.and_then(|idx| self.columns.get_mut(idx)) {
            column.truncate(row);
            column.push_text(text);
        }
    }

    /// Takes the rows out.
    pub(crate) fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.iter_mut().map(Column::finish).collect()
    }
}
