//! Sliding windows over panes: rows are never multiplied, panes are combined when results leave.
//!
//! A row is added once, to the pane that holds it. A window is the sum of its panes, so a closing
//! window costs its groups, not its rows. Late is a (row, window) pair whose window is closed: a row
//! whose oldest window is closed still counts for the open ones, and what is closed never re-emits.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Int64Type},
};
use hashbrown::{HashMap, HashSet};
use millstream_types::{Epoch, EventTime, OutputMode, Watermark};

use super::{
    AggregateSpec, Seed, TimeKey, WindowSpec,
    buckets::Buckets,
    groups::{Groups, in_batches, state_schema},
    marked::{Marked, Spread},
    partial::{keep, table_keys},
};
use crate::{
    board::EpochKind,
    delta::Delta,
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    keyhash::hash_keys,
    rows::RowCodec,
    state::{Bucket, BucketChange, Ownership, StateTable},
};

/// The groups of one pane.
struct Pane {
    groups: Groups,
    /// Touched in this epoch.
    touched: Marked,
    /// Changed since the last snapshot.
    dirty: Marked,
}

/// The keys of one open window, by their hashes: what makes the number of window groups known.
enum WindowKeys {
    /// Where rows stay, a key that is there stays.
    Set(HashSet<u64, Spread>),
    /// Where rows are taken back, a key goes with its last row.
    Rows(HashMap<u64, i64, Spread>),
}

impl WindowKeys {
    fn new(retracting: bool) -> WindowKeys {
        if retracting {
            WindowKeys::Rows(HashMap::default())
        } else {
            WindowKeys::Set(HashSet::default())
        }
    }

    fn add(&mut self, hashes: &[u64], rows: &[i64]) {
        match self {
            WindowKeys::Set(keys) => keys.extend(hashes),
            WindowKeys::Rows(keys) => {
                for (hash, rows) in hashes.iter().zip(rows) {
                    let held = keys.entry(*hash).or_insert(0);
                    *held += rows;
                    if *held == 0 {
                        keys.remove(hash);
                    }
                }
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            WindowKeys::Set(keys) => keys.len(),
            WindowKeys::Rows(keys) => keys.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            WindowKeys::Set(keys) => keys.capacity() * 9,
            WindowKeys::Rows(keys) => keys.capacity() * 17,
        }
    }
}

/// Merges partial groups into panes, keeps state, publishes windows.
pub struct SlidingAggregate {
    spec: AggregateSpec,
    window: WindowSpec,
    buckets: Buckets,
    key_types: Vec<DataType>,
    panes: BTreeMap<Bucket, Pane>,
    /// The keys of each open window.
    keys_of: BTreeMap<i64, WindowKeys>,
    /// Partial groups of the epoch in mode `changes`, which must see the panes as they were.
    pending: Vec<(Bucket, RecordBatch)>,
    state: StateTable,
    results: RowCodec,
    report: OperatorReport,
}

impl std::fmt::Debug for SlidingAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlidingAggregate")
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// Keys of one window that an epoch touched, as pieces of key columns.
type TouchedKeys = BTreeMap<i64, Vec<(Vec<ArrayRef>, usize)>>;

impl SlidingAggregate {
    /// The operator for a spec, with the part of a snapshot that this worker owns.
    ///
    /// # Errors
    /// When a key or function has no form here, or a piece is of another query.
    pub fn new(
        spec: AggregateSpec,
        seed: Option<&Seed>,
        ownership: Ownership,
    ) -> Result<SlidingAggregate> {
        let TimeKey::Window { spec: window, .. } = spec.time else {
            return Err(OperatorError::contract(
                "the sliding operator needs a window",
            ));
        };
        let buckets = Buckets::new(&spec)?;
        let keys = table_keys(&spec, &buckets);
        let states = state_schema(&spec.calls)?;
        let results: Vec<DataType> = spec.output.fields()[spec.group_columns()..]
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let mut sliding = SlidingAggregate {
            state: StateTable::new(0, &keys, &states, buckets.spread())?,
            key_types: keys
                .fields()
                .iter()
                .map(|field| field.data_type().clone())
                .collect(),
            results: RowCodec::new(&results)?,
            spec,
            window,
            buckets,
            panes: BTreeMap::new(),
            keys_of: BTreeMap::new(),
            pending: Vec::new(),
            report: OperatorReport::default(),
        };
        if let Some(seed) = seed {
            for ((_, bucket), pieces) in &seed.pieces {
                sliding.restore(*bucket, seed.epoch, pieces, ownership)?;
            }
        }
        Ok(sliding)
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
        self.note_keys(bucket, (keys, states), held.num_rows(), Watermark::START)?;
        let pane = self.pane(bucket)?;
        let groups = pane.groups.intern(keys, held.num_rows())?;
        pane.groups.merge(&groups, states)
    }

    fn pane(&mut self, bucket: Bucket) -> Result<&mut Pane> {
        use std::collections::btree_map::Entry;
        match self.panes.entry(bucket) {
            Entry::Occupied(pane) => Ok(pane.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Pane {
                groups: Groups::new(&self.key_types, &self.spec.calls)?,
                touched: Marked::default(),
                dirty: Marked::default(),
            })),
        }
    }

    fn drops_late(&self) -> bool {
        self.buckets.can_close() && self.spec.mode != OutputMode::Complete
    }

    fn is_closed(&self, end: i64, mark: Watermark) -> bool {
        self.drops_late() && mark.closes_window(EventTime(end))
    }

    /// Notes keys as belonging to the open windows over a pane.
    fn note_keys(
        &mut self,
        bucket: Bucket,
        (keys, states): (&[ArrayRef], &[ArrayRef]),
        rows: usize,
        late: Watermark,
    ) -> Result<()> {
        let hashes = hash_keys(0, keys, rows)?;
        let rows = states.last().map(|rows| rows.as_primitive::<Int64Type>());
        let rows = rows.map_or(&[][..], |rows| &rows.values()[..]);
        let retracting = self.spec.retracting;
        for end in self.window.ends_covering(bucket.0) {
            if !self.is_closed(end, late) {
                let keys = self.keys_of.entry(end);
                keys.or_insert_with(|| WindowKeys::new(retracting))
                    .add(&hashes, rows);
            }
        }
        Ok(())
    }

    fn merge(&mut self, bucket: Bucket, batch: &RecordBatch, late: Watermark) -> Result<()> {
        let (keys, states) = batch.columns()[1..].split_at(self.key_types.len());
        self.note_keys(bucket, (keys, states), batch.num_rows(), late)?;
        let pane = self.pane(bucket)?;
        let groups = pane.groups.intern(keys, batch.num_rows())?;
        let size = pane.groups.len();
        pane.touched.mark(&groups, size);
        pane.dirty.mark(&groups, size);
        pane.groups.merge(&groups, states)?;
        pane.groups.recycle(groups);
        Ok(())
    }

    /// The panes that make up a window.
    fn panes_of(&self, end: i64) -> impl Iterator<Item = &Pane> {
        let first = Bucket(end - self.window.size + 1);
        self.panes.range(first..=Bucket(end)).map(|(_, pane)| pane)
    }

    /// All groups of a window.
    fn whole_window(&self, end: i64) -> Result<Groups> {
        let mut window = Groups::new(&self.key_types, &self.spec.calls)?;
        for pane in self.panes_of(end) {
            for groups in in_batches(&pane.groups.all()) {
                let keys = pane.groups.key_columns(groups)?;
                let found = window.intern(&keys, groups.len())?;
                window.merge(&found, &pane.groups.states(groups)?)?;
                window.recycle(found);
            }
        }
        Ok(window)
    }

    /// The groups of a window that have one of some keys; a group without rows is not there yet.
    fn part_of_window(&self, end: i64, keys: &[(Vec<ArrayRef>, usize)]) -> Result<Groups> {
        let mut window = Groups::new(&self.key_types, &self.spec.calls)?;
        for (columns, rows) in keys {
            let groups = window.intern(columns, *rows)?;
            window.recycle(groups);
        }
        let wanted = window.all();
        for chunk in in_batches(&wanted) {
            let columns = window.key_columns(chunk)?;
            for pane in self.panes_of(end) {
                let found = pane.groups.find(&columns, chunk.len())?;
                let (to, from): (Vec<u32>, Vec<u32>) = chunk
                    .iter()
                    .zip(&found)
                    .filter_map(|(to, from)| from.map(|from| (*to, from)))
                    .unzip();
                if !to.is_empty() {
                    window.merge(&to, &pane.groups.states(&from)?)?;
                }
            }
        }
        Ok(window)
    }

    /// Rows of a window as the query sees them.
    fn rows(
        &self,
        end: i64,
        window: &Groups,
        groups: &[u32],
        results: Vec<ArrayRef>,
    ) -> Result<RecordBatch> {
        let mut columns = window.key_columns(groups)?;
        let field = self.spec.output.field(self.spec.time_position);
        let time =
            super::buckets::window_column((end - self.window.size, end), groups.len(), field)?;
        columns.insert(self.spec.time_position, time);
        columns.extend(results);
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        RecordBatch::try_new_with_options(self.spec.output.clone(), columns, &options)
            .map_err(OperatorError::arrow("making result rows"))
    }

    fn emit(&self, end: i64, window: &Groups, out: &mut Emitter) -> Result<()> {
        let alive: Vec<u32> = window
            .all()
            .into_iter()
            .filter(|group| window.rows_of(*group) != 0)
            .collect();
        for groups in in_batches(&alive) {
            let results = window.results(groups)?;
            out.give(Delta::insertions(self.rows(end, window, groups, results)?));
        }
        Ok(())
    }

    /// Keys that the epoch touched, by the windows that are not late.
    fn touched_keys(&mut self, late: Watermark) -> Result<TouchedKeys> {
        let mut touched = TouchedKeys::new();
        let window = self.window;
        let ends_of = |bucket: &Bucket| window.ends_covering(bucket.0).collect::<Vec<_>>();
        let mut pieces = Vec::new();
        for (bucket, batch) in &self.pending {
            let keys = batch.columns()[1..=self.key_types.len()].to_vec();
            pieces.push((ends_of(bucket), keys, batch.num_rows()));
        }
        for (bucket, pane) in &mut self.panes {
            let groups = pane.touched.take();
            self.report.rows_updated += groups.len() as u64;
            for groups in in_batches(&groups) {
                pieces.push((
                    ends_of(bucket),
                    pane.groups.key_columns(groups)?,
                    groups.len(),
                ));
            }
        }
        for (ends, keys, rows) in pieces {
            for end in ends.into_iter().filter(|end| !self.is_closed(*end, late)) {
                touched.entry(end).or_default().push((keys.clone(), rows));
            }
        }
        Ok(touched)
    }

    fn publish_update(&mut self, late: Watermark, out: &mut Emitter) -> Result<()> {
        for (end, keys) in self.touched_keys(late)? {
            let window = self.part_of_window(end, &keys)?;
            self.emit(end, &window, out)?;
        }
        Ok(())
    }

    /// Takes back what touched groups were and gives what they are, where that differs.
    fn publish_changes(&mut self, late: Watermark, out: &mut Emitter) -> Result<()> {
        let touched = self.touched_keys(late)?;
        let mut before = Vec::with_capacity(touched.len());
        for (end, keys) in &touched {
            before.push(self.part_of_window(*end, keys)?);
        }
        for (bucket, batch) in std::mem::take(&mut self.pending) {
            self.merge(bucket, &batch, late)?;
        }
        for pane in self.panes.values_mut() {
            pane.touched.take();
        }
        for ((end, keys), was) in touched.iter().zip(&before) {
            let is = self.part_of_window(*end, keys)?;
            self.emit_difference(*end, was, &is, out)?;
        }
        Ok(())
    }

    /// Both tables hold the same keys under the same numbers.
    fn emit_difference(
        &self,
        end: i64,
        was: &Groups,
        is: &Groups,
        out: &mut Emitter,
    ) -> Result<()> {
        for groups in in_batches(&was.all()) {
            let (old, new) = (was.results(groups)?, is.results(groups)?);
            let (old_rows, new_rows) = (self.results.encode(&old)?, self.results.encode(&new)?);
            let mut gone = Vec::with_capacity(groups.len());
            let mut come = Vec::with_capacity(groups.len());
            for (row, group) in groups.iter().enumerate() {
                let (had, has) = (was.rows_of(*group) != 0, is.rows_of(*group) != 0);
                let same = old.is_empty() || old_rows.row(row) == new_rows.row(row);
                gone.push(had && !(has && same));
                come.push(has && !(had && same));
            }
            let taken = self.rows(end, was, groups, old)?;
            let taken = keep(&taken, &BooleanArray::from(gone))?;
            let signs = Int64Array::from_value(-1, taken.num_rows());
            out.give(Delta::signed(taken, Some(signs)));
            let given = self.rows(end, is, groups, new)?;
            out.give(Delta::insertions(keep(&given, &BooleanArray::from(come))?));
        }
        Ok(())
    }

    /// Ends of all windows over panes that are there.
    fn window_ends(&self) -> BTreeSet<i64> {
        self.panes
            .keys()
            .flat_map(|bucket| self.window.ends_covering(bucket.0))
            .collect()
    }

    fn publish(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<()> {
        let marks = context.marks;
        match self.spec.mode {
            OutputMode::Update => return self.publish_update(marks.late, out),
            OutputMode::Changes => return self.publish_changes(marks.late, out),
            OutputMode::Append => {
                let closing = self.window_ends().into_iter().filter(|end| {
                    self.is_closed(*end, marks.evict) && !self.is_closed(*end, marks.late)
                });
                for end in closing {
                    self.emit(end, &self.whole_window(end)?, out)?;
                }
            }
            OutputMode::Complete if context.kind == EpochKind::Data => {
                for end in self.window_ends() {
                    self.emit(end, &self.whole_window(end)?, out)?;
                }
            }
            OutputMode::Complete => {}
            other => {
                return Err(OperatorError::contract(format!(
                    "no aggregation in mode {other}"
                )));
            }
        }
        for pane in self.panes.values_mut() {
            self.report.rows_updated += pane.touched.take().len() as u64;
        }
        Ok(())
    }

    fn evict(&mut self, mark: Watermark) {
        if !self.drops_late() {
            return;
        }
        while let Some(entry) = self.keys_of.first_entry() {
            if !mark.closes_window(EventTime(*entry.key())) {
                break;
            }
            self.report.rows_removed += entry.remove().len() as u64;
        }
        let window = self.window;
        self.panes.retain(|bucket, _| {
            let last = window.ends_covering(bucket.0).next().unwrap_or(bucket.0);
            !mark.closes_window(EventTime(last))
        });
        let panes = &self.panes;
        self.state.retain(|bucket| panes.contains_key(&bucket));
    }
}

impl EpochOperator for SlidingAggregate {
    fn on_delta(
        &mut self,
        context: &EpochContext,
        _port: usize,
        delta: Delta,
        _out: &mut Emitter,
    ) -> Result<()> {
        let batch = delta.batch();
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let bucket = Bucket(batch.column(0).as_primitive::<Int64Type>().value(0));
        let late = context.marks.late;
        let (mut closed, mut open) = (0, 0);
        for end in self.window.ends_covering(bucket.0) {
            if self.is_closed(end, late) {
                closed += 1
            } else {
                open += 1
            }
        }
        if closed > 0 {
            let rows = batch
                .column(batch.num_columns() - 1)
                .as_primitive::<Int64Type>();
            let rows: u64 = rows.values().iter().map(|rows| rows.unsigned_abs()).sum();
            self.report.rows_late += closed * rows;
        }
        if open == 0 {
            Ok(())
        } else if self.spec.mode == OutputMode::Changes {
            self.pending.push((bucket, batch.clone()));
            Ok(())
        } else {
            self.merge(bucket, batch, late)
        }
    }

    fn on_close(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        self.publish(context, out)?;
        self.evict(context.marks.evict);
        Ok(Progress::Done)
    }

    fn tap(&mut self, epoch: Epoch) -> Result<Vec<BucketChange>> {
        for (bucket, pane) in &mut self.panes {
            let changed = pane.dirty.take();
            let (alive, gone): (Vec<u32>, Vec<u32>) = changed
                .into_iter()
                .partition(|group| pane.groups.rows_of(*group) != 0);
            if !gone.is_empty() {
                let keys = pane.groups.key_columns(&gone)?;
                self.state.remove(*bucket, epoch, &keys, gone.len())?;
            }
            if !alive.is_empty() {
                let (keys, states) = (
                    pane.groups.key_columns(&alive)?,
                    pane.groups.states(&alive)?,
                );
                self.state
                    .upsert(*bucket, epoch, &keys, &states, alive.len())?;
            }
        }
        self.state.tap()
    }

    fn report(&mut self) -> Option<OperatorReport> {
        let mut report = std::mem::take(&mut self.report);
        report.rows_total = self.keys_of.values().map(|keys| keys.len() as u64).sum();
        let panes: usize = self.panes.values().map(|pane| pane.groups.bytes()).sum();
        let keys: usize = self.keys_of.values().map(|keys| keys.bytes()).sum();
        report.bytes = (panes + keys + self.state.bytes()) as u64;
        if self.drops_late() {
            report.oldest_end = self.keys_of.first_key_value().map(|(end, _)| *end);
        }
        Some(report)
    }
}
