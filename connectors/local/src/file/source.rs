//! The control side of the file source: which new files make up the next epoch.
//!
//! A file seen once is never read again. What was seen is bounded by `maxFileAge`, measured against
//! the newest file and not against a clock, so that a replay decides the same.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use arrow::datatypes::SchemaRef;
use millstream_connectors_api::{
    Ask, ConnectorError, Decoder, PlannedRange, Position, ReadLimit, Source, SourceReader, Split,
    Splits,
};
use serde::{Deserialize, Serialize};

use super::{
    listing::{self, InputFile},
    reader::FileReader,
    settings::{Cap, Settings},
};
use crate::{format, position};

/// What a planned range consists of.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Detail {
    pub(super) files: Vec<InputFile>,
}

impl Detail {
    pub(super) fn of(range: &PlannedRange) -> Result<Detail, ConnectorError> {
        position::parse(&range.detail, "a plan of a file source cannot be read back")
    }
}

/// The files that were taken, and the rule for the ones that were forgotten.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    /// Path or name, and modification time.
    files: BTreeMap<String, i64>,
    /// Modification time of the newest file taken.
    newest_ms: i64,
    /// Files older than this count as seen.
    horizon_ms: i64,
    /// The horizon when `files` was last swept.
    swept_ms: i64,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            files: BTreeMap::new(),
            newest_ms: i64::MIN,
            horizon_ms: i64::MIN,
            swept_ms: i64::MIN,
        }
    }
}

impl Seen {
    fn is_new(&self, settings: &Settings, file: &InputFile) -> bool {
        file.mtime >= self.horizon_ms && !self.knows(settings, &file.path)
    }

    fn knows(&self, settings: &Settings, path: &str) -> bool {
        self.files.contains_key(key(settings, path))
    }

    fn add(&mut self, settings: &Settings, files: &[InputFile]) {
        for file in files {
            self.files
                .insert(key(settings, &file.path).to_owned(), file.mtime);
            self.newest_ms = self.newest_ms.max(file.mtime);
        }
        self.horizon_ms = self
            .horizon_ms
            .max(self.newest_ms.saturating_sub(settings.age_max_ms));
        // Sweeping costs a pass over all files, so it waits until a good part can go.
        if self.horizon_ms.saturating_sub(self.swept_ms) > settings.age_max_ms / 16 {
            let horizon_ms = self.horizon_ms;
            self.files.retain(|_, mtime| *mtime >= horizon_ms);
            self.swept_ms = horizon_ms;
        }
    }
}

/// What makes two files the same file.
fn key<'a>(settings: &Settings, path: &'a str) -> &'a str {
    if settings.name_only {
        path.rsplit('/').next().unwrap_or(path)
    } else {
        path
    }
}

/// A directory, file or pattern as a stream.
#[derive(Debug)]
pub(super) struct FileSource {
    settings: Arc<Settings>,
    schema: SchemaRef,
    /// Ranges planned so far; the offset of the next one.
    planned: u64,
    seen: Seen,
    /// The rest of the last listing, in the order in which it will be taken.
    unread: VecDeque<InputFile>,
    frozen: bool,
}

impl FileSource {
    pub(super) fn new(settings: Settings, schema: SchemaRef) -> FileSource {
        FileSource {
            settings: Arc::new(settings),
            schema,
            planned: 0,
            seen: Seen::default(),
            unread: VecDeque::new(),
            frozen: false,
        }
    }

    /// Lists the files that are new, in the order in which they are taken.
    fn look(&mut self) -> Result<(), ConnectorError> {
        let known = |path: &str| self.seen.knows(&self.settings, path);
        let mut files = listing::list(&self.settings, &known)?;
        files.retain(|file| self.seen.is_new(&self.settings, file));
        if self.settings.latest_first {
            files.reverse();
        }
        self.unread = files.into();
        Ok(())
    }

    /// A listing from before a restart may hold what was taken since. A frozen one is all there is.
    fn forget_listing(&mut self) {
        if !self.frozen {
            self.unread.clear();
        }
    }

    /// Whether the last listing still fills an epoch, so that no new one is needed.
    fn has_backlog(&self, cap: Cap) -> bool {
        let backlog = match cap {
            Cap::Everything => false,
            Cap::Files(max) => self.unread.len() >= max,
            Cap::Bytes(max) => {
                let mut sum: u64 = 0;
                self.unread.iter().any(|file| {
                    sum = sum.saturating_add(file.size);
                    sum > max
                })
            }
        };
        backlog && !self.settings.latest_first
    }

    fn take(&mut self, cap: Cap) -> Vec<InputFile> {
        let mut taken: Vec<InputFile> = Vec::new();
        let mut bytes: u64 = 0;
        while let Some(file) = self.unread.pop_front() {
            let full = match cap {
                Cap::Everything => false,
                Cap::Files(max) => taken.len() >= max,
                Cap::Bytes(max) => !taken.is_empty() && bytes.saturating_add(file.size) > max,
            };
            if full {
                self.unread.push_front(file);
                break;
            }
            // It was new when it was listed; epochs since then may have brought its like.
            if self.seen.is_new(&self.settings, &file) {
                bytes = bytes.saturating_add(file.size);
                taken.push(file);
            }
        }
        taken
    }
}

impl Source for FileSource {
    fn description(&self) -> String {
        format!("FileStreamSource[file:{}]", self.settings.root.display())
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn freeze(&mut self, _now_ms: i64) -> Result<(), ConnectorError> {
        self.look()?;
        self.frozen = true;
        Ok(())
    }

    fn plan(
        &mut self,
        limit: ReadLimit,
        _now_ms: i64,
    ) -> Result<Option<PlannedRange>, ConnectorError> {
        let cap = match limit {
            ReadLimit::Configured => self.settings.cap,
            ReadLimit::Everything => Cap::Everything,
        };
        if !self.frozen && !self.has_backlog(cap) {
            self.look()?;
        }
        let files = self.take(cap);
        if files.is_empty() {
            return Ok(None);
        }
        self.seen.add(&self.settings, &files);
        let start = self.latest();
        let end = position::of("logOffset", self.planned);
        self.planned += 1;
        let detail = position::bytes(&Detail { files })?;
        Ok(Some(PlannedRange { start, end, detail }))
    }

    fn latest(&self) -> Option<Position> {
        let last = self.planned.checked_sub(1)?;
        Some(position::of("logOffset", last))
    }

    fn state(&self) -> Vec<u8> {
        position::bytes(&(self.planned, &self.seen)).unwrap_or_default()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), ConnectorError> {
        let (planned, seen) = position::parse(state, "the state of a file source is damaged")?;
        self.planned = planned;
        self.seen = seen;
        self.forget_listing();
        Ok(())
    }

    fn replay(&mut self, range: &PlannedRange) -> Result<(), ConnectorError> {
        let last = position::number(&range.end, "logOffset")?;
        self.seen.add(&self.settings, &Detail::of(range)?.files);
        self.planned = last + 1;
        self.forget_listing();
        Ok(())
    }

    fn ask_again(&self, _now_ms: i64) -> Ask {
        Ask::After(Duration::from_millis(10))
    }

    fn splits(&self, range: &PlannedRange) -> Result<Splits, ConnectorError> {
        let files = Detail::of(range)?.files;
        Ok(Box::new(files.into_iter().map(|file| {
            Ok(Split {
                extent: file.size,
                detail: position::bytes(&file)?,
            })
        })))
    }

    fn reader(&self) -> Result<Box<dyn SourceReader>, ConnectorError> {
        Ok(Box::new(FileReader::new(self.settings.line_bytes_max)))
    }

    fn decoder(&self, projection: &[usize]) -> Result<Box<dyn Decoder>, ConnectorError> {
        format::decoder(
            self.settings.format,
            &Arc::new(self.settings.rules.clone()),
            &self.schema,
            projection,
            &listing::base(&self.settings),
        )
    }

    fn settled(&mut self, _range: &PlannedRange) -> Result<(), ConnectorError> {
        Ok(())
    }
}
