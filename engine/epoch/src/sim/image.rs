//! What survives a power cut.

use std::collections::BTreeMap;

use super::{State, Survival};
use crate::RelPath;

/// What reaches the disk as a whole.
const SECTOR_BYTES: usize = 512;
/// Finer than a sector, so that small files are torn inside as well.
const SCATTER_BYTES: usize = 64;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(usize),
}

/// The bytes of a file: those that are safe, and what happened to them since.
#[derive(Clone, Debug, Default)]
pub(super) struct FileImage {
    synced: Vec<u8>,
    pending: Vec<Write>,
}

#[derive(Clone, Debug)]
enum Write {
    Append(Vec<u8>),
    Truncate(usize),
    /// A sync failed on it: seen by every reader, and never written.
    Lost(Vec<u8>),
}

impl FileImage {
    pub(super) fn synced(bytes: Vec<u8>) -> FileImage {
        FileImage {
            synced: bytes,
            pending: Vec::new(),
        }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.pending.push(Write::Append(bytes.to_vec()));
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.pending.push(Write::Truncate(len));
    }

    /// What a running process reads.
    pub(super) fn current(&self) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for write in &self.pending {
            match write {
                Write::Append(more) | Write::Lost(more) => bytes.extend_from_slice(more),
                Write::Truncate(len) => bytes.truncate(*len),
            }
        }
        bytes
    }

    /// What was lost stays lost: its place is there, its bytes are not.
    pub(super) fn sync(&mut self) {
        for write in std::mem::take(&mut self.pending) {
            match write {
                Write::Append(more) => self.synced.extend_from_slice(&more),
                Write::Lost(more) => self.synced.resize(self.synced.len() + more.len(), 0),
                Write::Truncate(len) => self.synced.truncate(len),
            }
        }
    }

    pub(super) fn fail_sync(&mut self) {
        for write in &mut self.pending {
            if let Write::Append(bytes) = write {
                *write = Write::Lost(std::mem::take(bytes));
            }
        }
    }

    /// The bytes after a power cut.
    fn survive(&self, survival: Survival, dice: &mut Dice) -> Vec<u8> {
        let mut after = self.clone();
        match survival {
            Survival::Synced => return self.synced.clone(),
            Survival::Everything => after.sync(),
            Survival::Prefix { .. } => {
                after.pending.truncate(dice.up_to(self.pending.len()));
                if let Some(Write::Append(last)) = after.pending.last_mut()
                    && dice.coin()
                {
                    let sectors = last.len().div_ceil(SECTOR_BYTES);
                    let cut = dice.up_to(sectors) * SECTOR_BYTES;
                    // Appends seldom begin at a sector: a cut lies anywhere in the new bytes.
                    last.truncate(cut.min(last.len()).saturating_sub(dice.up_to(SECTOR_BYTES)));
                }
                after.sync();
            }
            Survival::Scattered { .. } => {
                after.sync();
                // The length got through; some of the sectors did not.
                let start = self.synced.len().min(after.synced.len());
                for sector in after.synced[start..].chunks_mut(SCATTER_BYTES) {
                    if dice.coin() {
                        sector.fill(0);
                    }
                }
            }
        }
        after.synced
    }
}

/// Names and file contents after a power cut.
pub(super) fn survive(
    state: &State,
    survival: Survival,
) -> (BTreeMap<RelPath, Node>, Vec<Vec<u8>>) {
    let mut dice = Dice::new(match survival {
        Survival::Synced | Survival::Everything => 0,
        Survival::Prefix { seed } | Survival::Scattered { seed } => seed,
    });
    let mut names = state.synced_names.clone();
    let kept = match survival {
        Survival::Synced => 0,
        Survival::Everything | Survival::Scattered { .. } => state.changes.len(),
        Survival::Prefix { .. } => dice.up_to(state.changes.len()),
    };
    for change in state.changes.iter().take(kept) {
        if matches!(survival, Survival::Scattered { .. }) && dice.coin() {
            continue;
        }
        change.apply(&mut names);
    }
    // A name in a directory that did not survive is gone as well.
    let dirs: Vec<RelPath> = names
        .iter()
        .filter(|(_, node)| **node == Node::Dir)
        .map(|(path, _)| path.clone())
        .collect();
    names.retain(|path, _| {
        let mut at = path.parent();
        while !at.as_str().is_empty() {
            if !dirs.contains(&at) {
                return false;
            }
            at = at.parent();
        }
        true
    });
    let files = &state.files;
    let contents = files.iter().map(|f| f.survive(survival, &mut dice));
    (names, contents.collect())
}

/// A small generator of repeatable choices (xorshift).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn coin(&mut self) -> bool {
        self.next() & 0x100 == 0
    }

    /// From 0 to `most`, both included.
    fn up_to(&mut self, most: usize) -> usize {
        let choices = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        usize::try_from(self.next() % choices).unwrap_or(0)
    }
}
