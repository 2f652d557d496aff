//! `rate`: so many rows a second of wall clock, with instant and number.
//!
//! Positions are whole seconds since the start, so the first range is empty. The start is part of
//! every range: whoever reads one needs nothing else.

use arrow::datatypes::SchemaRef;
use millstream_connectors_api::{
    Ask, Capabilities, ConnectorError, ConnectorFactory, Decoder, OptionSpec, PlannedRange,
    Position, ReadLimit, RowDecoder, Sink, SinkRequest, Source, SourceContext, SourceReader,
    SourceRequest, Split, Splits,
};
use serde::{Deserialize, Serialize};

use super::{Generator, fixed, give_rates, rate_schema, signed, until_ms, whole};
use crate::{file::duration_ms, position};

const NAME: &str = "rate";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "rowsPerSecond",
        default: "1",
        help: "Rows a second.",
    },
    OptionSpec {
        name: "rampUpTime",
        default: "0s",
        help: "Time in which the rate grows to its full height.",
    },
    OptionSpec {
        name: "numPartitions",
        default: "",
        help: "Taken for Spark's sake; workers share the rows anyway.",
    },
];

/// Makes rate sources.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateConnector;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Speed {
    rows_per_second: u64,
    ramp_up_s: u64,
}

impl Speed {
    /// Rows made in the first `seconds` seconds.
    fn rows_until(self, seconds: u64) -> u64 {
        if seconds > self.ramp_up_s {
            let steady = (seconds - self.ramp_up_s).saturating_mul(self.rows_per_second);
            return self.rows_until(self.ramp_up_s).saturating_add(steady);
        }
        let per_second = self.rows_per_second / (self.ramp_up_s + 1);
        let (half, whole) = if seconds.is_multiple_of(2) {
            (seconds / 2, seconds + 1)
        } else {
            (seconds.div_ceil(2), seconds)
        };
        half.saturating_mul(per_second).saturating_mul(whole)
    }
}

/// What a range consists of.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Detail {
    start_ms: i64,
    from_s: u64,
    to_s: u64,
    speed: Speed,
}

#[derive(Debug)]
struct RateSource {
    speed: Speed,
    /// When the first second began.
    start_ms: Option<i64>,
    /// The last second planned.
    planned: Option<u64>,
    /// The clock at which the end was fixed. Seconds are counted only when a range is planned:
    /// until then a replay may still say when the first one began.
    frozen_ms: Option<i64>,
}

fn parse(request: &SourceRequest) -> Result<Speed, ConnectorError> {
    let options = &request.options;
    options.check(NAME, &[OPTIONS])?;
    fixed(NAME, request)?;
    options.positive("numPartitions")?;
    let ramp_up_ms = match options.get("rampUpTime") {
        Some(text) => duration_ms("rampUpTime", text, 1_000)?,
        None => 0,
    };
    Ok(Speed {
        rows_per_second: options.positive("rowsPerSecond")?.unwrap_or(1),
        ramp_up_s: u64::try_from(ramp_up_ms / 1_000).unwrap_or(0),
    })
}

impl ConnectorFactory for RateConnector {
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
        Ok(Box::new(RateSource {
            speed: parse(request)?,
            start_ms: None,
            planned: None,
            frozen_ms: None,
        }))
    }

    fn sink(&self, _request: &SinkRequest) -> Result<Box<dyn Sink>, ConnectorError> {
        Err(super::no_sink(NAME))
    }
}

impl RateSource {
    /// Whole seconds since the start, which is now if this is the first question.
    fn seconds(&mut self, now_ms: i64) -> u64 {
        let start_ms = *self.start_ms.get_or_insert(now_ms);
        u64::try_from((now_ms - start_ms) / 1_000).unwrap_or(0)
    }
}

impl Source for RateSource {
    fn description(&self) -> String {
        let Speed {
            rows_per_second,
            ramp_up_s,
        } = self.speed;
        format!("RateStream[rowsPerSecond={rows_per_second}, rampUpTimeSeconds={ramp_up_s}]")
    }

    fn schema(&self) -> SchemaRef {
        rate_schema()
    }

    fn freeze(&mut self, now_ms: i64) -> Result<(), ConnectorError> {
        self.frozen_ms = Some(now_ms);
        Ok(())
    }

    fn plan(
        &mut self,
        _limit: ReadLimit,
        now_ms: i64,
    ) -> Result<Option<PlannedRange>, ConnectorError> {
        let to_s = self.seconds(self.frozen_ms.unwrap_or(now_ms));
        if self.planned.is_some_and(|planned| planned >= to_s) {
            return Ok(None);
        }
        let detail = Detail {
            start_ms: self.start_ms.unwrap_or(now_ms),
            from_s: self.planned.unwrap_or(0),
            to_s,
            speed: self.speed,
        };
        let start = self.latest();
        self.planned = Some(to_s);
        Ok(Some(PlannedRange {
            start,
            end: Position(to_s.to_string()),
            detail: position::bytes(&detail)?,
        }))
    }

    fn latest(&self) -> Option<Position> {
        self.planned.map(|seconds| Position(seconds.to_string()))
    }

    fn state(&self) -> Vec<u8> {
        position::bytes(&(self.start_ms, self.planned)).unwrap_or_default()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), ConnectorError> {
        let what = "the state of a rate source is damaged";
        (self.start_ms, self.planned) = position::parse(state, what)?;
        Ok(())
    }

    fn replay(&mut self, range: &PlannedRange) -> Result<(), ConnectorError> {
        let detail = detail(&range.detail)?;
        self.start_ms = Some(detail.start_ms);
        self.planned = Some(detail.to_s);
        Ok(())
    }

    fn ask_again(&self, now_ms: i64) -> Ask {
        let planned = self.planned.unwrap_or(0);
        let next_ms = signed(planned.saturating_add(1)).saturating_mul(1_000);
        until_ms(
            now_ms,
            self.start_ms.unwrap_or(now_ms).saturating_add(next_ms),
        )
    }

    fn splits(&self, range: &PlannedRange) -> Result<Splits, ConnectorError> {
        let (first, last) = detail(&range.detail)?.rows();
        Ok(whole(range, last.saturating_sub(first)))
    }

    fn reader(&self) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let schema = rate_schema();
        Ok(Box::new(Generator(
            move |split: &Split, give: &mut dyn FnMut(_) -> _| {
                let detail = detail(&split.detail)?;
                let (first, last) = detail.rows();
                let Detail {
                    start_ms,
                    from_s,
                    to_s,
                    ..
                } = detail;
                let range_start_ms = start_ms + signed(from_s) * 1_000;
                let span_ms = (to_s - from_s.min(to_s)) * 1_000;
                let rows = last.saturating_sub(first).max(1);
                give_rates(
                    &schema,
                    first,
                    last,
                    |value| range_start_ms + spread_ms(value - first, span_ms, rows),
                    give,
                )
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

impl Detail {
    /// The number of the first row, and of the first row after.
    fn rows(&self) -> (u64, u64) {
        let rows_until = |seconds| self.speed.rows_until(seconds);
        (rows_until(self.from_s), rows_until(self.to_s))
    }
}

fn detail(bytes: &[u8]) -> Result<Detail, ConnectorError> {
    position::parse(bytes, "a plan of a rate source cannot be read back")
}

/// Row `idx` of `rows` that are spread evenly over `span_ms`, rounded half up.
fn spread_ms(idx: u64, span_ms: u64, rows: u64) -> i64 {
    let doubled = u128::from(idx) * u128::from(span_ms) * 2 + u128::from(rows);
    i64::try_from(doubled / (u128::from(rows) * 2)).unwrap_or(i64::MAX)
}
