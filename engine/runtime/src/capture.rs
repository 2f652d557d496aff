//! State on its way to a snapshot: that it was asked for, and what workers handed over.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use millstream_operators::state::{Addition, BucketChange};
use millstream_types::{Epoch, OperatorId, WorkerId};

use crate::pieces::PartKey;

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
    changes: Vec<(WorkerId, OperatorId, BucketChange)>,
}

/// What was handed over of a part.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) addition: Addition,
    pub(crate) rows: Vec<RecordBatch>,
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

    /// What was handed over of each part that there is. Where rows overwrite, all workers have one part: no
    /// key is in what two of them gave.
    pub(crate) fn parts(&self) -> BTreeMap<PartKey, Part> {
        let mut parts: BTreeMap<PartKey, Part> = BTreeMap::new();
        for (worker, operator, change) in &self.changes {
            let writer = match change.addition {
                Addition::Overwrites => None,
                Addition::AddsUp | Addition::Replaces => Some(*worker),
            };
            let part = parts.entry((*operator, change.table, change.bucket, writer));
            let part = part.or_insert_with(|| Part {
                addition: change.addition,
                rows: Vec::new(),
            });
            part.rows.extend(change.rows.iter().cloned());
        }
        parts
    }
}
