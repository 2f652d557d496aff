//! `hash`: Murmur3 over columns as Spark computes it, so that keys keep their buckets.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int32Array},
    compute::cast,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
        TimeUnit, TimestampMicrosecondType,
    },
};
use datafusion::{
    common::Result,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};

use crate::{SqlError, types::spark_name};

const SEED: u32 = 42;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Murmur {
    signature: Signature,
}

/// The function.
pub(super) fn function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Murmur {
        signature: Signature::variadic_any(Volatility::Immutable),
    }))
}

impl ScalarUDFImpl for Murmur {
    fn name(&self) -> &str {
        "hash"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args
            .args
            .iter()
            .map(|arg| arg.to_array(args.number_rows))
            .collect::<Result<Vec<_>>>()?;
        let mut hashes = vec![SEED; args.number_rows];
        for column in &columns {
            for (row, hash) in hashes.iter_mut().enumerate() {
                *hash = one(column, row, *hash)?;
            }
        }
        let signed = hashes.into_iter().map(u32::cast_signed);
        Ok(ColumnarValue::Array(Arc::new(
            signed.collect::<Int32Array>(),
        )))
    }
}

/// The hash of a value over that of what came before it; nulls change nothing.
fn one(column: &ArrayRef, row: usize, seed: u32) -> Result<u32> {
    if column.is_null(row) {
        return Ok(seed);
    }
    Ok(match column.data_type() {
        DataType::Null => seed,
        DataType::Boolean => word(u32::from(column.as_boolean().value(row)), seed),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => {
            let value = cast(&column.slice(row, 1), &DataType::Int32)?;
            word(
                value.as_primitive::<Int32Type>().value(0).cast_unsigned(),
                seed,
            )
        }
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>().value(row);
            word(days.cast_unsigned(), seed)
        }
        DataType::Int64 => long(column.as_primitive::<Int64Type>().value(row), seed),
        DataType::Timestamp(TimeUnit::Microsecond, _) => long(
            column.as_primitive::<TimestampMicrosecondType>().value(row),
            seed,
        ),
        DataType::Float32 => {
            let value = column.as_primitive::<Float32Type>().value(row);
            word(if value == 0.0 { 0 } else { value.to_bits() }, seed)
        }
        DataType::Float64 => {
            let value = column.as_primitive::<Float64Type>().value(row);
            let bits = if value == 0.0 { 0 } else { value.to_bits() };
            long(bits.cast_signed(), seed)
        }
        DataType::Decimal128(precision, _) => {
            let value = column.as_primitive::<Decimal128Type>().value(row);
            match i64::try_from(value) {
                Ok(value) if *precision <= 18 => long(value, seed),
                _ => bytes(shortest(&value.to_be_bytes()), seed),
            }
        }
        DataType::Utf8 => bytes(column.as_string::<i32>().value(row).as_bytes(), seed),
        DataType::Binary => bytes(column.as_binary::<i32>().value(row), seed),
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            (0..items.len()).try_fold(seed, |seed, at| one(&items, at, seed))?
        }
        DataType::Struct(_) => {
            let fields = column.as_struct().columns();
            fields
                .iter()
                .try_fold(seed, |seed, field| one(field, row, seed))?
        }
        other => {
            return Err(SqlError::Types {
                message: format!("hash does not take {}", spark_name(other)),
            }
            .into_datafusion());
        }
    })
}

/// A two's complement number without the bytes in front that repeat its sign.
fn shortest(bytes: &[u8]) -> &[u8] {
    let negative = bytes[0] >= 0x80;
    let sign = if negative { 0xFF } else { 0 };
    let mut from = 0;
    while from + 1 < bytes.len() && bytes[from] == sign && (bytes[from + 1] >= 0x80) == negative {
        from += 1;
    }
    &bytes[from..]
}

fn mix(word: u32, hash: u32) -> u32 {
    let word = word
        .wrapping_mul(0xCC9E_2D51)
        .rotate_left(15)
        .wrapping_mul(0x1B87_3593);
    (hash ^ word)
        .rotate_left(13)
        .wrapping_mul(5)
        .wrapping_add(0xE654_6B64)
}

fn finish(hash: u32, length: u32) -> u32 {
    let hash = hash ^ length;
    let hash = (hash ^ hash >> 16).wrapping_mul(0x85EB_CA6B);
    let hash = (hash ^ hash >> 13).wrapping_mul(0xC2B2_AE35);
    hash ^ hash >> 16
}

fn word(value: u32, seed: u32) -> u32 {
    finish(mix(value, seed), 4)
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are wanted")]
fn long(value: i64, seed: u32) -> u32 {
    let value = value.cast_unsigned();
    finish(mix((value >> 32) as u32, mix(value as u32, seed)), 8)
}

/// Four bytes at a time, then the rest one by one, each with its sign: Spark's own way.
fn bytes(value: &[u8], seed: u32) -> u32 {
    let words = value.chunks_exact(4);
    let rest = words.remainder();
    let four = |four: &[u8]| u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    let hash = words.fold(seed, |hash, bytes| mix(four(bytes), hash));
    let signed = |byte: &u8| i32::from(byte.cast_signed()).cast_unsigned();
    let hash = rest.iter().fold(hash, |hash, byte| mix(signed(byte), hash));
    finish(hash, u32::try_from(value.len()).unwrap_or(u32::MAX))
}
