//! Rows of a script to Arrow arrays. The way back is in `rows`.

use super::{
    cells::Cell,
    error::ScriptError,
    parse::Row,
    value::{Reading, Value},
};
use arrow::{
    array::{
        ArrayRef, ArrowPrimitiveType, BinaryArray, BinaryViewArray, BooleanArray,
        FixedSizeBinaryBuilder, FixedSizeListArray, Float32Array, Float64Array, GenericListArray,
        LargeBinaryArray, LargeStringArray, MapArray, NullArray, OffsetSizeTrait, PrimitiveArray,
        RecordBatch, StringArray, StringViewArray, StructArray,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::cast,
    datatypes::{
        self as dt, DataType, Field, FieldRef, Fields, IntervalDayTime, IntervalMonthDayNano,
        IntervalUnit, SchemaRef, TimeUnit,
    },
    error::ArrowError,
};
use std::sync::Arc;

/// The rows of an `input` paragraph as a batch of the table's schema.
///
/// # Errors
/// A row has another number of cells than the table has columns, or a cell does not fit its type.
pub fn batch_of_rows(rows: &[Row], schema: &SchemaRef) -> Result<RecordBatch, ScriptError> {
    let mut columns: Vec<Vec<Value>> = vec![Vec::with_capacity(rows.len()); schema.fields().len()];
    for row in rows {
        if row.cells.len() != columns.len() {
            let message = format!(
                "the row has {} cells, the table has {} columns: {}",
                row.cells.len(),
                columns.len(),
                names(schema)
            );
            return Err(ScriptError::syntax(row.line, 1, message));
        }
        for ((column, field), cell) in columns.iter_mut().zip(schema.fields()).zip(&row.cells) {
            column.push(read_input(row.line, cell, field)?);
        }
    }
    let first_line = rows.first().map_or(1, |row| row.line);
    let refuse = |error: ArrowError| ScriptError::syntax(first_line, 1, error.to_string());
    let arrays: Result<Vec<_>, _> = columns
        .iter()
        .zip(schema.fields())
        .map(|(values, field)| array(values, field.data_type()))
        .collect();
    RecordBatch::try_new(Arc::clone(schema), arrays.map_err(refuse)?).map_err(refuse)
}

fn read_input(line: u64, cell: &Cell, field: &Field) -> Result<Value, ScriptError> {
    let refuse = |why: String| {
        ScriptError::syntax(line, cell.column, format!("column {}: {why}", field.name()))
    };
    let value = Value::read(cell, field.data_type(), Reading::Input).map_err(refuse)?;
    if value == Value::Null && !field.is_nullable() {
        return Err(refuse("null in a column that is NOT NULL".to_owned()));
    }
    Ok(value)
}

fn names(schema: &SchemaRef) -> String {
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    names.join(", ")
}

fn array(values: &[Value], data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let wrong = || ArrowError::InvalidArgumentError(format!("no column of type {data_type}"));
    Ok(match data_type {
        DataType::Null => Arc::new(NullArray::new(values.len())),
        DataType::Boolean => Arc::new(values.iter().map(bool_of).collect::<BooleanArray>()),
        DataType::Int8 => whole::<dt::Int8Type>(values, data_type),
        DataType::Int16 => whole::<dt::Int16Type>(values, data_type),
        DataType::Int32 => whole::<dt::Int32Type>(values, data_type),
        DataType::Int64 => whole::<dt::Int64Type>(values, data_type),
        DataType::UInt8 => whole::<dt::UInt8Type>(values, data_type),
        DataType::UInt16 => whole::<dt::UInt16Type>(values, data_type),
        DataType::UInt32 => whole::<dt::UInt32Type>(values, data_type),
        DataType::UInt64 => whole::<dt::UInt64Type>(values, data_type),
        DataType::Float16 => {
            let singles: Float32Array = values.iter().map(single_of).collect();
            cast(&singles, &DataType::Float16)?
        }
        DataType::Float32 => Arc::new(values.iter().map(single_of).collect::<Float32Array>()),
        DataType::Float64 => Arc::new(values.iter().map(float_of).collect::<Float64Array>()),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => decimals(values, data_type, *scale)?,
        DataType::Utf8 => Arc::new(values.iter().map(text_of).collect::<StringArray>()),
        DataType::LargeUtf8 => Arc::new(values.iter().map(text_of).collect::<LargeStringArray>()),
        DataType::Utf8View => Arc::new(values.iter().map(text_of).collect::<StringViewArray>()),
        DataType::Binary => Arc::new(values.iter().map(bytes_of).collect::<BinaryArray>()),
        DataType::LargeBinary => {
            Arc::new(values.iter().map(bytes_of).collect::<LargeBinaryArray>())
        }
        DataType::BinaryView => Arc::new(values.iter().map(bytes_of).collect::<BinaryViewArray>()),
        DataType::FixedSizeBinary(size) => fixed_binary(values, *size)?,
        DataType::Date32 => counts::<dt::Date32Type>(values, data_type, 1)?,
        DataType::Date64 => {
            let days = counts::<dt::Date32Type>(values, &DataType::Date32, 1)?;
            cast(&days, &DataType::Date64)?
        }
        DataType::Time32(unit) | DataType::Time64(unit) => times(values, data_type, *unit)?,
        DataType::Timestamp(unit, _) => timestamps(values, data_type, *unit)?,
        DataType::Duration(unit) => durations(values, data_type, *unit)?,
        DataType::Interval(unit) => intervals(values, *unit)?,
        DataType::List(item) => list::<i32>(values, item)?,
        DataType::LargeList(item) => list::<i64>(values, item)?,
        DataType::FixedSizeList(item, size) => fixed_list(values, item, *size)?,
        DataType::Struct(fields) => Arc::new(structs(values, fields)?),
        DataType::Map(entries, sorted) => map(values, entries, *sorted)?,
        DataType::Dictionary(_, value) => cast(&array(values, value)?, data_type)?,
        DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..) => return Err(wrong()),
    })
}

fn whole<T>(values: &[Value], data_type: &DataType) -> ArrayRef
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128>,
{
    // Reading a cell has checked the range already.
    let native = |value: &Value| {
        let Value::Int(number) = value else {
            return None;
        };
        T::Native::try_from(*number).ok()
    };
    let array: PrimitiveArray<T> = values.iter().map(native).collect();
    Arc::new(array.with_data_type(data_type.clone()))
}

/// Times and dates, whose values are counts of `size` nanoseconds (dates: days).
fn counts<T>(values: &[Value], data_type: &DataType, size: i128) -> Result<ArrayRef, ArrowError>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128>,
{
    let native = |value: &Value| {
        let Some(count) = count_of(value) else {
            return Ok(None);
        };
        let exact = (count % size == 0).then(|| T::Native::try_from(count / size).ok());
        exact.flatten().map(Some).ok_or_else(|| {
            ArrowError::InvalidArgumentError(format!("{} does not fit {data_type}", value.cell()))
        })
    };
    let natives = values.iter().map(native).collect::<Result<Vec<_>, _>>()?;
    let array: PrimitiveArray<T> = natives.into_iter().collect();
    Ok(Arc::new(array.with_data_type(data_type.clone())))
}

fn times(values: &[Value], data_type: &DataType, unit: TimeUnit) -> Result<ArrayRef, ArrowError> {
    let nanos = size(unit);
    match unit {
        TimeUnit::Second => counts::<dt::Time32SecondType>(values, data_type, nanos),
        TimeUnit::Millisecond => counts::<dt::Time32MillisecondType>(values, data_type, nanos),
        TimeUnit::Microsecond => counts::<dt::Time64MicrosecondType>(values, data_type, nanos),
        TimeUnit::Nanosecond => counts::<dt::Time64NanosecondType>(values, data_type, nanos),
    }
}

fn timestamps(
    values: &[Value],
    data_type: &DataType,
    unit: TimeUnit,
) -> Result<ArrayRef, ArrowError> {
    let nanos = size(unit);
    match unit {
        TimeUnit::Second => counts::<dt::TimestampSecondType>(values, data_type, nanos),
        TimeUnit::Millisecond => counts::<dt::TimestampMillisecondType>(values, data_type, nanos),
        TimeUnit::Microsecond => counts::<dt::TimestampMicrosecondType>(values, data_type, nanos),
        TimeUnit::Nanosecond => counts::<dt::TimestampNanosecondType>(values, data_type, nanos),
    }
}

fn durations(
    values: &[Value],
    data_type: &DataType,
    unit: TimeUnit,
) -> Result<ArrayRef, ArrowError> {
    let nanos = size(unit);
    match unit {
        TimeUnit::Second => counts::<dt::DurationSecondType>(values, data_type, nanos),
        TimeUnit::Millisecond => counts::<dt::DurationMillisecondType>(values, data_type, nanos),
        TimeUnit::Microsecond => counts::<dt::DurationMicrosecondType>(values, data_type, nanos),
        TimeUnit::Nanosecond => counts::<dt::DurationNanosecondType>(values, data_type, nanos),
    }
}

fn fixed_binary(values: &[Value], size: i32) -> Result<ArrayRef, ArrowError> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(values.len(), size);
    for value in values {
        match bytes_of(value) {
            Some(bytes) => builder.append_value(bytes)?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn count_of(value: &Value) -> Option<i128> {
    if let Value::Date(days) = value {
        Some(i128::from(*days))
    } else if let Value::Time(nanos) | Value::Timestamp(nanos) = value {
        Some(*nanos)
    } else if let Value::Interval { nanos, .. } = value {
        Some(*nanos)
    } else {
        None
    }
}

pub(super) fn size(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1000,
        TimeUnit::Nanosecond => 1,
    }
}

fn decimals(values: &[Value], data_type: &DataType, scale: i8) -> Result<ArrayRef, ArrowError> {
    let digits = |value: &Value| {
        if let Value::Decimal(digits, _) = value {
            Some(*digits)
        } else {
            None
        }
    };
    let wide: PrimitiveArray<dt::Decimal256Type> = values.iter().map(digits).collect();
    let wide = wide.with_precision_and_scale(dt::DECIMAL256_MAX_PRECISION, scale)?;
    cast(&wide, data_type)
}

fn intervals(values: &[Value], unit: IntervalUnit) -> Result<ArrayRef, ArrowError> {
    let mut parts = Vec::with_capacity(values.len());
    for value in values {
        let overflow = || {
            ArrowError::InvalidArgumentError(format!("{} does not fit the interval", value.cell()))
        };
        parts.push(
            if let Value::Interval {
                months,
                days,
                nanos,
            } = value
            {
                Some((
                    *months,
                    *days,
                    i64::try_from(*nanos).map_err(|_| overflow())?,
                ))
            } else {
                None
            },
        );
    }
    let array: ArrayRef = match unit {
        IntervalUnit::YearMonth => {
            let months = parts
                .into_iter()
                .map(|part| part.map(|(months, _, _)| months));
            Arc::new(months.collect::<PrimitiveArray<dt::IntervalYearMonthType>>())
        }
        IntervalUnit::DayTime => {
            let day_times = parts.into_iter().map(|part| {
                let (_, days, nanos) = part?;
                Some(IntervalDayTime::new(
                    days,
                    i32::try_from(nanos / 1_000_000).ok()?,
                ))
            });
            Arc::new(day_times.collect::<PrimitiveArray<dt::IntervalDayTimeType>>())
        }
        IntervalUnit::MonthDayNano => {
            let all = parts
                .into_iter()
                .map(|part| part.map(|(m, d, n)| IntervalMonthDayNano::new(m, d, n)));
            Arc::new(all.collect::<PrimitiveArray<dt::IntervalMonthDayNanoType>>())
        }
    };
    Ok(array)
}

fn validity(values: &[Value]) -> NullBuffer {
    values.iter().map(|value| *value != Value::Null).collect()
}

fn items_of(value: &Value) -> &[Value] {
    if let Value::List(items) = value {
        items
    } else {
        &[]
    }
}

fn list<O: OffsetSizeTrait>(values: &[Value], item: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let flat: Vec<Value> = values.iter().flat_map(items_of).cloned().collect();
    let offsets = OffsetBuffer::<O>::from_lengths(values.iter().map(|value| items_of(value).len()));
    let child = array(&flat, item.data_type())?;
    let nulls = Some(validity(values));
    Ok(Arc::new(GenericListArray::try_new(
        Arc::clone(item),
        offsets,
        child,
        nulls,
    )?))
}

fn fixed_list(values: &[Value], item: &FieldRef, size: i32) -> Result<ArrayRef, ArrowError> {
    let len = usize::try_from(size).unwrap_or(0);
    let mut flat = Vec::with_capacity(values.len() * len);
    for value in values {
        let Value::List(items) = value else {
            flat.extend(std::iter::repeat_n(Value::Null, len));
            continue;
        };
        if items.len() != len {
            let message = format!("the array has {} items, its type has {len}", items.len());
            return Err(ArrowError::InvalidArgumentError(message));
        }
        flat.extend(items.iter().cloned());
    }
    let child = array(&flat, item.data_type())?;
    let nulls = Some(validity(values));
    Ok(Arc::new(FixedSizeListArray::try_new(
        Arc::clone(item),
        size,
        child,
        nulls,
    )?))
}

fn structs(values: &[Value], fields: &Fields) -> Result<StructArray, ArrowError> {
    let column = |idx: usize, field: &FieldRef| {
        let member = |value: &Value| {
            let Value::Struct(members) = value else {
                return Value::Null;
            };
            members
                .get(idx)
                .map_or(Value::Null, |member| member.1.clone())
        };
        let values: Vec<Value> = values.iter().map(member).collect();
        array(&values, field.data_type())
    };
    let columns: Result<Vec<_>, _> = fields
        .iter()
        .enumerate()
        .map(|(idx, field)| column(idx, field))
        .collect();
    StructArray::try_new(fields.clone(), columns?, Some(validity(values)))
}

fn map(values: &[Value], entries: &FieldRef, sorted: bool) -> Result<ArrayRef, ArrowError> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(ArrowError::SchemaError(
            "a map needs entries of key and value".to_owned(),
        ));
    };
    let pairs = |value: &Value| {
        if let Value::Map(pairs) = value {
            pairs.clone()
        } else {
            Vec::new()
        }
    };
    let lengths = values.iter().map(|value| pairs(value).len());
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    let flat: Vec<Value> = values
        .iter()
        .flat_map(pairs)
        .map(|(key, value)| Value::Struct(vec![("key".into(), key), ("value".into(), value)]))
        .collect();
    let flat = structs(&flat, fields)?;
    let nulls = Some(validity(values));
    Ok(Arc::new(MapArray::try_new(
        Arc::clone(entries),
        offsets,
        flat,
        nulls,
        sorted,
    )?))
}

fn bool_of(value: &Value) -> Option<bool> {
    if let Value::Bool(value) = value {
        Some(*value)
    } else {
        None
    }
}

fn single_of(value: &Value) -> Option<f32> {
    if let Value::Single(value) = value {
        Some(*value)
    } else {
        None
    }
}

fn float_of(value: &Value) -> Option<f64> {
    if let Value::Float(value) = value {
        Some(*value)
    } else {
        None
    }
}

fn text_of(value: &Value) -> Option<&str> {
    if let Value::Text(text) = value {
        Some(text)
    } else {
        None
    }
}

fn bytes_of(value: &Value) -> Option<&[u8]> {
    if let Value::Binary(bytes) = value {
        Some(bytes)
    } else {
        None
    }
}
