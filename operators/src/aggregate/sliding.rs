//! Sliding windows over panes: rows are never multiplied, panes are combined when results leave.
//!
//! A row is added once, to the pane that holds it. A window is the sum of its panes, so a closing window
//! costs its groups and not its rows. What each part is there to prevent:
//!
//! - [`Panes`] hold what has come. If each window held its own groups, a day of windows a minute apart
//!   would hold every group 1440 times.
//! - A [`Sweep`] says what leaves, some windows at a time. If a close gave everything at once, a
//!   watermark that jumps would fill the sink's inbox with a day of windows before the sink could take
//!   the first.
//! - A window is late or not, a row is not: one whose oldest window is closed still counts for the open
//!   ones. If rows were dropped as a whole, open windows would lack them; if closed windows took them,
//!   they would leave twice.
//! - In mode `changes` panes note what touched groups were before the epoch: what is taken back must be
//!   what was given, and the panes have moved on by the time the window leaves.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions},
    datatypes::DataType,
};
use millstream_types::{Epoch, OutputMode, Watermark};

use super::{
    AggregateSpec, TimeKey, WindowSpec,
    buckets::{Buckets, window_struct},
    exchange::PartialGroups,
    groups::{Groups, state_schema},
    held,
    panes::Panes,
    partial::{keep, table_keys},
    sweep::{Block, Choice, Leaving, Sweep},
};
use crate::{
    board::EpochKind,
    delta::Delta,
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    rows::RowCodec,
    state::{Bucket, BucketChange, Ownership, Seed, Snapshots, StateTable},
};

/// Merges partial groups into panes, keeps state, publishes windows.
pub struct SlidingAggregate {
    spec: AggregateSpec,
    window: WindowSpec,
    buckets: Buckets,
    key_columns: usize,
    panes: Panes,
    state: StateTable,
    results: RowCodec,
    report: OperatorReport,
    /// What is still to leave in the epoch that closes.
    closing: Option<Closing>,
}

/// A close that is under way.
struct Closing {
    sweep: Option<Sweep>,
    /// Windows that are added up, and how many of their groups have left.
    block: Option<(Block, usize)>,
}

impl std::fmt::Debug for SlidingAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlidingAggregate")
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

impl SlidingAggregate {
    /// The operator for a spec, with the part of a snapshot that this worker owns.
    ///
    /// # Errors
    /// When a key or function has no form here, or a piece is of another query.
    pub fn new(
        spec: AggregateSpec,
        seed: Option<&Seed>,
        ownership: Ownership,
        snapshots: Snapshots,
    ) -> Result<SlidingAggregate> {
        let TimeKey::Window { spec: window, .. } = spec.time else {
            return Err(OperatorError::contract(
                "the sliding operator needs a window",
            ));
        };
        let buckets = Buckets::new(&spec)?;
        let keys = table_keys(&spec, &buckets);
        let key_fields = keys.fields().iter();
        let key_types: Vec<DataType> = key_fields.map(|field| field.data_type().clone()).collect();
        let results: Vec<DataType> = spec.output.fields()[spec.group_columns()..]
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let compares = spec.mode == OutputMode::Changes;
        let key_columns = key_types.len();
        let mut state =
            StateTable::new(0, &keys, &state_schema(&spec.calls)?, buckets.placement())?;
        let mut panes = Panes::new(window, key_types, &spec.calls, compares)?;
        // What is read is what is stored.
        state.restore(seed, ownership, |bucket, keys, states, rows| {
            panes.merge(bucket.0, keys, states, rows)
        })?;
        panes.settle();
        panes.note_changes(snapshots);
        Ok(SlidingAggregate {
            state,
            key_columns,
            panes,
            results: RowCodec::new(&results)?.exact(),
            spec,
            window,
            buckets,
            report: OperatorReport::default(),
            closing: None,
        })
    }

    fn drops_late(&self) -> bool {
        self.buckets.can_close() && self.spec.mode != OutputMode::Complete
    }

    /// A mark on the scale of event times, where windows close at all.
    fn closing_at(&self, mark: Watermark) -> Option<i64> {
        self.drops_late().then(|| mark.micros())
    }

    /// Says what leaves in an epoch.
    fn begin_close(&mut self, context: &EpochContext) -> Result<Closing> {
        let after = self.closing_at(context.marks.late);
        if let Some(mark) = after {
            self.panes.begin_after(mark);
        }
        let choice = match self.spec.mode {
            OutputMode::Update | OutputMode::Changes => Some(Choice::Touched(self.panes.touched())),
            OutputMode::Append => self
                .closing_at(context.marks.evict)
                .map(|mark| Choice::Whole { last: Some(mark) }),
            OutputMode::Complete if context.kind == EpochKind::Data => {
                Some(Choice::Whole { last: None })
            }
            OutputMode::Complete => None,
            other => {
                return Err(OperatorError::contract(format!(
                    "no aggregation in mode {other}"
                )));
            }
        };
        Ok(Closing {
            sweep: choice.map(|choice| Sweep::new(choice, after)),
            block: None,
        })
    }

    /// Emits some of what leaves; `true` when nothing is left.
    fn publish(&mut self, closing: &mut Closing, out: &mut Emitter) -> Result<bool> {
        while !out.is_full() {
            let Some((block, at)) = &mut closing.block else {
                let Some(sweep) = &mut closing.sweep else {
                    return Ok(true);
                };
                let compares = self.spec.mode == OutputMode::Changes;
                closing.block = sweep
                    .next(&mut self.panes, &self.spec.calls, compares)?
                    .map(|block| (block, 0));
                if closing.block.is_none() {
                    closing.sweep = None;
                }
                continue;
            };
            let some = block
                .now
                .portion(&block.leaving[*at..], |leaving| leaving.group);
            *at += some.len();
            self.emit(block, some, out)?;
            if *at == block.leaving.len() {
                closing.block = None;
            }
        }
        Ok(false)
    }

    /// Emits groups of windows, or how they differ from what they were.
    fn emit(&self, block: &Block, some: &[Leaving], out: &mut Emitter) -> Result<()> {
        if some.is_empty() {
            return Ok(());
        }
        let groups: Vec<u32> = some.iter().map(|leaving| leaving.group).collect();
        let new = block.now.results(&groups)?;
        let Some(before) = &block.before else {
            out.give(Delta::insertions(self.rows(some, new)?));
            return Ok(());
        };
        let old = before.results(&groups)?;
        let (gone, come) = self.differences((before, &old), (&block.now, &new), &groups)?;
        let taken = keep(&self.rows(some, old)?, &gone)?;
        let signs = Int64Array::from_value(-1, taken.num_rows());
        out.give(Delta::signed(taken, Some(signs)));
        let given = keep(&self.rows(some, new)?, &come)?;
        out.give(Delta::insertions(given));
        Ok(())
    }

    /// Which of some groups are taken back, and which are given.
    fn differences(
        &self,
        (was, old): (&Groups, &[ArrayRef]),
        (is, new): (&Groups, &[ArrayRef]),
        groups: &[u32],
    ) -> Result<(BooleanArray, BooleanArray)> {
        let (old_rows, new_rows) = (self.results.encode(old)?, self.results.encode(new)?);
        let mut gone = Vec::with_capacity(groups.len());
        let mut come = Vec::with_capacity(groups.len());
        for (row, group) in groups.iter().enumerate() {
            let (had, has) = (was.rows_of(*group) != 0, is.rows_of(*group) != 0);
            let same = old.is_empty() || old_rows.row(row) == new_rows.row(row);
            gone.push(had && !(has && same));
            come.push(has && !(had && same));
        }
        Ok((gone.into(), come.into()))
    }

    /// Groups of windows as the query sees them.
    fn rows(&self, some: &[Leaving], results: Vec<ArrayRef>) -> Result<RecordBatch> {
        let keys: Vec<u32> = some.iter().map(|leaving| leaving.key).collect();
        let mut columns = self.panes.key_columns(&keys)?;
        let bound = |before: i64| -> ArrayRef {
            let ends = some.iter().map(|leaving| leaving.end - before);
            Arc::new(Int64Array::from_iter_values(ends))
        };
        let field = self.spec.output.field(self.spec.time_position);
        let time = window_struct(&[bound(self.window.size), bound(0)], field)?;
        columns.insert(self.spec.time_position, time);
        columns.extend(results);
        let options = RecordBatchOptions::new().with_row_count(Some(some.len()));
        RecordBatch::try_new_with_options(self.spec.output.clone(), columns, &options)
            .map_err(OperatorError::arrow("making result rows"))
    }

    fn evict(&mut self, mark: Watermark) -> Result<()> {
        let Some(mark) = self.closing_at(mark) else {
            return Ok(());
        };
        let SlidingAggregate { panes, state, .. } = self;
        self.report.rows_removed += panes.evict(mark, |end| state.forget(Bucket(end)))?;
        Ok(())
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
        let Some((bucket, groups)) = PartialGroups::read(delta.batch(), self.key_columns) else {
            return Ok(());
        };
        let end = bucket.0;
        let late = self.closing_at(context.marks.late);
        if let Some(mark) = late {
            self.panes.begin_after(mark);
        }
        let (closed, all) = self.panes.closed_over(end, late);
        if closed > 0 {
            self.report.rows_late += closed * groups.rows();
        }
        if closed == all {
            return Ok(());
        }
        self.panes
            .merge(end, groups.keys(), groups.states(), groups.len())
    }

    fn on_close(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        let mut closing = match self.closing.take() {
            Some(closing) => closing,
            None => self.begin_close(context)?,
        };
        if !self.publish(&mut closing, out)? {
            self.closing = Some(closing);
            return Ok(Progress::More);
        }
        self.report.rows_updated += self.panes.settle();
        self.evict(context.marks.evict)?;
        Ok(Progress::Done)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        let SlidingAggregate { panes, state, .. } = self;
        for end in panes.unsaved_panes() {
            let changed = panes.take_unsaved(end);
            let Some(pane) = panes.get(end) else { continue };
            let keys_of = |groups: &[u32]| panes.keys_of(&pane.groups, groups);
            held::tap(state, Bucket(end), &pane.groups, changed, keys_of)?;
        }
        Ok(self.state.tap())
    }

    fn report(&mut self) -> Option<OperatorReport> {
        let mut report = std::mem::take(&mut self.report);
        report.rows_total = self.panes.counts().total();
        report.bytes = (self.panes.bytes() + self.state.bytes()) as u64;
        if self.drops_late() {
            report.oldest_end = self.panes.counts().oldest();
        }
        Some(report)
    }
}
