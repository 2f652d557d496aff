//! Calls with OVER: names and frames as the library's planner wants them.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Interval, ObjectName,
    Value, WindowFrameBound, WindowType,
};

use crate::functions::intervals::{MICROS, MONTHS};

/// `first` and `last` of a frame have other names.
pub(super) fn name(expr: &mut Expr) {
    let Expr::Function(call) = expr else { return };
    if call.over.is_none() {
        return;
    }
    let plain = match call.name.to_string().to_lowercase().as_str() {
        "first" => "first_value",
        "last" => "last_value",
        _ => return,
    };
    call.name = ObjectName::from(vec![Ident::new(plain)]);
}

/// The bounds of a frame, after their parts are resolved: an interval there must be a literal of the
/// planner's own and not the call that stands for it elsewhere.
pub(crate) fn bounds(call: &mut Function) {
    let Some(WindowType::WindowSpec(spec)) = &mut call.over else {
        return;
    };
    let Some(frame) = &mut spec.window_frame else {
        return;
    };
    for bound in [Some(&mut frame.start_bound), frame.end_bound.as_mut()] {
        if let Some(
            WindowFrameBound::Preceding(Some(offset)) | WindowFrameBound::Following(Some(offset)),
        ) = bound
            && let Some(interval) = interval(offset)
        {
            **offset = interval;
        }
    }
}

/// The literal of an interval that became a call.
fn interval(expr: &Expr) -> Option<Expr> {
    let Expr::Function(Function {
        name,
        args: FunctionArguments::List(list),
        ..
    }) = expr
    else {
        return None;
    };
    let unit = match name.to_string().as_str() {
        MICROS => "microseconds",
        MONTHS => "months",
        _ => return None,
    };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) = list.args.first()? else {
        return None;
    };
    let Value::Number(count, _) = &value.value else {
        return None;
    };
    let text = Value::SingleQuotedString(format!("{count} {unit}"));
    Some(Expr::Interval(Interval {
        value: Box::new(Expr::Value(text.with_span(value.span))),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    }))
}
