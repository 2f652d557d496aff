//! Literals, and operators whose meaning another expression has.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DataType, ExactNumberInfo, Expr, TrimWhereField,
    UnaryOperator, Value,
};

use crate::calls::called;
use crate::{
    SqlError,
    functions::{
        casts::{CAST, TRY_CAST},
        rounding::{CEIL, FLOOR},
    },
    literals::split_suffix,
    types::parse_type,
};

/// Rewrites one expression; its parts come later.
pub(super) fn rewrite(expr: &mut Expr) -> Result<(), SqlError> {
    match expr {
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: inner,
        } => {
            if let Some(literal) = number(inner, "-") {
                *expr = literal;
            }
        }
        Expr::UnaryOp {
            op: UnaryOperator::BitwiseNot,
            expr: inner,
        } => *expr = called("bitwise_not", vec![inner.as_ref().clone()]),
        Expr::UnaryOp { op, .. } if *op == UnaryOperator::BangNot => *op = UnaryOperator::Not,
        Expr::Value(_) => {
            if let Some(literal) = number(expr, "") {
                *expr = literal;
            }
        }
        Expr::BinaryOp { left, op, right } => {
            let function = match op {
                BinaryOperator::PGBitwiseShiftLeft => "shiftleft",
                BinaryOperator::PGBitwiseShiftRight => "shiftright",
                BinaryOperator::MyIntegerDivide => "div",
                BinaryOperator::StringConcat => "concat",
                _ => return Ok(()),
            };
            *expr = called(
                function,
                vec![left.as_ref().clone(), right.as_ref().clone()],
            );
        }
        Expr::UnaryOp {
            op: UnaryOperator::Plus,
            expr: inner,
        } => *expr = called("positive", vec![inner.as_ref().clone()]),
        Expr::Substring { .. }
        | Expr::Overlay { .. }
        | Expr::Trim { .. }
        | Expr::Ceil { .. }
        | Expr::Floor { .. } => spelled_out(expr),
        Expr::Like {
            pattern,
            escape_char,
            ..
        }
        | Expr::ILike {
            pattern,
            escape_char,
            ..
        } => match escape_char.take() {
            Some(escape) => without_escape(pattern, &escape.value)?,
            None => check_escapes(pattern)?,
        },
        _ => {}
    }
    Ok(())
}

/// Calls that are written with words between their arguments, as calls of functions.
fn spelled_out(expr: &mut Expr) {
    match expr {
        Expr::Substring {
            expr: value,
            substring_from,
            substring_for,
            ..
        } => {
            let first = || Expr::Value(Value::Number("1".to_owned(), false).with_empty_span());
            let from = substring_from.as_deref().cloned().unwrap_or_else(first);
            let length = substring_for.as_deref().cloned();
            let arguments = [value.as_ref().clone(), from].into_iter().chain(length);
            *expr = called("substring", arguments.collect());
        }
        Expr::Overlay {
            expr: value,
            overlay_what,
            overlay_from,
            overlay_for,
        } => {
            let parts = [value, overlay_what, overlay_from].map(|part| part.as_ref().clone());
            let length = overlay_for.as_deref().cloned();
            *expr = called("overlay", parts.into_iter().chain(length).collect());
        }
        Expr::Trim {
            expr: value,
            trim_where,
            trim_what,
            ..
        } => {
            // Users' `ltrim` has what is taken off in front.
            let function = match trim_where {
                Some(TrimWhereField::Leading) => "__ltrim",
                Some(TrimWhereField::Trailing) => "__rtrim",
                Some(TrimWhereField::Both) | None => "btrim",
            };
            let what = trim_what.as_deref().cloned();
            let arguments = std::iter::once(value.as_ref().clone()).chain(what);
            *expr = called(function, arguments.collect());
        }
        Expr::Ceil {
            expr: value,
            field: CeilFloorKind::Scale(digits),
        } => {
            *expr = called(
                CEIL,
                vec![value.as_ref().clone(), Expr::Value(digits.clone())],
            )
        }
        Expr::Floor {
            expr: value,
            field: CeilFloorKind::Scale(digits),
        } => {
            *expr = called(
                FLOOR,
                vec![value.as_ref().clone(), Expr::Value(digits.clone())],
            )
        }
        _ => {}
    }
}

/// A cast that arrow may not know, as a call: `CAST(x AS STRING)`.
pub(super) fn cast(expr: &mut Expr) {
    let Expr::Cast {
        kind,
        expr: value,
        data_type,
        format: None,
        ..
    } = &*expr
    else {
        return;
    };
    let name = match kind {
        CastKind::TryCast | CastKind::SafeCast => TRY_CAST,
        CastKind::Cast | CastKind::DoubleColon => CAST,
    };
    let wanted = data_type.to_string();
    let Ok(parsed) = parse_type(&wanted) else {
        return;
    };
    let may_differ = parsed.is_nested()
        || parsed.is_temporal()
        || parsed.is_string()
        || parsed.is_integer()
        || matches!(parsed, arrow::datatypes::DataType::Decimal128(..))
        || parsed == arrow::datatypes::DataType::Boolean;
    if may_differ {
        let wanted = Value::SingleQuotedString(wanted).with_empty_span();
        *expr = called(name, vec![value.as_ref().clone(), Expr::Value(wanted)]);
    }
}

/// A number whose type is not what DataFusion thinks.
fn number(expr: &Expr, sign: &str) -> Option<Expr> {
    let Expr::Value(value) = expr else {
        return None;
    };
    let Value::Number(digits, _) = &value.value else {
        return None;
    };
    let whole = digits.bytes().all(|digit| digit.is_ascii_digit());
    let (digits, name) = match split_suffix(digits) {
        Some(found) => found,
        None if digits.contains(['e', 'E']) => (digits.as_str(), "DOUBLE"),
        None if whole && format!("{sign}{digits}").parse::<i64>().is_err() => {
            (digits.as_str(), "DECIMAL")
        }
        // `-2147483648` must not be the negative of a number that is no INT.
        None if whole && sign == "-" => {
            let negative = Value::Number(format!("-{digits}"), false);
            return Some(Expr::Value(negative.with_span(value.span)));
        }
        None => return None,
    };
    let data_type = match name {
        "DECIMAL" => DataType::Decimal(digits_of(digits)?),
        "BIGINT" => DataType::BigInt(None),
        "SMALLINT" => DataType::SmallInt(None),
        "TINYINT" => DataType::TinyInt(None),
        "FLOAT" => DataType::Real,
        _ => DataType::Double(ExactNumberInfo::None),
    };
    let text = Value::SingleQuotedString(format!("{sign}{digits}"));
    Some(Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(text.with_span(value.span))),
        data_type,
        array: false,
        format: None,
    })
}

/// The precision and scale of a decimal that is written like this.
fn digits_of(text: &str) -> Option<ExactNumberInfo> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0').len();
    let scale = fraction.len();
    let precision = u64::try_from((whole + scale).max(1)).ok()?;
    let scale = i64::try_from(scale).ok()?;
    Some(ExactNumberInfo::PrecisionAndScale(precision, scale))
}

/// Behind the backslash of a pattern stands what would else mean something.
fn check_escapes(pattern: &Expr) -> Result<(), SqlError> {
    let Expr::Value(value) = pattern else {
        return Ok(());
    };
    let Value::SingleQuotedString(text) = &value.value else {
        return Ok(());
    };
    let mut letters = text.chars();
    while letters.any(|letter| letter == '\\') {
        let next = letters.next();
        if !next.is_some_and(|next| ['%', '_', '\\'].contains(&next)) {
            return Err(SqlError::plan(format!(
                "[INVALID_FORMAT.ESC_IN_THE_MIDDLE] a backslash stands before another than %, _ and itself pattern={text:?}"
            )));
        }
    }
    Ok(())
}

/// `LIKE 'a!%' ESCAPE '!'` is `LIKE 'a\%'`.
fn without_escape(pattern: &mut Expr, escape: &Value) -> Result<(), SqlError> {
    let mut escapes = match escape {
        Value::SingleQuotedString(text) => text.chars(),
        _ => "".chars(),
    };
    let (Some(escape), None) = (escapes.next(), escapes.next()) else {
        return Err(SqlError::plan("ESCAPE takes one character"));
    };
    let Expr::Value(value) = pattern else {
        if escape == '\\' {
            return Ok(());
        }
        return Err(SqlError::unsupported(
            "LIKE … ESCAPE with a pattern that is no literal",
        ));
    };
    let Value::SingleQuotedString(text) = &mut value.value else {
        return Ok(());
    };
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == escape {
            let next = letters.next();
            let Some(next) = next.filter(|next| ['%', '_', escape].contains(next)) else {
                return Err(SqlError::plan(format!(
                    "the escape character stands before another than %, _ and itself pattern={text:?}"
                )));
            };
            plain.push('\\');
            plain.push(next);
        } else if letter == '\\' {
            plain.push_str("\\\\");
        } else {
            plain.push(letter);
        }
    }
    *text = plain;
    Ok(())
}
