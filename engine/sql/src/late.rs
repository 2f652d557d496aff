//! `late_rows('query')`: the rows that a query drops as late, as a table that INSERT may read.
//!
//! They leave the dataflow of the query that drops them, in the same epochs, and their sink commits
//! with that query's. So the two are planned together: a [`LateBarrier`] below the aggregation keeps
//! every column of its input for whoever wants the late rows, and a second, stateless plan over the
//! table `late_rows` becomes the steps between that place and the second sink.

use std::{collections::HashSet, fmt, sync::Arc};

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::{
        DFSchemaRef, Result, TableReference,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        Expr, Extension, LogicalPlan, LogicalPlanBuilder, TableSource, UserDefinedLogicalNodeCore,
    },
    sql::sqlparser::tokenizer::Token,
};

use crate::{
    QueryText, SqlError, error::from_datafusion, undetermined::Undetermined, watermark::extension,
    words::is_word,
};

/// Name of the table function.
pub(crate) const LATE_ROWS: &str = "late_rows";

/// The query whose late rows a text reads, if it reads any.
#[must_use]
pub fn reads_late_rows(query: &QueryText) -> Option<String> {
    query.tokens.windows(3).find_map(|tokens| {
        let opens = is_word(tokens.first(), LATE_ROWS) && tokens[1].token == Token::LParen;
        match &tokens[2].token {
            Token::SingleQuotedString(name) if opens => Some(name.clone()),
            Token::Word(name) if opens => Some(name.value.clone()),
            _ => None,
        }
    })
}

/// The scan of late rows, found again by the lowering.
pub(crate) struct LateScan {
    pub(crate) schema: SchemaRef,
}

impl TableSource for LateScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

pub(crate) fn is_late_scan(source: &dyn TableSource) -> bool {
    let source: &dyn std::any::Any = source;
    source.is::<LateScan>()
}

/// A plan that reads all late rows.
pub(crate) fn scan(schema: &SchemaRef) -> Result<LogicalPlan, SqlError> {
    let source = Arc::new(LateScan {
        schema: Arc::clone(schema),
    });
    LogicalPlanBuilder::scan(TableReference::bare(LATE_ROWS), source, None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

/// Keeps all columns and passes all rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct LateBarrier {
    pub(crate) input: Arc<LogicalPlan>,
}

impl UserDefinedLogicalNodeCore for LateBarrier {
    fn name(&self) -> &str {
        "LateBarrier"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LateBarrier")
    }

    fn with_exprs_and_inputs(
        &self,
        _exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let input = inputs
            .pop()
            .ok_or_else(|| SqlError::internal("a barrier lost its input").into_datafusion())?;
        Ok(LateBarrier {
            input: Arc::new(input),
        })
    }

    /// Conditions on keys go below, where the rows that they leave out are not late.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let all = 0..self.input.schema().fields().len();
        Some(vec![all.collect()])
    }
}

/// Puts the barrier below the one aggregation that reads rows of sources, and says which columns
/// its late rows have.
///
/// # Errors
/// [`SqlError::Unsupported`] when there is none, or more than one.
pub(crate) fn guard(plan: LogicalPlan) -> Result<(LogicalPlan, SchemaRef), SqlError> {
    let mut schemas = Vec::new();
    let guarded = plan
        .transform_up(|plan| {
            let LogicalPlan::Aggregate(mut aggregate) = plan else {
                return Ok(Transformed::no(plan));
            };
            if has_aggregate(&aggregate.input)? {
                return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
            }
            schemas.push(Arc::new(aggregate.input.schema().as_arrow().clone()));
            aggregate.input = Arc::new(LogicalPlan::Extension(Extension {
                node: Arc::new(LateBarrier {
                    input: aggregate.input,
                }),
            }));
            Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
        })
        .map_err(from_datafusion)?
        .data;
    match schemas.as_slice() {
        [schema] => Ok((guarded, Arc::clone(schema))),
        [] => Err(SqlError::unsupported(
            "late_rows of a query without an aggregation",
        )),
        _ => Err(SqlError::unsupported(
            "late_rows of a query with several aggregations over its tables",
        )),
    }
}

/// The barrier below an aggregation; above it the optimizer may have put a choice of columns.
pub(crate) fn below(input: &LogicalPlan) -> Option<&LogicalPlan> {
    if let LogicalPlan::Projection(projection) = input
        && projection
            .expr
            .iter()
            .all(|expr| matches!(expr, Expr::Column(_)))
    {
        return below(&projection.input);
    }
    if let Some(same) = extension::<Undetermined>(input) {
        return below(&same.input);
    }
    extension::<LateBarrier>(input).map(|_| input)
}

fn has_aggregate(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        found |= matches!(node, LogicalPlan::Aggregate(_));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
