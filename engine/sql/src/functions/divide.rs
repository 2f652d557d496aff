//! Spark's `/`: doubles for integers, exact decimals with Spark's scale, an error for zero; and the
//! other operations where a decimal would get more digits than there are.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array},
    datatypes::{DataType, Decimal128Type, Float64Type, i256},
    error::ArrowError,
};
use datafusion::{
    common::{DataFusionError, Result},
    logical_expr::{
        ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility, expr::ScalarFunction,
    },
};

use crate::SqlError;

/// Digits of a decimal.
const PRECISION_MAX: i32 = 38;
/// Digits behind the point that Spark keeps when a result is too wide.
const SCALE_KEPT: i32 = 6;

/// `+`, `-` or `*` of decimals whose result has more digits than there are.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Wide {
    operator: Operator,
    signature: Signature,
}

/// The operation with Spark's scale, if the exact result may be too wide for a decimal.
pub(crate) fn wide(
    left: Expr,
    operator: Operator,
    right: Expr,
    types: [(u8, i8); 2],
) -> Option<Expr> {
    let (precision, _) = exact(operator, types)?;
    if precision <= PRECISION_MAX {
        return None;
    }
    let function = ScalarUDF::from(Wide {
        operator,
        signature: Signature::user_defined(Volatility::Immutable),
    });
    let arguments = vec![left, right];
    let call = ScalarFunction::new_udf(Arc::new(function), arguments);
    Some(Expr::ScalarFunction(call))
}

/// Precision and scale of an exact result.
fn exact(operator: Operator, [left, right]: [(u8, i8); 2]) -> Option<(i32, i32)> {
    let (p1, s1) = (i32::from(left.0), i32::from(left.1));
    let (p2, s2) = (i32::from(right.0), i32::from(right.1));
    match operator {
        Operator::Plus | Operator::Minus => {
            let scale = s1.max(s2);
            Some(((p1 - s1).max(p2 - s2) + scale + 1, scale))
        }
        Operator::Multiply => Some((p1 + p2 + 1, s1 + s2)),
        // What is computed on the way has more digits than the rest.
        Operator::Modulo => {
            let scale = s1.max(s2);
            Some(((p1 - s1).max(p2 - s2) + scale, scale))
        }
        _ => None,
    }
}

impl ScalarUDFImpl for Wide {
    fn name(&self) -> &str {
        match self.operator {
            Operator::Plus => "add",
            Operator::Minus => "subtract",
            Operator::Modulo => "remainder",
            _ => "multiply",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        if let [DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)] = arg_types
            && let Some((precision, scale)) = exact(self.operator, [(*p1, *s1), (*p2, *s2)])
        {
            let (precision, scale) = match self.operator {
                Operator::Modulo => {
                    let whole =
                        (i32::from(*p1) - i32::from(*s1)).min(i32::from(*p2) - i32::from(*s2));
                    adjusted(whole + scale, scale)
                }
                _ => adjusted(precision, scale),
            };
            return Ok(DataType::Decimal128(precision, scale));
        }
        Err(SqlError::Types {
            message: format!("cannot {} {arg_types:?}", self.name()),
        }
        .into_datafusion())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let left = args.args[0].to_array(args.number_rows)?;
        let right = args.args[1].to_array(args.number_rows)?;
        let left = left.as_primitive::<Decimal128Type>();
        let right = right.as_primitive::<Decimal128Type>();
        let DataType::Decimal128(precision, scale) = *args.return_field.data_type() else {
            return Err(SqlError::internal("a decimal became something else").into_datafusion());
        };
        let (s1, s2) = (i32::from(left.scale()), i32::from(right.scale()));
        let common = s1.max(s2);
        let mut out = Decimal128Array::builder(left.len());
        for pair in left.iter().zip(right) {
            let (Some(l), Some(r)) = pair else {
                out.append_null();
                continue;
            };
            let (l, r) = (i256::from_i128(l), i256::from_i128(r));
            let result = match self.operator {
                Operator::Multiply => l.checked_mul(r).map(|product| (product, s1 + s2)),
                operator => {
                    let l = power(common - s1).and_then(|up| l.checked_mul(up));
                    let r = power(common - s2).and_then(|up| r.checked_mul(up));
                    if operator == Operator::Modulo && r == Some(i256::ZERO) {
                        return Err(zero());
                    }
                    let sum = l.zip(r).and_then(|(l, r)| match operator {
                        Operator::Plus => l.checked_add(r),
                        Operator::Modulo => l.checked_rem(r),
                        _ => l.checked_sub(r),
                    });
                    sum.map(|sum| (sum, common))
                }
            };
            let rounded = result
                .and_then(|(value, from)| rounded(value, from - i32::from(scale)))
                .filter(|value| {
                    power(i32::from(precision))
                        .is_some_and(|limit| *value < limit && *value > limit.wrapping_neg())
                })
                .and_then(i256::to_i128)
                .ok_or_else(overflow)?;
            out.append_value(rounded);
        }
        let out = out.finish().with_precision_and_scale(precision, scale)?;
        Ok(ColumnarValue::Array(Arc::new(out)))
    }
}

fn overflow() -> DataFusionError {
    DataFusionError::Execution(
        "[NUMERIC_VALUE_OUT_OF_RANGE] a decimal has more digits than its type".into(),
    )
}

fn power(exponent: i32) -> Option<i256> {
    let exponent = u32::try_from(exponent).ok()?;
    i256::from_i128(10).checked_pow(exponent)
}

/// A value with so many digits less, rounded half up.
fn rounded(value: i256, digits: i32) -> Option<i256> {
    if digits <= 0 {
        return value.checked_mul(power(-digits)?);
    }
    let unit = power(digits)?;
    let half = unit.checked_div(i256::from_i128(2))?;
    let shifted = if value.is_negative() {
        value.checked_sub(half)
    } else {
        value.checked_add(half)
    };
    shifted?.checked_div(unit)
}

/// `div`: the whole part of a quotient of decimals.
pub(super) fn whole_quotients(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    let left = left.as_primitive::<Decimal128Type>();
    let right = right.as_primitive::<Decimal128Type>();
    let (s1, s2) = (i32::from(left.scale()), i32::from(right.scale()));
    let common = s1.max(s2);
    let (up_left, up_right) = (power(common - s1), power(common - s2));
    let mut out = Int64Array::builder(left.len());
    for pair in left.iter().zip(right) {
        let (Some(l), Some(r)) = pair else {
            out.append_null();
            continue;
        };
        if r == 0 {
            return Err(zero());
        }
        let l = up_left.and_then(|up| i256::from_i128(l).checked_mul(up));
        let r = up_right.and_then(|up| i256::from_i128(r).checked_mul(up));
        let quotient = l.zip(r).and_then(|(l, r)| l.checked_div(r)?.to_i128());
        let quotient = quotient.and_then(|quotient| i64::try_from(quotient).ok());
        out.append_value(quotient.ok_or_else(overflow)?);
    }
    Ok(Arc::new(out.finish()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Divide {
    signature: Signature,
}

/// `left / right`; both are doubles or both are decimals.
pub(crate) fn divide(left: Expr, right: Expr) -> Expr {
    let function = ScalarUDF::from(Divide {
        signature: Signature::user_defined(Volatility::Immutable),
    });
    Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(function),
        vec![left, right],
    ))
}

/// Precision and scale of a quotient.
pub(crate) fn quotient(left: (u8, i8), right: (u8, i8)) -> (u8, i8) {
    let (p1, s1) = (i32::from(left.0), i32::from(left.1));
    let (p2, s2) = (i32::from(right.0), i32::from(right.1));
    let scale = SCALE_KEPT.max(s1 + p2 + 1);
    adjusted(p1 - s1 + s2 + scale, scale)
}

/// A type that is too wide loses digits behind the point, but not the last six.
fn adjusted(precision: i32, scale: i32) -> (u8, i8) {
    let (precision, scale) = if precision > PRECISION_MAX {
        let whole = precision - scale;
        let scale = (PRECISION_MAX - whole).max(scale.min(SCALE_KEPT));
        (PRECISION_MAX, scale)
    } else {
        (precision, scale)
    };
    (
        u8::try_from(precision).unwrap_or(38),
        i8::try_from(scale).unwrap_or(6),
    )
}

impl ScalarUDFImpl for Divide {
    fn name(&self) -> &str {
        "divide"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)] => {
                let (p, s) = quotient((*p1, *s1), (*p2, *s2));
                Ok(DataType::Decimal128(p, s))
            }
            [DataType::Float64, DataType::Float64] => Ok(DataType::Float64),
            other => Err(SqlError::Types {
                message: format!("cannot divide {other:?}"),
            }
            .into_datafusion()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let left = args.args[0].to_array(args.number_rows)?;
        let right = args.args[1].to_array(args.number_rows)?;
        let quotients = match args.return_field.data_type() {
            DataType::Decimal128(p, s) => decimals(&left, &right, *p, *s)?,
            _ => doubles(&left, &right)?,
        };
        Ok(ColumnarValue::Array(quotients))
    }
}

fn zero() -> DataFusionError {
    DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None)
}

fn doubles(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    let left = left.as_primitive::<Float64Type>();
    let right = right.as_primitive::<Float64Type>();
    let mut out = Float64Array::builder(left.len());
    for pair in left.iter().zip(right) {
        match pair {
            (Some(_), Some(0.0)) => return Err(zero()),
            (Some(l), Some(r)) => out.append_value(l / r),
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn decimals(left: &ArrayRef, right: &ArrayRef, precision: u8, scale: i8) -> Result<ArrayRef> {
    let left = left.as_primitive::<Decimal128Type>();
    let right = right.as_primitive::<Decimal128Type>();
    // One digit more than the result, so that it can be rounded half up.
    let shift = i32::from(scale) + 1 - i32::from(left.scale()) + i32::from(right.scale());
    let (up, down) = if shift >= 0 { (shift, 0) } else { (0, -shift) };
    let (up, down) = power(up).zip(power(down)).ok_or_else(overflow)?;
    let limit = power(i32::from(precision)).ok_or_else(overflow)?;
    let ten = i256::from_i128(10);
    let mut out = Decimal128Array::builder(left.len());
    for pair in left.iter().zip(right) {
        let (Some(l), Some(r)) = pair else {
            out.append_null();
            continue;
        };
        if r == 0 {
            return Err(zero());
        }
        let quotient = i256::from_i128(l)
            .checked_mul(up)
            .zip(i256::from_i128(r).checked_mul(down))
            .and_then(|(l, r)| l.checked_div(r))
            .ok_or_else(overflow)?;
        let half = i256::from_i128(if (l < 0) == (r < 0) { 5 } else { -5 });
        let rounded = quotient
            .checked_add(half)
            .and_then(|sum| sum.checked_div(ten))
            .filter(|value| *value < limit && *value > limit.wrapping_neg())
            .and_then(i256::to_i128)
            .ok_or_else(overflow)?;
        out.append_value(rounded);
    }
    let out = out.finish().with_precision_and_scale(precision, scale)?;
    Ok(Arc::new(out))
}
