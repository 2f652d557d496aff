//! Aggregates over bitmaps: `bitmap_construct_agg`, `bitmap_or_agg`, `bitmap_and_agg`.
//!
//! A bitmap has a bit for each of the positions of one bucket of `bitmap_bucket_number`.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray},
    datatypes::{DataType, Field, FieldRef, Int64Type},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, TypeSignature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
};

use super::misfit::failed;

/// Bytes of a bitmap: Spark's.
const BYTES: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// Of the positions of bits.
    Construct,
    Or,
    And,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bitmap {
    kind: Kind,
    signature: Signature,
}

/// All of them.
pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    [Kind::Construct, Kind::Or, Kind::And]
        .into_iter()
        .map(|kind| {
            let argument = match kind {
                Kind::Construct => DataType::Int64,
                Kind::Or | Kind::And => DataType::Binary,
            };
            let signature =
                Signature::new(TypeSignature::Exact(vec![argument]), Volatility::Immutable);
            Arc::new(AggregateUDF::from(Bitmap { kind, signature }))
        })
        .collect()
}

impl AggregateUDFImpl for Bitmap {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Construct => "bitmap_construct_agg",
            Kind::Or => "bitmap_or_agg",
            Kind::And => "bitmap_and_agg",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "bits");
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        // No row is a bitmap that changes none.
        let byte = if self.kind == Kind::And { 0xFF } else { 0 };
        Ok(Box::new(Bits {
            kind: self.kind,
            bits: vec![byte; BYTES],
        }))
    }
}

#[derive(Debug)]
struct Bits {
    kind: Kind,
    bits: Vec<u8>,
}

impl Bits {
    fn combine(&mut self, column: &ArrayRef) {
        for bytes in column.as_binary::<i32>().iter().flatten() {
            // What a shorter bitmap lacks is not set.
            let bytes = bytes.iter().copied().chain(std::iter::repeat(0));
            for (bit, byte) in self.bits.iter_mut().zip(bytes) {
                match self.kind {
                    Kind::And => *bit &= byte,
                    Kind::Construct | Kind::Or => *bit |= byte,
                }
            }
        }
    }
}

impl Accumulator for Bits {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let column = &values[0];
        if self.kind != Kind::Construct {
            self.combine(column);
            return Ok(());
        }
        for position in column.as_primitive::<Int64Type>().iter().flatten() {
            let place = usize::try_from(position).ok().filter(|at| *at < BYTES * 8);
            let place = place.ok_or_else(|| {
                failed(format!(
                    "[INVALID_BITMAP_POSITION] a bitmap has no such bit position={position} bits={}",
                    BYTES * 8
                ))
            })?;
            self.bits[place / 8] |= 1 << (place % 8);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.combine(&states[0]);
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(Some(self.bits.clone())))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bits.capacity()
    }
}
