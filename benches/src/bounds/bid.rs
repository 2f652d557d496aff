//! Bids out of JSON lines, without a value tree: only the fields that a query needs are read.
//!
//! The scan takes fields in any order and is fast in the order in which they were written. It
//! knows what the generator writes (no blanks, no nulls, no escapes) and refuses everything else.

use memchr::{memchr, memchr_iter, memchr2};
use serde::Deserialize;

use super::time::{TIME_BYTES, TimeParser};
use crate::error::{BenchError, Result};

pub(crate) const AUCTION: u8 = 1;
pub(crate) const BIDDER: u8 = 2;
pub(crate) const PRICE: u8 = 4;
pub(crate) const CHANNEL: u8 = 8;
pub(crate) const URL: u8 = 16;
pub(crate) const TIME: u8 = 32;
pub(crate) const EXTRA: u8 = 64;

const KEYS: [&[u8]; 7] = [
    b"\"auction\":",
    b"\"bidder\":",
    b"\"price\":",
    b"\"channel\":",
    b"\"url\":",
    b"\"date_time\":",
    b"\"extra\":",
];

/// The fields of a bid; those that were not asked for are zero or empty.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bid<'a> {
    pub(crate) auction: i64,
    pub(crate) bidder: i64,
    pub(crate) price: i64,
    pub(crate) channel: &'a [u8],
    pub(crate) url: &'a [u8],
    pub(crate) time_ms: i64,
    pub(crate) extra: &'a [u8],
}

/// How lines become fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parser {
    /// The scan of this file.
    Hand,
    /// `serde_json` into a struct that borrows from the line: what most people write.
    Serde,
}

/// A line for `serde_json`.
#[derive(Deserialize)]
struct BidLine<'a> {
    auction: i64,
    bidder: i64,
    price: i64,
    channel: &'a str,
    url: &'a str,
    date_time: &'a str,
    extra: &'a str,
}

/// Reads the fields of the mask `NEED`.
#[derive(Debug)]
pub(crate) struct BidScanner<const NEED: u8> {
    parser: Parser,
    times: TimeParser,
}

impl<const NEED: u8> BidScanner<NEED> {
    pub(crate) fn new(parser: Parser) -> BidScanner<NEED> {
        BidScanner {
            parser,
            times: TimeParser::default(),
        }
    }

    /// Calls `each` for every line of a block; says how many there were.
    #[inline]
    pub(crate) fn scan<'a>(
        &mut self,
        block: &'a [u8],
        mut each: impl FnMut(&Bid<'a>),
    ) -> Result<u64> {
        if self.parser == Parser::Serde {
            return self.scan_with_serde(block, each);
        }
        let (mut at, mut lines) = (0, 0);
        while at < block.len() {
            let mut bid = Bid::default();
            at = self.line(block, at, &mut bid)?;
            each(&bid);
            lines += 1;
        }
        Ok(lines)
    }

    fn scan_with_serde<'a>(
        &mut self,
        block: &'a [u8],
        mut each: impl FnMut(&Bid<'a>),
    ) -> Result<u64> {
        let (mut start, mut lines) = (0, 0);
        for end in memchr_iter(b'\n', block) {
            let line: BidLine<'a> =
                serde_json::from_slice(&block[start..end]).map_err(|_| BenchError::Line {
                    what: "it is no bid",
                })?;
            let time = line.date_time.as_bytes().try_into();
            let time: &[u8; TIME_BYTES] = time.map_err(|_| BenchError::Line {
                what: "a timestamp has another length",
            })?;
            each(&Bid {
                auction: line.auction,
                bidder: line.bidder,
                price: line.price,
                channel: line.channel.as_bytes(),
                url: line.url.as_bytes(),
                time_ms: self.times.parse(time)?,
                extra: line.extra.as_bytes(),
            });
            start = end + 1;
            lines += 1;
        }
        Ok(lines)
    }

    /// Reads one line; returns where the next begins.
    #[inline]
    fn line<'a>(&mut self, block: &'a [u8], mut at: usize, bid: &mut Bid<'a>) -> Result<usize> {
        let mut missing = NEED;
        let mut expected = 0;
        loop {
            at += 1; // the brace or comma before the key
            let field = key(block, at, expected)?;
            expected = field + 1;
            at += KEYS[field].len();
            let mask = 1u8 << field;
            if mask & (AUCTION | BIDDER | PRICE) != 0 {
                let (value, end) = number(block, at)?;
                at = end;
                match mask {
                    AUCTION => bid.auction = value,
                    BIDDER => bid.bidder = value,
                    _ => bid.price = value,
                }
            } else if mask == TIME {
                let text = block.get(at + 1..).and_then(<[u8]>::first_chunk);
                let text: &[u8; TIME_BYTES] = text.ok_or(BenchError::Line {
                    what: "it ends within a timestamp",
                })?;
                if NEED & TIME != 0 {
                    bid.time_ms = self.times.parse(text)?;
                }
                at += TIME_BYTES + 2;
            } else {
                let (value, end) = text(block, at)?;
                at = end;
                match mask {
                    CHANNEL => bid.channel = value,
                    URL => bid.url = value,
                    _ => bid.extra = value,
                }
            }
            missing &= !mask;
            if missing == 0 {
                break;
            }
        }
        memchr(b'\n', &block[at..])
            .map(|end| at + end + 1)
            .ok_or(BenchError::Line {
                what: "it has no end",
            })
    }
}

/// Which key stands at a place; most often the one after the last.
#[inline]
fn key(block: &[u8], at: usize, expected: usize) -> Result<usize> {
    let rest = block.get(at..).unwrap_or_default();
    if KEYS.get(expected).is_some_and(|key| rest.starts_with(key)) {
        return Ok(expected);
    }
    KEYS.iter()
        .position(|key| rest.starts_with(key))
        .ok_or(BenchError::Line {
            what: "a field is missing or unknown",
        })
}

#[inline]
fn number(block: &[u8], mut at: usize) -> Result<(i64, usize)> {
    let start = at;
    let mut value = 0i64;
    while let Some(byte) = block.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
        at += 1;
    }
    if at == start || at - start > 18 {
        return Err(BenchError::Line {
            what: "a number has no digits or too many",
        });
    }
    Ok((value, at))
}

#[inline]
fn text(block: &[u8], at: usize) -> Result<(&[u8], usize)> {
    let rest = block.get(at + 1..).unwrap_or_default();
    match memchr2(b'"', b'\\', rest) {
        Some(end) if rest[end] == b'"' => Ok((&rest[..end], at + end + 2)),
        _ => Err(BenchError::Line {
            what: "text with an escape or without an end",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parsers_find_fields_in_any_order() {
        let lines = concat!(
            "{\"auction\":1000,\"bidder\":7,\"price\":19,\"channel\":\"Apple\",\"url\":\"u/1\",",
            "\"date_time\":\"2020-09-13 12:26:40.123\",\"extra\":\"\"}\n",
            "{\"extra\":\"x\",\"date_time\":\"2020-09-13 12:26:41.000\",\"price\":3,",
            "\"auction\":5,\"url\":\"\",\"channel\":\"c\",\"bidder\":8}\n",
        );
        for parser in [Parser::Hand, Parser::Serde] {
            let mut seen = Vec::new();
            let mut scanner = BidScanner::<{ AUCTION | TIME | EXTRA }>::new(parser);
            let rows = scanner.scan(lines.as_bytes(), |bid| {
                seen.push((bid.auction, bid.time_ms, bid.extra.to_vec()));
            });
            assert_eq!(rows.expect("scans"), 2);
            assert_eq!(
                seen,
                [
                    (1000, 1_600_000_000_123, Vec::new()),
                    (5, 1_600_000_001_000, b"x".to_vec())
                ]
            );
            let broken = b"{\"auction\":\"a\"}\n";
            assert!(scanner.scan(broken, |_| {}).is_err());
        }
    }
}
