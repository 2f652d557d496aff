//! The form of a piece: key columns, value columns, a marker.
//!
//! Today's marker is `__live`: the row sets its key, or, without values, says that the key is gone. A
//! checkpoint of an earlier release has `__diff` instead: rows that are added and taken back, and what is
//! there once stands. Columns are told apart by their names, `key0`, `value0`, so that a piece can be read by
//! somebody who does not know its table.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
        new_null_array,
    },
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};

use crate::{
    error::{OperatorError, Result},
    rows::RowCodec,
};

/// Marks rows that set a key; the others remove it.
const LIVE: &str = "__live";

/// How often a row is added, in pieces of an earlier release.
const DIFF: &str = "__diff";

/// What the rows of a piece mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// They set keys and remove them.
    Upserts,
    /// They are added and taken back.
    Differences,
}

/// Columns of the pieces of a table.
pub(super) fn schema_of(keys: &Schema, values: &Schema) -> SchemaRef {
    let named = |prefix: &'static str, schema: &Schema| -> Vec<Field> {
        let fields = schema.fields().iter().enumerate();
        let field = |(at, field): (usize, &Arc<Field>)| {
            Field::new(format!("{prefix}{at}"), field.data_type().clone(), true)
        };
        fields.map(field).collect()
    };
    let mut fields = named("key", keys);
    fields.extend(named("value", values));
    fields.push(Field::new(LIVE, DataType::Boolean, false));
    Arc::new(Schema::new(fields))
}

/// What rows with these columns mean.
///
/// # Errors
/// When they are no piece of state.
pub(super) fn form_of(schema: &Schema) -> Result<Form> {
    match schema.fields().last() {
        Some(last) if last.name() == LIVE && *last.data_type() == DataType::Boolean => {
            Ok(Form::Upserts)
        }
        Some(last) if last.name() == DIFF && *last.data_type() == DataType::Int64 => {
            Ok(Form::Differences)
        }
        _ => Err(OperatorError::contract("a snapshot piece has no marker")),
    }
}

/// How many of the columns are keys.
pub(super) fn key_columns(schema: &Schema) -> usize {
    let names = schema.fields().iter().map(|field| field.name());
    names.take_while(|name| name.starts_with("key")).count()
}

/// Whether rows with these columns can be rows of a table with those.
pub(super) fn is_of(schema: &Schema, table: &Schema) -> bool {
    let types = |schema: &Schema| -> Vec<DataType> {
        let fields = schema.fields().iter();
        let types = fields.map(|field| field.data_type().clone());
        types
            .take(schema.fields().len().saturating_sub(1))
            .collect()
    };
    form_of(schema).is_ok() && types(schema) == types(table)
}

/// Rows that set keys.
///
/// # Errors
/// When the columns have other types than the schema.
pub(super) fn setting(
    schema: &SchemaRef,
    keys: &[ArrayRef],
    values: &[ArrayRef],
    rows: usize,
) -> Result<RecordBatch> {
    let marker: ArrayRef = Arc::new(BooleanArray::from(vec![true; rows]));
    let columns = keys.iter().chain(values).cloned().chain([marker]);
    batch(schema, columns.collect(), rows)
}

/// Rows that remove keys.
///
/// # Errors
/// As of [`setting`].
pub(super) fn removing(schema: &SchemaRef, keys: &[ArrayRef], rows: usize) -> Result<RecordBatch> {
    let values = schema.fields().iter().skip(keys.len());
    let values = values.map(|field| new_null_array(field.data_type(), rows));
    let mut columns: Vec<ArrayRef> = keys.iter().cloned().chain(values).collect();
    if let Some(marker) = columns.last_mut() {
        *marker = Arc::new(BooleanArray::from(vec![false; rows]));
    }
    batch(schema, columns, rows)
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let columns = columns.into_iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| fitted(column, field.data_type()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options)
        .map_err(OperatorError::arrow("making a state piece"))
}

/// A column of a type: names of parts of a type may differ between functions and plan.
fn fitted(column: ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if column.data_type() == data_type {
        return Ok(column);
    }
    let codec = RowCodec::new(std::slice::from_ref(data_type))?.exact();
    let rows = codec.encode(&[column])?;
    let mut columns = codec.decode(rows.iter().map(|row| row.data()))?;
    columns
        .pop()
        .ok_or_else(|| OperatorError::contract("a column was lost"))
}

/// Which rows set their key.
pub(super) fn live(batch: &RecordBatch) -> Result<&BooleanArray> {
    let last = batch.columns().last();
    last.and_then(|column| column.as_boolean_opt())
        .filter(|marker| marker.null_count() == 0)
        .ok_or_else(|| OperatorError::contract("a snapshot piece has no marker"))
}

/// How often each row is added.
pub(super) fn differences(batch: &RecordBatch) -> Result<&Int64Array> {
    let last = batch.columns().last();
    last.and_then(|column| column.as_primitive_opt::<Int64Type>())
        .filter(|marker| marker.null_count() == 0)
        .ok_or_else(|| OperatorError::contract("a snapshot piece has no marker"))
}

/// Rows that stand, with today's marker instead of their own.
pub(super) fn as_setting(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let count = schema.fields().len() - 1;
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().take(count).cloned().collect();
    fields.push(Arc::new(Field::new(LIVE, DataType::Boolean, false)));
    let rows = batch.num_rows();
    setting(
        &Arc::new(Schema::new(fields)),
        &batch.columns()[..count],
        &[],
        rows,
    )
}

/// Bytes of a batch, all of its own.
#[must_use]
pub fn bytes_of(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    columns.map(|column| column.get_array_memory_size()).sum()
}
