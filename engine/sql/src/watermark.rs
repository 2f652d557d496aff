//! The watermark in logical plans, and what may cross it.
//!
//! A [`WatermarkNode`] passes rows unchanged and notes the newest event time that reaches it.
//! Where a filter stands therefore changes results: Spark moves a deterministic filter that does
//! not use the time column below the mark, so that a row it drops does not advance the mark, and
//! leaves all others above. [`PushFilterBelowWatermark`] does exactly this.

use std::{collections::HashSet, fmt, sync::Arc};

use datafusion::{
    common::{Column, DFSchemaRef, Result, tree_node::Transformed, tree_node::TreeNode},
    logical_expr::{
        Expr, Extension, Filter, LogicalPlan, UserDefinedLogicalNodeCore, Volatility,
        utils::{conjunction, split_conjunction},
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};
use millstream_types::Interval;

use crate::{
    SqlError,
    catalog::check_watermark,
    ddl::parse_interval,
    error::from_datafusion,
    functions::{clock::is_clock, window::is_window},
    text::MARK_FUNCTION,
    undetermined,
    unfold::unfold,
};

/// A watermark definition over its input.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub struct WatermarkNode {
    /// The rows.
    pub input: Arc<LogicalPlan>,
    /// The event-time column of the input.
    pub column: Column,
    /// How far the mark stays behind, in milliseconds.
    pub delay_ms: i64,
    /// For people: `clicks.at`.
    pub name: String,
}

/// Defines a watermark on a column of any plan.
///
/// # Errors
/// [`SqlError::NoColumn`], [`SqlError::EventTimeType`], [`SqlError::EventTimeNested`],
/// [`SqlError::NegativeDelay`].
pub fn with_watermark(
    plan: LogicalPlan,
    column: &str,
    delay: Interval,
) -> std::result::Result<LogicalPlan, SqlError> {
    let field = check_watermark(plan.schema().as_arrow(), column, delay)?;
    let (qualifier, field) = plan
        .schema()
        .qualified_field_with_unqualified_name(field.name())
        .map_err(from_datafusion)?;
    let column = Column::new(qualifier.cloned(), field.name());
    let name = column.flat_name();
    Ok(LogicalPlan::Extension(Extension {
        node: Arc::new(WatermarkNode {
            input: Arc::new(plan),
            column,
            delay_ms: delay.delay_ms(),
            name,
        }),
    }))
}

/// Makes watermarks of the conditions that stand for those of subqueries.
pub(crate) fn marks_of_subqueries(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|plan| {
        let LogicalPlan::Filter(filter) = &plan else {
            return Ok(Transformed::no(plan));
        };
        let Expr::ScalarFunction(call) = &filter.predicate else {
            return Ok(Transformed::no(plan));
        };
        if call.func.name() != MARK_FUNCTION {
            return Ok(Transformed::no(plan));
        }
        let [column, Expr::Literal(delay, _)] = call.args.as_slice() else {
            return Ok(Transformed::no(plan));
        };
        let Expr::Column(column) = column else {
            let expression = column.to_string();
            return Err(SqlError::EventTimeNested { expression }.into_datafusion());
        };
        let delay = delay.try_as_str().flatten().unwrap_or_default();
        let delay = parse_interval(delay).map_err(SqlError::into_datafusion)?;
        let input = filter.input.as_ref().clone();
        with_watermark(input, column.name(), delay)
            .map(Transformed::yes)
            .map_err(SqlError::into_datafusion)
    })
    .map(|transformed| transformed.data)
}

impl UserDefinedLogicalNodeCore for WatermarkNode {
    fn name(&self) -> &str {
        "Watermark"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![Expr::Column(self.column.clone())]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watermark: {} delay_ms={}", self.name, self.delay_ms)
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let column = match exprs.into_iter().next() {
            Some(Expr::Column(column)) => column,
            _ => self.column.clone(),
        };
        let input = inputs
            .pop()
            .ok_or_else(|| SqlError::internal("a watermark lost its input").into_datafusion())?;
        Ok(WatermarkNode {
            input: Arc::new(input),
            column,
            delay_ms: self.delay_ms,
            name: self.name.clone(),
        })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let mut columns = output_columns.to_vec();
        columns.push(self.input.schema().index_of_column(&self.column).ok()?);
        columns.sort_unstable();
        columns.dedup();
        Some(vec![columns])
    }
}

/// Moves filters below a [`WatermarkNode`], by Spark's rule.
#[derive(Debug)]
pub(crate) struct PushFilterBelowWatermark;

impl OptimizerRule for PushFilterBelowWatermark {
    fn name(&self) -> &str {
        "push_filter_below_watermark"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else {
            return Ok(Transformed::no(plan));
        };
        let Some(mark) = extension::<WatermarkNode>(&filter.input) else {
            return Ok(Transformed::no(plan));
        };
        let time = mark.input.schema().index_of_column(&mark.column)?;
        let (below, above): (Vec<_>, Vec<_>) = split_conjunction(&filter.predicate)
            .into_iter()
            .cloned()
            .partition(|part| may_cross(part, mark, time));
        let Some(below) = conjunction(below) else {
            return Ok(Transformed::no(plan));
        };
        let input = LogicalPlan::Filter(Filter::new(below, Arc::clone(&mark.input)));
        let mark = LogicalPlan::Extension(Extension {
            node: Arc::new(WatermarkNode {
                input: Arc::new(input),
                ..mark.clone()
            }),
        });
        Ok(Transformed::yes(match conjunction(above) {
            Some(above) => LogicalPlan::Filter(Filter::new(above, Arc::new(mark))),
            None => mark,
        }))
    }
}

fn may_cross(part: &Expr, mark: &WatermarkNode, time: usize) -> bool {
    let uses_time = part
        .column_refs()
        .into_iter()
        .any(|column| mark.input.schema().index_of_column(column).ok() == Some(time));
    !uses_time && is_deterministic(part)
}

/// The same answer whenever it is asked within one epoch: the epoch's clock counts as such.
fn is_deterministic(expr: &Expr) -> bool {
    !expr
        .exists(|part| {
            Ok(match part {
                Expr::ScalarFunction(call) => {
                    call.func.signature().volatility == Volatility::Volatile
                        && !is_clock(&call.func)
                }
                _ => false,
            })
        })
        .unwrap_or(true)
}

/// Keeps filters on a time window above its aggregation: below it, one row may still stand for
/// several windows, and the filter would see only one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct WindowBarrier {
    pub(crate) input: Arc<LogicalPlan>,
    columns: Vec<String>,
}

impl UserDefinedLogicalNodeCore for WindowBarrier {
    fn name(&self) -> &str {
        "WindowBarrier"
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

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.columns.iter().cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WindowBarrier")
    }

    fn with_exprs_and_inputs(
        &self,
        _exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let input = inputs
            .pop()
            .ok_or_else(|| SqlError::internal("a barrier lost its input").into_datafusion())?;
        Ok(WindowBarrier {
            input: Arc::new(input),
            columns: self.columns.clone(),
        })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

/// A filter that never moves: one that answers differently each time it is asked, such as
/// `rand() < 0.5`, or one on the clock above an aggregation. DataFusion moves a filter without columns through any extension node, so a plain
/// one would end below the watermark.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct HeldFilter {
    pub(crate) input: Arc<LogicalPlan>,
    pub(crate) predicate: Expr,
}

impl UserDefinedLogicalNodeCore for HeldFilter {
    fn name(&self) -> &str {
        "HeldFilter"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.predicate.clone()]
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeldFilter: {}", self.predicate)
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let input = inputs
            .pop()
            .ok_or_else(|| SqlError::internal("a filter lost its input").into_datafusion())?;
        Ok(HeldFilter {
            input: Arc::new(input),
            predicate: exprs.pop().unwrap_or_else(|| self.predicate.clone()),
        })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

/// Before the optimizer: puts a [`WindowBarrier`] above every aggregation by a time window, and
/// makes a [`HeldFilter`] of every condition that is not deterministic; windows outside groupings
/// become rows.
pub(crate) fn guard(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut forgot = false;
    let guarded = plan.transform_up(|plan| match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let by_window = aggregate.group_expr.iter().any(is_window);
            let determined = aggregate.input.schema().functional_dependencies();
            if !by_window || determined.is_empty() {
                return Ok(guard_window(LogicalPlan::Aggregate(aggregate)));
            }
            forgot = true;
            let aggregate = undetermined::aggregate(aggregate)?;
            Ok(guard_window(LogicalPlan::Aggregate(aggregate)))
        }
        LogicalPlan::Filter(filter) => Ok(hold(filter)),
        LogicalPlan::Projection(projection) => unfold(projection),
        other => Ok(Transformed::no(other)),
    })?;
    if !forgot {
        return Ok(guarded.data);
    }
    // What stands above was made when more seemed to be known.
    guarded
        .data
        .transform_up(|plan| plan.recompute_schema().map(Transformed::yes))
        .map(|transformed| transformed.data)
}

fn guard_window(plan: LogicalPlan) -> Transformed<LogicalPlan> {
    let LogicalPlan::Aggregate(aggregate) = &plan else {
        return Transformed::no(plan);
    };
    let columns: Vec<String> = aggregate
        .group_expr
        .iter()
        .filter(|group| is_window(group))
        .map(|group| group.schema_name().to_string())
        .collect();
    if columns.is_empty() {
        return Transformed::no(plan);
    }
    let input = Arc::new(plan);
    Transformed::yes(LogicalPlan::Extension(Extension {
        node: Arc::new(WindowBarrier { input, columns }),
    }))
}

fn hold(filter: Filter) -> Transformed<LogicalPlan> {
    // Above an aggregation, a condition on the clock alone asks when a group leaves, not when its
    // rows came.
    let above_groups = filter
        .input
        .exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(_))))
        .unwrap_or(true);
    let (free, held): (Vec<_>, Vec<_>) = split_conjunction(&filter.predicate)
        .into_iter()
        .cloned()
        .partition(|part| {
            is_deterministic(part) && !(above_groups && part.column_refs().is_empty())
        });
    let Some(predicate) = conjunction(held) else {
        return Transformed::no(LogicalPlan::Filter(filter));
    };
    let input = match conjunction(free) {
        Some(free) => Arc::new(LogicalPlan::Filter(Filter::new(free, filter.input))),
        None => filter.input,
    };
    Transformed::yes(LogicalPlan::Extension(Extension {
        node: Arc::new(HeldFilter { input, predicate }),
    }))
}

/// The extension node of type `T`, if the plan is one.
pub(crate) fn extension<T: 'static>(plan: &LogicalPlan) -> Option<&T> {
    let LogicalPlan::Extension(extension) = plan else {
        return None;
    };
    extension.node.as_any().downcast_ref::<T>()
}
