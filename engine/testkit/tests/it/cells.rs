//! Cells and Arrow arrays: every value is printed and read back the same.

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use expect_test::{Expect, expect};
use millstream_testkit::script::{Cell, Reading, Step, Value, batch_of_rows, parse, rows_of_batch};
use millstream_types::Coded as _;
use proptest::prelude::*;
use std::sync::Arc;

fn schema(types: Vec<DataType>) -> SchemaRef {
    let field = |(index, data_type)| Field::new(format!("c{index}"), data_type, true);
    Arc::new(Schema::new(
        types.into_iter().enumerate().map(field).collect::<Vec<_>>(),
    ))
}

/// Reads rows as a table would and prints them again.
fn through(rows: &str, types: Vec<DataType>) -> Result<String, String> {
    let text = format!("input t\n{rows}");
    let script = parse(&text).map_err(|error| error.fault().to_string())?;
    let Some(Step::Input { rows, .. }) = script.paragraphs.first().map(|p| &p.step) else {
        return Err("no input".to_owned());
    };
    let batch = batch_of_rows(rows, &schema(types)).map_err(|error| error.fault().to_string())?;
    let line = |row: Vec<Value>| row.iter().map(Value::cell).collect::<Vec<_>>().join(" | ");
    Ok(rows_of_batch(&batch)
        .into_iter()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n"))
}

fn same(rows: &str, types: Vec<DataType>) {
    assert_eq!(through(rows, types).as_deref(), Ok(rows));
}

fn check(rows: &str, types: Vec<DataType>, want: &Expect) {
    want.assert_eq(&through(rows, types).unwrap_or_else(|error| error));
}

#[test]
fn numbers_print_as_spark_prints_them() {
    same(
        "1.0\n0.1\n-2.5\nNaN\nInfinity\n-Infinity\n1.0E300\nnull",
        vec![DataType::Float64],
    );
    check(
        "1\n1e20\n-0.0",
        vec![DataType::Float64],
        &expect![[r#"
        1.0
        1.0E20
        -0.0"#]],
    );
    same("0.1\n3.4028235E38", vec![DataType::Float32]);
    same("0.5", vec![DataType::Float16]);
    same("1.50\n-0.01\nnull", vec![DataType::Decimal128(10, 2)]);
    same("1.50", vec![DataType::Decimal32(5, 2)]);
    same("1.50", vec![DataType::Decimal256(50, 2)]);
    check("1", vec![DataType::Decimal128(10, 2)], &expect!["1.00"]);
    same("-128\n127", vec![DataType::Int8]);
    same("18446744073709551615", vec![DataType::UInt64]);
}

#[test]
fn what_does_not_fit_its_column_is_named() {
    check(
        "128",
        vec![DataType::Int8],
        &expect!["error SCR-001: column c0: no value of type Int8 (line 2, column 1)"],
    );
    check(
        "1 | 1.005",
        vec![DataType::Int32, DataType::Decimal128(10, 2)],
        &expect!["error SCR-001: column c1: no value of type Decimal128(10, 2) (line 2, column 5)"],
    );
    check(
        "2023-02-30",
        vec![DataType::Date32],
        &expect!["error SCR-001: column c0: no value of type Date32 (line 2, column 1)"],
    );
    check(
        "1 | 2",
        vec![DataType::Int32],
        &expect![
            "error SCR-001: the row has 2 cells, the table has 1 columns: c0 (line 2, column 1)"
        ],
    );
    check(
        "inf",
        vec![DataType::Float64],
        &expect!["error SCR-001: column c0: no value of type Float64 (line 2, column 1)"],
    );
}

#[test]
fn times_of_all_units() {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    same(
        "1969-12-31 23:59:59.999999\n2024-01-01 00:00:00.000001\n2024-01-01 00:00:00",
        vec![micros],
    );
    same(
        "2024-01-01 00:00:01",
        vec![DataType::Timestamp(
            TimeUnit::Microsecond,
            Some("UTC".into()),
        )],
    );
    same(
        "2024-01-01 00:00:01",
        vec![DataType::Timestamp(TimeUnit::Second, None)],
    );
    same(
        "2024-01-01 00:00:00.000000001",
        vec![DataType::Timestamp(TimeUnit::Nanosecond, None)],
    );
    same("0001-01-01\n9999-12-31\n1582-10-15", vec![DataType::Date32]);
    same("1582-10-15", vec![DataType::Date64]);
    same(
        "23:59:59.500000",
        vec![DataType::Time64(TimeUnit::Microsecond)],
    );
    same("23:59:59", vec![DataType::Time32(TimeUnit::Second)]);
    same(
        "1 months 2 days 3 hours 4.5 seconds\n0 seconds",
        vec![DataType::Interval(IntervalUnit::MonthDayNano)],
    );
    check(
        "1 day 1 hour",
        vec![DataType::Duration(TimeUnit::Microsecond)],
        &expect!["25 hours"],
    );
    check(
        "2024-01-01 00:00:00.5",
        vec![DataType::Timestamp(TimeUnit::Second, None)],
        &expect![
            "error SCR-001: Invalid argument error: 2024-01-01 00:00:00.500000 does not fit Timestamp(s) (line 2, column 1)"
        ],
    );
}

#[test]
fn texts_and_bytes_of_all_encodings() {
    for data_type in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View] {
        same("a\n\"a|b\"\n\"\"\n\"null\"\nnull\n\" x\"", vec![data_type]);
    }
    same(
        "a\nb\na\nnull",
        vec![DataType::Dictionary(
            Box::new(DataType::Int32),
            Box::new(DataType::Utf8),
        )],
    );
    for data_type in [
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
    ] {
        same("X'00FF'\nX''\nnull", vec![data_type]);
    }
    same("X'00FF'\nnull", vec![DataType::FixedSizeBinary(2)]);
}

#[test]
fn nested_values_are_json() {
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    for data_type in [
        DataType::List(Arc::clone(&item)),
        DataType::LargeList(Arc::clone(&item)),
        DataType::FixedSizeList(item, 2),
    ] {
        same("[1,null]\nnull\n[3,4]", vec![data_type]);
    }
    let fields = Fields::from(vec![
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("name", DataType::Utf8, true),
        Field::new("x", DataType::Float64, true),
    ]);
    let both = DataType::Struct(fields);
    same(
        r#"{"at":"2024-01-01 00:00:00","name":"a|\"b","x":1.0}"#,
        vec![both.clone()],
    );
    check(
        r#"{"x": "NaN"}"#,
        vec![both.clone()],
        &expect![[r#"{"at":null,"name":null,"x":"NaN"}"#]],
    );
    check(
        r#"{"y": 1}"#,
        vec![both],
        &expect![[
            r#"error SCR-001: column c0: no JSON of type Struct("at": Timestamp(µs), "name": Utf8, "x": Float64) (line 2, column 1)"#
        ]],
    );
    let pair = Fields::from(vec![
        Field::new("key", DataType::Int32, false),
        Field::new("value", DataType::Utf8, true),
    ]);
    let entries = Arc::new(Field::new("entries", DataType::Struct(pair), false));
    same(
        "{\"1\":\"a\",\"2\":null}\n{}\nnull",
        vec![DataType::Map(entries, false)],
    );
}

#[test]
fn doubles_compare_with_tolerance_and_answers_show_their_type() {
    let read = |text: &str, data_type: &DataType| {
        let cell = Cell {
            text: text.to_owned(),
            quoted: false,
            column: 1,
        };
        Value::read(&cell, data_type, Reading::Answer)
    };
    let got = Value::Float(0.1 + 0.2);
    assert!(read("0.3", &DataType::Float64).is_ok_and(|want| want.matches(&got)));
    assert!(read("0.30000001", &DataType::Float64).is_ok_and(|want| !want.matches(&got)));
    assert!(
        read("NaN", &DataType::Float64).is_ok_and(|want| want.matches(&Value::Float(f64::NAN)))
    );
    assert!(
        read("Infinity", &DataType::Float64).is_ok_and(|w| !w.matches(&Value::Float(f64::MAX)))
    );
    assert!(
        read("3", &DataType::Float64).is_err(),
        "a double has a point"
    );
    assert!(
        read("3.0", &DataType::Decimal128(5, 2)).is_err(),
        "a decimal has its scale"
    );
    assert!(
        read("3.0", &DataType::Int64).is_err(),
        "a whole number has no point"
    );
}

#[test]
fn decimals_go_in_however_many_zeros_they_have() {
    let shown = |text: &str| through(text, vec![DataType::Decimal128(6, 2)]);
    for (text, want) in [
        ("1.500", "1.50"),
        ("01.50", "1.50"),
        ("-0.00", "0.00"),
        ("1.", "1.00"),
        ("0001234.5", "1234.50"),
        ("-9999.990000", "-9999.99"),
    ] {
        assert_eq!(shown(text), Ok(want.to_owned()), "{text}");
    }
    for text in ["1.501", "10000", ".5", "1e2", "--1"] {
        assert!(shown(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_comes_back(text in any::<String>()) {
        let shown = Value::Text(text).cell();
        prop_assert_eq!(through(&format!("{shown} | {shown}"), vec![DataType::Utf8; 2]), Ok(format!("{shown} | {shown}")));
    }

    #[test]
    fn any_double_comes_back(value in any::<f64>()) {
        let shown = Value::Float(value).cell();
        prop_assert_eq!(through(&shown, vec![DataType::Float64]), Ok(shown));
    }

    #[test]
    fn any_microsecond_of_ten_thousand_years_comes_back(micros in -62_135_596_800_000_000i64..253_402_300_800_000_000) {
        let shown = Value::Timestamp(i128::from(micros) * 1000).cell();
        prop_assert_eq!(through(&shown, vec![DataType::Timestamp(TimeUnit::Microsecond, None)]), Ok(shown));
    }

    // [INV-10]
    #[test]
    fn no_text_panics_the_parser(text in "(query q changes\n|expect q|input t|[ -~\n\"\\[{|é]){0,12}") {
        let _ = parse(&text);
    }
}
