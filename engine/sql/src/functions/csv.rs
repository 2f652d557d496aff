//! `from_csv`, `to_csv` and `schema_of_csv`.
//!
//! What a line means is for `millstream_values::csv`; here are the calls, their types and their options.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, StringArray},
    datatypes::DataType,
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::ScalarUDF,
};
use millstream_values::{
    column::{children, unsupported},
    csv::{self, CsvOptions},
    zone::Zone,
};

use super::{
    json::{given, nullable, options, texts},
    misfit::{failed, refused},
    simple::{Call, Gives, Simple, Want, text_of},
};
use crate::{
    SqlError,
    types::{parse_columns, spark_name},
};

const TABLE: &[Simple] = &[
    Simple::new(
        "from_csv",
        &[Want::Text, Want::Text, Want::Any],
        Gives::Of(schema),
        from_csv,
    )
    .optional(1),
    Simple::new(
        "to_csv",
        &[Want::Any, Want::Any],
        Gives::Of(written_type),
        |call| {
            let options = csv_options(call, 1)?;
            given(csv::encode(&call.arguments[0], &options))
        },
    )
    .optional(1),
    Simple::new(
        "schema_of_csv",
        &[Want::Text, Want::Any],
        Gives::Text,
        |call| {
            let options = csv_options(call, 1)?;
            let schema = |text: &str| {
                let found = csv::schema_of(text, &options).map(|of| spark_name(&of));
                found.ok_or_else(|| failed("schema_of_csv got a text without a record"))
            };
            let schemas = texts(call, 0).iter();
            let schemas = schemas.map(|text| text.map(schema).transpose());
            Ok(Arc::new(schemas.collect::<Result<StringArray>>()?))
        },
    )
    .optional(1),
];

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

fn csv_options(call: &Call<'_>, place: usize) -> Result<CsvOptions> {
    let pairs = options(call, place)?;
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    CsvOptions::new(pairs, &Zone::utc()).map_err(refused)
}

fn schema(_: &[DataType], literals: &[Option<&ScalarValue>]) -> Result<DataType, SqlError> {
    let Some(text) = text_of(literals, 1) else {
        return Err(SqlError::Types {
            message: "the schema of from_csv must be a literal".to_owned(),
        });
    };
    let fields = parse_columns(text)?;
    let wrong = fields.iter().find(|field| {
        children(field.data_type()).is_some() || unsupported(field.data_type()).is_some()
    });
    if let Some(field) = wrong {
        let name = spark_name(field.data_type());
        return Err(SqlError::Types {
            message: format!(
                "[UNSUPPORTED_DATATYPE] a field of CSV has no such values type={name}"
            ),
        });
    }
    Ok(nullable(&DataType::Struct(fields)))
}

fn from_csv(call: &Call<'_>) -> Result<ArrayRef> {
    let options = csv_options(call, 2)?;
    let DataType::Struct(fields) = call.gives else {
        return Err(failed("a struct became something else"));
    };
    csv::decode(texts(call, 0), fields, &options).map_err(refused)
}

/// Structs are written.
fn written_type(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType, SqlError> {
    if let Some(DataType::Struct(_)) = types.first() {
        return Ok(DataType::Utf8);
    }
    let name = spark_name(types.first().unwrap_or(&DataType::Null));
    Err(SqlError::Types {
        message: format!("to_csv writes structs, not {name}"),
    })
}
