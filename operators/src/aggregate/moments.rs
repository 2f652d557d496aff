//! Variance, covariance, correlation, regression, skewness and kurtosis from exact sums of powers.
//!
//! The usual way carries a mean and distances to it, rounded at each row and at each merge, so the
//! result depends on which worker saw which rows. Here a group holds the sums of `x`, `x*x`, `x*y` and
//! so on without rounding ([`Exact`]); the formulas with differences of large sums, which are useless
//! with rounded sums, are exact with these, and the quotient is rounded at the very end. The result is
//! the same for every order of rows, and rows that are taken back leave nothing behind.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryBuilder, Float64Array, Int64Array, UInt64Array},
    datatypes::{DataType, Field, FieldRef, Int64Type},
};

use super::{
    AggregateCall,
    column::column,
    doubles::{NonFinite, doubles},
    exact::Exact,
    function::{Function, Rows},
};
use crate::error::{OperatorError, Result};

/// Of all values, or of all that there could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Population,
    Sample,
}

/// What is read from the sums. `y` is the first of two arguments, as in `regr_slope(y, x)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statistic {
    Variance(OfWhat),
    Deviation(OfWhat),
    Covariance(OfWhat),
    Correlation,
    Slope,
    Intercept,
    Determination,
    MeanX,
    MeanY,
    SquaresX,
    SquaresY,
    Products,
    Pairs,
    Skewness,
    Kurtosis,
}

/// Hides [`Of`] from the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OfWhat(Of);

/// A product of powers of the two arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    X,
    Xx,
    Xxx,
    Xxxx,
    Y,
    Yy,
    Xy,
}

/// Values of a group that are no numbers, by argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct NonFinites {
    x: NonFinite,
    y: NonFinite,
}

/// Sums of powers by group.
pub(super) struct Moments {
    statistic: Statistic,
    powers: &'static [Power],
    counts: Vec<i64>,
    /// The sums of all powers of a group beside each other.
    sums: Vec<Exact>,
    /// Empty until a group has one.
    non_finites: Vec<Option<Box<NonFinites>>>,
    heap_bytes: usize,
}

impl Statistic {
    /// What a call asks for; `None` if it is no statistic of doubles.
    pub(super) fn of(call: &AggregateCall) -> Option<Statistic> {
        let (population, sample) = (OfWhat(Of::Population), OfWhat(Of::Sample));
        let statistic = match call.function.fun().name() {
            "var_pop" => Statistic::Variance(population),
            "var" => Statistic::Variance(sample),
            "stddev_pop" => Statistic::Deviation(population),
            "stddev" => Statistic::Deviation(sample),
            "covar_pop" => Statistic::Covariance(population),
            "covar_samp" => Statistic::Covariance(sample),
            "corr" => Statistic::Correlation,
            "regr_slope" => Statistic::Slope,
            "regr_intercept" => Statistic::Intercept,
            "regr_r2" => Statistic::Determination,
            "regr_avgx" => Statistic::MeanX,
            "regr_avgy" => Statistic::MeanY,
            "regr_sxx" => Statistic::SquaresX,
            "regr_syy" => Statistic::SquaresY,
            "regr_sxy" => Statistic::Products,
            "regr_count" => Statistic::Pairs,
            "skewness" => Statistic::Skewness,
            "kurtosis" => Statistic::Kurtosis,
            _ => return None,
        };
        let all_double = call
            .argument_types
            .iter()
            .all(|argument| *argument == DataType::Float64);
        all_double.then_some(statistic)
    }

    fn powers(self) -> &'static [Power] {
        match self {
            Statistic::Variance(_) | Statistic::Deviation(_) | Statistic::SquaresX => {
                &[Power::X, Power::Xx]
            }
            Statistic::Covariance(_) | Statistic::Products => &[Power::X, Power::Y, Power::Xy],
            Statistic::Slope | Statistic::Intercept => &[Power::X, Power::Y, Power::Xx, Power::Xy],
            Statistic::Correlation | Statistic::Determination => {
                &[Power::X, Power::Y, Power::Xx, Power::Xy, Power::Yy]
            }
            Statistic::MeanX => &[Power::X],
            Statistic::MeanY => &[Power::Y],
            Statistic::SquaresY => &[Power::Y, Power::Yy],
            Statistic::Pairs => &[],
            Statistic::Skewness => &[Power::X, Power::Xx, Power::Xxx],
            Statistic::Kurtosis => &[Power::X, Power::Xx, Power::Xxx, Power::Xxxx],
        }
    }

    /// What the result is where a value was no number, if that decides it.
    fn decided_by(self, values: &NonFinites) -> Option<f64> {
        let (x, y) = (values.x.sum(), values.y.sum());
        match self {
            Statistic::MeanX => x,
            Statistic::MeanY => y,
            Statistic::SquaresX => x.map(|_| f64::NAN),
            Statistic::SquaresY => y.map(|_| f64::NAN),
            Statistic::Variance(_)
            | Statistic::Deviation(_)
            | Statistic::Covariance(_)
            | Statistic::Correlation
            | Statistic::Slope
            | Statistic::Intercept
            | Statistic::Determination
            | Statistic::Products
            | Statistic::Pairs
            | Statistic::Skewness
            | Statistic::Kurtosis => x.or(y).map(|_| f64::NAN),
        }
    }

    /// How many values there must be for a result.
    fn least_count(self) -> i64 {
        match self {
            Statistic::Variance(OfWhat(Of::Sample))
            | Statistic::Deviation(OfWhat(Of::Sample))
            | Statistic::Covariance(OfWhat(Of::Sample))
            | Statistic::Correlation
            | Statistic::Slope
            | Statistic::Intercept
            | Statistic::Determination => 2,
            Statistic::Variance(OfWhat(Of::Population))
            | Statistic::Deviation(OfWhat(Of::Population))
            | Statistic::Covariance(OfWhat(Of::Population))
            | Statistic::MeanX
            | Statistic::MeanY
            | Statistic::SquaresX
            | Statistic::SquaresY
            | Statistic::Products
            | Statistic::Skewness
            | Statistic::Kurtosis => 1,
            Statistic::Pairs => 0,
        }
    }
}

/// The sums of a group, for reading.
struct Sums<'a> {
    count: i64,
    powers: &'static [Power],
    sums: &'a [Exact],
}

impl Sums<'_> {
    fn of(&self, power: Power) -> Exact {
        let at = self.powers.iter().position(|held| *held == power);
        let held = at.and_then(|at| self.sums.get(at));
        held.cloned().unwrap_or_default()
    }

    /// The count times the sum of products, less the product of the sums.
    fn centred(&self, products: Power, a: Power, b: Power) -> Exact {
        let product = self.of(a).times(&self.of(b));
        self.of(products).times_count(self.count).minus(&product)
    }

    fn spread_x(&self) -> Exact {
        self.centred(Power::Xx, Power::X, Power::X)
    }

    fn spread_y(&self) -> Exact {
        self.centred(Power::Yy, Power::Y, Power::Y)
    }

    fn spread_both(&self) -> Exact {
        self.centred(Power::Xy, Power::X, Power::Y)
    }

    /// What divides a [`centred`](Sums::centred) sum so that it is a mean.
    fn divisor(&self, of: OfWhat) -> Exact {
        let others = match of.0 {
            Of::Population => self.count,
            Of::Sample => self.count - 1,
        };
        Exact::of_count(self.count).times_count(others)
    }

    fn over_count(&self, sum: &Exact) -> f64 {
        let count = Exact::of_count(self.count).scaled();
        sum.scaled().over(count).to_double()
    }

    fn correlation(&self) -> Option<f64> {
        let both = self.spread_both();
        let square = self.spread_x().times(&self.spread_y());
        if square.is_zero() {
            return None;
        }
        // Points on a line are on it to the last digit.
        if both.times(&both).minus(&square).is_zero() {
            return Some(if both.is_negative() { -1.0 } else { 1.0 });
        }
        let root = square.scaled().root();
        Some(both.scaled().over(root).to_double().clamp(-1.0, 1.0))
    }

    fn determination(&self) -> Option<f64> {
        let both = self.spread_both();
        ratio(&both.times(&both), &self.spread_x().times(&self.spread_y()))
    }

    /// Where the line crosses, as one quotient: nothing is rounded before.
    fn intercept(&self) -> Option<f64> {
        let (spread, both) = (self.spread_x(), self.spread_both());
        let above = self.of(Power::Y).times(&spread);
        let above = above.minus(&self.of(Power::X).times(&both));
        ratio(&above, &spread.times_count(self.count))
    }

    /// The count's square times the third central sum.
    fn skewness(&self) -> Option<f64> {
        let (n, x, spread) = (self.count, self.of(Power::X), self.spread_x());
        if spread.is_zero() {
            return None;
        }
        let squares = self.of(Power::Xx).times(&x).times_count(n).times_count(3);
        let cubes = self.of(Power::Xxx).times_count(n).times_count(n);
        let all = x.times(&x).times(&x).times_count(2);
        let third = cubes.minus(&squares).plus(&all);
        let root = spread.times(&spread).times(&spread).scaled().root();
        Some(third.scaled().over(root).to_double())
    }

    /// The count's cube times the fourth central sum, less three times what the normal law has.
    fn kurtosis(&self) -> Option<f64> {
        let (n, x, spread) = (self.count, self.of(Power::X), self.spread_x());
        let square = x.times(&x);
        let cubes = self.of(Power::Xxx).times(&x);
        let cubes = cubes.times_count(n).times_count(n).times_count(4);
        let squares = self.of(Power::Xx).times(&square).times_count(n);
        let fourth = self.of(Power::Xxxx).times_count(n).times_count(n);
        let fourth = fourth
            .times_count(n)
            .minus(&cubes)
            .plus(&squares.times_count(6))
            .minus(&square.times(&square).times_count(3));
        let normal = spread.times(&spread);
        ratio(&fourth.minus(&normal.times_count(3)), &normal)
    }

    fn read(&self, statistic: Statistic) -> Option<f64> {
        match statistic {
            Statistic::Variance(of) => ratio(&self.spread_x(), &self.divisor(of)),
            Statistic::Deviation(of) => {
                let variance = self.spread_x().scaled().over(self.divisor(of).scaled());
                Some(variance.root().to_double())
            }
            Statistic::Covariance(of) => ratio(&self.spread_both(), &self.divisor(of)),
            Statistic::Correlation => self.correlation(),
            Statistic::Slope => ratio(&self.spread_both(), &self.spread_x()),
            Statistic::Intercept => self.intercept(),
            Statistic::Determination => self.determination(),
            Statistic::MeanX => Some(self.over_count(&self.of(Power::X))),
            Statistic::MeanY => Some(self.over_count(&self.of(Power::Y))),
            Statistic::SquaresX => Some(self.over_count(&self.spread_x())),
            Statistic::SquaresY => Some(self.over_count(&self.spread_y())),
            Statistic::Products => Some(self.over_count(&self.spread_both())),
            Statistic::Pairs => None,
            Statistic::Skewness => self.skewness(),
            Statistic::Kurtosis => self.kurtosis(),
        }
    }
}

/// A quotient, rounded; nothing where nothing can divide.
fn ratio(above: &Exact, below: &Exact) -> Option<f64> {
    (!below.is_zero()).then(|| above.scaled().over(below.scaled()).to_double())
}

impl Moments {
    pub(super) fn new(statistic: Statistic) -> Moments {
        Moments {
            statistic,
            powers: statistic.powers(),
            counts: Vec::new(),
            sums: Vec::new(),
            non_finites: Vec::new(),
            heap_bytes: 0,
        }
    }

    /// The state: the number of values, and the sums as bytes.
    pub(super) fn state_fields() -> Vec<FieldRef> {
        vec![
            Arc::new(Field::new("count", DataType::Int64, true)),
            Arc::new(Field::new("sums", DataType::Binary, true)),
        ]
    }

    fn sums(&self, group: u32) -> Sums<'_> {
        let first = group as usize * self.powers.len();
        Sums {
            count: self.counts[group as usize],
            powers: self.powers,
            sums: &self.sums[first..first + self.powers.len()],
        }
    }

    fn add(&mut self, group: u32, x: f64, y: f64, takes_away: bool) {
        let first = group as usize * self.powers.len();
        let (has_x, has_y) = (x.is_finite(), y.is_finite());
        for (power, sum) in self.powers.iter().zip(&mut self.sums[first..]) {
            let before = sum.heap_bytes();
            match power {
                Power::X if has_x => sum.add_product(&[x], takes_away),
                Power::Xx if has_x => sum.add_product(&[x, x], takes_away),
                Power::Xxx if has_x => sum.add_product(&[x, x, x], takes_away),
                Power::Xxxx if has_x => sum.add_product(&[x, x, x, x], takes_away),
                Power::Y if has_y => sum.add_product(&[y], takes_away),
                Power::Yy if has_y => sum.add_product(&[y, y], takes_away),
                Power::Xy if has_x && has_y => sum.add_product(&[x, y], takes_away),
                Power::X
                | Power::Xx
                | Power::Xxx
                | Power::Xxxx
                | Power::Y
                | Power::Yy
                | Power::Xy => {}
            }
            self.heap_bytes = self.heap_bytes + sum.heap_bytes() - before;
        }
        if !(has_x && has_y) {
            self.add_non_finite(group, x, y, if takes_away { -1 } else { 1 });
        }
    }

    #[cold]
    fn add_non_finite(&mut self, group: u32, x: f64, y: f64, count: i64) {
        let values = self.non_finites(group);
        if !x.is_finite() {
            values.x.add(x, count);
        }
        if !y.is_finite() {
            values.y.add(y, count);
        }
    }

    fn non_finites(&mut self, group: u32) -> &mut NonFinites {
        if self.non_finites.is_empty() {
            self.non_finites.resize(self.counts.len(), None);
        }
        let heap_bytes = &mut self.heap_bytes;
        self.non_finites[group as usize].get_or_insert_with(|| {
            *heap_bytes += size_of::<NonFinites>();
            Box::default()
        })
    }

    fn non_finites_of(&self, group: u32) -> NonFinites {
        let held = self.non_finites.get(group as usize);
        held.and_then(|held| held.as_deref().copied())
            .unwrap_or_default()
    }

    fn write(&self, group: u32, bytes: &mut Vec<u8>) {
        let values = self.non_finites_of(group);
        bytes.push(u8::from(values != NonFinites::default()));
        if values != NonFinites::default() {
            values.x.write(bytes);
            values.y.write(bytes);
        }
        for sum in self.sums(group).sums {
            sum.write(bytes);
        }
    }

    fn add_written(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let (has_values, mut bytes) = bytes.split_first()?;
        if *has_values != 0 {
            let values = self.non_finites(group);
            values.x.add_written(&mut bytes)?;
            values.y.add_written(&mut bytes)?;
        }
        let first = group as usize * self.powers.len();
        for sum in &mut self.sums[first..first + self.powers.len()] {
            let before = sum.heap_bytes();
            sum.add_written(&mut bytes)?;
            self.heap_bytes = self.heap_bytes + sum.heap_bytes() - before;
        }
        Some(())
    }

    fn read(&self, group: u32) -> Option<f64> {
        let sums = self.sums(group);
        if sums.count < self.statistic.least_count() {
            return None;
        }
        let decided = self.statistic.decided_by(&self.non_finites_of(group));
        decided.or_else(|| sums.read(self.statistic))
    }
}

impl Function for Moments {
    fn width(&self) -> usize {
        2
    }

    fn resize(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        self.sums
            .resize_with(groups * self.powers.len(), Exact::default);
        if !self.non_finites.is_empty() {
            self.non_finites.resize(groups, None);
        }
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let first = doubles(rows.arguments, 0)?;
        let (x, y) = match rows.arguments {
            [_] => (first, first),
            _ => (doubles(rows.arguments, 1)?, first),
        };
        for (row, group) in rows.groups.iter().enumerate() {
            if x.is_null(row) || y.is_null(row) || !rows.counts(row) {
                continue;
            }
            let sign = rows.sign(row);
            self.counts[*group as usize] += sign;
            for _ in 0..sign.unsigned_abs() {
                self.add(*group, x.value(row), y.value(row), sign < 0);
            }
        }
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let contract = || OperatorError::contract("sums in another form than their function's");
        let counts = column::<Int64Type>(state, 0)?;
        let written = state
            .get(1)
            .and_then(|column| column.as_binary_opt::<i32>());
        let written = written.ok_or_else(contract)?;
        for (row, group) in groups.iter().enumerate() {
            self.counts[*group as usize] += counts.value(row);
            self.add_written(*group, written.value(row))
                .ok_or_else(contract)?;
        }
        Ok(())
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut written = BinaryBuilder::with_capacity(groups.len(), groups.len() * 32);
        let mut bytes = Vec::new();
        for group in groups {
            bytes.clear();
            self.write(*group, &mut bytes);
            written.append_value(&bytes);
        }
        let counts = groups.iter().map(|group| self.counts[*group as usize]);
        Ok(vec![
            Arc::new(Int64Array::from_iter_values(counts)),
            Arc::new(written.finish()),
        ])
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        if self.statistic == Statistic::Pairs {
            let counts = groups.iter().map(|group| self.counts[*group as usize]);
            let counts = counts.map(|count| u64::try_from(count).unwrap_or(0));
            return Ok(Arc::new(UInt64Array::from_iter_values(counts)));
        }
        let results = groups.iter().map(|group| self.read(*group));
        Ok(Arc::new(results.collect::<Float64Array>()))
    }

    fn bytes_of(&self, group: u32) -> usize {
        let sums = self.sums(group).sums.iter();
        16 + sums
            .map(|sum| size_of::<Exact>() + sum.heap_bytes())
            .sum::<usize>()
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
            + self.sums.capacity() * size_of::<Exact>()
            + self.non_finites.capacity() * size_of::<Option<Box<NonFinites>>>()
            + self.heap_bytes
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Float64Type;
    use proptest::prelude::*;

    use super::*;

    const ALL: [Statistic; 17] = [
        Statistic::Variance(OfWhat(Of::Population)),
        Statistic::Variance(OfWhat(Of::Sample)),
        Statistic::Deviation(OfWhat(Of::Population)),
        Statistic::Deviation(OfWhat(Of::Sample)),
        Statistic::Covariance(OfWhat(Of::Population)),
        Statistic::Covariance(OfWhat(Of::Sample)),
        Statistic::Correlation,
        Statistic::Slope,
        Statistic::Intercept,
        Statistic::Determination,
        Statistic::MeanX,
        Statistic::MeanY,
        Statistic::SquaresX,
        Statistic::SquaresY,
        Statistic::Products,
        Statistic::Skewness,
        Statistic::Kurtosis,
    ];

    fn add(moments: &mut Moments, rows: &[(f64, f64)], signs: Option<&[i64]>) {
        let column = |of: fn(&(f64, f64)) -> f64| -> ArrayRef {
            Arc::new(rows.iter().map(of).map(Some).collect::<Float64Array>())
        };
        moments.resize(1);
        let rows = Rows {
            arguments: &[column(|row| row.1), column(|row| row.0)],
            filter: None,
            groups: &vec![0; rows.len()],
            signs,
            epoch: 0,
            origins: None,
        };
        moments.update(&rows).expect("takes doubles");
    }

    fn result(moments: &Moments) -> Option<f64> {
        let result = moments.evaluate(&[0]).expect("has a result");
        let result = result.as_primitive::<Float64Type>();
        result.is_valid(0).then(|| result.value(0))
    }

    fn value() -> impl Strategy<Value = f64> {
        let special = vec![0.0, f64::MAX, -5e-324, f64::INFINITY, f64::NAN];
        prop_oneof![
            20 => -1e3..1e3f64,
            5 => any::<u64>().prop_map(f64::from_bits),
            1 => prop::sample::select(special),
        ]
    }

    /// By the book: means first, then distances to them.
    fn by_the_book(statistic: Statistic, rows: &[(f64, f64)]) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "few rows")]
        let n = rows.len() as f64;
        let (mean_x, mean_y) = (
            rows.iter().map(|row| row.0).sum::<f64>() / n,
            rows.iter().map(|row| row.1).sum::<f64>() / n,
        );
        let sum = |x: i32, y: i32| -> f64 {
            rows.iter()
                .map(|row| (row.0 - mean_x).powi(x) * (row.1 - mean_y).powi(y))
                .sum()
        };
        let others = |of: OfWhat| if of.0 == Of::Sample { n - 1.0 } else { n };
        match statistic {
            Statistic::Variance(of) => sum(2, 0) / others(of),
            Statistic::Deviation(of) => (sum(2, 0) / others(of)).sqrt(),
            Statistic::Covariance(of) => sum(1, 1) / others(of),
            Statistic::Correlation => sum(1, 1) / (sum(2, 0) * sum(0, 2)).sqrt(),
            Statistic::Slope => sum(1, 1) / sum(2, 0),
            Statistic::Intercept => mean_y - sum(1, 1) / sum(2, 0) * mean_x,
            Statistic::Determination => sum(1, 1).powi(2) / (sum(2, 0) * sum(0, 2)),
            Statistic::MeanX => mean_x,
            Statistic::MeanY => mean_y,
            Statistic::SquaresX => sum(2, 0),
            Statistic::SquaresY => sum(0, 2),
            Statistic::Products => sum(1, 1),
            Statistic::Pairs => n,
            Statistic::Skewness => n.sqrt() * sum(3, 0) / sum(2, 0).powf(1.5),
            Statistic::Kurtosis => n * sum(4, 0) / sum(2, 0).powi(2) - 3.0,
        }
    }

    proptest! {
        #[test]
        fn a_statistic_depends_on_the_rows_alone(
            rows in prop::collection::vec((value(), value()), 1..25),
            cut in 0..25usize,
        ) {
            for statistic in ALL {
                let mut one = Moments::new(statistic);
                add(&mut one, &rows, None);
                let (front, back) = rows.split_at(cut.min(rows.len()));
                let mut parts = [Moments::new(statistic), Moments::new(statistic)];
                add(&mut parts[0], front, None);
                add(&mut parts[1], back, None);
                let mut all = Moments::new(statistic);
                all.resize(1);
                for part in parts.iter().rev() {
                    let state = part.state(&[0]).expect("has a state");
                    all.merge(&state, &[0]).expect("takes a state");
                }
                let bits = |moments: &Moments| result(moments).map(f64::to_bits);
                prop_assert_eq!(bits(&all), bits(&one), "{:?}", statistic);
                let states = [&all, &one].map(|held| held.state(&[0]).expect("has a state"));
                prop_assert_eq!(&states[0], &states[1]);
                add(&mut all, front, Some(&vec![-1; front.len()]));
                prop_assert_eq!(bits(&all), bits(&parts[1]), "{:?}", statistic);
            }
        }

        #[test]
        fn a_statistic_is_what_the_book_says(
            rows in prop::collection::vec((0.0..10.0f64, 0.0..10.0f64), 3..25),
        ) {
            for statistic in ALL {
                let mut moments = Moments::new(statistic);
                add(&mut moments, &rows, None);
                let (got, want) = (result(&moments).unwrap_or(f64::NAN), by_the_book(statistic, &rows));
                let near = (got - want).abs() <= 1e-9 * want.abs().max(1.0);
                prop_assert!(near || want.is_nan(), "{:?}: {} is not {}", statistic, got, want);
            }
        }
    }

    #[test]
    fn nothing_is_lost_where_values_are_far_from_zero() {
        let rows: Vec<_> = [1.0, 5.0, 9.0].map(|x| (1e15 + x, -1e15 - x)).to_vec();
        let of = |statistic| {
            let mut moments = Moments::new(statistic);
            add(&mut moments, &rows, None);
            result(&moments)
        };
        assert_eq!(of(Statistic::Variance(OfWhat(Of::Sample))), Some(16.0));
        assert_eq!(of(Statistic::Correlation), Some(-1.0));
        assert_eq!(of(Statistic::Slope), Some(-1.0));
        assert_eq!(of(Statistic::Intercept), Some(0.0));
        assert_eq!(of(Statistic::Skewness), Some(0.0));
        assert_eq!(of(Statistic::Kurtosis), Some(-1.5));
    }
}
