//! Aggregates of Spark that DataFusion has not: `mode`, `histogram_numeric`, `kurtosis`, `skewness`.
//!
//! The first two keep how often each value came. So their answer does not depend on the order of rows
//! nor on the number of workers; where Spark takes any of several most frequent values, the least is
//! taken, and a histogram is made of all values at once.

use std::{collections::HashMap, mem::size_of_val, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StructArray},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Fields, Float64Type, Int64Type},
};
use datafusion::{
    common::{Result, ScalarValue, utils::SingleRowListArrayBuilder},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
    physical_expr::expressions::Literal,
};

use millstream_values::interval::{CALENDAR, is_counted};

use super::intervals::{as_counts, of_counts};
use crate::{SqlError, types::spark_name};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// The least of the most frequent values.
    Mode,
    /// The greatest of the most frequent values.
    GreatestMode,
    Histogram,
    Kurtosis,
    Skewness,
}

/// What `mode() WITHIN GROUP (ORDER BY x DESC)` is rewritten to.
pub(crate) const GREATEST_MODE: &str = "__mode_desc";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Statistic {
    kind: Kind,
    signature: Signature,
}

/// All of them.
pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    [
        Kind::Mode,
        Kind::GreatestMode,
        Kind::Histogram,
        Kind::Kurtosis,
        Kind::Skewness,
    ]
    .into_iter()
    .map(|kind| {
        Arc::new(AggregateUDF::from(Statistic {
            kind,
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    })
    .collect()
}

fn types(message: String) -> datafusion::common::DataFusionError {
    SqlError::Types { message }.into_datafusion()
}

impl AggregateUDFImpl for Statistic {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Mode => "mode",
            Kind::GreatestMode => GREATEST_MODE,
            Kind::Histogram => "histogram_numeric",
            Kind::Kurtosis => "kurtosis",
            Kind::Skewness => "skewness",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match (self.kind, arg_types) {
            (Kind::Mode | Kind::GreatestMode, [value]) => Ok(vec![value.clone()]),
            (Kind::Mode, [value, _]) => Ok(vec![value.clone(), DataType::Boolean]),
            (Kind::Histogram, [value, _])
                if value.is_numeric() || (value.is_temporal() && *value != CALENDAR) =>
            {
                Ok(vec![value.clone(), DataType::Int64])
            }
            (Kind::Kurtosis | Kind::Skewness, [value])
                if !value.is_temporal() && *value != DataType::Boolean =>
            {
                Ok(vec![DataType::Float64])
            }
            (_, other) => Err(types(format!(
                "{} does not take ({})",
                self.name(),
                other.iter().map(spark_name).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Mode | Kind::GreatestMode => arg_types[0].clone(),
            Kind::Histogram => {
                DataType::new_list(DataType::Struct(bin_fields(&arg_types[0])), true)
            }
            Kind::Kurtosis | Kind::Skewness => DataType::Float64,
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part: &str, data_type| {
            Arc::new(Field::new(
                format_state_name(args.name, part),
                data_type,
                true,
            ))
        };
        if matches!(self.kind, Kind::Kurtosis | Kind::Skewness) {
            let parts = ["count", "mean", "m2", "m3", "m4"];
            return Ok(parts.map(|part| field(part, DataType::Float64)).to_vec());
        }
        let value = args.input_fields[0].data_type().clone();
        Ok(vec![
            field("values", DataType::new_list(value, true)),
            field("counts", DataType::new_list(DataType::Int64, true)),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if matches!(self.kind, Kind::Kurtosis | Kind::Skewness) {
            return Ok(Box::new(Moments {
                kind: self.kind,
                count: 0.0,
                mean: 0.0,
                higher: [0.0; 3],
            }));
        }
        let bins = match args.exprs.get(1).map(|expr| expr.downcast_ref::<Literal>()) {
            Some(Some(literal)) => match literal.value() {
                ScalarValue::Int64(Some(bins)) => usize::try_from(*bins).unwrap_or(0),
                _ => 0,
            },
            _ => 0,
        };
        if self.kind == Kind::Histogram && bins < 2 {
            return Err(types(
                "the number of bins must be a literal of at least 2".to_owned(),
            ));
        }
        Ok(Box::new(Counted {
            kind: self.kind,
            bins,
            value: args.expr_fields[0].data_type().clone(),
            seen: HashMap::new(),
        }))
    }
}

/// The fields of a histogram's bin.
fn bin_fields(value: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("x", value.clone(), true),
        Field::new("y", DataType::Float64, true),
    ])
}

/// How often each value came.
#[derive(Debug)]
struct Counted {
    kind: Kind,
    bins: usize,
    value: DataType,
    seen: HashMap<ScalarValue, i64>,
}

impl Counted {
    /// The values in order.
    fn sorted(&self) -> Vec<(&ScalarValue, i64)> {
        let mut all: Vec<_> = self.seen.iter().map(|(value, n)| (value, *n)).collect();
        all.sort_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        all
    }

    fn mode(&self) -> Result<ScalarValue> {
        let sorted = self.sorted();
        let most = sorted.iter().map(|(_, count)| *count).max();
        let mut of_most = sorted.iter().filter(|(_, count)| Some(*count) == most);
        let found = match self.kind {
            Kind::GreatestMode => of_most.next_back(),
            _ => of_most.next(),
        };
        match found {
            Some((value, _)) => Ok((*value).clone()),
            None => ScalarValue::try_from(&self.value),
        }
    }

    /// Joins the two nearest bins until there are few enough.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn histogram(&self) -> Result<ScalarValue> {
        let sorted = self.sorted();
        let data_type = DataType::new_list(DataType::Struct(bin_fields(&self.value)), true);
        if sorted.is_empty() {
            return ScalarValue::try_from(&data_type);
        }
        let values = ScalarValue::iter_to_array(sorted.iter().map(|(value, _)| (*value).clone()))?;
        let doubles = as_doubles(&values)?;
        let mut bins: Vec<(f64, f64)> = doubles
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .zip(&sorted)
            .map(|(value, (_, count))| (*value, *count as f64))
            .collect();
        while bins.len() > self.bins {
            let gap = |at: &usize| bins[at + 1].0 - bins[*at].0;
            let nearest = (0..bins.len() - 1).min_by(|a, b| gap(a).total_cmp(&gap(b)));
            let Some(at) = nearest else { break };
            let (x, y) = bins.remove(at + 1);
            let total = bins[at].1 + y;
            bins[at] = ((bins[at].0 * bins[at].1 + x * y) / total, total);
        }
        let xs: Float64Array = bins.iter().map(|(x, _)| Some(*x)).collect();
        let ys: Float64Array = bins.iter().map(|(_, y)| Some(*y)).collect();
        let xs: ArrayRef = Arc::new(xs);
        let whole = !matches!(self.value, DataType::Float32 | DataType::Float64);
        let xs = if is_counted(&self.value) {
            of_counts(&xs, &self.value)?
        } else if whole && !matches!(self.value, DataType::Decimal128(..)) {
            cast(&cast(&xs, &DataType::Int64)?, &self.value)?
        } else {
            cast(&xs, &self.value)?
        };
        let bins = StructArray::try_new(bin_fields(&self.value), vec![xs, Arc::new(ys)], None)?;
        Ok(SingleRowListArrayBuilder::new(Arc::new(bins)).build_list_scalar())
    }
}

fn as_doubles(values: &ArrayRef) -> Result<ArrayRef> {
    let plain = match values.data_type() {
        found if is_counted(found) => as_counts(values),
        DataType::Date32 => cast(values, &DataType::Int32)?,
        DataType::Timestamp(..) => cast(values, &DataType::Int64)?,
        _ => Arc::clone(values),
    };
    Ok(cast(&plain, &DataType::Float64)?)
}

impl Accumulator for Counted {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = &values[0];
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            let value = ScalarValue::try_from_array(values, row)?.compacted();
            *self.seen.entry(value).or_default() += 1;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (values, counts) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        for (values, counts) in values.iter().zip(counts.iter()) {
            let (Some(values), Some(counts)) = (values, counts) else {
                continue;
            };
            let counts = counts.as_primitive::<Int64Type>();
            for row in 0..values.len() {
                let value = ScalarValue::try_from_array(&values, row)?.compacted();
                *self.seen.entry(value).or_default() += counts.value(row);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sorted = self.sorted();
        let counts: Int64Array = sorted.iter().map(|(_, count)| Some(*count)).collect();
        let values: ArrayRef = if sorted.is_empty() {
            arrow::array::new_empty_array(&self.value)
        } else {
            ScalarValue::iter_to_array(sorted.iter().map(|(value, _)| (*value).clone()))?
        };
        let list = |array: ArrayRef| SingleRowListArrayBuilder::new(array).build_list_scalar();
        Ok(vec![list(values), list(Arc::new(counts))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.kind {
            Kind::Histogram => self.histogram(),
            _ => self.mode(),
        }
    }

    fn size(&self) -> usize {
        let values: usize = self.seen.keys().map(ScalarValue::size).sum();
        size_of_val(self) + values + self.seen.capacity() * size_of::<i64>()
    }
}

/// The count, the mean, and the sums of the second to fourth powers of distances to it.
#[derive(Debug)]
struct Moments {
    kind: Kind,
    count: f64,
    mean: f64,
    higher: [f64; 3],
}

impl Moments {
    /// Takes in the moments of other values (Pébay's formulas).
    fn merge(&mut self, count: f64, mean: f64, other: [f64; 3]) {
        if count == 0.0 {
            return;
        }
        let (n1, n2) = (self.count, count);
        let n = n1 + n2;
        let delta = mean - self.mean;
        let step = delta / n;
        let [m2, m3, m4] = self.higher;
        let fourth = m4
            + other[2]
            + step.powi(3) * delta * n1 * n2 * (n1 * n1 - n1 * n2 + n2 * n2)
            + 6.0 * step * step * (n1 * n1 * other[0] + n2 * n2 * m2)
            + 4.0 * step * (n1 * other[1] - n2 * m3);
        let third = m3
            + other[1]
            + step * step * delta * n1 * n2 * (n1 - n2)
            + 3.0 * step * (n1 * other[0] - n2 * m2);
        let second = m2 + other[0] + step * delta * n1 * n2;
        self.higher = [second, third, fourth];
        self.mean += step * n2;
        self.count = n;
    }
}

impl Accumulator for Moments {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Float64Type>().iter().flatten() {
            self.merge(1.0, value, [0.0; 3]);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let parts: Vec<&Float64Array> = states.iter().map(|part| part.as_primitive()).collect();
        for row in 0..parts[0].len() {
            let part = |at: usize| parts[at].value(row);
            self.merge(part(0), part(1), [part(2), part(3), part(4)]);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let [m2, m3, m4] = self.higher;
        let parts = [self.count, self.mean, m2, m3, m4];
        Ok(parts.map(|part| ScalarValue::Float64(Some(part))).to_vec())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let [m2, m3, m4] = self.higher;
        // Spark has no answer where all values are one.
        let answer = (self.count > 0.0 && m2 != 0.0).then(|| match self.kind {
            Kind::Kurtosis => self.count * m4 / (m2 * m2) - 3.0,
            _ => self.count.sqrt() * m3 / (m2 * m2 * m2).sqrt(),
        });
        Ok(ScalarValue::Float64(answer))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
