//! How the process ends.

use std::{fmt, process::ExitCode};

use millstream::{Coded, Error, Fault};
use millstream_types::Class;

/// Exit codes that scripts rely on. Those of errors follow from their class ([`Class::exit_code`]);
/// what is more than a class is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done, also after a signal with a clean end.
    Done,
    /// An expression failed while the query ran.
    QueryFailed,
    /// The arguments are wrong.
    Usage,
    /// A statement is wrong.
    Sql,
    /// A script got another answer.
    Mismatch,
    /// Whoever read the output has gone away: what a process has that SIGPIPE ended.
    ReaderGone,
    /// What the class of the error says.
    Class(Class),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::QueryFailed => 1,
            Exit::Usage => 2,
            Exit::Sql => 3,
            Exit::Mismatch => 4,
            Exit::ReaderGone => 141,
            Exit::Class(class) => class.exit_code(),
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
        let is_user = class == Class::User;
        if code == "CON-020" {
            Exit::ReaderGone
        } else if code == "SCR-001" {
            Exit::Usage
        } else if code == "SCR-002" {
            Exit::Mismatch
        } else if is_user && code.starts_with("EXE-") {
            Exit::QueryFailed
        } else if is_user && code.starts_with("SQL-") && code != "SQL-009" {
            // SQL-009 is an unknown setting.
            Exit::Sql
        } else {
            Exit::Class(class)
        }
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
