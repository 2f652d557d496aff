//! `dropDuplicates`: keys, and how long they are kept.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::{common::DFSchema, logical_expr::Expr, physical_expr::expressions::Column};
use millstream_operators::join::{DedupSpec, KeyLife};
use millstream_runtime::plan::{Node, retracts};
use millstream_types::OperatorId;

use super::{Above, Lowering, Mark, Reads, Stream, arrow_schema, refuse};
use crate::{SqlError, dedup::DedupNode, error::from_datafusion, functions::window::window_end};

/// Microseconds of event time that are kept together, at least.
const BUCKET_MIN: i64 = 1_000_000;

impl Lowering {
    pub(super) fn dedup(&mut self, dedup: &DedupNode) -> Result<Stream, SqlError> {
        let mut stream = self.node(&dedup.input, Above::State)?;
        let is_batch = matches!(self.reads, Reads::Batches(_));
        if dedup.within && (is_batch || stream.marked().is_none()) {
            return Err(refuse::no_watermark_within());
        }
        let mut keys = Vec::new();
        for key in &dedup.keys {
            keys.push(
                stream
                    .schema
                    .index_of_column(key)
                    .map_err(from_datafusion)?,
            );
        }
        let delays = self.marks.iter().map(|mark| mark.delay_ms);
        let delay = delays.max().unwrap_or(0).saturating_mul(1000);
        let (logical, marks) = (Arc::clone(&stream.schema), stream.marks.clone());
        let given = logical.fields().len();
        let time = if dedup.within {
            stream.marked()
        } else {
            stream.marked_key(&keys)
        };
        let life = match time {
            None => KeyLife::Forever,
            Some(time) => {
                let column = self.time_column(&mut stream, &time)?;
                match dedup.within {
                    true => KeyLife::Within { column, delay },
                    false => KeyLife::Time { column },
                }
            }
        };
        let schema = arrow_schema(&stream.schema);
        let input = self.seal(stream)?;
        if retracts(&self.nodes, input) {
            return Err(refuse::first_of_changes());
        }
        let operator = OperatorId(self.operators);
        self.operators += 1;
        let spec = DedupSpec {
            schema,
            given,
            keys,
            life,
            bucket: (delay / 8).max(BUCKET_MIN),
        };
        let base = self.push(Node::Dedup {
            input,
            operator,
            spec,
        });
        Ok(Stream {
            base,
            steps: Vec::new(),
            schema: logical,
            marks,
        })
    }

    /// The place of a time among the columns, behind which it is added if it is none.
    fn time_column(&self, stream: &mut Stream, time: &Expr) -> Result<usize, SqlError> {
        let physical = self.physical(time, &stream.schema)?;
        if let Some(column) = physical.downcast_ref::<Column>() {
            return Ok(column.index());
        }
        let schema = arrow_schema(&stream.schema);
        let field = physical.return_field(&schema).map_err(from_datafusion)?;
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        fields.push(Arc::new(field.as_ref().clone().with_name("__time")));
        let schema = Arc::new(Schema::new(fields));
        let mut expressions = stream.columns();
        expressions.push(physical);
        stream.project(expressions, Arc::clone(&schema))?;
        let place = schema.fields().len() - 1;
        stream.schema =
            Arc::new(DFSchema::try_from(schema.as_ref().clone()).map_err(from_datafusion)?);
        Ok(place)
    }
}

impl Stream {
    /// The time among some columns by which rows are late.
    fn marked_key(&self, keys: &[usize]) -> Option<Expr> {
        let key = |wanted: Mark| {
            let place = keys.iter().find(|key| self.marks[**key] == Some(wanted))?;
            Some(Expr::Column(self.schema.columns()[*place].clone()))
        };
        key(Mark::Instant).or_else(|| key(Mark::Window).map(window_end))
    }
}
