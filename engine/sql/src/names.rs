//! Names of aggregates that tell casts apart.
//!
//! DataFusion names `sum(CAST(x AS DOUBLE))` as it names `sum(x)`, and one grouping cannot have two
//! columns of one name. An argument with a cast in it is therefore named by what it says.

use datafusion::{
    common::{Result, tree_node::TreeNode},
    logical_expr::{
        Expr,
        planner::{ExprPlanner, PlannerResult, RawAggregateExpr},
    },
};

/// Gives arguments with casts names of their own.
#[derive(Debug)]
pub(crate) struct NamedCasts;

impl ExprPlanner for NamedCasts {
    fn plan_aggregate(
        &self,
        mut call: RawAggregateExpr,
    ) -> Result<PlannerResult<RawAggregateExpr>> {
        let arguments = std::mem::take(&mut call.args).into_iter();
        call.args = arguments.map(named).collect();
        Ok(PlannerResult::Original(call))
    }
}

fn named(argument: Expr) -> Expr {
    let casts = argument
        .exists(|part| Ok(matches!(part, Expr::Cast(_) | Expr::TryCast(_))))
        .unwrap_or(false);
    if !casts {
        return argument;
    }
    let name = argument.to_string();
    argument.alias(name)
}
