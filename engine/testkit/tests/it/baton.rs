//! Real queries under seeded schedules.
//!
//! `MILLSTREAM_SCHEDULES` says how many schedules the tests that explore try; `MILLSTREAM_SEED` with
//! which seed they begin.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use millstream::{
    Channels, Checkpoint, Clock, Fault, OutputMode, Session, SessionSettings, Trigger,
    VirtualClock,
    schedule::{Participant, Schedule, Turn, Work},
};
use millstream_epoch::sim::SimDisk;
use millstream_testkit::{
    baton::{Baton, Policy, Random, Trace},
    host::{Batons, SessionHost},
    script::{Played, Restarts, RunCase, Script, parse, rows_of_batch, run_script},
};

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn script(name: &str) -> Script {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/stream");
    let text = fs::read_to_string(root.join(name)).expect("invariant: the script is there");
    parse(&text).expect("invariant: it is a script")
}

fn play(
    script: &Script,
    case: RunCase,
    channels: Channels,
    batons: Batons,
) -> Result<(Played, Vec<Trace>), Fault> {
    let mut host = SessionHost::with_batons(channels, batons)?;
    let played = run_script(script, case, &mut host);
    Ok((played, host.traces()))
}

fn case(workers: usize) -> RunCase {
    RunCase {
        workers,
        restarts: Restarts::AsWritten,
    }
}

/// proves P3: a seed repeats a run exactly, so a failure that a seed finds can be looked at.
#[test]
fn a_seed_repeats_a_run() {
    let script = script("watermark/example_append.stream");
    let mut seen = BTreeSet::new();
    for seed in 0..5 {
        let run = || {
            let (played, traces) =
                play(&script, case(3), Channels::Typed, Batons::new(seed)).expect("it starts");
            assert_eq!(played.failures, [], "seed={seed}");
            let traces: Vec<_> = traces.iter().map(ToString::to_string).collect();
            (played, traces.join("\n"))
        };
        let (first, trace) = run();
        for _again in 1..5 {
            assert_eq!(run(), (first.clone(), trace.clone()), "seed={seed}");
        }
        seen.insert(trace);
    }
    assert_eq!(seen.len(), 5, "another seed is another run");
}

/// Scripts whose answers must not depend on who moves when.
const SCRIPTS: &[&str] = &[
    "watermark/example_append.stream",
    "watermark/example_update.stream",
    "watermark/append_with_restart.stream",
    "watermark/late_mark_is_one_epoch_older.stream",
    "window/page_views_complete.stream",
    "window/with_a_second_key.stream",
    "aggregate/count_changes.stream",
    "aggregate/having_changes.stream",
    "restart/every_step_changes.stream",
    "restart/every_step_update.stream",
    "restart/other_workers.stream",
    "modes/three_queries_on_one_table.stream",
    "sliding/logs_append.stream",
    "sliding/one_of_two_windows_closed.stream",
    "session/merge_and_close.stream",
    "union/slowest_watermark_counts.stream",
    "union/two_counts.stream",
    "chain/window_of_windows.stream",
];

/// Plays schedules and says in a line what it did.
fn explore(schedules: u64, kills: usize) -> String {
    let first = number("MILLSTREAM_SEED", 0);
    let scripts: Vec<_> = SCRIPTS.iter().map(|name| (name, script(name))).collect();
    let mut traces = BTreeSet::new();
    let mut turns = 0;
    let schedules = number("MILLSTREAM_SCHEDULES", schedules);
    for seed in first..first + schedules {
        let mut random = Random::new(seed);
        let (name, script) = &scripts[random.below(scripts.len())];
        let case = case(1 + random.below(3));
        let batons = Batons::with_kills(random.draw(), kills);
        let channels = [Channels::Typed, Channels::Typed, Channels::Bytes][random.below(3)];
        let (played, run) = play(script, case, channels, batons).expect("it starts");
        assert_eq!(
            played.failures,
            [],
            "script={name} case={case:?} seed={seed} kills={kills}"
        );
        turns += run.iter().map(|trace| trace.turns.len()).sum::<usize>();
        traces.insert(run.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    assert!(
        traces.len() as u64 * 10 >= schedules * 9,
        "schedules differ"
    );
    format!("{} different runs, {turns} turns", traces.len())
}

/// proves P3: the answers are the same whoever moves when.
#[test]
fn answers_do_not_depend_on_the_schedule() {
    println!("{}", explore(120, 0));
}

/// proves P1, P6: the answers are the same wherever a query was killed.
#[test]
fn answers_do_not_depend_on_kills() {
    println!("{}", explore(120, 3));
}

/// Files of a folder, one epoch each: rows whose times go on, now and then a late one.
fn write_files(folder: &Path, files: u64) {
    fs::create_dir_all(folder).expect("invariant: the build folder is ours");
    let mut random = Random::new(7);
    for file in 0..files {
        let mut text = String::new();
        for _row in 0..3 + random.below(12) {
            let late = if random.below(6) == 0 { 30 } else { 0 };
            let second = (file * 7 + random.draw() % 9).saturating_sub(late);
            let key = ["a", "b", "c", "d"][random.below(4)];
            let (minute, second) = (second / 60, second % 60);
            let at = format!("2024-01-01T00:{minute:02}:{second:02}Z");
            let n = random.below(100);
            writeln!(text, r#"{{"at":"{at}","k":"{key}","n":{n}}}"#).expect("text grows");
        }
        let path = folder.join(format!("{file:03}.json"));
        fs::write(path, text).expect("invariant: the build folder is ours");
    }
}

/// Rows of each epoch, as text and sorted: workers have no order among them.
type Epochs = BTreeMap<u64, Vec<String>>;

struct InFlight {
    session: Session,
    clock: Arc<VirtualClock>,
    starts: usize,
}

impl InFlight {
    fn new(folder: &Path) -> InFlight {
        let session = Session::builder().build().expect("a session");
        let table = format!(
            "CREATE TABLE e (at TIMESTAMP, k STRING, n BIGINT,
               WATERMARK FOR at AS at - INTERVAL '5' SECOND)
             WITH (connector = 'file', format = 'json', maxFilesPerTrigger = '1', path = '{}')",
            folder.display()
        );
        session.execute(&table).expect("a table");
        let clock = Arc::new(VirtualClock::new(1_704_067_200_000));
        InFlight {
            session,
            clock,
            starts: 0,
        }
    }

    /// What each epoch brings. With numbers to draw from it runs under schedules, and is killed and
    /// started again from its checkpoint.
    fn run(
        &mut self,
        (sql, mode): (&str, OutputMode),
        (trigger, open_epochs_max, workers): (Trigger, usize, usize),
        mut random: Option<Random>,
    ) -> Epochs {
        self.starts += 1;
        let name = format!("q{}", self.starts);
        let mut settings = SessionSettings {
            trigger,
            open_epochs_max,
            workers,
            clock: self.clock.clone() as Arc<dyn Clock>,
            ..SessionSettings::default()
        };
        let checkpoint = Checkpoint::Disk(Arc::new(SimDisk::new()));
        for start in 0.. {
            let baton = random.as_mut().map(|random| {
                // The clock stands still: a snapshot comes after every epoch or at the end.
                settings.snapshot_interval = Duration::from_millis(random.draw() % 2);
                let seed = random.draw();
                let baton = Baton::new(seed, Policy::of(seed, workers));
                match start {
                    0..3 => Arc::new(baton.kill_at(random.below(300))),
                    _ => Arc::new(baton),
                }
            });
            settings.schedule = baton.clone().map(|baton| baton as _);
            let frame = self.session.sql(sql).expect("a frame").write_stream();
            let writer = frame.format("memory").query_name(&name).output_mode(mode);
            let query = writer
                .checkpoint(checkpoint.clone())
                .start_with(settings.clone());
            let query = query.expect("it starts");
            let rest = || {
                let stuck = baton.as_ref().and_then(|baton| baton.rest().err());
                assert!(
                    stuck.is_none(),
                    "{}",
                    stuck.map_or_else(String::new, |s| s.to_string())
                );
            };
            rest();
            if trigger == Trigger::Default {
                query.process_all_available_blocking().expect("it runs");
                rest();
                query.request_stop();
            }
            query.await_termination_blocking(None).expect("it ends");
            if !baton.is_some_and(|baton| baton.has_killed()) {
                break;
            }
        }
        let mut epochs = Epochs::new();
        for signed in self.session.memory().read(&name) {
            let rows = rows_of_batch(&signed.rows);
            let rows = rows.iter().map(|row| format!("{row:?}"));
            epochs.entry(signed.epoch.0).or_default().extend(rows);
        }
        self.session.memory().drop_output(&name);
        epochs.values_mut().for_each(|rows| rows.sort());
        epochs
    }
}

/// proves P3: with several epochs in flight each epoch brings what it brings alone.
#[test]
fn epochs_in_flight_do_not_touch_each_other() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("in-flight");
    write_files(&folder, 16);
    let mut host = InFlight::new(&folder);
    let windows = "SELECT window(at, '10 seconds').start AS s, k, count(*) AS c, sum(n) AS n
        FROM e GROUP BY window(at, '10 seconds'), k";
    let queries = [
        (windows, OutputMode::Append),
        (windows, OutputMode::Update),
        (
            "SELECT at, upper(k) AS k, n * 2 AS n FROM e WHERE n > 20",
            OutputMode::Append,
        ),
    ];
    let alone = queries.map(|query| host.run(query, (Trigger::AvailableNow, 1, 1), None));
    assert!(
        alone.iter().all(|epochs| epochs.len() > 5),
        "epochs bring rows: {alone:?}"
    );
    let first = number("MILLSTREAM_SEED", 0);
    for seed in first..first + number("MILLSTREAM_SCHEDULES", 60) {
        let mut random = Random::new(seed);
        let query = random.below(queries.len());
        let trigger = [Trigger::AvailableNow, Trigger::Default][random.below(2)];
        let (open, workers) = (2 + random.below(6), 1 + random.below(3));
        let run = host.run(queries[query], (trigger, open, workers), Some(random));
        assert_eq!(
            run, alone[query],
            "seed={seed} query={query} {trigger:?} open={open}"
        );
    }
}

/// A lost wake-up is found, with the seed that leads to it, and the test that waits is told.
#[test]
fn a_query_that_can_go_no_further_is_shown() {
    let baton = Baton::new(3, Policy::Uniform);
    let (coordinator, worker) = (Participant::Planner, Participant::Worker(0));
    baton.begin(&[coordinator, worker]);
    let is_stopped = AtomicBool::new(false);
    let work = |turn, idle| if turn < Some(10) { Work::Done } else { idle };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut turns = 0..;
            while baton.turn(coordinator, work(turns.next(), Work::Waiting)) == Turn::Go {}
            is_stopped.store(true, Ordering::SeqCst);
            baton.leave(coordinator);
        });
        scope.spawn(|| {
            let mut turns = 0..;
            while !is_stopped.load(Ordering::SeqCst) {
                baton.turn(worker, work(turns.next(), Work::Nothing));
            }
            baton.leave(worker);
        });
        let stuck = baton.rest().expect_err("it is stuck").to_string();
        assert!(
            stuck.starts_with("nobody can do anything and somebody waits seed=3 "),
            "{stuck}"
        );
        assert!(stuck.contains("waiting=[Planner]"), "{stuck}");
    });
}
