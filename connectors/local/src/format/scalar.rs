//! Numbers and bytes from text, without allocation. Owns the grammar of scalars that JSON and CSV
//! share; never decides what a failure means for the record.

/// A decimal integer with an optional sign, as Java's `parseLong` takes it.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
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
pub(crate) fn double(text: &[u8]) -> Option<f64> {
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
pub(crate) fn special(text: &[u8]) -> Option<f64> {
    match text {
        b"NaN" => Some(f64::NAN),
        b"INF" | b"+INF" | b"Inf" | b"+Inf" | b"Infinity" | b"+Infinity" => Some(f64::INFINITY),
        b"-INF" | b"-Inf" | b"-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// The unscaled value of a decimal, rounded half up to `scale`; `None` if it needs more than
/// `precision` digits or is no number.
pub(crate) fn decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
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
pub(crate) fn boolean(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"true") {
        Some(true)
    } else if text.eq_ignore_ascii_case(b"false") {
        Some(false)
    } else {
        None
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the bytes that base64 text stands for; `None` (and `out` as it was) if it is none.
pub(crate) fn base64_decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    let body = text.strip_suffix(b"==").or(text.strip_suffix(b"="));
    let body = match body {
        Some(_) if !text.len().is_multiple_of(4) => return None,
        Some(body) => body,
        None => text,
    };
    let decoded = base64_body(body, out);
    if decoded.is_none() {
        out.truncate(start);
    }
    decoded
}

fn base64_body(body: &[u8], out: &mut Vec<u8>) -> Option<()> {
    for group in body.chunks(4) {
        let mut word: u32 = 0;
        for byte in group {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(value);
        }
        let bytes = (word << (6 * (4 - group.len()))).to_be_bytes();
        match group.len() {
            4 => out.extend_from_slice(bytes.get(1..4)?),
            3 => out.extend_from_slice(bytes.get(1..3)?),
            2 => out.extend_from_slice(bytes.get(1..2)?),
            _ => return None,
        }
    }
    Some(())
}

/// Base64 text of bytes, padded.
pub(crate) fn base64_encode(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let mut word: u32 = 0;
        for idx in 0..3 {
            word = word << 8 | u32::from(group.get(idx).copied().unwrap_or(0));
        }
        for idx in 0..4_usize {
            if idx <= group.len() {
                let six = (word >> (18 - 6 * idx)) & 63;
                let letter = BASE64.get(usize::try_from(six).unwrap_or(0));
                out.push(letter.copied().unwrap_or(b'A'));
            } else {
                out.push(b'=');
            }
        }
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

    #[test]
    fn base64_goes_both_ways() {
        for len in 0..20_u8 {
            let bytes: Vec<u8> = (0..len).map(|i| i.wrapping_mul(37)).collect();
            let mut text = Vec::new();
            base64_encode(&bytes, &mut text);
            let mut back = Vec::new();
            assert_eq!(base64_decode(&text, &mut back), Some(()));
            assert_eq!(back, bytes);
        }
        let mut out = vec![7];
        assert_eq!(base64_decode(b"ab!d", &mut out), None);
        assert_eq!(base64_decode(b"abc==", &mut out), None);
        assert_eq!(out, [7]);
    }
}
