//! Times between places: what a clock shows at an instant, and when it shows a time.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray},
    datatypes::TimestampMicrosecondType,
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue},
    logical_expr::{Expr, ScalarUDF, expr::ScalarFunction},
};
use millstream_values::zone::Zone;

use super::simple::{Call, Gives, Simple, Want, failed, text_of};
use crate::SqlError;

/// What a clock shows at an instant: the instant, the zone.
pub(crate) const LOCAL: &str = "__local";
/// When a clock shows a time: the time, the zone.
pub(crate) const INSTANT: &str = "__instant";
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
];

/// Those that are written for others.
const HIDDEN: &[Simple] = &[
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

/// [`LOCAL`] or [`INSTANT`] of a time in a zone.
pub(crate) fn in_place(name: &str, time: Expr, zone: &str) -> Expr {
    let simple = HIDDEN.iter().find(|simple| simple.name == name);
    let zone = Expr::Literal(ScalarValue::Utf8(Some(zone.to_owned())), None);
    match simple {
        Some(simple) => {
            Expr::ScalarFunction(ScalarFunction::new_udf(simple.udf(), vec![time, zone]))
        }
        None => time,
    }
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
