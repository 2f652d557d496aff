//! A side in snapshots: what is written, and how it is read again.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions},
    compute,
    datatypes::{DataType, Int64Type, Schema},
};

use super::{BYTES_MAX, NOT_SAVED, PIECES_MAX, Place, ROWS_MAX, Side};
use crate::{
    error::{OperatorError, Result},
    keyhash::owner,
    rows::RowCodec,
    state::{Bucket, BucketChange, Ownership},
};

impl Side {
    /// Rows as a snapshot has them, or takes them back.
    pub(super) fn piece(&self, slots: &[u32], takes_back: bool) -> Result<RecordBatch> {
        let all: Vec<usize> = (0..self.spec.schema.fields().len()).collect();
        let mut columns = self.gather(&all, slots)?;
        if self.counts {
            let of = if takes_back {
                &self.saved
            } else {
                &self.matches
            };
            let matches = slots.iter().map(|slot| i64::from(of[*slot as usize]));
            columns.push(Arc::new(Int64Array::from_iter_values(matches)));
        }
        let diff = if takes_back { -1 } else { 1 };
        columns.push(Arc::new(Int64Array::from_value(diff, slots.len())));
        RecordBatch::try_new(self.piece_schema.clone(), columns)
            .map_err(OperatorError::arrow("making a piece of a join"))
    }

    /// What a snapshot must know, bucket by bucket. Afterwards nothing counts as changed.
    ///
    /// # Errors
    /// Never for rows that this side keeps.
    pub(in crate::join) fn tap(&mut self) -> Result<Vec<BucketChange>> {
        let buckets: Vec<i64> = self.buckets.keys().copied().collect();
        let mut changes = Vec::with_capacity(buckets.len());
        for bucket in buckets {
            let Some(of) = self.buckets.get_mut(&bucket) else {
                continue;
            };
            let unsaved = std::mem::take(&mut of.unsaved);
            let mut rows = std::mem::take(&mut of.removed);
            of.removed_rows = 0;
            let grown = of.written > 2 * of.live + 4096;
            let replaces = of.rewrite || of.pieces + 1 > PIECES_MAX || grown;
            let live = if replaces {
                rows.clear();
                of.written = 0;
                of.pieces = 0;
                of.rewrite = false;
                let places = of.batches.clone();
                self.live_slots(&places)
            } else {
                self.unsaved(bucket, unsaved, &mut rows)?
            };
            for some in self.portions(&live) {
                rows.push(self.piece(some, false)?);
            }
            for slot in &live {
                let counts = self.counts;
                self.saved[*slot as usize] = if counts {
                    self.matches[*slot as usize]
                } else {
                    0
                };
            }
            if let Some(of) = self.buckets.get_mut(&bucket) {
                of.pieces += usize::from(!rows.is_empty());
                of.written += rows.iter().map(RecordBatch::num_rows).sum::<usize>();
            }
            changes.push(BucketChange {
                table: self.table,
                bucket: Bucket(bucket),
                replaces,
                rows,
            });
        }
        Ok(changes)
    }

    /// The slots to write, of those that came or changed; what was written of the latter is taken back
    /// in `rows`.
    fn unsaved(
        &mut self,
        bucket: i64,
        mut unsaved: Vec<u32>,
        rows: &mut Vec<RecordBatch>,
    ) -> Result<Vec<u32>> {
        unsaved.sort_unstable();
        unsaved.dedup();
        // A slot in the list may have gone since, or be of another row.
        let known = self.slots.capacity();
        unsaved.retain(|slot| {
            if *slot as usize >= known {
                return false;
            }
            let Place { batch, row } = self.slots.place(*slot);
            let batch = self.batches.get(batch as usize).and_then(Option::as_ref);
            batch.is_some_and(|batch| {
                batch.bucket == bucket && batch.slots.get(row as usize) == Some(slot)
            })
        });
        let is_changed = |slot: &u32| {
            let saved = self.saved[*slot as usize];
            saved != NOT_SAVED && self.counts && saved != self.matches[*slot as usize]
        };
        let changed: Vec<u32> = unsaved.iter().copied().filter(is_changed).collect();
        unsaved.retain(|slot| self.saved[*slot as usize] == NOT_SAVED || is_changed(slot));
        for some in self.portions(&changed) {
            rows.push(self.piece(some, true)?);
        }
        Ok(unsaved)
    }

    /// Slots in portions that make batches of bounded size.
    fn portions<'s>(&self, slots: &'s [u32]) -> Vec<&'s [u32]> {
        let mut done = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (at, slot) in slots.iter().enumerate() {
            let batch = self.slots.place(*slot).batch as usize;
            let row = self.batches[batch]
                .as_ref()
                .map_or(0, |batch| batch.bytes / batch.slots.len().max(1));
            if at > start && (at - start >= ROWS_MAX || bytes + row > BYTES_MAX) {
                done.push(&slots[start..at]);
                (start, bytes) = (at, 0);
            }
            bytes += row;
        }
        if start < slots.len() {
            done.push(&slots[start..]);
        }
        done
    }

    /// Fills a bucket from the pieces of a snapshot, with the rows that this worker owns. It is written
    /// whole at the next snapshot.
    ///
    /// # Errors
    /// When a piece has other columns than this side.
    pub(in crate::join) fn seed(
        &mut self,
        pieces: &[RecordBatch],
        ownership: Ownership,
    ) -> Result<()> {
        let mut mine = Vec::with_capacity(pieces.len());
        for piece in pieces {
            mine.push(self.owned(piece, ownership)?);
        }
        let all = consolidated(&mine)?;
        for piece in all {
            let columns = self.spec.schema.fields().len();
            let matches = self.counts.then(|| {
                let matches = piece.column(columns).as_primitive::<Int64Type>();
                let matches = matches.values().iter();
                matches
                    .map(|count| u32::try_from(*count).unwrap_or(u32::MAX - 1))
                    .collect::<Vec<_>>()
            });
            let options = RecordBatchOptions::new().with_row_count(Some(piece.num_rows()));
            let rows = RecordBatch::try_new_with_options(
                self.spec.schema.clone(),
                piece.columns()[..columns].to_vec(),
                &options,
            )
            .map_err(OperatorError::arrow("reading a piece of a join"))?;
            let hashes = self.hashes(&rows)?;
            self.insert(&rows, &hashes, matches.as_deref())?;
        }
        Ok(())
    }

    fn owned(&self, piece: &RecordBatch, ownership: Ownership) -> Result<RecordBatch> {
        let types = |schema: &Schema| -> Vec<DataType> {
            let fields = schema.fields().iter();
            fields.map(|field| field.data_type().clone()).collect()
        };
        if types(&piece.schema()) != types(&self.piece_schema) {
            return Err(OperatorError::contract(
                "a snapshot piece has other columns than its side of the join",
            ));
        }
        let mine: BooleanArray = self
            .hashes(piece)?
            .into_iter()
            .map(|hash| Some(owner(hash, ownership.workers) == ownership.worker))
            .collect();
        compute::filter_record_batch(piece, &mine)
            .map_err(OperatorError::arrow("slicing a snapshot piece"))
    }
}

/// The pieces with what was taken back gone; their last column is the sign.
fn consolidated(pieces: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let sign_of = |piece: &RecordBatch| -> Int64Array {
        let signs = piece.column(piece.num_columns() - 1);
        signs.as_primitive::<Int64Type>().clone()
    };
    let all_stay = |piece: &RecordBatch| sign_of(piece).values().iter().all(|sign| *sign == 1);
    if pieces.iter().all(all_stay) {
        return Ok(pieces.to_vec());
    }
    let Some(first) = pieces.first() else {
        return Ok(Vec::new());
    };
    let schema = first.schema();
    let types: Vec<DataType> = schema.fields()[..schema.fields().len() - 1]
        .iter()
        .map(|field| field.data_type().clone())
        .collect();
    let codec = RowCodec::new(&types)?.exact();
    // How often each row is taken back; the first so many of it are left out.
    let mut taken: HashMap<Box<[u8]>, i64> = HashMap::new();
    for piece in pieces {
        let signs = sign_of(piece);
        let back: BooleanArray = signs.values().iter().map(|sign| Some(*sign < 0)).collect();
        if back.true_count() == 0 {
            continue;
        }
        let rows = compute::filter_record_batch(piece, &back)
            .map_err(OperatorError::arrow("reading a piece of a join"))?;
        for row in codec.encode(&rows.columns()[..types.len()])?.iter() {
            *taken.entry(row.data().into()).or_default() += 1;
        }
    }
    let mut kept = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let signs = sign_of(piece);
        let rows = codec.encode(&piece.columns()[..types.len()])?;
        let mut stays = Vec::with_capacity(piece.num_rows());
        for (row, sign) in rows.iter().zip(signs.values()) {
            let is_taken = *sign > 0
                && taken.get_mut(row.data()).is_some_and(|left| {
                    *left -= 1;
                    *left >= 0
                });
            stays.push(Some(*sign > 0 && !is_taken));
        }
        let stays = BooleanArray::from(stays);
        kept.push(
            compute::filter_record_batch(piece, &stays)
                .map_err(OperatorError::arrow("reading a piece of a join"))?,
        );
    }
    Ok(kept)
}
