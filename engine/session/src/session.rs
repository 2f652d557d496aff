//! `Session`: tables, settings and queries that belong together.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use datafusion::logical_expr::ScalarUDF;
use millstream_connectors::MemoryHub;
use millstream_connectors_api::{ConnectorFactory, Sink, SinkRequest};
use millstream_sql::{Catalog, PlanSettings, Planner, QueryText, SqlError};
use millstream_types::{Coded, Fault};

use crate::{
    error::{Error, Result},
    query::{Listeners, StreamingQuery, StreamingQueryListener},
    settings::SessionSettings,
};

/// Tables, settings and queries that belong together. Cloning gives another handle.
#[derive(Clone)]
pub struct Session {
    pub(crate) inner: Arc<SessionInner>,
}

pub(crate) struct SessionInner {
    pub(crate) app_name: String,
    pub(crate) planner: Planner,
    pub(crate) catalog: RwLock<Catalog>,
    pub(crate) settings: Mutex<SessionSettings>,
    pub(crate) hub: MemoryHub,
    pub(crate) queries: Mutex<BTreeMap<String, StreamingQuery>>,
    pub(crate) lates: Mutex<Vec<LateInsert>>,
    pub(crate) listeners: Listeners,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("app_name", &self.inner.app_name)
            .finish_non_exhaustive()
    }
}

/// An INSERT of late rows; it runs with the query that drops them.
#[derive(Clone)]
pub(crate) struct LateInsert {
    pub(crate) of: String,
    pub(crate) sink: String,
    pub(crate) query: QueryText,
    /// Whether a query runs with it.
    pub(crate) taken: bool,
}

/// Where rows of a query go.
pub(crate) struct Target {
    pub(crate) factory: Arc<dyn ConnectorFactory>,
    pub(crate) request: SinkRequest,
}

impl Target {
    /// The sink, with what the session says where its options say nothing.
    pub(crate) fn sink(&self, plan: &PlanSettings) -> Result<Box<dyn Sink>> {
        let mut request = self.request.clone();
        plan.complete(self.factory.as_ref(), &mut request.options);
        Ok(self.factory.sink(&request)?)
    }
}

impl Session {
    /// Its name.
    #[must_use]
    pub fn app_name(&self) -> &str {
        &self.inner.app_name
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

    pub(crate) fn catalog_mut(
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

    pub(crate) fn queries(&self) -> MutexGuard<'_, BTreeMap<String, StreamingQuery>> {
        self.inner
            .queries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lates(&self) -> MutexGuard<'_, Vec<LateInsert>> {
        self.inner
            .lates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn listeners(&self) -> Vec<Arc<dyn StreamingQueryListener>> {
        self.inner
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

pub(crate) fn label(query: &StreamingQuery) -> String {
    query.name().unwrap_or(query.run_id()).to_owned()
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
