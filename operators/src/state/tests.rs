use std::collections::BTreeMap;

use arrow::array::{Int32Array, StringArray};
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

fn columns(rows: &[(u8, i64)]) -> (Vec<ArrayRef>, Vec<ArrayRef>) {
    let text: StringArray = rows
        .iter()
        .map(|(key, _)| Some(format!("key{key}")))
        .collect();
    let number: Int32Array = rows
        .iter()
        .map(|(key, _)| Some(i32::from(*key % 3)))
        .collect();
    let value: Int64Array = rows.iter().map(|(_, value)| Some(*value)).collect();
    (
        vec![Arc::new(text), Arc::new(number)],
        vec![Arc::new(value)],
    )
}

fn read(batch: &RecordBatch) -> BTreeMap<String, i64> {
    let keys = batch.column(0).as_string::<i32>();
    let values = batch.column(2).as_primitive::<Int64Type>();
    (0..batch.num_rows())
        .map(|row| (keys.value(row).to_owned(), values.value(row)))
        .collect()
}

#[derive(Clone, Debug)]
enum Action {
    Upsert(i64, Vec<(u8, i64)>),
    Remove(i64, Vec<u8>),
    Drop(i64),
    Tap,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let bucket = 0i64..3;
    let rows = prop::collection::btree_map(0u8..9, -5i64..5, 0..6);
    let action = prop_oneof![
        6 => (bucket.clone(), rows).prop_map(|(b, rows)| Action::Upsert(b, rows.into_iter().collect())),
        2 => (bucket.clone(), prop::collection::btree_set(0u8..9, 0..4))
            .prop_map(|(b, keys)| Action::Remove(b, keys.into_iter().collect())),
        1 => bucket.prop_map(Action::Drop),
        4 => Just(Action::Tap),
    ];
    prop::collection::vec(action, 1..60)
}

proptest! {
    /// Pieces of any history, sliced for any number of workers, are the state. proves P7 in part:
    /// nothing of a closed bucket comes back, nothing of an open one is missing.
    #[test]
    fn pieces_add_up_to_the_state_for_any_number_of_workers(actions in actions(), workers in 1usize..5) {
        let mut table = table();
        let mut model: BTreeMap<i64, BTreeMap<String, i64>> = BTreeMap::new();
        let mut disk: BTreeMap<Bucket, Vec<RecordBatch>> = BTreeMap::new();
        let mut snapshot = model.clone();
        for (epoch, action) in actions.iter().enumerate() {
            let epoch = Epoch(epoch as u64);
            match action {
                Action::Upsert(bucket, rows) => {
                    let (keys, values) = columns(rows);
                    table.upsert(Bucket(*bucket), epoch, &keys, &values, rows.len()).expect("upserts");
                    let held = model.entry(*bucket).or_default();
                    held.extend(rows.iter().map(|(key, value)| (format!("key{key}"), *value)));
                }
                Action::Remove(bucket, keys) => {
                    let rows: Vec<_> = keys.iter().map(|key| (*key, 0)).collect();
                    table.remove(Bucket(*bucket), epoch, &columns(&rows).0, rows.len()).expect("removes");
                    let held = model.entry(*bucket).or_default();
                    keys.iter().for_each(|key| { held.remove(&format!("key{key}")); });
                }
                Action::Drop(bucket) => {
                    table.retain(|held| held != Bucket(*bucket));
                    model.remove(bucket);
                }
                Action::Tap => {
                    let mut next = BTreeMap::new();
                    for change in table.tap().expect("taps") {
                        let mut pieces = disk.remove(&change.bucket).unwrap_or_default();
                        if change.replaces { pieces.clear(); }
                        for piece in &change.rows {
                            let is_short = batch_bytes(piece) <= 8 * PIECE_BYTES_MAX;
                            prop_assert!(piece.num_rows() == 1 || is_short);
                        }
                        pieces.extend(change.rows);
                        next.insert(change.bucket, pieces);
                    }
                    disk = next;
                    snapshot = model.clone();
                }
            }
        }
        snapshot.retain(|_, held| !held.is_empty());
        let mut restored: BTreeMap<i64, BTreeMap<String, i64>> = BTreeMap::new();
        for worker in 0..workers {
            let mut fresh = self::table();
            for (bucket, pieces) in &disk {
                let held = fresh
                    .seed(*bucket, Epoch(100), pieces, Ownership { worker, workers })
                    .expect("seeds");
                for (key, value) in held.iter().flat_map(read) {
                    let twice = restored.entry(bucket.0).or_default().insert(key, value);
                    prop_assert!(twice.is_none(), "a key belongs to one worker");
                }
            }
        }
        prop_assert_eq!(restored, snapshot);
    }
}

#[test]
fn a_piece_of_another_table_is_refused() {
    let keys = Schema::new(vec![Field::new("k", DataType::Int64, true)]);
    let mut other =
        StateTable::new(0, &keys, &Schema::empty(), Placement::ByKey).expect("columns are keys");
    let mut table = table();
    let (keys, values) = columns(&[(1, 1)]);
    table
        .upsert(Bucket(0), Epoch(0), &keys, &values, 1)
        .expect("upserts");
    let piece = table.tap().expect("taps").remove(0).rows.remove(0);
    let ownership = Ownership {
        worker: 0,
        workers: 1,
    };
    let error = other
        .seed(Bucket(0), Epoch(0), &[piece], ownership)
        .expect_err("refuses");
    assert_eq!(millstream_types::Coded::code(&error).0, "EXE-003");
}

#[test]
fn a_hot_key_does_not_grow_its_snapshot_for_ever() {
    let mut table = table();
    let mut written = 0;
    let mut replaced = 0;
    for epoch in 0..100 {
        let (keys, values) = columns(&[(1, epoch)]);
        let at = Epoch(epoch.unsigned_abs());
        table
            .upsert(Bucket(0), at, &keys, &values, 1)
            .expect("upserts");
        let change = table.tap().expect("taps").remove(0);
        replaced += usize::from(change.replaces);
        written = change.rows.iter().map(RecordBatch::num_rows).sum::<usize>()
            + if change.replaces { 0 } else { written };
    }
    assert!(
        replaced >= 7 && written <= 2 * PIECES_MAX,
        "replaced={replaced} written={written}"
    );
}
