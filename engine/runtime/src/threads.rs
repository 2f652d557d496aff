//! Threads of a query: workers over timely, one reader a source.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};

use millstream_connectors_api::{PlannedRange, SourceReader};
use millstream_types::{Coded, Epoch};
use timely::{
    CommunicationConfig, WorkerConfig, communication::WorkerGuards, execute::execute_from,
};

use crate::{
    dataflow::{Blueprint, Decoders, build},
    error::RuntimeError,
    feed::Feed,
    message::{Message, Shared},
};

/// How workers of a process hand batches to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channels {
    /// References move: the normal way.
    #[default]
    Typed,
    /// Everything is encoded as between processes: for tests of the wire form.
    Bytes,
}

/// Longest sleep of a worker that nobody wakes; only a guard against a lost wake-up.
const PARK_MAX: Duration = Duration::from_millis(500);

/// Starts the workers; each builds its dataflow and runs until it is told to stop.
pub(crate) fn start_workers(
    blueprint: Blueprint,
    decoders: Vec<Decoders>,
    channels: Channels,
    messages: Sender<Message>,
) -> Result<WorkerGuards<()>, RuntimeError> {
    let workers = decoders.len();
    let communication = match channels {
        Channels::Typed => CommunicationConfig::Process(workers),
        Channels::Bytes => CommunicationConfig::ProcessBinary(workers),
    };
    let (builders, others) = communication
        .try_build()
        .map_err(|error| RuntimeError::Contract {
            what: format!("workers cannot start: {error}"),
        })?;
    let decoders = Mutex::new(decoders.into_iter().map(Some).collect::<Vec<_>>());
    let messages = Mutex::new(messages);
    execute_from(builders, others, WorkerConfig::default(), move |worker| {
        let index = worker.index();
        let own = decoders.lock().unwrap_or_else(PoisonError::into_inner)[index].take();
        let messages = messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            run_worker(worker, &blueprint, own.unwrap_or_default(), messages);
        }));
        if ran.is_err() {
            die(index);
        }
    })
    .map_err(|error| RuntimeError::Contract {
        what: format!("workers cannot start: {error}"),
    })
}

fn run_worker(
    worker: &mut timely::worker::Worker,
    blueprint: &Blueprint,
    decoders: Decoders,
    messages: Sender<Message>,
) {
    if let Err(error) = build(worker, blueprint, decoders, messages.clone()) {
        let _gone = messages.send(Message::Failed(error.fault()));
    }
    drop(messages);
    while !blueprint.shared.is_stopped() {
        worker.step_or_park(Some(PARK_MAX));
    }
    for dataflow in worker.installed_dataflows() {
        worker.drop_dataflow(dataflow);
    }
}

/// A worker that panicked leaves its siblings waiting for it for ever, so the process ends: the
/// last committed epoch is safe, and a restart goes on from there. The panic's own message was
/// printed by the panic hook.
#[expect(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "the last words of a process"
)]
fn die(worker: usize) {
    eprintln!(
        "error EXE-002: a worker stopped worker={worker}; the process ends, restart to go on"
    );
    std::process::exit(70);
}

/// Starts a thread of a query under a name.
///
/// # Errors
/// When the system has no thread to give.
pub(crate) fn spawn<T: Send + 'static>(
    name: String,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, RuntimeError> {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    let spawned = std::thread::Builder::new().name(name.clone()).spawn(body);
    spawned.map_err(|_| RuntimeError::ThreadLost { thread: name })
}

/// Reads planned ranges of one source into its feed, in order, until the channel closes.
pub(crate) fn read_ranges(
    mut reader: Box<dyn SourceReader>,
    feed: &Feed,
    shared: &Arc<Shared>,
    ranges: &Receiver<(Epoch, Option<PlannedRange>)>,
    messages: &Sender<Message>,
) {
    while let Ok((epoch, range)) = ranges.recv() {
        if let Some(range) = range {
            let read = reader.read(&range, &mut |chunk| {
                let flow = feed.push(epoch, chunk);
                shared.wake();
                flow
            });
            if let Err(error) = read {
                let _gone = messages.send(Message::Failed(error.fault()));
                return;
            }
        }
        if shared.is_stopped() {
            return;
        }
        feed.finish(epoch);
        shared.wake();
    }
}
