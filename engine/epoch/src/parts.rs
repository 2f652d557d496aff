//! Reading of files that must be there: what is missing or too short is damage, not an error of the
//! disk.

use std::io;

use crate::{Disk, EpochError, RelPath};

/// The length of bytes in memory as that of a file.
pub(crate) fn byte_count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Bytes of a file that must be there.
pub(crate) fn read_part(
    disk: &dyn Disk,
    file: &RelPath,
    offset: u64,
    len: u64,
) -> Result<Vec<u8>, EpochError> {
    let damaged = |reason: &str| EpochError::Damaged {
        file: file.clone(),
        reason: reason.to_owned(),
    };
    disk.read_range(file, offset, len).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            damaged("it is missing")
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            damaged("it is too short")
        } else {
            EpochError::disk("read", file)(error)
        }
    })
}

/// The length of a file that must be there.
pub(crate) fn file_bytes(disk: &dyn Disk, file: &RelPath) -> Result<u64, EpochError> {
    disk.size(file).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return EpochError::Damaged {
                file: file.clone(),
                reason: "it is missing".to_owned(),
            };
        }
        EpochError::disk("look at", file)(error)
    })
}
