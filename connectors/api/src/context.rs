//! What the engine hands to a source: a place for what it knows, a bell, and threads for IO.

use std::{ops::Range, sync::Arc};

use crate::{ConnectorError, Flow};

/// What a source gets when it is opened.
#[derive(Clone)]
pub struct SourceContext {
    /// Where it keeps what it has seen.
    pub journals: Arc<dyn Journals>,
    /// To be called when something new is there.
    pub waker: Waker,
    /// Threads for asynchronous IO, shared by all connectors of the process. Nothing that runs on
    /// them may block.
    pub io: tokio::runtime::Handle,
}

impl std::fmt::Debug for SourceContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceContext").finish_non_exhaustive()
    }
}

/// Tells the pacer of a query that a source has something new. May be called from any thread and at
/// any time, also when nothing is new; a call while the pacer is busy is not lost.
#[derive(Clone)]
pub struct Waker(Arc<dyn Wake>);

/// What a [`Waker`] rings.
pub trait Wake: Send + Sync {
    /// Something may be new.
    fn wake(&self);

    /// Nobody listens any more: the query has ended.
    fn is_spent(&self) -> bool;
}

impl Waker {
    /// A waker for a query.
    #[must_use]
    pub fn new(wake: Arc<dyn Wake>) -> Waker {
        Waker(wake)
    }

    /// Wakes the pacer.
    pub fn wake(&self) {
        self.0.wake();
    }

    /// Whether the query has ended, so that the waker may be forgotten.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.0.is_spent()
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}

/// The journals of one source of one query.
pub trait Journals: Send + Sync {
    /// Opens the journal of this name, empty if it does not exist. A source opens each of its
    /// journals once a start; names are short and in lower case.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged elsewhere than at the end of its last append.
    fn open(&self, name: &'static str) -> Result<Arc<dyn Journal>, ConnectorError>;
}

/// An append-only list of byte strings, numbered from 0, in the checkpoint of the query; in memory
/// for a query without one. It holds what a source knows and what would make a plan or a snapshot
/// grow: a plan names entries by their numbers.
///
/// The work and the bytes of a call depend on the entries that it names and on nothing else.
///
/// A crash may leave entries that no plan names: they were appended, and the plan was not. A source
/// that is opened again hears of its last range by [`Source::replay`](crate::Source::replay) or in
/// its restored state, and cuts off what lies behind it before its next plan.
pub trait Journal: Send + Sync {
    /// The numbers of the entries that are kept.
    fn entries(&self) -> Range<u64>;

    /// Appends entries and gives their numbers. When it returns they are durable; all of them, or
    /// after an error or a crash any first part of them.
    ///
    /// # Errors
    /// When they cannot be stored. After [`ConnectorError::is_disk_full`] none of them is there and
    /// the call may be repeated.
    fn append(
        &self,
        entries: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<Range<u64>, ConnectorError>;

    /// Reads the entries of `range`, oldest first, until `take` wants no more.
    ///
    /// # Errors
    /// When one of them is not kept (also one that was never written), or is damaged.
    fn read(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(u64, &[u8]) -> Flow,
    ) -> Result<(), ConnectorError>;

    /// Cuts off the entries from `end` on, so that the next one gets this number.
    ///
    /// # Errors
    /// When `end` lies outside of [`entries`](Journal::entries), or the cut cannot be made durable.
    fn truncate(&self, end: u64) -> Result<(), ConnectorError>;

    /// Lets the entries before `start` go, some now and some later. They must not be read again.
    ///
    /// # Errors
    /// When files cannot be removed; the next call tries again.
    fn forget(&self, start: u64) -> Result<(), ConnectorError>;
}
