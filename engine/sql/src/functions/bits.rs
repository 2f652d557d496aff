//! What tells a number from others where values are counted: doubles have two zeros and many values that
//! are no number, which are one each.

use std::sync::Arc;

use arrow::{
    array::{AsArray, Int32Array, Int64Array},
    datatypes::{DataType, Float32Type, Float64Type},
};
use datafusion::logical_expr::ScalarUDF;

use super::simple::{Gives, Simple, Want};

/// The bits of a double, the same for what is the same; anything else as it is.
pub(crate) const BITS: &str = "__bits";

/// Those that only our rewriting calls.
pub(super) fn hidden() -> [Arc<ScalarUDF>; 1] {
    let gives = Gives::Of(|types, _| {
        Ok(match types.first() {
            Some(DataType::Float64) => DataType::Int64,
            Some(DataType::Float32) => DataType::Int32,
            other => other.cloned().unwrap_or(DataType::Null),
        })
    });
    let bits = Simple::new(BITS, &[Want::Any], gives, |call| {
        let values = &call.arguments[0];
        Ok(match values.data_type() {
            DataType::Float64 => {
                let one = |value: f64| {
                    if value.is_nan() {
                        f64::NAN
                    } else {
                        value + 0.0
                    }
                };
                let doubles = values.as_primitive::<Float64Type>();
                let bits: Int64Array = doubles.unary(|value| one(value).to_bits().cast_signed());
                Arc::new(bits)
            }
            DataType::Float32 => {
                let one = |value: f32| {
                    if value.is_nan() {
                        f32::NAN
                    } else {
                        value + 0.0
                    }
                };
                let singles = values.as_primitive::<Float32Type>();
                let bits: Int32Array = singles.unary(|value| one(value).to_bits().cast_signed());
                Arc::new(bits)
            }
            _ => Arc::clone(values),
        })
    });
    [bits.udf()]
}
