//! [`Disk`] on the file system of this machine.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::{AppendFile, Disk, DiskLock, Entry, RelPath};

/// A directory of this machine.
#[derive(Debug)]
pub struct RealDisk {
    base: PathBuf,
}

impl RealDisk {
    /// The directory `base`; it need not exist yet.
    #[must_use]
    pub fn new(base: impl Into<PathBuf>) -> RealDisk {
        RealDisk { base: base.into() }
    }

    fn at(&self, path: &RelPath) -> PathBuf {
        // Joining an empty path would add a slash.
        if path.as_str().is_empty() {
            self.base.clone()
        } else {
            self.base.join(path.as_str())
        }
    }
}

/// Only Unix can open a directory; elsewhere names are as durable as the system makes them.
fn sync_names(dir: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(dir)?.sync_all()
    } else {
        Ok(())
    }
}

impl Disk for RealDisk {
    fn create_new(&self, path: &RelPath, bytes: &[u8]) -> io::Result<()> {
        File::create_new(self.at(path))?.write_all(bytes)
    }

    fn open_append(&self, path: &RelPath) -> io::Result<Box<dyn AppendFile>> {
        let file = OpenOptions::new().append(true).open(self.at(path))?;
        Ok(Box::new(RealAppend { file }))
    }

    fn sync(&self, path: &RelPath) -> io::Result<()> {
        // Linux syncs the file, not the handle: what another handle wrote is included.
        OpenOptions::new()
            .write(true)
            .open(self.at(path))?
            .sync_data()
    }

    fn truncate(&self, path: &RelPath, len: u64) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .open(self.at(path))?
            .set_len(len)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the disk that everybody else is sent to"
    )]
    fn rename(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn sync_dir(&self, dir: &RelPath) -> io::Result<()> {
        sync_names(&self.at(dir))
    }

    fn remove(&self, path: &RelPath) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }

    fn create_dir_all(&self, dir: &RelPath) -> io::Result<()> {
        let path = self.at(dir);
        let made: Vec<&Path> = path
            .ancestors()
            .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
            .collect();
        fs::create_dir_all(&path)?;
        // Nobody else syncs the directories above the base, and a checkpoint whose very name is
        // lost leaves a sink that is ahead of nothing.
        for parent in made.into_iter().filter_map(Path::parent) {
            let is_here = parent.as_os_str().is_empty();
            sync_names(if is_here { Path::new(".") } else { parent })?;
        }
        Ok(())
    }

    fn read(&self, path: &RelPath) -> io::Result<Vec<u8>> {
        fs::read(self.at(path))
    }

    fn read_range(&self, path: &RelPath, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.at(path))?;
        let end = offset.checked_add(len);
        if end.is_none_or(|end| file.metadata().is_ok_and(|meta| meta.len() < end)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.seek(SeekFrom::Start(offset))?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, dir: &RelPath) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.at(dir))? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                let is_dir = entry.file_type()?.is_dir();
                entries.push(Entry { name, is_dir });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn size(&self, path: &RelPath) -> io::Result<u64> {
        fs::metadata(self.at(path)).map(|meta| meta.len())
    }

    fn try_lock(&self, path: &RelPath) -> io::Result<Option<Box<dyn DiskLock>>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.at(path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealLock { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            // Some network file systems have no locks. The generation fence still holds there.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(Some(Box::new(RealLock { _file: file })))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[derive(Debug)]
struct RealAppend {
    file: File,
}

impl AppendFile for RealAppend {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl DiskLock for RealLock {}
