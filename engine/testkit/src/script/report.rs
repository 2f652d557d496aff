//! What came out of playing scripts, as data and as text that a person reads.

use super::host::RunCase;
use millstream_types::Fault;
use std::{fmt, path::PathBuf};

/// What was wrong at one paragraph.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The line of the paragraph.
    pub line: u64,
    /// What was wrong.
    pub problem: Problem,
}

/// What was wrong.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// A fault that the script does not expect.
    Fault(Fault),
    /// A statement succeeded that must fail.
    NoError {
        /// The code or condition that was asked for.
        wanted: String,
    },
    /// A query started and its first epoch succeeded although it must fail.
    QueryRuns {
        /// The query.
        name: String,
        /// The code or condition that was asked for.
        wanted: String,
    },
    /// It failed, but otherwise.
    OtherError {
        /// The code or condition that was asked for.
        wanted: String,
        /// The fault that came.
        fault: Fault,
    },
    /// Other rows came.
    Rows {
        /// The query.
        query: String,
        /// Expected and actual rows.
        diff: Vec<DiffLine>,
    },
    /// A counter has another value.
    Counter {
        /// `late` or `state`.
        counter: &'static str,
        /// The expected value.
        wanted: u64,
        /// The actual value.
        got: u64,
    },
    /// The expectation has neither rows nor `(none)`.
    Unwritten,
}

/// One line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffLine {
    /// Where the row was seen.
    pub mark: Mark,
    /// The row as a line of a script.
    pub text: String,
}

/// Where a row of a difference was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Expected and came.
    Same,
    /// Expected and did not come.
    Missing,
    /// Came and was not expected.
    Extra,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Fault(fault) => write!(f, "{fault}"),
            Problem::NoError { wanted } => write!(f, "expected error {wanted}, but it succeeded"),
            Problem::QueryRuns { name, wanted } => {
                write!(
                    f,
                    "expected error {wanted}, but query {name} starts and runs"
                )
            }
            Problem::OtherError { wanted, fault } => {
                write!(f, "expected error {wanted}, got another\n{fault}")
            }
            Problem::Rows { query, diff } => {
                write!(f, "query {query} gives other rows (- expected, + got)")?;
                for line in diff {
                    let mark = match line.mark {
                        Mark::Same => ' ',
                        Mark::Missing => '-',
                        Mark::Extra => '+',
                    };
                    write!(f, "\n{mark} {}", line.text)?;
                }
                Ok(())
            }
            Problem::Counter {
                counter,
                wanted,
                got,
            } => {
                write!(f, "expected {counter}={wanted}, got {counter}={got}")
            }
            Problem::Unwritten => {
                f.write_str("the expectation has no rows: write them, (none), or use --update")
            }
        }
    }
}

/// What came out of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// Why it could not be read as a script.
    pub unreadable: Option<Fault>,
    /// Each case that was played, with its failures.
    pub cases: Vec<(RunCase, Vec<Failure>)>,
    /// Whether `--update` changed it.
    pub updated: bool,
}

/// What a file comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All cases gave the expected answers.
    Passed,
    /// A case did not, or the file is no script.
    Failed,
    /// The file holds no paragraph.
    Skipped,
}

impl FileReport {
    /// What the file comes to.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.unreadable.is_some() || self.cases.iter().any(|(_, failures)| !failures.is_empty())
        {
            Outcome::Failed
        } else if self.cases.is_empty() {
            Outcome::Skipped
        } else {
            Outcome::Passed
        }
    }
}

impl fmt::Display for FileReport {
    /// The summary line, then each failure once with the cases that share it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let failed = self
            .cases
            .iter()
            .filter(|(_, failures)| !failures.is_empty())
            .count();
        let cases = self.cases.len();
        let note = if self.updated { ", updated" } else { "" };
        match self.outcome() {
            Outcome::Passed => write!(f, "ok      {path} ({cases} cases{note})")?,
            Outcome::Skipped => write!(f, "skipped {path} (no paragraph)")?,
            Outcome::Failed if cases == 0 => write!(f, "FAILED  {path}")?,
            Outcome::Failed => write!(f, "FAILED  {path} ({failed} of {cases} cases{note})")?,
        }
        if let Some(fault) = &self.unreadable {
            write!(f, "\n{}", indented(&fault.to_string()))?;
        }
        let mut shown: Vec<&Failure> = Vec::new();
        for failure in self.cases.iter().flat_map(|(_, failures)| failures) {
            if shown.contains(&failure) {
                continue;
            }
            shown.push(failure);
            let with: Vec<_> = self
                .cases
                .iter()
                .filter(|(_, failures)| failures.contains(failure))
                .map(|(case, _)| case.to_string())
                .collect();
            let with = if with.len() == cases {
                "all cases".to_owned()
            } else {
                with.join("; ")
            };
            let text = indented(&failure.problem.to_string());
            write!(f, "\n  {path}:{} [{with}]\n{text}", failure.line)?;
        }
        Ok(())
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// What came out of all files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Files in the order of their paths.
    pub files: Vec<FileReport>,
}

/// How many files passed, failed, were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All cases gave the expected answers.
    pub passed: usize,
    /// A case did not, or the file is no script.
    pub failed: usize,
    /// The file holds no paragraph.
    pub skipped: usize,
}

impl Report {
    /// How many files passed, failed, were skipped.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for file in &self.files {
            match file.outcome() {
                Outcome::Passed => counts.passed += 1,
                Outcome::Failed => counts.failed += 1,
                Outcome::Skipped => counts.skipped += 1,
            }
        }
        counts
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            writeln!(f, "{file}")?;
        }
        let Counts {
            passed,
            failed,
            skipped,
        } = self.counts();
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}
