//! Spark's functions of texts: regular expressions as Java's extract and replace use them.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListBuilder, StringArray, StringBuilder,
    },
    datatypes::Int32Type,
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::ScalarUDF,
};
use regex::Regex;

use super::{
    misfit::failed,
    simple::{Call, Gives, Simple, Want, text_of},
};
use crate::SqlError;

const TWO: &[Want] = &[Want::Text, Want::Text];
const TWO_AND_NUMBER: &[Want] = &[Want::Text, Want::Text, Want::Int];

const TABLE: &[Simple] = &[
    Simple::new("regexp_extract", TWO_AND_NUMBER, Gives::Text, extract)
        .optional(1)
        .checked(check_regex),
    Simple::new(
        "regexp_extract_all",
        TWO_AND_NUMBER,
        Gives::Texts,
        extract_all,
    )
    .optional(1)
    .checked(check_regex),
    Simple::new(
        "regexp_replace",
        &[Want::Text, Want::Text, Want::Text, Want::Int],
        Gives::Text,
        replace,
    )
    .optional(1)
    .checked(check_regex),
    Simple::new("regexp_like", TWO, Gives::Boolean, |call| {
        let found = with_regex(call, |text, regex, _| Ok(Some(regex.is_match(text))))?;
        Ok(Arc::new(BooleanArray::from(found)))
    })
    .aliases(&["rlike", "regexp"])
    .checked(check_regex),
    Simple::new("regexp_substr", TWO, Gives::Text, |call| {
        let found = with_regex(call, |text, regex, _| {
            let found = regex.find(text).filter(|found| !found.is_empty());
            Ok(found.map(|found| found.as_str().to_owned()))
        })?;
        Ok(Arc::new(StringArray::from(found)))
    })
    .checked(check_regex),
    Simple::new("regexp_count", TWO, Gives::Int, |call| {
        let found = with_regex(call, |text, regex, _| {
            Ok(i32::try_from(regex.find_iter(text).count()).ok())
        })?;
        Ok(Arc::new(Int32Array::from(found)))
    })
    .checked(check_regex),
];

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

/// A pattern, ready to run.
///
/// # Errors
/// When it is none.
pub(super) fn compile(pattern: &str) -> Result<Regex, SqlError> {
    Regex::new(pattern).map_err(|_| SqlError::Types {
        message: format!("[INVALID_PARAMETER_VALUE.PATTERN] not a regular expression: {pattern:?}"),
    })
}

/// Refuses a second argument that is no pattern.
///
/// # Errors
/// When it is a literal and no pattern.
pub(super) fn check_regex(literals: &[Option<&ScalarValue>]) -> Result<(), SqlError> {
    text_of(literals, 1).map_or(Ok(()), |pattern| compile(pattern).map(|_| ()))
}

/// Runs over rows whose text and pattern are there; a pattern is compiled once in a row.
fn with_regex<T>(
    call: &Call<'_>,
    mut run: impl FnMut(&str, &Regex, usize) -> Result<Option<T>>,
) -> Result<Vec<Option<T>>> {
    let texts = call.arguments[0].as_string::<i32>();
    let patterns = call.arguments[1].as_string::<i32>();
    let mut last: Option<(String, Regex)> = None;
    let mut out = Vec::with_capacity(texts.len());
    for (row, pair) in texts.iter().zip(patterns).enumerate() {
        let (Some(text), Some(pattern)) = pair else {
            out.push(None);
            continue;
        };
        let regex = match last.take().filter(|(known, _)| known == pattern) {
            Some((_, regex)) => regex,
            None => compile(pattern).map_err(SqlError::into_datafusion)?,
        };
        out.push(run(text, &regex, row)?);
        last = Some((pattern.to_owned(), regex));
    }
    Ok(out)
}

/// The number of a row, or a default where there is no such argument; `None` for null.
fn number(call: &Call<'_>, row: usize, default: i32) -> Option<i32> {
    match call.arguments.get(2) {
        None => Some(default),
        Some(numbers) if numbers.is_null(row) => None,
        Some(numbers) => Some(numbers.as_primitive::<Int32Type>().value(row)),
    }
}

fn lists(rows: Vec<Option<Vec<String>>>) -> ArrayRef {
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in rows {
        match row {
            Some(parts) => out.append_value(parts.into_iter().map(Some)),
            None => out.append_null(),
        }
    }
    Arc::new(out.finish())
}

/// The group that a call names, checked against the pattern.
fn group(call: &Call<'_>, regex: &Regex, row: usize) -> Result<Option<usize>> {
    let Some(group) = number(call, row, 1) else {
        return Ok(None);
    };
    match usize::try_from(group) {
        Ok(group) if group < regex.captures_len() => Ok(Some(group)),
        _ => Err(failed(format!(
            "[INVALID_PARAMETER_VALUE.REGEX_GROUP_INDEX] the regular expression has no such group group={group}"
        ))),
    }
}

fn extract(call: &Call<'_>) -> Result<ArrayRef> {
    let found = with_regex(call, |text, regex, row| {
        let Some(group) = group(call, regex, row)? else {
            return Ok(None);
        };
        let captures = regex.captures(text);
        let part = captures.and_then(|captures| Some(captures.get(group)?.as_str().to_owned()));
        Ok(Some(part.unwrap_or_default()))
    })?;
    Ok(Arc::new(StringArray::from(found)))
}

fn extract_all(call: &Call<'_>) -> Result<ArrayRef> {
    let found = with_regex(call, |text, regex, row| {
        let Some(group) = group(call, regex, row)? else {
            return Ok(None);
        };
        let parts = regex.captures_iter(text);
        Ok(Some(
            parts
                .map(|captures| {
                    let part = captures.get(group);
                    part.map(|part| part.as_str().to_owned())
                        .unwrap_or_default()
                })
                .collect(),
        ))
    })?;
    Ok(lists(found))
}

/// All matches; `$1` is a group and `\$` a dollar, as Java has it.
fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let replacements = call.arguments[2].as_string::<i32>();
    let found = with_regex(call, |text, regex, row| {
        if replacements.is_null(row) {
            return Ok(None);
        }
        let replacement = java_replacement(replacements.value(row), regex.captures_len());
        let from = match call.arguments.get(3) {
            Some(from) if from.is_null(row) => return Ok(None),
            Some(from) => from.as_primitive::<Int32Type>().value(row),
            None => 1,
        };
        let skipped = usize::try_from(from - 1).unwrap_or(0);
        let start = text.char_indices().nth(skipped);
        let (kept, rest) = text.split_at(start.map_or(text.len(), |(at, _)| at));
        let Some(replacement) = replacement else {
            if regex.is_match(rest) {
                return Err(failed(
                    "[INVALID_REGEXP_REPLACE] a replacement names a group that is not there",
                ));
            }
            return Ok(Some(text.to_owned()));
        };
        let replaced = regex.replace_all(rest, replacement.as_str());
        Ok(Some(format!("{kept}{replaced}")))
    })?;
    Ok(Arc::new(StringArray::from(found)))
}

/// A replacement as the regex crate writes it; `None` if it names a group that is not there. Of
/// digits behind a dollar as many belong to the group's number as there are groups.
fn java_replacement(text: &str, groups: usize) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                '$' => out.push_str("$$"),
                other => out.push(other),
            },
            '$' => {
                let digit = |c: &mut std::iter::Peekable<std::str::Chars<'_>>| {
                    let digit = c.peek()?.to_digit(10)?;
                    usize::try_from(digit).ok()
                };
                let mut group = digit(&mut chars).filter(|group| *group < groups)?;
                chars.next();
                while let Some(next) = digit(&mut chars).map(|digit| group * 10 + digit)
                    && next < groups
                {
                    group = next;
                    chars.next();
                }
                out.push_str(&format!("${{{group}}}"));
            }
            c => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, arguments: &[&str], number: Option<i32>) -> String {
        let mut columns: Vec<ArrayRef> = arguments
            .iter()
            .map(|text| Arc::new(StringArray::from(vec![*text])) as ArrayRef)
            .collect();
        columns.extend(number.map(|n| Arc::new(Int32Array::from(vec![n])) as ArrayRef));
        let call = Call {
            arguments: columns,
            rows: 1,
            gives: &arrow::datatypes::DataType::Utf8,
        };
        let simple = TABLE.iter().find(|simple| simple.name == name);
        simple.map_or_else(String::new, |simple| match (simple.run)(&call) {
            Ok(array) => arrow::util::display::array_value_to_string(&array, 0).unwrap_or_default(),
            Err(error) => error.to_string(),
        })
    }

    #[test]
    fn as_java_has_it() {
        assert_eq!(
            run("regexp_extract", &["100-200", "(\\d+)-(\\d+)"], Some(2)),
            "200"
        );
        assert_eq!(run("regexp_extract", &["none", "(\\d+)"], None), "");
        assert_eq!(
            run("regexp_extract_all", &["1-2, 3-4", "(\\d)-(\\d)"], None),
            "[1, 3]"
        );
        assert_eq!(
            run("regexp_replace", &["a1b2", "([a-z])(\\d)", "$2$1\\$"], None),
            "1a$2b$"
        );
    }
}
