//! A running query as its user sees it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use millstream_runtime::{
    events::QueryEvent,
    progress::Progress,
    query::{Activity, Query, Termination},
};
use millstream_types::Fault;

use crate::error::{Error, Result};

/// Progress objects that a query remembers.
const RECENT_MAX: usize = 100;

/// What a query is doing, in Spark's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryStatus {
    /// One sentence.
    pub message: String,
    /// Whether rows are waiting.
    pub is_data_available: bool,
    /// Whether an epoch is running.
    pub is_trigger_active: bool,
}

/// Told of the life of queries. Called on the query's own thread: do not block.
pub trait StreamingQueryListener: Send + Sync {
    /// A query was started.
    fn on_query_started(&self, _id: &str, _name: Option<&str>) {}
    /// An epoch was committed.
    fn on_query_progress(&self, _progress: &Progress) {}
    /// Something that somebody should know of and that does not end the query.
    fn on_query_notice(&self, _id: &str, _notice: &Fault) {}
    /// The query waits for room on a disk, and goes on by itself.
    fn on_query_paused(&self, _id: &str, _reason: &Fault) {}
    /// It goes on.
    fn on_query_resumed(&self, _id: &str) {}
    /// It has ended; with what ended it, if an error did.
    fn on_query_terminated(&self, _id: &str, _exception: Option<&Fault>) {}
}

/// The listeners of a session, those that came after a query was started, too.
pub(crate) type Listeners = Arc<Mutex<Vec<Arc<dyn StreamingQueryListener>>>>;

/// Tells listeners what happened to a query.
pub(crate) struct Teller {
    pub(crate) listeners: Listeners,
    pub(crate) history: Arc<History>,
    /// Known a little after the query has begun to speak.
    pub(crate) id: OnceLock<String>,
}

impl Teller {
    pub(crate) fn tell(&self, event: &QueryEvent) {
        if let QueryEvent::Progress(progress) = event {
            self.history.add(progress);
        }
        let listeners = self.listeners.lock();
        let listeners = listeners.unwrap_or_else(PoisonError::into_inner).clone();
        for listener in listeners {
            self.tell_one(listener.as_ref(), event);
        }
    }

    fn tell_one(&self, listener: &dyn StreamingQueryListener, event: &QueryEvent) {
        let id = self.id.get().map_or("", String::as_str);
        match event {
            QueryEvent::Progress(progress) => listener.on_query_progress(progress),
            QueryEvent::Notice(notice) => listener.on_query_notice(id, notice),
            QueryEvent::Paused(reason) => listener.on_query_paused(id, reason),
            QueryEvent::Resumed => listener.on_query_resumed(id),
            QueryEvent::Terminated(Termination::Failed(fault)) => {
                listener.on_query_terminated(id, Some(fault));
            }
            QueryEvent::Terminated(Termination::Finished | Termination::Killed) => {
                listener.on_query_terminated(id, None);
            }
        }
    }
}

/// Progress of a query, kept for those who ask.
#[derive(Debug, Default)]
pub(crate) struct History {
    recent: Mutex<VecDeque<Progress>>,
}

impl History {
    pub(crate) fn add(&self, progress: &Progress) {
        let mut recent = self.lock();
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(progress.clone());
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Progress>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query that was started. Cloning gives another handle on the same query; when the session and
/// all handles are gone, the query is killed.
#[derive(Clone, Debug)]
pub struct StreamingQuery {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) query: Query,
    pub(crate) run_id: String,
    pub(crate) name: Option<String>,
    pub(crate) history: Arc<History>,
    pub(crate) explanation: String,
}

impl StreamingQuery {
    /// The id, which stays the same across restarts from a checkpoint.
    #[must_use]
    pub fn id(&self) -> &str {
        self.inner.query.id()
    }

    /// The id of this start.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.inner.run_id
    }

    /// The name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.inner.name.as_deref()
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.inner.query.ended().is_none()
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> QueryStatus {
        let status = |message: &str, is_data_available, is_trigger_active| QueryStatus {
            message: message.to_owned(),
            is_data_available,
            is_trigger_active,
        };
        match self.inner.query.ended() {
            Some(Termination::Finished | Termination::Killed) => status("Stopped", false, false),
            Some(Termination::Failed(fault)) => {
                let message = format!("Terminated with exception: {}", fault.message);
                status(&message, false, false)
            }
            None => match self.inner.query.activity() {
                Activity::Starting => status("Initializing sources", false, false),
                Activity::Waiting => status("Waiting for data to arrive", false, false),
                Activity::Processing { has_more } => status("Processing new data", has_more, true),
                Activity::Paused(fault) => {
                    let message = format!("Waiting for room on a disk: {}", fault.message);
                    status(&message, true, true)
                }
            },
        }
    }

    /// Progress of the newest committed epoch.
    #[must_use]
    pub fn last_progress(&self) -> Option<Progress> {
        self.inner.history.lock().back().cloned()
    }

    /// Progress of the last hundred epochs, oldest first.
    #[must_use]
    pub fn recent_progress(&self) -> Vec<Progress> {
        self.inner.history.lock().iter().cloned().collect()
    }

    /// The plan, with watermarks, state and output modes.
    #[must_use]
    pub fn explain(&self) -> &str {
        &self.inner.explanation
    }

    /// What ended it, if an error did.
    #[must_use]
    pub fn exception(&self) -> Option<Fault> {
        match self.inner.query.ended() {
            Some(Termination::Failed(fault)) => Some(fault),
            _ => None,
        }
    }

    /// Waits until everything that has arrived is processed and no epoch without data is due. For
    /// tests: a source that never ends keeps it waiting.
    ///
    /// # Errors
    /// What ended the query, if it ended before.
    pub async fn process_all_available(&self) -> Result<()> {
        let query = self.clone();
        blocking(move || query.process_all_available_blocking()).await?
    }

    /// As [`process_all_available`](StreamingQuery::process_all_available), without async.
    ///
    /// # Errors
    /// What ended the query, if it ended before.
    pub fn process_all_available_blocking(&self) -> Result<()> {
        match self.inner.query.process_all_available() {
            Ok(()) | Err(Termination::Finished | Termination::Killed) => Ok(()),
            Err(Termination::Failed(fault)) => Err(self.terminated(fault)),
        }
    }

    /// Waits until the query ends.
    ///
    /// # Errors
    /// What ended it, if an error did.
    pub async fn await_termination(&self) -> Result<()> {
        let query = self.clone();
        blocking(move || query.await_termination_blocking(None))
            .await?
            .map(drop)
    }

    /// Waits until the query ends or the time is over; says whether it has ended.
    ///
    /// # Errors
    /// What ended it, if an error did.
    pub async fn await_termination_for(&self, limit: Duration) -> Result<bool> {
        let query = self.clone();
        blocking(move || query.await_termination_blocking(Some(limit))).await?
    }

    /// As [`await_termination`](StreamingQuery::await_termination), without async.
    ///
    /// # Errors
    /// What ended it, if an error did.
    pub fn await_termination_blocking(&self, limit: Option<Duration>) -> Result<bool> {
        match self.inner.query.wait(limit) {
            None => Ok(false),
            Some(Termination::Finished | Termination::Killed) => Ok(true),
            Some(Termination::Failed(fault)) => Err(self.terminated(fault)),
        }
    }

    /// Asks for a clean end and waits for it: open epochs are committed, none is planned.
    ///
    /// # Errors
    /// What ended it, if an error did.
    pub async fn stop(&self) -> Result<()> {
        self.request_stop();
        self.await_termination().await
    }

    /// Asks for a clean end and returns at once.
    pub fn request_stop(&self) {
        self.inner.query.stop();
    }

    /// Ends the query where it stands, without a word to its checkpoint; waits until it has ended.
    pub fn kill(&self) {
        self.inner.query.kill();
        let _ended = self.inner.query.wait(None);
    }

    /// Whether it was killed by [`kill`](StreamingQuery::kill) or at a kill point.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.inner.query.ended() == Some(Termination::Killed)
    }

    fn terminated(&self, fault: Fault) -> Error {
        let name = self.name().unwrap_or(self.id()).to_owned();
        Error::Terminated { name, fault }
    }
}

/// Runs something that waits, off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let ran = tokio::task::spawn_blocking(work).await;
    ran.map_err(|_| {
        let thread = "blocking".to_owned();
        Error::Runtime(millstream_runtime::error::RuntimeError::ThreadLost { thread })
    })
}
