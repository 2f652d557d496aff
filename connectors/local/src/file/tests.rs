//! The file connector: what is planned, what is read again, what is refused.

use std::{fs, path::Path, sync::Arc, time::Duration};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use expect_test::{Expect, expect};
use millstream_connectors_api::{
    ConnectorError, ConnectorFactory, Flow, Options, PlannedRange, ReadLimit, Source, SourceReader,
    SourceRequest,
};
use millstream_types::Coded;
use millstream_values::{csv::Dialect, forms::Forms};
use tempfile::TempDir;

use super::{
    FileConnector,
    cut::{Cut, Extent, Limits, Piece},
    records::FileSplit,
};
use crate::{format::Format, testing, write::RowWriter};

const DAY_S: u64 = 86_400;

pub(super) fn dir() -> TempDir {
    tempfile::tempdir().expect("temporary directory")
}

/// Writes a file whose modification time is `at_s` seconds after 1970.
pub(super) fn put(dir: &Path, name: &str, text: &str, at_s: u64) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("has a parent")).expect("directory");
    fs::write(&path, text).expect("write");
    let file = fs::File::options().write(true).open(&path).expect("open");
    let at = std::time::UNIX_EPOCH + Duration::from_secs(at_s);
    file.set_modified(at).expect("set time");
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, false),
        Field::new("b", DataType::Utf8, true),
    ]))
}

fn request(path: &str, options: &[(&str, &str)]) -> SourceRequest {
    let mut all = Options::from_iter(options.iter().copied());
    all.set("path", path);
    SourceRequest {
        table: "t".to_owned(),
        schema: Some(schema()),
        options: all,
    }
}

pub(super) fn open(
    dir: &Path,
    options: &[(&str, &str)],
) -> Result<Box<dyn Source>, ConnectorError> {
    let path = dir.to_str().expect("UTF-8");
    let [json, csv, text] = FileConnector::by_format();
    let mut request = request(path, options);
    match request.options.remove("as").as_deref() {
        Some("csv") => csv.source(&request, testing::context()),
        Some("text") => {
            request.schema = None;
            text.source(&request, testing::context())
        }
        _ => json.source(&request, testing::context()),
    }
}

/// Long after all files of these tests.
const NOW_MS: i64 = 1_000 * 86_400_000;

pub(super) fn plan(source: &mut dyn Source) -> Option<PlannedRange> {
    source.plan(ReadLimit::Configured, NOW_MS).expect("plans")
}

/// Names of the files in the next range.
fn planned(source: &mut dyn Source) -> Vec<String> {
    plan(source).map_or_else(Vec::new, |range| names(source, &range))
}

fn names(source: &dyn Source, range: &PlannedRange) -> Vec<String> {
    let splits = source.splits(range).expect("own detail");
    let names = splits.map(|split| {
        let split = FileSplit::of_detail(&split.expect("own entry").detail).expect("own split");
        split.file.path.rsplit('/').next().unwrap_or("").to_owned()
    });
    names.collect()
}

fn read_with(
    source: &dyn Source,
    reader: &mut dyn SourceReader,
    range: &PlannedRange,
) -> Result<String, ConnectorError> {
    let all: Vec<usize> = (0..source.schema().fields().len()).collect();
    let mut decoder = source.decoder(&all)?;
    let mut out = Vec::new();
    let mut failure = None;
    testing::read_range(source, reader, range, &mut |chunk| {
        let writer = RowWriter::new(Format::Json, Dialect::default(), Forms::default());
        let decoded = decoder.decode(chunk, &mut |batch| {
            writer.rows(&batch, &mut out).expect("writable");
        });
        failure = decoded.err();
        if failure.is_some() {
            Flow::Stop
        } else {
            Flow::More
        }
    })?;
    failure.map_or(Ok(String::from_utf8_lossy(&out).into_owned()), Err)
}

pub(super) fn read(source: &dyn Source, range: &PlannedRange) -> Result<String, ConnectorError> {
    read_with(source, source.reader()?.as_mut(), range)
}

pub(super) fn code(result: Result<impl Sized, ConnectorError>) -> &'static str {
    result.err().expect("is refused").code().0
}

#[test]
fn oldest_files_come_first_and_none_twice() {
    let dir = dir();
    put(dir.path(), "c", "{\"a\":1}\n", 10);
    put(dir.path(), "a", "{\"a\":2}\n", 20);
    put(dir.path(), "b", "{\"a\":3}\n", 20);
    put(dir.path(), "_hidden", "x", 1);
    put(dir.path(), ".hidden", "x", 1);
    put(dir.path(), "sub/d", "x", 1);
    let mut source = open(dir.path(), &[("maxFilesPerTrigger", "2")]).expect("opens");
    let first = plan(source.as_mut()).expect("new files");
    assert_eq!(names(source.as_ref(), &first), ["c", "a"]);
    assert_eq!(
        (first.start.clone(), first.end.0.as_str()),
        (None, "{\"logOffset\":0}")
    );
    assert_eq!(
        read(source.as_ref(), &first).expect("reads"),
        "{\"a\":1}\n{\"a\":2}\n"
    );
    // Rewritten and newer: still the same file.
    put(dir.path(), "c", "{\"a\":9}\n", 50);
    let second = plan(source.as_mut()).expect("new files");
    assert_eq!(names(source.as_ref(), &second), ["b"]);
    assert_eq!(second.start, Some(first.end));
    assert_eq!(planned(source.as_mut()), [""; 0]);
}

#[test]
fn limits_by_bytes_order_and_once() {
    let dir = dir();
    for (name, at) in [("1", 1), ("2", 2), ("3", 3), ("4", 4), ("5", 5)] {
        put(dir.path(), name, "{\"a\":1}\n", at);
    }
    let mut source = open(dir.path(), &[("maxBytesPerTrigger", "17")]).expect("opens");
    assert_eq!(planned(source.as_mut()), ["1", "2"]);
    let once = source
        .plan(ReadLimit::Everything, NOW_MS)
        .expect("plans")
        .expect("rest");
    assert_eq!(names(source.as_ref(), &once), ["3", "4", "5"]);
    let mut source = open(dir.path(), &[("maxBytesPerTrigger", "1")]).expect("opens");
    assert_eq!(planned(source.as_mut()), ["1"]);
    let latest = [("maxFilesPerTrigger", "2"), ("latestFirst", "true")];
    let mut source = open(dir.path(), &latest).expect("opens");
    assert_eq!(planned(source.as_mut()), ["5", "4"]);
    put(dir.path(), "6", "", 6);
    assert_eq!(planned(source.as_mut()), ["6", "3"]);
    source.freeze(NOW_MS).expect("freezes");
    put(dir.path(), "7", "", 7);
    assert_eq!(planned(source.as_mut()), ["2", "1"]);
    assert_eq!(planned(source.as_mut()), [""; 0]);
}

#[test]
fn old_files_are_ignored_after_the_first_epoch() {
    let dir = dir();
    put(dir.path(), "new", "", 100 * DAY_S);
    put(dir.path(), "old", "", 1);
    let mut source = open(dir.path(), &[]).expect("opens");
    assert_eq!(planned(source.as_mut()), ["old", "new"]);
    put(dir.path(), "ten days", "", 90 * DAY_S);
    put(dir.path(), "five days", "", 95 * DAY_S);
    assert_eq!(planned(source.as_mut()), ["five days"]);
}

#[test]
fn equal_names_are_one_file_if_asked() {
    let dir = dir();
    put(dir.path(), "x/f", "", 1);
    put(dir.path(), "y/f", "", 2);
    let options = [("fileNameOnly", "true"), ("recursiveFileLookup", "true")];
    let mut source = open(dir.path(), &options).expect("opens");
    assert_eq!(planned(source.as_mut()), ["f", "f"]);
    put(dir.path(), "z/f", "", 3);
    assert_eq!(planned(source.as_mut()), [""; 0]);
}

#[test]
fn patterns_filters_and_directories_as_columns() {
    let dir = dir();
    put(dir.path(), "x1/f.json", "", 1);
    put(dir.path(), "x2/f.csv", "", 2);
    put(dir.path(), "y/f.json", "", 3);
    let mut source = open(
        &dir.path().join("x*"),
        &[("pathGlobFilter", "*.{json,txt}")],
    )
    .expect("opens");
    assert_eq!(planned(source.as_mut()), ["f.json"]);
    assert!(open(&dir.path().join("nothing*"), &[]).is_ok());

    let dir = self::dir();
    put(dir.path(), "b=q%20r/f", "{\"a\":1,\"b\":\"file\"}\n", 1);
    put(dir.path(), "f", "{\"a\":2,\"b\":\"file\"}\n", 2);
    put(
        dir.path(),
        "b=__HIVE_DEFAULT_PARTITION__/g",
        "{\"a\":3}\n{\"a\":4}",
        3,
    );
    let mut source = open(dir.path(), &[]).expect("opens");
    let range = plan(source.as_mut()).expect("new files");
    expect![[r#"
        {"a":1,"b":"q r"}
        {"a":2,"b":"file"}
        {"a":3}
        {"a":4}
    "#]]
    .assert_eq(&read(source.as_ref(), &range).expect("reads"));
    let mut source = open(dir.path(), &[("as", "csv")]).expect("opens");
    assert_eq!(planned(source.as_mut()).len(), 3);
}

#[test]
fn input_that_changed_is_con_011() {
    let dir = dir();
    put(dir.path(), "f", "{\"a\":1}\n", 5);
    let mut source = open(dir.path(), &[]).expect("opens");
    let range = plan(source.as_mut()).expect("new file");
    assert!(read(source.as_ref(), &range).is_ok());
    put(dir.path(), "f", "{\"a\":2}\n", 6);
    assert_eq!(code(read(source.as_ref(), &range)), "CON-011");
    put(dir.path(), "f", "{\"a\"}", 5);
    assert_eq!(code(read(source.as_ref(), &range)), "CON-011");
    fs::remove_file(dir.path().join("f")).expect("remove");
    assert_eq!(code(read(source.as_ref(), &range)), "CON-011");
    put(dir.path(), "f", "{\"a\":1}\n", 5);
    assert!(read(source.as_ref(), &range).is_ok());
}

#[test]
fn options_and_paths_are_checked() {
    let dir = dir();
    for (option, value, want) in [
        ("maxFilesPerTriger", "1", "CON-002"),
        ("maxFilesPerTrigger", "0", "CON-003"),
        ("maxBytesPerTrigger", "1k", "CON-003"),
        ("maxFileAge", "soon", "CON-003"),
        ("mode", "LAX", "CON-003"),
        ("multiLine", "true", "CON-003"),
        ("cleanSource", "remove", "CON-003"),
        ("cleanSource", "archive", "CON-004"),
        ("settleTime", "a while", "CON-003"),
        ("ignoreMissingFiles", "perhaps", "CON-003"),
        ("sep", "ab", "CON-003"),
        ("timestampFormat", "EEE", "CON-003"),
        ("maxLineBytes", "99999999999", "CON-003"),
        ("format", "parquet", "CON-001"),
    ] {
        assert_eq!(
            code(open(dir.path(), &[(option, value)])),
            want,
            "{option}={value}"
        );
    }
    let both = [("maxFilesPerTrigger", "1"), ("maxBytesPerTrigger", "1")];
    assert_eq!(code(open(dir.path(), &both)), "CON-003");
    assert_eq!(code(open(&dir.path().join("nothing"), &[])), "CON-005");
    let file = FileConnector::new();
    let path = dir.path().to_str().expect("UTF-8");
    assert_eq!(code(file.schema(&request(path, &[]))), "CON-004");
    let mut bare = request(path, &[("format", "json")]);
    bare.schema = None;
    assert_eq!(code(file.schema(&bare)), "CON-010");
    let text = file.schema(&request(path, &[("format", "text")]));
    assert_eq!(code(text), "CON-009");
    let mut odd = request(path, &[("format", "json")]);
    odd.schema = Some(Arc::new(Schema::new(vec![Field::new(
        "u",
        DataType::UInt64,
        true,
    )])));
    assert_eq!(code(file.schema(&odd)), "CON-008");
    let mut good = request(path, &[("format", "json")]);
    good.options.set("path", format!("file://{path}"));
    let schema = file.schema(&good).expect("a schema");
    assert!(schema.fields().iter().all(|field| field.is_nullable()));
}

fn reading(text: &str, line_max: usize, chunk: usize) -> Result<Vec<Piece>, ConnectorError> {
    let dir = dir();
    put(dir.path(), "f", text, 5);
    let file = fs::File::open(dir.path().join("f")).expect("open");
    let limits = Limits {
        line_bytes_max: line_max,
        chunk_bytes: chunk,
    };
    let mut cut = Cut::new(file, "f", Extent::Bytes(text.len() as u64), limits);
    let mut pieces = Vec::new();
    while let Some(piece) = cut.next()? {
        pieces.push(piece);
    }
    Ok(pieces)
}

#[test]
fn chunks_end_at_line_ends_whatever_their_size() {
    let text = "a\r\nbcdefghijkl\n\n\nlonger than a chunk can be\nend";
    for chunk in 1..60 {
        let pieces = reading(text, 100, chunk).expect("reads");
        let mut at = 0;
        for (idx, (offset, bytes)) in pieces.iter().enumerate() {
            assert_eq!(*offset, at, "{chunk}");
            assert!(idx + 1 == pieces.len() || bytes.ends_with(b"\n"), "{chunk}");
            at += bytes.len() as u64;
        }
        let whole: Vec<u8> = pieces.into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(whole, text.as_bytes(), "{chunk}");
    }
    assert!(reading("", 100, 10).expect("reads").is_empty());
}

#[test]
fn a_line_beyond_the_limit_is_con_012() {
    for chunk in 1..40 {
        assert!(reading("ab\n1234567890\nx\n", 10, chunk).is_ok(), "{chunk}");
        let error = reading("ab\n12345678901\nx\n", 10, chunk).expect_err("eleven bytes");
        let here = matches!(&error, ConnectorError::LineTooLong { offset: 3, .. });
        assert!(here && error.code().0 == "CON-012", "{chunk}: {error}");
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the manner of expect-test")]
fn check_csv(options: &[(&str, &str)], text: &str, expected: Expect) {
    let dir = dir();
    put(dir.path(), "f", text, 5);
    let mut all = vec![("as", "csv")];
    all.extend_from_slice(options);
    let mut source = open(dir.path(), &all).expect("opens");
    let range = plan(source.as_mut()).expect("a file");
    let shown = read(source.as_ref(), &range).unwrap_or_else(|error| format!("{}\n", error.code()));
    expected.assert_eq(&shown);
}

#[test]
fn csv_fields() {
    check_csv(
        &[],
        "1,x\r\n2,\n3,\"\"\n4,\"a,\\\"b\\\"\\\\c\"\n\n5, y \n6,un\"quoted\n",
        expect![[r#"
            {"a":1,"b":"x"}
            {"a":2}
            {"a":3,"b":""}
            {"a":4,"b":"a,\"b\"\\c"}
            {"a":5,"b":" y "}
            {"a":6,"b":"un\"quoted"}
        "#]],
    );
    check_csv(
        &[
            ("header", "true"),
            ("sep", "\\t"),
            ("quote", "'"),
            ("escape", "'"),
            ("comment", "#"),
            ("nullValue", "NA"),
        ],
        "# made by hand\na\tb\n1\t'it''s'\n#2\tx\nNA\tNA\n",
        expect![[r#"
            {"a":1,"b":"it's"}
            {}
        "#]],
    );
    let broken = "1\n2,x,y\nz,w\n4,ok\n";
    check_csv(
        &[],
        broken,
        expect![[r#"
            {"a":1}
            {"a":2,"b":"x"}
            {"b":"w"}
            {"a":4,"b":"ok"}
        "#]],
    );
    check_csv(
        &[("mode", "dropmalformed")],
        broken,
        expect![[r#"
        {"a":4,"b":"ok"}
    "#]],
    );
    check_csv(
        &[("mode", "FAILFAST")],
        broken,
        expect![[r#"
        CON-007
    "#]],
    );
}

#[test]
fn text_lines() {
    let dir = dir();
    put(dir.path(), "f", "one\r\n\n{\"a\":1}\nlast", 5);
    let mut source = open(dir.path(), &[("as", "text")]).expect("opens");
    let range = plan(source.as_mut()).expect("a file");
    expect![[r#"
        {"value":"one"}
        {"value":""}
        {"value":"{\"a\":1}"}
        {"value":"last"}
    "#]]
    .assert_eq(&read(source.as_ref(), &range).expect("reads"));
}
