//! Times between places: what a clock shows at an instant, and when it shows a time.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, TimestampMicrosecondArray},
    datatypes::{
        DataType, DurationMicrosecondType, IntervalMonthDayNanoType, IntervalYearMonthType,
        TimestampMicrosecondType,
    },
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue},
    logical_expr::ScalarUDF,
};
use millstream_values::{
    civil::{Civil, DAY},
    interval::{CALENDAR, DAY_TIME, YEAR_MONTH},
    zone::Zone,
};

use super::{
    misfit::failed,
    simple::{Call, Gives, Simple, Want, text_of},
};
use crate::{SqlError, types::timestamp};

/// What a clock shows at an instant: the instant, the zone.
pub(crate) const LOCAL: &str = "__local";
/// When a clock shows a time: the time, the zone.
pub(crate) const INSTANT: &str = "__instant";
/// An instant later by an interval, of which days and months are the clock's: the instant, the
/// interval, the zone.
pub(crate) const PLUS: &str = "__plus_in";
/// When a clock shows the times of an array: the array, the zone.
pub(crate) const INSTANTS: &str = "__instants";
/// The name of the session's zone, which the planner puts in.
pub(crate) const CURRENT: &str = "current_timezone";
/// An instant as it stands, its type apart, in UTC.
const AS_UTC: &str = "UTC";

const TIME_AND_ZONE: &[Want] = &[Want::Timestamp, Want::Text];

/// Those that users call.
const TABLE: &[Simple] = &[
    Simple::new(
        "convert_timezone",
        &[Want::Text, Want::Text, Want::Naive],
        Gives::Naive,
        |call| {
            let times = call.arguments[2].as_primitive::<TimestampMicrosecondType>();
            let mut from = Zones::new(&call.arguments[0]);
            let mut to = Zones::new(&call.arguments[1]);
            let moved = each(times, |row, at| {
                let (Some(from), Some(to)) = (from.at(row)?, to.at(row)?) else {
                    return Ok(None);
                };
                Ok(from.instant(at).map(|instant| to.local(instant)))
            })?;
            Ok(Arc::new(moved))
        },
    )
    .checked(|literals| check(literals, 0).and_then(|()| check(literals, 1))),
    Simple::new(
        "from_utc_timestamp",
        TIME_AND_ZONE,
        Gives::Timestamp,
        |call| {
            let shown = in_zone(call, |zone, at| Some(zone.local(at)))?;
            Ok(Arc::new(shown.with_timezone(AS_UTC)))
        },
    )
    .checked(|literals| check(literals, 1)),
    Simple::new(
        "to_utc_timestamp",
        TIME_AND_ZONE,
        Gives::Timestamp,
        |call| {
            let instants = in_zone(call, Zone::instant)?;
            Ok(Arc::new(instants.with_timezone(AS_UTC)))
        },
    )
    .checked(|literals| check(literals, 1)),
    Simple::new(CURRENT, &[], Gives::Text, |_| {
        Err(failed("the zone of a session was asked for in a row"))
    }),
];

/// Those that are written for others.
const HIDDEN: &[Simple] = &[
    Simple::new(
        PLUS,
        &[Want::Timestamp, Want::Any, Want::Text],
        Gives::Timestamp,
        plus,
    )
    .checked(|literals| check(literals, 2)),
    Simple::new(
        INSTANTS,
        &[Want::Any, Want::Text],
        Gives::Of(|_, _| Ok(DataType::new_list(timestamp(), true))),
        instants,
    )
    .checked(|literals| check(literals, 1)),
    Simple::new(LOCAL, TIME_AND_ZONE, Gives::Naive, |call| {
        let shown = in_zone(call, |zone, at| Some(zone.local(at)))?;
        Ok(Arc::new(shown))
    })
    .checked(|literals| check(literals, 1)),
    Simple::new(INSTANT, TIME_AND_ZONE, Gives::Timestamp, |call| {
        let instants = in_zone(call, Zone::instant)?;
        Ok(Arc::new(instants.with_timezone(AS_UTC)))
    })
    .checked(|literals| check(literals, 1)),
];

/// Those that users call.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

/// The others.
pub(super) fn hidden() -> Vec<Arc<ScalarUDF>> {
    HIDDEN.iter().map(|simple| simple.udf()).collect()
}

/// One of the hidden ones.
pub(crate) fn hidden_function(name: &str) -> Option<Arc<ScalarUDF>> {
    let found = HIDDEN.iter().find(|simple| simple.name == name);
    found.map(|simple| simple.udf())
}

fn check(literals: &[Option<&ScalarValue>], at: usize) -> Result<(), SqlError> {
    match text_of(literals, at) {
        Some(name) => named(name).map(|_| ()).map_err(|error| SqlError::Types {
            message: error.to_string(),
        }),
        None => Ok(()),
    }
}

fn named(name: &str) -> Result<Zone, millstream_values::ValueError> {
    name.parse()
}

/// Zones by their names, each read once in a row.
struct Zones<'a> {
    names: &'a arrow::array::StringArray,
    last: Option<(&'a str, Zone)>,
}

impl<'a> Zones<'a> {
    fn new(names: &'a ArrayRef) -> Zones<'a> {
        Zones {
            names: names.as_string::<i32>(),
            last: None,
        }
    }

    fn at(&mut self, row: usize) -> Result<Option<&Zone>, DataFusionError> {
        if self.names.is_null(row) {
            return Ok(None);
        }
        let name = self.names.value(row);
        if self.last.as_ref().is_none_or(|(known, _)| *known != name) {
            let zone = named(name).map_err(|error| failed(error.to_string()))?;
            self.last = Some((name, zone));
        }
        Ok(self.last.as_ref().map(|(_, zone)| zone))
    }
}

fn each(
    times: &TimestampMicrosecondArray,
    mut of: impl FnMut(usize, i64) -> Result<Option<i64>>,
) -> Result<TimestampMicrosecondArray> {
    let moved = times.iter().enumerate().map(|(row, at)| match at {
        Some(at) => of(row, at),
        None => Ok(None),
    });
    moved.collect()
}

fn in_zone(
    call: &Call<'_>,
    of: impl Fn(&Zone, i64) -> Option<i64>,
) -> Result<TimestampMicrosecondArray> {
    let times = call.arguments[0].as_primitive::<TimestampMicrosecondType>();
    let mut zones = Zones::new(&call.arguments[1]);
    each(times, |row, at| match zones.at(row)? {
        Some(zone) => of(zone, at)
            .map(Some)
            .ok_or_else(|| failed("a timestamp overflows")),
        None => Ok(None),
    })
}

/// Months and days are added on the clock, the rest to the instant; of an interval of times as many
/// days as are in it.
fn plus(call: &Call<'_>) -> Result<ArrayRef> {
    let times = call.arguments[0].as_primitive::<TimestampMicrosecondType>();
    let intervals = &call.arguments[1];
    let mut zones = Zones::new(&call.arguments[2]);
    let parts = |row: usize| {
        let parts = match intervals.data_type() {
            found if *found == YEAR_MONTH => {
                let months = intervals.as_primitive::<IntervalYearMonthType>().value(row);
                (months, 0, 0)
            }
            found if *found == DAY_TIME => {
                let micros = intervals
                    .as_primitive::<DurationMicrosecondType>()
                    .value(row);
                (0, micros / DAY, micros % DAY)
            }
            found if *found == CALENDAR => {
                let all = intervals
                    .as_primitive::<IntervalMonthDayNanoType>()
                    .value(row);
                (all.months, i64::from(all.days), all.nanoseconds / 1000)
            }
            _ => return None,
        };
        intervals.is_valid(row).then_some(parts)
    };
    let later = each(times, |row, at| {
        let (Some(zone), Some((months, days, micros))) = (zones.at(row)?, parts(row)) else {
            return Ok(None);
        };
        let local = zone.local(at);
        let day = Civil::from_days(local.div_euclid(DAY)).plus_months(i64::from(months));
        let moved = day
            .days()
            .checked_add(days)
            .and_then(|days| days.checked_mul(DAY))
            .and_then(|at| at.checked_add(local.rem_euclid(DAY)));
        let instant = if months == 0 && days == 0 {
            Some(at)
        } else {
            moved.and_then(|local| zone.instant(local))
        };
        let later = instant.and_then(|instant| instant.checked_add(micros));
        later
            .map(Some)
            .ok_or_else(|| failed("a timestamp overflows"))
    })?;
    Ok(Arc::new(later.with_timezone(AS_UTC)))
}

fn instants(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.arguments[0].as_list::<i32>();
    let mut zones = Zones::new(&call.arguments[1]);
    let zone = if call.rows == 0 {
        None
    } else {
        zones.at(0)?.cloned()
    };
    let zone = zone.unwrap_or_default();
    let times = list.values().as_primitive::<TimestampMicrosecondType>();
    let instants = each(times, |_, at| Ok(zone.instant(at)))?;
    let DataType::List(item) = call.gives else {
        return Err(failed("a list became something else"));
    };
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    let values = Arc::new(instants.with_timezone(AS_UTC));
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(item),
        offsets,
        values,
        nulls,
    )?))
}
