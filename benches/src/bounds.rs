//! The bounds: what a person who knows timely writes by hand in a day for one query.
//!
//! They parse the same files and give the same rows as the engine, but plan nothing, write no
//! checkpoint, know the data's shape and cannot restart. An engine is as fast as it should be when
//! it comes near them.

mod bid;
mod blocks;
mod flow;
mod stateless;
mod table;
pub(crate) mod time;
mod windows;
mod words;

use std::path::Path;

pub(crate) use bid::Parser;

use crate::{checksum::Outcome, error::Result};

/// A query by hand: data directory, number of workers, how lines are read.
pub(crate) type Bound = fn(&Path, usize, Parser) -> Result<Outcome>;

/// All that are written, by the names of the suite.
pub(crate) const BOUNDS: [(&str, Bound); 6] = [
    ("w1", |dir, workers, parser| {
        flow::windowed::<words::WordCount>(dir.join("words"), workers, parser)
    }),
    ("w2", |dir, workers, parser| {
        flow::windowed::<windows::BidsPerAuction>(stateless::bids(dir), workers, parser)
    }),
    ("q0", stateless::q0),
    ("q1", stateless::q1),
    ("q2", stateless::q2),
    ("q7", |dir, workers, parser| {
        flow::windowed::<windows::HighestBid>(stateless::bids(dir), workers, parser)
    }),
];

/// The bound of a query, if there is one.
pub(crate) fn find(query: &str) -> Option<Bound> {
    let mut all = BOUNDS.iter();
    all.find(|(name, _)| *name == query).map(|(_, run)| *run)
}
