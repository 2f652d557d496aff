//! What operators may know about an epoch besides its rows: the facts of its plan.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use millstream_types::Epoch;

/// Whether an epoch was planned for rows or only for a moved watermark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EpochKind {
    /// It has input ranges.
    #[default]
    Data,
    /// It has none: the watermark moved and something may close.
    NoData,
}

/// The part of a plan that operators see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpochFacts {
    /// The plan's clock, milliseconds since 1970.
    pub clock_ms: i64,
    /// Data or no data.
    pub kind: EpochKind,
    /// Whether operators hand over their state after it.
    pub snapshot_after: bool,
}

/// Called when there are new facts.
type Bell = Box<dyn Fn() + Send + Sync>;

/// What this process knows of the plan: epochs, and snapshots asked for. One board a query. Written
/// in the order of the log, before any row of an epoch exists; read by operators.
#[derive(Default)]
pub struct EpochBoard {
    state: Mutex<State>,
    /// Operators that may be waiting for facts. Apart, so that ringing them holds up nobody.
    bells: Mutex<Vec<Bell>>,
}

#[derive(Debug, Default)]
struct State {
    facts: BTreeMap<Epoch, EpochFacts>,
    /// The newest epoch after which a snapshot was asked for when it had already been planned.
    captured_after: Option<Epoch>,
}

impl std::fmt::Debug for EpochBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpochBoard")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl EpochBoard {
    /// Announces a planned epoch. Epochs are announced in order.
    pub fn publish(&self, epoch: Epoch, facts: EpochFacts) {
        self.lock().facts.insert(epoch, facts);
        self.ring();
    }

    /// Asks for state as of the end of `after`, the newest epoch that was announced: for a query
    /// that is idle, and at its end. No epoch is needed for it, so no sink sees an empty one.
    pub fn capture_after(&self, after: Epoch) {
        self.lock().captured_after = Some(after);
        self.ring();
    }

    /// The facts of an epoch; none if it was not planned or is forgotten.
    #[must_use]
    pub fn facts(&self, epoch: Epoch) -> Option<EpochFacts> {
        self.lock().facts.get(&epoch).copied()
    }

    /// The newest epoch after which [`capture_after`](EpochBoard::capture_after) asked for state. An
    /// operator that stands behind that epoch gives it before it begins the next one.
    #[must_use]
    pub fn captured_after(&self) -> Option<Epoch> {
        self.lock().captured_after
    }

    /// Registers a bell: it rings whenever there are new facts.
    pub fn on_news(&self, bell: impl Fn() + Send + Sync + 'static) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.push(Box::new(bell));
    }

    /// Forgets committed epochs.
    pub fn forget_through(&self, epoch: Epoch) {
        let mut state = self.lock();
        state.facts = state.facts.split_off(&epoch.next());
    }

    fn ring(&self) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.iter().for_each(|bell| bell());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain values are whole even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
