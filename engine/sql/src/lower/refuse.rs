//! What is not built yet or never will be, each with its code and its hint.

use datafusion::{
    common::JoinType,
    logical_expr::{Expr, LogicalPlan},
};

use crate::SqlError;

/// The refusal of a node.
pub(super) fn node(plan: &LogicalPlan) -> SqlError {
    match plan {
        LogicalPlan::Window(window) => SqlError::Over {
            function: window.window_expr.first().map(over).unwrap_or_default(),
        },
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

/// ORDER BY where rows of one epoch are not the whole result.
pub(super) fn sort() -> SqlError {
    SqlError::NotOnStream {
        what: "Sorting is not supported on streaming DataFrames/Datasets, unless it is on \
               aggregated DataFrame/Dataset in Complete output mode"
            .to_owned(),
        hint: "sort where the result is read, or use output mode changes",
    }
}

/// OFFSET.
pub(super) fn offset() -> SqlError {
    SqlError::NotOnStream {
        what: "Offset is not supported on streaming DataFrames/Datasets".to_owned(),
        hint: "",
    }
}

/// LIMIT where rows are written over.
pub(super) fn limit() -> SqlError {
    SqlError::NotOnStream {
        what: "Limits are not supported on streaming DataFrames/Datasets in Update output mode"
            .to_owned(),
        hint: "use append or changes, or complete above an aggregation",
    }
}

/// A LIMIT that is known only when the query runs.
pub(super) fn limit_value() -> SqlError {
    SqlError::unsupported("a LIMIT that is no literal")
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

/// A join whose rows without a partner would never be final.
pub(super) fn unbounded_join(join: JoinType) -> SqlError {
    let name = match join {
        JoinType::Left => "LeftOuter",
        JoinType::Right => "RightOuter",
        JoinType::Full => "FullOuter",
        JoinType::LeftAnti | JoinType::RightAnti => "LeftAnti",
        JoinType::Inner
        | JoinType::LeftSemi
        | JoinType::RightSemi
        | JoinType::LeftMark
        | JoinType::RightMark => "this",
    };
    SqlError::NotOnStream {
        what: format!(
            "Stream-stream {name} join between two streaming DataFrame/Datasets is not supported \
             without a watermark in the join keys, or a watermark on the nullable side and an \
             appropriate range condition"
        ),
        hint: "define watermarks and compare the times of both sides, or use output mode changes",
    }
}

/// NOT IN, of which one null takes every row back.
pub(super) fn not_in() -> SqlError {
    SqlError::NotOnStream {
        what:
            "NOT IN with a subquery has no answer while rows may come: one null would take all back"
                .to_owned(),
        hint: "use NOT EXISTS",
    }
}

/// INTERSECT and EXCEPT, whose rows may be taken back.
pub(super) fn set_join(join: JoinType) -> SqlError {
    let what = if join == JoinType::LeftSemi {
        "Intersect of streaming DataFrames/Datasets is not supported"
    } else {
        "Except on a streaming DataFrame/Dataset on the right is not supported"
    };
    SqlError::NotOnStream {
        what: what.to_owned(),
        hint: "use output mode changes",
    }
}

/// A time to keep keys where there is none.
pub(super) fn no_watermark_within() -> SqlError {
    SqlError::NotOnStream {
        what: "dropDuplicatesWithinWatermark is not supported on streaming DataFrames/DataSets without \
               watermark"
            .to_owned(),
        hint: "define a watermark below it, or use dropDuplicates",
    }
}

/// The first of rows that may be taken back.
pub(super) fn first_of_changes() -> SqlError {
    SqlError::NotOnStream {
        what: "dropDuplicates over rows that are taken back: the first of them may go".to_owned(),
        hint: "use DISTINCT, or drop duplicates below the aggregation",
    }
}

/// EXISTS or IN that is not a condition of its own.
pub(super) fn mark_join() -> SqlError {
    SqlError::unsupported("EXISTS or IN with a subquery inside OR or CASE")
}

/// A join that would have to say which rows of a static table match nothing, before the stream ends.
pub(super) fn static_join(join: JoinType, streams_left: bool) -> SqlError {
    let name = match join {
        JoinType::Inner => "Inner",
        JoinType::Left => "LeftOuter",
        JoinType::Right => "RightOuter",
        JoinType::Full => "FullOuter",
        JoinType::LeftSemi | JoinType::RightSemi | JoinType::LeftMark | JoinType::RightMark => {
            "LeftSemi"
        }
        JoinType::LeftAnti | JoinType::RightAnti => "LeftAnti",
    };
    let (left, right) = if streams_left {
        ("streaming", "static")
    } else {
        ("static", "streaming")
    };
    SqlError::NotOnStream {
        what: format!(
            "{name} join with a {left} DataFrame/Dataset on the left and a {right} DataFrame/DataSet \
             on the right is not supported"
        ),
        hint: "read the static table as a stream, with output mode changes",
    }
}

/// A static table beside rows that are taken back.
pub(super) fn static_changes() -> SqlError {
    SqlError::NotOnStream {
        what:
            "a table with mode = 'batch' may be another when a row is taken back, so rows that are \
               taken back cannot be joined with it"
                .to_owned(),
        hint: "join below the aggregation, or read the table as a stream",
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
        hint: "consider using approx_count_distinct() instead, or output mode changes",
    }
}

/// A window that some grouping sets lack.
pub(super) fn window_in_some_sets() -> SqlError {
    SqlError::NotOnStream {
        what: "a time window must be in all grouping sets".to_owned(),
        hint: "write GROUP BY window(…), ROLLUP (…)",
    }
}

/// A window by count over rows that are taken back.
pub(super) fn counted_changes() -> SqlError {
    SqlError::NotOnStream {
        what: "count_window over rows that are taken back has no meaning".to_owned(),
        hint: "count the rows of the stream itself, or use output mode append",
    }
}

/// State between late rows and their sink.
pub(super) fn late_state() -> SqlError {
    SqlError::NotOnStream {
        what: "late_rows can be filtered and projected, no more".to_owned(),
        hint: "store them and read them with another query",
    }
}

/// Late rows where there are none to read.
pub(super) fn no_late_rows() -> SqlError {
    SqlError::NotOnStream {
        what: "late_rows can be read once, by INSERT INTO".to_owned(),
        hint: "write INSERT INTO table SELECT … FROM late_rows('query')",
    }
}

/// Late rows of an aggregation that drops none.
pub(super) fn never_late() -> SqlError {
    SqlError::NotOnStream {
        what: "no row of this query can be late: its groups carry no watermark, or its mode is complete"
            .to_owned(),
        hint: "group by a window or time with a watermark, in another mode",
    }
}

/// ORDER BY inside an aggregate function.
pub(super) fn ordered_call(function: &str) -> SqlError {
    SqlError::unsupported(format!("ORDER BY inside {function}"))
}
