//! Functions of arrays of floats as vectors: norms, distances, products.
//!
//! A vector with a null in it has none of these. Tests: `tests/stream/functions/vectors.stream`.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Float32Array, ListArray},
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, Field, Float32Type},
};
use datafusion::{common::Result, logical_expr::ScalarUDF};

use super::{
    misfit::failed,
    simple::{Call, Gives, Simple, Want},
};
use crate::{SqlError, types::spark_name};

const TWO: &[Want] = &[Want::Any, Want::Any];
const FLOAT: Gives = Gives::Of(|types, _| check(types).map(|()| DataType::Float32));
const VECTOR: Gives = Gives::Of(|types, _| check(types).map(|()| vector_type()));

const TABLE: &[Simple] = &[
    Simple::new("vector_inner_product", TWO, FLOAT, |call| {
        pairs(call, |left, right| Some(product(left, right)))
    }),
    Simple::new("vector_cosine_similarity", TWO, FLOAT, |call| {
        pairs(call, |left, right| {
            let squares = product(left, left) * product(right, right);
            (squares != 0.0).then(|| product(left, right) / squares.sqrt())
        })
    }),
    Simple::new("vector_l2_distance", TWO, FLOAT, |call| {
        pairs(call, |left, right| {
            let apart = left.iter().zip(right);
            let apart = apart.map(|(l, r)| f64::from(*l) - f64::from(*r));
            Some(apart.fold(0.0, |sum, apart| sum + apart * apart).sqrt())
        })
    }),
    Simple::new("vector_norm", TWO, FLOAT, norms).optional(1),
    Simple::new("vector_normalize", TWO, VECTOR, normalized).optional(1),
];

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

fn vector_type() -> DataType {
    DataType::new_list(DataType::Float32, true)
}

/// Vectors are arrays of FLOAT and nothing else: doubles would lose digits unseen.
fn check(types: &[DataType]) -> Result<(), SqlError> {
    let fits = |found: &DataType| match found {
        DataType::List(item) => *item.data_type() == DataType::Float32,
        found => *found == DataType::Float32,
    };
    match types.iter().find(|found| !fits(found)) {
        None => Ok(()),
        Some(found) => Err(SqlError::Types {
            message: format!(
                "a vector is an ARRAY<FLOAT> and the degree of a norm a FLOAT, not {}",
                spark_name(found)
            ),
        }),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the result is a FLOAT")]
fn single(value: f64) -> f32 {
    value as f32
}

/// Sums are doubles, as Spark's are.
fn product(left: &[f32], right: &[f32]) -> f64 {
    let products = left.iter().zip(right);
    let products = products.map(|(l, r)| f64::from(*l) * f64::from(*r));
    products.fold(0.0, |sum, product| sum + product)
}

/// The numbers of a row; `None` if it is null or one of them is.
fn vector(list: &ListArray, row: usize) -> Option<&[f32]> {
    let bound = |at: usize| usize::try_from(list.value_offsets()[at]).unwrap_or(0);
    let (from, until) = (bound(row), bound(row + 1));
    let items = list.values().as_primitive::<Float32Type>();
    let whole = |nulls: &NullBuffer| (from..until).all(|at| nulls.is_valid(at));
    let there = list.is_valid(row) && items.nulls().is_none_or(whole);
    there.then(|| &items.values()[from..until])
}

fn pairs(call: &Call<'_>, of: fn(&[f32], &[f32]) -> Option<f64>) -> Result<ArrayRef> {
    let left = call.arguments[0].as_list::<i32>();
    let right = call.arguments[1].as_list::<i32>();
    let mut out = Float32Array::builder(call.rows);
    for row in 0..call.rows {
        let (Some(left), Some(right)) = (vector(left, row), vector(right, row)) else {
            out.append_null();
            continue;
        };
        if left.len() != right.len() {
            return Err(failed(format!(
                "[VECTOR_DIMENSION_MISMATCH] two vectors have not as many numbers left={} right={}",
                left.len(),
                right.len()
            )));
        }
        out.append_option(of(left, right).map(single));
    }
    Ok(Arc::new(out.finish()))
}

/// The degree of a norm.
#[derive(Clone, Copy)]
enum Degree {
    One,
    Two,
    Infinity,
}

impl Degree {
    fn new(degree: f32) -> Result<Degree> {
        match degree {
            1.0 => Ok(Degree::One),
            2.0 => Ok(Degree::Two),
            f32::INFINITY => Ok(Degree::Infinity),
            _ => Err(failed(format!(
                "[INVALID_VECTOR_NORM_DEGREE] a norm has the degree 1, 2 or infinity degree={degree}"
            ))),
        }
    }

    fn norm(self, vector: &[f32]) -> f64 {
        let sizes = vector.iter().map(|number| f64::from(number.abs()));
        match self {
            Degree::One => sizes.fold(0.0, |sum, size| sum + size),
            Degree::Two => product(vector, vector).sqrt(),
            Degree::Infinity => sizes.fold(0.0, f64::max),
        }
    }
}

/// The degree of a row, 2 where none is said; `None` for null.
fn degree(call: &Call<'_>, row: usize) -> Result<Option<Degree>> {
    let Some(degrees) = call.arguments.get(1) else {
        return Ok(Some(Degree::Two));
    };
    let degrees = degrees.as_primitive::<Float32Type>();
    let degree = degrees.is_valid(row).then(|| degrees.value(row));
    degree.map(Degree::new).transpose()
}

fn norms(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.arguments[0].as_list::<i32>();
    let norms = (0..call.rows).map(|row| {
        let degree = degree(call, row)?;
        Ok(vector(list, row)
            .zip(degree)
            .map(|(vector, degree)| single(degree.norm(vector))))
    });
    Ok(Arc::new(norms.collect::<Result<Float32Array>>()?))
}

fn normalized(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.arguments[0].as_list::<i32>();
    let (mut numbers, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..call.rows {
        let before = numbers.len();
        let mut there = false;
        if let Some((vector, degree)) = vector(list, row).zip(degree(call, row)?) {
            let norm = degree.norm(vector);
            there = norm != 0.0 || vector.is_empty();
            if there {
                let scaled = vector
                    .iter()
                    .map(|number| single(f64::from(*number) / norm));
                numbers.extend(scaled);
            }
        }
        lengths.push(numbers.len() - before);
        valid.push(there);
    }
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    Ok(Arc::new(ListArray::try_new(
        item,
        OffsetBuffer::from_lengths(lengths),
        Arc::new(Float32Array::from(numbers)),
        Some(NullBuffer::from(valid)),
    )?))
}
