//! `sum` and `avg` of whole numbers and decimals.
//!
//! Sums run around the end of their type and count how often: an overflow on the way, which depends on
//! the order of rows, is none if later values bring the sum back. What counts is the sum that is read.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, PrimitiveArray},
    datatypes::{ArrowNativeTypeOp, DataType, Decimal128Type, Field, FieldRef, Int64Type},
};

use super::{
    column::{column, overflow},
    function::{Function, Rows},
};
use crate::error::{OperatorError, Result};

/// What a sum that has no place in its type gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnOverflow {
    Fail,
    Null,
}

/// Numbers that are added around the end of their type.
pub(super) trait Summable: ArrowPrimitiveType {
    /// The sum, and how often it passed the end: -1, 0 or 1.
    fn add(a: Self::Native, b: Self::Native) -> (Self::Native, i64);
    /// The difference, and how often it passed the end.
    fn take(a: Self::Native, b: Self::Native) -> (Self::Native, i64);
}

impl Summable for Int64Type {
    #[inline]
    fn add(a: i64, b: i64) -> (i64, i64) {
        let (sum, passes) = a.overflowing_add(b);
        (sum, if passes { b.signum() } else { 0 })
    }
    #[inline]
    fn take(a: i64, b: i64) -> (i64, i64) {
        let (rest, passes) = a.overflowing_sub(b);
        (rest, if passes { -b.signum() } else { 0 })
    }
}

impl Summable for Decimal128Type {
    #[inline]
    fn add(a: i128, b: i128) -> (i128, i64) {
        let (sum, passes) = a.overflowing_add(b);
        (sum, if passes { sign(b) } else { 0 })
    }
    #[inline]
    fn take(a: i128, b: i128) -> (i128, i64) {
        let (rest, passes) = a.overflowing_sub(b);
        (rest, if passes { -sign(b) } else { 0 })
    }
}

fn sign(of: i128) -> i64 {
    if of < 0 { -1 } else { 1 }
}

/// Sums with the number of values, so that a group of nulls, or one that was emptied, is null.
pub(super) struct Sum<T: ArrowPrimitiveType> {
    data_type: DataType,
    on_overflow: OnOverflow,
    sums: Vec<T::Native>,
    counts: Vec<i64>,
    /// How often a sum passed the end of its type; empty until one does.
    rounds: Vec<i64>,
}

/// The state: the sum, the number of values, and the rounds, null where there is none.
pub(super) fn state_fields(data_type: DataType) -> Vec<FieldRef> {
    let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
    vec![
        field("sum", data_type),
        field("count", DataType::Int64),
        field("rounds", DataType::Int64),
    ]
}

impl<T: Summable> Sum<T> {
    pub(super) fn new(data_type: DataType, on_overflow: OnOverflow) -> Sum<T> {
        Sum {
            data_type,
            on_overflow,
            sums: Vec::new(),
            counts: Vec::new(),
            rounds: Vec::new(),
        }
    }

    #[inline]
    fn add(&mut self, group: u32, value: T::Native, count: i64) {
        let at = group as usize;
        let (sum, rounds) = T::add(self.sums[at], value);
        self.sums[at] = sum;
        self.counts[at] += count;
        if rounds != 0 {
            self.pass(group, rounds);
        }
    }

    /// Adds a value as often as a sign says.
    fn add_signed(&mut self, group: u32, value: T::Native, sign: i64) {
        let at = group as usize;
        self.counts[at] += sign;
        for _ in 0..sign.unsigned_abs() {
            let sum = self.sums[at];
            let (sum, rounds) = if sign < 0 {
                T::take(sum, value)
            } else {
                T::add(sum, value)
            };
            self.sums[at] = sum;
            if rounds != 0 {
                self.pass(group, rounds);
            }
        }
    }

    #[cold]
    fn pass(&mut self, group: u32, rounds: i64) {
        if self.rounds.is_empty() {
            self.rounds.resize(self.sums.len(), 0);
        }
        self.rounds[group as usize] += rounds;
    }

    fn rounds(&self, group: u32) -> i64 {
        self.rounds.get(group as usize).copied().unwrap_or(0)
    }

    /// The sum of a group; null without values, and, for the functions that try, without a place.
    fn read(&self, group: u32) -> Result<Option<T::Native>> {
        if self.counts[group as usize] == 0 {
            return Ok(None);
        }
        match (self.rounds(group), self.on_overflow) {
            (0, _) => Ok(Some(self.sums[group as usize])),
            (_, OnOverflow::Null) => Ok(None),
            (_, OnOverflow::Fail) => Err(overflow("sum")),
        }
    }
}

impl<T: Summable> Function for Sum<T> {
    fn width(&self) -> usize {
        3
    }

    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, T::Native::ZERO);
        self.counts.resize(groups, 0);
        if !self.rounds.is_empty() {
            self.rounds.resize(groups, 0);
        }
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let values = column::<T>(rows.arguments, 0)?;
        if values.null_count() == 0 && rows.filter.is_none() && rows.signs.is_none() {
            for (group, value) in rows.groups.iter().zip(values.values()) {
                self.add(*group, *value, 1);
            }
            return Ok(());
        }
        for (row, group) in rows.groups.iter().enumerate() {
            if values.is_valid(row) && rows.counts(row) {
                self.add_signed(*group, values.value(row), rows.sign(row));
            }
        }
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let (sums, counts) = (column::<T>(state, 0)?, column::<Int64Type>(state, 1)?);
        let rounds = column::<Int64Type>(state, 2)?;
        for (row, group) in groups.iter().enumerate() {
            self.add(*group, sums.value(row), counts.value(row));
            if rounds.is_valid(row) {
                self.pass(*group, rounds.value(row));
            }
        }
        Ok(())
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let counts = groups.iter().map(|group| self.counts[*group as usize]);
        // As many rows may come as go: a count of 0 with a sum is a part of one that others hold.
        let sums = groups.iter().map(|group| self.sums[*group as usize]);
        let sums = PrimitiveArray::<T>::from_iter_values(sums);
        let rounds = groups.iter().map(|group| self.rounds(*group));
        let rounds = rounds.map(|rounds| Some(rounds).filter(|rounds| *rounds != 0));
        Ok(vec![
            Arc::new(sums.with_data_type(self.data_type.clone())),
            Arc::new(Int64Array::from_iter_values(counts)),
            Arc::new(rounds.collect::<Int64Array>()),
        ])
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let sums = groups.iter().map(|group| self.read(*group));
        let sums: PrimitiveArray<T> = sums.collect::<Result<_>>()?;
        let sums: ArrayRef = Arc::new(sums.with_data_type(self.data_type.clone()));
        let DataType::Decimal128(precision, _) = self.data_type else {
            return Ok(sums);
        };
        match self.on_overflow {
            OnOverflow::Null => {
                let decimals = sums.as_primitive::<Decimal128Type>();
                let kept = decimals.null_if_overflow_precision(precision);
                Ok(Arc::new(kept.with_data_type(self.data_type.clone())))
            }
            OnOverflow::Fail => {
                sums.as_primitive::<Decimal128Type>()
                    .validate_decimal_precision(precision)
                    .map_err(|_| overflow("sum"))?;
                Ok(sums)
            }
        }
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>()
            + (self.counts.capacity() + self.rounds.capacity()) * size_of::<i64>()
    }
}

/// A mean of decimals: a sum that divides when it is read.
pub(super) struct DecimalMean {
    sum: Sum<Decimal128Type>,
    result: DataType,
}

impl DecimalMean {
    pub(super) fn new(sum: DataType, result: DataType) -> DecimalMean {
        DecimalMean {
            sum: Sum::new(sum, OnOverflow::Fail),
            result,
        }
    }
}

impl Function for DecimalMean {
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

    /// Half up, at the scale of the result.
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let (DataType::Decimal128(precision, to), DataType::Decimal128(_, from)) =
            (&self.result, &self.sum.data_type)
        else {
            return Err(OperatorError::contract("a decimal mean has another type"));
        };
        let shift = u32::try_from(i16::from(*to) - i16::from(*from))
            .ok()
            .and_then(|digits| 10i128.checked_pow(digits))
            .ok_or_else(|| overflow("avg"))?;
        let mean = |group: &u32| -> Result<Option<i128>> {
            let Some(sum) = self.sum.read(*group)? else {
                return Ok(None);
            };
            let count = i128::from(self.sum.counts[*group as usize]);
            let scaled = sum.checked_mul(shift).ok_or_else(|| overflow("avg"))?;
            let (quotient, rest) = (scaled / count, scaled % count);
            let half_up = rest.unsigned_abs() * 2 >= count.unsigned_abs();
            let away = if (scaled < 0) == (count < 0) { 1 } else { -1 };
            Ok(Some(if half_up { quotient + away } else { quotient }))
        };
        let means = groups
            .iter()
            .map(mean)
            .collect::<Result<PrimitiveArray<Decimal128Type>>>()?;
        // The type first: the check is against its scale, too.
        let means = means.with_data_type(self.result.clone());
        means
            .validate_decimal_precision(*precision)
            .map_err(|_| overflow("avg"))?;
        Ok(Arc::new(means))
    }

    fn bytes(&self) -> usize {
        self.sum.bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[i64], signs: Option<&[i64]>) -> Sum<Int64Type> {
        let mut sum = Sum::new(DataType::Int64, OnOverflow::Null);
        sum.resize(1);
        add(&mut sum, values, signs);
        sum
    }

    fn add(sum: &mut Sum<Int64Type>, values: &[i64], signs: Option<&[i64]>) {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        let rows = Rows {
            arguments: &[column],
            filter: None,
            groups: &vec![0; values.len()],
            signs,
            epoch: 0,
            origins: None,
        };
        sum.update(&rows).expect("takes numbers");
    }

    fn read(sum: &Sum<Int64Type>) -> Option<i64> {
        let result = sum.evaluate(&[0]).expect("has a result");
        let result = result.as_primitive::<Int64Type>();
        result.is_valid(0).then(|| result.value(0))
    }

    proptest! {
        /// Only the sum that is read must fit, in whatever order and parts the values came.
        #[test]
        fn a_sum_may_pass_the_ends_on_its_way(
            values in prop::collection::vec(
                prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -3..3i64],
                1..12,
            ),
            cut in 0..12usize,
        ) {
            let (front, back) = values.split_at(cut.min(values.len()));
            let mut all = of(back, None);
            let part = of(front, None).state(&[0]).expect("has a state");
            all.merge(&part, &[0]).expect("takes a state");
            let wide: i128 = values.iter().map(|value| i128::from(*value)).sum();
            prop_assert_eq!(read(&all), i64::try_from(wide).ok());
            add(&mut all, front, Some(&vec![-1; front.len()]));
            let wide: i128 = back.iter().map(|value| i128::from(*value)).sum();
            let left = i64::try_from(wide).ok().filter(|_| !back.is_empty());
            prop_assert_eq!(read(&all), left);
        }
    }

    #[test]
    fn a_sum_that_does_not_fit_fails_when_it_is_read() {
        let mut sum = Sum::<Int64Type>::new(DataType::Int64, OnOverflow::Fail);
        sum.resize(1);
        add(&mut sum, &[i64::MAX, i64::MAX], None);
        assert!(sum.evaluate(&[0]).is_err());
        add(&mut sum, &[-i64::MAX], None);
        assert_eq!(read(&sum), Some(i64::MAX));
    }
}
