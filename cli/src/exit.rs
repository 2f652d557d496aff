//! How the process ends.

use std::{fmt, process::ExitCode};

use millstream::{Coded, Error, Fault};
use millstream_types::Class;

/// Exit codes that scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done, also after a signal with a clean end.
    Done,
    /// A query failed.
    QueryFailed,
    /// The arguments are wrong.
    Usage,
    /// A statement is wrong.
    Sql,
    /// A script got another answer.
    Mismatch,
    /// Bad data under a policy that stops.
    Data,
    /// A connector, setting or checkpoint is wrong.
    Configuration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::QueryFailed => 1,
            Exit::Usage => 2,
            Exit::Sql => 3,
            Exit::Mismatch => 4,
            Exit::Data => 65,
            Exit::Configuration => 78,
        })
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library said no.
    Fault(Fault),
    /// The arguments cannot be used.
    Usage(String),
}

impl Failure {
    /// The exit code that tells scripts what went wrong.
    pub(crate) fn exit(&self) -> Exit {
        let Failure::Fault(fault) = self else {
            return Exit::Usage;
        };
        let code = fault.code.0;
        let class = fault.code.entry().class;
        if class == Class::Data {
            Exit::Data
        } else if code == "SCR-001" {
            Exit::Usage
        } else if code == "SQL-009"
            || code.starts_with("CON-")
            || code.starts_with("QRY-0")
            || (code.starts_with("CKP-") && class == Class::User)
        {
            Exit::Configuration
        } else if code.starts_with("SQL-") {
            Exit::Sql
        } else {
            Exit::QueryFailed
        }
    }
}

impl Failure {
    /// Whether whoever reads the standard output has gone away, as `head` does: no error of ours.
    pub(crate) fn is_reader_gone(&self) -> bool {
        let Failure::Fault(fault) = self else {
            return false;
        };
        let message = fault.message.as_str();
        message.contains("path=\"console\"") && message.contains("Broken pipe")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Fault(fault) => fault.fmt(f),
            Failure::Usage(message) => write!(f, "error: {message}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Fault(millstream::fault(&error))
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Fault(fault)
    }
}

/// A coded error of a part of the library.
pub(crate) fn coded(error: &impl Coded) -> Failure {
    Failure::Fault(error.fault())
}
