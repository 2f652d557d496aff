//! The pacer: when the next epoch is planned, and what it takes.
//!
//! Rule: plan as soon as fewer epochs are open than may be and there is something to do. Under light
//! load an epoch is a handful of rows; under load rows pile up while epochs are open, so epochs grow
//! by themselves. Triggers override the rule.

use std::time::Duration;

use millstream_connectors_api::{PlannedRange, ReadLimit};
use millstream_operators::board::{EpochFacts, EpochKind};

use crate::{
    coordinator::{Coordinator, Ended, OpenEpoch, millis},
    settings::Trigger,
};

/// Longest sleep of a coordinator that waits for messages only; a guard, not a schedule.
const IDLE: Duration = Duration::from_secs(1);

type Ranges = Vec<Option<PlannedRange>>;

/// State of the schedule.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    trigger: Trigger,
    /// When the sources were last asked and had nothing.
    empty_at: Option<Duration>,
    frozen: bool,
    /// The range after the one that was planned, for triggers that must know which is the last.
    ahead: Option<Ranges>,
    /// Requests to process everything that are being served.
    serving: Option<u64>,
    /// The one epoch of trigger `once` was planned.
    is_spent: bool,
    /// The tick of the last epoch of trigger `processing-time`.
    tick: i64,
}

/// What to do in this turn.
pub(crate) struct Wish {
    pub(crate) epochs: Vec<OpenEpoch>,
    /// How long to wait for messages; none to go on at once.
    pub(crate) wait: Option<Duration>,
    /// Nothing is to be planned any more.
    pub(crate) is_done: bool,
}

impl Wish {
    fn wait(wait: Duration) -> Wish {
        Wish {
            epochs: Vec::new(),
            wait: Some(wait),
            is_done: false,
        }
    }

    fn plan(open: OpenEpoch) -> Wish {
        Wish {
            epochs: vec![open],
            wait: None,
            is_done: false,
        }
    }

    fn done() -> Wish {
        Wish {
            epochs: Vec::new(),
            wait: Some(IDLE),
            is_done: true,
        }
    }
}

impl Pacer {
    pub(crate) fn new(trigger: Trigger) -> Pacer {
        Pacer {
            trigger,
            tick: i64::MIN,
            ..Pacer::default()
        }
    }

    /// An epoch of an earlier start runs again: trigger `once` has had its epoch.
    pub(crate) fn replayed(&mut self) {
        self.is_spent = true;
    }

    pub(crate) fn turn(&mut self, query: &mut Coordinator) -> Result<Wish, Ended> {
        if query.control.wants_stop() {
            return Ok(Wish::done());
        }
        if query.open.len() >= query.settings.open_epochs_max.max(1) {
            return Ok(Wish::wait(IDLE));
        }
        match self.trigger {
            Trigger::Default => self.continuous(query),
            Trigger::ProcessingTime(interval) => self.at_ticks(query, interval),
            Trigger::Once => self.once(query),
            Trigger::AvailableNow => self.available_now(query),
            Trigger::OnDemand => self.on_demand(query),
        }
    }

    fn continuous(&mut self, query: &mut Coordinator) -> Result<Wish, Ended> {
        let asked = query.control.asked();
        let now = query.settings.clock.monotonic();
        let delay = query.settings.polling_delay;
        let must_ask = !query.control.is_served();
        if let Some(empty_at) = self.empty_at.filter(|_| !must_ask) {
            let rested = now.saturating_sub(empty_at);
            if rested < delay && !no_data_is_due(query) {
                return Ok(Wish::wait(delay.saturating_sub(rested)));
            }
        }
        if let Some(open) = data_epoch(query, ReadLimit::Configured)? {
            self.empty_at = None;
            return Ok(Wish::plan(open));
        }
        self.empty_at = Some(now);
        if no_data_is_due(query) {
            return Ok(Wish::plan(no_data_epoch(query)));
        }
        if query.open.is_empty() {
            query.control.serve(asked);
        }
        Ok(Wish::wait(delay))
    }

    fn at_ticks(&mut self, query: &mut Coordinator, interval: Duration) -> Result<Wish, Ended> {
        let asked = query.control.asked();
        let interval_ms = i64::try_from(interval.as_millis())
            .unwrap_or(i64::MAX)
            .max(1);
        let now = query.settings.clock.now_ms();
        let tick = now.div_euclid(interval_ms);
        let next_ms = (tick + 1).saturating_mul(interval_ms).saturating_sub(now);
        let rest = Duration::from_millis(next_ms.unsigned_abs());
        // One epoch a tick, and none while another is open: the schedule re-aligns by itself.
        if tick == self.tick || !query.open.is_empty() {
            return Ok(Wish::wait(if query.open.is_empty() {
                rest
            } else {
                IDLE.min(rest)
            }));
        }
        self.tick = tick;
        if let Some(open) = data_epoch(query, ReadLimit::Configured)? {
            return Ok(Wish::plan(open));
        }
        if no_data_is_due(query) {
            return Ok(Wish::plan(no_data_epoch(query)));
        }
        query.control.serve(asked);
        Ok(Wish::wait(rest))
    }

    fn once(&mut self, query: &mut Coordinator) -> Result<Wish, Ended> {
        if std::mem::replace(&mut self.is_spent, true) {
            return Ok(Wish::done());
        }
        Ok(match data_epoch(query, ReadLimit::Everything)? {
            Some(mut open) => {
                query.capture_after(&mut open);
                Wish::plan(open)
            }
            None => Wish::done(),
        })
    }

    fn available_now(&mut self, query: &mut Coordinator) -> Result<Wish, Ended> {
        if !std::mem::replace(&mut self.frozen, true) {
            let now_ms = query.settings.clock.now_ms();
            for source in &mut query.sources {
                source.source.freeze(now_ms)?;
            }
            self.ahead = ask(query, ReadLimit::Configured)?;
        }
        if let Some(ranges) = self.ahead.take() {
            // The cursors that a snapshot stores must not include the range that is looked at
            // ahead, so the epoch is made before it.
            let mut open = query.open_epoch(facts(query, EpochKind::Data), ranges);
            query.capture_after(&mut open);
            self.ahead = ask(query, ReadLimit::Configured)?;
            let is_last = self.ahead.is_none();
            if !is_last && !snapshot_is_due(query) {
                open.facts.snapshot_after = false;
            }
            return Ok(Wish::plan(open));
        }
        if no_data_is_due(query) {
            let mut open = no_data_epoch(query);
            query.capture_after(&mut open);
            return Ok(Wish::plan(open));
        }
        Ok(if query.open.is_empty() {
            Wish::done()
        } else {
            Wish::wait(IDLE)
        })
    }

    fn on_demand(&mut self, query: &mut Coordinator) -> Result<Wish, Ended> {
        let asked = query.control.asked();
        if query.control.is_served() {
            return Ok(Wish::wait(IDLE));
        }
        if !query.open.is_empty() {
            return Ok(Wish::wait(IDLE));
        }
        // One epoch over everything that was added, then epochs without data.
        if self.serving != Some(asked) {
            self.serving = Some(asked);
            if let Some(open) = data_epoch(query, ReadLimit::Configured)? {
                self.serving = None;
                return Ok(Wish::plan(open));
            }
        }
        if no_data_is_due(query) {
            return Ok(Wish::plan(no_data_epoch(query)));
        }
        self.serving = None;
        query.control.serve(asked);
        Ok(Wish::wait(IDLE))
    }
}

fn facts(query: &Coordinator, kind: EpochKind) -> EpochFacts {
    EpochFacts {
        clock_ms: query.settings.clock.now_ms(),
        kind,
        snapshot_after: false,
    }
}

/// Asks every source for its next range; none if no source has any.
fn ask(query: &mut Coordinator, limit: ReadLimit) -> Result<Option<Ranges>, Ended> {
    let now_ms = query.settings.clock.now_ms();
    let mut ranges = Vec::with_capacity(query.sources.len());
    for source in &mut query.sources {
        ranges.push(source.source.plan(limit, now_ms)?);
    }
    Ok(ranges.iter().any(Option::is_some).then_some(ranges))
}

fn data_epoch(query: &mut Coordinator, limit: ReadLimit) -> Result<Option<OpenEpoch>, Ended> {
    let before = query.settings.clock.monotonic();
    let Some(ranges) = ask(query, limit)? else {
        return Ok(None);
    };
    let mut open = query.open_epoch(facts(query, EpochKind::Data), ranges);
    open.durations.latest_offset = millis(query.settings.clock.monotonic().saturating_sub(before));
    if snapshot_is_due(query) {
        query.capture_after(&mut open);
    }
    Ok(Some(open))
}

fn no_data_epoch(query: &Coordinator) -> OpenEpoch {
    let ranges = vec![None; query.sources.len()];
    let mut open = query.open_epoch(facts(query, EpochKind::NoData), ranges);
    if snapshot_is_due(query) {
        query.capture_after(&mut open);
    }
    open
}

fn snapshot_is_due(query: &Coordinator) -> bool {
    let now = query.settings.clock.monotonic();
    now.saturating_sub(query.snapshot_at) >= query.settings.snapshot_interval
}

/// Whether the watermark moved in the last epoch and something may close by it.
fn no_data_is_due(query: &Coordinator) -> bool {
    query.settings.no_data_epochs
        && query.open.is_empty()
        && query.plan.wants_no_data_epochs()
        && query.marks.evict > query.marks.late
}
