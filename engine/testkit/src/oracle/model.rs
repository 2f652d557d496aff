//! Who is late, and which groups are closed when: written from the specification alone.
//!
//! It shares no code with the operators, on purpose. Times are microseconds, marks milliseconds.

use std::collections::BTreeMap;

use super::{
    member::{Member, Span},
    sessions::{Interval, Sessions},
};

/// A row on one path from a table to the aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which path.
    pub branch: usize,
    /// Which row of the path's table.
    pub row: i64,
    /// In which step it comes.
    pub step: usize,
    /// Its event time; `None` for null.
    pub time: Option<i64>,
    /// Whether it reaches the watermark: conditions without the event time stand below it.
    pub seen: bool,
    /// Whether it reaches the aggregation.
    pub counted: bool,
    /// A number for its key, where rows are gathered in sessions.
    pub key: i64,
    /// The gap of its session; `None` for null.
    pub gap: Option<i64>,
}

/// How rows become members of groups in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// They do not.
    None,
    /// By the time itself.
    Instant,
    /// By windows: length, slide and start in microseconds.
    Window(i64, i64, i64),
    /// By sessions.
    Session,
}

/// What decides about lateness besides the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// For each path the number of its watermark and its delay in milliseconds, if it has one. Paths
    /// from one table share a watermark.
    pub marks: Vec<Option<(usize, i64)>>,
    /// For each path the time among the keys of the first aggregation on it.
    pub times: Vec<Time>,
    /// Whether late rows are dropped: the time key carries a watermark and the mode is not complete,
    /// or there are sessions.
    pub drops: bool,
    /// Whether closed groups are removed: as above, but never in complete mode.
    pub closes: bool,
    /// Whether the fastest of several watermarks counts, and not the slowest.
    pub fastest: bool,
    /// Whether a moved mark gets an epoch of its own: an aggregation, not in complete mode, not
    /// switched off.
    pub no_data_epochs: bool,
}

/// What the model says about a case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows that change a group.
    pub members: Vec<Member>,
    /// For each step the (row, window) pairs that are late.
    pub late: Vec<u64>,
    /// Rows of which at least one pair is late: the path and the row, with the step.
    pub dropped: Vec<(usize, i64, usize)>,
    /// For each step the mark of its last epoch, in microseconds: groups at or behind it are closed.
    pub closed: Vec<i64>,
}

/// Windows of a time: `start <= time < end`, starts at multiples of `slide` from `start`.
#[must_use]
pub fn windows(time: i64, (length, slide, start): (i64, i64, i64)) -> Vec<Span> {
    let last = time - (time - start).rem_euclid(slide);
    let starts = (0..)
        .map(|idx| last - idx * slide)
        .take_while(|start| time < start + length);
    starts.map(|start| (start, start + length)).collect()
}

/// Plays all steps; `has_data` says which of them have rows at all.
#[must_use]
pub fn play(rules: &Rules, arrivals: &[Arrival], has_data: &[bool]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut marks: BTreeMap<usize, i64> = rules
        .marks
        .iter()
        .flatten()
        .map(|(mark, _)| (*mark, 0))
        .collect();
    let mut sessions = Sessions::default();
    let steps = has_data.len();
    let (mut late_mark, mut evict_mark) = (0, 0); // L(n) and E(n) of the newest epoch.
    for (step, has_data) in has_data.iter().enumerate() {
        let mut late = 0;
        if *has_data {
            let known = of_all(rules, &marks);
            (late_mark, evict_mark) = (evict_mark, evict_mark.max(known));
            for row in arrivals.iter().filter(|row| row.step == step) {
                let mut is_dropped = false;
                for (end, window) in groups_of(row, rules.times[row.branch]) {
                    if rules.drops && end.is_some_and(|end| end <= late_mark * 1000) {
                        late += u64::from(row.counted);
                        is_dropped |= row.counted;
                    } else if row.counted {
                        let member = Member {
                            branch: row.branch,
                            row: row.row,
                            step,
                            window,
                            during: step..steps,
                        };
                        match (rules.times[row.branch], window) {
                            (Time::Session, Some((start, end))) => {
                                let key = row.key;
                                sessions.add(Interval { key, start, end }, member);
                            }
                            _ => outcome.members.push(member),
                        }
                    }
                }
                if is_dropped {
                    outcome.dropped.push((row.branch, row.row, step));
                }
                if let (true, Some(time), Some((mark, delay))) =
                    (row.seen, row.time, rules.marks[row.branch])
                {
                    let reached = time.div_euclid(1000) - delay;
                    marks
                        .entry(mark)
                        .and_modify(|mark| *mark = reached.max(*mark));
                }
            }
            sessions.merge();
            let known = of_all(rules, &marks);
            if rules.no_data_epochs && known > evict_mark {
                (late_mark, evict_mark) = (evict_mark, known);
            }
        }
        sessions.members(step, &mut outcome.members);
        if rules.closes {
            sessions.close(evict_mark * 1000);
        }
        outcome.late.push(late);
        outcome.closed.push(evict_mark * 1000);
    }
    debug_assert!(late_mark <= evict_mark);
    outcome
}

/// The mark of all paths together.
fn of_all(rules: &Rules, marks: &BTreeMap<usize, i64>) -> i64 {
    let known = if rules.fastest {
        marks.values().max()
    } else {
        marks.values().min()
    };
    known.copied().unwrap_or(0)
}

/// The groups in time of a row, each with the instant at which it is closed. A null time is in no
/// window, and as a key of its own it is never closed.
fn groups_of(row: &Arrival, time: Time) -> Vec<(Option<i64>, Option<Span>)> {
    match (time, row.time) {
        (Time::None, _) | (Time::Instant, None) => vec![(None, None)],
        (Time::Instant, Some(time)) => vec![(Some(time), None)],
        (Time::Window(..) | Time::Session, None) => Vec::new(),
        (Time::Session, Some(time)) => {
            let end = row.gap.filter(|gap| *gap > 0).map(|gap| time + gap);
            let session = |end| (Some(end), Some((time, end)));
            end.map(session).into_iter().collect()
        }
        (Time::Window(length, slide, start), Some(time)) => {
            let windows = windows(time, (length, slide, start)).into_iter();
            windows
                .map(|window| (Some(window.1), Some(window)))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds in, one step each; late rows of each step.
    fn late(time: Time, delay: i64, no_data_epochs: bool, steps: &[&[i64]]) -> Vec<u64> {
        let rules = Rules {
            marks: vec![Some((0, delay * 1000))],
            times: vec![time],
            drops: true,
            closes: true,
            fastest: false,
            no_data_epochs,
        };
        let mut arrivals = Vec::new();
        for (step, rows) in steps.iter().enumerate() {
            arrivals.extend(rows.iter().map(|second| Arrival {
                branch: 0,
                row: 0,
                step,
                time: Some(second * 1_000_000),
                seen: true,
                counted: true,
                key: 0,
                gap: None,
            }));
        }
        play(&rules, &arrivals, &vec![true; steps.len()]).late
    }

    const TEN: Time = Time::Window(10_000_000, 10_000_000, 0);

    #[test]
    fn example_a_of_the_specification() {
        let steps: [&[i64]; 8] = [
            &[10, 11, 12, 13, 14, 15],
            &[25],
            &[10],
            &[25],
            &[30],
            &[20],
            &[19],
            &[45],
        ];
        assert_eq!(late(TEN, 10, true, &steps), [0, 0, 0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn example_b_the_late_mark_is_one_epoch_older() {
        let steps: [&[i64]; 6] = [&[10], &[40], &[5, 15], &[6, 16], &[70], &[71]];
        assert_eq!(late(TEN, 10, false, &steps), [0, 0, 0, 2, 0, 0]);
    }

    #[test]
    fn example_c_a_row_is_late_for_one_of_its_windows() {
        let sliding = Time::Window(10_000_000, 5_000_000, 0);
        let steps: [&[i64]; 5] = [&[10], &[20], &[25], &[14], &[30]];
        assert_eq!(late(sliding, 10, true, &steps), [0, 0, 0, 1, 0]);
    }

    #[test]
    fn example_d_the_time_itself_as_the_key() {
        let steps: [&[i64]; 4] = [&[10, 20], &[10, 11], &[21], &[11, 12]];
        assert_eq!(late(Time::Instant, 10, true, &steps), [0, 1, 0, 1]);
        assert_eq!(late(Time::Instant, 0, true, &[&[-5, 0, 1]]), [2]);
    }

    #[test]
    fn windows_of_the_specification() {
        let second = 1_000_000;
        let of = |time: i64, length: i64, slide: i64, start: i64| -> Vec<i64> {
            let spec = (length * second, slide * second, start * second);
            windows(time * second, spec)
                .iter()
                .map(|window| window.0 / second)
                .collect()
        };
        assert_eq!(of(7, 10, 4, 0), [4, 0]);
        assert_eq!(of(10, 10, 5, 0), [10, 5]);
        assert_eq!(of(2, 10, 10, 3), [-7]);
        assert_eq!(of(7, 10, 10, -3), [7]);
        assert_eq!(of(-5, 10, 10, 0), [-10]);
    }
}
