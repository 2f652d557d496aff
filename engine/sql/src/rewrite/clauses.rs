//! Clauses that DataFusion passes over in silence, or stumbles on: written another way, or refused.

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, GroupByWithModifier, Query, Select, SetExpr, SetOperator,
};

use crate::error::SqlError;

/// `WITH ROLLUP` and `WITH CUBE` become their calls; what has no meaning here is refused.
pub(crate) fn of_select(select: &mut Select) -> Result<(), SqlError> {
    if matches!(select.distinct, Some(Distinct::On(_))) {
        return Err(unsupported("DISTINCT ON"));
    }
    let GroupByExpr::Expressions(groups, modifiers) = &mut select.group_by else {
        return Ok(());
    };
    for modifier in std::mem::take(modifiers) {
        let each = || groups.iter().map(|group| vec![group.clone()]).collect();
        *groups = match modifier {
            GroupByWithModifier::Rollup => vec![Expr::Rollup(each())],
            GroupByWithModifier::Cube => vec![Expr::Cube(each())],
            GroupByWithModifier::GroupingSets(sets) => vec![sets],
            GroupByWithModifier::Totals => return Err(unsupported("WITH TOTALS")),
        };
    }
    Ok(())
}

/// Nothing is locked in a stream, and no stream ends so that it could be compared with another.
pub(crate) fn of_query(query: &Query) -> Result<(), SqlError> {
    if !query.locks.is_empty() {
        return Err(unsupported("FOR UPDATE or FOR SHARE"));
    }
    of_set(&query.body)
}

/// Only UNION puts streams together. Elsewhere the planner would make a join of both inputs.
fn of_set(body: &SetExpr) -> Result<(), SqlError> {
    let SetExpr::SetOperation {
        op, left, right, ..
    } = body
    else {
        return Ok(());
    };
    let what = match op {
        SetOperator::Union => {
            of_set(left)?;
            return of_set(right);
        }
        SetOperator::Intersect => "Intersect of streaming DataFrames/Datasets is not supported",
        SetOperator::Except | SetOperator::Minus => {
            "Except on a streaming DataFrame/Dataset on the right is not supported"
        }
    };
    Err(SqlError::NotOnStream {
        what: what.to_owned(),
        hint: "",
    })
}

fn unsupported(what: &str) -> SqlError {
    SqlError::Unsupported {
        what: what.to_owned(),
    }
}
