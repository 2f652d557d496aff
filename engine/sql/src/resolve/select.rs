//! One SELECT: stars, generators, aliases and the scopes of its clauses.

use arrow::datatypes::DataType;
use datafusion::{
    common::Column,
    sql::sqlparser::ast::{
        Distinct, ExceptSelectItem, ExcludeSelectItem, Expr, GroupByExpr, Ident, ObjectName,
        OrderBy, OrderByKind, Select, SelectItem, SelectItemQualifiedWildcardKind, Spanned,
        WildcardAdditionalOptions,
    },
    sql::sqlparser::tokenizer::Span,
};

use super::{
    Level, Resolver,
    expression::{Alias, AliasUse, Around, column_as_written, common, ident, position},
    scope::{Found, Scope, ScopeColumn, apart, same_name},
};
use crate::{
    SqlError,
    calls::called,
    rewrite::{bare_windows, clauses, generate, groups, naming, windows},
    text::place,
    types::spark_name,
};

/// The columns of a SELECT as they are put together.
#[derive(Default)]
struct Selected {
    items: Vec<SelectItem>,
    aliases: Vec<Alias>,
    /// What the plan will call them.
    columns: Vec<Column>,
}

impl Resolver<'_> {
    /// Resolves a SELECT in its place, with the ORDER BY of its query.
    ///
    /// # Errors
    /// Names that mean nothing or several things, clauses that cannot be written.
    pub(super) fn select(
        &mut self,
        select: &mut Select,
        mut order: Option<&mut OrderBy>,
    ) -> Result<(), SqlError> {
        clauses::of_select(select)?;
        windows::in_from(select)?;
        let scope = self.from(select)?;
        name_windows(select, &mut order, &scope);
        groups::grouping_ids(select);
        let columns = Around::columns(&scope);
        if let Some(condition) = &mut select.selection {
            self.expression(condition, columns)?;
        }
        self.visit(&mut select.named_window, columns)?;
        let aliases = self.projection(select, &scope)?;
        let grouped = Around {
            aliases: &aliases,
            ..columns
        };
        if let GroupByExpr::Expressions(groups, _) = &mut select.group_by {
            for group in groups {
                self.expression(group, grouped)?;
            }
        }
        if let Some(Distinct::On(on)) = &mut select.distinct {
            self.visit(on, grouped)?;
        }
        let of_result = |alias_use| Around {
            alias_use,
            ..grouped
        };
        if let Some(having) = &mut select.having {
            self.expression(having, of_result(AliasUse::Written))?;
        }
        if let Some(qualify) = &mut select.qualify {
            self.expression(qualify, of_result(AliasUse::Written))?;
        }
        self.order(&mut order, of_result(AliasUse::Named))?;
        self.levels.push(Level::of(select, scope));
        Ok(())
    }

    /// Resolves the columns of a SELECT; says which of them others may name.
    fn projection(&mut self, select: &mut Select, scope: &Scope) -> Result<Vec<Alias>, SqlError> {
        let mut selected = Selected::default();
        for item in std::mem::take(&mut select.projection) {
            self.item(item, scope, &mut selected)?;
        }
        select.projection = selected.items;
        Ok(selected.aliases)
    }

    fn item(
        &mut self,
        item: SelectItem,
        scope: &Scope,
        selected: &mut Selected,
    ) -> Result<(), SqlError> {
        let (mut expr, names) = match item {
            SelectItem::Wildcard(options) => {
                let columns = scope.columns.iter();
                return self.star(None, columns, scope, options, selected);
            }
            SelectItem::QualifiedWildcard(kind, options) => {
                return self.qualified_star(kind, options, scope, selected);
            }
            SelectItem::UnnamedExpr(expr) => (expr, Vec::new()),
            SelectItem::ExprWithAlias { expr, alias } => (expr, vec![alias]),
            SelectItem::ExprWithAliases { expr, aliases } => (expr, aliases),
        };
        if generate::is_generator(&expr) {
            for (expr, name) in self.generated(expr, &names, false, scope)? {
                selected.push(expr, name);
            }
            return Ok(());
        }
        let written = match (&expr, names.as_slice()) {
            (Expr::Identifier(name), []) => Some(name.value.clone()),
            (Expr::CompoundIdentifier(path), []) => path.last().map(|last| last.value.clone()),
            _ => None,
        };
        let around = Around {
            aliases: &selected.aliases,
            ..Around::columns(scope)
        };
        let mut visited = std::mem::replace(&mut expr, Expr::Wildcard(star_token()));
        self.expression(&mut visited, around)?;
        match (names.first(), written) {
            (Some(alias), _) => selected.push(visited, alias.value.clone()),
            (None, Some(name)) => selected.push_column(visited, &name, scope),
            (None, None) => selected.items.push(SelectItem::UnnamedExpr(visited)),
        }
        Ok(())
    }

    /// The columns that a generator makes.
    ///
    /// # Errors
    /// Unknown names in its arguments, arguments that it does not take.
    pub(super) fn generated(
        &mut self,
        mut call: Expr,
        names: &[Ident],
        outer: bool,
        scope: &Scope,
    ) -> Result<Vec<(Expr, String)>, SqlError> {
        let at = call.span().start;
        let text = call.to_string();
        self.expression(&mut call, Around::columns(scope))?;
        if let Some(argument) = generate::list_of(&call)
            && let Some(found) = self.type_of(argument, scope)
            && !(found.is_null() || found.is_list() || matches!(found, DataType::Map(..)))
        {
            let error = SqlError::Types {
                message: format!("{text} needs an array or a map, not {}", spark_name(&found)),
            };
            return Err(error.at((at.line > 0).then(|| place(at))));
        }
        generate::generated(call, names, outer, &|expr| self.type_of(expr, scope)).ok_or_else(
            || {
                let error = SqlError::Types {
                    message: format!("{text} makes no rows: its arguments do not fit"),
                };
                error.at((at.line > 0).then(|| place(at)))
            },
        )
    }

    /// `*`, `relation.*`: left to DataFusion where a plan's names are those that a query shows.
    fn star<'s>(
        &mut self,
        relation: Option<Ident>,
        columns: impl Iterator<Item = &'s ScopeColumn>,
        scope: &Scope,
        mut options: WildcardAdditionalOptions,
        selected: &mut Selected,
    ) -> Result<(), SqlError> {
        let left_out = left_out(&options);
        if let Some(unknown) = left_out.iter().find(|name| !scope.has(&name.value)) {
            let path = [unknown.clone()];
            return Err(scope.unknown(&path).at(position(&path)));
        }
        let columns: Vec<&ScopeColumn> = columns
            .filter(|column| {
                !left_out
                    .iter()
                    .any(|name| same_name(&name.value, column.name()))
            })
            .collect();
        let is_plain = options.opt_replace.is_none()
            && options.opt_rename.is_none()
            && options.opt_ilike.is_none();
        if !is_plain {
            return Err(SqlError::unsupported(
                "REPLACE, RENAME or ILIKE behind a star",
            ));
        }
        let joins = relation.is_none() && scope.joins();
        let is_simple = !scope.hides()
            && !joins
            && left_out.is_empty()
            && !columns.iter().any(|column| selected.has(&column.column));
        if is_simple {
            options.opt_except = None;
            options.opt_exclude = None;
            let columns = columns.iter().map(|column| column.column.clone());
            selected.columns.extend(columns);
            selected.items.push(match relation {
                None => SelectItem::Wildcard(options),
                Some(name) => SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![name])),
                    options,
                ),
            });
            return Ok(());
        }
        // The sides of a join have their common columns once, before all others.
        let (shared, rest): (Vec<&ScopeColumn>, Vec<&ScopeColumn>) = columns
            .into_iter()
            .partition(|column| joins && scope.merged(column.name()).is_some());
        let mut seen: Vec<&str> = Vec::new();
        for column in shared {
            if seen.iter().any(|name| same_name(name, column.name())) {
                continue;
            }
            seen.push(column.name());
            if let Some(merged) = scope.merged(column.name()) {
                let expr = common(merged, Span::empty());
                selected.push_column(expr, column.name(), scope);
            }
        }
        for column in rest {
            selected.push_column(named(column), column.name(), scope);
        }
        Ok(())
    }

    /// `relation.*`, or the fields of a struct.
    fn qualified_star(
        &mut self,
        kind: SelectItemQualifiedWildcardKind,
        options: WildcardAdditionalOptions,
        scope: &Scope,
        selected: &mut Selected,
    ) -> Result<(), SqlError> {
        let mut value = match kind {
            SelectItemQualifiedWildcardKind::ObjectName(name) => {
                let parts = name.0.iter().map(|part| part.as_ident().cloned());
                let parts: Vec<Ident> = parts.collect::<Option<_>>().unwrap_or_default();
                let last = parts.last().cloned().unwrap_or_else(|| Ident::new(""));
                let columns: Vec<&ScopeColumn> = scope.of_relation(&last.value).collect();
                if let Some(first) = columns.first() {
                    let relation = first.column.relation.as_ref();
                    let relation = relation.map(|relation| ident(relation.table(), last.span));
                    let columns = columns.into_iter();
                    return self.star(relation, columns, scope, options, selected);
                }
                match parts.as_slice() {
                    [single] => Expr::Identifier(single.clone()),
                    _ => Expr::CompoundIdentifier(parts),
                }
            }
            SelectItemQualifiedWildcardKind::Expr(expr) => expr,
        };
        let at = value.span().start;
        let text = value.to_string();
        self.expression(&mut value, Around::columns(scope))?;
        let Some(DataType::Struct(fields)) = self.type_of(&value, scope) else {
            let error = SqlError::Types {
                message: format!("{text}.* needs a relation or a struct"),
            };
            return Err(error.at((at.line > 0).then(|| place(at))));
        };
        for field in &fields {
            let name =
                datafusion::sql::sqlparser::ast::Value::SingleQuotedString(field.name().clone());
            let name = Expr::Value(name.with_empty_span());
            let field_value = called("get_field", vec![value.clone(), name]);
            selected.push(field_value, field.name().clone());
        }
        Ok(())
    }
}

impl Selected {
    /// Whether a plan cannot have this column beside those that are there.
    fn has(&self, column: &Column) -> bool {
        self.columns.iter().any(|other| {
            other.name == column.name
                && (other.relation == column.relation
                    || other.relation.is_none()
                    || column.relation.is_none())
        })
    }

    /// A name of the plan's own if `name` is taken.
    fn free(&self, name: &str) -> String {
        let mut free = name.to_owned();
        let mut number = 0;
        while self.has(&Column::new_unqualified(free.clone())) {
            number += 1;
            free = apart(name, number);
        }
        free
    }

    /// Adds an expression under a name.
    fn push(&mut self, expr: Expr, name: String) {
        let alias = self.free(&name);
        self.aliases.push(Alias {
            name,
            column: alias.clone(),
            expr: expr.clone(),
        });
        self.columns.push(Column::new_unqualified(alias.clone()));
        self.items.push(SelectItem::ExprWithAlias {
            expr,
            alias: Ident::with_quote('`', alias),
        });
    }

    /// Adds what was written as a column, under its own name.
    fn push_column(&mut self, expr: Expr, written: &str, scope: &Scope) {
        let path = match &expr {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(path) => path.as_slice(),
            _ => &[],
        };
        let column = match scope.find_exact(path) {
            Found::Column(column, taken) if taken == path.len() => Some(&column.column),
            _ => None,
        };
        match column {
            Some(column) if column.name == written && !self.has(column) => {
                self.aliases.push(Alias {
                    name: written.to_owned(),
                    column: written.to_owned(),
                    expr: expr.clone(),
                });
                self.columns.push(column.clone());
                self.items.push(SelectItem::UnnamedExpr(expr));
            }
            _ => self.push(expr, written.to_owned()),
        }
    }
}

/// A column of a scope as an expression.
pub(crate) fn named(column: &ScopeColumn) -> Expr {
    column_as_written(column, Span::empty())
}

/// Bare windows become the grouping expression, and columns without a name get Spark's.
fn name_windows(select: &mut Select, order: &mut Option<&mut OrderBy>, scope: &Scope) {
    let mut windows = bare_windows::grouping_windows(select);
    // A column of that name is meant before the window.
    windows.retain(|name, _| !scope.has(name));
    for item in &mut select.projection {
        let is_generator =
            matches!(&*item, SelectItem::UnnamedExpr(expr) if generate::is_generator(expr));
        if !is_generator {
            naming::name_item(item, &windows);
        }
        if let SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) = item {
            bare_windows::resolve(expr, &windows);
        }
    }
    if let Some(having) = &mut select.having {
        bare_windows::resolve(having, &windows);
    }
    if let Some(OrderBy {
        kind: OrderByKind::Expressions(items),
        ..
    }) = order
    {
        for item in items {
            bare_windows::resolve(&mut item.expr, &windows);
        }
    }
}

/// The columns that a star leaves out.
fn left_out(options: &WildcardAdditionalOptions) -> Vec<Ident> {
    let mut names = Vec::new();
    if let Some(ExceptSelectItem {
        first_element,
        additional_elements,
    }) = &options.opt_except
    {
        names.push(first_element.clone());
        names.extend(additional_elements.iter().cloned());
    }
    let last = |name: &ObjectName| name.0.last().and_then(|part| part.as_ident().cloned());
    match &options.opt_exclude {
        Some(ExcludeSelectItem::Single(name)) => names.extend(last(name)),
        Some(ExcludeSelectItem::Multiple(all)) => names.extend(all.iter().filter_map(last)),
        None => {}
    }
    names
}

fn star_token() -> datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken {
    datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken::empty()
}
