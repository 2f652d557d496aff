//! The command `growth`: does a row cost more when there are ten times as many keys, open windows,
//! or rows before it?
//!
//! A source of our own makes the rows, so nothing but the engine is measured: with files, parsing
//! would hide the rest. Each run is a whole query, in epochs, with its checkpoint; base and grown
//! run in turn, and the figure is that of the run with the middle CPU time.

use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use millstream::OutputMode;
use millstream_connectors_api::{
    Ask, Capabilities, Chunk, ChunkBody, ConnectorError, ConnectorFactory, Decoder, Flow,
    OptionSpec, PlannedRange, Position, ReadLimit, RowDecoder, Sink, SinkRequest, Source,
    SourceContext, SourceReader, SourceRequest, Split, Splits,
};
use serde::{Deserialize, Serialize};

use crate::{
    arguments::Arguments,
    engine::{self, Statement},
    error::Result,
    measure::{float, timed},
    numbers::Numbers,
};

const BASE_TIME_MS: i64 = 1_600_000_000_000;
const WINDOW_MS: u64 = 10_000;
const CHUNK_ROWS: u64 = 8_192;

/// What the rows are like.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Shape {
    rows: u64,
    epoch_rows: u64,
    keys: u64,
    /// Rows that event time needs to move on by a window.
    window_rows: u64,
    /// Rows of one moment lie in so many windows: the watermark waits for all of them.
    open_windows: u64,
}

const SHAPE: Shape = Shape {
    rows: 4_000_000,
    epoch_rows: 50_000,
    keys: 100_000,
    window_rows: 10_000,
    open_windows: 10,
};

/// Something that grows.
struct Measure {
    name: &'static str,
    windowed: bool,
    base: Shape,
    grown: Shape,
}

const MEASURES: [Measure; 4] = [
    Measure {
        name: "10 times the keys",
        windowed: false,
        base: SHAPE,
        grown: Shape {
            keys: 10 * SHAPE.keys,
            ..SHAPE
        },
    },
    Measure {
        name: "10 times the open windows",
        windowed: true,
        base: Shape { keys: 100, ..SHAPE },
        grown: Shape {
            keys: 100,
            open_windows: 10 * SHAPE.open_windows,
            ..SHAPE
        },
    },
    Measure {
        name: "10 times the history, groups that stay",
        windowed: false,
        base: Shape {
            keys: 10_000,
            rows: 1_000_000,
            ..SHAPE
        },
        grown: Shape {
            keys: 10_000,
            rows: 10_000_000,
            ..SHAPE
        },
    },
    Measure {
        name: "10 times the history, windows that close",
        windowed: true,
        base: Shape {
            keys: 1_000,
            rows: 1_000_000,
            ..SHAPE
        },
        grown: Shape {
            keys: 1_000,
            rows: 10_000_000,
            ..SHAPE
        },
    },
];

/// The command.
pub(crate) fn run(arguments: &Arguments, print: &mut dyn FnMut(String)) -> Result<()> {
    let workers = arguments.number("workers")?.unwrap_or(2);
    let runs: usize = arguments.number("runs")?.unwrap_or(3);
    for measure in &MEASURES {
        let (mut base, mut grown) = (Vec::new(), Vec::new());
        for _ in 0..runs.max(1) {
            base.push(ns_per_row(measure.base, measure.windowed, workers)?);
            grown.push(ns_per_row(measure.grown, measure.windowed, workers)?);
        }
        let (base, grown) = (middle(base), middle(grown));
        print(format!(
            "{:<42} {base:>7.1} ns → {grown:>7.1} ns of CPU a row: {:.2}",
            measure.name,
            grown / base
        ));
    }
    Ok(())
}

fn middle(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs.get(runs.len() / 2).copied().unwrap_or(f64::NAN)
}

/// CPU time of a query over rows of a shape.
fn ns_per_row(shape: Shape, windowed: bool, workers: usize) -> Result<f64> {
    let delay_ms = shape.open_windows * WINDOW_MS;
    let table = format!(
        "CREATE TABLE shaped (WATERMARK FOR at AS at - INTERVAL '{}' SECOND) WITH (connector = 'shaped')",
        delay_ms / 1000
    );
    let (sql, mode) = if windowed {
        (
            "SELECT window(at, '10 seconds') AS w, key, count(*) AS n, sum(value) AS total
             FROM shaped GROUP BY window(at, '10 seconds'), key",
            OutputMode::Append,
        )
    } else {
        (
            "SELECT key, count(*) AS n, sum(value) AS total FROM shaped GROUP BY key",
            OutputMode::Update,
        )
    };
    let statement = Statement {
        name: "growth",
        table: &table,
        sql,
        mode,
    };
    let source = Arc::new(Shaped { shape });
    let (outcome, _, cpu_s) = timed(|| engine::run_statement(&statement, Some(source), workers));
    // Progress is kept of the last hundred epochs only: a query that ended has read all there was.
    outcome?;
    Ok(cpu_s * 1e9 / float(shape.rows))
}

/// A connector whose source makes rows of a shape.
struct Shaped {
    shape: Shape,
}

fn unsupported() -> ConnectorError {
    ConnectorError::Unsupported {
        connector: "shaped",
        what: "has no sink side".to_owned(),
    }
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("value", DataType::Int64, true),
        Field::new("at", time, true),
    ]))
}

impl ConnectorFactory for Shaped {
    fn name(&self) -> &'static str {
        "shaped"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            source: true,
            sink: false,
            needs_checkpoint: false,
        }
    }
    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }
    fn schema(&self, _request: &SourceRequest) -> Result<SchemaRef, ConnectorError> {
        Ok(schema())
    }
    fn source(
        &self,
        _request: &SourceRequest,
        _context: SourceContext,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(ShapedSource {
            shape: self.shape,
            planned: 0,
        }))
    }
    fn sink(&self, _request: &SinkRequest) -> Result<Box<dyn Sink>, ConnectorError> {
        Err(unsupported())
    }
}

struct ShapedSource {
    shape: Shape,
    /// Rows planned so far.
    planned: u64,
}

fn damaged<E>(_: E) -> ConnectorError {
    ConnectorError::Internal {
        what: "a plan of shaped rows cannot be read back",
    }
}

fn rows_of(detail: &[u8]) -> Result<(u64, u64), ConnectorError> {
    serde_json::from_slice(detail).map_err(damaged)
}

impl Source for ShapedSource {
    fn description(&self) -> String {
        "shaped".to_owned()
    }
    fn schema(&self) -> SchemaRef {
        schema()
    }
    fn freeze(&mut self, _now_ms: i64) -> Result<(), ConnectorError> {
        Ok(())
    }
    fn plan(
        &mut self,
        _limit: ReadLimit,
        _now_ms: i64,
    ) -> Result<Option<PlannedRange>, ConnectorError> {
        let last = self.shape.rows.min(self.planned + self.shape.epoch_rows);
        if last == self.planned {
            return Ok(None);
        }
        let start = self.latest();
        let detail = serde_json::to_vec(&(self.planned, last)).map_err(damaged)?;
        self.planned = last;
        Ok(Some(PlannedRange {
            start,
            end: Position(last.to_string()),
            detail,
        }))
    }
    fn latest(&self) -> Option<Position> {
        (self.planned > 0).then(|| Position(self.planned.to_string()))
    }
    fn state(&self) -> Vec<u8> {
        self.planned.to_le_bytes().to_vec()
    }
    fn restore(&mut self, state: &[u8]) -> Result<(), ConnectorError> {
        self.planned = u64::from_le_bytes(state.try_into().map_err(damaged)?);
        Ok(())
    }
    fn replay(&mut self, range: &PlannedRange) -> Result<(), ConnectorError> {
        self.planned = rows_of(&range.detail)?.1;
        Ok(())
    }
    fn ask_again(&self, _now_ms: i64) -> Ask {
        Ask::WhenWoken
    }
    fn splits(&self, range: &PlannedRange) -> Result<Splits, ConnectorError> {
        let (first, last) = rows_of(&range.detail)?;
        let split = Split {
            extent: last - first,
            detail: range.detail.clone(),
        };
        Ok(Box::new(std::iter::once(Ok(split))))
    }
    fn reader(&self) -> Result<Box<dyn SourceReader>, ConnectorError> {
        Ok(Box::new(ShapedReader(self.shape)))
    }
    fn decoder(&self, projection: &[usize]) -> Result<Box<dyn Decoder>, ConnectorError> {
        Ok(Box::new(RowDecoder::new(projection)))
    }
    fn settled(&mut self, _range: &PlannedRange) -> Result<(), ConnectorError> {
        Ok(())
    }
}

struct ShapedReader(Shape);

impl SourceReader for ShapedReader {
    fn read(
        &mut self,
        split: &Split,
        give: &mut dyn FnMut(Chunk) -> Flow,
    ) -> Result<(), ConnectorError> {
        let (first, last) = rows_of(&split.detail)?;
        let mut start = first;
        while start < last {
            let end = last.min(start + CHUNK_ROWS);
            let body = ChunkBody::Rows(rows(&self.0, start, end)?);
            let position = start - first;
            if give(Chunk { position, body }) == Flow::Stop {
                return Ok(());
            }
            start = end;
        }
        Ok(())
    }
}

/// Rows `start..end`: event time moves on with the row's number, less what the row is late.
fn rows(shape: &Shape, start: u64, end: u64) -> Result<RecordBatch, ConnectorError> {
    let mut numbers = Numbers::new(start);
    let spread_us = shape.open_windows * WINDOW_MS * 1000;
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (mut keys, mut times) = (Vec::new(), Vec::new());
    for row in start..end {
        keys.push(signed(numbers.below(shape.keys)));
        let moment_us = row * WINDOW_MS * 1000 / shape.window_rows;
        let late_us = numbers.below(spread_us);
        times.push(BASE_TIME_MS * 1000 + signed(moment_us) - signed(late_us));
    }
    let values = Int64Array::from_iter_values((start..end).map(signed));
    let times = TimestampMicrosecondArray::from(times).with_timezone("UTC");
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(Int64Array::from(keys)),
            Arc::new(values),
            Arc::new(times),
        ],
    )
    .map_err(|source| ConnectorError::Arrow {
        what: "making rows of a shape",
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_same_every_time_and_within_the_open_windows() {
        let made = rows(&SHAPE, 8_192, 16_384).expect("makes rows");
        assert_eq!(made, rows(&SHAPE, 8_192, 16_384).expect("makes rows"));
        assert_eq!(made.num_rows(), 8_192);
    }
}
