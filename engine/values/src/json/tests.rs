//! Spark's answers for JSON, and what is written is read again.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    datatypes::{DataType, Field, Fields},
};
use proptest::prelude::*;

use super::{JsonOptions, decode, encode, path, schema_of};
use crate::{ValueError, zone::Zone};

fn options(pairs: &[(&str, &str)]) -> Result<JsonOptions, ValueError> {
    JsonOptions::new(pairs.iter().copied(), &Zone::utc())
}

fn fields(fields: &[(&str, DataType)]) -> DataType {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    DataType::Struct(fields.iter().map(field).collect::<Fields>())
}

/// A text read as a type and written again with nulls.
fn through(text: &str, data_type: &DataType, pairs: &[(&str, &str)]) -> Result<String, ValueError> {
    let read = decode(&StringArray::from(vec![text]), data_type, &options(pairs)?)?;
    let written = encode(&read, &options(&[("ignoreNullFields", "false")])?)?;
    Ok(if written.is_null(0) {
        "NULL".to_owned()
    } else {
        written.value(0).to_owned()
    })
}

fn check(text: &str, data_type: &DataType, want: &str) {
    let got = through(text, data_type, &[]);
    assert_eq!(got.as_deref(), Ok(want), "{text}");
}

#[test]
fn a_text_is_one_record() {
    let a = fields(&[("a", DataType::Int32)]);
    for (text, want) in [
        (r#"{"a":1} x"#, r#"{"a":1}"#),
        (r#"{"a":1}{"a":2}"#, r#"{"a":1}"#),
        ("[{\"a\":1}]", r#"{"a":null}"#),
        ("", "NULL"),
        ("   \n", "NULL"),
        ("null", r#"{"a":null}"#),
        ("x", r#"{"a":null}"#),
        ("{\"a\"\n:\r\n1\n}", r#"{"a":1}"#),
        (r#"{"a":1,}"#, r#"{"a":null}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{'a':1}"#, r#"{"a":1}"#),
        (r#"{"A":1}"#, r#"{"a":null}"#),
        (r#"{"a":1.0}"#, r#"{"a":null}"#),
        (r#"{"a":3000000000}"#, r#"{"a":null}"#),
        (r#"{"a":"1"}"#, r#"{"a":null}"#),
    ] {
        check(text, &a, want);
    }
}

#[test]
fn values_of_another_type_are_null_as_far_as_they_reach() {
    let corrupt = fields(&[
        ("a", DataType::Int32),
        ("b", DataType::Int32),
        ("_corrupt_record", DataType::Utf8),
    ]);
    check(
        r#"{"a":"x","b":2}"#,
        &corrupt,
        r#"{"a":null,"b":2,"_corrupt_record":"{\"a\":\"x\",\"b\":2}"}"#,
    );
    check(
        r#"{"a":1,"b":2"#,
        &corrupt,
        r#"{"a":null,"b":null,"_corrupt_record":"{\"a\":1,\"b\":2"}"#,
    );
    let list = DataType::new_list(DataType::Int32, true);
    let map = DataType::Map(
        Arc::new(Field::new(
            "entries",
            DataType::Struct(Fields::from(vec![
                Field::new("key", DataType::Utf8, false),
                Field::new("value", DataType::Int32, true),
            ])),
            false,
        )),
        false,
    );
    check("[1,2,null]", &list, "[1,2,null]");
    check(r#"[1,"x"]"#, &list, "NULL");
    check(r#"{"b":1,"a":2}"#, &map, r#"{"b":1,"a":2}"#);
    check(r#"{"b":1,"a":"x"}"#, &map, "NULL");
    let structs = DataType::new_list(fields(&[("a", DataType::Int32)]), true);
    check(
        r#"[{"a":"x"},{"a":1}]"#,
        &structs,
        r#"[{"a":null},{"a":1}]"#,
    );
    check(r#"{"a":1}"#, &structs, r#"[{"a":1}]"#);
    check("[1,2]", &structs, "NULL");
    let both = fields(&[("a", list.clone()), ("b", DataType::Int32)]);
    check(r#"{"a":[1,"x",3],"b":1}"#, &both, r#"{"a":null,"b":1}"#);
    let deep = fields(&[("a", DataType::new_list(list, true))]);
    check(r#"{"a":[[1],["x"]]}"#, &deep, r#"{"a":null}"#);
}

#[test]
fn texts_take_any_value_in_the_form_of_spark() {
    let s = fields(&[("a", DataType::Utf8)]);
    for (value, want) in [
        ("1.50", "1.5"),
        ("1.10e2", "110.0"),
        ("1E5", "100000.0"),
        ("-0.0", "-0.0"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("true", "true"),
        (r#"{"x":  1, "y":[1, 2.0]}"#, r#"{\"x\":1,\"y\":[1,2.0]}"#),
        (
            r#"{"b":1.10e2,"c":1E400}"#,
            r#"{\"b\":110.0,\"c\":\"Infinity\"}"#,
        ),
        (r#"{"c":"x\ny\u00e9\/"}"#, r#"{\"c\":\"x\\nyé/\"}"#),
        (r#""\ud83d\ude00 \ud83d x""#, "😀 ? x"),
    ] {
        check(
            &format!("{{\"a\":{value}}}"),
            &s,
            &format!("{{\"a\":\"{want}\"}}"),
        );
    }
}

#[test]
fn numbers_and_times() {
    let double = fields(&[("a", DataType::Float64)]);
    for (value, want) in [
        ("NaN", "\"NaN\""),
        ("Infinity", "\"Infinity\""),
        ("-INF", "\"-Infinity\""),
        ("INF", "null"),
        ("\"NaN\"", "\"NaN\""),
        ("\"+INF\"", "\"Infinity\""),
        ("\"INF\"", "null"),
        ("\"1.5\"", "null"),
        ("1", "1.0"),
        (".5", "null"),
    ] {
        check(
            &format!("{{\"a\":{value}}}"),
            &double,
            &format!("{{\"a\":{want}}}"),
        );
    }
    let decimal = fields(&[("a", DataType::Decimal128(8, 2))]);
    for (value, want) in [
        ("1.505", "1.51"),
        ("\"1,234.5\"", "1234.50"),
        ("1234567.5", "null"),
        ("0", "0.00"),
    ] {
        check(
            &format!("{{\"a\":{value}}}"),
            &decimal,
            &format!("{{\"a\":{want}}}"),
        );
    }
    let stamp = |zone: Option<&str>| {
        DataType::Timestamp(
            arrow::datatypes::TimeUnit::Microsecond,
            zone.map(Into::into),
        )
    };
    let times = fields(&[
        ("t", stamp(Some("UTC"))),
        ("n", stamp(None)),
        ("d", DataType::Date32),
    ]);
    check(
        r#"{"t":"2024-01-02 03:04:05.678901","n":"2024-01-02T03:04:05","d":"2024-01-02 10:00"}"#,
        &times,
        r#"{"t":"2024-01-02T03:04:05.678Z","n":"2024-01-02T03:04:05.000","d":"2024-01-02"}"#,
    );
    check(
        r#"{"t":1704067200,"n":1704067200,"d":19000}"#,
        &times,
        r#"{"t":"2024-01-01T00:00:00.000Z","n":null,"d":null}"#,
    );
    let forms = [
        ("timestampFormat", "dd/MM/yyyy HH:mm"),
        ("timeZone", "Europe/Berlin"),
        ("dateFormat", "dd/MM/yyyy"),
        ("timestampNTZFormat", "HH.mm"),
    ];
    let text = r#"{"t":"02/01/2024 10:11","n":"10.11","d":"03/01/2024"}"#;
    let got = through(text, &times, &forms);
    let want = r#"{"t":"2024-01-02T09:11:00.000Z","n":"1970-01-01T10:11:00.000","d":"2024-01-03"}"#;
    assert_eq!(got.as_deref(), Ok(want));
}

#[test]
fn options_allow_more_and_less() {
    let a = fields(&[("a", DataType::Utf8)]);
    for (name, text, with) in [
        ("allowUnquotedFieldNames", "{a:1}", "1"),
        ("allowNumericLeadingZeros", r#"{"a":-007}"#, "-7"),
        (
            "allowBackslashEscapingAnyCharacter",
            r#"{"a":"x\$y"}"#,
            "x$y",
        ),
        (
            "allowUnquotedControlChars",
            "{\"a\":\"x\u{1}y\"}",
            "x\\u0001y",
        ),
        ("allowComments", "{\"a\":/* c */1 // d\n}", "1"),
    ] {
        let with = format!("{{\"a\":\"{with}\"}}");
        assert_eq!(through(text, &a, &[(name, "true")]), Ok(with), "{name}");
        assert_eq!(
            through(text, &a, &[]).as_deref(),
            Ok(r#"{"a":null}"#),
            "{name}"
        );
    }
    let single = through("{'a':'x'}", &a, &[("allowSingleQuotes", "false")]);
    assert_eq!(single.as_deref(), Ok(r#"{"a":null}"#));
    let special = through(r#"{"a":NaN}"#, &a, &[("allowNonNumericNumbers", "FALSE")]);
    assert_eq!(special.as_deref(), Ok(r#"{"a":null}"#));
    for (pairs, error) in [
        (("mode", "DROPMALFORMED"), "PARSE_MODE_UNSUPPORTED"),
        (("nonsense", "1"), "unknown option"),
        (("primitivesAsString", "maybe"), "must be true or false"),
        (("timeZone", "nowhere"), "INVALID_TIMEZONE"),
        (("dateFormat", "YYYY"), "unknown pattern letter"),
        (("locale", "de"), "must be en-US"),
    ] {
        let text = through("{}", &a, &[pairs])
            .expect_err("refused")
            .to_string();
        assert!(text.contains(error), "{text}");
    }
    for text in [r#"{"a":1"#, "[]"] {
        let failed = through(text, &a, &[("MODE", "failfast")]).expect_err("fails");
        assert!(
            failed.to_string().contains("MALFORMED_RECORD_IN_PARSING"),
            "{text}"
        );
    }
}

#[test]
fn writing_has_options() {
    let s = fields(&[
        ("b", DataType::Utf8),
        ("a", DataType::new_list(DataType::Int32, true)),
    ]);
    let texts = StringArray::from(vec![r#"{"b":"é😀","a":[1,null]}"#, r#"{"a":[]}"#]);
    let read = decode(&texts, &s, &options(&[]).expect("options")).expect("reads");
    let written = |pairs: &[(&str, &str)], row: usize| {
        let options = options(pairs).expect("options");
        encode(&read, &options)
            .expect("writes")
            .value(row)
            .to_owned()
    };
    assert_eq!(written(&[], 1), r#"{"a":[]}"#);
    let escaped = written(&[("writeNonAsciiCharacterAsCodePoint", "true")], 0);
    assert_eq!(escaped, r#"{"b":"\u00E9\uD83D\uDE00","a":[1,null]}"#);
    let pretty = written(&[("pretty", "true")], 0);
    assert_eq!(pretty, "{\n  \"b\" : \"é😀\",\n  \"a\" : [ 1, null ]\n}");
    assert_eq!(written(&[("pretty", "true")], 1), "{\n  \"a\" : [ ]\n}");
}

#[test]
fn paths() {
    let long = r#"[{"a":[{"b":1},{"b":2}]},{"a":[{"b":3}]}]"#;
    for (text, path, want) in [
        (r#"{"b":1,"a":2}"#, "$", Some(r#"{"b":1,"a":2}"#)),
        (r#"{"a":[1,2,{"b":3}]}"#, "$.a[2].b", Some("3")),
        (r#"{"a":[{"b":1},{"b":2}]}"#, "$.a[*].b", Some("[1,2]")),
        (r#"{"a":[{"b":"x"}]}"#, "$.a[*].b", Some("\"x\"")),
        (r#"{"a":[{"b":1},{"b":2}]}"#, "$.a.b", None),
        (r#"{"a":1}"#, "$.*", None),
        (r#"{"a":1}"#, "$[*]", None),
        (r#"{"a b":"x"}"#, "$['a b']", Some("x")),
        (r#"{"a b":"x"}"#, "$.a b", Some("x")),
        (r#"{"a":"x"}"#, "a", None),
        (r#"{"a":"x"}"#, "$.", None),
        (r#"{"a":1}"#, "$. a", Some("1")),
        (r#"{"a":null}"#, "$.a", None),
        (r#"{"a":null,"a":2}"#, "$.a", Some("2")),
        (r#"{"a":1,"a":2}"#, "$.a", Some("1")),
        (r#"{"a":[1,null]}"#, "$.a[1]", Some("null")),
        (
            r#"{"a":{"x":"p\ty\u00e9\/"}}"#,
            "$.a",
            Some(r#"{"x":"p\tyé/"}"#),
        ),
        (r#"{"a":1} x"#, "$.a", Some("1")),
        (r#"{"a":1, x"#, "$.a", None),
        ("[[1,2],[3,4]]", "$[*][0]", Some("[1,3]")),
        ("[[1,2],[3,4]]", "$[*][*]", Some("[1,2,3,4]")),
        ("[[1,2],[3,4]]", "$[*]", Some("[[1,2],[3,4]]")),
        ("[[[1,2],[3,4]],[[5]]]", "$[*][*]", Some("[1,2,3,4,5]")),
        (long, "$[*].a[*].b", Some("[[1,2],[3]]")),
        (long, "$[0].a[*].b", Some("[1,2]")),
        (
            r#"{"a":[{"b":[1,2]},{"b":[3]}]}"#,
            "$.a[*].b[*]",
            Some("[[1,2],[3]]"),
        ),
        (r#"{"a":[{"b":[1,2]}]}"#, "$.a[*].b[*]", Some("[1,2]")),
        ("[[[1],[2]],[[3]]]", "$[*][*][0]", Some("[1,3]")),
        ("[[[1],[2]],[[3]]]", "$[*][0][*]", Some("[[1],[3]]")),
        ("{'a':'x'}", "$.a", Some("x")),
        ("{\"a\":\"tab\tin\"}", "$.a", Some("tab\tin")),
        (r#"{"a":NaN}"#, "$.a", None),
        (r#"{"a":007}"#, "$.a", None),
        (r#"{"a":[1]}"#, "$.a[-1]", None),
        (r#""x""#, "$", Some("x")),
        ("", "$", None),
    ] {
        let found = path::get(&vec![text].into(), &vec![path].into()).expect("found");
        assert_eq!(found.iter().next().flatten(), want, "{path} in {text}");
    }
}

#[test]
fn tuples_keys_and_lengths() {
    let texts = StringArray::from(vec![
        r#"{"a":{"x": 1.10},"b":[1, 2]}"#,
        r#"{"a":1,"a":2,"b":null}"#,
        r#"{"a":1"#,
        "[{\"a\":1}]",
        "{} x",
    ]);
    let name = |name: &'static str| StringArray::from(vec![name; 5]);
    let found = path::tuple(&texts, &[&name("a"), &name("b")]).expect("found");
    let column = |at: usize| {
        found[at]
            .iter()
            .map(|text| text.map(str::to_owned))
            .collect()
    };
    let a: Vec<Option<String>> = column(0);
    assert_eq!(
        a,
        [
            Some(r#"{"x":1.1}"#.to_owned()),
            Some("2".to_owned()),
            None,
            None,
            None
        ]
    );
    let b: Vec<Option<String>> = column(1);
    assert_eq!(b, [Some("[1,2]".to_owned()), None, None, None, None]);
    let keys = path::keys(&texts).expect("keys");
    let of_row = |row: usize| {
        let keys = keys.as_list::<i32>();
        keys.is_valid(row)
            .then(|| format!("{:?}", keys.value(row).as_string::<i32>()))
    };
    assert!(of_row(1).is_some_and(|keys| keys.contains("\"a\",\n  \"a\",\n  \"b\"")));
    assert_eq!((of_row(2), of_row(3)), (None, None));
    let lists = StringArray::from(vec!["[1,[2,3],{\"a\":[4]}]", "{}", "[1,", "[] x"]);
    let lengths: Vec<Option<i32>> = path::lengths(&lists).iter().collect();
    assert_eq!(lengths, [Some(3), None, None, Some(0)]);
}

#[test]
fn types_of_texts() {
    let shown = |text: &str, pairs: &[(&str, &str)]| match schema_of(
        text,
        &options(pairs).expect("options"),
    ) {
        Ok(DataType::Struct(fields)) => {
            let fields = fields
                .iter()
                .map(|f| format!("{} {}", f.name(), f.data_type()));
            fields.collect::<Vec<_>>().join(", ")
        }
        Ok(other) => other.to_string(),
        Err(reason) => reason.to_owned(),
    };
    for (text, pair, want) in [
        (
            r#"{"b":1,"a":"x","c":1.5,"d":true,"e":null}"#,
            None,
            "a Utf8, b Int64, c Float64, d Boolean, e Utf8",
        ),
        (r#"{"a":99999999999999999999}"#, None, "a Decimal128(20, 0)"),
        (
            r#"{"a":1.5}"#,
            Some(("prefersDecimal", "true")),
            "a Decimal128(2, 1)",
        ),
        (
            r#"{"a":1,"b":true}"#,
            Some(("primitivesAsString", "true")),
            "a Utf8, b Utf8",
        ),
        (
            r#"{"a":"2024-01-02T03:04:05"}"#,
            Some(("inferTimestamp", "true")),
            "a Timestamp(µs, \"UTC\")",
        ),
        (
            r#"{"a":[1,1.5]}"#,
            Some(("prefersDecimal", "true")),
            "a List(Decimal128(21, 1))",
        ),
        (r#"{"a":[1,"x",null,{"b":1}]}"#, None, "a List(Utf8)"),
        (r#"{"a":[],"b":{}}"#, None, "a List(Utf8)"),
        (
            r#"{"a":{"b":null}}"#,
            Some(("dropFieldIfAllNull", "true")),
            "",
        ),
        (
            r#"{"a":1e5,"b":-0.0,"c":-5}"#,
            None,
            "a Float64, b Float64, c Int64",
        ),
        ("", None, "Utf8"),
        ("1", None, "Int64"),
        ("{a:1}", None, "object key is no string"),
    ] {
        assert_eq!(shown(text, pair.as_slice()), want, "{text}");
    }
}

/// JSON of scalars, lists and maps, sometimes cut or spoilt.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[\\[\\]{}:,\"'\\\\ \n/*]{1,4}",
        "-?[0-9]{1,40}(\\.[0-9]{1,40})?(e-?[0-9]{1,12})?",
        "\"(\\\\u[0-9a-fA-F]{0,4}|[a-cé\\\\\"']){0,6}\"",
        Just("{\"a\":[{\"b\":1.5,\"c\":\"2024-01-01\"}],\"m\":{\"x\":[1]}}".to_owned()),
        Just("true".to_owned()),
        Just("NaN".to_owned()),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

fn wide() -> DataType {
    let inner = fields(&[("b", DataType::Decimal128(38, 10)), ("c", DataType::Date32)]);
    fields(&[
        ("a", DataType::new_list(inner, true)),
        ("m", DataType::Utf8),
        ("x", DataType::Float32),
        ("_corrupt_record", DataType::Utf8),
    ])
}

proptest! {
    // INV-10
    #[test]
    fn no_text_makes_a_function_panic(text in hostile(), path in "\\$([.\\[\\]*'ab0]){0,8}") {
        let all = [("allowComments", "true"), ("allowUnquotedFieldNames", "true"), ("allowUnquotedControlChars", "true"),
            ("allowBackslashEscapingAnyCharacter", "true"), ("allowNumericLeadingZeros", "true")];
        let texts = StringArray::from(vec![text.as_str(), &"[".repeat(5_000)]);
        for pairs in [&[][..], &all] {
            let options = options(pairs).expect("options");
            let read = decode(&texts, &wide(), &options).expect("reads");
            prop_assert_eq!(read.len(), 2);
            let written = encode(&read, &options).expect("writes");
            let again = decode(&written, &wide(), &options).expect("reads");
            let columns = |array: &ArrayRef| array.as_struct().columns()[..3].to_vec();
            prop_assert_eq!(columns(&again), columns(&read));
            let _ = schema_of(&text, &options);
        }
        let paths = StringArray::from(vec![path.as_str(), "$[0]"]);
        prop_assert_eq!(path::get(&texts, &paths).expect("found").len(), 2);
        let found = path::tuple(&texts, &[&paths]).expect("found");
        prop_assert_eq!((found.len(), path::lengths(&texts).len()), (1, 2));
        prop_assert_eq!(path::keys(&texts).expect("keys").len(), 2);
    }
}
