//! `StateTable`: one named state of an operator, durable through its pieces.
//!
//! The only copy of a state is the operator's own, whatever is fastest for it (hash tables of columns). The
//! table here knows which buckets there are and carries what changed to a snapshot: the operator notes the
//! current values of keys that changed ([`upsert`](StateTable::upsert)) and keys that are gone
//! ([`remove`](StateTable::remove)), [`tap`](StateTable::tap) hands that over, and nothing of it stays. A
//! bucket is a slice of event time (a window, a pane); what the watermark closes is dropped as a whole,
//! without looking at its rows.
//!
//! What it does *not* do: hold state, look anything up, IO, decide about time.
//!
//! A snapshot of a bucket is a list of pieces, and for each key the newest piece that has it counts
//! ([`standing`]): so a change is written without asking what it changes, and what did not change is not
//! written again. Pieces of all workers stand in one list, for a key has one owner. They hold Arrow columns,
//! so that any release can read them, and the number of workers may change: a worker takes the rows that it
//! owns, and what it hands over later is added to what is there.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    datatypes::{Schema, SchemaRef},
};
use millstream_types::Epoch;

use crate::{
    error::{OperatorError, Result},
    keyhash::{hash_keys, owner},
    rows::RowCodec,
};

mod piece;
mod standing;

pub use piece::bytes_of;
pub use standing::{Removals, Select, StoredPiece, standing};

/// What a place in a tree of boxes costs, about: such trees are filled in order, which leaves their nodes
/// half empty.
pub(crate) const PLACE_BYTES: usize = 36;

/// A slice of event time. What the number means is the operator's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(pub i64);

/// How what a worker hands over of a bucket goes with what was written before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addition {
    /// Rows set and remove keys, and for each key the newest counts, whichever worker wrote it: a
    /// [`StateTable`].
    Overwrites,
    /// Rows are added and taken back, and add up with those that this worker wrote since its start.
    AddsUp,
    /// The same, and all that this worker wrote before is gone. The first of each bucket after a start.
    Replaces,
}

/// What a snapshot must know about one bucket that a worker has. A bucket that no worker mentions is gone.
#[derive(Clone, Debug)]
pub struct BucketChange {
    /// Number of the table within its operator.
    pub table: u32,
    /// Which bucket.
    pub bucket: Bucket,
    /// How the rows go with those that were written before.
    pub addition: Addition,
    /// What to write, in batches of bounded length and in this order; none if nothing changed since the
    /// last snapshot.
    pub rows: Vec<RecordBatch>,
}

/// Which part of the key space a worker owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The worker.
    pub worker: usize,
    /// How many there are.
    pub workers: usize,
}

/// State of an operator in a snapshot: pieces by table and bucket, oldest first, and the epoch they are of.
#[derive(Clone, Debug, Default)]
pub struct Seed {
    /// The epoch after which the snapshot was taken.
    pub epoch: Epoch,
    /// The pieces.
    pub pieces: BTreeMap<(u32, Bucket), Vec<Arc<dyn StoredPiece>>>,
}

/// Whether anybody will ask for state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshots {
    /// The query has a checkpoint.
    Taken,
    /// It has none: what would be noted for a snapshot would only grow.
    Never,
}

/// Who owns a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// One worker in all buckets, because results combine buckets.
    ByKey,
    /// A worker for each bucket: few keys still use all workers.
    ByKeyAndBucket,
}

impl Placement {
    /// The salt of the key hash in a bucket.
    #[must_use]
    pub fn salt(self, bucket: Bucket) -> i64 {
        match self {
            Placement::ByKey => 0,
            Placement::ByKeyAndBucket => bucket.0,
        }
    }
}

/// One named state of an operator.
#[derive(Clone, Debug)]
pub struct StateTable {
    table: u32,
    schema: SchemaRef,
    key_columns: usize,
    placement: Placement,
    /// How many leading key columns decide who owns a row.
    owned_by: usize,
    buckets: BTreeMap<Bucket, Noted>,
    /// Bytes of all buckets.
    bytes: usize,
}

/// What is noted of a bucket for the next snapshot.
#[derive(Clone, Debug, Default)]
struct Noted {
    rows: Vec<RecordBatch>,
    bytes: usize,
    /// Whether a snapshot may have rows of it.
    is_stored: bool,
    /// Whether this worker has nothing of it any more, though others may.
    is_left: bool,
}

impl StateTable {
    /// An empty table with these key and value columns.
    ///
    /// # Errors
    /// When a column has no row form.
    pub fn new(
        table: u32,
        keys: &Schema,
        values: &Schema,
        placement: Placement,
    ) -> Result<StateTable> {
        // What cannot be told apart could be written and not be read back.
        RowCodec::of_schema(keys)?;
        RowCodec::of_schema(values)?;
        Ok(StateTable {
            table,
            schema: piece::schema_of(keys, values),
            key_columns: keys.fields().len(),
            placement,
            owned_by: keys.fields().len(),
            buckets: BTreeMap::new(),
            bytes: 0,
        })
    }

    /// The same table with rows owned by the hash of the first key columns only.
    #[must_use]
    pub fn owned_by(mut self, columns: usize) -> StateTable {
        assert!(columns <= self.key_columns);
        self.owned_by = columns;
        self
    }

    /// Columns of its pieces: keys, values, a marker.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Notes the current values of some keys of a bucket. Between two taps each key at most once.
    ///
    /// # Errors
    /// When the columns have other types than the table.
    pub fn upsert(
        &mut self,
        bucket: Bucket,
        keys: &[ArrayRef],
        values: &[ArrayRef],
        rows: usize,
    ) -> Result<()> {
        let batch = piece::setting(&self.schema, keys, values, rows)?;
        self.note(bucket, batch);
        Ok(())
    }

    /// Notes that some keys of a bucket are gone. A key that is set between the same two taps must be
    /// removed before that.
    ///
    /// # Errors
    /// When the columns have other types than the table.
    pub fn remove(&mut self, bucket: Bucket, keys: &[ArrayRef], rows: usize) -> Result<()> {
        let known = self.buckets.get(&bucket);
        // What no snapshot has need not be taken out of one.
        if known.is_some_and(|noted| noted.is_stored || !noted.rows.is_empty()) {
            let batch = piece::removing(&self.schema, keys, rows)?;
            self.note(bucket, batch);
        }
        Ok(())
    }

    fn note(&mut self, bucket: Bucket, batch: RecordBatch) {
        use std::collections::btree_map::Entry;
        let noted = match self.buckets.entry(bucket) {
            Entry::Occupied(noted) => noted.into_mut(),
            Entry::Vacant(place) => {
                self.bytes += BUCKET_BYTES;
                place.insert(Noted::default())
            }
        };
        noted.is_left = false;
        if batch.num_rows() > 0 {
            let bytes = bytes_of(&batch);
            noted.bytes += bytes;
            self.bytes += bytes;
            noted.rows.push(batch);
        }
    }

    /// Drops a bucket, which no worker has any more and which does not come back: rows of it are late. A
    /// bucket that came back before the next tap would have its old pieces again.
    pub fn forget(&mut self, bucket: Bucket) {
        let gone = self.buckets.remove(&bucket);
        self.bytes -= gone.map_or(0, |noted| noted.bytes + BUCKET_BYTES);
    }

    /// This worker has nothing of a bucket any more, though others may: all keys that it had were
    /// [removed](StateTable::remove).
    pub fn leave(&mut self, bucket: Bucket) {
        match self.buckets.get_mut(&bucket) {
            Some(noted) if noted.is_stored => noted.is_left = true,
            Some(_) => self.forget(bucket),
            None => {}
        }
    }

    /// What a snapshot must know, bucket by bucket. Afterwards nothing counts as changed.
    pub fn tap(&mut self) -> Vec<BucketChange> {
        let mut changes = Vec::with_capacity(self.buckets.len());
        let (table, bytes) = (self.table, &mut self.bytes);
        self.buckets.retain(|bucket, noted| {
            *bytes -= std::mem::take(&mut noted.bytes);
            changes.push(BucketChange {
                table,
                bucket: *bucket,
                addition: Addition::Overwrites,
                rows: std::mem::take(&mut noted.rows),
            });
            noted.is_stored = true;
            if noted.is_left {
                *bytes -= BUCKET_BYTES;
            }
            !noted.is_left
        });
        changes
    }

    /// Shows what of a snapshot this worker owns, some rows of a bucket at a time: key columns, value
    /// columns, number of rows. Each key of a bucket comes once. What is shown does not count as changed.
    ///
    /// # Errors
    /// When a piece has other columns than the table or cannot be read, and what `each` fails with.
    pub fn restore(
        &mut self,
        seed: Option<&Seed>,
        ownership: Ownership,
        mut each: impl FnMut(Bucket, &[ArrayRef], &[ArrayRef], usize) -> Result<()>,
    ) -> Result<()> {
        let of_table = seed.iter().flat_map(|seed| &seed.pieces);
        for ((_, bucket), pieces) in of_table.filter(|((table, _), _)| *table == self.table) {
            let mut is_there = false;
            let mut show = |batch: RecordBatch| {
                is_there = true;
                let (keys, rest) = batch.columns().split_at(self.key_columns);
                each(*bucket, keys, &rest[..rest.len() - 1], batch.num_rows())
            };
            let owned = |batch: &RecordBatch| self.owned(*bucket, batch, ownership);
            standing(pieces, &owned, Removals::LeftOut, &mut show)?;
            if is_there {
                let noted = Noted {
                    is_stored: true,
                    ..Noted::default()
                };
                self.buckets.insert(*bucket, noted);
                self.bytes += BUCKET_BYTES;
            }
        }
        Ok(())
    }

    /// Which rows of a piece a worker owns; all without a mask.
    fn owned(
        &self,
        bucket: Bucket,
        batch: &RecordBatch,
        ownership: Ownership,
    ) -> Result<Option<BooleanArray>> {
        if !piece::is_of(&batch.schema(), &self.schema) {
            return Err(OperatorError::contract(
                "a snapshot piece has other columns than its table",
            ));
        }
        if ownership.workers == 1 {
            return Ok(None);
        }
        let keys = &batch.columns()[..self.owned_by];
        let hashes = hash_keys(self.placement.salt(bucket), keys, batch.num_rows())?;
        let is_own = |hash: &u64| Some(owner(*hash, ownership.workers) == ownership.worker);
        Ok(Some(hashes.iter().map(is_own).collect()))
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What a bucket costs without rows, about.
const BUCKET_BYTES: usize = size_of::<Bucket>() + size_of::<Noted>() + PLACE_BYTES / 2;

#[cfg(test)]
mod tests;
