//! `time_bucket(width, time [, origin])`: the start of the bucket that a time is in.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray},
    datatypes::{
        DataType, DurationMicrosecondType, IntervalYearMonthType, TimestampMicrosecondType,
    },
};
use datafusion::{common::Result, logical_expr::ScalarUDF};
use millstream_values::{
    civil::{Civil, DAY},
    interval::{DAY_TIME, YEAR_MONTH},
};

use super::{
    misfit::failed,
    simple::{Call, Gives, Simple, Want},
};
use crate::SqlError;

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let wants = &[Want::Any, Want::Timestamp, Want::Timestamp];
    let gives = Gives::Of(|types, _| match types {
        [width, time, ..] if *width == YEAR_MONTH || *width == DAY_TIME => Ok(time.clone()),
        _ => Err(SqlError::Types {
            message: "time_bucket begins with an interval of months or of times".to_owned(),
        }),
    });
    vec![
        Simple::new("time_bucket", wants, gives, starts)
            .optional(1)
            .udf(),
    ]
}

fn starts(call: &Call<'_>) -> Result<ArrayRef> {
    let widths = &call.arguments[0];
    let times = call.arguments[1].as_primitive::<TimestampMicrosecondType>();
    let origins = call
        .arguments
        .get(2)
        .map(|origins| origins.as_primitive::<TimestampMicrosecondType>());
    let start = |row: usize| {
        let without = origins.is_some_and(|origins| origins.is_null(row));
        if widths.is_null(row) || times.is_null(row) || without {
            return Ok(None);
        }
        let origin = origins.map_or(0, |origins| origins.value(row));
        let time = times.value(row);
        let of_months = *widths.data_type() == YEAR_MONTH;
        let width = if of_months {
            i64::from(widths.as_primitive::<IntervalYearMonthType>().value(row))
        } else {
            widths.as_primitive::<DurationMicrosecondType>().value(row)
        };
        if width <= 0 {
            return Err(failed(
                "[INVALID_PARAMETER_VALUE.BUCKET_WIDTH] the width of a bucket must be positive",
            ));
        }
        let start = if of_months {
            by_months(time, origin, width)
        } else {
            by_micros(time, origin, width)
        };
        start
            .map(Some)
            .ok_or_else(|| failed("a timestamp overflows"))
    };
    let starts = (0..call.rows)
        .map(start)
        .collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(match call.gives {
        DataType::Timestamp(_, Some(zone)) => Arc::new(starts.with_timezone(Arc::clone(zone))),
        _ => Arc::new(starts),
    })
}

fn by_micros(time: i64, origin: i64, width: i64) -> Option<i64> {
    let back = (i128::from(time) - i128::from(origin)).rem_euclid(i128::from(width));
    i64::try_from(i128::from(time) - back).ok()
}

/// Months are counted from the origin, so that a day that a month lacks comes back in the next.
fn by_months(time: i64, origin: i64, width: i64) -> Option<i64> {
    let first = Civil::from_days(origin.div_euclid(DAY));
    let month = |civil: Civil| civil.year * 12 + civil.month;
    let apart = month(Civil::from_days(time.div_euclid(DAY))) - month(first);
    let start = |buckets: i64| {
        let day = first.plus_months(buckets.checked_mul(width)?).days();
        day.checked_mul(DAY)?.checked_add(origin.rem_euclid(DAY))
    };
    let buckets = apart.div_euclid(width);
    let found = start(buckets)?;
    if found > time {
        return start(buckets - 1);
    }
    Some(found)
}
