//! Decoding bytes through a file source, and what memory that took.

use std::sync::Arc;

use allocation_counter::measure;
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
};
use millstream_connectors::FileConnector;
use millstream_connectors_api::{
    Chunk, ChunkBody, ConnectorFactory, DecodeReport, Decoder, MemoryJournals, Options,
    SourceContext, SourceRequest, Wake, Waker,
};

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}

    fn is_spent(&self) -> bool {
        true
    }
}

/// A table of files.
pub(crate) struct Table {
    pub(crate) format: &'static str,
    pub(crate) mode: &'static str,
    /// The columns; none for text.
    pub(crate) columns: Vec<(String, DataType)>,
}

/// What decoding took and gave.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// Most memory that was held at once, without the bytes that came in.
    pub(crate) peak_bytes: u64,
    pub(crate) report: DecodeReport,
    pub(crate) rows: usize,
    pub(crate) batches: Vec<RecordBatch>,
}

/// Whether batches are kept until the chunk is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    All,
    Nothing,
}

impl Table {
    pub(crate) fn new(format: &'static str, columns: Vec<(String, DataType)>) -> Table {
        Table {
            format,
            mode: "PERMISSIVE",
            columns,
        }
    }

    fn schema(&self) -> Option<SchemaRef> {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|(name, data_type)| Field::new(name, data_type.clone(), true))
            .collect();
        (self.format != "text").then(|| Arc::new(Schema::new(fields)))
    }

    /// A decoder of all columns.
    pub(crate) fn decoder(&self) -> Box<dyn Decoder> {
        let options = [("path", "."), ("format", self.format), ("mode", self.mode)];
        let request = SourceRequest {
            table: "t".to_owned(),
            schema: self.schema(),
            options: Options::from_iter(options),
        };
        let wanted: Vec<usize> = (0..self.columns.len()).collect();
        let wanted = if self.format == "text" {
            vec![0]
        } else {
            wanted
        };
        let io = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let context = SourceContext {
            journals: Arc::new(MemoryJournals::new()),
            waker: Waker::new(Arc::new(Nobody)),
            io: io.handle().clone(),
        };
        let source = FileConnector::new()
            .source(&request, context)
            .expect("a source");
        source.decoder(&wanted).expect("a decoder")
    }

    /// Decodes one chunk with a decoder of its own.
    pub(crate) fn decode(&self, bytes: Vec<u8>, keep: Keep) -> Decoded {
        let mut decoder = self.decoder();
        decode(decoder.as_mut(), bytes, keep)
    }
}

/// Decodes one chunk.
pub(crate) fn decode(decoder: &mut dyn Decoder, bytes: Vec<u8>, keep: Keep) -> Decoded {
    let body = ChunkBody::Bytes {
        bytes,
        origin: "t".into(),
        offset: 1,
    };
    let chunk = Chunk { position: 0, body };
    let (mut rows, mut batches, mut report) = (0, Vec::new(), DecodeReport::default());
    let counted = measure(|| {
        let mut give = |batch: RecordBatch| {
            rows += batch.num_rows();
            if keep == Keep::All {
                batches.push(batch);
            }
        };
        report = decoder
            .decode(chunk, &mut give)
            .expect("only FAILFAST fails");
    });
    Decoded {
        peak_bytes: counted.bytes_max,
        report,
        rows,
        batches,
    }
}

/// `count` columns of one type.
pub(crate) fn many(count: usize, data_type: &DataType) -> Vec<(String, DataType)> {
    (0..count)
        .map(|idx| (format!("c{idx}"), data_type.clone()))
        .collect()
}

/// One column.
pub(crate) fn one(name: &str, data_type: DataType) -> Vec<(String, DataType)> {
    vec![(name.to_owned(), data_type)]
}

pub(crate) fn structure(columns: Vec<(String, DataType)>) -> DataType {
    let fields = columns
        .into_iter()
        .map(|(name, data_type)| Field::new(name, data_type, true));
    DataType::Struct(fields.collect::<Fields>())
}

pub(crate) fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", item, true)))
}

pub(crate) fn map(value: DataType) -> DataType {
    let entries = vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", value, true),
    ];
    let entries = DataType::Struct(entries.into());
    DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
}

/// A column of each type.
pub(crate) fn every_type() -> Vec<(String, DataType)> {
    let point = vec![
        ("x".to_owned(), DataType::Int64),
        ("y".to_owned(), DataType::Utf8),
    ];
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    [
        ("b", DataType::Boolean),
        ("i", DataType::Int32),
        ("n", DataType::Int64),
        ("f", DataType::Float32),
        ("d", DataType::Float64),
        ("m", DataType::Decimal128(12, 3)),
        ("s", DataType::Utf8),
        ("x", DataType::Binary),
        ("day", DataType::Date32),
        ("at", zoned),
        ("_corrupt_record", DataType::Utf8),
        ("o", structure(point.clone())),
        ("l", list(structure(point))),
        ("ll", list(list(DataType::Int64))),
        ("p", map(DataType::Int64)),
    ]
    .map(|(name, data_type)| (name.to_owned(), data_type))
    .to_vec()
}
