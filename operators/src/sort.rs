//! ORDER BY and LIMIT: operators that see the rows of an epoch in one place.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array,
    },
    compute::{self, SortOptions},
    datatypes::{DataType, Field, Schema},
};
use arrow_row::{RowConverter, Rows, SortField};
use millstream_types::Epoch;

use crate::{
    delta::{BATCH_ROWS_MAX, Delta},
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    state::{Bucket, BucketChange, Ownership, Placement, Seed, StateTable},
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
pub struct Sort {
    order: Vec<SortColumn>,
    limit: Option<usize>,
    rows: Vec<Delta>,
    /// What is still to leave in the epoch that closes.
    leaving: Option<InOrder>,
}

impl Sort {
    /// An operator that orders by these columns and lets so many rows of an epoch through.
    #[must_use]
    pub fn new(order: Vec<SortColumn>, limit: Option<usize>) -> Sort {
        Sort {
            order,
            limit,
            rows: Vec::new(),
            leaving: None,
        }
    }
}

impl EpochOperator for Sort {
    fn on_delta(
        &mut self,
        _context: &EpochContext,
        _port: usize,
        delta: Delta,
        _out: &mut Emitter,
    ) -> Result<()> {
        self.rows.push(delta);
        Ok(())
    }

    fn on_close(&mut self, _context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        let mut leaving = match self.leaving.take() {
            Some(leaving) => leaving,
            None => {
                let rows = std::mem::take(&mut self.rows);
                InOrder::sorted(rows, &self.order, self.limit)?
            }
        };
        if leaving.give(out)? {
            return Ok(Progress::Done);
        }
        self.leaving = Some(leaving);
        Ok(Progress::More)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        Ok(Vec::new())
    }

    fn report(&mut self) -> Option<OperatorReport> {
        None
    }
}

/// Rows of several deltas in some order, without a copy of all of them: some at a time, and what is used
/// up is let go.
#[derive(Debug)]
pub(crate) struct InOrder {
    deltas: Vec<Delta>,
    /// Rows of each delta that are still to come.
    left: Vec<usize>,
    /// Which delta and row comes when.
    order: Vec<(u32, u32)>,
    at: usize,
    bytes_a_row: usize,
}

/// Bytes of rows that come at once, about.
const BYTES_AT_ONCE: usize = 4 << 20;

impl InOrder {
    /// Rows by place in the input; by all columns, where an operator made the rows.
    pub(crate) fn of_input(deltas: Vec<Delta>) -> Result<InOrder> {
        let origins: Option<Vec<&UInt64Array>> = deltas.iter().map(Delta::origin).collect();
        let Some(origins) = origins else {
            return InOrder::sorted(deltas, &[], None);
        };
        let mut order = numbered(&deltas);
        // Rows in one place keep their order: they stood in one list.
        order.sort_by_key(|(delta, row)| origins[*delta as usize].value(*row as usize));
        Ok(InOrder::new(deltas, order))
    }

    /// Rows by the given columns, then by all others, so that ties are broken the same way whatever worker
    /// made the rows.
    fn sorted(deltas: Vec<Delta>, order: &[SortColumn], limit: Option<usize>) -> Result<InOrder> {
        let encoded = encoded(&deltas, order)?;
        let row = |(delta, row): &(u32, u32)| encoded[*delta as usize].row(*row as usize);
        let mut order = numbered(&deltas);
        order.sort_by(|left, right| row(left).cmp(&row(right)));
        drop(encoded);
        order.truncate(limit.unwrap_or(usize::MAX));
        Ok(InOrder::new(deltas, order))
    }

    fn new(deltas: Vec<Delta>, order: Vec<(u32, u32)>) -> InOrder {
        let bytes: usize = deltas.iter().map(Delta::bytes).sum();
        let rows: usize = deltas.iter().map(Delta::rows).sum();
        let mut left = vec![0; deltas.len()];
        for (delta, _) in &order {
            left[*delta as usize] += 1;
        }
        InOrder {
            left,
            bytes_a_row: bytes / rows.max(1),
            order,
            at: 0,
            deltas,
        }
    }

    /// Leaves only the first rows.
    fn truncate(self, rows: usize) -> InOrder {
        let InOrder {
            deltas, mut order, ..
        } = self;
        order.truncate(rows);
        InOrder::new(deltas, order)
    }

    /// Rows that are still to come.
    fn rows(&self) -> usize {
        self.order.len() - self.at
    }

    /// Emits rows until the emitter is full; `true` when there are no more.
    fn give(&mut self, out: &mut Emitter) -> Result<bool> {
        while !out.is_full() {
            match self.next()? {
                Some(rows) => out.give(rows),
                None => return Ok(true),
            }
        }
        Ok(self.rows() == 0)
    }

    /// The next rows; `None` when there are no more.
    pub(crate) fn next(&mut self) -> Result<Option<Delta>> {
        let rest = &self.order[self.at..];
        let fit = BYTES_AT_ONCE / self.bytes_a_row.max(1);
        let some = &rest[..rest.len().min(fit.clamp(1, BATCH_ROWS_MAX))];
        if some.is_empty() {
            return Ok(None);
        }
        let indices: Vec<(usize, usize)> = some
            .iter()
            .map(|(delta, row)| (*delta as usize, *row as usize))
            .collect();
        let origins = indices.iter();
        let origins = origins.map(|(delta, row)| Some(self.deltas[*delta].origin()?.value(*row)));
        let origins: Option<Vec<u64>> = origins.collect();
        let signed = self.deltas.iter().any(|delta| delta.diff().is_some());
        let sign = |(delta, row): &(usize, usize)| {
            let diff = self.deltas[*delta].diff();
            diff.map_or(1, |diff| diff.value(*row))
        };
        let signs = signed.then(|| Int64Array::from_iter_values(indices.iter().map(sign)));
        let batches: Vec<&RecordBatch> = self.deltas.iter().map(Delta::batch).collect();
        let batch = interleaved(&batches, &indices)?;
        self.at += indices.len();
        for (delta, _) in indices {
            self.left[delta] -= 1;
            if self.left[delta] == 0 {
                let schema = self.deltas[delta].batch().schema();
                let empty = UInt64Array::from(Vec::<u64>::new());
                self.deltas[delta] = Delta::insertions(RecordBatch::new_empty(schema))
                    .with_origin(origins.as_ref().map(|_| empty));
            }
        }
        Ok(Some(
            Delta::signed(batch, signs).with_origin(origins.map(UInt64Array::from)),
        ))
    }
}

fn interleaved(batches: &[&RecordBatch], indices: &[(usize, usize)]) -> Result<RecordBatch> {
    let schema = batches[indices[0].0].schema();
    if schema.fields().is_empty() {
        let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
        return RecordBatch::try_new_with_options(schema, Vec::new(), &options)
            .map_err(OperatorError::arrow("putting rows in order"));
    }
    compute::interleave_record_batch(batches, indices)
        .map_err(OperatorError::arrow("putting rows in order"))
}

/// Every row of every delta.
fn numbered(deltas: &[Delta]) -> Vec<(u32, u32)> {
    let deltas = (0u32..).zip(deltas);
    deltas
        .flat_map(|(delta, of)| (0u32..).take(of.rows()).map(move |row| (delta, row)))
        .collect()
}

/// The columns of an ordering, then all others that have an order, encoded so that rows compare as their
/// values do.
fn encoded(deltas: &[Delta], order: &[SortColumn]) -> Result<Vec<Rows>> {
    let Some(first) = deltas.first() else {
        return Ok(Vec::new());
    };
    let data_type = |column: usize| first.batch().column(column).data_type().clone();
    let given = order.iter().map(|sort| {
        let options = SortOptions {
            descending: sort.descending,
            nulls_first: sort.nulls_first,
        };
        let field = SortField::new_with_options(data_type(sort.column), options);
        (sort.column, field)
    });
    let others = (0..first.batch().num_columns())
        .filter(|column| order.iter().all(|sort| sort.column != *column))
        .map(|column| (column, SortField::new(data_type(column))))
        .filter(|(_, field)| RowConverter::supports_fields(std::slice::from_ref(field)));
    let (columns, fields): (Vec<usize>, Vec<SortField>) = given.chain(others).unzip();
    if fields.is_empty() {
        return sorted_by_nothing(deltas);
    }
    let converter = RowConverter::new(fields).map_err(OperatorError::arrow("sorting rows"))?;
    let encoded = deltas.iter().map(|delta| {
        let columns = columns.iter().map(|at| delta.batch().column(*at).clone());
        converter
            .convert_columns(&columns.collect::<Vec<_>>())
            .map_err(OperatorError::arrow("sorting rows"))
    });
    encoded.collect()
}

/// Rows that are all alike.
fn sorted_by_nothing(deltas: &[Delta]) -> Result<Vec<Rows>> {
    let converter = RowConverter::new(vec![SortField::new(DataType::Boolean)])
        .map_err(OperatorError::arrow("sorting rows"))?;
    let encoded = deltas.iter().map(|delta| {
        let same: ArrayRef = Arc::new(BooleanArray::from(vec![true; delta.rows()]));
        converter
            .convert_columns(&[same])
            .map_err(OperatorError::arrow("sorting rows"))
    });
    encoded.collect()
}

/// Rows beyond those still wanted that may wait until the rest is dropped.
const SPARE_ROWS: usize = 64 * 1024;

/// Lets the first rows of a query through, over its whole life: in the order of the input, or, where
/// an operator made the rows, of their columns.
#[derive(Debug)]
pub struct Limit {
    left: u64,
    limit: u64,
    rows: Vec<Delta>,
    waiting: usize,
    /// What is still to leave in the epoch that closes.
    leaving: Option<InOrder>,
    state: StateTable,
    unsaved: bool,
    /// Whether rows left in this epoch.
    counted: bool,
}

impl Limit {
    /// An operator that lets `limit` rows through, less those of an earlier start.
    ///
    /// # Errors
    /// When a snapshot piece is of another query.
    pub fn new(limit: u64, seed: Option<&Seed>, ownership: Ownership) -> Result<Limit> {
        let values = Schema::new(vec![Field::new("passed", DataType::Int64, false)]);
        let mut state = StateTable::new(0, &Schema::empty(), &values, Placement::ByKey)?;
        let mut passed = 0;
        state.restore(seed, ownership, |_, _, values, _| {
            let column = values[0].to_data();
            passed = Int64Array::from(column).value(0).unsigned_abs();
            Ok(())
        })?;
        Ok(Limit {
            left: limit.saturating_sub(passed),
            limit,
            rows: Vec::new(),
            waiting: 0,
            leaving: None,
            state,
            unsaved: false,
            counted: false,
        })
    }

    /// The first of the waiting rows, in order.
    fn first(&mut self) -> Result<InOrder> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        self.waiting = 0;
        let rows = InOrder::of_input(std::mem::take(&mut self.rows))?;
        Ok(rows.truncate(left))
    }
}

impl EpochOperator for Limit {
    fn on_delta(
        &mut self,
        _context: &EpochContext,
        _port: usize,
        delta: Delta,
        _out: &mut Emitter,
    ) -> Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        self.waiting += delta.rows();
        self.rows.push(delta);
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        if self.waiting > left.saturating_add(SPARE_ROWS) {
            let mut first = self.first()?;
            while let Some(rows) = first.next()? {
                self.waiting += rows.rows();
                self.rows.push(rows);
            }
        }
        Ok(())
    }

    fn on_close(&mut self, _context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        let mut leaving = match self.leaving.take() {
            Some(leaving) => leaving,
            None => {
                let first = self.first()?;
                self.left = self.left.saturating_sub(first.rows() as u64);
                self.unsaved |= first.rows() > 0;
                self.counted |= first.rows() > 0;
                first
            }
        };
        if leaving.give(out)? {
            return Ok(Progress::Done);
        }
        self.leaving = Some(leaving);
        Ok(Progress::More)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        if std::mem::take(&mut self.unsaved) {
            let passed = i64::try_from(self.limit - self.left).unwrap_or(i64::MAX);
            let values: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![passed]))];
            self.state.upsert(Bucket(0), &[], &values, 1)?;
        }
        Ok(self.state.tap())
    }

    fn report(&mut self) -> Option<OperatorReport> {
        Some(OperatorReport {
            rows_total: u64::from(self.left < self.limit),
            rows_updated: u64::from(std::mem::take(&mut self.counted)),
            ..OperatorReport::default()
        })
    }
}
