//! `calendar_window(time, '1 day', 'Europe/Berlin')`: days, weeks, months and years of a place.
//!
//! `window` counts microseconds in UTC, as Spark does, so its days begin at the same instant for
//! everybody. These windows begin at midnight where people are, so a day may have 23 or 25 hours.
//! The result is a window like any other: it closes when the watermark reaches its end.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, StructArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, FieldRef},
};
use chrono::{DateTime, Duration, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility,
    },
};
use millstream_values::civil::{Civil, DAY};

use super::window_values::{beyond, event_times, time_of, window_fields, window_type, with_zone};
use crate::{SqlError, ddl::parse_interval, types::timestamp};

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Days(i64),
    Months(i64),
}

/// Windows of a calendar: how long, and where.
struct Calendar {
    length: Length,
    zone: Tz,
}

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CalendarWindow {
    signature: Signature,
}

/// The function that users see.
pub(crate) fn function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(CalendarWindow {
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

/// The time of a call, if the expression is one.
pub(crate) fn time(expr: &Expr) -> Option<&Expr> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    call.func.inner().downcast_ref::<CalendarWindow>()?;
    call.args.first()
}

impl Calendar {
    fn new(length: &str, zone: &str) -> Result<Calendar, SqlError> {
        let wrong = |reason: String| SqlError::Window { reason };
        let interval = parse_interval(length)?;
        let (months, micros) = (i64::from(interval.months()), interval.micros());
        let length = match (months, micros) {
            (months, 0) if months > 0 => Length::Months(months),
            (0, micros) if micros > 0 && micros % DAY == 0 => Length::Days(micros / DAY),
            _ => {
                return Err(wrong(
                    "a calendar window is a number of days, weeks, months or years".to_owned(),
                ));
            }
        };
        let zone = zone
            .parse()
            .map_err(|_| wrong(format!("{zone} is no time zone such as Europe/Berlin")))?;
        Ok(Calendar { length, zone })
    }

    /// Instants whose days and zones chrono can tell: it panics where an offset leads out of its years.
    /// All others are more than 262 000 years away.
    fn reaches(at: i64) -> bool {
        let within = |limit: DateTime<Utc>, inwards: i64| limit.timestamp_micros() + inwards;
        (within(DateTime::<Utc>::MIN_UTC, 2 * DAY)..=within(DateTime::<Utc>::MAX_UTC, -2 * DAY))
            .contains(&at)
    }

    /// Midnight of a day, given by its number after 1970-01-01. Where the clock jumps over midnight
    /// the day begins when the clock goes on; where midnight comes twice, with the first.
    fn midnight(&self, day: i64) -> Option<i64> {
        let date = NaiveDate::from_ymd_opt(1970, 1, 1)?;
        let date = date.checked_add_signed(Duration::try_days(day)?)?;
        if !Calendar::reaches(date.and_time(NaiveTime::MIN).and_utc().timestamp_micros()) {
            return None;
        }
        let mut local = date.and_time(NaiveTime::MIN);
        // A place that moved over the date line has skipped a whole day.
        for _ in 0..=24 * 60 {
            if let Some(at) = self.zone.from_local_datetime(&local).earliest() {
                return Some(at.timestamp_micros());
            }
            local = local.checked_add_signed(Duration::minutes(1))?;
        }
        None
    }

    /// The window that holds an instant; `None` if its days have no names here.
    fn around(&self, at: i64) -> Option<(i64, i64)> {
        if !Calendar::reaches(at) {
            return None;
        }
        let utc = DateTime::from_timestamp_micros(at)?.naive_utc();
        let local = self.zone.from_utc_datetime(&utc).naive_local().date();
        let day = local.signed_duration_since(NaiveDate::from_ymd_opt(1970, 1, 1)?);
        let (first, next) = match self.length {
            Length::Days(days) => {
                // Weeks begin on Mondays, and 1969-12-29 was one.
                let shift = if days % 7 == 0 { -3 } else { 0 };
                let first = (day.num_days() - shift).div_euclid(days) * days + shift;
                (first, first + days)
            }
            Length::Months(months) => {
                let civil = Civil::from_days(day.num_days());
                let month = (civil.year * 12 + civil.month - 1).div_euclid(months) * months;
                let first_of = |month: i64| {
                    let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
                    Civil::checked(year, month, 1).map(Civil::days)
                };
                (first_of(month)?, first_of(month + months)?)
            }
        };
        Some((self.midnight(first)?, self.midnight(next)?))
    }

    /// The windows of many instants. Times come nearly sorted, so the last window serves again.
    fn windows(&self, times: &TimestampMicrosecondArray, time: &DataType) -> Result<ArrayRef> {
        let mut last: Option<(i64, i64)> = None;
        let mut window = |at: i64| {
            let held = last.filter(|(start, end)| *start <= at && at < *end);
            last = Some(held.or_else(|| self.around(at)).ok_or_else(beyond)?);
            Ok(last)
        };
        let windows = times.iter().map(|at| at.map_or(Ok(None), &mut window));
        let windows: Vec<Option<(i64, i64)>> = windows.collect::<Result<_>>()?;
        let start: TimestampMicrosecondArray =
            windows.iter().map(|w| w.map(|(start, _)| start)).collect();
        let end: TimestampMicrosecondArray =
            windows.iter().map(|w| w.map(|(_, end)| end)).collect();
        let nulls = start.nulls().cloned();
        Ok(Arc::new(StructArray::try_new(
            window_fields(time),
            vec![with_zone(start, time)?, with_zone(end, time)?],
            nulls,
        )?))
    }
}

fn text(value: Option<&ScalarValue>) -> Option<&str> {
    value?.try_as_str().flatten()
}

impl ScalarUDFImpl for CalendarWindow {
    fn name(&self) -> &str {
        "calendar_window"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        // What does not fit stays as it is: `return_field_from_args` refuses it with our error.
        let Some((first, rest)) = arg_types.split_first() else {
            return Ok(Vec::new());
        };
        let is_time = matches!(time_of(first), DataType::Timestamp(_, _));
        let time = if is_time { first.clone() } else { timestamp() };
        let texts = rest.iter().map(|_| DataType::Utf8);
        Ok(std::iter::once(time).chain(texts).collect())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let time = arg_types
            .first()
            .map_or_else(timestamp, |t| time_of(t).clone());
        Ok(window_type(&time))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [_, length, zone] = args.scalar_arguments else {
            let count = args.arg_fields.len();
            let message = format!("calendar_window does not take {count} arguments");
            return Err(SqlError::Types { message }.into_datafusion());
        };
        let (Some(length), Some(zone)) = (text(*length), text(*zone)) else {
            let reason = "the length and the time zone must be literals".to_owned();
            return Err(SqlError::Window { reason }.into_datafusion());
        };
        Calendar::new(length, zone).map_err(SqlError::into_datafusion)?;
        let window = self.return_type(&[args.arg_fields[0].data_type().clone()])?;
        Ok(Arc::new(Field::new(self.name(), window, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let literal = |at: usize| match args.args.get(at) {
            Some(ColumnarValue::Scalar(value)) => text(Some(value)),
            Some(ColumnarValue::Array(_)) | None => None,
        };
        let calendar = Calendar::new(
            literal(1).unwrap_or_default(),
            literal(2).unwrap_or_default(),
        )
        .map_err(SqlError::into_datafusion)?;
        let input = args.args[0].to_array(args.number_rows)?;
        let time = time_of(input.data_type()).clone();
        calendar
            .windows(&event_times(&input)?, &time)
            .map(ColumnarValue::Array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(length: &str, zone: &str, at: &str) -> (String, String) {
        let calendar = Calendar::new(length, zone).expect("a calendar");
        let at = DateTime::parse_from_rfc3339(at).expect("a time");
        let (start, end) = calendar.around(at.timestamp_micros()).expect("a window");
        let show = |at| {
            DateTime::from_timestamp_micros(at)
                .expect("a time")
                .to_rfc3339()
        };
        (show(start), show(end))
    }

    fn check(length: &str, zone: &str, at: &str, start: &str, end: &str) {
        let (found_start, found_end) = around(length, zone, at);
        assert_eq!((&found_start[..16], &found_end[..16]), (start, end));
    }

    #[test]
    fn days_follow_the_clocks_of_their_place() {
        let berlin = "Europe/Berlin";
        check(
            "1 day",
            berlin,
            "2024-01-15T23:30:00Z",
            "2024-01-15T23:00",
            "2024-01-16T23:00",
        );
        // 23 hours in spring, 25 in autumn.
        check(
            "1 day",
            berlin,
            "2024-03-31T12:00:00Z",
            "2024-03-30T23:00",
            "2024-03-31T22:00",
        );
        check(
            "1 day",
            berlin,
            "2024-10-27T12:00:00Z",
            "2024-10-26T22:00",
            "2024-10-27T23:00",
        );
        // In Beirut the clock goes from 00:00 to 01:00.
        check(
            "1 day",
            "Asia/Beirut",
            "2024-03-31T12:00:00Z",
            "2024-03-30T22:00",
            "2024-03-31T21:00",
        );
        // Apia had no 30th of December.
        check(
            "1 day",
            "Pacific/Apia",
            "2011-12-30T12:00:00Z",
            "2011-12-30T10:00",
            "2011-12-31T10:00",
        );
        check(
            "1 day",
            "America/New_York",
            "1969-12-31T04:59:59Z",
            "1969-12-30T05:00",
            "1969-12-31T05:00",
        );
    }

    #[test]
    fn weeks_begin_on_mondays_and_months_on_their_first() {
        check(
            "1 week",
            "UTC",
            "2024-05-15T00:00:00Z",
            "2024-05-13T00:00",
            "2024-05-20T00:00",
        );
        check(
            "1 month",
            "Europe/Berlin",
            "2024-02-29T12:00:00Z",
            "2024-01-31T23:00",
            "2024-02-29T23:00",
        );
        check(
            "3 months",
            "UTC",
            "2024-05-15T00:00:00Z",
            "2024-04-01T00:00",
            "2024-07-01T00:00",
        );
        check(
            "1 year",
            "UTC",
            "1969-05-15T00:00:00Z",
            "1969-01-01T00:00",
            "1970-01-01T00:00",
        );
    }

    /// Windows leave no gap and do not overlap, whatever the clocks do.
    #[test]
    fn windows_follow_each_other() {
        for zone in [
            "Europe/Berlin",
            "Asia/Beirut",
            "Pacific/Apia",
            "America/Sao_Paulo",
            "Africa/Cairo",
        ] {
            for length in ["1 day", "3 days", "1 week", "1 month"] {
                let calendar = Calendar::new(length, zone).expect("a calendar");
                let (_, mut end) = calendar.around(1_100_000_000_000_000).expect("a window");
                for _ in 0..400 {
                    let (start, next) = calendar.around(end).expect("a window");
                    assert_eq!(start, end, "{zone} {length}");
                    assert_eq!(
                        calendar.around(next - 1),
                        Some((start, next)),
                        "{zone} {length}"
                    );
                    end = next;
                }
            }
        }
    }
}
