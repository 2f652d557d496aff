//! One column, looked at by row: its values as Spark's cast to string shows them.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
        Float32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::cast,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, TimeUnit,
        TimestampMicrosecondType,
    },
    error::ArrowError,
};

use crate::{instant, interval, number, zone::Zone};

/// A column for row-wise reading.
#[derive(Debug)]
pub struct Cell {
    nulls: Option<NullBuffer>,
    pub(crate) kind: Kind,
}

/// The values by type; types that are written alike share one.
#[derive(Debug)]
pub(crate) enum Kind {
    Nothing,
    Boolean(BooleanArray),
    Integer(Int64Array),
    Single(Float32Array),
    Double(Float64Array),
    Decimal(Decimal128Array),
    Text(StringArray),
    /// Texts, and the counts of months or microseconds that they say.
    Interval(StringArray, Int64Array),
    Binary(BinaryArray),
    Date(Date32Array),
    /// With the zone whose clock shows them, if they have one.
    Timestamp(TimestampMicrosecondArray, Option<Arc<Zone>>),
    Struct(Vec<(String, Cell)>),
    List(OffsetBuffer<i32>, Box<Cell>),
    Map(OffsetBuffer<i32>, Box<Cell>, Box<Cell>),
}

impl Cell {
    /// Looks at `array`; instants are shown by the clock of `zone`.
    ///
    /// # Errors
    /// Arrow cannot cast a type that Spark does not have.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other types are shown as Arrow casts them to text"
    )]
    pub fn new(array: &ArrayRef, zone: &Zone) -> Result<Cell, ArrowError> {
        let kind = match array.data_type() {
            DataType::Null => Kind::Nothing,
            DataType::Boolean => Kind::Boolean(array.as_boolean().clone()),
            DataType::Int64 => Kind::Integer(array.as_primitive::<Int64Type>().clone()),
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32 => return Cell::cast(array, zone, &DataType::Int64),
            DataType::Float16 => return Cell::cast(array, zone, &DataType::Float32),
            DataType::Float32 => Kind::Single(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Kind::Double(array.as_primitive::<Float64Type>().clone()),
            DataType::Decimal128(..) => {
                Kind::Decimal(array.as_primitive::<Decimal128Type>().clone())
            }
            DataType::Utf8 => Kind::Text(array.as_string::<i32>().clone()),
            DataType::Binary => Kind::Binary(array.as_binary::<i32>().clone()),
            DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                return Cell::cast(array, zone, &DataType::Binary);
            }
            DataType::Date32 => Kind::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Date64 => return Cell::cast(array, zone, &DataType::Date32),
            DataType::Timestamp(TimeUnit::Microsecond, named) => Kind::Timestamp(
                array.as_primitive::<TimestampMicrosecondType>().clone(),
                named.as_ref().map(|_| Arc::new(zone.clone())),
            ),
            DataType::Timestamp(_, named) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, named.clone());
                return Cell::cast(array, zone, &micros);
            }
            found if interval::is_interval(found) => intervals(array),
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns().iter().zip(fields);
                Kind::Struct(
                    columns
                        .map(|(column, field)| Ok((field.name().clone(), Cell::new(column, zone)?)))
                        .collect::<Result<Vec<(String, Cell)>, ArrowError>>()?,
                )
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Kind::List(
                    list.offsets().clone(),
                    Box::new(Cell::new(list.values(), zone)?),
                )
            }
            DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                return Cell::cast(array, zone, &DataType::List(item.clone()));
            }
            DataType::Map(..) => {
                let map = array.as_map();
                Kind::Map(
                    map.offsets().clone(),
                    Box::new(Cell::new(map.keys(), zone)?),
                    Box::new(Cell::new(map.values(), zone)?),
                )
            }
            _ => return Cell::cast(array, zone, &DataType::Utf8),
        };
        Ok(Cell {
            nulls: array.logical_nulls(),
            kind,
        })
    }

    fn cast(array: &ArrayRef, zone: &Zone, to: &DataType) -> Result<Cell, ArrowError> {
        Cell::new(&cast(array, to)?, zone)
    }

    /// Whether the value is null.
    #[inline]
    #[must_use]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the value as text; null is `NULL`.
    pub fn show(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"NULL");
            return;
        }
        match &self.kind {
            Kind::Nothing => out.extend_from_slice(b"NULL"),
            Kind::Boolean(values) => {
                let text: &[u8] = if values.value(row) { b"true" } else { b"false" };
                out.extend_from_slice(text);
            }
            Kind::Integer(values) => number::integer(values.value(row), out),
            Kind::Single(values) => number::single(values.value(row), out),
            Kind::Double(values) => number::double(values.value(row), out),
            Kind::Decimal(values) => number::decimal(values.value(row), values.scale(), out),
            Kind::Text(values) | Kind::Interval(values, _) => {
                out.extend_from_slice(values.value(row).as_bytes())
            }
            Kind::Binary(values) => {
                out.push(b'[');
                for (idx, byte) in values.value(row).iter().enumerate() {
                    if idx > 0 {
                        out.push(b' ');
                    }
                    number::hex(*byte, out);
                }
                out.push(b']');
            }
            Kind::Date(values) => instant::write_date(i64::from(values.value(row)), out),
            Kind::Timestamp(values, zone) => {
                let at = values.value(row);
                let local = zone.as_ref().map_or(at, |zone| zone.local(at));
                instant::write_timestamp(local, out);
            }
            Kind::Struct(_) | Kind::List(..) | Kind::Map(..) => self.show_nested(row, out),
        }
    }

    fn show_nested(&self, row: usize, out: &mut Vec<u8>) {
        let separated = |idx: usize, out: &mut Vec<u8>| {
            if idx > 0 {
                out.extend_from_slice(b", ");
            }
        };
        match &self.kind {
            Kind::Struct(fields) => {
                out.push(b'{');
                for (idx, (_, cell)) in fields.iter().enumerate() {
                    separated(idx, out);
                    cell.show(row, out);
                }
                out.push(b'}');
            }
            Kind::List(offsets, items) => {
                out.push(b'[');
                for (idx, item) in span(offsets, row).enumerate() {
                    separated(idx, out);
                    items.show(item, out);
                }
                out.push(b']');
            }
            Kind::Map(offsets, keys, values) => {
                out.push(b'{');
                for (idx, entry) in span(offsets, row).enumerate() {
                    separated(idx, out);
                    keys.show(entry, out);
                    out.extend_from_slice(b" -> ");
                    values.show(entry, out);
                }
                out.push(b'}');
            }
            Kind::Nothing
            | Kind::Boolean(_)
            | Kind::Integer(_)
            | Kind::Single(_)
            | Kind::Double(_)
            | Kind::Decimal(_)
            | Kind::Text(_)
            | Kind::Interval(..)
            | Kind::Binary(_)
            | Kind::Date(_)
            | Kind::Timestamp(..) => {}
        }
    }
}

/// Intervals as their texts, with their counts where they have one.
fn intervals(array: &ArrayRef) -> Kind {
    match (interval::texts(array), interval::counts(array)) {
        (Some(texts), Some(counts)) => Kind::Interval(texts, counts),
        (Some(texts), None) => Kind::Text(texts),
        (None, _) => Kind::Nothing,
    }
}

/// Where the items of `row` stand.
pub(crate) fn span(offsets: &OffsetBuffer<i32>, row: usize) -> std::ops::Range<usize> {
    let at = |idx: usize| {
        let offset = offsets.get(idx).copied().unwrap_or(0);
        usize::try_from(offset).unwrap_or(0)
    };
    at(row)..at(row + 1)
}
