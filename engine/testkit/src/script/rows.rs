//! Arrow arrays to values, one row at a time: scripts are small, legibility comes first.

use super::{arrays::size, value::Value};
use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Float16Array, RecordBatch},
    compute::cast,
    datatypes::{self as dt, DataType, FieldRef, IntervalUnit, TimeUnit, i256},
    util::display::array_value_to_string,
};

/// Every row of a batch as values.
#[must_use]
pub fn rows_of_batch(batch: &RecordBatch) -> Vec<Vec<Value>> {
    let row = |idx| {
        batch
            .columns()
            .iter()
            .map(|column| value_at(column, idx))
            .collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

/// One place of an array as a value.
fn value_at(array: &ArrayRef, idx: usize) -> Value {
    if array.is_null(idx) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Bool(array.as_boolean().value(idx)),
        DataType::Int8 => int_at::<dt::Int8Type>(array, idx),
        DataType::Int16 => int_at::<dt::Int16Type>(array, idx),
        DataType::Int32 => int_at::<dt::Int32Type>(array, idx),
        DataType::Int64 => int_at::<dt::Int64Type>(array, idx),
        DataType::UInt8 => int_at::<dt::UInt8Type>(array, idx),
        DataType::UInt16 => int_at::<dt::UInt16Type>(array, idx),
        DataType::UInt32 => int_at::<dt::UInt32Type>(array, idx),
        DataType::UInt64 => int_at::<dt::UInt64Type>(array, idx),
        DataType::Float16 => half_at(array, idx),
        DataType::Float32 => Value::Single(array.as_primitive::<dt::Float32Type>().value(idx)),
        DataType::Float64 => Value::Float(array.as_primitive::<dt::Float64Type>().value(idx)),
        DataType::Decimal32(_, scale) => {
            let digits = array.as_primitive::<dt::Decimal32Type>().value(idx);
            Value::Decimal(i256::from_i128(digits.into()), *scale)
        }
        DataType::Decimal64(_, scale) => {
            let digits = array.as_primitive::<dt::Decimal64Type>().value(idx);
            Value::Decimal(i256::from_i128(digits.into()), *scale)
        }
        DataType::Decimal128(_, scale) => {
            let digits = array.as_primitive::<dt::Decimal128Type>().value(idx);
            Value::Decimal(i256::from_i128(digits), *scale)
        }
        DataType::Decimal256(_, scale) => Value::Decimal(
            array.as_primitive::<dt::Decimal256Type>().value(idx),
            *scale,
        ),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(idx).to_owned()),
        DataType::LargeUtf8 => Value::Text(array.as_string::<i64>().value(idx).to_owned()),
        DataType::Utf8View => Value::Text(array.as_string_view().value(idx).to_owned()),
        DataType::Binary => Value::Binary(array.as_binary::<i32>().value(idx).to_vec()),
        DataType::LargeBinary => Value::Binary(array.as_binary::<i64>().value(idx).to_vec()),
        DataType::BinaryView => Value::Binary(array.as_binary_view().value(idx).to_vec()),
        DataType::FixedSizeBinary(_) => {
            Value::Binary(array.as_fixed_size_binary().value(idx).to_vec())
        }
        DataType::Date32 => Value::Date(array.as_primitive::<dt::Date32Type>().value(idx).into()),
        DataType::Date64 => {
            let millis = array.as_primitive::<dt::Date64Type>().value(idx);
            Value::Date(millis.div_euclid(86_400_000))
        }
        DataType::Time32(unit) | DataType::Time64(unit) => Value::Time(time_at(array, idx, *unit)),
        DataType::Timestamp(unit, _) => Value::Timestamp(timestamp_at(array, idx, *unit)),
        DataType::Duration(unit) => Value::Interval {
            months: 0,
            days: 0,
            nanos: duration_at(array, idx, *unit),
        },
        DataType::Interval(unit) => interval_at(array, idx, *unit),
        DataType::List(_) => list_value(&array.as_list::<i32>().value(idx)),
        DataType::LargeList(_) => list_value(&array.as_list::<i64>().value(idx)),
        DataType::FixedSizeList(..) => list_value(&array.as_fixed_size_list().value(idx)),
        DataType::ListView(_) => list_value(&array.as_list_view::<i32>().value(idx)),
        DataType::LargeListView(_) => list_value(&array.as_list_view::<i64>().value(idx)),
        DataType::Struct(fields) => struct_at(array, idx, fields),
        DataType::Map(..) => map_at(array, idx),
        DataType::Dictionary(_, value) => decoded(array, idx, value),
        DataType::RunEndEncoded(_, values) => decoded(array, idx, values.data_type()),
        DataType::Union(..) => shown(array, idx),
    }
}

fn half_at(array: &ArrayRef, idx: usize) -> Value {
    let halves: &Float16Array = array.as_primitive();
    Value::Single(halves.value(idx).to_f32())
}

fn struct_at(array: &ArrayRef, idx: usize, fields: &dt::Fields) -> Value {
    let columns = array.as_struct().columns();
    let member =
        |(field, column): (&FieldRef, &ArrayRef)| (field.name().clone(), value_at(column, idx));
    Value::Struct(fields.iter().zip(columns).map(member).collect())
}

fn map_at(array: &ArrayRef, idx: usize) -> Value {
    let entries = array.as_map().value(idx);
    let (keys, values) = (entries.column(0), entries.column(1));
    let pair = |at| (value_at(keys, at), value_at(values, at));
    Value::Map((0..entries.len()).map(pair).collect())
}

/// A value of a dictionary or of a run, without them.
fn decoded(array: &ArrayRef, idx: usize, plain: &DataType) -> Value {
    match cast(&array.slice(idx, 1), plain) {
        Ok(plain) => value_at(&plain, 0),
        Err(_) => shown(array, idx),
    }
}

/// For the rare types: what Arrow shows.
fn shown(array: &ArrayRef, idx: usize) -> Value {
    Value::Text(array_value_to_string(array, idx).unwrap_or_else(|error| error.to_string()))
}

fn int_at<T>(array: &ArrayRef, idx: usize) -> Value
where
    T: ArrowPrimitiveType,
    i128: From<T::Native>,
{
    Value::Int(i128::from(array.as_primitive::<T>().value(idx)))
}

fn time_at(array: &ArrayRef, idx: usize, unit: TimeUnit) -> i128 {
    let count = match unit {
        TimeUnit::Second => array
            .as_primitive::<dt::Time32SecondType>()
            .value(idx)
            .into(),
        TimeUnit::Millisecond => array
            .as_primitive::<dt::Time32MillisecondType>()
            .value(idx)
            .into(),
        TimeUnit::Microsecond => array.as_primitive::<dt::Time64MicrosecondType>().value(idx),
        TimeUnit::Nanosecond => array.as_primitive::<dt::Time64NanosecondType>().value(idx),
    };
    i128::from(count) * size(unit)
}

fn timestamp_at(array: &ArrayRef, idx: usize, unit: TimeUnit) -> i128 {
    let count = match unit {
        TimeUnit::Second => array.as_primitive::<dt::TimestampSecondType>().value(idx),
        TimeUnit::Millisecond => array
            .as_primitive::<dt::TimestampMillisecondType>()
            .value(idx),
        TimeUnit::Microsecond => array
            .as_primitive::<dt::TimestampMicrosecondType>()
            .value(idx),
        TimeUnit::Nanosecond => array
            .as_primitive::<dt::TimestampNanosecondType>()
            .value(idx),
    };
    i128::from(count) * size(unit)
}

fn duration_at(array: &ArrayRef, idx: usize, unit: TimeUnit) -> i128 {
    let count = match unit {
        TimeUnit::Second => array.as_primitive::<dt::DurationSecondType>().value(idx),
        TimeUnit::Millisecond => array
            .as_primitive::<dt::DurationMillisecondType>()
            .value(idx),
        TimeUnit::Microsecond => array
            .as_primitive::<dt::DurationMicrosecondType>()
            .value(idx),
        TimeUnit::Nanosecond => array
            .as_primitive::<dt::DurationNanosecondType>()
            .value(idx),
    };
    i128::from(count) * size(unit)
}

fn interval_at(array: &ArrayRef, idx: usize, unit: IntervalUnit) -> Value {
    match unit {
        IntervalUnit::YearMonth => {
            let months = array.as_primitive::<dt::IntervalYearMonthType>().value(idx);
            Value::Interval {
                months,
                days: 0,
                nanos: 0,
            }
        }
        IntervalUnit::DayTime => {
            let value = array.as_primitive::<dt::IntervalDayTimeType>().value(idx);
            let nanos = i128::from(value.milliseconds) * 1_000_000;
            Value::Interval {
                months: 0,
                days: value.days,
                nanos,
            }
        }
        IntervalUnit::MonthDayNano => {
            let value = array
                .as_primitive::<dt::IntervalMonthDayNanoType>()
                .value(idx);
            let nanos = i128::from(value.nanoseconds);
            Value::Interval {
                months: value.months,
                days: value.days,
                nanos,
            }
        }
    }
}

fn list_value(items: &ArrayRef) -> Value {
    Value::List((0..items.len()).map(|idx| value_at(items, idx)).collect())
}
