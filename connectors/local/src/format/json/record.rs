//! One JSON object into one row of columns: the values go straight into their columns.
//!
//! A column may lag behind: what a record does not have costs nothing until the next value of that
//! column, or the end of the batch, fills the gap with nulls at once.
#![deny(clippy::indexing_slicing)]

use arrow::{array::ArrayRef, datatypes::Fields, error::ArrowError};

use super::{
    keys::Keys,
    scan::{Scan, Syntax, deeper},
    value,
};
use crate::format::{
    Rules,
    column::{self, Column},
};

/// The columns of an object.
#[derive(Debug)]
pub(crate) struct Record {
    keys: Keys,
    columns: Vec<Column>,
    corrupt: Option<usize>,
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
    pub(crate) fn new(fields: &Fields, corrupt: Option<usize>) -> Option<Record> {
        let columns = fields
            .iter()
            .map(|field| Column::new(field.data_type()))
            .collect::<Option<Vec<Column>>>()?;
        let names = fields.iter().enumerate();
        let names = names.filter(|(idx, _)| Some(*idx) != corrupt);
        Some(Record {
            keys: Keys::new(names.map(|(idx, field)| (idx, field.name().as_str()))),
            columns,
            corrupt,
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
            return Ok(typed);
        }
        let mut place = self.keys.begin();
        loop {
            let target = self.keys.read(scan, &mut place)?;
            scan.skip_blanks();
            match target.and_then(|idx| self.columns.get_mut(idx)) {
                None => scan.skip_value(depth)?,
                Some(column) => {
                    if column.len() != row {
                        // Earlier records did not have the key, or this one has it twice: then the
                        // last one wins.
                        column.settle(row);
                    }
                    typed = typed.and(value::read(column, scan, depth, rules)?);
                }
            }
            if !scan.more(b'}')? {
                return Ok(typed);
            }
        }
    }

    /// Bytes that a row takes, without text and items.
    pub(crate) fn width(&self) -> usize {
        column::width(&self.columns)
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
            column.settle(row);
            column.push_text(text);
        }
    }

    /// Takes `rows` rows out.
    pub(crate) fn finish(&mut self, rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        column::finish(&mut self.columns, rows)
    }
}
