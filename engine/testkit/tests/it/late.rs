//! Late rows in the Rust API: a table takes them, and it commits with the query.

use std::sync::Arc;

use arrow::{
    array::{AsArray, Int32Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::{Int32Type, Schema},
};
use millstream::{Session, SessionSettings, Trigger, prelude::*};

fn rows(schema: &Arc<Schema>, seconds: &[i64], numbers: &[i32]) -> RecordBatch {
    let times = seconds.iter().map(|seconds| seconds * 1_000_000);
    let at = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let n = Int32Array::from(numbers.to_vec());
    RecordBatch::try_new(schema.clone(), vec![Arc::new(at), Arc::new(n)]).expect("columns fit")
}

#[test]
fn a_table_takes_what_the_query_drops() {
    let settings = SessionSettings {
        trigger: Trigger::OnDemand,
        workers: 2,
        ..SessionSettings::default()
    };
    let session = Session::builder()
        .settings(settings)
        .build()
        .expect("settings are right");
    session
        .execute(
            "CREATE TABLE t (at TIMESTAMP, n INT, WATERMARK FOR at AS at) WITH (connector = 'memory');
             CREATE TABLE dropped (at TIMESTAMP, n INT) WITH (connector = 'memory')",
        )
        .expect("the tables are new");
    let schema = {
        let catalog = session.catalog();
        let millstream::Entry::Table(table) = catalog.get("t").expect("is there") else {
            unreachable!("t is a table")
        };
        table.readable().expect("can be read")
    };
    let query = session
        .table("t")
        .expect("is there")
        .group_by([window(col("at"), "10 seconds")])
        .count()
        .expect("plans")
        .write_stream()
        .format("memory")
        .query_name("q")
        .late_rows_into("dropped")
        .start_now()
        .expect("starts");
    for (seconds, numbers) in [
        (&[5, 30][..], &[1, 2][..]),
        (&[7, 31], &[3, 4]),
        (&[8, 32], &[5, 6]),
    ] {
        let added = session.memory().add("t", rows(&schema, seconds, numbers));
        added.expect("the table takes it");
        query.process_all_available_blocking().expect("runs");
    }
    let late: Vec<i32> = session
        .memory()
        .read("dropped")
        .iter()
        .flat_map(|signed| {
            signed
                .rows
                .column(1)
                .as_primitive::<Int32Type>()
                .values()
                .to_vec()
        })
        .collect();
    assert_eq!(late, [3, 5]);
    let counted: u64 = query
        .recent_progress()
        .iter()
        .flat_map(|progress| &progress.state_operators)
        .map(|one| one.num_rows_dropped_by_watermark)
        .sum();
    assert_eq!(counted, 2);
}
