//! What goes wrong in a benchmark. Codes begin with `BEN`: they belong to this program alone.

use std::{io, path::PathBuf};

/// An error of a benchmark; the program prints it and ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("BEN-01: {0}")]
    Usage(String),
    #[error("BEN-02: cannot read or write path={path}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "BEN-03: no data in path={0}; make it with `cargo run --release -p millstream-benches -- data`"
    )]
    NoData(PathBuf),
    #[error("BEN-04: a line is not what the generator writes: {what}")]
    Line { what: &'static str },
    #[error("BEN-05: the engine is not built into this program yet query={query}")]
    NotBuilt { query: String },
    #[error("BEN-06: a run failed query={query} engine={engine}: {what}")]
    Run {
        query: String,
        engine: &'static str,
        what: String,
    },
    #[error("BEN-07: engines or runs disagree about the rows of {0}")]
    Disagree(String),
    #[error("BEN-08: {0}")]
    Flow(String),
    #[error(transparent)]
    Operator(#[from] millstream_operators::error::OperatorError),
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
}

/// Results of benchmarks.
pub(crate) type Result<T, E = BenchError> = std::result::Result<T, E>;

impl BenchError {
    /// For `map_err` on file operations.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BenchError {
        let path = path.into();
        move |source| BenchError::Io { path, source }
    }
}
