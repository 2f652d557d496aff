//! Every other aggregate function, through DataFusion's accumulators.
//!
//! DataFusion's accumulators give their results once, then are spent. Here a result may be wanted
//! in every epoch, so a group's state is kept as encoded rows; a batch loads the states of the
//! groups it touches into a fresh accumulator, adds its rows, and takes the states out again: a few
//! vectorised passes over touched groups, nothing over the others. A table that only gathers rows
//! before it is read once has one accumulator for all of them.

use arrow::{
    array::{ArrayRef, BooleanArray, UInt64Array, new_null_array},
    compute,
    datatypes::{DataType, FieldRef},
};
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::GroupsAccumulatorAdapter;

use super::{
    AggregateCall,
    function::{Function, Rows},
    group_set::NumberHasher,
};
use crate::{
    error::{OperatorError, Result},
    rows::RowCodec,
};

/// Group states as encoded rows; absent for a group that has seen nothing.
pub(super) struct General {
    call: AggregateCall,
    codec: RowCodec,
    states: Vec<Option<Box<[u8]>>>,
    held: usize,
    /// All groups, while rows are only added.
    gathered: Option<Box<dyn GroupsAccumulator>>,
    gathers: bool,
    positions: Vec<usize>,
}

/// Where groups sit in a small accumulator.
///
/// DataFusion's accumulators take every group below the total for one that some row has shown them.
/// So groups that have nothing yet sit behind those that have something, and are shown by a row that
/// does not count.
pub(super) struct Seats {
    seat_of: Vec<usize>,
    taken: usize,
}

impl Seats {
    /// Seats for groups, by whether each has something.
    pub(super) fn new(has: impl Iterator<Item = bool> + Clone) -> Seats {
        let taken = has.clone().filter(|has| *has).count();
        let (mut front, mut back) = (0, taken);
        let seat_of = has.map(|has| {
            let next = if has { &mut front } else { &mut back };
            *next += 1;
            *next - 1
        });
        Seats {
            seat_of: seat_of.collect(),
            taken,
        }
    }

    /// The seat of a group.
    pub(super) fn of(&self, group: usize) -> usize {
        self.seat_of[group]
    }

    /// How many groups there are.
    pub(super) fn count(&self) -> usize {
        self.seat_of.len()
    }

    /// How many of them have something.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Shows an accumulator the groups that have nothing.
    pub(super) fn show_rest(
        &self,
        accumulator: &mut dyn GroupsAccumulator,
        call: &AggregateCall,
    ) -> Result<()> {
        let rest: Vec<usize> = (self.taken..self.count()).collect();
        if rest.is_empty() {
            return Ok(());
        }
        let types = call.argument_types.iter();
        let nothing: Vec<ArrayRef> = types.map(|of| new_null_array(of, rest.len())).collect();
        let none = BooleanArray::from(vec![false; rest.len()]);
        accumulator
            .update_batch(&nothing, &rest, Some(&none), self.count())
            .map_err(OperatorError::expression(call.function.name()))
    }

    /// A column by seats as a column by groups.
    pub(super) fn in_order(&self, column: ArrayRef) -> Result<ArrayRef> {
        if self.taken == self.count() {
            return Ok(column);
        }
        let seats = self.seat_of.iter().map(|seat| *seat as u64);
        compute::take(&column, &UInt64Array::from_iter_values(seats), None)
            .map_err(OperatorError::arrow("putting groups in order"))
    }
}

/// Which of the touched groups is which in a small accumulator.
struct Dense {
    /// Touched groups by their seats.
    touched: Vec<u32>,
    /// For each row, the seat of its group.
    rows: Vec<usize>,
    seats: Seats,
}

impl General {
    pub(super) fn state_fields(call: &AggregateCall) -> Result<Vec<FieldRef>> {
        call.function
            .state_fields()
            .map_err(OperatorError::expression(call.function.name()))
    }

    pub(super) fn new(call: &AggregateCall) -> Result<General> {
        let types: Vec<DataType> = General::state_fields(call)?
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        Ok(General {
            call: call.clone(),
            codec: RowCodec::new(&types)?,
            states: Vec::new(),
            held: 0,
            gathered: None,
            gathers: false,
            positions: Vec::new(),
        })
    }

    /// Adds rows to the one accumulator of all groups.
    fn gather_rows(&mut self, rows: &Rows<'_>) -> Result<()> {
        if self.gathered.is_none() {
            self.gathered = Some(accumulator(&self.call)?);
        }
        self.positions.clear();
        self.positions
            .extend(rows.groups.iter().map(|group| *group as usize));
        let Some(gathered) = &mut self.gathered else {
            return Ok(());
        };
        gathered
            .update_batch(
                rows.arguments,
                &self.positions,
                rows.filter,
                self.states.len(),
            )
            .map_err(OperatorError::expression(self.call.function.name()))
    }

    fn seats(&self, groups: &[u32]) -> Seats {
        let has = |group: &u32| self.states[*group as usize].is_some();
        Seats::new(groups.iter().map(has))
    }

    /// The groups of rows, each once, in the seats of a small accumulator.
    fn dense(&self, groups: &[u32]) -> Dense {
        let mut positions = hashbrown::HashMap::with_capacity_and_hasher(
            groups.len().min(1024),
            NumberHasher::default(),
        );
        let mut seen = Vec::new();
        let mut rows: Vec<usize> = groups
            .iter()
            .map(|group| {
                *positions.entry(*group).or_insert_with(|| {
                    seen.push(*group);
                    seen.len() - 1
                })
            })
            .collect();
        let seats = self.seats(&seen);
        rows.iter_mut().for_each(|row| *row = seats.of(*row));
        let mut touched = seen.clone();
        for (at, group) in seen.into_iter().enumerate() {
            touched[seats.of(at)] = group;
        }
        Dense {
            touched,
            rows,
            seats,
        }
    }

    /// An accumulator in which groups that have states sit with them.
    fn load(&self, groups: &[u32], seats: &Seats) -> Result<Box<dyn GroupsAccumulator>> {
        let mut accumulator = accumulator(&self.call)?;
        if seats.taken() > 0 {
            let states = groups.iter();
            let states = states.filter_map(|group| self.states[*group as usize].as_deref());
            let states = self.codec.decode(states)?;
            let taken: Vec<usize> = (0..seats.taken()).collect();
            accumulator
                .merge_batch(&states, &taken, taken.len())
                .map_err(OperatorError::expression(self.call.function.name()))?;
        }
        Ok(accumulator)
    }

    fn store(&mut self, touched: &[u32], accumulator: &mut dyn GroupsAccumulator) -> Result<()> {
        let columns = accumulator
            .state(EmitTo::All)
            .map_err(OperatorError::expression(self.call.function.name()))?;
        let rows = self.codec.encode(&columns)?;
        for (row, group) in touched.iter().enumerate() {
            let state: Box<[u8]> = rows.row(row).data().into();
            self.held += state.len();
            let old = self.states[*group as usize].replace(state);
            self.held -= old.map_or(0, |old| old.len());
        }
        Ok(())
    }
}

impl Function for General {
    fn width(&self) -> usize {
        self.codec.columns()
    }

    fn resize(&mut self, groups: usize) {
        self.states.resize(groups, None);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        rows.refuse_retractions(&self.call)?;
        // An accumulator without groups has no columns for its state.
        if rows.groups.is_empty() {
            return Ok(());
        }
        if self.gathers {
            return self.gather_rows(rows);
        }
        let dense = self.dense(rows.groups);
        let mut accumulator = self.load(&dense.touched, &dense.seats)?;
        accumulator
            .update_batch(
                rows.arguments,
                &dense.rows,
                rows.filter,
                dense.touched.len(),
            )
            .map_err(OperatorError::expression(self.call.function.name()))?;
        self.store(&dense.touched, accumulator.as_mut())
    }

    fn gather(&mut self) {
        self.gathers = true;
    }

    fn settle(&mut self) -> Result<()> {
        self.gathers = false;
        let Some(mut gathered) = self.gathered.take() else {
            return Ok(());
        };
        let all: Vec<u32> = (0..u32::try_from(self.states.len()).unwrap_or(u32::MAX)).collect();
        self.store(&all, gathered.as_mut())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        let dense = self.dense(groups);
        let mut accumulator = self.load(&dense.touched, &dense.seats)?;
        accumulator
            .merge_batch(state, &dense.rows, dense.touched.len())
            .map_err(OperatorError::expression(self.call.function.name()))?;
        self.store(&dense.touched, accumulator.as_mut())
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        if groups.is_empty() {
            return self.codec.decode(std::iter::empty());
        }
        let seats = self.seats(groups);
        let mut accumulator = self.load(groups, &seats)?;
        seats.show_rest(accumulator.as_mut(), &self.call)?;
        let columns = accumulator
            .state(EmitTo::All)
            .map_err(OperatorError::expression(self.call.function.name()))?;
        columns
            .into_iter()
            .map(|column| seats.in_order(column))
            .collect()
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        if groups.is_empty() {
            // An accumulator without groups cannot say of what type nothing is.
            return Ok(arrow::array::new_empty_array(
                self.call.function.field().data_type(),
            ));
        }
        let seats = self.seats(groups);
        let mut accumulator = self.load(groups, &seats)?;
        seats.show_rest(accumulator.as_mut(), &self.call)?;
        let column = accumulator
            .evaluate(EmitTo::All)
            .map_err(OperatorError::expression(self.call.function.name()))?;
        seats.in_order(column)
    }

    fn bytes_of(&self, group: u32) -> usize {
        self.states[group as usize]
            .as_ref()
            .map_or(0, |state| state.len())
    }

    fn bytes(&self) -> usize {
        let gathered = self.gathered.as_ref().map_or(0, |gathered| gathered.size());
        self.held + gathered + self.states.capacity() * size_of::<Option<Box<[u8]>>>()
    }
}

/// A new accumulator over many groups.
pub(super) fn accumulator(call: &AggregateCall) -> Result<Box<dyn GroupsAccumulator>> {
    let function = call.function.clone();
    if function.groups_accumulator_supported() {
        return function
            .create_groups_accumulator()
            .map_err(OperatorError::expression(function.name()));
    }
    Ok(Box::new(GroupsAccumulatorAdapter::new(move || {
        function.create_accumulator()
    })))
}
