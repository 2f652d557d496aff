//! DataFusion, batch: the same rows from the same files, without time, state and checkpoint.
//!
//! It is what an incremental engine over the same expressions is measured against: whoever knows
//! all input at once has less to do.

use std::{path::Path, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::{
    error::DataFusionError,
    physical_plan::{SendableRecordBatchStream, execute_stream_partitioned},
    prelude::{CsvReadOptions, JsonReadOptions, SessionConfig, SessionContext},
};
use futures::StreamExt;
use tokio::task::JoinSet;

use crate::{
    checksum::Outcome,
    data, engine,
    error::{BenchError, Result},
    queries,
};

/// Runs the batch text of a query with a number of threads and as many partitions.
pub(crate) fn run(query: &str, dir: &Path, threads: usize) -> Result<Outcome> {
    let Some(found) = queries::find(query) else {
        return Err(BenchError::NotBuilt {
            query: query.to_owned(),
        });
    };
    let failed = |error: DataFusionError| BenchError::Run {
        query: query.to_owned(),
        engine: "datafusion",
        what: error.to_string(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(BenchError::io(dir))?;
    let mark_ms = data::newest_ms(dir)? - 10_000;
    let text = found
        .batch
        .replace("{mark}", &format!("to_timestamp_millis({mark_ms})"));
    let mut outcome = runtime.block_on(ask(&text, dir, threads)).map_err(failed)?;
    let held = data::marker(dir)?;
    outcome.events = match query {
        "w1" => held.words,
        "w1s" => held.lines,
        _ => held.bids,
    } as u64;
    Ok(outcome)
}

fn bids() -> SchemaRef {
    let number = |name: &str| Field::new(name, DataType::Int64, true);
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        number("auction"),
        number("bidder"),
        number("price"),
        text("channel"),
        text("url"),
        Field::new("date_time", time, true),
        text("extra"),
    ]))
}

async fn ask(text: &str, dir: &Path, threads: usize) -> Result<Outcome, DataFusionError> {
    let mut config = SessionConfig::new().with_target_partitions(threads);
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    let context = SessionContext::new_with_config(config);
    let folder = |name: &str| format!("{}/{name}/", dir.display());
    let schema = bids();
    let json = JsonReadOptions::default()
        .schema(&schema)
        .file_extension(".json");
    context.register_json("bids", folder("bids"), json).await?;
    for table in ["words", "lines"] {
        if !text.contains(&format!("FROM {table}")) {
            continue;
        }
        let columns = Schema::new(vec![Field::new("value", DataType::Utf8, true)]);
        let lines = CsvReadOptions::new()
            .has_header(false)
            .schema(&columns)
            .file_extension(".txt");
        context.register_csv(table, folder(table), lines).await?;
    }
    let plan = context.sql(text).await?.create_physical_plan().await?;
    let streams = execute_stream_partitioned(plan, context.task_ctx())?;
    let mut drains = JoinSet::new();
    for stream in streams {
        drains.spawn(drain(stream));
    }
    let mut outcome = Outcome::default();
    while let Some(drained) = drains.join_next().await {
        let drained = drained.map_err(|error| DataFusionError::External(Box::new(error)))?;
        outcome.add(&drained?);
    }
    Ok(outcome)
}

/// The sink: counts and hashes rows, and keeps none.
async fn drain(mut stream: SendableRecordBatchStream) -> Result<Outcome, DataFusionError> {
    let mut outcome = Outcome::default();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let checksum =
            engine::checksum(&batch).map_err(|error| DataFusionError::External(Box::new(error)))?;
        outcome.add(&Outcome {
            events: 0,
            rows_out: batch.num_rows() as u64,
            checksum,
        });
    }
    Ok(outcome)
}
