//! The differential oracle: what streams must answer, by another way.
//!
//! A random query runs on the engine step by step, with restarts and several workers. A model written
//! from the specification says which rows count ([`model`]); plain DataFusion says what the query gives
//! over them ([`batch`]); [`check`] compares rows, late rows and state after every step. A case that
//! fails loses rows, steps and clauses while it still fails ([`shrink`]), and is printed as a stream
//! script ([`print`]).
//!
//! To add an operator: a rule in [`grammar`], its text in [`sql`] and [`batch`], and, if it depends on
//! time, a rule in [`model`].

pub mod batch;
pub mod call;
pub mod case;
pub mod check;
mod dice;
pub mod engine;
pub mod expr;
pub mod grammar;
pub mod member;
pub mod model;
mod plain;
pub mod print;
pub mod relations;
mod sessions;
pub mod shrink;
pub mod sql;
pub mod top;

pub use case::Case;
pub use check::{Kind, Mismatch};
pub use dice::Dice;
pub use grammar::Grammar;

use datafusion::error::DataFusionError;
use millstream_types::OutputMode;
use tokio::runtime::Runtime;

use self::{
    batch::Batch,
    case::{Shape, TimeKey},
    engine::{Played, Seen},
};

/// Asks engine and model the same questions.
#[derive(Debug)]
pub struct Oracle {
    runtime: Runtime,
}

impl Oracle {
    /// An oracle.
    ///
    /// # Errors
    /// When the operating system gives no resources.
    pub fn new() -> Result<Oracle, std::io::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Oracle { runtime })
    }

    /// What must be seen in each step of a case that is not refused.
    ///
    /// # Errors
    /// When DataFusion cannot run the query: a mistake of the grammar.
    pub fn expected(&self, case: &Case) -> Result<Vec<Seen>, DataFusionError> {
        let batch = Batch::new(case, &self.runtime)?;
        let arrivals = batch.arrivals()?;
        let has_data: Vec<bool> = (0..case.steps.len())
            .map(|step| case.has_data(step))
            .collect();
        let outcome = model::play(&rules(case), &arrivals, &has_data);
        let answer = batch.answer(&outcome)?;
        let below = batch.below()?;
        let mut expected = check::expected(case, &outcome, &answer, &below);
        if case.keeps_late {
            for (step, row) in batch.dropped(&outcome)? {
                expected[step].dropped.push(row);
            }
        }
        Ok(expected)
    }

    /// Plays a case and judges it.
    ///
    /// # Errors
    /// The first difference.
    pub fn judge(&self, case: &Case) -> Result<Verdict, Mismatch> {
        let refusal = check::refusal(case);
        match (engine::play(case), refusal) {
            (Played::Refused(fault), Some(code)) if fault.code.0 == code => Ok(Verdict::Refused),
            (Played::Refused(fault), wanted) => {
                let wanted = wanted.unwrap_or("no refusal");
                let what = format!("{} {}, not {wanted}", fault.code, fault.message);
                Err(Mismatch {
                    kind: Kind::Refusal,
                    step: 0,
                    what,
                })
            }
            (Played::Failed(step, fault), _) => {
                let what = format!("{} {}", fault.code, fault.message);
                Err(Mismatch {
                    kind: Kind::Failure,
                    step: step + 1,
                    what,
                })
            }
            (Played::Ran(..), Some(code)) => {
                let what = format!("not refused with {code}");
                Err(Mismatch {
                    kind: Kind::Refusal,
                    step: 0,
                    what,
                })
            }
            (Played::Ran(schema, got), None) => {
                let want = self.expected(case).map_err(|error| {
                    let what = error.to_string();
                    Mismatch {
                        kind: Kind::Oracle,
                        step: 0,
                        what,
                    }
                })?;
                check::check(case, &schema, &want, &got)?;
                let rows = got.iter().map(|seen| seen.rows.len()).sum();
                Ok(Verdict::Same {
                    rows,
                    late: got.iter().map(|seen| seen.late).sum(),
                })
            }
        }
    }
}

/// A case in which engine and oracle agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both refuse it.
    Refused,
    /// Both give the same rows.
    Same {
        /// How many reached the sink.
        rows: usize,
        /// How many (row, window) pairs were late.
        late: u64,
    },
}

/// What the model must know of a case.
#[must_use]
pub fn rules(case: &Case) -> model::Rules {
    let second = 1_000_000;
    let time = match case.groups().map(|groups| groups.time) {
        None | Some(TimeKey::None | TimeKey::Counted(_)) => model::Time::None,
        Some(TimeKey::Instant) => model::Time::Instant,
        Some(TimeKey::Session { .. }) => model::Time::Session,
        Some(TimeKey::Window {
            length,
            slide,
            start,
            ..
        }) => model::Time::Window(length * second, slide * second, start * second),
    };
    let time_of = |branch: &case::Branch| match &branch.inner {
        // Rows beside aggregations carry no watermark in any case of the grammar.
        None if case.query.is_chained() => model::Time::None,
        None => time,
        Some(inner) => match inner.window {
            Some(length) => model::Time::Window(length * second, length * second, 0),
            None if inner.keys.contains(&expr::Column::Time) => model::Time::Instant,
            None => model::Time::None,
        },
    };
    let is_session = time == model::Time::Session && case.is_marked();
    let mark = |branch: &case::Branch| {
        let delay = case.delays[branch.table];
        delay.map(|delay| (branch.table, delay * 1_000))
    };
    let is_aggregation = case.query.is_chained() || !matches!(case.query.shape, Shape::Rows(_));
    model::Rules {
        marks: case.query.branches.iter().map(mark).collect(),
        times: case.query.branches.iter().map(time_of).collect(),
        drops: check::closes(case) || is_session,
        closes: check::closes(case),
        fastest: case.fastest,
        no_data_epochs: case.no_data_epochs && is_aggregation && case.mode != OutputMode::Complete,
    }
}
