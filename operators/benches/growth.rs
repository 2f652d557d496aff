//! What windows and sessions cost: time an epoch, bytes that the allocator counts, bytes that the operator reports.
//!
//! `cargo bench -p millstream-operators --bench growth -- NAME`; without a name it lists them. One measure
//! a process, because the greatest number of bytes never falls.

use std::{
    alloc::System,
    io::{self, Write},
    time::Instant,
};

use cap::Cap;
use millstream_operators::aggregate::{TimeKey, WindowSpec};
use millstream_types::OutputMode;

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/harness.rs"]
mod harness;

use harness::{Call, Flow, Row, Shape};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// Where event time begins: later than any window is long.
const BEGIN: i64 = 1_704_067_200 * SECOND;

/// Epochs with the marks at which they close, in milliseconds.
type Epochs = Vec<(Vec<Row>, i64)>;

struct Measure {
    name: &'static str,
    shape: Shape,
    gap: i64,
    epochs: fn() -> Epochs,
}

fn window(size: i64, slide: i64) -> TimeKey {
    TimeKey::Window {
        column: 0,
        spec: WindowSpec {
            size,
            slide,
            start: 0,
        },
    }
}

fn counting(time: TimeKey) -> Shape {
    Shape {
        time,
        calls: vec![Call::Count],
        text_keys: false,
        mode: OutputMode::Append,
    }
}

/// A large epoch over a span of seconds, then eight of one row a second later each.
fn large_then_small(rows: i64, keys: i64, span: i64, delay: i64) -> Epochs {
    let first = (0..rows).map(|row| (BEGIN + row % span * SECOND, row % keys, row));
    let mark = |newest: i64| (BEGIN + newest - delay) / 1000;
    let mut epochs = vec![(first.collect(), 0)];
    for after in 0..8 {
        let newest = (span + after) * SECOND;
        epochs.push((vec![(BEGIN + newest, 1, 1)], mark(newest - SECOND)));
    }
    epochs
}

fn measures() -> Vec<Measure> {
    let sessions = TimeKey::Session { column: 0, gap: 4 };
    let measure = |name, shape: Shape, epochs: fn() -> Epochs| Measure {
        name,
        shape,
        gap: 10 * SECOND,
        epochs,
    };
    vec![
        measure(
            "tumbling-day",
            counting(window(24 * HOUR, 24 * HOUR)),
            || large_then_small(100_000, 100_000, 600, 10 * SECOND),
        ),
        measure(
            "sliding-day-minute",
            counting(window(24 * HOUR, MINUTE)),
            || large_then_small(100_000, 100_000, 600, 10 * SECOND),
        ),
        measure(
            "sliding-hour-second",
            counting(window(HOUR, SECOND)),
            || large_then_small(100_000, 1, 7200, HOUR),
        ),
        measure("sliding-jump", counting(window(HOUR, SECOND)), || {
            let mut epochs = large_then_small(100_000, 100, 3600, HOUR);
            epochs.push((vec![(BEGIN + 3 * HOUR, 1, 1)], (BEGIN + HOUR) / 1000));
            epochs
        }),
        measure(
            "sliding-few",
            counting(window(10 * SECOND, 2 * SECOND)),
            || steady(40, 50_000, 1000, 10),
        ),
        measure(
            "tumbling-few",
            counting(window(10 * SECOND, 10 * SECOND)),
            || steady(40, 50_000, 1000, 10),
        ),
        measure(
            "tumbling-many-keys",
            counting(window(10 * SECOND, 10 * SECOND)),
            || steady(20, 50_000, 100_000, 10),
        ),
        measure("open-windows", counting(window(SECOND, SECOND)), || {
            large_then_small(400_000, 1, 400_000, 10 * 24 * HOUR)
        }),
        measure("sessions", counting(sessions), || {
            steady(40, 20_000, 2000, 10)
        }),
        measure(
            "count-window",
            Shape {
                calls: vec![Call::MaxText],
                ..counting(TimeKey::Counted { rows: 100 })
            },
            || {
                vec![(
                    (0..2_000_000).map(|row| (BEGIN, row % 1000, row)).collect(),
                    0,
                )]
            },
        ),
    ]
}

/// Epochs of many rows each, ten seconds long.
fn steady(epochs: i64, rows: i64, keys: i64, seconds: i64) -> Epochs {
    (0..epochs)
        .map(|epoch| {
            let begin = BEGIN + epoch * seconds * SECOND;
            let row = |row: i64| {
                (
                    begin + row * seconds * SECOND / rows,
                    row * 7919 % keys,
                    row,
                )
            };
            let rows = (0..rows).map(row).collect();
            (rows, (begin - 10 * SECOND) / 1000)
        })
        .collect()
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let name = std::env::args().nth(1);
    let measures = measures();
    let Some(measure) = measures
        .into_iter()
        .find(|one| Some(one.name) == name.as_deref())
    else {
        return writeln!(
            out,
            "{}",
            self::measures()
                .iter()
                .map(|one| one.name)
                .collect::<Vec<_>>()
                .join(" ")
        );
    };
    let taps = std::env::args().nth(2).as_deref() == Some("tap");
    let before = ALLOCATOR.allocated();
    let epochs = (measure.epochs)();
    let mut flow = Flow::new(&measure.shape, measure.gap);
    let (mut times, mut rows, mut held) = (Vec::new(), 0, 0);
    for (input, mark_ms) in epochs {
        #[expect(
            clippy::disallowed_methods,
            reason = "what an epoch costs is asked here"
        )]
        let start = Instant::now();
        let done = flow.epoch(&input, mark_ms, |_| {});
        if taps {
            flow.tap();
        }
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        rows += done.rows;
        drop(input);
        held = held.max(flow.report().bytes);
    }
    let mebi = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let count = times.len() as f64;
    let total: f64 = times.iter().sum();
    let greatest = times.iter().copied().fold(0.0, f64::max);
    let last = times.last().copied().unwrap_or_default();
    writeln!(
        out,
        "{:<20} rows out {rows:>8}  ms: total {total:>8.1} mean {:>7.2} greatest {greatest:>8.1} last {last:>7.2}  MiB: peak {:>7.1} reported at most {:>7.1} at the end {:>7.1} reported {:>7.1}",
        measure.name,
        total / count,
        mebi(ALLOCATOR.max_allocated().saturating_sub(before) as u64),
        mebi(held),
        mebi(ALLOCATOR.allocated().saturating_sub(before) as u64),
        mebi(flow.report().bytes),
    )
}
