//! Which files there are: a directory, a pattern, or the log of a file sink.

use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
};

use millstream_connectors_api::ConnectorError;
use serde::{Deserialize, Serialize};

use super::{
    log::{self, Followed},
    settings::Settings,
};
use crate::{files, glob};

/// Directories below each other at most, so that a cycle of links ends.
const DEPTH_MAX: usize = 64;

/// A file as it was when it was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InputFile {
    pub(super) path: String,
    pub(super) size: u64,
    /// Modification time in milliseconds since 1970.
    pub(super) mtime: i64,
}

impl InputFile {
    /// Oldest first; files of one instant by their path.
    pub(super) fn order(&self, other: &InputFile) -> Ordering {
        (self.mtime, &self.path).cmp(&(other.mtime, &other.path))
    }
}

/// Fails if the path names nothing; a pattern may match nothing yet.
pub(super) fn check_exists(settings: &Settings) -> Result<(), ConnectorError> {
    if glob::is_pattern(&settings.path) || files::stat(&settings.root)?.is_some() {
        return Ok(());
    }
    Err(ConnectorError::PathNotFound {
        path: settings.path.clone(),
    })
}

/// The directory below which `key=value` directories are columns.
pub(super) fn base(settings: &Settings) -> String {
    let text = settings.root.display().to_string();
    if !glob::is_pattern(&text) {
        return text;
    }
    let plain: Vec<&str> = text
        .split('/')
        .take_while(|part| !glob::is_pattern(part))
        .collect();
    plain.join("/")
}

/// A search for files that are not known yet.
struct Search<'a> {
    settings: &'a Settings,
    name_patterns: Option<Vec<String>>,
    known: &'a dyn Fn(&str) -> bool,
    found: Vec<InputFile>,
}

/// The files that belong to the source now and are not `known` by their path, oldest first.
pub(super) fn list(
    settings: &Settings,
    known: &dyn Fn(&str) -> bool,
) -> Result<Vec<InputFile>, ConnectorError> {
    let mut search = Search {
        settings,
        name_patterns: settings.name_filter.as_deref().map(glob::expand),
        known,
        found: Vec::new(),
    };
    for root in roots(settings)? {
        let Some(stat) = files::stat(&root)? else {
            continue;
        };
        if !stat.is_dir {
            search.add(&root)?;
        } else if log::follow(&root, None, &mut |path| search.add_logged(&path))? == Followed::NoLog
        {
            search.walk(&root, 0)?;
        }
    }
    let mut found = search.found;
    found.sort_by(InputFile::order);
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

/// Whether a path that was looked at names something. One that need not be looked at counts as there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    There,
    Missing,
}

impl Search<'_> {
    /// Adds a file that a log names: it must be there, else rows would be missing in silence.
    fn add_logged(&mut self, path: &Path) -> Result<(), ConnectorError> {
        if self.add(path)? == Presence::Missing {
            return Err(ConnectorError::SinkDamaged {
                path: path.display().to_string(),
                reason: "the log names this file and it is missing".to_owned(),
            });
        }
        Ok(())
    }

    fn add(&mut self, path: &Path) -> Result<Presence, ConnectorError> {
        let name = path.file_name().and_then(|name| name.to_str());
        let (Some(text), Some(name)) = (path.to_str(), name) else {
            return Ok(Presence::There);
        };
        let wanted = match &self.name_patterns {
            Some(patterns) => patterns.iter().any(|p| glob::matches(p, name)),
            None => true,
        };
        // Files are looked at only once: a directory of old ones costs no more than its names.
        if !wanted || is_hidden(name) || (self.known)(text) {
            return Ok(Presence::There);
        }
        match files::stat(path)? {
            Some(stat) if !stat.is_dir => self.found.push(InputFile {
                path: text.to_owned(),
                size: stat.size,
                mtime: stat.modified_ms,
            }),
            Some(_) => {}
            None => return Ok(Presence::Missing),
        }
        Ok(Presence::There)
    }

    fn walk(&mut self, dir: &Path, depth: usize) -> Result<(), ConnectorError> {
        for entry in files::list(dir)? {
            if !entry.is_dir {
                self.add(&entry.path)?;
            } else if !is_hidden(&entry.name)
                && (self.settings.recursive || entry.name.contains('='))
                && depth < DEPTH_MAX
            {
                self.walk(&entry.path, depth + 1)?;
            }
        }
        Ok(())
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.']) && !(name.starts_with('_') && name.contains('='))
}

/// The paths that the path option stands for.
fn roots(settings: &Settings) -> Result<Vec<PathBuf>, ConnectorError> {
    let text = settings.root.display().to_string();
    // A file may really be called so; Spark looks for it first, too.
    if !glob::is_pattern(&text) || files::stat(&settings.root)?.is_some() {
        return Ok(vec![settings.root.clone()]);
    }
    let mut roots = Vec::new();
    for pattern in glob::expand(&text) {
        let mut reached = vec![PathBuf::from("/")];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            let mut next = Vec::new();
            for dir in reached {
                if !glob::is_pattern(part) {
                    next.push(dir.join(part));
                    continue;
                }
                for entry in files::list(&dir)? {
                    if glob::matches(part, &entry.name) && !is_hidden(&entry.name) {
                        next.push(entry.path);
                    }
                }
            }
            reached = next;
        }
        roots.extend(reached);
    }
    Ok(roots)
}
