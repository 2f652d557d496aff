//! The planner's desk: the sources, and what the pacer may look at when it decides.

use std::{sync::Arc, time::Duration};

use millstream_connectors_api::{Ask, ReadLimit, Source};
use millstream_operators::{
    board::{EpochFacts, EpochKind},
    watermark::MarkState,
};
use millstream_types::Epoch;

use crate::{
    control::Control,
    epochs::{Draft, Ranges, millis},
    error::RuntimeError,
    intake::Intake,
    plan::StreamPlan,
    settings::QuerySettings,
};

/// A source and the way to its readers.
pub(crate) struct SourceDesk {
    pub(crate) source: Box<dyn Source>,
    pub(crate) intake: Arc<Intake>,
}

/// What a planner works on.
pub(crate) struct Desk {
    pub(crate) plan: Arc<StreamPlan>,
    pub(crate) settings: QuerySettings,
    pub(crate) control: Arc<Control>,
    pub(crate) sources: Vec<SourceDesk>,
    /// What the first sources answered while a later one could not be asked: their cursors have
    /// moved, so it counts when the question is put again.
    pub(crate) answered: Ranges,
    /// The next epoch to plan.
    pub(crate) next: Epoch,
    /// How many epochs are planned and not committed.
    pub(crate) open: usize,
    /// Marks after the newest committed epoch.
    pub(crate) marks: MarkState,
    /// When state was asked for last.
    pub(crate) captured_at: Duration,
    /// A snapshot is being written.
    pub(crate) is_capturing: bool,
    /// Epochs ran since state was asked for last.
    pub(crate) is_changed: bool,
    /// Input waits to be cleaned up until a second snapshot stands behind it.
    pub(crate) is_unsettled: bool,
    /// State can be captured: there is a checkpoint.
    pub(crate) is_durable: bool,
}

impl Desk {
    /// Asks every source for its next range; none if no source has any.
    pub(crate) fn ask(&mut self, limit: ReadLimit) -> Result<Option<Ranges>, RuntimeError> {
        let now_ms = self.settings.clock.now_ms();
        for desk in self.sources.iter_mut().skip(self.answered.len()) {
            let range = desk.source.plan(limit, now_ms);
            self.answered.push(range.map_err(RuntimeError::of_source)?);
        }
        let ranges = std::mem::take(&mut self.answered);
        Ok(ranges.iter().any(Option::is_some).then_some(ranges))
    }

    /// After how long the sources are to be asked again, now that none had anything.
    pub(crate) fn ask_after(&self) -> Option<Duration> {
        let now_ms = self.settings.clock.now_ms();
        let asks = self.sources.iter();
        asks.filter_map(|desk| match desk.source.ask_again(now_ms) {
            Ask::WhenWoken => None,
            Ask::After(wait) => Some(wait),
        })
        .min()
    }

    /// Everything that is there now makes one epoch; none if nothing is there.
    pub(crate) fn data_epoch(&mut self, limit: ReadLimit) -> Result<Option<Draft>, RuntimeError> {
        let before = self.settings.clock.monotonic();
        let Some(ranges) = self.ask(limit)? else {
            return Ok(None);
        };
        let took = self.settings.clock.monotonic().saturating_sub(before);
        let mut draft = self.draft(EpochKind::Data, ranges);
        draft.latest_offset_ms = millis(took);
        if self.capture_is_due() {
            self.capture_after(&mut draft);
        }
        Ok(Some(draft))
    }

    pub(crate) fn no_data_epoch(&self) -> Draft {
        let ranges = self.sources.iter().map(|_| None).collect();
        let mut draft = self.draft(EpochKind::NoData, ranges);
        if self.capture_is_due() {
            self.capture_after(&mut draft);
        }
        draft
    }

    pub(crate) fn draft(&self, kind: EpochKind, ranges: Ranges) -> Draft {
        let latest = self.sources.iter().map(|desk| desk.source.latest());
        let metrics = self.sources.iter().map(|desk| desk.source.metrics());
        Draft {
            facts: EpochFacts {
                clock_ms: self.settings.clock.now_ms(),
                kind,
                snapshot_after: false,
            },
            ranges,
            latest: latest.collect(),
            metrics: metrics.collect(),
            source_states: None,
            planned_at: self.settings.clock.monotonic(),
            latest_offset_ms: 0,
        }
    }

    /// Marks an epoch as one after which state is captured, with the cursors as they are now: they
    /// must stand behind this epoch and before the next.
    pub(crate) fn capture_after(&self, draft: &mut Draft) {
        if self.is_durable && !self.is_capturing {
            draft.facts.snapshot_after = true;
            draft.source_states = Some(self.source_states());
        }
    }

    pub(crate) fn source_states(&self) -> Vec<Vec<u8>> {
        let sources = self.sources.iter();
        sources.map(|desk| desk.source.state()).collect()
    }

    /// Whether the next epoch should be one after which state is captured. One snapshot is written
    /// at a time, so that a slow disk delays snapshots and piles nothing up. [INV-07]
    pub(crate) fn capture_is_due(&self) -> bool {
        !self.is_capturing && self.until_capture().is_zero()
    }

    /// How long until state is to be captured again.
    pub(crate) fn until_capture(&self) -> Duration {
        let since = self.settings.clock.monotonic();
        let since = since.saturating_sub(self.captured_at);
        self.settings.snapshot_interval.saturating_sub(since)
    }

    /// Whether an epoch is to run for nothing but a second snapshot: two are kept, and only what lies
    /// behind both is never read again. A query whose input has come to an end would keep its last
    /// files for ever. Once, and only for sources that clean up.
    pub(crate) fn settling_is_due(&self) -> bool {
        self.is_durable
            && self.is_unsettled
            && !self.is_changed
            && self.open == 0
            && self.capture_is_due()
    }

    /// Whether the watermark moved in the last epoch and something may close by it.
    pub(crate) fn no_data_is_due(&self) -> bool {
        self.settings.no_data_epochs
            && self.open == 0
            && self.plan.wants_no_data_epochs()
            && self.marks.evict > self.marks.late
    }
}
