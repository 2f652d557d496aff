//! Numbers from text, without allocation. Owns the grammar of scalars that JSON and CSV
//! share; never decides what a failure means for the record.

/// A decimal integer with an optional sign, as Java's `parseLong` takes it.
#[must_use]
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        (b'+', digits) => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    if digits.len() <= 18 {
        let mut value: i64 = 0;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            // Eighteen digits stay below 10^18.
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
        }
        return Some(if negative { -value } else { value });
    }
    let mut value: i64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        let digit = i64::from(digit);
        value = value.checked_mul(10)?;
        value = if negative {
            value.checked_sub(digit)?
        } else {
            value.checked_add(digit)?
        };
    }
    Some(value)
}

/// A double in decimal or scientific notation, or one of the names of the special values.
#[must_use]
pub fn double(text: &[u8]) -> Option<f64> {
    match text.first()? {
        b'0'..=b'9' | b'.' => finite(text),
        b'-' | b'+'
            if text
                .get(1)
                .is_some_and(|b| b.is_ascii_digit() || *b == b'.') =>
        {
            finite(text)
        }
        _ => special(text),
    }
}

fn finite(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `NaN` and the spellings of infinity that Spark reads.
#[must_use]
pub fn special(text: &[u8]) -> Option<f64> {
    match text {
        b"NaN" => Some(f64::NAN),
        b"INF" | b"+INF" | b"Inf" | b"+Inf" | b"Infinity" | b"+Infinity" => Some(f64::INFINITY),
        b"-INF" | b"-Inf" | b"-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// The unscaled value of a decimal, rounded half up to `scale`; `None` if it needs more than
/// `precision` digits or is no number.
#[must_use]
pub fn decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let (negative, text) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (text.get(..at)?, integer(text.get(at + 1..)?)?),
        None => (text, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|b| *b == b'.') {
        Some(at) => (mantissa.get(..at)?, mantissa.get(at + 1..)?),
        None => (mantissa, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // How many of the written digits belong to the unscaled value.
    let keep = i64::try_from(whole.len())
        .ok()?
        .checked_add(exponent)?
        .checked_add(i64::from(scale))?;
    let mut value: i128 = 0;
    let mut count: i64 = 0;
    let mut round_up = false;
    for byte in whole.iter().chain(fraction) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        if count < keep {
            value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
        } else if count == keep {
            round_up = digit >= 5;
        }
        count += 1;
    }
    if value != 0 {
        for _ in count..keep {
            value = value.checked_mul(10)?;
        }
    }
    if round_up {
        value = value.checked_add(1)?;
    }
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    (value < limit).then_some(if negative { -value } else { value })
}

/// `true` and `false` in any case.
#[must_use]
pub fn boolean(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"true") {
        Some(true)
    } else if text.eq_ignore_ascii_case(b"false") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_keep_to_their_range() {
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer(b"9223372036854775808"), None);
        for bad in ["", "-", "1.0", "1a", " 1"] {
            assert_eq!(integer(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn decimals_round_half_up_and_refuse_what_does_not_fit() {
        assert_eq!(decimal(b"1.005", 10, 2), Some(101));
        assert_eq!(decimal(b"-1.5", 10, 0), Some(-2));
        assert_eq!(decimal(b"1e3", 10, 2), Some(100_000));
        assert_eq!(decimal(b"12345e-3", 10, 2), Some(1235));
        assert_eq!(decimal(b"0.004", 3, 2), Some(0));
        assert_eq!(decimal(b"99.995", 4, 2), None);
        assert_eq!(decimal(b"1e999999999", 10, 2), None);
        assert_eq!(decimal(b"0e999999999", 10, 2), Some(0));
        assert_eq!(decimal(b".", 10, 2), None);
    }
}
