//! One file as pieces that end after whole lines, with a digest of what was given.

use std::{fs::File, io::Read, path::Path};

use millstream_connectors_api::ConnectorError;
use xxhash_rust::xxh3::Xxh3;

use super::records::Outcome;
use crate::{buffers, files};

/// How a file is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) line_bytes_max: usize,
    /// Bytes of a piece, but for a line that is longer.
    pub(super) chunk_bytes: usize,
}

/// A piece of a file and where it begins.
pub(super) type Piece = (u64, Vec<u8>);

/// Cuts one file into pieces.
pub(super) struct Cut {
    file: File,
    path: String,
    limits: Limits,
    /// Bytes not yet read.
    left: u64,
    /// Offset of the next piece.
    offset: u64,
    /// The beginning of a line whose end was not read yet.
    carry: Vec<u8>,
    digest: Xxh3,
}

impl Cut {
    /// The first `bytes` bytes of a file.
    pub(super) fn new(file: File, path: &str, bytes: u64, limits: Limits) -> Cut {
        Cut {
            file,
            path: path.to_owned(),
            limits,
            left: bytes,
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

    /// The next piece and its offset; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, ConnectorError> {
        let chunk_bytes = self.limits.chunk_bytes;
        let fresh_bytes =
            usize::try_from(self.left).map_or(chunk_bytes, |left| left.min(chunk_bytes));
        // A little more than is asked for: reading to the end probes for the end of the file.
        let mut bytes = buffers::take(fresh_bytes + self.carry.len() + 64);
        bytes.append(&mut self.carry);
        let mut searched = bytes.len();
        loop {
            self.fill(&mut bytes)?;
            let fresh = bytes.get(searched..).unwrap_or(&[]);
            let end = match memchr::memrchr(b'\n', fresh) {
                Some(at) => searched + at + 1,
                None if self.left == 0 => bytes.len(),
                None => {
                    searched = bytes.len();
                    self.check_line(0, searched)?;
                    continue;
                }
            };
            self.carry
                .extend_from_slice(bytes.get(end..).unwrap_or(&[]));
            bytes.truncate(end);
            self.check_lines(&bytes)?;
            let offset = self.offset;
            self.offset += bytes.len() as u64;
            self.digest.update(&bytes);
            return Ok((!bytes.is_empty()).then_some((offset, bytes)));
        }
    }

    fn fill(&mut self, bytes: &mut Vec<u8>) -> Result<(), ConnectorError> {
        let want = self.left.min(self.limits.chunk_bytes as u64);
        let read = (&self.file)
            .take(want)
            .read_to_end(bytes)
            .map_err(|error| files::refused("read", Path::new(&self.path), error))?;
        if (read as u64) < want {
            return Err(ConnectorError::InputChanged {
                path: self.path.clone(),
                reason: "file became shorter while it was read".to_owned(),
            });
        }
        self.left -= want;
        Ok(())
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
