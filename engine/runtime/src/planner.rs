//! The planner: one thread a query that fixes what an epoch takes, makes that durable, and only then
//! lets readers and operators learn of it. [INV-01]
//!
//! It owns the sources. It hears from the committer how far the query is, and asks for snapshots: at
//! an interval along with an epoch, and without one when the query is idle and at its end, so that
//! committed input is not needed for ever. When the query ends it is the one who ends the threads.

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

use millstream_connectors_api::PlannedRange;
use millstream_epoch::{Commit, Plan, PlanKind, Planned, Replay};
use millstream_operators::board::{EpochBoard, EpochFacts, EpochKind};
use millstream_types::{Coded, Epoch};
use timely::communication::WorkerGuards;

use crate::{
    capture::Asked,
    control::Activity,
    desk::Desk,
    epochs::{Draft, OpenEpoch, millis, planned_range},
    error::RuntimeError,
    events::{GivenUp, QueryEvent, QueryListener, Waiting, until_possible},
    log::Log,
    message::{ToCommitter, ToPlanner},
    pacer::{Pacer, Wish},
    progress::Durations,
    schedule::{Event, Participant, Seat, Turn, Work},
    settings::{KillPoint, Trigger},
    shared::Shared,
};

/// Why a thread of the query returned before its time.
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

impl From<GivenUp> for Ended {
    fn from(given_up: GivenUp) -> Ended {
        match given_up {
            GivenUp::Error(error) => Ended::Failed(error),
            GivenUp::Killed => Ended::Killed,
        }
    }
}

/// The other threads of a query.
pub(crate) struct Threads {
    pub(crate) workers: WorkerGuards<()>,
    pub(crate) others: Vec<JoinHandle<()>>,
}

/// How the planner reaches everybody else.
pub(crate) struct Reach {
    pub(crate) log: Option<Arc<Log>>,
    pub(crate) board: Arc<EpochBoard>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) committer: Sender<ToCommitter>,
    pub(crate) inbox: Receiver<ToPlanner>,
    pub(crate) listener: QueryListener,
}

pub(crate) struct Planner {
    desk: Desk,
    pacer: Pacer,
    reach: Reach,
    threads: Option<Threads>,
    settling: Settling,
    /// How often state was asked for.
    captures: u64,
    /// The snapshot at the end was asked for.
    is_finishing: bool,
    seat: Seat,
}

impl Planner {
    pub(crate) fn new(desk: Desk, reach: Reach, threads: Threads) -> Planner {
        let seat = Seat::new(desk.settings.schedule.as_ref(), Participant::Planner);
        Planner {
            pacer: Pacer::new(desk.settings.trigger),
            desk,
            reach,
            threads: Some(threads),
            settling: Settling::default(),
            captures: 0,
            is_finishing: false,
            seat,
        }
    }

    /// The query goes on from a snapshot after this epoch, where the sources stood so.
    pub(crate) fn restored(&mut self, epoch: Epoch, standing: &[Option<PlannedRange>]) {
        self.settling.restored(epoch, standing);
    }

    /// An epoch of an earlier start is committed and nothing depends on it: it does not run again.
    pub(crate) fn passed_over(&mut self, plan: &Plan) {
        let ranges = plan.sources.iter();
        let ranges: Vec<_> = ranges
            .map(|range| range.as_ref().map(planned_range))
            .collect();
        self.settling.planned(&ranges);
        self.pacer.replayed();
    }

    /// Runs an epoch of an earlier start again. State is captured after the last one, so that a query
    /// whose processes never live long does not repeat ever more epochs; the sources' cursors stand
    /// behind the last plan already.
    ///
    /// # Errors
    /// When a source cannot say what the epoch's splits are.
    pub(crate) fn replay(
        &mut self,
        planned: Planned,
        (step, is_last): (&Replay, bool),
        recorded: Option<Commit>,
    ) -> Result<(), RuntimeError> {
        let plan = planned.plan().clone();
        let ranges: Vec<Option<PlannedRange>> = plan
            .sources
            .iter()
            .map(|range| range.as_ref().map(planned_range))
            .collect();
        let open = OpenEpoch {
            facts: EpochFacts {
                clock_ms: plan.clock_ms,
                kind: match plan.kind {
                    PlanKind::Data => EpochKind::Data,
                    PlanKind::NoData => EpochKind::NoData,
                },
                snapshot_after: is_last,
            },
            latest: ranges.iter().map(|_| None).collect(),
            metrics: Vec::new(),
            ranges: ranges.clone(),
            is_recorded: step.is_recorded,
            recorded,
            planned: Some(planned),
            planned_at: self.desk.settings.clock.monotonic(),
            durations: Durations::default(),
        };
        self.pacer.replayed();
        self.announce(plan.epoch, open, &ranges)?;
        if is_last {
            let source_states = self.desk.source_states();
            self.asked(Asked {
                epoch: plan.epoch,
                source_states,
            });
        }
        Ok(())
    }

    /// Tells the committer, then operators, then readers, of an epoch whose plan is durable.
    fn announce(
        &mut self,
        epoch: Epoch,
        open: OpenEpoch,
        ranges: &[Option<PlannedRange>],
    ) -> Result<(), RuntimeError> {
        assert_eq!(epoch, self.desk.next, "epochs are announced in order");
        let facts = open.facts;
        self.tell(ToCommitter::Planned(epoch, Box::new(open)));
        self.reach.board.publish(epoch, facts);
        for (of, range) in self.desk.sources.iter().zip(ranges) {
            let splits = range.as_ref().map(|range| of.source.splits(range));
            of.intake.plan(epoch, splits.transpose()?);
        }
        self.settling.planned(ranges);
        if !self.desk.is_durable {
            // Nothing will ever be read again: a range is settled when its epoch is committed.
            self.settling.captured(epoch);
        }
        self.seat.saw(Event::Planned { epoch });
        self.desk.next = epoch.next();
        self.desk.open += 1;
        self.desk.is_changed = true;
        self.reach.shared.wake();
        Ok(())
    }

    fn tell(&self, word: ToCommitter) {
        // A committer that is gone has sent its reason.
        let _gone = self.reach.committer.send(word);
    }

    /// Runs until the query ends, then ends its threads.
    pub(crate) fn run(mut self) -> Ended {
        let ended = match catch_unwind(AssertUnwindSafe(|| self.turns())) {
            Ok(Ok(())) => Ended::Finished,
            Ok(Err(ended)) => ended,
            // A source panicked, or we did. Who waits for this query must hear of it.
            Err(_panic) => Ended::Failed(RuntimeError::ThreadLost {
                thread: "planner".to_owned(),
            }),
        };
        self.end_threads();
        ended
    }

    fn end_threads(&mut self) {
        self.reach.shared.stop();
        // A thread that waits for room on a disk would be waited for until there is some.
        self.desk.control.ask_stop();
        self.desk.sources.iter().for_each(|of| of.intake.stop());
        self.desk.sources.clear();
        self.tell(ToCommitter::Poke);
        self.seat.leave();
        if let Some(Threads { workers, others }) = self.threads.take() {
            drop(workers);
            for other in others {
                let _panicked = other.join();
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
            let before = self.captures;
            while let Ok(word) = self.reach.inbox.try_recv() {
                self.take(word)?;
                is_idle = false;
            }
            if self.desk.control.wants_kill() {
                return Err(Ended::Killed);
            }
            self.notice();
            self.desk.is_unsettled = self.is_unsettled();
            let wish = self.plan()?;
            self.show_activity(&wish);
            if wish.is_done && self.desk.open == 0 && self.finish()? {
                return Ok(());
            }
            let Some(wait) = wish.wait else { continue };
            let wait = self.capture_idle(wait, is_idle);
            is_idle &= self.captures == before;
            if !self.seat.is_scheduled() {
                match self.reach.inbox.recv_timeout(wait) {
                    Ok(word) => self.take(word)?,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        let thread = "committer".to_owned();
                        return Err(RuntimeError::ThreadLost { thread }.into());
                    }
                }
            } else if is_idle {
                work = self.idle_work();
            }
        }
    }

    /// What a turn without work was.
    fn idle_work(&self) -> Work {
        let desk = &self.desk;
        let serves = matches!(desk.settings.trigger, Trigger::Default | Trigger::OnDemand);
        let is_served = !serves || desk.control.is_served();
        if desk.open == 0 && !desk.is_capturing && is_served {
            Work::Nothing
        } else {
            Work::Waiting
        }
    }

    fn take(&mut self, word: ToPlanner) -> Result<(), Ended> {
        match word {
            ToPlanner::Poke => self.pacer.woken(),
            ToPlanner::Failed(fault) => return Err(RuntimeError::Reported(fault).into()),
            ToPlanner::Killed => return Err(Ended::Killed),
            ToPlanner::Committed { epoch, marks } => {
                self.desk.open -= 1;
                if let Some(marks) = marks {
                    self.desk.marks = marks;
                }
                self.reach.board.forget_through(epoch);
                if !self.desk.is_durable {
                    self.settle(Some(epoch));
                }
            }
            ToPlanner::Captured { floor } => {
                self.desk.is_capturing = false;
                self.settle(floor);
            }
        }
        Ok(())
    }

    /// Chooses the next epoch, if there is to be one, and makes its plan durable.
    fn plan(&mut self) -> Result<Wish, Ended> {
        if let Some(log) = &self.reach.log {
            log.begin_planning();
        }
        let Planner {
            desk, pacer, seat, ..
        } = self;
        let control = desk.control.clone();
        let waiting = Waiting {
            control: &control,
            listener: &self.reach.listener,
            seat,
            retry_for: desk.settings.retry_for,
        };
        let mut wish = until_possible(waiting, || pacer.turn(desk))?;
        let draft = wish.epoch.take();
        let mut chosen: Vec<_> = draft.iter().map(|draft| draft.chosen(desk.next)).collect();
        let started = desk.settings.clock.monotonic();
        let planned = match &self.reach.log {
            None => Vec::new(),
            Some(log) => until_possible(waiting, || Ok(log.plan(&mut chosen)?))?,
        };
        let took = desk.settings.clock.monotonic().saturating_sub(started);
        if let Some(draft) = draft {
            self.kill_at(KillPoint::Planned)?;
            self.begin(draft, planned.into_iter().next(), millis(took))?;
        }
        Ok(wish)
    }

    fn show_activity(&self, wish: &Wish) {
        let desk = &self.desk;
        desk.control.does(if desk.open == 0 {
            Activity::Waiting
        } else {
            // As many are open as may be: whatever is new has to wait.
            let has_more = desk.open >= desk.settings.open_epochs_max.max(1) || wish.wait.is_none();
            Activity::Processing { has_more }
        });
    }

    fn begin(
        &mut self,
        mut draft: Draft,
        planned: Option<Planned>,
        wal_commit_ms: u64,
    ) -> Result<(), RuntimeError> {
        let epoch = self.desk.next;
        let source_states = draft.source_states.take();
        let (ranges, open) = draft.open(planned, wal_commit_ms);
        self.announce(epoch, open, &ranges)?;
        if let Some(source_states) = source_states {
            self.asked(Asked {
                epoch,
                source_states,
            });
        }
        Ok(())
    }

    /// State was asked for: the committer is to gather it.
    fn asked(&mut self, asked: Asked) {
        self.captures += 1;
        self.settling.captured(asked.epoch);
        self.tell(ToCommitter::Capture(asked));
        self.desk.is_capturing = true;
        self.desk.is_changed = false;
        self.desk.captured_at = self.desk.settings.clock.monotonic();
    }

    /// Asks for state as of the end of the newest epoch, which is committed. Says whether it did.
    fn capture_now(&mut self) -> bool {
        let desk = &self.desk;
        let can = desk.is_durable && desk.is_changed && !desk.is_capturing && desk.open == 0;
        let Some(epoch) = desk.next.previous().filter(|_| can) else {
            return false;
        };
        let source_states = desk.source_states();
        self.reach.board.capture_after(epoch);
        self.asked(Asked {
            epoch,
            source_states,
        });
        self.reach.shared.wake();
        true
    }

    /// Whether somebody waits for input to be cleaned up that a snapshot stands behind, and not yet two.
    fn is_unsettled(&self) -> bool {
        self.settling.is_pending() && self.desk.sources.iter().any(|of| of.source.cleans())
    }

    /// Captures state of a query that has been idle for as long as the interval between snapshots.
    /// Gives the time after which to look again.
    fn capture_idle(&mut self, wait: Duration, is_idle: bool) -> Duration {
        if !(self.desk.is_durable && self.desk.is_changed && self.desk.open == 0) {
            return wait;
        }
        let until = self.desk.until_capture();
        if until.is_zero() && is_idle && !self.desk.is_capturing {
            self.capture_now();
        }
        wait.min(until.max(Duration::from_millis(1)))
    }

    /// Captures state once more and waits until it is durable. Says whether the query may end.
    fn finish(&mut self) -> Result<bool, Ended> {
        if self.desk.is_capturing {
            return Ok(false);
        }
        if !self.is_finishing {
            self.is_finishing = true;
            if self.capture_now() {
                return Ok(false);
            }
        }
        if let Some(log) = &self.reach.log {
            let waiting = Waiting {
                control: &self.desk.control,
                listener: &self.reach.listener,
                seat: &self.seat,
                retry_for: self.desk.settings.retry_for,
            };
            until_possible(waiting, || Ok(log.record_now()?))?;
        }
        Ok(true)
    }

    /// Nothing up to an epoch will be read again: sources clean up behind it.
    fn settle(&mut self, floor: Option<Epoch>) {
        let Some(ranges) = floor.and_then(|floor| self.settling.settled(floor)) else {
            return;
        };
        for (of, range) in self.desk.sources.iter_mut().zip(&ranges) {
            if let Some(range) = range
                && let Err(error) = of.source.settled(range)
            {
                (self.reach.listener)(QueryEvent::Notice(error.fault()));
            }
        }
    }

    /// Hands on what the sources have to say.
    fn notice(&mut self) {
        for of in &mut self.desk.sources {
            for fault in of.source.notices() {
                (self.reach.listener)(QueryEvent::Notice(fault));
            }
        }
    }

    fn kill_at(&self, point: KillPoint) -> Result<(), Ended> {
        if self.desk.settings.kill_at == Some(point) {
            Err(Ended::Killed)
        } else {
            Ok(())
        }
    }
}

impl Drop for Planner {
    /// Threads of a query that never ran, because the system had none left for the planner.
    fn drop(&mut self) {
        self.end_threads();
    }
}

/// The newest range of each source as of the snapshots that may be kept.
#[derive(Debug, Default)]
struct Settling {
    newest: Vec<Option<PlannedRange>>,
    captured: BTreeMap<Epoch, Vec<Option<PlannedRange>>>,
    /// What was settled last.
    settled: Vec<Option<PlannedRange>>,
}

impl Settling {
    fn planned(&mut self, ranges: &[Option<PlannedRange>]) {
        self.newest.resize(ranges.len(), None);
        for (newest, range) in self.newest.iter_mut().zip(ranges) {
            if range.is_some() {
                newest.clone_from(range);
            }
        }
    }

    /// There is a snapshot after this epoch. A run that takes one and ends settles what that one
    /// stands for; without this, runs that are short would never settle anything.
    fn restored(&mut self, epoch: Epoch, standing: &[Option<PlannedRange>]) {
        self.newest.resize(standing.len(), None);
        for (newest, standing) in self.newest.iter_mut().zip(standing) {
            if newest.is_none() {
                newest.clone_from(standing);
            }
        }
        self.captured.insert(epoch, standing.to_vec());
    }

    /// State is being captured after this epoch, the newest.
    fn captured(&mut self, epoch: Epoch) {
        self.captured.insert(epoch, self.newest.clone());
    }

    /// The snapshot after this epoch is the older of the two that are kept.
    fn settled(&mut self, floor: Epoch) -> Option<Vec<Option<PlannedRange>>> {
        let ranges = self.captured.get(&floor).cloned();
        self.captured = self.captured.split_off(&floor.next());
        self.settled.clone_from(ranges.as_ref()?);
        ranges
    }

    /// The newest snapshot stands for input that is not settled.
    fn is_pending(&self) -> bool {
        let newest = self.captured.values().next_back();
        newest.is_some_and(|ranges| ranges.iter().any(Option::is_some) && *ranges != self.settled)
    }
}
