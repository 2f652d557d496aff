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
mod layout;
mod open;
mod read_log;
mod snapshot;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use millstream_types::Epoch;

pub use inspect::{CheckpointReport, FileReport, FileState, inspect, verify};
pub use open::{DamagedFile, Recovered};
pub use snapshot::{Collected, PackWriter, checksum, read_piece};

use crate::{
    AppendFile, Chosen, Committed, Disk, DiskLock, EpochError, Link, OPEN_PLANS_MAX, Planned,
    Record, RelPath, SegmentHeader, Sunk,
    log::{frame_bytes, header_bytes},
    record::SOURCES_MAX,
};

/// The checkpoint of a running query. May be shared between threads.
#[derive(Debug)]
pub struct CheckpointStore {
    disk: Arc<dyn Disk>,
    query_id: String,
    plan_fingerprint: u64,
    generation: u64,
    poison: Poison,
    log: Mutex<LogState>,
    snapshots: Mutex<snapshot::Snapshots>,
    _lock: Box<dyn DiskLock>,
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

/// The first file whose sync failed; shared by everything that writes for one process.
#[derive(Clone, Debug, Default)]
struct Poison(Arc<Mutex<Option<RelPath>>>);

impl Poison {
    fn check(&self) -> Result<(), EpochError> {
        match &*locked(&self.0) {
            Some(file) => Err(EpochError::Poisoned { file: file.clone() }),
            None => Ok(()),
        }
    }

    fn set(&self, file: &RelPath) {
        locked(&self.0).get_or_insert_with(|| file.clone());
    }

    /// Hands on the result of a sync, or of anything else that leaves the disk unknown if it fails.
    fn watch<T>(
        &self,
        action: &'static str,
        file: &RelPath,
        result: io::Result<T>,
    ) -> Result<T, EpochError> {
        result.map_err(|error| {
            self.set(file);
            EpochError::disk(action, file)(error)
        })
    }
}

/// A thread that panicked while it held the lock changed nothing halfway: fields are set last.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CheckpointStore {
    /// The generation of this process.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The id of the query.
    #[must_use]
    pub fn query_id(&self) -> &str {
        &self.query_id
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

    fn append(&self, records: &[Record]) -> Result<(), EpochError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut log = locked(&self.log);
        self.poison.check()?;
        let (plan_last, commit_last) = log.ends_after(records)?;
        let (frame, link) = frame_bytes(self.generation, log.link, records)
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
        self.check_fence()?;
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
            if self.disk.truncate(&path, good).is_err() {
                self.poison.set(&path);
            }
            return Err(EpochError::disk("append to", &path)(error));
        }
        self.poison.watch("sync", &path, file.sync())?;
        log.len = good.saturating_add(byte_count(frame));
        Ok(())
    }

    fn begin_segment(
        &self,
        log: &mut LogState,
        first: Epoch,
        frame: &[u8],
    ) -> Result<(), EpochError> {
        self.check_fence()?;
        let path = layout::segment(first);
        let header = SegmentHeader {
            query_id: self.query_id.clone(),
            first,
        };
        let mut bytes = header_bytes(&header).map_err(EpochError::too_long("a query id"))?;
        bytes.extend_from_slice(frame);
        // Under its name a segment has a whole header and a whole first frame: only what is
        // appended later can be torn.
        write_whole(&*self.disk, &self.poison, &path, &bytes)?;
        let file = self.disk.open_append(&path);
        log.file = Some(self.poison.watch("open", &path, file)?);
        log.segments.push(first);
        log.len = byte_count(&bytes);
        log.is_roll_due = false;
        Ok(())
    }

    /// Whether this process still owns the checkpoint. A newer generation makes itself known by a
    /// file; ours goes when it cleans up.
    ///
    /// # Errors
    /// [`EpochError::Fenced`] if another process took over; [`EpochError::Disk`].
    pub fn check_fence(&self) -> Result<(), EpochError> {
        let newer = layout::generation(self.generation.saturating_add(1));
        let own = layout::generation(self.generation);
        let fenced = |file: RelPath| EpochError::Fenced {
            generation: self.generation,
            file,
        };
        match self.disk.size(&newer) {
            Ok(_) => return Err(fenced(newer)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return self.poison.watch("look at", &newer, Err(error)),
        }
        match self.disk.size(&own) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(fenced(own)),
            Err(error) => self.poison.watch("look at", &own, Err(error)),
        }
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

fn byte_count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Writes a file under another name, makes it durable, and only then gives it its name.
fn write_whole(
    disk: &dyn Disk,
    poison: &Poison,
    path: &RelPath,
    bytes: &[u8],
) -> Result<(), EpochError> {
    let tmp = layout::unfinished(path);
    let mut created = disk.create_new(&tmp, bytes);
    if let Err(error) = &created
        && error.kind() == io::ErrorKind::AlreadyExists
    {
        created = disk
            .remove(&tmp)
            .and_then(|()| disk.create_new(&tmp, bytes));
    }
    created.map_err(EpochError::disk("create", &tmp))?;
    poison.watch("sync", &tmp, disk.sync(&tmp))?;
    poison.watch("rename", path, disk.rename(&tmp, path))?;
    let dir = path.parent();
    poison.watch("sync", &dir, disk.sync_dir(&dir))
}
