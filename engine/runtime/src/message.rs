//! What workers and readers tell the coordinator, and how it wakes them.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use arrow::array::{Array, Int64Array, RecordBatch};
use millstream_operators::{driver::OperatorReport, state::BucketChange, watermark::MarkReport};
use millstream_types::{Epoch, Fault, OperatorId, SourceId};
use timely::scheduling::SyncActivator;

use crate::{schedule::Event, sinks::Port};

/// A word to the coordinator.
#[derive(Debug)]
pub(crate) enum Message {
    /// The query must stop.
    Failed(Fault),
    /// Rows for a sink.
    Rows {
        port: Port,
        epoch: Epoch,
        worker: usize,
        rows: RecordBatch,
        signs: Option<Int64Array>,
    },
    /// Rows for a sink that only counts.
    Counted {
        epoch: Epoch,
        worker: usize,
        rows: u64,
    },
    /// A worker has nothing more to say about an epoch.
    Closed { epoch: Epoch, worker: usize },
    /// An operator closed an epoch on one worker.
    Operator {
        operator: OperatorId,
        epoch: Epoch,
        report: OperatorReport,
    },
    /// State of an operator of one worker.
    Tapped {
        worker: usize,
        operator: OperatorId,
        epoch: Epoch,
        changes: Vec<BucketChange>,
    },
    /// The marks moved.
    Marked(MarkReport),
    /// A worker read rows of a source.
    Read {
        epoch: Epoch,
        source: SourceId,
        rows: u64,
        malformed: u64,
    },
    /// Somebody asked for something: look at the requests.
    Poke,
}

impl Message {
    /// What a schedule is told of it.
    pub(crate) fn event(&self) -> Option<Event> {
        match self {
            Message::Rows {
                epoch,
                worker,
                rows,
                ..
            } => Some(Event::Rows {
                epoch: *epoch,
                worker: *worker,
                rows: rows.num_rows(),
            }),
            Message::Counted {
                epoch,
                worker,
                rows,
            } => Some(Event::Rows {
                epoch: *epoch,
                worker: *worker,
                rows: usize::try_from(*rows).unwrap_or(usize::MAX),
            }),
            Message::Closed { epoch, worker } => Some(Event::Closed {
                epoch: *epoch,
                worker: *worker,
            }),
            Message::Failed(_)
            | Message::Operator { .. }
            | Message::Tapped { .. }
            | Message::Marked(_)
            | Message::Read { .. }
            | Message::Poke => None,
        }
    }
}

/// Rows on their way to the sink, so that sources can hold back. [INV-07]
const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// What all threads of a query share besides their channels.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    stop: AtomicBool,
    backlog: AtomicUsize,
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
        self.backlog.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Takes bytes off the backlog; wakes the workers when that makes room again.
    pub(crate) fn sub_backlog(&self, bytes: usize) {
        let before = self.backlog.fetch_sub(bytes, Ordering::SeqCst);
        if before > BACKLOG_BYTES_MAX && before - bytes <= BACKLOG_BYTES_MAX {
            self.wake();
        }
    }

    pub(crate) fn is_backlogged(&self) -> bool {
        self.backlog.load(Ordering::SeqCst) > BACKLOG_BYTES_MAX
    }
}

/// Bytes of a batch on its way to the sink; cheap and good enough for a bound.
pub(crate) fn batch_bytes(rows: &RecordBatch) -> usize {
    rows.columns()
        .iter()
        .map(|column| column.get_array_memory_size())
        .sum()
}
