//! Grouped aggregation: partial tables, exchange, final tables, results by output mode.

mod buckets;
mod function;
mod general;
mod groups;
mod native;
mod partial;
mod spec;
mod total;

pub use partial::PartialAggregate;
pub use spec::{AggregateCall, AggregateSpec, TimeKey, WindowSpec};
pub use total::{Seed, TotalAggregate, state_columns};
