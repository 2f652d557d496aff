//! ORDER BY and LIMIT: operators that see the rows of an epoch in one place.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array},
    compute::{self, SortColumn as ArrowSortColumn, SortOptions},
    datatypes::{DataType, Field, Schema},
};
use arrow_row::{RowConverter, SortField};
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
    rows: Vec<Delta>,
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
        self.rows.push(delta);
        Ok(())
    }

    fn on_close(&mut self, _context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(Progress::Done);
        }
        let whole = Delta::concat(&rows)?;
        let sorted = whole.take(&sorted(whole.batch(), &self.order, self.limit)?)?;
        give(&sorted, out);
        Ok(Progress::Done)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        Ok(Vec::new())
    }

    fn report(&mut self) -> Option<OperatorReport> {
        None
    }
}

/// Emits rows that are in order, a batch at a time.
fn give(rows: &Delta, out: &mut Emitter) {
    let mut start = 0;
    while start < rows.rows() {
        let len = (rows.rows() - start).min(BATCH_ROWS_MAX);
        out.give(rows.slice(start, len));
        start += len;
    }
}

/// Row numbers by the given columns, then by all others, so that ties are broken the same way
/// whatever worker made the rows.
fn sorted(whole: &RecordBatch, order: &[SortColumn], limit: Option<usize>) -> Result<ArrayRef> {
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
    if whole.columns().iter().any(has_order) {
        return sorted_by_rows(whole, order, limit);
    }
    if columns.is_empty() {
        let rows = limit.unwrap_or(usize::MAX).min(whole.num_rows());
        let all = 0..u32::try_from(rows).unwrap_or(u32::MAX);
        return Ok(Arc::new(UInt32Array::from_iter_values(all)));
    }
    let indices = compute::lexsort_to_indices(&columns, limit)
        .map_err(OperatorError::arrow("sorting rows"))?;
    Ok(Arc::new(indices))
}

/// Whether a column is one that only encoded rows can be sorted by.
fn has_order(column: &ArrayRef) -> bool {
    let data_type = column.data_type();
    data_type.is_nested() && RowConverter::supports_fields(&[SortField::new(data_type.clone())])
}

/// [`sorted`] where structs and lists are among the columns.
fn sorted_by_rows(
    whole: &RecordBatch,
    order: &[SortColumn],
    limit: Option<usize>,
) -> Result<ArrayRef> {
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for sort in order {
        let options = SortOptions {
            descending: sort.descending,
            nulls_first: sort.nulls_first,
        };
        let column = whole.column(sort.column);
        fields.push(SortField::new_with_options(
            column.data_type().clone(),
            options,
        ));
        columns.push(column.clone());
    }
    for column in whole.columns() {
        let field = SortField::new(column.data_type().clone());
        if RowConverter::supports_fields(std::slice::from_ref(&field)) {
            fields.push(field);
            columns.push(column.clone());
        }
    }
    let rows = RowConverter::new(fields)
        .and_then(|converter| converter.convert_columns(&columns))
        .map_err(OperatorError::arrow("sorting rows"))?;
    let mut indices: Vec<u32> = (0..u32::try_from(rows.num_rows()).unwrap_or(u32::MAX)).collect();
    indices.sort_by(|left, right| rows.row(*left as usize).cmp(&rows.row(*right as usize)));
    indices.truncate(limit.unwrap_or(usize::MAX));
    Ok(Arc::new(UInt32Array::from(indices)))
}

/// Row numbers by place in the input; by all columns, where an operator made the rows.
pub(crate) fn in_order(rows: &Delta) -> Result<ArrayRef> {
    let Some(origin) = rows.origin() else {
        return sorted(rows.batch(), &[], None);
    };
    let mut order: Vec<u32> = (0..u32::try_from(origin.len()).unwrap_or(u32::MAX)).collect();
    // Rows in one place keep their order: they stood in one list.
    order.sort_by_key(|row| origin.value(*row as usize));
    Ok(Arc::new(UInt32Array::from(order)))
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
    state: StateTable,
    dirty: bool,
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
        let mut state = StateTable::new(0, &Schema::empty(), &values, Spread::ByKey)?;
        let mut passed = 0;
        if let Some(seed) = seed {
            for ((_, bucket), pieces) in &seed.pieces {
                for held in state.seed(*bucket, seed.epoch, pieces, ownership)? {
                    let column = held.column(0).to_data();
                    passed = Int64Array::from(column).value(0).unsigned_abs();
                }
            }
        }
        Ok(Limit {
            left: limit.saturating_sub(passed),
            limit,
            rows: Vec::new(),
            state,
            dirty: false,
            counted: false,
        })
    }

    /// The first of the waiting rows, in order.
    fn first(&mut self) -> Result<Delta> {
        let whole = Delta::concat(&std::mem::take(&mut self.rows))?;
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let order = in_order(&whole)?;
        whole.take(&order.slice(0, left.min(order.len())))
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
        self.rows.push(delta);
        let waiting: usize = self.rows.iter().map(Delta::rows).sum();
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        if waiting > left.saturating_add(SPARE_ROWS) {
            let first = self.first()?;
            self.rows.push(first);
        }
        Ok(())
    }

    fn on_close(&mut self, _context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        if self.rows.is_empty() {
            return Ok(Progress::Done);
        }
        let first = self.first()?;
        self.left = self.left.saturating_sub(first.rows() as u64);
        self.dirty |= first.rows() > 0;
        self.counted |= first.rows() > 0;
        give(&first, out);
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
            rows_updated: u64::from(std::mem::take(&mut self.counted)),
            ..OperatorReport::default()
        })
    }
}
