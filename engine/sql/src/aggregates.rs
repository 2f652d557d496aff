//! What aggregates take, by the types of their arguments: what Spark refuses is refused while a query is
//! planned, and what DataFusion plans and cannot run gets a type that it runs.

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, Result, tree_node::Transformed},
    logical_expr::{Cast, Expr, ExprSchemable, expr::AggregateFunction},
};
use millstream_values::interval::{CALENDAR, is_interval};

use crate::{SqlError, functions::casts, types::spark_name};

/// Those that compare their values.
const ORDERING: [&str; 2] = ["max", "min"];
/// Those of numbers, which nulls without a type are doubles for.
const OF_DOUBLES: [&str; 2] = ["avg", "try_avg"];
/// Those of whole numbers.
const OF_LONGS: [&str; 4] = ["bit_and", "bit_or", "bit_xor", "count"];

/// A call whose arguments have the types that it runs with.
///
/// # Errors
/// Spark takes no argument of such a type.
pub(crate) fn by_type(mut call: AggregateFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let name = call.func.name().to_owned();
    let mut changed = false;
    for argument in &mut call.params.args {
        let found = argument.get_type(schema)?;
        if ORDERING.contains(&name.as_str()) && !is_ordered(&found) {
            return Err(SqlError::Types {
                message: format!(
                    "[DATATYPE_MISMATCH.INVALID_ORDERING_TYPE] {name} compares values, and those of {} have no order",
                    spark_name(&found)
                ),
            }
            .into_datafusion());
        }
        if name == "string_agg" && is_interval(&found) {
            *argument = casts::cast_call(casts::CAST, std::mem::take(argument), &DataType::Utf8);
            changed = true;
            continue;
        }
        let wanted = match found {
            DataType::Null if OF_DOUBLES.contains(&name.as_str()) => DataType::Float64,
            DataType::Null if OF_LONGS.contains(&name.as_str()) => DataType::Int64,
            _ => continue,
        };
        *argument = Expr::Cast(Cast::new(Box::new(std::mem::take(argument)), wanted));
        changed = true;
    }
    let call = Expr::AggregateFunction(call);
    Ok(Transformed::new_transformed(call, changed))
}

/// Whether one value of a type is greater than another.
fn is_ordered(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(..) => false,
        DataType::List(item) => is_ordered(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_ordered(field.data_type())),
        found => *found != CALENDAR,
    }
}
