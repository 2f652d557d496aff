//! Operators of Rust as operators of a query.

use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Rem, Sub};

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

use super::{Column, nested};

macro_rules! operators {
    ($($operator:ident, $method:ident, $op:ident;)*) => {
        $(impl<C: Into<Column>> $operator<C> for Column {
            type Output = Column;

            fn $method(self, other: C) -> Column {
                self.binary(BinaryOperator::$op, other)
            }
        })*
    };
}

operators! {
    Add, add, Plus;
    Sub, sub, Minus;
    Mul, mul, Multiply;
    Div, div, Divide;
    Rem, rem, Modulo;
    BitAnd, bitand, And;
    BitOr, bitor, Or;
}

impl Neg for Column {
    type Output = Column;

    fn neg(self) -> Column {
        self.map(|expr| Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: Box::new(nested(expr)),
        })
    }
}

impl Not for Column {
    type Output = Column;

    fn not(self) -> Column {
        self.map(|expr| Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(nested(expr)),
        })
    }
}
