//! Clauses that DataFusion passes over in silence, or stumbles on: written another way, or refused.

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, GroupByWithModifier, Query, Select, SetExpr, SetOperator,
    SetQuantifier,
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

/// Nothing is locked in a stream.
pub(crate) fn of_query(query: &mut Query) -> Result<(), SqlError> {
    if !query.locks.is_empty() {
        return Err(unsupported("FOR UPDATE or FOR SHARE"));
    }
    of_set(&mut query.body)
}

/// INTERSECT and EXCEPT become joins, which do not count how often a row is there. MINUS is EXCEPT.
fn of_set(body: &mut SetExpr) -> Result<(), SqlError> {
    let SetExpr::SetOperation {
        op,
        set_quantifier,
        left,
        right,
    } = body
    else {
        return Ok(());
    };
    let counts = matches!(
        set_quantifier,
        SetQuantifier::All | SetQuantifier::AllByName
    );
    match op {
        SetOperator::Intersect if counts => return Err(unsupported("INTERSECT ALL")),
        SetOperator::Except | SetOperator::Minus if counts => {
            return Err(unsupported("EXCEPT ALL"));
        }
        SetOperator::Minus => *op = SetOperator::Except,
        SetOperator::Union | SetOperator::Intersect | SetOperator::Except => {}
    }
    of_set(left)?;
    of_set(right)
}

fn unsupported(what: &str) -> SqlError {
    SqlError::Unsupported {
        what: what.to_owned(),
    }
}
