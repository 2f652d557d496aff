//! One file as pieces that end after whole lines, with a digest of what was given.
//!
//! Of a compressed file everything here is about what is packed in it: offsets, limits, the digest.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use millstream_connectors_api::ConnectorError;
use xxhash_rust::xxh3::Xxh3;

use super::records::Outcome;
use crate::{buffers, files, packing};

/// How a file is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) line_bytes_max: usize,
    /// Bytes of a piece, but for a line that is longer.
    pub(super) chunk_bytes: usize,
}

/// A piece of a file and where it begins.
pub(super) type Piece = (u64, Vec<u8>);

/// Bytes that a compressed file may hold: what the place of its rows has room for.
pub(super) const UNPACKED_BYTES_MAX: u64 = 1 << 36;

/// How far a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// So many bytes of a plain file, or of what is packed in a compressed one.
    Bytes(u64),
    /// All that is packed in so many bytes of a compressed file.
    Packed(u64),
}

/// Where bytes come from.
enum Input {
    Plain(File),
    /// What is packed in a file.
    Packed(Box<dyn Read + Send>),
}

/// Cuts one file into pieces.
pub(super) struct Cut {
    input: Input,
    path: String,
    limits: Limits,
    /// Bytes not yet read; of a compressed file as many as there may be.
    left: u64,
    /// Whether the input ends where it ends, and not after so many bytes.
    is_open_ended: bool,
    /// What came after the bytes that were read last, and is said when those were given.
    failed: Option<ConnectorError>,
    /// Offset of the next piece.
    offset: u64,
    /// The beginning of a line whose end was not read yet.
    carry: Vec<u8>,
    digest: Xxh3,
}

impl Cut {
    /// A file as far as said; its name says whether it is compressed.
    pub(super) fn new(file: File, path: &str, extent: Extent, limits: Limits) -> Cut {
        let packed_bytes = match extent {
            Extent::Packed(bytes) => bytes,
            Extent::Bytes(_) => u64::MAX,
        };
        let mut failed = None;
        let input = match packing::of_name(path) {
            None => Input::Plain(file),
            // No bytes hold nothing, in any form.
            Some(_) if packed_bytes == 0 => Input::Packed(Box::new(io::empty())),
            Some(packing) => match packing.unpack(file.take(packed_bytes)) {
                Ok(unpacked) => Input::Packed(unpacked),
                Err(error) => {
                    failed = Some(files::refused("unpack", Path::new(path), error));
                    Input::Packed(Box::new(io::empty()))
                }
            },
        };
        Cut {
            input,
            path: path.to_owned(),
            limits,
            left: match extent {
                Extent::Bytes(bytes) => bytes,
                Extent::Packed(_) => UNPACKED_BYTES_MAX,
            },
            is_open_ended: matches!(extent, Extent::Packed(_)),
            failed,
            offset: 0,
            carry: Vec::new(),
            digest: Xxh3::new(),
        }
    }

    /// What was given so far.
    pub(super) fn outcome(&self) -> Outcome {
        Outcome {
            bytes: self.offset,
            digest: self.digest.digest(),
        }
    }

    /// Whether everything was given.
    pub(super) fn is_at_end(&self) -> bool {
        self.left == 0 && self.failed.is_none() && self.carry.is_empty()
    }

    /// The next piece and its offset; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, ConnectorError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let chunk_bytes = self.limits.chunk_bytes;
        let fresh_bytes =
            usize::try_from(self.left).map_or(chunk_bytes, |left| left.min(chunk_bytes));
        // A little more than is asked for: reading to the end probes for the end of the file.
        let mut bytes = buffers::take(fresh_bytes + self.carry.len() + 64);
        bytes.append(&mut self.carry);
        let mut searched = bytes.len();
        let end = loop {
            self.fill(&mut bytes)?;
            let fresh = bytes.get(searched..).unwrap_or(&[]);
            if let Some(at) = memchr::memrchr(b'\n', fresh) {
                break searched + at + 1;
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if self.left == 0 {
                break bytes.len();
            }
            searched = bytes.len();
            self.check_line(0, searched)?;
        };
        self.carry
            .extend_from_slice(bytes.get(end..).unwrap_or(&[]));
        bytes.truncate(end);
        self.check_lines(&bytes)?;
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        self.digest.update(&bytes);
        Ok((!bytes.is_empty()).then_some((offset, bytes)))
    }

    fn fill(&mut self, bytes: &mut Vec<u8>) -> Result<(), ConnectorError> {
        let want = self.left.min(self.limits.chunk_bytes as u64);
        let before = bytes.len();
        let result = match &mut self.input {
            Input::Plain(file) => file.take(want).read_to_end(bytes),
            Input::Packed(unpacked) => unpacked.take(want).read_to_end(bytes),
        };
        let read = bytes.len().saturating_sub(before) as u64;
        match (result, &self.input) {
            (Ok(_), _) if read == want => {}
            (Ok(_), Input::Packed(_)) if self.is_open_ended => {
                self.left = 0;
                return Ok(());
            }
            (Ok(_), Input::Plain(_) | Input::Packed(_)) => {
                return Err(ConnectorError::InputChanged {
                    path: self.path.clone(),
                    reason: "file became shorter while it was read".to_owned(),
                });
            }
            // What was packed before the damage is good.
            (Err(error), Input::Packed(_)) if error.raw_os_error().is_none() => {
                self.failed = Some(ConnectorError::CorruptFile {
                    path: self.path.clone(),
                    source: error,
                });
            }
            (Err(error), Input::Plain(_) | Input::Packed(_)) => {
                return Err(files::refused("read", Path::new(&self.path), error));
            }
        }
        self.left -= read;
        if self.is_open_ended && self.left == 0 && read > 0 {
            self.failed = Some(self.too_much());
        }
        Ok(())
    }

    fn too_much(&self) -> ConnectorError {
        ConnectorError::CorruptFile {
            path: self.path.clone(),
            source: io::ErrorKind::FileTooLarge.into(),
        }
    }

    /// Fails if a line of the piece is too long.
    fn check_lines(&self, bytes: &[u8]) -> Result<(), ConnectorError> {
        if bytes.len() <= self.limits.line_bytes_max {
            return Ok(());
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]) {
            self.check_line(start, end.saturating_sub(start))?;
            start = end + 1;
        }
        Ok(())
    }

    fn check_line(&self, start: usize, len: usize) -> Result<(), ConnectorError> {
        let limit = self.limits.line_bytes_max;
        if len > limit {
            return Err(ConnectorError::LineTooLong {
                origin: self.path.clone(),
                offset: self.offset + start as u64,
                limit,
            });
        }
        Ok(())
    }
}

impl std::fmt::Debug for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cut")
            .field("path", &self.path)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
