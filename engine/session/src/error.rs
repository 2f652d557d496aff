//! The error of the library: one enum over what its parts say.

use millstream_connectors_api::ConnectorError;
use millstream_runtime::error::RuntimeError;
use millstream_sql::SqlError;
use millstream_types::{Code, Coded, Fault, SubCondition, TextPosition};

/// Results of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that goes wrong; [`Coded::code`] and [`Fault::is`] tell programs what it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// From SQL or a logical plan.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// From a connector.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// From starting a query.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// QRY-004 · what ended a query; the fault inside says why.
    #[error("query {name} terminated with exception: {fault}")]
    Terminated {
        /// Its name, or its id.
        name: String,
        /// Why.
        fault: Fault,
    },
    /// What ended a query that was waited for.
    #[error("{}", .0.message)]
    Failed(Fault),
    /// QRY-001 · User · the sink needs a checkpoint.
    #[error("checkpointLocation must be specified for a query into {sink}")]
    CheckpointRequired {
        /// The sink's connector.
        sink: &'static str,
    },
    /// QRY-002 · User · two active queries of one name.
    #[error("cannot start query with name {name} as a query with that name is already active")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// QRY-003 · User · no active query of this name.
    #[error("no active query has the name {name}")]
    NoQuery {
        /// The name.
        name: String,
        /// The active ones.
        active: Vec<String>,
    },
    /// QRY-005 · User · late rows of a query that runs already.
    #[error("query {query} runs already without an INSERT of its late rows")]
    Started {
        /// Its name.
        query: String,
    },
    /// SQL-009 · User · SET of something unknown.
    #[error("unknown setting {key}")]
    UnknownSetting {
        /// The key.
        key: String,
        /// The nearest known key.
        near: Option<&'static str>,
    },
    /// SQL-016 · User · a word that is none of the known ones.
    #[error("{value:?} is no {what}")]
    BadValue {
        /// What it should be, and what there is.
        what: &'static str,
        /// What it is.
        value: String,
    },
    /// SQL-007 · User · something that this version does not do.
    #[error("{what} is not supported yet")]
    NotYet {
        /// What.
        what: &'static str,
    },
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Error::Sql(error) => error.code(),
            Error::Connector(error) => error.code(),
            Error::Runtime(error) => error.code(),
            Error::Failed(fault) => fault.code,
            Error::Terminated { .. } => Code("QRY-004"),
            Error::CheckpointRequired { .. } => Code("QRY-001"),
            Error::NameTaken { .. } => Code("QRY-002"),
            Error::NoQuery { .. } => Code("QRY-003"),
            Error::Started { .. } => Code("QRY-005"),
            Error::UnknownSetting { .. } => Code("SQL-009"),
            Error::BadValue { .. } => Code("SQL-016"),
            Error::NotYet { .. } => Code("SQL-007"),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the conditions of the rest have one part"
    )]
    fn sub_condition(&self) -> Option<SubCondition> {
        match self {
            Error::Sql(error) => error.sub_condition(),
            Error::Terminated { fault, .. } | Error::Failed(fault) => fault.sub_condition,
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Sql(error) => error.hint(),
            Error::Connector(error) => error.hint(),
            Error::Runtime(error) => error.hint(),
            Error::Terminated { fault, .. } | Error::Failed(fault) => fault.hint.clone(),
            Error::CheckpointRequired { .. } => {
                Some("SET 'checkpointLocation' = 'DIR', or run with --checkpoint DIR".to_owned())
            }
            Error::Started { .. } => {
                Some("put the INSERT of late rows before the statement that starts it".to_owned())
            }
            Error::NoQuery { active, .. } => {
                (!active.is_empty()).then(|| format!("active: {}", active.join(", ")))
            }
            Error::UnknownSetting { near, .. } => {
                near.map(|near| format!("did you mean {near:?}?"))
            }
            Error::NameTaken { .. } | Error::BadValue { .. } | Error::NotYet { .. } => None,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is about no text")]
    fn position(&self) -> Option<TextPosition> {
        match self {
            Error::Sql(error) => error.position(),
            Error::Failed(fault) => fault.position,
            _ => None,
        }
    }
}
