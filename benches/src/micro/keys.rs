//! Key tables and the key hash, in batches of 8 192 rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use millstream_operators::{delta::BATCH_ROWS_MAX, keyhash::hash_keys, keys::KeyTable};

use super::{key, line, rate, strings};
use crate::{error::Result, numbers::Numbers};

const ROWS: usize = 4_000_000;

/// Batches of key columns: one number, one text, or both.
fn batches(keys: u64, shape: &str) -> Vec<Vec<ArrayRef>> {
    let mut numbers = Numbers::new(7);
    // Enough rows to meet most keys, made before the clock runs.
    let count = ROWS / BATCH_ROWS_MAX;
    (0..count)
        .map(|_| {
            let drawn: Vec<u64> = (0..BATCH_ROWS_MAX).map(|_| numbers.below(keys)).collect();
            let words: Int64Array = drawn
                .iter()
                .map(|number| i64::try_from(*number).ok())
                .collect();
            let words: ArrayRef = Arc::new(words);
            let texts = || strings(drawn.iter().map(|number| key(*number)));
            match shape {
                "BIGINT" => vec![words],
                "24-byte text" => vec![texts()],
                _ => vec![words, texts()],
            }
        })
        .collect()
}

const SHAPES: [&str; 3] = ["BIGINT", "24-byte text", "both"];

/// `KeyTable::intern`.
pub(super) fn tables(print: &mut dyn FnMut(String)) -> Result<()> {
    for (keys, text_before) in [(10_000, "25"), (1_000_000, "2.7")] {
        for shape in SHAPES {
            let batches = batches(keys, shape);
            let types: Vec<_> = batches
                .first()
                .into_iter()
                .flatten()
                .map(|column| column.data_type().clone())
                .collect();
            let rows = batches.len() * BATCH_ROWS_MAX;
            let (rate, table) = rate(rows as u64, || {
                let mut table = KeyTable::new(&types)?;
                let mut groups = Vec::new();
                for columns in &batches {
                    groups.clear();
                    table.intern(columns, BATCH_ROWS_MAX, &mut groups)?;
                }
                Ok(table)
            })?;
            let what = format!("KeyTable, {keys} keys, {shape}");
            // A table with sums beside it was measured, keys of 24 bytes.
            let before = if shape == "24-byte text" {
                text_before
            } else {
                "-"
            };
            print(line(&what, rate, before));
            debug_assert!(table.len() as u64 <= keys);
        }
    }
    Ok(())
}

/// `hash_keys`.
pub(super) fn hashes(print: &mut dyn FnMut(String)) -> Result<()> {
    for shape in SHAPES {
        let batches = batches(1_000_000, shape);
        let rows = batches.len() * BATCH_ROWS_MAX;
        let (rate, sum) = rate(rows as u64, || {
            let mut sum = 0u64;
            for columns in &batches {
                let hashes = hash_keys(0, columns, BATCH_ROWS_MAX)?;
                sum = hashes.iter().fold(sum, |sum, hash| sum.wrapping_add(*hash));
            }
            Ok(sum)
        })?;
        let what = format!("hash_keys, {shape}");
        print(line(&what, rate, "300-575"));
        // The sum is looked at, so that nobody optimises the hashing away.
        std::hint::black_box(sum);
    }
    Ok(())
}
