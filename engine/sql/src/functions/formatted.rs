//! Numbers, times and binaries as texts of a format, and back: `to_char`, `to_number`.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, StringArray},
    compute::cast,
    datatypes::{DataType, TimestampMicrosecondType},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::ScalarUDF,
};
use millstream_values::{pattern::Pattern, zone::Zone};

use super::{
    math::decimal_texts,
    misfit::failed,
    number_format::NumberFormat,
    patterned,
    simple::{Call, Gives, Simple, Want, text_of},
};
use crate::{
    SqlError,
    types::{spark_name, timestamp},
};

/// Digits of a decimal.
const PRECISION_MAX: usize = 38;

const TABLE: &[Simple] = &[
    Simple::new(
        "to_char",
        &[Want::Decimal, Want::Text],
        Gives::Of(|types, literals| check(&types[0], literals)),
        to_char,
    )
    .aliases(&["to_varchar"]),
    Simple::new(
        "to_number",
        &[Want::Text, Want::Text],
        Gives::Of(|_, literals| number_type(literals)),
        to_number,
    ),
];

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(..))
}

/// Looks at a format that is a literal, and gives the type of a text.
fn check(value: &DataType, literals: &[Option<&ScalarValue>]) -> Result<DataType, SqlError> {
    let format = text_of(literals, 1);
    if is_time(value) {
        format.map(Pattern::new).transpose()?;
    } else if *value == DataType::Binary {
        format.map(BinaryFormat::named).transpose()?;
    } else if matches!(value, DataType::Decimal128(..) | DataType::Null) {
        format.map(NumberFormat::new).transpose()?;
    } else {
        return Err(SqlError::Types {
            message: format!(
                "to_char takes numbers, times and binaries, not {}",
                spark_name(value)
            ),
        });
    }
    Ok(DataType::Utf8)
}

fn number_type(literals: &[Option<&ScalarValue>]) -> Result<DataType, SqlError> {
    // While a query is planned the format may still be an expression.
    let Some(format) = text_of(literals, 1) else {
        return Err(SqlError::Types {
            message: "the format of to_number is a literal".to_owned(),
        });
    };
    let (precision, scale) = NumberFormat::new(format)?.digits();
    if precision > PRECISION_MAX {
        return Err(SqlError::Types {
            message: format!("a decimal has no such precision precision={precision}"),
        });
    }
    let (precision, scale) = (u8::try_from(precision), i8::try_from(scale));
    Ok(DataType::Decimal128(
        precision.unwrap_or(38),
        scale.unwrap_or(0),
    ))
}

/// How `to_char` writes a binary.
#[derive(Clone, Copy)]
enum BinaryFormat {
    Base64,
    Hex,
    Utf8,
}

impl BinaryFormat {
    fn named(name: &str) -> Result<BinaryFormat, SqlError> {
        match name.trim().to_ascii_lowercase().as_str() {
            "base64" => Ok(BinaryFormat::Base64),
            "hex" => Ok(BinaryFormat::Hex),
            "utf-8" => Ok(BinaryFormat::Utf8),
            _ => Err(SqlError::Types {
                message: format!(
                    "[INVALID_PARAMETER_VALUE.BINARY_FORMAT] to_char knows base64, hex and utf-8, not {name:?}"
                ),
            }),
        }
    }

    fn write(self, bytes: &[u8]) -> String {
        match self {
            BinaryFormat::Base64 => STANDARD.encode(bytes),
            BinaryFormat::Hex => {
                let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
                let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
                digits
                    .map(|half| digit(half).to_ascii_uppercase())
                    .collect()
            }
            BinaryFormat::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

fn to_char(call: &Call<'_>) -> Result<ArrayRef> {
    let values = &call.arguments[0];
    if is_time(values.data_type()) {
        let times = match values.data_type() {
            DataType::Date32 => cast(values, &timestamp())?,
            _ => Arc::clone(values),
        };
        let times = times.as_primitive::<TimestampMicrosecondType>();
        return patterned::written(times, call.arguments.get(1), &Zone::utc());
    }
    let formats = call.arguments[1].as_string::<i32>();
    if *values.data_type() == DataType::Binary {
        let values = values.as_binary::<i32>().iter().zip(formats);
        let written = values.map(|pair| match pair {
            (Some(value), Some(format)) => Ok(Some(BinaryFormat::named(format)?.write(value))),
            _ => Ok(None),
        });
        let written = written.collect::<Result<StringArray, SqlError>>();
        return Ok(Arc::new(written.map_err(SqlError::into_datafusion)?));
    }
    let numbers = decimal_texts(values)?.into_iter();
    let mut known = Known::default();
    let written = numbers.zip(formats).map(|pair| match pair {
        (Some(number), Some(format)) => Ok(known.format(format)?.write(&number)),
        _ => Ok(None),
    });
    Ok(Arc::new(written.collect::<Result<StringArray>>()?))
}

fn to_number(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.arguments[0].as_string::<i32>().iter();
    let formats = call.arguments[1].as_string::<i32>();
    let mut known = Known::default();
    let read = texts.zip(formats).map(|pair| match pair {
        (Some(text), Some(format)) => known.format(format)?.read(text).map(Some).ok_or_else(|| {
            failed(format!(
                "[INVALID_FORMAT.MISMATCH_INPUT] a text is not of its format; try_to_number gives null format={format:?}"
            ))
        }),
        _ => Ok(None),
    });
    let read = read.collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(read.with_data_type(call.gives.clone())))
}

/// The last format that was read, so that one that is the same in all rows is read once.
#[derive(Default)]
struct Known(Option<(String, NumberFormat)>);

impl Known {
    fn format(&mut self, pattern: &str) -> Result<&NumberFormat> {
        if self.0.as_ref().is_none_or(|(known, _)| known != pattern) {
            let format = NumberFormat::new(pattern).map_err(SqlError::into_datafusion)?;
            self.0 = Some((pattern.to_owned(), format));
        }
        let known = self.0.as_ref().map(|(_, format)| format);
        known.ok_or_else(|| failed("a format was not kept"))
    }
}
