//! ORDER BY, LIMIT and OFFSET of the oracle: the rows of a result, sorted and cut.

use std::cmp::Ordering;

use super::case::{Row, Top};
use crate::script::Value;

/// The rows that are let through. Where nothing is sorted the rows stand in the order of the input.
#[must_use]
pub fn cut(top: &Top, mut rows: Vec<Row>) -> Vec<Row> {
    if !top.order.is_empty() {
        rows.sort_by(|left, right| compare(top, left, right));
    }
    let limit = top.limit.unwrap_or(usize::MAX);
    rows.into_iter().skip(top.offset).take(limit).collect()
}

/// By the columns of the ordering, then by all columns, so that no tie is left.
fn compare(top: &Top, left: &Row, right: &Row) -> Ordering {
    let by_order = top.order.iter().map(|order| {
        let ordering = values(&left[order.column], &right[order.column]);
        if order.descending {
            ordering.reverse()
        } else {
            ordering
        }
    });
    let by_all = left
        .iter()
        .zip(right)
        .map(|(left, right)| values(left, right));
    let mut all = by_order.chain(by_all);
    all.find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// NULL is the least and NaN the greatest number; there is one zero.
fn values(left: &Value, right: &Value) -> Ordering {
    let rank = |value: &Value| u8::from(*value != Value::Null);
    let is_nan = |number: f64| u8::from(number.is_nan());
    if let (Value::Float(left), Value::Float(right)) = (left, right) {
        let by_number = left.partial_cmp(right);
        return by_number.unwrap_or_else(|| is_nan(*left).cmp(&is_nan(*right)));
    }
    if let (Value::Int(left), Value::Int(right)) = (left, right) {
        return left.cmp(right);
    }
    if let (Value::Timestamp(left), Value::Timestamp(right)) = (left, right) {
        return left.cmp(right);
    }
    if let (Value::Decimal(left, _), Value::Decimal(right, _)) = (left, right) {
        return left.cmp(right);
    }
    if let (Value::Text(left), Value::Text(right)) = (left, right) {
        return left.as_bytes().cmp(right.as_bytes());
    }
    if let (Value::Bool(left), Value::Bool(right)) = (left, right) {
        return left.cmp(right);
    }
    if let (Value::Struct(left), Value::Struct(right)) = (left, right) {
        let fields = left.iter().zip(right);
        let mut fields = fields.map(|(left, right)| values(&left.1, &right.1));
        return fields.find(|it| it.is_ne()).unwrap_or(Ordering::Equal);
    }
    if let (Value::List(left), Value::List(right)) = (left, right) {
        let mut items = left
            .iter()
            .zip(right)
            .map(|(left, right)| values(left, right));
        let differs = items.find(|it| it.is_ne());
        return differs.unwrap_or_else(|| left.len().cmp(&right.len()));
    }
    rank(left).cmp(&rank(right))
}
