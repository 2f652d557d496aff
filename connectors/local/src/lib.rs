//! Sources and sinks that need no service: files, memory, console, rate, nexmark.
//!
//! Owns one [`ConnectorFactory`](millstream_connectors_api::ConnectorFactory) for each, and the
//! text formats, which parse straight into Arrow columns. Knows nothing of SQL, timely or epochs
//! beyond the traits of `millstream-connectors-api`; reads no clock. All file operations are in
//! `files`.

mod buffers;
mod console;
mod file;
mod files;
mod format;
mod generate;
mod glob;
mod memory;
mod noop;
mod packing;
mod position;
mod registry;
#[cfg(test)]
mod testing;
mod write;

pub use console::{ConsoleConnector, SharedWriter, Shown, show};
pub use file::FileConnector;
pub use generate::{NexmarkConnector, RateConnector, RateMicroBatchConnector};
pub use memory::{MemoryConnector, MemoryHub, SignedRows};
pub use noop::NoopConnector;
pub use registry::{lookup, registry};
