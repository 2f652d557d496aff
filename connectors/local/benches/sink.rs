//! What an epoch costs a file sink, and how its log grows: one row an epoch, so that the log is all
//! there is.
//!
//! Sketch: an epoch makes two files and syncs four times, whatever the length of the log; a line of
//! the log is copied 16 to 32 times in its life, about 4 KB an epoch.
//!
//! `TMPDIR=/dev/shm cargo bench -p millstream-connectors --bench sink -- 6000 100000`

use std::{
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use millstream_connectors::FileConnector;
use millstream_connectors_api::{
    ConnectorFactory, EpochWrite, Options, Sink, SinkContext, SinkRequest, SinkRows, WriteBody,
};
use millstream_types::{Epoch, OutputMode};

type Failure = Box<dyn std::error::Error>;

/// Epochs whose time is taken at both ends.
const TIMED: u64 = 1_000;

fn main() -> Result<(), Failure> {
    let numbers = std::env::args().filter_map(|text| text.parse().ok());
    let mut counts: Vec<u64> = numbers.collect();
    if counts.is_empty() {
        counts.push(6_000);
    }
    let mut stdout = io::stdout();
    for epochs in counts {
        let dir = tempfile::tempdir()?;
        let mut sink = open(dir.path())?;
        let mut timed = Vec::new();
        let mut slowest = 0.0_f64;
        for first in (0..epochs).step_by(usize::try_from(TIMED)?) {
            let start = now();
            for epoch in first..epochs.min(first + TIMED) {
                let before = now();
                put(sink.as_mut(), epoch)?;
                slowest = slowest.max(before.elapsed().as_secs_f64());
            }
            timed.push(start.elapsed().as_secs_f64() * 1e6 / TIMED as f64);
        }
        let log = dir.path().join("_spark_metadata");
        let mut files = 0_u64;
        let mut bytes = 0;
        for entry in std::fs::read_dir(log)? {
            files += 1;
            bytes += entry?.metadata()?.len();
        }
        let (first, last) = (timed.first().unwrap_or(&0.0), timed.last().unwrap_or(&0.0));
        writeln!(
            stdout,
            "{epochs} epochs: {first:.0} us an epoch at first, {last:.0} at last, slowest {:.1} ms; \
             log {files} files, {:.2} MB, {} bytes an epoch",
            slowest * 1e3,
            bytes as f64 / 1e6,
            bytes / epochs,
        )?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark takes time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]))
}

fn open(dir: &Path) -> Result<Box<dyn Sink>, Failure> {
    let path = dir.to_str().ok_or("the path is not UTF-8")?;
    let mut sink = FileConnector::new().sink(&SinkRequest {
        table: "t".to_owned(),
        options: Options::from_iter([("path", path), ("format", "json")]),
    })?;
    sink.open(&SinkContext {
        query_id: "q".to_owned(),
        schema: schema(),
        mode: OutputMode::Append,
    })?;
    sink.last_committed()?;
    Ok(sink)
}

fn put(sink: &mut dyn Sink, epoch: u64) -> Result<(), Failure> {
    let value = Int64Array::from(vec![i64::try_from(epoch)?]);
    let rows = RecordBatch::try_new(schema(), vec![Arc::new(value)])?;
    let mut encoder = sink.encoder().ok_or("no encoder")?;
    let encoded = encoder.encode(&SinkRows { rows, signs: None })?;
    sink.write(&EpochWrite {
        epoch: Epoch(epoch),
        body: WriteBody::Encoded(encoded),
    })?;
    sink.stage(Epoch(epoch))?;
    sink.commit(Epoch(epoch))?;
    Ok(())
}
