//! Packs, manifests, and what may be removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use millstream_types::Epoch;

use super::{CheckpointStore, Poison, layout, locked, write_whole};
use crate::{Disk, EpochError, Manifest, Piece, RelPath};

/// How many snapshots are kept: the newest, and one to fall back to.
const KEPT_SNAPSHOTS: usize = 2;

/// What the store knows of the snapshots on the disk.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Epoch → names of its packs, of manifests that were whole when last seen.
    whole: BTreeMap<Epoch, BTreeSet<String>>,
    /// Packs of this generation that some manifest named. Others may belong to a snapshot that is
    /// being written right now.
    named: BTreeSet<String>,
}

impl Snapshots {
    pub(super) fn new(whole: BTreeMap<Epoch, BTreeSet<String>>) -> Snapshots {
        Snapshots {
            whole,
            named: BTreeSet::new(),
        }
    }
}

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Manifests.
    pub manifests: u64,
    /// Packs.
    pub packs: u64,
    /// Log segments.
    pub segments: u64,
}

/// Writes packs; each process of a query has one. May be cloned and shared.
#[derive(Clone, Debug)]
pub struct PackWriter {
    disk: Arc<dyn Disk>,
    generation: u64,
    poison: Poison,
}

impl PackWriter {
    /// The writer of a process that does not hold the store itself.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, generation: u64) -> PackWriter {
        PackWriter {
            disk,
            generation,
            poison: Poison::default(),
        }
    }

    /// Writes a pack and makes it durable. `index` is never used twice by a process, not even
    /// after an error. Nothing refers to the pack before a manifest does.
    ///
    /// # Errors
    /// [`EpochError::Disk`], [`EpochError::Poisoned`].
    pub fn write(&self, process: u32, index: u64, bytes: &[u8]) -> Result<RelPath, EpochError> {
        self.poison.check()?;
        let path = layout::pack(self.generation, process, index);
        if let Err(error) = self.disk.create_new(&path, bytes) {
            // Best effort: an unnamed pack is collected by the next generation at the latest.
            if error.kind() != io::ErrorKind::AlreadyExists {
                drop(self.disk.remove(&path));
            }
            return Err(EpochError::disk("create", &path)(error));
        }
        self.poison.watch("sync", &path, self.disk.sync(&path))?;
        let dir = layout::state_dir();
        self.poison.watch("sync", &dir, self.disk.sync_dir(&dir))?;
        Ok(path)
    }
}

/// The checksum that a [`Piece`] carries.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The bytes of a piece, if they are what the manifest says.
///
/// # Errors
/// [`EpochError::Damaged`] if the pack is missing, too short or changed; [`EpochError::Disk`].
pub fn read_piece(disk: &dyn Disk, piece: &Piece) -> Result<Vec<u8>, EpochError> {
    let file = RelPath::new(&piece.pack).map_err(|error| EpochError::Contract {
        what: "path of a pack",
        value: error.to_string(),
    })?;
    let damaged = |reason: String| EpochError::Damaged {
        file: file.clone(),
        reason,
    };
    let bytes = disk
        .read_range(&file, piece.offset, piece.len)
        .map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                damaged("it is missing".to_owned())
            } else if error.kind() == io::ErrorKind::UnexpectedEof {
                damaged("it is too short".to_owned())
            } else {
                EpochError::disk("read", &file)(error)
            }
        })?;
    let got = checksum(&bytes);
    if got == piece.crc {
        Ok(bytes)
    } else {
        Err(damaged(format!(
            "checksum differs want={:08x} got={got:08x} offset={}",
            piece.crc, piece.offset
        )))
    }
}

/// A manifest whose own bytes are whole and belong here. Its packs are not looked at.
pub(super) fn read_manifest(
    disk: &dyn Disk,
    epoch: Epoch,
    query_id: &str,
    plan_fingerprint: u64,
) -> Result<Manifest, EpochError> {
    let file = layout::manifest(epoch);
    let bytes = disk.read(&file).map_err(EpochError::disk("read", &file))?;
    let (id, manifest) =
        Manifest::decode(&bytes).map_err(|error| EpochError::decode(&file, &error))?;
    let reason = if id != query_id || manifest.plan_fingerprint != plan_fingerprint {
        "it belongs to another query"
    } else if manifest.epoch != epoch {
        "it belongs to another epoch"
    } else if manifest.pieces.iter().any(|p| !names_a_pack(&p.pack)) {
        "it names a file that is no pack"
    } else {
        return Ok(manifest);
    };
    Err(EpochError::Damaged {
        file,
        reason: reason.to_owned(),
    })
}

fn names_a_pack(path: &str) -> bool {
    path.strip_prefix("state/")
        .is_some_and(|name| layout::parse_pack(name).is_some())
}

pub(super) fn pack_names(manifest: &Manifest) -> BTreeSet<String> {
    let names = manifest.pieces.iter().map(|piece| piece.pack.clone());
    names.collect()
}

impl CheckpointStore {
    /// The writer of packs of this process.
    #[must_use]
    pub fn pack_writer(&self) -> PackWriter {
        PackWriter {
            disk: Arc::clone(&self.disk),
            generation: self.generation,
            poison: self.poison.clone(),
        }
    }

    /// Writes a manifest: from here on the snapshot exists. Its packs must be durable, in whatever
    /// process they were written, and its epoch must be recorded as committed. [INV-05]
    ///
    /// # Errors
    /// [`EpochError::OutOfOrder`] and [`EpochError::Contract`] for a manifest that must not be;
    /// [`EpochError::Fenced`], [`EpochError::Disk`], [`EpochError::Poisoned`].
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), EpochError> {
        let mut snapshots = locked(&self.snapshots);
        self.poison.check()?;
        self.check_fence()?;
        self.check_manifest(manifest, snapshots.whole.keys().next_back().copied())?;
        let bytes = manifest
            .encode(&self.query_id)
            .map_err(EpochError::too_long("a manifest"))?;
        let path = layout::manifest(manifest.epoch);
        write_whole(&*self.disk, &self.poison, &path, &bytes)?;
        let packs = pack_names(manifest);
        snapshots.named.extend(packs.iter().cloned());
        snapshots.whole.insert(manifest.epoch, packs);
        drop(snapshots);
        locked(&self.log).is_roll_due = true;
        Ok(())
    }

    fn check_manifest(&self, manifest: &Manifest, newest: Option<Epoch>) -> Result<(), EpochError> {
        let commit_last = locked(&self.log).commit_last;
        let what = "manifest";
        let epoch = manifest.epoch;
        if Some(epoch) > commit_last {
            let want = commit_last.unwrap_or_default();
            return Err(EpochError::OutOfOrder { what, epoch, want });
        }
        if let Some(newest) = newest.filter(|newest| epoch <= *newest) {
            let want = newest.next();
            return Err(EpochError::OutOfOrder { what, epoch, want });
        }
        let contract = |what, value: String| Err(EpochError::Contract { what, value });
        if manifest.generation != self.generation {
            return contract("generation of a manifest", manifest.generation.to_string());
        }
        if manifest.plan_fingerprint != self.plan_fingerprint {
            let value = format!("{:016x}", manifest.plan_fingerprint);
            return contract("plan of a manifest", value);
        }
        for piece in &manifest.pieces {
            if !names_a_pack(&piece.pack) {
                return contract("path of a pack", piece.pack.clone());
            }
            let path = RelPath::own(piece.pack.clone());
            let size = match self.disk.size(&path) {
                Ok(size) => size,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return contract("manifest names a missing pack", piece.pack.clone());
                }
                Err(error) => return Err(EpochError::disk("look at", &path)(error)),
            };
            if piece
                .offset
                .checked_add(piece.len)
                .is_none_or(|end| end > size)
            {
                return contract("manifest names bytes beyond a pack", piece.pack.clone());
            }
        }
        Ok(())
    }

    /// Removes what no restart can need: manifests but the last two, packs that neither of them
    /// names, segments whose plans all lie before the older of them. May be called at any time;
    /// what a crash leaves is removed by the next call. [INV-05]
    ///
    /// # Errors
    /// [`EpochError::Fenced`], [`EpochError::Disk`], [`EpochError::Poisoned`].
    pub fn collect_garbage(&self) -> Result<Collected, EpochError> {
        let mut snapshots = locked(&self.snapshots);
        self.poison.check()?;
        self.check_fence()?;
        let mut collected = Collected::default();
        let Some((&floor, _)) = snapshots.whole.iter().rev().nth(KEPT_SNAPSHOTS - 1) else {
            return Ok(collected);
        };
        let dir = layout::state_dir();
        let names: Vec<String> = self
            .disk
            .list(&dir)
            .map_err(EpochError::disk("list", &dir))?
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        snapshots.whole = snapshots.whole.split_off(&floor);
        collected.manifests = self.collect_manifests(&snapshots, &names)?;
        collected.packs = self.collect_packs(&snapshots, &names)?;
        drop(snapshots);
        collected.segments = self.collect_segments(floor)?;
        Ok(collected)
    }

    /// The epoch of the oldest snapshot that is kept to fall back to; none before there are as many
    /// as are kept. No plan up to it will be replayed again.
    #[must_use]
    pub fn oldest_kept(&self) -> Option<Epoch> {
        let snapshots = locked(&self.snapshots);
        let kept = snapshots.whole.keys().rev();
        kept.copied().nth(KEPT_SNAPSHOTS - 1)
    }

    fn collect_manifests(&self, kept: &Snapshots, names: &[String]) -> Result<u64, EpochError> {
        let newest = kept.whole.keys().next_back().copied();
        let mut count = 0;
        for epoch in names.iter().filter_map(|name| layout::parse_manifest(name)) {
            // One that was damaged at the start stays until a newer whole one is there.
            if kept.whole.contains_key(&epoch) || Some(epoch) > newest {
                continue;
            }
            self.remove(&layout::manifest(epoch))?;
            count += 1;
        }
        if count > 0 {
            // Else a crash could bring back a manifest whose packs are gone.
            let dir = layout::state_dir();
            self.poison.watch("sync", &dir, self.disk.sync_dir(&dir))?;
        }
        Ok(count)
    }

    fn collect_packs(&self, kept: &Snapshots, names: &[String]) -> Result<u64, EpochError> {
        let live: BTreeSet<&String> = kept.whole.values().flatten().collect();
        let mut count = 0;
        for name in names {
            let Some(generation) = layout::parse_pack(name) else {
                continue;
            };
            let path = format!("state/{name}");
            let is_pending = generation >= self.generation && !kept.named.contains(&path);
            if is_pending || live.contains(&path) {
                continue;
            }
            self.remove(&RelPath::own(path))?;
            count += 1;
        }
        Ok(count)
    }

    fn collect_segments(&self, floor: Epoch) -> Result<u64, EpochError> {
        let mut log = locked(&self.log);
        let mut count = 0;
        while let [oldest, next, ..] = log.segments[..] {
            if next > floor {
                break;
            }
            self.remove(&layout::segment(oldest))?;
            // One at a time: removals that reach the disk out of order would leave a hole.
            let dir = layout::log_dir();
            self.poison.watch("sync", &dir, self.disk.sync_dir(&dir))?;
            log.segments.remove(0);
            count += 1;
        }
        Ok(count)
    }

    fn remove(&self, path: &RelPath) -> Result<(), EpochError> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(EpochError::disk("remove", path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The bytes of all pieces of a manifest are whole.
pub(super) fn verify_pieces(disk: &dyn Disk, manifest: &Manifest) -> Result<(), EpochError> {
    let mut pieces = manifest.pieces.iter();
    pieces.try_for_each(|piece| read_piece(disk, piece).map(drop))
}
