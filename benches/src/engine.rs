//! The engine's side of the comparison: the one file that runs Millstream itself.

use std::path::Path;

use crate::{
    checksum::Outcome,
    error::{BenchError, Result},
};

/// Queries that [`run_engine`] knows.
pub(crate) const QUERIES: [&str; 0] = [];

/// Runs a query of the suite over the files of `dir` with a number of workers: trigger
/// available-now, checkpoint on the local disk, a sink that drops rows.
///
/// The outcome counts input rows, result rows and their checksum as [`checksum`](crate::checksum)
/// says. Time and memory are the caller's to measure: it runs this alone in a process.
pub(crate) fn run_engine(query: &str, _dir: &Path, _workers: usize) -> Result<Outcome> {
    Err(BenchError::NotBuilt {
        query: query.to_owned(),
    })
}
