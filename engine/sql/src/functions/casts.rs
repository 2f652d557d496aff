//! Casts where arrow has none or another answer than Spark: structs, maps and arrays as texts, doubles
//! as Java writes them, dates and times of which a text has only parts.
//!
//! A cast to one of the types of [`is_special`] is a call from the syntax tree on, because DataFusion's
//! planner refuses what arrow cannot do. Once types are known, a call that arrow would answer alike is
//! a cast again, which the optimizer knows more of.

use std::{fmt::Write, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, ListArray, MapArray, StringBuilder, StructArray,
    },
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Decimal128Type, FieldRef, Float64Type, TimeUnit},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{Expr, ScalarUDF, expr::ScalarFunction},
};
use millstream_values::{interval, zone::Zone};

use super::{
    intervals,
    misfit::Misfit,
    nested::as_list,
    simple::{Call, Gives, Simple, Want},
    values::{dates, instants, local, spans, texts_in, times},
};
use crate::{
    SqlError,
    types::{parse_type, spark_name},
};

/// What `CAST(x AS t)` becomes: the value, and the type as a text.
pub(crate) const CAST: &str = "__cast";
/// What `TRY_CAST(x AS t)` becomes.
pub(crate) const TRY_CAST: &str = "__try_cast";
/// A cast on the clock of a zone: the value, the type as a text, the zone.
pub(crate) const CAST_IN: &str = "__cast_in";
/// The same, or null.
pub(crate) const TRY_CAST_IN: &str = "__try_cast_in";

const VALUE_AND_TYPE: &[Want] = &[Want::Any, Want::Text];
const VALUE_TYPE_AND_ZONE: &[Want] = &[Want::Any, Want::Text, Want::Text];
const TARGET: Gives = Gives::Of(|_, literals| {
    let name = literals.get(1).copied().flatten();
    match name.and_then(|name| name.try_as_str().flatten()) {
        Some(name) => parse_type(name),
        None => Err(SqlError::internal("a cast to no type")),
    }
});

const TABLE: &[Simple] = &[
    Simple::new(CAST, VALUE_AND_TYPE, TARGET, |call| {
        called(call, &Zone::utc(), Misfit::Fails)
    }),
    Simple::new(TRY_CAST, VALUE_AND_TYPE, TARGET, |call| {
        called(call, &Zone::utc(), Misfit::IsNull)
    }),
    Simple::new(CAST_IN, VALUE_TYPE_AND_ZONE, TARGET, |call| {
        called(call, &call.zone(2)?, Misfit::Fails)
    }),
    Simple::new(TRY_CAST_IN, VALUE_TYPE_AND_ZONE, TARGET, |call| {
        called(call, &call.zone(2)?, Misfit::IsNull)
    }),
];

fn called(call: &Call<'_>, zone: &Zone, misfit: Misfit) -> Result<ArrayRef> {
    Clock { zone, misfit }.cast(&call.arguments[0], call.gives)
}

/// All of them; no user sees these.
pub(super) fn hidden() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

/// One of them.
pub(crate) fn hidden_function(name: &str) -> Option<Arc<ScalarUDF>> {
    let simple = TABLE.iter().find(|simple| simple.name == name);
    simple.map(|simple| simple.udf())
}

/// The call that casts an expression.
pub(crate) fn cast_call(name: &str, expr: Expr, to: &DataType) -> Expr {
    let to = Expr::Literal(ScalarValue::Utf8(Some(spark_name(to))), None);
    match hidden_function(name) {
        Some(function) => Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![expr, to])),
        None => expr,
    }
}

fn is_nested(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Struct(_) | DataType::Map(..) | DataType::List(_) | DataType::LargeList(_)
    )
}

/// Whether Spark's answer is not arrow's.
pub(crate) fn is_special(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (from, DataType::Utf8) => {
            from.is_floating()
                || is_nested(from)
                || interval::is_interval(from)
                || *from == DataType::Binary
        }
        (DataType::Utf8, to) if interval::is_interval(to) => true,
        (from, to) if interval::is_counted(from) => to.is_integer(),
        (DataType::Utf8, DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, _))
        | (DataType::Decimal128(..), DataType::Boolean)
        | (DataType::Boolean | DataType::Float32 | DataType::Float64, DataType::Decimal128(..)) => {
            true
        }
        (from, to) => is_nested(from) && is_nested(to),
    }
}

fn is_instant(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_))
    )
}

/// Whether values are what a clock shows.
fn is_local(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, None)
    )
}

/// On which clock a cast is, and what becomes of what does not fit.
struct Clock<'a> {
    zone: &'a Zone,
    misfit: Misfit,
}

impl Clock<'_> {
    fn cast(&self, values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        let misfit = self.misfit;
        let from = values.data_type();
        if from == to {
            return Ok(Arc::clone(values));
        }
        match (from, to) {
            (_, DataType::Utf8) => texts_in(values, self.zone),
            (DataType::Utf8, DataType::Date32) => dates(values, misfit),
            (DataType::Utf8, to) if interval::is_interval(to) => spans(values, to, misfit),
            (from, to) if interval::is_counted(from) && to.is_integer() => {
                intervals::numbers(values, to)
            }
            (DataType::Utf8, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
                times(values, to, self.zone, misfit)
            }
            (from, to) if is_instant(from) && is_local(to) => {
                let local = local(values.as_primitive(), self.zone);
                plain(&local, to, misfit)
            }
            (from, to) if is_local(from) && is_instant(to) => {
                let naive = DataType::Timestamp(TimeUnit::Microsecond, None);
                let local = plain(values, &naive, misfit)?;
                Ok(instants(local.as_primitive(), to, self.zone))
            }
            (DataType::Decimal128(..), DataType::Boolean) => {
                let values = values.as_primitive::<Decimal128Type>().iter();
                let truths = values.map(|value| value.map(|value| value != 0));
                Ok(Arc::new(truths.collect::<BooleanArray>()))
            }
            (DataType::Boolean, DataType::Decimal128(..)) => {
                let numbers = arrow::compute::cast(values, &DataType::Int8)?;
                self.cast(&numbers, to)
            }
            (DataType::Float32 | DataType::Float64, DataType::Decimal128(..)) => {
                let digits = digits_of_doubles(&arrow::compute::cast(values, &DataType::Float64)?);
                plain(&digits, to, misfit)
            }
            (DataType::List(_), DataType::List(item)) => {
                let list = as_list(values)?;
                let inner = self.cast(list.values(), item.data_type())?;
                let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
                Ok(Arc::new(ListArray::try_new(
                    Arc::clone(item),
                    offsets,
                    inner,
                    nulls,
                )?))
            }
            (DataType::Struct(had), DataType::Struct(fields)) if had.len() == fields.len() => {
                let columns = values.as_struct().columns().iter().zip(fields);
                let columns = columns
                    .map(|(column, field)| self.cast(column, field.data_type()))
                    .collect::<Result<Vec<_>>>()?;
                let nulls = values.nulls().cloned();
                let length = values.len();
                let structs =
                    StructArray::try_new_with_length(fields.clone(), columns, nulls, length)?;
                Ok(Arc::new(structs))
            }
            (DataType::Map(..), DataType::Map(entries, sorted)) => {
                self.map(values, entries, *sorted)
            }
            _ => plain(values, to, misfit),
        }
    }

    fn map(&self, values: &ArrayRef, entries: &FieldRef, sorted: bool) -> Result<ArrayRef> {
        let map = values.as_map();
        let structs: ArrayRef = Arc::new(map.entries().clone());
        let structs = self
            .cast(&structs, entries.data_type())?
            .as_struct()
            .clone();
        let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
        let map = MapArray::try_new(Arc::clone(entries), offsets, structs, nulls, sorted)?;
        Ok(Arc::new(map))
    }
}

/// The digits that doubles are written with, which a decimal rounds and not their bits: 1.005 goes
/// up. What is no number is null, whatever the cast.
fn digits_of_doubles(doubles: &ArrayRef) -> ArrayRef {
    let mut digits = StringBuilder::new();
    for value in doubles.as_primitive::<Float64Type>() {
        match value.filter(|value| value.is_finite()) {
            Some(value) => {
                let _ = write!(digits, "{value}");
                digits.append_value("");
            }
            None => digits.append_null(),
        }
    }
    Arc::new(digits.finish())
}

/// A cast that arrow answers as Spark does.
fn plain(values: &ArrayRef, to: &DataType, misfit: Misfit) -> Result<ArrayRef> {
    let options = CastOptions {
        safe: misfit == Misfit::IsNull,
        ..CastOptions::default()
    };
    Ok(cast_with_options(values, to, &options)?)
}
