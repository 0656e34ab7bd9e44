//! Views a caller's request: what is asked, of which model, with which limits.
//!
//! Decides whether a body is a well-formed call and what the engine's copy of it says differently. The fields that an
//! engine alone understands are never looked at. Whether the model exists and what the call may cost is decided by the
//! gateway.

mod engine_body;
mod fields;
mod limits;
mod needs;
mod prompt;
mod refusal;
#[cfg(test)]
mod tests;
mod values;

use fields::{Field, Fields};
use values::Span;

pub use needs::Needs;
pub use refusal::BadCall;

/// The longest model name taken, in bytes.
pub const MODEL_BYTES_MAX: usize = 256;
/// The longest session name taken, in bytes.
pub const SESSION_BYTES_MAX: usize = 512;
/// The most choices one call may ask for: OpenAI's own limit.
pub const CHOICES_MAX: u32 = 128;
/// The largest output limit taken, in tokens: what engines keep in a signed 32-bit integer.
pub const OUTPUT_TOKENS_MAX: u32 = i32::MAX as u32;
/// The deepest nesting taken: the body's own object is level one.
pub const DEPTH_MAX: usize = 64;
/// The most top-level keys taken.
pub const KEYS_MAX: usize = 256;

/// A route that calls a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`.
    ChatCompletions,
    /// `POST /v1/completions`.
    Completions,
    /// `POST /v1/embeddings`.
    Embeddings,
}

impl Endpoint {
    /// The route's path, the same at the gateway and at an engine.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// `gen_ai.operation.name` of the OpenTelemetry GenAI conventions.
    #[must_use]
    pub const fn operation(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings => "embeddings",
        }
    }
}

/// What a call asks for. Positions in it index the body it was parsed from.
#[derive(Clone, Debug)]
pub struct CallView {
    /// The route called.
    pub endpoint: Endpoint,
    /// `model`, not empty.
    pub model: Box<str>,
    /// Whether the answer is to be a stream.
    pub stream: bool,
    /// Whether the caller asked for `stream_options.include_usage`.
    pub include_usage: bool,
    /// The largest of `max_completion_tokens`, `max_tokens` and llama.cpp's `n_predict`, which covers whichever of them
    /// an engine follows: the limit for each choice, in tokens. At least 1. A completion's `max_completion_tokens` alone
    /// is none, for engines that do not know it write without end.
    pub output_tokens_max: Option<u32>,
    /// Choices the engine makes for each prompt: the largest of `n`, `best_of` and llama.cpp's `n_cmpl`; 1
    /// when absent.
    pub n: u32,
    /// Bytes of the JSON values that become the prompt: messages, tools, functions and the output format for a chat,
    /// `prompt` and `suffix` for a completion, `input` for embeddings. Never fewer than the bytes of text in them.
    pub prompt_bytes: u32,
    /// Messages, prompts or inputs.
    pub prompt_items: u32,
    /// What the engine must be able to do.
    pub needs: Needs,
    /// `session_id`, else `prompt_cache_key`; `None` if empty.
    pub session: Option<Box<str>>,
    places: Places,
}

/// Where in the body the fields lie that the engine's copy may say differently.
#[derive(Clone, Debug)]
struct Places {
    body_bytes: usize,
    model: Span,
    stream_options: values::StreamOptions,
    limits: limits::Limits,
}

/// Views the body of a call.
///
/// # Errors
/// [`BadCall`], to be answered with HTTP 400, if the body is not one JSON object, repeats a top-level key, writes
/// one that is looked at in other case, nests deeper than [`DEPTH_MAX`], has more than [`KEYS_MAX`] keys, lacks a required field, or gives a field that is looked
/// at a wrong type or a value out of range. `null` for an optional field means absent.
pub fn parse_call(endpoint: Endpoint, body: &[u8]) -> Result<CallView, BadCall> {
    let text = std::str::from_utf8(body).map_err(|error| BadCall::not_utf8(&error))?;
    let fields = Fields::collect(endpoint, text)?;
    let at = |raw: &str| Span::of(body, raw);

    let model_raw = fields.place(Field::Model).ok_or_else(|| BadCall::missing("model"))?;
    let model = values::model(model_raw)?;
    let (prompt_items, mut needs) = prompt::check(endpoint, &fields)?;
    needs = needs.union(needs::of(endpoint, &fields)?);

    let streams = endpoint != Endpoint::Embeddings;
    let stream = streams && values::boolean("stream", fields.get(Field::Stream))?;
    let stream_options = values::stream_options(stream, fields.place(Field::StreamOptions), at)?;
    let limits = limits::Limits::of(endpoint, &fields, at)?;
    let n = values::choices("n", fields.get(Field::N))?;
    let best_of = values::choices("best_of", fields.get(Field::BestOf))?;
    let n_cmpl = values::choices("n_cmpl", fields.get(Field::NCmpl))?;

    Ok(CallView {
        endpoint,
        model,
        stream,
        include_usage: stream_options.is_asked(),
        output_tokens_max: limits.largest(),
        n: n.max(best_of).max(n_cmpl),
        prompt_bytes: u32::try_from(fields.prompt_bytes()).unwrap_or(u32::MAX),
        prompt_items,
        needs,
        session: values::session(&fields)?,
        places: Places {
            body_bytes: body.len(),
            model: at(model_raw),
            stream_options,
            limits,
        },
    })
}
