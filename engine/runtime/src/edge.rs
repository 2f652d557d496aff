//! The threads on which connectors do asynchronous IO: one small tokio runtime a process, for all
//! queries. Workers never run on it and it never runs operators.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::RuntimeError;

/// Enough to keep sockets moving; what takes long has a thread of its own.
const THREADS: usize = 2;

static EDGE: OnceLock<Option<Runtime>> = OnceLock::new();

/// The shared runtime, which the first query starts.
///
/// # Errors
/// When the system has no threads to give.
pub(crate) fn handle() -> Result<Handle, RuntimeError> {
    EDGE.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("millstream-io")
            .enable_all()
            .build()
            .ok()
    })
    .as_ref()
    .map(|runtime| runtime.handle().clone())
    .ok_or_else(|| RuntimeError::ThreadLost {
        thread: "millstream-io".to_owned(),
    })
}
