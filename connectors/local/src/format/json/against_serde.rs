//! What the decoder reads is what `serde_json` reads: random documents with nested values, values of
//! other types, keys in any order, twice or unknown, blanks and escapes.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::tests::{Limited, decode_limited, nested, schema, shown};
use crate::format::{Limits, Mode};
use arrow::datatypes::{DataType, Field, SchemaRef};

/// A document, with what [`Value`] cannot hold: keys that occur twice, and their order.
#[derive(Clone, Debug)]
enum Doc {
    Scalar(Value),
    List(Vec<Doc>),
    Object(Vec<(String, Doc)>),
}

fn columns() -> SchemaRef {
    let mut fields = nested();
    fields.extend([
        ("i", DataType::Int64),
        ("d", DataType::Float64),
        ("b", DataType::Boolean),
        ("s", DataType::Utf8),
        ("key \"q\" é", DataType::Int64),
        ("n", list_of(DataType::Int64)),
    ]);
    schema(&fields)
}

fn list_of(item: DataType) -> DataType {
    DataType::List(std::sync::Arc::new(Field::new("element", item, true)))
}

fn key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "o",
        "l",
        "m",
        "i",
        "d",
        "b",
        "s",
        "n",
        "x",
        "y",
        "key \"q\" é",
        "i",
        "s",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn scalar() -> impl Strategy<Value = Value> {
    let finite = any::<f64>().prop_filter("JSON has none", |f| f.is_finite());
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-9_i64..9).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        finite.prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ]
}

fn doc() -> impl Strategy<Value = Doc> {
    scalar()
        .prop_map(Doc::Scalar)
        .prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Doc::List),
                prop::collection::vec((key(), inner), 0..6).prop_map(Doc::Object),
            ]
        })
}

/// A record, mostly with values of the right type so that they are compared at all.
fn record() -> impl Strategy<Value = Doc> {
    let point = || {
        let member = prop_oneof![
            any::<i64>().prop_map(|x| ("x".to_owned(), Doc::Scalar(x.into()))),
            ".{0,6}".prop_map(|y| ("y".to_owned(), Doc::Scalar(y.into()))),
        ];
        prop::collection::vec(member, 0..4).prop_map(Doc::Object)
    };
    let numbers = || prop::collection::vec(any::<i32>(), 0..5);
    let integers = |all: Vec<i32>| all.into_iter().map(|n| Doc::Scalar(n.into())).collect();
    let member = prop_oneof![
        (key(), doc()),
        point().prop_map(|value| ("o".to_owned(), value)),
        prop::collection::vec(point(), 0..5).prop_map(|all| ("l".to_owned(), Doc::List(all))),
        numbers().prop_map(move |all| ("n".to_owned(), Doc::List(integers(all)))),
        any::<i64>().prop_map(|value| ("i".to_owned(), Doc::Scalar(value.into()))),
        ".{0,9}".prop_map(|value| ("s".to_owned(), Doc::Scalar(value.into()))),
    ];
    prop::collection::vec(member, 0..10).prop_map(Doc::Object)
}

/// Writes a document with blanks where `blanks` has a bit.
fn write(doc: &Doc, blanks: &mut u64, out: &mut String) {
    match doc {
        Doc::Scalar(value) => out.push_str(&value.to_string()),
        Doc::List(items) => {
            out.push('[');
            for (idx, item) in items.iter().enumerate() {
                out.push_str(if idx > 0 { "," } else { "" });
                blank(blanks, out);
                write(item, blanks, out);
            }
            out.push(']');
        }
        Doc::Object(members) => {
            out.push('{');
            for (idx, (key, value)) in members.iter().enumerate() {
                out.push_str(if idx > 0 { "," } else { "" });
                blank(blanks, out);
                out.push_str(&Value::from(key.as_str()).to_string());
                blank(blanks, out);
                out.push(':');
                blank(blanks, out);
                write(value, blanks, out);
            }
            out.push('}');
        }
    }
}

fn blank(blanks: &mut u64, out: &mut String) {
    *blanks = blanks.rotate_right(1);
    if *blanks & 1 == 1 {
        out.push_str(if *blanks & 2 == 2 { " " } else { "\t " });
    }
}

fn written(doc: &Doc, mut blanks: u64) -> String {
    let mut out = String::new();
    write(doc, &mut blanks, &mut out);
    out
}

/// What a column of the type holds for a value; none for another type, and for a list or map that holds
/// one. `wrong` is set where a field inside is null for that reason. Text columns hold any value; one
/// that is no string is compared as a value.
fn expected(value: &Value, data_type: &DataType, wrong: &mut bool) -> Option<Value> {
    match (data_type, value) {
        (_, Value::Null) => Some(Value::Null),
        (DataType::Utf8, value) => Some(value.clone()),
        (DataType::Int64, Value::Number(number)) => number.as_i64().map(Value::from),
        (DataType::Float64, Value::Number(number)) => number.as_f64().map(Value::from),
        (DataType::Boolean, Value::Bool(value)) => Some(Value::Bool(*value)),
        (DataType::Struct(fields), Value::Object(object)) => {
            Some(row(object, fields.iter(), wrong))
        }
        (DataType::List(item), Value::Array(items)) => {
            let item = item.data_type();
            let items = items.iter().map(|value| expected(value, item, wrong));
            items.collect::<Option<Vec<Value>>>().map(Value::Array)
        }
        (DataType::Map(entries, _), Value::Object(object)) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return None;
            };
            let item = fields[1].data_type();
            let members = object.iter();
            let members =
                members.map(|(key, value)| Some((key.clone(), expected(value, item, wrong)?)));
            members
                .collect::<Option<Map<String, Value>>>()
                .map(Value::Object)
        }
        (DataType::Float64, Value::String(text)) if is_special(text) => Some(value.clone()),
        _ => None,
    }
}

fn is_special(text: &str) -> bool {
    matches!(
        text,
        "NaN" | "Infinity" | "+Infinity" | "-Infinity" | "+INF" | "-INF"
    )
}

/// Fields that are null are not written.
fn row<'a>(
    object: &Map<String, Value>,
    fields: impl Iterator<Item = &'a std::sync::Arc<Field>>,
    wrong: &mut bool,
) -> Value {
    let members = fields.filter_map(|field| {
        let value = object.get(field.name())?;
        let value = expected(value, field.data_type(), wrong);
        *wrong |= value.is_none();
        let value = value.unwrap_or(Value::Null);
        (!value.is_null()).then(|| (field.name().clone(), value))
    });
    Value::Object(members.collect())
}

/// Text columns that hold JSON, as values: the original's blanks and order do not count.
fn with_texts_read(value: Value, original: &Value) -> Value {
    match (value, original) {
        (Value::String(text), Value::String(_)) => Value::String(text),
        (Value::String(text), _) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        (Value::Object(members), Value::Object(originals)) => {
            let members = members.into_iter().map(|(key, value)| {
                let original = originals.get(&key).unwrap_or(&Value::Null);
                let value = with_texts_read(value, original);
                (key, value)
            });
            Value::Object(members.collect())
        }
        (Value::Array(items), Value::Array(originals)) => {
            let pairs = items.into_iter().zip(originals);
            Value::Array(
                pairs
                    .map(|(item, original)| with_texts_read(item, original))
                    .collect(),
            )
        }
        (value, _) => value,
    }
}

/// Where a key that occurs twice counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Twice {
    Anywhere,
    InMaps,
}

fn repeats(doc: &Doc, twice: Twice, inside_map: bool) -> bool {
    match doc {
        Doc::Scalar(_) => false,
        Doc::List(items) => items.iter().any(|item| repeats(item, twice, false)),
        Doc::Object(members) => {
            let mut keys: Vec<&String> = members.iter().map(|(key, _)| key).collect();
            keys.sort();
            let here = twice == Twice::Anywhere || inside_map;
            (here && keys.windows(2).any(|pair| pair[0] == pair[1]))
                || members
                    .iter()
                    .any(|(key, value)| repeats(value, twice, key == "m"))
        }
    }
}

/// One line of records: an object, or an array of them.
fn line() -> impl Strategy<Value = Vec<Doc>> {
    // Both entries of a map stay; serde keeps the last.
    let record = record().prop_filter("maps", |doc| !repeats(doc, Twice::InMaps, false));
    prop::collection::vec(record, 1..8)
}

proptest! {
    #[test]
    fn random_documents(
        lines in prop::collection::vec((line(), any::<u64>(), any::<bool>()), 1..6),
        rows in 1_usize..5,
        bytes in 1_usize..2_000,
    ) {
        let schema = columns();
        let (mut text, mut all, mut malformed, mut surely) = (String::new(), Vec::new(), 0, true);
        for (records, blanks, torn) in &lines {
            let array = Doc::List(records.clone());
            let mut line = match records.as_slice() {
                [only] => written(only, *blanks),
                _ => written(&array, *blanks),
            };
            if *torn {
                line.push('}');
            }
            let mut wrong = *torn;
            for record in records.iter().filter(|_| !torn) {
                let value: Value = serde_json::from_str(&written(record, *blanks)).expect("JSON");
                let object = value.as_object().expect("an object");
                all.push((row(object, schema.fields().iter(), &mut wrong), value));
            }
            if *torn {
                all.push((Value::Object(Map::new()), Value::Null));
            }
            malformed += u64::from(wrong);
            // A value of another type counts also where a later one takes its place.
            surely &= !repeats(&array, Twice::Anywhere, false);
            text.push_str(&line);
            text.push('\n');
        }
        let limits = Limits { rows, bytes };
        for limits in [Limits::default(), limits] {
            let Limited { batch, report, longest } =
                decode_limited(&schema, Mode::Permissive, &[text.as_bytes()], limits).expect("decodes");
            prop_assert!(report.malformed >= malformed);
            prop_assert!(report.malformed == malformed || !surely, "{}", text);
            prop_assert_eq!(batch.num_rows(), all.len());
            prop_assert!(longest <= limits.rows);
            for (line, (expected, original)) in shown(&batch).lines().zip(&all) {
                let read: Value = serde_json::from_str(line).expect("JSON");
                prop_assert_eq!(&with_texts_read(read, original), expected, "{}", text);
            }
        }
    }

    #[test]
    fn whether_a_batch_is_full_says_nothing_of_a_line(
        lines in prop::collection::vec((line(), any::<u64>(), any::<bool>()), 1..6),
        rows in 1_usize..5,
        bytes in 1_usize..2_000,
    ) {
        let mut text = String::new();
        for (records, blanks, torn) in &lines {
            text.push_str(&written(&Doc::List(records.clone()), *blanks));
            text.push_str(if *torn { ",\n" } else { "\n" });
        }
        let limits = Limits { rows, bytes };
        for mode in [Mode::Permissive, Mode::DropMalformed] {
            let text = [text.as_bytes()];
            let whole = decode_limited(&columns(), mode, &text, Limits::default()).expect("decodes");
            let cut = decode_limited(&columns(), mode, &text, limits).expect("decodes");
            prop_assert_eq!(shown(&whole.batch), shown(&cut.batch));
            prop_assert_eq!(whole.report, cut.report);
            prop_assert!(cut.longest <= rows);
        }
        let fails = |limits| {
            let text = [text.as_bytes()];
            let error = decode_limited(&columns(), Mode::FailFast, &text, limits).err();
            error.map(|error| error.to_string())
        };
        prop_assert_eq!(fails(Limits::default()), fails(limits));
    }
}
