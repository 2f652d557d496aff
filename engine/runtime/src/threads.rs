//! Threads of a query: workers over timely, readers of sources.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, mpsc::Sender},
    thread::JoinHandle,
    time::Duration,
};

use millstream_connectors_api::{Chunk, Flow, Prefetch, SourceReader};
use millstream_types::{Coded, WorkerId};
use timely::{
    CommunicationConfig, WorkerConfig,
    communication::{WorkerGuards, initialize_from},
    execute::execute_from,
    worker::Worker,
};

use crate::{
    dataflow::{Blueprint, Tools, build},
    error::RuntimeError,
    events::{GivenUp, Waiting, until_possible},
    intake::{Intake, PlacedChunk, PlacedSplit, Todo},
    message::{Said, ToCommitter, ToPlanner},
    schedule::{Participant, Schedule, Seat, Work},
    settings::Channels,
    shared::Shared,
    speaker::Speaker,
};

/// Bytes that one reader reads ahead of the plans at most. [INV-07]
const AHEAD_BYTES_MAX: usize = 8 << 20;

/// Longest sleep of a worker that nobody wakes; only a guard against a lost wake-up.
const PARK_MAX: Duration = Duration::from_millis(500);

/// Index of a worker among those of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LocalWorker(usize);

/// Starts the workers; each builds its dataflow and runs until it is told to stop.
pub(crate) fn start_workers(
    blueprint: Blueprint,
    tools: Vec<Tools>,
    channels: Channels,
    committer: Sender<ToCommitter>,
    schedule: Option<Arc<dyn Schedule>>,
) -> Result<WorkerGuards<()>, RuntimeError> {
    let workers = tools.len();
    let communication = match channels {
        Channels::Typed => CommunicationConfig::Process(workers),
        Channels::Bytes => CommunicationConfig::ProcessBinary(workers),
    };
    let (builders, others) = communication
        .try_build()
        .map_err(|error| RuntimeError::Contract {
            what: format!("workers cannot start: {error}"),
        })?;
    let tools = Mutex::new(tools.into_iter().map(Some).collect::<Vec<_>>());
    let committer = Mutex::new(committer);
    let is_scheduled = schedule.is_some();
    let body = move |worker: &mut Worker| {
        let index = LocalWorker(worker.index());
        let own = tools.lock().unwrap_or_else(PoisonError::into_inner)[index.0].take();
        let committer = committer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // One process has all workers, so a local index is a global one.
        let speaker = Speaker::new(WorkerId(index.0), channels, committer);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let seat = Seat::new(schedule.as_ref(), Participant::Worker(index.0));
            run_worker(worker, &blueprint, own.unwrap_or_default(), speaker, &seat);
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
    tools: Tools,
    speaker: Speaker,
    seat: &Seat,
) {
    seat.turn(Work::Done);
    let speaker = Rc::new(speaker);
    if let Err(error) = build(worker, blueprint, tools, &speaker) {
        speaker.say(blueprint.start, Said::Failed(error.fault()));
    }
    let mut work = Work::Done;
    loop {
        seat.turn(work);
        if blueprint.shared.is_stopped() {
            break;
        }
        if seat.is_scheduled() {
            let before = speaker.total();
            worker.step();
            work = work_of_step(worker);
            if speaker.total() != before {
                // An operator that only said something leaves nothing to be run.
                work = Work::Done;
            }
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
fn die(LocalWorker(worker): LocalWorker) {
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

/// Reads splits of one source into its intake until the query ends. What goes wrong, a panic of the
/// reader too, is told to the planner.
pub(crate) fn read_splits(
    mut reader: Box<dyn SourceReader>,
    intake: &Intake,
    shared: &Arc<Shared>,
    planner: &Sender<ToPlanner>,
    waiting: Waiting<'_>,
) {
    let seat = waiting.seat;
    seat.turn(Work::Done);
    let read = catch_unwind(AssertUnwindSafe(|| {
        loop {
            match intake
                .take()
                .map_err(|error| GivenUp::Error(error.into()))?
            {
                Todo::Stop => return Ok::<_, GivenUp>(()),
                Todo::Read(placed) => {
                    read_split(reader.as_mut(), placed, intake, shared, waiting)?;
                    seat.turn(Work::Done);
                }
                Todo::Nothing { is_news } => {
                    if is_news {
                        shared.wake();
                    }
                    if seat.is_scheduled() {
                        seat.turn(if is_news { Work::Done } else { Work::Nothing });
                    } else if reader.prefetch(AHEAD_BYTES_MAX) == Prefetch::Nothing {
                        intake.wait();
                    }
                }
            }
        }
    }));
    let fault = match read {
        // A planner that kills needs no reason.
        Ok(Ok(()) | Err(GivenUp::Killed)) => return,
        Ok(Err(GivenUp::Error(error))) => error.fault(),
        Err(_panic) => {
            let thread = "reader".to_owned();
            RuntimeError::ThreadLost { thread }.fault()
        }
    };
    // A planner that is gone has told everybody to stop.
    let _gone = planner.send(ToPlanner::Failed(fault));
}

/// Reads one split. While nothing of it was given, a failure to read it may pass: it is read again.
fn read_split(
    reader: &mut dyn SourceReader,
    placed: PlacedSplit,
    intake: &Intake,
    shared: &Arc<Shared>,
    waiting: Waiting<'_>,
) -> Result<(), GivenUp> {
    let PlacedSplit { epoch, base, split } = placed;
    let seat = waiting.seat;
    let is_begun = Cell::new(false);
    let mut give = |chunk: Chunk| {
        is_begun.set(true);
        let position = base.saturating_add(chunk.position);
        let placed = PlacedChunk {
            epoch,
            position,
            chunk,
        };
        let flow = intake.push(placed, seat);
        if flow == Flow::More {
            shared.wake();
            seat.turn(Work::Done);
        }
        flow
    };
    until_possible(waiting, || {
        reader.read(&split, &mut give).map_err(|error| {
            if is_begun.get() {
                RuntimeError::Connector(error)
            } else {
                RuntimeError::of_source(error)
            }
        })
    })?;
    intake.done(epoch);
    shared.wake();
    Ok(())
}
