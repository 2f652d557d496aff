//! Clauses that DataFusion passes over in silence, or stumbles on: written another way, or refused.

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, GroupByWithModifier, Query, Select,
};

use crate::error::SqlError;

/// `WITH ROLLUP` and `WITH CUBE` become their calls; what has no meaning here is refused.
pub(super) fn of_select(select: &mut Select) -> Result<(), SqlError> {
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

/// Nothing is locked in a stream.
pub(super) fn of_query(query: &Query) -> Result<(), SqlError> {
    if query.locks.is_empty() {
        Ok(())
    } else {
        Err(unsupported("FOR UPDATE or FOR SHARE"))
    }
}

fn unsupported(what: &str) -> SqlError {
    SqlError::Unsupported {
        what: what.to_owned(),
    }
}
