//! Files that are read before anybody planned them, so that an epoch finds its bytes in memory.
//!
//! The control side says which files come next; readers that have nothing else to do read them into
//! buffers that all readers share. Whoever is given the split takes what is there, if the file is
//! still the same, and reads on from there.

use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use millstream_connectors_api::{ConnectorError, Prefetch};

use super::{
    cut::{Cut, Extent, Limits, Piece},
    records::{InputFile, Outcome},
};
use crate::{
    files::{self, Stat},
    packing,
};

/// Files that are told to come at most.
pub(super) const COMING_MAX: usize = 16;

/// A file that is no longer coming was planned and will be taken, or is gone. After so many plans
/// nobody waits for it any more.
const PLANS_MAX: u32 = 16;

/// What was and will be read ahead.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    buffers: Mutex<Buffers>,
}

#[derive(Debug, Default)]
struct Buffers {
    coming: VecDeque<InputFile>,
    begun: Vec<Begun>,
    /// Files that a reader has in its hands.
    in_hand: BTreeSet<String>,
    bytes: usize,
}

/// A file that was read to some place.
#[derive(Debug)]
pub(super) struct Begun {
    file: InputFile,
    /// The rest; nothing after an error, which whoever reads the split will see for itself.
    rest: Option<Cut>,
    pieces: VecDeque<Piece>,
    complete: bool,
    bytes: usize,
    plans: u32,
}

impl Begun {
    /// The next piece: from memory, then from the file.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, ConnectorError> {
        if let Some(piece) = self.pieces.pop_front() {
            return Ok(Some(piece));
        }
        match &mut self.rest {
            Some(cut) if !self.complete => cut.next(),
            Some(_) | None => Ok(None),
        }
    }

    /// A file of which nothing was read.
    pub(super) fn at_start(file: InputFile, cut: Cut) -> Begun {
        Begun {
            file,
            rest: Some(cut),
            pieces: VecDeque::new(),
            complete: false,
            bytes: 0,
            plans: 0,
        }
    }

    /// What was given so far, when nothing is left in memory, and whether that is everything.
    pub(super) fn outcome(&self) -> Option<(Outcome, bool)> {
        let rest = self.rest.as_ref()?;
        Some((rest.outcome(), rest.is_at_end()))
    }

    fn read_piece(&mut self) {
        match self.rest.as_mut().map(Cut::next) {
            Some(Ok(Some((offset, bytes)))) => {
                self.bytes += bytes.capacity();
                self.pieces.push_back((offset, bytes));
            }
            Some(Ok(None)) => self.complete = true,
            Some(Err(_)) | None => {
                self.rest = None;
                self.pieces.clear();
                self.bytes = 0;
                self.complete = true;
            }
        }
    }
}

impl Ahead {
    fn buffers(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which files will probably be planned next, in their order.
    pub(super) fn expect(&self, coming: impl Iterator<Item = InputFile>) {
        let mut buffers = self.buffers();
        buffers.coming = coming.take(COMING_MAX).collect();
        let Buffers {
            coming,
            begun,
            bytes,
            ..
        } = &mut *buffers;
        begun.retain_mut(|begun| {
            if coming.contains(&begun.file) {
                begun.plans = 0;
            } else {
                begun.plans += 1;
            }
            begun.plans <= PLANS_MAX
        });
        *bytes = begun.iter().map(|begun| begun.bytes).sum();
    }

    /// Reads a piece of a file that is coming, if there is room for one.
    pub(super) fn step(&self, bytes_max: usize, limits: Limits) -> Prefetch {
        let Some(mut begun) = self.pick(bytes_max, limits) else {
            return Prefetch::Nothing;
        };
        begun.read_piece();
        let mut buffers = self.buffers();
        buffers.in_hand.remove(&begun.file.path);
        buffers.bytes += begun.bytes;
        buffers.begun.push(begun);
        Prefetch::Some
    }

    /// Takes the first file into the hand that is not read to its end.
    fn pick(&self, bytes_max: usize, limits: Limits) -> Option<Begun> {
        let mut buffers = self.buffers();
        if buffers.bytes.saturating_add(limits.chunk_bytes) > bytes_max {
            return None;
        }
        let Buffers {
            coming,
            begun,
            in_hand,
            bytes,
        } = &mut *buffers;
        let next = coming.iter().find(|file| {
            let known = begun.iter().find(|begun| begun.file == **file);
            !in_hand.contains(&file.path) && known.is_none_or(|begun| !begun.complete)
        })?;
        let next = next.clone();
        in_hand.insert(next.path.clone());
        if let Some(place) = begun.iter().position(|begun| begun.file == next) {
            let taken = begun.swap_remove(place);
            *bytes -= taken.bytes;
            return Some(taken);
        }
        drop(buffers);
        Some(open(next, limits))
    }

    /// What was read of a file, if it is still what it was.
    pub(super) fn take(&self, file: &InputFile, stat: &Stat) -> Option<Begun> {
        let mut buffers = self.buffers();
        let place = buffers
            .begun
            .iter()
            .position(|begun| begun.file.path == file.path)?;
        let taken = buffers.begun.swap_remove(place);
        buffers.bytes -= taken.bytes;
        drop(buffers);
        let same = (stat.size, stat.modified_ns) == (file.size, file.mtime_ns);
        (same && taken.file == *file && taken.rest.is_some()).then_some(taken)
    }
}

/// A file at its start; one that cannot be read is complete at once.
fn open(file: InputFile, limits: Limits) -> Begun {
    let opened = files::open_regular(Path::new(&file.path)).ok().flatten();
    let same =
        opened.filter(|(_, stat)| (stat.size, stat.modified_ns) == (file.size, file.mtime_ns));
    let extent = match packing::of_name(&file.path) {
        Some(_) => Extent::Packed(file.size),
        None => Extent::Bytes(file.size),
    };
    Begun {
        rest: same.map(|(handle, _)| Cut::new(handle, &file.path, extent, limits)),
        pieces: VecDeque::new(),
        complete: false,
        bytes: 0,
        plans: 0,
        file,
    }
}
