//! `min` and `max` of texts, structs and booleans: the encoded value that wins.
//!
//! Encoded rows compare as their values do, so a group keeps bytes and a row costs one comparison of
//! them. `max_by(x, y)` comes here as the greatest struct of `y` and `x`.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, UInt32Array, new_null_array},
    compute,
    datatypes::{DataType, Field, FieldRef},
};

use super::{
    AggregateCall,
    function::{Function, Rows},
};
use crate::{
    error::{OperatorError, Result},
    rows::RowCodec,
};

/// The least or greatest encoded value of each group.
pub(super) struct EncodedExtreme {
    call: AggregateCall,
    greatest: bool,
    data_type: DataType,
    codec: RowCodec,
    chosen: Vec<Option<Box<[u8]>>>,
    bytes: usize,
}

/// Whether a call is `min` or `max` of a type that is compared encoded.
pub(super) fn serves(call: &AggregateCall) -> bool {
    let [data_type] = call.argument_types.as_slice() else {
        return false;
    };
    matches!(call.function.fun().name(), "min" | "max")
        && matches!(
            data_type,
            DataType::Utf8 | DataType::Boolean | DataType::Binary | DataType::Struct(_)
        )
        && call.function.field().data_type() == data_type
}

/// The state of a call: the value.
pub(super) fn state_fields(call: &AggregateCall) -> Vec<FieldRef> {
    let value = call.argument_types[0].clone();
    vec![Arc::new(Field::new("value", value, true))]
}

impl EncodedExtreme {
    pub(super) fn new(call: &AggregateCall) -> Result<EncodedExtreme> {
        let data_type = call.argument_types[0].clone();
        Ok(EncodedExtreme {
            greatest: call.function.fun().name() == "max",
            codec: RowCodec::new(std::slice::from_ref(&data_type))?,
            data_type,
            call: call.clone(),
            chosen: Vec::new(),
            bytes: 0,
        })
    }

    fn add(&mut self, group: u32, value: &[u8]) {
        let chosen = &mut self.chosen[group as usize];
        let wins = chosen.as_deref().is_none_or(|held| {
            if self.greatest {
                value > held
            } else {
                value < held
            }
        });
        if wins {
            self.bytes += value.len();
            let old = chosen.replace(value.into());
            self.bytes -= old.map_or(0, |old| old.len());
        }
    }

    fn add_all(
        &mut self,
        values: &ArrayRef,
        groups: &[u32],
        counts: impl Fn(usize) -> bool,
    ) -> Result<()> {
        let encoded = self.codec.encode(std::slice::from_ref(values))?;
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) && counts(row) {
                self.add(*group, encoded.row(row).data());
            }
        }
        Ok(())
    }
}

impl Function for EncodedExtreme {
    fn width(&self) -> usize {
        1
    }

    fn resize(&mut self, groups: usize) {
        self.chosen.resize(groups, None);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        rows.refuse_retractions(&self.call)?;
        self.add_all(&rows.arguments[0], rows.groups, |row| rows.counts(row))
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()> {
        self.add_all(&state[0], groups, |_| true)
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let mut values: Vec<&[u8]> = Vec::with_capacity(groups.len());
        let mut positions = Vec::with_capacity(groups.len());
        for group in groups {
            positions.push(self.chosen[*group as usize].as_deref().map(|value| {
                values.push(value);
                u32::try_from(values.len() - 1).unwrap_or(u32::MAX)
            }));
        }
        if values.is_empty() {
            return Ok(new_null_array(&self.data_type, groups.len()));
        }
        let columns = self.codec.decode(values.into_iter())?;
        compute::take(&columns[0], &UInt32Array::from(positions), None)
            .map_err(OperatorError::arrow("reading least or greatest values"))
    }

    fn bytes_of(&self, group: u32) -> usize {
        self.chosen[group as usize]
            .as_ref()
            .map_or(0, |value| value.len())
    }

    fn bytes(&self) -> usize {
        self.bytes + self.chosen.capacity() * size_of::<Option<Box<[u8]>>>()
    }
}
