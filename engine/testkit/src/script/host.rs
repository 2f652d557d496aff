//! What an engine must do so that scripts can be played on it.

use arrow::{array::Int64Array, array::RecordBatch, datatypes::SchemaRef};
use millstream_types::{Fault, OutputMode};
use std::{fmt, str::FromStr};

/// One engine session in which one script runs in one case.
///
/// # Contract
/// - The sink of a query outlives the query: what reached it before a restart is still taken after it,
///   and the counters since the last [`ScriptHost::take`] go on counting.
/// - A fault of [`ScriptHost::run`] belongs to one query, which has then stopped; the rows it left behind
///   are its own, and `run` may be called again for the others.
/// - Nothing reads a wall clock: processing time moves only by [`ScriptHost::advance`].
///
/// All methods answer with the [`Fault`] that a user would see.
pub trait ScriptHost {
    /// Runs one SQL statement.
    ///
    /// # Errors
    /// The statement is refused.
    fn statement(&mut self, sql: &str) -> Result<(), Fault>;

    /// The columns of a table that rows are added to.
    ///
    /// # Errors
    /// There is no such table.
    fn table_schema(&mut self, table: &str) -> Result<SchemaRef, Fault>;

    /// Starts a query; nothing is read before the next [`ScriptHost::run`].
    ///
    /// # Errors
    /// The query is refused.
    fn start(
        &mut self,
        query: &str,
        mode: OutputMode,
        sql: &str,
        workers: usize,
    ) -> Result<(), Fault>;

    /// Adds rows to a table, to be read by the next epoch of every query over it.
    ///
    /// # Errors
    /// The table takes no rows.
    fn add(&mut self, table: &str, rows: RecordBatch) -> Result<(), Fault>;

    /// One epoch over everything added, then no-data epochs until all queries are idle. Where nothing was
    /// added there is no data epoch.
    ///
    /// # Errors
    /// A query failed.
    fn run(&mut self) -> Result<(), Fault>;

    /// What reached the sink of a query since the last time it was asked.
    ///
    /// # Errors
    /// No query has this name.
    fn take(&mut self, query: &str) -> Result<Taken, Fault>;

    /// Kills a query without warning and starts it again from its checkpoint with this many workers: at
    /// once, or at the named step of its next epoch, which is then finished by the new start.
    ///
    /// # Errors
    /// The query does not come back.
    fn restart(
        &mut self,
        query: &str,
        workers: usize,
        after: Option<KillPoint>,
    ) -> Result<(), Fault>;

    /// Moves the virtual processing-time clock forward.
    ///
    /// # Errors
    /// The clock cannot move.
    fn advance(&mut self, micros: i64) -> Result<(), Fault>;
}

/// What reached a sink.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Columns of the query, also when no row came.
    pub schema: SchemaRef,
    /// Rows in the order of their arrival; in `changes` mode with how often each was added (negative:
    /// removed). In `complete` mode only the rows of the last epoch that wrote a result.
    pub rows: Vec<(RecordBatch, Option<Int64Array>)>,
    /// (Row, window) pairs dropped as late since the last take.
    pub late: u64,
    /// Logical rows that all operators of the query hold now.
    pub state: u64,
}

/// The step of an epoch after which a kill comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KillPoint {
    /// The inputs of the epoch are durable.
    Plan,
    /// The output of the epoch is staged, not visible.
    Stage,
    /// The sink has committed.
    Commit,
    /// The state is saved.
    Snapshot,
}

impl fmt::Display for KillPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KillPoint::Plan => "plan",
            KillPoint::Stage => "stage",
            KillPoint::Commit => "commit",
            KillPoint::Snapshot => "snapshot",
        })
    }
}

impl FromStr for KillPoint {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "plan" => Ok(KillPoint::Plan),
            "stage" => Ok(KillPoint::Stage),
            "commit" => Ok(KillPoint::Commit),
            "snapshot" => Ok(KillPoint::Snapshot),
            _ => Err(()),
        }
    }
}

/// Whether the runner adds restarts to those that the script asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Restarts {
    /// Only those of the script.
    AsWritten,
    /// Every running query is killed and restored after every `run` and `expect`.
    EveryEpoch,
}

/// In what circumstances a script is played; the answers must not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunCase {
    /// Workers that each query starts with.
    pub workers: usize,
    /// Additional restarts.
    pub restarts: Restarts,
}

impl fmt::Display for RunCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.workers == 1 { "" } else { "s" };
        write!(f, "{} worker{plural}", self.workers)?;
        match self.restarts {
            Restarts::AsWritten => Ok(()),
            Restarts::EveryEpoch => f.write_str(", restart after every epoch"),
        }
    }
}
