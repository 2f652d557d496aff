//! OVER in mode `changes`: a chain that computes what the functions look at, then the functions.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::{
    common::DFSchema,
    logical_expr::{
        Expr, ExprSchemable, Window, WindowFrameBound, WindowFrameUnits,
        expr::{Sort, WindowFunction, WindowFunctionParams},
    },
    physical_expr::{PhysicalExpr, expressions::Column, window::WindowExpr},
    physical_planner::create_window_expr_with_name,
};
use millstream_operators::{join::OverSpec, sort::SortColumn};
use millstream_runtime::plan::{Node, retracts};
use millstream_types::OperatorId;

use super::{Above, Lowering, Stream, arrow_schema};
use crate::{SqlError, error::from_datafusion, types::spark_name};

/// The columns that the chain below computes.
struct Columns<'a> {
    lowering: &'a Lowering,
    schema: Arc<DFSchema>,
    physical: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<Field>,
}

impl<'a> Columns<'a> {
    fn new(lowering: &'a Lowering, stream: &Stream) -> Columns<'a> {
        let fields = stream.schema.fields().iter();
        Columns {
            lowering,
            schema: Arc::clone(&stream.schema),
            physical: stream.columns(),
            fields: fields.map(|field| field.as_ref().clone()).collect(),
        }
    }

    /// A column in place of an expression; literals stay, because frames and offsets are read from them.
    fn of(&mut self, expr: &Expr) -> Result<Expr, SqlError> {
        if matches!(expr, Expr::Literal(..)) {
            return Ok(expr.clone());
        }
        let name = name_of(self.place(expr)?);
        Ok(Expr::Column(datafusion::common::Column::from_name(name)))
    }

    fn place(&mut self, expr: &Expr) -> Result<usize, SqlError> {
        let physical = self.lowering.physical(expr, &self.schema)?;
        let column = physical.downcast_ref::<Column>().map(Column::index);
        let known = column.or_else(|| {
            let mut known = self.physical.iter();
            known.position(|known| known.as_ref() == physical.as_ref())
        });
        if let Some(place) = known {
            return Ok(place);
        }
        let field = physical
            .return_field(self.schema.as_arrow())
            .map_err(from_datafusion)?;
        self.fields.push(field.as_ref().clone());
        self.physical.push(physical);
        Ok(self.fields.len() - 1)
    }

    /// Partition and order of a call, as columns.
    fn keys(&mut self, call: &WindowFunction) -> Result<(Vec<usize>, Vec<SortColumn>), SqlError> {
        let mut partition = Vec::new();
        for key in &call.params.partition_by {
            partition.push(self.place(key)?);
        }
        let mut order = Vec::new();
        for key in &call.params.order_by {
            order.push(SortColumn {
                column: self.place(&key.expr)?,
                descending: !key.asc,
                nulls_first: key.nulls_first,
            });
        }
        Ok((partition, order))
    }

    /// The call over columns alone.
    fn call(&mut self, call: &WindowFunction) -> Result<WindowFunction, SqlError> {
        let WindowFunctionParams {
            args,
            partition_by,
            order_by,
            filter,
            ..
        } = &call.params;
        let mut all = |exprs: &[Expr]| exprs.iter().map(|expr| self.of(expr)).collect();
        let args: Result<Vec<Expr>, SqlError> = all(args);
        let partition_by: Result<Vec<Expr>, SqlError> = all(partition_by);
        let (args, partition_by) = (args?, partition_by?);
        let order_by: Result<Vec<Sort>, SqlError> = order_by
            .iter()
            .map(|key| Ok(Sort::new(self.of(&key.expr)?, key.asc, key.nulls_first)))
            .collect();
        let filter = filter.as_ref().map(|filter| self.of(filter)).transpose()?;
        Ok(WindowFunction {
            fun: call.fun.clone(),
            params: WindowFunctionParams {
                args,
                partition_by,
                order_by: order_by?,
                filter: filter.map(Box::new),
                ..call.params.clone()
            },
        })
    }
}

/// Whether a frame counts in values of a column that has none to count: RANGE over a text.
fn check_frame(call: &WindowFunction, schema: &DFSchema) -> Result<(), SqlError> {
    let frame = &call.params.window_frame;
    let has_offset = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset) => {
            !offset.is_null()
        }
        WindowFrameBound::CurrentRow => false,
    };
    let counts = frame.units == WindowFrameUnits::Range
        && (has_offset(&frame.start_bound) || has_offset(&frame.end_bound));
    let Some(key) = call.params.order_by.first().filter(|_| counts) else {
        return Ok(());
    };
    let found = key.expr.get_type(schema).map_err(from_datafusion)?;
    if found.is_numeric() || found.is_temporal() {
        return Ok(());
    }
    Err(SqlError::Types {
        message: format!(
            "RANGE with an offset needs a number or a time in ORDER BY, not {}",
            spark_name(&found)
        ),
    })
}

fn call_of(expr: &Expr) -> Result<&WindowFunction, SqlError> {
    match expr {
        Expr::Alias(alias) => call_of(&alias.expr),
        Expr::WindowFunction(call) => Ok(call),
        other => Err(SqlError::internal(format!("{other} is no call with OVER"))),
    }
}

impl Lowering {
    /// Calls with OVER: an operator for each partition and order.
    pub(super) fn over(&mut self, window: &Window) -> Result<Stream, SqlError> {
        let mut stream = self.node(&window.input, Above::State)?;
        let given = stream.schema.fields().len();
        let names = arrow_schema(&window.schema);
        let mut rest: Vec<(usize, &Expr)> = window.window_expr.iter().enumerate().collect();
        // Where the results stand among the columns, by their place in the query.
        let mut results = vec![0; rest.len()];
        while let Some((_, first)) = rest.first() {
            let key = |expr: &Expr| {
                call_of(expr).map(|call| {
                    let params = &call.params;
                    (params.partition_by.clone(), params.order_by.clone())
                })
            };
            let wanted = key(first)?;
            let mut some = Vec::new();
            let mut others = Vec::new();
            for (at, expr) in rest {
                if key(expr)? == wanted {
                    some.push((at, expr));
                } else {
                    others.push((at, expr));
                }
            }
            rest = others;
            let fields = some.iter().map(|(at, _)| names.field(given + at).clone());
            let fields: Vec<Field> = fields.collect();
            let calls: Vec<&Expr> = some.iter().map(|(_, expr)| *expr).collect();
            let before = stream.schema.fields().len();
            stream = self.over_one(stream, &calls, fields)?;
            for (place, (at, _)) in some.iter().enumerate() {
                results[*at] = before + place;
            }
        }
        let mut marks = stream.marks[..given].to_vec();
        marks.resize(given + results.len(), None);
        let columns = stream.columns();
        let order = (0..given).chain(results).map(|at| Arc::clone(&columns[at]));
        let order: Vec<_> = order.collect();
        if !stream.is_identity(&order, &names) {
            stream.project(order, names)?;
        }
        stream.schema = Arc::clone(&window.schema);
        stream.marks = marks;
        Ok(stream)
    }

    /// Calls over one partition and order; their results stand behind the columns.
    fn over_one(
        &mut self,
        mut stream: Stream,
        exprs: &[&Expr],
        results: Vec<Field>,
    ) -> Result<Stream, SqlError> {
        let named = Arc::clone(&stream.schema);
        let schema = arrow_schema(&named);
        let given = schema.fields().len();
        stream.have_a_column()?;
        let mut columns = Columns::new(self, &stream);
        let first = exprs
            .first()
            .ok_or_else(|| SqlError::internal("OVER without a call"))?;
        let (partition, order) = columns.keys(call_of(first)?)?;
        let mut calls = Vec::new();
        for expr in exprs {
            check_frame(call_of(expr)?, &stream.schema)?;
            calls.push(columns.call(call_of(expr)?)?);
        }
        let fields = columns.fields.iter().enumerate();
        let fields: Vec<Field> = fields
            .map(|(at, field)| field.clone().with_name(name_of(at)))
            .collect();
        let expressions = columns.physical;
        let input: SchemaRef = Arc::new(Schema::new(fields));
        let logical = DFSchema::try_from(input.as_ref().clone()).map_err(from_datafusion)?;
        let calls = calls
            .iter()
            .zip(&results)
            .map(|(call, field)| self.window_expr(call, field, &logical))
            .collect::<Result<Vec<_>, _>>()?;
        let mut output: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone()).collect();
        output.extend(results);
        let output = Arc::new(Schema::new(output));
        stream.project(expressions, Arc::clone(&input))?;
        stream.schema = Arc::new(logical);
        let mut marks = stream.marks[..given].to_vec();
        marks.resize(output.fields().len(), None);
        let below = self.seal(stream)?;
        let spec = OverSpec {
            schema: input,
            given,
            partition,
            order,
            calls,
            output: Arc::clone(&output),
            retracting: retracts(&self.nodes, below),
        };
        let operator = OperatorId(self.operators);
        self.operators += 1;
        let base = self.push(Node::Over {
            input: below,
            operator,
            spec,
        });
        let schema = beside(&named, &output.fields()[given..])?;
        Ok(Stream {
            base,
            steps: Vec::new(),
            schema: Arc::new(schema),
            marks,
        })
    }

    /// A call that is computed over the columns of a partition.
    fn window_expr(
        &self,
        call: &WindowFunction,
        field: &Field,
        schema: &DFSchema,
    ) -> Result<Arc<dyn WindowExpr>, SqlError> {
        let call = Expr::WindowFunction(Box::new(call.clone()));
        let (properties, context) = (&self.properties, &self.context);
        create_window_expr_with_name(&call, field.name(), schema, properties, context)
            .map_err(from_datafusion)
    }
}

/// Columns of the query and results behind them.
fn beside(named: &DFSchema, results: &[arrow::datatypes::FieldRef]) -> Result<DFSchema, SqlError> {
    let before = named
        .iter()
        .map(|(relation, field)| (relation.cloned(), Arc::clone(field)));
    let after = results.iter().map(|field| (None, Arc::clone(field)));
    let fields = before.chain(after).collect();
    DFSchema::new_with_metadata(fields, HashMap::new()).map_err(from_datafusion)
}

/// The name of a column below: by its place, because two of a query may have one name.
fn name_of(place: usize) -> String {
    format!("__{place}")
}
