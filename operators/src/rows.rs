//! Columns as comparable bytes: keys and values of state.
//!
//! The encoding is arrow-row's, which may change from release to release, so these bytes never
//! reach a disk or another process: files hold Arrow columns.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Float32Array, Float64Array},
    compute,
    datatypes::{DataType, Float32Type, Float64Type, Schema},
};
use arrow_row::{RowConverter, Rows, SortField};

use crate::error::{OperatorError, Result};

/// Encodes columns of fixed types as bytes and back.
#[derive(Debug)]
pub struct RowCodec {
    converter: RowConverter,
    types: Vec<DataType>,
    /// Whether values that compare equal keep their own bytes.
    exact: bool,
}

impl RowCodec {
    /// A codec for columns of these types.
    ///
    /// # Errors
    /// When a type has no row form.
    pub fn new(types: &[DataType]) -> Result<RowCodec> {
        let types: Vec<_> = types.iter().map(plain).collect();
        let fields = types
            .iter()
            .map(|data_type| SortField::new(data_type.clone()))
            .collect();
        let converter =
            RowConverter::new(fields).map_err(OperatorError::arrow("making a row codec"))?;
        Ok(RowCodec {
            converter,
            types,
            exact: false,
        })
    }

    /// The same codec for values that are no keys: zeros keep their sign and NaNs their bits, so that what
    /// was given is what is taken back.
    #[must_use]
    pub fn exact(mut self) -> RowCodec {
        self.exact = true;
        self
    }

    /// A codec for the columns of a schema.
    ///
    /// # Errors
    /// When a type has no row form.
    pub fn of_schema(schema: &Schema) -> Result<RowCodec> {
        let types: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        RowCodec::new(&types)
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.types.len()
    }

    /// Encodes rows. Equal values have equal bytes, one zero and one NaN, unless the codec is
    /// [exact](RowCodec::exact).
    ///
    /// # Errors
    /// When the columns have other types than the codec.
    pub fn encode(&self, columns: &[ArrayRef]) -> Result<Rows> {
        let form = |column: &ArrayRef| {
            if self.exact && !matches!(column.data_type(), DataType::Dictionary(..)) {
                Ok(column.clone())
            } else {
                normal(column)
            }
        };
        let columns = columns.iter().map(form).collect::<Result<Vec<_>>>()?;
        self.converter
            .convert_columns(&columns)
            .map_err(OperatorError::arrow("encoding rows"))
    }

    /// Decodes rows that this codec encoded.
    ///
    /// # Errors
    /// When text is not UTF-8, which cannot be.
    pub fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        // The parser borrows each slice only for the call, so the rows are gathered first.
        let rows: Vec<&[u8]> = rows.collect();
        // An encoded row is longer than its texts, and arrow panics where their length has no place.
        let bytes: usize = rows.iter().map(|row| row.len()).sum();
        if i32::try_from(bytes).is_err() {
            return Err(OperatorError::contract("more than 2 GiB in one batch"));
        }
        self.converter
            .convert_rows(rows.iter().map(|bytes| parser.parse(bytes)))
            .map_err(OperatorError::arrow("decoding rows"))
    }
}

/// The type in which a column is encoded: dictionaries as their values.
fn plain(data_type: &DataType) -> DataType {
    if let DataType::Dictionary(_, values) = data_type {
        values.as_ref().clone()
    } else {
        data_type.clone()
    }
}

/// Values that compare equal get one form.
pub(crate) fn normal(column: &ArrayRef) -> Result<ArrayRef> {
    if let DataType::Dictionary(_, values) = column.data_type() {
        return compute::cast(column, values).map_err(OperatorError::arrow("unpacking keys"));
    }
    if let Some(doubles) = column.as_primitive_opt::<Float64Type>() {
        let normal: Float64Array = doubles.unary(|value| if value == 0.0 { 0.0 } else { value });
        return Ok(Arc::new(normal.unary::<_, Float64Type>(|value| {
            if value.is_nan() { f64::NAN } else { value }
        })));
    }
    if let Some(floats) = column.as_primitive_opt::<Float32Type>() {
        let normal: Float32Array = floats.unary(|value| if value == 0.0 { 0.0 } else { value });
        return Ok(Arc::new(normal.unary::<_, Float32Type>(|value| {
            if value.is_nan() { f32::NAN } else { value }
        })));
    }
    Ok(column.clone())
}
