//! What everything that writes for one process shares: the disk, the fence, and the knowledge that
//! a sync failed.
//!
//! After a failed sync nobody knows what is on the disk, and asking again would lie. So whoever
//! fails closes the log, the snapshots and the journals alike, and the process starts anew.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Disk, EpochError, RelPath, layout};

/// The first file whose sync failed; shared by everything that writes for one process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Poison(Arc<Mutex<Option<RelPath>>>);

impl Poison {
    pub(crate) fn check(&self) -> Result<(), EpochError> {
        match &*locked(&self.0) {
            Some(file) => Err(EpochError::Poisoned { file: file.clone() }),
            None => Ok(()),
        }
    }

    pub(crate) fn set(&self, file: &RelPath) {
        locked(&self.0).get_or_insert_with(|| file.clone());
    }

    /// Hands on the result of a sync, or of anything else that leaves the disk unknown if it
    /// fails. Never [`EpochError::Full`]: that would say that the call may be repeated.
    pub(crate) fn watch<T>(
        &self,
        action: &'static str,
        file: &RelPath,
        result: io::Result<T>,
    ) -> Result<T, EpochError> {
        result.map_err(|source| {
            self.set(file);
            EpochError::Disk {
                action,
                file: file.clone(),
                source,
            }
        })
    }
}

/// A thread that panicked while it held the lock changed nothing halfway: fields are set last.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right of one generation to write.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) generation: u64,
    pub(crate) poison: Poison,
}

impl Guard {
    /// Whether anything may still be written.
    pub(crate) fn check(&self) -> Result<(), EpochError> {
        self.poison.check()
    }

    /// A newer generation makes itself known by a file; ours goes when it cleans up.
    pub(crate) fn check_fence(&self) -> Result<(), EpochError> {
        let newer = layout::generation(self.generation.saturating_add(1));
        let own = layout::generation(self.generation);
        let fenced = |file: RelPath| EpochError::Fenced {
            generation: self.generation,
            file,
        };
        match self.disk.size(&newer) {
            Ok(_) => return Err(fenced(newer)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return self.poison.watch("look at", &newer, Err(error)),
        }
        match self.disk.size(&own) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(fenced(own)),
            Err(error) => self.poison.watch("look at", &own, Err(error)),
        }
    }

    pub(crate) fn write_whole(&self, path: &RelPath, bytes: &[u8]) -> Result<(), EpochError> {
        write_whole(&*self.disk, &self.poison, path, bytes)
    }

    pub(crate) fn sync_dir(&self, dir: &RelPath) -> Result<(), EpochError> {
        self.poison.watch("sync", dir, self.disk.sync_dir(dir))
    }

    /// Removes a file; fine if it is not there.
    pub(crate) fn remove(&self, path: &RelPath) -> Result<(), EpochError> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(EpochError::disk("remove", path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Writes a file under another name, makes it durable, and only then gives it its name. After a
/// full disk nothing is left and the call may be repeated.
pub(crate) fn write_whole(
    disk: &dyn Disk,
    poison: &Poison,
    path: &RelPath,
    bytes: &[u8],
) -> Result<(), EpochError> {
    let tmp = layout::unfinished(path);
    let mut created = disk.create_new(&tmp, bytes);
    if let Err(error) = &created
        && error.kind() == io::ErrorKind::AlreadyExists
    {
        created = disk
            .remove(&tmp)
            .and_then(|()| disk.create_new(&tmp, bytes));
    }
    if let Err(error) = created {
        // Part of it may be there and hold the space that others wait for. Best effort: what stays
        // is removed by the next call or the next start.
        drop(disk.remove(&tmp));
        return Err(EpochError::disk("create", &tmp)(error));
    }
    poison.watch("sync", &tmp, disk.sync(&tmp))?;
    poison.watch("rename", path, disk.rename(&tmp, path))?;
    let dir = path.parent();
    poison.watch("sync", &dir, disk.sync_dir(&dir))
}
