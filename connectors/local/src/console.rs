//! The console sink: prints each epoch as a table, exactly as Spark does.
//!
//! Rows are held from the write to the commit, and of these only the ones that will be shown. An
//! epoch is one write, so that tables of two queries do not run into each other; where its room ends
//! within it, the rest follows when there is some.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::SchemaRef,
    error::ArrowError,
};
use millstream_connectors_api::{
    Capabilities, ConnectorError, ConnectorFactory, EpochWrite, Guarantee, OptionSpec, Options,
    Sink, SinkContext, SinkReceipt, SinkRequest, SinkRows, Source, SourceContext, SourceRequest,
};
use millstream_types::{Epoch, OutputMode};

use millstream_values::{cell::Cell, zone::Zone};

use crate::{file, files, noop::no_source};

const NAME: &str = "console";
const RULE: &str = "-------------------------------------------";
/// Width at which cells are cut.
const TRUNCATED_WIDTH: usize = 20;
/// Spark pads each column to so many characters.
const WIDTH_MIN: usize = 3;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "numRows",
        default: "20",
        help: "Rows an epoch shows at most.",
    },
    OptionSpec {
        name: "truncate",
        default: "true",
        help: "Cut cells at 20 characters.",
    },
    OptionSpec {
        name: "timeZone",
        default: "",
        help: "Zone whose clock instants show; the default is the session's.",
    },
];

/// Where tables are printed: shared by all console sinks of a connector.
pub type SharedWriter = Arc<Mutex<Box<dyn Write + Send>>>;

/// Makes sinks that print.
#[derive(Clone)]
pub struct ConsoleConnector {
    out: SharedWriter,
}

impl ConsoleConnector {
    /// Prints to the standard output.
    #[must_use]
    pub fn new() -> ConsoleConnector {
        ConsoleConnector::to(Box::new(io::stdout()))
    }

    /// Prints to `out`.
    #[must_use]
    pub fn to(out: Box<dyn Write + Send>) -> ConsoleConnector {
        ConsoleConnector {
            out: Arc::new(Mutex::new(out)),
        }
    }
}

impl Default for ConsoleConnector {
    fn default() -> ConsoleConnector {
        ConsoleConnector::new()
    }
}

impl ConnectorFactory for ConsoleConnector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            source: false,
            sink: true,
            needs_checkpoint: false,
        }
    }

    fn options(&self) -> Vec<OptionSpec> {
        OPTIONS.to_vec()
    }

    fn schema(&self, _request: &SourceRequest) -> Result<SchemaRef, ConnectorError> {
        Err(no_source(NAME))
    }

    fn source(
        &self,
        _request: &SourceRequest,
        _context: SourceContext,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        Err(no_source(NAME))
    }

    fn sink(&self, request: &SinkRequest) -> Result<Box<dyn Sink>, ConnectorError> {
        let options = &request.options;
        options.check(NAME, &[OPTIONS])?;
        let rows_max = options.positive("numRows")?.unwrap_or(20);
        Ok(Box::new(ConsoleSink {
            out: Arc::clone(&self.out),
            rows_max: usize::try_from(rows_max).unwrap_or(usize::MAX),
            truncate: options.boolean("truncate", true)?,
            zone: file::zone(options)?,
            schema: None,
            mode: OutputMode::Append,
            epochs: BTreeMap::new(),
        }))
    }
}

/// What an epoch will show.
#[derive(Debug, Default)]
struct Held {
    rows: u64,
    shown: usize,
    parts: Vec<(RecordBatch, Option<Int64Array>)>,
    /// What is still to be printed, once the printing has begun.
    text: Option<Vec<u8>>,
}

struct ConsoleSink {
    out: SharedWriter,
    rows_max: usize,
    truncate: bool,
    zone: Zone,
    schema: Option<SchemaRef>,
    mode: OutputMode,
    epochs: BTreeMap<Epoch, Held>,
}

/// How a table is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Rows at most.
    pub rows_max: usize,
    /// Whether cells are cut at 20 characters.
    pub truncate: bool,
    /// The zone whose clock instants show.
    pub zone: &'a str,
}

/// Rows as Spark's `show` prints them.
///
/// # Errors
/// A zone that is none; columns of a type that has no text.
pub fn show(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    shown: Shown<'_>,
) -> Result<String, ConnectorError> {
    let Shown {
        rows_max,
        truncate,
        zone,
    } = shown;
    let mut held = Held::default();
    for batch in batches {
        let rows = batch.num_rows();
        held.rows += rows as u64;
        let shown = rows.min(rows_max.saturating_sub(held.shown));
        held.shown += shown;
        held.parts.push((batch.slice(0, shown), None));
    }
    let sink = ConsoleSink {
        out: Arc::new(Mutex::new(Box::new(io::sink()))),
        rows_max,
        truncate,
        zone: file::zone(&Options::from_iter([("timeZone", zone)]))?,
        schema: Some(SchemaRef::clone(schema)),
        mode: OutputMode::Append,
        epochs: BTreeMap::new(),
    };
    let mut text = String::new();
    sink.body(&held, &mut text)?;
    Ok(text)
}

impl ConsoleSink {
    /// The table, and how much of it is shown.
    fn body(&self, held: &Held, text: &mut String) -> Result<(), ConnectorError> {
        let lines = self.lines(held)?;
        table(&lines, self.truncate, text);
        if held.rows > self.rows_max as u64 {
            let rows = if self.rows_max == 1 { "row" } else { "rows" };
            text.push_str(&format!("only showing top {} {rows}\n", self.rows_max));
        }
        Ok(())
    }

    /// The lines of cells, names first.
    fn lines(&self, held: &Held) -> Result<Vec<Vec<String>>, ConnectorError> {
        let signed = self.mode == OutputMode::Changes;
        let schema = self.schema.as_ref();
        let names = schema.into_iter().flat_map(|schema| schema.fields());
        let names = names.map(|field| escaped(field.name()));
        let mut lines = vec![
            signed
                .then(|| "op".to_owned())
                .into_iter()
                .chain(names)
                .collect(),
        ];
        for (batch, signs) in &held.parts {
            let cells = batch
                .columns()
                .iter()
                .map(|column| Cell::new(column, &self.zone))
                .collect::<Result<Vec<Cell>, ArrowError>>()
                .map_err(|source| ConnectorError::Arrow {
                    what: "casting a column to write it",
                    source,
                })?;
            for row in 0..batch.num_rows() {
                let negative = signs.as_ref().is_some_and(|signs| signs.value(row) < 0);
                let sign = if negative { "-" } else { "+" };
                let sign = signed.then(|| sign.to_owned());
                let shown = cells.iter().map(|cell| self.cell(cell, row));
                lines.push(sign.into_iter().chain(shown).collect());
            }
        }
        Ok(lines)
    }

    fn cell(&self, cell: &Cell, row: usize) -> String {
        let mut text = Vec::new();
        cell.show(row, &mut text);
        let text = escaped(&String::from_utf8_lossy(&text));
        if self.truncate && text.chars().count() > TRUNCATED_WIDTH {
            let kept: String = text.chars().take(TRUNCATED_WIDTH - 3).collect();
            return format!("{kept}...");
        }
        text
    }

    fn text(&self, epoch: Epoch, held: &Held) -> Result<Vec<u8>, ConnectorError> {
        let mut text = format!("{RULE}\nBatch: {epoch}\n{RULE}\n");
        self.body(held, &mut text)?;
        text.push('\n');
        Ok(text.into_bytes())
    }
}

/// Prints a text; what was printed is gone from it, also after an error.
fn print(out: &mut dyn Write, text: &mut Vec<u8>) -> io::Result<()> {
    while !text.is_empty() {
        match out.write(text) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => drop(text.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

/// Appends the table; cells stand right where they are cut and left where they are not.
fn table(lines: &[Vec<String>], right: bool, text: &mut String) {
    let columns = lines.first().map_or(0, Vec::len);
    let mut widths = vec![WIDTH_MIN; columns];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(half_width(cell));
        }
    }
    let mut rule = String::from("+");
    for width in &widths {
        rule.push_str(&"-".repeat(*width));
        rule.push('+');
    }
    rule.push('\n');
    text.push_str(&rule);
    for (idx, line) in lines.iter().enumerate() {
        text.push('|');
        for (width, cell) in widths.iter().zip(line) {
            let blanks = " ".repeat(width.saturating_sub(half_width(cell)));
            let (before, after) = if right {
                (blanks.as_str(), "")
            } else {
                ("", blanks.as_str())
            };
            text.push_str(&format!("{before}{cell}{after}|"));
        }
        text.push('\n');
        if idx == 0 {
            text.push_str(&rule);
        }
    }
    text.push_str(&rule);
}

/// Columns on the screen: letters of East Asian scripts take two.
fn half_width(text: &str) -> usize {
    let wide = |letter: char| {
        matches!(u32::from(letter),
            0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF
            | 0xFE10..=0xFE19 | 0xFE30..=0xFE6F | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6)
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

/// Control characters as Spark shows them, so that a cell stays on its line.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\u{c}' => shown.push_str("\\f"),
            '\u{8}' => shown.push_str("\\b"),
            '\u{b}' => shown.push_str("\\v"),
            '\u{7}' => shown.push_str("\\a"),
            plain => shown.push(plain),
        }
    }
    shown
}

impl Sink for ConsoleSink {
    fn description(&self) -> String {
        "ConsoleSink".to_owned()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn open(&mut self, context: &SinkContext) -> Result<(), ConnectorError> {
        self.schema = Some(SchemaRef::clone(&context.schema));
        self.mode = context.mode;
        Ok(())
    }

    fn last_committed(&mut self) -> Result<Option<Epoch>, ConnectorError> {
        self.epochs.clear();
        Ok(None)
    }

    fn write(&mut self, write: &EpochWrite) -> Result<(), ConnectorError> {
        let held = self.epochs.entry(write.epoch).or_default();
        let SinkRows { rows: batch, signs } = write.body.as_rows()?;
        let rows = batch.num_rows();
        held.rows += rows as u64;
        let shown = rows.min(self.rows_max.saturating_sub(held.shown));
        if shown > 0 {
            held.shown += shown;
            let signs = signs.as_ref().map(|signs| signs.slice(0, shown));
            held.parts.push((batch.slice(0, shown), signs));
        }
        Ok(())
    }

    fn stage(&mut self, _epoch: Epoch) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch) -> Result<SinkReceipt, ConnectorError> {
        let mut held = self.epochs.remove(&epoch).unwrap_or_default();
        let mut text = match held.text.take() {
            Some(rest) => rest,
            None => self.text(epoch, &held)?,
        };
        let result = {
            let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
            print(out.as_mut(), &mut text)
        };
        let receipt = SinkReceipt { rows: held.rows };
        if result.is_err() {
            held.text = Some(text);
            self.epochs.insert(epoch, held);
        }
        result.map(|()| receipt).map_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                ConnectorError::ReaderGone {
                    path: NAME.to_owned(),
                }
            } else {
                files::refused("write", Path::new(NAME), error)
            }
        })
    }
}

#[cfg(test)]
mod tests;
