//! Names of files inside a checkpoint.

use std::fmt;

/// Longest name of one part, in bytes: what common file systems take.
const PART_BYTES_MAX: usize = 255;
/// Longest path, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// A path below the base of a [`Disk`](super::Disk): parts joined by `/`; never absolute, never
/// upwards. A path that was read from a file goes through [`RelPath::new`] before it is used, so
/// that no damaged or hostile manifest reaches a file outside its checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(String);

/// Why a text is no [`RelPath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a path inside a checkpoint path={path:?} reason={reason}")]
pub struct BadPath {
    /// The text, cut after 100 characters.
    pub path: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl RelPath {
    /// Checks a path.
    ///
    /// # Errors
    /// For an empty, absolute, upward, over-long or otherwise unusual path.
    pub fn new(path: &str) -> Result<RelPath, BadPath> {
        let bad = |reason| BadPath {
            path: path.chars().take(100).collect(),
            reason,
        };
        if path.len() > PATH_BYTES_MAX {
            return Err(bad("too long"));
        }
        for part in path.split('/') {
            if part.is_empty() {
                return Err(bad("a part is empty"));
            }
            if part == "." || part == ".." {
                return Err(bad("a part is . or .."));
            }
            if part.len() > PART_BYTES_MAX {
                return Err(bad("a part is longer than 255 bytes"));
            }
            if part.bytes().any(|b| b == 0 || b == b'\\' || b == b':') {
                return Err(bad("a part has a NUL, a backslash or a colon"));
            }
        }
        Ok(RelPath(path.to_owned()))
    }

    /// The base itself; only directories operations take it.
    #[must_use]
    pub fn root() -> RelPath {
        RelPath(String::new())
    }

    /// A path of this crate's own making.
    pub(crate) fn own(path: String) -> RelPath {
        debug_assert!(RelPath::new(&path).is_ok(), "{path}");
        RelPath(path)
    }

    /// The directory that holds this path; the root's is the root.
    #[must_use]
    pub fn parent(&self) -> RelPath {
        RelPath(
            self.0
                .rsplit_once('/')
                .map_or_else(String::new, |(dir, _)| dir.to_owned()),
        )
    }

    /// The last part; empty for the root.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The path of `name` in this directory.
    ///
    /// # Errors
    /// As [`RelPath::new`].
    pub fn join(&self, name: &str) -> Result<RelPath, BadPath> {
        if self.0.is_empty() {
            RelPath::new(name)
        } else {
            RelPath::new(&format!("{}/{name}", self.0))
        }
    }

    /// The path as text; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let long = "x".repeat(256);
        for bad in [
            "", "/", "/etc", "a//b", "a/", "..", "a/../b", ".", "a\0b", "c:x", "a\\b", &long,
        ] {
            assert!(RelPath::new(bad).is_err(), "{bad:?}");
        }
        for good in ["lock", "state/pack-1-0-0", "a.b", "...", "ä", &long[1..]] {
            assert!(RelPath::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn parents_and_names() {
        let path = RelPath::new("state/pack-1").expect("a good path");
        assert_eq!(path.parent().as_str(), "state");
        assert_eq!(path.name(), "pack-1");
        assert_eq!(path.parent().parent(), RelPath::root());
        assert_eq!(path.parent().join("pack-1"), Ok(path));
        assert_eq!(RelPath::root().join("a").map(|p| p.name().len()), Ok(1));
    }
}
