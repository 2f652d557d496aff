//! Text formats: bytes of whole lines straight into Arrow columns.
//!
//! Owns what the formats share: the rules that the options set, the lines of a chunk, and the
//! verdict on a malformed record. A format parses only the columns of its projection and allocates
//! nothing per row. Never opens a file.

mod csv;
mod json;
mod partition;
#[cfg(test)]
mod tests;
mod text;

use std::{ops::Range, str::FromStr, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Schema, SchemaRef},
    error::ArrowError,
};
use millstream_connectors_api::{Chunk, ChunkBody, ConnectorError, Decoder};
use millstream_values::{csv::Dialect, forms::Forms, json::Grammar};

use crate::buffers;

/// Rows in a batch at most: what the engine takes in one piece.
const BATCH_ROWS_MAX: usize = 8_192;

/// Bytes of a batch: the row with which it has as many is its last.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// When a batch is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    rows: usize,
    bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rows: BATCH_ROWS_MAX,
            bytes: BATCH_BYTES_MAX,
        }
    }
}

impl Limits {
    /// Fewer rows if each of them is wide: `width` bytes without text and items.
    fn of_rows(self, width: usize) -> Limits {
        let rows = self.bytes / width.max(1);
        Limits {
            rows: self.rows.min(rows).max(1),
            bytes: self.bytes,
        }
    }
}

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// Comma-separated values.
    Csv,
    /// One column, `value`, with the line.
    Text,
}

impl Format {
    pub(crate) const NAMES: [&'static str; 3] = ["csv", "json", "text"];

    /// The name, which is also the extension of files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Csv => "csv",
            Format::Text => "text",
        }
    }
}

impl FromStr for Format {
    type Err = ConnectorError;

    fn from_str(name: &str) -> Result<Format, ConnectorError> {
        match name.trim().to_ascii_lowercase().as_str() {
            "json" => Ok(Format::Json),
            "csv" => Ok(Format::Csv),
            "text" => Ok(Format::Text),
            _ => Err(ConnectorError::Unknown {
                kind: "format",
                name: name.to_owned(),
                known: Format::NAMES.map(str::to_owned).to_vec(),
            }),
        }
    }
}

/// What becomes of malformed records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What cannot be read becomes null.
    #[default]
    Permissive,
    /// The record is left out.
    DropMalformed,
    /// The query stops.
    FailFast,
}

/// What the options say about parsing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) mode: Mode,
    /// The forms of dates and times.
    pub(crate) forms: Forms,
    /// What is taken for JSON.
    pub(crate) grammar: Grammar,
    /// Column that takes the text of malformed records, if the schema has it.
    pub(crate) corrupt_name: String,
    pub(crate) dialect: Dialect,
    pub(crate) limits: Limits,
}

impl Rules {
    /// Where the corrupt-record column stands in `schema`.
    pub(crate) fn corrupt_column(&self, schema: &Schema) -> Option<usize> {
        schema
            .fields()
            .iter()
            .position(|f| *f.name() == self.corrupt_name && *f.data_type() == DataType::Utf8)
    }
}

/// How much of a record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Some values are null that should not be.
    Partly(&'static str),
    /// Nothing could be read.
    Wholly(&'static str),
}

/// The bytes of a chunk as lines.
#[derive(Debug)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    origin: Arc<str>,
    offset: u64,
    utf8: bool,
}

impl Drop for Lines {
    fn drop(&mut self) {
        buffers::give(std::mem::take(&mut self.bytes));
    }
}

impl Lines {
    /// The lines of a chunk. The whole is checked for UTF-8 at once, which is nearly free; only a
    /// chunk that fails pays line by line.
    pub(crate) fn of(chunk: Chunk) -> Result<Lines, ConnectorError> {
        let ChunkBody::Bytes {
            bytes,
            origin,
            offset,
        } = chunk.body
        else {
            return Err(ConnectorError::Internal {
                what: "a text decoder was given rows",
            });
        };
        let utf8 = std::str::from_utf8(&bytes).is_ok();
        Ok(Lines {
            bytes,
            origin,
            offset,
            utf8,
        })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the first line begins: behind a byte-order mark at the start of a file.
    pub(crate) fn start(&self) -> usize {
        let marked = self.offset == 0 && self.bytes.starts_with(b"\xef\xbb\xbf");
        if marked { 3 } else { 0 }
    }

    /// Whether this is the beginning of a file.
    pub(crate) fn at_file_start(&self) -> bool {
        self.offset == 0
    }

    /// Whether the line that begins at `start` is UTF-8.
    #[inline(always)]
    pub(crate) fn readable(&self, start: usize) -> bool {
        self.utf8 || std::str::from_utf8(self.line(start)).is_ok()
    }

    /// Where the line after the one that begins at `start` begins.
    pub(crate) fn end(&self, start: usize) -> usize {
        let rest = self.bytes.get(start..).unwrap_or(&[]);
        memchr::memchr(b'\n', rest).map_or(self.bytes.len(), |at| start + at + 1)
    }

    /// The line that begins at `start`, without its end.
    pub(crate) fn line(&self, start: usize) -> &[u8] {
        let line = self.bytes.get(start..self.end(start)).unwrap_or(&[]);
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    /// All lines from `start` on: where each begins, and its bytes without the end.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Range<usize>, &[u8])> {
        let mut at = self.start();
        std::iter::from_fn(move || {
            if at >= self.bytes.len() {
                return None;
            }
            let start = at;
            at = self.end(start);
            let line = self.bytes.get(start..at).unwrap_or(&[]);
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            Some((start..at, line.strip_suffix(b"\r").unwrap_or(line)))
        })
    }

    /// The error for a malformed record under FAILFAST.
    pub(crate) fn malformed(&self, start: usize, why: Verdict) -> ConnectorError {
        let (Verdict::Partly(reason) | Verdict::Wholly(reason)) = why;
        ConnectorError::Malformed {
            origin: self.origin.to_string(),
            offset: self.offset + start as u64,
            reason: reason.to_owned(),
        }
    }
}

/// The columns of `schema` at `projection`.
pub(crate) fn fields_of(
    schema: &SchemaRef,
    projection: &[usize],
) -> Result<SchemaRef, ConnectorError> {
    schema
        .project(projection)
        .map(Arc::new)
        .map_err(|source| ConnectorError::Arrow {
            what: "projecting the columns of a source",
            source,
        })
}

/// A batch of `rows` rows, also if there are no columns.
pub(crate) fn batch(
    schema: &SchemaRef,
    columns: Result<Vec<ArrayRef>, ArrowError>,
    rows: usize,
) -> Result<RecordBatch, ConnectorError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    columns
        .and_then(|columns| {
            RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        })
        .map_err(|source| ConnectorError::Arrow {
            what: "making a batch of parsed rows",
            source,
        })
}

/// A decoder of `format` for the columns of `schema` at `projection`, for files under `base`.
pub(crate) fn decoder(
    format: Format,
    rules: &Arc<Rules>,
    schema: &SchemaRef,
    projection: &[usize],
    base: &str,
) -> Result<Box<dyn Decoder>, ConnectorError> {
    let decoder = partition::PartitionDecoder::new(format, rules, schema, projection, base)?;
    Ok(Box::new(decoder))
}

/// A decoder that knows nothing of directories.
fn plain_decoder(
    format: Format,
    rules: &Arc<Rules>,
    schema: &SchemaRef,
    projection: &[usize],
) -> Result<Box<dyn Decoder>, ConnectorError> {
    let rules = Arc::clone(rules);
    Ok(match format {
        Format::Json => Box::new(json::JsonDecoder::new(schema, projection, rules)?),
        Format::Csv => Box::new(csv::CsvDecoder::new(schema, projection, rules)?),
        Format::Text => Box::new(text::TextDecoder::new(schema, projection, rules.limits)?),
    })
}
