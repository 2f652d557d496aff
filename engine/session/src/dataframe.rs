//! `DataFrame`: a query under construction, in Spark's words.

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use millstream_sql::{
    Column, ExplainFormat, Grouping, JoinKind, JoinOn, SetKind, SortColumn, SqlError, column,
    drop_duplicates, explain::explain, is_streaming, shown_schema, watermark::with_watermark,
};
use millstream_types::{Interval, OutputMode};

use crate::{
    error::{Error, Result},
    session::Session,
};

/// A query that nobody runs yet.
///
/// Every call means what the SELECT means that says the same: a name is a column of this frame without
/// regard to case, an expression has the type that SQL gives it, and what is wrong has SQL's code.
#[derive(Clone, Debug)]
pub struct DataFrame {
    session: Session,
    plan: LogicalPlan,
}

impl DataFrame {
    pub(crate) fn new(session: Session, plan: LogicalPlan) -> DataFrame {
        DataFrame { session, plan }
    }

    pub(crate) fn with(&self, plan: LogicalPlan) -> DataFrame {
        DataFrame {
            session: self.session.clone(),
            plan,
        }
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
        shown_schema(self.plan.schema().as_arrow())
    }

    /// The names of its columns.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        let schema = self.schema();
        let names = schema.fields().iter().map(|field| field.name().clone());
        names.collect()
    }

    /// Whether it grows.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        is_streaming(&self.plan)
    }

    /// Some columns or expressions.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// # fn main() -> millstream::Result<()> {
    /// let session = Session::builder().build()?;
    /// session.execute("CREATE TABLE t (Who STRING, n INT) WITH (connector = 'memory')")?;
    /// let frame = session.table("t")?.select([col("WHO"), (col("n") * 2).alias("twice")])?;
    /// assert_eq!(frame.columns(), ["WHO", "twice"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Unknown columns and functions, types that do not fit.
    pub fn select<C: Into<Column>>(
        &self,
        columns: impl IntoIterator<Item = C>,
    ) -> Result<DataFrame> {
        let columns = columns.into_iter().map(Into::into).collect();
        let (planner, catalog) = self.session.planner();
        Ok(self.with(planner.select(&catalog, &self.plan, columns)?))
    }

    /// Expressions as SQL text; `*` and `column.*` are all columns, or all fields of a struct.
    ///
    /// # Errors
    /// As [`select`](DataFrame::select), and errors of syntax.
    pub fn select_expr<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Result<DataFrame> {
        self.select(texts.into_iter().map(column::expr))
    }

    /// Rows for which the condition is true.
    ///
    /// # Errors
    /// Unknown columns, a condition that is no boolean.
    pub fn filter(&self, condition: impl Into<Column>) -> Result<DataFrame> {
        let (planner, catalog) = self.session.planner();
        Ok(self.with(planner.filter(&catalog, &self.plan, condition.into())?))
    }

    /// Rows for which the SQL condition is true.
    ///
    /// # Errors
    /// As [`filter`](DataFrame::filter), and errors of syntax.
    pub fn filter_expr(&self, condition: &str) -> Result<DataFrame> {
        self.filter(column::expr(condition))
    }

    /// One more column, or another in place of one of the same name.
    ///
    /// # Errors
    /// As [`select`](DataFrame::select).
    pub fn with_column(&self, name: &str, column: impl Into<Column>) -> Result<DataFrame> {
        self.with_columns([(name, column)])
    }

    /// More columns, or others in place of those of the same names. None sees another of them.
    ///
    /// # Errors
    /// As [`select`](DataFrame::select).
    pub fn with_columns<'a, C: Into<Column>>(
        &self,
        columns: impl IntoIterator<Item = (&'a str, C)>,
    ) -> Result<DataFrame> {
        let columns = columns.into_iter();
        let columns = columns.map(|(name, column)| (name.to_owned(), column.into()));
        let (planner, catalog) = self.session.planner();
        Ok(self.with(planner.with_columns(&catalog, &self.plan, columns.collect())?))
    }

    /// The same columns with one under another name. Nothing happens if there is none, as in Spark.
    ///
    /// # Errors
    /// Never for a plan that is whole.
    pub fn with_column_renamed(&self, old: &str, new: &str) -> Result<DataFrame> {
        self.with_columns_renamed([(old, new)])
    }

    /// The same columns with some under other names.
    ///
    /// # Errors
    /// Never for a plan that is whole.
    pub fn with_columns_renamed<'a>(
        &self,
        names: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<DataFrame> {
        let names: Vec<(&str, &str)> = names.into_iter().collect();
        self.rename(|_, name| {
            let renamed = names.iter().find(|(old, _)| same_name(old, name));
            Some(renamed.map_or(name, |(_, new)| new).to_owned())
        })
    }

    /// All columns under new names, in their order.
    ///
    /// # Errors
    /// When there are more or fewer names than columns.
    pub fn to_df(&self, names: &[&str]) -> Result<DataFrame> {
        if names.len() != self.plan.schema().fields().len() {
            return Err(Error::BadValue {
                what: "number of column names",
                value: names.len().to_string(),
            });
        }
        self.rename(|nth, _| names.get(nth).map(|name| (*name).to_owned()))
    }

    /// All columns but these. A name that no column has is passed over, as in Spark.
    ///
    /// # Errors
    /// When nothing is left.
    pub fn drop(&self, names: &[&str]) -> Result<DataFrame> {
        self.rename(|_, name| {
            let is_dropped = names.iter().any(|dropped| same_name(dropped, name));
            (!is_dropped).then(|| name.to_owned())
        })
    }

    fn rename(&self, keep: impl Fn(usize, &str) -> Option<String>) -> Result<DataFrame> {
        let (planner, catalog) = self.session.planner();
        Ok(self.with(planner.rename(&catalog, &self.plan, keep)?))
    }

    /// A name to qualify its columns with.
    ///
    /// # Errors
    /// Never for a plan that is whole.
    pub fn alias(&self, name: &str) -> Result<DataFrame> {
        let plan = millstream_sql::aliased(self.plan.clone(), name)?;
        Ok(self.with(plan))
    }

    /// All rows of both, by the place of their columns.
    ///
    /// # Errors
    /// When columns differ in number, or have no common type.
    pub fn union(&self, other: &DataFrame) -> Result<DataFrame> {
        self.set(other, SetKind::Union)
    }

    /// All rows of both, by the names of their columns. With `allow_missing` a column that one of them
    /// does not have is null there.
    ///
    /// # Errors
    /// When columns differ and may not, or have no common type.
    pub fn union_by_name(&self, other: &DataFrame, allow_missing: bool) -> Result<DataFrame> {
        if !allow_missing {
            let (own, others) = (self.columns(), other.columns());
            let lacks = |own: &[String], others: &[String]| {
                let names = own.iter();
                let mut lack =
                    names.filter(|name| !others.iter().any(|other| same_name(other, name)));
                lack.next().cloned()
            };
            if let Some(name) = lacks(&own, &others).or_else(|| lacks(&others, &own)) {
                return Err(Error::BadValue {
                    what: "column of only one side of union_by_name",
                    value: name,
                });
            }
        }
        self.set(other, SetKind::UnionByName)
    }

    /// Different rows that both have.
    ///
    /// # Errors
    /// On streams; when columns differ.
    pub fn intersect(&self, other: &DataFrame) -> Result<DataFrame> {
        self.set(other, SetKind::Intersect)
    }

    /// Different rows of this frame that the other does not have.
    ///
    /// # Errors
    /// On streams; when columns differ.
    pub fn except(&self, other: &DataFrame) -> Result<DataFrame> {
        self.set(other, SetKind::Except)
    }

    fn set(&self, other: &DataFrame, kind: SetKind) -> Result<DataFrame> {
        let (planner, catalog) = self.session.planner();
        Ok(self.with(planner.set(&catalog, (&self.plan, &other.plan), kind)?))
    }

    /// Pairs of rows of both for which the condition holds; columns are qualified by
    /// [`alias`](DataFrame::alias) where both have them.
    ///
    /// # Errors
    /// Unknown and ambiguous columns.
    pub fn join(
        &self,
        other: &DataFrame,
        on: impl Into<Column>,
        kind: JoinKind,
    ) -> Result<DataFrame> {
        self.joined(other, kind, JoinOn::Condition(on.into()))
    }

    /// Pairs of rows that are equal in these columns, which the result has once.
    ///
    /// # Errors
    /// Columns that one of them does not have.
    pub fn join_using(
        &self,
        other: &DataFrame,
        columns: &[&str],
        kind: JoinKind,
    ) -> Result<DataFrame> {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        self.joined(other, kind, JoinOn::Columns(columns))
    }

    /// Every row with every row of the other.
    ///
    /// # Errors
    /// Never for plans that are whole.
    pub fn cross_join(&self, other: &DataFrame) -> Result<DataFrame> {
        self.joined(other, JoinKind::Inner, JoinOn::Nothing)
    }

    fn joined(&self, other: &DataFrame, kind: JoinKind, on: JoinOn) -> Result<DataFrame> {
        let (planner, catalog) = self.session.planner();
        Ok(self.with(planner.join(&catalog, (&self.plan, &other.plan), kind, on)?))
    }

    /// Each different row once.
    ///
    /// # Errors
    /// When a column cannot be compared.
    pub fn distinct(&self) -> Result<DataFrame> {
        let (planner, catalog) = self.session.planner();
        Ok(self.with(planner.distinct(&catalog, &self.plan)?))
    }

    /// The first row of each different combination of some columns, of all columns if none are named.
    ///
    /// Without a watermark among the columns, all combinations are remembered for ever; with it each is
    /// forgotten when the watermark reaches its time, and late rows are dropped.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # fn main() -> millstream::Result<()> {
    /// # let session = Session::builder().workers(1).build()?;
    /// let twice = session.sql("SELECT * FROM VALUES (1, 'a'), (1, 'b'), (2, 'c') AS t(id, name)")?;
    /// assert_eq!(twice.drop_duplicates(&["id"])?.collect_blocking()?[0].num_rows(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Names that mean nothing.
    pub fn drop_duplicates(&self, columns: &[&str]) -> Result<DataFrame> {
        self.deduplicated(columns, false)
    }

    /// As [`drop_duplicates`](DataFrame::drop_duplicates), but a combination is remembered only for the
    /// watermark's delay after its first row: for duplicates that come soon after one another.
    ///
    /// # Errors
    /// Names that mean nothing. When the query is started: no watermark below.
    pub fn drop_duplicates_within_watermark(&self, columns: &[&str]) -> Result<DataFrame> {
        self.deduplicated(columns, true)
    }

    fn deduplicated(&self, columns: &[&str], within: bool) -> Result<DataFrame> {
        let names: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        Ok(self.with(drop_duplicates(self.plan.clone(), &names, within)?))
    }

    /// Rows in an order.
    ///
    /// # Errors
    /// As [`select`](DataFrame::select).
    pub fn order_by<C: Into<SortColumn>>(
        &self,
        keys: impl IntoIterator<Item = C>,
    ) -> Result<DataFrame> {
        let keys = keys.into_iter().map(Into::into).collect();
        let (planner, catalog) = self.session.planner();
        Ok(self.with(planner.sort(&catalog, &self.plan, keys)?))
    }

    /// The first rows.
    ///
    /// # Errors
    /// Never for a plan that is whole.
    pub fn limit(&self, rows: usize) -> Result<DataFrame> {
        let (planner, catalog) = self.session.planner();
        Ok(self.with(planner.limit(&catalog, &self.plan, Some(rows), None)?))
    }

    /// All but the first rows.
    ///
    /// # Errors
    /// Never for a plan that is whole.
    pub fn offset(&self, rows: usize) -> Result<DataFrame> {
        let (planner, catalog) = self.session.planner();
        Ok(self.with(planner.limit(&catalog, &self.plan, None, Some(rows))?))
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

    pub(crate) fn grouped(
        &self,
        keys: (Grouping, Vec<Column>),
        aggregates: Vec<Column>,
    ) -> Result<DataFrame> {
        let (planner, catalog) = self.session.planner();
        Ok(self.with(planner.aggregate(&catalog, &self.plan, keys, aggregates)?))
    }

    /// What a query of this frame would do, in a mode or in the first that it can run in.
    ///
    /// # Errors
    /// When it cannot run in that mode, or in any.
    pub fn explain(&self, mode: Option<OutputMode>) -> Result<String> {
        let settings = self.session.settings();
        let planner = &self.session.inner.planner;
        let mode = mode.unwrap_or_else(|| {
            let allowed = planner.allowed_modes(&self.plan, &settings.plan);
            allowed.first().copied().unwrap_or_default()
        });
        let plan = planner.plan_query(self.plan.clone(), mode, &settings.plan)?;
        Ok(explain(&plan, ExplainFormat::Tree))
    }
}

/// Whether two names are the same without case.
pub(crate) fn same_name(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || one.to_lowercase() == other.to_lowercase()
}
