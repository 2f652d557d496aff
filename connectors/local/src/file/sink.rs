//! The file sink: one part file an epoch, counted only once the log says so.
//!
//! While it is written a part has a hidden name. A commit syncs, gives the part its name and then
//! adds it to `_spark_metadata`: that one rename is the commit. Names contain the epoch, so what a
//! crash leaves behind is recognised and removed on restart.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use arrow::datatypes::SchemaRef;
use millstream_connectors_api::{
    ConnectorError, EpochWrite, Guarantee, Options, Sink, SinkContext, SinkReceipt, SinkRows,
};
use millstream_types::{Epoch, OutputMode};

use super::{
    NAME,
    log::{self, LoggedFile},
    settings::{COMMON, dialect, format_of},
};
use crate::{files, format::Format, write::RowWriter};

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 1 << 18;

/// A directory as the end of a query.
#[derive(Debug)]
pub(super) struct FileSink {
    dir: PathBuf,
    format: Format,
    writer: RowWriter,
    schema: Option<SchemaRef>,
    /// The newest epoch in the log; `None` before the log was asked or if it is empty.
    committed: Option<Epoch>,
    parts: BTreeMap<Epoch, Part>,
}

/// A file being written.
#[derive(Debug)]
struct Part {
    file: File,
    hidden: PathBuf,
    name: String,
    buffer: Vec<u8>,
    rows: u64,
}

impl Part {
    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.file
            .write_all(&self.buffer)
            .map_err(|error| files::refused("write", &self.hidden, error))?;
        self.buffer.clear();
        Ok(())
    }
}

impl FileSink {
    pub(super) fn new(
        options: &Options,
        implied: Option<Format>,
    ) -> Result<FileSink, ConnectorError> {
        options.check(NAME, &[COMMON])?;
        let format = format_of(options, implied)?;
        Ok(FileSink {
            dir: files::absolute(options.require(NAME, "path")?)?,
            format,
            writer: RowWriter::new(format, dialect(options)?),
            schema: None,
            committed: None,
            parts: BTreeMap::new(),
        })
    }

    fn part_name(&self, epoch: Epoch) -> String {
        let Epoch(number) = epoch;
        format!("part-00000-e{number:010}.c000.{}", self.format.name())
    }

    /// The epoch of a part file of ours.
    fn epoch_of(&self, name: &str) -> Option<Epoch> {
        let number = name
            .strip_prefix("part-00000-e")?
            .strip_suffix(self.format.name())?
            .strip_suffix(".c000.")?;
        number.parse().ok().map(Epoch)
    }

    fn part(&mut self, epoch: Epoch, schema: &SchemaRef) -> Result<&mut Part, ConnectorError> {
        if !self.parts.contains_key(&epoch) {
            let name = self.part_name(epoch);
            let hidden = self.dir.join(format!(".{name}"));
            let mut buffer = Vec::new();
            self.writer.header(schema, &mut buffer);
            let part = Part {
                file: files::create(&hidden)?,
                hidden,
                name,
                buffer,
                rows: 0,
            };
            self.parts.insert(epoch, part);
        }
        self.parts.get_mut(&epoch).ok_or(ConnectorError::Internal {
            what: "a part file vanished",
        })
    }

    fn remove_leftovers(&self) -> Result<(), ConnectorError> {
        for entry in files::list(&self.dir)? {
            let hidden = entry.name.strip_prefix('.');
            let epoch = self.epoch_of(hidden.unwrap_or(&entry.name));
            let leftover =
                epoch.is_some_and(|epoch| hidden.is_some() || Some(epoch) > self.committed);
            if leftover {
                files::remove(&entry.path)?;
            }
        }
        Ok(())
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
        let SinkContext { schema, mode, .. } = context;
        let mode = *mode;
        if mode != OutputMode::Append {
            return Err(ConnectorError::UnsupportedMode {
                connector: NAME,
                mode,
                allowed: "append",
            });
        }
        self.writer.check(schema)?;
        files::create_dirs(&self.dir.join(log::DIRECTORY))?;
        files::sync_dir(&self.dir)?;
        if let Some(parent) = self.dir.parent() {
            files::sync_dir(parent)?;
        }
        self.committed = log::latest(&self.dir)?;
        self.schema = Some(SchemaRef::clone(schema));
        Ok(())
    }

    fn last_committed(&mut self) -> Result<Option<Epoch>, ConnectorError> {
        self.parts.clear();
        self.committed = log::latest(&self.dir)?;
        self.remove_leftovers()?;
        Ok(self.committed)
    }

    fn write(&mut self, write: &EpochWrite) -> Result<(), ConnectorError> {
        let SinkRows { rows, .. } = write.body.as_rows()?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let schema = self.schema.clone().unwrap_or_else(|| rows.schema());
        let writer = self.writer.clone();
        let part = self.part(write.epoch, &schema)?;
        // The columns carry the names of the query, not those inside the batch.
        let named = rows.clone().with_schema(schema);
        let named = named.unwrap_or_else(|_| rows.clone());
        writer.rows(&named, &mut part.buffer)?;
        part.rows += named.num_rows() as u64;
        if part.buffer.len() >= BUFFER_BYTES {
            part.flush()?;
        }
        Ok(())
    }

    fn stage(&mut self, epoch: Epoch) -> Result<(), ConnectorError> {
        if let Some(part) = self.parts.get_mut(&epoch) {
            part.flush()?;
            files::sync(&part.file, &part.hidden)?;
        }
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch) -> Result<SinkReceipt, ConnectorError> {
        let part = self.parts.remove(&epoch);
        if self.committed >= Some(epoch) {
            // Already in the log: a repeat changes nothing.
            if let Some(part) = part {
                files::remove(&part.hidden)?;
            }
            return Ok(SinkReceipt::default());
        }
        let mut added = Vec::new();
        let mut rows = 0;
        if let Some(part) = part {
            let path: &Path = &self.dir.join(&part.name);
            files::rename(&part.hidden, path)?;
            // The name must be durable before the log speaks of it.
            files::sync_dir(&self.dir)?;
            let stat = files::stat(path)?.ok_or(ConnectorError::Internal {
                what: "a part file vanished before its commit",
            })?;
            added.push(LoggedFile::added(path, stat));
            rows = part.rows;
        }
        log::append(&self.dir, epoch, added)?;
        self.committed = Some(epoch);
        Ok(SinkReceipt { rows })
    }
}
