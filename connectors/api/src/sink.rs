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

/// Some rows of an epoch on their way into the sink.
#[derive(Clone, Debug)]
pub struct EpochWrite {
    /// The epoch.
    pub epoch: Epoch,
    /// The rows.
    pub rows: RecordBatch,
    /// +1 or -1 a row; `None` means that all are +1. Only mode `changes` has signs.
    pub signs: Option<Int64Array>,
}

/// What a commit wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkReceipt {
    /// Rows that became visible.
    pub rows: u64,
}

/// Where a query's rows go. Epochs arrive in order; several may be staged before one is committed.
///
/// For each epoch the engine calls [`write`](Sink::write) any number of times, then
/// [`stage`](Sink::stage), then, when all before it are committed, [`commit`](Sink::commit). An
/// epoch without rows is staged and committed too. After a restart the engine asks
/// [`last_committed`](Sink::last_committed) and does not send epochs up to it again.
pub trait Sink: Send {
    /// One line for progress and plans.
    fn description(&self) -> String;

    /// What it promises.
    fn guarantee(&self) -> Guarantee;

    /// Whether it only counts rows, so that workers need not hand them over.
    fn discards_rows(&self) -> bool {
        false
    }

    /// Called once before the first write with the columns and the mode of the query.
    ///
    /// # Errors
    /// When the sink cannot take this mode or schema, or cannot be reached.
    fn open(&mut self, schema: &SchemaRef, mode: OutputMode) -> Result<(), ConnectorError>;

    /// The newest epoch whose rows are visible; `None` if there is none or the sink cannot tell.
    /// Leftovers of epochs that were staged and never committed are discarded here.
    ///
    /// # Errors
    /// When the outside cannot be asked.
    fn last_committed(&mut self) -> Result<Option<Epoch>, ConnectorError>;

    /// Takes rows of an epoch. Nothing becomes visible.
    ///
    /// # Errors
    /// When the rows cannot be stored.
    fn write(&mut self, write: EpochWrite) -> Result<(), ConnectorError>;

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
