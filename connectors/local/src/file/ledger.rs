//! What readers found: how much of each planned file they gave, and a digest of it.
//!
//! A replay must give the same rows. Size and time of a file do not prove that its bytes are the
//! same; a digest does. It is taken while the file is read, and written down a little later, so the
//! last files before a crash may have none. What differs from the plan is written down *before* the
//! reader is done: a file that was passed over because it was gone stays passed over when it is back.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use millstream_connectors_api::{ConnectorError, Flow, Journal};

use super::records::{FileSplit, Outcome, Terms};

/// Outcomes that wait to be written down at most; a reader that makes more writes them itself.
const PENDING_MAX: usize = 4_096;

/// What is known of earlier readings of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// It was not read before: whatever is there now is what it is.
    Unread,
    /// It may have been read by an earlier process, and nothing says what it found.
    Perhaps,
    /// This is what was found.
    Read(Outcome),
}

/// The outcomes of the files that may be read again.
pub(super) struct Ledger {
    journal: Arc<dyn Journal>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Number of the file that the first of `outcomes` belongs to.
    first: u64,
    outcomes: VecDeque<Option<Outcome>>,
    /// Files before this one were planned by an earlier process.
    inherited: u64,
    pending: Vec<(u64, Outcome)>,
}

impl Kept {
    fn get(&self, number: u64) -> Option<Outcome> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        *self.outcomes.get(place)?
    }

    /// Sets an outcome; `limit` is the end of the files that there are.
    fn set(&mut self, number: u64, outcome: Outcome) {
        let place = number.checked_sub(self.first).map(usize::try_from);
        let Some(Ok(place)) = place else {
            return;
        };
        if place >= self.outcomes.len() {
            self.outcomes.resize(place + 1, None);
        }
        if let Some(known) = self.outcomes.get_mut(place) {
            *known = Some(outcome);
        }
    }
}

impl Ledger {
    /// Reads what an earlier process found of these files.
    pub(super) fn open(
        journal: Arc<dyn Journal>,
        files: &Range<u64>,
    ) -> Result<Ledger, ConnectorError> {
        let mut kept = Kept {
            first: files.start,
            ..Kept::default()
        };
        let mut failure = None;
        journal.read(journal.entries(), &mut |_, entry| {
            match Outcome::of_entry(entry) {
                Ok((number, outcome)) if files.contains(&number) => kept.set(number, outcome),
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
            if failure.is_some() {
                Flow::Stop
            } else {
                Flow::More
            }
        })?;
        failure.map_or(Ok(()), Err)?;
        Ok(Ledger {
            journal,
            kept: Mutex::new(kept),
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files before `end` were planned by an earlier process.
    pub(super) fn inherit(&self, end: u64) {
        let mut kept = self.kept();
        kept.inherited = kept.inherited.max(end);
    }

    /// Forgets files from `end` on: their plan was given up, and others will get their numbers.
    pub(super) fn cut(&self, end: u64) -> Result<(), ConnectorError> {
        let left: Vec<(u64, Outcome)> = {
            let mut kept = self.kept();
            let len = usize::try_from(end.saturating_sub(kept.first)).unwrap_or(usize::MAX);
            let mut beyond = kept.outcomes.iter().skip(len);
            if beyond.all(Option::is_none) {
                return Ok(());
            }
            kept.outcomes.truncate(len);
            kept.pending.clear();
            let numbers = kept.first..;
            let outcomes = numbers.zip(&kept.outcomes);
            outcomes
                .filter_map(|(number, outcome)| Some((number, (*outcome)?)))
                .collect()
        };
        self.journal.truncate(self.journal.entries().start)?;
        self.write(&left)
    }

    pub(super) fn before(&self, split: &FileSplit) -> Before {
        let kept = self.kept();
        match kept.get(split.number) {
            _ if split.terms == Terms::Old => Before::Perhaps,
            Some(outcome) => Before::Read(outcome),
            None if split.number < kept.inherited => Before::Perhaps,
            None => Before::Unread,
        }
    }

    /// Notes an outcome that is as planned; it is written down later.
    pub(super) fn note(&self, number: u64, outcome: Outcome) -> Result<(), ConnectorError> {
        let full = {
            let mut kept = self.kept();
            kept.set(number, outcome);
            kept.pending.push((number, outcome));
            kept.pending.len() >= PENDING_MAX
        };
        if full { self.flush() } else { Ok(()) }
    }

    /// Notes an outcome that differs from the plan. When this returns it is durable.
    pub(super) fn settle(&self, number: u64, outcome: Outcome) -> Result<(), ConnectorError> {
        self.write(&[(number, outcome)])?;
        self.kept().set(number, outcome);
        Ok(())
    }

    /// Writes down what was noted.
    pub(super) fn flush(&self) -> Result<(), ConnectorError> {
        let pending = std::mem::take(&mut self.kept().pending);
        let written = self.write(&pending);
        if written.is_err() {
            let mut kept = self.kept();
            // They only make a replay stricter: memory is worth more than the oldest of them.
            if kept.pending.len() + pending.len() <= 4 * PENDING_MAX {
                kept.pending.extend(pending);
            }
        }
        written
    }

    fn write(&self, outcomes: &[(u64, Outcome)]) -> Result<(), ConnectorError> {
        if outcomes.is_empty() {
            return Ok(());
        }
        let mut entries = outcomes
            .iter()
            .map(|(number, outcome)| outcome.to_entry(*number));
        self.journal.append(&mut entries)?;
        Ok(())
    }

    /// Files before `end` will never be read again.
    pub(super) fn settled(&self, end: u64) -> Result<(), ConnectorError> {
        {
            let mut kept = self.kept();
            let gone = usize::try_from(end.saturating_sub(kept.first)).unwrap_or(usize::MAX);
            let gone = gone.min(kept.outcomes.len());
            kept.outcomes.drain(..gone);
            kept.first = kept.first.max(end);
            kept.pending.retain(|(number, _)| *number >= end);
        }
        let entries = self.journal.entries();
        let mut keep = entries.end;
        self.journal.read(
            entries.clone(),
            &mut |at, entry| match Outcome::of_entry(entry) {
                Ok((number, _)) if number < end => Flow::More,
                Ok(_) | Err(_) => {
                    keep = at;
                    Flow::Stop
                }
            },
        )?;
        if keep > entries.start {
            self.journal.forget(keep)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}
