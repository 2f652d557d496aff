//! The different values of one group with their counts, sorted.
//!
//! Most groups have few values, and lists grow at their end, because a value begins with its place in
//! the input: a vector holds both without spare nodes. A tree takes over when a long vector would have
//! to make room in its middle.

use std::collections::BTreeMap;

/// Entries of a vector that may be moved to make room for another.
const MOVED_MAX: usize = 64;

/// Bytes of an entry in a tree that grows, beside the value's own: nodes have room for eleven and
/// are between half and three quarters full.
const TREE_ENTRY_BYTES: usize = 48;

/// A value and how often it is there.
type Entry = (Box<[u8]>, i64);

/// Values and counts; a count is never zero.
#[derive(Debug)]
pub(super) enum Values {
    Sorted(Vec<Entry>),
    Tree(BTreeMap<Box<[u8]>, i64>),
}

impl Default for Values {
    fn default() -> Values {
        Values::Sorted(Vec::new())
    }
}

impl Values {
    pub(super) fn len(&self) -> usize {
        match self {
            Values::Sorted(entries) => entries.len(),
            Values::Tree(entries) => entries.len(),
        }
    }

    /// Bytes held beside the values' own.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Values::Sorted(entries) => entries.capacity() * size_of::<Entry>(),
            Values::Tree(entries) => entries.len() * TREE_ENTRY_BYTES,
        }
    }

    /// Adds to the count of a value. Says by how much the bytes of the values themselves grew.
    pub(super) fn add(&mut self, value: &[u8], count: i64) -> isize {
        if count == 0 {
            return 0;
        }
        match self {
            Values::Sorted(entries) => {
                let place = match entries.last() {
                    // The end is where values of a list come.
                    Some((last, _)) if **last < *value => Err(entries.len()),
                    _ => entries.binary_search_by(|(held, _)| (**held).cmp(value)),
                };
                let moves = entries.len() - place.unwrap_or_else(|place| place);
                match place {
                    Ok(place) if entries[place].1 + count != 0 => {
                        entries[place].1 += count;
                        return 0;
                    }
                    _ if moves > MOVED_MAX => {
                        *self = Values::Tree(std::mem::take(entries).into_iter().collect());
                        return self.add(value, count);
                    }
                    Ok(place) => {
                        entries.remove(place);
                    }
                    Err(place) => {
                        if entries.len() == entries.capacity() {
                            entries.reserve_exact(entries.len().max(1));
                        }
                        entries.insert(place, (value.into(), count));
                        return value.len().cast_signed();
                    }
                }
            }
            Values::Tree(entries) => match entries.get_mut(value) {
                Some(held) if *held + count != 0 => {
                    *held += count;
                    return 0;
                }
                Some(_) => {
                    entries.remove(value);
                }
                None => {
                    entries.insert(value.into(), count);
                    return value.len().cast_signed();
                }
            },
        }
        -value.len().cast_signed()
    }

    /// Values and counts in order.
    pub(super) fn iter(&self) -> Iter<'_> {
        match self {
            Values::Sorted(entries) => Iter::Sorted(entries.iter()),
            Values::Tree(entries) => Iter::Tree(entries.iter()),
        }
    }
}

/// See [`Values::iter`].
#[derive(Debug)]
pub(super) enum Iter<'a> {
    Sorted(std::slice::Iter<'a, Entry>),
    Tree(std::collections::btree_map::Iter<'a, Box<[u8]>, i64>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], i64);

    fn next(&mut self) -> Option<(&'a [u8], i64)> {
        match self {
            Iter::Sorted(entries) => entries.next().map(|(value, count)| (&**value, *count)),
            Iter::Tree(entries) => entries.next().map(|(value, count)| (&**value, *count)),
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Sorted(entries) => entries.next_back().map(|(value, count)| (&**value, *count)),
            Iter::Tree(entries) => entries.next_back().map(|(value, count)| (&**value, *count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However values come and go, a vector and a tree hold what a map holds.
        #[test]
        fn values_are_those_of_a_map(
            steps in proptest::collection::vec((0_u16..300, -1_i64..2), 1..900),
            ascending in any::<bool>(),
        ) {
            let (mut values, mut map) = (Values::default(), BTreeMap::new());
            let mut bytes = 0;
            for (at, (number, count)) in steps.into_iter().enumerate() {
                let number = if ascending { number / 8 + u16::try_from(at).unwrap_or(0) } else { number };
                let value = number.to_be_bytes();
                bytes += values.add(&value, count);
                let held = map.entry(value).or_insert(0);
                *held += count;
                if *held == 0 {
                    map.remove(&value);
                }
                prop_assert_eq!(values.len(), map.len());
            }
            let expected: Vec<_> = map.iter().map(|(value, count)| (&value[..], *count)).collect();
            prop_assert_eq!(values.iter().collect::<Vec<_>>(), expected.clone());
            let backwards: Vec<_> = values.iter().rev().collect();
            prop_assert_eq!(backwards, expected.into_iter().rev().collect::<Vec<_>>());
            prop_assert_eq!(bytes.unsigned_abs(), 2 * map.len());
        }
    }
}
