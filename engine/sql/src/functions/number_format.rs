//! `to_char` and `to_number` of numbers: patterns such as `S999,990.00`.
//!
//! A pattern is digits (`0`, `9`) with separators (`,` or `G`) between them, at most one point (`.`
//! or `D`), and around them a dollar sign, and a sign as `S`, `MI` or `PR`. Tests: below, and
//! `tests/stream/functions/number_formats.stream`.

use crate::SqlError;

/// A pattern that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NumberFormat {
    pieces: Vec<Piece>,
    /// Digits before and behind the point.
    whole: usize,
    fraction: usize,
}

/// How many digits stand in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    /// The pattern begins with 0: all of them.
    Exactly,
    /// It begins with 9: as many as there are.
    AtMost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Digits(usize, Count),
    Separator,
    Point,
    Dollar,
    /// `S`: a plus or a minus.
    Sign,
    /// `MI`: a minus, or blanks.
    Minus,
    /// `PR`: brackets around what is negative.
    Open,
    Close,
}

impl NumberFormat {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`SqlError::Types`] for a pattern that says nothing or contradicts itself.
    pub(super) fn new(pattern: &str) -> Result<NumberFormat, SqlError> {
        let wrong = |why: &str| SqlError::Types {
            message: format!("[INVALID_FORMAT] {why} pattern={pattern:?}"),
        };
        let mut pieces = Vec::new();
        let upper = pattern.to_ascii_uppercase();
        let mut rest = upper.as_str();
        while let Some(letter) = rest.chars().next() {
            let digits = rest.len() - rest.trim_start_matches(['0', '9']).len();
            let (piece, length) = match letter {
                '0' => (Piece::Digits(digits, Count::Exactly), digits),
                '9' => (Piece::Digits(digits, Count::AtMost), digits),
                ',' | 'G' => (Piece::Separator, 1),
                '.' | 'D' => (Piece::Point, 1),
                '$' => (Piece::Dollar, 1),
                'S' => (Piece::Sign, 1),
                'M' if rest.starts_with("MI") => (Piece::Minus, 2),
                'P' if rest.starts_with("PR") => (Piece::Close, 2),
                _ => return Err(wrong("a pattern has only 0 9 . D , G $ S MI and PR")),
            };
            pieces.push(piece);
            rest = rest.get(length..).unwrap_or_default();
        }
        check(&pieces).map_err(wrong)?;
        if pieces.last() == Some(&Piece::Close) {
            pieces.insert(0, Piece::Open);
        }
        let point = pieces.iter().position(|piece| *piece == Piece::Point);
        let (whole, fraction) = pieces.split_at(point.unwrap_or(pieces.len()));
        let (whole, fraction) = (digits_of(whole), digits_of(fraction));
        Ok(NumberFormat {
            pieces,
            whole,
            fraction,
        })
    }

    /// Precision and scale of what [`NumberFormat::read`] gives.
    pub(super) fn digits(&self) -> (usize, usize) {
        (self.whole + self.fraction, self.fraction)
    }

    /// The number of a text, as a whole number of units of the last digit behind the point; `None` if
    /// the text is not of this pattern.
    pub(super) fn read(&self, text: &str) -> Option<i128> {
        let mut rest = text;
        let (mut whole, mut fraction) = (String::new(), String::new());
        let (mut behind, mut negative) = (false, false);
        let mut pieces = self.pieces.as_slice();
        while let Some((piece, more)) = pieces.split_first() {
            pieces = more;
            match piece {
                Piece::Digits(..) | Piece::Separator => {
                    let run = pieces
                        .iter()
                        .take_while(|piece| matches!(piece, Piece::Digits(..) | Piece::Separator))
                        .count();
                    let groups: Vec<Piece> = std::iter::once(*piece)
                        .chain(pieces.iter().take(run).copied())
                        .collect();
                    pieces = pieces.get(run..).unwrap_or_default();
                    let digits = if behind { &mut fraction } else { &mut whole };
                    rest = read_groups(&groups, rest, digits)?;
                }
                Piece::Point => {
                    if let Some(after) = rest.strip_prefix('.') {
                        (rest, behind) = (after, true);
                    }
                }
                Piece::Dollar => rest = rest.strip_prefix('$')?,
                Piece::Sign => match rest.strip_prefix('-') {
                    Some(after) => (rest, negative) = (after, true),
                    None => rest = rest.strip_prefix('+').unwrap_or(rest),
                },
                Piece::Minus => {
                    if let Some(after) = rest.strip_prefix('-') {
                        (rest, negative) = (after, true);
                    }
                }
                Piece::Open => rest = rest.strip_prefix('<')?,
                Piece::Close => (rest, negative) = (rest.strip_prefix('>')?, true),
            }
        }
        if !rest.is_empty() || whole.len() + fraction.len() == 0 {
            return None;
        }
        let missing = self.fraction.checked_sub(fraction.len())?;
        let digits = format!("{whole}{fraction}{}", "0".repeat(missing));
        let value: i128 = digits.parse().ok()?;
        Some(if negative { -value } else { value })
    }

    /// A number as text. `number` has a minus if it is negative, and no exponent. A number with more
    /// digits than the pattern is shown as `#`; nothing to show is `None`.
    pub(super) fn write(&self, number: &str) -> Option<String> {
        let negative =
            number.starts_with('-') && number.bytes().any(|b| (b'1'..=b'9').contains(&b));
        let digits = number.trim_start_matches('-');
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let (whole, fraction) = (
            whole.trim_start_matches('0'),
            fraction.trim_end_matches('0'),
        );
        let (whole, fraction) = if whole.len() > self.whole || fraction.len() > self.fraction {
            ("#".repeat(self.whole), "#".repeat(self.fraction))
        } else {
            (
                format!("{whole:>width$}", width = self.whole),
                format!("{fraction:0<width$}", width = self.fraction),
            )
        };
        let (mut whole, mut fraction) = (whole.chars(), fraction.chars());
        let (mut out, mut behind) = (String::new(), false);
        for piece in &self.pieces {
            match piece {
                Piece::Digits(count, how) => {
                    let digits = if behind { &mut fraction } else { &mut whole };
                    let filled = digits.take(*count).map(|digit| match (digit, how) {
                        (' ', Count::Exactly) => '0',
                        (digit, _) => digit,
                    });
                    filled.for_each(|digit| put_digit(&mut out, digit));
                }
                Piece::Separator => {
                    let after_digit = out.ends_with(|last: char| last.is_ascii_digit());
                    put_digit(&mut out, if after_digit { ',' } else { ' ' });
                }
                Piece::Point => {
                    if out.ends_with(' ') {
                        out.pop();
                        out.push('0');
                    }
                    out.push('.');
                    behind = true;
                }
                Piece::Dollar => out.push('$'),
                Piece::Sign => put_sign(&mut out, if negative { '-' } else { '+' }),
                Piece::Minus if negative => put_sign(&mut out, '-'),
                Piece::Minus => out.push(' '),
                Piece::Open if negative => out.push('<'),
                Piece::Open => {}
                Piece::Close if negative => put_sign(&mut out, '>'),
                Piece::Close => out.push_str("  "),
            }
        }
        without_lone_point(&mut out);
        let nothing = out.is_empty() || out == "+" || out == "-";
        (!nothing).then_some(out)
    }
}

fn digits_of(pieces: &[Piece]) -> usize {
    let count = |piece: &Piece| match piece {
        Piece::Digits(count, _) => *count,
        Piece::Separator
        | Piece::Point
        | Piece::Dollar
        | Piece::Sign
        | Piece::Minus
        | Piece::Open
        | Piece::Close => 0,
    };
    pieces.iter().map(count).sum()
}

/// Whether the pieces stand where they may: what is wrong, if not.
fn check(pieces: &[Piece]) -> Result<(), &'static str> {
    let count = |wanted: &[Piece]| pieces.iter().filter(|piece| wanted.contains(piece)).count();
    let place = |wanted: Piece| pieces.iter().position(|piece| *piece == wanted);
    let is_digits = |piece: Option<&Piece>| matches!(piece, Some(Piece::Digits(..)));
    let first_digit = pieces.iter().position(|piece| is_digits(Some(piece)));
    let Some(first_digit) = first_digit else {
        return Err("a pattern has at least one digit");
    };
    let last_digit = pieces.iter().rposition(|piece| is_digits(Some(piece)));
    if count(&[Piece::Point]) > 1
        || count(&[Piece::Dollar]) > 1
        || count(&[Piece::Sign, Piece::Minus, Piece::Close]) > 1
    {
        return Err("a pattern has one point, one dollar sign and one sign at most");
    }
    if place(Piece::Dollar).is_some_and(|dollar| {
        dollar > first_digit || place(Piece::Point).is_some_and(|point| dollar > point)
    }) {
        return Err("a dollar sign stands before the digits");
    }
    for (at, piece) in pieces.iter().enumerate() {
        let last = at + 1 == pieces.len();
        match piece {
            Piece::Separator => {
                let before = at.checked_sub(1).and_then(|before| pieces.get(before));
                if !is_digits(before) || !is_digits(pieces.get(at + 1)) {
                    return Err("a separator stands between digits");
                }
                if place(Piece::Point).is_some_and(|point| at > point) {
                    return Err("a separator stands before the point");
                }
            }
            Piece::Sign | Piece::Minus if at != 0 && !last => {
                return Err("a sign stands at the begin or at the end");
            }
            Piece::Close if !last => return Err("PR stands at the end"),
            Piece::Digits(..) => {
                let between = pieces.get(at + 1);
                let after = last_digit.is_some_and(|last_digit| at < last_digit);
                if after && !matches!(between, Some(Piece::Separator | Piece::Point)) {
                    return Err("digits stand together");
                }
            }
            Piece::Point
            | Piece::Dollar
            | Piece::Sign
            | Piece::Minus
            | Piece::Open
            | Piece::Close => {}
        }
    }
    Ok(())
}

/// Reads digits and commas from the front; groups are compared from the last one on.
fn read_groups<'a>(groups: &[Piece], text: &'a str, digits: &mut String) -> Option<&'a str> {
    let wanted: Vec<(usize, Count)> = groups
        .iter()
        .rev()
        .filter_map(|piece| match piece {
            Piece::Digits(count, how) => Some((*count, *how)),
            Piece::Separator
            | Piece::Point
            | Piece::Dollar
            | Piece::Sign
            | Piece::Minus
            | Piece::Open
            | Piece::Close => None,
        })
        .collect();
    let known = |letter: char| letter.is_ascii_digit() || letter == ',' || letter.is_whitespace();
    let rest = text.trim_start_matches(known);
    let run = text.strip_suffix(rest).unwrap_or(text);
    let found: Vec<usize> = run
        .split(',')
        .rev()
        .map(|group| group.bytes().filter(u8::is_ascii_digit).count())
        .collect();
    if found.len() > wanted.len() {
        return None;
    }
    for (at, (count, how)) in wanted.iter().enumerate() {
        let found = found.get(at).copied().unwrap_or(0);
        let fits = match how {
            Count::Exactly => found == *count,
            Count::AtMost => found <= *count,
        };
        if !fits {
            return None;
        }
    }
    digits.extend(run.chars().filter(char::is_ascii_digit));
    Some(rest)
}

/// A blank goes before a sign that stands in front, so that the sign stands at the number.
fn put_digit(out: &mut String, digit: char) {
    let sign = out.chars().last().filter(|last| "+-<".contains(*last));
    match sign {
        Some(sign) if digit == ' ' => {
            out.pop();
            out.push(' ');
            out.push(sign);
        }
        _ => out.push(digit),
    }
}

/// A sign stands at the number, and the blanks behind it.
fn put_sign(out: &mut String, sign: char) {
    without_lone_point(out);
    let solid = out.trim_end_matches(' ').len();
    out.insert(solid, sign);
}

fn without_lone_point(out: &mut String) {
    if out.ends_with('.') {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(pattern: &str) -> NumberFormat {
        NumberFormat::new(pattern).expect("a pattern")
    }

    #[test]
    fn numbers_are_written() {
        let cases = [
            ("999", "454", "454"),
            ("000D00", "454.00", "454.00"),
            ("99G999", "12454", "12,454"),
            ("$99.99", "78.12", "$78.12"),
            ("99G999D9S", "-12454.8", "12,454.8-"),
            ("99", "454", "##"),
            ("S99G999D99", "454", "   +454.00"),
            ("999PR", "-5", "  <5>"),
        ];
        for (pattern, number, text) in cases {
            assert_eq!(format(pattern).write(number).as_deref(), Some(text));
        }
    }

    #[test]
    fn numbers_are_read() {
        let cases = [
            ("999", "454", Some(454)),
            ("000.00", "454.00", Some(45400)),
            ("99,999.9S", "12,454.8-", Some(-124_548)),
            ("99PR", "<12>", Some(-12)),
            ("000", "12", None),
            ("999", "abc", None),
        ];
        for (pattern, text, number) in cases {
            assert_eq!(format(pattern).read(text), number, "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_that_say_nothing_are_refused() {
        for pattern in [
            "", "$", "9$9", "9,", ",9", "9.9,9", "S9S", "PR9", "L99", "9S9",
        ] {
            assert!(NumberFormat::new(pattern).is_err(), "{pattern}");
        }
    }
}
