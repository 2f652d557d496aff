//! The first rows of a result that changes: ORDER BY … LIMIT over rows that may be taken back.
//!
//! All rows are kept in order, because any of them may move up when others go; where rows only
//! come, what is behind the last one that can leave is forgotten. An epoch ends with the difference
//! between the first rows before and after it.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    compute::SortOptions,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use arrow_row::{RowConverter, SortField};
use millstream_types::Epoch;

use crate::{
    delta::{BATCH_ROWS_MAX, Delta},
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    rows::normal,
    sort::SortColumn,
    state::{Bucket, BucketChange, Ownership, Placement, Seed, StateTable},
};

/// Which rows of a result leave.
#[derive(Clone, Debug)]
pub struct TopSpec {
    /// The columns of the result.
    pub schema: SchemaRef,
    /// By what they are ordered, most significant first; ties are broken by all columns.
    pub order: Vec<SortColumn>,
    /// How many rows at the front do not leave.
    pub skip: usize,
    /// How many rows after them do.
    pub rows: usize,
    /// Whether rows of the input are taken back.
    pub retracting: bool,
}

/// Rows in order, with how often they are there.
type Ordered = BTreeMap<Box<[u8]>, i64>;

/// Keeps rows in order and emits how the first of them change. Lives on one worker.
pub struct Top {
    spec: TopSpec,
    /// Encodes the columns of the ordering, then all columns.
    converter: RowConverter,
    held: Ordered,
    /// What has left and was not taken back.
    out: Ordered,
    /// Rows that are still to leave in the epoch that closes, with their signed counts, last first.
    leaving: Option<Vec<(Box<[u8]>, i64)>>,
    /// Rows whose count changed since the last snapshot.
    unsaved: std::collections::BTreeSet<Box<[u8]>>,
    state: StateTable,
    /// Bytes of the rows that are held.
    bytes: usize,
    /// Bytes of the rows that have left.
    out_bytes: usize,
}

impl std::fmt::Debug for Top {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Top")
            .field("spec", &self.spec)
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

impl Top {
    /// The operator for a spec, with its rows from a snapshot.
    ///
    /// # Errors
    /// When a column cannot be ordered, or a snapshot piece is of another query.
    pub fn new(spec: TopSpec, seed: Option<&Seed>, ownership: Ownership) -> Result<Top> {
        let data_type = |column: usize| spec.schema.field(column).data_type().clone();
        let ordering = spec.order.iter().map(|sort| {
            let options = SortOptions {
                descending: sort.descending,
                nulls_first: sort.nulls_first,
            };
            SortField::new_with_options(data_type(sort.column), options)
        });
        let all = (0..spec.schema.fields().len()).map(|column| SortField::new(data_type(column)));
        let converter = RowConverter::new(ordering.chain(all).collect())
            .map_err(OperatorError::arrow("ordering rows"))?;
        let counts = Schema::new(vec![Field::new("count", DataType::Int64, false)]);
        // Nothing is hashed, so every row is owned by the first worker, to which all rows go.
        let state = StateTable::new(0, &spec.schema, &counts, Placement::ByKey)?.owned_by(0);
        let mut top = Top {
            spec,
            converter,
            held: Ordered::new(),
            out: Ordered::new(),
            leaving: None,
            unsaved: std::collections::BTreeSet::new(),
            state,
            bytes: 0,
            out_bytes: 0,
        };
        let mut state = top.state.clone();
        state.restore(seed, ownership, |_, rows, counts, _| {
            let counts = counts[0].as_primitive::<Int64Type>().clone();
            top.add(rows, |row| counts.value(row))
        })?;
        top.state = state;
        if seed.is_some() {
            top.unsaved.clear();
            top.out = top.first();
            top.out_bytes = top.out.keys().map(|row| row.len()).sum();
        }
        Ok(top)
    }

    fn add(&mut self, columns: &[ArrayRef], count_of: impl Fn(usize) -> i64) -> Result<()> {
        let all = columns.iter().map(normal).collect::<Result<Vec<_>>>()?;
        let ordering = self.spec.order.iter().map(|sort| all[sort.column].clone());
        let encoded: Vec<ArrayRef> = ordering.chain(all.iter().cloned()).collect();
        let rows = self
            .converter
            .convert_columns(&encoded)
            .map_err(OperatorError::arrow("ordering rows"))?;
        for (row, bytes) in rows.iter().enumerate() {
            let (bytes, count) = (bytes.data(), count_of(row));
            match self.held.get_mut(bytes) {
                Some(held) if *held + count == 0 => {
                    self.held.remove(bytes);
                    self.bytes -= bytes.len();
                }
                Some(held) => *held += count,
                None => {
                    self.held.insert(bytes.into(), count);
                    self.bytes += bytes.len();
                }
            }
            self.unsaved.insert(bytes.into());
        }
        Ok(())
    }

    /// The rows that should be out now.
    fn first(&self) -> Ordered {
        let mut first = Ordered::new();
        let (mut skip, mut left) = (self.spec.skip, self.spec.rows);
        for (row, count) in self.held.iter().filter(|(_, count)| **count > 0) {
            if left == 0 {
                break;
            }
            let count = usize::try_from(*count).unwrap_or(usize::MAX);
            let skipped = count.min(skip);
            skip -= skipped;
            let taken = (count - skipped).min(left);
            left -= taken;
            if taken > 0 {
                first.insert(row.clone(), i64::try_from(taken).unwrap_or(i64::MAX));
            }
        }
        first
    }

    /// Where rows only come, those behind the last that can leave never will.
    fn forget(&mut self) {
        if self.spec.retracting {
            return;
        }
        let mut left = self.spec.skip.saturating_add(self.spec.rows);
        let behind = self.held.iter().find_map(|(row, count)| {
            let is_behind = left == 0;
            left = left.saturating_sub(usize::try_from(*count).unwrap_or(usize::MAX));
            is_behind.then(|| row.clone())
        });
        if let Some(behind) = behind {
            for row in self.held.split_off(&behind).into_keys() {
                self.bytes -= row.len();
                self.unsaved.insert(row);
            }
        }
    }

    fn batch(&self, rows: &[&[u8]]) -> Result<RecordBatch> {
        let parser = self.converter.parser();
        let columns = self
            .converter
            .convert_rows(rows.iter().map(|bytes| parser.parse(bytes)))
            .map_err(OperatorError::arrow("reading ordered rows"))?;
        let columns = columns[self.spec.order.len()..].to_vec();
        RecordBatch::try_new(self.spec.schema.clone(), columns)
            .map_err(OperatorError::arrow("reading ordered rows"))
    }

    /// What leaves: what is out and should not be, then what should be and is not; last first.
    fn difference(&self, now: &Ordered) -> Vec<(Box<[u8]>, i64)> {
        let surplus = |of: &Ordered, over: &Ordered, sign: i64| -> Vec<(Box<[u8]>, i64)> {
            of.iter()
                .map(|(row, count)| (row, count - over.get(row).copied().unwrap_or(0)))
                .filter(|(_, count)| *count > 0)
                .map(|(row, count)| (row.clone(), sign * count))
                .collect()
        };
        let mut leaving = surplus(&self.out, now, -1);
        leaving.extend(surplus(now, &self.out, 1));
        leaving.reverse();
        leaving
    }

    /// Emits rows of one sign, bounded in number and bytes; a row that is there more than once counts so
    /// often.
    fn emit_some(&self, leaving: &mut Vec<(Box<[u8]>, i64)>, out: &mut Emitter) -> Result<()> {
        let mut rows: Vec<Box<[u8]>> = Vec::new();
        let (mut bytes, mut sign) = (0, 0);
        while let Some((row, count)) = leaving.last_mut() {
            let is_full = rows.len() >= BATCH_ROWS_MAX || bytes + row.len() > BYTES_MAX;
            if (is_full && !rows.is_empty()) || (sign != 0 && sign != count.signum()) {
                break;
            }
            sign = count.signum();
            bytes += row.len();
            rows.push(row.clone());
            *count -= sign;
            if *count == 0 {
                leaving.pop();
            }
        }
        let borrowed: Vec<&[u8]> = rows.iter().map(|row| &row[..]).collect();
        let signs = (sign < 0).then(|| Int64Array::from_value(sign, rows.len()));
        out.give(Delta::signed(self.batch(&borrowed)?, signs));
        Ok(())
    }

    /// Rows in batches that are bounded in number and bytes.
    fn portions<'a>(rows: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [&'a [u8]]> {
        let mut rest = rows;
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let fits = |row: &&&[u8]| {
                bytes += row.len();
                bytes <= BYTES_MAX
            };
            let most = &rest[..rest.len().min(BATCH_ROWS_MAX)];
            let count = most.iter().take_while(fits).count().max(1);
            let (some, others) = rest.split_at(count.min(rest.len()));
            rest = others;
            (!some.is_empty()).then_some(some)
        })
    }
}

/// Bytes of encoded rows in one batch: a column of text has 31 bits for its length.
#[cfg(not(test))]
const BYTES_MAX: usize = 4 << 20;
/// So low that the tests of this crate cut all the time.
#[cfg(test)]
const BYTES_MAX: usize = 100;

/// What an entry costs in its tree and on the heap, beside the row, about.
const ENTRY_BYTES: usize = 40;

impl EpochOperator for Top {
    fn on_delta(
        &mut self,
        _context: &EpochContext,
        _port: usize,
        delta: Delta,
        _out: &mut Emitter,
    ) -> Result<()> {
        let (batch, diff) = delta.into_parts();
        let count_of = |row| diff.as_ref().map_or(1, |diff| diff.value(row));
        self.add(batch.columns(), count_of)?;
        self.forget();
        Ok(())
    }

    fn on_close(&mut self, _context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        let mut leaving = match self.leaving.take() {
            Some(leaving) => leaving,
            None => {
                let now = self.first();
                let leaving = self.difference(&now);
                self.out_bytes = now.keys().map(|row| row.len()).sum();
                self.out = now;
                leaving
            }
        };
        while !leaving.is_empty() {
            if out.is_full() {
                self.leaving = Some(leaving);
                return Ok(Progress::More);
            }
            self.emit_some(&mut leaving, out)?;
        }
        Ok(Progress::Done)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let (alive, gone): (Vec<&[u8]>, Vec<&[u8]>) = unsaved
            .iter()
            .map(|row| &row[..])
            .partition(|row| self.held.contains_key(*row));
        for gone in Top::portions(&gone) {
            let rows = self.batch(gone)?;
            self.state.remove(Bucket(0), rows.columns(), gone.len())?;
        }
        for alive in Top::portions(&alive) {
            let rows = self.batch(alive)?;
            let counts = alive.iter().map(|row| self.held[*row]);
            let counts: [ArrayRef; 1] = [Arc::new(Int64Array::from_iter_values(counts))];
            self.state
                .upsert(Bucket(0), rows.columns(), &counts, alive.len())?;
        }
        Ok(self.state.tap())
    }

    fn report(&mut self) -> Option<OperatorReport> {
        let entries = self.held.len() + self.out.len() + self.unsaved.len();
        Some(OperatorReport {
            rows_total: self.held.len() as u64,
            bytes: (self.bytes + self.out_bytes + self.state.bytes()) as u64
                + (entries * ENTRY_BYTES) as u64,
            ..OperatorReport::default()
        })
    }
}
