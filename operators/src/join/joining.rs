//! The join of rows that only come: what leaves is final.

use std::{collections::VecDeque, sync::Arc};

use arrow::{
    array::{BooleanArray, PrimitiveArray, RecordBatch, UInt32Array},
    buffer::BooleanBuffer,
    compute,
    datatypes::TimestampMicrosecondType,
};
use millstream_types::{Epoch, Watermark};

use super::{
    JoinKind, JoinSpec,
    pairs::{Pairs, holds, without_nulls},
    side::Side,
    slots::NONE,
};
use crate::{
    delta::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Delta},
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    state::{BucketChange, Ownership, Seed, Snapshots},
};

/// Rows that have arrived, and how far they are.
pub(super) struct Arrived {
    pub(super) port: usize,
    pub(super) rows: RecordBatch,
    pub(super) hashes: Vec<u64>,
    /// Which may match something; all if there is none.
    can_match: Option<BooleanBuffer>,
    /// For which the condition on this side alone holds; all if there is none.
    holds: Option<BooleanBuffer>,
    /// How many rows of the other side match each.
    pub(super) matches: Vec<u32>,
    /// The row that is looked at, and the slot with which it goes on.
    row: usize,
    slot: Option<u32>,
}

impl Arrived {
    /// Rows of a delta as they arrive at a port, without the late ones.
    ///
    /// # Errors
    /// When a condition fails on a row.
    pub(super) fn new(
        spec: &JoinSpec,
        port: usize,
        delta: &Delta,
        hashes: impl FnOnce(&RecordBatch) -> Result<Vec<u64>>,
    ) -> Result<Arrived> {
        let side = &spec.sides[port];
        let rows = delta.batch().clone();
        let mut compared = Vec::new();
        if !spec.nulls_match {
            compared.extend(&side.keys);
        }
        compared.extend(
            side.expiry
                .filter(|expiry| expiry.is_compared)
                .map(|expiry| expiry.column),
        );
        let mut can_match = without_nulls(&rows, &compared);
        let holds = side
            .alone
            .as_ref()
            .map(|alone| holds(alone, &rows))
            .transpose()?;
        if let Some(holds) = &holds {
            can_match = Some(can_match.map_or_else(|| holds.clone(), |mask| &mask & holds));
        }
        let hashes = match delta.hash() {
            Some(hashes) => hashes.values().to_vec(),
            None => hashes(&rows)?,
        };
        Ok(Arrived {
            port,
            hashes,
            can_match,
            holds,
            matches: vec![0; rows.num_rows()],
            rows,
            row: 0,
            slot: None,
        })
    }

    pub(super) fn can_match(&self, row: usize) -> bool {
        self.can_match.as_ref().is_none_or(|mask| mask.value(row))
    }

    /// The next candidates, at most `limit`: rows of ours with slots of the other side. `skip` says
    /// whether a row is done, `wanted` whether a slot is of account. Empty when all were looked at.
    pub(super) fn candidates(
        &mut self,
        other: &Side,
        limit: usize,
        is_once: bool,
        wanted: impl Fn(u32) -> bool,
    ) -> (Vec<u32>, Vec<u32>) {
        let (mut rows, mut slots) = (Vec::new(), Vec::new());
        let index = other.slots();
        while self.row < self.hashes.len() {
            let is_done = is_once && self.matches[self.row] > 0;
            let mut slot = match self.slot.take() {
                _ if is_done || !self.can_match(self.row) => NONE,
                Some(slot) => slot,
                None => index.first(self.hashes[self.row]),
            };
            while slot != NONE {
                if rows.len() >= limit {
                    self.slot = Some(slot);
                    return (rows, slots);
                }
                if wanted(slot) {
                    rows.push(u32::try_from(self.row).unwrap_or(NONE));
                    slots.push(slot);
                }
                slot = index.next(slot);
            }
            self.row += 1;
        }
        (rows, slots)
    }

    pub(super) fn is_done(&self) -> bool {
        self.row >= self.hashes.len()
    }
}

/// The rows of a delta that are not late, and how many were.
pub(super) fn not_late(
    delta: Delta,
    column: Option<usize>,
    mark: Watermark,
) -> Result<(Delta, u64)> {
    let Some(column) = column else {
        return Ok((delta, 0));
    };
    let times: &PrimitiveArray<TimestampMicrosecondType> = {
        use arrow::array::AsArray;
        delta
            .batch()
            .column(column)
            .as_primitive_opt()
            .ok_or_else(|| OperatorError::contract("the time of a join is not a timestamp"))?
    };
    let bound = mark.micros();
    let stays: BooleanArray = times
        .iter()
        .map(|time| Some(time.is_none_or(|time| time > bound)))
        .collect();
    let late = stays.len() - stays.true_count();
    if late == 0 {
        return Ok((delta, 0));
    }
    Ok((delta.filter(&stays)?, late as u64))
}

/// Pairs that are made at once, so that their batch is bounded in bytes.
pub(super) fn pairs_at_once(rows: &RecordBatch, other: &Side) -> usize {
    let columns = rows.columns().iter();
    let ours: usize = columns
        .map(|column| crate::width::width(column, 0..rows.num_rows()))
        .sum();
    let each = ours / rows.num_rows().max(1) + other.bytes() / other.len().max(1);
    (BATCH_BYTES_MAX / each.max(1)).clamp(1, BATCH_ROWS_MAX)
}

/// Joins two streams of rows that only come.
pub struct Join {
    spec: Arc<JoinSpec>,
    pairs: Pairs,
    sides: [Side; 2],
    waiting: VecDeque<Arrived>,
    /// Rows of the left side that have matched and go when the rows that found them are done.
    going: Vec<u32>,
    /// Rows that are gone and are still to leave with nulls: side, slots, how many have left.
    owed: Option<(usize, Vec<u32>, usize)>,
    /// Of a batch, the sides whose rows without a partner are to leave when it ends.
    unended: Vec<usize>,
    /// Whether what the watermark had closed before the start is gone.
    is_settled: bool,
    report: OperatorReport,
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join")
            .field("kind", &self.spec.kind)
            .finish_non_exhaustive()
    }
}

/// Both sides of a join with what a snapshot holds of them.
pub(super) fn sides(
    spec: &JoinSpec,
    counts: [bool; 2],
    seed: Option<&Seed>,
    (ownership, snapshots): (Ownership, Snapshots),
) -> Result<[Side; 2]> {
    let side = |number: usize| {
        let table = u32::try_from(number).unwrap_or_default();
        Side::new(&spec.sides[number], table, counts[number], snapshots)
    };
    let mut sides = [side(0), side(1)];
    for ((table, _), pieces) in seed.iter().flat_map(|seed| &seed.pieces) {
        let side = sides
            .get_mut(*table as usize)
            .ok_or_else(|| OperatorError::contract("a snapshot of a join has a third side"))?;
        side.seed(pieces, ownership)?;
    }
    Ok(sides)
}

impl Join {
    /// The operator for a spec, with its rows from a snapshot.
    ///
    /// # Errors
    /// When a snapshot piece is of another query.
    pub fn new(
        spec: JoinSpec,
        seed: Option<&Seed>,
        ownership: Ownership,
        snapshots: Snapshots,
    ) -> Result<Join> {
        let counts = [0, 1].map(|side| spec.kind.counts_matches(side));
        let sides = sides(&spec, counts, seed, (ownership, snapshots))?;
        let unended = [1, 0]
            .into_iter()
            .filter(|side| spec.kind.keeps_unmatched(*side));
        let unended = unended.collect();
        let spec = Arc::new(spec);
        Ok(Join {
            unended,
            pairs: Pairs::new(spec.clone()),
            spec,
            sides,
            waiting: VecDeque::new(),
            going: Vec::new(),
            owed: None,
            is_settled: false,
            report: OperatorReport::default(),
        })
    }

    /// What was gone at the end of the last epoch is in the snapshot still, where only a part of its
    /// bucket was: it must not leave twice.
    fn settle(&mut self, context: &EpochContext) {
        if std::mem::replace(&mut self.is_settled, true) {
            return;
        }
        for side in &mut self.sides {
            let Some(expiry) = side.spec().expiry else {
                continue;
            };
            while let Some(gone) = side.expired(expiry.bound(context.marks.late)) {
                side.release(&gone);
            }
        }
    }

    /// Works on waiting rows until the emitter is full; whether none are left.
    fn work(&mut self, out: &mut Emitter) -> Result<bool> {
        while let Some(mut arrived) = self.waiting.pop_front() {
            while !arrived.is_done() {
                if out.is_full() {
                    self.waiting.push_front(arrived);
                    return Ok(false);
                }
                self.probe(&mut arrived, out)?;
            }
            self.keep(&arrived, out)?;
        }
        Ok(true)
    }

    /// Makes the next pairs of some rows.
    fn probe(&mut self, arrived: &mut Arrived, out: &mut Emitter) -> Result<()> {
        let (kind, port) = (self.spec.kind, arrived.port);
        let other = &mut self.sides[1 - port];
        let limit = pairs_at_once(&arrived.rows, other);
        // Where a row leaves once, it is enough that it matches.
        let is_once = !kind.gives_pairs() && port == 0;
        let only_new = !kind.gives_pairs() && port == 1;
        let (rows, slots) = {
            let other = &*other;
            arrived.candidates(other, limit, is_once, |slot| {
                !only_new || other.matches(slot) == 0
            })
        };
        if rows.is_empty() {
            return Ok(());
        }
        let matched = self
            .pairs
            .matched(port, (&arrived.rows, rows), (other, slots))?;
        if kind.counts_matches(port) {
            for row in &matched.rows {
                arrived.matches[*row as usize] = 1;
            }
        }
        let mut first = Vec::new();
        if kind.counts_matches(1 - port) {
            for slot in &matched.slots {
                if other.matches(*slot) == 0 {
                    other.set_matches(*slot, 1);
                    first.push(*slot);
                }
            }
        }
        if kind.gives_pairs() {
            let pairs = self.pairs.output(port, &arrived.rows, other, &matched)?;
            out.give(Delta::insertions(pairs));
        } else if port == 1 {
            if kind == JoinKind::LeftSemi && !first.is_empty() {
                let rows = other.rows(&first)?;
                out.give(Delta::insertions(self.pairs.alone(0, &rows)?));
            }
            self.going.append(&mut first);
        }
        Ok(())
    }

    /// After rows have met all of the other side: what is final of them leaves, what may match later is
    /// kept.
    fn keep(&mut self, arrived: &Arrived, out: &mut Emitter) -> Result<()> {
        let (kind, port) = (self.spec.kind, arrived.port);
        if !self.going.is_empty() {
            let going = std::mem::take(&mut self.going);
            self.report.rows_removed += going.len() as u64;
            self.sides[0].remove(&going)?;
        }
        let keeps_unmatched = kind.keeps_unmatched(port);
        let is_once = !kind.gives_pairs() && port == 0;
        let (mut kept, mut leaving) = (Vec::new(), Vec::new());
        for (row, matches) in (0u32..).zip(&arrived.matches) {
            let at = row as usize;
            if is_once && *matches > 0 {
                if kind == JoinKind::LeftSemi {
                    leaving.push(row);
                }
            } else if arrived.can_match(at) {
                kept.push(row);
            } else if keeps_unmatched {
                if self.stays_without_key(arrived, at) {
                    kept.push(row);
                } else {
                    leaving.push(row);
                }
            }
        }
        if !leaving.is_empty() {
            let rows = taken(&arrived.rows, &leaving)?;
            out.give(Delta::insertions(self.pairs.alone(port, &rows)?));
        }
        if kept.is_empty() {
            return Ok(());
        }
        self.report.rows_updated += kept.len() as u64;
        if kept.len() == arrived.rows.num_rows() {
            let matches = Some(arrived.matches.as_slice());
            self.sides[port].insert(&arrived.rows, &arrived.hashes, matches)?;
            return Ok(());
        }
        let rows = taken(&arrived.rows, &kept)?;
        let hashes: Vec<u64> = kept
            .iter()
            .map(|row| arrived.hashes[*row as usize])
            .collect();
        let matches: Vec<u32> = kept
            .iter()
            .map(|row| arrived.matches[*row as usize])
            .collect();
        self.sides[port].insert(&rows, &hashes, Some(&matches))?;
        Ok(())
    }

    /// A row with a null key waits for its end as others do, as in Spark; one that fails a condition of
    /// its own does not.
    fn stays_without_key(&self, arrived: &Arrived, row: usize) -> bool {
        let side = &self.spec.sides[arrived.port];
        let is_null = |column: usize| arrived.rows.column(column).is_null(row);
        let has_time = side.expiry.is_none_or(|expiry| !is_null(expiry.column));
        let holds = arrived.holds.as_ref().is_none_or(|holds| holds.value(row));
        has_time && holds && side.keys.iter().any(|key| is_null(*key))
    }

    /// Lets rows go that the watermark has closed, with nulls where they are owed; whether all are gone.
    fn expire(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<bool> {
        loop {
            if let Some((number, slots, given)) = self.owed.take() {
                if out.is_full() {
                    self.owed = Some((number, slots, given));
                    return Ok(false);
                }
                let side = &mut self.sides[number];
                let some = pairs_at_once(&RecordBatch::new_empty(self.spec.output.clone()), side);
                let end = (given + some).min(slots.len());
                if given < end {
                    let rows = side.rows(&slots[given..end])?;
                    out.give(Delta::insertions(self.pairs.alone(number, &rows)?));
                }
                if end < slots.len() {
                    self.owed = Some((number, slots, end));
                    continue;
                }
                side.release(&slots);
            }
            if self.spec.is_once {
                let Some(number) = self.unended.pop() else {
                    return Ok(true);
                };
                let side = &mut self.sides[number];
                let mut owed = side.all_slots();
                owed.retain(|slot| side.matches(*slot) == 0);
                side.unlink(&owed)?;
                self.owed = Some((number, owed, 0));
                continue;
            }
            let mut is_done = true;
            for (number, side) in self.sides.iter_mut().enumerate() {
                let Some(expiry) = side.spec().expiry else {
                    continue;
                };
                let Some(gone) = side.expired(expiry.bound(context.marks.evict)) else {
                    continue;
                };
                self.report.rows_removed += gone.len() as u64;
                is_done = false;
                if self.spec.kind.keeps_unmatched(number) {
                    let (owed, others): (Vec<u32>, Vec<u32>) =
                        gone.into_iter().partition(|slot| side.matches(*slot) == 0);
                    side.release(&others);
                    self.owed = Some((number, owed, 0));
                    break;
                }
                side.release(&gone);
            }
            if is_done {
                return Ok(true);
            }
        }
    }
}

/// Some rows of a batch.
pub(super) fn taken(batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch> {
    compute::take_record_batch(batch, &UInt32Array::from(rows.to_vec()))
        .map_err(OperatorError::arrow("taking rows of a join"))
}

/// The state of both sides.
pub(super) fn tapped([left, right]: &mut [Side; 2]) -> Result<Vec<BucketChange>> {
    let mut changes = left.tap()?;
    changes.extend(right.tap()?);
    Ok(changes)
}

/// Both sides after an epoch.
pub(super) fn tidied(sides: &mut [Side; 2], context: &EpochContext) -> Result<()> {
    for side in sides {
        let expiry = side.spec().expiry;
        side.tidy(expiry.map(|expiry| expiry.bound(context.marks.evict)))?;
    }
    Ok(())
}

impl EpochOperator for Join {
    fn on_delta(
        &mut self,
        context: &EpochContext,
        port: usize,
        delta: Delta,
        out: &mut Emitter,
    ) -> Result<()> {
        if delta.diff().is_some() {
            return Err(OperatorError::contract(
                "a join of rows that only come was given rows that are taken back",
            ));
        }
        self.settle(context);
        let late = self.spec.sides[port].late;
        let (delta, rows_late) = not_late(delta, late, context.marks.late)?;
        self.report.rows_late += rows_late;
        if delta.rows() > 0 {
            let side = &self.sides[port];
            let arrived = Arrived::new(&self.spec, port, &delta, |rows| side.hashes(rows))?;
            self.waiting.push_back(arrived);
        }
        self.work(out)?;
        Ok(())
    }

    fn on_close(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        self.settle(context);
        if !self.work(out)? || !self.expire(context, out)? {
            return Ok(Progress::More);
        }
        tidied(&mut self.sides, context)?;
        Ok(Progress::Done)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        tapped(&mut self.sides)
    }

    fn report(&mut self) -> Option<OperatorReport> {
        let [left, right] = &self.sides;
        Some(OperatorReport {
            rows_total: (left.len() + right.len()) as u64,
            bytes: (left.bytes() + right.bytes()) as u64,
            ..std::mem::take(&mut self.report)
        })
    }
}
