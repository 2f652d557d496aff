//! The half of an aggregation after the exchange: all of a group is here.
//!
//! The working copy is one table of columns a bucket; the state table is its durable copy. An epoch
//! runs in the order of the specification: late groups are dropped by L, the rest is merged, results
//! leave as the output mode says, and what E closes is removed.

use std::collections::BTreeMap;

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Schema},
};
use millstream_types::{Epoch, OutputMode, Watermark};

use super::{
    AggregateSpec, TimeKey,
    buckets::{Buckets, Closure},
    exchange::PartialGroups,
    groups::{Groups, in_batches, state_schema},
    marked::Marked,
    partial::{keep, table_keys},
};
use crate::{
    board::EpochKind,
    delta::Delta,
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    rows::RowCodec,
    state::{Bucket, BucketChange, Ownership, StateTable},
};

/// The groups of one bucket.
struct BucketGroups {
    groups: Groups,
    /// Touched in this epoch.
    touched: Marked,
    /// Changed since the last snapshot.
    dirty: Marked,
    /// Results as they were before this epoch, for groups that had one (mode `changes`).
    before: Vec<(Vec<u32>, Vec<ArrayRef>)>,
    /// Groups with rows, for counting.
    live: u64,
}

/// Merges partial groups, keeps state, publishes results.
pub struct TotalAggregate {
    spec: AggregateSpec,
    buckets: Buckets,
    key_types: Vec<DataType>,
    tables: BTreeMap<Bucket, BucketGroups>,
    state: StateTable,
    results: RowCodec,
    report: OperatorReport,
    /// Whether this worker holds the one group of an aggregation without keys.
    holds_all: bool,
}

impl std::fmt::Debug for TotalAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TotalAggregate")
            .field("time", &self.spec.time)
            .finish_non_exhaustive()
    }
}

/// State of an operator from a snapshot: pieces by table and bucket, and the epoch they are of.
#[derive(Clone, Debug, Default)]
pub struct Seed {
    /// The epoch after which the snapshot was taken.
    pub epoch: Epoch,
    /// The pieces.
    pub pieces: BTreeMap<(u32, Bucket), Vec<RecordBatch>>,
}

impl TotalAggregate {
    /// The operator for a spec, with the part of a snapshot that this worker owns.
    ///
    /// # Errors
    /// When a key or function has no form here, or a piece is of another query.
    pub fn new(
        spec: AggregateSpec,
        seed: Option<&Seed>,
        ownership: Ownership,
    ) -> Result<TotalAggregate> {
        let buckets = Buckets::new(&spec)?;
        let keys = table_keys(&spec, &buckets);
        let states = state_schema(&spec.calls)?;
        let results: Vec<DataType> = spec.output.fields()[spec.group_columns()..]
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let mut total = TotalAggregate {
            state: StateTable::new(0, &keys, &states, buckets.spread())?,
            key_types: keys
                .fields()
                .iter()
                .map(|field| field.data_type().clone())
                .collect(),
            results: RowCodec::new(&results)?,
            holds_all: spec.keys.is_empty() && spec.time == TimeKey::None && ownership.worker == 0,
            spec,
            buckets,
            tables: BTreeMap::new(),
            report: OperatorReport::default(),
        };
        if let Some(seed) = seed {
            for ((_, bucket), pieces) in &seed.pieces {
                total.restore(*bucket, seed.epoch, pieces, ownership)?;
            }
        }
        Ok(total)
    }

    fn restore(
        &mut self,
        bucket: Bucket,
        epoch: Epoch,
        pieces: &[RecordBatch],
        ownership: Ownership,
    ) -> Result<()> {
        let held = self.state.seed(bucket, epoch, pieces, ownership)?;
        if held.num_rows() == 0 {
            return Ok(());
        }
        let (keys, rest) = held.columns().split_at(self.key_types.len());
        let states = &rest[..rest.len() - 1];
        let table = self.table(bucket)?;
        let groups = table.groups.intern(keys, held.num_rows())?;
        table.groups.merge(&groups, states)?;
        table.live = held.num_rows() as u64;
        table.groups.recycle(groups);
        Ok(())
    }

    fn table(&mut self, bucket: Bucket) -> Result<&mut BucketGroups> {
        use std::collections::btree_map::Entry;
        let holds_all = self.holds_all;
        match self.tables.entry(bucket) {
            Entry::Occupied(table) => Ok(table.into_mut()),
            Entry::Vacant(place) => {
                let groups = Groups::new(&self.key_types, &self.spec.calls)?;
                Ok(place.insert(BucketGroups {
                    groups: if holds_all {
                        groups.always_there()
                    } else {
                        groups
                    },
                    touched: Marked::default(),
                    dirty: Marked::default(),
                    before: Vec::new(),
                    live: 0,
                }))
            }
        }
    }

    /// The one group of an aggregation without keys is there as soon as an epoch has input, even if
    /// no row is left of it, as in a batch query over nothing.
    fn touch_all(&mut self) -> Result<()> {
        let repeats = self.spec.mode == OutputMode::Update;
        let table = self.table(Bucket(0))?;
        let is_new = table.groups.len() == 0;
        if is_new || repeats {
            let group = table.groups.intern(&[], 1)?;
            table.touched.mark(&group, 1);
            table.dirty.mark(&group, 1);
            table.groups.recycle(group);
        }
        table.live = 1;
        Ok(())
    }

    /// Late rows are dropped, except in complete mode, which never forgets a group.
    fn drops_late(&self) -> bool {
        self.buckets.can_close() && self.spec.mode != OutputMode::Complete
    }

    /// The groups that are not late; the rows of the others are counted.
    fn without_late(
        &mut self,
        bucket: Bucket,
        groups: PartialGroups,
        late: Watermark,
    ) -> Result<Option<PartialGroups>> {
        if !self.drops_late() {
            return Ok(Some(groups));
        }
        match self.buckets.closure(bucket, late) {
            Closure::Open => Ok(Some(groups)),
            Closure::Closed => {
                self.report.rows_late += groups.rows();
                Ok(None)
            }
            Closure::Partly => {
                let closed = self.buckets.closed_rows(&groups.keys()[0], late)?;
                let (closed, open) = groups.split(&closed)?;
                self.report.rows_late += closed.rows();
                Ok(Some(open))
            }
        }
    }

    fn merge(&mut self, bucket: Bucket, partial: &PartialGroups) -> Result<()> {
        let wants_before = self.spec.mode == OutputMode::Changes;
        let retracting = self.spec.retracting;
        let table = self.table(bucket)?;
        let known = table.groups.len();
        let groups = table.groups.intern(partial.keys(), partial.len())?;
        let size = table.groups.len();
        let fresh = table.touched.mark(&groups, size);
        if wants_before {
            let old: Vec<u32> = fresh
                .iter()
                .copied()
                .filter(|group| (*group as usize) < known && table.groups.rows_of(*group) != 0)
                .collect();
            if !old.is_empty() {
                let results = table.groups.results(&old)?;
                table.before.push((old, results));
            }
        }
        // Rows that only come make a group live once; what is taken back may come again in the epoch.
        let looked_at = if retracting {
            let mut groups = groups.clone();
            groups.sort_unstable();
            groups.dedup();
            groups
        } else {
            fresh
        };
        let alive = |table: &BucketGroups| {
            looked_at
                .iter()
                .filter(|group| table.groups.rows_of(**group) != 0)
                .count() as u64
        };
        let before = alive(table);
        table.dirty.mark(&groups, size);
        table.groups.merge(&groups, partial.states())?;
        table.live = table.live + alive(table) - before;
        table.groups.recycle(groups);
        Ok(())
    }

    /// Rows of some groups of a bucket as the query sees them.
    fn rows(&self, bucket: Bucket, groups: &[u32], results: Vec<ArrayRef>) -> Result<RecordBatch> {
        let table = &self.tables[&bucket];
        let mut keys = table.groups.key_columns(groups)?;
        let extra = self
            .buckets
            .extra_key(&self.spec.input)
            .is_some()
            .then(|| keys.remove(0));
        if self.spec.time != TimeKey::None {
            let field = self.spec.output.field(self.spec.time_position);
            let time = self
                .buckets
                .output(bucket, extra.as_ref(), groups.len(), field)?;
            keys.splice(self.spec.time_position..self.spec.time_position, time);
        }
        keys.extend(results);
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        RecordBatch::try_new_with_options(self.spec.output.clone(), keys, &options)
            .map_err(OperatorError::arrow("making result rows"))
    }

    fn emit(&self, bucket: Bucket, groups: &[u32], out: &mut Emitter) -> Result<()> {
        let table = &self.tables[&bucket];
        let alive: Vec<u32> = groups
            .iter()
            .copied()
            .filter(|group| table.groups.rows_of(*group) != 0)
            .collect();
        for groups in in_batches(&alive) {
            let results = table.groups.results(groups)?;
            out.give(Delta::insertions(self.rows(bucket, groups, results)?));
        }
        Ok(())
    }

    fn all(&self, bucket: Bucket) -> Vec<u32> {
        self.tables[&bucket].groups.all()
    }

    /// Takes back what a group was and gives what it is, where that differs.
    fn emit_changes(&mut self, bucket: Bucket, groups: &[u32], out: &mut Emitter) -> Result<()> {
        let table = self.tables.get_mut(&bucket);
        let before = table
            .map(|table| std::mem::take(&mut table.before))
            .unwrap_or_default();
        let mut unchanged = Marked::default();
        let size = self.tables[&bucket].groups.len();
        for (old_groups, old) in before {
            let now = self.tables[&bucket].groups.results(&old_groups)?;
            let (was, is) = (self.results.encode(&old)?, self.results.encode(&now)?);
            let differs: BooleanArray = old_groups
                .iter()
                .enumerate()
                .map(|(row, group)| {
                    let gone = self.tables[&bucket].groups.rows_of(*group) == 0;
                    Some(gone || (!old.is_empty() && was.row(row) != is.row(row)))
                })
                .collect();
            let same: Vec<u32> = old_groups
                .iter()
                .enumerate()
                .filter(|(row, _)| !differs.value(*row))
                .map(|(_, group)| *group)
                .collect();
            unchanged.mark(&same, size);
            let rows = keep(&self.rows(bucket, &old_groups, old)?, &differs)?;
            let signs = Int64Array::from_value(-1, rows.num_rows());
            out.give(Delta::signed(rows, Some(signs)));
        }
        let new: Vec<u32> = groups
            .iter()
            .copied()
            .filter(|group| !unchanged.has(*group))
            .collect();
        self.emit(bucket, &new, out)
    }

    /// Removes what the mark closes; in append mode it is emitted first.
    fn evict(&mut self, mark: Watermark, out: &mut Emitter) -> Result<()> {
        if !self.drops_late() {
            return Ok(());
        }
        let emits = self.spec.mode == OutputMode::Append;
        let closing: Vec<(Bucket, Closure)> = self
            .tables
            .keys()
            .map(|bucket| (*bucket, self.buckets.closure(*bucket, mark)))
            .filter(|(_, closure)| *closure != Closure::Open)
            .collect();
        for (bucket, closure) in closing {
            match closure {
                Closure::Open => {}
                Closure::Closed => {
                    if emits {
                        self.emit(bucket, &self.all(bucket), out)?;
                    }
                    let gone = self.tables.remove(&bucket);
                    self.report.rows_removed += gone.map_or(0, |table| table.live);
                }
                Closure::Partly => self.evict_part(bucket, mark, emits, out)?,
            }
        }
        let tables = &self.tables;
        self.state.retain(|bucket| tables.contains_key(&bucket));
        Ok(())
    }

    /// Removes the closed groups of a bucket by making it anew from the open ones.
    fn evict_part(
        &mut self,
        bucket: Bucket,
        mark: Watermark,
        emits: bool,
        out: &mut Emitter,
    ) -> Result<()> {
        let all = self.all(bucket);
        let keys = self.tables[&bucket].groups.key_columns(&all)?;
        let closed = self.buckets.closed_rows(&keys[0], mark)?;
        let (gone, stay): (Vec<u32>, Vec<u32>) =
            all.iter().partition(|group| closed.value(**group as usize));
        if gone.is_empty() {
            return Ok(());
        }
        if emits {
            self.emit(bucket, &gone, out)?;
        }
        let Some(old) = self.tables.remove(&bucket) else {
            return Ok(());
        };
        self.report.rows_removed += old.live;
        // The durable copy starts over, too: the next snapshot writes the bucket whole.
        self.state.retain(|held| held != bucket);
        let stay: Vec<u32> = stay
            .into_iter()
            .filter(|group| old.groups.rows_of(*group) != 0)
            .collect();
        if stay.is_empty() {
            return Ok(());
        }
        self.report.rows_removed -= stay.len() as u64;
        let (keys, states) = (old.groups.key_columns(&stay)?, old.groups.states(&stay)?);
        let table = self.table(bucket)?;
        let groups = table.groups.intern(&keys, stay.len())?;
        table.groups.merge(&groups, &states)?;
        table.dirty.mark(&groups, stay.len());
        table.live = stay.len() as u64;
        table.groups.recycle(groups);
        Ok(())
    }

    fn publish(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<()> {
        let buckets: Vec<Bucket> = self.tables.keys().copied().collect();
        for bucket in buckets {
            let touched = match self.tables.get_mut(&bucket) {
                Some(table) => table.touched.take(),
                None => continue,
            };
            self.report.rows_updated += touched.len() as u64;
            match self.spec.mode {
                OutputMode::Update => self.emit(bucket, &touched, out)?,
                OutputMode::Changes => self.emit_changes(bucket, &touched, out)?,
                OutputMode::Complete if context.kind == EpochKind::Data => {
                    self.emit(bucket, &self.all(bucket), out)?;
                }
                OutputMode::Append | OutputMode::Complete => {}
                other => {
                    return Err(OperatorError::contract(format!(
                        "no aggregation in mode {other}"
                    )));
                }
            }
        }
        Ok(())
    }
}

impl EpochOperator for TotalAggregate {
    fn on_delta(
        &mut self,
        context: &EpochContext,
        _port: usize,
        delta: Delta,
        _out: &mut Emitter,
    ) -> Result<()> {
        let Some((bucket, groups)) = PartialGroups::read(delta.batch(), self.key_types.len())
        else {
            return Ok(());
        };
        match self.without_late(bucket, groups, context.marks.late)? {
            Some(groups) if groups.len() > 0 => self.merge(bucket, &groups),
            _ => Ok(()),
        }
    }

    fn on_close(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        if self.holds_all && context.kind == EpochKind::Data {
            self.touch_all()?;
        }
        self.publish(context, out)?;
        self.evict(context.marks.evict, out)?;
        Ok(Progress::Done)
    }

    fn tap(&mut self, epoch: Epoch) -> Result<Vec<BucketChange>> {
        for (bucket, table) in &mut self.tables {
            let (alive, gone): (Vec<u32>, Vec<u32>) = table
                .dirty
                .take()
                .into_iter()
                .partition(|group| table.groups.rows_of(*group) != 0);
            if !gone.is_empty() {
                let keys = table.groups.key_columns(&gone)?;
                self.state.remove(*bucket, epoch, &keys, gone.len())?;
            }
            if !alive.is_empty() {
                let (keys, states) = (
                    table.groups.key_columns(&alive)?,
                    table.groups.states(&alive)?,
                );
                self.state
                    .upsert(*bucket, epoch, &keys, &states, alive.len())?;
            }
        }
        self.state.tap()
    }

    fn report(&mut self) -> Option<OperatorReport> {
        let mut report = std::mem::take(&mut self.report);
        report.rows_total = self.tables.values().map(|table| table.live).sum();
        let tables: usize = self.tables.values().map(|table| table.groups.bytes()).sum();
        report.bytes = (tables + self.state.bytes()) as u64;
        if self.drops_late() {
            let open = self.tables.first_key_value();
            report.oldest_end = open.map(|(bucket, _)| bucket.0);
        }
        Some(report)
    }
}

/// Columns of the state of an aggregation: what its snapshot pieces hold.
///
/// # Errors
/// When a function has no state here.
pub fn state_columns(spec: &AggregateSpec) -> Result<Schema> {
    let keys = table_keys(spec, &Buckets::new(spec)?);
    let states = state_schema(&spec.calls)?;
    let fields = keys
        .fields()
        .iter()
        .chain(states.fields())
        .cloned()
        .collect::<Vec<_>>();
    Ok(Schema::new(fields))
}
