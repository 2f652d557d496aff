//! Windows against their definition: every mode, few and many panes, marks that jump, late rows.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{AsArray, StructArray},
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use millstream_operators::{
    aggregate::{TimeKey, WindowSpec},
    delta::Delta,
};
use millstream_types::OutputMode;
use proptest::prelude::*;

use crate::harness::{Call, Flow, ROWS_A_TURN_MAX, Row, Shape};

/// Milliseconds, the unit of marks.
const MS: i64 = 1000;

/// A group of a window: end, key, rows, sum.
type Group = (i64, i64, i64, i64);

/// Rows of an epoch and the mark at which it closes.
#[derive(Clone, Debug)]
struct Epoch {
    rows: Vec<Row>,
    mark_ms: i64,
}

fn epochs(span: i64, jump: i64) -> impl Strategy<Value = Vec<Epoch>> {
    let row = (0..span, 0..4i64, -9..9i64);
    let epoch = (prop::collection::vec(row, 0..25), 0..jump);
    prop::collection::vec(epoch, 1..8).prop_map(|epochs| {
        let mut mark_ms = 0;
        let epochs = epochs.into_iter().map(|(rows, by)| {
            mark_ms += by;
            let rows = rows.into_iter();
            let rows = rows.map(|(at, key, value)| (at * MS, key, value));
            Epoch {
                rows: rows.collect(),
                mark_ms,
            }
        });
        epochs.collect()
    })
}

/// What of a result is compared, with its sign.
fn read(delta: &Delta) -> Vec<(i64, Group)> {
    let batch = delta.batch();
    let window: &StructArray = batch.column(0).as_struct();
    let ends = window.column(1).as_primitive::<TimestampMicrosecondType>();
    let number = |column: usize| batch.column(column).as_primitive::<Int64Type>();
    let (keys, counts, sums) = (number(1), number(2), number(3));
    (0..batch.num_rows())
        .map(|row| {
            let sign = delta.diff().map_or(1, |diff| diff.value(row));
            let group = (
                ends.value(row),
                keys.value(row),
                counts.value(row),
                sums.value(row),
            );
            (sign, group)
        })
        .collect()
}

/// Windows as they are defined: a set of rows each.
#[derive(Default)]
struct Model {
    windows: BTreeMap<(i64, i64), (i64, i64)>,
    late_ms: i64,
}

/// What an epoch must do.
struct Expected {
    out: Vec<(i64, Group)>,
    late: u64,
    groups: u64,
    removed: u64,
    oldest: Option<i64>,
}

impl Model {
    fn epoch(&mut self, spec: WindowSpec, mode: OutputMode, epoch: &Epoch) -> Expected {
        let closes = mode != OutputMode::Complete;
        let mut late = 0;
        let before = self.windows.clone();
        let mut touched = BTreeSet::new();
        for (at, key, value) in &epoch.rows {
            let first = (at - spec.start).div_euclid(spec.slide) * spec.slide + spec.start;
            let starts = (0..).map(|older| first - older * spec.slide);
            for start in starts.take_while(|start| *at < start + spec.size) {
                let end = start + spec.size;
                if closes && end <= self.late_ms * MS {
                    late += 1;
                    continue;
                }
                touched.insert((end, *key));
                let group = self.windows.entry((end, *key)).or_default();
                group.0 += 1;
                group.1 += value;
            }
        }
        let group = |(end, key): &(i64, i64), (rows, sum): &(i64, i64)| (*end, *key, *rows, *sum);
        let mut out = Vec::new();
        if mode == OutputMode::Update {
            out.extend(touched.iter().map(|of| (1, group(of, &self.windows[of]))));
        }
        if mode == OutputMode::Changes {
            for of in &touched {
                let (was, is) = (before.get(of), &self.windows[of]);
                if was != Some(is) {
                    out.extend(was.map(|was| (-1, group(of, was))));
                    out.push((1, group(of, is)));
                }
            }
        }
        if mode == OutputMode::Complete && !epoch.rows.is_empty() {
            out.extend(self.windows.iter().map(|(of, is)| (1, group(of, is))));
        }
        let mut removed = 0;
        if closes {
            let mark = epoch.mark_ms * MS;
            let closing: Vec<_> = self
                .windows
                .keys()
                .filter(|(end, _)| *end <= mark)
                .copied()
                .collect();
            removed = closing.len() as u64;
            for of in closing {
                let is = self.windows.remove(&of).expect("is there");
                if mode == OutputMode::Append {
                    out.push((1, group(&of, &is)));
                }
            }
        }
        self.late_ms = epoch.mark_ms;
        out.sort_unstable();
        let oldest = self.windows.keys().next().filter(|_| closes);
        Expected {
            out,
            late,
            groups: self.windows.len() as u64,
            removed,
            oldest: oldest.map(|(end, _)| *end),
        }
    }
}

fn check(spec: WindowSpec, mode: OutputMode, epochs: &[Epoch]) -> Result<(), TestCaseError> {
    let shape = Shape {
        time: TimeKey::Window { column: 0, spec },
        calls: vec![Call::Count, Call::Sum],
        text_keys: false,
        mode,
    };
    let mut flow = Flow::new(&shape, 0);
    let mut model = Model::default();
    for (at, epoch) in epochs.iter().enumerate() {
        let expected = model.epoch(spec, mode, epoch);
        let mut out = Vec::new();
        let done = flow.epoch(&epoch.rows, epoch.mark_ms, |delta| out.extend(read(delta)));
        out.sort_unstable();
        prop_assert_eq!(out, expected.out, "epoch {}", at);
        prop_assert_eq!(
            done.report.rows_late,
            expected.late,
            "late rows of epoch {}",
            at
        );
        prop_assert_eq!(
            done.report.rows_total,
            expected.groups,
            "groups after epoch {}",
            at
        );
        prop_assert_eq!(
            done.report.rows_removed,
            expected.removed,
            "removed in epoch {}",
            at
        );
        if !matches!(mode, OutputMode::Complete) {
            prop_assert_eq!(
                done.report.oldest_end,
                expected.oldest,
                "oldest after epoch {}",
                at
            );
        }
        prop_assert!(done.rows_a_turn <= ROWS_A_TURN_MAX);
        if at % 3 == 1 {
            flow.restart(&shape);
        }
    }
    Ok(())
}

fn mode() -> impl Strategy<Value = OutputMode> {
    prop_oneof![
        Just(OutputMode::Append),
        Just(OutputMode::Update),
        Just(OutputMode::Changes),
        Just(OutputMode::Complete),
    ]
}

/// Few panes a window, many, and very many; slides that divide the length and slides that do not.
fn spec() -> impl Strategy<Value = WindowSpec> {
    let (few, many) = (1..12i64, 1..5i64);
    prop_oneof![
        few.prop_map(|slide| (12, slide)),
        many.prop_map(|slide| (60, slide)),
        Just((64, 3)),
        Just((100, 1)),
    ]
    .prop_flat_map(|(size, slide)| {
        (1 - slide..slide).prop_map(move |start| WindowSpec {
            size: size * MS,
            slide: slide * MS,
            start: start * MS,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn windows_hold_the_rows_of_their_definition(
        spec in spec(),
        mode in mode(),
        epochs in epochs(400, 120),
    ) {
        let _not_alone = crate::QUIET.read().expect("no test that counts bytes failed");
        check(spec, mode, &epochs)?;
    }
}
