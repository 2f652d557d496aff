//! Packs: files of many pieces, written as a stream and never changed.
//!
//! A snapshot may be larger than memory, so neither writing, copying nor checking holds more than
//! what a caller hands over, or one chunk.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{AppendFile, Disk, EpochError, Manifest, Piece, RelPath};
use crate::{
    guard::{Guard, Poison},
    layout,
    parts::{byte_count, read_part},
};

/// Bytes that are held at once while a piece is copied or checked.
const CHUNK_BYTES: u64 = 1 << 20;

/// Writes packs; each process of a query has one. May be cloned and shared: clones hand out names
/// together, and no name twice, also not after an error.
#[derive(Clone, Debug)]
pub struct PackWriter {
    guard: Guard,
    process: u32,
    next: Arc<AtomicU64>,
}

impl PackWriter {
    /// The writer of a process that does not hold the store itself; `process` is not 0, which is
    /// the one that does. A process makes one writer and clones it.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, generation: u64, process: u32) -> PackWriter {
        let guard = Guard {
            disk,
            generation,
            poison: Poison::default(),
        };
        PackWriter::of(guard, process)
    }

    pub(super) fn of(guard: Guard, process: u32) -> PackWriter {
        PackWriter {
            guard,
            process,
            next: Arc::default(),
        }
    }

    /// Begins a pack. Nothing refers to it before a manifest does.
    ///
    /// # Errors
    /// [`EpochError::Full`], [`EpochError::Disk`], [`EpochError::Poisoned`]. The name is used up
    /// all the same; the next call takes another one.
    pub fn begin(&self) -> Result<PackFile, EpochError> {
        self.guard.check()?;
        // Taken before anything can fail: after an error a file of this name may be there.
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let path = layout::pack(self.guard.generation, self.process, index);
        let disk = &self.guard.disk;
        if let Err(error) = disk.create_new(&path, &[]) {
            // Best effort: an unnamed pack is collected by the next generation at the latest.
            if error.kind() != io::ErrorKind::AlreadyExists {
                drop(disk.remove(&path));
            }
            return Err(EpochError::disk("create", &path)(error));
        }
        let mut pack = PackFile {
            guard: self.guard.clone(),
            path,
            file: None,
            len: 0,
            state: PackState::Open,
        };
        let file = self.guard.disk.open_append(&pack.path);
        pack.file = Some(file.map_err(EpochError::disk("open", &pack.path))?);
        Ok(pack)
    }

    /// Writes a pack of these bytes and makes it durable.
    ///
    /// # Errors
    /// As [`PackWriter::begin`] and [`PackFile::append`].
    pub fn write(&self, bytes: &[u8]) -> Result<RelPath, EpochError> {
        let mut pack = self.begin()?;
        pack.append(bytes)?;
        pack.finish()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PackState {
    Open,
    /// An append failed: what the file holds is unknown.
    Failed,
    Finished,
}

/// A pack that is being written. One that is dropped unfinished is removed, as far as the disk
/// allows; if it stays the next generation removes it.
#[derive(Debug)]
pub struct PackFile {
    guard: Guard,
    path: RelPath,
    file: Option<Box<dyn AppendFile>>,
    len: u64,
    state: PackState,
}

impl PackFile {
    /// Its name, as a [`Piece`] gives it.
    #[must_use]
    pub fn path(&self) -> &RelPath {
        &self.path
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was appended yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes and says where in the pack they begin.
    ///
    /// # Errors
    /// [`EpochError::Full`], [`EpochError::Disk`], [`EpochError::Poisoned`]. After one the pack is
    /// of no use and must be begun anew; nothing else is harmed.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64, EpochError> {
        self.guard.check()?;
        let file = match (&mut self.file, self.state) {
            (Some(file), PackState::Open) => file,
            _ => return Err(self.broken()),
        };
        if let Err(error) = file.append(bytes) {
            self.state = PackState::Failed;
            return Err(EpochError::disk("append to", &self.path)(error));
        }
        let offset = self.len;
        self.len = offset.saturating_add(byte_count(bytes));
        Ok(offset)
    }

    /// Copies a piece of another pack to the end of this one, chunk by chunk, and gives the piece
    /// as it is here. Its checksum is looked at on the way.
    ///
    /// # Errors
    /// As [`PackFile::append`]; [`EpochError::Damaged`] if the piece is not what its manifest says.
    pub fn copy_piece(&mut self, piece: &Piece) -> Result<Piece, EpochError> {
        let offset = self.len;
        let disk = Arc::clone(&self.guard.disk);
        let copied = stream_piece(&*disk, piece, |chunk| self.append(chunk).map(drop));
        if copied.is_err() {
            // Half a piece is in it.
            self.state = PackState::Failed;
        }
        copied?;
        Ok(Piece {
            pack: self.path.to_string(),
            offset,
            ..piece.clone()
        })
    }

    /// Makes the pack durable under its name. From here on a manifest may name it.
    ///
    /// # Errors
    /// [`EpochError::Disk`], [`EpochError::Poisoned`]; [`EpochError::Contract`] after a failed
    /// append.
    pub fn finish(mut self) -> Result<RelPath, EpochError> {
        self.guard.check()?;
        let file = match (&mut self.file, self.state) {
            (Some(file), PackState::Open) => file,
            _ => return Err(self.broken()),
        };
        let synced = file.sync();
        self.guard.poison.watch("sync", &self.path, synced)?;
        self.guard.sync_dir(&layout::state_dir())?;
        self.state = PackState::Finished;
        Ok(self.path.clone())
    }

    fn broken(&self) -> EpochError {
        EpochError::Contract {
            what: "a pack is used after a failed append",
            value: self.path.to_string(),
        }
    }
}

impl Drop for PackFile {
    fn drop(&mut self) {
        // After a failed sync the disk is left alone.
        if self.state != PackState::Finished && self.guard.check().is_ok() {
            self.file = None;
            drop(self.guard.disk.remove(&self.path));
        }
    }
}

/// The checksum that a [`Piece`] carries.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The bytes of a piece, if they are what the manifest says.
///
/// # Errors
/// [`EpochError::Damaged`] if the pack is missing, too short or changed; [`EpochError::Disk`].
pub fn read_piece(disk: &dyn Disk, piece: &Piece) -> Result<Vec<u8>, EpochError> {
    let file = pack_path(piece)?;
    let bytes = read_part(disk, &file, piece.offset, piece.len)?;
    check_sum(&file, piece, checksum(&bytes))?;
    Ok(bytes)
}

fn pack_path(piece: &Piece) -> Result<RelPath, EpochError> {
    RelPath::new(&piece.pack).map_err(|error| EpochError::Contract {
        what: "path of a pack",
        value: error.to_string(),
    })
}

fn check_sum(file: &RelPath, piece: &Piece, got: u32) -> Result<(), EpochError> {
    if got == piece.crc {
        return Ok(());
    }
    Err(EpochError::Damaged {
        file: file.clone(),
        reason: format!(
            "checksum differs want={:08x} got={got:08x} offset={}",
            piece.crc, piece.offset
        ),
    })
}

/// Hands on the bytes of a piece in chunks; whether they were right is known at the end only.
fn stream_piece(
    disk: &dyn Disk,
    piece: &Piece,
    mut take: impl FnMut(&[u8]) -> Result<(), EpochError>,
) -> Result<(), EpochError> {
    let file = pack_path(piece)?;
    let (mut done, mut crc) = (0, 0);
    while done < piece.len {
        let len = piece.len.saturating_sub(done).min(CHUNK_BYTES);
        // An offset beyond all numbers is beyond the end of the file.
        let chunk = read_part(disk, &file, piece.offset.saturating_add(done), len)?;
        crc = crc32c::crc32c_append(crc, &chunk);
        take(&chunk)?;
        done = done.saturating_add(len);
    }
    check_sum(&file, piece, crc)
}

/// The bytes of all pieces of a manifest are whole. Holds one chunk at a time.
pub(super) fn verify_pieces(disk: &dyn Disk, manifest: &Manifest) -> Result<(), EpochError> {
    let mut pieces = manifest.pieces.iter();
    pieces.try_for_each(|piece| stream_piece(disk, piece, |_| Ok(())))
}
