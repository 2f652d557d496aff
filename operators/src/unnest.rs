//! Rows made from lists, a bounded portion at a time.
//!
//! A list may have a million elements, and a wide text beside it would be there a million times. So the
//! rows of a batch are not made at once: [`Lists`] stands at a place in its lists, and what a call of
//! [`portion`](Lists::portion) gives has at most [`BATCH_ROWS_MAX`] rows and about
//! [`BATCH_BYTES_MAX`] bytes. Elements are slices of the list's values and are not copied; columns beside
//! them are repeated only if somebody reads them. [INV-07]
//!
//! What this does *not* do: compute lists. The chain does, for some rows at a time.
//! Tests: below, and of memory in `tests/it/unnest.rs`.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, UInt32Array,
        UInt64Array,
    },
    buffer::OffsetBuffer,
    compute,
    datatypes::{DataType, SchemaRef},
};

use crate::{
    delta::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Delta},
    draw::nested,
    error::{OperatorError, Result},
    width::{is_fixed, width},
};

/// Which columns leave a step that makes rows from lists.
#[derive(Clone, Debug)]
pub struct Unnest {
    /// A `List` or `LargeList` column of the input. A row with an empty or null list makes no row.
    pub column: usize,
    /// Columns of the input that are there afterwards, in order; in place of the list stand its
    /// elements. The others are not repeated.
    pub columns: Vec<usize>,
    /// The columns afterwards.
    pub schema: SchemaRef,
}

/// Some rows with their lists, and how far they have become rows.
#[derive(Debug)]
pub(crate) struct Lists {
    /// The columns that are repeated, with the signs and places of the rows.
    kept: Delta,
    keys: Option<UInt64Array>,
    offsets: OffsetBuffer<i32>,
    elements: ArrayRef,
    /// For each column afterwards the one of `kept`; nothing for the elements.
    sources: Vec<Option<usize>>,
    /// The row whose elements are next.
    row: usize,
    /// The element that is next.
    element: usize,
}

/// Rows that lists became, with the row keys of a chain that draws.
pub(crate) type Portion = (Delta, Option<UInt64Array>);

/// Elements of one row that leave together.
struct Segment {
    row: usize,
    elements: Range<usize>,
}

impl Lists {
    /// Stands before the first element of the first row. `keys` are of the rows, if the chain draws.
    ///
    /// # Errors
    /// When the column is no list, or its elements are not of the schema's type.
    pub(crate) fn new(delta: Delta, keys: Option<UInt64Array>, unnest: &Unnest) -> Result<Lists> {
        let (offsets, elements) = opened(delta.batch().column(unnest.column))?;
        let mut sources = Vec::new();
        let mut kept = Vec::new();
        let mut wanted = elements.data_type().clone();
        for (column, field) in unnest.columns.iter().zip(unnest.schema.fields()) {
            if *column == unnest.column {
                wanted = field.data_type().clone();
                sources.push(None);
            } else {
                sources.push(Some(kept.len()));
                kept.push(*column);
            }
        }
        // The same type as a rule; nested fields may be named otherwise.
        let elements = if elements.data_type() == &wanted {
            elements
        } else {
            compute::cast(&elements, &wanted).map_err(unnesting())?
        };
        let kept = delta.batch().project(&kept).map_err(unnesting())?;
        Ok(Lists {
            element: usize::try_from(offsets[0]).unwrap_or(0),
            kept: delta.with_columns(kept),
            keys,
            offsets,
            elements,
            sources,
            row: 0,
        })
    }

    /// Bytes of all lists.
    pub(crate) fn bytes(&self) -> usize {
        let (first, last) = (self.offsets[0], self.offsets[self.offsets.len() - 1]);
        let at = |offset| usize::try_from(offset).unwrap_or(0);
        width(&self.elements, at(first)..at(last))
    }

    /// The next rows; nothing when all elements are out.
    ///
    /// # Errors
    /// Never for lists that [`new`](Lists::new) took.
    pub(crate) fn portion(&mut self, schema: &SchemaRef) -> Result<Option<Portion>> {
        let first = self.element;
        let segments = self.segments();
        let rows = self.element - first;
        if rows == 0 {
            return Ok(None);
        }
        let is_alone = self.kept.batch().num_columns() == 0
            && self.kept.diff().is_none()
            && self.kept.origin().is_none();
        let repeated = if is_alone {
            Delta::insertions(self.kept.batch().slice(0, 0))
        } else {
            self.kept.take(&repetitions(&segments)?)?
        };
        let elements = self.elements.slice(first, rows);
        let columns = self.sources.iter().map(|source| match source {
            Some(column) => repeated.batch().column(*column).clone(),
            None => elements.clone(),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema.clone(), columns.collect(), &options)
            .map_err(unnesting())?;
        let keys = self
            .keys
            .as_ref()
            .map(|keys| self.nested_keys(keys, &segments));
        Ok(Some((repeated.with_columns(batch), keys)))
    }

    /// Goes on by as many elements as one batch may have.
    fn segments(&mut self) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut left = self.elements_at_once();
        let mut bytes_left = BATCH_BYTES_MAX;
        let columns = self.kept.batch().columns();
        let all_fixed = columns.iter().all(|column| is_fixed(column.data_type()));
        let fixed = match all_fixed && self.kept.rows() > 0 {
            true => Some(columns.iter().map(|column| width(column, 0..1)).sum()),
            false => None,
        };
        while left > 0 && self.row < self.kept.rows() {
            let end = self.end_of(self.row);
            if end == self.element {
                self.row += 1;
                continue;
            }
            let row = self.row..self.row + 1;
            let each: usize = fixed.unwrap_or_else(|| {
                columns
                    .iter()
                    .map(|column| width(column, row.clone()))
                    .sum()
            });
            // However wide a row is, one goes.
            let room = (bytes_left / each.max(1)).max(usize::from(segments.is_empty()));
            let count = (end - self.element).min(left).min(room);
            if count == 0 {
                break;
            }
            segments.push(Segment {
                row: self.row,
                elements: self.element..self.element + count,
            });
            self.element += count;
            left -= count;
            bytes_left = bytes_left.saturating_sub(count * each);
        }
        segments
    }

    /// How many elements are in one batch, if nothing stands beside them.
    fn elements_at_once(&self) -> usize {
        let end = self.end_of(self.kept.rows().saturating_sub(1));
        let mut count = (end - self.element).min(BATCH_ROWS_MAX);
        while count > 1
            && width(&self.elements, self.element..self.element + count) > BATCH_BYTES_MAX
        {
            count = count.div_ceil(2);
        }
        count
    }

    /// Where the elements of a row end, and those of the next begin.
    fn end_of(&self, row: usize) -> usize {
        let end = self.offsets.get(row + 1);
        end.map_or(self.element, |end| usize::try_from(*end).unwrap_or(0))
    }

    fn nested_keys(&self, keys: &UInt64Array, segments: &[Segment]) -> UInt64Array {
        let keys = segments.iter().flat_map(|segment| {
            let key = keys.value(segment.row);
            let start = usize::try_from(self.offsets[segment.row]).unwrap_or(0);
            let nth = segment.elements.clone();
            nth.map(move |element| nested(key, (element - start) as u64))
        });
        UInt64Array::from_iter_values(keys)
    }
}

fn unnesting() -> impl FnOnce(arrow::error::ArrowError) -> OperatorError {
    OperatorError::arrow("exploding a list")
}

/// For each element the number of its row. Rows of one list keep its order: they stand together wherever
/// they go.
fn repetitions(segments: &[Segment]) -> Result<ArrayRef> {
    let mut rows = Vec::with_capacity(segments.iter().map(|one| one.elements.len()).sum());
    for Segment { row, elements } in segments {
        let row = u32::try_from(*row)
            .map_err(|_| OperatorError::contract("a batch has more rows than can be numbered"))?;
        rows.extend(std::iter::repeat_n(row, elements.len()));
    }
    Ok(Arc::new(UInt32Array::from(rows)))
}

/// Offsets and values of lists, in which those of one row follow those of the row before.
fn opened(lists: &ArrayRef) -> Result<(OffsetBuffer<i32>, ArrayRef)> {
    let small = if let DataType::LargeList(item) = lists.data_type() {
        compute::cast(lists, &DataType::List(item.clone())).map_err(unnesting())?
    } else {
        lists.clone()
    };
    let lists = small
        .as_list_opt::<i32>()
        .ok_or_else(|| OperatorError::contract("explode over a column that is no list"))?;
    let hides = |row: usize| lists.is_null(row) && lists.value_length(row) > 0;
    if lists.null_count() > 0 && (0..lists.len()).any(hides) {
        return compacted(lists);
    }
    Ok((lists.offsets().clone(), lists.values().clone()))
}

/// The same without what stands in lists that are null.
fn compacted(lists: &ListArray) -> Result<(OffsetBuffer<i32>, ArrayRef)> {
    let valid = |row: &usize| lists.is_valid(*row);
    let places = (0..lists.len()).filter(valid).flat_map(|row| {
        let (start, end) = (lists.value_offsets()[row], lists.value_offsets()[row + 1]);
        (start..end).map(i32::unsigned_abs)
    });
    let places = UInt32Array::from_iter_values(places);
    let lengths = (0..lists.len()).map(|row| match lists.is_valid(row) {
        true => usize::try_from(lists.value_length(row)).unwrap_or(0),
        false => 0,
    });
    let offsets = OffsetBuffer::from_lengths(lengths);
    let values = compute::take(lists.values(), &places, None).map_err(unnesting())?;
    Ok((offsets, values))
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int32Array, Int64Array, StringArray},
        buffer::NullBuffer,
        datatypes::{Field, Int32Type, Schema},
    };

    use super::*;

    /// Rows of a text, a list and a number.
    fn rows(lists: ListArray, texts: Vec<String>) -> Delta {
        let numbers = Int64Array::from_iter_values((0i64..).take(lists.len()));
        let schema = Schema::new(vec![
            Field::new("text", DataType::Utf8, true),
            Field::new("list", lists.data_type().clone(), true),
            Field::new("number", DataType::Int64, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(texts)),
            Arc::new(lists),
            Arc::new(numbers),
        ];
        Delta::insertions(RecordBatch::try_new(Arc::new(schema), columns).expect("has columns"))
    }

    fn unnest(columns: &[usize]) -> Unnest {
        let fields = [
            Field::new("text", DataType::Utf8, true),
            Field::new("list", DataType::Int32, true),
            Field::new("number", DataType::Int64, true),
        ];
        Unnest {
            column: 1,
            columns: columns.to_vec(),
            schema: Arc::new(Schema::new(
                columns
                    .iter()
                    .map(|column| fields[*column].clone())
                    .collect::<Vec<_>>(),
            )),
        }
    }

    fn portions(delta: Delta, keys: Option<UInt64Array>, unnest: &Unnest) -> Vec<Portion> {
        let mut lists = Lists::new(delta, keys, unnest).expect("opens");
        std::iter::from_fn(|| lists.portion(&unnest.schema).expect("goes on")).collect()
    }

    #[test]
    fn empty_and_null_lists_make_no_row_and_hidden_elements_stay_hidden() {
        let item = Arc::new(Field::new_list_field(DataType::Int32, true));
        let values = Int32Array::from(vec![Some(1), None, Some(9), Some(3), Some(4)]);
        let offsets = OffsetBuffer::from_lengths([2, 0, 1, 2]);
        let valid = NullBuffer::from(vec![true, true, false, true]);
        let lists = ListArray::new(item, offsets, Arc::new(values), Some(valid));
        let texts = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let unnest = unnest(&[2, 1]);
        // From the second row on, so that offsets do not begin at zero, and from the first.
        for (from, expected) in [
            (0, vec![(0, Some(1)), (0, None), (3, Some(3)), (3, Some(4))]),
            (1, vec![(3, Some(3)), (3, Some(4))]),
        ] {
            let delta = rows(lists.clone(), texts.clone());
            let out = portions(delta.slice(from, 4 - from), None, &unnest);
            let pairs = out.iter().flat_map(|(delta, _)| {
                let columns = delta.batch().columns();
                let numbers = columns[0].as_primitive::<arrow::datatypes::Int64Type>();
                let elements = columns[1].as_primitive::<Int32Type>();
                numbers
                    .iter()
                    .flatten()
                    .zip(elements.iter())
                    .collect::<Vec<_>>()
            });
            assert_eq!(pairs.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_portion_is_bounded_in_rows_and_in_bytes() {
        let long = vec![Some(7); BATCH_ROWS_MAX * 2 + 5];
        let lists = || ListArray::from_iter_primitive::<Int32Type, _, _>([Some(long.clone())]);
        let narrow = portions(rows(lists(), vec!["x".to_owned()]), None, &unnest(&[1]));
        let counts: Vec<usize> = narrow.iter().map(|(delta, _)| delta.rows()).collect();
        assert_eq!(counts, [BATCH_ROWS_MAX, BATCH_ROWS_MAX, 5]);

        // 100 KiB beside each element: about forty go into a batch. INV-07
        let wide = portions(
            rows(lists(), vec!["x".repeat(100 << 10)]),
            None,
            &unnest(&[0, 1]),
        );
        let total: usize = wide.iter().map(|(delta, _)| delta.rows()).sum();
        assert_eq!(total, long.len());
        for (delta, _) in &wide {
            assert!(delta.bytes() <= BATCH_BYTES_MAX + 4 * BATCH_ROWS_MAX);
        }
        // Wider than a batch may be: one by one.
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1); 3])]);
        let widest = rows(list, vec!["x".repeat(BATCH_BYTES_MAX + 1)]);
        assert_eq!(portions(widest, None, &unnest(&[0, 1])).len(), 3);
    }

    #[test]
    fn keys_of_rows_do_not_depend_on_where_they_were_cut() {
        let count = BATCH_ROWS_MAX + 3;
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1); count])]);
        let delta = rows(lists, vec![String::new()]);
        let out = portions(delta, Some(UInt64Array::from(vec![5])), &unnest(&[]));
        let keys = out
            .iter()
            .flat_map(|(_, keys)| keys.iter().flat_map(UInt64Array::values));
        let expected: Vec<u64> = (0..count as u64).map(|nth| nested(5, nth)).collect();
        assert_eq!(keys.copied().collect::<Vec<_>>(), expected);
        assert_eq!(out[0].0.rows(), BATCH_ROWS_MAX);
    }
}
