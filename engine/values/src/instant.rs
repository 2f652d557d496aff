//! Dates and instants from text and to text, in the forms of Spark's casts. Never reads a clock: a text
//! without a date is no instant.

use crate::{
    civil::{Civil, DAY, SECOND},
    number,
    zone::{self, Zone},
};

/// The zone that a text names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stated {
    /// None.
    #[default]
    Nothing,
    /// Seconds east.
    Offset(i64),
    /// A place.
    Zone(Box<Zone>),
}

/// What a text says of an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instant {
    /// What the clock shows, in microseconds since 1970.
    pub local: i64,
    /// Where.
    pub zone: Stated,
}

impl Instant {
    /// Microseconds since 1970-01-01 in UTC; where the text names no zone, the clock is that of `zone`.
    /// `None` beyond the range of 64 bits.
    #[must_use]
    #[inline]
    pub fn micros(&self, zone: &Zone) -> Option<i64> {
        match &self.zone {
            Stated::Nothing => zone.instant(self.local),
            Stated::Offset(seconds) => self.local.checked_sub(seconds * SECOND),
            Stated::Zone(stated) => stated.instant(self.local),
        }
    }
}

fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    Civil::checked(year, month, day).map(Civil::days)
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
    let zone = match tail {
        [] => Stated::Nothing,
        [b'Z'] => Stated::Offset(0),
        _ => stated(tail)?,
    };
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Instant {
        local: seconds * SECOND + micros,
        zone,
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
    Some((micros, text.get(count..)?))
}

/// The zone behind a clock: `Z`, `+02:00`, `UTC+2`, `Europe/Berlin`.
fn stated(text: &[u8]) -> Option<Stated> {
    let text = text.trim_ascii();
    if let Some(seconds) = zone::offset(text) {
        return Some(Stated::Offset(seconds));
    }
    match text {
        b"Z" | b"UTC" | b"GMT" | b"UT" => Some(Stated::Offset(0)),
        _ => {
            let zone = std::str::from_utf8(text).ok()?.parse().ok()?;
            Some(Stated::Zone(Box::new(zone)))
        }
    }
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
fn date_prefix(text: &[u8], year_digits_max: usize) -> Option<(i64, &[u8])> {
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
    let year = number(year, year_digits_max)? * sign;
    let month = parts.next().map_or(Some(1), |text| number(text, 2))?;
    let day = parts.next().map_or(Some(1), |text| number(text, 2))?;
    if parts.next().is_some() {
        return None;
    }
    Some((days(year, month, day)?, body.get(end..)?))
}

/// An instant in one of the forms of Spark's cast from string to timestamp.
#[must_use]
pub fn timestamp(text: &[u8]) -> Option<Instant> {
    fixed_layout(text).or_else(|| loose_timestamp(text.trim_ascii()))
}

#[cold]
fn loose_timestamp(text: &[u8]) -> Option<Instant> {
    let (days, rest) = date_prefix(text, 6)?;
    if rest.is_empty() {
        return Some(Instant {
            local: days.checked_mul(DAY)?,
            zone: Stated::Nothing,
        });
    }
    let rest = rest.get(1..)?;
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
    let zone = match tail {
        [] => Stated::Nothing,
        // A zone stands behind seconds.
        _ if count == 3 => stated(tail)?,
        _ => return None,
    };
    let clock = (hour * 3_600 + minute * 60 + second) * SECOND + micros;
    // The first day of the range begins before it.
    let local = i128::from(days) * i128::from(DAY) + i128::from(clock);
    Some(Instant {
        local: i64::try_from(local).ok()?,
        zone,
    })
}

/// Days since 1970 of a date; what follows a `T` or a space is ignored, as Spark does.
#[must_use]
pub fn date(text: &[u8]) -> Option<i32> {
    let (days, _) = date_prefix(text.trim_ascii(), 7)?;
    i32::try_from(days).ok()
}

/// Appends `2024-01-01`; years of more than four digits have a sign.
pub fn write_date(days: i64, out: &mut Vec<u8>) {
    let Civil { year, month, day } = Civil::from_days(days);
    if year < 0 {
        out.push(b'-');
    } else if year > 9_999 {
        out.push(b'+');
    }
    let year = year.unsigned_abs();
    if year > 9_999 {
        number::unsigned(year / 10_000, out);
    }
    number::padded::<4>(year, out);
    out.push(b'-');
    number::padded::<2>(month.unsigned_abs(), out);
    out.push(b'-');
    number::padded::<2>(day.unsigned_abs(), out);
}

/// Appends `2024-01-01<separator>00:00:00`, and gives the microseconds that remain.
pub fn write_seconds(micros: i64, separator: char, out: &mut Vec<u8>) -> i64 {
    write_date(micros.div_euclid(DAY), out);
    let of_day = micros.rem_euclid(DAY);
    let seconds = of_day / 1_000_000;
    let parts = [seconds / 3_600, seconds / 60 % 60, seconds % 60];
    for (number, before) in parts.into_iter().zip([separator, ':', ':']) {
        out.extend_from_slice(before.encode_utf8(&mut [0; 4]).as_bytes());
        number::padded::<2>(number.unsigned_abs(), out);
    }
    of_day % 1_000_000
}

/// Appends what a clock shows as Spark's cast to text has it: `2024-01-01 00:00:00.12`.
pub fn write_timestamp(local: i64, out: &mut Vec<u8>) {
    let micros = write_seconds(local, ' ', out);
    number::fraction(micros, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> Option<i64> {
        timestamp(text.as_bytes())?.micros(&Zone::utc())
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
            "002024-01-01 0",
            "+2024-01-01 00:00:00.",
            "2024-01-01 01:00:00 Europe/Berlin",
            "2024-01-01 08:00:00GMT+8",
            " 2024-01-01T00:00 ",
        ] {
            assert_eq!(us(text), Some(base), "{text}");
        }
        assert_eq!(us("2024-01-01T00:00:00.123Z"), Some(base + 123_000));
        assert_eq!(us("2024-01-01 00:00:00.123456789"), Some(base + 123_456));
        assert_eq!(us("1969-12-31T23:59:59.5"), Some(-500_000));
        assert_eq!(us("2024-01-01 00:00:00.1234567891"), Some(base + 123_456));
        assert_eq!(us("294247-01-10T04:00:54.775807Z"), Some(i64::MAX));
        assert_eq!(us("-290308-12-21T19:59:05.224192Z"), Some(i64::MIN));
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
            "2024-01-01T00:00Z",
            "2024-01-01T",
            "2024-01-01t00:00:00",
            "2024-01-01 3:",
            "2024-",
            "0002024-01-01",
            "2024-01-01 00:00:00.1Z+1",
            "294247-01-10T04:00:54.775808Z",
        ] {
            assert_eq!(us(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_and_clocks() {
        assert_eq!(date(b"2024-02-29T10:00:00 whatever"), Some(19_782));
        assert_eq!(date(b"5881580-07-11"), Some(i32::MAX));
        for bad in ["5881580-07-12", "2024-02-29x", "2024-1-", "24-1-1"] {
            assert_eq!(date(bad.as_bytes()), None, "{bad}");
        }
        let mut out = Vec::new();
        let rest = write_seconds(-500_000, 'T', &mut out);
        assert_eq!(
            (out.as_slice(), rest),
            (&b"1969-12-31T23:59:59"[..], 500_000)
        );
    }
}
