//! Directories named `key=value`: their values become columns, if the schema has the key.
//!
//! Wraps the decoder of a format. Which columns come from directories is known only when a chunk
//! names its file; files of one table nearly always agree, so the inner decoder is remade only when
//! they do not.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, UInt64Array},
    compute::take,
    datatypes::SchemaRef,
};
use millstream_connectors_api::{Chunk, ChunkBody, ConnectorError, DecodeReport, Decoder};
use millstream_values::{column::Column, plain};

use super::{Format, Rules, batch, fields_of, plain_decoder};
use crate::files;

/// The value that stands for null in a directory name.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// A decoder that adds the columns of directories.
pub(crate) struct PartitionDecoder {
    format: Format,
    rules: Arc<Rules>,
    schema: SchemaRef,
    projection: Vec<usize>,
    projected: SchemaRef,
    base: String,
    /// Columns of `schema` that the inner decoder leaves to directories.
    keys: Vec<usize>,
    inner: Box<dyn Decoder>,
}

impl PartitionDecoder {
    pub(crate) fn new(
        format: Format,
        rules: &Arc<Rules>,
        schema: &SchemaRef,
        projection: &[usize],
        base: &str,
    ) -> Result<PartitionDecoder, ConnectorError> {
        Ok(PartitionDecoder {
            format,
            rules: Arc::clone(rules),
            schema: Arc::clone(schema),
            projection: projection.to_vec(),
            projected: fields_of(schema, projection)?,
            base: base.to_owned(),
            keys: Vec::new(),
            inner: plain_decoder(format, rules, schema, projection)?,
        })
    }

    /// The columns that the directories of `origin` give, in order, with their values.
    fn values(&self, origin: &str) -> Vec<(usize, String)> {
        let below = origin.strip_prefix(&self.base).unwrap_or("");
        let directories = below.rsplit_once('/').map_or("", |(parents, _)| parents);
        let mut values: Vec<(usize, String)> = directories
            .split('/')
            .filter_map(|name| name.split_once('='))
            .filter_map(|(key, value)| {
                let idx = self.schema.index_of(key).ok()?;
                Some((idx, files::percent_decode(value)))
            })
            .collect();
        values.sort_by_key(|(idx, _)| *idx);
        values.dedup_by_key(|(idx, _)| *idx);
        values
    }

    /// Remakes the inner decoder for the columns that are in the file itself.
    fn leave_out(&mut self, keys: Vec<usize>) -> Result<(), ConnectorError> {
        if keys != self.keys {
            let kept: Vec<usize> = (0..self.schema.fields().len())
                .filter(|idx| !keys.contains(idx))
                .collect();
            let in_file = fields_of(&self.schema, &kept)?;
            let projection: Vec<usize> = self
                .projection
                .iter()
                .filter_map(|idx| kept.iter().position(|kept| kept == idx))
                .collect();
            self.inner = plain_decoder(self.format, &self.rules, &in_file, &projection)?;
            self.keys = keys;
        }
        Ok(())
    }

    /// One-row arrays for the projected columns that come from directories.
    fn constants(
        &self,
        values: &[(usize, String)],
    ) -> Result<Vec<Option<ArrayRef>>, ConnectorError> {
        self.projection
            .iter()
            .map(|idx| {
                let Some((_, value)) = values.iter().find(|(key, _)| key == idx) else {
                    return Ok(None);
                };
                let field = self.schema.field(*idx);
                let internal = ConnectorError::Internal {
                    what: "a column type was not checked when the source was made",
                };
                let mut column = Column::new(field.data_type()).ok_or(internal)?;
                if value == NULL_PARTITION {
                    column.push_null();
                } else {
                    plain::push(&mut column, value.as_bytes(), &self.rules.forms);
                }
                let array = column.finish(1).map_err(|source| ConnectorError::Arrow {
                    what: "making a partition column",
                    source,
                })?;
                Ok(Some(array))
            })
            .collect()
    }
}

/// Puts constants and parsed columns together.
fn assemble(
    schema: &SchemaRef,
    constants: &[Option<ArrayRef>],
    parsed: &RecordBatch,
) -> Result<RecordBatch, ConnectorError> {
    let rows = parsed.num_rows();
    let zeros = UInt64Array::from(vec![0; rows]);
    let mut from_file = parsed.columns().iter();
    let columns = constants
        .iter()
        .map(|constant| match constant {
            Some(value) => take(value, &zeros, None),
            None => from_file
                .next()
                .cloned()
                .ok_or_else(|| arrow::error::ArrowError::SchemaError("column is gone".to_owned())),
        })
        .collect();
    batch(schema, columns, rows)
}

impl Decoder for PartitionDecoder {
    fn decode(
        &mut self,
        chunk: Chunk,
        give: &mut dyn FnMut(RecordBatch),
    ) -> Result<DecodeReport, ConnectorError> {
        let values = match &chunk.body {
            ChunkBody::Bytes { origin, .. } if origin.contains('=') => self.values(origin),
            ChunkBody::Bytes { .. } | ChunkBody::Rows(_) => Vec::new(),
        };
        self.leave_out(values.iter().map(|(idx, _)| *idx).collect())?;
        if values.is_empty() {
            return self.inner.decode(chunk, give);
        }
        let constants = self.constants(&values)?;
        let mut failure = None;
        let report = self.inner.decode(chunk, &mut |parsed| match assemble(
            &self.projected,
            &constants,
            &parsed,
        ) {
            Ok(batch) => give(batch),
            Err(error) => failure = Some(error),
        })?;
        failure.map_or(Ok(report), Err)
    }
}
