//! The epoch protocol, pure: plan, commit, snapshot, resume; the formats on disk.
//!
//! An epoch is planned durably before its first row is read, runs, is staged and committed by the
//! sink, and is then recorded as committed. Every few seconds a snapshot names the immutable files
//! that hold all state as of one epoch. After a crash [`resume`] turns what the disk and the sink
//! still know into one decision: which snapshot, which epochs to replay, which of them silently.
//!
//! Owns: the records ([`Plan`], [`Commit`], [`Manifest`], [`Metadata`]) and their bytes
//! (`docs/formats.md`), the [`Disk`] seam, the [`CheckpointStore`], the steps an epoch takes
//! ([`Chosen`], [`Planned`], [`Staged`], [`Sunk`], [`Committed`]). Never does: read a clock, start
//! a thread, look inside a pack, talk to a source or a sink.
//!
//! Tests: beside each module for the pure parts; `tests/it` crashes the whole protocol after every
//! single disk operation and damages every byte of every file.

mod codec;
mod disk;
mod error;
mod guard;
mod journal;
mod layout;
mod log;
mod manifest;
mod metadata;
mod parts;
mod record;
mod resume;
mod rewrite;
pub mod sim;
mod steps;
mod store;
#[cfg(test)]
mod tests;

pub use codec::DecodeError;
pub use disk::{AppendFile, BadPath, Disk, DiskLock, Entry, RealDisk, RelPath};
pub use error::EpochError;
pub use journal::Journal;
pub use log::{Frame, Link, Scan, SegmentHeader, Tail, encode_frame, encode_header, scan};
pub use manifest::{Manifest, Piece};
pub use metadata::{KEY_HASH_NAME, Metadata};
pub use record::{Accepted, Commit, Dropped, Plan, PlanKind, Record, SourceRange};
pub use resume::{
    Facts, OPEN_PLANS_MAX, Output, Refusal, Replay, Replays, Resume, SinkPosition, resume,
};
pub use rewrite::{RewriteRule, pieces_to_copy};
pub use steps::{Chosen, Committed, Outcome, Planned, Staged, Sunk};
pub use store::{
    CheckpointReport, CheckpointStore, Collected, DamagedFile, FileReport, FileState,
    JournalReport, PackFile, PackWriter, Recovered, accept_input, checksum, drop_plans, inspect,
    read_piece, verify,
};
