//! A case as a stream script, with the answers of the oracle as its expectations.

use std::fmt::Write as _;

use millstream_types::OutputMode;

use super::{
    case::{Case, Row, TABLES},
    check::{is_sorted, refusal},
    engine::{FASTEST, NO_DATA_EPOCHS_OFF, Seen},
    sql,
};
use crate::script::Value;

/// The script; without answers its expectations are left for `--update`.
#[must_use]
pub fn script(case: &Case, idea: &str, answers: Option<&[Seen]>) -> String {
    let mut text = String::new();
    for line in idea.lines() {
        let _ = writeln!(text, "# {line}");
    }
    if !case.no_data_epochs {
        let _ = write!(text, "\nstatement\n{NO_DATA_EPOCHS_OFF}\n");
    }
    if case.fastest {
        let _ = write!(text, "\nstatement\n{FASTEST}\n");
    }
    let tables = case.tables().into_iter();
    let tables = tables.map(|table| sql::create_table(case, table));
    for statement in tables.chain(sql::late_rows(case)) {
        let _ = write!(text, "\nstatement\n{statement}\n");
    }
    let refused = refusal(case)
        .map(|code| format!(" error {code}"))
        .unwrap_or_default();
    let _ = write!(
        text,
        "\nquery q {}{refused}\n{}\n",
        case.mode,
        sql::select(&case.query)
    );
    for (idx, step) in case.steps.iter().enumerate() {
        if let Some(restart) = step.restart {
            let _ = write!(text, "\nrestart q workers={}", restart.workers);
            if let Some(point) = restart.after {
                let _ = write!(text, " after={point}");
            }
            text.push('\n');
        }
        for table in case.tables() {
            let mut rows = step.rows.iter().filter(|(of, _)| *of == table).peekable();
            if rows.peek().is_some() {
                let _ = writeln!(text, "\ninput {}", TABLES[table]);
            }
            for (_, row) in rows {
                let columns = case.query.table_columns(table).into_iter();
                let cells = columns.map(|column| row[column.position()].cell());
                let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join(" | "));
            }
        }
        if refused.is_empty() {
            text.push_str(&expectation(case, answers.map(|answers| &answers[idx])));
        }
    }
    text
}

fn expectation(case: &Case, answer: Option<&Seen>) -> String {
    let Some(answer) = answer else {
        return "\nexpect q\n".to_owned();
    };
    let ordered = if is_sorted(case) { " ordered" } else { "" };
    let state = answer.state.map(|state| format!(" state={state}"));
    let state = state.unwrap_or_default();
    let mut text = format!("\nexpect q{ordered} late={}{state}\n", answer.late);
    if answer.rows.is_empty() {
        text.push_str("(none)\n");
    }
    for (weight, row) in &answer.rows {
        let line = cells(row);
        let sign = if *weight < 0 { "- " } else { "+ " };
        let sign = if case.mode == OutputMode::Changes {
            sign
        } else {
            ""
        };
        for _ in 0..weight.unsigned_abs() {
            let _ = writeln!(text, "{sign}{line}");
        }
    }
    if case.keeps_late {
        let _ = writeln!(text, "\nexpect {}", sql::DROPPED);
        let lines = answer.dropped.iter().map(cells).collect::<Vec<_>>();
        let none = vec!["(none)".to_owned()];
        let lines = if lines.is_empty() { none } else { lines };
        let _ = writeln!(text, "{}", lines.join("\n"));
    }
    text
}

fn cells(row: &Row) -> String {
    row.iter().map(Value::cell).collect::<Vec<_>>().join(" | ")
}
