//! What happens to a value that cannot be read, and how a query fails by one.

use datafusion::common::DataFusionError;
use millstream_types::Coded;
use millstream_values::ValueError;

use crate::SqlError;

/// See there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// The query stops, as ANSI SQL wants it.
    Fails,
    /// There is no value.
    IsNull,
}

/// A failure on a row: stops the query, as ANSI SQL wants it.
pub(crate) fn failed(what: impl Into<String>) -> DataFusionError {
    DataFusionError::Execution(what.into())
}

/// What values refuse: rows make a query fail, options and types are errors of its text.
pub(super) fn refused(error: ValueError) -> DataFusionError {
    if error.code().0 == "EXE-001" {
        return failed(error.to_string());
    }
    SqlError::from(error).into_datafusion()
}
