//! `array[0]` is the first element for Spark, and an index outside fails; DataFusion counts from one.
//! A text beside a number in arithmetic is a number.

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, Result},
    logical_expr::{
        BinaryExpr, Expr, ExprSchemable, GetFieldAccess, Operator,
        expr::ScalarFunction,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr},
    },
    sql::sqlparser::ast::BinaryOperator,
};

use crate::numbers::texts_as_numbers;

use super::arrays::{SUBSCRIPT, hidden_function};

/// Plans subscripts of arrays.
#[derive(Debug)]
pub(crate) struct SparkSubscripts;

impl ExprPlanner for SparkSubscripts {
    fn plan_binary_op(
        &self,
        raw: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let operator = match raw.op {
            BinaryOperator::Plus => Operator::Plus,
            BinaryOperator::Minus => Operator::Minus,
            BinaryOperator::Multiply => Operator::Multiply,
            BinaryOperator::Divide => Operator::Divide,
            BinaryOperator::Modulo => Operator::Modulo,
            _ => return Ok(PlannerResult::Original(raw)),
        };
        let types = (raw.left.get_type(schema)?, raw.right.get_type(schema)?);
        let (left, right) = (Box::new(raw.left.clone()), Box::new(raw.right.clone()));
        let binary = BinaryExpr::new(left, operator, right);
        Ok(match texts_as_numbers(&binary, &types.0, &types.1) {
            Some(numbers) => PlannerResult::Planned(Expr::BinaryExpr(numbers)),
            None => PlannerResult::Original(raw),
        })
    }

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
        let Some(function) = hidden_function(SUBSCRIPT) else {
            return Ok(PlannerResult::Original(access));
        };
        let call = ScalarFunction::new_udf(function, vec![access.expr, *key]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}
