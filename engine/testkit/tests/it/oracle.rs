//! Random queries on the engine and by another way.

use millstream_testkit::{
    oracle::{
        Case, Dice, Grammar, Mismatch, Oracle, Verdict, check,
        engine::{self, Played, Seen},
        grammar, print, relations, shrink,
    },
    script::Value,
};
use millstream_types::OutputMode;

/// How many cases a normal run plays.
const CASES: u64 = 300;
/// The first seed of a normal run.
const SEED: u64 = 0x5EED_0000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// What may be in a case: `MILLSTREAM_GRAMMAR=all` adds what the engine is known to answer otherwise.
fn grammar_of_run() -> Grammar {
    let all = std::env::var("MILLSTREAM_GRAMMAR").is_ok_and(|word| word == "all");
    if all { Grammar::ALL } else { Grammar::TODAY }
}

/// A failing case as small as it gets, as a script.
fn report(oracle: &Oracle, seed: u64, mismatch: &Mismatch) -> String {
    let case = grammar::case(seed, grammar_of_run());
    let mut still_fails = |case: &_| {
        oracle
            .judge(case)
            .is_err_and(|other| other.kind == mismatch.kind)
    };
    let small = if number("MILLSTREAM_SHRINK", 1) == 0 {
        case
    } else {
        shrink::shrink(&case, &mut still_fails)
    };
    let answers = oracle.expected(&small).ok();
    let last = oracle
        .judge(&small)
        .err()
        .unwrap_or_else(|| mismatch.clone());
    let idea = format!("seed={seed} bytes={} {last}", small.bytes);
    print::script(&small, &idea, answers.as_deref())
}

/// proves P1, P3, P4, P5: incremental = batch over the accepted prefix, for random queries, data,
/// splits, workers and restarts.
#[test]
fn random_queries_answer_as_batch_does() {
    let oracle = Oracle::new().expect("a runtime");
    let first = number("MILLSTREAM_SEED", SEED);
    let cases = number("MILLSTREAM_CASES", CASES);
    println!("oracle: MILLSTREAM_SEED={first} MILLSTREAM_CASES={cases}");
    let mut failures = Vec::new();
    let (mut refused, mut rows, mut late) = (0, 0, 0);
    for seed in first..first + cases {
        match oracle.judge(&grammar::case(seed, grammar_of_run())) {
            Ok(Verdict::Refused) => refused += 1,
            Ok(Verdict::Same {
                rows: more,
                late: later,
            }) => {
                rows += more;
                late += later;
            }
            Err(mismatch) => {
                println!("oracle: seed={seed} {mismatch}");
                failures.push((seed, mismatch));
            }
        }
    }
    println!(
        "oracle: refused={refused} rows={rows} late={late} failed={}",
        failures.len()
    );
    let shown = usize::try_from(number("MILLSTREAM_SHOW", 3)).unwrap_or(3);
    let scripts: Vec<String> = failures
        .iter()
        .take(shown)
        .map(|(seed, mismatch)| report(&oracle, *seed, mismatch))
        .collect();
    assert!(failures.is_empty(), "{}", scripts.join("\n----\n"));
    assert!(
        rows > 0 && late > 0 && refused > 0,
        "the cases are worth their time"
    );
}

/// Relations between answers that need no oracle.
#[test]
fn relations_between_answers_hold() {
    let first = number("MILLSTREAM_SEED", SEED);
    let cases = number("MILLSTREAM_CASES", CASES) / 15;
    println!("relations: MILLSTREAM_SEED={first} cases={cases}");
    for seed in first..first + cases {
        for relation in [
            relations::by_condition,
            relations::by_key,
            relations::by_split,
        ] {
            if let Err(broken) = relation(seed) {
                let script = print::script(&broken.case, &format!("seed={seed} {broken}"), None);
                panic!("{script}");
            }
        }
    }
}

/// Another value, of the same kind where that is easy.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of all other kinds null is another value"
)]
fn other(value: &Value) -> Value {
    match value {
        Value::Null => Value::Int(1),
        Value::Int(number) => Value::Int(number + 1),
        Value::Bool(value) => Value::Bool(!value),
        Value::Float(number) if number.is_nan() => Value::Float(0.0),
        Value::Float(number) if number.abs() < 1.0 => Value::Float(number + 1e-6),
        Value::Float(number) => Value::Float(number * 1.000_001),
        Value::Text(text) => Value::Text(format!("{text}x")),
        Value::Timestamp(nanos) => Value::Timestamp(nanos + 1_000),
        _ => Value::Null,
    }
}

/// What a broken engine might have answered, with the name of the mistake.
fn mistakes(got: &[Seen], dice: &mut Dice) -> Vec<(&'static str, Vec<Seen>)> {
    let steps: Vec<usize> = (0..got.len())
        .filter(|step| !got[*step].rows.is_empty())
        .collect();
    let step = steps[dice.below(steps.len())];
    let row = dice.below(got[step].rows.len());
    let cell = dice.below(got[step].rows[row].1.len());
    let with = |change: &dyn Fn(&mut Seen)| {
        let mut wrong = got.to_vec();
        change(&mut wrong[step]);
        wrong
    };
    vec![
        (
            "a cell",
            with(&|seen| {
                let value = &mut seen.rows[row].1[cell];
                *value = other(value);
            }),
        ),
        ("a row lost", with(&|seen| drop(seen.rows.remove(row)))),
        (
            "a row twice",
            with(&|seen| seen.rows.push(seen.rows[row].clone())),
        ),
        ("a sign", with(&|seen| seen.rows[row].0 *= -1)),
        ("one more late", with(&|seen| seen.late += 1)),
        (
            "one more held",
            with(&|seen| seen.state = seen.state.map(|held| held + 1)),
        ),
        (
            "one more kept as late",
            with(&|seen| seen.dropped.push(vec![Value::Int(77)])),
        ),
        ("too early", {
            let mut wrong = got.to_vec();
            let moved = wrong[step].rows.remove(row);
            let place = if step == 0 { got.len() - 1 } else { step - 1 };
            wrong[place].rows.push(moved);
            wrong
        }),
    ]
}

/// A test of the test: each mistake in an answer is noticed, in each mode.
#[test]
fn the_oracle_notices_mistakes() {
    let oracle = Oracle::new().expect("a runtime");
    let modes = [
        OutputMode::Append,
        OutputMode::Update,
        OutputMode::Complete,
        OutputMode::Changes,
    ];
    for mode in modes {
        let mut judged = 0;
        for seed in SEED.. {
            let case = grammar::case(seed, Grammar::TODAY);
            if case.mode != mode || case.groups().is_none() || case.steps.len() < 2 {
                continue;
            }
            judged += u32::from(notices_all(&oracle, &case, seed));
            if judged == 5 {
                break;
            }
        }
    }
}

/// False if the case has no row that could be wrong.
fn notices_all(oracle: &Oracle, case: &Case, seed: u64) -> bool {
    let Played::Ran(schema, got) = engine::play(case) else {
        return false;
    };
    if got.iter().all(|seen| seen.rows.is_empty()) {
        return false;
    }
    let want = oracle.expected(case).expect("an answer");
    assert_eq!(
        check::check(case, &schema, &want, &got),
        Ok(()),
        "seed={seed}"
    );
    for (mistake, wrong) in mistakes(&got, &mut Dice::new(seed)) {
        // Where nothing is said about the state, nothing can be wrong about it.
        if mistake == "one more held" && want.iter().any(|seen| seen.state.is_none()) {
            continue;
        }
        let noticed = check::check(case, &schema, &want, &wrong);
        let mode = case.mode;
        assert!(
            noticed.is_err(),
            "{mistake} unnoticed: seed={seed} mode={mode}\n{got:?}\n{wrong:?}"
        );
    }
    true
}

/// A case that fails for one reason loses everything that has nothing to do with it.
#[test]
fn a_failing_case_shrinks_to_what_matters() {
    let has_late = |case: &Case| {
        let answers = Oracle::new()
            .ok()
            .and_then(|oracle| oracle.expected(case).ok());
        check::refusal(case).is_none()
            && answers.is_some_and(|answers| answers.iter().any(|seen| seen.late > 0))
    };
    let case = (SEED..)
        .map(|seed| grammar::case(seed, Grammar::TODAY))
        .find(has_late);
    let case = case.expect("a case with a late row");
    let small = shrink::shrink(&case, &mut |case: &Case| has_late(case));
    let rows: usize = small.steps.iter().map(|step| step.rows.len()).sum();
    assert!(rows <= 2, "{}", print::script(&small, "not small", None));
    assert_eq!(
        small
            .groups()
            .map(|groups| (groups.keys.len(), groups.calls.len())),
        Some((0, 1))
    );
    let script = print::script(&small, "Shrunk.", None);
    let parsed = millstream_testkit::script::parse(&script);
    assert!(parsed.is_ok(), "{script}");
}
