//! Durations as Spark writes them: `10 seconds`, `interval '1' minute`, `1 hour 30 minutes`.

use std::{fmt, str::FromStr};

/// A length of time in microseconds, with months kept apart because their length is not fixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interval {
    months: i32,
    micros: i64,
}

/// Why a text is no interval.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    /// The text has no number-and-unit pairs.
    #[error("cannot parse interval text={0:?}")]
    Syntax(String),
    /// The value does not fit 64 bits of microseconds.
    #[error("interval is out of range text={0:?}")]
    Range(String),
}

impl Interval {
    /// An interval of microseconds.
    #[must_use]
    pub fn from_micros(micros: i64) -> Interval {
        Interval { months: 0, micros }
    }

    /// Microseconds without the months.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.micros
    }

    /// Whole months, 0 for most intervals. Windows refuse them.
    #[must_use]
    pub fn months(self) -> i32 {
        self.months
    }

    /// Milliseconds with a month counted as 31 days: Spark's rule for watermark delays.
    #[must_use]
    pub fn delay_ms(self) -> i64 {
        const MONTH_MS: i64 = 31 * 24 * 3_600_000;
        self.micros
            .div_euclid(1000)
            .saturating_add(i64::from(self.months).saturating_mul(MONTH_MS))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(i64, &str); 5] = [
            (86_400_000_000, "day"),
            (3_600_000_000, "hour"),
            (60_000_000, "minute"),
            (1_000_000, "second"),
            (1_000, "millisecond"),
        ];
        if self.months != 0 {
            write!(f, "{} months ", self.months)?;
        }
        let (size, unit) = UNITS
            .into_iter()
            .find(|(size, _)| self.micros != 0 && self.micros % size == 0)
            .unwrap_or((1, "microsecond"));
        let count = self.micros / size;
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

enum Unit {
    Months(i64),
    Micros(i64),
}

fn unit(word: &str) -> Option<Unit> {
    let word = word
        .strip_suffix('s')
        .filter(|w| w.len() > 1)
        .unwrap_or(word);
    Some(match word {
        "year" | "y" => Unit::Months(12),
        "month" | "mon" => Unit::Months(1),
        "week" | "w" => Unit::Micros(7 * 86_400_000_000),
        "day" | "d" => Unit::Micros(86_400_000_000),
        "hour" | "h" => Unit::Micros(3_600_000_000),
        "minute" | "min" | "m" => Unit::Micros(60_000_000),
        "second" | "sec" | "s" => Unit::Micros(1_000_000),
        "millisecond" | "milli" | "ms" => Unit::Micros(1_000),
        "microsecond" | "micro" | "us" | "u" => Unit::Micros(1),
        _ => return None,
    })
}

/// Splits `10seconds` into `10` and `seconds`; quotes around the number fall away.
fn words(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut numeric = None;
    for c in text.chars() {
        if c.is_whitespace() || c == '\'' || c == '"' {
            numeric = None;
            continue;
        }
        let is_numeric = c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
        match out.last_mut() {
            Some(word) if numeric == Some(is_numeric) => word.push(c),
            _ => out.push(c.to_string()),
        }
        numeric = Some(is_numeric);
    }
    out
}

/// `number` × `scale`, exact for up to six decimals.
fn scaled(number: &str, scale: i64) -> Option<i64> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1i128, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty())
        || !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|b| b.is_ascii_digit())
        || fraction.len() > 9
    {
        return None;
    }
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let base = 10i128.pow(u32::try_from(fraction.len()).ok()?);
    let parts: i128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let total = whole
        .checked_mul(base)?
        .checked_add(parts)?
        .checked_mul(i128::from(scale))?
        / base;
    i64::try_from(sign * total).ok()
}

impl FromStr for Interval {
    type Err = IntervalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || IntervalError::Syntax(text.to_owned());
        let lower = text.trim().to_ascii_lowercase();
        let words = words(lower.strip_prefix("interval").unwrap_or(&lower));
        if words.is_empty() || !words.len().is_multiple_of(2) {
            return Err(syntax());
        }
        let mut interval = Interval::default();
        for pair in words.chunks_exact(2) {
            let [number, word] = pair else {
                return Err(syntax());
            };
            let range = || IntervalError::Range(text.to_owned());
            match unit(word).ok_or_else(syntax)? {
                Unit::Micros(scale) => {
                    // A number that has the right shape and yet no value is out of range.
                    let shape_ok = scaled(number, 1).is_some() || number.len() > 18;
                    let micros = scaled(number, scale)
                        .ok_or_else(|| if shape_ok { range() } else { syntax() })?;
                    interval.micros = interval.micros.checked_add(micros).ok_or_else(range)?;
                }
                Unit::Months(scale) => {
                    let months = scaled(number, scale).ok_or_else(syntax)?;
                    let months = i32::try_from(months).map_err(|_| range())?;
                    interval.months = interval.months.checked_add(months).ok_or_else(range)?;
                }
            }
        }
        Ok(interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        text.parse::<Interval>()
            .map(Interval::micros)
            .unwrap_or(i64::MIN)
    }

    #[test]
    fn reads_what_people_write() {
        assert_eq!(micros("10 seconds"), 10_000_000);
        assert_eq!(micros("INTERVAL '10' SECOND"), 10_000_000);
        assert_eq!(micros("interval 1 hour 30 minutes"), 5_400_000_000);
        assert_eq!(micros("500ms"), 500_000);
        assert_eq!(micros("1.5 seconds"), 1_500_000);
        assert_eq!(micros("-3 seconds"), -3_000_000);
        assert_eq!(micros("1 week"), 604_800_000_000);
        assert_eq!(micros("2 days"), 172_800_000_000);
    }

    #[test]
    fn refuses_the_rest() {
        for bad in [
            "",
            "10",
            "ten seconds",
            "10 parsecs",
            "seconds 10",
            "1 2 seconds",
            "--1 second",
        ] {
            assert!(
                matches!(bad.parse::<Interval>(), Err(IntervalError::Syntax(_))),
                "{bad}"
            );
        }
        assert!(matches!(
            "99999999999 weeks".parse::<Interval>(),
            Err(IntervalError::Range(_))
        ));
    }

    #[test]
    fn a_month_of_delay_has_31_days() {
        assert_eq!(
            "1 month".parse::<Interval>().map(Interval::delay_ms),
            Ok(31 * 86_400_000)
        );
    }

    #[test]
    fn prints_in_the_largest_whole_unit() {
        assert_eq!(Interval::from_micros(600_000_000).to_string(), "10 minutes");
        assert_eq!(Interval::from_micros(1_000_000).to_string(), "1 second");
        assert_eq!(
            Interval::from_micros(1_500_000).to_string(),
            "1500 milliseconds"
        );
    }
}
