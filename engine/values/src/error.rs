//! What can be wrong with what a user says about values.

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
    /// SQL-005 · User · no such time zone.
    #[error("[INVALID_TIMEZONE] no time zone of this name zone={name:?}")]
    Zone {
        /// The name as written.
        name: String,
    },
}

impl Coded for ValueError {
    fn code(&self) -> Code {
        Code(match self {
            ValueError::UnknownWord { .. } => "SQL-016",
            ValueError::PatternCount { .. }
            | ValueError::Pattern { .. }
            | ValueError::Zone { .. } => "SQL-005",
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
            ValueError::PatternCount { .. } | ValueError::Pattern { .. } => None,
        }
    }
}
