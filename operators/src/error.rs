//! What goes wrong inside operators.

use millstream_types::{Code, Coded, Epoch};

/// An error of an operator: it stops the query; nothing of its epoch is committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// EXE-001 · User · a row made an expression or an aggregate fail.
    #[error("{what} failed")]
    Expression {
        /// Which expression, as the plan prints it.
        what: String,
        /// What DataFusion said.
        source: datafusion_common::DataFusionError,
    },
    /// EXE-003 · Bug · columns are not what the plan says.
    #[error("internal: {what}")]
    Arrow {
        /// What was being done.
        what: &'static str,
        /// What arrow said.
        source: arrow::error::ArrowError,
    },
    /// EXE-003 · Bug · an operator or its caller broke the contract.
    #[error("internal: {what}")]
    Contract {
        /// What was found.
        what: String,
    },
    /// EXE-004 · Data · an exchanged frame cannot be read.
    #[error("a frame between two workers is damaged epoch={epoch}")]
    Frame {
        /// The epoch in which it arrived.
        epoch: Epoch,
    },
}

/// Results of operators.
pub type Result<T, E = OperatorError> = std::result::Result<T, E>;

impl OperatorError {
    /// For `map_err` on arrow calls that cannot fail on columns of the planned types.
    pub fn arrow(what: &'static str) -> impl FnOnce(arrow::error::ArrowError) -> OperatorError {
        move |source| OperatorError::Arrow { what, source }
    }

    /// For `map_err` on expressions.
    pub fn expression(
        what: impl ToString,
    ) -> impl FnOnce(datafusion_common::DataFusionError) -> OperatorError {
        move |source| OperatorError::Expression {
            what: what.to_string(),
            source,
        }
    }

    /// A broken contract.
    pub fn contract(what: impl Into<String>) -> OperatorError {
        OperatorError::Contract { what: what.into() }
    }
}

impl Coded for OperatorError {
    fn code(&self) -> Code {
        Code(match self {
            OperatorError::Expression { .. } => "EXE-001",
            OperatorError::Arrow { .. } | OperatorError::Contract { .. } => "EXE-003",
            OperatorError::Frame { .. } => "EXE-004",
        })
    }
}
