//! What DataFusion's SQL planner asks for: tables, functions, options.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::{
    common::{Result, TableReference, config::ConfigOptions, tree_node::TreeNode},
    logical_expr::{
        AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF,
        TableSource, WindowUDF,
        planner::{ContextProvider, ExprPlanner, TypePlanner},
    },
};

use crate::{
    Catalog, SqlError, Table, TableMode, catalog::Entry, error::from_datafusion,
    functions::Registry, late, late::LATE_ROWS, types::SparkTypes,
};

/// The scan of one table, found again by the lowering.
pub(crate) struct ScanSource {
    pub(crate) table: Arc<Table>,
    schema: SchemaRef,
}

impl TableSource for ScanSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Whether a plan reads anything that grows.
#[must_use]
pub fn is_streaming(plan: &LogicalPlan) -> bool {
    plan.exists(|node| {
        Ok(match node {
            LogicalPlan::TableScan(scan) => {
                scan_source(scan.source.as_ref()).is_some_and(|t| t.mode == TableMode::Stream)
            }
            _ => false,
        })
    })
    .unwrap_or(false)
}

pub(crate) fn scan_source(source: &dyn TableSource) -> Option<&Arc<Table>> {
    let source: &dyn std::any::Any = source;
    source.downcast_ref::<ScanSource>().map(|scan| &scan.table)
}

/// A name for a plan: a view, or a table with its watermark.
struct PlanSource {
    plan: LogicalPlan,
    schema: SchemaRef,
}

impl TableSource for PlanSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

fn plan_source(plan: LogicalPlan) -> Arc<dyn TableSource> {
    let schema = Arc::new(plan.schema().as_arrow().clone());
    Arc::new(PlanSource { plan, schema })
}

/// A plan that reads the columns of a table's source.
///
/// # Errors
/// The connector's reason why the table cannot be read.
pub(crate) fn scan(table: &Arc<Table>) -> std::result::Result<LogicalPlan, SqlError> {
    let source = Arc::new(ScanSource {
        table: Arc::clone(table),
        schema: table.readable()?,
    });
    let name = TableReference::bare(table.name.as_str());
    LogicalPlanBuilder::scan(name, source, None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

/// The planner's view of a session.
pub(crate) struct Provider<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) registry: &'a Registry,
    pub(crate) options: &'a ConfigOptions,
    /// Columns of the table `late_rows`, where it may be read.
    pub(crate) late: Option<SchemaRef>,
}

impl Provider<'_> {
    fn source(&self, name: &str) -> std::result::Result<Arc<dyn TableSource>, SqlError> {
        match self.catalog.get(name)? {
            Entry::View { plan, .. } => Ok(plan_source(plan.as_ref().clone())),
            Entry::Table(table) => Ok(Arc::new(ScanSource {
                table: Arc::clone(table),
                schema: table.readable()?,
            })),
        }
    }

    /// The plan of a table or view, as a query reads it.
    ///
    /// # Errors
    /// [`SqlError::NoTable`], and the connector's reason why it cannot be read.
    pub(crate) fn relation(&self, name: &str) -> std::result::Result<LogicalPlan, SqlError> {
        let spelled = TableReference::bare(self.catalog.get(name)?.name());
        LogicalPlanBuilder::scan(spelled, self.source(name)?, None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)
    }
}

fn names<T>(map: &BTreeMap<String, T>) -> Vec<String> {
    map.keys().cloned().collect()
}

impl ContextProvider for Provider<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        self.source(name.table()).map_err(SqlError::into_datafusion)
    }

    fn get_table_function_source(
        &self,
        name: &str,
        _args: Vec<Expr>,
    ) -> Result<Arc<dyn TableSource>> {
        if name.eq_ignore_ascii_case(LATE_ROWS) {
            let schema = self.late.as_ref().ok_or_else(|| {
                SqlError::NotOnStream {
                    what: "late_rows outside INSERT INTO is not supported".to_owned(),
                    hint: "write INSERT INTO table SELECT … FROM late_rows('query')",
                }
                .into_datafusion()
            })?;
            return late::scan(schema)
                .map(plan_source)
                .map_err(SqlError::into_datafusion);
        }
        Err(SqlError::NoFunction {
            name: name.to_owned(),
            near: None,
        }
        .into_datafusion())
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.registry.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(SparkTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let added = self.catalog.function(name);
        added.or_else(|| self.registry.scalar.get(name)).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.registry.higher_order.get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.registry.aggregate.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.registry.window.get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.options
    }

    fn udf_names(&self) -> Vec<String> {
        names(&self.registry.scalar)
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        names(&self.registry.higher_order)
    }

    fn udaf_names(&self) -> Vec<String> {
        names(&self.registry.aggregate)
    }

    fn udwf_names(&self) -> Vec<String> {
        names(&self.registry.window)
    }
}
