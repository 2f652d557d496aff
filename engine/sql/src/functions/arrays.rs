//! Functions of arrays where DataFusion's give other answers than Spark's: nulls in arrays and for
//! arrays, positions from zero, every element and not the first only.

use std::{cmp::Ordering, collections::HashSet, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, ListArray, StructArray,
        UInt32Array, make_comparator, new_null_array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::{SortOptions, cast, concat, take},
    datatypes::{DataType, Field, Fields, Int32Type, Int64Type},
    row::{RowConverter, SortField},
};
use datafusion::{common::Result, logical_expr::ScalarUDF};

use super::{
    misfit::failed,
    nested::as_list,
    simple::{Call, Gives, Simple, Want},
};
use crate::{SqlError, types::item_of};

/// What `a[i]` becomes.
pub(crate) const SUBSCRIPT: &str = "__subscript";
/// What `arrays_zip(a, b)` becomes, with the names first.
pub(crate) const ZIP: &str = "__arrays_zip";

const LIST_AND_ITEM: &[Want] = &[Want::Any, Want::ItemOf(0)];
const LIST_AND_LONG: &[Want] = &[Want::Any, Want::Long];
const TWO_LISTS: &[Want] = &[Want::Any, Want::SameAs(0)];
const ITEM: Gives = Gives::Of(|types, _| item_of(&types[0]));
const FIRST: Gives = Gives::Of(|types, _| Ok(types[0].clone()));

/// Functions that users call.
const TABLE: &[Simple] = &[
    Simple::new("get", LIST_AND_LONG, ITEM, |call| {
        picked(call, |at, length| {
            Ok((0..length).contains(&at).then_some(at))
        })
    }),
    Simple::new("size", &[Want::Any], Gives::Int, size).aliases(&["array_size"]),
    Simple::new("array_position", LIST_AND_ITEM, Gives::Long, position),
    Simple::new("array_remove", LIST_AND_ITEM, FIRST, remove),
    Simple::new("array_append", LIST_AND_ITEM, FIRST, |call| {
        insert(call, |length| Ok((length, 0, Side::Last)))
    }),
    Simple::new("array_prepend", LIST_AND_ITEM, FIRST, |call| {
        insert(call, |_| Ok((0, 0, Side::First)))
    }),
    Simple::new(
        "array_insert",
        &[Want::Any, Want::Int, Want::ItemOf(0)],
        FIRST,
        insert_at,
    ),
    Simple::new("array_sort", &[Want::Any], FIRST, |call| {
        sorted(call, |_| Some((false, false)))
    }),
    Simple::new("sort_array", &[Want::Any, Want::Any], FIRST, |call| {
        let ascends = call
            .arguments
            .get(1)
            .map(|ascends| cast(ascends, &DataType::Boolean))
            .transpose()?;
        sorted(call, |row| match &ascends {
            None => Some((false, true)),
            Some(ascends) if ascends.is_null(row) => None,
            Some(ascends) => {
                let ascends = ascends.as_boolean().value(row);
                Some((!ascends, ascends))
            }
        })
    })
    .optional(1),
    Simple::new("arrays_overlap", TWO_LISTS, Gives::Boolean, overlap),
    Simple::new("flatten", &[Want::Any], ITEM, flatten),
];

/// Functions that only our rewriting calls.
const HIDDEN: &[Simple] = &[Simple::new(SUBSCRIPT, LIST_AND_LONG, ITEM, |call| {
    picked(call, |at, length| {
        if (0..length).contains(&at) {
            return Ok(Some(at));
        }
        Err(failed(format!(
            "[INVALID_ARRAY_INDEX] an index is outside its array; get() gives null index={at} elements={length}"
        )))
    })
})];

/// All that users call.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

/// The others.
pub(super) fn hidden() -> Vec<Arc<ScalarUDF>> {
    HIDDEN.iter().map(|simple| simple.udf()).collect()
}

/// One of the hidden ones.
pub(crate) fn hidden_function(name: &str) -> Option<Arc<ScalarUDF>> {
    let found = HIDDEN.iter().find(|simple| simple.name == name);
    found.map(|simple| simple.udf())
}

fn list_of(call: &Call<'_>, at: usize) -> Result<ListArray> {
    match call.arguments[at].data_type() {
        DataType::Null => {
            let empty = DataType::new_list(DataType::Null, true);
            as_list(&new_null_array(&empty, call.rows))
        }
        DataType::FixedSizeList(item, _) => {
            let list = DataType::List(Arc::clone(item));
            as_list(&cast(&call.arguments[at], &list)?)
        }
        _ => as_list(&call.arguments[at]),
    }
}

/// Where a row's elements are.
fn range(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    let bounds = &list.value_offsets()[row..row + 2];
    let at = |at: i32| usize::try_from(at).unwrap_or(0);
    at(bounds[0])..at(bounds[1])
}

fn number(at: usize) -> Option<u32> {
    u32::try_from(at).ok()
}

/// An array of picked elements for each row; `None` is a null array.
fn picked_lists(
    values: &ArrayRef,
    rows: Vec<Option<Vec<Option<u32>>>>,
    gives: &DataType,
) -> Result<ArrayRef> {
    let DataType::List(item) = gives else {
        return Err(failed("an array became something else"));
    };
    let nulls = NullBuffer::from_iter(rows.iter().map(Option::is_some));
    let lengths = rows.iter().map(|row| row.as_ref().map_or(0, Vec::len));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let picks: UInt32Array = rows.into_iter().flatten().flatten().collect();
    let values = cast(&take(values, &picks, None)?, item.data_type())?;
    let list = ListArray::try_new(Arc::clone(item), offsets, values, Some(nulls))?;
    Ok(Arc::new(list))
}

/// One element of each row.
fn picked(call: &Call<'_>, place: impl Fn(i64, i64) -> Result<Option<i64>>) -> Result<ArrayRef> {
    let list = list_of(call, 0)?;
    let positions = call.arguments[1].as_primitive::<Int64Type>();
    let pick = |row: usize| {
        if list.is_null(row) || positions.is_null(row) {
            return Ok(None);
        }
        let elements = range(&list, row);
        let length = i64::try_from(elements.len()).unwrap_or(i64::MAX);
        let at = place(positions.value(row), length)?;
        Ok(at
            .and_then(|at| usize::try_from(at).ok())
            .and_then(|at| number(elements.start + at)))
    };
    let picks = (0..call.rows).map(pick).collect::<Result<UInt32Array>>()?;
    Ok(cast(&take(list.values(), &picks, None)?, call.gives)?)
}

fn size(call: &Call<'_>) -> Result<ArrayRef> {
    if call.arguments[0].data_type() == &DataType::Null {
        return Ok(new_null_array(&DataType::Int32, call.rows));
    }
    let list = list_of(call, 0)?;
    let size = |row: usize| list.is_valid(row).then(|| list.value_length(row));
    Ok(Arc::new((0..call.rows).map(size).collect::<Int32Array>()))
}

/// Elements of a row that are equal to the second argument, which is not null.
fn equal_to<'a>(
    call: &Call<'a>,
    list: &'a ListArray,
) -> Result<impl Fn(usize, usize) -> bool + use<'a>> {
    let wanted = Arc::clone(&call.arguments[call.arguments.len() - 1]);
    let wanted = cast(&wanted, list.values().data_type())?;
    let compare = make_comparator(list.values(), &wanted, SortOptions::default())?;
    Ok(move |at: usize, row: usize| {
        list.values().is_valid(at) && compare(at, row) == Ordering::Equal
    })
}

fn position(call: &Call<'_>) -> Result<ArrayRef> {
    let list = list_of(call, 0)?;
    let equal = equal_to(call, &list)?;
    let found = (0..call.rows).map(|row| {
        if list.is_null(row) || call.arguments[1].is_null(row) {
            return None;
        }
        let nth = range(&list, row).position(|at| equal(at, row));
        Some(
            nth.and_then(|nth| i64::try_from(nth).ok())
                .map_or(0, |nth| nth + 1),
        )
    });
    Ok(Arc::new(found.collect::<Int64Array>()))
}

fn remove(call: &Call<'_>) -> Result<ArrayRef> {
    let list = list_of(call, 0)?;
    let equal = equal_to(call, &list)?;
    let rows = (0..call.rows).map(|row| {
        let there = list.is_valid(row) && call.arguments[1].is_valid(row);
        there.then(|| {
            let kept = range(&list, row).filter(|at| !equal(*at, row));
            kept.map(number).collect()
        })
    });
    picked_lists(list.values(), rows.collect(), call.gives)
}

/// On which side of the nulls that fill an array up a new element stands.
#[derive(Clone, Copy)]
enum Side {
    First,
    Last,
}

/// Puts the last argument into each array: before which position, and how many nulls stand between.
fn insert(
    call: &Call<'_>,
    place: impl Fn(usize) -> Result<(usize, usize, Side)>,
) -> Result<ArrayRef> {
    insert_rows(call, |_, length| place(length).map(Some))
}

fn insert_rows(
    call: &Call<'_>,
    place: impl Fn(usize, usize) -> Result<Option<(usize, usize, Side)>>,
) -> Result<ArrayRef> {
    let list = list_of(call, 0)?;
    let new = call.arguments.last().cloned();
    let new = new.ok_or_else(|| failed("nothing to put in"))?;
    let new = cast(&new, list.values().data_type())?;
    let both = concat(&[list.values().as_ref(), new.as_ref()])?;
    let offset = list.values().len();
    let mut rows = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if list.is_null(row) {
            rows.push(None);
            continue;
        }
        let mut picks: Vec<Option<u32>> = range(&list, row).map(number).collect();
        let Some((before, nulls, side)) = place(row, picks.len())? else {
            rows.push(None);
            continue;
        };
        let mut part = vec![None; nulls + 1];
        match side {
            Side::First => part[0] = number(offset + row),
            Side::Last => part[nulls] = number(offset + row),
        }
        picks.splice(before..before, part);
        rows.push(Some(picks));
    }
    picked_lists(&both, rows, call.gives)
}

/// The most elements that nulls may fill an array up to.
const FILLED_MAX: usize = 1 << 20;

fn insert_at(call: &Call<'_>) -> Result<ArrayRef> {
    let positions = call.arguments[1].as_primitive::<Int32Type>();
    insert_rows(call, |row, length| {
        if positions.is_null(row) {
            return Ok(None);
        }
        let at = positions.value(row);
        let distance = usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX);
        if distance > FILLED_MAX {
            return Err(failed("array_insert makes an array too long"));
        }
        match at {
            0 => Err(failed("[INVALID_INDEX_OF_ZERO] array_insert counts from 1")),
            1.. if distance - 1 <= length => Ok(Some((distance - 1, 0, Side::Last))),
            1.. => Ok(Some((length, distance - 1 - length, Side::Last))),
            _ if distance - 1 <= length => Ok(Some((length - (distance - 1), 0, Side::Last))),
            _ => Ok(Some((0, distance - 1 - length, Side::First))),
        }
    })
}

/// `(descending, nulls first)` for each row; `None` is a null array.
fn sorted(call: &Call<'_>, order: impl Fn(usize) -> Option<(bool, bool)>) -> Result<ArrayRef> {
    let list = list_of(call, 0)?;
    let mut comparators = Vec::new();
    for descending in [false, true] {
        for nulls_first in [false, true] {
            let options = SortOptions {
                descending,
                nulls_first,
            };
            comparators.push(make_comparator(list.values(), list.values(), options)?);
        }
    }
    let rows = (0..call.rows).map(|row| {
        let (descending, nulls_first) = order(row).filter(|_| list.is_valid(row))?;
        let compare = &comparators[usize::from(descending) * 2 + usize::from(nulls_first)];
        let mut picks: Vec<usize> = range(&list, row).collect();
        picks.sort_by(|a, b| compare(*a, *b));
        Some(picks.into_iter().map(number).collect())
    });
    picked_lists(list.values(), rows.collect(), call.gives)
}

fn overlap(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (list_of(call, 0)?, list_of(call, 1)?);
    let item = left.values().data_type();
    let converter = RowConverter::new(vec![SortField::new(item.clone())])?;
    let first = converter.convert_columns(&[Arc::clone(left.values())])?;
    let second = converter.convert_columns(&[cast(right.values(), item)?])?;
    let overlaps = (0..call.rows).map(|row| {
        if left.is_null(row) || right.is_null(row) {
            return None;
        }
        let (of_left, of_right) = (range(&left, row), range(&right, row));
        let valid = |at: &usize| left.values().is_valid(*at);
        let known: HashSet<_> = of_left
            .clone()
            .filter(valid)
            .map(|at| first.row(at))
            .collect();
        let mut others = of_right.clone();
        if others.any(|at| right.values().is_valid(at) && known.contains(&second.row(at))) {
            return Some(true);
        }
        let nulls = known.len() < of_left.len() && of_left.clone().any(|at| !valid(&at));
        let nulls = nulls || of_right.clone().any(|at| right.values().is_null(at));
        let unknown = nulls && !of_left.is_empty() && !of_right.is_empty();
        (!unknown).then_some(false)
    });
    Ok(Arc::new(overlaps.collect::<BooleanArray>()))
}

fn flatten(call: &Call<'_>) -> Result<ArrayRef> {
    let outer = list_of(call, 0)?;
    let inner = as_list(outer.values())?;
    let rows = (0..call.rows).map(|row| {
        let mut lists = range(&outer, row);
        let there = outer.is_valid(row) && lists.clone().all(|at| inner.is_valid(at));
        there.then(|| {
            let picks = lists.by_ref().flat_map(|at| range(&inner, at));
            picks.map(number).collect()
        })
    });
    picked_lists(inner.values(), rows.collect(), call.gives)
}

/// Arrays from their ends.
pub(super) fn reversed(column: &ArrayRef, gives: &DataType) -> Result<ArrayRef> {
    let list = as_list(column)?;
    let rows = (0..list.len()).map(|row| {
        let there = list.is_valid(row);
        there.then(|| range(&list, row).rev().map(number).collect())
    });
    picked_lists(list.values(), rows.collect(), gives)
}

/// The arrays of each row behind each other.
pub(super) fn concatenated(columns: &[ArrayRef], gives: &DataType) -> Result<ArrayRef> {
    let lists = columns
        .iter()
        .map(|column| as_list(&cast(column, gives)?))
        .collect::<Result<Vec<_>>>()?;
    let parts: Vec<&dyn Array> = lists.iter().map(|list| list.values().as_ref()).collect();
    let values = concat(&parts)?;
    let rows = lists.first().map_or(0, Array::len);
    let rows = (0..rows).map(|row| {
        let mut offset = 0;
        let mut picks = Vec::new();
        for list in &lists {
            if list.is_null(row) {
                return None;
            }
            picks.extend(range(list, row).map(|at| number(offset + at)));
            offset += list.values().len();
        }
        Some(picks)
    });
    picked_lists(&values, rows.collect(), gives)
}

/// The type of `arrays_zip` over arrays of these types.
pub(super) fn zipped_type(names: &[String], lists: &[DataType]) -> Result<DataType, SqlError> {
    let fields = names
        .iter()
        .zip(lists)
        .map(|(name, list)| Ok(Field::new(name, item_of(list)?, true)))
        .collect::<Result<Vec<_>, SqlError>>()?;
    Ok(DataType::new_list(DataType::Struct(fields.into()), true))
}

/// Structs of the elements at one position; a shorter array has nulls at its end.
pub(super) fn zipped(columns: &[ArrayRef], gives: &DataType) -> Result<ArrayRef> {
    let lists = columns.iter().map(as_list).collect::<Result<Vec<_>>>()?;
    let (DataType::List(item), rows) = (gives, lists.first().map_or(0, Array::len)) else {
        return Err(failed("an array became something else"));
    };
    let DataType::Struct(fields) = item.data_type() else {
        return Err(failed("an array of other than structs"));
    };
    let mut picks: Vec<Vec<Option<u32>>> = vec![Vec::new(); lists.len()];
    let mut lengths = Vec::with_capacity(rows);
    let mut there = Vec::with_capacity(rows);
    for row in 0..rows {
        let valid = lists.iter().all(|list| list.is_valid(row));
        let longest = lists.iter().map(|list| range(list, row).len()).max();
        let length = longest.filter(|_| valid).unwrap_or(0);
        for (picks, list) in picks.iter_mut().zip(&lists) {
            let own = range(list, row);
            picks.extend((0..length).map(|at| number(own.start + at).filter(|_| at < own.len())));
        }
        lengths.push(length);
        there.push(valid);
    }
    let columns = lists
        .iter()
        .zip(picks)
        .map(|(list, picks)| take(list.values(), &UInt32Array::from(picks), None))
        .collect::<Result<Vec<_>, _>>()?;
    let length = lengths.iter().sum();
    let values = StructArray::try_new_with_length(Fields::clone(fields), columns, None, length)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = Some(NullBuffer::from(there));
    let list = ListArray::try_new(Arc::clone(item), offsets, Arc::new(values), nulls)?;
    Ok(Arc::new(list))
}
