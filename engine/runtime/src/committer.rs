//! The committer: one thread a query that gathers what workers say, and commits epochs in order.
//!
//! It is the only caller of the sinks. An epoch is done when every worker has said its last word of
//! it and every word before that has arrived; when all epochs before it are committed, the sink
//! stages and commits it [INV-04], the log gets its record, and its progress is published. State that
//! was asked for is gathered here and handed to the snapshotter.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::Duration,
};

use millstream_connectors_api::{ConnectorError, EpochWrite, SinkReceipt};
use millstream_epoch::Outcome;
use millstream_operators::watermark::{MarkReport, MarkState};
use millstream_types::{Coded, Epoch, WorkerId};

use crate::{
    capture::{Asked, Captured},
    control::Control,
    epochs::{OpenEpoch, millis},
    error::RuntimeError,
    events::{QueryEvent, QueryListener, Waiting, until_possible},
    frame,
    log::Log,
    message::{Said, ToCommitter, ToPlanner, WorkerMessage},
    planner::Ended,
    report::{Counted, Reports},
    schedule::{Event, Participant, Seat, Work},
    settings::{KillPoint, QuerySettings},
    shared::Shared,
    sinks::{Port, Sinks, Visible},
    snapshot::ToSnapshotter,
};

/// Longest sleep of a committer that waits for words only; a guard, not a schedule.
const IDLE: Duration = Duration::from_secs(10);

/// Words that are taken before epochs are looked at again.
const WORDS_A_TURN: usize = 256;

/// What has been heard of an epoch that is not committed.
#[derive(Default)]
struct Running {
    /// Its plan; words may come before it.
    open: Option<OpenEpoch>,
    /// Words heard of each worker, and how many there are once it said its last.
    heard: BTreeMap<WorkerId, (u64, Option<u64>)>,
    marks: Option<MarkReport>,
    counted: Counted,
}

/// State as of the end of one epoch, on its way together.
#[derive(Default)]
struct Capture {
    /// What was asked; state may come before it.
    asked: Option<Asked>,
    /// The marks after the epoch, known when it is committed.
    marks: Option<MarkState>,
    /// How many operators, counted on each worker, have given theirs.
    given: u64,
    captured: Captured,
}

/// How the committer reaches everybody else.
pub(crate) struct Around {
    pub(crate) inbox: Receiver<ToCommitter>,
    pub(crate) planner: Sender<ToPlanner>,
    pub(crate) snapshotter: Option<Sender<ToSnapshotter>>,
    pub(crate) log: Option<Arc<Log>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) control: Arc<Control>,
    pub(crate) listener: QueryListener,
}

impl Around {
    fn waiting<'a>(&'a self, seat: &'a Seat, settings: &QuerySettings) -> Waiting<'a> {
        Waiting {
            control: &self.control,
            listener: &self.listener,
            seat,
            retry_for: settings.retry_for,
        }
    }
}

pub(crate) struct Committer {
    settings: QuerySettings,
    sinks: Sinks,
    reports: Reports,
    around: Around,
    running: BTreeMap<Epoch, Running>,
    captures: BTreeMap<Epoch, Capture>,
    /// Operators that give state, on each worker that has said so.
    givers: BTreeMap<WorkerId, u64>,
    /// The next epoch to commit.
    next: Epoch,
    /// Marks after the newest committed epoch.
    marks: MarkState,
    has_marks: bool,
    seat: Seat,
}

impl Committer {
    pub(crate) fn new(
        settings: QuerySettings,
        (sinks, reports): (Sinks, Reports),
        around: Around,
        (next, marks): (Epoch, MarkState),
    ) -> Committer {
        let has_marks = reports.has_marks();
        let seat = Seat::new(settings.schedule.as_ref(), Participant::Committer);
        Committer {
            settings,
            sinks,
            reports,
            around,
            running: BTreeMap::new(),
            captures: BTreeMap::new(),
            givers: BTreeMap::new(),
            next,
            marks,
            has_marks,
            seat,
        }
    }

    /// Runs until the query ends.
    pub(crate) fn run(mut self) {
        let ended = match catch_unwind(AssertUnwindSafe(|| self.turns())) {
            Ok(Ok(())) | Ok(Err(Ended::Finished)) => return,
            Ok(Err(Ended::Killed)) => ToPlanner::Killed,
            Ok(Err(Ended::Failed(error))) => ToPlanner::Failed(error.fault()),
            // The sink panicked, or we did. Who waits for this query must hear of it.
            Err(_panic) => ToPlanner::Failed(
                RuntimeError::ThreadLost {
                    thread: "committer".to_owned(),
                }
                .fault(),
            ),
        };
        self.tell_planner(ended);
    }

    fn tell_planner(&self, word: ToPlanner) {
        // A planner that is gone has told everybody to stop.
        let _gone = self.around.planner.send(word);
    }

    fn turns(&mut self) -> Result<(), Ended> {
        let mut work = Work::Done;
        loop {
            self.seat.turn(work);
            if self.around.shared.is_stopped() {
                return Ok(());
            }
            let mut is_idle = true;
            for _ in 0..WORDS_A_TURN {
                let Ok(word) = self.around.inbox.try_recv() else {
                    break;
                };
                self.take(word)?;
                is_idle = false;
            }
            is_idle &= !self.commit_ready()?;
            is_idle &= !self.hand_on_state();
            work = if !is_idle {
                Work::Done
            } else if self.running.is_empty() {
                Work::Nothing
            } else {
                Work::Waiting
            };
            if !is_idle || self.seat.is_scheduled() {
                continue;
            }
            match self.around.inbox.recv_timeout(IDLE) {
                Ok(word) => self.take(word)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn take(&mut self, word: ToCommitter) -> Result<(), Ended> {
        match word {
            ToCommitter::Said(word) => self.hear(word),
            ToCommitter::Framed(bytes) => {
                let word = frame::decode(&bytes).ok_or_else(|| RuntimeError::Contract {
                    what: "a word of a worker cannot be read".to_owned(),
                })?;
                self.hear(word)
            }
            ToCommitter::Planned(epoch, open) => {
                self.running.entry(epoch).or_default().open = Some(*open);
                Ok(())
            }
            ToCommitter::Capture(asked) => {
                let capture = self.captures.entry(asked.epoch).or_default();
                if asked.epoch < self.next {
                    capture.marks = Some(self.marks.clone());
                }
                capture.asked = Some(asked);
                Ok(())
            }
            ToCommitter::Poke => Ok(()),
        }
    }

    fn hear(&mut self, word: WorkerMessage) -> Result<(), Ended> {
        self.seat.saw_any(|| word.event());
        let WorkerMessage {
            worker,
            epoch,
            said,
        } = word;
        match said {
            Said::Failed(fault) => return Err(RuntimeError::Reported(fault).into()),
            Said::Built { givers } => {
                self.givers.insert(worker, givers);
                return Ok(());
            }
            Said::Tapped { operator, changes } => {
                let capture = self.captures.entry(epoch).or_default();
                capture.given += 1;
                capture.captured.add(worker, operator, changes);
                return Ok(());
            }
            Said::Marked(report) => {
                self.running.entry(epoch).or_default().marks = Some(report);
                return Ok(());
            }
            Said::Rows { .. }
            | Said::Counted { .. }
            | Said::Closed { .. }
            | Said::Operator { .. }
            | Said::Read { .. } => {}
        }
        assert!(epoch >= self.next, "a worker speaks of a committed epoch");
        let running = self.running.entry(epoch).or_default();
        let heard = running.heard.entry(worker).or_default();
        heard.0 += u64::from(said.is_counted());
        match said {
            Said::Closed { messages } => heard.1 = Some(messages),
            Said::Rows { port, body, held } => {
                if port == Port::Result {
                    running.counted.rows_out += body.rows();
                }
                self.write(port, &EpochWrite { epoch, body })?;
                self.around.shared.sub_backlog(held);
            }
            Said::Counted { rows } => running.counted.rows_out += rows,
            Said::Operator { operator, report } => running.counted.operator(operator, &report),
            Said::Read {
                source,
                rows,
                malformed,
            } => running.counted.read(source, rows, malformed),
            Said::Failed(_) | Said::Built { .. } | Said::Tapped { .. } | Said::Marked(_) => {}
        }
        Ok(())
    }

    /// Gives rows to a sink, unless it has them from before a restart.
    fn write(&mut self, port: Port, write: &EpochWrite) -> Result<(), Ended> {
        self.patiently(|sinks| sinks.write(port, write))
    }

    /// Asks something of the sinks, again and again while it cannot be done.
    fn patiently<T>(
        &mut self,
        mut act: impl FnMut(&mut Sinks) -> Result<T, ConnectorError>,
    ) -> Result<T, Ended> {
        let Committer {
            sinks,
            around,
            seat,
            settings,
            ..
        } = self;
        let waiting = around.waiting(seat, settings);
        Ok(until_possible(waiting, || Ok(act(sinks)?))?)
    }

    /// Commits epochs from the oldest on, as far as they are done everywhere; says whether any was.
    fn commit_ready(&mut self) -> Result<bool, Ended> {
        let mut any = false;
        while let Some(running) = self.running.get(&self.next) {
            if !self.is_done(running) {
                break;
            }
            let epoch = self.next;
            let running = self.running.remove(&epoch).unwrap_or_default();
            let Running {
                open: Some(open),
                marks,
                counted,
                ..
            } = running
            else {
                break;
            };
            self.commit(epoch, open, marks.as_ref(), &counted)?;
            any = true;
        }
        Ok(any)
    }

    /// Whether everything of an epoch was heard.
    fn is_done(&self, running: &Running) -> bool {
        let workers = self.settings.workers.max(1);
        let is_whole = |(heard, all): &(u64, Option<u64>)| Some(*heard) == *all;
        running.open.is_some()
            && running.heard.len() == workers
            && running.heard.values().all(is_whole)
            && (running.marks.is_some() || !self.has_marks)
    }

    fn commit(
        &mut self,
        epoch: Epoch,
        mut open: OpenEpoch,
        marks: Option<&MarkReport>,
        counted: &Counted,
    ) -> Result<(), Ended> {
        let ran = self.settings.clock.monotonic();
        open.durations.add_batch = millis(ran.saturating_sub(open.planned_at));
        let visible = self.sink(epoch)?;
        let receipt = visible.receipt.unwrap_or(SinkReceipt {
            rows: counted.rows_out,
        });
        let evict_ms = marks.map_or(0, |marks| marks.state.evict.ms());
        let outcome = Outcome {
            rows_in: counted.rows_in(),
            rows_out: receipt.rows,
            watermark_next_ms: evict_ms,
        };
        self.check_replay(&open, outcome)?;
        if let Some(marks) = marks {
            self.marks = marks.state.clone();
        }
        self.next = epoch.next();
        if let Some(capture) = self.captures.get_mut(&epoch) {
            capture.marks = Some(self.marks.clone());
        }
        let planned = open.planned.take();
        if let (Some(planned), Some(log)) = (planned, &self.around.log)
            && !open.is_recorded
        {
            log.commit(planned.stage(outcome).sunk(visible.epoch)?);
        }
        self.seat.saw(Event::Committed { epoch });
        let done = self.settings.clock.monotonic();
        open.durations.commit_offsets = millis(done.saturating_sub(ran));
        open.durations.trigger_execution = millis(done.saturating_sub(open.planned_at));
        let is_new = self.sinks.wants(Port::Result, epoch);
        let sink = self.sinks.result().description();
        let progress = self
            .reports
            .progress(epoch, &open, (counted, marks), (sink, receipt), done);
        for fault in self.reports.malformed(counted) {
            (self.around.listener)(QueryEvent::Notice(fault));
        }
        if is_new {
            (self.around.listener)(QueryEvent::Progress(Box::new(progress)));
        }
        // After the report: who is told that everything is processed finds it reported, too. Before
        // the record: the planner may take it along.
        self.tell_planner(ToPlanner::Committed {
            epoch,
            marks: marks.map(|marks| marks.state.clone()),
        });
        self.record()?;
        self.kill_at(KillPoint::Committed)
    }

    /// Makes an epoch visible in the sinks that do not have it.
    fn sink(&mut self, epoch: Epoch) -> Result<Visible, Ended> {
        let staged = self.patiently(|sinks| sinks.stage(epoch))?;
        self.kill_at(KillPoint::Staged)?;
        if let Some(log) = &self.around.log {
            // Another process that took over must not find our rows beside its own.
            log.store().check_fence()?;
        }
        self.patiently(|sinks| sinks.commit(&staged))
    }

    /// What an epoch gives must be what it gave before. Another number of rows ends the query; another
    /// watermark is said and no more, because the delay may have been changed since.
    fn check_replay(&self, open: &OpenEpoch, outcome: Outcome) -> Result<(), Ended> {
        let Some(recorded) = &open.recorded else {
            return Ok(());
        };
        let differs = |what, was: String, is: String| RuntimeError::ReplayDiffers {
            epoch: recorded.epoch,
            what,
            was,
            is,
        };
        if recorded.rows_in != outcome.rows_in {
            let (was, is) = (recorded.rows_in.to_string(), outcome.rows_in.to_string());
            return Err(differs("rows read", was, is).into());
        }
        if self.has_marks && recorded.watermark_next_ms != outcome.watermark_next_ms {
            let was = crate::progress::iso_ms(recorded.watermark_next_ms);
            let is = crate::progress::iso_ms(outcome.watermark_next_ms);
            let fault = differs("watermark", was, is).fault();
            (self.around.listener)(QueryEvent::Notice(fault));
        }
        Ok(())
    }

    fn record(&self) -> Result<(), Ended> {
        let around = &self.around;
        let at_once = self.settings.kill_at == Some(KillPoint::Committed);
        if let Some(log) = &around.log {
            let waiting = around.waiting(&self.seat, &self.settings);
            until_possible(waiting, || {
                Ok(if at_once {
                    log.record_now()
                } else {
                    log.record()
                }?)
            })?;
        }
        Ok(())
    }

    /// Hands state that is whole to the snapshotter; says whether there was any.
    fn hand_on_state(&mut self) -> bool {
        let workers = self.settings.workers.max(1);
        let givers: u64 = self.givers.values().sum();
        let is_whole = |capture: &Capture| {
            self.givers.len() == workers
                && capture.given == givers
                && capture.asked.is_some()
                && capture.marks.is_some()
        };
        let whole = self.captures.iter().find(|(_, capture)| is_whole(capture));
        let Some(epoch) = whole.map(|(epoch, _)| *epoch) else {
            return false;
        };
        let capture = self.captures.remove(&epoch).unwrap_or_default();
        if let (Some(asked), Some(marks), Some(snapshotter)) =
            (capture.asked, capture.marks, &self.around.snapshotter)
        {
            // A snapshotter that is gone has sent its reason.
            let _gone = snapshotter.send(ToSnapshotter {
                asked,
                marks,
                captured: capture.captured,
            });
        }
        true
    }

    fn kill_at(&self, point: KillPoint) -> Result<(), Ended> {
        if self.settings.kill_at == Some(point) {
            Err(Ended::Killed)
        } else {
            Ok(())
        }
    }
}
