//! Operators over intervals: `interval * 2`, `date + interval`, `date - date`.
//!
//! While types are learnt, because DataFusion refuses most of these then. A literal beside a date or a
//! timestamp becomes DataFusion's own, so that a plan says the same as without these types.

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::{
    common::{DFSchema, Result, ScalarValue},
    logical_expr::{
        BinaryExpr, Cast, Expr, ExprSchemable, Operator,
        expr::ScalarFunction,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
    sql::sqlparser::ast::BinaryOperator,
};
use millstream_values::{
    civil::DAY,
    interval::{CALENDAR, DAY_TIME, YEAR_MONTH, is_interval},
};

use super::intervals::{MICROS, MONTHS, OVER, TIMES, hidden_function};
use crate::types::timestamp;

/// The least field of a literal that is of whole days.
pub(crate) const DAYS: &str = "DAY";

/// Plans operators over intervals.
#[derive(Debug)]
pub(crate) struct SparkIntervals;

impl ExprPlanner for SparkIntervals {
    fn plan_binary_op(
        &self,
        raw: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let types = (raw.left.get_type(schema)?, raw.right.get_type(schema)?);
        Ok(match planned(&raw, &types) {
            Some(expr) => PlannerResult::Planned(expr),
            None => PlannerResult::Original(raw),
        })
    }
}

fn is_span(data_type: &DataType) -> bool {
    *data_type == YEAR_MONTH || *data_type == DAY_TIME
}

fn planned(raw: &RawBinaryExpr, (left, right): &(DataType, DataType)) -> Option<Expr> {
    let is_time = |found: &DataType| matches!(found, DataType::Date32 | DataType::Timestamp(..));
    match &raw.op {
        BinaryOperator::Multiply if is_span(left) && right.is_numeric() => {
            scaled(TIMES, &raw.left, &raw.right)
        }
        BinaryOperator::Multiply if left.is_numeric() && is_span(right) => {
            scaled(TIMES, &raw.right, &raw.left)
        }
        BinaryOperator::Divide if is_span(left) && right.is_numeric() => {
            scaled(OVER, &raw.left, &raw.right)
        }
        BinaryOperator::Plus if is_interval(left) && is_time(right) => {
            Some(moved(&raw.right, right, Operator::Plus, &raw.left, left))
        }
        BinaryOperator::Plus if is_time(left) && is_interval(right) => {
            Some(moved(&raw.left, left, Operator::Plus, &raw.right, right))
        }
        BinaryOperator::Minus if is_time(left) && is_interval(right) => {
            Some(moved(&raw.left, left, Operator::Minus, &raw.right, right))
        }
        BinaryOperator::Minus
            if is_time(left)
                && is_time(right)
                && (*left == DataType::Date32 || *right == DataType::Date32) =>
        {
            let instant = |expr: &Expr, found: &DataType| match found {
                DataType::Timestamp(..) => expr.clone(),
                _ => as_type(expr, &beside(left, right)),
            };
            Some(binary(
                instant(&raw.left, left),
                Operator::Minus,
                instant(&raw.right, right),
            ))
        }
        _ => None,
    }
}

/// The type of time that a date beside another date or a time becomes.
fn beside(left: &DataType, right: &DataType) -> DataType {
    [left, right]
        .into_iter()
        .find(|found| matches!(found, DataType::Timestamp(..)))
        .cloned()
        .unwrap_or_else(timestamp)
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

fn as_type(expr: &Expr, to: &DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr.clone()), to.clone()))
}

fn scaled(name: &str, interval: &Expr, number: &Expr) -> Option<Expr> {
    let arguments = vec![interval.clone(), number.clone()];
    let call = ScalarFunction::new_udf(hidden_function(name)?, arguments);
    Some(Expr::ScalarFunction(call))
}

/// The interval that a literal says, and whether it is of whole days.
fn literal(expr: &Expr) -> Option<(IntervalMonthDayNano, bool)> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    let number = match call.args.first()? {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => *number,
        Expr::Literal(ScalarValue::Int32(Some(number)), _) => i64::from(*number),
        _ => return None,
    };
    let interval = |months: i64, days: i64, micros: i64| {
        Some(IntervalMonthDayNano {
            months: i32::try_from(months).ok()?,
            days: i32::try_from(days).ok()?,
            nanoseconds: micros.checked_mul(1000)?,
        })
    };
    if call.name() == MONTHS {
        return Some((interval(number, 0, 0)?, true));
    }
    if call.name() != MICROS {
        return None;
    }
    let least = match call.args.get(1)? {
        Expr::Literal(least, _) => least.try_as_str().flatten()?,
        _ => return None,
    };
    let of_days = least == DAYS && number % DAY == 0;
    let all = if of_days {
        interval(0, number / DAY, 0)?
    } else {
        interval(0, 0, number)?
    };
    Some((all, of_days))
}

/// A time before or after an interval. A date and hours are a timestamp.
fn moved(time: &Expr, of_time: &DataType, op: Operator, by: &Expr, of_by: &DataType) -> Expr {
    let (by, of_days) = match literal(by) {
        Some((all, of_days)) => {
            let all = ScalarValue::IntervalMonthDayNano(Some(all));
            (Expr::Literal(all, None), of_days)
        }
        // Arrow adds months to dates and times as intervals of all fields.
        None if *of_by == YEAR_MONTH => (as_type(by, &CALENDAR), true),
        None => (by.clone(), *of_by != DAY_TIME),
    };
    let time = if *of_time == DataType::Date32 && !of_days {
        as_type(time, &timestamp())
    } else {
        time.clone()
    };
    binary(time, op, by)
}
