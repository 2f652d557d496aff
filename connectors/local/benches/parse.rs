//! How fast lines become columns: Nexmark bids as JSON lines and CSV, one thread.
//!
//! Sketch: a bid is about 200 bytes, of which a query needs two numbers or a number and an instant.
//! Each byte must be looked at once to find the end of its string, eight at a time: that and the
//! seven comparisons of keys are the limit, some 100 ns a line. The goal is 3 M bids a CPU second.
//!
//! `cargo bench -p millstream-connectors --bench parse [-- NAME]`

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    sync::Arc,
};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use millstream_connectors::FileConnector;
use millstream_connectors_api::{
    Chunk, ChunkBody, ConnectorFactory, DecodeReport, MemoryJournals, Options, SourceContext,
    SourceRequest, Wake, Waker,
};
use nexmark::{
    EventGenerator,
    config::NexmarkConfig,
    event::{Bid, Event, EventType},
};

const BIDS: usize = 250_000;
const CHUNK_BYTES: usize = 1 << 20;
const ROUNDS: usize = 5;
/// The kernel accounts CPU time in ticks of some milliseconds: a round must be long against them.
const PASSES: usize = 6;

struct Case {
    name: &'static str,
    format: &'static str,
    columns: &'static [usize],
}

const CASES: &[Case] = &[
    Case {
        name: "json auction, price",
        format: "json",
        columns: &[0, 2],
    },
    Case {
        name: "json auction, date_time",
        format: "json",
        columns: &[0, 5],
    },
    Case {
        name: "json all 7",
        format: "json",
        columns: &[0, 1, 2, 3, 4, 5, 6],
    },
    Case {
        name: "json none (count)",
        format: "json",
        columns: &[],
    },
    Case {
        name: "csv auction, date_time",
        format: "csv",
        columns: &[0, 5],
    },
    Case {
        name: "csv all 7",
        format: "csv",
        columns: &[0, 1, 2, 3, 4, 5, 6],
    },
    Case {
        name: "text",
        format: "text",
        columns: &[0],
    },
    Case {
        name: "sparse json auction, price",
        format: "json",
        columns: &[0, 2],
    },
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let (json, sparse, csv) = (bids(json_line)?, bids(sparse_line)?, bids(csv_line)?);
    let mut stdout = io::stdout();
    for case in CASES {
        if wanted
            .as_deref()
            .is_some_and(|name| !case.name.contains(name))
        {
            continue;
        }
        let text = match case.format {
            "json" if case.name.starts_with("sparse") => &sparse,
            "json" => &json,
            _ => &csv,
        };
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            best = best.min(run(case, text)?);
        }
        let rows = BIDS as f64 / best / 1e6;
        let bytes = text.len() as f64 / best / 1e6;
        let line = text.len() / BIDS;
        writeln!(
            stdout,
            "{:<26} {rows:6.2} M rows/s {bytes:7.0} MB/s   ({line} bytes a line, best of {ROUNDS})",
            case.name
        )?;
    }
    Ok(())
}

fn json_line(bid: &Bid, out: &mut String) -> std::fmt::Result {
    let Bid {
        auction,
        bidder,
        price,
        channel,
        url,
        extra,
        ..
    } = bid;
    let at = instant(bid.date_time);
    writeln!(
        out,
        r#"{{"auction":{auction},"bidder":{bidder},"price":{price},"channel":"{channel}","url":"{url}","date_time":"{at}","extra":"{extra}"}}"#
    )
}

/// Fields that are sometimes left out, as Spark's own writer does with nulls.
fn sparse_line(bid: &Bid, out: &mut String) -> std::fmt::Result {
    let Bid {
        auction,
        price,
        channel,
        url,
        extra,
        ..
    } = bid;
    write!(out, r#"{{"auction":{auction}"#)?;
    if auction % 3 > 0 {
        write!(out, r#","channel":"{channel}""#)?;
    }
    if price % 2 > 0 {
        write!(out, r#","url":"{url}""#)?;
    }
    writeln!(out, r#","price":{price},"extra":"{extra}"}}"#)
}

fn csv_line(bid: &Bid, out: &mut String) -> std::fmt::Result {
    let Bid {
        auction,
        bidder,
        price,
        channel,
        url,
        extra,
        ..
    } = bid;
    let at = instant(bid.date_time);
    writeln!(
        out,
        "{auction},{bidder},{price},{channel},{url},{at},{extra}"
    )
}

/// Nothing listens: a benchmark asks by itself.
struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}

    fn is_spent(&self) -> bool {
        false
    }
}

/// CPU seconds of this thread for one pass over `text`.
fn run(case: &Case, text: &[u8]) -> Result<f64, Box<dyn std::error::Error>> {
    let request = SourceRequest {
        table: "bids".to_owned(),
        schema: (case.format != "text").then(schema),
        options: Options::from_iter([("path", "."), ("format", case.format), ("mode", "FAILFAST")]),
    };
    let io = tokio::runtime::Builder::new_current_thread().build()?;
    let context = SourceContext {
        journals: Arc::new(MemoryJournals::new()),
        waker: Waker::new(Arc::new(Nobody)),
        io: io.handle().clone(),
    };
    let mut decoder = FileConnector::new()
        .source(&request, context)?
        .decoder(case.columns)?;
    let origin: Arc<str> = "bids".into();
    let chunks: Vec<Chunk> = (0..PASSES).flat_map(|_| chunks(text, &origin)).collect();
    let start_ns = cpu_ns()?;
    let mut total = DecodeReport::default();
    for chunk in chunks {
        let report = decoder.decode(chunk, &mut |batch| {
            std::hint::black_box(batch);
        })?;
        total.rows += report.rows;
        total.malformed += report.malformed;
    }
    let spent_ns = cpu_ns()? - start_ns;
    assert_eq!((total.rows, total.malformed), ((BIDS * PASSES) as u64, 0));
    Ok(spent_ns as f64 / 1e9 / PASSES as f64)
}

fn chunks(text: &[u8], origin: &Arc<str>) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let window = &rest[..rest.len().min(CHUNK_BYTES)];
        let end = window
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(window.len(), |at| at + 1);
        let (bytes, tail) = rest.split_at(end);
        rest = tail;
        chunks.push(Chunk {
            position: chunks.len() as u64,
            body: ChunkBody::Bytes {
                bytes: bytes.to_vec(),
                origin: Arc::clone(origin),
                offset: 1,
            },
        });
    }
    chunks
}

fn cpu_ns() -> Result<u64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or("0").parse()?)
}

fn bids(
    write: impl Fn(&Bid, &mut String) -> std::fmt::Result,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let config = NexmarkConfig {
        base_time: 1_600_000_000_000,
        ..NexmarkConfig::default()
    };
    let mut text = String::new();
    let generator = EventGenerator::new(config).with_type_filter(EventType::Bid);
    for event in generator.take(BIDS) {
        if let Event::Bid(bid) = event {
            write(&bid, &mut text)?;
        }
    }
    Ok(text.into_bytes())
}

/// The instant as ISO text; all of these are on 13 September 2020.
fn instant(ms: u64) -> String {
    let of_day = ms % 86_400_000;
    let (s, ms) = (of_day / 1_000, of_day % 1_000);
    format!(
        "2020-09-13T{:02}:{:02}:{:02}.{ms:03}Z",
        s / 3_600,
        s / 60 % 60,
        s % 60
    )
}

fn schema() -> SchemaRef {
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = [
        ("auction", DataType::Int64),
        ("bidder", DataType::Int64),
        ("price", DataType::Int64),
        ("channel", DataType::Utf8),
        ("url", DataType::Utf8),
        ("date_time", timestamp),
        ("extra", DataType::Utf8),
    ];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    Arc::new(Schema::new(fields.to_vec()))
}
