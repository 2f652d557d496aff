//! Java's date patterns: `yyyy-MM-dd HH:mm:ss.SSS`, `dd MMM yy hh:mm a`, `'T'`, `[optional]`.
//!
//! A letter that Spark does not know, or that depends on a locale's weeks, is refused when the pattern
//! is read. Names are English. How texts are read is in `read`, how they are written in `write`.

mod read;
#[cfg(test)]
mod tests;
mod write;

use crate::{ValueError, instant::Instant, zone::Zone};

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
    "G", "y", "M", "L", "d", "D", "Q", "q", "E", "F", "a", "H", "h", "k", "K", "m", "s", "S", "z",
    "Z", "X", "x", "V", "O",
];
/// Letters of numbers with exactly as many digits as letters, if these are more than one.
const FIXED: &str = "MLdHhkKms";
/// Digits of a number that says no width.
const DIGITS_MAX: usize = 19;
/// How deep brackets may stand in each other.
const DEPTH_MAX: usize = 32;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Field(Field),
    /// May be missing when a text is read; always written.
    Optional(Vec<Part>),
}

/// A run of one letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    letter: char,
    count: usize,
    /// Digits that the numbers behind this one take for themselves: it leaves them so many.
    reserved: usize,
}

impl Field {
    /// Whether a number with a fixed count of digits stands for it.
    fn is_fixed(self) -> bool {
        self.count == 2 && (self.letter == 'y' || FIXED.contains(self.letter))
    }

    /// Whether it is a number of as many digits as there are.
    fn is_variable(self) -> bool {
        match self.letter {
            'y' => self.count != 2,
            'D' => true,
            letter => FIXED.contains(letter) && self.count == 1,
        }
    }
}

/// A pattern that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    /// Whether it names an era, so that years count from it.
    has_era: bool,
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
    /// for one that stands too often in a row, [`ValueError::Pattern`] for brackets and quotes that
    /// do not fit.
    pub fn new(text: &str) -> Result<Pattern, ValueError> {
        let mut open: Vec<Vec<Part>> = vec![Vec::new()];
        let mut chars = text.chars().peekable();
        let mut has_era = false;
        while let Some(c) = chars.next() {
            let part = match c {
                '\'' => Part::Text(quoted(&mut chars)?.into()),
                '[' if open.len() > DEPTH_MAX => return Err(wrong("too many brackets")),
                '[' => {
                    open.push(Vec::new());
                    continue;
                }
                ']' if open.len() > 1 => Part::Optional(reserved(open.pop().unwrap_or_default())),
                c if c.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    has_era |= c == 'G';
                    Part::Field(field(c, count)?)
                }
                ']' => return Err(wrong("a bracket that closes nothing")),
                '{' | '}' | '#' => return Err(unknown(c)),
                c => Part::Text(c.to_string().into()),
            };
            if let Some(parts) = open.last_mut() {
                push(parts, part);
            }
        }
        // What was opened and not closed ends with the pattern.
        while open.len() > 1 {
            let inner = reserved(open.pop().unwrap_or_default());
            if let Some(parts) = open.last_mut() {
                push(parts, Part::Optional(inner));
            }
        }
        Ok(Pattern {
            parts: reserved(open.pop().unwrap_or_default()),
            has_era,
        })
    }

    /// Whether Spark reads texts by this pattern: names of weekdays and quarters are only written.
    #[must_use]
    pub fn can_read(&self) -> bool {
        fn all(parts: &[Part]) -> bool {
            parts.iter().all(|part| match part {
                Part::Text(_) => true,
                Part::Field(field) => !"EFQq".contains(field.letter),
                Part::Optional(inner) => all(inner),
            })
        }
        all(&self.parts)
    }

    /// Appends what the clock of a zone shows at an instant, given in microseconds since 1970.
    pub fn write(&self, micros: i64, zone: &Zone, out: &mut Vec<u8>) {
        write::write(
            &self.parts,
            self.has_era,
            &write::Moment::new(micros, zone),
            out,
        );
    }

    /// Reads an instant, in microseconds since 1970; a text without an offset shows the clock of `zone`.
    /// `None` if the text does not fit.
    #[must_use]
    pub fn read(&self, text: &str, zone: &Zone) -> Option<i64> {
        self.parse(text.as_bytes())?.micros(zone)
    }

    /// Reads what a clock shows, and the zone that the text names. `None` if the text does not fit.
    #[must_use]
    pub fn parse(&self, text: &[u8]) -> Option<Instant> {
        read::read(&self.parts, self.has_era, text)
    }
}

/// Appends a part; text goes with the text before it.
fn push(parts: &mut Vec<Part>, part: Part) {
    if let (Some(Part::Text(before)), Part::Text(text)) = (parts.last_mut(), &part) {
        *before = format!("{before}{text}").into();
        return;
    }
    parts.push(part);
}

/// Says to each number without a width how many digits those right behind it need.
fn reserved(mut parts: Vec<Part>) -> Vec<Part> {
    let mut behind = 0;
    for part in parts.iter_mut().rev() {
        match part {
            Part::Field(field) if field.is_fixed() => behind += 2,
            Part::Field(field) if field.is_variable() => {
                field.reserved = behind;
                behind = 0;
            }
            Part::Field(_) | Part::Text(_) | Part::Optional(_) => behind = 0,
        }
    }
    parts
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, ValueError> {
    if chars.next_if_eq(&'\'').is_some() {
        return Ok("'".to_owned());
    }
    let mut text = String::new();
    while let Some(c) = chars.next() {
        if c != '\'' {
            text.push(c);
        } else if chars.next_if_eq(&'\'').is_some() {
            text.push('\'');
        } else {
            return Ok(text);
        }
    }
    Err(wrong("a quoted text that does not end"))
}

fn wrong(what: &'static str) -> ValueError {
    ValueError::Pattern { what }
}

fn unknown(letter: char) -> ValueError {
    ValueError::UnknownWord {
        kind: "pattern letter",
        word: letter.to_string(),
        known: LETTERS,
    }
}

fn field(letter: char, count: usize) -> Result<Field, ValueError> {
    let (least, most) = match letter {
        'y' => (1, 6),
        'M' | 'L' | 'E' | 'G' | 'Q' | 'q' | 'z' | 'O' => (1, 4),
        'd' | 'H' | 'h' | 'k' | 'K' | 'm' | 's' => (1, 2),
        'V' => (2, 2),
        'D' => (1, 3),
        'X' | 'x' | 'Z' => (1, 5),
        'S' => (1, 9),
        'a' | 'F' => (1, 1),
        _ => return Err(unknown(letter)),
    };
    if count < least || count > most || (letter == 'O' && !matches!(count, 1 | 4)) {
        return Err(ValueError::PatternCount {
            letter,
            count,
            most,
        });
    }
    Ok(Field {
        letter,
        count,
        reserved: 0,
    })
}
