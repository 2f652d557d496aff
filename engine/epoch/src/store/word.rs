//! The user's word about a checkpoint whose query does not run: planned epochs that are given up,
//! changed input that is accepted.
//!
//! Both are records in the log, so that whoever looks later sees what was decided, and why. The
//! query's lock is held and a new generation is begun, as by a start: nobody else writes.

use std::{io, sync::Arc};

use millstream_types::Epoch;

use super::{
    Poison, layout,
    open::{create_fence, newest_generation, take_lock},
    read_log::{LogImage, read_log},
    write_whole,
};
use crate::{
    Accepted, Disk, DiskLock, Dropped, EpochError, Metadata, Plan, Record, RelPath,
    log::frame_bytes,
};

/// Longest text that is kept with a word.
const TEXT_BYTES_MAX: usize = 4096;

/// Gives up the plans from `from` on, and returns them. The next start plans these numbers anew; a
/// source cuts what it knew of them by itself. A sink that has one of them keeps it:
/// [`CheckpointStore::reinstate`](crate::CheckpointStore::reinstate).
///
/// # Errors
/// [`EpochError::NotOpen`] if `from` is committed or was never planned; [`EpochError::Locked`] if
/// the query runs; what [`CheckpointStore::open`](crate::CheckpointStore::open) refuses.
pub fn drop_plans(disk: Arc<dyn Disk>, from: Epoch, reason: &str) -> Result<Vec<Plan>, EpochError> {
    let word = Word::open(disk)?;
    word.check_not_committed(from)?;
    let plans = word.image.plans.iter();
    let gone: Vec<Plan> = plans.filter(|plan| plan.epoch >= from).cloned().collect();
    if gone.first().is_none_or(|plan| plan.epoch != from) {
        return Err(word.not_open(from, "it was never planned"));
    }
    let reason = checked(reason)?;
    word.append(&[Record::Dropped(Dropped { from, reason })])?;
    Ok(gone)
}

/// Accepts changed input of epochs that a restart will run again. All of it is recorded, or none.
///
/// # Errors
/// [`EpochError::NotOpen`] if nothing will read that input again, or the source had none;
/// otherwise as [`drop_plans`].
pub fn accept_input(disk: Arc<dyn Disk>, accepted: &[Accepted]) -> Result<(), EpochError> {
    let word = Word::open(disk)?;
    let snapshot = word.newest_manifest()?;
    let mut records = Vec::new();
    for Accepted {
        epoch,
        source,
        what,
    } in accepted
    {
        let plan = word.image.plans.iter().find(|plan| plan.epoch == *epoch);
        let Some(plan) = plan else {
            return Err(word.not_open(*epoch, "it is not planned"));
        };
        if Some(*epoch) <= snapshot {
            return Err(word.not_open(*epoch, "a snapshot contains it"));
        }
        let range = usize::try_from(*source)
            .ok()
            .and_then(|source| plan.sources.get(source));
        if range.is_none_or(Option::is_none) {
            return Err(word.not_open(*epoch, "the source has no input in it"));
        }
        records.push(Record::Accepted(Accepted {
            epoch: *epoch,
            source: *source,
            what: checked(what)?,
        }));
    }
    if records.is_empty() {
        return Ok(());
    }
    word.append(&records)
}

fn checked(text: &str) -> Result<String, EpochError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(EpochError::TooLong {
            what: "the reason",
            bytes: text.len(),
            bytes_max: TEXT_BYTES_MAX,
        });
    }
    Ok(text.to_owned())
}

/// A checkpoint that is held for one word.
struct Word {
    disk: Arc<dyn Disk>,
    poison: Poison,
    generation: u64,
    image: LogImage,
    _lock: Arc<dyn DiskLock>,
}

impl Word {
    fn open(disk: Arc<dyn Disk>) -> Result<Word, EpochError> {
        let file = layout::metadata();
        // Before the lock makes a file in a directory that is no checkpoint.
        let bytes = disk.read(&file).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                let found = RelPath::root();
                return EpochError::NoMetadata { found };
            }
            EpochError::disk("read", &file)(error)
        })?;
        let (_, metadata) =
            Metadata::decode(&bytes).map_err(|error| EpochError::decode(&file, &error))?;
        let lock = take_lock(&*disk)?;
        let poison = Poison::default();
        let mut generation = newest_generation(&*disk)?.saturating_add(1);
        create_fence(&*disk, &poison, generation)?;
        let image = read_log(&*disk, &metadata.query_id)?;
        if image.generation >= generation {
            generation = image.generation.saturating_add(1);
            create_fence(&*disk, &poison, generation)?;
        }
        Ok(Word {
            disk,
            poison,
            generation,
            image,
            _lock: lock,
        })
    }

    /// Writes the newest segment anew with one more frame, as a start does: what was read may be
    /// in memory only.
    fn append(self, records: &[Record]) -> Result<(), EpochError> {
        let Some(newest) = self.image.segments.last() else {
            return Err(self.not_open(Epoch::FIRST, "nothing was ever planned"));
        };
        let (frame, _) = frame_bytes(self.generation, self.image.next, records)
            .map_err(EpochError::too_long("a group of records"))?;
        let bytes = [self.image.newest.as_slice(), &frame].concat();
        write_whole(&*self.disk, &self.poison, &layout::segment(*newest), &bytes)
    }

    /// The newest snapshot, whole or not.
    fn newest_manifest(&self) -> Result<Option<Epoch>, EpochError> {
        let dir = layout::state_dir();
        let entries = self.disk.list(&dir);
        let entries = entries.map_err(EpochError::disk("list", &dir))?;
        let epochs = entries
            .iter()
            .filter_map(|e| layout::parse_manifest(&e.name));
        Ok(epochs.max())
    }

    fn check_not_committed(&self, epoch: Epoch) -> Result<(), EpochError> {
        if Some(epoch) <= self.image.commit_last() {
            return Err(self.not_open(epoch, "it is committed"));
        }
        // A log that lost its end: nothing is known about what was committed.
        if Some(epoch) <= self.newest_manifest()? {
            return Err(self.not_open(epoch, "a snapshot contains it"));
        }
        Ok(())
    }

    fn not_open(&self, epoch: Epoch, why: &'static str) -> EpochError {
        EpochError::NotOpen {
            epoch,
            why,
            plan_last: self.image.plan_last(),
            commit_last: self.image.commit_last(),
        }
    }
}
