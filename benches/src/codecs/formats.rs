//! The formats: Millstream's frames, a bare Arrow IPC stream, bincode, columnar.

use std::{hint::black_box, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Int64Type, Schema},
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use columnar::{Columnar, ContainerOf, Index, Len, bytes::stash::Stash};
use millstream_operators::{delta::Delta, wire};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Figures,
    rows::{BidRow, GroupRow, Plain, number, text},
};
use crate::{
    error::{BenchError, Result},
    measure::thread_cpu_s,
};

/// Times every batch is encoded and decoded.
const ROUNDS: usize = 9;

/// A row that all formats can carry.
pub(crate) trait Row: Plain + Serialize + DeserializeOwned + Columnar + Sized {
    /// Names and types of the columns.
    const COLUMNS: &'static [(&'static str, DataType)];

    /// Rows as Arrow columns.
    fn columns(batch: &[Self]) -> Vec<ArrayRef>;

    /// The digest of a columnar reference to a row.
    fn reference_digest(row: columnar::Ref<'_, Self>) -> u64;
}

fn numbers<R>(batch: &[R], value: impl Fn(&R) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(batch.iter().map(value)))
}

fn texts<R>(batch: &[R], value: impl Fn(&R) -> &str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(batch.iter().map(value)))
}

impl Row for BidRow {
    const COLUMNS: &'static [(&'static str, DataType)] = &[
        ("auction", DataType::Int64),
        ("bidder", DataType::Int64),
        ("price", DataType::Int64),
        ("channel", DataType::Utf8),
        ("url", DataType::Utf8),
        ("date_time", DataType::Int64),
        ("extra", DataType::Utf8),
    ];

    fn columns(batch: &[BidRow]) -> Vec<ArrayRef> {
        vec![
            numbers(batch, |row| row.0),
            numbers(batch, |row| row.1),
            numbers(batch, |row| row.2),
            texts(batch, |row| &row.3),
            texts(batch, |row| &row.4),
            numbers(batch, |row| row.5),
            texts(batch, |row| &row.6),
        ]
    }

    fn reference_digest(row: columnar::Ref<'_, BidRow>) -> u64 {
        [row.0, row.1, row.2, row.5]
            .into_iter()
            .map(|value| number(*value))
            .chain([row.3, row.4, row.6].map(text))
            .fold(0, u64::wrapping_add)
    }
}

impl Row for GroupRow {
    const COLUMNS: &'static [(&'static str, DataType)] = &[
        ("window", DataType::Int64),
        ("key", DataType::Int64),
        ("count", DataType::Int64),
    ];

    fn columns(batch: &[GroupRow]) -> Vec<ArrayRef> {
        vec![
            numbers(batch, |row| row.0),
            numbers(batch, |row| row.1),
            numbers(batch, |row| row.2),
        ]
    }

    fn reference_digest(row: columnar::Ref<'_, GroupRow>) -> u64 {
        number(*row.0)
            .wrapping_add(number(*row.1))
            .wrapping_add(number(*row.2))
    }
}

fn record_batch<R: Row>(batch: &[R]) -> Result<RecordBatch> {
    let fields: Vec<Field> = R::COLUMNS
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    Ok(RecordBatch::try_new(schema, R::columns(batch))?)
}

fn batch_digest(batch: &RecordBatch) -> u64 {
    let column = |column: &ArrayRef| -> u64 {
        match column.as_primitive_opt::<Int64Type>() {
            Some(numbers) => (numbers.values().iter())
                .map(|value| number(*value))
                .fold(0, u64::wrapping_add),
            None => (column.as_string::<i32>().iter().flatten())
                .map(|value| text(value.as_bytes()))
                .fold(0, u64::wrapping_add),
        }
    };
    batch
        .columns()
        .iter()
        .map(column)
        .fold(0, u64::wrapping_add)
}

/// A measurement of one format.
type Measure<R> = fn(&[Vec<R>]) -> Result<Figures>;

/// All formats of this program.
pub(crate) fn all<R: Row>() -> [(&'static str, Measure<R>); 4] {
    [
        ("millstream frame", frames),
        ("arrow ipc stream", arrow_ipc),
        ("bincode 1, rows", bincode_rows),
        ("columnar", columnar_containers),
    ]
}

/// Encodes and decodes all items several times; the best round counts, since others share the
/// machine.
fn measure<T>(
    items: &[T],
    encode: impl Fn(&T, &mut Vec<u8>) -> Result<()>,
    decode: impl Fn(&[u8]) -> Result<u64>,
) -> Result<Figures> {
    let mut best = Figures {
        encode_s: f64::INFINITY,
        decode_s: f64::INFINITY,
        ..Figures::default()
    };
    let mut wires = vec![Vec::new(); items.len()];
    for _ in 0..ROUNDS {
        let start = thread_cpu_s();
        for (item, wire) in items.iter().zip(&mut wires) {
            wire.clear();
            encode(black_box(item), wire)?;
        }
        let encoded = thread_cpu_s();
        let mut digest = 0u64;
        for wire in &wires {
            digest = digest.wrapping_add(decode(black_box(wire))?);
        }
        best.encode_s = best.encode_s.min(encoded - start);
        best.decode_s = best.decode_s.min(thread_cpu_s() - encoded);
        best.digest = digest;
    }
    best.wire_bytes = wires.iter().map(|wire| wire.len() as u64).sum();
    Ok(best)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn broken(what: impl ToString) -> BenchError {
    BenchError::Flow(what.to_string())
}

fn frames<R: Row>(batches: &[Vec<R>]) -> Result<Figures> {
    let deltas = batches
        .iter()
        .map(|batch| Ok(Delta::insertions(record_batch(batch)?)))
        .collect::<Result<Vec<_>>>()?;
    measure(
        &deltas,
        |delta, wire| {
            *wire = wire::encode(delta)?;
            Ok(())
        },
        |wire| {
            let delta = wire::decode(wire).ok_or_else(|| broken("a frame cannot be read"))?;
            Ok(batch_digest(delta.batch()))
        },
    )
}

fn arrow_ipc<R: Row>(batches: &[Vec<R>]) -> Result<Figures> {
    let batches = batches
        .iter()
        .map(|batch| record_batch(batch))
        .collect::<Result<Vec<_>>>()?;
    measure(
        &batches,
        |batch, wire| {
            let mut writer = StreamWriter::try_new(wire, &batch.schema())?;
            writer.write(batch)?;
            Ok(writer.finish()?)
        },
        |wire| {
            StreamReader::try_new(wire, None)?
                .map(|batch| Ok::<u64, ArrowError>(batch_digest(&batch?)))
                .try_fold(0u64, |sum, digest| Ok(sum.wrapping_add(digest?)))
        },
    )
}

fn bincode_rows<R: Row>(batches: &[Vec<R>]) -> Result<Figures> {
    measure(
        batches,
        |batch, wire| bincode::serialize_into(wire, batch).map_err(broken),
        |wire| {
            let rows: Vec<R> = bincode::deserialize(wire).map_err(broken)?;
            Ok(rows.iter().map(Plain::digest).fold(0, u64::wrapping_add))
        },
    )
}

fn columnar_containers<R: Row>(batches: &[Vec<R>]) -> Result<Figures> {
    let containers: Vec<Stash<ContainerOf<R>, &[u8]>> = batches
        .iter()
        .map(|batch| Stash::Typed(R::as_columns(batch)))
        .collect();
    measure(
        &containers,
        |container, wire| container.write_bytes(wire).map_err(broken),
        |wire| {
            let stash: Stash<ContainerOf<R>, &[u8]> =
                Stash::try_from_bytes(wire).map_err(broken)?;
            let rows = stash.borrow();
            Ok((0..rows.len())
                .map(|at| R::reference_digest(rows.get(at)))
                .fold(0, u64::wrapping_add))
        },
    )
}
