//! Sessions: rows of a key that lie closer than their gap.
//!
//! Each row begins as `[t, t + gap)`; intervals of a key that overlap or touch are one session. An
//! epoch's rows are merged among themselves first, then with the stored sessions that they reach. What
//! each part is there to prevent:
//!
//! - Rows wait until there are many, then become sessions of the epoch at once. If each batch went to the
//!   stored sessions by itself, a session that an epoch touches in a hundred batches would be rebuilt a
//!   hundred times.
//! - A stored session keeps its states under a serial number of its own, and merging adds states to a new
//!   one. If a session kept its number while it grew, what it was before the epoch, which must be taken
//!   back, would be gone when it leaves.
//! - Sessions stand in the order of their ends, too. Otherwise each epoch would look at all of them to find
//!   the few that close.
//! - What is gone leaves holes in the tables; they are made anew when most of them is holes, or memory would
//!   grow with every session that ever was.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array},
    datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType},
};
use millstream_types::{Epoch, EventTime, OutputMode, Watermark};

use super::{
    AggregateSpec, Seed, TimeKey,
    buckets::window_struct,
    edge::accepted,
    groups::{Columns, Groups, state_schema},
};
use crate::{
    board::EpochKind,
    delta::{BATCH_ROWS_MAX, Delta},
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    keyhash::hash_keys,
    keys::KeyTable,
    state::{Bucket, BucketChange, Ownership, Placement, Snapshots, StateTable},
};

/// Gives rows the hash of their key, so that all rows of a key come to one worker.
pub struct KeyRows {
    keys: Vec<usize>,
}

impl std::fmt::Debug for KeyRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRows").field("keys", &self.keys).finish()
    }
}

impl KeyRows {
    /// The operator in front of one that wants rows of equal keys on one worker.
    #[must_use]
    pub fn new(keys: &[usize]) -> KeyRows {
        KeyRows {
            keys: keys.to_vec(),
        }
    }
}

impl EpochOperator for KeyRows {
    fn on_delta(
        &mut self,
        _context: &EpochContext,
        _port: usize,
        delta: Delta,
        out: &mut Emitter,
    ) -> Result<()> {
        let keys: Vec<ArrayRef> = self
            .keys
            .iter()
            .map(|key| delta.batch().column(*key).clone())
            .collect();
        let hashes = hash_keys(0, &keys, delta.rows())?;
        out.give(delta.with_hash(UInt64Array::from(hashes)));
        Ok(())
    }

    fn on_close(&mut self, _context: &EpochContext, _out: &mut Emitter) -> Result<Progress> {
        Ok(Progress::Done)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        Ok(Vec::new())
    }

    fn report(&mut self) -> Option<OperatorReport> {
        None
    }
}

/// Rows that wait before they become sessions: bounds memory where an epoch is long.
const ROWS_MAX: usize = 128 * 1024;

/// Bytes of rows that wait: they are copied together, and a column of text has 31 bits for its length.
#[cfg(not(test))]
const BYTES_MAX: usize = 32 << 20;
/// So low that the tests of this crate reach it.
#[cfg(test)]
const BYTES_MAX: usize = 600;

/// Bytes of a session in its list, in the tree of ends and in the lists of what changed, about.
const SESSION_BYTES: usize = size_of::<Session>() + 44;

/// A session of a key.
#[derive(Clone, Copy, Debug)]
struct Session {
    start: i64,
    end: i64,
    /// Its group among the stored states, or among the epoch's.
    group: u32,
}

/// The epoch's rows as sessions of their own, which may overlap: key, session, states.
struct Fresh {
    sessions: Vec<(u32, Session)>,
    groups: Groups,
}

/// What an epoch did to the sessions.
#[derive(Default)]
struct Absorbed {
    touched: Vec<(u32, Session)>,
    /// What they were before, in mode `changes`.
    before: Vec<(u32, Session)>,
}

/// Sessions of one key that became one: what they were made of.
#[derive(Debug)]
struct Merged {
    key: u32,
    start: i64,
    end: i64,
    stored: Vec<Session>,
    /// Groups among the epoch's states.
    fresh: Vec<u32>,
}

/// Lists of sessions with their sign.
type Leaving = VecDeque<(Vec<(u32, Session)>, Option<i64>)>;

/// Merges rows into sessions, keeps them, publishes closed ones.
pub struct SessionAggregate {
    spec: AggregateSpec,
    key_types: Vec<DataType>,
    keys: KeyTable,
    /// The sessions of each key, by start.
    sessions: Vec<Vec<Session>>,
    /// States by serial number.
    groups: Groups,
    serial: i64,
    live: usize,
    /// End, key and start of every session: the order in which they close.
    ends: BTreeSet<(i64, u32, i64)>,
    /// Key and start of sessions that came, changed or went since the last snapshot.
    unsaved: BTreeSet<(u32, i64)>,
    /// Rows of this epoch that are not yet in `fresh`.
    pending: Vec<Delta>,
    waiting: usize,
    waiting_bytes: usize,
    /// Sessions that are still to leave in the epoch that closes, with their sign; `None` between epochs.
    leaving: Option<Leaving>,
    fresh: Option<Fresh>,
    snapshots: Snapshots,
    state: StateTable,
    report: OperatorReport,
}

impl std::fmt::Debug for SessionAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionAggregate")
            .field("sessions", &self.live)
            .finish_non_exhaustive()
    }
}

impl Fresh {
    /// Rows that reach each other become one session; says which session each row belongs to.
    fn add_sessions(&mut self, ids: &[u32], times: &[i64], gaps: &[i64]) -> Result<ArrayRef> {
        let known = self.sessions.len();
        let mut order: Vec<u32> = (0u32..).take(ids.len()).collect();
        order.sort_unstable_by_key(|row| (ids[*row as usize], times[*row as usize]));
        let mut serials = vec![0i64; ids.len()];
        for row in order {
            let row = row as usize;
            let (key, start) = (ids[row], times[row]);
            let end = start.saturating_add(gaps[row]);
            match self.sessions.last_mut() {
                Some((of, last))
                    if *of == key && start <= last.end && last.group as usize >= known =>
                {
                    last.end = last.end.max(end);
                }
                _ => {
                    let group = u32::try_from(self.sessions.len())
                        .map_err(|_| OperatorError::contract("more than 2^32 sessions"))?;
                    self.sessions.push((key, Session { start, end, group }));
                }
            }
            serials[row] = i64::try_from(self.sessions.len()).unwrap_or(i64::MAX) - 1;
        }
        // Groups are numbered by first sight, sessions by key: the serials are seen in order first.
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let in_order = signed(known)..signed(self.sessions.len());
        let in_order: ArrayRef = Arc::new(Int64Array::from_iter_values(in_order));
        let groups = self
            .groups
            .intern(&[in_order], self.sessions.len() - known)?;
        self.groups.recycle(groups);
        Ok(Arc::new(Int64Array::from(serials)))
    }
}

fn states(spec: &AggregateSpec) -> Result<Groups> {
    Groups::new(&[DataType::Int64], &spec.calls)
}

impl SessionAggregate {
    /// The operator for a spec, with the part of a snapshot that this worker owns.
    ///
    /// # Errors
    /// When a key or function has no form here, or a piece is of another query.
    pub fn new(
        spec: AggregateSpec,
        seed: Option<&Seed>,
        ownership: Ownership,
        snapshots: Snapshots,
    ) -> Result<SessionAggregate> {
        let key_schema = spec.key_schema();
        let key_types: Vec<DataType> = key_schema
            .fields()
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let long = |name: &str| Field::new(name, DataType::Int64, false);
        let with = |first: Vec<Field>, schema: &Schema| {
            let rest = schema.fields().iter().map(|field| field.as_ref().clone());
            Schema::new(first.into_iter().chain(rest).collect::<Vec<_>>())
        };
        let mut stored_keys: Vec<_> = key_schema.fields().iter().cloned().collect();
        stored_keys.push(Arc::new(long("start")));
        let values = with(vec![long("end")], &state_schema(&spec.calls)?);
        let state = StateTable::new(0, &Schema::new(stored_keys), &values, Placement::ByKey)?;
        let mut sessions = SessionAggregate {
            state: state.owned_by(key_types.len()),
            keys: KeyTable::new(&key_types)?,
            key_types,
            sessions: Vec::new(),
            groups: states(&spec)?,
            serial: 0,
            live: 0,
            ends: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            pending: Vec::new(),
            waiting: 0,
            waiting_bytes: 0,
            leaving: None,
            fresh: None,
            snapshots,
            spec,
            report: OperatorReport::default(),
        };
        if let Some(seed) = seed {
            for ((_, bucket), pieces) in &seed.pieces {
                for held in sessions
                    .state
                    .seed(*bucket, seed.epoch, pieces, ownership)?
                {
                    sessions.restore(&held)?;
                }
            }
        }
        Ok(sessions)
    }

    fn restore(&mut self, held: &RecordBatch) -> Result<()> {
        let rows = held.num_rows();
        let (keys, rest) = held.columns().split_at(self.key_types.len());
        let starts = rest[0].as_primitive::<Int64Type>();
        let ends = rest[1].as_primitive::<Int64Type>();
        let mut ids = Vec::new();
        self.keys.intern(keys, rows, &mut ids)?;
        self.sessions.resize(self.keys.len(), Vec::new());
        let groups = self.new_groups(rows)?;
        self.groups.merge(&groups, &rest[2..rest.len() - 1])?;
        for (row, (key, group)) in ids.iter().zip(&groups).enumerate() {
            let session = Session {
                start: starts.value(row),
                end: ends.value(row),
                group: *group,
            };
            self.insert(*key, session);
        }
        self.sessions
            .iter_mut()
            .for_each(|of_key| of_key.sort_by_key(|session| session.start));
        Ok(())
    }

    fn new_groups(&mut self, count: usize) -> Result<Vec<u32>> {
        let first = self.serial;
        let count_wide = i64::try_from(count).unwrap_or(i64::MAX);
        self.serial += count_wide;
        let serials: ArrayRef = Arc::new(Int64Array::from_iter_values(first..self.serial));
        self.groups.intern(&[serials], count)
    }

    fn insert(&mut self, key: u32, session: Session) {
        self.ends.insert((session.end, key, session.start));
        let of_key = &mut self.sessions[key as usize];
        if of_key.is_empty() {
            // Most keys have one session, and a list that grows by itself begins with four.
            of_key.reserve_exact(1);
        }
        of_key.push(session);
        self.live += 1;
    }

    fn remove(&mut self, key: u32, session: Session) {
        self.ends.remove(&(session.end, key, session.start));
        self.sessions[key as usize].retain(|held| held.start != session.start);
        self.note(key, session.start);
        self.live -= 1;
    }

    /// Notes a session for the next snapshot, if there will be one.
    fn note(&mut self, key: u32, start: i64) {
        if self.snapshots == Snapshots::Taken {
            self.unsaved.insert((key, start));
        }
    }

    fn times(
        &self,
        batch: &RecordBatch,
    ) -> Result<(arrow::array::TimestampMicrosecondArray, Int64Array)> {
        let TimeKey::Session { column, gap } = self.spec.time else {
            return Err(OperatorError::contract(
                "the session operator needs a session",
            ));
        };
        let times = batch
            .column(column)
            .as_primitive_opt::<TimestampMicrosecondType>();
        let gaps = batch.column(gap).as_primitive_opt::<Int64Type>();
        times
            .cloned()
            .zip(gaps.cloned())
            .ok_or_else(|| OperatorError::contract("a session without times and gaps"))
    }

    /// Turns waiting rows into sessions of the epoch.
    fn gather(&mut self, epoch: Epoch) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        (self.waiting, self.waiting_bytes) = (0, 0);
        if pending.is_empty() {
            return Ok(());
        }
        let rows = Delta::concat(&pending)?;
        drop(pending);
        let batch = rows.batch();
        let keys: Vec<ArrayRef> = self
            .spec
            .keys
            .iter()
            .map(|key| batch.column(*key).clone())
            .collect();
        let mut ids = Vec::new();
        self.keys.intern(&keys, batch.num_rows(), &mut ids)?;
        self.sessions.resize(self.keys.len(), Vec::new());
        let (times, gaps) = self.times(batch)?;
        let mut fresh = match self.fresh.take() {
            Some(fresh) => fresh,
            None => Fresh {
                sessions: Vec::new(),
                groups: states(&self.spec)?,
            },
        };
        let serials = fresh.add_sessions(&ids, times.values(), gaps.values())?;
        let columns = Columns {
            keys: &[serials],
            calls: &self.spec.calls,
            batch,
            signs: None,
            epoch,
            origins: rows.origin(),
        };
        fresh.groups.update(&columns)?;
        self.fresh = Some(fresh);
        Ok(())
    }

    /// Joins fresh sessions with the stored ones that they reach.
    fn merged(&self, mut fresh: Vec<(u32, Session)>) -> Vec<Merged> {
        fresh.sort_unstable_by_key(|(key, session)| (*key, session.group));
        let mut all = Vec::new();
        let mut intervals: Vec<(Session, bool)> = Vec::new();
        for of_key in fresh.chunk_by(|(a, _), (b, _)| a == b) {
            let key = of_key[0].0;
            let stored = self.sessions[key as usize].iter();
            intervals.clear();
            intervals.extend(stored.map(|session| (*session, true)));
            intervals.extend(of_key.iter().map(|(_, session)| (*session, false)));
            intervals.sort_by_key(|(session, _)| (session.start, session.end));
            let mut merged: Vec<Merged> = Vec::new();
            for (session, is_stored) in intervals.iter().copied() {
                if merged.last().is_none_or(|last| session.start > last.end) {
                    let (start, end) = (session.start, session.end);
                    merged.push(Merged {
                        key,
                        start,
                        end,
                        stored: Vec::new(),
                        fresh: Vec::new(),
                    });
                }
                if let Some(last) = merged.last_mut() {
                    last.end = last.end.max(session.end);
                    if is_stored {
                        last.stored.push(session);
                    } else {
                        last.fresh.push(session.group);
                    }
                }
            }
            all.extend(merged.into_iter().filter(|merged| !merged.fresh.is_empty()));
        }
        all
    }

    /// Takes an epoch's rows in and says which sessions were touched, and what of them was there before.
    fn absorb(&mut self, epoch: Epoch) -> Result<Absorbed> {
        self.gather(epoch)?;
        let Some(fresh) = self.fresh.take() else {
            return Ok(Absorbed::default());
        };
        let mut absorbed = Absorbed::default();
        let merged = self.merged(fresh.sessions);
        if self.spec.mode == OutputMode::Changes {
            let old = merged
                .iter()
                .flat_map(|one| one.stored.iter().map(|s| (one.key, *s)));
            absorbed.before.extend(old);
        }
        let groups = self.new_groups(merged.len())?;
        let (mut from_fresh, mut to_fresh) = (Vec::new(), Vec::new());
        let (mut from_stored, mut to_stored) = (Vec::new(), Vec::new());
        for (one, group) in merged.iter().zip(&groups) {
            from_fresh.extend(&one.fresh);
            to_fresh.extend(one.fresh.iter().map(|_| *group));
            from_stored.extend(one.stored.iter().map(|session| session.group));
            to_stored.extend(one.stored.iter().map(|_| *group));
        }
        let mut to = to_fresh.as_slice();
        for from in fresh.groups.portions(&from_fresh) {
            let (some, rest) = to.split_at(from.len());
            self.groups.merge(some, &fresh.groups.states(from)?)?;
            to = rest;
        }
        drop(fresh.groups);
        let mut rest = from_stored.as_slice();
        let mut to = to_stored.as_slice();
        while !rest.is_empty() {
            let count = self.groups.portion(rest, |group| *group).len();
            let states = self.groups.states(&rest[..count])?;
            self.groups.merge(&to[..count], &states)?;
            (rest, to) = (&rest[count..], &to[count..]);
        }
        for (one, group) in merged.into_iter().zip(groups) {
            // A session that grows is no removal: only those that vanish into another are.
            self.report.rows_removed += (one.stored.len() as u64).saturating_sub(1);
            one.stored
                .iter()
                .for_each(|session| self.remove(one.key, *session));
            let session = Session {
                start: one.start,
                end: one.end,
                group,
            };
            self.insert(one.key, session);
            self.sessions[one.key as usize].sort_by_key(|session| session.start);
            self.note(one.key, one.start);
            absorbed.touched.push((one.key, session));
        }
        self.report.rows_updated += absorbed.touched.len() as u64;
        Ok(absorbed)
    }

    /// Emits sessions until the emitter is full, and says how many.
    fn emit(
        &self,
        sessions: &[(u32, Session)],
        sign: Option<i64>,
        out: &mut Emitter,
    ) -> Result<usize> {
        let mut emitted = 0;
        while emitted < sessions.len() && !out.is_full() {
            let rest = &sessions[emitted..];
            let chunk = self.groups.portion(rest, |(_, session)| session.group);
            emitted += chunk.len();
            let ids: Vec<u32> = chunk.iter().map(|(key, _)| *key).collect();
            let groups: Vec<u32> = chunk.iter().map(|(_, session)| session.group).collect();
            let mut columns = self.keys.columns(Some(&ids))?;
            let bound = |of: fn(&Session) -> i64| {
                let values = chunk.iter().map(|(_, session)| of(session));
                Arc::new(Int64Array::from_iter_values(values)) as ArrayRef
            };
            let field = self.spec.output.field(self.spec.time_position);
            let window = window_struct(&[bound(|s| s.start), bound(|s| s.end)], field)?;
            columns.insert(self.spec.time_position, window);
            columns.extend(self.groups.results(&groups)?);
            let options = RecordBatchOptions::new().with_row_count(Some(chunk.len()));
            let schema = self.spec.output.clone();
            let rows = RecordBatch::try_new_with_options(schema, columns, &options)
                .map_err(OperatorError::arrow("making session rows"))?;
            let signs = sign.map(|sign| Int64Array::from_value(sign, rows.num_rows()));
            out.give(Delta::signed(rows, signs));
        }
        Ok(emitted)
    }

    /// Says what leaves in an epoch.
    fn begin_close(&mut self, context: &EpochContext) -> Result<Leaving> {
        let Absorbed { touched, before } = self.absorb(context.epoch)?;
        let mut leaving = Leaving::new();
        match self.spec.mode {
            OutputMode::Changes => leaving.extend([(before, Some(-1)), (touched, None)]),
            OutputMode::Complete if context.kind == EpochKind::Data => {
                leaving.push_back((self.all(), None));
            }
            OutputMode::Append | OutputMode::Complete => {}
            OutputMode::Update => {
                return Err(OperatorError::contract("no sessions in mode update"));
            }
            other => {
                return Err(OperatorError::contract(format!(
                    "no sessions in mode {other}"
                )));
            }
        }
        // Closed sessions are forgotten at once; their states stay until the tables are made anew.
        let closed = self.close(context.marks.evict);
        if self.spec.mode == OutputMode::Append {
            leaving.push_back((closed, None));
        }
        Ok(leaving)
    }

    fn all(&self) -> Vec<(u32, Session)> {
        let keyed = (0u32..).zip(&self.sessions);
        keyed
            .flat_map(|(key, of_key)| of_key.iter().map(move |s| (key, *s)))
            .collect()
    }

    /// Removes the sessions that the mark closes and says which.
    fn close(&mut self, mark: Watermark) -> Vec<(u32, Session)> {
        let mut closed = Vec::new();
        if !self.spec.marked || self.spec.mode == OutputMode::Complete {
            return closed;
        }
        while let Some((end, key, start)) = self.ends.first().copied() {
            if !mark.closes_window(EventTime(end)) {
                break;
            }
            let of_key = &self.sessions[key as usize];
            let Some(session) = of_key
                .iter()
                .find(|session| session.start == start)
                .copied()
            else {
                break;
            };
            self.remove(key, session);
            closed.push((key, session));
        }
        self.report.rows_removed += closed.len() as u64;
        closed
    }

    /// Makes the tables anew when most of what they hold is gone.
    fn compact(&mut self) -> Result<()> {
        if self.groups.len() <= 2 * self.live + 4096 || !self.unsaved.is_empty() {
            return Ok(());
        }
        let live = self.all();
        let old_groups = std::mem::replace(&mut self.groups, states(&self.spec)?);
        let old_keys = std::mem::replace(&mut self.keys, KeyTable::new(&self.key_types)?);
        self.sessions.clear();
        self.ends.clear();
        self.live = 0;
        let mut rest = live.as_slice();
        while !rest.is_empty() {
            let chunk = old_groups.portion(rest, |(_, session)| session.group);
            rest = &rest[chunk.len()..];
            let ids: Vec<u32> = chunk.iter().map(|(key, _)| *key).collect();
            let from: Vec<u32> = chunk.iter().map(|(_, session)| session.group).collect();
            let columns = old_keys.columns(Some(&ids))?;
            let mut new_ids = Vec::new();
            self.keys.intern(&columns, chunk.len(), &mut new_ids)?;
            self.sessions.resize(self.keys.len(), Vec::new());
            let groups = self.new_groups(chunk.len())?;
            self.groups.merge(&groups, &old_groups.states(&from)?)?;
            for ((key, group), (_, session)) in new_ids.iter().zip(&groups).zip(chunk) {
                self.insert(
                    *key,
                    Session {
                        group: *group,
                        ..*session
                    },
                );
            }
        }
        Ok(())
    }

    fn tap_changed(&mut self, epoch: Epoch) -> Result<()> {
        let unsaved: Vec<(u32, i64)> = std::mem::take(&mut self.unsaved).into_iter().collect();
        let find = |(key, start): &(u32, i64)| {
            self.sessions[*key as usize]
                .iter()
                .find(|session| session.start == *start)
                .copied()
        };
        let (alive, gone): (Vec<_>, Vec<_>) = unsaved.iter().partition(|one| find(one).is_some());
        let key_columns = |of: &[(u32, i64)]| -> Result<Vec<ArrayRef>> {
            let ids: Vec<u32> = of.iter().map(|(key, _)| *key).collect();
            let mut columns = self.keys.columns(Some(&ids))?;
            let starts = of.iter().map(|(_, start)| *start);
            columns.push(Arc::new(Int64Array::from_iter_values(starts)));
            Ok(columns)
        };
        for gone in gone.chunks(BATCH_ROWS_MAX) {
            self.state
                .remove(Bucket(0), epoch, &key_columns(gone)?, gone.len())?;
        }
        let group_of = |one: &(u32, i64)| find(one).map_or(0, |session| session.group);
        let mut rest = alive.as_slice();
        while !rest.is_empty() {
            let some = self.groups.portion(rest, group_of);
            rest = &rest[some.len()..];
            let sessions: Vec<Session> = some.iter().filter_map(find).collect();
            let groups: Vec<u32> = sessions.iter().map(|session| session.group).collect();
            let ends = sessions.iter().map(|session| session.end);
            let mut values: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(ends))];
            values.extend(self.groups.states(&groups)?);
            self.state
                .upsert(Bucket(0), epoch, &key_columns(some)?, &values, some.len())?;
        }
        Ok(())
    }
}

impl EpochOperator for SessionAggregate {
    fn on_delta(
        &mut self,
        context: &EpochContext,
        _port: usize,
        delta: Delta,
        _out: &mut Emitter,
    ) -> Result<()> {
        let is_one = |diff: &Int64Array| diff.values().iter().all(|sign| *sign == 1);
        if !delta.diff().is_none_or(is_one) {
            return Err(OperatorError::contract("sessions cannot take rows back"));
        }
        let mark = self.spec.marked.then_some(context.marks.late);
        let accepted = accepted(&delta, self.spec.time, mark)?;
        self.report.rows_late += accepted.late;
        self.waiting += accepted.rows.rows();
        self.waiting_bytes += accepted.rows.bytes();
        if accepted.rows.rows() > 0 {
            self.pending.push(accepted.rows);
        }
        if self.waiting >= ROWS_MAX || self.waiting_bytes >= BYTES_MAX {
            self.gather(context.epoch)?;
        }
        Ok(())
    }

    fn on_close(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        let mut leaving = match self.leaving.take() {
            Some(leaving) => leaving,
            None => self.begin_close(context)?,
        };
        while let Some((sessions, sign)) = leaving.front_mut() {
            let emitted = self.emit(sessions, *sign, out)?;
            if emitted == sessions.len() {
                leaving.pop_front();
            } else {
                sessions.drain(..emitted);
                self.leaving = Some(leaving);
                return Ok(Progress::More);
            }
        }
        self.compact()?;
        Ok(Progress::Done)
    }

    fn tap(&mut self, epoch: Epoch) -> Result<Vec<BucketChange>> {
        if !self.unsaved.is_empty() {
            self.tap_changed(epoch)?;
            self.compact()?;
        }
        self.state.tap()
    }

    fn report(&mut self) -> Option<OperatorReport> {
        let mut report = std::mem::take(&mut self.report);
        report.rows_total = self.live as u64;
        if self.spec.marked && self.spec.mode != OutputMode::Complete {
            report.oldest_end = self.ends.first().map(|(end, _, _)| *end);
        }
        let lists = self.sessions.capacity() * size_of::<Vec<Session>>();
        let unsaved = self.unsaved.len() * size_of::<(u32, i64)>() * 2;
        report.bytes = (self.groups.bytes()
            + self.keys.bytes()
            + lists
            + self.live * SESSION_BYTES
            + unsaved
            + self.state.bytes()) as u64;
        Some(report)
    }
}

#[cfg(test)]
mod tests;
