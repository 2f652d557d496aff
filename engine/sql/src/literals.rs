//! Literals as Spark writes them: escapes in strings, raw strings, numbers with a letter behind them,
//! intervals of several parts.
//!
//! Everything here changes tokens and keeps their places. What a number's letter means is decided
//! where the syntax tree is rewritten. Tests: below, and `tests/stream/functions/literals.stream`.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::words::is_word;

/// Letters behind a number, and the type that they give it.
pub(crate) const SUFFIXES: [(&str, &str); 6] = [
    ("BD", "DECIMAL"),
    ("L", "BIGINT"),
    ("S", "SMALLINT"),
    ("Y", "TINYINT"),
    ("F", "FLOAT"),
    ("D", "DOUBLE"),
];

/// A number and the letters behind it.
pub(crate) fn split_suffix(digits: &str) -> Option<(&str, &'static str)> {
    SUFFIXES
        .iter()
        .find_map(|(suffix, name)| Some((digits.strip_suffix(suffix)?, *name)))
}

/// Makes of raw tokens, as the tokenizer gives them without reading escapes, what Spark reads.
pub(crate) fn read(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for mut token in tokens {
        let adjacent = out
            .last()
            .is_some_and(|last| last.span.end == token.span.start);
        match &mut token.token {
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => {
                // sqlparser has no strings in double quotes in expressions.
                let text = std::mem::take(text);
                if adjacent && is_word(out.last(), "r") {
                    out.pop();
                    token.token = Token::SingleQuotedString(text);
                } else if is_word(out.last(), "x") {
                    // Blanks may stand between the letter and the digits.
                    out.pop();
                    token.token = hexadecimal(text);
                } else {
                    let quote = match token.token {
                        Token::DoubleQuotedString(_) => "\"\"",
                        _ => "''",
                    };
                    token.token = Token::SingleQuotedString(unescaped(&text, quote));
                }
            }
            Token::HexStringLiteral(digits) => token.token = hexadecimal(std::mem::take(digits)),
            Token::Word(word) if word.quote_style == Some('`') => {
                word.value = word.value.replace("``", "`");
            }
            Token::Word(word) if adjacent && word.quote_style.is_none() => {
                if let Some(number) = with_suffix(out.last(), word) {
                    if let Some(last) = out.last_mut() {
                        last.token = number;
                        last.span.end = token.span.end;
                    }
                    continue;
                }
            }
            Token::Number(digits, long) if *long => {
                digits.push('L');
                *long = false;
            }
            _ => {}
        }
        out.push(token);
    }
    out
}

/// The digits of `X'…'`; before an odd number of them stands a 0.
fn hexadecimal(digits: String) -> Token {
    if digits.len().is_multiple_of(2) {
        return Token::HexStringLiteral(digits);
    }
    Token::HexStringLiteral(format!("0{digits}"))
}

/// `1.5` and `D` that stand together.
fn with_suffix(last: Option<&TokenWithSpan>, word: &Word) -> Option<Token> {
    let Some(Token::Number(digits, _)) = last.map(|last| &last.token) else {
        return None;
    };
    let suffix = word.value.to_ascii_uppercase();
    let known = SUFFIXES.iter().any(|(known, _)| *known == suffix);
    (known && split_suffix(digits).is_none())
        .then(|| Token::Number(format!("{digits}{suffix}"), false))
}

/// A string's text; `doubled` is a quote inside it.
fn unescaped(raw: &str, doubled: &str) -> String {
    let halved = if raw.contains(doubled) {
        raw.replace(doubled, &doubled[..1])
    } else {
        raw.to_owned()
    };
    if !halved.contains('\\') {
        return halved;
    }
    let mut out = String::with_capacity(halved.len());
    let mut rest = halved.as_str();
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = escape(&rest[at + 1..], &mut out);
    }
    out.push_str(rest);
    out
}

/// Writes the character that an escape stands for, and gives what follows it.
fn escape<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let mut letters = rest.chars();
    let Some(first) = letters.next() else {
        out.push('\\');
        return rest;
    };
    let coded = |length: usize, radix: u32| {
        let digits = rest.get(usize::from(radix == 16)..length)?;
        let all = digits.chars().all(|digit| digit.is_digit(radix));
        let code = u32::from_str_radix(digits, radix).ok()?;
        all.then(|| char::from_u32(code)).flatten()
    };
    let number = match first {
        'u' => coded(5, 16).map(|found| (found, 5)),
        'U' => coded(9, 16).map(|found| (found, 9)),
        '0' | '1' => coded(3, 8).map(|found| (found, 3)),
        _ => None,
    };
    if let Some((found, length)) = number {
        out.push(found);
        return &rest[length..];
    }
    match first {
        '0' => out.push('\0'),
        'b' => out.push('\u{8}'),
        'n' => out.push('\n'),
        'r' => out.push('\r'),
        't' => out.push('\t'),
        'Z' => out.push('\u{1A}'),
        // For LIKE, which reads them again.
        '%' => out.push_str("\\%"),
        '_' => out.push_str("\\_"),
        other => out.push(other),
    }
    letters.as_str()
}

/// Units of intervals, as people write them.
const UNITS: [&str; 9] = [
    "YEAR",
    "QUARTER",
    "MONTH",
    "WEEK",
    "DAY",
    "HOUR",
    "MINUTE",
    "SECOND",
    "MILLISECOND",
];

fn unit(token: Option<&TokenWithSpan>) -> Option<String> {
    let Some(Token::Word(word)) = token.map(|token| &token.token) else {
        return None;
    };
    let name = word.value.to_ascii_uppercase();
    let singular = name.strip_suffix('S').unwrap_or(&name);
    let is_unit = UNITS.contains(&singular) || singular == "MICROSECOND";
    (word.quote_style.is_none() && is_unit).then(|| singular.to_owned())
}

/// `INTERVAL 1 DAY 2 HOURS` and `INTERVAL '1 02:03:04' DAY TO SECOND` with all parts in one text.
pub(crate) fn plain_intervals(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        out.push(token.clone());
        at += 1;
        if is_word(Some(token), "TIMESTAMP_LTZ") && is_text(tokens.get(at)) {
            if let Some(last) = out.last_mut() {
                last.token = Token::make_keyword("TIMESTAMP");
            }
            continue;
        }
        if let (true, Some(Token::SingleQuotedString(digits))) = (
            is_word(Some(token), "X"),
            tokens.get(at).map(|next| &next.token),
        ) {
            // With a blank between, sqlparser takes them for a name and a text.
            if let Some(last) = out.last_mut() {
                last.token = Token::HexStringLiteral(digits.clone());
            }
            at += 1;
            continue;
        }
        if !is_word(Some(token), "INTERVAL") {
            continue;
        }
        if let Some((name, length)) = fields(&tokens[at..]) {
            if let Some(last) = out.last_mut() {
                last.token = Token::make_word(name, None);
            }
            at += length;
            continue;
        }
        let parts = between(&tokens[at..]).or_else(|| several(&tokens[at..]));
        if let Some((text, length)) = parts {
            let literal = Token::SingleQuotedString(text);
            out.push(TokenWithSpan::new(literal, tokens[at].span));
            at += length;
        }
    }
    out
}

fn is_text(token: Option<&TokenWithSpan>) -> bool {
    token.is_some_and(|token| matches!(token.token, Token::SingleQuotedString(_)))
}

/// `YEAR TO MONTH` where a type's name stands: a name that sqlparser takes, and how many tokens it is.
fn fields(tokens: &[TokenWithSpan]) -> Option<(&'static str, usize)> {
    let first = unit(tokens.first())?;
    let last = is_word(tokens.get(1), "TO").then(|| unit(tokens.get(2)));
    let name = match first.as_str() {
        "YEAR" | "MONTH" => "INTERVAL_YEAR_TO_MONTH",
        "DAY" | "HOUR" | "MINUTE" | "SECOND" => "INTERVAL_DAY_TO_SECOND",
        _ => return None,
    };
    match last {
        None => Some((name, 1)),
        Some(Some(_)) => Some((name, 3)),
        Some(None) => None,
    }
}

/// `1 DAY 2 HOURS` → `1 DAY 2 HOUR` and how many tokens these were; nothing for a single part.
fn several(tokens: &[TokenWithSpan]) -> Option<(String, usize)> {
    let mut parts = Vec::new();
    let mut at = 0;
    loop {
        let minus = tokens.get(at).is_some_and(|t| t.token == Token::Minus);
        let value = tokens.get(at + usize::from(minus)).map(|t| &t.token);
        let (Some(Token::Number(value, _) | Token::SingleQuotedString(value)), Some(unit)) =
            (value, unit(tokens.get(at + usize::from(minus) + 1)))
        else {
            break;
        };
        let sign = if minus { "-" } else { "" };
        parts.push(format!("{sign}{value} {unit}"));
        at += usize::from(minus) + 2;
    }
    (parts.len() > 1).then(|| (parts.join(" "), at))
}

/// `'1 02:03:04' DAY TO SECOND`.
fn between(tokens: &[TokenWithSpan]) -> Option<(String, usize)> {
    let minus = tokens.first().is_some_and(|t| t.token == Token::Minus);
    let at = usize::from(minus);
    let Some(Token::SingleQuotedString(text)) = tokens.get(at).map(|t| &t.token) else {
        return None;
    };
    let first = unit(tokens.get(at + 1))?;
    let last = is_word(tokens.get(at + 2), "TO").then(|| unit(tokens.get(at + 3)))??;
    let text = text.trim();
    let (text, inner_minus) = match text.strip_prefix('-') {
        Some(text) => (text, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    };
    let sign = if minus == inner_minus { "" } else { "-" };
    let position = |name: &str| UNITS.iter().position(|unit| *unit == name);
    let units: Vec<&str> = UNITS
        .get(position(&first)?..=position(&last)?)?
        .iter()
        .copied()
        .filter(|unit| !["QUARTER", "WEEK"].contains(unit))
        .collect();
    let numbers: Vec<&str> = text.split(['-', ' ', ':']).collect();
    if numbers.len() != units.len() {
        return None;
    }
    let parts: Vec<String> = numbers
        .iter()
        .zip(units)
        .map(|(number, unit)| format!("{sign}{number} {unit}"))
        .collect();
    Some((parts.join(" "), at + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_sparks() {
        let cases = [
            (r"a\tb", "a\tb"),
            (r"\u00e9\U0001F600", "é😀"),
            (r"\101\0", "A\0"),
            (r"100\%\_\d", "100\\%\\_d"),
            ("it''s", "it's"),
            (r"\", "\\"),
        ];
        for (raw, read) in cases {
            assert_eq!(unescaped(raw, "''"), read, "{raw}");
        }
    }
}
