//! The steps of one epoch as types: each consumes the one before, so that a step left out does not
//! compile. Several epochs are on their way at once; that they finish in order is asserted by
//! [`CheckpointStore::advance`](crate::CheckpointStore::advance).
//!
//! ```text
//! Chosen ──advance──▶ Planned ──stage──▶ Staged ──sunk──▶ Sunk ──advance──▶ Committed
//! ```
//!
//! This is the way:
//!
//! ```
//! # use millstream_epoch::{CheckpointStore, EpochError, Outcome, Planned};
//! # fn f(store: &CheckpointStore, planned: Planned, outcome: Outcome) -> Result<(), EpochError> {
//! let epoch = planned.epoch();
//! let staged = planned.stage(outcome); // … the sink commits `epoch` …
//! store.advance(&mut vec![staged.sunk(epoch)?], &mut vec![])?;
//! # Ok(())
//! # }
//! ```
//!
//! What was never staged cannot be committed:
//!
//! ```compile_fail,E0308
//! # use millstream_epoch::{CheckpointStore, EpochError, Planned};
//! # fn f(store: &CheckpointStore, planned: Planned) -> Result<(), EpochError> {
//! store.advance(&mut vec![planned], &mut vec![])?;
//! # Ok(())
//! # }
//! ```
//!
//! and what is not durable cannot be run:
//!
//! ```compile_fail,E0599
//! # fn f(chosen: millstream_epoch::Chosen, outcome: millstream_epoch::Outcome) {
//! chosen.stage(outcome);
//! # }
//! ```

use millstream_types::Epoch;

use crate::{Commit, EpochError, Plan};

/// Inputs are chosen and in memory only: a crash forgets them, and that is right.
#[derive(Debug)]
#[must_use]
pub struct Chosen {
    plan: Plan,
}

/// Inputs are durable; nothing of the output is visible. The epoch may now be run, again and again
/// if need be, always with these inputs. [INV-01]
#[derive(Debug)]
#[must_use]
pub struct Planned {
    plan: Plan,
}

/// What running an epoch gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Rows read.
    pub rows_in: u64,
    /// Rows for the sink.
    pub rows_out: u64,
    /// The watermark of the next epoch, milliseconds since 1970.
    pub watermark_next_ms: i64,
}

/// Every worker is done and the sink holds the output, still invisible.
#[derive(Debug)]
#[must_use]
pub struct Staged {
    commit: Commit,
}

/// The sink made the epoch visible and remembers its number; the log does not know yet.
#[derive(Debug)]
#[must_use]
pub struct Sunk {
    commit: Commit,
}

/// The log knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    commit: Commit,
}

impl Chosen {
    /// An epoch with these inputs.
    pub fn new(plan: Plan) -> Chosen {
        Chosen { plan }
    }

    /// Its inputs.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn into_plan(self) -> Plan {
        self.plan
    }
}

impl Planned {
    /// Only for plans that the log holds.
    pub(crate) fn durable(plan: Plan) -> Planned {
        Planned { plan }
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.plan.epoch
    }

    /// Its inputs.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The dataflow is past the epoch on all workers and the sink has staged it.
    pub fn stage(self, outcome: Outcome) -> Staged {
        Staged {
            commit: Commit {
                epoch: self.plan.epoch,
                rows_in: outcome.rows_in,
                rows_out: outcome.rows_out,
                watermark_next_ms: outcome.watermark_next_ms,
            },
        }
    }
}

impl Staged {
    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.commit.epoch
    }

    /// The sink says that `epoch` is visible, now or since before a restart.
    ///
    /// # Errors
    /// [`EpochError::OutOfOrder`] if that is another epoch.
    pub fn sunk(self, epoch: Epoch) -> Result<Sunk, EpochError> {
        if epoch == self.commit.epoch {
            Ok(Sunk {
                commit: self.commit,
            })
        } else {
            Err(EpochError::OutOfOrder {
                what: "sink commit",
                epoch,
                want: self.commit.epoch,
            })
        }
    }
}

impl Sunk {
    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.commit.epoch
    }

    pub(crate) fn commit(&self) -> Commit {
        self.commit
    }
}

impl Committed {
    pub(crate) fn recorded(commit: Commit) -> Committed {
        Committed { commit }
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(self) -> Epoch {
        self.commit.epoch
    }

    /// What the log says.
    #[must_use]
    pub fn commit(self) -> Commit {
        self.commit
    }
}
