//! Joins of two streams: rows of each side are kept as long as a row of the other may still match them.
//!
//! A row that arrives is matched with what is kept of the other side, then kept itself; so every pair is
//! found once, whichever of its rows came first. What a side keeps stands in [`side`]: batches of columns
//! by buckets of event time, and an index over them by key. When the watermark says that a row cannot
//! match any more it goes, and, if the join owes it one, leaves with nulls beside it.
//!
//! Five operators share that: [`Join`] emits what is final, for rows that only come; [`ChangingJoin`]
//! emits every change, for rows that may be taken back; [`Lookup`] keeps no rows of its stream, because
//! the other side is a table that stands still. [`Dedup`] keeps keys only, [`Over`]
//! the rows of partitions.

mod changes;
mod changing;
mod dedup;
mod joining;
mod lookup;
mod over;
mod pairs;
mod side;
mod slots;
mod spec;

#[cfg(test)]
mod tests;

pub use changing::ChangingJoin;
pub use dedup::{Dedup, DedupSpec, KeyLife};
pub use joining::Join;
pub use lookup::{Lookup, StaticRows, StaticTable};
pub use over::{Over, OverSpec};
pub use spec::{Expiry, JoinKind, JoinSpec, Residual, SideColumn, SideSpec};
