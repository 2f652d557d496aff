//! Texts read by a pattern, strictly: every letter of the text belongs to a part, and every field is in
//! its range. Names and literals may be in any case, as Spark has it.

use super::{DIGITS_MAX, Field, MONTHS, Part};
use crate::{
    civil::{Civil, DAY, SECOND},
    instant::{Instant, Stated},
    zone::{self, Zone},
};

/// Names of clocks in summer that are no names of zones.
const SUMMER_NAMES: &[(&str, &str)] = &[
    ("CDT", "America/Chicago"),
    ("CEST", "CET"),
    ("EDT", "America/New_York"),
    ("EEST", "EET"),
    ("MDT", "America/Denver"),
    ("PDT", "America/Los_Angeles"),
    ("WEST", "WET"),
];

/// Reads a whole text.
pub(super) fn read(parts: &[Part], has_era: bool, text: &[u8]) -> Option<Instant> {
    let mut reader = Reader {
        text,
        found: Found::default(),
    };
    reader.parts(parts)?;
    if !reader.text.is_empty() {
        return None;
    }
    reader.found.instant(has_era)
}

/// What was read so far.
#[derive(Clone, Default)]
struct Found {
    year: Option<i64>,
    before_christ: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: Option<i64>,
    /// From 0.
    hour_of_half: Option<i64>,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
    zone: Stated,
}

impl Found {
    fn instant(self, has_era: bool) -> Option<Instant> {
        let mut year = self.year.unwrap_or(1970);
        if has_era && self.year.is_some() {
            if year < 1 {
                return None;
            }
            year = if self.before_christ { 1 - year } else { year };
        }
        let days = match self.day_of_year {
            Some(nth) => {
                let first = Civil::checked(year, 1, 1)?;
                let days = first.days() + nth - 1;
                (nth >= 1 && Civil::from_days(days).year == year).then_some(days)?
            }
            None => Civil::checked(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?.days(),
        };
        let hour = match (self.hour, self.hour_of_half, self.afternoon) {
            (Some(hour), _, _) => hour,
            (None, Some(hour), afternoon) => hour + 12 * i64::from(afternoon.unwrap_or(false)),
            (None, None, Some(true)) => 12,
            (None, None, _) => 0,
        };
        let seconds = hour * 3600 + self.minute * 60 + self.second;
        Some(Instant {
            local: days
                .checked_mul(DAY)?
                .checked_add(seconds * SECOND + self.micros)?,
            zone: self.zone,
        })
    }
}

struct Reader<'a> {
    text: &'a [u8],
    found: Found,
}

impl Reader<'_> {
    fn parts(&mut self, parts: &[Part]) -> Option<()> {
        for part in parts {
            match part {
                Part::Text(literal) => self.literal(literal.as_bytes())?,
                Part::Field(field) => self.field(*field)?,
                Part::Optional(inner) => {
                    let (text, found) = (self.text, self.found.clone());
                    if self.parts(inner).is_none() {
                        self.text = text;
                        self.found = found;
                    }
                }
            }
        }
        Some(())
    }

    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        let (head, rest) = self.text.split_at_checked(literal.len())?;
        self.text = rest;
        head.eq_ignore_ascii_case(literal).then_some(())
    }

    fn field(&mut self, field: Field) -> Option<()> {
        match field.letter {
            'M' | 'L' if field.count > 2 => {
                let name = |full: &'static str| {
                    if field.count == 3 {
                        full.get(..3).unwrap_or(full)
                    } else {
                        full
                    }
                };
                let month = MONTHS.iter().position(|full| self.word(name(full)))?;
                self.found.month = Some(i64::try_from(month).ok()? + 1);
                return Some(());
            }
            'a' => {
                let afternoon = self.word("PM");
                self.found.afternoon = Some(afternoon);
                return (afternoon || self.word("AM")).then_some(());
            }
            'G' => {
                let names = if field.count == 4 {
                    ["Anno Domini", "Before Christ"]
                } else {
                    ["AD", "BC"]
                };
                let era = names.iter().position(|name| self.word(name))?;
                self.found.before_christ = era == 1;
                return Some(());
            }
            'z' | 'V' => return self.zone(),
            'Z' | 'X' | 'x' | 'O' => return self.offset(field),
            'S' => return self.fraction(field.count),
            'E' | 'F' | 'Q' | 'q' => return None,
            _ => {}
        }
        let number = if field.is_fixed() {
            self.digits(2, 2)?
        } else {
            self.number(field)?
        };
        let within =
            |range: std::ops::RangeInclusive<i64>| range.contains(&number).then_some(number);
        match field.letter {
            'y' if field.count == 2 => self.found.year = Some(2000 + number),
            'y' => self.found.year = Some(number),
            'M' | 'L' => self.found.month = Some(number),
            'd' => self.found.day = Some(number),
            'D' => self.found.day_of_year = Some(number),
            'H' => self.found.hour = Some(within(0..=23)?),
            'k' => self.found.hour = Some(within(1..=24)? % 24),
            'h' => self.found.hour_of_half = Some(within(1..=12)? % 12),
            'K' => self.found.hour_of_half = Some(within(0..=11)?),
            'm' => self.found.minute = within(0..=59)?,
            's' => self.found.second = within(0..=59)?,
            _ => return None,
        }
        Some(())
    }

    /// A number without a fixed count of digits; it leaves those behind it what they need.
    fn number(&mut self, field: Field) -> Option<i64> {
        let sign = match self.text.first()? {
            b'-' if field.letter != 'D' => -1,
            b'+' if field.letter == 'y' && field.count >= 4 => 1,
            _ => 0,
        };
        let plus = sign == 1;
        let body = self.text.get(usize::from(sign != 0)..)?;
        let there = body.iter().take(DIGITS_MAX + field.reserved);
        let there = there.take_while(|b| b.is_ascii_digit()).count();
        let (least, most) = match field.letter {
            'y' => (field.count, DIGITS_MAX),
            'D' => (field.count, 3),
            _ => (1, DIGITS_MAX),
        };
        let taken = there.saturating_sub(field.reserved).clamp(least, most);
        // Four letters take more than four digits only behind a plus, and a plus only before more.
        let exceeds = field.letter == 'y' && field.count >= 4 && sign >= 0;
        if exceeds && (taken > field.count) != plus {
            return None;
        }
        self.text = body;
        let number = self.digits(taken, taken)?;
        Some(if sign < 0 { -number } else { number })
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.text.iter().take(most);
        let count = count.take_while(|b| b.is_ascii_digit()).count();
        if count < least {
            return None;
        }
        let (digits, rest) = self.text.split_at_checked(count)?;
        self.text = rest;
        // What overflows is beyond every range.
        let digit =
            |value: i64, digit: &u8| value.checked_mul(10)?.checked_add(i64::from(digit - b'0'));
        digits.iter().try_fold(0_i64, digit)
    }

    /// Up to as many digits of a second's fraction as there are letters.
    fn fraction(&mut self, most: usize) -> Option<()> {
        let before = self.text.len();
        let value = self.digits(1, most)?;
        let count = u32::try_from(before - self.text.len()).ok()?;
        self.found.micros = value * SECOND / 10_i64.pow(count);
        Some(())
    }

    /// Goes over a word in any case, if it comes next.
    fn word(&mut self, word: &str) -> bool {
        let found = self
            .text
            .get(..word.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()));
        if found {
            self.text = self.text.get(word.len()..).unwrap_or(&[]);
        }
        found
    }

    /// A zone's name, or that of its clock in summer: the longest that there is.
    fn zone(&mut self) -> Option<()> {
        let part = |b: &u8| b.is_ascii_alphanumeric() || b"/_+-:~.".contains(b);
        let end = self.text.iter().take_while(|b| part(b)).count();
        for len in (1..=end).rev() {
            let name = std::str::from_utf8(self.text.get(..len)?).ok()?;
            let summer = SUMMER_NAMES.iter().find(|(summer, _)| *summer == name);
            let name = summer.map_or(name, |(_, zone)| zone);
            if let Ok(zone) = name.parse::<Zone>() {
                self.found.zone = Stated::Zone(Box::new(zone));
                self.text = self.text.get(len..)?;
                return Some(());
            }
        }
        None
    }

    fn offset(&mut self, field: Field) -> Option<()> {
        let (letter, count) = (field.letter, field.count);
        let localized = letter == 'O' || (letter == 'Z' && count == 4);
        let zulu = letter == 'X' || (letter == 'Z' && count == 5);
        if localized && !self.word("GMT") {
            return None;
        }
        let signed = matches!(self.text.first(), Some(b'+' | b'-'));
        if !signed && (localized || (zulu && self.word("Z"))) {
            self.found.zone = Stated::Offset(0);
            return Some(());
        }
        // Which digits may follow the hour, and what stands between.
        let (colon, minutes, seconds) = match (letter, count) {
            ('O', 1) => (true, Need::May, true),
            ('X' | 'x', 1) => (false, Need::May, false),
            ('X' | 'x', 2) | ('Z', 1..=3) => (false, Need::Must, false),
            ('X' | 'x', 3) => (true, Need::Must, false),
            ('X' | 'x', 4) => (false, Need::Must, true),
            _ => (true, Need::Must, true),
        };
        let sign = self.text.first().copied();
        self.text = self.text.get(1..)?;
        let sign = match sign {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return None,
        };
        let hours = if letter == 'O' && count == 1 {
            self.digits(1, 2)?
        } else {
            self.digits(2, 2)?
        };
        let mut total = hours * 3600;
        match self.pair(colon) {
            Some(minutes) => {
                total += minutes * 60;
                if seconds && let Some(rest) = self.pair(colon) {
                    total += rest;
                }
            }
            None if minutes == Need::Must => return None,
            None => {}
        }
        self.found.zone = Stated::Offset(sign * total);
        (total <= zone::OFFSET_SECONDS_MAX).then_some(())
    }

    /// Two digits below 60, behind a colon or not; nothing is taken where there are none.
    fn pair(&mut self, colon: bool) -> Option<i64> {
        let text = self.text;
        let rest = if colon {
            text.strip_prefix(b":")?
        } else {
            text
        };
        self.text = rest;
        let number = self.digits(2, 2).filter(|number| *number < 60);
        if number.is_none() {
            self.text = text;
        }
        number
    }
}

/// Whether minutes are needed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    May,
    Must,
}
