//! Abomonation over the rows of the wire codec comparison; prints lines for the table of `codecs`.
//!
//! Why it is not in the product: reading it is undefined behaviour by its nature, damaged bytes
//! become pointers, and timely itself has left it (`docs/adr/0003-no-abomonation.md`). Here the
//! bytes are its own, written a moment ago by the same process.

use std::{fs, hint::black_box};

use abomonation::Abomonation;

#[path = "../../src/codecs/rows.rs"]
mod rows;

use rows::Plain;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 9;

fn thread_cpu_s() -> f64 {
    // The kernel brings the number up to date when the thread meets the scheduler, so let it.
    std::thread::yield_now();
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos: Option<f64> = stat
        .split_ascii_whitespace()
        .next()
        .and_then(|field| field.parse().ok());
    nanos.unwrap_or(0.0) * 1e-9
}

fn measure<R: Plain + Abomonation>(shape: &str, batches: &[Vec<R>]) {
    let (mut encode_s, mut decode_s) = (f64::INFINITY, f64::INFINITY);
    let mut wires = vec![Vec::new(); batches.len()];
    for _ in 0..ROUNDS {
        let start = thread_cpu_s();
        for (batch, wire) in batches.iter().zip(&mut wires) {
            wire.clear();
            // SAFETY: none in general: padding bytes of the rows are read. See the head of the file.
            let written = unsafe { abomonation::encode(black_box(batch), wire) };
            assert!(written.is_ok(), "a vector takes all bytes");
        }
        let encoded = thread_cpu_s();
        let mut digest = 0u64;
        for wire in &mut wires {
            // SAFETY: the bytes were written above for the same type, in an aligned allocation.
            let decoded = unsafe { abomonation::decode::<Vec<R>>(black_box(wire)) };
            let rows = decoded.map_or(&[][..], |(rows, _)| rows.as_slice());
            digest = rows
                .iter()
                .map(Plain::digest)
                .fold(digest, u64::wrapping_add);
        }
        encode_s = encode_s.min(encoded - start);
        decode_s = decode_s.min(thread_cpu_s() - encoded);
        assert_eq!(digest, rows::digest(batches), "other values were read");
    }
    let count: usize = batches.iter().map(Vec::len).sum();
    let payload: u64 = batches.iter().flatten().map(Plain::bytes).sum();
    let wire: usize = wires.iter().map(Vec::len).sum();
    println!(
        "{shape}\n  {:<22} {:>12.0} {:>12.0} {:>12.1}",
        "abomonation, rows",
        payload as f64 / 1e6 / encode_s,
        payload as f64 / 1e6 / decode_s,
        wire as f64 / count as f64
    );
}

fn main() {
    println!(
        "  {:<22} {:>12} {:>12} {:>12}",
        "format", "encode MB/s", "decode MB/s", "bytes a row"
    );
    measure("bids", &rows::bids());
    measure("groups", &rows::groups());
}
