//! The half of an aggregation before the exchange: what moves are touched groups, not rows.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt64Array},
    compute,
    datatypes::{DataType, Schema},
};
use millstream_types::Epoch;

use super::{
    AggregateSpec,
    buckets::{Buckets, Part},
    exchange::Exchange,
    groups::{Columns, Groups, in_batches, state_schema},
};
use crate::{
    delta::Delta,
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    keyhash::hash_keys,
    state::{Bucket, BucketChange},
};

/// Groups that a worker gathers before it sends them on: bounds memory when keys hardly repeat, and
/// keeps the table in the cache.
const GROUPS_MAX: usize = 32 * 1024;

/// Pre-aggregates the rows of one worker in one epoch.
///
/// It keeps nothing between epochs and looks at no mark: who is late is decided where the whole
/// group is, so rows are counted exactly.
pub struct PartialAggregate {
    spec: AggregateSpec,
    buckets: Buckets,
    key_types: Vec<DataType>,
    tables: BTreeMap<Bucket, Groups>,
    gathered: usize,
    exchange: Exchange,
}

impl std::fmt::Debug for PartialAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartialAggregate")
            .field("time", &self.spec.time)
            .finish_non_exhaustive()
    }
}

/// Key columns of the tables: the further time column, then the keys of the query.
pub(super) fn table_keys(spec: &AggregateSpec, buckets: &Buckets) -> Schema {
    let extra = buckets.extra_key(&spec.input).into_iter();
    let keys = spec.keys.iter().map(|key| spec.input.field(*key).clone());
    Schema::new(extra.chain(keys).collect::<Vec<_>>())
}

impl PartialAggregate {
    /// The operator for a spec.
    ///
    /// # Errors
    /// When a key or function has no form here.
    pub fn new(spec: AggregateSpec) -> Result<PartialAggregate> {
        let buckets = Buckets::new(&spec)?;
        let keys = table_keys(&spec, &buckets);
        let exchange = Exchange::new(&keys, &state_schema(&spec.calls)?);
        let key_types = keys
            .fields()
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        Ok(PartialAggregate {
            spec,
            buckets,
            key_types,
            tables: BTreeMap::new(),
            gathered: 0,
            exchange,
        })
    }

    fn add(&mut self, epoch: Epoch, delta: &Delta, part: &Part) -> Result<()> {
        let cut;
        let delta = match &part.rows {
            None => delta,
            Some(rows) => {
                cut = delta.take(&(Arc::new(rows.clone()) as ArrayRef))?;
                &cut
            }
        };
        let batch = delta.batch();
        let extra = self.buckets.extra_column(batch).into_iter();
        let own = self.spec.keys.iter().map(|key| batch.column(*key).clone());
        let keys: Vec<ArrayRef> = extra.chain(own).collect();
        let table = match self.tables.entry(part.bucket) {
            std::collections::btree_map::Entry::Occupied(table) => table.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Groups::new(&self.key_types, &self.spec.calls)?.gathering())
            }
        };
        let before = table.len();
        table.update(&Columns {
            keys: &keys,
            calls: &self.spec.calls,
            batch,
            signs: delta.diff(),
            epoch,
            origins: delta.origin(),
        })?;
        self.gathered += table.len() - before;
        Ok(())
    }

    fn flush(&mut self, out: &mut Emitter) -> Result<()> {
        self.gathered = 0;
        for (bucket, mut table) in std::mem::take(&mut self.tables) {
            table.settle()?;
            let count = u32::try_from(table.len())
                .map_err(|_| OperatorError::contract("more than 2^32 groups in a table"))?;
            let all: Vec<u32> = (0..count).collect();
            for groups in in_batches(&all) {
                out.give(self.part(bucket, &table, groups)?);
            }
        }
        Ok(())
    }

    fn part(&self, bucket: Bucket, table: &Groups, groups: &[u32]) -> Result<Delta> {
        let keys = table.key_columns(groups)?;
        let salt = self.buckets.placement().salt(bucket);
        let hashes = hash_keys(salt, &keys, groups.len())?;
        let batch = self
            .exchange
            .batch(bucket, keys, table.states(groups)?, groups.len())?;
        Ok(Delta::insertions(batch).with_hash(UInt64Array::from(hashes)))
    }
}

impl EpochOperator for PartialAggregate {
    fn on_delta(
        &mut self,
        context: &EpochContext,
        _port: usize,
        delta: Delta,
        out: &mut Emitter,
    ) -> Result<()> {
        for part in self.buckets.split(delta.batch())? {
            self.add(context.epoch, &delta, &part)?;
        }
        if self.gathered > GROUPS_MAX {
            self.flush(out)?;
        }
        Ok(())
    }

    fn on_close(&mut self, _context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        self.flush(out)?;
        Ok(Progress::Done)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        Ok(Vec::new())
    }

    fn report(&mut self) -> Option<OperatorReport> {
        None
    }
}

/// Keeps rows of a batch for which the mask is true.
pub(super) fn keep(batch: &RecordBatch, mask: &arrow::array::BooleanArray) -> Result<RecordBatch> {
    compute::filter_record_batch(batch, mask).map_err(OperatorError::arrow("filtering groups"))
}
