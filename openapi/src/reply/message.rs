//! A message of an answer, or a piece of one in a chunk: what the model wrote in it.

use std::borrow::Cow;

use serde::de::{MapAccess, SeqAccess};

use crate::walk::{Walk, Walker, raw_member, string_bytes};

/// A text, as it stands, and its bytes of UTF-8.
#[derive(Clone, Copy, Default)]
pub(super) struct Text<'de> {
    pub(super) raw: Option<&'de str>,
    pub(super) bytes: u32,
}

impl<'de> Text<'de> {
    /// A member's text; empty if it is no string.
    pub(super) fn member<A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        let raw = raw_member(map)?;
        let bytes = u32::try_from(string_bytes(raw)).unwrap_or(u32::MAX);
        Ok(Self { raw: Some(raw), bytes })
    }
}

/// A message or a piece of one: everything in it that the model wrote, in bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Message<'de> {
    pub(super) content: Text<'de>,
    refusal: u32,
    reasoning: u32,
    reasoning_content: u32,
    tool_calls: u32,
    function_call: u32,
    /// Whether there is more than a role and a content, even where it is nothing that counts as output.
    pub(super) wrote_more: bool,
    /// The value of `role`.
    pub(super) role: Option<&'de str>,
}

impl Message<'_> {
    /// Bytes of UTF-8 of all that counts as output.
    pub(super) fn bytes(&self) -> u32 {
        [
            self.content.bytes,
            self.refusal,
            // Engines that send both send the same text twice.
            self.reasoning.max(self.reasoning_content),
            self.tool_calls,
            self.function_call,
        ]
        .into_iter()
        .fold(0, u32::saturating_add)
    }
}

impl<'de> Walker<'de> for Message<'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match &*key {
            "content" => {
                self.content = Text::member(map)?;
                // A list of parts, which some engines send, is no text.
                self.wrote_more |= self
                    .content
                    .raw
                    .is_some_and(|raw| !raw.starts_with('"') && says_something(raw));
            }
            "role" => self.role = Some(raw_member(map)?),
            "tool_calls" => {
                let mut calls = ToolCalls { bytes: 0, any: false };
                map.next_value_seed(Walk(&mut calls))?;
                self.tool_calls = calls.bytes;
                self.wrote_more |= calls.any;
            }
            "function_call" => {
                self.function_call = function_member(map)?;
                self.wrote_more |= self.function_call > 0;
            }
            other => {
                let raw = raw_member(map)?;
                self.wrote_more |= says_something(raw);
                let bytes = || u32::try_from(string_bytes(raw)).unwrap_or(u32::MAX);
                match other {
                    "refusal" => self.refusal = bytes(),
                    "reasoning" => self.reasoning = bytes(),
                    "reasoning_content" => self.reasoning_content = bytes(),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Whether a value is more than a member that is only there for form's sake.
fn says_something(raw: &str) -> bool {
    !matches!(raw, "null" | "\"\"" | "[]" | "{}" | "false")
}

/// Bytes of all tool calls.
struct ToolCalls {
    bytes: u32,
    any: bool,
}

impl<'de> Walker<'de> for ToolCalls {
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let mut call = ToolCall::default();
        let more = seq.next_element_seed(Walk(&mut call))?.is_some();
        self.bytes = self.bytes.saturating_add(call.function).saturating_add(call.custom);
        self.any |= more;
        Ok(more)
    }
}

/// Bytes of one tool call.
#[derive(Default)]
struct ToolCall {
    function: u32,
    /// OpenAI's tool whose input is free text.
    custom: u32,
}

impl<'de> Walker<'de> for ToolCall {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match &*key {
            "function" => self.function = function_member(map)?,
            "custom" => self.custom = function_member(map)?,
            _ => drop(raw_member(map)?),
        }
        Ok(())
    }
}

/// Bytes of a function's name and its arguments.
#[derive(Default)]
struct Function {
    name: u32,
    arguments: u32,
    input: u32,
}

impl<'de> Walker<'de> for Function {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match &*key {
            "name" => self.name = text_member(map)?,
            "arguments" => self.arguments = text_member(map)?,
            "input" => self.input = text_member(map)?,
            _ => drop(raw_member(map)?),
        }
        Ok(())
    }
}

/// Bytes of a member that is a function.
fn function_member<'de, A: MapAccess<'de>>(map: &mut A) -> Result<u32, A::Error> {
    let mut function = Function::default();
    map.next_value_seed(Walk(&mut function))?;
    Ok(function
        .name
        .saturating_add(function.arguments)
        .saturating_add(function.input))
}

/// UTF-8 bytes of a member's text; 0 if it is no string.
fn text_member<'de, A: MapAccess<'de>>(map: &mut A) -> Result<u32, A::Error> {
    raw_member(map).map(|raw| u32::try_from(string_bytes(raw)).unwrap_or(u32::MAX))
}
