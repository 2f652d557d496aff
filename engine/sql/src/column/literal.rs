//! Constants of Rust as constants of a query.

use datafusion::sql::sqlparser::ast::{Expr, UnaryOperator, Value};

use super::Column;
use crate::calls::called;

/// A constant.
#[must_use]
pub fn lit(value: impl Literal) -> Column {
    Column::of(value.literal())
}

/// A value that can be a constant of a query.
pub trait Literal {
    /// The expression that a text would have for it.
    fn literal(self) -> Expr;
}

pub(super) fn value(value: Value) -> Expr {
    Expr::Value(value.with_empty_span())
}

fn number(digits: &str, suffix: &str) -> Expr {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits),
    };
    let number = value(Value::Number(format!("{digits}{suffix}"), false));
    if sign {
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: Box::new(number),
        }
    } else {
        number
    }
}

macro_rules! whole_numbers {
    ($($number:ty, $suffix:literal;)*) => {
        $(impl Literal for $number {
            fn literal(self) -> Expr {
                number(&self.to_string(), $suffix)
            }
        })*
    };
}

whole_numbers! {
    i8, "Y";
    i16, "S";
    i32, "";
    i64, "L";
}

macro_rules! floats {
    ($($number:ty, $suffix:literal, $name:literal;)*) => {
        $(impl Literal for $number {
            fn literal(self) -> Expr {
                if self.is_finite() {
                    return number(&format!("{self:?}"), $suffix);
                }
                let text = if self.is_nan() { "NaN" } else if self > 0.0 { "Infinity" } else { "-Infinity" };
                called($name, vec![value(Value::SingleQuotedString(text.to_owned()))])
            }
        })*
    };
}

floats! {
    f32, "F", "float";
    f64, "D", "double";
}

impl Literal for bool {
    fn literal(self) -> Expr {
        value(Value::Boolean(self))
    }
}

impl Literal for &str {
    fn literal(self) -> Expr {
        value(Value::SingleQuotedString(self.to_owned()))
    }
}

impl Literal for String {
    fn literal(self) -> Expr {
        value(Value::SingleQuotedString(self))
    }
}

impl<T: Literal> Literal for Option<T> {
    fn literal(self) -> Expr {
        self.map_or_else(|| value(Value::Null), Literal::literal)
    }
}

macro_rules! constants {
    ($($constant:ty),*) => {
        $(impl From<$constant> for Column {
            fn from(value: $constant) -> Column {
                lit(value)
            }
        })*
    };
}

constants!(i8, i16, i32, i64, f32, f64, bool);
