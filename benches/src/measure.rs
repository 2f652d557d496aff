//! Clocks and memory, read from `/proc`: a benchmark needs no foreign function for them.
//!
//! On a shared machine wall time says little, so every figure comes with CPU time. Process CPU has
//! the resolution of the kernel's tick (10 ms), thread CPU that of the scheduler (nanoseconds).

use std::{
    fs,
    time::{Duration, Instant},
};

/// Ticks a second of `/proc/self/stat`; fixed by the kernel's interface on all machines we know.
const TICKS_PER_S: f64 = 100.0;

/// The one place where benchmarks look at the clock.
#[expect(clippy::disallowed_methods, reason = "benchmarks measure time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// CPU seconds of this process with all threads that ever ran, user and system.
pub(crate) fn process_cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program may hold anything, so fields count from its closing parenthesis.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / TICKS_PER_S
}

/// CPU seconds of the calling thread.
pub(crate) fn thread_cpu_s() -> f64 {
    // The kernel brings the number up to date when the thread meets the scheduler, so let it.
    std::thread::yield_now();
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos: f64 = stat
        .split_ascii_whitespace()
        .next()
        .and_then(|field| field.parse().ok())
        .unwrap_or(0.0);
    nanos * 1e-9
}

/// A line of `/proc/self/status` in MB: `VmHWM` is the peak, `VmRSS` what is held now.
pub(crate) fn memory_mb(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
        .and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1024.0
}

/// Wall and process CPU time of one call.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration, f64) {
    let (cpu, wall) = (process_cpu_s(), now());
    let result = work();
    (result, wall.elapsed(), process_cpu_s() - cpu)
}

/// Counts as a number for rates and averages.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
