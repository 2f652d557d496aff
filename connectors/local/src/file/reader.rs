//! The data side of the file source: the bytes of planned files, and whether they are still those.

use std::{path::Path, sync::Arc};

use millstream_connectors_api::{
    Chunk, ChunkBody, ConnectorError, Flow, Prefetch, SourceReader, Split,
};

use super::{
    ahead::{Ahead, Begun},
    cut::{Cut, Extent, Limits},
    ledger::{Before, Ledger},
    notices::{Kind, Notices},
    records::{FileSplit, Outcome, Terms},
    settings::{OnTrouble, Settings},
};
use crate::{files, packing};

/// Bytes in a chunk, but for a line that is longer.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// What the readers of a source and its control side share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) ledger: Ledger,
    pub(super) ahead: Ahead,
    pub(super) notices: Notices,
}

/// Reads planned files, one split each.
#[derive(Debug)]
pub(super) struct FileReader {
    limits: Limits,
    missing: OnTrouble,
    corrupt: OnTrouble,
    shared: Arc<Shared>,
}

impl FileReader {
    pub(super) fn new(settings: &Settings, shared: Arc<Shared>) -> FileReader {
        FileReader {
            limits: Limits {
                line_bytes_max: settings.line_bytes_max,
                chunk_bytes: CHUNK_BYTES,
            },
            missing: settings.missing,
            corrupt: settings.corrupt,
            shared,
        }
    }

    /// Opens the file to be given as far as the plan and earlier readings say; `None` if nothing of
    /// it is to be given.
    fn begin(&self, split: &FileSplit, before: Before) -> Result<Option<Begun>, ConnectorError> {
        let planned = &split.file;
        let again = match before {
            Before::Read(outcome) if split.terms != Terms::Accepted => Some(outcome),
            Before::Read(_) | Before::Perhaps | Before::Unread => None,
        };
        if again.is_some_and(|outcome| outcome.bytes == 0) {
            return Ok(None);
        }
        let Some((file, stat)) = files::open_regular(Path::new(&planned.path))? else {
            return match (again, split.terms, self.missing) {
                (None, Terms::Accepted, _) => Ok(self.count(Kind::Accepted, split)),
                (None, _, OnTrouble::PassOver) => Ok(self.count(Kind::Missing, split)),
                (Some(_), _, _) | (None, _, OnTrouble::Stop) => {
                    Err(changed(split, "file is gone".to_owned()))
                }
            };
        };
        let is_packed = packing::of_name(&planned.path).is_some();
        let bytes = match (again, split.terms, before) {
            (Some(outcome), _, _) => outcome.bytes,
            (None, Terms::Accepted, before) => {
                let bytes = stat.size.min(planned.size);
                let is_other = match before {
                    Before::Read(outcome) => !is_packed && outcome.bytes != bytes,
                    Before::Perhaps | Before::Unread => false,
                };
                if is_other || stat.modified_ns != planned.mtime_ns {
                    self.shared.notices.count(Kind::Accepted, &planned.path);
                }
                bytes
            }
            (None, Terms::Planned | Terms::Old, Before::Perhaps) => {
                check_unchanged(split, &stat)?;
                planned.size
            }
            (None, Terms::Planned | Terms::Old, Before::Unread | Before::Read(_)) => {
                if stat.size > planned.size {
                    self.shared.notices.count(Kind::Grown, &planned.path);
                }
                planned.size
            }
        };
        let extent = match again {
            None if is_packed => Extent::Packed(bytes),
            Some(_) | None => Extent::Bytes(bytes),
        };
        // How much is packed in a file its size does not say.
        let is_short = stat.size < bytes && !(is_packed && again.is_some());
        if is_short && self.corrupt == OnTrouble::Stop {
            return Err(size_changed(split, bytes, stat.size));
        }
        if before == Before::Unread
            && split.terms == Terms::Planned
            && let Some(begun) = self.shared.ahead.take(planned, &stat)
        {
            return Ok(Some(begun));
        }
        let cut = Cut::new(file, &planned.path, extent, self.limits);
        Ok(Some(Begun::at_start(planned.clone(), cut)))
    }

    fn count(&self, kind: Kind, split: &FileSplit) -> Option<Begun> {
        self.shared.notices.count(kind, &split.file.path);
        None
    }

    /// Whether the rest of a file may be left because of this error.
    fn may_leave(&self, split: &FileSplit, before: Before, error: &ConnectorError) -> bool {
        let read_before = matches!(before, Before::Read(_)) && split.terms != Terms::Accepted;
        let unreadable = matches!(
            error,
            ConnectorError::Io { .. }
                | ConnectorError::InputChanged { .. }
                | ConnectorError::LineTooLong { .. }
                | ConnectorError::CorruptFile { .. }
        );
        self.corrupt == OnTrouble::PassOver && unreadable && !read_before
    }

    /// Notes what was found, or compares it with what was found before.
    fn end(
        &self,
        split: &FileSplit,
        before: Before,
        (found, is_whole): (Outcome, bool),
    ) -> Result<(), ConnectorError> {
        let ledger = &self.shared.ledger;
        match (split.terms, before) {
            (Terms::Old, _) => Ok(()),
            (Terms::Accepted | Terms::Planned, Before::Read(outcome)) if outcome == found => Ok(()),
            (Terms::Planned, Before::Read(_)) => Err(changed(
                split,
                "its bytes are others than those that were read before".to_owned(),
            )),
            (Terms::Planned, Before::Unread | Before::Perhaps) if is_whole => {
                ledger.note(split.number, found)
            }
            (Terms::Planned | Terms::Accepted, _) => ledger.settle(split.number, found),
        }
    }
}

impl SourceReader for FileReader {
    fn read(
        &mut self,
        split: &Split,
        give: &mut dyn FnMut(Chunk) -> Flow,
    ) -> Result<(), ConnectorError> {
        let split = FileSplit::of_detail(&split.detail)?;
        let before = self.shared.ledger.before(&split);
        let nothing = Outcome {
            bytes: 0,
            digest: 0,
        };
        let Some(mut begun) = self.begin(&split, before)? else {
            return match before {
                Before::Read(_) if split.terms == Terms::Planned => Ok(()),
                Before::Read(_) | Before::Perhaps | Before::Unread => {
                    self.end(&split, before, (nothing, false))
                }
            };
        };
        let origin: Arc<str> = split.file.path.as_str().into();
        loop {
            let (offset, bytes) = match begun.next() {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(error) if self.may_leave(&split, before, &error) => {
                    self.shared.notices.count(Kind::Corrupt, &split.file.path);
                    break;
                }
                Err(error) => return Err(error),
            };
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
        let found = begun.outcome().unwrap_or((nothing, false));
        self.end(&split, before, found)
    }

    fn prefetch(&mut self, bytes_max: usize) -> Prefetch {
        // Nothing waits to be read: the time to write down what was found. If there is no room now,
        // the next plan will say so.
        let _ = self.shared.ledger.flush();
        self.shared.ahead.step(bytes_max, self.limits)
    }
}

fn changed(split: &FileSplit, reason: String) -> ConnectorError {
    ConnectorError::InputChanged {
        path: split.file.path.clone(),
        reason,
    }
}

fn size_changed(split: &FileSplit, was: u64, is: u64) -> ConnectorError {
    changed(split, format!("size was {was} bytes and is {is}"))
}

/// Fails if size or time of a file are not those of the plan: all that is known of a file that an
/// earlier process may have read.
fn check_unchanged(split: &FileSplit, stat: &files::Stat) -> Result<(), ConnectorError> {
    let planned = &split.file;
    if stat.size != planned.size {
        return Err(size_changed(split, planned.size, stat.size));
    }
    let same_time = match split.terms {
        Terms::Old => stat.modified_ms == planned.mtime_ms(),
        Terms::Planned | Terms::Accepted => stat.modified_ns == planned.mtime_ns,
    };
    if same_time {
        Ok(())
    } else {
        let reason = "file was modified after it was planned";
        Err(changed(split, reason.to_owned()))
    }
}
