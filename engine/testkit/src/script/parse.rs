//! The text of a script to paragraphs.
//!
//! Lines keep their numbers and nothing is normalised, so that `update` can put new answers between
//! lines that it leaves byte for byte. Tests: below and in `tests/it/parse.rs`.

use super::{
    cells::{self, Cell, column_of},
    error::ScriptError,
    host::KillPoint,
};
use millstream_types::{Interval, OutputMode, did_you_mean};
use std::{collections::BTreeMap, fmt};

/// A script as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// Paragraphs in order; comments that stand alone are not among them.
    pub paragraphs: Vec<Paragraph>,
}

/// One construct of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Paragraph {
    /// The line of its first word, from 1.
    pub line: u64,
    /// What it asks for.
    pub step: Step,
}

/// What a paragraph asks for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Runs SQL.
    Statement {
        /// The SQL; comment lines of the script are empty lines in it.
        sql: String,
        /// The code or condition that it must fail with.
        error: Option<String>,
    },
    /// Starts a query.
    Query {
        /// Its name in the script.
        name: String,
        /// What of the result reaches the sink.
        mode: OutputMode,
        /// The SQL; comment lines of the script are empty lines in it.
        sql: String,
        /// The code or condition that it must fail with, at start or in the first run.
        error: Option<String>,
    },
    /// Adds rows to a table.
    Input {
        /// The table.
        table: String,
        /// At least one row.
        rows: Vec<Row>,
    },
    /// Processes what was added.
    Run,
    /// Processes what was added and compares what reached the sink.
    Expect {
        /// The query.
        query: String,
        /// Whether the order of rows is part of the answer.
        order: Order,
        /// Counters to check.
        counters: Counters,
        /// The rows, none for `(none)`; `None` where nothing stands yet, for `--update` to fill in.
        rows: Option<Vec<Row>>,
    },
    /// Kills a query and starts it again.
    Restart {
        /// The query.
        query: String,
        /// The new number of workers.
        workers: Option<usize>,
        /// The step of the next epoch at which it is killed; at once without.
        after: Option<KillPoint>,
    },
    /// Moves processing time.
    Advance {
        /// How far.
        interval: Interval,
    },
}

/// Whether the order of rows is part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Rows may come in any order.
    Any,
    /// Rows come as written.
    AsWritten,
}

/// Counters of an expectation; `None` is not checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// (Row, window) pairs dropped as late since the last expectation of the query.
    pub late: Option<u64>,
    /// Logical rows held by all operators of the query.
    pub state: Option<u64>,
}

/// The sign of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// The row goes.
    Minus,
    /// The row comes.
    Plus,
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sign::Minus => "-",
            Sign::Plus => "+",
        })
    }
}

/// One row of an `input` or `expect` paragraph.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its line, from 1.
    pub line: u64,
    /// The line without space at its ends.
    pub text: String,
    /// Its sign, in expectations of `changes` queries.
    pub sign: Option<Sign>,
    /// Its cells.
    pub cells: Vec<Cell>,
}

/// Whether a line is a comment.
pub(super) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Reads a script.
///
/// # Errors
/// SCR-001 with the place of the first thing that does not follow the format.
pub fn parse(text: &str) -> Result<Script, ScriptError> {
    let mut script = Script::default();
    let mut modes = BTreeMap::new();
    let mut block: Vec<Line<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = Line {
            number: column_of(index),
            text: line.trim_end(),
        };
        if line.text.trim().is_empty() {
            script.paragraphs.extend(paragraph(&block, &mut modes)?);
            block.clear();
        } else {
            block.push(line);
        }
    }
    script.paragraphs.extend(paragraph(&block, &mut modes)?);
    Ok(script)
}

#[derive(Clone, Copy)]
struct Line<'a> {
    number: u64,
    text: &'a str,
}

/// A word of a header with its column.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    column: u64,
}

const KEYWORDS: [&str; 7] = [
    "statement",
    "query",
    "input",
    "run",
    "expect",
    "restart",
    "advance",
];

/// Output modes of the queries so far: their rows have signs or not.
type Modes = BTreeMap<String, OutputMode>;

fn paragraph(block: &[Line<'_>], modes: &mut Modes) -> Result<Option<Paragraph>, ScriptError> {
    let Some(first) = block.iter().position(|line| !is_comment(line.text)) else {
        return Ok(None);
    };
    let (head, body) = block.split_at(first + 1);
    let Some(line) = head.last() else {
        return Ok(None);
    };
    let mut header = Header {
        line: line.number,
        words: words(line.text),
        end: line.text,
    };
    let keyword = header.word("a keyword")?;
    let step = match keyword.text {
        "statement" => {
            let error = header.error()?;
            header.done()?;
            let sql = header.sql(body)?;
            // What a statement writes can be expected like the result of a query.
            let mut words = sql.split_whitespace();
            let is_insert = ["INSERT", "INTO"].iter().all(|word| {
                words
                    .next()
                    .is_some_and(|next| next.eq_ignore_ascii_case(word))
            });
            if let (true, None, Some(table)) = (is_insert, &error, words.next()) {
                modes.insert(table.to_owned(), OutputMode::Append);
            }
            Step::Statement { sql, error }
        }
        "query" => query(&mut header, body, modes)?,
        "input" => input(&mut header, body)?,
        "run" => {
            header.done()?;
            header.no_body(body)?;
            Step::Run
        }
        "expect" => expect(&mut header, body, modes)?,
        "restart" => restart(&mut header, body, modes)?,
        "advance" => advance(&mut header, body)?,
        other => {
            let mut message = format!("no paragraph begins with {other:?}");
            match did_you_mean(other, KEYWORDS) {
                Some(keyword) => message.push_str(&format!("; did you mean {keyword}?")),
                None => message.push_str(
                    "; known are statement, query, input, run, expect, restart, advance. An empty \
                     line ends a paragraph: SQL and rows must have none inside",
                ),
            }
            return Err(header.error_at(keyword.column, message));
        }
    };
    Ok(Some(Paragraph {
        line: line.number,
        step,
    }))
}

fn query(
    header: &mut Header<'_>,
    body: &[Line<'_>],
    modes: &mut Modes,
) -> Result<Step, ScriptError> {
    let name = header.word("the name of the query")?.text.to_owned();
    let word = header.word("an output mode: append, update, complete or changes")?;
    let mode: OutputMode = word.text.parse().map_err(|_| {
        let message = format!(
            "unknown output mode {:?}: use append, update, complete or changes",
            word.text
        );
        header.error_at(word.column, message)
    })?;
    let error = header.error()?;
    header.done()?;
    if error.is_none() || !modes.contains_key(&name) {
        modes.insert(name.clone(), mode);
    }
    Ok(Step::Query {
        name,
        mode,
        sql: header.sql(body)?,
        error,
    })
}

fn input(header: &mut Header<'_>, body: &[Line<'_>]) -> Result<Step, ScriptError> {
    let table = header.word("the name of the table")?.text.to_owned();
    header.done()?;
    let lines = body.iter().filter(|line| !is_comment(line.text));
    let rows = lines
        .map(|line| row(*line, None))
        .collect::<Result<Vec<_>, _>>()?;
    if rows.is_empty() {
        return Err(header.error_at(1, "input needs at least one row".to_owned()));
    }
    Ok(Step::Input { table, rows })
}

fn expect(header: &mut Header<'_>, body: &[Line<'_>], modes: &Modes) -> Result<Step, ScriptError> {
    let (query, mode) = header.known_query(modes)?;
    let mut order = None;
    let mut counters = Counters::default();
    while let Some(word) = header.next() {
        let fresh = match word.text.split_once('=') {
            None if word.text == "ordered" => order.replace(Order::AsWritten).is_none(),
            Some(("late", count)) => counters.late.replace(header.count(word, count)?).is_none(),
            Some(("state", count)) => counters.state.replace(header.count(word, count)?).is_none(),
            _ => {
                let message = format!(
                    "unknown word {:?}: after the name come ordered, late=N and state=N",
                    word.text
                );
                return Err(header.error_at(word.column, message));
            }
        };
        if !fresh {
            return Err(header.error_at(word.column, format!("{:?} stands twice", word.text)));
        }
    }
    let lines: Vec<_> = body
        .iter()
        .filter(|line| !is_comment(line.text))
        .copied()
        .collect();
    let rows = match lines.as_slice() {
        [] => None,
        [only] if only.text.trim() == "(none)" => Some(Vec::new()),
        lines => Some(
            lines
                .iter()
                .map(|line| row(*line, Some(mode)))
                .collect::<Result<Vec<_>, _>>()?,
        ),
    };
    Ok(Step::Expect {
        query,
        order: order.unwrap_or(Order::Any),
        counters,
        rows,
    })
}

fn restart(header: &mut Header<'_>, body: &[Line<'_>], modes: &Modes) -> Result<Step, ScriptError> {
    let (query, _) = header.known_query(modes)?;
    let (mut workers, mut after) = (None, None);
    while let Some(word) = header.next() {
        let fresh = match word.text.split_once('=') {
            Some(("workers", count)) => {
                let count = count.parse().ok().filter(|count: &usize| *count > 0);
                let refuse = || {
                    let message = "workers= needs a number of at least 1".to_owned();
                    header.error_at(word.column, message)
                };
                workers.replace(count.ok_or_else(refuse)?).is_none()
            }
            Some(("after", point)) => {
                let refuse = |()| {
                    let message = "after= needs plan, stage, commit or snapshot".to_owned();
                    header.error_at(word.column, message)
                };
                after.replace(point.parse().map_err(refuse)?).is_none()
            }
            _ => {
                let message = format!(
                    "unknown word {:?}: after the name come workers=N and \
                     after=plan|stage|commit|snapshot",
                    word.text
                );
                return Err(header.error_at(word.column, message));
            }
        };
        if !fresh {
            return Err(header.error_at(word.column, format!("{:?} stands twice", word.text)));
        }
    }
    header.no_body(body)?;
    Ok(Step::Restart {
        query,
        workers,
        after,
    })
}

fn advance(header: &mut Header<'_>, body: &[Line<'_>]) -> Result<Step, ScriptError> {
    let first = header.word("how far to move the clock, such as 5 seconds")?;
    let mut text = first.text.to_owned();
    while let Some(word) = header.next() {
        text.push(' ');
        text.push_str(word.text);
    }
    header.no_body(body)?;
    let interval: Interval = text
        .parse()
        .map_err(|error| header.error_at(first.column, format!("{error}")))?;
    if interval.months() != 0 || interval.micros() <= 0 {
        let message = "the clock moves by a positive length without months".to_owned();
        return Err(header.error_at(first.column, message));
    }
    Ok(Step::Advance { interval })
}

fn row(line: Line<'_>, mode: Option<OutputMode>) -> Result<Row, ScriptError> {
    let text = line.text.trim();
    let indent = line.text.chars().take_while(|c| c.is_whitespace()).count();
    let (sign, skip) = if mode == Some(OutputMode::Changes) {
        let sign = match text.chars().next() {
            Some('+') => Sign::Plus,
            Some('-') => Sign::Minus,
            _ => {
                let message = "a row of a changes query begins with + or -";
                return Err(ScriptError::syntax(line.number, column_of(indent), message));
            }
        };
        (Some(sign), indent + 1)
    } else {
        (None, 0)
    };
    let cells = cells::split(line.text, skip)
        .map_err(|bad| ScriptError::syntax(line.number, bad.column, bad.message))?;
    Ok(Row {
        line: line.number,
        text: text.to_owned(),
        sign,
        cells,
    })
}

/// The first line of a paragraph, read word by word.
struct Header<'a> {
    line: u64,
    words: std::vec::IntoIter<Word<'a>>,
    end: &'a str,
}

impl<'a> Header<'a> {
    fn next(&mut self) -> Option<Word<'a>> {
        self.words.next()
    }

    fn word(&mut self, what: &str) -> Result<Word<'a>, ScriptError> {
        let column = column_of(self.end.chars().count());
        let missing = ScriptError::syntax(self.line, column, format!("expected {what}"));
        self.next().ok_or(missing)
    }

    fn error(&mut self) -> Result<Option<String>, ScriptError> {
        match self.words.as_slice().first() {
            Some(word) if word.text == "error" => {
                self.next();
                Ok(Some(
                    self.word("an error code or condition")?.text.to_owned(),
                ))
            }
            _ => Ok(None),
        }
    }

    fn known_query(&mut self, modes: &Modes) -> Result<(String, OutputMode), ScriptError> {
        let word = self.word("the name of a query")?;
        match modes.get(word.text) {
            Some(mode) => Ok((word.text.to_owned(), *mode)),
            None => {
                let message = format!("no query above has the name {:?}", word.text);
                Err(self.error_at(word.column, message))
            }
        }
    }

    fn count(&self, word: Word<'_>, digits: &str) -> Result<u64, ScriptError> {
        let message = || format!("{:?} needs a whole number", word.text);
        digits
            .parse()
            .map_err(|_| self.error_at(word.column, message()))
    }

    fn done(&mut self) -> Result<(), ScriptError> {
        match self.next() {
            None => Ok(()),
            Some(word) => {
                Err(self.error_at(word.column, format!("{:?} is one word too many", word.text)))
            }
        }
    }

    fn no_body(&self, body: &[Line<'_>]) -> Result<(), ScriptError> {
        match body.iter().find(|line| !is_comment(line.text)) {
            None => Ok(()),
            Some(line) => {
                let message = "an empty line must end this paragraph";
                Err(ScriptError::syntax(line.number, 1, message))
            }
        }
    }

    /// The rest of the paragraph; comments become empty lines, so that places in the SQL stay right.
    fn sql(&self, body: &[Line<'_>]) -> Result<String, ScriptError> {
        let lines = body
            .iter()
            .map(|line| if is_comment(line.text) { "" } else { line.text });
        let sql = lines.collect::<Vec<_>>().join("\n");
        if sql.trim().is_empty() {
            return Err(self.error_at(1, "SQL must follow in the next line".to_owned()));
        }
        Ok(sql)
    }

    fn error_at(&self, column: u64, message: String) -> ScriptError {
        ScriptError::syntax(self.line, column, message)
    }
}

fn words(line: &str) -> std::vec::IntoIter<Word<'_>> {
    let mut words = Vec::new();
    let mut begin = None;
    let mut column = 0;
    for (index, (at, c)) in line.char_indices().enumerate() {
        match (c.is_whitespace(), begin) {
            (false, None) => {
                begin = Some(at);
                column = column_of(index);
            }
            (true, Some(from)) => {
                words.push(Word {
                    text: &line[from..at],
                    column,
                });
                begin = None;
            }
            _ => {}
        }
    }
    if let Some(from) = begin {
        words.push(Word {
            text: &line[from..],
            column,
        });
    }
    words.into_iter()
}
