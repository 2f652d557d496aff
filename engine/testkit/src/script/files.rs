//! Files and folders of scripts, the cases of each, and `--update` on disk.

use super::{
    error::ScriptError,
    host::{Restarts, RunCase, ScriptHost},
    parse::{Script, parse},
    play::{Played, run_script},
    report::{Failure, FileReport, Problem, Report},
    update::update,
};
use millstream_types::{Coded, Fault};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Whether answers are checked or rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Another answer is a failure.
    Check,
    /// The answers of the first case are written into the file; then all cases are checked against them.
    Update,
}

/// Makes a fresh host for a case.
type Factory<'a> = &'a mut dyn FnMut(&RunCase) -> Result<Box<dyn ScriptHost>, Fault>;

/// Plays one file with each number of workers, each plain and with a restart after every epoch.
///
/// # Errors
/// The file cannot be read or, for an update, not be written. A file that is no script is a failure of
/// its report instead, so that one of them does not hide the others.
pub fn run_file(
    path: &Path,
    workers: &[usize],
    answers: Answers,
    hosts: Factory<'_>,
) -> Result<FileReport, ScriptError> {
    let unreadable = |source| ScriptError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut report = FileReport {
        path: path.to_owned(),
        unreadable: None,
        cases: Vec::new(),
        updated: false,
    };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let mut script = match parse(&text) {
        Ok(script) => script,
        Err(error) => {
            report.unreadable = Some(error.fault());
            return Ok(report);
        }
    };
    if script.paragraphs.is_empty() {
        return Ok(report);
    }
    let cases = cases(workers);
    if let (Answers::Update, Some(case)) = (answers, cases.first()) {
        let played = play(&script, *case, hosts);
        let rewritten = update(&text, &script, &played.observations);
        if rewritten != text {
            let unwritable = |source| ScriptError::Unwritable {
                path: path.to_owned(),
                source,
            };
            script = parse(&rewritten)?;
            fs::write(path, &rewritten).map_err(unwritable)?;
            report.updated = true;
        }
    }
    for case in cases {
        report
            .cases
            .push((case, play(&script, case, hosts).failures));
    }
    Ok(report)
}

/// Plays files, and all `*.stream` files below folders, in the order of their paths.
///
/// # Errors
/// A path is not there or a file cannot be read or written.
pub fn run_paths(
    paths: &[PathBuf],
    workers: &[usize],
    answers: Answers,
    hosts: Factory<'_>,
) -> Result<Report, ScriptError> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    files.sort();
    files.dedup();
    let files: Result<Vec<_>, _> = files
        .iter()
        .map(|path| run_file(path, workers, answers, hosts))
        .collect();
    Ok(Report { files: files? })
}

fn cases(workers: &[usize]) -> Vec<RunCase> {
    let both = |workers: &usize| {
        [Restarts::AsWritten, Restarts::EveryEpoch].map(|restarts| RunCase {
            workers: *workers,
            restarts,
        })
    };
    workers.iter().flat_map(both).collect()
}

fn play(script: &Script, case: RunCase, hosts: Factory<'_>) -> Played {
    match hosts(&case) {
        Ok(mut host) => run_script(script, case, host.as_mut()),
        Err(fault) => {
            let failure = Failure {
                line: 1,
                problem: Problem::Fault(fault),
            };
            Played {
                observations: Vec::new(),
                failures: vec![failure],
            }
        }
    }
}

/// A named file is taken whatever its name; a folder gives its scripts, those of folders below included.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), ScriptError> {
    let unreadable = |source| ScriptError::Unreadable {
        path: path.to_owned(),
        source,
    };
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let below = entry.path();
        // The kind without following links: a link to a folder above would never end.
        let kind = entry.file_type().map_err(unreadable)?;
        if kind.is_dir() || below.extension().is_some_and(|ending| ending == "stream") {
            collect(&below, files)?;
        }
    }
    Ok(())
}
