//! One row of a script as text: bars between cells, quotes and escapes.
//!
//! Knows no types: whether `7` is a number or a text is for `value`. Tests: below and in
//! `tests/it/cells.rs`.

use std::fmt::Write as _;

/// One cell as it stands in the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its text, without quotes and escapes.
    pub text: String,
    /// Whether it stood in quotes; then it is text, even if it reads `null`.
    pub quoted: bool,
    /// Where it begins, in characters from 1.
    pub column: u64,
}

impl Cell {
    /// Whether the cell is the null value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        !self.quoted && self.text == "null"
    }
}

/// A row that cannot be split: where in the line (from 1), and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadRow {
    pub(crate) column: u64,
    pub(crate) message: &'static str,
}

/// Splits a row at its bars. `skip` characters at the front (the sign of a change) are left out.
pub(crate) fn split(line: &str, skip: usize) -> Result<Vec<Cell>, BadRow> {
    let chars: Vec<char> = line.chars().collect();
    let mut cells = Vec::new();
    let mut at = skip;
    loop {
        at = past_space(&chars, at);
        let begin = at;
        let column = column_of(begin);
        let (text, quoted) = match chars.get(at) {
            Some('"') => {
                let (text, end) = quoted_text(&chars, at)?;
                at = past_space(&chars, end);
                if !matches!(chars.get(at), None | Some('|')) {
                    let message = "nothing may follow the closing quote of a cell";
                    return Err(BadRow {
                        column: column_of(at),
                        message,
                    });
                }
                (text, true)
            }
            Some('[' | '{') => {
                at = json_end(&chars, at).unwrap_or_else(|| bar(&chars, begin));
                (plain(&chars, begin, at), false)
            }
            _ => {
                at = bar(&chars, at);
                (plain(&chars, begin, at), false)
            }
        };
        if text.is_empty() && !quoted {
            let message = "the cell is empty: write null, or \"\" for an empty text";
            return Err(BadRow { column, message });
        }
        cells.push(Cell {
            text,
            quoted,
            column,
        });
        if at >= chars.len() {
            return Ok(cells);
        }
        at += 1;
    }
}

/// A text as a cell that [`split`] reads back to the same text.
pub(crate) fn quote_if_needed(text: &str) -> String {
    let plain = !text.is_empty()
        && text != "null"
        && text != "(none)"
        && text.trim() == text
        && !text.starts_with(['"', '#'])
        && !(text.starts_with(['[', '{']) && text.contains('"'))
        && !text.contains('|')
        && !text.chars().any(char::is_control);
    if plain { text.to_owned() } else { quoted(text) }
}

/// A text in double quotes with JSON's escapes.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Reads the quoted text that begins at `at`; answers the text and the place after its last quote.
pub(crate) fn quoted_text(chars: &[char], at: usize) -> Result<(String, usize), BadRow> {
    let mut text = String::new();
    let mut units: Vec<u16> = Vec::new();
    let mut place = at + 1;
    loop {
        let bad = |message| BadRow {
            column: column_of(at),
            message,
        };
        let c = *chars
            .get(place)
            .ok_or_else(|| bad("the quoted text has no closing quote"))?;
        place += 1;
        if c == '\\' && chars.get(place) == Some(&'u') {
            let unit = hex4(chars, place + 1).ok_or_else(|| bad("\\u needs four hex digits"))?;
            units.push(unit);
            place += 5;
            continue;
        }
        if !units.is_empty() {
            let decoded = String::from_utf16(&units).map_err(|_| bad("\\u makes no character"))?;
            text.push_str(&decoded);
            units.clear();
        }
        match c {
            '"' => return Ok((text, place)),
            '\\' => {
                let escape = chars
                    .get(place)
                    .ok_or_else(|| bad("the escape has no end"))?;
                text.push(match escape {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    '"' | '\\' | '/' => *escape,
                    _ => return Err(bad("unknown escape: use \\\" \\\\ \\n \\r \\t or \\uXXXX")),
                });
                place += 1;
            }
            c => text.push(c),
        }
    }
}

fn hex4(chars: &[char], at: usize) -> Option<u16> {
    let digits: String = chars.get(at..at + 4)?.iter().collect();
    digits
        .chars()
        .all(|c| c.is_ascii_hexdigit())
        .then(|| u16::from_str_radix(&digits, 16).ok())?
}

fn past_space(chars: &[char], mut at: usize) -> usize {
    while chars.get(at).is_some_and(|c| c.is_whitespace()) {
        at += 1;
    }
    at
}

fn bar(chars: &[char], at: usize) -> usize {
    chars
        .iter()
        .skip(at)
        .position(|c| *c == '|')
        .map_or(chars.len(), |offset| at + offset)
}

/// The bar that ends a JSON cell: bars inside its strings do not count. None if a string stays open,
/// as in a plain text such as `[6" pipe`.
fn json_end(chars: &[char], begin: usize) -> Option<usize> {
    let mut in_string = false;
    let mut at = begin;
    while let Some(c) = chars.get(at) {
        match c {
            '\\' if in_string => at += 1,
            '"' => in_string = !in_string,
            '|' if !in_string => return Some(at),
            _ => {}
        }
        at += 1;
    }
    (!in_string).then_some(chars.len())
}

fn plain(chars: &[char], begin: usize, end: usize) -> String {
    let text: String = chars.iter().skip(begin).take(end - begin).collect();
    text.trim_end().to_owned()
}

pub(crate) fn column_of(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(line: &str, want: &Expect) {
        let got = match split(line, 0) {
            Ok(cells) => {
                let cells: Vec<_> = cells
                    .iter()
                    .map(|c| {
                        format!(
                            "{}{:?}@{}",
                            if c.quoted { "q" } else { "" },
                            c.text,
                            c.column
                        )
                    })
                    .collect();
                cells.join(" ")
            }
            Err(bad) => format!("column {}: {}", bad.column, bad.message),
        };
        want.assert_eq(&got);
    }

    #[test]
    fn bars_part_cells_and_space_around_them_is_nothing() {
        check("a b |  7|null", &expect![[r#""a b"@1 "7"@8 "null"@10"#]]);
    }

    #[test]
    fn quotes_keep_bars_spaces_and_the_word_null() {
        check(
            r#"" a|b " | "null" | """#,
            &expect![[r#"q" a|b "@1 q"null"@11 q""@20"#]],
        );
        check(
            r#""say \"hi\"\n\u00e9""#,
            &expect![[r#"q"say \"hi\"\né"@1"#]],
        );
    }

    #[test]
    fn bars_inside_json_strings_belong_to_the_cell() {
        check(
            r#"{"a": "x|y"} | [1,2]"#,
            &expect![[r#""{\"a\": \"x|y\"}"@1 "[1,2]"@16"#]],
        );
        check(r#"[6" pipe | 2"#, &expect![[r#""[6\" pipe"@1 "2"@12"#]]);
    }

    #[test]
    fn what_cannot_be_a_row_says_where() {
        check(
            "a | ",
            &expect![[r#"column 5: the cell is empty: write null, or "" for an empty text"#]],
        );
        check(
            r#"a | "b"#,
            &expect!["column 5: the quoted text has no closing quote"],
        );
        check(
            r#""a" b | c"#,
            &expect!["column 5: nothing may follow the closing quote of a cell"],
        );
        check(
            r#""\q""#,
            &expect![[r#"column 1: unknown escape: use \" \\ \n \r \t or \uXXXX"#]],
        );
    }

    #[test]
    fn texts_are_quoted_only_where_they_must_be() {
        let texts = [
            "a b",
            "",
            " a",
            "null",
            "NULL",
            "a|b",
            "#1",
            "-5",
            "say \"hi\"",
            "[1]",
            "[\"a\"]",
        ];
        let shown: Vec<_> = texts.into_iter().map(quote_if_needed).collect();
        expect![[r##"a b, "", " a", "null", NULL, "a|b", "#1", -5, say "hi", [1], "[\"a\"]""##]]
            .assert_eq(&shown.join(", "));
    }
}
