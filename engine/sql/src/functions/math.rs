//! Functions of numbers: logarithms that are null where there is none, `conv`, `format_number`.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, StringArray},
    compute::cast,
    datatypes::{DataType, Decimal128Type, DecimalType, Float64Type, Int32Type, Int64Type},
};
use datafusion::{common::Result, logical_expr::ScalarUDF};

use super::divide;
use super::{
    misfit::failed,
    simple::{Call, Gives, Simple, Want},
};

const ONE: &[Want] = &[Want::Double];

const TABLE: &[Simple] = &[
    Simple::new("ln", ONE, Gives::Double, |call| {
        doubles(call, |x| (x > 0.0).then(|| x.ln()))
    }),
    Simple::new("log10", ONE, Gives::Double, |call| {
        doubles(call, |x| (x > 0.0).then(|| x.log10()))
    }),
    Simple::new("log2", ONE, Gives::Double, |call| {
        doubles(call, |x| (x > 0.0).then(|| x.log2()))
    }),
    Simple::new("log1p", ONE, Gives::Double, |call| {
        doubles(call, |x| (x > -1.0).then(|| x.ln_1p()))
    }),
    Simple::new("log", &[Want::Double, Want::Double], Gives::Double, log).optional(1),
    Simple::new("sqrt", ONE, Gives::Double, |call| {
        doubles(call, |x| Some(x.sqrt()))
    }),
    Simple::new("div", &[Want::Any, Want::Any], Gives::Long, div),
    Simple::new(
        "pmod",
        &[Want::Any, Want::Any],
        Gives::Of(|types, _| Ok(types[0].clone())),
        pmod,
    ),
    Simple::new("space", &[Want::Int], Gives::Text, |call| {
        let counts = call.arguments[0].as_primitive::<Int32Type>();
        let spaces = counts.iter().map(|count| {
            count.map(|count| " ".repeat(usize::try_from(count).unwrap_or(0).min(TEXT_MAX)))
        });
        Ok(Arc::new(spaces.collect::<StringArray>()))
    }),
    Simple::new(
        "conv",
        &[Want::Text, Want::Int, Want::Int],
        Gives::Text,
        conv,
    ),
    Simple::new(
        "format_number",
        &[Want::Any, Want::Any],
        Gives::Text,
        format_number,
    ),
];

/// The longest text that a number of characters makes.
const TEXT_MAX: usize = 1 << 24;

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

fn doubles(call: &Call<'_>, of: impl Fn(f64) -> Option<f64>) -> Result<ArrayRef> {
    let values = call.arguments[0].as_primitive::<Float64Type>();
    let answers = values.iter().map(|value| {
        value.and_then(|value| {
            if value.is_nan() {
                Some(value)
            } else {
                of(value)
            }
        })
    });
    Ok(Arc::new(answers.collect::<Float64Array>()))
}

/// The natural logarithm, or that to a base.
fn log(call: &Call<'_>) -> Result<ArrayRef> {
    let Some(values) = call.arguments.get(1) else {
        return doubles(call, |x| (x > 0.0).then(|| x.ln()));
    };
    let bases = call.arguments[0].as_primitive::<Float64Type>().iter();
    let answers = bases
        .zip(values.as_primitive::<Float64Type>())
        .map(|pair| match pair {
            (Some(base), Some(value)) if base > 0.0 && value > 0.0 => Some(value.ln() / base.ln()),
            _ => None,
        });
    Ok(Arc::new(answers.collect::<Float64Array>()))
}

/// The whole part of a quotient of whole numbers or decimals.
fn div(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (&call.arguments[0], &call.arguments[1]);
    let decimal = |values: &ArrayRef| matches!(values.data_type(), DataType::Decimal128(..));
    if decimal(left) && decimal(right) {
        return divide::whole_quotients(left, right);
    }
    let (left, right) = (
        cast(left, &DataType::Int64)?,
        cast(right, &DataType::Int64)?,
    );
    let left = left.as_primitive::<Int64Type>().iter();
    let quotients = left.zip(right.as_primitive::<Int64Type>());
    let quotients = quotients.map(|pair| match pair {
        (Some(_), Some(0)) => Err(failed("[DIVIDE_BY_ZERO] a division by zero")),
        (Some(l), Some(r)) => l
            .checked_div(r)
            .map(Some)
            .ok_or_else(|| failed("[ARITHMETIC_OVERFLOW] a division overflows")),
        _ => Ok(None),
    });
    Ok(Arc::new(quotients.collect::<Result<Int64Array>>()?))
}

/// The rest of a division, which is never negative beside a positive divisor. Both have one type.
fn pmod(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (&call.arguments[0], &call.arguments[1]);
    let zero = || failed("[REMAINDER_BY_ZERO] a division by zero");
    if left.data_type().is_floating() {
        let (left, right) = (
            cast(left, &DataType::Float64)?,
            cast(right, &DataType::Float64)?,
        );
        let left = left.as_primitive::<Float64Type>().iter();
        let rests = left.zip(right.as_primitive::<Float64Type>());
        let rests = rests.map(|pair| match pair {
            (Some(_), Some(0.0)) => Err(zero()),
            (Some(l), Some(r)) if l % r < 0.0 => Ok(Some((l % r + r) % r)),
            (Some(l), Some(r)) => Ok(Some(l % r)),
            _ => Ok(None),
        });
        let rests: ArrayRef = Arc::new(rests.collect::<Result<Float64Array>>()?);
        return Ok(cast(&rests, call.gives)?);
    }
    // Whole numbers and decimals alike count units; a sum of two of them has a place in 128 bits,
    // for decimals end at 38 digits.
    let wide = match left.data_type() {
        DataType::Decimal128(..) => left.data_type().clone(),
        _ => DataType::Decimal128(38, 0),
    };
    let (left, right) = (cast(left, &wide)?, cast(right, &wide)?);
    let left = left.as_primitive::<Decimal128Type>().iter();
    let rests = left.zip(right.as_primitive::<Decimal128Type>());
    let rests = rests.map(|pair| match pair {
        (Some(_), Some(0)) => Err(zero()),
        (Some(l), Some(r)) => Ok(Some(match l.wrapping_rem(r) {
            rest if rest < 0 => (rest + r).wrapping_rem(r),
            rest => rest,
        })),
        _ => Ok(None),
    });
    let rests = rests.collect::<Result<Decimal128Array>>()?;
    let rests: ArrayRef = Arc::new(rests.with_data_type(wide));
    Ok(cast(&rests, call.gives)?)
}

/// A number in another base; the sign of the base says whether the number has one.
fn conv(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.arguments[0].as_string::<i32>();
    let from = call.arguments[1].as_primitive::<Int32Type>();
    let to = call.arguments[2].as_primitive::<Int32Type>();
    let converted = (0..call.rows).map(|row| {
        if texts.is_null(row) || from.is_null(row) || to.is_null(row) {
            return Ok(None);
        }
        convert(texts.value(row), from.value(row), to.value(row))
    });
    Ok(Arc::new(converted.collect::<Result<StringArray>>()?))
}

fn convert(text: &str, from: i32, to: i32) -> Result<Option<String>> {
    let bases = 2..=36;
    let text = text.trim();
    if !bases.contains(&from) || !bases.contains(&to.abs()) || text.is_empty() {
        return Ok(None);
    }
    let (digits, negative) = match text.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let mut value: u64 = 0;
    for digit in digits
        .chars()
        .map_while(|digit| digit.to_digit(from.unsigned_abs()))
    {
        value = value
            .checked_mul(u64::from(from.unsigned_abs()))
            .and_then(|value| value.checked_add(u64::from(digit)))
            .ok_or_else(|| failed("[ARITHMETIC_OVERFLOW] a number has more than 64 bits"))?;
    }
    let value = if negative {
        value.wrapping_neg()
    } else {
        value
    };
    let (value, minus) = match i64::from_ne_bytes(value.to_ne_bytes()) {
        signed if to < 0 && signed < 0 => (signed.unsigned_abs(), true),
        _ => (value, false),
    };
    let mut out = Vec::new();
    let (base, mut rest) = (u64::from(to.unsigned_abs()), value);
    loop {
        let digit = u32::try_from(rest % base).unwrap_or(0);
        out.extend(char::from_digit(digit, to.unsigned_abs()));
        rest /= base;
        if rest == 0 {
            break;
        }
    }
    if minus {
        out.push('-');
    }
    let text: String = out.into_iter().rev().collect();
    Ok(Some(text.to_uppercase()))
}

/// Thousands between commas, with so many digits behind the point or by a pattern.
fn format_number(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = decimal_texts(&call.arguments[0])?;
    let by_pattern = call.arguments[1].data_type() == &DataType::Utf8;
    let patterns = cast(&call.arguments[1], &DataType::Utf8)?;
    let patterns = patterns.as_string::<i32>();
    let formatted = numbers.into_iter().enumerate().map(|(row, number)| {
        let number = number?;
        if patterns.is_null(row) {
            return None;
        }
        let format = if by_pattern {
            Format::of(patterns.value(row))
        } else {
            let digits: usize = patterns.value(row).parse().ok()?;
            Format {
                least: digits,
                most: digits,
                whole: 1,
                group: 3,
            }
        };
        Some(format.apply(&number))
    });
    Ok(Arc::new(formatted.collect::<StringArray>()))
}

/// Numbers with all their digits and without exponents; what is no number as Java names it.
pub(super) fn decimal_texts(values: &ArrayRef) -> Result<Vec<Option<String>>> {
    let text = |value: f64| match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "∞" } else { "-∞" }.to_owned(),
        value => format!("{value}"),
    };
    Ok(match values.data_type() {
        DataType::Decimal128(_, scale) => {
            let scale = *scale;
            let of = |value: i128| Decimal128Type::format_decimal(value, 38, scale);
            let values = values.as_primitive::<Decimal128Type>().iter();
            values.map(|value| value.map(of)).collect()
        }
        other if other.is_integer() => {
            let texts = cast(values, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>().iter();
            texts.map(|text| text.map(str::to_owned)).collect()
        }
        _ => {
            let doubles = cast(values, &DataType::Float64)?;
            let doubles = doubles.as_primitive::<Float64Type>().iter();
            doubles.map(|value| value.map(text)).collect()
        }
    })
}

/// Digits behind the point, digits before it, and how many of these stand together (0: all).
struct Format {
    least: usize,
    most: usize,
    whole: usize,
    group: usize,
}

impl Format {
    fn of(pattern: &str) -> Format {
        let (whole, fraction) = pattern.split_once('.').unwrap_or((pattern, ""));
        let group = whole.rsplit_once(',').map_or(0, |(_, last)| last.len());
        let zeros = |text: &str| text.chars().filter(|letter| *letter == '0').count();
        Format {
            least: zeros(fraction),
            most: fraction
                .chars()
                .filter(|letter| "#0".contains(*letter))
                .count(),
            whole: zeros(whole),
            group,
        }
    }

    fn apply(&self, number: &str) -> String {
        if !number.contains(|letter: char| letter.is_ascii_digit()) {
            return number.to_owned();
        }
        let (sign, digits) = match number.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", number),
        };
        let (whole, fraction) = half_even(digits, self.most);
        let mut fraction = fraction;
        while fraction.len() > self.least && fraction.ends_with('0') {
            fraction.pop();
        }
        let whole = whole.trim_start_matches('0');
        let whole = format!("{whole:0>width$}", width = self.whole);
        let mut grouped = String::new();
        for (at, digit) in whole.chars().enumerate() {
            let left = whole.len() - at;
            if self.group > 0 && at > 0 && left.is_multiple_of(self.group) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        let zero = !grouped.contains(|digit: char| ('1'..='9').contains(&digit))
            && !fraction.contains(|digit: char| digit != '0');
        let sign = if zero && sign == "-" { "-" } else { sign };
        if fraction.is_empty() {
            format!("{sign}{grouped}")
        } else {
            format!("{sign}{grouped}.{fraction}")
        }
    }
}

/// Digits behind the point of a formatted number.
const FRACTION_DIGITS_MAX: usize = 340;

/// The digits before and behind the point, rounded to so many behind it, a half to the even neighbour.
fn half_even(digits: &str, most: usize) -> (String, String) {
    // As many as Java shows at most.
    let most = most.min(FRACTION_DIGITS_MAX);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut all: Vec<u8> = whole.bytes().chain(fraction.bytes().take(most)).collect();
    let kept = fraction.len().min(most);
    let rest = fraction.get(most..).unwrap_or("");
    let half = rest.starts_with('5') && rest[1..].bytes().all(|digit| digit == b'0');
    let odd = all.last().is_some_and(|digit| (digit - b'0') % 2 == 1);
    let up = rest.bytes().next().is_some_and(|digit| digit >= b'5') && (!half || odd);
    if up {
        let mut carry = true;
        for digit in all.iter_mut().rev() {
            if !carry {
                break;
            }
            carry = *digit == b'9';
            *digit = if carry { b'0' } else { *digit + 1 };
        }
        if carry {
            all.insert(0, b'1');
        }
    }
    let text: String = all.into_iter().map(char::from).collect();
    let (whole, fraction) = text.split_at(text.len() - kept);
    (whole.to_owned(), format!("{fraction:0<most$}"))
}

#[cfg(test)]
mod tests {
    use super::half_even;

    #[test]
    fn digits_behind_the_point_have_a_limit() {
        let (whole, fraction) = half_even("1.5", 70_000);
        assert_eq!((whole.as_str(), fraction.len()), ("1", 340));
    }
}
