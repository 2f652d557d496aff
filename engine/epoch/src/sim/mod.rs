//! A [`Disk`] in memory that forgets what was not synced.
//!
//! It counts operations, stops after any of them as a power cut would, fails any of them as a full
//! or broken disk would, and hands over what may have survived: see [`Survival`]. Names and bytes
//! are kept apart, as on a real disk: a synced file whose directory was not synced may be gone, a
//! renamed file may have its old name, a removed one may be back.
//!
//! Not modelled: a disk that lies about a sync, and damage to bytes that were synced (use
//! [`SimDisk::tamper`] for that).

mod image;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{AppendFile, Disk, DiskLock, Entry, RelPath};
use image::{FileImage, Node};

/// What is there after a power cut, of all that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Synced,
    /// Everything.
    Everything,
    /// Of each file the first sectors, of each directory the first changes.
    Prefix {
        /// Chooses how many.
        seed: u64,
    },
    /// Any sectors and any changes, later ones without earlier ones.
    Scattered {
        /// Chooses which.
        seed: u64,
    },
}

/// What goes wrong with one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device reports an error; nothing happens.
    Eio,
    /// No space; nothing happens.
    Enospc,
    /// No space after half of the bytes.
    ShortWrite,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<FileImage>,
    /// Names as the running process sees them.
    names: BTreeMap<RelPath, Node>,
    /// Names as they are after a power cut, apart from `changes`.
    synced_names: BTreeMap<RelPath, Node>,
    changes: Vec<NameChange>,
    locks: BTreeSet<RelPath>,
    has_no_locks: bool,
    ops: u64,
    reads: u64,
    bytes_written: u64,
    bytes_read: u64,
    crash_after: Option<u64>,
    failures: BTreeMap<u64, Failure>,
    read_failures: BTreeSet<u64>,
    /// Operations so far, as `sync log/…`; for finding out which one broke.
    journal: Vec<String>,
}

/// A change of names that its directory has not been synced since.
#[derive(Clone, Debug)]
enum NameChange {
    Set(RelPath, Node),
    Remove(RelPath),
    Rename(RelPath, RelPath, Node),
}

impl NameChange {
    fn dir(&self) -> RelPath {
        match self {
            NameChange::Set(path, _) | NameChange::Remove(path) => path.parent(),
            NameChange::Rename(_, to, _) => to.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<RelPath, Node>) {
        match self {
            NameChange::Set(path, node) => {
                names.insert(path.clone(), *node);
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
            NameChange::Rename(from, to, node) => {
                // What else has the old name by now stays.
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations so far that changed or synced something.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.state().ops
    }

    /// Reads so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// Bytes written so far, whether they were synced or not.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.state().bytes_written
    }

    /// Bytes read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.state().bytes_read
    }

    /// What was done so far, one line each.
    #[must_use]
    pub fn journal(&self) -> Vec<String> {
        self.state().journal.clone()
    }

    /// Everything after operation `op` (counted from 1 over the life of the disk) fails: the
    /// process is dead. 0 kills it before its first operation.
    pub fn crash_after(&self, op: u64) {
        self.state().crash_after = Some(op);
    }

    /// Operation `op` fails.
    pub fn fail_at(&self, op: u64, failure: Failure) {
        self.state().failures.insert(op, failure);
    }

    /// Read `read` fails (counted from 1).
    pub fn fail_read_at(&self, read: u64) {
        self.state().read_failures.insert(read);
    }

    /// Locks always succeed, as on a network file system that has none.
    pub fn disable_locks(&self) {
        self.state().has_no_locks = true;
    }

    /// Counts one act of somebody else, such as the commit of a sink, among the operations.
    ///
    /// # Errors
    /// If the process is dead: then it did not happen.
    pub fn step(&self, what: &str) -> io::Result<()> {
        self.state().act(what).map(drop)
    }

    /// The disk that the next process finds if the power is cut now.
    #[must_use]
    pub fn survivor(&self, survival: Survival) -> SimDisk {
        let state = self.state();
        let (names, contents) = image::survive(&state, survival);
        let files: Vec<FileImage> = contents.into_iter().map(FileImage::synced).collect();
        SimDisk {
            state: Arc::new(Mutex::new(State {
                files,
                synced_names: names.clone(),
                names,
                has_no_locks: state.has_no_locks,
                ..State::default()
            })),
        }
    }

    /// The same disk for the next process on the same machine: what was not synced is still in the
    /// memory of the operating system. What a failed sync left is there too, and will be lost.
    #[must_use]
    pub fn restarted(&self) -> SimDisk {
        let state = self.state();
        SimDisk {
            state: Arc::new(Mutex::new(State {
                files: state.files.clone(),
                names: state.names.clone(),
                synced_names: state.synced_names.clone(),
                changes: state.changes.clone(),
                has_no_locks: state.has_no_locks,
                ..State::default()
            })),
        }
    }

    /// All files, sorted.
    #[must_use]
    pub fn files(&self) -> Vec<RelPath> {
        let state = self.state();
        let files = state.names.iter().filter(|(_, node)| **node != Node::Dir);
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Replaces the bytes of a file, durably and unnoticed; `None` removes it. A missing file is
    /// created. Counts as no operation.
    pub fn tamper(&self, path: &RelPath, bytes: Option<Vec<u8>>) {
        let mut state = self.state();
        match bytes {
            Some(bytes) => {
                let node = state.add_file(FileImage::synced(bytes));
                state.names.insert(path.clone(), node);
                state.synced_names.insert(path.clone(), node);
            }
            None => {
                state.names.remove(path);
                state.synced_names.remove(path);
            }
        }
    }

    /// The bytes of a file as the running process sees them; counts as no read.
    #[must_use]
    pub fn peek(&self, path: &RelPath) -> Option<Vec<u8>> {
        let mut state = self.state();
        state.file(path).ok().map(|file| file.current())
    }
}

impl State {
    /// Counts an operation and says how it goes.
    fn act(&mut self, what: &str) -> io::Result<Option<Failure>> {
        if self.crash_after.is_some_and(|op| self.ops >= op) {
            return Err(dead());
        }
        self.ops += 1;
        self.journal.push(what.to_owned());
        let failure = self.failures.get(&self.ops).copied();
        Ok(failure)
    }

    /// As [`State::act`], for operations that write nothing.
    fn act_or_fail(&mut self, what: &str) -> io::Result<()> {
        self.act(what)?
            .map_or(Ok(()), |failure| Err(failed(failure)))
    }

    fn look(&mut self) -> io::Result<()> {
        if self.crash_after.is_some_and(|op| self.ops >= op) {
            return Err(dead());
        }
        self.reads += 1;
        if self.read_failures.contains(&self.reads) {
            return Err(failed(Failure::Eio));
        }
        Ok(())
    }

    fn add_file(&mut self, file: FileImage) -> Node {
        self.files.push(file);
        Node::File(self.files.len() - 1)
    }

    fn file(&mut self, path: &RelPath) -> io::Result<&mut FileImage> {
        let node = self.names.get(path).copied();
        self.file_of(node)
    }

    fn file_of(&mut self, node: Option<Node>) -> io::Result<&mut FileImage> {
        match node {
            Some(Node::File(index)) => self.files.get_mut(index).ok_or_else(not_found),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(not_found()),
        }
    }

    fn has_dir(&self, dir: &RelPath) -> bool {
        dir.as_str().is_empty() || self.names.get(dir) == Some(&Node::Dir)
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn write(&mut self, node: Node, bytes: &[u8], failure: Option<Failure>) -> io::Result<()> {
        let Some(failure) = failure else {
            self.bytes_written += count(bytes);
            self.file_of(Some(node))?.append(bytes);
            return Ok(());
        };
        if failure == Failure::ShortWrite {
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            self.file_of(Some(node))?.append(half);
        }
        Err(failed(failure))
    }

    fn sync_node(&mut self, node: Option<Node>, what: &str) -> io::Result<()> {
        let failure = self.act(what)?;
        let file = self.file_of(node)?;
        match failure {
            None => {
                file.sync();
                Ok(())
            }
            Some(failure) => {
                file.fail_sync();
                Err(failed(failure))
            }
        }
    }
}

fn count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn dead() -> io::Error {
    io::Error::other("the simulated process is dead")
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn failed(failure: Failure) -> io::Error {
    match failure {
        Failure::Eio => io::Error::other("simulated input/output error"),
        Failure::Enospc | Failure::ShortWrite => io::ErrorKind::StorageFull.into(),
    }
}

impl Disk for SimDisk {
    fn create_new(&self, path: &RelPath, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let failure = state.act(&format!("create {path}"))?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.has_dir(&path.parent()) {
            return Err(not_found());
        }
        if let Some(failure @ (Failure::Eio | Failure::Enospc)) = failure {
            return Err(failed(failure));
        }
        let node = state.add_file(FileImage::default());
        state.change(NameChange::Set(path.clone(), node));
        state.write(node, bytes, failure)
    }

    fn open_append(&self, path: &RelPath) -> io::Result<Box<dyn AppendFile>> {
        let mut state = self.state();
        state.look()?;
        state.file(path)?;
        let node = state.names.get(path).copied().ok_or_else(not_found)?;
        drop(state);
        Ok(Box::new(SimAppend {
            disk: self.clone(),
            node,
            path: path.clone(),
        }))
    }

    fn sync(&self, path: &RelPath) -> io::Result<()> {
        let mut state = self.state();
        let node = state.names.get(path).copied();
        state.sync_node(node, &format!("sync {path}"))
    }

    fn truncate(&self, path: &RelPath, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.act_or_fail(&format!("truncate {path}"))?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        state.file(path)?.truncate(len);
        Ok(())
    }

    fn rename(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let mut state = self.state();
        state.act_or_fail(&format!("rename {from} {to}"))?;
        if from.parent() != to.parent() {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let node = state.names.get(from).copied().ok_or_else(not_found)?;
        state.change(NameChange::Rename(from.clone(), to.clone(), node));
        Ok(())
    }

    fn sync_dir(&self, dir: &RelPath) -> io::Result<()> {
        let mut state = self.state();
        let failure = state.act(&format!("sync dir {dir}"))?;
        if !state.has_dir(dir) {
            return Err(not_found());
        }
        if let Some(failure) = failure {
            return Err(failed(failure));
        }
        let changes = std::mem::take(&mut state.changes);
        let (synced, rest) = changes.into_iter().partition(|change| change.dir() == *dir);
        state.changes = rest;
        let synced: Vec<NameChange> = synced;
        for change in synced {
            change.apply(&mut state.synced_names);
        }
        Ok(())
    }

    fn remove(&self, path: &RelPath) -> io::Result<()> {
        let mut state = self.state();
        state.act_or_fail(&format!("remove {path}"))?;
        state.file(path)?;
        state.change(NameChange::Remove(path.clone()));
        Ok(())
    }

    fn create_dir_all(&self, dir: &RelPath) -> io::Result<()> {
        let mut state = self.state();
        if state.has_dir(dir) {
            return state.look();
        }
        state.act_or_fail(&format!("create dir {dir}"))?;
        let mut missing = Vec::new();
        let mut at = dir.clone();
        while !state.has_dir(&at) {
            missing.push(at.clone());
            at = at.parent();
        }
        for dir in missing.into_iter().rev() {
            state.change(NameChange::Set(dir, Node::Dir));
        }
        Ok(())
    }

    fn read(&self, path: &RelPath) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.look()?;
        let bytes = state.file(path).map(|file| file.current())?;
        state.bytes_read += count(&bytes);
        Ok(bytes)
    }

    fn read_range(&self, path: &RelPath, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.look()?;
        let bytes = state.file(path).map(|file| file.current())?;
        let range = usize::try_from(offset).ok().and_then(|offset| {
            let end = offset.checked_add(usize::try_from(len).ok()?)?;
            bytes.get(offset..end)
        });
        let eof = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let found = range.map(<[u8]>::to_vec).ok_or_else(eof)?;
        state.bytes_read += count(&found);
        Ok(found)
    }

    fn list(&self, dir: &RelPath) -> io::Result<Vec<Entry>> {
        let mut state = self.state();
        state.look()?;
        if !state.has_dir(dir) {
            return Err(not_found());
        }
        let entries = state.names.iter().filter(|(path, _)| path.parent() == *dir);
        Ok(entries
            .map(|(path, node)| Entry {
                name: path.name().to_owned(),
                is_dir: *node == Node::Dir,
            })
            .collect())
    }

    fn size(&self, path: &RelPath) -> io::Result<u64> {
        let mut state = self.state();
        state.look()?;
        Ok(count(&state.file(path)?.current()))
    }

    fn try_lock(&self, path: &RelPath) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut state = self.state();
        state.look()?;
        if !state.names.contains_key(path) {
            let node = state.add_file(FileImage::default());
            state.change(NameChange::Set(path.clone(), node));
        }
        if !state.locks.insert(path.clone()) && !state.has_no_locks {
            return Ok(None);
        }
        drop(state);
        Ok(Some(Box::new(SimLock {
            disk: self.clone(),
            path: path.clone(),
        })))
    }
}

#[derive(Debug)]
struct SimAppend {
    disk: SimDisk,
    /// The file, not the name: a handle follows a file that was replaced or removed.
    node: Node,
    path: RelPath,
}

impl AppendFile for SimAppend {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let failure = state.act(&format!("append {}", self.path))?;
        state.write(self.node, bytes, failure)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.act_or_fail(&format!("truncate {}", self.path))?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        state.file_of(Some(self.node))?.truncate(len);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let what = format!("sync {}", self.path);
        self.disk.state().sync_node(Some(self.node), &what)
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: RelPath,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.path);
    }
}
