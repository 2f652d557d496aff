//! The log as planner, committer and snapshotter share it.
//!
//! Each of them writes when it must, and takes along what the others have ready: a sync is the
//! dearest thing a small epoch does. While an epoch is being planned, commit records wait for its
//! plan; the one append then holds both.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use millstream_epoch::{CheckpointStore, Chosen, EpochError, Planned, Sunk};

/// The checkpoint of a running query, shared by its threads.
#[derive(Debug)]
pub(crate) struct Log {
    store: CheckpointStore,
    /// Held while records are appended, so that they go in order.
    writing: Mutex<()>,
    /// Committed by the sink, not recorded yet; in order.
    sunk: Mutex<Vec<Sunk>>,
    /// The planner is choosing an epoch and will write soon.
    is_planning: AtomicBool,
}

impl Log {
    pub(crate) fn new(store: CheckpointStore) -> Log {
        Log {
            store,
            writing: Mutex::new(()),
            sunk: Mutex::default(),
            is_planning: AtomicBool::new(false),
        }
    }

    pub(crate) fn store(&self) -> &CheckpointStore {
        &self.store
    }

    /// From now until [`plan`](Log::plan) commit records may wait.
    pub(crate) fn begin_planning(&self) {
        self.is_planning.store(true, Ordering::SeqCst);
    }

    /// Makes plans durable, and with them the commits that are ready; ends the planning. If it
    /// fails, `chosen` is as it was, and after a full disk the call may be repeated.
    pub(crate) fn plan(&self, chosen: &mut Vec<Chosen>) -> Result<Vec<Planned>, EpochError> {
        self.is_planning.store(false, Ordering::SeqCst);
        self.append(chosen)
    }

    /// The sink has an epoch: the log must hear of it, in the order of epochs.
    pub(crate) fn commit(&self, sunk: Sunk) {
        self.ready().push(sunk);
    }

    /// Records what is ready, unless the planner will do so at once.
    pub(crate) fn record(&self) -> Result<(), EpochError> {
        if self.is_planning.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.record_now()
    }

    /// Records what is ready. After a full disk the call may be repeated.
    pub(crate) fn record_now(&self) -> Result<(), EpochError> {
        self.append(&mut Vec::new()).map(drop)
    }

    fn append(&self, chosen: &mut Vec<Chosen>) -> Result<Vec<Planned>, EpochError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sunk = std::mem::take(&mut *self.ready());
        if sunk.is_empty() && chosen.is_empty() {
            return Ok(Vec::new());
        }
        let planned = self.store.advance(&mut sunk, chosen);
        if !sunk.is_empty() {
            // Not written: they stand before what came since.
            let mut ready = self.ready();
            sunk.append(&mut ready);
            *ready = sunk;
        }
        Ok(planned?.1)
    }

    fn ready(&self) -> MutexGuard<'_, Vec<Sunk>> {
        // A vector of whole records is whole even if a holder panicked.
        self.sunk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
