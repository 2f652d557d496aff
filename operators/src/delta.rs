//! `Delta`: the rows that travel between operators.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt64Array},
    compute,
    datatypes::Schema,
};
use timely::Accountable;

use crate::{
    error::{OperatorError, Result},
    width::width,
};

/// Rows a batch holds at most; larger ones are cut where they are made.
pub const BATCH_ROWS_MAX: usize = 8192;

/// Bytes a batch holds about, where rows may be wide: a row that is wider goes alone.
pub const BATCH_BYTES_MAX: usize = 4 << 20;

/// Some rows of one epoch, with a sign where something upstream retracts.
///
/// Cloning is cheap (reference counts). What a `Delta` does *not* carry: its epoch (that is the
/// timely timestamp) and its order (only operators that declare it look at `origin`).
///
/// `diff = None` means that every row is +1: inputs are append-only and stay so through most
/// plans, so no column is carried and no arithmetic done until something retracts. `hash` is the
/// key hash of the last exchange, for the next operator on the same keys. `origin` says where in its
/// epoch's input a row stood, and is there only in plans with an operator that asks (`first`, LIMIT,
/// count windows): without it answers would depend on which worker was faster.
#[derive(Clone, Debug)]
pub struct Delta {
    batch: RecordBatch,
    diff: Option<Int64Array>,
    hash: Option<UInt64Array>,
    origin: Option<UInt64Array>,
    /// A frame that could not be read; the operator that receives it stops the query.
    damaged: bool,
}

impl Delta {
    /// Rows that are all +1.
    #[must_use]
    pub fn insertions(batch: RecordBatch) -> Delta {
        Delta {
            batch,
            diff: None,
            hash: None,
            origin: None,
            damaged: false,
        }
    }

    /// Rows with their signs.
    #[must_use]
    pub fn signed(batch: RecordBatch, diff: Option<Int64Array>) -> Delta {
        assert!(
            diff.as_ref()
                .is_none_or(|diff| diff.len() == batch.num_rows())
        );
        Delta {
            batch,
            diff,
            hash: None,
            origin: None,
            damaged: false,
        }
    }

    /// The same rows with the hash of their keys.
    #[must_use]
    pub fn with_hash(mut self, hash: UInt64Array) -> Delta {
        assert_eq!(hash.len(), self.batch.num_rows());
        self.hash = Some(hash);
        self
    }

    /// The same rows without key hashes.
    #[must_use]
    pub fn without_hash(mut self) -> Delta {
        self.hash = None;
        self
    }

    /// The same rows with their places in the input of their epoch.
    #[must_use]
    pub fn with_origin(mut self, origin: Option<UInt64Array>) -> Delta {
        assert!(
            origin
                .as_ref()
                .is_none_or(|origin| origin.len() == self.batch.num_rows())
        );
        self.origin = origin;
        self
    }

    /// What stands for a frame that cannot be read.
    pub(crate) fn damaged() -> Delta {
        let mut delta = Delta::insertions(RecordBatch::new_empty(Arc::new(Schema::empty())));
        delta.damaged = true;
        delta
    }

    /// Whether the frame could not be read.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// The rows.
    #[must_use]
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// The signs, unless all are +1.
    #[must_use]
    pub fn diff(&self) -> Option<&Int64Array> {
        self.diff.as_ref()
    }

    /// The key hashes of the last exchange.
    #[must_use]
    pub fn hash(&self) -> Option<&UInt64Array> {
        self.hash.as_ref()
    }

    /// Where in the input of their epoch the rows stood, if the plan wants to know.
    #[must_use]
    pub fn origin(&self) -> Option<&UInt64Array> {
        self.origin.as_ref()
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Bytes of the rows, without what a slice shares with others.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let columns = self.batch.columns().iter();
        columns.map(|column| width(column, 0..column.len())).sum()
    }

    /// Rows and signs.
    #[must_use]
    pub fn into_parts(self) -> (RecordBatch, Option<Int64Array>) {
        (self.batch, self.diff)
    }

    /// Rows `start .. start + len`, sharing memory.
    #[must_use]
    pub fn slice(&self, start: usize, len: usize) -> Delta {
        Delta {
            batch: self.batch.slice(start, len),
            diff: self.diff.as_ref().map(|diff| diff.slice(start, len)),
            hash: self.hash.as_ref().map(|hash| hash.slice(start, len)),
            origin: self.origin.as_ref().map(|origin| origin.slice(start, len)),
            damaged: self.damaged,
        }
    }

    /// The rows of several deltas with the same columns, one after the other. Hashes are left behind.
    ///
    /// # Errors
    /// When the columns differ.
    pub fn concat(deltas: &[Delta]) -> Result<Delta> {
        let [first, rest @ ..] = deltas else {
            return Ok(Delta::default());
        };
        if rest.is_empty() {
            return Ok(first.clone());
        }
        let gathered = OperatorError::arrow("gathering the rows of an epoch");
        let batches = deltas.iter().map(|delta| &delta.batch);
        let batch = compute::concat_batches(&first.batch.schema(), batches).map_err(gathered)?;
        let diff = deltas.iter().any(|delta| delta.diff.is_some()).then(|| {
            let signs = deltas.iter().flat_map(|delta| {
                let diff = delta.diff.as_ref();
                (0..delta.rows()).map(move |row| diff.map_or(1, |diff| diff.value(row)))
            });
            Int64Array::from_iter_values(signs)
        });
        let origin = deltas.iter().all(|delta| delta.origin.is_some()).then(|| {
            let origins = deltas.iter().filter_map(|delta| delta.origin.as_ref());
            UInt64Array::from_iter_values(
                origins.flat_map(|origin| origin.values().iter().copied()),
            )
        });
        Ok(Delta::signed(batch, diff).with_origin(origin))
    }

    /// The same rows with other columns. Their hashes are of the old ones and are left behind.
    #[must_use]
    pub fn with_columns(self, batch: RecordBatch) -> Delta {
        Delta::signed(batch, self.diff).with_origin(self.origin)
    }

    /// The rows for which the mask is true.
    ///
    /// # Errors
    /// When the mask has another length.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Delta> {
        let side = |array: &dyn Array| {
            compute::filter(array, keep).map_err(OperatorError::arrow("filtering rows"))
        };
        let batch = compute::filter_record_batch(&self.batch, keep)
            .map_err(OperatorError::arrow("filtering rows"))?;
        let diff = self.diff.as_ref().map(|diff| side(diff)).transpose()?;
        let hash = self.hash.as_ref().map(|hash| side(hash)).transpose()?;
        let origin = self
            .origin
            .as_ref()
            .map(|origin| side(origin))
            .transpose()?;
        Ok(Delta {
            batch,
            diff: diff.map(|diff| Int64Array::from(diff.to_data())),
            hash: hash.map(|hash| UInt64Array::from(hash.to_data())),
            origin: origin.map(|origin| UInt64Array::from(origin.to_data())),
            damaged: self.damaged,
        })
    }

    /// The rows at `indices`, copied.
    ///
    /// # Errors
    /// When an index is out of range.
    pub fn take(&self, indices: &ArrayRef) -> Result<Delta> {
        let take = |array: &dyn Array| {
            compute::take(array, indices, None)
                .map_err(OperatorError::arrow("taking rows of a delta"))
        };
        let columns = self
            .batch
            .columns()
            .iter()
            .map(|column| take(column))
            .collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new_with_options(
            self.batch.schema(),
            columns,
            &arrow::array::RecordBatchOptions::new().with_row_count(Some(indices.len())),
        )
        .map_err(OperatorError::arrow("taking rows of a delta"))?;
        let diff = self.diff.as_ref().map(|diff| take(diff)).transpose()?;
        let hash = self.hash.as_ref().map(|hash| take(hash)).transpose()?;
        let origin = self
            .origin
            .as_ref()
            .map(|origin| take(origin))
            .transpose()?;
        Ok(Delta {
            batch,
            diff: diff.map(|diff| Int64Array::from(diff.to_data())),
            hash: hash.map(|hash| UInt64Array::from(hash.to_data())),
            origin: origin.map(|origin| UInt64Array::from(origin.to_data())),
            damaged: self.damaged,
        })
    }
}

impl Default for Delta {
    fn default() -> Delta {
        Delta::insertions(RecordBatch::new_empty(Arc::new(Schema::empty())))
    }
}

impl Accountable for Delta {
    /// A damaged frame counts as one row: it must be delivered, and timely delivers only what counts.
    fn record_count(&self) -> i64 {
        i64::try_from(self.batch.num_rows()).unwrap_or(i64::MAX) + i64::from(self.damaged)
    }
}
