//! Windows by count: every *n* rows of a key are a window, in the order of the input.
//!
//! A row's window is how many rows of its key came before, divided by *n*. The order is that of the
//! input, epoch by epoch, so a window holds the same rows with any number of workers and after any
//! restart. A full window is final and is forgotten; a key is remembered with its open window.
//!
//! Which row is first is known when all of an epoch are there, so they wait for its close. Then they
//! come in order some at a time, full windows leave in between, and what is used up is let go: an epoch
//! stands in memory once, not three times.

use std::{collections::VecDeque, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, Int64Type, Schema},
};
use millstream_types::{Epoch, OutputMode};

use super::{
    AggregateSpec, TimeKey,
    group_set::GroupSet,
    groups::{Columns, Groups, state_schema},
};
use crate::{
    board::EpochKind,
    delta::{BATCH_ROWS_MAX, Delta},
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    keys::KeyTable,
    rows::RowCodec,
    sort::InOrder,
    state::{Bucket, BucketChange, Ownership, Placement, Seed, Snapshots, StateTable},
};

/// Gathers rows into windows of so many rows a key.
pub struct CountedAggregate {
    spec: AggregateSpec,
    /// Rows of a full window.
    size: i64,
    keys: KeyTable,
    /// Rows that each key has brought so far.
    seen: Vec<i64>,
    group_types: Vec<DataType>,
    /// Groups by key and number of the window.
    groups: Groups,
    /// Groups whose window is full, which nothing asks for any more.
    full: GroupSet,
    /// How many of them there are.
    gone: usize,
    /// Windows that have rows and are not forgotten.
    open: usize,
    pending: Vec<Delta>,
    pending_bytes: usize,
    /// Keys whose windows changed since the last snapshot.
    unsaved: GroupSet,
    /// The window that each of these keys had at the last snapshot.
    stored_window: Vec<i64>,
    /// Keys that had rows in this epoch.
    touched_keys: GroupSet,
    /// What is still to be done in the epoch that closes.
    closing: Option<Closing>,
    snapshots: Snapshots,
    results: RowCodec,
    state: StateTable,
    report: OperatorReport,
}

impl std::fmt::Debug for CountedAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CountedAggregate")
            .field("size", &self.size)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl CountedAggregate {
    /// The operator for a spec, with the part of a snapshot that this worker owns.
    ///
    /// # Errors
    /// When a key or function has no form here, or a piece is of another query.
    pub fn new(
        spec: AggregateSpec,
        seed: Option<&Seed>,
        ownership: Ownership,
        snapshots: Snapshots,
    ) -> Result<CountedAggregate> {
        let TimeKey::Counted { rows: size } = spec.time else {
            return Err(OperatorError::contract("windows by count need a count"));
        };
        let keys = spec.key_schema();
        let types = |fields: &Schema| -> Vec<DataType> {
            let fields = fields.fields().iter();
            fields.map(|field| field.data_type().clone()).collect()
        };
        let mut state_keys: Vec<_> = keys.fields().iter().cloned().collect();
        state_keys.push(Arc::new(Field::new("window", DataType::Int64, false)));
        let state_keys = Schema::new(state_keys);
        let group_types = types(&state_keys);
        let values = state_schema(&spec.calls)?;
        let owners = keys.fields().len();
        let results = Schema::new(spec.output.fields()[spec.group_columns()..].to_vec());
        let mut counted = CountedAggregate {
            size,
            keys: KeyTable::new(&types(&keys))?,
            seen: Vec::new(),
            groups: Groups::new(&group_types, &spec.calls)?,
            group_types,
            full: GroupSet::default(),
            gone: 0,
            open: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            unsaved: GroupSet::default(),
            stored_window: Vec::new(),
            touched_keys: GroupSet::default(),
            closing: None,
            snapshots,
            results: RowCodec::of_schema(&results)?.exact(),
            state: StateTable::new(0, &state_keys, &values, Placement::ByKey)?.owned_by(owners),
            spec,
            report: OperatorReport::default(),
        };
        let mut state = counted.state.clone();
        state.restore(seed, ownership, |_, keys, states, rows| {
            counted.restore(keys, states, rows)
        })?;
        counted.state = state;
        Ok(counted)
    }

    fn restore(&mut self, group_keys: &[ArrayRef], states: &[ArrayRef], rows: usize) -> Result<()> {
        let (keys, window) = group_keys.split_at(self.group_types.len() - 1);
        let groups = self.groups.intern(group_keys, rows)?;
        self.groups.merge(&groups, states)?;
        let windows = window[0].as_primitive::<Int64Type>();
        let ids = self.key_ids(keys, rows)?;
        for (row, (id, group)) in ids.iter().zip(&groups).enumerate() {
            let held = self.groups.rows_of(*group);
            let seen = &mut self.seen[*id as usize];
            *seen = (*seen).max(windows.value(row) * self.size + held);
            self.open += usize::from(held > 0);
        }
        self.groups.recycle(groups);
        Ok(())
    }

    fn key_ids(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.keys.intern(keys, rows, &mut ids)?;
        self.seen.resize(self.keys.len(), 0);
        self.stored_window.resize(self.keys.len(), 0);
        Ok(ids)
    }

    /// Keys and windows of rows that are in order, and at which rows a window is full.
    fn group_keys(&mut self, batch: &RecordBatch) -> Result<(Vec<ArrayRef>, Vec<usize>)> {
        let keys = self.spec.keys.iter();
        let mut keys: Vec<ArrayRef> = keys.map(|key| batch.column(*key).clone()).collect();
        let ids = self.key_ids(&keys, batch.num_rows())?;
        let fresh = self.touched_keys.mark(&ids, self.keys.len());
        let half_full = |id: &&u32| self.seen[**id as usize] % self.size != 0;
        let mut updated = fresh.iter().filter(half_full).count();
        if self.snapshots == Snapshots::Taken {
            for id in self.unsaved.mark(&ids, self.keys.len()) {
                self.stored_window[id as usize] = self.seen[id as usize] / self.size;
            }
        }
        let (mut windows, mut full) = (Vec::with_capacity(ids.len()), Vec::new());
        for (row, id) in ids.into_iter().enumerate() {
            let seen = &mut self.seen[id as usize];
            windows.push(*seen / self.size);
            let is_first = *seen % self.size == 0;
            updated += usize::from(is_first);
            self.open += usize::from(is_first);
            *seen += 1;
            if *seen % self.size == 0 {
                full.push(row);
            }
        }
        self.report.rows_updated += updated as u64;
        keys.push(Arc::new(Int64Array::from(windows)));
        Ok((keys, full))
    }

    /// Rows of some groups as the query sees them.
    fn rows(&self, groups: &[u32], results: Vec<ArrayRef>) -> Result<RecordBatch> {
        let mut columns = self.groups.key_columns(groups)?;
        let window = columns
            .pop()
            .ok_or_else(|| OperatorError::contract("a window by count has lost its number"))?;
        columns.insert(self.spec.time_position, window);
        columns.extend(results);
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        RecordBatch::try_new_with_options(self.spec.output.clone(), columns, &options)
            .map_err(OperatorError::arrow("making result rows"))
    }

    /// Takes some rows in, which are in order.
    fn absorb(&mut self, epoch: Epoch, rows: &Delta, closing: &mut Closing) -> Result<()> {
        let (keys, full) = self.group_keys(rows.batch())?;
        if self.spec.mode == OutputMode::Changes {
            let known = self.groups.find(&keys, rows.rows())?.into_iter();
            let known: Vec<u32> = known.flatten().collect();
            let fresh = closing.known.mark(&known, self.groups.len());
            let there: Vec<u32> = fresh
                .into_iter()
                .filter(|group| self.groups.rows_of(*group) > 0 && !closing.touched.has(*group))
                .collect();
            for there in self.groups.portions(&there) {
                let results = self.groups.results(there)?;
                closing.before.push_back((results, there.to_vec()));
            }
        }
        self.groups.update(&Columns {
            keys: &keys,
            calls: &self.spec.calls,
            batch: rows.batch(),
            signs: None,
            epoch,
            origins: rows.origin(),
        })?;
        let groups = self.groups.latest();
        closing.full.extend(full.into_iter().map(|row| groups[row]));
        let mode = self.spec.mode;
        if mode == OutputMode::Append {
            closing.leaving.clone_from(&closing.full);
        } else if mode != OutputMode::Complete {
            closing.touched.mark(groups, self.groups.len());
        }
        Ok(())
    }

    /// Takes back what groups were, where that differs from what they are.
    fn take_back(
        &self,
        (old, groups): (Vec<ArrayRef>, Vec<u32>),
        unchanged: &mut GroupSet,
        out: &mut Emitter,
    ) -> Result<()> {
        let now = self.groups.results(&groups)?;
        let (was, is) = (self.results.encode(&old)?, self.results.encode(&now)?);
        let differs: Vec<bool> = (0..groups.len())
            .map(|row| !old.is_empty() && was.row(row) != is.row(row))
            .collect();
        let same = groups
            .iter()
            .zip(&differs)
            .filter(|(_, differs)| !**differs);
        let same: Vec<u32> = same.map(|(group, _)| *group).collect();
        unchanged.mark(&same, self.groups.len());
        let gone = Delta::insertions(self.rows(&groups, old)?);
        let gone = gone.filter(&BooleanArray::from(differs))?;
        let signs = Int64Array::from_value(-1, gone.rows());
        out.give(Delta::signed(gone.batch().clone(), Some(signs)));
        Ok(())
    }

    fn begin_close(&mut self) -> Result<Closing> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let rows = if pending.is_empty() {
            None
        } else {
            Some(InOrder::of_input(pending)?)
        };
        Ok(Closing {
            rows,
            ..Closing::default()
        })
    }

    /// What leaves when all rows are in.
    fn list_leaving(&mut self, kind: EpochKind, closing: &mut Closing) -> Result<()> {
        match self.spec.mode {
            OutputMode::Update => closing.leaving = closing.touched.take(),
            OutputMode::Changes => {
                let touched = closing.touched.take().into_iter();
                let changed = touched.filter(|group| !closing.unchanged.has(*group));
                closing.leaving = changed.collect();
            }
            OutputMode::Complete if kind == EpochKind::Data => {
                let all = self.groups.all().into_iter();
                let there = all.filter(|group| self.groups.rows_of(*group) > 0);
                closing.leaving = there.collect();
            }
            OutputMode::Append | OutputMode::Complete => {}
            other => {
                return Err(OperatorError::contract(format!(
                    "no windows by count in mode {other}"
                )));
            }
        }
        Ok(())
    }

    /// Does some of a close; `true` when nothing is left to do.
    fn work_off(
        &mut self,
        context: &EpochContext,
        closing: &mut Closing,
        out: &mut Emitter,
    ) -> Result<bool> {
        if closing.emitted < closing.leaving.len() {
            let rest = &closing.leaving[closing.emitted..];
            let some = self.groups.portion(rest, |group| *group);
            let results = self.groups.results(some)?;
            out.give(Delta::insertions(self.rows(some, results)?));
            closing.emitted += some.len();
            return Ok(false);
        }
        let appends = self.spec.mode == OutputMode::Append;
        if !closing.leaving.is_empty() && appends {
            closing.leaving.clear();
            closing.emitted = 0;
            self.forget(&std::mem::take(&mut closing.full))?;
        }
        if let Some(rows) = &mut closing.rows {
            match rows.next()? {
                Some(rows) => self.absorb(context.epoch, &rows, closing)?,
                None => closing.rows = None,
            }
            return Ok(false);
        }
        if let Some(some) = closing.before.pop_front() {
            self.take_back(some, &mut closing.unchanged, out)?;
            return Ok(false);
        }
        if !closing.is_listed {
            closing.is_listed = true;
            self.list_leaving(context.kind, closing)?;
            return Ok(false);
        }
        self.forget(&std::mem::take(&mut closing.full))?;
        self.touched_keys.take();
        Ok(true)
    }

    /// Full windows are gone, except in complete mode; the tables are made anew when most of what
    /// they hold is.
    fn forget(&mut self, full: &[u32]) -> Result<()> {
        if self.spec.mode == OutputMode::Complete {
            return Ok(());
        }
        self.full.mark(full, self.groups.len());
        self.gone += full.len();
        self.open -= full.len();
        self.report.rows_removed += full.len() as u64;
        if 2 * self.gone <= self.groups.len() + 4096 {
            return Ok(());
        }
        let all = self.groups.all().into_iter();
        let stay: Vec<u32> = all.filter(|group| !self.full.has(*group)).collect();
        let empty = Groups::new(&self.group_types, &self.spec.calls)?;
        let old = std::mem::replace(&mut self.groups, empty);
        self.full = GroupSet::default();
        self.gone = 0;
        for stay in old.portions(&stay) {
            let (keys, states) = (old.key_columns(stay)?, old.states(stay)?);
            let groups = self.groups.intern(&keys, stay.len())?;
            self.groups.merge(&groups, &states)?;
            self.groups.recycle(groups);
        }
        Ok(())
    }

    /// Writes for each key that changed the window that is open now, and that the one of the last snapshot
    /// is gone if it is another; those in between were never stored.
    fn tap_changed(&mut self) -> Result<()> {
        let unsaved = self.unsaved.take_in_order();
        let keys_of = |ids: &[u32], window_of: &dyn Fn(u32) -> i64| -> Result<Vec<ArrayRef>> {
            let mut keys = self.keys.columns(Some(ids))?;
            let windows = ids.iter().map(|id| window_of(*id));
            keys.push(Arc::new(Int64Array::from_iter_values(windows)));
            Ok(keys)
        };
        let stored = |id: u32| self.stored_window[id as usize];
        let open = |id: u32| self.seen[id as usize] / self.size;
        let moved = unsaved.iter().copied();
        let moved: Vec<u32> = moved.filter(|id| stored(*id) != open(*id)).collect();
        let is_complete = self.spec.mode == OutputMode::Complete;
        for ids in moved.chunks(BATCH_ROWS_MAX).filter(|_| !is_complete) {
            let keys = keys_of(ids, &stored)?;
            self.state.remove(Bucket(0), &keys, ids.len())?;
        }
        let mut groups = Vec::with_capacity(unsaved.len());
        for ids in unsaved.chunks(BATCH_ROWS_MAX) {
            // In complete mode nothing is forgotten, so every window since then is written.
            let windows = ids.iter().flat_map(|id| {
                let first = if is_complete { stored(*id) } else { open(*id) };
                (first..=open(*id)).map(move |window| (*id, window))
            });
            let (ids, windows): (Vec<u32>, Vec<i64>) = windows.unzip();
            let mut keys = self.keys.columns(Some(&ids))?;
            keys.push(Arc::new(Int64Array::from(windows)));
            // A key whose last window is full is remembered by the next one, which has no rows yet.
            groups.extend(self.groups.intern(&keys, ids.len())?);
        }
        for some in self.groups.portions(&groups) {
            let (keys, states) = (self.groups.key_columns(some)?, self.groups.states(some)?);
            self.state.upsert(Bucket(0), &keys, &states, some.len())?;
        }
        Ok(())
    }
}

/// A close that is under way.
#[derive(Default)]
struct Closing {
    rows: Option<InOrder>,
    /// Groups that were there before, each once.
    known: GroupSet,
    /// Groups with rows of this epoch.
    touched: GroupSet,
    /// Groups with their results before the epoch.
    before: VecDeque<(Vec<ArrayRef>, Vec<u32>)>,
    unchanged: GroupSet,
    /// Windows that became full and are not forgotten yet.
    full: Vec<u32>,
    leaving: Vec<u32>,
    emitted: usize,
    is_listed: bool,
}

impl EpochOperator for CountedAggregate {
    fn on_delta(
        &mut self,
        _context: &EpochContext,
        _port: usize,
        delta: Delta,
        _out: &mut Emitter,
    ) -> Result<()> {
        self.pending_bytes += delta.bytes();
        self.pending.push(delta);
        Ok(())
    }

    fn on_close(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        let mut closing = match self.closing.take() {
            Some(closing) => closing,
            None => self.begin_close()?,
        };
        while !self.work_off(context, &mut closing, out)? {
            if out.is_full() {
                self.closing = Some(closing);
                return Ok(Progress::More);
            }
        }
        Ok(Progress::Done)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        self.tap_changed()?;
        Ok(self.state.tap())
    }

    fn report(&mut self) -> Option<OperatorReport> {
        let mut report = std::mem::take(&mut self.report);
        report.rows_total = self.open as u64;
        report.bytes = (self.groups.bytes()
            + self.keys.bytes()
            + (self.seen.capacity() + self.stored_window.capacity()) * 8
            + self.full.bytes()
            + self.unsaved.bytes()
            + self.touched_keys.bytes()
            + self.pending_bytes
            + self.state.bytes()) as u64;
        Some(report)
    }
}
