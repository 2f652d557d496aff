//! Groups by one text, the second most common key after one number.
//!
//! A text is a view of 16 bytes: its length, and itself if it is short, otherwise its beginning and where
//! its bytes stand. Two short texts are the same when their views are, so most rows are found with one look
//! into the table and one at a view, and nothing is encoded on the way.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray, StringBuilder},
    datatypes::DataType,
};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::number;
use crate::error::{OperatorError, Result};

/// Bytes of a text that fits into its view.
const SHORT_MAX: usize = 12;

/// Length in the lowest 32 bits. Of a short text the bytes follow, and zeros; of a longer one its first
/// four bytes, and then its start among the bytes of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct View(u128);

impl View {
    /// The view of a short text that begins at `start`.
    #[inline]
    fn short(bytes: &[u8], start: usize, len: usize) -> View {
        // Twelve bytes are read at once where there are as many, and those behind the text dropped.
        let read = bytes
            .get(start..)
            .and_then(<[u8]>::first_chunk::<SHORT_MAX>);
        let mut room = [0; 16];
        let (_, place) = room.split_at_mut(4);
        match read {
            Some(read) => place.copy_from_slice(read),
            None => place[..len].copy_from_slice(&bytes[start..start + len]),
        }
        let mask = u128::MAX >> (96 - 8 * len);
        View((u128::from_le_bytes(room) & mask) | len as u128)
    }

    /// The view of a longer text whose bytes stand at `at`.
    #[inline]
    fn long(text: &[u8], at: usize) -> View {
        let first = text.first_chunk::<4>().copied().unwrap_or_default();
        let first = u128::from(u32::from_le_bytes(first)) << 32;
        View(((at as u128) << 64) | first | text.len() as u128)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lowest 32 bits")]
    fn len(self) -> usize {
        self.0 as u32 as usize
    }

    fn is_short(self) -> bool {
        self.len() <= SHORT_MAX
    }

    /// Where a longer text stands.
    #[expect(clippy::cast_possible_truncation, reason = "the highest 64 bits")]
    fn start(self) -> usize {
        (self.0 >> 64) as usize
    }

    /// Whether two longer texts have one length and beginning.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    fn begins_like(self, other: View) -> bool {
        self.0 as u64 == other.0 as u64
    }

    /// Spreads a short text over 64 bits; only this process ever sees it.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are mixed")]
    fn spread(self) -> u64 {
        let (low, high) = (self.0 as u64, (self.0 >> 64) as u64);
        let folded = u128::from(low ^ 0x9E37_79B9_7F4A_7C15)
            .wrapping_mul(u128::from(high ^ 0xF39C_C060_5CED_C835));
        let mixed = (folded >> 64) as u64 ^ folded as u64;
        // A factor that happens to be zero must not hide the other.
        let again = u128::from(mixed ^ low.rotate_left(32)).wrapping_mul(0x2D35_8DCC_AA6C_78A5);
        (again >> 64) as u64 ^ again as u64
    }
}

/// Different texts and their numbers.
pub(super) struct Texts {
    /// The upper half of each hash, and the number.
    table: HashTable<(u32, u32)>,
    views: Vec<View>,
    /// The longer texts, one after the other.
    bytes: Vec<u8>,
    null: Option<u32>,
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Texts")
            .field("groups", &self.views.len())
            .finish_non_exhaustive()
    }
}

fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
}

fn texts(column: &ArrayRef) -> Result<&StringArray> {
    let texts = column.as_string_opt::<i32>();
    texts.ok_or_else(|| OperatorError::contract("a table of texts was given another key"))
}

impl Texts {
    pub(super) fn serves(data_type: &DataType) -> bool {
        *data_type == DataType::Utf8
    }

    pub(super) fn new() -> Texts {
        Texts {
            table: HashTable::new(),
            views: Vec::new(),
            bytes: Vec::new(),
            null: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.views.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.table.allocation_size()
            + self.views.capacity() * size_of::<View>()
            + self.bytes.capacity()
    }

    pub(super) fn bytes_of(&self, group: u32) -> usize {
        let view = self.views[group as usize];
        size_of::<View>() + if view.is_short() { 0 } else { view.len() }
    }

    pub(super) fn intern(&mut self, column: &ArrayRef, groups: &mut Vec<u32>) -> Result<()> {
        let column = texts(column)?;
        let (bytes, offsets) = (column.values().as_slice(), column.value_offsets());
        let nulls = column.nulls();
        for (row, ends) in offsets.windows(2).enumerate() {
            let group = match nulls {
                Some(nulls) if nulls.is_null(row) => self.null_group()?,
                Some(_) | None => {
                    let [start, end] = [ends[0], ends[1]].map(usize_of);
                    self.group(bytes, start, end)?
                }
            };
            groups.push(group);
        }
        Ok(())
    }

    pub(super) fn find(&self, column: &ArrayRef) -> Result<Vec<Option<u32>>> {
        let column = texts(column)?;
        let find = |text: Option<&str>| match text {
            None => self.null,
            Some(text) => {
                let text = text.as_bytes();
                let hash = hash(text, 0, text.len());
                let found = self.table.find(hash, self.same(text, 0, text.len(), hash));
                found.map(|(_, group)| *group)
            }
        };
        Ok(column.iter().map(find).collect())
    }

    /// The texts of some groups, or of all in their order.
    pub(super) fn column(&self, groups: Option<&[u32]>) -> Result<ArrayRef> {
        let all: Vec<u32>;
        let groups = match groups {
            Some(groups) => groups,
            None => {
                all = (0..number(self.views.len())?).collect();
                &all
            }
        };
        let lens = groups.iter().map(|group| self.views[*group as usize].len());
        let mut column = StringBuilder::with_capacity(groups.len(), lens.sum());
        for group in groups {
            if self.null == Some(*group) {
                column.append_null();
                continue;
            }
            let view = self.views[*group as usize];
            let short = view.0.to_le_bytes();
            let text = if view.is_short() {
                &short[4..4 + view.len()]
            } else {
                &self.bytes[view.start()..view.start() + view.len()]
            };
            let text = std::str::from_utf8(text)
                .map_err(|_| OperatorError::contract("a text among the keys is none"))?;
            column.append_value(text);
        }
        Ok(Arc::new(column.finish()))
    }

    /// Whether an entry is that of a text.
    #[inline]
    fn same(
        &self,
        bytes: &[u8],
        start: usize,
        end: usize,
        hash: u64,
    ) -> impl Fn(&(u32, u32)) -> bool {
        let text = &bytes[start..end];
        let is_short = text.len() <= SHORT_MAX;
        let wanted = if is_short {
            View::short(bytes, start, text.len())
        } else {
            View::long(text, 0)
        };
        move |(seen, group)| {
            let held = self.views[*group as usize];
            *seen == upper(hash)
                && if is_short {
                    held == wanted && self.null != Some(*group)
                } else {
                    held.begins_like(wanted)
                        && self.bytes[held.start()..held.start() + text.len()] == *text
                }
        }
    }

    #[inline]
    fn group(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<u32> {
        let hash = hash(bytes, start, end);
        let found = self.table.find(hash, self.same(bytes, start, end, hash));
        match found {
            Some((_, group)) => Ok(*group),
            None => self.insert(bytes, start, end, hash),
        }
    }

    #[cold]
    fn insert(&mut self, bytes: &[u8], start: usize, end: usize, hash: u64) -> Result<u32> {
        let group = number(self.views.len())?;
        let text = &bytes[start..end];
        self.views.push(if text.len() <= SHORT_MAX {
            View::short(bytes, start, text.len())
        } else {
            let at = self.bytes.len();
            self.bytes.extend_from_slice(text);
            View::long(text, at)
        });
        let Texts {
            table,
            views,
            bytes: held,
            ..
        } = self;
        table.insert_unique(hash, (upper(hash), group), |(_, group)| {
            let view = views[*group as usize];
            if view.is_short() {
                view.spread()
            } else {
                xxh3_64(&held[view.start()..view.start() + view.len()])
            }
        });
        Ok(group)
    }

    fn null_group(&mut self) -> Result<u32> {
        if let Some(group) = self.null {
            return Ok(group);
        }
        let group = number(self.views.len())?;
        // The null group has a place among the views but none in the table.
        self.views.push(View(0));
        self.null = Some(group);
        Ok(group)
    }
}

#[inline]
fn hash(bytes: &[u8], start: usize, end: usize) -> u64 {
    if end - start <= SHORT_MAX {
        View::short(bytes, start, end - start).spread()
    } else {
        xxh3_64(&bytes[start..end])
    }
}

/// An offset of arrow, which is never negative.
#[inline]
fn usize_of(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}
