//! Scripts on the real engine: a session, memory tables, a simulated disk a query.

use std::{sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use millstream::{
    Channels, Checkpoint, Clock, DataFrame, KillPoint as Kill, Session, SessionSettings,
    StreamingQuery, Trigger, VirtualClock, fault,
};
use millstream_epoch::sim::SimDisk;
use millstream_types::{Code, Fault, OutputMode};

use crate::{
    baton::{Baton, Policy, Random, Trace},
    script::{KillPoint, ScriptHost, Taken},
};

/// Where the virtual clock stands when a script begins: 2024-01-01 00:00:00 UTC.
const CLOCK_START_MS: i64 = 1_704_067_200_000;

/// A kill by the baton comes after fewer turns than this.
const KILL_TURNS: usize = 120;

/// A session in which one script runs.
pub struct SessionHost {
    session: Session,
    clock: Arc<VirtualClock>,
    queries: Vec<Running>,
    batons: Option<Batons>,
}

/// Makes the batons of a host: one for each start of a query, all from one seed.
#[derive(Clone, Debug)]
pub struct Batons {
    seeds: Random,
    /// Kills that are still to come.
    kills: usize,
}

impl Batons {
    /// Batons of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Batons {
        Batons {
            seeds: Random::new(seed),
            kills: 0,
        }
    }

    /// As many starts at most are killed in the middle of a turn that the seed chooses.
    #[must_use]
    pub fn with_kills(seed: u64, kills: usize) -> Batons {
        Batons {
            kills,
            ..Batons::new(seed)
        }
    }

    fn next(&mut self, workers: usize) -> Baton {
        let seed = self.seeds.draw();
        let baton = Baton::new(seed, Policy::of(seed, workers));
        if self.kills == 0 || seed.is_multiple_of(4) {
            return baton;
        }
        self.kills -= 1;
        baton.kill_at(self.seeds.below(KILL_TURNS))
    }
}

impl std::fmt::Debug for SessionHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionHost")
            .field("queries", &self.queries.len())
            .finish_non_exhaustive()
    }
}

/// A query of a script, over all its starts.
struct Running {
    name: String,
    frame: DataFrame,
    mode: OutputMode,
    settings: SessionSettings,
    handle: Option<StreamingQuery>,
    /// Where the next start is to be killed, and with how many workers it goes on then.
    armed: Option<(Kill, usize)>,
    /// The newest epoch whose counters were added up.
    counted: Option<u64>,
    late: u64,
    state: u64,
    batons: Option<Batons>,
    /// Those of all starts, the present one last.
    used: Vec<Arc<Baton>>,
}

impl SessionHost {
    /// A fresh session whose workers hand batches to each other in this way.
    ///
    /// # Errors
    /// When a session cannot be made.
    pub fn new(channels: Channels) -> Result<SessionHost, Fault> {
        let clock = Arc::new(VirtualClock::new(CLOCK_START_MS));
        let settings = SessionSettings {
            trigger: Trigger::OnDemand,
            snapshot_interval: Duration::ZERO,
            channels,
            clock: clock.clone() as Arc<dyn Clock>,
            ..SessionSettings::default()
        };
        let session = Session::builder().settings(settings).build();
        let session = session.map_err(|error| fault(&error))?;
        Ok(SessionHost {
            session,
            clock,
            queries: Vec::new(),
            batons: None,
        })
    }

    /// A fresh session whose queries move by batons.
    ///
    /// # Errors
    /// When a session cannot be made.
    pub fn with_batons(channels: Channels, batons: Batons) -> Result<SessionHost, Fault> {
        let host = SessionHost::new(channels)?;
        Ok(SessionHost {
            batons: Some(batons),
            ..host
        })
    }

    /// What moved when in all starts of all queries, in the order of queries and starts.
    #[must_use]
    pub fn traces(&self) -> Vec<Trace> {
        self.queries
            .iter()
            .flat_map(|query| &query.used)
            .map(|baton| baton.trace())
            .collect()
    }

    fn query(&mut self, name: &str) -> Result<&mut Running, Fault> {
        self.queries
            .iter_mut()
            .find(|query| query.name == name)
            .ok_or_else(|| Fault {
                code: Code("QRY-003"),
                sub_condition: None,
                message: format!("no query has the name {name}"),
                hint: None,
                position: None,
            })
    }
}

impl Running {
    fn start(&mut self, kill_at: Option<Kill>) -> Result<(), Fault> {
        self.settings.kill_at = kill_at;
        if let Some(batons) = &mut self.batons {
            let baton = Arc::new(batons.next(self.settings.workers));
            self.used.push(baton.clone());
            self.settings.schedule = Some(baton);
        }
        let writer = self
            .frame
            .write_stream()
            .format("memory")
            .query_name(&self.name)
            .output_mode(self.mode)
            .checkpoint(self.settings.checkpoint.clone());
        let handle = writer
            .start_with(self.settings.clone())
            .map_err(|error| fault(&error))?;
        self.handle = Some(handle);
        self.rest();
        Ok(())
    }

    /// Under a baton a query is touched only while it rests.
    fn rest(&self) {
        let stuck = self.used.last().and_then(|baton| baton.rest().err());
        assert!(
            stuck.is_none(),
            "{}",
            stuck.map_or_else(String::new, |stuck| stuck.to_string())
        );
    }

    /// Ends the query where it stands; its checkpoint and its sink stay.
    fn kill(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.kill();
        }
    }

    fn run(&mut self) -> Result<(), Fault> {
        if let Some((at, workers)) = self.armed.take() {
            self.kill();
            self.start(Some(at))?;
            self.process()?;
            let was_killed = self.handle.as_ref().is_some_and(StreamingQuery::is_killed);
            if !was_killed {
                // Nothing was to do, so the step was not reached: it stays armed.
                self.armed = Some((at, workers));
                return Ok(());
            }
            self.kill();
            self.settings.workers = workers;
            self.start(None)?;
        }
        self.process()
    }

    /// Processes what there is, over as many starts as its batons make of it.
    fn process(&mut self) -> Result<(), Fault> {
        self.process_once()?;
        while self.used.last().is_some_and(|baton| baton.has_killed()) {
            self.kill();
            self.start(None)?;
            self.process_once()?;
        }
        Ok(())
    }

    fn process_once(&mut self) -> Result<(), Fault> {
        let Some(handle) = &self.handle else {
            return Ok(());
        };
        let processed = handle.process_all_available_blocking();
        self.rest();
        for progress in handle.recent_progress() {
            if self.counted < Some(progress.batch_id) {
                self.counted = Some(progress.batch_id);
                let operators = &progress.state_operators;
                self.late += operators
                    .iter()
                    .map(|one| one.num_rows_dropped_by_watermark)
                    .sum::<u64>();
                self.state = operators.iter().map(|one| one.num_rows_total).sum();
            }
        }
        processed.map_err(|error| {
            self.handle = None;
            fault(&error)
        })
    }
}

impl ScriptHost for SessionHost {
    fn statement(&mut self, sql: &str) -> Result<(), Fault> {
        self.session
            .execute(sql)
            .map(drop)
            .map_err(|error| fault(&error))
    }

    fn table_schema(&mut self, table: &str) -> Result<SchemaRef, Fault> {
        let catalog = self.session.catalog();
        let entry = catalog.get(table).map_err(|error| fault(&error.into()))?;
        match entry {
            millstream::Entry::Table(table) => {
                table.readable().map_err(|error| fault(&error.into()))
            }
            other @ (millstream::Entry::View { .. } | _) => Err(Fault {
                code: Code("SQL-002"),
                sub_condition: None,
                message: format!("{} takes no rows", other.name()),
                hint: None,
                position: None,
            }),
        }
    }

    fn start(
        &mut self,
        query: &str,
        mode: OutputMode,
        sql: &str,
        workers: usize,
    ) -> Result<(), Fault> {
        let frame = self.session.sql(sql).map_err(|error| fault(&error))?;
        let mut settings = self.session.settings();
        settings.workers = workers;
        settings.checkpoint = Checkpoint::Disk(Arc::new(SimDisk::new()));
        // What `rand()` draws comes from the id: a script knows it.
        settings.new_id = Some(format!("script-{query}"));
        let mut running = Running {
            name: query.to_owned(),
            frame,
            mode,
            settings,
            handle: None,
            armed: None,
            counted: None,
            late: 0,
            state: 0,
            batons: None,
            used: Vec::new(),
        };
        if let Some(batons) = &mut self.batons {
            running.batons = Some(Batons {
                seeds: Random::new(batons.seeds.draw()),
                ..batons.clone()
            });
        }
        running.start(None)?;
        self.queries.push(running);
        Ok(())
    }

    fn add(&mut self, table: &str, rows: RecordBatch) -> Result<(), Fault> {
        let added = self.session.memory().add(table, rows);
        added.map(drop).map_err(|error| fault(&error.into()))
    }

    fn run(&mut self) -> Result<(), Fault> {
        self.queries.iter_mut().try_for_each(Running::run)
    }

    fn take(&mut self, query: &str) -> Result<Taken, Fault> {
        let hub = self.session.memory().clone();
        let is_query = self.queries.iter().any(|running| running.name == query);
        if let (false, Some(schema)) = (is_query, hub.output_schema(query)) {
            // A table that a query writes beside its result.
            let rows = hub.take(query).into_iter();
            return Ok(Taken {
                schema,
                rows: rows.map(|signed| (signed.rows, signed.signs)).collect(),
                late: 0,
                state: 0,
            });
        }
        let running = self.query(query)?;
        let rows = hub
            .take(query)
            .into_iter()
            .map(|signed| (signed.rows, signed.signs));
        Ok(Taken {
            schema: hub
                .output_schema(query)
                .unwrap_or_else(|| running.frame.schema()),
            rows: rows.collect(),
            late: std::mem::take(&mut running.late),
            state: running.state,
        })
    }

    fn restart(
        &mut self,
        query: &str,
        workers: usize,
        after: Option<KillPoint>,
    ) -> Result<(), Fault> {
        let running = self.query(query)?;
        if let Some(point) = after {
            let point = match point {
                KillPoint::Plan => Kill::Planned,
                KillPoint::Stage => Kill::Staged,
                KillPoint::Commit => Kill::Committed,
                KillPoint::Snapshot => Kill::Snapshot,
            };
            running.armed = Some((point, workers));
            return Ok(());
        }
        if running.handle.is_none() {
            // It was refused or has failed; there is nothing to start again.
            return Ok(());
        }
        running.kill();
        running.settings.workers = workers;
        running.start(None)
    }

    fn advance(&mut self, micros: i64) -> Result<(), Fault> {
        self.clock.advance(micros.div_euclid(1000));
        Ok(())
    }
}
