//! The half of an aggregation after the exchange: all of a group is here.
//!
//! A bucket is one table of columns, which notes what changed for the next snapshot. An epoch runs in the
//! order of the specification: late groups are dropped by L, the rest is merged, results leave as the
//! output mode says, and what E closes is removed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Schema},
};
use millstream_types::{Epoch, OutputMode, Watermark};

use super::{
    AggregateSpec, TimeKey,
    buckets::{Buckets, Closure},
    exchange::PartialGroups,
    group_set::GroupSet,
    groups::{Groups, state_schema},
    held,
    partial::{keep, table_keys},
};
use crate::{
    board::EpochKind,
    delta::Delta,
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    rows::RowCodec,
    state::{Bucket, BucketChange, Ownership, PLACE_BYTES, Seed, Snapshots, StateTable},
};

/// The groups of one bucket.
struct BucketGroups {
    groups: Groups,
    /// Touched in this epoch.
    touched: GroupSet,
    /// Changed since the last snapshot.
    unsaved: GroupSet,
    /// Results as they were before this epoch, for groups that had one (mode `changes`).
    before: VecDeque<(Vec<u32>, Vec<ArrayRef>)>,
    /// Groups with rows, for counting.
    live: u64,
}

/// Something that is to leave or to go, in this order.
enum Leaving {
    /// Groups of a bucket as they are.
    Groups(Bucket, Vec<u32>),
    /// What groups of a bucket were before the epoch; groups that stayed the same are noted.
    Before(Bucket, VecDeque<(Vec<u32>, Vec<ArrayRef>)>, GroupSet),
    /// What of a bucket is closed.
    Close(Bucket, Closure),
    /// A bucket that is closed and whose groups have left.
    Remove(Bucket),
    /// Some groups of a bucket, which is not closed as a whole.
    RemoveSome(Bucket, Vec<u32>),
}

/// Merges partial groups, keeps state, publishes results.
pub struct TotalAggregate {
    spec: AggregateSpec,
    buckets: Buckets,
    key_types: Vec<DataType>,
    tables: BTreeMap<Bucket, Box<BucketGroups>>,
    /// Buckets with groups that were touched in this epoch.
    touched: BTreeSet<Bucket>,
    /// Groups with rows and bytes of all tables, so that many buckets need not be counted each epoch.
    live: u64,
    bytes: usize,
    /// What is still to leave or to go in the epoch that closes.
    closing: Option<VecDeque<Leaving>>,
    state: StateTable,
    snapshots: Snapshots,
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

impl TotalAggregate {
    /// The operator for a spec, with the part of a snapshot that this worker owns.
    ///
    /// # Errors
    /// When a key or function has no form here, or a piece is of another query.
    pub fn new(
        spec: AggregateSpec,
        seed: Option<&Seed>,
        ownership: Ownership,
        snapshots: Snapshots,
    ) -> Result<TotalAggregate> {
        let buckets = Buckets::new(&spec)?;
        let keys = table_keys(&spec, &buckets);
        let states = state_schema(&spec.calls)?;
        let results: Vec<DataType> = spec.output.fields()[spec.group_columns()..]
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let mut total = TotalAggregate {
            state: StateTable::new(0, &keys, &states, buckets.placement())?,
            key_types: keys
                .fields()
                .iter()
                .map(|field| field.data_type().clone())
                .collect(),
            results: RowCodec::new(&results)?.exact(),
            holds_all: spec.keys.is_empty() && spec.time == TimeKey::None && ownership.worker == 0,
            spec,
            buckets,
            snapshots,
            tables: BTreeMap::new(),
            touched: BTreeSet::new(),
            live: 0,
            bytes: 0,
            closing: None,
            report: OperatorReport::default(),
        };
        let mut state = total.state.clone();
        state.restore(seed, ownership, |bucket, keys, states, rows| {
            let table = total.table(bucket)?;
            let groups = table.groups.intern(keys, rows)?;
            table.groups.merge(&groups, states)?;
            table.live += rows as u64;
            table.groups.recycle(groups);
            Ok(())
        })?;
        total.state = state;
        total.live = total.tables.values().map(|table| table.live).sum();
        total.bytes = total.tables.values().map(|table| table.bytes()).sum();
        Ok(total)
    }

    fn table(&mut self, bucket: Bucket) -> Result<&mut BucketGroups> {
        use std::collections::btree_map::Entry;
        let holds_all = self.holds_all;
        match self.tables.entry(bucket) {
            Entry::Occupied(table) => Ok(&mut **table.into_mut()),
            Entry::Vacant(place) => {
                let groups = Groups::new(&self.key_types, &self.spec.calls)?;
                Ok(&mut **place.insert(Box::new(BucketGroups {
                    groups: if holds_all {
                        groups.always_there()
                    } else {
                        groups
                    },
                    touched: GroupSet::default(),
                    unsaved: GroupSet::default(),
                    before: VecDeque::new(),
                    live: 0,
                })))
            }
        }
    }

    /// The one group of an aggregation without keys is there as soon as an epoch has input, even if
    /// no row is left of it, as in a batch query over nothing.
    fn touch_all(&mut self) -> Result<()> {
        let repeats = self.spec.mode == OutputMode::Update;
        let is_noted = self.snapshots == Snapshots::Taken;
        self.touched.insert(Bucket(0));
        let table = self.table(Bucket(0))?;
        let is_new = table.groups.len() == 0;
        if is_new || repeats {
            let group = table.groups.intern(&[], 1)?;
            table.touched.mark(&group, 1);
            if is_noted {
                table.unsaved.mark(&group, 1);
            }
            table.groups.recycle(group);
        }
        table.live = 1;
        // It is the only table.
        self.bytes = table.bytes();
        self.live = 1;
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
        let is_noted = self.snapshots == Snapshots::Taken;
        self.touched.insert(bucket);
        let table = self.table(bucket)?;
        // A table that was not there is counted with its first groups.
        let (live, bytes) = match table.groups.len() {
            0 => (0, 0),
            _ => (table.live, table.bytes()),
        };
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
            for old in table.groups.portions(&old) {
                let results = table.groups.results(old)?;
                table.before.push_back((old.to_vec(), results));
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
        if is_noted {
            table.unsaved.mark(&groups, size);
        }
        table.groups.merge(&groups, partial.states())?;
        table.live = table.live + alive(table) - before;
        table.groups.recycle(groups);
        let (live_now, bytes_now) = (table.live, table.bytes());
        self.live = self.live + live_now - live;
        self.bytes = self.bytes + bytes_now - bytes;
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

    /// Emits groups until the emitter is full; the others are to follow.
    fn emit(
        &self,
        bucket: Bucket,
        mut groups: Vec<u32>,
        out: &mut Emitter,
    ) -> Result<Option<Leaving>> {
        let table = &self.tables[&bucket];
        groups.retain(|group| table.groups.rows_of(*group) != 0);
        let mut emitted = 0;
        for some in table.groups.portions(&groups) {
            if out.is_full() {
                break;
            }
            let results = table.groups.results(some)?;
            out.give(Delta::insertions(self.rows(bucket, some, results)?));
            emitted += some.len();
        }
        let rest = groups.split_off(emitted);
        Ok((!rest.is_empty()).then_some(Leaving::Groups(bucket, rest)))
    }

    fn all(&self, bucket: Bucket) -> Vec<u32> {
        self.tables[&bucket].groups.all()
    }

    /// Takes back what some groups were, where that differs from what they are.
    fn take_back(
        &self,
        bucket: Bucket,
        (groups, old): (Vec<u32>, Vec<ArrayRef>),
        unchanged: &mut GroupSet,
        out: &mut Emitter,
    ) -> Result<()> {
        let table = &self.tables[&bucket];
        let now = table.groups.results(&groups)?;
        let (was, is) = (self.results.encode(&old)?, self.results.encode(&now)?);
        let differs: BooleanArray = groups
            .iter()
            .enumerate()
            .map(|(row, group)| {
                let gone = table.groups.rows_of(*group) == 0;
                Some(gone || (!old.is_empty() && was.row(row) != is.row(row)))
            })
            .collect();
        let same: Vec<u32> = groups
            .iter()
            .enumerate()
            .filter(|(row, _)| !differs.value(*row))
            .map(|(_, group)| *group)
            .collect();
        unchanged.mark(&same, table.groups.len());
        let rows = keep(&self.rows(bucket, &groups, old)?, &differs)?;
        let signs = Int64Array::from_value(-1, rows.num_rows());
        out.give(Delta::signed(rows, Some(signs)));
        Ok(())
    }

    /// Says what leaves in an epoch, and what goes.
    fn begin_close(&mut self, context: &EpochContext) -> Result<VecDeque<Leaving>> {
        let mut leaving = VecDeque::new();
        let is_data = context.kind == EpochKind::Data;
        for bucket in std::mem::take(&mut self.touched) {
            let Some(table) = self.tables.get_mut(&bucket) else {
                continue;
            };
            let before = table.bytes();
            let touched = table.touched.take();
            self.bytes = self.bytes + table.bytes() - before;
            self.report.rows_updated += touched.len() as u64;
            match self.spec.mode {
                OutputMode::Update => leaving.push_back(Leaving::Groups(bucket, touched)),
                OutputMode::Changes => {
                    let was = std::mem::take(&mut table.before);
                    leaving.push_back(Leaving::Before(bucket, was, GroupSet::default()));
                    leaving.push_back(Leaving::Groups(bucket, touched));
                }
                OutputMode::Append | OutputMode::Complete => {}
                other => {
                    return Err(OperatorError::contract(format!(
                        "no aggregation in mode {other}"
                    )));
                }
            }
        }
        if self.spec.mode == OutputMode::Complete && is_data {
            let all = self
                .tables
                .keys()
                .map(|bucket| (*bucket, self.all(*bucket)));
            leaving.extend(all.map(|(bucket, groups)| Leaving::Groups(bucket, groups)));
        }
        if self.drops_late() {
            // Buckets stand in the order in which they close.
            let closures = self.tables.keys();
            let closures = closures
                .map(|bucket| (*bucket, self.buckets.closure(*bucket, context.marks.evict)))
                .take_while(|(_, closure)| *closure != Closure::Open);
            leaving.extend(closures.map(|(bucket, closure)| Leaving::Close(bucket, closure)));
        }
        Ok(leaving)
    }

    /// Emits or removes something; what it leads to comes first among what follows.
    fn work_off(
        &mut self,
        one: Leaving,
        leaving: &mut VecDeque<Leaving>,
        (mark, out): (Watermark, &mut Emitter),
    ) -> Result<()> {
        match one {
            Leaving::Groups(bucket, groups) => {
                if let Some(rest) = self.emit(bucket, groups, out)? {
                    leaving.push_front(rest);
                }
            }
            Leaving::Before(bucket, mut was, mut unchanged) => match was.pop_front() {
                Some(some) => {
                    self.take_back(bucket, some, &mut unchanged, out)?;
                    leaving.push_front(Leaving::Before(bucket, was, unchanged));
                }
                None => {
                    if let Some(Leaving::Groups(_, groups)) = leaving.front_mut() {
                        groups.retain(|group| !unchanged.has(*group));
                    }
                }
            },
            Leaving::Close(bucket, closure) => {
                let gone = self.closed_groups(bucket, closure, mark)?;
                let closes = closure == Closure::Closed;
                if closes {
                    leaving.push_front(Leaving::Remove(bucket));
                } else if !gone.is_empty() {
                    leaving.push_front(Leaving::RemoveSome(bucket, gone.clone()));
                }
                if self.spec.mode == OutputMode::Append && (closes || !gone.is_empty()) {
                    leaving.push_front(Leaving::Groups(bucket, gone));
                }
            }
            Leaving::Remove(bucket) => {
                self.take_out(bucket);
                self.state.forget(bucket);
            }
            Leaving::RemoveSome(bucket, gone) => self.remove_some(bucket, gone)?,
        }
        Ok(())
    }

    /// The groups of a bucket that a mark closes.
    fn closed_groups(&self, bucket: Bucket, closure: Closure, mark: Watermark) -> Result<Vec<u32>> {
        let mut all = self.all(bucket);
        if closure != Closure::Closed {
            let keys = self.tables[&bucket].groups.key_columns(&all)?;
            let closed = self.buckets.closed_rows(&keys[0], mark)?;
            all.retain(|group| closed.value(*group as usize));
        }
        Ok(all)
    }

    /// Takes the groups of a bucket out of the tables.
    fn take_out(&mut self, bucket: Bucket) -> Option<Box<BucketGroups>> {
        let old = self.tables.remove(&bucket)?;
        self.live -= old.live;
        self.bytes -= old.bytes();
        self.report.rows_removed += old.live;
        Some(old)
    }

    /// Removes groups of a bucket; those that stay are put into a new table.
    fn remove_some(&mut self, bucket: Bucket, mut gone: Vec<u32>) -> Result<()> {
        let Some(old) = self.take_out(bucket) else {
            return Ok(());
        };
        let mut is_gone = GroupSet::default();
        is_gone.mark(&gone, old.groups.len());
        let mut stay = old.groups.all();
        stay.retain(|group| !is_gone.has(*group));
        // Groups without rows go, too; whoever reads the snapshot must know.
        let empty = stay.iter().copied();
        gone.extend(empty.filter(|group| old.groups.rows_of(*group) == 0));
        stay.retain(|group| old.groups.rows_of(*group) != 0);
        for some in old.groups.portions(&gone) {
            let keys = old.groups.key_columns(some)?;
            self.state.remove(bucket, &keys, some.len())?;
        }
        if stay.is_empty() {
            self.state.leave(bucket);
            return Ok(());
        }
        self.report.rows_removed -= stay.len() as u64;
        let table = self.table(bucket)?;
        for some in old.groups.portions(&stay) {
            let (keys, states) = (old.groups.key_columns(some)?, old.groups.states(some)?);
            let groups = table.groups.intern(&keys, some.len())?;
            table.groups.merge(&groups, &states)?;
            let pairs = some.iter().zip(&groups);
            let unsaved = pairs.filter(|(before, _)| old.unsaved.has(**before));
            let unsaved: Vec<u32> = unsaved.map(|(_, now)| *now).collect();
            table.unsaved.mark(&unsaved, table.groups.len());
            table.groups.recycle(groups);
        }
        table.live = stay.len() as u64;
        let bytes = table.bytes();
        self.live += stay.len() as u64;
        self.bytes += bytes;
        Ok(())
    }
}

impl BucketGroups {
    fn bytes(&self) -> usize {
        self.groups.bytes()
            + self.touched.bytes()
            + self.unsaved.bytes()
            + size_of::<BucketGroups>()
            + PLACE_BYTES
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
        let mut leaving = match self.closing.take() {
            Some(leaving) => leaving,
            None => {
                if self.holds_all && context.kind == EpochKind::Data {
                    self.touch_all()?;
                }
                self.begin_close(context)?
            }
        };
        while let Some(one) = leaving.pop_front() {
            self.work_off(one, &mut leaving, (context.marks.evict, out))?;
            if out.is_full() && !leaving.is_empty() {
                self.closing = Some(leaving);
                return Ok(Progress::More);
            }
        }
        Ok(Progress::Done)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        for (bucket, table) in &mut self.tables {
            let table = &mut **table;
            let before = table.bytes();
            let changed = table.unsaved.take_in_order();
            self.bytes = self.bytes + table.bytes() - before;
            let keys_of = |groups: &[u32]| table.groups.key_columns(groups);
            held::tap(&mut self.state, *bucket, &table.groups, changed, keys_of)?;
        }
        Ok(self.state.tap())
    }

    fn report(&mut self) -> Option<OperatorReport> {
        let mut report = std::mem::take(&mut self.report);
        report.rows_total = self.live;
        report.bytes = (self.bytes + self.state.bytes()) as u64;
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
