//! JSON: records into columns, and values as texts, by Spark's rules.
//!
//! A value of another type is null and the record counts as malformed; a string column takes any value
//! as its text. Nothing here builds a tree: a record is read in one pass, and its memory is bounded by
//! its bytes.

mod copy;
pub(crate) mod keys;
mod options;
pub mod path;
mod read;
#[cfg(test)]
mod roundtrip;
mod scan;
mod schema;
#[cfg(test)]
mod tests;
mod texts;
mod write;

pub use options::JsonOptions;
pub use read::{Typed, object};
pub use scan::{Grammar, Scan, Syntax};
pub use schema::schema_of;
pub use texts::{decode, encode};
pub use write::{Letters, Nulls, Style, Writer};
