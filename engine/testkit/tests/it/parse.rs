//! What is a script and what is not.

use expect_test::{Expect, expect};
use millstream_testkit::script::{Step, parse};
use millstream_types::Coded as _;

fn refused(text: &str, want: &Expect) {
    want.assert_eq(
        &parse(text)
            .expect_err("invariant: the test gives a wrong script")
            .fault()
            .to_string(),
    );
}

#[test]
fn a_script_becomes_paragraphs_with_their_lines() {
    let text = "# idea\n\nstatement error SQL-001\nA\n# between\nB\n\nquery q changes\nS\n\ninput t\na | 1\n\n\
                expect q ordered late=2 state=0\n- a | 1\n+ \"b\" | 2\n\nrun\n\n\
                restart q after=stage workers=2\n\nadvance 5 seconds\n";
    let script = parse(text).expect("invariant: the script is right");
    let shown: Vec<_> = script
        .paragraphs
        .iter()
        .map(|p| {
            if let Step::Expect {
                query,
                order,
                counters,
                rows: Some(rows),
            } = &p.step
            {
                let signs: Vec<_> = rows.iter().map(|row| (row.line, row.sign)).collect();
                format!(
                    "{}: expect {query} {order:?} {counters:?} {signs:?}",
                    p.line
                )
            } else if let Step::Statement { sql, error } = &p.step {
                format!("{}: statement {sql:?} {error:?}", p.line)
            } else if let Step::Input { table, rows } = &p.step {
                format!("{}: input {table} {}", p.line, rows.len())
            } else {
                format!("{}: {:?}", p.line, p.step)
            }
        })
        .collect();
    expect![[r#"
        3: statement "A\n\nB" Some("SQL-001")
        8: Query { name: "q", mode: Changes, sql: "S", error: None }
        11: input t 1
        14: expect q AsWritten Counters { late: Some(2), state: Some(0) } [(15, Some(Minus)), (16, Some(Plus))]
        18: Run
        20: Restart { query: "q", workers: Some(2), after: Some(Stage) }
        22: Advance { interval: Interval { months: 0, micros: 5000000 } }"#]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn what_is_no_script_says_where_and_what_would_be_right() {
    refused(
        "statment\nX",
        &expect![
            "error SCR-001: no paragraph begins with \"statment\"; did you mean statement? (line 1, column 1)"
        ],
    );
    refused(
        "statement",
        &expect!["error SCR-001: SQL must follow in the next line (line 1, column 1)"],
    );
    refused(
        "query q often\nX",
        &expect![
            "error SCR-001: unknown output mode \"often\": use append, update, complete or changes (line 1, column 9)"
        ],
    );
    refused(
        "query q",
        &expect![
            "error SCR-001: expected an output mode: append, update, complete or changes (line 1, column 8)"
        ],
    );
    refused(
        "\n\ninput t",
        &expect!["error SCR-001: input needs at least one row (line 3, column 1)"],
    );
    refused(
        "input t\na | ",
        &expect![
            "error SCR-001: the cell is empty: write null, or \"\" for an empty text (line 2, column 4)"
        ],
    );
    refused(
        "expect q\n(none)",
        &expect!["error SCR-001: no query above has the name \"q\" (line 1, column 8)"],
    );
    let query = "query q changes\nX\n\n";
    refused(
        &format!("{query}expect q\na"),
        &expect!["error SCR-001: a row of a changes query begins with + or - (line 5, column 1)"],
    );
    refused(
        &format!("{query}expect q late=x\n(none)"),
        &expect!["error SCR-001: \"late=x\" needs a whole number (line 4, column 10)"],
    );
    refused(
        &format!("{query}expect q late=1 late=1\n(none)"),
        &expect!["error SCR-001: \"late=1\" stands twice (line 4, column 17)"],
    );
    refused(
        &format!("{query}restart q after=lunch"),
        &expect!["error SCR-001: after= needs plan, stage, commit or snapshot (line 4, column 11)"],
    );
    refused(
        &format!("{query}restart q workers=0"),
        &expect!["error SCR-001: workers= needs a number of at least 1 (line 4, column 11)"],
    );
    refused(
        "run now",
        &expect!["error SCR-001: \"now\" is one word too many (line 1, column 5)"],
    );
    refused(
        "run\nnow",
        &expect!["error SCR-001: an empty line must end this paragraph (line 2, column 1)"],
    );
    refused(
        "advance 1 month",
        &expect![
            "error SCR-001: the clock moves by a positive length without months (line 1, column 9)"
        ],
    );
}
