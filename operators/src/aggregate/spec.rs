//! What an aggregation is to compute, fixed when the query is planned.

use arrow::datatypes::{Schema, SchemaRef};
use millstream_types::OutputMode;

use super::{call::AggregateCall, form, window::WindowSpec};

/// The event-time part of a grouping, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeKey {
    /// Groups never close.
    None,
    /// Groups are instants of the input column itself.
    Instant {
        /// Input column, a timestamp in microseconds.
        column: usize,
    },
    /// Groups are windows over an input column.
    Window {
        /// Input column, a timestamp in microseconds.
        column: usize,
        /// Which windows.
        spec: WindowSpec,
    },
    /// Groups are whole windows computed by an operator below: a struct of start and end.
    Windowed {
        /// Input column, a struct with two timestamps in microseconds.
        column: usize,
    },
    /// Groups are sessions: rows of a key that lie closer than their gap.
    Session {
        /// Input column, a timestamp in microseconds.
        column: usize,
        /// Input column with each row's gap in microseconds, `BIGINT`.
        gap: usize,
    },
    /// Groups are windows by count: every so many rows of a key, in the order of the input.
    Counted {
        /// Rows of a window, more than 0.
        rows: i64,
    },
}

impl TimeKey {
    /// Whether a group is final at some time, given whether the time carries a watermark.
    #[must_use]
    pub fn closes(self, marked: bool) -> bool {
        match self {
            TimeKey::None => false,
            TimeKey::Counted { .. } => true,
            TimeKey::Instant { .. }
            | TimeKey::Window { .. }
            | TimeKey::Windowed { .. }
            | TimeKey::Session { .. } => marked,
        }
    }
}

/// An aggregation: input columns, groups, functions and the way results leave.
#[derive(Clone, Debug)]
pub struct AggregateSpec {
    /// The input: only columns that are used below.
    pub input: SchemaRef,
    /// The event-time key.
    pub time: TimeKey,
    /// Whether the time key carries a watermark, so that groups close and rows can be late.
    pub marked: bool,
    /// Where among the group columns of the output the time key stands.
    pub time_position: usize,
    /// Input columns of the other keys, in output order.
    pub keys: Vec<usize>,
    /// The functions, in output order after all group columns.
    pub calls: Vec<AggregateCall>,
    /// Whether rows of the input are taken back.
    pub retracting: bool,
    /// What leaves in each epoch.
    pub mode: OutputMode,
    /// The output: group columns, then one column a call. A window is a struct of `start`, `end`.
    pub output: SchemaRef,
}

impl AggregateSpec {
    /// Number of group columns in the output.
    #[must_use]
    pub fn group_columns(&self) -> usize {
        self.keys.len() + usize::from(self.time != TimeKey::None)
    }

    /// Whether a function's result depends on the order of the input.
    #[must_use]
    pub fn wants_origins(&self) -> bool {
        matches!(self.time, TimeKey::Counted { .. }) || self.calls.iter().any(form::wants_origins)
    }

    /// Schema of the keys without the time key.
    #[must_use]
    pub fn key_schema(&self) -> Schema {
        Schema::new(
            self.keys
                .iter()
                .map(|key| self.input.field(*key).clone())
                .collect::<Vec<_>>(),
        )
    }
}
