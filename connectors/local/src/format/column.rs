//! Arrow columns under construction: the only place where parsed values are stored.
//!
//! A column can be cut back to a length, so that a record that turns out to be malformed, or a key
//! that occurs twice, leaves nothing behind. Never knows a text format.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, ListArray,
        MapArray, NullBufferBuilder, PrimitiveArray, StringArray, StructArray,
    },
    buffer::{Buffer, OffsetBuffer, ScalarBuffer},
    datatypes::{
        ArrowPrimitiveType, DataType, Date32Type, Field, FieldRef, Fields, Float32Type,
        Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    },
    error::ArrowError,
};

use super::json::Record;

/// Values of variable length, one after another.
#[derive(Debug)]
pub(crate) struct Bytes {
    pub(crate) data: Vec<u8>,
    offsets: Vec<i32>,
}

impl Bytes {
    fn new(rows: usize) -> Bytes {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Bytes {
            data: Vec::new(),
            offsets,
        }
    }

    /// Ends the value whose bytes were appended to `data`.
    #[inline(always)]
    pub(crate) fn close(&mut self) {
        self.offsets.push(offset(self.data.len()));
    }

    fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.data.truncate(start_of(&self.offsets));
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let rows = self.offsets.len();
        let taken = std::mem::replace(self, Bytes::new(rows));
        self.data.reserve(taken.data.len());
        (
            OffsetBuffer::new(ScalarBuffer::from(taken.offsets)),
            Buffer::from_vec(taken.data),
        )
    }
}

/// Offsets are 32 bits wide in Arrow.
fn offset(len: usize) -> i32 {
    i32::try_from(len).expect("invariant: a chunk is bounded by maxLineBytes, below 2 GiB")
}

fn start_of(offsets: &[i32]) -> usize {
    offsets
        .last()
        .and_then(|offset| usize::try_from(*offset).ok())
        .unwrap_or(0)
}

/// The values of a column, by type.
#[derive(Debug)]
pub(crate) enum Values {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    Utf8(Bytes),
    Binary(Bytes),
    Date(Vec<i32>),
    Timestamp {
        values: Vec<i64>,
        zone: Option<Arc<str>>,
    },
    Struct(Fields, Box<Record>),
    List {
        field: FieldRef,
        offsets: Vec<i32>,
        items: Box<Column>,
    },
    Map {
        field: FieldRef,
        offsets: Vec<i32>,
        keys: Box<Column>,
        values: Box<Column>,
    },
}

/// A column under construction.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) values: Values,
    nulls: NullBufferBuilder,
}

/// The type that no format can fill, if `data_type` is or contains one.
pub(crate) fn unsupported(data_type: &DataType) -> Option<DataType> {
    if let Some(fields) = children(data_type) {
        return fields
            .iter()
            .find_map(|field| unsupported(field.data_type()));
    }
    let known = matches!(
        data_type,
        DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal128(..)
            | DataType::Utf8
            | DataType::Binary
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, _)
    );
    (!known).then(|| data_type.clone())
}

/// The fields inside a nested type that can be filled.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "Arrow's type list is long and grows"
)]
pub(crate) fn children(data_type: &DataType) -> Option<Vec<FieldRef>> {
    match data_type {
        DataType::Struct(fields) => Some(fields.iter().cloned().collect()),
        DataType::List(field) => Some(vec![Arc::clone(field)]),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields)
                if fields
                    .first()
                    .is_some_and(|key| *key.data_type() == DataType::Utf8) =>
            {
                Some(fields.iter().cloned().collect())
            }
            _ => None,
        },
        _ => None,
    }
}

impl Column {
    /// An empty column; `None` for types that [`unsupported`] names.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "Arrow's type list is long and grows"
    )]
    pub(crate) fn new(data_type: &DataType, rows: usize) -> Option<Column> {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(rows)),
            DataType::Int8 => Values::Int8(Vec::with_capacity(rows)),
            DataType::Int16 => Values::Int16(Vec::with_capacity(rows)),
            DataType::Int32 => Values::Int32(Vec::with_capacity(rows)),
            DataType::Int64 => Values::Int64(Vec::with_capacity(rows)),
            DataType::Float32 => Values::Float32(Vec::with_capacity(rows)),
            DataType::Float64 => Values::Float64(Vec::with_capacity(rows)),
            DataType::Decimal128(precision, scale) => Values::Decimal {
                values: Vec::with_capacity(rows),
                precision: *precision,
                scale: *scale,
            },
            DataType::Utf8 => Values::Utf8(Bytes::new(rows)),
            DataType::Binary => Values::Binary(Bytes::new(rows)),
            DataType::Date32 => Values::Date(Vec::with_capacity(rows)),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => Values::Timestamp {
                values: Vec::with_capacity(rows),
                zone: zone.clone(),
            },
            DataType::Struct(fields) => {
                Values::Struct(fields.clone(), Box::new(Record::new(fields, None, rows)?))
            }
            DataType::List(field) => Values::List {
                field: Arc::clone(field),
                offsets: vec![0],
                items: Box::new(Column::new(field.data_type(), rows)?),
            },
            DataType::Map(field, _) => {
                let fields = children(data_type)?;
                let [key, value] = fields.as_slice() else {
                    return None;
                };
                Values::Map {
                    field: Arc::clone(field),
                    offsets: vec![0],
                    keys: Box::new(Column::new(key.data_type(), rows)?),
                    values: Box::new(Column::new(value.data_type(), rows)?),
                }
            }
            _ => return None,
        };
        Some(Column {
            values,
            nulls: NullBufferBuilder::new(rows),
        })
    }

    /// Rows so far.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Says that the value just stored in `values` counts.
    #[inline(always)]
    pub(crate) fn mark_valid(&mut self) {
        self.nulls.append_non_null();
    }

    /// Appends a null.
    pub(crate) fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int8(values) => values.push(0),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Timestamp { values, .. } => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Utf8(bytes) | Values::Binary(bytes) => bytes.close(),
            Values::Struct(_, record) => record.push_null(self.nulls.len()),
            Values::List { offsets, items, .. } => offsets.push(offset(items.len())),
            Values::Map { offsets, keys, .. } => offsets.push(offset(keys.len())),
        }
        self.nulls.append_null();
    }

    /// Appends text; only for columns of type `Utf8`.
    pub(crate) fn push_text(&mut self, text: &[u8]) {
        if let Values::Utf8(bytes) = &mut self.values {
            bytes.data.extend_from_slice(text);
            bytes.close();
            self.mark_valid();
        }
    }

    /// Cuts the column back to `len` rows, also where a value was begun and not ended.
    pub(crate) fn truncate(&mut self, len: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::Int8(values) => values.truncate(len),
            Values::Int16(values) => values.truncate(len),
            Values::Int32(values) | Values::Date(values) => values.truncate(len),
            Values::Int64(values) | Values::Timestamp { values, .. } => values.truncate(len),
            Values::Float32(values) => values.truncate(len),
            Values::Float64(values) => values.truncate(len),
            Values::Decimal { values, .. } => values.truncate(len),
            Values::Utf8(bytes) | Values::Binary(bytes) => bytes.truncate(len),
            Values::Struct(_, record) => record.truncate(len),
            Values::List { offsets, items, .. } => {
                offsets.truncate(len + 1);
                items.truncate(start_of(offsets));
            }
            Values::Map {
                offsets,
                keys,
                values,
                ..
            } => {
                offsets.truncate(len + 1);
                keys.truncate(start_of(offsets));
                values.truncate(start_of(offsets));
            }
        }
        if self.nulls.len() > len {
            self.nulls.truncate(len);
        }
    }

    /// Ends the list or map whose items were appended.
    pub(crate) fn close_items(&mut self) {
        match &mut self.values {
            Values::List { offsets, items, .. } => offsets.push(offset(items.len())),
            Values::Map { offsets, keys, .. } => offsets.push(offset(keys.len())),
            Values::Boolean(_)
            | Values::Int8(_)
            | Values::Int16(_)
            | Values::Int32(_)
            | Values::Int64(_)
            | Values::Float32(_)
            | Values::Float64(_)
            | Values::Decimal { .. }
            | Values::Utf8(_)
            | Values::Binary(_)
            | Values::Date(_)
            | Values::Timestamp { .. }
            | Values::Struct(..) => {}
        }
        self.mark_valid();
    }

    /// Takes the rows out as an Arrow array; the column is empty afterwards.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let rows = self.nulls.len();
        let nulls = self.nulls.finish();
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int8(values) => Arc::new(primitive::<Int8Type>(values, nulls)?),
            Values::Int16(values) => Arc::new(primitive::<Int16Type>(values, nulls)?),
            Values::Int32(values) => Arc::new(primitive::<Int32Type>(values, nulls)?),
            Values::Int64(values) => Arc::new(primitive::<Int64Type>(values, nulls)?),
            Values::Float32(values) => Arc::new(primitive::<Float32Type>(values, nulls)?),
            Values::Float64(values) => Arc::new(primitive::<Float64Type>(values, nulls)?),
            Values::Decimal {
                values,
                precision,
                scale,
            } => {
                let array = Decimal128Array::try_new(taken(values), nulls)?;
                Arc::new(array.with_precision_and_scale(*precision, *scale)?)
            }
            Values::Utf8(bytes) => {
                let (offsets, data) = bytes.take();
                Arc::new(StringArray::try_new(offsets, data, nulls)?)
            }
            Values::Binary(bytes) => {
                let (offsets, data) = bytes.take();
                Arc::new(BinaryArray::try_new(offsets, data, nulls)?)
            }
            Values::Date(values) => Arc::new(primitive::<Date32Type>(values, nulls)?),
            Values::Timestamp { values, zone } => Arc::new(
                primitive::<TimestampMicrosecondType>(values, nulls)?
                    .with_timezone_opt(zone.clone()),
            ),
            Values::Struct(fields, record) => {
                let arrays = record.finish()?;
                Arc::new(StructArray::try_new_with_length(
                    fields.clone(),
                    arrays,
                    nulls,
                    rows,
                )?)
            }
            Values::List {
                field,
                offsets,
                items,
            } => Arc::new(ListArray::try_new(
                Arc::clone(field),
                taken_offsets(offsets),
                items.finish()?,
                nulls,
            )?),
            Values::Map {
                field,
                offsets,
                keys,
                values,
            } => Arc::new(map_array(field, offsets, keys, values, nulls)?),
        })
    }
}

fn map_array(
    field: &Arc<Field>,
    offsets: &mut Vec<i32>,
    keys: &mut Column,
    values: &mut Column,
    nulls: Option<arrow::buffer::NullBuffer>,
) -> Result<MapArray, ArrowError> {
    let DataType::Struct(fields) = field.data_type() else {
        return Err(ArrowError::SchemaError("map without entries".to_owned()));
    };
    let entries =
        StructArray::try_new(fields.clone(), vec![keys.finish()?, values.finish()?], None)?;
    MapArray::try_new(
        Arc::clone(field),
        taken_offsets(offsets),
        entries,
        nulls,
        false,
    )
}

fn taken<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let capacity = values.len();
    ScalarBuffer::from(std::mem::replace(values, Vec::with_capacity(capacity)))
}

fn taken_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])))
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<arrow::buffer::NullBuffer>,
) -> Result<PrimitiveArray<T>, ArrowError> {
    PrimitiveArray::try_new(taken(values), nulls)
}
