//! What goes wrong inside operators.

use arrow::error::ArrowError;
use datafusion_common::DataFusionError;
use millstream_types::{Code, Coded, Epoch, Fault};

/// An error of an operator: it stops the query; nothing of its epoch is committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// EXE-001 · User · a row made an expression or an aggregate fail.
    #[error("{}{what} failed", condition_of(source).map(|name| format!("[{name}] ")).unwrap_or_default())]
    Expression {
        /// Which expression, as the plan prints it.
        what: String,
        /// What DataFusion said.
        source: DataFusionError,
    },
    /// The code of what failed · a table that the stream is joined with cannot be read.
    #[error("{}", .0.message)]
    Static(Box<Fault>),
    /// EXE-003 · Bug · columns are not what the plan says.
    #[error("internal: {what}")]
    Arrow {
        /// What was being done.
        what: &'static str,
        /// What arrow said.
        source: ArrowError,
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
    pub fn arrow(what: &'static str) -> impl FnOnce(ArrowError) -> OperatorError {
        move |source| OperatorError::Arrow { what, source }
    }

    /// For `map_err` on expressions.
    pub fn expression(what: impl ToString) -> impl FnOnce(DataFusionError) -> OperatorError {
        move |source| OperatorError::Expression {
            what: what.to_string(),
            source,
        }
    }

    /// A number or an instant that 64 bits cannot hold; for people, as Spark names it.
    #[must_use]
    pub fn overflow(what: &'static str) -> OperatorError {
        let source = ArrowError::ArithmeticOverflow("ARITHMETIC_OVERFLOW".to_owned());
        OperatorError::Expression {
            what: what.to_owned(),
            source: DataFusionError::ArrowError(Box::new(source), None),
        }
    }

    /// A broken contract.
    pub fn contract(what: impl Into<String>) -> OperatorError {
        OperatorError::Contract { what: what.into() }
    }
}

/// Spark's name of the condition that arrow's error stands for. Functions of our own write it into
/// their text themselves.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "open enums of other crates")]
pub fn condition_of(error: &DataFusionError) -> Option<&'static str> {
    let DataFusionError::ArrowError(error, _) = error.find_root() else {
        return None;
    };
    match error.as_ref() {
        ArrowError::ArithmeticOverflow(_) => Some("ARITHMETIC_OVERFLOW"),
        ArrowError::DivideByZero => Some("DIVIDE_BY_ZERO"),
        ArrowError::ParseError(_) => Some("CAST_INVALID_INPUT"),
        ArrowError::CastError(text) if text.starts_with("Can't cast") => Some("CAST_OVERFLOW"),
        ArrowError::CastError(text) if text.starts_with("Cannot cast") => {
            Some("CAST_INVALID_INPUT")
        }
        ArrowError::InvalidArgumentError(text) if text.contains("to store in a Decimal") => {
            Some("NUMERIC_VALUE_OUT_OF_RANGE")
        }
        _ => None,
    }
}

/// The error's text with [its condition](condition_of) before it.
#[must_use]
pub fn with_condition(error: &DataFusionError) -> String {
    let text = error.to_string();
    condition_of(error).map_or(text.clone(), |name| format!("[{name}] {text}"))
}

impl Coded for OperatorError {
    fn code(&self) -> Code {
        Code(match self {
            OperatorError::Static(fault) => return fault.code,
            OperatorError::Expression { .. } => "EXE-001",
            OperatorError::Arrow { .. } | OperatorError::Contract { .. } => "EXE-003",
            OperatorError::Frame { .. } => "EXE-004",
        })
    }

    fn hint(&self) -> Option<String> {
        match self {
            OperatorError::Static(fault) => fault.hint.clone(),
            OperatorError::Expression { .. }
            | OperatorError::Arrow { .. }
            | OperatorError::Contract { .. }
            | OperatorError::Frame { .. } => None,
        }
    }
}
