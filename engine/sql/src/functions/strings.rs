//! Functions of texts and bytes where DataFusion has none or gives other answers than Spark.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, StringArray},
    compute::cast,
    datatypes::{DataType, Int32Type},
};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use datafusion::{common::Result, logical_expr::ScalarUDF};

use super::{
    misfit::failed,
    simple::{Call, Gives, Simple, Want},
};
use crate::SqlError;

/// Base 64 with its fillers.
const STRICT: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, loose(false));
/// Base 64 without fillers, whatever the last bits are.
const LOOSE: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, loose(true));

const fn loose(loose: bool) -> GeneralPurposeConfig {
    let padding = if loose {
        DecodePaddingMode::Indifferent
    } else {
        DecodePaddingMode::RequireCanonical
    };
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(padding)
}

const TEXT: &[Want] = &[Want::Text];
const TWO: &[Want] = &[Want::Text, Want::Text];
const BYTES: Gives = Gives::Of(|_, _| Ok(DataType::Binary));

const TABLE: &[Simple] = &[
    Simple::new("initcap", TEXT, Gives::Text, |call| texts(call, initcap)),
    Simple::new(
        "mask",
        &[Want::Text, Want::Text, Want::Text, Want::Text, Want::Text],
        Gives::Text,
        mask,
    )
    .optional(4),
    Simple::new("encode", TWO, BYTES, encode),
    Simple::new("to_binary", TWO, BYTES, to_binary).optional(1),
    Simple::new("unbase64", TEXT, BYTES, |call| {
        let texts = call.arguments[0].as_string::<i32>().iter();
        let wrong = || failed("[CONVERSION_INVALID_INPUT] a text is not of base 64");
        let read = texts.map(|text| {
            let bytes = text.map(|text| loose_base64(text).ok_or_else(wrong));
            bytes.transpose()
        });
        let read = read.collect::<Result<Vec<Option<Vec<u8>>>>>()?;
        let read = read.iter().map(Option::as_deref);
        Ok(Arc::new(read.collect::<BinaryArray>()))
    }),
    Simple::new("validate_utf8", &[Want::Any], Gives::Text, |call| {
        let values = cast(&call.arguments[0], &DataType::Binary)?;
        let texts = values.as_binary::<i32>().iter().map(|value| {
            let text = value.map(std::str::from_utf8).transpose();
            text.map_err(|_| failed("[INVALID_UTF8_STRING] bytes are no text in UTF-8"))
        });
        Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
    }),
    Simple::new(
        "positive",
        &[Want::Number],
        Gives::Of(|types, _| Ok(types[0].clone())),
        |call| Ok(Arc::clone(&call.arguments[0])),
    ),
    Simple::new("__decode", &[Want::Any, Want::Text], Gives::Text, decode),
    Simple::new(
        "levenshtein",
        &[Want::Text, Want::Text, Want::Int],
        Gives::Int,
        levenshtein,
    )
    .optional(1),
    Simple::new("chr", &[Want::Long], Gives::Text, |call| {
        let codes = call.arguments[0].as_primitive::<arrow::datatypes::Int64Type>();
        let letters = codes.iter().map(|code| {
            let code = code?;
            let low = u32::try_from(code.rem_euclid(256)).unwrap_or(0);
            let letter = char::from_u32(low).filter(|_| code >= 0);
            Some(letter.map(String::from).unwrap_or_default())
        });
        Ok(Arc::new(letters.collect::<StringArray>()))
    })
    .aliases(&["char"]),
    Simple::new(
        "raise_error",
        TEXT,
        Gives::Of(|_, _| Ok(DataType::Null)),
        |call| {
            let messages = call.arguments[0].as_string::<i32>();
            let message = messages.iter().next().flatten().unwrap_or("null");
            Err(failed(format!("[USER_RAISED_EXCEPTION] {message}")))
        },
    ),
    Simple::new(
        "assert_true",
        &[Want::Any, Want::Text],
        Gives::Of(|_, _| Ok(DataType::Null)),
        assert_true,
    )
    .optional(1),
];

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

fn texts(call: &Call<'_>, of: impl Fn(&str) -> String) -> Result<ArrayRef> {
    let texts = call.arguments[0].as_string::<i32>().iter();
    Ok(Arc::new(
        texts.map(|text| text.map(&of)).collect::<StringArray>(),
    ))
}

/// The first letter of each word large, the others small; words stand between blanks only.
fn initcap(text: &str) -> String {
    let mut begins = true;
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if begins {
            // Of several letters, as those of ß, only the first is large.
            let mut large = letter.to_uppercase();
            out.extend(large.next());
            out.extend(large.flat_map(char::to_lowercase));
        } else {
            out.extend(letter.to_lowercase());
        }
        begins = letter == ' ';
    }
    out
}

/// Letters and digits behind other ones; a null replacement keeps what is there.
fn mask(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.arguments[0].as_string::<i32>();
    let replacement = |row: usize, place: usize, default: Option<char>| {
        let Some(column) = call.arguments.get(place) else {
            return default;
        };
        let column = column.as_string::<i32>();
        column
            .is_valid(row)
            .then(|| column.value(row).chars().next())
            .flatten()
    };
    let out = (0..call.rows).map(|row| {
        if texts.is_null(row) {
            return None;
        }
        let upper = replacement(row, 1, Some('X'));
        let lower = replacement(row, 2, Some('x'));
        let digit = replacement(row, 3, Some('n'));
        let other = replacement(row, 4, None);
        let masked = texts.value(row).chars().map(|letter| {
            let by = match letter {
                letter if letter.is_uppercase() => upper,
                letter if letter.is_lowercase() => lower,
                letter if letter.is_numeric() => digit,
                _ => other,
            };
            by.unwrap_or(letter)
        });
        Some(masked.collect::<String>())
    });
    Ok(Arc::new(out.collect::<StringArray>()))
}

/// The character sets that Spark knows.
#[derive(Clone, Copy)]
enum Charset {
    Ascii,
    Latin1,
    Utf8,
    Utf16 { big: bool, marked: bool },
    Utf32,
}

impl Charset {
    fn named(name: &str) -> Result<Charset> {
        let big = true;
        Ok(match name.to_ascii_uppercase().as_str() {
            "US-ASCII" => Charset::Ascii,
            "ISO-8859-1" => Charset::Latin1,
            "UTF-8" => Charset::Utf8,
            "UTF-16" => Charset::Utf16 { big, marked: true },
            "UTF-16BE" => Charset::Utf16 { big, marked: false },
            "UTF-16LE" => Charset::Utf16 {
                big: false,
                marked: false,
            },
            "UTF-32" => Charset::Utf32,
            _ => {
                return Err(failed(format!(
                    "[INVALID_PARAMETER_VALUE.CHARSET] no character set has this name name={name:?}"
                )));
            }
        })
    }

    fn encode(self, text: &str) -> Result<Vec<u8>> {
        let unit = |unit: u16, big: bool| {
            if big {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        };
        let missing =
            || failed("[MALFORMED_CHARACTER_CODING] a character is not in the character set");
        match self {
            Charset::Utf8 => Ok(text.as_bytes().to_vec()),
            Charset::Ascii | Charset::Latin1 => {
                let last = if matches!(self, Charset::Ascii) {
                    0x7F
                } else {
                    0xFF
                };
                let byte = |letter: char| {
                    let code = u8::try_from(u32::from(letter)).ok();
                    code.filter(|code| *code <= last).ok_or_else(missing)
                };
                text.chars().map(byte).collect()
            }
            Charset::Utf16 { big, marked } => {
                // Nothing has no mark either.
                let mut out = if marked && !text.is_empty() {
                    vec![0xFE, 0xFF]
                } else {
                    Vec::new()
                };
                out.extend(text.encode_utf16().flat_map(|code| unit(code, big)));
                Ok(out)
            }
            Charset::Utf32 => Ok(text
                .chars()
                .flat_map(|letter| u32::from(letter).to_be_bytes())
                .collect()),
        }
    }

    fn decode(self, bytes: &[u8]) -> Result<String> {
        let broken = || failed("[MALFORMED_CHARACTER_CODING] bytes are not of the character set");
        match self {
            Charset::Utf8 => String::from_utf8(bytes.to_vec()).map_err(|_| broken()),
            Charset::Ascii if !bytes.is_ascii() => Err(broken()),
            Charset::Ascii | Charset::Latin1 => Ok(bytes.iter().copied().map(char::from).collect()),
            Charset::Utf16 { big, marked } => {
                let (bytes, big) = match bytes {
                    [0xFE, 0xFF, rest @ ..] if marked => (rest, true),
                    [0xFF, 0xFE, rest @ ..] if marked => (rest, false),
                    all => (all, big),
                };
                if bytes.len() % 2 == 1 {
                    return Err(broken());
                }
                let units = bytes.chunks_exact(2).map(|pair| {
                    let pair = [pair[0], pair[1]];
                    if big {
                        u16::from_be_bytes(pair)
                    } else {
                        u16::from_le_bytes(pair)
                    }
                });
                char::decode_utf16(units)
                    .collect::<Result<String, _>>()
                    .map_err(|_| broken())
            }
            Charset::Utf32 => bytes
                .chunks(4)
                .map(|four| {
                    let four: [u8; 4] = four.try_into().ok()?;
                    char::from_u32(u32::from_be_bytes(four))
                })
                .collect::<Option<String>>()
                .ok_or_else(broken),
        }
    }
}

/// Bytes of each row, by the name in the second argument.
fn by_name(
    call: &Call<'_>,
    default: &str,
    of: fn(&str, &str) -> Result<Vec<u8>>,
) -> Result<ArrayRef> {
    let texts = call.arguments[0].as_string::<i32>();
    let names = call.arguments.get(1).map(|names| names.as_string::<i32>());
    let out = (0..call.rows).map(|row| {
        let name = match names {
            None => default,
            Some(names) if names.is_null(row) => return Ok(None),
            Some(names) => names.value(row),
        };
        if texts.is_null(row) {
            return Ok(None);
        }
        of(texts.value(row), name).map(Some)
    });
    let out = out.collect::<Result<Vec<Option<Vec<u8>>>>>()?;
    Ok(Arc::new(
        out.iter().map(Option::as_deref).collect::<BinaryArray>(),
    ))
}

fn encode(call: &Call<'_>) -> Result<ArrayRef> {
    by_name(call, "UTF-8", |text, name| {
        Charset::named(name)?.encode(text)
    })
}

fn to_binary(call: &Call<'_>) -> Result<ArrayRef> {
    by_name(call, "hex", |text, format| {
        let wrong = || {
            failed(format!(
                "[CONVERSION_INVALID_INPUT] a text is not of its format; try_to_binary gives null format={format:?}"
            ))
        };
        match format.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Ok(text.as_bytes().to_vec()),
            "hex" => hexadecimal(text).ok_or_else(wrong),
            "base64" => base64(text).ok_or_else(wrong),
            _ => Err(SqlError::Types {
                message: format!("to_binary knows hex, utf-8 and base64, not {format:?}"),
            }
            .into_datafusion()),
        }
    })
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<_>>()?;
    let odd = digits.len() % 2;
    let first = digits.iter().take(odd).copied();
    let pairs = digits[odd..]
        .chunks_exact(2)
        .map(|pair| pair[0] * 16 + pair[1]);
    Some(first.chain(pairs).collect())
}

/// Whole groups of four letters; white space does not count.
fn base64(text: &str) -> Option<Vec<u8>> {
    let solid: String = text.split_whitespace().collect();
    STRICT.decode(solid).ok()
}

/// As lines of mail are read: what is no letter of the code is passed over, and the end needs no
/// fillers; but a lone letter at the end, or fillers that are wrong, are refused.
fn loose_base64(text: &str) -> Option<Vec<u8>> {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    let (begin, fillers) = text.split_at(text.find('=').unwrap_or(text.len()));
    let letters: Vec<u8> = begin.bytes().filter(letter).collect();
    let open = letters.len() % 4;
    let filled = match fillers.strip_prefix('=') {
        None => open != 1,
        Some(rest) => {
            let rest = if open == 2 {
                rest.strip_prefix('=')
            } else {
                Some(rest)
            };
            open > 1 && rest.is_some_and(|rest| !rest.bytes().any(|byte| letter(&byte)))
        }
    };
    if !filled {
        return None;
    }
    LOOSE.decode(letters).ok()
}

fn decode(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = cast(&call.arguments[0], &DataType::Binary)?;
    let bytes = bytes.as_binary::<i32>();
    let names = call.arguments[1].as_string::<i32>();
    let out = bytes.iter().zip(names).map(|pair| match pair {
        (Some(bytes), Some(name)) => Charset::named(name)?.decode(bytes).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(out.collect::<Result<StringArray>>()?))
}

/// The number of changed letters; -1 where it is greater than a limit.
fn levenshtein(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (
        call.arguments[0].as_string::<i32>(),
        call.arguments[1].as_string::<i32>(),
    );
    let limits = call
        .arguments
        .get(2)
        .map(|limits| limits.as_primitive::<Int32Type>());
    let distance = |row: usize| {
        if left.is_null(row)
            || right.is_null(row)
            || limits.is_some_and(|limits| limits.is_null(row))
        {
            return None;
        }
        let right: Vec<char> = right.value(row).chars().collect();
        let mut above: Vec<usize> = (0..=right.len()).collect();
        for (at, letter) in left.value(row).chars().enumerate() {
            let mut line = vec![at + 1];
            for (place, other) in right.iter().enumerate() {
                let changed = above[place] + usize::from(letter != *other);
                line.push(changed.min(above[place + 1] + 1).min(line[place] + 1));
            }
            above = line;
        }
        let distance = i32::try_from(above[right.len()]).unwrap_or(i32::MAX);
        let too_far = limits.is_some_and(|limits| distance > limits.value(row));
        Some(if too_far { -1 } else { distance })
    };
    Ok(Arc::new(
        (0..call.rows).map(distance).collect::<Int32Array>(),
    ))
}

fn assert_true(call: &Call<'_>) -> Result<ArrayRef> {
    let tests = cast(&call.arguments[0], &DataType::Boolean)?;
    let tests = tests.as_boolean();
    if let Some(row) = (0..tests.len()).find(|row| tests.is_null(*row) || !tests.value(*row)) {
        let message = call
            .arguments
            .get(1)
            .map(|messages| messages.as_string::<i32>());
        let message = message.filter(|messages| messages.is_valid(row));
        let message = message.map_or("an assertion is not true", |messages| messages.value(row));
        return Err(failed(format!("[USER_RAISED_EXCEPTION] {message}")));
    }
    Ok(arrow::array::new_null_array(&DataType::Null, call.rows))
}
