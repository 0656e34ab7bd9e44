//! Judges the values of single fields and remembers where they lie.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::MapAccess;

use super::fields::Fields;
use super::names::Field;
use super::{BadCall, CHOICES_MAX, OUTPUT_TOKENS_MAX, SESSION_BYTES_MAX};
use crate::walk::{Kind, Walker, raw_member, span_of, string, walk};

/// Where a value lies in the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    pub(super) fn of(body: &[u8], raw: &str) -> Self {
        let Range { start, end } = span_of(body, raw);
        Self { start, end }
    }

    pub(super) const fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// The empty range just inside the bracket this value starts with.
    pub(super) const fn inside(self) -> Range<usize> {
        self.start + 1..self.start + 1
    }

    /// The empty range just behind this value.
    pub(super) const fn behind(self) -> Range<usize> {
        self.end..self.end
    }
}

/// The name of the caller's session: `session_id`, else `prompt_cache_key`.
pub(super) fn session(fields: &Fields<'_>) -> Result<Option<Box<str>>, BadCall> {
    let mut session = None;
    for (param, field) in [
        ("prompt_cache_key", Field::PromptCacheKey),
        ("session_id", Field::SessionId),
    ] {
        let Some(raw) = fields.get(field) else { continue };
        let name = text(param, raw)?;
        if name.len() > SESSION_BYTES_MAX {
            return Err(BadCall::too_long(param, SESSION_BYTES_MAX));
        }
        if !name.is_empty() {
            session = Some(name.into());
        }
    }
    Ok(session)
}

/// A text.
pub(super) fn text<'a>(param: &str, raw: &'a str) -> Result<Cow<'a, str>, BadCall> {
    let kind = Kind::of(raw);
    if kind != Kind::String {
        return Err(BadCall::wrong_type(param, "a string", kind));
    }
    string(raw).ok_or_else(|| BadCall::invalid(param, "it holds half of a surrogate pair"))
}

/// A flag; `false` when absent.
pub(super) fn boolean(param: &str, raw: Option<&str>) -> Result<bool, BadCall> {
    match raw {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(BadCall::wrong_type(param, "a boolean", Kind::of(other))),
    }
}

/// A number of choices; 1 when absent.
pub(super) fn choices(param: &str, raw: Option<&str>) -> Result<u32, BadCall> {
    raw.map_or(Ok(1), |raw| integer(param, raw, CHOICES_MAX))
}

/// An integer from 1 to `most`.
fn integer(param: &str, raw: &str, most: u32) -> Result<u32, BadCall> {
    let kind = Kind::of(raw);
    if kind != Kind::Integer {
        return Err(BadCall::wrong_type(param, "an integer", kind));
    }
    match raw.parse::<u32>() {
        Ok(0) => Err(BadCall::below(param, 1, raw)),
        Ok(value) if value <= most => Ok(value),
        _ if raw.starts_with('-') => Err(BadCall::below(param, 1, raw)),
        _ => Err(BadCall::above(param, most, raw)),
    }
}

/// An output limit in tokens; `None` if `null`.
pub(super) fn limit(param: &str, raw: &str) -> Result<Option<u32>, BadCall> {
    match raw {
        "null" => Ok(None),
        _ => integer(param, raw, OUTPUT_TOKENS_MAX).map(Some),
    }
}

/// What the body says about usage in a stream, and how to make it ask for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StreamOptions {
    /// There is no `stream_options`.
    Absent,
    /// It is `null`.
    Null(Span),
    /// It is an object that does not speak of usage; whether it has other members.
    Silent(Span, bool),
    /// It has an `include_usage` of `false` or `null`, which lies here.
    Declined(Span),
    /// It asks for usage.
    Asked,
}

impl StreamOptions {
    pub(super) const fn is_asked(self) -> bool {
        matches!(self, Self::Asked)
    }
}

/// Judges `stream_options`.
pub(super) fn stream_options(
    stream: bool,
    raw: Option<&str>,
    at: impl Fn(&str) -> Span,
) -> Result<StreamOptions, BadCall> {
    const PARAM: &str = "stream_options";
    const USAGE: &str = "stream_options.include_usage";
    let Some(raw) = raw else {
        return Ok(StreamOptions::Absent);
    };
    let kind = Kind::of(raw);
    if kind == Kind::Null {
        return Ok(StreamOptions::Null(at(raw)));
    }
    if kind != Kind::Object {
        return Err(BadCall::wrong_type(PARAM, "an object", kind));
    }
    if !stream {
        return Err(BadCall::invalid(PARAM, "it is allowed only when 'stream' is true"));
    }
    let mut options = OptionsReader::default();
    walk(raw, &mut options).map_err(|error| BadCall::invalid(PARAM, &error.to_string()))?;
    if options.repeated {
        return Err(BadCall::repeated(USAGE));
    }
    match options.include_usage {
        None => Ok(StreamOptions::Silent(at(raw), options.any)),
        Some("true") => Ok(StreamOptions::Asked),
        Some(value @ ("false" | "null")) => Ok(StreamOptions::Declined(at(value))),
        Some(other) => Err(BadCall::wrong_type(USAGE, "a boolean", Kind::of(other))),
    }
}

#[derive(Default)]
struct OptionsReader<'de> {
    any: bool,
    include_usage: Option<&'de str>,
    repeated: bool,
}

impl<'de> Walker<'de> for OptionsReader<'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let raw = raw_member(map)?;
        self.any = true;
        if key == "include_usage" {
            self.repeated |= self.include_usage.replace(raw).is_some();
        }
        Ok(())
    }
}

/// Whether an optional list has elements.
pub(super) fn has_elements(param: &str, raw: Option<&str>) -> Result<bool, BadCall> {
    let Some(raw) = raw else { return Ok(false) };
    match Kind::of(raw) {
        Kind::Array => Ok(!raw[1..].trim_start().starts_with(']')),
        kind => Err(BadCall::wrong_type(param, "an array of objects", kind)),
    }
}

/// Whether `response_format` asks for more than plain text.
pub(super) fn guides_output(raw: Option<&str>) -> Result<bool, BadCall> {
    const PARAM: &str = "response_format";
    struct Format<'de>(Option<&'de str>);

    impl<'de> Walker<'de> for Format<'de> {
        fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
            let raw = raw_member(map)?;
            if key == "type" {
                self.0 = Some(raw);
            }
            Ok(())
        }
    }

    let Some(raw) = raw else { return Ok(false) };
    let mut format = Format(None);
    match walk(raw, &mut format).map_err(|error| BadCall::invalid(PARAM, &error.to_string()))? {
        Kind::Object => Ok(format.0.and_then(string).is_none_or(|name| name != "text")),
        kind => Err(BadCall::wrong_type(PARAM, "an object", kind)),
    }
}
