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

/// The planned epochs of this process; one board a query, written by the pacer before any row of
/// the epoch exists, read by operators.
#[derive(Debug, Default)]
pub struct EpochBoard {
    facts: Mutex<BTreeMap<Epoch, EpochFacts>>,
}

impl EpochBoard {
    /// Announces a planned epoch.
    pub fn publish(&self, epoch: Epoch, facts: EpochFacts) {
        self.lock().insert(epoch, facts);
    }

    /// The facts of an epoch; none if it was not planned or is forgotten.
    #[must_use]
    pub fn facts(&self, epoch: Epoch) -> Option<EpochFacts> {
        self.lock().get(&epoch).copied()
    }

    /// Forgets committed epochs.
    pub fn forget_through(&self, epoch: Epoch) {
        let mut facts = self.lock();
        *facts = facts.split_off(&epoch.next());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Epoch, EpochFacts>> {
        // A map of plain values is whole even if a holder panicked.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
