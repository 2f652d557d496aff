//! Relations between answers of the engine, which need no oracle: they also catch mistakes that the
//! oracle shares.

use std::fmt;

use millstream_types::OutputMode;

use super::{
    case::{Case, Row, Shape, Step, TimeKey},
    check::{consolidated, difference},
    engine::{Played, play},
    expr::{Column, Expr, Predicate},
    grammar::{self, Grammar},
};
use crate::script::Value;

/// A relation that does not hold.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Which.
    pub relation: &'static str,
    /// The case with the whole input.
    pub case: Box<Case>,
    /// What differs.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.relation, self.what)
    }
}

/// The rows of all steps together; in complete mode of the last that wrote any.
fn output(case: &Case) -> Result<Vec<(i64, Row)>, String> {
    match play(case) {
        Played::Refused(fault) => Err(format!("refused: {fault}")),
        Played::Failed(step, fault) => Err(format!("failed in step {}: {fault}", step + 1)),
        Played::Ran(_, seen) if case.mode == OutputMode::Complete => {
            let written = seen.into_iter().rev().find(|seen| !seen.rows.is_empty());
            Ok(written.map(|seen| seen.rows).unwrap_or_default())
        }
        Played::Ran(_, seen) => {
            let rows = seen.into_iter().flat_map(|seen| seen.rows).collect();
            let is_folded = case.mode == OutputMode::Changes;
            Ok(if is_folded { consolidated(rows) } else { rows })
        }
    }
}

/// Compares the output of a case with that of others taken together.
fn compare(relation: &'static str, whole: Case, parts: &[Case]) -> Result<(), Broken> {
    let outputs = || -> Result<Option<String>, String> {
        let want = output(&whole)?;
        let mut got = Vec::new();
        for part in parts {
            got.extend(output(part)?);
        }
        Ok(difference(&want, &got))
    };
    match outputs() {
        Ok(None) => Ok(()),
        Ok(Some(what)) | Err(what) => Err(Broken {
            relation,
            case: Box::new(whole),
            what,
        }),
    }
}

/// The first case from a seed on whose query is of the kind that is looked for.
fn find(seed: u64, fits: impl Fn(&Case) -> bool) -> Case {
    let simple = Grammar {
        chains: false,
        tops: false,
        late_rows: false,
        ..Grammar::TODAY
    };
    let cases = (0..).map(|idx| grammar::case(seed.wrapping_add(idx << 32), simple));
    cases
        .into_iter()
        .find(fits)
        .unwrap_or_else(|| grammar::case(seed, simple))
}

/// Rows for which a condition is true, false and unknown are all rows.
///
/// # Errors
/// When they are not.
pub fn by_condition(seed: u64) -> Result<(), Broken> {
    let mut whole = find(seed, |case| matches!(case.query.shape, Shape::Rows(_)));
    whole.mode = OutputMode::Append;
    let condition = grammar::condition(seed);
    let unknown = Predicate::Null(Expr::Is(Box::new(condition.clone())));
    let parts = [
        Predicate::Not(Box::new(condition.clone())),
        unknown,
        condition,
    ]
    .map(|filter| {
        let mut part = whole.clone();
        part.query.filters.push(filter);
        part
    });
    compare("p + not p + p is null = all", whole, &parts)
}

/// Groups of disjoint keys are computed together as apart.
///
/// # Errors
/// When they are not.
pub fn by_key(seed: u64) -> Result<(), Broken> {
    let computes_key = |case: &Case| {
        let mut computed = case
            .query
            .branches
            .iter()
            .flat_map(|branch| &branch.computed);
        computed.any(|(column, _)| *column == Column::Int)
    };
    let mut whole = find(seed, |case| {
        case.groups()
            .is_some_and(|groups| groups.keys.contains(&Expr::Column(Column::Int)))
            && !computes_key(case)
    });
    // Complete: nobody is late, so the parts cannot differ by their watermarks.
    whole.mode = OutputMode::Complete;
    if let Shape::Groups(groups) = &mut whole.query.shape {
        // A group that HAVING leaves out again would make an earlier result the last with rows.
        groups.having = None;
        // DISTINCT in a function is for mode changes alone.
        let distinct = groups.calls.iter_mut();
        for call in distinct.filter(|call| call.function.is_distinct()) {
            call.function = call.function.over_all();
        }
    }
    let parts = [0, 1, 2].map(|part| {
        let mut case = whole.clone();
        for step in &mut case.steps {
            step.rows
                .retain(|(_, row)| part_of(&row[Column::Int.position()]) == part);
        }
        case
    });
    compare("disjoint keys apart = together", whole, &parts)
}

fn part_of(key: &Value) -> i128 {
    if let Value::Int(key) = key {
        key.rem_euclid(2)
    } else {
        2
    }
}

/// Where no row is late, it does not matter how the input is cut into epochs.
///
/// # Errors
/// When it does.
pub fn by_split(seed: u64) -> Result<(), Broken> {
    let mut whole = find(seed, |case| {
        let has_time = case
            .groups()
            .is_some_and(|groups| groups.time != TimeKey::None);
        has_time && case.mode == OutputMode::Append && case.is_marked()
    });
    whole.mode = OutputMode::Changes;
    // With no delay at all a second row of the newest instant may be late.
    whole.delays = whole.delays.map(|delay| delay.map(|delay| delay.max(1)));
    whole.steps.iter_mut().for_each(|step| step.restart = None);
    let mut rows: Vec<(usize, Row)> = whole
        .steps
        .iter()
        .flat_map(|step| step.rows.clone())
        .collect();
    for (_, row) in &mut rows {
        if let Value::Timestamp(nanos) = &mut row[Column::Time.position()] {
            // After the beginning of time, where every mark starts.
            *nanos += 100_000_000_000;
        }
    }
    let nanos = |row: &(usize, Row)| {
        let Value::Timestamp(nanos) = row.1[Column::Time.position()] else {
            return i128::MIN;
        };
        nanos
    };
    rows.sort_by_key(nanos);
    let step = |rows: Vec<(usize, Row)>| Step {
        restart: None,
        rows,
    };
    let one_each: Vec<Step> = rows.iter().map(|row| step(vec![row.clone()])).collect();
    let halves = rows.split_at(rows.len() / 2);
    let splits = [
        vec![step(halves.0.to_vec()), step(halves.1.to_vec())],
        one_each,
    ];
    whole.steps = vec![step(rows)];
    let parts = splits.map(|mut steps| {
        steps.truncate(60);
        Case {
            steps,
            ..whole.clone()
        }
    });
    compare("one epoch = two", whole.clone(), &parts[..1])?;
    compare("one epoch = one a row", whole, &parts[1..])
}
