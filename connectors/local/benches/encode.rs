//! How fast rows become lines on a worker: seven columns of a bid, one thread.
//!
//! Sketch: a row is some 250 bytes, most of them copied; what costs is the digits of its numbers and
//! looking for what must be escaped. Nothing is allocated per row.
//!
//! `cargo bench -p millstream-connectors --bench encode`

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use millstream_connectors::FileConnector;
use millstream_connectors_api::{ConnectorFactory, Options, SinkContext, SinkRequest, SinkRows};
use millstream_types::OutputMode;

const ROWS: i64 = 8_192;
const PASSES: u32 = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut stdout = io::stdout();
    let rows = rows()?;
    for format in ["json", "csv"] {
        let dir = tempfile::tempdir()?;
        let path = dir.path().to_str().ok_or("the path is not UTF-8")?;
        let mut sink = FileConnector::new().sink(&SinkRequest {
            table: "t".to_owned(),
            options: Options::from_iter([("path", path), ("format", format)]),
        })?;
        sink.open(&SinkContext {
            query_id: "q".to_owned(),
            schema: rows.rows.schema(),
            mode: OutputMode::Append,
        })?;
        let mut encoder = sink.encoder().ok_or("no encoder")?;
        let start = now();
        let mut bytes = 0;
        for _ in 0..PASSES {
            bytes += encoder.encode(&rows)?.bytes.len();
        }
        let seconds = start.elapsed().as_secs_f64();
        let rate = f64::from(PASSES) * rows.rows.num_rows() as f64 / seconds / 1e6;
        let volume = bytes as f64 / seconds / 1e6;
        writeln!(stdout, "{format:<5} {rate:6.2} M rows/s {volume:6.0} MB/s")?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark takes time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn schema() -> SchemaRef {
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("auction", DataType::Int64, true),
        Field::new("price", DataType::Int64, true),
        Field::new("rate", DataType::Float64, true),
        Field::new("url", DataType::Utf8, true),
        Field::new("date_time", zoned, true),
        Field::new("amount", DataType::Decimal128(18, 3), true),
        Field::new("extra", DataType::Utf8, true),
    ]))
}

fn rows() -> Result<SinkRows, arrow::error::ArrowError> {
    let numbers = || 0..ROWS;
    let instants = numbers().map(|row| 1_600_000_000_000_000 + row * 123_456);
    let amounts = numbers().map(|row| i128::from(row) * 1_234_567);
    let urls = numbers().map(|row| format!("https://www.nexmark.com/item.htm?query=1&id={row}"));
    let extras = numbers().map(|row| format!("abcdefghijklmnopqrstuvwxyz abcdefghij {row}"));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(
            numbers().map(|row| 1_000 + row),
        )),
        Arc::new(Int64Array::from_iter_values(
            numbers().map(|row| row * 7_919 % 100_000),
        )),
        Arc::new(Float64Array::from_iter_values(
            numbers().map(|row| row as f64 * 1.37),
        )),
        Arc::new(StringArray::from_iter_values(urls)),
        Arc::new(TimestampMicrosecondArray::from_iter_values(instants).with_timezone("UTC")),
        Arc::new(Decimal128Array::from_iter_values(amounts).with_precision_and_scale(18, 3)?),
        Arc::new(StringArray::from_iter_values(extras)),
    ];
    Ok(SinkRows {
        rows: RecordBatch::try_new(schema(), columns)?,
        signs: None,
    })
}
