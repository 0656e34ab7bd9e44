//! Keys that a person names on the command line.

/// Reads a public key: 64 lowercase hexadecimal digits.
pub(super) fn public_key(text: &str) -> Result<String, String> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 64 && text.bytes().all(is_hex) {
        return Ok(text.to_owned());
    }
    Err("a public key is 64 hexadecimal digits, in lower case".to_owned())
}
