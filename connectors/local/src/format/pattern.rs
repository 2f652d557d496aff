//! `timestampFormat` and `dateFormat`: the common part of Java's date patterns, for reading.

use super::time::{Instant, days};

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// A number with at least and at most so many digits.
    Number(Field, usize, usize),
    /// Digits of a second's fraction.
    Fraction(usize),
    /// An offset; `Z` is taken where the letter is `X`.
    Offset(Letter),
    Literal(u8),
    /// Parts in brackets: all or none.
    Optional(Vec<Part>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Letter {
    Zulu,
    Plain,
}

impl Pattern {
    /// Compiles a pattern; `None` for letters that are not understood.
    pub(crate) fn compile(text: &str) -> Option<Pattern> {
        let mut rest = text.as_bytes();
        let parts = compile(&mut rest, false)?;
        rest.is_empty().then_some(Pattern { parts })
    }

    /// Reads text that matches the pattern as a whole.
    pub(crate) fn parse(&self, text: &[u8]) -> Option<Instant> {
        let mut read = Read {
            text,
            fields: [1970, 1, 1, 0, 0, 0],
            micros: 0,
            offset_s: None,
        };
        read.parts(&self.parts)?;
        let [year, month, day, hour, minute, second] = read.fields;
        if !read.text.is_empty() || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = days(year, month, day)? * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(Instant {
            local_us: seconds * 1_000_000 + read.micros,
            offset_s: read.offset_s,
        })
    }
}

fn compile(rest: &mut &[u8], nested: bool) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    while let Some(letter) = rest.first().copied() {
        let count = rest.iter().take_while(|b| **b == letter).count();
        let mut used = count;
        let number = |field, wide| match count {
            1 => Some(Part::Number(field, 1, wide)),
            _ if count <= wide => Some(Part::Number(field, count, count)),
            _ => None,
        };
        match letter {
            b'y' | b'u' if count == 4 => parts.push(Part::Number(Field::Year, 4, 4)),
            b'y' | b'u' if count == 1 => parts.push(Part::Number(Field::Year, 1, 6)),
            b'M' => parts.push(number(Field::Month, 2)?),
            b'd' => parts.push(number(Field::Day, 2)?),
            b'H' => parts.push(number(Field::Hour, 2)?),
            b'm' => parts.push(number(Field::Minute, 2)?),
            b's' => parts.push(number(Field::Second, 2)?),
            b'S' if count <= 9 => parts.push(Part::Fraction(count)),
            b'X' if count <= 3 => parts.push(Part::Offset(Letter::Zulu)),
            b'x' | b'Z' if count <= 3 => parts.push(Part::Offset(Letter::Plain)),
            b'\'' => {
                let body = rest.get(1..)?;
                let end = body.iter().position(|b| *b == b'\'')?;
                parts.extend(body.get(..end)?.iter().map(|b| Part::Literal(*b)));
                if end == 0 {
                    parts.push(Part::Literal(b'\''));
                }
                used = end + 2;
            }
            b'[' if !nested => {
                *rest = rest.get(1..)?;
                parts.push(Part::Optional(compile(rest, true)?));
                used = 0;
            }
            b']' if nested => {
                *rest = rest.get(1..)?;
                return Some(parts);
            }
            b'[' | b']' | b'{' | b'}' | b'#' => return None,
            letter if letter.is_ascii_alphabetic() => return None,
            literal => {
                parts.push(Part::Literal(literal));
                used = 1;
            }
        }
        *rest = rest.get(used..)?;
    }
    (!nested).then_some(parts)
}

#[derive(Clone, Copy)]
struct Read<'a> {
    text: &'a [u8],
    fields: [i64; 6],
    micros: i64,
    offset_s: Option<i64>,
}

impl Read<'_> {
    fn parts(&mut self, parts: &[Part]) -> Option<()> {
        for part in parts {
            match part {
                Part::Number(field, min, max) => {
                    let value = self.digits(*min, *max)?;
                    self.fields[*field as usize] = value;
                }
                Part::Fraction(count) => {
                    let value = self.digits(*count, *count)?;
                    let power = 10_i64.pow(u32::try_from(*count).ok()?);
                    self.micros = value * 1_000_000 / power;
                }
                Part::Offset(letter) => self.offset(*letter)?,
                Part::Literal(byte) => {
                    self.text = self.text.strip_prefix(&[*byte])?;
                }
                Part::Optional(inner) => {
                    let mut attempt = *self;
                    if attempt.parts(inner).is_some() {
                        *self = attempt;
                    }
                }
            }
        }
        Some(())
    }

    fn digits(&mut self, min: usize, max: usize) -> Option<i64> {
        let count = self
            .text
            .iter()
            .take(max)
            .take_while(|b| b.is_ascii_digit())
            .count();
        if count < min {
            return None;
        }
        let (digits, rest) = self.text.split_at(count);
        self.text = rest;
        Some(
            digits
                .iter()
                .fold(0, |value, digit| value * 10 + i64::from(digit - b'0')),
        )
    }

    fn offset(&mut self, letter: Letter) -> Option<()> {
        if letter == Letter::Zulu && self.text.first() == Some(&b'Z') {
            self.text = self.text.get(1..)?;
            self.offset_s = Some(0);
            return Some(());
        }
        let sign = match self.text.first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.text = self.text.get(1..)?;
        let hours = self.digits(2, 2)?;
        let mut minutes = 0;
        if let Some(rest) = self.text.strip_prefix(b":") {
            self.text = rest;
            minutes = self.digits(2, 2)?;
        } else if self.text.first().is_some_and(u8::is_ascii_digit) {
            minutes = self.digits(2, 2)?;
        }
        let total = hours * 3_600 + minutes * 60;
        self.offset_s = Some(sign * total);
        (minutes < 60 && total <= 18 * 3_600).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(pattern: &str, text: &str) -> Option<i64> {
        Pattern::compile(pattern)?.parse(text.as_bytes())?.utc_us()
    }

    #[test]
    fn common_patterns() {
        let base = 1_704_067_200_000_000;
        for (pattern, text) in [
            ("yyyy-MM-dd HH:mm:ss", "2024-01-01 00:00:00"),
            ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "2024-01-01T00:00:00"),
            (
                "yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]",
                "2024-01-01T02:00:00.000+02:00",
            ),
            ("dd/MM/yyyy", "01/01/2024"),
            ("d.M.y", "1.1.2024"),
            ("yyyyMMddHHmmss", "20240101000000"),
        ] {
            assert_eq!(us(pattern, text), Some(base), "{pattern}");
        }
        assert_eq!(us("yyyy-MM-dd", "2024-01-01x"), None);
        assert_eq!(us("yyyy-MM-dd", "2024-02-30"), None);
        for pattern in ["EEE", "yy", "[", "yyyy]", "'x", "hh a", "GGGG"] {
            assert_eq!(Pattern::compile(pattern), None, "{pattern}");
        }
    }
}
