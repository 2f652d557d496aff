//! Comma-separated values: one record a line, fields by position.
//!
//! A quoted field may hold separators but no line end (`multiLine` is refused). An escape makes a
//! quote or itself literal; where escape and quote are the same character, two of them are one. A
//! record with too few or too many fields is malformed, but keeps what it has. Bytes that are not
//! UTF-8 become U+FFFD.

use std::{borrow::Cow, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use millstream_connectors_api::{Chunk, ConnectorError, DecodeReport, Decoder};
use millstream_values::{
    column::{self, Column},
    csv::Fields,
    plain,
};

use super::{Limits, Lines, Mode, Rules, Verdict, batch, fields_of};

/// The decoder of CSV.
#[derive(Debug)]
pub(crate) struct CsvDecoder {
    schema: SchemaRef,
    rules: Arc<Rules>,
    columns: Vec<Column>,
    /// For each field of a record the column that it goes to.
    targets: Vec<Option<usize>>,
    corrupt: Option<usize>,
    scratch: Vec<u8>,
    limits: Limits,
    rows: usize,
    /// Bytes of the lines in the batch.
    bytes: usize,
}

impl CsvDecoder {
    /// A decoder for the columns of `schema` at `projection`.
    pub(crate) fn new(
        schema: &SchemaRef,
        projection: &[usize],
        rules: Arc<Rules>,
    ) -> Result<CsvDecoder, ConnectorError> {
        let corrupt_in_file = rules.corrupt_column(schema);
        let mut targets = vec![None; schema.fields().len()];
        for (column, wanted) in projection.iter().enumerate() {
            if let Some(target) = targets.get_mut(*wanted) {
                *target = Some(column);
            }
        }
        if let Some(idx) = corrupt_in_file {
            targets.remove(idx);
        }
        let schema = fields_of(schema, projection)?;
        let columns = schema
            .fields()
            .iter()
            .map(|field| Column::new(field.data_type()))
            .collect::<Option<Vec<Column>>>()
            .ok_or(ConnectorError::Internal {
                what: "a column type was not checked when the source was made",
            })?;
        Ok(CsvDecoder {
            corrupt: rules.corrupt_column(&schema),
            limits: rules.limits.of_rows(column::width(&columns)),
            schema,
            rules,
            columns,
            targets,
            scratch: Vec::new(),
            rows: 0,
            bytes: 0,
        })
    }

    /// Appends one row with the fields of `line`; the reason if something did not fit.
    fn record(&mut self, line: &[u8]) -> Option<&'static str> {
        let mut fields = Fields::new(line, &self.rules.dialect);
        let mut position = 0;
        let mut wrong = None;
        while let Some((text, quoted)) = fields.next(&mut self.scratch) {
            let target = self.targets.get(position).copied().flatten();
            if let Some(column) = target.and_then(|idx| self.columns.get_mut(idx)) {
                if column.len() != self.rows {
                    // Records before it were too short.
                    column.settle(self.rows);
                }
                let null = (!quoted && text.is_empty())
                    || (text == self.rules.dialect.null_value.as_bytes()
                        && !self.rules.dialect.null_value.is_empty());
                if null {
                    column.push_null();
                } else if !plain::push(column, text, &self.rules.forms) {
                    wrong = Some("a value has another type");
                }
            }
            position += 1;
        }
        if position != self.targets.len() {
            wrong = Some("wrong number of fields");
        }
        self.rows += 1;
        self.bytes += line.len();
        wrong
    }

    #[cold]
    fn malformed(
        &mut self,
        lines: &Lines,
        start: usize,
        line: &[u8],
        reason: &'static str,
    ) -> Result<(), ConnectorError> {
        let row = self.rows - 1;
        match self.rules.mode {
            Mode::Permissive => {
                let corrupt = self.corrupt.and_then(|idx| self.columns.get_mut(idx));
                if let Some(column) = corrupt {
                    column.settle(row);
                    column.push_text(line);
                }
            }
            Mode::DropMalformed | Mode::FailFast => {
                for column in &mut self.columns {
                    column.truncate(row);
                }
                self.rows = row;
            }
        }
        if self.rules.mode == Mode::FailFast {
            return Err(lines.malformed(start, Verdict::Partly(reason)));
        }
        Ok(())
    }

    fn flush(&mut self, give: &mut dyn FnMut(RecordBatch)) -> Result<(), ConnectorError> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        if rows > 0 {
            let columns = column::finish(&mut self.columns, rows);
            give(batch(&self.schema, columns, rows)?);
        }
        Ok(())
    }
}

impl Decoder for CsvDecoder {
    fn decode(
        &mut self,
        chunk: Chunk,
        give: &mut dyn FnMut(RecordBatch),
    ) -> Result<DecodeReport, ConnectorError> {
        let lines = Lines::of(chunk)?;
        let mut report = DecodeReport::default();
        let mut header = self.rules.dialect.header && lines.at_file_start();
        for (range, line) in lines.iter() {
            let comment = self.rules.dialect.comment;
            let ignored = line.trim_ascii().is_empty()
                || (comment.is_some() && line.first().copied() == comment);
            if ignored || std::mem::take(&mut header) {
                continue;
            }
            let line = if lines.readable(range.start) {
                Cow::Borrowed(line)
            } else {
                Cow::Owned(String::from_utf8_lossy(line).into_owned().into_bytes())
            };
            report.rows += 1;
            if let Some(reason) = self.record(&line) {
                report.malformed += 1;
                self.malformed(&lines, range.start, &line, reason)?;
            }
            if self.rows >= self.limits.rows || self.bytes >= self.limits.bytes {
                self.flush(give)?;
            }
        }
        self.flush(give)?;
        Ok(report)
    }
}
