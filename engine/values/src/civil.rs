//! Days and microseconds as years, months and days of the proleptic Gregorian calendar, in UTC.

/// Microseconds of a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds of a day.
pub const DAY: i64 = 86_400 * SECOND;

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year before year 1 is 0.
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1.
    pub day: i64,
}

impl Civil {
    /// The day that stands so many days after 1970-01-01.
    #[must_use]
    pub fn from_days(days: i64) -> Civil {
        // Years begin in March, so that the day that some years lack is their last.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Civil { year, month, day }
    }

    /// Days after 1970-01-01.
    #[must_use]
    pub fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let march_month = (self.month + 9).rem_euclid(12);
        let of_year = (153 * march_month + 2) / 5 + self.day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        era * 146_097 + of_era - 719_468
    }

    /// The day, if the calendar has it and its number is one of 32 bits or nearly so.
    #[must_use]
    pub fn checked(year: i64, month: i64, day: i64) -> Option<Civil> {
        let there = (-5_900_000..=5_900_000).contains(&year)
            && (1..=12).contains(&month)
            && (1..=month_days(year, month)).contains(&day);
        there.then_some(Civil { year, month, day })
    }

    /// From 1.
    #[must_use]
    pub fn day_of_year(self) -> i64 {
        let first = Civil {
            month: 1,
            day: 1,
            ..self
        };
        self.days() - first.days() + 1
    }

    /// From 1.
    #[must_use]
    pub fn quarter(self) -> i64 {
        (self.month - 1) / 3 + 1
    }

    /// Later by months; the day is at most the month's last.
    #[must_use]
    pub fn plus_months(self, months: i64) -> Civil {
        let total = self.year * 12 + self.month - 1 + months;
        let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
        Civil {
            year,
            month,
            day: self.day.min(month_days(year, month)),
        }
    }

    /// ISO week of the year.
    #[must_use]
    pub fn week(self) -> i64 {
        // The week belongs to the year that has its Thursday.
        let thursday = self.days() - weekday(self.days()) + 3;
        (Civil::from_days(thursday).day_of_year() - 1) / 7 + 1
    }
}

/// Days of a month.
#[must_use]
pub fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Monday is 0.
#[must_use]
pub fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_back() {
        for days in (-800_000..800_000).step_by(13) {
            let civil = Civil::from_days(days);
            assert_eq!(civil.days(), days);
            assert!(Civil::checked(civil.year, civil.month, civil.day).is_some());
        }
        let leap = Civil::from_days(19_782);
        assert_eq!((leap.year, leap.month, leap.day), (2024, 2, 29));
        assert_eq!(weekday(0), 3);
        assert_eq!(leap.plus_months(12).day, 28);
        assert_eq!(Civil::from_days(0).week(), 1);
    }
}
