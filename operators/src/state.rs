//! `StateTable`: one named state of an operator, durable through its batches.
//!
//! The working copy of a state is whatever is fastest for its operator (hash tables of columns). The
//! table here is the copy that survives: a differential arrangement a bucket, `key → value`, to
//! which the operator appends what changed when a snapshot asks ([`tap`](StateTable::tap)) and from
//! which it starts again ([`seed`](StateTable::seed)). A bucket is a slice of event time (a window,
//! a pane); what the watermark closes is dropped as a whole, without looking at its rows.
//!
//! What it does *not* do: lookups on the hot path, IO, decisions about time.
//!
//! A snapshot of a bucket is a set of pieces; a piece is a batch of `keys, values, __diff`, and the
//! bucket is the sum of its pieces. Pieces hold Arrow columns, not row bytes, so that any release
//! can read them, and the number of workers may change: a worker keeps the rows that it owns.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions},
    compute,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use millstream_types::Epoch;

use crate::{
    dd::{Arrangement, RowBytes, Updates},
    error::{OperatorError, Result},
    keyhash::{hash_keys, owner},
    rows::RowCodec,
};

/// Pieces of a bucket after which the next snapshot writes it whole.
const PIECES_MAX: usize = 12;

/// Rows that are made bytes of at once: a large bucket would otherwise stand in memory several times
/// over on its way into the arrangement.
const ROWS_MAX: usize = 64 * 1024;

/// Bytes of row bytes that become one piece; a row alone may be longer. A column of text has 31 bits for
/// its length, and a piece is encoded and written whole.
#[cfg(not(test))]
const PIECE_BYTES_MAX: usize = 32 << 20;
/// So low that the tests of this crate cut all the time.
#[cfg(test)]
const PIECE_BYTES_MAX: usize = 120;

/// What a place in a tree of boxes costs, about: such trees are filled in order, which leaves their nodes
/// half empty.
pub(crate) const PLACE_BYTES: usize = 36;

/// A slice of event time. What the number means is the operator's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(pub i64);

/// What a snapshot must know about one bucket that is alive. A bucket that is not mentioned is gone.
#[derive(Clone, Debug)]
pub struct BucketChange {
    /// Number of the table within its operator.
    pub table: u32,
    /// Which bucket.
    pub bucket: Bucket,
    /// Whether `rows` replaces all earlier pieces of this worker instead of adding to them.
    pub replaces: bool,
    /// What to write, in pieces of bounded length; none if nothing changed since the last snapshot.
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

/// One named state of an operator.
#[derive(Debug)]
pub struct StateTable {
    table: u32,
    keys: RowCodec,
    values: RowCodec,
    schema: SchemaRef,
    placement: Placement,
    /// How many leading key columns decide who owns a row.
    owned_by: usize,
    buckets: BTreeMap<Bucket, Box<Stored>>,
    /// Bytes of all buckets.
    bytes: usize,
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

#[derive(Debug)]
struct Stored {
    arrangement: Arrangement,
    /// What was appended since the last tap, as a piece.
    fresh: Vec<RecordBatch>,
    fresh_bytes: usize,
    /// Whether the next tap must write the bucket whole.
    rewrite: bool,
    pieces: usize,
    /// Updates in all pieces since the last whole one.
    written: usize,
    live: usize,
}

impl Stored {
    fn new() -> Stored {
        Stored {
            arrangement: Arrangement::new(),
            fresh: Vec::new(),
            fresh_bytes: 0,
            // A bucket may have been dropped and come back between two snapshots: its first piece
            // must not be added to those of its former life.
            rewrite: true,
            pieces: 0,
            written: 0,
            live: 0,
        }
    }

    /// Bytes held: row bytes, what was appended, and what every bucket costs.
    fn bytes(&self) -> usize {
        self.arrangement.bytes() + self.fresh_bytes + size_of::<Stored>() + PLACE_BYTES
    }

    /// All it holds, in pieces.
    fn whole(
        &mut self,
        (keys, values): (&RowCodec, &RowCodec),
        schema: &SchemaRef,
    ) -> Result<Vec<RecordBatch>> {
        let mut done = Ok(Vec::new());
        let mut updates = Updates::default();
        self.arrangement.scan(|key, value, count| {
            let is_full = updates.bytes() + key.len() + value.len() > PIECE_BYTES_MAX;
            if is_full && updates.len() > 0 {
                let full = std::mem::take(&mut updates);
                push_piece(&mut done, || {
                    piece(keys, values, schema, &full, 0..full.len())
                });
            }
            updates.push(key, value, 0, count);
        });
        if updates.len() > 0 {
            push_piece(&mut done, || {
                piece(keys, values, schema, &updates, 0..updates.len())
            });
        }
        done
    }
}

fn push_piece(done: &mut Result<Vec<RecordBatch>>, piece: impl FnOnce() -> Result<RecordBatch>) {
    if let Ok(pieces) = done {
        match piece() {
            Ok(piece) => pieces.push(piece),
            Err(error) => *done = Err(error),
        }
    }
}

/// Bytes of a batch, all of its own.
fn batch_bytes(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    columns.map(|column| column.get_array_memory_size()).sum()
}

/// Pieces that follow each other as fewer, as far as their length allows.
fn joined(schema: &SchemaRef, pieces: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let mut done = Vec::new();
    let mut some: Vec<RecordBatch> = Vec::new();
    let mut bytes = 0;
    let join = |some: &[RecordBatch]| {
        compute::concat_batches(schema, some).map_err(OperatorError::arrow("joining state pieces"))
    };
    for piece in pieces {
        let more = batch_bytes(&piece);
        if bytes + more > PIECE_BYTES_MAX && !some.is_empty() {
            done.push(join(&std::mem::take(&mut some))?);
            bytes = 0;
        }
        bytes += more;
        some.push(piece);
    }
    if !some.is_empty() {
        done.push(join(&some)?);
    }
    Ok(done)
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
        let column = |prefix: &str, index: usize, field: &Field| {
            Field::new(format!("{prefix}{index}"), field.data_type().clone(), true)
        };
        let mut fields: Vec<Field> = Vec::new();
        fields.extend(
            keys.fields()
                .iter()
                .enumerate()
                .map(|(i, f)| column("key", i, f)),
        );
        fields.extend(
            values
                .fields()
                .iter()
                .enumerate()
                .map(|(i, f)| column("value", i, f)),
        );
        fields.push(Field::new("__diff", DataType::Int64, false));
        Ok(StateTable {
            table,
            keys: RowCodec::of_schema(keys)?,
            values: RowCodec::of_schema(values)?.exact(),
            schema: Arc::new(Schema::new(fields)),
            placement,
            owned_by: keys.fields().len(),
            buckets: BTreeMap::new(),
            bytes: 0,
        })
    }

    /// The same table with rows owned by the hash of the first key columns only.
    #[must_use]
    pub fn owned_by(mut self, columns: usize) -> StateTable {
        assert!(columns <= self.keys.columns());
        self.owned_by = columns;
        self
    }

    /// Columns of its pieces: keys, values, `__diff`.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Sets the values of some keys in a bucket; each key at most once a call.
    ///
    /// # Errors
    /// When the columns have other types than the table.
    pub fn upsert(
        &mut self,
        bucket: Bucket,
        epoch: Epoch,
        keys: &[ArrayRef],
        values: &[ArrayRef],
        rows: usize,
    ) -> Result<()> {
        let cut = |columns: &[ArrayRef], start: usize, len: usize| -> Vec<ArrayRef> {
            let columns = columns.iter();
            columns.map(|column| column.slice(start, len)).collect()
        };
        for start in (0..rows).step_by(ROWS_MAX) {
            let len = ROWS_MAX.min(rows - start);
            let encoded = self.values.encode(&cut(values, start, len))?;
            let values: Vec<&[u8]> = if self.values.columns() == 0 {
                vec![&[]; len]
            } else {
                encoded.iter().map(|row| row.data()).collect()
            };
            let keys = cut(keys, start, len);
            self.change(bucket, epoch, &keys, len, |row| Some(values[row]))?;
        }
        Ok(())
    }

    /// Removes some keys from a bucket; each key at most once a call.
    ///
    /// # Errors
    /// When the columns have other types than the table.
    pub fn remove(
        &mut self,
        bucket: Bucket,
        epoch: Epoch,
        keys: &[ArrayRef],
        rows: usize,
    ) -> Result<()> {
        self.change(bucket, epoch, keys, rows, |_| None)
    }

    fn change<'v>(
        &mut self,
        bucket: Bucket,
        epoch: Epoch,
        keys: &[ArrayRef],
        rows: usize,
        value_of: impl Fn(usize) -> Option<&'v [u8]>,
    ) -> Result<()> {
        let (keys, order) = self.sorted_keys(bucket, keys, rows)?;
        let is_new = !self.buckets.contains_key(&bucket);
        let stored = self
            .buckets
            .entry(bucket)
            .or_insert_with(|| Box::new(Stored::new()));
        let mut updates = Updates::default();
        let mut live_change = 0i64;
        let mut at = order.iter();
        stored.arrangement.probe(keys.iter(), |key, held| {
            let mut new = at.next().and_then(|row| value_of(*row as usize));
            // Values of a key go out in order, so that nothing has to be sorted again.
            for (old, count) in held.iter() {
                if let Some(value) = new
                    && value <= old
                {
                    new = None;
                    let same = i64::from(value == old);
                    live_change += 1 - same * count;
                    if same == 0 {
                        updates.push(key, value, epoch.0, 1);
                    } else if count != 1 {
                        updates.push(key, old, epoch.0, 1 - count);
                    }
                    if same == 1 {
                        continue;
                    }
                }
                updates.push(key, old, epoch.0, -count);
                live_change -= count;
            }
            if let Some(value) = new {
                updates.push(key, value, epoch.0, 1);
                live_change += 1;
            }
        });
        // Whatever the next tap writes whole needs no piece of its own.
        let pieces = if stored.rewrite {
            Vec::new()
        } else {
            pieces(&self.keys, &self.values, &self.schema, &updates)?
        };
        self.bytes -= if is_new { 0 } else { stored.bytes() };
        let stored_updates = stored.arrangement.append(epoch.0, updates);
        if stored_updates > 0 {
            stored.written += pieces.iter().map(RecordBatch::num_rows).sum::<usize>();
            stored.fresh_bytes += pieces.iter().map(batch_bytes).sum::<usize>();
            stored.fresh.extend(pieces);
        }
        self.bytes += stored.bytes();
        stored.live = stored
            .live
            .saturating_add_signed(isize::try_from(live_change).unwrap_or(0));
        Ok(())
    }

    /// Hash and row bytes of the keys in their order, and which row each is of.
    fn sorted_keys(
        &self,
        bucket: Bucket,
        keys: &[ArrayRef],
        rows: usize,
    ) -> Result<(RowBytes, Vec<u32>)> {
        let hashes = hash_keys(self.placement.salt(bucket), &keys[..self.owned_by], rows)?;
        // Without key columns there is nothing to encode, and one key.
        let encoded = match keys {
            [] => None,
            keys => Some(self.keys.encode(keys)?),
        };
        let key_of = |row: u32| -> &[u8] {
            let encoded = encoded.as_ref();
            encoded.map_or(&[], |encoded| encoded.row(row as usize).data())
        };
        let mut order: Vec<(u64, u32)> = hashes.into_iter().zip(0u32..).collect();
        order.sort_unstable_by(|(a_hash, a), (b_hash, b)| {
            a_hash.cmp(b_hash).then_with(|| key_of(*a).cmp(key_of(*b)))
        });
        let mut sorted = RowBytes::default();
        for (hash, row) in &order {
            sorted.push_parts(&hash.to_be_bytes(), key_of(*row));
        }
        Ok((sorted, order.into_iter().map(|(_, row)| row).collect()))
    }

    /// Hash and row bytes of each key, with its row number.
    fn prefixed_keys(
        &self,
        bucket: Bucket,
        keys: &[ArrayRef],
        rows: usize,
    ) -> Result<Vec<(Vec<u8>, usize)>> {
        let hashes = hash_keys(self.placement.salt(bucket), &keys[..self.owned_by], rows)?;
        if keys.is_empty() {
            return Ok((0..rows)
                .map(|row| (hashes[row].to_be_bytes().to_vec(), row))
                .collect());
        }
        let encoded = self.keys.encode(keys)?;
        let prefixed = encoded
            .iter()
            .zip(&hashes)
            .enumerate()
            .map(|(row, (key, hash))| {
                let mut bytes = Vec::with_capacity(8 + key.data().len());
                bytes.extend_from_slice(&hash.to_be_bytes());
                bytes.extend_from_slice(key.data());
                (bytes, row)
            });
        Ok(prefixed.collect())
    }

    /// Drops every bucket for which `keep` says no.
    pub fn retain(&mut self, keep: impl Fn(Bucket) -> bool) {
        let bytes = &mut self.bytes;
        self.buckets.retain(|bucket, stored| {
            let stays = keep(*bucket);
            *bytes -= if stays { 0 } else { stored.bytes() };
            stays
        });
    }

    /// Drops a bucket.
    pub fn forget(&mut self, bucket: Bucket) {
        let gone = self.buckets.remove(&bucket);
        self.bytes -= gone.map_or(0, |stored| stored.bytes());
    }

    /// What a snapshot must know, bucket by bucket. Afterwards nothing counts as changed.
    ///
    /// # Errors
    /// Never for rows that this table encoded.
    pub fn tap(&mut self) -> Result<Vec<BucketChange>> {
        let StateTable {
            table,
            keys,
            values,
            schema,
            buckets,
            bytes,
            ..
        } = self;
        let mut changes = Vec::with_capacity(buckets.len());
        for (bucket, stored) in buckets {
            *bytes -= stored.bytes();
            let grown = stored.written > 2 * stored.live + 4096;
            let replaces = stored.rewrite || stored.pieces + 1 > PIECES_MAX || grown;
            let fresh = std::mem::take(&mut stored.fresh);
            stored.fresh_bytes = 0;
            let rows = if replaces {
                stored.pieces = 0;
                stored.written = 0;
                stored.whole((keys, values), schema)?
            } else {
                joined(schema, fresh)?
            };
            if replaces {
                stored.written = rows.iter().map(RecordBatch::num_rows).sum();
            }
            stored.rewrite = false;
            stored.pieces += usize::from(!rows.is_empty());
            *bytes += stored.bytes();
            changes.push(BucketChange {
                table: *table,
                bucket: *bucket,
                replaces,
                rows,
            });
        }
        Ok(changes)
    }

    /// Fills a bucket from the pieces of a snapshot taken after `epoch`, keeping the rows that this
    /// worker owns, and says what it now holds: key columns, value columns.
    ///
    /// Every bucket is written whole at the next snapshot: pieces of another set of workers cannot
    /// be added to.
    ///
    /// # Errors
    /// When a piece has other columns than the table.
    pub fn seed(
        &mut self,
        bucket: Bucket,
        epoch: Epoch,
        pieces: &[RecordBatch],
        ownership: Ownership,
    ) -> Result<Vec<RecordBatch>> {
        let mut updates = Updates::default();
        for piece in pieces {
            self.seed_updates(bucket, piece, ownership, &mut updates)?;
        }
        let mut stored = Stored::new();
        stored.live = stored.arrangement.append(epoch.0, updates);
        let held = stored.whole((&self.keys, &self.values), &self.schema)?;
        for piece in &held {
            let diffs = piece.column(piece.num_columns() - 1);
            let diffs = diffs.as_primitive::<Int64Type>();
            if diffs.values().iter().any(|diff| *diff != 1) {
                return Err(OperatorError::contract(
                    "a snapshot holds a key more or less than once",
                ));
            }
        }
        if stored.live > 0 {
            self.bytes += stored.bytes();
            self.buckets.insert(bucket, Box::new(stored));
        }
        Ok(held)
    }

    fn seed_updates(
        &self,
        bucket: Bucket,
        piece: &RecordBatch,
        ownership: Ownership,
        updates: &mut Updates,
    ) -> Result<()> {
        let types = |schema: &Schema| -> Vec<DataType> {
            schema
                .fields()
                .iter()
                .map(|field| field.data_type().clone())
                .collect()
        };
        if types(&piece.schema()) != types(&self.schema) {
            return Err(OperatorError::contract(
                "a snapshot piece has other columns than its table",
            ));
        }
        let key_columns = &piece.columns()[..self.owned_by];
        let hashes = hash_keys(self.placement.salt(bucket), key_columns, piece.num_rows())?;
        let mine: BooleanArray = hashes
            .iter()
            .map(|hash| Some(owner(*hash, ownership.workers) == ownership.worker))
            .collect();
        let kept = compute::filter_record_batch(piece, &mine)
            .map_err(OperatorError::arrow("slicing a snapshot piece"))?;
        let (key_columns, rest) = kept.columns().split_at(self.keys.columns());
        let (value_columns, diff) = rest.split_at(self.values.columns());
        let diffs = diff[0].as_primitive::<Int64Type>();
        let values = self.values.encode(value_columns)?;
        for (key, row) in self.prefixed_keys(bucket, key_columns, kept.num_rows())? {
            let value = if value_columns.is_empty() {
                &[]
            } else {
                values.row(row).data()
            };
            updates.push(&key, value, 0, diffs.value(row));
        }
        Ok(())
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Updates that the arrangements hold, merged or not.
    #[must_use]
    pub fn stored(&self) -> usize {
        self.buckets
            .values()
            .map(|stored| stored.arrangement.stored())
            .sum()
    }
}

/// Updates as pieces of bounded length.
fn pieces(
    keys: &RowCodec,
    values: &RowCodec,
    schema: &SchemaRef,
    updates: &Updates,
) -> Result<Vec<RecordBatch>> {
    let (mut start, mut bytes) = (0, 0);
    let mut done = Vec::new();
    for (at, (key, value, _)) in updates.iter(0..updates.len()).enumerate() {
        if bytes + key.len() + value.len() > PIECE_BYTES_MAX && at > start {
            done.push(piece(keys, values, schema, updates, start..at)?);
            (start, bytes) = (at, 0);
        }
        bytes += key.len() + value.len();
    }
    if start < updates.len() {
        let rest = start..updates.len();
        done.push(piece(keys, values, schema, updates, rest)?);
    }
    Ok(done)
}

/// Some updates as Arrow columns: keys, values, `__diff`.
fn piece(
    keys: &RowCodec,
    values: &RowCodec,
    schema: &SchemaRef,
    updates: &Updates,
    of: Range<usize>,
) -> Result<RecordBatch> {
    let rows = || updates.iter(of.clone());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    if keys.columns() > 0 {
        columns.extend(keys.decode(rows().map(|(key, _, _)| &key[8..]))?);
    }
    if values.columns() > 0 {
        columns.extend(values.decode(rows().map(|(_, value, _)| value))?);
    }
    let diffs: Int64Array = rows().map(|(_, _, diff)| Some(diff)).collect();
    columns.push(Arc::new(diffs));
    let options = RecordBatchOptions::new().with_row_count(Some(of.len()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(OperatorError::arrow("making a state piece"))
}

#[cfg(test)]
mod tests;
