//! What an aggregation is to compute, fixed when the query is planned.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;
use millstream_types::{EventTime, OutputMode};

/// Windows of one length that begin at regular times; all values in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// Length of a window, more than 0.
    pub size: i64,
    /// Distance between the starts of two windows: more than 0, at most `size`.
    pub slide: i64,
    /// Shift of all starts against 1970-01-01 00:00 UTC; less than `slide` on either side.
    pub start: i64,
}

impl WindowSpec {
    /// Whether every instant lies in exactly one window.
    #[must_use]
    pub fn is_tumbling(&self) -> bool {
        self.size == self.slide
    }

    /// The panes of sliding windows: the widest tumbling windows of which every window is made.
    #[must_use]
    pub fn panes(&self) -> WindowSpec {
        let (mut width, mut rest) = (self.size, self.slide);
        while rest != 0 {
            (width, rest) = (rest, width % rest);
        }
        WindowSpec {
            size: width,
            slide: width,
            start: self.start.rem_euclid(width),
        }
    }

    /// Ends of the windows that cover the pane with this end, latest first.
    pub fn ends_covering(&self, pane_end: i64) -> impl Iterator<Item = i64> + use<> {
        let (size, slide) = (self.size, self.slide);
        let last = self.last_start(EventTime(pane_end - self.panes().size)) + size;
        std::iter::successors(Some(last), move |end| Some(end - slide))
            .take_while(move |end| *end >= pane_end)
    }

    /// Start of the last window that contains `at`; right before 1970, too.
    #[must_use]
    pub fn last_start(&self, at: EventTime) -> i64 {
        at.0.wrapping_sub(at.0.wrapping_sub(self.start).rem_euclid(self.slide))
    }
}

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

/// One aggregate function over input columns.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// DataFusion's function with its argument types; its argument expressions are not used. It knows
    /// of no DISTINCT: who keeps each value once shows each value once.
    pub function: Arc<AggregateFunctionExpr>,
    /// Whether each different value counts once.
    pub distinct: bool,
    /// Input columns of the arguments, in order. Literal arguments are columns, too.
    pub arguments: Vec<usize>,
    /// Types of these columns.
    pub argument_types: Vec<DataType>,
    /// Input column of the FILTER clause, a boolean.
    pub filter: Option<usize>,
    /// Whether rows of the input are taken back: then no value may be forgotten.
    pub retracting: bool,
}

impl AggregateCall {
    /// What a checkpoint calls the form of the call's state.
    #[must_use]
    pub fn state_form(&self) -> &'static str {
        super::function::form_name(self)
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
        matches!(self.time, TimeKey::Counted { .. })
            || self.calls.iter().any(super::function::wants_origins)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panes_make_up_windows() {
        let spec = WindowSpec {
            size: 10,
            slide: 4,
            start: 1,
        };
        assert_eq!(
            spec.panes(),
            WindowSpec {
                size: 2,
                slide: 2,
                start: 1
            }
        );
        // Every instant is covered by the windows that contain it, and by no other.
        for at in -50..50 {
            let pane = spec.panes();
            let pane_end = pane.last_start(EventTime(at)) + pane.size;
            let by_panes: Vec<i64> = spec.ends_covering(pane_end).collect();
            let starts = (-30..30).map(|k| spec.start + k * spec.slide).rev();
            let direct: Vec<i64> = starts
                .filter(|start| *start <= at && at < start + spec.size)
                .map(|start| start + spec.size)
                .collect();
            assert_eq!(by_panes, direct, "at {at}");
        }
    }
}
