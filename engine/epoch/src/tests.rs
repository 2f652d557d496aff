//! The formats, byte by byte: a change of any of them fails here, so that it is never an accident.
//! Who changes one raises its version and `docs/formats.md`.

use expect_test::{Expect, expect};
use millstream_types::Epoch;
use proptest::prelude::*;

use crate::codec::Kind;
use crate::{
    Accepted, Commit, DecodeError, Dropped, Link, Manifest, Metadata, Piece, Plan, PlanKind,
    Record, SegmentHeader, SourceRange, Tail, encode_frame, encode_header, scan,
};

fn plan() -> Plan {
    Plan {
        epoch: Epoch(7),
        clock_ms: 1_700_000_000_123,
        kind: PlanKind::Data,
        snapshot_after: true,
        sources: vec![
            Some(SourceRange {
                start: Some("{\"logOffset\":3}".to_owned()),
                end: "{\"logOffset\":4}".to_owned(),
                detail: vec![1, 2, 3],
            }),
            None,
        ],
    }
}

fn commit() -> Commit {
    Commit {
        epoch: Epoch(6),
        rows_in: 100,
        rows_out: 9,
        watermark_next_ms: -1,
    }
}

fn manifest() -> Manifest {
    Manifest {
        epoch: Epoch(6),
        generation: 2,
        workers: 3,
        plan_fingerprint: 0x1122_3344_5566_7788,
        pieces: vec![Piece {
            operator: 1,
            table: 2,
            bucket: -3,
            pack: "state/pack-2-0-5".to_owned(),
            offset: 64,
            len: 1000,
            rows: 10,
            run: 3,
            schema_fingerprint: 9,
            crc: 0xdead_beef,
        }],
        source_states: vec![vec![4, 5], vec![]],
        control: vec![6],
    }
}

fn metadata() -> Metadata {
    Metadata {
        query_id: "0000-id".to_owned(),
        plan_fingerprint: 1,
        plan_text: "scan\n".to_owned(),
        settings: vec![("a".to_owned(), "1".to_owned())],
    }
}

/// Sixteen bytes a line, in hexadecimal and as text.
#[expect(
    clippy::needless_pass_by_value,
    reason = "an expectation stands at the call"
)]
pub(crate) fn check(bytes: &[u8], expected: Expect) {
    let lines = bytes.chunks(16).map(|line| {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = line.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        format!("{:47}  {}\n", hex.join(" "), text.collect::<String>())
    });
    expected.assert_eq(&lines.collect::<String>());
}

#[test]
fn the_bytes_of_a_segment_header() {
    let header = SegmentHeader {
        query_id: "0000-id".to_owned(),
        first: Epoch(7),
    };
    check(
        &encode_header(&header).expect("short"),
        expect![[r#"
        4d 53 73 67 01 00 00 00 13 00 00 00 07 00 00 00  MSsg............
        30 30 30 30 2d 69 64 07 00 00 00 00 00 00 00 29  0000-id........)
        04 1b 31                                         ..1
    "#]],
    );
}

#[test]
fn the_bytes_of_a_frame() {
    let link = Link {
        sequence: 11,
        previous: 0xaabb_ccdd,
    };
    let records = [Record::Commit(commit()), Record::Plan(plan())];
    check(
        &encode_frame(2, link, &records).expect("short"),
        expect![[r#"
        4d 53 66 72 01 00 00 00 8a 00 00 00 02 00 00 00  MSfr............
        00 00 00 00 0b 00 00 00 00 00 00 00 dd cc bb aa  ................
        02 00 00 00 22 00 00 00 02 01 06 00 00 00 00 00  ...."...........
        00 00 64 00 00 00 00 00 00 00 09 00 00 00 00 00  ..d.............
        00 00 ff ff ff ff ff ff ff ff 48 00 00 00 01 01  ..........H.....
        07 00 00 00 00 00 00 00 7b 68 e5 cf 8b 01 00 00  ........{h......
        01 01 02 00 00 00 01 01 0f 00 00 00 7b 22 6c 6f  ............{"lo
        67 4f 66 66 73 65 74 22 3a 33 7d 0f 00 00 00 7b  gOffset":3}....{
        22 6c 6f 67 4f 66 66 73 65 74 22 3a 34 7d 03 00  "logOffset":4}..
        00 00 01 02 03 00 b1 72 14 9c                    .......r..
    "#]],
    );
}

#[test]
fn the_bytes_of_a_frame_with_the_users_word() {
    let link = Link {
        sequence: 11,
        previous: 0xaabb_ccdd,
    };
    let records = [
        Record::Dropped(Dropped {
            from: Epoch(7),
            reason: "bad row".to_owned(),
        }),
        Record::Accepted(Accepted {
            epoch: Epoch(6),
            source: 1,
            what: "a.json".to_owned(),
        }),
    ];
    check(
        &encode_frame(2, link, &records).expect("short"),
        expect![[r#"
        4d 53 66 72 02 00 00 00 4d 00 00 00 02 00 00 00  MSfr....M.......
        00 00 00 00 0b 00 00 00 00 00 00 00 dd cc bb aa  ................
        02 00 00 00 15 00 00 00 03 01 07 00 00 00 00 00  ................
        00 00 07 00 00 00 62 61 64 20 72 6f 77 18 00 00  ......bad row...
        00 04 01 06 00 00 00 00 00 00 00 01 00 00 00 06  ................
        00 00 00 61 2e 6a 73 6f 6e 36 ba 4f f6           ...a.json6.O.
    "#]],
    );
}

#[test]
fn the_bytes_of_a_manifest() {
    check(
        &manifest().encode("0000-id").expect("short"),
        expect![[r#"
            4d 53 6d 66 03 00 00 00 8e 00 00 00 07 00 00 00  MSmf............
            30 30 30 30 2d 69 64 06 00 00 00 00 00 00 00 02  0000-id.........
            00 00 00 00 00 00 00 03 00 00 00 88 77 66 55 44  ............wfUD
            33 22 11 01 00 00 00 01 00 00 00 02 00 00 00 fd  3"..............
            ff ff ff ff ff ff ff 10 00 00 00 73 74 61 74 65  ...........state
            2f 70 61 63 6b 2d 32 2d 30 2d 35 40 00 00 00 00  /pack-2-0-5@....
            00 00 00 e8 03 00 00 00 00 00 00 0a 00 00 00 00  ................
            00 00 00 03 00 00 00 00 00 00 00 09 00 00 00 00  ................
            00 00 00 ef be ad de 02 00 00 00 02 00 00 00 04  ................
            05 00 00 00 00 01 00 00 00 06 ea 4e e4 47        ...........N.G
        "#]],
    );
}

/// The bytes that hexadecimal digits stand for.
fn bytes_of(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .filter_map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect()
}

/// The manifest as versions without runs have it.
fn manifest_without_runs() -> Manifest {
    let mut manifest = manifest();
    manifest.pieces.iter_mut().for_each(|piece| piece.run = 0);
    manifest
}

/// proves P14 for manifests: what the version before wrote is read.
#[test]
fn a_manifest_of_version_2_is_read() {
    let hex = "4d536d660200000086000000070000003030\
        30302d69640600000000000000020000000000000003000000\
        8877665544332211010000000100000002000000fdffffffffffffff\
        1000000073746174652f7061636b2d322d302d35\
        4000000000000000e8030000000000000a00000000000000\
        0900000000000000efbeadde02000000020000000405000000000100000006\
        e514208a";
    let found = Manifest::decode(&bytes_of(hex)).expect("the bytes of a former release");
    assert_eq!(found, ("0000-id".to_owned(), manifest_without_runs()));
}

/// And the one before that.
#[test]
fn a_manifest_of_version_1_is_read() {
    let hex = "4d536d660100000096000000070000003030\
        30302d69640600000000000000020000000000000003000000\
        8877665544332211010000000100000002000000fdffffffffffffff\
        1000000073746174652f7061636b2d322d302d35\
        4000000000000000e8030000000000000a00000000000000\
        0000000000000000ffffffffffffffff0900000000000000\
        efbeadde02000000020000000405000000000100000006\
        6b480ca4";
    let found = Manifest::decode(&bytes_of(hex)).expect("the bytes of a former release");
    assert_eq!(found, ("0000-id".to_owned(), manifest_without_runs()));
}

#[test]
fn the_bytes_of_metadata() {
    check(
        &metadata().encode("0.1.0").expect("short"),
        expect![[r#"
        4d 53 6d 64 01 00 00 00 40 00 00 00 05 00 00 00  MSmd....@.......
        30 2e 31 2e 30 09 00 00 00 78 78 68 33 2d 36 34  0.1.0....xxh3-64
        2f 30 07 00 00 00 30 30 30 30 2d 69 64 01 00 00  /0....0000-id...
        00 00 00 00 00 05 00 00 00 73 63 61 6e 0a 01 00  .........scan...
        00 00 01 00 00 00 61 01 00 00 00 31 27 90 9b 6a  ......a....1'..j
    "#]],
    );
}

/// The longest body is sealed and opened; one byte more is neither.
#[test]
fn the_longest_body() {
    let kind = |body_bytes_max| Kind {
        magic: *b"MStt",
        version: 2,
        body_bytes_max,
    };
    for len in 3..=4 {
        let sealed = kind(4).seal(&vec![7; len]).expect("short");
        assert_eq!(sealed.len(), len + 16);
        assert_eq!(kind(4).announced(&sealed), len + 16);
        let opened = kind(4).open_whole(&sealed).expect("short");
        assert_eq!((opened.body.len(), opened.version), (len, 2));
        assert_eq!(Kind::checksum(&sealed), opened.crc);
    }
    kind(4).seal(&[7; 5]).expect_err("too long");
    let longer = kind(5).seal(&[7; 5]).expect("short");
    let error = kind(4).open(&longer).expect_err("too long");
    assert_eq!(error, DecodeError::Value { field: "length" });
    assert_eq!(kind(4).announced(&longer), 4 + 16, "bounded");
    assert_eq!(kind(4).announced(&longer[..11]), 16, "too few to tell");
}

/// Older versions are handed on with their number; 0 is none, and a newer one is named.
#[test]
fn versions_of_an_envelope() {
    let kind = Kind {
        magic: *b"MStt",
        version: 2,
        body_bytes_max: 4,
    };
    for version in 0..4 {
        let sealed = kind.seal_as(version, b"body").expect("short");
        match kind.open(&sealed) {
            Ok(opened) => assert_eq!(opened.version, version),
            Err(error) => {
                let newest = 2;
                let found = version;
                assert_eq!(error, DecodeError::Version { found, newest });
            }
        }
        assert_eq!(kind.open(&sealed).is_ok(), version == 1 || version == 2);
    }
}

/// [INV-10] No bytes make a decoder panic or take memory that they do not pay for.
#[test]
fn a_count_is_not_believed() {
    let mut bytes = Record::Plan(plan()).encode();
    let at = 2 + 8 + 8 + 2;
    bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    Record::decode(&bytes).expect_err("four thousand million sources in sixty bytes");
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn blob() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..20)
}

fn any_range() -> impl Strategy<Value = SourceRange> {
    (proptest::option::of(text()), text(), blob()).prop_map(|(start, end, detail)| SourceRange {
        start,
        end,
        detail,
    })
}

fn any_record() -> impl Strategy<Value = Record> {
    let sources = proptest::collection::vec(proptest::option::of(any_range()), 0..4);
    let plan = (any::<u64>(), any::<i64>(), any::<[bool; 2]>(), sources).prop_map(
        |(epoch, clock_ms, [has_data, snapshot_after], sources)| {
            Record::Plan(Plan {
                epoch: Epoch(epoch),
                clock_ms,
                kind: if has_data {
                    PlanKind::Data
                } else {
                    PlanKind::NoData
                },
                snapshot_after,
                sources,
            })
        },
    );
    let commit = any::<(u64, u64, u64, i64)>().prop_map(|(epoch, rows_in, rows_out, mark)| {
        Record::Commit(Commit {
            epoch: Epoch(epoch),
            rows_in,
            rows_out,
            watermark_next_ms: mark,
        })
    });
    let dropped = (any::<u64>(), text()).prop_map(|(from, reason)| {
        let from = Epoch(from);
        Record::Dropped(Dropped { from, reason })
    });
    let accepted = (any::<u64>(), any::<u32>(), text()).prop_map(|(epoch, source, what)| {
        let epoch = Epoch(epoch);
        Record::Accepted(Accepted {
            epoch,
            source,
            what,
        })
    });
    prop_oneof![plan, commit, dropped, accepted]
}

fn any_piece() -> impl Strategy<Value = Piece> {
    let numbers = any::<(u32, u32, i64, [u64; 5], u32)>();
    (numbers, text()).prop_map(|((operator, table, bucket, long, crc), pack)| {
        let [offset, len, rows, run, schema_fingerprint] = long;
        Piece {
            operator,
            table,
            bucket,
            pack,
            offset,
            len,
            rows,
            run,
            schema_fingerprint,
            crc,
        }
    })
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    let pieces = proptest::collection::vec(any_piece(), 0..4);
    let states = proptest::collection::vec(blob(), 0..3);
    (any::<(u64, u64, u32, u64)>(), pieces, states, blob()).prop_map(
        |((epoch, generation, workers, plan_fingerprint), pieces, source_states, control)| {
            Manifest {
                epoch: Epoch(epoch),
                generation,
                workers,
                plan_fingerprint,
                pieces,
                source_states,
                control,
            }
        },
    )
}

proptest! {
    #[test]
    fn a_record_comes_back(record in any_record()) {
        prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn a_manifest_comes_back(manifest in any_manifest(), id in text()) {
        let bytes = manifest.encode(&id).expect("short");
        prop_assert_eq!(Manifest::decode(&bytes), Ok((id, manifest)));
    }

    #[test]
    fn metadata_comes_back(
        [query_id, plan_text, engine] in [text(), text(), text()],
        plan_fingerprint in any::<u64>(),
        settings in proptest::collection::vec((text(), text()), 0..3),
    ) {
        let metadata = Metadata { query_id, plan_fingerprint, plan_text, settings };
        let bytes = metadata.encode(&engine).expect("short");
        prop_assert_eq!(Metadata::decode(&bytes), Ok((engine, metadata)));
    }

    /// A segment comes back frame by frame, and a cut loses whole frames only.
    #[test]
    fn a_segment_comes_back(
        groups in proptest::collection::vec(proptest::collection::vec(any_record(), 1..3), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let header = SegmentHeader { query_id: "id".to_owned(), first: Epoch(1) };
        let mut bytes = encode_header(&header).expect("short");
        let mut ends = vec![bytes.len()];
        let mut link = Link::default();
        for group in &groups {
            bytes.extend(encode_frame(3, link, group).expect("short"));
            ends.push(bytes.len());
            link = scan(&bytes).frames.last().expect("just added").next;
        }
        let whole = scan(&bytes);
        prop_assert_eq!(&whole.tail, &Tail::Clean);
        prop_assert_eq!(whole.header, Ok(header));
        let found: Vec<_> = whole.frames.into_iter().map(|frame| frame.records).collect();
        prop_assert_eq!(&found, &groups);

        let len = ends[0] + cut.index(bytes.len() - ends[0]);
        let torn = scan(&bytes[..len]);
        let survivors = ends.iter().filter(|end| **end <= len).count() - 1;
        prop_assert_eq!(torn.frames.len(), survivors);
        prop_assert_eq!(matches!(torn.tail, Tail::Torn(_)), !ends.contains(&len));
    }

    /// [INV-10] Any bytes are an error or a value, never a panic.
    #[test]
    fn any_bytes_are_decoded_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        magic in prop::sample::select(vec![*b"MSfr", *b"MSsg", *b"MSmf", *b"MSmd"]),
    ) {
        drop(Record::decode(&bytes));
        drop(scan(&bytes));
        // In an envelope that is right, so that the bytes get past the checksum.
        let kind = Kind { magic, version: 1, body_bytes_max: 1000 };
        let sealed = kind.seal(&bytes).expect("short");
        drop(Manifest::decode(&sealed));
        drop(Metadata::decode(&sealed));
        let header = SegmentHeader { query_id: String::new(), first: Epoch(0) };
        let mut segment = encode_header(&header).expect("short");
        segment.extend(sealed);
        drop(scan(&segment));
    }
}
