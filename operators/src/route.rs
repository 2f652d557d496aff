//! Routing by key: which rows of a delta go to which worker.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array, UInt64Array};
use timely::{
    communication::Push,
    dataflow::channels::{Message, pact::DistributorPact, pushers::exchange::Distributor},
    progress::Stamp,
};

use crate::{delta::Delta, keyhash::owner};

/// Sends each row to the owner of its key hash.
///
/// Rows must carry their hash (see [`Delta::with_hash`]); with one worker timely bypasses the
/// distributor, so nothing that must happen happens here. Deltas without a hash go to worker 0.
#[derive(Debug)]
pub struct KeyDistributor {
    rows_of: Vec<Vec<u32>>,
}

impl KeyDistributor {
    fn new(peers: usize) -> KeyDistributor {
        KeyDistributor {
            rows_of: vec![Vec::new(); peers],
        }
    }

    /// The single owner of all rows, if there is one: then the delta moves as it is.
    fn single_owner(hashes: &UInt64Array, peers: usize) -> Option<usize> {
        let first = owner(*hashes.values().first()?, peers);
        hashes
            .values()
            .iter()
            .all(|hash| owner(*hash, peers) == first)
            .then_some(first)
    }
}

impl Distributor<Delta> for KeyDistributor {
    fn partition<T: Clone, P: Push<Message<T, Delta>>>(
        &mut self,
        delta: &mut Delta,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        let peers = pushers.len();
        let delta = std::mem::take(delta);
        let mut send = |mut part: Delta, to: usize| {
            Message::push_at(&mut part, stamp.clone(), &mut pushers[to]);
        };
        let Some(hashes) = delta.hash().cloned() else {
            send(delta, 0);
            return;
        };
        if let Some(to) = KeyDistributor::single_owner(&hashes, peers) {
            send(delta, to);
            return;
        }
        self.rows_of.iter_mut().for_each(Vec::clear);
        for (row, hash) in (0u32..).zip(hashes.values()) {
            self.rows_of[owner(*hash, peers)].push(row);
        }
        for (to, rows) in self.rows_of.iter().enumerate() {
            if rows.is_empty() {
                continue;
            }
            let indices: ArrayRef = Arc::new(UInt32Array::from(rows.clone()));
            // Indices are row numbers of this delta, so only a broken array could fail; the
            // receiver stops the query then.
            let part = delta.take(&indices).unwrap_or_else(|_| Delta::damaged());
            debug_assert_eq!(part.rows(), indices.len());
            send(part, to);
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Delta>>>(
        &mut self,
        _stamp: &Stamp<T>,
        _pushers: &mut [P],
    ) {
        // Nothing is held back between calls: deltas are batches already.
    }
}

/// The pact of every exchange by key.
#[must_use]
pub fn by_key() -> DistributorPact<impl FnOnce(usize) -> KeyDistributor> {
    DistributorPact(KeyDistributor::new)
}
