//! The bounds: what a person who knows timely writes by hand in a day for one query.
//!
//! They parse the same files and give the same rows as the engine, but plan nothing, write no
//! checkpoint, know the data's shape and cannot restart. An engine is as fast as it should be when
//! it comes near them.

mod bid;
mod blocks;
mod days;
mod flow;
mod hot;
mod sessions;
mod stateless;
mod table;
pub(crate) mod time;
mod windows;
mod words;

use std::path::Path;

pub(crate) use bid::{BidScanner, Parser, TIME};

use crate::{checksum::Outcome, error::Result};

/// A query by hand: data directory, number of workers, how lines are read.
pub(crate) type Bound = fn(&Path, usize, Parser) -> Result<Outcome>;

/// A query over bids with one exchange.
fn grouped<S, G>(dir: &Path, workers: usize, parser: Parser) -> Result<Outcome>
where
    S: flow::Scan,
    G: flow::Groups<Part = S::Part>,
{
    flow::grouped::<S, G>(stateless::bids(dir), workers, parser)
}

/// A query over bids with two exchanges.
fn nested<S, I>(dir: &Path, workers: usize, parser: Parser) -> Result<Outcome>
where
    S: flow::Scan,
    I: flow::Inner<Part = S::Part>,
{
    flow::nested::<S, I>(stateless::bids(dir), workers, parser)
}

/// All that are written, by the names of the suite.
pub(crate) const BOUNDS: [(&str, Bound); 14] = [
    ("w1", |dir, workers, parser| {
        let folder = dir.join("words");
        flow::grouped::<words::WordCount, words::WordTotals>(folder, workers, parser)
    }),
    ("w1s", |dir, workers, parser| {
        let folder = dir.join("lines");
        flow::grouped::<words::LineWords, words::WordTotals>(folder, workers, parser)
    }),
    (
        "w2",
        grouped::<windows::Counting<windows::ByAuction>, windows::Counts>,
    ),
    ("w3", nested::<hot::Panes, hot::Windows<false>>),
    ("q0", stateless::q0),
    ("q1", stateless::q1),
    ("q2", stateless::q2),
    ("q5", nested::<hot::Panes, hot::Windows<true>>),
    ("q7", grouped::<windows::HighestBid, windows::HighestBids>),
    ("q11", grouped::<sessions::Bidders, sessions::Sessions>),
    (
        "q12",
        grouped::<windows::Counting<windows::ByBidder>, windows::Counts>,
    ),
    ("q15", nested::<days::DayScan<false>, days::Days<false>>),
    ("q16", nested::<days::DayScan<true>, days::Days<true>>),
    ("q17", grouped::<days::AuctionScan, days::AuctionDays>),
];

/// The bound of a query, if there is one.
pub(crate) fn find(query: &str) -> Option<Bound> {
    let mut all = BOUNDS.iter();
    all.find(|(name, _)| *name == query).map(|(_, run)| *run)
}
