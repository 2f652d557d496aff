//! `from_csv`, `to_csv`, and the types of texts: `schema_of_csv`, `schema_of_json`.
//!
//! A cell that is not of its field's type is null, as is one that is missing.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "enums of other crates, with many variants and more to come"
)]

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray, StructArray},
    datatypes::{DataType, Field},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::ScalarUDF,
};
use serde_json::Value;

use super::{
    casts, json,
    simple::{Call, Gives, Simple, Want, failed, text_of},
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
    Simple::new("to_csv", &[Want::Any, Want::Any], Gives::Text, to_csv).optional(1),
    Simple::new(
        "schema_of_csv",
        &[Want::Text, Want::Any],
        Gives::Text,
        |call| {
            let separator = separator(call, 1)?;
            of_texts(call, |text| {
                let cells = cells(text, separator);
                let field = |(nth, cell): (usize, &Option<String>)| {
                    format!("_c{nth}: {}", cell_type(cell.as_deref()))
                };
                let fields: Vec<String> = cells.iter().enumerate().map(field).collect();
                Some(format!("STRUCT<{}>", fields.join(", ")))
            })
        },
    )
    .optional(1),
    Simple::new("schema_of_json", &[Want::Text], Gives::Text, |call| {
        of_texts(call, |text| {
            let value: Value = serde_json::from_str(text).ok()?;
            Some(spark_name(&json_type(&value)))
        })
    }),
];

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

fn of_texts(call: &Call<'_>, of: impl Fn(&str) -> Option<String>) -> Result<ArrayRef> {
    let texts = call.arguments[0].as_string::<i32>().iter();
    Ok(Arc::new(
        texts.map(|text| of(text?)).collect::<StringArray>(),
    ))
}

fn schema(_: &[DataType], literals: &[Option<&ScalarValue>]) -> Result<DataType, SqlError> {
    let Some(text) = text_of(literals, 1) else {
        return Err(SqlError::Types {
            message: "the schema of from_csv must be a literal".to_owned(),
        });
    };
    let fields = parse_columns(text)?;
    let nullable = fields
        .iter()
        .map(|field| Field::new(field.name(), field.data_type().clone(), true));
    Ok(DataType::Struct(nullable.collect()))
}

/// What stands between cells: the only option that is known.
fn separator(call: &Call<'_>, place: usize) -> Result<char> {
    let Some(options) = call
        .arguments
        .get(place)
        .filter(|options| !options.is_empty())
    else {
        return Ok(',');
    };
    let DataType::Map(..) = options.data_type() else {
        return Err(failed("options are a map of texts"));
    };
    let entries = options.as_map().value(0);
    let texts = |column: &ArrayRef| arrow::compute::cast(column, &DataType::Utf8);
    let (names, values) = (texts(entries.column(0))?, texts(entries.column(1))?);
    let mut separator = ',';
    for (name, value) in names
        .as_string::<i32>()
        .iter()
        .zip(values.as_string::<i32>())
    {
        let name = name.unwrap_or_default().to_lowercase();
        let mut letters = value.unwrap_or_default().chars();
        match (name.as_str(), letters.next(), letters.next()) {
            ("sep" | "delimiter", Some(letter), None) => separator = letter,
            _ => {
                return Err(SqlError::Types {
                    message: format!("the functions of CSV do not know the option {name}"),
                }
                .into_datafusion());
            }
        }
    }
    Ok(separator)
}

/// The cells of a line; an empty one is null unless it is quoted.
fn cells(line: &str, separator: char) -> Vec<Option<String>> {
    let mut cells = Vec::new();
    let mut cell = String::new();
    let (mut quoted, mut was_quoted) = (false, false);
    let mut letters = line.chars().peekable();
    loop {
        let letter = letters.next();
        match letter {
            Some('\\') if quoted => cell.extend(letters.next()),
            Some('"') if quoted => quoted = false,
            Some('"') if cell.is_empty() && !was_quoted => {
                quoted = true;
                was_quoted = true;
            }
            Some(letter) if quoted || letter != separator => cell.push(letter),
            end => {
                let there = was_quoted || !cell.is_empty();
                cells.push(there.then(|| std::mem::take(&mut cell)));
                was_quoted = false;
                if end.is_none() {
                    return cells;
                }
            }
        }
    }
}

fn from_csv(call: &Call<'_>) -> Result<ArrayRef> {
    let separator = separator(call, 2)?;
    let DataType::Struct(fields) = call.gives else {
        return Err(failed("a struct became something else"));
    };
    let texts = call.arguments[0].as_string::<i32>();
    let rows: Vec<Vec<Option<String>>> = texts
        .iter()
        .map(|text| text.map_or_else(Vec::new, |text| cells(text, separator)))
        .collect();
    let column = |(nth, field): (usize, &Arc<Field>)| {
        let cell = |row: &Vec<Option<String>>| row.get(nth).cloned().flatten();
        let column: ArrayRef = Arc::new(rows.iter().map(cell).collect::<StringArray>());
        casts::cast_or_null(&column, field.data_type())
    };
    let columns = fields
        .iter()
        .enumerate()
        .map(column)
        .collect::<Result<Vec<_>>>()?;
    let nulls = texts.nulls().cloned();
    let structs = StructArray::try_new_with_length(fields.clone(), columns, nulls, call.rows)?;
    Ok(Arc::new(structs))
}

fn to_csv(call: &Call<'_>) -> Result<ArrayRef> {
    let separator = separator(call, 1)?;
    let input = &call.arguments[0];
    let DataType::Struct(_) = input.data_type() else {
        return Err(SqlError::Types {
            message: format!(
                "to_csv writes structs, not {}",
                spark_name(input.data_type())
            ),
        }
        .into_datafusion());
    };
    let columns = input
        .as_struct()
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Timestamp(..) => {
                let cell = |row| Ok(json::value(column, row)?.map(|text| text.replace('"', "")));
                (0..column.len()).map(cell).collect::<Result<StringArray>>()
            }
            _ => Ok(casts::texts(column)?.as_string::<i32>().clone()),
        });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let rows = (0..call.rows).map(|row| {
        let cell = |column: &StringArray| {
            let text = if column.is_valid(row) {
                column.value(row)
            } else {
                ""
            };
            quoted(text, separator, column.is_valid(row))
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        input
            .is_valid(row)
            .then(|| cells.join(&separator.to_string()))
    });
    Ok(Arc::new(rows.collect::<StringArray>()))
}

fn quoted(text: &str, separator: char, there: bool) -> String {
    if (there && text.is_empty()) || text.contains([separator, '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    }
    text.to_owned()
}

fn cell_type(cell: Option<&str>) -> &'static str {
    let Some(cell) = cell.map(str::trim) else {
        return "STRING";
    };
    if cell.parse::<i32>().is_ok() {
        "INT"
    } else if cell.parse::<i64>().is_ok() {
        "BIGINT"
    } else if cell.contains(|letter: char| letter.is_ascii_digit()) && cell.parse::<f64>().is_ok() {
        "DOUBLE"
    } else if cell.eq_ignore_ascii_case("true") || cell.eq_ignore_ascii_case("false") {
        "BOOLEAN"
    } else {
        "STRING"
    }
}

fn json_type(value: &Value) -> DataType {
    match value {
        Value::Bool(_) => DataType::Boolean,
        Value::Number(number) if number.is_i64() => DataType::Int64,
        Value::Number(_) => DataType::Float64,
        Value::Null | Value::String(_) => DataType::Utf8,
        Value::Array(items) => {
            let known = items.iter().filter(|item| !item.is_null()).map(json_type);
            DataType::new_list(known.reduce(wider).unwrap_or(DataType::Utf8), true)
        }
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            let fields = sorted
                .into_iter()
                .map(|(name, value)| Field::new(name, json_type(value), true));
            DataType::Struct(fields.collect())
        }
    }
}

fn wider(one: DataType, other: DataType) -> DataType {
    match (one, other) {
        (one, other) if one == other => one,
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => {
            DataType::Float64
        }
        (DataType::Struct(one), DataType::Struct(other)) => {
            let mut all: BTreeMap<String, DataType> = BTreeMap::new();
            for field in one.iter().chain(&other) {
                let data_type = field.data_type().clone();
                let merged = match all.remove(field.name()) {
                    Some(known) => wider(known, data_type),
                    None => data_type,
                };
                all.insert(field.name().clone(), merged);
            }
            let field = |(name, data_type)| Field::new(name, data_type, true);
            DataType::Struct(all.into_iter().map(field).collect())
        }
        (DataType::List(one), DataType::List(other)) => {
            let item = wider(one.data_type().clone(), other.data_type().clone());
            DataType::new_list(item, true)
        }
        _ => DataType::Utf8,
    }
}
