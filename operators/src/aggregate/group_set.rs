//! Sets of groups of one table, and the hasher of maps over numbers that are spread already.

use std::hash::{BuildHasherDefault, Hasher};

/// For maps over group numbers and key hashes: one multiplication is enough.
pub(super) type NumberHasher = BuildHasherDefault<Multiply>;

/// Multiplies.
#[derive(Default)]
pub(super) struct Multiply(u64);

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }
    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// Where fewer than one in so many groups are marked, sorting them is cheaper than looking at all.
const SPARSE: usize = 32;

/// Groups that something happened to, each once.
#[derive(Debug, Default)]
pub(super) struct GroupSet {
    is_marked: Vec<bool>,
    groups: Vec<u32>,
}

impl GroupSet {
    /// Marks groups and says which were not marked before.
    pub(super) fn mark(&mut self, groups: &[u32], size: usize) -> Vec<u32> {
        self.is_marked.resize(size, false);
        let mut fresh = Vec::new();
        for group in groups {
            let is_marked = &mut self.is_marked[*group as usize];
            if !*is_marked {
                *is_marked = true;
                fresh.push(*group);
            }
        }
        self.groups.extend_from_slice(&fresh);
        fresh
    }

    pub(super) fn take(&mut self) -> Vec<u32> {
        for group in &self.groups {
            self.is_marked[*group as usize] = false;
        }
        std::mem::take(&mut self.groups)
    }

    /// The same in the order of their numbers, so that who goes through them goes through memory in order.
    pub(super) fn take_in_order(&mut self) -> Vec<u32> {
        if self.groups.len() < self.is_marked.len() / SPARSE {
            let mut groups = self.take();
            groups.sort_unstable();
            return groups;
        }
        self.groups = Vec::new();
        let marks = (0u32..).zip(&mut self.is_marked);
        let marked = marks.filter_map(|(group, is_marked)| {
            let is_in = std::mem::take(is_marked);
            is_in.then_some(group)
        });
        marked.collect()
    }

    /// The marked groups, in the order of their marks.
    pub(super) fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.is_marked.capacity() + self.groups.capacity() * size_of::<u32>()
    }

    /// Whether a group is marked.
    pub(super) fn has(&self, group: u32) -> bool {
        self.is_marked.get(group as usize).copied().unwrap_or(false)
    }
}
