//! `KeyTable`: from key columns to dense group numbers.
//!
//! Groups are numbered from 0 in order of first sight, so that everything about a group can stand
//! in plain columns beside the table. One integer-like key, the common case, is a word; one text is a
//! view (`texts`); other keys are encoded rows.

mod texts;

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array},
    compute,
    datatypes::{
        DataType, Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
        TimestampMicrosecondType,
    },
};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use texts::Texts;

use crate::{
    error::{OperatorError, Result},
    rows::RowCodec,
};

/// Distinct keys and their numbers.
#[derive(Debug)]
pub struct KeyTable {
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    /// No key columns: one group.
    Single {
        seen: bool,
    },
    Words(Words),
    Texts(Texts),
    Rows(Rows),
}

#[derive(Debug)]
struct Words {
    data_type: DataType,
    table: HashTable<u32>,
    words: Vec<i64>,
    null: Option<u32>,
}

struct Rows {
    codec: RowCodec,
    table: HashTable<(u64, u32)>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows")
            .field("groups", &self.ends.len())
            .finish_non_exhaustive()
    }
}

fn is_word(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, _)
    )
}

/// Spreads a word over 64 bits; only this process ever sees it.
fn spread(word: i64) -> u64 {
    let folded =
        u128::from(word.cast_unsigned()).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are mixed")]
    let mixed = (folded >> 64) as u64 ^ folded as u64;
    mixed
}

fn number(groups: usize) -> Result<u32> {
    u32::try_from(groups).map_err(|_| OperatorError::contract("more than 2^32 groups in a table"))
}

fn only(columns: &[ArrayRef]) -> Result<&ArrayRef> {
    match columns {
        [column] => Ok(column),
        _ => Err(OperatorError::contract(
            "a table of one key was given others",
        )),
    }
}

impl KeyTable {
    /// A table for keys of these types.
    ///
    /// # Errors
    /// When a type cannot be a key.
    pub fn new(types: &[DataType]) -> Result<KeyTable> {
        let shape = match types {
            [] => Shape::Single { seen: false },
            [one] if is_word(one) => Shape::Words(Words {
                data_type: one.clone(),
                table: HashTable::new(),
                words: Vec::new(),
                null: None,
            }),
            [one] if Texts::serves(one) => Shape::Texts(Texts::new()),
            more => Shape::Rows(Rows {
                codec: RowCodec::new(more)?,
                table: HashTable::new(),
                bytes: Vec::new(),
                ends: Vec::new(),
            }),
        };
        Ok(KeyTable { shape })
    }

    /// Number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.shape {
            Shape::Single { seen } => usize::from(*seen),
            Shape::Words(words) => words.words.len(),
            Shape::Texts(texts) => texts.len(),
            Shape::Rows(rows) => rows.ends.len(),
        }
    }

    /// Whether there is no group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.shape {
            Shape::Single { .. } => 0,
            Shape::Words(words) => words.words.capacity() * 8 + words.table.allocation_size(),
            Shape::Texts(texts) => texts.bytes(),
            Shape::Rows(rows) => {
                rows.bytes.capacity() + rows.ends.capacity() * 8 + rows.table.allocation_size()
            }
        }
    }

    /// The keys in their order, where each is one word; no key is null there.
    #[must_use]
    pub fn words(&self) -> &[i64] {
        match &self.shape {
            Shape::Words(words) => &words.words,
            Shape::Single { .. } | Shape::Texts(_) | Shape::Rows(_) => &[],
        }
    }

    /// Replaces each key that is one word by another; different keys must stay different.
    pub fn renumber(&mut self, number: impl Fn(i64) -> i64) {
        if let Shape::Words(Words { table, words, .. }) = &mut self.shape {
            words.iter_mut().for_each(|word| *word = number(*word));
            table.clear();
            for (group, word) in (0u32..).zip(words.iter()) {
                table.insert_unique(spread(*word), group, |held| spread(words[*held as usize]));
            }
        }
    }

    /// Bytes of one key, about.
    #[must_use]
    pub fn bytes_of(&self, group: u32) -> usize {
        match &self.shape {
            Shape::Single { .. } => 0,
            Shape::Words(_) => 8,
            Shape::Texts(texts) => texts.bytes_of(group),
            Shape::Rows(rows) => rows.row(group).len(),
        }
    }

    /// Appends the group of each row to `groups`, making new groups as needed.
    ///
    /// # Errors
    /// When the columns have other types than the table, or there are 2^32 groups.
    pub fn intern(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        groups: &mut Vec<u32>,
    ) -> Result<()> {
        groups.reserve(rows);
        match &mut self.shape {
            Shape::Single { seen } => {
                *seen |= rows > 0;
                groups.resize(groups.len() + rows, 0);
                Ok(())
            }
            Shape::Words(table) => table.intern(only(columns)?, groups),
            Shape::Texts(table) => table.intern(only(columns)?, groups),
            Shape::Rows(table) => table.intern(columns, groups),
        }
    }

    /// The group of each row, as far as there is one; makes none.
    ///
    /// # Errors
    /// When the columns have other types than the table.
    pub fn find(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Option<u32>>> {
        match &self.shape {
            Shape::Single { seen } => Ok(vec![seen.then_some(0); rows]),
            Shape::Words(table) => table.find(only(columns)?),
            Shape::Texts(table) => table.find(only(columns)?),
            Shape::Rows(table) => table.find(columns),
        }
    }

    /// The key columns of some groups, or of all in their order.
    ///
    /// # Errors
    /// Never for groups of this table.
    pub fn columns(&self, groups: Option<&[u32]>) -> Result<Vec<ArrayRef>> {
        match &self.shape {
            Shape::Single { .. } => Ok(Vec::new()),
            Shape::Words(table) => Ok(vec![table.column(groups)?]),
            Shape::Texts(table) => Ok(vec![table.column(groups)?]),
            Shape::Rows(table) => match groups {
                Some(groups) => table
                    .codec
                    .decode(groups.iter().map(|group| table.row(*group))),
                None => {
                    let all = 0..number(table.ends.len())?;
                    table.codec.decode(all.map(|group| table.row(group)))
                }
            },
        }
    }
}

impl Words {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "arrow has more types than this function serves"
    )]
    fn intern(&mut self, column: &ArrayRef, groups: &mut Vec<u32>) -> Result<()> {
        match column.data_type() {
            DataType::Int8 => self.each(
                column
                    .as_primitive::<Int8Type>()
                    .iter()
                    .map(|v| v.map(i64::from)),
                groups,
            ),
            DataType::Int16 => self.each(
                column
                    .as_primitive::<Int16Type>()
                    .iter()
                    .map(|v| v.map(i64::from)),
                groups,
            ),
            DataType::Int32 => self.each(
                column
                    .as_primitive::<Int32Type>()
                    .iter()
                    .map(|v| v.map(i64::from)),
                groups,
            ),
            DataType::Date32 => self.each(
                column
                    .as_primitive::<Date32Type>()
                    .iter()
                    .map(|v| v.map(i64::from)),
                groups,
            ),
            DataType::Int64 => {
                let array = column.as_primitive::<Int64Type>();
                if array.null_count() == 0 {
                    self.dense(array.values(), groups)
                } else {
                    self.each(array.iter(), groups)
                }
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let array = column.as_primitive::<TimestampMicrosecondType>();
                if array.null_count() == 0 {
                    self.dense(array.values(), groups)
                } else {
                    self.each(array.iter(), groups)
                }
            }
            other => Err(OperatorError::contract(format!(
                "a key of type {other} is no word"
            ))),
        }
    }

    fn dense(&mut self, words: &[i64], groups: &mut Vec<u32>) -> Result<()> {
        for word in words {
            let group = self.group(*word)?;
            groups.push(group);
        }
        Ok(())
    }

    fn each(
        &mut self,
        words: impl Iterator<Item = Option<i64>>,
        groups: &mut Vec<u32>,
    ) -> Result<()> {
        for word in words {
            let group = match word {
                Some(word) => self.group(word)?,
                None => self.null_group()?,
            };
            groups.push(group);
        }
        Ok(())
    }

    #[inline]
    fn group(&mut self, word: i64) -> Result<u32> {
        let Words {
            table, words, null, ..
        } = self;
        let null = *null;
        let hash = spread(word);
        let is_it = |group: &u32| words[*group as usize] == word && null != Some(*group);
        if let Some(group) = table.find(hash, is_it) {
            return Ok(*group);
        }
        let group = number(words.len())?;
        words.push(word);
        table.insert_unique(hash, group, |group| spread(words[*group as usize]));
        Ok(group)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "arrow has more types than this function serves"
    )]
    fn find(&self, column: &ArrayRef) -> Result<Vec<Option<u32>>> {
        let mut words: Vec<Option<i64>> = Vec::with_capacity(column.len());
        let wide = match column.data_type() {
            // A timestamp has no cast to a number of its own unit; its values are read as they are.
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let times = column.as_primitive::<TimestampMicrosecondType>();
                Arc::new(times.reinterpret_cast::<Int64Type>()) as ArrayRef
            }
            DataType::Date32 => compute::cast(column, &DataType::Int32)
                .and_then(|days| compute::cast(&days, &DataType::Int64))
                .map_err(OperatorError::arrow("widening keys"))?,
            _ => compute::cast(column, &DataType::Int64)
                .map_err(OperatorError::arrow("widening keys"))?,
        };
        words.extend(wide.as_primitive::<Int64Type>().iter());
        Ok(words
            .into_iter()
            .map(|word| match word {
                None => self.null,
                Some(word) => self
                    .table
                    .find(spread(word), |group| self.is_it(*group, word))
                    .copied(),
            })
            .collect())
    }

    fn is_it(&self, group: u32, word: i64) -> bool {
        self.words[group as usize] == word && self.null != Some(group)
    }

    fn null_group(&mut self) -> Result<u32> {
        if let Some(group) = self.null {
            return Ok(group);
        }
        let group = number(self.words.len())?;
        // The null group has a place among the words but none in the table.
        self.words.push(0);
        self.null = Some(group);
        Ok(group)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "arrow has more types than this function serves"
    )]
    fn column(&self, groups: Option<&[u32]>) -> Result<ArrayRef> {
        let value = |group: u32| (self.null != Some(group)).then(|| self.words[group as usize]);
        let words: Int64Array = match groups {
            Some(groups) => groups.iter().map(|group| value(*group)).collect(),
            None => (0..number(self.words.len())?).map(value).collect(),
        };
        if let DataType::Timestamp(TimeUnit::Microsecond, zone) = &self.data_type {
            let times = words.reinterpret_cast::<TimestampMicrosecondType>();
            return Ok(Arc::new(times.with_timezone_opt(zone.clone())));
        }
        let narrow = match &self.data_type {
            DataType::Date32 => {
                let days = compute::cast(&words, &DataType::Int32)
                    .map_err(OperatorError::arrow("narrowing keys"))?;
                return compute::cast(&days, &DataType::Date32)
                    .map_err(OperatorError::arrow("narrowing keys"));
            }
            other => other,
        };
        compute::cast(&words, narrow).map_err(OperatorError::arrow("narrowing keys"))
    }
}

impl Rows {
    fn row(&self, group: u32) -> &[u8] {
        let group = group as usize;
        let start = group.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[group]]
    }

    fn find(&self, columns: &[ArrayRef]) -> Result<Vec<Option<u32>>> {
        let encoded = self.codec.encode(columns)?;
        let find = |row: &[u8]| {
            let hash = xxh3_64(row);
            let same = |(seen, group): &(u64, u32)| *seen == hash && self.row(*group) == row;
            self.table.find(hash, same).map(|(_, group)| *group)
        };
        Ok(encoded.iter().map(|row| find(row.data())).collect())
    }

    fn intern(&mut self, columns: &[ArrayRef], groups: &mut Vec<u32>) -> Result<()> {
        let encoded = self.codec.encode(columns)?;
        for row in &encoded {
            let row: &[u8] = row.as_ref();
            let hash = xxh3_64(row);
            let Rows {
                table, bytes, ends, ..
            } = self;
            let same = |(seen, group): &(u64, u32)| {
                let group = *group as usize;
                let start = group.checked_sub(1).map_or(0, |before| ends[before]);
                *seen == hash && &bytes[start..ends[group]] == row
            };
            let group = match table.find(hash, same) {
                Some((_, group)) => *group,
                None => {
                    let group = number(ends.len())?;
                    bytes.extend_from_slice(row);
                    ends.push(bytes.len());
                    table.insert_unique(hash, (hash, group), |(hash, _)| *hash);
                    group
                }
            };
            groups.push(group);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::array::{Int32Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn check(columns: &[Vec<ArrayRef>]) {
        let types: Vec<_> = columns[0].iter().map(|c| c.data_type().clone()).collect();
        let mut table = KeyTable::new(&types).expect("types are keys");
        let mut model: HashMap<String, u32> = HashMap::new();
        for batch in columns {
            let mut groups = Vec::new();
            table
                .intern(batch, batch[0].len(), &mut groups)
                .expect("interns");
            let text = |row: usize| -> String {
                batch
                    .iter()
                    .map(|c| format!("{:?}|", c.slice(row, 1)))
                    .collect()
            };
            for (row, group) in groups.iter().enumerate() {
                let next = u32::try_from(model.len()).expect("few groups");
                assert_eq!(*model.entry(text(row)).or_insert(next), *group);
            }
            let found = table.find(batch, batch[0].len()).expect("finds");
            assert_eq!(
                found,
                groups.iter().map(|group| Some(*group)).collect::<Vec<_>>()
            );
            let back = table.columns(Some(&groups)).expect("decodes");
            assert_eq!(&back, batch);
        }
        assert_eq!(table.len(), model.len());
    }

    proptest! {
        #[test]
        fn words_and_rows_find_their_groups(
            numbers in prop::collection::vec(prop::option::weighted(0.9, -3i32..3), 1..200),
            text in prop::collection::vec(prop::option::weighted(0.9, "[ab]{0,2}"), 200),
        ) {
            let ints: ArrayRef = Arc::new(Int32Array::from(numbers.clone()));
            let wide: ArrayRef = Arc::new(Int64Array::from_iter(numbers.iter().map(|n| n.map(i64::from))));
            let words: ArrayRef = Arc::new(StringArray::from_iter(text.iter().take(numbers.len())));
            check(&[vec![ints.clone()], vec![ints.clone()]]);
            check(&[vec![wide.clone()], vec![wide.clone()]]);
            check(&[vec![words.clone()], vec![words.clone()]]);
            check(&[vec![ints, words.clone()], vec![Arc::new(Int32Array::from(numbers)), words]]);
        }
    }

    proptest! {
        /// Texts around the length at which a view is full, with zeros, in columns that were cut.
        #[test]
        fn texts_find_their_groups(
            texts in prop::collection::vec(
                prop::option::weighted(0.9, "[a\u{0}]{0,3}|[ab]{10,15}|é{5,8}"),
                2..300,
            ),
            from in 0_usize..2,
        ) {
            let whole = StringArray::from_iter(&texts);
            let cut: ArrayRef = Arc::new(whole.slice(from, whole.len() - from));
            check(&[vec![cut], vec![Arc::new(whole)]]);
        }
    }

    #[test]
    fn no_keys_make_one_group() {
        let mut table = KeyTable::new(&[]).expect("no keys");
        let mut groups = Vec::new();
        assert!(table.is_empty());
        table.intern(&[], 3, &mut groups).expect("interns");
        assert_eq!((groups, table.len()), (vec![0, 0, 0], 1));
    }
}
