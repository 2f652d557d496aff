//! The baton: one thread of a query moves at a time, and a seed says which.
//!
//! Real workers, real operators, real channels; only the order in which threads move is ours. Equal
//! seeds give equal runs, so a failing interleaving can be looked at as often as one likes, and thousands
//! of them can be tried. A participant whose last turn did nothing is not given another before somebody
//! did something: when that holds for all of them the query *rests*, and only then may a test touch it,
//! or the run could not be repeated. What it does not explore: orders within a unit of work, what the
//! processor does to memory that threads share, and channels between processes. Tests:
//! `tests/it/baton.rs`.

use std::{
    fmt,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use millstream::schedule::{Event, Participant, Schedule, Turn, Work};

/// Turns of one start of a query, after which it is said to run in circles.
const TURNS_MAX: usize = 1_000_000;

/// How long one turn may take before the process ends with a word about it: somebody blocks.
const TURN_MAX: Duration = Duration::from_secs(120);

/// Turns shown of a query that is stuck.
const TAIL: usize = 60;

/// A generator of numbers that is the same everywhere (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.draw() % end.max(1)).unwrap_or(0)
    }
}

/// How the next participant is chosen among those that may have something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// All are equally likely.
    Uniform,
    /// One of them moves once in 32 times while another could.
    Starve(Participant),
    /// Whoever moved moves on, 7 times in 8.
    Bursts,
    /// One after the other.
    RoundRobin,
}

impl Policy {
    /// A policy chosen by a seed, for a query with this many workers.
    #[must_use]
    pub fn of(seed: u64, workers: usize) -> Policy {
        let mut random = Random::new(seed ^ 0x706F_6C69_6379);
        match random.below(8) {
            0 => Policy::RoundRobin,
            1 | 2 => Policy::Bursts,
            3 if seed.is_multiple_of(2) => Policy::Starve(Participant::Committer),
            3 => Policy::Starve(Participant::Planner),
            4 => Policy::Starve(Participant::Reader {
                source: 0,
                reader: 0,
            }),
            5 => Policy::Starve(Participant::Worker(random.below(workers.max(1)))),
            _ => Policy::Uniform,
        }
    }
}

/// Who moved when, and what was seen: equal for equal seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Whose turn it was.
    pub turns: Vec<Participant>,
    /// What planner and committer saw, and in which turn.
    pub events: Vec<(usize, Event)>,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_turns(f, &self.turns)?;
        for (turn, event) in &self.events {
            write!(f, "\n{turn}: {event:?}")?;
        }
        Ok(())
    }
}

fn write_turns(f: &mut fmt::Formatter<'_>, turns: &[Participant]) -> fmt::Result {
    for turn in turns {
        match turn {
            Participant::Planner => f.write_str("P ")?,
            Participant::Committer => f.write_str("C ")?,
            Participant::Snapshotter => f.write_str("S ")?,
            Participant::Reader { source, reader } => write!(f, "r{source}.{reader} ")?,
            Participant::Worker(worker) => write!(f, "{worker} ")?,
        }
    }
    Ok(())
}

/// A query under a baton that can go no further, or goes on for ever.
#[derive(Clone, Debug)]
pub struct Stuck {
    seed: u64,
    policy: Policy,
    what: &'static str,
    waiting: Vec<Participant>,
    trace: Trace,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stuck {
            seed,
            policy,
            what,
            waiting,
            trace,
        } = self;
        let turns = trace.turns.len();
        writeln!(
            f,
            "{what} seed={seed} policy={policy:?} turns={turns} waiting={waiting:?}"
        )?;
        write_turns(f, &trace.turns[turns.saturating_sub(TAIL)..])?;
        for (turn, event) in &trace.events[trace.events.len().saturating_sub(TAIL)..] {
            write!(f, "\n{turn}: {event:?}")?;
        }
        Ok(())
    }
}

/// The baton of one start of one query.
pub struct Baton {
    state: Mutex<State>,
    /// For those outside who wait until the query rests.
    rests: Condvar,
    /// One a place; more participants than this share the last.
    passed: [Condvar; PLACES],
}

/// Participants that are woken alone.
const PLACES: usize = 16;

struct State {
    seed: u64,
    policy: Policy,
    random: Random,
    places: Vec<Place>,
    /// The place that has the baton.
    holder: Option<usize>,
    /// The last place that had it.
    last: usize,
    /// Somebody outside asked something during this turn.
    poked: bool,
    /// End the query in the planner's first turn from this one on.
    kill_at: Option<usize>,
    killed: bool,
    stuck: Option<Box<Stuck>>,
    trace: Trace,
}

struct Place {
    who: Participant,
    stage: Stage,
}

/// Where a participant stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its thread has not come yet.
    Awaited,
    /// It may have something to do.
    Ready,
    /// Its last turn did nothing, and nobody did anything since.
    Idle(Work),
    /// It is gone.
    Left,
}

impl fmt::Debug for Baton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Baton")
            .field("seed", &state.seed)
            .field("policy", &state.policy)
            .field("turns", &state.trace.turns.len())
            .finish_non_exhaustive()
    }
}

impl Baton {
    /// A baton for the next start of a query.
    #[must_use]
    pub fn new(seed: u64, policy: Policy) -> Baton {
        Baton {
            state: Mutex::new(State {
                seed,
                policy,
                random: Random::new(seed),
                places: Vec::new(),
                holder: None,
                last: 0,
                poked: false,
                kill_at: None,
                killed: false,
                stuck: None,
                trace: Trace::default(),
            }),
            rests: Condvar::new(),
            passed: std::array::from_fn(|_| Condvar::new()),
        }
    }

    /// Kills the query in the coordinator's first turn after so many turns of anybody.
    #[must_use]
    pub fn kill_at(self, turn: usize) -> Baton {
        self.lock().kill_at = Some(turn);
        self
    }

    /// Whether it has killed the query.
    #[must_use]
    pub fn has_killed(&self) -> bool {
        self.lock().killed
    }

    /// Who moved when, up to now.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.lock().trace.clone()
    }

    /// Waits until the query rests or has ended. At once if it has not begun.
    ///
    /// # Errors
    /// When it can go no further although something waits, or goes on for ever; it was killed then.
    pub fn rest(&self) -> Result<(), Box<Stuck>> {
        let mut state = self.lock();
        while !state.is_resting() {
            state = self
                .rests
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.stuck.clone().map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with the lock has ended the query or the process.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the baton to somebody, if it is free, everybody is there and somebody may have work.
    fn pass(&self, state: &mut State) {
        if state.holder.is_some() || state.places.iter().any(|p| p.stage == Stage::Awaited) {
            return;
        }
        match state.choose() {
            Some(next) => {
                state.holder = Some(next);
                state.last = next;
                state.poked = false;
                let who = state.places[next].who;
                state.trace.turns.push(who);
                self.passed[next.min(PLACES - 1)].notify_all();
            }
            None if state.planner_left() && !state.has_ended() => {
                give_up(&state.describe("a thread does not end"));
            }
            None => self.rests.notify_all(),
        }
    }

    /// Blocks until a place has the baton.
    fn wait_for<'s>(
        &'s self,
        place: usize,
        mut state: MutexGuard<'s, State>,
    ) -> MutexGuard<'s, State> {
        while state.holder != Some(place) {
            let before = state.trace.turns.len();
            let waited = self.passed[place.min(PLACES - 1)].wait_timeout(state, TURN_MAX);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            let is_blocked = state.holder.is_some() && state.trace.turns.len() == before;
            if timeout.timed_out() && is_blocked {
                give_up(&state.describe("a turn does not end: its thread blocks"));
            }
        }
        state
    }
}

/// A thread that blocks cannot be ended, and the test that waits for it cannot be told.
#[expect(clippy::print_stderr, reason = "the last words of a process")]
fn give_up(stuck: &Stuck) -> ! {
    eprintln!("{stuck}");
    std::process::abort();
}

impl State {
    fn place(&self, who: Participant) -> usize {
        let place = self.places.iter().position(|place| place.who == who);
        place.expect("invariant: who takes part was named at the beginning")
    }

    fn planner_left(&self) -> bool {
        self.places
            .iter()
            .any(|place| place.who == Participant::Planner && place.stage == Stage::Left)
    }

    fn has_ended(&self) -> bool {
        self.places.iter().all(|place| place.stage == Stage::Left)
    }

    fn is_resting(&self) -> bool {
        let quiet = |place: &Place| matches!(place.stage, Stage::Idle(_) | Stage::Left);
        self.holder.is_none() && self.places.iter().all(quiet)
    }

    /// Who comes next; nobody if all rest.
    fn choose(&mut self) -> Option<usize> {
        if self.stuck.is_none() {
            self.stuck = self.look().map(|what| Box::new(self.describe(what)));
        }
        if self.stuck.is_some() && !self.planner_left() {
            return Some(self.place(Participant::Planner));
        }
        let ready = |place: &usize| self.places[*place].stage == Stage::Ready;
        let mut ready: Vec<usize> = (0..self.places.len()).filter(ready).collect();
        match self.policy {
            Policy::Starve(who) if ready.len() > 1 && self.random.below(32) != 0 => {
                ready.retain(|place| self.places[*place].who != who);
            }
            Policy::Bursts if ready.contains(&self.last) && self.random.below(8) != 0 => {
                return Some(self.last);
            }
            Policy::RoundRobin => {
                let after = ready.iter().find(|place| **place > self.last);
                return after.or(ready.first()).copied();
            }
            Policy::Starve(_) | Policy::Bursts | Policy::Uniform => {}
        }
        (!ready.is_empty()).then(|| ready[self.random.below(ready.len())])
    }

    /// What is wrong, if anything is.
    fn look(&self) -> Option<&'static str> {
        if self.trace.turns.len() >= TURNS_MAX {
            return Some("the query runs in circles");
        }
        if self.places.iter().any(|place| place.stage == Stage::Ready) {
            return None;
        }
        if self
            .places
            .iter()
            .any(|place| place.stage == Stage::Idle(Work::Waiting))
        {
            return Some("nobody can do anything and somebody waits");
        }
        None
    }

    fn describe(&self, what: &'static str) -> Stuck {
        let waiting = |place: &&Place| place.stage == Stage::Idle(Work::Waiting);
        Stuck {
            seed: self.seed,
            policy: self.policy,
            what,
            waiting: self
                .places
                .iter()
                .filter(waiting)
                .map(|place| place.who)
                .collect(),
            trace: self.trace.clone(),
        }
    }

    /// Somebody did something: all others may have something to do.
    fn rouse(&mut self) {
        for place in &mut self.places {
            if matches!(place.stage, Stage::Idle(_)) {
                place.stage = Stage::Ready;
            }
        }
    }
}

impl Schedule for Baton {
    fn begin(&self, participants: &[Participant]) {
        let mut state = self.lock();
        assert!(
            state.places.is_empty(),
            "a baton is for one start of one query"
        );
        let place = |who: &Participant| Place {
            who: *who,
            stage: Stage::Awaited,
        };
        state.places = participants.iter().map(place).collect();
    }

    fn turn(&self, who: Participant, work: Work) -> Turn {
        let mut state = self.lock();
        let place = state.place(who);
        if state.holder == Some(place) {
            state.holder = None;
            if work == Work::Done {
                state.rouse();
                state.places[place].stage = Stage::Ready;
            } else if !state.poked {
                // Who was asked something during the turn may not have seen it.
                state.places[place].stage = Stage::Idle(work);
            }
        } else {
            assert!(
                state.places[place].stage == Stage::Awaited,
                "{who:?} moves without the baton"
            );
            state.places[place].stage = Stage::Ready;
        }
        self.pass(&mut state);
        let mut state = self.wait_for(place, state);
        let is_time = state
            .kill_at
            .is_some_and(|turn| state.trace.turns.len() > turn);
        if who == Participant::Planner && (is_time || state.stuck.is_some()) {
            state.killed = true;
            return Turn::Kill;
        }
        Turn::Go
    }

    fn leave(&self, who: Participant) {
        let mut state = self.lock();
        let place = state.place(who);
        if state.holder == Some(place) {
            state.holder = None;
        }
        state.places[place].stage = Stage::Left;
        state.rouse();
        self.pass(&mut state);
        self.rests.notify_all();
    }

    fn poke(&self) {
        let mut state = self.lock();
        state.poked = true;
        state.rouse();
        self.pass(&mut state);
    }

    fn saw(&self, event: Event) {
        let mut state = self.lock();
        let turn = state.trace.turns.len();
        state.trace.events.push((turn, event));
    }
}
