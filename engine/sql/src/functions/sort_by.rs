//! `array_sort` with a comparator.
//!
//! Runs of each array are merged until one is left, as in a merge sort from below. Each step compares
//! one pair for every two runs of every row, so that a lambda is called about twice as often as the
//! longest array has elements, whatever the number of rows.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, UInt32Array},
    buffer::OffsetBuffer,
    compute::{cast, take},
    datatypes::{DataType, Int64Type},
};
use datafusion::{common::Result, logical_expr::LambdaArgument};

use super::{lambdas::call, misfit::failed, nested::as_list};

/// Two neighbouring runs that become one.
struct Merge {
    row: u32,
    /// The next of the first run, and its end.
    left: (usize, usize),
    /// The next of the second run, and its end.
    right: (usize, usize),
    /// Where the smaller of both goes.
    to: usize,
}

/// The elements of each array in the order of a comparator; what it finds equal stays in order.
///
/// # Errors
/// The comparator fails, or gives null.
pub(super) fn sorted(
    input: &ArrayRef,
    comparator: &LambdaArgument,
    gives: &DataType,
) -> Result<ArrayRef> {
    let list = as_list(input)?;
    let DataType::List(item) = gives else {
        return Err(failed("a list became something else"));
    };
    let mut order: Vec<u32> = Vec::new();
    let mut lengths = Vec::with_capacity(list.len());
    for row in 0..list.len() {
        let bounds = &list.value_offsets()[row..row + 2];
        let there = list.is_valid(row);
        let range = if there { bounds[0]..bounds[1] } else { 0..0 };
        lengths.push(range.len());
        order.extend(range.filter_map(|at| u32::try_from(at).ok()));
    }
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut width = 1;
    while width < longest {
        order = merged(&order, &lengths, width, list.values(), comparator)?;
        width *= 2;
    }
    let values = cast(
        &take(list.values(), &UInt32Array::from(order), None)?,
        item.data_type(),
    )?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = list.nulls().cloned();
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(item),
        offsets,
        values,
        nulls,
    )?))
}

/// Runs of twice the width.
fn merged(
    order: &[u32],
    lengths: &[usize],
    width: usize,
    values: &ArrayRef,
    comparator: &LambdaArgument,
) -> Result<Vec<u32>> {
    let mut out = order.to_vec();
    let mut merges = Vec::new();
    let mut begin = 0;
    for (row, length) in lengths.iter().enumerate() {
        let end = begin + length;
        for first in (begin..end).step_by(width * 2) {
            let middle = first + width;
            if middle < end {
                merges.push(Merge {
                    row: u32::try_from(row).map_err(|_| failed("too many rows"))?,
                    left: (first, middle),
                    right: (middle, end.min(middle + width)),
                    to: first,
                });
            }
        }
        begin = end;
    }
    while !merges.is_empty() {
        let of = |next: fn(&Merge) -> usize| {
            let picks: UInt32Array = merges
                .iter()
                .map(|merge| Some(order[next(merge)]))
                .collect();
            take(values, &picks, None)
        };
        let arguments = [of(|merge| merge.left.0)?, of(|merge| merge.right.0)?];
        let rows: UInt32Array = merges.iter().map(|merge| Some(merge.row)).collect();
        let found = cast(&call(comparator, &arguments, &rows)?, &DataType::Int64)?;
        let found = found.as_primitive::<Int64Type>();
        if found.null_count() > 0 {
            return Err(failed(
                "[COMPARATOR_RETURNS_NULL] the comparator of array_sort gave null",
            ));
        }
        for (merge, found) in merges.iter_mut().zip(found.values()) {
            let next = if *found <= 0 {
                &mut merge.left.0
            } else {
                &mut merge.right.0
            };
            out[merge.to] = order[*next];
            *next += 1;
            merge.to += 1;
        }
        merges.retain(|merge| {
            let (left, right) = (merge.left.0..merge.left.1, merge.right.0..merge.right.1);
            let goes_on = !left.is_empty() && !right.is_empty();
            if !goes_on {
                for (to, from) in (merge.to..).zip(left.chain(right)) {
                    out[to] = order[from];
                }
            }
            goes_on
        });
    }
    Ok(out)
}
