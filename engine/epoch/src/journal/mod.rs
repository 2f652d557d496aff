//! Journals: what a source knows, as an append-only list of byte strings on disk.
//!
//! A source that has seen ten million files cannot name them in a plan or a manifest. It appends
//! them here and names them by number. So the work and the bytes of a call depend on the entries
//! that it names, never on how many there are: appending writes them once, opening reads the newest
//! segment only, reading looks up the segment by its name.
//!
//! A journal is files of a few mebibytes, its segments, each named by its first entry. Only the
//! newest one grows. It is written anew at each start, as the log is: what an earlier process left
//! after a failed sync may be in memory only. What is not as it was written is noticed where it is
//! read: a torn end is cut off at the start, anything else is an error with a code.
//!
//! Tests: `tests.rs` beside this file crashes it at every operation and damages every byte.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod cut;
mod read;
mod segment;
#[cfg(test)]
mod tests;

use std::{
    io,
    iter::Peekable,
    ops::{ControlFlow, Range},
    sync::{Arc, Mutex},
};

pub(crate) use read::{Depth, look};

use crate::{
    AppendFile, Disk, DiskLock, EpochError, RelPath, Tail,
    guard::{Guard, locked},
    layout,
};
use segment::{Frames, Place, header_bytes, scan};

/// A segment takes no more entries when it has this many bytes. So much is read and written anew at
/// a start, and read at most to find an entry.
pub(crate) const SEGMENT_BYTES: u64 = 4 << 20;
/// So many places of a segment are remembered.
const MARKS: u64 = 64;
const NAME_BYTES_MAX: usize = 32;

/// Which journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) query_id: String,
    pub(crate) source: u32,
    pub(crate) name: String,
}

impl Identity {
    pub(crate) fn new(query_id: &str, source: u32, name: &str) -> Result<Identity, EpochError> {
        let is_good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_good) {
            return Err(EpochError::Contract {
                what: "name of a journal",
                value: format!("{name:?}"),
            });
        }
        Ok(Identity::of_file(query_id, source, name))
    }

    /// Of files that are there, whatever their name.
    pub(crate) fn of_file(query_id: &str, source: u32, name: &str) -> Identity {
        Identity {
            query_id: query_id.to_owned(),
            source,
            name: name.to_owned(),
        }
    }

    fn path(&self, first: u64) -> RelPath {
        layout::journal(self.source, &self.name, first)
    }
}

/// A journal of one source. May be shared between threads; reading does not wait for appending.
#[derive(Debug)]
pub struct Journal {
    guard: Guard,
    identity: Identity,
    segment_bytes: u64,
    torn_bytes: u64,
    state: Mutex<State>,
    _lock: Arc<dyn DiskLock>,
}

/// Where the journal begins and ends.
#[derive(Debug, Default)]
struct State {
    /// The first entries of the segments, oldest first.
    segments: Vec<u64>,
    /// The newest segment.
    file: Option<Box<dyn AppendFile>>,
    /// Its end.
    end: Place,
    /// Places in it, in order; a read begins at the last one before its first entry.
    marks: Vec<Place>,
    /// How far they are apart.
    mark_bytes: u64,
}

impl State {
    fn entries(&self) -> Range<u64> {
        let start = self.segments.first().copied();
        start.unwrap_or(self.end.entry)..self.end.entry
    }

    fn add_mark(&mut self, place: Place) {
        let is_far = |last: &Place| place.offset.saturating_sub(last.offset) >= self.mark_bytes;
        if self.marks.last().is_none_or(is_far) {
            self.marks.push(place);
        }
    }

    /// The newest segment is now this one.
    fn set_newest(&mut self, file: Box<dyn AppendFile>, places: &[Place], end: Place) {
        self.file = Some(file);
        self.end = end;
        self.marks.clear();
        for place in places {
            self.add_mark(*place);
        }
    }
}

impl Journal {
    /// Opens a journal, and cuts off what a crash left of its last append.
    pub(crate) fn open(
        guard: Guard,
        lock: Arc<dyn DiskLock>,
        identity: Identity,
        segment_bytes: u64,
    ) -> Result<Journal, EpochError> {
        guard.check()?;
        let dir = layout::source_dir(identity.source);
        guard
            .disk
            .create_dir_all(&dir)
            .map_err(EpochError::disk("create", &dir))?;
        // A directory that an earlier process made may not be durable yet.
        guard.sync_dir(&dir.parent().parent())?;
        guard.sync_dir(&dir.parent())?;
        let mut journal = Journal {
            segment_bytes,
            torn_bytes: 0,
            state: Mutex::new(State {
                segments: list_segments(&*guard.disk, &identity)?,
                mark_bytes: segment_bytes / MARKS,
                ..State::default()
            }),
            guard,
            identity,
            _lock: lock,
        };
        journal.torn_bytes = journal.open_newest()?;
        Ok(journal)
    }

    /// Reads the newest segment and writes it anew; gives the bytes that were cut off.
    fn open_newest(&self) -> Result<u64, EpochError> {
        let mut state = locked(&self.state);
        let Some(first) = state.segments.last().copied() else {
            return Ok(0);
        };
        let path = self.identity.path(first);
        let disk = &self.guard.disk;
        let mut bytes = disk.read(&path).map_err(EpochError::disk("read", &path))?;
        let found = scan(&bytes, &self.identity, first);
        let found = found.map_err(|error| EpochError::decode(&path, &error))?;
        if let Tail::Damaged(error) = &found.tail {
            return Err(EpochError::decode(&path, error));
        }
        let len = bytes.len();
        bytes.truncate(usize::try_from(found.end().offset).unwrap_or(usize::MAX));
        // Before this process puts a file in the place of one that it may not own any more.
        self.guard.check_fence()?;
        self.guard.write_whole(&path, &bytes)?;
        let file = self.open_append(&path)?;
        state.set_newest(file, &found.places, found.end());
        let torn = len.saturating_sub(bytes.len());
        Ok(u64::try_from(torn).unwrap_or(u64::MAX))
    }

    fn open_append(&self, path: &RelPath) -> Result<Box<dyn AppendFile>, EpochError> {
        let file = self.guard.disk.open_append(path);
        self.guard.poison.watch("open", path, file)
    }

    /// Bytes of an unfinished append that were cut off when it was opened.
    #[must_use]
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// The numbers of the entries that are kept.
    #[must_use]
    pub fn entries(&self) -> Range<u64> {
        locked(&self.state).entries()
    }

    /// Appends entries and gives their numbers. When it returns they are durable; all of them, or
    /// after a crash any first part of them. Costs one write and one sync for each segment that it
    /// touches, and a new file for each that it begins.
    ///
    /// # Errors
    /// [`EpochError::Full`], after which none of them is there and the call may be repeated; so it
    /// is after [`EpochError::Disk`], unless the journal is [`EpochError::Poisoned`] from then on.
    /// [`EpochError::TooLong`] for an entry of more than 16 MiB, [`EpochError::Fenced`].
    pub fn append(
        &self,
        entries: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<Range<u64>, EpochError> {
        let mut state = locked(&self.state);
        self.guard.check()?;
        let mut entries = entries.peekable();
        let before = state.end;
        let segments = state.segments.len();
        while entries.peek().is_some() {
            let is_full = state.file.is_none() || state.end.offset >= self.segment_bytes;
            let added = if is_full {
                self.begin_segment(&mut state, &mut entries)
            } else {
                self.extend_segment(&mut state, &mut entries)
            };
            if let Err(error) = added {
                self.roll_back(&mut state, segments, before);
                return Err(error);
            }
        }
        // Whoever takes over makes the fence first and reads then: either it is seen here, or
        // these entries are seen there.
        self.guard.check_fence()?;
        Ok(before.entry..state.end.entry)
    }

    fn extend_segment(
        &self,
        state: &mut State,
        entries: &mut Peekable<&mut dyn Iterator<Item = Vec<u8>>>,
    ) -> Result<(), EpochError> {
        let at = state.end;
        let frames = Frames::gather(at, false, self.segment_bytes, entries)?;
        let path = self
            .identity
            .path(state.segments.last().copied().unwrap_or(0));
        let file = state.file.as_mut().ok_or_else(|| EpochError::Contract {
            what: "journal without a segment",
            value: path.to_string(),
        })?;
        if let Err(error) = file.append(&frames.bytes) {
            // Part of it may be there. If it cannot be cut off, a restart has to.
            if file.truncate(at.offset).and_then(|()| file.sync()).is_err() {
                self.guard.poison.set(&path);
            }
            return Err(EpochError::disk("append to", &path)(error));
        }
        self.guard.poison.watch("sync", &path, file.sync())?;
        for place in frames.places {
            state.add_mark(place);
        }
        state.end = frames.end;
        Ok(())
    }

    fn begin_segment(
        &self,
        state: &mut State,
        entries: &mut Peekable<&mut dyn Iterator<Item = Vec<u8>>>,
    ) -> Result<(), EpochError> {
        self.guard.check_fence()?;
        let first = state.end.entry;
        let path = self.identity.path(first);
        let (mut bytes, at) = header_bytes(&self.identity, first)
            .map_err(EpochError::too_long("the header of a journal"))?;
        let frames = Frames::gather(at, true, self.segment_bytes, entries)?;
        bytes.extend_from_slice(&frames.bytes);
        self.guard.write_whole(&path, &bytes)?;
        let file = self.open_append(&path)?;
        state.segments.push(first);
        state.set_newest(file, &frames.places, frames.end);
        Ok(())
    }

    /// Undoes the first part of an append whose next part failed. What cannot be undone is left to
    /// a restart, which takes any first part of an append.
    fn roll_back(&self, state: &mut State, segments: usize, end: Place) {
        if state.end == end || self.guard.check().is_err() {
            return;
        }
        let newest = state.segments.last().copied().unwrap_or(0);
        match self.cut_back(state, segments, end) {
            // Fenced: what is there belongs to another process, and this one ends.
            Ok(()) | Err(EpochError::Fenced { .. }) => {}
            Err(_) => self.guard.poison.set(&self.identity.path(newest)),
        }
    }

    /// Reads the entries of `range`, oldest first, until `take` breaks. Holds about one frame.
    ///
    /// # Errors
    /// [`EpochError::Hole`] when one of them is not kept, also one that was never written;
    /// [`EpochError::Damaged`], [`EpochError::Format`], [`EpochError::Disk`].
    pub fn read(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EpochError> {
        let state = locked(&self.state);
        let kept = state.entries();
        if range.is_empty() {
            return Ok(());
        }
        if range.start < kept.start {
            return Err(self.not_kept(range.start, kept.start));
        }
        if range.end > kept.end {
            return Err(self.not_kept(range.end, kept.end));
        }
        let plan = read::plan(&state.segments, &state.marks, state.end, &range);
        // Nobody waits for `take`, and it may append.
        drop(state);
        for part in plan {
            if read::read_part(&*self.guard.disk, &self.identity, &part, &range, take)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Cuts off the entries from `end` on, so that the next one gets this number.
    ///
    /// # Errors
    /// [`EpochError::Hole`] when `end` lies outside of [`Journal::entries`]: what a plan names was
    /// lost. [`EpochError::Full`], after which the call may be repeated; [`EpochError::Disk`],
    /// [`EpochError::Fenced`], [`EpochError::Poisoned`].
    pub fn truncate(&self, end: u64) -> Result<(), EpochError> {
        let mut state = locked(&self.state);
        self.guard.check()?;
        let kept = state.entries();
        if end < kept.start {
            return Err(self.not_kept(end, kept.start));
        }
        if end > kept.end {
            return Err(self.not_kept(end, kept.end));
        }
        if end == kept.end {
            return Ok(());
        }
        self.guard.check_fence()?;
        self.cut_to(&mut state, end)
    }

    /// Lets the entries before `start` go, a segment at a time: those that share a segment with
    /// `start` stay. They must not be read again.
    ///
    /// # Errors
    /// [`EpochError::Disk`] when a file cannot be removed; the next call tries again.
    /// [`EpochError::Fenced`], [`EpochError::Poisoned`].
    pub fn forget(&self, start: u64) -> Result<(), EpochError> {
        let mut state = locked(&self.state);
        self.guard.check()?;
        while let [oldest, next, ..] = state.segments[..]
            && next <= start
        {
            self.guard.check_fence()?;
            self.guard.remove(&self.identity.path(oldest))?;
            // One at a time: removals that reach the disk out of order would leave a hole.
            self.guard
                .sync_dir(&layout::source_dir(self.identity.source))?;
            state.segments.remove(0);
        }
        Ok(())
    }

    fn not_kept(&self, want: u64, got: u64) -> EpochError {
        EpochError::Hole {
            file: self.identity.path(got),
            what: "entry of a journal",
            want,
            got,
        }
    }
}

/// The first entries of the segments that are there, oldest first.
fn list_segments(disk: &dyn Disk, identity: &Identity) -> Result<Vec<u64>, EpochError> {
    let dir = layout::source_dir(identity.source);
    let entries = match disk.list(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(EpochError::disk("list", &dir)(error)),
    };
    let mut firsts: Vec<u64> = entries
        .iter()
        .filter_map(|entry| layout::parse_journal(&entry.name))
        .filter(|(name, _)| *name == identity.name)
        .map(|(_, first)| first)
        .collect();
    firsts.sort_unstable();
    Ok(firsts)
}
