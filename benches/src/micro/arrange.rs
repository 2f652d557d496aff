//! Durable state: 24-byte keys, 32-byte values, a million uniform keys, into an arrangement and on the way to a
//! snapshot.

use arrow::{
    array::Array,
    datatypes::{DataType, Field, Schema},
};
use differential_dataflow::{input::Input, trace::TraceReader};
use millstream_operators::{
    delta::BATCH_ROWS_MAX,
    keys::KeyTable,
    state::{Bucket, Placement, StateTable},
};
use timely::{
    dataflow::operators::probe::{Handle, Probe},
    progress::frontier::AntichainRef,
};

use super::{key, line, strings, value};
use crate::{error::Result, measure::memory_mb};

const KEYS: u64 = 1_000_000;
/// Prime to the number of keys: every key comes once before one comes again.
const STRIDE: u64 = 618_033;

/// Rows an epoch, rows in all, and what was measured before: the stock spine over vectors, the byte
/// layout in the stock spine.
const CASES: [(u64, u64, &str, &str); 3] = [
    (1_000, 1_000_000, "0.85", "2.5-2.8"),
    (10_000, 3_000_000, "0.71-0.87", "1.5-2.3"),
    (100_000, 5_000_000, "0.73", "2.1-2.2"),
];

pub(super) fn run(print: &mut dyn FnMut(String)) -> Result<()> {
    for (epoch_rows, rows, stock_before, ours_before) in CASES {
        let what = format!("OrdValSpine<Vec<u8>, Vec<u8>>, epochs of {epoch_rows}");
        print(line(&what, stock(epoch_rows, rows)?, stock_before));
        let held_mb = memory_mb("VmRSS");
        let upserts = ours(epoch_rows, rows)?;
        let what = format!("KeyTable, StateTable, a tap an epoch of {epoch_rows}");
        print(line(&what, upserts, ours_before));
        let held = memory_mb("VmRSS") - held_mb;
        print(format!("  {:<58} {held:>8.0} MB", "  memory held"));
    }
    Ok(())
}

/// Keys of one epoch, all different.
fn epoch_keys(epoch: u64, epoch_rows: u64) -> impl Iterator<Item = u64> {
    (epoch * epoch_rows..(epoch + 1) * epoch_rows).map(|row| row * STRIDE % KEYS)
}

/// Differential's own arrangement, fed with vectors.
fn stock(epoch_rows: u64, rows: u64) -> Result<f64> {
    timely::execute_directly(move |worker| {
        let probe = Handle::new();
        let (mut input, mut trace) = worker.dataflow::<u64, _, _>(|scope| {
            let (input, rows) = scope.new_collection::<(Vec<u8>, Vec<u8>), isize>();
            let arranged = rows.arrange_by_key();
            arranged.stream.probe_with(&probe);
            // Without a reader differential keeps nothing, and there would be nothing to measure.
            (input, arranged.trace)
        });
        let mut cpu = 0.0;
        for epoch in 0..rows / epoch_rows {
            let updates: Vec<_> = epoch_keys(epoch, epoch_rows)
                .map(|number| (key(number).into_bytes(), value(epoch ^ number).into_bytes()))
                .collect();
            let (seconds, ()) = super::seconds(|| {
                for update in updates {
                    input.insert(update);
                }
                input.advance_to(epoch + 1);
                input.flush();
                worker.step_while(|| probe.less_than(input.time()));
                let passed = [epoch + 1];
                trace.set_logical_compaction(AntichainRef::new(&passed));
                trace.set_physical_compaction(AntichainRef::new(&passed));
            });
            cpu += seconds;
        }
        Ok(super::million_per_s(rows, cpu))
    })
}

/// The engine's way: keys in a table, and what changed in an epoch through the state table to a snapshot.
fn ours(epoch_rows: u64, rows: u64) -> Result<f64> {
    let text = |name: &str| Schema::new(vec![Field::new(name, DataType::Utf8, true)]);
    let mut held = KeyTable::new(&[DataType::Utf8])?;
    let mut table = StateTable::new(0, &text("key"), &text("value"), Placement::ByKey)?;
    let mut cpu = 0.0;
    for epoch in 0..rows / epoch_rows {
        let keys = [strings(epoch_keys(epoch, epoch_rows).map(key))];
        let values = [strings(
            epoch_keys(epoch, epoch_rows).map(|number| value(epoch ^ number)),
        )];
        let count = keys[0].len();
        let (seconds, result) = super::seconds(|| -> Result<()> {
            let mut groups = Vec::new();
            held.intern(&keys, count, &mut groups)?;
            for at in (0..count).step_by(BATCH_ROWS_MAX) {
                let len = BATCH_ROWS_MAX.min(count - at);
                let keys = held.columns(Some(&groups[at..at + len]))?;
                let values = [values[0].slice(at, len)];
                table.upsert(Bucket(0), &keys, &values, len)?;
            }
            drop(table.tap());
            Ok(())
        });
        result?;
        cpu += seconds;
    }
    Ok(super::million_per_s(rows, cpu))
}
