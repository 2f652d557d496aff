//! Literals of intervals: `INTERVAL '1-2' YEAR TO MONTH` is of months, `INTERVAL '1' DAY` of times.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Interval, UnaryOperator, Value,
};

use crate::calls::called;
use crate::{
    ddl::parse_interval,
    functions::{
        interval_operators::DAYS,
        intervals::{MICROS, MONTHS, TIMES},
    },
};

/// Functions whose intervals are lengths of windows, which they read as texts.
const WINDOWS: &[&str] = &["window", "session_window", "calendar_window"];

/// Rewrites one expression.
pub(super) fn rewrite(expr: &mut Expr) {
    match expr {
        Expr::Interval(interval) => {
            if let Some(literal) = text(interval).and_then(|text| literal(&text)) {
                *expr = literal;
            }
        }
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: inner,
        } if is_interval(inner) => {
            let minus_one = Value::Number("-1".to_owned(), false).with_empty_span();
            *expr = called(TIMES, vec![inner.as_ref().clone(), Expr::Value(minus_one)]);
        }
        Expr::Function(call) => {
            let name = call.name.to_string().to_lowercase();
            if !WINDOWS.contains(&name.as_str()) {
                return;
            }
            let FunctionArguments::List(list) = &mut call.args else {
                return;
            };
            for argument in &mut list.args {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(length)) = argument
                    && let Expr::Interval(interval) = &*length
                    && let Some(text) = text(interval)
                {
                    *length = Expr::Value(Value::SingleQuotedString(text).with_empty_span());
                }
            }
        }
        _ => {}
    }
}

/// Whether it says that it is one of times: DataFusion's minus refuses those.
fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Interval(_) => true,
        Expr::Nested(inner) => is_interval(inner),
        Expr::Function(call) => call
            .name
            .to_string()
            .eq_ignore_ascii_case("make_dt_interval"),
        _ => false,
    }
}

/// A literal as numbers and units: `10 MINUTE`, `1 DAY 2 HOUR`.
fn text(interval: &Interval) -> Option<String> {
    let number = match interval.value.as_ref() {
        Expr::Value(value) => plain(&value.value)?,
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => match expr.as_ref() {
            Expr::Value(value) => format!("-{}", plain(&value.value)?),
            _ => return None,
        },
        _ => return None,
    };
    Some(match &interval.leading_field {
        Some(unit) => format!("{} {unit}", number.trim()),
        None => number,
    })
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::SingleQuotedString(text) => Some(text.clone()),
        Value::Number(digits, _) => Some(digits.clone()),
        _ => None,
    }
}

/// The call that stands for it; nothing for one of months and days, or one that cannot be read.
fn literal(text: &str) -> Option<Expr> {
    let interval = parse_interval(text).ok()?;
    let lower = text.to_lowercase();
    let says = |units: &[&str]| units.iter().any(|unit| lower.contains(unit));
    let of_months = says(&["year", "month"]);
    let number = |digits: String| Expr::Value(Value::Number(digits, false).with_empty_span());
    match (of_months, interval.micros()) {
        (true, 0) => Some(called(MONTHS, vec![number(interval.months().to_string())])),
        (true, _) => None,
        (false, micros) => {
            let least = if says(&["hour", "minute", "sec"]) {
                "SECOND"
            } else {
                DAYS
            };
            let least = Value::SingleQuotedString(least.to_owned()).with_empty_span();
            Some(called(
                MICROS,
                vec![number(micros.to_string()), Expr::Value(least)],
            ))
        }
    }
}
