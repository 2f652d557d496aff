//! Reads all segments as one log and proves that nothing is missing in it.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use millstream_types::Epoch;

use super::layout;
use crate::{
    Accepted, Commit, Disk, Dropped, EpochError, Frame, Link, Plan, Record, RelPath, Scan, Tail,
    log::scan,
};

/// The log as of a start.
#[derive(Debug, Default)]
pub(super) struct LogImage {
    /// Segments, oldest first; the last is the one to append to.
    pub(super) segments: Vec<Epoch>,
    /// Whole bytes of the last segment.
    pub(super) newest: Vec<u8>,
    /// Consecutive plans.
    pub(super) plans: Vec<Plan>,
    /// Consecutive commits.
    pub(super) commits: Vec<Commit>,
    /// Plans that were given up and whose numbers were not planned anew, consecutive.
    pub(super) given_up: Vec<Plan>,
    /// What was given up, ever.
    pub(super) dropped: Vec<Dropped>,
    /// What was accepted for plans that still stand.
    pub(super) accepted: Vec<Accepted>,
    /// The plan that must come next, once there was one.
    plan_next: Option<Epoch>,
    /// The link of the next frame.
    pub(super) next: Link,
    /// The newest generation that wrote a frame.
    pub(super) generation: u64,
    /// Bytes that a crash cut off.
    pub(super) torn_bytes: u64,
}

impl LogImage {
    pub(super) fn plan_last(&self) -> Option<Epoch> {
        self.plans.last().map(|plan| plan.epoch)
    }

    pub(super) fn commit_last(&self) -> Option<Epoch> {
        self.commits.last().map(|commit| commit.epoch)
    }
}

/// The segments that are there, oldest first.
pub(super) fn list_segments(disk: &dyn Disk) -> Result<Vec<Epoch>, EpochError> {
    let dir = layout::log_dir();
    let mut firsts: Vec<Epoch> = disk
        .list(&dir)
        .map_err(EpochError::disk("list", &dir))?
        .iter()
        .filter_map(|entry| layout::parse_segment(&entry.name))
        .collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// Reads the log of a query.
pub(super) fn read_log(disk: &dyn Disk, query_id: &str) -> Result<LogImage, EpochError> {
    let mut image = LogImage::default();
    let firsts = list_segments(disk)?;
    for (index, first) in firsts.iter().enumerate() {
        let file = layout::segment(*first);
        let bytes = disk.read(&file).map_err(EpochError::disk("read", &file))?;
        let is_newest = index.saturating_add(1) == firsts.len();
        image.add_segment(*first, query_id, &file, bytes, is_newest)?;
    }
    Ok(image)
}

impl LogImage {
    /// Only a segment that nothing follows may end in a torn append: the one before was synced
    /// before the next was begun.
    fn add_segment(
        &mut self,
        first: Epoch,
        query_id: &str,
        file: &RelPath,
        mut bytes: Vec<u8>,
        is_newest: bool,
    ) -> Result<(), EpochError> {
        let Scan {
            header,
            frames,
            good_bytes,
            tail,
        } = scan(&bytes);
        match &tail {
            Tail::Clean => {}
            Tail::Torn(_) if is_newest => {
                let torn = bytes.len().saturating_sub(good_bytes);
                self.torn_bytes = u64::try_from(torn).unwrap_or(u64::MAX);
            }
            Tail::Torn(error) | Tail::Damaged(error) => {
                return Err(EpochError::decode(file, error));
            }
        }
        let header = header.map_err(|error| EpochError::decode(file, &error))?;
        let damaged = |reason: &str| EpochError::Damaged {
            file: file.clone(),
            reason: reason.to_owned(),
        };
        if header.query_id != query_id {
            return Err(damaged("it belongs to another query"));
        }
        if header.first != first {
            return Err(damaged("it belongs to another epoch"));
        }
        let is_oldest = self.segments.is_empty();
        for (index, frame) in frames.into_iter().enumerate() {
            if is_oldest && index == 0 {
                self.begin(first, &frame, file)?;
            }
            self.add_frame(first, frame, file)?;
        }
        self.segments.push(first);
        bytes.truncate(good_bytes);
        self.newest = bytes;
        Ok(())
    }

    /// The oldest segment need not be the first ever: those before it were collected.
    fn begin(&mut self, first: Epoch, frame: &Frame, file: &RelPath) -> Result<(), EpochError> {
        if first != Epoch::FIRST {
            self.next = frame.link;
            return Ok(());
        }
        if frame.link == Link::default() {
            return Ok(());
        }
        Err(hole(file, "frame", 0, frame.link.sequence))
    }

    fn add_frame(&mut self, first: Epoch, frame: Frame, file: &RelPath) -> Result<(), EpochError> {
        if frame.link.sequence != self.next.sequence {
            let (want, got) = (self.next.sequence, frame.link.sequence);
            return Err(hole(file, "frame", want, got));
        }
        let damaged = |reason: &str| EpochError::Damaged {
            file: file.clone(),
            reason: reason.to_owned(),
        };
        if frame.link != self.next {
            return Err(damaged("a frame does not follow the one before it"));
        }
        if frame.generation < self.generation {
            return Err(damaged("a process wrote after another had taken over"));
        }
        self.generation = frame.generation;
        self.next = frame.next;
        for record in frame.records {
            match record {
                Record::Plan(plan) => self.add_plan(first, plan, file)?,
                Record::Commit(commit) => self.add_commit(commit, file)?,
                Record::Dropped(dropped) => self.add_dropped(first, dropped, file)?,
                Record::Accepted(accepted) => self.add_accepted(accepted, file)?,
            }
        }
        Ok(())
    }

    fn add_plan(&mut self, first: Epoch, plan: Plan, file: &RelPath) -> Result<(), EpochError> {
        let want = self.plan_next.unwrap_or(first);
        if plan.epoch != want {
            return Err(hole(file, "plan", want.0, plan.epoch.0));
        }
        // The same plan again takes the word back; another one leaves nothing to take back.
        if self.given_up.first() == Some(&plan) {
            self.given_up.remove(0);
        } else {
            self.given_up.clear();
        }
        self.plan_next = Some(plan.epoch.next());
        self.plans.push(plan);
        Ok(())
    }

    /// Only open plans are ever given up.
    fn add_dropped(
        &mut self,
        segment: Epoch,
        dropped: Dropped,
        file: &RelPath,
    ) -> Result<(), EpochError> {
        let from = dropped.from;
        if Some(from) <= self.commit_last() {
            return Err(EpochError::Damaged {
                file: file.clone(),
                reason: format!("a committed epoch was given up epoch={from}"),
            });
        }
        let kept = self.plans.partition_point(|plan| plan.epoch < from);
        let mut gone = self.plans.split_off(kept);
        // The first of them may have been collected with an older segment.
        let oldest = self.segments.first().copied().unwrap_or(segment);
        let want = from.max(oldest);
        let got = gone.first().map(|plan| plan.epoch);
        if got != Some(want) {
            let got = got.or(self.plan_next).unwrap_or_default();
            return Err(hole(file, "plan", want.0, got.0));
        }
        gone.append(&mut self.given_up);
        self.given_up = gone;
        self.accepted.retain(|accepted| accepted.epoch < from);
        self.plan_next = Some(from);
        self.dropped.push(dropped);
        Ok(())
    }

    fn add_accepted(&mut self, accepted: Accepted, file: &RelPath) -> Result<(), EpochError> {
        if Some(accepted.epoch) > self.plan_last() {
            let got = self.plan_next.map_or(0, |epoch| epoch.0);
            return Err(hole(file, "plan", accepted.epoch.0, got));
        }
        self.accepted.push(accepted);
        Ok(())
    }

    fn add_commit(&mut self, commit: Commit, file: &RelPath) -> Result<(), EpochError> {
        let oldest = self.segments.first().copied().unwrap_or(commit.epoch);
        let want = match self.commit_last() {
            Some(last) => last.next(),
            // The commits of collected plans were collected with them, but not all of them.
            None if oldest > Epoch::FIRST => commit.epoch,
            None => Epoch::FIRST,
        };
        if commit.epoch != want {
            return Err(hole(file, "commit", want.0, commit.epoch.0));
        }
        self.commits.push(commit);
        Ok(())
    }
}

fn hole(file: &RelPath, what: &'static str, want: u64, got: u64) -> EpochError {
    EpochError::Hole {
        file: file.clone(),
        what,
        want,
        got,
    }
}
