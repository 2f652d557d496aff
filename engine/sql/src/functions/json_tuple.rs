//! `json_tuple(text, name, …)`: a struct of what an object has under each name, `c0`, `c1` and so on.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray, StructArray},
    compute::cast,
    datatypes::{DataType, Field, Fields},
};
use datafusion::{
    common::Result,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};
use millstream_values::json::path;

use super::misfit::refused;
use crate::SqlError;

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonTuple {
    signature: Signature,
}

/// The function. Users call it as a generator of columns.
pub(super) fn function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(JsonTuple {
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

fn fields(names: usize) -> Fields {
    let field = |nth: usize| Field::new(format!("c{nth}"), DataType::Utf8, true);
    (0..names).map(field).collect()
}

impl ScalarUDFImpl for JsonTuple {
    fn name(&self) -> &str {
        "json_tuple"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if arg_types.len() < 2 {
            let message = "json_tuple takes a text and at least one name".to_owned();
            return Err(SqlError::Types { message }.into_datafusion());
        }
        Ok(vec![DataType::Utf8; arg_types.len()])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(fields(arg_types.len().saturating_sub(1))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let texts = args
            .args
            .iter()
            .map(|arg| Ok(cast(&arg.to_array(args.number_rows)?, &DataType::Utf8)?))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let texts: Vec<&StringArray> = texts.iter().map(|text| text.as_string::<i32>()).collect();
        let Some((text, names)) = texts.split_first() else {
            let message = "json_tuple takes a text".to_owned();
            return Err(SqlError::Types { message }.into_datafusion());
        };
        let columns = path::tuple(text, names).map_err(refused)?;
        let columns = columns.into_iter().map(|texts| Arc::new(texts) as ArrayRef);
        let structs = StructArray::try_new_with_length(
            fields(names.len()),
            columns.collect(),
            None,
            text.len(),
        )?;
        Ok(ColumnarValue::Array(Arc::new(structs)))
    }
}
