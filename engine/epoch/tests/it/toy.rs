//! The smallest engine that can go wrong: it sums the rows 0..70 and writes each epoch's running
//! sum to a sink. Two plans are open at a time, every second epoch has a snapshot. The source keeps
//! a journal of the rows that it has seen, and its plans name entries of it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use millstream_epoch::{
    CheckpointStore, Chosen, Disk, EpochError, Journal, Manifest, Metadata, Outcome, Output,
    PackWriter, Piece, Plan, PlanKind, Planned, Replay, Replays, SinkPosition, SourceRange, Sunk,
    checksum, read_piece, resume, sim::SimDisk,
};
use millstream_types::{Code, Coded, Epoch, Fault};

pub(crate) const ROWS: u64 = 70;
pub(crate) const PLAN: u64 = 0xfeed;
const OPEN_MAX: usize = 2;

pub(crate) fn metadata() -> Metadata {
    metadata_of("11111111-1111-4111-8111-111111111111")
}

pub(crate) fn metadata_of(query_id: &str) -> Metadata {
    Metadata {
        query_id: query_id.to_owned(),
        plan_fingerprint: PLAN,
        plan_text: "sum(rows)".to_owned(),
        settings: vec![("shuffle".to_owned(), "2".to_owned())],
    }
}

/// What one epoch brought to the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) epoch: Epoch,
    rows: (u64, u64),
    sum: u64,
}

/// A sink elsewhere: what it commits stays, whatever becomes of the checkpoint's disk.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    pub(crate) can_tell: bool,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Sink {
    pub(crate) fn new(can_tell: bool) -> Sink {
        Sink {
            can_tell,
            entries: Arc::default(),
        }
    }

    /// A sink with the same contents, apart from this one.
    pub(crate) fn fork(&self) -> Sink {
        Sink {
            can_tell: self.can_tell,
            entries: Arc::new(Mutex::new(self.entries())),
        }
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().expect("no test panics inside").clone()
    }

    pub(crate) fn position(&self) -> SinkPosition {
        match self.entries().last() {
            _ if !self.can_tell => SinkPosition::CannotTell,
            None => SinkPosition::Nothing,
            Some(entry) => SinkPosition::Committed(entry.epoch),
        }
    }

    fn commit(&self, entry: Entry) {
        let mut entries = self.entries.lock().expect("no test panics inside");
        entries.push(entry);
    }

    /// Every row once, in order, with the right sums; a sink that cannot tell may hold an epoch
    /// twice, and then it is the same epoch. [INV-04]
    pub(crate) fn check(&self, context: &str) {
        let mut by_epoch: BTreeMap<Epoch, Entry> = BTreeMap::new();
        for entry in self.entries() {
            let twice = by_epoch.insert(entry.epoch, entry.clone());
            assert!(
                twice.is_none() || !self.can_tell,
                "{context}: epoch twice {entry:?}"
            );
            assert!(
                twice.is_none_or(|twice| twice == entry),
                "{context}: epoch differs {entry:?}"
            );
        }
        let (mut row, mut sum) = (0, 0);
        for (number, (epoch, entry)) in by_epoch.iter().enumerate() {
            assert_eq!(u64::try_from(number), Ok(epoch.0), "{context}: hole");
            assert_eq!(entry.rows.0, row, "{context}: rows left out or repeated");
            sum += (entry.rows.0..entry.rows.1).map(value).sum::<u64>();
            assert_eq!(entry.sum, sum, "{context}: wrong sum in epoch {epoch}");
            row = entry.rows.1;
        }
        assert_eq!(row, ROWS, "{context}: not finished");
    }
}

fn value(row: u64) -> u64 {
    row * 7 + 1
}

/// A running toy.
struct Toy<'a> {
    sink: &'a Sink,
    clock: Option<&'a SimDisk>,
    store: CheckpointStore,
    packs: PackWriter,
    journal: Journal,
    sum: u64,
    next_row: u64,
    next_epoch: Epoch,
    open: VecDeque<(Planned, Replay)>,
    /// State captured after an epoch, to be written once the epoch is recorded.
    captured: Vec<(Epoch, u64, u64)>,
    attempt: u64,
}

/// Runs to the end of the rows. Attempts choose epochs of different sizes, so a plan that was
/// forgotten after its epoch had become visible would show.
pub(crate) fn run(disk: &SimDisk, sink: &Sink, attempt: u64) -> Result<(), Fault> {
    run_as(metadata(), disk, sink, attempt)
}

/// As [`run`], as another query.
pub(crate) fn run_as(
    metadata: Metadata,
    disk: &SimDisk,
    sink: &Sink,
    attempt: u64,
) -> Result<(), Fault> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    Toy::open(&shared, metadata, sink, Some(disk), attempt)?.run()
}

/// As [`run`], on any disk.
pub(crate) fn run_on(disk: &Arc<dyn Disk>, sink: &Sink) -> Result<(), Fault> {
    Toy::open(disk, metadata(), sink, None, 0)?.run()
}

impl<'a> Toy<'a> {
    fn open(
        disk: &Arc<dyn Disk>,
        metadata: Metadata,
        sink: &'a Sink,
        clock: Option<&'a SimDisk>,
        attempt: u64,
    ) -> Result<Toy<'a>, Fault> {
        let fault = |error: EpochError| error.fault();
        let (store, recovered) =
            CheckpointStore::open(Arc::clone(disk), metadata).map_err(fault)?;
        let decision =
            resume(recovered.facts(sink.position(), Replays::Everything)).map_err(|e| e.fault())?;
        let (mut sum, mut next_row) = (0, 0);
        if let Some(manifest) = &recovered.snapshot {
            let piece = manifest.pieces.first().expect("the toy writes one piece");
            let bytes = read_piece(&**disk, piece).map_err(fault)?;
            sum = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            next_row = number(&manifest.source_states.concat());
        }
        let open: VecDeque<_> = recovered
            .planned()
            .into_iter()
            .zip(decision.replay.iter().copied())
            .collect();
        assert_eq!(open.len(), decision.replay.len());
        if let Some((planned, _)) = open.back() {
            next_row = rows_of(planned.plan()).1;
        }
        let journal = store.journal(0, "rows").map_err(fault)?;
        // Entries that no plan names are of a plan that was never made durable.
        journal.truncate(next_row).map_err(fault)?;
        Ok(Toy {
            packs: store.pack_writer(),
            journal,
            sink,
            clock,
            store,
            sum,
            next_row,
            next_epoch: decision.next,
            open,
            captured: Vec::new(),
            attempt,
        })
    }

    fn run(&mut self) -> Result<(), Fault> {
        let (mut sunk, mut chosen) = (Vec::new(), Vec::new());
        loop {
            if self.open.len() < OPEN_MAX && self.next_row < ROWS {
                chosen.push(self.choose(self.next_epoch)?);
                self.next_epoch = self.next_epoch.next();
            }
            if chosen.is_empty() && sunk.is_empty() && self.open.is_empty() {
                return Ok(());
            }
            let (_, planned) = self
                .store
                .advance(&mut sunk, &mut chosen)
                .map_err(|e| e.fault())?;
            self.snapshot()?;
            for planned in planned {
                let epoch = planned.epoch();
                let output = Output::Emit;
                let replay = Replay {
                    epoch,
                    output,
                    is_recorded: false,
                };
                self.open.push_back((planned, replay));
            }
            if let Some((planned, replay)) = self.open.pop_front() {
                sunk.extend(self.epoch(planned, replay)?);
            }
        }
    }

    fn choose(&mut self, epoch: Epoch) -> Result<Chosen, Fault> {
        let size = if self.attempt == 0 {
            10
        } else {
            6 + (self.attempt * 3 + epoch.0) % 5
        };
        let start = self.next_row;
        self.next_row = (start + size).min(ROWS);
        let mut rows = (start..self.next_row).map(|row| value(row).to_le_bytes().to_vec());
        let entries = self.journal.append(&mut rows).map_err(|e| e.fault())?;
        assert_eq!(entries, start..self.next_row, "entry n is row n");
        Ok(Chosen::new(Plan {
            epoch,
            clock_ms: 1000,
            kind: PlanKind::Data,
            snapshot_after: epoch.0 % 2 == 1,
            sources: vec![Some(SourceRange {
                start: (start > 0).then(|| start.to_string()),
                end: self.next_row.to_string(),
                detail: b"rows".to_vec(),
            })],
        }))
    }

    /// The sum of rows as the journal has them.
    fn add_up(&self, rows: (u64, u64)) -> Result<u64, Fault> {
        let mut sum = 0;
        let read = self.journal.read(rows.0..rows.1, &mut |_, entry| {
            sum += u64::from_le_bytes(entry.try_into().expect("eight bytes"));
            std::ops::ControlFlow::Continue(())
        });
        read.map(|()| sum).map_err(|e| e.fault())
    }

    fn epoch(&mut self, planned: Planned, replay: Replay) -> Result<Option<Sunk>, Fault> {
        let plan = planned.plan().clone();
        let rows = rows_of(&plan);
        self.sum += self.add_up(rows)?;
        let staged = planned.stage(Outcome {
            rows_in: rows.1 - rows.0,
            rows_out: 1,
            watermark_next_ms: 0,
        });
        if plan.snapshot_after {
            self.captured.push((plan.epoch, self.sum, rows.1));
        }
        if replay.output == Output::Emit {
            if let Some(clock) = self.clock {
                // Shares the clock of the disk: a dead process commits nothing.
                clock.step("sink commit").map_err(|error| Fault {
                    code: Code("CON-006"),
                    sub_condition: None,
                    message: error.to_string(),
                    hint: None,
                    position: None,
                })?;
            }
            self.sink.commit(Entry {
                epoch: plan.epoch,
                rows,
                sum: self.sum,
            });
        }
        if replay.is_recorded {
            self.snapshot()?;
            return Ok(None);
        }
        staged.sunk(plan.epoch).map(Some).map_err(|e| e.fault())
    }

    /// Writes the captured state whose epoch is recorded: by now every sunk epoch is.
    fn snapshot(&mut self) -> Result<(), Fault> {
        for (epoch, sum, next_row) in std::mem::take(&mut self.captured) {
            let bytes = sum.to_le_bytes();
            let pack = self.packs.write(&bytes).map_err(|e| e.fault())?;
            let manifest = Manifest {
                epoch,
                generation: self.store.generation(),
                workers: 1,
                plan_fingerprint: PLAN,
                pieces: vec![piece(pack.as_str(), &bytes)],
                source_states: vec![next_row.to_string().into_bytes()],
                control: vec![1, 2, 3],
            };
            self.store
                .write_manifest(&manifest)
                .map_err(|e| e.fault())?;
            self.store.collect_garbage().map_err(|e| e.fault())?;
        }
        Ok(())
    }
}

pub(crate) fn piece(pack: &str, bytes: &[u8]) -> Piece {
    Piece {
        operator: 1,
        table: 2,
        bucket: -3,
        pack: pack.to_owned(),
        offset: 0,
        len: u64::try_from(bytes.len()).expect("small"),
        rows: 1,
        schema_fingerprint: 9,
        crc: checksum(bytes),
    }
}

fn number(text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).expect("a number");
    text.parse().expect("a number")
}

fn rows_of(plan: &Plan) -> (u64, u64) {
    let range = plan.sources.first().and_then(Option::as_ref);
    let range = range.expect("the toy has one source");
    let start = range.start.as_ref().map_or(0, |s| number(s.as_bytes()));
    (start, number(range.end.as_bytes()))
}
