//! From what was counted to progress objects.

use std::{collections::BTreeMap, fmt::Write, sync::Arc, time::Duration};

use millstream_connectors_api::SinkReceipt;
use millstream_operators::{
    aggregate::{AggregateSpec, TimeKey},
    driver::OperatorReport,
    join::KeyLife,
    watermark::{MarkReport, MarkState},
};
use millstream_types::{Code, Epoch, EventTime, Fault, Interval, OperatorId, SourceId};

use crate::{
    epochs::OpenEpoch,
    plan::{MarkDefinition, MarkPolicy, Node, StreamPlan},
    progress::{
        EventTimeProgress, Progress, SinkProgress, SourceProgress, StateOperatorProgress, iso_ms,
    },
};

/// What workers counted of one epoch.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    operators: BTreeMap<OperatorId, OperatorReport>,
    /// Rows and malformed records of each source.
    read: BTreeMap<SourceId, (u64, u64)>,
    pub(crate) rows_out: u64,
}

impl Counted {
    /// Adds what an operator of one worker counted.
    pub(crate) fn operator(&mut self, operator: OperatorId, report: &OperatorReport) {
        let total = self.operators.entry(operator).or_default();
        total.rows_total += report.rows_total;
        total.rows_updated += report.rows_updated;
        total.rows_removed += report.rows_removed;
        total.rows_late += report.rows_late;
        total.bytes += report.bytes;
        total.oldest_end = [total.oldest_end, report.oldest_end]
            .into_iter()
            .flatten()
            .min();
    }

    /// Adds rows of a source that one worker decoded.
    pub(crate) fn read(&mut self, source: SourceId, rows: u64, malformed: u64) {
        let read = self.read.entry(source).or_default();
        read.0 += rows;
        read.1 += malformed;
    }

    /// Rows of all sources.
    pub(crate) fn rows_in(&self) -> u64 {
        self.read.values().map(|(rows, _)| rows).sum()
    }
}

/// What is the same in all reports of a query, and what is remembered between two of them.
#[derive(Debug)]
pub(crate) struct Reports {
    pub(crate) plan: Arc<StreamPlan>,
    pub(crate) id: String,
    pub(crate) run_id: String,
    pub(crate) name: Option<String>,
    /// The line of each source.
    pub(crate) sources: Vec<String>,
    /// When the epoch before was planned.
    pub(crate) last_trigger: Option<Duration>,
    /// Malformed records of each source since the start, and how many when it was said last.
    pub(crate) malformed: BTreeMap<SourceId, (u64, u64)>,
}

impl Reports {
    /// Whether the query has watermarks.
    pub(crate) fn has_marks(&self) -> bool {
        !self.plan.marks.is_empty()
    }

    pub(crate) fn progress(
        &mut self,
        epoch: Epoch,
        open: &OpenEpoch,
        (counted, marks): (&Counted, Option<&MarkReport>),
        (sink, receipt): (String, SinkReceipt),
        done: Duration,
    ) -> Progress {
        let took = done.saturating_sub(open.planned_at);
        let last = self.last_trigger.replace(open.planned_at);
        let since = last.map(|last| open.planned_at.saturating_sub(last));
        let rows = counted.rows_in();
        Progress {
            id: self.id.clone(),
            run_id: self.run_id.clone(),
            name: self.name.clone(),
            timestamp: iso_ms(open.facts.clock_ms),
            batch_id: epoch.0,
            batch_duration: open.durations.trigger_execution,
            num_input_rows: rows,
            input_rows_per_second: since.and_then(|since| rate(rows, since)),
            processed_rows_per_second: rate(rows, took),
            duration_ms: open.durations,
            event_time: event_time(&self.plan, counted, marks),
            state_operators: state_operators(&self.plan, counted),
            sources: self.source_progress(open, counted, (since, took)),
            sink: SinkProgress {
                description: sink,
                num_output_rows: receipt.rows,
            },
        }
    }

    /// What somebody should know of the records of an epoch: the first that could not be parsed, and
    /// then each time their number has doubled.
    pub(crate) fn malformed(&mut self, counted: &Counted) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (source, (_, malformed)) in &counted.read {
            let (count, said) = self.malformed.entry(*source).or_default();
            *count += malformed;
            if *count == 0 || *count < said.saturating_mul(2) || *count == *said {
                continue;
            }
            *said = *count;
            let described = self.sources.get(source.0 as usize);
            let described = described.map_or("", String::as_str);
            faults.push(Fault {
                code: Code("CON-007"),
                sub_condition: None,
                message: format!(
                    "records could not be parsed; their columns are null or they are dropped, as the option mode says count={count} source={described:?}"
                ),
                hint: None,
                position: None,
            });
        }
        faults
    }

    fn source_progress(
        &self,
        open: &OpenEpoch,
        counted: &Counted,
        (since, took): (Option<Duration>, Duration),
    ) -> Vec<SourceProgress> {
        let sources = self.sources.iter().zip(&open.ranges).zip(&open.latest);
        sources
            .zip(0..)
            .map(|(((description, range), latest), source)| {
                let read = counted.read.get(&SourceId(source));
                let (rows, malformed) = read.copied().unwrap_or_default();
                let metrics = open.metrics.get(source as usize).into_iter().flatten();
                let start = range.as_ref().and_then(|range| range.start.as_ref());
                SourceProgress {
                    description: description.clone(),
                    start_offset: start.map(|position| position.0.clone()),
                    end_offset: range.as_ref().map(|range| range.end.0.clone()),
                    latest_offset: latest.as_ref().map(|position| position.0.clone()),
                    num_input_rows: rows,
                    num_malformed_rows: malformed,
                    input_rows_per_second: since.and_then(|since| rate(rows, since)),
                    processed_rows_per_second: rate(rows, took),
                    metrics: metrics
                        .map(|(name, count)| (*name, count.to_string()))
                        .collect(),
                }
            })
            .collect()
    }
}

/// Rows a second with one decimal; none if that is not a number.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(rows: u64, over: Duration) -> Option<f64> {
    let rate = rows as f64 / over.as_secs_f64();
    rate.is_finite().then(|| (rate * 10.0).round() / 10.0)
}

fn event_time(
    plan: &StreamPlan,
    counted: &Counted,
    marks: Option<&MarkReport>,
) -> Option<EventTimeProgress> {
    if plan.marks.is_empty() {
        return None;
    }
    let marks = marks?;
    #[expect(clippy::cast_possible_truncation, reason = "a mean of times is a time")]
    let avg = marks.times.map(|times| iso_ms(times.avg_ms.round() as i64));
    Some(EventTimeProgress {
        watermark: iso_ms(marks.state.late.ms()),
        max: marks.times.map(|times| iso_ms(times.max_ms)),
        min: marks.times.map(|times| iso_ms(times.min_ms)),
        avg,
        held_by: held_by(plan, &marks.state, counted),
    })
}

/// Which input holds the mark and which window waits: the answer to "why is there no output?".
fn held_by(plan: &StreamPlan, marks: &MarkState, counted: &Counted) -> String {
    let at = iso_ms(marks.evict.ms());
    let mut text = match marks.holder(plan.mark_policy == MarkPolicy::Max) {
        None => format!("no input moves the watermark from {at}: all are idle"),
        Some(holder) => {
            let MarkDefinition { name, delay_ms } = &plan.marks[holder];
            let newest = marks.definitions_ms[holder];
            if newest == 0 {
                format!("{name} holds the watermark at {at}: it has brought no newer row yet")
            } else {
                let newest = iso_ms(newest.saturating_add(*delay_ms));
                let delay = Interval::from_micros(delay_ms.saturating_mul(1000));
                format!(
                    "{name} holds the watermark at {at}: its newest row is of {newest}, its delay {delay}"
                )
            }
        }
    };
    let idle = plan
        .marks
        .iter()
        .zip(&marks.idle)
        .filter(|(_, idle)| **idle);
    let idle: Vec<&str> = idle.map(|(mark, _)| mark.name.as_str()).collect();
    if !idle.is_empty() {
        let _ = write!(text, "; not waited for, because idle: {}", idle.join(", "));
    }
    let oldest = counted
        .operators
        .values()
        .filter_map(|report| report.oldest_end);
    if let Some(end) = oldest.min() {
        let end = iso_ms(EventTime(end).floor_ms());
        let _ = write!(text, "; the oldest open window ends at {end}");
    }
    text
}

fn state_operators(plan: &StreamPlan, counted: &Counted) -> Vec<StateOperatorProgress> {
    let mut operators: Vec<StateOperatorProgress> = plan
        .nodes
        .iter()
        .filter_map(|node| {
            let (operator, name) = match node {
                Node::Aggregate { operator, spec, .. } => (operator, aggregate_name(spec)),
                Node::Limit { operator, .. } | Node::Top { operator, .. } => {
                    (operator, "globalLimit")
                }
                Node::Join { operator, .. } => (operator, "symmetricHashJoin"),
                Node::Over { operator, .. } => (operator, "over"),
                Node::Dedup { operator, spec, .. } => match spec.life {
                    KeyLife::Within { .. } => (operator, "dedupeWithinWatermark"),
                    KeyLife::Forever | KeyLife::Time { .. } => (operator, "dedupe"),
                },
                Node::Source(_)
                | Node::Chain { .. }
                | Node::Union { .. }
                | Node::Late { .. }
                | Node::Lookup { .. }
                | Node::Sort { .. } => return None,
            };
            let report = counted.operators.get(operator).copied().unwrap_or_default();
            Some(StateOperatorProgress {
                operator_id: operator.0,
                operator_name: name.to_owned(),
                num_rows_total: report.rows_total,
                num_rows_updated: report.rows_updated,
                num_rows_removed: report.rows_removed,
                num_rows_dropped_by_watermark: report.rows_late,
                memory_used_bytes: report.bytes,
            })
        })
        .collect();
    operators.reverse();
    operators
}

/// Spark's name for an aggregation.
fn aggregate_name(spec: &AggregateSpec) -> &'static str {
    match spec.time {
        TimeKey::Session { .. } => "sessionWindowStateStoreSaveExec",
        TimeKey::None
        | TimeKey::Instant { .. }
        | TimeKey::Window { .. }
        | TimeKey::Windowed { .. }
        | TimeKey::Counted { .. } => "stateStoreSave",
    }
}
