//! The seam between the protocol and a file system.
//!
//! The operations are those whose order and durability the protocol argues about, and no more.
//! Nothing is durable before it is synced: bytes by [`Disk::sync`] or [`AppendFile::sync`], names
//! (creation, rename, removal) by [`Disk::sync_dir`] of their directory. An implementation never
//! retries a failed sync and never turns one operation into several visible ones.

mod path;
mod real;

use std::{fmt, io};

pub use path::{BadPath, RelPath};
pub use real::RealDisk;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, without its directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// A file system below one base directory. Calls block.
///
/// # Errors
/// Every method hands on what the operating system says; [`io::ErrorKind::NotFound`] and
/// [`io::ErrorKind::AlreadyExists`] have their usual meaning and are relied upon.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates a file with these bytes in a directory that exists. Durable only after
    /// [`sync`](Disk::sync) of the file and [`sync_dir`](Disk::sync_dir) of its directory.
    ///
    /// # Errors
    /// See [`Disk`]; `AlreadyExists` if the name is taken, `NotFound` if its directory is not there. After
    /// any other error part of the file may be there: the caller removes it or never names it.
    fn create_new(&self, path: &RelPath, bytes: &[u8]) -> io::Result<()>;

    /// Opens an existing file for appending. One caller at a time: two openings of a file would write
    /// over each other's ends.
    ///
    /// # Errors
    /// See [`Disk`]; `NotFound` if it is not there.
    fn open_append(&self, path: &RelPath) -> io::Result<Box<dyn AppendFile>>;

    /// Makes the bytes of a file durable, not its name. After an error nothing is known about them, ever:
    /// who calls again and hears of success has lost rows.
    ///
    /// # Errors
    /// See [`Disk`].
    fn sync(&self, path: &RelPath) -> io::Result<()>;

    /// Cuts a file to `len` bytes, which it has at least; nobody has it open. Durable after a
    /// [`sync`](Disk::sync).
    ///
    /// # Errors
    /// See [`Disk`].
    fn truncate(&self, path: &RelPath, len: u64) -> io::Result<()>;

    /// Renames a file within its directory, atomically replacing a file of the new name: whoever looks,
    /// a crash included, finds the old one or the new one whole, if the new one was synced before. The
    /// new name is durable after [`sync_dir`](Disk::sync_dir).
    ///
    /// # Errors
    /// See [`Disk`]; `NotFound` if `from` is not there. After an error either name may stand.
    fn rename(&self, from: &RelPath, to: &RelPath) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// See [`Disk`].
    fn sync_dir(&self, dir: &RelPath) -> io::Result<()>;

    /// Removes a file. May come back after a crash until its directory is synced.
    ///
    /// # Errors
    /// See [`Disk`]; `NotFound` if it is not there.
    fn remove(&self, path: &RelPath) -> io::Result<()>;

    /// Creates a directory and those above it, and makes the names of those that were made durable; fine
    /// if it is there.
    ///
    /// # Errors
    /// See [`Disk`].
    fn create_dir_all(&self, dir: &RelPath) -> io::Result<()>;

    /// All bytes of a file.
    ///
    /// # Errors
    /// See [`Disk`].
    fn read(&self, path: &RelPath) -> io::Result<Vec<u8>>;

    /// `len` bytes from `offset`; `UnexpectedEof` if the file is shorter. The length is checked
    /// against the file before memory is taken.
    ///
    /// # Errors
    /// See [`Disk`].
    fn read_range(&self, path: &RelPath, offset: u64, len: u64) -> io::Result<Vec<u8>>;

    /// The names in a directory, sorted. Names that are no UTF-8 are left out.
    ///
    /// # Errors
    /// See [`Disk`].
    fn list(&self, dir: &RelPath) -> io::Result<Vec<Entry>>;

    /// Length of a file in bytes.
    ///
    /// # Errors
    /// See [`Disk`].
    fn size(&self, path: &RelPath) -> io::Result<u64>;

    /// Takes an exclusive lock on a file, which is created if need be; `None` if another holds it.
    /// The operating system releases it when the process dies, however it dies.
    ///
    /// # Errors
    /// See [`Disk`].
    fn try_lock(&self, path: &RelPath) -> io::Result<Option<Box<dyn DiskLock>>>;
}

/// A file open for appending: one write and one sync for each group of records.
pub trait AppendFile: Send + fmt::Debug {
    /// Adds bytes at the end. After an error part of them may be there.
    ///
    /// # Errors
    /// See [`Disk`].
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to `len` bytes: this file, also if its name stands for another one by now.
    ///
    /// # Errors
    /// See [`Disk`].
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Makes all bytes so far durable.
    ///
    /// # Errors
    /// See [`Disk`].
    fn sync(&mut self) -> io::Result<()>;
}

/// A held lock; dropping it releases it.
pub trait DiskLock: Send + Sync + fmt::Debug {}
