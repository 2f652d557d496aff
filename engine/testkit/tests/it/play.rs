//! The runner itself: cases, comparison, errors that are asked for, restarts, rewriting.

use crate::host::{Toy, hosts};
use expect_test::{Expect, expect};
use millstream_testkit::script::{FileReport, Restarts, RunCase, parse, run_script, update};
use std::path::PathBuf;

const PLAIN: RunCase = RunCase {
    workers: 1,
    restarts: Restarts::AsWritten,
};

/// Plays the cases of one and two workers without a file.
fn report(text: &str) -> FileReport {
    let script = parse(text).expect("invariant: the script is right");
    let mut cases = Vec::new();
    for workers in [1, 2] {
        for restarts in [Restarts::AsWritten, Restarts::EveryEpoch] {
            let case = RunCase { workers, restarts };
            let mut host = hosts(&case).expect("invariant: a toy can always be made");
            cases.push((case, run_script(&script, case, host.as_mut()).failures));
        }
    }
    FileReport {
        path: PathBuf::from("toy.stream"),
        unreadable: None,
        cases,
        updated: false,
    }
}

fn check(text: &str, want: &Expect) {
    want.assert_eq(&report(text).to_string());
}

fn with_query(word: &str, mode: &str, rest: &str) -> String {
    format!("statement\ntable t\n\nquery q {mode}\n{word} t\n\n{rest}")
}

#[test]
fn rows_compare_as_a_multiset_with_tolerance() {
    let text = with_query(
        "pass",
        "append",
        "input t\na | 0.3\nb | 1\n\ninput t\na | 0.3\n\nexpect q\na | 0.30000000000000004\nb | 1.0\na | 0.3\n\nexpect q\n(none)\n",
    );
    check(&text, &expect!["ok      toy.stream (4 cases)"]);
}

#[test]
fn other_rows_are_shown_once_with_the_cases_that_share_them() {
    let text = with_query(
        "pass",
        "append",
        "input t\na | 1\nb | 2\nb | 2\n\nexpect q late=1 state=0\na | 1.0\nb | 2.0\nc | 3.0\n",
    );
    check(
        &text,
        &expect![[r#"
        FAILED  toy.stream (4 of 4 cases)
          toy.stream:12 [all cases]
            query q gives other rows (- expected, + got)
              a | 1.0
              b | 2.0
            - c | 3.0
            + b | 2.0
          toy.stream:12 [all cases]
            expected late=1, got late=0"#]],
    );
}

#[test]
fn an_answer_that_depends_on_workers_is_found() {
    let text = with_query("doubled", "append", "input t\na | 1\n\nexpect q\na | 1.0\n");
    check(
        &text,
        &expect![[r#"
        FAILED  toy.stream (2 of 4 cases)
          toy.stream:10 [2 workers; 2 workers, restart after every epoch]
            query q gives other rows (- expected, + got)
              a | 1.0
            + a | 1.0"#]],
    );
}

#[test]
fn order_counts_only_where_it_is_asked_for() {
    let rows = "input t\na | 1\nb | 2\nc | 3\n\nexpect q ordered\na | 1.0\nc | 3.0\nb | 2.0\n";
    check(
        &with_query("pass", "append", rows),
        &expect![[r#"
        FAILED  toy.stream (4 of 4 cases)
          toy.stream:12 [all cases]
            query q gives other rows (- expected, + got)
              a | 1.0
            - c | 3.0
            - b | 2.0
            + b | 2.0
            + c | 3.0"#]],
    );
    check(
        &with_query("pass", "append", &rows.replace(" ordered", "")),
        &expect!["ok      toy.stream (4 cases)"],
    );
}

#[test]
fn changes_carry_their_signs() {
    let text = with_query(
        "count",
        "changes",
        "input t\na | 1\n\nexpect q state=1\n+ 1\n\ninput t\na | 1\n\nexpect q\n+ 2\n- 1\n",
    );
    check(&text, &expect!["ok      toy.stream (4 cases)"]);
}

#[test]
fn errors_that_are_asked_for_pass_and_others_do_not() {
    check(
        "statement error PARSE_SYNTAX_ERROR\nx\n\nstatement\ntable t\n\nquery q complete error STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION\npass t\n\nquery r append error EXE-001\nfail t\n\nquery s append\npass t\n\ninput t\na | 1\n\nexpect s\na | 1.0\n",
        &expect!["ok      toy.stream (4 cases)"],
    );
    check(
        "query q append error EXE-001\nfail t\n",
        &expect!["ok      toy.stream (4 cases)"],
    );
    check(
        "statement error SQL-001\ntable t\n\nquery q complete error SQL-007\npass t\n\nquery r append error SQL-020\npass t\n",
        &expect![[r#"
        FAILED  toy.stream (4 of 4 cases)
          toy.stream:1 [all cases]
            expected error SQL-001, but it succeeded
          toy.stream:4 [all cases]
            expected error SQL-007, got another
            error SQL-020 [STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION]: pass is no aggregation
          toy.stream:7 [all cases]
            expected error SQL-020, but query r starts and runs"#]],
    );
}

#[test]
fn a_fault_nobody_asked_for_ends_the_play() {
    check(
        &with_query("fail", "append", "run\n\nexpect q\n(none)\n"),
        &expect![[r#"
        FAILED  toy.stream (4 of 4 cases)
          toy.stream:7 [all cases]
            error EXE-001: division by zero"#]],
    );
    check(
        "statement\ntable t\n\ninput t\na | b\n",
        &expect![[r#"
        FAILED  toy.stream (4 of 4 cases)
          toy.stream:4 [all cases]
            error SCR-001: column n: no value of type Float64 (line 5, column 5)"#]],
    );
}

#[test]
fn restarts_come_after_every_epoch_and_keep_the_workers_of_the_script() {
    let text = with_query(
        "pass",
        "append",
        "run\n\nrestart q workers=3 after=plan\n\nadvance 2 seconds\n\nexpect q\n(none)\n",
    );
    let script = parse(&text).expect("invariant: the script is right");
    let mut toy = Toy::default();
    let case = RunCase {
        workers: 2,
        restarts: Restarts::EveryEpoch,
    };
    assert!(run_script(&script, case, &mut toy).failures.is_empty());
    expect!["start q append workers=2, run, restart q workers=2, restart q workers=3 after=plan, advance 2000000, run, restart q workers=3"]
        .assert_eq(&toy.calls.join(", "));
}

#[test]
fn update_rewrites_rows_and_counters_and_nothing_else() {
    let text = with_query(
        "pass",
        "append",
        "# kept\ninput t\nb|2\na   |  0.1\n\nexpect  q  late=7   state=0\n# kept too\nwrong\n# and this\n\nexpect q\n(none)\n\ninput t\na | 1\n\nexpect q\n a  |  1.0000000000001\n\ninput t\nz | 1\n\nexpect q",
    );
    let script = parse(&text).expect("invariant: the script is right");
    let played = run_script(&script, PLAIN, &mut Toy::default());
    let once = update(&text, &script, &played.observations);
    expect![[r#"
        statement
        table t

        query q append
        pass t

        # kept
        input t
        b|2
        a   |  0.1

        expect  q  late=0   state=0
        # kept too
        # and this
        a | 0.1
        b | 2.0

        expect q
        (none)

        input t
        a | 1

        expect q
         a  |  1.0000000000001

        input t
        z | 1

        expect q
        z | 1.0
    "#]]
    .assert_eq(&once);
    let script = parse(&once).expect("invariant: an update is a script");
    let played = run_script(&script, PLAIN, &mut Toy::default());
    assert!(played.failures.is_empty());
    assert_eq!(update(&once, &script, &played.observations), once);
    let windows = text.replace('\n', "\r\n");
    let script = parse(&windows).expect("invariant: line ends do not matter");
    let played = run_script(&script, PLAIN, &mut Toy::default());
    assert_eq!(
        update(&windows, &script, &played.observations),
        once.replace('\n', "\r\n")
    );
}
