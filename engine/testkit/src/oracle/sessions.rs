//! Sessions of the model: intervals of a key that overlap or touch are one.

use std::ops::Range;

use super::member::Member;

/// A stretch of time of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Interval {
    /// The number of the key.
    pub(super) key: i64,
    /// Its first instant.
    pub(super) start: i64,
    /// The instant after its last.
    pub(super) end: i64,
}

/// All sessions, open and closed.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Vec<(Interval, Vec<Member>)>,
    closed: Vec<(Interval, Vec<Member>)>,
}

impl Sessions {
    /// A row, as a session of its own for now.
    pub(super) fn add(&mut self, interval: Interval, member: Member) {
        self.open.push((interval, vec![member]));
    }

    /// Makes one of what overlaps or touches.
    pub(super) fn merge(&mut self) {
        let mut open = std::mem::take(&mut self.open);
        open.sort_by_key(|(interval, _)| *interval);
        for (interval, members) in open {
            match self.open.last_mut() {
                Some((last, all)) if last.key == interval.key && interval.start <= last.end => {
                    last.end = last.end.max(interval.end);
                    all.extend(members);
                }
                _ => self.open.push((interval, members)),
            }
        }
    }

    /// Closes what ends at or before a mark; nothing reaches it any more.
    pub(super) fn close(&mut self, mark: i64) {
        let open = std::mem::take(&mut self.open);
        let (closed, open) = open.into_iter().partition(|(it, _)| it.end <= mark);
        self.open = open;
        self.closed.extend::<Vec<_>>(closed);
    }

    /// The rows of all sessions as they are after a step.
    pub(super) fn members(&self, step: usize, members: &mut Vec<Member>) {
        for (interval, rows) in self.open.iter().chain(&self.closed) {
            let during: Range<usize> = step..step + 1;
            members.extend(rows.iter().map(|row| Member {
                window: Some((interval.start, interval.end)),
                during: during.clone(),
                ..row.clone()
            }));
        }
    }
}
