//! `rate-micro-batch`: so many rows an epoch, with instants that depend on the epoch alone.

use arrow::datatypes::SchemaRef;
use millstream_connectors_api::{
    Ask, Capabilities, ConnectorError, ConnectorFactory, Decoder, OptionSpec, PlannedRange,
    Position, ReadLimit, RowDecoder, Sink, SinkRequest, Source, SourceContext, SourceReader,
    SourceRequest, Split, Splits,
};
use serde::{Deserialize, Serialize};

use super::{Generator, fixed, give_rates, no_sink, rate_schema, whole};
use crate::{file::bad, position};

const NAME: &str = "rate-micro-batch";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "rowsPerBatch",
        default: "",
        help: "Rows an epoch; required.",
    },
    OptionSpec {
        name: "numPartitions",
        default: "",
        help: "Taken for Spark's sake; workers share the rows anyway.",
    },
    OptionSpec {
        name: "startTimestamp",
        default: "0",
        help: "Instant of the first epoch's rows, in milliseconds.",
    },
    OptionSpec {
        name: "advanceMillisPerBatch",
        default: "1000",
        help: "Milliseconds between the instants of two epochs.",
    },
];

/// Makes sources with a fixed number of rows an epoch.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateMicroBatchConnector;

#[derive(Clone, Copy, Debug)]
struct Settings {
    rows: u64,
    start_ms: i64,
    advance_ms: i64,
}

/// Between two epochs: the next value and its instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    offset: u64,
    timestamp: i64,
}

/// What a range consists of.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Detail {
    from: Place,
    to: Place,
}

#[derive(Debug)]
struct MicroBatchSource {
    settings: Settings,
    planned: Place,
    started: bool,
    /// How many epochs may still be planned once the end is fixed.
    left: Option<u64>,
}

fn parse(request: &SourceRequest) -> Result<Settings, ConnectorError> {
    let options = &request.options;
    options.check(NAME, &[OPTIONS])?;
    fixed(NAME, request)?;
    options.positive("numPartitions")?;
    options.require(NAME, "rowsPerBatch")?;
    let whole = |option: &str, default: i64| match options.get(option) {
        None => Ok(default),
        Some(text) => match text.trim().parse::<i64>() {
            Ok(value) if value >= 0 => Ok(value),
            _ => Err(bad(option, "a whole number of milliseconds", text)),
        },
    };
    Ok(Settings {
        rows: options.positive("rowsPerBatch")?.unwrap_or(1),
        start_ms: whole("startTimestamp", 0)?,
        advance_ms: whole("advanceMillisPerBatch", 1_000)?,
    })
}

impl ConnectorFactory for RateMicroBatchConnector {
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
        parse(request).map(|_| rate_schema())
    }

    fn source(
        &self,
        request: &SourceRequest,
        _context: SourceContext,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        let settings = parse(request)?;
        Ok(Box::new(MicroBatchSource {
            planned: Place {
                offset: 0,
                timestamp: settings.start_ms,
            },
            settings,
            started: false,
            left: None,
        }))
    }

    fn sink(&self, _request: &SinkRequest) -> Result<Box<dyn Sink>, ConnectorError> {
        Err(no_sink(NAME))
    }
}

fn position(place: Place) -> Position {
    let Place { offset, timestamp } = place;
    Position(format!("{{\"offset\":{offset},\"timestamp\":{timestamp}}}"))
}

fn detail(bytes: &[u8]) -> Result<Detail, ConnectorError> {
    position::parse(bytes, "a plan of a rate source cannot be read back")
}

impl Source for MicroBatchSource {
    fn description(&self) -> String {
        format!(
            "RatePerMicroBatchStream[rowsPerBatch={}]",
            self.settings.rows
        )
    }

    fn schema(&self) -> SchemaRef {
        rate_schema()
    }

    fn freeze(&mut self, _now_ms: i64) -> Result<(), ConnectorError> {
        // There is always one epoch more: a run that should end takes one.
        self.left = Some(1);
        Ok(())
    }

    fn plan(
        &mut self,
        _limit: ReadLimit,
        _now_ms: i64,
    ) -> Result<Option<PlannedRange>, ConnectorError> {
        if let Some(left) = &mut self.left {
            if *left == 0 {
                return Ok(None);
            }
            *left -= 1;
        }
        let from = self.planned;
        let to = Place {
            offset: from.offset.saturating_add(self.settings.rows),
            timestamp: from.timestamp.saturating_add(self.settings.advance_ms),
        };
        let start = self.latest();
        self.planned = to;
        self.started = true;
        Ok(Some(PlannedRange {
            start,
            end: position(to),
            detail: position::bytes(&Detail { from, to })?,
        }))
    }

    fn latest(&self) -> Option<Position> {
        self.started.then(|| position(self.planned))
    }

    fn state(&self) -> Vec<u8> {
        position::bytes(&(self.planned, self.started)).unwrap_or_default()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), ConnectorError> {
        let what = "the state of a rate source is damaged";
        (self.planned, self.started) = position::parse(state, what)?;
        Ok(())
    }

    fn replay(&mut self, range: &PlannedRange) -> Result<(), ConnectorError> {
        self.planned = detail(&range.detail)?.to;
        self.started = true;
        Ok(())
    }

    fn ask_again(&self, _now_ms: i64) -> Ask {
        // There is always one epoch more, unless the end was fixed.
        Ask::WhenWoken
    }

    fn splits(&self, range: &PlannedRange) -> Result<Splits, ConnectorError> {
        let Detail { from, to } = detail(&range.detail)?;
        Ok(whole(range, to.offset.saturating_sub(from.offset)))
    }

    fn reader(&self) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let schema = rate_schema();
        Ok(Box::new(Generator(
            move |split: &Split, give: &mut dyn FnMut(_) -> _| {
                let Detail { from, to } = detail(&split.detail)?;
                give_rates(&schema, from.offset, to.offset, |_| from.timestamp, give)
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
