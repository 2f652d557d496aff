//! Rows that a query says itself: VALUES, and the one row of a SELECT without FROM.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use datafusion::{
    common::ScalarValue,
    logical_expr::{Expr, LogicalPlan},
};

use crate::{SqlError, error::from_datafusion};

/// The rows; a relation without columns has one that nobody asks for.
pub(super) fn rows(plan: &LogicalPlan) -> Result<RecordBatch, SqlError> {
    match plan {
        LogicalPlan::EmptyRelation(empty) if empty.schema.fields().is_empty() => {
            let count = usize::from(empty.produce_one_row);
            let column: ArrayRef = Arc::new(BooleanArray::from(vec![true; count]));
            batch(
                vec![Field::new("__row", DataType::Boolean, false)],
                vec![column],
            )
        }
        LogicalPlan::EmptyRelation(empty) => {
            let schema = Arc::new(empty.schema.as_arrow().clone());
            Ok(RecordBatch::new_empty(schema))
        }
        LogicalPlan::Values(values) => {
            let fields = values.schema.fields().iter();
            let columns = fields.enumerate().map(|(at, field)| {
                let cells = values.values.iter().map(|row| literal(&row[at]));
                let cells = cells.collect::<Result<Vec<ScalarValue>, _>>()?;
                let column = ScalarValue::iter_to_array(cells).map_err(from_datafusion)?;
                arrow::compute::cast(&column, field.data_type()).map_err(|error| SqlError::Types {
                    message: error.to_string(),
                })
            });
            let columns = columns.collect::<Result<Vec<ArrayRef>, SqlError>>()?;
            let fields = values.schema.fields().iter();
            let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
            batch(fields.collect(), columns)
        }
        other => Err(SqlError::internal(format!(
            "{} is no constant relation",
            other.display()
        ))),
    }
}

fn batch(fields: Vec<Field>, columns: Vec<ArrayRef>) -> Result<RecordBatch, SqlError> {
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| SqlError::internal(error.to_string()))
}

/// A cell of VALUES, which the optimizer has made a constant if it is one.
fn literal(expr: &Expr) -> Result<ScalarValue, SqlError> {
    match expr {
        Expr::Literal(value, _) => Ok(value.clone()),
        Expr::Alias(alias) => literal(&alias.expr),
        other => Err(SqlError::unsupported(format!("{other} in VALUES"))),
    }
}
