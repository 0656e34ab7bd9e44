//! Which texts of a request the model reads, and how many tokens those are.
//!
//! Works on the body as the caller sent it, a second time and off the path of the call: what the first look
//! (`openapi::call`) needs is positions and sizes, what this one needs is the texts without their escapes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use filature_openapi::call::Endpoint;
use serde_json::value::RawValue;

use super::pool::NotCounted;
use super::{Counted, Tokenizer};

/// Marks around one prompt without a template: beginning and end of text, `[CLS]` and `[SEP]`, or the three of a
/// fill-in-the-middle prompt and one more.
const MARKS: u64 = 4;
/// What a template says about tools before it lists them: 60 to 200 tokens in those of Qwen 2.5 and Llama 3.1.
const TOOLS_TOKENS: u64 = 256;

/// The prompt of a call, to be counted.
#[derive(Debug, Clone)]
pub struct PromptText {
    /// The route called.
    pub endpoint: Endpoint,
    /// The body as the caller sent it.
    pub body: Bytes,
}

type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

impl PromptText {
    /// Tokens of the prompt.
    ///
    /// # Errors
    /// [`NotCounted::Unclear`] where it shows media or is not of the usual form, [`NotCounted::Late`] once `wanted` says
    /// that nobody waits any more.
    pub fn count(&self, tokenizer: &Tokenizer, wanted: &dyn Fn() -> bool) -> Result<Counted, NotCounted> {
        let mut counting = Counting {
            tokenizer,
            wanted,
            counted: Counted::default(),
        };
        let body: Members<'_> = serde_json::from_slice(&self.body).map_err(|_| NotCounted::Unclear)?;
        let needed = |name| body.get(name).copied().ok_or(NotCounted::Unclear);
        match self.endpoint {
            Endpoint::ChatCompletions => {
                counting.counted.allow(tokenizer.template_tokens);
                counting.messages(needed("messages")?)?;
                counting.beside(&body)?;
            }
            Endpoint::Completions => {
                if body.contains_key("prompt_embeds") {
                    return Err(NotCounted::Unclear);
                }
                counting.items(needed("prompt")?)?;
                body.get("suffix").map_or(Ok(()), |raw| counting.text(raw))?;
            }
            Endpoint::Embeddings => counting.items(needed("input")?)?,
        }
        Ok(counting.counted)
    }
}

/// A prompt as far as it is counted.
struct Counting<'a> {
    tokenizer: &'a Tokenizer,
    wanted: &'a dyn Fn() -> bool,
    counted: Counted,
}

impl Counting<'_> {
    fn tokens(&self, text: &str) -> Result<u64, NotCounted> {
        self.tokenizer.count_while(text, self.wanted).ok_or(NotCounted::Late)
    }

    /// A text that the model reads; `null` is none.
    fn text(&mut self, raw: &RawValue) -> Result<(), NotCounted> {
        let text: Option<String> = read(raw)?;
        let tokens = self.tokens(text.as_deref().unwrap_or_default())?;
        self.counted.see(tokens);
        Ok(())
    }

    /// A value of which the model may read all or nothing.
    fn perhaps(&mut self, raw: &RawValue) -> Result<(), NotCounted> {
        let tokens = self.tokens(raw.get())?;
        self.counted.allow(tokens);
        Ok(())
    }

    fn messages(&mut self, raw: &RawValue) -> Result<(), NotCounted> {
        let messages: Vec<Members<'_>> = read(raw)?;
        for message in &messages {
            self.counted.allow(self.tokenizer.message_tokens);
            for (name, raw) in message {
                match &**name {
                    "role" | "name" | "refusal" => self.text(raw)?,
                    "content" => self.content(raw)?,
                    "tool_calls" => self.tool_calls(raw)?,
                    "function_call" => self.function(raw)?,
                    "audio" if raw.get() != "null" => return Err(NotCounted::Unclear),
                    // Templates leave earlier reasoning out, some give the model a call's id, and some more.
                    _ => self.perhaps(raw)?,
                }
            }
        }
        Ok(())
    }

    /// A message's content: a text, or a list of parts that are texts.
    fn content(&mut self, raw: &RawValue) -> Result<(), NotCounted> {
        if !raw.get().starts_with('[') {
            return self.text(raw);
        }
        let parts: Vec<Members<'_>> = read(raw)?;
        for part in &parts {
            let kind: String = part.get("type").map_or(Ok(String::new()), |raw| read(raw))?;
            let text = match &*kind {
                "text" | "input_text" | "output_text" => part.get("text"),
                "refusal" => part.get("refusal"),
                _ => None, // an image, a sound, or what nobody here knows
            };
            self.text(text.ok_or(NotCounted::Unclear)?)?;
            // Engines put a line break between parts.
            self.counted.allow(1);
        }
        Ok(())
    }

    fn tool_calls(&mut self, raw: &RawValue) -> Result<(), NotCounted> {
        let calls: Option<Vec<Members<'_>>> = read(raw)?;
        for call in calls.iter().flatten() {
            match call.get("function").or_else(|| call.get("custom")) {
                Some(function) => self.function(function)?,
                None => call.values().try_for_each(|raw| self.perhaps(raw))?,
            }
        }
        Ok(())
    }

    /// A function that was called: its name and its arguments.
    fn function(&mut self, raw: &RawValue) -> Result<(), NotCounted> {
        let function: Option<Members<'_>> = read(raw)?;
        self.counted.allow(2 * self.tokenizer.message_tokens);
        for (name, raw) in function.iter().flatten() {
            match &**name {
                "name" | "arguments" | "input" if raw.get().starts_with('"') => self.text(raw)?,
                _ => self.perhaps(raw)?,
            }
        }
        Ok(())
    }

    /// What of a chat's body stands in the prompt beside the messages.
    fn beside(&mut self, body: &Members<'_>) -> Result<(), NotCounted> {
        for (name, raw) in body {
            match &**name {
                _ if raw.get() == "null" => {}
                // A caller's own template may say anything.
                "chat_template" => return Err(NotCounted::Unclear),
                "tools" | "functions" => {
                    let tokens = self.tokens(raw.get())?;
                    self.counted.see(tokens);
                    // Templates may indent them, which takes up to as many again.
                    self.counted.allow(tokens.saturating_add(TOOLS_TOKENS));
                }
                "response_format" | "documents" | "chat_template_kwargs" => self.perhaps(raw)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `prompt` or `input`: a text, a list of texts, a list of token ids, a list of such lists.
    fn items(&mut self, raw: &RawValue) -> Result<(), NotCounted> {
        if raw.get().starts_with('"') {
            self.counted.allow(MARKS);
            return self.text(raw);
        }
        let elements: Vec<&RawValue> = read(raw)?;
        match elements.first().map(|first| first.get().as_bytes()[0]) {
            Some(b'"' | b'[') => {
                for element in elements {
                    self.items(element)?;
                }
            }
            // Token ids count themselves.
            _ => {
                self.counted.see(elements.len() as u64);
                self.counted.allow(MARKS);
            }
        }
        Ok(())
    }
}

fn read<'a, T: serde::Deserialize<'a>>(raw: &'a RawValue) -> Result<T, NotCounted> {
    serde_json::from_str(raw.get()).map_err(|_| NotCounted::Unclear)
}

#[cfg(test)]
mod tests;
