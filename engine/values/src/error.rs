//! What can be wrong with what a user says about values.

use arrow::error::ArrowError;
use millstream_types::{Code, Coded, did_you_mean};

/// An error in a pattern, a zone or an option. Row contents are never in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// SQL-016 · User · a letter of a date pattern that is not understood.
    #[error("unknown {kind} {word:?}")]
    UnknownWord {
        /// `pattern letter`, `option` …
        kind: &'static str,
        /// The word as written.
        word: String,
        /// The known ones.
        known: &'static [&'static str],
    },
    /// SQL-005 · User · a letter of a date pattern that stands too often in a row.
    #[error("too many pattern letters letter={letter} count={count} most={most}")]
    PatternCount {
        /// The letter.
        letter: char,
        /// How often it stands there.
        count: usize,
        /// How often it may.
        most: usize,
    },
    /// SQL-005 · User · a pattern that cannot be read.
    #[error("a date pattern has {what}")]
    Pattern {
        /// What it has, such as a bracket that closes nothing.
        what: &'static str,
    },
    /// SQL-005 · User · an option has a value that it cannot have.
    #[error("option {option} must be {want} got={got:?}")]
    Option {
        /// The option, in lower case.
        option: &'static str,
        /// What it must be, in words.
        want: &'static str,
        /// What it is.
        got: String,
    },
    /// SQL-005 · User · mode DROPMALFORMED, where a row cannot go.
    #[error("[PARSE_MODE_UNSUPPORTED] a function cannot drop rows: mode is PERMISSIVE or FAILFAST")]
    Mode,
    /// SQL-005 · User · a type that has no such text.
    #[error(
        "[DATATYPE_MISMATCH.INVALID_JSON_SCHEMA] {what} has no values of a type type={data_type}"
    )]
    Type {
        /// `JSON` or `CSV`.
        what: &'static str,
        /// The type.
        data_type: String,
    },
    /// EXE-001 · User · a record is malformed and the mode is FAILFAST.
    #[error(
        "[MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION] a record is malformed reason={reason}"
    )]
    Malformed {
        /// What is wrong, without the contents.
        reason: &'static str,
    },
    /// EXE-001 · User · more text than a column holds.
    #[error("texts of a column are longer than a column holds limit={limit}")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// EXE-001 · User · Arrow refuses the values.
    #[error("arrow refuses values: {message}")]
    Arrow {
        /// What it says.
        message: String,
    },
    /// SQL-005 · User · no such time zone.
    #[error("[INVALID_TIMEZONE] no time zone of this name zone={name:?}")]
    Zone {
        /// The name as written.
        name: String,
    },
}

/// Bytes of text in a column at most; a value may take a few times the bytes that it was read from.
const TEXT_BYTES_MAX: usize = 1 << 30;

/// The bytes of a column's texts as an offset of Arrow.
pub(crate) fn checked_size(bytes: usize) -> Result<i32, ValueError> {
    i32::try_from(bytes)
        .ok()
        .filter(|_| bytes <= TEXT_BYTES_MAX)
        .ok_or(ValueError::TooLong {
            limit: TEXT_BYTES_MAX,
        })
}

/// What Arrow says of an array.
#[expect(clippy::needless_pass_by_value, reason = "the manner of map_err")]
pub(crate) fn arrow_failed(error: ArrowError) -> ValueError {
    ValueError::Arrow {
        message: error.to_string(),
    }
}

impl Coded for ValueError {
    fn code(&self) -> Code {
        Code(match self {
            ValueError::UnknownWord { .. } => "SQL-016",
            ValueError::PatternCount { .. }
            | ValueError::Pattern { .. }
            | ValueError::Option { .. }
            | ValueError::Mode
            | ValueError::Type { .. }
            | ValueError::Zone { .. } => "SQL-005",
            ValueError::Malformed { .. }
            | ValueError::TooLong { .. }
            | ValueError::Arrow { .. } => "EXE-001",
        })
    }

    fn hint(&self) -> Option<String> {
        match self {
            ValueError::UnknownWord { word, known, .. } => {
                Some(did_you_mean(word, known.iter().copied()).map_or_else(
                    || format!("known are: {}", known.join(", ")),
                    |near| format!("did you mean {near}?"),
                ))
            }
            ValueError::Zone { .. } => {
                Some("use a name such as Europe/Berlin or +02:00".to_owned())
            }
            ValueError::PatternCount { .. }
            | ValueError::Pattern { .. }
            | ValueError::Option { .. }
            | ValueError::Mode
            | ValueError::Type { .. }
            | ValueError::Malformed { .. }
            | ValueError::TooLong { .. }
            | ValueError::Arrow { .. } => None,
        }
    }
}
