//! Functions that need the rows themselves: each group keeps its arguments with their counts.
//!
//! Three kinds of calls come here. Those whose input takes rows back, where the next greatest value
//! must be at hand when the greatest goes; DISTINCT, where a value counts from its first row to its
//! last; and those whose result is made of all values, such as `collect_list`. The values of a group
//! are sorted, so the least and the greatest are read at the ends. Every other answer is computed
//! from all values of the groups that are asked for, in one pass through the function itself: always
//! in the same order, so that a function that heeds it gives one answer for one set of values.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, StructArray, UInt32Array,
        UInt64Array,
    },
    buffer::OffsetBuffer,
    compute,
    datatypes::{DataType, Field, FieldRef, Fields, Int64Type, UInt64Type},
};
use datafusion_common::ScalarValue;
use datafusion_expr::EmitTo;
use datafusion_physical_expr::expressions::Literal;

use super::{
    AggregateCall,
    function::{Function, Rows},
    general::{Seats, accumulator},
    native,
    values::Values,
};
use crate::{
    error::{OperatorError, Result},
    rows::RowCodec,
};

/// How a result comes from the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Least,
    Greatest,
    /// Different values without nulls.
    CountDistinct,
    /// From every value once.
    Distinct,
    /// From every value as often as it is there.
    All,
}

/// One function's values, by group.
pub(super) struct Multiset {
    call: AggregateCall,
    answer: Answer,
    /// Values stand in the order of input rows; otherwise in their own.
    by_origin: bool,
    /// Which arguments differ from row to row; the others are literals.
    varying: Vec<usize>,
    literals: Vec<Option<ScalarValue>>,
    codec: RowCodec,
    entry: Fields,
    /// In the middle of an epoch a count may be below 0.
    groups: Vec<Values>,
    bytes: usize,
}

/// Functions whose state would grow with every row in any form, and those of which DataFusion's state
/// depends on the order of rows or of merges.
const OF_ALL_VALUES: [&str; 12] = [
    "__mode_desc",
    "__percentile_disc_desc",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "collect_set",
    "histogram_numeric",
    "median",
    "mode",
    "percentile",
    "percentile_cont",
    "percentile_disc",
];

/// Of these, functions whose result has the order of the input.
const IN_ORDER: [&str; 4] = ["array_agg", "collect_list", "nth_value", "string_agg"];

/// Whether a call keeps its values.
pub(super) fn keeps_values(call: &AggregateCall) -> bool {
    let name = call.function.fun().name();
    !call.arguments.is_empty()
        && (call.retracting
            || call.distinct
            || OF_ALL_VALUES.contains(&name)
            || IN_ORDER.contains(&name))
}

fn answer(call: &AggregateCall) -> Answer {
    let (name, distinct) = (call.function.fun().name(), call.distinct);
    match (name, call.arguments.len()) {
        ("min", 1) => Answer::Least,
        ("max", 1) => Answer::Greatest,
        ("count", _) if distinct => Answer::CountDistinct,
        ("collect_set", _) => Answer::Distinct,
        _ if distinct => Answer::Distinct,
        _ => Answer::All,
    }
}

/// The state of a call: one list column of values and their counts.
pub(super) fn state_fields(call: &AggregateCall) -> Vec<FieldRef> {
    let entry = entry_fields(call, &varying(call).0);
    vec![Arc::new(Field::new("values", list_type(&entry), true))]
}

/// Whether the order of input rows has a meaning for a call.
pub(super) fn by_origin(call: &AggregateCall) -> bool {
    !call.retracting
        && answer(call) == Answer::All
        && IN_ORDER.contains(&call.function.fun().name())
}

fn list_type(entry: &Fields) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(
        DataType::Struct(entry.clone()),
        true,
    )))
}

/// The arguments that are no literals, and the literals.
fn varying(call: &AggregateCall) -> (Vec<usize>, Vec<Option<ScalarValue>>) {
    let literals: Vec<Option<ScalarValue>> = call
        .function
        .expressions()
        .iter()
        .map(|argument| Some(argument.downcast_ref::<Literal>()?.value().clone()))
        .collect();
    let mut varying: Vec<usize> = (0..call.arguments.len())
        .filter(|at| literals.get(*at).is_none_or(Option::is_none))
        .collect();
    if varying.is_empty() {
        varying.push(0);
    }
    (varying, literals)
}

fn entry_fields(call: &AggregateCall, varying: &[usize]) -> Fields {
    let mut fields = Vec::new();
    if by_origin(call) {
        fields.push(Field::new("epoch", DataType::UInt64, false));
        fields.push(Field::new("origin", DataType::UInt64, false));
    }
    for at in varying {
        let data_type = call.argument_types[*at].clone();
        fields.push(Field::new(format!("argument{at}"), data_type, true));
    }
    fields.push(Field::new("count", DataType::Int64, false));
    Fields::from(fields)
}

impl Multiset {
    pub(super) fn new(call: &AggregateCall) -> Result<Multiset> {
        let (varying, literals) = varying(call);
        let types: Vec<DataType> = varying
            .iter()
            .map(|at| call.argument_types[*at].clone())
            .collect();
        Ok(Multiset {
            answer: answer(call),
            by_origin: by_origin(call),
            codec: RowCodec::new(&types)?,
            entry: entry_fields(call, &varying),
            call: call.clone(),
            varying,
            literals,
            groups: Vec::new(),
            bytes: 0,
        })
    }

    /// Bytes in front of a value: epoch and origin, where values stand in the order of the input.
    fn prefix(&self) -> usize {
        if self.by_origin { 16 } else { 0 }
    }

    fn add(&mut self, group: u32, value: &[u8], count: i64) {
        let values = &mut self.groups[group as usize];
        let before = values.bytes();
        let grew = values.add(value, count);
        self.bytes = (self.bytes + values.bytes() - before).wrapping_add_signed(grew);
    }

    /// Rows that can never be part of the result.
    fn is_ignored(&self, columns: &[ArrayRef], row: usize) -> bool {
        match self.answer {
            Answer::Least | Answer::Greatest => columns[0].is_null(row),
            Answer::CountDistinct => columns.iter().any(|column| column.is_null(row)),
            Answer::Distinct | Answer::All => false,
        }
    }

    fn add_rows(
        &mut self,
        columns: &[ArrayRef],
        place_of: impl Fn(usize) -> (u64, u64),
        groups: &[u32],
        count_of: impl Fn(usize) -> i64,
    ) -> Result<()> {
        let encoded = self.codec.encode(columns)?;
        let mut value = Vec::new();
        for (row, group) in groups.iter().enumerate() {
            let count = count_of(row);
            if count == 0 || self.is_ignored(columns, row) {
                continue;
            }
            if self.by_origin {
                let (epoch, origin) = place_of(row);
                value.clear();
                value.extend_from_slice(&epoch.to_be_bytes());
                value.extend_from_slice(&origin.to_be_bytes());
                value.extend_from_slice(encoded.row(row).data());
                self.add(*group, &value, count);
            } else {
                self.add(*group, encoded.row(row).data(), count);
            }
        }
        Ok(())
    }

    /// The value at one end of each group, null where there is none.
    fn ends(&self, groups: &[u32], greatest: bool) -> Result<ArrayRef> {
        let mut found: Vec<&[u8]> = Vec::new();
        let mut positions = Vec::with_capacity(groups.len());
        for group in groups {
            let values = &self.groups[*group as usize];
            let mut alive = values.iter().filter(|(_, count)| *count > 0);
            let end = if greatest {
                alive.next_back()
            } else {
                alive.next()
            };
            positions.push(end.map(|(value, _)| {
                found.push(value);
                u32::try_from(found.len() - 1).unwrap_or(u32::MAX)
            }));
        }
        let columns = self.codec.decode(found.into_iter())?;
        compute::take(&columns[0], &UInt32Array::from(positions), None)
            .map_err(OperatorError::arrow("reading the ends of groups"))
    }

    fn count_distinct(&self, groups: &[u32]) -> ArrayRef {
        let counts = groups.iter().map(|group| {
            let values = &self.groups[*group as usize];
            let alive = values.iter().filter(|(_, count)| *count > 0).count();
            i64::try_from(alive).unwrap_or(i64::MAX)
        });
        Arc::new(Int64Array::from_iter_values(counts))
    }

    /// Runs all values of the groups through the function's own accumulator.
    fn recompute(&self, groups: &[u32]) -> Result<ArrayRef> {
        let mut values: Vec<&[u8]> = Vec::new();
        let mut group_of = Vec::new();
        let alive = |group: &u32| {
            let mut values = self.groups[*group as usize].iter();
            values.any(|(_, count)| count > 0)
        };
        let seats = Seats::new(groups.iter().map(alive));
        for (at, group) in groups.iter().enumerate() {
            for (value, count) in self.groups[*group as usize].iter() {
                let once = self.answer == Answer::Distinct;
                let times = if once { count.min(1) } else { count };
                for _ in 0..times {
                    values.push(&value[self.prefix()..]);
                    group_of.push(seats.of(at));
                }
            }
        }
        let rows = values.len();
        let mut varying = self.codec.decode(values.into_iter())?.into_iter();
        let mut arguments = Vec::with_capacity(self.call.arguments.len());
        for at in 0..self.call.arguments.len() {
            let literal = self.literals.get(at).cloned().flatten();
            arguments.push(match literal {
                Some(literal) if !self.varying.contains(&at) => literal
                    .to_array_of_size(rows)
                    .map_err(OperatorError::expression(self.call.function.name()))?,
                _ => varying
                    .next()
                    .ok_or_else(|| OperatorError::contract("a value without its argument"))?,
            });
        }
        let column = match native::function(&self.once()) {
            Some(function) => native_answer(function, &arguments, &group_of, &seats)?,
            None => self.general_answer(&arguments, &group_of, &seats)?,
        };
        seats.in_order(column)
    }

    /// The call over values that are each shown as often as they count.
    fn once(&self) -> AggregateCall {
        AggregateCall {
            distinct: false,
            retracting: false,
            ..self.call.clone()
        }
    }

    /// One pass through DataFusion's accumulator, by seats.
    fn general_answer(
        &self,
        arguments: &[ArrayRef],
        seat_of: &[usize],
        seats: &Seats,
    ) -> Result<ArrayRef> {
        let mut accumulator = accumulator(&self.call)?;
        if !seat_of.is_empty() {
            accumulator
                .update_batch(arguments, seat_of, None, seats.taken())
                .map_err(OperatorError::expression(self.call.function.name()))?;
        }
        seats.show_rest(accumulator.as_mut(), &self.call)?;
        accumulator
            .evaluate(EmitTo::All)
            .map_err(OperatorError::expression(self.call.function.name()))
    }
}

/// One pass through a function of ours, by seats.
fn native_answer(
    mut function: Box<dyn Function>,
    arguments: &[ArrayRef],
    seat_of: &[usize],
    seats: &Seats,
) -> Result<ArrayRef> {
    let number = |seat: usize| u32::try_from(seat).unwrap_or(u32::MAX);
    let groups: Vec<u32> = seat_of.iter().map(|seat| number(*seat)).collect();
    function.resize(seats.count());
    function.update(&Rows {
        arguments,
        filter: None,
        groups: &groups,
        signs: None,
        epoch: 0,
        origins: None,
    })?;
    let all: Vec<u32> = (0..seats.count()).map(number).collect();
    function.evaluate(&all)
}

impl Function for Multiset {
    fn width(&self) -> usize {
        1
    }

    fn resize(&mut self, groups: usize) {
        self.groups.resize_with(groups, Values::default);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let columns: Vec<ArrayRef> = self
            .varying
            .iter()
            .map(|at| rows.arguments[*at].clone())
            .collect();
        let count_of = |row| if rows.counts(row) { rows.sign(row) } else { 0 };
        self.add_rows(&columns, |row| rows.place(row), rows.groups, count_of)
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let contract = || OperatorError::contract("values in another form than their function's");
        let lists = state[0].as_list_opt::<i32>().ok_or_else(contract)?;
        let offsets = lists.value_offsets();
        let entries = lists.values().as_struct_opt().ok_or_else(contract)?;
        // A list that was cut from a longer one still holds the values of all of it.
        let (first, last) = (
            offsets.first().copied().unwrap_or(0),
            offsets.last().copied().unwrap_or(0),
        );
        let (from, length) = (
            usize::try_from(first).unwrap_or(0),
            usize::try_from(last - first).unwrap_or(0),
        );
        let entries = entries.slice(from, length);
        let mut group_of = Vec::with_capacity(length);
        for (row, group) in groups.iter().enumerate() {
            group_of.extend((offsets[row]..offsets[row + 1]).map(|_| *group));
        }
        let columns = entries.columns();
        let counts = columns[columns.len() - 1].as_primitive::<Int64Type>();
        let count_of = |row| counts.value(row);
        if !self.by_origin {
            let values = &columns[..columns.len() - 1];
            return self.add_rows(values, |_| (0, 0), &group_of, count_of);
        }
        let epochs = columns[0].as_primitive::<UInt64Type>();
        let origins = columns[1].as_primitive::<UInt64Type>();
        let place_of = |row| (epochs.value(row), origins.value(row));
        let values = &columns[2..columns.len() - 1];
        self.add_rows(values, place_of, &group_of, count_of)
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut lengths = Vec::with_capacity(groups.len());
        let (mut values, mut counts) = (Vec::new(), Vec::new());
        let (mut epochs, mut origins) = (Vec::new(), Vec::new());
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, b| sum << 8 | u64::from(*b));
        for group in groups {
            let held = &self.groups[*group as usize];
            lengths.push(held.len());
            for (value, count) in held.iter() {
                let (place, value) = value.split_at(self.prefix());
                if self.by_origin {
                    epochs.push(number(&place[..8]));
                    origins.push(number(&place[8..]));
                }
                values.push(value);
                counts.push(count);
            }
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.entry.len());
        if self.by_origin {
            columns.push(Arc::new(UInt64Array::from(epochs)));
            columns.push(Arc::new(UInt64Array::from(origins)));
        }
        columns.extend(self.codec.decode(values.into_iter())?);
        columns.push(Arc::new(Int64Array::from(counts)));
        let schema = Arc::new(arrow::datatypes::Schema::new(self.entry.clone()));
        let entries = RecordBatch::try_new(schema, columns)
            .map_err(OperatorError::arrow("writing values with counts"))?;
        let lists = ListArray::try_new(
            Arc::new(Field::new_list_field(
                DataType::Struct(self.entry.clone()),
                true,
            )),
            OffsetBuffer::from_lengths(lengths),
            Arc::new(StructArray::from(entries)),
            None,
        )
        .map_err(OperatorError::arrow("writing values with counts"))?;
        Ok(vec![Arc::new(lists)])
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        if groups.is_empty() {
            // An accumulator without groups cannot say of what type nothing is.
            return Ok(arrow::array::new_empty_array(
                self.call.function.field().data_type(),
            ));
        }
        match self.answer {
            Answer::Least => self.ends(groups, false),
            Answer::Greatest => self.ends(groups, true),
            Answer::CountDistinct => Ok(self.count_distinct(groups)),
            Answer::Distinct | Answer::All => self.recompute(groups),
        }
    }

    fn bytes_of(&self, group: u32) -> usize {
        let values = &self.groups[group as usize];
        values.iter().map(|(value, _)| value.len() + 16).sum()
    }

    fn bytes(&self) -> usize {
        self.bytes + self.groups.capacity() * size_of::<Values>()
    }
}
