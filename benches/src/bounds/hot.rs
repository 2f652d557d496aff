//! w3 and q5: the auctions with most bids in sliding windows of ten seconds, every two seconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    bid::Parser,
    flow::{Groups, Inner, Scan, Seen},
    table::{Table, owner},
    windows::{CountsPart, Slices, WINDOW_MS, closed, window_hash},
};
use crate::{checksum::Outcome, error::Result};

const SLIDE_MS: i64 = 2_000;

/// Both queries before the first exchange: counts by pane and auction.
#[derive(Debug)]
pub(crate) struct Panes(Slices);

impl Scan for Panes {
    type Part = CountsPart;

    fn new(parser: Parser) -> Panes {
        Panes(Slices::new(parser, SLIDE_MS))
    }

    fn read(
        &mut self,
        lines: &[u8],
        workers: usize,
        give: &mut dyn FnMut(usize, CountsPart),
    ) -> Result<Seen> {
        self.0.read(lines, workers, |bid| bid.auction, give)
    }
}

/// The best auctions of a window, of some worker or of all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Best {
    start_ms: i64,
    bids: i64,
    auctions: Vec<i64>,
}

impl Best {
    /// Of auctions with as many bids all count, or the one with the highest number.
    fn add<const TIES: bool>(&mut self, auctions: &[i64], bids: i64) {
        if bids > self.bids {
            self.bids = bids;
            self.auctions.clear();
        }
        if bids == self.bids {
            self.auctions.extend_from_slice(auctions);
            if !TIES {
                let highest = self.auctions.iter().copied().max();
                self.auctions.clear();
                self.auctions.extend(highest);
            }
        }
    }
}

/// Panes of the auctions of one owner, and windows made of them.
#[derive(Debug, Default)]
pub(crate) struct Windows<const TIES: bool> {
    panes: BTreeMap<i64, Table<i64>>,
    /// The end of the last window that was closed.
    closed_ms: i64,
}

impl<const TIES: bool> Inner for Windows<TIES> {
    type Part = CountsPart;
    type Outer = Hottest<TIES>;

    fn merge(&mut self, part: CountsPart) {
        let table = self.panes.entry(part.start_ms).or_default();
        for (key, count) in part.keys.iter().zip(&part.counts) {
            *table.entry(*key) += i64::from(*count);
        }
    }

    fn close(&mut self, watermark_ms: i64, workers: usize, give: &mut dyn FnMut(usize, Best)) {
        while let Some((first_ms, _)) = self.panes.first_key_value() {
            let end_ms = (self.closed_ms + SLIDE_MS).max(first_ms + SLIDE_MS);
            if end_ms > watermark_ms {
                return;
            }
            let start_ms = end_ms - WINDOW_MS;
            let mut window = Table::<i64>::default();
            for (_, pane) in self.panes.range(start_ms..end_ms) {
                for (auction, bids) in pane.iter() {
                    *window.entry(auction) += bids;
                }
            }
            let mut best = Best {
                start_ms,
                bids: 0,
                auctions: Vec::new(),
            };
            for (auction, bids) in window.iter() {
                best.add::<TIES>(&[auction], *bids);
            }
            if best.bids > 0 {
                give(owner(start_ms, workers), best);
            }
            self.closed_ms = end_ms;
            self.panes = self.panes.split_off(&(start_ms + SLIDE_MS));
        }
    }
}

/// w3 and q5: window start, window end, auction, number of bids.
#[derive(Debug, Default)]
pub(crate) struct Hottest<const TIES: bool> {
    windows: BTreeMap<i64, Best>,
}

impl<const TIES: bool> Groups for Hottest<TIES> {
    type Part = Best;

    fn merge(&mut self, part: Best) {
        match self.windows.entry(part.start_ms) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(part);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                entry.get_mut().add::<TIES>(&part.auctions, part.bids);
            }
        }
    }

    fn close(&mut self, watermark_ms: i64, outcome: &mut Outcome) {
        for (start_ms, best) in closed(&mut self.windows, watermark_ms) {
            for auction in &best.auctions {
                outcome.row(window_hash(start_ms).int(*auction).int(best.bids));
            }
        }
    }
}
