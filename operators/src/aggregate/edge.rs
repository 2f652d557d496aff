//! The edge of a row: the instant with which the late mark is compared.
//!
//! Whoever drops late rows and whoever keeps the dropped ones look here, so that no row is in both
//! places or in neither. A row of windows is late as soon as its oldest window is closed, a row of
//! sessions when the session that it would be alone is.

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch},
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use millstream_types::{EventTime, Watermark};

use super::TimeKey;
use crate::{
    delta::Delta,
    error::{OperatorError, Result},
};

/// The edges of the rows of a batch.
pub(crate) struct Edges {
    /// `None` for a row that no mark makes late: it has no time, or is in no window.
    instants: Vec<Option<i64>>,
    is_end: bool,
}

impl Edges {
    /// The edges of rows that are grouped by a time key.
    ///
    /// # Errors
    /// When the columns are no times, or a window cannot be written.
    pub(crate) fn new(time: TimeKey, batch: &RecordBatch) -> Result<Edges> {
        let (instants, is_end) = match time {
            TimeKey::None | TimeKey::Counted { .. } => (vec![None; batch.num_rows()], false),
            TimeKey::Instant { column } => (times(batch.column(column))?, false),
            TimeKey::Window { column, spec } => {
                let mut ends = times(batch.column(column))?;
                for at in ends.iter_mut().flatten() {
                    let (first, _) = spec
                        .starts(EventTime(*at))
                        .ok_or_else(|| OperatorError::overflow("window"))?;
                    *at = first + spec.size;
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
            TimeKey::Session { column, gap } => (session_ends(batch, column, gap)?, true),
        };
        Ok(Edges { instants, is_end })
    }

    /// Whether a mark makes a row late.
    pub(crate) fn is_late(&self, row: usize, mark: Watermark) -> bool {
        self.instants[row].is_some_and(|at| {
            if self.is_end {
                mark.closes_window(EventTime(at))
            } else {
                mark.closes_instant(EventTime(at))
            }
        })
    }
}

/// Which rows of a delta may become sessions, and how many were late.
pub(crate) struct Accepted {
    /// The rows that are left.
    pub(crate) rows: Delta,
    /// How many were late.
    pub(crate) late: u64,
}

/// Keeps the rows that can be in a session and are not late. `mark` is `None` where no mark counts.
///
/// # Errors
/// As [`Edges::new`].
pub(crate) fn accepted(delta: &Delta, time: TimeKey, mark: Option<Watermark>) -> Result<Accepted> {
    let edges = Edges::new(time, delta.batch())?;
    let mut late = 0;
    let mut keep = |row: usize| {
        let is_late = mark.is_some_and(|mark| edges.is_late(row, mark));
        late += u64::from(is_late);
        edges.instants[row].is_some() && !is_late
    };
    let mask: BooleanArray = (0..delta.rows()).map(|row| Some(keep(row))).collect();
    let rows = if mask.true_count() == delta.rows() {
        delta.clone()
    } else {
        delta.filter(&mask)?
    };
    Ok(Accepted { rows, late })
}

/// Where the session of each row would end if it were alone; no end without a time or a gap.
fn session_ends(batch: &RecordBatch, column: usize, gap: usize) -> Result<Vec<Option<i64>>> {
    let gaps = batch.column(gap).as_primitive_opt::<Int64Type>();
    let gaps = gaps.ok_or_else(contract)?;
    let mut ends = times(batch.column(column))?;
    for (end, gap) in ends.iter_mut().zip(gaps) {
        *end = match (*end, gap.filter(|gap| *gap > 0)) {
            (Some(at), Some(gap)) => Some(
                at.checked_add(gap)
                    .ok_or_else(|| OperatorError::overflow("session_window"))?,
            ),
            (_, None) | (None, _) => None,
        };
    }
    Ok(ends)
}

fn times(column: &ArrayRef) -> Result<Vec<Option<i64>>> {
    let times = column.as_primitive_opt::<TimestampMicrosecondType>();
    Ok(times.ok_or_else(contract)?.iter().collect())
}

fn contract() -> OperatorError {
    OperatorError::contract("an event time is not a timestamp in microseconds")
}
