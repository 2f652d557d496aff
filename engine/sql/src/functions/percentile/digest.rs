//! Values with how often they came: all of them, or, when there are too many, their leading bits.
//!
//! What a digest holds depends on the values alone, not on the order in which they came nor on how
//! they were split among workers: neighbours are joined only because the bits in which they differ
//! were dropped, and bits are dropped, for all values alike, only while there are more different
//! values than fit. A part has no more different values than the whole, so it never drops more. A
//! digest that thins out where it happens to be dense has the better bound for any data, but answers
//! otherwise in the next run.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array},
    compute::cast,
    datatypes::{DataType, Decimal128Type, Float64Type, Int64Type},
};
use datafusion::common::Result;

/// How values are numbers: in their order, and near ones near each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    /// The bits of a double, put in order.
    Double,
    /// Itself.
    Whole,
}

/// Digits of decimals that are whole numbers of 64 bits without their point.
const DIGITS_MAX: u8 = 18;

/// Leading bits of values that are told apart when all are.
const ALL_BITS: u32 = 64;
/// Of a double, its sign, exponent and hidden bit are no bits that can be dropped.
const DOUBLE_BITS: u32 = 53;

impl Numbering {
    pub(super) fn of(data_type: &DataType) -> Numbering {
        match data_type {
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(..)
            | DataType::Duration(_) => Numbering::Whole,
            DataType::Decimal128(digits, _) if *digits <= DIGITS_MAX => Numbering::Whole,
            _ => Numbering::Double,
        }
    }

    /// The numbers of values; nulls stay.
    pub(super) fn numbers(self, values: &ArrayRef) -> Result<Int64Array> {
        if self == Numbering::Double {
            let doubles = cast(values, &DataType::Float64)?;
            let doubles = doubles.as_primitive::<Float64Type>();
            return Ok(doubles.unary::<_, Int64Type>(number_of));
        }
        if let Some(decimals) = values.as_primitive_opt::<Decimal128Type>() {
            let whole = |value| i64::try_from(value).unwrap_or(i64::MAX);
            return Ok(decimals.unary::<_, Int64Type>(whole));
        }
        let plain = match values.data_type() {
            DataType::Date32 => cast(values, &DataType::Int32)?,
            _ => Arc::clone(values),
        };
        let whole = cast(&plain, &DataType::Int64)?;
        Ok(whole.as_primitive::<Int64Type>().clone())
    }

    /// Values of a type from their numbers.
    pub(super) fn values(self, numbers: Vec<i64>, data_type: &DataType) -> Result<ArrayRef> {
        if self == Numbering::Double {
            let doubles = numbers.into_iter().map(double_of);
            let doubles = Float64Array::from_iter_values(doubles);
            return Ok(cast(&(Arc::new(doubles) as ArrayRef), data_type)?);
        }
        if let DataType::Decimal128(digits, scale) = data_type {
            let decimals = numbers.into_iter().map(i128::from);
            let decimals = Decimal128Array::from_iter_values(decimals);
            return Ok(Arc::new(
                decimals.with_precision_and_scale(*digits, *scale)?,
            ));
        }
        let whole: ArrayRef = Arc::new(Int64Array::from(numbers));
        let plain = match data_type {
            DataType::Date32 => cast(&whole, &DataType::Int32)?,
            _ => whole,
        };
        Ok(cast(&plain, data_type)?)
    }

    fn all_bits(self) -> u32 {
        match self {
            Numbering::Double => DOUBLE_BITS,
            Numbering::Whole => ALL_BITS,
        }
    }

    /// A number without its bits behind the leading ones that are kept; numbers of the same size lose
    /// the same bits, small ones fewer.
    fn leading(self, number: i64, kept: u32) -> i64 {
        match self {
            Numbering::Double => number >> DOUBLE_BITS.saturating_sub(kept),
            Numbering::Whole => {
                let size = number.unsigned_abs();
                let bits = u64::BITS - size.leading_zeros();
                let dropped = bits.saturating_sub(kept);
                let size = (size.unbounded_shr(dropped) << dropped).cast_signed();
                if number < 0 {
                    size.wrapping_neg()
                } else {
                    size
                }
            }
        }
    }
}

/// The bits of a double in the order of doubles: one zero, one NaN, which is the greatest.
fn number_of(value: f64) -> i64 {
    let value = if value.is_nan() {
        f64::NAN
    } else {
        value + 0.0
    };
    let bits = value.to_bits().cast_signed();
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

/// The double with a number.
pub(super) fn double_of(number: i64) -> f64 {
    let bits = if number < 0 {
        number ^ i64::MAX
    } else {
        number
    };
    f64::from_bits(bits.cast_unsigned())
}

/// Values by their numbers, each with how often it came.
#[derive(Debug)]
pub(super) struct Digest {
    numbering: Numbering,
    /// The most different values that are kept; all if there is none.
    most: Option<usize>,
    /// Leading bits that are told apart.
    kept: u32,
    /// In order after [`Digest::settle`]; of values that were joined, the greatest.
    seen: Vec<(i64, i64)>,
    settled: usize,
}

impl Digest {
    pub(super) fn new(numbering: Numbering, most: Option<usize>) -> Digest {
        Digest {
            numbering,
            most,
            kept: numbering.all_bits(),
            seen: Vec::new(),
            settled: 0,
        }
    }

    pub(super) fn add(&mut self, number: i64, count: i64) {
        self.seen.push((number, count));
        // Sorted again when it has doubled: the work for each value stays the same.
        if let Some(most) = self.most
            && self.seen.len() - self.settled > most
        {
            self.settle();
        }
    }

    /// Takes on that only some leading bits are told apart, as in a part that is added.
    pub(super) fn keep_at_most(&mut self, bits: i64) {
        if let Ok(bits) = u32::try_from(bits) {
            self.kept = self.kept.min(bits);
        }
    }

    /// Leading bits that are told apart.
    pub(super) fn kept(&self) -> i64 {
        i64::from(self.kept)
    }

    /// Puts the values in order, joins equal ones, and drops bits while there are too many.
    pub(super) fn settle(&mut self) {
        self.seen.sort_unstable();
        self.join();
        let most = self.most.unwrap_or(usize::MAX);
        while self.seen.len() > most && self.kept > 1 {
            self.kept -= 1;
            self.join();
        }
        self.settled = self.seen.len();
    }

    fn join(&mut self) {
        let (numbering, kept) = (self.numbering, self.kept);
        self.seen.dedup_by(|(number, count), (held, total)| {
            let same = numbering.leading(*number, kept) == numbering.leading(*held, kept);
            if same {
                *held = *number;
                *total += *count;
            }
            same
        });
    }

    /// The values and their counts, in order.
    pub(super) fn entries(&self) -> &[(i64, i64)] {
        &self.seen
    }

    /// How many values came.
    pub(super) fn total(&self) -> i64 {
        self.seen.iter().map(|(_, count)| count).sum()
    }

    /// The first value that stands at or behind a rank, counted from 1; the last one behind all.
    pub(super) fn at_rank(&self, rank: i64) -> Option<i64> {
        let mut so_far = 0;
        let found = self.seen.iter().find(|(_, count)| {
            so_far += count;
            so_far >= rank
        });
        found.or(self.seen.last()).map(|(number, _)| *number)
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.seen.capacity() * size_of::<(i64, i64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look like chance and are the same in every run.
    fn numbers(seed: u64) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(seed), |last| {
            Some(
                last.wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407),
            )
        })
        .skip(1)
        .map(|number| number >> 11)
    }

    fn digest(most: usize, parts: &[Vec<i64>], numbering: Numbering) -> Digest {
        let mut whole = Digest::new(numbering, Some(most));
        for part in parts {
            let mut own = Digest::new(numbering, Some(most));
            part.iter().for_each(|number| own.add(*number, 1));
            own.settle();
            whole.keep_at_most(own.kept());
            for (number, count) in own.entries() {
                whole.add(*number, *count);
            }
        }
        whole.settle();
        whole
    }

    #[test]
    fn a_digest_depends_on_the_values_alone() {
        for numbering in [Numbering::Double, Numbering::Whole] {
            let all: Vec<i64> = numbers(7)
                .take(9000)
                .map(|number| {
                    #[expect(clippy::cast_precision_loss, reason = "any double will do")]
                    let double = (number as f64) * 1e-9 - 4e5;
                    match numbering {
                        Numbering::Double => number_of(double),
                        Numbering::Whole => i64::try_from(number).expect("53 bits") - (1 << 52),
                    }
                })
                .collect();
            let whole = digest(100, std::slice::from_ref(&all), numbering);
            assert!(whole.entries().len() <= 100 && whole.total() == 9000);
            for ways in 2..7 {
                let mut parts = vec![Vec::new(); ways];
                for (number, chance) in all.iter().zip(numbers(ways as u64)) {
                    parts[usize::try_from(chance).expect("64 bits") % ways].push(*number);
                }
                parts.iter_mut().for_each(|part| part.reverse());
                let other = digest(100, &parts, numbering);
                assert_eq!(
                    (whole.kept(), whole.entries()),
                    (other.kept(), other.entries())
                );
            }
        }
    }

    #[test]
    fn ranks_are_as_exact_as_the_accuracy_for_common_laws() {
        // accuracy 100, so at most 1 % of the values between the answer and the right one.
        let dense = |u: f64| 1e6 + (u - 0.5).powi(3);
        let uniform = |u: f64| u;
        let exponential = |u: f64| -(1.0 - u).ln();
        let heavy = |u: f64| 1.0 / (1.0 - u);
        type Law<'a> = (&'a str, &'a dyn Fn(f64) -> f64, usize);
        let laws: [Law<'_>; 4] = [
            ("uniform", &uniform, 1000),
            ("exponential", &exponential, 1000),
            ("heavy", &heavy, 1000),
            // The limit of dropping the same bits of all values: a density without a bound, here at
            // the middle, puts many values into one step. Without an order nothing finer is known.
            ("dense", &dense, 8000),
        ];
        for (name, law, most) in laws {
            #[expect(clippy::cast_precision_loss, reason = "53 bits")]
            let mut all: Vec<i64> = numbers(3)
                .take(100_000)
                .map(|number| number_of(law(number as f64 / (1u64 << 53) as f64)))
                .collect();
            let found = digest(1600, std::slice::from_ref(&all), Numbering::Double);
            all.sort_unstable();
            for rank in [1, 1000, 25_000, 50_000, 75_000, 99_000, 100_000] {
                let answer = found.at_rank(rank).expect("there are values");
                let from = all.partition_point(|value| *value < answer);
                let to = all.partition_point(|value| *value <= answer);
                let wanted = usize::try_from(rank).expect("small");
                let off = if wanted <= from {
                    from + 1 - wanted
                } else {
                    wanted.saturating_sub(to)
                };
                assert!(off <= most, "{name}: rank {rank} is off by {off}");
            }
        }
    }

    #[test]
    fn numbers_keep_the_order_of_values() {
        let doubles = [
            f64::NEG_INFINITY,
            -1e300,
            -1.0,
            -1e-310,
            0.0,
            1e-310,
            1.0,
            f64::INFINITY,
        ];
        let found: Vec<i64> = doubles.iter().map(|value| number_of(*value)).collect();
        assert!(found.is_sorted_by(|a, b| a < b));
        assert_eq!(number_of(-0.0), number_of(0.0));
        assert!(number_of(-f64::NAN) > number_of(f64::INFINITY));
        for value in doubles {
            assert_eq!(double_of(number_of(value)).to_bits(), value.to_bits());
        }
        for kept in 1..=ALL_BITS {
            let whole = [
                i64::MIN,
                i64::MIN + 1,
                -300,
                -5,
                -4,
                0,
                1,
                7,
                8,
                255,
                i64::MAX,
            ];
            let leading = whole.map(|number| Numbering::Whole.leading(number, kept));
            assert!(leading.is_sorted(), "{leading:?}");
        }
    }
}
