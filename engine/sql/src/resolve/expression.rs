//! Names and calls inside an expression, where the columns around it and their types are known.
//!
//! Each expression is visited once. On the way down, calls become what Spark means by them
//! ([`rewrite::expression`]); on the way up, each name takes the spelling of the column that it means,
//! or the expression of the alias that it means, or is an error at its place.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::{
    ast::{
        AccessExpr, Expr, Function, Ident, LambdaFunction, Query, SetExpr, Value, Values, VisitMut,
        VisitorMut,
    },
    tokenizer::Span,
};

use super::{
    Resolver,
    scope::{Found, Merged, Scope, ScopeColumn, field_named, same_name},
};
use crate::{SqlError, calls::called, functions::fields::FIELDS, rewrite, text::place};

/// A column of a SELECT that others may name.
#[derive(Clone, Debug)]
pub(super) struct Alias {
    /// As a query shows it.
    pub(super) name: String,
    /// As the plan calls it.
    pub(super) column: String,
    /// What it stands for, resolved.
    pub(super) expr: Expr,
}

/// When a name may mean another column of the same SELECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AliasUse {
    /// Where no column has the name: then it stands for the expression.
    AfterColumns,
    /// Before columns, except inside aggregates: it stands for the expression, as in HAVING.
    Written,
    /// Before columns, except inside aggregates: it stays, as ORDER BY sees what is selected.
    Named,
}

/// What stands around an expression.
#[derive(Clone, Copy)]
pub(super) struct Around<'s> {
    pub(super) scope: &'s Scope,
    pub(super) aliases: &'s [Alias],
    pub(super) alias_use: AliasUse,
}

impl<'s> Around<'s> {
    /// Columns only.
    pub(super) fn columns(scope: &'s Scope) -> Around<'s> {
        Around {
            scope,
            aliases: &[],
            alias_use: AliasUse::AfterColumns,
        }
    }
}

impl Resolver<'_> {
    /// Resolves an expression in its place.
    ///
    /// # Errors
    /// Names that mean nothing or several things, calls that cannot be written.
    pub(super) fn expression(
        &mut self,
        expr: &mut Expr,
        around: Around<'_>,
    ) -> Result<(), SqlError> {
        self.visit(expr, around)
    }

    /// Resolves every expression inside a part of a syntax tree.
    ///
    /// # Errors
    /// As [`expression`](Resolver::expression).
    pub(super) fn visit(
        &mut self,
        part: &mut impl VisitMut,
        around: Around<'_>,
    ) -> Result<(), SqlError> {
        let mut names = Names {
            resolver: self,
            around,
            lambdas: Vec::new(),
            aggregates: 0,
            queries: Vec::new(),
        };
        match part.visit(&mut names) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }
}

/// What stands for a common column of a join.
pub(super) fn common(merged: &Merged, span: Span) -> Expr {
    let mut of = merged
        .of
        .iter()
        .map(|column| column_as_written(column, span));
    match (of.next(), merged.of.len()) {
        (Some(only), 1) => only,
        (first, _) => called("coalesce", first.into_iter().chain(of).collect()),
    }
}

/// A column with the relation that it is of.
pub(super) fn column_as_written(column: &ScopeColumn, span: Span) -> Expr {
    let name = ident(&column.column.name, span);
    match &column.column.relation {
        Some(relation) => Expr::CompoundIdentifier(vec![ident(relation.table(), span), name]),
        None => Expr::Identifier(name),
    }
}

struct Names<'r, 'a, 's> {
    resolver: &'r mut Resolver<'a>,
    around: Around<'s>,
    /// Parameters of the lambdas around.
    lambdas: Vec<String>,
    /// Aggregates around.
    aggregates: usize,
    /// Subqueries that were taken out of the expressions around.
    queries: Vec<Query>,
}

impl VisitorMut for Names<'_, '_, '_> {
    type Break = SqlError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        self.resolver.note_call(expr);
        if let Err(error) = rewrite::expression(expr) {
            return ControlFlow::Break(error);
        }
        match expr {
            Expr::Lambda(lambda) => self.lambdas.extend(parameters(lambda)),
            Expr::Function(call) if self.resolver.is_aggregate(call) => self.aggregates += 1,
            Expr::Subquery(query)
            | Expr::InSubquery {
                subquery: query, ..
            }
            | Expr::Exists {
                subquery: query, ..
            } => {
                // A query has a scope of its own: it is resolved as a whole, not by this visit.
                let query = std::mem::replace(query.as_mut(), nothing());
                self.queries.push(query);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let replaced = match expr {
            Expr::Lambda(lambda) => {
                let depth = self.lambdas.len() - parameters(lambda).count();
                self.lambdas.truncate(depth);
                Ok(None)
            }
            Expr::Function(call) => {
                self.aggregates -= usize::from(self.resolver.is_aggregate(call));
                rewrite::frames::bounds(call);
                Ok(None)
            }
            Expr::Subquery(query)
            | Expr::InSubquery {
                subquery: query, ..
            }
            | Expr::Exists {
                subquery: query, ..
            } => {
                let mut inner = self.queries.pop().unwrap_or_else(nothing);
                let resolved = self
                    .resolver
                    .inner_query(&mut inner, self.around.scope)
                    .map(|()| None);
                **query = inner;
                resolved
            }
            Expr::Identifier(ident) => self.name(std::slice::from_ref(ident)),
            Expr::CompoundIdentifier(path) => self.name(path),
            Expr::CompoundFieldAccess { root, access_chain } => self.fields(root, access_chain),
            _ => Ok(None),
        };
        match replaced {
            Ok(None) => {}
            Ok(Some(replaced)) => *expr = replaced,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

impl Names<'_, '_, '_> {
    /// What a path of names stands for.
    fn name(&self, path: &[Ident]) -> Result<Option<Expr>, SqlError> {
        let Some(first) = path.first() else {
            return Ok(None);
        };
        let parameter = self.lambdas.iter().rev();
        if let Some(parameter) = parameter.into_iter().find(|p| same_name(p, &first.value)) {
            let variable = Expr::Identifier(ident(parameter, first.span));
            return Ok(Some(path[1..].iter().fold(variable, |value, field| {
                called("get_field", vec![value, text(&field.value, field.span)])
            })));
        }
        let of_result = match self.around.alias_use {
            AliasUse::AfterColumns => None,
            AliasUse::Written | AliasUse::Named if self.aggregates > 0 => None,
            AliasUse::Written | AliasUse::Named => self.alias(first),
        };
        if let Some(alias) = of_result {
            let value = match self.around.alias_use {
                AliasUse::Named if path.len() == 1 => {
                    Expr::Identifier(ident(&alias.column, first.span))
                }
                _ => nested(alias.expr.clone()),
            };
            return self.path(value, None, &path[1..]).map(Some);
        }
        if let Some(column) = self.column(self.around.scope, path)? {
            return Ok(Some(column));
        }
        if let Some(alias) = self.alias(first) {
            let value = nested(alias.expr.clone());
            return self.path(value, None, &path[1..]).map(Some);
        }
        for outer in self.resolver.outer_scopes() {
            if let Some(column) = self.column(&outer, path)? {
                return Ok(Some(column));
            }
        }
        let error = self.around.scope.unknown(path);
        Err(error.at(position(path)))
    }

    fn alias(&self, name: &Ident) -> Option<&Alias> {
        let mut aliases = self.around.aliases.iter();
        aliases.find(|alias| same_name(&alias.name, &name.value))
    }

    /// The column of a scope that a path begins with, and its fields.
    fn column(&self, scope: &Scope, path: &[Ident]) -> Result<Option<Expr>, SqlError> {
        let (column, taken) = match scope.find(path) {
            Found::None => return Ok(None),
            Found::Several(columns) => {
                let name = path.iter().map(|part| part.value.as_str());
                let name = name.collect::<Vec<_>>().join(".");
                return Err(SqlError::Ambiguous { name, columns }.at(position(path)));
            }
            Found::Merged(merged) => {
                let data_type = merged.of.first().map(|column| column.data_type.clone());
                let value = common(merged, path[0].span);
                return self.path(value, data_type, &path[1..]).map(Some);
            }
            Found::Column(column, taken) => (column, taken),
        };
        let span = path[taken - 1].span;
        let name = ident(&column.column.name, span);
        let relation = column.column.relation.as_ref();
        let value = match relation {
            Some(relation) if taken > 1 || !self.is_alone(scope, &column.column.name) => {
                let relation = ident(relation.table(), path[0].span);
                Expr::CompoundIdentifier(vec![relation, name])
            }
            _ => Expr::Identifier(name),
        };
        let (data_type, fields) = (&column.data_type, &path[taken..]);
        if let Some(names) = struct_path(data_type, fields) {
            return Ok(Some(match (value, names.as_slice()) {
                (value, []) => value,
                (Expr::CompoundIdentifier(root), _) => {
                    Expr::CompoundIdentifier([root, names].concat())
                }
                (Expr::Identifier(root), _) => {
                    Expr::CompoundIdentifier([vec![root], names].concat())
                }
                (value, _) => value,
            }));
        }
        self.path(value, Some(data_type.clone()), fields).map(Some)
    }

    /// Whether the bare name of a plan's column is enough for DataFusion.
    fn is_alone(&self, scope: &Scope, name: &str) -> bool {
        let mut same = scope
            .columns
            .iter()
            .filter(|column| column.column.name == name);
        same.next().is_some() && same.next().is_none()
    }

    /// A value's fields, one inside the other. Without a type the names are taken as they are.
    fn path(
        &self,
        value: Expr,
        data_type: Option<DataType>,
        fields: &[Ident],
    ) -> Result<Expr, SqlError> {
        let mut value = value;
        let mut data_type = match data_type {
            Some(data_type) => Some(data_type),
            None if fields.is_empty() => None,
            None => self.resolver.type_of(&value, self.around.scope),
        };
        for field in fields {
            let access = access(value, data_type.as_ref(), &field.value, field.span);
            (value, data_type) = access.map_err(|error| error.at(Some(place(field.span.start))))?;
        }
        Ok(value)
    }

    /// `value.field`, `value[index]`, one after the other.
    fn fields(
        &self,
        root: &mut Expr,
        chain: &mut Vec<AccessExpr>,
    ) -> Result<Option<Expr>, SqlError> {
        let names = chain.iter().take_while(|access| field(access).is_some());
        let names: Vec<Ident> = names.filter_map(field).collect();
        if names.is_empty() || !self.lambdas.is_empty() {
            return Ok(None);
        }
        let Some(data_type) = self.resolver.type_of(root, self.around.scope) else {
            return Ok(None);
        };
        let rest = chain.split_off(names.len());
        let value = self.path(root.clone(), Some(data_type), &names)?;
        Ok(Some(if rest.is_empty() {
            value
        } else {
            Expr::CompoundFieldAccess {
                root: Box::new(nested(value)),
                access_chain: rest,
            }
        }))
    }
}

/// The fields of structs inside each other, as they are spelled; nothing if one is no field of a struct.
fn struct_path(data_type: &DataType, fields: &[Ident]) -> Option<Vec<Ident>> {
    let mut data_type = data_type;
    let mut names = Vec::with_capacity(fields.len());
    for field in fields {
        let DataType::Struct(known) = data_type else {
            return None;
        };
        let name = field_named(known, &field.value)?;
        names.push(ident(name, field.span));
        data_type = known.find(name)?.1.data_type();
    }
    Some(names)
}

/// A field by its name, and its type: of a struct, of each struct of a list, or the value of a map's key.
fn access(
    value: Expr,
    data_type: Option<&DataType>,
    name: &str,
    span: Span,
) -> Result<(Expr, Option<DataType>), SqlError> {
    let field = |fields: &arrow::datatypes::Fields| -> Result<(String, DataType), SqlError> {
        let found = field_named(fields, name).and_then(|name| fields.find(name));
        let (_, field) = found.ok_or_else(|| SqlError::NoField {
            name: name.to_owned(),
            known: fields.iter().map(|field| field.name().clone()).collect(),
        })?;
        Ok((field.name().clone(), field.data_type().clone()))
    };
    Ok(match data_type {
        Some(DataType::Struct(fields)) => {
            let (name, data_type) = field(fields)?;
            let value = called("get_field", vec![value, text(&name, span)]);
            (value, Some(data_type))
        }
        Some(DataType::List(item)) if matches!(item.data_type(), DataType::Struct(_)) => {
            let DataType::Struct(fields) = item.data_type() else {
                return Err(SqlError::internal("a list of structs has fields"));
            };
            let (name, data_type) = field(fields)?;
            let value = called(FIELDS, vec![value, text(&name, span)]);
            let item = arrow::datatypes::Field::new_list_field(data_type, true);
            (value, Some(DataType::List(std::sync::Arc::new(item))))
        }
        Some(DataType::Map(entries, _)) => {
            let value = called("element_at", vec![value, text(name, span)]);
            let data_type = match entries.data_type() {
                DataType::Struct(parts) => parts.get(1).map(|part| part.data_type().clone()),
                _ => None,
            };
            (value, data_type)
        }
        _ => {
            let value = called("get_field", vec![value, text(name, span)]);
            (value, None)
        }
    })
}

/// The name behind a dot.
fn field(access: &AccessExpr) -> Option<Ident> {
    match access {
        AccessExpr::Dot(Expr::Identifier(name)) => Some(name.clone()),
        AccessExpr::Dot(Expr::Value(value)) => match &value.value {
            Value::SingleQuotedString(name) => Some(ident(name, value.span)),
            _ => None,
        },
        AccessExpr::Dot(_) | AccessExpr::Subscript(_) => None,
    }
}

fn parameters(lambda: &LambdaFunction) -> impl Iterator<Item = String> {
    let parameters = lambda.params.iter();
    parameters.map(|parameter| parameter.name.value.clone())
}

fn nested(expr: Expr) -> Expr {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Function(_) => expr,
        other => Expr::Nested(Box::new(other)),
    }
}

/// A name with its place.
pub(super) fn ident(name: &str, span: Span) -> Ident {
    Ident::with_quote_and_span('`', span, name)
}

fn text(text: &str, span: Span) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).with_span(span))
}

pub(super) fn position(path: &[Ident]) -> Option<millstream_types::TextPosition> {
    let start = path.first()?.span.start;
    (start.line > 0).then(|| place(start))
}

/// A query that stands for one that is resolved elsewhere.
fn nothing() -> Query {
    Query {
        with: None,
        body: Box::new(SetExpr::Values(Values {
            explicit_row: false,
            value_keyword: false,
            rows: Vec::new(),
        })),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

impl Resolver<'_> {
    /// Whether a call is of an aggregate function.
    fn is_aggregate(&self, call: &Function) -> bool {
        call.over.is_none() && self.knows_aggregate(&call.name.to_string().to_lowercase())
    }
}
