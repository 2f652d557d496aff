//! How Spark reads and writes a value: the calendar, time zones, Java's patterns of dates and times.
//!
//! Owns the rules that connectors, SQL and stream scripts share, so that a text means the same value
//! wherever it stands. Never opens a file, reads a clock or knows a query. Tests: beside each module.

pub mod civil;
mod error;
pub mod pattern;
pub mod zone;

pub use error::ValueError;
