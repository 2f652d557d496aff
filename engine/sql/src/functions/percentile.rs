//! `percentile_approx`, `percentile` and `median` with Spark's answers.
//!
//! A group keeps the values that it saw, sorted, each with how often it came. `percentile_approx`
//! thins them out when there are many more than its accuracy, so that an answer's rank is wrong by
//! at most a few accuracies' part of the count; few values are answered exactly.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "enums of other crates, with many variants and more to come"
)]

use std::{mem::size_of_val, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type},
};
use datafusion::{
    common::{Result, ScalarValue, utils::SingleRowListArrayBuilder},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
    physical_expr::{PhysicalExpr, expressions::Literal},
};

use super::simple::failed;
use crate::SqlError;

/// Spark's default accuracy.
const ACCURACY: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// A value that was seen, in the values' type.
    Approximate,
    /// A double between two values.
    Exact,
    /// The exact half.
    Median,
    /// The first value at or behind the place.
    Discrete,
    /// The same, counted from the greatest value.
    DiscreteFromTop,
}

/// What `percentile_disc(p) WITHIN GROUP (ORDER BY x DESC)` is rewritten to.
pub(crate) const DISC_DESC: &str = "__percentile_disc_desc";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Percentile {
    kind: Kind,
    aliases: Vec<String>,
    signature: Signature,
}

/// All of them.
pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    [
        (Kind::Approximate, &["approx_percentile"][..]),
        (Kind::Exact, &[]),
        (Kind::Median, &[]),
        (Kind::Discrete, &[]),
        (Kind::DiscreteFromTop, &[]),
    ]
    .into_iter()
    .map(|(kind, aliases)| {
        Arc::new(AggregateUDF::from(Percentile {
            kind,
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    })
    .collect()
}

fn is_list(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)
    )
}

impl AggregateUDFImpl for Percentile {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Approximate => "percentile_approx",
            Kind::Exact => "percentile",
            Kind::Median => "median",
            Kind::Discrete => "percentile_disc",
            Kind::DiscreteFromTop => DISC_DESC,
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let counts = match self.kind {
            Kind::Approximate | Kind::Exact => 2..=3,
            Kind::Discrete | Kind::DiscreteFromTop => 2..=2,
            Kind::Median => 1..=1,
        };
        if !counts.contains(&arg_types.len()) {
            return Err(SqlError::Types {
                message: format!(
                    "{} does not take {} arguments",
                    self.name(),
                    arg_types.len()
                ),
            }
            .into_datafusion());
        }
        let mut wanted = arg_types.to_vec();
        if self.kind != Kind::Approximate
            || !(arg_types[0].is_numeric() || arg_types[0].is_temporal())
        {
            wanted[0] = DataType::Float64;
        }
        if let Some(fractions) = wanted.get_mut(1) {
            *fractions = if is_list(fractions) {
                DataType::new_list(DataType::Float64, true)
            } else {
                DataType::Float64
            };
        }
        if let Some(accuracy) = wanted.get_mut(2) {
            *accuracy = DataType::Int64;
        }
        Ok(wanted)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let one = match self.kind {
            Kind::Approximate => arg_types[0].clone(),
            Kind::Exact | Kind::Median | Kind::Discrete | Kind::DiscreteFromTop => {
                DataType::Float64
            }
        };
        Ok(match arg_types.get(1) {
            Some(fractions) if is_list(fractions) => DataType::new_list(one, true),
            _ => one,
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part: &str, data_type| {
            let name = format_state_name(args.name, part);
            Arc::new(Field::new(name, DataType::new_list(data_type, true), true))
        };
        Ok(vec![
            field("values", DataType::Float64),
            field("counts", DataType::Int64),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let fractions = match args.exprs.get(1) {
            Some(expr) => fractions(expr)?,
            None => vec![0.5],
        };
        let accuracy = match args.exprs.get(2).map(literal) {
            // The third argument of `percentile` is a column of counts.
            _ if self.kind != Kind::Approximate => ACCURACY,
            None => ACCURACY,
            Some(Some(ScalarValue::Int64(Some(accuracy)))) if *accuracy > 0 => {
                usize::try_from(*accuracy).unwrap_or(ACCURACY)
            }
            Some(_) => return Err(wrong("the accuracy must be a positive literal")),
        };
        Ok(Box::new(Values {
            kind: self.kind,
            is_list: is_list(args.return_field.data_type()),
            result: args.return_field.data_type().clone(),
            fractions,
            accuracy,
            seen: Vec::new(),
        }))
    }
}

fn wrong(message: &str) -> datafusion::common::DataFusionError {
    SqlError::Types {
        message: message.to_owned(),
    }
    .into_datafusion()
}

fn literal(expr: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    expr.downcast_ref::<Literal>().map(Literal::value)
}

fn fractions(expr: &Arc<dyn PhysicalExpr>) -> Result<Vec<f64>> {
    let refused = || wrong("the percentages must be literals between 0 and 1");
    let value = literal(expr).ok_or_else(refused)?;
    let array = value.to_array()?;
    let numbers = match array.data_type() {
        DataType::Float64 => array,
        other if is_list(other) => {
            let list = cast(&array, &DataType::new_list(DataType::Float64, true))?;
            list.as_list::<i32>().value(0)
        }
        _ => return Err(refused()),
    };
    let numbers: Option<Vec<f64>> = numbers.as_primitive::<Float64Type>().iter().collect();
    numbers
        .filter(|numbers| numbers.iter().all(|p| (0.0..=1.0).contains(p)))
        .ok_or_else(refused)
}

/// What a group saw.
#[derive(Debug)]
struct Values {
    kind: Kind,
    is_list: bool,
    result: DataType,
    fractions: Vec<f64>,
    accuracy: usize,
    /// Values and how often each came; in order after [`Values::settle`].
    seen: Vec<(f64, i64)>,
}

impl Values {
    fn add(&mut self, value: f64, count: i64) {
        self.seen.push((value, count));
        if self.kind == Kind::Approximate && self.seen.len() > 8 * self.accuracy {
            self.settle();
        }
    }

    /// Orders the values, joins equal ones, and thins them out if there are too many.
    fn settle(&mut self) {
        self.seen.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        self.seen.dedup_by(|(value, count), (kept, total)| {
            let same = value.total_cmp(kept).is_eq();
            if same {
                *total += *count;
            }
            same
        });
        if self.kind == Kind::Approximate && self.seen.len() > 4 * self.accuracy {
            let total: i64 = self.seen.iter().map(|(_, count)| count).sum();
            let most = i64::try_from(2 * self.accuracy).unwrap_or(i64::MAX);
            let width = total / most + 1;
            let mut thin: Vec<(f64, i64)> = Vec::with_capacity(2 * self.accuracy + 1);
            for (value, count) in self.seen.drain(..) {
                match thin.last_mut() {
                    // A value stands for the smaller ones that it took in; the least stays.
                    Some((kept, so_far)) if *so_far + count <= width && *so_far > 0 => {
                        *kept = value;
                        *so_far += count;
                    }
                    _ => thin.push((value, count)),
                }
            }
            self.seen = thin;
        }
    }

    fn at_rank(&self, rank: i64) -> f64 {
        let mut so_far = 0;
        for (value, count) in &self.seen {
            so_far += count;
            if so_far >= rank {
                return *value;
            }
        }
        self.seen.last().map_or(f64::NAN, |(value, _)| *value)
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "ranks are far below 2^53"
    )]
    fn answer(&self, fraction: f64) -> f64 {
        let total: i64 = self.seen.iter().map(|(_, count)| count).sum();
        if self.kind == Kind::Approximate {
            return self.at_rank(((fraction * total as f64).ceil() as i64).max(1));
        }
        let rank = ((fraction * total as f64).ceil() as i64).max(1);
        match self.kind {
            Kind::Discrete => return self.at_rank(rank),
            Kind::DiscreteFromTop => return self.at_rank(total + 1 - rank),
            Kind::Approximate | Kind::Exact | Kind::Median => {}
        }
        let place = fraction * (total - 1) as f64;
        let (low, high) = (
            self.at_rank(place.floor() as i64 + 1),
            self.at_rank(place.ceil() as i64 + 1),
        );
        if place.fract() == 0.0 || low.total_cmp(&high).is_eq() {
            return low;
        }
        (place.ceil() - place) * low + (place - place.floor()) * high
    }
}

/// Values of any ordered type as doubles, and back.
fn doubles(values: &ArrayRef) -> Result<Float64Array> {
    let plain = match values.data_type() {
        DataType::Date32 => cast(values, &DataType::Int32)?,
        DataType::Timestamp(..) | DataType::Duration(_) => cast(values, &DataType::Int64)?,
        _ => Arc::clone(values),
    };
    Ok(cast(&plain, &DataType::Float64)?
        .as_primitive::<Float64Type>()
        .clone())
}

fn back(values: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let whole = match data_type {
        DataType::Date32 => cast(values, &DataType::Int32)?,
        DataType::Timestamp(..) | DataType::Duration(_) => cast(values, &DataType::Int64)?,
        _ => Arc::clone(values),
    };
    Ok(cast(&whole, data_type)?)
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let counts = match values.get(2) {
            Some(counts) if self.kind == Kind::Exact => Some(counts.as_primitive::<Int64Type>()),
            _ => None,
        };
        for (row, value) in doubles(&values[0])?.iter().enumerate() {
            let count = match counts {
                Some(counts) if counts.is_null(row) => 0,
                Some(counts) => counts.value(row),
                None => 1,
            };
            if count < 0 {
                return Err(failed("a frequency is negative"));
            }
            if let (Some(value), 1..) = (value, count) {
                self.add(value, count);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (values, counts) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        for (values, counts) in values.iter().zip(counts.iter()) {
            let (Some(values), Some(counts)) = (values, counts) else {
                continue;
            };
            let pairs = values.as_primitive::<Float64Type>().values().iter();
            for (value, count) in pairs.zip(counts.as_primitive::<Int64Type>().values()) {
                self.add(*value, *count);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.settle();
        let values: Float64Array = self.seen.iter().map(|(value, _)| Some(*value)).collect();
        let counts: Int64Array = self.seen.iter().map(|(_, count)| Some(*count)).collect();
        let list = |array: ArrayRef| SingleRowListArrayBuilder::new(array).build_list_scalar();
        Ok(vec![list(Arc::new(values)), list(Arc::new(counts))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.settle();
        if self.seen.is_empty() {
            return ScalarValue::try_from(&self.result);
        }
        let answers: Float64Array = self
            .fractions
            .iter()
            .map(|fraction| Some(self.answer(*fraction)))
            .collect();
        let answers: ArrayRef = Arc::new(answers);
        let one = match &self.result {
            DataType::List(item) => item.data_type(),
            other => other,
        };
        let answers = back(&answers, one)?;
        if self.is_list {
            return Ok(SingleRowListArrayBuilder::new(answers).build_list_scalar());
        }
        ScalarValue::try_from_array(&answers, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.seen.capacity() * size_of::<(f64, i64)>()
    }
}
