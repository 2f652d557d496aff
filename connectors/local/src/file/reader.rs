//! The data side of the file source: the bytes of the planned files, cut at line ends.

use std::{fs::File, io::Read, path::Path, sync::Arc};

use millstream_connectors_api::{Chunk, ChunkBody, ConnectorError, Flow, SourceReader, Split};

use super::listing::InputFile;
use crate::{buffers, files, position};

/// Bytes in a chunk, but for a line that is longer.
const CHUNK_BYTES: usize = 1 << 20;

/// Reads planned files one after another.
#[derive(Debug)]
pub(super) struct FileReader {
    line_bytes_max: usize,
    chunk_bytes: usize,
}

impl FileReader {
    pub(super) fn new(line_bytes_max: usize) -> FileReader {
        FileReader {
            line_bytes_max,
            chunk_bytes: CHUNK_BYTES,
        }
    }

    #[cfg(test)]
    pub(super) fn with_chunks_of(line_bytes_max: usize, chunk_bytes: usize) -> FileReader {
        FileReader {
            line_bytes_max,
            chunk_bytes,
        }
    }
}

impl SourceReader for FileReader {
    fn read(
        &mut self,
        split: &Split,
        give: &mut dyn FnMut(Chunk) -> Flow,
    ) -> Result<(), ConnectorError> {
        let what = "a split of a file source cannot be read back";
        let planned: InputFile = position::parse(&split.detail, what)?;
        let mut file = open_unchanged(&planned)?;
        let mut cut = Cut {
            file: &mut file,
            planned: &planned,
            left: planned.size,
            offset: 0,
            carry: Vec::new(),
        };
        let origin: Arc<str> = planned.path.as_str().into();
        while let Some((offset, bytes)) = cut.next(self.chunk_bytes, self.line_bytes_max)? {
            let body = ChunkBody::Bytes {
                bytes,
                origin: Arc::clone(&origin),
                offset,
            };
            // A record takes at least one byte, so rows never run into the next chunk's place.
            let position = offset;
            if give(Chunk { position, body }) == Flow::Stop {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn changed(planned: &InputFile, reason: &str) -> ConnectorError {
    ConnectorError::InputChanged {
        path: planned.path.clone(),
        reason: reason.to_owned(),
    }
}

/// The file, if it is still what the plan says.
fn open_unchanged(planned: &InputFile) -> Result<File, ConnectorError> {
    let Some((file, stat)) = files::open(Path::new(&planned.path))? else {
        return Err(changed(planned, "file is gone"));
    };
    if stat.size != planned.size {
        let (was, is) = (planned.size, stat.size);
        return Err(changed(
            planned,
            &format!("size was {was} bytes and is {is}"),
        ));
    }
    if stat.modified_ms != planned.mtime {
        return Err(changed(planned, "file was modified after it was planned"));
    }
    Ok(file)
}

/// Cuts one file into pieces that end after whole lines.
struct Cut<'a> {
    file: &'a mut File,
    planned: &'a InputFile,
    /// Planned bytes not yet read.
    left: u64,
    /// Offset of the next piece.
    offset: u64,
    /// The beginning of a line whose end was not read yet.
    carry: Vec<u8>,
}

impl Cut<'_> {
    /// The next piece and its offset; `None` at the end.
    fn next(
        &mut self,
        chunk_bytes: usize,
        line_bytes_max: usize,
    ) -> Result<Option<(u64, Vec<u8>)>, ConnectorError> {
        let fresh_bytes =
            usize::try_from(self.left).map_or(chunk_bytes, |left| left.min(chunk_bytes));
        // A little more than is asked for: reading to the end probes for the end of the file.
        let mut bytes = buffers::take(fresh_bytes + self.carry.len() + 64);
        bytes.append(&mut self.carry);
        let mut searched = bytes.len();
        loop {
            self.fill(&mut bytes, chunk_bytes)?;
            let fresh = bytes.get(searched..).unwrap_or(&[]);
            let end = match memchr::memrchr(b'\n', fresh) {
                Some(at) => searched + at + 1,
                None if self.left == 0 => bytes.len(),
                None => {
                    searched = bytes.len();
                    self.check_line(0, searched, line_bytes_max)?;
                    continue;
                }
            };
            self.carry
                .extend_from_slice(bytes.get(end..).unwrap_or(&[]));
            bytes.truncate(end);
            self.check_lines(&bytes, line_bytes_max)?;
            let offset = self.offset;
            self.offset += bytes.len() as u64;
            return Ok((!bytes.is_empty()).then_some((offset, bytes)));
        }
    }

    fn fill(&mut self, bytes: &mut Vec<u8>, chunk_bytes: usize) -> Result<(), ConnectorError> {
        let want = self.left.min(chunk_bytes as u64);
        let read = self
            .file
            .take(want)
            .read_to_end(bytes)
            .map_err(|error| files::refused("read", Path::new(&self.planned.path), error))?;
        if (read as u64) < want {
            return Err(changed(
                self.planned,
                "file became shorter while it was read",
            ));
        }
        self.left -= want;
        Ok(())
    }

    /// Fails if a line of the piece is too long.
    fn check_lines(&self, bytes: &[u8], limit: usize) -> Result<(), ConnectorError> {
        if bytes.len() <= limit {
            return Ok(());
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]) {
            self.check_line(start, end.saturating_sub(start), limit)?;
            start = end + 1;
        }
        Ok(())
    }

    fn check_line(&self, start: usize, len: usize, limit: usize) -> Result<(), ConnectorError> {
        if len > limit {
            return Err(ConnectorError::LineTooLong {
                origin: self.planned.path.clone(),
                offset: self.offset + start as u64,
                limit,
            });
        }
        Ok(())
    }
}
