//! `Groups`: a table of groups with all their functions in columns.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt64Array},
    datatypes::{DataType, Field, Int64Type, Schema},
};

use millstream_types::Epoch;

use super::{
    AggregateCall,
    form::{function, state_fields},
    function::{Function, Rows},
};
use crate::{
    delta::BATCH_ROWS_MAX,
    error::{OperatorError, Result},
    keys::KeyTable,
};

/// Bytes of keys and states that go into one batch: a column of text has 31 bits for its length, and
/// what leaves at once stands in memory several times over.
#[cfg(not(test))]
const PORTION_BYTES_MAX: usize = 4 << 20;
/// So low that the tests of this crate cut all the time.
#[cfg(test)]
const PORTION_BYTES_MAX: usize = 200;

/// Keys, the functions of each, and how many rows each stands for.
pub(super) struct Groups {
    keys: KeyTable,
    functions: Vec<Box<dyn Function>>,
    rows: Vec<i64>,
    scratch: Vec<u32>,
    always_there: bool,
}

/// The columns of a batch as the functions see them.
pub(super) struct Columns<'a> {
    pub(super) keys: &'a [ArrayRef],
    pub(super) calls: &'a [AggregateCall],
    pub(super) batch: &'a RecordBatch,
    pub(super) signs: Option<&'a Int64Array>,
    pub(super) epoch: Epoch,
    pub(super) origins: Option<&'a UInt64Array>,
}

impl Groups {
    pub(super) fn new(key_types: &[DataType], calls: &[AggregateCall]) -> Result<Groups> {
        Ok(Groups {
            keys: KeyTable::new(key_types)?,
            functions: calls.iter().map(function).collect::<Result<_>>()?,
            rows: Vec::new(),
            scratch: Vec::new(),
            always_there: false,
        })
    }

    /// The same table with groups that exist without rows, too.
    pub(super) fn always_there(mut self) -> Groups {
        self.always_there = true;
        self
    }

    /// The same table, to which rows are only added until [`settle`](Groups::settle).
    pub(super) fn gathering(mut self) -> Groups {
        let functions = self.functions.iter_mut();
        functions.for_each(|function| function.gather());
        self
    }

    /// Makes a gathering table ready to be read.
    pub(super) fn settle(&mut self) -> Result<()> {
        let mut functions = self.functions.iter_mut();
        functions.try_for_each(|function| function.settle())
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Rows that a group stands for; 0 when all were taken back and the group is gone.
    pub(super) fn rows_of(&self, group: u32) -> i64 {
        if self.always_there {
            1
        } else {
            self.rows[group as usize]
        }
    }

    /// Finds or makes the group of each row.
    pub(super) fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut groups = std::mem::take(&mut self.scratch);
        groups.clear();
        self.keys.intern(keys, rows, &mut groups)?;
        let count = self.keys.len();
        self.rows.resize(count, 0);
        self.functions
            .iter_mut()
            .for_each(|function| function.resize(count));
        Ok(groups)
    }

    /// Makes room for so many groups that have numbers and no keys.
    pub(super) fn grow(&mut self, count: usize) {
        self.rows.resize(count, 0);
        self.functions
            .iter_mut()
            .for_each(|function| function.resize(count));
    }

    /// The keys of a table whose only key is a number that is never null.
    pub(super) fn words(&self) -> &[i64] {
        self.keys.words()
    }

    /// Gives the keys of such a table other numbers; different ones stay different.
    pub(super) fn renumber(&mut self, number: impl Fn(i64) -> i64) {
        self.keys.renumber(number);
    }

    /// The groups of some keys, as far as they are there.
    pub(super) fn find(&self, keys: &[ArrayRef], rows: usize) -> Result<Vec<Option<u32>>> {
        self.keys.find(keys, rows)
    }

    /// All group numbers.
    pub(super) fn all(&self) -> Vec<u32> {
        (0..u32::try_from(self.rows.len()).unwrap_or(u32::MAX)).collect()
    }

    /// Gives the numbers of [`intern`](Groups::intern) back for the next call.
    pub(super) fn recycle(&mut self, groups: Vec<u32>) {
        self.scratch = groups;
    }

    /// Adds input rows.
    pub(super) fn update(&mut self, columns: &Columns<'_>) -> Result<()> {
        let rows = columns.batch.num_rows();
        let groups = self.intern(columns.keys, rows)?;
        let signs = columns.signs.map(|signs| &signs.values()[..]);
        match signs {
            None => groups
                .iter()
                .for_each(|group| self.rows[*group as usize] += 1),
            Some(signs) => {
                for (group, sign) in groups.iter().zip(signs) {
                    self.rows[*group as usize] += sign;
                }
            }
        }
        for (call, function) in columns.calls.iter().zip(&mut self.functions) {
            let arguments: Vec<ArrayRef> = call
                .arguments
                .iter()
                .map(|column| columns.batch.column(*column).clone())
                .collect();
            let filter = call
                .filter
                .map(|column| boolean(columns.batch.column(column)))
                .transpose()?;
            function.update(&Rows {
                arguments: &arguments,
                filter,
                groups: &groups,
                signs,
                epoch: columns.epoch.0,
                origins: columns.origins.map(|origins| &origins.values()[..]),
            })?;
        }
        self.recycle(groups);
        Ok(())
    }

    /// The groups of the rows that were added last.
    pub(super) fn latest(&self) -> &[u32] {
        &self.scratch
    }

    /// Adds states of other tables for groups found before: state columns, then rows.
    pub(super) fn merge(&mut self, groups: &[u32], states: &[ArrayRef]) -> Result<()> {
        let Some((rows, mut states)) = states.split_last() else {
            return Err(OperatorError::contract("a state without a row count"));
        };
        for (group, rows) in groups.iter().zip(rows.as_primitive::<Int64Type>().values()) {
            self.rows[*group as usize] += rows;
        }
        for function in &mut self.functions {
            let (own, rest) = states.split_at(function.width());
            function.merge(own, groups)?;
            states = rest;
        }
        Ok(())
    }

    /// The first of some groups that go into one batch: bounded in rows and in bytes, at least one.
    pub(super) fn portion<'a, T>(&self, of: &'a [T], group: impl Fn(&T) -> u32) -> &'a [T] {
        let has_keys = self.keys.len() == self.rows.len();
        let mut bytes = 0usize;
        let fits = |one: &&T| {
            let group = group(one);
            let key = if has_keys {
                self.keys.bytes_of(group)
            } else {
                0
            };
            let functions = self.functions.iter();
            let own: usize = functions.map(|function| function.bytes_of(group)).sum();
            bytes = bytes.saturating_add(key).saturating_add(own);
            bytes <= PORTION_BYTES_MAX
        };
        let most = &of[..of.len().min(BATCH_ROWS_MAX)];
        let count = most.iter().take_while(fits).count();
        &of[..count.max(1).min(of.len())]
    }

    /// Some groups in runs that each go into one batch.
    pub(super) fn portions<'a>(&'a self, mut groups: &'a [u32]) -> impl Iterator<Item = &'a [u32]> {
        std::iter::from_fn(move || {
            let some = self.portion(groups, |group| *group);
            groups = &groups[some.len()..];
            (!some.is_empty()).then_some(some)
        })
    }

    /// Key columns of some groups.
    pub(super) fn key_columns(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.keys.columns(Some(groups))
    }

    /// State columns of some groups, then rows.
    pub(super) fn states(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        for function in &self.functions {
            columns.extend(function.state(groups)?);
        }
        let rows = groups.iter().map(|group| self.rows[*group as usize]);
        columns.push(Arc::new(Int64Array::from_iter_values(rows)));
        Ok(columns)
    }

    /// Results of some groups, one column a function.
    pub(super) fn results(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.functions
            .iter()
            .map(|function| function.evaluate(groups))
            .collect()
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> usize {
        let boxed = |function: &dyn Function| size_of_val(function) + function.bytes();
        self.keys.bytes()
            + self.rows.capacity() * size_of::<i64>()
            + self.scratch.capacity() * size_of::<u32>()
            + self.functions.capacity() * size_of::<Box<dyn Function>>()
            + self
                .functions
                .iter()
                .map(|function| boxed(function.as_ref()))
                .sum::<usize>()
    }
}

fn boolean(column: &ArrayRef) -> Result<&BooleanArray> {
    column
        .as_boolean_opt()
        .ok_or_else(|| OperatorError::contract("a FILTER is not a boolean"))
}

/// The columns that [`Groups::states`] makes: states in the order of calls, then `__rows`.
pub(super) fn state_schema(calls: &[AggregateCall]) -> Result<Schema> {
    let mut fields = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        for (part, field) in state_fields(call)?.iter().enumerate() {
            let name = format!("state{index}_{part}");
            fields.push(Field::new(name, field.data_type().clone(), true));
        }
    }
    fields.push(Field::new("__rows", DataType::Int64, false));
    Ok(Schema::new(fields))
}

/// All group numbers of a table, in runs of a batch.
pub(super) fn in_batches(groups: &[u32]) -> impl Iterator<Item = &[u32]> {
    groups.chunks(BATCH_ROWS_MAX)
}
