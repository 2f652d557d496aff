//! Operators alone: million rows a second of CPU of the thread that works.
//!
//! Beside each figure stands what was measured before this engine existed, on another machine, with
//! rows of the same shape: what the design was chosen by. Compare the columns of one run with each
//! other; compare with the old figures only in proportion.

mod aggregate;
mod arrange;
mod exchange;
mod keys;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};

use crate::{
    error::{BenchError, Result},
    measure::{float, thread_cpu_s},
};

/// What each benchmark is called.
const ALL: [(&str, Benchmark); 5] = [
    ("arrange", arrange::run),
    ("aggregate", aggregate::run),
    ("keys", keys::tables),
    ("hash", keys::hashes),
    ("exchange", exchange::run),
];

type Benchmark = fn(&mut dyn FnMut(String)) -> Result<()>;

/// The command `micro`.
pub(crate) fn run(names: &[String], print: &mut dyn FnMut(String)) -> Result<()> {
    for name in names {
        if !ALL.iter().any(|(known, _)| known == name) {
            return Err(BenchError::Usage(format!("no benchmark is called {name}")));
        }
    }
    for (name, benchmark) in ALL {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            print(format!("{name}: M rows/s of thread CPU"));
            benchmark(print)?;
        }
    }
    Ok(())
}

/// Million rows a CPU second of this thread.
fn rate<T>(rows: u64, work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let before = thread_cpu_s();
    let result = work()?;
    Ok((million_per_s(rows, thread_cpu_s() - before), result))
}

fn million_per_s(rows: u64, cpu_s: f64) -> f64 {
    float(rows) / cpu_s.max(1e-9) / 1e6
}

/// One line of a table: what, its rate, and the rate known from before.
fn line(what: &str, rate: f64, before: &str) -> String {
    format!("  {what:<58} {rate:>8.2}   (before: {before})")
}

/// A key of 24 bytes.
fn key(number: u64) -> String {
    // The number is spread, so that keys do not sort in the order in which they come.
    format!("{:024x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// A value of 32 bytes.
fn value(number: u64) -> String {
    format!("{number:032x}")
}

fn strings(texts: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

/// Rows of a text key and a number.
fn keyed_batch(rows: &[(u64, i64)]) -> Result<RecordBatch> {
    let numbers = Int64Array::from_iter_values(rows.iter().map(|(_, number)| *number));
    let schema = Schema::new(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("number", DataType::Int64, true),
    ]);
    let columns = vec![
        strings(rows.iter().map(|(number, _)| key(*number))),
        Arc::new(numbers) as ArrayRef,
    ];
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

/// CPU seconds of this thread in one call.
fn seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = thread_cpu_s();
    let result = work();
    (thread_cpu_s() - before, result)
}
