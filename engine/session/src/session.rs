//! `Session`: tables, settings and queries that belong together.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard},
};

use datafusion::logical_expr::{LogicalPlan, ScalarUDF};
use millstream_connectors::{MemoryHub, registry};
use millstream_connectors_api::{ConnectorFactory, SinkRequest};
use millstream_runtime::{plan::StreamPlan, query::Query, settings::QuerySettings, sinks::Sinks};
use millstream_sql::{
    Catalog, ExplainFormat, Planner, QueryText, ScriptStatement, SqlError, Statement, Table,
    catalog::Entry, explain::explain, late::reads_late_rows, parse_script,
};
use millstream_types::{Coded, Fault, OutputMode};
use uuid::Uuid;

use crate::{
    assign::assign,
    dataframe::DataFrame,
    error::{Error, Result},
    query::{History, Inner, Listeners, StreamingQuery, StreamingQueryListener, Teller},
    reader::DataStreamReader,
    settings::{Checkpoint, SessionSettings},
};

/// Tables, settings and queries that belong together. Cloning gives another handle.
#[derive(Clone)]
pub struct Session {
    pub(crate) inner: Arc<SessionInner>,
}

pub(crate) struct SessionInner {
    app_name: String,
    pub(crate) planner: Planner,
    catalog: RwLock<Catalog>,
    settings: Mutex<SessionSettings>,
    hub: MemoryHub,
    queries: Mutex<BTreeMap<String, StreamingQuery>>,
    lates: Mutex<Vec<LateInsert>>,
    listeners: Listeners,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("app_name", &self.inner.app_name)
            .finish_non_exhaustive()
    }
}

/// Makes a [`Session`].
#[derive(Default)]
pub struct SessionBuilder {
    app_name: Option<String>,
    settings: SessionSettings,
    connectors: Vec<Arc<dyn ConnectorFactory>>,
    error: Option<Error>,
}

impl std::fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionBuilder")
            .field("app_name", &self.app_name)
            .finish_non_exhaustive()
    }
}

impl SessionBuilder {
    /// A name for people.
    #[must_use]
    pub fn app_name(mut self, name: impl Into<String>) -> Self {
        self.app_name = Some(name.into());
        self
    }

    /// Worker threads of each query; all cores without it.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.settings.workers = workers.max(1);
        self
    }

    /// A setting by its key, as `SET` takes it. An unknown key fails in [`build`](Self::build).
    #[must_use]
    pub fn config(mut self, key: &str, value: &str) -> Self {
        if let Err(error) = self.settings.set(key, value) {
            self.error.get_or_insert(error);
        }
        self
    }

    /// All settings at once.
    #[must_use]
    pub fn settings(mut self, settings: SessionSettings) -> Self {
        self.settings = settings;
        self
    }

    /// One more connector; it takes the place of a built-in one with the same name.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn ConnectorFactory>) -> Self {
        self.connectors.push(connector);
        self
    }

    /// The session.
    ///
    /// # Errors
    /// The first setting that was wrong.
    pub fn build(self) -> Result<Session> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let hub = MemoryHub::new();
        let mut connectors = self.connectors;
        connectors.extend(registry(hub.clone()));
        Ok(Session {
            inner: Arc::new(SessionInner {
                app_name: self.app_name.unwrap_or_else(|| "millstream".to_owned()),
                planner: Planner::new(),
                catalog: RwLock::new(Catalog::new(connectors)),
                settings: Mutex::new(self.settings),
                hub,
                queries: Mutex::default(),
                lates: Mutex::default(),
                listeners: Listeners::default(),
            }),
        })
    }
}

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
}

/// An INSERT of late rows; it runs with the query that drops them.
#[derive(Clone)]
pub(crate) struct LateInsert {
    of: String,
    sink: String,
    query: QueryText,
    /// Whether a query runs with it.
    taken: bool,
}

/// Where rows of a query go.
pub(crate) struct Target {
    pub(crate) factory: Arc<dyn ConnectorFactory>,
    pub(crate) request: SinkRequest,
}

impl Session {
    /// Begins a session.
    #[must_use]
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }

    /// Its name.
    #[must_use]
    pub fn app_name(&self) -> &str {
        &self.inner.app_name
    }

    /// Reads something that grows.
    #[must_use]
    pub fn read_stream(&self) -> DataStreamReader {
        DataStreamReader::new(self.clone())
    }

    /// A frame over a table or view.
    ///
    /// # Errors
    /// When there is none of this name, or it cannot be read.
    pub fn table(&self, name: &str) -> Result<DataFrame> {
        let plan = match self.catalog().get(name)? {
            Entry::Table(table) => self.inner.planner.scan(table)?,
            Entry::View { plan, .. } => plan.as_ref().clone(),
            _ => {
                return Err(Error::NotYet {
                    what: "this kind of table",
                });
            }
        };
        Ok(DataFrame::new(self.clone(), plan))
    }

    /// A frame over a query text.
    ///
    /// # Errors
    /// Errors of syntax, names and types, with their place in the text.
    pub fn sql(&self, query: &str) -> Result<DataFrame> {
        let query = QueryText::new(query)?;
        let plan = self.inner.planner.logical(&self.catalog(), &query)?;
        Ok(DataFrame::new(self.clone(), plan))
    }

    /// What plans queries, and the names that they may use.
    pub(crate) fn planner(&self) -> (&Planner, RwLockReadGuard<'_, Catalog>) {
        (&self.inner.planner, self.catalog())
    }

    /// Adds a function of rows that queries of this session may call by its name; it takes the place of
    /// another one of the same name.
    pub fn register_function(&self, function: ScalarUDF) {
        self.inner
            .catalog
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .add_function(function);
    }

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
                self.catalog_mut(|catalog| catalog.create_table(create))?;
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
                return self.insert(sink, query).map(Outcome::Started);
            }
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
    fn sink_table(&self, catalog: &Catalog, name: &str) -> Result<Arc<Table>> {
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
    fn plan_insert(
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

    fn insert(&self, sink: &str, query: &QueryText) -> Result<StreamingQuery> {
        let planned = {
            let (catalog, settings) = (self.catalog(), self.settings());
            let table = self.sink_table(&catalog, sink)?;
            let mode = table.output_mode.or(settings.output_mode);
            self.plan_insert(&catalog, &table, query, mode.unwrap_or_default())?
        };
        let (plan, target, late) = planned;
        let settings = self.settings();
        let query = self.start_plan(plan, (&target, late.as_ref()), settings);
        // The settings of "the next query" hold for one.
        self.settings_mut(|settings| {
            settings.query_name = None;
            if matches!(settings.checkpoint, Checkpoint::Directory(_)) {
                settings.checkpoint = Checkpoint::None;
            }
            Ok::<_, Error>(())
        })?;
        query
    }

    /// Notes an INSERT of late rows for the query that will drop them.
    fn keep_late(&self, of: &str, sink: &str, query: &QueryText) -> Result<()> {
        let catalog = self.catalog();
        self.sink_table(&catalog, sink)?;
        let runs = self
            .queries()
            .get(of)
            .is_some_and(StreamingQuery::is_active);
        if runs {
            return Err(Error::Started {
                query: of.to_owned(),
            });
        }
        let mut lates = self.lates();
        if lates.iter().any(|late| late.of.eq_ignore_ascii_case(of)) {
            return Err(Error::NotYet {
                what: "a second INSERT of late rows of one query",
            });
        }
        lates.push(LateInsert {
            of: of.to_owned(),
            sink: sink.to_owned(),
            query: query.clone(),
            taken: false,
        });
        Ok(())
    }

    /// Fails if an INSERT of late rows names a query that was not started: a slip of the name, most
    /// likely. Whoever runs a whole script asks at its end.
    ///
    /// # Errors
    /// [`Error::NoQuery`].
    pub fn check_late_rows(&self) -> Result<()> {
        let lates = self.lates();
        let Some(late) = lates.iter().find(|late| !late.taken) else {
            return Ok(());
        };
        let queries = self.queries();
        Err(Error::NoQuery {
            name: late.of.clone(),
            active: queries
                .values()
                .filter(|q| q.is_active())
                .map(label)
                .collect(),
        })
    }

    /// The INSERT of late rows of the query that goes by one of these names.
    fn late_insert(&self, names: &[Option<&str>]) -> Option<LateInsert> {
        let mut lates = self.lates();
        let mut names = names.iter().flatten();
        names.find_map(|name| {
            let is_of = |late: &&mut LateInsert| late.of.eq_ignore_ascii_case(name);
            let late = lates.iter_mut().find(is_of)?;
            late.taken = true;
            Some(late.clone())
        })
    }

    fn late_plan(
        &self,
        catalog: &Catalog,
        late: &LateInsert,
        of: &LogicalPlan,
    ) -> Result<LogicalPlan> {
        let plan = self.inner.planner.logical_late(catalog, &late.query, of)?;
        let table = self.sink_table(catalog, &late.sink)?;
        Ok(match &table.columns {
            Some(columns) => assign(&table.name, columns, plan)?,
            None => plan,
        })
    }

    fn late_target(&self, catalog: &Catalog, sink: &str) -> Result<Target> {
        let table = self.sink_table(catalog, sink)?;
        Ok(Target {
            factory: table.factory.clone(),
            request: table.sink_request(),
        })
    }

    /// Plans and starts a logical plan; its late rows go to the table of this name, if there is one.
    pub(crate) fn start_logical(
        &self,
        plan: LogicalPlan,
        mode: OutputMode,
        (target, late_table): (&Target, Option<&str>),
        settings: SessionSettings,
    ) -> Result<StreamingQuery> {
        let planner = &self.inner.planner;
        let late = match late_table {
            Some(table) => Some(LateInsert {
                of: String::new(),
                sink: table.to_owned(),
                query: QueryText::new("SELECT * FROM late_rows('query')")?,
                taken: true,
            }),
            None => self.late_insert(&[settings.query_name.as_deref()]),
        };
        let (plan, late) = {
            let catalog = self.catalog();
            let logical = late
                .as_ref()
                .map(|late| self.late_plan(&catalog, late, &plan));
            let target = late
                .as_ref()
                .map(|late| self.late_target(&catalog, &late.sink));
            let plan = planner.plan_with_late(plan, logical.transpose()?, mode, &settings.plan)?;
            (plan, target.transpose()?)
        };
        self.start_plan(plan, (target, late.as_ref()), settings)
    }

    fn start_plan(
        &self,
        plan: StreamPlan,
        (target, late): (&Target, Option<&Target>),
        settings: SessionSettings,
    ) -> Result<StreamingQuery> {
        let name = settings.query_name.clone();
        self.check_name(name.as_deref())?;
        let checkpoint = checkpoint_of(&settings);
        if matches!(checkpoint, Checkpoint::None) && target.factory.capabilities().needs_checkpoint
        {
            return Err(Error::CheckpointRequired {
                sink: target.factory.name(),
            });
        }
        if matches!(checkpoint, Checkpoint::None) && target.factory.name() == "memory" {
            // The query starts anew: epochs of a former one of this name are not its own.
            self.inner.hub.drop_output(&target.request.table);
        }
        let explanation = explain(&plan, ExplainFormat::Tree);
        let sink = target.factory.sink(&target.request)?;
        let late = late
            .map(|late| late.factory.sink(&late.request))
            .transpose()?;
        let sinks = Sinks::new(sink, late);
        let history = Arc::<History>::default();
        let teller = Arc::new(Teller {
            listeners: self.inner.listeners.clone(),
            history: history.clone(),
            id: OnceLock::new(),
        });
        let speaker = teller.clone();
        let listener = Arc::new(move |event| speaker.tell(&event));
        let run_id = Uuid::new_v4().to_string();
        let query_settings = QuerySettings {
            name: name.clone(),
            run_id: run_id.clone(),
            new_id: settings
                .new_id
                .unwrap_or_else(|| Uuid::new_v4().to_string()),
            workers: settings.workers,
            trigger: settings.trigger,
            open_epochs_max: settings.open_epochs_max,
            snapshot_interval: settings.snapshot_interval,
            no_data_epochs: settings.no_data_epochs,
            polling_delay: settings.polling_delay,
            channels: settings.channels,
            kill_at: settings.kill_at,
            schedule: settings.schedule,
            clock: settings.clock,
        };
        let query = Query::start(plan, sinks, checkpoint.disk(), query_settings, listener)?;
        let _set_once = teller.id.set(query.id().to_owned());
        for listener in &self.listeners() {
            listener.on_query_started(query.id(), name.as_deref());
        }
        let handle = StreamingQuery {
            inner: Arc::new(Inner {
                query,
                run_id,
                name,
                history,
                explanation,
            }),
        };
        let key = handle.name().unwrap_or(handle.run_id()).to_owned();
        self.queries().insert(key, handle.clone());
        Ok(handle)
    }

    fn check_name(&self, name: Option<&str>) -> Result<()> {
        let Some(name) = name else { return Ok(()) };
        match self.queries().get(name) {
            Some(query) if query.is_active() => Err(Error::NameTaken {
                name: name.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The queries that run.
    #[must_use]
    pub fn active_queries(&self) -> Vec<StreamingQuery> {
        self.queries()
            .values()
            .filter(|query| query.is_active())
            .cloned()
            .collect()
    }

    /// The query of this name or id.
    ///
    /// # Errors
    /// [`Error::NoQuery`].
    pub fn query(&self, name: &str) -> Result<StreamingQuery> {
        let queries = self.queries();
        let found = queries
            .get(name)
            .or_else(|| queries.values().find(|q| q.id() == name));
        found
            .filter(|query| query.is_active())
            .cloned()
            .ok_or_else(|| Error::NoQuery {
                name: name.to_owned(),
                active: queries
                    .values()
                    .filter(|q| q.is_active())
                    .map(label)
                    .collect(),
            })
    }

    /// Tells a listener of all queries from now on, those that are running included.
    pub fn add_listener(&self, listener: Arc<dyn StreamingQueryListener>) {
        self.inner
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(listener);
    }

    /// The memory tables of this session: rows in, rows out.
    #[must_use]
    pub fn memory(&self) -> &MemoryHub {
        &self.inner.hub
    }

    /// A copy of the settings.
    #[must_use]
    pub fn settings(&self) -> SessionSettings {
        self.inner
            .settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes the settings.
    ///
    /// # Errors
    /// What the change says.
    pub fn settings_mut<E>(
        &self,
        change: impl FnOnce(&mut SessionSettings) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        change(
            &mut self
                .inner
                .settings
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// The tables, views and connectors.
    pub fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.inner
            .catalog
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn catalog_mut(
        &self,
        change: impl FnOnce(&mut Catalog) -> std::result::Result<(), SqlError>,
    ) -> Result<()> {
        let mut catalog = self
            .inner
            .catalog
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(change(&mut catalog)?)
    }

    fn queries(&self) -> MutexGuard<'_, BTreeMap<String, StreamingQuery>> {
        self.inner
            .queries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lates(&self) -> MutexGuard<'_, Vec<LateInsert>> {
        self.inner
            .lates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn listeners(&self) -> Vec<Arc<dyn StreamingQueryListener>> {
        self.inner
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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

fn label(query: &StreamingQuery) -> String {
    query.name().unwrap_or(query.run_id()).to_owned()
}

/// The checkpoint of the next query: its own, or one under the session's root.
fn checkpoint_of(settings: &SessionSettings) -> Checkpoint {
    match (
        &settings.checkpoint,
        &settings.checkpoint_root,
        &settings.query_name,
    ) {
        (Checkpoint::None, Some(root), Some(name)) => Checkpoint::Directory(root.join(name)),
        (checkpoint, _, _) => checkpoint.clone(),
    }
}

/// A fault as the library's error, for hosts that speak in faults.
#[must_use]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not known here is refused or shown as it is"
)]
pub fn fault(error: &Error) -> Fault {
    match error {
        Error::Terminated { fault, .. } => fault.clone(),
        other => other.fault(),
    }
}
