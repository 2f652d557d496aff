//! The bytes of a log segment: a header, then frames.
//!
//! A frame is what one append writes and one sync makes durable: one or more records under a
//! single checksum, so a group of records is there as a whole or not at all, also when a disk
//! writes the sectors of one append out of order. Frames are numbered through all segments and
//! each carries the checksum of the one before, so a removed, repeated or foreign frame is noticed.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use millstream_types::Epoch;

use crate::{
    Record,
    codec::{DecodeError, Kind, Opened, Reader, TooLong, Writer},
};

const HEADER: Kind = Kind {
    magic: *b"MSsg",
    version: 1,
    body_bytes_max: 1 << 12,
};

/// Frames of plans and commits alone: what every release reads.
const VERSION: u16 = 1;
/// Frames with the user's word.
const VERSION_WITH_WORDS: u16 = 2;

const FRAME: Kind = Kind {
    magic: *b"MSfr",
    version: VERSION_WITH_WORDS,
    body_bytes_max: 1 << 26,
};

/// The start of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Whose log this is.
    pub query_id: String,
    /// The first plan that the segment may hold; also its file name.
    pub first: Epoch,
}

/// What ties a frame to the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Number of the frame, from 0, through all segments.
    pub sequence: u64,
    /// Checksum of the frame before; 0 for the first.
    pub previous: u32,
}

/// One append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The generation that wrote it.
    pub generation: u64,
    /// Its place in the log.
    pub link: Link,
    /// The link of the frame that follows.
    pub next: Link,
    /// What it says.
    pub records: Vec<Record>,
}

/// How a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With a whole frame.
    Clean,
    /// With bytes that are no frame and that no frame follows: an append that a crash cut off.
    Torn(DecodeError),
    /// Bytes that are no frame stand before a whole one, or a frame's checksum agrees and its
    /// contents are impossible: no crash does that.
    Damaged(DecodeError),
}

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The header, or why there is none.
    pub header: Result<SegmentHeader, DecodeError>,
    /// The whole frames from the start.
    pub frames: Vec<Frame>,
    /// Bytes up to the end of the last whole frame.
    pub good_bytes: usize,
    /// What follows them.
    pub tail: Tail,
}

/// The bytes of a header.
pub(crate) fn header_bytes(header: &SegmentHeader) -> Result<Vec<u8>, TooLong> {
    let mut out = Writer::default();
    out.text(&header.query_id);
    out.u64(header.first.0);
    HEADER.seal(&out.finish())
}

/// The bytes of a frame and the link of the next one.
pub(crate) fn frame_bytes(
    generation: u64,
    link: Link,
    records: &[Record],
) -> Result<(Vec<u8>, Link), TooLong> {
    let mut out = Writer::default();
    out.u64(generation);
    out.u64(link.sequence);
    out.u32(link.previous);
    out.count(records.len());
    for record in records {
        out.bytes(&record.encode());
    }
    let bytes = FRAME.seal_as(version_of(records), &out.finish())?;
    let next = link.after(Kind::checksum(&bytes));
    Ok((bytes, next))
}

fn version_of(records: &[Record]) -> u16 {
    if records.iter().any(Record::is_word) {
        VERSION_WITH_WORDS
    } else {
        VERSION
    }
}

/// The bytes of a header; `None` if the id is too long.
#[must_use]
pub fn encode_header(header: &SegmentHeader) -> Option<Vec<u8>> {
    header_bytes(header).ok()
}

/// The bytes of a frame; `None` if they are longer than a reader accepts (64 MiB).
#[must_use]
pub fn encode_frame(generation: u64, link: Link, records: &[Record]) -> Option<Vec<u8>> {
    frame_bytes(generation, link, records)
        .ok()
        .map(|(bytes, _)| bytes)
}

impl Link {
    fn after(self, crc: u32) -> Link {
        Link {
            sequence: self.sequence.saturating_add(1),
            previous: crc,
        }
    }
}

fn read_header(bytes: &[u8]) -> Result<(SegmentHeader, usize), DecodeError> {
    let opened = HEADER.open(bytes)?;
    let mut from = Reader::new(opened.body);
    let header = SegmentHeader {
        query_id: from.text("query id")?,
        first: Epoch(from.u64()?),
    };
    from.finish()?;
    Ok((header, opened.len))
}

fn read_frame(opened: &Opened<'_>) -> Result<Frame, DecodeError> {
    let mut from = Reader::new(opened.body);
    let generation = from.u64()?;
    let link = Link {
        sequence: from.u64()?,
        previous: from.u32()?,
    };
    let count = from.count(6)?;
    // A record in memory is larger than its smallest bytes, so the count alone takes no memory.
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(Record::decode(from.bytes()?)?);
    }
    from.finish()?;
    if opened.version != version_of(&records) {
        return Err(DecodeError::Value {
            field: "a frame's version",
        });
    }
    Ok(Frame {
        generation,
        link,
        next: link.after(opened.crc),
        records,
    })
}

/// Whether any whole frame stands in these bytes, at whatever place.
fn holds_a_frame(bytes: &[u8]) -> bool {
    bytes
        .windows(FRAME.magic.len())
        .enumerate()
        .filter(|(_, window)| *window == FRAME.magic)
        .any(|(at, _)| {
            let opened = FRAME.open(bytes.get(at..).unwrap_or_default());
            matches!(opened, Ok(_) | Err(DecodeError::Version { .. }))
        })
}

/// Reads a segment as far as it is whole, and says how it ends. Any bytes are fine.
#[must_use]
pub fn scan(bytes: &[u8]) -> Scan {
    let (header, mut at) = match read_header(bytes) {
        Ok((header, len)) => (Ok(header), len),
        // A segment gets its name when its header and first frame are durable.
        Err(error) => {
            return Scan {
                header: Err(error.clone()),
                frames: Vec::new(),
                good_bytes: 0,
                tail: Tail::Damaged(error),
            };
        }
    };
    let mut frames = Vec::new();
    let tail = loop {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.is_empty() {
            break Tail::Clean;
        }
        let opened = match FRAME.open(rest) {
            Ok(opened) => opened,
            Err(error) => break tail(rest, error),
        };
        match read_frame(&opened) {
            Ok(frame) => frames.push(frame),
            Err(error) => break Tail::Damaged(error),
        }
        at = at.saturating_add(opened.len);
    };
    Scan {
        header,
        frames,
        good_bytes: at,
        tail,
    }
}

fn tail(rest: &[u8], error: DecodeError) -> Tail {
    // A newer program's frame has a checksum that agrees: it is no torn write.
    if matches!(error, DecodeError::Version { .. })
        || holds_a_frame(rest.get(1..).unwrap_or_default())
    {
        Tail::Damaged(error)
    } else {
        Tail::Torn(error)
    }
}
