//! From a plan to a query that runs.

use std::sync::{Arc, OnceLock};

use datafusion::logical_expr::LogicalPlan;
use millstream_runtime::{plan::StreamPlan, query::Query, settings::QuerySettings, sinks::Sinks};
use millstream_sql::{ExplainFormat, QueryText, explain::explain};
use millstream_types::OutputMode;
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    query::{History, Inner, StreamingQuery, Teller},
    session::{LateInsert, Session, Target},
    settings::{Checkpoint, SessionSettings},
};

impl Session {
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

    pub(crate) fn start_plan(
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
        let sink = target.sink(&settings.plan)?;
        let late = late.map(|late| late.sink(&settings.plan)).transpose()?;
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
            retry_for: settings.retry_for,
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
