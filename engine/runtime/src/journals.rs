//! Journals of sources, as the checkpoint keeps them.

use std::{
    io,
    ops::{ControlFlow, Range},
    sync::Arc,
};

use millstream_connectors_api::{ConnectorError, Flow, Journal, Journals};
use millstream_epoch::EpochError;
use millstream_types::{Coded, SourceId};

use crate::log::Log;

/// The journals of one source in a checkpoint.
pub(crate) struct CheckpointJournals {
    log: Arc<Log>,
    source: SourceId,
}

impl CheckpointJournals {
    pub(crate) fn new(log: Arc<Log>, source: SourceId) -> CheckpointJournals {
        CheckpointJournals { log, source }
    }
}

impl Journals for CheckpointJournals {
    fn open(&self, name: &'static str) -> Result<Arc<dyn Journal>, ConnectorError> {
        let journal = self.log.store().journal(self.source.0, name);
        Ok(Arc::new(CheckpointJournal(
            journal.map_err(|error| told(&error))?,
        )))
    }
}

/// One of them.
struct CheckpointJournal(millstream_epoch::Journal);

impl Journal for CheckpointJournal {
    fn entries(&self) -> Range<u64> {
        self.0.entries()
    }

    fn append(
        &self,
        entries: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<Range<u64>, ConnectorError> {
        self.0.append(entries).map_err(|error| told(&error))
    }

    fn read(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(u64, &[u8]) -> Flow,
    ) -> Result<(), ConnectorError> {
        let mut taken = |number, entry: &[u8]| match take(number, entry) {
            Flow::More => ControlFlow::Continue(()),
            Flow::Stop => ControlFlow::Break(()),
        };
        self.0.read(range, &mut taken).map_err(|error| told(&error))
    }

    fn truncate(&self, end: u64) -> Result<(), ConnectorError> {
        self.0.truncate(end).map_err(|error| told(&error))
    }

    fn forget(&self, start: u64) -> Result<(), ConnectorError> {
        self.0.forget(start).map_err(|error| told(&error))
    }
}

/// What the checkpoint says, in the words of connectors.
fn told(error: &EpochError) -> ConnectorError {
    if error.is_disk_full() {
        return ConnectorError::Io {
            action: "append to a journal in",
            path: "the checkpoint".to_owned(),
            source: io::Error::from(io::ErrorKind::StorageFull),
        };
    }
    if let EpochError::Disk { source, .. } = error
        && error.is_refused()
    {
        return ConnectorError::Io {
            action: "write a journal in",
            path: "the checkpoint".to_owned(),
            source: io::Error::from(source.kind()),
        };
    }
    ConnectorError::Journal(error.fault())
}
