//! Which form the state of an aggregate function has.
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

use arrow::datatypes::FieldRef;

use super::{
    AggregateCall,
    distinct::{self, CountDistinct},
    extreme::{self, EncodedExtreme},
    function::Function,
    general::General,
    multiset::{self, Multiset},
    native, place,
};
use crate::error::{OperatorError, Result};

impl AggregateCall {
    /// What a checkpoint calls the form of the call's state.
    #[must_use]
    pub fn state_form(&self) -> &'static str {
        form_name(self)
    }
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
