//! Every other aggregate function, through DataFusion's accumulators.
//!
//! DataFusion's accumulators give their results once, then are spent. Here a result may be wanted
//! in every epoch, so a group's state is kept as encoded rows; a batch loads the states of the
//! groups it touches into a fresh accumulator, adds its rows, and takes the states out again: a few
//! vectorised passes over touched groups, nothing over the others. A table that only gathers rows
//! before it is read once has one accumulator for all of them.

use arrow::{
    array::ArrayRef,
    datatypes::{DataType, FieldRef},
};
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::GroupsAccumulatorAdapter;

use super::{
    AggregateCall,
    function::{Function, Rows},
    marked::Spread,
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

/// Which of the touched groups is which in a small accumulator.
struct Dense {
    /// Touched groups in order of first sight.
    touched: Vec<u32>,
    /// For each row, the position of its group in `touched`.
    rows: Vec<usize>,
}

fn dense(groups: &[u32]) -> Dense {
    let mut positions =
        hashbrown::HashMap::with_capacity_and_hasher(groups.len().min(1024), Spread::default());
    let mut touched = Vec::new();
    let rows = groups
        .iter()
        .map(|group| {
            *positions.entry(*group).or_insert_with(|| {
                touched.push(*group);
                touched.len() - 1
            })
        })
        .collect();
    Dense { touched, rows }
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

    /// An accumulator in which the touched groups have their states.
    fn load(&self, touched: &[u32]) -> Result<Box<dyn GroupsAccumulator>> {
        let mut accumulator = accumulator(&self.call)?;
        let known: Vec<(usize, &[u8])> = touched
            .iter()
            .enumerate()
            .filter_map(|(at, group)| Some((at, self.states[*group as usize].as_deref()?)))
            .collect();
        if !known.is_empty() {
            let states = self.codec.decode(known.iter().map(|(_, state)| *state))?;
            let groups: Vec<usize> = known.iter().map(|(at, _)| *at).collect();
            accumulator
                .merge_batch(&states, &groups, touched.len())
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
        if self.gathers {
            return self.gather_rows(rows);
        }
        let dense = dense(rows.groups);
        let mut accumulator = self.load(&dense.touched)?;
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
        pad(gathered.as_mut(), all.len(), &self.call)?;
        self.store(&all, gathered.as_mut())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let dense = dense(groups);
        let mut accumulator = self.load(&dense.touched)?;
        accumulator
            .merge_batch(state, &dense.rows, dense.touched.len())
            .map_err(OperatorError::expression(self.call.function.name()))?;
        self.store(&dense.touched, accumulator.as_mut())
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        if groups.is_empty() {
            return self.codec.decode(std::iter::empty());
        }
        let mut accumulator = self.load(groups)?;
        pad(accumulator.as_mut(), groups.len(), &self.call)?;
        accumulator
            .state(EmitTo::All)
            .map_err(OperatorError::expression(self.call.function.name()))
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        if groups.is_empty() {
            // An accumulator without groups cannot say of what type nothing is.
            return Ok(arrow::array::new_empty_array(
                self.call.function.field().data_type(),
            ));
        }
        let mut accumulator = self.load(groups)?;
        pad(accumulator.as_mut(), groups.len(), &self.call)?;
        accumulator
            .evaluate(EmitTo::All)
            .map_err(OperatorError::expression(self.call.function.name()))
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

/// Makes an accumulator know of groups that have no state: an update without rows.
pub(super) fn pad(
    accumulator: &mut dyn GroupsAccumulator,
    groups: usize,
    call: &AggregateCall,
) -> Result<()> {
    let empty: Vec<ArrayRef> = call
        .argument_types
        .iter()
        .map(arrow::array::new_empty_array)
        .collect();
    accumulator
        .update_batch(&empty, &[], None, groups)
        .map_err(OperatorError::expression(call.function.name()))
}
