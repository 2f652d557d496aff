//! `sum` and `avg` of doubles: exact while rows come and go, rounded once when they are read.
//!
//! A sum that is rounded at each step depends on the order of its rows, and which worker sees which
//! rows first is chance: another run gave another last digit, and what was taken back was not what had
//! been given. So a group holds its sum as two doubles whose sum is exact: what the first addition
//! rounds off goes into the second. Where the second one would be rounded, too, because the values
//! are of very different size, the pair moves into an [`Exact`] number behind it and starts over.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryBuilder, Float64Array, Int64Array},
    datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type},
};

use super::{
    exact::Exact,
    function::{Function, Rows},
};
use crate::error::{OperatorError, Result};

/// What a read of a sum gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Sum,
    Mean,
}

/// The sum of a group as `high + low`, and of how many values.
///
/// The count stands between the two: neighbours would be written as one vector, and a row of the same
/// group that reads one of them at once has to wait until all of it has reached the cache, 30 cycles.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Pair {
    high: f64,
    count: i64,
    low: f64,
}

/// Values that are no numbers, by how often they are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NonFinite {
    positive: i64,
    negative: i64,
    nan: i64,
}

/// What two doubles cannot hold of a sum.
#[derive(Debug, Default)]
struct Rest {
    exact: Exact,
    non_finite: NonFinite,
}

/// Sums of doubles by group.
pub(super) struct DoubleSums {
    reading: Reading,
    pairs: Vec<Pair>,
    /// Empty until a group needs one, then as long as `pairs`.
    rests: Vec<Option<Box<Rest>>>,
    rest_bytes: usize,
}

/// The sum of two doubles, and what rounding took off it.
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

impl Pair {
    /// Adds a value unless a bit of the sum would be lost.
    #[inline]
    fn try_add(&mut self, value: f64) -> bool {
        let (high, off) = two_sum(self.high, value);
        let (low, lost) = two_sum(self.low, off);
        // Infinities and NaN come out of `two_sum` as NaN, which is not 0, either.
        let is_exact = lost == 0.0;
        if is_exact {
            (self.high, self.low) = (high, low);
        }
        is_exact
    }
}

impl NonFinite {
    /// Counts a value that is no number.
    pub(super) fn add(&mut self, value: f64, count: i64) {
        if value.is_nan() {
            self.nan += count;
        } else if value > 0.0 {
            self.positive += count;
        } else {
            self.negative += count;
        }
    }

    /// What a sum with these values is, if they decide it.
    pub(super) fn sum(self) -> Option<f64> {
        match (self.positive != 0, self.negative != 0, self.nan != 0) {
            (false, false, false) => None,
            (true, false, false) => Some(f64::INFINITY),
            (false, true, false) => Some(f64::NEG_INFINITY),
            (true, true, false) | (_, _, true) => Some(f64::NAN),
        }
    }

    /// Appends the three counts.
    pub(super) fn write(self, bytes: &mut Vec<u8>) {
        for count in [self.positive, self.negative, self.nan] {
            bytes.extend_from_slice(&count.to_le_bytes());
        }
    }

    /// Adds counts from the front of what [`write`](NonFinite::write) wrote; `None` if it is none.
    pub(super) fn add_written(&mut self, bytes: &mut &[u8]) -> Option<()> {
        for own in [&mut self.positive, &mut self.negative, &mut self.nan] {
            let (count, rest) = bytes.split_first_chunk::<8>()?;
            *own += i64::from_le_bytes(*count);
            *bytes = rest;
        }
        Some(())
    }
}

impl DoubleSums {
    pub(super) fn new(reading: Reading) -> DoubleSums {
        DoubleSums {
            reading,
            pairs: Vec::new(),
            rests: Vec::new(),
            rest_bytes: 0,
        }
    }

    /// The state: the sum rounded, what that took off, the number of values, and what else there is.
    pub(super) fn state_fields() -> Vec<FieldRef> {
        let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
        vec![
            field("sum", DataType::Float64),
            field("off", DataType::Float64),
            field("count", DataType::Int64),
            field("rest", DataType::Binary),
        ]
    }

    #[inline]
    fn add(&mut self, group: u32, value: f64) {
        if !self.pairs[group as usize].try_add(value) {
            self.add_with_rest(group, value);
        }
    }

    /// Adds values of the only group: its sum stays in registers.
    fn add_all(&mut self, values: &[f64]) {
        let mut pair = self.pairs[0];
        for value in values {
            pair.count += 1;
            if !pair.try_add(*value) {
                self.pairs[0] = pair;
                self.add_with_rest(0, *value);
                pair = self.pairs[0];
            }
        }
        self.pairs[0] = pair;
    }

    fn rest(&mut self, group: u32) -> &mut Rest {
        if self.rests.is_empty() {
            self.rests.resize_with(self.pairs.len(), || None);
        }
        let rest_bytes = &mut self.rest_bytes;
        self.rests[group as usize].get_or_insert_with(|| {
            *rest_bytes += size_of::<Rest>();
            Box::default()
        })
    }

    /// Takes in a value that the pair alone cannot.
    #[cold]
    fn add_with_rest(&mut self, group: u32, value: f64) {
        if !value.is_finite() {
            self.rest(group).non_finite.add(value, 1);
            return;
        }
        let pair = &mut self.pairs[group as usize];
        let old = (pair.high, pair.low);
        // What gathered in the second double may fit into the first.
        let (high, low) = two_sum(pair.high, pair.low);
        if high.is_finite() {
            (pair.high, pair.low) = (high, low);
            if pair.try_add(value) {
                return;
            }
        }
        (pair.high, pair.low) = (value, 0.0);
        self.add_exactly(group, |exact| {
            exact.add_double(old.0);
            exact.add_double(old.1);
        });
    }

    fn add_exactly(&mut self, group: u32, add: impl FnOnce(&mut Exact)) {
        let rest = self.rest(group);
        let before = rest.exact.heap_bytes();
        add(&mut rest.exact);
        let after = rest.exact.heap_bytes();
        self.rest_bytes = self.rest_bytes - before + after;
    }

    fn rest_of(&self, group: u32) -> Option<&Rest> {
        self.rests.get(group as usize)?.as_deref()
    }

    /// The exact sum of the numbers of a group that has a rest.
    fn exact(&self, group: u32, rest: &Rest) -> Exact {
        let pair = self.pairs[group as usize];
        let mut exact = rest.exact.clone();
        exact.add_double(pair.high);
        exact.add_double(pair.low);
        exact
    }

    /// The sum of a group, rounded once.
    fn sum(&self, group: u32) -> f64 {
        let Some(rest) = self.rest_of(group) else {
            let pair = self.pairs[group as usize];
            return pair.high + pair.low;
        };
        let decided = rest.non_finite.sum();
        decided.unwrap_or_else(|| self.exact(group, rest).to_double())
    }

    /// The state of a group in its one form, so that equal sums have equal states.
    fn part(&self, group: u32) -> (f64, f64, Option<Vec<u8>>) {
        let Some(rest) = self.rest_of(group) else {
            let pair = self.pairs[group as usize];
            let (high, low) = two_sum(pair.high, pair.low);
            if high.is_finite() {
                return (high, low, None);
            }
            return self.part_with_rest(group, &Rest::default());
        };
        self.part_with_rest(group, rest)
    }

    fn part_with_rest(&self, group: u32, rest: &Rest) -> (f64, f64, Option<Vec<u8>>) {
        let mut exact = self.exact(group, rest);
        let (mut high, mut low) = (exact.to_double(), 0.0);
        if high.is_finite() {
            let mut off = exact.clone();
            off.add_double(-high);
            low = off.to_double();
            off.add_double(-low);
            exact = off;
        } else {
            high = 0.0;
        }
        let plain = NonFinite::default();
        if exact.is_zero() && rest.non_finite == plain {
            return (high, low, None);
        }
        let mut bytes = Vec::new();
        rest.non_finite.write(&mut bytes);
        exact.write(&mut bytes);
        (high, low, Some(bytes))
    }

    fn merge_rest(&mut self, group: u32, mut bytes: &[u8]) -> Option<()> {
        self.rest(group).non_finite.add_written(&mut bytes)?;
        let mut written = Some(());
        self.add_exactly(group, |exact| written = exact.add_written(&mut bytes));
        written
    }
}

impl Function for DoubleSums {
    fn width(&self) -> usize {
        4
    }

    fn resize(&mut self, groups: usize) {
        self.pairs.resize(groups, Pair::default());
        if !self.rests.is_empty() {
            self.rests.resize_with(groups, || None);
        }
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let values = doubles(rows.arguments, 0)?;
        if values.null_count() == 0 && rows.filter.is_none() && rows.signs.is_none() {
            if self.pairs.len() == 1 {
                self.add_all(values.values());
                return Ok(());
            }
            for (group, value) in rows.groups.iter().zip(values.values()) {
                let pair = &mut self.pairs[*group as usize];
                pair.count += 1;
                if !pair.try_add(*value) {
                    self.add_with_rest(*group, *value);
                }
            }
            return Ok(());
        }
        for (row, group) in rows.groups.iter().enumerate() {
            if values.is_null(row) || !rows.counts(row) {
                continue;
            }
            let (value, sign) = (values.value(row), rows.sign(row));
            self.pairs[*group as usize].count += sign;
            if !value.is_finite() {
                self.rest(*group).non_finite.add(value, sign);
                continue;
            }
            let value = if sign < 0 { -value } else { value };
            for _ in 0..sign.unsigned_abs() {
                self.add(*group, value);
            }
        }
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let contract = || OperatorError::contract("a sum in another form than its function's");
        let (sums, offs) = (doubles(state, 0)?, doubles(state, 1)?);
        let counts = state[2]
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(contract)?;
        let rests = state[3].as_binary_opt::<i32>().ok_or_else(contract)?;
        for (row, group) in groups.iter().enumerate() {
            self.pairs[*group as usize].count += counts.value(row);
            self.add(*group, sums.value(row));
            self.add(*group, offs.value(row));
            if rests.is_valid(row) {
                self.merge_rest(*group, rests.value(row))
                    .ok_or_else(contract)?;
            }
        }
        Ok(())
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut sums = Vec::with_capacity(groups.len());
        let mut offs = Vec::with_capacity(groups.len());
        let mut rests = BinaryBuilder::with_capacity(groups.len(), 0);
        for group in groups {
            let (sum, off, rest) = self.part(*group);
            sums.push(sum);
            offs.push(off);
            rests.append_option(rest);
        }
        let counts = groups.iter().map(|group| self.pairs[*group as usize].count);
        Ok(vec![
            Arc::new(Float64Array::from(sums)),
            Arc::new(Float64Array::from(offs)),
            Arc::new(Int64Array::from_iter_values(counts)),
            Arc::new(rests.finish()),
        ])
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean of doubles is a double")]
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let read = |group: &u32| {
            let count = self.pairs[*group as usize].count;
            (count != 0).then(|| match self.reading {
                Reading::Sum => self.sum(*group),
                Reading::Mean => self.sum(*group) / count as f64,
            })
        };
        Ok(Arc::new(groups.iter().map(read).collect::<Float64Array>()))
    }

    fn bytes(&self) -> usize {
        self.pairs.capacity() * size_of::<Pair>()
            + self.rests.capacity() * size_of::<Option<Box<Rest>>>()
            + self.rest_bytes
    }
}

/// A column of doubles.
pub(super) fn doubles(columns: &[ArrayRef], index: usize) -> Result<&Float64Array> {
    columns
        .get(index)
        .and_then(|column| column.as_primitive_opt::<Float64Type>())
        .ok_or_else(|| OperatorError::contract("an aggregate was given columns of another type"))
}

#[cfg(test)]
mod tests {
    use arrow::array::BooleanArray;
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        let of_any_size = (-1.0..1.0f64, -300..300i32).prop_map(|(x, power)| x * 10f64.powi(power));
        prop_oneof![
            8 => -1000.0..1000.0f64,
            4 => of_any_size,
            1 => prop::sample::select(vec![
                0.0, -0.0, f64::MAX, f64::MIN, 5e-324, f64::INFINITY, f64::NEG_INFINITY, f64::NAN,
            ]),
        ]
    }

    fn add(sums: &mut DoubleSums, values: &[f64], signs: Option<&[i64]>) {
        let column: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let groups = vec![0; values.len()];
        sums.resize(1);
        let rows = Rows {
            arguments: &[column],
            filter: None,
            groups: &groups,
            signs,
            epoch: 0,
            origins: None,
        };
        sums.update(&rows).expect("takes doubles");
    }

    fn bits(sums: &DoubleSums) -> Option<u64> {
        let result = sums.evaluate(&[0]).expect("has a result");
        let result = result.as_primitive::<Float64Type>();
        result.is_valid(0).then(|| result.value(0).to_bits())
    }

    fn merged(sums: &mut DoubleSums, other: &DoubleSums) {
        sums.resize(1);
        let state = other.state(&[0]).expect("has a state");
        sums.merge(&state, &[0]).expect("takes a state");
    }

    proptest! {
        #[test]
        fn a_sum_depends_on_the_values_alone(
            values in prop::collection::vec(value(), 1..60),
            turn in 0..60usize,
            cut in 0..60usize,
        ) {
            let mut one = DoubleSums::new(Reading::Sum);
            add(&mut one, &values, None);
            let mut turned = values.clone();
            turned.rotate_left(turn % values.len());
            let (front, back) = turned.split_at(cut.min(values.len()));
            let mut parts = [DoubleSums::new(Reading::Sum), DoubleSums::new(Reading::Sum)];
            add(&mut parts[0], front, None);
            add(&mut parts[1], back, None);
            let mut all = DoubleSums::new(Reading::Sum);
            merged(&mut all, &parts[1]);
            merged(&mut all, &parts[0]);
            prop_assert_eq!(bits(&all), bits(&one));
            let states = [all.state(&[0]), one.state(&[0])].map(|state| state.expect("has a state"));
            prop_assert_eq!(&states[0], &states[1]);
            // What is taken back leaves what would be there without it.
            add(&mut all, front, Some(&vec![-1; front.len()]));
            if back.is_empty() {
                prop_assert_eq!(bits(&all), None);
                prop_assert_eq!(all.state(&[0]).expect("has a state")[0].as_primitive::<Float64Type>().value(0), 0.0);
            } else {
                prop_assert_eq!(bits(&all), bits(&parts[1]));
            }
        }

        #[test]
        fn a_sum_is_the_nearest_double(values in prop::collection::vec(value(), 1..60)) {
            let mut sums = DoubleSums::new(Reading::Sum);
            add(&mut sums, &values, None);
            let mut exact = Exact::default();
            values.iter().filter(|value| value.is_finite()).for_each(|value| exact.add_double(*value));
            if values.iter().all(|value| value.is_finite()) {
                prop_assert_eq!(bits(&sums), Some((exact.to_double() + 0.0).to_bits()));
            } else {
                let naive: f64 = values.iter().filter(|value| !value.is_finite()).sum();
                let wanted = if naive.is_nan() { f64::NAN } else { naive };
                prop_assert_eq!(bits(&sums), Some(wanted.to_bits()));
            }
        }
    }

    #[test]
    fn filters_nulls_and_many_groups_count() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(1e16),
            None,
            Some(1.0),
            Some(-1e16),
        ]));
        let mut sums = DoubleSums::new(Reading::Mean);
        sums.resize(2);
        let filter = BooleanArray::from(vec![Some(true), Some(true), None, Some(true)]);
        for filter in [None, Some(&filter)] {
            let rows = Rows {
                arguments: std::slice::from_ref(&column),
                filter,
                groups: &[0, 0, 0, 0],
                signs: None,
                epoch: 0,
                origins: None,
            };
            sums.update(&rows).expect("takes doubles");
        }
        let result = sums.evaluate(&[0, 1]).expect("has a result");
        let result = result.as_primitive::<Float64Type>();
        assert_eq!(result.value(0), 0.2);
        assert!(result.is_null(1));
    }
}
