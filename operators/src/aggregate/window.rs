//! Which windows contain an instant.

use std::ops::RangeInclusive;

use millstream_types::EventTime;

/// Windows of one length that begin at regular times; all values in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// Length of a window, more than 0.
    pub size: i64,
    /// Distance between the starts of two windows: more than 0, at most `size`.
    pub slide: i64,
    /// Shift of all starts against 1970-01-01 00:00 UTC; less than `slide` on either side.
    pub start: i64,
}

impl WindowSpec {
    /// Whether every instant lies in exactly one window.
    #[must_use]
    pub fn is_tumbling(&self) -> bool {
        self.size == self.slide
    }

    /// The panes of sliding windows: the widest tumbling windows of which every window is made.
    #[must_use]
    pub fn panes(&self) -> WindowSpec {
        let (mut width, mut rest) = (self.size, self.slide);
        while rest != 0 {
            (width, rest) = (rest, width % rest);
        }
        WindowSpec {
            size: width,
            slide: width,
            start: self.start.rem_euclid(width),
        }
    }

    /// Ends of the windows that cover the pane with this end, latest first.
    ///
    /// A pane that no row can be in has no windows here rather than some that wrap around.
    pub fn ends_covering(&self, pane_end: i64) -> impl Iterator<Item = i64> + use<> {
        let slide = self.slide;
        let pane_start = pane_end.checked_sub(self.panes().size);
        let last = pane_start
            .and_then(|start| self.last_start(EventTime(start)))
            .and_then(|start| start.checked_add(self.size));
        std::iter::successors(last, move |end| end.checked_sub(slide))
            .take_while(move |end| *end >= pane_end)
    }

    /// Start of the last window that contains `at`; right before 1970, too. `None` if that window
    /// begins before all instants.
    #[must_use]
    pub fn last_start(&self, at: EventTime) -> Option<i64> {
        let shift = if self.start < 0 {
            self.start + self.slide
        } else {
            self.start
        };
        // Remainders first: the distance between an instant and the shift may itself not fit.
        let behind = at.0.rem_euclid(self.slide) - shift;
        let behind = if behind < 0 {
            behind + self.slide
        } else {
            behind
        };
        at.0.checked_sub(behind)
    }

    /// Starts of the first and of the last window that contain `at`. `None` if one of the windows
    /// that contain it begins or ends beyond what 64 bits of microseconds can say: such a row has
    /// no right answer, and a wrapped one would be that of another age.
    #[must_use]
    pub fn starts(&self, at: EventTime) -> Option<(i64, i64)> {
        let last = self.last_start(at)?;
        last.checked_add(self.size)?;
        let older = (self.size - 1 - (at.0 - last)) / self.slide;
        let first = last.checked_sub(older.checked_mul(self.slide)?)?;
        Some((first, last))
    }

    /// The instants for which [`starts`](WindowSpec::starts) has an answer: they have no gap, so two
    /// comparisons tell for a whole batch.
    #[must_use]
    pub fn instants(&self) -> RangeInclusive<i64> {
        let (size, slide) = (i128::from(self.size), i128::from(self.slide));
        let shift = i128::from(self.start);
        let (least, greatest) = (i128::from(i64::MIN), i128::from(i64::MAX));
        let up = (least - shift + slide - 1).div_euclid(slide);
        let first_start = shift + up * slide;
        // The window before the first one that can be written must be over.
        let low = first_start - slide + size;
        let down = (greatest - size - shift).div_euclid(slide);
        let high = shift + down * slide + slide - 1;
        let clamped = |at: i128| i64::try_from(at.clamp(least, greatest)).unwrap_or(0);
        clamped(low)..=clamped(high)
    }

    /// How many windows contain one instant, at most.
    #[must_use]
    pub fn overlap(&self) -> i64 {
        self.size / self.slide + i64::from(self.size % self.slide != 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Starts of all windows that contain an instant, latest first, without a limit of bits.
    fn by_definition(spec: WindowSpec, at: i64) -> Vec<i128> {
        let (size, slide) = (i128::from(spec.size), i128::from(spec.slide));
        let at = i128::from(at);
        let last = at - (at - i128::from(spec.start)).rem_euclid(slide);
        (0..)
            .map(|older| last - older * slide)
            .take_while(|start| at < start + size)
            .collect()
    }

    #[test]
    fn panes_make_up_windows() {
        let spec = WindowSpec {
            size: 10,
            slide: 4,
            start: 1,
        };
        assert_eq!(
            spec.panes(),
            WindowSpec {
                size: 2,
                slide: 2,
                start: 1
            }
        );
        // Every instant is covered by the windows that contain it, and by no other.
        for at in -50..50 {
            let pane = spec.panes();
            let pane_start = pane.last_start(EventTime(at)).expect("is in range");
            let by_panes: Vec<i64> = spec.ends_covering(pane_start + pane.size).collect();
            let starts = (-30..30).map(|k| spec.start + k * spec.slide).rev();
            let direct: Vec<i64> = starts
                .filter(|start| *start <= at && at < start + spec.size)
                .map(|start| start + spec.size)
                .collect();
            assert_eq!(by_panes, direct, "at {at}");
        }
    }

    /// Instants where 64 bits begin and end, around zero, and anywhere.
    fn instants() -> impl Strategy<Value = i64> {
        prop_oneof![
            (0..50_000_000i64).prop_map(|by| i64::MIN + by),
            (0..50_000_000i64).prop_map(|by| i64::MAX - by),
            -50_000_000..50_000_000i64,
            any::<i64>(),
        ]
    }

    /// Windows of ordinary and of absurd lengths, at most some thousand over one instant.
    fn specs() -> impl Strategy<Value = WindowSpec> {
        let size = prop_oneof![1..100i64, 1..20_000_000i64, 1..=i64::MAX];
        (size, 1..3000i64, any::<i64>(), any::<i64>()).prop_map(|(size, parts, slide, start)| {
            let least = size / parts + i64::from(size % parts != 0);
            let slide = least + slide.rem_euclid(size - least + 1);
            WindowSpec {
                size,
                slide,
                start: start % slide,
            }
        })
    }

    proptest! {
        #[test]
        fn windows_are_right_or_refused_over_all_of_time(spec in specs(), at in instants()) {
            let starts = by_definition(spec, at);
            let whole = |start: &i128| {
                i64::try_from(*start).is_ok() && i64::try_from(*start + i128::from(spec.size)).is_ok()
            };
            let ends = starts.last().zip(starts.first());
            let expected = ends
                .filter(|_| starts.iter().all(whole))
                .map(|(first, last)| (i64::try_from(*first).expect("fits"), i64::try_from(*last).expect("fits")));
            prop_assert_eq!(spec.starts(EventTime(at)), expected);
            prop_assert_eq!(spec.instants().contains(&at), expected.is_some());
            prop_assert!(i64::try_from(starts.len()).expect("few") <= spec.overlap());
            if expected.is_some() {
                // The panes of a row lie within its windows, so they can be written, too.
                let pane = spec.panes();
                let start = pane.last_start(EventTime(at)).expect("begins after its windows");
                let end = start.checked_add(pane.size).expect("ends before its windows");
                let covering: Vec<i128> = spec.ends_covering(end).map(i128::from).collect();
                let direct: Vec<i128> = starts.iter().map(|start| start + i128::from(spec.size)).collect();
                prop_assert_eq!(covering, direct);
            } else {
                // Whatever is asked of it, it comes to an end.
                prop_assert!(spec.ends_covering(at).take(1_000_000).count() < 1_000_000);
            }
        }
    }

    #[test]
    fn a_window_as_long_as_time_holds_what_it_can() {
        let spec = WindowSpec {
            size: i64::MAX,
            slide: i64::MAX,
            start: 5,
        };
        assert_eq!(spec.instants(), 5 - i64::MAX..=4);
    }
}
