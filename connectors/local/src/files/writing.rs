//! The operations that change a disk.
//!
//! A failed sync is never repeated: the system may have dropped what it could not write, and would
//! say yes the second time. Where the disk is full, everything else may be.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use millstream_connectors_api::ConnectorError;

use super::{fault, is_absent, refused, stat, stat_of};

/// How often a lock is taken whose file was removed meanwhile.
const LOCK_ATTEMPTS_MAX: u32 = 16;

/// A new file to write, in place of one that a crash left under this name.
///
/// The old one is removed and not emptied: its contents may have another name by now.
pub(crate) fn create(path: &Path) -> Result<File, ConnectorError> {
    // Whoever reads the message knows of no older one.
    unlink(path).map_err(|error| refused("create", path, error))?;
    fault::pass("create", path, || {
        File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
    })
    .map_err(|error| refused("create", path, error))
}

/// Writes what is in `buffer`. After an error the file holds what has left the buffer, so the call
/// may be repeated.
pub(crate) fn write(
    file: &mut File,
    path: &Path,
    buffer: &mut Vec<u8>,
) -> Result<(), ConnectorError> {
    let mut written = 0;
    let result = file.stream_position().and_then(|start| {
        let result = write_from(file, path, buffer, &mut written);
        if result.is_err() {
            // Whatever else of the buffer the disk may have taken is written over.
            file.seek(SeekFrom::Start(start + written as u64))?;
        }
        result
    });
    if result.is_ok() {
        buffer.clear();
    } else {
        buffer.drain(..written);
    }
    result.map_err(|error| refused("write", path, error))
}

fn write_from(file: &mut File, path: &Path, buffer: &[u8], written: &mut usize) -> io::Result<()> {
    while let Some(rest) = buffer.get(*written..).filter(|rest| !rest.is_empty()) {
        match fault::pass("write", path, || file.write(cut(rest))) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => *written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(not(test))]
fn cut(bytes: &[u8]) -> &[u8] {
    bytes
}

/// A test's disk takes little at once.
#[cfg(test)]
fn cut(bytes: &[u8]) -> &[u8] {
    let few = bytes.get(..fault::WRITE_BYTES_MAX);
    few.filter(|_| fault::planned()).unwrap_or(bytes)
}

#[cfg(not(test))]
fn sync_all(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Tests of faults end no machine, and there are thousands of lives in them.
#[cfg(test)]
fn sync_all(file: &File) -> io::Result<()> {
    if fault::planned() {
        return Ok(());
    }
    file.sync_all()
}

/// Makes what was written to `file` durable. After an error the file is worth nothing; if the disk
/// was full, the caller may write another.
pub(crate) fn sync(file: &File, path: &Path) -> Result<(), ConnectorError> {
    fault::pass("sync", path, || sync_all(file)).map_err(|error| refused("sync", path, error))
}

/// [`sync`] of a file that cannot be written again: after an error the caller must not go on, also
/// if the disk was full.
pub(crate) fn sync_once(file: &File, path: &Path) -> Result<(), ConnectorError> {
    fault::pass("sync", path, || sync_all(file))
        .map_err(|error| refused("sync", path, io::Error::other(error)))
}

/// Makes the names in a directory durable. After an error the caller must not go on.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), ConnectorError> {
    fault::pass("sync", dir, || sync_all(&File::open(dir)?)).map_err(|error| {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        let source = if denied {
            error
        } else {
            io::Error::other(error)
        };
        refused("sync", dir, source)
    })
}

/// Makes a directory and those above it, and makes the names of all of them durable: also of those
/// that are there, because the process that made them may not have come so far. Gives those that it
/// made, outermost first; after an error they are there.
pub(crate) fn create_dirs(dir: &Path) -> Result<Vec<PathBuf>, ConnectorError> {
    let mut made = Vec::new();
    let mut above: Vec<&Path> = dir.ancestors().collect();
    above.reverse();
    for (parent, dir) in above.iter().zip(above.iter().skip(1)) {
        let is_new = stat(dir)?.is_none();
        if is_new {
            match fault::pass("mkdir", dir, || fs::create_dir(dir)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(refused("create", dir, error));
                }
                Ok(()) => made.push(dir.to_path_buf()),
                Err(_) => {}
            }
        }
        match sync_dir(parent) {
            // Others' directories may be closed to us. Their names were not given by us, either.
            Err(ConnectorError::Io { source, .. })
                if !is_new && source.kind() == io::ErrorKind::PermissionDenied => {}
            result => result?,
        }
    }
    Ok(made)
}

/// Removes a directory in which there is nothing.
pub(crate) fn remove_dir(dir: &Path) -> Result<(), ConnectorError> {
    fault::pass("rmdir", dir, || fs::remove_dir(dir)).map_err(|error| refused("remove", dir, error))
}

/// Gives a file another name, replacing what had it.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is the real disk of this crate"
)]
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), ConnectorError> {
    fault::pass("rename", to, || fs::rename(from, to))
        .map_err(|error| refused("rename", from, error))
}

/// What became of a name that was to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// It stands for the file now.
    Given,
    /// It stands for another one already.
    Taken,
}

/// Gives a file one more name, unless it is taken.
pub(crate) fn link(from: &Path, to: &Path) -> Result<Named, ConnectorError> {
    match fault::pass("link", to, || fs::hard_link(from, to)) {
        Ok(()) => Ok(Named::Given),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Named::Taken),
        // A disk without second names. Nobody else gives names here while the sink holds its lock,
        // so looking first is as good.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
            ) =>
        {
            if stat(to)?.is_some() {
                return Ok(Named::Taken);
            }
            rename(from, to).map(|()| Named::Given)
        }
        Err(error) => Err(refused("link", to, error)),
    }
}

/// Empties a file that is open.
pub(crate) fn empty(file: &mut File, path: &Path) -> Result<(), ConnectorError> {
    fault::pass("empty", path, || {
        file.set_len(0)?;
        file.rewind()
    })
    .map_err(|error| refused("write", path, error))
}

/// Removes a file; none is fine.
pub(crate) fn remove(path: &Path) -> Result<(), ConnectorError> {
    unlink(path).map_err(|error| refused("remove", path, error))
}

fn unlink(path: &Path) -> io::Result<()> {
    match fault::pass("remove", path, || fs::remove_file(path)) {
        Err(error) if !is_absent(&error) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Opens a file, which is created empty if there is none, and locks it against other holders in
/// this process and others until it is dropped. `None` if it is locked.
///
/// Whoever held it before may have removed it while it was opened here; then it is made again.
pub(crate) fn lock(path: &Path) -> Result<Option<File>, ConnectorError> {
    for _ in 0..LOCK_ATTEMPTS_MAX {
        let file = fault::pass("lock", path, || {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
        })
        .map_err(|error| refused("create", path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(refused("lock", path, error)),
        }
        let locked = file
            .metadata()
            .map_err(|error| refused("read", path, error))?;
        if stat(path)?.is_some_and(|named| named.id == stat_of(&locked).id) {
            return Ok(Some(file));
        }
    }
    Ok(None)
}
