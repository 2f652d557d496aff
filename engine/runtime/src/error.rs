//! What stops a query.

use millstream_connectors_api::ConnectorError;
use millstream_epoch::{EpochError, Refusal};
use millstream_operators::error::OperatorError;
use millstream_types::{Code, Coded, Fault};

/// An error of the runtime. What operators and connectors report keeps its own code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// Reported by a worker, a reader or the sink.
    #[error("{}", .0.message)]
    Reported(Fault),
    /// From a connector.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// From the checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] EpochError),
    /// CKP-006 or CKP-008 · the facts of the checkpoint and the sink contradict each other.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// From an operator while the dataflow is built.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// EXE-002 · Bug · a thread of the query ended without a word.
    #[error("a thread of the query stopped thread={thread}")]
    ThreadLost {
        /// Which one.
        thread: String,
    },
    /// EXE-003 · Bug · a contract inside the runtime was broken.
    #[error("internal: {what}")]
    Contract {
        /// What was found.
        what: String,
    },
}

impl Coded for RuntimeError {
    fn code(&self) -> Code {
        match self {
            RuntimeError::Reported(fault) => fault.code,
            RuntimeError::Connector(error) => error.code(),
            RuntimeError::Checkpoint(error) => error.code(),
            RuntimeError::Refused(refusal) => refusal.code(),
            RuntimeError::Operator(error) => error.code(),
            RuntimeError::ThreadLost { .. } => Code("EXE-002"),
            RuntimeError::Contract { .. } => Code("EXE-003"),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            RuntimeError::Reported(fault) => fault.hint.clone(),
            RuntimeError::Connector(error) => error.hint(),
            RuntimeError::Checkpoint(error) => error.hint(),
            RuntimeError::Refused(refusal) => refusal.hint(),
            RuntimeError::Operator(error) => error.hint(),
            RuntimeError::ThreadLost { .. } | RuntimeError::Contract { .. } => None,
        }
    }
}
