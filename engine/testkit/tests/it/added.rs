//! A start goes on with the pieces that are there: what it writes is what changed, with any number of workers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, Int64Type, Schema},
};
use millstream::{Checkpoint, OutputMode, Session, SessionSettings, Trigger};
use millstream_epoch::{Disk, sim::SimDisk};

const KEYS: usize = 5_000;

fn keys(keys: impl Iterator<Item = usize>) -> RecordBatch {
    let texts = keys.map(|key| Some(format!("key-{key:06}")));
    let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
    let schema = Schema::new(vec![Field::new("k", DataType::Utf8, true)]);
    RecordBatch::try_new(Arc::new(schema), vec![texts]).expect("columns fit")
}

/// Bytes of all packs, by name.
fn packs(disk: &SimDisk) -> BTreeMap<String, u64> {
    let files = disk.files().into_iter();
    let packs = files.filter(|file| file.as_str().starts_with("state/pack-"));
    let sized = packs.map(|file| {
        let size = disk.size(&file).expect("the file is there");
        (file.to_string(), size)
    });
    sized.collect()
}

#[test]
fn a_start_writes_what_changed() {
    let disk = SimDisk::new();
    let settings = |workers: usize| SessionSettings {
        trigger: Trigger::OnDemand,
        workers,
        snapshot_interval: Duration::ZERO,
        checkpoint: Checkpoint::Disk(Arc::new(disk.clone())),
        ..SessionSettings::default()
    };
    let session = Session::builder().settings(settings(1)).build();
    let session = session.expect("settings are right");
    let table = "CREATE TABLE e (k STRING) WITH (connector = 'memory')";
    session.execute(table).expect("the table is new");
    let mut whole = 0;
    for (start, workers) in [2, 2, 3, 1].into_iter().enumerate() {
        let before = packs(&disk);
        let rows = if start == 0 {
            keys(0..KEYS)
        } else {
            keys([7, KEYS + start].into_iter())
        };
        session.memory().add("e", rows).expect("the table takes it");
        let frame = session.sql("SELECT k, count(*) AS n FROM e GROUP BY k");
        let writer = frame.expect("is a query").write_stream().format("memory");
        let writer = writer.query_name("q").output_mode(OutputMode::Update);
        let query = writer.start_with(settings(workers)).expect("starts");
        query.process_all_available_blocking().expect("runs");
        query.request_stop();
        query.await_termination_blocking(None).expect("stops");
        let mut counts: Vec<i64> = Vec::new();
        for signed in session.memory().take("q") {
            counts.extend(signed.rows.column(1).as_primitive::<Int64Type>().values());
        }
        counts.sort_unstable();
        let mut new = packs(&disk);
        new.retain(|name, _| !before.contains_key(name));
        let written: u64 = new.values().sum();
        if start == 0 {
            assert_eq!(counts, vec![1; KEYS]);
            whole = written;
        } else {
            let seen = i64::try_from(start).expect("few");
            assert_eq!(counts, [1, seen + 1], "the state is there");
            assert!(written > 0, "a snapshot was taken");
            assert!(20 * written < whole, "start {start}: {written} of {whole}");
        }
    }
}
