//! OVER: values that a row gets from the rows of its partition, taken back when these change.
//!
//! All rows are kept by partition. Of a partition that an epoch touches, what was given before and what
//! is to be given now are both computed, and the difference leaves: nothing of the results is kept.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array},
    compute::{self, SortOptions},
    datatypes::SchemaRef,
};
use arrow_row::{RowConverter, SortField};
use datafusion_physical_expr::window::WindowExpr;
use millstream_types::Epoch;

use super::{
    SideSpec,
    changes::{Changes, Identity, Leaving, of_sign, types_of},
    side::Side,
    slots::NONE,
};
use crate::{
    delta::Delta,
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    rows::normal,
    sort::SortColumn,
    state::{BucketChange, Ownership, Seed, Snapshots},
};

/// Functions over one partition and order.
#[derive(Clone, Debug)]
pub struct OverSpec {
    /// The columns that arrive.
    pub schema: SchemaRef,
    /// How many of them leave, from the first on, before the results.
    pub given: usize,
    /// The columns that are equal in a partition.
    pub partition: Vec<usize>,
    /// By what a partition is ordered; ties are broken by all columns.
    pub order: Vec<SortColumn>,
    /// The functions.
    pub calls: Vec<Arc<dyn WindowExpr>>,
    /// The columns that leave.
    pub output: SchemaRef,
    /// Whether rows are taken back.
    pub retracting: bool,
}

/// Computes functions over partitions and emits how their results change.
pub struct Over {
    spec: OverSpec,
    rows: Side,
    /// Finds rows that are taken back, if there are any.
    identity: Option<Identity>,
    /// Encodes partition, order and all columns.
    order: RowConverter,
    /// Encodes the partition alone.
    partition: RowConverter,
    arriving: Vec<Delta>,
    changes: Changes,
    /// What is still to leave in the epoch that closes.
    leaving: Option<Leaving>,
    report: OperatorReport,
}

impl std::fmt::Debug for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Over")
            .field("partition", &self.spec.partition)
            .finish_non_exhaustive()
    }
}

/// Rows of partitions that are computed at once, about: a partition is computed whole.
const ROWS_AT_ONCE: usize = 64 * 1024;

impl Over {
    /// The operator for a spec, with its rows from a snapshot.
    ///
    /// # Errors
    /// When a snapshot piece is of another query, or a column has no order.
    pub fn new(
        spec: OverSpec,
        seed: Option<&Seed>,
        ownership: Ownership,
        snapshots: Snapshots,
    ) -> Result<Over> {
        let side = SideSpec {
            schema: spec.schema.clone(),
            keys: spec.partition.clone(),
            alone: None,
            late: None,
            expiry: None,
            retracting: spec.retracting,
        };
        let mut rows = Side::new(&side, 0, false, snapshots);
        for pieces in seed.iter().flat_map(|seed| seed.pieces.values()) {
            rows.seed(pieces, ownership)?;
        }
        let identity = match spec.retracting {
            true => Some(Identity::of(&rows)?),
            false => None,
        };
        let data_type = |column: usize| spec.schema.field(column).data_type().clone();
        let partition = spec
            .partition
            .iter()
            .map(|column| SortField::new(data_type(*column)));
        let ordered = spec.order.iter().map(|sort| {
            let options = SortOptions {
                descending: sort.descending,
                nulls_first: sort.nulls_first,
            };
            SortField::new_with_options(data_type(sort.column), options)
        });
        let all = (0..spec.schema.fields().len()).map(|column| SortField::new(data_type(column)));
        let converter = |fields: Vec<SortField>| {
            RowConverter::new(fields).map_err(OperatorError::arrow("ordering a partition"))
        };
        Ok(Over {
            rows,
            identity,
            order: converter(partition.clone().chain(ordered).chain(all).collect())?,
            partition: converter(partition.collect())?,
            arriving: Vec::new(),
            changes: Changes::new(&types_of(&spec.output))?,
            leaving: None,
            report: OperatorReport::default(),
            spec,
        })
    }

    /// Adds the results of some partitions, by the hashes of their keys, to what changes.
    fn add(&mut self, hashes: &BTreeSet<u64>, sign: i64) -> Result<()> {
        let mut slots: Vec<u32> = Vec::new();
        for hash in hashes {
            let mut slot = self.rows.slots().first(*hash);
            while slot != NONE {
                slots.push(slot);
                slot = self.rows.slots().next(slot);
            }
            if slots.len() >= ROWS_AT_ONCE {
                self.add_rows(&std::mem::take(&mut slots), sign)?;
            }
        }
        self.add_rows(&slots, sign)
    }

    fn add_rows(&mut self, slots: &[u32], sign: i64) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        let rows = self.rows.rows(slots)?;
        let (rows, starts) = self.ordered(&rows)?;
        for (at, start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).copied().unwrap_or(rows.num_rows());
            let partition = rows.slice(*start, end - start);
            let results = self.results(&partition)?;
            self.changes.add(&results, sign)?;
        }
        Ok(())
    }

    /// Rows by partition and order, and where each partition begins.
    fn ordered(&self, rows: &RecordBatch) -> Result<(RecordBatch, Vec<usize>)> {
        let ordering = || OperatorError::arrow("ordering a partition");
        let all = rows
            .columns()
            .iter()
            .map(normal)
            .collect::<Result<Vec<_>>>()?;
        let keys: Vec<ArrayRef> = self
            .spec
            .partition
            .iter()
            .map(|at| all[*at].clone())
            .collect();
        let order = self.spec.order.iter().map(|sort| all[sort.column].clone());
        let columns: Vec<ArrayRef> = keys
            .iter()
            .cloned()
            .chain(order)
            .chain(all.clone())
            .collect();
        let encoded = self.order.convert_columns(&columns).map_err(ordering())?;
        let count = u32::try_from(rows.num_rows())
            .map_err(|_| OperatorError::contract("a partition has too many rows"))?;
        let mut indices: Vec<u32> = (0..count).collect();
        indices.sort_unstable_by(|left, right| {
            encoded
                .row(*left as usize)
                .cmp(&encoded.row(*right as usize))
        });
        let mut starts = vec![0];
        if !keys.is_empty() {
            let keys = self.partition.convert_columns(&keys).map_err(ordering())?;
            let differs = |at: &usize| {
                let (before, here) = (indices[at - 1] as usize, indices[*at] as usize);
                keys.row(before) != keys.row(here)
            };
            starts.extend((1..indices.len()).filter(differs));
        }
        let rows =
            compute::take_record_batch(rows, &UInt32Array::from(indices)).map_err(ordering())?;
        Ok((rows, starts))
    }

    /// What leaves of a partition in order.
    fn results(&self, partition: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = partition.columns()[..self.spec.given].to_vec();
        let fields = &self.spec.output.fields()[self.spec.given..];
        for (call, field) in self.spec.calls.iter().zip(fields) {
            let values = call
                .evaluate(partition)
                .map_err(OperatorError::expression(call.name()))?;
            // The library computes ranks without sign and positions in other widths.
            let values = match values.data_type() == field.data_type() {
                true => values,
                false => compute::cast(&values, field.data_type())
                    .map_err(OperatorError::arrow("giving the result of OVER its type"))?,
            };
            columns.push(values);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(partition.num_rows()));
        RecordBatch::try_new_with_options(self.spec.output.clone(), columns, &options)
            .map_err(OperatorError::arrow("making rows of OVER"))
    }

    /// Keeps rows that come, and lets those go that are taken back.
    fn apply(&mut self, deltas: &[Delta]) -> Result<()> {
        for sign in [1, -1] {
            for delta in deltas {
                let Some(rows) = of_sign(delta, sign)? else {
                    continue;
                };
                let rows = rows.batch();
                if sign > 0 {
                    let hashes = self.rows.hashes(rows)?;
                    let slots = self.rows.insert(rows, &hashes, None)?;
                    self.report.rows_updated += slots.len() as u64;
                    if let Some(identity) = &mut self.identity {
                        identity.add(rows, &slots)?;
                    }
                    continue;
                }
                let identity = self.identity.as_mut().ok_or_else(|| {
                    OperatorError::contract("a row is taken back where rows only come")
                })?;
                let gone = identity.take(rows, &self.rows)?;
                if gone.contains(&NONE) {
                    return Err(OperatorError::contract(
                        "a row of a partition is taken back that was not given",
                    ));
                }
                self.report.rows_removed += gone.len() as u64;
                self.rows.remove(&gone)?;
            }
        }
        Ok(())
    }
}

impl EpochOperator for Over {
    fn on_delta(
        &mut self,
        _context: &EpochContext,
        _port: usize,
        delta: Delta,
        _out: &mut Emitter,
    ) -> Result<()> {
        self.arriving.push(delta);
        Ok(())
    }

    fn on_close(&mut self, _context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        let mut leaving = match self.leaving.take() {
            Some(leaving) => leaving,
            None => {
                let deltas = std::mem::take(&mut self.arriving);
                let mut touched = BTreeSet::new();
                for delta in &deltas {
                    touched.extend(self.rows.hashes(delta.batch())?);
                }
                self.add(&touched, -1)?;
                self.apply(&deltas)?;
                self.add(&touched, 1)?;
                self.rows.tidy(None)?;
                self.changes.take()
            }
        };
        if self.changes.give(&mut leaving, &self.spec.output, out)? {
            return Ok(Progress::Done);
        }
        self.leaving = Some(leaving);
        Ok(Progress::More)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        self.rows.tap()
    }

    fn report(&mut self) -> Option<OperatorReport> {
        let identity = self.identity.as_ref().map_or(0, Identity::bytes);
        Some(OperatorReport {
            rows_total: self.rows.len() as u64,
            bytes: (self.rows.bytes() + identity + self.changes.bytes()) as u64,
            ..std::mem::take(&mut self.report)
        })
    }
}
