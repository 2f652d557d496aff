//! From what was counted to progress objects and plan records.

use std::{fmt::Write, time::Duration};

use millstream_connectors_api::SinkReceipt;
use millstream_epoch::{Chosen, Plan, PlanKind, SourceRange};
use millstream_operators::{
    aggregate::{AggregateSpec, TimeKey},
    board::EpochKind,
    driver::OperatorReport,
    watermark::MarkState,
};
use millstream_types::{Epoch, EventTime, Interval};

use crate::{
    coordinator::{Coordinator, OpenEpoch},
    plan::{MarkDefinition, MarkPolicy, Node, StreamPlan},
    progress::{
        EventTimeProgress, Progress, SinkProgress, SourceProgress, StateOperatorProgress, iso_ms,
    },
};

/// What is remembered between two reports.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// When the epoch before was planned.
    pub(crate) last_trigger: Option<Duration>,
    restored: Option<Epoch>,
}

/// Adds what another worker counted.
pub(crate) fn add(total: &mut OperatorReport, report: &OperatorReport) {
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

impl Reports {
    pub(crate) fn restored(&mut self, epoch: Option<Epoch>) {
        self.restored = epoch;
    }

    /// The plan record of an epoch.
    pub(crate) fn chosen(&self, epoch: Epoch, open: &OpenEpoch) -> Chosen {
        Chosen::new(Plan {
            epoch,
            clock_ms: open.facts.clock_ms,
            kind: match open.facts.kind {
                EpochKind::Data => PlanKind::Data,
                EpochKind::NoData => PlanKind::NoData,
            },
            snapshot_after: open.facts.snapshot_after,
            sources: open
                .ranges
                .iter()
                .map(|range| {
                    range.as_ref().map(|range| SourceRange {
                        start: range.start.as_ref().map(|position| position.0.clone()),
                        end: range.end.0.clone(),
                        detail: range.detail.clone(),
                    })
                })
                .collect(),
        })
    }

    pub(crate) fn progress(
        &self,
        query: &Coordinator,
        epoch: Epoch,
        open: &OpenEpoch,
        receipt: SinkReceipt,
        done: Duration,
    ) -> Progress {
        let took = done.saturating_sub(open.planned_at);
        let since = self
            .last_trigger
            .map(|last| open.planned_at.saturating_sub(last));
        let rows: u64 = open.read.iter().map(|(rows, _)| rows).sum();
        Progress {
            id: query.id.clone(),
            run_id: query.settings.run_id.clone(),
            name: query.settings.name.clone(),
            timestamp: iso_ms(open.facts.clock_ms),
            batch_id: epoch.0,
            batch_duration: open.durations.trigger_execution,
            num_input_rows: rows,
            input_rows_per_second: since.and_then(|since| rate(rows, since)),
            processed_rows_per_second: rate(rows, took),
            duration_ms: open.durations,
            event_time: event_time(query, open),
            state_operators: state_operators(query, open),
            sources: sources(query, open, since, took),
            sink: SinkProgress {
                description: query.sinks.result().description(),
                num_output_rows: receipt.rows,
            },
        }
    }
}

/// Rows a second with one decimal; none if that is not a number.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(rows: u64, over: Duration) -> Option<f64> {
    let rate = rows as f64 / over.as_secs_f64();
    rate.is_finite().then(|| (rate * 10.0).round() / 10.0)
}

fn event_time(query: &Coordinator, open: &OpenEpoch) -> Option<EventTimeProgress> {
    if query.plan.marks.is_empty() {
        return None;
    }
    let marks = open.marks.as_ref()?;
    #[expect(clippy::cast_possible_truncation, reason = "a mean of times is a time")]
    let avg = marks.times.map(|times| iso_ms(times.avg_ms.round() as i64));
    Some(EventTimeProgress {
        watermark: iso_ms(marks.state.late.ms()),
        max: marks.times.map(|times| iso_ms(times.max_ms)),
        min: marks.times.map(|times| iso_ms(times.min_ms)),
        avg,
        held_by: held_by(&query.plan, &marks.state, open),
    })
}

/// Which input holds the mark and which window waits: the answer to "why is there no output?".
fn held_by(plan: &StreamPlan, marks: &MarkState, open: &OpenEpoch) -> String {
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
    let oldest = open
        .operators
        .values()
        .filter_map(|report| report.oldest_end);
    if let Some(end) = oldest.min() {
        let end = iso_ms(EventTime(end).floor_ms());
        let _ = write!(text, "; the oldest open window ends at {end}");
    }
    text
}

fn state_operators(query: &Coordinator, open: &OpenEpoch) -> Vec<StateOperatorProgress> {
    let mut operators: Vec<StateOperatorProgress> = query
        .plan
        .nodes
        .iter()
        .filter_map(|node| {
            let (operator, name) = match node {
                Node::Aggregate { operator, spec, .. } => (operator, aggregate_name(spec)),
                Node::Limit { operator, .. } | Node::Top { operator, .. } => {
                    (operator, "globalLimit")
                }
                Node::Source(_)
                | Node::Chain { .. }
                | Node::Union { .. }
                | Node::Late { .. }
                | Node::Arrange { .. } => return None,
            };
            let report = open.operators.get(operator).copied().unwrap_or_default();
            Some(StateOperatorProgress {
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

fn sources(
    query: &Coordinator,
    open: &OpenEpoch,
    since: Option<Duration>,
    took: Duration,
) -> Vec<SourceProgress> {
    query
        .sources
        .iter()
        .zip(&open.ranges)
        .zip(&open.read)
        .map(|((control, range), (rows, malformed))| SourceProgress {
            description: control.source.description(),
            start_offset: range
                .as_ref()
                .and_then(|r| r.start.as_ref())
                .map(|p| p.0.clone()),
            end_offset: range.as_ref().map(|range| range.end.0.clone()),
            latest_offset: control.source.latest().map(|position| position.0),
            num_input_rows: *rows,
            num_malformed_rows: *malformed,
            input_rows_per_second: since.and_then(|since| rate(*rows, since)),
            processed_rows_per_second: rate(*rows, took),
        })
        .collect()
}
