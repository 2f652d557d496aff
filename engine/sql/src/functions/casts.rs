//! Casts where arrow has none or another answer than Spark: structs, maps and arrays as texts, doubles
//! as Java writes them, dates and times of which a text has only parts.
//!
//! A cast to one of the types of [`is_special`] is a call from the syntax tree on, because DataFusion's
//! planner refuses what arrow cannot do. Once types are known, a call that arrow would answer alike is
//! a cast again, which the optimizer knows more of.

use std::{fmt::Write, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Date32Array, ListArray, MapArray, StringArray,
        StringBuilder, StructArray, TimestampMicrosecondArray,
    },
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, TimeUnit},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{Expr, ScalarUDF, expr::ScalarFunction},
};
use millstream_values::{instant, number, texts::Texts, zone::Zone};

use super::{
    datetime, intervals,
    json::refused,
    lists::as_list,
    misfit::Misfit,
    simple::{Gives, Simple, Want, failed},
};
use crate::{
    SqlError,
    types::{parse_type, spark_name, timestamp},
};

/// What `CAST(x AS t)` becomes: the value, and the type as a text.
pub(crate) const CAST: &str = "__cast";
/// What `TRY_CAST(x AS t)` becomes.
pub(crate) const TRY_CAST: &str = "__try_cast";

const VALUE_AND_TYPE: &[Want] = &[Want::Any, Want::Text];
const TARGET: Gives = Gives::Of(|_, literals| {
    let name = literals.get(1).copied().flatten();
    match name.and_then(|name| name.try_as_str().flatten()) {
        Some(name) => parse_type(name),
        None => Err(SqlError::internal("a cast to no type")),
    }
});

const TABLE: &[Simple] = &[
    Simple::new(CAST, VALUE_AND_TYPE, TARGET, |call| {
        cast(&call.arguments[0], call.gives, Misfit::Fails)
    }),
    Simple::new(TRY_CAST, VALUE_AND_TYPE, TARGET, |call| {
        cast(&call.arguments[0], call.gives, Misfit::IsNull)
    }),
];

/// All of them; no user sees these.
pub(super) fn hidden() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

/// The call that casts an expression.
pub(crate) fn cast_call(name: &str, expr: Expr, to: &DataType) -> Expr {
    let simple = TABLE.iter().find(|simple| simple.name == name);
    let to = Expr::Literal(ScalarValue::Utf8(Some(spark_name(to))), None);
    match simple {
        Some(simple) => Expr::ScalarFunction(ScalarFunction::new_udf(simple.udf(), vec![expr, to])),
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
                || intervals::is_interval(from)
                || *from == DataType::Binary
        }
        (DataType::Utf8, to) if intervals::is_interval(to) => true,
        (from, to) if intervals::is_counted(from) => to.is_integer(),
        (DataType::Utf8, DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, _))
        | (DataType::Decimal128(..), DataType::Boolean)
        | (DataType::Boolean | DataType::Float32 | DataType::Float64, DataType::Decimal128(..)) => {
            true
        }
        (from, to) => is_nested(from) && is_nested(to),
    }
}

fn cast(values: &ArrayRef, to: &DataType, misfit: Misfit) -> Result<ArrayRef> {
    let from = values.data_type();
    if from == to {
        return Ok(Arc::clone(values));
    }
    match (from, to) {
        (_, DataType::Utf8) => texts(values),
        (DataType::Utf8, DataType::Date32) => dates(values, misfit),
        (DataType::Utf8, to) if intervals::is_interval(to) => spans(values, to, misfit),
        (from, to) if intervals::is_counted(from) && to.is_integer() => {
            intervals::numbers(values, to)
        }
        (DataType::Utf8, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            times(values, to, misfit)
        }
        (DataType::Decimal128(..), DataType::Boolean) => {
            let values = values.as_primitive::<Decimal128Type>().iter();
            let truths = values.map(|value| value.map(|value| value != 0));
            Ok(Arc::new(truths.collect::<BooleanArray>()))
        }
        (DataType::Boolean, DataType::Decimal128(..)) => {
            let numbers = arrow::compute::cast(values, &DataType::Int8)?;
            cast(&numbers, to, misfit)
        }
        (DataType::Float32 | DataType::Float64, DataType::Decimal128(..)) => {
            let digits = digits_of_doubles(&arrow::compute::cast(values, &DataType::Float64)?);
            plain(&digits, to, misfit)
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = as_list(values)?;
            let inner = cast(list.values(), item.data_type(), misfit)?;
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
                .map(|(column, field)| cast(column, field.data_type(), misfit))
                .collect::<Result<Vec<_>>>()?;
            let nulls = values.nulls().cloned();
            let length = values.len();
            let structs = StructArray::try_new_with_length(fields.clone(), columns, nulls, length)?;
            Ok(Arc::new(structs))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let map = values.as_map();
            let structs: ArrayRef = Arc::new(map.entries().clone());
            let structs = cast(&structs, entries.data_type(), misfit)?
                .as_struct()
                .clone();
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let map = MapArray::try_new(Arc::clone(entries), offsets, structs, nulls, *sorted)?;
            Ok(Arc::new(map))
        }
        _ => plain(values, to, misfit),
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

/// Bytes as texts; where they are none, with a mark for each piece that is no character.
fn lossy(values: &ArrayRef) -> StringArray {
    let values = values.as_binary::<i32>();
    let texts = values
        .iter()
        .map(|value| value.map(String::from_utf8_lossy));
    texts.collect()
}

/// Values as Spark writes them.
pub(super) fn texts(values: &ArrayRef) -> Result<ArrayRef> {
    let part = |values: &ArrayRef| -> Result<StringArray> {
        Ok(texts(values)?.as_string::<i32>().clone())
    };
    let of = |texts: &StringArray, row: usize| {
        if texts.is_null(row) {
            "null".to_owned()
        } else {
            texts.value(row).to_owned()
        }
    };
    let bounds = |offsets: &[i32], row: usize| {
        let at = |at: i32| usize::try_from(at).unwrap_or(0);
        at(offsets[row])..at(offsets[row + 1])
    };
    let rows = 0..values.len();
    let written: StringArray = match values.data_type() {
        DataType::Float64 => numbers(values.as_primitive::<Float64Type>().iter(), number::double)?,
        DataType::Float32 => numbers(values.as_primitive::<Float32Type>().iter(), number::single)?,
        DataType::Timestamp(..) => return datetime::time_texts(values),
        found if intervals::is_interval(found) => {
            intervals::texts(values).unwrap_or_else(|| StringArray::new_null(values.len()))
        }
        DataType::Binary => lossy(values),
        DataType::List(_) | DataType::LargeList(_) => {
            let list = as_list(values)?;
            let items = part(list.values())?;
            rows.map(|row| {
                let all = bounds(list.value_offsets(), row).map(|at| of(&items, at));
                list.is_valid(row)
                    .then(|| format!("[{}]", all.collect::<Vec<_>>().join(", ")))
            })
            .collect()
        }
        DataType::Map(..) => {
            let map = values.as_map();
            let (keys, items) = (part(map.keys())?, part(map.values())?);
            rows.map(|row| {
                let entry = |at: usize| format!("{} -> {}", of(&keys, at), of(&items, at));
                let all = bounds(map.value_offsets(), row).map(entry);
                map.is_valid(row)
                    .then(|| format!("{{{}}}", all.collect::<Vec<_>>().join(", ")))
            })
            .collect()
        }
        DataType::Struct(_) => {
            let columns = values.as_struct().columns().iter().map(part);
            let columns = columns.collect::<Result<Vec<_>>>()?;
            rows.map(|row| {
                let all: Vec<String> = columns.iter().map(|column| of(column, row)).collect();
                values
                    .is_valid(row)
                    .then(|| format!("{{{}}}", all.join(", ")))
            })
            .collect()
        }
        _ => return Ok(arrow::compute::cast(values, &DataType::Utf8)?),
    };
    Ok(Arc::new(written))
}

/// Numbers as Java writes them.
fn numbers<N>(
    numbers: impl ExactSizeIterator<Item = Option<N>>,
    write: fn(N, &mut Vec<u8>),
) -> Result<StringArray> {
    let mut out = Texts::with_capacity(numbers.len());
    for number in numbers {
        match number {
            Some(number) => {
                write(number, out.bytes());
                out.close().map_err(refused)?;
            }
            None => out.push_null(),
        }
    }
    out.finish().map_err(refused)
}

fn misfits(text: &str, what: &str) -> datafusion::common::DataFusionError {
    let shown: String = text.chars().take(40).collect();
    failed(format!(
        "[CAST_INVALID_INPUT] a text is no {what} text={shown:?}"
    ))
}

fn dates(values: &ArrayRef, misfit: Misfit) -> Result<ArrayRef> {
    let date = |text: Option<&str>| match text.map(|text| (text, instant::date(text.as_bytes()))) {
        Some((text, None)) if misfit == Misfit::Fails => Err(misfits(text, "date")),
        read => Ok(read.and_then(|(_, days)| days)),
    };
    let dates = values.as_string::<i32>().iter().map(date);
    Ok(Arc::new(dates.collect::<Result<Date32Array>>()?))
}

fn spans(values: &ArrayRef, to: &DataType, misfit: Misfit) -> Result<ArrayRef> {
    let texts = values.as_string::<i32>().iter();
    let read = texts.map(|text| {
        let Some(text) = text else { return Ok(None) };
        match intervals::read(text, to) {
            None if misfit == Misfit::Fails => Err(misfits(text, "interval")),
            read => Ok(read),
        }
    });
    Ok(intervals::array(read.collect::<Result<Vec<_>>>()?, to))
}

/// A text that names a zone is read by it where the type has a zone; where it has none, the zone counts
/// for nothing.
fn times(values: &ArrayRef, to: &DataType, misfit: Misfit) -> Result<ArrayRef> {
    instants(values, to, &Zone::utc(), misfit)
}

/// Texts as instants; those that say no zone show the clock of one.
///
/// # Errors
/// A text is no time, unless it is null then.
pub(super) fn times_in(values: &ArrayRef, zone: &Zone, misfit: Misfit) -> Result<ArrayRef> {
    instants(values, &timestamp(), zone, misfit)
}

fn instants(values: &ArrayRef, to: &DataType, zone: &Zone, misfit: Misfit) -> Result<ArrayRef> {
    let zoned = matches!(to, DataType::Timestamp(_, Some(_)));
    let micros = |text: &str| {
        let at = instant::timestamp(text.as_bytes())?;
        if zoned {
            at.micros(zone)
        } else {
            Some(at.local)
        }
    };
    let time = |text: Option<&str>| match text.map(|text| (text, micros(text))) {
        Some((text, None)) if misfit == Misfit::Fails => Err(misfits(text, "timestamp")),
        read => Ok(read.and_then(|(_, micros)| micros)),
    };
    let times = values.as_string::<i32>().iter().map(time);
    let times = times.collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(Arc::new(times.with_data_type(to.clone())))
}
