//! Codes of bytes: `hmac`, `to_base32` and `from_base32`; and `jaro_winkler_similarity` of two texts.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BinaryArray, Float64Array, StringArray},
    datatypes::DataType,
};
use datafusion::{common::Result, logical_expr::ScalarUDF};
use sha2::Digest;

use super::{
    misfit::failed,
    simple::{Call, Gives, Simple, Want},
};

const BYTES: Gives = Gives::Of(|_, _| Ok(DataType::Binary));

const TABLE: &[Simple] = &[
    Simple::new(
        "hmac",
        &[Want::Binary, Want::Binary, Want::Text],
        BYTES,
        hmac,
    )
    .optional(1),
    Simple::new("to_base32", &[Want::Binary], Gives::Text, |call| {
        let values = call.arguments[0].as_binary::<i32>().iter();
        let written = values.map(|value| value.map(to_base32));
        Ok(Arc::new(written.collect::<StringArray>()))
    }),
    Simple::new("from_base32", &[Want::Text], BYTES, |call| {
        let texts = call.arguments[0].as_string::<i32>().iter();
        let read = texts.map(|text| text.map(from_base32));
        let read: Vec<Option<Vec<u8>>> = read.collect();
        let read = read.iter().map(Option::as_deref);
        Ok(Arc::new(read.collect::<BinaryArray>()))
    }),
    Simple::new(
        "jaro_winkler_similarity",
        &[Want::Text, Want::Text],
        Gives::Double,
        |call| {
            let left = call.arguments[0].as_string::<i32>();
            let right = call.arguments[1].as_string::<i32>();
            let pairs = left.iter().zip(right);
            let similar = pairs.map(|(left, right)| Some(strsim::jaro_winkler(left?, right?)));
            Ok(Arc::new(similar.collect::<Float64Array>()))
        },
    ),
];

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

/// The code of a message under a key (RFC 2104); `block` is the length of the hash's blocks.
fn code<D: Digest>(key: &[u8], message: &[u8], block: usize) -> Vec<u8> {
    let mut padded = if key.len() > block {
        D::digest(key).to_vec()
    } else {
        key.to_vec()
    };
    padded.resize(block, 0);
    let mixed = |with: u8| padded.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = D::new()
        .chain_update(mixed(0x36))
        .chain_update(message)
        .finalize();
    let outer = D::new().chain_update(mixed(0x5C)).chain_update(inner);
    outer.finalize().to_vec()
}

fn hmac(call: &Call<'_>) -> Result<ArrayRef> {
    let keys = call.arguments[0].as_binary::<i32>();
    let messages = call.arguments[1].as_binary::<i32>();
    let names = call.arguments.get(2).map(|names| names.as_string::<i32>());
    let codes = keys.iter().zip(messages).enumerate().map(|(row, pair)| {
        let name = match names {
            None => Some("SHA-256"),
            Some(names) => names.iter().nth(row).flatten(),
        };
        let ((Some(key), Some(message)), Some(name)) = (pair, name) else {
            return Ok(None);
        };
        if key.is_empty() {
            return Err(failed(
                "[INVALID_PARAMETER_VALUE.HMAC_CRYPTO_ERROR] a key has at least one byte",
            ));
        }
        let code = match name.to_ascii_uppercase().as_str() {
            "MD5" => code::<md5::Md5>(key, message, 64),
            "SHA-1" | "SHA1" => code::<sha1::Sha1>(key, message, 64),
            "SHA-224" | "SHA224" => code::<sha2::Sha224>(key, message, 64),
            "SHA-256" | "SHA256" => code::<sha2::Sha256>(key, message, 64),
            "SHA-384" | "SHA384" => code::<sha2::Sha384>(key, message, 128),
            "SHA-512" | "SHA512" => code::<sha2::Sha512>(key, message, 128),
            _ => {
                return Err(failed(format!(
                    "[INVALID_PARAMETER_VALUE] hmac knows no such algorithm name={name:?}"
                )));
            }
        };
        Ok(Some(code))
    });
    let codes = codes.collect::<Result<Vec<Option<Vec<u8>>>>>()?;
    let codes = codes.iter().map(Option::as_deref);
    Ok(Arc::new(codes.collect::<BinaryArray>()))
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn to_base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for five in bytes.chunks(5) {
        let whole = (0..5).fold(0u64, |whole, at| {
            whole << 8 | u64::from(five.get(at).copied().unwrap_or(0))
        });
        let letters = (five.len() * 8).div_ceil(5);
        for at in 0..8 {
            let code = usize::try_from(whole >> (35 - 5 * at) & 31).unwrap_or(0);
            out.push(if at < letters {
                char::from(BASE32[code])
            } else {
                '='
            });
        }
    }
    out
}

/// The bytes of a text of base 32 up to its fillers, in letters of either case; what is no letter of
/// the code is passed over.
fn from_base32(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut held) = (0u16, 0u32);
    for letter in text.bytes().take_while(|letter| *letter != b'=') {
        let Some(code) = BASE32
            .iter()
            .position(|known| *known == letter.to_ascii_uppercase())
        else {
            continue;
        };
        bits = bits << 5 | u16::try_from(code).unwrap_or(0);
        held += 5;
        if held >= 8 {
            held -= 8;
            let [_, byte] = (bits >> held).to_be_bytes();
            out.push(byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_32_of_every_length() {
        let pairs = [
            ("", ""),
            ("f", "MY======"),
            ("fo", "MZXQ===="),
            ("foo", "MZXW6==="),
            ("foob", "MZXW6YQ="),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI======"),
        ];
        for (bytes, text) in pairs {
            assert_eq!(to_base32(bytes.as_bytes()), text);
            assert_eq!(from_base32(text), bytes.as_bytes());
        }
        for text in [" my======", "MZ====MZ", "M-Y"] {
            assert_eq!(from_base32(text), b"f", "{text}");
        }
    }
}
