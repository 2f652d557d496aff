//! Maps: their types, building them with Spark's checks, and `map_concat`.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, MapArray, StructArray, UInt32Array},
    buffer::{NullBuffer, OffsetBuffer},
    compute::{cast, concat, take},
    datatypes::{DataType, Field, Fields},
    row::{RowConverter, SortField},
};
use datafusion::{
    common::Result,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        type_coercion::binary::comparison_coercion,
    },
};

use super::misfit::failed;
use crate::{SqlError, types::spark_name};

/// The type of a map.
pub(super) fn map_type(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![
        Field::new("key", key, false),
        Field::new("value", value, true),
    ]);
    let entries = Field::new("entries", DataType::Struct(entries), false);
    DataType::Map(Arc::new(entries), false)
}

/// The types of a map's keys and values.
pub(super) fn entry_types(data_type: &DataType) -> Result<(DataType, DataType)> {
    if let DataType::Map(entries, _) = data_type
        && let DataType::Struct(fields) = entries.data_type()
        && let [key, value] = fields.as_ref()
    {
        return Ok((key.data_type().clone(), value.data_type().clone()));
    }
    Err(SqlError::Types {
        message: format!("expected a map, not {}", spark_name(data_type)),
    }
    .into_datafusion())
}

/// Whether keys must be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// They are a map's already.
    Known,
    /// They may be null or twice there.
    New,
}

/// Maps of the keys and values of all rows.
pub(super) fn build(
    keys: &ArrayRef,
    values: &ArrayRef,
    lengths: Vec<usize>,
    nulls: Option<NullBuffer>,
    gives: &DataType,
    check: Keys,
) -> Result<ArrayRef> {
    if check == Keys::New {
        distinct(keys, &lengths)?;
    }
    let DataType::Map(entries, sorted) = gives else {
        return Err(failed("a map became something else"));
    };
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(failed("a map without entries"));
    };
    let (key, value) = entry_types(gives)?;
    let columns = vec![cast(keys, &key)?, cast(values, &value)?];
    let structs = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let map = MapArray::try_new(Arc::clone(entries), offsets, structs, nulls, *sorted)?;
    Ok(Arc::new(map))
}

fn distinct(keys: &ArrayRef, lengths: &[usize]) -> Result<()> {
    if keys.null_count() > 0 {
        return Err(failed("[NULL_MAP_KEY] a key of a map is null"));
    }
    let rows = encoded(&[keys])?;
    let mut at = 0;
    for length in lengths {
        let mut seen = std::collections::HashSet::with_capacity(*length);
        if !(at..at + length).all(|key| seen.insert(rows[0].row(key))) {
            return Err(failed("[DUPLICATED_MAP_KEY] a key is twice in a map"));
        }
        at += length;
    }
    Ok(())
}

/// Keys of one type in a form that can be compared.
fn encoded(keys: &[&ArrayRef]) -> Result<Vec<arrow::row::Rows>> {
    let Some(first) = keys.first() else {
        return Ok(Vec::new());
    };
    let converter = RowConverter::new(vec![SortField::new(first.data_type().clone())])?;
    let rows = keys
        .iter()
        .map(|keys| converter.convert_columns(&[Arc::clone(keys)]));
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The keys of two maps with the values that each has for them.
pub(super) struct Joined {
    pub(super) keys: ArrayRef,
    pub(super) first: ArrayRef,
    pub(super) second: ArrayRef,
    pub(super) rows: Vec<u32>,
    pub(super) lengths: Vec<usize>,
    pub(super) nulls: Option<NullBuffer>,
}

/// Joins two maps of each row by their keys; the keys of the first come first.
pub(super) fn full_join(left: &MapArray, right: &MapArray) -> Result<Joined> {
    let encoded = encoded(&[left.keys(), right.keys()])?;
    let nulls = NullBuffer::union(left.nulls(), right.nulls());
    let (mut firsts, mut seconds, mut rows, mut lengths) = (vec![], vec![], vec![], vec![]);
    let range = |map: &MapArray, row: usize| {
        let bounds = &map.value_offsets()[row..row + 2];
        usize::try_from(bounds[0]).unwrap_or(0)..usize::try_from(bounds[1]).unwrap_or(0)
    };
    for row in 0..left.len() {
        let before = rows.len();
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            let mut others: HashMap<_, usize> = range(right, row)
                .map(|at| (encoded[1].row(at), at))
                .collect();
            for at in range(left, row) {
                firsts.push(u32::try_from(at).ok());
                let other = others.remove(&encoded[0].row(at));
                seconds.push(other.and_then(|at| u32::try_from(at).ok()));
            }
            for at in range(right, row).filter(|at| others.contains_key(&encoded[1].row(*at))) {
                firsts.push(None);
                seconds.push(u32::try_from(at).ok());
            }
            rows.resize(firsts.len(), u32::try_from(row).unwrap_or(0));
        }
        lengths.push(rows.len() - before);
    }
    let offset = u32::try_from(left.keys().len()).unwrap_or(u32::MAX);
    let both = concat(&[left.keys().as_ref(), right.keys().as_ref()])?;
    let of_key = |(first, second): (&Option<u32>, &Option<u32>)| {
        first.or_else(|| second.map(|second| second + offset))
    };
    let keys: UInt32Array = firsts.iter().zip(&seconds).map(of_key).collect();
    Ok(Joined {
        keys: take(&both, &keys, None)?,
        first: take(left.values(), &UInt32Array::from(firsts), None)?,
        second: take(right.values(), &UInt32Array::from(seconds), None)?,
        rows,
        lengths,
        nulls,
    })
}

/// `map_concat(m, …)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct MapConcat {
    signature: Signature,
}

/// All functions of this file.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(ScalarUDF::from(MapConcat {
        signature: Signature::user_defined(Volatility::Immutable),
    }))]
}

/// The type that both have beside each other.
fn wider(one: &DataType, other: &DataType) -> Result<DataType> {
    comparison_coercion(one, other).ok_or_else(|| {
        SqlError::Types {
            message: format!(
                "maps of {} and of {} are not joined",
                spark_name(one),
                spark_name(other)
            ),
        }
        .into_datafusion()
    })
}

impl ScalarUDFImpl for MapConcat {
    fn name(&self) -> &str {
        "map_concat"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let known = arg_types.iter().filter(|found| **found != DataType::Null);
        let mut common: Option<(DataType, DataType)> = None;
        for found in known {
            let (key, value) = entry_types(found)?;
            common = Some(match common {
                None => (key, value),
                Some((keys, values)) => (wider(&keys, &key)?, wider(&values, &value)?),
            });
        }
        let (key, value) = common.unwrap_or((DataType::Utf8, DataType::Utf8));
        Ok(vec![map_type(key, value); arg_types.len()])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types
            .first()
            .cloned()
            .unwrap_or_else(|| map_type(DataType::Utf8, DataType::Utf8)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args
            .args
            .iter()
            .map(|arg| arg.to_array(args.number_rows))
            .collect::<Result<Vec<_>>>()?;
        if columns.is_empty() {
            let none = arrow::array::new_empty_array(&DataType::Utf8);
            let (lengths, gives) = (vec![0; args.number_rows], args.return_field.data_type());
            let out = build(&none, &none, lengths, None, gives, Keys::Known)?;
            return Ok(ColumnarValue::Array(out));
        }
        let maps: Vec<&MapArray> = columns.iter().map(|column| column.as_map()).collect();
        let nulls = maps.iter().fold(None, |nulls: Option<NullBuffer>, map| {
            NullBuffer::union(nulls.as_ref(), map.nulls())
        });
        let mut sources = Vec::new();
        let mut lengths = Vec::new();
        for row in 0..args.number_rows {
            let before = sources.len();
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                for (nth, map) in maps.iter().enumerate() {
                    let bounds = &map.value_offsets()[row..row + 2];
                    let at = |at: i32| (nth, usize::try_from(at).unwrap_or(0));
                    sources.extend((bounds[0]..bounds[1]).map(at));
                }
            }
            lengths.push(sources.len() - before);
        }
        let gather = |of: fn(&MapArray) -> &ArrayRef| {
            let parts: Vec<&dyn Array> = maps.iter().map(|map| of(map).as_ref()).collect();
            arrow::compute::interleave(&parts, &sources)
        };
        let (keys, values) = (gather(MapArray::keys)?, gather(MapArray::values)?);
        let gives = args.return_field.data_type();
        let out = build(&keys, &values, lengths, nulls, gives, Keys::New)?;
        Ok(ColumnarValue::Array(out))
    }
}
