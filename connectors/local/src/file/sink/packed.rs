//! A sink that compresses: names, what is read back, and restarts.

use std::{fs, io::Read};

use millstream_connectors_api::{ConnectorError, ConnectorFactory, Options, Sink, SinkRequest};
use millstream_types::Epoch;

use super::tests::{context, names, put_epoch, read_back, rows, sink, unopened};
use crate::{
    file::{FileConnector, tests::dir},
    packing::Packing,
};

#[test]
fn parts_are_compressed_and_named_so() {
    let mut plain_text = String::new();
    for (compression, end) in [
        ("none", "json"),
        ("uncompressed", "json"),
        ("gzip", "json.gz"),
        ("GZIP", "json.gz"),
        ("bzip2", "json.bz2"),
        ("zstd", "json.zst"),
    ] {
        let dir = dir();
        let options = [("format", "json"), ("compression", compression)];
        let mut packing = unopened(dir.path(), &options);
        packing.open(&context("q")).expect("opens");
        packing.begin(Epoch(0)).expect("begins");
        put_epoch(packing.as_mut(), 0, &[1, 2]);
        // Several batches make one file.
        for values in [[3, 4], [5, 6]] {
            let write = rows(packing.as_ref(), 1, &values);
            packing.write(&write).expect("writes");
        }
        packing.stage(Epoch(1)).expect("stages");
        packing.commit(Epoch(1)).expect("commits");
        // An epoch that was staged when the process died leaves nothing.
        let write = rows(packing.as_ref(), 2, &[7]);
        packing.write(&write).expect("writes");
        packing.stage(Epoch(2)).expect("stages");
        drop(packing);
        // The next one may compress in another way, or not.
        let mut after = sink(dir.path(), "q").expect("opens");
        after.begin(Epoch(2)).expect("begins");
        put_epoch(after.as_mut(), 2, &[8]);
        drop(after);
        let part = |epoch: u64, end: &str| format!("part-00000-e{epoch:010}.c000.{end}");
        let expected = [part(0, end), part(1, end), part(2, "json")];
        let found = names(dir.path());
        assert_eq!(found[found.len() - 3..], expected, "{compression}");
        let text = read_back(dir.path());
        assert_eq!(text.lines().count(), 7, "{compression}: {text}");
        if plain_text.is_empty() {
            plain_text.clone_from(&text);
        }
        assert_eq!(text, plain_text, "{compression}");
    }
}

#[test]
fn a_header_is_there_once() {
    let dir = dir();
    let options = [
        ("format", "csv"),
        ("header", "true"),
        ("compression", "gzip"),
    ];
    let mut packing = unopened(dir.path(), &options);
    packing.open(&context("q")).expect("opens");
    packing.begin(Epoch(0)).expect("begins");
    put_epoch(packing.as_mut(), 0, &[1]);
    drop(packing);
    let part = dir.path().join("part-00000-e0000000000.c000.csv.gz");
    let mut text = String::new();
    let part = fs::File::open(part).expect("it is there");
    let mut unpacked = Packing::Gzip.unpack(part).expect("memory");
    unpacked.read_to_string(&mut text).expect("whole");
    assert_eq!(text.lines().next(), Some("a,b,at"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn other_forms_are_not_written() {
    for compression in ["deflate", "lz4", "snappy", "gz", ""] {
        let options = [
            ("path", "/x"),
            ("format", "json"),
            ("compression", compression),
        ];
        let made: Result<Box<dyn Sink>, ConnectorError> = FileConnector::new().sink(&SinkRequest {
            table: "t".to_owned(),
            options: Options::from_iter(options),
        });
        let error = made.err().expect("is refused");
        assert!(matches!(error, ConnectorError::BadOption { .. }), "{error}");
    }
}
