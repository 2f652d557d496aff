//! One aggregate function over numbered groups, in columns.
//!
//! The common functions keep plain vectors and change them in place ([`native`](super::native));
//! every other function of DataFusion runs through its own accumulators
//! ([`general`](super::general)). Reading never consumes: a group's result may be wanted in every
//! epoch.

use arrow::{
    array::{ArrayRef, BooleanArray},
    datatypes::FieldRef,
};

use super::{AggregateCall, general::General, native};
use crate::error::Result;

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
}

/// The columns of a function's state.
///
/// # Errors
/// When DataFusion cannot say.
pub(super) fn state_fields(call: &AggregateCall) -> Result<Vec<FieldRef>> {
    match native::state_fields(call) {
        Some(fields) => Ok(fields),
        None => General::state_fields(call),
    }
}

/// A new, empty state.
///
/// # Errors
/// When DataFusion has no accumulator for it.
pub(super) fn function(call: &AggregateCall) -> Result<Box<dyn Function>> {
    match native::function(call) {
        Some(function) => Ok(function),
        None => Ok(Box::new(General::new(call)?)),
    }
}
