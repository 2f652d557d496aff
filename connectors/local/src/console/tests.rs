//! The console sink against the output of Spark.

use arrow::{
    array::{Float64Array, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use expect_test::{Expect, expect};
use millstream_connectors_api::{Options, SinkRows, WriteBody};

use super::*;
use crate::testing;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("not poisoned")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("s", DataType::Utf8, true),
    ]))
}

fn rows(numbers: &[i64], texts: &[Option<&str>]) -> RecordBatch {
    let columns = (
        Int64Array::from(numbers.to_vec()),
        StringArray::from(texts.to_vec()),
    );
    RecordBatch::try_new(schema(), vec![Arc::new(columns.0), Arc::new(columns.1)]).expect("a batch")
}

#[expect(clippy::needless_pass_by_value, reason = "the manner of expect-test")]
fn check(
    options: &[(&str, &str)],
    mode: OutputMode,
    rows: RecordBatch,
    signs: Option<Vec<i64>>,
    expected: Expect,
) {
    let captured = Captured::default();
    let connector = ConsoleConnector::to(Box::new(captured.clone()));
    let request = SinkRequest {
        table: "t".to_owned(),
        options: Options::from_iter(options.iter().copied()),
    };
    let mut sink = connector.sink(&request).expect("opens");
    sink.open(&testing::sink_context(rows.schema(), mode))
        .expect("any mode");
    let write = EpochWrite {
        epoch: Epoch(3),
        body: WriteBody::Rows(SinkRows {
            rows,
            signs: signs.map(Int64Array::from),
        }),
    };
    sink.write(&write).expect("writes");
    sink.stage(Epoch(3)).expect("stages");
    sink.commit(Epoch(3)).expect("prints");
    let bytes = captured.0.lock().expect("not poisoned").clone();
    expected.assert_eq(&String::from_utf8(bytes).expect("UTF-8"));
}

#[test]
fn tables() {
    check(
        &[],
        OutputMode::Append,
        rows(
            &[1, 2, 3],
            &[Some("a"), Some("a very long string indeed"), None],
        ),
        None,
        expect![[r#"
            -------------------------------------------
            Batch: 3
            -------------------------------------------
            +---+--------------------+
            |  n|                   s|
            +---+--------------------+
            |  1|                   a|
            |  2|a very long strin...|
            |  3|                NULL|
            +---+--------------------+

        "#]],
    );
    check(
        &[("truncate", "false"), ("numRows", "1")],
        OutputMode::Append,
        rows(&[1, 2], &[Some("a very long\nstring indeed"), None]),
        None,
        expect![[r#"
            -------------------------------------------
            Batch: 3
            -------------------------------------------
            +---+--------------------------+
            |n  |s                         |
            +---+--------------------------+
            |1  |a very long\nstring indeed|
            +---+--------------------------+
            only showing top 1 row

        "#]],
    );
    check(
        &[],
        OutputMode::Append,
        rows(&[], &[]),
        None,
        expect![[r#"
            -------------------------------------------
            Batch: 3
            -------------------------------------------
            +---+---+
            |  n|  s|
            +---+---+
            +---+---+

        "#]],
    );
}

#[test]
fn changes_have_signs() {
    check(
        &[],
        OutputMode::Changes,
        rows(&[1, 2], &[Some("x"), Some("日本")]),
        Some(vec![-1, 1]),
        expect![[r#"
            -------------------------------------------
            Batch: 3
            -------------------------------------------
            +---+---+----+
            | op|  n|   s|
            +---+---+----+
            |  -|  1|   x|
            |  +|  2|日本|
            +---+---+----+

        "#]],
    );
}

#[test]
fn values_look_as_in_spark() {
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let window = Schema::new(vec![
        Field::new("at", zoned, true),
        Field::new("d", DataType::Float64, true),
    ]);
    let at = TimestampMicrosecondArray::from(vec![0, 1_500_000]).with_timezone("UTC");
    let columns = arrow::array::StructArray::from(
        RecordBatch::try_new(
            Arc::new(window),
            vec![
                Arc::new(at),
                Arc::new(Float64Array::from(vec![Some(1e10), None])),
            ],
        )
        .expect("a batch"),
    );
    let schema = Schema::new(vec![Field::new(
        "w",
        arrow::array::Array::data_type(&columns).clone(),
        true,
    )]);
    let rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(columns)]).expect("a batch");
    check(
        &[("truncate", "false")],
        OutputMode::Append,
        rows,
        None,
        expect![[r#"
            -------------------------------------------
            Batch: 3
            -------------------------------------------
            +-----------------------------+
            |w                            |
            +-----------------------------+
            |{1970-01-01 00:00:00, 1.0E10}|
            |{1970-01-01 00:00:01.5, NULL}|
            +-----------------------------+

        "#]],
    );
}

/// Takes some bytes and then has no room, each time anew; or is closed.
struct Narrow {
    taken: Captured,
    kind: io::ErrorKind,
    room: usize,
}

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            self.room = 50;
            return Err(self.kind.into());
        }
        let some = bytes.get(..self.room).unwrap_or(bytes);
        self.room -= some.len();
        self.taken.write(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn narrow(kind: io::ErrorKind) -> (Box<dyn Sink>, Captured) {
    let taken = Captured::default();
    let out = Narrow {
        taken: taken.clone(),
        kind,
        room: 0,
    };
    let request = SinkRequest {
        table: "t".to_owned(),
        options: Options::new(),
    };
    let connector = ConsoleConnector::to(Box::new(out));
    let mut sink = connector.sink(&request).expect("opens");
    sink.open(&testing::sink_context(schema(), OutputMode::Append))
        .expect("any mode");
    let rows = WriteBody::Rows(SinkRows {
        rows: rows(&[1, 2], &[Some("a"), Some("b")]),
        signs: None,
    });
    sink.write(&EpochWrite {
        epoch: Epoch(0),
        body: rows,
    })
    .expect("writes");
    (sink, taken)
}

#[test]
fn a_console_without_room_gets_the_rest_later() {
    let (mut sink, taken) = narrow(io::ErrorKind::StorageFull);
    let mut repeats = 0;
    let receipt = loop {
        match sink.commit(Epoch(0)) {
            Ok(receipt) => break receipt,
            Err(error) => assert!(error.is_disk_full() && repeats < 20, "{error}"),
        }
        repeats += 1;
    };
    assert!(receipt.rows == 2 && repeats > 3, "{repeats}");
    let bytes = taken.0.lock().expect("not poisoned").clone();
    expect![[r#"
        -------------------------------------------
        Batch: 0
        -------------------------------------------
        +---+---+
        |  n|  s|
        +---+---+
        |  1|  a|
        |  2|  b|
        +---+---+

    "#]]
    .assert_eq(&String::from_utf8(bytes).expect("UTF-8"));
}

#[test]
fn a_closed_console_is_con_020() {
    let (mut sink, _) = narrow(io::ErrorKind::BrokenPipe);
    let error = sink.commit(Epoch(0)).expect_err("is closed");
    assert_eq!(millstream_types::Coded::code(&error).0, "CON-020");
    assert!(!error.is_disk_full());
}
