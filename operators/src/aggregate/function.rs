//! One aggregate function over numbered groups, in columns.
//!
//! | form | which functions |
//! |---|---|
//! | [`native`](super::native): vectors, changed in place | `count`; `min`, `max` over rows that stay |
//! | [`sums`](super::sums), [`doubles`](super::doubles): exact sums | `sum`, `avg` |
//! | [`moments`](super::moments): exact sums of powers | variance, covariance, correlation, regression, skewness, kurtosis |
//! | [`extreme`](super::extreme): one encoded value a group | `min`, `max` of texts, structs and booleans, so `max_by`, too |
//! | [`place`](super::place): one row a group | `first`, `last`, `any_value` over rows that stay |
//! | [`distinct`](super::distinct): a set of values | `count(DISTINCT …)` of one column over rows that stay |
//! | [`multiset`](super::multiset): all values, sorted | other DISTINCT, lists and sets, and what is left where rows are taken back |
//! | [`general`](super::general): DataFusion's accumulators | every other function over rows that stay |
//!
//! Reading never consumes: a group's result may be wanted in every epoch. No form heeds the order in
//! which rows or states come [INV-02]: which worker has which rows, and who merges first, is chance.

use arrow::{
    array::{ArrayRef, BooleanArray},
    datatypes::FieldRef,
};

use super::{
    AggregateCall,
    distinct::{self, CountDistinct},
    extreme::{self, EncodedExtreme},
    general::General,
    multiset::{self, Multiset},
    native, place,
};
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
}

/// The form that a call has.
enum Form {
    Native(Box<dyn Function>),
    Extreme,
    Place,
    Distinct,
    Values,
    General,
}

fn form(call: &AggregateCall) -> Form {
    if distinct::serves(call) {
        return Form::Distinct;
    }
    if multiset::keeps_values(call) && !native::takes_back(call) {
        return Form::Values;
    }
    match native::function(call) {
        Some(function) => Form::Native(function),
        None if extreme::serves(call) => Form::Extreme,
        None if place::serves(call) => Form::Place,
        None => Form::General,
    }
}

/// Whether the result of a call depends on the order of the input.
pub(super) fn wants_origins(call: &AggregateCall) -> bool {
    match form(call) {
        Form::Place => true,
        Form::Values => multiset::by_origin(call),
        Form::Native(_) | Form::Extreme | Form::Distinct | Form::General => false,
    }
}

/// The columns of a function's state.
///
/// # Errors
/// When DataFusion cannot say.
pub(super) fn state_fields(call: &AggregateCall) -> Result<Vec<FieldRef>> {
    match form(call) {
        Form::Native(_) => native::state_fields(call)
            .ok_or_else(|| OperatorError::contract("a native function without state")),
        Form::Extreme => Ok(extreme::state_fields(call)),
        Form::Place => Ok(place::state_fields(call)),
        Form::Distinct | Form::Values => Ok(multiset::state_fields(call)),
        Form::General => General::state_fields(call),
    }
}

/// What a checkpoint calls the state of a call. A state whose columns, or what they mean, change gets
/// another name: then a checkpoint with the old one is refused, and not read as what it is not.
pub(super) fn form_name(call: &AggregateCall) -> &'static str {
    match form(call) {
        Form::Native(_) => native::form_name(call),
        Form::Extreme => "extreme",
        Form::Place => "place",
        Form::Distinct | Form::Values => {
            if multiset::by_origin(call) {
                "values by place"
            } else {
                "values"
            }
        }
        Form::General => match call.function.fun().name() {
            "percentile_approx" => "leading bits",
            _ => "accumulator",
        },
    }
}

/// A new, empty state.
///
/// # Errors
/// When DataFusion has no accumulator for it.
pub(super) fn function(call: &AggregateCall) -> Result<Box<dyn Function>> {
    Ok(match form(call) {
        Form::Native(function) => function,
        Form::Extreme => Box::new(EncodedExtreme::new(call)?),
        Form::Place => Box::new(place::Place::new(call)?),
        Form::Distinct => Box::new(CountDistinct::new(call)?),
        Form::Values => Box::new(Multiset::new(call)?),
        Form::General => Box::new(General::new(call)?),
    })
}
