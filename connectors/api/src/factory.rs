//! How the engine gets at connectors by name.

use arrow::datatypes::SchemaRef;

use crate::{ConnectorError, OptionSpec, Options, Sink, Source, SourceContext};

/// Which sides a connector has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// It can be read.
    pub source: bool,
    /// It can be written.
    pub sink: bool,
    /// Its sink keeps rows for others, so a query into it needs a checkpoint of its own.
    pub needs_checkpoint: bool,
}

/// A table to be read.
#[derive(Clone, Debug)]
pub struct SourceRequest {
    /// Name of the table.
    pub table: String,
    /// The columns that the user gave, if any.
    pub schema: Option<SchemaRef>,
    /// The options, without the engine's own (`connector`, `mode`).
    pub options: Options,
}

/// A table to be written.
#[derive(Clone, Debug)]
pub struct SinkRequest {
    /// Name of the table, or of the query where there is no table.
    pub table: String,
    /// The options, without the engine's own.
    pub options: Options,
}

/// A connector: makes sources and sinks from options.
pub trait ConnectorFactory: Send + Sync {
    /// The name in `connector = '…'` and `format("…")`.
    fn name(&self) -> &'static str;

    /// Which sides it has.
    fn capabilities(&self) -> Capabilities;

    /// The options it understands, for `millstream options` and for refusing others.
    fn options(&self) -> Vec<OptionSpec>;

    /// The columns of a source with these options: fixed, inferred, or the user's own.
    /// Checks the options as far as possible without reading.
    ///
    /// # Errors
    /// When an option is impossible, the path does not exist, or a schema is missing or refused.
    fn schema(&self, request: &SourceRequest) -> Result<SchemaRef, ConnectorError>;

    /// Opens the source. Called at each start of a query, when its checkpoint is locked.
    ///
    /// # Errors
    /// As [`schema`](ConnectorFactory::schema), and when the outside cannot be reached.
    fn source(
        &self,
        request: &SourceRequest,
        context: SourceContext,
    ) -> Result<Box<dyn Source>, ConnectorError>;

    /// Makes the sink and checks its options; touches nothing outside. Called at each start of a
    /// query.
    ///
    /// # Errors
    /// When an option is impossible or the outside cannot be reached.
    fn sink(&self, request: &SinkRequest) -> Result<Box<dyn Sink>, ConnectorError>;
}
