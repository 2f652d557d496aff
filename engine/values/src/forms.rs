//! How dates and times are written down: the zone of clocks, and the patterns that options name.

use crate::{
    civil::DAY,
    instant::{self, Instant, Stated},
    number,
    pattern::Pattern,
    zone::Zone,
};

/// How dates and times are written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// Whose clock a text shows that names no zone.
    pub zone: Zone,
    /// `timestampFormat`.
    pub timestamp: Option<Pattern>,
    /// `timestampNTZFormat`: of timestamps without a zone.
    pub naive: Option<Pattern>,
    /// `dateFormat`.
    pub date: Option<Pattern>,
}

impl Forms {
    /// Microseconds since 1970; for a type without a zone what the clock shows, and a text that names
    /// a zone is none of its values.
    #[inline]
    #[must_use]
    pub fn timestamp(&self, text: &[u8], zoned: bool) -> Option<i64> {
        let pattern = if zoned { &self.timestamp } else { &self.naive };
        let instant: Instant = match pattern {
            Some(pattern) => pattern.parse(text)?,
            None => instant::timestamp(text)?,
        };
        if zoned {
            instant.micros(&self.zone)
        } else {
            (instant.zone == Stated::Nothing).then_some(instant.local)
        }
    }

    /// Days since 1970.
    #[inline]
    #[must_use]
    pub fn date(&self, text: &[u8]) -> Option<i32> {
        match &self.date {
            Some(pattern) => i32::try_from(pattern.parse(text)?.local.div_euclid(DAY)).ok(),
            None => instant::date(text),
        }
    }

    /// Appends a date.
    pub(crate) fn write_date(&self, days: i64, out: &mut Vec<u8>) {
        match &self.date {
            Some(pattern) => pattern.write(days.saturating_mul(DAY), &Zone::utc(), out),
            None => instant::write_date(days, out),
        }
    }

    /// Appends an instant, by default as `2024-01-01T00:00:00.000Z`; without a zone where the type has
    /// none.
    pub(crate) fn write_timestamp(&self, micros: i64, zoned: bool, out: &mut Vec<u8>) {
        match (zoned, &self.timestamp, &self.naive) {
            (true, Some(pattern), _) => pattern.write(micros, &self.zone, out),
            (false, _, Some(pattern)) => pattern.write(micros, &Zone::utc(), out),
            (true, None, _) => {
                let seconds = self.zone.offset_at(micros);
                iso(self.zone.local(micros), out);
                if seconds == 0 {
                    out.push(b'Z');
                } else {
                    // As the pattern `XXX` has it: without seconds.
                    out.push(if seconds < 0 { b'-' } else { b'+' });
                    let minutes = seconds.unsigned_abs() / 60;
                    number::padded::<2>(minutes / 60, out);
                    out.push(b':');
                    number::padded::<2>(minutes % 60, out);
                }
            }
            (false, _, None) => iso(micros, out),
        }
    }
}

fn iso(local: i64, out: &mut Vec<u8>) {
    let micros = instant::write_seconds(local, 'T', out);
    out.push(b'.');
    number::padded::<3>(micros.unsigned_abs() / 1_000, out);
}
