//! Snapshots: state as it is gathered, and the thread that writes it.
//!
//! Workers only hand over what changed; encoding, packs, merging it with what was written before, the
//! manifest and the removal of what no restart needs happen on the snapshotter's thread, which neither plans
//! nor commits. A snapshot that cannot be written is an event and not an end: what it held is kept, and
//! written with the next attempt. The pieces of the snapshot that a query starts from are added to like its
//! own. Reading them back is `restore`.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError},
    },
    time::Duration,
};

use arrow::array::RecordBatch;
use millstream_epoch::{
    Disk, Manifest, PackWriter, Piece, RewriteRule, RunRule, RunSize, pieces_to_copy, runs_kept,
};
use millstream_operators::{
    state::{Addition, Bucket, Removals, StoredPiece, standing},
    watermark::MarkState,
};
use millstream_types::{Coded, Epoch, OperatorId};

use crate::{
    capture::{Asked, Captured},
    control::Control,
    error::RuntimeError,
    events::{QueryEvent, QueryListener},
    log::Log,
    message::ToPlanner,
    pieces::{InMemory, OnDisk, PartKey, RunWriter, SnapshotPack, value_bytes},
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

/// Pieces by what they are of, oldest first.
type Parts = BTreeMap<PartKey, Vec<Piece>>;

/// What the snapshotter's thread works with.
pub(crate) struct Snapshotter {
    pub(crate) settings: QuerySettings,
    pub(crate) plan_fingerprint: u64,
    pub(crate) log: Arc<Log>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) packs: PackWriter,
    /// The snapshot that the query starts from.
    pub(crate) from: Option<Manifest>,
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
        // Pieces that add up are written whole by their workers first, so nothing is added to those.
        let mut live = Parts::new();
        for piece in self.from.iter().flat_map(|manifest| &manifest.pieces) {
            let bucket = Bucket(piece.bucket);
            let key = (OperatorId(piece.operator), piece.table, bucket, None);
            live.entry(key).or_default().push(piece.clone());
        }
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
    fn take(&self, snapshot: &ToSnapshotter, live: &mut Parts, seat: &Seat) -> Result<(), Failure> {
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
        live: &mut Parts,
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
        *live = parts;
        store.collect_garbage()?;
        Ok(store.oldest_kept())
    }

    /// Streams what changed into a pack, merges runs into it and copies into it what keeps old packs
    /// alive; gives the pieces that make up the state now. Nothing of ours changes if it fails.
    fn write_pieces(&self, captured: &Captured, live: &Parts) -> Result<Parts, RuntimeError> {
        let mut pack = SnapshotPack::new(&self.packs);
        let (mut parts, mut written) = (Parts::new(), Parts::new());
        for (key, part) in captured.parts() {
            let known = live.get(&key).map_or(&[][..], Vec::as_slice);
            let (kept, run) = match part.addition {
                Addition::Overwrites => {
                    let newest = known.last().map_or(ADDS_UP, |piece| piece.run);
                    (kept(known, &part.rows), newest + 1)
                }
                Addition::AddsUp => (known.len(), ADDS_UP),
                Addition::Replaces => (0, ADDS_UP),
            };
            parts.insert(key, known[..kept].to_vec());
            if part.rows.is_empty() {
                continue;
            }
            let writer = RunWriter::new(&mut pack, key, run);
            let new = if part.addition == Addition::Overwrites && kept < known.len() {
                self.merge_run(writer, known.split_at(kept), (run, part.rows))?
            } else {
                write_run(writer, part.rows)?
            };
            written.insert(key, new);
        }
        self.rewrite(&mut parts, &mut pack)?;
        for (key, mut pieces) in written {
            parts.entry(key).or_default().append(&mut pieces);
        }
        pack.finish()?;
        Ok(parts)
    }

    /// Writes the newest run of a bucket: what workers handed over, and what still stands of the runs that
    /// become part of it.
    fn merge_run(
        &self,
        mut writer: RunWriter<'_, '_>,
        (kept, merged): (&[Piece], &[Piece]),
        (run, rows): (u64, Vec<RecordBatch>),
    ) -> Result<Vec<Piece>, RuntimeError> {
        let on_disk = merged.iter().map(|piece| {
            let (disk, piece) = (self.disk.clone(), piece.clone());
            Arc::new(OnDisk { disk, piece }) as Arc<dyn StoredPiece>
        });
        let new = Arc::new(InMemory { run, rows }) as Arc<dyn StoredPiece>;
        let pieces: Vec<Arc<dyn StoredPiece>> = on_disk.chain([new]).collect();
        let removals = if kept.is_empty() {
            Removals::LeftOut
        } else {
            Removals::Kept
        };
        standing(&pieces, &|_| Ok(None), removals, &mut |batch| {
            writer.add(batch).map_err(RuntimeError::of_state)
        })?;
        writer.finish()
    }

    /// Copies pieces of packs that are mostly dead, or small and many, so that those can go.
    fn rewrite(&self, parts: &mut Parts, pack: &mut SnapshotPack<'_>) -> Result<(), RuntimeError> {
        let mut kept: Vec<&mut Piece> = parts.values_mut().flatten().collect();
        let pieces: Vec<Piece> = kept.iter().map(|piece| (**piece).clone()).collect();
        let pack_bytes = self.log.store().pack_bytes(&pieces)?;
        let rule = RewriteRule::default();
        for place in pieces_to_copy(&pieces, &pack_bytes, pack.len(), &rule) {
            if let Some(piece) = kept.get_mut(place) {
                **piece = pack.copy(piece)?;
            }
        }
        Ok(())
    }
}

/// The run of pieces that add up.
const ADDS_UP: u64 = 0;

/// Writes what workers handed over as it is.
fn write_run(
    mut writer: RunWriter<'_, '_>,
    rows: Vec<RecordBatch>,
) -> Result<Vec<Piece>, RuntimeError> {
    rows.into_iter().try_for_each(|batch| writer.add(batch))?;
    writer.finish()
}

/// How many pieces of a bucket stay when rows are added; they are those of whole runs.
fn kept(known: &[Piece], rows: &[RecordBatch]) -> usize {
    if rows.is_empty() {
        return known.len();
    }
    let runs: Vec<&[Piece]> = known.chunk_by(|a, b| a.run == b.run).collect();
    let known = runs.iter().map(|run| RunSize {
        rows: run.iter().map(|piece| piece.rows).sum(),
        bytes: run.iter().map(|piece| piece.len).sum(),
    });
    let new = RunSize {
        rows: rows.iter().map(|batch| batch.num_rows() as u64).sum(),
        bytes: rows.iter().map(|batch| value_bytes(batch) as u64).sum(),
    };
    let sizes: Vec<RunSize> = known.chain([new]).collect();
    let kept = runs_kept(&sizes, &RunRule::default());
    runs.iter().take(kept).map(|run| run.len()).sum()
}

/// Why the snapshotter returned.
enum Failure {
    Killed,
    Error(RuntimeError),
}
