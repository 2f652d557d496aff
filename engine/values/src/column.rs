//! Arrow columns under construction: the only place where parsed values are stored.
//!
//! A column can be cut back to a length, so that a record that turns out to be malformed, or a key
//! that occurs twice, leaves nothing behind; and it may lag behind the others of its table until
//! [`settle`](Column::settle) fills it up with nulls. It grows with what is stored in it, so that
//! what nobody fills takes no memory. Never reads a text; a record remembers the order of keys in which
//! its values came.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, ListArray,
        MapArray, NullBufferBuilder, PrimitiveArray, StringArray, StructArray, new_null_array,
    },
    buffer::{Buffer, OffsetBuffer, ScalarBuffer},
    datatypes::{
        ArrowPrimitiveType, DataType, Date32Type, DurationMicrosecondType, Field, FieldRef, Fields,
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano,
        IntervalMonthDayNanoType, IntervalYearMonthType, TimeUnit, TimestampMicrosecondType,
    },
    error::ArrowError,
};

use crate::{
    interval::{CALENDAR, DAY_TIME, YEAR_MONTH, is_interval},
    json::keys::Keys,
};

/// Rows that a new batch expects at most, and that an array without values is kept for.
const ROWS_EXPECTED_MAX: usize = 8_192;
/// Text that a new batch expects at most; more of it makes the column grow.
const TEXT_BYTES_EXPECTED_MAX: usize = 1 << 20;

/// Values of variable length, one after another.
#[derive(Debug)]
pub(crate) struct Bytes {
    pub(crate) data: Vec<u8>,
    offsets: Vec<i32>,
}

impl Bytes {
    fn new() -> Bytes {
        Bytes {
            data: Vec::new(),
            offsets: vec![0],
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
        let expected = self.data.len().min(TEXT_BYTES_EXPECTED_MAX);
        let data = std::mem::replace(&mut self.data, Vec::with_capacity(expected));
        (taken_offsets(&mut self.offsets), Buffer::from_vec(data))
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
    Months(Vec<i32>),
    Micros(Vec<i64>),
    Calendar(Vec<IntervalMonthDayNano>),
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

impl Values {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "Arrow's type list is long and grows"
    )]
    fn new(data_type: &DataType) -> Option<Values> {
        Some(match data_type {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Int8 => Values::Int8(Vec::new()),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Decimal128(precision, scale) => Values::Decimal {
                values: Vec::new(),
                precision: *precision,
                scale: *scale,
            },
            DataType::Utf8 => Values::Utf8(Bytes::new()),
            DataType::Binary => Values::Binary(Bytes::new()),
            DataType::Date32 => Values::Date(Vec::new()),
            found if *found == YEAR_MONTH => Values::Months(Vec::new()),
            found if *found == DAY_TIME => Values::Micros(Vec::new()),
            found if *found == CALENDAR => Values::Calendar(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => Values::Timestamp {
                values: Vec::new(),
                zone: zone.clone(),
            },
            DataType::Struct(fields) => {
                Values::Struct(fields.clone(), Box::new(Record::new(fields, None)?))
            }
            DataType::List(field) => Values::List {
                field: Arc::clone(field),
                offsets: vec![0],
                items: Box::new(Column::new(field.data_type())?),
            },
            DataType::Map(field, _) => {
                let fields = children(data_type)?;
                let [key, value] = fields.as_slice() else {
                    return None;
                };
                Values::Map {
                    field: Arc::clone(field),
                    offsets: vec![0],
                    keys: Box::new(Column::new(key.data_type())?),
                    values: Box::new(Column::new(value.data_type())?),
                }
            }
            _ => return None,
        })
    }

    /// Bytes that a row takes, without text and items.
    fn width(&self) -> usize {
        match self {
            Values::Boolean(_) | Values::Int8(_) => 1,
            Values::Int16(_) => 2,
            Values::Int32(_)
            | Values::Date(_)
            | Values::Months(_)
            | Values::Float32(_)
            | Values::Utf8(_)
            | Values::Binary(_)
            | Values::List { .. }
            | Values::Map { .. } => 4,
            Values::Int64(_)
            | Values::Timestamp { .. }
            | Values::Micros(_)
            | Values::Float64(_) => 8,
            Values::Decimal { .. } | Values::Calendar(_) => 16,
            Values::Struct(_, record) => record.width(),
        }
    }
}

/// A column under construction.
#[derive(Debug)]
pub struct Column {
    pub(crate) values: Values,
    nulls: NullBufferBuilder,
    data_type: DataType,
    /// What a batch gets that has no value of this column: made once, for batch after batch.
    empty: Option<ArrayRef>,
    width: usize,
}

/// The type that no format can fill, if `data_type` is or contains one.
pub fn unsupported(data_type: &DataType) -> Option<DataType> {
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
    let known = known || is_interval(data_type);
    (!known).then(|| data_type.clone())
}

/// The fields inside a nested type that can be filled.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "Arrow's type list is long and grows"
)]
pub fn children(data_type: &DataType) -> Option<Vec<FieldRef>> {
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
    pub fn new(data_type: &DataType) -> Option<Column> {
        let values = Values::new(data_type)?;
        Some(Column {
            width: values.width() + 1,
            values,
            nulls: NullBufferBuilder::new(0),
            data_type: data_type.clone(),
            empty: None,
        })
    }

    /// Bytes that a row takes, without text and items.
    #[inline(always)]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows so far.
    #[inline(always)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Whether it has no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says that the value just stored in `values` counts.
    #[inline(always)]
    pub(crate) fn mark_valid(&mut self) {
        self.nulls.append_non_null();
    }

    /// Appends a null.
    pub fn push_null(&mut self) {
        self.push_nulls(1);
    }

    fn push_nulls(&mut self, count: usize) {
        let rows = self.nulls.len() + count;
        match &mut self.values {
            Values::Boolean(values) => values.append_n(count, false),
            Values::Int8(values) => values.resize(rows, 0),
            Values::Int16(values) => values.resize(rows, 0),
            Values::Int32(values) | Values::Date(values) | Values::Months(values) => {
                values.resize(rows, 0);
            }
            Values::Int64(values) | Values::Micros(values) | Values::Timestamp { values, .. } => {
                values.resize(rows, 0)
            }
            Values::Calendar(values) => values.resize(rows, IntervalMonthDayNano::ZERO),
            Values::Float32(values) => values.resize(rows, 0.0),
            Values::Float64(values) => values.resize(rows, 0.0),
            Values::Decimal { values, .. } => values.resize(rows, 0),
            Values::Utf8(bytes) | Values::Binary(bytes) => repeat_last(&mut bytes.offsets, rows),
            // Its columns lag behind.
            Values::Struct(..) => {}
            Values::List { offsets, .. } | Values::Map { offsets, .. } => {
                repeat_last(offsets, rows);
            }
        }
        self.nulls.append_n_nulls(count);
    }

    /// Brings the column to `rows` rows: nulls for what is missing, and what is too much goes.
    #[inline(never)]
    pub fn settle(&mut self, rows: usize) {
        match rows.checked_sub(self.len()) {
            Some(missing) => self.push_nulls(missing),
            None => self.truncate(rows),
        }
    }

    /// Appends text; only for columns of type `Utf8`.
    pub fn push_text(&mut self, text: &[u8]) {
        if let Values::Utf8(bytes) = &mut self.values {
            bytes.data.extend_from_slice(text);
            bytes.close();
            self.mark_valid();
        }
    }

    /// Cuts the column back to `len` rows, also where a value was begun and not ended.
    pub fn truncate(&mut self, len: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::Int8(values) => values.truncate(len),
            Values::Int16(values) => values.truncate(len),
            Values::Int32(values) | Values::Date(values) | Values::Months(values) => {
                values.truncate(len);
            }
            Values::Int64(values) | Values::Micros(values) | Values::Timestamp { values, .. } => {
                values.truncate(len)
            }
            Values::Calendar(values) => values.truncate(len),
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

    /// The items of a list of structs.
    pub(crate) fn structs(&mut self) -> Option<&mut Column> {
        let Values::List { items, .. } = &mut self.values else {
            return None;
        };
        matches!(items.values, Values::Struct(..)).then_some(items)
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
            | Values::Months(_)
            | Values::Micros(_)
            | Values::Calendar(_)
            | Values::Timestamp { .. }
            | Values::Struct(..) => {}
        }
        self.mark_valid();
    }

    /// Takes `rows` rows out as an Arrow array; the column is empty afterwards.
    ///
    /// # Errors
    /// Arrow refuses the values: a field inside a nested type does not allow nulls.
    pub fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        if self.is_empty() {
            return Ok(self.all_null(rows));
        }
        self.settle(rows);
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
            Values::Months(values) => Arc::new(primitive::<IntervalYearMonthType>(values, nulls)?),
            Values::Micros(values) => {
                Arc::new(primitive::<DurationMicrosecondType>(values, nulls)?)
            }
            Values::Calendar(values) => {
                Arc::new(primitive::<IntervalMonthDayNanoType>(values, nulls)?)
            }
            Values::Timestamp { values, zone } => Arc::new(
                primitive::<TimestampMicrosecondType>(values, nulls)?
                    .with_timezone_opt(zone.clone()),
            ),
            Values::Struct(fields, record) => {
                let arrays = record.finish(rows)?;
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
                items.finish(items.len())?,
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

    /// Many batches that lack a column share one array: a line of empty objects is cut into
    /// hundreds of them, which wait for the next operator all at once.
    fn all_null(&mut self, rows: usize) -> ArrayRef {
        if let Some(empty) = &self.empty
            && empty.len() >= rows
        {
            return empty.slice(0, rows);
        }
        let empty = new_null_array(&self.data_type, rows);
        if rows <= ROWS_EXPECTED_MAX {
            self.empty = Some(Arc::clone(&empty));
        }
        empty
    }
}

/// Bytes that a row of these columns takes, without text and items.
pub fn width(columns: &[Column]) -> usize {
    columns.iter().map(Column::width).sum()
}

/// Takes `rows` rows out of columns that stand side by side.
///
/// # Errors
/// Those of [`Column::finish`].
pub fn finish(columns: &mut [Column], rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
    columns
        .iter_mut()
        .map(|column| column.finish(rows))
        .collect()
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
    let rows = keys.len();
    let entries = vec![keys.finish(rows)?, values.finish(rows)?];
    let entries = StructArray::try_new(fields.clone(), entries, None)?;
    MapArray::try_new(
        Arc::clone(field),
        taken_offsets(offsets),
        entries,
        nulls,
        false,
    )
}

/// The values; the next batch expects as many, if they were those of a batch and not of a long line.
fn taken<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let capacity = values.len().min(ROWS_EXPECTED_MAX);
    ScalarBuffer::from(std::mem::replace(values, Vec::with_capacity(capacity)))
}

fn taken_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let taken = OffsetBuffer::new(taken(offsets));
    offsets.push(0);
    taken
}

fn repeat_last(offsets: &mut Vec<i32>, rows: usize) {
    let last = offsets.last().copied().unwrap_or(0);
    offsets.resize(rows + 1, last);
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<arrow::buffer::NullBuffer>,
) -> Result<PrimitiveArray<T>, ArrowError> {
    PrimitiveArray::try_new(taken(values), nulls)
}

/// The columns of an object.
#[derive(Debug)]
pub struct Record {
    pub(crate) keys: Keys,
    pub(crate) columns: Vec<Column>,
    corrupt: Option<usize>,
}

impl Record {
    /// Columns for `fields`; `corrupt` is the one that takes the text of malformed records.
    pub fn new(fields: &Fields, corrupt: Option<usize>) -> Option<Record> {
        let columns = fields
            .iter()
            .map(|field| Column::new(field.data_type()))
            .collect::<Option<Vec<Column>>>()?;
        let names = fields.iter().enumerate();
        let names = names.filter(|(idx, _)| Some(*idx) != corrupt);
        Some(Record {
            keys: Keys::new(names.map(|(idx, field)| (idx, field.name().as_str()))),
            columns,
            corrupt,
        })
    }

    /// Bytes that a row takes, without text and items.
    pub fn width(&self) -> usize {
        width(&self.columns)
    }

    /// Cuts all columns back to `rows`.
    pub fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
    }

    /// Replaces the last value of the corrupt-record column, if there is one, by `text`.
    pub fn keep_corrupt(&mut self, row: usize, text: &[u8]) {
        if let Some(column) = self.corrupt.and_then(|idx| self.columns.get_mut(idx)) {
            column.settle(row);
            column.push_text(text);
        }
    }

    /// Takes `rows` rows out.
    ///
    /// # Errors
    /// Those of [`Column::finish`].
    pub fn finish(&mut self, rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        finish(&mut self.columns, rows)
    }
}
