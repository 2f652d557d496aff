//! w2, q7 and q12: tumbling windows of ten seconds over bids.

use std::{collections::BTreeMap, marker::PhantomData};

use serde::{Deserialize, Serialize};

use super::{
    bid::{self, Bid, BidScanner, Parser},
    flow::{Groups, Scan, Seen},
    table::{Table, owner},
};
use crate::{
    checksum::{Outcome, RowHash},
    error::Result,
};

pub(crate) const WINDOW_MS: i64 = 10_000;

/// Takes the windows that a watermark closes out of a map by their start.
pub(crate) fn closed<V>(windows: &mut BTreeMap<i64, V>, watermark_ms: i64) -> BTreeMap<i64, V> {
    let open = windows.split_off(&watermark_ms.saturating_sub(WINDOW_MS - 1));
    std::mem::replace(windows, open)
}

pub(crate) fn window_hash(start_ms: i64) -> RowHash {
    RowHash::default()
        .time_ms(start_ms)
        .time_ms(start_ms + WINDOW_MS)
}

/// Counts of one slice of event time for one owner.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CountsPart {
    pub(crate) start_ms: i64,
    pub(crate) keys: Vec<i64>,
    pub(crate) counts: Vec<u32>,
}

/// Counts of the bids of a block by slice of event time and key.
#[derive(Debug)]
pub(crate) struct Slices {
    scanner: BidScanner<{ bid::AUCTION | bid::BIDDER | bid::TIME }>,
    newest_ms: i64,
    slice_ms: i64,
    /// The slices of the block; nearly always one or two.
    block: Vec<(i64, Table<u32>)>,
}

impl Slices {
    pub(crate) fn new(parser: Parser, slice_ms: i64) -> Slices {
        Slices {
            scanner: BidScanner::new(parser),
            newest_ms: 0,
            slice_ms,
            block: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn read(
        &mut self,
        lines: &[u8],
        workers: usize,
        key: impl Fn(&Bid<'_>) -> i64,
        give: &mut dyn FnMut(usize, CountsPart),
    ) -> Result<Seen> {
        let Slices {
            scanner,
            newest_ms,
            slice_ms,
            block,
        } = self;
        let mut at = 0;
        let rows = scanner.scan(lines, |bid| {
            *newest_ms = (*newest_ms).max(bid.time_ms);
            let start = bid.time_ms - bid.time_ms.rem_euclid(*slice_ms);
            if block.get(at).is_none_or(|(slice, _)| *slice != start) {
                let known = block.iter().position(|(slice, _)| *slice == start);
                at = known.unwrap_or_else(|| {
                    block.push((start, Table::default()));
                    block.len() - 1
                });
            }
            *block[at].1.entry(key(bid)) += 1;
        })?;
        for (start_ms, table) in block.drain(..) {
            let mut parts = vec![CountsPart::default(); workers];
            for (key, count) in table.iter() {
                let part = &mut parts[owner(key, workers)];
                part.keys.push(key);
                part.counts.push(*count);
            }
            for (to, mut part) in parts.into_iter().enumerate() {
                if !part.keys.is_empty() {
                    part.start_ms = start_ms;
                    give(to, part);
                }
            }
        }
        Ok(Seen {
            rows,
            newest_ms: *newest_ms,
        })
    }
}

/// What bids are counted by.
pub(crate) trait Key: 'static {
    fn of(bid: &Bid<'_>) -> i64;
}

/// w2 counts by auction.
#[derive(Debug)]
pub(crate) struct ByAuction;

impl Key for ByAuction {
    #[inline]
    fn of(bid: &Bid<'_>) -> i64 {
        bid.auction
    }
}

/// q12 counts by bidder.
#[derive(Debug)]
pub(crate) struct ByBidder;

impl Key for ByBidder {
    #[inline]
    fn of(bid: &Bid<'_>) -> i64 {
        bid.bidder
    }
}

/// w2 and q12 before the exchange.
#[derive(Debug)]
pub(crate) struct Counting<K> {
    slices: Slices,
    key: PhantomData<K>,
}

impl<K: Key> Scan for Counting<K> {
    type Part = CountsPart;

    fn new(parser: Parser) -> Counting<K> {
        Counting {
            slices: Slices::new(parser, WINDOW_MS),
            key: PhantomData,
        }
    }

    fn read(
        &mut self,
        lines: &[u8],
        workers: usize,
        give: &mut dyn FnMut(usize, CountsPart),
    ) -> Result<Seen> {
        self.slices.read(lines, workers, K::of, give)
    }
}

/// w2 and q12: window start, window end, key, number of bids.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    windows: BTreeMap<i64, Table<i64>>,
}

impl Groups for Counts {
    type Part = CountsPart;

    fn merge(&mut self, part: CountsPart) {
        let table = self.windows.entry(part.start_ms).or_default();
        for (key, count) in part.keys.iter().zip(&part.counts) {
            *table.entry(*key) += i64::from(*count);
        }
    }

    fn close(&mut self, watermark_ms: i64, outcome: &mut Outcome) {
        for (start_ms, table) in closed(&mut self.windows, watermark_ms) {
            let window = window_hash(start_ms);
            for (key, count) in table.iter() {
                outcome.row(window.int(key).int(*count));
            }
        }
    }
}

/// q7 before the exchange.
#[derive(Debug)]
pub(crate) struct HighestBid {
    scanner: BidScanner<{ bid::PRICE | bid::TIME }>,
    newest_ms: i64,
}

impl Scan for HighestBid {
    type Part = (i64, i64);

    fn new(parser: Parser) -> HighestBid {
        HighestBid {
            scanner: BidScanner::new(parser),
            newest_ms: 0,
        }
    }

    fn read(
        &mut self,
        lines: &[u8],
        workers: usize,
        give: &mut dyn FnMut(usize, (i64, i64)),
    ) -> Result<Seen> {
        let HighestBid { scanner, newest_ms } = self;
        let mut flush = |(start, price): (i64, i64)| {
            if price >= 0 {
                give(owner(start, workers), (start, price));
            }
        };
        let mut current = (0, -1);
        let rows = scanner.scan(lines, |bid| {
            *newest_ms = (*newest_ms).max(bid.time_ms);
            let start = bid.time_ms - bid.time_ms.rem_euclid(WINDOW_MS);
            if start != current.0 {
                flush(std::mem::replace(&mut current, (start, -1)));
            }
            current.1 = current.1.max(bid.price);
        })?;
        flush(current);
        Ok(Seen {
            rows,
            newest_ms: *newest_ms,
        })
    }
}

/// q7: window start, window end, highest price.
#[derive(Debug, Default)]
pub(crate) struct HighestBids {
    windows: BTreeMap<i64, i64>,
}

impl Groups for HighestBids {
    type Part = (i64, i64);

    fn merge(&mut self, (start, price): (i64, i64)) {
        let highest = self.windows.entry(start).or_insert(price);
        *highest = price.max(*highest);
    }

    fn close(&mut self, watermark_ms: i64, outcome: &mut Outcome) {
        for (start_ms, price) in closed(&mut self.windows, watermark_ms) {
            outcome.row(window_hash(start_ms).int(price));
        }
    }
}
