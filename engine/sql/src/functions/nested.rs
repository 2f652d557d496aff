//! Lists and maps in one form: a list whose elements may be null.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray},
    compute::cast,
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::common::Result;

use crate::SqlError;

/// The elements of a list, the entries of a map.
///
/// # Errors
/// Another type.
pub(super) fn item(data_type: &DataType) -> Result<FieldRef> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) => Ok(Arc::clone(item)),
        DataType::Map(entries, _) => Ok(Arc::clone(entries)),
        other => Err(SqlError::Types {
            message: format!(
                "explode needs an array or a map, not {}",
                crate::types::spark_name(other)
            ),
        }
        .into_datafusion()),
    }
}

/// A list or a map as a list whose elements may be null.
///
/// # Errors
/// Another type.
pub(super) fn as_list(input: &ArrayRef) -> Result<ListArray> {
    let (offsets, values, nulls) = match input.data_type() {
        DataType::Map(..) => {
            let map = input.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            (map.offsets().clone(), entries, map.nulls().cloned())
        }
        DataType::LargeList(item) => {
            let small = cast(input, &DataType::List(Arc::clone(item)))?;
            return as_list(&small);
        }
        other => {
            item(other)?;
            let list = input.as_list::<i32>();
            (
                list.offsets().clone(),
                Arc::clone(list.values()),
                list.nulls().cloned(),
            )
        }
    };
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Ok(ListArray::try_new(item, offsets, values, nulls)?)
}
