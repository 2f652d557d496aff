//! `Exact`: a sum of doubles, or of products of doubles, without rounding.
//!
//! Every finite double is a whole number of 2^-1074, so sums of doubles and of their products are
//! whole numbers, only long ones. A number that is never rounded is the same in whatever order its
//! parts came, and what is taken back is gone to the last bit. Rounding happens once, when a result
//! is read, and subtractions that cancel lose nothing.

use smallvec::SmallVec;

/// Bits of a limb.
const LIMB: i32 = 64;
/// Bits of a double's fraction.
const FRACTION: u32 = 52;
/// The exponent of the least double.
const LEAST: i32 = -1074;
/// Limbs that stand without a heap: sums of ordinary doubles have 2, of their squares 3, and the sign.
const INLINE: usize = 4;
/// Factors of the longest product: a fourth power.
const FACTORS_MAX: usize = 4;

type Limbs = SmallVec<[u64; INLINE]>;

/// A long whole number, in two's complement, times a power of 2^64.
#[derive(Clone, Debug, Default)]
pub(super) struct Exact {
    /// From the lowest; the last one repeats the sign. Empty is 0.
    limbs: Limbs,
    /// The power of 2^64 that the first limb counts.
    base: i32,
}

/// A number without its sign: limbs from the lowest, no zero at either end.
struct Magnitude {
    is_negative: bool,
    limbs: Limbs,
    base: i32,
}

/// A number as `fraction * 2^exponent`, where the exponent is as long as it needs to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaled {
    fraction: f64,
    exponent: i32,
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn low(wide: u128) -> u64 {
    wide as u64
}

#[inline]
fn high(wide: u128) -> u64 {
    (wide >> 64) as u64
}

/// Limbs between two places, of which the first is not behind the second.
#[inline]
fn between(from: i32, to: i32) -> usize {
    usize::try_from(to - from).unwrap_or(0)
}

/// A length in limbs or bits; no number here has more than some thousands.
#[inline]
fn length(of: usize) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}

/// The whole number and the power of two that a finite double is, without its sign.
#[inline]
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let fraction = bits & ((1 << FRACTION) - 1);
    let exponent = i32::try_from((bits >> FRACTION) & 0x7ff).unwrap_or(0);
    if exponent == 0 {
        (fraction, LEAST)
    } else {
        (fraction | 1 << FRACTION, exponent - 1 + LEAST)
    }
}

/// 2 to a power; 0 and infinity beyond the doubles.
fn power_of_two(exponent: i32) -> f64 {
    match exponent {
        i32::MIN..-1074 => 0.0,
        -1074..-1022 => f64::from_bits(1 << (exponent - LEAST)),
        -1022..=1023 => f64::from_bits(u64::try_from(exponent + 1023).unwrap_or(0) << FRACTION),
        1024.. => f64::INFINITY,
    }
}

impl Exact {
    /// A count.
    pub(super) fn of_count(count: i64) -> Exact {
        let mut exact = Exact::default();
        exact.add_limbs(count < 0, 0, &[count.unsigned_abs()]);
        exact
    }

    /// Adds a product of at most four finite doubles, or takes it away.
    #[inline]
    pub(super) fn add_product<const N: usize>(&mut self, factors: &[f64; N], takes_away: bool) {
        const { assert!(N <= FACTORS_MAX) }
        let mut is_negative = takes_away;
        let mut exponent = 0;
        let mut product = [0u64; FACTORS_MAX + 1];
        product[0] = 1;
        for (at, factor) in factors.iter().enumerate() {
            let (whole, power) = parts(*factor);
            is_negative ^= factor.is_sign_negative();
            exponent += power;
            let mut carry = 0;
            for limb in &mut product[..=at] {
                let wide = u128::from(*limb) * u128::from(whole) + u128::from(carry);
                (*limb, carry) = (low(wide), high(wide));
            }
            product[at + 1] = carry;
        }
        let shift = exponent.rem_euclid(LIMB);
        let mut carry = 0;
        // A product has 53 bits a factor: with the shift it fits into a limb a factor and one more.
        for limb in &mut product[..=N] {
            let wide = u128::from(*limb) << shift;
            (*limb, carry) = (low(wide) | carry, high(wide));
        }
        let base = exponent.div_euclid(LIMB);
        if self.covers(base, N + 1) {
            let from = between(self.base, base);
            self.add_at(is_negative, from, &product[..=N]);
        } else {
            self.add_limbs(is_negative, base, &product[..=N]);
        }
    }

    /// Adds a finite double.
    #[inline]
    pub(super) fn add_double(&mut self, value: f64) {
        self.add_product(&[value], false);
    }

    /// Adds another number, or takes it away.
    pub(super) fn add(&mut self, other: &Exact, takes_away: bool) {
        let other = other.magnitude();
        self.add_limbs(other.is_negative != takes_away, other.base, &other.limbs);
    }

    #[inline]
    fn add_limbs(&mut self, is_negative: bool, mut base: i32, mut limbs: &[u64]) {
        while let [0, rest @ ..] = limbs {
            limbs = rest;
            base += 1;
        }
        while let [rest @ .., 0] = limbs {
            limbs = rest;
        }
        if limbs.is_empty() {
            return;
        }
        self.cover(base, limbs.len());
        self.add_at(is_negative, between(self.base, base), limbs);
    }

    /// Adds limbs where there is room for them.
    #[inline]
    fn add_at(&mut self, is_negative: bool, from: usize, limbs: &[u64]) {
        let mut carry = 0;
        let (own, above) = self.limbs[from..].split_at_mut(limbs.len());
        if is_negative {
            for (own, part) in own.iter_mut().zip(limbs) {
                let (less, first) = own.overflowing_sub(*part);
                let (less, second) = less.overflowing_sub(carry);
                (*own, carry) = (less, u64::from(first | second));
            }
        } else {
            for (own, part) in own.iter_mut().zip(limbs) {
                let (sum, first) = own.overflowing_add(*part);
                let (sum, second) = sum.overflowing_add(carry);
                (*own, carry) = (sum, u64::from(first | second));
            }
        }
        for limb in above {
            if carry == 0 {
                break;
            }
            let (next, more) = if is_negative {
                limb.overflowing_sub(carry)
            } else {
                limb.overflowing_add(carry)
            };
            (*limb, carry) = (next, u64::from(more));
        }
        // The limb of the sign takes a carry without losing it; then there is a new one.
        let last = self.sign();
        if self.limbs.last().is_some_and(|limb| *limb != last) {
            self.limbs.push(last);
        }
    }

    /// Whether there is room for limbs at a place, and for the sign above them.
    #[inline]
    fn covers(&self, base: i32, limbs: usize) -> bool {
        base >= self.base && between(self.base, base) + limbs < self.limbs.len()
    }

    /// Makes room for limbs at a place, and for the sign above them.
    #[inline]
    fn cover(&mut self, base: i32, limbs: usize) {
        if self.covers(base, limbs) {
            return;
        }
        // A number that came back to 0 does not have to reach from where it was.
        if self.is_zero() {
            self.limbs.clear();
            self.base = base;
        }
        if base < self.base {
            let missing = between(base, self.base);
            self.limbs.insert_many(0, std::iter::repeat_n(0, missing));
            self.base = base;
        }
        let wanted = between(self.base, base) + limbs + 1;
        if self.limbs.len() < wanted {
            let sign = self.sign();
            self.limbs.resize(wanted, sign);
        }
    }

    /// What a limb above all others would hold.
    #[inline]
    fn sign(&self) -> u64 {
        if self.is_negative() { u64::MAX } else { 0 }
    }

    /// Whether it is below 0.
    #[inline]
    pub(super) fn is_negative(&self) -> bool {
        self.limbs.last().is_some_and(|limb| limb >> 63 == 1)
    }

    /// Whether it is 0.
    pub(super) fn is_zero(&self) -> bool {
        self.limbs.iter().all(|limb| *limb == 0)
    }

    fn magnitude(&self) -> Magnitude {
        let is_negative = self.is_negative();
        let mut limbs = self.limbs.clone();
        if is_negative {
            let mut carry = true;
            for limb in &mut limbs {
                (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
            }
        }
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        let zeros = limbs.iter().take_while(|limb| **limb == 0).count();
        limbs.drain(..zeros);
        Magnitude {
            is_negative,
            base: self.base + length(zeros),
            limbs,
        }
    }

    /// The product of two numbers.
    pub(super) fn times(&self, other: &Exact) -> Exact {
        let (a, b) = (self.magnitude(), other.magnitude());
        let mut product: Limbs = SmallVec::from_elem(0, a.limbs.len() + b.limbs.len());
        for (at, left) in a.limbs.iter().enumerate() {
            let mut carry = 0;
            for (right, sum) in b.limbs.iter().zip(&mut product[at..]) {
                let wide = u128::from(*left) * u128::from(*right);
                let wide = wide + u128::from(*sum) + u128::from(carry);
                (*sum, carry) = (low(wide), high(wide));
            }
            product[at + b.limbs.len()] = carry;
        }
        let mut exact = Exact::default();
        exact.add_limbs(a.is_negative != b.is_negative, a.base + b.base, &product);
        exact
    }

    /// This number times a count.
    pub(super) fn times_count(&self, count: i64) -> Exact {
        self.times(&Exact::of_count(count))
    }

    /// This number without another.
    #[must_use]
    pub(super) fn minus(mut self, other: &Exact) -> Exact {
        self.add(other, true);
        self
    }

    /// This number and another.
    #[must_use]
    pub(super) fn plus(mut self, other: &Exact) -> Exact {
        self.add(other, false);
        self
    }

    /// The nearest double, half to even; infinite beyond the greatest.
    pub(super) fn to_double(&self) -> f64 {
        self.magnitude().nearest(LEAST).to_double()
    }

    /// The nearest fraction of 53 bits, with an exponent that may be beyond those of doubles.
    pub(super) fn scaled(&self) -> Scaled {
        self.magnitude().nearest(i32::MIN)
    }

    /// Bytes held beside the number itself.
    pub(super) fn heap_bytes(&self) -> usize {
        if self.limbs.spilled() {
            self.limbs.capacity() * size_of::<u64>()
        } else {
            0
        }
    }

    /// Appends the number: its sign, how many limbs it has, the place of the lowest, the limbs. Equal
    /// numbers are equal bytes, however they came about.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let number = self.magnitude();
        let count = u8::try_from(number.limbs.len()).unwrap_or(u8::MAX);
        let base = if count == 0 { 0 } else { number.base };
        bytes.extend_from_slice(&[u8::from(number.is_negative), count]);
        bytes.extend_from_slice(&i16::try_from(base).unwrap_or(0).to_le_bytes());
        for limb in &number.limbs {
            bytes.extend_from_slice(&limb.to_le_bytes());
        }
    }

    /// Adds a number from the front of what [`write`](Exact::write) wrote; `None` if it is none.
    pub(super) fn add_written(&mut self, bytes: &mut &[u8]) -> Option<()> {
        let ([sign, count, base @ ..], rest) = bytes.split_first_chunk::<4>()?;
        let base = i16::from_le_bytes(*base);
        let (limbs, rest) = rest.split_at_checked(usize::from(*count) * size_of::<u64>())?;
        let limbs: Limbs = limbs
            .as_chunks::<8>()
            .0
            .iter()
            .map(|limb| u64::from_le_bytes(*limb))
            .collect();
        self.add_limbs(*sign != 0, i32::from(base), &limbs);
        *bytes = rest;
        Some(())
    }
}

impl Magnitude {
    /// Rounds to 53 bits, or to fewer where they would be below the power of two `least`.
    fn nearest(&self, least: i32) -> Scaled {
        let Some(top) = self.limbs.last() else {
            return Scaled {
                fraction: 0.0,
                exponent: 0,
            };
        };
        let bits =
            length(self.limbs.len()) * LIMB - i32::try_from(top.leading_zeros()).unwrap_or(0);
        let first = self.base * LIMB;
        // The power of two that the last bit of the fraction counts.
        let unit = (first + bits - 53).max(least);
        let dropped = unit - first;
        let mut whole = self.bits_from(dropped);
        if dropped > 0 {
            let half = self.bits_from(dropped - 1) & 1 == 1;
            let rest = self.any_below(dropped - 1);
            if half && (rest || whole & 1 == 1) {
                whole += 1;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 2^53")]
        let fraction = whole as f64;
        Scaled {
            fraction: if self.is_negative {
                -fraction
            } else {
                fraction
            },
            exponent: unit,
        }
    }

    /// 64 bits from a place on; places below the number hold zeros.
    fn bits_from(&self, place: i32) -> u64 {
        let limb = |at: i32| {
            let at = usize::try_from(at).ok();
            at.and_then(|at| self.limbs.get(at)).copied().unwrap_or(0)
        };
        let (at, shift) = (place.div_euclid(LIMB), place.rem_euclid(LIMB));
        let pair = u128::from(limb(at + 1)) << 64 | u128::from(limb(at));
        low(pair >> shift)
    }

    /// Whether a bit below a place is set.
    fn any_below(&self, place: i32) -> bool {
        let (whole, bits) = (place.div_euclid(LIMB), place.rem_euclid(LIMB));
        let whole = usize::try_from(whole).unwrap_or(0);
        let below = self.limbs.iter().take(whole).any(|limb| *limb != 0);
        let mask = (1u64 << bits) - 1;
        below || self.limbs.get(whole).is_some_and(|limb| limb & mask != 0)
    }
}

impl Scaled {
    /// This number divided by another that is not 0.
    #[must_use]
    pub(super) fn over(self, other: Scaled) -> Scaled {
        Scaled {
            fraction: self.fraction / other.fraction,
            exponent: self.exponent - other.exponent,
        }
    }

    /// The root of a number that is not below 0.
    #[must_use]
    pub(super) fn root(self) -> Scaled {
        let odd = self.exponent.rem_euclid(2);
        Scaled {
            fraction: (self.fraction * f64::from(1 + odd)).sqrt(),
            exponent: (self.exponent - odd) / 2,
        }
    }

    /// The double; infinite beyond the greatest.
    pub(super) fn to_double(self) -> f64 {
        let (mut value, mut rest) = (self.fraction, self.exponent);
        if value == 0.0 {
            return value;
        }
        // Few steps, each exact unless the result is no ordinary double.
        while rest > 900 && value.is_finite() {
            value *= power_of_two(900);
            rest -= 900;
        }
        while rest < -900 && value.abs() > 1e-100 {
            value *= power_of_two(-900);
            rest += 900;
        }
        value * power_of_two(rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finite() -> impl Strategy<Value = f64> {
        let ordinary = -1e6..1e6f64;
        prop_oneof![any::<u64>().prop_map(f64::from_bits), ordinary, Just(0.0)]
            .prop_filter("a number", |value| value.is_finite())
    }

    fn product<const N: usize>(factors: &[f64; N]) -> Exact {
        let mut exact = Exact::default();
        exact.add_product(factors, false);
        exact
    }

    /// The bits of a double, of which there is one zero.
    fn bits(value: f64) -> u64 {
        (value + 0.0).to_bits()
    }

    proptest! {
        /// The processor rounds one operation as it should, over all doubles.
        #[test]
        fn one_operation_is_rounded_as_the_processor_does(a in finite(), b in finite()) {
            let sum = product(&[a]).plus(&product(&[b]));
            prop_assert_eq!(bits(sum.to_double()), bits(a + b));
            let less = product(&[a]).minus(&product(&[b]));
            prop_assert_eq!(bits(less.to_double()), bits(a - b));
            prop_assert_eq!(bits(product(&[a, b]).to_double()), bits(a * b));
            prop_assert_eq!(bits(product(&[a]).times(&product(&[b])).to_double()), bits(a * b));
            let (above, below) = (product(&[a]).scaled(), product(&[b]).scaled());
            if (a / b).is_normal() {
                prop_assert_eq!(bits(above.over(below).to_double()), bits(a / b));
            }
            if a > 0.0 {
                prop_assert_eq!(bits(above.root().to_double()), bits(a.sqrt()));
            }
        }

        #[test]
        fn whole_numbers_add_up_as_wide_ones(values in prop::collection::vec(any::<i64>(), 0..40)) {
            let mut exact = Exact::default();
            values.iter().for_each(|value| exact.add(&Exact::of_count(*value), false));
            let sum: i128 = values.iter().map(|value| i128::from(*value)).sum();
            #[expect(clippy::cast_precision_loss, reason = "rounded as the sum is")]
            let rounded = sum as f64;
            prop_assert_eq!(bits(exact.to_double()), bits(rounded));
            prop_assert_eq!(exact.is_zero(), sum == 0);
            prop_assert_eq!(exact.is_negative(), sum < 0);
        }

        #[test]
        fn sums_of_powers_do_not_depend_on_order_and_vanish(
            values in prop::collection::vec(finite(), 1..30),
            turn in 0..30usize,
        ) {
            let add = |exact: &mut Exact, value: f64, takes_away| match turn % 4 {
                0 => exact.add_product(&[value; 1], takes_away),
                1 => exact.add_product(&[value; 2], takes_away),
                2 => exact.add_product(&[value; 3], takes_away),
                _ => exact.add_product(&[value; 4], takes_away),
            };
            let sum = |values: &[f64]| {
                let mut exact = Exact::default();
                values.iter().for_each(|value| add(&mut exact, *value, false));
                exact
            };
            let mut turned = values.clone();
            turned.rotate_left(turn % values.len());
            let (one, mut other) = (sum(&values), sum(&turned));
            let written = |exact: &Exact| {
                let mut bytes = Vec::new();
                exact.write(&mut bytes);
                bytes
            };
            prop_assert_eq!(written(&one), written(&other));
            let mut again = Exact::default();
            prop_assert_eq!(again.add_written(&mut &written(&one)[..]), Some(()));
            prop_assert_eq!(written(&again), written(&one));
            for value in &values {
                add(&mut other, *value, true);
            }
            prop_assert!(other.is_zero());
        }

        /// INV-10
        #[test]
        fn foreign_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut exact = Exact::default();
            let _ = exact.add_written(&mut &bytes[..]);
            let _ = exact.to_double();
        }
    }

    #[test]
    fn a_difference_of_neighbours_is_not_lost() {
        let mut exact = product(&[1e300, 1e300, 1e300, 1e300]);
        exact.add_product(&[1e-300, 1e-300, 1e-300, 1e-300], false);
        exact.add_product(&[1e300, 1e300, 1e300, 1e300], true);
        assert_eq!(exact.to_double(), 0.0);
        assert!(!exact.is_zero());
        let times = exact
            .scaled()
            .over(product(&[1e-300, 1e-300, 1e-300]).scaled());
        assert_eq!(times.to_double(), 1e-300);
    }
}
