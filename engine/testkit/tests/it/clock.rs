//! The clock that a query sees is the plan's: an epoch that runs again sees the time of its first run.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{AsArray, Int32Array, RecordBatch},
    datatypes::{DataType, Field, Schema, TimestampMicrosecondType},
};
use millstream::{Checkpoint, Clock, KillPoint, Session, SessionSettings, Trigger, VirtualClock};
use millstream_epoch::sim::SimDisk;

const PLANNED_MS: i64 = 1_000_000;

/// proves P3: time visible to a query is in the plan. [INV-01]
#[test]
fn a_repeated_epoch_sees_the_time_of_its_plan() {
    let clock = Arc::new(VirtualClock::new(PLANNED_MS));
    let settings = SessionSettings {
        trigger: Trigger::OnDemand,
        workers: 2,
        snapshot_interval: Duration::ZERO,
        checkpoint: Checkpoint::Disk(Arc::new(SimDisk::new())),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ..SessionSettings::default()
    };
    let session = Session::builder()
        .settings(settings.clone())
        .build()
        .expect("settings are right");
    session
        .execute("CREATE TABLE e (n INT) WITH (connector = 'memory')")
        .expect("the table is new");
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, true)]));
    let rows = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let rows = RecordBatch::try_new(schema, vec![rows]).expect("columns fit");
    session.memory().add("e", rows).expect("the table takes it");
    let start = |kill_at| {
        session
            .sql("SELECT n, current_timestamp() AS at FROM e")
            .expect("plans")
            .write_stream()
            .format("memory")
            .query_name("q")
            .start_with(SessionSettings {
                kill_at,
                ..settings.clone()
            })
            .expect("starts")
    };
    let first = start(Some(KillPoint::Planned));
    first
        .process_all_available_blocking()
        .expect("a kill is no error");
    assert!(first.is_killed() && session.memory().read("q").is_empty());
    clock.advance(3_600_000);
    let second = start(None);
    second.process_all_available_blocking().expect("runs");
    let times: Vec<i64> = session
        .memory()
        .read("q")
        .iter()
        .flat_map(|signed| {
            let column = signed
                .rows
                .column(1)
                .as_primitive::<TimestampMicrosecondType>();
            column.values().to_vec()
        })
        .collect();
    assert_eq!(times, vec![PLANNED_MS * 1000; 3]);
}
