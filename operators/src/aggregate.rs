//! Grouped aggregation: partial tables, exchange, final tables, results by output mode.

mod buckets;
mod counted;
mod distinct;
mod doubles;
mod exact;
mod exchange;
mod extreme;
mod function;
mod general;
mod groups;
mod marked;
mod moments;
mod multiset;
mod native;
mod partial;
mod place;
mod resession;
mod session;
mod sliding;
mod spec;
mod sums;
mod total;

pub use counted::CountedAggregate;
pub use partial::PartialAggregate;
pub use resession::ChangingSessions;
pub use session::{KeyRows, SessionAggregate};
pub use sliding::SlidingAggregate;
pub use spec::{AggregateCall, AggregateSpec, TimeKey, WindowSpec};
pub use total::{Seed, TotalAggregate, state_columns};
