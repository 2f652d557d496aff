//! The pacer: when the next epoch is planned, and what it takes.
//!
//! Rule: plan as soon as fewer epochs are open than may be and there is something to do. Under light
//! load an epoch is a handful of rows; under load rows pile up while epochs are open, so epochs grow
//! by themselves. Triggers override the rule. Nothing is looked for more often than a source wants:
//! between its times a source rings.

use std::time::Duration;

use millstream_connectors_api::ReadLimit;

use crate::{desk::Desk, epochs::Draft, error::RuntimeError, settings::Trigger};

/// Longest sleep of a planner that waits for words only; a guard, not a schedule.
const IDLE: Duration = Duration::from_secs(10);

/// State of the schedule.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    trigger: Trigger,
    /// When the sources, which had nothing, are to be asked again.
    ask_at: Option<Duration>,
    frozen: bool,
    /// Requests to process everything that are being served.
    serving: Option<u64>,
    /// The one epoch of trigger `once` was planned.
    is_spent: bool,
    /// The tick of the last epoch of trigger `processing-time`.
    tick: i64,
}

/// What to do in this turn.
pub(crate) struct Wish {
    pub(crate) epoch: Option<Draft>,
    /// How long to wait for words; none to go on at once.
    pub(crate) wait: Option<Duration>,
    /// Nothing is to be planned any more.
    pub(crate) is_done: bool,
}

impl Wish {
    fn wait(wait: Duration) -> Wish {
        Wish {
            epoch: None,
            wait: Some(wait),
            is_done: false,
        }
    }

    fn plan(draft: Draft) -> Wish {
        Wish {
            epoch: Some(draft),
            wait: None,
            is_done: false,
        }
    }

    fn done() -> Wish {
        Wish {
            epoch: None,
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

    /// A source rang, or somebody asked for something: the sources may be asked at once.
    pub(crate) fn woken(&mut self) {
        self.ask_at = None;
    }

    /// # Errors
    /// What a source says. After a full disk nothing was planned and the call may be repeated.
    pub(crate) fn turn(&mut self, desk: &mut Desk) -> Result<Wish, RuntimeError> {
        if desk.control.wants_stop() {
            return Ok(Wish::done());
        }
        if desk.open >= desk.settings.open_epochs_max.max(1) {
            return Ok(Wish::wait(IDLE));
        }
        match self.trigger {
            Trigger::Default => self.continuous(desk),
            Trigger::ProcessingTime(interval) => self.at_ticks(desk, interval),
            Trigger::Once => self.once(desk),
            Trigger::AvailableNow => self.available_now(desk),
            Trigger::OnDemand => self.on_demand(desk),
        }
    }

    fn continuous(&mut self, desk: &mut Desk) -> Result<Wish, RuntimeError> {
        let asked = desk.control.asked();
        let now = desk.settings.clock.monotonic();
        let must_ask = !desk.control.is_served();
        if let Some(ask_at) = self.ask_at.filter(|_| !must_ask)
            && now < ask_at
            && !desk.no_data_is_due()
            && !desk.settling_is_due()
        {
            return Ok(Wish::wait(IDLE.min(ask_at.saturating_sub(now))));
        }
        if let Some(draft) = desk.data_epoch(ReadLimit::Configured)? {
            self.ask_at = None;
            return Ok(Wish::plan(draft));
        }
        let wait = desk.ask_after().unwrap_or(IDLE);
        let wait = wait.max(desk.settings.polling_delay);
        self.ask_at = Some(now.saturating_add(wait));
        if desk.no_data_is_due() || desk.settling_is_due() {
            return Ok(Wish::plan(desk.no_data_epoch()));
        }
        if desk.open == 0 {
            desk.control.serve(asked);
        }
        Ok(Wish::wait(IDLE.min(wait)))
    }

    fn at_ticks(&mut self, desk: &mut Desk, interval: Duration) -> Result<Wish, RuntimeError> {
        let asked = desk.control.asked();
        let interval_ms = i64::try_from(interval.as_millis())
            .unwrap_or(i64::MAX)
            .max(1);
        let now = desk.settings.clock.now_ms();
        let tick = now.div_euclid(interval_ms);
        let next_ms = (tick + 1).saturating_mul(interval_ms).saturating_sub(now);
        let rest = IDLE.min(Duration::from_millis(next_ms.unsigned_abs()));
        // One epoch a tick, and none while another is open: the schedule re-aligns by itself.
        if tick == self.tick || desk.open > 0 {
            return Ok(Wish::wait(rest));
        }
        self.tick = tick;
        if let Some(draft) = desk.data_epoch(ReadLimit::Configured)? {
            return Ok(Wish::plan(draft));
        }
        if desk.no_data_is_due() || desk.settling_is_due() {
            return Ok(Wish::plan(desk.no_data_epoch()));
        }
        desk.control.serve(asked);
        Ok(Wish::wait(rest))
    }

    fn once(&mut self, desk: &mut Desk) -> Result<Wish, RuntimeError> {
        if self.is_spent {
            return Ok(Wish::done());
        }
        let draft = desk.data_epoch(ReadLimit::Everything)?;
        self.is_spent = true;
        Ok(draft.map_or_else(Wish::done, Wish::plan))
    }

    fn available_now(&mut self, desk: &mut Desk) -> Result<Wish, RuntimeError> {
        if !self.frozen {
            let now_ms = desk.settings.clock.now_ms();
            for of in &mut desk.sources {
                of.source.freeze(now_ms)?;
            }
            self.frozen = true;
        }
        if let Some(draft) = desk.data_epoch(ReadLimit::Configured)? {
            return Ok(Wish::plan(draft));
        }
        if desk.no_data_is_due() {
            return Ok(Wish::plan(desk.no_data_epoch()));
        }
        Ok(if desk.open == 0 {
            Wish::done()
        } else {
            Wish::wait(IDLE)
        })
    }

    fn on_demand(&mut self, desk: &mut Desk) -> Result<Wish, RuntimeError> {
        let asked = desk.control.asked();
        if desk.control.is_served() || desk.open > 0 {
            return Ok(Wish::wait(IDLE));
        }
        // One epoch over everything that was added, then epochs without data.
        if self.serving != Some(asked) {
            let draft = desk.data_epoch(ReadLimit::Configured)?;
            self.serving = draft.is_none().then_some(asked);
            if let Some(draft) = draft {
                return Ok(Wish::plan(draft));
            }
        }
        if desk.no_data_is_due() {
            return Ok(Wish::plan(desk.no_data_epoch()));
        }
        self.serving = None;
        desk.control.serve(asked);
        Ok(Wish::wait(IDLE))
    }
}
