//! Manifests, and what may be removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use millstream_types::Epoch;

use super::{CheckpointStore, PackWriter, file_bytes, layout, locked};
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
    /// The writer of packs of this process; clones of one writer.
    #[must_use]
    pub fn pack_writer(&self) -> PackWriter {
        self.packs.clone()
    }

    /// The lengths of the packs that these pieces lie in, for
    /// [`pieces_to_copy`](crate::pieces_to_copy).
    ///
    /// # Errors
    /// [`EpochError::Damaged`] if one is missing; [`EpochError::Disk`].
    pub fn pack_bytes(&self, pieces: &[Piece]) -> Result<BTreeMap<String, u64>, EpochError> {
        let names: BTreeSet<&String> = pieces.iter().map(|piece| &piece.pack).collect();
        let mut bytes = BTreeMap::new();
        for name in names {
            let len = file_bytes(&*self.guard.disk, &RelPath::own(name.clone()))?;
            bytes.insert(name.clone(), len);
        }
        Ok(bytes)
    }

    /// Writes a manifest: from here on the snapshot exists. Its packs must be durable, in whatever
    /// process they were written, and its epoch must be recorded as committed. [INV-05]
    ///
    /// # Errors
    /// [`EpochError::OutOfOrder`] and [`EpochError::Contract`] for a manifest that must not be;
    /// [`EpochError::Fenced`], [`EpochError::Disk`], [`EpochError::Poisoned`].
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), EpochError> {
        let mut snapshots = locked(&self.snapshots);
        self.guard.check()?;
        self.guard.check_fence()?;
        self.check_manifest(manifest, snapshots.whole.keys().next_back().copied())?;
        let bytes = manifest
            .encode(&self.query_id)
            .map_err(EpochError::too_long("a manifest"))?;
        let path = layout::manifest(manifest.epoch);
        self.guard.write_whole(&path, &bytes)?;
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
        if manifest.generation != self.guard.generation {
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
            let size = match self.guard.disk.size(&path) {
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
        self.guard.check()?;
        self.guard.check_fence()?;
        let mut collected = Collected::default();
        let Some((&floor, _)) = snapshots.whole.iter().rev().nth(KEPT_SNAPSHOTS - 1) else {
            return Ok(collected);
        };
        let dir = layout::state_dir();
        let names: Vec<String> = self
            .guard
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
            self.guard.remove(&layout::manifest(epoch))?;
            count += 1;
        }
        if count > 0 {
            // Else a crash could bring back a manifest whose packs are gone.
            let dir = layout::state_dir();
            self.guard.sync_dir(&dir)?;
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
            let is_pending = generation >= self.guard.generation && !kept.named.contains(&path);
            if is_pending || live.contains(&path) {
                continue;
            }
            self.guard.remove(&RelPath::own(path))?;
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
            self.guard.remove(&layout::segment(oldest))?;
            // One at a time: removals that reach the disk out of order would leave a hole.
            let dir = layout::log_dir();
            self.guard.sync_dir(&dir)?;
            log.segments.remove(0);
            count += 1;
        }
        Ok(count)
    }
}
