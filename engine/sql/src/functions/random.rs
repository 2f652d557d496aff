//! `rand`, `randn`, `uniform`, `randstr`, `uuid` and `shuffle`.
//!
//! Volatile, so that no rule computes them when the query is planned. Before a plan is changed each
//! call gets a number, so that rules may copy an expression without making a second draw of it; the
//! lowering puts a [`Draw`] in its place, which gives a row the same value whenever it runs again.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility, expr::ScalarFunction,
    },
    physical_expr::{ScalarFunctionExpr, expressions::Literal},
};
use millstream_operators::draw::{Draw, DrawKind, DrawSeed};

use super::higher::TRY;
use crate::{SqlError, types::spark_name};

/// A function that draws.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RandomFunction {
    name: &'static str,
    aliases: Vec<String>,
    kind: DrawKind,
    /// Which call of the plan this is, once calls are numbered.
    site: Option<u32>,
    signature: Signature,
}

impl RandomFunction {
    fn udf(name: &'static str, aliases: &[&str], kind: DrawKind) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(RandomFunction {
            name,
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            kind,
            site: None,
            signature: Signature::user_defined(Volatility::Volatile),
        }))
    }

    fn at(&self, site: u32) -> ScalarUDF {
        ScalarUDF::from(RandomFunction {
            name: self.name,
            aliases: self.aliases.clone(),
            kind: self.kind,
            site: Some(site),
            signature: self.signature.clone(),
        })
    }

    /// How many arguments it has before the seed.
    fn arity(&self) -> usize {
        match self.kind {
            DrawKind::Unit | DrawKind::Normal | DrawKind::Uuid => 0,
            DrawKind::Text | DrawKind::Shuffle => 1,
            DrawKind::Between => 2,
        }
    }
}

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        RandomFunction::udf("rand", &["random"], DrawKind::Unit),
        RandomFunction::udf("randn", &[], DrawKind::Normal),
        RandomFunction::udf("uniform", &[], DrawKind::Between),
        RandomFunction::udf("randstr", &[], DrawKind::Text),
        RandomFunction::udf("uuid", &[], DrawKind::Uuid),
        RandomFunction::udf("shuffle", &[], DrawKind::Shuffle),
    ]
}

fn random(function: &ScalarUDF) -> Option<&RandomFunction> {
    function.inner().downcast_ref::<RandomFunction>()
}

/// Whether the function draws.
#[cfg(test)]
pub(super) fn is_random(function: &ScalarUDF) -> bool {
    random(function).is_some()
}

/// Calls of a plan over late rows have the numbers from here on: their rows are rows of the query, too.
pub(crate) const LATE_SITES: u32 = 1 << 16;

/// Numbers the calls of a plan, from `first` on.
///
/// # Errors
/// When a lambda draws: its elements are no rows.
pub(crate) fn number(plan: LogicalPlan, first: u32) -> Result<LogicalPlan> {
    let mut next = first;
    let plan = plan.transform_down_with_subqueries(|plan| {
        plan.map_expressions(|expr| {
            refuse_lambdas(&expr)?;
            expr.transform_up(|part| {
                let Expr::ScalarFunction(call) = &part else {
                    return Ok(Transformed::no(part));
                };
                let Some(function) = random(&call.func) else {
                    return Ok(Transformed::no(part));
                };
                let function = Arc::new(function.at(next));
                next += 1;
                let call = ScalarFunction::new_udf(function, call.args.clone());
                Ok(Transformed::yes(Expr::ScalarFunction(call)))
            })
        })
    })?;
    Ok(plan.data)
}

fn refuse_lambdas(expr: &Expr) -> Result<()> {
    let draws = |body: &Expr| {
        let mut found = None;
        body.apply(|part| {
            if let Expr::ScalarFunction(call) = part {
                found = found.or(random(&call.func).map(|function| function.name));
            }
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        })?;
        Ok(found)
    };
    let lambda = |call: &Expr| -> Result<Option<&'static str>> {
        match call {
            // Its lambda is computed once a row.
            Expr::HigherOrderFunction(call) if call.func.name() != TRY => {
                let lambdas = call.args.iter().filter_map(|argument| match argument {
                    Expr::Lambda(lambda) => Some(lambda.body.as_ref()),
                    _ => None,
                });
                let found: Result<Vec<_>> = lambdas.map(draws).collect();
                Ok(found?.into_iter().flatten().next())
            }
            _ => Ok(None),
        }
    };
    let mut refused = None;
    expr.apply(|part| {
        refused = refused.or(lambda(part)?);
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })?;
    match refused {
        Some(name) => {
            Err(SqlError::unsupported(format!("{name} inside a lambda")).into_datafusion())
        }
        None => Ok(()),
    }
}

/// The draw that a call stands for, if it is one.
///
/// # Errors
/// When its seed is no constant.
pub(crate) fn draw(call: &ScalarFunctionExpr) -> Result<Option<Draw>, SqlError> {
    let Some(function) = random(call.fun()) else {
        return Ok(None);
    };
    let (arguments, seed) = call.args().split_at(function.arity());
    let seed = match seed.first() {
        Some(seed) => match seed.downcast_ref::<Literal>().map(Literal::value) {
            Some(ScalarValue::Int64(seed)) => DrawSeed::Given(seed.unwrap_or(0)),
            Some(ScalarValue::Null) => DrawSeed::Given(0),
            _ => {
                return Err(SqlError::Types {
                    message: format!("the seed of {} must be a constant", function.name),
                });
            }
        },
        None => DrawSeed::Site(
            function
                .site
                .ok_or_else(|| SqlError::internal("a random function without a number"))?,
        ),
    };
    let of = (function.kind, seed);
    let data_type = call.return_type().clone();
    Ok(Some(Draw::new(
        function.name,
        of,
        data_type,
        arguments.to_vec(),
    )))
}

/// The type of a number between two: whole between whole numbers, as in Spark.
fn between(low: &DataType, high: &DataType) -> DataType {
    let whole = [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
    ];
    let rank = |of: &DataType| whole.iter().position(|known| known == of);
    let single = |of: &DataType| *of == DataType::Float32 || rank(of).is_some();
    match (rank(low), rank(high)) {
        (Some(low), Some(high)) => whole[low.max(high)].clone(),
        _ if single(low) && single(high) => DataType::Float32,
        _ => DataType::Float64,
    }
}

impl ScalarUDFImpl for RandomFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let refused = |what: &str| {
            Err(SqlError::Types {
                message: format!("{} {what}", self.name),
            }
            .into_datafusion())
        };
        let arity = self.arity();
        if arg_types.len() != arity && arg_types.len() != arity + 1 {
            return refused("does not take so many arguments");
        }
        let (arguments, seed) = arg_types.split_at(arity);
        let mut wanted = Vec::with_capacity(arg_types.len());
        for argument in arguments {
            wanted.push(match (self.kind, argument) {
                (DrawKind::Between, DataType::Null) => DataType::Float64,
                (DrawKind::Between, other) if other.is_numeric() => other.clone(),
                (DrawKind::Text, other) if other.is_integer() || other.is_null() => DataType::Int64,
                (
                    DrawKind::Shuffle,
                    DataType::List(item)
                    | DataType::LargeList(item)
                    | DataType::FixedSizeList(item, _),
                ) => DataType::List(Arc::clone(item)),
                (DrawKind::Shuffle, DataType::Null) => DataType::new_list(DataType::Null, true),
                (_, other) => return refused(&format!("does not take {}", spark_name(other))),
            });
        }
        match seed {
            [seed] if !seed.is_integer() && !seed.is_null() => {
                return refused(&format!(
                    "takes a BIGINT as its seed, not {}",
                    spark_name(seed)
                ));
            }
            [_] => wanted.push(DataType::Int64),
            _ => {}
        }
        Ok(wanted)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(match (self.kind, arg_types) {
            (DrawKind::Between, [low, high, ..]) => between(low, high),
            (DrawKind::Shuffle, [list, ..]) => list.clone(),
            (DrawKind::Uuid | DrawKind::Text, _) => DataType::Utf8,
            _ => DataType::Float64,
        })
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let what = format!("{} was asked for while planning", self.name);
        Err(SqlError::internal(what).into_datafusion())
    }
}
