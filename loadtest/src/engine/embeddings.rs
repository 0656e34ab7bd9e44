//! Answers embeddings: unit vectors that depend on the input only.

use std::fmt::Write as _;

use super::call::{Call, prompt_tokens};
use super::refusal::Refusal;
use super::words::PromptHash;

/// Dimensions where the caller asks for none.
const DIMENSIONS: usize = 64;
/// More would be a mistake of the caller.
const DIMENSIONS_MAX: usize = 8_192;

/// The answer's JSON. `echo` is the JSON of `sim_echo`, where asked for.
pub(super) fn answer(call: &Call<'_>, echo: Option<&str>) -> Result<Vec<u8>, Refusal> {
    let dimensions = call.dimensions.unwrap_or(DIMENSIONS);
    if dimensions == 0 || dimensions > DIMENSIONS_MAX {
        return Err(Refusal::bad_request(format!(
            "`dimensions` is to be from 1 to {DIMENSIONS_MAX}"
        )));
    }
    let as_base64 = match call.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            return Err(Refusal::bad_request(format!(
                "`encoding_format` is float or base64, not {other}"
            )));
        }
    };
    let inputs = call.prompts()?;
    let mut out = String::from(r#"{"object":"list","data":["#);
    let mut tokens = 0;
    for (index, input) in inputs.iter().enumerate() {
        tokens += prompt_tokens(input);
        let vector = unit_vector(PromptHash::of(input.as_bytes()), dimensions);
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(out, r#"{comma}{{"object":"embedding","index":{index},"embedding":"#);
        if as_base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            let _ = write!(out, "\"{}\"}}", base64(&bytes));
        } else {
            let _ = write!(out, "{vector:?}}}");
        }
    }
    let model = serde_json::Value::from(&*call.model);
    let _ = write!(
        out,
        r#"],"model":{model},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}"#
    );
    if let Some(echo) = echo {
        let _ = write!(out, r#","sim_echo":{echo}"#);
    }
    out.push('}');
    Ok(out.into_bytes())
}

/// A vector of length one. Debug formatting of its finite values is JSON.
fn unit_vector(hash: PromptHash, dimensions: usize) -> Vec<f32> {
    let raw: Vec<f32> = (0..dimensions as u64)
        .map(|n| f32::from(u16::try_from(hash.draw(n) & 0xFFFF).unwrap_or(0)) / 32_768.0 - 1.0)
        .collect();
    let length = raw
        .iter()
        .map(|value| value * value)
        .sum::<f32>()
        .sqrt()
        .max(f32::MIN_POSITIVE);
    raw.into_iter().map(|value| value / length).collect()
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .enumerate()
            .fold(0_u32, |bits, (place, byte)| bits | u32::from(*byte) << (16 - 8 * place));
        for place in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_the_test_vectors_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_vector_has_length_one() {
        let vector = unit_vector(PromptHash::of(b"silk"), 300);
        assert!((vector.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-4);
    }
}
