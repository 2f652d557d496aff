//! JSON lines: one record a line, parsed straight into columns.
//!
//! Owns what a line means: blank lines are no records, an array at the top is one record for each
//! of its objects, a line that is not JSON is malformed. Text behind a record is malformed too:
//! Spark ignores it and so loses the second of two records that were glued together. Tests: `tests`.

#[cfg(test)]
mod against_serde;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millstream_connectors_api::{Chunk, ConnectorError, DecodeReport, Decoder};
use millstream_values::{
    column::Record,
    json::{self, Scan, Syntax, Typed},
};

use super::{Limits, Lines, Mode, Rules, Verdict, batch, fields_of};

/// The decoder of JSON lines.
#[derive(Debug)]
pub(crate) struct JsonDecoder {
    schema: SchemaRef,
    rules: Arc<Rules>,
    limits: Limits,
    pending: Pending,
}

/// The batch under construction.
#[derive(Debug)]
struct Pending {
    record: Record,
    rows: usize,
    /// Where in the chunk it begins.
    start: usize,
    /// Memory of the items of its lists and maps, without text.
    unfolded: usize,
}

/// A part of a line that is an array.
#[derive(Clone, Copy, Debug)]
struct Part {
    typed: Typed,
    rows: usize,
    /// Whether the line ends with it; else there was no more room.
    ended: bool,
}

impl Pending {
    /// An empty batch that begins at `start`.
    fn new(schema: &SchemaRef, rules: &Rules, start: usize) -> Result<Pending, ConnectorError> {
        let corrupt = rules.corrupt_column(schema);
        let record = Record::new(schema.fields(), corrupt).ok_or(ConnectorError::Internal {
            what: "a column type was not checked when the source was made",
        })?;
        Ok(Pending {
            record,
            rows: 0,
            start,
            unfolded: 0,
        })
    }

    /// Reads one record.
    #[inline(always)]
    fn object(&mut self, scan: &mut Scan<'_>, depth: u8, rules: &Rules) -> Result<Typed, Syntax> {
        let typed = json::object(&mut self.record, scan, self.rows, depth, &rules.forms)?;
        self.rows += 1;
        self.unfolded += scan.take_unfolded();
        Ok(typed)
    }

    /// Whether no further row may be added when the chunk was read up to `at`.
    #[inline(always)]
    fn is_full(&self, at: usize, limits: Limits) -> bool {
        self.rows >= limits.rows || (at - self.start) + self.unfolded >= limits.bytes
    }

    fn truncate(&mut self, rows: usize) {
        self.record.truncate(rows);
        self.rows = rows;
    }
}

impl JsonDecoder {
    /// A decoder for the columns of `schema` at `projection`.
    pub(crate) fn new(
        schema: &SchemaRef,
        projection: &[usize],
        rules: Arc<Rules>,
    ) -> Result<JsonDecoder, ConnectorError> {
        let schema = fields_of(schema, projection)?;
        let pending = Pending::new(&schema, &rules, 0)?;
        Ok(JsonDecoder {
            limits: rules.limits.of_rows(pending.record.width()),
            schema,
            rules,
            pending,
        })
    }

    /// Gives the batch away; the next one begins at `at`.
    fn flush(
        &mut self,
        at: usize,
        give: &mut dyn FnMut(arrow::array::RecordBatch),
    ) -> Result<(), ConnectorError> {
        let rows = std::mem::take(&mut self.pending.rows);
        self.pending.start = at;
        self.pending.unfolded = 0;
        if rows > 0 {
            give(batch(&self.schema, self.pending.record.finish(rows), rows)?);
        }
        Ok(())
    }

    /// Reads the record that begins at `scan`, up to the end of the line.
    #[inline(always)]
    fn line(&mut self, scan: &mut Scan<'_>) -> Result<Part, Syntax> {
        let typed = self.pending.object(scan, 0, &self.rules)?;
        end_of_line(scan)?;
        Ok(Part {
            typed,
            rows: 1,
            ended: true,
        })
    }

    /// Reads a line that is an array of records. A long one fills batches before its end was seen,
    /// and rows that were given away cannot be taken back if what follows is malformed. So when the
    /// first batch is full, the rest is read once for its verdict alone.
    #[cold]
    fn array(
        &mut self,
        scan: &mut Scan<'_>,
        give: &mut dyn FnMut(arrow::array::RecordBatch),
    ) -> Result<Result<Part, Syntax>, ConnectorError> {
        let mut part = match self.first_part(scan) {
            Ok(part) if !part.ended => part,
            read => return Ok(read),
        };
        let mut ahead = *scan;
        let rest = match self.verdict(&mut ahead)? {
            Ok(rest) => rest,
            Err(syntax) => return Ok(Err(syntax)),
        };
        let whole = Part {
            typed: part.typed.and(rest.typed),
            rows: part.rows + rest.rows,
            ended: true,
        };
        if whole.typed != Typed::Well && self.rules.mode != Mode::Permissive {
            *scan = ahead;
            return Ok(Ok(whole));
        }
        while !part.ended {
            self.flush(scan.at(), give)?;
            part = self.part(scan).map_err(|_| ConnectorError::Internal {
                what: "a line that was JSON is none any more",
            })?;
        }
        Ok(Ok(whole))
    }

    fn first_part(&mut self, scan: &mut Scan<'_>) -> Result<Part, Syntax> {
        scan.bump();
        scan.skip_blanks();
        if scan.peek() != b']' {
            return self.part(scan);
        }
        scan.bump();
        end_of_line(scan)?;
        Ok(Part {
            typed: Typed::Well,
            rows: 0,
            ended: true,
        })
    }

    /// Reads records of an array until it ends or the batch is full; at least one.
    fn part(&mut self, scan: &mut Scan<'_>) -> Result<Part, Syntax> {
        let mut part = Part {
            typed: Typed::Well,
            rows: 0,
            ended: false,
        };
        while !part.ended {
            let typed = self.pending.object(scan, 1, &self.rules)?;
            part.typed = part.typed.and(typed);
            part.rows += 1;
            part.ended = !scan.more(b']')?;
            if !part.ended && self.pending.is_full(scan.at(), self.limits) {
                return Ok(part);
            }
        }
        end_of_line(scan)?;
        Ok(part)
    }

    /// Reads the rest of an array and keeps nothing of it.
    fn verdict(&mut self, scan: &mut Scan<'_>) -> Result<Result<Part, Syntax>, ConnectorError> {
        let aside = Pending::new(&self.schema, &self.rules, scan.at())?;
        let held = std::mem::replace(&mut self.pending, aside);
        let mut all = Part {
            typed: Typed::Well,
            rows: 0,
            ended: false,
        };
        let mut failed = None;
        while !all.ended && failed.is_none() {
            match self.part(scan) {
                Ok(part) => {
                    all.typed = all.typed.and(part.typed);
                    all.rows += part.rows;
                    all.ended = part.ended;
                }
                Err(syntax) => failed = Some(syntax),
            }
            self.pending.truncate(0);
            self.pending.start = scan.at();
            self.pending.unfolded = 0;
        }
        self.pending = held;
        Ok(failed.map_or(Ok(all), Err))
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
            self.pending.truncate(rows_before);
        }
        match self.rules.mode {
            Mode::FailFast => return Err(lines.malformed(start, why)),
            Mode::DropMalformed => {}
            Mode::Permissive => {
                if wholly {
                    // A row of which no column has anything.
                    self.pending.rows += 1;
                }
                if let Some(last) = self.pending.rows.checked_sub(1) {
                    let text = String::from_utf8_lossy(lines.line(start));
                    self.pending.record.keep_corrupt(last, text.as_bytes());
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
        self.pending.start = at;
        while at < text.len() {
            let start = at;
            let mut scan = Scan::line(text, at, self.rules.grammar);
            scan.skip_blanks();
            if scan.peek() == b'\n' {
                at = scan.at() + 1;
                continue;
            }
            let rows_before = self.pending.rows;
            let read = if !lines.readable(start) {
                Err(Syntax("not UTF-8"))
            } else if scan.peek() == b'[' {
                self.array(&mut scan, give)?
            } else {
                self.line(&mut scan)
            };
            let verdict = match read {
                Ok(part) => {
                    at = scan.at();
                    report.rows += part.rows as u64;
                    (part.typed != Typed::Well)
                        .then_some(Verdict::Partly("a value has another type"))
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
            if self.pending.is_full(at, self.limits) {
                self.flush(at, give)?;
            }
        }
        self.flush(at, give)?;
        Ok(report)
    }
}

/// Goes over the end of the line.
#[inline(always)]
fn end_of_line(scan: &mut Scan<'_>) -> Result<(), Syntax> {
    scan.skip_blanks();
    scan.expect(b'\n', "text after the record")
}
