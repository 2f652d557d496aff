//! What must reach the sink, and whether it did.

use std::{collections::BTreeMap, fmt};

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use millstream_types::OutputMode;

use super::{
    batch::{Answer, Below, Group},
    case::{Case, Groups, Having, Row, Shape, TimeKey},
    engine::Seen,
    expr::Type,
    model::Outcome,
    top,
};
use crate::script::Value;

/// What is wrong; shrinking keeps the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Refused where it must not be, or the other way round, or with another code.
    Refusal,
    /// It stopped with an error.
    Failure,
    /// Columns of other types.
    Types,
    /// Other rows.
    Rows,
    /// The same rows in another order.
    Order,
    /// Other rows kept as late.
    Dropped,
    /// Another count of late rows.
    Late,
    /// Another count of groups held.
    State,
    /// The oracle itself could not answer.
    Oracle,
}

/// A difference between engine and oracle.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// What is wrong.
    pub kind: Kind,
    /// The step, counted from 1; 0 before the first.
    pub step: usize,
    /// In words.
    pub what: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in step {}: {}", self.kind, self.step, self.what)
    }
}

impl Mismatch {
    fn new(kind: Kind, step: usize, what: impl Into<String>) -> Mismatch {
        Mismatch {
            kind,
            step,
            what: what.into(),
        }
    }
}

/// What the rules of the specification say about a case before it runs: the code of the refusal.
#[must_use]
pub fn refusal(case: &Case) -> Option<&'static str> {
    let closes = |groups: &Groups| case.is_marked() && groups.time.is_time();
    let is_allowed = match (&case.query.shape, case.mode) {
        (_, OutputMode::Changes) => true,
        (Shape::Rows(_), mode) => mode != OutputMode::Complete,
        (Shape::Distinct(_), mode) => mode != OutputMode::Append,
        (Shape::Groups(groups), mode) => match (groups.time, mode) {
            (TimeKey::Session { .. }, OutputMode::Update) => false,
            (TimeKey::Session { .. }, OutputMode::Complete) => !groups.keys.is_empty(),
            (TimeKey::Session { .. }, _) => closes(groups) && !groups.keys.is_empty(),
            (TimeKey::Counted(_), _) => true,
            (_, OutputMode::Append) => closes(groups),
            (TimeKey::None | TimeKey::Instant | TimeKey::Window { .. }, _) => true,
        },
    };
    (!is_allowed).then_some("SQL-020")
}

/// What must be seen after each step.
#[must_use]
pub fn expected(case: &Case, outcome: &Outcome, answer: &Answer, below: &[Below]) -> Vec<Seen> {
    let steps = 0..case.steps.len();
    steps
        .map(|step| Seen {
            rows: rows_of_step(case, outcome, answer, step),
            late: outcome.late[step],
            state: held(case, outcome, answer, below, step),
            dropped: Vec::new(),
        })
        .collect()
}

/// How many groups are held after a step; `None` where other things are held, too.
fn held(
    case: &Case,
    outcome: &Outcome,
    answer: &Answer,
    below: &[Below],
    step: usize,
) -> Option<u64> {
    let is_cut = case.query.top.is_some() && case.mode != OutputMode::Complete;
    let is_delayed = case.query.is_chained() && case.mode == OutputMode::Append;
    // A condition on keys may stand below the aggregation, where it keeps groups away.
    let is_filtered = case.query.is_chained() && {
        let has_key = |groups: &Groups| matches!(groups.having, Some(Having::Key(..)));
        !case.query.filters.is_empty() || case.groups().is_some_and(has_key)
    };
    if is_cut || is_delayed || is_filtered {
        return None;
    }
    let closes = closes(case);
    let is_open = |closed_by: Option<i64>| {
        !(closes && closed_by.is_some_and(|by| by <= outcome.closed[step]))
    };
    let below = below
        .iter()
        .filter(|group| group.after == step && is_open(group.closed_by));
    let below = below.count();
    let groups = match answer {
        Answer::Groups(groups) if case.groups().is_some() || is_distinct(case) => {
            let size = counted(case).filter(|_| case.mode != OutputMode::Complete);
            let begun = begun(case, step);
            let held = groups.iter().filter(|group| {
                let is_full = size.is_some() && group.closed_by == size;
                begun
                    && group.after == step
                    && !is_full
                    && (counted(case).is_some() || is_open(group.closed_by))
            });
            held.count()
        }
        Answer::Groups(_) | Answer::Rows(_) => 0,
    };
    u64::try_from(below + groups).ok()
}

fn is_distinct(case: &Case) -> bool {
    matches!(case.query.shape, Shape::Distinct(_))
}

/// How many rows fill a window by count.
fn counted(case: &Case) -> Option<i64> {
    case.groups().and_then(|groups| {
        if let TimeKey::Counted(rows) = groups.time {
            Some(rows)
        } else {
            None
        }
    })
}

/// Whether anything came in up to a step.
fn begun(case: &Case, step: usize) -> bool {
    (0..=step).any(|step| case.has_data(step))
}

/// Whether late rows are dropped and closed groups removed.
#[must_use]
pub fn closes(case: &Case) -> bool {
    let outer = case.groups().is_some_and(|groups| groups.time.is_time());
    let has_time = outer || case.query.is_chained();
    has_time && case.is_marked() && case.mode != OutputMode::Complete
}

/// Whether the order of rows is part of the answer.
#[must_use]
pub fn is_sorted(case: &Case) -> bool {
    let top = case.query.top.as_ref();
    case.mode == OutputMode::Complete && top.is_some_and(|top| !top.order.is_empty())
}

fn rows_of_step(case: &Case, outcome: &Outcome, answer: &Answer, step: usize) -> Vec<(i64, Row)> {
    let added = |row: Row| (1, row);
    let has_data = case.has_data(step);
    if case.mode == OutputMode::Changes
        || (case.mode == OutputMode::Append && case.query.top.is_some())
    {
        return changes_of_step(case, answer, step);
    }
    let groups = match answer {
        Answer::Rows(rows) => {
            let rows = rows.iter().filter(|(of, _)| *of == step);
            return rows.map(|(_, row)| added(row.clone())).collect();
        }
        Answer::Groups(groups) => groups,
    };
    if case.mode == OutputMode::Complete {
        if !has_data {
            return Vec::new();
        }
        return result_after(case, answer, step)
            .into_iter()
            .map(added)
            .collect();
    }
    let now = groups
        .iter()
        .filter(|group| group.after == step && group.shown);
    let added = |group: &Group| (1, group.values.clone());
    if case.mode == OutputMode::Update {
        // The row of an aggregation without keys belongs to every epoch with data.
        let always = has_data && case.groups().is_some_and(Groups::is_global);
        return now
            .filter(|group| always || group.touched == Some(step))
            .map(added)
            .collect();
    }
    if let Some(size) = counted(case) {
        let is_full = |group: &&Group| group.closed_by == Some(size) && group.touched == Some(step);
        return now.filter(is_full).map(added).collect();
    }
    // Groups that were closed before were emitted before; late rows never open one again.
    let before = if step == 0 {
        i64::MIN
    } else {
        outcome.closed[step - 1]
    };
    let is_closed = |by: i64| before < by && by <= outcome.closed[step];
    now.filter(|group| group.closed_by.is_some_and(is_closed))
        .map(added)
        .collect()
}

/// The whole result after a step.
fn result_after(case: &Case, answer: &Answer, after: usize) -> Vec<Row> {
    let rows: Vec<Row> = match answer {
        Answer::Rows(rows) => {
            let rows = rows.iter().filter(|(of, _)| *of <= after);
            rows.map(|(_, row)| row.clone()).collect()
        }
        Answer::Groups(groups) => {
            let begun = begun(case, after);
            let shown = |group: &&Group| group.after == after && group.shown && begun;
            groups
                .iter()
                .filter(shown)
                .map(|group| group.values.clone())
                .collect()
        }
    };
    match &case.query.top {
        Some(top) => top::cut(top, rows),
        None => rows,
    }
}

/// What was there before goes, what is there now comes, and what stays is not mentioned.
fn changes_of_step(case: &Case, answer: &Answer, step: usize) -> Vec<(i64, Row)> {
    let rows_after = |after: usize, weight: i64| {
        let rows = result_after(case, answer, after).into_iter();
        rows.map(move |row| (weight, row))
    };
    let old = step
        .checked_sub(1)
        .into_iter()
        .flat_map(|before| rows_after(before, -1));
    one_each(consolidated(old.chain(rows_after(step, 1)).collect()))
}

/// Each row as often as it counts.
fn one_each(rows: Vec<(i64, Row)>) -> Vec<(i64, Row)> {
    let each = rows.into_iter().flat_map(|(weight, row)| {
        let times = usize::try_from(weight.unsigned_abs()).unwrap_or(0);
        std::iter::repeat_n((weight.signum(), row), times)
    });
    each.collect()
}

/// A row as text in which equal rows are equal.
fn text(row: &Row) -> String {
    let cell = |value: &Value| {
        let is_zero = *value == Value::Float(0.0);
        if is_zero {
            "0.0".to_owned()
        } else {
            value.cell()
        }
    };
    row.iter().map(cell).collect::<Vec<_>>().join(" | ")
}

/// Equal rows added up, without those that come to nothing.
#[must_use]
pub fn consolidated(rows: Vec<(i64, Row)>) -> Vec<(i64, Row)> {
    let mut sums: BTreeMap<String, (i64, Row)> = BTreeMap::new();
    for (weight, row) in rows {
        sums.entry(text(&row)).or_insert_with(|| (0, row)).0 += weight;
    }
    sums.into_values()
        .filter(|(weight, _)| *weight != 0)
        .collect()
}

/// Changes without those that only give a zero another sign.
fn without_zero_signs(rows: &[(i64, Row)]) -> Vec<(i64, Row)> {
    let has_zero = |row: &Row| row.contains(&Value::Float(0.0));
    let undone = |weight: i64, row: &Row| {
        let undoes = |(other, same): &(i64, Row)| *other == -weight && text(same) == text(row);
        has_zero(row) && rows.iter().any(undoes)
    };
    let (zeros, others): (Vec<_>, Vec<_>) = rows
        .iter()
        .cloned()
        .partition(|(weight, row)| undone(*weight, row));
    others.into_iter().chain(consolidated(zeros)).collect()
}

/// Compares what was seen with what must be seen, step by step, then folded over all steps.
///
/// # Errors
/// The first difference.
pub fn check(case: &Case, schema: &SchemaRef, want: &[Seen], got: &[Seen]) -> Result<(), Mismatch> {
    check_types(case, schema)?;
    for (idx, (want, got)) in want.iter().zip(got).enumerate() {
        let step = idx + 1;
        if case.mode != OutputMode::Changes && got.rows.iter().any(|(weight, _)| *weight != 1) {
            let what = format!("a retraction in mode {}", case.mode);
            return Err(Mismatch::new(Kind::Rows, step, what));
        }
        let changes = case.mode == OutputMode::Changes;
        // Two groups may look the same above them: what one takes back the other may give.
        let is_projected = case.query.is_chained() && matches!(case.query.shape, Shape::Rows(_));
        let rows = if changes && is_projected {
            one_each(consolidated(got.rows.clone()))
        } else if changes {
            without_zero_signs(&got.rows)
        } else {
            got.rows.clone()
        };
        if let Some(what) = difference(&want.rows, &rows) {
            return Err(Mismatch::new(Kind::Rows, step, what));
        }
        let same = |(want, got): (&(i64, Row), &(i64, Row))| {
            want.1
                .iter()
                .zip(&got.1)
                .all(|(want, got)| want.matches(got))
        };
        if is_sorted(case) && !want.rows.iter().zip(&rows).all(same) {
            let list = |rows: &[(i64, Row)]| {
                let lines: Vec<String> = rows.iter().map(|(_, row)| text(row)).collect();
                lines.join("; ")
            };
            let what = format!("in the order {}, not {}", list(&rows), list(&want.rows));
            return Err(Mismatch::new(Kind::Order, step, what));
        }
        let kept = |rows: &[Row]| rows.iter().map(|row| (1, row.clone())).collect::<Vec<_>>();
        if let Some(what) = difference(&kept(&want.dropped), &kept(&got.dropped)) {
            return Err(Mismatch::new(Kind::Dropped, step, what));
        }
        if want.late != got.late {
            let what = format!("late={}, not {}", got.late, want.late);
            return Err(Mismatch::new(Kind::Late, step, what));
        }
        if want.state.is_some() && want.state != got.state {
            let what = format!("state={:?}, not {:?}", got.state, want.state);
            return Err(Mismatch::new(Kind::State, step, what));
        }
    }
    check_folded(case, got)
}

/// Rows of two multisets that have no partner in the other.
#[must_use]
pub fn difference(want: &[(i64, Row)], got: &[(i64, Row)]) -> Option<String> {
    let same = |(w, a): &(i64, Row), (v, b): &(i64, Row)| {
        w == v && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.matches(b))
    };
    let mut extra: Vec<&(i64, Row)> = got.iter().collect();
    let mut missing = Vec::new();
    for row in want {
        match extra.iter().position(|other| same(row, other)) {
            Some(place) => drop(extra.swap_remove(place)),
            None => missing.push(row),
        }
    }
    if missing.is_empty() && extra.is_empty() {
        return None;
    }
    let list = |rows: &[&(i64, Row)]| {
        let lines: Vec<String> = rows
            .iter()
            .map(|(weight, row)| format!("{weight:+} {}", text(row)))
            .collect();
        if lines.is_empty() {
            "nothing".to_owned()
        } else {
            lines.join("; ")
        }
    };
    Some(format!(
        "missing {}; extra {}",
        list(&missing),
        list(&extra)
    ))
}

/// What holds over all steps whatever the oracle says: strict merges, each closed group once.
fn check_folded(case: &Case, got: &[Seen]) -> Result<(), Mismatch> {
    let keys = case.key_columns();
    let has_key = case.groups().is_some();
    let key = |row: &Row| text(&row[..keys.min(row.len())].to_vec());
    let mut present: BTreeMap<String, i64> = BTreeMap::new();
    let mut by_key: BTreeMap<String, i64> = BTreeMap::new();
    for (idx, seen) in got.iter().enumerate() {
        let wrong = |what: String| Err(Mismatch::new(Kind::Rows, idx + 1, what));
        if case.mode == OutputMode::Changes {
            let (gone, come): (Vec<_>, Vec<_>) = seen.rows.iter().partition(|row| row.0 < 0);
            for (weight, row) in gone.iter().chain(&come) {
                let count = present.entry(text(row)).or_default();
                *count += weight;
                if *count < 0 {
                    return wrong(format!("a row that is not there is removed: {}", text(row)));
                }
                *by_key.entry(key(row)).or_default() += weight;
                if has_key && by_key[&key(row)] > 1 {
                    return wrong(format!("a second row for a group: {}", text(row)));
                }
            }
        } else if case.mode == OutputMode::Append && has_key {
            for (_, row) in &seen.rows {
                let count = by_key.entry(key(row)).or_default();
                *count += 1;
                if *count > 1 {
                    return wrong(format!("a group is emitted again: {}", text(row)));
                }
            }
        }
    }
    Ok(())
}

fn check_types(case: &Case, schema: &SchemaRef) -> Result<(), Mismatch> {
    let want = case.types();
    let got: Vec<&DataType> = schema
        .fields()
        .iter()
        .map(|field| field.data_type())
        .collect();
    let fits = want.len() == got.len() && want.iter().zip(&got).all(|(want, got)| is(*want, got));
    if fits {
        return Ok(());
    }
    Err(Mismatch::new(
        Kind::Types,
        0,
        format!("columns are {got:?}, not {want:?}"),
    ))
}

fn is(want: Type, got: &DataType) -> bool {
    let is_time = |got: &DataType| matches!(got, DataType::Timestamp(TimeUnit::Microsecond, _));
    match want {
        Type::Int => *got == DataType::Int32,
        Type::Long => *got == DataType::Int64,
        Type::Decimal(p, s) => *got == DataType::Decimal128(p, s),
        Type::Double => *got == DataType::Float64,
        Type::Text => matches!(
            got,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        ),
        Type::Bool => *got == DataType::Boolean,
        Type::Time => is_time(got),
        Type::Ints => matches!(got, DataType::List(field) if *field.data_type() == DataType::Int32),
        Type::Window => {
            matches!(got, DataType::Struct(fields) if fields.len() == 2
                && fields.iter().all(|field| is_time(field.data_type())))
        }
    }
}
