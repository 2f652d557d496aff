//! Threads of a query: workers over timely, one reader a source.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, TryRecvError},
    },
    thread::JoinHandle,
    time::Duration,
};

use millstream_connectors_api::{ConnectorError, PlannedRange, SourceReader};
use millstream_types::{Coded, Epoch};
use timely::{
    CommunicationConfig, WorkerConfig,
    communication::{WorkerGuards, initialize_from},
    execute::execute_from,
    worker::Worker,
};

use crate::{
    dataflow::{Blueprint, Decoders, build},
    error::RuntimeError,
    feed::Feed,
    message::{Message, Shared},
    schedule::{Participant, Schedule, Seat, Work},
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
    schedule: Option<Arc<dyn Schedule>>,
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
    let is_scheduled = schedule.is_some();
    let body = move |worker: &mut Worker| {
        let index = worker.index();
        let own = decoders.lock().unwrap_or_else(PoisonError::into_inner)[index].take();
        let messages = messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let seat = Seat::new(schedule.as_ref(), Participant::Worker(index));
            run_worker(worker, &blueprint, own.unwrap_or_default(), messages, &seat);
        }));
        if ran.is_err() {
            die(index);
        }
    };
    let config = WorkerConfig::default();
    if is_scheduled {
        // Without a timer a worker reads no clock and never parks.
        initialize_from(builders, others, move |allocator| {
            body(&mut Worker::new(config.clone(), allocator, None));
        })
    } else {
        execute_from(builders, others, config, body)
    }
    .map_err(|error| RuntimeError::Contract {
        what: format!("workers cannot start: {error}"),
    })
}

fn run_worker(
    worker: &mut Worker,
    blueprint: &Blueprint,
    decoders: Decoders,
    messages: Sender<Message>,
    seat: &Seat,
) {
    seat.turn(Work::Done);
    if let Err(error) = build(worker, blueprint, decoders, messages.clone()) {
        let _gone = messages.send(Message::Failed(error.fault()));
    }
    drop(messages);
    let mut work = Work::Done;
    loop {
        seat.turn(work);
        if blueprint.shared.is_stopped() {
            break;
        }
        if seat.is_scheduled() {
            worker.step();
            work = work_of_step(worker);
        } else {
            worker.step_or_park(Some(PARK_MAX));
        }
    }
    for dataflow in worker.installed_dataflows() {
        worker.drop_dataflow(dataflow);
    }
}

/// Whether the last step ran an operator, or left one to be run.
fn work_of_step(worker: &Worker) -> Work {
    let work = Cell::new(Work::Nothing);
    worker
        .activations()
        .borrow()
        .map_active(|_| work.set(Work::Done));
    work.get()
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

/// Reads planned ranges of one source into its feed, in order, until the channel closes. What goes
/// wrong, a panic of the reader too, is told to the coordinator.
pub(crate) fn read_ranges(
    mut reader: Box<dyn SourceReader>,
    feed: &Feed,
    shared: &Arc<Shared>,
    ranges: &Receiver<(Epoch, Option<PlannedRange>)>,
    messages: &Sender<Message>,
    seat: &Seat,
) {
    seat.turn(Work::Done);
    let read = catch_unwind(AssertUnwindSafe(|| {
        while let Some((epoch, range)) = next_range(ranges, seat) {
            if let Some(range) = range {
                reader.read(&range, &mut |chunk| {
                    let flow = feed.push(epoch, chunk, seat);
                    shared.wake();
                    seat.turn(Work::Done);
                    flow
                })?;
            }
            if shared.is_stopped() {
                break;
            }
            feed.finish(epoch);
            shared.wake();
            seat.turn(Work::Done);
        }
        Ok::<_, ConnectorError>(())
    }));
    let fault = match read {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.fault(),
        Err(_panic) => {
            let thread = "reader".to_owned();
            RuntimeError::ThreadLost { thread }.fault()
        }
    };
    // A coordinator that is gone has told everybody to stop.
    let _gone = messages.send(Message::Failed(fault));
}

/// The next plan; none when the query is ending.
fn next_range(
    ranges: &Receiver<(Epoch, Option<PlannedRange>)>,
    seat: &Seat,
) -> Option<(Epoch, Option<PlannedRange>)> {
    if !seat.is_scheduled() {
        return ranges.recv().ok();
    }
    loop {
        match ranges.try_recv() {
            Ok(next) => return Some(next),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => seat.turn(Work::Nothing),
        };
    }
}
