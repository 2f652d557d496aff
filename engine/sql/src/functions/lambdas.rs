//! How a lambda is called: over elements of many rows, with the columns that it captures beside them.

use std::cell::Cell;

use arrow::{
    array::{Array, ArrayRef, UInt32Array},
    compute::{concat, take},
};
use datafusion::{common::Result, logical_expr::LambdaArgument};
use millstream_operators::width::{is_fixed, width};

/// Bytes of captured columns that stand beside elements at once: a list that a lambda captures would
/// otherwise be there as often as the list has elements. [INV-07]
const CAPTURED_BYTES_MAX: usize = 32 << 20;

/// A lambda over arguments of one length; `rows` says whose columns each sees beside them. Where these are
/// wide, the lambda is computed for some elements at a time.
///
/// # Errors
/// When the lambda fails on an element.
pub(super) fn call(
    lambda: &LambdaArgument,
    arguments: &[ArrayRef],
    rows: &UInt32Array,
) -> Result<ArrayRef> {
    let (from, count) = (Cell::new(0), Cell::new(rows.len()));
    // Arguments are asked for after captured columns were spread: these say how many fit.
    let closures: Vec<_> = arguments
        .iter()
        .map(|argument| || Ok(argument.slice(from.get(), count.get())))
        .collect();
    let closures: Vec<&dyn Fn() -> Result<ArrayRef>> = closures
        .iter()
        .map(|closure| closure as &dyn Fn() -> Result<ArrayRef>)
        .collect();
    let spread = |columns: &[ArrayRef]| {
        let left = rows.slice(from.get(), rows.len() - from.get());
        count.set(fitting(columns, &left));
        let these = left.slice(0, count.get());
        let spread = columns.iter().map(|column| take(column, &these, None));
        Ok(spread.collect::<Result<Vec<_>, _>>()?)
    };
    let mut values = Vec::new();
    loop {
        count.set(rows.len() - from.get());
        let value = lambda.evaluate(&closures, spread)?;
        values.push(value.into_array(count.get())?);
        from.set(from.get() + count.get());
        if from.get() == rows.len() {
            break;
        }
    }
    let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    Ok(concat(&values)?)
}

/// For how many of the rows captured columns fit; for one if there is one.
fn fitting(columns: &[ArrayRef], rows: &UInt32Array) -> usize {
    if columns.iter().all(|column| is_fixed(column.data_type())) {
        return rows.len();
    }
    let each = |row: usize| -> usize {
        columns
            .iter()
            .map(|column| width(column, row..row + 1))
            .sum()
    };
    let (mut last, mut last_bytes, mut bytes) = (None, 0, 0);
    for (place, row) in rows.values().iter().enumerate() {
        if last != Some(*row) {
            (last, last_bytes) = (Some(*row), each(*row as usize));
        }
        bytes += last_bytes;
        if bytes > CAPTURED_BYTES_MAX {
            return place.max(1);
        }
    }
    rows.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn wide_columns_are_captured_for_few_elements_at_a_time() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![
            "x".repeat(CAPTURED_BYTES_MAX / 4),
            "y".to_owned(),
            "z".repeat(CAPTURED_BYTES_MAX + 1),
        ]));
        let rows = |rows: &[u32]| UInt32Array::from(rows.to_vec());
        let columns = [texts];
        assert_eq!(fitting(&columns, &rows(&[0; 9])), 3);
        assert_eq!(fitting(&columns, &rows(&[1, 1, 0, 1])), 4);
        assert_eq!(fitting(&columns, &rows(&[2, 2])), 1);
        assert_eq!(fitting(&columns, &rows(&[])), 0);
    }
}
