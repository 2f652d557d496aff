//! Dates and instants from text and to text: Spark's default forms, plus the common Java patterns.
//! Never consults a clock or a time-zone database: the session's zone is UTC.

const DAY_US: i64 = 86_400_000_000;

/// An instant read from text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant {
    /// Microseconds since 1970 as if the text were in UTC.
    pub(crate) local_us: i64,
    /// The offset that the text names, in seconds east.
    pub(crate) offset_s: Option<i64>,
}

impl Instant {
    /// Microseconds since 1970-01-01 UTC.
    pub(crate) fn utc_us(self) -> Option<i64> {
        self.local_us
            .checked_sub(self.offset_s.unwrap_or(0) * 1_000_000)
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, checked.
pub(crate) fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=last).contains(&day) || year.abs() > 290_000 {
        return None;
    }
    // Years begin in March, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Year, month and day of a day number.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Two digits of `text` at `at`, or a value beyond 99 if they are none.
fn two(text: &[u8; 19], at: usize) -> i64 {
    let tens = text[at].wrapping_sub(b'0');
    let ones = text[at + 1].wrapping_sub(b'0');
    if tens > 9 || ones > 9 {
        return 1_000;
    }
    i64::from(tens) * 10 + i64::from(ones)
}

/// The layout that nearly all data has: `2024-01-01T00:00:00`, with or without fraction and `Z`.
fn fixed_layout(text: &[u8]) -> Option<Instant> {
    let (head, tail) = text.split_first_chunk::<19>()?;
    let separators = head[4] == b'-'
        && head[7] == b'-'
        && matches!(head[10], b'T' | b' ')
        && head[13] == b':'
        && head[16] == b':';
    let (hour, minute, second) = (two(head, 11), two(head, 14), two(head, 17));
    let year = two(head, 0) * 100 + two(head, 2);
    if !separators || hour > 23 || minute > 59 || second > 59 || year > 9_999 {
        return None;
    }
    let days = days(year, two(head, 5), two(head, 8))?;
    let (micros, tail) = match tail.split_first() {
        Some((b'.', tail)) => fraction(tail)?,
        _ => (0, tail),
    };
    let offset_s = match tail {
        [] => None,
        [b'Z'] => Some(0),
        _ => Some(zone(tail)?),
    };
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Instant {
        local_us: seconds * 1_000_000 + micros,
        offset_s,
    })
}

/// Microseconds of the digits after a point (further digits are cut), and what follows them.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let mut micros = 0;
    let mut count = 0;
    while let Some(byte) = text.get(count).filter(|b| b.is_ascii_digit()) {
        if count < 6 {
            micros = micros * 10 + i64::from(byte - b'0');
        }
        count += 1;
    }
    for _ in count..6 {
        micros *= 10;
    }
    (count <= 9).then_some((micros, text.get(count..)?))
}

/// Seconds east of `Z`, `UTC`, `GMT`, `+02:00`, `+0200`, `+2`, `UTC+2`.
fn zone(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    let rest = [&b"UTC"[..], b"GMT", b"UT"]
        .into_iter()
        .find_map(|name| text.strip_prefix(name))
        .unwrap_or(text);
    if rest.is_empty() || rest == b"Z" {
        return (!text.is_empty()).then_some(0);
    }
    let (sign, rest) = match rest.split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let mut parts = [0_i64; 3];
    if rest.contains(&b':') || rest.len() <= 2 {
        for (idx, part) in rest.split(|b| *b == b':').enumerate() {
            *parts.get_mut(idx)? = number(part, 2)?;
        }
    } else {
        if rest.len() != 4 && rest.len() != 6 {
            return None;
        }
        for (idx, part) in rest.chunks(2).enumerate() {
            *parts.get_mut(idx)? = number(part, 2)?;
        }
    }
    let [hours, minutes, seconds] = parts;
    let total = hours * 3_600 + minutes * 60 + seconds;
    (minutes < 60 && seconds < 60 && total <= 18 * 3_600).then_some(sign * total)
}

/// An unsigned number of 1 to `digits_max` digits.
fn number(text: &[u8], digits_max: usize) -> Option<i64> {
    if text.is_empty() || text.len() > digits_max {
        return None;
    }
    text.iter().try_fold(0_i64, |value, byte| {
        byte.is_ascii_digit()
            .then(|| value * 10 + i64::from(byte - b'0'))
    })
}

/// A date at the start of `text` (`2024`, `2024-1`, `2024-01-01`), and what follows it.
fn date_prefix(text: &[u8]) -> Option<(i64, &[u8])> {
    let (sign, body) = match text.split_first()? {
        (b'-', body) => (-1, body),
        (b'+', body) => (1, body),
        _ => (1, text),
    };
    let end = body
        .iter()
        .position(|b| matches!(b, b'T' | b' '))
        .unwrap_or(body.len());
    let mut parts = body.get(..end)?.split(|b| *b == b'-');
    let year = parts.next().filter(|year| year.len() >= 4)?;
    let year = number(year, 6)? * sign;
    let month = parts.next().map_or(Some(1), |text| number(text, 2))?;
    let day = parts.next().map_or(Some(1), |text| number(text, 2))?;
    if parts.next().is_some() {
        return None;
    }
    Some((days(year, month, day)?, body.get(end..)?))
}

/// An instant in one of the forms of Spark's cast from string to timestamp.
pub(crate) fn timestamp(text: &[u8]) -> Option<Instant> {
    fixed_layout(text).or_else(|| loose_timestamp(text.trim_ascii()))
}

#[cold]
fn loose_timestamp(text: &[u8]) -> Option<Instant> {
    let (days, rest) = date_prefix(text)?;
    let day_us = days.checked_mul(DAY_US)?;
    let rest = rest.get(1..).unwrap_or(&[]);
    if rest.is_empty() {
        return Some(Instant {
            local_us: day_us,
            offset_s: None,
        });
    }
    let end = rest
        .iter()
        .position(|b| !b.is_ascii_digit() && *b != b':')
        .unwrap_or(rest.len());
    let mut clock = [0_i64; 3];
    let mut count = 0;
    for part in rest.get(..end)?.split(|b| *b == b':') {
        *clock.get_mut(count)? = number(part, 2)?;
        count += 1;
    }
    let [hour, minute, second] = clock;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let tail = rest.get(end..)?;
    let (micros, tail) = match tail.split_first() {
        Some((b'.', tail)) if count == 3 => fraction(tail)?,
        _ => (0, tail),
    };
    let offset_s = if tail.is_empty() {
        None
    } else {
        Some(zone(tail)?)
    };
    let clock_us = (hour * 3_600 + minute * 60 + second) * 1_000_000 + micros;
    Some(Instant {
        local_us: day_us.checked_add(clock_us)?,
        offset_s,
    })
}

/// Days since 1970 of a date; what follows a `T` or a space is ignored, as Spark does.
pub(crate) fn date(text: &[u8]) -> Option<i32> {
    let (days, _) = date_prefix(text.trim_ascii())?;
    i32::try_from(days).ok()
}

/// Appends `2024-01-01`.
pub(crate) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil(days);
    let sign = if year < 0 {
        "-"
    } else if year > 9_999 {
        "+"
    } else {
        ""
    };
    out.extend_from_slice(sign.as_bytes());
    let year = year.unsigned_abs();
    if year > 9_999 {
        write_number(year / 10_000, out);
    }
    let digits = [year / 1_000, year / 100, year / 10, year].map(digit);
    out.extend_from_slice(&digits);
    out.push(b'-');
    write_two(month, out);
    out.push(b'-');
    write_two(day, out);
}

fn digit(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or(0)
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    if number > 9 {
        write_number(number / 10, out);
    }
    out.push(digit(number));
}

/// Appends a number below 100 with two digits.
fn write_two(number: i64, out: &mut Vec<u8>) {
    let number = number.unsigned_abs();
    out.extend_from_slice(&[digit(number / 10), digit(number)]);
}

/// Appends `2024-01-01<separator>00:00:00`, and gives the microseconds that remain.
pub(crate) fn write_seconds(micros: i64, separator: char, out: &mut Vec<u8>) -> i64 {
    write_date(micros.div_euclid(DAY_US), out);
    let of_day = micros.rem_euclid(DAY_US);
    let seconds = of_day / 1_000_000;
    let parts = [seconds / 3_600, seconds / 60 % 60, seconds % 60];
    for (number, before) in parts.into_iter().zip([separator, ':', ':']) {
        out.extend_from_slice(before.encode_utf8(&mut [0; 4]).as_bytes());
        write_two(number, out);
    }
    of_day % 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> Option<i64> {
        timestamp(text.as_bytes()).and_then(Instant::utc_us)
    }

    #[test]
    fn the_forms_of_an_instant() {
        let base = 1_704_067_200_000_000;
        for text in [
            "2024-01-01",
            "2024-01",
            "2024",
            "2024-01-01 00:00:00",
            "2024-1-1T0:0:0",
            "2024-01-01T00:00:00Z",
            "2024-01-01T00:00:00 UTC",
            "2024-01-01T02:00:00+02:00",
            "2024-01-01T02:00:00+0200",
            "2023-12-31T22:30:00.000-01:30",
            "2024-01-01T00",
            " 2024-01-01T00:00 ",
        ] {
            assert_eq!(us(text), Some(base), "{text}");
        }
        assert_eq!(us("2024-01-01T00:00:00.123Z"), Some(base + 123_000));
        assert_eq!(us("2024-01-01 00:00:00.123456789"), Some(base + 123_456));
        assert_eq!(us("1969-12-31T23:59:59.5"), Some(-500_000));
        for bad in [
            "",
            "x",
            "24-01-01",
            "2024-13-01",
            "2024-02-30",
            "2024-01-01T24:00:00",
            "2024-01-01T00:00:00x",
            "2024-01-01T00:60",
            "2024-01-01-01",
            "2024-01-01T1:2:3:4",
        ] {
            assert_eq!(us(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_and_dates_agree() {
        for day in (-800_000..800_000).step_by(97) {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), Some(day));
        }
        assert_eq!(date(b"2024-02-29T10:00:00 whatever"), Some(19_782));
        let mut out = Vec::new();
        let rest = write_seconds(-500_000, 'T', &mut out);
        assert_eq!(
            (out.as_slice(), rest),
            (&b"1969-12-31T23:59:59"[..], 500_000)
        );
    }
}
