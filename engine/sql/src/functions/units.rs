//! Functions over texts and binaries alike: a text is a row of characters, a binary a row of bytes.
//!
//! The arguments that may be binaries are binaries only if all of them are; otherwise they are
//! texts. Tests: `tests/stream/functions/texts_and_bytes.stream`.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, GenericByteArray, Int32Array, NullBufferBuilder,
        StringArray,
    },
    buffer::OffsetBuffer,
    datatypes::{BinaryType, ByteArrayType, DataType, Int32Type, Utf8Type},
};
use datafusion::{common::Result, logical_expr::ScalarUDF};

use super::{
    misfit::failed,
    simple::{Call, Gives, Run, Simple, Want},
};

/// The longest value that a number of characters makes.
const VALUE_MAX: usize = 1 << 27;

/// As the first argument is, once it is cast.
const SAME: Gives = Gives::Of(|types, _| {
    Ok(match types[0] {
        DataType::Binary => DataType::Binary,
        _ => DataType::Utf8,
    })
});

const UNITS: Want = Want::Units;
const TWO: &[Want] = &[UNITS, UNITS];

const TABLE: &[Simple] = &[
    Simple::new("left", &[UNITS, Want::Int], SAME, |call| {
        either(call, left::<Utf8Type>, left::<BinaryType>)
    }),
    Simple::new("right", &[Want::Text, Want::Int], Gives::Text, right),
    Simple::new("substring", &[UNITS, Want::Int, Want::Int], SAME, |call| {
        either(call, substring::<Utf8Type>, substring::<BinaryType>)
    })
    .aliases(&["substr"])
    .optional(1),
    Simple::new("lpad", &[UNITS, Want::Int, UNITS], SAME, |call| {
        either(call, pad::<Utf8Type, true>, pad::<BinaryType, true>)
    })
    .optional(1),
    Simple::new("rpad", &[UNITS, Want::Int, UNITS], SAME, |call| {
        either(call, pad::<Utf8Type, false>, pad::<BinaryType, false>)
    })
    .optional(1),
    Simple::new(
        "overlay",
        &[UNITS, UNITS, Want::Int, Want::Int],
        SAME,
        |call| either(call, overlay::<Utf8Type>, overlay::<BinaryType>),
    )
    .optional(1),
    Simple::new("contains", TWO, Gives::Boolean, |call| {
        tests(call, |whole, part| {
            memchr::memmem::find(whole, part).is_some()
        })
    }),
    Simple::new("startswith", TWO, Gives::Boolean, |call| {
        tests(call, |whole, part| whole.starts_with(part))
    }),
    Simple::new("endswith", TWO, Gives::Boolean, |call| {
        tests(call, |whole, part| whole.ends_with(part))
    }),
    Simple::new("bit_length", &[UNITS], Gives::Int, |call| lengths(call, 8)),
    Simple::new("octet_length", &[UNITS], Gives::Int, |call| {
        lengths(call, 1)
    }),
    Simple::new(
        "locate",
        &[Want::Text, Want::Text, Want::Int],
        Gives::Int,
        locate,
    )
    .aliases(&["position"])
    .optional(1),
    Simple::new(
        "instr",
        &[Want::Text, Want::Text, Want::Int, Want::Int],
        Gives::Int,
        instr,
    )
    .optional(2),
];

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

/// What texts and binaries are made of.
trait Units: ByteArrayType<Offset = i32> {
    /// What fills a value up where nothing is said.
    const FILLER: &'static Self::Native;
    /// How many units a value has.
    fn count(value: &Self::Native) -> usize;
    /// The units of a value from one place to before another; both may be behind its end.
    fn slice(value: &Self::Native, from: usize, until: usize) -> &Self::Native;
}

impl Units for Utf8Type {
    const FILLER: &'static str = " ";

    fn count(value: &str) -> usize {
        if value.is_ascii() {
            return value.len();
        }
        value.chars().count()
    }

    fn slice(value: &str, from: usize, until: usize) -> &str {
        if value.is_ascii() {
            let until = until.min(value.len());
            return value.get(from.min(until)..until).unwrap_or_default();
        }
        let start = byte_of(value, from);
        let rest = value.get(start..).unwrap_or_default();
        let end = byte_of(rest, until.saturating_sub(from));
        rest.get(..end).unwrap_or_default()
    }
}

impl Units for BinaryType {
    const FILLER: &'static [u8] = &[0];

    fn count(value: &[u8]) -> usize {
        value.len()
    }

    fn slice(value: &[u8], from: usize, until: usize) -> &[u8] {
        let until = until.min(value.len());
        value.get(from.min(until)..until).unwrap_or_default()
    }
}

/// Where in a text the character of this number begins; its end if there is none.
fn byte_of(text: &str, character: usize) -> usize {
    let mut places = text.char_indices();
    places.nth(character).map_or(text.len(), |(at, _)| at)
}

/// Values that are written in pieces.
struct Written {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Written {
    fn new(rows: usize) -> Written {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Written {
            bytes: Vec::new(),
            offsets,
            nulls: NullBufferBuilder::new(rows),
        }
    }

    fn push<T: Units>(&mut self, piece: &T::Native) {
        let piece: &[u8] = piece.as_ref();
        self.bytes.extend_from_slice(piece);
    }

    /// Ends the value of a row.
    fn end(&mut self, valid: bool) -> Result<()> {
        let end = i32::try_from(self.bytes.len())
            .map_err(|_| failed("the texts of a batch have more than 2 GB"))?;
        self.offsets.push(end);
        self.nulls.append(valid);
        Ok(())
    }

    fn finish<T: Units>(mut self) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::new(self.offsets.into());
        let values = self.bytes.into();
        let nulls = self.nulls.finish();
        Ok(Arc::new(GenericByteArray::<T>::try_new(
            offsets, values, nulls,
        )?))
    }
}

/// Runs the form for the type that the first argument has.
fn either(call: &Call<'_>, texts: Run, binaries: Run) -> Result<ArrayRef> {
    match call.arguments[0].data_type() {
        DataType::Binary => binaries(call),
        _ => texts(call),
    }
}

/// The numbers of an argument.
fn numbers<'a>(call: &'a Call<'_>, at: usize) -> Option<&'a Int32Array> {
    let numbers = call.arguments.get(at)?;
    Some(numbers.as_primitive::<Int32Type>())
}

/// A number that must be there, from 0 on.
fn length(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// The units of a value at places that may be before its begin or behind its end.
fn between<T: Units>(value: &T::Native, from: i64, until: i64) -> &T::Native {
    let place = |place: i64| usize::try_from(place.max(0)).unwrap_or(usize::MAX);
    T::slice(value, place(from), place(until))
}

/// SQL's substring: the place counts from 1, or from the end if it is negative. A length counts from
/// that place on, though it be before the begin.
fn sql_slice<T: Units>(value: &T::Native, place: i64, length: Option<i64>) -> &T::Native {
    let from = match place {
        1.. => place - 1,
        0 => 0,
        _ => i64::try_from(T::count(value)).unwrap_or(i64::MAX) + place,
    };
    let until = length.map_or(i64::MAX, |length| from.saturating_add(length));
    between::<T>(value, from, until)
}

fn left<T: Units>(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.arguments[0].as_bytes::<T>().iter();
    let lengths = call.arguments[1].as_primitive::<Int32Type>();
    let out = values
        .zip(lengths)
        .map(|(value, count)| Some(T::slice(value?, 0, length(count?))));
    Ok(Arc::new(out.collect::<GenericByteArray<T>>()))
}

fn right(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.arguments[0].as_string::<i32>().iter();
    let lengths = call.arguments[1].as_primitive::<Int32Type>();
    let out = texts.zip(lengths).map(|(text, count)| {
        let (text, count) = (text?, length(count?));
        let all = Utf8Type::count(text);
        Some(Utf8Type::slice(text, all.saturating_sub(count), all))
    });
    Ok(Arc::new(out.collect::<StringArray>()))
}

fn substring<T: Units>(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.arguments[0].as_bytes::<T>();
    let places = call.arguments[1].as_primitive::<Int32Type>();
    let lengths = numbers(call, 2);
    let out = values.iter().zip(places).enumerate().map(|(row, pair)| {
        let (value, place) = (pair.0?, pair.1?);
        let length = match lengths {
            Some(lengths) if lengths.is_null(row) => return None,
            lengths => lengths.map(|lengths| i64::from(lengths.value(row))),
        };
        Some(sql_slice::<T>(value, i64::from(place), length))
    });
    Ok(Arc::new(out.collect::<GenericByteArray<T>>()))
}

/// Fills a value up to a length, or cuts it at its end.
fn pad<T: Units, const LEFT: bool>(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.arguments[0].as_bytes::<T>();
    let lengths = call.arguments[1].as_primitive::<Int32Type>();
    let fillers = call.arguments.get(2).map(|fillers| fillers.as_bytes::<T>());
    let mut out = Written::new(call.rows);
    for row in 0..call.rows {
        let no_filler = fillers.is_some_and(|fillers| fillers.is_null(row));
        if values.is_null(row) || lengths.is_null(row) || no_filler {
            out.end(false)?;
            continue;
        }
        let value = values.value(row);
        let filler = fillers.map_or(T::FILLER, |fillers| fillers.value(row));
        let wanted = length(lengths.value(row));
        if wanted > VALUE_MAX {
            return Err(failed(format!(
                "a value would be too long length={wanted} limit={VALUE_MAX}"
            )));
        }
        let (had, step) = (T::count(value), T::count(filler));
        let missing = if step == 0 {
            0
        } else {
            wanted.saturating_sub(had)
        };
        if !LEFT {
            out.push::<T>(T::slice(value, 0, wanted));
        }
        if let (Some(whole), Some(rest)) = (missing.checked_div(step), missing.checked_rem(step)) {
            (0..whole).for_each(|_| out.push::<T>(filler));
            out.push::<T>(T::slice(filler, 0, rest));
        }
        if LEFT {
            out.push::<T>(T::slice(value, 0, wanted));
        }
        out.end(true)?;
    }
    out.finish::<T>()
}

/// Puts a value over a part of another one; without a length, over as much as it has itself.
fn overlay<T: Units>(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.arguments[0].as_bytes::<T>();
    let others = call.arguments[1].as_bytes::<T>();
    let places = call.arguments[2].as_primitive::<Int32Type>();
    let lengths = numbers(call, 3);
    let mut out = Written::new(call.rows);
    for row in 0..call.rows {
        let no_length = lengths.is_some_and(|lengths| lengths.is_null(row));
        if values.is_null(row) || others.is_null(row) || places.is_null(row) || no_length {
            out.end(false)?;
            continue;
        }
        let (value, other) = (values.value(row), others.value(row));
        let place = i64::from(places.value(row));
        let covered = match lengths.map(|lengths| i64::from(lengths.value(row))) {
            Some(length @ 0..) => length,
            _ => i64::try_from(T::count(other)).unwrap_or(i64::MAX),
        };
        out.push::<T>(sql_slice::<T>(value, 1, Some(place - 1)));
        out.push::<T>(other);
        out.push::<T>(sql_slice::<T>(value, place + covered, None));
        out.end(true)?;
    }
    out.finish::<T>()
}

fn bytes_of(values: &ArrayRef) -> Vec<Option<&[u8]>> {
    match values.data_type() {
        DataType::Binary => values.as_binary::<i32>().iter().collect(),
        _ => {
            let texts = values.as_string::<i32>().iter();
            texts.map(|text| text.map(str::as_bytes)).collect()
        }
    }
}

fn tests(call: &Call<'_>, test: fn(&[u8], &[u8]) -> bool) -> Result<ArrayRef> {
    let (wholes, parts) = (bytes_of(&call.arguments[0]), bytes_of(&call.arguments[1]));
    let out = wholes.into_iter().zip(parts);
    let out: BooleanArray = out.map(|(whole, part)| Some(test(whole?, part?))).collect();
    Ok(Arc::new(out))
}

fn lengths(call: &Call<'_>, factor: i32) -> Result<ArrayRef> {
    let lengths = bytes_of(&call.arguments[0]).into_iter();
    let lengths: Int32Array = lengths
        .map(|value| i32::try_from(value?.len()).ok()?.checked_mul(factor))
        .collect();
    Ok(Arc::new(lengths))
}

/// `locate(part, text [, from])`: characters from 1, or 0. An empty part is at the first place.
fn locate(call: &Call<'_>) -> Result<ArrayRef> {
    let parts = call.arguments[0].as_string::<i32>();
    let texts = call.arguments[1].as_string::<i32>();
    let starts = numbers(call, 2);
    let out = parts.iter().zip(texts).enumerate().map(|(row, pair)| {
        let start = match starts {
            None => 1,
            Some(starts) if starts.is_null(row) => return Some(0),
            Some(starts) => starts.value(row),
        };
        let (part, text) = (pair.0?, pair.1?);
        if start < 1 {
            return Some(0);
        }
        if part.is_empty() {
            return Some(1);
        }
        let from = byte_of(text, length(start - 1));
        let found = text.get(from..)?.find(part);
        Some(found.map_or(0, |at| character(text, from + at)))
    });
    Ok(Arc::new(out.collect::<Int32Array>()))
}

/// The number, from 1 on, of the character at a byte.
fn character(text: &str, byte: usize) -> i32 {
    let before = text.get(..byte).map_or(0, Utf8Type::count);
    i32::try_from(before + 1).unwrap_or(i32::MAX)
}

/// `instr(text, part [, start [, occurrence]])`: a negative start looks from the end to the begin.
fn instr(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.arguments[0].as_string::<i32>();
    let parts = call.arguments[1].as_string::<i32>();
    let (starts, occurrences) = (numbers(call, 2), numbers(call, 3));
    let mut out = Int32Array::builder(call.rows);
    for (row, pair) in texts.iter().zip(parts).enumerate() {
        let of = |numbers: Option<&Int32Array>| match numbers {
            None => Some(1),
            Some(numbers) => numbers.is_valid(row).then(|| numbers.value(row)),
        };
        let (Some(text), Some(part)) = pair else {
            out.append_null();
            continue;
        };
        let (Some(start), Some(occurrence)) = (of(starts), of(occurrences)) else {
            out.append_null();
            continue;
        };
        if occurrence < 1 {
            return Err(failed(format!(
                "[INVALID_PARAMETER_VALUE] instr counts occurrences from 1 occurrence={occurrence}"
            )));
        }
        out.append_value(place_of(text, part, start, length(occurrence) - 1));
    }
    Ok(Arc::new(out.finish()))
}

/// The place of a part after so many others that begin at or behind a character, or at or before it.
fn place_of(text: &str, part: &str, start: i32, skipped: usize) -> i32 {
    if part.is_empty() {
        return 1;
    }
    let begins = |from: usize| text.get(from..).is_some_and(|rest| rest.starts_with(part));
    let places = text.char_indices().map(|(at, _)| at);
    let found = match start {
        0 => None,
        1.. => places
            .skip(length(start - 1))
            .filter(|at| begins(*at))
            .nth(skipped),
        _ => {
            let behind = length(start.saturating_neg().saturating_sub(1));
            let places = places.rev().skip(behind);
            places.filter(|at| begins(*at)).nth(skipped)
        }
    };
    found.map_or(0, |at| character(text, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_before_the_begin_count() {
        let of = |place, length| sql_slice::<Utf8Type>("é😀x", place, length);
        assert_eq!(of(-5, Some(3)), "é");
        assert_eq!(of(0, Some(2)), "é😀");
        assert_eq!(of(2, None), "😀x");
        assert_eq!(of(2, Some(-1)), "");
        assert_eq!(sql_slice::<BinaryType>(&[1, 2, 3], -1, Some(9)), [3]);
    }

    #[test]
    fn occurrences_from_both_ends() {
        assert_eq!(place_of("abcabc", "b", 1, 1), 5);
        assert_eq!(place_of("abcabc", "b", -1, 0), 5);
        assert_eq!(place_of("abcabc", "b", -3, 0), 2);
        assert_eq!(place_of("é😀é😀", "😀", 3, 0), 4);
        assert_eq!(place_of("abc", "x", 1, 0), 0);
    }
}
