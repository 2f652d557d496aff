//! What a join keeps of one side.
//!
//! Rows stand in batches of columns, by buckets of event time, so that what the watermark closes goes
//! bucket by bucket; small batches are merged, so that neither short epochs nor long ones make many. The
//! [index](super::slots) knows rows by slots, which stay while batches are merged. Where it is of
//! account, a number beside each slot says how many rows of the other side match.
//!
//! A snapshot holds, bucket by bucket, pieces of `columns, __matches, __diff`: rows that came since the
//! last one, and rows that went or whose matches changed, taken back as they were written. What went by
//! its time is not taken back: at a restart the watermark sends it away again.

mod saving;

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array},
    compute,
    datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType},
};

use super::{
    SideSpec,
    slots::{NONE, Place, Slots},
};
use crate::{
    error::{OperatorError, Result},
    keyhash::hash_keys,
    state::Snapshots,
    width::width,
};

/// A slot that is in no snapshot.
const NOT_SAVED: u32 = u32::MAX;

/// The bucket of rows without a time, which never go.
const TIMELESS: i64 = i64::MAX;

/// Rows of a batch at most.
const ROWS_MAX: usize = 64 * 1024;

/// Bytes of a batch and of a piece, about: a column of text has 31 bits for its length.
#[cfg(not(test))]
const BYTES_MAX: usize = 32 << 20;
/// So low that the tests of this crate reach it.
#[cfg(test)]
const BYTES_MAX: usize = 600;

/// Small batches of a bucket that are merged at once.
const MERGED_MIN: usize = 8;

/// Pieces of a bucket after which the next snapshot writes it whole.
const PIECES_MAX: usize = 12;

/// Some rows that came together, or were merged.
#[derive(Debug)]
struct Batch {
    rows: RecordBatch,
    /// The slot of each row; none where the row has gone.
    slots: Vec<u32>,
    live: usize,
    bucket: i64,
    /// No row that is there has an earlier time.
    oldest: i64,
    bytes: usize,
}

/// Rows of one bucket of event time.
#[derive(Debug, Default)]
struct BucketRows {
    batches: Vec<u32>,
    live: usize,
    /// Slots that came or changed since the last snapshot; some may be of other rows by now.
    unsaved: Vec<u32>,
    /// Rows that were saved and have gone otherwise than by their time, as pieces of the last snapshot
    /// have them.
    removed: Vec<RecordBatch>,
    removed_rows: usize,
    pieces: usize,
    written: usize,
    /// Whether the next snapshot must not add to the pieces that are there.
    rewrite: bool,
}

/// The kept rows of one side.
pub(super) struct Side {
    spec: SideSpec,
    table: u32,
    counts: bool,
    snapshots: Snapshots,
    slots: Slots,
    batches: Vec<Option<Batch>>,
    free: Vec<u32>,
    buckets: BTreeMap<i64, BucketRows>,
    /// How many rows of the other side match, by slot.
    matches: Vec<u32>,
    /// The matches of a slot in the last snapshot.
    saved: Vec<u32>,
    piece_schema: SchemaRef,
    bytes: usize,
    /// Whether rows have gone since it was tidied.
    has_gaps: bool,
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Side")
            .field("rows", &self.len())
            .field("buckets", &self.buckets.len())
            .finish_non_exhaustive()
    }
}

impl Side {
    /// An empty side; `counts` says whether matches are counted.
    pub(super) fn new(spec: &SideSpec, table: u32, counts: bool, snapshots: Snapshots) -> Side {
        let columns = spec.schema.fields().iter().enumerate();
        let mut fields: Vec<Field> = columns
            .map(|(i, field)| Field::new(format!("column{i}"), field.data_type().clone(), true))
            .collect();
        if counts {
            fields.push(Field::new("__matches", DataType::Int64, false));
        }
        fields.push(Field::new("__diff", DataType::Int64, false));
        Side {
            spec: spec.clone(),
            table,
            counts,
            snapshots,
            slots: Slots::default(),
            batches: Vec::new(),
            free: Vec::new(),
            buckets: BTreeMap::new(),
            matches: Vec::new(),
            saved: Vec::new(),
            piece_schema: Arc::new(Schema::new(fields)),
            bytes: 0,
            has_gaps: false,
        }
    }

    /// Rows kept.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let lists = (self.matches.capacity() + self.saved.capacity()) * size_of::<u32>();
        self.bytes + self.slots.bytes() + lists
    }

    /// The columns of the side.
    pub(super) fn spec(&self) -> &SideSpec {
        &self.spec
    }

    /// The index.
    #[inline]
    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// How many rows of the other side match the row at a slot.
    #[inline]
    pub(super) fn matches(&self, slot: u32) -> u32 {
        self.matches[slot as usize]
    }

    /// Notes that the row at a slot has other matches now.
    pub(super) fn set_matches(&mut self, slot: u32, matches: u32) {
        self.matches[slot as usize] = matches;
        if self.snapshots == Snapshots::Taken && self.saved[slot as usize] != NOT_SAVED {
            let place = self.slots.place(slot);
            if let Some(bucket) = self.bucket_of(place.batch) {
                bucket.unsaved.push(slot);
            }
        }
    }

    fn bucket_of(&mut self, batch: u32) -> Option<&mut BucketRows> {
        let bucket = self.batches[batch as usize].as_ref()?.bucket;
        self.buckets.get_mut(&bucket)
    }

    /// Keeps rows, of which `matches` says how many of the other side they match already; gives their
    /// slots.
    pub(super) fn insert(
        &mut self,
        rows: &RecordBatch,
        hashes: &[u64],
        matches: Option<&[u32]>,
    ) -> Result<Vec<u32>> {
        let mut slots = vec![NONE; rows.num_rows()];
        for (bucket, of_bucket) in self.by_bucket(rows)? {
            for some in of_bucket.chunks(ROWS_MAX) {
                self.insert_some(rows, hashes, matches, (bucket, some), &mut slots)?;
            }
        }
        Ok(slots)
    }

    fn insert_some(
        &mut self,
        rows: &RecordBatch,
        hashes: &[u64],
        matches: Option<&[u32]>,
        (bucket, some): (i64, &[u32]),
        given: &mut [u32],
    ) -> Result<()> {
        // Copied: what arrives may be part of something much larger.
        let indices: UInt32Array = some.to_vec().into();
        let kept = compute::take_record_batch(rows, &indices)
            .map_err(OperatorError::arrow("keeping rows of a join"))?;
        let batch = self.new_batch(kept, bucket);
        let mut slots = Vec::with_capacity(some.len());
        for (at, row) in (0u32..).zip(some) {
            let row = *row as usize;
            let slot = self.slots.add(hashes[row], Place { batch, row: at });
            self.note(slot, matches.map_or(0, |matches| matches[row]));
            given[row] = slot;
            slots.push(slot);
        }
        let of = self.buckets.entry(bucket).or_insert_with(|| BucketRows {
            rewrite: true,
            ..BucketRows::default()
        });
        of.batches.push(batch);
        of.live += slots.len();
        if self.snapshots == Snapshots::Taken && !of.rewrite {
            of.unsaved.extend(&slots);
        }
        if let Some(batch) = &mut self.batches[batch as usize] {
            batch.live = slots.len();
            batch.slots = slots;
        }
        self.merge(bucket)
    }

    /// The numbers of a slot that was just given.
    fn note(&mut self, slot: u32, matches: u32) {
        let capacity = self.slots.capacity();
        if self.counts {
            self.matches.resize(capacity, 0);
            self.matches[slot as usize] = matches;
        }
        if self.snapshots == Snapshots::Taken {
            self.saved.resize(capacity, NOT_SAVED);
            self.saved[slot as usize] = NOT_SAVED;
        }
    }

    /// A place for a batch whose slots are to follow.
    fn new_batch(&mut self, rows: RecordBatch, bucket: i64) -> u32 {
        let all = 0..rows.num_rows();
        let columns = rows.columns().iter();
        let bytes = columns
            .map(|column| width(column, all.clone()))
            .sum::<usize>()
            + 4 * rows.num_rows();
        let oldest = match self.times(&rows) {
            Some(times) => compute::min(times).unwrap_or(i64::MAX),
            None => i64::MAX,
        };
        self.bytes += bytes;
        let batch = Batch {
            rows,
            slots: Vec::new(),
            live: 0,
            bucket,
            oldest,
            bytes,
        };
        if let Some(place) = self.free.pop() {
            self.batches[place as usize] = Some(batch);
            return place;
        }
        self.batches.push(Some(batch));
        u32::try_from(self.batches.len() - 1).unwrap_or(NONE)
    }

    fn times<'r>(
        &self,
        rows: &'r RecordBatch,
    ) -> Option<&'r arrow::array::PrimitiveArray<TimestampMicrosecondType>> {
        let expiry = self.spec.expiry?;
        rows.column(expiry.column).as_primitive_opt()
    }

    /// Row numbers by bucket of event time.
    fn by_bucket(&self, rows: &RecordBatch) -> Result<BTreeMap<i64, Vec<u32>>> {
        let count = u32::try_from(rows.num_rows())
            .map_err(|_| OperatorError::contract("a batch has too many rows"))?;
        let mut buckets: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        let Some(expiry) = self.spec.expiry else {
            buckets.insert(0, (0..count).collect());
            return Ok(buckets);
        };
        let times = self
            .times(rows)
            .ok_or_else(|| OperatorError::contract("the time of a join is not a timestamp"))?;
        let mut last: Option<(i64, Vec<u32>)> = None;
        for (row, time) in (0..count).zip(times) {
            let bucket = time.map_or(TIMELESS, |time| time.div_euclid(expiry.bucket));
            match &mut last {
                Some((of, rows)) if *of == bucket => rows.push(row),
                _ => {
                    if let Some((of, rows)) = last.take() {
                        buckets.entry(of).or_default().extend(rows);
                    }
                    last = Some((bucket, vec![row]));
                }
            }
        }
        if let Some((of, rows)) = last {
            buckets.entry(of).or_default().extend(rows);
        }
        Ok(buckets)
    }

    /// Merges the newest batches of a bucket if there are many small ones.
    fn merge(&mut self, bucket: i64) -> Result<()> {
        let Some(of) = self.buckets.get(&bucket) else {
            return Ok(());
        };
        let (mut rows, mut bytes, mut count) = (0, 0, 0);
        for place in of.batches.iter().rev() {
            let Some(batch) = &self.batches[*place as usize] else {
                continue;
            };
            let fits = rows + batch.live <= ROWS_MAX && bytes + batch.bytes <= BYTES_MAX;
            if count > 0 && (!fits || batch.live > 2 * rows) {
                break;
            }
            rows += batch.live;
            bytes += batch.bytes;
            count += 1;
        }
        if count < MERGED_MIN {
            return Ok(());
        }
        let merged = {
            let Some(of) = self.buckets.get_mut(&bucket) else {
                return Ok(());
            };
            of.batches.split_off(of.batches.len() - count)
        };
        self.rewrite(bucket, &merged)
    }

    /// Makes one batch of the rows that are left of some.
    fn rewrite(&mut self, bucket: i64, old: &[u32]) -> Result<()> {
        let mut parts = Vec::with_capacity(old.len());
        let mut slots = Vec::new();
        for place in old {
            let Some(batch) = self.batches[*place as usize].take() else {
                continue;
            };
            self.free.push(*place);
            self.bytes -= batch.bytes;
            parts.push(left_of(&batch)?);
            slots.extend(batch.slots.iter().filter(|slot| **slot != NONE));
        }
        if slots.is_empty() {
            return Ok(());
        }
        let rows = compute::concat_batches(&self.spec.schema, &parts)
            .map_err(OperatorError::arrow("merging rows of a join"))?;
        let batch = self.new_batch(rows, bucket);
        for (row, slot) in (0u32..).zip(&slots) {
            self.slots.moved(*slot, Place { batch, row });
        }
        if let Some(batch) = &mut self.batches[batch as usize] {
            batch.live = slots.len();
            batch.slots = slots;
        }
        if let Some(of) = self.buckets.get_mut(&bucket) {
            of.batches.push(batch);
        }
        Ok(())
    }

    /// Some columns of the rows at some slots.
    pub(super) fn gather(&self, columns: &[usize], slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut ordinals = vec![NONE; self.batches.len()];
        let mut from: Vec<u32> = Vec::new();
        let mut places: Vec<(usize, usize)> = Vec::with_capacity(slots.len());
        for slot in slots {
            let Place { batch, row } = self.slots.place(*slot);
            let ordinal = &mut ordinals[batch as usize];
            if *ordinal == NONE {
                *ordinal = u32::try_from(from.len()).unwrap_or(NONE);
                from.push(batch);
            }
            places.push((*ordinal as usize, row as usize));
        }
        let gone = || OperatorError::contract("a slot of a join is of a batch that is gone");
        let batches = from
            .iter()
            .map(|batch| self.batches[*batch as usize].as_ref().ok_or_else(gone))
            .collect::<Result<Vec<_>>>()?;
        let gathering = || OperatorError::arrow("gathering rows of a join");
        let one = (batches.len() == 1).then(|| {
            UInt32Array::from_iter_values(slots.iter().map(|slot| self.slots.place(*slot).row))
        });
        columns
            .iter()
            .map(|column| {
                if let Some(rows) = &one {
                    let values = batches[0].rows.column(*column);
                    return compute::take(values, rows, None).map_err(gathering());
                }
                if batches.is_empty() {
                    let data_type = self.spec.schema.field(*column).data_type();
                    return Ok(arrow::array::new_empty_array(data_type));
                }
                let arrays: Vec<&dyn Array> = batches
                    .iter()
                    .map(|batch| batch.rows.column(*column).as_ref())
                    .collect();
                compute::interleave(&arrays, &places).map_err(gathering())
            })
            .collect()
    }

    /// Whole rows at some slots.
    pub(super) fn rows(&self, slots: &[u32]) -> Result<RecordBatch> {
        let all: Vec<usize> = (0..self.spec.schema.fields().len()).collect();
        let columns = self.gather(&all, slots)?;
        let options = RecordBatchOptions::new().with_row_count(Some(slots.len()));
        RecordBatch::try_new_with_options(self.spec.schema.clone(), columns, &options)
            .map_err(OperatorError::arrow("gathering rows of a join"))
    }

    /// Rows go that are not gone by their time: because they matched, or were taken back.
    pub(super) fn remove(&mut self, slots: &[u32]) -> Result<()> {
        self.unlink(slots)?;
        self.release(slots);
        Ok(())
    }

    /// Takes rows out of the index; they can be gathered until they are [released](Side::release).
    pub(super) fn unlink(&mut self, slots: &[u32]) -> Result<()> {
        if self.snapshots == Snapshots::Taken {
            let mut written: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
            for slot in slots {
                let batch = self.slots.place(*slot).batch;
                let Some(batch) = &self.batches[batch as usize] else {
                    continue;
                };
                if self.saved[*slot as usize] != NOT_SAVED {
                    written.entry(batch.bucket).or_default().push(*slot);
                }
            }
            for (bucket, slots) in written {
                let piece = self.piece(&slots, true)?;
                if let Some(of) = self.buckets.get_mut(&bucket)
                    && !of.rewrite
                {
                    of.removed_rows += piece.num_rows();
                    of.removed.push(piece);
                }
            }
        }
        for slot in slots {
            self.slots.unlink(*slot);
        }
        Ok(())
    }

    /// Forgets rows that were unlinked.
    pub(super) fn release(&mut self, slots: &[u32]) {
        self.has_gaps |= !slots.is_empty();
        for slot in slots {
            let Place { batch: place, row } = self.slots.place(*slot);
            self.slots.free(*slot);
            let Some(batch) = &mut self.batches[place as usize] else {
                continue;
            };
            batch.slots[row as usize] = NONE;
            batch.live -= 1;
            let (is_empty, bucket) = (batch.live == 0, batch.bucket);
            if let Some(of) = self.buckets.get_mut(&bucket) {
                of.live -= 1;
                if is_empty {
                    of.batches.retain(|other| *other != place);
                }
            }
            if is_empty {
                self.drop_batch(place);
            }
        }
    }

    fn drop_batch(&mut self, place: u32) {
        if let Some(batch) = self.batches[place as usize].take() {
            self.bytes -= batch.bytes;
            self.free.push(place);
        }
    }

    /// The next rows that are gone at `bound`, about so many as a batch holds: unlinked, to be
    /// [released](Side::release). `None` when there are no more.
    pub(super) fn expired(&mut self, bound: i64) -> Option<Vec<u32>> {
        let expiry = self.spec.expiry?;
        let last = bound.div_euclid(expiry.bucket);
        let mut gone: Vec<u32> = Vec::new();
        for of in self.buckets.range(..=last).map(|(_, of)| of) {
            for place in &of.batches {
                let Some(batch) = &mut self.batches[*place as usize] else {
                    continue;
                };
                if batch.oldest > bound {
                    continue;
                }
                let times: &arrow::array::PrimitiveArray<TimestampMicrosecondType> =
                    batch.rows.column(expiry.column).as_primitive();
                batch.oldest = i64::MAX;
                for (slot, time) in batch.slots.iter().zip(times.values()) {
                    if *slot == NONE {
                        continue;
                    }
                    if *time <= bound {
                        gone.push(*slot);
                    } else {
                        batch.oldest = batch.oldest.min(*time);
                    }
                }
            }
            if gone.len() >= ROWS_MAX {
                break;
            }
        }
        if gone.is_empty() {
            return None;
        }
        for slot in &gone {
            self.slots.unlink(*slot);
        }
        Some(gone)
    }

    /// After an epoch: if rows have gone, buckets without rows end, batches with few are rewritten, memory goes back.
    pub(super) fn tidy(&mut self, bound: Option<i64>) -> Result<()> {
        if !std::mem::take(&mut self.has_gaps) {
            return Ok(());
        }
        if let (Some(expiry), Some(bound)) = (self.spec.expiry, bound) {
            // A bucket that rows may still come to keeps its pieces: they hold what was taken back.
            let open = bound.saturating_add(1).div_euclid(expiry.bucket);
            self.buckets
                .retain(|bucket, of| of.live > 0 || *bucket >= open);
        }
        let mut sparse: Vec<(i64, u32)> = Vec::new();
        for (bucket, of) in &self.buckets {
            for place in &of.batches {
                if let Some(batch) = &self.batches[*place as usize]
                    && 2 * batch.live < batch.slots.len()
                {
                    sparse.push((*bucket, *place));
                }
            }
        }
        for (bucket, place) in sparse {
            if let Some(of) = self.buckets.get_mut(&bucket) {
                of.batches.retain(|other| *other != place);
            }
            self.rewrite(bucket, &[place])?;
        }
        self.slots.shrink();
        let capacity = self.slots.capacity();
        if capacity < self.saved.len().max(self.matches.len()) {
            self.saved.truncate(capacity);
            self.saved.shrink_to_fit();
            self.matches.truncate(capacity);
            self.matches.shrink_to_fit();
        }
        Ok(())
    }

    /// The slots of all rows.
    pub(super) fn all_slots(&self) -> Vec<u32> {
        let buckets = self.buckets.values();
        let places: Vec<u32> = buckets.flat_map(|of| of.batches.iter().copied()).collect();
        self.live_slots(&places)
    }

    fn live_slots(&self, places: &[u32]) -> Vec<u32> {
        let batches = places
            .iter()
            .filter_map(|place| self.batches[*place as usize].as_ref());
        let slots = batches.flat_map(|batch| batch.slots.iter());
        slots.copied().filter(|slot| *slot != NONE).collect()
    }

    /// The key hashes of some rows.
    pub(super) fn hashes(&self, rows: &RecordBatch) -> Result<Vec<u64>> {
        hashes(rows, &self.spec.keys)
    }
}

/// The hashes of some rows by their key columns.
pub(super) fn hashes(rows: &RecordBatch, keys: &[usize]) -> Result<Vec<u64>> {
    let columns = keys.iter().map(|key| rows.column(*key).clone());
    let keys: Vec<ArrayRef> = columns.collect();
    hash_keys(0, &keys, rows.num_rows())
}

/// The rows of a batch that are left.
fn left_of(batch: &Batch) -> Result<RecordBatch> {
    if batch.live == batch.slots.len() {
        return Ok(batch.rows.clone());
    }
    let left: BooleanArray = batch.slots.iter().map(|slot| Some(*slot != NONE)).collect();
    compute::filter_record_batch(&batch.rows, &left)
        .map_err(OperatorError::arrow("merging rows of a join"))
}
