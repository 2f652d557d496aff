//! Time zones as Java names them, and the clocks of their places.
//!
//! A place's clock follows the rules of the time-zone database for ever, as Java's does, although the
//! table that is compiled in ends with this century.

use std::str::FromStr;

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

use crate::{
    ValueError,
    civil::{Civil, DAY, SECOND, month_days, weekday},
};

/// The last year of which the table is used as it is. Later years have the clock of an earlier one
/// with the same days of the week and as many days.
const YEAR_MAX: i64 = 2087;
/// After so many years, none of them a century's first, days of the week come again.
const CYCLE_YEARS: i64 = 28;
/// The first instant whose day the table's library can name, and a little more.
const INSTANT_MIN: i64 = -8_000_000_000_000_000_000;
/// The largest offset from UTC.
pub(crate) const OFFSET_SECONDS_MAX: i64 = 18 * 3600;

/// Names of three letters that Java still takes.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("ACT", "Australia/Darwin"),
    ("AET", "Australia/Sydney"),
    ("AGT", "America/Argentina/Buenos_Aires"),
    ("ART", "Africa/Cairo"),
    ("AST", "America/Anchorage"),
    ("BET", "America/Sao_Paulo"),
    ("BST", "Asia/Dhaka"),
    ("CAT", "Africa/Harare"),
    ("CNT", "America/St_Johns"),
    ("CST", "America/Chicago"),
    ("CTT", "Asia/Shanghai"),
    ("EAT", "Africa/Addis_Ababa"),
    ("ECT", "Europe/Paris"),
    ("EST", "-05:00"),
    ("HST", "-10:00"),
    ("IET", "America/Indiana/Indianapolis"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("MIT", "Pacific/Apia"),
    ("MST", "-07:00"),
    ("NET", "Asia/Yerevan"),
    ("NST", "Pacific/Auckland"),
    ("PLT", "Asia/Karachi"),
    ("PNT", "America/Phoenix"),
    ("PRT", "America/Puerto_Rico"),
    ("PST", "America/Los_Angeles"),
    ("SST", "Pacific/Guadalcanal"),
    ("VST", "Asia/Ho_Chi_Minh"),
];

/// Where clocks are read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zone {
    name: String,
    rule: Rule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Rule {
    /// Seconds east.
    Fixed(i64),
    Place(Tz),
}

impl Default for Zone {
    /// UTC.
    fn default() -> Zone {
        Zone::utc()
    }
}

impl FromStr for Zone {
    type Err = ValueError;

    /// A zone by the names that Spark takes: `Europe/Berlin`, `UTC`, `Z`, `+02:00`, `-8`, `GMT+1`, `PST`.
    ///
    /// # Errors
    /// [`ValueError::Zone`] for a name that is none of these.
    fn from_str(text: &str) -> Result<Zone, ValueError> {
        Zone::named(text).ok_or_else(|| ValueError::Zone {
            name: text.chars().take(40).collect(),
        })
    }
}

impl Zone {
    /// Universal time.
    #[must_use]
    pub fn utc() -> Zone {
        Zone {
            name: "UTC".to_owned(),
            rule: Rule::Fixed(0),
        }
    }

    fn named(text: &str) -> Option<Zone> {
        let short = SHORT_NAMES.iter().find(|(short, _)| *short == text);
        let text = short.map_or(text, |(_, name)| name);
        if matches!(text, "UTC" | "GMT" | "UT" | "Z") {
            let name = text.to_owned();
            return Some(Zone {
                name,
                rule: Rule::Fixed(0),
            });
        }
        if let Some(seconds) = offset(text.as_bytes()) {
            return Some(Zone::fixed(seconds));
        }
        let prefixed = ["UTC", "GMT", "UT"]
            .into_iter()
            .find_map(|prefix| Some((prefix, text.strip_prefix(prefix)?)));
        if let Some((prefix, rest)) = prefixed
            && let Some(seconds) = offset(rest.as_bytes())
        {
            let mut name = prefix.to_owned();
            if seconds != 0 {
                name.push_str(&offset_name(seconds));
            }
            return Some(Zone {
                name,
                rule: Rule::Fixed(seconds),
            });
        }
        let place: Tz = text.parse().ok()?;
        Some(Zone {
            name: text.to_owned(),
            rule: Rule::Place(place),
        })
    }

    /// A clock that is always so many seconds east of UTC; at most 18 hours.
    #[must_use]
    pub fn fixed(seconds: i64) -> Zone {
        let seconds = seconds.clamp(-OFFSET_SECONDS_MAX, OFFSET_SECONDS_MAX);
        Zone {
            name: offset_name(seconds),
            rule: Rule::Fixed(seconds),
        }
    }

    /// The name: `Europe/Berlin`, `UTC`, `+02:00`, `Z`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Seconds east of UTC at an instant, given in microseconds since 1970 in UTC.
    #[must_use]
    pub fn offset_at(&self, micros: i64) -> i64 {
        match self.rule {
            Rule::Fixed(seconds) => seconds,
            Rule::Place(place) => offset_in(place, micros),
        }
    }

    /// The short name of the clock at an instant: `CET`, `CEST`, `UTC`, `GMT+02:00`.
    #[must_use]
    pub fn abbreviation_at(&self, micros: i64) -> String {
        match self.rule {
            Rule::Fixed(0) if self.name != "Z" => self.name.clone(),
            Rule::Fixed(_) => self.name.clone(),
            Rule::Place(place) => {
                use chrono_tz::OffsetName;
                let at = DateTime::from_timestamp_micros(within_table(micros)).unwrap_or_default();
                let offset = place.offset_from_utc_datetime(&at.naive_utc());
                offset
                    .abbreviation()
                    .map_or_else(|| self.name.clone(), str::to_owned)
            }
        }
    }

    /// What the clock shows at an instant, both in microseconds since 1970.
    ///
    /// Beyond the range of 64 bits it saturates.
    #[must_use]
    pub fn local(&self, micros: i64) -> i64 {
        micros.saturating_add(self.offset_at(micros) * SECOND)
    }

    /// The instant at which the clock shows `local`. Where it does so twice, the first time; where it
    /// jumps over it, as long after the jump as `local` is after the jump's beginning. `None` beyond
    /// the range of 64 bits.
    #[must_use]
    pub fn instant(&self, local: i64) -> Option<i64> {
        let place = match self.rule {
            Rule::Fixed(seconds) => return local.checked_sub(seconds * SECOND),
            Rule::Place(place) => place,
        };
        let before = offset_in(place, local.saturating_sub(DAY));
        let after = offset_in(place, local.saturating_add(DAY));
        let by_before = local.checked_sub(before * SECOND);
        if before == after || by_before.is_some_and(|at| offset_in(place, at) == before) {
            return by_before;
        }
        let by_after = local.checked_sub(after * SECOND);
        if by_after.is_some_and(|at| offset_in(place, at) == after) {
            by_after
        } else {
            by_before
        }
    }
}

fn offset_in(place: Tz, micros: i64) -> i64 {
    let at = DateTime::from_timestamp_micros(within_table(micros)).unwrap_or_default();
    let offset = place.offset_from_utc_datetime(&at.naive_utc());
    i64::from(offset.fix().local_minus_utc())
}

/// An instant with the same clock in the years of the table.
fn within_table(micros: i64) -> i64 {
    let micros = micros.max(INSTANT_MIN);
    // Cheap for nearly all: 2087-12-31.
    if micros < 3_723_840_000 * SECOND {
        return micros;
    }
    let days = micros.div_euclid(DAY);
    let civil = Civil::from_days(days);
    if civil.year <= YEAR_MAX {
        return micros;
    }
    let first = |year: i64| {
        Civil {
            year,
            month: 1,
            day: 1,
        }
        .days()
    };
    let alike = |year: &i64| {
        weekday(first(*year)) == weekday(first(civil.year))
            && month_days(*year, 2) == month_days(civil.year, 2)
    };
    let year = (YEAR_MAX - CYCLE_YEARS + 1..=YEAR_MAX)
        .find(alike)
        .unwrap_or(YEAR_MAX);
    micros - (first(civil.year) - first(year)) * DAY
}

/// `+h`, `+hh`, `+hh:mm`, `+hhmm`, `+h:mm`, `+hh:m`, `+hh:mm:ss`, `+hhmmss` in seconds; `None` for what is none of these or
/// more than 18 hours.
#[must_use]
pub fn offset(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text.split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let mut parts = [0_i64; 3];
    if rest.contains(&b':') {
        for (idx, part) in rest.split(|b| *b == b':').enumerate() {
            *parts.get_mut(idx)? = part_of(part, if idx == 2 { 2 } else { 1 })?;
        }
    } else if rest.len() <= 2 {
        parts[0] = part_of(rest, 1)?;
    } else {
        if rest.len() != 4 && rest.len() != 6 {
            return None;
        }
        for (part, digits) in parts.iter_mut().zip(rest.chunks(2)) {
            *part = part_of(digits, 2)?;
        }
    }
    let [hours, minutes, seconds] = parts;
    let total = hours * 3600 + minutes * 60 + seconds;
    (minutes < 60 && seconds < 60 && total <= OFFSET_SECONDS_MAX).then_some(sign * total)
}

fn part_of(digits: &[u8], least: usize) -> Option<i64> {
    if digits.len() < least || digits.len() > 2 {
        return None;
    }
    digits.iter().try_fold(0, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + i64::from(digit - b'0'))
    })
}

/// `+02:00`, `-03:30`, `+01:02:03`; `Z` for none.
#[must_use]
pub fn offset_name(seconds: i64) -> String {
    if seconds == 0 {
        return "Z".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let total = seconds.unsigned_abs();
    let (hours, minutes, rest) = (total / 3600, total / 60 % 60, total % 60);
    if rest == 0 {
        format!("{sign}{hours:02}:{minutes:02}")
    } else {
        format!("{sign}{hours:02}:{minutes:02}:{rest:02}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str) -> Zone {
        name.parse().expect("a zone")
    }

    fn at(year: i64, month: i64, day: i64, minute: i64) -> i64 {
        Civil { year, month, day }.days() * DAY + minute * 60 * SECOND
    }

    #[test]
    fn names_are_those_of_java() {
        for (name, minutes) in [
            ("+8", 480),
            ("+8:00", 480),
            ("+08:3", 483),
            ("+0830", 510),
            ("GMT+8", 480),
            ("UT+8", 480),
            ("UTC+8:30", 510),
            ("+18:00", 1080),
            ("Z", 0),
            ("GMT0", 0),
            ("PST", -420),
            ("EST", -300),
            ("CET", 120),
        ] {
            let seconds = zone(name).offset_at(at(2024, 10, 26, 0));
            assert_eq!(seconds, minutes * 60, "{name}");
        }
        for name in [
            "europe/berlin",
            "+19:00",
            "",
            "+",
            "Berlin",
            "UTC+",
            "+8:60",
        ] {
            assert!(name.parse::<Zone>().is_err(), "{name}");
        }
        assert_eq!(zone("GMT+1").name(), "GMT+01:00");
        assert_eq!(zone("+02").name(), "+02:00");
    }

    #[test]
    fn clocks_that_jump() {
        let berlin = zone("Europe/Berlin");
        // 02:30 does not exist in spring and comes twice in autumn.
        let spring = berlin.instant(at(2024, 3, 31, 150));
        assert_eq!(spring, Some(at(2024, 3, 31, 90)));
        let autumn = berlin.instant(at(2024, 10, 27, 150));
        assert_eq!(autumn, Some(at(2024, 10, 27, 30)));
        // Before there were zones, each place had the sun's time.
        assert_eq!(berlin.offset_at(at(1800, 12, 1, 0)), 53 * 60 + 28);
        assert_eq!(berlin.abbreviation_at(at(2024, 7, 1, 0)), "CEST");
    }

    #[test]
    fn rules_hold_for_ever() {
        for year in [2037, 2087, 2088, 2099, 2100, 2150, 9999, 290_000] {
            assert_eq!(
                zone("Europe/Berlin").offset_at(at(year, 7, 1, 0)),
                7200,
                "{year}"
            );
            assert_eq!(
                zone("Europe/Berlin").offset_at(at(year, 12, 1, 0)),
                3600,
                "{year}"
            );
            assert_eq!(
                zone("Australia/Sydney").offset_at(at(year, 12, 1, 0)),
                39_600
            );
        }
    }

    proptest! {
        #[test]
        fn an_instant_is_found_again_by_its_clock(micros: i64, near in -4_000_000_000_000_000..4_000_000_000_000_000_i64) {
            for zone in ["Europe/Berlin", "America/St_Johns", "Pacific/Apia", "+05:30", "UTC"].map(zone) {
                for at in [micros, near] {
                    let local = zone.local(at);
                    let Some(found) = zone.instant(local) else { continue };
                    // The same instant, or the earlier of two with the same clock.
                    prop_assert!(zone.local(found) == local || local == i64::MAX || local == i64::MIN);
                    prop_assert!(found <= at || local == i64::MAX || local == i64::MIN);
                }
            }
        }
    }
}
