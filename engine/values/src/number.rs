//! Numbers as Java writes them, straight into bytes. Allocates nothing.

/// Appends an integer.
pub fn integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends an integer without a sign.
pub(crate) fn unsigned(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends the last `WIDTH` digits of a number, with zeros before it.
pub(crate) fn padded<const WIDTH: usize>(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; WIDTH];
    for digit in digits.iter_mut().rev() {
        *digit = ascii(value % 10);
        value /= 10;
    }
    out.extend_from_slice(&digits);
}

fn ascii(digit: u64) -> u8 {
    b"0123456789ABCDEF"
        .get(usize::try_from(digit).unwrap_or(0))
        .copied()
        .unwrap_or(b'0')
}

/// Appends a byte as two hexadecimal digits.
pub(crate) fn hex(byte: u8, out: &mut Vec<u8>) {
    out.push(ascii(u64::from(byte >> 4)));
    out.push(ascii(u64::from(byte & 15)));
}

/// Appends the microseconds of a second with the point, as few digits as they need; nothing for 0.
pub(crate) fn fraction(micros: i64, out: &mut Vec<u8>) {
    if micros == 0 {
        return;
    }
    out.push(b'.');
    padded::<6>(micros.unsigned_abs(), out);
    while out.last() == Some(&b'0') {
        out.pop();
    }
}

/// Appends a decimal with as many digits after the point as its scale says.
pub fn decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs()).as_bytes();
    if value < 0 {
        out.push(b'-');
    }
    let Ok(scale) = usize::try_from(scale) else {
        out.extend_from_slice(digits);
        // A negative scale says how many zeros were left out.
        let zeros = if value == 0 { 0 } else { scale.unsigned_abs() };
        out.extend(std::iter::repeat_n(b'0', usize::from(zeros)));
        return;
    };
    if scale == 0 {
        out.extend_from_slice(digits);
        return;
    }
    match digits.len().checked_sub(scale) {
        Some(whole) if whole > 0 => {
            let (whole, rest) = digits.split_at(whole);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        _ => {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', scale - digits.len()));
            out.extend_from_slice(digits);
        }
    }
}

/// Appends a decimal as Java's `BigDecimal.toString` has it: with an exponent where it has more than six
/// zeros behind the point before its first digit.
pub fn scientific(value: i128, scale: i8, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs());
    let first = i64::try_from(digits.len()).unwrap_or(0) - 1 - i64::from(scale);
    if first >= -6 {
        return decimal(value, scale, out);
    }
    if value < 0 {
        out.push(b'-');
    }
    let (whole, rest) = digits.split_at(1);
    out.extend_from_slice(whole.as_bytes());
    if !rest.is_empty() {
        out.push(b'.');
        out.extend_from_slice(rest.as_bytes());
    }
    out.push(b'E');
    integer(first, out);
}

/// Appends a double as Java's `Double.toString` has it.
pub fn double(value: f64, out: &mut Vec<u8>) {
    if unusual(value, out) {
        return;
    }
    arrange(value, ryu::Buffer::new().format_finite(value), out);
}

/// Appends a float as Java's `Float.toString` has it.
pub fn single(value: f32, out: &mut Vec<u8>) {
    let wide = f64::from(value);
    if unusual(wide, out) {
        return;
    }
    arrange(wide, ryu::Buffer::new().format_finite(value), out);
}

/// Appends what is no number with an exponent; false for others.
fn unusual(value: f64, out: &mut Vec<u8>) -> bool {
    let text: &[u8] = if value.is_nan() {
        b"NaN"
    } else if value == f64::INFINITY {
        b"Infinity"
    } else if value == f64::NEG_INFINITY {
        b"-Infinity"
    } else {
        return false;
    };
    out.extend_from_slice(text);
    true
}

/// Appends a number whose shortest digits stand in `text`, with or without an exponent: with one
/// where Java has one.
fn arrange(value: f64, text: &str, out: &mut Vec<u8>) {
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let text = match text.strip_prefix('-') {
        Some(rest) => {
            out.push(b'-');
            rest
        }
        None => text,
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let (whole, rest) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(rest.bytes());
    // Zeros at the beginning and at the end are no digits of the number.
    let leading = digits().take_while(|digit| *digit == b'0').count();
    let trailing = digits().rev().take_while(|digit| *digit == b'0').count();
    let count = (whole.len() + rest.len()).saturating_sub(leading + trailing);
    let mut shown = digits().skip(leading).take(count);
    out.extend(shown.next());
    out.push(b'.');
    let before = out.len();
    out.extend(shown);
    if out.len() == before {
        out.push(b'0');
    }
    out.push(b'E');
    let place = |len: usize| i64::try_from(len).unwrap_or(0);
    integer(exponent + place(whole.len()) - place(leading) - 1, out);
}

#[cfg(test)]
mod tests {
    use arrow::array::Decimal128Array;
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    /// The same from the shortest digits that the standard library finds.
    fn slow(value: f64, plain: &str, scientific: &str) -> String {
        let point = |text: &str| {
            if text.contains('.') {
                text.to_owned()
            } else {
                format!("{text}.0")
            }
        };
        if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
            return point(plain);
        }
        let (mantissa, exponent) = scientific.split_once('e').expect("an exponent");
        format!("{}E{exponent}", point(mantissa))
    }

    #[test]
    fn numbers_look_like_java() {
        for (value, shown) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (1e7, "1.0E7"),
            (9_999_999.5, "9999999.5"),
            (-1.25e10, "-1.25E10"),
            (123_456_789_012.5, "1.234567890125E11"),
            (1e300, "1.0E300"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(|out| double(value, out)), shown);
        }
        assert_eq!(text(|out| single(0.1, out)), "0.1");
        assert_eq!(text(|out| single(1.0e-5, out)), "1.0E-5");
        // 2184168.25 and 2184168.75: two texts are as near, the even one is taken.
        for (bits, shown) in [(1_241_862_049, "2184168.2"), (1_241_862_051, "2184168.8")] {
            assert_eq!(text(|out| single(f32::from_bits(bits), out)), shown);
        }
        // -145155481758326.625: as above.
        let tie = f64::from_bits(14_042_365_013_930_102_484);
        assert_eq!(text(|out| double(tie, out)), "-1.4515548175832662E14");
        assert_eq!(text(|out| fraction(120_000, out)), ".12");
        assert_eq!(text(|out| fraction(0, out)), "");
        assert_eq!(text(|out| padded::<3>(7, out)), "007");
        assert_eq!(text(|out| hex(0x0A, out)), "0A");
    }

    proptest! {
        // As many digits as the standard library finds. Where two of that length are as near, Java
        // takes the even one, and the library does not.
        #[test]
        fn doubles_have_their_shortest_digits(bits: u64, small in -1e9..1e9_f64) {
            for value in [f64::from_bits(bits), small, small.trunc(), small / 1e9] {
                if value.is_finite() {
                    let shown = text(|out| double(value, out));
                    let library = slow(value, &format!("{value}"), &format!("{value:e}"));
                    prop_assert_eq!(shown.len(), library.len());
                    prop_assert_eq!(shown.parse::<f64>().expect("a number").to_bits(), value.to_bits());
                }
            }
        }

        #[test]
        fn floats_have_their_shortest_digits(bits: u32) {
            let value = f32::from_bits(bits);
            if value.is_finite() {
                let shown = text(|out| single(value, out));
                let library = slow(f64::from(value), &format!("{value}"), &format!("{value:e}"));
                prop_assert_eq!(shown.len(), library.len());
                prop_assert_eq!(shown.parse::<f32>().expect("a number").to_bits(), bits);
            }
        }

        // Arrow writes a zero whose scale is negative with zeros behind it: `00`. Ours is `0`.
        #[test]
        fn decimals_are_those_of_arrow(value in -10_i128.pow(38) + 1..10_i128.pow(38), zeros in 0_u32..38, scale in -5_i8..=38) {
            for value in [value, value / 10_i128.pow(zeros)] {
                let array = Decimal128Array::from(vec![value])
                    .with_precision_and_scale(38, scale)
                    .expect("a type");
                let arrow = array.value_as_string(0);
                let expected = if value == 0 && scale < 0 { "0" } else { &arrow };
                prop_assert_eq!(text(|out| decimal(value, scale, out)), expected);
            }
        }
    }
}
