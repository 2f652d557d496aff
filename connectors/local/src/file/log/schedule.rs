//! Which entries of a log are compact, and which of those are kept. Facts in, decision out.
//!
//! Spark's readers learn the interval between compact entries from their names: with two or more it
//! is the distance of the newest two, with one a divisor of its number plus one, and compact is
//! whatever has a number that, plus one, the interval divides. With a fixed interval the log costs
//! more each time: after 6 000 epochs it had written fifteen times the output. So the interval
//! doubles as the log grows. An entry is then copied about [`COPIES_MAX`] times in its life, however
//! long the log; and a reader finds at most a part of its entries in files of their own.

/// Epochs between the compact entries of a young log, as in Spark.
const INTERVAL_MIN: u64 = 10;
/// Lines of a compact entry for each epoch of the interval, from which on the interval doubles. More
/// means fewer files and more copying.
const COPIES_MAX: u64 = 32;

/// The compact entries of a log that readers have to see, and what follows from their names.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Their epochs, in order.
    compacts: Vec<u64>,
}

impl Schedule {
    /// The schedule of a log with compact entries of these epochs, in order.
    pub(super) fn new(compacts: impl IntoIterator<Item = u64>) -> Schedule {
        Schedule {
            compacts: compacts.into_iter().collect(),
        }
    }

    /// The newest compact entry.
    pub(super) fn newest(&self) -> Option<u64> {
        self.compacts.last().copied()
    }

    /// Epochs from one compact entry to the next.
    pub(super) fn interval(&self) -> u64 {
        match self.compacts.as_slice() {
            [] => INTERVAL_MIN,
            [.., older, newest] if divides(newest - older, *newest) => newest - older,
            // A log that began late, or one of which only this entry is left.
            [.., newest] if divides(INTERVAL_MIN, *newest) => INTERVAL_MIN,
            [.., _] => 1,
        }
    }

    /// Whether the entry of `epoch`, which comes after `latest`, is compact.
    ///
    /// The first entry of a log that does not begin with epoch 0 is: a reader would look for a
    /// compact entry before it.
    pub(super) fn is_compact(&self, epoch: u64, latest: Option<u64>) -> bool {
        (latest.is_none() && epoch > 0) || divides(self.interval(), epoch)
    }

    /// The epoch of the next compact entry after the newest.
    pub(super) fn next(&self) -> u64 {
        let interval = self.interval();
        match self.newest() {
            Some(newest) => newest.saturating_add(interval),
            None => interval - 1,
        }
    }

    /// A compact entry of this many lines was added: gives the older compact entries that are to be
    /// removed, oldest first.
    ///
    /// Two are left. Which two says how far it is to the next: the last before this one, or the one
    /// before that, at twice the distance.
    pub(super) fn added(&mut self, epoch: u64, lines: u64) -> Vec<u64> {
        let interval = self.interval();
        let twice = interval.saturating_mul(2);
        let at = |distance: u64| {
            let older = epoch.checked_sub(distance)?;
            let is_there = self.compacts.contains(&older) && divides(distance, epoch);
            is_there.then_some(older)
        };
        let is_long = interval < INTERVAL_MIN || lines > interval.saturating_mul(COPIES_MAX);
        let kept = at(twice).filter(|_| is_long).or_else(|| at(interval));
        let removed: Vec<u64> = self.compacts.drain(..).collect();
        self.compacts.extend(kept);
        self.compacts.push(epoch);
        removed
            .into_iter()
            .filter(|old| Some(*old) != kept)
            .collect()
    }

    /// A compact entry is still there that was to be removed.
    pub(super) fn stays(&mut self, epoch: u64) {
        self.compacts.push(epoch);
        self.compacts.sort_unstable();
    }

    /// The first plain entry that a reader may be at, who saw the older one of the compact entries.
    pub(super) fn plain_from(&self) -> u64 {
        match self.compacts.as_slice() {
            [.., older, _] => older.saturating_add(1),
            [] | [_] => 0,
        }
    }
}

/// Whether `interval` makes the entry of `epoch` compact.
fn divides(interval: u64, epoch: u64) -> bool {
    epoch
        .checked_add(1)
        .and_then(|count| count.checked_rem(interval))
        == Some(0)
}
