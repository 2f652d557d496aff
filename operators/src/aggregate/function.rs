//! The state of one aggregate function over numbered groups, in columns: what [`form`](super::form) chooses from.
//!
//! Reading never consumes: a group's result may be wanted in every epoch. No form heeds the order in
//! which rows or states come [INV-02]: which worker has which rows, and who merges first, is chance.

use arrow::array::{ArrayRef, BooleanArray};

use super::AggregateCall;
use crate::error::{OperatorError, Result};

/// Rows with the groups they belong to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    /// The arguments of the function.
    pub(super) arguments: &'a [ArrayRef],
    /// Rows that count; null counts as false.
    pub(super) filter: Option<&'a BooleanArray>,
    /// The group of each row.
    pub(super) groups: &'a [u32],
    /// The sign of each row; all +1 if absent.
    pub(super) signs: Option<&'a [i64]>,
    /// The epoch of the rows.
    pub(super) epoch: u64,
    /// Where each row stood in the input of its epoch, if that is known.
    pub(super) origins: Option<&'a [u64]>,
}

impl Rows<'_> {
    /// Whether a row counts.
    #[inline]
    #[must_use]
    pub(super) fn counts(&self, row: usize) -> bool {
        use arrow::array::Array;
        self.filter
            .is_none_or(|filter| filter.is_valid(row) && filter.value(row))
    }

    /// Where a row stands in all input: its epoch, and its place in there.
    #[inline]
    #[must_use]
    pub(super) fn place(&self, row: usize) -> (u64, u64) {
        (self.epoch, self.origins.map_or(0, |origins| origins[row]))
    }

    /// Refuses rows that are taken back, for functions that the planner gives none.
    ///
    /// # Errors
    /// When there is one.
    pub(super) fn refuse_retractions(&self, call: &AggregateCall) -> Result<()> {
        let taken_back = |signs: &[i64]| signs.iter().any(|sign| *sign < 0);
        if self.signs.is_some_and(taken_back) {
            let name = call.function.name();
            return Err(OperatorError::contract(format!(
                "{name} was planned over rows that stay"
            )));
        }
        Ok(())
    }

    /// The sign of a row.
    #[inline]
    #[must_use]
    pub(super) fn sign(&self, row: usize) -> i64 {
        self.signs.map_or(1, |signs| signs[row])
    }
}

/// The state of one function for all groups of a table.
pub(super) trait Function {
    /// Number of state columns.
    fn width(&self) -> usize;

    /// Makes room for groups `0..groups`; new ones are empty.
    fn resize(&mut self, groups: usize);

    /// Adds (or takes away) rows.
    ///
    /// # Errors
    /// Overflow, or a function that fails on its arguments.
    fn update(&mut self, rows: &Rows<'_>) -> Result<()>;

    /// Adds states that another table computed over other rows.
    ///
    /// # Errors
    /// Overflow, or columns that are no state of this function.
    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()>;

    /// Announces that rows are only added until [`settle`](Function::settle): nothing is read.
    fn gather(&mut self) {}

    /// Ends what [`gather`](Function::gather) began.
    ///
    /// # Errors
    /// When the function fails.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// The states of some groups.
    ///
    /// # Errors
    /// When the function fails.
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>>;

    /// The results of some groups.
    ///
    /// # Errors
    /// When the function fails.
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef>;

    /// Bytes held, about.
    fn bytes(&self) -> usize;

    /// Bytes of the state or result of one group, about, so that batches of them can be bounded.
    fn bytes_of(&self, _group: u32) -> usize {
        16
    }
}
