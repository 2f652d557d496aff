//! Cutting entries off the end of a journal.

use super::{Journal, Place, State, segment};
use crate::{EpochError, Tail, layout, parts::byte_count};
use segment::{FRAME, frame_bytes, read_frame, scan};

impl Journal {
    /// Back to a place where the journal ended before: needs no space.
    pub(super) fn cut_back(
        &self,
        state: &mut State,
        segments: usize,
        end: Place,
    ) -> Result<(), EpochError> {
        // A process that was overtaken must not touch what is another's now.
        self.guard.check_fence()?;
        while state.segments.len() > segments {
            self.remove_newest(state)?;
        }
        let Some(first) = state.segments.last().copied() else {
            *state = State {
                end,
                mark_bytes: state.mark_bytes,
                ..State::default()
            };
            return Ok(());
        };
        self.load_newest(state, first)?;
        self.cut_file(state, first, end)
    }

    /// To any entry. A crash on the way leaves some of the entries behind `end`.
    pub(super) fn cut_to(&self, state: &mut State, end: u64) -> Result<(), EpochError> {
        let mut is_loaded = true;
        // A segment that would be empty goes too, but for the only one: its name is the number.
        while let [_, .., newest] = state.segments[..]
            && newest >= end
        {
            // Newest first, and durably, else a crash could leave a hole.
            self.remove_newest(state)?;
            is_loaded = false;
        }
        let first = state.segments.last().copied().unwrap_or(0);
        if !is_loaded {
            self.load_newest(state, first)?;
        }
        if state.end.entry == end {
            return Ok(());
        }
        let path = self.identity.path(first);
        let disk = &self.guard.disk;
        let bytes = disk.read(&path).map_err(EpochError::disk("read", &path))?;
        let damaged = |error| EpochError::decode(&path, &error);
        let found = scan(&bytes, &self.identity, first).map_err(damaged)?;
        let places = found.places.iter().rev();
        let place = places.copied().find(|place| place.entry <= end);
        let place = place.unwrap_or_default();
        if place.entry == end {
            return self.cut_file(state, first, place);
        }
        // In the middle of a frame: the segment is written anew with the first part of it.
        let offset = usize::try_from(place.offset).unwrap_or(usize::MAX);
        let (head, frame) = bytes.split_at_checked(offset).unwrap_or_default();
        let opened = FRAME.open(frame).map_err(damaged)?;
        let frame = read_frame(place, &opened).map_err(damaged)?;
        let kept = usize::try_from(end.saturating_sub(place.entry)).unwrap_or(usize::MAX);
        let kept = frame.entries.get(..kept).unwrap_or(&frame.entries);
        let (last, end) = frame_bytes(place, place.offset, kept)
            .map_err(EpochError::too_long("a frame of a journal"))?;
        let whole = [head, &last].concat();
        self.guard.write_whole(&path, &whole)?;
        let file = self.open_append(&path)?;
        let before = found.places.iter().filter(|p| p.offset <= place.offset);
        let before: Vec<Place> = before.copied().collect();
        state.set_newest(file, &before, end);
        Ok(())
    }

    /// Removes the newest segment of several.
    fn remove_newest(&self, state: &mut State) -> Result<(), EpochError> {
        let Some(first) = state.segments.last().copied() else {
            return Ok(());
        };
        let path = self.identity.path(first);
        // What is known of the end is wrong from here on, until the one before was read.
        let removed = self.guard.disk.remove(&path);
        self.guard.poison.watch("remove", &path, removed)?;
        self.guard
            .sync_dir(&layout::source_dir(self.identity.source))?;
        state.file = None;
        state.segments.pop();
        Ok(())
    }

    /// The segment that was the newest before: it was synced when the next one was begun.
    fn load_newest(&self, state: &mut State, first: u64) -> Result<(), EpochError> {
        let path = self.identity.path(first);
        let bytes = self.guard.disk.read(&path);
        let bytes = self.guard.poison.watch("read", &path, bytes)?;
        let found = scan(&bytes, &self.identity, first);
        let found = found.map_err(|error| EpochError::decode(&path, &error));
        let found = found.and_then(|found| match &found.tail {
            Tail::Clean => Ok(found),
            Tail::Torn(error) | Tail::Damaged(error) => Err(EpochError::decode(&path, error)),
        });
        // The journal cannot go on with a segment whose end nobody knows.
        let found = found.inspect_err(|_| self.guard.poison.set(&path))?;
        debug_assert_eq!(found.end().offset, byte_count(&bytes));
        let file = self.open_append(&path)?;
        state.set_newest(file, &found.places, found.end());
        Ok(())
    }

    /// Cuts the newest segment between two frames: needs no space.
    fn cut_file(&self, state: &mut State, first: u64, end: Place) -> Result<(), EpochError> {
        let path = self.identity.path(first);
        let file = state.file.as_mut().ok_or_else(|| EpochError::Contract {
            what: "journal without a segment",
            value: path.to_string(),
        })?;
        let cut = file.truncate(end.offset).and_then(|()| file.sync());
        self.guard.poison.watch("cut", &path, cut)?;
        state.end = end;
        state.marks.retain(|mark| mark.offset < end.offset);
        Ok(())
    }
}
