//! `Schedule`: the seam through which a test decides which thread of a query moves next.
//!
//! With a schedule every thread of a query blocks in [`Schedule::turn`] until it is given its turn, does
//! one unit of work and comes back: a worker steps once, a reader takes one split or hands on one chunk,
//! planner, committer and snapshotter go once around their loops. Nobody waits anywhere else and workers read no clock, so
//! the order of turns decides everything and can be repeated. Without one, which is the normal way,
//! threads wait where they always did. The schedule of the tests is the baton of `testkit`.

use std::sync::Arc;

use millstream_types::Epoch;

/// A thread of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Participant {
    /// The one that plans epochs.
    Planner,
    /// The one that commits them.
    Committer,
    /// The one that writes snapshots.
    Snapshotter,
    /// One that reads a source.
    Reader {
        /// The source's place in the plan.
        source: usize,
        /// Which of the source's readers.
        reader: usize,
    },
    /// One that runs operators.
    Worker(usize),
}

/// What a participant did in the turn that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Something: others may have something to do now.
    Done,
    /// Nothing, and it needs nothing. A further turn changes nothing until another one does something.
    Nothing,
    /// Nothing, but it waits for something that others must do.
    Waiting,
}

/// What a participant is to do with its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// One unit of work.
    Go,
    /// End the query where it stands, as a kill would. Only the planner heeds it.
    Kill,
}

/// What planner and committer learn or do, in the order of their turns: what two equal schedules must agree in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The plan of an epoch is durable.
    Planned {
        /// Which.
        epoch: Epoch,
    },
    /// Rows of a worker arrived for the sink.
    Rows {
        /// Of this epoch.
        epoch: Epoch,
        /// From this worker.
        worker: usize,
        /// So many.
        rows: usize,
    },
    /// A worker has nothing more to say about an epoch.
    Closed {
        /// Which.
        epoch: Epoch,
        /// The worker.
        worker: usize,
    },
    /// The sink has an epoch.
    Committed {
        /// Which.
        epoch: Epoch,
    },
}

/// Decides whose turn it is. One schedule is for one start of one query.
pub trait Schedule: Send + Sync {
    /// Called once, before any thread starts, with everybody who will take part.
    fn begin(&self, participants: &[Participant]);

    /// Ends a turn, if the participant has one, and blocks until it is given the next.
    fn turn(&self, who: Participant, work: Work) -> Turn;

    /// The participant takes part no more. May be called outside a turn, and twice.
    fn leave(&self, who: Participant);

    /// Somebody outside asked something of the query: who had nothing to do may have now.
    fn poke(&self);

    /// Something happened, in a turn of the planner or the committer.
    fn saw(&self, event: Event);
}

/// A participant's place in the schedule, if there is one; its end gives the place up.
pub(crate) struct Seat {
    schedule: Option<Arc<dyn Schedule>>,
    who: Participant,
}

impl Seat {
    pub(crate) fn new(schedule: Option<&Arc<dyn Schedule>>, who: Participant) -> Seat {
        Seat {
            schedule: schedule.cloned(),
            who,
        }
    }

    /// A place of somebody whom no schedule moves.
    pub(crate) fn none(who: Participant) -> Seat {
        Seat {
            schedule: None,
            who,
        }
    }

    /// Whether waiting is to be done by idle turns only.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.schedule.is_some()
    }

    pub(crate) fn turn(&self, work: Work) -> Turn {
        self.schedule
            .as_ref()
            .map_or(Turn::Go, |schedule| schedule.turn(self.who, work))
    }

    pub(crate) fn saw(&self, event: Event) {
        if let Some(schedule) = &self.schedule {
            schedule.saw(event);
        }
    }

    pub(crate) fn saw_any(&self, event: impl FnOnce() -> Option<Event>) {
        if let Some(schedule) = &self.schedule
            && let Some(event) = event()
        {
            schedule.saw(event);
        }
    }

    /// Takes part no more; from here on this thread may wait where it likes.
    pub(crate) fn leave(&mut self) {
        if let Some(schedule) = self.schedule.take() {
            schedule.leave(self.who);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}
