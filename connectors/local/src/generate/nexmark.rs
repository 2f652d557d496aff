//! `nexmark`: the auction site of the Nexmark benchmark, one of its three tables a source.
//!
//! Event number `n` is always the same event, whatever table and limits are: the three tables of one
//! site are read with the same options and fit together. Limits and positions count the events of
//! all three kinds.

use std::sync::Arc;

use ::nexmark::{
    EventGenerator,
    config::NexmarkConfig,
    event::{Auction, Bid, Event, EventType, Person},
};
use arrow::{
    array::{Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use millstream_connectors_api::{
    Ask, Capabilities, Chunk, ChunkBody, ConnectorError, ConnectorFactory, Decoder, Flow,
    OptionSpec, Options, PlannedRange, Position, ReadLimit, RowDecoder, Sink, SinkRequest, Source,
    SourceContext, SourceReader, SourceRequest, Split, Splits,
};
use serde::{Deserialize, Serialize};

use super::{Generator, fixed, micros, no_sink, rows, signed, timestamp, until_ms, whole};
use crate::{file::bad, position};

const NAME: &str = "nexmark";
const BASE_TIME_MS: u64 = 1_600_000_000_000;
/// Events after which the kinds repeat: one person, three auctions, the rest bids.
const CYCLE: u64 = 50;
const CHUNK_ROWS: usize = 4_096;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "table",
        default: "",
        help: "bid, auction or person; required.",
    },
    OptionSpec {
        name: "rowsPerSecond",
        default: "10000",
        help: "Events of all kinds a second of wall clock; 0 for as many as there is time for.",
    },
    OptionSpec {
        name: "maxRowsPerTrigger",
        default: "100000",
        help: "Events of all kinds an epoch takes at most.",
    },
    OptionSpec {
        name: "rows",
        default: "",
        help: "Events of all kinds after which the stream ends.",
    },
];

/// Makes sources of the Nexmark benchmark.
#[derive(Clone, Copy, Debug, Default)]
pub struct NexmarkConnector;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Bid,
    Auction,
    Person,
}

impl Table {
    fn parse(options: &Options) -> Result<Table, ConnectorError> {
        let name = options.require(NAME, "table")?;
        match name.trim().to_ascii_lowercase().as_str() {
            "bid" => Ok(Table::Bid),
            "auction" => Ok(Table::Auction),
            "person" => Ok(Table::Person),
            _ => Err(bad("table", "bid, auction or person", name)),
        }
    }

    /// The kind, the place of its first event in a cycle, and how many a cycle has.
    fn shape(self) -> (EventType, u64, u64) {
        match self {
            Table::Person => (EventType::Person, 0, 1),
            Table::Auction => (EventType::Auction, 1, 3),
            Table::Bid => (EventType::Bid, 4, CYCLE - 4),
        }
    }

    /// How many events of this table come before event `number`.
    fn count_before(self, number: u64) -> u64 {
        let (_, first, count) = self.shape();
        let rest = (number % CYCLE).saturating_sub(first).min(count);
        number / CYCLE * count + rest
    }

    fn columns(self) -> &'static [(&'static str, Kind)] {
        use Kind::{Instant, Number, Text};
        match self {
            Table::Bid => &[
                ("auction", Number),
                ("bidder", Number),
                ("price", Number),
                ("channel", Text),
                ("url", Text),
                ("date_time", Instant),
                ("extra", Text),
            ],
            Table::Auction => &[
                ("id", Number),
                ("item_name", Text),
                ("description", Text),
                ("initial_bid", Number),
                ("reserve", Number),
                ("date_time", Instant),
                ("expires", Instant),
                ("seller", Number),
                ("category", Number),
                ("extra", Text),
            ],
            Table::Person => &[
                ("id", Number),
                ("name", Text),
                ("email_address", Text),
                ("credit_card", Text),
                ("city", Text),
                ("state", Text),
                ("date_time", Instant),
                ("extra", Text),
            ],
        }
    }

    fn schema(self) -> SchemaRef {
        let fields = self.columns().iter().map(|(name, kind)| {
            let data_type = match kind {
                Kind::Number => DataType::Int64,
                Kind::Text => DataType::Utf8,
                Kind::Instant => timestamp(),
            };
            Field::new(*name, data_type, true)
        });
        Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Number,
    Text,
    Instant,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    table: Table,
    /// 0 means as fast as possible.
    events_per_second: u64,
    events_per_epoch: u64,
    events_max: u64,
}

fn parse(request: &SourceRequest) -> Result<Settings, ConnectorError> {
    let options = &request.options;
    options.check(NAME, &[OPTIONS])?;
    fixed(NAME, request)?;
    let events_per_second = match options.get("rowsPerSecond").map(str::trim) {
        Some("0") => 0,
        _ => options.positive("rowsPerSecond")?.unwrap_or(10_000),
    };
    Ok(Settings {
        table: Table::parse(options)?,
        events_per_second,
        events_per_epoch: options.positive("maxRowsPerTrigger")?.unwrap_or(100_000),
        events_max: options.positive("rows")?.unwrap_or(u64::MAX),
    })
}

impl ConnectorFactory for NexmarkConnector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            source: true,
            sink: false,
            needs_checkpoint: false,
        }
    }

    fn options(&self) -> Vec<OptionSpec> {
        OPTIONS.to_vec()
    }

    fn schema(&self, request: &SourceRequest) -> Result<SchemaRef, ConnectorError> {
        parse(request).map(|settings| settings.table.schema())
    }

    fn source(
        &self,
        request: &SourceRequest,
        _context: SourceContext,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(NexmarkSource {
            settings: parse(request)?,
            start_ms: None,
            planned: 0,
            frozen_ms: None,
            frozen: None,
        }))
    }

    fn sink(&self, _request: &SinkRequest) -> Result<Box<dyn Sink>, ConnectorError> {
        Err(no_sink(NAME))
    }
}

/// What a range consists of: events `from..to`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Detail {
    start_ms: i64,
    from: u64,
    to: u64,
}

fn detail(bytes: &[u8]) -> Result<Detail, ConnectorError> {
    position::parse(bytes, "a plan of a nexmark source cannot be read back")
}

#[derive(Debug)]
struct NexmarkSource {
    settings: Settings,
    /// When event 0 was due.
    start_ms: Option<i64>,
    /// Events planned so far.
    planned: u64,
    /// The clock at which the end was fixed.
    frozen_ms: Option<i64>,
    /// The end, known with the first plan: until then a replay may still say when event 0 was due.
    frozen: Option<u64>,
}

impl NexmarkSource {
    /// Events that are due at `now_ms`; `None` without a rate and an end.
    fn due(&mut self, now_ms: i64) -> Option<u64> {
        let start_ms = *self.start_ms.get_or_insert(now_ms);
        let Settings {
            events_per_second,
            events_max,
            ..
        } = self.settings;
        if events_per_second == 0 {
            return (events_max < u64::MAX).then_some(events_max);
        }
        let elapsed_ms = u64::try_from(now_ms.saturating_sub(start_ms)).unwrap_or(0);
        let due = u128::from(elapsed_ms) * u128::from(events_per_second) / 1_000;
        Some(u64::try_from(due).unwrap_or(u64::MAX).min(events_max))
    }
}

impl Source for NexmarkSource {
    fn description(&self) -> String {
        format!("NexmarkSource[{:?}]", self.settings.table)
    }

    fn schema(&self) -> SchemaRef {
        self.settings.table.schema()
    }

    fn freeze(&mut self, now_ms: i64) -> Result<(), ConnectorError> {
        self.frozen_ms = Some(now_ms);
        Ok(())
    }

    fn plan(
        &mut self,
        limit: ReadLimit,
        now_ms: i64,
    ) -> Result<Option<PlannedRange>, ConnectorError> {
        let one_epoch = self.planned.saturating_add(self.settings.events_per_epoch);
        let due = self.due(self.frozen_ms.unwrap_or(now_ms));
        let available = self.frozen.or(due).unwrap_or(one_epoch);
        if self.frozen_ms.is_some() {
            // A stream without rate and end has no end to fix: such a run takes one epoch.
            self.frozen = Some(available);
        }
        let to = match limit {
            ReadLimit::Configured => available.min(one_epoch),
            ReadLimit::Everything => available,
        };
        if to <= self.planned {
            return Ok(None);
        }
        let detail = Detail {
            start_ms: self.start_ms.unwrap_or(now_ms),
            from: self.planned,
            to,
        };
        let start = self.latest();
        self.planned = to;
        Ok(Some(PlannedRange {
            start,
            end: position::of("offset", to),
            detail: position::bytes(&detail)?,
        }))
    }

    fn latest(&self) -> Option<Position> {
        (self.planned > 0).then(|| position::of("offset", self.planned))
    }

    fn state(&self) -> Vec<u8> {
        position::bytes(&(self.start_ms, self.planned)).unwrap_or_default()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), ConnectorError> {
        let what = "the state of a nexmark source is damaged";
        (self.start_ms, self.planned) = position::parse(state, what)?;
        Ok(())
    }

    fn replay(&mut self, range: &PlannedRange) -> Result<(), ConnectorError> {
        let detail = detail(&range.detail)?;
        self.start_ms = Some(detail.start_ms);
        self.planned = detail.to;
        Ok(())
    }

    fn ask_again(&self, now_ms: i64) -> Ask {
        let Settings {
            events_per_second,
            events_max,
            ..
        } = self.settings;
        // Without a rate everything is there at once; and after the last event there is no more.
        if events_per_second == 0 || self.planned >= events_max {
            return Ask::WhenWoken;
        }
        let next_ms = self.planned.saturating_add(1).saturating_mul(1_000) / events_per_second;
        let start_ms = self.start_ms.unwrap_or(now_ms);
        until_ms(now_ms, start_ms.saturating_add(signed(next_ms)))
    }

    fn splits(&self, range: &PlannedRange) -> Result<Splits, ConnectorError> {
        let Detail { from, to, .. } = detail(&range.detail)?;
        Ok(whole(range, to.saturating_sub(from)))
    }

    fn reader(&self) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let table = self.settings.table;
        let schema = table.schema();
        Ok(Box::new(Generator(
            move |split: &Split, give: &mut dyn FnMut(_) -> _| {
                let Detail { from, to, .. } = detail(&split.detail)?;
                generate(table, &schema, from, to, give)
            },
        )))
    }

    fn decoder(&self, projection: &[usize]) -> Result<Box<dyn Decoder>, ConnectorError> {
        Ok(Box::new(RowDecoder::new(projection)))
    }

    fn settled(&mut self, _range: &PlannedRange) -> Result<(), ConnectorError> {
        Ok(())
    }
}

fn generate(
    table: Table,
    schema: &SchemaRef,
    from: u64,
    to: u64,
    give: &mut dyn FnMut(Chunk) -> Flow,
) -> Result<(), ConnectorError> {
    let (first, last) = (table.count_before(from), table.count_before(to));
    let config = NexmarkConfig {
        base_time: BASE_TIME_MS,
        ..NexmarkConfig::default()
    };
    let mut events = EventGenerator::new(config)
        .with_type_filter(table.shape().0)
        .with_offset(first);
    let mut left = last - first;
    let mut position = 0;
    while left > 0 {
        let count = left.min(CHUNK_ROWS as u64);
        let mut filler = Filler::new(table);
        for event in events
            .by_ref()
            .take(usize::try_from(count).unwrap_or(CHUNK_ROWS))
        {
            filler.event(event);
        }
        let body = ChunkBody::Rows(filler.finish(schema)?);
        if give(Chunk { position, body }) == Flow::Stop {
            return Ok(());
        }
        position += count;
        left -= count;
    }
    Ok(())
}

/// Columns of a chunk, by kind; each kind in the order of the table's columns.
struct Filler {
    table: Table,
    numbers: Vec<Int64Builder>,
    texts: Vec<StringBuilder>,
    instants: Vec<TimestampMicrosecondBuilder>,
}

impl Filler {
    fn new(table: Table) -> Filler {
        let mut filler = Filler {
            table,
            numbers: Vec::new(),
            texts: Vec::new(),
            instants: Vec::new(),
        };
        for (_, kind) in table.columns() {
            match kind {
                Kind::Number => filler.numbers.push(Int64Builder::with_capacity(CHUNK_ROWS)),
                Kind::Text => filler
                    .texts
                    .push(StringBuilder::with_capacity(CHUNK_ROWS, CHUNK_ROWS * 32)),
                Kind::Instant => {
                    let builder = TimestampMicrosecondBuilder::with_capacity(CHUNK_ROWS);
                    filler.instants.push(builder.with_timezone("UTC"));
                }
            }
        }
        filler
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Bid(bid) => self.bid(&bid),
            Event::Auction(auction) => self.auction(&auction),
            Event::Person(person) => self.person(&person),
        }
    }

    fn bid(&mut self, bid: &Bid) {
        self.numbers(&[bid.auction, bid.bidder, bid.price]);
        self.texts(&[&bid.channel, &bid.url, &bid.extra]);
        self.instants(&[bid.date_time]);
    }

    fn auction(&mut self, auction: &Auction) {
        self.numbers(&[
            auction.id,
            auction.initial_bid,
            auction.reserve,
            auction.seller,
            auction.category,
        ]);
        self.texts(&[&auction.item_name, &auction.description, &auction.extra]);
        self.instants(&[auction.date_time, auction.expires]);
    }

    fn person(&mut self, person: &Person) {
        self.numbers(&[person.id]);
        self.texts(&[
            &person.name,
            &person.email_address,
            &person.credit_card,
            &person.city,
            &person.state,
            &person.extra,
        ]);
        self.instants(&[person.date_time]);
    }

    fn numbers(&mut self, values: &[usize]) {
        for (builder, value) in self.numbers.iter_mut().zip(values) {
            builder.append_value(signed(*value as u64));
        }
    }

    fn texts(&mut self, values: &[&String]) {
        for (builder, value) in self.texts.iter_mut().zip(values) {
            builder.append_value(value);
        }
    }

    fn instants(&mut self, values: &[u64]) {
        for (builder, value) in self.instants.iter_mut().zip(values) {
            builder.append_value(micros(signed(*value)));
        }
    }

    fn finish(self, schema: &SchemaRef) -> Result<RecordBatch, ConnectorError> {
        let missing = ConnectorError::Internal {
            what: "a generated column is missing",
        };
        let mut numbers = self.numbers.into_iter();
        let mut texts = self.texts.into_iter();
        let mut instants = self.instants.into_iter();
        let mut columns = Vec::new();
        for (_, kind) in self.table.columns() {
            columns.push(match kind {
                Kind::Number => numbers.next().map(|mut b| Arc::new(b.finish()) as _),
                Kind::Text => texts.next().map(|mut b| Arc::new(b.finish()) as _),
                Kind::Instant => instants.next().map(|mut b| Arc::new(b.finish()) as _),
            });
        }
        let columns = columns.into_iter().collect::<Option<Vec<_>>>();
        rows(schema, columns.ok_or(missing)?)
    }
}
