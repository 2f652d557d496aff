//! Instants as texts by a pattern. Allocates nothing but for names of zones.

use super::{Part, month_name, weekday_name};
use crate::{
    civil::{Civil, DAY, SECOND, weekday},
    number,
    zone::Zone,
};

/// An instant and what a clock shows then.
pub(super) struct Moment<'a> {
    at: i64,
    days: i64,
    in_day: i64,
    civil: Civil,
    zone: &'a Zone,
}

impl Moment<'_> {
    pub(super) fn new(at: i64, zone: &Zone) -> Moment<'_> {
        let local = zone.local(at);
        let days = local.div_euclid(DAY);
        Moment {
            at,
            days,
            in_day: local.rem_euclid(DAY),
            civil: Civil::from_days(days),
            zone,
        }
    }
}

pub(super) fn write(parts: &[Part], has_era: bool, moment: &Moment<'_>, out: &mut Vec<u8>) {
    for part in parts {
        match part {
            Part::Text(literal) => out.extend_from_slice(literal.as_bytes()),
            Part::Optional(inner) => write(inner, has_era, moment, out),
            Part::Field(field) if field.letter == 'y' => year(field.count, has_era, moment, out),
            Part::Field(field) => write_field(field.letter, field.count, moment, out),
        }
    }
}

/// A year; where the pattern names the era, it counts from there.
fn year(count: usize, has_era: bool, moment: &Moment<'_>, out: &mut Vec<u8>) {
    let year = moment.civil.year;
    let year = if has_era && year < 1 { 1 - year } else { year };
    if count == 2 {
        return padded(year.abs() % 100, 2, out);
    }
    if year < 0 {
        out.push(b'-');
    } else if count >= 4 && year.unsigned_abs() >= 10_u64.pow(u32::try_from(count).unwrap_or(4)) {
        out.push(b'+');
    }
    padded(year.abs(), count, out);
}

fn padded(number: i64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    number::integer(number, out);
    let written = out.len() - start;
    if written < width {
        let zeros = std::iter::repeat_n(b'0', width - written);
        out.splice(start..start, zeros);
    }
}

fn write_field(letter: char, count: usize, moment: &Moment<'_>, out: &mut Vec<u8>) {
    let Moment { civil, in_day, .. } = *moment;
    let hour = in_day / (3600 * SECOND);
    let number = match letter {
        'M' | 'L' if count > 2 => return name(month_name(civil.month), count, out),
        'M' | 'L' => civil.month,
        'd' => civil.day,
        'D' => civil.day_of_year(),
        'F' => (civil.day - 1) % 7 + 1,
        'Q' | 'q' if count > 2 => return quarter(civil.quarter(), count, out),
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
            return name(weekday_name(weekday(moment.days)), count, out);
        }
        'a' => {
            let half: &[u8] = if hour < 12 { b"AM" } else { b"PM" };
            return out.extend_from_slice(half);
        }
        'G' => {
            let era: &[u8] = match (civil.year > 0, count) {
                (true, 4) => b"Anno Domini",
                (true, _) => b"AD",
                (false, 4) => b"Before Christ",
                (false, _) => b"BC",
            };
            return out.extend_from_slice(era);
        }
        _ => return write_zone(letter, count, moment, out),
    };
    padded(number, count, out);
}

fn quarter(quarter: i64, count: usize, out: &mut Vec<u8>) {
    if count == 3 {
        out.push(b'Q');
        return number::integer(quarter, out);
    }
    let text: &[u8] = match quarter {
        1 => b"1st quarter",
        2 => b"2nd quarter",
        3 => b"3rd quarter",
        _ => b"4th quarter",
    };
    out.extend_from_slice(text);
}

/// The zone itself, or its offset in one of Java's forms.
fn write_zone(letter: char, count: usize, moment: &Moment<'_>, out: &mut Vec<u8>) {
    let zone = moment.zone;
    let seconds = zone.offset_at(moment.at);
    match (letter, count) {
        ('V', _) => out.extend_from_slice(zone.name().as_bytes()),
        ('z', 4) if zone.name() == "UTC" => out.extend_from_slice(b"Coordinated Universal Time"),
        ('z', _) => out.extend_from_slice(zone.abbreviation_at(moment.at).as_bytes()),
        ('O', _) | ('Z', 4) => localized(seconds, count == 4, out),
        ('X', _) | ('Z', 5) if seconds == 0 => out.push(b'Z'),
        ('X' | 'x', 1) => offset(seconds, Form::Short, out),
        ('X' | 'x', 2) | ('Z', 1..=3) => offset(seconds, Form::Minutes(""), out),
        ('X' | 'x', 3) => offset(seconds, Form::Minutes(":"), out),
        ('X' | 'x', 4) => offset(seconds, Form::Seconds(""), out),
        _ => offset(seconds, Form::Seconds(":"), out),
    }
}

/// How an offset is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Minutes only where there are some.
    Short,
    /// With minutes, and what stands before them.
    Minutes(&'static str),
    /// With minutes, and with seconds where there are some.
    Seconds(&'static str),
}

fn offset(seconds: i64, form: Form, out: &mut Vec<u8>) {
    out.push(if seconds < 0 { b'-' } else { b'+' });
    let total = seconds.abs();
    padded(total / 3600, 2, out);
    let (minutes, rest) = (total / 60 % 60, total % 60);
    let colon = match form {
        Form::Short if minutes == 0 => return,
        Form::Short => "",
        Form::Minutes(colon) | Form::Seconds(colon) => colon,
    };
    out.extend_from_slice(colon.as_bytes());
    padded(minutes, 2, out);
    if rest != 0 && matches!(form, Form::Seconds(_)) {
        out.extend_from_slice(colon.as_bytes());
        padded(rest, 2, out);
    }
}

/// `GMT`, `GMT+2`, `GMT+02:00`.
fn localized(seconds: i64, full: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"GMT");
    if seconds == 0 {
        return;
    }
    if full {
        return offset(seconds, Form::Seconds(":"), out);
    }
    out.push(if seconds < 0 { b'-' } else { b'+' });
    let total = seconds.abs();
    number::integer(total / 3600, out);
    let (minutes, rest) = (total / 60 % 60, total % 60);
    if minutes != 0 || rest != 0 {
        out.push(b':');
        padded(minutes, 2, out);
    }
    if rest != 0 {
        out.push(b':');
        padded(rest, 2, out);
    }
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
    let start = out.len();
    number::padded::<6>(micros.unsigned_abs(), out);
    out.extend_from_slice(b"000");
    out.truncate(start + count);
}
