//! Stateless steps, fused into one timely operator.
//!
//! A chain keeps nothing: rows of any epoch pass at once. It notes event times for the watermark
//! operator where a step says so, after the filters before that step. Where an expression draws
//! random values, each row has a key on its way through the steps, made once when it comes in.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array,
        UInt64Array,
    },
    compute,
    datatypes::{DataType, Field, SchemaRef, TimestampMicrosecondType, UInt64Type},
};
use datafusion_common::cast::as_boolean_array;
use datafusion_physical_expr::PhysicalExpr;
use millstream_types::{Coded, Epoch};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        channels::pact::Pipeline,
        operators::generic::{OutputBuilder, builder_rc::OperatorBuilder},
    },
};

use crate::{
    clock::{bind, reads_clock},
    delta::Delta,
    draw::{self, DrawSource, draws, nested, row_keys, with_keys},
    driver::{DeltaStream, OperatorEnvironment, OperatorEvent, epoch_of},
    error::{OperatorError, Result},
    watermark::{EventStatistics, StatisticsStream},
};

/// One step of a chain. Expressions see the columns that the step before left.
#[derive(Clone, Debug)]
pub enum Step {
    /// Keeps rows for which the expression is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Computes new columns.
    Project {
        /// One expression a column.
        expressions: Vec<Arc<dyn PhysicalExpr>>,
        /// The columns they make.
        schema: SchemaRef,
    },
    /// One row for each element of a list column, which then holds the element.
    Unnest {
        /// A `List` or `LargeList` column of the input.
        column: usize,
        /// Whether a row with an empty or null list stays, with a null element.
        outer: bool,
        /// The columns afterwards: as before, but for the element's type.
        schema: SchemaRef,
    },
    /// Notes the newest event time for a watermark definition; rows pass unchanged.
    Mark {
        /// Index in the plan's definitions.
        definition: u32,
        /// A timestamp column.
        column: usize,
    },
}

/// The steps of one chain and the columns it ends with.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    /// At least one step.
    pub steps: Vec<Step>,
    /// Columns after the last step.
    pub output: SchemaRef,
}

impl ChainSpec {
    /// Whether a step feeds a watermark definition.
    #[must_use]
    pub fn marks(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Mark { .. }))
    }

    /// Whether an expression reads the epoch's clock.
    #[must_use]
    pub fn reads_clock(&self) -> bool {
        let mut expressions = self.steps.iter().flat_map(Step::expressions);
        expressions.any(reads_clock)
    }

    /// Whether an expression draws random values.
    #[must_use]
    pub fn draws(&self) -> bool {
        self.steps.iter().any(Step::draws)
    }

    /// The steps with clocks reading `cell` and draws reading their row keys.
    fn bound(&self, cell: &Arc<AtomicI64>, source: &DrawSource) -> Result<Vec<BoundStep>> {
        let mut columns = source.columns;
        self.steps
            .iter()
            .map(|step| {
                let draws = step.draws();
                let bound = |expression: &Arc<dyn PhysicalExpr>| {
                    let read = bind(expression.clone(), cell);
                    let read = read.and_then(|read| match draws && draw::draws(&read) {
                        true => draw::bind(read, source.query_seed, columns),
                        false => Ok(read),
                    });
                    read.map_err(OperatorError::expression(expression))
                };
                let step = match step {
                    Step::Filter(expression) => Step::Filter(bound(expression)?),
                    Step::Project {
                        expressions,
                        schema,
                    } => Step::Project {
                        expressions: expressions.iter().map(bound).collect::<Result<_>>()?,
                        schema: schema.clone(),
                    },
                    Step::Mark { .. } | Step::Unnest { .. } => step.clone(),
                };
                if let Step::Project { expressions, .. } = &step {
                    columns = expressions.len();
                }
                Ok(BoundStep { step, draws })
            })
            .collect()
    }
}

impl Step {
    fn expressions(&self) -> &[Arc<dyn PhysicalExpr>] {
        match self {
            Step::Filter(expression) => std::slice::from_ref(expression),
            Step::Project { expressions, .. } => expressions,
            Step::Unnest { .. } | Step::Mark { .. } => &[],
        }
    }

    fn draws(&self) -> bool {
        self.expressions().iter().any(draws)
    }
}

/// A step on a worker, and whether it draws.
#[derive(Clone, Debug)]
struct BoundStep {
    step: Step,
    draws: bool,
}

/// A chain at work on one worker.
pub struct Chain {
    steps: Vec<BoundStep>,
    clock: Option<Arc<AtomicI64>>,
    source: DrawSource,
    draws: bool,
}

/// What a chain knows of the epoch of its rows.
#[derive(Clone, Copy, Debug)]
pub struct ChainContext {
    /// The epoch.
    pub epoch: Epoch,
    /// Its plan's clock, milliseconds since 1970.
    pub clock_ms: i64,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain")
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl Chain {
    /// The chain of a spec.
    ///
    /// # Errors
    /// When an expression cannot be bound to its clock or its draws.
    pub fn new(spec: &ChainSpec, source: DrawSource) -> Result<Chain> {
        let cell = Arc::new(AtomicI64::new(0));
        Ok(Chain {
            steps: spec.bound(&cell, &source)?,
            clock: spec.reads_clock().then_some(cell),
            source,
            draws: spec.draws(),
        })
    }

    /// Runs the steps over rows of an epoch.
    ///
    /// # Errors
    /// When an expression fails on a row.
    pub fn apply(
        &self,
        delta: Delta,
        context: ChainContext,
        mut mark: impl FnMut(EventStatistics),
    ) -> Result<Option<Delta>> {
        if let Some(clock) = &self.clock {
            clock.store(context.clock_ms, Ordering::Relaxed);
        }
        let mut keys = match self.draws {
            true => Some(row_keys(&delta, context.epoch, self.source.changing)?),
            false => None,
        };
        let mut delta = delta;
        for BoundStep { step, draws } in &self.steps {
            let seen = match &keys {
                Some(keys) if *draws => with_keys(delta.batch(), keys)
                    .map_err(OperatorError::arrow("putting row keys beside rows"))?,
                _ => delta.batch().clone(),
            };
            match step {
                Step::Filter(expression) => {
                    let keep = predicate(expression, &seen)?;
                    let kept = keep.true_count();
                    if kept == 0 {
                        return Ok(None);
                    }
                    if kept < delta.rows() {
                        delta = delta.filter(&keep)?;
                        keys = keys.map(|keys| kept_keys(&keys, &keep)).transpose()?;
                    }
                }
                Step::Project {
                    expressions,
                    schema,
                } => {
                    let batch = projected(expressions, schema, &seen)?;
                    delta = delta.with_columns(batch);
                }
                Step::Unnest {
                    column,
                    outer,
                    schema,
                } => {
                    let rows;
                    (delta, rows) = unnested(&delta, (*column, *outer), schema)?;
                    keys = keys.map(|keys| nested_keys(&keys, &rows));
                }
                Step::Mark { definition, column } => {
                    if let Some(statistics) = statistics(*definition, delta.batch().column(*column))
                    {
                        mark(statistics);
                    }
                }
            }
        }
        Ok(Some(delta))
    }
}

fn kept_keys(keys: &UInt64Array, keep: &BooleanArray) -> Result<UInt64Array> {
    let kept = compute::filter(keys, keep).map_err(OperatorError::arrow("filtering row keys"))?;
    Ok(kept.as_primitive::<UInt64Type>().clone())
}

/// Keys of the rows that lists became; `rows` says of which row each is, in order.
fn nested_keys(keys: &UInt64Array, rows: &UInt32Array) -> UInt64Array {
    let (mut before, mut nth) = (None, 0);
    let keys = rows.values().iter().map(|row| {
        nth = if before == Some(*row) { nth + 1 } else { 0 };
        before = Some(*row);
        nested(keys.value(*row as usize), nth)
    });
    UInt64Array::from_iter_values(keys)
}

fn predicate(expression: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray> {
    let value = expression
        .evaluate(batch)
        .and_then(|value| value.into_array(batch.num_rows()))
        .map_err(OperatorError::expression(expression))?;
    as_boolean_array(&value)
        .cloned()
        .map_err(OperatorError::expression(expression))
        .map(|mask| {
            // A null condition is not true.
            if mask.null_count() > 0 {
                compute::prep_null_mask_filter(&mask)
            } else {
                mask
            }
        })
}

fn projected(
    expressions: &[Arc<dyn PhysicalExpr>],
    schema: &SchemaRef,
    batch: &RecordBatch,
) -> Result<RecordBatch> {
    let columns = expressions
        .iter()
        .map(|expression| {
            expression
                .evaluate(batch)
                .and_then(|value| value.into_array(batch.num_rows()))
                .map_err(OperatorError::expression(expression))
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(OperatorError::arrow("projecting rows"))
}

/// Repeats each row for the elements of its list; also says of which row each one is.
fn unnested(
    delta: &Delta,
    (column, outer): (usize, bool),
    schema: &SchemaRef,
) -> Result<(Delta, UInt32Array)> {
    let contract = || OperatorError::contract("explode over a column that is no list");
    let lists = compute::cast(
        delta.batch().column(column),
        &DataType::List(Arc::new(Field::new_list_field(
            schema.field(column).data_type().clone(),
            true,
        ))),
    )
    .map_err(OperatorError::arrow("exploding a list"))?;
    let lists = lists.as_list_opt::<i32>().ok_or_else(contract)?;
    let mut rows: Vec<u32> = Vec::new();
    let mut elements: Vec<Option<u32>> = Vec::new();
    for (row, number) in (0..lists.len()).zip(0u32..) {
        let (start, end) = (lists.value_offsets()[row], lists.value_offsets()[row + 1]);
        if lists.is_null(row) || start == end {
            if outer {
                rows.push(number);
                elements.push(None);
            }
            continue;
        }
        for element in start..end {
            rows.push(number);
            elements.push(Some(element.unsigned_abs()));
        }
    }
    let elements = compute::take(lists.values(), &UInt32Array::from(elements), None)
        .map_err(OperatorError::arrow("exploding a list"))?;
    let rows = UInt32Array::from(rows);
    // Rows of one list keep its order: they stand together wherever they go.
    let indices: ArrayRef = Arc::new(rows.clone());
    let repeated = delta.take(&indices)?;
    let mut columns = repeated.batch().columns().to_vec();
    columns[column] = elements;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(OperatorError::arrow("exploding a list"))?;
    Ok((repeated.with_columns(batch), rows))
}

/// Newest, oldest, sum and count of the times that are not null.
#[expect(
    clippy::cast_precision_loss,
    reason = "the sum serves a mean for people"
)]
fn statistics(definition: u32, column: &dyn Array) -> Option<EventStatistics> {
    let times = column.as_primitive_opt::<TimestampMicrosecondType>()?;
    let (max, min) = (compute::max(times)?, compute::min(times)?);
    let count = (times.len() - times.null_count()) as u64;
    // Offsets from the oldest keep the sum exact enough whatever the era.
    let offsets: i128 = times
        .iter()
        .flatten()
        .map(|at| i128::from(at) - i128::from(min))
        .sum();
    let sum_ms = (min as f64 / 1000.0) * count as f64 + offsets as f64 / 1000.0;
    Some((definition, max, min, sum_ms, count))
}

/// Puts a chain into the dataflow; the second stream carries its event-time statistics.
pub fn chain_operator<'s>(
    input: DeltaStream<'s>,
    chain: Chain,
    environment: &OperatorEnvironment,
) -> (DeltaStream<'s>, StatisticsStream<'s>) {
    let mut builder = OperatorBuilder::new("Chain".to_owned(), input.scope());
    let (rows, row_stream) = builder.new_output::<Delta>();
    let (marks, mark_stream) = builder.new_output::<Vec<EventStatistics>>();
    let mut rows = OutputBuilder::<u64, CapacityContainerBuilder<Delta>>::from(rows);
    let mut marks =
        OutputBuilder::<u64, CapacityContainerBuilder<Vec<EventStatistics>>>::from(marks);
    let mut input = builder.new_input(input, Pipeline);
    let environment = environment.clone();
    let failed = Rc::new(std::cell::Cell::new(false));
    builder.build(move |capabilities| {
        drop(capabilities);
        // After an error the input's capability is kept, so that the epoch never closes.
        let mut kept = None;
        move |_frontiers| {
            let (mut rows, mut marks) = (rows.activate(), marks.activate());
            input.for_each(|time, delta| {
                if failed.get() {
                    return;
                }
                let epoch = epoch_of(&time);
                let clock_ms = environment
                    .board
                    .facts(epoch)
                    .map_or(0, |facts| facts.clock_ms);
                let mut noted = Vec::new();
                let result = if delta.is_damaged() {
                    Err(OperatorError::Frame { epoch })
                } else {
                    let context = ChainContext { epoch, clock_ms };
                    chain.apply(std::mem::take(delta), context, |one| noted.push(one))
                };
                if !noted.is_empty() {
                    marks
                        .session(&time.delayed(&epoch.0, 1))
                        .give_container(&mut noted);
                }
                match result {
                    Ok(Some(mut delta)) if delta.rows() > 0 => {
                        rows.session(&time.delayed(&epoch.0, 0))
                            .give_container(&mut delta);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        failed.set(true);
                        kept = Some((time.delayed(&epoch.0, 0), time.delayed(&epoch.0, 1)));
                        (environment.reporter)(OperatorEvent::Failed(error.fault()));
                    }
                }
            });
            // Reading it keeps it alive with the operator.
            let _held = kept.as_ref();
        }
    });
    (row_stream, mark_stream)
}
