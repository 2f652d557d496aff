//! `date_part(field, x)`, which EXTRACT is written with: fields of dates, timestamps and intervals.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, Int8Array, Int32Array},
    compute::cast,
    datatypes::{
        DataType, DurationMicrosecondType, IntervalMonthDayNanoType, IntervalYearMonthType,
        TimeUnit, TimestampMicrosecondType,
    },
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::ScalarUDF,
};
use millstream_values::{
    civil::{Civil, DAY, SECOND, weekday},
    interval::{CALENDAR, DAY_TIME, YEAR_MONTH, is_interval},
};

use super::{
    misfit::failed,
    simple::{Call, Gives, Simple, Want, text_of},
};
use crate::{SqlError, types::spark_name};

/// The function's name.
pub(crate) const DATE_PART: &str = "date_part";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    YearOfWeek,
    Year,
    Quarter,
    Month,
    Week,
    Day,
    DayOfWeek,
    DayOfWeekIso,
    DayOfYear,
    Hour,
    Minute,
    Second,
}

const PARTS: &[(&str, Part)] = &[
    ("YEAROFWEEK", Part::YearOfWeek),
    ("Y", Part::Year),
    ("YEAR", Part::Year),
    ("YEARS", Part::Year),
    ("YR", Part::Year),
    ("YRS", Part::Year),
    ("QTR", Part::Quarter),
    ("QUARTER", Part::Quarter),
    ("MON", Part::Month),
    ("MONS", Part::Month),
    ("MONTH", Part::Month),
    ("MONTHS", Part::Month),
    ("W", Part::Week),
    ("WEEK", Part::Week),
    ("WEEKS", Part::Week),
    ("D", Part::Day),
    ("DAY", Part::Day),
    ("DAYS", Part::Day),
    ("DAYOFWEEK", Part::DayOfWeek),
    ("DOW", Part::DayOfWeek),
    ("DAYOFWEEK_ISO", Part::DayOfWeekIso),
    ("DOW_ISO", Part::DayOfWeekIso),
    ("DOY", Part::DayOfYear),
    ("H", Part::Hour),
    ("HOUR", Part::Hour),
    ("HOURS", Part::Hour),
    ("HR", Part::Hour),
    ("HRS", Part::Hour),
    ("M", Part::Minute),
    ("MIN", Part::Minute),
    ("MINS", Part::Minute),
    ("MINUTE", Part::Minute),
    ("MINUTES", Part::Minute),
    ("S", Part::Second),
    ("SEC", Part::Second),
    ("SECOND", Part::Second),
    ("SECONDS", Part::Second),
    ("SECS", Part::Second),
];

/// The digits of seconds with their fraction, and those of the fraction.
const SECONDS: DataType = DataType::Decimal128(8, 6);

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let wants = &[Want::Text, Want::TimeOrInterval];
    vec![
        Simple::new(DATE_PART, wants, Gives::Of(type_of), parts)
            .aliases(&["datepart"])
            .udf(),
    ]
}

fn named(name: &str) -> Option<Part> {
    let name = name.to_ascii_uppercase();
    let found = PARTS.iter().find(|(known, _)| *known == name);
    found.map(|(_, part)| *part)
}

fn part_of(literals: &[Option<&ScalarValue>], source: &DataType) -> Result<Part, SqlError> {
    let Some(name) = text_of(literals, 0) else {
        return Err(SqlError::Types {
            message: "[NON_FOLDABLE_ARGUMENT] the field of date_part must be a literal".to_owned(),
        });
    };
    named(name)
        .filter(|part| has(source, *part))
        .ok_or_else(|| SqlError::Types {
            message: format!(
                "[INVALID_EXTRACT_FIELD] {} has no such field field={name:?}",
                spark_name(source)
            ),
        })
}

fn has(source: &DataType, part: Part) -> bool {
    match source {
        found if *found == YEAR_MONTH => matches!(part, Part::Year | Part::Month),
        found if *found == DAY_TIME => {
            matches!(part, Part::Day | Part::Hour | Part::Minute | Part::Second)
        }
        found if *found == CALENDAR => !matches!(
            part,
            Part::YearOfWeek | Part::Week | Part::DayOfWeek | Part::DayOfWeekIso | Part::DayOfYear
        ),
        _ => true,
    }
}

fn type_of(types: &[DataType], literals: &[Option<&ScalarValue>]) -> Result<DataType, SqlError> {
    let source = types.get(1).unwrap_or(&DataType::Null);
    let part = part_of(literals, source)?;
    Ok(match part {
        Part::Second => SECONDS,
        Part::Quarter | Part::Month | Part::Hour | Part::Minute if is_interval(source) => {
            DataType::Int8
        }
        _ => DataType::Int32,
    })
}

fn parts(call: &Call<'_>) -> Result<ArrayRef> {
    let fields = call.arguments[0].as_string::<i32>();
    let part = (!fields.is_empty() && fields.is_valid(0)).then(|| named(fields.value(0)));
    let Some(part) = part.flatten() else {
        return Ok(arrow::array::new_null_array(call.gives, call.rows));
    };
    let values = &call.arguments[1];
    let numbers: Vec<Option<i64>> = match values.data_type() {
        found if *found == YEAR_MONTH => {
            let months = values.as_primitive::<IntervalYearMonthType>().iter();
            months
                .map(|months| months.map(|months| of_interval(part, months, 0, 0)))
                .collect()
        }
        found if *found == DAY_TIME => {
            let micros = values.as_primitive::<DurationMicrosecondType>().iter();
            micros
                .map(|all| all.map(|all| of_interval(part, 0, all / DAY, all % DAY)))
                .collect()
        }
        found if *found == CALENDAR => {
            let all = values.as_primitive::<IntervalMonthDayNanoType>().iter();
            all.map(|all| {
                all.map(|all| {
                    let micros = all.nanoseconds / 1000;
                    of_interval(part, all.months, i64::from(all.days), micros)
                })
            })
            .collect()
        }
        _ => {
            let naive = DataType::Timestamp(TimeUnit::Microsecond, None);
            let counts = cast(&cast(values, &DataType::Int64)?, &naive)?;
            let times = counts.as_primitive::<TimestampMicrosecondType>().iter();
            times.map(|at| at.map(|at| of_time(part, at))).collect()
        }
    };
    Ok(match call.gives {
        DataType::Int8 => {
            let small = numbers
                .into_iter()
                .map(|number| number.and_then(|number| i8::try_from(number).ok()));
            Arc::new(small.collect::<Int8Array>())
        }
        DataType::Decimal128(precision, scale) => {
            let micros = numbers.into_iter().map(|micros| micros.map(i128::from));
            let micros = micros.collect::<Decimal128Array>();
            Arc::new(micros.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Int32 => {
            let whole = numbers.into_iter().map(|number| {
                number
                    .map(|number| {
                        i32::try_from(number).map_err(|_| failed("a field has no place in an INT"))
                    })
                    .transpose()
            });
            Arc::new(whole.collect::<Result<Int32Array>>()?)
        }
        _ => return Err(failed("a field became something else")),
    })
}

/// A field of an interval; seconds in microseconds.
fn of_interval(part: Part, months: i32, days: i64, micros: i64) -> i64 {
    match part {
        Part::Year => i64::from(months / 12),
        Part::Quarter => i64::from(months % 12 / 3 + 1),
        Part::Month => i64::from(months % 12),
        Part::Hour => micros / (3600 * SECOND),
        Part::Minute => micros / (60 * SECOND) % 60,
        Part::Second => micros % (60 * SECOND),
        _ => days,
    }
}

/// A field of a time; seconds in microseconds.
fn of_time(part: Part, at: i64) -> i64 {
    let days = at.div_euclid(DAY);
    let civil = Civil::from_days(days);
    match part {
        // A week belongs to the year of its Thursday.
        Part::YearOfWeek => Civil::from_days(days - weekday(days) + 3).year,
        Part::Year => civil.year,
        Part::Quarter => civil.quarter(),
        Part::Month => civil.month,
        Part::Week => civil.week(),
        Part::Day => civil.day,
        Part::DayOfWeek => (weekday(days) + 1) % 7 + 1,
        Part::DayOfWeekIso => weekday(days) + 1,
        Part::DayOfYear => civil.day_of_year(),
        Part::Hour => at.rem_euclid(DAY) / (3600 * SECOND),
        Part::Minute => at.rem_euclid(DAY) / (60 * SECOND) % 60,
        Part::Second => at.rem_euclid(60 * SECOND),
    }
}
