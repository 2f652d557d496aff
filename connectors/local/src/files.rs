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
    Named, create, create_dirs, empty, link, lock, remove, rename, sync, sync_dir, sync_once, write,
};

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use millstream_connectors_api::ConnectorError;

/// What a listing says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    /// Milliseconds since 1970.
    pub(crate) modified_ms: i64,
    pub(crate) is_dir: bool,
}

/// A name in a directory.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) is_dir: bool,
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

fn stat_of(metadata: &fs::Metadata) -> Stat {
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
    let modified_ms = match modified.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    };
    Stat {
        size: metadata.len(),
        modified_ms,
        is_dir: metadata.is_dir(),
    }
}

/// The entries of a directory, in order of their names; none if it does not exist. Names that are
/// not UTF-8 are left out. Files are not looked at: a directory may hold very many.
pub(crate) fn list(dir: &Path) -> Result<Vec<Entry>, ConnectorError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(refused("list", dir, error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| refused("list", dir, error))?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let is_dir = match entry.file_type() {
            Ok(kind) if !kind.is_symlink() => kind.is_dir(),
            _ => stat(&path)?.is_some_and(|stat| stat.is_dir),
        };
        found.push(Entry { name, path, is_dir });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
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
        assert!(
            list(&dir.path().join("nothing"))
                .expect("absent is empty")
                .is_empty()
        );
    }
}
