//! The one pass over what an engine sends: a whole answer or a chunk.
//!
//! Decides what counts as output and what is an error in place of an answer. Engines are read leniently: a field of an
//! unexpected type is as good as absent.

mod message;

use std::borrow::Cow;

use serde::de::{MapAccess, SeqAccess};

use crate::answer::BadAnswer;
use crate::usage::{UsageClaim, parse_usage};
use crate::walk::{Kind, Walk, Walker, raw_member, string, walk};

use message::{Message, Text};

/// What one pass found. Values are as they stand in the text.
#[derive(Default)]
pub(crate) struct Reply<'de> {
    /// The number of choices, if there is a list of them.
    pub(crate) choices: Option<u32>,
    /// The number of elements of `data`, if it is a list.
    pub(crate) data: Option<u32>,
    /// Whether an element of `data` has no `embedding`.
    pub(crate) lacks_vectors: bool,
    /// The value of `usage`, if it is an object.
    pub(crate) usage: Option<&'de str>,
    /// The value of `model`, if it is a string.
    pub(crate) model: Option<&'de str>,
    /// The value of `id`, if it is a string.
    pub(crate) id: Option<&'de str>,
    /// UTF-8 bytes of everything the model wrote, in all choices.
    pub(crate) output_bytes: u32,
    /// The first choice's text, if it is a string and not empty.
    pub(crate) content: Option<&'de str>,
    /// Whether the model wrote anything beside that.
    pub(crate) wrote_more: bool,
    /// The value of the first choice's role.
    pub(crate) role: Option<&'de str>,
    /// The member of a chat's choice that callers read.
    wrote_in: &'static str,
    finish_reason: Option<&'de str>,
    error: Option<&'de str>,
    /// Whether `"object":"error"` stands at the top, as in vLLM's flat errors.
    is_flat_error: bool,
    /// Whether it lists probabilities of the prompt's tokens.
    tells_numbers: bool,
    message: Option<&'de str>,
    code: Option<&'de str>,
}

impl<'de> Reply<'de> {
    /// Reads a JSON object that is no error. What a chat wrote is in each choice's `wrote_in`: `message` in an answer,
    /// `delta` in a chunk.
    pub(crate) fn read(bytes: &'de [u8], wrote_in: &'static str) -> Result<Self, BadAnswer> {
        let text = std::str::from_utf8(bytes).map_err(|error| BadAnswer::NotJson(error.to_string()))?;
        let mut reply = Self {
            wrote_in,
            ..Self::default()
        };
        match walk(text, &mut reply) {
            Err(error) => Err(BadAnswer::NotJson(error.to_string())),
            Ok(Kind::Object) => {
                reply.output_bytes = reply.output_bytes.max(reply.tells_numbers.into());
                reply.engine_error().map_or(Ok(reply), Err)
            }
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
                let mut choices = Choices {
                    wrote_in: self.wrote_in,
                    count: 0,
                    bytes: 0,
                    content: None,
                    wrote_more: false,
                    role: None,
                    finish_reason: None,
                };
                let kind = map.next_value_seed(Walk(&mut choices))?;
                self.choices = (kind == Kind::Array).then_some(choices.count);
                self.output_bytes = choices.bytes;
                self.content = choices.content;
                self.wrote_more = choices.wrote_more;
                self.role = choices.role;
                self.finish_reason = choices.finish_reason;
            }
            "data" => {
                let mut vectors = Vectors::default();
                let kind = map.next_value_seed(Walk(&mut vectors))?;
                self.data = (kind == Kind::Array).then_some(vectors.count);
                self.lacks_vectors = vectors.lacking;
            }
            "prompt_logprobs" => self.tells_numbers |= has_numbers(raw_member(map)?),
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

/// The elements of `data`.
#[derive(Default)]
struct Vectors {
    count: u32,
    /// Whether an element is no object with an `embedding`.
    lacking: bool,
}

impl<'de> Walker<'de> for Vectors {
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let mut vector = Vector(false);
        if seq.next_element_seed(Walk(&mut vector))?.is_none() {
            return Ok(false);
        }
        self.count = self.count.saturating_add(1);
        self.lacking |= !vector.0;
        Ok(true)
    }
}

/// Whether an object has an `embedding`: a list of numbers, or their bytes in a string.
struct Vector(bool);

impl<'de> Walker<'de> for Vector {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let raw = raw_member(map)?;
        if key == "embedding" {
            self.0 = raw.starts_with(['[', '"']);
        }
        Ok(())
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
struct Choices<'de> {
    wrote_in: &'static str,
    count: u32,
    bytes: u32,
    /// The first choice's text, if there is any.
    content: Option<&'de str>,
    /// Whether the model wrote anything beside that.
    wrote_more: bool,
    /// The first choice's role.
    role: Option<&'de str>,
    /// The first one that is not `null`.
    finish_reason: Option<&'de str>,
}

impl<'de> Walker<'de> for Choices<'de> {
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let mut choice = Choice {
            wrote_in: self.wrote_in,
            text: Text::default(),
            message: Message::default(),
            tells_numbers: false,
            finish_reason: None,
        };
        if seq.next_element_seed(Walk(&mut choice))?.is_none() {
            return Ok(false);
        }
        let (text, message) = (choice.text, choice.message);
        if self.count == 0 {
            // A chat's choice has a message, a completion's a text; of both, only one can be the answer.
            let first = if text.bytes > 0 { text } else { message.content };
            self.content = first.raw.filter(|_| first.bytes > 0);
            self.wrote_more = message.wrote_more || (text.bytes > 0 && message.content.bytes > 0);
            self.role = message.role;
        } else {
            self.wrote_more |= message.wrote_more || text.bytes > 0 || message.content.bytes > 0;
        }
        self.count = self.count.saturating_add(1);
        let wrote = text.bytes.saturating_add(message.bytes());
        // Probabilities without a word beside them are an answer, too: whoever reads them needs no more.
        let wrote = wrote.max(choice.tells_numbers.into());
        self.bytes = self.bytes.saturating_add(wrote);
        self.finish_reason = self.finish_reason.or(choice.finish_reason);
        Ok(true)
    }
}

/// One choice. Here and below, of a member that is repeated the last counts, for that is the one a caller sees.
struct Choice<'de> {
    wrote_in: &'static str,
    text: Text<'de>,
    message: Message<'de>,
    /// Whether it lists probabilities or tokens.
    tells_numbers: bool,
    finish_reason: Option<&'de str>,
}

impl<'de> Walker<'de> for Choice<'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match &*key {
            key if key == self.wrote_in => {
                self.message = Message::default();
                map.next_value_seed(Walk(&mut self.message))?;
            }
            "text" => self.text = Text::member(map)?,
            "finish_reason" => self.finish_reason = string_member(map)?,
            "logprobs" | "prompt_logprobs" | "token_ids" => self.tells_numbers |= has_numbers(raw_member(map)?),
            _ => drop(raw_member(map)?),
        }
        Ok(())
    }
}

/// Whether a value is a list or an object with a number in it.
fn has_numbers(raw: &str) -> bool {
    raw.starts_with(['[', '{']) && raw.bytes().any(|byte| byte.is_ascii_digit())
}
