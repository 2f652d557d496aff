//! `SessionBuilder`: a session's name, settings and connectors.

use std::sync::{Arc, Mutex, RwLock};

use millstream_connectors::{MemoryHub, registry};
use millstream_connectors_api::ConnectorFactory;
use millstream_sql::Catalog;

use crate::{
    error::{Error, Result},
    query::Listeners,
    session::{Session, SessionInner},
    settings::SessionSettings,
};

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
                planner: crate::batch::planner(),
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

impl Session {
    /// Begins a session.
    #[must_use]
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }
}
