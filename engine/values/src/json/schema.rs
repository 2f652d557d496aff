//! The types of JSON texts: `schema_of_json`.

use arrow::datatypes::{DataType, Field, TimeUnit};

use super::{
    options::{Inference, JsonOptions},
    path::members,
    scan::{Quoted, Scan, Syntax, deeper, special, unescape},
};
use crate::{forms::Forms, instant};

/// Digits of a decimal at most.
const DIGITS_MAX: i64 = 38;
/// Digits of a whole number as a decimal.
const LONG_DIGITS: i64 = 20;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Null,
    Boolean,
    Long,
    Double,
    /// Digits, and those of them behind the point.
    Decimal(i64, i64),
    Timestamp,
    Text,
    List(Box<Found>),
    /// Members in the order of their names.
    Struct(Vec<(String, Found)>),
}

/// The type of a text; a text without a value is a text.
///
/// # Errors
/// What is wrong with the text.
pub fn schema_of(text: &str, options: &JsonOptions) -> Result<DataType, &'static str> {
    let mut scan = Scan::text(text.as_bytes(), options.grammar);
    scan.skip_blanks();
    if scan.is_at_end() {
        return Ok(DataType::Utf8);
    }
    let look = Look {
        inference: options.inference,
        forms: &options.style.forms,
    };
    let found = look.value(&mut scan, 0).map_err(|Syntax(reason)| reason)?;
    let is_struct = matches!(found, Found::Struct(_));
    Ok(settled(found, options.inference).unwrap_or_else(|| {
        if is_struct {
            DataType::Struct(arrow::datatypes::Fields::empty())
        } else {
            DataType::Utf8
        }
    }))
}

struct Look<'a> {
    inference: Inference,
    forms: &'a Forms,
}

impl Look<'_> {
    fn value(&self, scan: &mut Scan<'_>, depth: u8) -> Result<Found, Syntax> {
        match scan.peek() {
            b'{' => {
                let mut fields = Vec::new();
                members(scan, depth, |scan, key, depth| {
                    let name = String::from_utf8_lossy(&text_of(key)).into_owned();
                    fields.push((name, self.value(scan, depth)?));
                    Ok(())
                })?;
                fields.sort_by(|(one, _), (other, _)| one.cmp(other));
                Ok(Found::Struct(fields))
            }
            b'[' => self.list(scan, depth),
            _ => match scan.string()? {
                Some(quoted) => Ok(self.text(&text_of(quoted))),
                None => self.token(scan),
            },
        }
    }

    fn list(&self, scan: &mut Scan<'_>, depth: u8) -> Result<Found, Syntax> {
        let depth = deeper(depth)?;
        scan.bump();
        scan.skip_blanks();
        let mut item = Found::Null;
        if scan.peek() == b']' {
            scan.bump();
            return Ok(Found::List(Box::new(item)));
        }
        loop {
            item = both(item, self.value(scan, depth)?);
            if !scan.more(b']')? {
                return Ok(Found::List(Box::new(item)));
            }
        }
    }

    fn text(&self, text: &[u8]) -> Found {
        if text.is_empty() {
            return Found::Null;
        }
        if self.inference.decimals
            && let Some(Found::Decimal(digits, scale)) = decimal(text)
        {
            return Found::Decimal(digits, scale);
        }
        let is_time = || match &self.forms.timestamp {
            Some(pattern) => pattern.parse(text).is_some(),
            None => instant::timestamp(text).is_some(),
        };
        if self.inference.timestamps && is_time() {
            return Found::Timestamp;
        }
        Found::Text
    }

    fn token(&self, scan: &mut Scan<'_>) -> Result<Found, Syntax> {
        let start = scan.at();
        if !matches!(scan.peek(), b'0'..=b'9' | b'-') {
            let found = match scan.word()? {
                b"null" => return Ok(Found::Null),
                b"true" | b"false" => Found::Boolean,
                _ => Found::Double,
            };
            return Ok(self.primitive(found));
        }
        let whole = scan.signed()?;
        let token = scan.since(start);
        let found = if special(token).is_some() {
            Found::Double
        } else if whole {
            match crate::scalar::integer(token) {
                Some(_) => Found::Long,
                None => decimal(token).unwrap_or(Found::Double),
            }
        } else if self.inference.decimals {
            decimal(token).unwrap_or(Found::Double)
        } else {
            Found::Double
        };
        Ok(self.primitive(found))
    }

    fn primitive(&self, found: Found) -> Found {
        if self.inference.texts_only {
            Found::Text
        } else {
            found
        }
    }
}

fn text_of(quoted: Quoted<'_>) -> Vec<u8> {
    if !quoted.escaped {
        return quoted.raw.to_vec();
    }
    let mut text = Vec::with_capacity(quoted.raw.len());
    unescape(quoted.raw, &mut text);
    text
}

/// The decimal type of a number as it is written; none if it has too many digits.
fn decimal(text: &[u8]) -> Option<Found> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let mut parts = text.splitn(2, |b| matches!(b, b'e' | b'E'));
    let (mantissa, exponent) = (parts.next()?, parts.next());
    let exponent = match exponent {
        Some(text) => crate::scalar::integer(text)?,
        None => 0,
    };
    let mut parts = mantissa.splitn(2, |b| *b == b'.');
    let (whole, fraction) = (parts.next()?, parts.next().unwrap_or(&[]));
    let mut digits = whole.iter().chain(fraction);
    if whole.is_empty() && fraction.is_empty() || !digits.clone().all(u8::is_ascii_digit) {
        return None;
    }
    let zeros = digits.by_ref().take_while(|digit| **digit == b'0').count();
    let all = whole.len() + fraction.len();
    let count = i64::try_from((all - zeros).max(1)).ok()?;
    let scale = i64::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    let digits = count.max(scale);
    (digits <= DIGITS_MAX && scale >= 0).then_some(Found::Decimal(digits, scale))
}

/// A type for the values of both.
fn both(one: Found, other: Found) -> Found {
    match (one, other) {
        (one, other) if one == other => one,
        (Found::Null, known) | (known, Found::Null) => known,
        (Found::Long, Found::Double)
        | (Found::Double, Found::Long)
        | (Found::Double, Found::Decimal(..))
        | (Found::Decimal(..), Found::Double) => Found::Double,
        (Found::Long, Found::Decimal(digits, scale))
        | (Found::Decimal(digits, scale), Found::Long) => wide((digits, scale), (LONG_DIGITS, 0)),
        (Found::Decimal(one, scale), Found::Decimal(other, behind)) => {
            wide((one, scale), (other, behind))
        }
        (Found::List(one), Found::List(other)) => Found::List(Box::new(both(*one, *other))),
        (Found::Struct(one), Found::Struct(other)) => {
            let mut all: Vec<(String, Found)> = one;
            for (name, found) in other {
                match all.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => {
                        *known = both(std::mem::replace(known, Found::Null), found);
                    }
                    None => all.push((name, found)),
                }
            }
            all.sort_by(|(one, _), (other, _)| one.cmp(other));
            Found::Struct(all)
        }
        _ => Found::Text,
    }
}

fn wide((one, scale): (i64, i64), (other, behind): (i64, i64)) -> Found {
    let scale_max = scale.max(behind);
    let whole = (one - scale).max(other - behind);
    if whole + scale_max > DIGITS_MAX {
        return Found::Double;
    }
    Found::Decimal(whole + scale_max, scale_max)
}

/// The type of what was found: what is null is a text, and a struct without members is nothing.
fn settled(found: Found, inference: Inference) -> Option<DataType> {
    Some(match found {
        Found::Null if inference.drops_nulls => return None,
        Found::Null | Found::Text => DataType::Utf8,
        Found::Boolean => DataType::Boolean,
        Found::Long => DataType::Int64,
        Found::Double => DataType::Float64,
        Found::Decimal(digits, scale) => DataType::Decimal128(
            u8::try_from(digits).unwrap_or(38),
            i8::try_from(scale).unwrap_or(0),
        ),
        Found::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Found::List(item) => DataType::new_list(settled(*item, inference)?, true),
        Found::Struct(fields) => {
            let fields: Vec<Field> = fields
                .into_iter()
                .filter_map(|(name, found)| {
                    Some(Field::new(name, settled(found, inference)?, true))
                })
                .collect();
            if fields.is_empty() {
                return None;
            }
            DataType::Struct(fields.into())
        }
    })
}
