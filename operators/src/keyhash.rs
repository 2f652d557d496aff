//! The key hash: which worker owns a key, today and after any upgrade.
//!
//! It is ours and fixed: xxh3-64 over the *values* of the key columns, chained through the seed,
//! named `xxh3-64/0` in checkpoints. Hashers that pick instructions by CPU, and encodings that
//! change between releases, would send one key to two places after a restart. Vectors: below.

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, StructArray},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
        Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type,
        UInt32Type, UInt64Type,
    },
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{OperatorError, Result};

/// The name under which checkpoints record this function.
pub const KEY_HASH_NAME: &str = "xxh3-64/0";

/// What a null contributes; no value hashes to it by construction of the encoding (length 1, tag).
const NULL: &[u8] = &[0xff];

/// Hashes the rows of the key columns. `salt` separates key spaces: the same key in two buckets of
/// event time may have two owners. No columns: all rows have one hash, that of the salt.
///
/// # Errors
/// [`OperatorError::Contract`] for a type that cannot be a key.
pub fn hash_keys(salt: i64, columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
    let first = if salt == 0 {
        0
    } else {
        xxh3_64_with_seed(&salt.to_le_bytes(), 0)
    };
    let mut hashes = vec![first; rows];
    for column in columns {
        chain(column, &mut hashes)?;
    }
    Ok(hashes)
}

/// The worker that owns a hash: workers own contiguous ranges, so a rescale is a slice.
#[must_use]
pub fn owner(hash: u64, workers: usize) -> usize {
    let scaled = (u128::from(hash) * workers as u128) >> 64;
    usize::try_from(scaled).unwrap_or(usize::MAX)
}

/// Chains values of a column whose bytes come from `bytes`.
macro_rules! chain_primitive {
    ($column:expr, $hashes:expr, $type:ty, $bytes:expr) => {{
        let array = $column.as_primitive::<$type>();
        let bytes = $bytes;
        if array.null_count() == 0 {
            for (hash, value) in $hashes.iter_mut().zip(array.values()) {
                *hash = xxh3_64_with_seed(&bytes(*value), *hash);
            }
        } else {
            for (row, hash) in $hashes.iter_mut().enumerate() {
                *hash = if array.is_null(row) {
                    xxh3_64_with_seed(NULL, *hash)
                } else {
                    xxh3_64_with_seed(&bytes(array.value(row)), *hash)
                };
            }
        }
    }};
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "arrow has more types than this function serves"
)]
fn chain(column: &ArrayRef, hashes: &mut [u64]) -> Result<()> {
    // Integers of all widths hash alike, so that a widened column keeps its owner.
    match column.data_type() {
        DataType::Int8 => {
            chain_primitive!(column, hashes, Int8Type, |v: i8| i64::from(v).to_le_bytes());
        }
        DataType::Int16 => {
            chain_primitive!(column, hashes, Int16Type, |v: i16| i64::from(v)
                .to_le_bytes());
        }
        DataType::Int32 => {
            chain_primitive!(column, hashes, Int32Type, |v: i32| i64::from(v)
                .to_le_bytes());
        }
        DataType::Int64 => chain_primitive!(column, hashes, Int64Type, i64::to_le_bytes),
        DataType::UInt8 => {
            chain_primitive!(column, hashes, UInt8Type, |v: u8| u64::from(v)
                .to_le_bytes());
        }
        DataType::UInt16 => {
            chain_primitive!(column, hashes, UInt16Type, |v: u16| u64::from(v)
                .to_le_bytes());
        }
        DataType::UInt32 => {
            chain_primitive!(column, hashes, UInt32Type, |v: u32| u64::from(v)
                .to_le_bytes());
        }
        DataType::UInt64 => chain_primitive!(column, hashes, UInt64Type, u64::to_le_bytes),
        DataType::Date32 => {
            chain_primitive!(column, hashes, Date32Type, |v: i32| i64::from(v)
                .to_le_bytes());
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            chain_primitive!(column, hashes, TimestampMicrosecondType, i64::to_le_bytes);
        }
        DataType::Decimal128(_, _) => {
            chain_primitive!(column, hashes, Decimal128Type, i128::to_le_bytes);
        }
        DataType::Float32 => chain_primitive!(column, hashes, Float32Type, |v: f32| {
            f64::from(v).to_double_key()
        }),
        DataType::Float64 => {
            chain_primitive!(column, hashes, Float64Type, |v: f64| v.to_double_key());
        }
        DataType::Boolean => {
            let array = column.as_boolean();
            each(array, hashes, |row, seed| {
                xxh3_64_with_seed(&[u8::from(array.value(row))], seed)
            });
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary => {
            chain_bytes(column, hashes);
        }
        DataType::Null => each(column, hashes, |_, seed| seed),
        DataType::Struct(_) => chain_struct(column.as_struct(), hashes)?,
        DataType::List(_) => chain_list(column.as_list::<i32>(), hashes)?,
        other => {
            return Err(OperatorError::contract(format!(
                "a key of type {other} has no hash"
            )));
        }
    }
    Ok(())
}

/// Whether values of a type have a hash.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "arrow has more types than this function serves"
)]
pub(crate) fn has_hash(data_type: &DataType) -> bool {
    match data_type {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Date32
        | DataType::Timestamp(TimeUnit::Microsecond, _)
        | DataType::Decimal128(_, _)
        | DataType::Float32
        | DataType::Float64
        | DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::Null => true,
        DataType::Struct(fields) => fields.iter().all(|field| has_hash(field.data_type())),
        DataType::List(item) => has_hash(item.data_type()),
        _ => false,
    }
}

/// Text and bytes hash alike in all their layouts.
fn chain_bytes(column: &ArrayRef, hashes: &mut [u64]) {
    if let Some(array) = column.as_string_opt::<i32>() {
        each(array, hashes, |row, seed| {
            xxh3_64_with_seed(array.value(row).as_bytes(), seed)
        });
    } else if let Some(array) = column.as_string_opt::<i64>() {
        each(array, hashes, |row, seed| {
            xxh3_64_with_seed(array.value(row).as_bytes(), seed)
        });
    } else if let Some(array) = column.as_string_view_opt() {
        each(array, hashes, |row, seed| {
            xxh3_64_with_seed(array.value(row).as_bytes(), seed)
        });
    } else if let Some(array) = column.as_binary_opt::<i32>() {
        each(array, hashes, |row, seed| {
            xxh3_64_with_seed(array.value(row), seed)
        });
    }
}

/// The bytes by which a double is a key: one zero, one NaN.
pub(crate) trait DoubleKey {
    fn to_double_key(self) -> [u8; 8];
}

impl DoubleKey for f64 {
    fn to_double_key(self) -> [u8; 8] {
        let normal = if self == 0.0 {
            0.0
        } else if self.is_nan() {
            f64::NAN
        } else {
            self
        };
        normal.to_bits().to_le_bytes()
    }
}

fn each(array: &dyn Array, hashes: &mut [u64], hash_of: impl Fn(usize, u64) -> u64) {
    for (row, hash) in hashes.iter_mut().enumerate() {
        *hash = if array.is_null(row) {
            xxh3_64_with_seed(NULL, *hash)
        } else {
            hash_of(row, *hash)
        };
    }
}

fn chain_struct(array: &StructArray, hashes: &mut [u64]) -> Result<()> {
    let before = hashes.to_vec();
    for column in array.columns() {
        chain(column, hashes)?;
    }
    for (row, hash) in hashes.iter_mut().enumerate() {
        if array.is_null(row) {
            *hash = xxh3_64_with_seed(NULL, before[row]);
        }
    }
    Ok(())
}

fn chain_list(array: &ListArray, hashes: &mut [u64]) -> Result<()> {
    for (row, hash) in hashes.iter_mut().enumerate() {
        if array.is_null(row) {
            *hash = xxh3_64_with_seed(NULL, *hash);
            continue;
        }
        let values = array.value(row);
        *hash = xxh3_64_with_seed(&(values.len() as u64).to_le_bytes(), *hash);
        for index in 0..values.len() {
            let mut one = [*hash];
            chain(&values.slice(index, 1), &mut one)?;
            *hash = one[0];
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray};

    use super::*;

    fn hash(columns: &[ArrayRef]) -> Vec<u64> {
        hash_keys(0, columns, columns[0].len()).expect("keys hash")
    }

    /// First and last hash that `worker` of `workers` owns.
    fn owned_range(worker: usize, workers: usize) -> (u64, u64) {
        let bound =
            |index: usize| -> u128 { ((index as u128) << 64).div_ceil(workers.max(1) as u128) };
        let low = u64::try_from(bound(worker)).unwrap_or(u64::MAX);
        let high = u64::try_from(bound(worker + 1) - 1).unwrap_or(u64::MAX);
        (low, high)
    }

    #[test]
    fn vectors_that_checkpoints_depend_on() {
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(0), Some(1), Some(-1), None]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["", "a", "millstream", "é"]));
        expect_test::expect![[r#"
            [
                c77b3abb6f87acd9,
                2fbc593564db792e,
                5111c7e47d784413,
                d6bcec3c6b29d72e,
            ]
        "#]]
        .assert_debug_eq(&hex(&hash(std::slice::from_ref(&ints))));
        expect_test::expect![[r#"
            [
                2d06800538d394c2,
                e6c632b61e964e1f,
                bd33922758440f84,
                f7940a006cf10cb3,
            ]
        "#]]
        .assert_debug_eq(&hex(&hash(std::slice::from_ref(&text))));
        assert_ne!(hash(&[ints.clone(), text.clone()]), hash(&[text, ints]));
    }

    struct Hex(u64);
    impl std::fmt::Debug for Hex {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{:016x}", self.0)
        }
    }
    fn hex(hashes: &[u64]) -> Vec<Hex> {
        hashes.iter().map(|hash| Hex(*hash)).collect()
    }

    #[test]
    fn widths_zeros_and_nans_do_not_move_a_key() {
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![7, -7]));
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![7, -7]));
        assert_eq!(hash(&[narrow]), hash(&[wide]));
        let a: ArrayRef = Arc::new(Float64Array::from(vec![0.0, f64::NAN]));
        let b: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, -f64::NAN]));
        assert_eq!(hash(&[a]), hash(&[b]));
    }

    #[test]
    fn ranges_cover_all_hashes_once_for_any_number_of_workers() {
        for workers in 1..=9 {
            let mut next = 0u128;
            for worker in 0..workers {
                let (low, high) = owned_range(worker, workers);
                assert_eq!(u128::from(low), next);
                assert_eq!(owner(low, workers), worker);
                assert_eq!(owner(high, workers), worker);
                next = u128::from(high) + 1;
            }
            assert_eq!(next, 1 << 64);
        }
    }
}
