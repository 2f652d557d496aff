//! How fast sources deliver without a worker behind them: the nexmark generator, and a file that is
//! read and decoded on one thread.
//!
//! Sketch: a bid costs about 70 random letters and three copied strings, so the generator is bound by
//! its random numbers; a file adds one copy out of the page cache to the parser's cost.
//!
//! `cargo bench -p millstream-connectors --bench sources`

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use millstream_connectors::{FileConnector, NexmarkConnector};
use millstream_connectors_api::{
    ConnectorFactory, Flow, MemoryJournals, Options, ReadLimit, Source, SourceContext,
    SourceRequest, Wake, Waker,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut stdout = io::stdout();
    for table in ["bid", "auction", "person"] {
        let options = [
            ("table", table),
            ("rowsPerSecond", "0"),
            ("rows", "2000000"),
            ("maxRowsPerTrigger", "2000000"),
        ];
        let mut source = open(&NexmarkConnector, None, &options)?;
        let (rows, seconds) = drain(source.as_mut())?;
        let rate = rows as f64 / seconds / 1e6;
        writeln!(stdout, "nexmark {table:<20} {rate:6.2} M rows/s")?;
    }
    let dir = tempfile::tempdir()?;
    let line = r#"{"auction":1000,"bidder":2000,"price":333,"channel":"Apple","url":"https://www.nexmark.com/a/b/c/item.htm?query=1","date_time":"2020-09-13T12:26:40.000Z","extra":"abcdefghijklmnopqrstuvwxyz"}"#;
    std::fs::write(
        dir.path().join("bids.json"),
        format!("{line}\n").repeat(2_000_000),
    )?;
    let path = dir.path().to_str().ok_or("the path is not UTF-8")?;
    let fields = ["auction", "price"]
        .map(|name| arrow::datatypes::Field::new(name, arrow::datatypes::DataType::Int64, true));
    let schema = arrow::datatypes::Schema::new(fields.to_vec());
    let options = [("path", path), ("format", "json")];
    let mut source = open(&FileConnector::new(), Some(schema), &options)?;
    let (rows, seconds) = drain(source.as_mut())?;
    let rate = rows as f64 / seconds / 1e6;
    writeln!(stdout, "file, read and decoded       {rate:6.2} M rows/s")?;
    Ok(())
}

fn open(
    connector: &dyn ConnectorFactory,
    schema: Option<arrow::datatypes::Schema>,
    options: &[(&str, &str)],
) -> Result<Box<dyn Source>, Box<dyn std::error::Error>> {
    let request = SourceRequest {
        table: "t".to_owned(),
        schema: schema.map(Into::into),
        options: Options::from_iter(options.iter().copied()),
    };
    let io = tokio::runtime::Builder::new_current_thread().build()?;
    let context = SourceContext {
        journals: Arc::new(MemoryJournals::new()),
        waker: Waker::new(Arc::new(Nobody)),
        io: io.handle().clone(),
    };
    Ok(connector.source(&request, context)?)
}

/// Nothing listens: a benchmark asks by itself.
struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}

    fn is_spent(&self) -> bool {
        false
    }
}

/// Rows of the first range and the CPU seconds that they took.
fn drain(source: &mut dyn Source) -> Result<(u64, f64), Box<dyn std::error::Error>> {
    let range = source.plan(ReadLimit::Configured, 0)?.ok_or("no rows")?;
    let all: Vec<usize> = (0..source.schema().fields().len()).collect();
    let mut decoder = source.decoder(&all)?;
    let mut rows = 0;
    let mut failed = None;
    let start_ns = cpu_ns()?;
    let mut reader = source.reader()?;
    for split in source.splits(&range)? {
        reader.read(&split?, &mut |chunk| {
            let done = decoder.decode(chunk, &mut |batch| rows += batch.num_rows() as u64);
            failed = done.err();
            if failed.is_some() {
                Flow::Stop
            } else {
                Flow::More
            }
        })?;
    }
    let seconds = (cpu_ns()? - start_ns) as f64 / 1e9;
    failed.map_or(Ok((rows, seconds)), |error| Err(error.into()))
}

fn cpu_ns() -> Result<u64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or("0").parse()?)
}
