//! Late rows: a second way out of the stream below an aggregation.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::{
    logical_expr::{LogicalPlan, TableScan},
    physical_expr::PhysicalExpr,
};
use millstream_operators::aggregate::TimeKey;
use millstream_runtime::plan::{LateOutput, Node};

use super::{Above, Lowering, Stream, arrow_schema, refuse};
use crate::{SqlError, error::from_datafusion};

impl Lowering {
    /// The steps between late rows and their sink.
    pub(super) fn late_output(&mut self, plan: &LogicalPlan) -> Result<LateOutput, SqlError> {
        let stream = self.node(plan, Above::Nothing)?;
        let schema = arrow_schema(&stream.schema);
        let node = self.seal(stream)?;
        let stateless = self.state_below(node).is_none();
        stateless
            .then_some(LateOutput { node, schema })
            .ok_or_else(refuse::late_state)
    }

    /// Reads late rows; the aggregation has left them here.
    pub(super) fn late_scan(&mut self, scan: &TableScan) -> Result<Stream, SqlError> {
        let mut stream = self.late.take().ok_or_else(refuse::no_late_rows)?;
        let columns = match &scan.projection {
            Some(columns) => columns.clone(),
            None => (0..stream.schema.fields().len()).collect(),
        };
        let picked = stream.columns();
        let picked = columns.iter().map(|column| Arc::clone(&picked[*column]));
        stream.project(picked.collect(), arrow_schema(&scan.projected_schema))?;
        stream.schema = Arc::clone(&scan.projected_schema);
        stream.marks = vec![None; columns.len()];
        Ok(stream)
    }

    /// The same rows, so that two readers can have them.
    pub(super) fn shared(&mut self, stream: Stream) -> Result<Stream, SqlError> {
        let (schema, marks) = (Arc::clone(&stream.schema), stream.marks.clone());
        Ok(Stream {
            base: self.seal(stream)?,
            steps: Vec::new(),
            schema,
            marks,
        })
    }

    /// The rows of a stream that an aggregation with this time key drops, as they are.
    pub(super) fn late_rows(
        &mut self,
        stream: &Stream,
        time: TimeKey,
        expressions: &[Arc<dyn PhysicalExpr>],
        input: &SchemaRef,
    ) -> Result<Stream, SqlError> {
        // What decides stands behind the columns until the late rows are found.
        let all = stream.columns();
        let count = all.len();
        let schema = arrow_schema(&stream.schema);
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        let mut wide = all.clone();
        let mut beside = |column: usize| {
            let name = format!("__late_{}", wide.len());
            fields.push(Arc::new(input.field(column).clone().with_name(name)));
            wide.push(Arc::clone(&expressions[column]));
            wide.len() - 1
        };
        let time = match time {
            TimeKey::None | TimeKey::Counted { .. } => return Err(refuse::never_late()),
            TimeKey::Instant { column } => TimeKey::Instant {
                column: beside(column),
            },
            TimeKey::Windowed { column } => TimeKey::Windowed {
                column: beside(column),
            },
            TimeKey::Window { column, spec } => TimeKey::Window {
                column: beside(column),
                spec,
            },
            TimeKey::Session { column, gap } => TimeKey::Session {
                column: beside(column),
                gap: beside(gap),
            },
        };
        let mut decided = Stream {
            base: stream.base,
            steps: Vec::new(),
            schema: Arc::clone(&stream.schema),
            marks: stream.marks.clone(),
        };
        let wide_schema = Arc::new(Schema::new(fields));
        decided.project(wide, Arc::clone(&wide_schema))?;
        decided.schema = Arc::new(
            datafusion::common::DFSchema::try_from(wide_schema.as_ref().clone())
                .map_err(from_datafusion)?,
        );
        let decided = self.seal(decided)?;
        let mut late = Stream {
            base: self.push(Node::Late {
                input: decided,
                time,
            }),
            steps: Vec::new(),
            schema: Arc::clone(&stream.schema),
            marks: vec![None; count],
        };
        late.project(all, schema)?;
        Ok(late)
    }
}
