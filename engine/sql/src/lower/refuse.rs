//! What is not built yet or never will be, each with its code and its hint.

use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::SqlError;

/// The refusal of a node.
pub(super) fn node(plan: &LogicalPlan) -> SqlError {
    match plan {
        LogicalPlan::Sort(_) => SqlError::NotOnStream {
            what: "Sorting is not supported on streaming DataFrames/Datasets, unless it is on \
                   aggregated DataFrame/Dataset in Complete output mode"
                .to_owned(),
            hint: "sort where the result is read",
        },
        LogicalPlan::Limit(limit) if limit.skip.is_some() => SqlError::NotOnStream {
            what: "Offset is not supported on streaming DataFrames/Datasets".to_owned(),
            hint: "",
        },
        LogicalPlan::Limit(_) => SqlError::unsupported("LIMIT on a stream"),
        LogicalPlan::Join(_) => SqlError::unsupported("a join in a streaming query"),
        LogicalPlan::Window(window) => SqlError::Over {
            function: window.window_expr.first().map(over).unwrap_or_default(),
        },
        LogicalPlan::Unnest(_) => SqlError::unsupported("explode or unnest in a streaming query"),
        LogicalPlan::Subquery(_) => SqlError::unsupported("a subquery in an expression"),
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => SqlError::NotOnStream {
            what: "Union between streaming and batch DataFrames/Datasets is not supported"
                .to_owned(),
            hint: "",
        },
        LogicalPlan::Distinct(_) => SqlError::unsupported("DISTINCT ON"),
        other => SqlError::unsupported(first_word(&other.display().to_string())),
    }
}

fn first_word(text: &str) -> String {
    text.split([' ', ':']).next().unwrap_or_default().to_owned()
}

fn over(expr: &Expr) -> String {
    match expr {
        Expr::Alias(alias) => over(&alias.expr),
        Expr::WindowFunction(call) => call.fun.name().to_owned(),
        other => other.to_string(),
    }
}

/// A static table where a stream is needed.
pub(super) fn batch_scan(table: &str) -> SqlError {
    SqlError::unsupported(format!(
        "reading table {table} (mode = 'batch') in this place"
    ))
}

/// A union of a stream and a static table.
pub(super) fn mixed_union() -> SqlError {
    SqlError::NotOnStream {
        what: "Union between streaming and batch DataFrames/Datasets is not supported".to_owned(),
        hint: "read the static table as a stream, or join with it",
    }
}

/// DISTINCT inside an aggregate function.
pub(super) fn distinct_call() -> SqlError {
    SqlError::NotOnStream {
        what: "Distinct aggregations are not supported on streaming DataFrames/Datasets".to_owned(),
        hint: "consider using approx_count_distinct() instead",
    }
}

/// ROLLUP, CUBE and GROUPING SETS.
pub(super) fn grouping_sets() -> SqlError {
    SqlError::NotOnStream {
        what: "Grouping Sets is not supported on streaming DataFrames/Datasets".to_owned(),
        hint: "write one query for each grouping",
    }
}

/// ORDER BY inside an aggregate function.
pub(super) fn ordered_call(function: &str) -> SqlError {
    SqlError::unsupported(format!("ORDER BY inside {function}"))
}
