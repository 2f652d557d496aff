//! w1 and w1s: word count, one line of result for each word.

use memchr::{memchr_iter, memchr2_iter};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    bid::Parser,
    flow::{Groups, Scan, Seen},
};
use crate::{
    checksum::{Outcome, RowHash},
    error::Result,
};

/// Words one behind the other with their counts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    counts: Vec<i64>,
}

impl Counts {
    #[inline]
    fn word(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }

    fn push(&mut self, word: &[u8], count: i64) {
        self.bytes.extend_from_slice(word);
        self.ends.push(self.bytes.len());
        self.counts.push(count);
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], i64)> {
        (0..self.ends.len()).map(|number| (self.word(number), self.counts[number]))
    }
}

/// Counts that can be found by word.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    /// High half of the hash and number of the word plus one; a power of two of them.
    slots: Vec<(u32, u32)>,
    counts: Counts,
}

impl Default for Words {
    fn default() -> Words {
        Words {
            slots: vec![(0, 0); 1 << 10],
            counts: Counts::default(),
        }
    }
}

impl Words {
    #[inline]
    fn add(&mut self, word: &[u8], count: i64) {
        let at = self.number(word);
        self.counts.counts[at] += count;
    }

    /// The number of a word, by order of first sight.
    #[inline]
    pub(crate) fn number(&mut self, word: &[u8]) -> usize {
        let hash = xxh3_64(word);
        let (tag, mut place) = self.home(hash);
        loop {
            let (seen, number) = self.slots[place];
            if number == 0 {
                break;
            }
            let at = number as usize - 1;
            if seen == tag && self.counts.word(at) == word {
                return at;
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
        self.counts.push(word, 0);
        let number = self.counts.ends.len();
        self.slots[place] = (tag, u32::try_from(number).unwrap_or(u32::MAX));
        if number * 2 > self.slots.len() {
            self.grow();
        }
        number - 1
    }

    /// The words by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.counts.iter().map(|(word, _)| word)
    }

    #[inline]
    fn home(&self, hash: u64) -> (u32, usize) {
        let tag = u32::try_from(hash >> 32).unwrap_or(0);
        let place = usize::try_from(hash).unwrap_or(0) & (self.slots.len() - 1);
        (tag, place)
    }

    #[cold]
    fn grow(&mut self) {
        self.slots = vec![(0, 0); self.slots.len() * 4];
        let mask = self.slots.len() - 1;
        for (number, (word, _)) in (1u32..).zip(self.counts.iter()) {
            let hash = xxh3_64(word);
            let tag = u32::try_from(hash >> 32).unwrap_or(0);
            let mut place = usize::try_from(hash).unwrap_or(0) & mask;
            while self.slots[place].1 != 0 {
                place = (place + 1) & mask;
            }
            self.slots[place] = (tag, number);
        }
    }
}

/// w1: word, count. A worker sends its counts once, when it has read everything.
#[derive(Debug)]
pub(crate) struct WordCount {
    words: Words,
}

/// The words of one owner.
#[derive(Debug, Default)]
pub(crate) struct WordTotals {
    words: Words,
}

impl Scan for WordCount {
    type Part = Counts;

    fn new(_parser: Parser) -> WordCount {
        WordCount {
            words: Words::default(),
        }
    }

    fn read(
        &mut self,
        lines: &[u8],
        _workers: usize,
        _give: &mut dyn FnMut(usize, Counts),
    ) -> Result<Seen> {
        let (mut start, mut rows) = (0, 0);
        for end in memchr2_iter(b' ', b'\n', lines) {
            if end > start {
                self.words.add(&lines[start..end], 1);
                rows += 1;
            }
            start = end + 1;
        }
        Ok(Seen { rows, newest_ms: 0 })
    }

    fn finish(&mut self, workers: usize, give: &mut dyn FnMut(usize, Counts)) {
        let mut parts = vec![Counts::default(); workers];
        for (word, count) in self.words.counts.iter() {
            let owner = (u128::from(xxh3_64(word)) * workers as u128) >> 64;
            parts[usize::try_from(owner).unwrap_or(0)].push(word, count);
        }
        for (to, part) in parts.into_iter().enumerate() {
            give(to, part);
        }
    }
}

/// w1s: the same over lines of words; its rows are the lines.
#[derive(Debug)]
pub(crate) struct LineWords(WordCount);

impl Scan for LineWords {
    type Part = Counts;

    fn new(parser: Parser) -> LineWords {
        LineWords(WordCount::new(parser))
    }

    fn read(
        &mut self,
        lines: &[u8],
        workers: usize,
        give: &mut dyn FnMut(usize, Counts),
    ) -> Result<Seen> {
        let seen = self.0.read(lines, workers, give)?;
        let rows = memchr_iter(b'\n', lines).count() as u64;
        Ok(Seen { rows, ..seen })
    }

    fn finish(&mut self, workers: usize, give: &mut dyn FnMut(usize, Counts)) {
        self.0.finish(workers, give);
    }
}

impl Groups for WordTotals {
    type Part = Counts;

    fn merge(&mut self, part: Counts) {
        for (word, count) in part.iter() {
            self.words.add(word, count);
        }
    }

    fn close(&mut self, _watermark_ms: i64, outcome: &mut Outcome) {
        for (word, count) in self.words.counts.iter() {
            outcome.row(RowHash::default().text(word).int(count));
        }
    }
}
