//! What the memory sources and sinks of a session share.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::SchemaRef,
};
use millstream_connectors_api::{ConnectorError, SinkRows, Waker};
use millstream_types::{Epoch, OutputMode};

use super::NAME;

/// Some rows of a result, with the epoch that brought them.
#[derive(Clone, Debug)]
pub struct SignedRows {
    /// The epoch.
    pub epoch: Epoch,
    /// The rows.
    pub rows: RecordBatch,
    /// +1 or -1 a row; `None` means that all are +1.
    pub signs: Option<Int64Array>,
}

#[derive(Debug)]
struct Input {
    schema: SchemaRef,
    blocks: Vec<RecordBatch>,
    /// To be called when a block is added: one a query that reads the table.
    wakers: Vec<Waker>,
}

#[derive(Debug, Default)]
struct Output {
    schema: Option<SchemaRef>,
    rows: Vec<SignedRows>,
    /// How many of `rows` were taken.
    taken: usize,
    committed: Option<Epoch>,
}

#[derive(Debug, Default)]
struct Tables {
    inputs: BTreeMap<String, Input>,
    outputs: BTreeMap<String, Output>,
}

/// Tables in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryHub {
    tables: Arc<Mutex<Tables>>,
}

impl MemoryHub {
    /// No tables.
    #[must_use]
    pub fn new() -> MemoryHub {
        MemoryHub::default()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // Nothing panics while it holds the lock with a table half changed.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a block of rows to an input table, which the first block creates, and gives its index.
    /// Blocks that are there when a query plans its next epoch all belong to that epoch.
    ///
    /// # Errors
    /// [`ConnectorError::Unsupported`] if the columns are not those of the table.
    pub fn add(&self, table: &str, rows: RecordBatch) -> Result<u64, ConnectorError> {
        let mut tables = self.lock();
        let input = tables
            .inputs
            .entry(table.to_owned())
            .or_insert_with(|| Input {
                schema: rows.schema(),
                blocks: Vec::new(),
                wakers: Vec::new(),
            });
        let rows = fit(table, &input.schema, rows)?;
        input.blocks.push(rows);
        let index = input.blocks.len() as u64 - 1;
        let wakers = input.wakers.clone();
        drop(tables);
        wakers.iter().for_each(Waker::wake);
        Ok(index)
    }

    /// The columns of an input table, which is created with `given` if it does not exist.
    pub(super) fn define(
        &self,
        table: &str,
        given: Option<&SchemaRef>,
    ) -> Result<SchemaRef, ConnectorError> {
        let mut tables = self.lock();
        match (tables.inputs.get(table), given) {
            (Some(input), Some(given)) if !same_columns(&input.schema, given) => {
                Err(ConnectorError::FixedSchema { connector: NAME })
            }
            (Some(input), _) => Ok(Arc::clone(&input.schema)),
            (None, None) => Err(ConnectorError::SchemaRequired { connector: NAME }),
            (None, Some(given)) => {
                let input = Input {
                    schema: Arc::clone(given),
                    blocks: Vec::new(),
                    wakers: Vec::new(),
                };
                tables.inputs.insert(table.to_owned(), input);
                Ok(Arc::clone(given))
            }
        }
    }

    /// How many blocks an input table has.
    pub(super) fn blocks(&self, table: &str) -> u64 {
        let tables = self.lock();
        let count = tables
            .inputs
            .get(table)
            .map_or(0, |input| input.blocks.len());
        count as u64
    }

    /// Has a waker called for each block that is added from now on.
    pub(super) fn watch(&self, table: &str, waker: &Waker) {
        if let Some(input) = self.lock().inputs.get_mut(table) {
            input.wakers.retain(|held| !held.is_spent());
            input.wakers.push(waker.clone());
        }
    }

    /// Some blocks of an input table; `None` if it does not have them all.
    pub(super) fn read_blocks(
        &self,
        table: &str,
        blocks: RangeInclusive<u64>,
    ) -> Option<Vec<RecordBatch>> {
        let first = usize::try_from(*blocks.start()).ok()?;
        let last = usize::try_from(*blocks.end()).ok()?;
        let tables = self.lock();
        Some(tables.inputs.get(table)?.blocks.get(first..=last)?.to_vec())
    }

    /// Takes an input table and its blocks away.
    pub fn drop_input(&self, table: &str) {
        self.lock().inputs.remove(table);
    }

    /// All rows that a query put into its table; in mode `complete` only the newest result.
    #[must_use]
    pub fn read(&self, query: &str) -> Vec<SignedRows> {
        let tables = self.lock();
        tables
            .outputs
            .get(query)
            .map_or_else(Vec::new, |output| output.rows.clone())
    }

    /// The rows that came since the last call of this function.
    #[must_use]
    pub fn take(&self, query: &str) -> Vec<SignedRows> {
        let mut tables = self.lock();
        let Some(output) = tables.outputs.get_mut(query) else {
            return Vec::new();
        };
        let fresh = output.rows.get(output.taken..).unwrap_or(&[]).to_vec();
        output.taken = output.rows.len();
        fresh
    }

    /// The columns of a query's table; `None` if no query of this name was started.
    #[must_use]
    pub fn output_schema(&self, query: &str) -> Option<SchemaRef> {
        self.lock().outputs.get(query)?.schema.clone()
    }

    /// The newest epoch whose rows are in a query's table.
    #[must_use]
    pub fn committed(&self, query: &str) -> Option<Epoch> {
        self.lock().outputs.get(query)?.committed
    }

    /// The names of the tables that queries filled.
    #[must_use]
    pub fn outputs(&self) -> Vec<String> {
        self.lock().outputs.keys().cloned().collect()
    }

    /// Forgets a query's table and the epochs that were committed to it. To be called when a query
    /// starts anew, without its checkpoint: else its first epochs would be taken for repeats.
    pub fn drop_output(&self, query: &str) {
        self.lock().outputs.remove(query);
    }

    pub(super) fn open_output(&self, query: &str, schema: &SchemaRef) {
        let mut tables = self.lock();
        let output = tables.outputs.entry(query.to_owned()).or_default();
        output.schema = Some(Arc::clone(schema));
    }

    /// Makes an epoch visible and records it, under one lock. A repeat changes nothing.
    pub(super) fn commit(
        &self,
        query: &str,
        epoch: Epoch,
        mode: OutputMode,
        writes: Vec<SinkRows>,
    ) -> u64 {
        let mut tables = self.lock();
        let output = tables.outputs.entry(query.to_owned()).or_default();
        if output.committed >= Some(epoch) {
            return 0;
        }
        output.committed = Some(epoch);
        if mode == OutputMode::Complete {
            output.rows.clear();
            output.taken = 0;
        }
        let mut rows = 0;
        for write in writes.into_iter().filter(|write| write.rows.num_rows() > 0) {
            rows += write.rows.num_rows() as u64;
            output.rows.push(SignedRows {
                epoch,
                rows: write.rows,
                signs: write.signs,
            });
        }
        rows
    }
}

/// Whether names and types agree; what may be null does not matter.
fn same_columns(a: &SchemaRef, b: &SchemaRef) -> bool {
    a.fields().len() == b.fields().len()
        && a.fields()
            .iter()
            .zip(b.fields())
            .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type())
}

fn fit(table: &str, schema: &SchemaRef, rows: RecordBatch) -> Result<RecordBatch, ConnectorError> {
    let refused = || ConnectorError::Unsupported {
        connector: NAME,
        what: format!("has other columns in table {table:?} than the rows that were added"),
    };
    let (given, columns, _) = rows.into_parts();
    if !same_columns(schema, &given) {
        return Err(refused());
    }
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|_| refused())
}
