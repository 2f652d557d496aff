//! The journal `known` and the set that it stands for.
//!
//! The journal is cleaned like a log: entries at its front that are too old are dropped, those that
//! still count are written again at its end, two for each new one while it holds more than twice
//! what counts. So its length follows the number of files that count, whatever their order.

use std::{ops::Range, sync::Arc};

use millstream_connectors_api::{ConnectorError, Flow, Journal};

use super::{
    records::{Fingerprint, SeenFile, Stamp},
    seen::Seen,
};

/// Entries that are never worth cleaning up.
const SLACK: u64 = 4_096;

/// Entries looked at for each new one.
const PACE: u64 = 2;

/// What counts as seen.
pub(super) struct Known {
    journal: Arc<dyn Journal>,
    seen: Seen,
    /// What was seen is not all in the journal: it came from an earlier version's checkpoint.
    unwritten: bool,
    /// Files older than this were swept out.
    swept_ms: i64,
}

impl Known {
    pub(super) fn new(journal: Arc<dyn Journal>) -> Known {
        Known {
            journal,
            seen: Seen::default(),
            unwritten: false,
            swept_ms: i64::MIN,
        }
    }

    pub(super) fn contains(&self, fingerprint: Fingerprint) -> bool {
        self.seen.get(fingerprint).is_some()
    }

    /// What is known of the size and time of a file; `None` if it was not seen.
    pub(super) fn stamp(&self, fingerprint: Fingerprint) -> Option<Stamp> {
        Some(self.seen.get(fingerprint)?.stamp)
    }

    /// How many files count as seen.
    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    /// A file has another size or time by now, and somebody was told. Forgotten at a restart.
    pub(super) fn restamp(&mut self, fingerprint: Fingerprint, stamp: Stamp) {
        if let Some(mut file) = self.seen.get(fingerprint) {
            file.stamp = stamp;
            self.seen.insert(file);
        }
    }

    /// Reads what counts, but for what was swept out before.
    pub(super) fn load(
        &mut self,
        (first, end): (u64, u64),
        swept_ms: i64,
    ) -> Result<(), ConnectorError> {
        self.unwritten = false;
        self.swept_ms = swept_ms;
        let first = first.max(self.journal.entries().start).min(end);
        let kept = end.min(self.journal.entries().end).saturating_sub(first);
        let files = usize::try_from(kept).unwrap_or(usize::MAX);
        self.seen = Seen::filled(files, |add| {
            self.visit(first..end, &mut |file| {
                if file.reaches(swept_ms) {
                    add(file);
                }
            })
        })?;
        Ok(())
    }

    fn visit(
        &self,
        entries: Range<u64>,
        take: &mut dyn FnMut(SeenFile),
    ) -> Result<(), ConnectorError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut failure = None;
        self.journal
            .read(entries, &mut |_, entry| match SeenFile::of_entry(entry) {
                Ok(file) => {
                    take(file);
                    Flow::More
                }
                Err(error) => {
                    failure = Some(error);
                    Flow::Stop
                }
            })?;
        failure.map_or(Ok(()), Err)
    }

    /// Adds a file that the journal has or does not need.
    pub(super) fn add(&mut self, file: SeenFile) {
        self.seen.insert(file);
    }

    /// Adds a file that the journal does not have.
    pub(super) fn add_old(&mut self, file: SeenFile) {
        self.unwritten = true;
        self.seen.insert(file);
    }

    /// Forgets files older than this.
    pub(super) fn sweep(&mut self, swept_ms: i64) {
        if self.swept_ms < swept_ms {
            self.swept_ms = swept_ms;
            self.seen.sweep(swept_ms);
        }
    }

    /// Cuts off what lies behind the last range, and writes everything anew if it must be. Gives the
    /// entries that count.
    pub(super) fn tidy(&mut self, (first, end): (u64, u64)) -> Result<(u64, u64), ConnectorError> {
        let kept = self.journal.entries();
        if self.unwritten {
            self.journal.truncate(kept.start)?;
            let mut entries = self.seen.iter().map(SeenFile::to_entry);
            let written = self.journal.append(&mut entries)?;
            self.unwritten = false;
            return Ok((written.start, written.end));
        }
        if kept.end != end {
            // One that is shorter has lost entries, and says so.
            self.journal.truncate(end)?;
        }
        Ok((first, end))
    }

    /// Adds the files of a range to the journal and to the set, and cleans a little. Gives the entries
    /// that count afterwards.
    pub(super) fn append(
        &mut self,
        (first, end): (u64, u64),
        files: impl Iterator<Item = SeenFile> + Clone,
        swept_ms: i64,
    ) -> Result<(u64, u64), ConnectorError> {
        let live = self.seen.len() as u64;
        let mut after = first;
        let mut again = Vec::new();
        if end.saturating_sub(first) > live.saturating_mul(2).saturating_add(SLACK) {
            let added = files.clone().count() as u64;
            let looked = added.saturating_mul(PACE).saturating_add(PACE);
            after = end.min(first.saturating_add(looked));
            self.visit(first..after, &mut |file| {
                if file.reaches(swept_ms) {
                    again.push(file);
                }
            })?;
        }
        let mut entries = again
            .iter()
            .copied()
            .chain(files.clone())
            .map(SeenFile::to_entry);
        let mut entries = entries.by_ref().peekable();
        let end = match entries.peek() {
            Some(_) => self.journal.append(&mut entries)?.end,
            None => end,
        };
        for file in files {
            self.seen.insert(file);
        }
        Ok((after, end))
    }

    /// Entries before `first` will never be read again.
    pub(super) fn settled(&self, first: u64) -> Result<(), ConnectorError> {
        let kept = self.journal.entries();
        if first > kept.start {
            self.journal.forget(first.min(kept.end))?;
        }
        Ok(())
    }
}
