//! The sink side: write, stage, commit; and one question after a crash.

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::SchemaRef,
};
use millstream_types::{Epoch, OutputMode};

use crate::ConnectorError;

/// How often a row reaches the outside when processes crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// The sink stores the epoch with the data and can say which it committed last.
    ExactlyOnce,
    /// An epoch may be seen twice after a crash.
    AtLeastOnce,
}

/// Rows that leave a query together.
#[derive(Clone, Debug)]
pub struct SinkRows {
    /// The rows.
    pub rows: RecordBatch,
    /// +1 or -1 a row; `None` means that all are +1. Only mode `changes` has signs.
    pub signs: Option<Int64Array>,
}

/// What a [`SinkEncoder`] made of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The rows in the form in which the sink stores them.
    pub bytes: Vec<u8>,
    /// How many there are.
    pub rows: u64,
}

/// The two forms in which rows reach a sink.
#[derive(Clone, Debug)]
pub enum WriteBody {
    /// As they are: for sinks that have no encoder.
    Rows(SinkRows),
    /// As the sink's encoder made them on a worker.
    Encoded(Encoded),
}

/// Some rows of an epoch on their way into the sink.
#[derive(Clone, Debug)]
pub struct EpochWrite {
    /// The epoch.
    pub epoch: Epoch,
    /// The rows.
    pub body: WriteBody,
}

impl WriteBody {
    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        match self {
            WriteBody::Rows(rows) => rows.rows.num_rows() as u64,
            WriteBody::Encoded(encoded) => encoded.rows,
        }
    }

    /// Bytes held, for bounded queues.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            WriteBody::Rows(rows) => rows.rows.get_array_memory_size(),
            WriteBody::Encoded(encoded) => encoded.bytes.capacity(),
        }
    }

    /// The rows of a sink that gave the engine no encoder.
    ///
    /// # Errors
    /// [`ConnectorError::Internal`] if they are encoded all the same.
    pub fn as_rows(&self) -> Result<&SinkRows, ConnectorError> {
        match self {
            WriteBody::Rows(rows) => Ok(rows),
            WriteBody::Encoded(_) => Err(ConnectorError::Internal {
                what: "a sink without an encoder was given encoded rows",
            }),
        }
    }
}

/// The part of a sink that runs on the workers, where there are many: rows to bytes. No IO.
pub trait SinkEncoder: Send {
    /// Encodes rows of one epoch. What it gives does not depend on what it encoded before.
    ///
    /// # Errors
    /// When a value cannot be written in the sink's form.
    fn encode(&mut self, rows: &SinkRows) -> Result<Encoded, ConnectorError>;
}

/// Whose rows a sink is to take, and which.
#[derive(Clone, Debug)]
pub struct SinkContext {
    /// Id of the query; the same across its restarts from one checkpoint.
    pub query_id: String,
    /// The columns.
    pub schema: SchemaRef,
    /// What reaches the sink in each epoch.
    pub mode: OutputMode,
}

/// What a commit wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkReceipt {
    /// Rows that became visible.
    pub rows: u64,
}

/// Where a query's rows go. Epochs arrive in order; several may be staged before one is committed.
///
/// Order of calls: [`open`](Sink::open) once, when the query's checkpoint is locked; then
/// [`last_committed`](Sink::last_committed) once; then, when the engine has decided how the query goes
/// on, [`begin`](Sink::begin) once; then [`encoder`](Sink::encoder) once a worker. For each epoch [`write`](Sink::write) any number of times, then [`stage`](Sink::stage), then, when all
/// before it are committed, [`commit`](Sink::commit). An epoch without rows is staged and committed
/// too. Epochs up to [`last_committed`](Sink::last_committed) are not sent again.
///
/// Making a sink touches nothing outside; before `open` another process may be using the place. Until
/// `begin` nothing that was there is changed: a start that is refused leaves everything as it was.
///
/// A call that fails with [`ConnectorError::is_disk_full`] or [`ConnectorError::is_refused`] changed
/// nothing: the engine waits and repeats it. After any other error the sink is dropped.
pub trait Sink: Send {
    /// One line for progress and plans.
    fn description(&self) -> String;

    /// What it promises.
    fn guarantee(&self) -> Guarantee;

    /// Whether it only counts rows, so that workers need not hand them over.
    fn discards_rows(&self) -> bool {
        false
    }

    /// Takes the place for this query. A place that stores epochs belongs to one query: the sink
    /// writes down whose it is, and holds it against other processes until it is dropped.
    ///
    /// # Errors
    /// When the sink cannot take this mode or schema, cannot be reached, or belongs to another
    /// query ([`ConnectorError::OwnedByOther`]) or process.
    fn open(&mut self, context: &SinkContext) -> Result<(), ConnectorError>;

    /// Encodes rows on the workers; `None` for a sink that takes rows as they are.
    fn encoder(&self) -> Option<Box<dyn SinkEncoder>> {
        None
    }

    /// The newest epoch whose rows are visible; `None` if there is none or the sink cannot tell.
    /// Changes nothing.
    ///
    /// # Errors
    /// When the outside cannot be asked.
    fn last_committed(&mut self) -> Result<Option<Epoch>, ConnectorError>;

    /// The query goes on, and `first` is the first epoch that will be sent. Leftovers of epochs that
    /// were staged and never committed are discarded here: those of which the sink can prove that
    /// they are leftovers.
    ///
    /// # Errors
    /// When the place holds rows beyond what was committed that may be somebody's, or leftovers
    /// cannot be removed.
    fn begin(&mut self, first: Epoch) -> Result<(), ConnectorError> {
        let _ = first;
        Ok(())
    }

    /// The directory that it writes, so that a query which reads there can be refused; `None` for a
    /// sink that writes no files.
    fn place(&self) -> Option<std::path::PathBuf> {
        None
    }

    /// Takes rows of an epoch. Nothing becomes visible. The rows stay the caller's, who gives them
    /// again if there was no room.
    ///
    /// # Errors
    /// When the rows cannot be stored.
    fn write(&mut self, write: &EpochWrite) -> Result<(), ConnectorError>;

    /// All rows of the epoch were written; make them as durable as they must be before a commit.
    ///
    /// # Errors
    /// When the rows cannot be stored.
    fn stage(&mut self, epoch: Epoch) -> Result<(), ConnectorError>;

    /// Makes the epoch visible in one atomic act that also records its number.
    ///
    /// # Errors
    /// When it is not certain that the epoch is visible; the engine then restarts from the log.
    fn commit(&mut self, epoch: Epoch) -> Result<SinkReceipt, ConnectorError>;
}
