//! What somebody should know and what ends nothing: counted by kind, said once or, where each file
//! matters, by name up to a bound and then each time the count has doubled.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use millstream_connectors_api::ConnectorError;
use millstream_types::{Coded, Fault};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A pipe, a socket, a device.
    Special,
    /// A name that is not UTF-8.
    Unreadable,
    /// A link that leads back to where it is.
    Endless,
    /// Grew after it was planned.
    Grown,
    /// Planned and gone.
    Missing,
    /// Cannot be read to its end.
    Corrupt,
    /// Accepted though it changed.
    Accepted,
    /// Could not be archived or deleted.
    Kept,
    /// Grew, was cut or replaced after it was read.
    Changed,
    /// Came with a time so old that it counts as seen.
    TooOld,
    /// The directory that is read is gone.
    Gone,
    /// Still changed when what is read was fixed.
    Unsettled,
}

/// Files of a kind that are said by name, before only their count is said.
const NAMED_MAX: usize = 8;

#[derive(Debug, Default)]
struct Count {
    count: u64,
    /// How many were counted when it was said last.
    said: u64,
    first: String,
    /// The names since then, a few of them.
    names: Vec<String>,
}

/// The counts of one source, its readers among those who count.
#[derive(Debug, Default)]
pub(super) struct Notices {
    counts: Mutex<BTreeMap<Kind, Count>>,
}

impl Notices {
    pub(super) fn count(&self, kind: Kind, path: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = counts.entry(kind).or_default();
        if entry.count == 0 {
            path.clone_into(&mut entry.first);
        }
        if entry.names.len() < NAMED_MAX {
            entry.names.push(path.to_owned());
        }
        entry.count += 1;
    }

    /// What was not said yet.
    pub(super) fn take(&self) -> Vec<Fault> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let unsaid = counts
            .iter_mut()
            .filter(|(kind, count)| kind.is_due(count.count, count.said));
        unsaid
            .map(|(kind, count)| {
                count.said = count.count;
                kind.error(count).fault()
            })
            .collect()
    }

    /// The counts, for progress.
    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts.iter();
        counts
            .filter_map(|(kind, count)| Some((kind.metric()?, count.count)))
            .collect()
    }
}

impl Kind {
    /// Whether each file is counted once, so that the count says something.
    fn counts_files(self) -> bool {
        match self {
            Kind::Grown
            | Kind::Missing
            | Kind::Corrupt
            | Kind::Accepted
            | Kind::Kept
            | Kind::Changed
            | Kind::TooOld
            | Kind::Gone
            | Kind::Unsettled => true,
            Kind::Special | Kind::Unreadable | Kind::Endless => false,
        }
    }

    fn is_due(self, count: u64, said: u64) -> bool {
        if !self.counts_files() {
            return said == 0;
        }
        count > said && (count <= NAMED_MAX as u64 || count >= said.saturating_mul(2))
    }

    /// Its name in progress.
    fn metric(self) -> Option<&'static str> {
        Some(match self {
            Kind::Grown => "filesGrown",
            Kind::Missing => "filesMissing",
            Kind::Corrupt => "filesUnreadable",
            Kind::Kept => "filesNotCleaned",
            Kind::Changed => "filesChanged",
            Kind::TooOld => "filesTooOld",
            Kind::Unsettled => "filesUnsettled",
            Kind::Accepted | Kind::Gone | Kind::Special | Kind::Unreadable | Kind::Endless => {
                return None;
            }
        })
    }

    fn error(self, counted: &mut Count) -> ConnectorError {
        let count = counted.count;
        let names = std::mem::take(&mut counted.names);
        let path = if self.counts_files() && count <= NAMED_MAX as u64 {
            names.join(", ")
        } else {
            counted.first.clone()
        };
        let passed = |reason| ConnectorError::PassedOver {
            count,
            path: path.clone(),
            reason,
        };
        let other = |reason| ConnectorError::NotAsPlanned {
            count,
            path: path.clone(),
            reason,
        };
        match self {
            Kind::Special => passed("no regular file"),
            Kind::Unreadable => passed("the name is not UTF-8"),
            Kind::Endless => passed("links lead round in a circle, or it lies too deep"),
            Kind::Grown => other("grew after it was planned; what was added is not read"),
            Kind::Missing => other("is gone; nothing of it is read, as ignoreMissingFiles says"),
            Kind::Corrupt => {
                other("cannot be read to its end; the rest is left, as ignoreCorruptFiles says")
            }
            Kind::Accepted => other("was taken as it is, because the change was accepted"),
            Kind::Kept => ConnectorError::NotCleaned { count, path },
            Kind::Changed => {
                other("grew, was cut or replaced after it was read; what is new in it is not read")
            }
            Kind::TooOld => passed("older than the newest file by more than maxFileAge"),
            Kind::Gone => ConnectorError::InputGone { path },
            Kind::Unsettled => passed("still changing (settleTime); it is left for the next run"),
        }
    }
}
