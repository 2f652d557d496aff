//! Every word comes back as it was, and no bytes are taken for another.

use std::sync::Arc;

use arrow::{
    array::{Int64Array, StringArray},
    datatypes::{DataType, Field, Schema},
};

use super::*;

fn rows() -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("n", DataType::Int64, false),
    ]);
    let keys = StringArray::from(vec![Some("a"), None, Some("")]);
    let numbers = Int64Array::from(vec![1, -2, i64::MAX]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(keys), Arc::new(numbers)])
        .expect("columns fit")
}

fn words() -> Vec<Said> {
    let mut marks = MarkState::new(2);
    marks.definitions_ms = vec![5, -7];
    marks.idle = vec![false, true];
    let change = |rows| BucketChange {
        addition: Addition::Replaces,
        table: 3,
        bucket: Bucket(-9),
        rows,
    };
    vec![
        Said::Failed(Fault {
            code: Code("EXE-001"),
            sub_condition: None,
            message: "no".to_owned(),
            hint: Some("yes".to_owned()),
            position: None,
        }),
        Said::Built { givers: 4 },
        Said::Rows {
            port: Port::Late,
            body: WriteBody::Encoded(Encoded {
                bytes: b"x\n".to_vec(),
                rows: 1,
            }),
            held: 77,
        },
        Said::Rows {
            port: Port::Result,
            body: WriteBody::Rows(SinkRows {
                rows: rows(),
                signs: Some(Int64Array::from(vec![1, -1, 1])),
            }),
            held: 0,
        },
        Said::Counted { rows: 8 },
        Said::Closed { messages: u64::MAX },
        Said::Operator {
            operator: OperatorId(7),
            report: OperatorReport {
                rows_total: 1,
                rows_updated: 2,
                rows_removed: 3,
                rows_late: 4,
                bytes: 5,
                oldest_end: Some(-6),
            },
        },
        Said::Tapped {
            operator: OperatorId(u32::MAX),
            changes: vec![change(vec![rows(), rows()]), change(Vec::new())],
        },
        Said::Marked(MarkReport {
            epoch: Epoch(11),
            state: marks,
            times: Some(EventTimes {
                max_ms: 3,
                min_ms: 1,
                avg_ms: 2.5,
            }),
        }),
        Said::Read {
            source: SourceId(2),
            rows: 10,
            malformed: 1,
        },
    ]
}

fn frames() -> impl Iterator<Item = (String, Vec<u8>)> {
    words().into_iter().map(|said| {
        let word = WorkerMessage {
            worker: WorkerId(3),
            epoch: Epoch(99),
            said,
        };
        let frame = encode(&word).expect("every word has a form");
        (format!("{word:?}"), frame)
    })
}

#[test]
fn every_word_comes_back() {
    for (shown, frame) in frames() {
        let word = decode(&frame).map(|word| format!("{word:?}"));
        assert_eq!(word, Some(shown));
    }
}

/// [INV-10]
#[test]
fn changed_bytes_are_no_word() {
    for (shown, frame) in frames() {
        for at in 0..frame.len() {
            let mut changed = frame.clone();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= 0x10;
            }
            assert!(decode(&changed).is_none(), "byte {at} of {shown}");
            let cut = frame.get(..at).unwrap_or_default();
            assert!(decode(cut).is_none(), "{at} bytes of {shown}");
        }
    }
}
