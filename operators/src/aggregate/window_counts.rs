//! How many groups each open window has, without a set of keys for any of them.
//!
//! A key that has rows in a pane is in all windows over that pane, which are neighbours. So what a key
//! adds is a run of windows, and a run is two steps, one up and one down, however long it is. A set of
//! keys for each window would hold a key as often as windows overlap.

use std::collections::BTreeMap;

use super::WindowSpec;

/// Numbers of groups of windows, by the ends of the windows.
#[derive(Debug)]
pub(super) struct WindowCounts {
    slide: i64,
    /// Windows that end at or before this are gone.
    closed: Option<i64>,
    /// Groups of each window from `front_end` on, up to the first step.
    front: i64,
    front_end: i64,
    /// How the number changes from one window to the next.
    steps: BTreeMap<i64, i64>,
    total: i64,
}

impl WindowCounts {
    pub(super) fn new(window: WindowSpec) -> WindowCounts {
        WindowCounts {
            slide: window.slide,
            closed: None,
            front: 0,
            front_end: 0,
            steps: BTreeMap::new(),
            total: 0,
        }
    }

    /// Adds a group to the windows from one end to another, both included, or takes it away again;
    /// those that are gone do not count.
    pub(super) fn add(&mut self, mut from: i64, to: i64, sign: i64) {
        if let Some(closed) = self.closed.filter(|closed| *closed >= from) {
            if closed >= to {
                return;
            }
            from += ((closed - from) / self.slide + 1) * self.slide;
        }
        if from > to {
            return;
        }
        self.total += sign * ((to - from) / self.slide + 1);
        self.step(from, sign);
        if let Some(after) = to.checked_add(self.slide) {
            self.step(after, -sign);
        }
    }

    fn step(&mut self, end: i64, by: i64) {
        let step = self.steps.entry(end).or_insert(0);
        *step += by;
        if *step == 0 {
            self.steps.remove(&end);
        }
    }

    /// Forgets the windows that end at or before a mark and says how many groups they had.
    pub(super) fn close(&mut self, mark: i64) -> u64 {
        if self.closed.is_some_and(|closed| closed >= mark) {
            return 0;
        }
        let mut gone = 0;
        while let Some(step) = self.steps.first_entry() {
            let end = *step.key();
            if end > mark {
                break;
            }
            if self.front != 0 {
                gone += self.front * ((end - self.front_end) / self.slide);
            }
            self.front += step.remove();
            self.front_end = end;
        }
        if self.front != 0 && self.front_end <= mark {
            let windows = (mark - self.front_end) / self.slide + 1;
            gone += self.front * windows;
            self.front_end = self
                .front_end
                .saturating_add(windows.saturating_mul(self.slide));
        }
        self.closed = Some(mark);
        self.total -= gone;
        gone.unsigned_abs()
    }

    /// Groups of all windows that are open.
    pub(super) fn total(&self) -> u64 {
        self.total.unsigned_abs()
    }

    /// End of the first window that has a group.
    pub(super) fn oldest(&self) -> Option<i64> {
        let first_step = self.steps.first_key_value().map(|(end, _)| *end);
        if self.front != 0 && first_step.is_none_or(|end| end > self.front_end) {
            return Some(self.front_end);
        }
        let mut groups = self.front;
        let mut steps = self.steps.iter();
        let found = steps.find(|(_, by)| {
            groups += **by;
            groups > 0
        });
        found.map(|(end, _)| *end)
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> usize {
        self.steps.len() * STEP_BYTES
    }
}

/// A step in its tree, with the tree's own.
const STEP_BYTES: usize = 28;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Action {
        Add(i64, i64),
        /// Takes one of the runs away again.
        Take(usize),
        Close(i64),
    }

    fn actions() -> impl Strategy<Value = Vec<Action>> {
        let action = prop_oneof![
            5 => (-20..60i64, 0..9i64).prop_map(|(from, len)| Action::Add(from, from + len)),
            2 => any::<usize>().prop_map(Action::Take),
            2 => (-200..600i64).prop_map(Action::Close),
        ];
        prop::collection::vec(action, 1..60)
    }

    proptest! {
        /// Against a number for each window.
        #[test]
        fn steps_are_the_numbers_of_each_window(actions in actions()) {
            let slide = 7;
            let window = WindowSpec { size: 21, slide, start: 3 };
            let mut counts = WindowCounts::new(window);
            let mut model: BTreeMap<i64, i64> = BTreeMap::new();
            let mut runs: Vec<(i64, i64)> = Vec::new();
            let mut closed = i64::MIN;
            let end_of = |index: i64| 3 + index * slide;
            for action in actions {
                let (run, sign) = match action {
                    Action::Add(from, to) => {
                        runs.push((from, to));
                        ((from, to), 1)
                    }
                    Action::Take(_) if runs.is_empty() => continue,
                    Action::Take(which) => (runs.swap_remove(which % runs.len()), -1),
                    Action::Close(mark) => {
                        let gone: i64 = model.range(..=mark).map(|(_, groups)| groups).sum();
                        let gone = if mark > closed { gone } else { 0 };
                        prop_assert_eq!(counts.close(mark), gone.unsigned_abs());
                        closed = closed.max(mark);
                        model.retain(|end, _| *end > closed);
                        continue;
                    }
                };
                counts.add(end_of(run.0), end_of(run.1), sign);
                for index in run.0..=run.1 {
                    if end_of(index) > closed {
                        *model.entry(end_of(index)).or_insert(0) += sign;
                    }
                }
                model.retain(|_, groups| *groups != 0);
                prop_assert_eq!(counts.total(), model.values().sum::<i64>().unsigned_abs());
                prop_assert_eq!(counts.oldest(), model.keys().next().copied());
            }
        }
    }
}
