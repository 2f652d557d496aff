//! What a sink writes, whose it is, and what it refuses. The log has tests of its own.

use std::{fs, path::Path, sync::Arc};

use arrow::{
    array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use expect_test::expect;
use millstream_connectors_api::{
    ConnectorError, ConnectorFactory, EpochWrite, Options, Sink, SinkContext, SinkRequest,
    SinkRows, WriteBody,
};
use millstream_types::{Coded, Epoch, OutputMode};

use crate::file::{
    FileConnector,
    tests::{code, dir, open, plan, put, read},
};

pub(in crate::file) fn unopened(dir: &Path, options: &[(&str, &str)]) -> Box<dyn Sink> {
    let mut all = Options::from_iter(options.iter().copied());
    all.set("path", dir.to_str().expect("UTF-8"));
    let made = FileConnector::new().sink(&SinkRequest {
        table: "t".to_owned(),
        options: all,
    });
    made.expect("good options")
}

pub(in crate::file) fn context(query: &str) -> SinkContext {
    SinkContext {
        query_id: query.to_owned(),
        schema: out_schema(),
        mode: OutputMode::Append,
    }
}

/// A JSON sink of a query.
pub(in crate::file) fn sink(dir: &Path, query: &str) -> Result<Box<dyn Sink>, ConnectorError> {
    let mut sink = unopened(dir, &[("format", "json")]);
    sink.open(&context(query))?;
    Ok(sink)
}

fn out_schema() -> SchemaRef {
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
        Field::new("at", zoned, true),
    ]))
}

fn batch(values: &[i64]) -> SinkRows {
    let texts = values
        .iter()
        .map(|value| (*value != 0).then(|| format!("v\"{value}")));
    let instants = values.iter().map(|value| value * 1_500);
    // A plan's own names: the sink's are those of its table.
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Schema::new(vec![
        Field::new("#1", DataType::Int64, true),
        Field::new("#2", DataType::Utf8, true),
        Field::new("#3", zoned, true),
    ]);
    let rows = RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(Int64Array::from(values.to_vec())),
            Arc::new(texts.collect::<StringArray>()),
            Arc::new(TimestampMicrosecondArray::from_iter_values(instants).with_timezone("UTC")),
        ],
    );
    SinkRows {
        rows: rows.expect("a batch"),
        signs: None,
    }
}

pub(in crate::file) fn rows(sink: &dyn Sink, epoch: u64, values: &[i64]) -> EpochWrite {
    let mut encoder = sink.encoder().expect("has an encoder");
    let encoded = encoder.encode(&batch(values)).expect("can be written");
    EpochWrite {
        epoch: Epoch(epoch),
        body: WriteBody::Encoded(encoded),
    }
}

/// Writes, stages and commits an epoch.
pub(in crate::file) fn put_epoch(sink: &mut dyn Sink, epoch: u64, values: &[i64]) {
    let write = rows(sink, epoch, values);
    sink.write(&write).expect("writes");
    sink.stage(Epoch(epoch)).expect("stages");
    let receipt = sink.commit(Epoch(epoch)).expect("commits");
    assert_eq!(receipt.rows, values.len() as u64);
}

/// What the source reads from a directory that a sink wrote.
pub(in crate::file) fn read_back(dir: &Path) -> String {
    let mut source = open(dir, &[("recursiveFileLookup", "true")]).expect("opens");
    plan(source.as_mut()).map_or_else(String::new, |range| {
        read(source.as_ref(), &range).expect("reads")
    })
}

pub(in crate::file) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("lists");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("lists")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_sink_writes_an_epoch_once() {
    let dir = dir();
    let mut first = sink(dir.path(), "q").expect("opens");
    assert_eq!(first.last_committed().expect("asks"), None);
    let (zero, one) = (
        rows(first.as_ref(), 0, &[0, 1]),
        rows(first.as_ref(), 1, &[2]),
    );
    first.write(&zero).expect("writes");
    first.write(&one).expect("writes");
    first.stage(Epoch(0)).expect("stages");
    assert_eq!(read_back(dir.path()), "");
    assert_eq!(first.commit(Epoch(0)).expect("commits").rows, 2);
    first.stage(Epoch(1)).expect("stages");
    drop(first);

    let part = fs::read_to_string(dir.path().join("part-00000-e0000000000.c000.json"));
    expect![[r#"
        {"a":0,"at":"1970-01-01T00:00:00.000Z"}
        {"a":1,"b":"v\"1","at":"1970-01-01T00:00:00.001Z"}
    "#]]
    .assert_eq(&part.expect("a part file"));
    let log = fs::read_to_string(dir.path().join("_spark_metadata/0")).expect("a log file");
    let (header, entry) = log.split_once('\n').expect("two lines");
    let entry: serde_json::Value = serde_json::from_str(entry).expect("JSON");
    assert_eq!((header, entry["action"].as_str()), ("v1", Some("add")));
    assert_eq!(entry["size"].as_u64(), Some(91));

    // As after a crash: epoch 1 was staged, and its part may even have got its name.
    fs::write(dir.path().join("part-00000-e0000000001.c000.json"), "torn").expect("write");
    fs::write(dir.path().join(".part-00000-e0000000002.c000.json"), "").expect("write");
    let before = names(dir.path());
    let mut second = sink(dir.path(), "q").expect("opens");
    assert_eq!(second.last_committed().expect("asks"), Some(Epoch(0)));
    assert_eq!(names(dir.path()), before);
    second.begin(Epoch(1)).expect("begins");
    assert_eq!(
        names(dir.path()),
        ["_spark_metadata", "part-00000-e0000000000.c000.json"]
    );
    let again = rows(second.as_ref(), 0, &[7]);
    second.write(&again).expect("writes");
    second.stage(Epoch(0)).expect("stages");
    assert_eq!(second.commit(Epoch(0)).expect("a repeat").rows, 0);
    put_epoch(second.as_mut(), 1, &[2]);
    assert_eq!(
        read_back(dir.path()),
        "{\"a\":0}\n{\"a\":1,\"b\":\"v\\\"1\"}\n{\"a\":2,\"b\":\"v\\\"2\"}\n"
    );
    assert_eq!(
        names(&dir.path().join("_spark_metadata")),
        ["0", "1", "_owner"]
    );
    // A file that the log does not name does not count.
    put(dir.path(), "stray.json", "{\"a\":99}\n", 5);
    assert_eq!(read_back(dir.path()).lines().count(), 3);
}

/// The error of a second sink: its code, and what it says of the owner.
fn refusal(dir: &Path, query: &str) -> String {
    let error = sink(dir, query).err().expect("is refused");
    assert_eq!(error.code().0, "CON-013");
    assert!(
        error
            .hint()
            .expect("what to do")
            .contains("a place of its own")
    );
    let text = error.to_string();
    text.split_once("\" ").expect("a path").1.to_owned()
}

#[test]
fn a_directory_belongs_to_one_query() {
    let dir = dir();
    let place = dir.path().join("new/out");
    let untouched = unopened(&place, &[("format", "json")]);
    assert_eq!(names(dir.path()), [""; 0]);
    drop(untouched);

    let mut first = sink(&place, "one").expect("opens");
    first.last_committed().expect("asks");
    let staged = rows(first.as_ref(), 0, &[1]);
    first.write(&staged).expect("writes");
    first.stage(Epoch(0)).expect("stages");
    // Not even another life of the same query: it would remove what this one has staged.
    assert_eq!(refusal(&place, "one"), "open=now");
    assert_eq!(refusal(&place, "two"), "open=now");
    first.commit(Epoch(0)).expect("commits");
    assert_eq!(refusal(&place, "two"), "open=now query=one");
    drop(first);

    assert_eq!(refusal(&place, "two"), "query=one this_query=two");
    let mut again = sink(&place, "one").expect("its own");
    assert_eq!(again.last_committed().expect("asks"), Some(Epoch(0)));
    put_epoch(again.as_mut(), 1, &[2]);
    assert_eq!(read_back(&place).lines().count(), 2);
}

#[test]
fn a_directory_without_a_committed_epoch_is_nobodys() {
    let dir = dir();
    let mut failed = sink(dir.path(), "one").expect("opens");
    let staged = rows(failed.as_ref(), 0, &[1]);
    failed.write(&staged).expect("writes");
    drop(failed);
    let mut other = sink(dir.path(), "two").expect("nobody's");
    assert_eq!(other.last_committed().expect("asks"), None);
    put_epoch(other.as_mut(), 0, &[2]);
    drop(other);
    assert_eq!(refusal(dir.path(), "one"), "query=two this_query=one");
    assert_eq!(read_back(dir.path()).lines().count(), 1);
}

#[test]
fn a_log_without_an_owner_is_taken_with_the_next_commit() {
    let dir = dir();
    let record = dir.path().join("_spark_metadata/_owner");
    let mut old = sink(dir.path(), "old").expect("opens");
    put_epoch(old.as_mut(), 0, &[1]);
    drop(old);
    // As an earlier version left it, and as a crash leaves a record that was being written.
    for left in ["", "{\"version\":1,\"query"] {
        fs::write(&record, left).expect("write");
        let mut looking = sink(dir.path(), "not this one").expect("nobody's");
        assert_eq!(looking.last_committed().expect("asks"), Some(Epoch(0)));
    }
    let mut new = sink(dir.path(), "new").expect("nobody's");
    put_epoch(new.as_mut(), 1, &[2]);
    drop(new);
    assert_eq!(refusal(dir.path(), "old"), "query=new this_query=old");
    assert_eq!(
        fs::read_to_string(&record).expect("a record"),
        "{\"version\":1,\"queryId\":\"new\"}\n"
    );
    for (damage, reason) in [
        ("{}\n", "is no record of an owner"),
        (
            "{\"version\":2,\"queryId\":\"new\"}\n",
            "was written by a newer version",
        ),
    ] {
        fs::write(&record, damage).expect("write");
        let error = sink(dir.path(), "new").err().expect("is refused");
        assert_eq!(error.code().0, "CON-014");
        assert!(error.to_string().ends_with(reason), "{error}");
    }
}

/// All names in a directory and in its log.
fn all_names(dir: &Path) -> Vec<String> {
    let log = dir.join("_spark_metadata");
    let inside = if log.is_dir() {
        names(&log)
    } else {
        Vec::new()
    };
    [names(dir), inside].concat()
}

/// A start that finds parts beyond the log: its error, and everything is as it was.
fn unlogged(dir: &Path, query: &str, first: u64) -> String {
    let before = all_names(dir);
    let mut sink = sink(dir, query).expect("opens");
    sink.last_committed().expect("asks");
    let error = sink.begin(Epoch(first)).expect_err("is refused");
    assert_eq!(error.code().0, "CON-018");
    drop(sink);
    assert_eq!(all_names(dir), before);
    error
        .to_string()
        .split_once("count=")
        .expect("says how many")
        .1
        .to_owned()
}

#[test]
fn parts_beyond_the_log_are_never_removed() {
    let dir = dir();
    let mut first = sink(dir.path(), "q").expect("opens");
    (0..4).for_each(|epoch| put_epoch(first.as_mut(), epoch, &[1]));
    drop(first);
    let log = dir.path().join("_spark_metadata");
    // The newest entries are gone: only the part of the next epoch can be a leftover.
    fs::remove_file(log.join("3")).expect("remove");
    fs::remove_file(log.join("2")).expect("remove");
    let part = |epoch: u64| format!("part-00000-e{epoch:010}.c000.json");
    let first = |count: u64, epoch: u64| format!("{count} first={:?}", part(epoch));
    assert_eq!(unlogged(dir.path(), "q", 2), first(1, 3));
    // The log is gone: whose the parts are nobody knows.
    crate::files::rename(&log, &dir.path().join("elsewhere")).expect("moves");
    assert_eq!(unlogged(dir.path(), "q", 0), first(4, 0));
    // Nor does it matter in which format they are.
    fs::write(dir.path().join("part-00000-e0000000077.c000.csv"), "x").expect("write");
    (0..4).for_each(|epoch| fs::remove_file(dir.path().join(part(epoch))).expect("remove"));
    let left = "1 first=\"part-00000-e0000000077.c000.csv\"";
    assert_eq!(unlogged(dir.path(), "new", 0), left);
    assert_eq!(unlogged(dir.path(), "new", 77), left);
}

#[test]
fn a_start_that_is_refused_leaves_nothing() {
    let dir = dir();
    let place = dir.path().join("new/out");
    drop(sink(&place, "refused").expect("opens"));
    assert_eq!(names(dir.path()), [""; 0]);
    put(&place, "raw.json", "{\"a\":1}\n", 5);
    drop(sink(&place, "refused").expect("opens"));
    assert_eq!(names(&place), ["raw.json"]);
    assert_eq!(read_back(&place), "{\"a\":1}\n");
    // One that went on and committed nothing keeps its directory, and hides nothing.
    fs::remove_dir_all(dir.path().join("new")).expect("remove");
    let mut idle = sink(&place, "idle").expect("opens");
    idle.begin(Epoch(0)).expect("begins");
    drop(idle);
    assert_eq!(names(&place), [""; 0]);
}

#[test]
fn a_log_that_readers_refuse_is_not_gone_on_with() {
    let dir = dir();
    let mut first = sink(dir.path(), "q").expect("opens");
    (0..12).for_each(|epoch| put_epoch(first.as_mut(), epoch, &[1]));
    drop(first);
    let log = dir.path().join("_spark_metadata");
    for (name, damage) in [
        ("11", ""),
        ("11", "v1\n{\"path\":\"fi"),
        ("10", "garbage"),
        ("9.compact", "v1\nv1\n"),
    ] {
        let whole = fs::read(log.join(name)).expect("reads");
        fs::write(log.join(name), damage).expect("write");
        assert_eq!(code(sink(dir.path(), "q")), "CON-014", "{name} {damage}");
        fs::write(log.join(name), whole).expect("write");
    }
    // What no reader needs may be anything.
    fs::write(log.join("4"), "garbage").expect("write");
    sink(dir.path(), "q").expect("opens");
}

#[test]
fn an_entry_is_never_replaced() {
    let dir = dir();
    let mut sink = sink(dir.path(), "q").expect("opens");
    put_epoch(sink.as_mut(), 0, &[1]);
    let foreign = dir.path().join("_spark_metadata/1");
    fs::write(&foreign, "v1\n{}").expect("write");
    let write = rows(sink.as_ref(), 1, &[2]);
    sink.write(&write).expect("writes");
    sink.stage(Epoch(1)).expect("stages");
    assert_eq!(code(sink.commit(Epoch(1))), "CON-014");
    assert_eq!(fs::read_to_string(&foreign).expect("is there"), "v1\n{}");
    // Nothing more is taken: the engine has to start again.
    assert_eq!(code(sink.stage(Epoch(1))), "EXE-003");
}

#[test]
fn an_epoch_that_is_left_out_is_an_error() {
    let dir = dir();
    let mut sink = sink(dir.path(), "q").expect("opens");
    put_epoch(sink.as_mut(), 0, &[1]);
    assert_eq!(code(sink.commit(Epoch(2))), "EXE-003");
}

#[test]
fn other_modes_and_shapes_are_refused() {
    let dir = dir();
    for mode in [
        OutputMode::Update,
        OutputMode::Complete,
        OutputMode::Changes,
    ] {
        let context = SinkContext {
            mode,
            ..context("q")
        };
        let error = unopened(dir.path(), &[("format", "json")])
            .open(&context)
            .expect_err("append only");
        assert_eq!(error.code().0, "SQL-022");
        assert_eq!(error.hint().as_deref(), Some("it takes append"));
    }
    let text = unopened(dir.path(), &[("format", "text")]).open(&context("q"));
    assert_eq!(code(text), "CON-008");
    assert_eq!(names(dir.path()), [""; 0]);
    let file = dir.path().join("file");
    fs::write(&file, "").expect("write");
    assert_eq!(code(sink(&file, "q")), "CON-006");
    let mut sink = sink(&dir.path().join("out"), "q").expect("opens");
    let plain = EpochWrite {
        epoch: Epoch(0),
        body: WriteBody::Rows(batch(&[1])),
    };
    assert_eq!(code(sink.write(&plain)), "EXE-003");
}

#[test]
fn csv_sink() {
    let dir = dir();
    let mut sink = unopened(dir.path(), &[("format", "csv"), ("header", "true")]);
    sink.open(&context("q")).expect("opens");
    put_epoch(sink.as_mut(), 0, &[0, 1]);
    let part = fs::read_to_string(dir.path().join("part-00000-e0000000000.c000.csv"));
    expect![[r#"
        a,b,at
        0,,1970-01-01T00:00:00.000Z
        1,"v\"1",1970-01-01T00:00:00.001Z
    "#]]
    .assert_eq(&part.expect("a part file"));
}

#[test]
fn rows_beyond_the_buffer_reach_the_file_in_order() {
    let dir = dir();
    let mut sink = sink(dir.path(), "q").expect("opens");
    let mut expected = 0;
    for _ in 0..20 {
        let values: Vec<i64> = (expected..expected + 1_000).collect();
        let write = rows(sink.as_ref(), 0, &values);
        sink.write(&write).expect("writes");
        expected += 1_000;
    }
    sink.stage(Epoch(0)).expect("stages");
    assert_eq!(sink.commit(Epoch(0)).expect("commits").rows, 20_000);
    let text = read_back(dir.path());
    assert_eq!(text.lines().count(), 20_000);
    for (idx, line) in text.lines().enumerate() {
        assert!(line.starts_with(&format!("{{\"a\":{idx}")), "{idx}: {line}");
    }
}
