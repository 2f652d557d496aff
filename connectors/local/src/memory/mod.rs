//! Tables in memory: a stream that a program feeds, and a place where a query's rows can be read.
//!
//! Everything lives in a [`MemoryHub`], which a session shares with its queries, so a query can be
//! stopped and started again within the process. Nothing survives the process.

mod hub;
mod sink;
mod source;
#[cfg(test)]
mod tests;

use arrow::datatypes::SchemaRef;
use millstream_connectors_api::{
    Capabilities, ConnectorError, ConnectorFactory, OptionSpec, Sink, SinkRequest, Source,
    SourceContext, SourceRequest,
};

pub use hub::{MemoryHub, SignedRows};
use sink::MemorySink;
use source::MemorySource;

const NAME: &str = "memory";

/// Makes sources and sinks over the tables of one hub.
#[derive(Clone, Debug)]
pub struct MemoryConnector {
    hub: MemoryHub,
}

impl MemoryConnector {
    /// A connector over the tables of `hub`.
    #[must_use]
    pub fn new(hub: MemoryHub) -> MemoryConnector {
        MemoryConnector { hub }
    }
}

impl ConnectorFactory for MemoryConnector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            source: true,
            sink: true,
            needs_checkpoint: false,
        }
    }

    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn schema(&self, request: &SourceRequest) -> Result<SchemaRef, ConnectorError> {
        request.options.check(NAME, &[])?;
        self.hub.define(&request.table, request.schema.as_ref())
    }

    fn source(
        &self,
        request: &SourceRequest,
        context: SourceContext,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        let schema = self.schema(request)?;
        self.hub.watch(&request.table, &context.waker);
        let source = MemorySource::new(self.hub.clone(), request.table.clone(), schema);
        Ok(Box::new(source))
    }

    fn sink(&self, request: &SinkRequest) -> Result<Box<dyn Sink>, ConnectorError> {
        request.options.check(NAME, &[])?;
        Ok(Box::new(MemorySink::new(
            self.hub.clone(),
            request.table.clone(),
        )))
    }
}
