//! Pieces of state as bytes: one Arrow IPC stream, whose batches follow each other.

use std::sync::Arc;

use arrow::{
    array::{Array, RecordBatch},
    compute::concat_batches,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use millstream_epoch::{Disk, PackFile, PackWriter, Piece, checksum, read_piece};
use millstream_operators::{
    delta::BATCH_ROWS_MAX,
    error::OperatorError,
    state::{Bucket, StoredPiece},
};
use millstream_types::{OperatorId, WorkerId};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::RuntimeError;

/// Which pieces belong together: a bucket of a table, and who wrote them where they add up.
pub(crate) type PartKey = (OperatorId, u32, Bucket, Option<WorkerId>);

/// Bytes of rows that become one piece; a batch alone may be longer. A piece is encoded, written and read
/// whole.
#[cfg(not(test))]
const PIECE_BYTES_MAX: usize = 32 << 20;
/// So low that the tests of this crate reach it.
#[cfg(test)]
const PIECE_BYTES_MAX: usize = 4000;

/// Bytes of rows that become one batch: a column of text has 31 bits for its length.
#[cfg(not(test))]
const BATCH_BYTES_MAX: usize = 4 << 20;
#[cfg(test)]
const BATCH_BYTES_MAX: usize = 1000;

/// A piece of a pack.
#[derive(Clone, Debug)]
pub(crate) struct OnDisk {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) piece: Piece,
}

impl StoredPiece for OnDisk {
    fn run(&self) -> u64 {
        self.piece.run
    }

    fn read(&self) -> Result<Vec<RecordBatch>, OperatorError> {
        self.batches().map_err(RuntimeError::of_state)
    }
}

impl OnDisk {
    fn batches(&self) -> Result<Vec<RecordBatch>, RuntimeError> {
        let bytes = read_piece(self.disk.as_ref(), &self.piece)?;
        let contract = |what: &str| RuntimeError::Contract {
            what: format!("a state piece {what} pack={}", self.piece.pack),
        };
        let (schema, batches) =
            decode(&bytes).ok_or_else(|| contract("with a right checksum cannot be read"))?;
        if fingerprint(&schema) != self.piece.schema_fingerprint {
            return Err(contract("has other columns than announced"));
        }
        Ok(batches)
    }
}

fn decode(bytes: &[u8]) -> Option<(SchemaRef, Vec<RecordBatch>)> {
    let reader = StreamReader::try_new(bytes, None).ok()?;
    let schema = reader.schema();
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>().ok()?;
    let columns = batches.iter().flat_map(RecordBatch::columns);
    columns
        .into_iter()
        .all(|column| column.to_data().validate_full().is_ok())
        .then_some((schema, batches))
}

/// What workers handed over of a bucket.
#[derive(Debug)]
pub(crate) struct InMemory {
    pub(crate) run: u64,
    pub(crate) rows: Vec<RecordBatch>,
}

impl StoredPiece for InMemory {
    fn run(&self) -> u64 {
        self.run
    }

    fn read(&self) -> Result<Vec<RecordBatch>, OperatorError> {
        Ok(self.rows.clone())
    }
}

/// Bytes of the values of a batch, whatever else its buffers hold.
pub(crate) fn value_bytes(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    let bytes = columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
    bytes.sum()
}

/// The pack of a snapshot, which the first piece begins.
pub(crate) struct SnapshotPack<'a> {
    packs: &'a PackWriter,
    file: Option<PackFile>,
}

impl<'a> SnapshotPack<'a> {
    pub(crate) fn new(packs: &'a PackWriter) -> SnapshotPack<'a> {
        SnapshotPack { packs, file: None }
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.file.as_ref().map_or(0, PackFile::len)
    }

    fn begun(&mut self) -> Result<&mut PackFile, RuntimeError> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.packs.begin()?,
        };
        Ok(self.file.insert(file))
    }

    /// Copies a piece of another pack.
    pub(crate) fn copy(&mut self, piece: &Piece) -> Result<Piece, RuntimeError> {
        Ok(self.begun()?.copy_piece(piece)?)
    }

    /// Encodes some batches as a piece.
    fn append(
        &mut self,
        (key, run): (&PartKey, u64),
        batches: &[RecordBatch],
    ) -> Result<Piece, RuntimeError> {
        let contract = |error: ArrowError| RuntimeError::Contract {
            what: format!("a state piece cannot be written: {error}"),
        };
        let Some(first) = batches.first() else {
            return Err(RuntimeError::Contract {
                what: "a state piece without rows".to_owned(),
            });
        };
        let mut bytes = Vec::with_capacity(batches.iter().map(value_bytes).sum());
        let mut writer = StreamWriter::try_new(&mut bytes, &first.schema()).map_err(contract)?;
        for batch in batches {
            writer.write(batch).map_err(contract)?;
        }
        writer.finish().map_err(contract)?;
        drop(writer);
        let pack = self.begun()?;
        let offset = pack.append(&bytes)?;
        Ok(Piece {
            operator: key.0.0,
            table: key.1,
            bucket: key.2.0,
            pack: pack.path().to_string(),
            offset,
            len: bytes.len() as u64,
            rows: batches.iter().map(|batch| batch.num_rows() as u64).sum(),
            run,
            schema_fingerprint: fingerprint(&first.schema()),
            crc: checksum(&bytes),
        })
    }

    /// Makes it durable, if there is anything in it.
    pub(crate) fn finish(self) -> Result<(), RuntimeError> {
        if let Some(file) = self.file {
            file.finish()?;
        }
        Ok(())
    }
}

/// Writes a run of a bucket: small batches become larger ones, and as many of those as one piece may hold
/// are one.
pub(crate) struct RunWriter<'a, 'b> {
    pack: &'a mut SnapshotPack<'b>,
    key: PartKey,
    run: u64,
    /// Small batches that become one.
    small: Vec<RecordBatch>,
    small_rows: usize,
    small_bytes: usize,
    /// Batches of the piece that is begun.
    batches: Vec<RecordBatch>,
    bytes: usize,
    written: Vec<Piece>,
}

impl<'a, 'b> RunWriter<'a, 'b> {
    pub(crate) fn new(pack: &'a mut SnapshotPack<'b>, key: PartKey, run: u64) -> RunWriter<'a, 'b> {
        RunWriter {
            pack,
            key,
            run,
            small: Vec::new(),
            small_rows: 0,
            small_bytes: 0,
            batches: Vec::new(),
            bytes: 0,
            written: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, batch: RecordBatch) -> Result<(), RuntimeError> {
        let (rows, bytes) = (batch.num_rows(), value_bytes(&batch));
        if self.small_rows + rows > BATCH_ROWS_MAX || self.small_bytes + bytes > BATCH_BYTES_MAX {
            self.join()?;
        }
        self.small.push(batch);
        self.small_rows += rows;
        self.small_bytes += bytes;
        Ok(())
    }

    /// Makes one batch of the small ones.
    fn join(&mut self) -> Result<(), RuntimeError> {
        let small = std::mem::take(&mut self.small);
        let bytes = std::mem::take(&mut self.small_bytes);
        self.small_rows = 0;
        let batch = match small.as_slice() {
            [] => return Ok(()),
            [batch] => batch.clone(),
            [first, ..] => {
                concat_batches(&first.schema(), &small).map_err(|error| RuntimeError::Contract {
                    what: format!("state pieces cannot be joined: {error}"),
                })?
            }
        };
        if self.bytes + bytes > PIECE_BYTES_MAX {
            self.write()?;
        }
        self.bytes += bytes;
        self.batches.push(batch);
        Ok(())
    }

    fn write(&mut self) -> Result<(), RuntimeError> {
        let batches = std::mem::take(&mut self.batches);
        self.bytes = 0;
        if !batches.is_empty() {
            let piece = self.pack.append((&self.key, self.run), &batches)?;
            self.written.push(piece);
        }
        Ok(())
    }

    /// The pieces that were written.
    pub(crate) fn finish(mut self) -> Result<Vec<Piece>, RuntimeError> {
        self.join()?;
        self.write()?;
        Ok(self.written)
    }
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

#[cfg(test)]
mod tests {
    use arrow::{
        array::{AsArray, StringArray},
        datatypes::{DataType, Field},
    };
    use millstream_epoch::{RelPath, sim::SimDisk};
    use proptest::prelude::*;

    use super::*;

    fn batch(texts: &[String]) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("key0", DataType::Utf8, true)]);
        let texts = StringArray::from_iter_values(texts);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(texts)]).expect("columns fit")
    }

    proptest! {
        /// What is written comes back in its order, in pieces and batches of bounded length.
        #[test]
        fn a_run_comes_back(
            lengths in prop::collection::vec(prop::collection::vec(0usize..300, 1..20), 0..30),
        ) {
            let disk = SimDisk::new();
            let dir = RelPath::new("state").expect("a good path");
            disk.create_dir_all(&dir).expect("a good disk");
            let disk: Arc<dyn Disk> = Arc::new(disk);
            let packs = PackWriter::new(Arc::clone(&disk), 1, 1);
            let mut pack = SnapshotPack::new(&packs);
            let key = (OperatorId(1), 2, Bucket(-3), None);
            let mut writer = RunWriter::new(&mut pack, key, 9);
            let mut expected = Vec::new();
            for lengths in lengths {
                let texts = lengths.iter().map(|length| format!("{length}").repeat(*length));
                let texts: Vec<String> = texts.collect();
                writer.add(batch(&texts)).expect("a good disk");
                expected.extend(texts);
            }
            let pieces = writer.finish().expect("a good disk");
            pack.finish().expect("a good disk");
            let rows: u64 = pieces.iter().map(|piece| piece.rows).sum();
            prop_assert_eq!(rows, expected.len() as u64);
            let mut found = Vec::new();
            for piece in pieces {
                prop_assert_eq!((piece.run, piece.bucket), (9, -3));
                let disk = disk.clone();
                let batches = OnDisk { disk, piece }.read().expect("what was written");
                let bytes: Vec<usize> = batches.iter().map(value_bytes).collect();
                prop_assert!(bytes.len() == 1 || bytes.iter().sum::<usize>() <= PIECE_BYTES_MAX);
                for batch in &batches {
                    let texts = batch.column(0).as_string::<i32>().iter().flatten();
                    found.extend(texts.map(str::to_owned));
                }
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_piece_that_is_not_what_was_announced_is_refused() {
        let disk = SimDisk::new();
        let dir = RelPath::new("state").expect("a good path");
        disk.create_dir_all(&dir).expect("a good disk");
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let packs = PackWriter::new(Arc::clone(&disk), 1, 1);
        let mut pack = SnapshotPack::new(&packs);
        let key = (OperatorId(1), 2, Bucket(0), None);
        let mut writer = RunWriter::new(&mut pack, key, 1);
        writer.add(batch(&["a".to_owned()])).expect("a good disk");
        let piece = writer.finish().expect("a good disk").remove(0);
        pack.finish().expect("a good disk");
        let code = |piece: Piece| {
            let disk = Arc::clone(&disk);
            let error = OnDisk { disk, piece }.read().expect_err("refused");
            millstream_types::Coded::code(&error).0
        };
        let other = Piece {
            schema_fingerprint: 0,
            ..piece.clone()
        };
        assert_eq!(code(other), "EXE-003");
        assert_eq!(code(Piece { crc: 0, ..piece }), "CKP-001");
    }
}
