//! Reading entries as a stream.

use std::ops::{ControlFlow, Range};

use super::{Identity, Place, list_segments, segment};
use crate::{
    Disk, EpochError, RelPath, Tail,
    codec::{ENVELOPE_BYTES, Kind, Opened},
    parts::{byte_count, file_bytes, read_part as read_bytes},
};
use segment::{FRAME, HEADER, read_frame, read_header, scan};

/// Bytes that are read at once; a longer frame is read as a whole.
const CHUNK_BYTES: usize = 1 << 18;

/// What to read of one segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    first: u64,
    /// Where a frame begins, if that is known.
    start: Option<Place>,
    /// Where the segment ends, if that is known: it may grow while it is read.
    len: Option<u64>,
    /// The first entry that it does not have.
    end: u64,
}

/// The parts that hold a range, oldest first.
pub(super) fn plan(segments: &[u64], marks: &[Place], end: Place, range: &Range<u64>) -> Vec<Part> {
    let skipped = segments.partition_point(|first| *first <= range.start);
    let mut parts = Vec::new();
    for (index, first) in segments.iter().enumerate().skip(skipped.saturating_sub(1)) {
        if *first >= range.end {
            break;
        }
        let next = segments.get(index.saturating_add(1)).copied();
        let is_newest = next.is_none();
        let mark = marks.iter().rev().find(|mark| mark.entry <= range.start);
        parts.push(Part {
            first: *first,
            start: mark.copied().filter(|_| is_newest),
            len: is_newest.then_some(end.offset),
            end: next.unwrap_or(end.entry),
        });
    }
    parts
}

/// Hands on the entries of `range` that a part has.
pub(super) fn read_part(
    disk: &dyn Disk,
    identity: &Identity,
    part: &Part,
    range: &Range<u64>,
    take: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, EpochError> {
    let path = identity.path(part.first);
    let damaged = |error| EpochError::decode(&path, &error);
    let mut window = Window::new(disk, &path, part.len)?;
    let mut at = if let Some(place) = part.start {
        window.skip_to(place.offset);
        place
    } else {
        let bytes = window.envelope(&HEADER)?;
        let at = read_header(bytes, identity, part.first).map_err(damaged)?;
        window.skip_to(at.offset);
        at
    };
    while at.entry < range.end {
        if window.is_at_end() {
            break;
        }
        let opened: Opened<'_> = FRAME.open(window.envelope(&FRAME)?).map_err(damaged)?;
        let frame = read_frame(at, &opened).map_err(damaged)?;
        for (number, entry) in (at.entry..).zip(&frame.entries) {
            if range.contains(&number) && take(number, entry).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        at = frame.next;
        window.skip_to(at.offset);
    }
    // Every entry of it was asked for, or it ended too early.
    if at.entry < range.end.min(part.end) || at.entry > part.end {
        return Err(EpochError::Hole {
            file: path.clone(),
            what: "entry of a journal",
            want: part.end,
            got: at.entry,
        });
    }
    Ok(ControlFlow::Continue(()))
}

/// The part of a file that is in memory.
struct Window<'a> {
    disk: &'a dyn Disk,
    path: &'a RelPath,
    file_bytes: u64,
    /// Where the next envelope begins.
    offset: u64,
    /// Bytes of the file from `loaded_at` on.
    loaded: Vec<u8>,
    loaded_at: u64,
}

impl<'a> Window<'a> {
    fn new(
        disk: &'a dyn Disk,
        path: &'a RelPath,
        known_bytes: Option<u64>,
    ) -> Result<Window<'a>, EpochError> {
        let file_bytes = match known_bytes {
            Some(bytes) => bytes,
            None => file_bytes(disk, path)?,
        };
        Ok(Window {
            disk,
            path,
            file_bytes,
            offset: 0,
            loaded: Vec::new(),
            loaded_at: 0,
        })
    }

    fn skip_to(&mut self, offset: u64) {
        self.offset = offset;
    }

    fn is_at_end(&self) -> bool {
        self.offset >= self.file_bytes
    }

    /// What is loaded from the current place on.
    fn rest(&self) -> &[u8] {
        let start = self.offset.checked_sub(self.loaded_at);
        let start = start.and_then(|start| usize::try_from(start).ok());
        let rest = start.and_then(|start| self.loaded.get(start..));
        rest.unwrap_or_default()
    }

    /// Loads at least `want` bytes from the current place on, if the file has them.
    fn load(&mut self, want: usize) -> Result<(), EpochError> {
        if self.rest().len() >= want {
            return Ok(());
        }
        let left = self.file_bytes.saturating_sub(self.offset);
        let len = u64::try_from(want.max(CHUNK_BYTES)).unwrap_or(u64::MAX);
        self.loaded = read_bytes(self.disk, self.path, self.offset, len.min(left))?;
        self.loaded_at = self.offset;
        Ok(())
    }

    /// Bytes that begin with the envelope at the current place, all of it if the file has it.
    fn envelope(&mut self, kind: &Kind) -> Result<&[u8], EpochError> {
        self.load(ENVELOPE_BYTES)?;
        let len = kind.announced(self.rest());
        self.load(len)?;
        let rest = self.rest();
        Ok(rest.get(..len).unwrap_or(rest))
    }
}

/// What a journal looks like to somebody who does not open it.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// The entries that are kept.
    pub(crate) entries: Range<u64>,
    /// Its segments, oldest first, with what is wrong with them and the bytes of a torn end.
    pub(crate) segments: Vec<(RelPath, Result<u64, EpochError>)>,
}

/// How much of a journal is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What an opening reads.
    Newest,
    /// Every byte.
    All,
}

/// Looks at a journal as an opening would, and changes nothing.
pub(crate) fn look(disk: &dyn Disk, identity: &Identity, depth: Depth) -> Result<Look, EpochError> {
    let firsts = list_segments(disk, identity)?;
    let mut look = Look {
        entries: firsts.first().map_or(0..0, |first| *first..*first),
        segments: Vec::new(),
    };
    for (index, first) in firsts.iter().enumerate() {
        let path = identity.path(*first);
        let state = match firsts.get(index.saturating_add(1)) {
            None => newest_end(disk, identity, *first).map(|(end, torn)| {
                look.entries.end = end;
                torn
            }),
            Some(_) if depth == Depth::Newest => Ok(0),
            Some(next) => {
                let part = Part {
                    first: *first,
                    start: None,
                    len: None,
                    end: *next,
                };
                let mut skip = |_, _: &[u8]| ControlFlow::Continue(());
                let all = *first..u64::MAX;
                read_part(disk, identity, &part, &all, &mut skip).map(|_| 0)
            }
        };
        if let Err(error @ EpochError::Disk { .. }) = state {
            return Err(error);
        }
        look.segments.push((path, state));
    }
    Ok(look)
}

/// The number behind the newest segment's last entry, and the bytes of a torn end.
fn newest_end(disk: &dyn Disk, identity: &Identity, first: u64) -> Result<(u64, u64), EpochError> {
    let path = identity.path(first);
    let bytes = disk.read(&path).map_err(EpochError::disk("read", &path))?;
    let found = scan(&bytes, identity, first).map_err(|error| EpochError::decode(&path, &error))?;
    if let Tail::Damaged(error) = &found.tail {
        return Err(EpochError::decode(&path, error));
    }
    let end = found.end();
    Ok((end.entry, byte_count(&bytes).saturating_sub(end.offset)))
}
