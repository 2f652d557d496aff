//! Spark's answers for CSV.

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    datatypes::{DataType, Field, Fields},
};
use proptest::prelude::*;

use super::{CsvOptions, decode, encode, schema_of};
use crate::{
    ValueError,
    json::{self, JsonOptions},
    zone::Zone,
};

fn options(pairs: &[(&str, &str)]) -> Result<CsvOptions, ValueError> {
    CsvOptions::new(pairs.iter().copied(), &Zone::utc())
}

fn fields(types: &[DataType]) -> Fields {
    let names = ["a", "b", "c", "d"].iter().zip(types);
    names
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
        .collect()
}

fn read(line: &str, types: &[DataType], pairs: &[(&str, &str)]) -> Result<ArrayRef, ValueError> {
    decode(
        &StringArray::from(vec![line]),
        &fields(types),
        &options(pairs)?,
    )
}

/// A line read and shown as JSON with nulls.
fn shown(line: &str, types: &[DataType], pairs: &[(&str, &str)]) -> Result<String, ValueError> {
    let nulls = JsonOptions::new([("ignoreNullFields", "false")], &Zone::utc())?;
    let texts = json::encode(&read(line, types, pairs)?, &nulls)?;
    Ok(texts.value(0).to_owned())
}

#[test]
fn lines_are_read() {
    let two = [DataType::Utf8, DataType::Utf8];
    for (line, pairs, want) in [
        ("1,x", &[][..], r#"{"a":"1","b":"x"}"#),
        ("1", &[], r#"{"a":"1","b":null}"#),
        ("", &[], r#"{"a":null,"b":null}"#),
        (",\"\"", &[], r#"{"a":null,"b":null}"#),
        (
            ",\"\"",
            &[("emptyValue", "E"), ("nullValue", "N")],
            r#"{"a":null,"b":"E"}"#,
        ),
        ("N,\"N\"", &[("nullValue", "N")], r#"{"a":null,"b":null}"#),
        ("\"a \\\"b\\\" c\",x", &[], r#"{"a":"a \"b\" c","b":"x"}"#),
        (
            "\"a \"\"b\"\" c\",x",
            &[],
            r#"{"a":"\"a \"\"b\"\" c\"","b":"x"}"#,
        ),
        ("\"a\"b,c", &[], r#"{"a":"\"a\"b","b":"c"}"#),
        ("\"a,b", &[], r#"{"a":"a,b","b":null}"#),
        ("a\"b,c", &[], r#"{"a":"a\"b","b":"c"}"#),
        (
            "'a,b';x",
            &[("quote", "'"), ("sep", ";")],
            r#"{"a":"a,b","b":"x"}"#,
        ),
        ("#x,1", &[("comment", "#")], r#"{"a":null,"b":null}"#),
        ("\"a\nb\",c", &[], r#"{"a":"a\nb","b":"c"}"#),
    ] {
        assert_eq!(shown(line, &two, pairs).as_deref(), Ok(want), "{line}");
    }
    let doubles = [DataType::Float64, DataType::Float64, DataType::Float64];
    let named = [
        ("nanValue", "x"),
        ("positiveInf", "y"),
        ("negativeInf", "z"),
    ];
    let want = r#"{"a":"NaN","b":"Infinity","c":"-Infinity"}"#;
    assert_eq!(shown("x,y,z", &doubles, &named).as_deref(), Ok(want));
    assert_eq!(shown("NaN,Inf,-Inf", &doubles, &[]).as_deref(), Ok(want));
    let decimal = [DataType::Decimal128(8, 2)];
    let commas = shown("\"1,234.5\"", &decimal, &[]);
    assert_eq!(commas.as_deref(), Ok(r#"{"a":1234.50}"#));
}

#[test]
fn malformed_lines_and_options() {
    let types = [DataType::Int32, DataType::Utf8];
    let failed = read("q,x", &types, &[("mode", "FAILFAST")]).expect_err("fails");
    assert!(failed.to_string().contains("MALFORMED_RECORD_IN_PARSING"));
    for (pair, error) in [
        (("mode", "DROPMALFORMED"), "PARSE_MODE_UNSUPPORTED"),
        (("nonsense", "1"), "unknown option"),
        (("sep", "||"), "one ASCII character"),
        (("quoteAll", "x"), "true or false"),
    ] {
        let refused = read("1,x", &types, &[pair]).expect_err("refused");
        assert!(refused.to_string().contains(error), "{refused}");
    }
    let list = [DataType::new_list(DataType::Int32, true)];
    assert!(read("1", &list, &[]).is_err());
}

#[test]
fn structs_are_written() {
    let two = [DataType::Utf8, DataType::Utf8];
    let json = JsonOptions::new([], &Zone::utc()).expect("options");
    let written = |text: &str, pairs: &[(&str, &str)]| {
        let texts = StringArray::from(vec![text]);
        let read = json::decode(&texts, &DataType::Struct(fields(&two)), &json).expect("reads");
        let options = options(pairs).expect("options");
        encode(&read, &options).expect("writes").value(0).to_owned()
    };
    for (text, pairs, want) in [
        (r#"{"b":""}"#, &[][..], ",\"\""),
        (r#"{"a":"x,y","b":"q\"r"}"#, &[], "\"x,y\",\"q\\\"r\""),
        (r#"{"a":" s ","b":"\\"}"#, &[], "s,\\"),
        (
            r#"{"a":"x\\\"y","b":"a\\b,c"}"#,
            &[],
            "\"x\\\\\\\"y\",\"a\\\\b,c\"",
        ),
        (
            r#"{"a":"x"}"#,
            &[("sep", ";"), ("nullValue", "N"), ("quoteAll", "true")],
            "\"x\";\"N\"",
        ),
        (r#"{"a":"x","b":""}"#, &[("emptyValue", "E")], "x,E"),
        (
            r#"{"a":"q\"r","b":"s"}"#,
            &[("escape", "\"")],
            "\"q\"\"r\",s",
        ),
        (
            r#"{"a":"q\"r","b":"s"}"#,
            &[("escapeQuotes", "false")],
            "q\"r,s",
        ),
        (
            r#"{"a":" s ","b":"t"}"#,
            &[("ignoreLeadingWhiteSpace", "false")],
            " s,t",
        ),
    ] {
        assert_eq!(written(text, pairs), want, "{text}");
    }
}

#[test]
fn types_of_lines() {
    let types = |line: &str, pairs: &[(&str, &str)]| {
        let found = schema_of(line, &options(pairs).expect("options"));
        let Some(DataType::Struct(fields)) = found else {
            return "none".to_owned();
        };
        let names = fields.iter().map(|field| field.data_type().to_string());
        names.collect::<Vec<_>>().join(" ")
    };
    let line = "1,x,1.5,true,2024-01-02,99999999999,99999999999999999999999,";
    let want = "Int32 Utf8 Float64 Boolean Date32 Int64 Decimal128(23, 0) Utf8";
    assert_eq!(types(line, &[]), want);
    assert_eq!(types("2024-01-02T03:04:05", &[]), "Timestamp(µs, \"UTC\")");
    let plain = types("2024-01-02", &[("preferDate", "false")]);
    assert_eq!(plain, "Timestamp(µs, \"UTC\")");
    assert_eq!(types("NaN,Inf,1e5", &[]), "Float64 Float64 Float64");
    assert_eq!(types("\"1\";\"\"", &[("sep", ";")]), "Int32 Utf8");
    assert_eq!(types("", &[]), "none");
}

proptest! {
    // INV-10
    #[test]
    fn no_line_makes_a_function_panic(line in "[a-c0-9,;.\"'\\\\# \nNé-]{0,40}") {
        let types = [DataType::Utf8, DataType::Int32, DataType::Float64, DataType::Date32];
        for pairs in [&[][..], &[("quote", "'"), ("escape", "'"), ("sep", ";"), ("comment", "#")]] {
            let options = options(pairs).expect("options");
            let texts = StringArray::from(vec![line.as_str()]);
            let read = decode(&texts, &fields(&types), &options).expect("reads");
            prop_assert_eq!(read.len(), 1);
            let _ = schema_of(&line, &options);
            // What was written once is written so again.
            let written = encode(&read, &options).expect("writes");
            let again = decode(&written, &fields(&types), &options).expect("reads");
            let numbers = |array: &ArrayRef| array.as_struct().columns()[1..].to_vec();
            prop_assert_eq!(numbers(&again), numbers(&read));
        }
    }
}
