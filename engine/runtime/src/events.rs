//! What a running query tells those who listen.

use std::time::Duration;

use millstream_types::{Coded, Fault};

use crate::{
    control::{Control, Termination},
    error::RuntimeError,
    progress::Progress,
    schedule::{Seat, Work},
};

/// Something that happened to a query.
#[derive(Clone, Debug)]
pub enum QueryEvent {
    /// An epoch is committed.
    Progress(Box<Progress>),
    /// Something that somebody should know and that does not end the query: a damaged snapshot that
    /// was passed over, a snapshot that could not be written, a file that was skipped.
    Notice(Fault),
    /// The query waits for room on a disk, or for something else outside; it goes on by itself.
    Paused(Fault),
    /// It goes on.
    Resumed,
    /// It has ended; the last event.
    Terminated(Termination),
}

/// Called with each event, from the threads of the query; must not block for long.
pub type QueryListener = std::sync::Arc<dyn Fn(QueryEvent) + Send + Sync>;

/// How long to wait for room before the next attempt, and after the first other failure.
const RETRY: Duration = Duration::from_millis(500);

/// Longest pause between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Attempts at most where a schedule, and no time, passes between them.
const SCHEDULED_ATTEMPTS_MAX: u32 = 8;

/// Why an attempt was given up.
pub(crate) enum GivenUp {
    Error(RuntimeError),
    Killed,
}

impl GivenUp {
    /// Why a start was given up. Nobody can kill a query that has not started.
    pub(crate) fn at_start(self) -> RuntimeError {
        match self {
            GivenUp::Error(error) => error,
            GivenUp::Killed => RuntimeError::Contract {
                what: "a query was killed before it started".to_owned(),
            },
        }
    }
}

/// How long something outside is waited for.
#[derive(Clone, Copy)]
pub(crate) struct Waiting<'a> {
    pub(crate) control: &'a Control,
    pub(crate) listener: &'a QueryListener,
    pub(crate) seat: &'a Seat,
    /// How long it is tried again what fails for another reason than a full disk.
    pub(crate) retry_for: Duration,
}

/// Does something again and again while it cannot be done: for as long as it takes where a disk is
/// full; with growing pauses and for a bounded time where something else outside stands in the way.
/// A stop ends the waiting with the error.
pub(crate) fn until_possible<T>(
    waiting: Waiting<'_>,
    mut act: impl FnMut() -> Result<T, RuntimeError>,
) -> Result<T, GivenUp> {
    let mut is_paused = false;
    let mut pauses = Pauses::new(waiting.retry_for);
    loop {
        let error = match act() {
            Ok(done) => {
                if is_paused {
                    waiting.control.pause(None);
                    (waiting.listener)(QueryEvent::Resumed);
                }
                return Ok(done);
            }
            Err(error) => error,
        };
        let pause = if error.is_disk_full() {
            RETRY
        } else if error.is_outside()
            && let Some(pause) = pauses.next(waiting.seat.is_scheduled())
        {
            pause
        } else {
            return Err(GivenUp::Error(error));
        };
        if !is_paused {
            is_paused = true;
            waiting.control.pause(Some(error.fault()));
            (waiting.listener)(QueryEvent::Paused(error.fault()));
        }
        let goes_on = waiting.rest(pause);
        if waiting.control.wants_kill() {
            return Err(GivenUp::Killed);
        }
        if !goes_on {
            return Err(GivenUp::Error(error));
        }
    }
}

impl Waiting<'_> {
    /// Rests; false if the query is to end.
    fn rest(&self, pause: Duration) -> bool {
        if self.seat.is_scheduled() {
            self.seat.turn(Work::Waiting);
            return !(self.control.wants_stop() || self.control.wants_kill());
        }
        self.control.rest(pause)
    }
}

/// Pauses that double, as long as their sum is within a limit.
struct Pauses {
    next: Duration,
    left: Duration,
    attempts: u32,
}

impl Pauses {
    fn new(limit: Duration) -> Pauses {
        Pauses {
            next: RETRY,
            left: limit,
            attempts: 0,
        }
    }

    /// The next pause; none if it was tried for long enough.
    fn next(&mut self, is_scheduled: bool) -> Option<Duration> {
        self.attempts += 1;
        if self.left.is_zero() || (is_scheduled && self.attempts > SCHEDULED_ATTEMPTS_MAX) {
            return None;
        }
        let pause = self.next.min(self.left);
        self.left = self.left.saturating_sub(pause);
        self.next = self.next.saturating_mul(2).min(RETRY_MAX);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use millstream_connectors_api::ConnectorError;

    use super::*;
    use crate::schedule::Participant;

    fn denied(action: &'static str) -> ConnectorError {
        ConnectorError::Io {
            action,
            path: "in".to_owned(),
            source: io::ErrorKind::PermissionDenied.into(),
        }
    }

    /// What is heard while something is tried that fails so often, and how that ends.
    fn attempts(
        retry_for: Duration,
        failures: usize,
        error: impl Fn() -> RuntimeError,
    ) -> (Vec<&'static str>, Result<(), &'static str>) {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = heard.clone();
        let listener: QueryListener = Arc::new(move |event| {
            let word = match event {
                QueryEvent::Paused(_) => "paused",
                QueryEvent::Resumed => "resumed",
                QueryEvent::Progress(_) | QueryEvent::Notice(_) | QueryEvent::Terminated(_) => "?",
            };
            ear.lock().expect("no panic").push(word);
        });
        let (control, seat) = (Control::default(), Seat::none(Participant::Committer));
        let waiting = Waiting {
            control: &control,
            listener: &listener,
            seat: &seat,
            retry_for,
        };
        let mut left = failures;
        let result = until_possible(waiting, || match left.checked_sub(1) {
            Some(fewer) => {
                left = fewer;
                Err(error())
            }
            None => Ok(()),
        });
        let result = result.map_err(|given_up| given_up.at_start().code().0);
        let heard = heard.lock().expect("no panic").clone();
        (heard, result)
    }

    #[test]
    fn what_may_pass_is_tried_again_and_nothing_else() {
        let minute = Duration::from_secs(60);
        let passed = (vec!["paused", "resumed"], Ok(()));
        let reading = || RuntimeError::of_source(denied("read"));
        assert_eq!(attempts(minute, 1, reading), passed);
        assert_eq!(attempts(minute, 1, || denied("create").into()), passed);
        // Not at a start, not for ever, and never after a sync.
        let ended = (vec![], Err("CON-006"));
        assert_eq!(attempts(Duration::ZERO, 1, reading), ended);
        assert_eq!(attempts(minute, 1, || denied("sync").into()), ended);
        let short = Duration::from_millis(10);
        assert_eq!(
            attempts(short, 5, reading),
            (vec!["paused"], Err("CON-006"))
        );
        // A full disk is waited for, whatever the limit.
        let full = || {
            RuntimeError::from(ConnectorError::Io {
                action: "write",
                path: "out".to_owned(),
                source: io::ErrorKind::StorageFull.into(),
            })
        };
        assert_eq!(attempts(Duration::ZERO, 1, full), passed);
    }

    #[test]
    fn pauses_grow_and_end() {
        let mut pauses = Pauses::new(Duration::from_secs(100));
        let all: Vec<u128> = std::iter::from_fn(|| pauses.next(false))
            .map(|pause| pause.as_millis())
            .collect();
        let expected = [
            500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 8_500,
        ];
        assert_eq!(all, expected);
        assert!(Pauses::new(Duration::ZERO).next(false).is_none());
        let mut scheduled = Pauses::new(Duration::from_secs(100_000));
        let count = std::iter::from_fn(|| scheduled.next(true)).count();
        assert_eq!(count, 8);
    }
}
