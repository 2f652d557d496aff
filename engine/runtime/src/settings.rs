//! How a query is to run: what is not part of its plan.

use std::{sync::Arc, time::Duration};

use crate::{clock::Clock, schedule::Schedule};

/// How workers of a process hand batches to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channels {
    /// References move: the normal way.
    #[default]
    Typed,
    /// Everything is encoded as between processes: for tests of the wire form.
    Bytes,
}

/// When epochs are planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trigger {
    /// As soon as there is something to do.
    #[default]
    Default,
    /// At multiples of an interval since 1970.
    ProcessingTime(Duration),
    /// One epoch over everything there is, then stop.
    Once,
    /// Everything that is there now, in as many epochs as rate limits imply, then stop.
    AvailableNow,
    /// Only when [`process_all_available`](crate::query::Query::process_all_available) asks: one
    /// epoch over everything there is, then epochs without data until nothing is left to do.
    OnDemand,
}

/// Where a query is killed without warning, for tests of recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillPoint {
    /// The next plan is durable, nothing of it has run.
    Planned,
    /// The sink holds the next epoch, invisible.
    Staged,
    /// The next epoch is recorded as committed.
    Committed,
    /// The next snapshot exists.
    Snapshot,
}

/// How a query is to run.
#[derive(Clone)]
pub struct QuerySettings {
    /// Its name.
    pub name: Option<String>,
    /// Id of this start, a UUID.
    pub run_id: String,
    /// Id for a query without a checkpoint, and for a new checkpoint.
    pub new_id: String,
    /// Worker threads.
    pub workers: usize,
    /// When epochs are planned.
    pub trigger: Trigger,
    /// How many epochs may be open at once.
    pub open_epochs_max: usize,
    /// How often state is captured; zero captures after every epoch.
    pub snapshot_interval: Duration,
    /// Whether a moved watermark gets an epoch of its own when no data comes.
    pub no_data_epochs: bool,
    /// How long to wait before a source that had nothing is asked again.
    pub polling_delay: Duration,
    /// How long listing, reading and writing are tried again that something outside refuses. A full
    /// disk is waited for without end.
    pub retry_for: Duration,
    /// How workers hand batches to each other.
    pub channels: Channels,
    /// Where to be killed.
    pub kill_at: Option<KillPoint>,
    /// Who decides which thread moves next, for tests of interleavings; the system without it.
    pub schedule: Option<Arc<dyn Schedule>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for QuerySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuerySettings")
            .field("name", &self.name)
            .field("workers", &self.workers)
            .field("trigger", &self.trigger)
            .finish_non_exhaustive()
    }
}
