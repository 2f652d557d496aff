//! What the log says about an epoch: its inputs before it runs, its outcome after the sink has it,
//! and what the user decided about it in between.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use millstream_types::Epoch;

use crate::codec::{DecodeError, Reader, Writer};

const KIND_PLAN: u8 = 1;
const KIND_COMMIT: u8 = 2;
const KIND_DROPPED: u8 = 3;
const KIND_ACCEPTED: u8 = 4;
/// Of all kinds so far.
const VERSION: u8 = 1;

/// More sources than any query has; keeps a hostile count from taking memory.
pub(crate) const SOURCES_MAX: usize = 1 << 16;

/// Whether an epoch has input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanKind {
    /// Rows are read.
    Data,
    /// No rows; the watermark moved and state must be looked at.
    NoData,
}

/// The input of one epoch from one source; texts and bytes are the source's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRange {
    /// Where the range begins, exclusive; `None` at the very start.
    pub start: Option<String>,
    /// Where the range ends, inclusive.
    pub end: String,
    /// What exactly belongs to the range, such as file names and sizes.
    pub detail: Vec<u8>,
}

/// Everything that an epoch may depend on, durable before its first row is read. [INV-01]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The epoch.
    pub epoch: Epoch,
    /// The clock that the query sees, milliseconds since 1970.
    pub clock_ms: i64,
    /// Whether there is input.
    pub kind: PlanKind,
    /// State is captured when this epoch closes.
    pub snapshot_after: bool,
    /// The range of each source, in the order of the query; `None` if it has nothing new.
    pub sources: Vec<Option<SourceRange>>,
}

/// The sink has the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The epoch.
    pub epoch: Epoch,
    /// Rows read.
    pub rows_in: u64,
    /// Rows that became visible.
    pub rows_out: u64,
    /// The watermark of the next epoch, milliseconds since 1970; checked on replay.
    pub watermark_next_ms: i64,
}

/// The user gave up planned epochs that were never committed: their numbers are planned anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The first of them; all later ones go too.
    pub from: Epoch,
    /// Why, in the user's words.
    pub reason: String,
}

/// The user accepted that the input of an epoch is no longer what it was when it was planned: the
/// epoch runs with what is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The epoch.
    pub epoch: Epoch,
    /// The source, by its place in the query.
    pub source: u32,
    /// What changed, in the user's words.
    pub what: String,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An epoch was planned.
    Plan(Plan),
    /// An epoch was committed.
    Commit(Commit),
    /// Plans were given up by the user's word.
    Dropped(Dropped),
    /// Changed input was accepted by the user's word.
    Accepted(Accepted),
}

impl Record {
    /// The epoch it is about.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Record::Plan(plan) => plan.epoch,
            Record::Commit(commit) => commit.epoch,
            Record::Dropped(dropped) => dropped.from,
            Record::Accepted(accepted) => accepted.epoch,
        }
    }

    /// Whether it is the user's word. Frames with such records have a version of their own, so that
    /// a program that does not know them refuses the log by name.
    pub(crate) fn is_word(&self) -> bool {
        matches!(self, Record::Dropped(_) | Record::Accepted(_))
    }

    /// Kind, version and fields.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(match self {
            Record::Plan(_) => KIND_PLAN,
            Record::Commit(_) => KIND_COMMIT,
            Record::Dropped(_) => KIND_DROPPED,
            Record::Accepted(_) => KIND_ACCEPTED,
        });
        out.u8(VERSION);
        match self {
            Record::Plan(plan) => plan.write(&mut out),
            Record::Commit(commit) => commit.write(&mut out),
            Record::Dropped(dropped) => dropped.write(&mut out),
            Record::Accepted(accepted) => accepted.write(&mut out),
        }
        out.finish()
    }

    /// The inverse of [`Record::encode`].
    ///
    /// # Errors
    /// For bytes that it never writes.
    pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
        let mut from = Reader::new(bytes);
        let kind = from.u8()?;
        let version = from.u8()?;
        if !(KIND_PLAN..=KIND_ACCEPTED).contains(&kind) {
            return Err(DecodeError::Value { field: "kind" });
        }
        if version != VERSION {
            return Err(DecodeError::Version {
                found: version.into(),
                newest: VERSION.into(),
            });
        }
        let record = match kind {
            KIND_PLAN => Record::Plan(Plan::read(&mut from)?),
            KIND_COMMIT => Record::Commit(Commit::read(&mut from)?),
            KIND_DROPPED => Record::Dropped(Dropped::read(&mut from)?),
            _ => Record::Accepted(Accepted::read(&mut from)?),
        };
        from.finish()?;
        Ok(record)
    }
}

impl Plan {
    fn write(&self, out: &mut Writer) {
        out.u64(self.epoch.0);
        out.i64(self.clock_ms);
        out.bool(self.kind == PlanKind::Data);
        out.bool(self.snapshot_after);
        out.count(self.sources.len());
        for source in &self.sources {
            out.bool(source.is_some());
            if let Some(range) = source {
                range.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Plan, DecodeError> {
        let epoch = Epoch(from.u64()?);
        let clock_ms = from.i64()?;
        let kind = if from.bool("has data")? {
            PlanKind::Data
        } else {
            PlanKind::NoData
        };
        let snapshot_after = from.bool("snapshot after")?;
        let count = from.count(1)?;
        if count > SOURCES_MAX {
            return Err(DecodeError::Value { field: "sources" });
        }
        let mut sources = Vec::with_capacity(count);
        for _ in 0..count {
            let present = from.bool("source present")?;
            sources.push(present.then(|| SourceRange::read(from)).transpose()?);
        }
        Ok(Plan {
            epoch,
            clock_ms,
            kind,
            snapshot_after,
            sources,
        })
    }
}

impl SourceRange {
    fn write(&self, out: &mut Writer) {
        out.bool(self.start.is_some());
        if let Some(start) = &self.start {
            out.text(start);
        }
        out.text(&self.end);
        out.bytes(&self.detail);
    }

    fn read(from: &mut Reader<'_>) -> Result<SourceRange, DecodeError> {
        let start = if from.bool("start present")? {
            Some(from.text("start")?)
        } else {
            None
        };
        Ok(SourceRange {
            start,
            end: from.text("end")?,
            detail: from.bytes()?.to_vec(),
        })
    }
}

impl Commit {
    fn write(&self, out: &mut Writer) {
        out.u64(self.epoch.0);
        out.u64(self.rows_in);
        out.u64(self.rows_out);
        out.i64(self.watermark_next_ms);
    }

    fn read(from: &mut Reader<'_>) -> Result<Commit, DecodeError> {
        Ok(Commit {
            epoch: Epoch(from.u64()?),
            rows_in: from.u64()?,
            rows_out: from.u64()?,
            watermark_next_ms: from.i64()?,
        })
    }
}

impl Dropped {
    fn write(&self, out: &mut Writer) {
        out.u64(self.from.0);
        out.text(&self.reason);
    }

    fn read(from: &mut Reader<'_>) -> Result<Dropped, DecodeError> {
        Ok(Dropped {
            from: Epoch(from.u64()?),
            reason: from.text("reason")?,
        })
    }
}

impl Accepted {
    fn write(&self, out: &mut Writer) {
        out.u64(self.epoch.0);
        out.u32(self.source);
        out.text(&self.what);
    }

    fn read(from: &mut Reader<'_>) -> Result<Accepted, DecodeError> {
        Ok(Accepted {
            epoch: Epoch(from.u64()?),
            source: from.u32()?,
            what: from.text("what was accepted")?,
        })
    }
}
