//! `from_json`, `to_json`, `get_json_object` and what else reads JSON.
//!
//! What a text means is for `millstream_values::json`; here are the calls, their types and their options.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    compute::cast,
    datatypes::{DataType, Field, Fields},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::ScalarUDF,
};
use millstream_values::{
    ValueError, column,
    json::{self, JsonOptions, path},
    zone::Zone,
};

use super::{
    misfit::refused,
    simple::{Call, Gives, Simple, Want, text_of},
};
use crate::{
    SqlError,
    types::{parse_columns, parse_type, spark_name},
};

/// `from_json` on the clock of a zone.
pub(crate) const FROM_JSON_IN: &str = "__from_json_in";
/// `to_json` on the clock of a zone.
pub(crate) const TO_JSON_IN: &str = "__to_json_in";

const TABLE: &[Simple] = &[
    Simple::new(
        "from_json",
        &[Want::Text, Want::Text, Want::Any],
        Gives::Of(schema_type),
        |call| from_json(call, &Zone::utc(), 2),
    )
    .optional(1),
    Simple::new(
        "to_json",
        &[Want::Any, Want::Any],
        Gives::Of(written_type),
        |call| to_json(call, &Zone::utc(), 1),
    )
    .optional(1),
    Simple::new(
        "get_json_object",
        &[Want::Text, Want::Text],
        Gives::Text,
        |call| given(path::get(texts(call, 0), texts(call, 1))),
    ),
    Simple::new("json_array_length", &[Want::Text], Gives::Int, |call| {
        Ok(Arc::new(path::lengths(texts(call, 0))))
    }),
    Simple::new("json_object_keys", &[Want::Text], Gives::Texts, |call| {
        path::keys(texts(call, 0)).map_err(refused)
    }),
    Simple::new(
        "schema_of_json",
        &[Want::Text, Want::Any],
        Gives::Text,
        |call| {
            let options = json_options(call, &Zone::utc(), 1)?;
            let schema = |text: &str| match json::schema_of(text, &options) {
                Ok(data_type) => Ok(spark_name(&data_type)),
                Err(reason) => Err(refused(ValueError::Malformed { reason })),
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
        FROM_JSON_IN,
        &[Want::Text, Want::Text, Want::Text, Want::Any],
        Gives::Of(schema_type),
        |call| from_json(call, &call.zone(2)?, 3),
    )
    .optional(1),
    Simple::new(
        TO_JSON_IN,
        &[Want::Any, Want::Text, Want::Any],
        Gives::Of(written_type),
        |call| to_json(call, &call.zone(1)?, 2),
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

fn json_options(call: &Call<'_>, zone: &Zone, place: usize) -> Result<JsonOptions> {
    let pairs = options(call, place)?;
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    JsonOptions::new(pairs, zone).map_err(refused)
}

fn from_json(call: &Call<'_>, zone: &Zone, options: usize) -> Result<ArrayRef> {
    let options = json_options(call, zone, options)?;
    json::decode(texts(call, 0), call.gives, &options).map_err(refused)
}

fn to_json(call: &Call<'_>, zone: &Zone, options: usize) -> Result<ArrayRef> {
    let options = json_options(call, zone, options)?;
    given(json::encode(&call.arguments[0], &options))
}

/// The texts of an argument that was cast to a text.
pub(super) fn texts<'a>(call: &'a Call<'_>, place: usize) -> &'a StringArray {
    call.arguments[place].as_string::<i32>()
}

/// A column of texts, or why there is none.
pub(super) fn given(column: Result<StringArray, ValueError>) -> Result<ArrayRef> {
    column
        .map(|texts| Arc::new(texts) as ArrayRef)
        .map_err(refused)
}

/// The pairs of a map of options; none where the argument is left out. A map of options is the same in
/// every row.
pub(super) fn options(call: &Call<'_>, place: usize) -> Result<Vec<(String, String)>> {
    let Some(options) = call.arguments.get(place) else {
        return Ok(Vec::new());
    };
    let Some(map) = options.as_map_opt() else {
        return Err(SqlError::Types {
            message: "options are a map of texts".to_owned(),
        }
        .into_datafusion());
    };
    if map.is_empty() || map.is_null(0) {
        return Ok(Vec::new());
    }
    let entries = map.value(0);
    let column = |place: usize| -> Result<StringArray> {
        let texts = cast(entries.column(place), &DataType::Utf8)?;
        Ok(texts.as_string::<i32>().clone())
    };
    let (names, values) = (column(0)?, column(1)?);
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let pairs = names.iter().zip(&values);
    Ok(pairs
        .map(|(name, value)| (text(name), text(value)))
        .collect())
}

/// The type that the second argument spells: columns, or one type.
fn schema_type(
    _types: &[DataType],
    literals: &[Option<&ScalarValue>],
) -> Result<DataType, SqlError> {
    let Some(text) = text_of(literals, 1) else {
        return Err(SqlError::Types {
            message: "the schema of from_json must be a literal".to_owned(),
        });
    };
    let data_type = match parse_type(text) {
        Ok(data_type) => data_type,
        Err(_) => DataType::Struct(parse_columns(text)?),
    };
    let refused = |what: &str| SqlError::Types {
        message: format!(
            "[DATATYPE_MISMATCH.INVALID_JSON_SCHEMA] from_json {what} type={}",
            spark_name(&data_type)
        ),
    };
    let is_nested = matches!(
        data_type,
        DataType::Struct(_) | DataType::List(_) | DataType::Map(..)
    );
    if !is_nested {
        return Err(refused("gives a struct, an array or a map"));
    }
    if column::unsupported(&data_type).is_some() {
        return Err(refused("does not read values of this type"));
    }
    Ok(nullable(&data_type))
}

/// Any field may be missing in a text.
pub(super) fn nullable(data_type: &DataType) -> DataType {
    let field = |field: &Field| Field::new(field.name(), nullable(field.data_type()), true);
    if let DataType::Struct(fields) = data_type {
        return DataType::Struct(fields.iter().map(|of| field(of)).collect::<Fields>());
    }
    if let DataType::List(item) = data_type {
        return DataType::List(Arc::new(field(item)));
    }
    if let DataType::Map(entries, sorted) = data_type
        && let DataType::Struct(pair) = entries.data_type()
        && let [key, value] = &pair[..]
    {
        let pair = Fields::from(vec![Arc::clone(key), Arc::new(field(value))]);
        let entries = Field::new(entries.name(), DataType::Struct(pair), false);
        return DataType::Map(Arc::new(entries), *sorted);
    }
    data_type.clone()
}

/// Structs, lists and maps are written.
fn written_type(
    types: &[DataType],
    _literals: &[Option<&ScalarValue>],
) -> Result<DataType, SqlError> {
    let found = types.first().unwrap_or(&DataType::Null);
    let is_nested = matches!(
        found,
        DataType::Struct(_) | DataType::List(_) | DataType::LargeList(_) | DataType::Map(..)
    );
    if is_nested {
        return Ok(DataType::Utf8);
    }
    Err(SqlError::Types {
        message: format!(
            "[DATATYPE_MISMATCH.INVALID_JSON_SCHEMA] to_json writes a struct, an array or a map type={}",
            spark_name(found)
        ),
    })
}
