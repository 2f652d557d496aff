//! The engine's side of the comparison: the one file that runs Millstream itself.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    datatypes::SchemaRef,
};
use millstream::{Checkpoint, OutputMode, Session, Trigger};
use millstream_connectors_api::{
    Capabilities, ConnectorError, ConnectorFactory, EpochWrite, Guarantee, OptionSpec, Sink,
    SinkContext, SinkReceipt, SinkRequest, Source, SourceContext, SourceRequest,
};
use millstream_operators::keyhash::hash_keys;
use millstream_types::Epoch;

use crate::{
    checksum::Outcome,
    error::{BenchError, Result},
    queries,
};

/// Runs a query of the suite over the files of `dir` with a number of workers: trigger
/// available-now, checkpoint on the local disk, a sink that drops rows.
///
/// The outcome counts input rows, result rows and their checksum as [`checksum`](crate::checksum)
/// says. Time and memory are the caller's to measure: it runs this alone in a process.
pub(crate) fn run_engine(query: &str, dir: &Path, workers: usize) -> Result<Outcome> {
    let Some(found) = queries::find(query) else {
        return Err(BenchError::NotBuilt {
            query: query.to_owned(),
        });
    };
    let statement = Statement {
        name: query,
        table: &found.table.replace("{dir}", &dir.to_string_lossy()),
        sql: found.sql,
        mode: found.mode,
    };
    run_statement(&statement, None, workers)
}

/// A query and the table that it reads.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) name: &'a str,
    pub(crate) table: &'a str,
    pub(crate) sql: &'a str,
    pub(crate) mode: OutputMode,
}

/// Runs a query to the end of its input, with one connector more than there are.
pub(crate) fn run_statement(
    statement: &Statement<'_>,
    connector: Option<Arc<dyn ConnectorFactory>>,
    workers: usize,
) -> Result<Outcome> {
    let failed = |error: millstream::Error| BenchError::Run {
        query: statement.name.to_owned(),
        engine: "millstream",
        what: millstream::fault(&error).to_string(),
    };
    let outcome = Arc::<Mutex<Outcome>>::default();
    let mut builder = Session::builder()
        .workers(workers)
        .connector(Arc::new(Dropping {
            outcome: outcome.clone(),
        }));
    if let Some(connector) = connector {
        builder = builder.connector(connector);
    }
    let session = builder.build().map_err(failed)?;
    session.execute(statement.table).map_err(failed)?;
    let checkpoint = std::env::temp_dir().join(format!("millstream-bench-{}", std::process::id()));
    let writer = session.sql(statement.sql).map_err(failed)?.write_stream();
    let ran = writer
        .format("dropping")
        .output_mode(statement.mode)
        .trigger(Trigger::AvailableNow)
        .checkpoint(Checkpoint::Directory(checkpoint.clone()))
        .start_now()
        .and_then(|running| {
            running.await_termination_blocking(None)?;
            Ok(running
                .recent_progress()
                .iter()
                .map(|one| one.num_input_rows)
                .sum::<u64>())
        });
    // What a run leaves behind is of no use to the next one.
    let _removed = std::fs::remove_dir_all(&checkpoint);
    let mut outcome = *outcome.lock().unwrap_or_else(PoisonError::into_inner);
    outcome.events = ran.map_err(failed)?;
    Ok(outcome)
}

/// A connector whose sink counts and hashes rows, and keeps none.
#[derive(Debug)]
struct Dropping {
    outcome: Arc<Mutex<Outcome>>,
}

fn no_source() -> ConnectorError {
    ConnectorError::Unsupported {
        connector: "dropping",
        what: "has no source side".to_owned(),
    }
}

impl ConnectorFactory for Dropping {
    fn name(&self) -> &'static str {
        "dropping"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            source: false,
            sink: true,
            needs_checkpoint: false,
        }
    }
    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }
    fn schema(&self, _request: &SourceRequest) -> Result<SchemaRef, ConnectorError> {
        Err(no_source())
    }
    fn source(
        &self,
        _request: &SourceRequest,
        _context: SourceContext,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        Err(no_source())
    }
    fn sink(&self, _request: &SinkRequest) -> Result<Box<dyn Sink>, ConnectorError> {
        Ok(Box::new(DroppingSink {
            outcome: self.outcome.clone(),
        }))
    }
}

struct DroppingSink {
    outcome: Arc<Mutex<Outcome>>,
}

/// The sum of the hashes of the rows.
pub(crate) fn checksum(rows: &RecordBatch) -> Result<u64, ConnectorError> {
    let columns: Vec<ArrayRef> = rows
        .columns()
        .iter()
        .flat_map(|column| match column.as_struct_opt() {
            Some(window) => window.columns().to_vec(),
            None => vec![column.clone()],
        })
        .collect();
    let hashes = hash_keys(0, &columns, rows.num_rows()).map_err(|_| ConnectorError::Internal {
        what: "a result column has no hash",
    })?;
    Ok(hashes.into_iter().fold(0, u64::wrapping_add))
}

impl Sink for DroppingSink {
    fn description(&self) -> String {
        "dropping".to_owned()
    }
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
    fn open(&mut self, _context: &SinkContext) -> Result<(), ConnectorError> {
        Ok(())
    }
    fn last_committed(&mut self) -> Result<Option<Epoch>, ConnectorError> {
        Ok(None)
    }
    fn write(&mut self, write: &EpochWrite) -> Result<(), ConnectorError> {
        let rows = &write.body.as_rows()?.rows;
        let checksum = checksum(rows)?;
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.rows_out += rows.num_rows() as u64;
        outcome.checksum = outcome.checksum.wrapping_add(checksum);
        Ok(())
    }
    fn stage(&mut self, _epoch: Epoch) -> Result<(), ConnectorError> {
        Ok(())
    }
    fn commit(&mut self, _epoch: Epoch) -> Result<SinkReceipt, ConnectorError> {
        Ok(SinkReceipt::default())
    }
}
