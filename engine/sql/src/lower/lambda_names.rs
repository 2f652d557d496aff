//! Variables of lambdas get other names where a column has theirs.
//!
//! A variable hides a column of its name, but where a function is compiled, columns and variables stand
//! in one schema, which must not have a name twice.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{
    common::{
        DFSchema, Result,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, expr::Lambda},
};

/// The expression with no variable named as a column of `schema`.
///
/// All variables of one name get the same other name, so that inner ones hide outer ones as before.
///
/// # Errors
/// None but those of walking the tree.
pub(super) fn apart<'a>(expr: &'a Expr, schema: &DFSchema) -> Result<Cow<'a, Expr>> {
    let mut variables = BTreeSet::new();
    expr.apply(|part| {
        if let Expr::Lambda(lambda) = part {
            variables.extend(lambda.params.iter().cloned());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let is_column = |name: &str| schema.fields().iter().any(|field| field.name() == name);
    if !variables.iter().any(|name| is_column(name)) {
        return Ok(Cow::Borrowed(expr));
    }
    let mut names = BTreeMap::new();
    let mut taken = variables.clone();
    for name in variables {
        let mut other = name.clone();
        while is_column(&other) || (other != name && taken.contains(&other)) {
            other.push('_');
        }
        taken.insert(other.clone());
        names.insert(name, other);
    }
    let other_name = |name: &String| names.get(name).unwrap_or(name).clone();
    let renamed = expr.clone().transform_up(|part| {
        Ok(match part {
            Expr::Lambda(Lambda { params, body }) => {
                let params = params.iter().map(other_name).collect();
                Transformed::yes(Expr::Lambda(Lambda { params, body }))
            }
            Expr::LambdaVariable(mut variable) => {
                variable.name = other_name(&variable.name);
                variable.field = variable
                    .field
                    .map(|field| Arc::new(field.as_ref().clone().with_name(&variable.name)));
                Transformed::yes(Expr::LambdaVariable(variable))
            }
            other => Transformed::no(other),
        })
    });
    renamed.data().map(Cow::Owned)
}
