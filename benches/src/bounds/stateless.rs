//! q0, q1, q2: bids in, bids out. The sink gets columns, as it would from any engine.

use std::path::{Path, PathBuf};

use timely::Accountable;

use super::{
    bid::{self, BidScanner, Parser},
    flow::{Rows, stateless},
};
use crate::{
    checksum::{Outcome, RowHash},
    error::Result,
};

/// Texts one behind the other.
#[derive(Clone, Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    #[inline]
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let text = &self.bytes[start..*end];
            start = *end;
            text
        })
    }
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// All columns of bids.
#[derive(Clone, Debug, Default)]
struct Bids {
    auction: Vec<i64>,
    bidder: Vec<i64>,
    price: Vec<i64>,
    channel: Texts,
    url: Texts,
    time_ms: Vec<i64>,
    extra: Texts,
}

impl Accountable for Bids {
    fn record_count(&self) -> i64 {
        count(self.auction.len())
    }
}

impl Rows for Bids {
    fn drop_into(&self, outcome: &mut Outcome) {
        let texts = self.channel.iter().zip(self.url.iter());
        let texts = texts.zip(self.extra.iter());
        for (row, ((channel, url), extra)) in texts.enumerate() {
            let hash = RowHash::default()
                .int(self.auction[row])
                .int(self.bidder[row])
                .int(self.price[row])
                .text(channel)
                .text(url)
                .time_ms(self.time_ms[row])
                .text(extra);
            outcome.row(hash);
        }
    }
}

/// q0: auction, bidder, price, channel, url, time, extra.
pub(crate) fn q0(dir: &Path, workers: usize, parser: Parser) -> Result<Outcome> {
    const ALL: u8 = 127;
    stateless(bids(dir), workers, move || {
        let mut scanner = BidScanner::<ALL>::new(parser);
        move |block: &[u8], rows: &mut Bids| {
            scanner.scan(block, |bid| {
                rows.auction.push(bid.auction);
                rows.bidder.push(bid.bidder);
                rows.price.push(bid.price);
                rows.channel.push(bid.channel);
                rows.url.push(bid.url);
                rows.time_ms.push(bid.time_ms);
                rows.extra.push(bid.extra);
            })
        }
    })
}

/// Bids with their price in another currency, a decimal with three places.
#[derive(Clone, Debug, Default)]
struct Euros {
    auction: Vec<i64>,
    bidder: Vec<i64>,
    price: Vec<i128>,
    time_ms: Vec<i64>,
    extra: Texts,
}

impl Accountable for Euros {
    fn record_count(&self) -> i64 {
        count(self.auction.len())
    }
}

impl Rows for Euros {
    fn drop_into(&self, outcome: &mut Outcome) {
        for (row, extra) in self.extra.iter().enumerate() {
            let hash = RowHash::default()
                .int(self.auction[row])
                .int(self.bidder[row])
                .decimal(self.price[row])
                .time_ms(self.time_ms[row])
                .text(extra);
            outcome.row(hash);
        }
    }
}

/// q1: auction, bidder, 0.908 × price, time, extra.
pub(crate) fn q1(dir: &Path, workers: usize, parser: Parser) -> Result<Outcome> {
    const NEED: u8 = bid::AUCTION | bid::BIDDER | bid::PRICE | bid::TIME | bid::EXTRA;
    stateless(bids(dir), workers, move || {
        let mut scanner = BidScanner::<NEED>::new(parser);
        move |block: &[u8], rows: &mut Euros| {
            scanner.scan(block, |bid| {
                rows.auction.push(bid.auction);
                rows.bidder.push(bid.bidder);
                rows.price.push(i128::from(bid.price) * 908);
                rows.time_ms.push(bid.time_ms);
                rows.extra.push(bid.extra);
            })
        }
    })
}

/// Auctions and prices.
#[derive(Clone, Debug, Default)]
struct Prices(Vec<(i64, i64)>);

impl Accountable for Prices {
    fn record_count(&self) -> i64 {
        count(self.0.len())
    }
}

impl Rows for Prices {
    fn drop_into(&self, outcome: &mut Outcome) {
        for (auction, price) in &self.0 {
            outcome.row(RowHash::default().int(*auction).int(*price));
        }
    }
}

/// q2: auction, price where auction is a multiple of 123.
pub(crate) fn q2(dir: &Path, workers: usize, parser: Parser) -> Result<Outcome> {
    const NEED: u8 = bid::AUCTION | bid::PRICE;
    stateless(bids(dir), workers, move || {
        let mut scanner = BidScanner::<NEED>::new(parser);
        move |block: &[u8], rows: &mut Prices| {
            scanner.scan(block, |bid| {
                if bid.auction % 123 == 0 {
                    rows.0.push((bid.auction, bid.price));
                }
            })
        }
    })
}

/// The folder of the bids.
pub(crate) fn bids(dir: &Path) -> PathBuf {
    dir.join("bids")
}
