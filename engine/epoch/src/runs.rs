//! Which runs of a bucket a snapshot merges into its own.
//!
//! What changed since the last snapshot is a run of its own, so that a snapshot costs what changed. Then a
//! bucket would have a run for each snapshot, most rows of which newer ones replace; so runs are merged with
//! newer ones that have about as many rows. A row is written again only when as many rows have come since, so
//! about as often as the number of snapshots doubles, and a bucket that does not change is never touched.
//!
//! Short runs wait until there are some of them: a window that closes after a minute is not worth it.
//!
//! Pure: sizes in, a number out. Tests: random lives below.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// How much a run holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunSize {
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// The limits of merging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunRule {
    /// So many runs are merged whatever their length.
    pub runs_min: usize,
    /// So many bytes are merged whatever the number of runs.
    pub bytes_min: u64,
}

impl Default for RunRule {
    fn default() -> RunRule {
        RunRule {
            runs_min: 4,
            bytes_min: 1 << 20,
        }
    }
}

/// How many runs of a bucket stay as they are, the oldest ones; the others become one. `runs` stand from
/// old to new, and the last is what the snapshot adds: it stays alone if no other is merged.
///
/// Of a bucket with more than `bytes_min` bytes all runs but the oldest have at most half of the rows of the
/// oldest, or there are fewer than `runs_min`.
#[must_use]
pub fn runs_kept(runs: &[RunSize], rule: &RunRule) -> usize {
    let mut kept = runs.len().saturating_sub(1);
    let (mut newer, mut count) = (RunSize::default(), 0usize);
    for (at, run) in runs.iter().enumerate().rev() {
        let is_much = run.rows >= newer.rows.saturating_mul(2);
        newer.rows = newer.rows.saturating_add(run.rows);
        newer.bytes = newer.bytes.saturating_add(run.bytes);
        count = count.saturating_add(1);
        let is_due = count >= rule.runs_min || newer.bytes >= rule.bytes_min;
        if count > 1 && !is_much && is_due {
            kept = at;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a test may panic"
    )]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const RULE: RunRule = RunRule {
        runs_min: 4,
        bytes_min: 1000,
    };

    fn size(keys: &BTreeSet<u32>) -> RunSize {
        RunSize {
            rows: keys.len() as u64,
            bytes: 10 * keys.len() as u64,
        }
    }

    /// Adds runs of keys one after another; gives what is held at the end and rows written in all.
    fn live(added: impl IntoIterator<Item = BTreeSet<u32>>) -> (Vec<BTreeSet<u32>>, u64) {
        let (mut runs, mut written): (Vec<BTreeSet<u32>>, u64) = (Vec::new(), 0);
        for new in added {
            runs.push(new);
            let sizes: Vec<RunSize> = runs.iter().map(size).collect();
            let merged = runs.split_off(runs_kept(&sizes, &RULE));
            let merged: BTreeSet<u32> = merged.into_iter().flatten().collect();
            written += merged.len() as u64;
            runs.push(merged);
        }
        (runs, written)
    }

    fn rows(runs: &[BTreeSet<u32>]) -> u64 {
        runs.iter().map(|run| run.len() as u64).sum()
    }

    proptest! {
        #[test]
        fn what_is_held_is_bounded_by_what_is_alive(
            sizes in prop::collection::vec(1u32..400, 1..200),
            keys in 1u32..2000,
            step in 1u32..5000,
        ) {
            let mut next = 0u32;
            let added = sizes.into_iter().map(|size| {
                let new = (0..size).map(|at| (next + at) % keys).collect();
                next = next.wrapping_add(step) % keys;
                new
            });
            let (runs, _) = live(added);
            let alive: BTreeSet<u32> = runs.iter().flatten().copied().collect();
            let short = RULE.bytes_min / 10;
            prop_assert!(rows(&runs) <= 2 * alive.len() as u64 + short, "{runs:?}");
            prop_assert!(runs.len() <= 2 + 4 * 12, "{}", runs.len());
        }
    }

    #[test]
    fn a_hot_key_does_not_grow_its_snapshot_for_ever() {
        let (runs, written) = live((0..1000).map(|_| BTreeSet::from([1])));
        assert!(runs.len() < RULE.runs_min);
        assert!(written < 2000, "{written}");
    }

    #[test]
    fn a_row_is_written_as_often_as_the_number_of_snapshots_doubles() {
        let (runs, written) = live((0..1000u32).map(|at| (at * 200..(at + 1) * 200).collect()));
        let all = rows(&runs);
        assert_eq!(all, 200_000);
        assert!(written < 10 * all, "{written}");
    }

    #[test]
    fn a_large_run_is_left_alone_while_little_changes() {
        let base: BTreeSet<u32> = (0..100_000).collect();
        let few = |at: u32| (at * 100..(at + 1) * 100).collect();
        let (runs, written) = live([base].into_iter().chain((0..400).map(few)));
        assert_eq!(runs[0].len(), 100_000);
        assert!(written < 100_000 + 40_000 * 10, "{written}");
    }
}
