//! Arithmetic of constants, computed with the checks that rows get.
//!
//! DataFusion's simplifier computes `2147483647 + 1` without a check and would put a wrapped number
//! into the plan. This rule comes first: it computes what it can, and what fails becomes a call that
//! fails when a row reaches it, as Spark does: `CASE WHEN x THEN 1/0 END` fails for no row without `x`.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema},
};
use datafusion::{
    common::{
        DFSchema, Result, ScalarValue,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    execution::context::ExecutionProps,
    logical_expr::{
        ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
        ScalarUDFImpl, Signature, Volatility, expr::ScalarFunction,
        physical_planning_context::PhysicalPlanningContext,
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
    physical_expr::{create_physical_expr, expressions::BinaryExpr},
};
use millstream_operators::error::with_condition;

use crate::functions::misfit::failed;

/// The rule.
#[derive(Debug)]
pub(crate) struct FoldArithmetic;

impl OptimizerRule for FoldArithmetic {
    fn name(&self) -> &str {
        "fold_arithmetic"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        plan.map_expressions(|expr| {
            let name = datafusion::logical_expr::expr_rewriter::NamePreserver::new_for_projection()
                .save(&expr);
            Ok(expr
                .transform_up(fold)?
                .update_data(|folded| name.restore(folded)))
        })
    }
}

fn fold(expr: Expr) -> Result<Transformed<Expr>> {
    if let Expr::Cast(cast) = &expr
        && matches!(cast.expr.as_ref(), Expr::Literal(ScalarValue::Utf8(_), _))
        && let Err(error) = evaluated(&expr, &DFSchema::empty())
    {
        let data_type = cast.field.data_type().clone();
        return Ok(Transformed::yes(raise(with_condition(&error), data_type)));
    }
    let Expr::BinaryExpr(binary) = &expr else {
        return Ok(Transformed::no(expr));
    };
    let checked = matches!(
        binary.op,
        Operator::Plus | Operator::Minus | Operator::Multiply
    );
    if !checked || !is_constant(&expr)? {
        return Ok(Transformed::no(expr));
    }
    let schema = DFSchema::empty();
    let data_type = expr.get_type(&schema)?;
    if !data_type.is_integer() {
        return Ok(Transformed::no(expr));
    }
    Ok(Transformed::yes(match evaluated(&expr, &schema) {
        Ok(value) => Expr::Literal(value, None),
        Err(error) => raise(with_condition(&error), data_type),
    }))
}

/// Whether an expression has the same value for all rows and epochs.
fn is_constant(expr: &Expr) -> Result<bool> {
    let mut constant = true;
    expr.apply(|part| {
        let moves = match part {
            Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
            Expr::Literal(..)
            | Expr::BinaryExpr(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::Negative(_)
            | Expr::Case(_) => false,
            _ => true,
        };
        constant &= !moves;
        Ok(if moves {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    Ok(constant)
}

fn evaluated(expr: &Expr, schema: &DFSchema) -> Result<ScalarValue> {
    let context = PhysicalPlanningContext::default();
    let physical = create_physical_expr(expr, schema, &ExecutionProps::new(), &context)?
        .transform(|part| {
            Ok(match part.downcast_ref::<BinaryExpr>() {
                Some(binary) => {
                    Transformed::yes(Arc::new(binary.clone().with_fail_on_overflow(true)) as _)
                }
                None => Transformed::no(part),
            })
        })
        .data()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    match physical.evaluate(&row)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0),
    }
}

/// A call that fails for the first row.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Raise {
    message: String,
    data_type: DataType,
    signature: Signature,
}

fn raise(message: String, data_type: DataType) -> Expr {
    let function = ScalarUDF::from(Raise {
        message,
        data_type,
        // Not immutable, or else the simplifier would call it.
        signature: Signature::nullary(Volatility::Volatile),
    });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), Vec::new()))
}

impl ScalarUDFImpl for Raise {
    fn name(&self) -> &str {
        "raise"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if args.number_rows == 0 {
            return ScalarValue::try_new_null(&self.data_type).map(ColumnarValue::Scalar);
        }
        Err(failed(self.message.clone()))
    }
}
