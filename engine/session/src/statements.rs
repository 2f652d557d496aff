//! The statements of a script, one by one.

use std::sync::Arc;

use millstream_runtime::plan::StreamPlan;
use millstream_sql::{
    Catalog, ExplainFormat, QueryText, ScriptStatement, SqlError, Statement, Table, catalog::Entry,
    explain::explain, is_streaming, late::reads_late_rows, parse_script, shown_schema,
    statement::CreateTableStatement,
};
use millstream_types::OutputMode;

use crate::{
    assign::assign,
    dataframe::DataFrame,
    error::{Error, Result},
    query::StreamingQuery,
    session::{Session, Target, label},
    settings::Checkpoint,
};

/// What a statement of a script did.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing to show.
    Done,
    /// Lines of text, such as those of EXPLAIN.
    Text(String),
    /// A table to show: column names, then rows.
    Listing(Vec<&'static str>, Vec<Vec<String>>),
    /// INSERT INTO started a query.
    Started(StreamingQuery),
    /// SELECT: a frame that nobody runs yet.
    Frame(DataFrame),
    /// INSERT INTO of what does not grow: so many rows were added.
    Inserted(u64),
}

impl Session {
    /// Runs all statements of a script in order; the first error ends it.
    ///
    /// # Errors
    /// The first statement that fails.
    pub fn execute(&self, script: &str) -> Result<Vec<Outcome>> {
        parse_script(script)?
            .iter()
            .map(|statement| self.run_statement(statement))
            .collect()
    }

    /// Runs one statement of a script.
    ///
    /// # Errors
    /// When it cannot be planned or started.
    pub fn run_statement(&self, statement: &ScriptStatement) -> Result<Outcome> {
        match &statement.statement {
            Statement::CreateTable(create) => {
                let planner = &self.inner.planner;
                self.catalog_mut(|catalog| planner.create_table(catalog, create))?;
            }
            Statement::CreateView {
                name,
                or_replace,
                materialized,
                query,
            } => {
                if *materialized {
                    return Err(Error::NotYet {
                        what: "CREATE MATERIALIZED VIEW",
                    });
                }
                let planner = &self.inner.planner;
                self.catalog_mut(|catalog| planner.create_view(catalog, name, query, *or_replace))?;
            }
            Statement::Drop { name, if_exists } => {
                self.catalog_mut(|catalog| catalog.drop(name, *if_exists).map(drop))?;
            }
            Statement::Insert { sink, query } => {
                if let Some(of) = reads_late_rows(query) {
                    return self.keep_late(&of, sink, query).map(|()| Outcome::Done);
                }
                return self.insert(sink, query);
            }
            Statement::CreateTableAs { create, query } => return self.create_as(create, query),
            Statement::Select(query) => {
                let plan = self.inner.planner.logical(&self.catalog(), query)?;
                return Ok(Outcome::Frame(DataFrame::new(self.clone(), plan)));
            }
            Statement::Explain {
                format,
                sink,
                query,
            } => {
                return self
                    .explain_text(sink.as_deref(), query, *format)
                    .map(Outcome::Text);
            }
            Statement::Set { key, value } => {
                self.settings_mut(|settings| settings.set(key, value))?
            }
            Statement::Reset { key } => {
                self.settings_mut(|settings| settings.reset(key.as_deref()))?;
            }
            Statement::ShowQueries => return Ok(self.show_queries()),
            Statement::ShowTables => return Ok(self.show_tables()),
            Statement::Describe { name } => return self.describe(name),
            Statement::StopQuery { name } => self.query(name)?.request_stop(),
            _ => {
                return Err(Error::NotYet {
                    what: "this statement",
                });
            }
        }
        Ok(Outcome::Done)
    }

    /// The explanation of a query text in the mode of its sink, or in one that it can run in.
    fn explain_text(
        &self,
        sink: Option<&str>,
        query: &QueryText,
        format: ExplainFormat,
    ) -> Result<String> {
        let catalog = self.catalog();
        let settings = self.settings();
        let table = sink
            .map(|name| self.sink_table(&catalog, name))
            .transpose()?;
        let asked = table.as_ref().and_then(|table| table.output_mode);
        let planner = &self.inner.planner;
        let mode = match asked.or(settings.output_mode) {
            Some(mode) => mode,
            None => {
                let logical = planner.logical(&catalog, query)?;
                let allowed = planner.allowed_modes(&logical, &settings.plan);
                allowed.first().copied().unwrap_or_default()
            }
        };
        let plan = match &table {
            Some(table) => self.plan_insert(&catalog, table, query, mode)?.0,
            None => planner.plan_sql(&catalog, query, mode, &settings.plan)?,
        };
        Ok(explain(&plan, format))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is not known here is refused or shown as it is"
    )]
    pub(crate) fn sink_table(&self, catalog: &Catalog, name: &str) -> Result<Arc<Table>> {
        match catalog.get(name)? {
            Entry::Table(table) => Ok(table.clone()),
            _ => Err(SqlError::NoTable {
                name: name.to_owned(),
                near: None,
            }
            .into()),
        }
    }

    /// The plan of an INSERT, with its sink and that of its late rows.
    pub(crate) fn plan_insert(
        &self,
        catalog: &Catalog,
        table: &Table,
        query: &QueryText,
        mode: OutputMode,
    ) -> Result<(StreamPlan, Target, Option<Target>)> {
        let (settings, planner) = (self.settings(), &self.inner.planner);
        // What is wrong with the query itself is said first, with its place.
        let mut plan = planner.plan_sql(catalog, query, mode, &settings.plan)?;
        let late = self.late_insert(&[Some(&table.name), settings.query_name.as_deref()]);
        if table.columns.is_some() || late.is_some() {
            let mut logical = planner.logical(catalog, query)?;
            if let Some(columns) = &table.columns {
                logical = assign(&table.name, columns, logical)?;
            }
            let late = late.as_ref();
            let late = late.map(|late| self.late_plan(catalog, late, &logical));
            plan = planner.plan_with_late(logical, late.transpose()?, mode, &settings.plan)?;
        }
        let target = Target {
            factory: table.factory.clone(),
            request: table.sink_request(),
        };
        let late = late.map(|late| self.late_target(catalog, &late.sink));
        Ok((plan, target, late.transpose()?))
    }

    /// CREATE TABLE AS: the table has the columns of the query unless it says others.
    fn create_as(&self, create: &CreateTableStatement, query: &QueryText) -> Result<Outcome> {
        let mut create = create.clone();
        let (planner, catalog) = self.planner();
        let plan = planner.logical(&catalog, query)?;
        drop(catalog);
        if create.columns.is_none() {
            create.columns = Some(shown_schema(plan.schema().as_arrow()).fields().clone());
        }
        let exists = self.catalog().get(&create.name).is_ok();
        if exists && create.if_not_exists {
            return Ok(Outcome::Done);
        }
        let planner = &self.inner.planner;
        self.catalog_mut(|catalog| planner.create_table(catalog, &create))?;
        let inserted = self.insert(&create.name, query);
        if inserted.is_err() && !exists {
            self.catalog_mut(|catalog| catalog.drop(&create.name, true).map(drop))?;
        }
        inserted
    }

    /// An INSERT: a query that runs on over what grows, rows at once over what does not.
    fn insert(&self, sink: &str, query: &QueryText) -> Result<Outcome> {
        let (planner, catalog) = self.planner();
        let mut plan = planner.logical(&catalog, query)?;
        if is_streaming(&plan) {
            drop(catalog);
            return self.insert_stream(sink, query).map(Outcome::Started);
        }
        let table = self.sink_table(&catalog, sink)?;
        drop(catalog);
        if let Some(columns) = &table.columns {
            plan = assign(&table.name, columns, plan)?;
        }
        let target = Target {
            factory: table.factory.clone(),
            request: table.sink_request(),
        };
        let inserted = self.insert_batch(&plan, &target).map(Outcome::Inserted);
        self.forget_next_query()?;
        inserted
    }

    /// The settings of "the next query" hold for one.
    fn forget_next_query(&self) -> Result<()> {
        self.settings_mut(|settings| {
            settings.query_name = None;
            if matches!(settings.checkpoint, Checkpoint::Directory(_)) {
                settings.checkpoint = Checkpoint::None;
            }
            Ok(())
        })
    }

    fn insert_stream(&self, sink: &str, query: &QueryText) -> Result<StreamingQuery> {
        let planned = {
            let (catalog, settings) = (self.catalog(), self.settings());
            let table = self.sink_table(&catalog, sink)?;
            let mode = table.output_mode.or(settings.output_mode);
            self.plan_insert(&catalog, &table, query, mode.unwrap_or_default())?
        };
        let (plan, target, late) = planned;
        let settings = self.settings();
        let query = self.start_plan(plan, (&target, late.as_ref()), settings);
        self.forget_next_query()?;
        query
    }

    fn show_queries(&self) -> Outcome {
        let queries = self.queries();
        let rows = queries.values().map(|query| {
            let progress = query.last_progress();
            vec![
                label(query),
                query.id().to_owned(),
                query.status().message,
                progress.map_or_else(String::new, |progress| progress.batch_id.to_string()),
            ]
        });
        Outcome::Listing(vec!["name", "id", "status", "epoch"], rows.collect())
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is not known here is refused or shown as it is"
    )]
    fn show_tables(&self) -> Outcome {
        let catalog = self.catalog();
        let rows = catalog.entries().map(|entry| {
            let kind = match entry {
                Entry::Table(table) => table.factory.name(),
                _ => "view",
            };
            vec![entry.name().to_owned(), kind.to_owned()]
        });
        Outcome::Listing(vec!["name", "connector"], rows.collect())
    }

    fn describe(&self, name: &str) -> Result<Outcome> {
        let schema = match self.catalog().get(name)? {
            Entry::Table(table) if !table.generated.is_empty() => {
                let plan = self.inner.planner.scan(table)?;
                Arc::new(plan.schema().as_arrow().clone())
            }
            Entry::Table(table) => table.describe(),
            Entry::View { plan, .. } => Arc::new(plan.schema().as_arrow().clone()),
            _ => {
                return Err(Error::NotYet {
                    what: "DESCRIBE of this",
                });
            }
        };
        let rows = schema.fields().iter().map(|field| {
            vec![
                field.name().clone(),
                millstream_sql::types::spark_name(field.data_type()),
            ]
        });
        Ok(Outcome::Listing(vec!["column", "type"], rows.collect()))
    }
}
