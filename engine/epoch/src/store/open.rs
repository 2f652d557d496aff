//! Opening: whose is it, who holds it, what is whole, what was cut off.
//!
//! Needs no hand and no flag after a crash at any instant. [INV-04]

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use millstream_types::Epoch;

use super::{
    CheckpointStore, Guard, LogState, PackWriter, Poison, byte_count, layout,
    packs::verify_pieces,
    read_log::{LogImage, read_log},
    snapshot::{Snapshots, pack_names, read_manifest},
    write_whole,
};
use crate::{
    Accepted, Commit, Disk, DiskLock, EpochError, Facts, Manifest, Metadata, OPEN_PLANS_MAX, Plan,
    Planned, Refusal, RelPath, Replays, SinkPosition,
};

/// A file that was passed over at a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedFile {
    /// The file.
    pub file: RelPath,
    /// What is wrong with it.
    pub reason: String,
}

/// What a checkpoint held when it was opened.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The metadata in the checkpoint; its id and settings hold, not those that were offered.
    pub metadata: Metadata,
    /// Nothing was there.
    pub is_new: bool,
    /// The generation of this process.
    pub generation: u64,
    /// The newest snapshot all of whose files are whole.
    pub snapshot: Option<Manifest>,
    /// The plans after the snapshot, without a gap.
    pub plans: Vec<Plan>,
    /// The commits from the snapshot's epoch on, without a gap. What a replayed epoch gives must
    /// agree with its commit, or its input is no longer what it was.
    pub commits: Vec<Commit>,
    /// Plans that the user gave up and whose numbers were not planned anew. They count for nothing,
    /// unless the sink has them: see [`CheckpointStore::reinstate`].
    pub given_up: Vec<Plan>,
    /// Changed input of `plans` that the user accepted.
    pub accepted: Vec<Accepted>,
    /// The newest plan, also if the snapshot contains it.
    pub plan_last: Option<Epoch>,
    /// The newest commit, also if the snapshot contains it.
    pub commit_last: Option<Epoch>,
    /// Bytes of an unfinished append that were cut off.
    pub torn_bytes: u64,
    /// Snapshots that were passed over; worth a warning.
    pub damaged: Vec<DamagedFile>,
}

impl Recovered {
    /// The facts for [`resume`](crate::resume), once the sink has answered.
    #[must_use]
    pub fn facts(&self, sink: SinkPosition, replays: Replays) -> Facts {
        Facts {
            plan_last: self.plan_last,
            commit_last: self.commit_last,
            snapshot_last: self.snapshot.as_ref().map(|snapshot| snapshot.epoch),
            sink,
            replays,
            open_plans_max: OPEN_PLANS_MAX,
            generation: self.generation,
        }
    }

    /// The epochs to run again, in order.
    #[must_use]
    pub fn planned(&self) -> Vec<Planned> {
        self.plans.iter().cloned().map(Planned::durable).collect()
    }
}

impl CheckpointStore {
    /// Opens the checkpoint of a query, or begins one where nothing is.
    ///
    /// Reads the whole log and every byte of the newest snapshot, so that a damaged one is noticed
    /// while an older one can still be taken.
    ///
    /// # Errors
    /// One [`EpochError`] for each way in which a checkpoint cannot be used: of another query
    /// (CKP-002), in use (CKP-003), newer (CKP-004), unreadable (CKP-005), or damaged beyond what
    /// an older snapshot heals (CKP-001, CKP-007, CKP-008).
    pub fn open(
        disk: Arc<dyn Disk>,
        metadata: Metadata,
    ) -> Result<(CheckpointStore, Recovered), EpochError> {
        let root = RelPath::root();
        disk.create_dir_all(&root)
            .map_err(EpochError::disk("create", &root))?;
        let lock = take_lock(&*disk)?;
        let poison = Poison::default();
        let (metadata, is_new) = own_metadata(&*disk, &poison, metadata)?;
        let mut generation = newest_generation(&*disk)?.saturating_add(1);
        create_fence(&*disk, &poison, generation)?;
        let image = read_log(&*disk, &metadata.query_id)?;
        if image.generation >= generation {
            // Somebody emptied `generations`; the log remembers.
            generation = image.generation.saturating_add(1);
            create_fence(&*disk, &poison, generation)?;
        }
        let found = find_snapshots(&*disk, &metadata)?;
        let snapshot = found.whole.values().next_back().cloned();
        let newest = snapshot.as_ref().map(|manifest| manifest.epoch);
        check_reach(newest, found.damaged.first(), &image)?;
        clean_up(&*disk, &poison, &image, generation)?;
        let recovered = recovered(metadata, is_new, generation, snapshot, &found, &image);
        let log = open_log(&*disk, &image, &found, &recovered)?;
        let whole = found.whole.iter();
        let snapshots = whole.map(|(epoch, manifest)| (*epoch, pack_names(manifest)));
        let snapshots = Snapshots::new(snapshots.collect());
        let guard = Guard {
            disk,
            generation,
            poison,
        };
        let store = CheckpointStore {
            packs: PackWriter::of(guard.clone(), 0),
            guard,
            query_id: recovered.metadata.query_id.clone(),
            plan_fingerprint: recovered.metadata.plan_fingerprint,
            log: Mutex::new(log),
            snapshots: Mutex::new(snapshots),
            journals: Mutex::default(),
            lock,
        };
        Ok((store, recovered))
    }
}

pub(super) fn take_lock(disk: &dyn Disk) -> Result<Arc<dyn DiskLock>, EpochError> {
    let file = layout::lock();
    disk.try_lock(&file)
        .map_err(EpochError::disk("lock", &file))?
        .map(Arc::from)
        .ok_or(EpochError::Locked { file })
}

/// The metadata in the checkpoint if this query may use it; written if nothing is there.
fn own_metadata(
    disk: &dyn Disk,
    poison: &Poison,
    offered: Metadata,
) -> Result<(Metadata, bool), EpochError> {
    let file = layout::metadata();
    let stored = match disk.read(&file) {
        Ok(bytes) => Some(
            Metadata::decode(&bytes)
                .map_err(|error| EpochError::decode(&file, &error))?
                .1,
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(EpochError::disk("read", &file)(error)),
    };
    let root = RelPath::root();
    let dirs = [
        layout::generations_dir(),
        layout::log_dir(),
        layout::state_dir(),
    ];
    if stored.is_none() {
        refuse_orphans(disk, &layout::sources_dir())?;
    }
    for dir in &dirs {
        if stored.is_none() {
            refuse_orphans(disk, dir)?;
        }
        disk.create_dir_all(dir)
            .map_err(EpochError::disk("create", dir))?;
    }
    let Some(stored) = stored else {
        let bytes = offered
            .encode(env!("CARGO_PKG_VERSION"))
            .map_err(EpochError::too_long("the plan as text"))?;
        write_whole(disk, poison, &file, &bytes)?;
        return Ok((offered, true));
    };
    poison.watch("sync", &root, disk.sync_dir(&root))?;
    if stored.plan_fingerprint == offered.plan_fingerprint {
        return Ok((stored, false));
    }
    Err(EpochError::OtherQuery {
        theirs_fingerprint: stored.plan_fingerprint,
        ours_fingerprint: offered.plan_fingerprint,
        theirs: stored.plan_text,
        ours: offered.plan_text,
    })
}

/// The metadata is durable before anything else is written: what is there without it was orphaned.
fn refuse_orphans(disk: &dyn Disk, dir: &RelPath) -> Result<(), EpochError> {
    let entries = match disk.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(EpochError::disk("list", dir)(error)),
    };
    match entries.first().map(|entry| dir.join(&entry.name)) {
        Some(found) => Err(EpochError::NoMetadata {
            found: found.unwrap_or_else(|_| dir.clone()),
        }),
        None => Ok(()),
    }
}

/// The newest generation that left a trace; 0 if none did.
pub(super) fn newest_generation(disk: &dyn Disk) -> Result<u64, EpochError> {
    let mut newest = 0;
    for dir in [layout::generations_dir(), layout::state_dir()] {
        let entries = disk.list(&dir).map_err(EpochError::disk("list", &dir))?;
        let numbers = entries.iter().filter_map(|entry| {
            layout::parse_generation(&entry.name).or_else(|| layout::parse_pack(&entry.name))
        });
        newest = numbers.fold(newest, u64::max);
    }
    Ok(newest)
}

/// The fence: whoever creates the file owns the generation, and all older ones are fenced out.
pub(super) fn create_fence(
    disk: &dyn Disk,
    poison: &Poison,
    generation: u64,
) -> Result<(), EpochError> {
    let file = layout::generation(generation);
    disk.create_new(&file, &[]).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            let file = file.clone();
            return EpochError::Fenced { generation, file };
        }
        EpochError::disk("create", &file)(error)
    })?;
    let dir = layout::generations_dir();
    poison.watch("sync", &dir, disk.sync_dir(&dir))
}

#[derive(Debug, Default)]
struct Found {
    whole: BTreeMap<Epoch, Manifest>,
    damaged: Vec<DamagedFile>,
}

/// All manifests; of the newest one that is not damaged also the packs are read.
fn find_snapshots(disk: &dyn Disk, metadata: &Metadata) -> Result<Found, EpochError> {
    let dir = layout::state_dir();
    let mut epochs: Vec<Epoch> = disk
        .list(&dir)
        .map_err(EpochError::disk("list", &dir))?
        .iter()
        .filter_map(|entry| layout::parse_manifest(&entry.name))
        .collect();
    epochs.sort_unstable();
    let mut found = Found::default();
    for epoch in epochs.into_iter().rev() {
        let fingerprint = metadata.plan_fingerprint;
        let manifest = read_manifest(disk, epoch, &metadata.query_id, fingerprint);
        let manifest = manifest.and_then(|manifest| {
            if found.whole.is_empty() {
                verify_pieces(disk, &manifest)?;
            }
            Ok(manifest)
        });
        match manifest {
            Ok(manifest) => {
                found.whole.insert(epoch, manifest);
            }
            Err(EpochError::Damaged { file, reason }) => {
                found.damaged.push(DamagedFile { file, reason });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Whether the log allows to go on from the newest whole snapshot, or from nothing.
pub(super) fn check_reach(
    snapshot: Option<Epoch>,
    damaged: Option<&DamagedFile>,
    image: &LogImage,
) -> Result<(), EpochError> {
    let (plan_last, commit_last) = (image.plan_last(), image.commit_last());
    // A snapshot was named after its commit was durable: a log without it lost its tail.
    if let Some(epoch) = snapshot.filter(|_| snapshot > plan_last) {
        let what = "captured in a snapshot";
        return Err(EpochError::Refused(Refusal::PlanMissing {
            what,
            epoch,
            plan_last,
        }));
    }
    if let Some(snapshot) = snapshot.filter(|_| snapshot > commit_last) {
        return Err(EpochError::Refused(Refusal::CommitMissing {
            snapshot,
            commit_last,
        }));
    }
    let want = snapshot.map_or(Epoch::FIRST, Epoch::next);
    let oldest = image.segments.first().copied();
    let Some(got) = oldest.filter(|oldest| *oldest > want) else {
        return Ok(());
    };
    // The plans that an older snapshot needs are gone. If a newer one was damaged that is why.
    if let Some(DamagedFile { file, reason }) = damaged.cloned() {
        return Err(EpochError::Damaged { file, reason });
    }
    Err(EpochError::Hole {
        file: layout::segment(got),
        what: "plan",
        want: want.0,
        got: got.0,
    })
}

/// Removes what a crash left, and makes sure that what was read is on the disk.
fn clean_up(
    disk: &dyn Disk,
    poison: &Poison,
    image: &LogImage,
    generation: u64,
) -> Result<(), EpochError> {
    let mut dirs = vec![RelPath::root(), layout::log_dir(), layout::state_dir()];
    dirs.extend(source_dirs(disk)?);
    for dir in dirs {
        let entries = disk.list(&dir).map_err(EpochError::disk("list", &dir))?;
        for entry in entries {
            if layout::is_unfinished(&dir, &entry.name)
                && !entry.is_dir
                && let Ok(file) = dir.join(&entry.name)
            {
                disk.remove(&file)
                    .map_err(EpochError::disk("remove", &file))?;
            }
        }
    }
    if let Some(newest) = image.segments.last() {
        // Written anew instead of cut: if the last process stopped because a sync failed, the
        // bytes just read may be in memory only, marked clean, and no sync would write them.
        write_whole(disk, poison, &layout::segment(*newest), &image.newest)?;
    }
    let dir = layout::generations_dir();
    let entries = disk.list(&dir).map_err(EpochError::disk("list", &dir))?;
    for old in entries
        .iter()
        .filter_map(|entry| layout::parse_generation(&entry.name))
        .filter(|old| *old < generation)
    {
        let file = layout::generation(old);
        disk.remove(&file)
            .map_err(EpochError::disk("remove", &file))?;
    }
    Ok(())
}

/// The directories of the sources that have one.
pub(super) fn source_dirs(disk: &dyn Disk) -> Result<Vec<RelPath>, EpochError> {
    let dir = layout::sources_dir();
    let entries = match disk.list(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(EpochError::disk("list", &dir)(error)),
    };
    let dirs = entries.iter().filter(|entry| entry.is_dir);
    Ok(dirs
        .filter_map(|entry| dir.join(&entry.name).ok())
        .collect())
}

fn recovered(
    metadata: Metadata,
    is_new: bool,
    generation: u64,
    snapshot: Option<Manifest>,
    found: &Found,
    image: &LogImage,
) -> Recovered {
    let epoch = snapshot.as_ref().map(|manifest| manifest.epoch);
    let plans = image.plans.iter().filter(|plan| Some(plan.epoch) > epoch);
    let commits = image.commits.iter().filter(|c| Some(c.epoch) >= epoch);
    let accepted = image.accepted.iter().filter(|a| Some(a.epoch) > epoch);
    Recovered {
        metadata,
        is_new,
        generation,
        plans: plans.cloned().collect(),
        commits: commits.copied().collect(),
        snapshot,
        given_up: image.given_up.clone(),
        accepted: accepted.cloned().collect(),
        plan_last: image.plan_last(),
        commit_last: image.commit_last(),
        torn_bytes: image.torn_bytes,
        damaged: found.damaged.clone(),
    }
}

fn open_log(
    disk: &dyn Disk,
    image: &LogImage,
    found: &Found,
    recovered: &Recovered,
) -> Result<LogState, EpochError> {
    let file = match image.segments.last() {
        Some(newest) => {
            let path = layout::segment(*newest);
            let file = disk.open_append(&path);
            Some(file.map_err(EpochError::disk("open", &path))?)
        }
        None => None,
    };
    Ok(LogState {
        file,
        segments: image.segments.clone(),
        len: byte_count(&image.newest),
        link: image.next,
        plan_last: recovered.plan_last,
        commit_last: recovered.commit_last,
        is_roll_due: !found.whole.is_empty(),
    })
}
