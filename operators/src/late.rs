//! The rows that an aggregation drops as late, for whoever wants to keep them.
//!
//! The aggregation counts what it drops, but it has only groups by then. This operator looks at the
//! same rows with the same marks and lets those through from which something was dropped: a row of
//! a sliding window leaves here as soon as its oldest window is closed, though younger ones take it.

use arrow::array::{Array, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use millstream_types::{Epoch, EventTime, Watermark};

use crate::{
    aggregate::{TimeKey, WindowSpec},
    delta::Delta,
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
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

    /// For each row the instant that decides, and whether it is an end rather than an instant.
    fn deciding(&self, delta: &Delta) -> Result<(Vec<Option<i64>>, bool)> {
        let contract = || OperatorError::contract("an event time is not a timestamp");
        let times = |column: &dyn Array| -> Result<Vec<Option<i64>>> {
            let times = column.as_primitive_opt::<TimestampMicrosecondType>();
            Ok(times.ok_or_else(contract)?.iter().collect())
        };
        let batch = delta.batch();
        Ok(match self.time {
            TimeKey::None | TimeKey::Counted { .. } => (vec![None; batch.num_rows()], false),
            TimeKey::Instant { column } => (times(batch.column(column))?, false),
            TimeKey::Window { column, spec } => {
                let mut ends = times(batch.column(column))?;
                for at in ends.iter_mut().flatten() {
                    *at = first_end(spec, *at);
                }
                (ends, true)
            }
            TimeKey::Windowed { column } => {
                let windows = batch.column(column).as_struct_opt().ok_or_else(contract)?;
                let mut ends = times(windows.column(1))?;
                for (row, end) in ends.iter_mut().enumerate() {
                    *end = end.filter(|_| windows.is_valid(row));
                }
                (ends, true)
            }
            TimeKey::Session { column, gap } => {
                let mut ends = times(batch.column(column))?;
                let gaps = batch.column(gap).as_primitive_opt::<Int64Type>();
                let gaps = gaps.ok_or_else(contract)?;
                for (end, gap) in ends.iter_mut().zip(gaps) {
                    let gap = gap.filter(|gap| *gap > 0);
                    *end = end.zip(gap).map(|(at, gap)| at.saturating_add(gap));
                }
                (ends, true)
            }
        })
    }
}

/// End of the oldest window that holds an instant.
fn first_end(spec: WindowSpec, at: i64) -> i64 {
    let last_start = spec.last_start(EventTime(at));
    let older = (spec.size - 1 - (at - last_start)) / spec.slide;
    last_start - older * spec.slide + spec.size
}

impl EpochOperator for LateRows {
    fn on_delta(
        &mut self,
        context: &EpochContext,
        _port: usize,
        delta: Delta,
        out: &mut Emitter,
    ) -> Result<()> {
        let (deciding, is_end) = self.deciding(&delta)?;
        let late: Watermark = context.marks.late;
        let is_late = |at: i64| {
            if is_end {
                late.closes_window(EventTime(at))
            } else {
                late.closes_instant(EventTime(at))
            }
        };
        // A row that is taken back was no late row before.
        let sign = |row: usize| delta.diff().map_or(1, |diff: &Int64Array| diff.value(row));
        let mask: BooleanArray = deciding
            .into_iter()
            .enumerate()
            .map(|(row, at)| Some(sign(row) > 0 && at.is_some_and(is_late)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_window_decides() {
        for (size, slide, start) in [(10, 4, 1), (10, 10, 0), (7, 3, -2), (6, 2, 0)] {
            let spec = WindowSpec { size, slide, start };
            for at in -40..40 {
                let starts = (-60..60).map(|k| start + k * slide);
                let direct = starts
                    .filter(|begin| *begin <= at && at < begin + size)
                    .map(|begin| begin + size)
                    .min();
                assert_eq!(Some(first_end(spec, at)), direct, "{spec:?} at {at}");
            }
        }
    }
}
