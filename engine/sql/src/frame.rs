//! The trees that the calls of a DataFrame make: each is a SELECT over the frame's plan.
//!
//! A call means what the SELECT means that a text would have for it, so there is nothing else to say here
//! than which one that is. Names are looked up in the columns of the frame.

use datafusion::{
    common::{Column as PlanColumn, TableReference},
    logical_expr::{Expr as LogicalExpr, LogicalPlan, LogicalPlanBuilder},
    sql::sqlparser::ast::{
        Distinct, Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, LimitClause, ObjectName,
        Offset, OffsetRows, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, SetOperator,
        SetQuantifier, TableWithJoins, Value,
    },
};

use crate::{
    Catalog, Column, Planner, SortColumn, SqlError,
    error::from_datafusion,
    resolve::{
        from::named,
        scope::{Scope, apart},
        select::named as column_of,
    },
    rewrite::generate::{select_of, star},
};

/// How groups are made of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// By all keys.
    Keys,
    /// By all keys, by all but the last, … and by none.
    Rollup,
    /// By each choice of keys.
    Cube,
}

/// How two frames are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs only.
    Inner,
    /// And rows of the left side without a partner.
    LeftOuter,
    /// And rows of the right side without a partner.
    RightOuter,
    /// And rows of both sides without a partner.
    FullOuter,
    /// Rows of the left side with a partner.
    LeftSemi,
    /// Rows of the left side without a partner.
    LeftAnti,
}

/// On what two frames are joined.
#[derive(Clone, Debug)]
pub enum JoinOn {
    /// Rows for which this holds.
    Condition(Column),
    /// Rows that are equal in these columns, which the result has once.
    Columns(Vec<String>),
    /// Every row with every other.
    Nothing,
}

/// How two frames become one, row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// All rows of both, by the place of their columns.
    Union,
    /// All rows of both, by the names of their columns.
    UnionByName,
    /// Different rows that both have.
    Intersect,
    /// Different rows of the first that the other does not have.
    Except,
}

/// A part of a SELECT that a call of a frame is.
type Write<'w> = &'w mut dyn FnMut(&mut Query) -> Result<(), SqlError>;

impl Planner {
    /// Plans `SELECT * FROM inputs` as `write` changes it. The inputs have the names of ours `input(n)`.
    fn derive(
        &self,
        catalog: &Catalog,
        inputs: &[&LogicalPlan],
        write: Write<'_>,
    ) -> Result<LogicalPlan, SqlError> {
        let mut query = star()?;
        select_of(&mut query)?.from = vec![relation(0)?];
        write(&mut query)?;
        let names = (0..inputs.len()).map(input);
        let inputs = names.zip(inputs.iter().map(|plan| (*plan).clone()));
        self.resolve_over(catalog, *query, inputs.collect())
    }

    fn derive_select(
        &self,
        catalog: &Catalog,
        plan: &LogicalPlan,
        write: impl FnOnce(&mut Select),
    ) -> Result<LogicalPlan, SqlError> {
        let mut write = Some(write);
        self.derive(catalog, &[plan], &mut |query| {
            let select = select_of(query)?;
            if let Some(write) = write.take() {
                write(select);
            }
            Ok(())
        })
    }

    /// `SELECT columns`.
    ///
    /// # Errors
    /// As of a query text: unknown names, types that do not fit.
    pub fn select(
        &self,
        catalog: &Catalog,
        plan: &LogicalPlan,
        columns: Vec<Column>,
    ) -> Result<LogicalPlan, SqlError> {
        let items = items(columns)?;
        self.derive_select(catalog, plan, |select| select.projection = items)
    }

    /// `SELECT *, columns`, where a column of a name that is there takes its place.
    ///
    /// # Errors
    /// As [`select`](Planner::select).
    pub fn with_columns(
        &self,
        catalog: &Catalog,
        plan: &LogicalPlan,
        columns: Vec<(String, Column)>,
    ) -> Result<LogicalPlan, SqlError> {
        let scope = Scope::of(plan);
        let mut items = Vec::new();
        let mut added: Vec<(String, Option<Expr>)> = Vec::new();
        for (name, column) in columns {
            added.push((name, Some(column.into_bare()?)));
        }
        for column in &scope.columns {
            let other = added.iter_mut().find(|(name, _)| same(name, column.name()));
            let own = || column_of(column);
            match other {
                Some((name, expr)) => {
                    let expr = expr.take().unwrap_or_else(own);
                    items.push(named_item(expr, name));
                }
                None => items.push(SelectItem::UnnamedExpr(own())),
            }
        }
        for (name, expr) in added {
            items.extend(expr.map(|expr| named_item(expr, &name)));
        }
        self.derive_select(catalog, plan, |select| select.projection = items)
    }

    /// The columns of a plan that `keep` gives a name, under that name.
    ///
    /// # Errors
    /// As [`select`](Planner::select); when nothing is left.
    pub fn rename(
        &self,
        catalog: &Catalog,
        plan: &LogicalPlan,
        keep: impl Fn(usize, &str) -> Option<String>,
    ) -> Result<LogicalPlan, SqlError> {
        let scope = Scope::of(plan);
        let columns = scope.columns.iter().enumerate();
        let items = columns.filter_map(|(nth, column)| {
            let name = keep(nth, column.name())?;
            let expr = column_of(column);
            Some(if name == column.name() {
                SelectItem::UnnamedExpr(expr)
            } else {
                named_item(expr, &name)
            })
        });
        let items = items.collect();
        self.derive_select(catalog, plan, |select| select.projection = items)
    }

    /// `WHERE condition`.
    ///
    /// # Errors
    /// As [`select`](Planner::select); a condition that is no boolean.
    pub fn filter(
        &self,
        catalog: &Catalog,
        plan: &LogicalPlan,
        condition: Column,
    ) -> Result<LogicalPlan, SqlError> {
        let condition = condition.into_bare()?;
        self.derive_select(catalog, plan, |select| select.selection = Some(condition))
    }

    /// `SELECT keys, aggregates GROUP BY keys`.
    ///
    /// # Errors
    /// As [`select`](Planner::select); columns that are neither keys nor aggregated.
    pub fn aggregate(
        &self,
        catalog: &Catalog,
        plan: &LogicalPlan,
        (grouping, keys): (Grouping, Vec<Column>),
        aggregates: Vec<Column>,
    ) -> Result<LogicalPlan, SqlError> {
        let bare = keys.iter().map(|key| key.clone().into_bare());
        let groups: Vec<Expr> = bare.collect::<Result<_, _>>()?;
        let mut projection = items(keys)?;
        projection.extend(items(aggregates)?);
        let each = || groups.iter().map(|group| vec![group.clone()]).collect();
        let groups = match grouping {
            Grouping::Keys => groups,
            Grouping::Rollup => vec![Expr::Rollup(each())],
            Grouping::Cube => vec![Expr::Cube(each())],
        };
        self.derive_select(catalog, plan, |select| {
            select.projection = projection;
            select.group_by = GroupByExpr::Expressions(groups, Vec::new());
        })
    }

    /// `SELECT DISTINCT *`.
    ///
    /// # Errors
    /// When a column cannot be compared.
    pub fn distinct(&self, catalog: &Catalog, plan: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
        self.derive_select(catalog, plan, |select| {
            select.distinct = Some(Distinct::Distinct);
        })
    }

    /// `ORDER BY keys`.
    ///
    /// # Errors
    /// As [`select`](Planner::select).
    pub fn sort(
        &self,
        catalog: &Catalog,
        plan: &LogicalPlan,
        keys: Vec<SortColumn>,
    ) -> Result<LogicalPlan, SqlError> {
        let keys = keys.into_iter().map(SortColumn::into_order);
        let mut keys = Some(keys.collect::<Result<Vec<_>, _>>()?);
        self.derive(catalog, &[plan], &mut |query| {
            query.order_by = Some(OrderBy {
                kind: OrderByKind::Expressions(keys.take().unwrap_or_default()),
                interpolate: None,
            });
            Ok(())
        })
    }

    /// `LIMIT limit OFFSET offset`.
    ///
    /// # Errors
    /// Never for a plan that is whole.
    pub fn limit(
        &self,
        catalog: &Catalog,
        plan: &LogicalPlan,
        limit: Option<usize>,
        offset: Option<usize>,
    ) -> Result<LogicalPlan, SqlError> {
        let number = |n: usize| Expr::Value(Value::Number(n.to_string(), false).with_empty_span());
        self.derive(catalog, &[plan], &mut |query| {
            query.limit_clause = Some(LimitClause::LimitOffset {
                limit: limit.map(number),
                offset: offset.map(|offset| Offset {
                    value: number(offset),
                    rows: OffsetRows::None,
                }),
                limit_by: Vec::new(),
            });
            Ok(())
        })
    }

    /// `first JOIN second ON …`.
    ///
    /// # Errors
    /// As [`select`](Planner::select); columns that only one side has.
    pub fn join(
        &self,
        catalog: &Catalog,
        (left, right): (&LogicalPlan, &LogicalPlan),
        kind: JoinKind,
        on: JoinOn,
    ) -> Result<LogicalPlan, SqlError> {
        let constraint = match on {
            JoinOn::Condition(condition) => JoinConstraint::On(condition.into_bare()?),
            JoinOn::Columns(names) => {
                let name = |name: &String| ObjectName::from(vec![Ident::with_quote('`', name)]);
                JoinConstraint::Using(names.iter().map(name).collect())
            }
            JoinOn::Nothing => JoinConstraint::None,
        };
        let operator = match (kind, &constraint) {
            (JoinKind::Inner, JoinConstraint::None) => JoinOperator::CrossJoin(constraint),
            (JoinKind::Inner, _) => JoinOperator::Inner(constraint),
            (JoinKind::LeftOuter, _) => JoinOperator::LeftOuter(constraint),
            (JoinKind::RightOuter, _) => JoinOperator::RightOuter(constraint),
            (JoinKind::FullOuter, _) => JoinOperator::FullOuter(constraint),
            (JoinKind::LeftSemi, _) => JoinOperator::LeftSemi(constraint),
            (JoinKind::LeftAnti, _) => JoinOperator::LeftAnti(constraint),
        };
        let mut operator = Some(operator);
        let right = &told_apart(left, right)?;
        self.derive(catalog, &[left, right], &mut |query| {
            let select = select_of(query)?;
            let right = relation(1)?.relation;
            if let (Some(first), Some(join_operator)) = (select.from.first_mut(), operator.take()) {
                first.joins.push(datafusion::sql::sqlparser::ast::Join {
                    relation: right,
                    global: false,
                    join_operator,
                });
            }
            Ok(())
        })
    }

    /// `SELECT * FROM first UNION ALL SELECT * FROM second`, or another set operation.
    ///
    /// # Errors
    /// When columns differ.
    pub fn set(
        &self,
        catalog: &Catalog,
        (left, right): (&LogicalPlan, &LogicalPlan),
        kind: SetKind,
    ) -> Result<LogicalPlan, SqlError> {
        let (op, set_quantifier) = match kind {
            SetKind::Union => (SetOperator::Union, SetQuantifier::All),
            SetKind::UnionByName => (SetOperator::Union, SetQuantifier::AllByName),
            SetKind::Intersect => (SetOperator::Intersect, SetQuantifier::None),
            SetKind::Except => (SetOperator::Except, SetQuantifier::None),
        };
        self.derive(catalog, &[left, right], &mut |query| {
            let mut second = star()?;
            select_of(&mut second)?.from = vec![relation(1)?];
            let first = query.body.clone();
            *query.body = SetExpr::SetOperation {
                op,
                set_quantifier,
                left: first,
                right: second.body,
            };
            Ok(())
        })
    }
}

/// A plan whose columns are qualified by a name.
///
/// # Errors
/// Never for a plan that is whole.
pub fn aliased(plan: LogicalPlan, name: &str) -> Result<LogicalPlan, SqlError> {
    LogicalPlanBuilder::from(plan)
        .alias(TableReference::bare(name))
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

/// The right side of a join with other names in the plan where the left side has the same: a frame that
/// is joined to itself shows its columns twice.
fn told_apart(left: &LogicalPlan, right: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let taken = left.schema().columns();
    let collides = |column: &PlanColumn| {
        let same =
            |other: &PlanColumn| other.name == column.name && (other.relation == column.relation);
        taken.iter().any(same)
    };
    let columns = right.schema().columns();
    if !columns.iter().any(collides) {
        return Ok(right.clone());
    }
    let free = |name: &str| {
        let names = (1..).map(|number| apart(name, number));
        let is_free = |name: &String| taken.iter().all(|column| column.name != *name);
        names.into_iter().find(is_free).unwrap_or_default()
    };
    let named = columns.iter().map(|column| {
        let value = LogicalExpr::Column(column.clone());
        if collides(column) {
            value.alias(free(&column.name))
        } else {
            value
        }
    });
    LogicalPlanBuilder::from(right.clone())
        .project(named)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

/// The name of an input.
fn input(number: usize) -> String {
    format!("__input_{number}")
}

fn relation(number: usize) -> Result<TableWithJoins, SqlError> {
    Ok(TableWithJoins {
        relation: named(&input(number))?,
        joins: Vec::new(),
    })
}

fn items(columns: Vec<Column>) -> Result<Vec<SelectItem>, SqlError> {
    columns.into_iter().map(Column::into_item).collect()
}

fn named_item(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias {
        expr,
        alias: Ident::with_quote('`', name),
    }
}

fn same(one: &str, other: &str) -> bool {
    crate::resolve::scope::same_name(one, other)
}
