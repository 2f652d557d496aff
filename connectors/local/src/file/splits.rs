//! The splits of a range: its files, fetched from the journal a few at a time.

use std::{collections::VecDeque, ops::Range, path::Path, sync::Arc};

use millstream_connectors_api::{ConnectorError, Flow, Journal, PlannedRange, Split, Splits};

use super::{
    cut::UNPACKED_BYTES_MAX,
    records::{Detail, FileSplit, InputFile, Terms},
};
use crate::{files, packing};

/// Entries that are fetched at once.
const FETCHED: u64 = 256;

/// The splits of a range. Where changes were accepted each is as long as its file is now.
pub(super) fn of(
    range: &PlannedRange,
    journal: Arc<dyn Journal>,
    accepted: bool,
) -> Result<Splits, ConnectorError> {
    let terms = |usual| if accepted { Terms::Accepted } else { usual };
    Ok(match Detail::of(range)? {
        Detail::Entries { first, after } => Box::new(Entries {
            journal,
            left: first..after.files,
            fetched: VecDeque::new(),
            terms: terms(Terms::Planned),
        }),
        Detail::Old(files) => {
            let terms = terms(Terms::Old);
            Box::new(
                files
                    .into_iter()
                    .map(move |file| split(u64::MAX, terms, file)),
            )
        }
    })
}

/// Calls `take` with each file of some entries.
pub(super) fn each_file(
    journal: &dyn Journal,
    entries: Range<u64>,
    take: &mut dyn FnMut(InputFile),
) -> Result<(), ConnectorError> {
    let mut failure = None;
    journal.read(entries, &mut |_, entry| match InputFile::of_entry(entry) {
        Ok(file) => {
            take(file);
            Flow::More
        }
        Err(error) => {
            failure = Some(error);
            Flow::Stop
        }
    })?;
    failure.map_or(Ok(()), Err)
}

fn split(number: u64, terms: Terms, mut file: InputFile) -> Result<Split, ConnectorError> {
    if terms == Terms::Accepted {
        let stat = files::stat(Path::new(&file.path))?;
        let now = stat.filter(|stat| stat.is_regular);
        file.size = now.map_or(0, |stat| stat.size);
    }
    let extent = match packing::of_name(&file.path) {
        Some(_) => UNPACKED_BYTES_MAX,
        None => file.size,
    };
    let split = FileSplit {
        number,
        terms,
        file,
    };
    Ok(Split {
        extent,
        detail: split.to_detail(),
    })
}

struct Entries {
    journal: Arc<dyn Journal>,
    left: Range<u64>,
    fetched: VecDeque<(u64, InputFile)>,
    terms: Terms,
}

impl Entries {
    fn fetch(&mut self) -> Result<(), ConnectorError> {
        let end = self.left.end.min(self.left.start.saturating_add(FETCHED));
        let numbers = self.left.start..end;
        let mut number = numbers.start;
        each_file(self.journal.as_ref(), numbers, &mut |file| {
            self.fetched.push_back((number, file));
            number += 1;
        })?;
        self.left.start = end;
        Ok(())
    }
}

impl Iterator for Entries {
    type Item = Result<Split, ConnectorError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.fetched.is_empty()
            && !self.left.is_empty()
            && let Err(error) = self.fetch()
        {
            // Nothing follows an error.
            self.left.start = self.left.end;
            self.fetched.clear();
            return Some(Err(error));
        }
        let (number, file) = self.fetched.pop_front()?;
        Some(split(number, self.terms, file))
    }
}
