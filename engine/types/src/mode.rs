//! Output modes.

use std::{fmt, str::FromStr};

/// What of a result reaches the sink in each epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutputMode {
    /// Rows that will never change again.
    #[default]
    Append,
    /// Rows that were touched in the epoch, without retractions.
    Update,
    /// The whole result.
    Complete,
    /// Every change with its sign: allowed for every query.
    Changes,
}

impl fmt::Display for OutputMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OutputMode::Append => "append",
            OutputMode::Update => "update",
            OutputMode::Complete => "complete",
            OutputMode::Changes => "changes",
        })
    }
}

/// The text names no output mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownOutputMode(pub String);

impl FromStr for OutputMode {
    type Err = UnknownOutputMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "append" => Ok(OutputMode::Append),
            "update" => Ok(OutputMode::Update),
            "complete" => Ok(OutputMode::Complete),
            "changes" => Ok(OutputMode::Changes),
            _ => Err(UnknownOutputMode(text.to_owned())),
        }
    }
}
