//! The files that count as seen, in about 22 bytes each: sorted runs of fingerprints, no paths.

use super::records::{Fingerprint, SeenFile};

/// Files in a run at most. Adding one moves half a run, so runs are short.
const RUN_MAX: usize = 512;

/// Room is made for so many files at a time, not for twice as many as there are.
const ROOM_STEP: usize = 32;

/// A set of files by fingerprint.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// In order, none empty.
    runs: Vec<Vec<SeenFile>>,
    files: usize,
}

impl Seen {
    pub(super) fn len(&self) -> usize {
        self.files
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let files: usize = self.runs.iter().map(Vec::capacity).sum();
        files * size_of::<SeenFile>() + self.runs.capacity() * size_of::<Vec<SeenFile>>()
    }

    pub(super) fn contains(&self, fingerprint: Fingerprint) -> bool {
        self.run_of(fingerprint)
            .and_then(|run| self.runs.get(run))
            .is_some_and(|run| place(run, fingerprint).is_ok())
    }

    /// The run that a fingerprint belongs to; `None` if there is none yet.
    fn run_of(&self, fingerprint: Fingerprint) -> Option<usize> {
        let after = self.runs.partition_point(|run| {
            run.first()
                .is_some_and(|first| first.fingerprint <= fingerprint)
        });
        (!self.runs.is_empty()).then(|| after.saturating_sub(1))
    }

    /// Adds a file; one that is there already gets the new time.
    pub(super) fn insert(&mut self, file: SeenFile) {
        let at = self.run_of(file.fingerprint).unwrap_or_else(|| {
            self.runs.push(Vec::new());
            0
        });
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
                if run.len() == run.capacity() {
                    run.reserve_exact(ROOM_STEP);
                }
                run.insert(gap, file);
                self.files += 1;
                if run.len() > RUN_MAX {
                    let upper = run.split_off(RUN_MAX / 2);
                    run.shrink_to_fit();
                    self.runs.insert(at + 1, upper);
                }
            }
        }
    }

    /// Forgets the files that are older than an instant.
    pub(super) fn sweep(&mut self, horizon_ms: i64) {
        let before = std::mem::take(self);
        let kept = before.runs.into_iter().flatten();
        for file in kept.filter(|file| file.reaches(horizon_ms)) {
            match self.runs.last_mut() {
                Some(run) if run.len() < RUN_MAX * 3 / 4 => run.push(file),
                Some(_) | None => {
                    let mut run = Vec::with_capacity(RUN_MAX * 3 / 4);
                    run.push(file);
                    self.runs.push(run);
                }
            }
            self.files += 1;
        }
        if let Some(run) = self.runs.last_mut() {
            run.shrink_to_fit();
        }
    }

    /// All files, in order of their fingerprints.
    pub(super) fn iter(&self) -> impl Iterator<Item = SeenFile> {
        self.runs.iter().flatten().copied()
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

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((0..400_u32, 0..100_i64, 0..40_u8), 0..3_000)) {
            let mut seen = Seen::default();
            let mut model = BTreeMap::new();
            for (name, at_s, sweep) in steps {
                if sweep == 0 {
                    seen.sweep(at_s * 1_000);
                    model.retain(|_, mtime_s| *mtime_s >= at_s);
                } else {
                    let fingerprint = Fingerprint::of(&name.to_string());
                    seen.insert(SeenFile::new(fingerprint, at_s * 1_000));
                    model.insert(fingerprint, at_s);
                }
            }
            prop_assert_eq!(seen.len(), model.len());
            let expected = model.iter().map(|(key, at)| SeenFile::new(*key, at * 1_000));
            prop_assert!(seen.iter().eq(expected));
            for name in 0..400_u32 {
                let fingerprint = Fingerprint::of(&name.to_string());
                prop_assert_eq!(seen.contains(fingerprint), model.contains_key(&fingerprint));
            }
        }
    }

    #[test]
    fn a_file_takes_few_bytes() {
        let mut seen = Seen::default();
        for name in 0..200_000_u32 {
            seen.insert(SeenFile::new(Fingerprint::of(&name.to_string()), 5_000));
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
