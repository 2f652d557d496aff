//! The memory source: blocks that were added before a plan make up one epoch.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use millstream_connectors_api::{
    Ask, Chunk, ChunkBody, ConnectorError, Decoder, Flow, PlannedRange, Position, ReadLimit,
    RowDecoder, Source, SourceReader, Split, Splits,
};
use serde::{Deserialize, Serialize};

use super::hub::MemoryHub;
use crate::position;

/// Rows of a chunk at most.
const CHUNK_ROWS: usize = 8_192;

/// A table of the hub as a stream.
#[derive(Debug)]
pub(super) struct MemorySource {
    hub: MemoryHub,
    table: String,
    schema: SchemaRef,
    /// Blocks planned so far.
    planned: u64,
    frozen: Option<u64>,
}

/// What a range consists of: blocks `first..=last`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Detail {
    first: u64,
    last: u64,
}

fn detail(bytes: &[u8]) -> Result<Detail, ConnectorError> {
    position::parse(bytes, "a plan of a memory source cannot be read back")
}

/// Some blocks, if they are all in this process.
fn blocks(hub: &MemoryHub, table: &str, of: Detail) -> Result<Vec<RecordBatch>, ConnectorError> {
    let Detail { first, last } = of;
    hub.read_blocks(table, first..=last)
        .ok_or_else(|| ConnectorError::InputChanged {
            path: format!("memory:{table}"),
            reason: format!("blocks {first} to {last} are not in this process"),
        })
}

impl MemorySource {
    pub(super) fn new(hub: MemoryHub, table: String, schema: SchemaRef) -> MemorySource {
        MemorySource {
            hub,
            table,
            schema,
            planned: 0,
            frozen: None,
        }
    }
}

impl Source for MemorySource {
    fn description(&self) -> String {
        format!("MemoryStream[{}]", self.table)
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn freeze(&mut self, _now_ms: i64) -> Result<(), ConnectorError> {
        self.frozen = Some(self.hub.blocks(&self.table));
        Ok(())
    }

    fn plan(
        &mut self,
        _limit: ReadLimit,
        _now_ms: i64,
    ) -> Result<Option<PlannedRange>, ConnectorError> {
        let blocks = self.frozen.unwrap_or_else(|| self.hub.blocks(&self.table));
        if blocks <= self.planned {
            return Ok(None);
        }
        let detail = Detail {
            first: self.planned,
            last: blocks - 1,
        };
        let start = self.latest();
        self.planned = blocks;
        Ok(Some(PlannedRange {
            start,
            end: Position(detail.last.to_string()),
            detail: position::bytes(&detail)?,
        }))
    }

    fn latest(&self) -> Option<Position> {
        let last = self.planned.checked_sub(1)?;
        Some(Position(last.to_string()))
    }

    fn state(&self) -> Vec<u8> {
        position::bytes(&self.planned).unwrap_or_default()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), ConnectorError> {
        self.planned = position::parse(state, "the state of a memory source is damaged")?;
        Ok(())
    }

    fn replay(&mut self, range: &PlannedRange) -> Result<(), ConnectorError> {
        self.planned = detail(&range.detail)?.last + 1;
        Ok(())
    }

    fn ask_again(&self, _now_ms: i64) -> Ask {
        Ask::WhenWoken
    }

    fn splits(&self, range: &PlannedRange) -> Result<Splits, ConnectorError> {
        let found = blocks(&self.hub, &self.table, detail(&range.detail)?)?;
        let rows: usize = found.iter().map(RecordBatch::num_rows).sum();
        let split = Split {
            extent: rows as u64,
            detail: range.detail.clone(),
        };
        Ok(Box::new(std::iter::once(Ok(split))))
    }

    fn reader(&self) -> Result<Box<dyn SourceReader>, ConnectorError> {
        Ok(Box::new(MemoryReader {
            hub: self.hub.clone(),
            table: self.table.clone(),
        }))
    }

    fn decoder(&self, projection: &[usize]) -> Result<Box<dyn Decoder>, ConnectorError> {
        Ok(Box::new(RowDecoder::new(projection)))
    }

    fn settled(&mut self, _range: &PlannedRange) -> Result<(), ConnectorError> {
        // The blocks stay: a query may be started again from an older snapshot.
        Ok(())
    }
}

struct MemoryReader {
    hub: MemoryHub,
    table: String,
}

impl SourceReader for MemoryReader {
    fn read(
        &mut self,
        split: &Split,
        give: &mut dyn FnMut(Chunk) -> Flow,
    ) -> Result<(), ConnectorError> {
        let mut position = 0;
        for block in blocks(&self.hub, &self.table, detail(&split.detail)?)? {
            for start in (0..block.num_rows()).step_by(CHUNK_ROWS) {
                let rows = block.slice(start, (block.num_rows() - start).min(CHUNK_ROWS));
                let next = position + rows.num_rows() as u64;
                let body = ChunkBody::Rows(rows);
                if give(Chunk { position, body }) == Flow::Stop {
                    return Ok(());
                }
                position = next;
            }
        }
        Ok(())
    }
}
