//! `count(DISTINCT value)` over rows that stay: a set of pairs of group and value.
//!
//! A value has a number in one table for all groups, so a pair is a word, and the result is the
//! number of pairs of a group: no pass over its values. Over rows that are taken back the values are
//! kept with their counts ([`multiset`](super::multiset)); the state has the same form.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, StructArray},
    buffer::OffsetBuffer,
    compute,
    datatypes::{DataType, Field, Fields},
};
use hashbrown::HashTable;

use super::{
    AggregateCall,
    function::{Function, Rows},
    multiset,
};
use crate::{
    error::{OperatorError, Result},
    keys::KeyTable,
};

/// Bytes of a pair in the table and in the list of its group.
const PAIR_BYTES: usize = 16;

/// Numbers of values, pairs of group and value, and the values of each group.
pub(super) struct CountDistinct {
    call: AggregateCall,
    entry: Fields,
    values: KeyTable,
    pairs: HashTable<u64>,
    groups: Vec<Vec<u32>>,
    /// Numbers of the values of a batch; its memory is used again.
    numbers: Vec<u32>,
}

/// Whether a call has this form.
pub(super) fn serves(call: &AggregateCall) -> bool {
    call.function.fun().name() == "count"
        && call.distinct
        && call.arguments.len() == 1
        && !call.retracting
}

/// Spreads a pair over 64 bits; only this process ever sees it.
#[inline]
fn spread(pair: u64) -> u64 {
    let folded = u128::from(pair).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are mixed")]
    let mixed = (folded >> 64) as u64 ^ folded as u64;
    mixed
}

impl CountDistinct {
    pub(super) fn new(call: &AggregateCall) -> Result<CountDistinct> {
        let fields = multiset::state_fields(call);
        let Some(DataType::List(item)) = fields.first().map(|field| field.data_type()) else {
            return Err(OperatorError::contract("values without a list"));
        };
        let DataType::Struct(entry) = item.data_type() else {
            return Err(OperatorError::contract("values without their counts"));
        };
        Ok(CountDistinct {
            entry: entry.clone(),
            values: KeyTable::new(&call.argument_types)?,
            call: call.clone(),
            pairs: HashTable::new(),
            groups: Vec::new(),
            numbers: Vec::new(),
        })
    }

    /// Adds values that count, one for each of `groups`.
    fn add(&mut self, values: &ArrayRef, groups: impl Iterator<Item = u32>) -> Result<()> {
        self.numbers.clear();
        let columns = std::slice::from_ref(values);
        self.values
            .intern(columns, values.len(), &mut self.numbers)?;
        for (group, number) in groups.zip(&self.numbers) {
            let pair = u64::from(group) << 32 | u64::from(*number);
            let entry = self
                .pairs
                .entry(spread(pair), |held| *held == pair, |held| spread(*held));
            if let hashbrown::hash_table::Entry::Vacant(place) = entry {
                place.insert(pair);
                self.groups[group as usize].push(*number);
            }
        }
        Ok(())
    }
}

impl Function for CountDistinct {
    fn width(&self) -> usize {
        1
    }

    fn resize(&mut self, groups: usize) {
        self.groups.resize_with(groups, Vec::new);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        rows.refuse_retractions(&self.call)?;
        let values = &rows.arguments[0];
        if rows.filter.is_none() && values.logical_null_count() == 0 {
            return self.add(values, rows.groups.iter().copied());
        }
        let nulls = values.logical_nulls();
        let counts: BooleanArray = (0..values.len())
            .map(|row| {
                let is_there = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                Some(is_there && rows.counts(row))
            })
            .collect();
        let there = compute::filter(values, &counts)
            .map_err(OperatorError::arrow("choosing values that count"))?;
        let groups = rows.groups.iter().zip(counts.values().iter());
        let groups = groups.filter(|(_, counts)| *counts);
        self.add(&there, groups.map(|(group, _)| *group))
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let contract = || OperatorError::contract("values in another form than their function's");
        let lists = state[0].as_list_opt::<i32>().ok_or_else(contract)?;
        let entries = lists.values().as_struct_opt().ok_or_else(contract)?;
        let offsets = lists.value_offsets();
        let bound = |at: Option<&i32>| at.and_then(|at| usize::try_from(*at).ok()).unwrap_or(0);
        // A list that was cut from a longer one still holds the values of all of it.
        let (from, to) = (bound(offsets.first()), bound(offsets.last()));
        let values = entries.column(0).slice(from, to - from);
        let group_of = groups
            .iter()
            .zip(offsets.windows(2))
            .flat_map(|(group, ends)| {
                let length = usize::try_from(ends[1] - ends[0]).unwrap_or(0);
                std::iter::repeat_n(*group, length)
            });
        self.add(&values, group_of)
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let of_group = |group: &u32| &self.groups[*group as usize];
        let lengths = groups.iter().map(|group| of_group(group).len());
        let offsets = OffsetBuffer::from_lengths(lengths);
        let numbers: Vec<u32> = groups.iter().flat_map(of_group).copied().collect();
        let mut columns = self.values.columns(Some(&numbers))?;
        columns.push(Arc::new(Int64Array::from_value(1, numbers.len())));
        let entries = StructArray::try_new(self.entry.clone(), columns, None)
            .map_err(OperatorError::arrow("writing values"))?;
        let item = Field::new_list_field(DataType::Struct(self.entry.clone()), true);
        let lists = ListArray::try_new(Arc::new(item), offsets, Arc::new(entries), None)
            .map_err(OperatorError::arrow("writing values"))?;
        Ok(vec![Arc::new(lists)])
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let counts = groups.iter().map(|group| {
            let values = &self.groups[*group as usize];
            i64::try_from(values.len()).unwrap_or(i64::MAX)
        });
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn bytes(&self) -> usize {
        self.values.bytes()
            + self.pairs.len() * PAIR_BYTES
            + self.groups.len() * size_of::<Vec<u32>>()
    }
}

#[cfg(test)]
mod tests {
    use arrow::{array::StringArray, datatypes::Schema};
    use datafusion_common::{DataFusionError, not_impl_err};
    use datafusion_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
        function::AccumulatorArgs,
    };
    use datafusion_physical_expr::{aggregate::AggregateExprBuilder, expressions::Column};
    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::multiset::Multiset;

    /// The name and type of `count`; nobody asks for its accumulator.
    #[derive(Debug, PartialEq, Eq, Hash)]
    struct Count(Signature);

    impl AggregateUDFImpl for Count {
        fn name(&self) -> &'static str {
            "count"
        }
        fn signature(&self) -> &Signature {
            &self.0
        }
        fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
            Ok(DataType::Int64)
        }
        fn accumulator(
            &self,
            _arguments: AccumulatorArgs<'_>,
        ) -> Result<Box<dyn Accumulator>, DataFusionError> {
            not_impl_err!("only a name and a type")
        }
    }

    fn call(data_type: &DataType) -> AggregateCall {
        let input = Schema::new(vec![Field::new("value", data_type.clone(), true)]);
        let count = AggregateUDF::from(Count(Signature::any(1, Volatility::Immutable)));
        let function =
            AggregateExprBuilder::new(Arc::new(count), vec![Arc::new(Column::new("value", 0))])
                .schema(Arc::new(input))
                .alias("values")
                .build();
        AggregateCall {
            function: Arc::new(function.expect("is a function")),
            arguments: vec![0],
            argument_types: vec![data_type.clone()],
            distinct: true,
            filter: None,
            retracting: false,
        }
    }

    /// A group, a value that may be null, whether the row passes the filter.
    type Row = (u32, Option<i64>, bool);

    /// Counts of three groups, half of the rows through a state of another table.
    fn counts(mut tables: [Box<dyn Function>; 2], rows: &[Row], as_text: bool) -> ArrayRef {
        let halves = rows.split_at(rows.len() / 2);
        for (table, rows) in tables.iter_mut().zip([halves.0, halves.1]) {
            table.resize(3);
            let values = rows.iter().map(|(_, value, _)| *value);
            let values: ArrayRef = if as_text {
                let texts = values.map(|value| value.map(|value| format!("v{value}")));
                Arc::new(texts.collect::<StringArray>())
            } else {
                Arc::new(values.collect::<Int64Array>())
            };
            let filter: BooleanArray = rows.iter().map(|(_, _, passes)| Some(*passes)).collect();
            let groups: Vec<u32> = rows.iter().map(|(group, _, _)| *group).collect();
            let rows = Rows {
                arguments: &[values],
                filter: Some(&filter),
                groups: &groups,
                signs: None,
                epoch: 0,
                origins: None,
            };
            table.update(&rows).expect("takes rows");
        }
        // Another order of groups than theirs, and one of them twice in two calls.
        let [mut all, other] = tables;
        for groups in [&[2, 0][..], &[1, 2][..]] {
            let state = other.state(groups).expect("has a state");
            all.merge(&state, groups).expect("takes a state");
        }
        all.evaluate(&[0, 1, 2]).expect("has a result")
    }

    proptest! {
        #[test]
        fn a_set_counts_as_a_multiset_does(
            rows in prop::collection::vec(
                (0..3u32, prop::option::of(0..20i64), any::<bool>()),
                0..80,
            ),
            as_text in any::<bool>(),
        ) {
            let call = call(if as_text { &DataType::Utf8 } else { &DataType::Int64 });
            let set = || Box::new(CountDistinct::new(&call).expect("has a form"));
            let multiset = || Box::new(Multiset::new(&call).expect("has a form"));
            prop_assert_eq!(
                &counts([set(), set()], &rows, as_text),
                &counts([multiset(), multiset()], &rows, as_text)
            );
            // States are of one form: what one wrote the other reads.
            prop_assert_eq!(
                &counts([set(), multiset()], &rows, as_text),
                &counts([multiset(), set()], &rows, as_text)
            );
        }
    }
}
