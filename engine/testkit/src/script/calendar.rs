//! Dates and times of day in UTC, as text and as counts; the proleptic Gregorian calendar of Spark.

/// Nanoseconds of a day.
pub(super) const DAY_NANOS: i128 = 86_400_000_000_000;

/// Days since 1970-01-01 of a date (Howard Hinnant's algorithm: eras of 400 years from 1 March).
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a count of days since 1970-01-01.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// `YYYY-MM-DD`.
pub(super) fn print_date(days: i64) -> String {
    let (year, month, day) = date_of(days);
    match year {
        10_000.. => format!("+{year}-{month:02}-{day:02}"),
        0.. => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("-{:04}-{month:02}-{day:02}", -year),
    }
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
    let days = days_of(year, month, day);
    // 30 February would otherwise read as 1 or 2 March.
    (parts.next().is_none() && date_of(days) == (year, month, day)).then_some(days)
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
