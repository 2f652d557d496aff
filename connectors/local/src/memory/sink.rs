//! The memory sink: a table named after the query, in the hub.

use std::collections::BTreeMap;

use millstream_connectors_api::{
    ConnectorError, EpochWrite, Guarantee, Sink, SinkContext, SinkReceipt, SinkRows,
};
use millstream_types::{Epoch, OutputMode};

use super::hub::MemoryHub;

/// Holds rows until their epoch is committed.
#[derive(Debug)]
pub(super) struct MemorySink {
    hub: MemoryHub,
    query: String,
    mode: OutputMode,
    pending: BTreeMap<Epoch, Vec<SinkRows>>,
}

impl MemorySink {
    pub(super) fn new(hub: MemoryHub, query: String) -> MemorySink {
        MemorySink {
            hub,
            query,
            mode: OutputMode::Append,
            pending: BTreeMap::new(),
        }
    }
}

impl Sink for MemorySink {
    fn description(&self) -> String {
        "MemorySink".to_owned()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn open(&mut self, context: &SinkContext) -> Result<(), ConnectorError> {
        self.mode = context.mode;
        self.hub.open_output(&self.query, &context.schema);
        Ok(())
    }

    fn last_committed(&mut self) -> Result<Option<Epoch>, ConnectorError> {
        self.pending.clear();
        Ok(self.hub.committed(&self.query))
    }

    fn write(&mut self, write: &EpochWrite) -> Result<(), ConnectorError> {
        let rows = write.body.as_rows()?.clone();
        self.pending.entry(write.epoch).or_default().push(rows);
        Ok(())
    }

    fn stage(&mut self, _epoch: Epoch) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch) -> Result<SinkReceipt, ConnectorError> {
        let writes = self.pending.remove(&epoch).unwrap_or_default();
        let rows = self.hub.commit(&self.query, epoch, self.mode, writes);
        Ok(SinkReceipt { rows })
    }
}
