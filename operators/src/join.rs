//! Joins of two streams: rows of each side are kept as long as a row of the other may still match them.
//!
//! A row that arrives is matched with what is kept of the other side, then kept itself; so every pair is
//! found once, whichever of its rows came first. What a side keeps stands in [`side`]: batches of columns
//! by slices of event time, and an index over them by key. When the watermark says that a row cannot
//! match any more it goes, and, if the join owes it one, leaves with nulls beside it.
//!
//! Two operators share that: [`Join`] emits what is final, for rows that only come; [`ChangingJoin`]
//! emits every change, for rows that may be taken back.

mod changing;
mod joining;
mod pairs;
mod side;
mod slots;
mod spec;

#[cfg(test)]
mod tests;

pub use changing::ChangingJoin;
pub use joining::Join;
pub use spec::{Expiry, JoinKind, JoinSpec, Residual, SideColumn, SideSpec};
