//! What becomes of files that will never be read again: `cleanSource`.
//!
//! The journal `files` is the list of what is to be done: its entries go when their files were
//! cleaned, so a restart goes on where the last process was. Nothing here ends a query.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use millstream_connectors_api::{ConnectorError, Flow, Journal};

use super::{
    notices::{Kind, Notices},
    records::InputFile,
    settings::{Clean, Settings, bad},
};
use crate::{files, glob};

/// Fails if files would be archived where they are read again, or on another disk.
pub(super) fn check(settings: &Settings) -> Result<(), ConnectorError> {
    let Clean::Archive(archive) = &settings.clean else {
        return Ok(());
    };
    let refuse = |want| {
        Err(bad(
            "sourceArchiveDir",
            want,
            &archive.display().to_string(),
        ))
    };
    if meets(settings, archive) {
        return refuse("a directory outside of the path that is read");
    }
    match (device(archive)?, device(&settings.base)?) {
        (Some(one), Some(other)) if one != other => {
            refuse("a directory on the file system of the path that is read")
        }
        _ => Ok(()),
    }
}

/// Whether a directory is one that is read, lies in one or contains one.
pub(super) fn meets(settings: &Settings, directory: &Path) -> bool {
    // What is called like a pattern is read as it is called.
    let plain = (settings.root_path.clone(), Vec::new());
    let mut places = settings.patterns.iter().chain([&plain]);
    places.any(|(base, parts)| is_below(directory, base, parts))
}

/// Whether a directory and what a pattern matches may lie in each other, as far as both reach.
fn is_below(directory: &Path, base: &Path, parts: &[String]) -> bool {
    let names = |path: &Path| -> Vec<String> {
        let plain = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => None,
        });
        plain.collect()
    };
    let base = names(base);
    let literal = base.len();
    let wanted = base.iter().chain(parts);
    wanted
        .zip(names(directory))
        .enumerate()
        .all(|(place, (want, name))| {
            *want == name || place >= literal && glob::matches(want, &name)
        })
}

/// The file system of a path, or of what of it exists.
fn device(path: &Path) -> Result<Option<u64>, ConnectorError> {
    for existing in path.ancestors() {
        if let Some(stat) = files::stat(existing)? {
            return Ok(Some(stat.id.device));
        }
    }
    Ok(None)
}

/// Goes through the files that are settled.
#[derive(Debug)]
pub(super) struct Cleaner {
    clean: Clean,
    /// The next entry of `files` to be cleaned.
    next: u64,
    /// Entries before this one are settled.
    until: u64,
}

impl Cleaner {
    pub(super) fn new(clean: Clean, next: u64) -> Cleaner {
        Cleaner {
            clean,
            next,
            until: next,
        }
    }

    /// Whether files are deleted or moved at all.
    pub(super) fn is_on(&self) -> bool {
        self.clean != Clean::Off
    }

    /// The entries before `until` will never be read again.
    pub(super) fn settled(&mut self, until: u64) {
        self.until = self.until.max(until);
    }

    pub(super) fn has_work(&self) -> bool {
        self.next < self.until
    }

    /// Cleans a few files and lets their entries go.
    pub(super) fn step(
        &mut self,
        files_max: u64,
        journal: &dyn Journal,
        notices: &Notices,
    ) -> Result<(), ConnectorError> {
        self.next = self.next.max(journal.entries().start);
        if !self.has_work() {
            return Ok(());
        }
        let end = match self.clean {
            Clean::Off => self.until,
            Clean::Delete | Clean::Archive(_) => {
                self.until.min(self.next.saturating_add(files_max))
            }
        };
        if self.clean != Clean::Off {
            self.clean_entries(end, journal, notices)?;
        }
        self.next = end;
        journal.forget(end)
    }

    fn clean_entries(
        &self,
        end: u64,
        journal: &dyn Journal,
        notices: &Notices,
    ) -> Result<(), ConnectorError> {
        let mut listed = Vec::new();
        journal.read(self.next..end, &mut |_, entry| {
            listed.push(InputFile::of_entry(entry));
            Flow::More
        })?;
        let mut touched = BTreeSet::new();
        for file in listed {
            let file = file?;
            match self.clean_file(Path::new(&file.path), &file) {
                Ok(directories) => touched.extend(directories),
                Err(_) => notices.count(Kind::Kept, &file.path),
            }
        }
        for directory in touched {
            // What a crash brings back is only left over: it counts as seen.
            if files::sync_dir(&directory).is_err() {
                notices.count(Kind::Kept, &directory.to_string_lossy());
            }
        }
        Ok(())
    }

    /// Cleans one file and gives the directories that changed.
    fn clean_file(&self, path: &Path, file: &InputFile) -> Result<Vec<PathBuf>, ConnectorError> {
        let Some(stat) = files::stat(path)? else {
            return Ok(Vec::new());
        };
        if (stat.size, stat.modified_ns) != (file.size, file.mtime_ns) {
            // It is not what was read: what was added to it would be lost.
            return Err(ConnectorError::InputChanged {
                path: file.path.clone(),
                reason: "it changed after it was read".to_owned(),
            });
        }
        let parent = path.parent().map(Path::to_owned);
        match &self.clean {
            Clean::Off => return Ok(Vec::new()),
            Clean::Delete => files::remove(path)?,
            Clean::Archive(archive) => {
                let inside = path.strip_prefix("/").unwrap_or(path);
                let target = archive.join(inside);
                if files::stat(&target)?.is_some() {
                    return Err(ConnectorError::Unsupported {
                        connector: super::NAME,
                        what: "does not overwrite an archived file".to_owned(),
                    });
                }
                let directory = target.parent().unwrap_or(archive);
                files::create_dirs(directory)?;
                files::rename(path, &target)?;
                return Ok(parent.into_iter().chain([directory.to_owned()]).collect());
            }
        }
        Ok(parent.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_lies_outside() {
        let parts = |text: &str| -> Vec<String> {
            let parts = text.split('/').filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        };
        for (directory, base, pattern, below) in [
            ("/in/archive", "/in", "", true),
            ("/in", "/in", "", true),
            ("/", "/in", "", true),
            ("/inner", "/in", "", false),
            ("/archive", "/in", "", false),
            ("/data/x1/archive", "/data", "x*", true),
            ("/data/archive", "/data", "x*", false),
            ("/data/x*", "/data", "x[*]", true),
            ("/d*", "/data", "", false),
        ] {
            let found = is_below(Path::new(directory), Path::new(base), &parts(pattern));
            assert_eq!(found, below, "{directory} {base} {pattern}");
        }
    }
}
