//! A bare `window` in SELECT, HAVING and ORDER BY is the grouping expression of that name.

use std::{collections::HashMap, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, GroupByExpr, Ident, Select, VisitMut, VisitorMut,
};

/// Names that stand for the grouping expression of the same name.
pub(super) const WINDOWS: [&str; 2] = ["window", "session_window"];

/// The calls of `window` and `session_window` in GROUP BY, by name.
pub(crate) fn grouping_windows(select: &Select) -> HashMap<&'static str, Expr> {
    let GroupByExpr::Expressions(groups, _) = &select.group_by else {
        return HashMap::new();
    };
    let call = |name: &&'static str| {
        groups
            .iter()
            .find(|group| is_call(group, name))
            .map(|group| (*name, group.clone()))
    };
    WINDOWS.iter().filter_map(call).collect()
}

fn is_call(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case(name))
}

/// Replaces bare windows, but not those inside a call of the same function.
pub(crate) fn resolve(expr: &mut Expr, windows: &HashMap<&'static str, Expr>) {
    if windows.is_empty() {
        return;
    }
    let _ = expr.visit(&mut Resolver {
        windows,
        inside_call: 0,
    });
}

struct Resolver<'a> {
    windows: &'a HashMap<&'static str, Expr>,
    inside_call: usize,
}

impl Resolver<'_> {
    fn window(&self, ident: &Ident) -> Option<&Expr> {
        self.windows.get(ident.value.to_lowercase().as_str())
    }
}

impl VisitorMut for Resolver<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.inside_call += usize::from(WINDOWS.iter().any(|name| is_call(expr, name)));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if WINDOWS.iter().any(|name| is_call(expr, name)) {
            self.inside_call = self.inside_call.saturating_sub(1);
            return ControlFlow::Continue(());
        }
        if self.inside_call > 0 {
            return ControlFlow::Continue(());
        }
        let replacement = match &*expr {
            Expr::Identifier(ident) => self.window(ident).cloned(),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [root, fields @ ..] => self.window(root).map(|call| Expr::CompoundFieldAccess {
                    root: Box::new(call.clone()),
                    access_chain: fields
                        .iter()
                        .map(|field| AccessExpr::Dot(Expr::Identifier(field.clone())))
                        .collect(),
                }),
                [] => None,
            },
            _ => None,
        };
        if let Some(replacement) = replacement {
            *expr = replacement;
        }
        ControlFlow::Continue(())
    }
}
