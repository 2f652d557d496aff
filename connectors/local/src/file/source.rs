//! The control side of the file source: which new files make up the next epoch.
//!
//! A file seen once is never read again. What was seen is bounded by `maxFileAge`, measured against
//! the newest file and not against a clock, so that a replay decides the same.
//!
//! What grows is in three journals, so that a plan and a state stay a few numbers: `files`, the files
//! of the ranges that may be read again; `known`, the fingerprints of the files that count as seen;
//! and `read`, what readers found.

use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use arrow::datatypes::SchemaRef;
use millstream_connectors_api::{
    Ask, ConnectorError, Decoder, Journal, PlannedRange, Position, ReadLimit, Source,
    SourceContext, SourceReader, Splits,
};
use millstream_types::Fault;

use super::{
    ahead::{Ahead, COMING_MAX},
    clean::{self, Cleaner},
    known::Known,
    ledger::Ledger,
    listing::{Found, Listing, Look, Question},
    notices::{Kind, Notices},
    reader::{FileReader, Shared},
    records::{Detail, Fingerprint, InputFile, Standing, State},
    settings::{Cap, Settings},
    splits,
};
use crate::{files, format, position};

/// Between these a source that found nothing is asked again.
const ASK_MS: std::ops::RangeInclusive<i64> = 10..=250;

/// Longest wait where listing takes long.
const ASK_SLOW_MS: i64 = 1_000;

/// Names that may be listed for each millisecond of waiting: at about a microsecond a name that is a
/// fifth of a core, while files keep coming.
const NAMES_PER_ASK_MS: u64 = 200;

/// What readers found is written down after this time at the latest.
const FLUSH_MS: i64 = 1_000;

/// Files that are cleaned by one call while there is much to do, and while there is not.
const CLEANED_BUSY: u64 = 64;
const CLEANED_IDLE: u64 = 512;
const CLEANED_SETTLED: u64 = 4_096;

/// Files of which it is remembered that somebody was told.
const TOLD_MAX: usize = 4_096;

/// Readers at once. Two hide the time between opening and reading of small files; more only make a
/// slow disk jump.
const READERS: usize = 2;

/// A directory, file or pattern as a stream.
pub(super) struct FileSource {
    settings: Arc<Settings>,
    schema: SchemaRef,
    files: Arc<dyn Journal>,
    known: Known,
    shared: Arc<Shared>,
    standing: Standing,
    /// The journals may hold more than the ranges that were planned: a crash, a plan that was given
    /// up, or an append that failed halfway.
    untidy: bool,
    listing: Listing,
    /// New files that were found and not planned, in the order in which they will be taken.
    unread: VecDeque<Found>,
    frozen: bool,
    /// Files that somebody was told of, by kind.
    told: BTreeSet<(Kind, Fingerprint)>,
    /// Ends of ranges whose files are taken as they are now.
    accepted: BTreeSet<String>,
    cleaner: Cleaner,
    idle: Idle,
    flushed_ms: i64,
}

/// How long nothing has come.
#[derive(Clone, Copy, Debug, Default)]
struct Idle {
    /// When something came last, or the first time the source was asked.
    since_ms: Option<i64>,
    /// Names that the last look went through.
    names: u64,
}

impl FileSource {
    pub(super) fn new(
        settings: Settings,
        schema: SchemaRef,
        context: &SourceContext,
    ) -> Result<FileSource, ConnectorError> {
        let files = context.journals.open("files")?;
        let shared = Arc::new(Shared {
            ledger: Ledger::open(context.journals.open("read")?, &files.entries())?,
            ahead: Ahead::default(),
            notices: Notices::default(),
        });
        Ok(FileSource {
            known: Known::new(context.journals.open("known")?),
            cleaner: Cleaner::new(settings.clean.clone(), files.entries().start),
            settings: Arc::new(settings),
            schema,
            files,
            shared,
            standing: Standing::default(),
            untidy: true,
            listing: Listing::default(),
            unread: VecDeque::new(),
            frozen: false,
            told: BTreeSet::new(),
            accepted: BTreeSet::new(),
            idle: Idle::default(),
            flushed_ms: i64::MIN,
        })
    }

    /// Lists the files that are new, in the order in which they are taken. True if all that is
    /// unread was looked at just now.
    fn look(&mut self, now_ms: i64) -> Result<bool, ConnectorError> {
        let looked = self.listing.look(Question {
            settings: &self.settings,
            notices: &self.shared.notices,
            now_ms,
            known: &|fingerprint| self.known.stamp(fingerprint),
            known_count: self.known.len(),
            horizon_ms: self.standing.horizon_ms,
            newest_ms: self.standing.newest_ms,
        });
        // After an error nobody knows what was found.
        let look = looked.inspect_err(|_| self.listing.doubt())?;
        self.idle.names = look.names;
        self.tell(&look);
        let before = self.unread.len();
        if look.anew {
            self.unread.clear();
        } else if !look.listed.is_empty() {
            self.unread
                .retain(|found| !look.listed.contains(&found.directory));
        }
        let fresh = self.unread.is_empty();
        if self.unread.len() == before && look.found.is_empty() {
            return Ok(fresh);
        }
        // What was found now comes first: it is what counts if a path was found twice.
        let mut all: Vec<Found> = look.found;
        all.extend(self.unread.drain(..));
        if !fresh || self.settings.patterns.len() > 1 {
            all.sort_by(|a, b| a.file.path.cmp(&b.file.path));
            all.dedup_by(|later, first| later.file.path == first.file.path);
        }
        all.sort_by(Found::order);
        if self.settings.latest_first {
            all.reverse();
        }
        self.unread = all.into();
        Ok(fresh)
    }

    /// Notes what a look found of files that are not read, each file once.
    fn tell(&mut self, look: &Look) {
        for changed in &look.changed {
            self.known.restamp(changed.fingerprint, changed.stamp);
            self.note(Kind::Changed, changed.fingerprint, &changed.path);
        }
        for (fingerprint, path) in &look.too_old {
            self.note(Kind::TooOld, *fingerprint, path);
        }
    }

    fn note(&mut self, kind: Kind, fingerprint: Fingerprint, path: &str) {
        let is_new = self.told.insert((kind, fingerprint));
        if is_new {
            self.shared.notices.count(kind, path);
        }
        if self.told.len() > TOLD_MAX {
            // Who was told of so many may hear of one twice.
            self.told.clear();
        }
    }

    /// A listing from before a restart may hold what was taken since. A frozen one is all there is.
    fn forget_listing(&mut self) {
        if !self.frozen {
            self.unread.clear();
            self.listing.doubt();
        }
    }

    /// Whether the last listing still fills an epoch, so that no new one is needed.
    fn has_backlog(&self, cap: Cap) -> bool {
        let backlog = match cap {
            Cap::Everything => false,
            Cap::Files(max) => self.unread.len() >= max,
            Cap::Bytes(max) => {
                let mut sum: u64 = 0;
                self.unread.iter().any(|found| {
                    sum = sum.saturating_add(found.file.size);
                    sum > max
                })
            }
        };
        backlog && !self.settings.latest_first
    }

    /// Takes the files of the next range. Those that were not found by a look just now are looked at
    /// again: they may have gone or grown since.
    fn take(&mut self, cap: Cap, fresh: bool) -> Result<Vec<Found>, ConnectorError> {
        let mut taken: Vec<Found> = Vec::new();
        let mut bytes: u64 = 0;
        while let Some(mut found) = self.unread.pop_front() {
            let full = match cap {
                Cap::Everything => false,
                Cap::Files(max) => taken.len() >= max,
                Cap::Bytes(max) => !taken.is_empty() && bytes.saturating_add(found.file.size) > max,
            };
            if full {
                self.unread.push_front(found);
                break;
            }
            // It was new when it was listed; epochs since then may have brought its like, or files
            // that are so much newer that it counts as seen.
            let fingerprint = self.settings.fingerprint(&found.file.path);
            if self.known.contains(fingerprint) {
                continue;
            }
            if found.file.mtime_ms() < self.standing.horizon_ms {
                self.note(Kind::TooOld, fingerprint, &found.file.path);
                continue;
            }
            let is_there = fresh
                || match self.refresh(&mut found) {
                    Ok(is_there) => is_there,
                    Err(error) => {
                        // Nothing was planned: they are still to be read.
                        self.unread.push_front(found);
                        self.put_back(taken);
                        return Err(error);
                    }
                };
            if !is_there {
                continue;
            }
            bytes = bytes.saturating_add(found.file.size);
            taken.push(found);
        }
        Ok(taken)
    }

    fn put_back(&mut self, taken: Vec<Found>) {
        for found in taken.into_iter().rev() {
            self.unread.push_front(found);
        }
    }

    /// Whether a file is still there and ready; if so, as it is now.
    fn refresh(&mut self, found: &mut Found) -> Result<bool, ConnectorError> {
        let file = &mut found.file;
        let Some(stat) = files::stat(file.path.as_ref())?.filter(|stat| stat.is_regular) else {
            return Ok(false);
        };
        if (stat.size, stat.modified_ns) == (file.size, file.mtime_ns) {
            return Ok(true);
        }
        if self.settings.settle_ms > 0 {
            self.listing.doubt();
            return Ok(false);
        }
        (file.size, file.mtime_ns) = (stat.size, stat.modified_ns);
        Ok(true)
    }

    /// Cuts off what the journals hold beyond the ranges that were planned.
    fn tidy(&mut self) -> Result<(), ConnectorError> {
        if !self.untidy {
            return Ok(());
        }
        self.shared.ledger.cut(self.standing.files)?;
        cut_behind(self.files.as_ref(), self.standing.files)?;
        self.standing.known = self.known.tidy(self.standing.known)?;
        self.untidy = false;
        Ok(())
    }

    /// Writes the files of a range into the journals, and moves on when all is written.
    fn record(&mut self, taken: &[Found], now_ms: i64) -> Result<PlannedRange, ConnectorError> {
        let mut entries = taken.iter().map(|found| found.file.to_entry());
        self.untidy = true;
        let numbers = self.files.append(&mut entries)?;
        let mut after = self.standing;
        after.planned += 1;
        after.files = numbers.end;
        for found in taken {
            let mtime_ms = found.file.mtime_ms();
            after.newest_ms = after.newest_ms.max(mtime_ms.min(now_ms));
        }
        let age_max_ms = self.settings.age_max_ms;
        let horizon_ms = after.newest_ms.saturating_sub(age_max_ms);
        after.horizon_ms = after.horizon_ms.max(horizon_ms);
        // Sweeping costs a pass over all files, so it waits until a good part can go.
        if after.horizon_ms.saturating_sub(after.swept_ms) > age_max_ms / 16 {
            after.swept_ms = after.horizon_ms;
        }
        let seen = taken
            .iter()
            .map(|found| self.settings.seen(&found.file))
            .filter(|file| file.reaches(after.swept_ms));
        after.known = self.known.append(after.known, seen, after.swept_ms)?;
        let range = PlannedRange {
            start: self.latest(),
            end: position::of("logOffset", self.standing.planned),
            detail: Detail::entries(numbers.start, after)?,
        };
        self.untidy = false;
        self.known.sweep(after.swept_ms);
        self.standing = after;
        Ok(range)
    }

    /// Writes down what readers found, now and then.
    fn flush(&mut self, now_ms: i64) -> Result<(), ConnectorError> {
        let age_ms = now_ms.saturating_sub(self.flushed_ms);
        if (0..FLUSH_MS).contains(&age_ms) {
            return Ok(());
        }
        self.flushed_ms = now_ms;
        self.shared.ledger.flush()
    }

    fn clean(&mut self, files_max: u64) -> Result<(), ConnectorError> {
        self.cleaner
            .step(files_max, self.files.as_ref(), &self.shared.notices)
    }

    /// Takes a range that an earlier version planned.
    fn replay_old(&mut self, planned: u64, listed: &[InputFile]) {
        let after = &mut self.standing;
        after.planned = planned;
        for file in listed {
            after.newest_ms = after.newest_ms.max(file.mtime_ms());
        }
        let horizon_ms = after.newest_ms.saturating_sub(self.settings.age_max_ms);
        after.horizon_ms = after.horizon_ms.max(horizon_ms);
        for file in listed {
            self.known
                .add_old(self.settings.seen_old(&file.path, file.mtime_ms()));
        }
    }
}

/// Cuts a journal at `end`. One that is shorter has lost entries, and says so.
fn cut_behind(journal: &dyn Journal, end: u64) -> Result<(), ConnectorError> {
    if journal.entries().end != end {
        journal.truncate(end)?;
    }
    Ok(())
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSource")
            .field("root", &self.settings.root)
            .field("standing", &self.standing)
            .finish_non_exhaustive()
    }
}

impl Source for FileSource {
    fn description(&self) -> String {
        format!("FileStreamSource[file:{}]", self.settings.root.display())
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn reads_from(&self, place: &Path) -> Result<bool, ConnectorError> {
        let place = files::canonical(place)?;
        Ok(clean::meets(&self.settings, &place))
    }

    fn freeze(&mut self, now_ms: i64) -> Result<(), ConnectorError> {
        self.look(now_ms)?;
        self.frozen = true;
        for path in self.listing.settling() {
            self.shared.notices.count(Kind::Unsettled, path);
        }
        Ok(())
    }

    fn plan(
        &mut self,
        limit: ReadLimit,
        now_ms: i64,
    ) -> Result<Option<PlannedRange>, ConnectorError> {
        self.tidy()?;
        self.flush(now_ms)?;
        self.clean(CLEANED_BUSY)?;
        let cap = match limit {
            ReadLimit::Configured => self.settings.cap,
            ReadLimit::Everything => Cap::Everything,
        };
        self.idle.since_ms.get_or_insert(now_ms);
        let fresh = !self.frozen && !self.has_backlog(cap) && self.look(now_ms)?;
        let taken = self.take(cap, fresh)?;
        if taken.is_empty() {
            self.clean(CLEANED_IDLE)?;
            return Ok(None);
        }
        match self.record(&taken, now_ms) {
            Ok(range) => {
                self.idle.since_ms = Some(now_ms);
                let coming = self.unread.iter().take(COMING_MAX);
                let coming = coming.map(|found| found.file.clone());
                self.shared.ahead.expect(coming);
                Ok(Some(range))
            }
            Err(error) => {
                // Nothing was planned: they are still to be read.
                self.put_back(taken);
                Err(error)
            }
        }
    }

    fn latest(&self) -> Option<Position> {
        let last = self.standing.planned.checked_sub(1)?;
        Some(position::of("logOffset", last))
    }

    fn state(&self) -> Vec<u8> {
        self.standing.to_state()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), ConnectorError> {
        match State::parse(state)? {
            State::Standing(standing) => {
                self.known.load(standing.known, standing.swept_ms)?;
                self.shared.ledger.inherit(standing.files);
                self.standing = standing;
            }
            State::Old(mut standing, old) => {
                standing.files = self.files.entries().start;
                self.standing = standing;
                for (path, mtime_ms) in &old.files {
                    self.known.add_old(self.settings.seen_old(path, *mtime_ms));
                }
            }
        }
        self.untidy = true;
        self.forget_listing();
        Ok(())
    }

    fn replay(&mut self, range: &PlannedRange) -> Result<(), ConnectorError> {
        let last = position::number(&range.end, "logOffset")?;
        match Detail::of(range)? {
            Detail::Entries { first, after } => {
                let settings = Arc::clone(&self.settings);
                splits::each_file(self.files.as_ref(), first..after.files, &mut |file| {
                    let seen = settings.seen(&file);
                    if seen.reaches(after.swept_ms) {
                        self.known.add(seen);
                    }
                })?;
                self.known.sweep(after.swept_ms);
                self.shared.ledger.inherit(after.files);
                self.standing = after;
            }
            Detail::Old(listed) => self.replay_old(last + 1, &listed),
        }
        self.untidy = true;
        self.forget_listing();
        Ok(())
    }

    fn ask_again(&self, now_ms: i64) -> Ask {
        if self.cleaner.has_work() {
            return Ask::After(Duration::from_millis(ASK_MS.start().unsigned_abs()));
        }
        // The first look after a find is quick; the longer nothing comes, the longer it may take.
        let idle_ms = now_ms.saturating_sub(self.idle.since_ms.unwrap_or(now_ms));
        let patient_ms = (idle_ms / 8).clamp(*ASK_MS.start(), *ASK_MS.end());
        let slow_ms = i64::try_from(self.idle.names / NAMES_PER_ASK_MS).unwrap_or(i64::MAX);
        let wait_ms = patient_ms.max(slow_ms.min(ASK_SLOW_MS));
        Ask::After(Duration::from_millis(wait_ms.unsigned_abs()))
    }

    fn splits(&self, range: &PlannedRange) -> Result<Splits, ConnectorError> {
        let accepted = self.accepted.contains(&range.end.0);
        splits::of(range, Arc::clone(&self.files), accepted)
    }

    fn readers_max(&self) -> usize {
        READERS
    }

    fn reader(&self) -> Result<Box<dyn SourceReader>, ConnectorError> {
        Ok(Box::new(FileReader::new(
            &self.settings,
            Arc::clone(&self.shared),
        )))
    }

    fn decoder(&self, projection: &[usize]) -> Result<Box<dyn Decoder>, ConnectorError> {
        format::decoder(
            self.settings.format,
            &Arc::new(self.settings.rules.clone()),
            &self.schema,
            projection,
            &self.settings.base_text(),
        )
    }

    fn metrics(&self) -> Vec<(&'static str, u64)> {
        self.shared.notices.counts()
    }

    fn notices(&mut self) -> Vec<Fault> {
        self.shared.notices.take()
    }

    fn accept_changes(&mut self, range: &PlannedRange) -> Result<(), ConnectorError> {
        Detail::of(range)?;
        self.accepted.insert(range.end.0.clone());
        Ok(())
    }

    fn standing(&self) -> Option<PlannedRange> {
        let detail = Detail::entries(self.standing.files, self.standing).ok()?;
        Some(PlannedRange {
            start: None,
            end: self.latest()?,
            detail,
        })
    }

    fn cleans(&self) -> bool {
        self.cleaner.is_on()
    }

    fn settled(&mut self, range: &PlannedRange) -> Result<(), ConnectorError> {
        self.accepted.remove(&range.end.0);
        if let Detail::Entries { after, .. } = Detail::of(range)? {
            self.cleaner.settled(after.files);
            self.shared.ledger.settled(after.files)?;
            self.known.settled(after.known.0)?;
            self.clean(CLEANED_SETTLED)?;
        }
        Ok(())
    }
}
