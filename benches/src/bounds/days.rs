//! q15, q16, q17: statistics of a day. A day has no watermark that closes it, so all comes out at
//! the end, as from a query that emits the state of its groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    bid::{self, Bid, BidScanner, Parser},
    flow::{Groups, Inner, Scan, Seen},
    table::{Table, owner},
    time::write_time,
    words::Words,
};
use crate::{
    checksum::{Outcome, RowHash},
    error::Result,
    measure::float,
};

const DAY_MS: i64 = 86_400_000;

/// Which of three classes a price is in.
#[inline]
fn rank(price: i64) -> usize {
    usize::from(price >= 10_000) + usize::from(price >= 1_000_000)
}

/// All bids and those of each class of price.
type Totals = [i64; 4];

fn add(totals: &mut Totals, other: &Totals) {
    for (total, more) in totals.iter_mut().zip(other) {
        *total += more;
    }
}

fn hash_totals(hash: RowHash, totals: &Totals) -> RowHash {
    totals.iter().fold(hash, |hash, total| hash.int(*total))
}

/// `yyyy-MM-dd` and `HH:mm` of an instant.
fn day_and_minute(ms: i64) -> (Vec<u8>, Vec<u8>) {
    let mut text = Vec::new();
    write_time(&mut text, ms);
    (text[..10].to_vec(), text[11..16].to_vec())
}

/// The prices of an auction on a day.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Prices {
    totals: Totals,
    lowest: i64,
    highest: i64,
    sum: i64,
}

impl Prices {
    fn add(&mut self, other: &Prices) {
        let is_new = self.totals[0] == 0;
        self.lowest = if is_new {
            other.lowest
        } else {
            self.lowest.min(other.lowest)
        };
        self.highest = self.highest.max(other.highest);
        self.sum += other.sum;
        add(&mut self.totals, &other.totals);
    }
}

/// Day, and prices by auction.
pub(crate) type PricesPart = (i64, Vec<(i64, Prices)>);

/// q17 before the exchange.
#[derive(Debug)]
pub(crate) struct AuctionScan {
    scanner: BidScanner<{ bid::AUCTION | bid::PRICE | bid::TIME }>,
}

impl Scan for AuctionScan {
    type Part = PricesPart;

    fn new(parser: Parser) -> AuctionScan {
        AuctionScan {
            scanner: BidScanner::new(parser),
        }
    }

    fn read(
        &mut self,
        lines: &[u8],
        workers: usize,
        give: &mut dyn FnMut(usize, PricesPart),
    ) -> Result<Seen> {
        let mut days = BTreeMap::<i64, Table<Prices>>::new();
        let mut current = (i64::MIN, Table::<Prices>::default());
        let rows = self.scanner.scan(lines, |bid| {
            let day = bid.time_ms.div_euclid(DAY_MS);
            if day != current.0 {
                let next = (day, days.remove(&day).unwrap_or_default());
                let (before, table) = std::mem::replace(&mut current, next);
                days.insert(before, table);
            }
            let prices = current.1.entry(bid.auction);
            let mut totals = [1, 0, 0, 0];
            totals[1 + rank(bid.price)] = 1;
            prices.add(&Prices {
                totals,
                lowest: bid.price,
                highest: bid.price,
                sum: bid.price,
            });
        })?;
        days.insert(current.0, current.1);
        for (day, table) in days {
            let mut parts = vec![Vec::new(); workers];
            for (auction, prices) in table.iter() {
                parts[owner(auction, workers)].push((auction, *prices));
            }
            for (to, part) in parts.into_iter().enumerate() {
                if !part.is_empty() {
                    give(to, (day, part));
                }
            }
        }
        Ok(Seen { rows, newest_ms: 0 })
    }
}

/// q17: auction, day, numbers of bids, lowest, highest, average price and sum of prices.
#[derive(Debug, Default)]
pub(crate) struct AuctionDays {
    days: BTreeMap<i64, Table<Prices>>,
}

impl Groups for AuctionDays {
    type Part = PricesPart;

    fn merge(&mut self, (day, part): PricesPart) {
        let table = self.days.entry(day).or_default();
        for (auction, prices) in &part {
            table.entry(*auction).add(prices);
        }
    }

    fn close(&mut self, _watermark_ms: i64, outcome: &mut Outcome) {
        for (day, table) in std::mem::take(&mut self.days) {
            let (day, _) = day_and_minute(day * DAY_MS);
            for (auction, prices) in table.iter() {
                let number = |value: i64| float(value.unsigned_abs());
                let row = RowHash::default().int(auction).text(&day);
                let row = hash_totals(row, &prices.totals);
                let row = row.int(prices.lowest).int(prices.highest);
                let average = number(prices.sum) / number(prices.totals[0]);
                outcome.row(row.double(average).int(prices.sum));
            }
        }
    }
}

/// What a block says about a day: channels by their number here, and who bid how high.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DayPart {
    day: i64,
    /// Names one behind the other, their ends, bids and the last minute.
    names: Vec<u8>,
    ends: Vec<usize>,
    totals: Vec<(Totals, i64)>,
    /// Channel and bidder, and a bit for each class of price.
    bidders: Vec<(i64, u8)>,
    auctions: Vec<(i64, u8)>,
}

/// A channel and a person or auction as one number.
const CHANNEL_BITS: u32 = 40;

#[inline]
fn pair(channel: i64, id: i64) -> i64 {
    (channel << CHANNEL_BITS) | (id & ((1 << CHANNEL_BITS) - 1))
}

fn channel(pair: i64) -> usize {
    usize::try_from(pair >> CHANNEL_BITS).unwrap_or(usize::MAX)
}

/// A day of one block.
#[derive(Debug, Default)]
struct DayBlock {
    channels: Words,
    totals: Vec<(Totals, i64)>,
    bidders: Table<u8>,
    auctions: Table<u8>,
}

impl DayBlock {
    #[inline]
    fn add(&mut self, channel: &[u8], bid: &Bid<'_>) {
        let number = self.channels.number(channel);
        if number == self.totals.len() {
            self.totals.push(([0; 4], 0));
        }
        let (totals, minute) = &mut self.totals[number];
        totals[0] += 1;
        totals[1 + rank(bid.price)] += 1;
        *minute = (*minute).max(bid.time_ms.rem_euclid(DAY_MS) / 60_000);
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let bit = 1 << rank(bid.price);
        *self.bidders.entry(pair(number, bid.bidder)) |= bit;
        *self.auctions.entry(pair(number, bid.auction)) |= bit;
    }

    /// Pairs go to the owner of the person or auction; all get the names, one the totals.
    fn give(self, day: i64, workers: usize, give: &mut dyn FnMut(usize, DayPart)) {
        let mut parts = vec![DayPart::default(); workers];
        for name in self.channels.iter() {
            for part in &mut parts {
                part.names.extend_from_slice(name);
                part.ends.push(part.names.len());
            }
        }
        let id = |pair: i64| pair & ((1 << CHANNEL_BITS) - 1);
        for (pair, bits) in self.bidders.iter() {
            parts[owner(id(pair), workers)].bidders.push((pair, *bits));
        }
        for (pair, bits) in self.auctions.iter() {
            parts[owner(id(pair), workers)].auctions.push((pair, *bits));
        }
        if let Some(first) = parts.first_mut() {
            first.totals = self.totals;
        }
        for (to, mut part) in parts.into_iter().enumerate() {
            part.day = day;
            give(to, part);
        }
    }
}

/// q15 and q16 before the first exchange.
#[derive(Debug)]
pub(crate) struct DayScan<const BY_CHANNEL: bool> {
    scanner: BidScanner<{ bid::AUCTION | bid::BIDDER | bid::PRICE | bid::CHANNEL | bid::TIME }>,
}

impl<const BY_CHANNEL: bool> Scan for DayScan<BY_CHANNEL> {
    type Part = DayPart;

    fn new(parser: Parser) -> DayScan<BY_CHANNEL> {
        DayScan {
            scanner: BidScanner::new(parser),
        }
    }

    fn read(
        &mut self,
        lines: &[u8],
        workers: usize,
        give: &mut dyn FnMut(usize, DayPart),
    ) -> Result<Seen> {
        let mut days = BTreeMap::<i64, DayBlock>::new();
        let mut current = (i64::MIN, DayBlock::default());
        let rows = self.scanner.scan(lines, |bid| {
            let day = bid.time_ms.div_euclid(DAY_MS);
            if day != current.0 {
                let next = (day, days.remove(&day).unwrap_or_default());
                let (before, block) = std::mem::replace(&mut current, next);
                days.insert(before, block);
            }
            let channel = if BY_CHANNEL { bid.channel } else { b"" };
            current.1.add(channel, bid);
        })?;
        days.insert(current.0, current.1);
        for (day, block) in days {
            if !block.totals.is_empty() {
                block.give(day, workers, give);
            }
        }
        Ok(Seen { rows, newest_ms: 0 })
    }
}

/// A day as one owner knows it.
#[derive(Debug, Default)]
struct Day {
    channels: Words,
    totals: Vec<(Totals, i64)>,
    bidders: Table<u8>,
    auctions: Table<u8>,
}

impl Day {
    fn merge(&mut self, part: &DayPart) {
        let mut numbers = Vec::with_capacity(part.ends.len());
        let mut start = 0;
        for (place, end) in part.ends.iter().enumerate() {
            let number = self.channels.number(&part.names[start..*end]);
            start = *end;
            if number == self.totals.len() {
                self.totals.push(([0; 4], 0));
            }
            if let Some((totals, minute)) = part.totals.get(place) {
                add(&mut self.totals[number].0, totals);
                self.totals[number].1 = self.totals[number].1.max(*minute);
            }
            numbers.push(i64::try_from(number).unwrap_or(i64::MAX));
        }
        for (theirs, bits) in &part.bidders {
            let ours = pair(numbers[channel(*theirs)], *theirs);
            *self.bidders.entry(ours) |= bits;
        }
        for (theirs, bits) in &part.auctions {
            let ours = pair(numbers[channel(*theirs)], *theirs);
            *self.auctions.entry(ours) |= bits;
        }
    }
}

/// q15 and q16 between the exchanges: who bid how high on a day, of the persons and auctions of
/// one owner.
#[derive(Debug, Default)]
pub(crate) struct Days<const BY_CHANNEL: bool> {
    days: BTreeMap<i64, Day>,
}

/// Day, channel and what is known about it.
pub(crate) type DayRow = (i64, Vec<u8>, DayTotals);

/// Numbers of bids, bidders and auctions, and the last minute with a bid.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DayTotals {
    minute: i64,
    bids: Totals,
    bidders: Totals,
    auctions: Totals,
}

fn count(totals: &mut Totals, bits: u8) {
    totals[0] += 1;
    for rank in 0..3 {
        totals[1 + rank] += i64::from(bits >> rank & 1);
    }
}

impl<const BY_CHANNEL: bool> Inner for Days<BY_CHANNEL> {
    type Part = DayPart;
    type Outer = ChannelDays<BY_CHANNEL>;

    fn merge(&mut self, part: DayPart) {
        self.days.entry(part.day).or_default().merge(&part);
    }

    fn close(&mut self, _watermark_ms: i64, workers: usize, give: &mut dyn FnMut(usize, DayRow)) {
        for (number, day) in std::mem::take(&mut self.days) {
            let mut rows: Vec<DayTotals> = Vec::new();
            for (bids, minute) in &day.totals {
                rows.push(DayTotals {
                    minute: *minute,
                    bids: *bids,
                    ..DayTotals::default()
                });
            }
            for (pair, bits) in day.bidders.iter() {
                count(&mut rows[channel(pair)].bidders, *bits);
            }
            for (pair, bits) in day.auctions.iter() {
                count(&mut rows[channel(pair)].auctions, *bits);
            }
            for (name, row) in day.channels.iter().zip(rows) {
                let to = (u128::from(xxh3_64(name)) * workers as u128) >> 64;
                let to = usize::try_from(to).unwrap_or(0);
                give(to, (number, name.to_vec(), row));
            }
        }
    }
}

/// q15: day, bids, bidders, auctions, each with the numbers by class of price. q16: channel, day,
/// last minute, and the same.
#[derive(Debug, Default)]
pub(crate) struct ChannelDays<const BY_CHANNEL: bool> {
    rows: BTreeMap<(i64, Vec<u8>), DayTotals>,
}

impl<const BY_CHANNEL: bool> Groups for ChannelDays<BY_CHANNEL> {
    type Part = DayRow;

    fn merge(&mut self, (day, channel, more): DayRow) {
        let row = self.rows.entry((day, channel)).or_default();
        row.minute = row.minute.max(more.minute);
        add(&mut row.bids, &more.bids);
        add(&mut row.bidders, &more.bidders);
        add(&mut row.auctions, &more.auctions);
    }

    fn close(&mut self, _watermark_ms: i64, outcome: &mut Outcome) {
        for ((day, channel), row) in std::mem::take(&mut self.rows) {
            let (day, minute) = day_and_minute(day * DAY_MS + row.minute * 60_000);
            let hash = if BY_CHANNEL {
                RowHash::default().text(&channel).text(&day).text(&minute)
            } else {
                RowHash::default().text(&day)
            };
            let hash = hash_totals(hash, &row.bids);
            let hash = hash_totals(hash, &row.bidders);
            outcome.row(hash_totals(hash, &row.auctions));
        }
    }
}
