//! One call of an aggregate function, as the planner hands it over.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;

/// One aggregate function over input columns.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// DataFusion's function with its argument types; its argument expressions are not used. It knows
    /// of no DISTINCT: who keeps each value once shows each value once.
    pub function: Arc<AggregateFunctionExpr>,
    /// Whether each different value counts once.
    pub distinct: bool,
    /// Input columns of the arguments, in order. Literal arguments are columns, too.
    pub arguments: Vec<usize>,
    /// Types of these columns.
    pub argument_types: Vec<DataType>,
    /// Input column of the FILTER clause, a boolean.
    pub filter: Option<usize>,
    /// Whether rows of the input are taken back: then no value may be forgotten.
    pub retracting: bool,
}
