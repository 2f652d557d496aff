//! Windows outside GROUP BY: a row for each window that covers its time, none without a time.
//!
//! Before the optimizer, because what stands above a projection must see as many rows as there are
//! windows, whether it uses the window or not.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ListArray, StructArray, TimestampMicrosecondArray},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, TimestampMicrosecondType},
};
use datafusion::{
    common::{
        Column, Result,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, Projection, ScalarFunctionArgs,
        ScalarUDF, ScalarUDFImpl, Signature, Volatility, expr_rewriter::NamePreserver,
    },
};
use millstream_operators::aggregate::WindowSpec;
use millstream_types::EventTime;

use crate::{
    SqlError,
    functions::{
        window::{TimeWindow, is_window, time_window},
        window_values::{beyond, event_times, time_of, window_fields, window_type, with_zone},
    },
};

/// The column of windows between the input and the projection.
const COLUMN: &str = "__window";

/// Puts the rows of the windows below a projection that makes windows.
pub(crate) fn unfold(projection: Projection) -> Result<Transformed<LogicalPlan>> {
    let Some((window, spec, time)) = only_window(&projection.expr)? else {
        return Ok(Transformed::no(LogicalPlan::Projection(projection)));
    };
    if spec.is_tumbling() {
        // One window for each time: the function makes it where there is one.
        let timed = LogicalPlanBuilder::from(projection.input).filter(time.is_not_null())?;
        return Projection::try_new(projection.expr, Arc::new(timed.build()?))
            .map(|projection| Transformed::yes(LogicalPlan::Projection(projection)));
    }
    let list = ScalarUDF::from(WindowList::new(spec)).call(vec![time]);
    let mut columns: Vec<Expr> = projection
        .input
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    columns.push(list.alias(COLUMN));
    let rows = LogicalPlanBuilder::from(projection.input)
        .project(columns)?
        .unnest_column(COLUMN)?
        .build()?;
    let names = NamePreserver::new_for_projection();
    let expressions: Result<Vec<Expr>> = projection
        .expr
        .into_iter()
        .map(|expr| {
            let name = names.save(&expr);
            let replaced = expr.transform_up(|part| {
                if part == window {
                    return Ok(Transformed::yes(Expr::Column(Column::from_name(COLUMN))));
                }
                Ok(Transformed::no(part))
            });
            replaced.data().map(|expr| name.restore(expr))
        })
        .collect();
    Projection::try_new(expressions?, Arc::new(rows))
        .map(|projection| Transformed::yes(LogicalPlan::Projection(projection)))
}

/// The window that expressions call, its spec and its time. Several tumbling windows, which Spark
/// refuses, stay functions of one row.
fn only_window(expressions: &[Expr]) -> Result<Option<(Expr, WindowSpec, Expr)>> {
    let mut found: Option<(Expr, WindowSpec, Expr)> = None;
    let (mut several, mut slides) = (false, false);
    for expr in expressions {
        expr.apply(|part| {
            if matches!(part, Expr::Alias(_)) || !is_window(part) {
                return Ok(TreeNodeRecursion::Continue);
            }
            if let Some(TimeWindow::Regular { time, spec }) =
                time_window(part).map_err(SqlError::into_datafusion)?
            {
                slides |= !spec.is_tumbling();
                several |= found.as_ref().is_some_and(|(first, ..)| first != part);
                found.get_or_insert_with(|| (part.clone(), spec, time.clone()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    match (several, slides) {
        (true, true) => Err(SqlError::TwoWindows.into_datafusion()),
        (true, false) => Ok(None),
        (false, _) => Ok(found),
    }
}

/// The argument of a list of windows.
pub(crate) fn listed(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.func.inner().downcast_ref::<WindowList>().is_some() => {
            call.args.first()
        }
        _ => None,
    }
}

/// All windows that cover a time. Its name says which, so that plans with other windows differ.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowList {
    name: String,
    size: i64,
    slide: i64,
    start: i64,
    signature: Signature,
}

impl WindowList {
    fn new(spec: WindowSpec) -> WindowList {
        WindowList {
            name: format!("__windows_{}_{}_{}", spec.size, spec.slide, spec.start),
            size: spec.size,
            slide: spec.slide,
            start: spec.start,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    fn list(&self, times: &TimestampMicrosecondArray, zone: &DataType) -> Result<ArrayRef> {
        let spec = WindowSpec {
            size: self.size,
            slide: self.slide,
            start: self.start,
        };
        let mut starts = Vec::new();
        let mut lengths = Vec::with_capacity(times.len());
        for time in times {
            let before = starts.len();
            if let Some(time) = time {
                let (first, last) = spec.starts(EventTime(time)).ok_or_else(beyond)?;
                let older = std::iter::successors(Some(last), |at| at.checked_sub(spec.slide));
                starts.extend(older.take_while(|start| *start >= first));
            }
            lengths.push(starts.len() - before);
        }
        let starts = TimestampMicrosecondArray::from(starts);
        let ends = starts.unary::<_, TimestampMicrosecondType>(|at| at.wrapping_add(spec.size));
        let columns = vec![with_zone(starts, zone)?, with_zone(ends, zone)?];
        let windows = StructArray::try_new(window_fields(zone), columns, None)?;
        let field = Arc::new(Field::new("item", windows.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths(lengths);
        let list = ListArray::try_new(field, offsets, Arc::new(windows), None)?;
        Ok(Arc::new(list))
    }
}

impl ScalarUDFImpl for WindowList {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let time = arg_types.first().map_or(&DataType::Null, time_of);
        let field = Field::new("item", window_type(time), true);
        Ok(DataType::List(Arc::new(field)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let zone = match args.return_field.data_type() {
            DataType::List(item) => time_of(item.data_type()).clone(),
            other => other.clone(),
        };
        let time = args.args.into_iter().next();
        let time =
            time.ok_or_else(|| SqlError::internal("a window of no time").into_datafusion())?;
        let times = event_times(&time.to_array(rows)?)?;
        self.list(&times, &zone).map(ColumnarValue::Array)
    }
}
