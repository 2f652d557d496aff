//! Which files there are: a directory, a pattern, or the log of a file sink.

use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
};

use millstream_connectors_api::ConnectorError;
use serde::{Deserialize, Serialize};

use super::{log, settings::Settings};
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

/// All files that belong to the source now, oldest first.
pub(super) fn list(settings: &Settings) -> Result<Vec<InputFile>, ConnectorError> {
    let mut found = Vec::new();
    for root in roots(settings)? {
        let Some(stat) = files::stat(&root)? else {
            continue;
        };
        if !stat.is_dir {
            add(settings, &root, stat, &mut found);
        } else if let Some(listed) = log::listed_files(&root)? {
            for path in listed {
                if let Some(stat) = files::stat(&path)? {
                    add(settings, &path, stat, &mut found);
                }
            }
        } else {
            walk(settings, &root, 0, &mut found)?;
        }
    }
    found.sort_by(InputFile::order);
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

fn add(settings: &Settings, path: &Path, stat: files::Stat, found: &mut Vec<InputFile>) {
    let name = path.file_name().and_then(|name| name.to_str());
    let (Some(path), Some(name)) = (path.to_str(), name) else {
        return;
    };
    let wanted = settings
        .name_filter
        .as_ref()
        .is_none_or(|filter| glob::expand(filter).iter().any(|p| glob::matches(p, name)));
    if wanted && !stat.is_dir && !is_hidden(name) {
        found.push(InputFile {
            path: path.to_owned(),
            size: stat.size,
            mtime: stat.modified_ms,
        });
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.']) && !(name.starts_with('_') && name.contains('='))
}

fn walk(
    settings: &Settings,
    dir: &Path,
    depth: usize,
    found: &mut Vec<InputFile>,
) -> Result<(), ConnectorError> {
    for entry in files::list(dir)? {
        if !entry.stat.is_dir {
            add(settings, &entry.path, entry.stat, found);
        } else if !is_hidden(&entry.name)
            && (settings.recursive || entry.name.contains('='))
            && depth < DEPTH_MAX
        {
            walk(settings, &entry.path, depth + 1, found)?;
        }
    }
    Ok(())
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
