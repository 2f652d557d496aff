//! w2 and q7: tumbling windows of ten seconds over bids.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    bid::{self, BidScanner, Parser},
    flow::{Seen, Windowed},
    table::{Table, owner},
};
use crate::{
    checksum::{Outcome, RowHash},
    error::Result,
};

const WINDOW_MS: i64 = 10_000;

/// Takes the windows that a watermark closes out of a map by their start.
fn closed<V>(windows: &mut BTreeMap<i64, V>, watermark_ms: i64) -> BTreeMap<i64, V> {
    let open = windows.split_off(&(watermark_ms - WINDOW_MS + 1));
    std::mem::replace(windows, open)
}

fn window_hash(start_ms: i64) -> RowHash {
    RowHash::default()
        .time_ms(start_ms)
        .time_ms(start_ms + WINDOW_MS)
}

/// Counts of one window for one owner.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CountsPart {
    start_ms: i64,
    keys: Vec<i64>,
    counts: Vec<u32>,
}

/// w2: window start, window end, auction, number of bids.
#[derive(Debug)]
pub(crate) struct BidsPerAuction {
    scanner: BidScanner<{ bid::AUCTION | bid::TIME }>,
    newest_ms: i64,
    /// The windows of the block; nearly always one or two.
    block: Vec<(i64, Table<u32>)>,
    windows: BTreeMap<i64, Table<i64>>,
}

impl Windowed for BidsPerAuction {
    type Part = CountsPart;

    fn new(parser: Parser) -> BidsPerAuction {
        BidsPerAuction {
            scanner: BidScanner::new(parser),
            newest_ms: 0,
            block: Vec::new(),
            windows: BTreeMap::new(),
        }
    }

    fn read(
        &mut self,
        lines: &[u8],
        workers: usize,
        give: &mut dyn FnMut(usize, CountsPart),
    ) -> Result<Seen> {
        let BidsPerAuction {
            scanner,
            newest_ms,
            block,
            ..
        } = self;
        let mut at = 0;
        let rows = scanner.scan(lines, |bid| {
            *newest_ms = (*newest_ms).max(bid.time_ms);
            let start = bid.time_ms - bid.time_ms.rem_euclid(WINDOW_MS);
            if block.get(at).is_none_or(|(window, _)| *window != start) {
                let known = block.iter().position(|(window, _)| *window == start);
                at = known.unwrap_or_else(|| {
                    block.push((start, Table::default()));
                    block.len() - 1
                });
            }
            *block[at].1.entry(bid.auction) += 1;
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

    fn merge(&mut self, part: CountsPart) {
        let table = self.windows.entry(part.start_ms).or_default();
        for (key, count) in part.keys.iter().zip(&part.counts) {
            *table.entry(*key) += i64::from(*count);
        }
    }

    fn close(&mut self, watermark_ms: i64, outcome: &mut Outcome) {
        for (start_ms, table) in closed(&mut self.windows, watermark_ms) {
            let window = window_hash(start_ms);
            for (auction, count) in table.iter() {
                outcome.row(window.int(auction).int(*count));
            }
        }
    }
}

/// q7: window start, window end, highest price.
#[derive(Debug)]
pub(crate) struct HighestBid {
    scanner: BidScanner<{ bid::PRICE | bid::TIME }>,
    newest_ms: i64,
    windows: BTreeMap<i64, i64>,
}

impl Windowed for HighestBid {
    type Part = (i64, i64);

    fn new(parser: Parser) -> HighestBid {
        HighestBid {
            scanner: BidScanner::new(parser),
            newest_ms: 0,
            windows: BTreeMap::new(),
        }
    }

    fn read(
        &mut self,
        lines: &[u8],
        workers: usize,
        give: &mut dyn FnMut(usize, (i64, i64)),
    ) -> Result<Seen> {
        let HighestBid {
            scanner, newest_ms, ..
        } = self;
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
