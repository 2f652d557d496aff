//! q11: sessions of a bidder, rows that lie closer than ten seconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    bid::{self, BidScanner, Parser},
    flow::{Groups, Scan, Seen},
    table::{Table, owner},
};
use crate::{
    checksum::{Outcome, RowHash},
    error::Result,
};

const GAP_MS: i64 = 10_000;

/// Rows of one bidder that belong together.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Piece {
    first_ms: i64,
    last_ms: i64,
    bids: i64,
}

impl Piece {
    #[inline]
    fn touches(&self, other: &Piece) -> bool {
        other.first_ms < self.last_ms + GAP_MS && self.first_ms < other.last_ms + GAP_MS
    }

    #[inline]
    fn add(&mut self, other: &Piece) {
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.bids += other.bids;
    }
}

/// Pieces of one owner.
pub(crate) type Pieces = Vec<(i64, Piece)>;

/// q11 before the exchange.
#[derive(Debug)]
pub(crate) struct Bidders {
    scanner: BidScanner<{ bid::BIDDER | bid::TIME }>,
    newest_ms: i64,
}

impl Scan for Bidders {
    type Part = Pieces;

    fn new(parser: Parser) -> Bidders {
        Bidders {
            scanner: BidScanner::new(parser),
            newest_ms: 0,
        }
    }

    fn read(
        &mut self,
        lines: &[u8],
        workers: usize,
        give: &mut dyn FnMut(usize, Pieces),
    ) -> Result<Seen> {
        let Bidders { scanner, newest_ms } = self;
        let mut parts = vec![Pieces::new(); workers];
        let mut block = Table::<Piece>::default();
        let rows = scanner.scan(lines, |bid| {
            *newest_ms = (*newest_ms).max(bid.time_ms);
            let row = Piece {
                first_ms: bid.time_ms,
                last_ms: bid.time_ms,
                bids: 1,
            };
            let piece = block.entry(bid.bidder);
            if piece.bids > 0 && piece.touches(&row) {
                piece.add(&row);
            } else {
                let before = std::mem::replace(piece, row);
                if before.bids > 0 {
                    parts[owner(bid.bidder, workers)].push((bid.bidder, before));
                }
            }
        })?;
        for (bidder, piece) in block.iter() {
            parts[owner(bidder, workers)].push((bidder, *piece));
        }
        for (to, part) in parts.into_iter().enumerate() {
            give(to, part);
        }
        Ok(Seen {
            rows,
            newest_ms: *newest_ms,
        })
    }
}

/// q11: session start, session end, bidder, number of bids.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Open sessions of a bidder; nearly always one.
    open: Table<Vec<Piece>>,
    /// Bidders by the second at which a session of theirs may be over.
    ends: BTreeMap<i64, Vec<i64>>,
}

fn end_s(piece: &Piece) -> i64 {
    (piece.last_ms + GAP_MS + 999).div_euclid(1000)
}

impl Groups for Sessions {
    type Part = Pieces;

    fn merge(&mut self, part: Pieces) {
        for (bidder, mut piece) in part {
            let open = self.open.entry(bidder);
            while let Some(at) = open.iter().position(|other| other.touches(&piece)) {
                piece.add(&open.swap_remove(at));
            }
            open.push(piece);
            self.ends.entry(end_s(&piece)).or_default().push(bidder);
        }
    }

    fn close(&mut self, watermark_ms: i64, outcome: &mut Outcome) {
        let later = self
            .ends
            .split_off(&((watermark_ms + 999).div_euclid(1000) + 1));
        let due = std::mem::replace(&mut self.ends, later);
        for bidder in due.into_values().flatten() {
            let open = self.open.entry(bidder);
            open.retain(|piece| {
                let end_ms = piece.last_ms + GAP_MS;
                if end_ms > watermark_ms {
                    // Only in the second that the watermark is in; later ones have their place.
                    if end_s(piece) * 1000 < watermark_ms + 1000 {
                        self.ends.entry(end_s(piece)).or_default().push(bidder);
                    }
                    return true;
                }
                let session = RowHash::default().time_ms(piece.first_ms).time_ms(end_ms);
                outcome.row(session.int(bidder).int(piece.bids));
                false
            });
        }
    }
}
