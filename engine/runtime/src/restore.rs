//! State of all operators from a snapshot: what there is to read. Operators read it while they are made, piece
//! by piece, so that no more of a snapshot stands in memory than the piece at hand.

use std::{collections::BTreeMap, sync::Arc};

use millstream_epoch::{Disk, Manifest};
use millstream_operators::state::{Bucket, Seed};
use millstream_types::OperatorId;

use crate::pieces::OnDisk;

/// State by operator.
pub(crate) type Seeds = Arc<BTreeMap<OperatorId, Seed>>;

/// The state of all operators in a snapshot.
pub(crate) fn seeds(disk: &Arc<dyn Disk>, manifest: &Manifest) -> Seeds {
    let mut seeds: BTreeMap<OperatorId, Seed> = BTreeMap::new();
    for piece in &manifest.pieces {
        let seed = seeds
            .entry(OperatorId(piece.operator))
            .or_insert_with(|| Seed {
                epoch: manifest.epoch,
                pieces: BTreeMap::new(),
            });
        let of_bucket = seed.pieces.entry((piece.table, Bucket(piece.bucket)));
        of_bucket.or_default().push(Arc::new(OnDisk {
            disk: disk.clone(),
            piece: piece.clone(),
        }));
    }
    Arc::new(seeds)
}
