//! Logical plan → nodes of the runtime.
//!
//! Walks the optimized plan from its scans up. Stateless steps gather in a [`Stream`] and become
//! one chain when something that is not stateless reads them. Beside its columns a stream knows
//! which of them carry a watermark. Each refusal stands where the node would be built: to support
//! a node is to replace its refusal.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::{
    common::ScalarValue,
    common::{
        DFSchema, DFSchemaRef,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    execution::context::ExecutionProps,
    logical_expr::{
        Expr, LogicalPlan, Operator, Projection, TableScan, Union,
        physical_planning_context::PhysicalPlanningContext, utils::split_conjunction,
    },
    physical_expr::{
        PhysicalExpr, ScalarFunctionExpr, create_physical_expr,
        expressions::{BinaryExpr, Column, Literal},
    },
};
use millstream_operators::{
    chain::{ChainSpec, Step},
    clock::EpochClock,
};
use millstream_runtime::plan::{LateOutput, MarkDefinition, Node, NodeId, SourceNode, StreamPlan};
use millstream_types::{OutputMode, SourceId};

use crate::{
    PlanSettings, SqlError, Table,
    catalog::{RowsTable, TableMode},
    dedup::DedupNode,
    error::from_datafusion,
    functions::{
        clock, random,
        window::{TimeWindow, carried, is_window, not_alone, time_window},
    },
    identity,
    late::{LateBarrier, is_late_scan},
    provider::{is_streaming, scan_source},
    resolve::shown,
    undetermined::Undetermined,
    unfold::listed,
    watermark::{HeldFilter, WatermarkNode, WindowBarrier, extension},
};

mod aggregate;
mod constants;
mod dedup;
mod join;
mod lambda_names;
mod late;
mod narrow;
mod over;
mod refuse;
mod sets;
mod sort;

/// What a column knows about event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// The column is the marked time itself.
    Instant,
    /// The column is a window over the marked time.
    Window,
}

/// Rows on their way up: a node, steps after it, and the columns that come out.
struct Stream {
    base: NodeId,
    steps: Vec<Step>,
    schema: DFSchemaRef,
    marks: Vec<Option<Mark>>,
}

/// Whether a stateful operator stands above.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Above {
    Nothing,
    State,
}

/// What a plan may read.
#[derive(Clone, Copy)]
pub(crate) enum Reads {
    /// Tables that grow, and beside them what is there.
    Streams(RowsTable),
    /// What is there, once: tables of mode batch and constant rows.
    Batches(RowsTable),
}

struct Lowering {
    reads: Reads,
    sources: Vec<SourceNode>,
    marks: Vec<MarkDefinition>,
    /// What each definition's source was opened with.
    marked: Vec<String>,
    nodes: Vec<Node>,
    operators: u32,
    /// Late rows of the aggregation above a barrier.
    late: Option<Stream>,
    mode: OutputMode,
    properties: ExecutionProps,
    context: PhysicalPlanningContext,
}

/// Lowers an optimized plan, and the plan over its late rows if there is one.
pub(crate) fn lower(
    plan: &LogicalPlan,
    late: Option<&LogicalPlan>,
    mode: OutputMode,
    (settings, reads): (&PlanSettings, Reads),
) -> Result<StreamPlan, SqlError> {
    if matches!(reads, Reads::Streams(_)) && !is_streaming(plan) {
        return Err(SqlError::unsupported(
            "a query that reads no stream, where a stream is wanted (its tables have mode = 'batch')",
        ));
    }
    let mut lowering = Lowering::new(reads, mode);
    let stream = lowering.node(plan, Above::Nothing)?;
    let schema = shown_schema(stream.schema.as_arrow());
    let output = lowering.seal(stream)?;
    let late = late.map(|plan| lowering.late_output(plan)).transpose()?;
    Ok(lowering.finish(output, late, schema, settings))
}

/// The columns as the query shows them: two may have one name.
#[must_use]
pub fn shown_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let name = shown(field.name());
        if name == field.name() {
            Arc::clone(field)
        } else {
            Arc::new(field.as_ref().clone().with_name(name))
        }
    });
    Arc::new(Schema::new_with_metadata(
        fields.collect::<Vec<_>>(),
        schema.metadata().clone(),
    ))
}

impl Lowering {
    fn new(reads: Reads, mode: OutputMode) -> Lowering {
        Lowering {
            reads,
            sources: Vec::new(),
            marks: Vec::new(),
            marked: Vec::new(),
            nodes: Vec::new(),
            operators: 0,
            late: None,
            mode,
            properties: ExecutionProps::new(),
            context: PhysicalPlanningContext::default(),
        }
    }

    /// The plan of which `output` is the last node.
    fn finish(
        mut self,
        output: NodeId,
        late: Option<LateOutput>,
        schema: SchemaRef,
        settings: &PlanSettings,
    ) -> StreamPlan {
        for source in &mut self.sources {
            settings.complete(source.factory.as_ref(), &mut source.request.options);
        }
        let (marks, policy) = (self.marks.len(), settings.mark_policy);
        let identity = identity::identity(&self.sources, &self.nodes, marks, policy);
        StreamPlan {
            sources: self.sources,
            marks: self.marks,
            mark_policy: settings.mark_policy,
            mark_idle_ms: settings.mark_idle_ms,
            nodes: self.nodes,
            output,
            late,
            schema,
            mode: self.mode,
            identity,
        }
    }
}

fn arrow_schema(schema: &DFSchema) -> SchemaRef {
    Arc::new(schema.as_arrow().clone())
}

impl Lowering {
    fn node(&mut self, plan: &LogicalPlan, above: Above) -> Result<Stream, SqlError> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Filter(filter) => self.filter(&filter.input, &filter.predicate, above),
            LogicalPlan::Projection(projection) => self.projection(projection, above),
            LogicalPlan::SubqueryAlias(alias) => {
                let mut stream = self.node(&alias.input, above)?;
                stream.schema = Arc::clone(&alias.schema);
                Ok(stream)
            }
            LogicalPlan::Union(union) => self.union(union, above),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, above),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Window(window) if self.mode == OutputMode::Changes => self.over(window),
            LogicalPlan::Sort(sort) => self.sort(sort, above),
            LogicalPlan::Limit(limit) => self.limit(limit, above),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest, above),
            LogicalPlan::Extension(_) => {
                if let Some(mark) = extension::<WatermarkNode>(plan) {
                    return self.mark(mark, above);
                }
                if let Some(held) = extension::<HeldFilter>(plan) {
                    return self.filter(&held.input, &held.predicate, above);
                }
                if let Some(dedup) = extension::<DedupNode>(plan) {
                    return self.dedup(dedup);
                }
                if let Some(same) = extension::<Undetermined>(plan) {
                    return self.node(&same.input, above);
                }
                if let Some(barrier) = extension::<LateBarrier>(plan) {
                    return self.node(&barrier.input, above);
                }
                match extension::<WindowBarrier>(plan) {
                    Some(barrier) => self.node(&barrier.input, above),
                    None => Err(refuse::node(plan)),
                }
            }
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => match self.reads {
                Reads::Streams(_) => Err(refuse::node(plan)),
                Reads::Batches(make) => self.constants(plan, make),
            },
            other => Err(refuse::node(other)),
        }
    }

    /// Constant rows as a source.
    fn constants(&mut self, plan: &LogicalPlan, make: RowsTable) -> Result<Stream, SqlError> {
        let rows = constants::rows(plan)?;
        let table = make(rows)?;
        let schema = Arc::clone(plan.schema());
        let columns = schema.fields().len().max(1);
        self.source(&table, (0..columns).collect(), schema)
    }

    /// Makes one node of a stream.
    fn seal(&mut self, stream: Stream) -> Result<NodeId, SqlError> {
        if stream.steps.is_empty() {
            return Ok(stream.base);
        }
        let output = arrow_schema(&stream.schema);
        let mut steps = stream.steps;
        narrow::narrow(&mut steps).map_err(from_datafusion)?;
        Ok(self.push(Node::Chain {
            input: stream.base,
            spec: ChainSpec { steps, output },
        }))
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Stream, SqlError> {
        if is_late_scan(scan.source.as_ref()) {
            return self.late_scan(scan);
        }
        let Some(table) = scan_source(scan.source.as_ref()) else {
            return Err(SqlError::internal("a scan of a table that is not ours"));
        };
        if table.mode == TableMode::Batch && matches!(self.reads, Reads::Streams(_)) {
            return Err(refuse::batch_scan(&table.name));
        }
        let full = scan.source.schema();
        let projection = match &scan.projection {
            Some(columns) if columns.is_empty() => vec![narrowest(&full)],
            Some(columns) => columns.clone(),
            None => (0..full.fields().len()).collect(),
        };
        self.source(table, projection, Arc::clone(&scan.projected_schema))
    }

    /// A source of a table's columns.
    fn source(
        &mut self,
        table: &Table,
        projection: Vec<usize>,
        of_plan: DFSchemaRef,
    ) -> Result<Stream, SqlError> {
        let schema = table
            .readable()?
            .project(&projection)
            .map_err(|error| SqlError::internal(error.to_string()))?;
        let id = u32::try_from(self.sources.len())
            .map_err(|_| SqlError::internal("too many sources"))?;
        self.sources.push(SourceNode {
            table: table.name.clone(),
            factory: Arc::clone(&table.factory),
            request: match self.reads {
                Reads::Streams(_) => table.source_request(),
                Reads::Batches(_) => table.batch_request(),
            },
            projection,
            schema: Arc::new(schema),
        });
        let base = self.push(Node::Source(SourceId(id)));
        Ok(Stream {
            base,
            steps: Vec::new(),
            marks: vec![None; of_plan.fields().len()],
            schema: of_plan,
        })
    }

    fn filter(
        &mut self,
        input: &LogicalPlan,
        predicate: &Expr,
        above: Above,
    ) -> Result<Stream, SqlError> {
        let mut stream = self.node(input, above)?;
        refuse_lone_windows(predicate)?;
        for predicate in in_steps(predicate) {
            let predicate = self.physical(&predicate, &stream.schema)?;
            let always = predicate
                .downcast_ref::<Literal>()
                .is_some_and(|literal| *literal.value() == ScalarValue::Boolean(Some(true)));
            if !always {
                stream.steps.push(Step::Filter(predicate));
            }
        }
        Ok(stream)
    }

    fn projection(&mut self, projection: &Projection, above: Above) -> Result<Stream, SqlError> {
        let mut stream = self.node(&projection.input, above)?;
        let mut expressions = Vec::new();
        let mut marks = Vec::new();
        for expr in &projection.expr {
            refuse_lone_windows(expr)?;
            expressions.push(self.physical(expr, &stream.schema)?);
            marks.push(stream.mark_of(expr));
        }
        let schema = arrow_schema(&projection.schema);
        if !stream.is_identity(&expressions, &schema) {
            stream.project(expressions, schema)?;
        }
        stream.schema = Arc::clone(&projection.schema);
        stream.marks = marks;
        Ok(stream)
    }

    fn union(&mut self, union: &Union, above: Above) -> Result<Stream, SqlError> {
        let streaming = union
            .inputs
            .iter()
            .filter(|input| is_streaming(input))
            .count();
        if matches!(self.reads, Reads::Streams(_)) && streaming != union.inputs.len() {
            return Err(refuse::mixed_union());
        }
        let schema = arrow_schema(&union.schema);
        let mut inputs = Vec::new();
        let mut marks: Option<Vec<Option<Mark>>> = None;
        for input in &union.inputs {
            let mut stream = self.node(input, above)?;
            // As in Spark the first input says which columns are marked; rows of the others are then
            // late by the same watermark.
            marks.get_or_insert_with(|| stream.marks.clone());
            if *stream.schema.as_arrow() != *schema {
                stream.rename(&union.schema, &schema)?;
            }
            inputs.push(self.seal(stream)?);
        }
        let base = self.push(Node::Union { inputs });
        Ok(Stream {
            base,
            steps: Vec::new(),
            schema: Arc::clone(&union.schema),
            marks: marks.unwrap_or_default(),
        })
    }

    fn mark(&mut self, mark: &WatermarkNode, above: Above) -> Result<Stream, SqlError> {
        let mut stream = self.node(&mark.input, above)?;
        let column = stream
            .schema
            .index_of_column(&mark.column)
            .map_err(from_datafusion)?;
        match self.state_below(stream.base) {
            // Groups that may change have no final time: such a watermark closes nothing, as in Spark.
            Some(Node::Aggregate { spec, .. }) if !spec.marked => return Ok(stream),
            Some(Node::Limit { .. } | Node::Top { .. }) => {
                return Err(SqlError::unsupported("a watermark above LIMIT"));
            }
            _ => {}
        }
        if stream.marks.iter().any(Option::is_some) {
            return Err(SqlError::NotOnStream {
                what: "redefining a watermark is disallowed".to_owned(),
                hint: "define one watermark between a source and the next aggregation",
            });
        }
        // A table that is read twice has one watermark, fed by both readings.
        let source = self.sources.last();
        let request = source
            .map(|source| format!("{:?}", source.request))
            .unwrap_or_default();
        let new = MarkDefinition {
            name: mark.name.clone(),
            delay_ms: mark.delay_ms,
        };
        let known = self.marks.iter().zip(&self.marked);
        let known = known
            .into_iter()
            .position(|(mark, of)| *mark == new && *of == request);
        let index = known.unwrap_or_else(|| {
            self.marks.push(new);
            self.marked.push(request);
            self.marks.len() - 1
        });
        let definition =
            u32::try_from(index).map_err(|_| SqlError::internal("too many watermarks"))?;
        stream.steps.push(Step::Mark { definition, column });
        stream.marks[column] = Some(Mark::Instant);
        Ok(stream)
    }

    /// The nearest node with state among those that a node reads.
    fn state_below(&self, node: NodeId) -> Option<&Node> {
        match &self.nodes[node.0] {
            state @ (Node::Aggregate { .. } | Node::Limit { .. } | Node::Top { .. }) => Some(state),
            Node::Source(_) | Node::Late { .. } => None,
            Node::Chain { input, .. } | Node::Sort { input, .. } | Node::Lookup { input, .. } => {
                self.state_below(*input)
            }
            Node::Union { inputs } => inputs.iter().find_map(|input| self.state_below(*input)),
            Node::Join { inputs, .. } => inputs.iter().find_map(|input| self.state_below(*input)),
            Node::Dedup { input, .. } | Node::Over { input, .. } => self.state_below(*input),
        }
    }

    /// Compiles an expression; the functions of the clock become the clock.
    fn physical(&self, expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
        lambda_names::apart(expr, schema)
            .and_then(|expr| create_physical_expr(&expr, schema, &self.properties, &self.context))
            .and_then(|physical| physical.transform(strict).data())
            .map_err(from_datafusion)
    }
}

/// Puts the epoch's clock and draws in, and makes arithmetic fail on overflow as ANSI SQL wants it.
fn strict(
    part: Arc<dyn PhysicalExpr>,
) -> datafusion::common::Result<Transformed<Arc<dyn PhysicalExpr>>> {
    if let Some(call) = part.downcast_ref::<ScalarFunctionExpr>()
        && let Some(clock) = clock::clock(call.fun())
    {
        let clock = EpochClock::new(clock.data_type().clone());
        return Ok(Transformed::yes(Arc::new(clock)));
    }
    if let Some(call) = part.downcast_ref::<ScalarFunctionExpr>()
        && let Some(draw) = random::draw(call).map_err(SqlError::into_datafusion)?
    {
        return Ok(Transformed::yes(Arc::new(draw)));
    }
    if let Some(binary) = part.downcast_ref::<BinaryExpr>() {
        let checked = binary.clone().with_fail_on_overflow(true);
        return Ok(Transformed::yes(Arc::new(checked)));
    }
    Ok(Transformed::no(part))
}

/// A window outside GROUP BY is a function of one row only if it tumbles.
fn refuse_lone_windows(expr: &Expr) -> Result<(), SqlError> {
    let mut refusal = None;
    expr.apply(|part| {
        if is_window(part) && !matches!(part, Expr::Alias(_)) {
            match time_window(part) {
                Ok(Some(TimeWindow::Regular { spec, .. })) if spec.is_tumbling() => {}
                Ok(Some(TimeWindow::Session { .. })) => refusal = Some(not_alone("session_window")),
                Ok(Some(TimeWindow::Counted { .. })) => refusal = Some(not_alone("count_window")),
                Ok(_) => refusal = Some(not_alone("a sliding window")),
                Err(error) => refusal = Some(error),
            }
        }
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })
    .map_err(from_datafusion)?;
    refusal.map_or(Ok(()), Err)
}

/// A condition as conditions that follow one another: one that can fail, as a cast can, is asked only of
/// rows for which those before it hold, as in Spark.
fn in_steps(predicate: &Expr) -> Vec<Expr> {
    let mut steps: Vec<Expr> = Vec::new();
    for condition in split_conjunction(predicate) {
        match steps.last_mut() {
            Some(step) if !can_fail(condition) => *step = step.clone().and(condition.clone()),
            _ => steps.push(condition.clone()),
        }
    }
    steps
}

/// Whether a condition does more than compare columns and constants.
fn can_fail(condition: &Expr) -> bool {
    let compares = |op: &Operator| {
        op.is_logic_operator() || op.supports_propagation() || *op == Operator::NotEq
    };
    condition
        .exists(|part| {
            Ok(match part {
                Expr::Column(_)
                | Expr::Literal(..)
                | Expr::Alias(_)
                | Expr::Not(_)
                | Expr::IsNull(_)
                | Expr::IsNotNull(_)
                | Expr::IsTrue(_)
                | Expr::IsFalse(_)
                | Expr::Between(_)
                | Expr::InList(_)
                | Expr::Like(_) => false,
                Expr::BinaryExpr(binary) => !compares(&binary.op),
                _ => true,
            })
        })
        .unwrap_or(true)
}

/// An expression over the columns at some places, as one over those alone.
fn moved(expr: Arc<dyn PhysicalExpr>, places: &[usize]) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
    expr.transform(|part| {
        let column = part.downcast_ref::<Column>();
        let place = column.and_then(|column| {
            let place = places.iter().position(|place| *place == column.index())?;
            Some(Arc::new(Column::new(column.name(), place)) as Arc<dyn PhysicalExpr>)
        });
        Ok(place.map_or_else(|| Transformed::no(Arc::clone(&part)), Transformed::yes))
    })
    .data()
    .map_err(from_datafusion)
}

/// A column to carry the number of rows when no column is needed.
fn narrowest(schema: &SchemaRef) -> usize {
    let width = |data_type: &DataType| data_type.primitive_width().unwrap_or(usize::MAX);
    (0..schema.fields().len())
        .min_by_key(|idx| width(schema.field(*idx).data_type()))
        .unwrap_or(0)
}

/// A column of a projection as the column that it picks.
fn pick(
    part: Arc<dyn PhysicalExpr>,
    picked: &[Arc<dyn PhysicalExpr>],
) -> Transformed<Arc<dyn PhysicalExpr>> {
    let idx = part.downcast_ref::<Column>().map(Column::index);
    match idx.and_then(|idx| picked.get(idx)) {
        // Nothing below a column is left to visit, and the new column is already below.
        Some(below) => Transformed::new(
            Arc::clone(below),
            true,
            datafusion::common::tree_node::TreeNodeRecursion::Jump,
        ),
        None => Transformed::no(part),
    }
}

impl Stream {
    /// What an expression knows about event time.
    fn mark_of(&self, expr: &Expr) -> Option<Mark> {
        match expr {
            Expr::Alias(alias) => self.mark_of(&alias.expr),
            Expr::Column(column) => {
                let idx = self.schema.index_of_column(column).ok()?;
                self.marks.get(idx).copied().flatten()
            }
            other => {
                if let Some(time) = listed(other) {
                    return self.mark_of(time).map(|_| Mark::Window);
                }
                let (inner, makes_window) = carried(other)?;
                let inner = self.mark_of(inner)?;
                match (makes_window, inner) {
                    (true, _) => Some(Mark::Window),
                    (false, Mark::Window) => Some(Mark::Instant),
                    (false, Mark::Instant) => None,
                }
            }
        }
    }

    /// Adds a projection; one that only picks columns before it is folded into it.
    fn project(
        &mut self,
        expressions: Vec<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    ) -> Result<(), SqlError> {
        let picked = match self.steps.last() {
            Some(Step::Project { expressions, .. })
                if expressions
                    .iter()
                    .all(|expr| expr.downcast_ref::<Column>().is_some()) =>
            {
                expressions.clone()
            }
            _ => Vec::new(),
        };
        let mut folded = expressions;
        if !picked.is_empty() {
            self.steps.pop();
            folded = folded
                .into_iter()
                .map(|expr| expr.transform(|part| Ok(pick(part, &picked))).data())
                .collect::<datafusion::common::Result<_>>()
                .map_err(from_datafusion)?;
        }
        self.steps.push(Step::Project {
            expressions: folded,
            schema,
        });
        Ok(())
    }

    /// Whether the expressions are the columns as they are.
    fn is_identity(&self, expressions: &[Arc<dyn PhysicalExpr>], schema: &SchemaRef) -> bool {
        *self.schema.as_arrow() == **schema
            && expressions.iter().enumerate().all(|(idx, expr)| {
                expr.downcast_ref::<Column>()
                    .is_some_and(|column| column.index() == idx)
            })
    }

    /// Gives rows without columns one: what is kept and counted needs something to stand on.
    fn have_a_column(&mut self) -> Result<(), SqlError> {
        if !self.schema.fields().is_empty() {
            return Ok(());
        }
        let row = arrow::datatypes::Field::new("__row", DataType::Boolean, false);
        let schema = Arc::new(Schema::new(vec![row]));
        let always = Literal::new(ScalarValue::Boolean(Some(true)));
        self.project(vec![Arc::new(always)], Arc::clone(&schema))?;
        let schema = DFSchema::try_from(schema.as_ref().clone()).map_err(from_datafusion)?;
        self.schema = Arc::new(schema);
        self.marks = vec![None];
        Ok(())
    }

    /// Gives the columns other names.
    fn rename(&mut self, logical: &DFSchemaRef, schema: &SchemaRef) -> Result<(), SqlError> {
        self.project(self.columns(), Arc::clone(schema))?;
        self.schema = Arc::clone(logical);
        Ok(())
    }

    /// The columns as expressions.
    fn columns(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.schema
            .fields()
            .iter()
            .enumerate()
            .map(|(idx, field)| Arc::new(Column::new(field.name(), idx)) as Arc<dyn PhysicalExpr>)
            .collect()
    }
}
