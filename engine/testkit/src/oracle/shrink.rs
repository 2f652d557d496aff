//! Smaller cases that still fail: first fewer restarts, steps and rows, then fewer clauses.

use super::{
    call::Function,
    case::{Case, Inner, Shape, Step, TimeKey, WindowField},
    expr::{Column, Expr, Predicate},
};
use crate::script::Value;

/// How many smaller cases are tried.
const TRIALS_MAX: usize = 800;

/// Ways to make a case smaller, each tried until it helps no more.
const STAGES: [fn(&Case, &mut Vec<Case>); 4] = [circumstances, data, clauses, values];

/// The smallest case that can be reached by single steps and still fails.
#[must_use]
pub fn shrink(case: &Case, still_fails: &mut dyn FnMut(&Case) -> bool) -> Case {
    let mut best = case.clone();
    let mut trials = 0;
    loop {
        let before = best.clone();
        for stage in STAGES {
            best = shrink_by(stage, best, &mut trials, still_fails);
        }
        if same(&best, &before) || trials >= TRIALS_MAX {
            return best;
        }
    }
}

fn shrink_by(
    stage: fn(&Case, &mut Vec<Case>),
    mut best: Case,
    trials: &mut usize,
    still_fails: &mut dyn FnMut(&Case) -> bool,
) -> Case {
    let smaller_than = |case: &Case| {
        let mut smaller = Vec::new();
        stage(case, &mut smaller);
        smaller
    };
    let mut smaller = smaller_than(&best);
    let (mut place, mut in_vain) = (0, 0);
    // Round and round over the list, until nothing on it still fails.
    while in_vain < smaller.len() && *trials < TRIALS_MAX {
        place %= smaller.len();
        let candidate = smaller.swap_remove(place);
        if !same(&candidate, &best) {
            *trials += 1;
            if still_fails(&candidate) {
                best = candidate;
                smaller = smaller_than(&best);
                in_vain = 0;
                continue;
            }
        }
        // Its place was taken by the last; put it back where that was.
        smaller.push(candidate);
        let last = smaller.len() - 1;
        smaller.swap(place, last);
        place += 1;
        in_vain += 1;
    }
    best
}

/// Equality that NaN does not disturb: with `==` no case with a NaN would be the same as itself.
fn same(left: &Case, right: &Case) -> bool {
    format!("{left:?}") == format!("{right:?}")
}

fn changed(case: &Case, out: &mut Vec<Case>, change: impl FnOnce(&mut Case)) {
    let mut smaller = case.clone();
    change(&mut smaller);
    out.push(smaller);
}

fn circumstances(case: &Case, out: &mut Vec<Case>) {
    changed(case, out, |case| {
        case.steps.iter_mut().for_each(|step| step.restart = None)
    });
    changed(case, out, |case| case.workers = 1);
    changed(case, out, |case| case.bytes = false);
    changed(case, out, |case| case.no_data_epochs = true);
    for (idx, step) in case.steps.iter().enumerate() {
        let Some(restart) = step.restart else {
            continue;
        };
        changed(case, out, |case| case.steps[idx].restart = None);
        if restart.workers != 1 {
            let fewer = super::case::Restart {
                workers: 1,
                ..restart
            };
            changed(case, out, |case| case.steps[idx].restart = Some(fewer));
        }
    }
}

fn data(case: &Case, out: &mut Vec<Case>) {
    let count = case.steps.len();
    if count > 2 {
        changed(case, out, |case| case.steps.truncate(count / 2));
        changed(case, out, |case| drop(case.steps.drain(..count / 2)));
    }
    for idx in (0..count).rev() {
        if count > 1 {
            changed(case, out, |case| drop(case.steps.remove(idx)));
        }
    }
    for idx in 0..count {
        let rows = case.steps[idx].rows.len();
        if rows > 1 {
            changed(case, out, |case| case.steps[idx].rows.truncate(rows / 2));
            changed(case, out, |case| {
                drop(case.steps[idx].rows.drain(..rows / 2))
            });
        }
        for row in (0..rows).rev() {
            changed(case, out, |case| drop(case.steps[idx].rows.remove(row)));
        }
    }
    for idx in 1..count {
        changed(case, out, |case| {
            let Step { rows, restart } = case.steps.remove(idx);
            let before = &mut case.steps[idx - 1];
            before.rows.extend(rows);
            before.restart = before.restart.or(restart);
        });
    }
}

fn clauses(case: &Case, out: &mut Vec<Case>) {
    for idx in 0..case.query.branches.len() {
        if case.query.branches.len() > 1 {
            changed(case, out, |case| drop(case.query.branches.remove(idx)));
        }
        changed(case, out, |case| case.query.branches[idx].table = 0);
        changed(case, out, |case| case.query.branches[idx].inner = None);
        inner(case, idx, out);
        changed(case, out, |case| case.query.branches[idx].filters.clear());
        for computed in 0..case.query.branches[idx].computed.len() {
            let branch = &case.query.branches[idx];
            changed(case, out, |case| {
                drop(case.query.branches[idx].computed.remove(computed));
            });
            for expr in smaller(&branch.computed[computed].1) {
                changed(case, out, |case| {
                    case.query.branches[idx].computed[computed].1 = expr;
                });
            }
        }
        for (place, filter) in case.query.branches[idx].filters.iter().enumerate() {
            for part in smaller_predicate(filter) {
                changed(case, out, |case| {
                    case.query.branches[idx].filters[place] = part
                });
            }
        }
    }
    changed(case, out, |case| case.query.top = None);
    changed(case, out, |case| {
        if let Some(top) = &mut case.query.top {
            top.offset = 0;
        }
    });
    changed(case, out, |case| {
        if let Some(top) = &mut case.query.top {
            top.order.truncate(1);
        }
    });
    changed(case, out, |case| case.keeps_late = false);
    changed(case, out, |case| case.fastest = false);
    changed(case, out, |case| case.query.nested = false);
    changed(case, out, |case| case.query.shifted = false);
    changed(case, out, |case| case.query.filters.clear());
    for (place, filter) in case.query.filters.iter().enumerate() {
        changed(case, out, |case| drop(case.query.filters.remove(place)));
        for part in smaller_predicate(filter) {
            changed(case, out, |case| case.query.filters[place] = part);
        }
    }
    for idx in 0..case.delays.len() {
        changed(case, out, |case| case.delays[idx] = None);
        changed(case, out, |case| {
            case.delays[idx] = case.delays[idx].map(|_| 0)
        });
    }
    shape(case, out);
}

/// Fewer keys and plainer calls of an aggregation in a branch.
fn inner(case: &Case, idx: usize, out: &mut Vec<Case>) {
    let Some(inner) = &case.query.branches[idx].inner else {
        return;
    };
    let mut with = |change: &dyn Fn(&mut Inner)| {
        changed(case, out, |case| {
            if let Some(inner) = &mut case.query.branches[idx].inner {
                change(inner);
            }
        });
    };
    for key in 0..inner.keys.len() {
        if inner.keys.len() > 1 || inner.window.is_some() {
            with(&|inner| {
                inner.keys.remove(key);
            });
        }
    }
    for (place, (_, call)) in inner.calls.iter().enumerate() {
        with(&|inner| inner.calls[place].1.filter = None);
        with(&|inner| inner.calls[place].1.or_zero = false);
        if call.ty() == call.argument.ty() {
            with(&|inner| inner.calls[place].1.function = Function::Max);
        }
        for argument in smaller(&call.argument) {
            with(&|inner| inner.calls[place].1.argument = argument.clone());
        }
    }
}

fn shape(case: &Case, out: &mut Vec<Case>) {
    for shape in smaller_shapes(&case.query.shape) {
        changed(case, out, |case| case.query.shape = shape);
    }
}

fn smaller_shapes(shape: &Shape) -> Vec<Shape> {
    match shape {
        Shape::Rows(items) => smaller_lists(items, 1)
            .into_iter()
            .map(Shape::Rows)
            .collect(),
        Shape::Distinct(items) => smaller_lists(items, 1)
            .into_iter()
            .map(Shape::Distinct)
            .collect(),
        Shape::Groups(groups) => {
            let mut out = Vec::new();
            let mut with = |change: &dyn Fn(&mut super::case::Groups)| {
                let mut smaller = groups.clone();
                change(&mut smaller);
                out.push(Shape::Groups(smaller));
            };
            with(&|groups| groups.having = None);
            with(&|groups| groups.time = TimeKey::None);
            if let TimeKey::Window { length, slide, .. } = groups.time {
                let shown = WindowField::Start;
                for (slide, start) in [(length, 0), (slide, 0)] {
                    let time = TimeKey::Window {
                        length,
                        slide,
                        start,
                        shown,
                    };
                    with(&|groups| groups.time = time);
                }
            }
            for keys in smaller_lists(&groups.keys, 0) {
                with(&|groups| groups.keys.clone_from(&keys));
            }
            for idx in 0..groups.calls.len() {
                if groups.calls.len() > 1 {
                    with(&|groups| {
                        drop(groups.calls.remove(idx));
                        groups.having = None;
                    });
                }
                with(&|groups| groups.calls[idx].filter = None);
                with(&|groups| groups.calls[idx].or_zero = false);
                for argument in smaller(&groups.calls[idx].argument) {
                    with(&|groups| groups.calls[idx].argument = argument.clone());
                }
                for filter in groups.calls[idx].filter.iter().flat_map(smaller_predicate) {
                    with(&|groups| groups.calls[idx].filter = Some(filter.clone()));
                }
            }
            out
        }
    }
}

fn smaller_lists(items: &[Expr], least: usize) -> Vec<Vec<Expr>> {
    let mut out = Vec::new();
    for (idx, item) in items.iter().enumerate() {
        if items.len() > least {
            let mut fewer = items.to_vec();
            fewer.remove(idx);
            out.push(fewer);
        }
        for smaller in smaller(item) {
            let mut other = items.to_vec();
            other[idx] = smaller;
            out.push(other);
        }
    }
    out
}

/// Simpler expressions of the same type.
fn smaller(expr: &Expr) -> Vec<Expr> {
    let ty = expr.ty();
    let parts: Vec<Expr> = match expr {
        Expr::Column(_) | Expr::Literal(..) => return Vec::new(),
        Expr::Arithmetic(_, left, right) | Expr::Coalesce(left, right) => {
            vec![left.as_ref().clone(), right.as_ref().clone()]
        }
        Expr::Case(when, then, otherwise) => {
            let mut parts = vec![then.as_ref().clone()];
            parts.extend(otherwise.as_ref().map(|expr| expr.as_ref().clone()));
            let whens = smaller_predicate(when).into_iter();
            parts.extend(
                whens.map(|when| Expr::Case(Box::new(when), then.clone(), otherwise.clone())),
            );
            parts
        }
        Expr::Length(inner) => {
            let inner = smaller(inner).into_iter();
            inner.map(|inner| Expr::Length(Box::new(inner))).collect()
        }
        Expr::Is(predicate) => {
            let parts = smaller_predicate(predicate).into_iter();
            parts.map(|part| Expr::Is(Box::new(part))).collect()
        }
    };
    let column = Column::ALL
        .into_iter()
        .find(|column| column.ty() == ty)
        .map(Expr::Column);
    column
        .into_iter()
        .chain(parts)
        .filter(|part| part.ty() == ty)
        .collect()
}

fn smaller_predicate(predicate: &Predicate) -> Vec<Predicate> {
    match predicate {
        Predicate::Not(inner) => vec![inner.as_ref().clone()],
        Predicate::Or(left, right) => vec![left.as_ref().clone(), right.as_ref().clone()],
        Predicate::Compare(..)
        | Predicate::Null(_)
        | Predicate::In(..)
        | Predicate::Like(..)
        | Predicate::True(_) => Vec::new(),
    }
}

/// Plainer values in the rows: null, or a small one of the type.
fn values(case: &Case, out: &mut Vec<Case>) {
    for step in 0..case.steps.len() {
        for row in 0..case.steps[step].rows.len() {
            let table = case.steps[step].rows[row].0;
            for column in case.query.table_columns(table) {
                let value = &case.steps[step].rows[row].1[column.position()];
                for plain in plainer(value) {
                    changed(case, out, |case| {
                        case.steps[step].rows[row].1[column.position()] = plain;
                    });
                }
            }
        }
    }
}

fn plainer(value: &Value) -> Vec<Value> {
    let second = 1_000_000_000;
    if let Value::Int(number) = value {
        if [0, 1].contains(number) {
            Vec::new()
        } else {
            vec![Value::Int(0), Value::Int(1)]
        }
    } else if let Value::Text(text) = value {
        if text == "a" {
            Vec::new()
        } else {
            vec![Value::Text("a".to_owned())]
        }
    } else if let Value::Timestamp(nanos) = value {
        let whole = Value::Timestamp(nanos - nanos.rem_euclid(second));
        if whole == *value {
            Vec::new()
        } else {
            vec![whole]
        }
    } else if let Value::Float(number) = value {
        if number.to_bits() == 0 {
            Vec::new()
        } else {
            vec![Value::Float(0.0)]
        }
    } else {
        Vec::new()
    }
}
