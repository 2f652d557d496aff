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

/// `from_csv` on the clock of a zone.
pub(crate) const FROM_CSV_IN: &str = "__from_csv_in";
/// `to_csv` on the clock of a zone.
pub(crate) const TO_CSV_IN: &str = "__to_csv_in";

const TABLE: &[Simple] = &[
    Simple::new(
        "from_csv",
        &[Want::Text, Want::Text, Want::Any],
        Gives::Of(schema),
        |call| from_csv(call, &Zone::utc(), 2),
    )
    .optional(1),
    Simple::new(
        "to_csv",
        &[Want::Any, Want::Any],
        Gives::Of(written_type),
        |call| to_csv(call, &Zone::utc(), 1),
    )
    .optional(1),
    Simple::new(
        "schema_of_csv",
        &[Want::Text, Want::Any],
        Gives::Text,
        |call| {
            let options = csv_options(call, &Zone::utc(), 1)?;
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

/// The same on the clock of a zone, which stands before the options.
const IN_ZONES: &[Simple] = &[
    Simple::new(
        FROM_CSV_IN,
        &[Want::Text, Want::Text, Want::Text, Want::Any],
        Gives::Of(schema),
        |call| from_csv(call, &call.zone(2)?, 3),
    )
    .optional(1),
    Simple::new(
        TO_CSV_IN,
        &[Want::Any, Want::Text, Want::Any],
        Gives::Of(written_type),
        |call| to_csv(call, &call.zone(1)?, 2),
    )
    .optional(1),
];

/// Those that only our rewriting calls.
pub(super) fn hidden() -> Vec<Arc<ScalarUDF>> {
    IN_ZONES.iter().map(|simple| simple.udf()).collect()
}

/// One of them.
pub(crate) fn hidden_function(name: &str) -> Option<Arc<ScalarUDF>> {
    let found = IN_ZONES.iter().find(|simple| simple.name == name);
    found.map(|simple| simple.udf())
}

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

fn csv_options(call: &Call<'_>, zone: &Zone, place: usize) -> Result<CsvOptions> {
    let pairs = options(call, place)?;
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    CsvOptions::new(pairs, zone).map_err(refused)
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

fn from_csv(call: &Call<'_>, zone: &Zone, options: usize) -> Result<ArrayRef> {
    let options = csv_options(call, zone, options)?;
    let DataType::Struct(fields) = call.gives else {
        return Err(failed("a struct became something else"));
    };
    csv::decode(texts(call, 0), fields, &options).map_err(refused)
}

fn to_csv(call: &Call<'_>, zone: &Zone, options: usize) -> Result<ArrayRef> {
    let options = csv_options(call, zone, options)?;
    given(csv::encode(&call.arguments[0], &options))
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
