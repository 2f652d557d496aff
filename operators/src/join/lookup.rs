//! The join of a stream with a table that stands still: the table is looked up, nothing is kept.

use std::{collections::VecDeque, sync::Arc};

use arrow::array::RecordBatch;
use millstream_types::Epoch;

use super::{
    JoinKind, JoinSpec,
    joining::{Arrived, pairs_at_once, taken},
    pairs::{Pairs, holds, without_nulls},
    side::Side,
};
use crate::{
    delta::{BATCH_ROWS_MAX, Delta},
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::Result,
    state::{BucketChange, Snapshots},
};

/// A table that a stream is joined with, by key. Never changes; shared by all workers.
#[derive(Debug)]
pub struct StaticTable {
    side: Side,
}

impl StaticTable {
    /// The rows of the right side of a join, for looking up.
    ///
    /// # Errors
    /// When the rows have other columns than the side, or its condition fails on one.
    pub fn new(spec: &JoinSpec, rows: &[RecordBatch]) -> Result<StaticTable> {
        let of = &spec.sides[1];
        let mut side = Side::new(of, 1, false, Snapshots::Never);
        for batch in rows {
            let mut mask = match spec.nulls_match {
                true => None,
                false => without_nulls(batch, &of.keys),
            };
            if let Some(alone) = &of.alone {
                let holds = holds(alone, batch)?;
                mask = Some(mask.map_or_else(|| holds.clone(), |mask| &mask & &holds));
            }
            let kept = match &mask {
                None => batch.clone(),
                Some(mask) => {
                    let rows: Vec<u32> = mask.set_indices_u32().collect();
                    taken(batch, &rows)?
                }
            };
            let hashes = side.hashes(&kept)?;
            side.insert(&kept, &hashes, None)?;
        }
        Ok(StaticTable { side })
    }
}

/// Gives the table as it is for an epoch.
pub trait StaticRows: Send + Sync {
    /// The table as every worker sees it in this epoch. May read and wait; called by workers at once, all
    /// of which get the same.
    ///
    /// # Errors
    /// When the table cannot be read; the query ends.
    fn table(&self, epoch: Epoch) -> Result<Arc<StaticTable>>;
}

/// Looks rows of a stream up in a table.
pub struct Lookup {
    spec: Arc<JoinSpec>,
    pairs: Pairs,
    rows: Arc<dyn StaticRows>,
    table: Option<(Epoch, Arc<StaticTable>)>,
    waiting: VecDeque<Arrived>,
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup")
            .field("kind", &self.spec.kind)
            .finish_non_exhaustive()
    }
}

impl Lookup {
    /// The operator for a spec of which the right side is the table.
    #[must_use]
    pub fn new(spec: JoinSpec, rows: Arc<dyn StaticRows>) -> Lookup {
        let spec = Arc::new(spec);
        Lookup {
            pairs: Pairs::new(spec.clone()),
            spec,
            rows,
            table: None,
            waiting: VecDeque::new(),
        }
    }

    fn table(&mut self, epoch: Epoch) -> Result<Arc<StaticTable>> {
        match &self.table {
            Some((of, table)) if *of == epoch => Ok(table.clone()),
            _ => {
                let table = self.rows.table(epoch)?;
                self.table = Some((epoch, table.clone()));
                Ok(table)
            }
        }
    }

    /// Works on waiting rows until the emitter is full; whether none are left.
    fn work(&mut self, epoch: Epoch, out: &mut Emitter) -> Result<bool> {
        while let Some(mut arrived) = self.waiting.pop_front() {
            let table = self.table(epoch)?;
            while !arrived.is_done() {
                if out.is_full() {
                    self.waiting.push_front(arrived);
                    return Ok(false);
                }
                self.probe(&mut arrived, &table.side, out)?;
            }
            self.finish(&arrived, out)?;
        }
        Ok(true)
    }

    fn probe(&self, arrived: &mut Arrived, table: &Side, out: &mut Emitter) -> Result<()> {
        let is_once = !self.spec.kind.gives_pairs();
        let limit = pairs_at_once(&arrived.rows, table);
        let (rows, slots) = arrived.candidates(table, limit, is_once, |_| true);
        if rows.is_empty() {
            return Ok(());
        }
        let matched = self
            .pairs
            .matched(0, (&arrived.rows, rows), (table, slots))?;
        for row in &matched.rows {
            arrived.matches[*row as usize] = 1;
        }
        if self.spec.kind.gives_pairs() {
            let pairs = self.pairs.output(0, &arrived.rows, table, &matched)?;
            out.give(Delta::insertions(pairs));
        }
        Ok(())
    }

    /// What leaves of rows that have met the whole table.
    fn finish(&self, arrived: &Arrived, out: &mut Emitter) -> Result<()> {
        let leaves = |matches: u32| match self.spec.kind {
            JoinKind::LeftSemi => matches > 0,
            JoinKind::Left | JoinKind::LeftAnti => matches == 0,
            JoinKind::Inner | JoinKind::Right | JoinKind::Full => false,
        };
        let rows = (0u32..).zip(&arrived.matches);
        let leaving: Vec<u32> = rows
            .filter_map(|(row, matches)| leaves(*matches).then_some(row))
            .collect();
        for some in leaving.chunks(BATCH_ROWS_MAX) {
            let rows = taken(&arrived.rows, some)?;
            out.give(Delta::insertions(self.pairs.alone(0, &rows)?));
        }
        Ok(())
    }
}

impl EpochOperator for Lookup {
    fn on_delta(
        &mut self,
        context: &EpochContext,
        _port: usize,
        delta: Delta,
        out: &mut Emitter,
    ) -> Result<()> {
        // The hash of an exchange below is of other keys.
        let delta = delta.without_hash();
        let keys = &self.spec.sides[0].keys;
        let arrived = Arrived::new(&self.spec, 0, &delta, |rows| {
            super::side::hashes(rows, keys)
        })?;
        self.waiting.push_back(arrived);
        self.work(context.epoch, out)?;
        Ok(())
    }

    fn on_close(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        if !self.work(context.epoch, out)? {
            return Ok(Progress::More);
        }
        Ok(Progress::Done)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        Ok(Vec::new())
    }

    fn report(&mut self) -> Option<OperatorReport> {
        None
    }
}
