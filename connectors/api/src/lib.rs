//! What a source and a sink promise to the engine.
//!
//! A connector implements [`ConnectorFactory`] and one or both of [`Source`] and [`Sink`]; nothing
//! else of Millstream is needed to write one, and nothing here knows timely or SQL. Calls block: the
//! engine makes them on threads of their own, never on a worker.

mod context;
mod error;
mod factory;
mod journal;
mod options;
mod sink;
mod source;

pub use context::{Journal, Journals, SourceContext, Wake, Waker};
pub use error::ConnectorError;
pub use factory::{Capabilities, ConnectorFactory, SinkRequest, SourceRequest};
pub use journal::MemoryJournals;
pub use options::{OptionSpec, Options};
pub use sink::{
    Encoded, EpochWrite, Guarantee, Sink, SinkContext, SinkEncoder, SinkReceipt, SinkRows,
    WriteBody,
};
pub use source::{
    Ask, Chunk, ChunkBody, DecodeReport, Decoder, Flow, PlannedRange, Position, Prefetch,
    ReadLimit, RowDecoder, Source, SourceReader, Split, Splits,
};
