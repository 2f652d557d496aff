//! Grouped aggregation: partial tables, exchange, final tables, results by output mode.

mod buckets;
mod call;
mod column;
mod counted;
mod distinct;
mod doubles;
mod edge;
mod exact;
mod exchange;
mod extreme;
mod form;
mod function;
mod general;
mod group_set;
mod groups;
mod held;
mod moments;
mod multiset;
mod native;
mod panes;
mod partial;
mod place;
mod resession;
mod session;
mod sliding;
mod spec;
mod sums;
mod sweep;
mod total;
mod values;
mod window;
mod window_counts;

pub use call::AggregateCall;
pub use counted::CountedAggregate;
pub use partial::PartialAggregate;
pub use resession::ChangingSessions;
pub use session::{KeyRows, SessionAggregate};
pub use sliding::SlidingAggregate;
pub use spec::{AggregateSpec, TimeKey};
pub use total::{Seed, TotalAggregate, state_columns};
pub use window::WindowSpec;

pub(crate) use edge::Edges;
