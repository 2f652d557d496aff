//! The one place that names differential dataflow: its traces over flat bytes.
//!
//! Keys and values of state are byte strings in flat buffers ([`RowBytes`]), sorted and merged by
//! differential's stock spine. Versions are pinned exactly because each release breaks; an upgrade
//! is work in this file.

use std::{ops::Range, rc::Rc};

use differential_dataflow::trace::{
    Builder, Cursor, Description, Span, Trace, TraceReader,
    cursor::{CursorList, Navigable, cursor_list},
    implementations::{
        BatchContainer, OffsetList,
        ord_neu::{BuilderInput, OrdValBatch, OrdValBuilder},
        spine_fueled::{Spine, SpineBatch},
    },
};
use timely::{
    Accountable,
    container::{DrainContainer, PushInto},
    dataflow::operators::generic::OperatorInfo,
    progress::Antichain,
};

/// A flat list of byte strings.
#[derive(Clone, Debug)]
pub(crate) struct RowBytes {
    ends: Vec<usize>,
    data: Vec<u8>,
}

impl Default for RowBytes {
    fn default() -> RowBytes {
        RowBytes {
            ends: vec![0],
            data: Vec::new(),
        }
    }
}

impl RowBytes {
    #[inline]
    pub(crate) fn push(&mut self, row: &[u8]) {
        self.data.extend_from_slice(row);
        self.ends.push(self.data.len());
    }

    /// Adds a row made of two parts.
    #[inline]
    pub(crate) fn push_parts(&mut self, front: &[u8], back: &[u8]) {
        self.data.extend_from_slice(front);
        self.push(back);
    }

    fn bytes(&self) -> usize {
        self.ends.capacity() * size_of::<usize>() + self.data.capacity()
    }

    /// The rows in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count()).map(|index| self.at(index))
    }

    #[inline]
    fn at(&self, index: usize) -> &[u8] {
        &self.data[self.ends[index]..self.ends[index + 1]]
    }

    #[inline]
    fn count(&self) -> usize {
        self.ends.len() - 1
    }
}

impl BatchContainer for RowBytes {
    type Owned = Vec<u8>;
    type ReadItem<'a> = &'a [u8];

    fn into_owned(item: &[u8]) -> Vec<u8> {
        item.to_vec()
    }
    fn clone_onto(item: &[u8], other: &mut Vec<u8>) {
        other.clear();
        other.extend_from_slice(item);
    }
    #[inline]
    fn push_ref(&mut self, item: &[u8]) {
        self.push(item);
    }
    #[inline]
    fn push_own(&mut self, item: &Vec<u8>) {
        self.push(item);
    }
    fn clear(&mut self) {
        self.ends.truncate(1);
        self.data.clear();
    }
    fn with_capacity(size: usize) -> Self {
        let mut ends = Vec::with_capacity(size + 1);
        ends.push(0);
        RowBytes {
            ends,
            data: Vec::new(),
        }
    }
    fn merge_capacity(a: &Self, b: &Self) -> Self {
        let mut ends = Vec::with_capacity(a.ends.len() + b.ends.len());
        ends.push(0);
        RowBytes {
            ends,
            data: Vec::with_capacity(a.data.len() + b.data.len()),
        }
    }
    #[inline]
    fn reborrow<'b, 'a: 'b>(item: &'a [u8]) -> &'b [u8] {
        item
    }
    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        self.at(index)
    }
    #[inline]
    fn len(&self) -> usize {
        self.count()
    }
}

impl PushInto<Vec<u8>> for RowBytes {
    fn push_into(&mut self, row: Vec<u8>) {
        self.push(&row);
    }
}

impl PushInto<&[u8]> for RowBytes {
    #[inline]
    fn push_into(&mut self, row: &[u8]) {
        self.push(row);
    }
}

/// Updates in flat buffers: what goes into a batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Updates {
    keys: RowBytes,
    values: RowBytes,
    times: Vec<u64>,
    diffs: Vec<i64>,
}

impl Updates {
    /// Adds an update.
    #[inline]
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8], time: u64, diff: i64) {
        self.keys.push(key);
        self.values.push(value);
        self.times.push(time);
        self.diffs.push(diff);
    }

    /// Number of updates.
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// Bytes of all keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.keys.data.len() + self.values.data.len()
    }

    /// Key, value and diff of some updates.
    pub(crate) fn iter(&self, of: Range<usize>) -> impl Iterator<Item = (&[u8], &[u8], i64)> {
        of.map(|index| {
            (
                self.keys.at(index),
                self.values.at(index),
                self.diffs[index],
            )
        })
    }

    /// Whether each update stands behind the one before it and none is zero.
    fn is_consolidated(&self) -> bool {
        let pair = |index: usize| (self.keys.at(index), self.values.at(index));
        (1..self.len()).all(|index| pair(index - 1) < pair(index))
            && self.diffs.iter().all(|diff| *diff != 0)
    }

    /// Sorted by key and value, all at `time`, equal ones added up, zeros gone.
    fn consolidated(mut self, time: u64) -> Updates {
        // Whoever goes by sorted keys has them in order already.
        if self.is_consolidated() {
            self.times.iter_mut().for_each(|at| *at = time);
            return self;
        }
        let mut order: Vec<(u64, usize)> = (0..self.len())
            .map(|index| (prefix(self.keys.at(index)), index))
            .collect();
        order.sort_unstable_by(|(a_prefix, a), (b_prefix, b)| {
            a_prefix.cmp(b_prefix).then_with(|| {
                let keys = self.keys.at(*a).cmp(self.keys.at(*b));
                keys.then_with(|| self.values.at(*a).cmp(self.values.at(*b)))
            })
        });
        let mut out = Updates::default();
        let mut rest = order.as_slice();
        while let Some((_, first)) = rest.first() {
            let (key, value) = (self.keys.at(*first), self.values.at(*first));
            let same = rest
                .iter()
                .take_while(|(_, i)| self.keys.at(*i) == key && self.values.at(*i) == value)
                .count();
            let diff: i64 = rest[..same]
                .iter()
                .map(|(_, index)| self.diffs[*index])
                .sum();
            if diff != 0 {
                out.push(key, value, time, diff);
            }
            rest = &rest[same..];
        }
        out
    }
}

/// The values of one key, in order, with their counts.
#[derive(Debug, Default)]
pub(crate) struct Values {
    values: RowBytes,
    counts: Vec<i64>,
}

impl Values {
    fn clear(&mut self) {
        self.values.clear();
        self.counts.clear();
    }

    fn push(&mut self, value: &[u8], count: i64) {
        self.values.push(value);
        self.counts.push(count);
    }

    /// Each value and its count.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], i64)> {
        let counts = self.counts.iter().copied();
        counts
            .enumerate()
            .map(|(index, count)| (self.values.at(index), count))
    }
}

/// The first eight bytes: keys begin with their hash, so this decides nearly every comparison.
#[inline]
fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = key.len().min(8);
    bytes[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(bytes)
}

impl Accountable for Updates {
    fn record_count(&self) -> i64 {
        i64::try_from(self.len()).unwrap_or(i64::MAX)
    }
}

/// Reads [`Updates`] in order.
#[derive(Debug)]
pub(crate) struct UpdatesDrain<'a> {
    updates: &'a Updates,
    next: usize,
}

impl<'a> Iterator for UpdatesDrain<'a> {
    type Item = (&'a [u8], &'a [u8], u64, i64);

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        let updates = self.updates;
        let time = *updates.times.get(index)?;
        self.next += 1;
        Some((
            updates.keys.at(index),
            updates.values.at(index),
            time,
            updates.diffs[index],
        ))
    }
}

impl DrainContainer for Updates {
    type Item<'a> = (&'a [u8], &'a [u8], u64, i64);
    type DrainIter<'a> = UpdatesDrain<'a>;

    fn drain(&mut self) -> UpdatesDrain<'_> {
        UpdatesDrain {
            updates: self,
            next: 0,
        }
    }
}

impl BuilderInput<RowBytes, RowBytes> for Updates {
    type Key<'a> = &'a [u8];
    type Val<'a> = &'a [u8];
    type Time = u64;
    type Diff = i64;

    fn into_parts<'a>(
        item: <Updates as DrainContainer>::Item<'a>,
    ) -> (&'a [u8], &'a [u8], u64, i64) {
        item
    }
    fn key_eq(this: &&[u8], other: &[u8]) -> bool {
        **this == *other
    }
    fn val_eq(this: &&[u8], other: &[u8]) -> bool {
        **this == *other
    }
    fn key_val_upd_counts(chain: &[Self]) -> (usize, usize, usize) {
        let count = chain.iter().map(Updates::len).sum();
        (count, count, count)
    }
}

type Layout = (RowBytes, RowBytes, Vec<u64>, Vec<i64>, OffsetList);
type RowBatch = OrdValBatch<Layout>;
type RowBuilder = OrdValBuilder<Layout, Updates>;
type RowCursor = CursorList<<Rc<RowBatch> as Navigable>::Cursor>;

/// The batch of consolidated updates; none if there are none.
fn batch_of(mut updates: Updates) -> Option<Rc<RowBatch>> {
    let count = updates.len();
    let mut builder = RowBuilder::with_capacity(count, count, count);
    builder.push(&mut updates);
    builder.done().map(Rc::new)
}

/// Rows of an arrangement that stand in a plain list.
const FEW_MAX: usize = 16;

/// A key, a value and a count.
type Entry = (Box<[u8]>, Box<[u8]>, i64);

/// Sorted bytes by key and value, with counts: a list while it is short, then a spine. A spine costs
/// kilobytes before its first row, and there may be hundreds of thousands of windows with one group each.
#[derive(Debug)]
pub(crate) struct Arrangement {
    held: Held,
}

#[derive(Debug)]
enum Held {
    Few(Vec<Entry>),
    Many(Box<Spined>),
}

impl Arrangement {
    /// An empty arrangement.
    pub(crate) fn new() -> Arrangement {
        Arrangement {
            held: Held::Few(Vec::new()),
        }
    }

    /// Adds the updates of `epoch`; what cancels out is not stored. Says how many were.
    pub(crate) fn append(&mut self, epoch: u64, updates: Updates) -> usize {
        let few = match &mut self.held {
            Held::Many(spined) => return spined.append(epoch, updates),
            Held::Few(few) => few,
        };
        let updates = updates.consolidated(epoch);
        if few.len() + updates.len() > FEW_MAX {
            let mut spined = Spined::new();
            if !few.is_empty() {
                let mut before = Updates::default();
                few.iter()
                    .for_each(|(key, value, count)| before.push(key, value, epoch, *count));
                spined.append(epoch, before);
            }
            let stored = spined.append(epoch, updates);
            self.held = Held::Many(Box::new(spined));
            return stored;
        }
        few.reserve_exact(updates.len());
        for (key, value, diff) in updates.iter(0..updates.len()) {
            let found =
                few.binary_search_by(|(held, of, _)| (&held[..], &of[..]).cmp(&(key, value)));
            match found {
                Ok(at) => {
                    few[at].2 += diff;
                    if few[at].2 == 0 {
                        few.remove(at);
                    }
                }
                Err(at) => few.insert(at, (key.into(), value.into(), diff)),
            }
        }
        updates.len()
    }

    /// For each of the sorted `keys`, in their order, its values that have a count.
    pub(crate) fn probe<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]>,
        mut each: impl FnMut(&'k [u8], &Values),
    ) {
        let few = match &mut self.held {
            Held::Many(spined) => return spined.probe(keys, each),
            Held::Few(few) => few,
        };
        let mut values = Values::default();
        for key in keys {
            values.clear();
            let from = few.partition_point(|(held, _, _)| &held[..] < key);
            for (_, value, count) in few[from..]
                .iter()
                .take_while(|(held, _, _)| &held[..] == key)
            {
                values.push(value, *count);
            }
            each(key, &values);
        }
    }

    /// Everything it holds, by key and value.
    pub(crate) fn scan(&mut self, mut row: impl FnMut(&[u8], &[u8], i64)) {
        match &mut self.held {
            Held::Many(spined) => spined.scan(row),
            Held::Few(few) => few
                .iter()
                .for_each(|(key, value, count)| row(key, value, *count)),
        }
    }

    /// Updates that it holds, merged or not.
    pub(crate) fn stored(&self) -> usize {
        match &self.held {
            Held::Many(spined) => spined.stored(),
            Held::Few(few) => few.len(),
        }
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        match &self.held {
            Held::Many(spined) => spined.bytes(),
            Held::Few(few) => {
                let rows = few.iter().map(|(key, value, _)| key.len() + value.len());
                few.capacity() * size_of::<Entry>() + rows.sum::<usize>()
            }
        }
    }
}

/// A spine that is written by hand: one batch an append, read by cursors.
///
/// Times are epochs; readers only ever ask for everything, so history is compacted at once.
struct Spined {
    spine: Spine<Rc<RowBatch>>,
    upper: u64,
}

impl std::fmt::Debug for Spined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spined")
            .field("upper", &self.upper)
            .finish_non_exhaustive()
    }
}

impl Spined {
    fn new() -> Spined {
        // The spine wants an operator to belong to for its logging, which we do not use.
        let nobody = OperatorInfo::new(0, 0, Rc::from([]));
        Spined {
            spine: Spine::new(nobody, None, None),
            upper: 0,
        }
    }

    /// Adds the updates of `epoch` as one batch; what cancels out is not stored. Several batches of
    /// one epoch stand at times of their own: nobody reads between them.
    fn append(&mut self, epoch: u64, updates: Updates) -> usize {
        let time = epoch.max(self.upper);
        let consolidated = updates.consolidated(time);
        let stored = consolidated.len();
        let (lower, upper) = (
            Antichain::from_elem(self.upper),
            Antichain::from_elem(time + 1),
        );
        let description = Description::new(lower, upper.clone(), Antichain::from_elem(0));
        let batch = (stored > 0).then(|| batch_of(consolidated)).flatten();
        self.spine.insert(Span::new(description, batch));
        self.upper = time + 1;
        self.spine.set_logical_compaction(upper.borrow());
        self.spine.set_physical_compaction(upper.borrow());
        stored
    }

    /// A cursor over everything.
    fn cursor(&mut self) -> (RowCursor, Vec<Rc<RowBatch>>) {
        // All batches: readers are compacted up to here, so none straddles this frontier.
        let upper = Antichain::from_elem(self.upper);
        let batches = self.spine.batches_through(upper.borrow());
        cursor_list(batches.unwrap_or_default())
    }

    /// For each of the sorted `keys`, in their order, its values that have a count.
    fn probe<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]>,
        mut each: impl FnMut(&'k [u8], &Values),
    ) {
        let (mut cursor, storage) = self.cursor();
        let mut values = Values::default();
        for key in keys {
            values.clear();
            cursor.seek_key(&storage, key);
            if cursor.get_key(&storage) == Some(key) {
                while let Some(value) = cursor.get_val(&storage) {
                    let mut count = 0;
                    cursor.map_times(&storage, |_, diff| count += *diff);
                    if count != 0 {
                        values.push(value, count);
                    }
                    cursor.step_val(&storage);
                }
            }
            each(key, &values);
        }
    }

    /// Everything it holds, by key and value.
    fn scan(&mut self, mut row: impl FnMut(&[u8], &[u8], i64)) {
        let (mut cursor, storage) = self.cursor();
        while let Some(key) = cursor.get_key(&storage) {
            while let Some(value) = cursor.get_val(&storage) {
                let mut count = 0;
                cursor.map_times(&storage, |_, diff| count += *diff);
                if count != 0 {
                    row(key, value, count);
                }
                cursor.step_val(&storage);
            }
            cursor.step_key(&storage);
        }
    }

    fn map_batches(&self, mut each: impl FnMut(&RowBatch)) {
        self.spine.map_spans(|span| {
            if let Some(batch) = &span.inner {
                each(batch);
            }
        });
    }

    /// Updates in all batches, before merging.
    fn stored(&self) -> usize {
        let mut stored = 0;
        self.map_batches(|batch| stored += batch.len());
        stored
    }

    /// Bytes of all batches.
    fn bytes(&self) -> usize {
        let mut bytes = SPINE_BYTES;
        self.map_batches(|batch| {
            let storage = &batch.storage;
            let offsets = [&storage.vals.offs, &storage.upds.offs];
            let offsets = offsets.map(|list| list.smol.capacity() * 4 + list.chonk.capacity() * 8);
            let words = storage.upds.times.capacity() + storage.upds.diffs.capacity();
            bytes += size_of::<RowBatch>() + BATCH_BYTES + storage.keys.bytes();
            bytes += storage.vals.vals.bytes() + offsets.iter().sum::<usize>() + words * 8;
        });
        bytes
    }
}

/// What a spine costs that holds nothing, about.
const SPINE_BYTES: usize = 500;

/// What a batch costs beside its buffers, about: its description, and its place in the spine.
const BATCH_BYTES: usize = 250;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The arrangement is a sorted multiset, however its updates were split into epochs.
        #[test]
        fn agrees_with_a_map(
            updates in prop::collection::vec((0u8..6, 0u8..4, -1i64..2), 0..120),
            per_epoch in 1usize..20,
        ) {
            let mut model: BTreeMap<(Vec<u8>, Vec<u8>), i64> = BTreeMap::new();
            let mut arrangement = Arrangement::new();
            for (epoch, chunk) in updates.chunks(per_epoch).enumerate() {
                let mut buffer = Updates::default();
                for (key, value, diff) in chunk {
                    buffer.push(&[*key, 9], &[*value], epoch as u64, *diff);
                    *model.entry((vec![*key, 9], vec![*value])).or_default() += *diff;
                }
                arrangement.append(epoch as u64, buffer);
            }
            model.retain(|_, count| *count != 0);
            let mut seen = BTreeMap::new();
            arrangement.scan(|key, value, count| {
                seen.insert((key.to_vec(), value.to_vec()), count);
            });
            prop_assert_eq!(&seen, &model);
            let keys: Vec<[u8; 2]> = (0..7).map(|key| [key, 9]).collect();
            let mut probed = BTreeMap::new();
            arrangement.probe(keys.iter().map(|key| &key[..]), |key, values| {
                for (value, count) in values.iter() {
                    probed.insert((key.to_vec(), value.to_vec()), count);
                }
            });
            prop_assert_eq!(&probed, &model);
        }
    }
}
