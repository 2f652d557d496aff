//! What stops a query.

use millstream_connectors_api::ConnectorError;
use millstream_epoch::{EpochError, Refusal};
use millstream_operators::error::OperatorError;
use millstream_types::{Code, Coded, Epoch, Fault};

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
    /// From a source that could not be asked or read, and may be again.
    #[error(transparent)]
    Unreachable(ConnectorError),
    /// From the checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] EpochError),
    /// CKP-006 or CKP-008 · the facts of the checkpoint and the sink contradict each other.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// From an operator while the dataflow is built.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// CKP-009 · Corrupt · an epoch that runs again gives something else than before.
    #[error("an epoch gives something else than before epoch={epoch} {what}: was={was} is={is}")]
    ReplayDiffers {
        /// The epoch.
        epoch: Epoch,
        /// `rows read` or `watermark`.
        what: &'static str,
        /// What the log says.
        was: String,
        /// What it gives now.
        is: String,
    },
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

impl RuntimeError {
    /// What a source says: where the system refused to list or to read, it may be tried again.
    pub(crate) fn of_source(error: ConnectorError) -> RuntimeError {
        if matches!(error, ConnectorError::Io { .. }) {
            RuntimeError::Unreachable(error)
        } else {
            RuntimeError::Connector(error)
        }
    }

    /// What an operator hears of state that cannot be read or taken.
    pub(crate) fn of_state(self) -> OperatorError {
        OperatorError::State {
            is_passing: self.is_passing(),
            fault: self.fault(),
        }
    }

    /// Whether something outside stood in the way: what was tried changed nothing and may be tried
    /// again, though not for ever.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        match self {
            RuntimeError::Unreachable(_) => true,
            RuntimeError::Connector(error) => error.is_refused(),
            RuntimeError::Checkpoint(error) => error.is_refused(),
            RuntimeError::Reported(_)
            | RuntimeError::Refused(_)
            | RuntimeError::Operator(_)
            | RuntimeError::ReplayDiffers { .. }
            | RuntimeError::ThreadLost { .. }
            | RuntimeError::Contract { .. } => false,
        }
    }

    /// Whether there was no room: what was tried changed nothing and may be tried again.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            RuntimeError::Connector(error) | RuntimeError::Unreachable(error) => {
                error.is_disk_full()
            }
            RuntimeError::Checkpoint(error) => error.is_disk_full(),
            RuntimeError::Reported(_)
            | RuntimeError::Refused(_)
            | RuntimeError::Operator(_)
            | RuntimeError::ReplayDiffers { .. }
            | RuntimeError::ThreadLost { .. }
            | RuntimeError::Contract { .. } => false,
        }
    }

    /// Whether a snapshot that failed with this may be tried again: the disk refused, but nothing
    /// is unknown about what is on it.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        let passing = matches!(
            self,
            RuntimeError::Checkpoint(EpochError::Disk { .. })
                | RuntimeError::Operator(OperatorError::State {
                    is_passing: true,
                    ..
                })
        );
        passing || self.is_disk_full()
    }
}

impl Coded for RuntimeError {
    fn code(&self) -> Code {
        match self {
            RuntimeError::Reported(fault) => fault.code,
            RuntimeError::Connector(error) | RuntimeError::Unreachable(error) => error.code(),
            RuntimeError::Checkpoint(error) => error.code(),
            RuntimeError::Refused(refusal) => refusal.code(),
            RuntimeError::Operator(error) => error.code(),
            RuntimeError::ReplayDiffers { .. } => Code("CKP-009"),
            RuntimeError::ThreadLost { .. } => Code("EXE-002"),
            RuntimeError::Contract { .. } => Code("EXE-003"),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            RuntimeError::Reported(fault) => fault.hint.clone(),
            RuntimeError::Connector(error) | RuntimeError::Unreachable(error) => error.hint(),
            RuntimeError::Checkpoint(error) => error.hint(),
            RuntimeError::Refused(refusal) => refusal.hint(),
            RuntimeError::Operator(error) => error.hint(),
            RuntimeError::ReplayDiffers { .. }
            | RuntimeError::ThreadLost { .. }
            | RuntimeError::Contract { .. } => None,
        }
    }
}
