//! The stream's grammar: an engine's bytes in, the caller's bytes out. No I/O.
//!
//! Events pass as they came. Four things are changed: the engine's own name for the model, usage the caller did not ask
//! for (withheld), a usage chunk the caller asked for and the engine did not send (made from the count), and a missing
//! `[DONE]` after an answer that is complete. Whole events only: half an event never reaches a caller.

use bytes::Bytes;
use filature_openapi::answer::BadAnswer;
use filature_openapi::call::CallView;
use filature_openapi::chunk::{ChunkView, error_chunk, parse_chunk, usage_chunk};
use filature_openapi::edit::Edits;
use filature_openapi::sse::{self, EventDecoder, SseError};
use smallvec::SmallVec;

use super::meter::Meter;
use crate::clock::now_ms;

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
    /// The stream ended without a finish reason or `[DONE]`.
    #[error("the engine's stream ended before its answer did")]
    Truncated,
}

/// One stream, as far as it has come.
pub struct Frames {
    decoder: EventDecoder,
    endpoint: filature_openapi::call::Endpoint,
    /// The model's public name as a JSON string, where the engine uses another.
    rename: Option<Bytes>,
    model: Box<str>,
    include_usage: bool,
    id: Option<Box<str>>,
    usage_sent: bool,
    /// What passed so far.
    pub meter: Meter,
    /// Why the answer ended, in the engine's word.
    pub finish_reason: Option<Box<str>>,
    /// Choices asked for, and those that have said why they ended.
    choices: u64,
    ended: u64,
    /// Whether anything of the answer has come: output, or a finish without output.
    pub begun: bool,
    /// Whether `[DONE]` has been given out.
    pub done: bool,
}

/// What is done with one event.
enum Step {
    Pass,
    Withhold,
    Replace(Bytes),
}

impl Frames {
    /// A stream that answers `view`; `renamed` where the engine calls the model by another name.
    #[must_use]
    pub fn new(view: &CallView, renamed: bool, event_bytes_max: usize) -> Self {
        let rename = renamed.then(|| serde_json::to_vec(&view.model).map(Bytes::from).unwrap_or_default());
        Self {
            decoder: EventDecoder::new(event_bytes_max),
            endpoint: view.endpoint,
            rename,
            model: view.model.clone(),
            include_usage: view.include_usage,
            id: None,
            usage_sent: false,
            meter: Meter::default(),
            finish_reason: None,
            choices: u64::from(view.n) * super::meter::prompts(view),
            ended: 0,
            begun: false,
            done: false,
        }
    }

    /// Takes a network chunk and appends what the caller gets for it.
    ///
    /// # Errors
    /// [`Fault`] when the engine breaks its word. What `out` holds then is good and may be sent.
    pub fn push(&mut self, chunk: Bytes, out: &mut Out) -> Result<(), Fault> {
        let fresh = self.decoder.is_between_events();
        let length = chunk.len();
        self.decoder.push(chunk.clone());
        let (mut passed, first) = (0, out.len());
        while !self.done {
            let event = match self.decoder.next_event() {
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
        self.usage_sent |= view.usage.is_some();
        Ok(self.edited(&view, data).map_or(Step::Pass, Step::Replace))
    }

    fn note(&mut self, view: &ChunkView, data: &Bytes) {
        self.meter.event(view);
        self.begun |= view.has_output || view.finish_reason.is_some();
        if view.finish_reason.is_some() {
            self.finish_reason.clone_from(&view.finish_reason);
            self.ended += 1;
        }
        if self.id.is_none() {
            let id = view
                .id
                .clone()
                .and_then(|span| serde_json::from_slice::<Box<str>>(&data[span]).ok());
            self.id = id.or(Some("".into()));
        }
    }

    /// The event with the model's public name, and without usage the caller did not ask for; `None` if it is so already.
    fn edited(&self, view: &ChunkView, data: &Bytes) -> Option<Bytes> {
        let mut edits = Edits::default();
        if let (Some(name), Some(span)) = (&self.rename, view.model.clone()) {
            edits.replace(span, name.clone());
        }
        // llama.cpp and Ollama put it beside the last choice.
        if let (Some(_), false, Some(span)) = (view.usage, self.include_usage, view.usage_at.clone()) {
            edits.replace(span, Bytes::from_static(b"null"));
        }
        if edits.is_empty() {
            return None;
        }
        Some(sse::event(&edits.apply(data).into_bytes()))
    }

    /// The usage chunk that the caller asked for and the engine did not send.
    fn missing_usage(&mut self) -> Option<Bytes> {
        if !self.include_usage || self.usage_sent {
            return None;
        }
        self.usage_sent = true;
        let claim = self.meter.claim.unwrap_or_default();
        let completion = claim.completion.unwrap_or(self.meter.output_events);
        let id = self.id.as_deref().unwrap_or_default();
        let created = now_ms() / 1000;
        let payload = usage_chunk(
            self.endpoint,
            id,
            &self.model,
            created,
            claim.prompt.unwrap_or(0),
            completion,
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
        if self.ended < self.choices {
            return Err(Fault::Truncated);
        }
        self.done = true;
        out.extend(self.missing_usage());
        out.push(sse::DONE_EVENT.clone());
        Ok(())
    }

    /// What a caller gets whose stream broke and cannot go on: one error chunk in OpenAI's form, then `[DONE]`.
    #[must_use]
    pub fn broken(&self, code: &str, message: &str) -> Bytes {
        let id = self.id.as_deref().unwrap_or_default();
        let chunk = error_chunk(self.endpoint, id, &self.model, now_ms() / 1000, code, message);
        let mut bytes = sse::event(&chunk).to_vec();
        bytes.extend_from_slice(&sse::DONE_EVENT);
        Bytes::from(bytes)
    }
}

#[cfg(test)]
mod tests;
