//! Bytes: little-endian fields, and the envelope around everything this crate writes.
//!
//! Decoding trusts nothing: a length is compared with what is left before memory is taken, every
//! byte must be used, and no input panics. [INV-10]
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// Bytes of an envelope around its body: magic, version, zero, length; checksum.
pub(crate) const ENVELOPE_BYTES: usize = 16;
const HEAD_BYTES: usize = 12;

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There are fewer bytes than announced.
    #[error("cut short want_bytes={want} got_bytes={got}")]
    Cut {
        /// Bytes that were announced.
        want: u64,
        /// Bytes that are there.
        got: u64,
    },
    /// The first bytes are not those of this format.
    #[error("not a file of this kind want={want:?} got={got:?}")]
    Magic {
        /// What they should be.
        want: String,
        /// What they are.
        got: String,
    },
    /// The checksum differs.
    #[error("checksum differs want={want:08x} got={got:08x}")]
    Checksum {
        /// The stored one.
        want: u32,
        /// The one of the bytes as they are.
        got: u32,
    },
    /// Whole, but of a version that this program does not know.
    #[error("unknown version found={found} newest={newest}")]
    Version {
        /// The version in the file.
        found: u16,
        /// The newest version known here.
        newest: u16,
    },
    /// Whole, but of a program that spreads keys by another hash.
    #[error("another key hash found={found:?} known={known:?}")]
    Hash {
        /// The hash that it names.
        found: String,
        /// The one of this program.
        known: &'static str,
    },
    /// A field has a value that no writer writes.
    #[error("impossible value in {field}")]
    Value {
        /// The field.
        field: &'static str,
    },
    /// Bytes are left over.
    #[error("{bytes} bytes too many")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// What is to be written is longer than a reader would accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub(crate) bytes: usize,
    pub(crate) bytes_max: usize,
}

/// A kind of envelope.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) magic: [u8; 4],
    /// The newest version of the body; all before it, from 1 on, are read too.
    pub(crate) version: u16,
    pub(crate) body_bytes_max: usize,
}

/// An envelope whose checksum agrees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) crc: u32,
    /// The version of the body.
    pub(crate) version: u16,
    /// Length with the envelope.
    pub(crate) len: usize,
}

impl Kind {
    /// Puts a body of the newest version into its envelope.
    pub(crate) fn seal(&self, body: &[u8]) -> Result<Vec<u8>, TooLong> {
        self.seal_as(self.version, body)
    }

    /// Puts a body into its envelope.
    pub(crate) fn seal_as(&self, version: u16, body: &[u8]) -> Result<Vec<u8>, TooLong> {
        let too_long = TooLong {
            bytes: body.len(),
            bytes_max: self.body_bytes_max,
        };
        let len = u32::try_from(body.len()).map_err(|_| too_long)?;
        if body.len() > self.body_bytes_max {
            return Err(too_long);
        }
        let mut out = Vec::with_capacity(body.len().saturating_add(ENVELOPE_BYTES));
        out.extend_from_slice(&self.magic);
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(body);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        Ok(out)
    }

    /// The checksum of an envelope that [`Kind::seal`] made.
    pub(crate) fn checksum(sealed: &[u8]) -> u32 {
        let crc = sealed.last_chunk::<4>();
        crc.map_or(0, |crc| u32::from_le_bytes(*crc))
    }

    /// How long the envelope is that begins with these bytes; of too few of them, the least.
    /// Not to be believed before it was opened, but bounded.
    pub(crate) fn announced(&self, bytes: &[u8]) -> usize {
        let len = bytes
            .get(HEAD_BYTES.saturating_sub(4)..)
            .and_then(|rest| rest.first_chunk::<4>())
            .map_or(0, |len| u32::from_le_bytes(*len));
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        len.min(self.body_bytes_max).saturating_add(ENVELOPE_BYTES)
    }

    /// Opens the envelope at the start of `bytes`; more may follow it.
    pub(crate) fn open<'a>(&self, bytes: &'a [u8]) -> Result<Opened<'a>, DecodeError> {
        let mut head = Reader::new(bytes);
        let magic = head.array::<4>()?;
        if magic != self.magic {
            return Err(DecodeError::Magic {
                want: String::from_utf8_lossy(&self.magic).into_owned(),
                got: magic.escape_ascii().to_string(),
            });
        }
        let version = head.u16()?;
        let zero = head.u16()?;
        let body_len = usize::try_from(head.u32()?).unwrap_or(usize::MAX);
        if body_len > self.body_bytes_max {
            return Err(DecodeError::Value { field: "length" });
        }
        let body = head.take(body_len)?;
        let covered = bytes.get(..HEAD_BYTES.saturating_add(body_len));
        let want = head.u32()?;
        let got = crc32c::crc32c(covered.unwrap_or_default());
        if want != got {
            return Err(DecodeError::Checksum { want, got });
        }
        // Only after the checksum: a torn write must not look like a newer program's.
        if version == 0 || version > self.version {
            return Err(DecodeError::Version {
                found: version,
                newest: self.version,
            });
        }
        if zero != 0 {
            return Err(DecodeError::Value { field: "reserved" });
        }
        Ok(Opened {
            body,
            crc: want,
            version,
            len: body_len.saturating_add(ENVELOPE_BYTES),
        })
    }

    /// Opens an envelope that fills the whole file.
    pub(crate) fn open_whole<'a>(&self, bytes: &'a [u8]) -> Result<Opened<'a>, DecodeError> {
        let opened = self.open(bytes)?;
        match bytes.len().saturating_sub(opened.len) {
            0 => Ok(opened),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }
}

/// Collects fields.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// A length or count. One beyond 32 bits saturates; such a body is refused by [`Kind::seal`].
    pub(crate) fn count(&mut self, len: usize) {
        self.u32(u32::try_from(len).unwrap_or(u32::MAX));
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.bytes.extend_from_slice(value);
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes fields off the front.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Cut {
            want: u64::try_from(len).unwrap_or(u64::MAX),
            got: u64::try_from(self.rest.len()).unwrap_or(u64::MAX),
        })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Cut {
            want: u64::try_from(N).unwrap_or(u64::MAX),
            got: u64::try_from(self.rest.len()).unwrap_or(u64::MAX),
        })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Value { field }),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_le_bytes)
    }

    /// A count of items that take at least `item_bytes_min` each, so that memory may be taken.
    pub(crate) fn count(&mut self, item_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        let want = count.saturating_mul(item_bytes_min.max(1));
        if want > self.rest.len() {
            return Err(DecodeError::Cut {
                want: u64::try_from(want).unwrap_or(u64::MAX),
                got: u64::try_from(self.rest.len()).unwrap_or(u64::MAX),
            });
        }
        Ok(count)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.count(1)?;
        self.take(len)
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<String, DecodeError> {
        std::str::from_utf8(self.bytes()?)
            .map(str::to_owned)
            .map_err(|_| DecodeError::Value { field })
    }

    /// Ends the reading; nothing may be left.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }
}
