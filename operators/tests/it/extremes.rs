//! Times and marks at the ends of 64 bits: every kind of window answers or refuses, and comes to an end.

use millstream_operators::{
    aggregate::{TimeKey, WindowSpec},
    board::EpochKind,
    driver::{Emitter, EpochContext, EpochOperator},
    late::LateRows,
};
use millstream_types::{Coded, Epoch, Marks, OutputMode, Watermark};
use proptest::prelude::*;

use crate::harness::{Call, Flow, Row, Shape, deltas};

const SECOND: i64 = 1_000_000;

/// Times at both ends, around zero, and anywhere.
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => (0..30 * SECOND).prop_map(|by| i64::MIN + by),
        4 => (0..30 * SECOND).prop_map(|by| i64::MAX - by),
        2 => -30 * SECOND..30 * SECOND,
        2 => any::<i64>(),
        1 => Just(i64::MIN),
        1 => Just(i64::MAX),
    ]
}

fn kind() -> impl Strategy<Value = TimeKey> {
    let window = |size: i64, slide: i64, start: i64| TimeKey::Window {
        column: 0,
        spec: WindowSpec { size, slide, start },
    };
    prop_oneof![
        (1..20 * SECOND).prop_map(move |size| window(size, size, 0)),
        (1..20 * SECOND, 1..9i64, -9..9i64).prop_map(move |(size, parts, start)| {
            let slide = (size / parts).max(1);
            window(size, slide, start % slide)
        }),
        (1..20i64).prop_map(move |size| window(size * SECOND, SECOND, -1)),
        Just(window(i64::MAX, i64::MAX / 3, 1)),
        Just(TimeKey::Instant { column: 0 }),
        Just(TimeKey::Session { column: 0, gap: 4 }),
        Just(TimeKey::Counted { rows: 2 }),
        Just(TimeKey::None),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((time(), 0..3i64, any::<i64>()), 1..6)
}

/// Whether the rows that an aggregation refuses are those that the sink of late rows refuses.
fn late_rows_are_refused(time: TimeKey, rows: &[Row], gap: i64) -> bool {
    let context = EpochContext {
        epoch: Epoch::FIRST,
        marks: Marks {
            evict: Watermark::START,
            late: Watermark::from_ms(i64::MAX / 1000),
            clock_ms: 0,
        },
        kind: EpochKind::Data,
    };
    let mut keeper = LateRows::new(time);
    let mut out = Emitter::default();
    deltas(false, rows, gap)
        .into_iter()
        .any(|delta| keeper.on_delta(&context, 0, delta, &mut out).is_err())
}

proptest! {
    #[test]
    fn windows_answer_or_refuse_at_the_ends_of_time(
        time in kind(),
        mode in prop_oneof![Just(OutputMode::Append), Just(OutputMode::Changes), Just(OutputMode::Complete)],
        epochs in prop::collection::vec((rows(), any::<i64>()), 1..4),
        gap in prop_oneof![1..20 * SECOND, Just(i64::MAX)],
    ) {
        let _not_alone = crate::QUIET.read().expect("no test that counts bytes failed");
        let shape = Shape { time, calls: vec![Call::Count], text_keys: false, mode };
        let mut flow = Flow::new(&shape, gap);
        let mut mark_ms = 0i64;
        for (rows, mark) in epochs {
            mark_ms = mark_ms.max(mark);
            let is_refused = late_rows_are_refused(time, &rows, gap);
            match flow.try_epoch(&rows, mark_ms, |_| {}) {
                Ok(done) => {
                    prop_assert!(!is_refused);
                    prop_assert!(done.rows < 10_000, "rows={}", done.rows);
                }
                Err(error) => {
                    prop_assert!(is_refused);
                    prop_assert_eq!(error.code().0, "EXE-001");
                    prop_assert!(error.to_string().contains("ARITHMETIC_OVERFLOW"));
                    return Ok(());
                }
            }
        }
        flow.tap();
    }
}
