use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{Array, AsArray, Int32Array, Int64Array, StringArray},
    datatypes::{DataType, Field, Int64Type},
};
use proptest::prelude::*;

use super::*;

fn table() -> StateTable {
    let keys = Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("n", DataType::Int32, true),
    ]);
    let values = Schema::new(vec![Field::new("sum", DataType::Int64, true)]);
    StateTable::new(0, &keys, &values, Placement::ByKeyAndBucket).expect("columns are keys")
}

fn key_columns(keys: &[u8]) -> Vec<ArrayRef> {
    let text: StringArray = keys.iter().map(|key| Some(format!("key{key}"))).collect();
    let number: Int32Array = keys.iter().map(|key| Some(i32::from(*key % 3))).collect();
    vec![Arc::new(text), Arc::new(number)]
}

fn value_columns(values: &[i64]) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from(values.to_vec()))]
}

/// Keys and values of some rows.
fn read(keys: &[ArrayRef], values: &[ArrayRef]) -> Vec<(u8, i64)> {
    let keys = keys[0].as_string::<i32>();
    let values = values[0].as_primitive::<Int64Type>();
    let number = |row| keys.value(row)[3..].parse().expect("a key");
    (0..keys.len())
        .map(|row| (number(row), values.value(row)))
        .collect()
}

/// A piece in memory.
#[derive(Debug)]
struct Kept {
    run: u64,
    rows: Vec<RecordBatch>,
}

impl StoredPiece for Kept {
    fn run(&self) -> u64 {
        self.run
    }
    fn read(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.rows.clone())
    }
}

type Model = BTreeMap<i64, BTreeMap<u8, i64>>;

/// A worker: what it holds, and what of it changed.
struct Worker {
    ownership: Ownership,
    table: StateTable,
    held: Model,
    changed: BTreeMap<i64, BTreeSet<u8>>,
}

impl Worker {
    fn start(ownership: Ownership, disk: &Disk) -> Worker {
        let mut worker = Worker {
            ownership,
            table: table(),
            held: Model::new(),
            changed: BTreeMap::new(),
        };
        let seed = Seed {
            epoch: Epoch(1),
            pieces: disk.clone(),
        };
        let mut held = Model::new();
        let show = |bucket: Bucket, keys: &[ArrayRef], values: &[ArrayRef], rows| {
            assert_eq!(keys[0].len(), rows);
            for (key, value) in read(keys, values) {
                let twice = held.entry(bucket.0).or_default().insert(key, value);
                assert!(twice.is_none(), "a key comes once");
            }
            Ok(())
        };
        worker
            .table
            .restore(Some(&seed), ownership, show)
            .expect("restores");
        worker.held = held;
        worker
    }

    fn owns(&self, bucket: i64, key: u8) -> bool {
        let salt = Placement::ByKeyAndBucket.salt(Bucket(bucket));
        let hash = hash_keys(salt, &key_columns(&[key]), 1).expect("has a hash")[0];
        owner(hash, self.ownership.workers) == self.ownership.worker
    }

    fn set(&mut self, bucket: i64, key: u8, value: Option<i64>) {
        if !self.owns(bucket, key) {
            return;
        }
        let held = self.held.entry(bucket).or_default();
        match value {
            Some(value) => held.insert(key, value),
            None => held.remove(&key),
        };
        self.changed.entry(bucket).or_default().insert(key);
    }

    /// All keys of a bucket go, one by one: other workers may keep theirs.
    fn leave(&mut self, bucket: i64) {
        let keys: Vec<u8> = self
            .held
            .remove(&bucket)
            .unwrap_or_default()
            .into_keys()
            .chain(self.changed.remove(&bucket).unwrap_or_default())
            .collect::<BTreeSet<u8>>()
            .into_iter()
            .collect();
        self.table
            .remove(Bucket(bucket), &key_columns(&keys), keys.len())
            .expect("removes");
        self.table.leave(Bucket(bucket));
    }

    fn tap(&mut self) -> Vec<BucketChange> {
        for (bucket, keys) in std::mem::take(&mut self.changed) {
            let held = self.held.entry(bucket).or_default();
            let (alive, gone): (Vec<u8>, Vec<u8>) =
                keys.into_iter().partition(|key| held.contains_key(key));
            let values: Vec<i64> = alive.iter().map(|key| held[key]).collect();
            let bucket = Bucket(bucket);
            self.table
                .remove(bucket, &key_columns(&gone), gone.len())
                .expect("removes");
            for (keys, values) in alive.chunks(3).zip(values.chunks(3)) {
                let (keys, values) = (key_columns(keys), value_columns(values));
                let rows = keys[0].len();
                self.table
                    .upsert(bucket, &keys, &values, rows)
                    .expect("upserts");
            }
        }
        self.table.tap()
    }
}

type Disk = BTreeMap<(u32, Bucket), Vec<Arc<dyn StoredPiece>>>;

/// Adds what all workers hand over.
fn snapshot(workers: &mut [Worker], disk: &mut Disk, run: u64) {
    let mut next = Disk::new();
    for worker in workers {
        for change in worker.tap() {
            let place = (change.table, change.bucket);
            let known = || disk.get(&place).cloned().unwrap_or_default();
            let pieces = next.entry(place).or_insert_with(known);
            if !change.rows.is_empty() {
                let rows = change.rows;
                pieces.push(Arc::new(Kept { run, rows }));
            }
        }
    }
    *disk = next;
}

/// Merges the newest runs of a bucket, as many as are not `kept`.
fn merge(pieces: &mut Vec<Arc<dyn StoredPiece>>, kept: usize, run: u64) {
    let runs: BTreeSet<u64> = pieces.iter().map(|piece| piece.run()).collect();
    let Some(first) = runs.iter().nth(kept % runs.len().max(1)).copied() else {
        return;
    };
    let at = pieces.partition_point(|piece| piece.run() < first);
    let removals = if at == 0 {
        Removals::LeftOut
    } else {
        Removals::Kept
    };
    let mut rows = Vec::new();
    standing(&pieces[at..], &|_| Ok(None), removals, &mut |batch| {
        rows.push(batch);
        Ok(())
    })
    .expect("merges");
    pieces.truncate(at);
    pieces.push(Arc::new(Kept { run, rows }));
}

#[derive(Clone, Debug)]
enum Action {
    Set(i64, u8, Option<i64>),
    /// The watermark closes a bucket.
    Close(i64),
    /// A worker loses its part of a bucket.
    Leave(i64, usize),
    Tap,
    Merge(usize),
    Restart(usize),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let bucket = 0i64..5;
    let value = prop_oneof![3 => (-5i64..5).prop_map(Some), 1 => Just(None)];
    let action = prop_oneof![
        24 => (bucket.clone(), 0u8..12, value).prop_map(|(b, k, v)| Action::Set(b, k, v)),
        1 => bucket.clone().prop_map(Action::Close),
        1 => (bucket, 0usize..4).prop_map(|(b, w)| Action::Leave(b, w)),
        6 => Just(Action::Tap),
        3 => (0usize..5).prop_map(Action::Merge),
        2 => (1usize..5).prop_map(Action::Restart),
    ];
    prop::collection::vec(action, 1..120)
}

proptest! {
    /// Pieces of any history, merged anywhere, with any number of workers in each life, are the state. proves
    /// P7 in part: nothing of a closed bucket comes back, nothing of an open one is missing.
    #[test]
    fn pieces_are_the_state_for_any_number_of_workers(actions in actions(), workers in 1usize..5) {
        let start = |workers: usize, disk: &Disk| -> Vec<Worker> {
            (0..workers)
                .map(|worker| Worker::start(Ownership { worker, workers }, disk))
                .collect()
        };
        let held = |workers: &[Worker]| {
            let mut all = Model::new();
            for worker in workers {
                for (bucket, held) in &worker.held {
                    all.entry(*bucket).or_default().extend(held);
                }
            }
            all.retain(|_, held| !held.is_empty());
            all
        };
        let mut disk = Disk::new();
        let mut running = start(workers, &disk);
        let mut stored = Model::new();
        let (mut closed, mut stored_closed) = (BTreeSet::new(), BTreeSet::new());
        let mut run = 0;
        for action in actions.into_iter().chain([Action::Restart(1)]) {
            match action {
                // Rows of a closed bucket are late.
                Action::Set(bucket, _, _) if closed.contains(&bucket) => {}
                Action::Set(bucket, key, value) => {
                    running.iter_mut().for_each(|worker| worker.set(bucket, key, value));
                }
                Action::Close(bucket) => {
                    closed.insert(bucket);
                    for worker in &mut running {
                        worker.held.remove(&bucket);
                        worker.changed.remove(&bucket);
                        worker.table.forget(Bucket(bucket));
                    }
                }
                Action::Leave(bucket, worker) => {
                    let count = running.len();
                    running[worker % count].leave(bucket);
                }
                Action::Tap => {
                    run += 1;
                    snapshot(&mut running, &mut disk, run);
                    (stored, stored_closed) = (held(&running), closed.clone());
                    let table = |worker: &Worker| worker.table.bytes() / BUCKET_BYTES;
                    let empty = running.iter().all(|of| table(of) == of.table.buckets.len());
                    prop_assert!(empty, "nothing stays after a tap");
                }
                Action::Merge(kept) => {
                    run += 1;
                    disk.values_mut().for_each(|pieces| merge(pieces, kept, run));
                }
                Action::Restart(workers) => {
                    running = start(workers, &disk);
                    closed.clone_from(&stored_closed);
                    prop_assert_eq!(held(&running), stored.clone());
                }
            }
        }
    }

    /// What an earlier release wrote is read, and what is written since is added to it.
    #[test]
    fn pieces_of_differences_are_read(
        taps in prop::collection::vec(prop::collection::btree_map(0u8..9, prop::option::of(0i64..3), 0..6), 1..8),
        later in prop::collection::btree_map(0u8..9, prop::option::of(5i64..9), 0..6),
        workers in 1usize..4,
    ) {
        let mut model: BTreeMap<u8, i64> = BTreeMap::new();
        let mut pieces: Vec<Arc<dyn StoredPiece>> = Vec::new();
        for tap in taps {
            let mut rows: Vec<(u8, i64, i64)> = Vec::new();
            for (key, value) in tap {
                let old = model.get(&key).copied();
                if old == value {
                    continue;
                }
                // In the order of values, as they stood there.
                rows.extend(value.map(|new| (key, new, 1)).filter(|(_, new, _)| Some(*new) < old));
                rows.extend(old.map(|old| (key, old, -1)));
                rows.extend(value.map(|new| (key, new, 1)).filter(|(_, new, _)| Some(*new) > old));
                match value {
                    Some(value) => model.insert(key, value),
                    None => model.remove(&key),
                };
            }
            let rows: Vec<RecordBatch> = rows.chunks(2).map(differences).collect();
            pieces.push(Arc::new(Kept { run: 0, rows }));
        }
        let mut disk = Disk::from([((0, Bucket(7)), pieces)]);
        let start = |workers: usize, disk: &Disk| -> Vec<Worker> {
            (0..workers).map(|worker| Worker::start(Ownership { worker, workers }, disk)).collect()
        };
        let mut running = start(workers, &disk);
        for (key, value) in later {
            running.iter_mut().for_each(|worker| worker.set(7, key, value));
            match value {
                Some(value) => model.insert(key, value),
                None => model.remove(&key),
            };
        }
        snapshot(&mut running, &mut disk, 1);
        for merges in [false, true] {
            if merges {
                disk.values_mut().for_each(|pieces| merge(pieces, 0, 2));
                prop_assert!(disk.values().all(|pieces| pieces.len() == 1));
            }
            let mut held: BTreeMap<u8, i64> = BTreeMap::new();
            for worker in start(3, &disk) {
                held.extend(worker.held.into_values().flatten());
            }
            prop_assert_eq!(&held, &model);
        }
    }
}

/// A batch of the form of an earlier release.
fn differences(rows: &[(u8, i64, i64)]) -> RecordBatch {
    let keys: Vec<u8> = rows.iter().map(|row| row.0).collect();
    let mut columns = key_columns(&keys);
    columns.extend(value_columns(
        &rows.iter().map(|row| row.1).collect::<Vec<_>>(),
    ));
    columns.extend(value_columns(
        &rows.iter().map(|row| row.2).collect::<Vec<_>>(),
    ));
    let schema = Schema::new(vec![
        Field::new("key0", DataType::Utf8, true),
        Field::new("key1", DataType::Int32, true),
        Field::new("value0", DataType::Int64, true),
        Field::new("__diff", DataType::Int64, false),
    ]);
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns fit")
}

fn refusal(table: &mut StateTable, rows: Vec<RecordBatch>) -> String {
    let piece: Arc<dyn StoredPiece> = Arc::new(Kept { run: 1, rows });
    let seed = Seed {
        epoch: Epoch(1),
        pieces: BTreeMap::from([((0, Bucket(0)), vec![piece])]),
    };
    let ownership = Ownership {
        worker: 0,
        workers: 1,
    };
    let error = table
        .restore(Some(&seed), ownership, |_, _, _, _| Ok(()))
        .expect_err("refuses");
    assert_eq!(millstream_types::Coded::code(&error).0, "EXE-003");
    error.to_string()
}

#[test]
fn a_piece_of_another_table_is_refused() {
    let keys = Schema::new(vec![Field::new("k", DataType::Int64, true)]);
    let mut other =
        StateTable::new(0, &keys, &Schema::empty(), Placement::ByKey).expect("columns are keys");
    let mut table = table();
    table
        .upsert(Bucket(0), &key_columns(&[1]), &value_columns(&[1]), 1)
        .expect("upserts");
    let rows = table.tap().remove(0).rows;
    assert!(refusal(&mut other, rows.clone()).contains("other columns"));
    let bare = rows[0].project(&[0, 1, 2]).expect("has columns");
    assert!(refusal(&mut table, vec![bare]).contains("no marker"));
}

#[test]
fn differences_that_do_not_add_up_are_refused() {
    let twice = differences(&[(1, 5, 1), (1, 5, 1)]);
    assert!(refusal(&mut table(), vec![twice]).contains("more or less than once"));
    let less = differences(&[(1, 5, -1)]);
    assert!(refusal(&mut table(), vec![less]).contains("more or less than once"));
}

#[test]
fn what_no_snapshot_has_is_not_taken_out_of_one() {
    let mut table = table();
    table
        .remove(Bucket(0), &key_columns(&[1]), 1)
        .expect("removes");
    assert!(table.tap().is_empty());
    table
        .upsert(Bucket(0), &key_columns(&[1]), &value_columns(&[1]), 1)
        .expect("upserts");
    assert_eq!(table.tap()[0].rows.len(), 1);
    table
        .remove(Bucket(0), &key_columns(&[1]), 1)
        .expect("removes");
    assert_eq!(table.tap()[0].rows.len(), 1);
    assert!(table.tap()[0].rows.is_empty(), "it is alive and unchanged");
}
