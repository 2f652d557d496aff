//! Memory tables: blocks into epochs, rows out of them, both across restarts of a query.

use std::sync::Arc;

use arrow::{
    array::{AsArray, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use millstream_connectors_api::{
    ChunkBody, ConnectorFactory, EpochWrite, Flow, Guarantee, Options, PlannedRange, ReadLimit,
    Sink, SinkRequest, SinkRows, Source, SourceRequest, WriteBody,
};
use millstream_types::{Coded, Epoch, OutputMode};

use super::{MemoryConnector, MemoryHub, SignedRows};
use crate::testing;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

fn block(values: &[i64]) -> RecordBatch {
    let values = Arc::new(Int64Array::from(values.to_vec()));
    RecordBatch::try_new(schema(), vec![values]).expect("a batch")
}

fn request(schema: Option<SchemaRef>) -> SourceRequest {
    SourceRequest {
        table: "t".to_owned(),
        schema,
        options: Options::new(),
    }
}

fn open(hub: &MemoryHub) -> Box<dyn Source> {
    let connector = MemoryConnector::new(hub.clone());
    connector
        .source(&request(Some(schema())), testing::context())
        .expect("opens")
}

fn plan(source: &mut dyn Source) -> Option<PlannedRange> {
    source.plan(ReadLimit::Configured, 0).expect("plans")
}

fn numbers(batch: &RecordBatch) -> Vec<i64> {
    batch
        .column(0)
        .as_primitive::<Int64Type>()
        .values()
        .to_vec()
}

fn read(source: &dyn Source, range: &PlannedRange) -> Vec<i64> {
    let mut all = Vec::new();
    let mut reader = source.reader().expect("a reader");
    let done = testing::read_range(source, reader.as_mut(), range, &mut |chunk| {
        if let ChunkBody::Rows(rows) = &chunk.body {
            all.extend(numbers(rows));
        }
        Flow::More
    });
    done.expect("reads");
    all
}

#[test]
fn blocks_before_a_plan_are_one_epoch() {
    let hub = MemoryHub::new();
    let mut source = open(&hub);
    assert_eq!(plan(source.as_mut()), None);
    assert_eq!(hub.add("t", block(&[1, 2])).expect("adds"), 0);
    assert_eq!(hub.add("t", block(&[3])).expect("adds"), 1);
    let first = plan(source.as_mut()).expect("two blocks");
    assert_eq!(
        (first.end.0.as_str(), read(source.as_ref(), &first)),
        ("1", vec![1, 2, 3])
    );
    hub.add("t", block(&[4])).expect("adds");
    let state = source.state();
    let second = plan(source.as_mut()).expect("one block");
    assert_eq!(second.start, Some(first.end));

    let mut again = open(&hub);
    again.restore(&state).expect("own state");
    again.replay(&second).expect("own range");
    assert_eq!(plan(again.as_mut()), None);
    assert_eq!(read(again.as_ref(), &second), [4]);
    again.freeze(0).expect("freezes");
    hub.add("t", block(&[5])).expect("adds");
    assert_eq!(plan(again.as_mut()), None);
}

#[test]
fn tables_keep_their_columns() {
    let hub = MemoryHub::new();
    let connector = MemoryConnector::new(hub.clone());
    let error = connector.schema(&request(None)).expect_err("no columns");
    assert_eq!(error.code().0, "CON-010");
    hub.add("t", block(&[1])).expect("adds");
    assert_eq!(
        connector.schema(&request(None)).expect("known now"),
        schema()
    );
    let other = Schema::new(vec![Field::new("s", DataType::Utf8, true)]);
    let other = RecordBatch::try_new(
        Arc::new(other),
        vec![Arc::new(StringArray::from(vec!["x"]))],
    );
    let other = other.expect("a batch");
    let error = connector
        .schema(&request(Some(other.schema())))
        .expect_err("other columns");
    assert_eq!(error.code().0, "CON-009");
    assert_eq!(
        hub.add("t", other).expect_err("other columns").code().0,
        "CON-008"
    );
}

#[test]
fn blocks_of_another_process_are_con_011() {
    let hub = MemoryHub::new();
    hub.add("t", block(&[1])).expect("adds");
    let mut source = open(&hub);
    let range = plan(source.as_mut()).expect("a block");
    let mut splits = source.splits(&range).expect("splits");
    let split = splits
        .next()
        .expect("a split")
        .expect("its blocks are here");
    let mut reader = open(&MemoryHub::new()).reader().expect("a reader");
    let error = reader
        .read(&split, &mut |_| Flow::More)
        .expect_err("no such block");
    assert_eq!(error.code().0, "CON-011");
}

fn sink(hub: &MemoryHub, mode: OutputMode) -> Box<dyn Sink> {
    let connector = MemoryConnector::new(hub.clone());
    let request = SinkRequest {
        table: "q".to_owned(),
        options: Options::new(),
    };
    let mut sink = connector.sink(&request).expect("opens");
    sink.open(&testing::sink_context(schema(), mode))
        .expect("any mode");
    sink
}

fn epoch(sink: &mut dyn Sink, epoch: u64, values: &[i64], signs: Option<&[i64]>) -> u64 {
    let write = EpochWrite {
        epoch: Epoch(epoch),
        body: WriteBody::Rows(SinkRows {
            rows: block(values),
            signs: signs.map(|signs| Int64Array::from(signs.to_vec())),
        }),
    };
    sink.write(&write).expect("writes");
    sink.stage(Epoch(epoch)).expect("stages");
    sink.commit(Epoch(epoch)).expect("commits").rows
}

fn all(rows: &[SignedRows]) -> Vec<i64> {
    rows.iter().flat_map(|part| numbers(&part.rows)).collect()
}

#[test]
fn rows_are_kept_once_and_taken_once() {
    let hub = MemoryHub::new();
    let mut first = sink(&hub, OutputMode::Changes);
    assert_eq!(first.guarantee(), Guarantee::ExactlyOnce);
    assert_eq!(first.last_committed().expect("asks"), None);
    assert_eq!(epoch(first.as_mut(), 0, &[1, 2], Some(&[1, -1])), 2);
    assert_eq!(all(&hub.take("q")), [1, 2]);
    assert!(hub.take("q").is_empty());

    let mut second = sink(&hub, OutputMode::Changes);
    assert_eq!(second.last_committed().expect("asks"), Some(Epoch(0)));
    assert_eq!(epoch(second.as_mut(), 0, &[1, 2], Some(&[1, -1])), 0);
    assert_eq!(epoch(second.as_mut(), 1, &[3], None), 1);
    assert_eq!(all(&hub.take("q")), [3]);
    let read = hub.read("q");
    assert_eq!(all(&read), [1, 2, 3]);
    let signs = read[0].signs.as_ref().map(|signs| signs.values().to_vec());
    assert_eq!(signs, Some(vec![1, -1]));
    assert_eq!(
        (hub.outputs(), hub.output_schema("q")),
        (vec!["q".to_owned()], Some(schema()))
    );
    hub.drop_output("q");
    assert_eq!(hub.committed("q"), None);
}

#[test]
fn a_complete_result_replaces_the_one_before() {
    let hub = MemoryHub::new();
    let mut sink = sink(&hub, OutputMode::Complete);
    epoch(sink.as_mut(), 0, &[1], None);
    epoch(sink.as_mut(), 1, &[1, 2], None);
    assert_eq!(all(&hub.read("q")), [1, 2]);
    assert_eq!(all(&hub.take("q")), [1, 2]);
}
