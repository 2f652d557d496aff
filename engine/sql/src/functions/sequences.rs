//! `sequence(start, stop [, step])` of whole numbers, dates and timestamps.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, ListArray, TimestampMicrosecondArray},
    buffer::{NullBuffer, OffsetBuffer},
    compute::cast,
    datatypes::{
        DataType, Date32Type, DurationMicrosecondType, Field, FieldRef, Int64Type,
        IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit, TimestampMicrosecondType,
    },
};
use datafusion::{
    common::Result,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};
use millstream_values::{
    civil::{Civil, DAY},
    interval::{CALENDAR, DAY_TIME, is_interval},
};

use super::misfit::failed;
use crate::{
    SqlError,
    types::{spark_name, timestamp},
};

/// The most elements of one array.
const ELEMENTS_MAX: i64 = 1 << 24;

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(ScalarUDF::from(Sequence {
        signature: Signature::user_defined(Volatility::Immutable),
    }))]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sequence {
    signature: Signature,
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(..))
}

/// The type of the elements.
fn element(arguments: &[DataType]) -> Result<DataType> {
    let ends = &arguments[..2];
    let known: Vec<&DataType> = ends.iter().filter(|of| **of != DataType::Null).collect();
    let all = |test: fn(&DataType) -> bool| known.iter().all(|of| test(of));
    if known.is_empty() {
        return Ok(DataType::Int32);
    }
    if all(|of| *of == DataType::Date32) {
        return Ok(DataType::Date32);
    }
    if all(|of| *of == DataType::Timestamp(TimeUnit::Microsecond, None)) {
        return Ok(known[0].clone());
    }
    if all(|of| is_time(of) || *of == DataType::Utf8) {
        return Ok(timestamp());
    }
    if all(DataType::is_integer) {
        let widths = [DataType::Int8, DataType::Int16, DataType::Int32];
        let step = arguments.get(2).filter(|step| step.is_integer());
        let ints: Vec<&DataType> = known.iter().copied().chain(step).collect();
        let widest = ints.contains(&&DataType::Int64);
        let wide = widths.into_iter().rev().find(|width| ints.contains(&width));
        return Ok(if widest {
            DataType::Int64
        } else {
            wide.unwrap_or(DataType::Int64)
        });
    }
    Err(SqlError::Types {
        message: format!(
            "sequence does not go from {} to {}",
            spark_name(&ends[0]),
            spark_name(&ends[1])
        ),
    }
    .into_datafusion())
}

impl ScalarUDFImpl for Sequence {
    fn name(&self) -> &str {
        "sequence"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if !(2..=3).contains(&arg_types.len()) {
            return Err(SqlError::Types {
                message: format!("sequence does not take {} arguments", arg_types.len()),
            }
            .into_datafusion());
        }
        let element = element(arg_types)?;
        let mut out = vec![element.clone(), element.clone()];
        if let Some(step) = arg_types.get(2) {
            out.push(match step {
                found if *found == DAY_TIME && is_time(&element) => DAY_TIME,
                found if (is_interval(found) || *found == DataType::Null) && is_time(&element) => {
                    CALENDAR
                }
                found if (found.is_integer() || *found == DataType::Null) && !is_time(&element) => {
                    element
                }
                found => {
                    return Err(SqlError::Types {
                        message: format!(
                            "sequence of {} has no steps of {}",
                            spark_name(&element),
                            spark_name(found)
                        ),
                    }
                    .into_datafusion());
                }
            });
        }
        Ok(out)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let item: FieldRef = Arc::new(Field::new_list_field(element(arg_types)?, true));
        Ok(DataType::List(item))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args
            .args
            .iter()
            .map(|arg| arg.to_array(args.number_rows))
            .collect::<Result<Vec<_>>>()?;
        let DataType::List(item) = args.return_field.data_type() else {
            return Err(failed("a sequence became something else"));
        };
        let ends = (whole(&columns[0])?, whole(&columns[1])?);
        let steps = Steps::of(item.data_type(), columns.get(2))?;
        let mut out = Vec::new();
        let mut lengths = Vec::with_capacity(args.number_rows);
        let mut there = Vec::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            let before = out.len();
            let known = ends.0.is_valid(row) && ends.1.is_valid(row);
            let (start, stop) = (ends.0.value(row), ends.1.value(row));
            let step = steps.at(row, start <= stop).filter(|_| known);
            if let Some(step) = step {
                fill(&mut out, start, stop, step?)?;
            }
            lengths.push(out.len() - before);
            there.push(known && steps.is_valid(row));
        }
        let values = elements(out, item.data_type())?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        let nulls = Some(NullBuffer::from(there));
        let list = ListArray::try_new(Arc::clone(item), offsets, values, nulls)?;
        Ok(ColumnarValue::Array(Arc::new(list)))
    }
}

/// Whole numbers, or microseconds.
fn whole(column: &ArrayRef) -> Result<Int64Array> {
    Ok(match column.data_type() {
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>();
            days.unary(|days| i64::from(days) * DAY)
        }
        DataType::Timestamp(..) => {
            let times = column.as_primitive::<TimestampMicrosecondType>();
            times.reinterpret_cast::<Int64Type>()
        }
        _ => cast(column, &DataType::Int64)?.as_primitive().clone(),
    })
}

fn elements(values: Vec<i64>, item: &DataType) -> Result<ArrayRef> {
    Ok(match item {
        DataType::Date32 => {
            let days = values
                .into_iter()
                .map(|at| i32::try_from(at.div_euclid(DAY)).ok());
            Arc::new(days.collect::<arrow::array::Date32Array>())
        }
        DataType::Timestamp(_, zone) => {
            let times = TimestampMicrosecondArray::from(values);
            Arc::new(times.with_timezone_opt(zone.clone()))
        }
        other => cast(&Int64Array::from(values), other)?,
    })
}

/// A step: months, and what is added besides.
#[derive(Clone, Copy)]
struct Step {
    months: i64,
    more: i64,
}

/// The steps of all rows.
enum Steps<'a> {
    /// So much, towards the end.
    One(i64),
    Whole(Int64Array),
    Micros(&'a arrow::array::DurationMicrosecondArray, bool),
    All(&'a arrow::array::IntervalMonthDayNanoArray, bool),
}

impl<'a> Steps<'a> {
    fn of(item: &DataType, column: Option<&'a ArrayRef>) -> Result<Steps<'a>> {
        let of_days = *item == DataType::Date32;
        Ok(match column {
            None if is_time(item) => Steps::One(DAY),
            None => Steps::One(1),
            Some(column) if *column.data_type() == DAY_TIME => {
                Steps::Micros(column.as_primitive::<DurationMicrosecondType>(), of_days)
            }
            Some(column) if *column.data_type() == CALENDAR => {
                Steps::All(column.as_primitive::<IntervalMonthDayNanoType>(), of_days)
            }
            Some(column) => Steps::Whole(whole(column)?),
        })
    }

    fn is_valid(&self, row: usize) -> bool {
        match self {
            Steps::One(_) => true,
            Steps::Whole(steps) => steps.is_valid(row),
            Steps::Micros(steps, _) => steps.is_valid(row),
            Steps::All(steps, _) => steps.is_valid(row),
        }
    }

    /// The step of a row; `None` for a null one.
    fn at(&self, row: usize, upwards: bool) -> Option<Result<Step>> {
        let plain = |more: i64| Step { months: 0, more };
        let (step, of_days) = match self {
            Steps::One(one) => (plain(if upwards { *one } else { -one }), false),
            Steps::Whole(steps) => (plain(steps.is_valid(row).then(|| steps.value(row))?), false),
            Steps::Micros(steps, of_days) => {
                let micros = steps.is_valid(row).then(|| steps.value(row))?;
                (plain(micros), *of_days)
            }
            Steps::All(steps, of_days) => {
                let all: IntervalMonthDayNano = steps.is_valid(row).then(|| steps.value(row))?;
                let step = Step {
                    months: i64::from(all.months),
                    more: i64::from(all.days) * DAY + all.nanoseconds / 1000,
                };
                (step, *of_days)
            }
        };
        if of_days && step.more % DAY != 0 {
            return Some(Err(failed(
                "[INVALID_PARAMETER_VALUE] dates go in steps of whole days or months",
            )));
        }
        Some(Ok(step))
    }
}

fn boundaries() -> datafusion::common::DataFusionError {
    failed("[INVALID_SEQUENCE_BOUNDARIES] a sequence does not lead from its start to its stop")
}

fn too_long() -> datafusion::common::DataFusionError {
    failed(format!(
        "[COLLECTION_SIZE_LIMIT_EXCEEDED] a sequence is too long most={ELEMENTS_MAX}"
    ))
}

/// Adds the elements from `start` to `stop`.
fn fill(out: &mut Vec<i64>, start: i64, stop: i64, step: Step) -> Result<()> {
    let Step { months, more } = step;
    if start == stop && months == 0 && more == 0 {
        out.push(start);
        return Ok(());
    }
    let upwards = (months > 0 && more >= 0) || (months >= 0 && more > 0);
    let downwards = (months < 0 && more <= 0) || (months <= 0 && more < 0);
    if (start < stop && !upwards) || (start > stop && !downwards) || (!upwards && !downwards) {
        return Err(boundaries());
    }
    if months == 0 {
        let count = (i128::from(stop) - i128::from(start)) / i128::from(more) + 1;
        let count = i64::try_from(count)
            .ok()
            .filter(|count| *count <= ELEMENTS_MAX);
        let count = count.ok_or_else(too_long)?;
        out.extend((0..count).map(|nth| start + nth * more));
        return Ok(());
    }
    let first = Civil::from_days(start.div_euclid(DAY));
    let clock = start.rem_euclid(DAY);
    for nth in 0..=ELEMENTS_MAX {
        // Months are counted from the start: the 31st comes back after a shorter month.
        let day = first.plus_months(nth * months).days();
        let at = day
            .checked_mul(DAY)
            .and_then(|at| at.checked_add(clock + nth * more));
        let Some(at) = at.filter(|at| if upwards { *at <= stop } else { *at >= stop }) else {
            return Ok(());
        };
        out.push(at);
    }
    Err(too_long())
}
