//! An epoch on its way: what the planner decides, and what it hands to the committer.

use std::time::Duration;

use millstream_connectors_api::{PlannedRange, Position};
use millstream_epoch::{Chosen, Commit, Plan, PlanKind, Planned, SourceRange};
use millstream_operators::board::{EpochFacts, EpochKind};
use millstream_types::Epoch;

use crate::progress::Durations;

/// The input of each source of the plan, in its order; none where it has nothing new.
pub(crate) type Ranges = Vec<Option<PlannedRange>>;

/// Counts of a source by name.
pub(crate) type Metrics = Vec<(&'static str, u64)>;

/// An epoch that was chosen and is not durable yet.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) facts: EpochFacts,
    pub(crate) ranges: Ranges,
    /// The newest position of each source when it was asked.
    pub(crate) latest: Vec<Option<Position>>,
    /// What each source counted so far.
    pub(crate) metrics: Vec<Metrics>,
    /// The cursors of the sources, where state is to be captured after this epoch.
    pub(crate) source_states: Option<Vec<Vec<u8>>>,
    pub(crate) planned_at: Duration,
    pub(crate) latest_offset_ms: u64,
}

impl Draft {
    /// The plan record.
    pub(crate) fn chosen(&self, epoch: Epoch) -> Chosen {
        let ranges = self.ranges.iter();
        Chosen::new(Plan {
            epoch,
            clock_ms: self.facts.clock_ms,
            kind: match self.facts.kind {
                EpochKind::Data => PlanKind::Data,
                EpochKind::NoData => PlanKind::NoData,
            },
            snapshot_after: self.facts.snapshot_after,
            sources: ranges.map(|range| range.as_ref().map(recorded)).collect(),
        })
    }

    /// The epoch once its plan is durable; without a checkpoint there is no plan.
    pub(crate) fn open(self, planned: Option<Planned>, wal_commit_ms: u64) -> (Ranges, OpenEpoch) {
        let open = OpenEpoch {
            planned,
            facts: self.facts,
            ranges: self.ranges.clone(),
            latest: self.latest,
            metrics: self.metrics,
            is_recorded: false,
            recorded: None,
            planned_at: self.planned_at,
            durations: Durations {
                latest_offset: self.latest_offset_ms,
                wal_commit: wal_commit_ms,
                ..Durations::default()
            },
        };
        (self.ranges, open)
    }
}

/// An epoch that is planned and not committed.
#[derive(Debug)]
pub(crate) struct OpenEpoch {
    /// The durable plan; none without a checkpoint.
    pub(crate) planned: Option<Planned>,
    pub(crate) facts: EpochFacts,
    pub(crate) ranges: Ranges,
    pub(crate) latest: Vec<Option<Position>>,
    pub(crate) metrics: Vec<Metrics>,
    /// The log has its commit record.
    pub(crate) is_recorded: bool,
    /// What the log says that it gave before, where it runs again.
    pub(crate) recorded: Option<Commit>,
    pub(crate) planned_at: Duration,
    pub(crate) durations: Durations,
}

/// The range as a plan records it.
fn recorded(range: &PlannedRange) -> SourceRange {
    SourceRange {
        start: range.start.as_ref().map(|position| position.0.clone()),
        end: range.end.0.clone(),
        detail: range.detail.clone(),
    }
}

/// The range of a plan record as the source knows it.
pub(crate) fn planned_range(range: &SourceRange) -> PlannedRange {
    PlannedRange {
        start: range.start.clone().map(Position),
        end: Position(range.end.clone()),
        detail: range.detail.clone(),
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
