//! `docs/errors.md`: made from the catalogue, never written by hand.

use crate::repo::{Repo, Report};
use millstream_types::Class;
use millstream_types::errors::CATALOGUE;
use std::fmt::Write as _;

const PAGE: &str = "docs/errors.md";

const HEAD: &str = "\
# Error codes

<!-- Made by `cargo xtask errors --write` from engine/types/src/errors/catalogue.rs. Do not edit. -->

Every error that Millstream shows begins with a code. The code is stable and never used again for
something else; scripts can rely on it. Where Spark has an error condition for the case, its name
stands behind the code. `millstream errors CODE` shows the same text offline.

The class says what happens next, and with which exit code the command ends:

| class | what happens next | exit code |
|---|---|---|
";

/// What the exit codes say beyond the classes.
const EXITS: &str = "
A few say more than their class: a wrong statement (`SQL-…`, but for an unknown setting) is 3, an
expression that fails while the query runs (`EXE-…` of class user) is 1, a script that cannot be read 2, one
that got another answer 4, and 141 is an output whose reader has gone away (`CON-020`), as shells have it.
Exit code 0 means that everything that was asked for was done; 2 also stands for wrong arguments, and 130
for an end by a second signal.
";

/// The group that a code's first letters stand for.
fn group(lead: &str) -> &str {
    match lead {
        "CKP" => "Checkpoints",
        "CON" => "Connectors",
        "EXE" => "Execution",
        "QRY" => "Queries",
        "SCR" => "Stream scripts",
        "SQL" => "SQL and plans",
        other => other,
    }
}

fn reaction(class: Class) -> &'static str {
    match class {
        Class::User => "the query stops; it or a setting must change",
        Class::Data => {
            "the record goes to the dead letters, or the query stops if its policy says so"
        }
        Class::External => {
            "something outside is not there: what a running query may do again it tries again with growing pauses (`millstream.retryFor`), a full disk without end; then, and at a start, it stops"
        }
        Class::Exhausted => "the query slows down or stops: a limit is reached",
        Class::Corrupt => "an older whole state is tried, then the query stops",
        Class::Fenced => "the process exits: another one owns the query now",
        Class::Bug => "the query stops; please report it",
    }
}

/// The page as text.
pub(crate) fn render() -> String {
    let mut page = HEAD.to_owned();
    for class in Class::ALL {
        // Writing to a String cannot fail.
        let (code, reaction) = (class.exit_code(), reaction(class));
        let _ = writeln!(page, "| {class} | {reaction} | {code} |");
    }
    page.push_str(EXITS);
    let mut lead = "";
    for entry in CATALOGUE {
        if &entry.code[..3] != lead {
            lead = &entry.code[..3];
            let _ = write!(page, "\n## {}\n", group(lead));
        }
        let _ = write!(page, "\n### {}", entry.code);
        if let Some(condition) = entry.condition {
            let _ = write!(page, " · `{condition}`");
        }
        let _ = write!(
            page,
            "\n\n**{}** (class: {})\n\n{}\n\nWhat to do: {}\n",
            sentence(entry.title),
            entry.class,
            entry.why,
            entry.action
        );
    }
    page
}

fn sentence(title: &str) -> String {
    let mut letters = title.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Fails if the page in the repository is not what the catalogue says.
pub(crate) fn check(repo: &Repo, report: &mut Report) {
    let have = repo.file(PAGE).map_or("", |f| f.text.as_str());
    let want = render();
    if have != want {
        let same = have.lines().zip(want.lines()).take_while(|(a, b)| a == b);
        let line = same.count() + 1;
        report.find(
            PAGE,
            line,
            "the page is stale; run `cargo xtask errors --write`",
        );
    }
}

/// Writes the page.
pub(crate) fn write(repo: &Repo) -> Result<(), String> {
    std::fs::write(repo.root.join(PAGE), render()).map_err(|e| format!("cannot write {PAGE}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_on_the_page() {
        let page = render();
        for entry in CATALOGUE {
            assert!(page.contains(&format!("### {}", entry.code)));
        }
    }
}
