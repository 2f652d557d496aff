//! Windows by count: every *n* rows of a key are a window, in the order of the input.
//!
//! A row's window is how many rows of its key came before, divided by *n*. The order is that of the
//! input, epoch by epoch, so a window holds the same rows with any number of workers and after any
//! restart. A full window is final and is forgotten; a key is remembered with its open window.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, Int64Type, Schema},
};
use millstream_types::{Epoch, OutputMode};

use super::{
    AggregateSpec, Seed, TimeKey,
    groups::{Columns, Groups, in_batches, state_schema},
    marked::Marked,
};
use crate::{
    arrange::in_order,
    board::EpochKind,
    delta::Delta,
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    keys::KeyTable,
    rows::RowCodec,
    state::{Bucket, BucketChange, Ownership, Snapshots, Spread, StateTable},
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
    full: Marked,
    /// How many of them there are.
    gone: usize,
    /// Windows that have rows and are not forgotten.
    open: usize,
    pending: Vec<Delta>,
    /// Key and window of what changed since the last snapshot.
    dirty: BTreeSet<(u32, i64)>,
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
            full: Marked::default(),
            gone: 0,
            open: 0,
            pending: Vec::new(),
            dirty: BTreeSet::new(),
            snapshots,
            results: RowCodec::of_schema(&results)?,
            state: StateTable::new(0, &state_keys, &values, Spread::ByKey)?.owned_by(owners),
            spec,
            report: OperatorReport::default(),
        };
        if let Some(seed) = seed {
            for ((_, bucket), pieces) in &seed.pieces {
                for held in counted.state.seed(*bucket, seed.epoch, pieces, ownership)? {
                    counted.restore(&held)?;
                }
            }
        }
        Ok(counted)
    }

    fn restore(&mut self, held: &RecordBatch) -> Result<()> {
        let rows = held.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let (group_keys, rest) = held.columns().split_at(self.group_types.len());
        let (keys, window) = group_keys.split_at(self.group_types.len() - 1);
        let states = &rest[..rest.len() - 1];
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
        Ok(ids)
    }

    /// Keys and windows of rows that are in order.
    fn group_keys(&mut self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let keys = self.spec.keys.iter();
        let mut keys: Vec<ArrayRef> = keys.map(|key| batch.column(*key).clone()).collect();
        let ids = self.key_ids(&keys, batch.num_rows())?;
        let mut windows = Vec::with_capacity(ids.len());
        for id in ids {
            let seen = &mut self.seen[id as usize];
            let window = *seen / self.size;
            *seen += 1;
            if self.snapshots == Snapshots::Taken {
                self.dirty.insert((id, window));
                if *seen % self.size == 0 {
                    self.dirty.insert((id, window + 1));
                }
            }
            windows.push(window);
        }
        keys.push(Arc::new(Int64Array::from(windows)));
        Ok(keys)
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

    fn emit(&self, groups: &[u32], out: &mut Emitter) -> Result<()> {
        for groups in in_batches(groups) {
            let results = self.groups.results(groups)?;
            out.give(Delta::insertions(self.rows(groups, results)?));
        }
        Ok(())
    }

    /// Takes an epoch's rows in and says which groups they touched; in mode `changes` with what these
    /// were before, if they were there.
    fn absorb(&mut self, epoch: Epoch) -> Result<(Vec<u32>, Before)> {
        let rows = Delta::concat(&std::mem::take(&mut self.pending))?;
        let rows = rows.take(&in_order(&rows)?)?;
        let keys = self.group_keys(rows.batch())?;
        let known: Vec<u32> = self
            .groups
            .find(&keys, rows.rows())?
            .into_iter()
            .flatten()
            .collect();
        let known = Marked::default().mark(&known, self.groups.len());
        let with_rows = |group: &&u32| self.groups.rows_of(**group) > 0;
        let were_open = known.iter().filter(with_rows).count();
        let before = if self.spec.mode == OutputMode::Changes && !known.is_empty() {
            let there: Vec<u32> = known.iter().filter(with_rows).copied().collect();
            Some((self.groups.results(&there)?, there))
        } else {
            None
        };
        self.groups.update(&Columns {
            keys: &keys,
            calls: &self.spec.calls,
            batch: rows.batch(),
            signs: None,
            epoch,
            origins: rows.origin(),
        })?;
        let touched: Vec<u32> = self
            .groups
            .find(&keys, rows.rows())?
            .into_iter()
            .flatten()
            .collect();
        let touched = Marked::default().mark(&touched, self.groups.len());
        self.open += touched.len() - were_open;
        Ok((touched, before))
    }

    /// Takes back what groups were and gives what they are, where that differs.
    fn emit_changes(&self, touched: &[u32], before: Before, out: &mut Emitter) -> Result<()> {
        let mut unchanged = Marked::default();
        if let Some((old, groups)) = before {
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
        }
        let new = touched.iter().filter(|group| !unchanged.has(**group));
        self.emit(&new.copied().collect::<Vec<_>>(), out)
    }

    fn publish(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<()> {
        let (touched, before) = if self.pending.is_empty() {
            (Vec::new(), None)
        } else {
            self.absorb(context.epoch)?
        };
        self.report.rows_updated += touched.len() as u64;
        let is_full = |group: &u32| self.groups.rows_of(*group) == self.size;
        let full: Vec<u32> = touched.iter().copied().filter(is_full).collect();
        match self.spec.mode {
            OutputMode::Append => self.emit(&full, out)?,
            OutputMode::Update => self.emit(&touched, out)?,
            OutputMode::Changes => self.emit_changes(&touched, before, out)?,
            OutputMode::Complete if context.kind == EpochKind::Data => {
                let all = self.groups.all().into_iter();
                let there = all.filter(|group| self.groups.rows_of(*group) > 0);
                self.emit(&there.collect::<Vec<_>>(), out)?;
            }
            OutputMode::Complete => {}
            other => {
                return Err(OperatorError::contract(format!(
                    "no windows by count in mode {other}"
                )));
            }
        }
        self.forget(&full)
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
        if 2 * self.gone <= self.groups.len() + 4096 || !self.dirty.is_empty() {
            return Ok(());
        }
        let all = self.groups.all().into_iter();
        let stay: Vec<u32> = all.filter(|group| !self.full.has(*group)).collect();
        let empty = Groups::new(&self.group_types, &self.spec.calls)?;
        let old = std::mem::replace(&mut self.groups, empty);
        self.full = Marked::default();
        self.gone = 0;
        for stay in in_batches(&stay) {
            let (keys, states) = (old.key_columns(stay)?, old.states(stay)?);
            let groups = self.groups.intern(&keys, stay.len())?;
            self.groups.merge(&groups, &states)?;
            self.groups.recycle(groups);
        }
        Ok(())
    }

    fn tap_changed(&mut self, epoch: Epoch) -> Result<()> {
        let dirty: Vec<(u32, i64)> = std::mem::take(&mut self.dirty).into_iter().collect();
        let ids: Vec<u32> = dirty.iter().map(|(key, _)| *key).collect();
        let mut keys = self.keys.columns(Some(&ids))?;
        let windows = dirty.iter().map(|(_, window)| *window);
        keys.push(Arc::new(Int64Array::from_iter_values(windows)));
        // A key whose last window is full is remembered by the next one, which has no rows yet.
        let groups = self.groups.intern(&keys, dirty.len())?;
        let (gone, alive): (Vec<u32>, Vec<u32>) = groups
            .iter()
            .copied()
            .partition(|group| self.full.has(*group));
        self.groups.recycle(groups);
        if !gone.is_empty() {
            let keys = self.groups.key_columns(&gone)?;
            self.state.remove(Bucket(0), epoch, &keys, gone.len())?;
        }
        if !alive.is_empty() {
            let keys = self.groups.key_columns(&alive)?;
            let states = self.groups.states(&alive)?;
            self.state
                .upsert(Bucket(0), epoch, &keys, &states, alive.len())?;
        }
        Ok(())
    }
}

/// Groups with their results before an epoch.
type Before = Option<(Vec<ArrayRef>, Vec<u32>)>;

impl EpochOperator for CountedAggregate {
    fn on_delta(
        &mut self,
        _context: &EpochContext,
        _port: usize,
        delta: Delta,
        _out: &mut Emitter,
    ) -> Result<()> {
        self.pending.push(delta);
        Ok(())
    }

    fn on_close(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        self.publish(context, out)?;
        Ok(Progress::Done)
    }

    fn tap(&mut self, epoch: Epoch) -> Result<Vec<BucketChange>> {
        if !self.dirty.is_empty() {
            self.tap_changed(epoch)?;
            self.forget(&[])?;
        }
        self.state.tap()
    }

    fn report(&mut self) -> Option<OperatorReport> {
        let mut report = std::mem::take(&mut self.report);
        report.rows_total = self.open as u64;
        report.bytes = (self.groups.bytes()
            + self.keys.bytes()
            + self.seen.capacity() * 8
            + self.state.bytes()) as u64;
        Some(report)
    }
}
