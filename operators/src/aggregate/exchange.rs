//! What travels between the halves of an aggregation: groups of one bucket with the states of their
//! functions, split among workers by the hash of their keys.
//!
//! | columns | what |
//! |---|---|
//! | `__bucket` | the bucket of all rows |
//! | `key0`, `key1`, … | the further time column, then the keys of the query |
//! | `state0_0`, `state0_1`, `state1_0`, … | the states, call by call |
//! | `__rows` | input rows that the group stands for, less those taken back |

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions},
    compute,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};

use crate::{
    error::{OperatorError, Result},
    state::Bucket,
};

/// The form of what travels for one aggregation.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    schema: SchemaRef,
}

/// Groups on their way.
#[derive(Clone, Debug)]
pub(super) struct PartialGroups {
    batch: RecordBatch,
    keys: usize,
}

impl Exchange {
    /// The form for keys, and for states with their rows.
    pub(super) fn new(keys: &Schema, states: &Schema) -> Exchange {
        let nullable = |prefix: &str, index: usize, field: &Field| {
            Field::new(format!("{prefix}{index}"), field.data_type().clone(), true)
        };
        let mut fields = vec![Field::new("__bucket", DataType::Int64, false)];
        fields.extend(
            keys.fields()
                .iter()
                .enumerate()
                .map(|(index, field)| nullable("key", index, field)),
        );
        fields.extend(states.fields().iter().map(|field| field.as_ref().clone()));
        Exchange {
            schema: Arc::new(Schema::new(fields)),
        }
    }

    /// Groups of one bucket as a batch.
    ///
    /// # Errors
    /// When the columns are of another aggregation.
    pub(super) fn batch(
        &self,
        bucket: Bucket,
        keys: Vec<ArrayRef>,
        states: Vec<ArrayRef>,
        groups: usize,
    ) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_value(bucket.0, groups))];
        columns.extend(keys);
        columns.extend(states);
        let options = RecordBatchOptions::new().with_row_count(Some(groups));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(OperatorError::arrow("making partial groups"))
    }
}

impl PartialGroups {
    /// The groups of a batch, of which so many columns are keys; `None` if there are none.
    pub(super) fn read(batch: &RecordBatch, keys: usize) -> Option<(Bucket, PartialGroups)> {
        if batch.num_rows() == 0 {
            return None;
        }
        let bucket = Bucket(batch.column(0).as_primitive::<Int64Type>().value(0));
        let batch = batch.clone();
        Some((bucket, PartialGroups { batch, keys }))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Their keys.
    pub(super) fn keys(&self) -> &[ArrayRef] {
        &self.batch.columns()[1..=self.keys]
    }

    /// The states of their functions, then the rows.
    pub(super) fn states(&self) -> &[ArrayRef] {
        &self.batch.columns()[1 + self.keys..]
    }

    /// Input rows that they stand for, those taken back among them.
    pub(super) fn rows(&self) -> u64 {
        let last = self.batch.num_columns() - 1;
        let rows = self.batch.column(last).as_primitive::<Int64Type>();
        rows.values().iter().map(|rows| rows.unsigned_abs()).sum()
    }

    /// Those for which the mask is true, and the others.
    ///
    /// # Errors
    /// When the mask is not as long.
    pub(super) fn split(&self, mask: &BooleanArray) -> Result<(PartialGroups, PartialGroups)> {
        let others = compute::not(mask).map_err(OperatorError::arrow("splitting groups"))?;
        let keep = |mask: &BooleanArray| -> Result<PartialGroups> {
            let batch = compute::filter_record_batch(&self.batch, mask)
                .map_err(OperatorError::arrow("splitting groups"))?;
            Ok(PartialGroups {
                batch,
                keys: self.keys,
            })
        };
        Ok((keep(mask)?, keep(&others)?))
    }
}
