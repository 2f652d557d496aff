//! The names that Spark gives to columns without one.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, SelectItem, Value,
};

use super::bare_windows::WINDOWS;
use crate::literals::split_suffix;

/// Gives a column without a name the one that Spark gives it.
pub(crate) fn name_item(item: &mut SelectItem, windows: &HashMap<&'static str, Expr>) {
    let SelectItem::UnnamedExpr(expr) = item else {
        return;
    };
    let name = match &*expr {
        Expr::Identifier(ident) if windows.contains_key(ident.value.to_lowercase().as_str()) => {
            ident.value.clone()
        }
        Expr::Identifier(_) => return,
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [root, .., last] if WINDOWS.contains(&root.value.to_lowercase().as_str()) => {
                last.value.clone()
            }
            _ => return,
        },
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Identifier(field))) => field.value.clone(),
            _ => return,
        },
        other => spark_name(other),
    };
    *item = SelectItem::ExprWithAlias {
        expr: expr.clone(),
        alias: Ident::with_quote('`', name),
    };
}

fn spark_name(expr: &Expr) -> String {
    match expr {
        Expr::Function(call) => {
            let name = call.name.to_string().to_lowercase();
            if WINDOWS.contains(&name.as_str()) {
                return name;
            }
            let FunctionArguments::List(list) = &call.args else {
                return name;
            };
            let args: Vec<String> = list
                .args
                .iter()
                .map(|arg| match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => "1".to_owned(),
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => spark_name(expr),
                    other => other.to_string(),
                })
                .collect();
            let distinct = list
                .duplicate_treatment
                .map(|_| "DISTINCT ")
                .unwrap_or_default();
            format!("{name}({distinct}{})", args.join(", "))
        }
        Expr::BinaryOp { left, op, right } => {
            format!("({} {op} {})", spark_name(left), spark_name(right))
        }
        Expr::Nested(inner) => spark_name(inner),
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(path) => {
            let parts: Vec<&str> = path.iter().map(|part| part.value.as_str()).collect();
            parts.join(".")
        }
        Expr::Struct { values, .. } => {
            let values: Vec<String> = values.iter().map(spark_name).collect();
            format!("struct({})", values.join(", "))
        }
        Expr::Named { expr, name } => format!("{} AS {}", spark_name(expr), name.value),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            Value::Number(digits, _) => match split_suffix(digits) {
                Some((digits, _)) => digits.to_owned(),
                None => digits.clone(),
            },
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}
