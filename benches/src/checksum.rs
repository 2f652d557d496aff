//! The checksum of a result: whoever computes the same rows gets the same number, in any order.
//!
//! A row's hash chains its values from the left, starting at 0: `h = xxh3_64(bytes(value), seed = h)`.
//! The bytes of a value are those of the engine's key hash: integers as 8 bytes and decimals as 16
//! bytes (unscaled), doubles by their bits, all little-endian; timestamps as microseconds like integers; text as UTF-8. A
//! window is its start and its end. The checksum is the wrapping sum over the rows, so for Arrow
//! columns it is the sum of `millstream_operators::keyhash::hash_keys(0, columns, rows)`.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The hash of a row that is being written down value by value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowHash(u64);

impl RowHash {
    #[inline]
    pub(crate) fn int(self, value: i64) -> RowHash {
        RowHash(xxh3_64_with_seed(&value.to_le_bytes(), self.0))
    }

    #[inline]
    pub(crate) fn time_ms(self, ms: i64) -> RowHash {
        self.int(ms * 1000)
    }

    #[inline]
    pub(crate) fn decimal(self, unscaled: i128) -> RowHash {
        RowHash(xxh3_64_with_seed(&unscaled.to_le_bytes(), self.0))
    }

    #[inline]
    pub(crate) fn double(self, value: f64) -> RowHash {
        RowHash(xxh3_64_with_seed(&value.to_bits().to_le_bytes(), self.0))
    }

    #[inline]
    pub(crate) fn text(self, value: &[u8]) -> RowHash {
        RowHash(xxh3_64_with_seed(value, self.0))
    }
}

/// What a query read and what came out of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) events: u64,
    pub(crate) rows_out: u64,
    pub(crate) checksum: u64,
}

impl Outcome {
    /// Counts one row of the result.
    #[inline]
    pub(crate) fn row(&mut self, hash: RowHash) {
        self.rows_out += 1;
        self.checksum = self.checksum.wrapping_add(hash.0);
    }

    /// Adds what another worker counted.
    pub(crate) fn add(&mut self, other: &Outcome) {
        self.events += other.events;
        self.rows_out += other.rows_out;
        self.checksum = self.checksum.wrapping_add(other.checksum);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Int64Array, StringArray};
    use millstream_operators::keyhash::hash_keys;

    use super::*;

    #[test]
    fn rows_hash_as_arrow_columns_do() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![-7])),
            Arc::new(Decimal128Array::from(vec![12_345])),
            Arc::new(StringArray::from(vec!["Grüße"])),
        ];
        let wanted = hash_keys(0, &columns, 1).expect("columns are keys");
        let row = RowHash::default()
            .int(-7)
            .decimal(12_345)
            .text("Grüße".as_bytes());
        assert_eq!(wanted, [row.0]);
    }
}
