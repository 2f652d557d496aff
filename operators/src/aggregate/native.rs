//! count, sum, avg, min and max over plain vectors: in place, signed where that has a meaning.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, Float64Array, Int64Array, PrimitiveArray,
    },
    datatypes::{
        ArrowNativeTypeOp, DataType, Date32Type, Decimal128Type, Field, FieldRef, Float32Type,
        Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    },
};

use super::{
    AggregateCall,
    function::{Function, Rows},
};
use crate::error::{OperatorError, Result};

/// Which native function serves a call, if one does.
enum Kind {
    Count,
    SumInt,
    SumDecimal(DataType),
    SumDouble,
    AvgDouble,
    AvgDecimal { sum: DataType, result: DataType },
    Extreme { data_type: DataType, greatest: bool },
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "arrow has more types than this function serves"
)]
fn kind(call: &AggregateCall) -> Option<Kind> {
    let function = &call.function;
    if function.is_distinct() {
        return None;
    }
    let result = function.field().data_type().clone();
    let argument = call.argument_types.first().cloned();
    match (function.fun().name(), argument) {
        ("count", _) => Some(Kind::Count),
        ("sum", Some(DataType::Int64)) if result == DataType::Int64 => Some(Kind::SumInt),
        ("sum", Some(DataType::Float64)) if result == DataType::Float64 => Some(Kind::SumDouble),
        ("sum", Some(DataType::Decimal128(_, _))) => match result {
            DataType::Decimal128(_, _) => Some(Kind::SumDecimal(result)),
            _ => None,
        },
        ("avg", Some(DataType::Float64)) if result == DataType::Float64 => Some(Kind::AvgDouble),
        ("avg", Some(DataType::Decimal128(_, scale))) => match result {
            DataType::Decimal128(_, _) => Some(Kind::AvgDecimal {
                sum: DataType::Decimal128(38, scale),
                result,
            }),
            _ => None,
        },
        ("min" | "max", Some(data_type)) if ordered(&data_type) && data_type == result => {
            let greatest = function.fun().name() == "max";
            Some(Kind::Extreme {
                data_type,
                greatest,
            })
        }
        _ => None,
    }
}

/// Whether a native function serves a call even where rows are taken back.
pub(super) fn takes_back(call: &AggregateCall) -> bool {
    kind(call).is_some_and(|kind| !matches!(kind, Kind::Extreme { .. }))
}

fn ordered(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal128(_, _)
            | DataType::Timestamp(TimeUnit::Microsecond, _)
    )
}

/// State columns of a native function; `None` if the call has none.
pub(super) fn state_fields(call: &AggregateCall) -> Option<Vec<FieldRef>> {
    let field = |name: &str, data_type: DataType| Arc::new(Field::new(name, data_type, true));
    let counted =
        |data_type: DataType| vec![field("sum", data_type), field("count", DataType::Int64)];
    Some(match kind(call)? {
        Kind::Count => vec![field("count", DataType::Int64)],
        Kind::SumInt => counted(DataType::Int64),
        Kind::SumDecimal(data_type) => counted(data_type),
        Kind::SumDouble | Kind::AvgDouble => counted(DataType::Float64),
        Kind::AvgDecimal { sum, .. } => counted(sum),
        Kind::Extreme { data_type, .. } => vec![field("value", data_type)],
    })
}

/// A native function; `None` if the call has none.
pub(super) fn function(call: &AggregateCall) -> Option<Box<dyn Function>> {
    Some(match kind(call)? {
        Kind::Count => Box::new(Count { counts: Vec::new() }),
        Kind::SumInt => Box::new(Sum::<Int64Type>::new(DataType::Int64)),
        Kind::SumDecimal(data_type) => Box::new(Sum::<Decimal128Type>::new(data_type)),
        Kind::SumDouble => Box::new(Sum::<Float64Type>::new(DataType::Float64)),
        Kind::AvgDouble => Box::new(Avg {
            sum: Sum::<Float64Type>::new(DataType::Float64),
            result: DataType::Float64,
        }),
        Kind::AvgDecimal { sum, result } => Box::new(Avg {
            sum: Sum::<Decimal128Type>::new(sum),
            result,
        }),
        Kind::Extreme {
            data_type,
            greatest,
        } => extreme(data_type, greatest)?,
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "arrow has more types than this function serves"
)]
fn extreme(data_type: DataType, greatest: bool) -> Option<Box<dyn Function>> {
    fn of<T: ArrowPrimitiveType>(data_type: DataType, greatest: bool) -> Option<Box<dyn Function>> {
        Some(Box::new(Extreme::<T> {
            data_type,
            greatest,
            values: Vec::new(),
            seen: Vec::new(),
        }))
    }
    match &data_type {
        DataType::Int8 => of::<Int8Type>(data_type, greatest),
        DataType::Int16 => of::<Int16Type>(data_type, greatest),
        DataType::Int32 => of::<Int32Type>(data_type, greatest),
        DataType::Int64 => of::<Int64Type>(data_type, greatest),
        DataType::Date32 => of::<Date32Type>(data_type, greatest),
        DataType::Float32 => of::<Float32Type>(data_type, greatest),
        DataType::Float64 => of::<Float64Type>(data_type, greatest),
        DataType::Decimal128(_, _) => of::<Decimal128Type>(data_type, greatest),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            of::<TimestampMicrosecondType>(data_type, greatest)
        }
        _ => None,
    }
}

fn column<T: ArrowPrimitiveType>(columns: &[ArrayRef], index: usize) -> Result<&PrimitiveArray<T>> {
    columns
        .get(index)
        .and_then(|column| column.as_primitive_opt::<T>())
        .ok_or_else(|| OperatorError::contract("an aggregate was given columns of another type"))
}

fn overflow(what: &str) -> OperatorError {
    OperatorError::Expression {
        what: what.to_owned(),
        source: datafusion_common::DataFusionError::ArrowError(
            Box::new(arrow::error::ArrowError::ArithmeticOverflow(
                "ARITHMETIC_OVERFLOW".to_owned(),
            )),
            None,
        ),
    }
}

/// `count(*)` and `count(x, …)`: rows in which no argument is null.
struct Count {
    counts: Vec<i64>,
}

impl Function for Count {
    fn width(&self) -> usize {
        1
    }

    fn resize(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let nullable = rows
            .arguments
            .iter()
            .any(|argument| argument.null_count() > 0);
        if !nullable && rows.filter.is_none() && rows.signs.is_none() {
            for group in rows.groups {
                self.counts[*group as usize] += 1;
            }
            return Ok(());
        }
        for (row, group) in rows.groups.iter().enumerate() {
            let complete =
                !nullable || rows.arguments.iter().all(|argument| argument.is_valid(row));
            if complete && rows.counts(row) {
                self.counts[*group as usize] += rows.sign(row);
            }
        }
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()> {
        for (group, count) in groups.iter().zip(column::<Int64Type>(state, 0)?.values()) {
            self.counts[*group as usize] += count;
        }
        Ok(())
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(
            groups.iter().map(|group| self.counts[*group as usize]),
        )))
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * 8
    }
}

/// How a sum adds and what a signed value is.
trait Summable: ArrowPrimitiveType {
    fn signed(value: Self::Native, sign: i64) -> Option<Self::Native>;
    fn add(a: Self::Native, b: Self::Native) -> Option<Self::Native>;
}

impl Summable for Int64Type {
    #[inline]
    fn signed(value: i64, sign: i64) -> Option<i64> {
        value.checked_mul(sign)
    }
    #[inline]
    fn add(a: i64, b: i64) -> Option<i64> {
        a.checked_add(b)
    }
}

impl Summable for Decimal128Type {
    #[inline]
    fn signed(value: i128, sign: i64) -> Option<i128> {
        value.checked_mul(i128::from(sign))
    }
    #[inline]
    fn add(a: i128, b: i128) -> Option<i128> {
        a.checked_add(b)
    }
}

impl Summable for Float64Type {
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "signs are small numbers")]
    fn signed(value: f64, sign: i64) -> Option<f64> {
        Some(value * sign as f64)
    }
    #[inline]
    fn add(a: f64, b: f64) -> Option<f64> {
        Some(a + b)
    }
}

/// Sums with the number of values, so that a group of nulls, or one that was emptied, is null.
struct Sum<T: ArrowPrimitiveType> {
    data_type: DataType,
    sums: Vec<T::Native>,
    counts: Vec<i64>,
}

impl<T: Summable> Sum<T> {
    fn new(data_type: DataType) -> Sum<T> {
        Sum {
            data_type,
            sums: Vec::new(),
            counts: Vec::new(),
        }
    }

    #[inline]
    fn add(&mut self, group: u32, value: T::Native, count: i64) -> Result<()> {
        let group = group as usize;
        self.sums[group] = T::add(self.sums[group], value).ok_or_else(|| overflow("sum"))?;
        self.counts[group] += count;
        Ok(())
    }

    fn column(&self, groups: &[u32]) -> PrimitiveArray<T> {
        let value = |group: &u32| {
            let group = *group as usize;
            (self.counts[group] != 0).then(|| self.sums[group])
        };
        groups
            .iter()
            .map(value)
            .collect::<PrimitiveArray<T>>()
            .with_data_type(self.data_type.clone())
    }
}

impl<T: Summable> Function for Sum<T> {
    fn width(&self) -> usize {
        2
    }

    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, T::Native::ZERO);
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let values = column::<T>(rows.arguments, 0)?;
        if values.null_count() == 0 && rows.filter.is_none() && rows.signs.is_none() {
            for (group, value) in rows.groups.iter().zip(values.values()) {
                self.add(*group, *value, 1)?;
            }
            return Ok(());
        }
        for (row, group) in rows.groups.iter().enumerate() {
            if values.is_valid(row) && rows.counts(row) {
                let sign = rows.sign(row);
                let value = T::signed(values.value(row), sign).ok_or_else(|| overflow("sum"))?;
                self.add(*group, value, sign)?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let (sums, counts) = (column::<T>(state, 0)?, column::<Int64Type>(state, 1)?);
        for (row, group) in groups.iter().enumerate() {
            if sums.is_valid(row) {
                self.add(*group, sums.value(row), counts.value(row))?;
            }
        }
        Ok(())
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let counts = groups.iter().map(|group| self.counts[*group as usize]);
        // As many rows may come as go: a count of 0 with a sum is a part of one that others hold.
        let sums = groups.iter().map(|group| self.sums[*group as usize]);
        let sums = PrimitiveArray::<T>::from_iter_values(sums);
        Ok(vec![
            Arc::new(sums.with_data_type(self.data_type.clone())),
            Arc::new(Int64Array::from_iter_values(counts)),
        ])
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let column: ArrayRef = Arc::new(self.column(groups));
        if let DataType::Decimal128(precision, _) = self.data_type {
            let decimals = column.as_primitive::<Decimal128Type>();
            decimals
                .validate_decimal_precision(precision)
                .map_err(|_| overflow("sum"))?;
        }
        Ok(column)
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>() + self.counts.capacity() * 8
    }
}

/// A mean: a sum that divides when it is read.
struct Avg<T: ArrowPrimitiveType> {
    sum: Sum<T>,
    result: DataType,
}

impl<T: Summable> Function for Avg<T>
where
    Sum<T>: Mean,
{
    fn width(&self) -> usize {
        self.sum.width()
    }
    fn resize(&mut self, groups: usize) {
        self.sum.resize(groups);
    }
    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        self.sum.update(rows)
    }
    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()> {
        self.sum.merge(state, groups)
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.sum.state(groups)
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        self.sum.mean(groups, &self.result)
    }
    fn bytes(&self) -> usize {
        self.sum.bytes()
    }
}

trait Mean {
    fn mean(&self, groups: &[u32], result: &DataType) -> Result<ArrayRef>;
}

impl Mean for Sum<Float64Type> {
    #[expect(clippy::cast_precision_loss, reason = "a mean of doubles is a double")]
    fn mean(&self, groups: &[u32], _result: &DataType) -> Result<ArrayRef> {
        let mean = |group: &u32| {
            let group = *group as usize;
            (self.counts[group] != 0).then(|| self.sums[group] / self.counts[group] as f64)
        };
        Ok(Arc::new(groups.iter().map(mean).collect::<Float64Array>()))
    }
}

impl Mean for Sum<Decimal128Type> {
    /// Half up, at the scale of the result.
    fn mean(&self, groups: &[u32], result: &DataType) -> Result<ArrayRef> {
        let (DataType::Decimal128(precision, to), DataType::Decimal128(_, from)) =
            (result, &self.data_type)
        else {
            return Err(OperatorError::contract("a decimal mean has another type"));
        };
        let shift = u32::try_from(i16::from(*to) - i16::from(*from))
            .ok()
            .and_then(|digits| 10i128.checked_pow(digits))
            .ok_or_else(|| overflow("avg"))?;
        let mean = |group: &u32| -> Result<Option<i128>> {
            let group = *group as usize;
            let count = i128::from(self.counts[group]);
            if count == 0 {
                return Ok(None);
            }
            let scaled = self.sums[group]
                .checked_mul(shift)
                .ok_or_else(|| overflow("avg"))?;
            let (quotient, rest) = (scaled / count, scaled % count);
            let half_up = rest.unsigned_abs() * 2 >= count.unsigned_abs();
            let away = if (scaled < 0) == (count < 0) { 1 } else { -1 };
            Ok(Some(if half_up { quotient + away } else { quotient }))
        };
        let means = groups
            .iter()
            .map(mean)
            .collect::<Result<PrimitiveArray<Decimal128Type>>>()?;
        means
            .validate_decimal_precision(*precision)
            .map_err(|_| overflow("avg"))?;
        Ok(Arc::new(means.with_data_type(result.clone())))
    }
}

/// The least or greatest value; NaN is greater than every number, as in Spark.
struct Extreme<T: ArrowPrimitiveType> {
    data_type: DataType,
    greatest: bool,
    values: Vec<T::Native>,
    seen: Vec<bool>,
}

impl<T: ArrowPrimitiveType> Extreme<T> {
    #[inline]
    fn add(&mut self, group: u32, value: T::Native) {
        let group = group as usize;
        let wins = !self.seen[group]
            || if self.greatest {
                value.is_gt(self.values[group])
            } else {
                value.is_lt(self.values[group])
            };
        if wins {
            self.values[group] = value;
            self.seen[group] = true;
        }
    }
}

impl<T: ArrowPrimitiveType> Function for Extreme<T> {
    fn width(&self) -> usize {
        1
    }

    fn resize(&mut self, groups: usize) {
        self.values.resize(groups, T::Native::default());
        self.seen.resize(groups, false);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        // The planner keeps the values of a call whose input takes rows back.
        debug_assert!(
            rows.signs
                .is_none_or(|signs| signs.iter().all(|sign| *sign > 0))
        );
        let values = column::<T>(rows.arguments, 0)?;
        if values.null_count() == 0 && rows.filter.is_none() {
            for (group, value) in rows.groups.iter().zip(values.values()) {
                self.add(*group, *value);
            }
            return Ok(());
        }
        for (row, group) in rows.groups.iter().enumerate() {
            if values.is_valid(row) && rows.counts(row) {
                self.add(*group, values.value(row));
            }
        }
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let values = column::<T>(state, 0)?;
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) {
                self.add(*group, values.value(row));
            }
        }
        Ok(())
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let value = |group: &u32| {
            let group = *group as usize;
            self.seen[group].then(|| self.values[group])
        };
        let column: PrimitiveArray<T> = groups.iter().map(value).collect();
        Ok(Arc::new(column.with_data_type(self.data_type.clone())))
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.seen.capacity()
    }
}
