//! Snapshots: state as it is gathered, and the thread that writes it.
//!
//! A piece is one Arrow IPC stream with one batch. Workers only hand over batches; encoding, packs,
//! the manifest and the removal of what no restart needs happen on the snapshotter's thread, which
//! neither plans nor commits. A snapshot that cannot be written is an event and not an end: what it
//! held is kept, and written with the next attempt. Reading them back is `restore`.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError},
    },
    time::Duration,
};

use arrow::{array::RecordBatch, datatypes::Schema, error::ArrowError, ipc::writer::StreamWriter};
use millstream_epoch::{Manifest, PackFile, PackWriter, Piece, checksum};
use millstream_operators::{
    state::{Bucket, BucketChange},
    watermark::MarkState,
};
use millstream_types::{Coded, Epoch, OperatorId, WorkerId};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    control::Control,
    error::RuntimeError,
    events::{QueryEvent, QueryListener},
    log::Log,
    message::{Shared, ToPlanner},
    schedule::{Participant, Seat, Work},
    settings::{KillPoint, QuerySettings},
};

/// State was asked for, as of the end of an epoch.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) epoch: Epoch,
    /// The cursors of the sources: behind this epoch, before the next.
    pub(crate) source_states: Vec<Vec<u8>>,
}

/// State that workers handed over after one epoch.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    changes: Vec<(WorkerId, OperatorId, BucketChange)>,
}

impl Captured {
    pub(crate) fn add(
        &mut self,
        worker: WorkerId,
        operator: OperatorId,
        changes: Vec<BucketChange>,
    ) {
        let changes = changes.into_iter();
        self.changes
            .extend(changes.map(|change| (worker, operator, change)));
    }
}

/// A whole snapshot to be written.
#[derive(Debug)]
pub(crate) struct ToSnapshotter {
    pub(crate) asked: Asked,
    pub(crate) marks: MarkState,
    pub(crate) captured: Captured,
}

/// Which pieces belong together: one worker's part of one bucket.
type PartKey = (OperatorId, u32, Bucket, WorkerId);

/// The pieces of the newest snapshot.
#[derive(Debug, Default)]
struct LivePieces {
    parts: BTreeMap<PartKey, Vec<Piece>>,
}

/// Bytes that are encoded before they are written: pieces are streamed into a pack, a snapshot never
/// stands in memory as bytes.
pub(crate) struct Snapshotter {
    pub(crate) settings: QuerySettings,
    pub(crate) plan_fingerprint: u64,
    pub(crate) log: Arc<Log>,
    pub(crate) packs: PackWriter,
    pub(crate) inbox: Receiver<ToSnapshotter>,
    pub(crate) planner: Sender<ToPlanner>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) control: Arc<Control>,
    pub(crate) listener: QueryListener,
}

/// Longest sleep while nothing is asked for; a guard, not a schedule.
const IDLE: Duration = Duration::from_secs(10);

/// How long to wait before a snapshot that could not be written is tried again.
const RETRY: Duration = Duration::from_millis(500);

impl Snapshotter {
    /// Runs until the query ends.
    pub(crate) fn run(self) {
        let planner = self.planner.clone();
        let ended = catch_unwind(AssertUnwindSafe(|| self.turns()));
        let word = match ended {
            Ok(Ok(())) => return,
            Ok(Err(Failure::Killed)) => ToPlanner::Killed,
            Ok(Err(Failure::Error(error))) => ToPlanner::Failed(error.fault()),
            Err(_panic) => ToPlanner::Failed(
                RuntimeError::ThreadLost {
                    thread: "snapshotter".to_owned(),
                }
                .fault(),
            ),
        };
        // A planner that is gone has told everybody to stop.
        let _gone = planner.send(word);
    }

    fn turns(&self) -> Result<(), Failure> {
        let seat = Seat::new(self.settings.schedule.as_ref(), Participant::Snapshotter);
        let mut live = LivePieces::default();
        let mut work = Work::Done;
        loop {
            seat.turn(work);
            if self.shared.is_stopped() {
                return Ok(());
            }
            work = Work::Nothing;
            let next = if seat.is_scheduled() {
                self.inbox.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            } else {
                self.inbox.recv_timeout(IDLE)
            };
            match next {
                Ok(snapshot) => {
                    work = Work::Done;
                    self.take(snapshot, &mut live, &seat)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if seat.is_scheduled() => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Writes a snapshot, again and again if it must be: what workers handed over is nowhere else.
    fn take(
        &self,
        snapshot: ToSnapshotter,
        live: &mut LivePieces,
        seat: &Seat,
    ) -> Result<(), Failure> {
        let mut is_known = false;
        loop {
            let error = match self.write(&snapshot, live) {
                Ok(floor) => {
                    // A planner that is gone has told everybody to stop.
                    let _gone = self.planner.send(ToPlanner::Captured { floor });
                    return if self.settings.kill_at == Some(KillPoint::Snapshot) {
                        Err(Failure::Killed)
                    } else {
                        Ok(())
                    };
                }
                Err(error) => error,
            };
            if !error.is_passing() {
                return Err(Failure::Error(error));
            }
            if !is_known {
                is_known = true;
                (self.listener)(QueryEvent::Notice(error.fault()));
            }
            let goes_on = if seat.is_scheduled() {
                seat.turn(Work::Waiting);
                !(self.control.wants_stop() || self.control.wants_kill())
            } else {
                self.control.rest(RETRY)
            };
            if !goes_on {
                // The query ends; its plans are still in the log, so nothing is lost.
                let _gone = self.planner.send(ToPlanner::Captured { floor: None });
                return Ok(());
            }
        }
    }

    /// Gives the older of the snapshots that are kept now.
    fn write(
        &self,
        snapshot: &ToSnapshotter,
        live: &mut LivePieces,
    ) -> Result<Option<Epoch>, RuntimeError> {
        // The manifest may only name an epoch that the log knows as committed.
        self.log.record_now()?;
        let store = self.log.store();
        let parts = live.write(&snapshot.captured, &self.packs)?;
        let manifest = Manifest {
            epoch: snapshot.asked.epoch,
            generation: store.generation(),
            workers: u32::try_from(self.settings.workers).unwrap_or(u32::MAX),
            plan_fingerprint: self.plan_fingerprint,
            pieces: parts.values().flatten().cloned().collect(),
            source_states: snapshot.asked.source_states.clone(),
            control: snapshot.marks.encode(),
        };
        store.write_manifest(&manifest)?;
        // Only now: a manifest that failed must be written again with the same pieces.
        live.parts = parts;
        store.collect_garbage()?;
        Ok(store.oldest_kept())
    }
}

/// Why the snapshotter returned.
enum Failure {
    Killed,
    Error(RuntimeError),
}

impl LivePieces {
    /// Writes what changed as one pack, streamed piece by piece, and says which pieces make up the
    /// state now. Nothing of ours changes if it fails.
    fn write(
        &mut self,
        captured: &Captured,
        packs: &PackWriter,
    ) -> Result<BTreeMap<PartKey, Vec<Piece>>, RuntimeError> {
        let mut parts: BTreeMap<PartKey, Vec<Piece>> = BTreeMap::new();
        let mut pack: Option<PackFile> = None;
        for (worker, operator, change) in &captured.changes {
            let key = (*operator, change.table, change.bucket, *worker);
            let mut pieces = if change.replaces {
                Vec::new()
            } else {
                self.parts.get(&key).cloned().unwrap_or_default()
            };
            if let Some(rows) = &change.rows {
                let pack = match &mut pack {
                    Some(pack) => pack,
                    None => pack.insert(packs.begin()?),
                };
                pieces.push(append(&key, rows, pack)?);
            }
            parts.insert(key, pieces);
        }
        if let Some(pack) = pack {
            pack.finish()?;
        }
        Ok(parts)
    }
}

/// Writes rows as the next piece of a pack.
fn append(key: &PartKey, rows: &RecordBatch, pack: &mut PackFile) -> Result<Piece, RuntimeError> {
    let bytes = encode(rows).map_err(|error| RuntimeError::Contract {
        what: format!("a state piece cannot be written: {error}"),
    })?;
    let offset = pack.append(&bytes)?;
    Ok(Piece {
        operator: key.0.0,
        table: key.1,
        bucket: key.2.0,
        pack: pack.path().to_string(),
        offset,
        len: bytes.len() as u64,
        rows: rows.num_rows() as u64,
        schema_fingerprint: fingerprint(&rows.schema()),
        crc: checksum(&bytes),
    })
}

fn encode(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &rows.schema())?;
    writer.write(rows)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

/// What columns a piece has, as a number.
pub(crate) fn fingerprint(schema: &Schema) -> u64 {
    let text: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| field.data_type().to_string())
        .collect();
    xxh3_64(text.join(",").as_bytes())
}
