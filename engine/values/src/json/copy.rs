//! A JSON value as text without blanks, in the form in which Spark writes it again: numbers with a
//! fraction as doubles, escapes only where they must be.
#![deny(clippy::indexing_slicing)]

use super::{
    scan::{Quoted, Scan, Syntax, deeper, special, unescape},
    write,
};
use crate::number;

/// Appends the next value: a string without its quotes, everything else as JSON.
pub(crate) fn text(scan: &mut Scan<'_>, depth: u8, out: &mut Vec<u8>) -> Result<(), Syntax> {
    match scan.string()? {
        Some(Quoted { raw, escaped: true }) => unescape(raw, out),
        Some(Quoted { raw, .. }) => out.extend_from_slice(raw),
        None => return value(scan, depth, out),
    }
    Ok(())
}

/// Appends the next value as JSON.
pub(crate) fn value(scan: &mut Scan<'_>, depth: u8, out: &mut Vec<u8>) -> Result<(), Syntax> {
    match scan.peek() {
        b'{' => members(scan, depth, out),
        b'[' => items(scan, depth, out),
        b'0'..=b'9' | b'-' => token(scan, out),
        _ => match scan.string()? {
            Some(quoted) => {
                string(quoted, out);
                Ok(())
            }
            None => token(scan, out),
        },
    }
}

fn members(scan: &mut Scan<'_>, depth: u8, out: &mut Vec<u8>) -> Result<(), Syntax> {
    let depth = deeper(depth)?;
    scan.bump();
    scan.skip_blanks();
    out.push(b'{');
    let mut more = scan.peek() != b'}';
    if !more {
        scan.bump();
    }
    while more {
        string(scan.key()?, out);
        scan.skip_blanks();
        scan.expect(b':', "no colon after an object key")?;
        scan.skip_blanks();
        out.push(b':');
        value(scan, depth, out)?;
        more = scan.more(b'}')?;
        if more {
            out.push(b',');
        }
    }
    out.push(b'}');
    Ok(())
}

fn items(scan: &mut Scan<'_>, depth: u8, out: &mut Vec<u8>) -> Result<(), Syntax> {
    let depth = deeper(depth)?;
    scan.bump();
    scan.skip_blanks();
    out.push(b'[');
    let mut more = scan.peek() != b']';
    if !more {
        scan.bump();
    }
    while more {
        value(scan, depth, out)?;
        more = scan.more(b']')?;
        if more {
            out.push(b',');
        }
    }
    out.push(b']');
    Ok(())
}

fn token(scan: &mut Scan<'_>, out: &mut Vec<u8>) -> Result<(), Syntax> {
    let start = scan.at();
    if !matches!(scan.peek(), b'0'..=b'9' | b'-') {
        let word = scan.word()?;
        match special(word) {
            Some(value) => double(value, out),
            None => out.extend_from_slice(word),
        }
        return Ok(());
    }
    let whole = scan.signed()?;
    let token = scan.since(start);
    if whole {
        integer(token, out);
    } else if let Some(value) =
        special(token).or_else(|| std::str::from_utf8(token).ok()?.parse().ok())
    {
        double(value, out);
    }
    Ok(())
}

/// Digits without zeros before them.
fn integer(token: &[u8], out: &mut Vec<u8>) {
    let (sign, digits) = match token.strip_prefix(b"-") {
        Some(digits) => (&b"-"[..], digits),
        None => (&b""[..], token),
    };
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    match digits.get(zeros..) {
        Some(digits) if !digits.is_empty() => {
            out.extend_from_slice(sign);
            out.extend_from_slice(digits);
        }
        _ => out.push(b'0'),
    }
}

/// A double; what is no number is a text.
fn double(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        return number::double(value, out);
    }
    out.push(b'"');
    number::double(value, out);
    out.push(b'"');
}

fn string(quoted: Quoted<'_>, out: &mut Vec<u8>) {
    if !quoted.escaped {
        return write::quoted(quoted.raw, out);
    }
    let mut text = Vec::with_capacity(quoted.raw.len());
    unescape(quoted.raw, &mut text);
    write::quoted(&text, out);
}
