//! The coordinator: one thread a query that plans epochs, commits them in order, and captures state.
//!
//! It is the only writer of the log and the only caller of the sink. Per epoch: the plan becomes
//! durable, only then readers and operators learn of it [INV-01]; workers report rows and that they
//! closed it; when all did and all before it are committed, the sink stages and commits it [INV-04],
//! and the commit record is written, together with the next plan where there is one.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};

use millstream_connectors_api::{EpochWrite, PlannedRange, SinkReceipt, Source};
use millstream_epoch::{
    CheckpointStore, Manifest, Outcome, Output, PackWriter, Planned, Replay, Sunk,
};
use millstream_operators::{
    board::{EpochBoard, EpochFacts, EpochKind},
    driver::OperatorReport,
    watermark::{MarkReport, MarkState},
};
use millstream_types::{Epoch, OperatorId};
use timely::communication::WorkerGuards;

use crate::{
    error::RuntimeError,
    feed::Feed,
    message::{Message, Shared, batch_bytes},
    pacer::Pacer,
    plan::StreamPlan,
    progress::Durations,
    query::{Control, ProgressListener, planned_range},
    report::Reports,
    schedule::{Event, Participant, Seat, Turn, Work},
    settings::{KillPoint, QuerySettings, Trigger},
    sinks::{Port, Sinks},
    snapshot::{Captured, LivePieces},
};

/// Why the coordinator returned.
pub(crate) enum Ended {
    Finished,
    Killed,
    Failed(RuntimeError),
}

impl<E: Into<RuntimeError>> From<E> for Ended {
    fn from(error: E) -> Ended {
        Ended::Failed(error.into())
    }
}

/// The checkpoint of a query that has one.
#[derive(Debug)]
pub(crate) struct Durable {
    pub(crate) store: CheckpointStore,
    pub(crate) packs: PackWriter,
}

/// A source and the way to its reader.
pub(crate) struct SourceControl {
    pub(crate) source: Box<dyn Source>,
    ranges: Sender<(Epoch, Option<PlannedRange>)>,
}

impl SourceControl {
    pub(crate) fn new(
        source: Box<dyn Source>,
        ranges: Sender<(Epoch, Option<PlannedRange>)>,
    ) -> SourceControl {
        SourceControl { source, ranges }
    }
}

/// What is known of an epoch that is planned and not committed.
pub(crate) struct OpenEpoch {
    /// The durable plan; none without a checkpoint.
    planned: Option<Planned>,
    pub(crate) facts: EpochFacts,
    pub(crate) ranges: Vec<Option<PlannedRange>>,
    /// The sink has it from before a restart.
    suppressed: bool,
    /// The log has its commit record.
    recorded: bool,
    source_states: Vec<Vec<u8>>,
    closed_by: usize,
    pub(crate) marks: Option<MarkReport>,
    pub(crate) operators: BTreeMap<OperatorId, OperatorReport>,
    captured: Captured,
    /// Rows and malformed records of each source.
    pub(crate) read: Vec<(u64, u64)>,
    rows_out: u64,
    pub(crate) planned_at: Duration,
    pub(crate) durations: Durations,
}

pub(crate) struct Coordinator {
    pub(crate) plan: Arc<StreamPlan>,
    pub(crate) settings: QuerySettings,
    pub(crate) id: String,
    pub(crate) sources: Vec<SourceControl>,
    pub(crate) sinks: Sinks,
    durable: Option<Durable>,
    board: Arc<EpochBoard>,
    shared: Arc<Shared>,
    feeds: Vec<Arc<Feed>>,
    inbox: Receiver<Message>,
    pub(crate) control: Arc<Control>,
    listener: ProgressListener,
    threads: Option<(WorkerGuards<()>, Vec<JoinHandle<()>>)>,
    pub(crate) open: BTreeMap<Epoch, OpenEpoch>,
    /// The next epoch to plan.
    pub(crate) next: Epoch,
    /// Marks after the newest epoch that was folded in.
    pub(crate) marks: MarkState,
    /// Committed by the sink, not yet recorded.
    sunk: Vec<Sunk>,
    live: LivePieces,
    pub(crate) snapshot_at: Duration,
    pacer: Pacer,
    reports: Reports,
    seat: Seat,
}

impl Coordinator {
    pub(crate) fn new(
        (plan, settings, id): (Arc<StreamPlan>, QuerySettings, String),
        (sources, sinks, durable): (Vec<SourceControl>, Sinks, Option<Durable>),
        (board, shared, feeds): (Arc<EpochBoard>, Arc<Shared>, Vec<Arc<Feed>>),
        (inbox, control, listener): (Receiver<Message>, Arc<Control>, ProgressListener),
        threads: (WorkerGuards<()>, Vec<JoinHandle<()>>),
        (start, marks): (Epoch, MarkState),
    ) -> Coordinator {
        let pacer = Pacer::new(settings.trigger);
        let snapshot_at = settings.clock.monotonic();
        let seat = Seat::new(settings.schedule.as_ref(), Participant::Coordinator);
        Coordinator {
            plan,
            settings,
            id,
            sources,
            sinks,
            durable,
            board,
            shared,
            feeds,
            inbox,
            control,
            listener,
            threads: Some(threads),
            open: BTreeMap::new(),
            next: start,
            marks,
            sunk: Vec::new(),
            live: LivePieces::default(),
            snapshot_at,
            pacer,
            reports: Reports::default(),
            seat,
        }
    }

    /// Where the state came from; the first snapshot after it is whole.
    pub(crate) fn snapshot_taken(&mut self, snapshot: Option<&Manifest>) {
        self.reports
            .restored(snapshot.map(|manifest| manifest.epoch));
    }

    /// Runs an epoch of an earlier start again. State is captured after the last one, so that a query
    /// whose processes never live long does not repeat ever more epochs.
    pub(crate) fn replay(&mut self, planned: Planned, step: &Replay, is_last: bool) {
        let plan = planned.plan().clone();
        let kind = match plan.kind {
            millstream_epoch::PlanKind::Data => EpochKind::Data,
            millstream_epoch::PlanKind::NoData => EpochKind::NoData,
        };
        // A snapshot needs the cursors of its sources; they stand behind the last plan.
        let facts = EpochFacts {
            clock_ms: plan.clock_ms,
            kind,
            snapshot_after: false,
        };
        let ranges: Vec<_> = plan
            .sources
            .iter()
            .map(|range| range.as_ref().map(planned_range))
            .collect();
        let mut open = self.open_epoch(facts, ranges);
        open.planned = Some(planned);
        open.suppressed = step.output == Output::Suppress;
        open.recorded = step.is_recorded;
        if is_last {
            self.capture_after(&mut open);
        }
        self.announce(plan.epoch, open);
        self.pacer.replayed();
    }

    pub(crate) fn open_epoch(
        &self,
        facts: EpochFacts,
        ranges: Vec<Option<PlannedRange>>,
    ) -> OpenEpoch {
        OpenEpoch {
            planned: None,
            facts,
            ranges,
            suppressed: false,
            recorded: false,
            source_states: Vec::new(),
            closed_by: 0,
            marks: None,
            operators: BTreeMap::new(),
            captured: Captured::default(),
            read: vec![(0, 0); self.sources.len()],
            rows_out: 0,
            planned_at: self.settings.clock.monotonic(),
            durations: Durations::default(),
        }
    }

    /// Tells operators, then readers, of an epoch whose plan is durable.
    fn announce(&mut self, epoch: Epoch, open: OpenEpoch) {
        assert_eq!(epoch, self.next, "epochs are announced in order");
        self.board.publish(epoch, open.facts);
        for (source, range) in self.sources.iter().zip(&open.ranges) {
            // A reader that is gone has sent a fault already.
            let _gone = source.ranges.send((epoch, range.clone()));
        }
        self.seat.saw(Event::Planned { epoch });
        self.open.insert(epoch, open);
        self.next = epoch.next();
        self.shared.wake();
    }

    /// Runs until the query ends, then ends its threads.
    pub(crate) fn run(mut self) -> Ended {
        let ended = match catch_unwind(AssertUnwindSafe(|| self.turns())) {
            Ok(Ok(())) => Ended::Finished,
            Ok(Err(ended)) => ended,
            // A source or the sink panicked, or we did. Who waits for this query must hear of it.
            Err(_panic) => Ended::Failed(RuntimeError::ThreadLost {
                thread: "coordinator".to_owned(),
            }),
        };
        self.end_threads();
        ended
    }

    fn end_threads(&mut self) {
        self.shared.stop();
        self.feeds.iter().for_each(|feed| feed.stop());
        self.sources.clear();
        self.seat.leave();
        if let Some((workers, readers)) = self.threads.take() {
            drop(workers);
            for reader in readers {
                let _panicked = reader.join();
            }
        }
    }

    fn turns(&mut self) -> Result<(), Ended> {
        let mut work = Work::Done;
        loop {
            if self.seat.turn(work) == Turn::Kill {
                return Err(Ended::Killed);
            }
            work = Work::Done;
            let mut is_idle = true;
            while let Ok(message) = self.inbox.try_recv() {
                self.seat.saw_any(|| message.event());
                self.take(message)?;
                is_idle = false;
            }
            if self.control.wants_kill() {
                return Err(Ended::Killed);
            }
            is_idle &= !self.commit_ready()?;
            let mut pacer = std::mem::take(&mut self.pacer);
            let wish = pacer.turn(self);
            self.pacer = pacer;
            let wish = wish?;
            self.record(wish.epochs)?;
            if wish.is_done && self.open.is_empty() {
                return Ok(());
            }
            let Some(wait) = wish.wait else { continue };
            if self.seat.is_scheduled() {
                if is_idle {
                    work = self.idle_work();
                }
            } else {
                match self.inbox.recv_timeout(wait) {
                    Ok(message) => self.take(message)?,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        let thread = "worker".to_owned();
                        return Err(RuntimeError::ThreadLost { thread }.into());
                    }
                }
            }
        }
    }

    /// What a turn without work was.
    fn idle_work(&self) -> Work {
        let serves = matches!(self.settings.trigger, Trigger::Default | Trigger::OnDemand);
        if self.open.is_empty() && (!serves || self.control.is_served()) {
            Work::Nothing
        } else {
            Work::Waiting
        }
    }

    /// Writes commit records and new plans with one append, then announces the plans.
    fn record(&mut self, epochs: Vec<OpenEpoch>) -> Result<(), Ended> {
        let committed = self.sunk.len();
        let started = self.settings.clock.monotonic();
        let mut planned = Vec::new();
        if let Some(durable) = &self.durable {
            if committed == 0 && epochs.is_empty() {
                return Ok(());
            }
            let mut chosen: Vec<_> = epochs
                .iter()
                .zip(self.next.0..)
                .map(|(open, epoch)| self.reports.chosen(Epoch(epoch), open))
                .collect();
            planned = durable.store.advance(&mut self.sunk, &mut chosen)?.1;
        }
        let took = self.settings.clock.monotonic().saturating_sub(started);
        if committed > 0 {
            self.kill_at(KillPoint::Committed)?;
        }
        if !epochs.is_empty() {
            self.kill_at(KillPoint::Planned)?;
        }
        let mut planned = planned.into_iter();
        for mut open in epochs {
            open.planned = planned.next();
            open.durations.wal_commit = millis(took);
            if open.facts.snapshot_after {
                self.snapshot_at = self.settings.clock.monotonic();
            }
            self.announce(self.next, open);
        }
        Ok(())
    }

    /// Marks an epoch as one after which state is captured, with the cursors as they are now.
    pub(crate) fn capture_after(&self, open: &mut OpenEpoch) {
        if self.durable.is_some() {
            open.facts.snapshot_after = true;
            open.source_states = self
                .sources
                .iter()
                .map(|source| source.source.state())
                .collect();
        }
    }

    fn take(&mut self, message: Message) -> Result<(), Ended> {
        let epoch_of =
            |open: &mut BTreeMap<Epoch, OpenEpoch>, epoch, f: &mut dyn FnMut(&mut OpenEpoch)| {
                if let Some(open) = open.get_mut(&epoch) {
                    f(open);
                }
            };
        match message {
            Message::Poke => {}
            Message::Failed(fault) => return Err(RuntimeError::Reported(fault).into()),
            Message::Rows {
                port,
                epoch,
                rows,
                signs,
                ..
            } => self.write(port, EpochWrite { epoch, rows, signs })?,
            Message::Counted { epoch, rows, .. } => {
                epoch_of(&mut self.open, epoch, &mut |open| open.rows_out += rows);
            }
            Message::Closed { epoch, .. } => {
                epoch_of(&mut self.open, epoch, &mut |open| open.closed_by += 1);
            }
            Message::Operator {
                operator,
                epoch,
                report,
            } => {
                epoch_of(&mut self.open, epoch, &mut |open| {
                    crate::report::add(open.operators.entry(operator).or_default(), &report);
                });
            }
            Message::Tapped {
                worker,
                operator,
                epoch,
                changes,
            } => {
                if let Some(open) = self.open.get_mut(&epoch) {
                    open.captured.add(worker, operator, changes);
                }
            }
            Message::Marked(report) => {
                self.marks = report.state.clone();
                epoch_of(&mut self.open, report.epoch, &mut |open| {
                    open.marks = Some(report.clone());
                });
            }
            Message::Read {
                epoch,
                source,
                rows,
                malformed,
            } => {
                epoch_of(&mut self.open, epoch, &mut |open| {
                    let read = &mut open.read[source.0 as usize];
                    read.0 += rows;
                    read.1 += malformed;
                });
            }
        }
        Ok(())
    }

    /// Gives rows to a sink, unless it has them from before a restart.
    fn write(&mut self, port: Port, write: EpochWrite) -> Result<(), Ended> {
        let bytes = batch_bytes(&write.rows);
        if let Some(open) = self.open.get_mut(&write.epoch) {
            if port == Port::Result {
                open.rows_out += write.rows.num_rows() as u64;
            }
            if !open.suppressed {
                self.sinks.write(port, write)?;
            }
        }
        self.shared.sub_backlog(bytes);
        Ok(())
    }

    /// Commits epochs from the oldest on, as far as they are closed everywhere; says whether any was.
    fn commit_ready(&mut self) -> Result<bool, Ended> {
        let mut any = false;
        let ports = 1 + usize::from(self.plan.late.is_some());
        let ends = self.settings.workers.max(1) * ports;
        let has_marks = !self.plan.marks.is_empty();
        while let Some(entry) = self.open.first_entry() {
            let open = entry.get();
            if open.closed_by < ends || (has_marks && open.marks.is_none()) {
                return Ok(any);
            }
            let (epoch, open) = entry.remove_entry();
            self.commit(epoch, open)?;
            any = true;
        }
        Ok(any)
    }

    fn commit(&mut self, epoch: Epoch, mut open: OpenEpoch) -> Result<(), Ended> {
        let ran = self.settings.clock.monotonic();
        open.durations.add_batch = millis(ran.saturating_sub(open.planned_at));
        let mut receipt = SinkReceipt {
            rows: open.rows_out,
        };
        if !open.suppressed {
            self.sinks.stage(epoch)?;
            self.kill_at(KillPoint::Staged)?;
            let written = self.sinks.commit(epoch)?;
            if !self.sinks.result().discards_rows() {
                receipt = written;
            }
        }
        if let Some(planned) = open.planned.take()
            && !open.recorded
        {
            let marks = open
                .marks
                .as_ref()
                .map_or(0, |marks| marks.state.evict.ms());
            let outcome = Outcome {
                rows_in: open.read.iter().map(|(rows, _)| rows).sum(),
                rows_out: receipt.rows,
                watermark_next_ms: marks,
            };
            self.sunk.push(planned.stage(outcome).sunk(epoch)?);
        }
        self.seat.saw(Event::Committed { epoch });
        self.board.forget_through(epoch);
        for (source, range) in self.sources.iter_mut().zip(&open.ranges) {
            if let Some(range) = range {
                source.source.committed(range)?;
            }
        }
        let done = self.settings.clock.monotonic();
        open.durations.commit_offsets = millis(done.saturating_sub(ran));
        open.durations.trigger_execution = millis(done.saturating_sub(open.planned_at));
        let progress = self.reports.progress(self, epoch, &open, receipt, done);
        self.reports.last_trigger = Some(open.planned_at);
        if !open.suppressed {
            (self.listener)(&progress);
        }
        // After the report: whoever counts must not miss an epoch that the sink has.
        if open.facts.snapshot_after {
            self.write_snapshot(epoch, &mut open)?;
        }
        Ok(())
    }

    fn write_snapshot(&mut self, epoch: Epoch, open: &mut OpenEpoch) -> Result<(), Ended> {
        // The manifest may only name an epoch that the log knows as committed.
        self.record(Vec::new())?;
        let Some(durable) = &self.durable else {
            return Ok(());
        };
        let pieces = self
            .live
            .write(std::mem::take(&mut open.captured), &durable.packs)?;
        let marks = open.marks.as_ref().map(|marks| &marks.state);
        let manifest = Manifest {
            epoch,
            generation: durable.store.generation(),
            workers: u32::try_from(self.settings.workers).unwrap_or(u32::MAX),
            plan_fingerprint: xxhash_rust::xxh3::xxh3_64(self.plan.identity.as_bytes()),
            pieces,
            source_states: std::mem::take(&mut open.source_states),
            control: marks.unwrap_or(&self.marks).encode(),
        };
        durable.store.write_manifest(&manifest)?;
        durable.store.collect_garbage()?;
        self.kill_at(KillPoint::Snapshot)
    }

    fn kill_at(&self, point: KillPoint) -> Result<(), Ended> {
        if self.settings.kill_at == Some(point) {
            Err(Ended::Killed)
        } else {
            Ok(())
        }
    }
}

impl Drop for Coordinator {
    /// Threads of a query that never ran, because the system had none left for the coordinator.
    fn drop(&mut self) {
        self.end_threads();
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
