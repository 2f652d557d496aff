//! The first row of each key: a join with the keys that were seen, of which those that match leave nothing.
//!
//! Which row is the first is told by its place in the input, so it does not depend on workers. Rows of an
//! epoch that are not known wait for its end; of each key the first leaves and the key is kept, until the
//! watermark says that no other row of it can come.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
};
use millstream_types::Epoch;

use super::{
    Expiry, JoinKind, JoinSpec, SideColumn, SideSpec,
    joining::{Arrived, not_late, pairs_at_once},
    pairs::Pairs,
    side::Side,
};
use crate::{
    aggregate::Seed,
    delta::Delta,
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    keys::KeyTable,
    sort::InOrder,
    state::{BucketChange, Ownership, Snapshots},
};

/// How long a key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLife {
    /// For ever; no row is late.
    Forever,
    /// Until the watermark reaches the time in this column, which is part of the key.
    Time {
        /// A column of timestamps in microseconds.
        column: usize,
    },
    /// Until the watermark reaches the time of the key's first row and this much more.
    Within {
        /// A column of timestamps in microseconds.
        column: usize,
        /// Microseconds.
        delay: i64,
    },
}

/// What makes rows the same.
#[derive(Clone, Debug)]
pub struct DedupSpec {
    /// The columns that arrive.
    pub schema: SchemaRef,
    /// How many of them leave, from the first on.
    pub given: usize,
    /// The columns that make rows the same; nulls are equal.
    pub keys: Vec<usize>,
    /// How long a key is kept.
    pub life: KeyLife,
    /// Microseconds of event time that are kept together.
    pub bucket: i64,
}

impl DedupSpec {
    /// The columns that leave.
    #[must_use]
    pub fn output(&self) -> SchemaRef {
        if self.given == self.schema.fields().len() {
            return self.schema.clone();
        }
        Arc::new(Schema::new(self.schema.fields()[..self.given].to_vec()))
    }

    /// The column by which rows are late.
    fn time(&self) -> Option<usize> {
        match self.life {
            KeyLife::Forever => None,
            KeyLife::Time { column } | KeyLife::Within { column, .. } => Some(column),
        }
    }

    /// The join with the keys that were seen: rows on the left, keys with the times of their ends on the
    /// right.
    fn join(&self) -> JoinSpec {
        let mut fields: Vec<Field> = self
            .keys
            .iter()
            .map(|key| self.schema.field(*key).as_ref().clone().with_nullable(true))
            .collect();
        let ends = DataType::Timestamp(TimeUnit::Microsecond, None);
        fields.push(Field::new("__end", ends, true));
        let ends = fields.len() - 1;
        let side = |schema: SchemaRef, keys: Vec<usize>, expiry: Option<Expiry>| SideSpec {
            schema,
            keys,
            alone: None,
            late: None,
            expiry,
            retracting: false,
        };
        let expiry = Expiry {
            column: ends,
            shift_ms: 0,
            bucket: self.bucket,
            is_compared: false,
        };
        let goes = self.life != KeyLife::Forever;
        JoinSpec {
            kind: JoinKind::LeftAnti,
            sides: [
                side(self.schema.clone(), self.keys.clone(), None),
                side(
                    Arc::new(Schema::new(fields)),
                    (0..self.keys.len()).collect(),
                    goes.then_some(expiry),
                ),
            ],
            nulls_match: true,
            residual: None,
            columns: (0..self.given)
                .map(|column| SideColumn { side: 0, column })
                .collect(),
            output: self.output(),
            changes: false,
            is_once: false,
        }
    }
}

/// Lets the first row of each key through.
pub struct Dedup {
    spec: DedupSpec,
    join: Arc<JoinSpec>,
    pairs: Pairs,
    seen: Side,
    /// Rows of the open epoch whose keys were not seen before it.
    waiting: Vec<Delta>,
    waiting_rows: usize,
    /// Those that are the first of their keys, while they leave.
    leaving: Option<First>,
    is_settled: bool,
    report: OperatorReport,
}

/// The rows of an epoch in order, and the keys among them that have left.
struct First {
    rows: InOrder,
    keys: KeyTable,
}

impl std::fmt::Debug for Dedup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dedup")
            .field("keys", &self.spec.keys)
            .field("life", &self.spec.life)
            .finish_non_exhaustive()
    }
}

/// Rows that wait before all but the first of each key are dropped.
#[cfg(not(test))]
const WAITING_MAX: usize = 256 * 1024;
/// So low that the tests of this crate reach it.
#[cfg(test)]
const WAITING_MAX: usize = 8;

impl Dedup {
    /// The operator for a spec, with its keys from a snapshot.
    ///
    /// # Errors
    /// When a snapshot piece is of another query.
    pub fn new(
        spec: DedupSpec,
        seed: Option<&Seed>,
        ownership: Ownership,
        snapshots: Snapshots,
    ) -> Result<Dedup> {
        let join = Arc::new(spec.join());
        let mut seen = Side::new(&join.sides[1], 0, false, snapshots);
        for pieces in seed.iter().flat_map(|seed| seed.pieces.values()) {
            seen.seed(pieces, ownership)?;
        }
        Ok(Dedup {
            spec,
            pairs: Pairs::new(join.clone()),
            join,
            seen,
            waiting: Vec::new(),
            waiting_rows: 0,
            leaving: None,
            is_settled: false,
            report: OperatorReport::default(),
        })
    }

    /// What the watermark had closed before the start is in the snapshot still, where only a part of its
    /// bucket was.
    fn settle(&mut self, context: &EpochContext) {
        if std::mem::replace(&mut self.is_settled, true) {
            return;
        }
        if let Some(expiry) = self.join.sides[1].expiry {
            while let Some(gone) = self.seen.expired(expiry.bound(context.marks.late)) {
                self.seen.release(&gone);
            }
        }
    }

    /// The rows of a delta whose keys were not seen.
    fn unseen(&self, delta: &Delta) -> Result<Delta> {
        let keys = &self.spec.keys;
        let mut arrived =
            Arrived::new(&self.join, 0, delta, |rows| super::side::hashes(rows, keys))?;
        while !arrived.is_done() {
            let limit = pairs_at_once(&arrived.rows, &self.seen);
            let (rows, slots) = arrived.candidates(&self.seen, limit, true, |_| true);
            if rows.is_empty() {
                continue;
            }
            let matched = self
                .pairs
                .matched(0, (&arrived.rows, rows), (&self.seen, slots))?;
            for row in &matched.rows {
                arrived.matches[*row as usize] = 1;
            }
        }
        let mask: BooleanArray = arrived
            .matches
            .iter()
            .map(|matches| Some(*matches == 0))
            .collect();
        delta.filter(&mask)
    }

    fn keys_of(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        let keys = self.spec.keys.iter();
        keys.map(|key| rows.column(*key).clone()).collect()
    }

    fn first(&mut self) -> Result<First> {
        self.waiting_rows = 0;
        let schema = &self.spec.schema;
        let types: Vec<DataType> = self
            .spec
            .keys
            .iter()
            .map(|key| schema.field(*key).data_type().clone())
            .collect();
        Ok(First {
            rows: InOrder::of_input(std::mem::take(&mut self.waiting))?,
            keys: KeyTable::new(&types)?,
        })
    }

    /// The next of the rows that are the first of their keys.
    fn next(&self, first: &mut First) -> Result<Option<Delta>> {
        let Some(rows) = first.rows.next()? else {
            return Ok(None);
        };
        let mut known = u32::try_from(first.keys.len()).unwrap_or(u32::MAX);
        let mut groups = Vec::new();
        let keys = self.keys_of(rows.batch());
        first.keys.intern(&keys, rows.rows(), &mut groups)?;
        let is_first = groups.iter().map(|group| {
            // Groups are numbered in the order in which they are seen first.
            let is_new = *group == known;
            known += u32::from(is_new);
            Some(is_new)
        });
        let mask: BooleanArray = is_first.collect();
        rows.filter(&mask).map(Some)
    }

    /// Keeps the keys of rows that leave.
    fn remember(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut columns = self.keys_of(rows);
        let times = self.spec.time().map(|column| rows.column(column));
        let ends: TimestampMicrosecondArray = match (times, self.spec.life) {
            (Some(times), life) => {
                let delay = match life {
                    KeyLife::Within { delay, .. } => delay,
                    KeyLife::Time { .. } | KeyLife::Forever => 0,
                };
                let times = times.as_primitive::<TimestampMicrosecondType>();
                // A row without a time is as old as can be.
                let ends = times.iter().map(|at| at.unwrap_or(0).saturating_add(delay));
                ends.map(Some).collect()
            }
            (None, _) => TimestampMicrosecondArray::new_null(rows.num_rows()),
        };
        columns.push(Arc::new(ends));
        let keys = RecordBatch::try_new(self.join.sides[1].schema.clone(), columns)
            .map_err(OperatorError::arrow("keeping keys"))?;
        let hashes = self.seen.hashes(&keys)?;
        self.seen.insert(&keys, &hashes, None)?;
        self.report.rows_updated += rows.num_rows() as u64;
        Ok(())
    }
}

impl EpochOperator for Dedup {
    fn on_delta(
        &mut self,
        context: &EpochContext,
        _port: usize,
        delta: Delta,
        _out: &mut Emitter,
    ) -> Result<()> {
        if delta.diff().is_some() {
            return Err(OperatorError::contract(
                "first rows of rows that are taken back",
            ));
        }
        self.settle(context);
        let (delta, late) = not_late(delta, self.spec.time(), context.marks.late)?;
        self.report.rows_late += late;
        let unseen = self.unseen(&delta)?;
        if unseen.rows() == 0 {
            return Ok(());
        }
        self.waiting_rows += unseen.rows();
        self.waiting.push(unseen);
        if self.waiting_rows > WAITING_MAX {
            let before = self.waiting_rows;
            let mut first = self.first()?;
            while let Some(rows) = self.next(&mut first)? {
                self.waiting_rows += rows.rows();
                self.waiting.push(rows);
            }
            // Where nearly every key is new, looking again for each row would not pay.
            if 2 * self.waiting_rows > before {
                self.waiting_rows = 0;
            }
        }
        Ok(())
    }

    fn on_close(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        self.settle(context);
        let mut first = match self.leaving.take() {
            Some(first) => first,
            None => self.first()?,
        };
        loop {
            if out.is_full() {
                self.leaving = Some(first);
                return Ok(Progress::More);
            }
            let Some(rows) = self.next(&mut first)? else {
                break;
            };
            if rows.rows() == 0 {
                continue;
            }
            self.remember(rows.batch())?;
            let given = self.pairs.alone(0, rows.batch())?;
            out.give(rows.with_columns(given));
        }
        let bound = self.join.sides[1]
            .expiry
            .map(|expiry| expiry.bound(context.marks.evict));
        if let Some(bound) = bound {
            while let Some(gone) = self.seen.expired(bound) {
                self.report.rows_removed += gone.len() as u64;
                self.seen.release(&gone);
            }
        }
        self.seen.tidy(bound)?;
        Ok(Progress::Done)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        self.seen.tap()
    }

    fn report(&mut self) -> Option<OperatorReport> {
        Some(OperatorReport {
            rows_total: self.seen.len() as u64,
            bytes: self.seen.bytes() as u64,
            ..std::mem::take(&mut self.report)
        })
    }
}
