//! Which rows of a bucket's pieces stand: for each key what the newest piece says.
//!
//! Pieces are read one at a time, the newest first, and a row whose key was met before is left out. What is
//! remembered is a hash of 128 bits for each key of the newer pieces, not their rows: so a start holds one
//! piece beside the state that it fills, and a merge one piece beside the one that it writes. Keys of the
//! oldest run are not remembered, for nothing comes after it; it is most of a state that is large.

use std::{fmt, sync::Arc};

use arrow::{
    array::{Array, BooleanArray, RecordBatch},
    compute,
};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_128;

use super::piece::{Form, as_setting, differences, form_of, key_columns, live};
use crate::{
    error::{OperatorError, Result},
    rows::RowCodec,
};

/// A piece of a bucket that can be read, more than once.
pub trait StoredPiece: fmt::Debug + Send + Sync {
    /// Which run of the bucket it belongs to; later runs have greater numbers. In one run a key is set at
    /// most once, and what a run removes stands before what it sets.
    fn run(&self) -> u64;

    /// Its rows, as some batches in their order.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written.
    fn read(&self) -> Result<Vec<RecordBatch>>;
}

/// What becomes of keys that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removals {
    /// They are left out: these are all pieces of the bucket.
    LeftOut,
    /// They are kept: older pieces may hold the key.
    Kept,
}

/// Which rows of a batch are asked for; all without a mask.
pub type Select<'a> = &'a dyn Fn(&RecordBatch) -> Result<Option<BooleanArray>>;

/// Gives what stands of some pieces of a bucket, oldest piece first in the list: each key once, in no
/// order, in today's form.
///
/// # Errors
/// When a piece cannot be read or is no piece of state, and what `each` fails with.
pub fn standing(
    pieces: &[Arc<dyn StoredPiece>],
    select: Select<'_>,
    removals: Removals,
    each: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    let mut met = Met::default();
    let oldest = pieces.first().map(|piece| piece.run());
    for (at, piece) in pieces.iter().enumerate().rev() {
        let batches = piece.read()?;
        let Some(first) = batches.first() else {
            continue;
        };
        if form_of(&first.schema())? == Form::Differences {
            drop(batches);
            return standing_of_differences(&pieces[..=at], met, select, each);
        }
        let notes = removals == Removals::Kept || Some(piece.run()) != oldest;
        for batch in batches.into_iter().rev() {
            let batch = only(&batch, select(&batch)?.as_ref())?;
            let new = met.unmet(&batch, notes)?;
            let batch = only(&batch, new.as_ref())?;
            let batch = if removals == Removals::LeftOut && live(&batch)?.false_count() > 0 {
                only(&batch, Some(live(&batch)?))?
            } else {
                batch
            };
            if batch.num_rows() > 0 {
                each(batch)?;
            }
        }
    }
    Ok(())
}

fn only(batch: &RecordBatch, mask: Option<&BooleanArray>) -> Result<RecordBatch> {
    match mask {
        Some(mask) if mask.false_count() > 0 => compute::filter_record_batch(batch, mask)
            .map_err(OperatorError::arrow("slicing a snapshot piece")),
        _ => Ok(batch.clone()),
    }
}

/// Keys that were met in newer pieces.
#[derive(Default)]
struct Met {
    codec: Option<RowCodec>,
    keys: HashTable<u128>,
}

/// A part of a hash, which is spread already.
fn word(hash: &u128) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "half of it is enough")]
    let low = *hash as u64;
    low
}

impl Met {
    /// Which rows have keys that were not met yet, all if there is no mask; notes them if asked to.
    fn unmet(&mut self, batch: &RecordBatch, notes: bool) -> Result<Option<BooleanArray>> {
        if batch.num_rows() == 0 || (self.keys.is_empty() && !notes) {
            return Ok(None);
        }
        let schema = batch.schema();
        let columns = &batch.columns()[..key_columns(&schema)];
        if self.codec.is_none() && !columns.is_empty() {
            let types: Vec<_> = columns.iter().map(|key| key.data_type().clone()).collect();
            self.codec = Some(RowCodec::new(&types)?);
        }
        let encoded = match &self.codec {
            Some(codec) => Some(codec.encode(columns)?),
            // Without key columns there is one key.
            None => None,
        };
        let hash_of = |row: usize| {
            let encoded = encoded.as_ref();
            encoded.map_or(0, |rows| xxh3_128(rows.row(row).data()))
        };
        let keys = &mut self.keys;
        let unmet = (0..batch.num_rows()).map(|row| {
            let hash = hash_of(row);
            if keys.find(word(&hash), |held| *held == hash).is_some() {
                return Some(false);
            }
            if notes {
                keys.insert_unique(word(&hash), hash, word);
            }
            Some(true)
        });
        Ok(Some(unmet.collect()))
    }
}

/// What stands of pieces of an earlier release, which add up: rows that are there once. They are read twice,
/// first for what they add up to.
fn standing_of_differences(
    pieces: &[Arc<dyn StoredPiece>],
    mut met: Met,
    select: Select<'_>,
    each: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    let mut counts: HashTable<(u128, i64)> = HashTable::new();
    for piece in pieces {
        for batch in piece.read()? {
            let diffs = differences(&batch)?;
            for (hash, diff) in row_hashes(&batch)?.into_iter().zip(diffs.values()) {
                let same = |held: &(u128, i64)| held.0 == hash;
                let entry = counts.entry(word(&hash), same, |(held, _)| word(held));
                entry.or_insert((hash, 0)).get_mut().1 += diff;
            }
        }
    }
    counts.retain(|(_, count)| *count != 0);
    if counts.iter().any(|(_, count)| *count != 1) {
        return Err(OperatorError::contract(
            "a snapshot holds a key more or less than once",
        ));
    }
    for piece in pieces {
        for batch in piece.read()? {
            let stands = row_hashes(&batch)?;
            let diffs = differences(&batch)?;
            let stands = stands.iter().zip(diffs.values());
            let mut take = |hash: &u128| {
                let entry = counts.find_entry(word(hash), |(held, _)| held == hash);
                entry.map(|entry| entry.remove()).is_ok()
            };
            let stands = stands.map(|(hash, diff)| Some(*diff > 0 && take(hash)));
            let stands: BooleanArray = stands.collect();
            let batch = as_setting(&only(&batch, Some(&stands))?)?;
            let batch = only(&batch, select(&batch)?.as_ref())?;
            let new = met.unmet(&batch, false)?;
            let batch = only(&batch, new.as_ref())?;
            if batch.num_rows() > 0 {
                each(batch)?;
            }
        }
    }
    Ok(())
}

/// A hash of the key and the value of each row.
fn row_hashes(batch: &RecordBatch) -> Result<Vec<u128>> {
    let columns = &batch.columns()[..batch.num_columns() - 1];
    if columns.is_empty() {
        return Ok(vec![0; batch.num_rows()]);
    }
    let types: Vec<_> = columns.iter().map(|of| of.data_type().clone()).collect();
    let rows = RowCodec::new(&types)?.exact().encode(columns)?;
    Ok(rows.iter().map(|row| xxh3_128(row.data())).collect())
}
