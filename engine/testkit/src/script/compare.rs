//! Rows that came against rows that were expected.

use super::{
    cells::Cell,
    host::Taken,
    parse::{Order, Row, Sign},
    report::{DiffLine, Mark},
    value::{Reading, Value},
};
use crate::script::rows_of_batch;
use arrow::datatypes::SchemaRef;

/// One row that reached a sink.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) sign: Option<Sign>,
    pub(super) values: Vec<Value>,
    /// As a line of a script.
    pub(super) text: String,
}

/// Whether rows carry signs in the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signs {
    Shown,
    Hidden,
}

/// The rows of a sink, one for each line of a script.
pub(super) fn rows_of_taken(taken: &Taken, signs: Signs) -> Vec<Got> {
    let mut rows = Vec::new();
    for (batch, weights) in &taken.rows {
        for (idx, values) in rows_of_batch(batch).into_iter().enumerate() {
            let weight = match weights {
                Some(weights) if idx < weights.len() => weights.value(idx),
                _ => 1,
            };
            // A retraction where none may be is shown as one: it must not pass for an ordinary row.
            let sign = match (weight < 0, signs) {
                (true, _) => Some(Sign::Minus),
                (false, Signs::Shown) => Some(Sign::Plus),
                (false, Signs::Hidden) => None,
            };
            let cells: Vec<_> = values.iter().map(Value::cell).collect();
            let cells = cells.join(" | ");
            let text = sign.map_or_else(|| cells.clone(), |sign| format!("{sign} {cells}"));
            let count = usize::try_from(weight.unsigned_abs()).unwrap_or(usize::MAX);
            rows.extend(std::iter::repeat_n(Got { sign, values, text }, count));
        }
    }
    rows
}

/// The differences, empty if there are none that count.
pub(super) fn differences(
    expected: &[Row],
    got: &[Got],
    schema: &SchemaRef,
    order: Order,
) -> Vec<DiffLine> {
    let same = |row: &Row, got: &Got| same_row(row, got, schema);
    match order {
        Order::Any => unordered(expected, got, same),
        Order::AsWritten => ordered(expected, got, same),
    }
}

fn same_row(row: &Row, got: &Got, schema: &SchemaRef) -> bool {
    let same_cell = |(cell, value): (&Cell, &Value), field: &arrow::datatypes::FieldRef| {
        Value::read(cell, field.data_type(), Reading::Answer).is_ok_and(|want| want.matches(value))
    };
    row.sign == got.sign
        && row.cells.len() == got.values.len()
        && got.values.len() == schema.fields().len()
        && row
            .cells
            .iter()
            .zip(&got.values)
            .zip(schema.fields())
            .all(|(p, f)| same_cell(p, f))
}

fn unordered(expected: &[Row], got: &[Got], same: impl Fn(&Row, &Got) -> bool) -> Vec<DiffLine> {
    let mut left: Vec<Option<&Got>> = got.iter().map(Some).collect();
    let mut found = vec![false; expected.len()];
    // Exact text first: with tolerance alone a row could take the partner of its neighbour.
    for exact in [true, false] {
        for (row, found) in expected
            .iter()
            .zip(&mut found)
            .filter(|(_, found)| !**found)
        {
            let fits = |got: &Got| (!exact || got.text == row.text) && same(row, got);
            if let Some(place) = left.iter_mut().find(|place| place.is_some_and(fits)) {
                *place = None;
                *found = true;
            }
        }
    }
    let extra: Vec<&Got> = left.into_iter().flatten().collect();
    if extra.is_empty() && found.iter().all(|found| *found) {
        return Vec::new();
    }
    let mut lines: Vec<DiffLine> = expected
        .iter()
        .zip(found)
        .map(|(row, found)| line(if found { Mark::Same } else { Mark::Missing }, &row.text))
        .collect();
    lines.extend(extra.into_iter().map(|got| line(Mark::Extra, &got.text)));
    lines
}

fn ordered(expected: &[Row], got: &[Got], same: impl Fn(&Row, &Got) -> bool) -> Vec<DiffLine> {
    let equal_before = expected
        .iter()
        .zip(got)
        .take_while(|(row, got)| same(row, got))
        .count();
    if equal_before == expected.len() && equal_before == got.len() {
        return Vec::new();
    }
    let (before, want) = expected.split_at(equal_before);
    let came = &got[equal_before..];
    let backwards = want.iter().rev().zip(came.iter().rev());
    let equal_after = backwards.take_while(|(row, got)| same(row, got)).count();
    let (want, after) = want.split_at(want.len() - equal_after);
    let came = &came[..came.len() - equal_after];
    let rows =
        |mark, rows: &[Row]| -> Vec<_> { rows.iter().map(|row| line(mark, &row.text)).collect() };
    let mut lines = rows(Mark::Same, before);
    lines.extend(rows(Mark::Missing, want));
    lines.extend(came.iter().map(|got| line(Mark::Extra, &got.text)));
    lines.extend(rows(Mark::Same, after));
    lines
}

fn line(mark: Mark, text: &str) -> DiffLine {
    DiffLine {
        mark,
        text: text.to_owned(),
    }
}
