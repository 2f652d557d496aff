//! Dates and times of day in UTC, as text and as counts; the proleptic Gregorian calendar of Spark.

use millstream_values::{civil::Civil, instant};

/// Nanoseconds of a day.
pub(super) const DAY_NANOS: i128 = 86_400_000_000_000;

/// `YYYY-MM-DD`.
pub(super) fn print_date(days: i64) -> String {
    let mut text = Vec::new();
    instant::write_date(days, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// `HH:MM:SS[.ffffff]`; nine digits only where microseconds do not suffice.
pub(super) fn print_time_of_day(nanos: i128) -> String {
    let seconds = nanos / 1_000_000_000;
    let fraction = nanos % 1_000_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let clock = format!("{hour:02}:{minute:02}:{second:02}");
    if fraction == 0 {
        clock
    } else if fraction % 1000 == 0 {
        format!("{clock}.{:06}", fraction / 1000)
    } else {
        format!("{clock}.{fraction:09}")
    }
}

/// `YYYY-MM-DD HH:MM:SS[.ffffff]` of nanoseconds since the epoch, in UTC.
pub(super) fn print_timestamp(nanos: i128) -> String {
    let days = i64::try_from(nanos.div_euclid(DAY_NANOS)).unwrap_or(i64::MAX / 1_000_000);
    format!(
        "{} {}",
        print_date(days),
        print_time_of_day(nanos.rem_euclid(DAY_NANOS))
    )
}

/// Reads `YYYY-MM-DD`.
pub(super) fn read_date(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = digits.split('-');
    let year = parts
        .next()
        .filter(|y| (4..=6).contains(&y.len()))
        .and_then(number)?
        * sign;
    let month = parts.next().filter(|m| m.len() == 2).and_then(number)?;
    let day = parts.next().filter(|d| d.len() == 2).and_then(number)?;
    let days = Civil::checked(year, month, day)?.days();
    parts.next().is_none().then_some(days)
}

/// Reads `HH:MM:SS[.fffffffff]` as nanoseconds since midnight.
pub(super) fn read_time_of_day(text: &str) -> Option<i128> {
    let (clock, fraction) = text
        .split_once('.')
        .map_or((text, None), |(c, f)| (c, Some(f)));
    let mut seconds = 0;
    let mut parts = clock.split(':');
    for limit in [24, 60, 60] {
        let part = parts.next().filter(|p| p.len() == 2).and_then(number)?;
        if part >= limit {
            return None;
        }
        seconds = seconds * 60 + part;
    }
    if parts.next().is_some() {
        return None;
    }
    let nanos = match fraction {
        None => 0,
        Some(digits) if digits.len() > 9 => return None,
        Some(digits) => number(&format!("{digits:0<9}")).filter(|_| !digits.is_empty())?,
    };
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

/// Reads `YYYY-MM-DD HH:MM:SS[.fffffffff]` as nanoseconds since the epoch, in UTC.
pub(super) fn read_timestamp(text: &str) -> Option<i128> {
    let (date, time) = text.split_once(' ')?;
    Some(i128::from(read_date(date)?) * DAY_NANOS + read_time_of_day(time.trim_start())?)
}

fn number(digits: &str) -> Option<i64> {
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_over_eight_centuries() {
        for days in -146_097..146_097 {
            let text = print_date(days);
            assert_eq!(read_date(&text), Some(days), "{text}");
        }
        assert_eq!(read_date("1970-01-01"), Some(0));
        assert_eq!(read_date("2000-03-01"), Some(11_017));
    }

    #[test]
    fn impossible_dates_and_times_are_refused() {
        for text in [
            "2023-02-29",
            "2023-13-01",
            "2023-1-01",
            "23-01-01",
            "2023-00-10",
            "",
        ] {
            assert_eq!(read_date(text), None, "{text}");
        }
        for text in [
            "24:00:00",
            "1:00:00",
            "00:60:00",
            "00:00",
            "00:00:00.",
            "00:00:00:00",
        ] {
            assert_eq!(read_time_of_day(text), None, "{text}");
        }
    }

    #[test]
    fn times_before_the_epoch_print_as_the_day_they_lie_in() {
        assert_eq!(print_timestamp(-1000), "1969-12-31 23:59:59.999999");
        assert_eq!(read_timestamp("1969-12-31 23:59:59.999999"), Some(-1000));
        assert_eq!(print_timestamp(1), "1970-01-01 00:00:00.000000001");
    }
}
