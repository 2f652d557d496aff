//! What all threads of a query share besides their channels: the end, the backlog, the wakers.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use millstream_operators::pressure::Pressure;
use timely::scheduling::SyncActivator;

/// Rows or bytes on their way to the sink, so that sources and operators hold back. [INV-07]
const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// What all threads of a query share besides their channels.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    stop: AtomicBool,
    backlog: AtomicUsize,
    /// Holds operators back while the backlog is high.
    pressure: Arc<Pressure>,
    wakers: Mutex<Vec<SyncWaker>>,
}

struct SyncWaker(SyncActivator);

impl std::fmt::Debug for SyncWaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SyncWaker")
    }
}

impl Shared {
    pub(crate) fn new() -> Arc<Shared> {
        Arc::default()
    }

    /// Registers something to wake. Called on the worker's own thread.
    pub(crate) fn register(&self, activator: SyncActivator) {
        self.wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(SyncWaker(activator));
    }

    /// Wakes all workers.
    pub(crate) fn wake(&self) {
        for waker in self
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            // A worker that is gone needs no waking.
            let _gone = waker.0.activate();
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    pub(crate) fn add_backlog(&self, bytes: usize) {
        if self.backlog.fetch_add(bytes, Ordering::SeqCst) + bytes > BACKLOG_BYTES_MAX {
            self.pressure.raise();
            // Whoever took the last of it may have been here before the flag was up.
            if !self.is_backlogged() {
                self.pressure.release();
            }
        }
    }

    /// Takes bytes off the backlog; wakes the workers when that makes room again.
    pub(crate) fn sub_backlog(&self, bytes: usize) {
        let before = self.backlog.fetch_sub(bytes, Ordering::SeqCst);
        if before > BACKLOG_BYTES_MAX && before - bytes <= BACKLOG_BYTES_MAX {
            self.pressure.release();
            self.wake();
        }
    }

    /// What tells operators to hold back.
    pub(crate) fn pressure(&self) -> Arc<Pressure> {
        self.pressure.clone()
    }

    pub(crate) fn is_backlogged(&self) -> bool {
        self.backlog.load(Ordering::SeqCst) > BACKLOG_BYTES_MAX
    }
}
