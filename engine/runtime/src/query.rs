//! A query that was started: how the session holds it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use millstream_epoch::Disk;
use millstream_types::Coded;

pub use crate::control::{Activity, Termination};
use crate::{
    control::Control,
    error::RuntimeError,
    events::{QueryEvent, QueryListener},
    plan::StreamPlan,
    planner::Ended,
    settings::QuerySettings,
    sinks::Sinks,
    start::{Bell, Order, Ready, start},
    threads::spawn,
};

/// A query that was started.
pub struct Query {
    id: String,
    control: Arc<Control>,
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query")
            .field("id", &self.id)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

/// Runs a query without a checkpoint until it ends.
fn run_once(
    plan: StreamPlan,
    sinks: Sinks,
    settings: QuerySettings,
    listener: QueryListener,
) -> Result<Termination, RuntimeError> {
    let query = Query::start(plan, sinks, None, settings, listener)?;
    Ok(query.wait(None).unwrap_or(Termination::Finished))
}

impl Query {
    /// Starts a plan into its sinks. Everything that can be refused is refused here, before any row
    /// is read; afterwards errors arrive through [`wait`](Query::wait).
    ///
    /// # Errors
    /// When the checkpoint is of another query, in use or damaged, or when a source or the sink
    /// cannot be opened.
    pub fn start(
        plan: StreamPlan,
        sinks: Sinks,
        checkpoint: Option<Arc<dyn Disk>>,
        settings: QuerySettings,
        listener: QueryListener,
    ) -> Result<Query, RuntimeError> {
        let control = Arc::<Control>::default();
        let Ready { id, planner, bell } = start(Order {
            plan: Arc::new(plan),
            sinks,
            checkpoint,
            settings,
            listener: listener.clone(),
            control: control.clone(),
            run_once,
        })?;
        let teller = listener;
        let ender = control.clone();
        let thread = spawn(format!("millstream-{id}"), move || {
            let termination = match planner.run() {
                Ended::Finished => Termination::Finished,
                Ended::Killed => Termination::Killed,
                Ended::Failed(error) => Termination::Failed(error.fault()),
            };
            // Told before it is known: who waits for the end finds that listeners have heard of it.
            // A listener that panics must not keep the end from those who wait.
            let told = QueryEvent::Terminated(termination.clone());
            let _panicked = catch_unwind(AssertUnwindSafe(|| teller(told)));
            ender.end(termination);
        })?;
        Ok(Query {
            id,
            control,
            bell,
            thread: Some(thread),
        })
    }

    /// The id, which stays the same across restarts from a checkpoint.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits until everything that has arrived is processed and no epoch without data is due.
    ///
    /// # Errors
    /// What ended the query, if it ended before.
    pub fn process_all_available(&self) -> Result<(), Termination> {
        let asked = self.control.ask_all();
        self.bell.ask();
        self.control.wait_served(asked)
    }

    /// Asks for a clean end: open epochs are committed, no new one is planned, and state is
    /// captured, so that the input that was committed is not needed again.
    pub fn stop(&self) {
        self.control.ask_stop();
        self.bell.ask();
    }

    /// Ends the query where it stands; what is not committed runs again at the next start.
    pub fn kill(&self) {
        self.control.ask_kill();
        self.bell.ask();
    }

    /// What it is doing.
    #[must_use]
    pub fn activity(&self) -> Activity {
        self.control.activity()
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<Termination> {
        self.control.ended()
    }

    /// Waits for the end, at most `limit` if there is one.
    #[must_use]
    pub fn wait(&self, limit: Option<Duration>) -> Option<Termination> {
        self.control.wait_ended(limit)
    }
}

impl Drop for Query {
    /// A query nobody holds any more is killed: its threads must not outlive it.
    fn drop(&mut self) {
        self.kill();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
