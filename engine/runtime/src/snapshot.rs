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

use arrow::{array::RecordBatch, datatypes::Schema, ipc::writer::StreamWriter};
use millstream_epoch::{
    Manifest, PackFile, PackWriter, Piece, RewriteRule, checksum, pieces_to_copy,
};
use millstream_operators::{state::Bucket, watermark::MarkState};
use millstream_types::{Coded, Epoch, OperatorId, WorkerId};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    capture::{Asked, Captured},
    control::Control,
    error::RuntimeError,
    events::{QueryEvent, QueryListener},
    log::Log,
    message::ToPlanner,
    schedule::{Participant, Seat, Work},
    settings::{KillPoint, QuerySettings},
    shared::Shared,
};

/// A whole snapshot to be written.
#[derive(Debug)]
pub(crate) struct ToSnapshotter {
    pub(crate) asked: Asked,
    pub(crate) marks: MarkState,
    pub(crate) captured: Captured,
}

/// Which pieces belong together: one worker's part of one bucket.
type PartKey = (OperatorId, u32, Bucket, WorkerId);

/// Pieces by what they are of.
type Parts = BTreeMap<PartKey, Vec<Piece>>;

/// The pieces of the newest snapshot.
#[derive(Debug, Default)]
struct LivePieces {
    parts: Parts,
}

/// What the snapshotter's thread works with.
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
                    self.take(&snapshot, &mut live, &seat)?;
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
        snapshot: &ToSnapshotter,
        live: &mut LivePieces,
        seat: &Seat,
    ) -> Result<(), Failure> {
        let mut is_known = false;
        loop {
            let error = match self.write(snapshot, live) {
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
        let parts = self.write_pieces(&snapshot.captured, live)?;
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

    /// Streams what changed into a pack, piece by piece, and copies into it what keeps old packs
    /// alive; gives the pieces that make up the state now. Nothing of ours changes if it fails.
    fn write_pieces(&self, captured: &Captured, live: &LivePieces) -> Result<Parts, RuntimeError> {
        let mut parts = Parts::new();
        let mut pack: Option<PackFile> = None;
        let mut fresh: BTreeMap<PartKey, Vec<Piece>> = BTreeMap::new();
        for (worker, operator, change) in &captured.changes {
            let key = (*operator, change.table, change.bucket, *worker);
            let kept = parts.entry(key).or_default();
            if !change.replaces {
                *kept = live.parts.get(&key).cloned().unwrap_or_default();
            }
            for rows in &change.rows {
                let pack = begun(&mut pack, &self.packs)?;
                let piece = append(pack, &key, rows)?;
                fresh.entry(key).or_default().push(piece);
            }
        }
        self.rewrite(&mut parts, &mut pack)?;
        for (key, mut pieces) in fresh {
            parts.entry(key).or_default().append(&mut pieces);
        }
        if let Some(pack) = pack {
            pack.finish()?;
        }
        Ok(parts)
    }

    /// Copies pieces of packs that are mostly dead, or small and many, so that those can go.
    fn rewrite(&self, parts: &mut Parts, pack: &mut Option<PackFile>) -> Result<(), RuntimeError> {
        let mut kept: Vec<&mut Piece> = parts.values_mut().flatten().collect();
        let pieces: Vec<Piece> = kept.iter().map(|piece| (**piece).clone()).collect();
        let pack_bytes = self.log.store().pack_bytes(&pieces)?;
        let new_bytes = pack.as_ref().map_or(0, PackFile::len);
        let rule = RewriteRule::default();
        for place in pieces_to_copy(&pieces, &pack_bytes, new_bytes, &rule) {
            if let Some(piece) = kept.get_mut(place) {
                **piece = begun(pack, &self.packs)?.copy_piece(piece)?;
            }
        }
        Ok(())
    }
}

/// Why the snapshotter returned.
enum Failure {
    Killed,
    Error(RuntimeError),
}

/// The pack of this snapshot, which the first piece begins.
fn begun<'a>(
    pack: &'a mut Option<PackFile>,
    packs: &PackWriter,
) -> Result<&'a mut PackFile, RuntimeError> {
    if pack.is_none() {
        *pack = Some(packs.begin()?);
    }
    pack.as_mut().ok_or_else(|| RuntimeError::Contract {
        what: "a pack that was begun is not there".to_owned(),
    })
}

/// Encodes a piece and appends it.
fn append(pack: &mut PackFile, key: &PartKey, rows: &RecordBatch) -> Result<Piece, RuntimeError> {
    let contract = |error: arrow::error::ArrowError| RuntimeError::Contract {
        what: format!("a state piece cannot be written: {error}"),
    };
    let mut bytes = Vec::with_capacity(rows.get_array_memory_size());
    let mut writer = StreamWriter::try_new(&mut bytes, &rows.schema()).map_err(contract)?;
    writer.write(rows).map_err(contract)?;
    writer.finish().map_err(contract)?;
    drop(writer);
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

/// What columns a piece has, as a number.
pub(crate) fn fingerprint(schema: &Schema) -> u64 {
    let text: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| field.data_type().to_string())
        .collect();
    xxh3_64(text.join(",").as_bytes())
}
