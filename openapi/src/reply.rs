//! The one pass over what an engine sends: a whole answer or a chunk.
//!
//! Decides what counts as output and what is an error in place of an answer. Engines are read leniently: a field of an
//! unexpected type is as good as absent.

use std::borrow::Cow;

use serde::de::{MapAccess, SeqAccess};

use crate::answer::BadAnswer;
use crate::usage::{UsageClaim, parse_usage};
use crate::walk::{Kind, Walk, Walker, raw_member, string, string_bytes, walk};

/// What one pass found. Values are as they stand in the text.
#[derive(Default)]
pub(crate) struct Reply<'de> {
    /// The number of choices, if there is a list of them.
    pub(crate) choices: Option<u32>,
    /// The number of elements of `data`, if it is a list.
    pub(crate) data: Option<u32>,
    /// The value of `usage`, if it is an object.
    pub(crate) usage: Option<&'de str>,
    /// The value of `model`, if it is a string.
    pub(crate) model: Option<&'de str>,
    /// The value of `id`, if it is a string.
    pub(crate) id: Option<&'de str>,
    /// UTF-8 bytes of everything the model wrote, in all choices.
    pub(crate) output_bytes: u32,
    finish_reason: Option<&'de str>,
    error: Option<&'de str>,
    /// Whether `"object":"error"` stands at the top, as in vLLM's flat errors.
    is_flat_error: bool,
    message: Option<&'de str>,
    code: Option<&'de str>,
}

impl<'de> Reply<'de> {
    /// Reads a JSON object that is no error.
    pub(crate) fn read(bytes: &'de [u8]) -> Result<Self, BadAnswer> {
        let text = std::str::from_utf8(bytes).map_err(|error| BadAnswer::NotJson(error.to_string()))?;
        let mut reply = Self::default();
        match walk(text, &mut reply) {
            Err(error) => Err(BadAnswer::NotJson(error.to_string())),
            Ok(Kind::Object) => reply.engine_error().map_or(Ok(reply), Err),
            Ok(kind) => Err(BadAnswer::NotAnAnswer(format!("it is {}", kind.with_article()))),
        }
    }

    pub(crate) fn usage(&self) -> Option<UsageClaim> {
        self.usage.and_then(parse_usage)
    }

    pub(crate) fn finish_reason(&self) -> Option<Box<str>> {
        self.finish_reason.and_then(string).map(Into::into)
    }

    /// The error this is, if it is one.
    fn engine_error(&self) -> Option<BadAnswer> {
        let mut said = ErrorReader {
            message: self.message,
            code: self.code,
        };
        if let Some(raw) = self.error {
            said = ErrorReader::default();
            match Kind::of(raw) {
                // The text has been walked once and is valid.
                Kind::Object => drop(walk(raw, &mut said)),
                _ => said.message = Some(raw),
            }
        } else if !self.is_flat_error {
            return None;
        }
        Some(BadAnswer::Error {
            message: said.message.map_or_else(String::new, plain),
            code: said.code.map(plain),
        })
    }
}

impl<'de> Walker<'de> for Reply<'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match &*key {
            "choices" => {
                let mut choices = Choices::default();
                let kind = map.next_value_seed(Walk(&mut choices))?;
                self.choices = (kind == Kind::Array).then_some(choices.count);
                self.output_bytes = choices.bytes;
                self.finish_reason = choices.finish_reason;
            }
            "data" => {
                let mut items = Count(0);
                let kind = map.next_value_seed(Walk(&mut items))?;
                self.data = (kind == Kind::Array).then_some(items.0);
            }
            "usage" => self.usage = Some(raw_member(map)?).filter(|raw| raw.starts_with('{')),
            "model" => self.model = string_member(map)?,
            "id" => self.id = string_member(map)?,
            "object" => self.is_flat_error = raw_member(map)? == r#""error""#,
            "error" => self.error = Some(raw_member(map)?).filter(|raw| !matches!(*raw, "null" | "false")),
            "message" => self.message = string_member(map)?,
            "code" => self.code = Some(raw_member(map)?).filter(|raw| *raw != "null"),
            _ => drop(raw_member(map)?),
        }
        Ok(())
    }
}

/// A member's value, if it is a string.
fn string_member<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<&'de str>, A::Error> {
    raw_member(map).map(|raw| raw.starts_with('"').then_some(raw))
}

/// A string's text, or any other value as it stands.
fn plain(raw: &str) -> String {
    string(raw).map_or_else(|| raw.to_owned(), Cow::into_owned)
}

/// Counts the elements of a list.
struct Count(u32);

impl<'de> Walker<'de> for Count {
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let more = seq.next_element::<serde::de::IgnoredAny>()?.is_some();
        self.0 = self.0.saturating_add(u32::from(more));
        Ok(more)
    }
}

#[derive(Default)]
struct ErrorReader<'de> {
    message: Option<&'de str>,
    code: Option<&'de str>,
}

impl<'de> Walker<'de> for ErrorReader<'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match &*key {
            "message" => self.message = string_member(map)?,
            "code" => self.code = Some(raw_member(map)?).filter(|raw| *raw != "null"),
            _ => drop(raw_member(map)?),
        }
        Ok(())
    }
}

/// All choices together.
#[derive(Default)]
struct Choices<'de> {
    count: u32,
    bytes: u32,
    /// The first one that is not `null`.
    finish_reason: Option<&'de str>,
}

impl<'de> Walker<'de> for Choices<'de> {
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let mut choice = Choice::default();
        if seq.next_element_seed(Walk(&mut choice))?.is_none() {
            return Ok(false);
        }
        self.count = self.count.saturating_add(1);
        self.bytes = self
            .bytes
            .saturating_add(choice.text)
            .saturating_add(choice.message.bytes());
        self.finish_reason = self.finish_reason.or(choice.finish_reason);
        Ok(true)
    }
}

#[derive(Default)]
struct Choice<'de> {
    text: u32,
    message: Message,
    finish_reason: Option<&'de str>,
}

impl<'de> Walker<'de> for Choice<'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match &*key {
            "delta" | "message" => drop(map.next_value_seed(Walk(&mut self.message))?),
            "text" => self.text = text_member(map)?,
            "finish_reason" => self.finish_reason = string_member(map)?,
            _ => drop(raw_member(map)?),
        }
        Ok(())
    }
}

/// A message or a piece of one: everything in it that the model wrote.
#[derive(Default)]
struct Message {
    content: u32,
    refusal: u32,
    /// The longer of `reasoning` and `reasoning_content`: engines that send both send the same text twice.
    reasoning: u32,
    tool_calls: ToolCalls,
    function_call: Function,
}

impl Message {
    fn bytes(&self) -> u32 {
        [
            self.content,
            self.refusal,
            self.reasoning,
            self.tool_calls.0,
            self.function_call.0,
        ]
        .into_iter()
        .fold(0, u32::saturating_add)
    }
}

impl<'de> Walker<'de> for Message {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match &*key {
            "content" => self.content = text_member(map)?,
            "refusal" => self.refusal = text_member(map)?,
            "reasoning" | "reasoning_content" => self.reasoning = self.reasoning.max(text_member(map)?),
            "tool_calls" => drop(map.next_value_seed(Walk(&mut self.tool_calls))?),
            "function_call" => drop(map.next_value_seed(Walk(&mut self.function_call))?),
            _ => drop(raw_member(map)?),
        }
        Ok(())
    }
}

/// Bytes of all tool calls.
#[derive(Default)]
struct ToolCalls(u32);

impl<'de> Walker<'de> for ToolCalls {
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        Ok(seq.next_element_seed(Walk(&mut ToolCall(&mut self.0)))?.is_some())
    }
}

struct ToolCall<'a>(&'a mut u32);

impl<'de> Walker<'de> for ToolCall<'_> {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let mut function = Function::default();
        match &*key {
            // `custom` is OpenAI's tool whose input is free text.
            "function" | "custom" => drop(map.next_value_seed(Walk(&mut function))?),
            _ => drop(raw_member(map)?),
        }
        *self.0 = self.0.saturating_add(function.0);
        Ok(())
    }
}

/// Bytes of a function's name and its arguments.
#[derive(Default)]
struct Function(u32);

impl<'de> Walker<'de> for Function {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match &*key {
            "name" | "arguments" | "input" => self.0 = self.0.saturating_add(text_member(map)?),
            _ => drop(raw_member(map)?),
        }
        Ok(())
    }
}

/// UTF-8 bytes of a member's text; 0 if it is no string.
fn text_member<'de, A: MapAccess<'de>>(map: &mut A) -> Result<u32, A::Error> {
    raw_member(map).map(|raw| u32::try_from(string_bytes(raw)).unwrap_or(u32::MAX))
}
