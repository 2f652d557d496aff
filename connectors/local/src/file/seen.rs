//! The files that count as seen, in about 22 bytes each: fingerprints in sorted runs, no paths.
//!
//! Fingerprints are evenly spread, so their first bits say which run they are in. There are twice as
//! many runs when they become long: adding a file moves half a run.

use super::records::{Fingerprint, SeenFile};

/// Files in a run on average, at most.
const RUN_MEAN: usize = 384;

/// Room is made for so many files at a time, not for twice as many as there are.
const ROOM_STEP: usize = 32;

/// A set of files by fingerprint.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// None, or a power of two: each holds the fingerprints that begin with its number.
    runs: Vec<Vec<SeenFile>>,
    files: usize,
}

impl Seen {
    /// A set of what `fill` adds, which is about `files` many.
    pub(super) fn filled<E>(
        files: usize,
        fill: impl FnOnce(&mut dyn FnMut(SeenFile)) -> Result<(), E>,
    ) -> Result<Seen, E> {
        let runs = files.div_ceil(RUN_MEAN).next_power_of_two();
        let mut seen = Seen {
            runs: vec![Vec::new(); runs],
            files: 0,
        };
        fill(&mut |file| {
            let at = seen.run_of(file.fingerprint);
            if let Some(run) = seen.runs.get_mut(at) {
                make_room(run);
                run.push(file);
            }
        })?;
        for run in &mut seen.runs {
            run.sort_unstable();
            // Of two times of a file the later one counts.
            run.reverse();
            run.dedup_by_key(|file| file.fingerprint);
            run.reverse();
            seen.files += run.len();
        }
        seen.thin_out();
        Ok(seen)
    }

    pub(super) fn len(&self) -> usize {
        self.files
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let files: usize = self.runs.iter().map(Vec::capacity).sum();
        files * size_of::<SeenFile>() + self.runs.capacity() * size_of::<Vec<SeenFile>>()
    }

    pub(super) fn get(&self, fingerprint: Fingerprint) -> Option<SeenFile> {
        let run = self.runs.get(self.run_of(fingerprint))?;
        run.get(place(run, fingerprint).ok()?).copied()
    }

    /// The run that a fingerprint belongs to.
    fn run_of(&self, fingerprint: Fingerprint) -> usize {
        match self.runs.len().checked_ilog2() {
            None | Some(0) => 0,
            Some(bits) => usize::try_from(fingerprint.first() >> (64 - bits)).unwrap_or(usize::MAX),
        }
    }

    /// Adds a file; one that is there already gets the new time.
    pub(super) fn insert(&mut self, file: SeenFile) {
        if self.runs.is_empty() {
            self.runs.push(Vec::new());
        } else if self.files >= self.runs.len() * RUN_MEAN {
            self.divide();
        }
        let at = self.run_of(file.fingerprint);
        let Some(run) = self.runs.get_mut(at) else {
            return;
        };
        match place(run, file.fingerprint) {
            Ok(there) => {
                if let Some(known) = run.get_mut(there) {
                    *known = file;
                }
            }
            Err(gap) => {
                make_room(run);
                run.insert(gap, file);
                self.files += 1;
            }
        }
    }

    /// Makes two runs of each.
    fn divide(&mut self) {
        let before = std::mem::take(&mut self.runs);
        let bits = before.len().ilog2() + 1;
        self.runs.reserve_exact(before.len() * 2);
        for mut lower in before {
            let next = |file: &SeenFile| file.fingerprint.first() >> (64 - bits) & 1;
            let upper = lower.split_off(lower.partition_point(|file| next(file) == 0));
            lower.shrink_to_fit();
            self.runs.push(lower);
            self.runs.push(upper);
        }
    }

    /// Makes one run of two while there are too many.
    fn thin_out(&mut self) {
        if self.files == 0 {
            *self = Seen::default();
        }
        while self.runs.len() > 1 && self.files < self.runs.len() * RUN_MEAN / 4 {
            let mut before = std::mem::take(&mut self.runs).into_iter();
            while let (Some(mut lower), Some(upper)) = (before.next(), before.next()) {
                lower.reserve_exact(upper.len());
                lower.extend(upper);
                self.runs.push(lower);
            }
            self.runs.shrink_to_fit();
        }
    }

    /// Forgets the files that are older than an instant.
    pub(super) fn sweep(&mut self, horizon_ms: i64) {
        self.files = 0;
        for run in &mut self.runs {
            run.retain(|file| file.reaches(horizon_ms));
            run.shrink_to_fit();
            self.files += run.len();
        }
        self.thin_out();
    }

    /// All files, in order of their fingerprints.
    pub(super) fn iter(&self) -> impl Iterator<Item = SeenFile> {
        self.runs.iter().flatten().copied()
    }
}

fn make_room(run: &mut Vec<SeenFile>) {
    if run.len() == run.capacity() {
        run.reserve_exact(ROOM_STEP);
    }
}

fn place(run: &[SeenFile], fingerprint: Fingerprint) -> Result<usize, usize> {
    run.binary_search_by(|file| file.fingerprint.cmp(&fingerprint))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::file::records::Stamp;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((0..4_000_u32, 0..100_i64, 0..400_u32), 0..6_000)) {
            let mut seen = Seen::default();
            let mut model = BTreeMap::new();
            for (name, at_s, sweep) in steps {
                if sweep == 0 {
                    seen.sweep(at_s * 1_000);
                    model.retain(|_, mtime_s| *mtime_s >= at_s);
                } else {
                    let fingerprint = Fingerprint::of(&name.to_string());
                    seen.insert(SeenFile::new(fingerprint, at_s * 1_000, Stamp::UNKNOWN));
                    model.insert(fingerprint, at_s);
                }
            }
            prop_assert_eq!(seen.len(), model.len());
            let again = Seen::filled(model.len() / 3, |add| {
                seen.iter().for_each(&mut *add);
                for file in seen.iter() {
                    add(file);
                }
                Ok::<(), ()>(())
            });
            prop_assert!(again.expect("filled").iter().eq(seen.iter()));
            let expected = model
                .iter()
                .map(|(key, at)| SeenFile::new(*key, at * 1_000, Stamp::UNKNOWN));
            prop_assert!(seen.iter().eq(expected));
            for name in 0..4_000_u32 {
                let fingerprint = Fingerprint::of(&name.to_string());
                prop_assert_eq!(
                    seen.get(fingerprint).is_some(),
                    model.contains_key(&fingerprint)
                );
            }
        }
    }

    #[test]
    fn a_file_takes_few_bytes() {
        let mut seen = Seen::default();
        for name in 0..200_000_u32 {
            let fingerprint = Fingerprint::of(&name.to_string());
            seen.insert(SeenFile::new(fingerprint, 5_000, Stamp::of(1, 2)));
        }
        let bytes = seen.bytes() / seen.len();
        assert!(bytes <= 24, "bytes={bytes}");
        seen.sweep(4_000);
        assert_eq!(seen.len(), 200_000);
        let bytes = seen.bytes() / seen.len();
        assert!(bytes <= 24, "bytes={bytes}");
        seen.sweep(6_000);
        assert_eq!((seen.len(), seen.bytes()), (0, 0));
    }
}
