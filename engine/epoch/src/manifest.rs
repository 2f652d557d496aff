//! What belongs to a snapshot.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use millstream_types::Epoch;

use crate::codec::{DecodeError, Kind, Reader, TooLong, Writer};

pub(crate) const MANIFEST: Kind = Kind {
    magic: *b"MSmf",
    version: 3,
    body_bytes_max: 1 << 28,
};

/// Version 1 had the range of key hashes in each piece; nobody ever wrote another range than all.
const VERSION_WITH_HASHES: u16 = 1;
const HASHES_BYTES: usize = 16;

/// Before this version pieces were in no runs, and what they held was another form of state.
const VERSION_WITH_RUNS: u16 = 3;

/// Bytes of a piece with an empty name.
const PIECE_BYTES_MIN: usize = 56;

/// Bytes in a pack: rows of one bucket of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The operator that owns the table.
    pub operator: u32,
    /// The table within the operator.
    pub table: u32,
    /// The bucket of event time within the table.
    pub bucket: i64,
    /// The file, such as `state/pack-3-0-17`.
    pub pack: String,
    /// Where the piece begins in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Its rows.
    pub rows: u64,
    /// Which run of its bucket it belongs to. For a key the piece of the greatest run that has it counts;
    /// 0 in manifests of earlier versions, where the pieces of a bucket add up.
    pub run: u64,
    /// What columns it has; a table with other columns refuses it.
    pub schema_fingerprint: u64,
    /// crc32c of its bytes.
    pub crc: u32,
}

/// The exact set of pieces that hold all state as of the end of one epoch. [INV-05]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The epoch after which the state was captured.
    pub epoch: Epoch,
    /// The generation that captured it.
    pub generation: u64,
    /// How many workers it had.
    pub workers: u32,
    /// The plan of the query.
    pub plan_fingerprint: u64,
    /// The state of the operators.
    pub pieces: Vec<Piece>,
    /// The cursor of each source, in the source's own format.
    pub source_states: Vec<Vec<u8>>,
    /// What the coordinator needs, such as the watermark; its own format.
    pub control: Vec<u8>,
}

impl Manifest {
    /// The bytes of the file, for the query of this id.
    pub(crate) fn encode(&self, query_id: &str) -> Result<Vec<u8>, TooLong> {
        let mut out = Writer::default();
        out.text(query_id);
        out.u64(self.epoch.0);
        out.u64(self.generation);
        out.u32(self.workers);
        out.u64(self.plan_fingerprint);
        out.count(self.pieces.len());
        for piece in &self.pieces {
            piece.write(&mut out);
        }
        out.count(self.source_states.len());
        for state in &self.source_states {
            out.bytes(state);
        }
        out.bytes(&self.control);
        MANIFEST.seal(&out.finish())
    }

    /// The query's id and the manifest that a file holds.
    ///
    /// # Errors
    /// For bytes that no writer writes.
    pub fn decode(bytes: &[u8]) -> Result<(String, Manifest), DecodeError> {
        let opened = MANIFEST.open_whole(bytes)?;
        let mut from = Reader::new(opened.body);
        let query_id = from.text("query id")?;
        let epoch = Epoch(from.u64()?);
        let generation = from.u64()?;
        let workers = from.u32()?;
        let plan_fingerprint = from.u64()?;
        let count = from.count(PIECE_BYTES_MIN)?;
        let mut pieces = Vec::with_capacity(count);
        for _ in 0..count {
            pieces.push(Piece::read(&mut from, opened.version)?);
        }
        let count = from.count(4)?;
        let mut source_states = Vec::with_capacity(count);
        for _ in 0..count {
            source_states.push(from.bytes()?.to_vec());
        }
        let control = from.bytes()?.to_vec();
        from.finish()?;
        let manifest = Manifest {
            epoch,
            generation,
            workers,
            plan_fingerprint,
            pieces,
            source_states,
            control,
        };
        Ok((query_id, manifest))
    }
}

impl Piece {
    fn write(&self, out: &mut Writer) {
        out.u32(self.operator);
        out.u32(self.table);
        out.i64(self.bucket);
        out.text(&self.pack);
        out.u64(self.offset);
        out.u64(self.len);
        out.u64(self.rows);
        out.u64(self.run);
        out.u64(self.schema_fingerprint);
        out.u32(self.crc);
    }

    fn read(from: &mut Reader<'_>, version: u16) -> Result<Piece, DecodeError> {
        let (operator, table, bucket) = (from.u32()?, from.u32()?, from.i64()?);
        let pack = from.text("pack")?;
        let (offset, len, rows) = (from.u64()?, from.u64()?, from.u64()?);
        if version == VERSION_WITH_HASHES {
            from.take(HASHES_BYTES)?;
        }
        let run = if version < VERSION_WITH_RUNS {
            0
        } else {
            from.u64()?
        };
        Ok(Piece {
            operator,
            table,
            bucket,
            pack,
            offset,
            len,
            rows,
            run,
            schema_fingerprint: from.u64()?,
            crc: from.u32()?,
        })
    }
}
