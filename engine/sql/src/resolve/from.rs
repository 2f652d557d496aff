//! FROM: every relation is planned, and a name takes its place.

use std::sync::Arc;

use datafusion::{
    common::{DFSchema, TableReference},
    logical_expr::{Expr as LogicalExpr, LogicalPlan, LogicalPlanBuilder},
    sql::{
        planner::ContextProvider,
        sqlparser::{
            ast::{
                BinaryOperator, Expr, FunctionArg, FunctionArgExpr, Ident, JoinConstraint,
                JoinOperator, ObjectName, Select, SelectItem, Spanned, TableAlias, TableFactor,
                TableWithJoins, Value,
            },
            tokenizer::Span,
        },
    },
};

use super::{
    Resolver,
    expression::{Around, common, position},
    scope::{Found, Merged, Scope, ScopeColumn, apart},
};
use crate::{
    SqlError, Table,
    catalog::Entry,
    ddl::parse_interval,
    error::from_datafusion,
    provider::scan,
    rewrite::generate::{self, View},
    text::{WATERMARK_FUNCTION, place},
    watermark::with_watermark,
};

/// The name of a table's own columns while others are computed of them.
const COMPUTED: &str = "__computed";

impl Resolver<'_> {
    /// Plans everything in FROM and says which columns there are.
    ///
    /// # Errors
    /// Unknown tables, conditions of joins with unknown names.
    pub(super) fn from(&mut self, select: &mut Select) -> Result<Scope, SqlError> {
        let mut views = generate::lists_in_from(select)?;
        let mut scope = Scope::empty();
        for item in &mut select.from {
            let own = self.joined(item)?;
            scope = scope.beside(own, Vec::new());
        }
        views.extend(generate::lateral_views(select)?);
        for view in views {
            scope = self.view(select, view, scope)?;
        }
        Ok(scope)
    }

    /// A relation and those that are joined to it.
    fn joined(&mut self, item: &mut TableWithJoins) -> Result<Scope, SqlError> {
        let mut scope = self.relation(&mut item.relation)?;
        for join in &mut item.joins {
            let right = self.relation(&mut join.relation)?;
            let kept = kept(&join.join_operator);
            let sides = [scope.clone(), right.clone()];
            let merges = merges(&join.join_operator);
            let Some(constraint) = constraint(&mut join.join_operator) else {
                scope = scope.beside(right, Vec::new());
                continue;
            };
            let names = match constraint {
                JoinConstraint::On(condition) => {
                    let both = scope.clone().beside(right.clone(), Vec::new());
                    self.expression(condition, Around::columns(&both))?;
                    Vec::new()
                }
                JoinConstraint::Using(names) => {
                    let names = names.iter().filter_map(|name| name.0.last()?.as_ident());
                    names.cloned().collect()
                }
                JoinConstraint::Natural => scope.shared(&right),
                JoinConstraint::None => Vec::new(),
            };
            if matches!(
                constraint,
                JoinConstraint::Using(_) | JoinConstraint::Natural
            ) {
                let (condition, merged) = shared_columns(&names, [&scope, &right], merges)?;
                *constraint = condition.map_or(JoinConstraint::None, JoinConstraint::On);
                scope = scope.beside(right, merged);
            } else {
                scope = scope.beside(right, Vec::new());
            }
            let [left, right] = sides;
            match kept {
                Kept::Both => {}
                Kept::Left => scope = left,
                Kept::Right => scope = right,
            }
        }
        Ok(scope)
    }

    /// Plans a relation and puts a name in its place.
    fn relation(&mut self, factor: &mut TableFactor) -> Result<Scope, SqlError> {
        let (plan, alias) = match factor {
            TableFactor::Table {
                sample: Some(_), ..
            } => {
                return Err(SqlError::NotOnStream {
                    what: "Sampling is not supported on streaming DataFrames/Datasets".to_owned(),
                    hint: "filter with rand() < fraction",
                });
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            } => return self.joined(table_with_joins),
            TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } => (self.table(name)?, alias.take()),
            TableFactor::Table {
                name,
                alias,
                args: Some(args),
                ..
            } => (self.function(name, &args.args)?, alias.take()),
            TableFactor::Function {
                name, args, alias, ..
            } => (self.function(name, args)?, alias.take()),
            TableFactor::Derived {
                subquery, alias, ..
            } => {
                self.query(subquery)?;
                (self.plan(subquery.as_ref().clone())?, alias.take())
            }
            _ => {
                let text = factor.to_string();
                let word = text.split(['(', ' ']).next().unwrap_or_default();
                return Err(SqlError::unsupported(format!("{word} in FROM")));
            }
        };
        let plan = aliased(plan, alias)?;
        let scope = Scope::of(&plan);
        *factor = self.relation_of(plan)?;
        Ok(scope)
    }

    /// A plan that reads a table: the columns of its source, those that are computed of them, and its
    /// watermark.
    ///
    /// # Errors
    /// The connector's reason why the table cannot be read; what is wrong with a computed column.
    pub(crate) fn read(&mut self, table: &Arc<Table>) -> Result<LogicalPlan, SqlError> {
        let mut plan = scan(table)?;
        if !table.generated.is_empty() {
            let mut all = generate::star()?;
            let select = generate::select_of(&mut all)?;
            select.from = vec![TableWithJoins {
                relation: named(COMPUTED)?,
                joins: Vec::new(),
            }];
            for column in &table.generated {
                select.projection.push(SelectItem::ExprWithAlias {
                    expr: column.expr.clone(),
                    alias: Ident::with_quote('`', &column.name),
                });
            }
            let known = self.ctes.len();
            self.ctes.push((COMPUTED.to_owned(), plan));
            let computed = self.query(&mut all).and_then(|()| self.plan(*all));
            self.ctes.truncate(known);
            let position = table.generated.first().and_then(|column| column.position);
            let name = TableReference::bare(table.name.as_str());
            plan = computed
                .and_then(|plan| {
                    LogicalPlanBuilder::from(plan)
                        .alias(name)
                        .and_then(LogicalPlanBuilder::build)
                        .map_err(from_datafusion)
                })
                .map_err(|error| error.at(position))?;
        }
        match &table.watermark {
            None => Ok(plan),
            Some(mark) => with_watermark(plan, &mark.column, mark.delay),
        }
    }

    /// The plan of a table or view of the catalog.
    fn of_catalog(&mut self, name: &str) -> Result<LogicalPlan, SqlError> {
        let provider = self.provider;
        match provider.catalog.get(name)? {
            Entry::Table(table) if table.watermark.is_some() || !table.generated.is_empty() => {
                let plan = self.read(table)?;
                // As a view would stand there.
                LogicalPlanBuilder::from(plan)
                    .alias(TableReference::bare(table.name.as_str()))
                    .and_then(LogicalPlanBuilder::build)
                    .map_err(from_datafusion)
            }
            _ => provider.relation(name),
        }
    }

    /// A common table expression, a table or a view.
    fn table(&mut self, name: &ObjectName) -> Result<LogicalPlan, SqlError> {
        let Some(last) = name.0.last().and_then(|part| part.as_ident()) else {
            return Err(SqlError::internal("a table without a name"));
        };
        let at = last.span.start;
        let at = (at.line > 0).then(|| place(at));
        let cte = self.ctes.iter().rev();
        let cte = cte
            .into_iter()
            .find(|(cte, _)| name.0.len() == 1 && *cte == last.value.to_lowercase());
        if let Some((_, plan)) = cte {
            return Ok(plan.clone());
        }
        self.of_catalog(&last.value).map_err(|error| error.at(at))
    }

    /// A function that gives a table.
    fn function(
        &mut self,
        name: &ObjectName,
        args: &[FunctionArg],
    ) -> Result<LogicalPlan, SqlError> {
        if name.to_string() == WATERMARK_FUNCTION {
            return self.marked(args);
        }
        let at = name.span().start;
        let at = (at.line > 0).then(|| place(at));
        let none = DFSchema::empty();
        let argument = |arg: &FunctionArg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                let mut context = self.context.clone();
                self.planner
                    .sql_to_expr(expr.clone(), &none, &mut context)
                    .map_err(from_datafusion)
            }
            other => Err(SqlError::unsupported(format!("the argument {other}"))),
        };
        let args = args.iter().map(argument).collect::<Result<Vec<_>, _>>();
        let plan = args.and_then(|args| {
            let name = name.to_string();
            let source = self.provider.get_table_function_source(&name, args);
            let reference = TableReference::bare(format!("{name}()"));
            source
                .and_then(|source| LogicalPlanBuilder::scan(reference, source, None))
                .and_then(LogicalPlanBuilder::build)
                .map_err(from_datafusion)
        });
        plan.map_err(|error| error.at(at))
    }

    /// `__watermark('table', 'column', 'delay')`.
    fn marked(&mut self, args: &[FunctionArg]) -> Result<LogicalPlan, SqlError> {
        let texts = args.iter().filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
                Value::SingleQuotedString(text) => Some((text.as_str(), value.span)),
                _ => None,
            },
            _ => None,
        });
        let texts: Vec<(&str, Span)> = texts.collect();
        let [(table, at), (column, _), (delay, _)] = texts.as_slice() else {
            return Err(SqlError::internal("a WATERMARK clause lost its parts"));
        };
        let name = ObjectName::from(vec![Ident::with_quote_and_span('`', *at, *table)]);
        let plan = self.table(&name)?;
        with_watermark(plan, column, parse_interval(delay)?)
    }

    /// Adds generated columns, which stand beside all others under a name.
    fn view(&mut self, select: &mut Select, view: View, scope: Scope) -> Result<Scope, SqlError> {
        let View {
            name,
            generator,
            columns: names,
            outer,
        } = view;
        let columns = self.generated(generator, &names, outer, &scope)?;
        let mut level = generate::star()?;
        if select.from.is_empty() {
            generate::select_of(&mut level)?.projection.clear();
        }
        let mut own = Vec::new();
        for (nth, (expr, shown)) in columns.into_iter().enumerate() {
            // A plan has no two columns of one name; what the query says is kept in the scope.
            let is_taken = scope
                .columns
                .iter()
                .any(|column| column.column.name == shown);
            let alias = if is_taken {
                apart(&shown, self.relations + nth + 1)
            } else {
                shown
            };
            own.push(alias.clone());
            generate::select_of(&mut level)?
                .projection
                .push(SelectItem::ExprWithAlias {
                    expr,
                    alias: Ident::with_quote('`', alias),
                });
        }
        generate::select_of(&mut level)?.from = std::mem::take(&mut select.from);
        let plan = self.plan(*level)?;
        let all = Scope::of(&plan);
        let mut joined = scope;
        let added = all
            .columns
            .iter()
            .filter(|column| column.column.relation.is_none() && own.contains(&column.column.name));
        let added = added.map(|column| ScopeColumn {
            relation: Some(name.value.clone()),
            ..column.clone()
        });
        joined.columns.extend(added);
        joined.schema = all.schema;
        select.from = vec![TableWithJoins {
            relation: self.relation_of(plan)?,
            joins: Vec::new(),
        }];
        Ok(joined)
    }
}

/// Which side's columns a join gives.
enum Kept {
    Both,
    Left,
    Right,
}

fn kept(operator: &JoinOperator) -> Kept {
    match operator {
        JoinOperator::Semi(_)
        | JoinOperator::LeftSemi(_)
        | JoinOperator::Anti(_)
        | JoinOperator::LeftAnti(_) => Kept::Left,
        JoinOperator::RightSemi(_) | JoinOperator::RightAnti(_) => Kept::Right,
        _ => Kept::Both,
    }
}

/// Of which sides the common columns of a join are.
#[derive(Clone, Copy)]
enum Merges {
    Left,
    Right,
    Both,
}

fn merges(operator: &JoinOperator) -> Merges {
    match operator {
        JoinOperator::Right(_)
        | JoinOperator::RightOuter(_)
        | JoinOperator::RightSemi(_)
        | JoinOperator::RightAnti(_) => Merges::Right,
        JoinOperator::FullOuter(_) => Merges::Both,
        _ => Merges::Left,
    }
}

/// USING and NATURAL as a condition, and what becomes of the columns that they name.
///
/// # Errors
/// Names that one side does not have, or has more than once.
fn shared_columns(
    names: &[Ident],
    sides: [&Scope; 2],
    merges: Merges,
) -> Result<(Option<Expr>, Vec<Merged>), SqlError> {
    let mut condition = None;
    let mut all = Vec::new();
    for name in names {
        let [left, right] = [of_side(sides[0], name)?, of_side(sides[1], name)?];
        let equal = binary(
            common(&left, name.span),
            BinaryOperator::Eq,
            common(&right, name.span),
        );
        condition = Some(match condition {
            Some(others) => binary(others, BinaryOperator::And, equal),
            None => equal,
        });
        let of = match merges {
            Merges::Left => left.of,
            Merges::Right => right.of,
            Merges::Both => [left.of, right.of].concat(),
        };
        all.push(Merged {
            name: left.name,
            of,
        });
    }
    Ok((condition, all))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

/// What a name means on one side of a join.
fn of_side(scope: &Scope, name: &Ident) -> Result<Merged, SqlError> {
    let path = std::slice::from_ref(name);
    match scope.find(path) {
        Found::Merged(merged) => Ok(merged.clone()),
        Found::Column(column, _) => Ok(Merged {
            name: column.name().to_owned(),
            of: vec![column.clone()],
        }),
        Found::Several(columns) => {
            let name = name.value.clone();
            Err(SqlError::Ambiguous { name, columns }.at(position(path)))
        }
        Found::None => Err(scope.unknown(path).at(position(path))),
    }
}

fn constraint(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::CrossJoin(constraint)
        | JoinOperator::Semi(constraint)
        | JoinOperator::LeftSemi(constraint)
        | JoinOperator::RightSemi(constraint)
        | JoinOperator::Anti(constraint)
        | JoinOperator::LeftAnti(constraint)
        | JoinOperator::RightAnti(constraint)
        | JoinOperator::StraightJoin(constraint) => Some(constraint),
        _ => None,
    }
}

/// A plan under another name, with other names of its columns if the alias has some.
///
/// # Errors
/// When there are more or fewer names than columns.
pub(super) fn aliased(
    plan: LogicalPlan,
    alias: Option<TableAlias>,
) -> Result<LogicalPlan, SqlError> {
    let Some(alias) = alias else {
        return Ok(plan);
    };
    let columns = plan.schema().columns();
    let mut builder = LogicalPlanBuilder::from(plan);
    if !alias.columns.is_empty() {
        if alias.columns.len() != columns.len() {
            return Err(SqlError::plan(format!(
                "{} has {} columns and is given {} names",
                alias.name.value,
                columns.len(),
                alias.columns.len()
            )));
        }
        let named = columns
            .into_iter()
            .zip(&alias.columns)
            .map(|(column, name)| LogicalExpr::Column(column).alias(name.name.value.clone()));
        builder = builder.project(named).map_err(from_datafusion)?;
    }
    builder
        .alias(TableReference::bare(alias.name.value))
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

/// The columns of VALUES as Spark names them.
///
/// # Errors
/// Never for a plan that is whole.
pub(super) fn sparks_columns(plan: &LogicalPlan) -> datafusion::common::Result<LogicalPlan> {
    let columns = plan.schema().columns().into_iter();
    let named = (1..).zip(columns).map(|(number, column)| {
        let name = format!("col{number}");
        LogicalExpr::Column(column).alias(name)
    });
    LogicalPlanBuilder::from(plan.clone())
        .project(named)?
        .build()
}

/// A plain table of FROM.
///
/// # Errors
/// Never, as `name` is a word.
pub(crate) fn named(name: &str) -> Result<TableFactor, SqlError> {
    crate::rewrite::windows::table(vec![Ident::new(name)])
        .ok_or_else(|| SqlError::internal("a relation has a name"))
}
