//! `dropDuplicates` in logical plans: the first row of each key.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{Column, DFSchemaRef, Result},
    logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore},
};

use crate::{SqlError, resolve::scope::same_name};

/// Lets the first row of each key through.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct DedupNode {
    pub(crate) input: Arc<LogicalPlan>,
    /// The columns that make rows the same.
    pub(crate) keys: Vec<Column>,
    /// Whether a key is kept only as long as the watermark's delay after its first row.
    pub(crate) within: bool,
}

/// The first row of each key of a plan; of all columns without names.
///
/// # Errors
/// [`SqlError::NoColumn`], [`SqlError::Ambiguous`].
pub fn drop_duplicates(
    plan: LogicalPlan,
    names: &[String],
    within: bool,
) -> std::result::Result<LogicalPlan, SqlError> {
    let all = plan.schema().columns();
    let mut keys = Vec::new();
    for name in names {
        let of_name = |column: &&Column| same_name(&column.name, name);
        let found: Vec<&Column> = all.iter().filter(of_name).collect();
        match found.as_slice() {
            [] => {
                let known = all.iter().map(|column| column.name.clone());
                return Err(SqlError::no_column(name.clone(), name, known.collect()));
            }
            // As in Spark a name of several columns means all of them.
            found => keys.extend(found.iter().map(|column| (*column).clone())),
        }
    }
    if names.is_empty() {
        keys = all;
    }
    keys.dedup();
    Ok(LogicalPlan::Extension(Extension {
        node: Arc::new(DedupNode {
            input: Arc::new(plan),
            keys,
            within,
        }),
    }))
}

impl UserDefinedLogicalNodeCore for DedupNode {
    fn name(&self) -> &str {
        "Deduplicate"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys.iter().cloned().map(Expr::Column).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.keys.iter().map(|key| key.name.as_str()).collect();
        write!(f, "Deduplicate: {}", keys.join(", "))
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let keys = exprs.into_iter().map(|expr| match expr {
            Expr::Column(column) => Ok(column),
            other => {
                let what = format!("a key of duplicates became {other}");
                Err(SqlError::internal(what).into_datafusion())
            }
        });
        let input = inputs
            .pop()
            .ok_or_else(|| SqlError::internal("a node lost its input").into_datafusion())?;
        Ok(DedupNode {
            input: Arc::new(input),
            keys: keys.collect::<Result<_>>()?,
            within: self.within,
        })
    }
}
