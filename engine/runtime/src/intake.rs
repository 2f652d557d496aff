//! `Intake`: what is to be read of one source, and what was read: splits to readers, chunks to workers.
//!
//! Splits of planned epochs are handed to whichever reader is free, in order; chunks stand in a queue
//! that is bounded in bytes, and any worker takes the next one. Which reader and which worker it is
//! is left to chance, because nothing may depend on it: the order of rows follows from the split and
//! the position in it. [INV-02] Several epochs may be under way at once; an epoch is finished here
//! when all its splits were read to their end.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use millstream_connectors_api::{Chunk, ConnectorError, Flow, Split, Splits};
use millstream_types::Epoch;

use crate::schedule::{Seat, Work};

/// Bytes that wait in a queue at most (one chunk a reader may exceed it): a few chunks for each
/// worker of a small machine. More would only be held, not decoded sooner. [INV-07]
const BYTES_MAX: usize = 4 << 20;

/// The queues of one source in this process.
pub(crate) struct Intake {
    state: Mutex<State>,
    /// For readers that wait for room.
    space: Condvar,
    /// For readers that wait for a split.
    work: Condvar,
}

struct State {
    chunks: VecDeque<PlacedChunk>,
    bytes: usize,
    /// How many chunks of each epoch are in the queue.
    queued: BTreeMap<Epoch, usize>,
    /// Planned epochs that still have splits to hand out, oldest first.
    waiting: VecDeque<Waiting>,
    /// Splits that are being read, by epoch.
    reading: BTreeMap<Epoch, usize>,
    /// The first epoch that was not planned yet.
    next: Epoch,
    stopped: bool,
}

/// An epoch whose splits are being handed out.
struct Waiting {
    epoch: Epoch,
    splits: Splits,
    /// Where the next split begins: the extents of all before it.
    base: u64,
}

/// A chunk and its place.
#[derive(Debug)]
pub(crate) struct PlacedChunk {
    pub(crate) epoch: Epoch,
    /// Position of its first row in the input of this source in its epoch.
    pub(crate) position: u64,
    pub(crate) chunk: Chunk,
}

/// A split and its place.
#[derive(Debug)]
pub(crate) struct PlacedSplit {
    pub(crate) epoch: Epoch,
    /// Position of its first row in the input of this source in its epoch.
    pub(crate) base: u64,
    pub(crate) split: Split,
}

/// What a reader finds.
#[derive(Debug)]
pub(crate) enum Todo {
    /// A split to read. [`Intake::done`] must be called after it.
    Read(PlacedSplit),
    /// Nothing now.
    Nothing {
        /// An epoch was found to have no more splits: workers may have waited for that.
        is_news: bool,
    },
    /// The query is stopping.
    Stop,
}

/// What a worker finds: perhaps a chunk, and the least epoch that may still bring others.
#[derive(Debug)]
pub(crate) struct Polled {
    pub(crate) chunk: Option<PlacedChunk>,
    /// The chunk's own epoch, or a later one: the worker that holds it speaks for it.
    pub(crate) open: Epoch,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("Intake")
            .field("next", &state.next)
            .field("bytes", &state.bytes)
            .finish_non_exhaustive()
    }
}

impl Intake {
    /// An intake whose first epoch will be `start`.
    pub(crate) fn new(start: Epoch) -> Intake {
        let state = State {
            chunks: VecDeque::new(),
            bytes: 0,
            queued: BTreeMap::new(),
            waiting: VecDeque::new(),
            reading: BTreeMap::new(),
            next: start,
            stopped: false,
        };
        Intake {
            state: Mutex::new(state),
            space: Condvar::new(),
            work: Condvar::new(),
        }
    }

    /// The next epoch is planned, with these splits; none if the source has no part in it.
    pub(crate) fn plan(&self, epoch: Epoch, splits: Option<Splits>) {
        let mut state = self.lock();
        assert_eq!(epoch, state.next, "epochs are planned in order");
        state.next = epoch.next();
        if let Some(splits) = splits {
            state.waiting.push_back(Waiting {
                epoch,
                splits,
                base: 0,
            });
            self.work.notify_all();
        }
    }

    /// The next split, if one is waiting.
    ///
    /// # Errors
    /// When the source cannot say what its splits are.
    pub(crate) fn take(&self) -> Result<Todo, ConnectorError> {
        let mut state = self.lock();
        if state.stopped {
            return Ok(Todo::Stop);
        }
        let mut is_news = false;
        while let Some(waiting) = state.waiting.front_mut() {
            let (epoch, base) = (waiting.epoch, waiting.base);
            let Some(split) = waiting.splits.next() else {
                state.waiting.pop_front();
                is_news = true;
                continue;
            };
            let split = split?;
            waiting.base = base.saturating_add(split.extent);
            *state.reading.entry(epoch).or_default() += 1;
            return Ok(Todo::Read(PlacedSplit { epoch, base, split }));
        }
        Ok(Todo::Nothing { is_news })
    }

    /// Waits until there may be something to take. Not for threads of a schedule.
    pub(crate) fn wait(&self) {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.stopped {
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A split that was taken is read to its end.
    pub(crate) fn done(&self, epoch: Epoch) {
        let mut state = self.lock();
        count_off(&mut state.reading, epoch);
    }

    /// Adds a chunk; waits while the queue is full.
    pub(crate) fn push(&self, placed: PlacedChunk, seat: &Seat) -> Flow {
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
        state.bytes += placed.chunk.size();
        *state.queued.entry(placed.epoch).or_default() += 1;
        state.chunks.push_back(placed);
        Flow::More
    }

    /// The next chunk, if there is one.
    pub(crate) fn poll(&self) -> Polled {
        let mut state = self.lock();
        let chunk = state.chunks.pop_front();
        if let Some(placed) = &chunk {
            state.bytes -= placed.chunk.size();
            count_off(&mut state.queued, placed.epoch);
            self.space.notify_one();
        }
        let mut open = state.open();
        if let Some(placed) = &chunk {
            open = open.min(placed.epoch);
        }
        Polled { chunk, open }
    }

    /// Lets waiting readers go; the query is stopping.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.space.notify_all();
        self.work.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Fields are changed after the last thing that can fail.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The least epoch of which a chunk may still be taken from the queue.
    fn open(&self) -> Epoch {
        let queued = self.queued.keys().next().copied();
        let waiting = self.waiting.front().map(|waiting| waiting.epoch);
        let reading = self.reading.keys().next().copied();
        [queued, waiting, reading]
            .into_iter()
            .flatten()
            .fold(self.next, Epoch::min)
    }
}

/// One less of an epoch.
fn count_off(counts: &mut BTreeMap<Epoch, usize>, epoch: Epoch) {
    let left = counts.get_mut(&epoch).map(|count| {
        *count -= 1;
        *count
    });
    assert!(left.is_some(), "only what was counted is counted off");
    if left == Some(0) {
        counts.remove(&epoch);
    }
}

#[cfg(test)]
mod tests {
    use millstream_connectors_api::ChunkBody;

    use super::*;

    fn splits(extents: &[u64]) -> Splits {
        let splits: Vec<_> = extents
            .iter()
            .map(|extent| {
                Ok(Split {
                    extent: *extent,
                    detail: Vec::new(),
                })
            })
            .collect();
        Box::new(splits.into_iter())
    }

    fn take(intake: &Intake) -> PlacedSplit {
        match intake.take().expect("splits are there") {
            Todo::Read(placed) => placed,
            other @ (Todo::Nothing { .. } | Todo::Stop) => {
                unreachable!("wanted a split, found {other:?}")
            }
        }
    }

    fn chunk(epoch: u64, position: u64) -> PlacedChunk {
        PlacedChunk {
            epoch: Epoch(epoch),
            position,
            chunk: Chunk {
                position: 0,
                body: ChunkBody::Bytes {
                    bytes: vec![0; 8],
                    origin: "test".into(),
                    offset: 0,
                },
            },
        }
    }

    #[test]
    fn an_epoch_is_open_until_its_last_chunk_is_taken() {
        let seat = Seat::new(None, crate::schedule::Participant::Planner);
        let intake = Intake::new(Epoch(3));
        intake.plan(Epoch(3), Some(splits(&[10, 20])));
        intake.plan(Epoch(4), None);
        intake.plan(Epoch(5), Some(splits(&[7])));
        let (first, second) = (take(&intake), take(&intake));
        assert_eq!((first.base, second.base), (0, 10));
        let third = take(&intake);
        assert_eq!((third.epoch, third.base), (Epoch(5), 0));
        // A reader is ahead of another: its chunk of epoch 5 comes first.
        intake.push(chunk(5, 0), &seat);
        intake.push(chunk(3, 4), &seat);
        intake.done(Epoch(5));
        intake.done(Epoch(3));
        let polled = intake.poll();
        assert_eq!(polled.open, Epoch(3));
        assert_eq!(polled.chunk.map(|placed| placed.epoch), Some(Epoch(5)));
        intake.done(Epoch(3));
        let polled = intake.poll();
        assert_eq!((polled.open, polled.chunk.is_some()), (Epoch(3), true));
        assert!(matches!(intake.take(), Ok(Todo::Nothing { is_news: true })));
        assert_eq!(intake.poll().open, Epoch(6));
        intake.stop();
        assert!(matches!(intake.take(), Ok(Todo::Stop)));
    }
}
