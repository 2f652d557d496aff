//! Joins of two streams: keys, conditions, and for how long each side keeps its rows.
//!
//! How long follows from the watermark, once, when the query is planned, as in Spark: from a key that
//! carries it, or else from conditions that compare the times of both sides. A row whose partners would
//! all be late goes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::{
    common::{DFSchema, JoinType, NullEquality, ScalarValue, tree_node::TreeNode},
    logical_expr::{
        BinaryExpr, Expr, Join, LogicalPlan, Operator,
        utils::{conjunction, split_conjunction_owned},
    },
    physical_expr::{PhysicalExpr, expressions::Column},
};
use millstream_operators::join::{Expiry, JoinKind, JoinSpec, Residual, SideColumn, SideSpec};
use millstream_runtime::plan::{Node, NodeId, retracts};
use millstream_types::{OperatorId, OutputMode};

use super::{Above, Lowering, Mark, Reads, Stream, arrow_schema, refuse};
use crate::{
    PlanSettings, SqlError, catalog::RowsTable, error::from_datafusion,
    functions::window::window_end, provider::is_streaming,
};

/// Microseconds of event time that are kept together, at least.
const BUCKET_MIN: i64 = 1_000_000;

/// Into how many parts the time for which rows are kept is cut, about.
const BUCKETS: i64 = 8;

/// A month, as Spark counts it where it must be a number of days.
const MONTH_DAYS: i64 = 31;

const DAY_MICROS: i64 = 86_400_000_000;

/// A condition that compares the times of both sides: `mine ≥ other + shift`, microseconds.
struct Bound {
    /// My column.
    column: usize,
    /// By how much mine is behind the other at most.
    shift: i64,
    is_strict: bool,
}

/// One side on its way.
struct Half {
    stream: Stream,
    keys: Vec<Expr>,
    alone: Option<Expr>,
}

impl Half {
    fn new(stream: Stream, keys: Vec<Expr>, alone: Option<Expr>) -> Half {
        Half {
            stream,
            keys,
            alone,
        }
    }
}

/// A join with its sides in the order of the operator: a table that stands still is on the right.
struct Sides<'j> {
    kind: JoinKind,
    plans: [&'j LogicalPlan; 2],
    keys: [Vec<Expr>; 2],
    /// The sides whose columns leave, in the order of the query.
    given: Vec<usize>,
}

impl Sides<'_> {
    fn new(join: &Join, kind: JoinKind, is_swapped: bool) -> Sides<'_> {
        let mut plans = [join.left.as_ref(), join.right.as_ref()];
        let (left, right) = join.on.iter().cloned().unzip();
        let mut keys = [left, right];
        let mut given = if kind.gives_pairs() {
            vec![0, 1]
        } else {
            vec![0]
        };
        if is_swapped {
            plans.reverse();
            keys.reverse();
            given.reverse();
        }
        Sides {
            kind,
            plans,
            keys,
            given,
        }
    }
}

impl Lowering {
    pub(super) fn join(&mut self, join: &Join) -> Result<Stream, SqlError> {
        if join.null_aware {
            return Err(refuse::not_in());
        }
        let streams = [&join.left, &join.right].map(|side| is_streaming(side));
        match (self.reads, streams) {
            (Reads::Streams(rows), [true, false] | [false, true]) => {
                let (kind, is_swapped) = static_kind(join, streams[0])?;
                self.lookup(join, Sides::new(join, kind, is_swapped), rows)
            }
            (Reads::Streams(_) | Reads::Batches(_), _) => {
                let (kind, is_swapped) = kind(join)?;
                self.both(join, Sides::new(join, kind, is_swapped))
            }
        }
    }

    /// A join whose sides both come row by row.
    fn both(&mut self, join: &Join, sides: Sides<'_>) -> Result<Stream, SqlError> {
        let kind = sides.kind;
        let left = self.node(sides.plans[0], Above::State)?;
        let right = self.node(sides.plans[1], Above::State)?;
        let Parts { halves, both } = Parts::new(join, left, right, sides.keys)?;
        let expiries = self.expiries(&halves, &both)?;
        let is_once = matches!(self.reads, Reads::Batches(_));
        let changes = self.mode == OutputMode::Changes && !is_once;
        if !is_once && !changes {
            check_final(join, kind, &expiries)?;
        }
        let marks = halves.each_ref().map(|half| half.stream.marks.clone());
        let residual = self.residual(both, &halves)?;
        let [left, right] = halves;
        let [left_expiry, right_expiry] = expiries;
        let (left, left_side) = self.half(left, left_expiry)?;
        let (right, right_side) = self.half(right, right_expiry)?;
        let spec = JoinSpec {
            kind,
            sides: [left_side, right_side],
            nulls_match: join.null_equality == NullEquality::NullEqualsNull,
            residual,
            columns: given(&sides.given, &marks),
            output: arrow_schema(&join.schema),
            changes,
            is_once,
        };
        let operator = OperatorId(self.operators);
        self.operators += 1;
        let inputs = [left, right];
        let node = Node::Join {
            inputs,
            operator,
            spec,
        };
        Ok(self.joined(join, node, &sides.given, &marks))
    }

    /// A join of a stream, on the left, with a table that stands still.
    fn lookup(
        &mut self,
        join: &Join,
        sides: Sides<'_>,
        rows: RowsTable,
    ) -> Result<Stream, SqlError> {
        let left = self.node(sides.plans[0], Above::State)?;
        let mut table = Lowering::new(Reads::Batches(rows), OutputMode::Changes);
        let right = table.node(sides.plans[1], Above::Nothing)?;
        let Parts { halves, both } = Parts::new(join, left, right, sides.keys)?;
        let marks = halves.each_ref().map(|half| half.stream.marks.clone());
        let residual = self.residual(both, &halves)?;
        let [left, right] = halves;
        let (input, left_side) = self.half(left, None)?;
        if left_side.retracting {
            return Err(refuse::static_changes());
        }
        let (output, right_side) = table.half(right, None)?;
        let schema = Arc::clone(&right_side.schema);
        let table = table.finish(output, None, schema, &PlanSettings::default());
        let spec = JoinSpec {
            kind: sides.kind,
            sides: [
                SideSpec {
                    late: None,
                    ..left_side
                },
                right_side,
            ],
            nulls_match: join.null_equality == NullEquality::NullEqualsNull,
            residual,
            columns: given(&sides.given, &marks),
            output: arrow_schema(&join.schema),
            changes: false,
            is_once: false,
        };
        let node = Node::Lookup {
            input,
            spec,
            table: Box::new(table),
        };
        Ok(self.joined(join, node, &sides.given, &marks))
    }

    /// The rows that leave a join.
    fn joined(
        &mut self,
        join: &Join,
        node: Node,
        given: &[usize],
        marks: &[Vec<Option<Mark>>; 2],
    ) -> Stream {
        Stream {
            base: self.push(node),
            steps: Vec::new(),
            schema: Arc::clone(&join.schema),
            marks: given.iter().flat_map(|side| marks[*side].clone()).collect(),
        }
    }

    /// The chain of one side, which computes its keys and its times, and the side itself.
    fn half(
        &mut self,
        half: Half,
        expiry: Option<(Expr, Expiry)>,
    ) -> Result<(NodeId, SideSpec), SqlError> {
        let Half {
            mut stream,
            keys,
            alone,
        } = half;
        let alone = alone
            .map(|alone| self.physical(&alone, &stream.schema))
            .transpose()?;
        stream.have_a_column()?;
        let mut expressions = stream.columns();
        let schema = arrow_schema(&stream.schema);
        let mut fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        let known = expressions.len();
        let mut place = |physical: Arc<dyn PhysicalExpr>| -> Result<usize, SqlError> {
            if let Some(column) = physical.downcast_ref::<Column>() {
                return Ok(column.index());
            }
            let same = expressions
                .iter()
                .position(|expr| expr.as_ref() == physical.as_ref());
            if let Some(same) = same {
                return Ok(same);
            }
            let field = physical.return_field(&schema).map_err(from_datafusion)?;
            let name = format!("__join{}", expressions.len());
            fields.push(field.as_ref().clone().with_name(name));
            expressions.push(physical);
            Ok(expressions.len() - 1)
        };
        let mut key_columns = Vec::new();
        for key in &keys {
            key_columns.push(place(self.physical(key, &stream.schema)?)?);
        }
        let late = match stream.marked() {
            Some(time) => Some(place(self.physical(&time, &stream.schema)?)?),
            None => None,
        };
        let expiry = match expiry {
            Some((time, expiry)) => Some(Expiry {
                column: place(self.physical(&time, &stream.schema)?)?,
                ..expiry
            }),
            None => None,
        };
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        if expressions.len() > known {
            stream.project(expressions, Arc::clone(&schema))?;
            stream.schema =
                Arc::new(DFSchema::try_from(schema.as_ref().clone()).map_err(from_datafusion)?);
        }
        let base = self.seal(stream)?;
        let side = SideSpec {
            retracting: retracts(&self.nodes, base),
            schema,
            keys: key_columns,
            alone,
            late,
            expiry,
        };
        Ok((base, side))
    }

    /// When the rows of each side go.
    fn expiries(
        &self,
        halves: &[Half; 2],
        both: &[Expr],
    ) -> Result<[Option<(Expr, Expiry)>; 2], SqlError> {
        let [left, right] = halves;
        // A key that carries the watermark on either side closes the rows of both.
        for (place, (l, r)) in left.keys.iter().zip(&right.keys).enumerate() {
            let mark = left.stream.mark_of(l).or_else(|| right.stream.mark_of(r));
            let Some(mark) = mark else { continue };
            let delays = self.marks.iter().map(|mark| mark.delay_ms);
            let delay = delays.max().unwrap_or(0).saturating_mul(1000);
            return Ok([left, right].map(|half| {
                let key = half.keys[place].clone();
                let time = match mark {
                    Mark::Instant => key,
                    Mark::Window => window_end(key),
                };
                let expiry = Expiry {
                    column: 0,
                    shift_ms: 0,
                    bucket: (delay / BUCKETS).max(BUCKET_MIN),
                    is_compared: false,
                };
                Some((time, expiry))
            }));
        }
        let bounds = [0, 1].map(|side| self.bound(halves, both, side));
        let shifts = bounds
            .iter()
            .flatten()
            .map(|bound| bound.shift.saturating_abs());
        let bucket = (shifts.fold(0, i64::saturating_add) / BUCKETS).max(BUCKET_MIN);
        let expiry = |side: usize| -> Option<(Expr, Expiry)> {
            let bound = bounds[side].as_ref()?;
            let time = Expr::Column(halves[side].stream.schema.columns()[bound.column].clone());
            let ms = bound.shift.div_euclid(1000);
            let expiry = Expiry {
                column: 0,
                shift_ms: if bound.is_strict { ms } else { ms - 1 },
                bucket,
                is_compared: true,
            };
            Some((time, expiry))
        };
        Ok([expiry(0), expiry(1)])
    }

    /// The condition that lets rows of a side go soonest: one that asks that their time be not too far
    /// behind a marked time of the other.
    fn bound(&self, halves: &[Half; 2], both: &[Expr], side: usize) -> Option<Bound> {
        let (mine, other) = (&halves[side].stream, &halves[1 - side].stream);
        let bounds = both.iter().filter_map(|condition| {
            let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else {
                return None;
            };
            let (low, high, is_strict) = match op {
                Operator::Lt => (left, right, true),
                Operator::LtEq => (left, right, false),
                Operator::Gt => (right, left, true),
                Operator::GtEq => (right, left, false),
                _ => return None,
            };
            let (of_other, behind) = shifted(low)?;
            let (of_mine, ahead) = shifted(high)?;
            let of_other = other.schema.index_of_column(of_other).ok()?;
            let column = mine.schema.index_of_column(of_mine).ok()?;
            let is_marked = other.marks[of_other] == Some(Mark::Instant);
            let is_time = is_timestamp(mine.schema.field(column).data_type());
            (is_marked && is_time).then(|| Bound {
                column,
                shift: behind.saturating_sub(ahead),
                is_strict,
            })
        });
        // A row's own marked time goes before another of its columns, and the highest bound counts.
        bounds.max_by_key(|bound| (mine.marks[bound.column].is_some(), bound.shift))
    }

    /// The condition on pairs, over the columns that it names.
    fn residual(&self, both: Vec<Expr>, halves: &[Half; 2]) -> Result<Option<Residual>, SqlError> {
        let [left, right] = halves.each_ref().map(|half| &half.stream.schema);
        let schema = &left.join(right).map_err(from_datafusion)?;
        let left = left.fields().len();
        let Some(condition) = conjunction(both) else {
            return Ok(None);
        };
        let predicate = self.physical(&condition, schema)?;
        let mut used: Vec<usize> = Vec::new();
        predicate
            .apply(|part| {
                if let Some(column) = part.downcast_ref::<Column>() {
                    used.push(column.index());
                }
                Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
            })
            .map_err(from_datafusion)?;
        used.sort_unstable();
        used.dedup();
        let fields: Vec<Field> = used
            .iter()
            .map(|column| schema.field(*column).as_ref().clone())
            .collect();
        let predicate = super::moved(predicate, &used)?;
        let columns = used.iter().map(|column| match column.checked_sub(left) {
            None => SideColumn {
                side: 0,
                column: *column,
            },
            Some(column) => SideColumn { side: 1, column },
        });
        Ok(Some(Residual {
            columns: columns.collect(),
            schema: Arc::new(Schema::new(fields)),
            predicate,
        }))
    }
}

/// Whether all that leaves is final at some time.
fn check_final(
    join: &Join,
    kind: JoinKind,
    expiries: &[Option<(Expr, Expiry)>; 2],
) -> Result<(), SqlError> {
    // INTERSECT and EXCEPT compare all columns of both sides, and nothing else.
    let all = join.on.len() == join.left.schema().fields().len();
    let nulls_match = join.null_equality == NullEquality::NullEqualsNull;
    if all && nulls_match && join.filter.is_none() && !kind.gives_pairs() {
        return Err(refuse::set_join(join.join_type));
    }
    let is_final = |side: usize| !kind.keeps_unmatched(side) || expiries[side].is_some();
    if is_final(0) && is_final(1) {
        return Ok(());
    }
    Err(refuse::unbounded_join(join.join_type))
}

/// The columns that leave, of sides with so many.
fn given(sides: &[usize], columns: &[Vec<Option<Mark>>; 2]) -> Vec<SideColumn> {
    let of = |side: usize| (0..columns[side].len()).map(move |column| SideColumn { side, column });
    sides.iter().flat_map(|side| of(*side)).collect()
}

/// The sides of a join with their keys and conditions.
struct Parts {
    halves: [Half; 2],
    /// Conditions on both sides, beside the keys.
    both: Vec<Expr>,
}

impl Parts {
    fn new(
        join: &Join,
        left: Stream,
        right: Stream,
        [left_keys, right_keys]: [Vec<Expr>; 2],
    ) -> Result<Parts, SqlError> {
        let mut alone: [Vec<Expr>; 2] = [Vec::new(), Vec::new()];
        let mut both = Vec::new();
        let conditions = join.filter.clone().map(split_conjunction_owned);
        for condition in conditions.unwrap_or_default() {
            let columns = condition.column_refs();
            let is_of = |schema: &DFSchema| {
                let mut columns = columns.iter();
                columns.len() > 0 && columns.all(|column| schema.index_of_column(column).is_ok())
            };
            if is_of(&left.schema) {
                alone[0].push(condition);
            } else if is_of(&right.schema) {
                alone[1].push(condition);
            } else {
                both.push(condition);
            }
        }
        let [alone_left, alone_right] = alone.map(conjunction);
        Ok(Parts {
            halves: [
                Half::new(left, left_keys, alone_left),
                Half::new(right, right_keys, alone_right),
            ],
            both,
        })
    }
}

impl Stream {
    /// The time by which rows are late: a marked instant, or the end of a marked window.
    pub(super) fn marked(&self) -> Option<Expr> {
        let column = |wanted: Mark| {
            let place = self.marks.iter().position(|mark| *mark == Some(wanted))?;
            Some(Expr::Column(self.schema.columns()[place].clone()))
        };
        column(Mark::Instant).or_else(|| column(Mark::Window).map(window_end))
    }
}

fn is_timestamp(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _))
}

/// A column and the microseconds that are added to it.
fn shifted(expr: &Expr) -> Option<(&datafusion::common::Column, i64)> {
    match expr {
        Expr::Column(column) => Some((column, 0)),
        Expr::Cast(cast) if is_timestamp(cast.field.data_type()) => shifted(&cast.expr),
        Expr::Alias(alias) => shifted(&alias.expr),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let sign = match op {
                Operator::Plus => 1,
                Operator::Minus => -1,
                _ => return None,
            };
            if let Expr::Literal(value, _) = right.as_ref() {
                let (column, before) = shifted(left)?;
                return Some((column, before.checked_add(sign * micros(value)?)?));
            }
            match (left.as_ref(), sign) {
                (Expr::Literal(value, _), 1) => {
                    let (column, before) = shifted(right)?;
                    Some((column, before.checked_add(micros(value)?)?))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// An interval in microseconds.
fn micros(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::DurationMicrosecond(Some(micros)) => Some(*micros),
        ScalarValue::DurationMillisecond(Some(ms)) => ms.checked_mul(1000),
        ScalarValue::DurationSecond(Some(seconds)) => seconds.checked_mul(1_000_000),
        ScalarValue::DurationNanosecond(Some(nanos)) => Some(nanos.div_euclid(1000)),
        ScalarValue::IntervalMonthDayNano(Some(interval)) => {
            let days = i64::from(interval.months)
                .checked_mul(MONTH_DAYS)?
                .checked_add(i64::from(interval.days))?;
            days.checked_mul(DAY_MICROS)?
                .checked_add(interval.nanoseconds.div_euclid(1000))
        }
        ScalarValue::IntervalDayTime(Some(interval)) => i64::from(interval.days)
            .checked_mul(DAY_MICROS)?
            .checked_add(i64::from(interval.milliseconds).checked_mul(1000)?),
        ScalarValue::IntervalYearMonth(Some(months)) => {
            i64::from(*months).checked_mul(MONTH_DAYS * DAY_MICROS)
        }
        _ => None,
    }
}

/// What kind of join, and whether its sides change places.
fn kind(join: &Join) -> Result<(JoinKind, bool), SqlError> {
    Ok(match join.join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Right, false),
        JoinType::Full => (JoinKind::Full, false),
        JoinType::LeftSemi => (JoinKind::LeftSemi, false),
        JoinType::LeftAnti => (JoinKind::LeftAnti, false),
        JoinType::RightSemi => (JoinKind::LeftSemi, true),
        JoinType::RightAnti => (JoinKind::LeftAnti, true),
        JoinType::LeftMark | JoinType::RightMark => return Err(refuse::mark_join()),
    })
}

/// The same where one side stands still: no row of it can be known to match nothing.
fn static_kind(join: &Join, streams_left: bool) -> Result<(JoinKind, bool), SqlError> {
    Ok(match (join.join_type, streams_left) {
        (JoinType::Inner, streams_left) => (JoinKind::Inner, !streams_left),
        (JoinType::Left, true) => (JoinKind::Left, false),
        (JoinType::Right, false) => (JoinKind::Left, true),
        (JoinType::LeftSemi, true) => (JoinKind::LeftSemi, false),
        (JoinType::RightSemi, false) => (JoinKind::LeftSemi, true),
        (JoinType::LeftAnti, true) => (JoinKind::LeftAnti, false),
        (JoinType::RightAnti, false) => (JoinKind::LeftAnti, true),
        (JoinType::LeftMark | JoinType::RightMark, _) => return Err(refuse::mark_join()),
        (other, streams_left) => return Err(refuse::static_join(other, streams_left)),
    })
}
