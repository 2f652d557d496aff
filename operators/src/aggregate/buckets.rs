//! Which bucket of event time a row belongs to, and when a bucket is closed.
//!
//! | time key | bucket | further key column | closed when |
//! |---|---|---|---|
//! | none | 0 | – | never |
//! | tumbling window | end of the window | – | end <= mark |
//! | sliding window | end of the pane | – | by the sliding operator |
//! | window made below | end of the window | its start | end <= mark |
//! | instant | start of its second | the instant | instant <= mark, group by group |

use std::{ops::RangeInclusive, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StructArray,
        TimestampMicrosecondArray, UInt32Array,
    },
    compute,
    datatypes::{DataType, Field, TimestampMicrosecondType},
};
use millstream_types::{EventTime, Watermark};

use super::{AggregateSpec, TimeKey, WindowSpec};
use crate::{
    error::{OperatorError, Result},
    state::{Bucket, Placement},
};

/// Groups of instants share a bucket a second.
const SLICE_MICROS: i64 = 1_000_000;

/// Buckets of one batch that are found by looking through them; with more, rows are sorted.
const PARTS_LOOKED_THROUGH: usize = 32;

/// The bucket of instants that are null: they never close.
const NULL_INSTANTS: Bucket = Bucket(i64::MAX);

/// How a bucket stands to a watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closure {
    /// Every group in it is open.
    Open,
    /// Every group in it is closed.
    Closed,
    /// Some groups are closed: those whose instant is at or behind the mark.
    Partly,
}

/// The time key of an aggregation at work.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    placement: Placement,
    time: TimeKey,
    marked: bool,
    /// The event times whose windows can all be written.
    instants: RangeInclusive<i64>,
}

/// Rows of a batch that belong to one bucket: all of them, or those at some positions.
pub(super) struct Part {
    pub(super) bucket: Bucket,
    pub(super) rows: Option<UInt32Array>,
}

impl Buckets {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "arrow has more types than this function serves"
    )]
    pub(super) fn new(spec: &AggregateSpec) -> Result<Buckets> {
        let time = match spec.time {
            TimeKey::Window { column, spec } if !spec.is_tumbling() => TimeKey::Window {
                column,
                spec: spec.panes(),
            },
            TimeKey::Session { .. } | TimeKey::Counted { .. } => return Err(own_operator()),
            time => time,
        };
        Ok(Buckets {
            placement: placement_of(spec),
            time,
            marked: spec.marked,
            instants: instants(spec.time),
        })
    }

    /// Who owns a key of a bucket.
    pub(super) fn placement(&self) -> Placement {
        self.placement
    }

    /// Whether groups close at all.
    pub(super) fn can_close(&self) -> bool {
        self.time.closes(self.marked)
    }

    /// Type of the key column that stands before the keys of the query, if there is one.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "arrow has more types than this function serves"
    )]
    pub(super) fn extra_key(&self, input: &arrow::datatypes::Schema) -> Option<Field> {
        match self.time {
            TimeKey::None
            | TimeKey::Window { .. }
            | TimeKey::Session { .. }
            | TimeKey::Counted { .. } => None,
            TimeKey::Instant { column } => Some(Field::new(
                "instant",
                input.field(column).data_type().clone(),
                true,
            )),
            TimeKey::Windowed { column } => match input.field(column).data_type() {
                DataType::Struct(fields) => Some(Field::new(
                    "start",
                    fields.first()?.data_type().clone(),
                    true,
                )),
                _ => None,
            },
        }
    }

    /// The column of [`extra_key`](Buckets::extra_key).
    pub(super) fn extra_column(&self, batch: &RecordBatch) -> Option<ArrayRef> {
        match self.time {
            TimeKey::None
            | TimeKey::Window { .. }
            | TimeKey::Session { .. }
            | TimeKey::Counted { .. } => None,
            TimeKey::Instant { column } => Some(batch.column(column).clone()),
            TimeKey::Windowed { column } => batch
                .column(column)
                .as_struct_opt()
                .map(|window| window.column(0).clone()),
        }
    }

    /// Cuts a batch into its buckets. Rows without a time belong to no window and are left out.
    pub(super) fn split(&self, batch: &RecordBatch) -> Result<Vec<Part>> {
        let time = match self.time {
            TimeKey::None => {
                return Ok(vec![Part {
                    bucket: Bucket(0),
                    rows: None,
                }]);
            }
            TimeKey::Session { .. } | TimeKey::Counted { .. } => return Err(own_operator()),
            TimeKey::Window { column, .. } | TimeKey::Instant { column } => {
                times(batch.column(column))?.clone()
            }
            TimeKey::Windowed { column } => {
                let windows = batch
                    .column(column)
                    .as_struct_opt()
                    .ok_or_else(|| OperatorError::contract("a window is not a struct"))?;
                ends(windows)?
            }
        };
        self.split_times(&time)
    }

    /// The bucket of an event time that is among `instants`.
    fn bucket(&self, at: i64) -> Bucket {
        match self.time {
            TimeKey::Window { spec, .. } => {
                let start = spec.last_start(EventTime(at)).unwrap_or(i64::MIN);
                Bucket(start.saturating_add(spec.size))
            }
            // The first second of all time is cut short; it has no other name than its first instant.
            TimeKey::Instant { .. } => {
                Bucket(at.div_euclid(SLICE_MICROS).saturating_mul(SLICE_MICROS))
            }
            TimeKey::None
            | TimeKey::Windowed { .. }
            | TimeKey::Session { .. }
            | TimeKey::Counted { .. } => Bucket(at),
        }
    }

    /// The last instant that can be in a bucket.
    fn last_in(&self, bucket: Bucket) -> i64 {
        match self.time {
            TimeKey::Window { .. } => bucket.0.saturating_sub(1),
            TimeKey::Instant { .. } => bucket.0.saturating_add(SLICE_MICROS - 1),
            TimeKey::None
            | TimeKey::Windowed { .. }
            | TimeKey::Session { .. }
            | TimeKey::Counted { .. } => bucket.0,
        }
    }

    fn split_times(&self, times: &TimestampMicrosecondArray) -> Result<Vec<Part>> {
        let rows = times.len();
        let bounds = if times.null_count() == 0 {
            bounds(times.values().iter().copied())
        } else {
            bounds(times.iter().flatten())
        };
        if let Some((first, last)) = bounds {
            if !(self.instants.contains(&first) && self.instants.contains(&last)) {
                return Err(OperatorError::overflow("window"));
            }
            let bucket = self.bucket(first);
            // Times come nearly sorted: most batches lie in one bucket and are not cut at all.
            if times.null_count() == 0 && last <= self.last_in(bucket) {
                return Ok(vec![Part { bucket, rows: None }]);
            }
        }
        let of = |row: usize| {
            if times.is_valid(row) {
                Some(self.bucket(times.value(row)))
            } else {
                matches!(self.time, TimeKey::Instant { .. }).then_some(NULL_INSTANTS)
            }
        };
        let placed = (0..rows).zip(0u32..);
        let placed = placed.filter_map(|(row, number)| Some((of(row)?, number)));
        let parts = parts(placed.clone()).unwrap_or_else(|| sorted_parts(placed.collect()));
        let parts = parts.into_iter().map(|(bucket, rows)| Part {
            bucket,
            rows: Some(UInt32Array::from(rows)),
        });
        Ok(parts.collect())
    }

    /// How a bucket stands to a mark.
    pub(super) fn closure(&self, bucket: Bucket, mark: Watermark) -> Closure {
        if !self.can_close() || bucket == NULL_INSTANTS {
            return Closure::Open;
        }
        match self.time {
            TimeKey::None | TimeKey::Session { .. } | TimeKey::Counted { .. } => Closure::Open,
            TimeKey::Window { .. } | TimeKey::Windowed { .. } => {
                if mark.closes_window(EventTime(bucket.0)) {
                    Closure::Closed
                } else {
                    Closure::Open
                }
            }
            TimeKey::Instant { .. } => {
                let last = EventTime(self.last_in(bucket));
                if mark.closes_instant(last) {
                    Closure::Closed
                } else if mark.closes_instant(EventTime(bucket.0)) {
                    Closure::Partly
                } else {
                    Closure::Open
                }
            }
        }
    }

    /// Which groups of a partly closed bucket are closed, from its further key column.
    pub(super) fn closed_rows(&self, extra: &ArrayRef, mark: Watermark) -> Result<BooleanArray> {
        Ok(times(extra)?
            .iter()
            .map(|at| Some(at.is_some_and(|at| mark.closes_instant(EventTime(at)))))
            .collect())
    }

    /// The time key as the query sees it: a window struct, or the instants.
    pub(super) fn output(
        &self,
        bucket: Bucket,
        extra: Option<&ArrayRef>,
        rows: usize,
        field: &Field,
    ) -> Result<Option<ArrayRef>> {
        let start = match (self.time, extra) {
            (TimeKey::None | TimeKey::Session { .. } | TimeKey::Counted { .. }, _) => {
                return Ok(None);
            }
            (TimeKey::Instant { .. }, extra) => return Ok(extra.cloned()),
            (
                TimeKey::Window {
                    spec: WindowSpec { size, .. },
                    ..
                },
                _,
            ) => {
                let start = bucket.0.checked_sub(size);
                let start = start.ok_or_else(|| OperatorError::overflow("window"))?;
                Arc::new(Int64Array::from_value(start, rows)) as ArrayRef
            }
            (TimeKey::Windowed { .. }, Some(start)) => start.clone(),
            (TimeKey::Windowed { .. }, None) => {
                return Err(OperatorError::contract("a window has lost its start"));
            }
        };
        let end: ArrayRef = Arc::new(Int64Array::from_value(bucket.0, rows));
        window_struct(&[start, end], field).map(Some)
    }
}

fn own_operator() -> OperatorError {
    OperatorError::contract("sessions and windows by count have operators of their own")
}

/// Starts and ends as a struct column of the type that the query expects.
pub(super) fn window_struct(bounds: &[ArrayRef; 2], field: &Field) -> Result<ArrayRef> {
    let DataType::Struct(fields) = field.data_type() else {
        return Err(OperatorError::contract("a window is not a struct"));
    };
    let columns = bounds
        .iter()
        .zip(fields)
        .map(|(column, field)| compute::cast(column, field.data_type()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(OperatorError::arrow("making a window"))?;
    Ok(Arc::new(StructArray::new(fields.clone(), columns, None)))
}

/// Panes of a sliding window are combined, so a key has one owner in all of them.
fn placement_of(spec: &AggregateSpec) -> Placement {
    match spec.time {
        TimeKey::Window { spec, .. } if !spec.is_tumbling() => Placement::ByKey,
        TimeKey::Session { .. } | TimeKey::Counted { .. } => Placement::ByKey,
        TimeKey::None
        | TimeKey::Window { .. }
        | TimeKey::Instant { .. }
        | TimeKey::Windowed { .. } => Placement::ByKeyAndBucket,
    }
}

/// The event times that have a place: for windows those whose windows can all be written.
fn instants(time: TimeKey) -> RangeInclusive<i64> {
    match time {
        TimeKey::Window { spec, .. } => spec.instants(),
        TimeKey::None
        | TimeKey::Instant { .. }
        | TimeKey::Windowed { .. }
        | TimeKey::Session { .. }
        | TimeKey::Counted { .. } => i64::MIN..=i64::MAX,
    }
}

/// Rows by bucket, looking through the buckets so far for each row that is not in the one of the row
/// before; nothing if there are too many for that.
fn parts(placed: impl Iterator<Item = (Bucket, u32)>) -> Option<Vec<(Bucket, Vec<u32>)>> {
    let mut parts: Vec<(Bucket, Vec<u32>)> = Vec::new();
    let mut last = 0;
    for (bucket, row) in placed {
        if parts.get(last).is_none_or(|(of, _)| *of != bucket) {
            last = parts
                .iter()
                .position(|(of, _)| *of == bucket)
                .unwrap_or_else(|| {
                    parts.push((bucket, Vec::new()));
                    parts.len() - 1
                });
            if last == PARTS_LOOKED_THROUGH {
                return None;
            }
        }
        parts[last].1.push(row);
    }
    Some(parts)
}

/// Rows by bucket, however many buckets there are.
fn sorted_parts(mut placed: Vec<(Bucket, u32)>) -> Vec<(Bucket, Vec<u32>)> {
    placed.sort_by_key(|(bucket, _)| *bucket);
    let runs = placed.chunk_by(|(a, _), (b, _)| a == b);
    let part =
        |run: &[(Bucket, u32)]| Some((run.first()?.0, run.iter().map(|(_, row)| *row).collect()));
    runs.filter_map(part).collect()
}

fn bounds(mut times: impl Iterator<Item = i64>) -> Option<(i64, i64)> {
    let first = times.next()?;
    Some(times.fold((first, first), |(low, high), at| {
        (low.min(at), high.max(at))
    }))
}

fn times(column: &ArrayRef) -> Result<&TimestampMicrosecondArray> {
    column
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| OperatorError::contract("an event time is not a timestamp in microseconds"))
}

/// Ends of windows, null where the window is null.
fn ends(windows: &StructArray) -> Result<TimestampMicrosecondArray> {
    let ends = times(windows.column(1))?;
    let nulls = arrow::buffer::NullBuffer::union(windows.nulls(), ends.nulls());
    Ok(TimestampMicrosecondArray::new(ends.values().clone(), nulls))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn few_buckets_and_many_give_the_same_parts(
            buckets in prop::collection::vec(-40i64..40, 0..300),
        ) {
            let placed: Vec<(Bucket, u32)> = buckets.into_iter().map(Bucket).zip(0u32..).collect();
            let sorted = sorted_parts(placed.clone());
            match parts(placed.iter().copied()) {
                Some(mut few) => {
                    few.sort_by_key(|(bucket, _)| *bucket);
                    prop_assert_eq!(few, sorted);
                }
                None => {
                    prop_assert!(sorted.len() > PARTS_LOOKED_THROUGH);
                    let mut rows: Vec<(Bucket, u32)> = Vec::new();
                    for (bucket, part) in sorted {
                        prop_assert!(part.is_sorted());
                        rows.extend(part.into_iter().map(|row| (bucket, row)));
                    }
                    rows.sort_by_key(|(_, row)| *row);
                    prop_assert_eq!(rows, placed);
                }
            }
        }
    }
}
