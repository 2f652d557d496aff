//! Stateless steps, fused into one timely operator.
//!
//! A chain keeps nothing: rows of any epoch pass at once. It notes event times for the watermark
//! operator where a step says so, after the filters before that step. Where an expression draws
//! random values, each row has a key on its way through the steps, made once when it comes in.
//! Here is what a chain is; [`pass`] takes rows through it, [`operator`] is its place in the dataflow.

use std::{
    cell::Cell,
    sync::{Arc, atomic::AtomicI64},
};

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

use crate::{
    clock::{bind, reads_clock},
    draw::{self, DrawSource, draws},
    error::{OperatorError, Result},
    unnest::Unnest,
};

pub mod operator;
pub mod pass;

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
    /// One row for each element of a list column.
    Unnest(Unnest),
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
                    Step::Mark { .. } | Step::Unnest(_) => step.clone(),
                };
                match &step {
                    Step::Project { expressions, .. } => columns = expressions.len(),
                    Step::Unnest(unnest) => columns = unnest.columns.len(),
                    Step::Filter(_) | Step::Mark { .. } => {}
                }
                Ok(BoundStep {
                    step,
                    draws,
                    rows_at_once: Cell::new(ROWS_AT_FIRST),
                })
            })
            .collect()
    }
}

impl Step {
    fn expressions(&self) -> &[Arc<dyn PhysicalExpr>] {
        match self {
            Step::Filter(expression) => std::slice::from_ref(expression),
            Step::Project { expressions, .. } => expressions,
            Step::Unnest(_) | Step::Mark { .. } => &[],
        }
    }

    fn draws(&self) -> bool {
        self.expressions().iter().any(draws)
    }
}

/// Rows whose lists are computed together, before it is known how long the lists are.
const ROWS_AT_FIRST: usize = 16;

/// A step on a worker, and whether it draws.
#[derive(Clone, Debug)]
struct BoundStep {
    step: Step,
    draws: bool,
    /// Of a projection below lists: rows that it is computed for at once.
    rows_at_once: Cell<usize>,
}

/// A chain at work on one worker.
pub struct Chain {
    steps: Vec<BoundStep>,
    clock: Option<Arc<AtomicI64>>,
    source: DrawSource,
    draws: bool,
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
}
