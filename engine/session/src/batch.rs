//! Queries over what is there now: they run once, through the operators of streams, in one epoch.
//!
//! So a batch means what a stream means, and a result is read as it is made: a bounded channel stands
//! between the operators and whoever asked, and a slow reader slows the reading of tables.

use std::{
    io::Write,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
};
use datafusion::logical_expr::LogicalPlan;
use millstream_connectors::{MemoryConnector, MemoryHub, Shown};
use millstream_connectors_api::{
    ConnectorError, EpochWrite, Guarantee, Options, Sink, SinkContext, SinkReceipt, SinkRows,
    WriteBody,
};
use millstream_runtime::{
    events::QueryEvent,
    query::{Query, Termination},
    settings::{QuerySettings, Trigger},
    sinks::Sinks,
};
use millstream_sql::{Planner, SqlError, Table, TableMode, is_streaming};
use millstream_types::{Epoch, OutputMode};
use uuid::Uuid;

use crate::{
    dataframe::DataFrame,
    error::{Error, Result},
    query::{Teller, blocking},
    session::{Session, Target},
    settings::Checkpoint,
};

/// Batches between the operators and their reader.
const BATCHES_WAITING: usize = 8;

/// Whose epochs those of batches are, in a sink that stores epochs: each INSERT adds one.
const BATCH_ID: &str = "batch";

/// Hands rows to whoever reads the result.
struct Hand {
    rows: SyncSender<RecordBatch>,
}

impl Sink for Hand {
    fn description(&self) -> String {
        "Batch".to_owned()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn open(&mut self, _context: &SinkContext) -> std::result::Result<(), ConnectorError> {
        Ok(())
    }

    fn last_committed(&mut self) -> std::result::Result<Option<Epoch>, ConnectorError> {
        Ok(None)
    }

    fn write(&mut self, write: &EpochWrite) -> std::result::Result<(), ConnectorError> {
        let SinkRows { rows, signs } = write.body.as_rows()?;
        let taken_back = |signs: &arrow::array::Int64Array| signs.values().iter().any(|s| *s != 1);
        if signs.as_ref().is_some_and(taken_back) {
            return Err(ConnectorError::Internal {
                what: "a batch took rows back",
            });
        }
        // A reader that is gone has enough, or has said its reason.
        let _gone = self.rows.send(rows.clone());
        Ok(())
    }

    fn stage(&mut self, _epoch: Epoch) -> std::result::Result<(), ConnectorError> {
        Ok(())
    }

    fn commit(&mut self, _epoch: Epoch) -> std::result::Result<SinkReceipt, ConnectorError> {
        Ok(SinkReceipt::default())
    }
}

/// A table of constant rows.
///
/// # Errors
/// Never for rows of one schema.
pub(crate) fn rows_table(
    schema: &SchemaRef,
    rows: Vec<RecordBatch>,
) -> std::result::Result<Arc<Table>, SqlError> {
    let (hub, name) = (MemoryHub::new(), "rows");
    for batch in rows {
        hub.add(name, batch)?;
    }
    let factory = Arc::new(MemoryConnector::new(hub));
    let mut table = Table::new(name, factory, Some(Arc::clone(schema)), Options::new())?;
    table.mode = TableMode::Batch;
    Ok(Arc::new(table))
}

/// A planner that makes tables of constant rows.
pub(crate) fn planner() -> Planner {
    Planner::new().with_rows(|rows| rows_table(&rows.schema(), vec![rows]))
}

impl Session {
    /// Runs a plan over tables that do not grow and gives its rows to `take`, in order if it has one.
    /// An error of `take` ends the query and is returned.
    ///
    /// # Errors
    /// A plan over streams; what cannot be planned; what ends the query.
    pub(crate) fn run_batch(
        &self,
        plan: &LogicalPlan,
        mut take: impl FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        if is_streaming(plan) {
            return Err(SqlError::NotOnStream {
                what: "Queries with streaming sources must be executed with writeStream.start()"
                    .to_owned(),
                hint: "use write_stream, or read its tables with mode = 'batch'",
            }
            .into());
        }
        let settings = self.settings();
        let planner = &self.inner.planner;
        let stream = planner.plan_batch(plan.clone(), &settings.plan)?;
        let (sender, receiver) = sync_channel(BATCHES_WAITING);
        let sinks = Sinks::new(Box::new(Hand { rows: sender }), None);
        let query_settings = QuerySettings {
            name: None,
            run_id: Uuid::new_v4().to_string(),
            new_id: Uuid::new_v4().to_string(),
            workers: settings.workers,
            trigger: Trigger::AvailableNow,
            open_epochs_max: settings.open_epochs_max,
            snapshot_interval: settings.snapshot_interval,
            retry_for: settings.retry_for,
            // The watermark of the only epoch closes nothing: what is there is the result.
            no_data_epochs: false,
            polling_delay: settings.polling_delay,
            channels: settings.channels,
            kill_at: None,
            schedule: None,
            clock: settings.clock,
        };
        let disk = Checkpoint::None.disk();
        let teller = Teller {
            listeners: self.inner.listeners.clone(),
            history: Arc::default(),
            id: BATCH_ID.to_owned().into(),
        };
        let notices = move |event| match event {
            QueryEvent::Notice(_) | QueryEvent::Paused(_) | QueryEvent::Resumed => {
                teller.tell(&event);
            }
            // Whoever asked waits for the end, and a batch has no progress.
            QueryEvent::Progress(_) | QueryEvent::Terminated(_) => {}
        };
        let query = Query::start(stream, sinks, disk, query_settings, Arc::new(notices))?;
        let taken = receive(&receiver, &mut take);
        if taken.is_err() {
            drop(receiver);
            query.kill();
        }
        let ended = query.wait(None);
        taken?;
        match ended {
            Some(Termination::Failed(fault)) => Err(Error::Failed(fault)),
            _ => Ok(()),
        }
    }

    /// Runs a plan and adds its rows to a sink, all at once; says how many.
    ///
    /// # Errors
    /// As [`run_batch`](Session::run_batch); when the sink refuses.
    pub(crate) fn insert_batch(&self, plan: &LogicalPlan, target: &Target) -> Result<u64> {
        let mut sink = target.sink(&self.settings().plan)?;
        let schema = millstream_sql::shown_schema(plan.schema().as_arrow());
        sink.open(&SinkContext {
            query_id: BATCH_ID.to_owned(),
            schema,
            mode: OutputMode::Append,
        })?;
        let epoch = sink.last_committed()?.map_or(Epoch(0), |last| last.next());
        // What an INSERT that failed has left is discarded.
        sink.begin(epoch)?;
        let mut encoder = sink.encoder();
        let mut count = 0;
        self.run_batch(plan, |rows| {
            count += rows.num_rows() as u64;
            let rows = SinkRows { rows, signs: None };
            let body = match &mut encoder {
                Some(encoder) => WriteBody::Encoded(encoder.encode(&rows)?),
                None => WriteBody::Rows(rows),
            };
            Ok(sink.write(&EpochWrite { epoch, body })?)
        })?;
        sink.stage(epoch)?;
        sink.commit(epoch)?;
        Ok(count)
    }
}

fn receive(
    rows: &Receiver<RecordBatch>,
    take: &mut impl FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    rows.iter().try_for_each(take)
}

impl DataFrame {
    /// All rows of a frame that does not grow, in order if it has one.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> millstream::Result<()> {
    /// let session = Session::builder().workers(1).build()?;
    /// let rows = session.sql("SELECT 1 + 1 AS two")?.collect().await?;
    /// assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A frame over streams, what cannot be planned, what fails on a row.
    pub async fn collect(&self) -> Result<Vec<RecordBatch>> {
        let frame = self.clone();
        blocking(move || frame.collect_blocking()).await?
    }

    /// As [`collect`](DataFrame::collect), without async.
    ///
    /// # Errors
    /// As [`collect`](DataFrame::collect).
    pub fn collect_blocking(&self) -> Result<Vec<RecordBatch>> {
        let mut all = Vec::new();
        let schema = self.schema();
        self.session().run_batch(self.logical_plan(), |rows| {
            let columns = rows.columns().to_vec();
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            let shown = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
            all.push(shown.unwrap_or(rows));
            Ok(())
        })?;
        Ok(all)
    }

    /// The number of rows of a frame that does not grow.
    ///
    /// # Errors
    /// As [`collect`](DataFrame::collect).
    pub async fn count(&self) -> Result<u64> {
        let frame = self.clone();
        let counted = blocking(move || {
            let mut count = 0;
            frame.session().run_batch(frame.logical_plan(), |rows| {
                count += rows.num_rows() as u64;
                Ok(())
            })?;
            Ok(count)
        });
        counted.await?
    }

    /// Prints the first 20 rows of a frame that does not grow.
    ///
    /// # Errors
    /// As [`collect`](DataFrame::collect).
    pub async fn show(&self) -> Result<()> {
        let frame = self.clone();
        let text = blocking(move || frame.show_text(20, true)).await??;
        let mut out = std::io::stdout().lock();
        // Who closed the standard output does not want to see it.
        let _gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        Ok(())
    }

    /// The first rows of a frame that does not grow as a table; long cells are cut if `truncate`.
    ///
    /// # Errors
    /// As [`collect`](DataFrame::collect).
    pub fn show_text(&self, rows: usize, truncate: bool) -> Result<String> {
        // One more, to say that there are more.
        let first = match rows
            .checked_add(1)
            .filter(|rows| i64::try_from(*rows).is_ok())
        {
            Some(rows) => self.limit(rows)?.collect_blocking()?,
            None => self.collect_blocking()?,
        };
        Ok(millstream_connectors::show(
            &self.schema(),
            &first,
            Shown {
                rows_max: rows,
                truncate,
                zone: self.session().settings().plan.zone.name(),
            },
        )?)
    }
}
