//! `percentile_approx`, `percentile` and `median` with Spark's answers.
//!
//! A group keeps the values that it saw, sorted, each with how often it came. `percentile_approx` is
//! exact while there are at most sixteen times its accuracy of different values; behind that it tells
//! values apart by their leading bits only ([`digest`]).

mod digest;

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

use self::digest::{Digest, Numbering, double_of};
use millstream_values::interval::{CALENDAR, is_counted};

use super::{
    intervals::{as_counts, count_type, of_counts},
    misfit::failed,
};
use crate::{SqlError, types::spark_name};

/// Spark's default accuracy.
const ACCURACY: usize = 10_000;
/// Different values that `percentile_approx` keeps, for each unit of its accuracy: with so many bits the
/// rank of an answer is off by less than the accuracy's part for values that are spread over ten or
/// twenty powers of two.
const VALUES_OF_ACCURACY: usize = 16;

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
        if arg_types[0] == DataType::Boolean || arg_types[0] == CALENDAR {
            return Err(SqlError::Types {
                message: format!(
                    "[DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE] {} takes no {}",
                    self.name(),
                    spark_name(&arg_types[0])
                ),
            }
            .into_datafusion());
        }
        let mut wanted = arg_types.to_vec();
        let of_times = arg_types[0].is_numeric() || arg_types[0].is_temporal();
        let keeps = (self.kind == Kind::Approximate && of_times) || is_counted(&arg_types[0]);
        if !keeps {
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
            _ if is_counted(&arg_types[0]) => arg_types[0].clone(),
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
            Arc::new(Field::new(name, data_type, true))
        };
        let list = || DataType::new_list(DataType::Int64, true);
        Ok(vec![
            field("numbers", list()),
            field("counts", list()),
            field("bits", DataType::Int64),
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
        let numbering = match self.kind {
            Kind::Approximate => Numbering::of(&count_type(args.expr_fields[0].data_type())),
            // Their results are doubles, between two values or as one of them.
            Kind::Exact | Kind::Median | Kind::Discrete | Kind::DiscreteFromTop => {
                Numbering::Double
            }
        };
        let most = accuracy.saturating_mul(VALUES_OF_ACCURACY);
        Ok(Box::new(Values {
            kind: self.kind,
            is_list: is_list(args.return_field.data_type()),
            result: args.return_field.data_type().clone(),
            fractions,
            numbering,
            seen: Digest::new(numbering, (self.kind == Kind::Approximate).then_some(most)),
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
    numbering: Numbering,
    seen: Digest,
}

impl Values {
    /// The number of the value that a fraction of the values does not pass.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "ranks are far below 2^53"
    )]
    fn seen_at(&self, fraction: f64) -> i64 {
        let total = self.seen.total();
        let rank = ((fraction * total as f64).ceil() as i64).max(1);
        let rank = match self.kind {
            Kind::DiscreteFromTop => total + 1 - rank,
            Kind::Approximate | Kind::Discrete | Kind::Exact | Kind::Median => rank,
        };
        self.seen.at_rank(rank).unwrap_or(0)
    }

    /// The double between two values.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "ranks are far below 2^53"
    )]
    fn between(&self, fraction: f64) -> f64 {
        let place = fraction * (self.seen.total() - 1) as f64;
        let at = |rank: f64| {
            self.seen
                .at_rank(rank as i64 + 1)
                .map_or(f64::NAN, double_of)
        };
        let (low, high) = (at(place.floor()), at(place.ceil()));
        if place.fract() == 0.0 || low.total_cmp(&high).is_eq() {
            return low;
        }
        (place.ceil() - place) * low + (place - place.floor()) * high
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let counts = match values.get(2) {
            Some(counts) if self.kind == Kind::Exact => Some(counts.as_primitive::<Int64Type>()),
            _ => None,
        };
        let column = as_counts(&values[0]);
        let column = match self.kind {
            Kind::Approximate => column,
            _ => cast(&column, &DataType::Float64)?,
        };
        for (row, value) in self.numbering.numbers(&column)?.iter().enumerate() {
            let count = match counts {
                Some(counts) if counts.is_null(row) => 0,
                Some(counts) => counts.value(row),
                None => 1,
            };
            if count < 0 {
                return Err(failed("a frequency is negative"));
            }
            if let (Some(value), 1..) = (value, count) {
                self.seen.add(value, count);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (numbers, counts) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        let bits = states[2].as_primitive::<Int64Type>();
        let parts = numbers.iter().zip(counts.iter()).zip(bits.iter());
        for ((numbers, counts), bits) in parts {
            let (Some(numbers), Some(counts), Some(bits)) = (numbers, counts, bits) else {
                continue;
            };
            self.seen.keep_at_most(bits);
            let pairs = numbers.as_primitive::<Int64Type>().values().iter();
            for (number, count) in pairs.zip(counts.as_primitive::<Int64Type>().values()) {
                self.seen.add(*number, *count);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.seen.settle();
        let entries = self.seen.entries().iter();
        let numbers = Int64Array::from_iter_values(entries.clone().map(|(number, _)| *number));
        let counts = Int64Array::from_iter_values(entries.map(|(_, count)| *count));
        let list = |array: ArrayRef| SingleRowListArrayBuilder::new(array).build_list_scalar();
        Ok(vec![
            list(Arc::new(numbers)),
            list(Arc::new(counts)),
            ScalarValue::Int64(Some(self.seen.kept())),
        ])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.seen.settle();
        if self.seen.entries().is_empty() {
            return ScalarValue::try_from(&self.result);
        }
        let one = match &self.result {
            DataType::List(item) => item.data_type(),
            other => other,
        };
        let fractions = self.fractions.iter();
        let answers = match self.kind {
            Kind::Approximate | Kind::Discrete | Kind::DiscreteFromTop => {
                let found = fractions.map(|fraction| self.seen_at(*fraction)).collect();
                let of = match self.kind {
                    Kind::Approximate => count_type(one),
                    _ => DataType::Float64,
                };
                self.numbering.values(found, &of)?
            }
            Kind::Exact | Kind::Median => {
                let found = fractions.map(|fraction| self.between(*fraction));
                Arc::new(Float64Array::from_iter_values(found))
            }
        };
        let answers = of_counts(&answers, one)?;
        if self.is_list {
            return Ok(SingleRowListArrayBuilder::new(answers).build_list_scalar());
        }
        ScalarValue::try_from_array(&answers, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.seen.bytes()
    }
}
