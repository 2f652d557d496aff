//! What is written as JSON is read again as it was, for every type.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
        Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, ListArray, MapArray,
        StringArray, StructArray, TimestampMicrosecondArray,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Fields},
};
use proptest::prelude::*;

use super::{JsonOptions, decode, encode};
use crate::zone::Zone;

/// A row's values.
#[derive(Clone, Debug)]
struct Row {
    bits: Option<u64>,
    digits: Option<i128>,
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    items: Vec<Option<i64>>,
}

fn row() -> impl Strategy<Value = Row> {
    let digits = -10_i128.pow(38) + 1..10_i128.pow(38);
    let bytes = proptest::collection::vec(any::<u8>(), 0..20);
    (
        any::<Option<u64>>(),
        proptest::option::of(digits),
        any::<Option<String>>(),
        proptest::option::of(bytes),
        proptest::collection::vec(any::<Option<i64>>(), 0..5),
    )
        .prop_map(|(bits, digits, text, bytes, items)| Row {
            bits,
            digits,
            text,
            bytes,
            items,
        })
}

/// A struct with a column of each type.
fn columns(rows: &[Row]) -> StructArray {
    let bits = || rows.iter().map(|row| row.bits.map(u64::to_le_bytes));
    let long = |bytes: [u8; 8]| i64::from_le_bytes(bytes);
    let int = |[a, b, c, d, ..]: [u8; 8]| i32::from_le_bytes([a, b, c, d]);
    // A NaN has one form in text.
    let double = |bytes: [u8; 8]| match f64::from_le_bytes(bytes) {
        value if value.is_nan() => f64::NAN,
        value => value,
    };
    let single = |[a, b, c, d, ..]: [u8; 8]| match f32::from_le_bytes([a, b, c, d]) {
        value if value.is_nan() => f32::NAN,
        value => value,
    };
    // Instants are written with milliseconds, years with at most six digits, offsets without seconds, which
    // the sun's time of a place has.
    let millis = |bytes| long(bytes) % 9_000_000_000_000_000 * 1_000;
    let texts: StringArray = rows.iter().map(|row| row.text.as_deref()).collect();
    let lengths = || OffsetBuffer::from_lengths(rows.iter().map(|row| row.items.len()));
    let items: Int64Array = rows.iter().flat_map(|row| row.items.clone()).collect();
    let names: StringArray = (0..items.len())
        .map(|nth| Some(format!("k{nth}")))
        .collect();
    let item = Arc::new(Field::new_list_field(DataType::Int64, true));
    let list = ListArray::new(item, lengths(), Arc::new(items.clone()), None);
    let pair = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Int64, true),
    ]);
    let entries = StructArray::new(pair.clone(), vec![Arc::new(names), Arc::new(items)], None);
    let entry = Arc::new(Field::new("entries", DataType::Struct(pair), false));
    let decimals: Decimal128Array = rows.iter().map(|row| row.digits).collect();
    let times: TimestampMicrosecondArray = bits().map(|b| b.map(millis)).collect();
    let all: Vec<ArrayRef> = vec![
        Arc::new(
            bits()
                .map(|b| b.map(|b| b[0] > 9))
                .collect::<BooleanArray>(),
        ),
        Arc::new(
            bits()
                .map(|b| b.map(|b| i8::from_le_bytes([b[0]])))
                .collect::<Int8Array>(),
        ),
        Arc::new(
            bits()
                .map(|b| b.map(|b| i16::from_le_bytes([b[0], b[1]])))
                .collect::<Int16Array>(),
        ),
        Arc::new(bits().map(|b| b.map(int)).collect::<Int32Array>()),
        Arc::new(bits().map(|b| b.map(long)).collect::<Int64Array>()),
        Arc::new(bits().map(|b| b.map(double)).collect::<Float64Array>()),
        Arc::new(bits().map(|b| b.map(single)).collect::<Float32Array>()),
        Arc::new(
            decimals
                .clone()
                .with_precision_and_scale(38, 0)
                .expect("a type"),
        ),
        Arc::new(decimals.with_precision_and_scale(38, 37).expect("a type")),
        Arc::new(bits().map(|b| b.map(int)).collect::<Date32Array>()),
        Arc::new(times.clone()),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(texts),
        Arc::new(BinaryArray::from_iter(
            rows.iter().map(|row| row.bytes.as_deref()),
        )),
        Arc::new(list),
        Arc::new(MapArray::new(entry, lengths(), entries, None, false)),
    ];
    let field = |(nth, array): (usize, &ArrayRef)| {
        Field::new(format!("f{nth}"), array.data_type().clone(), true)
    };
    let fields: Fields = all.iter().enumerate().map(field).collect();
    StructArray::new(fields, all, None)
}

proptest! {
    #[test]
    fn every_type_comes_back(rows in proptest::collection::vec(row(), 1..20), zone in "UTC|\\+05:45|-03:30|GMT\\+8") {
        let array: ArrayRef = Arc::new(columns(&rows));
        for pairs in [[("timeZone", zone.as_str()), ("pretty", "false")], [("ignoreNullFields", "false"), ("pretty", "true")]] {
            let options = JsonOptions::new(pairs, &Zone::utc()).expect("options");
            let texts = encode(&array, &options).expect("writes");
            let read = decode(&texts, array.data_type(), &options).expect("reads");
            prop_assert_eq!(&read, &array);
        }
    }
}
