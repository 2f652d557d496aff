//! New answers put into a script, every other byte left as it is.

use super::{
    parse::{Order, Script, Step, is_comment},
    play::Observation,
};
use std::collections::BTreeMap;

/// The text of a script with the rows and counters that were observed. An expectation that holds keeps
/// its rows as they are written; a counter is only changed where the script has one.
#[must_use]
pub fn update(text: &str, script: &Script, observations: &[Observation]) -> String {
    let mut wanted: BTreeMap<u64, (&Observation, Vec<Counter>)> = BTreeMap::new();
    for paragraph in &script.paragraphs {
        if let Step::Expect { counters, .. } = &paragraph.step
            && let Some(observation) = observations.iter().find(|o| o.line == paragraph.line)
        {
            let late = counters.late.map(|_| ("late=", observation.late));
            let state = counters.state.map(|_| ("state=", observation.state));
            wanted.insert(
                paragraph.line,
                (observation, late.into_iter().chain(state).collect()),
            );
        }
    }
    // The last line may have no end of its own, so the file decides.
    let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut out = String::with_capacity(text.len());
    let mut number = 0u64;
    let mut rest = lines.into_iter().peekable();
    while let Some(line) = rest.next() {
        number += 1;
        let Some((observation, counters)) = wanted.get(&number) else {
            out.push_str(line);
            continue;
        };
        out.push_str(&with_counters(line, counters));
        if observation.as_expected {
            continue;
        }
        if !line.ends_with('\n') {
            out.push_str(ending);
        }
        // Comments between rows stay, above the new rows.
        while let Some(old) = rest.next_if(|line| !line.trim().is_empty()) {
            number += 1;
            if is_comment(old) {
                out.push_str(old);
                if !old.ends_with('\n') {
                    out.push_str(ending);
                }
            }
        }
        for row in rows(observation) {
            out.push_str(row);
            out.push_str(ending);
        }
    }
    out
}

fn rows(observation: &Observation) -> Vec<&str> {
    if observation.rows.is_empty() {
        return vec!["(none)"];
    }
    let mut rows: Vec<_> = observation.rows.iter().collect();
    if observation.order == Order::Any {
        // A change beside its retraction, the retraction first.
        rows.sort_by_key(|(sign, text)| (text.trim_start_matches(['+', '-']), *sign));
    }
    rows.into_iter().map(|(_, text)| text.as_str()).collect()
}

/// A counter as it stands in the header, and its new value.
type Counter = (&'static str, u64);

fn with_counters(line: &str, counters: &[Counter]) -> String {
    let mut line = line.to_owned();
    for (name, value) in counters {
        let word = line
            .match_indices(name)
            .find(|(at, _)| line[..*at].ends_with(char::is_whitespace));
        if let Some(at) = word.map(|(at, _)| at + name.len()) {
            let digits = line[at..].chars().take_while(char::is_ascii_digit).count();
            line.replace_range(at..at + digits, &value.to_string());
        }
    }
    line
}
