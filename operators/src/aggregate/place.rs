//! `first`, `last` and `any_value`: the row of a group that stands first or last in the input.
//!
//! The place of a row is its epoch and its origin in there; rows that have no origin, because an
//! operator made them, are ordered by their values, so that every number of workers agrees.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, UInt32Array, UInt64Array},
    compute,
    datatypes::{DataType, Field, FieldRef, UInt64Type},
};

use super::{
    AggregateCall,
    function::{Function, Rows},
};
use crate::{
    error::{OperatorError, Result},
    rows::RowCodec,
};

/// The row that a group has chosen: where it stood, and its value.
type Chosen = ((u64, u64), Box<[u8]>);

/// The first or last value of each group.
pub(super) struct Place {
    last: bool,
    ignores_nulls: bool,
    data_type: DataType,
    codec: RowCodec,
    chosen: Vec<Option<Chosen>>,
    bytes: usize,
}

/// Whether a call is `first`, `last` or `any_value`.
pub(super) fn serves(call: &AggregateCall) -> bool {
    matches!(
        call.function.fun().name(),
        "first_value" | "last_value" | "any_value"
    ) && call.arguments.len() == 1
}

/// The state of a call: the place and the value; no place, no value.
pub(super) fn state_fields(call: &AggregateCall) -> Vec<FieldRef> {
    let value = call.argument_types[0].clone();
    vec![
        Arc::new(Field::new("epoch", DataType::UInt64, true)),
        Arc::new(Field::new("origin", DataType::UInt64, true)),
        Arc::new(Field::new("value", value, true)),
    ]
}

impl Place {
    pub(super) fn new(call: &AggregateCall) -> Result<Place> {
        let data_type = call.argument_types[0].clone();
        Ok(Place {
            last: call.function.fun().name() == "last_value",
            ignores_nulls: call.function.ignore_nulls(),
            codec: RowCodec::new(std::slice::from_ref(&data_type))?.exact(),
            data_type,
            chosen: Vec::new(),
            bytes: 0,
        })
    }

    fn add(&mut self, group: u32, place: (u64, u64), value: &[u8]) {
        let chosen = &mut self.chosen[group as usize];
        let wins = chosen.as_ref().is_none_or(|(held, held_value)| {
            if self.last {
                (place, value) > (*held, held_value)
            } else {
                (place, value) < (*held, held_value)
            }
        });
        if wins {
            self.bytes += value.len();
            let old = chosen.replace((place, value.into()));
            self.bytes -= old.map_or(0, |(_, value)| value.len());
        }
    }

    fn values(&self, groups: &[u32]) -> Result<ArrayRef> {
        let mut values: Vec<&[u8]> = Vec::with_capacity(groups.len());
        let mut positions = Vec::with_capacity(groups.len());
        for group in groups {
            let chosen = self.chosen[*group as usize].as_ref();
            positions.push(chosen.map(|(_, value)| {
                values.push(value);
                u32::try_from(values.len() - 1).unwrap_or(u32::MAX)
            }));
        }
        if values.is_empty() {
            return Ok(arrow::array::new_null_array(&self.data_type, groups.len()));
        }
        let columns = self.codec.decode(values.into_iter())?;
        compute::take(&columns[0], &UInt32Array::from(positions), None)
            .map_err(OperatorError::arrow("reading first or last values"))
    }
}

impl Function for Place {
    fn width(&self) -> usize {
        3
    }

    fn resize(&mut self, groups: usize) {
        self.chosen.resize(groups, None);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let values = &rows.arguments[0];
        let encoded = self.codec.encode(std::slice::from_ref(values))?;
        for (row, group) in rows.groups.iter().enumerate() {
            if rows.counts(row) && !(self.ignores_nulls && values.is_null(row)) {
                self.add(*group, rows.place(row), encoded.row(row).data());
            }
        }
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let epochs = state[0].as_primitive::<UInt64Type>();
        let origins = state[1].as_primitive::<UInt64Type>();
        let encoded = self.codec.encode(&state[2..])?;
        for (row, group) in groups.iter().enumerate() {
            if epochs.is_valid(row) {
                let place = (epochs.value(row), origins.value(row));
                self.add(*group, place, encoded.row(row).data());
            }
        }
        Ok(())
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let places = || {
            let chosen = groups.iter().map(|group| &self.chosen[*group as usize]);
            chosen.map(|chosen| chosen.as_ref().map(|(place, _)| *place))
        };
        let epochs: UInt64Array = places()
            .map(|place| place.map(|(epoch, _)| epoch))
            .collect();
        let origins: UInt64Array = places()
            .map(|place| place.map(|(_, origin)| origin))
            .collect();
        Ok(vec![
            Arc::new(epochs),
            Arc::new(origins),
            self.values(groups)?,
        ])
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        self.values(groups)
    }

    fn bytes_of(&self, group: u32) -> usize {
        let chosen = self.chosen[group as usize].as_ref();
        16 + chosen.map_or(0, |(_, value)| value.len())
    }

    fn bytes(&self) -> usize {
        self.bytes + self.chosen.capacity() * size_of::<Option<Chosen>>()
    }
}
