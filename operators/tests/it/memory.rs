//! What operators say they hold against what the allocator counts.

use std::fmt::Write;

use millstream_operators::aggregate::{TimeKey, WindowSpec};
use millstream_types::OutputMode;

use crate::{
    ALLOCATOR, QUIET,
    harness::{Call, Flow, Row, Shape},
};

const SECOND: i64 = 1_000_000;
/// Where event time begins: later than any window is long.
const BEGIN: i64 = 1_000_000_000 * SECOND;

/// Of the allocator's bytes a report may miss one in five, and what an empty operator has.
const SLACK_BYTES: u64 = 48 * 1024;

struct Case {
    name: &'static str,
    shape: Shape,
    /// Rows of an epoch.
    rows: fn(i64) -> Vec<Row>,
    epochs: i64,
    /// How far the mark stays behind the epoch, in seconds.
    delay: i64,
}

fn window(size: i64, slide: i64) -> TimeKey {
    TimeKey::Window {
        column: 0,
        spec: WindowSpec {
            size: size * SECOND,
            slide: slide * SECOND,
            start: 0,
        },
    }
}

fn shape(time: TimeKey, calls: &[Call], text_keys: bool, mode: OutputMode) -> Shape {
    Shape {
        time,
        calls: calls.to_vec(),
        text_keys,
        mode,
    }
}

/// Rows of an epoch of ten seconds.
fn rows(epoch: i64, count: i64, keys: i64) -> Vec<Row> {
    let begin = BEGIN + epoch * 10 * SECOND;
    (0..count)
        .map(|row| {
            let number = epoch * count + row;
            (
                begin + row * 10 * SECOND / count,
                number * 7919 % keys,
                number,
            )
        })
        .collect()
}

fn cases() -> Vec<Case> {
    let (append, update) = (OutputMode::Append, OutputMode::Update);
    let sessions = TimeKey::Session { column: 0, gap: 4 };
    let plain = [Call::Count, Call::Sum];
    let case = |name, shape, rows, epochs, delay| Case {
        name,
        shape,
        rows,
        epochs,
        delay,
    };
    let few: fn(i64) -> Vec<Row> = |epoch| rows(epoch, 2000, 10);
    let some: fn(i64) -> Vec<Row> = |epoch| rows(epoch, 8000, 1000);
    let many: fn(i64) -> Vec<Row> = |epoch| rows(epoch, 20_000, 50_000);
    let one_each: fn(i64) -> Vec<Row> = |epoch| rows(epoch, 20_000, 20_000);
    let spread: fn(i64) -> Vec<Row> = |epoch| {
        (0..10_000)
            .map(|row| (BEGIN + (epoch * 10_000 + row) * SECOND, 1, row))
            .collect()
    };
    vec![
        case(
            "few keys",
            shape(TimeKey::None, &plain, false, update),
            few,
            4,
            0,
        ),
        case(
            "many keys",
            shape(TimeKey::None, &plain, false, update),
            many,
            4,
            0,
        ),
        case(
            "short lists",
            shape(TimeKey::None, &[Call::List], false, update),
            one_each,
            4,
            0,
        ),
        case(
            "many text keys",
            shape(TimeKey::None, &plain, true, update),
            many,
            4,
            0,
        ),
        case(
            "greatest texts",
            shape(TimeKey::None, &[Call::MaxText], true, update),
            many,
            4,
            0,
        ),
        case(
            "distinct values",
            shape(TimeKey::None, &[Call::CountDistinct], false, update),
            some,
            4,
            0,
        ),
        case(
            "lists",
            shape(TimeKey::None, &[Call::List], false, update),
            some,
            4,
            0,
        ),
        case(
            "windows that close",
            shape(window(10, 10), &plain, true, append),
            many,
            6,
            20,
        ),
        case(
            "many open windows",
            shape(window(1, 1), &plain, false, append),
            spread,
            2,
            1 << 40,
        ),
        case(
            "few panes",
            shape(window(10, 2), &plain, true, append),
            some,
            6,
            20,
        ),
        case(
            "many panes",
            shape(window(600, 1), &plain, false, append),
            some,
            12,
            60,
        ),
        case(
            "many panes, one key",
            shape(window(3600, 1), &plain, false, append),
            spread,
            1,
            8000,
        ),
        case(
            "panes in mode changes",
            shape(window(60, 5), &plain, true, OutputMode::Changes),
            some,
            8,
            30,
        ),
        case(
            "sessions",
            shape(sessions, &plain, true, append),
            many,
            5,
            25,
        ),
        case(
            "windows by count",
            shape(
                TimeKey::Counted { rows: 100 },
                &[Call::MaxText],
                true,
                append,
            ),
            many,
            4,
            0,
        ),
    ]
}

/// Runs a case; a line for each time at which a report misses too much.
fn misses(case: &Case) -> String {
    let before = ALLOCATOR.allocated();
    let mut flow = Flow::new(&case.shape, 10 * SECOND);
    let mut lines = String::new();
    let mut check = |flow: &mut Flow, when: &str| {
        let reported = flow.report().bytes;
        let held = (ALLOCATOR.allocated() - before) as u64;
        let off = reported.abs_diff(held);
        if off > held / 5 + SLACK_BYTES {
            let percent = reported * 100 / held.max(1);
            writeln!(
                lines,
                "{} {when}: reported {reported} of {held} bytes, {percent} %",
                case.name
            )
            .expect("text has room");
        }
    };
    for epoch in 0..case.epochs {
        let mark = BEGIN + (epoch * 10 - case.delay.min(BEGIN / SECOND)) * SECOND;
        flow.epoch(&(case.rows)(epoch), mark / 1000, |_| {});
        check(&mut flow, "after an epoch");
        if epoch % 2 == 1 {
            flow.tap();
            check(&mut flow, "after a snapshot");
        }
    }
    lines
}

#[test]
fn reports_are_within_a_fifth_of_the_allocator() {
    let _alone = QUIET.write().expect("no test of another thread failed");
    let lines: String = cases().iter().map(misses).collect();
    assert!(lines.is_empty(), "{lines}");
}
