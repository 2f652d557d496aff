//! JSON lines: one record a line, parsed straight into columns.
//!
//! Owns what a line means: blank lines are no records, an array at the top is one record for each
//! of its objects, a line that is not JSON is malformed. Text behind a record is malformed too:
//! Spark ignores it and so loses the second of two records that were glued together. Tests: `tests`.

mod record;
mod scan;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millstream_connectors_api::{Chunk, ConnectorError, DecodeReport, Decoder};

pub(crate) use record::Record;
use record::Typed;
use scan::{Scan, Syntax};

use super::{BATCH_ROWS_MAX, Lines, Mode, Rules, Verdict, batch, fields_of};

/// The decoder of JSON lines.
#[derive(Debug)]
pub(crate) struct JsonDecoder {
    schema: SchemaRef,
    rules: Arc<Rules>,
    record: Record,
    rows: usize,
}

impl JsonDecoder {
    /// A decoder for the columns of `schema` at `projection`.
    pub(crate) fn new(
        schema: &SchemaRef,
        projection: &[usize],
        rules: Arc<Rules>,
    ) -> Result<JsonDecoder, ConnectorError> {
        let schema = fields_of(schema, projection)?;
        let corrupt = rules.corrupt_column(&schema);
        let record = Record::new(schema.fields(), corrupt, BATCH_ROWS_MAX).ok_or(
            ConnectorError::Internal {
                what: "a column type was not checked when the source was made",
            },
        )?;
        Ok(JsonDecoder {
            schema,
            rules,
            record,
            rows: 0,
        })
    }

    fn flush(
        &mut self,
        give: &mut dyn FnMut(arrow::array::RecordBatch),
    ) -> Result<(), ConnectorError> {
        if self.rows > 0 {
            let rows = std::mem::take(&mut self.rows);
            let whole = batch(&self.schema, self.record.finish(), rows)?;
            // An array at the top may have brought more rows than a batch may have.
            for start in (0..rows).step_by(BATCH_ROWS_MAX) {
                give(whole.slice(start, (rows - start).min(BATCH_ROWS_MAX)));
            }
        }
        Ok(())
    }

    /// Reads the record or records that begin at `scan`, up to the end of the line.
    #[inline(always)]
    fn line(&mut self, scan: &mut Scan<'_>) -> Result<Typed, Syntax> {
        let typed = if scan.peek() == b'[' {
            self.array(scan)?
        } else {
            let typed = self.record.object(scan, self.rows, 0, &self.rules)?;
            self.rows += 1;
            typed
        };
        scan.skip_blanks();
        scan.expect(b'\n', "text after the record")?;
        Ok(typed)
    }

    #[cold]
    fn array(&mut self, scan: &mut Scan<'_>) -> Result<Typed, Syntax> {
        let mut typed = Typed::Well;
        scan.bump();
        scan.skip_blanks();
        if scan.peek() == b']' {
            scan.bump();
            return Ok(typed);
        }
        loop {
            typed = typed.and(self.record.object(scan, self.rows, 1, &self.rules)?);
            self.rows += 1;
            if !scan.more(b']')? {
                return Ok(typed);
            }
        }
    }

    /// Settles a line that was malformed in part or as a whole.
    #[cold]
    fn malformed(
        &mut self,
        lines: &Lines,
        start: usize,
        rows_before: usize,
        why: Verdict,
    ) -> Result<(), ConnectorError> {
        let wholly = matches!(why, Verdict::Wholly(_));
        if wholly || self.rules.mode != Mode::Permissive {
            self.record.truncate(rows_before);
            self.rows = rows_before;
        }
        match self.rules.mode {
            Mode::FailFast => return Err(lines.malformed(start, why)),
            Mode::DropMalformed => {}
            Mode::Permissive => {
                if wholly {
                    self.record.push_null(rows_before);
                    self.rows += 1;
                }
                if let Some(last) = self.rows.checked_sub(1) {
                    let text = String::from_utf8_lossy(lines.line(start));
                    self.record.keep_corrupt(last, text.as_bytes());
                }
            }
        }
        Ok(())
    }
}

impl Decoder for JsonDecoder {
    fn decode(
        &mut self,
        chunk: Chunk,
        give: &mut dyn FnMut(arrow::array::RecordBatch),
    ) -> Result<DecodeReport, ConnectorError> {
        let lines = Lines::of(chunk)?;
        let mut report = DecodeReport::default();
        let mut at = lines.start();
        let text = lines.bytes();
        while at < text.len() {
            let start = at;
            let mut scan = Scan::new(text, at);
            scan.skip_blanks();
            if scan.peek() == b'\n' {
                at = scan.at() + 1;
                continue;
            }
            let rows_before = self.rows;
            let read = if lines.readable(start) {
                self.line(&mut scan)
            } else {
                Err(Syntax("not UTF-8"))
            };
            let verdict = match read {
                Ok(typed) => {
                    at = scan.at();
                    report.rows += self.rows.saturating_sub(rows_before) as u64;
                    (typed == Typed::Wrong).then_some(Verdict::Partly("a value has another type"))
                }
                Err(Syntax(reason)) => {
                    at = lines.end(start);
                    report.rows += 1;
                    Some(Verdict::Wholly(reason))
                }
            };
            if let Some(verdict) = verdict {
                report.malformed += 1;
                self.malformed(&lines, start, rows_before, verdict)?;
            }
            if self.rows >= BATCH_ROWS_MAX {
                self.flush(give)?;
            }
        }
        self.flush(give)?;
        Ok(report)
    }
}
