//! What operators share that see rows taken back: finding the row that is meant, and adding up what
//! leaves in an epoch.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array},
    datatypes::{DataType, Schema, SchemaRef},
};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::{side::Side, slots::NONE};
use crate::{
    delta::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Delta},
    driver::Emitter,
    error::{OperatorError, Result},
    rows::RowCodec,
};

/// Finds kept rows by all of their columns.
pub(super) struct Identity {
    codec: RowCodec,
    /// The hash of a kept row, by slot.
    hashes: Vec<u64>,
    slots: HashTable<(u64, u32)>,
}

impl Identity {
    /// For the rows of a side.
    pub(super) fn of(side: &Side) -> Result<Identity> {
        let types = types_of(&side.spec().schema);
        let mut identity = Identity {
            codec: RowCodec::new(&types)?.exact(),
            hashes: Vec::new(),
            slots: HashTable::new(),
        };
        for some in side.all_slots().chunks(BATCH_ROWS_MAX) {
            identity.add(&side.rows(some)?, some)?;
        }
        Ok(identity)
    }

    pub(super) fn add(&mut self, rows: &RecordBatch, slots: &[u32]) -> Result<()> {
        let encoded = self.codec.encode(rows.columns())?;
        for (row, slot) in encoded.iter().zip(slots) {
            let (hash, at) = (xxh3_64(row.data()), *slot as usize);
            if at >= self.hashes.len() {
                self.hashes.resize(at + 1, 0);
            }
            self.hashes[at] = hash;
            self.slots
                .insert_unique(hash, (hash, *slot), |(hash, _)| *hash);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let hash = self.hashes[slot as usize];
        if let Ok(entry) = self.slots.find_entry(hash, |(_, other)| *other == slot) {
            entry.remove();
        }
    }

    /// The slots of some rows, which are taken out; none for a row that is not kept.
    pub(super) fn take(&mut self, rows: &RecordBatch, side: &Side) -> Result<Vec<u32>> {
        let encoded = self.codec.encode(rows.columns())?;
        let mut found = Vec::with_capacity(rows.num_rows());
        for row in &encoded {
            let hash = xxh3_64(row.data());
            match self.slots.find_entry(hash, |(of, _)| *of == hash) {
                Ok(entry) => found.push(entry.remove().0.1),
                Err(_) => found.push(NONE),
            }
        }
        let there: Vec<u32> = found.iter().copied().filter(|slot| *slot != NONE).collect();
        let kept = side.rows(&there)?;
        let kept = self.codec.encode(kept.columns())?;
        let asked = encoded
            .iter()
            .zip(&found)
            .filter(|(_, slot)| **slot != NONE);
        if !asked.zip(kept.iter()).all(|((row, _), kept)| row == kept) {
            return Err(OperatorError::contract("two rows of a join have one hash"));
        }
        Ok(found)
    }

    pub(super) fn bytes(&self) -> usize {
        self.hashes.capacity() * size_of::<u64>() + self.slots.allocation_size()
    }
}

/// What leaves in an epoch, added up: encoded rows in one buffer, with how often each is there.
pub(super) struct Changes {
    codec: RowCodec,
    rows: RowList,
    counts: Vec<i64>,
    table: HashTable<(u64, u32)>,
}

/// Encoded rows, one behind the other.
#[derive(Default)]
struct RowList {
    data: Vec<u8>,
    ends: Vec<usize>,
}

impl RowList {
    fn push(&mut self, row: &[u8]) -> usize {
        self.data.extend_from_slice(row);
        self.ends.push(self.data.len());
        self.ends.len() - 1
    }

    fn row(&self, at: u32) -> &[u8] {
        let at = at as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.data[start..self.ends[at]]
    }
}

/// Changes that are on their way out.
pub(super) struct Leaving {
    rows: RowList,
    /// Which rows, and how often with their signs; last first.
    order: Vec<(u32, i64)>,
}

impl Changes {
    pub(super) fn new(types: &[DataType]) -> Result<Changes> {
        Ok(Changes {
            codec: RowCodec::new(types)?.exact(),
            rows: RowList::default(),
            counts: Vec::new(),
            table: HashTable::new(),
        })
    }

    /// Bytes of what was added.
    pub(super) fn bytes(&self) -> usize {
        self.rows.data.capacity()
            + self.rows.ends.capacity() * size_of::<usize>()
            + self.counts.capacity() * size_of::<i64>()
            + self.table.allocation_size()
    }

    /// Adds rows that come, or that are taken back.
    pub(super) fn add(&mut self, rows: &RecordBatch, sign: i64) -> Result<()> {
        if rows.num_columns() == 0 {
            let count = i64::try_from(rows.num_rows()).unwrap_or(i64::MAX);
            return self.count(&[], sign * count);
        }
        for row in &self.codec.encode(rows.columns())? {
            self.count(row.data(), sign)?;
        }
        Ok(())
    }

    fn count(&mut self, row: &[u8], by: i64) -> Result<()> {
        let hash = xxh3_64(row);
        let known = |(of, at): &(u64, u32)| *of == hash && self.rows.row(*at) == row;
        if let Some((_, at)) = self.table.find(hash, known) {
            self.counts[*at as usize] += by;
            return Ok(());
        }
        let at = u32::try_from(self.rows.push(row))
            .map_err(|_| OperatorError::contract("an epoch of a join changes too many rows"))?;
        self.counts.push(by);
        self.table.insert_unique(hash, (hash, at), |(of, _)| *of);
        Ok(())
    }

    /// All of it: what is taken back first, each in the order of its bytes.
    pub(super) fn take(&mut self) -> Leaving {
        self.table = HashTable::new();
        let rows = std::mem::take(&mut self.rows);
        let counts = std::mem::take(&mut self.counts);
        let all = (0u32..).zip(counts).filter(|(_, count)| *count != 0);
        let mut order: Vec<(u32, i64)> = all.collect();
        order.sort_unstable_by(|(a, a_count), (b, b_count)| {
            let signs = a_count.signum().cmp(&b_count.signum());
            signs.then_with(|| rows.row(*a).cmp(rows.row(*b))).reverse()
        });
        Leaving { rows, order }
    }

    /// Gives what leaves until the emitter is full; whether all has left.
    pub(super) fn give(
        &self,
        leaving: &mut Leaving,
        schema: &SchemaRef,
        out: &mut Emitter,
    ) -> Result<bool> {
        while !leaving.order.is_empty() {
            if out.is_full() {
                return Ok(false);
            }
            out.give(self.batch(leaving, schema)?);
        }
        Ok(true)
    }

    /// Rows of one sign, bounded in number and bytes; a row that is there more than once counts so often.
    fn batch(&self, leaving: &mut Leaving, schema: &SchemaRef) -> Result<Delta> {
        let Leaving { rows, order } = leaving;
        let mut some: Vec<&[u8]> = Vec::new();
        let (mut bytes, mut sign) = (0, 0);
        while let Some((at, count)) = order.last_mut() {
            let row = rows.row(*at);
            let is_full = some.len() >= BATCH_ROWS_MAX || bytes + row.len() > BATCH_BYTES_MAX;
            if (is_full && !some.is_empty()) || (sign != 0 && sign != count.signum()) {
                break;
            }
            sign = count.signum();
            bytes += row.len();
            some.push(row);
            *count -= sign;
            if *count == 0 {
                order.pop();
            }
        }
        let count = some.len();
        let columns: Vec<ArrayRef> = if schema.fields().is_empty() {
            Vec::new()
        } else {
            self.codec.decode(some.into_iter())?
        };
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .map_err(OperatorError::arrow("making changed rows"))?;
        let signs = (sign < 0).then(|| Int64Array::from_value(sign, count));
        Ok(Delta::signed(batch, signs))
    }
}

pub(super) fn types_of(schema: &Schema) -> Vec<DataType> {
    let fields = schema.fields().iter();
    fields.map(|field| field.data_type().clone()).collect()
}

/// The rows of a delta with a sign, each as often as it counts.
pub(super) fn of_sign(delta: &Delta, sign: i64) -> Result<Option<Delta>> {
    let Some(diff) = delta.diff() else {
        return Ok((sign > 0).then(|| delta.clone()));
    };
    let mut rows: Vec<u32> = Vec::new();
    for (row, count) in (0u32..).zip(diff.values()) {
        if count.signum() == sign {
            let times = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
            rows.extend(std::iter::repeat_n(row, times));
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let indices: ArrayRef = Arc::new(UInt32Array::from(rows));
    Ok(Some(delta.take(&indices)?))
}
