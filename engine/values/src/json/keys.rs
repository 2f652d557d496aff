//! Which column a key of an object belongs to.
//!
//! Data of one producer has its keys in one order, some of them left out at times: so the key that
//! followed last time nearly always follows again, and one comparison of bytes replaces parsing and
//! hashing. What does not follow is found by its hash. A key costs a bounded number of steps in any
//! order and among any number of keys, and the memory is bounded however many keys there are.
#![deny(clippy::indexing_slicing)]

use std::{collections::HashMap, sync::Arc};

use super::scan::{Quoted, Scan, Syntax, unescape};

/// Keys remembered at most.
const KEYS_MAX: usize = 8_192;
/// Bytes of all remembered keys at most.
const KEYS_BYTES_MAX: usize = 256 << 10;
/// Longest key that is remembered, in bytes.
const KEY_BYTES_MAX: usize = 256;
/// How many successors are tried before a key is parsed: as many keys may be left out at no cost.
const AHEAD_MAX: usize = 4;
/// Most bytes that an escape takes for one byte of what it stands for.
const ESCAPE_BYTES_MAX: usize = 6;
/// No key.
const NONE: usize = usize::MAX;

/// A key that occurred in an earlier object.
#[derive(Debug)]
struct Known {
    /// From its first byte to the colon.
    text: Arc<[u8]>,
    target: Option<usize>,
    /// The key that came after it last time.
    next: usize,
}

/// Where in an object the reader stands: the key that was read last and the one expected now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    last: usize,
    next: usize,
}

/// The keys of one kind of object.
#[derive(Debug)]
pub(crate) struct Keys {
    names: HashMap<Box<[u8]>, usize>,
    name_bytes_max: usize,
    known: Vec<Known>,
    by_text: HashMap<Arc<[u8]>, usize>,
    /// The key that objects begin with.
    first: usize,
    known_bytes: usize,
    /// New keys that found the memory full.
    turned_away: usize,
    scratch: Vec<u8>,
    #[cfg(test)]
    steps: usize,
}

impl Keys {
    /// Knows the names of columns; of two that are equal the first counts.
    pub(crate) fn new<'a>(names: impl Iterator<Item = (usize, &'a str)>) -> Keys {
        let mut by_name = HashMap::new();
        let mut name_bytes_max = 0;
        for (idx, name) in names {
            name_bytes_max = name_bytes_max.max(name.len());
            by_name.entry(name.as_bytes().into()).or_insert(idx);
        }
        Keys {
            names: by_name,
            name_bytes_max,
            known: Vec::new(),
            by_text: HashMap::new(),
            first: NONE,
            known_bytes: 0,
            turned_away: 0,
            scratch: Vec::new(),
            #[cfg(test)]
            steps: 0,
        }
    }

    /// The beginning of an object.
    #[inline(always)]
    pub(crate) fn begin(&self) -> Place {
        Place {
            last: NONE,
            next: self.first,
        }
    }

    /// Goes over a key and its colon and says which column it belongs to.
    #[inline(always)]
    pub(crate) fn read(
        &mut self,
        scan: &mut Scan<'_>,
        place: &mut Place,
    ) -> Result<Option<usize>, Syntax> {
        #[cfg(test)]
        (self.steps += 1);
        match self.known.get(place.next) {
            Some(known) if scan.take(&known.text) => {
                place.last = place.next;
                place.next = known.next;
                Ok(known.target)
            }
            Some(known) => {
                let after = known.next;
                self.ahead(scan, place, after)
            }
            None => self.parsed(scan, place),
        }
    }

    /// Some keys were left out, or another order begins.
    #[inline(never)]
    fn ahead(
        &mut self,
        scan: &mut Scan<'_>,
        place: &mut Place,
        mut at: usize,
    ) -> Result<Option<usize>, Syntax> {
        for _ in 0..AHEAD_MAX {
            let Some(known) = self.known.get(at) else {
                break;
            };
            #[cfg(test)]
            (self.steps += 1);
            if scan.take(&known.text) {
                place.last = at;
                place.next = known.next;
                return Ok(known.target);
            }
            at = known.next;
        }
        self.parsed(scan, place)
    }

    #[cold]
    fn parsed(&mut self, scan: &mut Scan<'_>, place: &mut Place) -> Result<Option<usize>, Syntax> {
        #[cfg(test)]
        (self.steps += 1);
        let start = scan.at();
        let quoted = scan.key()?;
        scan.skip_blanks();
        scan.expect(b':', "no colon after an object key")?;
        let text = scan.since(start);
        if text.len() > KEY_BYTES_MAX {
            return Ok(self.target(quoted));
        }
        if let Some(idx) = self.by_text.get(text).copied() {
            return Ok(self.follow(place, idx));
        }
        let target = self.target(quoted);
        if self.has_room(text.len(), place) {
            #[cfg(test)]
            (self.steps += 1);
            let idx = self.known.len();
            let text: Arc<[u8]> = text.into();
            self.known_bytes += text.len();
            self.by_text.insert(Arc::clone(&text), idx);
            let next = place.next;
            self.known.push(Known { text, target, next });
            self.follow(place, idx);
        }
        Ok(target)
    }

    /// Goes on to a known key and remembers that it came after the last one.
    fn follow(&mut self, place: &mut Place, idx: usize) -> Option<usize> {
        match self.known.get_mut(place.last) {
            Some(last) => last.next = idx,
            None => self.first = idx,
        }
        let known = self.known.get(idx)?;
        place.last = idx;
        place.next = known.next;
        known.target
    }

    /// The column of a key.
    fn target(&mut self, key: Quoted<'_>) -> Option<usize> {
        if !key.escaped {
            return self.names.get(key.raw).copied();
        }
        if key.raw.len() > self.name_bytes_max.saturating_mul(ESCAPE_BYTES_MAX) {
            return None;
        }
        self.scratch.clear();
        unescape(key.raw, &mut self.scratch);
        self.names.get(self.scratch.as_slice()).copied()
    }

    /// Whether one more key may be remembered. When as many were turned away as are known, what is
    /// known is not what occurs any more: memory starts anew, at a constant cost for each key.
    fn has_room(&mut self, bytes: usize, place: &mut Place) -> bool {
        let full =
            self.known.len() >= KEYS_MAX || self.known_bytes.saturating_add(bytes) > KEYS_BYTES_MAX;
        if full {
            self.turned_away += 1;
            if self.turned_away < self.known.len() {
                return false;
            }
            self.known.clear();
            self.by_text.clear();
            self.known_bytes = 0;
            self.turned_away = 0;
            self.first = NONE;
            *place = self.begin();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{super::scan::Grammar, *};

    /// Reads the keys of one object; the columns they belong to.
    fn object(keys: &mut Keys, order: &[usize]) -> Vec<Option<usize>> {
        let text: String = order.iter().map(|idx| format!("\"key{idx}\":")).collect();
        let mut scan = Scan::text(text.as_bytes(), Grammar::default());
        let mut place = keys.begin();
        order
            .iter()
            .map(|_| keys.read(&mut scan, &mut place).expect("a key"))
            .collect()
    }

    /// Numbers from 0 to `count` in an order that looks random and differs with `seed`.
    fn shuffled(count: usize, seed: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        let mut state = seed as u64;
        for idx in (1..count).rev() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let other = usize::try_from(state >> 33).unwrap_or(0) % (idx + 1);
            order.swap(idx, other);
        }
        order
    }

    #[test]
    fn a_key_costs_a_bounded_number_of_steps_in_any_order() {
        for count in [10, 100, 1_000, 5_000, 20_000, 40_000] {
            let wanted: Vec<String> = (0..count).step_by(7).map(|i| format!("key{i}")).collect();
            let named = wanted
                .iter()
                .enumerate()
                .map(|(i, name)| (i, name.as_str()));
            let mut keys = Keys::new(named);
            let sparse = |seed| shuffled(count, seed).into_iter().filter(|idx| idx % 3 > 0);
            let mut records: Vec<Vec<usize>> = Vec::new();
            records.extend((0..5).map(|_| (0..count).collect()));
            records.extend((0..5).map(|seed| shuffled(count, seed)));
            records.extend((0..5).map(|seed| sparse(seed).collect()));
            records.push(vec![count / 2; count]);
            for order in records {
                let before = keys.steps;
                let targets = object(&mut keys, &order);
                for (idx, target) in order.iter().zip(targets) {
                    let column = (idx % 7 == 0).then_some(idx / 7);
                    assert_eq!(target, column, "key{idx} of {count}");
                }
                let steps = keys.steps - before;
                let limit = order.len() * (AHEAD_MAX + 3);
                assert!(steps <= limit, "{steps} steps for {} keys", order.len());
                assert!(keys.known.len() <= KEYS_MAX && keys.known_bytes <= KEYS_BYTES_MAX);
            }
        }
    }

    #[test]
    fn keys_in_their_usual_order_take_one_step_and_left_out_ones_few() {
        let mut keys = Keys::new([(0, "key0"), (1, "key900")].into_iter());
        let all: Vec<usize> = (0..1_000).collect();
        object(&mut keys, &all);
        let before = keys.steps;
        object(&mut keys, &all);
        assert_eq!(keys.steps - before, 1_000);
        let some: Vec<usize> = (0..1_000).filter(|idx| idx % 4 > 1).collect();
        let before = keys.steps;
        object(&mut keys, &some);
        assert_eq!(keys.steps - before, 1_000);
    }

    #[test]
    fn another_producer_is_learnt_when_the_memory_is_full() {
        let mut keys = Keys::new([(0, "key0")].into_iter());
        object(&mut keys, &(0..KEYS_MAX).collect::<Vec<usize>>());
        let others: Vec<usize> = (KEYS_MAX..KEYS_MAX + 1_000).collect();
        for _ in 0..KEYS_MAX / 1_000 + 2 {
            object(&mut keys, &others);
        }
        let before = keys.steps;
        object(&mut keys, &others);
        assert_eq!(keys.steps - before, 1_000);
    }
}
