//! Adds entries to a log, each in one atomic and durable act.
//!
//! An entry is written under a hidden name, synced, and then gets its name unless that is taken. So
//! no entry is ever replaced, whoever else may be at work.
//!
//! The work and the bytes of an epoch do not depend on the length of the log: the next compact
//! entry is written ahead of its time, some lines an epoch, and what it makes superfluous is removed
//! a few files an epoch. Readers may count on entries staying for one interval after a newer compact
//! entry came; one that is slower finds a file gone and begins again with the newest.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use millstream_connectors_api::ConnectorError;
use millstream_types::Epoch;

use super::{
    COMPACT, DIRECTORY, HEADER, Lines, Names, Reading, damaged, read_since, schedule::Schedule,
};
use crate::files::{self, Named};

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 1 << 16;
/// A compact entry is written ahead if the one before it is longer than this.
const AHEAD_BYTES_MIN: u64 = 1 << 18;
/// Bytes written ahead in an epoch at least.
const AHEAD_STEP_BYTES: u64 = 1 << 15;
/// Bytes written ahead before they are synced, so that the last sync is short.
const UNSYNCED_BYTES_MAX: u64 = 4 << 20;
/// Superfluous entries that are removed in an epoch.
const REMOVED_MAX: usize = 4;

/// The end of a log, where entries are added. There is one at a time.
#[derive(Debug)]
pub(in crate::file) struct LogWriter {
    log: PathBuf,
    latest: Option<u64>,
    schedule: Schedule,
    /// The size of the newest compact entry.
    compact_bytes: u64,
    /// The next compact entry, as far as it is written.
    ahead: Option<Ahead>,
    /// Superfluous plain entries up to the first that is needed.
    superfluous: std::ops::Range<u64>,
    /// Lines of files older than this are left out of compact entries.
    retention_ms: Option<i64>,
}

impl LogWriter {
    /// Looks at the log of a directory and reads what readers would read of it: a log that they refuse
    /// is not gone on with. Changes nothing. What it says to be the latest epoch is durable.
    pub(in crate::file) fn open(
        root: &Path,
        retention_ms: Option<i64>,
    ) -> Result<LogWriter, ConnectorError> {
        let log = root.join(DIRECTORY);
        // The process that gave the last name may have died before it was durable.
        files::sync_dir(&log)?;
        let names = Names::of(&log)?;
        let schedule = Schedule::new(names.compact.iter().copied());
        if let Reading::Missing(path) = read_since(&log, &names, None, &mut |_| Ok(()))? {
            return Err(damaged(&path, "entry is missing"));
        }
        let oldest = names.plain.first().or(names.compact.first());
        let mut writer = LogWriter {
            latest: names.latest(),
            superfluous: oldest.copied().unwrap_or(0)..schedule.plain_from(),
            compact_bytes: 0,
            ahead: None,
            log,
            schedule,
            retention_ms,
        };
        writer.compact_bytes = writer.size_of_compact()?;
        Ok(writer)
    }

    /// Removes what a crash left.
    pub(in crate::file) fn clear(&self) -> Result<(), ConnectorError> {
        let mut leftovers = Vec::new();
        files::each_name(&self.log, &mut |name| {
            if name.starts_with('.') && name.ends_with(TEMPORARY) {
                leftovers.push(self.log.join(name));
            }
            Ok(())
        })?;
        leftovers.iter().try_for_each(|path| files::remove(path))
    }

    fn size_of_compact(&self) -> Result<u64, ConnectorError> {
        let Some(newest) = self.schedule.newest() else {
            return Ok(0);
        };
        let stat = files::stat(&self.compact_path(newest))?;
        Ok(stat.map_or(0, |stat| stat.size))
    }

    /// The newest epoch in the log.
    pub(in crate::file) fn latest(&self) -> Option<Epoch> {
        self.latest.map(Epoch)
    }

    /// Adds the entry of the next epoch, with these lines. May be called again if the disk was full;
    /// after another error it is not certain whether the epoch is in the log.
    pub(in crate::file) fn append(
        &mut self,
        epoch: Epoch,
        lines: &[u8],
    ) -> Result<(), ConnectorError> {
        let Epoch(number) = epoch;
        if self.latest.is_some_and(|latest| latest + 1 != number) {
            return Err(ConnectorError::Internal {
                what: "an epoch is missing before the one that a sink is to commit",
            });
        }
        if self.latest.is_none() {
            self.superfluous.start = number;
        }
        if self.schedule.is_compact(number, self.latest) {
            self.append_compact(number, lines)?;
        } else {
            self.append_plain(number, lines)?;
        }
        self.latest = Some(number);
        // The epoch is committed: what is only tidying must not fail it, and is tried again.
        self.work_ahead();
        self.remove_superfluous();
        Ok(())
    }

    fn append_plain(&self, epoch: u64, lines: &[u8]) -> Result<(), ConnectorError> {
        let name = epoch.to_string();
        let hidden = self.hidden(&name);
        let mut text = [HEADER, lines].concat();
        let mut file = files::create(&hidden)?;
        let result = files::write(&mut file, &hidden, &mut text)
            .and_then(|()| files::sync(&file, &hidden))
            .and_then(|()| self.give_name(&hidden, &name));
        self.drop_hidden(&hidden);
        result
    }

    fn append_compact(&mut self, epoch: u64, lines: &[u8]) -> Result<(), ConnectorError> {
        let name = format!("{epoch}{COMPACT}");
        let mut ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.begin(&name)?,
        };
        let result = self
            .copy(&mut ahead, u64::MAX)
            .and_then(|()| ahead.finish(lines))
            .and_then(|()| self.give_name(&ahead.hidden, &name));
        // Also after an error, for its room: it is written again from the beginning.
        self.drop_hidden(&ahead.hidden);
        result?;
        self.compact_bytes = ahead.bytes;
        for old in self.schedule.added(epoch, ahead.lines) {
            if files::remove(&self.compact_path(old)).is_err() {
                self.schedule.stays(old);
            }
        }
        self.superfluous.end = self.schedule.plain_from();
        Ok(())
    }

    /// Gives a whole entry its name.
    fn give_name(&self, hidden: &Path, name: &str) -> Result<(), ConnectorError> {
        let path = self.log.join(name);
        // A disk that lost its answer says that the name is taken when it was given to this file.
        if files::link(hidden, &path)? == Named::Taken && !same(hidden, &path)? {
            return Err(damaged(&path, "somebody else added an entry"));
        }
        files::sync_dir(&self.log)
    }

    /// Its other name stays, if it has one. What is not removed now is removed at the next start.
    fn drop_hidden(&self, hidden: &Path) {
        let _ = files::remove(hidden);
    }

    fn hidden(&self, name: &str) -> PathBuf {
        self.log.join(format!(".{name}{TEMPORARY}"))
    }

    fn compact_path(&self, epoch: u64) -> PathBuf {
        self.log.join(format!("{epoch}{COMPACT}"))
    }

    /// Writes some lines of the next compact entry.
    fn work_ahead(&mut self) {
        if self.compact_bytes < AHEAD_BYTES_MIN {
            return;
        }
        let target = format!("{}{COMPACT}", self.schedule.next());
        let step = self.compact_bytes / self.schedule.interval().max(1);
        let step = step.saturating_mul(2).max(AHEAD_STEP_BYTES);
        let begun = match self.ahead.take() {
            Some(ahead) => Ok(ahead),
            None => self.begin(&target),
        };
        let copied = begun.and_then(|mut ahead| {
            let result = self.copy(&mut ahead, step);
            if result.is_err() {
                self.drop_hidden(&ahead.hidden);
            }
            result.map(|()| ahead)
        });
        self.ahead = copied.ok();
    }

    /// Begins a compact entry of this name.
    fn begin(&self, name: &str) -> Result<Ahead, ConnectorError> {
        let hidden = self.hidden(name);
        let file = files::create(&hidden)?;
        let newest = self.schedule.newest();
        let source = match newest.map(|newest| self.compact_path(newest)) {
            Some(path) => Some(open(&path)?),
            None => None,
        };
        let oldest_ms = match self.retention_ms {
            // The disk's own time, which the times of the files have come from, too.
            Some(retention_ms) => {
                files::stat(&hidden)?.map(|stat| stat.modified_ms.saturating_sub(retention_ms))
            }
            None => None,
        };
        Ok(Ahead {
            file,
            hidden,
            buffer: HEADER.to_vec(),
            source,
            next: newest.map_or(0, |newest| newest + 1),
            lines: 0,
            bytes: 0,
            unsynced: 0,
            oldest_ms,
        })
    }

    /// Copies entries into a compact one, about so many bytes of them.
    fn copy(&self, ahead: &mut Ahead, bytes_max: u64) -> Result<(), ConnectorError> {
        let end = ahead.bytes.saturating_add(bytes_max);
        while ahead.bytes <= end {
            if ahead.copy_line()? {
                continue;
            }
            if self.latest.is_none_or(|latest| ahead.next > latest) {
                break;
            }
            ahead.source = Some(open(&self.log.join(ahead.next.to_string()))?);
            ahead.next += 1;
        }
        Ok(())
    }

    fn remove_superfluous(&mut self) {
        for epoch in self.superfluous.clone().take(REMOVED_MAX) {
            if files::remove(&self.log.join(epoch.to_string())).is_err() {
                return;
            }
            self.superfluous.start = epoch + 1;
        }
    }
}

/// End of the names of files that are not whole.
const TEMPORARY: &str = ".tmp";

fn open(path: &Path) -> Result<Lines, ConnectorError> {
    Lines::open(path)?.ok_or_else(|| damaged(path, "entry is missing"))
}

/// Whether two entries say the same.
fn same(one: &Path, other: &Path) -> Result<bool, ConnectorError> {
    let (mut one, mut other) = (open(one)?, open(other)?);
    loop {
        match (one.next()?, other.next()?) {
            (None, None) => return Ok(true),
            (one, other) if one != other => return Ok(false),
            _ => {}
        }
    }
}

/// A compact entry that is being written.
#[derive(Debug)]
struct Ahead {
    file: File,
    hidden: PathBuf,
    buffer: Vec<u8>,
    /// The entry that is being copied.
    source: Option<Lines>,
    /// The epoch of the plain entry after it.
    next: u64,
    lines: u64,
    bytes: u64,
    unsynced: u64,
    oldest_ms: Option<i64>,
}

impl Ahead {
    /// Copies a line of the source; false at its end.
    fn copy_line(&mut self) -> Result<bool, ConnectorError> {
        let Some(source) = &mut self.source else {
            return Ok(false);
        };
        let Some(line) = source.next()? else {
            self.source = None;
            return Ok(false);
        };
        let expired = self.oldest_ms.is_some_and(|oldest_ms| {
            modified_ms(line).is_some_and(|modified_ms| modified_ms < oldest_ms)
        });
        if !expired {
            self.buffer.push(b'\n');
            self.buffer.extend_from_slice(line);
            self.lines += 1;
            self.bytes += line.len() as u64 + 1;
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(true)
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.unsynced += self.buffer.len() as u64;
        files::write(&mut self.file, &self.hidden, &mut self.buffer)?;
        if self.unsynced >= UNSYNCED_BYTES_MAX {
            self.unsynced = 0;
            files::sync(&self.file, &self.hidden)?;
        }
        Ok(())
    }

    /// Adds the lines of the entry's own epoch and makes all of it durable.
    fn finish(&mut self, lines: &[u8]) -> Result<(), ConnectorError> {
        self.lines += memchr::memchr_iter(b'\n', lines).count() as u64;
        self.bytes += lines.len() as u64;
        self.buffer.extend_from_slice(lines);
        self.flush()?;
        files::sync(&self.file, &self.hidden)
    }
}

/// The time of the file in a line of the log; `None` if the line says none.
fn modified_ms(line: &[u8]) -> Option<i64> {
    const FIELD: &[u8] = b"\"modificationTime\":";
    let at = memchr::memmem::find(line, FIELD)?;
    let number = line.get(at + FIELD.len()..)?;
    let end = number
        .iter()
        .position(|byte| !byte.is_ascii_digit() && *byte != b'-')?;
    std::str::from_utf8(number.get(..end)?).ok()?.parse().ok()
}
