//! Times as texts by Java's patterns, on the clock of a place.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, TimestampMicrosecondType},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::ScalarUDF,
};
use millstream_values::{pattern::Pattern, zone::Zone};

use super::{
    misfit::{Misfit, failed},
    simple::{Call, Gives, Simple, Want, text_of},
    values::times,
};
use crate::SqlError;

/// The pattern that Spark takes when none is given.
pub(crate) const DEFAULT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

/// An instant as a text: the instant, the pattern, the zone.
pub(crate) const FORMAT_IN: &str = "__format_in";
/// A text as an instant: the text, the pattern, the zone.
pub(crate) const READ_IN: &str = "__read_in";
/// The same, or null.
pub(crate) const TRY_READ_IN: &str = "__try_read_in";
/// A text as an instant, as a cast reads it: the text, the zone.
pub(crate) const TEXT_IN: &str = "__text_in";
/// The same, or null.
pub(crate) const TRY_TEXT_IN: &str = "__try_text_in";

const TEXTS: &[Want] = &[Want::Text, Want::Text, Want::Text];
const TWO_TEXTS: &[Want] = &[Want::Text, Want::Text];

const HIDDEN: &[Simple] = &[
    Simple::new(
        FORMAT_IN,
        &[Want::Timestamp, Want::Text, Want::Text],
        Gives::Text,
        |call| {
            let at = call.arguments[0].as_primitive::<TimestampMicrosecondType>();
            written(at, call.arguments.get(1), &call.zone(2)?)
        },
    )
    .checked(check_pattern),
    Simple::new(READ_IN, TEXTS, Gives::Timestamp, |call| {
        read_in(call, Misfit::Fails)
    })
    .checked(check_pattern),
    Simple::new(TRY_READ_IN, TEXTS, Gives::Timestamp, |call| {
        read_in(call, Misfit::IsNull)
    })
    .checked(check_pattern),
    Simple::new(TEXT_IN, TWO_TEXTS, Gives::Timestamp, |call| {
        times(
            &call.arguments[0],
            call.gives,
            &call.zone(1)?,
            Misfit::Fails,
        )
    }),
    Simple::new(TRY_TEXT_IN, TWO_TEXTS, Gives::Timestamp, |call| {
        times(
            &call.arguments[0],
            call.gives,
            &call.zone(1)?,
            Misfit::IsNull,
        )
    }),
];

/// Those that only our rewriting calls.
pub(super) fn hidden() -> Vec<Arc<ScalarUDF>> {
    HIDDEN.iter().map(|simple| simple.udf()).collect()
}

/// One of them.
pub(crate) fn hidden_function(name: &str) -> Option<Arc<ScalarUDF>> {
    let found = HIDDEN.iter().find(|simple| simple.name == name);
    found.map(|simple| simple.udf())
}

/// Whether the second argument, where it is a literal, is a pattern.
pub(super) fn check_pattern(literals: &[Option<&ScalarValue>]) -> Result<(), SqlError> {
    let pattern = text_of(literals, 1).map(Pattern::new).transpose();
    pattern.map(|_| ()).map_err(SqlError::from)
}

fn read_in(call: &Call<'_>, misfit: Misfit) -> Result<ArrayRef> {
    let zone = call.zone(2)?;
    let read = parsed(&call.arguments[0], &call.arguments[1], misfit, &zone)?;
    Ok(Arc::new(read.with_timezone("UTC")))
}

/// Patterns as they come, each read once in a row.
#[derive(Default)]
struct Patterns {
    last: Option<(String, Pattern)>,
}

impl Patterns {
    fn get(&mut self, text: &str) -> Result<&Pattern> {
        if self.last.as_ref().is_none_or(|(known, _)| known != text) {
            let pattern =
                Pattern::new(text).map_err(|error| SqlError::from(error).into_datafusion())?;
            self.last = Some((text.to_owned(), pattern));
        }
        match &self.last {
            Some((_, pattern)) => Ok(pattern),
            None => Err(failed("a pattern was read and is gone")),
        }
    }
}

/// Texts as instants.
///
/// # Errors
/// A pattern is none; a text does not fit, unless it is null then.
pub(super) fn parsed(
    input: &ArrayRef,
    patterns: &ArrayRef,
    misfit: Misfit,
    zone: &Zone,
) -> Result<TimestampMicrosecondArray> {
    let input = cast(input, &DataType::Utf8)?;
    let mut known = Patterns::default();
    let mut out = TimestampMicrosecondArray::builder(input.len());
    for pair in input
        .as_string::<i32>()
        .iter()
        .zip(patterns.as_string::<i32>())
    {
        let (Some(text), Some(pattern)) = pair else {
            out.append_null();
            continue;
        };
        match known.get(pattern)?.read(text, zone) {
            Some(micros) => out.append_value(micros),
            None if misfit == Misfit::Fails => {
                return Err(failed(format!(
                    "[CANNOT_PARSE_TIMESTAMP] a text does not fit its pattern pattern={pattern:?}"
                )));
            }
            None => out.append_null(),
        }
    }
    Ok(out.finish())
}

/// Instants as texts.
///
/// # Errors
/// A pattern is none.
pub(super) fn written(
    at: &TimestampMicrosecondArray,
    patterns: Option<&ArrayRef>,
    zone: &Zone,
) -> Result<ArrayRef> {
    let mut known = Patterns::default();
    let mut out = Vec::with_capacity(at.len());
    for (row, at) in at.iter().enumerate() {
        let pattern = match patterns {
            None => Some(DEFAULT_PATTERN),
            Some(patterns) if patterns.is_null(row) => None,
            Some(patterns) => Some(patterns.as_string::<i32>().value(row)),
        };
        out.push(match (at, pattern) {
            (Some(at), Some(pattern)) => {
                let mut text = Vec::new();
                known.get(pattern)?.write(at, zone, &mut text);
                Some(String::from_utf8_lossy(&text).into_owned())
            }
            _ => None,
        });
    }
    Ok(Arc::new(StringArray::from(out)))
}
