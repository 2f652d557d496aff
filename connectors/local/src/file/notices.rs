//! What somebody should know and what ends nothing: counted by kind, said once.

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
}

#[derive(Debug)]
struct Count {
    count: u64,
    first: String,
    said: bool,
}

/// The counts of one source, its readers among those who count.
#[derive(Debug, Default)]
pub(super) struct Notices {
    counts: Mutex<BTreeMap<Kind, Count>>,
}

impl Notices {
    pub(super) fn count(&self, kind: Kind, path: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = counts.entry(kind).or_insert_with(|| Count {
            count: 0,
            first: path.to_owned(),
            said: false,
        });
        entry.count += 1;
    }

    /// What was not said yet.
    pub(super) fn take(&self) -> Vec<Fault> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let unsaid = counts.iter_mut().filter(|(_, count)| !count.said);
        unsaid
            .map(|(kind, count)| {
                count.said = true;
                kind.error(count.count, count.first.clone()).fault()
            })
            .collect()
    }
}

impl Kind {
    fn error(self, count: u64, path: String) -> ConnectorError {
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
        }
    }
}
