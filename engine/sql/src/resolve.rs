//! The resolver: from a syntax tree to a logical plan.
//!
//! The tree is sqlparser's; a text and calls of a DataFrame make the same one. It is resolved from the
//! inside out, a query level at a time:
//!
//! 1. what stands in FROM is planned, and a name of its own takes its place ([`from`]): nothing is
//!    planned twice, and the columns and types are known from here on;
//! 2. generators, stars, bare windows and aliases become plain expressions ([`select`]);
//! 3. every name takes the spelling of the column that it means, in its [`scope`], or is an error
//!    at its place ([`expression`]);
//! 4. DataFusion plans the level: grouping, HAVING, ORDER BY, joins and set operations are its own.
//!
//! Why it is so: [decision 0013](../../../docs/adr/0013-one-tree-one-resolver.md).

mod expression;
pub(crate) mod from;
pub(crate) mod scope;
pub(crate) mod select;

use std::{collections::HashMap, ops::ControlFlow};

use arrow::datatypes::DataType;
use datafusion::{
    logical_expr::{ExprSchemable, LogicalPlan},
    sql::{
        planner::{ParserOptions, PlannerContext, SqlToRel},
        sqlparser::ast::{
            CastKind, DataType as Type, ExactNumberInfo, Expr, GroupByExpr, OrderBy, OrderByKind,
            Query, Select, SelectItem, SetExpr, Spanned, Statement, TableFactor, TableWithJoins,
            Values, Visit, Visitor, With,
        },
    },
};
use millstream_types::TextPosition;

use crate::{
    SqlError,
    error::from_datafusion,
    numbers::narrow_literals,
    provider::Provider,
    rewrite::{clauses, generate},
    text::place,
    watermark::marks_of_subqueries,
};
use expression::Around;
use scope::Scope;
pub(crate) use scope::shown;

/// Resolves one query. Make one for each.
pub(crate) struct Resolver<'a> {
    provider: &'a Provider<'a>,
    planner: SqlToRel<'a, Provider<'a>>,
    /// Holds the relations that were planned, under names of ours.
    context: PlannerContext,
    relations: usize,
    /// The common table expressions that can be seen, the nearest last.
    ctes: Vec<(String, LogicalPlan)>,
    /// The columns of the queries around, the nearest last.
    outer: Vec<Scope>,
    /// Where each function is called first.
    calls: HashMap<String, TextPosition>,
    /// The SELECTs that were resolved since a level was planned.
    levels: Vec<Level>,
}

/// The expressions of a SELECT, kept so that an error can be said to be of one of them.
struct Level {
    expressions: Vec<Expr>,
    scope: Scope,
}

impl Level {
    fn of(select: &Select, scope: Scope) -> Level {
        let items = select.projection.iter().filter_map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
            SelectItem::ExprWithAliases { .. }
            | SelectItem::QualifiedWildcard(..)
            | SelectItem::Wildcard(_) => None,
        });
        let groups = match &select.group_by {
            GroupByExpr::Expressions(groups, _) => groups.as_slice(),
            GroupByExpr::All(_) => &[],
        };
        let all = select.selection.iter().chain(items).chain(groups);
        Level {
            expressions: all.chain(&select.having).cloned().collect(),
            scope,
        }
    }
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(provider: &'a Provider<'a>) -> Resolver<'a> {
        Resolver {
            planner: SqlToRel::new_with_options(provider, parser_options()),
            provider,
            context: PlannerContext::new(),
            relations: 0,
            ctes: Vec::new(),
            outer: Vec::new(),
            calls: HashMap::new(),
            levels: Vec::new(),
        }
    }

    /// The logical plan of a query.
    ///
    /// # Errors
    /// Names that mean nothing, what DataFusion refuses; with a place where one is known.
    pub(crate) fn resolve(&mut self, mut query: Query) -> Result<LogicalPlan, SqlError> {
        self.query(&mut query)?;
        self.plan(query)
    }

    /// The logical plan of a query over relations that have names of ours.
    ///
    /// # Errors
    /// As [`resolve`](Resolver::resolve).
    pub(crate) fn resolve_over(
        &mut self,
        query: Query,
        relations: Vec<(String, LogicalPlan)>,
    ) -> Result<LogicalPlan, SqlError> {
        self.ctes.extend(relations);
        self.resolve(query)
    }

    /// The plan of a level of which every part is resolved.
    fn plan(&mut self, query: Query) -> Result<LogicalPlan, SqlError> {
        let is_values = matches!(query.body.as_ref(), SetExpr::Values(_));
        let statement = Statement::Query(Box::new(query));
        let levels = std::mem::take(&mut self.levels);
        self.planner
            .sql_statement_to_plan_with_context(statement, &mut self.context)
            .and_then(marks_of_subqueries)
            .and_then(narrow_literals)
            .and_then(|plan| {
                if is_values {
                    from::sparks_columns(&plan)
                } else {
                    Ok(plan)
                }
            })
            .map_err(|error| self.placed(from_datafusion(error), &levels))
    }

    /// Gives an error the place of the call or of the expression that it is about.
    fn placed(&self, error: SqlError, levels: &[Level]) -> SqlError {
        if let SqlError::NoFunction { name, .. } = &error {
            let place = self.calls.get(&name.to_lowercase()).copied();
            return error.at(place);
        }
        let mut all = levels
            .iter()
            .flat_map(|level| level.expressions.iter().map(|expr| (expr, &level.scope)));
        if matches!(error, SqlError::UnknownWord { .. }) {
            return error;
        }
        let wrong = all.find(|(expr, scope)| !self.can_be_planned(expr, scope));
        error.at(wrong.and_then(|(expr, scope)| self.smallest(expr, scope)))
    }

    /// The place of the smallest part of an expression that cannot be planned alone.
    fn smallest(&self, expr: &Expr, scope: &Scope) -> Option<TextPosition> {
        let mut looked = Smallest {
            can: &|part| self.can_be_planned(part, scope),
            lambdas: 0,
        };
        let found = match expr.visit(&mut looked) {
            ControlFlow::Break(place) => Some(place),
            ControlFlow::Continue(()) => None,
        };
        let whole = expr.span().start;
        found.or_else(|| (whole.line > 0).then(|| place(whole)))
    }

    fn can_be_planned(&self, expr: &Expr, scope: &Scope) -> bool {
        let mut context = self.context.clone();
        let planned = self
            .planner
            .sql_to_expr(expr.clone(), &scope.schema, &mut context);
        planned.is_ok_and(|expr| expr.get_type(&scope.schema).is_ok())
    }

    /// Resolves a query in its place.
    fn query(&mut self, query: &mut Query) -> Result<(), SqlError> {
        clauses::of_query(query)?;
        let known = self.ctes.len();
        if let Some(with) = query.with.take() {
            self.with(with)?;
        }
        let resolved = self.body(query);
        self.ctes.truncate(known);
        resolved
    }

    fn with(&mut self, with: With) -> Result<(), SqlError> {
        if with.recursive {
            return Err(SqlError::unsupported("WITH RECURSIVE"));
        }
        for cte in with.cte_tables {
            let mut query = *cte.query;
            self.query(&mut query)?;
            let plan = self.plan(query)?;
            let name = cte.alias.name.value.to_lowercase();
            let plan = from::aliased(plan, Some(cte.alias))?;
            self.ctes.push((name, plan));
        }
        Ok(())
    }

    fn body(&mut self, query: &mut Query) -> Result<(), SqlError> {
        let order = query.order_by.as_mut();
        match query.body.as_mut() {
            SetExpr::Select(select) => self.select(select, order),
            SetExpr::SetOperation { .. }
            | SetExpr::Query(_)
            | SetExpr::Values(_)
            | SetExpr::Table(_) => {
                self.set(&mut query.body)?;
                if query.order_by.is_none() {
                    return Ok(());
                }
                if matches!(query.body.as_ref(), SetExpr::Values(_)) {
                    let rows = Query {
                        body: query.body.clone(),
                        ..*generate::star()?
                    };
                    let rows = self.plan(rows)?;
                    let mut all = generate::star()?;
                    generate::select_of(&mut all)?.from = vec![TableWithJoins {
                        relation: self.relation_of(rows)?,
                        joins: Vec::new(),
                    }];
                    query.body = all.body;
                }
                let unordered = Query {
                    order_by: None,
                    limit_clause: None,
                    ..query.clone()
                };
                let scope = Scope::of(&self.plan(unordered)?);
                self.order(&mut query.order_by.as_mut(), Around::columns(&scope))
            }
            other => Err(no_query(other)),
        }
    }

    /// The sides of a set operation.
    fn set(&mut self, body: &mut SetExpr) -> Result<(), SqlError> {
        match body {
            SetExpr::Select(select) => self.select(select, None),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                self.set(left)?;
                self.set(right)
            }
            SetExpr::Values(values) => {
                let none = Scope::empty();
                self.visit(values, Around::columns(&none))?;
                self.doubles_beside_decimals(values);
                Ok(())
            }
            SetExpr::Table(table) => {
                // `TABLE t` is `SELECT * FROM t`.
                let name = table.table_name.clone().unwrap_or_default();
                let mut all = generate::star()?;
                let relation = from::named(&name)?;
                generate::select_of(&mut all)?.from = vec![TableWithJoins {
                    relation,
                    joins: Vec::new(),
                }];
                self.query(&mut all)?;
                *body = SetExpr::Query(all);
                Ok(())
            }
            other => Err(no_query(other)),
        }
    }

    /// In a column of VALUES with a double all decimals are doubles: the library would make decimals of
    /// the doubles, and null of those that are no number.
    fn doubles_beside_decimals(&self, values: &mut Values) {
        let none = Scope::empty();
        let width = values.rows.iter().map(|row| row.content.len()).min();
        for column in 0..width.unwrap_or(0) {
            let types: Vec<Option<DataType>> = values
                .rows
                .iter()
                .map(|row| self.type_of(&row.content[column], &none))
                .collect();
            let has_double = types.contains(&Some(DataType::Float64));
            for (row, found) in values.rows.iter_mut().zip(types) {
                let is_decimal = matches!(found, Some(DataType::Decimal128(..)));
                if has_double && is_decimal {
                    let cell = row.content[column].clone();
                    row.content[column] = Expr::Cast {
                        kind: CastKind::Cast,
                        expr: Box::new(cell),
                        data_type: Type::Double(ExactNumberInfo::None),
                        array: false,
                        format: None,
                    };
                }
            }
        }
    }

    fn order(
        &mut self,
        order: &mut Option<&mut OrderBy>,
        around: Around<'_>,
    ) -> Result<(), SqlError> {
        let Some(OrderBy {
            kind: OrderByKind::Expressions(items),
            ..
        }) = order
        else {
            return Ok(());
        };
        items
            .iter_mut()
            .try_for_each(|item| self.expression(&mut item.expr, around))
    }

    /// A query inside an expression, which sees the columns around it.
    fn inner_query(&mut self, query: &mut Query, around: &Scope) -> Result<(), SqlError> {
        self.outer.push(around.clone());
        let resolved = self.query(query);
        self.outer.pop();
        resolved
    }

    /// The scopes of the queries around, the nearest first.
    fn outer_scopes(&self) -> Vec<Scope> {
        self.outer.iter().rev().cloned().collect()
    }

    /// The type of an expression of which every part is resolved, if DataFusion knows it.
    fn type_of(&self, expr: &Expr, scope: &Scope) -> Option<DataType> {
        let mut context = self.context.clone();
        let expr = self
            .planner
            .sql_to_expr(expr.clone(), &scope.schema, &mut context)
            .ok()?;
        expr.get_type(&scope.schema).ok()
    }

    /// Remembers where a function is called, for errors that do not know.
    fn note_call(&mut self, expr: &Expr) {
        if let Expr::Function(call) = expr {
            let at = call.name.span().start;
            if at.line > 0 {
                let name = call.name.to_string().to_lowercase();
                self.calls.entry(name).or_insert_with(|| place(at));
            }
        }
    }

    fn knows_aggregate(&self, name: &str) -> bool {
        self.provider.registry.aggregate.contains_key(name)
    }

    /// A name of ours for a relation that was planned.
    fn relation_of(&mut self, plan: LogicalPlan) -> Result<TableFactor, SqlError> {
        self.relations += 1;
        let name = format!("__relation_{}", self.relations);
        self.context.insert_cte(name.clone(), plan);
        from::named(&name)
    }
}

fn no_query(body: &SetExpr) -> SqlError {
    let text = body.to_string();
    let word = text.split(' ').next().unwrap_or_default();
    SqlError::unsupported(format!("{word} as a query"))
}

/// Looks for the first part of an expression that cannot be planned, the inner ones first.
struct Smallest<'c> {
    can: &'c dyn Fn(&Expr) -> bool,
    /// Lambdas around: what stands in one means nothing alone.
    lambdas: usize,
}

impl Visitor for Smallest<'_> {
    type Break = TextPosition;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<TextPosition> {
        self.lambdas += usize::from(matches!(expr, Expr::Lambda(_)));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<TextPosition> {
        self.lambdas -= usize::from(matches!(expr, Expr::Lambda(_)));
        let at = expr.span().start;
        if self.lambdas == 0 && at.line > 0 && !matches!(expr, Expr::Lambda(_)) && !(self.can)(expr)
        {
            return ControlFlow::Break(place(at));
        }
        ControlFlow::Continue(())
    }
}

fn parser_options() -> ParserOptions {
    ParserOptions::new()
        .with_parse_float_as_decimal(true)
        .with_enable_ident_normalization(false)
        .with_collect_spans(true)
        .with_map_string_types_to_utf8view(false)
        .with_default_null_ordering(datafusion::sql::planner::NullOrdering::NullsMin)
}
