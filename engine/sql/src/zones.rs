//! The time zone of a session: what a query means on the clock of a place.
//!
//! Functions, casts and arithmetic know one clock, UTC. Where the session has another, this rule, which
//! comes when types are known, puts what that clock shows in place of each instant whose fields are
//! looked at, and the instant in place of each time that was made of fields.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, tree_node::Transformed},
    logical_expr::{
        BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF,
        expr::ScalarFunction,
    },
};
use millstream_values::{
    civil::DAY,
    interval::{DAY_TIME, is_interval},
    zone::Zone,
};

use crate::{
    functions::{
        casts::{self, CAST, CAST_IN, TRY_CAST, TRY_CAST_IN},
        clock, csv,
        datetime::{TIME_TEXT, time_call, time_function},
        intervals, json,
        patterned::{self, DEFAULT_PATTERN, FORMAT_IN, READ_IN, TEXT_IN, TRY_READ_IN, TRY_TEXT_IN},
        spans::DIFFERENCE,
        zones::{self, CURRENT, INSTANT, INSTANTS, LOCAL, PLUS},
    },
    numbers::{cast_by_spark, rewrite_expressions},
    types::timestamp,
};

/// Functions of the fields of instants: they see what the clock shows.
const OF_FIELDS: &[&str] = &[
    "year",
    "quarter",
    "month",
    "day",
    "dayofyear",
    "weekofyear",
    "dayofweek",
    "weekday",
    "hour",
    "minute",
    "second",
    "dayname",
    "monthname",
    "date_part",
    "to_date",
    "to_timestamp_ntz",
    "months_between",
    DIFFERENCE,
    TIME_TEXT,
];

/// A local time.
const NAIVE: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The plan on the clock of a zone. Its columns keep their names and types.
///
/// # Errors
/// Types that do not fit.
pub(crate) fn on_clock(plan: LogicalPlan, zone: &Zone) -> Result<LogicalPlan> {
    let is_utc = *zone == Zone::utc();
    rewrite_expressions(plan, |expr, schema| {
        named(expr, zone, schema)?.transform_data(|expr| {
            if is_utc || !touches(&expr) {
                return Ok(Transformed::no(expr));
            }
            Place { zone, schema }.moved(expr)
        })
    })
}

/// `current_timezone()` is the zone's name; a cast that DataFusion put in is Spark's.
fn named(expr: Expr, zone: &Zone, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::ScalarFunction(call) if call.name() == CURRENT => Transformed::yes(text(zone.name())),
        Expr::Cast(cast) => cast_by_spark(cast, schema)?,
        other => Transformed::no(other),
    })
}

/// Whether the expression is of a kind that the clock may change.
fn touches(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::ScalarFunction(_) | Expr::Cast(_) | Expr::TryCast(_) | Expr::BinaryExpr(_)
    )
}

fn text(text: &str) -> Expr {
    Expr::Literal(ScalarValue::Utf8(Some(text.to_owned())), None)
}

fn is_instant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_)))
}

fn cast(expr: Expr, to: &DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), to.clone()))
}

/// The functions that are told a zone.
fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    patterned::hidden_function(name)
        .or_else(|| zones::hidden_function(name))
        .or_else(|| casts::hidden_function(name))
        .or_else(|| json::hidden_function(name))
        .or_else(|| csv::hidden_function(name))
}

/// Where the clock is, and what is known of columns.
struct Place<'a> {
    zone: &'a Zone,
    schema: &'a DFSchema,
}

impl Place<'_> {
    fn local(&self, instant: Expr) -> Expr {
        let local = self.with_zone(LOCAL, vec![instant.clone()]);
        local.unwrap_or(instant)
    }

    fn instant(&self, local: Expr) -> Expr {
        let instant = self.with_zone(INSTANT, vec![local.clone()]);
        instant.unwrap_or(local)
    }

    /// A call of a function that gets the zone as its last argument.
    fn with_zone(&self, name: &str, mut arguments: Vec<Expr>) -> Option<Expr> {
        arguments.push(text(self.zone.name()));
        let function = function(name)?;
        let call = ScalarFunction::new_udf(function, arguments);
        Some(Expr::ScalarFunction(call))
    }

    fn moved(&self, expr: Expr) -> Result<Transformed<Expr>> {
        let moved = match &expr {
            Expr::Cast(found) => self.cast(&found.expr, found.field.data_type(), TEXT_IN)?,
            Expr::TryCast(found) => self.cast(&found.expr, found.field.data_type(), TRY_TEXT_IN)?,
            Expr::BinaryExpr(binary) => self.arithmetic(binary)?,
            Expr::ScalarFunction(call) => self.call(call, &expr)?,
            _ => None,
        };
        Ok(match moved {
            Some(moved) => Transformed::yes(moved),
            None => Transformed::no(expr),
        })
    }

    fn cast(&self, value: &Expr, to: &DataType, of_text: &str) -> Result<Option<Expr>> {
        let from = value.get_type(self.schema)?;
        Ok(match (&from, to) {
            (from, to) if is_instant(from) && (*to == DataType::Date32 || *to == NAIVE) => {
                let local = self.local(value.clone());
                Some(if *to == NAIVE { local } else { cast(local, to) })
            }
            (DataType::Date32, to) if is_instant(to) => {
                Some(self.instant(cast(value.clone(), &NAIVE)))
            }
            (from, to) if *from == NAIVE && is_instant(to) => Some(self.instant(value.clone())),
            (DataType::Utf8, to) if is_instant(to) => {
                self.with_zone(of_text, vec![value.clone()]).map(|read| {
                    if *to == timestamp() {
                        read
                    } else {
                        cast(read, to)
                    }
                })
            }
            _ => None,
        })
    }

    /// Days and months are added on the clock, what is less than a day to the instant; what lies
    /// between two instants is what lies between their times on the clock.
    fn arithmetic(&self, binary: &BinaryExpr) -> Result<Option<Expr>> {
        let (left, right) = (binary.left.as_ref(), binary.right.as_ref());
        let types = (left.get_type(self.schema)?, right.get_type(self.schema)?);
        if !is_instant(&types.0) {
            return Ok(None);
        }
        Ok(match (binary.op, &types.1) {
            (Operator::Minus, of_right) if is_instant(of_right) => {
                let (left, right) = (self.local(left.clone()), self.local(right.clone()));
                Some(Expr::BinaryExpr(BinaryExpr::new(
                    Box::new(left),
                    Operator::Minus,
                    Box::new(right),
                )))
            }
            (Operator::Plus | Operator::Minus, of_right) if is_interval(of_right) => {
                let by = match right {
                    Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(all)), _) => split(*all),
                    _ => right.clone(),
                };
                let by = if binary.op == Operator::Minus {
                    negated(by, of_right)
                } else {
                    Some(by)
                };
                by.and_then(|by| self.with_zone(PLUS, vec![left.clone(), by]))
            }
            _ => None,
        })
    }

    fn call(&self, call: &ScalarFunction, expr: &Expr) -> Result<Option<Expr>> {
        if let Some(function) = clock::clock(&call.func) {
            return Ok(self.clock(function.data_type()));
        }
        let name = call.name();
        let types = call
            .args
            .iter()
            .map(|argument| argument.get_type(self.schema))
            .collect::<Result<Vec<_>>>()?;
        let first = types.first().unwrap_or(&DataType::Null);
        let arguments = call.args.clone();
        Ok(match (name, arguments.as_slice()) {
            (CAST | TRY_CAST, [_, _]) if first.is_nested() => {
                let name = if name == CAST { CAST_IN } else { TRY_CAST_IN };
                self.with_zone(name, arguments)
            }
            ("from_json" | "to_json" | "from_csv" | "to_csv", _) => self.format(name, arguments),
            (CAST | TRY_CAST, [value, _]) => {
                let of_text = if name == CAST { TEXT_IN } else { TRY_TEXT_IN };
                self.cast(value, &expr.get_type(self.schema)?, of_text)?
            }
            ("time_bucket" | "sequence", [_, ..]) => self.between(call, &types),
            ("date_trunc", [unit, time]) if types.get(1).is_some_and(is_instant) => {
                let local = vec![unit.clone(), self.local(time.clone())];
                Some(self.instant(called(&call.func, local)))
            }
            ("date_format", [time, pattern]) if is_instant(first) => {
                self.with_zone(FORMAT_IN, vec![time.clone(), pattern.clone()])
            }
            ("from_unixtime", [seconds, rest @ ..]) => {
                let pattern = rest
                    .first()
                    .cloned()
                    .unwrap_or_else(|| text(DEFAULT_PATTERN));
                let instant = time_call("timestamp_seconds", seconds.clone());
                self.with_zone(FORMAT_IN, vec![instant, pattern])
            }
            ("make_timestamp", _) => {
                let naive = time_function("make_timestamp_ntz");
                naive.map(|naive| self.instant(called(&naive, arguments)))
            }
            ("to_timestamp" | "unix_timestamp" | "try_to_timestamp", [value, rest @ ..]) => {
                let instant = self.read(name, value, first, rest.first());
                instant.map(|instant| match name {
                    "unix_timestamp" => time_call(name, instant),
                    _ => instant,
                })
            }
            _ if OF_FIELDS.contains(&name) && types.iter().any(is_instant) => {
                let local = arguments.into_iter().zip(&types).map(|(argument, found)| {
                    if is_instant(found) {
                        self.local(argument)
                    } else {
                        argument
                    }
                });
                Some(called(&call.func, local.collect()))
            }
            _ => None,
        })
    }

    /// JSON and CSV: the zone stands before the options, which may name another.
    fn format(&self, name: &str, mut arguments: Vec<Expr>) -> Option<Expr> {
        let (name, at) = match name {
            "from_json" => (json::FROM_JSON_IN, 2),
            "to_json" => (json::TO_JSON_IN, 1),
            "from_csv" => (csv::FROM_CSV_IN, 2),
            _ => (csv::TO_CSV_IN, 1),
        };
        arguments.insert(at.min(arguments.len()), text(self.zone.name()));
        Some(called(&function(name)?, arguments))
    }

    /// Buckets and sequences are on the clock.
    fn between(&self, call: &ScalarFunction, types: &[DataType]) -> Option<Expr> {
        if !types.iter().any(is_instant) {
            return None;
        }
        let arguments = call.args.iter().zip(types).map(|(argument, found)| {
            if is_instant(found) {
                self.local(argument.clone())
            } else {
                argument.clone()
            }
        });
        let local = called(&call.func, arguments.collect());
        if call.name() == "sequence" {
            return self.with_zone(INSTANTS, vec![local]);
        }
        Some(self.instant(local))
    }

    /// What the clock shows now.
    fn clock(&self, wanted: &DataType) -> Option<Expr> {
        let now = clock::functions()
            .into_iter()
            .find(|function| clock::clock(function).is_some_and(|of| is_instant(of.data_type())))?;
        let now = Expr::ScalarFunction(ScalarFunction::new_udf(now, Vec::new()));
        match wanted {
            DataType::Date32 => Some(cast(self.local(now), wanted)),
            wanted if *wanted == NAIVE => Some(self.local(now)),
            _ => None,
        }
    }

    /// The instant that a function reads from a text, a date or a local time.
    fn read(
        &self,
        name: &str,
        value: &Expr,
        found: &DataType,
        pattern: Option<&Expr>,
    ) -> Option<Expr> {
        let tries = name.starts_with("try_");
        match (found, pattern) {
            (DataType::Utf8, Some(pattern)) => {
                let read = if tries { TRY_READ_IN } else { READ_IN };
                self.with_zone(read, vec![value.clone(), pattern.clone()])
            }
            (DataType::Utf8, None) => {
                let read = if tries { TRY_TEXT_IN } else { TEXT_IN };
                self.with_zone(read, vec![value.clone()])
            }
            (DataType::Date32, _) => Some(self.instant(cast(value.clone(), &NAIVE))),
            (found, _) if *found == NAIVE => Some(self.instant(value.clone())),
            _ => None,
        }
    }
}

/// A literal with whole days apart from the rest.
fn split(mut all: IntervalMonthDayNano) -> Expr {
    let day = DAY * 1000;
    let days = i64::from(all.days) + all.nanoseconds / day;
    if let Ok(days) = i32::try_from(days) {
        (all.days, all.nanoseconds) = (days, all.nanoseconds % day);
    }
    Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(all)), None)
}

/// The interval as long in the other direction.
fn negated(interval: Expr, data_type: &DataType) -> Option<Expr> {
    if *data_type == DAY_TIME {
        let minus_one = Expr::Literal(ScalarValue::Int32(Some(-1)), None);
        let function = intervals::hidden_function(intervals::TIMES)?;
        return Some(called(&function, vec![interval, minus_one]));
    }
    Some(Expr::Negative(Box::new(interval)))
}

fn called(function: &Arc<ScalarUDF>, arguments: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), arguments))
}
