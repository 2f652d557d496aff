//! The rows that all formats carry. This file is shared with the program that measures abomonation,
//! so it needs nothing but the generator and the standard library.

use nexmark::{EventGenerator, config::NexmarkConfig, event::Event};

/// Rows of a batch.
pub(crate) const BATCH_ROWS: usize = 8192;
const BATCHES: usize = 64;

/// A bid.
pub(crate) type BidRow = (i64, i64, i64, String, String, i64, String);

/// A group on its way to its owner: window, key, count.
pub(crate) type GroupRow = (i64, i64, i64);

/// What a row's values weigh and are.
pub(crate) trait Plain {
    /// Bytes of the values alone.
    fn bytes(&self) -> u64;
    /// A sum over the values.
    fn digest(&self) -> u64;
}

/// What a number adds to a digest.
pub(crate) fn number(value: i64) -> u64 {
    value.cast_unsigned()
}

/// What a text adds to a digest: its length and its last byte, so that the bytes are looked at.
pub(crate) fn text(value: &[u8]) -> u64 {
    value.len() as u64 + value.last().copied().map_or(0, u64::from)
}

impl Plain for BidRow {
    fn bytes(&self) -> u64 {
        32 + (self.3.len() + self.4.len() + self.6.len()) as u64
    }

    fn digest(&self) -> u64 {
        [self.0, self.1, self.2, self.5]
            .into_iter()
            .map(number)
            .chain([&self.3, &self.4, &self.6].map(|value| text(value.as_bytes())))
            .fold(0, u64::wrapping_add)
    }
}

impl Plain for GroupRow {
    fn bytes(&self) -> u64 {
        24
    }

    fn digest(&self) -> u64 {
        [self.0, self.1, self.2]
            .into_iter()
            .map(number)
            .fold(0, u64::wrapping_add)
    }
}

/// The digest of all rows.
pub(crate) fn digest<R: Plain>(batches: &[Vec<R>]) -> u64 {
    batches
        .iter()
        .flatten()
        .map(Plain::digest)
        .fold(0, u64::wrapping_add)
}

fn signed(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Batches of bids.
pub(crate) fn bids() -> Vec<Vec<BidRow>> {
    let config = NexmarkConfig {
        base_time: 1_600_000_000_000,
        ..NexmarkConfig::default()
    };
    let mut bids = EventGenerator::new(config).filter_map(|event| match event {
        Event::Bid(bid) => Some((
            signed(bid.auction),
            signed(bid.bidder),
            signed(bid.price),
            bid.channel,
            bid.url,
            i64::try_from(bid.date_time * 1000).unwrap_or(i64::MAX),
            bid.extra,
        )),
        Event::Auction(_) | Event::Person(_) => None,
    });
    (0..BATCHES)
        .map(|_| bids.by_ref().take(BATCH_ROWS).collect())
        .collect()
}

/// Batches of groups.
pub(crate) fn groups() -> Vec<Vec<GroupRow>> {
    let row = |batch: usize, row: usize| {
        let window = 1_600_000_000_000_000 + signed(batch) * 10_000_000;
        (window, signed(row * 7919 % 1_000_003), signed(row % 97 + 1))
    };
    (0..BATCHES)
        .map(|batch| (0..BATCH_ROWS).map(|at| row(batch, at)).collect())
        .collect()
}
