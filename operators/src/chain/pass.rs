//! `Pass`: rows of one batch on their way through a chain.
//!
//! Lists become rows a portion at a time: a pass remembers where rows stand among the steps, and gives one
//! batch a call. Lists that a projection computes are computed for so many rows at once that they stay
//! small. [INV-07] What it does *not* do: wait for its turn.
//! Tests: `tests/it/unnest.rs`, and stream scripts.

use std::sync::{Arc, atomic::Ordering};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array},
    compute,
    datatypes::{SchemaRef, TimestampMicrosecondType, UInt64Type},
};
use datafusion_common::cast::as_boolean_array;
use datafusion_physical_expr::PhysicalExpr;
use millstream_types::Epoch;

use super::{BoundStep, Chain, Step};
use crate::{
    delta::{BATCH_BYTES_MAX, Delta},
    draw::{row_keys, with_keys},
    error::{OperatorError, Result},
    unnest::{Lists, Portion, Unnest},
    watermark::EventStatistics,
};

/// By how much more rows may be tried than before: lists may be longer there.
const GROWTH: usize = 4;

/// What a chain knows of the epoch of its rows.
#[derive(Clone, Copy, Debug)]
pub struct ChainContext {
    /// The epoch.
    pub epoch: Epoch,
    /// Its plan's clock, milliseconds since 1970.
    pub clock_ms: i64,
}

/// Rows of one batch on their way through a chain.
#[derive(Debug)]
pub struct Pass {
    context: ChainContext,
    first: Option<Portion>,
    /// Where rows stand that become more, the innermost last.
    unfolding: Vec<Unfolding>,
}

impl Pass {
    /// One that no rows are left in.
    pub(super) fn spent(context: ChainContext) -> Pass {
        Pass {
            context,
            first: None,
            unfolding: Vec::new(),
        }
    }

    /// Whether rows stand at a list, so that many may still come.
    #[must_use]
    pub fn unfolds(&self) -> bool {
        !self.unfolding.is_empty()
    }
}

/// Rows that stand at a list.
#[derive(Debug)]
struct Unfolding {
    /// The number of the step that makes rows from lists.
    unnest: usize,
    /// The number of the step before it, if that computes the lists.
    project: Option<usize>,
    rows: Delta,
    keys: Option<UInt64Array>,
    /// The first row whose list was not looked at.
    next: usize,
    lists: Option<Lists>,
}

impl Unfolding {
    fn new(unnest: usize, project: Option<usize>, (rows, keys): Portion) -> Unfolding {
        Unfolding {
            unnest,
            project,
            rows,
            keys,
            next: 0,
            lists: None,
        }
    }
}

impl Chain {
    /// Rows of an epoch before the first step.
    ///
    /// # Errors
    /// When the rows have no place in their input and the chain draws.
    pub fn pass(&self, delta: Delta, context: ChainContext) -> Result<Pass> {
        let keys = match self.draws {
            true => Some(row_keys(&delta, context.epoch, self.source.changing)?),
            false => None,
        };
        Ok(Pass {
            context,
            first: Some((delta, keys)),
            unfolding: Vec::new(),
        })
    }

    /// The next rows that leave the steps; nothing when all have left.
    ///
    /// # Errors
    /// When an expression fails on a row. The pass is then of no use.
    pub fn next(
        &self,
        pass: &mut Pass,
        mut mark: impl FnMut(EventStatistics),
    ) -> Result<Option<Delta>> {
        if let Some(clock) = &self.clock {
            clock.store(pass.context.clock_ms, Ordering::Relaxed);
        }
        loop {
            let (from, rows) = if let Some(rows) = pass.first.take() {
                (0, rows)
            } else if let Some(innermost) = pass.unfolding.last_mut() {
                match self.portion(innermost)? {
                    Some(rows) => (innermost.unnest + 1, rows),
                    None => {
                        pass.unfolding.pop();
                        continue;
                    }
                }
            } else {
                return Ok(None);
            };
            if let Some(delta) = self.run(from, rows, &mut pass.unfolding, &mut mark)? {
                return Ok(Some(delta));
            }
        }
    }

    /// Runs the steps from one on, up to where rows become more: there they are left standing. Gives what
    /// comes out at the end.
    fn run(
        &self,
        from: usize,
        (mut delta, mut keys): Portion,
        standing: &mut Vec<Unfolding>,
        mark: &mut impl FnMut(EventStatistics),
    ) -> Result<Option<Delta>> {
        for (at, bound) in self.steps.iter().enumerate().skip(from) {
            match &bound.step {
                Step::Filter(expression) => {
                    let keep = predicate(expression, &bound.seen(&delta, keys.as_ref())?)?;
                    let kept = keep.true_count();
                    if kept == 0 {
                        return Ok(None);
                    }
                    if kept < delta.rows() {
                        delta = delta.filter(&keep)?;
                        keys = keys.map(|keys| kept_keys(&keys, &keep)).transpose()?;
                    }
                }
                Step::Project { .. } if self.unnest(at + 1).is_some() => {
                    standing.push(Unfolding::new(at + 1, Some(at), (delta, keys)));
                    return Ok(None);
                }
                Step::Project {
                    expressions,
                    schema,
                } => {
                    let seen = bound.seen(&delta, keys.as_ref())?;
                    let batch = projected(expressions, schema, &seen)?;
                    delta = delta.with_columns(batch);
                }
                Step::Unnest(_) => {
                    standing.push(Unfolding::new(at, None, (delta, keys)));
                    return Ok(None);
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

    fn unnest(&self, at: usize) -> Option<&Unnest> {
        match &self.steps.get(at)?.step {
            Step::Unnest(unnest) => Some(unnest),
            Step::Filter(_) | Step::Project { .. } | Step::Mark { .. } => None,
        }
    }

    /// The next rows that lists become; nothing when all have become rows.
    fn portion(&self, unfolding: &mut Unfolding) -> Result<Option<Portion>> {
        let unnest = self
            .unnest(unfolding.unnest)
            .ok_or_else(|| OperatorError::contract("rows stand at no list"))?;
        loop {
            if let Some(lists) = &mut unfolding.lists {
                if let Some(portion) = lists.portion(&unnest.schema)? {
                    return Ok(Some(portion));
                }
                unfolding.lists = None;
            }
            let left = unfolding.rows.rows() - unfolding.next;
            if left == 0 {
                return Ok(None);
            }
            let project = unfolding.project.and_then(|at| self.steps.get(at));
            let count = match project {
                Some(project) => left.min(project.rows_at_once.get()),
                // The lists are there already.
                None => left,
            };
            let mut rows = unfolding.rows.slice(unfolding.next, count);
            let keys = unfolding.keys.as_ref();
            let keys = keys.map(|keys| keys.slice(unfolding.next, count));
            if let Some(project) = project {
                let batch = project.projected(&rows, keys.as_ref())?;
                rows = rows.with_columns(batch);
            }
            let lists = Lists::new(rows, keys, unnest)?;
            if let Some(project) = project {
                let each = lists.bytes() / count;
                let fitting = BATCH_BYTES_MAX / each.max(1);
                project.rows_at_once.set(fitting.clamp(1, count * GROWTH));
            }
            unfolding.next += count;
            unfolding.lists = Some(lists);
        }
    }
}

impl BoundStep {
    /// The rows as the step's expressions see them.
    fn seen(&self, delta: &Delta, keys: Option<&UInt64Array>) -> Result<RecordBatch> {
        match keys {
            Some(keys) if self.draws => with_keys(delta.batch(), keys)
                .map_err(OperatorError::arrow("putting row keys beside rows")),
            _ => Ok(delta.batch().clone()),
        }
    }

    fn projected(&self, delta: &Delta, keys: Option<&UInt64Array>) -> Result<RecordBatch> {
        let Step::Project {
            expressions,
            schema,
        } = &self.step
        else {
            return Err(OperatorError::contract("lists come from no projection"));
        };
        projected(expressions, schema, &self.seen(delta, keys)?)
    }
}

fn kept_keys(keys: &UInt64Array, keep: &BooleanArray) -> Result<UInt64Array> {
    let kept = compute::filter(keys, keep).map_err(OperatorError::arrow("filtering row keys"))?;
    Ok(kept.as_primitive::<UInt64Type>().clone())
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
