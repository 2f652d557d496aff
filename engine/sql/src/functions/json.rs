//! `from_json`, `to_json`, `get_json_object` and what else reads JSON.
//!
//! Spark's rules: a text that is no JSON gives a struct of nulls, a missing field is null, and a
//! field whose value has another type is null while its neighbours stay.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "enums of other crates, with many variants and more to come"
)]

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int32Array, ListArray,
        MapArray, StringArray, StructArray, new_null_array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::cast,
    datatypes::{DataType, Date32Type, Field, Fields, TimestampMicrosecondType},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::ScalarUDF,
};
use serde_json::{Map, Value};

use super::{
    casts,
    civil::DAY,
    pattern::Pattern,
    simple::{Gives, Simple, Want, failed, text_of},
};
use crate::{
    SqlError,
    types::{parse_columns, parse_type},
};

const TABLE: &[Simple] = &[
    Simple::new(
        "from_json",
        &[Want::Text, Want::Text, Want::Any],
        Gives::Of(schema_type),
        |call| {
            let texts = call.arguments[0].as_string::<i32>();
            let parsed: Vec<Option<Value>> = texts.iter().map(|text| text.map(parsed)).collect();
            let values: Vec<Option<&Value>> = parsed.iter().map(Option::as_ref).collect();
            build(&values, call.gives, Depth::Top)
        },
    )
    .optional(1),
    Simple::new("to_json", &[Want::Any, Want::Any], Gives::Text, |call| {
        let input = &call.arguments[0];
        let texts = (0..input.len())
            .map(|row| value(input, row))
            .collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StringArray::from(texts)))
    })
    .optional(1),
    Simple::new(
        "get_json_object",
        &[Want::Text, Want::Text],
        Gives::Text,
        |call| {
            let texts = call.arguments[0].as_string::<i32>();
            let paths = call.arguments[1].as_string::<i32>();
            let found: StringArray = texts
                .iter()
                .zip(paths)
                .map(|(text, path)| object_at(text?, path?))
                .collect();
            Ok(Arc::new(found))
        },
    ),
    Simple::new("json_array_length", &[Want::Text], Gives::Int, |call| {
        let lengths: Int32Array = call.arguments[0]
            .as_string::<i32>()
            .iter()
            .map(|text| i32::try_from(serde_json::from_str::<Vec<Value>>(text?).ok()?.len()).ok())
            .collect();
        Ok(Arc::new(lengths))
    }),
    Simple::new("json_object_keys", &[Want::Text], Gives::Texts, |call| {
        let texts = call.arguments[0].as_string::<i32>();
        let rows: Vec<Option<Value>> = texts
            .iter()
            .map(|text| {
                let object: Map<String, Value> = serde_json::from_str(text?).ok()?;
                Some(Value::Array(
                    object
                        .into_iter()
                        .map(|(key, _)| Value::String(key))
                        .collect(),
                ))
            })
            .collect();
        let rows: Vec<Option<&Value>> = rows.iter().map(Option::as_ref).collect();
        build(&rows, call.gives, Depth::Inside)
    }),
];

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
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
    let nested = ["STRUCT", "ARRAY", "MAP"].iter().any(|word| {
        text.get(..word.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(word))
    });
    match nested.then(|| parse_type(text)) {
        Some(Ok(data_type)) => Ok(data_type),
        _ => Ok(DataType::Struct(nullable(&parse_columns(text)?))),
    }
}

/// Any field may be missing in a text.
fn nullable(fields: &Fields) -> Fields {
    fields
        .iter()
        .map(|field| Field::new(field.name(), field.data_type().clone(), true))
        .collect::<Vec<_>>()
        .into()
}

/// A text as JSON; what is none is null.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// Whether a null stands for a text that is no JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Top,
    Inside,
}

/// Values as an array of a type; what has another type is null.
fn build(values: &[Option<&Value>], data_type: &DataType, depth: Depth) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Struct(fields) => structs(values, fields, depth)?,
        DataType::List(item) => {
            let rows = values.iter().map(|value| value.and_then(Value::as_array));
            let rows: Vec<Option<&Vec<Value>>> = rows.collect();
            let flat: Vec<Option<&Value>> = rows
                .iter()
                .flatten()
                .flat_map(|r| r.iter().map(Some))
                .collect();
            let items = build(&flat, item.data_type(), Depth::Inside)?;
            let lengths = rows.iter().map(|row| row.map_or(0, Vec::len));
            let nulls = NullBuffer::from_iter(rows.iter().map(Option::is_some));
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::try_new(
                Arc::clone(item),
                offsets,
                items,
                Some(nulls),
            )?)
        }
        DataType::Map(entries, _) => maps(values, entries)?,
        DataType::Boolean => {
            let array: BooleanArray = values.iter().map(|v| v.and_then(Value::as_bool)).collect();
            Arc::new(array)
        }
        DataType::Utf8 => {
            let array: StringArray = values.iter().map(|value| value.and_then(text)).collect();
            Arc::new(array)
        }
        DataType::Binary => {
            let array: BinaryArray = values
                .iter()
                .map(|value| value.and_then(Value::as_str).map(str::as_bytes))
                .collect();
            Arc::new(array)
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let array: arrow::array::Int64Array = values
                .iter()
                .map(|value| value.and_then(Value::as_i64))
                .collect();
            cast(&array, data_type)?
        }
        DataType::Float32 | DataType::Float64 => {
            let array: Float64Array = values.iter().map(|value| value.and_then(double)).collect();
            cast(&array, data_type)?
        }
        DataType::Timestamp(..) | DataType::Date32 => {
            let array: StringArray = values
                .iter()
                .map(|value| value.and_then(Value::as_str))
                .collect();
            cast(&array, data_type)?
        }
        DataType::Decimal128(..) => {
            let array: StringArray = values.iter().map(|value| value.and_then(digits)).collect();
            cast(&array, data_type)?
        }
        other => new_null_array(other, values.len()),
    })
}

fn structs(values: &[Option<&Value>], fields: &Fields, depth: Depth) -> Result<ArrayRef> {
    let objects: Vec<Option<&Map<String, Value>>> = values
        .iter()
        .map(|value| match value {
            Some(Value::Object(object)) => Some(object),
            // One object in a list stands for itself.
            Some(Value::Array(items)) if items.len() == 1 && depth == Depth::Top => {
                items[0].as_object()
            }
            _ => None,
        })
        .collect();
    let nulls = NullBuffer::from_iter(
        values
            .iter()
            .zip(&objects)
            .map(|(value, object)| object.is_some() || (depth == Depth::Top && value.is_some())),
    );
    if fields.is_empty() {
        return Ok(Arc::new(StructArray::new_empty_fields(
            values.len(),
            Some(nulls),
        )));
    }
    let columns = fields
        .iter()
        .map(|field| {
            let column: Vec<Option<&Value>> = objects
                .iter()
                .map(|object| object.and_then(|object| object.get(field.name())))
                .map(|value| value.filter(|value| !value.is_null()))
                .collect();
            build(&column, field.data_type(), Depth::Inside)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new(
        fields.clone(),
        columns,
        Some(nulls),
    )?))
}

fn maps(values: &[Option<&Value>], entries: &Arc<Field>) -> Result<ArrayRef> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(failed("a map without entries"));
    };
    let rows: Vec<Option<&Map<String, Value>>> = values
        .iter()
        .map(|value| value.and_then(Value::as_object))
        .collect();
    let keys: StringArray = rows
        .iter()
        .flatten()
        .flat_map(|row| row.keys().map(Some))
        .collect();
    let items: Vec<Option<&Value>> = rows
        .iter()
        .flatten()
        .flat_map(|row| row.values().map(Some))
        .collect();
    let keys = cast(&keys, fields[0].data_type())?;
    let items = build(&items, fields[1].data_type(), Depth::Inside)?;
    let nulls = NullBuffer::from_iter(rows.iter().map(Option::is_some));
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.map_or(0, Map::len)));
    let structs = StructArray::try_new(fields.clone(), vec![keys, items], None)?;
    let map = MapArray::try_new(Arc::clone(entries), offsets, structs, Some(nulls), false)?;
    Ok(Arc::new(map))
}

/// A value as text: texts as they are, everything else as JSON.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::String(word) => match word.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" | "+Infinity" | "INF" | "+INF" => Some(f64::INFINITY),
            "-Infinity" | "-INF" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        other => other.as_f64(),
    }
}

fn digits(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// `$.a.b[0]` and `$['a']`; scalars come without quotes.
fn object_at(json: &str, path: &str) -> Option<String> {
    let document: Value = serde_json::from_str(json).ok()?;
    let mut rest = path.strip_prefix('$')?;
    let mut found = vec![&document];
    let mut several = false;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[*]") {
            several = true;
            found = found
                .into_iter()
                .filter_map(Value::as_array)
                .flatten()
                .collect();
            rest = after;
        } else if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let key = after.get(..end)?;
            found = found
                .into_iter()
                .filter_map(|value| value.get(key))
                .collect();
            rest = after.get(end..)?;
        } else {
            let (inside, after) = rest.strip_prefix('[')?.split_once(']')?;
            let key = inside
                .strip_prefix('\'')
                .and_then(|key| key.strip_suffix('\''));
            let idx = inside.parse::<usize>();
            found = found
                .into_iter()
                .filter_map(|value| match (key, &idx) {
                    (Some(key), _) => value.get(key),
                    (None, Ok(idx)) => value.get(*idx),
                    (None, Err(_)) => None,
                })
                .collect();
            rest = after;
        }
    }
    match (found.as_slice(), several) {
        ([], _) => None,
        ([only], false) => text(only),
        // Of a star a single match stands alone, and its quotes stay.
        ([only], true) => Some(only.to_string()),
        (all, _) => serde_json::to_string(all).ok(),
    }
}

/// A double as Java writes it; what is no number is a text.
fn number(written: &ArrayRef) -> String {
    let written = written.as_string::<i32>().value(0);
    if written.ends_with(|letter: char| letter.is_ascii_digit()) {
        return written.to_owned();
    }
    Value::from(written).to_string()
}

/// A row as JSON; fields that are null are left out.
pub(super) fn value(array: &ArrayRef, row: usize) -> Result<Option<String>> {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        return Ok(None);
    }
    let quoted = |text: &str| Value::from(text).to_string();
    Ok(Some(match array.data_type() {
        DataType::Utf8 => quoted(array.as_string::<i32>().value(row)),
        // What functions of DataFusion give.
        DataType::Utf8View | DataType::LargeUtf8 => {
            let text = cast(&array.slice(row, 1), &DataType::Utf8)?;
            quoted(text.as_string::<i32>().value(0))
        }
        DataType::Binary => quoted(&STANDARD.encode(array.as_binary::<i32>().value(row))),
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Decimal128(..) => {
            let text = cast(&array.slice(row, 1), &DataType::Utf8)?;
            text.as_string::<i32>().value(0).to_owned()
        }
        DataType::Float32 | DataType::Float64 => number(&casts::texts(&array.slice(row, 1))?),
        DataType::Date32 => {
            let days = i64::from(array.as_primitive::<Date32Type>().value(row));
            quoted(&written("yyyy-MM-dd", days * DAY)?)
        }
        DataType::Timestamp(_, zone) => {
            let naive = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
            let counts = cast(&array.slice(row, 1), &DataType::Int64)?;
            let at = cast(&counts, &naive)?
                .as_primitive::<TimestampMicrosecondType>()
                .value(0);
            let zone = if zone.is_some() { "XXX" } else { "" };
            quoted(&written(&format!("yyyy-MM-dd'T'HH:mm:ss.SSS{zone}"), at)?)
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct();
            let mut members = Vec::new();
            for (field, column) in fields.iter().zip(columns.columns()) {
                if let Some(value) = value(column, row)? {
                    members.push(format!("{}:{value}", quoted(field.name())));
                }
            }
            format!("{{{}}}", members.join(","))
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            let items = (0..items.len())
                .map(|idx| Ok(value(&items, idx)?.unwrap_or_else(|| "null".to_owned())))
                .collect::<Result<Vec<_>>>()?;
            format!("[{}]", items.join(","))
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let keys = cast(entries.column(0), &DataType::Utf8)?;
            let mut members = Vec::new();
            for (idx, key) in keys.as_string::<i32>().iter().enumerate() {
                let value = value(entries.column(1), idx)?.unwrap_or_else(|| "null".to_owned());
                members.push(format!("{}:{value}", quoted(key.unwrap_or_default())));
            }
            format!("{{{}}}", members.join(","))
        }
        other => {
            let name = crate::types::spark_name(other);
            return Err(failed(format!("to_json does not write {name}")));
        }
    }))
}

fn written(pattern: &str, micros: i64) -> Result<String> {
    Ok(Pattern::new(pattern)
        .map_err(SqlError::into_datafusion)?
        .write(micros))
}
