//! Starting a query: the checkpoint first, then everything outside it.
//!
//! A process that is refused at the checkpoint's lock has touched nothing of the one that holds it:
//! sources and sinks are opened when the lock is held, and not before.

use std::collections::BTreeMap;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
    mpsc::{self, Receiver, Sender},
};
use std::time::Duration;

use millstream_connectors_api::{
    Journals, MemoryJournals, PlannedRange, Source, SourceContext, Wake, Waker,
};
use millstream_epoch::{
    CheckpointStore, Commit, Disk, Manifest, Metadata, Plan, Recovered, Replays, Resume,
};
use millstream_operators::{
    board::EpochBoard, join::StaticRows, state::Snapshots, watermark::MarkState,
};
use millstream_types::{Code, Epoch, Fault, SourceId};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    committer::{Around, Committer},
    control::Control,
    dataflow::{Blueprint, Tools},
    desk::{Desk, SourceDesk},
    edge,
    epochs::planned_range,
    error::RuntimeError,
    events::{GivenUp, QueryEvent, QueryListener, Waiting, until_possible},
    intake::Intake,
    journals::CheckpointJournals,
    log::Log,
    message::{ToCommitter, ToPlanner},
    plan::{Node, StreamPlan},
    planner::{Planner, Reach, Threads},
    report::Reports,
    restore::{Seeds, seeds},
    schedule::{Participant, Schedule, Seat},
    settings::QuerySettings,
    shared::Shared,
    sinks::Sinks,
    snapshot::Snapshotter,
    statics::{PlannedTable, RunOnce},
    threads::{read_splits, spawn, start_workers},
};

/// Readers of one source at most.
const READERS_MAX: usize = 4;

/// Readers of one source under a schedule at most: two are enough to be in each other's way.
const SCHEDULED_READERS_MAX: usize = 2;

/// What a query is started with.
pub(crate) struct Order {
    pub(crate) plan: Arc<StreamPlan>,
    pub(crate) sinks: Sinks,
    pub(crate) checkpoint: Option<Arc<dyn Disk>>,
    pub(crate) settings: QuerySettings,
    pub(crate) listener: QueryListener,
    pub(crate) control: Arc<Control>,
    /// Reads tables that stand still.
    pub(crate) run_once: RunOnce,
}

/// A query that is ready to run.
pub(crate) struct Ready {
    pub(crate) id: String,
    pub(crate) planner: Planner,
    /// Rings the planner.
    pub(crate) bell: Arc<Bell>,
}

/// Rings a planner, for sources and for the session.
pub(crate) struct Bell {
    planner: Mutex<Sender<ToPlanner>>,
    schedule: Option<Arc<dyn Schedule>>,
    is_spent: AtomicBool,
}

impl Bell {
    /// Wakes the planner because the session asks for something.
    pub(crate) fn ask(&self) {
        self.wake();
        if let Some(schedule) = &self.schedule {
            schedule.poke();
        }
    }
}

impl Wake for Bell {
    /// A source has something new. A schedule is not told: it may be another thread that fills the
    /// source, and two that poke would race. Whoever fills it asks the query, too.
    fn wake(&self) {
        let planner = self.planner.lock().unwrap_or_else(PoisonError::into_inner);
        if planner.send(ToPlanner::Poke).is_err() {
            self.is_spent.store(true, Ordering::SeqCst);
        }
    }

    fn is_spent(&self) -> bool {
        self.is_spent.load(Ordering::SeqCst)
    }
}

/// The checkpoint of a query that has one, and its disk.
type Opened = (Option<(Arc<Log>, Recovered)>, Option<Arc<dyn Disk>>);

/// Where a query goes on from.
struct From {
    id: String,
    resume: Resume,
    plans: Vec<Plan>,
    commits: Vec<Commit>,
    snapshot: Option<Manifest>,
    marks: MarkState,
    seeds: Seeds,
    log: Option<Arc<Log>>,
    disk: Option<Arc<dyn Disk>>,
    recovered: Option<Recovered>,
}

/// Starts all threads of a query but the planner's own.
///
/// # Errors
/// When the checkpoint is of another query, in use or damaged, when a source or a sink cannot be
/// opened, or when the system has no threads to give.
pub(crate) fn start(order: Order) -> Result<Ready, RuntimeError> {
    let Order {
        plan,
        mut sinks,
        checkpoint,
        settings,
        listener,
        control,
        run_once,
    } = order;
    let (to_planner, planner_inbox) = mpsc::channel();
    let bell = Arc::new(Bell {
        planner: Mutex::new(to_planner.clone()),
        schedule: settings.schedule.clone(),
        is_spent: AtomicBool::new(false),
    });
    let seat = Seat::none(Participant::Planner);
    let waiting = Waiting {
        control: &control,
        listener: &listener,
        seat: &seat,
        // What is refused at a start is a mistake of whoever starts it; only room is waited for.
        retry_for: Duration::ZERO,
    };
    let opened = match &checkpoint {
        Some(disk) => Some(at_start(waiting, || {
            open_checkpoint(disk.clone(), &plan, &settings)
        })?),
        None => None,
    };
    let opened = opened.map(|(store, recovered)| (Arc::new(Log::new(store)), recovered));
    let log = opened.as_ref().map(|(log, _)| log);
    let mut sources = at_start(waiting, || open_sources(&plan, &bell, log))?;
    sinks.check_apart(&sources)?;
    let from = From::find(
        &plan,
        &settings,
        (opened, checkpoint),
        (&mut sinks, waiting),
    )?;
    let standing = from.restore_sources(&mut sources)?;
    at_start(waiting, || Ok(sinks.begin(&from.resume)?))?;
    if let Some(recovered) = &from.recovered {
        recovered_notices(recovered, &listener);
    }
    let builder = Builder {
        plan,
        settings,
        listener,
        control,
        run_once,
        from,
    };
    let id = builder.from.id.clone();
    let snapshot = builder.from.snapshot.as_ref().map(|found| found.epoch);
    let mut planner = builder.build(sources, sinks, (to_planner, planner_inbox))?;
    if let Some(epoch) = snapshot {
        planner.restored(epoch, &standing);
    }
    Ok(Ready { id, planner, bell })
}

/// Does a step of the start, and waits where there is no room.
fn at_start<T>(
    waiting: Waiting<'_>,
    act: impl FnMut() -> Result<T, RuntimeError>,
) -> Result<T, RuntimeError> {
    until_possible(waiting, act).map_err(GivenUp::at_start)
}

fn open_checkpoint(
    disk: Arc<dyn Disk>,
    plan: &StreamPlan,
    settings: &QuerySettings,
) -> Result<(CheckpointStore, Recovered), RuntimeError> {
    let metadata = Metadata {
        query_id: settings.new_id.clone(),
        plan_fingerprint: xxh3_64(plan.identity.as_bytes()),
        plan_text: plan.identity.clone(),
        settings: Vec::new(),
    };
    Ok(CheckpointStore::open(disk, metadata)?)
}

fn open_sources(
    plan: &StreamPlan,
    bell: &Arc<Bell>,
    log: Option<&Arc<Log>>,
) -> Result<Vec<Box<dyn Source>>, RuntimeError> {
    let io = edge::handle()?;
    let mut sources = Vec::with_capacity(plan.sources.len());
    for (index, node) in (0..).zip(&plan.sources) {
        let context = SourceContext {
            journals: journals(log, SourceId(index)),
            waker: Waker::new(bell.clone()),
            io: io.clone(),
        };
        sources.push(node.factory.source(&node.request, context)?);
    }
    Ok(sources)
}

/// Where a source keeps what it knows: in the checkpoint if there is one.
fn journals(log: Option<&Arc<Log>>, source: SourceId) -> Arc<dyn Journals> {
    match log {
        Some(log) => Arc::new(CheckpointJournals::new(log.clone(), source)),
        None => Arc::new(MemoryJournals::new()),
    }
}

/// What a start found that somebody should know of.
fn recovered_notices(recovered: &Recovered, listener: &QueryListener) {
    let notice = |code, message| {
        listener(QueryEvent::Notice(Fault {
            code: Code(code),
            sub_condition: None,
            message,
            hint: None,
            position: None,
        }));
    };
    for damaged in &recovered.damaged {
        let (file, reason) = (&damaged.file, &damaged.reason);
        let message = format!("a damaged snapshot was passed over file={file} reason={reason}");
        notice("CKP-001", message);
    }
    if recovered.torn_bytes > 0 {
        let bytes = recovered.torn_bytes;
        let message = format!("an append that a crash had cut off was removed bytes={bytes}");
        notice("CKP-001", message);
    }
}

impl From {
    /// Opens the sinks and decides where the query goes on.
    fn find(
        plan: &StreamPlan,
        settings: &QuerySettings,
        (opened, disk): Opened,
        (sinks, waiting): (&mut Sinks, Waiting<'_>),
    ) -> Result<From, RuntimeError> {
        let fresh = MarkState::new(plan.marks.len());
        let (Some((log, mut recovered)), Some(disk)) = (opened, disk) else {
            at_start(waiting, || Ok(sinks.open(plan, &settings.new_id)?))?;
            return Ok(From {
                id: settings.new_id.clone(),
                resume: Resume {
                    restore: None,
                    replay: Vec::new(),
                    next: Epoch::FIRST,
                    generation: 1,
                },
                plans: Vec::new(),
                commits: Vec::new(),
                snapshot: None,
                marks: fresh,
                seeds: Seeds::default(),
                log: None,
                disk: None,
                recovered: None,
            });
        };
        let id = recovered.metadata.query_id.clone();
        at_start(waiting, || Ok(sinks.open(plan, &id)?))?;
        for position in sinks.ask()? {
            at_start(waiting, || {
                Ok(log.store().reinstate(&mut recovered, position)?)
            })?;
        }
        let replays = if plan.has_state() {
            Replays::Everything
        } else {
            Replays::Unrecorded
        };
        let resume = sinks.resume(|sink| recovered.facts(sink, replays))?;
        let snapshot = recovered.snapshot.clone();
        let (marks, seeds) = match &snapshot {
            None => (fresh, Seeds::default()),
            Some(manifest) => (
                MarkState::decode(&manifest.control, plan.marks.len()).ok_or_else(|| {
                    RuntimeError::Contract {
                        what: "a snapshot has other watermarks".to_owned(),
                    }
                })?,
                seeds(&disk, manifest),
            ),
        };
        Ok(From {
            id,
            resume,
            plans: recovered.plans.clone(),
            commits: recovered.commits.clone(),
            snapshot,
            marks,
            seeds,
            log: Some(log),
            disk: Some(disk),
            recovered: Some(recovered),
        })
    }

    /// Brings the cursors of the sources to the end of the last plan. Gives where each stood at the
    /// snapshot.
    fn restore_sources(
        &self,
        sources: &mut [Box<dyn Source>],
    ) -> Result<Vec<Option<PlannedRange>>, RuntimeError> {
        let mut standing = Vec::with_capacity(sources.len());
        for (index, source) in sources.iter_mut().enumerate() {
            let states = self.snapshot.as_ref().map(|found| &found.source_states);
            if let Some(state) = states.and_then(|states| states.get(index)) {
                source.restore(state)?;
            }
            standing.push(source.standing());
            for plan in &self.plans {
                if let Some(range) = plan.sources.get(index).and_then(Option::as_ref) {
                    let range = planned_range(range);
                    if self.is_accepted(plan.epoch, index) {
                        source.accept_changes(&range)?;
                    }
                    source.replay(&range)?;
                }
            }
        }
        Ok(standing)
    }
}

impl From {
    /// Whether the user accepts that the input of an epoch has changed.
    fn is_accepted(&self, epoch: Epoch, source: usize) -> bool {
        let recovered = self.recovered.iter();
        let mut accepted = recovered.flat_map(|recovered| &recovered.accepted);
        accepted.any(|accepted| accepted.epoch == epoch && accepted.source as usize == source)
    }
}

/// Everything that the threads are made from.
struct Builder {
    plan: Arc<StreamPlan>,
    settings: QuerySettings,
    listener: QueryListener,
    control: Arc<Control>,
    run_once: RunOnce,
    from: From,
}

type PlannerWords = (Sender<ToPlanner>, Receiver<ToPlanner>);

impl Builder {
    /// The tables that stand still, by the place of the node that joins them.
    fn statics(&self) -> BTreeMap<usize, Arc<dyn StaticRows>> {
        let nodes = self.plan.nodes.iter().enumerate();
        let tables = nodes.filter_map(|(index, node)| match node {
            Node::Lookup { spec, table, .. } => {
                let told = (self.run_once, self.listener.clone());
                let (plan, spec) = (table.as_ref().clone(), spec.clone());
                let table = PlannedTable::new(plan, spec, &self.settings, told);
                Some((index, Arc::new(table) as Arc<dyn StaticRows>))
            }
            Node::Source(_)
            | Node::Chain { .. }
            | Node::Union { .. }
            | Node::Sort { .. }
            | Node::Limit { .. }
            | Node::Late { .. }
            | Node::Join { .. }
            | Node::Dedup { .. }
            | Node::Over { .. }
            | Node::Aggregate { .. }
            | Node::Top { .. } => None,
        });
        tables.collect()
    }

    fn build(
        mut self,
        sources: Vec<Box<dyn Source>>,
        sinks: Sinks,
        (to_planner, planner_inbox): PlannerWords,
    ) -> Result<Planner, RuntimeError> {
        let start = self.from.resume.start();
        let shared = Shared::new();
        let board = Arc::<EpochBoard>::default();
        let intakes: Vec<_> = sources
            .iter()
            .map(|_| Arc::new(Intake::new(start)))
            .collect();
        let (to_committer, committer_inbox) = mpsc::channel();
        let tools = self.tools(&sources, &sinks)?;
        // Each worker has them now, and lets them go when its operators are built.
        self.from.seeds = Seeds::default();
        let readers = self.readers(&sources);
        if let Some(schedule) = &self.settings.schedule {
            let has_snapshots = self.from.log.is_some();
            schedule.begin(&participants(tools.len(), &readers, has_snapshots));
        }
        let blueprint = Blueprint {
            plan: self.plan.clone(),
            start,
            board: board.clone(),
            intakes: intakes.clone(),
            shared: shared.clone(),
            marks: self.from.marks.clone(),
            only_counts: sinks.result().discards_rows(),
            // The id is in the checkpoint, so a restart draws what the first start drew.
            query_seed: xxh3_64(self.from.id.as_bytes()),
            snapshots: if self.from.log.is_some() {
                Snapshots::Taken
            } else {
                Snapshots::Never
            },
            statics: self.statics(),
        };
        let mut others =
            self.spawn_readers(&sources, &readers, (&intakes, &shared), &to_planner)?;
        let reports = self.reports(&sources);
        let ends = (sinks, reports, committer_inbox);
        others.extend(self.spawn_committer(ends, &shared, &to_planner, start)?);
        let channels = self.settings.channels;
        let schedule = self.settings.schedule.clone();
        let committer = to_committer.clone();
        let workers = start_workers(blueprint, tools, channels, committer, schedule)?;
        let desks = sources.into_iter().zip(intakes);
        let desks = desks.map(|(source, intake)| SourceDesk { source, intake });
        let desk = self.desk(desks.collect(), start);
        let reach = Reach {
            log: self.from.log.clone(),
            board,
            shared,
            committer: to_committer,
            inbox: planner_inbox,
            listener: self.listener.clone(),
        };
        let mut planner = Planner::new(desk, reach, Threads { workers, others });
        self.replay(&mut planner)?;
        Ok(planner)
    }

    fn desk(&self, sources: Vec<SourceDesk>, start: Epoch) -> Desk {
        Desk {
            plan: self.plan.clone(),
            control: self.control.clone(),
            sources,
            answered: Vec::new(),
            next: start,
            open: 0,
            marks: self.from.marks.clone(),
            captured_at: self.settings.clock.monotonic(),
            is_capturing: false,
            // Of epochs that do not run again no snapshot will be asked by a replay.
            is_changed: !self.from.plans.is_empty(),
            is_unsettled: false,
            is_durable: self.from.log.is_some(),
            settings: self.settings.clone(),
        }
    }

    /// Decoders and encoders of each worker.
    fn tools(
        &self,
        sources: &[Box<dyn Source>],
        sinks: &Sinks,
    ) -> Result<Vec<Tools>, RuntimeError> {
        let mut tools = Vec::new();
        for _ in 0..self.settings.workers.max(1) {
            let pairs = self.plan.sources.iter().zip(sources);
            let decoders = pairs.map(|(node, source)| source.decoder(&node.projection));
            tools.push(Tools {
                decoders: decoders.collect::<Result<_, _>>()?,
                encoders: sinks.encoders(),
                seeds: self.from.seeds.clone(),
            });
        }
        Ok(tools)
    }

    /// How many readers each source gets.
    fn readers(&self, sources: &[Box<dyn Source>]) -> Vec<usize> {
        let most = if self.settings.schedule.is_some() {
            SCHEDULED_READERS_MAX
        } else {
            READERS_MAX
        };
        let readers = sources.iter().map(|source| source.readers_max());
        readers.map(|readers| readers.clamp(1, most)).collect()
    }

    fn spawn_readers(
        &self,
        sources: &[Box<dyn Source>],
        readers: &[usize],
        (intakes, shared): (&[Arc<Intake>], &Arc<Shared>),
        planner: &Sender<ToPlanner>,
    ) -> Result<Vec<std::thread::JoinHandle<()>>, RuntimeError> {
        let mut threads = Vec::new();
        for (index, (source, intake)) in sources.iter().zip(intakes).enumerate() {
            for reader in 0..readers[index] {
                let who = Participant::Reader {
                    source: index,
                    reader,
                };
                let seat = Seat::new(self.settings.schedule.as_ref(), who);
                let (intake, shared) = (intake.clone(), shared.clone());
                let (planner, reader) = (planner.clone(), source.reader()?);
                let (control, listener) = (self.control.clone(), self.listener.clone());
                let retry_for = self.settings.retry_for;
                threads.push(spawn("millstream-reader".to_owned(), move || {
                    let waiting = Waiting {
                        control: &control,
                        listener: &listener,
                        seat: &seat,
                        retry_for,
                    };
                    read_splits(reader, &intake, &shared, &planner, waiting);
                })?);
            }
        }
        Ok(threads)
    }

    fn reports(&self, sources: &[Box<dyn Source>]) -> Reports {
        Reports {
            plan: self.plan.clone(),
            id: self.from.id.clone(),
            run_id: self.settings.run_id.clone(),
            name: self.settings.name.clone(),
            sources: sources.iter().map(|source| source.description()).collect(),
            last_trigger: None,
            malformed: BTreeMap::new(),
        }
    }

    /// Starts the committer and, with a checkpoint, the snapshotter.
    fn spawn_committer(
        &self,
        (sinks, reports, inbox): (Sinks, Reports, Receiver<ToCommitter>),
        shared: &Arc<Shared>,
        planner: &Sender<ToPlanner>,
        start: Epoch,
    ) -> Result<Vec<std::thread::JoinHandle<()>>, RuntimeError> {
        let mut threads = Vec::new();
        let (to_snapshotter, snapshotter_inbox) = mpsc::channel();
        let around = Around {
            inbox,
            planner: planner.clone(),
            snapshotter: self.from.log.is_some().then_some(to_snapshotter),
            log: self.from.log.clone(),
            shared: shared.clone(),
            control: self.control.clone(),
            listener: self.listener.clone(),
        };
        if let (Some(log), Some(disk)) = (&self.from.log, &self.from.disk) {
            let snapshotter = Snapshotter {
                disk: disk.clone(),
                from: self.from.snapshot.clone(),
                settings: self.settings.clone(),
                plan_fingerprint: xxh3_64(self.plan.identity.as_bytes()),
                packs: log.store().pack_writer(),
                log: log.clone(),
                inbox: snapshotter_inbox,
                planner: planner.clone(),
                shared: shared.clone(),
                control: self.control.clone(),
                listener: self.listener.clone(),
            };
            let name = "millstream-snapshots".to_owned();
            threads.push(spawn(name, move || snapshotter.run())?);
        }
        let settings = self.settings.clone();
        let at = (start, self.from.marks.clone());
        let committer = Committer::new(settings, (sinks, reports), around, at);
        let name = "millstream-commits".to_owned();
        threads.push(spawn(name, move || committer.run())?);
        Ok(threads)
    }

    /// Has the planner announce the epochs that run again.
    fn replay(&self, planner: &mut Planner) -> Result<(), RuntimeError> {
        let Some(recovered) = &self.from.recovered else {
            return Ok(());
        };
        let resume = &self.from.resume;
        let (done, again): (Vec<_>, Vec<_>) = recovered
            .planned()
            .into_iter()
            .partition(|planned| planned.epoch() < resume.start());
        for planned in &done {
            planner.passed_over(planned.plan());
        }
        assert_eq!(again.len(), resume.replay.len(), "every plan is replayed");
        for (planned, step) in again.into_iter().zip(&resume.replay) {
            let mut commits = self.from.commits.iter();
            let recorded = commits
                .find(|commit| commit.epoch == step.epoch)
                // What changed with the user's word gives what it gives now.
                .filter(|_| !recovered.accepted.iter().any(|a| a.epoch <= step.epoch))
                .copied();
            let is_last = planned.epoch().next() == self.from.resume.next;
            planner.replay(planned, (step, is_last), recorded)?;
        }
        Ok(())
    }
}

/// All threads of a query that a schedule moves.
fn participants(workers: usize, readers: &[usize], has_snapshots: bool) -> Vec<Participant> {
    let workers = (0..workers).map(Participant::Worker);
    let of_source = |(source, readers): (usize, &usize)| {
        (0..*readers).map(move |reader| Participant::Reader { source, reader })
    };
    let readers = readers.iter().enumerate().flat_map(of_source);
    let snapshotter = has_snapshots.then_some(Participant::Snapshotter);
    let own = [Participant::Planner, Participant::Committer];
    let own = own.into_iter().chain(snapshotter);
    own.chain(workers).chain(readers).collect()
}

#[cfg(test)]
mod tests {
    /// A checkpoint is cut by the hash whose name it carries.
    #[test]
    fn the_hash_in_checkpoints_is_the_one_that_owns_keys() {
        let named = millstream_epoch::KEY_HASH_NAME;
        assert_eq!(named, millstream_operators::keyhash::KEY_HASH_NAME);
    }
}
