//! Stream scripts: tests of streaming behaviour as text, for us and for users.
//!
//! A `.stream` file says what is created, what rows come in which epoch and what must reach the sink.
//! This module owns the format: [`parse`] reads it, [`run_script`] plays it against a [`ScriptHost`],
//! [`run_paths`] plays whole folders, and `update` rewrites expectations. It knows nothing of the
//! engine: whoever has one implements [`ScriptHost`] and gets worker counts, restarts, comparison and
//! readable differences from here. It never prints, never exits and never reads a clock.
//!
//! | module | its one idea |
//! |---|---|
//! | `parse` | text to paragraphs, with the lines kept for `--update` |
//! | `cells` | one row of text to cells and back: bars, quotes, escapes |
//! | `value` | a cell with its type: reading, printing, comparing |
//! | `arrays`, `rows` | values to Arrow arrays, and back |
//! | `host` | what an engine must do |
//! | `play` | one script in one case |
//! | `report` | what came out, as data and as text |
//! | `files` | files and folders, the six cases of each, `--update` |
//!
//! Tests: `tests/it/` (a hand-written host), and unit tests beside each module.

mod arrays;
mod calendar;
mod cells;
mod compare;
mod error;
mod files;
mod host;
mod json;
mod parse;
mod play;
mod report;
mod rows;
mod update;
mod value;

pub use arrays::batch_of_rows;
pub use cells::Cell;
pub use error::ScriptError;
pub use files::{Answers, run_file, run_paths};
pub use host::{KillPoint, Restarts, RunCase, ScriptHost, Taken};
pub use parse::{Counters, Order, Paragraph, Row, Script, Sign, Step, parse};
pub use play::{Observation, Played, run_script};
pub use report::{Counts, Failure, FileReport, Outcome, Problem, Report};
pub use rows::rows_of_batch;
pub use update::update;
pub use value::{Reading, Value};
