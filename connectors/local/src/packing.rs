//! Compressed files: which form a name says, bytes out of a file and into one.
//!
//! Forms are known by the end of a name, as in Spark. Unpacking is a stream: what it holds is bounded
//! by the form (a window of 32 KiB for gzip, 128 MiB at most for zstd, some 4 MiB for bzip2), whatever
//! a file says of itself. Packing makes whole members, one after the other, which is a whole file in
//! each of the forms; so rows may be packed where they are encoded. Tests: `tests`, and those of `file`.

#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};

use bzip2::{read::MultiBzDecoder, write::BzEncoder};
use flate2::{
    read::{MultiGzDecoder, ZlibDecoder},
    write::GzEncoder,
};

/// A form in which a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Bzip2,
    Zstd,
    /// zlib, which Hadoop calls deflate. Members do not follow one another, so it is read only.
    Deflate,
}

/// The ends of names, of what can be read.
const KNOWN: [(&str, Packing); 5] = [
    (".gz", Packing::Gzip),
    (".gzip", Packing::Gzip),
    (".bz2", Packing::Bzip2),
    (".zst", Packing::Zstd),
    (".deflate", Packing::Deflate),
];

/// What Spark unpacks and we do not: framings of Hadoop's own, which no other program writes.
const FOREIGN: [&str; 2] = [".lz4", ".snappy"];

/// The form that the name of a file says, in small or capital letters; `None` if it is none.
pub(crate) fn of_name(name: &str) -> Option<Packing> {
    let known = KNOWN.iter().find(|(end, _)| ends_with(name, end));
    known.map(|(_, packing)| *packing)
}

/// The end of a name that says a form which is not read.
pub(crate) fn foreign(name: &str) -> Option<&'static str> {
    FOREIGN.into_iter().find(|end| ends_with(name, end))
}

/// Whether a name ends so, in small or capital letters.
fn ends_with(name: &str, end: &str) -> bool {
    let start = name.len().checked_sub(end.len());
    let tail = start.and_then(|start| name.get(start..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

impl Packing {
    /// The value of the option `compression` of a sink; `Some(None)` for none.
    pub(crate) fn parse(text: &str) -> Option<Option<Packing>> {
        match text.trim().to_ascii_lowercase().as_str() {
            "none" | "uncompressed" => Some(None),
            "gzip" => Some(Some(Packing::Gzip)),
            "bzip2" => Some(Some(Packing::Bzip2)),
            "zstd" => Some(Some(Packing::Zstd)),
            _ => None,
        }
    }

    /// What names of such files end with.
    pub(crate) fn end(self) -> &'static str {
        match self {
            Packing::Gzip => ".gz",
            Packing::Bzip2 => ".bz2",
            Packing::Zstd => ".zst",
            Packing::Deflate => ".deflate",
        }
    }

    /// The bytes that are packed in others. Reading fails where those are damaged or cut off, and
    /// gives what is before.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn unpack(
        self,
        packed: impl Read + Send + 'static,
    ) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Packing::Bzip2 => Box::new(MultiBzDecoder::new(packed)),
            Packing::Zstd => Box::new(zstd::Decoder::new(packed)?),
            Packing::Deflate => Box::new(ZlibDecoder::new(packed)),
        })
    }

    /// A whole member with these bytes.
    ///
    /// # Errors
    /// When there is no memory for it, or for [`Deflate`](Packing::Deflate), which is not written.
    pub(crate) fn pack(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let room = Vec::with_capacity(bytes.len() / 4 + 64);
        match self {
            Packing::Gzip => {
                let mut packer = GzEncoder::new(room, flate2::Compression::default());
                packer.write_all(bytes)?;
                packer.finish()
            }
            Packing::Bzip2 => {
                let mut packer = BzEncoder::new(room, bzip2::Compression::default());
                packer.write_all(bytes)?;
                packer.finish()
            }
            Packing::Zstd => {
                let mut packer = zstd::Encoder::new(room, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                packer.include_checksum(true)?;
                packer.write_all(bytes)?;
                packer.finish()
            }
            Packing::Deflate => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}
