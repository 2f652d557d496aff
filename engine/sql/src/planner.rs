//! SQL text or a logical plan → [`StreamPlan`].
//!
//! [`Planner`] holds what all queries of a process share: functions, rules, options. A query is
//! planned in two steps that can be used apart: [`Planner::logical`] makes a logical plan of a
//! text, [`Planner::plan_query`] a stream plan of any logical plan, such as a DataFrame's.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::{
        config::ConfigOptions,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, LogicalPlan},
    optimizer::{
        Analyzer, Optimizer, OptimizerContext, OptimizerRule,
        analyzer::{
            resolve_grouping_function::ResolveGroupingFunction, type_coercion::TypeCoercion,
        },
        decorrelate_predicate_subquery::DecorrelatePredicateSubquery,
        eliminate_duplicated_expr::EliminateDuplicatedExpr,
        extract_equijoin_predicate::ExtractEquijoinPredicate,
        filter_null_join_keys::FilterNullJoinKeys,
        optimize_projections::OptimizeProjections,
        optimize_unions::OptimizeUnions,
        push_down_filter::PushDownFilter,
        replace_distinct_aggregate::ReplaceDistinctWithAggregate,
        scalar_subquery_to_join::ScalarSubqueryToJoin,
        simplify_expressions::SimplifyExpressions,
    },
};
use millstream_runtime::plan::StreamPlan;
use millstream_types::{OutputMode, TextPosition, did_you_mean};
use millstream_values::zone::Zone;

use crate::{
    Catalog, QueryText, SqlError, Table,
    catalog::{Entry, RowsTable},
    error::from_datafusion,
    folding::FoldArithmetic,
    functions::{
        FunctionInfo, Registry,
        random::{LATE_SITES, number},
    },
    late, lower, modes,
    numbers::SparkNumbers,
    plan_settings::PlanSettings,
    provider::Provider,
    resolve::Resolver,
    statement::{CreateTableStatement, parse_query},
    watermark::{PushFilterBelowWatermark, guard},
    zones::on_clock,
};

/// Functions that make several rows of one.
const GENERATORS: [&str; 2] = ["inline", "stack"];

/// Functions that number rows and partitions: another number of workers would give other answers.
const UNORDERED: [(&str, &str); 2] = [
    ("monotonically_increasing_id", "use uuid()"),
    (
        "spark_partition_id",
        "rows are in no partition; group by a key",
    ),
];

/// Passes of the optimizer; plans settle in two or three.
const PASSES_MAX: u8 = 5;

/// Plans queries. Cheap to share; make one for a process.
#[derive(Debug)]
pub struct Planner {
    registry: Registry,
    options: ConfigOptions,
    analyzer: Analyzer,
    optimizer: Optimizer,
    rows: RowsTable,
}

impl Default for Planner {
    fn default() -> Planner {
        Planner::new()
    }
}

impl Planner {
    /// A planner with all functions.
    #[must_use]
    pub fn new() -> Planner {
        let mut options = ConfigOptions::new();
        options.sql_parser.collect_spans = true;
        options.sql_parser.enable_subquery_sort_elimination = false;
        options.execution.time_zone = Some("UTC".to_owned());
        Planner {
            registry: Registry::new(),
            options,
            analyzer: Analyzer::with_rules(vec![
                Arc::new(SparkNumbers),
                Arc::new(ResolveGroupingFunction::new()),
                Arc::new(TypeCoercion::new()),
            ]),
            optimizer: Optimizer::with_rules(rules()),
            rows: |_rows| Err(SqlError::unsupported("a table of constant rows")),
        }
    }

    /// The same planner, with what makes tables of the constant rows in batches and beside streams.
    #[must_use]
    pub fn with_rows(mut self, rows: RowsTable) -> Planner {
        self.rows = rows;
        self
    }

    /// All functions, for `millstream functions`.
    #[must_use]
    pub fn functions(&self) -> Vec<FunctionInfo> {
        self.registry.list()
    }

    /// A plan that reads a table, with its watermark if it has one: what a reader's `load` gives.
    ///
    /// # Errors
    /// The connector's reason why the table cannot be read.
    pub fn scan(&self, table: &Arc<Table>) -> Result<LogicalPlan, SqlError> {
        let catalog = Catalog::default();
        let provider = self.provider(&catalog);
        Resolver::new(&provider)
            .read(table)
            .map_err(|error| self.explain_missing(error))
    }

    /// Adds the table that a statement describes, with its computed columns.
    ///
    /// # Errors
    /// As of [`Catalog::create_table`]; what is wrong with a computed column.
    pub fn create_table(
        &self,
        catalog: &mut Catalog,
        create: &CreateTableStatement,
    ) -> Result<(), SqlError> {
        let was = catalog.get(&create.name).ok().cloned();
        catalog.create_table(create)?;
        let Ok(Entry::Table(table)) = catalog.get(&create.name) else {
            return Ok(());
        };
        if table.generated.is_empty() {
            return Ok(());
        }
        let table = Arc::clone(table);
        let Err(error) = self.scan(&table) else {
            return Ok(());
        };
        catalog.drop(&create.name, true)?;
        if let Some(was) = was {
            catalog.add(was, true)?;
        }
        let clause = create.watermark.as_ref();
        Err(error
            .at(clause.and_then(|clause| clause.position))
            .at(create.position))
    }

    /// The logical plan of a query text.
    ///
    /// # Errors
    /// Errors of syntax, names and types, with their place in the text.
    pub fn logical(&self, catalog: &Catalog, query: &QueryText) -> Result<LogicalPlan, SqlError> {
        self.try_logical(catalog, query, None)
            .map_err(|error| self.explain_error(error, query))
    }

    /// The logical plan of a query text over the late rows of another query.
    ///
    /// # Errors
    /// As [`Planner::logical`], and when the other query has no late rows to give.
    pub fn logical_late(
        &self,
        catalog: &Catalog,
        query: &QueryText,
        of: &LogicalPlan,
    ) -> Result<LogicalPlan, SqlError> {
        let (_, schema) = late::guard(of.clone())?;
        self.try_logical(catalog, query, Some(schema))
            .map_err(|error| self.explain_error(error, query))
    }

    fn try_logical(
        &self,
        catalog: &Catalog,
        query: &QueryText,
        late: Option<SchemaRef>,
    ) -> Result<LogicalPlan, SqlError> {
        let tree = parse_query(query)?;
        let mut provider = self.provider(catalog);
        provider.late = late;
        Resolver::new(&provider).resolve(tree)
    }

    /// The logical plan of a query over relations that have names of ours.
    pub(crate) fn resolve_over(
        &self,
        catalog: &Catalog,
        query: datafusion::sql::sqlparser::ast::Query,
        relations: Vec<(String, LogicalPlan)>,
    ) -> Result<LogicalPlan, SqlError> {
        let provider = self.provider(catalog);
        Resolver::new(&provider)
            .resolve_over(query, relations)
            .map_err(|error| self.explain_missing(error))
    }

    fn provider<'a>(&'a self, catalog: &'a Catalog) -> Provider<'a> {
        Provider {
            catalog,
            registry: &self.registry,
            options: &self.options,
            late: None,
        }
    }

    /// Adds the view that a query text defines.
    ///
    /// # Errors
    /// As [`Planner::logical`], and [`SqlError::TableExists`].
    pub fn create_view(
        &self,
        catalog: &mut Catalog,
        name: &str,
        query: &QueryText,
        or_replace: bool,
    ) -> Result<(), SqlError> {
        let plan = Arc::new(self.logical(catalog, query)?);
        let name = name.to_owned();
        catalog.add(Entry::View { name, plan }, or_replace)
    }

    /// Plans a query text in an output mode.
    ///
    /// # Errors
    /// As [`Planner::logical`] and [`Planner::plan_query`], with the place in the text.
    pub fn plan_sql(
        &self,
        catalog: &Catalog,
        query: &QueryText,
        mode: OutputMode,
        settings: &PlanSettings,
    ) -> Result<StreamPlan, SqlError> {
        let logical = self.logical(catalog, query)?;
        self.plan_query(logical, mode, settings)
            .map_err(|error| self.explain_error(error, query))
    }

    /// Plans a logical plan, of SQL or of DataFrame calls, in an output mode.
    ///
    /// # Errors
    /// Types that do not fit, and everything that is refused on streams or in this mode.
    pub fn plan_query(
        &self,
        logical: LogicalPlan,
        mode: OutputMode,
        settings: &PlanSettings,
    ) -> Result<StreamPlan, SqlError> {
        self.plan_with_late(logical, None, mode, settings)
    }

    /// As [`Planner::plan_query`], with a plan over the late rows that the query drops.
    ///
    /// # Errors
    /// As [`Planner::plan_query`], and when late rows are not only filtered and projected.
    pub fn plan_with_late(
        &self,
        logical: LogicalPlan,
        late: Option<LogicalPlan>,
        mode: OutputMode,
        settings: &PlanSettings,
    ) -> Result<StreamPlan, SqlError> {
        let (logical, late) = match late {
            None => (logical, None),
            Some(late) => {
                let late = self.optimize_from(late, LATE_SITES, &settings.zone)?;
                (late::guard(logical)?.0, Some(late))
            }
        };
        let optimized = self.optimize_from(logical, 0, &settings.zone)?;
        let lowered = |mode| {
            let reads = (settings, lower::Reads::Streams(self.rows));
            let plan = lower::lower(&optimized, late.as_ref(), mode, reads)?;
            modes::check(&plan, settings.check_correctness)?;
            Ok(plan)
        };
        modes::check_shape(&optimized, mode, |mode| lowered(mode).is_ok())?;
        lowered(mode)
    }

    /// Plans a query over what is there now: tables of mode batch, and constant rows. It is
    /// to run in one epoch, after which all that it gave is its result, in order if it has one.
    ///
    /// # Errors
    /// Types that do not fit, and what operators cannot do.
    pub fn plan_batch(
        &self,
        logical: LogicalPlan,
        settings: &PlanSettings,
    ) -> Result<StreamPlan, SqlError> {
        let optimized = self.optimize_from(logical, 0, &settings.zone)?;
        let reads = (settings, lower::Reads::Batches(self.rows));
        lower::lower(&optimized, None, OutputMode::Changes, reads)
    }

    /// The modes in which a logical plan can run; empty if in none.
    #[must_use]
    pub fn allowed_modes(&self, logical: &LogicalPlan, settings: &PlanSettings) -> Vec<OutputMode> {
        modes::ALL
            .into_iter()
            .filter(|mode| self.plan_query(logical.clone(), *mode, settings).is_ok())
            .collect()
    }

    /// Analyzes and optimizes with the rules that keep streaming semantics, in UTC.
    ///
    /// # Errors
    /// Types that do not fit.
    pub fn optimize(&self, logical: LogicalPlan) -> Result<LogicalPlan, SqlError> {
        self.optimize_from(logical, 0, &Zone::utc())
    }

    /// Optimizes; random functions have numbers from `first` on.
    fn optimize_from(
        &self,
        logical: LogicalPlan,
        first: u32,
        zone: &Zone,
    ) -> Result<LogicalPlan, SqlError> {
        let context = optimizer_context().with_max_passes(PASSES_MAX);
        one_row_each(&logical)?;
        number(logical, first)
            .and_then(|plan| {
                self.analyzer
                    .execute_and_check(plan, &self.options, |_, _| {})
            })
            .and_then(|plan| on_clock(plan, zone))
            .and_then(guard)
            .and_then(|plan| self.optimizer.optimize(plan, &context, |_, _| {}))
            .and_then(|plan| self.without_null_keys(plan, &context))
            .map_err(from_datafusion)
    }

    /// A row with a null key matches nothing: as in Spark it goes before it can move a watermark. Once,
    /// when the keys of joins are known: the rule adds its filter each time that it runs.
    fn without_null_keys(
        &self,
        plan: LogicalPlan,
        context: &OptimizerContext,
    ) -> datafusion::common::Result<LogicalPlan> {
        if !plan.exists(|node| Ok(matches!(node, LogicalPlan::Join(_))))? {
            return Ok(plan);
        }
        let once = optimizer_context()
            .filter_null_keys(true)
            .with_max_passes(1);
        let filter = Optimizer::with_rules(vec![Arc::new(FilterNullJoinKeys::default())]);
        let plan = filter.optimize(plan, &once, |_, _| {})?;
        self.optimizer.optimize(plan, context, |_, _| {})
    }

    /// Gives an error its place, and its near names.
    fn explain_error(&self, error: SqlError, query: &QueryText) -> SqlError {
        let (position, error) = match error {
            SqlError::At { position, error } => (Some(position), *error),
            other => (None, other),
        };
        let error = self.explain_missing(error);
        let position = position
            .or_else(|| anchor(&error, query))
            .or_else(|| query.position());
        error.at(position)
    }

    /// Says of a function that is not there what is near, or why.
    fn explain_missing(&self, error: SqlError) -> SqlError {
        match error {
            SqlError::NoFunction { name, .. } => self.missing_function(name),
            SqlError::At { position, error } => SqlError::At {
                position,
                error: Box::new(self.explain_missing(*error)),
            },
            other => other,
        }
    }

    /// A function that Spark has and a stream cannot have, or a slip.
    fn missing_function(&self, name: String) -> SqlError {
        if GENERATORS.contains(&name.as_str()) {
            return SqlError::unsupported(format!("{name} in a streaming query"));
        }
        if let Some((_, hint)) = UNORDERED.iter().find(|(known, _)| *known == name) {
            return SqlError::NotOnStream {
                what: format!("Expression(s): {name} is not supported with streaming"),
                hint,
            };
        }
        let near = did_you_mean(&name, self.registry.names()).map(str::to_owned);
        SqlError::NoFunction { name, near }
    }
}

/// Subqueries become joins, which do not see how many rows there are: one that stands for a value must have
/// one by its form, and EXISTS over an aggregation without keys, which always has a row, asks nothing.
fn one_row_each(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut refusal = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::ScalarSubquery(query) = part
                    && query.outer_ref_columns.is_empty()
                    && query.subquery.max_rows().is_none_or(|rows| rows > 1)
                {
                    refusal = Some("a scalar subquery that may have several rows (aggregate it)");
                }
                if let Expr::Exists(exists) = part
                    && has_one_row(&exists.subquery.subquery)
                {
                    refusal = Some("EXISTS over an aggregate without GROUP BY");
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(from_datafusion)?;
    refusal.map_or(Ok(()), |what| Err(SqlError::unsupported(what)))
}

/// Whether a plan is an aggregation without keys, or columns computed of it.
fn has_one_row(plan: &LogicalPlan) -> bool {
    if let LogicalPlan::Projection(projection) = plan {
        return has_one_row(&projection.input);
    }
    matches!(plan, LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty())
}

/// Subqueries become joins, and the clock is that of an epoch.
fn optimizer_context() -> OptimizerContext {
    let mut options = ConfigOptions::new();
    options
        .optimizer
        .enable_physical_uncorrelated_scalar_subquery = false;
    OptimizerContext::new_with_config_options(Arc::new(options))
        .without_query_execution_start_time()
}

/// The rules, in their order. Left out on purpose: those that assume a finite input (limits,
/// empty relations), common subexpressions (they would cross aggregations) and leaf extraction.
fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(FoldArithmetic),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(PushFilterBelowWatermark),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// The word of the text that an error is about.
fn anchor(error: &SqlError, query: &QueryText) -> Option<TextPosition> {
    match error {
        SqlError::NoTable { name, .. }
        | SqlError::NoColumn { name, .. }
        | SqlError::NoFunction { name, .. } => query.locate(name),
        SqlError::UnknownWord { word, .. } => query.locate(word),
        SqlError::Window { .. }
        | SqlError::EventTimeType { .. }
        | SqlError::TwoWindows
        | SqlError::Interval { .. } => query
            .locate("window")
            .or_else(|| query.locate("session_window")),
        SqlError::Over { .. } => query.locate("OVER"),
        SqlError::Mode { .. } | SqlError::Chained { .. } => {
            query.locate("GROUP").or_else(|| query.locate("DISTINCT"))
        }
        SqlError::NotOnStream { what, .. } | SqlError::Unsupported { what } => {
            let words = [
                ("ort", "ORDER"),
                ("ampling", "TABLESAMPLE"),
                ("monotonically", "monotonically_increasing_id"),
                ("partition_id", "spark_partition_id"),
                ("imit", "LIMIT"),
                ("ffset", "OFFSET"),
                ("oin", "JOIN"),
                ("istinct", "DISTINCT"),
                ("nion", "UNION"),
                ("session_window", "session_window"),
                ("window", "window"),
                ("xplode", "explode"),
                ("Grouping", "GROUP"),
            ];
            words
                .iter()
                .filter(|(part, _)| what.contains(part))
                .find_map(|(_, word)| query.locate(word))
        }
        _ => None,
    }
}
