//! Why a body is not a call, in the words and codes OpenAI uses.

use std::str::Utf8Error;

use crate::walk::Kind;

/// A body that is not a call. Always HTTP 400 with type `invalid_request_error`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct BadCall {
    /// A sentence for the caller.
    pub message: String,
    /// The field at fault, as a path: `messages[0].role`.
    pub param: Option<String>,
    /// OpenAI's word for it, for example `missing_required_parameter`.
    pub code: Option<&'static str>,
}

impl BadCall {
    fn new(message: impl Into<String>, param: Option<&str>, code: Option<&'static str>) -> Self {
        Self {
            message: message.into(),
            param: param.map(str::to_owned),
            code,
        }
    }

    pub(super) fn not_utf8(error: &Utf8Error) -> Self {
        let message = format!("The body is not valid UTF-8: byte {} is wrong.", error.valid_up_to());
        Self::new(message, None, Some("invalid_utf8"))
    }

    pub(super) fn not_json(error: &serde_json::Error) -> Self {
        Self::new(
            format!("The body is not valid JSON: {error}."),
            None,
            Some("invalid_json"),
        )
    }

    pub(super) fn not_object(kind: Kind) -> Self {
        let message = format!("The body must be a JSON object, but is {}.", kind.with_article());
        Self::new(message, None, Some("invalid_type"))
    }

    pub(super) fn repeated(param: &str) -> Self {
        Self::new(
            format!("The key '{}' is given twice.", shown(param)),
            Some(&shown(param)),
            Some("duplicate_parameter"),
        )
    }

    pub(super) fn disguised(param: &str, name: &str) -> Self {
        let message = format!(
            "The key '{}' must be written '{name}': engines differ in whether they take one for the other.",
            shown(param)
        );
        Self::new(message, Some(&shown(param)), Some("unknown_parameter"))
    }

    pub(super) fn too_many_keys(most: usize) -> Self {
        Self::new(
            format!("The body has more than {most} top-level keys."),
            None,
            Some("too_many_parameters"),
        )
    }

    pub(super) fn too_deep(param: &str, most: usize) -> Self {
        let message = format!("'{}' nests deeper than {most} levels.", shown(param));
        Self::new(message, Some(&shown(param)), Some("too_deep"))
    }

    pub(super) fn missing(param: &str) -> Self {
        let message = format!("Missing required parameter: '{param}'.");
        Self::new(message, Some(param), Some("missing_required_parameter"))
    }

    pub(super) fn wrong_type(param: &str, expected: &str, found: Kind) -> Self {
        let message = format!(
            "Invalid type for '{param}': expected {expected}, but got {} instead.",
            found.with_article()
        );
        Self::new(message, Some(param), Some("invalid_type"))
    }

    pub(super) fn empty(param: &str, what: &str) -> Self {
        let message = format!("Invalid '{param}': empty {what}.");
        Self::new(
            message,
            Some(param),
            Some(if what == "array" { "empty_array" } else { "empty_string" }),
        )
    }

    pub(super) fn too_long(param: &str, bytes_max: usize) -> Self {
        let message = format!("Invalid '{param}': longer than {bytes_max} bytes.");
        Self::new(message, Some(param), Some("string_above_max_length"))
    }

    pub(super) fn invalid(param: &str, why: &str) -> Self {
        Self::new(format!("Invalid '{param}': {why}."), Some(param), Some("invalid_value"))
    }

    pub(super) fn not_one_of<'n>(param: &str, allowed: impl Iterator<Item = &'n str>, found: &str) -> Self {
        let allowed: Vec<String> = allowed.map(|name| format!("'{name}'")).collect();
        let message = format!(
            "Invalid value for '{param}': expected one of {}, but got '{}' instead.",
            allowed.join(", "),
            shown(found)
        );
        Self::new(message, Some(param), Some("invalid_value"))
    }

    pub(super) fn unknown(param: &str) -> Self {
        let param = shown(param);
        let message = format!("Unknown parameter: '{param}'. It would not be applied, so the call is refused.");
        Self::new(message, Some(&param), Some("unknown_parameter"))
    }

    pub(super) fn too_many(param: &str, most: usize) -> Self {
        let message = format!("Invalid '{param}': more than {most} elements.");
        Self::new(message, Some(param), Some("array_above_max_length"))
    }

    pub(super) fn negative(param: &str, found: &str) -> Self {
        let message = format!(
            "Invalid '{param}': expected a number of at least 0, but got {} instead.",
            shown(found)
        );
        Self::new(message, Some(param), Some("decimal_below_min_value"))
    }

    pub(super) fn below(param: &str, least: u32, found: &str) -> Self {
        let message = format!(
            "Invalid '{param}': expected an integer of at least {least}, but got {} instead.",
            shown(found)
        );
        Self::new(message, Some(param), Some("integer_below_min_value"))
    }

    pub(super) fn above(param: &str, most: u32, found: &str) -> Self {
        let message = format!(
            "Invalid '{param}': expected an integer of at most {most}, but got {} instead.",
            shown(found)
        );
        Self::new(message, Some(param), Some("integer_above_max_value"))
    }
}

/// What a caller wrote, cut to a length fit for a message.
fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    let mut shown: String = text.chars().take(CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
