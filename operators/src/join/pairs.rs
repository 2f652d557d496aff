//! Candidate pairs and what becomes of them: equal keys, the residual condition, the columns that leave.
//!
//! Candidates are two lists of places, one in a batch that has arrived and one among the slots of the
//! other side. The columns that decide are gathered first; what else leaves is gathered only for the
//! pairs that stay. Everything is done for thousands of pairs at once.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array,
        new_null_array,
    },
    buffer::BooleanBuffer,
    compute::{self, kernels::cmp},
    datatypes::DataType,
};

use super::{JoinSpec, SideColumn, side::Side};
use crate::{
    error::{OperatorError, Result},
    rows::{RowCodec, normal},
};

/// How pairs of a join are decided and made.
pub(super) struct Pairs {
    spec: Arc<JoinSpec>,
    /// The columns that decide.
    deciding: Vec<SideColumn>,
    /// Places of the keys among them: left, right.
    keys: Vec<(usize, usize)>,
    /// Places of the residual's columns among them.
    residual: Vec<usize>,
}

/// Pairs that stay, with the columns that decided.
pub(super) struct Matched {
    /// Rows of the batch that arrived.
    pub(super) rows: Vec<u32>,
    /// Slots of the other side.
    pub(super) slots: Vec<u32>,
    columns: Vec<ArrayRef>,
}

impl std::fmt::Debug for Pairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pairs")
            .field("deciding", &self.deciding)
            .finish_non_exhaustive()
    }
}

impl Pairs {
    /// For the pairs of a spec.
    pub(super) fn new(spec: Arc<JoinSpec>) -> Pairs {
        let mut deciding: Vec<SideColumn> = Vec::new();
        let mut place = |wanted: SideColumn| {
            let known = deciding.iter().position(|column| *column == wanted);
            known.unwrap_or_else(|| {
                deciding.push(wanted);
                deciding.len() - 1
            })
        };
        let [left, right] = &spec.sides;
        let keys = left
            .keys
            .iter()
            .zip(&right.keys)
            .map(|(left, right)| {
                let (left, right) = (column(0, *left), column(1, *right));
                (place(left), place(right))
            })
            .collect();
        let of_residual = spec.residual.iter().flat_map(|residual| &residual.columns);
        let residual = of_residual.map(|column| place(*column)).collect();
        Pairs {
            spec,
            deciding,
            keys,
            residual,
        }
    }

    /// The pairs that match, of rows that arrived at `port` and slots of the other side.
    ///
    /// # Errors
    /// When the residual condition fails on a pair.
    pub(super) fn matched(
        &self,
        port: usize,
        (batch, mut rows): (&RecordBatch, Vec<u32>),
        (other, mut slots): (&Side, Vec<u32>),
    ) -> Result<Matched> {
        let mut columns = gather(&self.deciding, port, (batch, &rows), (other, &slots))?;
        let mut mask = self.equal_keys(&columns, rows.len())?;
        if let Some(residual) = &self.spec.residual {
            let of = self.residual.iter().map(|place| columns[*place].clone());
            let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            let pairs =
                RecordBatch::try_new_with_options(residual.schema.clone(), of.collect(), &options)
                    .map_err(OperatorError::arrow("making pairs"))?;
            let holds = holds(&residual.predicate, &pairs)?;
            mask = &mask & &holds;
        }
        if mask.count_set_bits() < rows.len() {
            rows = kept(&rows, &mask);
            slots = kept(&slots, &mask);
            let mask = BooleanArray::new(mask, None);
            for column in &mut columns {
                *column = compute::filter(column, &mask)
                    .map_err(OperatorError::arrow("filtering pairs"))?;
            }
        }
        Ok(Matched {
            rows,
            slots,
            columns,
        })
    }

    /// The columns that leave for pairs that match.
    pub(super) fn output(
        &self,
        port: usize,
        batch: &RecordBatch,
        other: &Side,
        matched: &Matched,
    ) -> Result<RecordBatch> {
        let known = |wanted: &SideColumn| self.deciding.iter().position(|known| known == wanted);
        let mut missing: Vec<SideColumn> = Vec::new();
        for wanted in &self.spec.columns {
            if known(wanted).is_none() && !missing.contains(wanted) {
                missing.push(*wanted);
            }
        }
        let rest = gather(
            &missing,
            port,
            (batch, &matched.rows),
            (other, &matched.slots),
        )?;
        let columns = self.spec.columns.iter().map(|wanted| match known(wanted) {
            Some(place) => matched.columns[place].clone(),
            None => {
                let place = missing.iter().position(|known| known == wanted);
                rest[place.unwrap_or_default()].clone()
            }
        });
        self.batch(columns.collect(), matched.rows.len())
    }

    /// What leaves for rows of one side without a partner: nulls beside them, or they alone.
    pub(super) fn alone(&self, side: usize, rows: &RecordBatch) -> Result<RecordBatch> {
        let fields = self.spec.output.fields().iter();
        let columns = self.spec.columns.iter().zip(fields).map(|(column, field)| {
            if column.side == side {
                rows.column(column.column).clone()
            } else {
                new_null_array(field.data_type(), rows.num_rows())
            }
        });
        self.batch(columns.collect(), rows.num_rows())
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.spec.output.clone(), columns, &options)
            .map_err(OperatorError::arrow("making joined rows"))
    }

    /// Which pairs have equal keys: equal hashes may be of different ones.
    fn equal_keys(&self, columns: &[ArrayRef], rows: usize) -> Result<BooleanBuffer> {
        let mut mask = BooleanBuffer::new_set(rows);
        for (left, right) in &self.keys {
            mask = &mask & &equal(&columns[*left], &columns[*right])?;
        }
        Ok(mask)
    }
}

fn column(side: usize, column: usize) -> SideColumn {
    SideColumn { side, column }
}

/// Columns for pairs, of a batch that arrived at `port` and of the other side.
fn gather(
    wanted: &[SideColumn],
    port: usize,
    (batch, rows): (&RecordBatch, &[u32]),
    (other, slots): (&Side, &[u32]),
) -> Result<Vec<ArrayRef>> {
    let of_other: Vec<usize> = wanted
        .iter()
        .filter(|column| column.side != port)
        .map(|column| column.column)
        .collect();
    let mut gathered = other.gather(&of_other, slots)?.into_iter();
    let indices = UInt32Array::from(rows.to_vec());
    let missing = || OperatorError::contract("a column of a pair was not gathered");
    wanted
        .iter()
        .map(|column| {
            if column.side == port {
                compute::take(batch.column(column.column), &indices, None)
                    .map_err(OperatorError::arrow("taking rows for pairs"))
            } else {
                gathered.next().ok_or_else(missing)
            }
        })
        .collect()
}

fn kept(places: &[u32], mask: &BooleanBuffer) -> Vec<u32> {
    mask.set_indices().map(|index| places[index]).collect()
}

/// Where a condition holds; where it is null it does not.
///
/// # Errors
/// When it fails on a row.
pub(super) fn holds(
    condition: &Arc<dyn datafusion_physical_expr::PhysicalExpr>,
    rows: &RecordBatch,
) -> Result<BooleanBuffer> {
    let value = condition
        .evaluate(rows)
        .and_then(|value| value.into_array(rows.num_rows()))
        .map_err(OperatorError::expression(condition))?;
    let value = value
        .as_boolean_opt()
        .ok_or_else(|| OperatorError::contract("the condition of a join is no condition"))?;
    Ok(match value.nulls() {
        Some(nulls) => value.values() & nulls.inner(),
        None => value.values().clone(),
    })
}

/// Where two columns of keys are equal, nulls being equal to each other.
fn equal(left: &ArrayRef, right: &ArrayRef) -> Result<BooleanBuffer> {
    if left.data_type().is_nested() {
        let types = [left.data_type().clone()];
        let codec = RowCodec::new(&types)?;
        let (left, right) = (
            codec.encode(std::slice::from_ref(left))?,
            codec.encode(std::slice::from_ref(right))?,
        );
        return Ok(left.iter().zip(right.iter()).map(|(l, r)| l == r).collect());
    }
    let is_double = matches!(left.data_type(), DataType::Float32 | DataType::Float64);
    let compared = if is_double {
        cmp::not_distinct(&normal(left)?, &normal(right)?)
    } else {
        cmp::not_distinct(left, right)
    };
    compared
        .map(|equal| equal.values().clone())
        .map_err(OperatorError::arrow("comparing keys"))
}

/// Rows of a batch without a null in some columns.
pub(super) fn without_nulls(batch: &RecordBatch, columns: &[usize]) -> Option<BooleanBuffer> {
    let mut seen = HashSet::new();
    let nulls = columns
        .iter()
        .filter(|column| seen.insert(**column))
        .filter_map(|column| batch.column(*column).logical_nulls());
    nulls
        .map(|nulls| nulls.inner().clone())
        .reduce(|one, other| &one & &other)
}
