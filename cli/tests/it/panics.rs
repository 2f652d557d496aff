//! A thread of a query that panics ends the query, or the process where its siblings would wait for
//! ever; nobody hangs.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use millstream::{
    Fault, Progress, Session, SessionSettings, StreamingQueryListener, Trigger, fault,
    schedule::{Event, Participant, Schedule, Turn, Work},
};
use millstream_testkit::baton::{Baton, Policy};

/// The reader of the only source.
const READER: Participant = Participant::Reader {
    source: 0,
    reader: 0,
};

/// Set in a process that is to end in a panic.
const CHILD: &str = "MILLSTREAM_TEST_CHILD";

/// A baton that drops from somebody's hand.
struct Slippery {
    baton: Baton,
    who: Participant,
    turns: AtomicUsize,
}

impl Schedule for Slippery {
    fn begin(&self, participants: &[Participant]) {
        self.baton.begin(participants);
    }

    fn turn(&self, who: Participant, work: Work) -> Turn {
        let turn = self.baton.turn(who, work);
        let turns = self
            .turns
            .fetch_add(usize::from(who == self.who), Ordering::SeqCst);
        assert!(who != self.who || turns < 5, "{who:?} was told to panic");
        turn
    }

    fn leave(&self, who: Participant) {
        self.baton.leave(who);
    }

    fn poke(&self) {
        self.baton.poke();
    }

    fn saw(&self, event: Event) {
        self.baton.saw(event);
    }
}

struct Fragile;

impl StreamingQueryListener for Fragile {
    fn on_query_progress(&self, progress: &Progress) {
        assert!(progress.batch_id < 2, "the listener was told to panic");
    }
}

/// Runs a query until it ends.
fn run(panics: Option<Participant>, listener: Option<Fragile>) -> Result<(), Fault> {
    let schedule = panics.map(|who| {
        let baton = Baton::new(1, Policy::Uniform);
        Arc::new(Slippery {
            baton,
            who,
            turns: AtomicUsize::new(0),
        }) as _
    });
    let settings = SessionSettings {
        workers: 2,
        schedule,
        ..SessionSettings::default()
    };
    let session = Session::builder()
        .settings(settings)
        .build()
        .expect("a session");
    if let Some(listener) = listener {
        session.add_listener(Arc::new(listener));
    }
    let table = "CREATE TABLE r WITH (connector = 'rate-micro-batch', rowsPerBatch = '10')";
    session.execute(table).expect("a table");
    let frame = session.sql("SELECT value FROM r").expect("a frame");
    let query = frame
        .write_stream()
        .format("noop")
        .trigger(Trigger::Default)
        .start_now();
    let query = query.expect("it starts");
    query
        .await_termination_blocking(None)
        .map(drop)
        .map_err(|error| fault(&error))
}

#[test]
fn a_reader_that_panics_ends_its_query() {
    let fault = run(Some(READER), None).expect_err("it panics");
    assert_eq!(fault.code.0, "EXE-002", "{fault}");
}

#[test]
fn a_listener_that_panics_ends_its_query() {
    let fault = run(None, Some(Fragile)).expect_err("it panics");
    assert_eq!(fault.code.0, "EXE-002", "{fault}");
}

/// Its siblings would wait for its progress for ever, so the process ends, with a message.
#[test]
fn a_worker_that_panics_ends_the_process() {
    if std::env::var_os(CHILD).is_some() {
        let ended = run(Some(Participant::Worker(1)), None);
        panic!("the process goes on: {ended:?}");
    }
    let name = "panics::a_worker_that_panics_ends_the_process";
    let child = Command::new(std::env::current_exe().expect("a test has a path"))
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.code(), Some(70), "{said}");
    assert!(said.contains("Worker(1) was told to panic"), "{said}");
    assert!(
        said.contains("error EXE-002: a worker stopped worker=1"),
        "{said}"
    );
}
