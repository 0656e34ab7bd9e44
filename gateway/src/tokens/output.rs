//! What the model wrote, gathered as it passes and counted afterwards.
//!
//! A token rarely ends where an event does, so texts are put together first: of each choice the content, the refusal, the
//! reasoning and every tool call apart, as the model wrote them.

use bytes::Bytes;
use filature_openapi::chunk::ChunkView;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::pool::NotCounted;
use super::{Counted, Tokenizer};

/// The most output that is gathered for one call, in bytes: about a million tokens.
const OUTPUT_BYTES_MAX: usize = 4 << 20;
/// The most texts that are told apart: OpenAI's 128 choices with some tool calls each.
const TEXTS_MAX: usize = 1024;
/// Tokens of a choice that leave no text: the end of its turn, a stop sequence, what a parser strips.
const SILENT_TOKENS: u64 = 4;
/// Tokens around one tool call in the model's own syntax (Hermes and Llama 3.1: 8 to 14).
const CALL_TOKENS: u64 = 16;
/// Tokens around reasoning: `<think>`, `</think>` and line breaks.
const REASONING_TOKENS: u64 = 6;

/// The texts of an answer.
#[derive(Debug, Clone, Default)]
pub struct OutputText {
    choices: u32,
    texts: Vec<(Place, String)>,
    bytes: usize,
    /// Whether something passed that cannot be counted.
    is_unclear: bool,
    /// An answer in one piece that was not looked at yet.
    unread: Option<Bytes>,
}

/// Where a text belongs: the choice's index and what it is of it.
type Place = (u32, Part);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Content,
    Refusal,
    /// `reasoning_content`, and `reasoning`: engines that send both send the same text twice.
    Reasoning(bool),
    Call(u32),
}

/// Tokens of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputCount {
    /// All of it.
    pub completion: Counted,
    /// The part that was shown as reasoning.
    pub reasoning: Counted,
}

impl OutputText {
    /// Nothing yet of an answer with `choices` choices.
    #[must_use]
    pub fn new(choices: u32) -> Self {
        Self {
            choices,
            ..Self::default()
        }
    }

    /// An answer in one piece, which is read when it is counted.
    #[must_use]
    pub fn whole(choices: u32, body: Bytes) -> Self {
        Self {
            bytes: body.len(),
            unread: Some(body),
            ..Self::new(choices)
        }
    }

    /// The same with all of it read.
    pub(super) fn opened(mut self) -> Self {
        if let Some(body) = self.unread.take() {
            self.bytes = 0;
            self.read(&body);
        }
        self
    }

    /// Takes back the first `bytes` of what was written so far: the caller had them from another provider.
    pub fn withhold(&mut self, bytes: usize) {
        let first = self.texts.iter_mut().find(|(place, _)| *place == (0, Part::Content));
        let Some((_, text)) = first else { return };
        if text.is_char_boundary(bytes) {
            self.bytes -= bytes;
            text.drain(..bytes);
        }
    }

    /// Adds one event of a stream; `data` is what `view` was parsed from.
    pub fn event(&mut self, view: &ChunkView, data: &[u8]) {
        if !view.has_output || self.is_unclear {
            return;
        }
        // Nearly every event: one piece of one choice's text. Parsing it again would cost as much as the first time.
        if let Some(content) = view.content.clone()
            && view.only_content
            && self.choices == 1
            && let Ok(text) = std::str::from_utf8(&data[content])
            && !text.contains('\\')
        {
            return self.add((0, Part::Content), text);
        }
        self.read(data);
    }

    /// Bytes of text gathered.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tokens of the texts.
    ///
    /// # Errors
    /// [`NotCounted::Unclear`] where something passed that has no text or was too long to keep, [`NotCounted::Late`] once
    /// `wanted` says that nobody waits any more.
    pub fn count(&self, tokenizer: &Tokenizer, wanted: &dyn Fn() -> bool) -> Result<OutputCount, NotCounted> {
        if self.is_unclear {
            return Err(NotCounted::Unclear);
        }
        let mut count = OutputCount::default();
        count.completion.allow(SILENT_TOKENS * u64::from(self.choices));
        for ((choice, part), text) in &self.texts {
            let tokens = || tokenizer.count_while(text, wanted).ok_or(NotCounted::Late);
            match part {
                Part::Reasoning(twin) => {
                    // Of twins the longer one counts.
                    let other = self.text((*choice, Part::Reasoning(!twin))).map_or(0, str::len);
                    if (text.len(), *twin) > (other, !twin) {
                        count.reasoning.see(tokens()?);
                        count.reasoning.allow(REASONING_TOKENS);
                    }
                }
                Part::Call(_) => {
                    count.completion.see(tokens()?);
                    count.completion.allow(CALL_TOKENS);
                }
                Part::Content | Part::Refusal => count.completion.see(tokens()?),
            }
        }
        count.completion.see(count.reasoning.tokens);
        count.completion.allow(count.reasoning.unseen_max);
        Ok(count)
    }

    fn text(&self, place: Place) -> Option<&str> {
        self.texts.iter().find(|(at, _)| *at == place).map(|(_, text)| &**text)
    }

    fn add(&mut self, place: Place, text: &str) {
        if text.is_empty() {
            return;
        }
        self.bytes += text.len();
        // The last place is nearly always the one that goes on.
        let known = self.texts.iter().rposition(|(at, _)| *at == place);
        match known {
            _ if self.bytes > OUTPUT_BYTES_MAX => self.give_up(),
            Some(at) => self.texts[at].1.push_str(text),
            None if self.texts.len() < TEXTS_MAX => self.texts.push((place, text.to_owned())),
            None => self.give_up(),
        }
    }

    fn give_up(&mut self) {
        self.is_unclear = true;
        self.texts = Vec::new();
    }

    /// Adds all texts of a chunk or an answer.
    fn read(&mut self, data: &[u8]) {
        let Ok(reply) = serde_json::from_slice::<Reply<'_>>(data) else {
            return self.give_up();
        };
        for (position, choice) in reply.choices.into_iter().enumerate() {
            let index = choice.index.unwrap_or(u32::try_from(position).unwrap_or(u32::MAX));
            self.part((index, Part::Content), choice.text);
            if let Some(wrote) = choice.delta.or(choice.message) {
                self.message(index, &wrote);
            }
        }
    }

    fn message(&mut self, choice: u32, wrote: &Wrote<'_>) {
        self.part((choice, Part::Content), wrote.content);
        self.part((choice, Part::Refusal), wrote.refusal);
        self.part((choice, Part::Reasoning(false)), wrote.reasoning_content);
        self.part((choice, Part::Reasoning(true)), wrote.reasoning);
        if let Some(function) = &wrote.function_call {
            self.function((choice, Part::Call(u32::MAX)), function);
        }
        for (position, call) in wrote.tool_calls.iter().flatten().enumerate() {
            let index = call.index.unwrap_or(u32::try_from(position).unwrap_or(u32::MAX));
            for function in call.function.iter().chain(&call.custom) {
                self.function((choice, Part::Call(index)), function);
            }
        }
    }

    fn function(&mut self, place: Place, function: &Function<'_>) {
        for raw in [function.name, function.arguments, function.input] {
            self.part(place, raw);
        }
    }

    /// A text; anything else that is not empty (a list of parts, arguments as an object) counts as it stands.
    fn part(&mut self, place: Place, raw: Option<&RawValue>) {
        let Some(raw) = raw else { return };
        match serde_json::from_str::<String>(raw.get()) {
            Ok(text) => self.add(place, &text),
            Err(_) if raw.get() == "null" => {}
            Err(_) => self.add(place, raw.get()),
        }
    }
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    delta: Option<Wrote<'a>>,
    #[serde(borrow)]
    message: Option<Wrote<'a>>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Wrote<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<Vec<Call<'a>>>,
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
    #[serde(borrow)]
    custom: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests;
