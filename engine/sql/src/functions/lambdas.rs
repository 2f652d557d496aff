//! Calling a lambda over columns.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, UInt32Array},
    compute::take,
};
use datafusion::{common::Result, logical_expr::LambdaArgument};

/// A lambda over arguments of one length; `rows` says whose columns each sees beside them.
pub(super) fn call(
    lambda: &LambdaArgument,
    arguments: &[ArrayRef],
    rows: &UInt32Array,
) -> Result<ArrayRef> {
    let closures: Vec<Box<dyn Fn() -> Result<ArrayRef>>> = arguments
        .iter()
        .map(|argument| {
            let argument = Arc::clone(argument);
            Box::new(move || Ok(Arc::clone(&argument))) as Box<dyn Fn() -> Result<ArrayRef>>
        })
        .collect();
    let closures: Vec<&dyn Fn() -> Result<ArrayRef>> = closures.iter().map(AsRef::as_ref).collect();
    let spread = |columns: &[ArrayRef]| {
        let spread = columns.iter().map(|column| take(column, rows, None));
        Ok(spread.collect::<Result<Vec<_>, _>>()?)
    };
    lambda.evaluate(&closures, spread)?.into_array(rows.len())
}
