//! Windows that leave: which, in what portions, and what each adds up to.
//!
//! Neighbouring windows share nearly all their panes. They are taken some at a time: those that share
//! their spans add these up once, and their loose panes on either side are added one after the other,
//! so that a window costs three sums of its groups instead of one for each pane. What is at work at
//! once is bounded by [`REGISTERS_MAX`], and what leaves by the emitter.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int64Array};

use super::{
    AggregateCall,
    groups::{Groups, in_batches},
    panes::{Pane, Panes, View, number},
};
use crate::error::Result;

/// Groups of windows that are added up at once.
const REGISTERS_MAX: usize = 128 * 1024;

/// Which windows leave.
pub(super) enum Choice {
    /// Whole windows that end at or before this; all of them without an end.
    Whole {
        /// The last end.
        last: Option<i64>,
    },
    /// Of every window the groups that this epoch touched: numbers of keys, by the ends of panes.
    Touched(BTreeMap<i64, Vec<u32>>),
}

/// The next windows that leave.
pub(super) struct Sweep {
    pub(super) choice: Choice,
    /// The end of the last window that was looked at.
    pub(super) after: Option<i64>,
    /// Where each key stands among those of a batch; used again and again.
    place: Vec<u32>,
}

/// A group of a window: its number among the sums, the end of the window, the number of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaving {
    pub(super) group: u32,
    pub(super) end: i64,
    pub(super) key: u32,
}

/// Windows that are added up.
pub(super) struct Block {
    pub(super) leaving: Vec<Leaving>,
    pub(super) now: Groups,
    /// The same groups as they were before the epoch, where somebody asks.
    pub(super) before: Option<Groups>,
}

/// Some windows with the same spans, and the keys that are in any of them.
struct Batch {
    ends: Vec<i64>,
    keys: Vec<u32>,
    /// Where each key stands among `keys`.
    place: Vec<u32>,
    /// Which keys of which windows leave; empty where all do.
    chosen: Vec<bool>,
}

const NOWHERE: u32 = u32::MAX;

impl Batch {
    fn add_keys(&mut self, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            let place = &mut self.place[number as usize];
            if *place == NOWHERE {
                *place = u32::try_from(self.keys.len()).unwrap_or(NOWHERE);
                self.keys.push(number);
            }
        }
    }
}

impl Sweep {
    /// Windows that end after an instant.
    pub(super) fn new(choice: Choice, after: Option<i64>) -> Sweep {
        Sweep {
            choice,
            after,
            place: Vec::new(),
        }
    }

    /// Adds up the next windows; `None` when all have left.
    pub(super) fn next(
        &mut self,
        panes: &mut Panes,
        calls: &[AggregateCall],
        compares: bool,
    ) -> Result<Option<Block>> {
        let Some(batch) = self.next_batch(panes)? else {
            return Ok(None);
        };
        let now = self.sums(panes, calls, &batch, View::Now)?;
        let before = compares
            .then(|| self.sums(panes, calls, &batch, View::Before))
            .transpose()?;
        let has_rows = |group: u32| {
            let had = |before: &Groups| before.rows_of(group) != 0;
            now.rows_of(group) != 0 || before.as_ref().is_some_and(had)
        };
        let mut leaving = Vec::new();
        let all = batch
            .ends
            .iter()
            .flat_map(|end| batch.keys.iter().map(move |key| (*end, *key)));
        for ((end, key), group) in all.zip(0u32..) {
            let chosen = batch.chosen.is_empty() || batch.chosen[group as usize];
            if chosen && has_rows(group) {
                leaving.push(Leaving { group, end, key });
            }
        }
        self.place = batch.place;
        for key in &batch.keys {
            self.place[*key as usize] = NOWHERE;
        }
        Ok(Some(Block {
            leaving,
            now,
            before,
        }))
    }

    /// The end of the next window after one.
    fn next_end(&self, panes: &Panes, after: Option<i64>) -> Option<i64> {
        match &self.choice {
            Choice::Whole { last } => panes
                .next_window(after)
                .filter(|end| last.is_none_or(|last| *end <= last)),
            Choice::Touched(touched) => panes.next_window_over(touched, after),
        }
    }

    /// The next windows that share their spans, as many as may be at work at once.
    fn next_batch(&mut self, panes: &mut Panes) -> Result<Option<Batch>> {
        let Some(first) = self.next_end(panes, self.after) else {
            return Ok(None);
        };
        let parts = panes.parts(first);
        if matches!(self.choice, Choice::Whole { .. }) {
            panes.add_up(&panes.spans(parts.spans))?;
        }
        let mut batch = Batch {
            ends: Vec::new(),
            keys: Vec::new(),
            place: std::mem::take(&mut self.place),
            chosen: Vec::new(),
        };
        batch.place.resize(panes.numbers(), NOWHERE);
        let mut next = Some(first);
        while let Some(end) = next.filter(|end| panes.parts(*end).spans == parts.spans) {
            self.add_window(panes, end, &mut batch);
            batch.ends.push(end);
            self.after = Some(end);
            if (batch.ends.len() + 4) * batch.keys.len() > REGISTERS_MAX {
                break;
            }
            next = self.next_end(panes, self.after);
        }
        self.choose(panes, &mut batch);
        Ok(Some(batch))
    }

    /// Adds the keys of a window that are not there yet.
    fn add_window(&self, panes: &Panes, end: i64, batch: &mut Batch) {
        match &self.choice {
            Choice::Touched(touched) => {
                for (_, keys) in touched.range(panes.ends_in(end)) {
                    batch.add_keys(keys.iter().copied());
                }
            }
            Choice::Whole { .. } => {
                let parts = panes.parts(end);
                let numbers = |groups: &Groups| {
                    groups
                        .words()
                        .iter()
                        .map(|word| number(*word))
                        .collect::<Vec<_>>()
                };
                if batch.ends.is_empty() {
                    for span in panes.spans(parts.spans) {
                        if let Some(groups) = panes.span(span) {
                            batch.add_keys(numbers(groups).into_iter());
                        }
                    }
                }
                let (front, back) = panes.loose(&parts);
                // Those of the window before are there already, except for the first window.
                let front = panes.range(front).filter(|_| batch.ends.is_empty());
                let behind = panes.range(back);
                let known = batch.ends.last().copied();
                let fresh = behind.filter(|(pane, _)| known.is_none_or(|known| *pane > known));
                let loose: Vec<&Pane> = front.chain(fresh).map(|(_, pane)| pane).collect();
                for pane in loose {
                    batch.add_keys(numbers(&pane.groups).into_iter());
                }
            }
        }
    }

    /// Marks which groups of which windows were touched.
    fn choose(&self, panes: &Panes, batch: &mut Batch) {
        let Choice::Touched(touched) = &self.choice else {
            return;
        };
        let width = batch.keys.len();
        batch.chosen = vec![false; batch.ends.len() * width];
        for (window, end) in batch.ends.iter().enumerate() {
            for (_, keys) in touched.range(panes.ends_in(*end)) {
                for key in keys {
                    batch.chosen[window * width + batch.place[*key as usize] as usize] = true;
                }
            }
        }
    }

    /// Adds up the windows of a batch.
    fn sums(
        &self,
        panes: &Panes,
        calls: &[AggregateCall],
        batch: &Batch,
        view: View,
    ) -> Result<Groups> {
        let mut sums = Sums::new(calls, batch)?;
        sums.by_spans = matches!(self.choice, Choice::Whole { .. });
        let windows = batch.ends.len();
        sums.base(windows - 1);
        let parts: Vec<_> = batch.ends.iter().map(|end| panes.parts(*end)).collect();
        let spans = panes.spans(parts[0].spans);
        if panes.spans_are_panes() {
            // No two windows share all their panes, and nothing is loose.
            for span in spans {
                sums.add_span(panes, span, (0, 0), view)?;
            }
            return Ok(sums.groups);
        }
        let (front, middle, back) = (windows, windows + 1, windows + 2);
        for (span, at) in spans.iter().zip(windows + 3..) {
            sums.add_span(panes, *span, (middle, at), view)?;
        }
        // Behind the first window's loose panes in front come those of all younger ones.
        let mut from = panes.loose(&parts[0]).0.1;
        for (window, parts) in parts.iter().enumerate().rev() {
            let (first, _) = panes.loose(parts).0;
            let older: Vec<&Pane> = panes.range((first, from)).map(|(_, pane)| pane).collect();
            for pane in older.into_iter().rev() {
                sums.add_pane(pane, front, view)?;
            }
            from = from.min(first);
            sums.copy(front, window)?;
            sums.copy(middle, window)?;
        }
        let mut to = panes.loose(&parts[0]).1.0;
        for (window, parts) in parts.iter().enumerate() {
            let (_, end) = panes.loose(parts).1;
            for (_, pane) in panes.range((to, end)) {
                sums.add_pane(pane, back, view)?;
            }
            to = to.max(end);
            sums.copy(back, window)?;
        }
        Ok(sums.groups)
    }
}

/// Sums of groups in rows of the same keys.
struct Sums<'a> {
    groups: Groups,
    batch: &'a Batch,
    numbers: ArrayRef,
    by_spans: bool,
}

impl<'a> Sums<'a> {
    fn new(calls: &[AggregateCall], batch: &'a Batch) -> Result<Sums<'a>> {
        let numbers = batch.keys.iter().map(|key| i64::from(*key));
        Ok(Sums {
            groups: Groups::new(&[], calls)?,
            numbers: Arc::new(Int64Array::from_iter_values(numbers)),
            batch,
            by_spans: false,
        })
    }

    fn base(&mut self, row: usize) -> u32 {
        let width = self.batch.keys.len();
        if self.groups.len() < (row + 1) * width {
            self.groups.grow((row + 1) * width);
        }
        u32::try_from(row * width).unwrap_or(u32::MAX)
    }

    /// Adds one row to another.
    fn copy(&mut self, from: usize, to: usize) -> Result<()> {
        let (from, to) = (self.base(from), self.base(to));
        let width = u32::try_from(self.batch.keys.len()).unwrap_or(u32::MAX);
        let alive: Vec<u32> = (from..from + width)
            .filter(|group| self.groups.rows_of(*group) != 0)
            .collect();
        for some in in_batches(&alive) {
            let states = self.groups.states(some)?;
            let targets: Vec<u32> = some.iter().map(|group| group - from + to).collect();
            self.groups.merge(&targets, &states)?;
        }
        Ok(())
    }

    /// Adds some groups of a table: positions among the keys, and groups there.
    fn add(&mut self, from: &Groups, found: &[(u32, u32)], row: usize) -> Result<()> {
        let base = self.base(row);
        for some in found.chunks(crate::delta::BATCH_ROWS_MAX) {
            let (targets, groups): (Vec<u32>, Vec<u32>) = some
                .iter()
                .map(|(place, group)| (base + place, *group))
                .unzip();
            self.groups.merge(&targets, &from.states(&groups)?)?;
        }
        Ok(())
    }

    /// Adds all groups of a table.
    fn add_all(&mut self, from: &Groups, row: usize) -> Result<()> {
        let groups = (0u32..).zip(from.words());
        let found: Vec<(u32, u32)> = groups
            .filter(|(group, _)| from.rows_of(*group) != 0)
            .map(|(group, word)| (self.batch.place[number(*word) as usize], group))
            .collect();
        self.add(from, &found, row)
    }

    fn add_pane(&mut self, pane: &Pane, row: usize, view: View) -> Result<()> {
        if self.by_spans {
            return self.add_all(&pane.groups, row);
        }
        let numbers = self.numbers.clone();
        for (table, found) in pane.found(&numbers, view)? {
            let found = (0u32..).zip(found);
            let found: Vec<(u32, u32)> = found
                .filter_map(|(place, group)| Some((place, group?)))
                .filter(|(_, group)| table.rows_of(*group) != 0)
                .collect();
            self.add(table, &found, row)?;
        }
        Ok(())
    }

    /// Adds a span; where only some keys are asked for it is added up in a row of its own first.
    fn add_span(
        &mut self,
        panes: &Panes,
        span: i64,
        (row, own): (usize, usize),
        view: View,
    ) -> Result<()> {
        if self.by_spans {
            if let Some(groups) = panes.span(span) {
                self.add_all(groups, row)?;
            }
            return Ok(());
        }
        if panes.spans_are_panes() {
            for (_, pane) in panes.panes_of(span) {
                self.add_pane(pane, row, view)?;
            }
            return Ok(());
        }
        for (_, pane) in panes.panes_of(span) {
            self.add_pane(pane, own, view)?;
        }
        self.copy(own, row)
    }
}
