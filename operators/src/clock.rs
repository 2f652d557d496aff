//! The clock of an epoch inside expressions.
//!
//! `current_timestamp()` is one value for a whole epoch, taken from the epoch's plan, so that an
//! epoch that runs again sees the same instant. The planner leaves an [`EpochClock`] where the
//! function stood; a worker binds it to a cell of its own with [`bind`] when it builds an operator,
//! and writes the plan's clock into the cell before it evaluates a batch of that epoch.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema, TimeUnit},
};
use datafusion_common::{
    Result, ScalarValue, internal_err,
    tree_node::{Transformed, TransformedResult, TreeNode},
};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// The epoch's clock as an expression: a timestamp in microseconds or a date.
#[derive(Clone, Debug)]
pub struct EpochClock {
    cell: Arc<AtomicI64>,
    data_type: DataType,
}

impl EpochClock {
    /// A clock that is bound to nothing yet. `data_type` is `Timestamp(Microsecond, _)` or `Date32`.
    #[must_use]
    pub fn new(data_type: DataType) -> EpochClock {
        EpochClock {
            cell: Arc::new(AtomicI64::new(0)),
            data_type,
        }
    }

    fn value(&self) -> Result<ScalarValue> {
        let ms = self.cell.load(Ordering::Relaxed);
        if let DataType::Timestamp(TimeUnit::Microsecond, zone) = &self.data_type {
            let micros = ms.saturating_mul(1000);
            return Ok(ScalarValue::TimestampMicrosecond(
                Some(micros),
                zone.clone(),
            ));
        }
        match (&self.data_type, i32::try_from(ms.div_euclid(DAY_MS))) {
            (DataType::Date32, Ok(days)) => Ok(ScalarValue::Date32(Some(days))),
            (other, _) => internal_err!("the epoch's clock cannot be shown as {other} ms={ms}"),
        }
    }
}

// Two clocks of one type are the same expression, whatever cell they read: a plan is compared
// before it is bound.
impl PartialEq for EpochClock {
    fn eq(&self, other: &EpochClock) -> bool {
        self.data_type == other.data_type
    }
}

impl Eq for EpochClock {}

impl Hash for EpochClock {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.data_type.hash(state);
    }
}

impl fmt::Display for EpochClock {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "arrow has more types than this function serves"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.data_type {
            DataType::Date32 => "current_date()",
            _ => "current_timestamp()",
        })
    }
}

impl PhysicalExpr for EpochClock {
    fn data_type(&self, _input_schema: &Schema) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn nullable(&self, _input_schema: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, _batch: &RecordBatch) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value()?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(self)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The same expression with every clock in it reading `cell`: milliseconds since 1970.
///
/// # Errors
/// When an expression cannot be rebuilt.
pub fn bind(expr: Arc<dyn PhysicalExpr>, cell: &Arc<AtomicI64>) -> Result<Arc<dyn PhysicalExpr>> {
    expr.transform(|part| {
        let Some(clock) = part.downcast_ref::<EpochClock>() else {
            return Ok(Transformed::no(part));
        };
        let bound = EpochClock {
            cell: Arc::clone(cell),
            data_type: clock.data_type.clone(),
        };
        Ok(Transformed::yes(Arc::new(bound)))
    })
    .data()
}

/// Whether the expression reads the epoch's clock.
#[must_use]
pub fn reads_clock(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.exists(|part| Ok(part.downcast_ref::<EpochClock>().is_some()))
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_clock_reads_its_cell_and_days_end_at_midnight_before_1970_too() -> Result<()> {
        let cell = Arc::new(AtomicI64::new(0));
        let zone = Some("UTC".into());
        let at = EpochClock::new(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()));
        let at = bind(Arc::new(at), &cell)?;
        let day = bind(Arc::new(EpochClock::new(DataType::Date32)), &cell)?;
        assert!(reads_clock(&at));
        cell.store(-1, Ordering::Relaxed);
        let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let ColumnarValue::Scalar(at) = at.evaluate(&batch)? else {
            return internal_err!("a clock is one value");
        };
        let ColumnarValue::Scalar(day) = day.evaluate(&batch)? else {
            return internal_err!("a clock is one value");
        };
        assert_eq!(at, ScalarValue::TimestampMicrosecond(Some(-1000), zone));
        assert_eq!(day, ScalarValue::Date32(Some(-1)));
        Ok(())
    }
}
