//! Java's date patterns: `yyyy-MM-dd HH:mm:ss.SSS`, `dd MMM yy hh:mm a`, `'T'`, `[optional]`.
//!
//! A letter that Spark does not know, or that depends on a locale's weeks, is refused when the
//! query is planned. Names are English.

use std::io::Write;

use crate::{
    ValueError,
    civil::{Civil, DAY, SECOND, weekday},
    zone::{Zone, offset_name},
};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
/// The letters that are understood, for hints.
const LETTERS: &[&str] = &[
    "G", "y", "M", "L", "d", "D", "Q", "q", "E", "a", "H", "h", "k", "K", "m", "s", "S", "z", "Z",
    "X", "x", "V", "O",
];

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Field(char, usize),
    /// May be missing when a text is read; always written.
    Optional(Vec<Part>),
}

/// A pattern that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    parts: Vec<Part>,
}

/// The name of a month from 1, in full.
#[must_use]
pub fn month_name(month: i64) -> &'static str {
    let idx = usize::try_from(month - 1).unwrap_or(0);
    MONTHS.get(idx).copied().unwrap_or_default()
}

/// The name of a weekday, in full; Monday is 0.
#[must_use]
pub fn weekday_name(weekday: i64) -> &'static str {
    let idx = usize::try_from(weekday).unwrap_or(0);
    WEEKDAYS.get(idx).copied().unwrap_or_default()
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`ValueError::UnknownWord`] for a letter that is not understood, [`ValueError::PatternCount`]
    /// for one that stands too often in a row.
    pub fn new(text: &str) -> Result<Pattern, ValueError> {
        let mut open: Vec<Vec<Part>> = vec![Vec::new()];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let part = match c {
                '\'' => Part::Text(quoted(&mut chars)),
                '[' => {
                    open.push(Vec::new());
                    continue;
                }
                ']' if open.len() > 1 => Part::Optional(open.pop().unwrap_or_default()),
                c if c.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    field(c, count)?
                }
                '{' | '}' | '#' | ']' => return Err(unknown(c)),
                c => Part::Text(c.to_string()),
            };
            if let Some(parts) = open.last_mut() {
                parts.push(part);
            }
        }
        // What was opened and not closed ends with the pattern.
        while open.len() > 1 {
            let inner = open.pop().unwrap_or_default();
            if let Some(parts) = open.last_mut() {
                parts.push(Part::Optional(inner));
            }
        }
        Ok(Pattern {
            parts: open.pop().unwrap_or_default(),
        })
    }

    /// Appends what the clock of a zone shows at an instant, given in microseconds since 1970.
    pub fn write(&self, micros: i64, zone: &Zone, out: &mut Vec<u8>) {
        let moment = Moment {
            at: micros,
            local: zone.local(micros),
            zone,
        };
        write(&self.parts, &moment, out);
    }

    /// Reads an instant, in microseconds since 1970; a text without an offset shows the clock of `zone`.
    /// `None` if the text does not fit.
    #[must_use]
    pub fn read(&self, text: &str, zone: &Zone) -> Option<i64> {
        let mut found = Found::default();
        let rest = read(&self.parts, text, &mut found)?;
        if rest.is_empty() {
            found.micros(zone)
        } else {
            None
        }
    }
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    if chars.next_if_eq(&'\'').is_some() {
        return "'".to_owned();
    }
    let mut text = String::new();
    while let Some(c) = chars.next() {
        if c != '\'' {
            text.push(c);
        } else if chars.next_if_eq(&'\'').is_some() {
            text.push('\'');
        } else {
            break;
        }
    }
    text
}

fn unknown(letter: char) -> ValueError {
    ValueError::UnknownWord {
        kind: "pattern letter",
        word: letter.to_string(),
        known: LETTERS,
    }
}

fn field(letter: char, count: usize) -> Result<Part, ValueError> {
    let most = match letter {
        'y' => 6,
        'M' | 'L' | 'E' | 'G' | 'Q' | 'q' | 'z' | 'O' => 4,
        'd' | 'H' | 'h' | 'k' | 'K' | 'm' | 's' | 'V' => 2,
        'D' | 'X' | 'x' | 'Z' => 3,
        'S' => 9,
        'a' => 1,
        _ => return Err(unknown(letter)),
    };
    if count > most {
        return Err(ValueError::PatternCount {
            letter,
            count,
            most,
        });
    }
    Ok(Part::Field(letter, count))
}

/// An instant and what a clock shows then.
struct Moment<'a> {
    at: i64,
    local: i64,
    zone: &'a Zone,
}

fn write(parts: &[Part], moment: &Moment<'_>, out: &mut Vec<u8>) {
    for part in parts {
        match part {
            Part::Text(literal) => out.extend_from_slice(literal.as_bytes()),
            Part::Optional(inner) => write(inner, moment, out),
            Part::Field(letter, count) => write_field(*letter, *count, moment, out),
        }
    }
}

fn write_field(letter: char, count: usize, moment: &Moment<'_>, out: &mut Vec<u8>) {
    let days = moment.local.div_euclid(DAY);
    let in_day = moment.local.rem_euclid(DAY);
    let civil = Civil::from_days(days);
    let hour = in_day / (3600 * SECOND);
    let number = match letter {
        'y' if count == 2 => civil.year.rem_euclid(100),
        'y' => civil.year,
        'M' | 'L' if count > 2 => return name(month_name(civil.month), count, out),
        'M' | 'L' => civil.month,
        'd' => civil.day,
        'D' => civil.day_of_year(),
        'Q' | 'q' if count == 3 => {
            let _ = write!(out, "Q{}", civil.quarter());
            return;
        }
        'Q' | 'q' => civil.quarter(),
        'H' => hour,
        'k' => (hour + 23) % 24 + 1,
        'K' => hour % 12,
        'h' => (hour + 11) % 12 + 1,
        'm' => in_day / (60 * SECOND) % 60,
        's' => in_day / SECOND % 60,
        'S' => return fraction(in_day % SECOND, count, out),
        'E' => {
            let count = if count < 4 { 3 } else { 4 };
            return name(weekday_name(weekday(days)), count, out);
        }
        'z' | 'V' | 'X' | 'x' | 'Z' | 'O' => return write_zone(letter, count, moment, out),
        other => {
            out.extend_from_slice(match (other, count) {
                ('a', _) if hour < 12 => b"AM",
                ('a', _) => b"PM",
                ('G', 4) => b"Anno Domini",
                _ => b"AD",
            });
            return;
        }
    };
    // Writing to memory cannot fail.
    let _ = write!(out, "{number:0count$}");
}

/// The zone itself, or its offset in one of Java's forms.
fn write_zone(letter: char, count: usize, moment: &Moment<'_>, out: &mut Vec<u8>) {
    let seconds = moment.zone.offset_at(moment.at);
    let text = match (letter, count) {
        ('V', _) => moment.zone.name().to_owned(),
        ('z', 4) if moment.zone.name() == "UTC" => "Coordinated Universal Time".to_owned(),
        ('z', _) => moment.zone.abbreviation_at(moment.at),
        ('X', _) if seconds == 0 => "Z".to_owned(),
        ('O', _) if seconds == 0 => "GMT".to_owned(),
        ('O', 4) => format!("GMT{}", offset_name(seconds)),
        ('O', _) => {
            let sign = if seconds < 0 { '-' } else { '+' };
            let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
            if minutes == 0 {
                format!("GMT{sign}{hours}")
            } else {
                format!("GMT{sign}{hours}:{minutes:02}")
            }
        }
        _ => {
            let sign = if seconds < 0 { '-' } else { '+' };
            let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
            let colon = if count == 3 && letter != 'Z' { ":" } else { "" };
            if count == 1 && letter != 'Z' && minutes == 0 {
                format!("{sign}{hours:02}")
            } else {
                format!("{sign}{hours:02}{colon}{minutes:02}")
            }
        }
    };
    out.extend_from_slice(text.as_bytes());
}

fn name(full: &str, count: usize, out: &mut Vec<u8>) {
    let shown = if count == 3 {
        full.get(..3).unwrap_or(full)
    } else {
        full
    };
    out.extend_from_slice(shown.as_bytes());
}

fn fraction(micros: i64, count: usize, out: &mut Vec<u8>) {
    let digits = format!("{micros:06}000");
    out.extend_from_slice(digits.get(..count).unwrap_or(&digits).as_bytes());
}

/// What was read so far.
#[derive(Clone, Copy, Default)]
struct Found {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: Option<i64>,
    hour_of_half: Option<i64>,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
    offset_minutes: Option<i64>,
}

impl Found {
    fn micros(self, zone: &Zone) -> Option<i64> {
        let year = self.year.unwrap_or(1970);
        let days = match self.day_of_year {
            Some(nth) => Civil::checked(year, 1, 1)?.days() + nth - 1,
            None => Civil::checked(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?.days(),
        };
        let hour = match (self.hour, self.hour_of_half) {
            (Some(hour), _) => hour,
            (None, Some(hour)) => hour + 12 * i64::from(self.afternoon.unwrap_or(false)),
            (None, None) => 0,
        };
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let seconds = hour * 3600 + self.minute * 60 + self.second;
        let local = days
            .checked_mul(DAY)?
            .checked_add(seconds * SECOND + self.micros)?;
        match self.offset_minutes {
            Some(minutes) => local.checked_sub(minutes * 60 * SECOND),
            None => zone.instant(local),
        }
    }
}

fn read<'a>(parts: &[Part], text: &'a str, found: &mut Found) -> Option<&'a str> {
    let mut rest = text;
    for (idx, part) in parts.iter().enumerate() {
        match part {
            Part::Text(literal) => rest = rest.strip_prefix(literal.as_str())?,
            Part::Optional(inner) => {
                let mut attempt = *found;
                if let Some(after) = read(inner, rest, &mut attempt) {
                    *found = attempt;
                    rest = after;
                }
            }
            Part::Field(letter, count) => {
                let adjacent = matches!(parts.get(idx + 1), Some(Part::Field(next, _))
                    if next.is_ascii_alphabetic() && !"aEGzZXxVO".contains(*next));
                rest = read_field((*letter, *count), adjacent, rest, found)?;
            }
        }
    }
    Some(rest)
}

fn read_field<'a>(
    (letter, count): (char, usize),
    adjacent: bool,
    text: &'a str,
    found: &mut Found,
) -> Option<&'a str> {
    let most = match (letter, count) {
        ('y', 2) => 2,
        ('y', n) if adjacent => n,
        ('y', _) => 9,
        ('S', n) => n,
        (_, 1) if !adjacent => 3,
        (_, n) => n,
    };
    match letter {
        'M' | 'L' if count > 2 => {
            let (month, rest) = read_name(&MONTHS, count, text)?;
            found.month = Some(month + 1);
            return Some(rest);
        }
        'E' => {
            let (_, rest) = read_name(&WEEKDAYS, if count < 4 { 3 } else { 4 }, text)?;
            return Some(rest);
        }
        'a' => {
            let half = text.get(..2)?;
            found.afternoon = Some(match half.to_ascii_uppercase().as_str() {
                "AM" => false,
                "PM" => true,
                _ => return None,
            });
            return text.get(2..);
        }
        'G' => return text.strip_prefix("AD"),
        'z' | 'Z' | 'X' | 'x' | 'V' | 'O' => return read_offset(text, found),
        _ => {}
    }
    let digits = text
        .bytes()
        .take(most)
        .take_while(u8::is_ascii_digit)
        .count();
    if digits < count || digits == 0 {
        return None;
    }
    let number: i64 = text.get(..digits)?.parse().ok()?;
    match letter {
        'y' if count == 2 => found.year = Some(2000 + number),
        'y' => found.year = Some(number),
        'M' | 'L' => found.month = Some(number),
        'd' => found.day = Some(number),
        'D' => found.day_of_year = Some(number),
        'H' => found.hour = Some(number),
        'k' => found.hour = Some(number % 24),
        'h' | 'K' => found.hour_of_half = Some(number % 12),
        'm' => found.minute = number,
        's' => found.second = number,
        'S' => {
            let nanos = number * 10_i64.pow(9 - u32::try_from(count).ok()?);
            found.micros = nanos / 1000;
        }
        _ => return None,
    }
    text.get(digits..)
}

fn read_name<'a>(names: &[&str], count: usize, text: &'a str) -> Option<(i64, &'a str)> {
    for (idx, full) in (0i64..).zip(names) {
        let name = if count == 3 { full.get(..3)? } else { full };
        if let Some(head) = text.get(..name.len())
            && head == name
        {
            return Some((idx, text.get(name.len()..)?));
        }
    }
    None
}

/// `Z`, `UTC`, `GMT`, `+01`, `+0100`, `+01:00`.
fn read_offset<'a>(text: &'a str, found: &mut Found) -> Option<&'a str> {
    for zero in ["UTC", "GMT", "Z"] {
        if let Some(rest) = text.strip_prefix(zero) {
            found.offset_minutes = Some(0);
            return Some(rest);
        }
    }
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let hours: i64 = text.get(1..3)?.parse().ok()?;
    let after = text.get(3..)?;
    let bare = after.strip_prefix(':').unwrap_or(after);
    let minutes = bare.get(..2).and_then(|digits| digits.parse::<i64>().ok());
    let rest = if minutes.is_some() {
        bare.get(2..)?
    } else {
        after
    };
    found.offset_minutes = Some(sign * (hours * 60 + minutes.unwrap_or(0)));
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(pattern: &str, micros: i64) -> String {
        let mut out = Vec::new();
        match Pattern::new(pattern) {
            Ok(pattern) => pattern.write(micros, &Zone::utc(), &mut out),
            Err(error) => return error.to_string(),
        }
        String::from_utf8(out).expect("text")
    }

    fn read(pattern: &str, text: &str) -> Option<String> {
        let micros = Pattern::new(pattern).ok()?.read(text, &Zone::utc())?;
        Some(write("yyyy-MM-dd HH:mm:ss.SSSSSS", micros))
    }

    #[test]
    fn writing() {
        let at = 1_710_115_199_500_000;
        assert_eq!(
            write("yyyy-MM-dd HH:mm:ss.SSS", at),
            "2024-03-10 23:59:59.500"
        );
        assert_eq!(
            write("EEEE, d MMM yy h:mm a", at),
            "Sunday, 10 Mar 24 11:59 PM"
        );
        assert_eq!(
            write("yyyy-MM-dd'T'HH:mm:ssXXX", at),
            "2024-03-10T23:59:59Z"
        );
        assert_eq!(write("D Q QQQ E ''", at), "70 1 Q1 Sun '");
        assert_eq!(write("YYYY", at), "unknown pattern letter \"Y\"");
        assert_eq!(write("HH", -1), "23");
    }

    #[test]
    fn reading() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            read("dd.MM.yyyy HH:mm", "01.02.2023 14:05"),
            some("2023-02-01 14:05:00.000000")
        );
        assert_eq!(read("dd.MM.yyyy", "30.02.2023"), None);
        assert_eq!(read("dd.MM.yyyy", "01.02.2023 "), None);
        assert_eq!(
            read("yyyyMMddHHmm", "202302011405"),
            some("2023-02-01 14:05:00.000000")
        );
        assert_eq!(read("d/M/yy", "1/2/23"), some("2023-02-01 00:00:00.000000"));
        assert_eq!(read("h a", "12 AM"), some("1970-01-01 00:00:00.000000"));
        assert_eq!(
            read("MMM d yyyy", "Feb 29 2024"),
            some("2024-02-29 00:00:00.000000")
        );
        assert_eq!(
            read("yyyy-MM-dd[ HH:mm]", "2024-02-29"),
            some("2024-02-29 00:00:00.000000")
        );
        assert_eq!(
            read(
                "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
                "2024-02-29T10:00:00.250+01:00"
            ),
            some("2024-02-29 09:00:00.250000")
        );
    }
}
