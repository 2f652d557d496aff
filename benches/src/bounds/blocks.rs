//! Files as blocks of whole lines.

use std::{collections::VecDeque, fs, io::Read, path::Path, path::PathBuf};

use crate::error::{BenchError, Result};

/// Bytes read at once: well inside the second-level cache.
const BLOCK_BYTES: usize = 1 << 20;

/// One worker's share of the files of a stream, oldest first.
#[derive(Debug)]
pub(crate) struct Blocks {
    files: VecDeque<PathBuf>,
    open: Option<(PathBuf, fs::File)>,
    buffer: Vec<u8>,
    /// What the last block left over: the beginning of a line.
    rest: std::ops::Range<usize>,
}

impl Blocks {
    /// Files `worker`, `worker + workers`, … of a folder in the order of their names.
    pub(crate) fn new(folder: &Path, worker: usize, workers: usize) -> Result<Blocks> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(BenchError::io(folder))? {
            files.push(entry.map_err(BenchError::io(folder))?.path());
        }
        files.sort_unstable();
        Ok(Blocks {
            files: files.into_iter().skip(worker).step_by(workers).collect(),
            open: None,
            buffer: vec![0; BLOCK_BYTES],
            rest: 0..0,
        })
    }

    /// The next lines, each with its line feed; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>> {
        loop {
            let Some((path, file)) = &mut self.open else {
                let Some(path) = self.files.pop_front() else {
                    return Ok(None);
                };
                let file = fs::File::open(&path).map_err(BenchError::io(&path))?;
                self.open = Some((path, file));
                continue;
            };
            self.buffer.copy_within(self.rest.clone(), 0);
            let mut filled = self.rest.len();
            self.rest = 0..0;
            let read = file
                .read(&mut self.buffer[filled..])
                .map_err(BenchError::io(path.clone()))?;
            if read == 0 {
                self.open = None;
                if filled == 0 {
                    continue;
                }
                return Err(BenchError::Line {
                    what: "a file ends within a line, or a line is longer than a block",
                });
            }
            filled += read;
            if let Some(last) = memchr::memrchr(b'\n', &self.buffer[..filled]) {
                self.rest = last + 1..filled;
                return Ok(Some(&self.buffer[..=last]));
            }
            self.rest = 0..filled;
        }
    }
}
