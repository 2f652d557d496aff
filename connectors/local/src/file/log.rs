//! `_spark_metadata`: the log that says which files of a directory count.
//!
//! Owns the form of its files, which is Spark's: a line `v1`, then one JSON object a file; every
//! tenth log file is a `.compact` with all entries before it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use millstream_connectors_api::ConnectorError;
use millstream_types::Epoch;
use serde::{Deserialize, Serialize};

use crate::files;

/// Name of the directory.
pub(super) const DIRECTORY: &str = "_spark_metadata";
/// Each so many epochs the log is compacted.
const COMPACT_INTERVAL: u64 = 10;
/// A log file is kept so long after a compact file made it superfluous, for slow readers.
const CLEANUP_DELAY_MS: i64 = 600_000;
const HEADER: &str = "v1";

/// One file in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoggedFile {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) is_dir: bool,
    pub(super) modification_time: i64,
    pub(super) block_replication: i32,
    pub(super) block_size: i64,
    pub(super) action: String,
}

impl LoggedFile {
    /// The entry for a file that was added.
    pub(super) fn added(path: &Path, stat: files::Stat) -> LoggedFile {
        LoggedFile {
            path: files::to_uri(path),
            size: stat.size,
            is_dir: false,
            modification_time: stat.modified_ms,
            block_replication: 1,
            block_size: 32 << 20,
            action: "add".to_owned(),
        }
    }
}

/// The log files of a sink directory: for each epoch whether its file is a compact one.
#[derive(Debug, Default)]
struct LogFiles {
    plain: BTreeMap<u64, PathBuf>,
    compact: BTreeMap<u64, PathBuf>,
}

impl LogFiles {
    fn latest(&self) -> Option<u64> {
        let plain = self.plain.last_key_value().map(|(epoch, _)| *epoch);
        let compact = self.compact.last_key_value().map(|(epoch, _)| *epoch);
        plain.max(compact)
    }
}

fn log_files(root: &Path) -> Result<Option<LogFiles>, ConnectorError> {
    let dir = root.join(DIRECTORY);
    if files::stat(&dir)?.is_none_or(|stat| !stat.is_dir) {
        return Ok(None);
    }
    let mut found = LogFiles::default();
    for entry in files::list(&dir)? {
        if let Ok(epoch) = entry.name.parse() {
            found.plain.insert(epoch, entry.path);
        } else if let Some(Ok(epoch)) = entry.name.strip_suffix(".compact").map(str::parse) {
            found.compact.insert(epoch, entry.path);
        }
    }
    Ok(Some(found))
}

/// The newest epoch in the log of `root`.
pub(super) fn latest(root: &Path) -> Result<Option<Epoch>, ConnectorError> {
    Ok(log_files(root)?.and_then(|found| found.latest()).map(Epoch))
}

/// All entries of the log of `root`, oldest first; `None` if there is no log.
pub(super) fn entries(root: &Path) -> Result<Option<Vec<LoggedFile>>, ConnectorError> {
    let Some(found) = log_files(root)? else {
        return Ok(None);
    };
    let mut entries = Vec::new();
    let compact = found.compact.last_key_value();
    if let Some((_, path)) = compact {
        read(path, &mut entries)?;
    }
    let first = compact.map_or(0, |(epoch, _)| epoch.saturating_add(1));
    for path in found.plain.range(first..).map(|(_, path)| path) {
        read(path, &mut entries)?;
    }
    Ok(Some(entries))
}

/// The files that count in `root`, if it has a log.
pub(super) fn listed_files(root: &Path) -> Result<Option<Vec<PathBuf>>, ConnectorError> {
    let Some(entries) = entries(root)? else {
        return Ok(None);
    };
    let deleted: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.action == "delete")
        .map(|entry| entry.path.as_str())
        .collect();
    let listed = entries
        .iter()
        .filter(|entry| !entry.is_dir && !deleted.contains(&entry.path.as_str()))
        .map(|entry| files::from_uri(&entry.path))
        .collect();
    Ok(Some(listed))
}

fn read(path: &Path, entries: &mut Vec<LoggedFile>) -> Result<(), ConnectorError> {
    let changed = |reason: &str| ConnectorError::InputChanged {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    };
    let text = files::read_text(path)?.ok_or_else(|| changed("log file is gone"))?;
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(changed("log file does not begin with v1"));
    }
    for line in lines.filter(|line| !line.trim().is_empty()) {
        entries.push(serde_json::from_str(line).map_err(|_| changed("log entry is no JSON"))?);
    }
    Ok(())
}

/// Adds an epoch to the log in one atomic and durable act; each tenth time with all before it.
pub(super) fn append(
    root: &Path,
    epoch: Epoch,
    added: Vec<LoggedFile>,
) -> Result<(), ConnectorError> {
    let compact = epoch.0 % COMPACT_INTERVAL == COMPACT_INTERVAL - 1;
    let (name, listed) = if compact {
        let mut all = entries(root)?.unwrap_or_default();
        all.extend(added);
        (format!("{epoch}.compact"), all)
    } else {
        (epoch.to_string(), added)
    };
    let mut text = HEADER.to_owned();
    for entry in &listed {
        let line = serde_json::to_string(entry).map_err(|_| ConnectorError::Internal {
            what: "a log entry cannot be written as JSON",
        })?;
        text.push('\n');
        text.push_str(&line);
    }
    let dir = root.join(DIRECTORY);
    files::publish(&dir, &name, text.as_bytes())?;
    if compact {
        clean_up(root, &dir.join(name))?;
    }
    Ok(())
}

/// Removes log files that a compact file made superfluous long ago.
fn clean_up(root: &Path, newest: &Path) -> Result<(), ConnectorError> {
    let (Some(found), Some(now)) = (log_files(root)?, files::stat(newest)?) else {
        return Ok(());
    };
    let Some(previous) = found.compact.keys().rev().nth(1).copied() else {
        return Ok(());
    };
    let old = found
        .plain
        .range(..previous)
        .chain(found.compact.range(..previous));
    for path in old.map(|(_, path)| path) {
        let age_ms = files::stat(path)?.map_or(0, |stat| now.modified_ms - stat.modified_ms);
        if age_ms > CLEANUP_DELAY_MS {
            files::remove(path)?;
        }
    }
    Ok(())
}
