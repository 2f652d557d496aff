//! A plan about whose columns nothing is known to determine anything.
//!
//! DataFusion concludes that keys of a result determine its other columns and leaves out what a key
//! determines: sort keys, DISTINCT. A sliding window makes several rows of one, so what was
//! determined below an aggregation by windows is not above it.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{DFSchema, DFSchemaRef, FunctionalDependencies, Result},
    logical_expr::{Aggregate, Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore},
};

use crate::SqlError;

/// Passes rows and forgets what determines what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Undetermined {
    pub(crate) input: Arc<LogicalPlan>,
    schema: DFSchemaRef,
}

impl PartialOrd for Undetermined {
    fn partial_cmp(&self, other: &Undetermined) -> Option<std::cmp::Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl Undetermined {
    fn new(input: Arc<LogicalPlan>) -> Result<Undetermined> {
        let schema = DFSchema::clone(input.schema());
        let schema = schema.with_functional_dependencies(FunctionalDependencies::empty())?;
        Ok(Undetermined {
            input,
            schema: Arc::new(schema),
        })
    }
}

/// The same aggregation over rows of which nothing is known to determine anything.
pub(crate) fn aggregate(aggregate: Aggregate) -> Result<Aggregate> {
    let node = Undetermined::new(aggregate.input)?;
    let input = LogicalPlan::Extension(Extension {
        node: Arc::new(node),
    });
    Aggregate::try_new(Arc::new(input), aggregate.group_expr, aggregate.aggr_expr)
}

impl UserDefinedLogicalNodeCore for Undetermined {
    fn name(&self) -> &str {
        "Undetermined"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Undetermined")
    }

    fn with_exprs_and_inputs(
        &self,
        _exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let input = inputs
            .pop()
            .ok_or_else(|| SqlError::internal("a node lost its input").into_datafusion())?;
        Undetermined::new(Arc::new(input))
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}
