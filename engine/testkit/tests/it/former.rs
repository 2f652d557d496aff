//! A checkpoint of an earlier release goes on.
//!
//! `tests/former/differences` was written by 0.1.0 with manifests of version 2, whose pieces of state add up:
//! two workers, killed after epoch 26, the last snapshot after epoch 24.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int64Type, SchemaRef},
};
use millstream::{Checkpoint, OutputMode, Session, SessionSettings, Trigger};
use millstream_connectors_api::{
    Capabilities, ConnectorError, ConnectorFactory, EpochWrite, Guarantee, OptionSpec, Sink,
    SinkContext, SinkReceipt, SinkRequest, Source, SourceContext, SourceRequest,
};
use millstream_epoch::{Disk, RelPath, sim::SimDisk};
use millstream_types::Epoch;

const TABLE: &str = "CREATE TABLE r WITH (connector = 'rate-micro-batch', rowsPerBatch = '40', \
    numPartitions = '1')";
const QUERY: &str = "SELECT value % 7 AS k, count(*) AS n, sum(value) AS s, \
    max(CAST(value AS STRING)) AS m FROM r GROUP BY value % 7";

/// A sink that keeps rows and no epochs: it takes a query from where its checkpoint is.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<RecordBatch>>>);

impl ConnectorFactory for Seen {
    fn name(&self) -> &'static str {
        "seen"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            source: false,
            sink: true,
            needs_checkpoint: false,
        }
    }
    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }
    fn schema(&self, _request: &SourceRequest) -> Result<SchemaRef, ConnectorError> {
        Err(ConnectorError::Internal {
            what: "it is a sink",
        })
    }
    fn source(
        &self,
        _request: &SourceRequest,
        _context: SourceContext,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        Err(ConnectorError::Internal {
            what: "it is a sink",
        })
    }
    fn sink(&self, _request: &SinkRequest) -> Result<Box<dyn Sink>, ConnectorError> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for Seen {
    fn description(&self) -> String {
        "Seen".to_owned()
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
        self.0.lock().expect("no panic before").push(rows);
        Ok(())
    }
    fn stage(&mut self, _epoch: Epoch) -> Result<(), ConnectorError> {
        Ok(())
    }
    fn commit(&mut self, _epoch: Epoch) -> Result<SinkReceipt, ConnectorError> {
        Ok(SinkReceipt::default())
    }
}

/// A disk with the files of a directory.
fn disk_of(dir: &Path) -> SimDisk {
    let disk = SimDisk::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).expect("the directory is there") {
            let path = entry.expect("the directory is there").path();
            let name = path.strip_prefix(dir).expect("it lies in it");
            let name = RelPath::new(name.to_str().expect("plain names")).expect("plain names");
            if path.is_dir() {
                disk.create_dir_all(&name).expect("a good disk");
                dirs.push(path);
            } else {
                let bytes = fs::read(&path).expect("the file is there");
                disk.create_new(&name, &bytes).expect("a good disk");
            }
        }
    }
    disk
}

/// Count, sum and greatest text of each key.
type Groups = BTreeMap<i64, (i64, i64, String)>;

/// Runs the query for one epoch and gives its groups.
fn epoch(disk: &Arc<dyn Disk>, workers: usize) -> Groups {
    let settings = SessionSettings {
        trigger: Trigger::Once,
        workers,
        snapshot_interval: Duration::ZERO,
        checkpoint: Checkpoint::Disk(Arc::clone(disk)),
        ..SessionSettings::default()
    };
    let seen = Seen::default();
    let builder = Session::builder().settings(settings.clone());
    let session = builder.connector(Arc::new(seen.clone())).build();
    let session = session.expect("settings are right");
    session.execute(TABLE).expect("the table is new");
    let frame = session.sql(QUERY).expect("is a query");
    let writer = frame.write_stream().format("seen").query_name("q");
    let query = writer.output_mode(OutputMode::Update).start_with(settings);
    let query = query.expect("starts");
    query.await_termination_blocking(None).expect("ends well");
    let mut groups = Groups::new();
    for rows in seen.0.lock().expect("no panic before").iter() {
        let number = |column: usize| rows.column(column).as_primitive::<Int64Type>();
        for row in 0..rows.num_rows() {
            let greatest = rows.column(3).as_string::<i32>().value(row).to_owned();
            let group = (number(1).value(row), number(2).value(row), greatest);
            groups.insert(number(0).value(row), group);
        }
    }
    groups
}

/// The groups of all values before one.
fn expected(values: i64) -> Groups {
    let mut groups = Groups::new();
    for value in 0..values {
        let group = groups.entry(value % 7).or_default();
        group.0 += 1;
        group.1 += value;
        group.2 = value.to_string().max(std::mem::take(&mut group.2));
    }
    groups
}

/// proves P14 for state: what an earlier release wrote is read, with any number of workers, added to, and
/// merged with what is written since.
#[test]
fn state_of_differences_goes_on() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/former/differences");
    for first in [1, 2, 3] {
        let disk: Arc<dyn Disk> = Arc::new(disk_of(&dir));
        // The epochs that had been planned and were not in the snapshot are run again, and that is all.
        assert_eq!(epoch(&disk, first), Groups::new());
        for (done, workers) in [2, 1, 3, 2, 2].into_iter().enumerate() {
            let epochs = 28 + i64::try_from(done).expect("few");
            let groups = epoch(&disk, workers);
            assert_eq!(groups, expected(40 * epochs), "{epochs} epochs");
        }
    }
}
