//! Functions over plain vectors, in place and signed where that has a meaning: `count`, `min` and `max`,
//! and which of them are [`sums`], [`doubles`] and [`moments`].

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, Int64Array, PrimitiveArray},
    datatypes::{
        ArrowNativeTypeOp, DataType, Date32Type, Decimal128Type, Field, FieldRef, Float32Type,
        Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    },
};

use super::{
    AggregateCall,
    column::column,
    doubles::{DoubleSums, Reading},
    function::{Function, Rows},
    moments::{Moments, Statistic},
    sums::{self, DecimalMean, OnOverflow, Sum},
};
use crate::error::Result;

/// Which native function serves a call, if one does.
enum Kind {
    Count,
    Int(OnOverflow),
    Decimal(DataType, OnOverflow),
    Double(Reading),
    DecimalMean { sum: DataType, result: DataType },
    Moments(Statistic),
    Extreme { data_type: DataType, greatest: bool },
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "arrow has more types than this function serves"
)]
fn kind(call: &AggregateCall) -> Option<Kind> {
    let function = &call.function;
    if call.distinct {
        return None;
    }
    let result = function.field().data_type().clone();
    let argument = call.argument_types.first().cloned();
    let name = function.fun().name();
    if let Some(statistic) = Statistic::of(call) {
        return Some(Kind::Moments(statistic));
    }
    let on_overflow = match name {
        "try_sum" => OnOverflow::Null,
        _ => OnOverflow::Fail,
    };
    match (name, argument) {
        ("count", _) => Some(Kind::Count),
        ("sum" | "try_sum", Some(DataType::Int64)) if result == DataType::Int64 => {
            Some(Kind::Int(on_overflow))
        }
        ("sum" | "try_sum", Some(DataType::Float64)) if result == DataType::Float64 => {
            Some(Kind::Double(Reading::Sum))
        }
        ("sum" | "try_sum", Some(DataType::Decimal128(_, _))) => match result {
            DataType::Decimal128(_, _) => Some(Kind::Decimal(result, on_overflow)),
            _ => None,
        },
        ("avg", Some(DataType::Float64)) if result == DataType::Float64 => {
            Some(Kind::Double(Reading::Mean))
        }
        ("avg", Some(DataType::Decimal128(_, scale))) => match result {
            DataType::Decimal128(_, _) => Some(Kind::DecimalMean {
                sum: DataType::Decimal128(38, scale),
                result,
            }),
            _ => None,
        },
        ("min" | "max", Some(data_type)) if ordered(&data_type) && data_type == result => {
            let greatest = name == "max";
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
    Some(match kind(call)? {
        Kind::Count => vec![field("count", DataType::Int64)],
        Kind::Int(_) => sums::state_fields(DataType::Int64),
        Kind::Decimal(sum, _) | Kind::DecimalMean { sum, .. } => sums::state_fields(sum),
        Kind::Double(_) => DoubleSums::state_fields(),
        Kind::Moments(_) => Moments::state_fields(),
        Kind::Extreme { data_type, .. } => vec![field("value", data_type)],
    })
}

/// What a checkpoint calls the state of a native function.
pub(super) fn form_name(call: &AggregateCall) -> &'static str {
    match kind(call) {
        Some(Kind::Int(_) | Kind::Decimal(..) | Kind::DecimalMean { .. }) => "sum and rounds",
        Some(Kind::Double(_)) => "exact sum",
        Some(Kind::Moments(_)) => "exact powers",
        Some(Kind::Count | Kind::Extreme { .. }) | None => "number",
    }
}

/// A native function; `None` if the call has none.
pub(super) fn function(call: &AggregateCall) -> Option<Box<dyn Function>> {
    Some(match kind(call)? {
        Kind::Count => Box::new(Count { counts: Vec::new() }),
        Kind::Int(on_overflow) => Box::new(Sum::<Int64Type>::new(DataType::Int64, on_overflow)),
        Kind::Decimal(sum, on_overflow) => Box::new(Sum::<Decimal128Type>::new(sum, on_overflow)),
        Kind::Double(reading) => Box::new(DoubleSums::new(reading)),
        Kind::DecimalMean { sum, result } => Box::new(DecimalMean::new(sum, result)),
        Kind::Moments(statistic) => Box::new(Moments::new(statistic)),
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
    fn of<T: Ordered>(data_type: DataType, greatest: bool) -> Option<Box<dyn Function>> {
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

/// Values of which equal ones have one form.
trait Ordered: ArrowPrimitiveType {
    /// NaN without the sign that arithmetic may give it: then it is greater than every number.
    #[inline]
    fn normal(value: Self::Native) -> Self::Native {
        value
    }
}

impl Ordered for Int8Type {}
impl Ordered for Int16Type {}
impl Ordered for Int32Type {}
impl Ordered for Int64Type {}
impl Ordered for Date32Type {}
impl Ordered for Decimal128Type {}
impl Ordered for TimestampMicrosecondType {}

impl Ordered for Float32Type {
    #[inline]
    fn normal(value: f32) -> f32 {
        if value.is_nan() { f32::NAN } else { value }
    }
}

impl Ordered for Float64Type {
    #[inline]
    fn normal(value: f64) -> f64 {
        if value.is_nan() { f64::NAN } else { value }
    }
}

/// The least or greatest value; NaN is greater than every number, as in Spark.
struct Extreme<T: ArrowPrimitiveType> {
    data_type: DataType,
    greatest: bool,
    values: Vec<T::Native>,
    seen: Vec<bool>,
}

impl<T: Ordered> Extreme<T> {
    #[inline]
    fn add(&mut self, group: u32, value: T::Native) {
        let (group, value) = (group as usize, T::normal(value));
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

impl<T: Ordered> Function for Extreme<T> {
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
