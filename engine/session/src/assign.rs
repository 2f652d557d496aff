//! The rows of an INSERT become rows of its table: by position, as Spark stores them.
//!
//! Owns which types may be stored as which. Tests: below, with tables that say their columns.

use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use millstream_sql::{SqlError, error::from_datafusion, types::spark_name};

/// The plan with the names and types of the table's columns.
///
/// # Errors
/// [`SqlError::Types`] when the number of columns differs, or a type cannot be stored as another.
pub(crate) fn assign(
    table: &str,
    columns: &Schema,
    plan: LogicalPlan,
) -> Result<LogicalPlan, SqlError> {
    let given = plan.schema().clone();
    if given.fields().len() != columns.fields().len() {
        let message = format!(
            "table {table} has {}, the query gives {}",
            names(columns),
            names(given.as_arrow())
        );
        return Err(SqlError::Types { message });
    }
    let pairs = || given.fields().iter().zip(columns.fields());
    if pairs().all(|(have, want)| {
        have.name() == want.name() && have.data_type().equals_datatype(want.data_type())
    }) {
        return Ok(plan);
    }
    let mut stored = Vec::new();
    for (source, (have, want)) in given.columns().into_iter().zip(pairs()) {
        let (from, to) = (have.data_type(), want.data_type());
        let value = Expr::Column(source);
        let value = if from.equals_datatype(to) {
            value
        } else if may_store(from, to) {
            cast(value, to.clone())
        } else {
            let message = format!(
                "column {} of table {table} is {}, the query gives {} {}",
                want.name(),
                spark_name(to),
                spark_name(from),
                have.name()
            );
            return Err(SqlError::Types { message });
        };
        stored.push(value.alias(want.name()));
    }
    LogicalPlanBuilder::from(plan)
        .project(stored)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

/// Spark's ANSI rule: numbers as numbers, dates as timestamps and back, null as anything, and
/// what is no list or struct as text.
fn may_store(from: &DataType, to: &DataType) -> bool {
    let text = matches!(
        to,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    );
    from.is_null()
        || (from.is_numeric() && to.is_numeric())
        || (text && !from.is_nested())
        || (is_day_or_time(from) && is_day_or_time(to))
}

fn is_day_or_time(of: &DataType) -> bool {
    matches!(of, DataType::Date32 | DataType::Timestamp(..))
}

fn names(schema: &Schema) -> String {
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{} column{plural} ({})", names.len(), names.join(", "))
}

#[cfg(test)]
mod tests {
    use millstream_types::Coded;

    use crate::Session;

    const TABLES: &str = "
        CREATE TABLE i (at TIMESTAMP, who STRING, n INT) WITH (connector = 'memory');
        CREATE TABLE o (w STRING, n BIGINT) WITH (connector = 'noop');
        CREATE TABLE d (w DATE) WITH (connector = 'noop');
        CREATE TABLE any WITH (connector = 'noop');";

    fn insert(statement: &str) -> Result<(), String> {
        let session = Session::builder()
            .workers(1)
            .build()
            .expect("a session builds");
        session.execute(TABLES).expect("the tables are right");
        let outcome = session.execute(&format!("INSERT INTO {statement}"));
        let queries = session.active_queries();
        queries.iter().for_each(crate::StreamingQuery::request_stop);
        outcome
            .map(drop)
            .map_err(|error| format!("{} {error}", error.code().0))
    }

    #[test]
    fn rows_are_stored_by_position() {
        assert_eq!(insert("o SELECT who AS other, n FROM i"), Ok(()));
        assert_eq!(insert("o SELECT n, CAST(n AS TINYINT) FROM i"), Ok(()));
        assert_eq!(insert("d SELECT at FROM i"), Ok(()));
        assert_eq!(insert("any SELECT who, n, at FROM i"), Ok(()));
        let said = insert("o SELECT who FROM i").expect_err("a column is missing");
        let want = "SQL-005 table o has 2 columns (w, n), the query gives 1 column (who)";
        assert_eq!(said, want);
        let said = insert("d SELECT who FROM i").expect_err("a text is no date");
        let want = "SQL-005 column w of table d is DATE, the query gives STRING who";
        assert_eq!(said, want);
    }
}
