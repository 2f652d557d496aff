//! Text lines: one column with the line, whatever it holds. Bytes that are not UTF-8 become U+FFFD.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use millstream_connectors_api::{Chunk, ConnectorError, DecodeReport, Decoder};
use millstream_values::column::{self, Column};

use super::{Limits, Lines, batch, fields_of};

/// The decoder of text lines.
#[derive(Debug)]
pub(crate) struct TextDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// Where the line goes, if anybody wants it.
    value: Option<usize>,
    limits: Limits,
}

impl TextDecoder {
    /// A decoder for the column at `projection`, or for none.
    pub(crate) fn new(
        schema: &SchemaRef,
        projection: &[usize],
        limits: Limits,
    ) -> Result<TextDecoder, ConnectorError> {
        let schema = fields_of(schema, projection)?;
        let columns = schema
            .fields()
            .iter()
            .map(|field| Column::new(field.data_type()))
            .collect::<Option<Vec<Column>>>()
            .ok_or(ConnectorError::Internal {
                what: "a column type was not checked when the source was made",
            })?;
        Ok(TextDecoder {
            schema,
            limits: limits.of_rows(column::width(&columns)),
            columns,
            value: projection.iter().position(|idx| *idx == 0),
        })
    }

    fn flush(&mut self, rows: usize) -> Result<RecordBatch, ConnectorError> {
        batch(&self.schema, column::finish(&mut self.columns, rows), rows)
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
        let (mut rows, mut bytes) = (0, 0);
        for (range, line) in lines.iter() {
            if let Some(column) = self.value.and_then(|idx| self.columns.get_mut(idx)) {
                if lines.readable(range.start) {
                    column.push_text(line);
                } else {
                    column.push_text(String::from_utf8_lossy(line).as_bytes());
                }
            }
            rows += 1;
            bytes += line.len();
            report.rows += 1;
            if rows >= self.limits.rows || bytes >= self.limits.bytes {
                give(self.flush(rows)?);
                (rows, bytes) = (0, 0);
            }
        }
        if rows > 0 {
            give(self.flush(rows)?);
        }
        Ok(report)
    }
}
