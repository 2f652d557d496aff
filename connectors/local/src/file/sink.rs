//! The file sink: one part file an epoch, counted only once the log says so.
//!
//! While it is written a part has a hidden name. A commit syncs, gives the part its name and then
//! adds an entry to `_spark_metadata`: the name of that entry is the commit. Names contain the
//! epoch, so what a crash leaves behind is recognised and removed on restart: hidden parts, and a
//! part of the very epoch that would be the next, in a directory that this query has written before.
//! Any other part beyond the log is somebody's, and the start is refused. Nothing is changed before
//! the engine has decided to go on.
//!
//! The directory belongs to one query and one process at a time (`owner`). Where the disk is full or
//! permissions are missing, nothing is lost: bytes that were not written stay in memory, no more than a buffer and a write,
//! and every call may be repeated. After any other error nobody knows what the disk has, and the
//! sink refuses to go on. Tests: `tests`.

#[cfg(test)]
mod faults;
#[cfg(test)]
mod packed;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fs::File, path::PathBuf};

use arrow::datatypes::SchemaRef;
use millstream_connectors_api::{
    ConnectorError, Encoded, EpochWrite, Guarantee, Options, Sink, SinkContext, SinkEncoder,
    SinkReceipt, SinkRows, WriteBody,
};
use millstream_types::{Epoch, OutputMode};

use super::{
    NAME,
    log::{self, LogWriter, LoggedFile},
    owner::Owner,
    settings::{COMMON, SINK, bad, dialect, duration_ms, format_of, forms},
};
use crate::{
    files,
    format::Format,
    packing::Packing,
    write::{RowEncoder, RowWriter},
};

/// Bytes that are collected before they are written; in tests so few that writes come between rows.
const BUFFER_BYTES: usize = if cfg!(test) { 50 } else { 1 << 18 };

/// A directory as the end of a query.
#[derive(Debug)]
pub(super) struct FileSink {
    dir: PathBuf,
    format: Format,
    writer: RowWriter,
    packing: Option<Packing>,
    retention_ms: Option<i64>,
    held: Option<Held>,
    /// An error came after which nobody knows what the disk has.
    is_spoilt: bool,
}

/// The directory, once it is this query's.
#[derive(Debug)]
struct Held {
    owner: Owner,
    log: LogWriter,
    schema: SchemaRef,
    parts: BTreeMap<Epoch, Part>,
}

/// A file being written.
#[derive(Debug)]
struct Part {
    file: File,
    hidden: PathBuf,
    path: PathBuf,
    /// What is not in the file yet.
    buffer: Vec<u8>,
    rows: u64,
    is_synced: bool,
    is_named: bool,
}

impl Part {
    fn flush(&mut self) -> Result<(), ConnectorError> {
        files::write(&mut self.file, &self.hidden, &mut self.buffer)
    }

    /// Takes bytes; if the disk is full, either all of them or none.
    fn add(&mut self, encoded: &Encoded) -> Result<(), ConnectorError> {
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(&encoded.bytes);
        self.rows += encoded.rows;
        self.is_synced = false;
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(());
        }
        match self.flush() {
            // They are taken: the next call says that the disk is full.
            Err(error) if error.is_disk_full() => Ok(()),
            result => result,
        }
    }

    fn stage(&mut self) -> Result<(), ConnectorError> {
        self.flush()?;
        if !self.is_synced {
            files::sync_once(&self.file, &self.hidden)?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Gives the file its name and appends its line for the log.
    fn name(&mut self, lines: &mut Vec<u8>) -> Result<(), ConnectorError> {
        self.stage()?;
        if !self.is_named {
            files::rename(&self.hidden, &self.path)?;
            // The name must be durable before the log speaks of it.
            if let Some(dir) = self.path.parent() {
                files::sync_dir(dir)?;
            }
            self.is_named = true;
        }
        let stat = files::stat(&self.path)?.ok_or(ConnectorError::Internal {
            what: "a part file vanished before its commit",
        })?;
        LoggedFile::added(&self.path, stat, lines)
    }
}

impl FileSink {
    /// Checks the options; looks at no file.
    pub(super) fn new(
        options: &Options,
        implied: Option<Format>,
    ) -> Result<FileSink, ConnectorError> {
        options.check(NAME, &[COMMON, SINK])?;
        let format = format_of(options, implied)?;
        let retention_ms = match options.get("retention") {
            Some(text) => Some(duration_ms("retention", text, 1)?),
            None => None,
        };
        let packing = match options.get("compression") {
            Some(text) => Packing::parse(text)
                .ok_or_else(|| bad("compression", "none, gzip, bzip2 or zstd", text))?,
            None => None,
        };
        Ok(FileSink {
            dir: files::absolute(options.require(NAME, "path")?)?,
            format,
            writer: RowWriter::new(format, dialect(options)?, forms(options, |_| true)?),
            packing,
            retention_ms,
            held: None,
            is_spoilt: false,
        })
    }

    fn part_name(&self, epoch: Epoch) -> String {
        let Epoch(number) = epoch;
        let (format, packed) = (self.format.name(), self.packing.map_or("", Packing::end));
        format!("part-00000-e{number:010}.c000.{format}{packed}")
    }

    /// The leftovers of epochs that were not committed; `first` is the next one.
    ///
    /// Fails if there are parts beyond the log that are none: of later epochs, or in a directory that
    /// this query has not written.
    fn leftovers(&self, first: Epoch, is_ours: bool) -> Result<Vec<PathBuf>, ConnectorError> {
        let mut leftovers = Vec::new();
        let (mut count, mut unlogged) = (0, None);
        files::each_name(&self.dir, &mut |name| {
            let hidden = name.strip_prefix('.');
            match epoch_of(hidden.unwrap_or(name)) {
                None => {}
                Some(_) if hidden.is_some() => leftovers.push(self.dir.join(name)),
                Some(epoch) if epoch < first => {}
                Some(epoch) if epoch == first && is_ours => leftovers.push(self.dir.join(name)),
                Some(_) => {
                    count += 1;
                    let before = unlogged.take().filter(|before: &String| **before < *name);
                    unlogged = Some(before.unwrap_or_else(|| name.to_owned()));
                }
            }
            Ok(())
        })?;
        unlogged.map_or(Ok(leftovers), |first| {
            Err(ConnectorError::Unlogged {
                path: self.dir.display().to_string(),
                count,
                first,
            })
        })
    }

    fn clear(&mut self, first: Epoch) -> Result<(), ConnectorError> {
        let is_ours = self.held()?.owner.has_written();
        let leftovers = self.leftovers(first, is_ours)?;
        leftovers.iter().try_for_each(|path| files::remove(path))?;
        let held = self.held()?;
        held.log.clear()?;
        held.owner.stay();
        Ok(())
    }

    fn held(&mut self) -> Result<&mut Held, ConnectorError> {
        let held = self.held.as_mut().filter(|_| !self.is_spoilt);
        held.ok_or(ConnectorError::Internal {
            what: "a sink is used that is not open, or after it failed",
        })
    }

    /// Remembers an error after which nobody knows what the disk has.
    fn settle<T>(&mut self, result: Result<T, ConnectorError>) -> Result<T, ConnectorError> {
        let may_repeat = |error: &ConnectorError| error.is_disk_full() || error.is_refused();
        self.is_spoilt |= result.as_ref().is_err_and(|error| !may_repeat(error));
        result
    }

    fn take_place(&mut self, context: &SinkContext) -> Result<(), ConnectorError> {
        let log = self.dir.join(log::DIRECTORY);
        let owner = Owner::take(&log, &context.query_id)?;
        self.held = Some(Held {
            owner,
            log: LogWriter::open(&self.dir, self.retention_ms)?,
            schema: SchemaRef::clone(&context.schema),
            parts: BTreeMap::new(),
        });
        Ok(())
    }

    fn add(&mut self, epoch: Epoch, encoded: &Encoded) -> Result<(), ConnectorError> {
        let name = self.part_name(epoch);
        let (dir, writer, packing) = (self.dir.clone(), self.writer.clone(), self.packing);
        let held = self.held()?;
        if !held.parts.contains_key(&epoch) {
            let hidden = dir.join(format!(".{name}"));
            let mut buffer = Vec::new();
            writer.header(&held.schema, &mut buffer);
            if !buffer.is_empty() {
                buffer = packed(packing, buffer)?;
            }
            let part = Part {
                file: files::create(&hidden)?,
                hidden,
                path: dir.join(name),
                buffer,
                rows: 0,
                is_synced: false,
                is_named: false,
            };
            held.parts.insert(epoch, part);
        }
        let part = held.parts.get_mut(&epoch);
        let part = part.ok_or(ConnectorError::Internal {
            what: "a part file vanished",
        })?;
        part.add(encoded)
    }
}

/// The epoch of a part file with a name that a sink gives, whatever its format.
fn epoch_of(name: &str) -> Option<Epoch> {
    let (number, _format) = name.strip_prefix("part-00000-e")?.split_once(".c000.")?;
    number.parse().ok().map(Epoch)
}

impl Held {
    fn commit(&mut self, epoch: Epoch) -> Result<SinkReceipt, ConnectorError> {
        if self.log.latest() >= Some(epoch) {
            // Already in the log: a repeat changes nothing.
            if let Some(part) = self.parts.remove(&epoch) {
                files::remove(&part.hidden)?;
            }
            return Ok(SinkReceipt::default());
        }
        self.owner.record()?;
        let mut lines = Vec::new();
        let mut rows = 0;
        if let Some(part) = self.parts.get_mut(&epoch) {
            part.name(&mut lines)?;
            rows = part.rows;
        }
        self.log.append(epoch, &lines)?;
        self.parts.remove(&epoch);
        Ok(SinkReceipt { rows })
    }
}

impl Sink for FileSink {
    fn description(&self) -> String {
        format!("FileSink[{}]", self.dir.display())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn open(&mut self, context: &SinkContext) -> Result<(), ConnectorError> {
        let mode = context.mode;
        if mode != OutputMode::Append {
            return Err(ConnectorError::UnsupportedMode {
                connector: NAME,
                mode,
                allowed: "append",
            });
        }
        self.writer.check(&context.schema)?;
        let result = self.take_place(context);
        self.settle(result)
    }

    fn encoder(&self) -> Option<Box<dyn SinkEncoder>> {
        let held = self.held.as_ref()?;
        let encoder = RowEncoder::new(self.writer.clone(), &held.schema);
        Some(Box::new(FileEncoder {
            encoder,
            packing: self.packing,
            row_bytes: 0,
        }))
    }

    fn last_committed(&mut self) -> Result<Option<Epoch>, ConnectorError> {
        Ok(self.held()?.log.latest())
    }

    fn begin(&mut self, first: Epoch) -> Result<(), ConnectorError> {
        let result = self.clear(first);
        self.settle(result)
    }

    fn place(&self) -> Option<PathBuf> {
        Some(self.dir.clone())
    }

    fn write(&mut self, write: &EpochWrite) -> Result<(), ConnectorError> {
        let encoded = match &write.body {
            WriteBody::Encoded(encoded) => encoded,
            WriteBody::Rows(_) => {
                return Err(ConnectorError::Internal {
                    what: "a file sink was given rows that are not encoded",
                });
            }
        };
        if encoded.rows == 0 {
            return Ok(());
        }
        let result = self.add(write.epoch, encoded);
        self.settle(result)
    }

    fn stage(&mut self, epoch: Epoch) -> Result<(), ConnectorError> {
        let part = self.held()?.parts.get_mut(&epoch);
        let result = part.map_or(Ok(()), Part::stage);
        self.settle(result)
    }

    fn commit(&mut self, epoch: Epoch) -> Result<SinkReceipt, ConnectorError> {
        let result = self.held()?.commit(epoch);
        self.settle(result)
    }
}

/// Bytes as the file has them: a member of its own where files are compressed.
fn packed(packing: Option<Packing>, bytes: Vec<u8>) -> Result<Vec<u8>, ConnectorError> {
    match packing {
        None => Ok(bytes),
        Some(packing) => packing.pack(&bytes).map_err(|_| ConnectorError::Internal {
            what: "rows cannot be compressed",
        }),
    }
}

/// Rows to the lines of a part; on workers, so that they compress side by side.
struct FileEncoder {
    encoder: RowEncoder,
    packing: Option<Packing>,
    /// Bytes of a row among those before: how much room to ask for.
    row_bytes: usize,
}

impl SinkEncoder for FileEncoder {
    fn encode(&mut self, rows: &SinkRows) -> Result<Encoded, ConnectorError> {
        let count = rows.rows.num_rows();
        let mut bytes = Vec::with_capacity(count.saturating_mul(self.row_bytes));
        self.encoder.rows(&rows.rows, &mut bytes)?;
        // A little more than the average: a vector that grows is copied.
        self.row_bytes = bytes.len().checked_div(count).unwrap_or(0) + 8;
        Ok(Encoded {
            bytes: packed(self.packing, bytes)?,
            rows: count as u64,
        })
    }
}
