//! A query from its start to its end: what the session holds on to.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::JoinHandle,
};

use millstream_connectors_api::{Guarantee, PlannedRange, Position, Sink, Source};
use millstream_epoch::{
    CheckpointStore, Disk, Manifest, Metadata, Plan, Recovered, Resume, SinkPosition, SourceRange,
    resume,
};
use millstream_operators::{board::EpochBoard, state::Snapshots, watermark::MarkState};
use millstream_types::{Coded, Epoch, Fault};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    coordinator::{Coordinator, Durable, Ended, SourceControl},
    dataflow::{Blueprint, Decoders},
    error::RuntimeError,
    feed::Feed,
    message::{Message, Shared},
    plan::StreamPlan,
    progress::Progress,
    schedule::{Participant, Schedule, Seat},
    settings::QuerySettings,
    sinks::Sinks,
    snapshot,
    threads::{read_ranges, spawn, start_workers},
};

/// Called with the progress of each epoch; must not block for long.
pub type ProgressListener = Box<dyn Fn(&Progress) + Send>;

/// How a query ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Termination {
    /// It processed all it had to, or was stopped.
    Finished,
    /// It was killed for a test.
    Killed,
    /// An error ended it.
    Failed(Fault),
}

/// What the session and the coordinator tell each other.
#[derive(Debug, Default)]
pub(crate) struct Control {
    state: Mutex<ControlState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ControlState {
    stop: bool,
    kill: bool,
    /// Requests to process everything: made, and served.
    asked: u64,
    served: u64,
    ended: Option<Termination>,
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, ControlState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wants_stop(&self) -> bool {
        self.lock().stop
    }

    pub(crate) fn wants_kill(&self) -> bool {
        self.lock().kill
    }

    /// How many requests to process everything were made.
    pub(crate) fn asked(&self) -> u64 {
        self.lock().asked
    }

    /// Everything that was there at request number `asked` is processed.
    pub(crate) fn serve(&self, asked: u64) {
        let mut state = self.lock();
        if state.served < asked {
            state.served = asked;
            self.changed.notify_all();
        }
    }

    pub(crate) fn is_served(&self) -> bool {
        let state = self.lock();
        state.served == state.asked
    }

    fn end(&self, termination: Termination) {
        self.lock().ended.get_or_insert(termination);
        self.changed.notify_all();
    }
}

/// A query that was started.
pub struct Query {
    id: String,
    control: Arc<Control>,
    messages: Sender<Message>,
    schedule: Option<Arc<dyn Schedule>>,
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

impl Query {
    /// Starts a plan into its sinks. Everything that can be refused is refused here, before any row
    /// is read; afterwards errors arrive through [`wait`](Query::wait).
    ///
    /// # Errors
    /// When the checkpoint is of another query, in use or damaged, or when a source or the sink
    /// cannot be opened.
    pub fn start(
        plan: StreamPlan,
        mut sinks: Sinks,
        checkpoint: Option<Arc<dyn Disk>>,
        settings: QuerySettings,
        listener: ProgressListener,
    ) -> Result<Query, RuntimeError> {
        let plan = Arc::new(plan);
        sinks.open(&plan)?;
        let mut sources = plan
            .sources
            .iter()
            .map(|node| node.factory.source(&node.request))
            .collect::<Result<Vec<_>, _>>()?;
        let durable = Start::open(
            &plan,
            &settings,
            sinks.result_mut(),
            &mut sources,
            checkpoint,
        )?;
        let id = durable.id.clone();
        let control = Arc::<Control>::default();
        let (messages, inbox) = mpsc::channel();
        let schedule = settings.schedule.clone();
        let coordinator = durable.build(
            &plan,
            settings,
            sinks,
            sources,
            (messages.clone(), inbox),
            (control.clone(), listener),
        )?;
        let ender = control.clone();
        let thread = spawn(format!("millstream-{id}"), move || {
            ender.end(match coordinator.run() {
                Ended::Finished => Termination::Finished,
                Ended::Killed => Termination::Killed,
                Ended::Failed(error) => Termination::Failed(error.fault()),
            });
        })?;
        Ok(Query {
            id,
            control,
            messages,
            schedule,
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
        let asked = {
            let mut state = self.control.lock();
            state.asked += 1;
            state.asked
        };
        self.poke();
        let mut state = self.control.lock();
        loop {
            if state.served >= asked {
                return Ok(());
            }
            if let Some(ended) = &state.ended {
                return Err(ended.clone());
            }
            state = self
                .control
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Asks for a clean end: open epochs are committed, no new one is planned.
    pub fn stop(&self) {
        self.control.lock().stop = true;
        self.poke();
    }

    /// Ends the query where it stands; what is not committed runs again at the next start.
    pub fn kill(&self) {
        self.control.lock().kill = true;
        self.poke();
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<Termination> {
        self.control.lock().ended.clone()
    }

    /// Waits for the end, at most `limit` if there is one.
    #[must_use]
    pub fn wait(&self, limit: Option<std::time::Duration>) -> Option<Termination> {
        let mut state = self.control.lock();
        loop {
            if let Some(ended) = &state.ended {
                return Some(ended.clone());
            }
            state = match limit {
                None => self
                    .control
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(limit) => {
                    let waited = self.control.changed.wait_timeout(state, limit);
                    let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    if timeout.timed_out() {
                        return state.ended.clone();
                    }
                    state
                }
            };
        }
    }

    fn poke(&self) {
        let _gone = self.messages.send(Message::Poke);
        if let Some(schedule) = &self.schedule {
            schedule.poke();
        }
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

/// Where a query starts from.
struct Start {
    id: String,
    durable: Option<Durable>,
    resume: Resume,
    plans: Vec<Plan>,
    snapshot: Option<Manifest>,
    marks: MarkState,
    seeds: Arc<BTreeMap<millstream_types::OperatorId, millstream_operators::aggregate::Seed>>,
    recovered: Option<Recovered>,
}

impl Start {
    fn open(
        plan: &StreamPlan,
        settings: &QuerySettings,
        sink: &mut dyn Sink,
        sources: &mut [Box<dyn Source>],
        checkpoint: Option<Arc<dyn Disk>>,
    ) -> Result<Start, RuntimeError> {
        let fresh = MarkState::new(plan.marks.len());
        let Some(disk) = checkpoint else {
            let resume = Resume {
                restore: None,
                replay: Vec::new(),
                next: Epoch::FIRST,
                generation: 1,
            };
            return Ok(Start {
                id: settings.new_id.clone(),
                durable: None,
                resume,
                plans: Vec::new(),
                snapshot: None,
                marks: fresh,
                seeds: Arc::default(),
                recovered: None,
            });
        };
        let metadata = Metadata {
            query_id: settings.new_id.clone(),
            plan_fingerprint: xxh3_64(plan.identity.as_bytes()),
            plan_text: plan.identity.clone(),
            settings: Vec::new(),
        };
        let (store, recovered) = CheckpointStore::open(disk.clone(), metadata)?;
        let resume = resume(recovered.facts(position(sink)?))?;
        let snapshot = recovered.snapshot.clone();
        let (marks, seeds) = match &snapshot {
            None => (fresh, Arc::default()),
            Some(manifest) => (
                MarkState::decode(&manifest.control, plan.marks.len()).ok_or_else(|| {
                    RuntimeError::Contract {
                        what: "a snapshot has other watermarks".to_owned(),
                    }
                })?,
                snapshot::restore(disk.as_ref(), manifest)?,
            ),
        };
        restore_sources(sources, snapshot.as_ref(), &recovered.plans)?;
        Ok(Start {
            id: recovered.metadata.query_id.clone(),
            plans: recovered.plans.clone(),
            durable: Some(Durable {
                packs: store.pack_writer(),
                store,
            }),
            resume,
            snapshot,
            marks,
            seeds,
            recovered: Some(recovered),
        })
    }

    fn build(
        self,
        plan: &Arc<StreamPlan>,
        settings: QuerySettings,
        sinks: Sinks,
        sources: Vec<Box<dyn Source>>,
        (messages, inbox): (Sender<Message>, Receiver<Message>),
        (control, listener): (Arc<Control>, ProgressListener),
    ) -> Result<Coordinator, RuntimeError> {
        let start = self.resume.restore.map_or(Epoch::FIRST, Epoch::next);
        let shared = Shared::new();
        let board = Arc::<EpochBoard>::default();
        let feeds: Vec<_> = sources.iter().map(|_| Arc::new(Feed::new(start))).collect();
        let blueprint = Blueprint {
            plan: plan.clone(),
            start,
            board: board.clone(),
            feeds: feeds.clone(),
            shared: shared.clone(),
            marks: self.marks.clone(),
            seeds: self.seeds,
            only_counts: sinks.result().discards_rows(),
            // The id is in the checkpoint, so a restart draws what the first start drew.
            query_seed: xxh3_64(self.id.as_bytes()),
            snapshots: if self.durable.is_some() {
                Snapshots::Taken
            } else {
                Snapshots::Never
            },
        };
        let decoders = (0..settings.workers.max(1))
            .map(|_| decoders(plan, &sources))
            .collect::<Result<Vec<_>, _>>()?;
        let schedule = settings.schedule.clone();
        if let Some(schedule) = &schedule {
            schedule.begin(&participants(decoders.len(), sources.len()));
        }
        let mut readers = Vec::new();
        let mut controls = Vec::new();
        for (index, (source, feed)) in sources.into_iter().zip(&feeds).enumerate() {
            let (ranges, todo) = mpsc::channel();
            let (feed, shared) = (feed.clone(), shared.clone());
            let (reader, messages) = (source.reader()?, messages.clone());
            let seat = Seat::new(schedule.as_ref(), Participant::Reader(index));
            readers.push(spawn("millstream-reader".to_owned(), move || {
                read_ranges(reader, &feed, &shared, &todo, &messages, &seat);
            })?);
            controls.push(SourceControl::new(source, ranges));
        }
        let workers = start_workers(blueprint, decoders, settings.channels, messages, schedule)?;
        let replay = self
            .recovered
            .as_ref()
            .map(Recovered::planned)
            .unwrap_or_default();
        let mut coordinator = Coordinator::new(
            (plan.clone(), settings, self.id),
            (controls, sinks, self.durable),
            (board, shared, feeds),
            (inbox, control, listener),
            (workers, readers),
            (start, self.marks),
        );
        coordinator.snapshot_taken(self.snapshot.as_ref());
        for (planned, step) in replay.into_iter().zip(&self.resume.replay) {
            let is_last = planned.epoch().next() == self.resume.next;
            coordinator.replay(planned, step, is_last);
        }
        let (plans, steps) = (self.plans.len(), self.resume.replay.len());
        assert_eq!(plans, steps, "every plan is replayed");
        Ok(coordinator)
    }
}

fn position(sink: &mut dyn Sink) -> Result<SinkPosition, RuntimeError> {
    Ok(match (sink.guarantee(), sink.last_committed()?) {
        (Guarantee::AtLeastOnce, _) => SinkPosition::CannotTell,
        (Guarantee::ExactlyOnce, None) => SinkPosition::Nothing,
        (Guarantee::ExactlyOnce, Some(epoch)) => SinkPosition::Committed(epoch),
    })
}

fn decoders(plan: &StreamPlan, sources: &[Box<dyn Source>]) -> Result<Decoders, RuntimeError> {
    let pairs = plan.sources.iter().zip(sources);
    Ok(pairs
        .map(|(node, source)| source.decoder(&node.projection))
        .collect::<Result<_, _>>()?)
}

/// All threads of a query.
fn participants(workers: usize, sources: usize) -> Vec<Participant> {
    let workers = (0..workers).map(Participant::Worker);
    let readers = (0..sources).map(Participant::Reader);
    let rest = workers.chain(readers);
    std::iter::once(Participant::Coordinator)
        .chain(rest)
        .collect()
}

/// Brings the cursors of the sources to the end of the last plan.
fn restore_sources(
    sources: &mut [Box<dyn Source>],
    snapshot: Option<&Manifest>,
    plans: &[Plan],
) -> Result<(), RuntimeError> {
    for (index, source) in sources.iter_mut().enumerate() {
        if let Some(state) = snapshot.and_then(|manifest| manifest.source_states.get(index)) {
            source.restore(state)?;
        }
        for plan in plans {
            if let Some(range) = plan.sources.get(index).and_then(Option::as_ref) {
                source.replay(&planned_range(range))?;
            }
        }
    }
    Ok(())
}

/// The range of a plan record as the source knows it.
pub(crate) fn planned_range(range: &SourceRange) -> PlannedRange {
    PlannedRange {
        start: range.start.clone().map(Position),
        end: Position(range.end.clone()),
        detail: range.detail.clone(),
    }
}
