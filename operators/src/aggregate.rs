//! Grouped aggregation: partial tables, exchange, final tables, results by output mode.

mod spec;

pub use spec::{AggregateCall, AggregateSpec, TimeKey, WindowSpec};
