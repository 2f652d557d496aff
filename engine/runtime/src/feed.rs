//! `Feed`: the bounded queue between a source's reader thread and the workers.
//!
//! Chunks stand in the queue in the order of epochs; any worker takes the next one. Which worker
//! decodes a chunk is left to chance, because nothing may depend on it. [INV-02]

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use millstream_connectors_api::{Chunk, Flow};
use millstream_types::Epoch;

use crate::schedule::{Seat, Work};

/// Bytes that wait in a feed at most (one chunk may exceed it): a few chunks for each worker of a
/// small machine. More would only be held, not decoded sooner. [INV-07]
const BYTES_MAX: usize = 4 << 20;

/// The queue of one source in this process.
#[derive(Debug)]
pub(crate) struct Feed {
    state: Mutex<State>,
    space: Condvar,
}

#[derive(Debug)]
struct State {
    chunks: VecDeque<(Epoch, u32, Chunk)>,
    /// Chunks that the last epoch with chunks has brought so far.
    numbered: (Epoch, u32),
    bytes: usize,
    /// The least epoch that may still bring chunks.
    open: Epoch,
    stopped: bool,
}

/// What a worker finds.
#[derive(Debug)]
pub(crate) enum Polled {
    /// A chunk of an epoch and its number in there; no chunk of an earlier epoch will come.
    Chunk(Epoch, u32, Chunk),
    /// Nothing now; no chunk of an epoch before this one will come.
    Empty(Epoch),
}

impl Feed {
    pub(crate) fn new(start: Epoch) -> Feed {
        let state = State {
            chunks: VecDeque::new(),
            numbered: (start, 0),
            bytes: 0,
            open: start,
            stopped: false,
        };
        Feed {
            state: Mutex::new(state),
            space: Condvar::new(),
        }
    }

    /// Adds a chunk; waits while the queue is full.
    pub(crate) fn push(&self, epoch: Epoch, chunk: Chunk, seat: &Seat) -> Flow {
        let mut state = self.lock();
        while state.bytes >= BYTES_MAX && !state.stopped {
            state = if seat.is_scheduled() {
                drop(state);
                seat.turn(Work::Waiting);
                self.lock()
            } else {
                self.space
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner)
            };
        }
        if state.stopped {
            return Flow::Stop;
        }
        assert!(
            epoch >= state.open,
            "chunks come before their epoch is finished"
        );
        state.bytes += chunk.size();
        let number = match state.numbered {
            (of, count) if of == epoch => count,
            _ => 0,
        };
        state.numbered = (epoch, number + 1);
        state.chunks.push_back((epoch, number, chunk));
        Flow::More
    }

    /// No more chunks of this epoch.
    pub(crate) fn finish(&self, epoch: Epoch) {
        let mut state = self.lock();
        assert!(epoch >= state.open, "epochs are finished in order");
        state.open = epoch.next();
    }

    /// The next chunk, if there is one.
    pub(crate) fn poll(&self) -> Polled {
        let mut state = self.lock();
        match state.chunks.pop_front() {
            Some((epoch, number, chunk)) => {
                state.bytes -= chunk.size();
                self.space.notify_one();
                Polled::Chunk(epoch, number, chunk)
            }
            None => Polled::Empty(state.open),
        }
    }

    /// Lets a waiting reader go; the query is stopping.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.space.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Fields are changed after the last thing that can fail.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
