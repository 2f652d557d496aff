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
    SinkReceipt, SinkRequest, Source, SourceRequest,
};
use millstream_operators::keyhash::hash_keys;
use millstream_types::Epoch;

use crate::{
    checksum::Outcome,
    error::{BenchError, Result},
};

const BIDS: &str = "CREATE TABLE bids (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING,
    url STRING, date_time TIMESTAMP, extra STRING,
    WATERMARK FOR date_time AS date_time - INTERVAL '10' SECOND)
    WITH (connector = 'file', format = 'json', path = '{dir}/bids')";

const WORDS: &str = "CREATE TABLE words (value STRING) WITH (connector = 'file', format = 'text', path = '{dir}/words')";

/// A query of the suite: its name, table, text and output mode.
const SUITE: [(&str, &str, &str, OutputMode); 8] = [
    (
        "w1",
        WORDS,
        "SELECT value, count(*) AS n FROM words GROUP BY value",
        OutputMode::Update,
    ),
    (
        "w2",
        BIDS,
        "SELECT window.start, window.end, auction, count(*) AS bids FROM bids
         GROUP BY window(date_time, '10 seconds'), auction",
        OutputMode::Append,
    ),
    (
        "w3",
        BIDS,
        "SELECT w.start, w.end, max_by(auction, bids) AS auction, max(bids) AS bids FROM (
           SELECT window(date_time, '10 seconds', '2 seconds') AS w, auction, count(*) AS bids
           FROM bids GROUP BY window(date_time, '10 seconds', '2 seconds'), auction) GROUP BY w",
        OutputMode::Append,
    ),
    (
        "q0",
        BIDS,
        "SELECT auction, bidder, price, channel, url, date_time, extra FROM bids",
        OutputMode::Append,
    ),
    (
        "q1",
        BIDS,
        "SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bids",
        OutputMode::Append,
    ),
    (
        "q2",
        BIDS,
        "SELECT auction, price FROM bids WHERE auction % 123 = 0",
        OutputMode::Append,
    ),
    (
        "q7",
        BIDS,
        "SELECT window.start, window.end, max(price) AS price FROM bids
         GROUP BY window(date_time, '10 seconds')",
        OutputMode::Append,
    ),
    (
        "q11",
        BIDS,
        "SELECT session_window.start, session_window.end, bidder, count(*) AS bids FROM bids
         GROUP BY session_window(date_time, '10 seconds'), bidder",
        OutputMode::Append,
    ),
];

/// Queries that [`run_engine`] knows.
pub(crate) fn queries() -> impl Iterator<Item = &'static str> {
    SUITE.iter().map(|(name, ..)| *name)
}

/// Runs a query of the suite over the files of `dir` with a number of workers: trigger
/// available-now, checkpoint on the local disk, a sink that drops rows.
///
/// The outcome counts input rows, result rows and their checksum as [`checksum`](crate::checksum)
/// says. Time and memory are the caller's to measure: it runs this alone in a process.
pub(crate) fn run_engine(query: &str, dir: &Path, workers: usize) -> Result<Outcome> {
    let found = SUITE.iter().find(|(name, ..)| *name == query);
    let Some((_, table, text, mode)) = found else {
        return Err(BenchError::NotBuilt {
            query: query.to_owned(),
        });
    };
    let failed = |error: millstream::Error| BenchError::Run {
        query: query.to_owned(),
        engine: "millstream",
        what: millstream::fault(&error).to_string(),
    };
    let outcome = Arc::<Mutex<Outcome>>::default();
    let session = Session::builder()
        .workers(workers)
        .connector(Arc::new(Dropping {
            outcome: outcome.clone(),
        }))
        .build()
        .map_err(failed)?;
    let dir = dir.to_string_lossy();
    session
        .execute(&table.replace("{dir}", &dir))
        .map_err(failed)?;
    let checkpoint = std::env::temp_dir().join(format!("millstream-bench-{}", std::process::id()));
    let writer = session.sql(text).map_err(failed)?.write_stream();
    let ran = writer
        .format("dropping")
        .output_mode(*mode)
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
    fn source(&self, _request: &SourceRequest) -> Result<Box<dyn Source>, ConnectorError> {
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
fn checksum(rows: &RecordBatch) -> Result<u64, ConnectorError> {
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
    fn open(&mut self, _schema: &SchemaRef, _mode: OutputMode) -> Result<(), ConnectorError> {
        Ok(())
    }
    fn last_committed(&mut self) -> Result<Option<Epoch>, ConnectorError> {
        Ok(None)
    }
    fn write(&mut self, write: EpochWrite) -> Result<(), ConnectorError> {
        let checksum = checksum(&write.rows)?;
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.rows_out += write.rows.num_rows() as u64;
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
