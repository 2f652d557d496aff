//! What goes wrong with a checkpoint.

use std::io;

use millstream_types::{Code, Coded, Epoch};

use crate::{DecodeError, Refusal, RelPath, codec::TooLong, resume::show};

/// An error of the protocol or its files. Texts name files and epochs, never contents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EpochError {
    /// CKP-001 · Corrupt · an older snapshot was tried where there is one.
    #[error("checkpoint file is damaged file={file} reason={reason}")]
    Damaged {
        /// The file.
        file: RelPath,
        /// What is wrong with it.
        reason: String,
    },
    /// CKP-002 · User · the checkpoint was written by another query.
    #[error(
        "checkpoint belongs to another query checkpoint_plan={theirs_fingerprint:016x} \
         this_plan={ours_fingerprint:016x}"
    )]
    OtherQuery {
        /// Fingerprint of the plan in the checkpoint.
        theirs_fingerprint: u64,
        /// Fingerprint of the plan that starts.
        ours_fingerprint: u64,
        /// The plan in the checkpoint.
        theirs: String,
        /// The plan that starts.
        ours: String,
    },
    /// CKP-003 · Fenced · another process holds the checkpoint right now.
    #[error("checkpoint is in use by another process file={file}")]
    Locked {
        /// The lock.
        file: RelPath,
    },
    /// CKP-003 · Fenced · another process took over; this one must stop.
    #[error("another process took over the checkpoint generation={generation} file={file}")]
    Fenced {
        /// The generation of this process.
        generation: u64,
        /// The fence by which it was noticed.
        file: RelPath,
    },
    /// CKP-004 · User · written by a newer version, or by something else.
    #[error("checkpoint file has an unknown format file={file} found={found} newest={newest}")]
    Format {
        /// The file.
        file: RelPath,
        /// Its version.
        found: u16,
        /// The newest version that is read here.
        newest: u16,
    },
    /// CKP-005 · External · the disk refused; nothing of the epoch was lost.
    #[error("cannot {action} a checkpoint file file={file}")]
    Disk {
        /// `read`, `append to` …
        action: &'static str,
        /// The file.
        file: RelPath,
        /// What the system said.
        source: io::Error,
    },
    /// CKP-005 · External · there is no space. Nothing of the call was written, everything else is
    /// as it was, and the same call may be repeated when there is space.
    #[error("cannot {action} a checkpoint file: the disk is full file={file}")]
    Full {
        /// `create`, `append to` …
        action: &'static str,
        /// The file.
        file: RelPath,
        /// What the system said.
        source: io::Error,
    },
    /// CKP-005 · External · an earlier sync failed; what is on the disk is unknown until a restart.
    #[error("checkpoint is closed after a failed write file={file}")]
    Poisoned {
        /// The file whose write failed.
        file: RelPath,
    },
    /// CKP-006, CKP-008 · the facts contradict each other.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// CKP-007 · Corrupt · the file that says whose checkpoint this is was deleted.
    #[error("checkpoint has no metadata file found={found}")]
    NoMetadata {
        /// What is there in spite of that.
        found: RelPath,
    },
    /// CKP-008 · Corrupt · records are missing.
    #[error("the log has a hole file={file} what={what} want={want} got={got}")]
    Hole {
        /// Where it was noticed.
        file: RelPath,
        /// `frame`, `plan` or `commit`.
        what: &'static str,
        /// The number that must come next.
        want: u64,
        /// The number that does.
        got: u64,
    },
    /// CKP-010 · User · a word of the user about an epoch that it cannot be said of.
    #[error(
        "nothing can be decided about this epoch epoch={epoch} reason={why:?} \
         last_planned_epoch={} last_committed_epoch={}", show(*.plan_last), show(*.commit_last)
    )]
    NotOpen {
        /// The epoch.
        epoch: Epoch,
        /// Why not.
        why: &'static str,
        /// The newest plan.
        plan_last: Option<Epoch>,
        /// The newest commit.
        commit_last: Option<Epoch>,
    },
    /// CKP-004 · User · the checkpoint was written with another hash of the keys.
    #[error(
        "checkpoint was written with another key hash file={file} found={found:?} known={known:?}"
    )]
    OtherHash {
        /// The file that says so.
        file: RelPath,
        /// The hash in the checkpoint.
        found: String,
        /// The one of this program.
        known: &'static str,
    },
    /// EXE-003 · Bug · the engine did two steps of the protocol in the wrong order.
    #[error("internal: {what} out of order epoch={epoch} want={want}")]
    OutOfOrder {
        /// What was asked for.
        what: &'static str,
        /// For which epoch.
        epoch: Epoch,
        /// Which epoch it must be.
        want: Epoch,
    },
    /// EXE-003 · Bug · a record or file is longer than a reader accepts.
    #[error("internal: {what} is too long bytes={bytes} bytes_max={bytes_max}")]
    TooLong {
        /// What was to be written.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// EXE-003 · Bug · a value that breaks the contract of a call.
    #[error("internal: {what} value={value}")]
    Contract {
        /// What was wrong.
        what: &'static str,
        /// The value, which is never a row.
        value: String,
    },
}

impl EpochError {
    pub(crate) fn disk(
        action: &'static str,
        file: &RelPath,
    ) -> impl FnOnce(io::Error) -> EpochError {
        let file = file.clone();
        move |source| {
            let is_full = matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            );
            if is_full {
                return EpochError::Full {
                    action,
                    file,
                    source,
                };
            }
            EpochError::Disk {
                action,
                file,
                source,
            }
        }
    }

    /// Whether the disk was full and the same call may be repeated when there is space: nothing of
    /// it was written, and nothing else is harmed.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, EpochError::Full { .. })
    }

    /// Whether the system refused before anything was done, so that the same call may be repeated:
    /// a file that cannot be created, or an append of which nothing is left.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, EpochError::Disk { action, source, .. }
        if matches!(*action, "create" | "append to") && matches!(
            source.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        ))
    }

    pub(crate) fn decode(file: &RelPath, error: &DecodeError) -> EpochError {
        let file = file.clone();
        match error {
            DecodeError::Version { found, newest } => EpochError::Format {
                file,
                found: *found,
                newest: *newest,
            },
            DecodeError::Hash { found, known } => EpochError::OtherHash {
                file,
                found: found.clone(),
                known,
            },
            DecodeError::Cut { .. }
            | DecodeError::Magic { .. }
            | DecodeError::Checksum { .. }
            | DecodeError::Value { .. }
            | DecodeError::Trailing { .. } => EpochError::Damaged {
                file,
                reason: error.to_string(),
            },
        }
    }

    pub(crate) fn too_long(what: &'static str) -> impl FnOnce(TooLong) -> EpochError {
        move |TooLong { bytes, bytes_max }| EpochError::TooLong {
            what,
            bytes,
            bytes_max,
        }
    }
}

impl Coded for EpochError {
    fn code(&self) -> Code {
        Code(match self {
            EpochError::Damaged { .. } => "CKP-001",
            EpochError::OtherQuery { .. } => "CKP-002",
            EpochError::Locked { .. } | EpochError::Fenced { .. } => "CKP-003",
            EpochError::Format { .. } | EpochError::OtherHash { .. } => "CKP-004",
            EpochError::NotOpen { .. } => "CKP-010",
            EpochError::Disk { .. } | EpochError::Full { .. } | EpochError::Poisoned { .. } => {
                "CKP-005"
            }
            EpochError::Refused(refusal) => return refusal.code(),
            EpochError::NoMetadata { .. } => "CKP-007",
            EpochError::Hole { .. } => "CKP-008",
            EpochError::OutOfOrder { .. }
            | EpochError::TooLong { .. }
            | EpochError::Contract { .. } => "EXE-003",
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most errors have nothing to add"
    )]
    fn hint(&self) -> Option<String> {
        match self {
            EpochError::OtherQuery { theirs, ours, .. } => Some(format!(
                "the checkpoint was written by\n{theirs}\nand this query is\n{ours}"
            )),
            EpochError::Poisoned { .. } => {
                Some("restart the query: it goes on from its last epoch".to_owned())
            }
            _ => None,
        }
    }
}

impl Coded for Refusal {
    fn code(&self) -> Code {
        Code(match self {
            Refusal::SinkAhead { .. } => "CKP-006",
            Refusal::SinkBehind { .. }
            | Refusal::PlanMissing { .. }
            | Refusal::CommitMissing { .. }
            | Refusal::TooManyOpen { .. } => "CKP-008",
        })
    }
}
