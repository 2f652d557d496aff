//! What to do after a start: facts in, decision out. No IO, no state, no clock.
//!
//! Replay is deterministic and a sink refuses what it has, therefore state may lag behind the sink
//! and one rule is enough: restore the newest whole snapshot, run every later plan again in order,
//! and let out only what the sink has not. A query without state needs no epoch for the next one, so
//! what is recorded as committed is not run again, and its input is not asked for.

use millstream_types::Epoch;

/// The largest number of plans that may be open, that is planned and not committed, in any version
/// of the engine. A query uses fewer; the bound is here so that a lowered setting never refuses a
/// checkpoint that was written with a higher one.
pub const OPEN_PLANS_MAX: u64 = 64;

/// What a sink answers to "which epoch did you commit last?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkPosition {
    /// It stores no epoch with its rows: at least once.
    CannotTell,
    /// It would know, and has none.
    Nothing,
    /// This one and all before it.
    Committed(Epoch),
}

/// Which plans since the snapshot have to run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replays {
    /// All of them: state is made from each.
    Everything,
    /// Those without a commit record: no epoch depends on another.
    Unrecorded,
}

/// What is known at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The newest plan in the log.
    pub plan_last: Option<Epoch>,
    /// The newest commit record in the log.
    pub commit_last: Option<Epoch>,
    /// The newest snapshot all of whose files are whole.
    pub snapshot_last: Option<Epoch>,
    /// What the sink says.
    pub sink: SinkPosition,
    /// What the query needs to go on.
    pub replays: Replays,
    /// How many plans may be open.
    pub open_plans_max: u64,
    /// The generation that asks.
    pub generation: u64,
}

/// What becomes of the rows of a replayed epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// They go to the sink, which has not seen them.
    Emit,
    /// They are dropped: the epoch runs to rebuild state only.
    Suppress,
}

/// One epoch to run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The epoch.
    pub epoch: Epoch,
    /// Whether its rows go out.
    pub output: Output,
    /// Whether the log has its commit record; if not, one is due once the sink has the epoch.
    pub is_recorded: bool,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The snapshot to restore; `None` starts with empty state.
    pub restore: Option<Epoch>,
    /// The epochs to run again, in order, the last before `next`.
    pub replay: Vec<Replay>,
    /// The first epoch that has no plan yet.
    pub next: Epoch,
    /// The generation that runs.
    pub generation: u64,
}

impl Resume {
    /// The first epoch that runs.
    #[must_use]
    pub fn start(&self) -> Epoch {
        self.replay.first().map_or(self.next, |step| step.epoch)
    }
}

/// Facts under which no start is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// CKP-006 · User · the checkpoint was rolled back, or two queries share the sink.
    #[error("the sink is ahead of the checkpoint sink_epoch={sink} last_planned_epoch={}", show(*.plan_last))]
    SinkAhead {
        /// What the sink committed.
        sink: Epoch,
        /// What the log planned.
        plan_last: Option<Epoch>,
    },
    /// CKP-008 · Corrupt · the sink lost epochs: the log has their commits, which came after theirs.
    #[error(
        "the sink lacks epochs that it had sink_epoch={} committed_epoch={commit_last} \
         snapshot_epoch={}", show(*.sink), show(*.snapshot)
    )]
    SinkBehind {
        /// What the sink has.
        sink: Option<Epoch>,
        /// The newest snapshot.
        snapshot: Option<Epoch>,
        /// What the log says that the sink had.
        commit_last: Epoch,
    },
    /// CKP-008 · Corrupt · a commit or a snapshot whose plan is missing.
    #[error("the log lacks a plan that was {what} epoch={epoch} last_planned_epoch={}", show(*.plan_last))]
    PlanMissing {
        /// `committed` or `captured in a snapshot`.
        what: &'static str,
        /// The epoch without a plan.
        epoch: Epoch,
        /// The newest plan.
        plan_last: Option<Epoch>,
    },
    /// CKP-008 · Corrupt · a snapshot of an epoch that was never recorded as committed.
    #[error("the log lacks the commit of a snapshot epoch={snapshot} last_committed_epoch={}", show(*.commit_last))]
    CommitMissing {
        /// The epoch of the snapshot.
        snapshot: Epoch,
        /// The newest commit.
        commit_last: Option<Epoch>,
    },
    /// CKP-008 · Corrupt · more plans without a commit than there can be.
    #[error(
        "the log lacks commits open_plans={open} open_plans_max={open_max} last_planned_epoch={plan_last}"
    )]
    TooManyOpen {
        /// How many plans have no commit.
        open: u64,
        /// How many there can be.
        open_max: u64,
        /// The newest plan.
        plan_last: Epoch,
    },
}

pub(crate) fn show(epoch: Option<Epoch>) -> String {
    epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string())
}

/// How many epochs there are up to and with this one.
fn count(last: Option<Epoch>) -> u64 {
    last.map_or(0, |epoch| epoch.0.saturating_add(1))
}

/// Decides how a query goes on. Total: every combination of facts is a decision or a refusal.
///
/// A sink that can tell is believed: what it has is suppressed, what it lacks is sent. A commit is
/// recorded only after the sink has made it durable, so a sink that lacks a recorded epoch has lost
/// what readers may have seen, and nobody knows what else: it is refused. For a sink that cannot
/// tell, the log's commit records take its place. [INV-04]
///
/// # Errors
/// A [`Refusal`] that names the numbers which contradict each other.
pub fn resume(facts: Facts) -> Result<Resume, Refusal> {
    let Facts {
        plan_last,
        commit_last,
        snapshot_last,
        ..
    } = facts;
    if let SinkPosition::Committed(sink) = facts.sink
        && Some(sink) > plan_last
    {
        return Err(Refusal::SinkAhead { sink, plan_last });
    }
    check_log(facts)?;
    let sink_count = match facts.sink {
        SinkPosition::CannotTell => count(commit_last),
        SinkPosition::Nothing => 0,
        SinkPosition::Committed(epoch) => count(Some(epoch)),
    };
    if let Some(commit_last) = commit_last
        && sink_count < count(Some(commit_last))
    {
        let sink = sink_count.checked_sub(1).map(Epoch);
        return Err(Refusal::SinkBehind {
            sink,
            snapshot: snapshot_last,
            commit_last,
        });
    }
    let first = match facts.replays {
        Replays::Everything => count(snapshot_last),
        Replays::Unrecorded => count(snapshot_last).max(count(commit_last)),
    };
    let replay = (first..count(plan_last))
        .map(|number| Replay {
            epoch: Epoch(number),
            output: if number < sink_count {
                Output::Suppress
            } else {
                Output::Emit
            },
            is_recorded: number < count(commit_last),
        })
        .collect();
    Ok(Resume {
        restore: snapshot_last,
        replay,
        next: Epoch(count(plan_last)),
        generation: facts.generation,
    })
}

/// The log must agree with itself before the sink is looked at.
fn check_log(facts: Facts) -> Result<(), Refusal> {
    let Facts {
        plan_last,
        commit_last,
        snapshot_last,
        ..
    } = facts;
    for (what, last) in [
        ("committed", commit_last),
        ("captured in a snapshot", snapshot_last),
    ] {
        if let Some(epoch) = last.filter(|_| last > plan_last) {
            return Err(Refusal::PlanMissing {
                what,
                epoch,
                plan_last,
            });
        }
    }
    if let Some(snapshot) = snapshot_last.filter(|_| snapshot_last > commit_last) {
        return Err(Refusal::CommitMissing {
            snapshot,
            commit_last,
        });
    }
    let open = count(plan_last).saturating_sub(count(commit_last));
    match plan_last.filter(|_| open > facts.open_plans_max) {
        Some(plan_last) => Err(Refusal::TooManyOpen {
            open,
            open_max: facts.open_plans_max,
            plan_last,
        }),
        None => Ok(()),
    }
}
