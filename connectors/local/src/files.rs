//! Every operation on files that this crate makes, and nothing else: the place where another disk
//! can be slotted under.
//!
//! What changes the disk is in `writing`; `fault` lets tests say which of it fails.

#[cfg(test)]
pub(crate) mod fault;
#[cfg(not(test))]
mod fault;
mod writing;

pub(crate) use writing::{
    Named, create, create_dirs, empty, link, lock, remove, remove_dir, rename, sync, sync_dir,
    sync_once, write,
};

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use millstream_connectors_api::ConnectorError;

/// What the system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    /// Milliseconds since 1970.
    pub(crate) modified_ms: i64,
    /// The same in nanoseconds.
    pub(crate) modified_ns: i64,
    /// When it got its name or its contents, in milliseconds since 1970: later than the modification
    /// time where a file was copied or moved here with its old time.
    pub(crate) changed_ms: i64,
    pub(crate) is_dir: bool,
    /// Whether it is a file that can be read to its end: no pipe, socket or device.
    pub(crate) is_regular: bool,
    pub(crate) id: FileId,
}

/// What tells two names of one thing from two things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// What a directory says of an entry without looking at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Regular,
    Directory,
    /// A link, or something that is gone already: only a look tells.
    Unclear,
    /// A pipe, socket or device.
    Special,
}

/// The error for an operation that the system refused.
pub(crate) fn refused(action: &'static str, path: &Path, source: io::Error) -> ConnectorError {
    ConnectorError::Io {
        action,
        path: path.display().to_string(),
        source,
    }
}

/// The absolute path that the text of an option names, with or without `file:` before it.
pub(crate) fn absolute(text: &str) -> Result<PathBuf, ConnectorError> {
    let local = match text.strip_prefix("file:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None => text,
    };
    std::path::absolute(local).map_err(|source| refused("resolve", Path::new(text), source))
}

/// What is at `path`; `None` if nothing is.
pub(crate) fn stat(path: &Path) -> Result<Option<Stat>, ConnectorError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(stat_of(&metadata))),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(refused("read", path, error)),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Whether a name leads nowhere because links go round in circles or it became too long on the way.
pub(crate) fn is_endless(error: &io::Error) -> bool {
    // ELOOP and ENAMETOOLONG; the standard library has no stable names for them.
    let codes = if cfg!(target_os = "linux") {
        [40, 36]
    } else {
        [62, 63]
    };
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

fn stat_of(metadata: &fs::Metadata) -> Stat {
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
    let modified_ns = match modified.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    };
    Stat {
        size: metadata.len(),
        // Towards 1970, as the milliseconds of older checkpoints were.
        modified_ms: modified_ns / 1_000_000,
        modified_ns,
        changed_ms: changed_ms(metadata).unwrap_or(modified_ns / 1_000_000),
        is_dir: metadata.is_dir(),
        is_regular: metadata.is_file(),
        id: id_of(metadata),
    }
}

#[cfg(unix)]
fn changed_ms(metadata: &fs::Metadata) -> Option<i64> {
    use std::os::unix::fs::MetadataExt;
    metadata.ctime().checked_mul(1_000)
}

#[cfg(not(unix))]
fn changed_ms(_metadata: &fs::Metadata) -> Option<i64> {
    None
}

#[cfg(unix)]
fn id_of(metadata: &fs::Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    FileId {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

/// Nothing is known to be the same thing.
#[cfg(not(unix))]
fn id_of(_metadata: &fs::Metadata) -> FileId {
    FileId {
        device: 0,
        inode: 0,
    }
}

/// The path without links, `.` and `..`, as far as it exists; what does not exist yet stays as it
/// is written.
pub(crate) fn canonical(path: &Path) -> Result<PathBuf, ConnectorError> {
    let mut missing = Vec::new();
    let mut existing = path;
    loop {
        match fs::canonicalize(existing) {
            Ok(mut found) => {
                found.extend(missing.iter().rev());
                return Ok(found);
            }
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(refused("resolve", path, error)),
        }
        let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else {
            return Ok(path.to_owned());
        };
        missing.push(name);
        existing = parent;
    }
}

/// Hands over the entries of a directory in no order: names that are not UTF-8 as `Err`. False if
/// there is no such directory.
pub(crate) fn scan(
    dir: &Path,
    take: &mut dyn FnMut(Result<&str, &Path>, EntryKind),
) -> Result<bool, ConnectorError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(false),
        Err(error) => return Err(refused("list", dir, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| refused("list", dir, error))?;
        let kind = match entry.file_type() {
            Ok(kind) if kind.is_file() => EntryKind::Regular,
            Ok(kind) if kind.is_dir() => EntryKind::Directory,
            Ok(kind) if !kind.is_symlink() => EntryKind::Special,
            Ok(_) | Err(_) => EntryKind::Unclear,
        };
        let name = entry.file_name();
        take(name.to_str().ok_or(Path::new(&name)), kind);
    }
    Ok(true)
}

/// Calls `take` with each name in a directory, in no order. For directories
/// of so many names that a list of them would be too long. Names that are not UTF-8 are left out.
pub(crate) fn each_name(
    dir: &Path,
    take: &mut dyn FnMut(&str) -> Result<(), ConnectorError>,
) -> Result<(), ConnectorError> {
    let entries = fs::read_dir(dir).map_err(|error| refused("list", dir, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| refused("list", dir, error))?;
        if let Some(name) = entry.file_name().to_str() {
            take(name)?;
        }
    }
    Ok(())
}

/// A file to read, and what it is now; `None` if it is gone.
pub(crate) fn open(path: &Path) -> Result<Option<(File, Stat)>, ConnectorError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(refused("read", path, error)),
    };
    let metadata = file
        .metadata()
        .map_err(|error| refused("read", path, error))?;
    Ok(Some((file, stat_of(&metadata))))
}

/// A regular file to read, and what it is now; `None` if it is gone or is none. A pipe is never
/// opened: that would wait for whoever writes into it.
pub(crate) fn open_regular(path: &Path) -> Result<Option<(File, Stat)>, ConnectorError> {
    if !stat(path)?.is_some_and(|stat| stat.is_regular) {
        return Ok(None);
    }
    let opened = open(path)?;
    Ok(opened.filter(|(_, stat)| stat.is_regular))
}

/// The `file:` address of an absolute path.
pub(crate) fn to_uri(path: &Path) -> String {
    let mut uri = String::from("file://");
    for byte in path.as_os_str().as_encoded_bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"/-_.!~*'()=+$,;:@&".contains(byte);
        if plain {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

/// The path of a `file:` address; other text is a path already.
pub(crate) fn from_uri(uri: &str) -> PathBuf {
    match uri.strip_prefix("file:") {
        Some(rest) => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            PathBuf::from(percent_decode(path))
        }
        None => PathBuf::from(uri),
    }
}

/// Text with `%41` read as `A`; what is no such sequence stands for itself.
pub(crate) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match digits {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or(&[]);
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_both_ways() {
        for path in ["/a/b c/ü%41.json", "/x/k=v/part-0.json"] {
            assert_eq!(from_uri(&to_uri(Path::new(path))), PathBuf::from(path));
        }
        assert_eq!(from_uri("file:/a/b"), PathBuf::from("/a/b"));
        assert_eq!(percent_decode("100%é%+1%2"), "100%é%+1%2");
    }

    #[test]
    fn refusals_are_con_006() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let error = create(&dir.path().join("no/such/dir")).expect_err("no parent");
        assert_eq!(millstream_types::Coded::code(&error).0, "CON-006");
        let there = scan(&dir.path().join("nothing"), &mut |_, _| {});
        assert!(!there.expect("absent is nothing"));
    }
}
