//! Which files there are: a directory, a pattern, or the log of a file sink.
//!
//! A directory is listed again only when it may have changed, so that a source over very many old
//! files costs nothing while nothing comes. What a directory says of itself is not believed blindly:
//! clocks of file systems are coarse, and some say nothing at all. Tests: `listing_tests`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use millstream_connectors_api::ConnectorError;
use millstream_types::Epoch;

use super::{
    log::{self, Followed},
    notices::{Kind, Notices},
    records::{Fingerprint, InputFile, Stamp},
    settings::{Clean, OnTrouble, Settings, bad},
};
use crate::{
    files::{self, EntryKind, FileId, Stat},
    glob, packing,
};

/// Directories below each other at most.
const DEPTH_MAX: usize = 64;

/// A listing that began so long after the directory's time saw everything that this time stands for,
/// also where the file system counts in whole seconds.
const CLEARLY_MS: i64 = 2_000;

/// Names a millisecond for which a directory is believed: listing costs about a microsecond a name,
/// so looking all the same costs a thousandth of a core.
const NAMES_PER_MS: i64 = 1;

/// Known files that a look compares with what they were, at about two microseconds a file. Where more
/// are known they take turns.
const COMPARED: usize = 1_024;

/// Between these a directory that did not change is listed all the same: some file systems do not
/// keep its time, and what a link leads to may change elsewhere.
const BELIEVED_MS: std::ops::RangeInclusive<i64> = 1_000..=600_000;

/// Fails if the path names nothing; a pattern may match nothing yet.
pub(super) fn check_exists(settings: &Settings) -> Result<(), ConnectorError> {
    if glob::is_pattern(&settings.path) || files::stat(&settings.root)?.is_some() {
        return Ok(());
    }
    Err(ConnectorError::PathNotFound {
        path: settings.path.clone(),
    })
}

/// A file that is new, and the directory whose listing found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) file: InputFile,
    pub(super) directory: u32,
}

impl Found {
    /// Oldest first; files of one instant by their path.
    pub(super) fn order(&self, other: &Found) -> std::cmp::Ordering {
        let key = |found: &Found| found.file.mtime_ns;
        key(self)
            .cmp(&key(other))
            .then_with(|| self.file.path.cmp(&other.file.path))
    }
}

/// What a look brought.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// New files, in no order.
    pub(super) found: Vec<Found>,
    /// Directories that were listed: what is still new in them is in `found`, whatever an earlier
    /// look found there.
    pub(super) listed: BTreeSet<u32>,
    /// Names that were gone through.
    pub(super) names: u64,
    /// Nothing of earlier looks counts.
    pub(super) anew: bool,
    /// Files that are not what they were when they were read.
    pub(super) changed: Vec<Changed>,
    /// Files that came with a time so old that they count as seen.
    pub(super) too_old: Vec<(Fingerprint, String)>,
}

/// A file that counts as seen and has another size or time by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) fingerprint: Fingerprint,
    pub(super) stamp: Stamp,
    pub(super) path: String,
}

/// What a look needs to know.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) settings: &'a Settings,
    pub(super) notices: &'a Notices,
    pub(super) now_ms: i64,
    /// What a file was when it was seen; `None` if it was not.
    pub(super) known: &'a dyn Fn(Fingerprint) -> Option<Stamp>,
    /// How many files were seen.
    pub(super) known_count: usize,
    /// Files older than this count as seen.
    pub(super) horizon_ms: i64,
    /// The time of the newest file that was seen.
    pub(super) newest_ms: i64,
}

/// The directories of a source, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// One a pattern without braces; one for a plain path.
    trees: Vec<Directory>,
    directories: u32,
    settling: BTreeMap<Fingerprint, Settling>,
    doubt: bool,
    /// Whose turn it is among the known files; the first by chance of the clock, so that runs that
    /// look once do not always compare the same.
    turn: Option<u64>,
}

/// A directory, or a place in a pattern.
#[derive(Debug)]
struct Directory {
    number: u32,
    path: PathBuf,
    listed: Option<Listed>,
    /// Entries to be looked into: the directories among those that were listed.
    below: BTreeMap<String, Directory>,
    /// The log, if the directory is one that a sink writes.
    log: Option<Log>,
}

/// How far the log of a sink was followed.
#[derive(Clone, Copy, Debug)]
struct Log {
    listed: Listed,
    upto: Epoch,
}

/// A directory without links: a log writes paths as its sink had them. The last one is kept, because
/// nearly all files of a log are in one.
#[derive(Debug, Default)]
struct Resolved {
    written: PathBuf,
    resolved: PathBuf,
}

impl Resolved {
    fn resolve(&mut self, directory: &Path) -> Result<(), ConnectorError> {
        if self.written != directory {
            self.resolved = files::canonical(directory)?;
            directory.clone_into(&mut self.written);
        }
        Ok(())
    }
}

/// A directory as it was when it was listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    id: FileId,
    modified_ns: i64,
    at_ms: i64,
    names: u64,
    /// Files that are not ready yet were passed over, so that there is something to come back for.
    waits: bool,
}

impl Listed {
    fn new(stat: &Stat, now_ms: i64) -> Listed {
        Listed {
            id: stat.id,
            modified_ns: stat.modified_ns,
            at_ms: now_ms,
            names: 0,
            waits: false,
        }
    }

    /// Whether listing the directory again would bring nothing.
    fn holds(&self, stat: &Stat, now_ms: i64) -> bool {
        let names = i64::try_from(self.names).unwrap_or(i64::MAX);
        let believed_ms = (names / NAMES_PER_MS).clamp(*BELIEVED_MS.start(), *BELIEVED_MS.end());
        let age_ms = now_ms.saturating_sub(self.at_ms);
        !self.waits
            && self.id == stat.id
            && self.modified_ns == stat.modified_ns
            && self.at_ms.saturating_sub(self.modified_ns / 1_000_000) >= CLEARLY_MS
            && (0..believed_ms).contains(&age_ms)
    }
}

/// A file whose size and time must stand still before it is taken.
#[derive(Clone, Debug)]
struct Settling {
    path: String,
    size: u64,
    mtime_ns: i64,
    since_ms: i64,
}

impl Listing {
    /// The files that belong to the source now, were not seen, and were not found by an earlier look
    /// at the same directory.
    pub(super) fn look(&mut self, question: Question<'_>) -> Result<Look, ConnectorError> {
        let settings = question.settings;
        let turn = self.turn.unwrap_or(question.now_ms.unsigned_abs() / 1_000);
        self.turn = Some(turn.wrapping_add(1));
        let anew = self.doubt;
        if anew {
            self.trees.clear();
            self.doubt = false;
        }
        // A file may really be called like a pattern; Spark looks for it first, too.
        let literal = settings.patterns.is_empty() || files::stat(&settings.root)?.is_some();
        let plain = vec![(settings.root_path.clone(), Vec::new())];
        let starts = if literal { &plain } else { &settings.patterns };
        let mut trees = std::mem::take(&mut self.trees);
        if trees.len() != starts.len() || !trees.iter().zip(starts).all(|(t, s)| t.path == s.0) {
            trees = starts
                .iter()
                .map(|(path, _)| self.directory(path))
                .collect();
        }
        let mut search = Search {
            question,
            names: settings.name_filter.as_deref().map(glob::expand),
            directories: &mut self.directories,
            settling_before: &self.settling,
            settling: BTreeMap::new(),
            look: Look {
                anew,
                ..Look::default()
            },
            turns: (question.known_count / COMPARED).max(1) as u64,
            turn,
            above: Vec::new(),
            path: String::new(),
        };
        for (tree, (_, parts)) in trees.iter_mut().zip(starts) {
            search.visit(tree, parts, 0)?;
        }
        let Search { settling, look, .. } = search;
        self.settling = settling;
        self.trees = trees;
        Ok(look)
    }

    fn directory(&mut self, path: &Path) -> Directory {
        directory(&mut self.directories, path.to_owned())
    }

    /// Files that must stand still for longer before they are taken.
    pub(super) fn settling(&self) -> impl Iterator<Item = &str> {
        self.settling.values().map(|file| file.path.as_str())
    }

    /// Forgets what directories said: files that were found are to be found again.
    pub(super) fn doubt(&mut self) {
        self.doubt = true;
    }
}

fn directory(directories: &mut u32, path: PathBuf) -> Directory {
    *directories = directories.wrapping_add(1);
    Directory {
        number: *directories,
        path,
        listed: None,
        below: BTreeMap::new(),
        log: None,
    }
}

/// A look in progress.
struct Search<'a> {
    question: Question<'a>,
    names: Option<Vec<String>>,
    directories: &'a mut u32,
    settling_before: &'a BTreeMap<Fingerprint, Settling>,
    settling: BTreeMap<Fingerprint, Settling>,
    look: Look,
    /// How many turns the known files take, and whose it is.
    turns: u64,
    turn: u64,
    /// The directories on the way here.
    above: Vec<FileId>,
    /// The path of the file that is looked at, in one buffer for all.
    path: String,
}

impl Search<'_> {
    /// Looks into a directory that is reached by the pattern up to `parts`, the rest of it; `depth`
    /// counts directories below the end of the pattern.
    fn visit(
        &mut self,
        here: &mut Directory,
        parts: &[String],
        depth: usize,
    ) -> Result<(), ConnectorError> {
        if let Some((part, rest)) = parts.split_first()
            && !glob::is_pattern(part)
        {
            let path = here.path.join(part);
            let below = here.below.entry(part.clone());
            let below = below.or_insert_with(|| directory(self.directories, path));
            return self.visit(below, rest, 0);
        }
        let Some(stat) = self.stat(&here.path)? else {
            if here.listed.is_some() && self.above.is_empty() {
                self.notice(Kind::Gone, &here.path);
            }
            here.listed = None;
            here.below.clear();
            return Ok(());
        };
        if !stat.is_dir {
            return self.single(here, parts);
        }
        // An inode of 0 means that the system has none to tell things apart.
        if stat.id.inode != 0 && self.above.contains(&stat.id) || depth > DEPTH_MAX {
            self.notice(Kind::Endless, &here.path);
            return Ok(());
        }
        if parts.is_empty() && depth == 0 && self.follow_log(here)? {
            return Ok(());
        }
        if !here
            .listed
            .is_some_and(|listed| listed.holds(&stat, self.question.now_ms))
        {
            self.list(here, parts, &stat)?;
        }
        self.above.push(stat.id);
        let (rest, depth) = match parts.split_first() {
            Some((_, rest)) => (rest, 0),
            None => (parts, depth + 1),
        };
        for below in here.below.values_mut() {
            self.visit(below, rest, depth)?;
        }
        self.above.pop();
        Ok(())
    }

    /// A path that names one file.
    fn single(&mut self, here: &Directory, parts: &[String]) -> Result<(), ConnectorError> {
        let parent = here.path.parent().and_then(Path::to_str);
        let name = here.path.file_name().and_then(|name| name.to_str());
        if let (Some(parent), Some(name), true) = (parent, name, parts.is_empty()) {
            self.look.listed.insert(here.number);
            self.path.clear();
            self.path.push_str(parent);
            if !parent.ends_with('/') {
                self.path.push('/');
            }
            self.path.push_str(name);
            let start = self.path.len() - name.len();
            self.file(start, here.number, true)?;
        }
        Ok(())
    }

    /// Takes the files that the log of a sink names; false if there is no log.
    fn follow_log(&mut self, here: &mut Directory) -> Result<bool, ConnectorError> {
        let log = here.path.join(log::DIRECTORY);
        let Some(stat) = files::stat(&log)?.filter(|stat| stat.is_dir) else {
            here.log = None;
            return Ok(false);
        };
        let now_ms = self.question.now_ms;
        if here.log.is_some_and(|log| log.listed.holds(&stat, now_ms)) {
            return Ok(true);
        }
        // A log that began anew has nothing to do with what was read of the one before.
        let same = here.log.filter(|known| known.listed.id == stat.id);
        let mut directories = Resolved::default();
        let followed = log::follow(&here.path, same.map(|log| log.upto), &mut |path| {
            self.look.names += 1;
            self.logged(&path, &mut directories, here.number)
        })?;
        let Followed::UpTo(upto) = followed else {
            // A sink that has committed nothing hides nothing.
            here.log = None;
            return Ok(false);
        };
        if self.question.settings.clean != Clean::Off {
            let want = "off: the path is the output of a file sink";
            return Err(bad("cleanSource", want, "another"));
        }
        here.log = Some(Log {
            listed: Listed::new(&stat, now_ms),
            upto,
        });
        Ok(true)
    }

    /// Takes a file that a log names: it must be there, else rows would be missing in silence.
    fn logged(
        &mut self,
        path: &Path,
        directories: &mut Resolved,
        directory: u32,
    ) -> Result<(), ConnectorError> {
        let name = path.file_name().and_then(|name| name.to_str());
        let (Some(parent), Some(name)) = (path.parent(), name) else {
            return Ok(());
        };
        directories.resolve(parent)?;
        let Some(parent) = directories.resolved.to_str() else {
            self.notice(Kind::Unreadable, path);
            return Ok(());
        };
        self.path.clear();
        self.path.push_str(parent);
        self.path.push('/');
        let start = self.path.len();
        self.path.push_str(name);
        if self.file(start, directory, false)? == Presence::There {
            return Ok(());
        }
        match self.question.settings.missing {
            OnTrouble::PassOver => {
                self.notice(Kind::Missing, path);
                Ok(())
            }
            OnTrouble::Stop => Err(ConnectorError::SinkDamaged {
                path: path.display().to_string(),
                reason: "the log names this file and it is missing".to_owned(),
            }),
        }
    }

    /// Lists a directory: what is new in it is found, and what may hold more is below it.
    fn list(
        &mut self,
        here: &mut Directory,
        parts: &[String],
        stat: &Stat,
    ) -> Result<(), ConnectorError> {
        let Some(text) = here.path.to_str() else {
            self.notice(Kind::Unreadable, &here.path);
            return Ok(());
        };
        let mut listed = Listed::new(stat, self.question.now_ms);
        let settling = self.settling.len();
        self.path.clear();
        self.path.push_str(text);
        if !text.ends_with('/') {
            self.path.push('/');
        }
        let start = self.path.len();
        let mut before = std::mem::take(&mut here.below);
        let mut failure = None;
        files::scan(&here.path, &mut |name, kind| {
            listed.names += 1;
            if failure.is_some() {
                return;
            }
            let name = match name {
                Ok(name) => name,
                Err(name) => return self.notice(Kind::Unreadable, &here.path.join(name)),
            };
            self.path.truncate(start);
            self.path.push_str(name);
            match self.entry(parts, start, kind, here.number) {
                Ok(Entry::Nothing) => {}
                Ok(Entry::Below) => {
                    let known = before.remove(name);
                    let below =
                        known.unwrap_or_else(|| directory(self.directories, here.path.join(name)));
                    here.below.insert(name.to_owned(), below);
                }
                Err(error) => failure = Some(error),
            }
        })?;
        failure.map_or(Ok(()), Err)?;
        listed.waits = self.settling.len() > settling;
        self.look.names += listed.names;
        self.look.listed.insert(here.number);
        here.listed = Some(listed);
        Ok(())
    }

    /// Looks at the entry of a directory whose path is in `self.path`; its name begins at `start`.
    fn entry(
        &mut self,
        parts: &[String],
        start: usize,
        kind: EntryKind,
        directory: u32,
    ) -> Result<Entry, ConnectorError> {
        let name = self.path.get(start..).unwrap_or_default();
        let hidden = is_hidden(name);
        let (below, file) = match parts.split_first() {
            Some((part, rest)) => {
                let matches = !hidden && glob::matches(part, name);
                (matches, matches && rest.is_empty())
            }
            None => {
                let below = self.question.settings.recursive || name.contains('=');
                (below && !hidden, !hidden)
            }
        };
        let kind = match kind {
            EntryKind::Unclear if below || file => match self.stat(Path::new(&self.path))? {
                Some(stat) if stat.is_dir => EntryKind::Directory,
                Some(_) => EntryKind::Regular,
                None => return Ok(Entry::Nothing),
            },
            EntryKind::Regular | EntryKind::Directory | EntryKind::Unclear | EntryKind::Special => {
                kind
            }
        };
        match kind {
            EntryKind::Directory if below => return Ok(Entry::Below),
            EntryKind::Regular if file => {
                self.file(start, directory, true)?;
            }
            EntryKind::Special if file && self.is_wanted(start) => {
                self.question.notices.count(Kind::Special, &self.path);
            }
            EntryKind::Directory | EntryKind::Regular | EntryKind::Special | EntryKind::Unclear => {
            }
        }
        Ok(Entry::Nothing)
    }

    fn is_wanted(&self, start: usize) -> bool {
        let name = self.path.get(start..).unwrap_or_default();
        let wanted = self
            .names
            .as_ref()
            .is_none_or(|patterns| patterns.iter().any(|p| glob::matches(p, name)));
        wanted && !is_hidden(name)
    }

    /// Compares a file that was seen with what it was, when it is its turn: one that grew, was cut or
    /// replaced is not read again, and somebody should know.
    fn compare(&mut self, fingerprint: Fingerprint, was: Stamp) -> Result<(), ConnectorError> {
        let is_its_turn = fingerprint.first() % self.turns == self.turn % self.turns;
        // Where the name alone counts, another file of this name is meant to be passed over.
        if !is_its_turn || self.question.settings.name_only {
            return Ok(());
        }
        let Some(stat) = self.stat(Path::new(&self.path))? else {
            return Ok(());
        };
        let stamp = Stamp::of(stat.size, stat.modified_ns);
        if stat.is_regular && !was.allows(stamp) {
            self.look.changed.push(Changed {
                fingerprint,
                stamp,
                path: self.path.clone(),
            });
        }
        Ok(())
    }

    /// Takes the file whose path is in `self.path`, if it is new and ready. What a log names does not
    /// change, and need not be compared.
    fn file(
        &mut self,
        start: usize,
        directory: u32,
        may_change: bool,
    ) -> Result<Presence, ConnectorError> {
        if !self.is_wanted(start) {
            return Ok(Presence::There);
        }
        let Question {
            settings,
            notices,
            now_ms,
            known,
            horizon_ms,
            newest_ms,
            known_count: _,
        } = self.question;
        let fingerprint = settings.fingerprint(&self.path);
        // A directory of old files costs little more than its names.
        if let Some(was) = known(fingerprint) {
            if may_change {
                self.compare(fingerprint, was)?;
            }
            return Ok(Presence::There);
        }
        let Some(stat) = self.stat(Path::new(&self.path))? else {
            return Ok(Presence::Missing);
        };
        if let Some(end) = packing::foreign(&self.path) {
            return Err(ConnectorError::Unsupported {
                connector: super::NAME,
                what: format!("cannot unpack files that end with {end}: {:?}", self.path),
            });
        }
        if !stat.is_regular {
            notices.count(Kind::Special, &self.path);
        } else if stat.modified_ms < horizon_ms {
            // What was read and forgotten since has been here for longer than the newest file.
            if stat.changed_ms > newest_ms {
                self.look.too_old.push((fingerprint, self.path.clone()));
            }
        } else if self.has_settled(fingerprint, &stat, settings.settle_ms, now_ms) {
            self.look.found.push(Found {
                file: InputFile {
                    path: self.path.clone(),
                    size: stat.size,
                    mtime_ns: stat.modified_ns,
                },
                directory,
            });
        }
        Ok(Presence::There)
    }

    /// Whether size and time of a file have stood still for long enough.
    fn has_settled(
        &mut self,
        fingerprint: Fingerprint,
        stat: &Stat,
        settle_ms: i64,
        now_ms: i64,
    ) -> bool {
        if (settle_ms..).contains(&now_ms.saturating_sub(stat.modified_ms)) || settle_ms == 0 {
            return true;
        }
        // The file's clock may be another one than ours: what counts is that nothing moved.
        let before = self.settling_before.get(&fingerprint);
        let before = before.filter(|b| (b.size, b.mtime_ns) == (stat.size, stat.modified_ns));
        let since_ms = before.map_or(now_ms, |before| before.since_ms);
        if now_ms.saturating_sub(since_ms) >= settle_ms {
            return true;
        }
        let settling = Settling {
            path: self.path.clone(),
            size: stat.size,
            mtime_ns: stat.modified_ns,
            since_ms,
        };
        self.settling.insert(fingerprint, settling);
        false
    }

    /// What is at a path; nothing if links go round in circles.
    fn stat(&self, path: &Path) -> Result<Option<Stat>, ConnectorError> {
        match files::stat(path) {
            Err(ConnectorError::Io { source, .. }) if files::is_endless(&source) => {
                self.notice(Kind::Endless, path);
                Ok(None)
            }
            other => other,
        }
    }

    fn notice(&self, kind: Kind, path: &Path) {
        self.question.notices.count(kind, &path.to_string_lossy());
    }
}

/// Whether a path names something. One that need not be looked at counts as there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    There,
    Missing,
}

/// What an entry of a directory is good for beyond itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Nothing,
    Below,
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.']) && !(name.starts_with('_') && name.contains('='))
}
