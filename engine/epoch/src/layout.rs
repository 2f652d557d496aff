//! Names of the files of a checkpoint.

use millstream_types::Epoch;

use crate::RelPath;

/// Ending of a file that is not finished; removed at the next start.
pub(super) const UNFINISHED: &str = ".tmp";

pub(super) fn metadata() -> RelPath {
    RelPath::own("metadata".to_owned())
}

pub(super) fn lock() -> RelPath {
    RelPath::own("lock".to_owned())
}

pub(super) fn log_dir() -> RelPath {
    RelPath::own("log".to_owned())
}

pub(super) fn state_dir() -> RelPath {
    RelPath::own("state".to_owned())
}

pub(super) fn generations_dir() -> RelPath {
    RelPath::own("generations".to_owned())
}

pub(super) fn sources_dir() -> RelPath {
    RelPath::own("sources".to_owned())
}

/// Where the journals of a source are.
pub(crate) fn source_dir(source: u32) -> RelPath {
    RelPath::own(format!("sources/{source}"))
}

/// The segment of a journal that begins with this entry.
pub(crate) fn journal(source: u32, name: &str, first: u64) -> RelPath {
    RelPath::own(format!("sources/{source}/{name}-{first:020}.journal"))
}

pub(super) fn segment(first: Epoch) -> RelPath {
    RelPath::own(format!("log/{:020}.log", first.0))
}

pub(super) fn manifest(epoch: Epoch) -> RelPath {
    RelPath::own(format!("state/manifest-{:020}", epoch.0))
}

pub(super) fn generation(generation: u64) -> RelPath {
    RelPath::own(format!("generations/{generation:020}"))
}

pub(super) fn pack(generation: u64, process: u32, index: u64) -> RelPath {
    RelPath::own(format!("state/pack-{generation}-{process}-{index}"))
}

pub(super) fn unfinished(path: &RelPath) -> RelPath {
    RelPath::own(format!("{path}{UNFINISHED}"))
}

/// Whether a file of this name is one of ours that is not finished: the ending stands behind a name
/// that we give in this directory. What else lies there is somebody's.
pub(super) fn is_unfinished(dir: &RelPath, name: &str) -> bool {
    name.strip_suffix(UNFINISHED).is_some_and(|name| {
        *dir == RelPath::root() && name == metadata().name()
            || *dir == log_dir() && parse_segment(name).is_some()
            || *dir == state_dir() && parse_manifest(name).is_some()
            || parse_journal(name).is_some()
    })
}

/// The first epoch of the segment of this name. Only names that we would write count.
pub(super) fn parse_segment(name: &str) -> Option<Epoch> {
    let first = Epoch(name.strip_suffix(".log")?.parse().ok()?);
    (segment(first).name() == name).then_some(first)
}

pub(super) fn parse_manifest(name: &str) -> Option<Epoch> {
    let epoch = Epoch(name.strip_prefix("manifest-")?.parse().ok()?);
    (manifest(epoch).name() == name).then_some(epoch)
}

pub(super) fn parse_generation(name: &str) -> Option<u64> {
    let number = name.parse().ok()?;
    (generation(number).name() == name).then_some(number)
}

/// The generation that wrote the pack of this name.
pub(super) fn parse_pack(name: &str) -> Option<u64> {
    let mut parts = name.strip_prefix("pack-")?.splitn(3, '-');
    let generation = parts.next()?.parse().ok()?;
    let process = parts.next()?.parse().ok()?;
    let index = parts.next()?.parse().ok()?;
    (pack(generation, process, index).name() == name).then_some(generation)
}

pub(super) fn parse_source(name: &str) -> Option<u32> {
    let source = name.parse().ok()?;
    (source_dir(source).name() == name).then_some(source)
}

/// The name of a journal and the first entry of its segment of this name.
pub(crate) fn parse_journal(name: &str) -> Option<(&str, u64)> {
    let stem = name.strip_suffix(".journal")?;
    let (journal_name, number) = stem.rsplit_once('-')?;
    let first = number.parse().ok()?;
    (journal(0, journal_name, first).name() == name).then_some((journal_name, first))
}
