//! `array[0]` is the first element for Spark; DataFusion counts from one.

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, Result},
    functions_nested::expr_fn::array_element,
    logical_expr::{
        ExprSchemable, GetFieldAccess, cast, lit,
        planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr},
    },
};

/// Plans subscripts of arrays.
#[derive(Debug)]
pub(crate) struct SparkSubscripts;

impl ExprPlanner for SparkSubscripts {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let is_list = matches!(
            access.expr.get_type(schema)?,
            DataType::List(_) | DataType::LargeList(_)
        );
        let GetFieldAccess::ListIndex { key } = access.field_access.clone() else {
            return Ok(PlannerResult::Original(access));
        };
        if !is_list {
            return Ok(PlannerResult::Original(access));
        }
        let position = cast(*key, DataType::Int64) + lit(1i64);
        Ok(PlannerResult::Planned(array_element(access.expr, position)))
    }
}
