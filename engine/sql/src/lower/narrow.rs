//! Columns that nobody reads are not repeated beside the elements of a list.
//!
//! The plan hands every column through, the list itself among them: a list of a million elements would
//! stand a million times beside each of them.

use std::{collections::BTreeSet, sync::Arc};

use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    physical_expr::{PhysicalExpr, expressions::Column, utils::collect_columns},
};
use millstream_operators::chain::Step;

/// Numbers of columns as they are after a step.
type Columns = BTreeSet<usize>;

/// Takes columns out that are not read between a list and the projection above it.
pub(super) fn narrow(steps: &mut [Step]) -> Result<()> {
    // Above the last projection all columns are the chain's.
    let mut read: Option<Columns> = None;
    for at in (0..steps.len()).rev() {
        let (below, above) = steps.split_at_mut(at + 1);
        match &mut below[at] {
            Step::Project { expressions, .. } => {
                read = Some(expressions.iter().flat_map(columns).collect());
            }
            Step::Filter(condition) => {
                if let Some(read) = &mut read {
                    read.extend(columns(condition));
                }
            }
            Step::Mark { column, .. } => {
                if let Some(read) = &mut read {
                    read.insert(*column);
                }
            }
            Step::Unnest(unnest) => {
                let Some(kept) = read.take() else { continue };
                let places: Vec<usize> = kept.iter().copied().collect();
                unnest.columns = places.iter().map(|place| unnest.columns[*place]).collect();
                unnest.schema = Arc::new(unnest.schema.project(&places)?);
                let mut needed: Columns = unnest.columns.iter().copied().collect();
                needed.insert(unnest.column);
                read = Some(needed);
                renumber(above, &places)?;
            }
        }
    }
    Ok(())
}

fn columns(expression: &Arc<dyn PhysicalExpr>) -> Columns {
    let found = collect_columns(expression);
    found.iter().map(Column::index).collect()
}

/// Makes steps read columns by their places among those that are left.
fn renumber(steps: &mut [Step], left: &[usize]) -> Result<()> {
    let place = |column: usize| left.binary_search(&column).unwrap_or(column);
    let moved = |expression: &Arc<dyn PhysicalExpr>| {
        let read = Arc::clone(expression).transform(|part| {
            Ok(match part.downcast_ref::<Column>() {
                Some(column) if place(column.index()) != column.index() => {
                    let moved = Column::new(column.name(), place(column.index()));
                    Transformed::yes(Arc::new(moved) as Arc<dyn PhysicalExpr>)
                }
                _ => Transformed::no(part),
            })
        });
        read.data()
    };
    for step in steps {
        match step {
            Step::Filter(condition) => *condition = moved(condition)?,
            Step::Mark { column, .. } => *column = place(*column),
            // Steps above one of these see the columns that it makes.
            Step::Project { expressions, .. } => {
                *expressions = expressions.iter().map(moved).collect::<Result<_>>()?;
                break;
            }
            Step::Unnest(unnest) => {
                unnest.column = place(unnest.column);
                unnest
                    .columns
                    .iter_mut()
                    .for_each(|column| *column = place(*column));
                break;
            }
        }
    }
    Ok(())
}
