//! Words and habits: TODO with a condition, the glossary's words, white space, links, examples,
//! and what tests must not do.

use crate::mask;
use crate::repo::{File, Repo, Report, Rust};
use std::collections::BTreeSet;

/// Lines an example may have.
const EXAMPLE_LINES_MAX: usize = 120;

/// Checks every file.
pub(crate) fn check(repo: &Repo, report: &mut Report) {
    let paths: BTreeSet<&str> = repo.files.iter().map(|f| f.path.as_str()).collect();
    for file in &repo.files {
        white_space(file, report);
        if file.path.starts_with("xtask/") || file.path == "tidy.toml" {
            continue;
        }
        words(repo, file, report);
        if file.has_ending("md") {
            links(repo, &paths, file, report);
        } else {
            todo(file, report);
        }
        if let Some(rust) = &file.rust {
            tests(file, rust, report);
            expectations(file, rust, report);
            name(file, report);
            example_header(file, report);
        }
    }
}

fn white_space(file: &File, report: &mut Report) {
    for (line, text) in file.lines() {
        if text.ends_with([' ', '\t', '\r']) {
            report.find(&file.path, line, "white space at the end of the line");
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        report.find(
            &file.path,
            file.text.lines().count(),
            "no newline at the end",
        );
    }
}

/// Words of `[words]`, each with what to write instead. The glossary may name them.
fn words(repo: &Repo, file: &File, report: &mut Report) {
    if file.path == "docs/glossary.md" {
        return;
    }
    for (line, text) in file.lines() {
        let lower = text.to_ascii_lowercase();
        for entry in repo.list("words") {
            if mask::words(&lower, &entry.key).next().is_some() {
                let instead = entry.value.trim_matches('"');
                report.find(&file.path, line, format!("`{}`: {instead}", entry.key));
            }
        }
    }
}

/// A TODO says what ends it.
fn todo(file: &File, report: &mut Report) {
    for (line, text) in file.lines() {
        for at in mask::words(text, "TODO") {
            if !text[at..].starts_with("TODO(until ") {
                report.find(&file.path, line, "write TODO(until …): what ends it?");
            }
        }
    }
}

/// Relative links of a page lead somewhere.
fn links(repo: &Repo, paths: &BTreeSet<&str>, file: &File, report: &mut Report) {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    for (line, text) in file.lines() {
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let path = resolve(folder, target);
            let below = format!("{path}/");
            let is_known = paths.contains(path.as_str())
                || paths.iter().any(|p| p.starts_with(&below))
                || repo.root.join(&path).exists();
            if !is_known {
                report.find(
                    &file.path,
                    line,
                    format!("the link leads nowhere: {target}"),
                );
            }
        }
    }
}

fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Tests neither sleep nor are switched off.
fn tests(file: &File, rust: &Rust, report: &mut Report) {
    for (idx, code) in rust.code.lines().enumerate() {
        let line = idx + 1;
        if code.contains("#[ignore") {
            report.find(&file.path, line, "no #[ignore]: mend the test or delete it");
        }
        let sleeps = mask::words(code, "sleep").any(|at| code[at + 5..].starts_with('('));
        if sleeps && file.is_test_line(line) {
            report.find(&file.path, line, "a test waits on progress, never on time");
        }
    }
}

/// A file is named after its idea.
fn name(file: &File, report: &mut Report) {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if ["utils.rs", "util.rs", "helpers.rs", "misc.rs", "common.rs"].contains(&name) {
        report.find(&file.path, 1, "a file is one idea: name it after that");
    }
}

/// Whoever switches a lint off says why.
fn expectations(file: &File, rust: &Rust, report: &mut Report) {
    for (at, _) in rust.code.match_indices("[expect(") {
        let len = rust.code[at..].find(")]").unwrap_or_default();
        let attribute = &rust.code_and_texts[at..at + len];
        if mask::words(attribute, "reason").next().is_none() {
            let line = mask::line_of(&rust.code, at);
            report.find(&file.path, line, "#[expect(…)] needs a reason");
        }
    }
}

/// An example shows at its top what it prints.
fn example_header(file: &File, report: &mut Report) {
    let parts: Vec<&str> = file.path.split('/').collect();
    let is_example = matches!(
        parts.as_slice(),
        ["examples", "src", "bin", ..] | ["examples", _] | [.., "examples", _]
    );
    if !is_example {
        return;
    }
    let header: String = file
        .lines()
        .map_while(|(_, text)| text.strip_prefix("//!"))
        .fold(String::new(), |all, text| all + text + "\n");
    let output = header.to_lowercase().find("output");
    if !output.is_some_and(|at| header[at..].contains("```")) {
        report.find(
            &file.path,
            1,
            "the header must show the example's output: a line with `Output`, then a ```text block",
        );
    }
    let lines = file.text.lines().count();
    if lines > EXAMPLE_LINES_MAX {
        report.find(
            &file.path,
            1,
            format!("an example has at most {EXAMPLE_LINES_MAX} lines, this has {lines}"),
        );
    }
}

#[cfg(test)]
mod checks {
    use super::*;
    use crate::repo::example;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let mut report = Report::default();
        let tidy = ("tidy.toml", "[words]\n\"batch number\" = \"say epoch\"\n");
        check(&example(&[(path, text), tidy]), &mut report);
        report.texts()
    }

    #[test]
    fn habits() {
        assert_eq!(findings("a.md", "fine\n"), [""; 0]);
        assert_eq!(findings("a.md", "space \n").len(), 1);
        assert_eq!(
            findings("a.md", "a Batch number\n"),
            ["a.md:1: `batch number`: say epoch"]
        );
        assert_eq!(
            findings("a.md", "[x](b.md) [y](https://z) [z](a.md#w)\n").len(),
            1
        );
        assert_eq!(
            findings("a.rs", "#[expect(x)]\n#[expect(x, reason = \"y\")]\n").len(),
            1
        );
        assert_eq!(
            findings("a.rs", "// TODO: soon\n// TODO(until timely 0.32): x\n").len(),
            1
        );
    }

    #[test]
    fn tests_do_not_wait() {
        let sleep = "fn a() { thread::sleep(x); }\n";
        assert_eq!(findings("a/src/lib.rs", sleep), [""; 0]);
        assert_eq!(findings("a/tests/it/main.rs", sleep).len(), 1);
        assert_eq!(
            findings("a/src/lib.rs", "#[ignore = \"x\"]\nfn a() {}\n").len(),
            1
        );
    }

    #[test]
    fn examples_show_their_output() {
        assert_eq!(
            findings("examples/src/bin/a.rs", "//! A.\nfn main() {}\n").len(),
            1
        );
        let shown = "//! A. Output:\n//! ```text\n//! 1\n//! ```\nfn main() {}\n";
        assert_eq!(findings("examples/src/bin/a.rs", shown), [""; 0]);
    }
}
