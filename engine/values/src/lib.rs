//! How Spark reads and writes a value: calendar, time zones, Java's patterns of dates, JSON and CSV.
//!
//! Owns the rules that connectors, SQL and stream scripts share, so that a text means the same value
//! wherever it stands. Texts go straight into Arrow columns ([`column`]) and values straight into bytes
//! ([`cell`]). Never opens a file, reads a clock or knows a query. Tests: beside each module.

mod base64;
pub mod cell;
pub mod civil;
pub mod column;
pub mod csv;
mod error;
pub mod forms;
pub mod instant;
pub mod interval;
pub mod json;
pub mod number;
mod options;
pub mod pattern;
pub mod plain;
pub mod scalar;
#[cfg(test)]
mod tests;
pub mod texts;
pub mod zone;

pub use error::ValueError;
pub use options::Mode;
