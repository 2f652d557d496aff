//! Whose a sink directory is: a record in it, and a lock on that record.
//!
//! Two queries into one directory would take each other's rows for leftovers and remove them. So the
//! first query that commits an epoch writes down its id, and the directory takes no other's rows
//! from then on. Before its first commit a directory belongs to nobody, because nobody's rows are in
//! it: a query that failed at its first epoch leaves no claim behind.
//!
//! A start that is refused leaves nothing behind: directories that it made and a record that says
//! nothing go with it. A record that a killed process left empty says nothing either.
//!
//! The record lies beside the log and goes with it. It is the one file there that is no entry;
//! readers of the log, Spark's among them, look at nothing whose name is not a number.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use millstream_connectors_api::ConnectorError;
use serde::{Deserialize, Serialize};

use super::NAME;
use crate::files;

/// Name of the record.
pub(super) const RECORD: &str = "_owner";
/// Much more than a record has.
const BYTES_MAX: u64 = 1 << 16;
const VERSION: u32 = 1;

/// What the record says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    version: u32,
    query_id: String,
}

/// A directory that no other process and no other sink of this one can take.
#[derive(Debug)]
pub(super) struct Owner {
    file: File,
    path: PathBuf,
    query: String,
    is_recorded: bool,
    /// The directories that were made for it, outermost first; they go again if the start is refused.
    made: Vec<PathBuf>,
}

impl Owner {
    /// Takes the directory of a log for a query, if nobody has it open and it is not another's. Makes
    /// the directory if there is none.
    pub(super) fn take(log: &Path, query: &str) -> Result<Owner, ConnectorError> {
        let mut made = Made(files::create_dirs(log)?);
        let path = log.join(RECORD);
        let refused = |owner: String| ConnectorError::OwnedByOther {
            connector: NAME,
            path: log.parent().unwrap_or(log).display().to_string(),
            owner,
        };
        let Some(file) = files::lock(&path)? else {
            let holder = match files::open(&path)? {
                Some((file, _)) => recorded(&file, &path)?,
                None => None,
            };
            let holder = holder.map_or_else(String::new, |query| format!(" query={query}"));
            return Err(refused(format!("open=now{holder}")));
        };
        let recorded = recorded(&file, &path)?;
        if let Some(other) = recorded.as_ref().filter(|other| *other != query) {
            return Err(refused(format!("query={other} this_query={query}")));
        }
        Ok(Owner {
            file,
            path,
            query: query.to_owned(),
            is_recorded: recorded.is_some(),
            made: std::mem::take(&mut made.0),
        })
    }

    /// Whether the query has written here before: only then may parts be its own.
    pub(super) fn has_written(&self) -> bool {
        self.is_recorded
    }

    /// The start was not refused: directories that were made for it stay.
    pub(super) fn stay(&mut self) {
        self.made.retain(|made| self.path.parent() == Some(made));
    }

    /// Writes down whose the directory is, if nobody has. To be called before anything of the query
    /// becomes visible.
    pub(super) fn record(&mut self) -> Result<(), ConnectorError> {
        if self.is_recorded {
            return Ok(());
        }
        let record = Record {
            version: VERSION,
            query_id: self.query.clone(),
        };
        let mut text = serde_json::to_vec(&record).map_err(|_| ConnectorError::Internal {
            what: "an owner cannot be written as JSON",
        })?;
        text.push(b'\n');
        files::empty(&mut self.file, &self.path)?;
        files::write(&mut self.file, &self.path, &mut text)?;
        files::sync(&self.file, &self.path)?;
        if let Some(log) = self.path.parent() {
            files::sync_dir(log)?;
        }
        self.is_recorded = true;
        Ok(())
    }
}

impl Drop for Owner {
    /// A record that says nothing goes, while it is locked: who waits for it finds it gone, and makes
    /// a new one. What cannot be removed does no harm.
    fn drop(&mut self) {
        let is_empty = self.file.metadata().is_ok_and(|now| now.len() == 0);
        if self.is_recorded || !is_empty {
            return;
        }
        let _ = files::remove(&self.path);
        if let Some(log) = self.path.parent() {
            let _ = files::remove_dir(log);
        }
        drop(Made(std::mem::take(&mut self.made)));
    }
}

/// Directories that go again if nothing is in them.
struct Made(Vec<PathBuf>);

impl Drop for Made {
    fn drop(&mut self) {
        for made in self.0.iter().rev() {
            let _ = files::remove_dir(made);
        }
    }
}

/// The query that a record names; `None` if it is empty or was not written to its end.
fn recorded(file: &File, path: &Path) -> Result<Option<String>, ConnectorError> {
    let mut text = Vec::new();
    file.take(BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(|error| files::refused("read", path, error))?;
    // The end of the line is written last, and nothing is committed before it is durable.
    if !text.ends_with(b"\n") {
        return Ok(None);
    }
    let damaged = |reason: &str| ConnectorError::SinkDamaged {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    };
    let record: Record =
        serde_json::from_slice(&text).map_err(|_| damaged("is no record of an owner"))?;
    if record.version != VERSION {
        return Err(damaged("was written by a newer version"));
    }
    Ok(Some(record.query_id))
}
