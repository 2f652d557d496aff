//! The checkpoint of one query on a [`Disk`].
//!
//! One process at a time holds it: by an operating-system lock where there are locks, and by the
//! generation fence everywhere. The store appends records, writes packs and manifests, and
//! removes what no restart can need. It asserts the order of the protocol before it writes and
//! proves it again when it reads.
//!
//! After a failed sync nobody knows what is on the disk, and asking again would lie: the store
//! closes itself and the process starts anew from the log.

mod inspect;
mod open;
mod packs;
mod read_log;
mod snapshot;
mod word;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use millstream_types::Epoch;

pub use inspect::{CheckpointReport, FileReport, FileState, JournalReport, inspect, verify};
pub use open::{DamagedFile, Recovered};
pub use packs::{PackFile, PackWriter, checksum, read_piece};
pub use snapshot::Collected;
pub use word::{accept_input, drop_plans};

use crate::{
    AppendFile, Chosen, Committed, DiskLock, EpochError, Journal, Link, OPEN_PLANS_MAX, Plan,
    Planned, Record, SegmentHeader, SinkPosition, Sunk, journal,
    log::{frame_bytes, header_bytes},
    record::SOURCES_MAX,
};
use crate::{
    guard::{Guard, Poison, locked, write_whole},
    layout,
    parts::{byte_count, file_bytes},
};

/// The checkpoint of a running query. May be shared between threads.
#[derive(Debug)]
pub struct CheckpointStore {
    guard: Guard,
    packs: PackWriter,
    query_id: String,
    plan_fingerprint: u64,
    log: Mutex<LogState>,
    snapshots: Mutex<snapshot::Snapshots>,
    /// Journals that were opened, by source and name: two writers of one would spoil it.
    journals: Mutex<BTreeSet<(u32, String)>>,
    /// Shared with the journals: as long as one of them may write, no other process may.
    lock: Arc<dyn DiskLock>,
}

/// Where the log ends.
#[derive(Debug)]
struct LogState {
    file: Option<Box<dyn AppendFile>>,
    /// Segments, oldest first; `file` is the last.
    segments: Vec<Epoch>,
    /// Bytes of the last one.
    len: u64,
    link: Link,
    plan_last: Option<Epoch>,
    commit_last: Option<Epoch>,
    /// A snapshot was written since the last segment began.
    is_roll_due: bool,
}

impl CheckpointStore {
    /// The generation of this process.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.guard.generation
    }

    /// The id of the query.
    #[must_use]
    pub fn query_id(&self) -> &str {
        &self.query_id
    }

    /// Opens a journal of a source, empty if it does not exist. Each of them once a start. The
    /// checkpoint stays locked until its journals are dropped too.
    ///
    /// The name has 1 to 32 characters of `a-z`, `0-9`, `_` and `-`.
    ///
    /// # Errors
    /// [`EpochError::Contract`] for a name that is none or that was opened before;
    /// [`EpochError::Damaged`] if it is damaged elsewhere than at the end of its last append;
    /// [`EpochError::Fenced`], [`EpochError::Disk`], [`EpochError::Poisoned`]. After
    /// [`EpochError::Full`] the call may be repeated.
    pub fn journal(&self, source: u32, name: &str) -> Result<Journal, EpochError> {
        self.journal_of(source, name, journal::SEGMENT_BYTES)
    }

    /// As [`CheckpointStore::journal`], with segments of another size.
    pub(crate) fn journal_of(
        &self,
        source: u32,
        name: &str,
        segment_bytes: u64,
    ) -> Result<Journal, EpochError> {
        let key = (source, name.to_owned());
        let mut open = locked(&self.journals);
        if open.contains(&key) {
            return Err(EpochError::Contract {
                what: "a journal was opened twice",
                value: format!("{source}/{name}"),
            });
        }
        let identity = journal::Identity::new(&self.query_id, source, name)?;
        let lock = Arc::clone(&self.lock);
        let journal = Journal::open(self.guard.clone(), lock, identity, segment_bytes)?;
        open.insert(key);
        Ok(journal)
    }

    /// Records commits and plans, all of them with one append and one sync: the whole group is
    /// durable, or none of it is.
    ///
    /// Commits come first in the group. On success both vectors are empty; on error they are as
    /// they were, and after a full disk the call may be repeated.
    ///
    /// # Errors
    /// [`EpochError::OutOfOrder`] if an epoch is left out or repeated, [`EpochError::Fenced`] if
    /// another process took over, [`EpochError::Disk`] and [`EpochError::Poisoned`].
    pub fn advance(
        &self,
        sunk: &mut Vec<Sunk>,
        chosen: &mut Vec<Chosen>,
    ) -> Result<(Vec<Committed>, Vec<Planned>), EpochError> {
        let records: Vec<Record> = sunk
            .iter()
            .map(|sunk| Record::Commit(sunk.commit()))
            .chain(chosen.iter().map(|c| Record::Plan(c.plan().clone())))
            .collect();
        self.append(&records)?;
        let committed = sunk
            .drain(..)
            .map(|sunk| Committed::recorded(sunk.commit()))
            .collect();
        let planned = chosen
            .drain(..)
            .map(|chosen| Planned::durable(chosen.into_plan()))
            .collect();
        Ok((committed, planned))
    }

    /// Whether this process still owns the checkpoint.
    ///
    /// # Errors
    /// [`EpochError::Fenced`] if another process took over; [`EpochError::Disk`].
    pub fn check_fence(&self) -> Result<(), EpochError> {
        self.guard.check_fence()
    }

    /// Takes back the user's word for plans that the sink has: such an epoch is committed, whatever
    /// the log says, and a new plan under its number would be another epoch of the same name. To be
    /// called before [`resume`](crate::resume), once the sink has answered.
    ///
    /// # Errors
    /// As [`CheckpointStore::advance`].
    pub fn reinstate(
        &self,
        recovered: &mut Recovered,
        sink: SinkPosition,
    ) -> Result<(), EpochError> {
        let SinkPosition::Committed(sink) = sink else {
            return Ok(());
        };
        let count = recovered
            .given_up
            .partition_point(|plan| plan.epoch <= sink);
        let plans: Vec<Plan> = recovered.given_up.iter().take(count).cloned().collect();
        let Some(last) = plans.last().map(|plan| plan.epoch) else {
            return Ok(());
        };
        let records: Vec<Record> = plans.iter().cloned().map(Record::Plan).collect();
        self.append(&records)?;
        recovered.given_up.drain(..count);
        recovered.plans.extend(plans);
        recovered.plan_last = Some(last);
        Ok(())
    }

    fn append(&self, records: &[Record]) -> Result<(), EpochError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut log = locked(&self.log);
        self.guard.check()?;
        let (plan_last, commit_last) = log.ends_after(records)?;
        let (frame, link) = frame_bytes(self.guard.generation, log.link, records)
            .map_err(EpochError::too_long("a group of records"))?;
        let next_plan = log.plan_last.map_or(Epoch::FIRST, Epoch::next);
        let newest = log.segments.last().copied();
        // A segment is named by its first plan, so one that has no plan yet is not left behind.
        if newest.is_none_or(|newest| log.is_roll_due && newest < next_plan) {
            self.begin_segment(&mut log, next_plan, &frame)?;
        } else {
            self.append_frame(&mut log, &frame)?;
        }
        // Checked after the sync: whoever takes over creates the fence first and then reads, so
        // either the fence is seen here or these records are seen there. [INV-04]
        self.guard.check_fence()?;
        log.link = link;
        log.plan_last = plan_last;
        log.commit_last = commit_last;
        Ok(())
    }

    fn append_frame(&self, log: &mut LogState, frame: &[u8]) -> Result<(), EpochError> {
        let path = layout::segment(log.segments.last().copied().unwrap_or_default());
        let good = log.len;
        let file = log.file.as_mut().ok_or(EpochError::Contract {
            what: "log without a segment",
            value: path.to_string(),
        })?;
        if let Err(error) = file.append(frame) {
            // Part of the frame may be there. Cut it off, so that the query can go on once there
            // is space again; if even that fails, only a restart can tell what is on the disk.
            if file.truncate(good).is_err() {
                self.guard.poison.set(&path);
            }
            return Err(EpochError::disk("append to", &path)(error));
        }
        self.guard.poison.watch("sync", &path, file.sync())?;
        log.len = good.saturating_add(byte_count(frame));
        Ok(())
    }

    fn begin_segment(
        &self,
        log: &mut LogState,
        first: Epoch,
        frame: &[u8],
    ) -> Result<(), EpochError> {
        self.guard.check_fence()?;
        let path = layout::segment(first);
        let header = SegmentHeader {
            query_id: self.query_id.clone(),
            first,
        };
        let mut bytes = header_bytes(&header).map_err(EpochError::too_long("a query id"))?;
        bytes.extend_from_slice(frame);
        // Under its name a segment has a whole header and a whole first frame: only what is
        // appended later can be torn.
        self.guard.write_whole(&path, &bytes)?;
        let file = self.guard.disk.open_append(&path);
        log.file = Some(self.guard.poison.watch("open", &path, file)?);
        log.segments.push(first);
        log.len = byte_count(&bytes);
        log.is_roll_due = false;
        Ok(())
    }
}

impl LogState {
    /// Where the log ends after these records, if they are in order. [INV-04]
    fn ends_after(&self, records: &[Record]) -> Result<(Option<Epoch>, Option<Epoch>), EpochError> {
        let (mut plan_last, mut commit_last) = (self.plan_last, self.commit_last);
        for record in records {
            let (what, last) = match record {
                Record::Plan(_) => ("plan", &mut plan_last),
                Record::Commit(_) => ("commit", &mut commit_last),
                // A running query never writes the user's word.
                Record::Dropped(_) | Record::Accepted(_) => {
                    return Err(EpochError::Contract {
                        what: "the user's word in a running query",
                        value: record.epoch().to_string(),
                    });
                }
            };
            let epoch = record.epoch();
            let want = last.map_or(Epoch::FIRST, Epoch::next);
            if epoch != want {
                return Err(EpochError::OutOfOrder { what, epoch, want });
            }
            *last = Some(epoch);
            if let Record::Plan(plan) = record
                && plan.sources.len() > SOURCES_MAX
            {
                return Err(EpochError::TooLong {
                    what: "the list of sources",
                    bytes: plan.sources.len(),
                    bytes_max: SOURCES_MAX,
                });
            }
        }
        // A plan must have been durable before its epoch ran: its own group does not count.
        if let Some(epoch) = commit_last.filter(|_| commit_last > self.plan_last) {
            let want = self.plan_last.unwrap_or_default();
            return Err(EpochError::OutOfOrder {
                what: "commit of an epoch without a plan",
                epoch,
                want,
            });
        }
        let count = |last: Option<Epoch>| last.map_or(0, |epoch| epoch.0.saturating_add(1));
        let open = count(plan_last).saturating_sub(count(commit_last));
        if open > OPEN_PLANS_MAX {
            return Err(EpochError::Contract {
                what: "too many open plans",
                value: open.to_string(),
            });
        }
        Ok((plan_last, commit_last))
    }
}
