//! The wire form of a [`Delta`]: what travels between processes, and between threads in tests.
//!
//! ```text
//! offset  size  field
//!      0     4  magic "MSD1"
//!      4     4  flags: bit 0 diff column present, bit 1 hash column, bit 2 origin column
//!      8     8  length of the body in bytes, little-endian
//!     16     4  crc32c of the first 16 bytes and the body, little-endian
//!     20     4  zero
//!     24     n  body: one Arrow IPC stream with one batch; diff, hash and origin are its last columns
//!   24+n   0-7  zeros up to a multiple of 8
//! ```
//!
//! The length is asked for before the bytes, and progress tracking counts rows, so the body is
//! encoded once and kept until it is written. Nothing here panics on foreign bytes: a frame that
//! cannot be read becomes a damaged delta, and the operator that receives it stops the query with
//! EXE-004. [INV-10]

use std::{cell::RefCell, io::Write, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, Int64Type, Schema, UInt64Type},
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use timely::{bytes::arc::Bytes, dataflow::channels::ContainerBytes};

use crate::delta::Delta;

const MAGIC: [u8; 4] = *b"MSD1";
const HEADER: usize = 24;
const DIFF: u32 = 1;
const HASH: u32 = 2;
const ORIGIN: u32 = 4;

thread_local! {
    /// The frame of the delta whose length was asked for last: timely asks for the length, then
    /// writes the same container on the same thread. Encoding twice would double the cost.
    static LAST: RefCell<Option<(usize, Vec<u8>)>> = const { RefCell::new(None) };
}

/// Identity of a delta's contents for the time between the two calls.
fn identity(delta: &Delta) -> usize {
    std::ptr::from_ref(delta).addr()
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(8)
}

/// Encodes a delta as one frame.
///
/// # Errors
/// When a column cannot be written as Arrow IPC.
pub fn encode(delta: &Delta) -> Result<Vec<u8>, ArrowError> {
    let batch = delta.batch();
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    let mut flags = 0;
    if let Some(diff) = delta.diff() {
        flags |= DIFF;
        fields.push(Arc::new(Field::new("__diff", DataType::Int64, false)));
        columns.push(Arc::new(diff.clone()));
    }
    if let Some(hash) = delta.hash() {
        flags |= HASH;
        fields.push(Arc::new(Field::new("__hash", DataType::UInt64, false)));
        columns.push(Arc::new(hash.clone()));
    }
    if let Some(origin) = delta.origin() {
        flags |= ORIGIN;
        fields.push(Arc::new(Field::new("__origin", DataType::UInt64, false)));
        columns.push(Arc::new(origin.clone()));
    }
    let schema = Arc::new(Schema::new_with_metadata(
        fields,
        batch.schema().metadata().clone(),
    ));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let whole = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
    let mut frame = vec![0; HEADER];
    {
        let mut writer = StreamWriter::try_new(&mut frame, &schema)?;
        writer.write(&whole)?;
        writer.finish()?;
    }
    let length = frame.len() - HEADER;
    frame[0..4].copy_from_slice(&MAGIC);
    frame[4..8].copy_from_slice(&u32::to_le_bytes(flags));
    frame[8..16].copy_from_slice(&(length as u64).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..16]), &frame[HEADER..]);
    frame[16..20].copy_from_slice(&crc.to_le_bytes());
    frame.resize(padded(frame.len()), 0);
    Ok(frame)
}

/// Decodes a frame; `None` if it is none of ours or damaged.
#[must_use]
pub fn decode(frame: &[u8]) -> Option<Delta> {
    let header = frame.get(..HEADER)?;
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(
            header.get(at..at.checked_add(4)?)?.try_into().ok()?,
        ))
    };
    if header.get(..4)? != MAGIC {
        return None;
    }
    let flags = word(4)?;
    let length = usize::try_from(u64::from_le_bytes(header.get(8..16)?.try_into().ok()?)).ok()?;
    let body = frame.get(HEADER..HEADER.checked_add(length)?)?;
    let seen = crc32c::crc32c_append(crc32c::crc32c(header.get(..16)?), body);
    if seen != word(16)? {
        return None;
    }
    let whole = StreamReader::try_new(body, None).ok()?.next()?.ok()?;
    split(&whole, flags)
}

/// Takes signs, hashes and origins off the end of the columns.
fn split(whole: &RecordBatch, flags: u32) -> Option<Delta> {
    let mut columns = whole.columns().to_vec();
    let origin = match flags & ORIGIN {
        0 => None,
        _ => Some(columns.pop()?.as_primitive_opt::<UInt64Type>()?.clone()),
    };
    let hash = match flags & HASH {
        0 => None,
        _ => Some(columns.pop()?.as_primitive_opt::<UInt64Type>()?.clone()),
    };
    let diff = match flags & DIFF {
        0 => None,
        _ => Some(columns.pop()?.as_primitive_opt::<Int64Type>()?.clone()),
    };
    let fields: Vec<_> = whole
        .schema()
        .fields()
        .iter()
        .take(columns.len())
        .cloned()
        .collect();
    let schema = Schema::new_with_metadata(fields, whole.schema().metadata().clone());
    let options = RecordBatchOptions::new().with_row_count(Some(whole.num_rows()));
    let batch = RecordBatch::try_new_with_options(Arc::new(schema), columns, &options).ok()?;
    if diff.as_ref().is_some_and(|diff| diff.null_count() > 0) {
        return None;
    }
    let delta = Delta::signed(batch, diff).with_origin(origin);
    Some(match hash {
        Some(hash) => delta.with_hash(hash),
        None => delta,
    })
}

impl ContainerBytes for Delta {
    fn from_bytes(bytes: Bytes) -> Self {
        decode(&bytes).unwrap_or_else(Delta::damaged)
    }

    fn length_in_bytes(&self) -> usize {
        // A batch that Arrow cannot write is sent as an empty frame, which the receiver refuses.
        let frame = encode(self).unwrap_or_else(|_| vec![0; HEADER]);
        let length = frame.len();
        LAST.with_borrow_mut(|last| *last = Some((identity(self), frame)));
        length
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        let kept = LAST.with_borrow_mut(Option::take);
        let frame = match kept {
            Some((of, frame)) if of == identity(self) => frame,
            _ => encode(self).unwrap_or_else(|_| vec![0; HEADER]),
        };
        // The writer is a slice of exactly the length that was announced.
        let written = writer.write_all(&frame);
        assert!(
            written.is_ok(),
            "the frame fits the space that its length asked for"
        );
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray, UInt64Array};

    use super::*;

    fn sample() -> Delta {
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("s", DataType::Utf8, true),
        ]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
            Arc::new(StringArray::from(vec![Some("a"), Some(""), None])),
        ];
        let batch = RecordBatch::try_new(schema, columns).expect("columns fit");
        Delta::signed(batch, Some(Int64Array::from(vec![1, -1, 1])))
            .with_hash(UInt64Array::from(vec![7, 8, 9]))
            .with_origin(Some(UInt64Array::from(vec![4, 5, 6])))
    }

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let delta = sample();
        let frame = encode(&delta).expect("encodes");
        assert_eq!(frame.len() % 8, 0);
        let back = decode(&frame).expect("decodes");
        assert_eq!(back.batch(), delta.batch());
        assert_eq!(back.diff(), delta.diff());
        assert_eq!(back.hash(), delta.hash());
        assert_eq!(back.origin(), delta.origin());
    }

    /// [INV-10] EXE-004: no byte from outside reaches a panic, and none passes unnoticed.
    #[test]
    fn every_damaged_byte_is_noticed() {
        let frame = encode(&sample()).expect("encodes");
        let body = frame.len() - 8;
        for at in (0..body).filter(|at| !(20..24).contains(at)) {
            let mut bad = frame.clone();
            bad[at] ^= 0x41;
            assert!(decode(&bad).is_none(), "byte {at} went unnoticed");
        }
        for length in 0..body {
            assert!(decode(&frame[..length]).is_none());
        }
    }
}
