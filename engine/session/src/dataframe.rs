//! `DataFrame`: a query under construction, in Spark's words.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::{Column, DFSchema},
    functions_aggregate::expr_fn,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit},
};
use millstream_sql::{SqlError, is_streaming, watermark::with_watermark};
use millstream_types::Interval;

use crate::{
    error::{Error, Result},
    session::Session,
    writer::DataStreamWriter,
};

/// A query that nobody runs yet.
#[derive(Clone, Debug)]
pub struct DataFrame {
    session: Session,
    plan: LogicalPlan,
}

/// DataFusion's complaint as a coded error.
fn refused(error: datafusion::common::DataFusionError) -> Error {
    millstream_sql::error::from_datafusion(error).into()
}

impl DataFrame {
    pub(crate) fn new(session: Session, plan: LogicalPlan) -> DataFrame {
        DataFrame { session, plan }
    }

    fn with(&self, plan: LogicalPlan) -> DataFrame {
        DataFrame {
            session: self.session.clone(),
            plan,
        }
    }

    fn builder(&self) -> LogicalPlanBuilder {
        LogicalPlanBuilder::from(self.plan.clone())
    }

    /// The logical plan.
    #[must_use]
    pub fn logical_plan(&self) -> &LogicalPlan {
        &self.plan
    }

    /// The session it belongs to.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Its columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::new(self.plan.schema().as_arrow().clone())
    }

    /// Whether it grows.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        is_streaming(&self.plan)
    }

    /// Some columns or expressions.
    ///
    /// # Errors
    /// Unknown columns, types that do not fit.
    pub fn select(&self, expressions: impl IntoIterator<Item = Expr>) -> Result<DataFrame> {
        let expressions: Vec<Expr> = expressions.into_iter().collect();
        let plan = self
            .builder()
            .project(expressions)
            .and_then(LogicalPlanBuilder::build);
        plan.map(|plan| self.with(plan)).map_err(refused)
    }

    /// Expressions as SQL text; `*` and `column.*` are all columns, or all fields of a struct.
    ///
    /// # Errors
    /// As [`select`](DataFrame::select), and errors of syntax.
    pub fn select_expr<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Result<DataFrame> {
        let mut expressions = Vec::new();
        for text in texts {
            match text.trim().strip_suffix('*') {
                Some("") => expressions.extend(self.all_columns()),
                Some(column) if column.ends_with('.') => {
                    expressions.extend(self.fields_of(column.trim_end_matches('.'))?);
                }
                _ => expressions.push(self.expression(text)?),
            }
        }
        self.select(expressions)
    }

    fn all_columns(&self) -> Vec<Expr> {
        let columns = self.plan.schema().columns();
        columns.into_iter().map(Expr::Column).collect()
    }

    fn fields_of(&self, column: &str) -> Result<Vec<Expr>> {
        let schema = self.plan.schema();
        let field = schema
            .field_with_unqualified_name(column)
            .map_err(refused)?;
        let arrow::datatypes::DataType::Struct(fields) = field.data_type() else {
            return Err(Error::BadValue {
                what: "struct column",
                value: column.to_owned(),
            });
        };
        let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        names
            .iter()
            .map(|name| {
                Ok(self
                    .expression(&format!("`{column}`.`{name}`"))?
                    .alias(name))
            })
            .collect()
    }

    /// An expression over its columns, from SQL text.
    ///
    /// # Errors
    /// Errors of syntax, names and types.
    pub fn expression(&self, text: &str) -> Result<Expr> {
        Ok(self
            .session
            .inner
            .planner
            .expression(text, self.plan.schema())?)
    }

    /// Rows for which the condition is true.
    ///
    /// # Errors
    /// Unknown columns, a condition that is no boolean.
    pub fn filter(&self, condition: Expr) -> Result<DataFrame> {
        let plan = self
            .builder()
            .filter(condition)
            .and_then(LogicalPlanBuilder::build);
        plan.map(|plan| self.with(plan)).map_err(refused)
    }

    /// Rows for which the SQL condition is true.
    ///
    /// # Errors
    /// As [`filter`](DataFrame::filter), and errors of syntax.
    pub fn filter_expr(&self, condition: &str) -> Result<DataFrame> {
        self.filter(self.expression(condition)?)
    }

    /// One more column, or another in place of one of the same name.
    ///
    /// # Errors
    /// As [`select`](DataFrame::select).
    pub fn with_column(&self, name: &str, expression: Expr) -> Result<DataFrame> {
        let mut replaced = false;
        let mut columns: Vec<Expr> = Vec::new();
        for column in self.plan.schema().columns() {
            if column.name == name {
                replaced = true;
                columns.push(expression.clone().alias(name));
            } else {
                columns.push(Expr::Column(column));
            }
        }
        if !replaced {
            columns.push(expression.alias(name));
        }
        self.select(columns)
    }

    /// The same columns with one under another name.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn with_column_renamed(&self, old: &str, new: &str) -> Result<DataFrame> {
        let schema: &DFSchema = self.plan.schema();
        schema.field_with_unqualified_name(old).map_err(refused)?;
        let rename = |column: Column| {
            let is_it = column.name == old;
            if is_it {
                Expr::Column(column).alias(new)
            } else {
                Expr::Column(column)
            }
        };
        self.select(schema.columns().into_iter().map(rename).collect::<Vec<_>>())
    }

    /// All columns but these.
    ///
    /// # Errors
    /// When nothing is left.
    pub fn drop_columns(&self, names: &[&str]) -> Result<DataFrame> {
        let columns = self.plan.schema().columns().into_iter();
        let kept = columns.filter(|column| !names.contains(&column.name.as_str()));
        self.select(kept.map(Expr::Column).collect::<Vec<_>>())
    }

    /// A name to qualify its columns with.
    ///
    /// # Errors
    /// Never for a plan that is whole.
    pub fn alias(&self, name: &str) -> Result<DataFrame> {
        let plan = self
            .builder()
            .alias(name)
            .and_then(LogicalPlanBuilder::build);
        plan.map(|plan| self.with(plan)).map_err(refused)
    }

    /// The rows of both, which must have the same columns.
    ///
    /// # Errors
    /// When columns differ.
    pub fn union(&self, other: &DataFrame) -> Result<DataFrame> {
        let plan = self
            .builder()
            .union(other.plan.clone())
            .and_then(LogicalPlanBuilder::build);
        plan.map(|plan| self.with(plan)).map_err(refused)
    }

    /// Each distinct row once.
    ///
    /// # Errors
    /// Never for a plan that is whole.
    pub fn distinct(&self) -> Result<DataFrame> {
        let plan = self
            .builder()
            .distinct()
            .and_then(LogicalPlanBuilder::build);
        plan.map(|plan| self.with(plan)).map_err(refused)
    }

    /// A watermark: how far rows may lag behind the newest before they are late.
    ///
    /// # Errors
    /// A column that is unknown or no timestamp, a delay that is no interval or negative.
    pub fn with_watermark(&self, column: &str, delay: &str) -> Result<DataFrame> {
        let interval: Interval = delay.parse().map_err(|_| {
            Error::from(SqlError::Interval {
                text: delay.to_owned(),
            })
        })?;
        Ok(self.with(with_watermark(self.plan.clone(), column, interval)?))
    }

    /// Groups rows by expressions, such as [`window`](crate::functions::window).
    #[must_use]
    pub fn group_by(&self, keys: impl IntoIterator<Item = Expr>) -> GroupedData {
        GroupedData {
            frame: self.clone(),
            keys: keys.into_iter().collect(),
        }
    }

    /// Aggregates over all rows.
    ///
    /// # Errors
    /// As [`GroupedData::agg`].
    pub fn agg(&self, aggregates: impl IntoIterator<Item = Expr>) -> Result<DataFrame> {
        self.group_by([]).agg(aggregates)
    }

    /// Says where the rows go.
    #[must_use]
    pub fn write_stream(&self) -> DataStreamWriter {
        DataStreamWriter::new(self.clone())
    }
}

/// Rows in groups, waiting for aggregates.
#[derive(Clone, Debug)]
pub struct GroupedData {
    frame: DataFrame,
    keys: Vec<Expr>,
}

impl GroupedData {
    /// One row a group with these aggregates.
    ///
    /// # Errors
    /// Unknown columns, types that do not fit.
    pub fn agg(&self, aggregates: impl IntoIterator<Item = Expr>) -> Result<DataFrame> {
        let aggregates: Vec<Expr> = aggregates.into_iter().collect();
        let plan = self
            .frame
            .builder()
            .aggregate(self.keys.clone(), aggregates)
            .and_then(LogicalPlanBuilder::build);
        plan.map(|plan| self.frame.with(plan)).map_err(refused)
    }

    /// The number of rows of each group, as column `count`.
    ///
    /// # Errors
    /// As [`agg`](GroupedData::agg).
    pub fn count(&self) -> Result<DataFrame> {
        self.agg([expr_fn::count(lit(1i64)).alias("count")])
    }

    fn each(&self, columns: &[&str], name: &str, f: impl Fn(Expr) -> Expr) -> Result<DataFrame> {
        let aggregates = columns.iter().map(|column| {
            let argument = Expr::Column(Column::from_name(*column));
            f(argument).alias(format!("{name}({column})"))
        });
        self.agg(aggregates.collect::<Vec<_>>())
    }

    /// Sums, as columns `sum(column)`.
    ///
    /// # Errors
    /// As [`agg`](GroupedData::agg).
    pub fn sum(&self, columns: &[&str]) -> Result<DataFrame> {
        self.each(columns, "sum", expr_fn::sum)
    }

    /// Means, as columns `avg(column)`.
    ///
    /// # Errors
    /// As [`agg`](GroupedData::agg).
    pub fn avg(&self, columns: &[&str]) -> Result<DataFrame> {
        self.each(columns, "avg", expr_fn::avg)
    }

    /// Least values, as columns `min(column)`.
    ///
    /// # Errors
    /// As [`agg`](GroupedData::agg).
    pub fn min(&self, columns: &[&str]) -> Result<DataFrame> {
        self.each(columns, "min", expr_fn::min)
    }

    /// Greatest values, as columns `max(column)`.
    ///
    /// # Errors
    /// As [`agg`](GroupedData::agg).
    pub fn max(&self, columns: &[&str]) -> Result<DataFrame> {
        self.each(columns, "max", expr_fn::max)
    }
}
