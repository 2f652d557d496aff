//! Journals in memory, for a query without a checkpoint.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{ConnectorError, Flow, Journal, Journals};

/// The journals of one source, kept as long as this value or one of its journals.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournals {
    open: Arc<Mutex<BTreeMap<&'static str, Arc<MemoryJournal>>>>,
}

#[derive(Debug, Default)]
struct MemoryJournal(Mutex<Kept>);

/// The entries that are kept, and the number of the first.
#[derive(Debug, Default)]
struct Kept {
    first: u64,
    entries: VecDeque<Vec<u8>>,
}

impl Kept {
    fn range(&self) -> Range<u64> {
        self.first..self.first + self.entries.len() as u64
    }

    /// The place of entry `number`, which may be the end.
    fn place(&self, number: u64) -> Result<usize, ConnectorError> {
        number
            .checked_sub(self.first)
            .and_then(|place| usize::try_from(place).ok())
            .filter(|place| *place <= self.entries.len())
            .ok_or(ConnectorError::Internal {
                what: "a journal does not hold the entries that were asked for",
            })
    }
}

impl MemoryJournals {
    /// Empty ones.
    #[must_use]
    pub fn new() -> MemoryJournals {
        MemoryJournals::default()
    }
}

impl Journals for MemoryJournals {
    fn open(&self, name: &'static str) -> Result<Arc<dyn Journal>, ConnectorError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let journal = open.entry(name).or_default();
        Ok(Arc::<MemoryJournal>::clone(journal))
    }
}

impl MemoryJournal {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn entries(&self) -> Range<u64> {
        self.kept().range()
    }

    fn append(
        &self,
        entries: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<Range<u64>, ConnectorError> {
        let mut kept = self.kept();
        let first = kept.range().end;
        kept.entries.extend(entries);
        Ok(first..kept.range().end)
    }

    fn read(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(u64, &[u8]) -> Flow,
    ) -> Result<(), ConnectorError> {
        let kept = self.kept();
        let places = kept.place(range.start)?..kept.place(range.end)?;
        for (number, entry) in range.zip(kept.entries.range(places)) {
            if take(number, entry) == Flow::Stop {
                break;
            }
        }
        Ok(())
    }

    fn truncate(&self, end: u64) -> Result<(), ConnectorError> {
        let mut kept = self.kept();
        let place = kept.place(end)?;
        kept.entries.truncate(place);
        Ok(())
    }

    fn forget(&self, start: u64) -> Result<(), ConnectorError> {
        let mut kept = self.kept();
        let place = kept.place(start.max(kept.first))?;
        kept.entries.drain(..place);
        kept.first += place as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(journal: &dyn Journal, range: Range<u64>) -> Result<Vec<Vec<u8>>, ConnectorError> {
        let mut all = Vec::new();
        journal.read(range, &mut |_, entry| {
            all.push(entry.to_vec());
            Flow::More
        })?;
        Ok(all)
    }

    fn append(journal: &dyn Journal, entries: &[&[u8]]) -> Range<u64> {
        let mut entries = entries.iter().map(|entry| entry.to_vec());
        journal.append(&mut entries).expect("memory has room")
    }

    #[test]
    fn entries_keep_their_numbers() {
        let journals = MemoryJournals::new();
        let journal = journals.open("a").expect("opens");
        assert_eq!(append(journal.as_ref(), &[b"0", b"1", b"2"]), 0..3);
        journal.forget(1).expect("forgets");
        journal.forget(0).expect("already gone");
        journal.truncate(2).expect("cuts");
        assert_eq!(append(journal.as_ref(), &[b"two", b"3"]), 2..4);
        let again = journals.open("a").expect("opens");
        assert_eq!(again.entries(), 1..4);
        let all = read(again.as_ref(), 1..4).expect("reads");
        assert_eq!(all, [b"1".to_vec(), b"two".to_vec(), b"3".to_vec()]);
        assert!(read(again.as_ref(), 0..2).is_err());
        assert!(read(again.as_ref(), 3..5).is_err());
        assert!(again.truncate(5).is_err() && again.truncate(0).is_err());
        assert_eq!(journals.open("b").expect("opens").entries(), 0..0);
    }
}
