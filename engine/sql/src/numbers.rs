//! Spark's rules for numbers, where DataFusion's differ.
//!
//! An analyzer rule, before types are coerced: `/` of integers is a division of doubles, `/` of
//! decimals has Spark's scale, an integer literal beside a decimal has as many digits as it shows, a
//! decimal beside a double is a double.
//! [`narrow_literals`] is for SQL texts only: there, `1` is an INT.

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema, Result, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::{
        BinaryExpr, Case, Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator,
        TryCast, Union, expr::ScalarFunction, expr_rewriter::NamePreserver, utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};

use crate::{
    SqlError, aggregates,
    functions::{
        casts,
        divide::{divide, wide},
    },
    times,
    types::spark_name,
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
                let done = plain_cast(call, schema)?;
                let done = done.transform_data(|expr| match expr {
                    Expr::ScalarFunction(call) => arguments(call, schema),
                    other => Ok(Transformed::no(other)),
                })?;
                done.transform_data(|expr| times::same_in_values(expr, schema))
            }
            Expr::Case(case) => {
                choice(case, schema)?.transform_data(|expr| times::same_in_values(expr, schema))
            }
            Expr::Negative(value) => negative(*value, schema),
            Expr::AggregateFunction(call) => aggregates::by_type(call, schema),
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
    let number = from.is_numeric() || from == DataType::Boolean;
    if number && matches!(to, DataType::Date32 | DataType::Timestamp(_, None)) {
        return Err(SqlError::Types {
            message: format!("{} is not cast to {}", spark_name(&from), spark_name(&to)),
        }
        .into_datafusion());
    }
    let value = Box::new(call.args.swap_remove(0));
    if tries {
        return Ok(Transformed::yes(Expr::TryCast(TryCast::new(value, to))));
    }
    Ok(Transformed::yes(
        times::cast(Cast::new(value, to), schema)?.data,
    ))
}

/// Functions whose arguments get one type, that of their values.
const OF_ONE_TYPE: [&str; 6] = ["array", "coalesce", "greatest", "if", "least", "make_array"];

/// Arguments of functions that need Spark's common type.
fn arguments(mut call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let name = call.func.name().to_owned();
    let name = name.as_str();
    if OF_ONE_TYPE.contains(&name) {
        let skipped = usize::from(name == "if");
        let changed = of_one_type(&mut call.args[skipped..], schema)?;
        let call = Expr::ScalarFunction(call);
        return Ok(Transformed::new_transformed(call, changed));
    }
    if matches!(name, "array_join" | "array_to_string")
        && let DataType::List(item) = call.args[0].get_type(schema)?
        && !matches!(item.data_type(), DataType::Utf8 | DataType::Null)
    {
        // The elements are written as Spark's cast writes them.
        let texts = DataType::new_list(DataType::Utf8, true);
        let list = std::mem::take(&mut call.args[0]);
        call.args[0] = casts::cast_call(casts::CAST, list, &texts);
        return Ok(Transformed::yes(Expr::ScalarFunction(call)));
    }
    if !["div", "pmod"].contains(&name) {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    }
    let types = call.args.iter().map(|arg| arg.get_type(schema));
    let types = types.collect::<Result<Vec<_>>>()?;
    let floats = types.iter().any(DataType::is_floating);
    if name == "div" && floats {
        return Err(SqlError::Types {
            message: "div takes whole numbers and decimals".to_owned(),
        }
        .into_datafusion());
    }
    if name == "div" && types.iter().any(is_text) {
        for arg in &mut call.args {
            *arg = Expr::Cast(Cast::new(Box::new(std::mem::take(arg)), DataType::Int64));
        }
    } else if !floats && types.iter().any(is_decimal) {
        for (arg, found) in call.args.iter_mut().zip(&types) {
            *arg = as_decimal(std::mem::take(arg), found);
        }
    }
    if name != "pmod" {
        return Ok(Transformed::yes(Expr::ScalarFunction(call)));
    }
    let types = call.args.iter().map(|arg| arg.get_type(schema));
    let types = types.collect::<Result<Vec<_>>>()?;
    let mut arguments = call.args;
    if types.iter().all(|found| *found == DataType::Null) {
        for arg in &mut arguments {
            *arg = Expr::Cast(Cast::new(Box::new(std::mem::take(arg)), DataType::Float64));
        }
    }
    of_one_type(&mut arguments, schema)?;
    let rest = Expr::ScalarFunction(ScalarFunction::new_udf(call.func, arguments));
    // A rest of decimals has as many digits before the point as the shorter of the two.
    let [DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)] = types.as_slice() else {
        return Ok(Transformed::yes(rest));
    };
    let whole = |precision: &u8, scale: &i8| i16::from(*precision) - i16::from(*scale);
    let scale = *s1.max(s2);
    let precision = whole(p1, s1).min(whole(p2, s2)) + i16::from(scale);
    let wanted = DataType::Decimal128(u8::try_from(precision.clamp(1, 38)).unwrap_or(38), scale);
    Ok(Transformed::yes(Expr::Cast(Cast::new(
        Box::new(rest),
        wanted,
    ))))
}

/// The results of a CASE have one type.
fn choice(mut case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut results: Vec<&mut Expr> = case
        .when_then_expr
        .iter_mut()
        .map(|(_, then)| then.as_mut())
        .chain(case.else_expr.as_deref_mut())
        .collect();
    let mut values: Vec<Expr> = results
        .iter_mut()
        .map(|result| std::mem::take(*result))
        .collect();
    let changed = of_one_type(&mut values, schema)?;
    for (result, value) in results.into_iter().zip(values) {
        *result = value;
    }
    Ok(Transformed::new_transformed(Expr::Case(case), changed))
}

/// Casts to the common type, if there is one; whether anything was cast.
fn of_one_type(args: &mut [Expr], schema: &DFSchema) -> Result<bool> {
    let types = args.iter().map(|arg| arg.get_type(schema));
    let types = types.collect::<Result<Vec<_>>>()?;
    let Some(wide) = common_type(&types) else {
        return Ok(false);
    };
    let mut changed = false;
    for (arg, found) in args.iter_mut().zip(types) {
        if found != wide {
            *arg = Expr::Cast(Cast::new(Box::new(std::mem::take(arg)), wide.clone()));
            changed = true;
        }
    }
    Ok(changed)
}

fn is_text(found: &DataType) -> bool {
    matches!(found, DataType::Utf8 | DataType::Utf8View)
}

/// The type that a number and a text have beside each other.
fn beside_text(number: &DataType) -> DataType {
    if number.is_integer() {
        DataType::Int64
    } else {
        DataType::Float64
    }
}

/// The type of numbers of different types beside each other; of other types if all are the same.
/// Nulls have no say.
fn common_type(types: &[DataType]) -> Option<DataType> {
    let mut known = types.iter().filter(|found| **found != DataType::Null);
    let first = known.next()?.clone();
    known.try_fold(first, |so_far, next| match (&so_far, next) {
        (one, other) if one == other => Some(so_far),
        (one, other) if is_text(one) && other.is_numeric() => Some(beside_text(other)),
        (one, other) if one.is_numeric() && is_text(other) => Some(beside_text(one)),
        (one, other) if !one.is_numeric() || !other.is_numeric() => None,
        (one, other) if one.is_floating() || other.is_floating() => {
            let single = *one == DataType::Float32 && *other == DataType::Float32;
            Some(if single {
                DataType::Float32
            } else {
                DataType::Float64
            })
        }
        (one, other) if is_decimal(one) || is_decimal(other) => {
            let ((p1, s1), (p2, s2)) = (decimal_digits(one)?, decimal_digits(other)?);
            let scale = s1.max(s2);
            let whole = (i16::from(p1) - i16::from(s1)).max(i16::from(p2) - i16::from(s2));
            let precision = (whole + i16::from(scale)).min(38);
            Some(DataType::Decimal128(u8::try_from(precision).ok()?, scale))
        }
        (one, other) => Some(if one.primitive_width() >= other.primitive_width() {
            one.clone()
        } else {
            other.clone()
        }),
    })
}

/// Precision and scale of a decimal, or of a decimal that holds all numbers of an integer type.
fn decimal_digits(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        DataType::Int8 | DataType::UInt8 => Some((3, 0)),
        DataType::Int16 | DataType::UInt16 => Some((5, 0)),
        DataType::Int32 | DataType::UInt32 => Some((10, 0)),
        DataType::Int64 | DataType::UInt64 => Some((20, 0)),
        _ => None,
    }
}

/// The negative of a text is that of a double.
fn negative(value: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let found = value.get_type(schema);
    let text = found.is_ok_and(|found| is_text(&found) || found == DataType::Null);
    let value = if text {
        Expr::Cast(Cast::new(Box::new(value), DataType::Float64))
    } else {
        value
    };
    Ok(Transformed::new_transformed(
        Expr::Negative(Box::new(value)),
        text,
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
        op if as_doubles(op, &left, &right) => {
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(
                Box::new(as_double(*binary.left, &left)),
                op,
                Box::new(as_double(*binary.right, &right)),
            ))))
        }
        _ => Ok(Transformed::no(Expr::BinaryExpr(binary))),
    }
}

/// Whether both sides become doubles: a decimal beside a double or a float, in arithmetic a FLOAT
/// beside a whole number.
fn as_doubles(op: Operator, left: &DataType, right: &DataType) -> bool {
    let beside = |one: &DataType, other: &DataType| {
        let decimal = is_decimal(one)
            && other.is_floating()
            && (op.is_numerical_operators() || op.supports_propagation());
        let single = *one == DataType::Float32 && other.is_integer() && op.is_numerical_operators();
        decimal || single
    };
    beside(left, right) || beside(right, left)
}

/// Arithmetic over a text: beside a whole number it is a BIGINT, beside another it is a DOUBLE.
pub(crate) fn texts_as_numbers(
    binary: &BinaryExpr,
    left: &DataType,
    right: &DataType,
) -> Option<BinaryExpr> {
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

/// The value of an integer literal; one with a letter behind it is a cast of its text.
fn integer(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => Some(i64::from(*value)),
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value),
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Int64 => {
            match cast.expr.as_ref() {
                Expr::Literal(ScalarValue::Utf8(Some(digits)), _) => digits.parse().ok(),
                _ => None,
            }
        }
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
    let (false, Some((precision, _))) = (is_decimal(data_type), decimal_digits(data_type)) else {
        return expr;
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
