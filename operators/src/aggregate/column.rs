//! Columns as the forms of states expect them, and what a result without a place in its type is.

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};

use crate::error::{OperatorError, Result};

/// A column of a type.
pub(super) fn column<T: ArrowPrimitiveType>(
    columns: &[ArrayRef],
    index: usize,
) -> Result<&PrimitiveArray<T>> {
    columns
        .get(index)
        .and_then(|column| column.as_primitive_opt::<T>())
        .ok_or_else(|| OperatorError::contract("an aggregate was given columns of another type"))
}

/// What a result without a place in its type is.
pub(super) fn overflow(what: &str) -> OperatorError {
    OperatorError::Expression {
        what: what.to_owned(),
        source: datafusion_common::DataFusionError::ArrowError(
            Box::new(arrow::error::ArrowError::ArithmeticOverflow(
                "ARITHMETIC_OVERFLOW".to_owned(),
            )),
            None,
        ),
    }
}
