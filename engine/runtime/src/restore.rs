//! State of all operators from a snapshot.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, RecordBatch},
    ipc::reader::StreamReader,
};
use millstream_epoch::{Disk, Manifest, read_piece};
use millstream_operators::{aggregate::Seed, state::Bucket};
use millstream_types::OperatorId;

use crate::{error::RuntimeError, snapshot::fingerprint};

/// State by operator.
pub(crate) type Seeds = Arc<BTreeMap<OperatorId, Seed>>;

/// Reads the state of all operators from a snapshot.
pub(crate) fn restore(disk: &dyn Disk, manifest: &Manifest) -> Result<Seeds, RuntimeError> {
    let mut seeds: BTreeMap<OperatorId, Seed> = BTreeMap::new();
    for piece in &manifest.pieces {
        let bytes = read_piece(disk, piece)?;
        let batch = decode(&bytes).ok_or_else(|| RuntimeError::Contract {
            what: format!(
                "a state piece with a right checksum cannot be read pack={}",
                piece.pack
            ),
        })?;
        if fingerprint(&batch.schema()) != piece.schema_fingerprint {
            return Err(RuntimeError::Contract {
                what: format!(
                    "a state piece has other columns than announced pack={}",
                    piece.pack
                ),
            });
        }
        let seed = seeds
            .entry(OperatorId(piece.operator))
            .or_insert_with(|| Seed {
                epoch: manifest.epoch,
                pieces: BTreeMap::new(),
            });
        seed.pieces
            .entry((piece.table, Bucket(piece.bucket)))
            .or_default()
            .push(batch);
    }
    Ok(Arc::new(seeds))
}

fn decode(bytes: &[u8]) -> Option<RecordBatch> {
    let batch = StreamReader::try_new(bytes, None).ok()?.next()?.ok()?;
    batch
        .columns()
        .iter()
        .all(|column| column.to_data().validate_full().is_ok())
        .then_some(batch)
}
