//! ORDER BY, LIMIT and explode.
//!
//! Above an aggregation in complete mode each epoch is a whole result, so it can be ordered and
//! cut. Everywhere else LIMIT counts rows over the life of the query and ORDER BY is refused.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::tree_node::TreeNode,
    logical_expr::{Expr, FetchType, Limit, LogicalPlan, SkipType, Sort, SortExpr, Unnest},
};
use millstream_operators::{arrange::SortColumn, chain::Step};
use millstream_runtime::plan::Node;
use millstream_types::{OperatorId, OutputMode};

use super::{Above, Lowering, Stream, arrow_schema, refuse};
use crate::{SqlError, error::from_datafusion};

/// Whether rows of a plan are groups, which may change from epoch to epoch.
fn has_groups(plan: &LogicalPlan) -> bool {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(_))))
        .unwrap_or(true)
}

impl Lowering {
    /// Whether each epoch brings the plan's whole result.
    fn is_whole(&self, plan: &LogicalPlan, above: Above) -> bool {
        self.mode == OutputMode::Complete && above == Above::Nothing && has_groups(plan)
    }

    pub(super) fn sort(&mut self, sort: &Sort, above: Above) -> Result<Stream, SqlError> {
        if self.mode == OutputMode::Changes && has_groups(&sort.input) && above == Above::Nothing {
            return Err(refuse::sorted_changes());
        }
        if !self.is_whole(&sort.input, above) {
            return Err(refuse::sort());
        }
        let mut stream = self.node(&sort.input, above)?;
        let (order, computed) = self.sort_columns(&sort.expr, &stream)?;
        let schema = arrow_schema(&stream.schema);
        if computed.is_empty() {
            return Ok(self.arranged(stream, order, sort.fetch));
        }
        // Sort keys that are no columns stand beside the columns until the rows are in order.
        let columns = stream.schema.fields().len();
        let mut expressions = stream.columns();
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        for (idx, expr) in computed.iter().enumerate() {
            let physical = self.physical(expr, &stream.schema)?;
            let field = physical
                .return_field(stream.schema.as_arrow())
                .map_err(from_datafusion)?;
            let name = format!("__sort_{idx}");
            fields.push(Arc::new(field.as_ref().clone().with_name(name)));
            expressions.push(physical);
        }
        let wide = Arc::new(arrow::datatypes::Schema::new(fields));
        stream.project(expressions, Arc::clone(&wide))?;
        let logical = Arc::clone(&stream.schema);
        let marks = stream.marks.clone();
        stream.schema = Arc::new(
            datafusion::common::DFSchema::try_from(wide.as_ref().clone())
                .map_err(from_datafusion)?,
        );
        let mut stream = self.arranged(stream, order, sort.fetch);
        let narrow = stream.columns().into_iter().take(columns).collect();
        stream.project(narrow, schema)?;
        stream.schema = logical;
        stream.marks = marks;
        Ok(stream)
    }

    /// The columns to sort by; an expression that is no column is counted on from the last one.
    fn sort_columns(
        &self,
        sorts: &[SortExpr],
        stream: &Stream,
    ) -> Result<(Vec<SortColumn>, Vec<Expr>), SqlError> {
        let mut computed = Vec::new();
        let mut order = Vec::new();
        for sort in sorts {
            let column = match &sort.expr {
                Expr::Column(column) => stream
                    .schema
                    .index_of_column(column)
                    .map_err(from_datafusion)?,
                other => {
                    computed.push(other.clone());
                    stream.schema.fields().len() + computed.len() - 1
                }
            };
            order.push(SortColumn {
                column,
                descending: !sort.asc,
                nulls_first: sort.nulls_first,
            });
        }
        Ok((order, computed))
    }

    fn arranged(&mut self, stream: Stream, order: Vec<SortColumn>, limit: Option<usize>) -> Stream {
        let schema = Arc::clone(&stream.schema);
        let marks = stream.marks.clone();
        let input = self.seal(stream);
        let base = self.push(Node::Arrange {
            input,
            order,
            limit,
        });
        Stream {
            base,
            steps: Vec::new(),
            schema,
            marks,
        }
    }

    pub(super) fn limit(&mut self, limit: &Limit, above: Above) -> Result<Stream, SqlError> {
        let skip = limit.get_skip_type().map_err(from_datafusion)?;
        if !matches!(skip, SkipType::Literal(0)) {
            return Err(refuse::offset());
        }
        let rows = match limit.get_fetch_type().map_err(from_datafusion)? {
            FetchType::Literal(Some(rows)) => rows,
            FetchType::Literal(None) => return self.node(&limit.input, above),
            FetchType::UnsupportedExpr => return Err(refuse::limit_value()),
        };
        if self.is_whole(&limit.input, above) {
            let stream = self.node(&limit.input, above)?;
            return self.cut(stream, rows);
        }
        if self.mode == OutputMode::Update
            || (self.mode == OutputMode::Changes && has_groups(&limit.input))
        {
            return Err(refuse::limit(self.mode));
        }
        let stream = self.node(&limit.input, above)?;
        let schema = Arc::clone(&stream.schema);
        let marks = stream.marks.clone();
        let input = self.seal(stream);
        let operator = OperatorId(self.operators);
        self.operators += 1;
        let base = self.push(Node::Limit {
            input,
            operator,
            schema: arrow_schema(&schema),
            rows: rows as u64,
        });
        Ok(Stream {
            base,
            steps: Vec::new(),
            schema,
            marks,
        })
    }

    /// The first rows of each epoch, in the order that stands below.
    fn cut(&mut self, stream: Stream, rows: usize) -> Result<Stream, SqlError> {
        let one_to_one = stream
            .steps
            .iter()
            .all(|step| matches!(step, Step::Project { .. }));
        match self.nodes.get_mut(stream.base.0) {
            Some(Node::Arrange { limit, .. }) if one_to_one => {
                *limit = Some(limit.map_or(rows, |limit| limit.min(rows)));
                Ok(stream)
            }
            Some(Node::Arrange { .. }) => Err(SqlError::unsupported(
                "LIMIT above a condition above ORDER BY",
            )),
            _ => Ok(self.arranged(stream, Vec::new(), Some(rows))),
        }
    }

    pub(super) fn unnest(&mut self, unnest: &Unnest, above: Above) -> Result<Stream, SqlError> {
        let mut stream = self.node(&unnest.input, above)?;
        let [(column, list)] = unnest.list_type_columns.as_slice() else {
            return Err(SqlError::unsupported(
                if unnest.list_type_columns.is_empty() {
                    "unnesting a struct"
                } else {
                    "more than one explode in a SELECT"
                },
            ));
        };
        let schema = arrow_schema(&unnest.schema);
        let in_place = unnest
            .dependency_indices
            .iter()
            .enumerate()
            .all(|(output, input)| output == *input);
        let is_list = matches!(
            stream.schema.field(*column).data_type(),
            DataType::List(_) | DataType::LargeList(_)
        );
        if list.depth != 1 || !is_list || !in_place || !unnest.struct_type_columns.is_empty() {
            return Err(SqlError::unsupported("unnesting several levels at once"));
        }
        stream.steps.push(Step::Unnest {
            column: *column,
            // `explode_outer` gives its rows in the list already.
            outer: false,
            schema,
        });
        stream.schema = Arc::clone(&unnest.schema);
        if let Some(mark) = stream.marks.get_mut(*column) {
            *mark = None;
        }
        Ok(stream)
    }
}
