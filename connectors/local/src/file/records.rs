//! What the file source writes down, byte by byte: entries of its journals, details of its plans and
//! splits, its state; and how the older forms are read.

use millstream_connectors_api::{ConnectorError, PlannedRange};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::position;

/// Version of details and states.
const VERSION: u32 = 2;

/// First byte of a file's entry.
const FILE_ENTRY: u8 = 1;

/// A file as it was when it was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InputFile {
    pub(super) path: String,
    pub(super) size: u64,
    /// Modification time in nanoseconds since 1970.
    pub(super) mtime_ns: i64,
}

impl InputFile {
    pub(super) fn mtime_ms(&self) -> i64 {
        self.mtime_ns / 1_000_000
    }

    /// The entry of the journal `files`.
    pub(super) fn to_entry(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(17 + self.path.len());
        bytes.push(FILE_ENTRY);
        self.append_to(&mut bytes);
        bytes
    }

    pub(super) fn of_entry(bytes: &[u8]) -> Result<InputFile, ConnectorError> {
        let what = "an entry of the files that were planned is damaged";
        match bytes.split_first() {
            Some((&FILE_ENTRY, rest)) => InputFile::parse(rest, what),
            _ => Err(ConnectorError::Internal { what }),
        }
    }

    fn append_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.mtime_ns.to_le_bytes());
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(self.path.as_bytes());
    }

    fn parse(bytes: &[u8], what: &'static str) -> Result<InputFile, ConnectorError> {
        let damaged = || ConnectorError::Internal { what };
        let (mtime_ns, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let (size, path) = rest.split_first_chunk().ok_or_else(damaged)?;
        Ok(InputFile {
            path: String::from_utf8(path.to_vec()).map_err(|_| damaged())?,
            size: u64::from_le_bytes(*size),
            mtime_ns: i64::from_le_bytes(*mtime_ns),
        })
    }
}

/// How a planned file is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terms {
    /// As it was planned.
    Planned,
    /// As it is now: the user accepted that it changed.
    Accepted,
    /// As it was planned by a version that kept milliseconds and no journals.
    Old,
}

/// What a reader is told: a file, and its number in the journal `files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileSplit {
    pub(super) number: u64,
    pub(super) terms: Terms,
    pub(super) file: InputFile,
}

impl FileSplit {
    pub(super) fn to_detail(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(25 + self.file.path.len());
        bytes.push(match self.terms {
            Terms::Planned => 0,
            Terms::Accepted => 1,
            Terms::Old => 2,
        });
        bytes.extend_from_slice(&self.number.to_le_bytes());
        self.file.append_to(&mut bytes);
        bytes
    }

    pub(super) fn of_detail(bytes: &[u8]) -> Result<FileSplit, ConnectorError> {
        let what = "a split of a file source cannot be read back";
        let damaged = || ConnectorError::Internal { what };
        let (terms, rest) = bytes.split_first().ok_or_else(damaged)?;
        let (number, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        Ok(FileSplit {
            number: u64::from_le_bytes(*number),
            terms: match terms {
                0 => Terms::Planned,
                1 => Terms::Accepted,
                2 => Terms::Old,
                _ => return Err(damaged()),
            },
            file: InputFile::parse(rest, what)?,
        })
    }
}

/// What makes a file the same file again: the first 96 of 128 bits of XXH3 over its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fingerprint([u8; 12]);

impl Fingerprint {
    pub(super) fn of(key: &str) -> Fingerprint {
        let bytes = xxh3_128(key.as_bytes()).to_be_bytes();
        Fingerprint(bytes.first_chunk().copied().unwrap_or_default())
    }

    /// Its first bytes, as a number of the same order.
    pub(super) fn first(self) -> u64 {
        self.0
            .first_chunk()
            .map_or(0, |first| u64::from_be_bytes(*first))
    }
}

/// What tells a file from itself after it changed: 32 bits of XXH3 over its size and time. One that
/// is unknown, from an entry of an earlier version, is equal to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp([u8; 4]);

impl Stamp {
    pub(super) const UNKNOWN: Stamp = Stamp([0; 4]);

    pub(super) fn of(size: u64, mtime_ns: i64) -> Stamp {
        let bytes = [size.to_le_bytes(), mtime_ns.to_le_bytes()].concat();
        let hash = xxh3_64(&bytes).to_le_bytes();
        let stamp = Stamp(hash.first_chunk().copied().unwrap_or_default());
        if stamp == Stamp::UNKNOWN {
            Stamp([1; 4])
        } else {
            stamp
        }
    }

    /// Whether a file that had this stamp may be unchanged, now that it has another.
    pub(super) fn allows(self, now: Stamp) -> bool {
        self == Stamp::UNKNOWN || self == now
    }
}

/// First byte of the entry of a file that counts as seen. Those of an earlier version had none, and
/// no stamp, and four bytes more of the fingerprint.
const SEEN_ENTRY: u8 = 2;
const OLD_SEEN_BYTES: usize = 20;

/// A file that counts as seen. Also the entry of the journal `known`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SeenFile {
    pub(super) fingerprint: Fingerprint,
    /// Modification time in whole seconds since 1970, as far as 32 bits go.
    mtime_s: [u8; 4],
    pub(super) stamp: Stamp,
}

impl SeenFile {
    pub(super) fn new(fingerprint: Fingerprint, mtime_ms: i64, stamp: Stamp) -> SeenFile {
        SeenFile {
            fingerprint,
            mtime_s: seconds(mtime_ms).to_be_bytes(),
            stamp,
        }
    }

    /// Whether it is not older than an instant, to the second.
    pub(super) fn reaches(&self, at_ms: i64) -> bool {
        u32::from_be_bytes(self.mtime_s) >= seconds(at_ms)
    }

    pub(super) fn to_entry(self) -> Vec<u8> {
        [
            &[SEEN_ENTRY][..],
            &self.fingerprint.0,
            &self.mtime_s,
            &self.stamp.0,
        ]
        .concat()
    }

    pub(super) fn of_entry(bytes: &[u8]) -> Result<SeenFile, ConnectorError> {
        SeenFile::parse(bytes).ok_or(ConnectorError::Internal {
            what: "an entry of the files that were seen is damaged",
        })
    }

    fn parse(bytes: &[u8]) -> Option<SeenFile> {
        if bytes.len() == OLD_SEEN_BYTES {
            let (fingerprint, _) = bytes.split_first_chunk()?;
            let (_, mtime_s) = bytes.split_last_chunk()?;
            return Some(SeenFile {
                fingerprint: Fingerprint(*fingerprint),
                mtime_s: *mtime_s,
                stamp: Stamp::UNKNOWN,
            });
        }
        let (&SEEN_ENTRY, rest) = bytes.split_first()? else {
            return None;
        };
        let (fingerprint, rest) = rest.split_first_chunk()?;
        let (mtime_s, stamp) = rest.split_first_chunk()?;
        Some(SeenFile {
            fingerprint: Fingerprint(*fingerprint),
            mtime_s: *mtime_s,
            stamp: Stamp(stamp.try_into().ok()?),
        })
    }
}

fn seconds(ms: i64) -> u32 {
    u32::try_from(ms.max(0) / 1_000).unwrap_or(u32::MAX)
}

/// Where a source stands after a range: a few numbers, whatever it has seen. Its state, and a part of
/// every detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    v: u32,
    /// Ranges planned so far; the offset of the next one.
    pub(super) planned: u64,
    /// The end of the journal `files`.
    pub(super) files: u64,
    /// The entries of the journal `known` that count.
    pub(super) known: (u64, u64),
    /// Modification time of the newest file taken, but no later than the clock of its plan: a file
    /// from the future must not make all others old.
    pub(super) newest_ms: i64,
    /// Files older than this count as seen.
    pub(super) horizon_ms: i64,
    /// The horizon when what was seen was last swept.
    pub(super) swept_ms: i64,
}

impl Default for Standing {
    fn default() -> Standing {
        Standing {
            v: VERSION,
            planned: 0,
            files: 0,
            known: (0, 0),
            newest_ms: i64::MIN,
            horizon_ms: i64::MIN,
            swept_ms: i64::MIN,
        }
    }
}

/// What a source of an earlier version had seen: all of it.
#[derive(Debug, Deserialize)]
pub(super) struct OldSeen {
    /// Path or name, and modification time in milliseconds.
    pub(super) files: std::collections::BTreeMap<String, i64>,
    newest_ms: i64,
    horizon_ms: i64,
    swept_ms: i64,
}

/// A state, in the form of this version or of an earlier one.
#[derive(Debug)]
pub(super) enum State {
    Standing(Standing),
    Old(Standing, OldSeen),
}

impl Standing {
    pub(super) fn to_state(self) -> Vec<u8> {
        position::bytes(&self).unwrap_or_default()
    }
}

impl State {
    pub(super) fn parse(bytes: &[u8]) -> Result<State, ConnectorError> {
        let what = "the state of a file source is damaged";
        if bytes.first() != Some(&b'[') {
            let standing: Standing = position::parse(bytes, what)?;
            if standing.v != VERSION {
                return Err(ConnectorError::Internal { what });
            }
            return Ok(State::Standing(standing));
        }
        let (planned, seen): (u64, OldSeen) = position::parse(bytes, what)?;
        let standing = Standing {
            planned,
            newest_ms: seen.newest_ms,
            horizon_ms: seen.horizon_ms,
            swept_ms: seen.swept_ms,
            ..Standing::default()
        };
        Ok(State::Old(standing, seen))
    }
}

/// What a planned range consists of.
#[derive(Debug)]
pub(super) enum Detail {
    /// Entries of the journal `files`, up to where the source stood afterwards.
    Entries { first: u64, after: Standing },
    /// The files themselves, as earlier versions wrote them.
    Old(Vec<InputFile>),
}

#[derive(Serialize, Deserialize)]
struct EntriesForm {
    first: u64,
    after: Standing,
}

#[derive(Deserialize)]
struct OldForm {
    files: Vec<OldFile>,
}

#[derive(Deserialize)]
struct OldFile {
    path: String,
    size: u64,
    /// Modification time in milliseconds.
    mtime: i64,
}

impl Detail {
    pub(super) fn entries(first: u64, after: Standing) -> Result<Vec<u8>, ConnectorError> {
        position::bytes(&EntriesForm { first, after })
    }

    pub(super) fn of(range: &PlannedRange) -> Result<Detail, ConnectorError> {
        let what = "a plan of a file source cannot be read back";
        let entries = serde_json::from_slice::<EntriesForm>(&range.detail);
        if let Ok(EntriesForm { first, after }) = entries {
            if after.v != VERSION || first > after.files {
                return Err(ConnectorError::Internal { what });
            }
            return Ok(Detail::Entries { first, after });
        }
        let old: OldForm = position::parse(&range.detail, what)?;
        let files = old.files.into_iter().map(|file| InputFile {
            path: file.path,
            size: file.size,
            mtime_ns: file.mtime.saturating_mul(1_000_000),
        });
        Ok(Detail::Old(files.collect()))
    }
}

/// What a reader found when it read a file: what every later reading must find again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// How many bytes it gave: fewer than were planned if the file was gone or could not be read.
    pub(super) bytes: u64,
    /// XXH3 over these bytes.
    pub(super) digest: u64,
}

impl Outcome {
    /// The entry of the journal `read`, for the file with this number.
    pub(super) fn to_entry(self, number: u64) -> Vec<u8> {
        [number, self.bytes, self.digest]
            .map(u64::to_le_bytes)
            .concat()
    }

    pub(super) fn of_entry(bytes: &[u8]) -> Result<(u64, Outcome), ConnectorError> {
        let words = bytes.as_chunks::<8>();
        let ([number, bytes, digest], []) = words else {
            return Err(ConnectorError::Internal {
                what: "an entry of the files that were read is damaged",
            });
        };
        let outcome = Outcome {
            bytes: u64::from_le_bytes(*bytes),
            digest: u64::from_le_bytes(*digest),
        };
        Ok((u64::from_le_bytes(*number), outcome))
    }
}

#[cfg(test)]
mod tests {
    use millstream_connectors_api::Position;

    use super::*;

    #[test]
    fn entries_go_both_ways_and_damage_is_an_error() {
        let file = InputFile {
            path: "/a/ü.json".to_owned(),
            size: 7,
            mtime_ns: -1,
        };
        let entry = file.to_entry();
        assert_eq!(InputFile::of_entry(&entry).expect("own entry"), file);
        for len in 0..17 {
            assert!(InputFile::of_entry(&entry[..len]).is_err(), "{len}");
        }
        for terms in [Terms::Planned, Terms::Accepted, Terms::Old] {
            let split = FileSplit {
                number: u64::MAX,
                terms,
                file: file.clone(),
            };
            let detail = split.to_detail();
            assert_eq!(FileSplit::of_detail(&detail).expect("own detail"), split);
        }
        let seen = SeenFile::new(Fingerprint::of("x"), 12_345, Stamp::of(1, 2));
        assert!(seen.reaches(12_999) && !seen.reaches(13_000));
        assert_eq!(SeenFile::of_entry(&seen.to_entry()).expect("own"), seen);
        assert!(SeenFile::of_entry(&[0; 19]).is_err());
        let outcome = Outcome {
            bytes: 3,
            digest: 4,
        };
        let entry = outcome.to_entry(9);
        assert_eq!(Outcome::of_entry(&entry).expect("own"), (9, outcome));
        assert!(Outcome::of_entry(&entry[1..]).is_err());
    }

    #[test]
    fn other_versions_are_refused() {
        let range = |detail: &str| PlannedRange {
            start: None,
            end: Position(String::new()),
            detail: detail.as_bytes().to_vec(),
        };
        let mut standing = Standing::default();
        let detail = Detail::entries(0, standing).expect("numbers");
        assert!(Detail::of(&range(&String::from_utf8_lossy(&detail))).is_ok());
        standing.v = 3;
        assert!(State::parse(&standing.to_state()).is_err());
        let detail = Detail::entries(0, standing).expect("numbers");
        assert!(Detail::of(&range(&String::from_utf8_lossy(&detail))).is_err());
        assert!(Detail::of(&range("{}")).is_err());
    }
}
