//! Timestamps as the data has them: `2020-09-13 12:26:40.123`, UTC.

use crate::error::{BenchError, Result};

/// Bytes of a timestamp.
pub(crate) const TIME_BYTES: usize = 23;
/// Up to and with the colon before the seconds.
const MINUTE_BYTES: usize = 17;

/// Reads timestamps; lines beside each other share their minute, so the calendar is asked once a
/// minute.
#[derive(Clone, Debug, Default)]
pub(crate) struct TimeParser {
    minute: [u8; MINUTE_BYTES],
    minute_ms: i64,
}

impl TimeParser {
    /// Milliseconds since 1970 of a text of [`TIME_BYTES`] bytes.
    #[inline]
    pub(crate) fn parse(&mut self, text: &[u8; TIME_BYTES]) -> Result<i64> {
        if text[..MINUTE_BYTES] != self.minute {
            self.minute_ms = minute_ms(text)?;
            self.minute.copy_from_slice(&text[..MINUTE_BYTES]);
        }
        let digit = |at: usize| i64::from(text[at].wrapping_sub(b'0'));
        let ms =
            digit(17) * 10_000 + digit(18) * 1_000 + digit(20) * 100 + digit(21) * 10 + digit(22);
        Ok(self.minute_ms + ms)
    }
}

fn minute_ms(text: &[u8; TIME_BYTES]) -> Result<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        std::str::from_utf8(text.get(from..to)?).ok()?.parse().ok()
    };
    let parts = || {
        Some((
            number(0, 4)?,
            number(5, 7)?,
            number(8, 10)?,
            number(11, 13)?,
            number(14, 16)?,
        ))
    };
    let (year, month, day, hour, minute) = parts().ok_or(BenchError::Line {
        what: "a timestamp has other digits",
    })?;
    Ok(((days(year, month, day) * 24 + hour) * 60 + minute) * 60_000)
}

/// Days since 1970 of a date. Years begin in March, so that the leap day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719 468 days lie between 1 March of the year 0 and 1970.
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Writes the text of an instant.
pub(crate) fn write_time(text: &mut Vec<u8>, ms: i64) {
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = date(days);
    let fields = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b' '),
        (rest / 3_600_000, 2, b':'),
        (rest / 60_000 % 60, 2, b':'),
        (rest / 1000 % 60, 2, b'.'),
        (rest % 1000, 3, b'"'),
    ];
    for (value, width, after) in fields {
        let mut scale = 10i64.pow(width - 1);
        while scale > 0 {
            text.push(b'0' + u8::try_from(value / scale % 10).unwrap_or(0));
            scale /= 10;
        }
        text.push(after);
    }
    text.pop();
}

/// The inverse of [`days`], found by counting down from a guess that is never too small.
fn date(from_1970: i64) -> (i64, i64, i64) {
    let mut year = 1970 + from_1970.div_euclid(365) + 1;
    while days(year, 1, 1) > from_1970 {
        year -= 1;
    }
    let mut month = 12;
    while days(year, month, 1) > from_1970 {
        month -= 1;
    }
    (year, month, from_1970 - days(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_were() {
        let mut parser = TimeParser::default();
        for (ms, text) in [
            (0, "1970-01-01 00:00:00.000"),
            (1_600_000_000_123, "2020-09-13 12:26:40.123"),
            (951_782_399_999, "2000-02-28 23:59:59.999"),
            (951_782_400_000, "2000-02-29 00:00:00.000"),
            (1_735_689_599_000, "2024-12-31 23:59:59.000"),
        ] {
            let mut written = Vec::new();
            write_time(&mut written, ms);
            assert_eq!(String::from_utf8_lossy(&written), text);
            let bytes = written.as_slice().try_into().expect("of this length");
            assert_eq!(parser.parse(bytes).expect("is a time"), ms);
        }
    }
}
