//! What is promised is tested: invariants, promises and error codes, each traced to tests.

use crate::repo::{File, Repo, Report};
use millstream_types::errors::CATALOGUE;
use std::collections::{BTreeMap, BTreeSet};

/// Where invariants are defined.
const ARCHITECTURE: &str = "docs/ARCHITECTURE.md";
/// Where promises are defined.
const RELIABILITY: &str = "docs/reliability.md";
/// Section of `tidy.toml` with what has no test yet.
pub(crate) const OWED: &str = "owed";

/// Checks all three.
pub(crate) fn check(repo: &Repo, report: &mut Report) {
    invariants(repo, report);
    promises(repo, report);
    codes_exist(repo, report);
    codes_tested(repo, report);
}

/// Every `lead` followed by `digits` digits, such as `INV-07`.
fn ids<'a>(text: &'a str, lead: &'a str, digits: usize) -> impl Iterator<Item = &'a str> {
    text.match_indices(lead).filter_map(move |(at, _)| {
        let bytes = text.as_bytes();
        let end = at + lead.len() + digits;
        let number = bytes.get(at + lead.len()..end)?;
        let glued = at > 0 && bytes[at - 1].is_ascii_alphanumeric()
            || bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
        (!glued && number.iter().all(u8::is_ascii_digit)).then(|| &text[at..end])
    })
}

/// Places in tests where an id is named.
type Places<'a> = BTreeMap<String, (&'a str, usize)>;

fn named_in_tests<'a>(repo: &'a Repo, find: impl Fn(&'a str) -> Vec<String>) -> Places<'a> {
    let mut places = Places::new();
    // This tool's own tests talk about ids; only its run over the repository proves anything.
    let is_talk = |f: &&File| f.path.starts_with("xtask/") && f.path != "xtask/src/main.rs";
    for file in repo.files.iter().filter(|f| !is_talk(f)) {
        for (line, text) in file.test_lines() {
            for id in find(text) {
                places.entry(id).or_insert((&file.path, line));
            }
        }
    }
    places
}

/// Invariants that tests name.
pub(crate) fn tested_invariants(repo: &Repo) -> Places<'_> {
    named_in_tests(repo, |text| {
        ids(text, "INV-", 2).map(str::to_owned).collect()
    })
}

fn invariants(repo: &Repo, report: &mut Report) {
    let Some(page) = repo.file(ARCHITECTURE) else {
        report.find(ARCHITECTURE, 1, "the page is missing");
        return;
    };
    let mut defined = BTreeMap::new();
    for (line, text) in page.lines() {
        for id in ids(text, "INV-", 2) {
            defined.entry(id).or_insert(line);
        }
    }
    let tested = tested_invariants(repo);
    let owed = repo.texts(OWED, "invariants");
    for (id, line) in &defined {
        match (tested.contains_key(*id), owed.iter().any(|o| o == id)) {
            (false, false) => report.find(&page.path, *line, format!("no test names {id}")),
            (true, true) => report.note(settled(id)),
            _ => {}
        }
    }
    for file in &repo.files {
        let outside = !file.path.starts_with("xtask/") && file.path != page.path;
        for (line, text) in file.lines().filter(|_| outside) {
            for id in ids(text, "INV-", 2).filter(|id| !defined.contains_key(id)) {
                report.find(&file.path, line, format!("{id} is not in {ARCHITECTURE}"));
            }
        }
    }
}

fn settled(id: &str) -> String {
    format!("{id} has a test now; run `cargo xtask ratchet --write`")
}

/// Ids in `proves P1, P3 and P6`.
fn proved_ids(text: &str) -> Vec<String> {
    let Some((_, list)) = text.split_once("proves P") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for word in format!("P{list}").split([' ', ',', '.', ';', ':']) {
        let number = word.strip_prefix('P').unwrap_or_default();
        if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
            found.push(word.to_owned());
        } else if !["", "and"].contains(&word) {
            break;
        }
    }
    found
}

/// Rows `| P1 | promise | proof |`; the last cell is `not yet` or says how it is proved.
fn promises(repo: &Repo, report: &mut Report) {
    let Some(page) = repo.file(RELIABILITY) else {
        report.find(RELIABILITY, 1, "the page is missing");
        return;
    };
    let tested = named_in_tests(repo, proved_ids);
    let mut defined = BTreeSet::new();
    for (line, text) in page.lines() {
        let cells: Vec<&str> = text.trim_matches('|').split('|').map(str::trim).collect();
        let [id, _, proof] = cells.as_slice() else {
            continue;
        };
        if proved_ids(&format!("proves {id}")).is_empty() {
            continue;
        }
        defined.insert((*id).to_owned());
        let not_yet = proof.starts_with("not yet");
        match tested.get(*id) {
            None if !not_yet => report.find(
                &page.path,
                line,
                format!("no test says `proves {id}`; write the test or say `not yet` here"),
            ),
            Some((path, _)) if not_yet => {
                report.note(format!("{id} is proved in {path}; say so in {RELIABILITY}"));
            }
            _ => {}
        }
    }
    for (id, (path, line)) in tested {
        if !defined.contains(&id) {
            report.find(path, line, format!("promise {id} is not in {RELIABILITY}"));
        }
    }
}

/// A code in code, a script or a page is one of the catalogue.
fn codes_exist(repo: &Repo, report: &mut Report) {
    let known: BTreeSet<&str> = CATALOGUE.iter().map(|e| e.code).collect();
    let leads: BTreeSet<&str> = known.iter().map(|code| &code[..4]).collect();
    for file in repo.files.iter().filter(|f| !f.path.starts_with("xtask/")) {
        for (line, text) in file.lines() {
            let mentioned = leads.iter().flat_map(|lead| ids(text, lead, 3));
            let made = text
                .split("Code(\"")
                .skip(1)
                .filter_map(|r| r.split('"').next());
            for code in mentioned.chain(made).filter(|c| !known.contains(c)) {
                report.find(
                    &file.path,
                    line,
                    format!("error code {code} is not in the catalogue (engine/types/src/errors/catalogue.rs)"),
                );
            }
        }
    }
}

/// Tests that a code cannot be proved by: they read the catalogue itself.
fn is_catalogue(file: &File) -> bool {
    file.path.starts_with("engine/types/src/errors")
}

/// Codes that tests name, by themselves or by Spark's condition.
pub(crate) fn tested_codes(repo: &Repo) -> BTreeSet<&'static str> {
    let tests: String = repo
        .files
        .iter()
        .filter(|f| !is_catalogue(f) && !f.path.starts_with("xtask/"))
        .flat_map(File::test_lines)
        .fold(String::new(), |all, (_, line)| all + line + "\n");
    CATALOGUE
        .iter()
        .filter(|e| {
            let condition = e.condition.is_some_and(|c| tests.contains(c));
            condition || tests.contains(e.code)
        })
        .map(|e| e.code)
        .collect()
}

fn codes_tested(repo: &Repo, report: &mut Report) {
    let tested = tested_codes(repo);
    let owed = repo.texts(OWED, "codes");
    for entry in CATALOGUE {
        let is_owed = owed.iter().any(|o| o == entry.code);
        match (tested.contains(entry.code), is_owed) {
            (false, false) => report.find(
                "engine/types/src/errors/catalogue.rs",
                line_of_code(repo, entry.code),
                format!("no test provokes {}", entry.code),
            ),
            (true, true) => report.note(settled(entry.code)),
            _ => {}
        }
    }
    for code in owed
        .iter()
        .filter(|o| CATALOGUE.iter().all(|e| e.code != **o))
    {
        report.find(
            "tidy.toml",
            1,
            format!("[owed] names an unknown code {code}"),
        );
    }
}

fn line_of_code(repo: &Repo, code: &str) -> usize {
    let wanted = format!("\"{code}\"");
    repo.file("engine/types/src/errors/catalogue.rs")
        .and_then(|f| f.lines().find(|(_, text)| text.contains(&wanted)))
        .map_or(1, |(line, _)| line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::example;

    fn report(check: fn(&Repo, &mut Report), texts: &[(&str, &str)]) -> Vec<String> {
        let mut report = Report::default();
        check(&example(texts), &mut report);
        report.texts()
    }

    #[test]
    fn an_invariant_has_a_test_and_a_test_an_invariant() {
        let page = (ARCHITECTURE, "**INV-01** one\n**INV-02** two\n");
        let script = ("tests/stream/a.stream", "# INV-01 holds\n");
        assert_eq!(
            report(invariants, &[page, script]),
            ["docs/ARCHITECTURE.md:2: no test names INV-02"]
        );
        let owed = ("tidy.toml", "[owed]\ninvariants = [\"INV-02\"]");
        assert_eq!(report(invariants, &[page, script, owed]), [""; 0]);
        let code = ("a/src/lib.rs", "#[test]\nfn a() {} // INV-09\n");
        assert_eq!(report(invariants, &[page, script, owed, code]).len(), 1);
    }

    #[test]
    fn a_promise_is_proved_or_says_not_yet() {
        let page = (
            RELIABILITY,
            "| P1 | once | scripts |\n| P2 | twice | not yet |\n",
        );
        assert_eq!(report(promises, &[page]).len(), 1);
        let test = ("a/tests/it/main.rs", "// proves P1 and P7: so it is\n");
        assert_eq!(
            report(promises, &[page, test]),
            ["a/tests/it/main.rs:1: promise P7 is not in docs/reliability.md"]
        );
    }

    #[test]
    fn codes_are_those_of_the_catalogue() {
        let code = "// CKP-001 SHA-256\nCode(\"NIX-001\"); CKP-999\n";
        let found = report(codes_exist, &[("a/src/lib.rs", code)]);
        assert_eq!(found.len(), 2);
        let script = ("a.stream", "statement error TABLE_OR_VIEW_NOT_FOUND\n");
        assert!(tested_codes(&example(&[script])).contains("SQL-002"));
    }
}
