//! State on its way to a snapshot: that it was asked for, and what workers handed over.

use millstream_operators::state::BucketChange;
use millstream_types::{Epoch, OperatorId, WorkerId};

/// State was asked for, as of the end of an epoch.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) epoch: Epoch,
    /// The cursors of the sources: behind this epoch, before the next.
    pub(crate) source_states: Vec<Vec<u8>>,
}

/// State that workers handed over after one epoch.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    pub(crate) changes: Vec<(WorkerId, OperatorId, BucketChange)>,
}

impl Captured {
    pub(crate) fn add(
        &mut self,
        worker: WorkerId,
        operator: OperatorId,
        changes: Vec<BucketChange>,
    ) {
        let changes = changes.into_iter();
        self.changes
            .extend(changes.map(|change| (worker, operator, change)));
    }
}
