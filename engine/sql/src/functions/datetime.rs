//! Spark's functions of dates and timestamps, in UTC and with Java's patterns.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    },
    compute::cast,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimeUnit,
        TimestampMicrosecondType,
    },
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{Expr, ScalarUDF, expr::ScalarFunction},
};
use millstream_values::{
    civil::{Civil, DAY, SECOND, month_days, weekday},
    pattern::{month_name, weekday_name},
    zone::Zone,
};

use super::{
    misfit::{Misfit, failed},
    patterned::{check_pattern, parsed, written},
    simple::{Call, Gives, Simple, Want},
    values,
};
use crate::{SqlError, types::timestamp};

/// The name of what casts of timestamps to texts become.
pub(crate) const TIME_TEXT: &str = "__time_text";

const TIME: &[Want] = &[Want::Timestamp];
const MAYBE_PATTERN: &[Want] = &[Want::Any, Want::Text];

const fn part(name: &'static str, run: super::simple::Run) -> Simple {
    Simple::new(name, TIME, Gives::Int, run)
}

const TABLE: &[Simple] = &[
    part("year", |call| parts(call, |at| civil(at).year)),
    part("quarter", |call| parts(call, |at| civil(at).quarter())),
    part("month", |call| parts(call, |at| civil(at).month)),
    part("day", |call| parts(call, |at| civil(at).day)).aliases(&["dayofmonth"]),
    part("dayofyear", |call| {
        parts(call, |at| civil(at).day_of_year())
    }),
    part("weekofyear", |call| parts(call, |at| civil(at).week())),
    // Sunday is 1.
    part("dayofweek", |call| {
        parts(call, |at| (weekday(at.div_euclid(DAY)) + 1) % 7 + 1)
    }),
    part("weekday", |call| {
        parts(call, |at| weekday(at.div_euclid(DAY)))
    }),
    part("hour", |call| {
        parts(call, |at| at.rem_euclid(DAY) / (3600 * SECOND))
    }),
    part("minute", |call| {
        parts(call, |at| at.rem_euclid(DAY) / (60 * SECOND) % 60)
    }),
    part("second", |call| {
        parts(call, |at| at.rem_euclid(DAY) / SECOND % 60)
    }),
    Simple::new("dayname", TIME, Gives::Text, |call| {
        texts(call, |at| {
            let name = weekday_name(weekday(at.div_euclid(DAY)));
            name.get(..3).unwrap_or(name).to_owned()
        })
    }),
    Simple::new("monthname", TIME, Gives::Text, |call| {
        texts(call, |at| {
            let name = month_name(civil(at).month);
            name.get(..3).unwrap_or(name).to_owned()
        })
    }),
    Simple::new("unix_seconds", TIME, Gives::Long, |call| {
        longs(call, |at| at.div_euclid(SECOND))
    }),
    Simple::new("unix_millis", TIME, Gives::Long, |call| {
        longs(call, |at| at.div_euclid(1000))
    }),
    Simple::new("unix_micros", TIME, Gives::Long, |call| {
        longs(call, |at| at)
    }),
    Simple::new("unix_timestamp", MAYBE_PATTERN, Gives::Long, |call| {
        let times = read(call)?;
        // Towards 1970, unlike unix_seconds.
        longs_of(&times, |at| at / SECOND)
    })
    .optional(1)
    .aliases(&["to_unix_timestamp"])
    .checked(check_pattern),
    Simple::new("timestamp_seconds", &[Want::Any], Gives::Timestamp, seconds),
    Simple::new(
        "timestamp_millis",
        &[Want::Long],
        Gives::Timestamp,
        |call| scaled(call, 1000),
    ),
    Simple::new(
        "timestamp_micros",
        &[Want::Long],
        Gives::Timestamp,
        |call| scaled(call, 1),
    ),
    Simple::new("date_from_unix_date", &[Want::Int], Gives::Date, |call| {
        Ok(cast(&call.arguments[0], &DataType::Date32)?)
    }),
    Simple::new(
        "from_unixtime",
        &[Want::Long, Want::Text],
        Gives::Text,
        from_unixtime,
    )
    .optional(1)
    .checked(check_pattern),
    Simple::new(
        "date_format",
        &[Want::Timestamp, Want::Text],
        Gives::Text,
        |call| {
            let at = call.arguments[0].as_primitive::<TimestampMicrosecondType>();
            written(at, call.arguments.get(1), &Zone::utc())
        },
    )
    .checked(check_pattern),
    Simple::new("to_timestamp", MAYBE_PATTERN, Gives::Timestamp, |call| {
        Ok(zoned(read(call)?))
    })
    .optional(1)
    .aliases(&["to_timestamp_ltz"])
    .checked(check_pattern),
    Simple::new("to_timestamp_ntz", MAYBE_PATTERN, Gives::Naive, |call| {
        Ok(Arc::new(read(call)?))
    })
    .optional(1)
    .checked(check_pattern),
    Simple::new(
        "try_to_timestamp",
        MAYBE_PATTERN,
        Gives::Timestamp,
        |call| Ok(zoned(read_or_null(call)?)),
    )
    .optional(1)
    .checked(check_pattern),
    // What a cast of a timestamp to a text means.
    Simple::new(TIME_TEXT, TIME, Gives::Text, |call| {
        values::texts(&call.arguments[0])
    }),
    Simple::new("to_date", MAYBE_PATTERN, Gives::Date, |call| {
        dates_of(&read(call)?)
    })
    .optional(1)
    .checked(check_pattern),
    Simple::new(
        "date_trunc",
        &[Want::Text, Want::Timestamp],
        Gives::Of(second_type),
        truncated,
    ),
    Simple::new(
        "make_date",
        &[Want::Int, Want::Int, Want::Int],
        Gives::Date,
        make_date,
    ),
    Simple::new(
        "make_timestamp",
        &[
            Want::Int,
            Want::Int,
            Want::Int,
            Want::Int,
            Want::Int,
            Want::Double,
        ],
        Gives::Timestamp,
        |call| Ok(zoned(make_timestamp(call)?)),
    ),
    Simple::new(
        "make_timestamp_ntz",
        &[
            Want::Int,
            Want::Int,
            Want::Int,
            Want::Int,
            Want::Int,
            Want::Double,
        ],
        Gives::Naive,
        |call| Ok(Arc::new(make_timestamp(call)?)),
    ),
    Simple::new(
        "months_between",
        &[Want::Timestamp, Want::Timestamp, Want::Boolean],
        Gives::Double,
        |call| {
            let later = call.arguments[0].as_primitive::<TimestampMicrosecondType>();
            let earlier = call.arguments[1].as_primitive::<TimestampMicrosecondType>();
            let rounds = call.arguments.get(2).map(|rounds| rounds.as_boolean());
            let between = |row: usize| {
                let there = later.is_valid(row) && earlier.is_valid(row);
                let rounds = match rounds {
                    None => Some(true),
                    Some(rounds) => rounds.is_valid(row).then(|| rounds.value(row)),
                };
                let exact = there.then(|| months_between(later.value(row), earlier.value(row)))?;
                Some(if rounds? {
                    (exact * 1e8).round() / 1e8
                } else {
                    exact
                })
            };
            Ok(Arc::new(
                (0..call.rows).map(between).collect::<Float64Array>(),
            ))
        },
    )
    .optional(1),
    Simple::new("date_add", &[Want::Date, Want::Int], Gives::Date, |call| {
        days_of(call, |days, more| days.checked_add(more))
    })
    .aliases(&["dateadd"]),
    Simple::new("date_sub", &[Want::Date, Want::Int], Gives::Date, |call| {
        days_of(call, |days, less| days.checked_sub(less))
    }),
    Simple::new("last_day", &[Want::Date], Gives::Date, |call| {
        let dates = call.arguments[0].as_primitive::<Date32Type>();
        let last: Date32Array = dates
            .iter()
            .map(|days| {
                let civil = Civil::from_days(i64::from(days?));
                let day = month_days(civil.year, civil.month);
                i32::try_from(Civil { day, ..civil }.days()).ok()
            })
            .collect();
        Ok(Arc::new(last))
    }),
    Simple::new("next_day", &[Want::Date, Want::Text], Gives::Date, next_day),
    Simple::new(
        "add_months",
        &[Want::Date, Want::Int],
        Gives::Date,
        |call| {
            let dates = call.arguments[0].as_primitive::<Date32Type>();
            let months = call.arguments[1].as_primitive::<Int32Type>();
            let later: Date32Array = dates
                .iter()
                .zip(months)
                .map(|(days, months)| {
                    let later = Civil::from_days(i64::from(days?)).plus_months(i64::from(months?));
                    i32::try_from(later.days()).ok()
                })
                .collect();
            Ok(Arc::new(later))
        },
    ),
];

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

/// A timestamp as a text.
pub(crate) fn time_text(expr: Expr) -> Expr {
    time_call(TIME_TEXT, expr)
}

/// A call of one of these functions of one argument, by its name; the argument for another name.
pub(crate) fn time_call(name: &str, expr: Expr) -> Expr {
    match time_function(name) {
        Some(function) => Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![expr])),
        None => expr,
    }
}

/// One of these functions, by its name.
pub(crate) fn time_function(name: &str) -> Option<Arc<ScalarUDF>> {
    let simple = TABLE.iter().find(|simple| simple.name == name);
    simple.map(|simple| simple.udf())
}

fn second_type(
    types: &[DataType],
    _literals: &[Option<&ScalarValue>],
) -> Result<DataType, SqlError> {
    Ok(types.get(1).cloned().unwrap_or_else(timestamp))
}

fn civil(micros: i64) -> Civil {
    Civil::from_days(micros.div_euclid(DAY))
}

fn zoned(times: TimestampMicrosecondArray) -> ArrayRef {
    Arc::new(times.with_timezone("UTC"))
}

fn parts(call: &Call<'_>, of: fn(i64) -> i64) -> Result<ArrayRef> {
    let at = call.arguments[0].as_primitive::<TimestampMicrosecondType>();
    let parts: Int32Array = at
        .iter()
        .map(|at| at.and_then(|at| i32::try_from(of(at)).ok()))
        .collect();
    Ok(Arc::new(parts))
}

fn longs(call: &Call<'_>, of: fn(i64) -> i64) -> Result<ArrayRef> {
    longs_of(
        call.arguments[0].as_primitive::<TimestampMicrosecondType>(),
        of,
    )
}

fn longs_of(at: &TimestampMicrosecondArray, of: fn(i64) -> i64) -> Result<ArrayRef> {
    let numbers: Int64Array = at.iter().map(|at| at.map(of)).collect();
    Ok(Arc::new(numbers))
}

fn texts(call: &Call<'_>, of: fn(i64) -> String) -> Result<ArrayRef> {
    let at = call.arguments[0].as_primitive::<TimestampMicrosecondType>();
    let texts: StringArray = at.iter().map(|at| at.map(of)).collect();
    Ok(Arc::new(texts))
}

fn dates_of(at: &TimestampMicrosecondArray) -> Result<ArrayRef> {
    let dates: Date32Array = at
        .iter()
        .map(|at| at.and_then(|at| i32::try_from(at.div_euclid(DAY)).ok()))
        .collect();
    Ok(Arc::new(dates))
}

/// Instants of text by a pattern, or of dates and timestamps. A text that does not fit fails.
fn read(call: &Call<'_>) -> Result<TimestampMicrosecondArray> {
    let naive = DataType::Timestamp(TimeUnit::Microsecond, None);
    let input = &call.arguments[0];
    match input.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {}
        DataType::Timestamp(_, Some(_)) => {
            let counts = cast(&cast(input, &timestamp())?, &DataType::Int64)?;
            return Ok(cast(&counts, &naive)?.as_primitive().clone());
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            return seconds_of(input);
        }
        _ => return Ok(cast(input, &naive)?.as_primitive().clone()),
    }
    let Some(patterns) = call.arguments.get(1) else {
        let strict = arrow::compute::CastOptions {
            safe: false,
            ..Default::default()
        };
        let read = arrow::compute::cast_with_options(input, &timestamp(), &strict)
            .map_err(|_| failed("[CAST_INVALID_INPUT] a text is no timestamp"))?;
        let counts = cast(&read, &DataType::Int64)?;
        return Ok(cast(&counts, &naive)?.as_primitive().clone());
    };
    parsed(input, patterns, Misfit::Fails, &Zone::utc())
}

fn read_or_null(call: &Call<'_>) -> Result<TimestampMicrosecondArray> {
    match (call.arguments[0].data_type(), call.arguments.get(1)) {
        (DataType::Utf8, Some(patterns)) => {
            parsed(&call.arguments[0], patterns, Misfit::IsNull, &Zone::utc())
        }
        (DataType::Utf8, None) => {
            let counts = cast(&cast(&call.arguments[0], &timestamp())?, &DataType::Int64)?;
            let naive = DataType::Timestamp(TimeUnit::Microsecond, None);
            Ok(cast(&counts, &naive)?.as_primitive().clone())
        }
        _ => read(call),
    }
}

fn from_unixtime(call: &Call<'_>) -> Result<ArrayRef> {
    let seconds = call.arguments[0].as_primitive::<Int64Type>();
    let at = checked_scale(seconds, SECOND)?;
    written(&at, call.arguments.get(1), &Zone::utc())
}

fn checked_scale(counts: &Int64Array, unit: i64) -> Result<TimestampMicrosecondArray> {
    counts
        .iter()
        .map(|count| {
            count
                .map(|count| {
                    count
                        .checked_mul(unit)
                        .ok_or_else(|| failed("a timestamp overflows"))
                })
                .transpose()
        })
        .collect::<Result<TimestampMicrosecondArray>>()
}

fn scaled(call: &Call<'_>, unit: i64) -> Result<ArrayRef> {
    let counts = call.arguments[0].as_primitive::<Int64Type>();
    Ok(zoned(checked_scale(counts, unit)?))
}

fn seconds(call: &Call<'_>) -> Result<ArrayRef> {
    Ok(zoned(seconds_of(&call.arguments[0])?))
}

fn seconds_of(input: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    match input.data_type() {
        DataType::Float32 | DataType::Float64 => {
            let numbers = cast(input, &DataType::Float64)?;
            let micros: Float64Array = numbers
                .as_primitive::<Float64Type>()
                .unary(|seconds| (seconds * 1e6).trunc());
            let micros = cast(&micros, &DataType::Int64)?;
            checked_scale(micros.as_primitive(), 1)
        }
        DataType::Decimal128(..) => {
            let numbers = cast(input, &DataType::Decimal128(38, 6))?;
            let micros = numbers.as_primitive::<Decimal128Type>().iter();
            Ok(micros
                .map(|micros| micros.and_then(|micros| i64::try_from(micros).ok()))
                .collect())
        }
        _ => {
            let counts = cast(input, &DataType::Int64)?;
            checked_scale(counts.as_primitive(), SECOND)
        }
    }
}

/// The start of the unit that an instant is in; `None` for an unknown unit.
fn truncate(unit: &str, at: i64) -> Option<i64> {
    let floor = |unit: i64| at - at.rem_euclid(unit);
    let day = civil(at);
    let first = |month: i64| {
        let first = Civil {
            year: day.year,
            month,
            day: 1,
        };
        first.days() * DAY
    };
    Some(match unit.to_ascii_uppercase().as_str() {
        "MICROSECOND" => at,
        "MILLISECOND" => floor(1000),
        "SECOND" => floor(SECOND),
        "MINUTE" => floor(60 * SECOND),
        "HOUR" => floor(3600 * SECOND),
        "DAY" | "DD" => floor(DAY),
        "WEEK" => floor(DAY) - weekday(at.div_euclid(DAY)) * DAY,
        "MONTH" | "MON" | "MM" => first(day.month),
        "QUARTER" => first((day.quarter() - 1) * 3 + 1),
        "YEAR" | "YYYY" | "YY" => first(1),
        _ => return None,
    })
}

fn truncated(call: &Call<'_>) -> Result<ArrayRef> {
    let units = call.arguments[0].as_string::<i32>();
    let at = call.arguments[1].as_primitive::<TimestampMicrosecondType>();
    let out: TimestampMicrosecondArray = units
        .iter()
        .zip(at)
        .map(|(unit, at)| truncate(unit?, at?))
        .collect();
    Ok(match call.gives {
        DataType::Timestamp(_, Some(zone)) => Arc::new(out.with_timezone(Arc::clone(zone))),
        _ => Arc::new(out),
    })
}

fn days_of(call: &Call<'_>, of: fn(i32, i32) -> Option<i32>) -> Result<ArrayRef> {
    let dates = call.arguments[0].as_primitive::<Date32Type>();
    let numbers = call.arguments[1].as_primitive::<Int32Type>();
    let out = dates
        .iter()
        .zip(numbers)
        .map(|pair| match pair {
            (Some(days), Some(number)) => of(days, number)
                .map(Some)
                .ok_or_else(|| failed("a date overflows")),
            _ => Ok(None),
        })
        .collect::<Result<Date32Array>>()?;
    Ok(Arc::new(out))
}

/// The first such weekday after a date; two letters of its name are enough.
fn next_day(call: &Call<'_>) -> Result<ArrayRef> {
    let dates = call.arguments[0].as_primitive::<Date32Type>();
    let names = call.arguments[1].as_string::<i32>();
    let mut out = Date32Array::builder(call.rows);
    for pair in dates.iter().zip(names) {
        let (Some(days), Some(name)) = pair else {
            out.append_null();
            continue;
        };
        let wanted = (0..7).find(|at| {
            let full = weekday_name(*at).to_ascii_uppercase();
            name.len() >= 2 && full.starts_with(&name.to_ascii_uppercase())
        });
        let wanted = wanted.ok_or_else(|| {
            failed("[ILLEGAL_DAY_OF_WEEK] next_day got a text that is no weekday")
        })?;
        let ahead = (wanted - weekday(i64::from(days)) + 6).rem_euclid(7) + 1;
        out.append_value(days + i32::try_from(ahead).unwrap_or(7));
    }
    Ok(Arc::new(out.finish()))
}

/// The arguments of a row as numbers.
fn numbers(call: &Call<'_>, row: usize, count: usize) -> Option<Vec<i64>> {
    (0..count)
        .map(|at| {
            let column = call.arguments[at].as_primitive::<Int32Type>();
            column.is_valid(row).then(|| i64::from(column.value(row)))
        })
        .collect()
}

fn make_date(call: &Call<'_>) -> Result<ArrayRef> {
    let mut out = Date32Array::builder(call.rows);
    for row in 0..call.rows {
        let Some(parts) = numbers(call, row, 3) else {
            out.append_null();
            continue;
        };
        let days = Civil::checked(parts[0], parts[1], parts[2])
            .and_then(|civil| i32::try_from(civil.days()).ok())
            .ok_or_else(|| {
                failed("[DATETIME_FIELD_OUT_OF_BOUNDS] make_date got parts that are no date")
            })?;
        out.append_value(days);
    }
    Ok(Arc::new(out.finish()))
}

fn make_timestamp(call: &Call<'_>) -> Result<TimestampMicrosecondArray> {
    let seconds = call.arguments[5].as_primitive::<Float64Type>();
    let mut out = TimestampMicrosecondArray::builder(call.rows);
    for row in 0..call.rows {
        let Some(parts) = numbers(call, row, 5).filter(|_| seconds.is_valid(row)) else {
            out.append_null();
            continue;
        };
        let clock = (0..24).contains(&parts[3]) && (0..60).contains(&parts[4]);
        // The cast saturates, and what it saturates to fails the check.
        let micros = cast_micros(seconds.value(row));
        let at = Civil::checked(parts[0], parts[1], parts[2])
            .filter(|_| clock && (0..=60 * SECOND).contains(&micros))
            .map(|civil| civil.days() * DAY + (parts[3] * 3600 + parts[4] * 60) * SECOND + micros)
            .ok_or_else(|| {
                failed(
                    "[DATETIME_FIELD_OUT_OF_BOUNDS] make_timestamp got parts that are no timestamp",
                )
            })?;
        out.append_value(at);
    }
    Ok(out.finish())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "checked by the caller; casts saturate"
)]
fn cast_micros(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

/// Months and 31sts of a month.
#[expect(
    clippy::cast_precision_loss,
    reason = "months and seconds of a month are small"
)]
fn months_between(later: i64, earlier: i64) -> f64 {
    let (l, e) = (civil(later), civil(earlier));
    let months = (l.year - e.year) * 12 + l.month - e.month;
    let is_last = |day: Civil| day.day == month_days(day.year, day.month);
    if l.day == e.day || (is_last(l) && is_last(e)) {
        return months as f64;
    }
    let in_month = |day: Civil, at: i64| day.day * 86_400 + at.rem_euclid(DAY) / SECOND;
    let seconds = in_month(l, later) - in_month(e, earlier);
    months as f64 + seconds as f64 / (31.0 * 86_400.0)
}
