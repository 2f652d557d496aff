//! What goes wrong between Millstream and the outside.

use millstream_types::{Code, Coded, Fault, did_you_mean};

/// An error of a connector. Texts name options and paths, never row contents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectorError {
    /// CON-001 · User · no connector or format of this name.
    #[error("unknown {kind} name={name:?} known={}", known.join(", "))]
    Unknown {
        /// `connector`, `format` …
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// CON-002 · User · no option of this name.
    #[error("connector {connector} has no option {option:?}")]
    UnknownOption {
        /// The connector.
        connector: &'static str,
        /// The option as written.
        option: String,
        /// The nearest known name.
        suggestion: Option<String>,
    },
    /// CON-003 · User · an option's value cannot be used.
    #[error("option {option} must be {want} got={got:?}")]
    BadOption {
        /// The option.
        option: String,
        /// What it must be, in words.
        want: &'static str,
        /// What it is.
        got: String,
    },
    /// CON-004 · User · a required option is missing.
    #[error("option {option} is not specified for connector {connector}")]
    MissingOption {
        /// The connector.
        connector: &'static str,
        /// The option.
        option: &'static str,
    },
    /// CON-005 · User · the path names nothing.
    #[error("path does not exist path={path:?}")]
    PathNotFound {
        /// The path as written.
        path: String,
    },
    /// CON-005 · User · the directory that a running query reads is gone.
    #[error("the directory that is read is gone; nothing is read until it is back path={path:?}")]
    InputGone {
        /// The path.
        path: String,
    },
    /// CON-006 · External · the operating system refused.
    #[error("cannot {action} path={path:?}")]
    Io {
        /// `read`, `list`, `write` …
        action: &'static str,
        /// The path.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// CON-007 · Data · a record cannot be parsed and the mode is FAILFAST.
    #[error("malformed record origin={origin} offset={offset} reason={reason}")]
    Malformed {
        /// The file.
        origin: String,
        /// Byte offset of the record.
        offset: u64,
        /// What is wrong, without the contents.
        reason: String,
    },
    /// CON-008 · User · the connector has no such side or mode.
    #[error("connector {connector} {what}")]
    Unsupported {
        /// The connector.
        connector: &'static str,
        /// What it cannot do, in words, such as `has no source side`.
        what: String,
    },
    /// SQL-022 · User · the sink does not take this output mode.
    #[error("sink {connector} does not support output mode {mode}")]
    UnsupportedMode {
        /// The connector.
        connector: &'static str,
        /// The mode that was asked for.
        mode: millstream_types::OutputMode,
        /// The modes it takes.
        allowed: &'static str,
    },
    /// CON-009 · User · the columns are fixed.
    #[error("{connector} source does not support user-specified schema")]
    FixedSchema {
        /// The connector.
        connector: &'static str,
    },
    /// CON-010 · User · the columns must be given.
    #[error("schema must be specified for connector {connector}")]
    SchemaRequired {
        /// The connector.
        connector: &'static str,
    },
    /// CON-011 · Corrupt · planned input is gone or changed.
    #[error("input of an unfinished epoch is gone or changed path={path:?} reason={reason}")]
    InputChanged {
        /// The path.
        path: String,
        /// What differs.
        reason: String,
    },
    /// CON-012 · Data · one record is longer than the limit.
    #[error("line is longer than {limit} bytes origin={origin} offset={offset}")]
    LineTooLong {
        /// The file.
        origin: String,
        /// Where the line starts.
        offset: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// CON-013 · User · two queries write to one place, or two processes.
    #[error("{connector} sink belongs to another query path={path:?} {owner}")]
    OwnedByOther {
        /// The connector.
        connector: &'static str,
        /// The place.
        path: String,
        /// Who has it: `query=…`, or `open=now` if it is in use.
        owner: String,
    },
    /// CON-014 · Corrupt · the sink's own record of what it has written is damaged.
    #[error("the log of the sink is damaged path={path:?} reason={reason}")]
    SinkDamaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Its own code · what the checkpoint says of a source's journal.
    #[error("{}", .0.message)]
    Journal(Fault),
    /// CON-015 · Data · something in a directory is no input.
    #[error("passed over in a directory count={count} path={path:?} reason={reason}")]
    PassedOver {
        /// How many so far.
        count: u64,
        /// Those that were not said yet, or the first of many.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// CON-016 · Data · a planned file is not read as it was planned.
    #[error("planned input {reason} count={count} path={path:?}")]
    NotAsPlanned {
        /// How many so far.
        count: u64,
        /// Those that were not said yet, or the first of many.
        path: String,
        /// What became of it.
        reason: &'static str,
    },
    /// CON-017 · External · a file that was read could not be cleaned.
    #[error("input that was read could not be archived or deleted count={count} path={path:?}")]
    NotCleaned {
        /// How many so far.
        count: u64,
        /// Those that were not said yet, or the first of many.
        path: String,
    },
    /// CON-018 · User · a sink's place holds rows that no log names.
    #[error(
        "the sink's directory holds output that its log does not name path={path:?} count={count} first={first:?}"
    )]
    Unlogged {
        /// The directory.
        path: String,
        /// How many files.
        count: u64,
        /// The first of them by name.
        first: String,
    },
    /// CON-019 · User · a query reads what it writes.
    #[error("the query writes where it reads sink={sink:?} source={source_of:?}")]
    WritesWhatItReads {
        /// The directory of the sink.
        sink: String,
        /// The source.
        source_of: String,
    },
    /// CON-020 · External · whoever read the output has gone away.
    #[error("whoever read the output has gone away path={path:?}")]
    ReaderGone {
        /// Where the output went.
        path: String,
    },
    /// CON-021 · Data · a compressed file is damaged, cut off or none.
    #[error("compressed file cannot be unpacked path={path:?}")]
    CorruptFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// EXE-003 · Bug · a record of our own cannot be read back, or a contract was broken.
    #[error("internal: {what}")]
    Internal {
        /// What was found.
        what: &'static str,
    },
    /// EXE-003 · Bug · arrow refused what should fit.
    #[error("internal: {what}")]
    Arrow {
        /// What was being done.
        what: &'static str,
        /// What arrow said.
        source: arrow::error::ArrowError,
    },
}

impl ConnectorError {
    /// Whether there was no room: the call may be repeated when there is.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, ConnectorError::Io { source, .. } if matches!(
            source.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        ))
    }

    /// Whether the system refused before anything was done, and the call may be repeated when whoever
    /// has the say over it has changed that: permissions, a disk that is mounted read-only. Never
    /// true of a sync: what one that failed has left on the disk nobody knows.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, ConnectorError::Io { action, source, .. } if *action != "sync" && matches!(
            source.kind(),
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
        ))
    }

    /// The error for an option that no [`OptionSpec`](crate::OptionSpec) names.
    #[must_use]
    pub fn unknown_option(
        connector: &'static str,
        option: &str,
        known: impl IntoIterator<Item = &'static str>,
    ) -> ConnectorError {
        ConnectorError::UnknownOption {
            connector,
            option: option.to_owned(),
            suggestion: did_you_mean(option, known).map(str::to_owned),
        }
    }
}

impl Coded for ConnectorError {
    fn code(&self) -> Code {
        Code(match self {
            ConnectorError::Unknown { .. } => "CON-001",
            ConnectorError::UnknownOption { .. } => "CON-002",
            ConnectorError::BadOption { .. } => "CON-003",
            ConnectorError::MissingOption { .. } => "CON-004",
            ConnectorError::PathNotFound { .. } | ConnectorError::InputGone { .. } => "CON-005",
            ConnectorError::Io { .. } => "CON-006",
            ConnectorError::Malformed { .. } => "CON-007",
            ConnectorError::Unsupported { .. } => "CON-008",
            ConnectorError::UnsupportedMode { .. } => "SQL-022",
            ConnectorError::FixedSchema { .. } => "CON-009",
            ConnectorError::SchemaRequired { .. } => "CON-010",
            ConnectorError::InputChanged { .. } => "CON-011",
            ConnectorError::LineTooLong { .. } => "CON-012",
            ConnectorError::OwnedByOther { .. } => "CON-013",
            ConnectorError::SinkDamaged { .. } => "CON-014",
            ConnectorError::Journal(fault) => fault.code.0,
            ConnectorError::PassedOver { .. } => "CON-015",
            ConnectorError::NotAsPlanned { .. } => "CON-016",
            ConnectorError::NotCleaned { .. } => "CON-017",
            ConnectorError::Unlogged { .. } => "CON-018",
            ConnectorError::WritesWhatItReads { .. } => "CON-019",
            ConnectorError::ReaderGone { .. } => "CON-020",
            ConnectorError::CorruptFile { .. } => "CON-021",
            ConnectorError::Internal { .. } | ConnectorError::Arrow { .. } => "EXE-003",
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most errors have nothing to add"
    )]
    fn hint(&self) -> Option<String> {
        match self {
            ConnectorError::Unknown { name, known, .. } => {
                did_you_mean(name, known.iter().map(String::as_str))
                    .map(|near| format!("did you mean {near:?}?"))
            }
            ConnectorError::UnknownOption {
                connector,
                suggestion,
                ..
            } => Some(suggestion.as_ref().map_or_else(
                || format!("`millstream options {connector}` lists them"),
                |near| format!("did you mean {near:?}?"),
            )),
            ConnectorError::Journal(fault) => fault.hint.clone(),
            ConnectorError::UnsupportedMode { allowed, .. } => Some(format!("it takes {allowed}")),
            ConnectorError::OwnedByOther { owner, .. } => Some(
                if owner.starts_with("open=") {
                    "end the process that has it open, or give this query a place of its own"
                } else {
                    "give each query a place of its own; the id of this one is in its checkpoint"
                }
                .to_owned(),
            ),
            _ => None,
        }
    }
}
