//! Event time, watermarks, and the comparisons between them. The rules differ in strictness from
//! operator to operator; they stand here and nowhere else.

use std::fmt;

/// Microseconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(pub i64);

impl EventTime {
    /// The millisecond in which this instant lies (towards the past, also before 1970).
    #[must_use]
    pub fn floor_ms(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// A watermark in milliseconds since the epoch. It starts at 0 and never falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark {
    ms: i64,
}

impl Watermark {
    /// The mark before any row was seen: rows at or before 1970-01-01 are late from the start.
    pub const START: Watermark = Watermark { ms: 0 };

    /// A mark at `ms` milliseconds; negative values are the start.
    #[must_use]
    pub fn from_ms(ms: i64) -> Watermark {
        Watermark { ms: ms.max(0) }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn ms(self) -> i64 {
        self.ms
    }

    /// The mark on the scale of event times.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.ms.saturating_mul(1000)
    }

    /// A window with this exclusive end is closed: `end <= mark`.
    #[must_use]
    pub fn closes_window(self, end: EventTime) -> bool {
        end.0 <= self.micros()
    }

    /// A group keyed by the raw event time is closed: `t <= mark`.
    #[must_use]
    pub fn closes_instant(self, at: EventTime) -> bool {
        at.0 <= self.micros()
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.ms)
    }
}

/// Everything besides its input that an operator may depend on in one epoch.
///
/// `late` is one epoch older than `evict`: a row may be accepted and its window emitted in the
/// same epoch, exactly as Spark has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// E(n): known when the epoch was planned; groups at or behind it are closed.
    pub evict: Watermark,
    /// L(n) = E(n-1): rows at or behind it are late.
    pub late: Watermark,
    /// The clock of the plan, in milliseconds since the epoch: what `current_timestamp()` says.
    pub clock_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_counts_as_closed() {
        let mark = Watermark::from_ms(20_000);
        assert!(mark.closes_window(EventTime(20_000_000)));
        assert!(!mark.closes_window(EventTime(20_000_001)));
        assert!(mark.closes_instant(EventTime(20_000_000)));
    }

    #[test]
    fn the_mark_starts_at_the_epoch_and_floors_towards_the_past() {
        assert_eq!(Watermark::from_ms(-5), Watermark::START);
        assert_eq!(EventTime(-1).floor_ms(), -1);
        assert_eq!(EventTime(1_999).floor_ms(), 1);
    }
}
