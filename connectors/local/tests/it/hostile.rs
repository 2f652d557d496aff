//! Lines that somebody, or a broken disk, changed: a corpus and ten thousand random mutations of it
//! go through each decoder. No panic, no batch that is too long, no more memory than the bytes are
//! worth, and a decoder that has seen everything before reads as one that has seen nothing.

use arrow::datatypes::DataType;

use crate::lines::{Keep, Table, decode, every_type};

const MUTATIONS: usize = 10_000;

/// Bytes that a byte of input may take.
const FACTOR: u64 = 8;
/// Bytes that a column may take in a batch of one row.
const COLUMN_BYTES: u64 = 4 << 10;
const FIXED_BYTES: u64 = 1 << 20;

const JSON: &[&str] = &[
    "{\"b\":true,\"i\":-1,\"n\":9223372036854775807,\"f\":1.5,\"d\":-2e-7,\"m\":1.005,\"s\":\"text\"}\n",
    "{\"x\":\"AQI=\",\"day\":\"2024-02-29\",\"at\":\"2024-01-01T02:00:00.123+02:00\"}\n",
    "{\"o\":{\"x\":1,\"y\":\"z\"},\"l\":[{\"x\":1},null,{\"y\":\"\"}],\"ll\":[[1,2],[],[3]],\"p\":{\"k\":1}}\n",
    "[{\"i\":1},{\"i\":2,\"s\":\"\\u00e9\\ud83d\\ude00\\n\"},{},{\"l\":[]}]\n",
    "{\"at\":-9223372036854775808,\"day\":\"+999999-12-31\",\"d\":NaN,\"f\":-Infinity}\r\n",
    "{\"unknown\":[[[{\"a\":{\"b\":[1,2,{\"c\":null}]}}]]],\"i\":7,\"i\":8,\"o\":{\"x\":1},\"o\":{}}\n",
    "{ \"s\" : { \"as\" : [ \"text\" ] } , \"m\" : \"12345678901234567890.5\" }\n",
    "\n \t\n[]\n{}\n[{}]\nnull\n1\n\"\"\n",
    "{\"s\":\"\u{fffd}\u{1f600}\",\"_corrupt_record\":\"kept\",\"l\":[{\"x\":1e400,\"y\":{}}]}\n",
];

const CSV: &[&str] = &[
    "true,-1,9223372036854775807,1.5,-2e-7,1.005,text,bytes,2024-02-29,2024-01-01T02:00:00Z\n",
    ",,,,,,,,,\n",
    "false,1,2,NaN,-Inf,12345678.9,\"a \\\"quoted\\\", text\",\"\",0001-01-01,9999-12-31 23:59:59.999999\n",
    "too,few\n1,2,3,4,5,6,7,8,9,10,11,12,13\n",
    "\"never closed,1,2\n\"a\"b\",\"\\\\\",\"\\\",\n",
    "\r\n \n\u{feff}true\n",
];

const TEXT: &[&str] = &["a line\n", "\n", "\r\n", "no end", "\u{1f600}\u{e9}\n"];

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let limit = limit.max(1) as u64;
        usize::try_from(self.0 % limit).unwrap_or(0)
    }

    fn slice(&mut self, bytes: &[u8]) -> Vec<u8> {
        let start = self.below(bytes.len());
        let len = self.below(bytes.len() - start.min(bytes.len()) + 1);
        bytes[start..].iter().take(len).copied().collect()
    }
}

/// One change.
fn change(dice: &mut Dice, bytes: &mut Vec<u8>, corpus: &[&str]) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(7) {
        0 => {
            let letters = b"{}[]\",:\\\n\r\t 0123456789-+.eEtfnu\x00\xff\xc3\xed";
            bytes.insert(at, letters[dice.below(letters.len())]);
        }
        1 if !bytes.is_empty() => {
            bytes.remove(at % bytes.len());
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        3 => {
            let other = corpus[dice.below(corpus.len())];
            let piece = dice.slice(other.as_bytes());
            bytes.splice(at..at, piece);
        }
        4 => {
            let times = dice.below(200);
            let piece = dice.slice(bytes);
            let piece: Vec<u8> = piece.into_iter().take(40).collect();
            bytes.splice(at..at, piece.repeat(times));
        }
        5 => bytes.truncate(at),
        _ => {
            let piece = dice.slice(bytes).len().min(20);
            let end = (at + piece).min(bytes.len());
            bytes.drain(at..end);
        }
    }
}

fn check(format: &'static str, columns: &[(String, DataType)], corpus: &[&str]) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let tables = ["PERMISSIVE", "DROPMALFORMED"].map(|mode| Table {
        mode,
        ..Table::new(format, columns.to_vec())
    });
    let mut warm = tables.each_ref().map(Table::decoder);
    for round in 0..MUTATIONS {
        let mut bytes = Vec::new();
        for _ in 0..=dice.below(3) {
            bytes.extend_from_slice(corpus[dice.below(corpus.len())].as_bytes());
        }
        // The corpus itself goes first.
        for _ in 0..round.min(1 + dice.below(6)) {
            change(&mut dice, &mut bytes, corpus);
        }
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let share = COLUMN_BYTES * columns.len() as u64 + FIXED_BYTES;
        let limit = FACTOR * bytes.len() as u64 + share;
        for (table, warm) in tables.iter().zip(&mut warm) {
            let again = decode(warm.as_mut(), bytes.clone(), Keep::All);
            assert!(
                again.peak_bytes <= limit,
                "{} bytes: {shown}",
                again.peak_bytes
            );
            let longest = again.batches.iter().map(|batch| batch.num_rows()).max();
            assert!(longest.unwrap_or(0) <= 8_192, "{shown}");
            assert!(
                again.report.malformed <= again.report.rows.max(1),
                "{shown}"
            );
            if round % 4 == 0 {
                let fresh = table.decode(bytes.clone(), Keep::All);
                assert_eq!(fresh.report, again.report, "{shown}");
                // As text: NaN is not equal to itself.
                let (fresh, again) = (fresh.batches, again.batches);
                assert_eq!(format!("{fresh:?}"), format!("{again:?}"), "{shown}");
            }
        }
    }
}

#[test]
fn json() {
    check("json", &every_type(), JSON);
}

#[test]
fn csv() {
    let mut flat = every_type();
    flat.retain(|(_, data_type)| !data_type.is_nested());
    check("csv", &flat, CSV);
}

#[test]
fn text() {
    check("text", &[], TEXT);
}
