//! The join of rows that may be taken back, or whose answers may: every change leaves.
//!
//! All of an epoch is worked on when it closes, rows of the left side first, those that come before those
//! that are taken back: so what leaves depends on the rows and not on their order. A pair that comes and
//! goes within an epoch does not leave at all.
//!
//! A row that leaves because it matches nothing, or because it matches something, is *shown*. Whether it
//! is follows from the number of its matches, so an epoch only remembers what was shown before it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use millstream_types::Epoch;

use super::{
    JoinKind, JoinSpec,
    changes::{Changes, Identity, Leaving, of_sign, types_of},
    joining::{Arrived, not_late, pairs_at_once, sides, taken, tapped, tidied},
    pairs::Pairs,
    side::Side,
    slots::NONE,
};
use crate::{
    delta::{BATCH_ROWS_MAX, Delta},
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    state::{BucketChange, Ownership, Seed, Snapshots},
};

/// Pairs that are made in one turn, about.
const PAIRS_A_TURN: usize = 256 * 1024;

/// Rows that came or were taken back, on their way through the join.
struct Work {
    arrived: Arrived,
    sign: i64,
}

/// Joins two streams and emits every change.
pub struct ChangingJoin {
    spec: Arc<JoinSpec>,
    pairs: Pairs,
    sides: [Side; 2],
    /// Finds rows that are taken back, where there are any.
    identities: [Option<Identity>; 2],
    /// Rows of the open epoch, by port.
    arriving: [Vec<Delta>; 2],
    waiting: Option<VecDeque<Work>>,
    /// Whether a slot was shown before the epoch, for those that may have changed.
    shown: [BTreeMap<u32, bool>; 2],
    /// Slots that are unlinked and wait for the end of the epoch.
    removed: [Vec<u32>; 2],
    changes: Changes,
    /// What is still to leave in the epoch that closes.
    leaving: Option<Leaving>,
    is_settled: bool,
    report: OperatorReport,
}

impl std::fmt::Debug for ChangingJoin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangingJoin")
            .field("kind", &self.spec.kind)
            .finish_non_exhaustive()
    }
}

impl ChangingJoin {
    /// The operator for a spec, with its rows from a snapshot.
    ///
    /// # Errors
    /// When a snapshot piece is of another query, or a column has no row form.
    pub fn new(
        spec: JoinSpec,
        seed: Option<&Seed>,
        ownership: Ownership,
        snapshots: Snapshots,
    ) -> Result<ChangingJoin> {
        let counts = [0, 1].map(|side| spec.kind.counts_matches(side));
        let mut sides = sides(&spec, counts, seed, (ownership, snapshots))?;
        let mut identities = [None, None];
        for (number, side) in sides.iter_mut().enumerate() {
            if !spec.sides[number].retracting {
                continue;
            }
            identities[number] = Some(Identity::of(side)?);
        }
        let spec = Arc::new(spec);
        Ok(ChangingJoin {
            pairs: Pairs::new(spec.clone()),
            sides,
            identities,
            arriving: [Vec::new(), Vec::new()],
            waiting: None,
            shown: [BTreeMap::new(), BTreeMap::new()],
            removed: [Vec::new(), Vec::new()],
            changes: Changes::new(&types_of(&spec.output))?,
            leaving: None,
            is_settled: false,
            report: OperatorReport::default(),
            spec,
        })
    }

    /// Whether a row with so many matches is shown.
    fn is_shown(&self, side: usize, matches: u32) -> bool {
        match self.spec.kind {
            JoinKind::LeftSemi => side == 0 && matches > 0,
            kind @ (JoinKind::Inner
            | JoinKind::Left
            | JoinKind::Right
            | JoinKind::Full
            | JoinKind::LeftAnti) => kind.keeps_unmatched(side) && matches == 0,
        }
    }

    /// Rows go that the watermark has closed: what they gave stays as it is.
    fn expire(&mut self, mark: millstream_types::Watermark) {
        for (side, identity) in self.sides.iter_mut().zip(&mut self.identities) {
            let Some(expiry) = side.spec().expiry else {
                continue;
            };
            while let Some(gone) = side.expired(expiry.bound(mark)) {
                if let Some(identity) = identity {
                    gone.iter().for_each(|slot| identity.remove(*slot));
                }
                self.report.rows_removed += gone.len() as u64;
                side.release(&gone);
            }
        }
    }

    /// The rows of the epoch in the order in which they are worked on.
    fn gathered(&mut self) -> Result<VecDeque<Work>> {
        let mut waiting = VecDeque::new();
        for port in [0, 1] {
            let deltas = std::mem::take(&mut self.arriving[port]);
            for sign in [1, -1] {
                for delta in &deltas {
                    let Some(rows) = of_sign(delta, sign)? else {
                        continue;
                    };
                    let side = &self.sides[port];
                    let arrived = Arrived::new(&self.spec, port, &rows, |rows| side.hashes(rows))?;
                    waiting.push_back(Work { arrived, sign });
                }
            }
        }
        Ok(waiting)
    }

    /// Makes the next pairs of some rows; how many there were.
    fn probe(&mut self, work: &mut Work) -> Result<usize> {
        let port = work.arrived.port;
        let other = &mut self.sides[1 - port];
        let limit = pairs_at_once(&work.arrived.rows, other);
        let (rows, slots) = work.arrived.candidates(other, limit, false, |_| true);
        if rows.is_empty() {
            return Ok(0);
        }
        let candidates = rows.len();
        let matched = self
            .pairs
            .matched(port, (&work.arrived.rows, rows), (other, slots))?;
        for row in &matched.rows {
            work.arrived.matches[*row as usize] += 1;
        }
        if self.spec.kind.gives_pairs() && !matched.rows.is_empty() {
            let pairs = self
                .pairs
                .output(port, &work.arrived.rows, other, &matched)?;
            self.changes.add(&pairs, work.sign)?;
        }
        if self.spec.kind.counts_matches(1 - port) {
            for slot in &matched.slots {
                let matches = self.sides[1 - port].matches(*slot);
                let was = self.is_shown(1 - port, matches);
                self.shown[1 - port].entry(*slot).or_insert(was);
                let now = if work.sign > 0 {
                    matches.saturating_add(1)
                } else {
                    matches.checked_sub(1).ok_or_else(|| {
                        OperatorError::contract("a row of a join lost a match that it had not")
                    })?
                };
                self.sides[1 - port].set_matches(*slot, now);
            }
        }
        Ok(candidates)
    }

    /// After rows have met the other side: they are kept, or go.
    fn settle_rows(&mut self, work: Work) -> Result<()> {
        let Work { arrived, sign } = work;
        let port = arrived.port;
        let all = 0..u32::try_from(arrived.rows.num_rows()).unwrap_or(NONE);
        let (kept, alone): (Vec<u32>, Vec<u32>) =
            all.partition(|row| arrived.can_match(*row as usize));
        if !alone.is_empty() && self.spec.kind.keeps_unmatched(port) {
            let rows = taken(&arrived.rows, &alone)?;
            self.changes.add(&self.pairs.alone(port, &rows)?, sign)?;
        }
        if kept.is_empty() {
            return Ok(());
        }
        let rows = taken(&arrived.rows, &kept)?;
        if sign > 0 {
            let of = |row: &u32| {
                (
                    arrived.hashes[*row as usize],
                    arrived.matches[*row as usize],
                )
            };
            let (hashes, matches): (Vec<u64>, Vec<u32>) = kept.iter().map(of).unzip();
            let slots = self.sides[port].insert(&rows, &hashes, Some(&matches))?;
            self.report.rows_updated += slots.len() as u64;
            if let Some(identity) = &mut self.identities[port] {
                identity.add(&rows, &slots)?;
            }
            if self.spec.kind.counts_matches(port) {
                self.shown[port].extend(slots.into_iter().map(|slot| (slot, false)));
            }
            return Ok(());
        }
        let identity = self.identities[port].as_mut().ok_or_else(|| {
            OperatorError::contract("a row is taken back of a side where rows only come")
        })?;
        let mut gone = identity.take(&rows, &self.sides[port])?;
        if gone.contains(&NONE) {
            // One that the watermark has closed before is no longer there to go.
            if self.spec.sides[port].expiry.is_none() {
                return Err(OperatorError::contract(
                    "a row of a join is taken back that was not given",
                ));
            }
            gone.retain(|slot| *slot != NONE);
        }
        if self.spec.kind.counts_matches(port) {
            for slot in &gone {
                let was = self.is_shown(port, self.sides[port].matches(*slot));
                self.shown[port].entry(*slot).or_insert(was);
            }
        }
        self.report.rows_removed += gone.len() as u64;
        self.sides[port].unlink(&gone)?;
        self.removed[port].append(&mut gone);
        Ok(())
    }

    /// What is shown now and was not, and the other way round.
    fn compare_shown(&mut self) -> Result<()> {
        for number in [0, 1] {
            let mut removed = std::mem::take(&mut self.removed[number]);
            removed.sort_unstable();
            let (mut appear, mut vanish) = (Vec::new(), Vec::new());
            for (slot, was) in std::mem::take(&mut self.shown[number]) {
                let is_gone = removed.binary_search(&slot).is_ok();
                let now = !is_gone && self.is_shown(number, self.sides[number].matches(slot));
                match (was, now) {
                    (false, true) => appear.push(slot),
                    (true, false) => vanish.push(slot),
                    (false, false) | (true, true) => {}
                }
            }
            for (slots, sign) in [(vanish, -1), (appear, 1)] {
                for some in slots.chunks(BATCH_ROWS_MAX) {
                    let rows = self.sides[number].rows(some)?;
                    self.changes.add(&self.pairs.alone(number, &rows)?, sign)?;
                }
            }
            self.sides[number].release(&removed);
        }
        Ok(())
    }
}

impl EpochOperator for ChangingJoin {
    fn on_delta(
        &mut self,
        context: &EpochContext,
        port: usize,
        delta: Delta,
        _out: &mut Emitter,
    ) -> Result<()> {
        let late = self.spec.sides[port].late;
        let (delta, rows_late) = not_late(delta, late, context.marks.late)?;
        self.report.rows_late += rows_late;
        if delta.rows() > 0 {
            self.arriving[port].push(delta);
        }
        Ok(())
    }

    fn on_close(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        if !std::mem::replace(&mut self.is_settled, true) {
            self.expire(context.marks.late);
            self.report.rows_removed = 0;
        }
        if self.leaving.is_none() {
            let mut waiting = match self.waiting.take() {
                Some(waiting) => waiting,
                None => self.gathered()?,
            };
            let mut made = 0;
            while let Some(mut work) = waiting.pop_front() {
                while !work.arrived.is_done() {
                    if made > PAIRS_A_TURN {
                        waiting.push_front(work);
                        self.waiting = Some(waiting);
                        return Ok(Progress::More);
                    }
                    made += self.probe(&mut work)?;
                }
                self.settle_rows(work)?;
            }
            self.compare_shown()?;
            self.expire(context.marks.evict);
            tidied(&mut self.sides, context)?;
        }
        let mut leaving = match self.leaving.take() {
            Some(leaving) => leaving,
            None => self.changes.take(),
        };
        if self.changes.give(&mut leaving, &self.spec.output, out)? {
            return Ok(Progress::Done);
        }
        self.leaving = Some(leaving);
        Ok(Progress::More)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        tapped(&mut self.sides)
    }

    fn report(&mut self) -> Option<OperatorReport> {
        let [left, right] = &self.sides;
        let identities = self.identities.iter().flatten().map(Identity::bytes);
        let bytes = left.bytes() + right.bytes() + identities.sum::<usize>() + self.changes.bytes();
        Some(OperatorReport {
            rows_total: (left.len() + right.len()) as u64,
            bytes: bytes as u64,
            ..std::mem::take(&mut self.report)
        })
    }
}
