//! What the threads of a query tell each other: typed words, each complete in itself.
//!
//! No order is relied upon that only a shared channel would give. What a worker says of an epoch is
//! counted, and its last word of it carries the count, so the committer knows when it has heard
//! everything, whatever way the words took. The form of words between processes is in `frame`.

use millstream_connectors_api::WriteBody;
use millstream_operators::{
    driver::OperatorReport,
    state::BucketChange,
    watermark::{MarkReport, MarkState},
};
use millstream_types::{Epoch, Fault, OperatorId, SourceId, WorkerId};

use crate::{capture::Asked, epochs::OpenEpoch, schedule::Event, sinks::Port};

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
