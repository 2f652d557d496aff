//! The rows that an aggregation drops as late, for whoever wants to keep them.
//!
//! The aggregation counts what it drops, but it has only groups by then. This operator looks at the
//! same rows with the same marks and lets those through from which something was dropped: a row of
//! a sliding window leaves here as soon as its oldest window is closed, though younger ones take it.

use arrow::array::{BooleanArray, Int64Array};
use millstream_types::Epoch;

use crate::{
    aggregate::{Edges, TimeKey},
    delta::Delta,
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::Result,
    state::BucketChange,
};

/// Lets late rows through. Keeps nothing.
#[derive(Debug)]
pub struct LateRows {
    time: TimeKey,
}

impl LateRows {
    /// The operator beside an aggregation with this time key over columns of the same input.
    #[must_use]
    pub fn new(time: TimeKey) -> LateRows {
        LateRows { time }
    }
}

impl EpochOperator for LateRows {
    fn on_delta(
        &mut self,
        context: &EpochContext,
        _port: usize,
        delta: Delta,
        out: &mut Emitter,
    ) -> Result<()> {
        let edges = Edges::new(self.time, delta.batch())?;
        let late = context.marks.late;
        // A row that is taken back was no late row before.
        let sign = |row: usize| delta.diff().map_or(1, |diff: &Int64Array| diff.value(row));
        let mask: BooleanArray = (0..delta.rows())
            .map(|row| Some(sign(row) > 0 && edges.is_late(row, late)))
            .collect();
        if mask.true_count() > 0 {
            let rows = delta.filter(&mask)?;
            let origin = rows.origin().cloned();
            out.give(Delta::insertions(rows.batch().clone()).with_origin(origin));
        }
        Ok(())
    }

    fn on_close(&mut self, _context: &EpochContext, _out: &mut Emitter) -> Result<Progress> {
        Ok(Progress::Done)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        Ok(Vec::new())
    }

    fn report(&mut self) -> Option<OperatorReport> {
        None
    }
}
