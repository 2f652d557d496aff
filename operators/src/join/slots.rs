//! Slots: the index of one side of a join.
//!
//! Every kept row has a slot, a small number under which the index knows it while batches are merged
//! beneath it. Slots of equal key hashes form a chain, doubly linked, so that a row goes without
//! looking at the others of its key; a table of chain heads is the only part that is hashed. [A key
//! with a million rows costs a removal as much as one with a single row.]

use hashbrown::HashTable;

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// Where a row stands: which batch, which row of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) batch: u32,
    pub(super) row: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    hash: u64,
    next: u32,
    prev: u32,
    place: Place,
}

/// Rows by key hash.
#[derive(Debug, Default)]
pub(super) struct Slots {
    links: Vec<Link>,
    free: Vec<u32>,
    heads: HashTable<(u64, u32)>,
}

impl Slots {
    /// Slots in use.
    pub(super) fn len(&self) -> usize {
        self.links.len() - self.free.len()
    }

    /// One more than the largest slot that was ever given.
    pub(super) fn capacity(&self) -> usize {
        self.links.len()
    }

    /// A slot for a row, at the head of its chain.
    pub(super) fn add(&mut self, hash: u64, place: Place) -> u32 {
        let mut link = Link {
            hash,
            next: NONE,
            prev: NONE,
            place,
        };
        let slot = match self.free.last() {
            Some(slot) => *slot,
            // 4 G rows of one worker fill memory long before.
            None => u32::try_from(self.links.len()).unwrap_or(NONE),
        };
        assert!(slot != NONE, "a side of a join has too many rows");
        let mut head = self
            .heads
            .entry(hash, |(of, _)| *of == hash, |(of, _)| *of)
            .or_insert((hash, NONE));
        let (_, first) = head.get_mut();
        link.next = *first;
        *first = slot;
        if link.next != NONE {
            self.links[link.next as usize].prev = slot;
        }
        if self.free.pop().is_some() {
            self.links[slot as usize] = link;
        } else {
            self.links.push(link);
        }
        slot
    }

    /// Takes a slot out of its chain. It keeps its place until it is [freed](Slots::free).
    pub(super) fn unlink(&mut self, slot: u32) {
        let Link {
            hash, next, prev, ..
        } = self.links[slot as usize];
        if next != NONE {
            self.links[next as usize].prev = prev;
        }
        if prev != NONE {
            self.links[prev as usize].next = next;
            return;
        }
        let Ok(mut head) = self.heads.find_entry(hash, |(of, _)| *of == hash) else {
            return;
        };
        if next == NONE {
            head.remove();
        } else {
            head.get_mut().1 = next;
        }
    }

    /// Gives an unlinked slot back.
    pub(super) fn free(&mut self, slot: u32) {
        self.free.push(slot);
    }

    /// The first slot of a key hash.
    #[inline]
    pub(super) fn first(&self, hash: u64) -> u32 {
        let found = self.heads.find(hash, |(of, _)| *of == hash);
        found.map_or(NONE, |(_, slot)| *slot)
    }

    /// The slot after another in its chain.
    #[inline]
    pub(super) fn next(&self, slot: u32) -> u32 {
        self.links[slot as usize].next
    }

    #[inline]
    pub(super) fn place(&self, slot: u32) -> Place {
        self.links[slot as usize].place
    }

    pub(super) fn moved(&mut self, slot: u32, place: Place) {
        self.links[slot as usize].place = place;
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.links.capacity() * size_of::<Link>()
            + self.free.capacity() * size_of::<u32>()
            + self.heads.allocation_size()
    }

    /// Gives memory back after many rows have gone.
    pub(super) fn shrink(&mut self) {
        if self.len() == 0 {
            *self = Slots::default();
        } else if self.heads.capacity() > 4 * self.heads.len() + 1024 {
            self.heads
                .shrink_to(2 * self.heads.len(), |(hash, _)| *hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn chain(slots: &Slots, hash: u64) -> Vec<u32> {
        let mut found = Vec::new();
        let mut slot = slots.first(hash);
        while slot != NONE {
            found.push(slot);
            slot = slots.next(slot);
        }
        found
    }

    proptest! {
        #[test]
        fn chains_hold_what_was_added_and_not_removed(steps in proptest::collection::vec((0_u64..6, any::<bool>(), 0_usize..50), 0..200)) {
            let mut slots = Slots::default();
            let mut model: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
            for (row, (hash, adds, at)) in (0u32..).zip(steps) {
                let held = model.entry(hash).or_default();
                if adds || held.is_empty() {
                    held.insert(0, slots.add(hash, Place { batch: 0, row }));
                } else {
                    let slot = held.remove(at % held.len());
                    slots.unlink(slot);
                    slots.free(slot);
                }
                slots.shrink();
                for (hash, held) in &model {
                    prop_assert_eq!(&chain(&slots, *hash), held);
                }
                prop_assert_eq!(slots.len(), model.values().map(Vec::len).sum::<usize>());
            }
        }
    }
}
