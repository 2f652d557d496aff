//! Tables that stand still beside a stream: read when the query starts, and again in an epoch that finds
//! them changed.
//!
//! Reading one is a query of its own, over in one epoch. Whether it has changed is told by what its
//! sources would read now: the splits of their input, which name files with their sizes and times.

use std::{
    collections::BTreeMap,
    hash::Hasher,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{array::RecordBatch, compute, datatypes::SchemaRef};
use millstream_connectors_api::{
    ConnectorError, EpochWrite, Guarantee, MemoryJournals, ReadLimit, Sink, SinkContext,
    SinkReceipt, SourceContext, Wake, Waker,
};
use millstream_operators::{
    error::OperatorError,
    join::{JoinSpec, StaticRows, StaticTable},
};
use millstream_types::{Coded, Epoch, Fault};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    control::Termination,
    edge,
    error::RuntimeError,
    events::{QueryEvent, QueryListener},
    plan::StreamPlan,
    settings::{QuerySettings, Trigger},
    sinks::Sinks,
};

/// Runs a query without a checkpoint until it ends. Given from above: whoever starts queries uses tables
/// that stand still.
pub(crate) type RunOnce =
    fn(StreamPlan, Sinks, QuerySettings, QueryListener) -> Result<Termination, RuntimeError>;

/// A table that is read by a plan of its own.
pub(crate) struct PlannedTable {
    plan: StreamPlan,
    spec: JoinSpec,
    settings: QuerySettings,
    run_once: RunOnce,
    /// Hears what the reading has to say: rows that were malformed, files that were passed over.
    listener: QueryListener,
    read: Mutex<Read>,
    /// For how many epochs: as many may be open at once, and one behind them.
    remembered: usize,
}

/// What was read.
#[derive(Default)]
struct Read {
    /// What the newest version was read from.
    version: Option<(u64, Arc<StaticTable>)>,
    /// The version of each epoch.
    epochs: BTreeMap<Epoch, Arc<StaticTable>>,
}

impl PlannedTable {
    /// The table of a plan, for the right side of a join in a query with these settings, whose listener
    /// hears of it.
    pub(crate) fn new(
        plan: StreamPlan,
        spec: JoinSpec,
        settings: &QuerySettings,
        (run_once, listener): (RunOnce, QueryListener),
    ) -> PlannedTable {
        let remembered = settings.open_epochs_max.saturating_add(1);
        let settings = QuerySettings {
            name: None,
            run_id: settings.run_id.clone(),
            new_id: settings.new_id.clone(),
            workers: 1,
            trigger: Trigger::AvailableNow,
            open_epochs_max: 1,
            snapshot_interval: settings.snapshot_interval,
            no_data_epochs: false,
            polling_delay: settings.polling_delay,
            retry_for: settings.retry_for,
            channels: settings.channels,
            kill_at: None,
            schedule: None,
            clock: settings.clock.clone(),
        };
        PlannedTable {
            plan,
            spec,
            settings,
            run_once,
            listener,
            read: Mutex::default(),
            remembered,
        }
    }

    /// A number that changes when what would be read changes.
    fn fingerprint(&self) -> Result<u64, RuntimeError> {
        let io = edge::handle()?;
        let now_ms = self.settings.clock.now_ms();
        let mut hash = Xxh3::new();
        for node in &self.plan.sources {
            let context = SourceContext {
                journals: Arc::new(MemoryJournals::new()),
                waker: Waker::new(Arc::new(Nobody)),
                io: io.clone(),
            };
            let mut source = node.factory.source(&node.request, context)?;
            source.freeze(now_ms)?;
            while let Some(range) = source.plan(ReadLimit::Everything, now_ms)? {
                for split in source.splits(&range)? {
                    let split = split?;
                    hash.write_u64(split.extent);
                    hash.write(&split.detail);
                }
            }
        }
        Ok(hash.finish())
    }

    /// Reads the whole table.
    fn rows(&self) -> Result<Vec<RecordBatch>, Fault> {
        let rows = Arc::<Mutex<Vec<RecordBatch>>>::default();
        let sinks = Sinks::new(Box::new(Gather { rows: rows.clone() }), None);
        let (plan, settings) = (self.plan.clone(), self.settings.clone());
        let teller = self.listener.clone();
        let notices = move |event| match event {
            QueryEvent::Notice(_) | QueryEvent::Paused(_) | QueryEvent::Resumed => teller(event),
            // Its progress and its end are no news: the query goes on.
            QueryEvent::Progress(_) | QueryEvent::Terminated(_) => {}
        };
        let ended = (self.run_once)(plan, sinks, settings, Arc::new(notices))
            .map_err(|error| error.fault())?;
        if let Termination::Failed(fault) = ended {
            return Err(fault);
        }
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *rows))
    }

    fn newest(&self, read: &mut Read) -> Result<Arc<StaticTable>, Fault> {
        let version = self.fingerprint().map_err(|error| error.fault())?;
        if let Some((of, table)) = &read.version
            && *of == version
        {
            return Ok(table.clone());
        }
        let schema = &self.spec.sides[1].schema;
        let rows = self.rows()?;
        let rows: Result<Vec<RecordBatch>, OperatorError> =
            rows.iter().map(|batch| typed(batch, schema)).collect();
        let table = rows.and_then(|rows| StaticTable::new(&self.spec, &rows));
        let table = Arc::new(table.map_err(|error| error.fault())?);
        read.version = Some((version, table.clone()));
        Ok(table)
    }
}

/// The same columns under the names of the side.
fn typed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, OperatorError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| compute::cast(column, field.data_type()));
    columns
        .collect::<Result<Vec<_>, _>>()
        .and_then(|columns| RecordBatch::try_new(schema.clone(), columns))
        .map_err(OperatorError::arrow("reading a table for a join"))
}

impl StaticRows for PlannedTable {
    fn table(&self, epoch: Epoch) -> Result<Arc<StaticTable>, OperatorError> {
        // Whoever comes first reads, the other workers wait: all see one version in an epoch.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = read.epochs.get(&epoch) {
            return Ok(table.clone());
        }
        let table = self
            .newest(&mut read)
            .map_err(|fault| OperatorError::Static(Box::new(fault)))?;
        read.epochs.insert(epoch, table.clone());
        while read.epochs.len() > self.remembered {
            read.epochs.pop_first();
        }
        Ok(table)
    }
}

/// A source that is only asked what it would read wakes nobody.
struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}

    fn is_spent(&self) -> bool {
        true
    }
}

/// Keeps the rows of the only epoch.
struct Gather {
    rows: Arc<Mutex<Vec<RecordBatch>>>,
}

impl Sink for Gather {
    fn description(&self) -> String {
        "StaticTable".to_owned()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn open(&mut self, _context: &SinkContext) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn last_committed(&mut self) -> Result<Option<Epoch>, ConnectorError> {
        Ok(None)
    }

    fn write(&mut self, write: &EpochWrite) -> Result<(), ConnectorError> {
        let rows = write.body.as_rows()?.rows.clone();
        let mut all = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(rows);
        Ok(())
    }

    fn stage(&mut self, _epoch: Epoch) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn commit(&mut self, _epoch: Epoch) -> Result<SinkReceipt, ConnectorError> {
        Ok(SinkReceipt::default())
    }
}
