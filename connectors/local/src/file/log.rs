//! `_spark_metadata`: the log that says which files of a directory count.
//!
//! Owns the form of its files, which is Spark's: a line `v1`, then one JSON object a file. An entry
//! is named after its epoch; some are `.compact` and hold all entries before them, too. When that
//! is so is in `schedule`; `writer` adds entries; here they are read. Nothing here holds more than a
//! line of a log in memory. Tests: `tests`.

mod schedule;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use millstream_connectors_api::ConnectorError;
use millstream_types::Epoch;
use serde::{Deserialize, Serialize};

use crate::files;

pub(super) use writer::LogWriter;

/// Name of the directory.
pub(super) const DIRECTORY: &str = "_spark_metadata";
const HEADER: &[u8] = b"v1";
const COMPACT: &str = ".compact";
const ADD: &str = "add";
/// Longest line: a path has 4 096 bytes at most, and each may be written as three.
const LINE_BYTES_MAX: u64 = 1 << 16;
/// How often a reader looks for newer entries because those that it saw are gone.
const ATTEMPTS_MAX: u32 = 100;

/// One file in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoggedFile<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    size: u64,
    is_dir: bool,
    modification_time: i64,
    block_replication: i32,
    block_size: i64,
    #[serde(borrow)]
    action: Cow<'a, str>,
}

impl LoggedFile<'_> {
    /// Appends the line for a file that was added, with the line end before it.
    pub(super) fn added(
        path: &Path,
        stat: files::Stat,
        lines: &mut Vec<u8>,
    ) -> Result<(), ConnectorError> {
        let entry = LoggedFile {
            path: files::to_uri(path).into(),
            size: stat.size,
            is_dir: false,
            modification_time: stat.modified_ms,
            block_replication: 1,
            block_size: 32 << 20,
            action: ADD.into(),
        };
        lines.push(b'\n');
        serde_json::to_writer(lines, &entry).map_err(|_| ConnectorError::Internal {
            what: "a log entry cannot be written as JSON",
        })
    }
}

/// The epochs of the entries of a log.
#[derive(Debug, Default)]
struct Names {
    plain: BTreeSet<u64>,
    compact: BTreeSet<u64>,
}

impl Names {
    /// Lists a log.
    fn of(log: &Path) -> Result<Names, ConnectorError> {
        let mut names = Names::default();
        files::each_name(log, &mut |name| {
            match (name.parse().ok(), name.strip_suffix(COMPACT)) {
                (Some(epoch), _) => {
                    names.plain.insert(epoch);
                }
                (None, Some(number)) => names.compact.extend(number.parse::<u64>()),
                (None, None) => {}
            }
            Ok(())
        })?;
        Ok(names)
    }

    fn latest(&self) -> Option<u64> {
        self.plain.last().max(self.compact.last()).copied()
    }

    /// The entries that hold everything after an epoch, oldest first, each with its epoch: those
    /// since then, or the newest compact one and those after it.
    ///
    /// Fails if one is missing: what it held would vanish silently.
    fn since(&self, log: &Path, after: Option<u64>) -> Result<Vec<String>, ConnectorError> {
        let Some(latest) = self.latest() else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        let compact = self.compact.last().copied();
        let from = match (compact, after) {
            (Some(compact), after) if after.is_none_or(|after| after < compact) => {
                names.push(format!("{compact}{COMPACT}"));
                compact + 1
            }
            (_, after) => after.map_or(0, |after| after.saturating_add(1)),
        };
        for epoch in from..=latest {
            if !self.plain.contains(&epoch) {
                return Err(damaged(&log.join(epoch.to_string()), "entry is missing"));
            }
            names.push(epoch.to_string());
        }
        Ok(names)
    }
}

fn damaged(path: &Path, reason: &str) -> ConnectorError {
    ConnectorError::SinkDamaged {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    }
}

/// How far a reader of a log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// The directory has no log, or one without entries: all its files count.
    NoLog,
    /// Everything up to this epoch was given.
    UpTo(Epoch),
}

/// Gives the paths that the log of a directory names after an epoch, and says up to which one. Some
/// may come again that were given before: a compact entry says nothing of epochs.
///
/// Every path that comes is one of a file that must be there.
pub(super) fn follow(
    root: &Path,
    after: Option<Epoch>,
    take: &mut dyn FnMut(PathBuf) -> Result<(), ConnectorError>,
) -> Result<Followed, ConnectorError> {
    let log = root.join(DIRECTORY);
    if files::stat(&log)?.is_none_or(|stat| !stat.is_dir) {
        return Ok(Followed::NoLog);
    }
    let after = after.map(|Epoch(number)| number);
    let mut names = Names::of(&log)?;
    for _ in 0..ATTEMPTS_MAX {
        match read_since(&log, &names, after, take)? {
            Reading::Whole => {
                let latest = names.latest().map(Epoch);
                return Ok(latest.map_or(Followed::NoLog, Followed::UpTo));
            }
            Reading::Missing(path) => {
                // A compact entry made it superfluous while the log was read; if none did, it is
                // missing for good.
                let seen = names.compact.last().copied();
                names = Names::of(&log)?;
                if names.compact.last().copied() <= seen {
                    return Err(damaged(&path, "entry is missing"));
                }
            }
        }
    }
    Err(damaged(&log, "entries vanish faster than they are read"))
}

/// Whether all entries were there.
enum Reading {
    Whole,
    Missing(PathBuf),
}

fn read_since(
    log: &Path,
    names: &Names,
    after: Option<u64>,
    take: &mut dyn FnMut(PathBuf) -> Result<(), ConnectorError>,
) -> Result<Reading, ConnectorError> {
    for name in names.since(log, after)? {
        let path = log.join(name);
        let Some(mut entry) = Lines::open(&path)? else {
            return Ok(Reading::Missing(path));
        };
        while let Some(line) = entry.next()? {
            let file: LoggedFile<'_> =
                serde_json::from_slice(line).map_err(|_| damaged(&path, "entry is no JSON"))?;
            if file.action != ADD {
                return Err(damaged(&path, "entry has an unknown action"));
            }
            if !file.is_dir {
                take(files::from_uri(&file.path))?;
            }
        }
    }
    Ok(Reading::Whole)
}

/// The lines of an entry, one at a time.
#[derive(Debug)]
struct Lines {
    reader: BufReader<File>,
    path: PathBuf,
    line: Vec<u8>,
}

impl Lines {
    /// Opens an entry and looks at its first line; `None` if there is none.
    fn open(path: &Path) -> Result<Option<Lines>, ConnectorError> {
        let Some((file, _)) = files::open(path)? else {
            return Ok(None);
        };
        let mut lines = Lines {
            reader: BufReader::with_capacity(1 << 16, file),
            path: path.to_owned(),
            line: Vec::new(),
        };
        if lines.next()? != Some(HEADER) {
            return Err(damaged(path, "entry does not begin with v1"));
        }
        Ok(Some(lines))
    }

    /// The next line that is not empty, without its end.
    fn next(&mut self) -> Result<Option<&[u8]>, ConnectorError> {
        loop {
            self.line.clear();
            let count = (&mut self.reader)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut self.line)
                .map_err(|error| files::refused("read", &self.path, error))?;
            if count as u64 == LINE_BYTES_MAX {
                return Err(damaged(&self.path, "line is too long"));
            }
            if self.line.last() == Some(&b'\n') {
                self.line.pop();
            }
            if count == 0 {
                return Ok(None);
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(&self.line));
            }
        }
    }
}
