//! What the session asks of a running query, and what it is told: stop, kill, process everything.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use millstream_types::Fault;

/// How a query ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Termination {
    /// It processed all it had to, or was stopped.
    Finished,
    /// It was killed for a test.
    Killed,
    /// An error ended it.
    Failed(Fault),
}

/// What a query is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// Epochs of an earlier start run again, or none was looked for yet.
    #[default]
    Starting,
    /// Nothing is new.
    Waiting,
    /// Epochs are under way.
    Processing {
        /// More is there than is under way.
        has_more: bool,
    },
    /// A disk is full.
    Paused(Fault),
}

/// Requests, and how far they are served.
#[derive(Debug, Default)]
pub(crate) struct Control {
    state: Mutex<ControlState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ControlState {
    stop: bool,
    kill: bool,
    /// Requests to process everything: made, and served.
    asked: u64,
    served: u64,
    ended: Option<Termination>,
    activity: Activity,
    /// The disk that is full, while one is.
    paused: Option<Fault>,
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, ControlState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_on<'a>(&self, state: MutexGuard<'a, ControlState>) -> MutexGuard<'a, ControlState> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ask_stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }

    pub(crate) fn ask_kill(&self) {
        self.lock().kill = true;
        self.changed.notify_all();
    }

    pub(crate) fn wants_stop(&self) -> bool {
        self.lock().stop
    }

    pub(crate) fn wants_kill(&self) -> bool {
        self.lock().kill
    }

    /// Asks that everything that is there be processed; gives the number of the request.
    pub(crate) fn ask_all(&self) -> u64 {
        let mut state = self.lock();
        state.asked += 1;
        state.asked
    }

    /// How many requests to process everything were made.
    pub(crate) fn asked(&self) -> u64 {
        self.lock().asked
    }

    /// Everything that was there at request number `asked` is processed.
    pub(crate) fn serve(&self, asked: u64) {
        let mut state = self.lock();
        if state.served < asked {
            state.served = asked;
            self.changed.notify_all();
        }
    }

    pub(crate) fn is_served(&self) -> bool {
        let state = self.lock();
        state.served == state.asked
    }

    /// Waits until a request is served.
    pub(crate) fn wait_served(&self, asked: u64) -> Result<(), Termination> {
        let mut state = self.lock();
        loop {
            if state.served >= asked {
                return Ok(());
            }
            if let Some(ended) = &state.ended {
                return Err(ended.clone());
            }
            state = self.wait_on(state);
        }
    }

    /// Rests, at most `time`, unless the query is to end. Says whether it is not.
    pub(crate) fn rest(&self, time: Duration) -> bool {
        let state = self.lock();
        if state.stop || state.kill {
            return false;
        }
        let waited = self.changed.wait_timeout(state, time);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !(state.stop || state.kill)
    }

    /// What the query is doing, as the planner sees it.
    pub(crate) fn does(&self, activity: Activity) {
        self.lock().activity = activity;
    }

    /// A thread of the query waits for room on a disk, or no longer does.
    pub(crate) fn pause(&self, fault: Option<Fault>) {
        self.lock().paused = fault;
    }

    pub(crate) fn activity(&self) -> Activity {
        let state = self.lock();
        match &state.paused {
            Some(fault) => Activity::Paused(fault.clone()),
            None => state.activity.clone(),
        }
    }

    pub(crate) fn end(&self, termination: Termination) {
        self.lock().ended.get_or_insert(termination);
        self.changed.notify_all();
    }

    pub(crate) fn ended(&self) -> Option<Termination> {
        self.lock().ended.clone()
    }

    /// Waits for the end, at most `limit` if there is one.
    pub(crate) fn wait_ended(&self, limit: Option<Duration>) -> Option<Termination> {
        let mut state = self.lock();
        loop {
            if let Some(ended) = &state.ended {
                return Some(ended.clone());
            }
            state = match limit {
                None => self.wait_on(state),
                Some(limit) => {
                    let waited = self.changed.wait_timeout(state, limit);
                    let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    if timeout.timed_out() {
                        return state.ended.clone();
                    }
                    state
                }
            };
        }
    }
}
