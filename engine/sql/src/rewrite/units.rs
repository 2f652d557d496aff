//! Units of time that stand where an expression would: `dateadd(DAY, 1, t)`, `timestampdiff(MONTH, a, b)`,
//! `EXTRACT(SECOND FROM t)`.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, FunctionArguments, TimezoneInfo, Value,
};

use super::generate;
use crate::calls::called;
use crate::functions::{
    date_parts::DATE_PART,
    intervals::{MICROS, TIMES},
    spans::DIFFERENCE,
};

/// The places of `make_interval` that units count in, and how many of these a unit is.
const UNITS: [(&str, usize, u32); 8] = [
    ("YEAR", 0, 1),
    ("QUARTER", 1, 3),
    ("MONTH", 1, 1),
    ("WEEK", 2, 1),
    ("DAY", 3, 1),
    ("HOUR", 4, 1),
    ("MINUTE", 5, 1),
    ("SECOND", 6, 1),
];

/// Units that `make_interval` has no place for, in microseconds.
const SHORT: [(&str, u32); 2] = [("MILLISECOND", 1000), ("MICROSECOND", 1)];

/// Rewrites one expression.
pub(super) fn rewrite(expr: &mut Expr) {
    if let Expr::Extract {
        field, expr: time, ..
    } = &*expr
    {
        let field = Value::SingleQuotedString(field.to_string()).with_empty_span();
        *expr = called(DATE_PART, vec![Expr::Value(field), time.as_ref().clone()]);
        return;
    }
    let Expr::Function(call) = &*expr else { return };
    let FunctionArguments::List(list) = &call.args else {
        return;
    };
    let Some(arguments) = generate::plain(&list.args) else {
        return;
    };
    let [unit, second, third] = arguments.as_slice() else {
        return;
    };
    let unit = match unit {
        Expr::Identifier(name) => name.value.to_ascii_uppercase(),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(name) => name.to_ascii_uppercase(),
            _ => return,
        },
        _ => return,
    };
    match call.name.to_string().to_lowercase().as_str() {
        "timestampadd" | "dateadd" | "date_add" => {
            let number =
                |n: u32| Expr::Value(Value::Number(n.to_string(), false).with_empty_span());
            let span = if let Some((_, micros)) = SHORT.iter().find(|(name, _)| *name == unit) {
                let least = Value::SingleQuotedString("SECOND".to_owned()).with_empty_span();
                let one = called(MICROS, vec![number(*micros), Expr::Value(least)]);
                called(TIMES, vec![one, second.clone()])
            } else if let Some((_, place, factor)) = UNITS.iter().find(|(name, ..)| *name == unit) {
                let mut parts: Vec<Expr> = (0..7).map(|_| number(0)).collect();
                parts[*place] = if *factor == 1 {
                    second.clone()
                } else {
                    binary(second.clone(), BinaryOperator::Multiply, number(*factor))
                };
                called("make_interval", parts)
            } else {
                return;
            };
            let time = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(third.clone()),
                data_type: DataType::Timestamp(None, TimezoneInfo::None),
                array: false,
                format: None,
            };
            *expr = binary(time, BinaryOperator::Plus, span);
        }
        "timestampdiff" | "datediff" | "date_diff" => {
            let unit = Value::SingleQuotedString(unit).with_empty_span();
            *expr = called(
                DIFFERENCE,
                vec![Expr::Value(unit), second.clone(), third.clone()],
            );
        }
        _ => {}
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }))
}
