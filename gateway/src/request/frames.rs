//! The stream's grammar: an engine's bytes in, the caller's bytes out. No I/O.
//!
//! Events pass as they came. Four things are changed: the engine's own name for the model, usage the caller did not ask
//! for (withheld), a usage chunk the caller asked for and the engine did not send (made from the count), and a missing
//! `[DONE]` after an answer that is complete. Whole events only: half an event never reaches a caller. What more is
//! changed where one provider goes on from another is in `continued`.

mod continued;
mod delivered;

use bytes::Bytes;
use filature_openapi::answer::BadAnswer;
use filature_openapi::call::{CallView, Endpoint};
use filature_openapi::chunk::{ChunkView, error_chunk, finish_chunk, parse_chunk, usage_chunk};
use filature_openapi::edit::Edits;
use filature_openapi::sse::{self, EventDecoder, SseError};
use serde::Serialize;
use smallvec::SmallVec;

pub use delivered::Cut;
use delivered::{Delivered, Overlap};

use super::meter::{Meter, Told};
use super::size;
use crate::clock::now_ms;
use crate::tokens::OutputText;

/// What goes to the caller for one network chunk; one piece nearly always.
pub type Out = SmallVec<[Bytes; 4]>;

/// Why a stream cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Something that is no chunk of an answer.
    #[error("the engine sent what is no chunk of an answer")]
    NotAChunk,
    /// The connection to the provider broke.
    #[error("{0}")]
    Broken(String),
    /// An error in the place of a chunk. What it says may quote the prompt, so it goes nowhere.
    #[error("the engine reported an error in its stream")]
    Error,
    /// An event beyond `upstream.event_bytes_max`.
    #[error("the engine sent an event of more than {0} bytes")]
    TooLong(usize),
    /// A continuation that does not go on from what the caller has.
    #[error("the engine did not go on from what the caller has")]
    Elsewhere,
    /// The stream ended without a finish reason or `[DONE]`.
    #[error("the engine's stream ended before its answer did")]
    Truncated,
}

/// One stream, as far as it has come.
///
/// It outlives the providers that make it: when one breaks off and another goes on, [`Frames::take_up`] begins the next
/// part, and the caller sees one stream: one id, one role, one account of usage, one end.
pub struct Frames {
    endpoint: Endpoint,
    event_bytes_max: usize,
    include_usage: bool,
    /// For an engine that does not say what it used, or says too much.
    told: Told,
    id: Option<Box<str>>,
    /// Choices asked for.
    choices: u64,
    /// What the caller has; `None` where it cannot be continued.
    delivered: Option<Delivered>,
    splices: Vec<Splice>,
    part: Part,
    /// Whether the words are gathered to be counted.
    is_counted: bool,
    /// What the present provider delivered.
    pub meter: Meter,
    /// Why the answer ended, in the engine's word.
    pub finish_reason: Option<Box<str>>,
    /// Whether anything has come of the present provider's part: output, or a finish without output.
    pub begun: bool,
    /// Whether `[DONE]` has been given out.
    pub done: bool,
}

/// One provider's part of a stream.
struct Part {
    decoder: EventDecoder,
    model: Box<str>,
    /// The model's public name as a JSON string, where the engine uses another.
    rename: Option<Bytes>,
    usage_sent: bool,
    /// Choices that have said why they ended.
    ended: u64,
    /// Whether this provider goes on from another.
    is_continued: bool,
    /// What it has to say again first.
    overlap: Overlap,
}

/// Where a provider took up what another had broken off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Splice {
    /// Bytes of text that the caller had by then.
    pub at_byte: u64,
    /// Who went on.
    pub provider: String,
}

/// What is done with one event.
enum Step {
    Pass,
    Withhold,
    Replace(Bytes),
}

impl Part {
    fn new(model: &str, is_renamed: bool, event_bytes_max: usize) -> Self {
        Self {
            decoder: EventDecoder::new(event_bytes_max),
            model: model.into(),
            rename: is_renamed.then(|| serde_json::to_vec(model).map(Bytes::from).unwrap_or_default()),
            usage_sent: false,
            ended: 0,
            is_continued: false,
            overlap: Overlap::default(),
        }
    }
}

impl Frames {
    /// A stream that answers `view` with `model`; `is_renamed` where the engine calls the model by another name.
    /// `prompt_tokens_max` is what the call's hold was made for.
    #[must_use]
    pub fn new(view: &CallView, model: &str, is_renamed: bool, prompt_tokens_max: u64, event_bytes_max: usize) -> Self {
        Self {
            endpoint: view.endpoint,
            event_bytes_max,
            include_usage: view.include_usage,
            told: Told::of(view, prompt_tokens_max),
            id: None,
            choices: u64::from(size::choices(view)),
            delivered: view.can_continue.then(Delivered::default),
            splices: Vec::new(),
            part: Part::new(model, is_renamed, event_bytes_max),
            is_counted: false,
            meter: Meter::default(),
            finish_reason: None,
            begun: false,
            done: false,
        }
    }

    /// Gathers the words of the answer in `text` and its like, to be counted when it has ended.
    #[must_use]
    pub fn counted(mut self, text: Option<Box<OutputText>>) -> Self {
        self.is_counted = text.is_some();
        self.meter.text = text;
        self
    }

    /// Where a continuation would start; `None` where this answer cannot be continued soundly.
    #[must_use]
    pub fn cut(&self) -> Option<Cut> {
        self.delivered.as_ref()?.cut(self.splices.len())
    }

    /// Begins the part of `provider`, which goes on from `cut`; `carried_tokens` were delivered up to there. What the
    /// provider before it delivered is in [`Frames::meter`] and must have been taken out. May be called again for
    /// another provider while [`Frames::begun`] is false or nothing since was given to the caller.
    /// Where words are gathered to be counted, this part's are, anew.
    pub fn take_up(&mut self, cut: &Cut, provider: &str, is_renamed: bool, carried_tokens: u64) {
        let text = self.is_counted.then(|| Box::new(OutputText::new(1)));
        self.splices.truncate(cut.splices);
        self.splices.push(Splice {
            at_byte: cut.at_byte(),
            provider: provider.to_owned(),
        });
        let model = std::mem::take(&mut self.part.model);
        self.part = Part {
            is_continued: true,
            overlap: Overlap::of(cut),
            ..Part::new(&model, is_renamed, self.event_bytes_max)
        };
        self.meter = Meter {
            text,
            carried_tokens,
            carried_in_prompt: carried_tokens.saturating_sub(cut.absent_tokens),
            ..Meter::default()
        };
        if let Some(delivered) = &mut self.delivered {
            delivered.back_to(cut);
        }
        (self.begun, self.done, self.finish_reason) = (false, false, None);
    }

    /// Takes a network chunk and appends what the caller gets for it.
    ///
    /// # Errors
    /// [`Fault`] when the engine breaks its word. What `out` holds then is good and may be sent.
    pub fn push(&mut self, chunk: Bytes, out: &mut Out) -> Result<(), Fault> {
        let fresh = self.part.decoder.is_between_events();
        let length = chunk.len();
        self.part.decoder.push(chunk.clone());
        let (mut passed, first) = (0, out.len());
        while !self.done {
            let event = match self.part.decoder.next_event() {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(SseError::TooLong { bytes_max }) => return Err(Fault::TooLong(bytes_max)),
            };
            match self.step(event.data.as_ref(), out)? {
                Step::Pass => {
                    passed += event.raw.len();
                    out.push(event.raw);
                }
                Step::Withhold => {}
                Step::Replace(bytes) => out.push(bytes),
            }
        }
        // Several whole events that pass unchanged go out as the one piece they came in.
        if fresh && passed == length && out.len() > first + 1 {
            out.truncate(first);
            out.push(chunk);
        }
        Ok(())
    }

    fn step(&mut self, data: Option<&Bytes>, out: &mut Out) -> Result<Step, Fault> {
        let Some(data) = data else { return Ok(Step::Pass) };
        if data.as_ref() == sse::DONE {
            self.begun = true;
            self.done = true;
            out.extend(self.missing_usage());
            return Ok(Step::Pass);
        }
        let view = parse_chunk(data).map_err(|bad| match bad {
            BadAnswer::Error { .. } => Fault::Error,
            BadAnswer::NotJson(_) | BadAnswer::NotAnAnswer(_) => Fault::NotAChunk,
        })?;
        self.note(&view, data);
        if view.usage_only && !self.include_usage {
            return Ok(Step::Withhold);
        }
        self.part.usage_sent |= view.usage.is_some();
        if self.part.is_continued {
            return self.continued(&view, data);
        }
        self.deliver(&view, data);
        Ok(self.edited(&view, data).map_or(Step::Pass, Step::Replace))
    }

    fn note(&mut self, view: &ChunkView, data: &Bytes) {
        self.meter.event(view, data);
        self.begun |= view.has_output || view.finish_reason.is_some();
        if view.finish_reason.is_some() {
            self.finish_reason.clone_from(&view.finish_reason);
            self.part.ended += 1;
        }
        if self.id.is_none() {
            let id = view
                .id
                .clone()
                .and_then(|span| serde_json::from_slice::<Box<str>>(&data[span]).ok());
            self.id = id.or(Some("".into()));
        }
    }

    /// Remembers what the caller gets, as long as it could be continued.
    fn deliver(&mut self, view: &ChunkView, data: &Bytes) {
        let Some(delivered) = self.delivered.as_mut().filter(|_| view.has_output) else {
            return;
        };
        let is_kept = match &view.content {
            Some(content) if view.only_content => delivered.push(&data[content.clone()]),
            _ => false,
        };
        if !is_kept {
            self.delivered = None;
        }
    }

    /// The event with the model's public name, and without usage the caller did not ask for; `None` if it is so already.
    fn edited(&self, view: &ChunkView, data: &Bytes) -> Option<Bytes> {
        let mut edits = Edits::default();
        self.edit(view, &mut edits);
        if edits.is_empty() {
            return None;
        }
        Some(sse::event(&edits.apply(data).into_bytes()))
    }

    /// What is changed in the chunks of every provider.
    fn edit(&self, view: &ChunkView, edits: &mut Edits) {
        if let (Some(name), Some(span)) = (&self.part.rename, view.model.clone()) {
            edits.replace(span, name.clone());
        }
        // llama.cpp and Ollama put it beside the last choice.
        if let (Some(_), Some(span)) = (view.usage, view.usage_at.clone()) {
            if !self.include_usage {
                edits.replace(span, Bytes::from_static(b"null"));
            } else if self.part.is_continued || self.meter.is_absurd(&self.told) {
                edits.replace(span, self.meter.told_usage(&self.told).json());
            }
        }
    }

    /// The usage chunk that the caller asked for and the engine did not send.
    fn missing_usage(&mut self) -> Option<Bytes> {
        if !self.include_usage || self.part.usage_sent {
            return None;
        }
        self.part.usage_sent = true;
        let usage = self.meter.told_usage(&self.told);
        let id = self.id.as_deref().unwrap_or_default();
        let created = now_ms() / 1000;
        let payload = usage_chunk(
            self.endpoint,
            id,
            &self.part.model,
            created,
            usage.prompt,
            usage.completion,
        );
        Some(sse::event(&payload))
    }

    /// Nothing more comes from the engine: completes the stream if every choice has said why it ended, or says that it
    /// is truncated. What an engine says after that (usage, `[DONE]`) is made up for.
    ///
    /// # Errors
    /// [`Fault::Truncated`] when neither every choice's finish reason nor `[DONE]` came.
    pub fn end(&mut self, out: &mut Out) -> Result<(), Fault> {
        if self.done {
            return Ok(());
        }
        if self.part.ended < self.choices {
            return Err(Fault::Truncated);
        }
        self.done = true;
        out.extend(self.missing_usage());
        out.push(sse::DONE_EVENT.clone());
        Ok(())
    }

    /// Ends an answer whose every token was delivered before its provider broke off: it has the length it was limited to.
    pub fn end_at_length(&mut self, out: &mut Out) {
        const LENGTH: &str = "length";
        let id = self.id.as_deref().unwrap_or_default();
        let chunk = finish_chunk(self.endpoint, id, &self.part.model, now_ms() / 1000, LENGTH);
        out.push(sse::event(&chunk));
        self.finish_reason = Some(LENGTH.into());
        self.done = true;
        out.extend(self.missing_usage());
        out.push(sse::DONE_EVENT.clone());
    }

    /// What a caller gets whose stream broke and cannot go on: one error chunk in OpenAI's form, then `[DONE]`.
    #[must_use]
    pub fn broken(&self, code: &str, message: &str) -> Bytes {
        let id = self.id.as_deref().unwrap_or_default();
        let chunk = error_chunk(self.endpoint, id, &self.part.model, now_ms() / 1000, code, message);
        let mut bytes = sse::event(&chunk).to_vec();
        bytes.extend_from_slice(&sse::DONE_EVENT);
        Bytes::from(bytes)
    }
}

#[cfg(test)]
mod tests;
