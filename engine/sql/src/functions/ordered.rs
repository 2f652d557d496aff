//! The second half of `listagg(x) WITHIN GROUP (ORDER BY k)`: collected pairs of a text and its keys,
//! put in order. Only our rewriting calls it.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, ListArray, StringArray, UInt32Array},
    buffer::{NullBuffer, OffsetBuffer},
    compute::{SortColumn, SortOptions, cast, lexsort_to_indices, take},
    datatypes::{DataType, Field},
};
use datafusion::{common::Result, logical_expr::ScalarUDF};

use super::{
    misfit::failed,
    nested::as_list,
    simple::{Call, Gives, Simple, Want},
};

/// Its name.
pub(crate) const ORDERED: &str = "__ordered";

/// The function.
pub(super) fn function() -> Arc<ScalarUDF> {
    Simple::new(ORDERED, &[Want::Any, Want::Text], Gives::Texts, ordered).udf()
}

/// Texts that are not null; a row without any is null.
fn ordered(call: &Call<'_>) -> Result<arrow::array::ArrayRef> {
    let list = as_list(&call.arguments[0])?;
    let pairs = list.values().as_struct();
    let texts = cast(pairs.column(0), &DataType::Utf8)?;
    let directions = call.arguments[1].as_string::<i32>();
    let directions = if directions.is_empty() {
        ""
    } else {
        directions.value(0)
    };
    let mut picks: Vec<u32> = Vec::new();
    let mut lengths = Vec::new();
    for bounds in list.offsets().windows(2) {
        let at = |at: i32| usize::try_from(at).unwrap_or(0);
        let (start, length) = (at(bounds[0]), at(bounds[1] - bounds[0]));
        let columns: Vec<SortColumn> = pairs.columns()[1..]
            .iter()
            .zip(directions.chars())
            .map(|(column, direction)| SortColumn {
                values: column.slice(start, length),
                options: Some(SortOptions {
                    descending: direction.eq_ignore_ascii_case(&'d'),
                    nulls_first: direction == 'a' || direction == 'D',
                }),
            })
            .collect();
        // Equal keys stand in the order of their texts, so that the answer is the same on any number
        // of workers.
        let mut columns = columns;
        columns.push(SortColumn {
            values: texts.slice(start, length),
            options: None,
        });
        let order = lexsort_to_indices(&columns, None)?;
        let before = picks.len();
        for at in order.values() {
            let at = start + usize::try_from(*at).unwrap_or(0);
            if texts.is_valid(at) {
                picks.push(u32::try_from(at).map_err(|_| failed("too many texts"))?);
            }
        }
        lengths.push(picks.len() - before);
    }
    let nulls = NullBuffer::from_iter(lengths.iter().map(|length| *length > 0));
    let values = take(&texts, &UInt32Array::from(picks), None)?;
    let values: Arc<dyn Array> = Arc::new(StringArray::from(values.to_data()));
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(
        item,
        offsets,
        values,
        Some(nulls),
    )?))
}
