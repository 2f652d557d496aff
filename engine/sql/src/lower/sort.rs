//! ORDER BY, LIMIT and explode.
//!
//! Above an aggregation in complete mode each epoch is a whole result, so it can be ordered and
//! cut. In mode `changes` the first rows of a result are kept up to date, and rows leave each epoch
//! in order. Everywhere else LIMIT counts rows over the life of the query and ORDER BY is refused.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::{
    common::tree_node::TreeNode,
    logical_expr::{Expr, FetchType, Limit, LogicalPlan, SkipType, Sort, SortExpr, Unnest},
};
use millstream_operators::{chain::Step, sort::SortColumn, top::TopSpec};
use millstream_runtime::plan::{Node, NodeId, columns_of, retracts};
use millstream_types::{OperatorId, OutputMode};

use super::{Above, Lowering, Stream, arrow_schema, refuse};
use crate::{SqlError, error::from_datafusion};

/// Whether rows of a plan are groups, which may change from epoch to epoch.
fn has_groups(plan: &LogicalPlan) -> bool {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(_))))
        .unwrap_or(true)
}

/// Whether the first rows of a plan may change from epoch to epoch.
fn is_arranged(plan: &LogicalPlan) -> bool {
    let changes =
        |node: &LogicalPlan| matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Sort(_));
    plan.exists(|node| Ok(changes(node))).unwrap_or(true)
}

impl Lowering {
    /// Whether each epoch brings the plan's whole result.
    fn is_whole(&self, plan: &LogicalPlan, above: Above) -> bool {
        self.mode == OutputMode::Complete && above == Above::Nothing && has_groups(plan)
    }

    pub(super) fn sort(&mut self, sort: &Sort, above: Above) -> Result<Stream, SqlError> {
        let changes = self.mode == OutputMode::Changes;
        if changes && above == Above::State && sort.fetch.is_none() {
            return self.node(&sort.input, above);
        }
        if !changes && !self.is_whole(&sort.input, above) {
            return Err(refuse::sort());
        }
        let mut stream = self.node(&sort.input, above)?;
        let (order, computed) = self.sort_columns(&sort.expr, &stream)?;
        let schema = arrow_schema(&stream.schema);
        if computed.is_empty() {
            return self.ordered(stream, order, sort.fetch);
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
        let mut stream = self.ordered(stream, order, sort.fetch)?;
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

    /// ORDER BY, and LIMIT if it goes with it.
    fn ordered(
        &mut self,
        stream: Stream,
        order: Vec<SortColumn>,
        limit: Option<usize>,
    ) -> Result<Stream, SqlError> {
        match limit {
            Some(rows) if self.mode == OutputMode::Changes => self.top(stream, order, (0, rows)),
            limit => self.sorted(stream, order, limit),
        }
    }

    /// The first rows of a result that changes.
    fn top(
        &mut self,
        stream: Stream,
        order: Vec<SortColumn>,
        (skip, rows): (usize, usize),
    ) -> Result<Stream, SqlError> {
        let schema = Arc::clone(&stream.schema);
        let marks = stream.marks.clone();
        let input = self.seal(stream)?;
        let node = self.top_node(input, arrow_schema(&schema), order, (skip, rows));
        Ok(Stream {
            base: self.push(node),
            steps: Vec::new(),
            schema,
            marks,
        })
    }

    fn top_node(
        &mut self,
        input: NodeId,
        schema: SchemaRef,
        order: Vec<SortColumn>,
        (skip, rows): (usize, usize),
    ) -> Node {
        let operator = OperatorId(self.operators);
        self.operators += 1;
        let spec = TopSpec {
            schema,
            order,
            skip,
            rows,
            retracting: retracts(&self.nodes, input),
        };
        Node::Top {
            input,
            operator,
            spec,
        }
    }

    /// LIMIT and OFFSET in mode `changes`.
    fn first(
        &mut self,
        limit: &Limit,
        (skip, rows): (usize, usize),
        above: Above,
    ) -> Result<Stream, SqlError> {
        let stream = self.node(&limit.input, above)?;
        let projects = |step: &Step| matches!(step, Step::Project { .. });
        let one_to_one = stream.steps.iter().all(projects);
        match self.nodes.get_mut(stream.base.0) {
            // ORDER BY that lets as many rows through as LIMIT and OFFSET together.
            Some(Node::Top { spec, .. }) if one_to_one => {
                spec.skip += skip;
                spec.rows = spec.rows.saturating_sub(skip).min(rows);
                Ok(stream)
            }
            Some(Node::Sort { input, order, .. }) if one_to_one => {
                let (input, order) = (*input, std::mem::take(order));
                let schema = self.schema_of(stream.base);
                let top = self.top_node(input, schema, order, (skip, rows));
                self.nodes[stream.base.0] = top;
                Ok(stream)
            }
            _ => self.top(stream, Vec::new(), (skip, rows)),
        }
    }

    /// The columns that leave a node.
    fn schema_of(&self, node: NodeId) -> SchemaRef {
        columns_of(&self.sources, &self.nodes, node)
    }

    fn sorted(
        &mut self,
        stream: Stream,
        order: Vec<SortColumn>,
        limit: Option<usize>,
    ) -> Result<Stream, SqlError> {
        let schema = Arc::clone(&stream.schema);
        let marks = stream.marks.clone();
        let input = self.seal(stream)?;
        let base = self.push(Node::Sort {
            input,
            order,
            limit,
        });
        Ok(Stream {
            base,
            steps: Vec::new(),
            schema,
            marks,
        })
    }

    pub(super) fn limit(&mut self, limit: &Limit, above: Above) -> Result<Stream, SqlError> {
        let skip = match limit.get_skip_type().map_err(from_datafusion)? {
            SkipType::Literal(skip) => skip,
            SkipType::UnsupportedExpr => return Err(refuse::limit_value()),
        };
        let changes = self.mode == OutputMode::Changes;
        if skip != 0 && !changes {
            return Err(refuse::offset());
        }
        let rows = match limit.get_fetch_type().map_err(from_datafusion)? {
            FetchType::Literal(Some(rows)) => rows,
            FetchType::Literal(None) if skip == 0 => return self.node(&limit.input, above),
            FetchType::Literal(None) => usize::MAX,
            FetchType::UnsupportedExpr => return Err(refuse::limit_value()),
        };
        if changes && (skip != 0 || is_arranged(&limit.input)) {
            return self.first(limit, (skip, rows), above);
        }
        if self.is_whole(&limit.input, above) {
            let stream = self.node(&limit.input, above)?;
            return self.cut(stream, rows);
        }
        if self.mode == OutputMode::Update {
            return Err(refuse::limit());
        }
        let stream = self.node(&limit.input, above)?;
        let schema = Arc::clone(&stream.schema);
        let marks = stream.marks.clone();
        let input = self.seal(stream)?;
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
            Some(Node::Sort { limit, .. }) if one_to_one => {
                *limit = Some(limit.map_or(rows, |limit| limit.min(rows)));
                Ok(stream)
            }
            Some(Node::Sort { .. }) => Err(SqlError::unsupported(
                "LIMIT above a condition above ORDER BY",
            )),
            _ => self.sorted(stream, Vec::new(), Some(rows)),
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
        // `explode_outer` gives its rows in the list already.
        stream
            .steps
            .push(Step::Unnest(millstream_operators::unnest::Unnest {
                column: *column,
                columns: (0..schema.fields().len()).collect(),
                schema,
            }));
        stream.schema = Arc::clone(&unnest.schema);
        // The elements of a list have its mark: only lists of windows have one.
        Ok(stream)
    }
}
