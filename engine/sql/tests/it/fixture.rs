//! A catalog with a connector that only has columns, and the one helper of all tests.

use std::{fmt::Write, sync::Arc};

use arrow::datatypes::SchemaRef;
use millstream_connectors_api::{
    Capabilities, ConnectorError, ConnectorFactory, OptionSpec, Sink, SinkRequest, Source,
    SourceContext, SourceRequest,
};
use millstream_sql::{
    Catalog, ExplainFormat, PlanSettings, Planner, QueryText, SqlError, Statement,
    explain::explain, parse_script,
};
use millstream_types::{Coded, OutputMode};

/// A connector that is never opened.
struct Memory;

impl ConnectorFactory for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            source: true,
            sink: true,
            needs_checkpoint: false,
        }
    }

    fn options(&self) -> Vec<OptionSpec> {
        vec![OptionSpec {
            name: "maxRowsPerTrigger",
            default: "",
            help: "rows an epoch",
        }]
    }

    fn schema(&self, request: &SourceRequest) -> Result<SchemaRef, ConnectorError> {
        request
            .schema
            .clone()
            .ok_or(ConnectorError::SchemaRequired {
                connector: "memory",
            })
    }

    fn source(
        &self,
        _request: &SourceRequest,
        _context: SourceContext,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        Err(ConnectorError::Internal {
            what: "planning opens nothing",
        })
    }

    fn sink(&self, _request: &SinkRequest) -> Result<Box<dyn Sink>, ConnectorError> {
        Err(ConnectorError::Internal {
            what: "planning opens nothing",
        })
    }
}

/// A session without an engine.
pub(crate) struct Fixture {
    pub(crate) planner: Planner,
    pub(crate) catalog: Catalog,
    pub(crate) settings: PlanSettings,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        Fixture {
            planner: Planner::new(),
            catalog: Catalog::new(vec![Arc::new(Memory)]),
            settings: PlanSettings::default(),
        }
    }

    /// With a stream `clicks` that has a watermark and a stream `plain` that has none.
    pub(crate) fn with_tables() -> Fixture {
        let mut fixture = Fixture::new();
        let created = fixture.run(
            "CREATE TABLE clicks (at TIMESTAMP, who STRING, page STRING, n INT,
               WATERMARK FOR at AS at - INTERVAL '10' SECOND) WITH (connector = 'memory');
             CREATE TABLE plain (ts TIMESTAMP, k STRING, v BIGINT, price DECIMAL(7,2), tags ARRAY<STRING>)
               WITH (connector = 'memory');
             CREATE TABLE dim (k STRING, name STRING) WITH (connector = 'memory', 'mode' = 'batch')",
        );
        assert_eq!(created, "");
        fixture
    }

    /// Runs CREATE, SET and views; the answer is the first error.
    pub(crate) fn run(&mut self, sql: &str) -> String {
        match self.try_run(sql) {
            Ok(()) => String::new(),
            Err(error) => show(&error),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is for a session")]
    fn try_run(&mut self, sql: &str) -> Result<(), SqlError> {
        for statement in parse_script(sql)? {
            match statement.statement {
                Statement::CreateTable(create) => {
                    self.planner.create_table(&mut self.catalog, &create)?;
                }
                Statement::CreateView {
                    name,
                    or_replace,
                    query,
                    ..
                } => {
                    self.planner
                        .create_view(&mut self.catalog, &name, &query, or_replace)?;
                }
                Statement::Set { key, value } => {
                    self.settings.set(&key, &value)?;
                }
                Statement::Drop { name, if_exists } => {
                    self.catalog.drop(&name, if_exists)?;
                }
                _ => {
                    return Err(SqlError::Unsupported {
                        what: "this statement in a test".to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    pub(crate) fn plan(&self, mode: OutputMode, sql: &str, format: ExplainFormat) -> String {
        let plan = QueryText::new(sql).and_then(|query| {
            self.planner
                .plan_sql(&self.catalog, &query, mode, &self.settings)
        });
        match plan {
            Ok(plan) => explain(&plan, format),
            Err(error) => show(&error),
        }
    }
}

/// An error as users see it.
pub(crate) fn show(error: &SqlError) -> String {
    let mut text = error.fault().to_string();
    let _ = writeln!(text);
    text
}

/// The plan of a query over the standard tables.
pub(crate) fn plan(mode: OutputMode, sql: &str) -> String {
    Fixture::with_tables().plan(mode, sql, ExplainFormat::Tree)
}
