//! What can be wrong with a script itself.

use millstream_types::{Code, Coded, TextPosition};
use std::path::PathBuf;

/// A script that cannot be read or played, or that got another answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// SCR-001 · User: a paragraph or a cell does not follow the format.
    #[error("{message}")]
    Syntax {
        /// Where in the script.
        at: TextPosition,
        /// What is wrong there.
        message: String,
    },
    /// SCR-001 · User: the file or folder is not there or is no text.
    #[error("cannot read stream scripts path={}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// SCR-001 · User: `--update` could not put the new text in place.
    #[error("cannot rewrite the stream script path={}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// SCR-002 · User: rows or counters differ from the expectation.
    #[error("stream scripts got other answers failed={failed} passed={passed}")]
    OtherAnswers {
        /// Files with a failure.
        failed: usize,
        /// Files without.
        passed: usize,
    },
}

impl ScriptError {
    pub(crate) fn syntax(line: u64, column: u64, message: impl Into<String>) -> ScriptError {
        ScriptError::Syntax {
            at: TextPosition { line, column },
            message: message.into(),
        }
    }
}

impl Coded for ScriptError {
    fn code(&self) -> Code {
        match self {
            ScriptError::Syntax { .. }
            | ScriptError::Unreadable { .. }
            | ScriptError::Unwritable { .. } => Code("SCR-001"),
            ScriptError::OtherAnswers { .. } => Code("SCR-002"),
        }
    }

    fn position(&self) -> Option<TextPosition> {
        match self {
            ScriptError::Syntax { at, .. } => Some(*at),
            ScriptError::Unreadable { .. }
            | ScriptError::Unwritable { .. }
            | ScriptError::OtherAnswers { .. } => None,
        }
    }
}
