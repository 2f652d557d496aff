//! What windows are as values: a struct of two timestamps, in the zone of its column.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray},
    buffer::NullBuffer,
    compute::cast,
    datatypes::{DataType, Field, Fields, TimeUnit, TimestampMicrosecondType},
};
use datafusion::common::{DataFusionError, Result};

use super::misfit::failed;

/// `STRUCT<start, end>` over timestamps of one kind.
pub(crate) fn window_type(time: &DataType) -> DataType {
    DataType::Struct(window_fields(time))
}

pub(crate) fn window_fields(time: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("start", time.clone(), true),
        Field::new("end", time.clone(), true),
    ])
}

/// The timestamps inside a window's type, or the type itself.
pub(crate) fn time_of(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Struct(fields) if fields.len() == 2 => fields[1].data_type(),
        other => other,
    }
}

/// Microseconds of a timestamp, or of a window's last instant.
pub(crate) fn event_times(input: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let naked = |array: &ArrayRef| -> Result<TimestampMicrosecondArray> {
        let plain = match array.data_type() {
            // Casting away the zone keeps the instant in UTC.
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => cast(array, &DataType::Int64)?,
            _ => Arc::clone(array),
        };
        Ok(cast(&plain, &micros)?
            .as_primitive::<TimestampMicrosecondType>()
            .clone())
    };
    let Some(window) = input.as_struct_opt() else {
        return naked(input);
    };
    let end = naked(window.column(1))?;
    if end.iter().flatten().any(|end| end == i64::MIN) {
        return Err(beyond());
    }
    let last = end.unary::<_, TimestampMicrosecondType>(|end| end.wrapping_sub(1));
    let nulls = NullBuffer::union(window.nulls(), last.nulls());
    Ok(TimestampMicrosecondArray::new(last.values().clone(), nulls))
}

/// Timestamps as they are written in the zone of their column.
pub(crate) fn with_zone(array: TimestampMicrosecondArray, zone: &DataType) -> Result<ArrayRef> {
    Ok(match zone {
        DataType::Timestamp(_, Some(zone)) => Arc::new(array.with_timezone(Arc::clone(zone))),
        _ => Arc::new(array),
    })
}

/// The error of a row of which a window begins or ends beyond what a timestamp can say.
pub(crate) fn beyond() -> DataFusionError {
    failed("[ARITHMETIC_OVERFLOW] a window reaches beyond the first or last timestamp")
}
