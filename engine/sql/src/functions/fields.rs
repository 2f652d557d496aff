//! `list.field` over a list of structs: the list of that field.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, ListArray, make_array},
    buffer::NullBuffer,
    datatypes::{DataType, Field},
};
use datafusion::logical_expr::ScalarUDF;

use super::{
    misfit::failed,
    simple::{Gives, Simple, Want, text_of},
};
use crate::SqlError;

/// Name of the function; no user sees it.
pub(crate) const FIELDS: &str = "__fields";

/// The function.
pub(super) fn function() -> Arc<ScalarUDF> {
    Simple::new(
        FIELDS,
        &[Want::Any, Want::Text],
        Gives::Of(|types, literals| {
            let [DataType::List(item), _] = types else {
                return Err(SqlError::internal("fields of other than a list"));
            };
            let (DataType::Struct(fields), Some(name)) = (item.data_type(), text_of(literals, 1))
            else {
                return Err(SqlError::internal("fields of a list without structs"));
            };
            let (_, field) = fields
                .find(name)
                .ok_or_else(|| SqlError::internal("a field that is not there"))?;
            Ok(DataType::new_list(field.data_type().clone(), true))
        }),
        |call| {
            let list = call.arguments[0].as_list::<i32>();
            let names = call.arguments[1].as_string::<i32>();
            let values = list.values().as_struct();
            if call.rows == 0 {
                return Ok(arrow::array::new_empty_array(call.gives));
            }
            let column = values
                .column_by_name(names.value(0))
                .ok_or_else(|| failed("a field that is not there"))?;
            // A struct that is null has no fields, whatever stands below it.
            let nulls = NullBuffer::union(values.nulls(), column.nulls());
            let data = column.to_data().into_builder().nulls(nulls).build()?;
            Ok(Arc::new(ListArray::try_new(
                Arc::new(Field::new_list_field(column.data_type().clone(), true)),
                list.offsets().clone(),
                make_array(data),
                list.nulls().cloned(),
            )?))
        },
    )
    .udf()
}
