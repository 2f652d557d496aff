//! Which pieces of old packs a snapshot copies into its own, so that old packs can go.
//!
//! A pack is removed when no piece of it is alive, so one window that lives long keeps every pack
//! that holds a part of it. Two rules bound that. A pack with less than half of its bytes alive is
//! copied: then all packs together have at most twice the bytes that are alive, and what was copied
//! was paid for by bytes that died. And when there are many packs of about one size they are merged
//! into one of the next size, as often as a byte can grow: then there are few packs. A snapshot
//! copies so much and no more; what is left is for the next one.
//!
//! Pure: says which, copies nothing. Tests: thousands of random snapshots below.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::{cmp::Ordering, collections::BTreeMap};

use crate::Piece;

/// How sizes of packs differ from one tier to the next.
const TIER_FACTOR: u64 = 4;

/// The limits of rewriting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewriteRule {
    /// So much may be copied in any case; twice what is new may be copied if that is more. At
    /// least two large packs.
    pub budget_bytes: u64,
    /// Packs with fewer bytes alive are all alike.
    pub small_bytes: u64,
    /// Packs with as many bytes alive are never merged.
    pub large_bytes: u64,
    /// More packs of a tier are merged.
    pub packs_per_tier: usize,
}

impl Default for RewriteRule {
    fn default() -> RewriteRule {
        RewriteRule {
            budget_bytes: 64 << 20,
            small_bytes: 1 << 20,
            large_bytes: 32 << 20,
            packs_per_tier: 8,
        }
    }
}

/// What is alive of one pack.
#[derive(Debug)]
struct Pack {
    bytes: u64,
    alive: u64,
    /// Places of its pieces in the list of all pieces, by offset.
    pieces: Vec<usize>,
}

impl Pack {
    fn is_sparse(&self) -> bool {
        self.alive.saturating_mul(2) < self.bytes
    }

    /// The pack with the smaller part alive first: it gives back most for each byte copied.
    fn by_density(&self, other: &Pack) -> Ordering {
        let (left, right) = (u128::from(self.alive), u128::from(other.alive));
        let left = left.saturating_mul(u128::from(other.bytes));
        left.cmp(&right.saturating_mul(u128::from(self.bytes)))
    }
}

/// The places in `pieces` of those that the next snapshot should copy into its own pack, pack by
/// pack and by offset. `pieces` are those that stay alive, without the new ones, `pack_bytes` the
/// lengths of their files, `new_bytes` what the snapshot writes anyway.
///
/// When no more than half of the budget dies between two snapshots, all packs of a manifest
/// together have at most twice the bytes that are alive, and one budget more. Their number is at
/// most `packs_per_tier` for each tier of sizes, one for each `large_bytes` alive, and a few.
#[must_use]
pub fn pieces_to_copy(
    pieces: &[Piece],
    pack_bytes: &BTreeMap<String, u64>,
    new_bytes: u64,
    rule: &RewriteRule,
) -> Vec<usize> {
    let mut copies = Copies {
        pieces,
        left: rule.budget_bytes.max(new_bytes.saturating_mul(2)),
        taken: Vec::new(),
    };
    let mut packs = packs_of(pieces, pack_bytes);
    packs.sort_by(Pack::by_density);
    let (sparse, dense): (Vec<Pack>, Vec<Pack>) = packs.into_iter().partition(Pack::is_sparse);
    for pack in &sparse {
        copies.take_pieces(pack);
    }
    let mut tiers: BTreeMap<u32, Vec<Pack>> = BTreeMap::new();
    for pack in dense {
        if pack.alive < rule.large_bytes {
            tiers.entry(tier(pack.alive, rule)).or_default().push(pack);
        }
    }
    // The smallest first: they cost least, and what they grow to is merged with its like later.
    for tier in tiers.values_mut() {
        if tier.len() > rule.packs_per_tier {
            tier.sort_by_key(|pack| pack.alive);
            for pack in tier {
                copies.take_whole(pack);
            }
        }
    }
    copies.taken
}

/// The packs that are named, in the order of their names.
fn packs_of(pieces: &[Piece], pack_bytes: &BTreeMap<String, u64>) -> Vec<Pack> {
    let mut packs: BTreeMap<&str, Pack> = BTreeMap::new();
    for (place, piece) in pieces.iter().enumerate() {
        let pack = packs.entry(&piece.pack).or_insert_with(|| Pack {
            // Of a pack whose length is not known nothing is known to be dead.
            bytes: pack_bytes.get(&piece.pack).copied().unwrap_or(0),
            alive: 0,
            pieces: Vec::new(),
        });
        pack.alive = pack.alive.saturating_add(piece.len);
        pack.pieces.push(place);
    }
    let mut packs: Vec<Pack> = packs.into_values().collect();
    for pack in &mut packs {
        pack.pieces
            .sort_by_key(|place| pieces.get(*place).map(|piece| piece.offset));
    }
    packs
}

/// 0 for small packs, then one more each time that the size is four times as large.
fn tier(alive: u64, rule: &RewriteRule) -> u32 {
    let times = alive.checked_div(rule.small_bytes.max(1)).unwrap_or(0);
    match times.checked_ilog(TIER_FACTOR) {
        Some(tier) => tier.saturating_add(1),
        None => 0,
    }
}

/// What was chosen so far.
struct Copies<'a> {
    pieces: &'a [Piece],
    left: u64,
    taken: Vec<usize>,
}

impl Copies<'_> {
    fn len_of(&self, place: usize) -> u64 {
        self.pieces.get(place).map_or(0, |piece| piece.len)
    }

    /// As many pieces of a pack as there is room for: a pack of which a part was copied is the
    /// sparsest the next time. The very first piece is taken whatever its size, else one piece that
    /// is larger than the budget would stop everything for ever.
    fn take_pieces(&mut self, pack: &Pack) {
        for place in &pack.pieces {
            let len = self.len_of(*place);
            if len <= self.left || self.taken.is_empty() {
                self.left = self.left.saturating_sub(len);
                self.taken.push(*place);
            }
        }
    }

    /// All of a pack, or nothing: merging is of use only if the old pack goes.
    fn take_whole(&mut self, pack: &Pack) {
        if pack.alive <= self.left {
            self.left = self.left.saturating_sub(pack.alive);
            self.taken.extend(&pack.pieces);
        }
    }
}

#[cfg(test)]
mod tests;
