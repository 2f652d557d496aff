//! Properties of all formats: no bytes make a parser panic, and how input was cut changes nothing.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::concat_batches,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use millstream_connectors_api::{Chunk, ChunkBody, ConnectorError, DecodeReport};
use millstream_values::csv::Dialect;
use proptest::prelude::*;

use super::{Format, Limits, Mode, Rules, decoder};

fn schema(format: Format) -> SchemaRef {
    if format == Format::Text {
        return Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)]));
    }
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = [
        ("i", DataType::Int32),
        ("s", DataType::Utf8),
        ("d", DataType::Float64),
        ("m", DataType::Decimal128(12, 3)),
        ("b", DataType::Boolean),
        ("at", zoned),
        ("day", DataType::Date32),
        ("bad", DataType::Utf8),
    ];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    Arc::new(Schema::new(fields.to_vec()))
}

fn decode(
    format: Format,
    mode: Mode,
    projection: &[usize],
    chunks: &[Vec<u8>],
) -> Result<(RecordBatch, DecodeReport), ConnectorError> {
    decode_limited(format, mode, projection, chunks, Limits::default())
}

/// Decodes chunks into batches that are full when `limits` say so; all rows as one batch.
fn decode_limited(
    format: Format,
    mode: Mode,
    projection: &[usize],
    chunks: &[Vec<u8>],
    limits: Limits,
) -> Result<(RecordBatch, DecodeReport), ConnectorError> {
    let rules = Arc::new(Rules {
        mode,
        corrupt_name: "bad".to_owned(),
        dialect: Dialect {
            header: true,
            comment: Some(b'#'),
            ..Dialect::default()
        },
        limits,
        ..Rules::default()
    });
    let schema = schema(format);
    let mut decoder = decoder(format, &rules, &schema, projection, "")?;
    let (mut batches, mut total, mut offset) = (Vec::new(), DecodeReport::default(), 0);
    for bytes in chunks {
        let body = ChunkBody::Bytes {
            bytes: bytes.clone(),
            origin: "t".into(),
            offset,
        };
        offset += bytes.len() as u64;
        let report = decoder.decode(Chunk { position: 0, body }, &mut |rows| batches.push(rows))?;
        total.rows += report.rows;
        total.malformed += report.malformed;
    }
    assert!(batches.iter().all(|batch| batch.num_rows() <= limits.rows));
    let projected = Arc::new(schema.project(projection).expect("columns exist"));
    Ok((
        concat_batches(&projected, &batches).expect("one schema"),
        total,
    ))
}

/// Lines made of what fields are often made of.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[,\"\\\\ #\t\r']{1,3}".prop_map(String::into_bytes),
        "-?[0-9]{1,4}(\\.[0-9]{1,5})?(e-?[0-9]{1,3})?".prop_map(String::into_bytes),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}Z?".prop_map(String::into_bytes),
        Just(b"1,\"x, \\\"y\\\"\",2.5,1.5,true,2024-01-01T00:00:00Z,2024-01-01\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b",".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..5),
    ];
    proptest::collection::vec(piece, 0..50).prop_map(|pieces| pieces.concat())
}

fn cut(text: &[u8], cuts: u64) -> Vec<Vec<u8>> {
    // The header belongs to the first chunk of a file, as the reader's chunks have it.
    let mut chunks: Vec<Vec<u8>> = vec![b"header\n".to_vec()];
    for (idx, line) in text.split_inclusive(|b| *b == b'\n').enumerate() {
        if cuts >> (idx % 64) & 1 == 1 {
            chunks.push(Vec::new());
        }
        if let Some(last) = chunks.last_mut() {
            last.extend_from_slice(line);
        }
    }
    chunks
}

#[test]
fn batches_are_cut_by_bytes() {
    let line = format!("{}\n", "x".repeat(100));
    for (format, bytes) in [
        (Format::Text, 1_000),
        (Format::Csv, 1_000),
        (Format::Text, 1),
    ] {
        let text = vec![b"header\n".to_vec(), line.repeat(40).into_bytes()];
        let limits = Limits {
            rows: bytes / 100 + 1,
            bytes,
        };
        let rows = decode_limited(format, Mode::Permissive, &[0], &text, limits);
        let header = usize::from(format == Format::Text);
        assert_eq!(rows.expect("decodes").0.num_rows(), 40 + header);
    }
}

proptest! {
    #[test]
    fn cuts_and_projections_change_nothing(text in lines(), cuts in any::<u64>(), column in 0_usize..7) {
        for format in [Format::Csv, Format::Text, Format::Json] {
            let all: Vec<usize> = (0..schema(format).fields().len()).collect();
            let column = column.min(all.len() - 1);
            let (whole, report) = decode(format, Mode::Permissive, &all, &cut(&text, 0)).expect("decodes");
            let (pieces, again) = decode(format, Mode::Permissive, &all, &cut(&text, cuts)).expect("decodes");
            prop_assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
            prop_assert_eq!(report, again);
            prop_assert_eq!(whole.num_rows() as u64, report.rows);
            let small = Limits { rows: 3, bytes: 40 };
            let (small, again) = decode_limited(format, Mode::Permissive, &all, &cut(&text, cuts), small).expect("decodes");
            prop_assert_eq!(format!("{whole:?}"), format!("{small:?}"));
            prop_assert_eq!(report, again);
            let (one, _) = decode(format, Mode::Permissive, &[column], &cut(&text, cuts)).expect("decodes");
            prop_assert_eq!(format!("{:?}", one.column(0)), format!("{:?}", whole.column(column)));
            let (kept, report) = decode(format, Mode::DropMalformed, &all, &cut(&text, cuts)).expect("decodes");
            prop_assert_eq!(kept.num_rows() as u64, report.rows - report.malformed);
        }
    }
}
