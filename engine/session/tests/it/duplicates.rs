//! `drop_duplicates` on streams, as Spark's own tests of it have it.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit, TimestampMicrosecondType},
};
use millstream::{Coded, DataFrame, Result, Session, StreamingQuery};

/// A stream of letters with times in seconds.
struct Letters {
    session: Session,
    query: StreamingQuery,
    read: usize,
}

impl Letters {
    fn new(
        workers: usize,
        delay: u32,
        frame: impl FnOnce(DataFrame) -> Result<DataFrame>,
    ) -> Result<Letters> {
        let session = Session::builder().workers(workers).build()?;
        session.execute(&format!(
            "CREATE TABLE letters (letter STRING, at TIMESTAMP,
               WATERMARK FOR at AS at - INTERVAL '{delay}' SECOND) WITH (connector = 'memory')"
        ))?;
        let frame = frame(session.table("letters")?)?;
        let query = frame
            .write_stream()
            .format("memory")
            .query_name("first")
            .start_now()?;
        Ok(Letters {
            session,
            query,
            read: 0,
        })
    }

    /// Adds rows such as `a17 b3` and gives what left because of them, in order.
    fn give(&mut self, rows: &str) -> Result<String> {
        let rows: Vec<(&str, i64)> = rows
            .split(' ')
            .map(|row| row.split_at(1))
            .map(|(letter, at)| (letter, at.parse().unwrap_or(0)))
            .collect();
        let letters: StringArray = rows.iter().map(|(letter, _)| Some(*letter)).collect();
        let times: TimestampMicrosecondArray =
            rows.iter().map(|(_, at)| Some(at * 1_000_000)).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(letters), Arc::new(times.with_timezone("UTC"))];
        let schema = Schema::new(vec![
            Field::new("letter", DataType::Utf8, true),
            Field::new(
                "at",
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                true,
            ),
        ]);
        let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap_or_else(|error| {
            unreachable!("columns of the schema: {error}");
        });
        self.session.memory().add("letters", batch)?;
        self.query.process_all_available_blocking()?;
        let all = self.session.memory().read("first");
        let mut given: Vec<String> = all[self.read..]
            .iter()
            .flat_map(|batch| {
                let letters = batch.rows.column(0).as_string::<i32>();
                let times = batch
                    .rows
                    .column(1)
                    .as_primitive::<TimestampMicrosecondType>();
                let rows = letters.iter().zip(times.values());
                rows.map(|(letter, at)| format!("{}{}", letter.unwrap_or(""), at / 1_000_000))
                    .collect::<Vec<_>>()
            })
            .collect();
        self.read = all.len();
        given.sort();
        Ok(given.join(" "))
    }

    fn keys(&self) -> u64 {
        self.query
            .last_progress()
            .and_then(|progress| {
                progress
                    .state_operators
                    .first()
                    .map(|one| one.num_rows_total)
            })
            .unwrap_or(u64::MAX)
    }
}

#[test]
fn keys_without_a_time_are_kept_and_no_row_is_late() -> Result<()> {
    for workers in [1, 2] {
        let mut letters = Letters::new(workers, 10, |all| all.drop_duplicates(&["letter"]))?;
        assert_eq!(letters.give("a5 b6 a7")?, "a5 b6");
        assert_eq!(letters.give("a50")?, "");
        assert_eq!(letters.give("b1 c5")?, "c5");
        assert_eq!(letters.keys(), 3);
    }
    Ok(())
}

#[test]
fn keys_with_the_time_go_with_the_watermark() -> Result<()> {
    for workers in [1, 2] {
        let mut letters = Letters::new(workers, 10, |all| all.drop_duplicates(&["AT"]))?;
        assert_eq!(letters.give("a10 b11 c11 d15")?, "a10 b11 d15");
        assert_eq!(letters.give("a25")?, "a25");
        assert_eq!(letters.keys(), 1);
        assert_eq!(letters.give("a15 b16 c26")?, "b16 c26");
        assert_eq!(letters.give("d16")?, "");
    }
    Ok(())
}

#[test]
fn within_the_watermark_a_key_is_kept_for_the_delay() -> Result<()> {
    for workers in [1, 2] {
        let within = |all: DataFrame| all.drop_duplicates_within_watermark(&["letter"]);
        let mut letters = Letters::new(workers, 2, within)?;
        let steps = [
            ("a17", "a17"),
            ("a16", ""),
            ("a13", ""),
            ("b22 c21", "b22 c21"),
            ("a21", "a21"),
            ("d25", "d25"),
        ];
        for (rows, given) in steps {
            assert_eq!(letters.give(rows)?, given, "after {rows}");
        }
    }
    Ok(())
}

#[test]
fn of_all_columns_and_above_each_other() -> Result<()> {
    let mut letters = Letters::new(2, 10, |all| {
        all.drop_duplicates(&[])?.drop_duplicates(&["letter"])
    })?;
    assert_eq!(letters.give("a1 a1 a2 b1")?, "a1 b1");
    Ok(())
}

#[test]
fn what_has_no_first_row_is_refused() -> Result<()> {
    let session = Session::builder().workers(1).build()?;
    session.execute("CREATE TABLE plain (k STRING) WITH (connector = 'memory')")?;
    let plain = session.table("plain")?;
    let told = |frame: DataFrame| {
        let started = frame
            .write_stream()
            .format("memory")
            .query_name("q")
            .start_now();
        started.err().map(|error| error.fault().code.0)
    };
    assert_eq!(
        told(plain.drop_duplicates_within_watermark(&[])?),
        Some("SQL-030")
    );
    let unknown = plain.drop_duplicates(&["nix"]);
    assert_eq!(
        unknown.err().map(|error| error.fault().code.0),
        Some("SQL-003")
    );
    Ok(())
}
