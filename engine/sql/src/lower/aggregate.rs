//! GROUP BY: a chain that computes every input column, then the aggregation.
//!
//! The chain computes the event time, the keys, the arguments and the filters of all functions as
//! columns, each different expression once. The aggregation's columns come out in the order of the
//! logical plan, so nothing has to be put back in place after it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::{
    common::Result as DataFusionResult,
    logical_expr::{
        Aggregate, Expr, ExprSchemable,
        expr::{AggregateFunction, NullTreatment},
    },
    physical_expr::{
        PhysicalExpr,
        aggregate::AggregateExprBuilder,
        expressions::{Column, Literal},
    },
};
use millstream_operators::aggregate::{AggregateCall, AggregateSpec, TimeKey};
use millstream_runtime::plan::{Node, NodeId, retracts};
use millstream_types::{OperatorId, OutputMode};

use super::{Above, Lowering, Mark, Stream, arrow_schema, refuse, sets::Sets};
use crate::{
    SqlError,
    error::from_datafusion,
    functions::window::{TimeWindow, gap_micros, is_window, time_window, window_time},
    late,
};

/// The columns that the chain below an aggregation computes.
struct Columns<'a> {
    lowering: &'a Lowering,
    stream: &'a Stream,
    logical: Vec<Expr>,
    physical: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<arrow::datatypes::FieldRef>,
}

impl Columns<'_> {
    /// The column of an expression, computed once.
    fn of(&mut self, expr: &Expr) -> Result<usize, SqlError> {
        if let Some(idx) = self.logical.iter().position(|known| known == expr) {
            return Ok(idx);
        }
        let physical = self.lowering.physical(expr, &self.stream.schema)?;
        let field = physical
            .return_field(self.stream.schema.as_arrow())
            .map_err(from_datafusion)?;
        let name = expr.schema_name().to_string();
        self.fields
            .push(Arc::new(field.as_ref().clone().with_name(name)));
        self.physical.push(physical);
        self.logical.push(expr.clone());
        Ok(self.logical.len() - 1)
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.fields.clone()))
    }
}

/// The time key among the group expressions.
struct Time {
    key: TimeKey,
    marked: bool,
    position: usize,
    /// What the key column of the result knows about event time.
    mark: Mark,
}

impl Lowering {
    pub(super) fn aggregate(
        &mut self,
        aggregate: &Aggregate,
        above: Above,
    ) -> Result<Stream, SqlError> {
        let barrier = late::below(&aggregate.input);
        let mut stream = self.node(barrier.unwrap_or(&aggregate.input), Above::State)?;
        if barrier.is_some() {
            stream = self.shared(stream)?;
        }
        let sets = Sets::of(&aggregate.group_expr)?;
        let groups = sets
            .as_ref()
            .map_or(&aggregate.group_expr, |sets| &sets.groups);
        let mut columns = Columns {
            lowering: self,
            stream: &stream,
            logical: Vec::new(),
            physical: Vec::new(),
            fields: Vec::new(),
        };
        let (time, mut keys) = all_keys(groups, sets.as_ref(), &mut columns)?;
        let mut calls = Vec::new();
        for expr in &aggregate.aggr_expr {
            calls.push(call(expr, &mut columns, self.mode)?);
        }
        let input = columns.schema();
        let retracting = retracts(&self.nodes, stream.base);
        let calls = calls
            .into_iter()
            .map(|call| call.build(&input, retracting))
            .collect::<Result<Vec<_>, _>>()
            .map_err(from_datafusion)?;
        let expressions = columns.physical;
        if barrier.is_some() {
            let key = late_key(time.as_ref(), self.mode);
            self.late = Some(self.late_rows(&stream, key, &expressions, &input)?);
        }
        stream.project(expressions, Arc::clone(&input))?;
        stream.schema = Arc::new(
            datafusion::common::DFSchema::try_from(input.as_ref().clone())
                .map_err(from_datafusion)?,
        );
        let mut below = self.seal(stream)?;
        let mut input = input;
        if let Some(sets) = &sets {
            let others = sets.without(time.as_ref().map(|time| time.position));
            let number = aggregate.schema.field(groups.len()).data_type();
            let expanded = self.expand(below, &input, (&others, &keys), number)?;
            (below, input, keys) = (expanded.node, expanded.schema, expanded.keys);
        }
        let spec = AggregateSpec {
            input,
            time: time.as_ref().map_or(TimeKey::None, |time| time.key),
            marked: time.as_ref().is_some_and(|time| time.marked),
            time_position: time.as_ref().map_or(0, |time| time.position),
            keys,
            calls,
            retracting,
            mode: self.mode_of(above),
            output: arrow_schema(&aggregate.schema),
        };
        Ok(Stream {
            base: self.push_aggregate(below, spec),
            steps: Vec::new(),
            schema: Arc::clone(&aggregate.schema),
            marks: marks_above(aggregate, time.as_ref()),
        })
    }

    fn push_aggregate(&mut self, input: NodeId, spec: AggregateSpec) -> NodeId {
        let operator = OperatorId(self.operators);
        self.operators += 1;
        self.push(Node::Aggregate {
            input,
            operator,
            spec,
        })
    }

    /// The outermost operator emits by the query's mode; one below another emits final rows, or
    /// every change where the query asks for changes.
    fn mode_of(&self, above: Above) -> OutputMode {
        match (above, self.mode) {
            (Above::Nothing, mode) => mode,
            (Above::State, OutputMode::Changes) => OutputMode::Changes,
            (Above::State, _) => OutputMode::Append,
        }
    }
}

/// What decides which rows are late; in mode complete only sessions drop any.
fn late_key(time: Option<&Time>, mode: OutputMode) -> TimeKey {
    let drops = |time: &&Time| {
        let is_session = matches!(time.key, TimeKey::Session { .. });
        time.marked && (mode != OutputMode::Complete || is_session)
    };
    time.filter(drops).map_or(TimeKey::None, |time| time.key)
}

/// The time key, and the columns of the other keys.
fn all_keys(
    groups: &[Expr],
    sets: Option<&Sets>,
    columns: &mut Columns<'_>,
) -> Result<(Option<Time>, Vec<usize>), SqlError> {
    let mut time = time_key(groups, columns)?;
    if let (Some(sets), Some(key)) = (sets, &time)
        && !sets.always(key.position)
    {
        if is_window(&groups[key.position]) {
            return Err(refuse::window_in_some_sets());
        }
        // A time that some rows lack closes nothing.
        time = None;
    }
    let mut keys = Vec::new();
    for (position, group) in groups.iter().enumerate() {
        if time.as_ref().is_none_or(|time| time.position != position) {
            keys.push(columns.of(unalias(group))?);
        }
    }
    Ok((time, keys))
}

/// Of the columns of the result only the time key still knows about event time.
fn marks_above(aggregate: &Aggregate, time: Option<&Time>) -> Vec<Option<Mark>> {
    let mut marks = vec![None; aggregate.schema.fields().len()];
    if let Some(time) = time.filter(|time| time.marked) {
        marks[time.position] = Some(time.mark);
    }
    marks
}

fn unalias(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unalias(&alias.expr),
        other => other,
    }
}

/// Finds the time key: a window call, or else a marked window, or else a marked instant.
fn time_key(groups: &[Expr], columns: &mut Columns<'_>) -> Result<Option<Time>, SqlError> {
    let mut calls = groups
        .iter()
        .enumerate()
        .filter(|(_, group)| is_window(group));
    if let Some((position, group)) = calls.next() {
        if calls.any(|(_, other)| unalias(other) != unalias(group)) {
            return Err(SqlError::TwoWindows);
        }
        return window_key(position, group, columns).map(Some);
    }
    for wanted in [Mark::Window, Mark::Instant] {
        let found = groups
            .iter()
            .enumerate()
            .find(|(_, group)| columns.stream.mark_of(group) == Some(wanted));
        if let Some((position, group)) = found {
            let column = columns.of(unalias(group))?;
            let key = match wanted {
                Mark::Window => TimeKey::Windowed { column },
                Mark::Instant => TimeKey::Instant { column },
            };
            return Ok(Some(Time {
                key,
                marked: true,
                position,
                mark: wanted,
            }));
        }
    }
    Ok(None)
}

fn window_key(position: usize, group: &Expr, columns: &mut Columns<'_>) -> Result<Time, SqlError> {
    let window =
        time_window(group)?.ok_or_else(|| SqlError::internal("a window call that is none"))?;
    let time = match &window {
        TimeWindow::Regular { time, .. } | TimeWindow::Session { time, .. } => time,
        TimeWindow::Counted { rows } => {
            if retracts(&columns.lowering.nodes, columns.stream.base) {
                return Err(refuse::counted_changes());
            }
            return Ok(Time {
                key: TimeKey::Counted { rows: *rows },
                marked: false,
                position,
                mark: Mark::Window,
            });
        }
    };
    let marked = columns.stream.mark_of(time).is_some();
    let data_type = time
        .get_type(&columns.stream.schema)
        .map_err(from_datafusion)?;
    let column = if matches!(data_type, DataType::Struct(_)) {
        columns.of(&window_time((*time).clone()))?
    } else {
        columns.of(time)?
    };
    let key = match window {
        TimeWindow::Regular { spec, .. } => TimeKey::Window { column, spec },
        TimeWindow::Session { gap, .. } => TimeKey::Session {
            column,
            gap: columns.of(&gap_micros(gap.clone()))?,
        },
        TimeWindow::Counted { rows } => TimeKey::Counted { rows },
    };
    Ok(Time {
        key,
        marked,
        position,
        mark: Mark::Window,
    })
}

/// One call, before the input's schema is complete.
struct PendingCall {
    name: String,
    function: AggregateFunction,
    literals: Vec<Option<Arc<dyn PhysicalExpr>>>,
    arguments: Vec<usize>,
    filter: Option<usize>,
}

fn call(expr: &Expr, columns: &mut Columns<'_>, mode: OutputMode) -> Result<PendingCall, SqlError> {
    let name = expr.schema_name().to_string();
    let Expr::AggregateFunction(function) = unalias(expr) else {
        return Err(SqlError::internal(format!(
            "{name} is no aggregate function"
        )));
    };
    // Spark has none on streams; only `changes` is ours alone.
    if function.params.distinct && mode != OutputMode::Changes {
        return Err(refuse::distinct_call());
    }
    if !function.params.order_by.is_empty() {
        return Err(refuse::ordered_call(function.func.name()));
    }
    let mut arguments = Vec::new();
    let mut literals = Vec::new();
    for argument in &function.params.args {
        let column = columns.of(unalias(argument))?;
        let physical = &columns.physical[column];
        let literal = physical.downcast_ref::<Literal>().is_some();
        literals.push(literal.then(|| Arc::clone(physical)));
        arguments.push(column);
    }
    let filter = match &function.params.filter {
        Some(filter) => Some(columns.of(filter)?),
        None => None,
    };
    Ok(PendingCall {
        name,
        function: function.clone(),
        literals,
        arguments,
        filter,
    })
}

impl PendingCall {
    fn build(self, input: &SchemaRef, retracting: bool) -> DataFusionResult<AggregateCall> {
        let arguments = self
            .arguments
            .iter()
            .zip(self.literals)
            .map(|(column, literal)| match literal {
                // Some accumulators look at their literal arguments, such as a percentile.
                Some(literal) => literal,
                None => Arc::new(Column::new(input.field(*column).name(), *column)),
            })
            .collect();
        let ignore_nulls = self.function.params.null_treatment == Some(NullTreatment::IgnoreNulls);
        let function = AggregateExprBuilder::new(self.function.func, arguments)
            .schema(Arc::clone(input))
            .alias(self.name)
            .with_ignore_nulls(ignore_nulls)
            .build()?;
        let argument_types = self
            .arguments
            .iter()
            .map(|column| input.field(*column).data_type().clone())
            .collect();
        Ok(AggregateCall {
            function: Arc::new(function),
            distinct: self.function.params.distinct,
            arguments: self.arguments,
            argument_types,
            filter: self.filter,
            retracting,
        })
    }
}
