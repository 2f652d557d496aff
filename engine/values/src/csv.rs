//! Comma-separated values: the fields of a line, and values as fields, by Spark's rules.
//!
//! A quoted field may hold separators. An escape makes a quote or itself literal; where escape and quote
//! are the same character, two of them are one.

mod options;
mod read;
#[cfg(test)]
mod tests;
mod texts;
mod write;

pub use options::CsvOptions;
pub use read::Fields;
pub use texts::{decode, encode, schema_of};
pub use write::{header, lines};

/// How CSV is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Whether a file begins with names.
    pub header: bool,
    /// What stands between fields.
    pub separator: u8,
    /// What stands around fields that hold separators.
    pub quote: Option<u8>,
    /// What stands before a quote inside a quoted field.
    pub escape: Option<u8>,
    /// What lines begin with that are no records.
    pub comment: Option<u8>,
    /// The field that stands for null.
    pub null_value: String,
    /// What is written for an empty text; by default two quotes.
    pub empty_value: Option<String>,
    /// Whether every field is written in quotes.
    pub quotes_all: bool,
    /// Whether a field with a quote in it is written in quotes.
    pub quotes_quotes: bool,
}

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect {
            header: false,
            separator: b',',
            quote: Some(b'"'),
            escape: Some(b'\\'),
            comment: None,
            null_value: String::new(),
            empty_value: None,
            quotes_all: false,
            quotes_quotes: true,
        }
    }
}
