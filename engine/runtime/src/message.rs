//! What the threads of a query tell each other: typed words, each complete in itself.
//!
//! No order is relied upon that only a shared channel would give. What a worker says of an epoch is
//! counted, and its last word of it carries the count, so the committer knows when it has heard
//! everything, whatever way the words took. The form of words between processes is in `frame`.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::Sender,
    },
};

use millstream_connectors_api::WriteBody;
use millstream_operators::{
    driver::OperatorReport,
    pressure::Pressure,
    state::BucketChange,
    watermark::{MarkReport, MarkState},
};
use millstream_types::{Epoch, Fault, OperatorId, SourceId, WorkerId};
use timely::scheduling::SyncActivator;

use crate::{
    epochs::OpenEpoch, frame, schedule::Event, settings::Channels, sinks::Port, snapshot::Asked,
};

/// A word to the committer.
#[derive(Debug)]
pub(crate) enum ToCommitter {
    /// A worker says something of an epoch.
    Said(WorkerMessage),
    /// The same, as bytes.
    Framed(Vec<u8>),
    /// An epoch was planned and is under way.
    Planned(Epoch, Box<OpenEpoch>),
    /// State was asked for, as of the end of an epoch that is committed.
    Capture(Asked),
    /// Look whether the query is ending.
    Poke,
}

/// A word to the planner.
#[derive(Debug)]
pub(crate) enum ToPlanner {
    /// An epoch is committed; none older is open.
    Committed {
        epoch: Epoch,
        /// The marks after it, if the query has any.
        marks: Option<MarkState>,
    },
    /// A snapshot is durable, or was given up.
    Captured {
        /// The older of the snapshots that are kept: nothing before it will be read again.
        floor: Option<Epoch>,
    },
    /// The query must stop.
    Failed(Fault),
    /// The query is to end where it stands, for a test.
    Killed,
    /// A source may have something new, or somebody asked for something.
    Poke,
}

/// What a worker says of an epoch.
#[derive(Debug)]
pub(crate) struct WorkerMessage {
    pub(crate) worker: WorkerId,
    pub(crate) epoch: Epoch,
    pub(crate) said: Said,
}

/// Its words.
#[derive(Debug)]
pub(crate) enum Said {
    /// The query must stop.
    Failed(Fault),
    /// The worker's part of the dataflow is built, with so many operators that give state when it is
    /// asked for. Said once, of the first epoch, and not counted.
    Built { givers: u64 },
    /// Rows for a sink.
    Rows {
        port: Port,
        body: WriteBody,
        /// Bytes that the worker added to the backlog for them. Said and not measured again: rows
        /// that were framed take other bytes.
        held: usize,
    },
    /// Rows for a sink that only counts.
    Counted { rows: u64 },
    /// The last word: it said so much before, this one not counted.
    Closed { messages: u64 },
    /// An operator closed the epoch.
    Operator {
        operator: OperatorId,
        report: OperatorReport,
    },
    /// State of an operator as of the end of the epoch. Comes after the last word where state was
    /// asked for late, and is not counted: every operator of every worker gives it once.
    Tapped {
        operator: OperatorId,
        changes: Vec<BucketChange>,
    },
    /// The marks moved. Not counted: it is waited for by itself, and may come after the last word of
    /// the worker that says it.
    Marked(MarkReport),
    /// Rows of a source were decoded.
    Read {
        source: SourceId,
        rows: u64,
        malformed: u64,
    },
}

impl Said {
    /// Whether the last word counts it.
    pub(crate) fn is_counted(&self) -> bool {
        match self {
            Said::Rows { .. }
            | Said::Counted { .. }
            | Said::Operator { .. }
            | Said::Read { .. } => true,
            Said::Failed(_)
            | Said::Built { .. }
            | Said::Closed { .. }
            | Said::Tapped { .. }
            | Said::Marked(_) => false,
        }
    }
}

impl WorkerMessage {
    /// What a schedule is told of it.
    pub(crate) fn event(&self) -> Option<Event> {
        let (epoch, worker) = (self.epoch, self.worker.0);
        let rows = |rows: u64| Event::Rows {
            epoch,
            worker,
            rows: usize::try_from(rows).unwrap_or(usize::MAX),
        };
        match &self.said {
            Said::Rows { body, .. } => Some(rows(body.rows())),
            Said::Counted { rows: counted } => Some(rows(*counted)),
            Said::Closed { .. } => Some(Event::Closed { epoch, worker }),
            Said::Failed(_)
            | Said::Built { .. }
            | Said::Operator { .. }
            | Said::Tapped { .. }
            | Said::Marked(_)
            | Said::Read { .. } => None,
        }
    }
}

/// A worker's way to the committer. Lives on the worker and counts what it says.
#[derive(Debug)]
pub(crate) struct Speaker {
    worker: WorkerId,
    channels: Channels,
    out: Sender<ToCommitter>,
    counts: RefCell<BTreeMap<Epoch, u64>>,
    /// Words of all epochs, for a schedule.
    total: Cell<u64>,
}

impl Speaker {
    pub(crate) fn new(worker: WorkerId, channels: Channels, out: Sender<ToCommitter>) -> Speaker {
        Speaker {
            worker,
            channels,
            out,
            counts: RefCell::default(),
            total: Cell::default(),
        }
    }

    /// How many words were said so far.
    pub(crate) fn total(&self) -> u64 {
        self.total.get()
    }

    /// Says something of an epoch that is not closed.
    pub(crate) fn say(&self, epoch: Epoch, said: Said) {
        self.total.set(self.total.get() + 1);
        if said.is_counted() {
            *self.counts.borrow_mut().entry(epoch).or_default() += 1;
        }
        let worker = self.worker;
        let word = WorkerMessage {
            worker,
            epoch,
            said,
        };
        let message = match self.channels {
            Channels::Typed => ToCommitter::Said(word),
            Channels::Bytes => match frame::encode(&word) {
                Ok(bytes) => ToCommitter::Framed(bytes),
                Err(_) => ToCommitter::Said(word),
            },
        };
        // A committer that is gone has told everybody to stop.
        let _gone = self.out.send(message);
    }

    /// Says the last word of an epoch.
    pub(crate) fn close(&self, epoch: Epoch) {
        let messages = self.counts.borrow_mut().remove(&epoch).unwrap_or(0);
        self.say(epoch, Said::Closed { messages });
    }
}

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
