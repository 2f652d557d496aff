//! Signals: the first asks for a clean end, the second ends the process whatever it is doing.
//!
//! The second is answered in the signal handler itself. A process whose standard output or error is
//! a pipe that nobody empties, or that waits in a system call, would never come to answer it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

/// Exit code of a process that a second signal ended: 128 and the number of SIGINT, as shells have it.
const ENDED_BY_SIGNAL: i32 = 130;

/// Whether a signal came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    came: Arc<AtomicBool>,
}

impl Signals {
    /// Takes over SIGINT and SIGTERM; called once, before anything that may wait.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn take_over() -> std::io::Result<Signals> {
        let signals = Signals::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the handler that ends the process must find the flag of an earlier
            // signal, not of its own.
            flag::register_conditional_shutdown(signal, ENDED_BY_SIGNAL, signals.came.clone())?;
            flag::register(signal, signals.came.clone())?;
        }
        Ok(signals)
    }

    /// Waits for the first signal; returns at once if it came before.
    pub(crate) async fn wait(&self) {
        use tokio::signal::unix::{SignalKind, signal};
        let streams = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        );
        // Asked after the streams are there: a signal in between is in one of them.
        if self.came.load(Ordering::SeqCst) {
            return;
        }
        match streams {
            (Ok(mut interrupt), Ok(mut terminate)) => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            _ => std::future::pending().await,
        }
    }
}
