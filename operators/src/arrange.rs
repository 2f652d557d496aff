//! ORDER BY and LIMIT: operators that see the rows of an epoch in one place.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    compute::{self, SortColumn as ArrowSortColumn, SortOptions},
    datatypes::{DataType, Field, Schema},
};
use millstream_types::Epoch;

use crate::{
    aggregate::Seed,
    delta::{BATCH_ROWS_MAX, Delta},
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    state::{Bucket, BucketChange, Ownership, Spread, StateTable},
};

/// One column of an ordering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortColumn {
    /// Which column of the input.
    pub column: usize,
    /// Greatest first.
    pub descending: bool,
    /// Nulls first.
    pub nulls_first: bool,
}

/// Orders the rows of each epoch and lets the first ones through.
#[derive(Debug)]
pub struct Arrange {
    order: Vec<SortColumn>,
    limit: Option<usize>,
    rows: Vec<RecordBatch>,
}

impl Arrange {
    /// An operator that orders by these columns and lets so many rows of an epoch through.
    #[must_use]
    pub fn new(order: Vec<SortColumn>, limit: Option<usize>) -> Arrange {
        Arrange {
            order,
            limit,
            rows: Vec::new(),
        }
    }
}

impl EpochOperator for Arrange {
    fn on_delta(
        &mut self,
        _context: &EpochContext,
        _port: usize,
        delta: Delta,
        _out: &mut Emitter,
    ) -> Result<()> {
        let (rows, diff) = delta.into_parts();
        if diff.is_some_and(|diff| diff.values().iter().any(|sign| *sign != 1)) {
            return Err(OperatorError::contract("ORDER BY cannot take rows back"));
        }
        self.rows.push(rows);
        Ok(())
    }

    fn on_close(&mut self, _context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        let rows = std::mem::take(&mut self.rows);
        let Some(first) = rows.first() else {
            return Ok(Progress::Done);
        };
        let whole = compute::concat_batches(&first.schema(), &rows)
            .map_err(OperatorError::arrow("gathering rows"))?;
        let sorted = sorted(&whole, &self.order, self.limit)?;
        let mut start = 0;
        while start < sorted.num_rows() {
            let len = (sorted.num_rows() - start).min(BATCH_ROWS_MAX);
            out.give(Delta::insertions(sorted.slice(start, len)));
            start += len;
        }
        Ok(Progress::Done)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        Ok(Vec::new())
    }

    fn report(&mut self) -> Option<OperatorReport> {
        None
    }
}

/// Sorts by the given columns, then by all others, so that ties are broken the same way whatever
/// worker made the rows.
fn sorted(whole: &RecordBatch, order: &[SortColumn], limit: Option<usize>) -> Result<RecordBatch> {
    let mut columns: Vec<ArrowSortColumn> = order
        .iter()
        .map(|sort| ArrowSortColumn {
            values: whole.column(sort.column).clone(),
            options: Some(SortOptions {
                descending: sort.descending,
                nulls_first: sort.nulls_first,
            }),
        })
        .collect();
    let others = (0..whole.num_columns())
        .filter(|column| order.iter().all(|sort| sort.column != *column))
        .filter(|column| !whole.column(*column).data_type().is_nested())
        .map(|column| ArrowSortColumn {
            values: whole.column(column).clone(),
            options: None,
        });
    columns.extend(others);
    if columns.is_empty() {
        return Ok(whole.slice(0, limit.unwrap_or(usize::MAX).min(whole.num_rows())));
    }
    let indices = compute::lexsort_to_indices(&columns, limit)
        .map_err(OperatorError::arrow("sorting rows"))?;
    compute::take_record_batch(whole, &indices).map_err(OperatorError::arrow("sorting rows"))
}

/// Lets the first rows of a query through, over its whole life.
#[derive(Debug)]
pub struct Limit {
    left: u64,
    limit: u64,
    arrange: Arrange,
    state: StateTable,
    dirty: bool,
}

impl Limit {
    /// An operator that lets `limit` rows through, less those of an earlier start.
    ///
    /// # Errors
    /// When a snapshot piece is of another query.
    pub fn new(limit: u64, seed: Option<&Seed>, ownership: Ownership) -> Result<Limit> {
        let values = Schema::new(vec![Field::new("passed", DataType::Int64, false)]);
        let mut state = StateTable::new(0, &Schema::empty(), &values, Spread::ByKey)?;
        let mut passed = 0;
        if let Some(seed) = seed {
            for ((_, bucket), pieces) in &seed.pieces {
                let held = state.seed(*bucket, seed.epoch, pieces, ownership)?;
                if held.num_rows() > 0 {
                    let column = held.column(0).to_data();
                    passed = Int64Array::from(column).value(0).unsigned_abs();
                }
            }
        }
        let arrange = Arrange::new(Vec::new(), None);
        Ok(Limit {
            left: limit.saturating_sub(passed),
            limit,
            arrange,
            state,
            dirty: false,
        })
    }
}

impl EpochOperator for Limit {
    fn on_delta(
        &mut self,
        context: &EpochContext,
        port: usize,
        delta: Delta,
        out: &mut Emitter,
    ) -> Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        self.arrange.on_delta(context, port, delta, out)
    }

    fn on_close(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        self.arrange.limit = usize::try_from(self.left).ok();
        let mut passed = Emitter::default();
        self.arrange.on_close(context, &mut passed)?;
        for delta in passed.into_deltas() {
            self.left = self.left.saturating_sub(delta.rows() as u64);
            self.dirty = true;
            out.give(delta);
        }
        Ok(Progress::Done)
    }

    fn tap(&mut self, epoch: Epoch) -> Result<Vec<BucketChange>> {
        if std::mem::take(&mut self.dirty) {
            let passed = i64::try_from(self.limit - self.left).unwrap_or(i64::MAX);
            let values: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![passed]))];
            self.state.upsert(Bucket(0), epoch, &[], &values, 1)?;
        }
        self.state.tap()
    }

    fn report(&mut self) -> Option<OperatorReport> {
        Some(OperatorReport {
            rows_total: u64::from(self.left < self.limit),
            ..OperatorReport::default()
        })
    }
}
