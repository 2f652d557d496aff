//! Every function that depends on more than its arguments gives the same bytes in every run.
//!
//! How rows are cut into batches, when a query is killed and with how many workers it goes on are drawn
//! from seeds. A volatile name of the catalogue without a call here fails the test.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int32Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use millstream::{Channels, OutputMode};
use millstream_testkit::{
    baton::Random,
    host::SessionHost,
    script::{ScriptHost, Value, rows_of_batch},
};

const STEPS: usize = 3;
/// Rows of a step.
const ROWS: usize = 40;
const RUNS: u64 = 12;

/// Names of the catalogue with calls of them. All columns are there in both queries below.
const CALLS: &[(&str, &[&str])] = &[
    ("rand", &["rand()", "rand()", "rand(7)"]),
    ("randn", &["randn()", "randn(-1)"]),
    ("random", &["random()", "random(7)"]),
    ("randstr", &["randstr(8)", "randstr(n % 3 + 1, 2)"]),
    (
        "shuffle",
        &["shuffle(sequence(1, 6))", "shuffle(array(n, 2, 3), 5)"],
    ),
    ("uniform", &["uniform(1, 1000000)", "uniform(n, 0.5, 3)"]),
    ("uuid", &["uuid()", "uuid(1)"]),
];

const CLOCK: &[(&str, &[&str])] = &[
    ("curdate", &["curdate()"]),
    ("current_date", &["current_date()"]),
    ("current_timestamp", &["current_timestamp()"]),
    ("localtimestamp", &["localtimestamp()"]),
    ("now", &["now()", "unix_timestamp()"]),
    ("today", &["today()"]),
];

fn list(of: &[&[(&str, &[&str])]]) -> String {
    let calls = of.iter().flat_map(|part| part.iter());
    let calls = calls.flat_map(|(_, calls)| calls.iter());
    calls
        .enumerate()
        .map(|(at, call)| format!(", {call} AS c{at}"))
        .collect()
}

fn batch(rows: &[i32]) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("n", DataType::Int32, true)]);
    let column: ArrayRef = Arc::new(Int32Array::from(rows.to_vec()));
    RecordBatch::try_new(Arc::new(schema), vec![column]).expect("one column")
}

/// A value with the bits of its doubles.
fn text(value: &Value) -> String {
    if let Value::Float(number) = value {
        return format!("{:x}", number.to_bits());
    }
    format!("{value:?}")
}

/// Rows of each step, sorted.
type Answer = Vec<Vec<(Vec<String>, i64)>>;

fn answer(mode: OutputMode, sql: &str, seed: u64) -> Answer {
    let mut chances = Random::new(seed);
    let workers = 1 + chances.below(3);
    let channels = [Channels::Typed, Channels::Bytes][chances.below(2)];
    let mut host = SessionHost::new(channels).expect("it starts");
    host.statement("CREATE TABLE t (n INT) WITH (connector = 'memory')")
        .expect("a table");
    host.start("q", mode, sql, workers)
        .unwrap_or_else(|fault| unreachable!("{fault:?}: {sql}"));
    let rows: Vec<i32> = (0..17).cycle().take(ROWS).collect();
    let mut steps = Vec::new();
    for _step in 0..STEPS {
        let mut left = rows.as_slice();
        while !left.is_empty() {
            let (block, rest) = left.split_at(left.len().min(1 + chances.below(ROWS)));
            host.add("t", batch(block)).expect("it takes rows");
            left = rest;
        }
        host.advance(1_500_000).expect("time goes on");
        host.run().unwrap_or_else(|fault| unreachable!("{fault:?}"));
        let mut seen = Vec::new();
        for (batch, signs) in &host.take("q").expect("it is there").rows {
            for (at, row) in rows_of_batch(batch).iter().enumerate() {
                let sign = signs.as_ref().map_or(1, |signs| signs.value(at));
                seen.push((row.iter().map(text).collect(), sign));
            }
        }
        seen.sort();
        steps.push(seen);
        if chances.below(2) == 0 {
            let workers = 1 + chances.below(3);
            host.restart("q", workers, None).expect("it comes back");
        }
    }
    steps
}

fn same_in_every_run(mode: OutputMode, sql: &str) -> Answer {
    let first = answer(mode, sql, 0);
    for seed in 1..=RUNS {
        assert!(answer(mode, sql, seed) == first, "run {seed} of {sql}");
    }
    first
}

#[test]
fn every_volatile_name_of_the_catalogue_has_a_call() {
    let mut names: Vec<String> = millstream::list_functions()
        .into_iter()
        .filter(|function| function.volatile)
        .map(|function| function.name)
        .collect();
    names.sort();
    let mut known: Vec<&str> = CALLS.iter().chain(CLOCK).map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(names, known);
}

/// Rows of a source: each draws for itself, in each call. proves P3, INV-02
#[test]
fn rows_of_a_source_draw_the_same_in_every_run() {
    let sql = format!(
        "SELECT n{} FROM t WHERE rand() < 0.9",
        list(&[CALLS, CLOCK])
    );
    let first = same_in_every_run(OutputMode::Append, &sql);
    let all: Vec<&Vec<String>> = first.iter().flatten().map(|(row, _)| row).collect();
    assert!(all.len() > 90 && all.len() < 120, "{} rows", all.len());
    for (at, row) in all.iter().enumerate() {
        assert_ne!(row[1], row[2], "two calls of one row");
        assert_eq!(row[3], row[7], "two calls with one seed");
        assert!(all[..at].iter().all(|other| other[1] != row[1]), "two rows");
    }
}

/// Rows of an aggregation: what is taken back was given. proves P3, INV-02
#[test]
fn what_is_taken_back_was_given() {
    let sql = format!(
        "SELECT n, c{} FROM (SELECT n, count(*) AS c FROM t GROUP BY n) WHERE rand() < 0.7",
        list(&[CALLS]).replace(" AS c", " AS d")
    );
    let first = same_in_every_run(OutputMode::Changes, &sql);
    let mut there: Vec<&Vec<String>> = Vec::new();
    for (step, rows) in first.iter().enumerate() {
        for (row, _) in rows.iter().filter(|(_, sign)| *sign < 0) {
            let at = there.iter().position(|given| *given == row);
            there.swap_remove(at.unwrap_or_else(|| panic!("step {step}: {row:?}")));
        }
        there.extend(
            rows.iter()
                .filter(|(_, sign)| *sign > 0)
                .map(|(row, _)| row),
        );
    }
    assert!((6..17).contains(&there.len()), "{} groups", there.len());
}
