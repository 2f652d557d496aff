//! Stateless steps, fused into one timely operator.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

/// One step of a chain. Expressions see the columns that the step before left.
#[derive(Clone, Debug)]
pub enum Step {
    /// Keeps rows for which the expression is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Computes new columns.
    Project {
        /// One expression a column.
        expressions: Vec<Arc<dyn PhysicalExpr>>,
        /// The columns they make.
        schema: SchemaRef,
    },
    /// Notes the newest event time for a watermark definition; rows pass unchanged.
    Mark {
        /// Index in the plan's definitions.
        definition: u32,
        /// A timestamp column.
        column: usize,
    },
}

/// The steps of one chain and the columns it ends with.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    /// At least one step.
    pub steps: Vec<Step>,
    /// Columns after the last step.
    pub output: SchemaRef,
}
