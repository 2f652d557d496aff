//! How many bytes some of an array's values take: what a batch is cut by.
//!
//! Buffers are shared by slices, so their length says nothing about one slice. Here only the values that
//! are asked for count, and an answer takes no longer for more of them (views excepted).

use std::ops::Range;

use arrow::{
    array::{Array, AsArray},
    datatypes::DataType,
};

/// Bytes of the values at some places. Nulls and what values share, as a dictionary, are not counted.
///
/// # Panics
/// On places that are not there.
#[must_use]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of another crate, with many variants and more to come"
)]
pub fn width(array: &dyn Array, places: Range<usize>) -> usize {
    let count = places.len();
    if let Some(each) = array.data_type().primitive_width() {
        return each * count;
    }
    match array.data_type() {
        DataType::Null => 0,
        DataType::Boolean => count.div_ceil(8),
        DataType::FixedSizeBinary(each) => count * usize::try_from(*each).unwrap_or(0),
        DataType::Utf8 => {
            spread(array.as_string::<i32>().value_offsets(), &places).len() + 4 * count
        }
        DataType::Binary => {
            spread(array.as_binary::<i32>().value_offsets(), &places).len() + 4 * count
        }
        DataType::LargeUtf8 => {
            spread(array.as_string::<i64>().value_offsets(), &places).len() + 8 * count
        }
        DataType::LargeBinary => {
            spread(array.as_binary::<i64>().value_offsets(), &places).len() + 8 * count
        }
        DataType::Utf8View => viewed(array.as_string_view().views(), places),
        DataType::BinaryView => viewed(array.as_binary_view().views(), places),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            4 * count + width(list.values(), spread(list.value_offsets(), &places))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            8 * count + width(list.values(), spread(list.value_offsets(), &places))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            4 * count + width(map.entries(), spread(map.value_offsets(), &places))
        }
        DataType::FixedSizeList(_, each) => {
            let each = usize::try_from(*each).unwrap_or(0);
            let values = array.as_fixed_size_list().values();
            width(values, places.start * each..places.end * each)
        }
        DataType::Struct(_) => {
            let columns = array.as_struct().columns().iter();
            columns.map(|column| width(column, places.clone())).sum()
        }
        DataType::Dictionary(key, _) => key.primitive_width().unwrap_or(0) * count,
        // Such columns no table has; with what they share they seem wider than they are.
        _ => array.slice(places.start, count).get_array_memory_size(),
    }
}

/// Whether all values of a type are equally wide.
#[must_use]
pub fn is_fixed(data_type: &DataType) -> bool {
    data_type.primitive_width().is_some() || matches!(data_type, DataType::Null | DataType::Boolean)
}

/// Where the parts of some values begin and end.
fn spread<O: Copy>(offsets: &[O], places: &Range<usize>) -> Range<usize>
where
    usize: TryFrom<O>,
{
    let at = |place: usize| usize::try_from(offsets[place]).unwrap_or(0);
    at(places.start)..at(places.end)
}

/// Views carry their length in front.
fn viewed(views: &[u128], places: Range<usize>) -> usize {
    let bytes = |view: &u128| usize::try_from(*view & u128::from(u32::MAX)).unwrap_or(0);
    views[places].iter().map(|view| 16 + bytes(view)).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{
            ArrayRef, BooleanArray, Int32Array, Int64Array, ListArray, StringArray,
            StringViewArray, StructArray,
        },
        datatypes::{Field, Int32Type},
    };

    use super::*;

    #[test]
    fn values_count_and_not_their_buffers() {
        let texts = StringArray::from(vec!["a", "bcd", "", "efghij"]);
        assert_eq!(width(&texts, 1..3), 3 + 2 * 4);
        assert_eq!(width(&texts.slice(1, 2), 0..2), 3 + 2 * 4);
        let views = StringViewArray::from(vec!["a", "a text that is not in its view"]);
        assert_eq!(width(&views, 0..2), 16 + 1 + 16 + 30);
        assert_eq!(width(&Int64Array::from(vec![1, 2, 3]), 0..2), 16);
        assert_eq!(width(&BooleanArray::from(vec![true; 9]), 0..9), 2);

        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(1)]),
            Some(vec![Some(1); 10]),
            None,
        ]);
        assert_eq!(width(&lists, 0..1), 8);
        assert_eq!(width(&lists, 1..2), 44);
        let parts: Vec<(_, ArrayRef)> = vec![
            (
                Arc::new(Field::new("l", lists.data_type().clone(), true)),
                Arc::new(lists),
            ),
            (
                Arc::new(Field::new("n", DataType::Int32, true)),
                Arc::new(Int32Array::from(vec![1, 2, 3])),
            ),
        ];
        let rows = StructArray::from(parts);
        assert_eq!(width(&rows.slice(1, 2), 0..1), 48);
        assert!(!is_fixed(rows.data_type()));
    }
}
