//! What a running query tells those who listen.

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
    /// The query waits for room on a disk; it goes on by itself.
    Paused(Fault),
    /// It goes on.
    Resumed,
    /// It has ended; the last event.
    Terminated(Termination),
}

/// Called with each event, from the threads of the query; must not block for long.
pub type QueryListener = std::sync::Arc<dyn Fn(QueryEvent) + Send + Sync>;

/// How long to wait for room before the next attempt.
const RETRY: std::time::Duration = std::time::Duration::from_millis(500);

/// Why an attempt was given up.
pub(crate) enum GivenUp {
    Error(RuntimeError),
    Killed,
}

/// Does something again and again while the disk is full. A stop ends the waiting with the error.
pub(crate) fn until_room<T>(
    (control, listener, seat): (&Control, &QueryListener, &Seat),
    mut act: impl FnMut() -> Result<T, RuntimeError>,
) -> Result<T, GivenUp> {
    let mut is_paused = false;
    loop {
        match act() {
            Ok(done) => {
                if is_paused {
                    control.pause(None);
                    listener(QueryEvent::Resumed);
                }
                return Ok(done);
            }
            Err(error) if error.is_disk_full() => {
                if !is_paused {
                    is_paused = true;
                    control.pause(Some(error.fault()));
                    listener(QueryEvent::Paused(error.fault()));
                }
                let goes_on = if seat.is_scheduled() {
                    seat.turn(Work::Waiting);
                    !(control.wants_stop() || control.wants_kill())
                } else {
                    control.rest(RETRY)
                };
                if control.wants_kill() {
                    return Err(GivenUp::Killed);
                }
                if !goes_on {
                    return Err(GivenUp::Error(error));
                }
            }
            Err(error) => return Err(GivenUp::Error(error)),
        }
    }
}
