//! Length limits: files, functions, inline test modules. What is too long today is listed in
//! `tidy.toml` with its length and may only shrink.

use crate::repo::{File, Repo, Report, Rust};

/// Lines of a file without its tests.
pub(crate) const FILE_LINES_MAX: usize = 800;
/// Lines of a function, from `fn` to its brace.
pub(crate) const FUNCTION_LINES_MAX: usize = 70;
/// Lines of a test module inside a file; beyond that it is `mod tests;` in a sibling.
const INLINE_TEST_LINES_MAX: usize = 150;

/// Section of `tidy.toml` with file lengths.
pub(crate) const FILES: &str = "length.files";
/// Section of `tidy.toml` with the worst function of a file.
pub(crate) const FUNCTIONS: &str = "length.functions";

/// Lines of the file that are no tests.
pub(crate) fn file_lines(file: &File, rust: &Rust) -> usize {
    if rust.is_test {
        return 0;
    }
    let total = file.text.lines().count();
    total - file.test_lines().count()
}

/// The longest function outside tests: name, line, length.
pub(crate) fn worst_function<'a>(file: &File, rust: &'a Rust) -> Option<(&'a str, usize, usize)> {
    rust.functions
        .iter()
        .filter(|f| !file.is_test_line(f.first))
        .map(|f| (f.name.as_str(), f.first, f.len()))
        .max_by_key(|f| f.2)
}

/// What `tidy.toml` allows a file, if it is listed.
fn listed(repo: &Repo, section: &str, path: &str) -> Option<usize> {
    let entry = repo.list(section).find(|e| e.key == path)?;
    Some(entry.number())
}

/// Compares a length with its limit, or with what is listed for it.
fn compare(
    repo: &Repo,
    report: &mut Report,
    place: (&str, usize),
    what: &str,
    rule: (&str, usize, usize),
) {
    let (path, line) = place;
    let (section, limit, is) = rule;
    match listed(repo, section, path) {
        None if is > limit => report.find(
            path,
            line,
            format!("{what} has {is} lines, the limit is {limit}: split it by ideas"),
        ),
        Some(allowed) if is > allowed => report.find(
            path,
            line,
            format!(
                "{what} has {is} lines and may only shrink from {allowed} (tidy.toml, [{section}])"
            ),
        ),
        Some(allowed) if is < allowed => report.note(format!(
            "{path}: {what} is down to {is} lines from {allowed}; run `cargo xtask ratchet --write`"
        )),
        _ => {}
    }
}

/// Checks every Rust file.
pub(crate) fn check(repo: &Repo, report: &mut Report) {
    for (file, rust) in repo.rust() {
        let lines = file_lines(file, rust);
        let rule = (FILES, FILE_LINES_MAX, lines);
        compare(repo, report, (&file.path, 1), "the file", rule);
        if let Some((name, line, len)) = worst_function(file, rust) {
            let rule = (FUNCTIONS, FUNCTION_LINES_MAX, len);
            let what = format!("function {name}");
            compare(repo, report, (&file.path, line), &what, rule);
        }
        for test in rust.tests.iter().filter(|_| !rust.is_test) {
            if test.len() > INLINE_TEST_LINES_MAX {
                report.find(
                    &file.path,
                    test.first,
                    format!(
                        "inline tests have {} lines, the limit is {INLINE_TEST_LINES_MAX}: move them to a sibling with `mod tests;`",
                        test.len()
                    ),
                );
            }
        }
    }
    for section in [FILES, FUNCTIONS] {
        for entry in repo.list(section).filter(|e| repo.file(&e.key).is_none()) {
            report.find(
                "tidy.toml",
                entry.line,
                format!("no such file: {}", entry.key),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::example;

    fn findings(tidy: &str, code: &str) -> Vec<String> {
        let mut report = Report::default();
        check(
            &example(&[("a/src/lib.rs", code), ("tidy.toml", tidy)]),
            &mut report,
        );
        report.texts()
    }

    #[test]
    fn a_listed_file_may_only_shrink() {
        let code = "fn a() {}\n".repeat(801);
        assert_eq!(findings("", &code).len(), 1);
        assert_eq!(
            findings("[length.files]\n\"a/src/lib.rs\" = 801", &code),
            [""; 0]
        );
        assert_eq!(
            findings("[length.files]\n\"a/src/lib.rs\" = 800", &code).len(),
            1
        );
    }

    #[test]
    fn functions_have_a_limit_and_tests_do_not_count() {
        let long = format!("fn a() {{\n{}}}\n", "x();\n".repeat(70));
        assert_eq!(findings("", &long).len(), 1);
        assert_eq!(
            findings("", &format!("#[cfg(test)]\nmod tests {{\n{long}}}\n")),
            [""; 0]
        );
        let many = format!("#[cfg(test)]\nmod tests {{\n{long}{long}{long}}}\n");
        assert_eq!(findings("", &many).len(), 1);
    }
}
