//! Snapshots: pieces of state as bytes, and the set of pieces that is alive.
//!
//! A piece is one Arrow IPC stream with one batch. Encoding runs on the coordinator's thread, off
//! the workers; workers only hand over batches.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, RecordBatch},
    datatypes::Schema,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use millstream_epoch::{Disk, Manifest, PackWriter, Piece, checksum, read_piece};
use millstream_operators::{
    aggregate::Seed,
    state::{Bucket, BucketChange},
};
use millstream_types::OperatorId;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::RuntimeError;

/// Which pieces belong together: one worker's part of one bucket.
type PartKey = (OperatorId, u32, Bucket, usize);

/// The pieces of the newest snapshot.
#[derive(Debug, Default)]
pub(crate) struct LivePieces {
    parts: BTreeMap<PartKey, Vec<Piece>>,
}

/// State that workers handed over after one epoch.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    changes: Vec<(usize, OperatorId, BucketChange)>,
}

impl Captured {
    pub(crate) fn add(&mut self, worker: usize, operator: OperatorId, changes: Vec<BucketChange>) {
        self.changes
            .extend(changes.into_iter().map(|change| (worker, operator, change)));
    }
}

impl LivePieces {
    /// Writes what changed as one pack and says which pieces are alive now. Nothing is forgotten
    /// if it fails: the old set stays.
    pub(crate) fn write(
        &mut self,
        captured: Captured,
        packs: &PackWriter,
    ) -> Result<Vec<Piece>, RuntimeError> {
        let rows = captured.changes.iter();
        let rows = rows.filter_map(|(_, _, change)| change.rows.as_ref());
        // Room for all pieces at once: a vector that grows holds its bytes twice.
        let room = rows.map(RecordBatch::get_array_memory_size).sum();
        let mut body: Vec<u8> = Vec::with_capacity(room);
        let mut parts: BTreeMap<PartKey, Vec<Piece>> = BTreeMap::new();
        let mut fresh: Vec<PartKey> = Vec::new();
        for (worker, operator, change) in captured.changes {
            let key = (operator, change.table, change.bucket, worker);
            let mut pieces = if change.replaces {
                Vec::new()
            } else {
                self.parts.get(&key).cloned().unwrap_or_default()
            };
            if let Some(rows) = change.rows {
                pieces.push(encode(&key, &rows, &mut body)?);
                fresh.push(key);
            }
            parts.insert(key, pieces);
        }
        if !body.is_empty() {
            let name = packs.write(&body)?;
            for key in fresh {
                if let Some(piece) = parts.get_mut(&key).and_then(|pieces| pieces.last_mut()) {
                    name.as_str().clone_into(&mut piece.pack);
                }
            }
        }
        self.parts = parts;
        Ok(self.parts.values().flatten().cloned().collect())
    }
}

fn encode(key: &PartKey, rows: &RecordBatch, body: &mut Vec<u8>) -> Result<Piece, RuntimeError> {
    let offset = body.len();
    let contract = |error: arrow::error::ArrowError| RuntimeError::Contract {
        what: format!("a state piece cannot be written: {error}"),
    };
    let mut writer = StreamWriter::try_new(&mut *body, &rows.schema()).map_err(contract)?;
    writer.write(rows).map_err(contract)?;
    writer.finish().map_err(contract)?;
    drop(writer);
    let bytes = &body[offset..];
    Ok(Piece {
        operator: key.0.0,
        table: key.1,
        bucket: key.2.0,
        pack: String::new(),
        offset: offset as u64,
        len: bytes.len() as u64,
        rows: rows.num_rows() as u64,
        schema_fingerprint: fingerprint(&rows.schema()),
        crc: checksum(bytes),
    })
}

/// What columns a piece has, as a number.
fn fingerprint(schema: &Schema) -> u64 {
    let text: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| field.data_type().to_string())
        .collect();
    xxh3_64(text.join(",").as_bytes())
}

/// Reads the state of all operators from a snapshot.
pub(crate) fn restore(
    disk: &dyn Disk,
    manifest: &Manifest,
) -> Result<Arc<BTreeMap<OperatorId, Seed>>, RuntimeError> {
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
