//! The source side: plan a range, read exactly that range, read it again after a crash.
//!
//! Order of calls. Control side, one thread: [`restore`](Source::restore) at most once, then
//! [`replay`](Source::replay) for each range planned since, oldest first, then any number of
//! [`plan`](Source::plan). Data side, threads of their own: [`SourceReader::read`] for each
//! [`Split`] of a range whose plan is durable, and for no other; between two of them
//! [`SourceReader::prefetch`]. A range is read again after a crash, until
//! [`settled`](Source::settled) says that it never will be.

use std::{sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};

use millstream_types::Fault;

use crate::ConnectorError;

/// A place in a source, as JSON text in the shape that Spark prints for the connector
/// (`{"logOffset":3}`). Opaque to the engine; equality is equality of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(pub String);

/// Input of one epoch from one source, fixed before it is read.
///
/// `detail` is the source's own record of what exactly belongs to the range (partitions and
/// offsets, or which entries of its [`Journal`](crate::Journal)). It is written to the plan log, so
/// its size must not grow with the input: what is long goes into a journal first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRange {
    /// Where the range begins, exclusive; `None` in the first epoch.
    pub start: Option<Position>,
    /// Where the range ends, inclusive.
    pub end: Position,
    /// What the range consists of; the source's own format.
    pub detail: Vec<u8>,
}

/// How much one epoch may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadLimit {
    /// What the source's own options allow (`maxFilesPerTrigger` and the like).
    Configured,
    /// Everything that is there: trigger `once` ignores rate limits.
    Everything,
}

/// A part of a planned range that can be read by itself, by any reader of any process: a file, a
/// partition of a topic. The splits of a range are ordered, and so are the rows of a split; together
/// that is the order of all rows of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// How many positions its rows take at most, in the source's own unit (bytes of a file, offsets
    /// of a partition). A row's place in its epoch is the sum of the extents before its split, plus
    /// its position.
    pub extent: u64,
    /// What to read; the source's own format.
    pub detail: Vec<u8>,
}

/// The splits of a range, in their order. Asked for one at a time, so that a range of very many
/// never stands in memory.
pub type Splits = Box<dyn Iterator<Item = Result<Split, ConnectorError>> + Send>;

/// When a source that had nothing new is to be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// When it calls its [`Waker`](crate::Waker), and not before.
    WhenWoken,
    /// After this time, or when it calls its waker.
    After(Duration),
}

/// The control side of a source. Lives with the pacer.
///
/// The source keeps a cursor of what it has planned so far. [`plan`](Source::plan) moves it;
/// after a restart the engine restores it from [`state`](Source::state) and then hands over the
/// ranges that were planned since through [`replay`](Source::replay).
pub trait Source: Send {
    /// One line for progress and plans, such as `FileStreamSource[file:/data/bids]`.
    fn description(&self) -> String;

    /// All columns the source can deliver.
    fn schema(&self) -> SchemaRef;

    /// Fixes the end for trigger `available-now`: what arrives later is left for the next run.
    ///
    /// # Errors
    /// When the outside cannot be asked.
    fn freeze(&mut self, now_ms: i64) -> Result<(), ConnectorError>;

    /// The next range after everything planned so far, or `None` if there is nothing new.
    /// `now_ms` is the engine's clock, milliseconds since 1970: sources read no other.
    ///
    /// # Errors
    /// When the outside cannot be asked, or an option turns out to be impossible. After
    /// [`ConnectorError::Io`] nothing was planned and the call may be repeated.
    fn plan(
        &mut self,
        limit: ReadLimit,
        now_ms: i64,
    ) -> Result<Option<PlannedRange>, ConnectorError>;

    /// Whether what is written into this directory, or into one in it or above it, may be among what
    /// the source reads.
    ///
    /// # Errors
    /// When the outside cannot be asked.
    fn reads_from(&self, place: &std::path::Path) -> Result<bool, ConnectorError> {
        let _ = place;
        Ok(false)
    }

    /// The newest position known, for progress; may lie beyond what is planned.
    fn latest(&self) -> Option<Position>;

    /// What [`restore`](Source::restore) needs to plan on from here. Stored with snapshots.
    fn state(&self) -> Vec<u8>;

    /// Goes back to a state made by [`state`](Source::state). Called before the first plan.
    ///
    /// # Errors
    /// When the bytes are not a state of this source.
    fn restore(&mut self, state: &[u8]) -> Result<(), ConnectorError>;

    /// Takes a range planned in an earlier run as planned.
    ///
    /// # Errors
    /// When the range is none of this source's.
    fn replay(&mut self, range: &PlannedRange) -> Result<(), ConnectorError>;

    /// When to ask again after [`plan`](Source::plan) had nothing. A source that must look for
    /// itself (a directory) should look less often the longer nothing comes.
    fn ask_again(&self, now_ms: i64) -> Ask;

    /// The splits of a range that was planned, in this run or an earlier one.
    ///
    /// # Errors
    /// When the range is none of this source's.
    fn splits(&self, range: &PlannedRange) -> Result<Splits, ConnectorError>;

    /// How many readers make sense at once in a process; at least one.
    fn readers_max(&self) -> usize {
        1
    }

    /// An independent reader of splits. Called once for each reader thread of each process.
    ///
    /// # Errors
    /// When the outside cannot be reached.
    fn reader(&self) -> Result<Box<dyn SourceReader>, ConnectorError>;

    /// A decoder that yields the columns of [`schema`](Source::schema) at `projection`, in that
    /// order. Called once per worker. It runs on the worker: no IO, no waiting.
    ///
    /// # Errors
    /// When the projection names a column that does not exist.
    fn decoder(&self, projection: &[usize]) -> Result<Box<dyn Decoder>, ConnectorError>;

    /// Counts for progress, each with its name: what was left out so far, and the like.
    fn metrics(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// What somebody should know and what does not end the query, since the last call: a file that
    /// was passed over, cleaning that failed. However often it happens, it is said a few times.
    fn notices(&mut self) -> Vec<Fault> {
        Vec::new()
    }

    /// The user accepts that the input of this range has changed since it was planned: its splits
    /// give what is there now, and what is gone gives nothing. Called before the range is replayed.
    ///
    /// # Errors
    /// When the source cannot do that.
    fn accept_changes(&mut self, range: &PlannedRange) -> Result<(), ConnectorError> {
        let _ = range;
        Err(ConnectorError::Internal {
            what: "this source cannot accept changed input",
        })
    }

    /// A range that ends where the source stands, as [`settled`](Source::settled) needs it. Asked
    /// between [`restore`](Source::restore) and the first [`replay`](Source::replay), because the
    /// plans before a snapshot are no longer known then. `None` if there is nothing to clean up.
    fn standing(&self) -> Option<PlannedRange> {
        None
    }

    /// Whether [`settled`](Source::settled) does what users wait for, such as moving files away. Then an
    /// idle query runs one epoch more, so that its last input is settled, too.
    fn cleans(&self) -> bool {
        false
    }

    /// This range and all before it will never be read again: the older of the two snapshots that
    /// are kept lies behind them. Clean up behind them; what a crash leaves is cleaned by the next
    /// call.
    ///
    /// # Errors
    /// When cleaning fails; the query goes on and the error is reported.
    fn settled(&mut self, range: &PlannedRange) -> Result<(), ConnectorError>;
}

/// Whether the receiver of chunks wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    More,
    /// The query is stopping: return at once.
    Stop,
}

/// A piece of input on its way to a worker: about a mebibyte at most.
#[derive(Debug)]
pub struct Chunk {
    /// Position of its first row in its split; its other rows stand at the positions after it. The
    /// positions of a split's chunks increase, none is taken twice, and none reaches the split's
    /// extent. So the order of an epoch's rows depends on nothing but its plan.
    pub position: u64,
    /// What is in it.
    pub body: ChunkBody,
}

/// The two forms of input.
#[derive(Debug)]
pub enum ChunkBody {
    /// Rows with all columns of the source.
    Rows(RecordBatch),
    /// Whole records as bytes, to be parsed by the worker.
    Bytes {
        /// The records; ends after a whole record.
        bytes: Vec<u8>,
        /// Where they come from, for messages and dead letters.
        origin: Arc<str>,
        /// Offset of the first byte in `origin`.
        offset: u64,
    },
}

impl Chunk {
    /// Bytes held, for bounded queues.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.body {
            ChunkBody::Rows(batch) => batch.get_array_memory_size(),
            ChunkBody::Bytes { bytes, .. } => bytes.len(),
        }
    }
}

/// What became of a request to read ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefetch {
    /// Something was read ahead; asking again may bring more.
    Some,
    /// There is nothing to read ahead, or no room.
    Nothing,
}

/// The data side of a source: reads splits. Lives on an IO thread and may block.
pub trait SourceReader: Send {
    /// Reads exactly `split`, the same rows in the same order every time, handing chunks over in
    /// order. `give` blocks while the consumer is busy.
    ///
    /// # Errors
    /// When the input cannot be read, or is no longer what the plan recorded. After
    /// [`ConnectorError::Io`] the call may be repeated if nothing was given.
    fn read(
        &mut self,
        split: &Split,
        give: &mut dyn FnMut(Chunk) -> Flow,
    ) -> Result<(), ConnectorError>;

    /// Called while no split is waiting: reads a little of what will probably be planned next into
    /// a buffer of the reader's own, at most `bytes_max` bytes in all. Must return soon (about a
    /// chunk's time). What was read ahead is served by [`read`](SourceReader::read) if the plan
    /// turns out to name it, and dropped if not; an error is kept until then.
    fn prefetch(&mut self, bytes_max: usize) -> Prefetch {
        let _ = bytes_max;
        Prefetch::Nothing
    }
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeReport {
    /// Records seen, good and bad: what `numInputRows` counts.
    pub rows: u64,
    /// Records that could not be parsed (nulled or dropped, as the mode says).
    pub malformed: u64,
}

/// Turns chunks into batches with just the columns the plan needs. Lives on a worker.
pub trait Decoder: Send {
    /// Decodes one chunk into batches of at most 8 192 rows.
    ///
    /// # Errors
    /// A malformed record under FAILFAST.
    fn decode(
        &mut self,
        chunk: Chunk,
        give: &mut dyn FnMut(RecordBatch),
    ) -> Result<DecodeReport, ConnectorError>;
}

/// The decoder of sources that deliver rows: a projection.
#[derive(Debug)]
pub struct RowDecoder {
    projection: Vec<usize>,
}

impl RowDecoder {
    /// A decoder that keeps the columns at `projection`.
    #[must_use]
    pub fn new(projection: &[usize]) -> RowDecoder {
        RowDecoder {
            projection: projection.to_vec(),
        }
    }
}

impl Decoder for RowDecoder {
    fn decode(
        &mut self,
        chunk: Chunk,
        give: &mut dyn FnMut(RecordBatch),
    ) -> Result<DecodeReport, ConnectorError> {
        let ChunkBody::Rows(batch) = chunk.body else {
            return Err(ConnectorError::Internal {
                what: "a row decoder was given bytes",
            });
        };
        let rows = batch.num_rows();
        let batch = batch
            .project(&self.projection)
            .map_err(|source| ConnectorError::Arrow {
                what: "projecting source rows",
                source,
            })?;
        let mut start = 0;
        while start < rows {
            let len = (rows - start).min(8192);
            give(batch.slice(start, len));
            start += len;
        }
        Ok(DecodeReport {
            rows: rows as u64,
            malformed: 0,
        })
    }
}
