//! The memory of decoding is bounded by the bytes of the line and the columns that are wanted,
//! whatever the line is made of. Each case once broke, or would break, a decoder that builds rows
//! before it counts them.

use arrow::datatypes::DataType;

use crate::lines::{Keep, Table, every_type, list, many, map, one, structure};

const LINE_BYTES: usize = 2 << 20;

/// Bytes that a byte of input may take: an item of two bytes is sixteen in a column of decimals, and
/// a vector that grows stands beside the one of twice its size.
const FACTOR: u64 = 14;
/// Bytes that a wanted column may take in a batch that holds one row.
const COLUMN_BYTES: u64 = 2 << 10;
/// A batch under construction and the keys that are remembered.
const FIXED_BYTES: u64 = 20 << 20;

/// `piece` again and again between `open` and `close`.
fn line(open: &str, piece: &str, close: &str) -> Vec<u8> {
    let pieces = piece.repeat(LINE_BYTES / piece.len());
    let pieces = pieces.strip_suffix(',').unwrap_or(&pieces);
    format!("{open}{pieces}{close}\n").into_bytes()
}

fn numbered(piece: impl Fn(usize) -> String) -> Vec<u8> {
    let mut pieces = Vec::new();
    let mut bytes = 0;
    while bytes < LINE_BYTES {
        let piece = piece(pieces.len());
        bytes += piece.len() + 1;
        pieces.push(piece);
    }
    format!("{{{}}}\n", pieces.join(",")).into_bytes()
}

fn check(name: &str, table: &Table, bytes: Vec<u8>, rows: usize, malformed: u64) {
    let input = bytes.len() as u64;
    let decoded = table.decode(bytes, Keep::Nothing);
    assert_eq!(decoded.rows, rows, "{name}: rows");
    assert_eq!(decoded.report.malformed, malformed, "{name}: malformed");
    let limit = FACTOR * input + COLUMN_BYTES * table.columns.len() as u64 + FIXED_BYTES;
    let peak = decoded.peak_bytes;
    assert!(
        peak <= limit,
        "{name}: {peak} bytes for {input}, limit {limit}"
    );
}

fn json(columns: Vec<(String, DataType)>) -> Table {
    Table::new("json", columns)
}

#[test]
fn arrays_of_empty_objects() {
    let objects = LINE_BYTES / 3;
    for count in [1, 100, 1_000] {
        let table = json(many(count, &DataType::Int64));
        check("empty objects", &table, line("[", "{},", "]"), objects, 0);
        let torn = line("[", "{},", ",{\"c0\":}]");
        check("empty objects, then no JSON", &table, torn, 1, 1);
        let full = format!("[{{\"c0\":1,\"c{}\":2}},", count - 1);
        let rows = objects + 1;
        check(
            "one object, then empty ones",
            &table,
            line(&full, "{},", "]"),
            rows,
            0,
        );
        let lines = "{}\n".repeat(objects).into_bytes();
        check("lines of empty objects", &table, lines, objects, 0);
    }
}

#[test]
fn batches_that_wait_share_what_is_empty() {
    let table = json(many(100, &DataType::Int64));
    let bytes = line("[", "{},", "]");
    let limit = FACTOR * bytes.len() as u64 + FIXED_BYTES;
    let decoded = table.decode(bytes, Keep::All);
    assert_eq!(decoded.rows, LINE_BYTES / 3);
    assert!(decoded.batches.len() > 50, "{}", decoded.batches.len());
    assert!(decoded.peak_bytes <= limit, "{}", decoded.peak_bytes);
}

#[test]
fn lists_inside_a_record() {
    let wide = || structure(many(100, &DataType::Int64));
    let columns = |item| json(one("l", list(item)));
    let empty = || line("{\"l\":[", "{},", "]}");
    check(
        "list of empty objects, two columns",
        &columns(structure(many(2, &DataType::Utf8))),
        empty(),
        1,
        0,
    );
    check(
        "list of empty objects, 100 columns",
        &columns(wide()),
        empty(),
        1,
        1,
    );
    let nested = line("{\"l\":[", "[{},{}],", "]}");
    check(
        "list of lists of empty objects",
        &columns(list(wide())),
        nested,
        1,
        1,
    );
    check(
        "list of ones",
        &columns(DataType::Int64),
        line("{\"l\":[", "1,", "]}"),
        1,
        0,
    );
    check(
        "list of decimals",
        &columns(DataType::Decimal128(38, 3)),
        line("{\"l\":[", "1,", "]}"),
        1,
        0,
    );
    check(
        "list of nulls",
        &columns(wide()),
        line("{\"l\":[", "null,", "]}"),
        1,
        1,
    );
    check(
        "list of empty lists",
        &columns(list(DataType::Int64)),
        line("{\"l\":[", "[],", "]}"),
        1,
        0,
    );
    let table = json(one("l", map(wide())));
    check(
        "map of empty objects",
        &table,
        line("{\"l\":{", "\"\":{},", "}}"),
        1,
        1,
    );
    let items = line("[", "{\"l\":[{},{},{},{},{},{},{},{}]},", "]");
    let rows = LINE_BYTES / "{\"l\":[{},{},{},{},{},{},{},{}]},".len();
    check(
        "records with lists of empty objects",
        &columns(wide()),
        items,
        rows,
        0,
    );
}

#[test]
fn a_list_may_unfold_up_to_a_limit() {
    let table = json(one("l", list(structure(many(100, &DataType::Int64)))));
    let keys: Vec<String> = (0..100).map(|idx| format!("\"c{idx}\":1")).collect();
    let first = format!("{{\"l\":[{{{}}}", keys.join(","));
    for (items, malformed) in [(70_000, 0), (90_000, 1)] {
        let bytes = format!("{first}{}]}}\n", ",{}".repeat(items)).into_bytes();
        let decoded = table.decode(bytes, Keep::Nothing);
        assert_eq!(decoded.report.malformed, malformed, "{items}");
        assert!(decoded.peak_bytes <= 160 << 20, "{}", decoded.peak_bytes);
    }
}

#[test]
fn keys_of_all_kinds() {
    let table = || {
        json(vec![
            ("k7".to_owned(), DataType::Int64),
            ("s".to_owned(), DataType::Utf8),
        ])
    };
    check(
        "many keys",
        &table(),
        numbered(|idx| format!("\"k{idx}\":{idx}")),
        1,
        0,
    );
    let long = numbered(|idx| format!("\"{idx}{}\":1", "k".repeat(1_000)));
    check("long keys", &table(), long, 1, 0);
    check(
        "escaped keys",
        &table(),
        numbered(|idx| format!("\"\\u006b{idx}\":1")),
        1,
        0,
    );
    check("one key", &table(), line("{\"", "k", "\":1}"), 1, 0);
    check(
        "one escaped key",
        &table(),
        line("{\"", "\\u006b", "\":1}"),
        1,
        0,
    );
    check(
        "the same key",
        &table(),
        line("{", "\"s\":\"abcdefgh\",", "}"),
        1,
        0,
    );
    let structs = json(one("o", structure(many(100, &DataType::Int64))));
    check(
        "the same struct",
        &structs,
        line("{", "\"o\":{\"c1\":1},", "}"),
        1,
        0,
    );
}

#[test]
fn long_strings_and_deep_values() {
    let table = || {
        json(vec![
            ("s".to_owned(), DataType::Utf8),
            ("at".to_owned(), DataType::Date32),
        ])
    };
    check("string", &table(), line("{\"s\":\"", "x", "\"}"), 1, 0);
    check(
        "string of escapes",
        &table(),
        line("{\"s\":\"", "\\u00e9", "\"}"),
        1,
        0,
    );
    check(
        "string that is no date",
        &table(),
        line("{\"at\":\"", "\\n", "\"}"),
        1,
        1,
    );
    check(
        "string that nobody wants",
        &table(),
        line("{\"z\":\"", "x", "\"}"),
        1,
        0,
    );
    check(
        "value as text",
        &table(),
        line("{\"s\":[", "{\"a\":[]},", "]}"),
        1,
        0,
    );
    check("brackets", &table(), line("{\"z\":", "[", "}"), 1, 1);
    let piece = format!("{}{},", "[".repeat(60), "]".repeat(60));
    check(
        "deep values",
        &table(),
        line("{\"z\":[", &piece, "]}"),
        1,
        0,
    );
    let deep = (0..60).fold(DataType::Int64, |inner, _| list(inner));
    check(
        "deep columns",
        &json(one("z", list(deep))),
        line("{\"z\":[", &piece, "]}"),
        1,
        0,
    );
    let corrupt = json(every_type());
    check("no JSON", &corrupt, line("", "x", ""), 1, 1);
    let mut torn = line("{\"s\":\"", "x", "\"}");
    torn[1_000] = 0xff;
    check("no UTF-8", &corrupt, torn, 1, 1);
}

#[test]
fn records_with_few_of_many_columns() {
    let wide = json(many(1_000, &DataType::Int64));
    let piece = "{\"c999\":1,\"c3\":2}\n";
    let rows = LINE_BYTES / piece.len();
    check("few keys", &wide, piece.repeat(rows).into_bytes(), rows, 0);
    let keys: Vec<String> = (0..5_000).map(|idx| format!("\"c{idx}\":{idx}")).collect();
    let piece = format!("{{{}}}\n", keys.join(","));
    let rows = LINE_BYTES / piece.len();
    let full = json(many(5_000, &DataType::Int64));
    check(
        "all of 5 000 keys",
        &full,
        piece.repeat(rows).into_bytes(),
        rows,
        0,
    );
    let few = json(many(2, &DataType::Int64));
    check(
        "two of 5 000 keys",
        &few,
        piece.repeat(rows).into_bytes(),
        rows,
        0,
    );
}

#[test]
fn csv_and_text() {
    let csv = |count| Table::new("csv", many(count, &DataType::Utf8));
    let lines = LINE_BYTES / 2;
    check(
        "short lines, 1 000 columns",
        &csv(1_000),
        "x\n".repeat(lines).into_bytes(),
        lines,
        lines as u64,
    );
    check(
        "one column",
        &csv(1),
        "x\n".repeat(lines).into_bytes(),
        lines,
        0,
    );
    check("many fields", &csv(3), line("", "x,", ""), 1, 1);
    let fields = format!("{}\n", vec!["1"; 5_000].join(","));
    let rows = LINE_BYTES / fields.len();
    check(
        "5 000 columns",
        &csv(5_000),
        fields.repeat(rows).into_bytes(),
        rows,
        0,
    );
    check("quoted field", &csv(1), line("\"", "\\\"", "\""), 1, 0);
    let text = Table::new("text", Vec::new());
    check("empty lines", &text, vec![b'\n'; LINE_BYTES], LINE_BYTES, 0);
    check("one line", &text, line("", "x", ""), 1, 0);
    check("one line, no UTF-8", &text, vec![0xff; LINE_BYTES], 1, 0);
}

#[test]
fn one_short_line_takes_little_whatever_the_table() {
    for count in [1, 100, 1_000] {
        for (format, text) in [("json", "{\"c0\":\"a\"}\n"), ("csv", "a\n")] {
            let table = Table::new(format, many(count, &DataType::Utf8));
            let decoded = table.decode(text.as_bytes().to_vec(), Keep::All);
            let limit = (8 << 10) + 512 * count as u64;
            assert!(
                decoded.peak_bytes <= limit,
                "{format}: {}",
                decoded.peak_bytes
            );
        }
    }
}
