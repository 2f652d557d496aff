//! Spark's rules for numbers, where DataFusion's differ.
//!
//! An analyzer rule, before types are coerced: `/` of integers is a division of doubles, `/` of
//! decimals has Spark's scale, an integer literal beside a decimal has as many digits as it shows, a
//! decimal beside a double is a double.
//! [`narrow_literals`] is for SQL texts only: there, `1` is an INT.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "enums of other crates, with many variants and more to come"
)]

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema, Result, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::{
        BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, TryCast,
        Union, expr::ScalarFunction, expr_rewriter::NamePreserver, utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};

use crate::{
    functions::{
        casts,
        divide::{divide, wide},
    },
    times,
};

/// The rule.
#[derive(Debug)]
pub(crate) struct SparkNumbers;

impl AnalyzerRule for SparkNumbers {
    fn name(&self) -> &str {
        "spark_numbers"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |expr, schema| match expr {
            Expr::BinaryExpr(binary) if times::compares(binary.op) => {
                times::same_in_comparison(binary, schema)?.transform_data(|expr| match expr {
                    Expr::BinaryExpr(binary) => arithmetic(binary, schema),
                    other => Ok(Transformed::no(other)),
                })
            }
            Expr::BinaryExpr(binary) => arithmetic(binary, schema),
            Expr::Cast(cast) => cast_by_spark(cast, schema),
            Expr::ScalarFunction(call) => {
                plain_cast(call, schema)?.transform_data(|expr| times::same_in_values(expr, schema))
            }
            other => times::same_in_values(other, schema),
        })
    }
}

/// Rewrites every expression of a plan, keeping column names; types may change.
pub(crate) fn rewrite_expressions(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        // How many rows are let through is a number of DataFusion's own.
        if matches!(plan, LogicalPlan::Limit(_)) {
            return Ok(Transformed::no(plan));
        }
        let schema = match &plan {
            LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
            other => merge_schema(&other.inputs()),
        };
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let done = expr.transform_up(|part| rewrite(part, &schema))?;
            // The element of a list whose type changed has another type inside a lambda, too.
            done.transform_data(|expr| expr.resolve_lambda_variables(&schema))
                .map(|done| done.update_data(|expr| name.restore(expr)))
        })?
        .map_data(fresh_schema)
    })
    .data()
}

/// The plan with the columns that its inputs now give. A union keeps the types of its first input as
/// they were, which DataFusion leaves as they are when it is asked.
fn fresh_schema(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Union(union) => {
            let inputs = times::same_in_union(union.inputs)?;
            Union::try_new_with_loose_types(inputs).map(LogicalPlan::Union)
        }
        // Literals have other types than DataFusion gave them.
        LogicalPlan::Values(values) => LogicalPlanBuilder::values(values.values)?.build(),
        other => other.recompute_schema(),
    }
}

/// A cast that arrow answers otherwise than Spark is a call.
pub(crate) fn cast_by_spark(cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let to = cast.field.data_type();
    let from = cast.expr.get_type(schema);
    if from.is_ok_and(|from| casts::is_special(&from, to)) {
        let call = casts::cast_call(casts::CAST, *cast.expr.clone(), to);
        return Ok(Transformed::yes(call));
    }
    times::cast(cast, schema)
}

/// A call that arrow answers as Spark does is a cast.
fn plain_cast(mut call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let tries = call.name() == casts::TRY_CAST;
    if (!tries && call.name() != casts::CAST) || call.args.len() != 2 {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    }
    let from = call.args[0].get_type(schema)?;
    let expr = Expr::ScalarFunction(call.clone());
    let to = expr.get_type(schema)?;
    if casts::is_special(&from, &to) {
        return Ok(Transformed::no(expr));
    }
    let value = Box::new(call.args.swap_remove(0));
    if tries {
        return Ok(Transformed::yes(Expr::TryCast(TryCast::new(value, to))));
    }
    Ok(Transformed::yes(
        times::cast(Cast::new(value, to), schema)?.data,
    ))
}

fn arithmetic(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let types = binary
        .left
        .get_type(schema)
        .ok()
        .zip(binary.right.get_type(schema).ok());
    let Some((left, right)) = types else {
        return Ok(Transformed::no(Expr::BinaryExpr(binary)));
    };
    let has_decimal = is_decimal(&left) || is_decimal(&right);
    let exact = |t: &DataType| is_decimal(t) || t.is_integer();
    // A day and hours are a time.
    if left == DataType::Date32
        && matches!(binary.op, Operator::Plus | Operator::Minus)
        && has_hours(&binary.right)
    {
        let time = Cast::new(binary.left, crate::types::timestamp());
        let time = Box::new(Expr::Cast(time));
        let sum = BinaryExpr::new(time, binary.op, binary.right);
        return Ok(Transformed::yes(Expr::BinaryExpr(sum)));
    }
    match binary.op {
        Operator::Divide if has_decimal && exact(&left) && exact(&right) => {
            let left = as_decimal(*binary.left, &left);
            let right = as_decimal(*binary.right, &right);
            Ok(Transformed::yes(divide(left, right)))
        }
        Operator::Divide if left.is_numeric() && right.is_numeric() => {
            let (l, r) = (
                as_double(*binary.left, &left),
                as_double(*binary.right, &right),
            );
            Ok(Transformed::yes(divide(l, r)))
        }
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Modulo
            if has_decimal && exact(&left) && exact(&right) =>
        {
            let sides = (
                as_decimal(*binary.left.clone(), &left),
                as_decimal(*binary.right.clone(), &right),
            );
            let types = (sides.0.get_type(schema)?, sides.1.get_type(schema)?);
            if let (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)) = types
                && let Some(wide) = wide(sides.0, binary.op, sides.1, [(p1, s1), (p2, s2)])
            {
                return Ok(Transformed::yes(wide));
            }
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(
                Box::new(literal_as_decimal(*binary.left)),
                binary.op,
                Box::new(literal_as_decimal(*binary.right)),
            ))))
        }
        op if has_decimal
            && (left.is_floating() || right.is_floating())
            && (op.is_numerical_operators() || op.supports_propagation()) =>
        {
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(
                Box::new(as_double(*binary.left, &left)),
                op,
                Box::new(as_double(*binary.right, &right)),
            ))))
        }
        _ => Ok(Transformed::no(Expr::BinaryExpr(binary))),
    }
}

/// Arithmetic over a text: beside a whole number it is a BIGINT, beside another it is a DOUBLE.
pub(crate) fn texts_as_numbers(
    binary: &BinaryExpr,
    left: &DataType,
    right: &DataType,
) -> Option<BinaryExpr> {
    let is_text = |found: &DataType| matches!(found, DataType::Utf8 | DataType::Utf8View);
    let number = match (is_text(left), is_text(right)) {
        (true, false) => right,
        (false, true) => left,
        _ => return None,
    };
    let arithmetic = matches!(
        binary.op,
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo
    );
    if !arithmetic || !number.is_numeric() {
        return None;
    }
    let whole = number.is_integer() && binary.op != Operator::Divide;
    let wanted = if whole {
        DataType::Int64
    } else {
        DataType::Float64
    };
    let side = |expr: &Expr, found: &DataType| {
        if !is_text(found) {
            return expr.clone();
        }
        Expr::Cast(Cast::new(Box::new(expr.clone()), wanted.clone()))
    };
    Some(BinaryExpr::new(
        Box::new(side(&binary.left, left)),
        binary.op,
        Box::new(side(&binary.right, right)),
    ))
}

fn has_hours(interval: &Expr) -> bool {
    match interval {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(span)), _) => span.nanoseconds != 0,
        _ => false,
    }
}

fn as_double(expr: Expr, from: &DataType) -> Expr {
    if *from == DataType::Float64 {
        return expr;
    }
    Expr::Cast(Cast::new(Box::new(expr), DataType::Float64))
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(_, _))
}

fn integer(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => Some(i64::from(*value)),
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value),
        _ => None,
    }
}

/// An integer literal as a decimal of just its digits; everything else unchanged.
fn literal_as_decimal(expr: Expr) -> Expr {
    let Some(value) = integer(&expr) else {
        return expr;
    };
    let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
    let precision = u8::try_from(digits).unwrap_or(19);
    Expr::Literal(
        ScalarValue::Decimal128(Some(i128::from(value)), precision, 0),
        None,
    )
}

fn as_decimal(expr: Expr, data_type: &DataType) -> Expr {
    let precision = match data_type {
        DataType::Int8 | DataType::UInt8 => 3,
        DataType::Int16 | DataType::UInt16 => 5,
        DataType::Int32 | DataType::UInt32 => 10,
        DataType::Int64 | DataType::UInt64 => 20,
        _ => return expr,
    };
    if integer(&expr).is_some() {
        return literal_as_decimal(expr);
    }
    Expr::Cast(Cast::new(
        Box::new(expr),
        DataType::Decimal128(precision, 0),
    ))
}

/// Makes INT of the integer literals of a SQL text, which DataFusion reads as BIGINT.
pub(crate) fn narrow_literals(plan: LogicalPlan) -> Result<LogicalPlan> {
    rewrite_expressions(plan, |expr, _| {
        Ok(match expr {
            Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => {
                match i32::try_from(value) {
                    Ok(value) => {
                        Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(value)), metadata))
                    }
                    Err(_) => {
                        Transformed::no(Expr::Literal(ScalarValue::Int64(Some(value)), metadata))
                    }
                }
            }
            other => Transformed::no(other),
        })
    })
}
