//! Sources that make their rows themselves: `rate`, `rate-micro-batch`, `nexmark`. A range of one
//! of them is a few numbers, so it gives the same rows whenever it is read.

mod micro_batch;
mod nexmark;
mod rate;

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use millstream_connectors_api::{
    Ask, Chunk, ChunkBody, ConnectorError, Flow, PlannedRange, SourceReader, SourceRequest, Split,
    Splits,
};

pub use micro_batch::RateMicroBatchConnector;
pub use nexmark::NexmarkConnector;
pub use rate::RateConnector;

/// Rows in a generated chunk at most.
const CHUNK_ROWS: u64 = 8_192;

/// Instants with microseconds in UTC: what Spark calls TIMESTAMP.
fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The columns of both rate sources.
fn rate_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("timestamp", timestamp(), true),
        Field::new("value", DataType::Int64, true),
    ]))
}

/// Refuses columns given by the user.
fn fixed(connector: &'static str, request: &SourceRequest) -> Result<(), ConnectorError> {
    match request.schema {
        Some(_) => Err(ConnectorError::FixedSchema { connector }),
        None => Ok(()),
    }
}

/// The error of connectors that can only be read.
fn no_sink(connector: &'static str) -> ConnectorError {
    ConnectorError::Unsupported {
        connector,
        what: "has no sink side".to_owned(),
    }
}

/// A signed number from an unsigned one of our own counting.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Milliseconds as microseconds.
fn micros(ms: i64) -> i64 {
    ms.saturating_mul(1_000)
}

fn rows(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, ConnectorError> {
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|source| ConnectorError::Arrow {
        what: "making generated rows",
        source,
    })
}

/// Hands over rows `first..last` of a rate source, row by row computed by `instant_ms`.
fn give_rates(
    schema: &SchemaRef,
    first: u64,
    last: u64,
    instant_ms: impl Fn(u64) -> i64,
    give: &mut dyn FnMut(Chunk) -> Flow,
) -> Result<(), ConnectorError> {
    let mut start = first;
    while start < last {
        let end = last.min(start + CHUNK_ROWS);
        let instants = (start..end).map(|value| micros(instant_ms(value)));
        let instants = TimestampMicrosecondArray::from_iter_values(instants).with_timezone("UTC");
        let values = Int64Array::from_iter_values((start..end).map(signed));
        let batch = rows(schema, vec![Arc::new(instants), Arc::new(values)])?;
        let body = ChunkBody::Rows(batch);
        let position = start - first;
        if give(Chunk { position, body }) == Flow::Stop {
            return Ok(());
        }
        start = end;
    }
    Ok(())
}

/// To be asked again at an instant.
fn until_ms(now_ms: i64, at_ms: i64) -> Ask {
    let wait_ms = u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0);
    // A clock that was set back must not put a source to sleep for ever.
    Ask::After(Duration::from_millis(wait_ms.clamp(1, 10_000)))
}

/// A generated range as its only split.
fn whole(range: &PlannedRange, rows: u64) -> Splits {
    let split = Split {
        extent: rows,
        detail: range.detail.clone(),
    };
    Box::new(std::iter::once(Ok(split)))
}

/// A reader that is a function of the split.
struct Generator<F>(F);

impl<F> SourceReader for Generator<F>
where
    F: FnMut(&Split, &mut dyn FnMut(Chunk) -> Flow) -> Result<(), ConnectorError> + Send,
{
    fn read(
        &mut self,
        split: &Split,
        give: &mut dyn FnMut(Chunk) -> Flow,
    ) -> Result<(), ConnectorError> {
        (self.0)(split, give)
    }
}

#[cfg(test)]
mod tests;
