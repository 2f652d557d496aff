//! Real queries under seeded schedules.
//!
//! `MILLSTREAM_SCHEDULES` says how many schedules the tests that explore try; `MILLSTREAM_SEED` with
//! which seed they begin.

use std::{collections::BTreeSet, fs, path::PathBuf};

use millstream::{Channels, Fault};
use millstream_testkit::{
    baton::{Random, Trace},
    host::{Batons, SessionHost},
    script::{Played, Restarts, RunCase, Script, parse, run_script},
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

fn play(script: &Script, case: RunCase, batons: Batons) -> Result<(Played, Vec<Trace>), Fault> {
    let mut host = SessionHost::with_batons(Channels::Typed, batons)?;
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
            let (played, traces) = play(&script, case(3), Batons::new(seed)).expect("it starts");
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
        let (played, run) = play(script, case, batons).expect("it starts");
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
