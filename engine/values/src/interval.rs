//! Intervals as texts.

use arrow::{
    array::{Array, AsArray, StringArray},
    datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType},
};

use crate::number;

/// Intervals of months, days and nanoseconds as Spark shows them: `1 years 2 months 3 days 4.5 seconds`.
pub(crate) fn texts(intervals: &dyn Array) -> StringArray {
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    intervals.iter().map(|of| of.map(text)).collect()
}

fn text(of: IntervalMonthDayNano) -> String {
    let mut out = Vec::new();
    let micros = of.nanoseconds / 1_000;
    for (count, unit) in [
        (i64::from(of.months / 12), "years"),
        (i64::from(of.months % 12), "months"),
        (i64::from(of.days), "days"),
        (micros / 3_600_000_000, "hours"),
        (micros / 60_000_000 % 60, "minutes"),
    ] {
        if count != 0 {
            number::integer(count, &mut out);
            out.push(b' ');
            out.extend_from_slice(unit.as_bytes());
            out.push(b' ');
        }
    }
    let rest = micros % 60_000_000;
    if rest != 0 || out.is_empty() {
        if rest < 0 {
            out.push(b'-');
        }
        number::integer(rest.abs() / 1_000_000, &mut out);
        number::fraction(rest.abs() % 1_000_000, &mut out);
        out.extend_from_slice(b" seconds");
    }
    String::from_utf8_lossy(out.trim_ascii_end()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_zero_are_left_out() {
        let shown = |months, days, micros: i64| {
            text(IntervalMonthDayNano::new(months, days, micros * 1_000))
        };
        assert_eq!(
            shown(14, 25, 18_367_500_000),
            "1 years 2 months 25 days 5 hours 6 minutes 7.5 seconds"
        );
        assert_eq!(shown(0, 0, 0), "0 seconds");
        assert_eq!(shown(0, -1, -500_000), "-1 days -0.5 seconds");
    }
}
