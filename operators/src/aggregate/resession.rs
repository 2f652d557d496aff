//! Sessions over rows that may be taken back.
//!
//! A row that goes may cut a session in two, so rows cannot be forgotten for sums of them. Every key
//! keeps its rows in the order of time; an epoch takes the sessions of the keys that it touches
//! apart and builds them again, and what differs leaves. Cost: the open rows of touched keys.
//!
//! A mark that closes a session forgets its rows without a word: if what is final were taken back when its
//! rows go, the sink would lose it. And a row that comes too late for a session of its own is dropped as
//! everywhere ([edge](super::edge)): if it opened a session behind the mark, that would leave although its
//! time is over.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array},
    compute,
    datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType},
};
use millstream_types::{Epoch, EventTime, OutputMode, Watermark};

use super::{
    AggregateSpec, TimeKey,
    buckets::window_struct,
    edge::accepted,
    groups::{Columns, Groups},
};
use crate::{
    delta::{BATCH_ROWS_MAX, Delta},
    driver::{Emitter, EpochContext, EpochOperator, OperatorReport, Progress},
    error::{OperatorError, Result},
    keys::KeyTable,
    rows::RowCodec,
    state::{Bucket, BucketChange, Ownership, Placement, Seed, Snapshots, StateTable},
};

/// Rows of a key, by time, with how often they are there.
type RowsOfKey = BTreeMap<Box<[u8]>, i64>;

/// What a row costs in its tree and on the heap, beside its bytes, about.
const ENTRY_BYTES: usize = 40;

/// Results with how often they are there.
type Consolidated = BTreeMap<Box<[u8]>, i64>;

/// Keeps the rows of open sessions and emits how the sessions change. Mode `changes` only.
pub struct ChangingSessions {
    spec: AggregateSpec,
    time: usize,
    gap: usize,
    keys: KeyTable,
    rows: Vec<RowsOfKey>,
    /// Encodes input rows: time, gap, then the other columns.
    codec: RowCodec,
    /// Which input column stands where in an encoded row.
    order: Vec<usize>,
    results: RowCodec,
    /// End and key of every session, and its start.
    ends: BTreeSet<(i64, u32, i64)>,
    pending: Vec<Delta>,
    /// What is still to leave in the epoch that closes.
    leaving: Option<VecDeque<Delta>>,
    /// Bytes of the rows and of their entries.
    held: usize,
    /// Rows whose count changed since the last snapshot.
    unsaved: BTreeSet<(u32, Box<[u8]>)>,
    snapshots: Snapshots,
    state: StateTable,
    report: OperatorReport,
}

impl std::fmt::Debug for ChangingSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangingSessions")
            .field("sessions", &self.ends.len())
            .finish_non_exhaustive()
    }
}

/// The sessions of some keys: results, and where each begins and ends.
struct Built {
    results: Option<RecordBatch>,
    bounds: Vec<(u32, i64, i64)>,
}

impl ChangingSessions {
    /// The operator for a spec, with the part of a snapshot that this worker owns.
    ///
    /// # Errors
    /// When a key or function has no form here, or a piece is of another query.
    pub fn new(
        spec: AggregateSpec,
        seed: Option<&Seed>,
        ownership: Ownership,
        snapshots: Snapshots,
    ) -> Result<ChangingSessions> {
        let (TimeKey::Session { column: time, gap }, OutputMode::Changes) = (spec.time, spec.mode)
        else {
            return Err(OperatorError::contract("changing sessions in another mode"));
        };
        let first = [time, gap];
        let others = (0..spec.input.fields().len()).filter(|column| !first.contains(column));
        let order: Vec<usize> = first.into_iter().chain(others).collect();
        let data_type = |column: &usize| spec.input.field(*column).data_type().clone();
        let types: Vec<DataType> = order.iter().map(data_type).collect();
        let key_types: Vec<DataType> = spec.keys.iter().map(data_type).collect();
        let keys = spec.keys.iter().chain(&order).enumerate();
        let fields = keys.map(|(at, column)| Field::new(format!("{at}"), data_type(column), true));
        let counts = Schema::new(vec![Field::new("count", DataType::Int64, false)]);
        let state_keys = Schema::new(fields.collect::<Vec<_>>());
        let state = StateTable::new(0, &state_keys, &counts, Placement::ByKey)?;
        let mut sessions = ChangingSessions {
            time,
            gap,
            keys: KeyTable::new(&key_types)?,
            rows: Vec::new(),
            codec: RowCodec::new(&types)?,
            order,
            results: RowCodec::of_schema(&spec.output)?.exact(),
            ends: BTreeSet::new(),
            pending: Vec::new(),
            leaving: None,
            held: 0,
            unsaved: BTreeSet::new(),
            snapshots,
            state: state.owned_by(spec.keys.len()),
            spec,
            report: OperatorReport::default(),
        };
        let mut state = sessions.state.clone();
        state.restore(seed, ownership, |_, keys, values, rows| {
            sessions.restore(keys, values, rows)
        })?;
        sessions.state = state;
        if seed.is_some() {
            // A key's rows may lie in several pieces, so sessions are made when all are there.
            sessions.unsaved.clear();
            let all = 0..u32::try_from(sessions.keys.len()).unwrap_or(u32::MAX);
            let built = sessions.build(&all.collect())?;
            let bounds = built.bounds.iter();
            let ends = bounds.map(|(key, start, end)| (*end, *key, *start));
            sessions.ends.extend(ends);
        }
        Ok(sessions)
    }

    fn restore(&mut self, keys: &[ArrayRef], values: &[ArrayRef], rows: usize) -> Result<()> {
        let (keys, columns) = keys.split_at(self.spec.keys.len());
        let counts = values[0].as_primitive::<Int64Type>().clone();
        let ids = self.key_ids(keys, rows)?;
        self.add(&ids, columns, |row| counts.value(row))
    }

    fn key_ids(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.keys.intern(keys, rows, &mut ids)?;
        self.rows.resize_with(self.keys.len(), RowsOfKey::new);
        Ok(ids)
    }

    /// Adds rows, whose columns stand in the order of encoded rows.
    fn add(
        &mut self,
        ids: &[u32],
        columns: &[ArrayRef],
        count_of: impl Fn(usize) -> i64,
    ) -> Result<()> {
        let encoded = self.codec.encode(columns)?;
        for (row, id) in ids.iter().enumerate() {
            let (bytes, count) = (encoded.row(row).data(), count_of(row));
            let of_key = &mut self.rows[*id as usize];
            let known = of_key.len();
            let held = of_key.entry(bytes.into()).or_insert(0);
            *held += count;
            if *held == 0 {
                of_key.remove(bytes);
            }
            let cost = bytes.len() + ENTRY_BYTES;
            self.held = match of_key.len().cmp(&known) {
                Ordering::Greater => self.held + cost,
                Ordering::Equal => self.held,
                Ordering::Less => self.held - cost,
            };
            if self.snapshots == Snapshots::Taken {
                self.unsaved.insert((*id, bytes.into()));
            }
        }
        Ok(())
    }

    /// The rows of some keys in the order of key and time: input columns, keys, counts.
    fn rows_of(&self, keys: &BTreeSet<u32>) -> Result<(Vec<ArrayRef>, Vec<u32>, Vec<i64>)> {
        let (mut rows, mut ids, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            let alive = self.rows[*key as usize].iter();
            for (row, count) in alive.filter(|(_, count)| **count > 0) {
                rows.push(&row[..]);
                ids.push(*key);
                counts.push(*count);
            }
        }
        let decoded = self.codec.decode(rows.into_iter())?;
        // Back into the order of the input's columns.
        let mut columns = decoded.clone();
        for (array, column) in decoded.into_iter().zip(&self.order) {
            columns[*column] = array;
        }
        Ok((columns, ids, counts))
    }

    /// The sessions of some keys, made of their rows.
    fn build(&self, keys: &BTreeSet<u32>) -> Result<Built> {
        let (columns, ids, counts) = self.rows_of(keys)?;
        if ids.is_empty() {
            return Ok(Built {
                results: None,
                bounds: Vec::new(),
            });
        }
        let batch = RecordBatch::try_new(self.spec.input.clone(), columns)
            .map_err(OperatorError::arrow("gathering session rows"))?;
        let (times, gaps) = bounds_of(&batch, self.time, self.gap)?;
        let mut bounds: Vec<(u32, i64, i64)> = Vec::new();
        let mut serials = Vec::with_capacity(ids.len());
        for (row, id) in ids.iter().enumerate() {
            let start = times.value(row);
            let end = start.saturating_add(gaps.value(row));
            match bounds.last_mut() {
                Some((key, _, last)) if key == id && start <= *last => *last = end.max(*last),
                _ => bounds.push((*id, start, end)),
            }
            serials.push(i64::try_from(bounds.len()).unwrap_or(i64::MAX));
        }
        let serials: ArrayRef = Arc::new(Int64Array::from(serials));
        let mut groups = Groups::new(&[DataType::Int64], &self.spec.calls)?;
        groups.update(&Columns {
            keys: &[serials],
            calls: &self.spec.calls,
            batch: &batch,
            signs: Some(&Int64Array::from(counts)),
            epoch: Epoch::FIRST,
            origins: None,
        })?;
        let results = self.rows(&bounds, &groups)?;
        Ok(Built {
            results: Some(results),
            bounds,
        })
    }

    /// Sessions as the query sees them; the serial numbers were seen in their order.
    fn rows(&self, bounds: &[(u32, i64, i64)], groups: &Groups) -> Result<RecordBatch> {
        let ids: Vec<u32> = bounds.iter().map(|(key, _, _)| *key).collect();
        let mut columns = self.keys.columns(Some(&ids))?;
        let starts = bounds.iter().map(|(_, start, _)| *start);
        let ends = bounds.iter().map(|(_, _, end)| *end);
        let starts: ArrayRef = Arc::new(Int64Array::from_iter_values(starts));
        let ends: ArrayRef = Arc::new(Int64Array::from_iter_values(ends));
        let field = self.spec.output.field(self.spec.time_position);
        let window = window_struct(&[starts, ends], field)?;
        columns.insert(self.spec.time_position, window);
        columns.extend(groups.results(&groups.all())?);
        let options = RecordBatchOptions::new().with_row_count(Some(bounds.len()));
        RecordBatch::try_new_with_options(self.spec.output.clone(), columns, &options)
            .map_err(OperatorError::arrow("making session rows"))
    }

    /// Takes an epoch's rows in and emits what became of the sessions of their keys.
    fn absorb(&mut self) -> Result<VecDeque<Delta>> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(VecDeque::new());
        }
        let rows = Delta::concat(&pending)?;
        let batch = rows.batch();
        let column = |column: &usize| batch.column(*column).clone();
        let keys: Vec<ArrayRef> = self.spec.keys.iter().map(column).collect();
        let ordered: Vec<ArrayRef> = self.order.iter().map(column).collect();
        let ids = self.key_ids(&keys, rows.rows())?;
        let touched: BTreeSet<u32> = ids.iter().copied().collect();
        let before = self.build(&touched)?;
        self.add(&ids, &ordered, |row| {
            rows.diff().map_or(1, |diff| diff.value(row))
        })?;
        let after = self.build(&touched)?;
        for (key, start, end) in &before.bounds {
            self.ends.remove(&(*end, *key, *start));
        }
        let ends = after
            .bounds
            .iter()
            .map(|(key, start, end)| (*end, *key, *start));
        self.ends.extend(ends);
        self.report.rows_updated += after.bounds.len() as u64;
        let gone = before.bounds.len().saturating_sub(after.bounds.len());
        self.report.rows_removed += gone as u64;
        self.difference(before.results, after.results)
    }

    /// What is taken back, then what is given.
    fn difference(
        &self,
        before: Option<RecordBatch>,
        after: Option<RecordBatch>,
    ) -> Result<VecDeque<Delta>> {
        let mut leaving = VecDeque::new();
        let mut counts = Consolidated::new();
        for (batch, sign) in [(&before, -1), (&after, 1)] {
            let Some(batch) = batch else { continue };
            for row in self.results.encode(batch.columns())?.iter() {
                *counts.entry(row.data().into()).or_insert(0) += sign;
            }
        }
        for (batch, sign) in [(before, -1), (after, 1)] {
            let Some(batch) = batch else { continue };
            let encoded = self.results.encode(batch.columns())?;
            let differs: Vec<u32> = (0u32..)
                .zip(encoded.iter())
                .filter(|(_, row)| counts.get(row.data()) == Some(&sign))
                .map(|(row, _)| row)
                .collect();
            for chunk in differs.chunks(BATCH_ROWS_MAX) {
                let rows = compute::take_record_batch(&batch, &UInt32Array::from(chunk.to_vec()))
                    .map_err(OperatorError::arrow("taking changed sessions"))?;
                let signs = (sign < 0).then(|| Int64Array::from_value(sign, rows.num_rows()));
                leaving.push_back(Delta::signed(rows, signs));
            }
        }
        Ok(leaving)
    }

    /// Forgets the rows of sessions that the mark closes; their results stay as they are.
    fn close(&mut self, mark: Watermark) {
        if !self.spec.marked {
            return;
        }
        let mut closed: BTreeMap<u32, Vec<(i64, i64)>> = BTreeMap::new();
        while let Some((end, key, start)) = self.ends.first().copied() {
            if !mark.closes_window(EventTime(end)) {
                break;
            }
            self.ends.pop_first();
            closed.entry(key).or_default().push((start, end));
            self.report.rows_removed += 1;
        }
        for (key, sessions) in closed {
            let of_key = std::mem::take(&mut self.rows[key as usize]);
            let inside = |at: i64| {
                sessions
                    .iter()
                    .any(|(start, end)| *start <= at && at < *end)
            };
            for (row, count) in of_key {
                if time_of(&row).is_some_and(inside) {
                    self.held -= row.len() + ENTRY_BYTES;
                    if self.snapshots == Snapshots::Taken {
                        self.unsaved.insert((key, row));
                    }
                } else {
                    self.rows[key as usize].insert(row, count);
                }
            }
        }
    }

    fn tap_changed(&mut self) -> Result<()> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let (alive, gone): (Vec<_>, Vec<_>) = unsaved
            .iter()
            .partition(|(key, row)| self.rows[*key as usize].contains_key(row));
        let columns = |of: &[&(u32, Box<[u8]>)]| -> Result<Vec<ArrayRef>> {
            let ids: Vec<u32> = of.iter().map(|(key, _)| *key).collect();
            let mut columns = self.keys.columns(Some(&ids))?;
            columns.extend(self.codec.decode(of.iter().map(|(_, row)| &row[..]))?);
            Ok(columns)
        };
        if !gone.is_empty() {
            let gone_columns = columns(&gone)?;
            self.state.remove(Bucket(0), &gone_columns, gone.len())?;
        }
        if !alive.is_empty() {
            let alive_columns = columns(&alive)?;
            let counts = alive.iter().map(|(key, row)| self.rows[*key as usize][row]);
            let counts: [ArrayRef; 1] = [Arc::new(Int64Array::from_iter_values(counts))];
            self.state
                .upsert(Bucket(0), &alive_columns, &counts, alive.len())?;
        }
        Ok(())
    }
}

fn bounds_of(
    batch: &RecordBatch,
    time: usize,
    gap: usize,
) -> Result<(arrow::array::TimestampMicrosecondArray, Int64Array)> {
    let times = batch
        .column(time)
        .as_primitive_opt::<TimestampMicrosecondType>();
    let gaps = batch.column(gap).as_primitive_opt::<Int64Type>();
    times
        .cloned()
        .zip(gaps.cloned())
        .ok_or_else(|| OperatorError::contract("a session without times and gaps"))
}

/// The time of an encoded row: its first column, a valid 64-bit number with its sign bit turned.
fn time_of(row: &[u8]) -> Option<i64> {
    let bytes: [u8; 8] = row.get(1..9)?.try_into().ok()?;
    Some((u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed())
}

impl EpochOperator for ChangingSessions {
    fn on_delta(
        &mut self,
        context: &EpochContext,
        _port: usize,
        delta: Delta,
        _out: &mut Emitter,
    ) -> Result<()> {
        let mark = self.spec.marked.then_some(context.marks.late);
        let accepted = accepted(&delta, self.spec.time, mark)?;
        self.report.rows_late += accepted.late;
        if accepted.rows.rows() > 0 {
            self.pending.push(accepted.rows);
        }
        Ok(())
    }

    fn on_close(&mut self, context: &EpochContext, out: &mut Emitter) -> Result<Progress> {
        let mut leaving = match self.leaving.take() {
            Some(leaving) => leaving,
            None => {
                let leaving = self.absorb()?;
                self.close(context.marks.evict);
                leaving
            }
        };
        while let Some(rows) = leaving.pop_front() {
            out.give(rows);
            if out.is_full() && !leaving.is_empty() {
                self.leaving = Some(leaving);
                return Ok(Progress::More);
            }
        }
        Ok(Progress::Done)
    }

    fn tap(&mut self, _epoch: Epoch) -> Result<Vec<BucketChange>> {
        if !self.unsaved.is_empty() {
            self.tap_changed()?;
        }
        Ok(self.state.tap())
    }

    fn report(&mut self) -> Option<OperatorReport> {
        let mut report = std::mem::take(&mut self.report);
        report.rows_total = self.ends.len() as u64;
        if self.spec.marked {
            report.oldest_end = self.ends.first().map(|(end, _, _)| *end);
        }
        let lists = self.rows.capacity() * size_of::<RowsOfKey>();
        let unsaved = self.unsaved.iter().map(|(_, row)| row.len() + ENTRY_BYTES);
        report.bytes = (self.keys.bytes()
            + lists
            + self.held
            + unsaved.sum::<usize>()
            + self.ends.len() * size_of::<(i64, u32, i64)>() * 3 / 2
            + self.state.bytes()) as u64;
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampMicrosecondArray;

    use super::*;

    #[test]
    fn the_time_is_read_from_the_front_of_a_row() {
        let codec = RowCodec::new(&[
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Int64,
        ])
        .expect("a codec");
        let times = [i64::MIN, -7, 0, 5, i64::MAX];
        let column: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"));
        let gaps: ArrayRef = Arc::new(Int64Array::from(vec![1; 5]));
        let rows = codec.encode(&[column, gaps]).expect("rows");
        let read: Vec<Option<i64>> = rows.iter().map(|row| time_of(row.data())).collect();
        assert_eq!(read, times.map(Some));
    }
}
