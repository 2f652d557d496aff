//! The bytes of a journal's segment: a header, then frames of entries.
//!
//! A frame says the number of its first entry and the checksum of the frame before it, so an
//! exchanged or repeated frame is noticed. It also says how much of the segment was durable when it
//! was written: an append may be several frames, a disk writes them in any order, and what is whole
//! behind a hole is then no sign of damage.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::iter::Peekable;

use super::Identity;
use crate::{
    EpochError, Tail,
    codec::{DecodeError, Kind, Opened, Reader, TooLong, Writer},
};

pub(super) const HEADER: Kind = Kind {
    magic: *b"MSjs",
    version: 1,
    body_bytes_max: 1 << 12,
};

pub(super) const FRAME: Kind = Kind {
    magic: *b"MSjf",
    version: 1,
    body_bytes_max: 1 << 25,
};

/// The longest entry.
pub(super) const ENTRY_BYTES_MAX: usize = 1 << 24;
/// A frame takes no more entries when it has this many bytes, or a quarter of a segment.
const FRAME_BYTES: usize = 1 << 16;

/// A place between two frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes before it.
    pub(super) offset: u64,
    /// The number of the next entry.
    pub(super) entry: u64,
    /// The checksum of the frame before, or of the header.
    pub(super) previous: u32,
}

/// The entries of one frame.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) entries: Vec<&'a [u8]>,
    /// The place behind it.
    pub(super) next: Place,
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Scan {
    /// The places before its whole frames, and the one behind the last.
    pub(super) places: Vec<Place>,
    pub(super) tail: Tail,
}

impl Scan {
    /// The place behind the last whole frame.
    pub(super) fn end(&self) -> Place {
        self.places.last().copied().unwrap_or_default()
    }
}

/// The bytes of a header and the place behind it.
pub(super) fn header_bytes(identity: &Identity, first: u64) -> Result<(Vec<u8>, Place), TooLong> {
    let mut out = Writer::default();
    out.text(&identity.query_id);
    out.u32(identity.source);
    out.text(&identity.name);
    out.u64(first);
    let bytes = HEADER.seal(&out.finish())?;
    let place = Place {
        offset: byte_count(bytes.len()),
        entry: first,
        previous: Kind::checksum(&bytes),
    };
    Ok((bytes, place))
}

/// The place behind the header at the start of `bytes`, if it is this journal's.
pub(super) fn read_header(
    bytes: &[u8],
    identity: &Identity,
    first: u64,
) -> Result<Place, DecodeError> {
    let opened = HEADER.open(bytes)?;
    let mut from = Reader::new(opened.body);
    let is_ours = from.text("query id")? == identity.query_id
        && from.u32()? == identity.source
        && from.text("name")? == identity.name
        && from.u64()? == first;
    if !is_ours {
        return Err(DecodeError::Value {
            field: "header: it belongs to another journal",
        });
    }
    from.finish()?;
    Ok(Place {
        offset: byte_count(opened.len),
        entry: first,
        previous: opened.crc,
    })
}

/// Frames on their way to a segment.
#[derive(Debug)]
pub(super) struct Frames {
    pub(super) bytes: Vec<u8>,
    /// The places before the frames.
    pub(super) places: Vec<Place>,
    /// The place behind them.
    pub(super) end: Place,
}

impl Frames {
    /// Takes entries until there are no more or the segment has `segment_bytes`; at least one.
    ///
    /// # Errors
    /// [`EpochError::TooLong`] for an entry that no reader accepts.
    pub(super) fn gather(
        at: Place,
        is_new_file: bool,
        segment_bytes: u64,
        entries: &mut Peekable<&mut dyn Iterator<Item = Vec<u8>>>,
    ) -> Result<Frames, EpochError> {
        let mut frames = Frames {
            bytes: Vec::new(),
            places: Vec::new(),
            end: at,
        };
        while entries.peek().is_some() {
            // A file gets its name when all of it is durable: nothing of it is ever torn.
            let safe = if is_new_file { frames.end } else { at };
            frames.add(safe.offset, segment_bytes, entries)?;
            if frames.end.offset >= segment_bytes {
                break;
            }
        }
        Ok(frames)
    }

    fn add(
        &mut self,
        safe_bytes: u64,
        segment_bytes: u64,
        entries: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<(), EpochError> {
        let most = usize::try_from(segment_bytes / 4).unwrap_or(usize::MAX);
        let most = most.min(FRAME_BYTES);
        let (mut taken, mut bytes): (Vec<Vec<u8>>, usize) = (Vec::new(), 0);
        while bytes < most
            && let Some(entry) = entries.next()
        {
            if entry.len() > ENTRY_BYTES_MAX {
                return Err(EpochError::TooLong {
                    what: "an entry of a journal",
                    bytes: entry.len(),
                    bytes_max: ENTRY_BYTES_MAX,
                });
            }
            bytes = bytes.saturating_add(entry.len()).saturating_add(4);
            taken.push(entry);
        }
        let slices: Vec<&[u8]> = taken.iter().map(Vec::as_slice).collect();
        let (frame, next) = frame_bytes(self.end, safe_bytes, &slices)
            .map_err(EpochError::too_long("a frame of a journal"))?;
        self.places.push(self.end);
        self.bytes.extend_from_slice(&frame);
        self.end = next;
        Ok(())
    }
}

/// The bytes of a frame at a place, and the place behind it.
pub(super) fn frame_bytes(
    at: Place,
    safe_bytes: u64,
    entries: &[&[u8]],
) -> Result<(Vec<u8>, Place), TooLong> {
    let mut out = Writer::default();
    out.u64(at.entry);
    out.u64(safe_bytes);
    out.u32(at.previous);
    out.count(entries.len());
    for entry in entries {
        out.bytes(entry);
    }
    let bytes = FRAME.seal(&out.finish())?;
    let next = behind(at, bytes.len(), entries.len(), Kind::checksum(&bytes));
    Ok((bytes, next))
}

fn behind(at: Place, bytes: usize, entries: usize, crc: u32) -> Place {
    Place {
        offset: at.offset.saturating_add(byte_count(bytes)),
        entry: at.entry.saturating_add(byte_count(entries)),
        previous: crc,
    }
}

fn byte_count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// What an envelope that is whole holds, as the frame at this place.
pub(super) fn read_frame<'a>(at: Place, opened: &Opened<'a>) -> Result<Frame<'a>, DecodeError> {
    let mut from = Reader::new(opened.body);
    let first = from.u64()?;
    let safe_bytes = from.u64()?;
    let previous = from.u32()?;
    let field = if first != at.entry {
        "a frame's first entry"
    } else if previous != at.previous {
        "a frame: it does not follow the one before it"
    } else if safe_bytes > at.offset {
        "a frame's durable bytes"
    } else {
        let count = from.count(4)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(from.bytes()?);
        }
        from.finish()?;
        return Ok(Frame {
            next: behind(at, opened.len, entries.len(), opened.crc),
            entries,
        });
    };
    Err(DecodeError::Value { field })
}

/// Reads a segment as far as it is whole, and says how it ends. Any bytes are fine.
pub(super) fn scan(bytes: &[u8], identity: &Identity, first: u64) -> Result<Scan, DecodeError> {
    let mut at = read_header(bytes, identity, first)?;
    let mut places = vec![at];
    let tail = loop {
        let rest = usize::try_from(at.offset)
            .ok()
            .and_then(|offset| bytes.get(offset..))
            .unwrap_or_default();
        if rest.is_empty() {
            break Tail::Clean;
        }
        let opened = match FRAME.open(rest) {
            Ok(opened) => opened,
            Err(error) => break tail(rest, at, error),
        };
        match read_frame(at, &opened) {
            Ok(frame) => at = frame.next,
            // Its checksum agrees: no crash does that.
            Err(error) => break Tail::Damaged(error),
        }
        places.push(at);
    };
    Ok(Scan { places, tail })
}

/// Bytes that are no frame are what a crash left of the last append, unless a frame behind them
/// says that they had been durable, or they are a newer program's.
fn tail(rest: &[u8], at: Place, error: DecodeError) -> Tail {
    let was_durable = rest
        .windows(FRAME.magic.len())
        .enumerate()
        .skip(1)
        .filter(|(_, window)| *window == FRAME.magic)
        .any(|(start, _)| is_later(rest.get(start..).unwrap_or_default(), at));
    if was_durable || matches!(error, DecodeError::Version { .. }) {
        Tail::Damaged(error)
    } else {
        Tail::Torn(error)
    }
}

/// Whether a whole frame stands here that was written when the bytes at `at` were durable.
fn is_later(bytes: &[u8], at: Place) -> bool {
    match FRAME.open(bytes) {
        Ok(opened) => {
            let mut from = Reader::new(opened.body);
            let safe_bytes = from.u64().and_then(|_first| from.u64());
            safe_bytes.is_ok_and(|safe| safe > at.offset)
        }
        Err(DecodeError::Version { .. }) => true,
        Err(_) => false,
    }
}
