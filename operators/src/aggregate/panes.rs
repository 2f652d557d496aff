//! The panes of sliding windows: who has rows in which pane, and what a window adds up to.
//!
//! A row is in one pane, so a pane holds each value once, however many windows overlap there. Keys have
//! numbers in one table for all panes: a key that is in a thousand panes stands once. For each key the
//! panes that it is in are listed, which tells [how many groups each window has](WindowCounts).
//!
//! A window of many panes is not added up pane by pane: whole spans of panes are added up once and
//! kept. So a window costs about twice the square root of its panes, and spans take as much memory as
//! their groups. A span is dropped when one of its panes changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Bound, RangeInclusive},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, Int64Array},
    datatypes::DataType,
};

use millstream_types::EventTime;

use super::{
    AggregateCall, WindowSpec,
    group_set::GroupSet,
    groups::{Groups, in_batches},
    window_counts::WindowCounts,
};
use crate::{
    error::{OperatorError, Result},
    keys::KeyTable,
    state::{PLACE_BYTES, Snapshots},
};

/// Windows of fewer panes are added up pane by pane.
const PANES_MIN: i64 = 16;

/// Keys that may be in no pane before their numbers are given away again.
const VACANT_MIN: usize = 4096;

/// The groups of one pane, by the numbers of their keys.
pub(super) struct Pane {
    pub(super) groups: Groups,
    /// Touched in this epoch.
    pub(super) touched: GroupSet,
    /// Changed since the last snapshot.
    pub(super) unsaved: GroupSet,
    /// What touched groups were before this epoch, where somebody asks.
    before: Option<Groups>,
}

/// A key that has a number.
#[derive(Clone, Debug, Default)]
struct Holder {
    /// Ends of the panes in which it has rows, oldest first.
    panes: Vec<i64>,
    /// Panes that have a group of it, with rows or not.
    groups: u32,
}

/// At which time a pane is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// With everything that has come.
    Now,
    /// As it was before this epoch; only panes that note it can tell.
    Before,
}

/// All panes of an aggregation.
pub(super) struct Panes {
    window: WindowSpec,
    /// Length of a pane.
    width: i64,
    /// Panes of a window.
    per_window: i64,
    /// Panes of a span; 1 where windows have few.
    per_span: i64,
    key_types: Vec<DataType>,
    calls: Vec<AggregateCall>,
    notes_before: bool,
    /// Whether what changes is noted for snapshots.
    notes_changes: bool,
    keys: KeyTable,
    holders: Vec<Holder>,
    vacant: usize,
    panes: BTreeMap<i64, Box<Pane>>,
    /// Ends of the panes that were touched in this epoch.
    touched: BTreeSet<i64>,
    entries: usize,
    /// Bytes of all panes.
    bytes: usize,
    spans: BTreeMap<i64, Groups>,
    counts: WindowCounts,
}

/// A range of panes that make up a window: loose ones, whole spans, loose ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Number of the first pane.
    pub(super) first: i64,
    /// Number of the last pane.
    pub(super) last: i64,
    /// Numbers of the first span and of the one after the last.
    pub(super) spans: (i64, i64),
}

impl Panes {
    pub(super) fn new(
        window: WindowSpec,
        key_types: Vec<DataType>,
        calls: &[AggregateCall],
        notes_before: bool,
    ) -> Result<Panes> {
        let width = window.panes().size;
        let per_window = window.size / width;
        let per_span = if per_window < PANES_MIN {
            1
        } else {
            i64::try_from(per_window.unsigned_abs().isqrt()).unwrap_or(1)
        };
        Ok(Panes {
            window,
            width,
            per_window,
            per_span,
            keys: KeyTable::new(&key_types)?,
            key_types,
            calls: calls.to_vec(),
            notes_before,
            notes_changes: false,
            holders: Vec::new(),
            vacant: 0,
            panes: BTreeMap::new(),
            touched: BTreeSet::new(),
            entries: 0,
            bytes: 0,
            spans: BTreeMap::new(),
            counts: WindowCounts::new(window),
        })
    }

    /// Notes from here on what changes, if there will be snapshots.
    pub(super) fn note_changes(&mut self, snapshots: Snapshots) {
        self.notes_changes = snapshots == Snapshots::Taken;
    }

    pub(super) fn counts(&self) -> &WindowCounts {
        &self.counts
    }

    /// Number of keys that have had a number since the last time they were given away.
    pub(super) fn numbers(&self) -> usize {
        self.keys.len()
    }

    /// The columns of some keys.
    pub(super) fn key_columns(&self, numbers: &[u32]) -> Result<Vec<ArrayRef>> {
        self.keys.columns(Some(numbers))
    }

    /// The columns of the keys of some groups of a table by numbers of keys.
    pub(super) fn keys_of(&self, groups: &Groups, of: &[u32]) -> Result<Vec<ArrayRef>> {
        let words = groups.words();
        let numbers = of.iter().map(|group| number(words[*group as usize]));
        self.key_columns(&numbers.collect::<Vec<_>>())
    }

    /// Ends of the first and of the last window over a pane.
    fn windows_over(&self, pane_end: i64) -> (i64, i64) {
        let WindowSpec { size, slide, .. } = self.window;
        let start = EventTime(pane_end.saturating_sub(self.width));
        let last = self.window.last_start(start);
        let last = last.map_or(pane_end, |start| start.saturating_add(size));
        (last - (last - pane_end) / slide * slide, last)
    }

    /// Adds partial groups to a pane; each key stands there once.
    pub(super) fn merge(
        &mut self,
        end: i64,
        keys: &[ArrayRef],
        states: &[ArrayRef],
        rows: usize,
    ) -> Result<()> {
        let mut numbers = Vec::new();
        let known = self.keys.len();
        self.keys.intern(keys, rows, &mut numbers)?;
        self.holders.resize(self.keys.len(), Holder::default());
        self.vacant += self.keys.len() - known;
        self.spans.remove(&self.span_of(self.index(end)));
        self.touched.insert(end);
        let pane = pane(&mut self.panes, &self.calls, end)?;
        let (groups_before, bytes_before) = (pane.groups.len(), pane.bytes());
        let words = numbers.iter().map(|number| i64::from(*number));
        let words: ArrayRef = Arc::new(Int64Array::from_iter_values(words));
        let groups = pane.groups.intern(&[words], rows)?;
        let size = pane.groups.len();
        for word in &pane.groups.words()[groups_before..] {
            let holder = &mut self.holders[number(*word) as usize];
            self.vacant -= usize::from(holder.groups == 0);
            holder.groups += 1;
        }
        self.entries += size - groups_before;
        let fresh = pane.touched.mark(&groups, size);
        if self.notes_changes {
            pane.unsaved.mark(&groups, size);
        }
        if self.notes_before {
            pane.note_before(&fresh, &self.calls)?;
        }
        let had: Vec<bool> = groups
            .iter()
            .map(|group| pane.groups.rows_of(*group) != 0)
            .collect();
        pane.groups.merge(&groups, states)?;
        let changed = numbers.iter().zip(&groups).zip(had);
        let changed: Vec<(u32, bool)> = changed
            .map(|((number, group), had)| (*number, pane.groups.rows_of(*group) != 0, had))
            .filter(|(_, has, had)| has != had)
            .map(|(number, has, _)| (number, has))
            .collect();
        pane.groups.recycle(groups);
        // A pane that was not there is counted with its first groups.
        let bytes_before = if groups_before == 0 { 0 } else { bytes_before };
        self.bytes = self.bytes + pane.bytes() - bytes_before;
        let run = self.windows_over(end);
        for (number, has_rows) in changed {
            self.note_rows(number, end, run, has_rows);
        }
        Ok(())
    }

    /// Notes whether a key has rows in a pane, and in which windows it is therefore.
    fn note_rows(&mut self, number: u32, end: i64, (first, last): (i64, i64), has_rows: bool) {
        let panes = &mut self.holders[number as usize].panes;
        let (at, sign) = match (panes.binary_search(&end), has_rows) {
            (Ok(_), true) | (Err(_), false) => return,
            (Err(at), true) => {
                panes.insert(at, end);
                (at, 1)
            }
            (Ok(at), false) => {
                panes.remove(at);
                (at, -1)
            }
        };
        let older = at.checked_sub(1).map(|at| panes[at]);
        let younger = panes.get(at + usize::from(sign > 0)).copied();
        // The windows that its other panes are in have it anyway.
        let slide = self.window.slide;
        let after_older = older.map_or(first, |end| self.windows_over(end).1.saturating_add(slide));
        let before_younger =
            younger.map_or(last, |end| self.windows_over(end).0.saturating_sub(slide));
        let counts = &mut self.counts;
        counts.add(first.max(after_older), last.min(before_younger), sign);
    }

    /// The number of a pane; neighbours have neighbouring numbers.
    fn index(&self, end: i64) -> i64 {
        end.div_euclid(self.width)
    }

    fn span_of(&self, index: i64) -> i64 {
        index.div_euclid(self.per_span)
    }

    /// The panes of a window by what they are added up from. The same window has the same parts at any
    /// time, so that what is taken back is what was given, to the last digit.
    pub(super) fn parts(&self, window_end: i64) -> Parts {
        let last = self.index(window_end);
        let first = last - (self.per_window - 1);
        let (after, span) = (last.saturating_add(1), self.per_span);
        let first_span = first.div_euclid(span) + i64::from(first.rem_euclid(span) != 0);
        Parts {
            first,
            last,
            spans: (first_span, after.div_euclid(span)),
        }
    }

    /// The loose panes in front of the spans, and behind them, by number.
    pub(super) fn loose(&self, parts: &Parts) -> ((i64, i64), (i64, i64)) {
        let (from, to) = (parts.spans.0, parts.spans.1);
        let starts = |span: i64| span.saturating_mul(self.per_span);
        (
            (parts.first, starts(from)),
            (starts(to), parts.last.saturating_add(1)),
        )
    }

    /// The panes with numbers from one to before another, oldest first.
    pub(super) fn range(
        &self,
        (from, to): (i64, i64),
    ) -> impl DoubleEndedIterator<Item = (i64, &Pane)> {
        let first = from.saturating_mul(self.width);
        let last = i128::from(to) * i128::from(self.width) - 1;
        let last = match i64::try_from(last) {
            Ok(last) if last < first => Bound::Excluded(first),
            Ok(last) => Bound::Included(last),
            Err(_) if last < 0 => Bound::Excluded(first),
            Err(_) => Bound::Unbounded,
        };
        let panes = self.panes.range((Bound::Included(first), last));
        panes.map(|(end, pane)| (*end, &**pane))
    }

    /// The spans from one to before another that have panes: numbers.
    pub(super) fn spans(&self, (from, to): (i64, i64)) -> Vec<i64> {
        let mut spans: Vec<i64> = Vec::new();
        let starts = |span: i64| span.saturating_mul(self.per_span);
        for (end, _) in self.range((starts(from), starts(to))) {
            let span = self.span_of(self.index(end));
            if spans.last() != Some(&span) {
                spans.push(span);
            }
        }
        spans
    }

    /// The panes of a span, oldest first.
    pub(super) fn panes_of(&self, span: i64) -> impl DoubleEndedIterator<Item = (i64, &Pane)> {
        let starts = |span: i64| span.saturating_mul(self.per_span);
        self.range((starts(span), starts(span.saturating_add(1))))
    }

    /// The groups of a span, if they are added up.
    pub(super) fn span(&self, span: i64) -> Option<&Groups> {
        if self.per_span == 1 {
            return self.panes_of(span).next().map(|(_, pane)| &pane.groups);
        }
        self.spans.get(&span)
    }

    /// Adds up the groups of spans that are not yet.
    pub(super) fn add_up(&mut self, spans: &[i64]) -> Result<()> {
        if self.per_span == 1 {
            return Ok(());
        }
        for span in spans {
            if self.spans.contains_key(span) {
                continue;
            }
            let mut sum = Groups::new(&[DataType::Int64], &self.calls)?;
            for (_, pane) in self.panes_of(*span) {
                for groups in in_batches(&pane.groups.all()) {
                    let words = groups
                        .iter()
                        .map(|group| pane.groups.words()[*group as usize]);
                    let words: ArrayRef = Arc::new(Int64Array::from_iter_values(words));
                    let found = sum.intern(&[words], groups.len())?;
                    sum.merge(&found, &pane.groups.states(groups)?)?;
                    sum.recycle(found);
                }
            }
            self.spans.insert(*span, sum);
        }
        Ok(())
    }

    /// The end of the first window after an instant that has a pane; of all windows without one.
    pub(super) fn next_window(&self, after: Option<i64>) -> Option<i64> {
        next_window(self.window, after, |from| {
            self.panes.range(from..).next().map(|(end, _)| *end)
        })
    }

    /// The same over panes that something happened to.
    pub(super) fn next_window_over<T>(
        &self,
        touched: &BTreeMap<i64, T>,
        after: Option<i64>,
    ) -> Option<i64> {
        next_window(self.window, after, |from| {
            touched.range(from..).next().map(|(end, _)| *end)
        })
    }

    /// Ends of the panes of a window.
    pub(super) fn ends_in(&self, window_end: i64) -> RangeInclusive<i64> {
        let before = window_end.saturating_sub(self.window.size);
        before.saturating_add(1)..=window_end
    }

    /// Whether no panes are added up ahead, because windows have few.
    pub(super) fn spans_are_panes(&self) -> bool {
        self.per_span == 1
    }

    /// Of the windows over a pane those that a mark closes, and all: numbers.
    pub(super) fn closed_over(&self, pane_end: i64, mark: Option<i64>) -> (u64, u64) {
        let (first, last) = self.windows_over(pane_end);
        let windows = |to: i64| ((to - first) / self.window.slide + 1).unsigned_abs();
        let closed = mark.filter(|mark| *mark >= first);
        (
            closed.map_or(0, |mark| windows(last.min(mark))),
            windows(last),
        )
    }

    /// The keys that were touched in this epoch, by the ends of their panes.
    pub(super) fn touched(&self) -> BTreeMap<i64, Vec<u32>> {
        let panes = self.touched.iter();
        panes
            .filter_map(|end| self.panes.get_key_value(end))
            .map(|(end, pane)| {
                let words = pane.groups.words();
                let groups = pane.touched.groups().iter();
                let numbers = groups.map(|group| number(words[*group as usize]));
                (*end, numbers.collect())
            })
            .collect()
    }

    /// Nothing is touched any more; says how many groups of panes were.
    pub(super) fn settle(&mut self) -> u64 {
        let mut groups = 0;
        for end in std::mem::take(&mut self.touched) {
            if let Some(pane) = self.panes.get_mut(&end) {
                groups += pane.touched.groups().len() as u64;
                let held = pane.bytes();
                pane.touched.take();
                pane.before = None;
                self.bytes = self.bytes + pane.bytes() - held;
            }
        }
        groups
    }

    /// Ends of the panes that changed since the last snapshot.
    pub(super) fn unsaved_panes(&self) -> Vec<i64> {
        let panes = self.panes.iter();
        panes
            .filter(|(_, pane)| !pane.unsaved.groups().is_empty())
            .map(|(end, _)| *end)
            .collect()
    }

    /// The groups of a pane that changed since the last snapshot; they count as unchanged from now on.
    pub(super) fn take_unsaved(&mut self, end: i64) -> Vec<u32> {
        let pane = self.panes.get_mut(&end);
        let Some(pane) = pane else { return Vec::new() };
        let held = pane.bytes();
        let groups = pane.unsaved.take_in_order();
        self.bytes = self.bytes + pane.bytes() - held;
        groups
    }

    pub(super) fn get(&self, end: i64) -> Option<&Pane> {
        self.panes.get(&end).map(|pane| &**pane)
    }

    /// Windows that closed before this life began are none that close in it.
    pub(super) fn begin_after(&mut self, mark: i64) {
        self.counts.close(mark);
    }

    /// Forgets the windows that a mark closes, and the panes that no other window has. Says how many
    /// groups of windows went.
    pub(super) fn evict(&mut self, mark: i64, mut gone: impl FnMut(i64)) -> Result<u64> {
        let removed = self.counts.close(mark);
        while let Some(end) = self.panes.first_key_value().map(|(end, _)| *end) {
            if self.windows_over(end).1 > mark {
                break;
            }
            let Some(pane) = self.panes.remove(&end) else {
                break;
            };
            self.spans.remove(&self.span_of(self.index(end)));
            gone(end);
            self.entries -= pane.groups.len();
            self.bytes -= pane.bytes();
            for word in pane.groups.words() {
                let holder = &mut self.holders[number(*word) as usize];
                holder.groups -= 1;
                self.vacant += usize::from(holder.groups == 0);
                if let Ok(at) = holder.panes.binary_search(&end) {
                    holder.panes.remove(at);
                }
            }
        }
        self.give_numbers_away()?;
        Ok(removed)
    }

    /// Numbers keys anew when most of them are in no pane any more.
    fn give_numbers_away(&mut self) -> Result<()> {
        let held = self.keys.len() - self.vacant;
        if self.vacant <= held + self.entries / 16 + VACANT_MIN {
            return Ok(());
        }
        let mut number_of = vec![u32::MAX; self.keys.len()];
        let mut stay = Vec::with_capacity(held);
        for (old, holder) in (0u32..).zip(&self.holders) {
            if holder.groups > 0 {
                number_of[old as usize] = u32::try_from(stay.len()).unwrap_or(u32::MAX);
                stay.push(old);
            }
        }
        let mut keys = KeyTable::new(&self.key_types)?;
        let mut numbers = Vec::new();
        for some in in_batches(&stay) {
            keys.intern(&self.keys.columns(Some(some))?, some.len(), &mut numbers)?;
        }
        if keys.len() != stay.len() {
            return Err(OperatorError::contract("two keys became one"));
        }
        let holders = stay.iter();
        let holders = holders.map(|old| std::mem::take(&mut self.holders[*old as usize]));
        self.holders = holders.collect();
        self.keys = keys;
        self.vacant = 0;
        let renumbered = |word: i64| i64::from(number_of[number(word) as usize]);
        let panes = self.panes.values_mut().map(|pane| &mut pane.groups);
        panes
            .chain(self.spans.values_mut())
            .for_each(|groups| groups.renumber(renumbered));
        Ok(())
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> usize {
        let spans: usize = self.spans.values().map(Groups::bytes).sum();
        let lists = self
            .holders
            .iter()
            .map(|holder| holder.panes.capacity() * 8);
        let holders = self.holders.capacity() * size_of::<Holder>() + lists.sum::<usize>();
        let trees = self.spans.len() * size_of::<Groups>() * 3 / 2;
        self.bytes + spans + holders + trees + self.keys.bytes() + self.counts.bytes()
    }
}

/// The number of a key that a word holds.
pub(super) fn number(word: i64) -> u32 {
    u32::try_from(word).unwrap_or(u32::MAX)
}

/// The end of the first window after an instant over one of some panes; `first_from` finds the first
/// pane that ends at or after an instant.
pub(super) fn next_window(
    window: WindowSpec,
    after: Option<i64>,
    first_from: impl Fn(i64) -> Option<i64>,
) -> Option<i64> {
    let first_over = |pane_end: i64| window.ends_covering(pane_end).last();
    let Some(after) = after else {
        return first_over(first_from(i64::MIN)?);
    };
    // Ends stand at the same places as starts, later by a length.
    let (slide, next) = (i128::from(window.slide), i128::from(after) + 1);
    let place = i128::from(window.start) + i128::from(window.size);
    let end = i64::try_from(next + (place - next).rem_euclid(slide)).ok()?;
    let pane = first_from(end.saturating_sub(window.size).saturating_add(1))?;
    if pane <= end {
        Some(end)
    } else {
        first_over(pane)
    }
}

fn pane<'a>(
    panes: &'a mut BTreeMap<i64, Box<Pane>>,
    calls: &[AggregateCall],
    end: i64,
) -> Result<&'a mut Pane> {
    use std::collections::btree_map::Entry;
    Ok(match panes.entry(end) {
        Entry::Occupied(pane) => &mut **pane.into_mut(),
        Entry::Vacant(place) => &mut **place.insert(Box::new(Pane {
            groups: Groups::new(&[DataType::Int64], calls)?,
            touched: GroupSet::default(),
            unsaved: GroupSet::default(),
            before: None,
        })),
    })
}

impl Pane {
    /// Keeps what groups are before they are touched.
    fn note_before(&mut self, fresh: &[u32], calls: &[AggregateCall]) -> Result<()> {
        let had = fresh.iter().copied();
        let had: Vec<u32> = had
            .filter(|group| self.groups.rows_of(*group) != 0)
            .collect();
        if self.before.is_none() {
            self.before = Some(Groups::new(&[DataType::Int64], calls)?);
        }
        let Some(before) = &mut self.before else {
            return Ok(());
        };
        for some in in_batches(&had) {
            let words = some
                .iter()
                .map(|group| self.groups.words()[*group as usize]);
            let words: ArrayRef = Arc::new(Int64Array::from_iter_values(words));
            let found = before.intern(&[words], some.len())?;
            before.merge(&found, &self.groups.states(some)?)?;
            before.recycle(found);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let before = self.before.as_ref().map_or(0, Groups::bytes);
        size_of::<Pane>()
            + PLACE_BYTES
            + self.groups.bytes()
            + self.touched.bytes()
            + self.unsaved.bytes()
            + before
    }

    /// What some keys had in this pane at a time: tables, and the group of each key there.
    pub(super) fn found(&self, numbers: &ArrayRef, view: View) -> Result<Vec<Found<'_>>> {
        let keys = std::slice::from_ref(numbers);
        let mut now = self.groups.find(keys, numbers.len())?;
        let mut found = Vec::with_capacity(2);
        if view == View::Before && !self.touched.groups().is_empty() {
            for group in &mut now {
                *group = group.filter(|group| !self.touched.has(*group));
            }
            if let Some(before) = &self.before {
                found.push((before, before.find(keys, numbers.len())?));
            }
        }
        found.push((&self.groups, now));
        Ok(found)
    }
}

/// A table, and for each of some keys its group there.
pub(super) type Found<'a> = (&'a Groups, Vec<Option<u32>>);
