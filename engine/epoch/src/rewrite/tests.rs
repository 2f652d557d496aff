//! Random lives of a query's packs, and the bounds that they must keep.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{RewriteRule, pieces_to_copy};
use crate::Piece;

/// The defaults, a ten thousandth of them.
const RULE: RewriteRule = RewriteRule {
    budget_bytes: 6400,
    small_bytes: 100,
    large_bytes: 3200,
    packs_per_tier: 8,
};
/// Small, four times, sixteen times, up to large.
const TIERS: u64 = 4;

fn piece(pack: &str, offset: u64, len: u64) -> Piece {
    Piece {
        operator: 0,
        table: 0,
        bucket: 0,
        pack: pack.to_owned(),
        offset,
        len,
        rows: 1,
        run: 1,
        schema_fingerprint: 0,
        crc: 0,
    }
}

/// The packs of a query, with the snapshot after which each piece dies.
#[derive(Default)]
struct Life {
    alive: Vec<(Piece, u64)>,
    packs: BTreeMap<String, u64>,
    snapshots: u64,
    new_bytes: u64,
    copied_bytes: u64,
}

fn sum<'a>(pieces: impl Iterator<Item = &'a Piece>) -> u64 {
    pieces.map(|piece| piece.len).sum()
}

impl Life {
    fn alive_bytes(&self) -> u64 {
        sum(self.alive.iter().map(|(piece, _)| piece))
    }

    /// One snapshot with new pieces, each with its length and the number of snapshots it lives.
    fn snapshot(&mut self, new: &[(u64, u64)]) {
        self.snapshots += 1;
        let now = self.snapshots;
        self.alive.retain(|(_, until)| *until > now);
        let pieces: Vec<Piece> = self.alive.iter().map(|(piece, _)| piece.clone()).collect();
        let new_bytes: u64 = new.iter().map(|(len, _)| *len).sum();
        let copies = pieces_to_copy(&pieces, &self.packs, new_bytes, &RULE);
        let name = format!("state/pack-1-0-{now}");
        let (mut offset, mut copied) = (0, 0);
        for place in &copies {
            let (piece, _) = &mut self.alive[*place];
            assert_ne!(piece.pack, name, "no piece twice");
            (piece.pack, piece.offset) = (name.clone(), offset);
            offset += piece.len;
            copied += piece.len;
        }
        let budget = RULE.budget_bytes.max(2 * new_bytes);
        assert!(
            copied <= budget || copies.len() == 1,
            "{copied} of {budget}"
        );
        for (len, lives) in new {
            let piece = piece(&name, offset, *len);
            self.alive.push((piece, now.saturating_add(*lives)));
            offset += len;
        }
        self.packs.insert(name, offset);
        let alive = &self.alive;
        self.packs
            .retain(|name, _| alive.iter().any(|(piece, _)| piece.pack == *name));
        self.new_bytes += new_bytes;
        self.copied_bytes += copied;
    }

    fn pack_bytes(&self) -> u64 {
        self.packs.values().sum()
    }

    fn check_count(&self) {
        let many = u64::try_from(RULE.packs_per_tier).expect("small") * TIERS;
        let most = many + 2 * self.alive_bytes() / RULE.large_bytes + 2;
        let count = u64::try_from(self.packs.len()).expect("small");
        assert!(count <= most, "{count} packs, {most} at most");
    }

    fn check_bytes(&self) {
        let most = 2 * self.alive_bytes() + RULE.budget_bytes;
        let bytes = self.pack_bytes();
        assert!(bytes <= most, "{bytes} bytes, {most} at most");
    }

    /// Each byte is copied once for its neighbours that died, and once a tier on its way up.
    fn check_work(&self) {
        let most = (2 + TIERS) * self.new_bytes + self.snapshots * RULE.small_bytes;
        assert!(self.copied_bytes <= most, "{} {most}", self.copied_bytes);
    }
}

/// One window lives for ever and gets a few bytes at each snapshot, the others die at once.
#[test]
fn a_window_that_lives_long_pins_few_packs() {
    let mut life = Life::default();
    for _ in 0..1_500 {
        life.snapshot(&[(900, 2), (7, u64::MAX)]);
        life.check_count();
        life.check_bytes();
        life.check_work();
    }
    assert_eq!(life.alive_bytes(), 1_500 * 7 + 1_800);
    assert!(life.packs.len() < 40, "{}", life.packs.len());
}

/// State that only grows: its packs are merged, each byte a few times.
#[test]
fn state_that_only_grows_has_few_packs() {
    let mut life = Life::default();
    for _ in 0..1_500 {
        life.snapshot(&[(40, u64::MAX)]);
        life.check_count();
        life.check_work();
    }
    assert_eq!(life.pack_bytes(), life.alive_bytes());
}

/// Nine tenths of a large state die at once: a few quiet snapshots later their bytes are gone.
#[test]
fn after_a_great_dying_the_packs_shrink() {
    let mut life = Life::default();
    for number in 0..200 {
        let dies = 200 - number;
        life.snapshot(&[(900, dies), (100, u64::MAX)]);
    }
    for _ in 0..8 {
        life.snapshot(&[]);
    }
    assert_eq!(life.alive_bytes(), 20_000);
    life.check_bytes();
    life.check_count();
}

#[test]
fn one_piece_that_is_larger_than_the_budget_is_copied_all_the_same() {
    let pieces = [
        piece("a", 0, 10_000),
        piece("a", 10_000, 9_000),
        piece("b", 0, 10),
    ];
    let packs = BTreeMap::from([("a".to_owned(), 50_000), ("b".to_owned(), 1_000)]);
    assert_eq!(
        pieces_to_copy(&pieces, &packs, 0, &RULE),
        [2],
        "the sparsest"
    );
    let left = pieces_to_copy(&pieces[..2], &packs, 0, &RULE);
    assert_eq!(left, [0]);
    let larger = pieces_to_copy(&pieces[..2], &packs, 9_600, &RULE);
    assert_eq!(larger, [0, 1], "twice what is new may be copied");
}

#[test]
fn what_is_half_alive_stays() {
    let packs = BTreeMap::from([("a".to_owned(), 100)]);
    assert_eq!(
        pieces_to_copy(&[piece("a", 0, 50)], &packs, 0, &RULE),
        [0; 0]
    );
    assert_eq!(pieces_to_copy(&[piece("a", 0, 49)], &packs, 0, &RULE), [0]);
    let unknown = BTreeMap::new();
    assert_eq!(
        pieces_to_copy(&[piece("a", 0, 1)], &unknown, 0, &RULE),
        [0; 0]
    );
}

/// Pieces are copied in the order in which they stand in their pack.
#[test]
fn a_pack_is_read_from_front_to_back() {
    let pieces = [piece("a", 60, 5), piece("a", 10, 5), piece("a", 30, 5)];
    let packs = BTreeMap::from([("a".to_owned(), 100)]);
    assert_eq!(pieces_to_copy(&pieces, &packs, 0, &RULE), [1, 2, 0]);
}

/// More packs of a size than a tier takes are merged, and no larger ones.
#[test]
fn a_tier_that_is_full_is_merged() {
    let packs = |sizes: &[u64]| {
        let pieces: Vec<Piece> = (0..)
            .zip(sizes)
            .map(|(number, size)| piece(&format!("pack {number:02}"), 0, *size))
            .collect();
        let bytes = pieces.iter().map(|p| (p.pack.clone(), p.len)).collect();
        let copies = pieces_to_copy(&pieces, &bytes, 0, &RULE);
        copies
            .into_iter()
            .map(|place| sizes[place])
            .collect::<Vec<_>>()
    };
    assert_eq!(packs(&[99; 8]), [0; 0]);
    assert_eq!(packs(&[99; 9]), [99; 9]);
    let mut mixed = vec![99; 8];
    mixed.extend([100, 399]);
    assert_eq!(packs(&mixed), [0; 0], "two tiers");
    mixed.push(5);
    assert_eq!(packs(&mixed), [5, 99, 99, 99, 99, 99, 99, 99, 99]);
    assert_eq!(packs(&[3200; 20]), [0; 0], "large enough");
    assert_eq!(packs(&[3199; 20]), [3199; 2], "as many as the budget takes");
}

/// How one snapshot after another goes.
fn any_snapshots() -> impl Strategy<Value = Vec<Vec<(u64, u64)>>> {
    let lives = prop_oneof![Just(1), Just(2), 1..30_u64, 100..1000_u64, Just(u64::MAX)];
    let new = proptest::collection::vec((1..400_u64, lives), 0..8);
    proptest::collection::vec(new, 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// At most 3 200 bytes are new, so no more than half of the budget dies on average.
    #[test]
    fn bytes_packs_and_work_are_bounded(snapshots in any_snapshots()) {
        let mut life = Life::default();
        for new in snapshots {
            life.snapshot(&new);
            life.check_bytes();
            life.check_count();
            life.check_work();
        }
    }
}
