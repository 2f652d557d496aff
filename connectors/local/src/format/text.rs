//! Text lines: one column with the line, whatever it holds. Bytes that are not UTF-8 become U+FFFD.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use millstream_connectors_api::{Chunk, ConnectorError, DecodeReport, Decoder};

use super::{BATCH_ROWS_MAX, Lines, batch, column::Column, fields_of};

/// The decoder of text lines.
#[derive(Debug)]
pub(crate) struct TextDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// Where the line goes, if anybody wants it.
    value: Option<usize>,
}

impl TextDecoder {
    /// A decoder for the column at `projection`, or for none.
    pub(crate) fn new(
        schema: &SchemaRef,
        projection: &[usize],
    ) -> Result<TextDecoder, ConnectorError> {
        let schema = fields_of(schema, projection)?;
        let columns = schema
            .fields()
            .iter()
            .map(|field| Column::new(field.data_type(), BATCH_ROWS_MAX))
            .collect::<Option<Vec<Column>>>()
            .ok_or(ConnectorError::Internal {
                what: "a column type was not checked when the source was made",
            })?;
        Ok(TextDecoder {
            schema,
            columns,
            value: projection.iter().position(|idx| *idx == 0),
        })
    }

    fn flush(&mut self, rows: &mut usize) -> Result<RecordBatch, ConnectorError> {
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        batch(&self.schema, columns, std::mem::take(rows))
    }
}

impl Decoder for TextDecoder {
    fn decode(
        &mut self,
        chunk: Chunk,
        give: &mut dyn FnMut(RecordBatch),
    ) -> Result<DecodeReport, ConnectorError> {
        let lines = Lines::of(chunk)?;
        let mut report = DecodeReport::default();
        let mut rows = 0;
        for (range, line) in lines.iter() {
            for (idx, column) in self.columns.iter_mut().enumerate() {
                if Some(idx) != self.value {
                    column.push_null();
                } else if lines.readable(range.start) {
                    column.push_text(line);
                } else {
                    column.push_text(String::from_utf8_lossy(line).as_bytes());
                }
            }
            rows += 1;
            report.rows += 1;
            if rows == BATCH_ROWS_MAX {
                give(self.flush(&mut rows)?);
            }
        }
        if rows > 0 {
            give(self.flush(&mut rows)?);
        }
        Ok(report)
    }
}
