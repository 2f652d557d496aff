//! JSON lines: Spark's rules one by one, then properties over arbitrary bytes.

use std::sync::Arc;

use arrow::{
    array::{Array, RecordBatch},
    compute::concat_batches,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use expect_test::{Expect, expect};
use millstream_connectors_api::{Chunk, ChunkBody, ConnectorError, DecodeReport, Decoder};
use millstream_types::Coded;
use millstream_values::{csv::Dialect, forms::Forms};
use proptest::prelude::*;

use super::JsonDecoder;
use crate::{
    format::{Format, Limits, Mode, Rules},
    write::RowWriter,
};

pub(super) fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    let fields: Vec<Field> = fields
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
        .collect();
    Arc::new(Schema::new(fields))
}

fn chunk(bytes: &[u8], offset: u64) -> Chunk {
    Chunk {
        position: 0,
        body: ChunkBody::Bytes {
            bytes: bytes.to_vec(),
            origin: "t".into(),
            offset,
        },
    }
}

fn rules(mode: Mode) -> Arc<Rules> {
    Arc::new(Rules {
        mode,
        corrupt_name: "bad".to_owned(),
        ..Rules::default()
    })
}

/// All rows as one batch, and how many the longest had.
#[derive(Debug)]
pub(super) struct Limited {
    pub(super) batch: RecordBatch,
    pub(super) report: DecodeReport,
    pub(super) longest: usize,
}

/// Decodes chunks into batches that are full when `limits` say so.
pub(super) fn decode_limited(
    schema: &SchemaRef,
    mode: Mode,
    chunks: &[&[u8]],
    limits: Limits,
) -> Result<Limited, ConnectorError> {
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let rules = Arc::new(Rules {
        limits,
        ..Rules::clone(&rules(mode))
    });
    let mut decoder = JsonDecoder::new(schema, &all, rules)?;
    let mut batches = Vec::new();
    let mut total = DecodeReport::default();
    let mut offset = 0;
    for bytes in chunks {
        let report = decoder.decode(chunk(bytes, offset), &mut |batch| batches.push(batch))?;
        offset += bytes.len() as u64;
        total.rows += report.rows;
        total.malformed += report.malformed;
    }
    let longest = batches.iter().map(RecordBatch::num_rows).max();
    Ok(Limited {
        batch: concat_batches(schema, &batches).expect("batches of one schema"),
        report: total,
        longest: longest.unwrap_or(0),
    })
}

/// Decodes chunks; all rows as one batch.
fn decode(
    schema: &SchemaRef,
    mode: Mode,
    chunks: &[&[u8]],
) -> Result<(RecordBatch, DecodeReport), ConnectorError> {
    let limits = Limits::default();
    let Limited {
        batch,
        report,
        longest,
    } = decode_limited(schema, mode, chunks, limits)?;
    assert!(longest <= limits.rows);
    Ok((batch, report))
}

pub(super) fn shown(batch: &RecordBatch) -> String {
    let mut out = Vec::new();
    RowWriter::new(Format::Json, Dialect::default(), Forms::default())
        .rows(batch, &mut out)
        .expect("writable types");
    String::from_utf8(out).expect("JSON is UTF-8")
}

#[expect(clippy::needless_pass_by_value, reason = "the manner of expect-test")]
fn check(fields: &[(&str, DataType)], mode: Mode, text: &str, expected: Expect) {
    let schema = schema(fields);
    let (batch, report) = decode(&schema, mode, &[text.as_bytes()]).expect("decodes");
    let (rows, malformed) = (report.rows, report.malformed);
    expected.assert_eq(&format!(
        "{}{rows} rows, {malformed} malformed\n",
        shown(&batch)
    ));
}

fn micros(zone: Option<&str>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into))
}

#[test]
fn values_of_each_type() {
    check(
        &[
            ("b", DataType::Boolean),
            ("i8", DataType::Int8),
            ("i16", DataType::Int16),
            ("i32", DataType::Int32),
            ("i64", DataType::Int64),
            ("f", DataType::Float32),
            ("d", DataType::Float64),
            ("m", DataType::Decimal128(10, 2)),
            ("s", DataType::Utf8),
            ("x", DataType::Binary),
            ("day", DataType::Date32),
            ("at", micros(Some("UTC"))),
            ("local", micros(None)),
        ],
        Mode::Permissive,
        r#"{"b":true,"i8":-128,"i16":32767,"i32":-1,"i64":9223372036854775807,"f":0.1,"d":1e3,"m":1.005,"s":"a","x":"AQI=","day":"2024-02-29","at":"2024-01-01T02:00:00.123+02:00","local":"2024-01-01 00:00:00"}
{"b":false,"d":"NaN","f":"-INF","m":"12.3","at":86400,"day":"2024-01-01T10:00:00"}
{ "b" : null , "i8" : 1 }
{}
{"d":NaN,"f":-Infinity}
"#,
        expect![[r#"
            {"b":true,"i8":-128,"i16":32767,"i32":-1,"i64":9223372036854775807,"f":0.1,"d":1000.0,"m":1.01,"s":"a","x":"AQI=","day":"2024-02-29","at":"2024-01-01T00:00:00.123Z","local":"2024-01-01T00:00:00.000"}
            {"b":false,"f":"-Infinity","d":"NaN","m":12.30,"day":"2024-01-01","at":"1970-01-02T00:00:00.000Z"}
            {"i8":1}
            {}
            {"f":"-Infinity","d":"NaN"}
            5 rows, 0 malformed
        "#]],
    );
}

#[test]
fn values_of_another_type_are_null_and_the_rest_stays() {
    check(
        &[
            ("n", DataType::Int32),
            ("at", micros(None)),
            ("k", DataType::Utf8),
        ],
        Mode::Permissive,
        r#"{"n":"1","k":"text"}
{"n":1.0,"k":"fraction"}
{"n":3000000000,"k":"too big"}
{"n":{"a":[1]},"k":"object"}
{"n":true,"k":"boolean"}
{"at":"2024-01-01T00:00:00Z","k":"zone where there is none"}
{"at":"soon","k":"no time"}
"#,
        expect![[r#"
            {"k":"text"}
            {"k":"fraction"}
            {"k":"too big"}
            {"k":"object"}
            {"k":"boolean"}
            {"k":"zone where there is none"}
            {"k":"no time"}
            7 rows, 7 malformed
        "#]],
    );
}

#[test]
fn text_columns_take_any_value_as_it_is_written() {
    check(
        &[("s", DataType::Utf8)],
        Mode::Permissive,
        concat!(
            r#"{"s":{"a": [1, "x"]}}"#,
            "\n",
            r#"{"s":1.50}"#,
            "\n",
            r#"{"s":true}"#,
            "\n",
            r#"{"s":null}"#,
            "\n",
            r#"{"s":"\u00e9\ud83d\ude00\n\"\\\/ \ud800x"}"#,
            "\n",
        ),
        expect![[r#"
            {"s":"{\"a\": [1, \"x\"]}"}
            {"s":"1.50"}
            {"s":"true"}
            {}
            {"s":"é😀\n\"\\/ ?x"}
            5 rows, 0 malformed
        "#]],
    );
}

const BROKEN: &str = r#"{"a":1,"b":"x"}
{"a":2,
{"a":3,"b":"y"} rest
not json
{"a":04}
{"a":5,"b":"	"}
{"a":6,"b":"\x"}
{"a":7,"skipped":[1,}
{"a":8,"b":"z"}
"#;

#[test]
fn malformed_lines_become_nulls_or_go() {
    let fields = [
        ("a", DataType::Int64),
        ("b", DataType::Utf8),
        ("bad", DataType::Utf8),
    ];
    check(
        &fields,
        Mode::Permissive,
        BROKEN,
        expect![[r#"
            {"a":1,"b":"x"}
            {"bad":"{\"a\":2,"}
            {"bad":"{\"a\":3,\"b\":\"y\"} rest"}
            {"bad":"not json"}
            {"bad":"{\"a\":04}"}
            {"bad":"{\"a\":5,\"b\":\"\t\"}"}
            {"bad":"{\"a\":6,\"b\":\"\\x\"}"}
            {"bad":"{\"a\":7,\"skipped\":[1,}"}
            {"a":8,"b":"z"}
            9 rows, 7 malformed
        "#]],
    );
    check(
        &fields,
        Mode::DropMalformed,
        BROKEN,
        expect![[r#"
            {"a":1,"b":"x"}
            {"a":8,"b":"z"}
            9 rows, 7 malformed
        "#]],
    );
}

#[test]
fn failfast_is_con_007_and_says_where() {
    let schema = schema(&[("a", DataType::Int64)]);
    for (text, offset) in [("{\"a\":1}\n{\"a\":", 8), ("\n{\"a\":\"x\"}", 1)] {
        let error = decode(&schema, Mode::FailFast, &[text.as_bytes()]).expect_err("malformed");
        assert_eq!(error.code().0, "CON-007");
        let here = matches!(&error, ConnectorError::Malformed { offset: at, .. } if *at == offset);
        assert!(here, "{error}");
    }
}

#[test]
fn lines_end_in_many_ways() {
    check(
        &[("a", DataType::Int64)],
        Mode::Permissive,
        "\u{feff}{\"a\":1}\r\n\r\n  \n\t{\"a\":2} \r\n[{\"a\":3},{\"a\":4}]\n[]\n{\"a\":5}",
        expect![[r#"
            {"a":1}
            {"a":2}
            {"a":3}
            {"a":4}
            {"a":5}
            5 rows, 0 malformed
        "#]],
    );
}

#[test]
fn keys_in_any_order_twice_or_escaped() {
    check(
        &[("a", DataType::Int64), ("b", DataType::Utf8)],
        Mode::Permissive,
        r#"{"a":1,"b":"x"}
{"b":"y","a":2}
{"a":3,"a":4,"b":"u","b":"v"}
{"\u0061":5,"A":6}
{"c":{"a":7},"a":8}
{"a":1,"a":"x"}
"#,
        expect![[r#"
            {"a":1,"b":"x"}
            {"a":2,"b":"y"}
            {"a":4,"b":"v"}
            {"a":5}
            {"a":8}
            {}
            6 rows, 1 malformed
        "#]],
    );
}

pub(super) fn nested() -> Vec<(&'static str, DataType)> {
    let inner = DataType::Struct(
        vec![
            Field::new("x", DataType::Int64, true),
            Field::new("y", DataType::Utf8, true),
        ]
        .into(),
    );
    let entries = DataType::Struct(
        vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Int64, true),
        ]
        .into(),
    );
    vec![
        ("o", inner.clone()),
        (
            "l",
            DataType::List(Arc::new(Field::new("element", inner, true))),
        ),
        (
            "m",
            DataType::Map(Arc::new(Field::new("entries", entries, false)), false),
        ),
    ]
}

#[test]
fn nested_values() {
    check(
        &nested(),
        Mode::Permissive,
        r#"{"o":{"y":"a","x":1},"l":[{"x":1},null,{"y":"b","z":0}],"m":{"k":1,"n":null}}
{"o":null,"l":[],"m":{}}
{"o":{"x":"wrong","y":"kept"},"l":[{"x":1},2],"m":[1]}
{"o":{"x":1},"l":[{"x":1},{"x":2}
{"o":{"x":9},"o":{"y":"last"},"l":[{"x":1}],"l":[]}
"#,
        expect![[r#"
            {"o":{"x":1,"y":"a"},"l":[{"x":1},null,{"y":"b"}],"m":{"k":1,"n":null}}
            {"l":[],"m":{}}
            {"o":{"y":"kept"}}
            {}
            {"o":{"y":"last"},"l":[]}
            5 rows, 2 malformed
        "#]],
    );
}

#[test]
fn depth_has_a_limit() {
    let schema = schema(&[("a", DataType::Utf8)]);
    for (levels, malformed) in [(63, 0), (64, 1), (100_000, 1)] {
        let text = format!("{{\"a\":{}{}}}\n", "[".repeat(levels), "]".repeat(levels));
        let (_, report) = decode(&schema, Mode::Permissive, &[text.as_bytes()]).expect("decodes");
        assert_eq!(report.malformed, malformed, "{levels}");
    }
}

#[test]
fn bytes_that_are_not_utf8_spoil_only_their_line() {
    let schema = schema(&[("s", DataType::Utf8)]);
    let text = b"{\"s\":\"a\"}\n{\"s\":\"\xff\"}\n{\"s\":\"\xc3\xa9\"}\n";
    let (batch, report) = decode(&schema, Mode::DropMalformed, &[text]).expect("decodes");
    assert_eq!(shown(&batch), "{\"s\":\"a\"}\n{\"s\":\"é\"}\n");
    assert_eq!((report.rows, report.malformed), (3, 1));
}

#[test]
fn a_count_needs_no_columns() {
    let schema = schema(&[("a", DataType::Int64)]);
    let mut decoder = JsonDecoder::new(&schema, &[], rules(Mode::Permissive)).expect("decoder");
    let mut rows = 0;
    let text = "{\"a\":1}\n".repeat(20_000);
    decoder
        .decode(chunk(text.as_bytes(), 0), &mut |batch| {
            rows += batch.num_rows()
        })
        .expect("decodes");
    assert_eq!(rows, 20_000);
}

#[test]
fn batches_are_cut_by_bytes_and_by_the_width_of_rows() {
    let text = format!("{{\"s\":\"{}\"}}\n", "x".repeat(91)).repeat(40);
    let limits = Limits {
        rows: 1_000,
        bytes: 1_000,
    };
    let longest = |schema: &SchemaRef, text: &str| {
        let text = [text.as_bytes()];
        let limited = decode_limited(schema, Mode::FailFast, &text, limits).expect("decodes");
        (limited.batch.num_rows(), limited.longest)
    };
    let texts = schema(&[("s", DataType::Utf8)]);
    assert_eq!(longest(&texts, &text), (40, 10));
    let fields: Vec<String> = (0..20).map(|idx| format!("c{idx}")).collect();
    let fields: Vec<(&str, DataType)> = fields
        .iter()
        .map(|name| (name.as_str(), DataType::Int64))
        .collect();
    // Eight bytes and a bit for each of twenty columns.
    assert_eq!(longest(&schema(&fields), &"{}\n".repeat(40)), (40, 5));
    let items = "{\"l\":[{},{},{},{},{},{},{},{}]}\n".repeat(40);
    let (rows, longest) = longest(&schema(&nested()), &items);
    assert_eq!((rows, longest), (40, 7));
}

/// A line made of pieces that are often JSON and often just not.
fn almost_json() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"{".to_vec()),
        Just(b"}".to_vec()),
        Just(b"[".to_vec()),
        Just(b"]".to_vec()),
        Just(b",".to_vec()),
        Just(b":".to_vec()),
        Just(b"\"i\":".to_vec()),
        Just(b"\"o\":".to_vec()),
        Just(b"\"l\":".to_vec()),
        Just(b"\"m\":".to_vec()),
        Just(b"\"s\"".to_vec()),
        Just(b"\"\\u00e9\\\\\"".to_vec()),
        Just(b"null".to_vec()),
        Just(b"-1.5e2".to_vec()),
        Just(b"12345678901234567890".to_vec()),
        Just(b" ".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"{\"i\":1}\n".to_vec()),
        Just(b"{\"o\":{\"x\":1},\"l\":[{\"y\":\"q\"}],\"m\":{\"k\":2}}\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn wide() -> SchemaRef {
    let mut fields = nested();
    fields.push(("i", DataType::Int64));
    fields.push(("s", DataType::Utf8));
    fields.push(("bad", DataType::Utf8));
    schema(&fields)
}

proptest! {
    #[test]
    fn any_bytes_give_whole_batches(text in almost_json()) {
        for mode in [Mode::Permissive, Mode::DropMalformed] {
            let (batch, report) = decode(&wide(), mode, &[&text]).expect("only FAILFAST fails");
            let kept = batch.num_rows() as u64;
            prop_assert!(kept <= report.rows.max(kept) && report.malformed <= report.rows.max(1));
            if mode == Mode::DropMalformed {
                prop_assert!(kept <= report.rows);
            }
        }
    }

    #[test]
    fn any_cut_at_line_ends_gives_the_same_rows(text in almost_json(), cuts in any::<u64>()) {
        let (whole, report) = decode(&wide(), Mode::Permissive, &[&text]).expect("decodes");
        let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
        let mut chunks: Vec<Vec<u8>> = vec![Vec::new()];
        for (idx, line) in lines.iter().enumerate() {
            if cuts >> (idx % 64) & 1 == 1 {
                chunks.push(Vec::new());
            }
            if let Some(last) = chunks.last_mut() {
                last.extend_from_slice(line);
            }
        }
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let (cut, cut_report) = decode(&wide(), Mode::Permissive, &chunks).expect("decodes");
        prop_assert_eq!(shown(&whole), shown(&cut));
        prop_assert_eq!(report, cut_report);
    }

    #[test]
    fn what_is_skipped_is_checked_as_serde_checks_it(
        value in "[\\[\\]{}:,\"\\\\ a-fu0-9.eE+-]{0,24}|\"[^\n]{0,12}\"|-?[0-9]{1,3}(\\.[0-9]{0,2})?(e[+-]?[0-9]{0,2})?"
    ) {
        let line = format!("{{\"k\":{value}}}");
        let valid = serde_json::from_str::<serde::de::IgnoredAny>(&line).is_ok();
        let schema = schema(&[("a", DataType::Int64)]);
        let (_, report) = decode(&schema, Mode::Permissive, &[line.as_bytes()]).expect("decodes");
        prop_assert_eq!(report.malformed == 0, valid, "{}", line);
    }

    #[test]
    fn rows_equal_those_of_serde(
        records in proptest::collection::vec(
            (proptest::option::of(any::<i64>()), proptest::option::of(".{0,12}"),
             proptest::option::of(any::<f64>().prop_filter("JSON has none", |f| f.is_finite())),
             proptest::option::of(any::<bool>()), any::<bool>()),
            0..30),
    ) {
        let schema = schema(&[
            ("i", DataType::Int64), ("s", DataType::Utf8),
            ("f", DataType::Float64), ("b", DataType::Boolean),
        ]);
        let mut text = String::new();
        for (i, s, f, b, reversed) in &records {
            let line = if *reversed {
                serde_json::json!({"z": [i, s], "b": b, "f": f, "s": s, "i": i})
            } else {
                serde_json::json!({"i": i, "s": s, "more": {"s": s}, "f": f, "b": b})
            };
            text.push_str(&line.to_string());
            text.push('\n');
        }
        let (batch, report) = decode(&schema, Mode::FailFast, &[text.as_bytes()]).expect("valid");
        prop_assert_eq!(report.rows, records.len() as u64);
        use arrow::{array::AsArray, datatypes::{Float64Type, Int64Type}};
        let column = |idx: usize| batch.column(idx);
        for (row, (i, s, f, b, _)) in records.iter().enumerate() {
            let at = |idx: usize| column(idx).is_valid(row).then_some(row);
            prop_assert_eq!(&at(0).map(|r| column(0).as_primitive::<Int64Type>().value(r)), i);
            let text = at(1).map(|r| column(1).as_string::<i32>().value(r).to_owned());
            prop_assert_eq!(&text, s);
            prop_assert_eq!(&at(2).map(|r| column(2).as_primitive::<Float64Type>().value(r)), f);
            prop_assert_eq!(&at(3).map(|r| column(3).as_boolean().value(r)), b);
        }
    }
}
