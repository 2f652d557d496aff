//! Looking at a checkpoint without touching it: no lock, no generation, no repair.
//!
//! May run beside the query that owns the checkpoint; a file that goes while it looks is reported
//! as missing, and an append that is under way as a torn tail.

use std::{collections::BTreeSet, io, ops::Range};

use millstream_types::{Coded, Epoch, Fault};

use super::{
    byte_count, layout,
    open::{check_reach, source_dirs},
    packs::verify_pieces,
    read_log::read_log,
    snapshot::{pack_names, read_manifest},
};
use crate::journal::{Depth, Identity, look};
use crate::{
    Accepted, Commit, Disk, Dropped, EpochError, Manifest, Metadata, Plan, RelPath, Tail, log::scan,
};

/// How a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// All of it is as it was written, as far as it was looked at.
    Whole,
    /// It ends in an append that is not finished; the next start cuts it off.
    TornTail {
        /// Bytes that are no record.
        bytes: u64,
    },
    /// It is not what was written.
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// Nothing needs it; the next start or collection removes it.
    Unneeded,
    /// It is not of the checkpoint.
    Foreign,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// The file.
    pub file: RelPath,
    /// Its length.
    pub bytes: u64,
    /// How it is.
    pub state: FileState,
}

/// One journal of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalReport {
    /// The source, by its place in the query.
    pub source: u32,
    /// The journal's name.
    pub name: String,
    /// The numbers of the entries that it keeps.
    pub entries: Range<u64>,
}

/// What a checkpoint holds.
#[derive(Clone, Debug)]
pub struct CheckpointReport {
    /// Whose it is.
    pub metadata: Option<Metadata>,
    /// The version of the engine that began it.
    pub engine: Option<String>,
    /// The generation that runs or ran last.
    pub generation: Option<u64>,
    /// Plans in the log.
    pub plans: Vec<Plan>,
    /// Commits in the log.
    pub commits: Vec<Commit>,
    /// Plans in the log that the user gave up and whose numbers were not planned anew.
    pub given_up: Vec<Plan>,
    /// What the user gave up, as far back as the log goes.
    pub dropped: Vec<Dropped>,
    /// Changed input that the user accepted.
    pub accepted: Vec<Accepted>,
    /// Snapshots that are whole, oldest first.
    pub snapshots: Vec<Manifest>,
    /// What the sources know.
    pub journals: Vec<JournalReport>,
    /// Every file.
    pub files: Vec<FileReport>,
    /// Why no query could go on from here.
    pub problem: Option<Fault>,
}

impl CheckpointReport {
    /// No file is damaged and the log has no hole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problem.is_none()
            && !self
                .files
                .iter()
                .any(|file| matches!(file.state, FileState::Damaged { .. }))
    }
}

/// Lists a checkpoint; packs are looked at by name only.
///
/// # Errors
/// [`EpochError::Disk`] if the directory cannot be read.
pub fn inspect(disk: &dyn Disk) -> Result<CheckpointReport, EpochError> {
    report(disk, Packs::ByName)
}

/// Lists a checkpoint and reads every byte of it.
///
/// # Errors
/// [`EpochError::Disk`] if the directory cannot be read.
pub fn verify(disk: &dyn Disk) -> Result<CheckpointReport, EpochError> {
    report(disk, Packs::ByByte)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Packs {
    ByName,
    ByByte,
}

impl Packs {
    fn verify(self, disk: &dyn Disk, manifest: &Manifest) -> Result<(), EpochError> {
        match self {
            Packs::ByByte => verify_pieces(disk, manifest),
            Packs::ByName => Ok(()),
        }
    }
}

fn report(disk: &dyn Disk, packs: Packs) -> Result<CheckpointReport, EpochError> {
    let mut report = CheckpointReport {
        metadata: None,
        engine: None,
        generation: None,
        plans: Vec::new(),
        commits: Vec::new(),
        given_up: Vec::new(),
        dropped: Vec::new(),
        accepted: Vec::new(),
        snapshots: Vec::new(),
        journals: Vec::new(),
        files: Vec::new(),
        problem: None,
    };
    report.look_at_root(disk)?;
    report.look_at_generations(disk)?;
    report.look_at_log(disk)?;
    report.look_at_state(disk, packs)?;
    report.look_at_sources(disk, packs)?;
    report.look_at_reach(disk)?;
    Ok(report)
}

fn files_in(disk: &dyn Disk, dir: &RelPath) -> Result<Vec<RelPath>, EpochError> {
    match disk.list(dir) {
        Ok(entries) => Ok(entries
            .iter()
            .filter(|entry| !entry.is_dir)
            .filter_map(|entry| dir.join(&entry.name).ok())
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !dir.as_str().is_empty() => {
            Ok(Vec::new())
        }
        Err(error) => Err(EpochError::disk("list", dir)(error)),
    }
}

fn damaged(error: &EpochError) -> FileState {
    let reason = if let EpochError::Damaged { reason, .. } = error {
        reason.clone()
    } else {
        error.fault().message
    };
    FileState::Damaged { reason }
}

impl CheckpointReport {
    fn add(&mut self, disk: &dyn Disk, file: RelPath, state: FileState) {
        let bytes = disk.size(&file).unwrap_or(0);
        self.files.push(FileReport { file, bytes, state });
    }

    fn look_at_root(&mut self, disk: &dyn Disk) -> Result<(), EpochError> {
        for file in files_in(disk, &RelPath::root())? {
            let state = if file == layout::metadata() {
                let bytes = disk.read(&file).map_err(EpochError::disk("read", &file))?;
                match Metadata::decode(&bytes) {
                    Ok((engine, metadata)) => {
                        self.engine = Some(engine);
                        self.metadata = Some(metadata);
                        FileState::Whole
                    }
                    Err(error) => damaged(&EpochError::decode(&file, &error)),
                }
            } else if file == layout::lock() {
                FileState::Whole
            } else {
                leftover(&file)
            };
            self.add(disk, file, state);
        }
        Ok(())
    }

    fn look_at_generations(&mut self, disk: &dyn Disk) -> Result<(), EpochError> {
        for file in files_in(disk, &layout::generations_dir())? {
            let number = layout::parse_generation(file.name());
            self.generation = self.generation.max(number);
            let state = number.map_or_else(|| leftover(&file), |_| FileState::Whole);
            self.add(disk, file, state);
        }
        Ok(())
    }

    fn look_at_log(&mut self, disk: &dyn Disk) -> Result<(), EpochError> {
        for file in files_in(disk, &layout::log_dir())? {
            let state = if layout::parse_segment(file.name()).is_some() {
                let bytes = disk.read(&file).map_err(EpochError::disk("read", &file))?;
                let scan = scan(&bytes);
                match scan.tail {
                    Tail::Clean => FileState::Whole,
                    Tail::Torn(_) => FileState::TornTail {
                        bytes: byte_count(bytes.get(scan.good_bytes..).unwrap_or_default()),
                    },
                    Tail::Damaged(error) => damaged(&EpochError::decode(&file, &error)),
                }
            } else {
                leftover(&file)
            };
            self.add(disk, file, state);
        }
        if self.metadata.is_none() {
            let mut files = self.files.iter().map(|report| &report.file);
            if let Some(found) = files.find(|file| file.parent() == layout::log_dir()) {
                let found = found.clone();
                self.problem = Some(EpochError::NoMetadata { found }.fault());
            }
        }
        Ok(())
    }

    /// What an opening would say of the log and the snapshots together.
    fn look_at_reach(&mut self, disk: &dyn Disk) -> Result<(), EpochError> {
        let Some(metadata) = &self.metadata else {
            return Ok(());
        };
        let read = read_log(disk, &metadata.query_id);
        let reach = read.and_then(|image| {
            let newest = self.snapshots.last().map(|manifest| manifest.epoch);
            let reach = check_reach(newest, None, &image);
            self.plans = image.plans;
            self.commits = image.commits;
            self.given_up = image.given_up;
            self.dropped = image.dropped;
            self.accepted = image.accepted;
            reach
        });
        match reach {
            Err(error @ EpochError::Disk { .. }) => return Err(error),
            Err(error) => self.problem = Some(error.fault()),
            Ok(()) => {}
        }
        Ok(())
    }

    fn look_at_state(&mut self, disk: &dyn Disk, packs: Packs) -> Result<(), EpochError> {
        let files = files_in(disk, &layout::state_dir())?;
        let mut broken: Vec<(RelPath, FileState)> = Vec::new();
        for epoch in files
            .iter()
            .filter_map(|f| layout::parse_manifest(f.name()))
        {
            let file = layout::manifest(epoch);
            let manifest = self.manifest(disk, epoch);
            let state = match manifest {
                Ok(manifest) => match packs.verify(disk, &manifest) {
                    Ok(()) => {
                        self.snapshots.push(manifest);
                        FileState::Whole
                    }
                    Err(EpochError::Damaged { file: pack, reason }) => {
                        let named = format!("it names {pack}, which is damaged");
                        broken.push((pack, FileState::Damaged { reason }));
                        FileState::Damaged { reason: named }
                    }
                    Err(error) => return Err(error),
                },
                Err(error @ EpochError::Disk { .. }) => return Err(error),
                Err(error) => damaged(&error),
            };
            self.add(disk, file, state);
        }
        let named: BTreeSet<String> = self.snapshots.iter().flat_map(pack_names).collect();
        for file in files {
            if layout::parse_manifest(file.name()).is_some() {
                continue;
            }
            let state = match broken.iter().find(|(pack, _)| *pack == file) {
                Some((_, state)) => state.clone(),
                None if named.contains(file.as_str()) => FileState::Whole,
                None if layout::parse_pack(file.name()).is_some() => FileState::Unneeded,
                None => leftover(&file),
            };
            self.add(disk, file, state);
        }
        self.snapshots
            .sort_by_key(|manifest: &Manifest| manifest.epoch);
        Ok(())
    }

    fn look_at_sources(&mut self, disk: &dyn Disk, packs: Packs) -> Result<(), EpochError> {
        for file in files_in(disk, &layout::sources_dir())? {
            let state = leftover(&file);
            self.add(disk, file, state);
        }
        for dir in source_dirs(disk)? {
            let files = files_in(disk, &dir)?;
            let source = layout::parse_source(dir.name());
            let mut names = BTreeSet::new();
            for file in files {
                let parsed = layout::parse_journal(file.name());
                if let Some((name, _)) = parsed.filter(|_| source.is_some()) {
                    names.insert(name.to_owned());
                } else {
                    let state = leftover(&file);
                    self.add(disk, file, state);
                }
            }
            for name in names {
                self.look_at_journal(disk, packs, source.unwrap_or_default(), name)?;
            }
        }
        Ok(())
    }

    fn look_at_journal(
        &mut self,
        disk: &dyn Disk,
        packs: Packs,
        source: u32,
        name: String,
    ) -> Result<(), EpochError> {
        let query_id = self.metadata.as_ref().map_or("", |m| m.query_id.as_str());
        let depth = match packs {
            Packs::ByName => Depth::Newest,
            Packs::ByByte => Depth::All,
        };
        let identity = Identity::of_file(query_id, source, &name);
        let found = look(disk, &identity, depth)?;
        for (file, state) in found.segments {
            let state = match state {
                Ok(0) => FileState::Whole,
                Ok(bytes) => FileState::TornTail { bytes },
                Err(error) => damaged(&error),
            };
            self.add(disk, file, state);
        }
        let entries = found.entries;
        self.journals.push(JournalReport {
            source,
            name,
            entries,
        });
        Ok(())
    }

    fn manifest(&self, disk: &dyn Disk, epoch: Epoch) -> Result<Manifest, EpochError> {
        let (id, fingerprint) = match &self.metadata {
            Some(metadata) => (metadata.query_id.as_str(), metadata.plan_fingerprint),
            None => ("", 0),
        };
        read_manifest(disk, epoch, id, fingerprint)
    }
}

fn leftover(file: &RelPath) -> FileState {
    if file.name().ends_with(layout::UNFINISHED) {
        FileState::Unneeded
    } else {
        FileState::Foreign
    }
}
