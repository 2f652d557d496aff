//! Bytes as text, as JSON has them.

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the bytes that base64 text stands for; `None` (and `out` as it was) if it is none.
#[must_use]
pub(crate) fn decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    let bare = text.strip_suffix(b"==").or(text.strip_suffix(b"="));
    let bare = match bare {
        Some(_) if !text.len().is_multiple_of(4) => return None,
        Some(bare) => bare,
        None => text,
    };
    let decoded = body(bare, out);
    if decoded.is_none() {
        out.truncate(start);
    }
    decoded
}

fn body(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    for group in text.chunks(4) {
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
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
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
    fn base64_goes_both_ways() {
        for len in 0..20_u8 {
            let bytes: Vec<u8> = (0..len).map(|i| i.wrapping_mul(37)).collect();
            let mut text = Vec::new();
            encode(&bytes, &mut text);
            let mut back = Vec::new();
            assert_eq!(decode(&text, &mut back), Some(()));
            assert_eq!(back, bytes);
        }
        let mut out = vec![7];
        assert_eq!(decode(b"ab!d", &mut out), None);
        assert_eq!(decode(b"abc==", &mut out), None);
        assert_eq!(out, [7]);
    }
}
