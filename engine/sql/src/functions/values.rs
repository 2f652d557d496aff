//! Values as texts and texts as values, as Spark's casts write and read them, over whole columns.
//!
//! Where an instant shows a clock, it is that of UTC, unless a zone is given.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Date32Array, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Float32Type, Float64Type, TimestampMicrosecondType},
};
use datafusion::common::Result;
use millstream_values::{instant, interval, number, texts::Texts, zone::Zone};

use super::{
    misfit::{Misfit, failed, refused},
    nested::as_list,
};

/// Bytes as texts; where they are none, with a mark for each piece that is no character.
fn lossy(values: &ArrayRef) -> StringArray {
    let values = values.as_binary::<i32>();
    let texts = values
        .iter()
        .map(|value| value.map(String::from_utf8_lossy));
    texts.collect()
}

/// Values as Spark writes them, instants on the clock of UTC.
///
/// # Errors
/// Those of [`texts_in`].
pub(super) fn texts(values: &ArrayRef) -> Result<ArrayRef> {
    texts_in(values, &Zone::utc())
}

/// Values as Spark writes them, instants on the clock of a zone.
///
/// # Errors
/// The texts are longer than a column holds; arrow cannot write a type that Spark does not have.
pub(super) fn texts_in(values: &ArrayRef, zone: &Zone) -> Result<ArrayRef> {
    let part = |values: &ArrayRef| -> Result<StringArray> {
        Ok(texts_in(values, zone)?.as_string::<i32>().clone())
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
        DataType::Float64 => written(values.as_primitive::<Float64Type>().iter(), number::double)?,
        DataType::Float32 => written(values.as_primitive::<Float32Type>().iter(), number::single)?,
        DataType::Timestamp(_, named) => {
            let times = values.as_primitive::<TimestampMicrosecondType>().iter();
            let local = |at| if named.is_some() { zone.local(at) } else { at };
            written(times.map(|at| at.map(local)), instant::write_timestamp)?
        }
        found if interval::is_interval(found) => {
            interval::texts(values).unwrap_or_else(|| StringArray::new_null(values.len()))
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

/// Values, each written by itself.
fn written<N>(
    values: impl ExactSizeIterator<Item = Option<N>>,
    write: fn(N, &mut Vec<u8>),
) -> Result<StringArray> {
    let mut out = Texts::with_capacity(values.len());
    for value in values {
        match value {
            Some(value) => {
                write(value, out.bytes());
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

/// Texts as dates.
///
/// # Errors
/// A text is no date, unless it is null then.
pub(super) fn dates(values: &ArrayRef, misfit: Misfit) -> Result<ArrayRef> {
    let date = |text: Option<&str>| match text.map(|text| (text, instant::date(text.as_bytes()))) {
        Some((text, None)) if misfit == Misfit::Fails => Err(misfits(text, "date")),
        read => Ok(read.and_then(|(_, days)| days)),
    };
    let dates = values.as_string::<i32>().iter().map(date);
    Ok(Arc::new(dates.collect::<Result<Date32Array>>()?))
}

/// Texts as intervals of a type.
///
/// # Errors
/// A text is none, unless it is null then.
pub(super) fn spans(values: &ArrayRef, to: &DataType, misfit: Misfit) -> Result<ArrayRef> {
    let texts = values.as_string::<i32>().iter();
    let read = texts.map(|text| {
        let Some(text) = text else { return Ok(None) };
        match interval::read(text, to) {
            None if misfit == Misfit::Fails => Err(misfits(text, "interval")),
            read => Ok(read),
        }
    });
    Ok(interval::array(read.collect::<Result<Vec<_>>>()?, to))
}

/// Texts as times. Where the type has a zone, a text that names none shows the clock of `zone`; where it
/// has none, the zone of a text counts for nothing.
///
/// # Errors
/// A text is no time, unless it is null then.
pub(super) fn times(
    values: &ArrayRef,
    to: &DataType,
    zone: &Zone,
    misfit: Misfit,
) -> Result<ArrayRef> {
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

/// Instants as what the clock of a zone shows.
pub(super) fn local(instants: &TimestampMicrosecondArray, zone: &Zone) -> ArrayRef {
    let local: TimestampMicrosecondArray = instants.unary(|at| zone.local(at));
    Arc::new(local)
}

/// What the clock of a zone shows as instants; null beyond their range.
pub(super) fn instants(local: &TimestampMicrosecondArray, to: &DataType, zone: &Zone) -> ArrayRef {
    let instants: TimestampMicrosecondArray = local.unary_opt(|at| zone.instant(at));
    Arc::new(instants.with_data_type(to.clone()))
}
