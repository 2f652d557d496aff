//! `split`: parts of a text, as Java's `split` makes them.
//!
//! Most separators are plain text, for which no regular expression is run; the parts of a batch are
//! written one behind the other into one array.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, StringBuilder},
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, Field, Int32Type},
};
use datafusion::{common::Result, logical_expr::ScalarUDF};
use memchr::{memchr_iter, memmem};
use regex::Regex;

use super::{
    simple::{Call, Gives, Simple, Want},
    text::{check_regex, compile},
};
use crate::SqlError;

const SPLIT: Simple = Simple::new(
    "split",
    &[Want::Text, Want::Text, Want::Int],
    Gives::Texts,
    split,
)
.optional(1)
.checked(check_regex);

/// `split` alone.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![SPLIT.udf()]
}

/// What stands between parts.
enum Separator {
    Byte(u8),
    Text(Box<memmem::Finder<'static>>),
    Pattern(Regex),
}

impl Separator {
    fn new(pattern: &str) -> Result<Separator, SqlError> {
        Ok(match literal(pattern) {
            Some(text) => match text.as_bytes() {
                [byte] => Separator::Byte(*byte),
                text => Separator::Text(Box::new(memmem::Finder::new(text).into_owned())),
            },
            None => Separator::Pattern(compile(pattern)?),
        })
    }

    /// Gives the parts of a text, at most so many; says how many there are. With a limit the last part
    /// is the rest.
    fn parts(&self, text: &str, most: usize, give: impl FnMut(&str)) -> usize {
        let bytes = text.as_bytes();
        match self {
            Separator::Byte(byte) => {
                let found = memchr_iter(*byte, bytes).map(|at| (at, at + 1));
                between(text, found.take(most - 1), give)
            }
            Separator::Text(separator) => {
                let length = separator.needle().len();
                let found = separator.find_iter(bytes).map(|at| (at, at + length));
                between(text, found.take(most - 1), give)
            }
            // A match without width makes no empty part in front and behind.
            Separator::Pattern(regex) => {
                let found = regex
                    .find_iter(text)
                    .map(|found| (found.start(), found.end()));
                let found = found
                    .filter(|(start, end)| start != end || (*start != 0 && *start != text.len()));
                between(text, found.take(most - 1), give)
            }
        }
    }
}

/// Gives what stands between separators; says how many parts that are.
fn between(
    text: &str,
    separators: impl Iterator<Item = (usize, usize)>,
    mut give: impl FnMut(&str),
) -> usize {
    let (mut from, mut count) = (0, 1);
    for (start, end) in separators {
        give(text.get(from..start).unwrap_or_default());
        from = end;
        count += 1;
    }
    give(text.get(from..).unwrap_or_default());
    count
}

/// The text that a pattern matches and nothing else, if it is one: plain characters, punctuation behind a
/// backslash, or alone in brackets. Never the empty text.
fn literal(pattern: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = pattern.chars();
    while let Some(next) = chars.next() {
        match next {
            '\\' => text.push(chars.next().filter(char::is_ascii_punctuation)?),
            '[' => {
                text.push(chars.next().filter(|c| !"^\\[]&-".contains(*c))?);
                chars.next().filter(|c| *c == ']')?;
            }
            '.' | '*' | '+' | '?' | '(' | ')' | ']' | '{' | '}' | '^' | '$' | '|' => return None,
            plain => text.push(plain),
        }
    }
    (!text.is_empty()).then_some(text)
}

fn split(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.arguments[0].as_string::<i32>();
    let patterns = call.arguments[1].as_string::<i32>();
    let limits = call.arguments.get(2);
    let limits = limits.map(|limits| limits.as_primitive::<Int32Type>());
    let mut nulls = NullBuffer::union(texts.nulls(), patterns.nulls());
    if let Some(limits) = limits {
        nulls = NullBuffer::union(nulls.as_ref(), limits.nulls());
    }
    let mut parts = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    let mut lengths = Vec::with_capacity(texts.len());
    let mut last: Option<(&str, Separator)> = None;
    for row in 0..texts.len() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            lengths.push(0);
            continue;
        }
        let pattern = patterns.value(row);
        let separator = match last.take() {
            Some((known, separator)) if known == pattern => separator,
            _ => Separator::new(pattern).map_err(SqlError::into_datafusion)?,
        };
        let limit = limits.map_or(-1, |limits| limits.value(row));
        // None, or a number that is not positive, is no limit.
        let most = usize::try_from(limit).ok().filter(|most| *most > 0);
        let most = most.unwrap_or(usize::MAX);
        lengths.push(separator.parts(texts.value(row), most, |part| parts.append_value(part)));
        last = Some((pattern, separator));
    }
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let list = ListArray::try_new(item, offsets, Arc::new(parts.finish()), nulls)?;
    Ok(Arc::new(list))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn run(text: &str, pattern: &str, limit: Option<i32>) -> String {
        let mut arguments: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![text])),
            Arc::new(StringArray::from(vec![pattern])),
        ];
        arguments.extend(limit.map(|limit| Arc::new(Int32Array::from(vec![limit])) as ArrayRef));
        let gives = DataType::new_list(DataType::Utf8, true);
        let call = Call {
            arguments,
            rows: 1,
            gives: &gives,
        };
        let list = split(&call).expect("splits");
        arrow::util::display::array_value_to_string(&list, 0).expect("can be shown")
    }

    #[test]
    fn as_java_has_it() {
        assert_eq!(run("a1b2c3", "[0-9]", None), "[a, b, c, ]");
        assert_eq!(run("a,b,c", ",", Some(2)), "[a, b,c]");
        assert_eq!(run("a,b,c", ",", Some(1)), "[a,b,c]");
        assert_eq!(run("a,b,,", ",", Some(0)), "[a, b, , ]");
        assert_eq!(run("abc", "", None), "[a, b, c]");
        assert_eq!(run("abc", "", Some(2)), "[a, bc]");
        assert_eq!(run("", ",", None), "[]");
        assert_eq!(run("a..b", "\\.", None), "[a, , b]");
        assert_eq!(run("a<b", "\\<", None), "[a, b]");
        assert_eq!(run("a||b|c", "[|][|]", None), "[a, b|c]");
        assert_eq!(run("ä→b→", "→", None), "[ä, b, ]");
    }

    #[test]
    fn plain_text_is_told_from_patterns() {
        for (pattern, text) in [
            (" ", Some(" ")),
            (", ", Some(", ")),
            ("\\|", Some("|")),
            ("[.]", Some(".")),
            ("->", Some("->")),
            ("", None),
            (".", None),
            ("\\s", None),
            ("\\1", None),
            ("[^a]", None),
            ("[a-z]", None),
            ("[[]]", None),
            ("a|b", None),
            ("\\", None),
            ("(?i)x", None),
        ] {
            assert_eq!(literal(pattern).as_deref(), text, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn plain_text_splits_as_its_pattern_does(
            text in "[ab.é ]{0,12}",
            separator in "[ab.é ]{1,2}",
            limit in -1i32..4,
        ) {
            let escaped = regex::escape(&separator);
            let pattern = format!("(?:{escaped})");
            prop_assert!(literal(&escaped).is_some() && literal(&pattern).is_none());
            prop_assert_eq!(run(&text, &escaped, Some(limit)), run(&text, &pattern, Some(limit)));
        }
    }
}
