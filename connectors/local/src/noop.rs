//! The sink that counts rows and drops them: for benchmarks.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use millstream_connectors_api::{
    Capabilities, ConnectorError, ConnectorFactory, EpochWrite, Guarantee, OptionSpec, Sink,
    SinkContext, SinkReceipt, SinkRequest, Source, SourceContext, SourceRequest,
};
use millstream_types::Epoch;

const NAME: &str = "noop";

/// Makes sinks that drop rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopConnector;

/// Counts rows.
#[derive(Debug, Default)]
struct NoopSink {
    rows: BTreeMap<Epoch, u64>,
}

/// The error of connectors that can only be written.
pub(crate) fn no_source(connector: &'static str) -> ConnectorError {
    ConnectorError::Unsupported {
        connector,
        what: "has no source side".to_owned(),
    }
}

impl ConnectorFactory for NoopConnector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            source: false,
            sink: true,
            needs_checkpoint: false,
        }
    }

    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn schema(&self, _request: &SourceRequest) -> Result<SchemaRef, ConnectorError> {
        Err(no_source(NAME))
    }

    fn source(
        &self,
        _request: &SourceRequest,
        _context: SourceContext,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        Err(no_source(NAME))
    }

    fn sink(&self, request: &SinkRequest) -> Result<Box<dyn Sink>, ConnectorError> {
        request.options.check(NAME, &[])?;
        Ok(Box::new(NoopSink::default()))
    }
}

impl Sink for NoopSink {
    fn description(&self) -> String {
        "NoopSink".to_owned()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn discards_rows(&self) -> bool {
        true
    }

    fn open(&mut self, _context: &SinkContext) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn last_committed(&mut self) -> Result<Option<Epoch>, ConnectorError> {
        Ok(None)
    }

    fn write(&mut self, write: &EpochWrite) -> Result<(), ConnectorError> {
        *self.rows.entry(write.epoch).or_default() += write.body.rows();
        Ok(())
    }

    fn stage(&mut self, _epoch: Epoch) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch) -> Result<SinkReceipt, ConnectorError> {
        let rows = self.rows.remove(&epoch).unwrap_or(0);
        Ok(SinkReceipt { rows })
    }
}
